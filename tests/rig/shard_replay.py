"""A shard over recorded ticks, with an execution that fills, expires and stops by rote: same input, same intents.

Run as a program it writes the intents to a file: python -m rig.shard_replay TICKS.npy INTENTS.npy
"""

import sys
from pathlib import Path

import numpy as np
from rig.tables import MS, limits, session

from bot4.engine.shard import ShardAgent, load_loop, strategy_parameters
from bot4.kernels.parameter import defaults
from bot4.model.enums import LEG_ENTRY, LEG_STOP, REPORT_EXPIRED, REPORT_FILL
from bot4.model.records import EXEC_REPORT, INSTRUMENT, ORDER_INTENT, words
from bot4.shm.spsc_ring import consume, peek_order, push_order, push_tick
from bot4.shm.wires import private_wires
from bot4.strategies import trend

ETH_SPOT = np.zeros(1, INSTRUMENT)
ETH_SPOT["price_decimals"], ETH_SPOT["qty_decimals"] = 2, 4
ETH_SPOT["tick_e8"], ETH_SPOT["lot_e8"], ETH_SPOT["value_e8"] = 10**6, 10**4, 100
ETH_SPOT["min_qty_lots"], ETH_SPOT["max_qty_lots"], ETH_SPOT["min_notional_e8"] = 1, 10**8, 5 * 10**8


def report(wires, order, kind, **fields):
    """Tell the shard about its order one millisecond later."""
    one = np.zeros(1, EXEC_REPORT)
    one["ts_ns"], one["kind"] = order["ts_ns"] + MS, kind
    for name in ("id_hi", "id_lo", "instrument", "side", "leg"):
        one[name] = order[name]
    for name, value in fields.items():
        one[name] = value
    push_order(wires.reports[0], words(one), 0)


def replay(ticks):
    """All intents of a shard over these ticks, in order; ORDER_INTENT records."""
    wires = private_wires(1, 1)
    params = strategy_parameters("bot4.strategies.trend", defaults(trend.PARAMETERS))
    arguments = (wires, ETH_SPOT, limits(cool_down_ns=500 * MS), session(), 0, params)
    agent = ShardAgent(load_loop("bot4.strategies.trend"), *arguments)
    out, one, flat = [], np.zeros(1, ORDER_INTENT), words(ticks)
    for position in range(len(ticks)):
        push_tick(wires.ticks[0], flat, 8 * position)
        while agent.do_work():
            pass
        while peek_order(wires.intents[0], words(one), 0):
            consume(wires.intents[0])
            order = one[0].copy()
            out.append(order)
            lots, price = order["qty_lots"], order["price_ticks"]
            if len(out) % 5 == 0:
                report(wires, order, REPORT_EXPIRED)
            elif len(out) % 7 == 0 and order["leg"] == LEG_ENTRY:  # filled by half, then stopped out
                report(wires, order, REPORT_FILL, qty_lots=lots // 2, leaves_lots=lots - lots // 2, price_ticks=price)
                report(wires, order, REPORT_EXPIRED)
                report(wires, order, REPORT_FILL, id_lo=1, leg=LEG_STOP, side=-order["side"], qty_lots=lots // 2)
            else:
                report(wires, order, REPORT_FILL, qty_lots=lots, price_ticks=price)
    return np.array(out, ORDER_INTENT)


if __name__ == "__main__":
    np.save(Path(sys.argv[2]), replay(np.load(Path(sys.argv[1]))))

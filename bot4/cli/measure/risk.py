"""Suite `risk`: every check between an intent and the wire, as execution asks them, among 1,000 instruments.

`checks_1000`: an opening order of one instrument after the other while ten hold a position and every second of the
window of moves is known: the order's own checks, the exposure of the whole account, correlation with each of the ten,
value at risk and shortfall of all of them. One at a time, a stamp after each, so the figure holds one counter read.
Goal: p99 10 us.
"""

# mypy: allow-untyped-defs

import functools
import tempfile
from pathlib import Path

import numpy as np

from bot4.atomics import rdtsc
from bot4.cli.measure.harness import Case, Samples
from bot4.cli.measure.market import SEED, Market, market
from bot4.engine.execution import ExecutionAgent
from bot4.engine.intent import check_intent
from bot4.jit import kernel
from bot4.model.enums import ACTION_PLACE, LEG_ENTRY, OK, TIF_IOC, TYPE_LIMIT
from bot4.model.errors import Bot4Error
from bot4.shm.wires import Wires, private_wires

_INSTRUMENTS = 1_000
_HELD = 10
_TICKS = 6_000_000  # price of all of them
_LOTS = 100
_NOW_NS = 1_700_000_000_000_000_000


@kernel
def _stamp_checks(x, wires, instruments, limits, session, stamps):
    """One order after the other, a stamp before the first and after each. Returns how many were refused."""
    refused = 0
    stamps[0] = rdtsc()
    for number in range(stamps.shape[0] - 1):
        instrument = np.int64(number % len(instruments))
        intent = x.intent[0]
        intent["instrument"] = instrument
        intent["event_no"] = number + 1
        x.intent_words[1] = (
            (session[0]["account"] << 48)
            | (session[0]["strategy"] << 32)
            | (instrument << 16)
            | session[0]["feed_generation"]
        )
        x.intent_words[2] = (np.int64(number + 1) << 32) | (LEG_ENTRY << 24)
        if check_intent(x, wires, instruments, limits, session, np.int64(0)) != OK:
            refused += 1
        stamps[number + 1] = rdtsc()
    return refused


def _furnish(agent: ExecutionAgent) -> None:
    """Ten positions, whole books, a full window of moves, and the order."""
    rng = np.random.default_rng(SEED)
    memory = agent.memory
    memory.account["now_ns"] = _NOW_NS
    positions = memory.positions
    positions["bid_ticks"], positions["ask_ticks"] = _TICKS - 1, _TICKS + 1
    positions["quote_ts_ns"], positions["whole"] = _NOW_NS, 1
    held = np.arange(_HELD) * (_INSTRUMENTS // _HELD)
    positions["lots"][held] = memory.views["position_lots"][held] = _LOTS
    positions["cost_tl"][held] = _LOTS * _TICKS
    memory.known.window[:] = rng.standard_normal(memory.known.window.shape) * 1e-5
    memory.known.seconds[0] = memory.known.window.shape[1]
    memory.known.covariance[:] = 0.0
    memory.known.variance[:], memory.known.shared[:] = 1e-10, memory.known.window.shape[1]
    order = memory.intent[0]
    order["ts_ns"], order["leg"], order["type"], order["tif"], order["side"] = (
        _NOW_NS,
        LEG_ENTRY,
        TYPE_LIMIT,
        TIF_IOC,
        1,
    )
    order["action"], order["strategy"] = ACTION_PLACE, 1
    order["price_ticks"], order["qty_lots"], order["stop_ticks"] = _TICKS + 1, _LOTS, _TICKS - 1_000
    order["ref_ticks"], order["order_row"] = 2 * _TICKS, -1


def _checks(prepared: Market, n: int, ghz: float, taken: Samples) -> None:
    wires: Wires = private_wires(1, _INSTRUMENTS)
    tables = (prepared.instruments, prepared.limits, prepared.session)
    stamps = np.zeros(n + 1, np.int64)
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        agent = ExecutionAgent(wires, *tables, Path(folder) / "journal", 8_192)
        while not agent.started or agent.do_work():
            agent.do_work()
        _furnish(agent)
        if _stamp_checks(agent.memory, wires, *tables, stamps):
            raise Bot4Error("the bench's order does not pass the checks of execution")
        agent.close()
    taken.add_durations(np.diff(stamps) / ghz)


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's case; it runs in this process, on the core the caller is on."""
    prepared = market(_INSTRUMENTS, 1, 0.0, True, in_turn=True)
    made = Case("checks_1000", "ns", functools.partial(_checks, prepared, 2_000 if quick else 50_000, ghz), "timer")
    made.run(Samples("ns"))  # compile and warm up outside the measurement
    return [made]

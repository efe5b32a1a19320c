"""A real feed killed and started again, over and over, under two real shards. Run as a program; prints JSON.

The feed is a process and is killed at random moments; its successor resumes. This process is every reader: it drains
market and quotes, and drives the shards tick by tick, each order expiring at once, so that what they decide depends on
the ticks alone. A calm feed, which nobody kills, says what must come:

    repeated   a record that a reader had already      missing    a record that never came
    other      a record that is not what the calm feed sent at that place
    orders     intents of the shards                   twice      intents whose id had been used
    different  1 if the shards decided anything else than under the calm feed
"""

import argparse
import json
import os
import random
import signal
import time

import numpy as np
from rig import puppet
from rig.tables import instruments, limits, session

from bot4.adapters.files.synthetic import synthetic_sources
from bot4.adapters.system.process import die_with_parent
from bot4.engine.feed import FeedAgent
from bot4.engine.feed_memory import DONE
from bot4.engine.feed_resume import resume, waiting
from bot4.engine.shard import ShardAgent, load_loop, strategy_parameters
from bot4.kernels.parameter import defaults
from bot4.model.enums import REPORT_EXPIRED
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, TICK, words
from bot4.shm.layout import CONTROL_FEED_DONE, RING_HEAD, RING_TAIL
from bot4.shm.spsc_ring import consume, peek_order, push_order
from bot4.shm.wires import Wires, private_wires
from bot4.shm.wiring import create_wires

SYMBOLS = ["SYNBTC", "SYNETH", "SYNSOL"]
SHARDS = 2
CAPACITY = 1024
STRATEGY = "rig.puppet"
PART = 16  # records of a ring that are taken at once: the feed is never far ahead
IN_RESUME_RATIO = 0.2  # of the kills fall on a feed that has just been started
STUCK_S = 0.05
PATIENCE_S = 400.0


class Readers:
    """Everybody who reads what the feed sends."""

    def __init__(self, wires: Wires, tables: tuple[np.ndarray, ...]) -> None:
        self.wires = wires
        self.rings = {"market": wires.market, "quotes": wires.quotes}
        self.rings |= {f"ticks-{k}": wires.ticks[k] for k in range(SHARDS)}
        self.seen: dict[str, list[np.ndarray]] = {name: [np.zeros(0, TICK)] for name in self.rings}
        self.orders: list[tuple[int, ...]] = []
        self.loop, self.tables = load_loop(STRATEGY), tables
        table = {**defaults(puppet.PARAMETERS), "bar_ns": 0, "atr_period": 1, "min_hold_ns": 0, "exit_threshold": 0.1,
                 "warm_bars": 0, "stop_min_bps": 50.0}  # fmt: skip
        params = strategy_parameters(STRATEGY, table)
        self.shards = [ShardAgent(self.loop, wires, *tables, k, params) for k in range(SHARDS)]
        self.intent, self.report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)

    def read(self, most: int = CAPACITY) -> int:
        """Take up to `most` records of each ring; how many there were."""
        taken = 0
        for name, ring in self.rings.items():
            records = waiting(ring)[:most]
            taken += len(records)
            self.seen[name].append(records)
            if not name.startswith("ticks"):
                ring[RING_TAIL] += len(records)
                continue
            k = int(name[-1])
            for _ in range(len(records)):
                while not self.loop.shard_step(self.shards[k].memory, self.wires, *self.tables, k, 1):
                    raise AssertionError("a record in the ring that the shard does not take")
                self._answer(k)
        return taken

    def _answer(self, k: int) -> None:
        """Each order expires before the next tick."""
        while peek_order(self.wires.intents[k], words(self.intent), 0):
            consume(self.wires.intents[k])
            intent = self.intent[0]
            self.orders.append(tuple(int(intent[name]) for name in ("id_hi", "id_lo", "event_no", "side", "qty_lots")))
            self.report["kind"] = REPORT_EXPIRED
            for name in ("ts_ns", "id_hi", "id_lo", "instrument", "side", "leg"):
                self.report[name] = intent[name]
            push_order(self.wires.reports[k], words(self.report), 0)
            self.loop.shard_step(self.shards[k].memory, self.wires, *self.tables, k, 1)

    def records(self, name: str) -> np.ndarray:
        """All that a reader got, without what belongs to transport and machine; its sequences are one by one."""
        records = np.concatenate(self.seen[name])
        assert np.array_equal(records["seq"], np.arange(1, len(records) + 1)), "sequences are not strictly increasing"
        records["seq"] = records["tsc_low"] = 0
        return records


def agent(wires: Wires, tables: tuple[np.ndarray, ...], seconds: int) -> FeedAgent:
    """A fresh feed."""
    return FeedAgent(wires, tables[0], tables[2], synthetic_sources(SYMBOLS, tables[0], 7, seconds), True)


def feed(wires: Wires, tables: tuple[np.ndarray, ...], seconds: int, attempt: int) -> None:
    """One life of the feed's process."""
    made = agent(wires, tables, seconds)
    if attempt:
        resume(made)
    while not made.memory.state[DONE]:
        if not made.do_work():
            time.sleep(1e-4)


def born(*arguments) -> int:
    """Fork one life; it ends at the latest with this process."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)
        feed(*arguments)
    except BaseException:  # a child never returns into the parent's code
        os._exit(1)
    os._exit(0)


def main() -> None:
    """A calm feed, then one that is killed at each of many points of its way."""
    parser = argparse.ArgumentParser()
    for name, value in {"kills": 20, "seconds": 20, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    tables = (instruments(len(SYMBOLS), SHARDS), limits(order_lots=10**9, bucket_tokens=10**9, collar_bps=2_000),
              session(SHARDS, len(SYMBOLS)))  # fmt: skip
    calm_wires = private_wires(SHARDS, len(SYMBOLS), CAPACITY)
    calm, alone = Readers(calm_wires, tables), agent(calm_wires, tables, options.seconds)
    while not alone.memory.state[DONE]:
        alone.do_work()
        calm.read()
    total = sum(len(calm.records(name)) for name in calm.rings)
    resume(agent(private_wires(SHARDS, len(SYMBOLS), CAPACITY), tables, 1))  # compiled before the forks

    shared = create_wires(f"feedkill{os.getpid()}", SHARDS, len(SYMBOLS), CAPACITY)
    shared.unlink()
    wires = shared.wires
    readers = Readers(wires, tables)
    chance = random.Random(options.seed)
    moments = sorted(chance.sample(range(total - 5 * CAPACITY), options.kills))
    life = (wires, tables, options.seconds)
    pid, killed, taken, resumed_ms = born(*life, 0), 0, 0, []
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        got = readers.read(PART)
        taken += got
        if wires.control[CONTROL_FEED_DONE] and not got:
            break
        if killed < options.kills and taken >= moments[killed]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            killed += not wires.control[CONTROL_FEED_DONE]
            before, began = int(wires.market[RING_HEAD]), time.monotonic()
            pid = born(*life, killed)
            if chance.random() < IN_RESUME_RATIO:
                moments[killed : killed + 1] = [0]  # its successor dies while it still looks for its place
                time.sleep(chance.uniform(0, 0.02))
                continue
            while not (wires.market[RING_HEAD] > before or wires.control[CONTROL_FEED_DONE]):
                if time.monotonic() - began > STUCK_S:  # a ring is full: it goes on when its reader does
                    break
                time.sleep(1e-4)
            else:
                resumed_ms.append(1000 * (time.monotonic() - began))
        elif not got:
            time.sleep(1e-4)
    hung = int(time.monotonic() > limit)
    if hung:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    found = {"repeated": 0, "missing": 0, "other": 0}
    for name in readers.rings:
        mine, theirs = readers.records(name), calm.records(name)
        numbers = mine[["instrument", "event_no"]]
        found["repeated"] += len(numbers) - len(np.unique(numbers))
        found["missing"] += len(theirs) - len(np.unique(numbers))
        found["other"] += int((mine != theirs).sum()) if len(mine) == len(theirs) else 1
    ids = [order[:2] for order in readers.orders]
    print(json.dumps(found | {
        "records": taken, "killed": killed, "hung": hung, "failed": int(status != 0), "orders": len(ids),
        "twice": len(ids) - len(set(ids)), "different": int(sorted(readers.orders) != sorted(calm.orders)),
        "resumed_after_ms": round(float(np.median(resumed_ms or [0])), 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()

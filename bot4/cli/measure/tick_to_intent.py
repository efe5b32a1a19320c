"""Suite `tick_to_intent`: from the feed's stamp on a tick to the intent in the ring, two pinned processes.

One process stands for feed and execution: it pushes a tick through the ring, waits for the intent, answers it (expired,
so that the next tick decides again) and goes on: a closed loop, one tick in flight. The other runs the product's
`shard_step`. `*_written`: to the end of the intent's publication, from the shard's own histogram (6 % buckets, upper
edge). `*_read`: to the moment when the other core has read it. `trade_*` closes a bar and moves every indicator,
`quote_*` only decides.
"""

# mypy: allow-untyped-defs

import os

import numpy as np

from bot4.atomics import load_acquire, rdtsc, store_release
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.cli.measure.market import Market, market, shard_of
from bot4.engine.shard_loop import shard_step, step_batch
from bot4.jit import kernel
from bot4.model.enums import REPORT_EXPIRED
from bot4.model.errors import Bot4Error
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, TICK, words
from bot4.shm.histogram import HISTOGRAM_BUCKETS, HISTOGRAM_MAX, N_BUCKETS, bucket_upper
from bot4.shm.layout import CONTROL_STOP
from bot4.shm.spsc_ring import consume, peek_order, push_order, push_tick
from bot4.shm.wires import STAGE_TICK_TO_INTENT, private_wires
from bot4.shm.wiring import create_wires

LOW_HALF = 0xFFFF_FFFF
_MAX_ITEMS = 64
_PATIENCE_CYCLES = 20_000_000_000  # some seconds: a tick without an intent is an error of the bench
_UPPER = np.array([bucket_upper(index) for index in range(N_BUCKETS)], np.int64)


@kernel
def _serve(shard, wires, instruments, limits, session):
    """The shard's process."""
    while load_acquire(wires.control, CONTROL_STOP) == 0:
        shard_step(shard, wires, instruments, limits, session, 0, _MAX_ITEMS)


@kernel
def _feed(wires, tick_words, first, tick, hand, intent, intent_words, report, report_words, seen):
    """The other process: one tick, its intent, the answer. Returns how many ticks got no intent in time.

    The tick is taken in hand (`tick`, and `hand` as words) before it is stamped: the prepared ones lie in pages that
    the process would have to copy first.
    """
    ring = wires.ticks[0]
    intents = wires.intents[0]
    reports = wires.reports[0]
    missed = 0
    for number in range(seen.shape[0]):
        for word in range(8):
            hand[word] = tick_words[(first + number) * 8 + word]
        sent = rdtsc()
        tick[0]["tsc_low"] = sent & LOW_HALF
        push_tick(ring, hand, 0)
        found = False
        while not found and rdtsc() - sent < _PATIENCE_CYCLES:
            found = peek_order(intents, intent_words, 0)
        seen[number] = rdtsc() - sent
        if not found:
            missed += 1
            break
        consume(intents)
        row = intent[0]
        answer = report[0]
        for word in range(16):
            report_words[word] = 0
        report_words[0] = row["ts_ns"]
        report_words[1] = intent_words[1]
        report_words[2] = intent_words[2]
        answer["instrument"] = row["instrument"]
        answer["kind"] = REPORT_EXPIRED
        answer["side"] = row["side"]
        answer["leaves_lots"] = row["qty_lots"]
        push_order(reports, report_words, 0)
    # SYNC POINT: pairs with load_acquire in _serve.
    store_release(wires.control, CONTROL_STOP, 1)
    return missed


class _Loop:
    """One closed loop a repeat, from which both cases of a kind of tick take their samples."""

    def __init__(self, prepared: Market, n: int, ghz: float, cores: tuple[int, int]) -> None:
        self.prepared = prepared
        self.n = n
        self.ghz = ghz
        self.cores = cores
        self.read_cycles = np.zeros(0, np.int64)

    def written(self, taken: Samples) -> None:
        """Run the loop; take the shard's own histogram."""
        prepared, n = self.prepared, self.n
        shard = shard_of(prepared)
        arguments = (prepared.instruments, prepared.limits, prepared.session)
        step_batch(shard, *arguments, prepared.ticks, 0, prepared.warm)
        shared = create_wires(f"bench{os.getpid()}", 1, len(prepared.instruments))
        shared.unlink()
        area = scratch(n)
        wires = shared.wires
        hands = _hands()

        def produce() -> None:
            if _feed(wires, words(prepared.ticks), prepared.warm, *hands, area.words):
                raise AssertionError("a tick made no intent")

        run_pinned([produce, lambda: _serve(shard, wires, *arguments)], list(self.cores))
        histogram = wires.histograms[STAGE_TICK_TO_INTENT]
        counts = histogram[HISTOGRAM_BUCKETS : HISTOGRAM_BUCKETS + N_BUCKETS]
        if counts.sum() != n:
            raise Bot4Error(f"the shard of the bench wrote {counts.sum()} intents for {n} ticks")
        cycles = np.minimum(np.repeat(_UPPER, counts), histogram[HISTOGRAM_MAX])
        taken.add_durations(cycles / self.ghz, warm_up_ratio=0.0)  # sorted: there is no first part to leave out
        self.read_cycles = area.words.copy()
        area.close()
        shared.close()

    def read(self, taken: Samples) -> None:
        """The same loop as the other core saw it; run now if nobody has."""
        if not len(self.read_cycles):
            self.written(Samples("ns"))
        taken.add_durations(self.read_cycles / self.ghz)


def _hands() -> tuple[np.ndarray, ...]:
    """Scratch records of the feeding process, each followed by the same memory as words."""
    tick, intent, report = np.zeros(1, TICK), np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)
    return tick, words(tick), intent, words(intent), report, words(report)


def _compile(prepared: Market) -> None:
    """Both kernels once in this process, with nothing to do."""
    shard = shard_of(prepared)
    wires = private_wires(1, len(prepared.instruments), ticks=16)
    arguments = (prepared.instruments, prepared.limits, prepared.session)
    _feed(wires, words(prepared.ticks), 0, *_hands(), np.zeros(0, np.int64))
    _serve(shard, wires, *arguments)


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    n = 5_000 if quick else 50_000
    made = []
    for kind, trade_ratio in (("trade", 1.0), ("quote", 0.0)):
        prepared = market(1, n, trade_ratio, True)
        _compile(prepared)
        loop = _Loop(prepared, n, ghz, cores)
        made.append(Case(f"{kind}_written", "ns", loop.written, limit="line_2"))
        made.append(Case(f"{kind}_read", "ns", loop.read, limit="line_2"))
    return made

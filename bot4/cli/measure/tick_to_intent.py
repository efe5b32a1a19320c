"""Suite `tick_to_intent`: from the feed's stamp on a tick to the intent in the ring, two pinned processes.

One process stands for feed and execution: it pushes ticks through the ring and answers each intent (expired, so that
the instrument's next tick decides again). The other runs the product's `shard_run`, which spins. `*_written`: to the
end of the intent's publication, from the shard's own histogram (6 % buckets, upper edge). `*_read`: to the moment when
the other core has read it. `trade_*` closes a bar and moves every indicator, `quote_*` only decides: a closed loop,
one tick in flight. `open_*`: ticks at a fixed rate whatever happens, each measured from the time when it was due.
"""

# mypy: allow-untyped-defs

import os

import numpy as np

from bot4.atomics import load_acquire, rdtsc, store_release
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.cli.measure.loop import (
    OPEN_INSTRUMENTS,
    PATIENCE_CYCLES,
    QUIET_CYCLES,
    completed,
    due_time,
    durations,
    expire,
    hands,
    send_tick,
)
from bot4.cli.measure.market import Market, market, shard_of
from bot4.engine.shard_loop import shard_run, step_batch
from bot4.jit import kernel
from bot4.model.errors import Bot4Error
from bot4.model.records import words
from bot4.shm.layout import CONTROL_STOP
from bot4.shm.spsc_ring import consume, has_space, peek_order
from bot4.shm.waiting import NEVER, idle_words
from bot4.shm.wires import STAGE_TICK_TO_INTENT, private_wires
from bot4.shm.wiring import create_wires

_MAX_ITEMS = 64
_POLLS = 100
_OPEN_RATES = (100_000, 5_000)  # ticks a second


@kernel
def _serve(shard, wires, instruments, limits, session, idle, peers):
    """The shard's process."""
    while load_acquire(wires.control, CONTROL_STOP) == 0:
        shard_run(shard, wires, instruments, limits, session, 0, _MAX_ITEMS, idle, peers)


@kernel
def _feed(wires, tick_words, first, gap, tick, hand, intent, intent_words, report, report_words, seen):
    """The other process: ticks out, answers back. Returns how many intents it read."""
    ring = wires.ticks[0]
    intents = wires.intents[0]
    sent = 0
    read = 0
    begun = rdtsc()
    last = begun
    while read < seen.shape[0]:
        due = sent < seen.shape[0] and (sent == read if gap == 0 else rdtsc() >= begun + gap * sent)
        if due and has_space(ring, 1):
            send_tick(ring, tick_words, first + sent, tick, hand, due_time(begun, gap, sent))
            sent += 1
            last = rdtsc()
        if peek_order(intents, intent_words, 0):
            seen[read] = rdtsc() - intent[0]["tsc"]
            read += 1
            consume(intents)
            expire(wires.reports[0], intent, intent_words, report, report_words)
            last = rdtsc()
        elif rdtsc() - last > (PATIENCE_CYCLES if gap == 0 or sent < seen.shape[0] else QUIET_CYCLES):
            break
    # SYNC POINT: pairs with load_acquire in _serve.
    store_release(wires.control, CONTROL_STOP, 1)
    return read


class _Loop:
    """One run a repeat, from which both cases of a kind of tick take their samples."""

    def __init__(self, prepared: Market, n: int, rate: int, ghz: float, cores: tuple[int, int]) -> None:
        self.prepared, self.n, self.ghz, self.cores = prepared, n, ghz, cores
        self.gap = int(ghz * 1e9 / rate) if rate else 0
        self.read_cycles = np.zeros(0, np.int64)

    def written(self, taken: Samples) -> None:
        """Run the loop; take the shard's own histogram."""
        prepared, n = self.prepared, self.n
        shard = shard_of(prepared)
        arguments = (prepared.instruments, prepared.limits, prepared.session)
        step_batch(shard, *arguments, prepared.ticks, 0, prepared.warm)
        shared = create_wires(f"bench{os.getpid()}", 1, len(prepared.instruments))
        shared.unlink()
        area = scratch(n + 1)
        wires = shared.wires
        hand = hands()

        def produce() -> None:
            area.words[n] = _feed(wires, words(prepared.ticks), prepared.warm, self.gap, *hand, area.words[:n])

        run_pinned([produce, lambda: _serve(shard, wires, *arguments, *_spinning())], list(self.cores))
        samples = durations(wires.histograms[STAGE_TICK_TO_INTENT], self.ghz)
        if self.gap == 0 and len(samples) != n:
            raise Bot4Error(f"the shard of the bench wrote {len(samples)} intents for {n} ticks")
        taken.add_durations(completed(samples, n), warm_up_ratio=0.0)  # sorted: no first part to leave out
        self.read_cycles = completed(area.words[: area.words[n]], n)
        area.close()
        shared.close()

    def read(self, taken: Samples) -> None:
        """The same loop as the other core saw it; run now if nobody has."""
        if not len(self.read_cycles):
            self.written(Samples("ns"))
        taken.add_durations(self.read_cycles / self.ghz)


def _spinning() -> tuple[np.ndarray, np.ndarray]:
    """How the shard waits, and whom it wakes: never, nobody."""
    return idle_words(NEVER, 0, 1, _POLLS), np.zeros(0, np.int64)


def _compile(prepared: Market) -> None:
    """Both kernels once in this process, with nothing to do."""
    shard = shard_of(prepared)
    wires = private_wires(1, len(prepared.instruments), ticks=16)
    _feed(wires, words(prepared.ticks), 0, 0, *hands(), np.zeros(0, np.int64))
    _serve(shard, wires, prepared.instruments, prepared.limits, prepared.session, *_spinning())


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    n = 5_000 if quick else 50_000
    made = []
    for kind, trade_ratio in (("trade", 1.0), ("quote", 0.0)):
        prepared = market(1, n, trade_ratio, True)
        _compile(prepared)
        loop = _Loop(prepared, n, 0, ghz, cores)
        made.append(Case(f"{kind}_written", "ns", loop.written, limit="line_2"))
        made.append(Case(f"{kind}_read", "ns", loop.read, limit="line_2"))
    for rate in _OPEN_RATES:
        n = rate // 20 if quick else rate // 2
        loop = _Loop(market(OPEN_INSTRUMENTS, n, 0.5, True, in_turn=True), n, rate, ghz, cores)
        made.append(Case(f"open_{rate}_written", "ns", loop.written, limit="line_2"))
        made.append(Case(f"open_{rate}_read", "ns", loop.read, limit="line_2"))
    return made

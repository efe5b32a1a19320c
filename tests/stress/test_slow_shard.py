"""One shard stands still nine tenths of the time; the other one must not feel it.

Both run on recorded markets at ten times the wall clock. The feed waits for nobody there, so what a slow reader does to
the others can only come by the machine, which a shard that is stopped leaves alone.
"""

import os
import signal
import statistics
import time
from dataclasses import replace

import pytest
from sim.test_kill_nine import LAST_NS, Killer, options_of, settings

from workers.session import Session, prepare

pytestmark = [pytest.mark.compiled, pytest.mark.data, pytest.mark.stress, pytest.mark.alone]
FAST, SLOW = "hftbacktest/spot/btcusdt_20240808.gz", "hftbacktest/spot/ethusdt_20240808.gz"
PAIRS = 3
STANDS_S, GOES_S = 0.9, 0.1


class Slowed(Killer):
    """Stops and goes; `stand` False only looks on."""

    def __init__(self, stand):
        super().__init__(0, "nobody")
        self.stand, self.stopped, self.next_s, self.stops = stand, False, 0.0, 0

    def show(self, shot):
        """One look."""
        pid = shot["workers"]["shard-1"]["pid"] if "shard-1" in shot["workers"] else 0
        now = time.monotonic()
        over = shot["event_time_ns"] > LAST_NS - 20_000_000_000  # it has to leave with the others
        if not self.stand or not pid or now < self.next_s or not shot["event_time_ns"] or (over and not self.stopped):
            return
        self.stopped = not self.stopped
        self.stops += self.stopped
        os.kill(pid, signal.SIGSTOP if self.stopped else signal.SIGCONT)
        self.next_s = now + (STANDS_S if self.stopped else GOES_S)


def test_a_slow_shard_slows_nobody_else(tmp_path, data_dir, repository):
    config = settings(tmp_path / "config", repository)
    found = {True: [], False: []}
    for number in range(PAIRS):
        for stand in (False, True) if number % 2 else (True, False):
            folder = tmp_path / f"{number}-{stand}"
            options = options_of(folder, config, data_dir / FAST, "free", "processes")
            both = f"replay:{data_dir / FAST},{data_dir / SLOW}"
            prepared = prepare(replace(options, feed=both, shards=2, speed="10x"))
            slowed = Slowed(stand)
            outcome, _, report = Session(prepared, slowed).run()
            assert outcome.exit_code == 0 and report["dropped"] == 0, (outcome, report["dropped"])
            assert (report["rejects"].get("DATA_STALE", 0) > 100) == stand and slowed.stops >= 20 * stand
            found[stand].append(report["latency_ns"]["feed_to_shard"])
    for what, most in (("p50", 1.25), ("p99", 1.5), ("p99_9", 3.0)):
        alone, beside = (statistics.median(one[what] for one in found[stand]) for stand in (False, True))
        print(f"feed to shard {what}: {alone:,.0f} ns alone, {beside:,.0f} ns beside a shard that stands still")
        assert beside <= most * alone, what

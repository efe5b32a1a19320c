"""The supervisor over real processes: a counting feed and a checking shard that die, hang and fail on purpose.

After each of these nothing is left: no process, no shared memory.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
from sim.ring_pair import WORKERS, WRONG, ring_pair_plan

from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import ProcessId, open_process
from bot4.model.breaker import CLOSED, FAILURES, HALF_OPEN, NEVER, OPEN, UNTIL_NS, WORD, breaker_row
from bot4.shm.calibration import calibration_of
from bot4.shm.layout import CONTROL_KILL, CONTROL_STOP, RING_HEAD, RING_TAIL
from bot4.shm.wires import FEED_ROW, GAUGE_HEARTBEAT_NS, GAUGE_ITEMS
from bot4.shm.wiring import create_wires, unlink_leftovers
from workers import supervisor as module
from workers.breaker import rows_in_use, set_breakers
from workers.plan import WorkerSpec
from workers.supervisor import STORM_RESTARTS, SYSTEM_STORM, Supervisor

pytestmark = pytest.mark.compiled
ENDLESS = 0
LOOKS = 1000  # of 20 ms at most: a session that nobody ends ends here, as stopped


class Run:
    """One session of the ring pair."""

    def __init__(self, folder, name, workers=WORKERS, options=None, **parameters):
        self.latch = KillLatch(folder)
        self.latch.initialise()
        self.plan = ring_pair_plan(name, folder, **parameters)
        self.shared = create_wires(name, 1, 1)
        self.wires = self.shared.wires
        set_breakers(self.plan, self.wires)
        self.notes = []
        self.on_look = lambda: None
        self.looks = 0
        self.supervisor = Supervisor(
            self.plan, self.wires, workers, note=self.notes.append, look=self._look, look_s=0.0,
            **({"heartbeat_timeout_s": 60.0} | (options or {})),
        )  # fmt: skip
        self.identities = []

    def __enter__(self):
        return self

    def _look(self):
        self.looks += 1
        if self.looks > LOOKS:
            self.supervisor.request_stop()
        self.on_look()

    def close(self):
        self.shared.unlink()
        self.wires = self.supervisor.wires = None
        self.shared.close()

    def run(self):
        """Run it and check that every process has ended."""
        seen = set()

        def changed():
            seen.update(w.identity for w in self.supervisor.workers.values() if w.alive)
            if self.supervisor.template:
                seen.add(self.supervisor.template)

        self.supervisor._changed = changed
        outcome = self.supervisor.run()
        self.identities = seen
        assert not any(identity.alive for identity in seen)
        return outcome

    def restarts(self, name):
        """Restarts of one worker."""
        return self.supervisor.workers[name].restarts


@pytest.fixture
def start(tmp_path):
    """Makes runs and removes their memory."""
    runs = []

    def make(workers=WORKERS, options=None, **parameters):
        runs.append(Run(tmp_path, f"test{os.getpid()}", workers, options, **parameters))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


def test_a_session_runs_to_its_end(start):
    run = start(ticks=5000)
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (0, "done")
    assert run.wires.ticks[0][RING_TAIL] == 5000 == run.wires.gauges[0, GAUGE_ITEMS]
    assert run.wires.gauges[0, WRONG] == 0
    assert calibration_of(run.wires.calibration).tsc_hz > 0
    weights = [watched.memory.private_mb for watched in run.supervisor.workers.values()]
    assert all(weight < 60 for weight in weights), "workers share the template's pages"
    assert len(run.identities) == 5


def test_the_template_calibrates_for_as_long_as_it_lives(start):
    run = start(ticks=ENDLESS)
    seen = []

    def look():
        found = calibration_of(run.wires.calibration)
        if found and (not seen or found.tsc > seen[-1].tsc):
            seen.append(found)
        if len(seen) == 3:
            run.supervisor.request_stop()

    run.on_look = look
    assert run.run().state == "stopped"
    assert len(seen) == 3 and seen[0].wall_ns < seen[1].wall_ns < seen[2].wall_ns


def test_workers_run_where_they_are_pinned(start):
    core = max(os.sched_getaffinity(0))
    workers = [WorkerSpec(name=w.name, agents=w.agents, core=core) for w in WORKERS]
    run = start(workers, ticks=500)
    assert run.run().exit_code == 0
    assert {watched.core for watched in run.supervisor.workers.values()} == {core}


def test_one_process_may_run_several_agents(start):
    both = WorkerSpec(name="rest", agents=("execution", "shard-0", "feed"), core=None)
    run = start([WORKERS[0], both], ticks=500)
    assert run.run().exit_code == 0
    assert run.wires.ticks[0][RING_TAIL] == 500


@pytest.mark.parametrize("agent", ["feed", "shard", "execution"])
@pytest.mark.parametrize("fault", [1, 3], ids=["killed", "exception"])
def test_a_dead_worker_is_started_again(start, agent, fault):
    run = start(ticks=20_000, **{f"{agent}_fault": fault, f"{agent}_times": 2, f"{agent}_at": 3})
    outcome = run.run()
    assert outcome.exit_code == 0, (outcome, run.notes)
    name = "shard-0" if agent == "shard" else agent
    assert run.restarts(name) == 2
    assert run.wires.ticks[0][RING_TAIL] == 20_000 and run.wires.gauges[0, WRONG] == 0
    why = "SIGKILL" if fault == 1 else "ZeroDivisionError: an error nobody meant"
    assert sum(f"worker {name} " in note and why in note for note in run.notes) == 2


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.stress)])
def test_a_dead_writer_is_told_of_at_once_and_shared_memory_stays_what_it_is(start, kills):
    run = start(options={"restarts_max": kills}, ticks=ENDLESS)
    killed, told, again, listings = [], [], [], set()

    def note(text):
        run.notes.append(text)
        if "ended: signal SIGKILL" in text:
            told.append(time.monotonic())
        if "started again" in text:
            again.append(time.monotonic())

    def look():
        listings.add(tuple(sorted(path.name for path in Path("/dev/shm").glob(f"*.{run.plan.instance}.*"))))
        feed = run.supervisor.workers["feed"]
        if len(again) < len(killed) or run.supervisor._progress(feed) == feed.progress_at_start:
            return
        if len(killed) == kills:
            run.supervisor.request_stop()
            return
        run.looks = 0
        killed.append(time.monotonic())
        feed.handle.send(signal.SIGKILL)

    run.supervisor._note, run.on_look = note, look
    assert run.run().state == "stopped"
    assert len(killed) == len(told) == len(again) == kills == run.restarts("feed")
    assert listings == {tuple(sorted(segment.name[1:] for segment in run.shared.segments))}, "not the manifest"
    assert run.wires.gauges[0, WRONG] == 0, "a record came twice, was left out, or is of an earlier life"
    for what, times in (("told", told), ("started again", again)):
        spans_ms = [1000 * (late - early) for early, late in zip(killed, times, strict=True)]
        print(f"{kills} kills of the feed: {what} after {median(spans_ms):.1f} ms, at most {max(spans_ms):.1f} ms")


def test_the_log_of_a_worker_holds_its_traceback(start):
    run = start(ticks=500, shard_fault=3, shard_times=1)
    run.run()
    assert "ZeroDivisionError" in (run.plan.log_folder / "shard-0.log").read_text()


def test_a_dead_venue_ends_the_session(start):
    run = start(ticks=ENDLESS, venue_fault=1, venue_times=1, venue_at=5)
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (1, "failed")
    assert "ledger is the truth" in outcome.message and "SIGKILL" in outcome.message


def test_a_worker_that_gets_nothing_done_is_given_up(start):
    run = start(ticks=500, execution_fault=1, execution_times=1000, execution_at=0)
    outcome = run.run()
    assert outcome.exit_code == 1
    assert "without getting anything done" in outcome.message
    assert run.restarts("execution") == STORM_RESTARTS and not run.latch.read().tripped


def test_a_shard_that_gets_nothing_done_is_put_into_quarantine(start):
    """After exactly so many restarts; nobody waits for it any more, and the others go on."""
    run = start(ticks=ENDLESS, shard_stillborn=STORM_RESTARTS + 1)

    def look():
        if run.wires.ticks[0][RING_TAIL] > 10_000 and run.supervisor.workers["shard-0"].alive:
            run.supervisor.request_stop()

    run.on_look = look
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (0, "stopped"), (outcome, run.notes)
    (alarm,) = (note for note in run.notes if "quarantine" in note)
    assert alarm.startswith("ALARM: worker shard-0 ended again and again")
    row = run.wires.breakers[breaker_row("shard", 1)]
    assert row[WORD] == 1 << 2 | OPEN and row[UNTIL_NS] == NEVER and row[FAILURES] == STORM_RESTARTS + 1
    assert "breaker of shard-0: open: 4 failures in 60 s, for good" in run.notes
    assert run.restarts("shard-0") == STORM_RESTARTS + 1 and run.restarts("feed") == 0
    assert not run.latch.read().tripped


def test_each_change_of_a_breaker_is_told_and_a_flood_of_openings_once(start):
    """The words are those of components elsewhere; nine openings are none, the tenth within a minute is a flood."""
    run = start(ticks=ENDLESS)
    rows = rows_in_use(run.plan)
    words = [("feed synthetic", n << 2 | state) for n in range(1, 10) for state in (OPEN, HALF_OPEN)]
    words += [("recorder", 1 << 2 | OPEN), ("recorder", 1 << 2 | CLOSED), ("parser synthetic", 1 << 2 | OPEN)]
    floods = []  # by words that were told

    def look():
        told = sum(note.startswith("breaker of ") for note in run.notes)
        if told < len(floods):
            return  # the last one has not been seen yet
        floods.append(sum("breakers have opened" in note for note in run.notes))
        if told < len(words):
            name, word = words[told]
            run.wires.breakers[rows[name], WORD] = word
        else:
            run.supervisor.request_stop()

    run.on_look = look
    assert run.run().exit_code == 0
    told = [note for note in run.notes if note.startswith("breaker of ")]
    assert told[:3] == [
        "breaker of feed synthetic: open, opened 1 times", "breaker of feed synthetic: half-open",
        "breaker of feed synthetic: open, opened 2 times",
    ]  # fmt: skip
    assert told[-3:] == ["breaker of recorder: open, opened 1 times", "breaker of recorder: closed",
                         "breaker of parser synthetic: open, opened 1 times"]  # fmt: skip
    assert len(told) == len(words) and floods[18] == 0 and floods[-1] == 1
    (alarm,) = (note for note in run.notes if "breakers have opened" in note)
    assert alarm.startswith("ALARM: breakers have opened 10 times within 60 s")


def test_a_storm_of_restarts_sets_the_kill_switch(start):
    """Six within a minute, whoever died; fewer do not. Each worker by itself stays below what ends it."""
    assert SYSTEM_STORM == 2 * STORM_RESTARTS
    run = start(ticks=ENDLESS, shard_stillborn=STORM_RESTARTS, feed_stillborn=STORM_RESTARTS)
    tripped = []

    def look():
        tripped.append((len(run.supervisor._storm), run.latch.read().tripped))
        if tripped[-1][1]:
            run.supervisor.request_stop()

    run.on_look = look
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (3, "halted"), (outcome, run.notes)
    assert "restart storm: 6 restarts within 60 s" in outcome.message and run.wires.control[CONTROL_KILL] == 1
    most = 0
    for count, is_tripped in tripped:
        most = max(most, count)
        assert is_tripped == (most >= SYSTEM_STORM), tripped


def test_restarts_have_a_limit_even_with_progress(start):
    run = start(options={"restarts_max": 5}, ticks=ENDLESS, shard_fault=1, shard_times=1000, shard_at=3)
    outcome = run.run()
    assert outcome.exit_code == 1 and "after 5 restarts" in outcome.message


@pytest.mark.parametrize(("fault", "code"), [(4, 2), (5, 1)])
def test_an_error_raised_on_purpose_ends_the_session_with_its_line(start, fault, code):
    run = start(ticks=ENDLESS, feed_fault=fault, feed_times=1, feed_at=2)
    outcome = run.run()
    assert outcome.exit_code == code
    assert outcome.message == ("recording.gz: truncated at byte 17; fetch it again" if fault == 4 else
                               "journal.bin: record 7 is damaged")  # fmt: skip
    assert run.restarts("feed") == 0


@pytest.mark.parametrize(("fault", "code"), [(1, 2), (2, 1)])
def test_a_template_that_cannot_warm_up_ends_the_session(start, fault, code):
    run = start(ticks=10, warm_fault=fault)
    outcome = run.run()
    assert outcome.exit_code == code and not any(w.alive for w in run.supervisor.workers.values())
    assert ("nothing to warm with" if fault == 1 else "an error nobody meant") in outcome.message


@pytest.mark.parametrize("fault", [2, 6, 7], ids=["stopped", "busy", "blocked"])
def test_a_hung_worker_is_killed_and_started_again(start, fault):
    run = start(options={"heartbeat_timeout_s": 0.4}, ticks=20_000, shard_fault=fault, shard_times=1, shard_at=3)
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (0, "done"), run.notes
    assert run.restarts("shard-0") == 1
    assert any("stood still" in note for note in run.notes)
    assert any("killed because it hung" in note for note in run.notes)


def test_a_worker_that_waits_for_a_core_is_not_hung(start):
    """Others have its core nearly all the time: its heartbeat is late, and it lives."""
    core = max(os.sched_getaffinity(0))
    workers = [WorkerSpec(name=w.name, agents=w.agents, core=core if w.name == "shard-0" else None) for w in WORKERS]
    run = start(workers, options={"heartbeat_timeout_s": 0.1}, ticks=ENDLESS)
    hogs, ages = [], []

    def look():
        shard = run.supervisor.workers["shard-0"]
        beat = int(run.wires.gauges[0, GAUGE_HEARTBEAT_NS])
        if beat and not hogs:
            os.sched_setscheduler(shard.identity.pid, os.SCHED_IDLE, os.sched_param(0))
            hogs.extend(subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", "while 1: pass"])
                        for _ in range(3))  # fmt: skip
        ages.append(time.monotonic_ns() - beat if beat else 0)
        if sum(age > 300_000_000 for age in ages) > 20 or shard.restarts:
            run.supervisor.request_stop()

    run.on_look = look
    try:
        run.run()
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert max(ages) > 300_000_000, "it was not starved"
    assert run.restarts("shard-0") == 0 and not any("stood still" in note for note in run.notes), run.notes


def test_execution_dies_last_where_memory_is_short(start):
    run = start(ticks=ENDLESS)
    found = {}

    def look():
        for name, watched in run.supervisor.workers.items():
            found[name] = int(Path(f"/proc/{watched.identity.pid}/oom_score_adj").read_text())
        if found["feed"] > found["execution"] < found["shard-0"]:
            run.supervisor.request_stop()

    run.on_look = look
    run.run()
    assert found["feed"] == found["shard-0"] == 500 and found["execution"] == 0


def test_a_dead_template_ends_the_session_and_its_workers(start):
    run = start(ticks=ENDLESS)
    run.on_look = lambda: open_process(run.supervisor.template).kill()
    outcome = run.run()
    assert outcome.exit_code == 1 and "template has ended" in outcome.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_cleanly(start, number):
    run = start(ticks=ENDLESS)
    before = signal.getsignal(number)
    run.on_look = lambda: os.kill(os.getpid(), number)
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (0, "stopped")
    assert run.wires.control[CONTROL_STOP] == 1
    assert run.restarts("feed") == 0 and signal.getsignal(number) is before
    assert run.wires.gauges[1 + FEED_ROW, GAUGE_ITEMS] == run.wires.ticks[0][RING_HEAD], "the batch was finished"


def test_workers_ignore_the_terminals_signals(start):
    run = start(ticks=ENDLESS)
    seen = []

    def look():
        if not seen:
            for watched in run.supervisor.workers.values():
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    watched.handle.send(number)
        seen.append(int(run.wires.ticks[0][RING_TAIL]))
        if seen[-1] > seen[0] + 1000:
            run.supervisor.request_stop()

    run.on_look = look
    assert run.run().exit_code == 0
    assert all(watched.restarts == 0 for watched in run.supervisor.workers.values())


def test_a_worker_that_does_not_stop_is_killed(start, monkeypatch):
    monkeypatch.setattr(module, "STOP_LIMIT_S", 0.2)
    run = start(ticks=ENDLESS)

    def look():
        run.supervisor.workers["shard-0"].handle.send(signal.SIGSTOP)
        run.supervisor.request_stop()

    run.on_look = look
    assert run.run().exit_code == 0
    assert any("does not stop" in note for note in run.notes)


def test_the_latch_on_disk_reaches_the_kill_word(start):
    run = start(ticks=ENDLESS)
    seen = []

    def look():
        if not seen:
            run.latch.trip("by file alone")
        seen.append(int(run.wires.control[CONTROL_KILL]))
        if seen[-1] and run.wires.gauges[1, 41]:  # execution saw it too
            run.supervisor.request_stop()

    run.on_look = look
    outcome = run.run()
    assert (outcome.exit_code, outcome.state) == (3, "halted")
    assert "(by file alone)" in outcome.message and "bot4-supervisor reset" in outcome.message
    assert seen[0] == 0 and any("KILLED: by file alone" in note for note in run.notes)


def test_without_until_end_it_stays(start):
    run = start(options={"until_end": False}, ticks=500)
    looks = []

    def look():
        looks.append(run.supervisor.drained_ns)
        if len(looks) > 2 and looks[-3]:
            run.supervisor.request_stop()

    run.on_look = look
    assert run.run().state == "stopped"


def test_it_is_not_drained_while_a_request_is_on_its_way(start):
    run = start(ticks=500)
    run.wires.requests[RING_HEAD] += 1  # nobody takes it
    looks = []

    def look():
        looks.append(run.supervisor._drained())
        if len(looks) == 50:
            run.wires.requests[RING_HEAD] -= 1

    run.on_look = look
    assert run.run().state == "done"
    assert len(looks) >= 50 and not any(looks[:50])


def test_a_killed_supervisor_takes_everything_with_it(tmp_path):
    """Its processes end by the kernel's hand; its memory stays for the next start to remove."""
    reader, writer = os.pipe()
    name = f"test{os.getpid()}k"
    pid = os.fork()
    if pid == 0:
        try:
            run = Run(tmp_path, name, ticks=ENDLESS)

            def look():
                workers = run.supervisor.workers.values()
                os.write(writer, "".join(f"{w.identity.pid} {w.identity.start}\n" for w in workers).encode() + b"\n")

            run.on_look = look
            run.supervisor.run()
        finally:
            os._exit(3)
    os.close(writer)
    with os.fdopen(reader) as told:
        workers = [ProcessId(*map(int, told.readline().split())) for _ in WORKERS]
        handles = [open_process(identity) for identity in workers]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for handle in handles:
        if handle is not None:
            assert handle.wait(10.0)
            handle.close()
    assert len(unlink_leftovers(os.getuid(), name)) == 11

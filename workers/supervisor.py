"""The supervisor: starts the workers of one session, watches them, restarts the dead, ends the session.

It decides nothing about trading and holds neither keys nor truth. It never forks a worker itself: the template does
(see `template`), which is compiled and warm; the supervisor imports no Numba at all. A death is seen at once by pidfd,
a hang by a heartbeat that the work loop no longer stamps. Execution, shards and the feed are started again; the venue
is not, because its ledger is the truth of a simulated account. A shard that dies again and again before it has done
anything is replaced by what takes back its opening orders (`engine/quarantine`); a storm of such deaths all over the
session sets the kill switch.

    start: venue, execution, shards, feed           end: stop word, everybody finishes its batch and leaves
"""

import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from bot4.adapters.system.account_file import sync_account
from bot4.adapters.system.affinity import pinned_core
from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import Handle, ProcessId, identify, memory_mb, open_process, run_state
from bot4.engine.shard import BUILT_IN
from bot4.model.breaker import FAILED, OPEN, STATES, WORD
from bot4.model.enums import INT64_MAX
from bot4.model.errors import Bot4Error
from bot4.shm.breaker import Breaker
from bot4.shm.layout import (
    CLOCK_EXEC_VENUE,
    CLOCK_VENUE,
    CONTROL_KILL,
    CONTROL_NO_RECORDER,
    CONTROL_STOP,
    CONTROL_STOP_RECORDER,
    CONTROL_SUPERVISOR,
    RING_HEAD,
    RING_TAIL,
)
from bot4.shm.wires import (
    EXECUTION_ROW,
    FEED_ROW,
    GAUGE_BEGAN_NS,
    GAUGE_EVENT_TIME_NS,
    GAUGE_EXEC_STATE,
    GAUGE_HEARTBEAT_NS,
    GAUGE_ITEMS,
    GAUGE_RECORDER_FAILURES,
    RECORDER_ROW,
    Wires,
)
from workers.breaker import rows_in_use
from workers.plan import SETTLE, SETTLE_LIMIT_S, Plan, WorkerSpec, kind_of, rows_of
from workers.template import EXIT_UNEXPECTED
from workers.template_process import TemplateProcess
from workers.view import WorkerState

LOOK_S = 0.005  # between two looks at the drained condition: the error of the session's wall time
CHECK_S = 0.05  # between two looks at heartbeats and kill latch
START_LIMIT_S = 60.0  # a worker that builds its agents stamps no heartbeat: recovery of a long journal
SETTLE_REST_S = 1.0  # for execution to leave after its time is over
STOP_LIMIT_S = 10.0  # a clean stop takes no longer; then the rest is killed
WARM_LIMIT_S = 600.0  # compiling everything on one slow core
TELL_WARM_S = 10.0  # between two words about it: from the cache it takes a second or two
STORM_RESTARTS = 3  # restarts of a worker, but for a shard (its breaker), that got nothing done ...
STORM_WINDOW_S = 60.0  # ... within this time: the next ends the session
FLOOD_OPENINGS = 10  # of all breakers ...
FLOOD_WINDOW_S = 60.0  # ... within this time are a flood: alarm
SYSTEM_STORM = 6  # such restarts of all workers within that time set the kill switch
EXEC_HALTED = 3
RECORDER = "recorder"
EXECUTION = "execution"
NOBODY = ProcessId(0, 0)


@dataclass(slots=True)
class Outcome:
    """How a session ended."""

    exit_code: int
    state: str  # done, stopped, halted, failed
    message: str = ""


@dataclass(slots=True)
class Memory:
    """What a worker weighed when last looked at."""

    pss_mb: float
    private_mb: float


@dataclass(slots=True)
class Watched:
    """One worker and its history."""

    spec: WorkerSpec
    rows: tuple[int, ...]
    handle: Handle | None = None
    identity: ProcessId = NOBODY
    core: int | None = None
    restarts: int = 0
    started_ns: int = 0
    progress_at_start: tuple[tuple[int, int], ...] = ()
    barren: deque[int] = field(default_factory=deque)  # times of restarts before which nothing was done
    hung: bool = False
    cpu_ns: int = -1  # when its heartbeat was first seen to be late; -1: it is not
    memory: Memory | None = None

    @property
    def alive(self) -> bool:
        """True while it runs, as far as the supervisor knows."""
        return self.handle is not None


class _SessionError(Exception):
    """Ends the session."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Supervisor:
    """One session's processes, from the template to the last worker's end.

    Parameters
    ----------
    plan : what the workers are told
    wires : the session's shared memory
    workers : in the order in which they start
    heartbeat_timeout_s : an older heartbeat means hung
    restarts_max : of one worker in one session
    until_end : leave when everything is drained
    note : takes a line for a person
    look : called every `look_s` with the worker states, to show the session
    changed : called when a process has come or gone, to record it
    template : a template that was begun earlier; the supervisor ends it
    """

    def __init__(
        self,
        plan: Plan,
        wires: Wires,
        workers: Sequence[WorkerSpec],
        *,
        heartbeat_timeout_s: float = 5.0,
        restarts_max: int = 100,
        until_end: bool = True,
        note: Callable[[str], None] = lambda text: None,
        look: Callable[[], None] = lambda: None,
        look_s: float = 1.0,
        changed: Callable[[], None] = lambda: None,
        template: TemplateProcess | None = None,
    ) -> None:
        self.plan = plan
        self.wires = wires
        self.workers = {spec.name: Watched(spec, _rows(spec, plan.n_shards)) for spec in workers}
        self.template: ProcessId | None = None
        self.began_ns = 0  # when the last worker had been started
        self.drained_ns = 0
        self._timeout_ns = int(heartbeat_timeout_s * 1e9)
        self._restarts_max = restarts_max
        self._until_end = until_end
        self._note, self._look, self._look_s, self._changed = note, look, look_s, changed
        self._latch = KillLatch(plan.state_folder)
        self._connection: Any = None
        self._inbox: deque[tuple[Any, ...]] = deque()  # what the template said and nobody has handled yet
        self._process = template
        self._template_handle: Handle | None = None
        self._warm = False
        self._wake = -1
        self._stop_signal = 0
        self._stopping = False
        self._watched = threading.Event()  # set when watching is over
        self._settling = False  # execution is about to leave by itself
        self._quiet_since_ns = 0
        self._quiet: tuple[Any, ...] | None = None  # what the wires looked like when they first seemed drained
        self._quiet_beats = 0
        self._grace_until_ns = 0
        self._recorder_told = False
        self._shards = {  # by worker: the breakers of its shards
            spec.name: [
                Breaker(wires.breakers[rows_in_use(plan)[agent]], time.monotonic_ns, note, agent)
                for agent in spec.agents
                if kind_of(agent) == "shard"
            ]
            for spec in workers
        }
        self._breakers = rows_in_use(plan)
        self._words: dict[str, int] = {}  # of breakers, as they were last seen
        self._openings: deque[int] = deque()  # times of all of them
        self._flooded = False
        self._storm: deque[int] = deque()  # times of restarts of any worker before which nothing was done

    # --- the session ---------------------------------------------------------------------------------------------
    def run(self) -> Outcome:
        """Run the session to its end; every process started here has ended when this returns."""
        with self._signals():
            try:
                self._start_template()
                for watched in self.workers.values():
                    self._fork(watched)
                self.began_ns = time.monotonic_ns()
                self._changed()
                if self.plan.feed.kind == "live":
                    threading.Thread(target=self._sync_account, name="account", daemon=True).start()
                self._watch()
                outcome = Outcome(0, "stopped" if self._stop_signal else "done")
            except _SessionError as error:
                outcome = Outcome(error.exit_code, "failed" if error.exit_code else "stopped", str(error))
            finally:
                self.drained_ns = self.drained_ns or time.monotonic_ns()
                self._watched.set()
                left = self._settle()
                self._stop()
        if left:
            told = f"{outcome.message}; {left}" if outcome.message and left not in outcome.message else left
            outcome = Outcome(outcome.exit_code or 1, "failed", told)
        if outcome.exit_code:
            return outcome
        latch = self._latch.read()
        if latch.tripped:
            way_out = 'find out why, then: bot4-supervisor reset --reason "..."'
            return Outcome(3, "halted", f"halted by the kill switch ({latch.reason}); {way_out}")
        if self.wires.gauges[self.plan.n_shards + EXECUTION_ROW, GAUGE_EXEC_STATE] == EXEC_HALTED:
            return Outcome(3, "halted", "halted by the breaker of execution; see the report")
        return outcome

    def request_stop(self, number: int = signal.SIGTERM) -> None:
        """What SIGINT and SIGTERM do: leave at the next look."""
        self._stop_signal = number

    @property
    def wall_s(self) -> float:
        """Seconds from the feed's first look at its sources to the moment when everything was drained."""
        feed_began_ns = int(self.wires.gauges[self.plan.n_shards + FEED_ROW, GAUGE_BEGAN_NS])
        return (self.drained_ns - (feed_began_ns or self.began_ns)) / 1e9

    def states(self) -> dict[str, WorkerState]:
        """The workers, for whoever shows them."""
        return {
            name: WorkerState(
                pid=watched.identity.pid,
                core=watched.core,
                restarts=watched.restarts,
                rows=watched.rows,
                alive=watched.alive,
            )
            for name, watched in self.workers.items()
        }

    def _watch(self) -> None:
        next_check = next_look = 0.0
        before = time.monotonic()
        while not self._stop_signal:
            self._poll(LOOK_S)
            now = time.monotonic()
            self.wires.control[CONTROL_SUPERVISOR] = time.monotonic_ns()
            if now - before > 1.0:  # the whole machine stood still: nobody else's heartbeat can be judged yet
                self._grace_until_ns = time.monotonic_ns() + self._timeout_ns
            before = now
            if now >= next_check:
                next_check = now + CHECK_S
                self._check_kill()
                self._check_heartbeats()
                self._check_recorder()
                self._check_breakers()
            if now >= next_look:
                next_look = now + self._look_s
                self._look()
            if self._drained():
                self.drained_ns = self.drained_ns or self._quiet_since_ns
                if self._until_end:
                    return
        self._note("stopping")

    # --- processes -----------------------------------------------------------------------------------------------
    def _start_template(self) -> None:
        self._process = self._process or TemplateProcess()
        self._connection = self._process.connection
        self.template = identify(self._process.pid)
        self._template_handle = open_process(self.template)
        try:
            self._process.use(self.plan)
        except OSError:
            raise self._template_gone() from None
        self._changed()
        began = time.monotonic()
        limit, told = began + WARM_LIMIT_S, began
        while not self._connection.poll(LOOK_S):
            if time.monotonic() - told > TELL_WARM_S:
                told = time.monotonic()
                self._note(f"compiling the kernels, {told - began:.0f} s so far: once for each build and strategy")
            if self._template_handle is None or self._template_handle.ended:
                raise self._template_gone()
            if self._stop_signal:
                raise _SessionError(0, "stopped before the workers were started")
            if time.monotonic() > limit:
                raise _SessionError(
                    1, f"the template was not warm after {WARM_LIMIT_S:.0f} s; see {self.plan.log_folder}"
                )
        answer = self._recv()
        if answer[0] == "failed":
            raise _SessionError(answer[1], answer[2])
        self._warm = True

    def _fork(self, watched: Watched) -> None:
        watched.progress_at_start = self._progress(watched)
        watched.started_ns = time.monotonic_ns()
        watched.hung = False
        try:
            self._connection.send(("fork", watched.spec, watched.restarts))
        except OSError:
            raise self._template_gone() from None
        pid = self._expect("forked", watched.spec.name)[2]
        identity = identify(pid)
        watched.handle = open_process(identity)  # None if it is gone already: its end is on the way
        watched.identity = identity if watched.handle is not None else ProcessId(pid, 0)
        watched.core = watched.spec.core
        self._changed()

    def _expect(self, kind: str, name: str) -> tuple[Any, ...]:
        """The template's next message of this kind about this worker; others are kept for later."""
        limit = time.monotonic() + START_LIMIT_S
        while True:
            for index, message in enumerate(self._inbox):
                if message[0] == kind and message[1] == name:
                    del self._inbox[index]
                    return message
            if self._connection_ready(LOOK_S):
                self._inbox.append(self._recv())
            elif time.monotonic() > limit:
                raise _SessionError(1, f"the template does not answer; see {self.plan.log_folder}")

    def _poll(self, timeout_s: float) -> None:
        """Wait for a death, a signal or the time."""
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        by_descriptor = {}
        for name, watched in self.workers.items():
            if watched.handle is not None:
                poll.register(watched.handle.fileno(), select.POLLIN)
                by_descriptor[watched.handle.fileno()] = name
        for descriptor, _ in poll.poll(timeout_s * 1000):
            if descriptor == self._wake:
                os.read(self._wake, 64)
            elif descriptor in by_descriptor:  # the template reaps it and says how it ended
                self._inbox.append(self._expect("ended", by_descriptor[descriptor]))
        while self._connection_ready(0):
            self._inbox.append(self._recv())
        while self._inbox:
            self._ended(*self._inbox.popleft()[1:])

    def _connection_ready(self, timeout_s: float) -> bool:
        try:
            return bool(self._connection.poll(timeout_s))
        except (EOFError, OSError):
            return True

    def _recv(self) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self._connection.recv()
        except (EOFError, OSError):
            raise self._template_gone() from None
        return message

    def _template_gone(self) -> _SessionError:
        code = self._process.end_code() if self._process else 0
        how = f" by signal {signal.Signals(-code).name}" if code < 0 else ""
        name = self.plan.strategy_module
        hint = ""
        if code < 0 and not self._warm and name != BUILT_IN:
            hint = f" while {name} ran for the first time (does it index beyond the end of an array?)"
        return _SessionError(
            1, f"the template has ended{how}{hint}, and the workers with it; see {self.plan.log_folder}"
        )

    def _ended(self, name: str, pid: int, status: int, error: str) -> None:
        """A worker has ended: note why, and start it again if that can help."""
        watched = self.workers[name]
        if watched.identity.pid != pid:
            return
        if watched.handle is not None:
            watched.handle.close()
            watched.handle = None
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(status)
        if self._settling and name == EXECUTION and code == 0:
            return
        why = _why(code, error, watched.hung)
        self._note(f"worker {name} (pid {pid}) ended: {why}")
        if name == RECORDER:
            self._restart_recorder(watched, why)
            return
        if error and code in (1, 2, 3):  # an error somebody raised on purpose does not go away by trying again
            raise _SessionError(code, error)
        if "venue" in watched.spec.agents or "bot" in watched.spec.agents:
            raise _SessionError(
                1, f"worker {name} ended ({why}) and with it the simulated venue, whose ledger is the truth"
            )
        self._allow_restart(watched, why)
        watched.restarts += 1
        self._fork(watched)
        self._note(f"worker {name} started again as pid {watched.identity.pid} (restart {watched.restarts})")

    def _restart_recorder(self, watched: Watched, why: str) -> None:
        """Whatever becomes of the recording, trading goes on: who cannot be started any more is done without."""
        try:
            self._allow_restart(watched, why)
        except _SessionError as error:
            self._note(f"{error}; the session goes on without a recording")
            self.wires.control[CONTROL_NO_RECORDER] = 1
            return
        watched.restarts += 1
        self._fork(watched)
        self._note(f"worker {RECORDER} started again as pid {watched.identity.pid} (restart {watched.restarts})")

    def _allow_restart(self, watched: Watched, why: str) -> None:
        now = time.monotonic_ns()
        name = watched.spec.name
        if watched.restarts >= self._restarts_max:
            raise _SessionError(
                1, f"worker {name} ended ({why}) after {watched.restarts} restarts, more are not allowed"
            )
        shards = self._shards[name]
        if self._progress(watched) != watched.progress_at_start:
            watched.barren.clear()  # it did work: its death is no crash loop
            for breaker in shards:
                breaker.clear()
            return
        for breaker in shards:
            breaker.note(FAILED)
        if kind_of(watched.spec.agents[0]) == "shard" and any(breaker.state == OPEN for breaker in shards):
            self._quarantine(watched)
            return
        watched.barren.append(now)
        while now - watched.barren[0] > STORM_WINDOW_S * 1e9:
            watched.barren.popleft()
        if not shards and len(watched.barren) > STORM_RESTARTS:
            raise _SessionError(
                1,
                f"worker {name} ended {len(watched.barren)} times within {STORM_WINDOW_S:.0f} s without getting "
                f"anything done ({why}); see {self.plan.log_folder / name}.log",
            )
        self._storm.append(now)
        while now - self._storm[0] > STORM_WINDOW_S * 1e9:
            self._storm.popleft()
        if len(self._storm) == SYSTEM_STORM:
            self._latch.trip(f"restart storm: {SYSTEM_STORM} restarts within {STORM_WINDOW_S:.0f} s, {name} the last")
            self._check_kill()

    def _quarantine(self, watched: Watched) -> None:
        """From now on another agent runs in this shard's place, which takes back what it had resting."""
        agents = tuple(agent.replace("shard-", "quarantine-") for agent in watched.spec.agents)
        watched.spec = replace(watched.spec, agents=agents)
        watched.barren.clear()
        self._note(
            f"ALARM: worker {watched.spec.name} ended again and again without getting anything done: it is in "
            "quarantine, its opening orders are taken back, its stops stay"
        )

    def _progress(self, watched: Watched) -> tuple[tuple[int, int], ...]:
        gauges = self.wires.gauges
        return tuple((int(gauges[row, GAUGE_ITEMS]), int(gauges[row, GAUGE_EVENT_TIME_NS])) for row in watched.rows)

    # --- health --------------------------------------------------------------------------------------------------
    def _check_kill(self) -> None:
        control = self.wires.control
        if not control[CONTROL_KILL] and self._latch.read().tripped:
            control[CONTROL_KILL] = 1
            self._note(f"KILLED: {self._latch.read().reason}")

    def _sync_account(self) -> None:
        """In a thread, since a disk may take long: what execution has written survives a power cut soon.

        A failed sync is final: it trips the latch, and nothing is opened until a person has looked.
        """
        while not self._watched.wait(CHECK_S):
            try:
                sync_account(self.plan.state_folder, int(self.plan.session[0]["account"]), self.plan.traded)
            except OSError as error:
                with suppress(Bot4Error):
                    self._latch.trip(f"what the account carries on cannot be synced: {error.strerror}")
                return

    def _check_recorder(self) -> None:
        """Tell once that a recording has holes because it cannot be written."""
        row = self.wires.gauges[self.plan.n_shards + RECORDER_ROW]
        if row[GAUGE_RECORDER_FAILURES] and not self._recorder_told:
            self._recorder_told = True
            self._note(f"ALARM: the recording cannot be written; see {self.plan.log_folder / RECORDER}.log")

    def _check_breakers(self) -> None:
        """Tell of each change of a breaker, and of a flood of openings; of shards their own breakers tell."""
        now = time.monotonic_ns()
        table = self.wires.breakers
        for name, row in self._breakers.items():
            word, before = int(table[row, WORD]), self._words.get(name, 0)
            if word == before:
                continue
            self._words[name] = word
            self._openings += [now] * ((word >> 2) - (before >> 2))
            if not name.startswith("shard-"):
                times = f", opened {word >> 2} times" if word >> 2 != before >> 2 else ""
                self._note(f"breaker of {name}: {STATES[word & 3]}{times}")
        while self._openings and now - self._openings[0] > FLOOD_WINDOW_S * 1e9:
            self._openings.popleft()
        flooded = len(self._openings) >= FLOOD_OPENINGS
        if flooded and not self._flooded:
            self._note(
                f"ALARM: breakers have opened {len(self._openings)} times within {FLOOD_WINDOW_S:.0f} s: something "
                "that they share has failed"
            )
        self._flooded = flooded

    def _check_heartbeats(self) -> None:
        now = time.monotonic_ns()
        if now < self._grace_until_ns:
            return
        for watched in self.workers.values():
            if watched.handle is None or watched.hung:
                continue
            stamped = min(int(self.wires.gauges[row, GAUGE_HEARTBEAT_NS]) for row in watched.rows)
            building = stamped < watched.started_ns
            late = now - stamped > self._timeout_ns // 2
            if not late:
                watched.cpu_ns = -1
            elif watched.cpu_ns < 0:
                watched.cpu_ns = (run_state(watched.identity.pid) or ("", 0))[1]
            limit = max(self._timeout_ns, int(START_LIMIT_S * 1e9)) if building else self._timeout_ns
            age = now - max(stamped, watched.started_ns)
            if age > limit and not self._starves(watched):
                watched.hung = True
                self._note(f"worker {watched.spec.name} has stood still for {age / 1e9:.1f} s: killed")
                watched.handle.send(signal.SIGKILL)  # its end comes back by pidfd

    def _starves(self, watched: Watched) -> bool:
        """True if a worker whose heartbeat is late only waits for a core: since then it has hardly run."""
        state, cpu_ns = run_state(watched.identity.pid) or ("", 0)
        return state == "R" and cpu_ns - watched.cpu_ns < self._timeout_ns // 3

    def _drained(self) -> bool:
        """True when nothing is left to do: both clocks at the end, both rings of the venue empty, and it stays so.

        One look proves little: the venue may just hold what it took from its ring. So the picture has to stand while
        execution and venue each go through their loop twice.
        """
        wires = self.wires
        requests, events = wires.requests, wires.events
        empty = requests[RING_HEAD] == requests[RING_TAIL] and events[RING_HEAD] == events[RING_TAIL]
        at_end = wires.clocks[CLOCK_EXEC_VENUE] == INT64_MAX and wires.clocks[CLOCK_VENUE] == INT64_MAX
        if not (empty and at_end and all(watched.alive for name, watched in self.workers.items() if name != RECORDER)):
            self._quiet = None
            return False
        n_shards = self.plan.n_shards
        picture = (int(requests[RING_HEAD]), int(events[RING_HEAD]))
        beats = tuple(int(wires.gauges[row, GAUGE_HEARTBEAT_NS]) for row in range(n_shards + 2))
        if self._quiet is None or self._quiet[0] != picture:
            self._quiet, self._quiet_beats = (picture, beats), 0
            self._quiet_since_ns = time.monotonic_ns()
            return False
        if all(new > old for new, old in zip(beats, self._quiet[1], strict=True)):
            self._quiet = (picture, beats)
            self._quiet_beats += 1
        return self._quiet_beats >= 2

    # --- the end ---------------------------------------------------------------------------------------------------
    def measure(self) -> None:
        """Weigh every live worker and look where it really runs."""
        for watched in self.workers.values():
            if watched.handle is not None:
                weight = memory_mb(watched.identity.pid)
                watched.memory = Memory(*weight) if weight else watched.memory
                core = pinned_core(watched.identity.pid)
                watched.core = core

    def _settle(self) -> str:
        """Where a real venue is traded on, execution leaves first: what opens is taken back, what is held has its stop.

        All others work on meanwhile, and whoever dies is started again. Returns what is left, "" if nothing is.
        """
        execution = self.workers.get(EXECUTION)
        if not self.plan.traded or execution is None or not execution.alive:
            return ""
        self._settling = True
        self.wires.control[CONTROL_STOP] = SETTLE
        limit = time.monotonic() + SETTLE_LIMIT_S + SETTLE_REST_S
        try:
            while execution.alive:
                self._poll(LOOK_S)
                self.wires.control[CONTROL_SUPERVISOR] = time.monotonic_ns()
                if time.monotonic() > limit:
                    return f"execution has not left within {SETTLE_LIMIT_S:.0f} s; see to what is open at the venue"
        except _SessionError as error:
            return str(error)
        return ""

    def _stop(self) -> None:
        self.measure()
        self._stopping = True
        self.wires.control[CONTROL_STOP] = 1
        # the recorder leaves after everybody who could still have something to record
        others = [watched for name, watched in self.workers.items() if name != RECORDER]
        self._end(others)
        self.wires.control[CONTROL_STOP_RECORDER] = 1
        self._end([watched for name, watched in self.workers.items() if name == RECORDER])
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._template_handle is not None:
            self._template_handle.close()
            self._template_handle = None
        self._changed()

    def _end(self, workers: Sequence[Watched]) -> None:
        """Wait for workers that were told to leave; kill who does not."""
        limit = time.monotonic() + STOP_LIMIT_S
        for watched in workers:
            handle = watched.handle
            if handle is None:
                continue
            if not handle.wait(max(0.0, limit - time.monotonic())):
                self._note(f"worker {watched.spec.name} does not stop: killed")
                handle.kill()
            handle.close()
            watched.handle = None

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP ask for a clean stop while the session runs."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        old_wake = signal.set_wakeup_fd(writer)
        self._wake = reader
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, lambda got, _: self.request_stop(got)) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_wake)
            self._wake = -1
            os.close(reader)
            os.close(writer)


def _rows(spec: WorkerSpec, n_shards: int) -> tuple[int, ...]:
    return tuple(row for agent in spec.agents for row in rows_of(agent, n_shards))


def _why(code: int, error: str, hung: bool) -> str:
    if hung:
        return "killed because it hung"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    if error:
        return error
    if code == EXIT_UNEXPECTED:
        return "an unexpected error"
    return f"exit code {code}"

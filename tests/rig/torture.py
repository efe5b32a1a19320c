"""One session of the real bot under load that is killed again and again, and what the venue's ledger says of it.

The supervisor and its view run in this process; workers, venue and ledger are the product's own. A blow falls when
execution is active and has sent ORDERS orders since the last one:

    a named point    execution dies there, or in a later life of it while it recovers (bot4/crash.py)
    execution, shard, feed, pair    SIGKILL at a random moment; pair: a shard, and execution within 10 ms
    supervisor    this very process is killed, and everybody with it by the kernel's hand
    kill switch    the latch is tripped, and execution dies while it takes back its orders
"""

import os
import random
import re
import signal
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
from oracle.recompute import (
    ENDED,
    LOST,
    SECOND,
    UNANSWERED,
    UNTOLD,
    Recomputed,
    compare_journal,
    compare_session,
    read_ledger,
)
from rig import puppet

from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import identify, open_process
from bot4.crash import (
    AT_FOLDING,
    CRASH_ARMED,
    CRASH_COUNT,
    CRASH_FIRED,
    CRASH_PID,
    CRASH_POINTS,
    KILL_CANCEL,
    POINT_NAMES,
    SLOT_PUBLISHED,
    START_FOLDING,
    crash_words,
)
from bot4.engine.journal import COMMIT_WORD, read_journal
from bot4.engine.portfolio import STATE_ACTIVE, STATE_HALTED, STATE_STARTING
from bot4.jit import CRASH_FILE
from bot4.kernels.parameter import defaults
from bot4.model.records import JOURNAL_EVENT, JOURNAL_INTENT, JOURNAL_REQUEST
from bot4.shm.layout import RING_HEAD, RING_TAIL
from bot4.shm.wires import EXECUTION_ROW, GAUGE_EXEC_OPEN_ORDERS, GAUGE_EXEC_ORDERS, GAUGE_EXEC_STATE
from bot4.shm.wiring import attach_wires
from workers import supervisor
from workers.session import Prepared, Session, StartOptions, prepare

REPOSITORY = Path(__file__).resolve().parents[2]
ORDERS = 50  # sent between two blows
ARMED_S = 60.0  # that a point is waited for
WHILE_STARTING = range(START_FOLDING, len(CRASH_POINTS))
FOLDING = (START_FOLDING, AT_FOLDING)  # come by once for each record
MOST_PASSES = {"record_word": 300, "slot_word": 200, "recovery_answer": 3, "kill_cancel": 12}
PASSES = 12  # a point is fatal at one of its so many next passes; while starting mostly at the first one
STRATEGY = """
[strategy]
id = 1
module = "rig.puppet"
[strategy.params]
{params}

"""
BUSY_PARAMS = {
    "bar_ns": 0, "enter_threshold": 0.3, "exit_threshold": 0.0, "min_hold_ns": 0, "position_fraction_bps": 20,
    "atr_period": 2, "stop_atr_multiple": 2.0, "stop_min_bps": 1.0, "slippage_ticks": 2,
    "entry_life_ns": 200_000_000, "warm_bars": 0, "profit_atr_multiple": 3.0,
}  # fmt: skip
BUSY = {
    "cool_down_ms": 0,
    "breaker_failures": 1_000,
    "streak_losses": 1_000,
    "streak_pause_ms": 1,
    "repeat_orders": 1_000,
}
BUSY |= {"bucket_tokens": 1_000, "shard_tokens": 10_000, "order_tokens": 10_000, "message_tokens": 10_000}
BUSY |= {f"{name}_refill_ms": 1 for name in ("bucket", "shard", "order", "message")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One session: its market, its pace, and the blows in their order."""

    seed: int
    blows: tuple[str, ...]
    feed: str = "synthetic:1"
    pace: str = "event"
    speed: str = "max"
    style: int = 0  # 0: entries that take at once, 1: that rest
    orders: int = ORDERS
    folder: str  # of settings, state and report
    out: str  # file of the session's last words


@dataclass
class Found:
    """What a session saw of its kills."""

    victims: list[str] = field(default_factory=list)  # one for each kill
    counts: list[int] = field(default_factory=list)  # journal records at each kill
    points: dict[str, int] = field(default_factory=dict)  # hits
    left: list[str] = field(default_factory=list)  # blows that the market's end spared
    recovery_s: list[float] = field(default_factory=list)
    absent: list[tuple[int, int]] = field(default_factory=list)  # wall clock, from execution's death to the open gate


def settings(folder: Path, style: int, **changes: float) -> Path:
    """The repository's settings with a busy strategy and few limits in its way; its session's file."""
    folder.mkdir(parents=True)
    params = defaults(puppet.PARAMETERS) | BUSY_PARAMS | {"entry_style": style} | changes
    strategy = STRATEGY.format(params="\n".join(f"{name} = {value}" for name, value in params.items()))
    for file in (REPOSITORY / "config").glob("*.toml"):
        text = file.read_text().replace('folder = "state"', f'folder = "{folder / "state"}"')
        text = re.sub(r"\[strategy\].*?(?=\[venue)", lambda _: strategy, text, flags=re.DOTALL)
        for name, value in BUSY.items():
            text = re.sub(rf"^{name} = \d+", f"{name} = {value}", text, flags=re.MULTILINE)
        (folder / file.name).write_text(text)
    return folder / "paper.toml"


class Torturer:
    """A view of the session that kills. Its blows come from a list; a blow that does not fall in time is put back."""

    every_s = 0.0
    while_starting = WHILE_STARTING  # points that only a life which recovers comes by

    def __init__(self, spec: Spec, prepared: Prepared, found: Found, words: np.ndarray | None) -> None:
        self.spec, self.plan, self.found = spec, prepared.plan, found
        self.words = words
        self.choose = random.Random(spec.seed)
        self.blows = list(spec.blows)
        self.notes: list[str] = []
        self.seen: set = set()
        self.wires = None
        self.blow = ""  # that has been begun
        self.point = 0  # that is armed for it
        self.since_s = 0.0  # when it was
        self.due_s = 0.0
        self.died_s = 0.0  # execution's last death, until it is active again
        self.died_ns = 0  # the first one since it was active, by the wall clock
        self.base = 0  # orders before the load that the next blow waits for
        self.done_ns = 0  # event time when the last blow had fallen
        self.ended_ns = 0  # wall clock, when the end was asked for or everybody killed
        self.unknown = 0

    # --- what the supervisor tells ---
    def note(self, text: str) -> None:
        """A line for a person; a death is told before the next life begins."""
        self.notes.append(text)
        found = re.match(r"worker (\S+) \(pid \d+\) ended: signal SIGKILL", text)
        if not found:
            return
        self.found.victims.append(found[1])
        self.found.counts.append(self.journal_count())
        if found[1] == "execution":
            self.died_s, self.died_ns = time.monotonic(), self.died_ns or time.time_ns()
            self.state[()] = STATE_STARTING
        if self.words is not None and (point := int(self.words[CRASH_FIRED])):
            self.words[CRASH_FIRED] = 0
            name = POINT_NAMES[point]
            if found[1] != "execution":
                name = f"{found[1].partition('-')[0]}:{name}"
            self.found.points[name] = self.found.points.get(name, 0) + 1
            if point == self.point:  # else somebody else came by first
                self.blow, self.point = "", 0

    def journal_count(self) -> int:
        """Records that count."""
        with self.journal_path.open("rb") as file:
            return struct.unpack_from("<I", file.read(512), COMMIT_WORD * 8)[0]

    @property
    def journal_path(self) -> Path:
        """The session's journal."""
        return self.plan.journal_path

    @property
    def state(self) -> np.ndarray:
        """Execution's gauge."""
        return self.wires.gauges[self.plan.n_shards + EXECUTION_ROW, GAUGE_EXEC_STATE : GAUGE_EXEC_STATE + 1]

    def show(self, shot: dict) -> None:
        """One look, some milliseconds after the last one."""
        if self.wires is None:
            plan = self.plan
            found = attach_wires(plan.instance, plan.n_shards, plan.n_instruments, generation=plan.generation)
            self.shared, self.wires = found, found.wires
        workers = shot["workers"]
        self.seen.update(identify(worker["pid"]) for worker in workers.values() if worker["alive"])
        self.unknown = shot["unknown_orders"]
        if shot["stopping"]:
            return
        now = time.monotonic()
        orders = int(self.wires.gauges[self.plan.n_shards + EXECUTION_ROW, GAUGE_EXEC_ORDERS])
        if self.died_s:
            if self.state[0] not in (STATE_ACTIVE, STATE_HALTED):
                return
            if self.found.victims:  # else it is the first life
                self.found.recovery_s.append(round(now - self.died_s, 3))
            self.found.absent.append((self.died_ns, time.time_ns()))
            self.died_s, self.died_ns, self.base = 0.0, 0, orders
            if self.point in self.while_starting:
                self.give_up()
        if not self.blow and not self.blows:
            self.leave(shot["event_time_ns"])
        elif self.blow:
            self.follow(workers, now)
        elif self.blows and self.is_loaded(orders) and all(w["alive"] for w in workers.values()):
            self.begin(self.blows.pop(0), now)

    def is_loaded(self, orders: int) -> bool:
        """Whether there is enough under way for another blow."""
        return orders - self.base >= self.spec.orders

    def close(self) -> None:
        """Let go of the wires."""
        if self.wires is not None:
            self.wires = None
            self.shared.close()

    def leave(self, event_time_ns: int) -> None:
        """Every blow has fallen: a second of event time later, and some orders, the session is stopped."""
        orders = int(self.wires.gauges[self.plan.n_shards + EXECUTION_ROW, GAUGE_EXEC_ORDERS])
        self.done_ns = self.done_ns or event_time_ns
        quiet = self.state[0] == STATE_HALTED or orders - self.base >= self.spec.orders
        if quiet and event_time_ns > self.done_ns + SECOND:
            self.ended_ns = time.time_ns()
            os.kill(os.getpid(), signal.SIGTERM)

    # --- blows ---
    def begin(self, blow: str, now: float) -> None:
        """Arm a point, or choose the moment."""
        self.blow, self.point, self.since_s = blow, 0, now
        self.due_s = now + self.choose.random() * 0.02
        self.base = int(self.wires.gauges[self.plan.n_shards + EXECUTION_ROW, GAUGE_EXEC_ORDERS])

    def arm(self, point: int, pid: int) -> None:
        """Some pass of this point from now on is the last."""
        most = MOST_PASSES.get(POINT_NAMES[point], 1 if point in self.while_starting else PASSES)
        most = max(1, self.journal_count() // 3) if point in FOLDING else most
        self.words[CRASH_COUNT] = self.choose.randint(1, most)
        self.words[CRASH_PID] = pid
        self.words[CRASH_ARMED] = self.point = point

    def strike(self, workers: dict, name: str) -> None:
        """SIGKILL, mostly as soon as a request has gone out that the venue has not taken yet."""
        handle = open_process(identify(workers[name]["pid"]))
        if handle is not None:
            requests = self.wires.requests
            until = time.monotonic() + (0.0 if self.choose.random() < 0.25 else 0.2)
            while time.monotonic() < until and requests[RING_HEAD] == requests[RING_TAIL]:
                pass
            handle.send(signal.SIGKILL)
            handle.close()

    def follow(self, workers: dict, now: float) -> None:
        """Go on with the blow that was begun."""
        blow = self.blow
        if self.point:
            if now - self.since_s > ARMED_S:
                self.give_up()
            return
        if blow in POINT_NAMES and POINT_NAMES.index(blow) not in (KILL_CANCEL, *self.while_starting):
            self.arm(POINT_NAMES.index(blow), workers["execution"]["pid"])
            return
        open_orders = self.wires.gauges[self.plan.n_shards + EXECUTION_ROW, GAUGE_EXEC_OPEN_ORDERS]
        if now < self.due_s or (not open_orders and now < self.since_s + ARMED_S):
            return  # something shall be open when somebody dies
        shards = [name for name in workers if name.startswith("shard")]
        if blow in POINT_NAMES:
            point = POINT_NAMES.index(blow)
            self.arm(point, 0)
            if point == KILL_CANCEL:
                KillLatch(self.plan.state_folder).trip("torture")
            else:
                self.strike(workers, "execution")  # the next life comes by, or disarms it
        elif blow == "supervisor":
            self.kill_supervisor()
        elif blow in ("shard", "feed") and self.words is not None and self.choose.random() < 0.5:
            name = "feed" if blow == "feed" else self.choose.choice(shards)
            self.arm(SLOT_PUBLISHED - self.choose.randrange(3), workers[name]["pid"])
        else:
            if blow in ("shard", "pair"):
                self.strike(workers, self.choose.choice(shards))
            if blow in ("feed", "recorder"):
                self.strike(workers, blow)
            if blow in ("execution", "pair"):
                time.sleep(0.01 * self.choose.random() if blow == "pair" else 0.0)
                self.strike(workers, "execution")
            self.blow = ""

    def give_up(self) -> None:
        """The point was not come by."""
        self.words[CRASH_ARMED] = 0
        self.found.left += [self.blow] if self.blow else []
        self.blow, self.point = "", 0

    def kill_supervisor(self) -> None:
        """The end of this process, and of everybody with it."""
        self.found.victims.append("supervisor")
        self.found.counts.append(self.journal_count())
        self.blow, self.ended_ns = "", time.time_ns()
        self.last_words(0, None)
        os.kill(os.getpid(), signal.SIGKILL)

    def last_words(self, exit_code: int, report: dict | None) -> None:
        """What the judge has to know, into the session's file."""
        self.found.left += self.blows + ([self.blow] if self.blow else [])
        said = {
            "found": self.found, "exit_code": exit_code, "unknown": self.unknown, "notes": self.notes,
            "session_folder": str(self.journal_path.parent), "report": report, "instance": self.plan.instance,
            "processes": [(one.pid, one.start) for one in self.seen], "killed_at": time.monotonic(),
            "ended_ns": self.ended_ns,
            "shared_memory": sorted(path.name for path in Path("/dev/shm").glob(f"*{self.plan.instance}*")),
        }  # fmt: skip
        Path(self.spec.out).write_bytes(orjson.dumps(said))


def run_session(spec: Spec) -> None:
    """One session in this process, up to its last words in `spec.out`; it may end with a supervisor that is killed."""
    supervisor.SYSTEM_STORM = supervisor.STORM_RESTARTS = 10**6  # many die here while they start; both have their tests
    folder = Path(spec.folder)
    config = settings(folder / "config", spec.style)
    options = StartOptions(
        config=config, feed=spec.feed, pace=spec.pace, speed=spec.speed, compose="processes", shards=2,
        report=folder / "report",
    )  # fmt: skip
    prepared = prepare(options)
    words = crash_words(CRASH_FILE) if CRASH_FILE else None
    torturer = Torturer(spec, prepared, Found(), words)
    outcome, _, report = Session(prepared, torturer).run()
    torturer.close()
    torturer.last_words(outcome.exit_code, report)


# --- the judge ---------------------------------------------------------------------------------------------------
def in_flight(journal: Path, counts: list[int]) -> int:
    """Of the kills at these numbers of records: how many met a request whose answer was not in the journal."""
    records = read_journal(journal)
    waiting: set[bytes] = set()
    found, place = 0, 0
    kinds, bodies = records["type"], np.ascontiguousarray(records["body"])
    for count in sorted(counts):
        for index in range(place, count):
            body = bodies[index].tobytes()
            if kinds[index] in (JOURNAL_INTENT, JOURNAL_REQUEST):
                waiting.add(body[8:24])  # the client order id
            elif kinds[index] == JOURNAL_EVENT:
                waiting.discard(body[8:24])
        place = max(place, count)
        found += bool(waiting)
    return found


def whole_lines(ledger: Path) -> Path:
    """A ledger whose writer was killed, without the half of a line at its end."""
    content = ledger.read_bytes()
    target = ledger.with_suffix(".whole")
    target.write_bytes(content[: content.rfind(b"\n") + 1])
    return target


def verdict(ledger: Path, journal: Path, report: dict | None, stop_limit_s: float = 1.0) -> Recomputed:
    """The ledger alone, then what journal and report say beside it; without a report everybody was killed at once."""
    killed = report is None
    result = read_ledger(whole_lines(ledger) if killed else ledger, int(stop_limit_s * SECOND), SECOND // 4)
    never_landed = compare_journal(result, journal)
    for client_id in result.open_ended:
        result.note(f"journal: order {client_id} never arrived, and nobody was told so", LOST)
    result.kinds[UNTOLD] -= sum(isinstance(one, int) for one in result.on_their_way)
    if killed:  # the venue too, in the midst of its answer
        result.kinds[UNANSWERED] = 0
    elif not result.on_their_way:
        compare_session(result, report, never_landed)
    if not killed and report["exit"]["state"] == "halted":
        for number, order in result.orders.items():
            if not order.is_stop and order.status not in ENDED:
                result.note(f"ledger: order {number} is left behind the kill switch")
    return result

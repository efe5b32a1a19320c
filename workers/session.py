"""One session from its command line to its report: check, lock, clean up, wire, run, report, remove.

Whatever can be wrong with settings or input is refused before anything is touched. All of it is cold code in the
supervisor's process, which imports no Numba.
"""

import json
import os
import platform
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import multiprocess
import numpy as np

from bot4.adapters.files.breaker import breaker_lines, breaker_table
from bot4.adapters.files.recording import Recording, is_recording
from bot4.adapters.files.report import closing_lines, session_object, symbol_keys, write_report
from bot4.adapters.files.report_facts import RunFacts, WorkerFacts
from bot4.adapters.system.account_file import AccountState, account_path, read_account
from bot4.adapters.system.affinity import available_cores
from bot4.adapters.system.generation import next_generation
from bot4.adapters.system.instance import (
    InstanceFile,
    InstanceLock,
    SessionLabel,
    instance_of,
    kill_orphans,
    remove_instance,
    running_instance,
    write_instance,
)
from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import identify
from bot4.engine.journal import read_journal, release_room
from bot4.jit import cache_refusal
from bot4.model.errors import Bot4Error, HaltedError, InputError, JournalError, SegmentError, SettingsError
from bot4.model.records import JOURNAL, LIMITS, TICK
from bot4.model.units import BPS, from_e8, to_e8
from bot4.settings.conversion import (
    NS_PER_MS,
    breaker_words,
    check_limits,
    data_latency_of,
    impacts_of,
    instrument_records,
    latencies_of,
    limits_record,
    queue_of,
    session_record,
    traded_venue,
)
from bot4.settings.loader import INSTRUMENTS_FILE, LIMITS_FILE, TOPOLOGY_FILE, load, load_state_folder
from bot4.settings.schema import LIVE_VENUES, MAX_SHARDS, Settings
from bot4.settings.topology import Placement, resolve
from bot4.shm.calibration import calibration_of
from bot4.shm.wires import LIMITS_IN_FORCE, Wires
from bot4.shm.wiring import SharedWires, attach_wires, create_wires, unlink_leftovers
from workers.breaker import set_breakers
from workers.feed import chosen_instruments, gateways_of, silence_of
from workers.plan import WARM_PREFIX, FeedSpec, Plan, RecorderSpec, WorkerSpec
from workers.supervisor import Outcome, Supervisor
from workers.takeup import free_name, keep_begin, last_generation, last_session, not_flat, taken_up
from workers.template import warm_up
from workers.template_process import TemplateProcess
from workers.view import Rates, View, WorkerState, snapshot, tightened

INPUTS_FOLDER, COMMAND_FILE = "inputs", "command.json"  # of a session's folder: what it was given
MAX_SPEED = 1_000_000.0
FEEDS = "synthetic, synthetic:SEED, replay:PATH[,PATH...], bars:VENUE:PATH[,PATH...] or live"
NS_PER_DAY = 86_400 * 1_000 * NS_PER_MS
_SPEED = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)x")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What the command line said."""

    config: Path
    feed: str = "synthetic"
    pace: str | None = None
    speed: str = "max"
    until_end: bool = True
    report: Path | None = None
    compose: str | None = None
    shards: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A session that could start."""

    settings: Settings
    plan: Plan
    placement: Placement
    workers: tuple[WorkerSpec, ...]
    paced: bool
    speed_text: str
    report_folder: Path
    warnings: tuple[str, ...] = ()  # of the input


def parse_feed(text: str) -> FeedSpec:
    """What `--feed` says, as `FEEDS` has it; InputError for anything else."""
    kind, colon, rest = text.partition(":")
    if kind == "synthetic":
        if colon and not re.fullmatch("[0-9]{1,9}", rest):
            raise InputError(f"--feed {text}: {rest!r} is no seed; write synthetic:SEED with a whole number")
        return FeedSpec(kind="synthetic", seed=int(rest) if rest else 1, text=text)
    if kind == "replay":
        paths = tuple(Path(name) for name in rest.split(",") if name)
        if not paths:
            raise InputError(f"--feed {text}: no recording is named; write replay:PATH or replay:PATH,PATH")
        if any(is_recording(path) for path in paths):
            synthetic = Recording(paths).head.synthetic
            return FeedSpec(kind="replay", paths=paths, text=text, recording=True, made_up=synthetic)
        return FeedSpec(kind="replay", paths=paths, text=text)
    if kind == "bars":
        venue, _, names = rest.partition(":")
        paths = tuple(Path(name) for name in names.split(",") if name)
        if venue not in LIVE_VENUES or not paths:
            raise InputError(
                f"--feed {text}: bars of which venue and files? Write bars:VENUE:PATH[,PATH...] with a venue of "
                f"{', '.join(LIVE_VENUES)}"
            )
        return FeedSpec(kind="bars", paths=paths, text=text, venue=venue)
    if text == "live":
        return FeedSpec(kind="live", text=text)
    raise InputError(f"--feed {text}: not known; write {FEEDS}")


def parse_speed(text: str) -> float:
    """Event seconds per second; 0 for `max`. InputError for anything but `max` and `Nx`."""
    if text == "max":
        return 0.0
    found = _SPEED.fullmatch(text)
    speed = float(found[1]) if found else 0.0
    if not 0 < speed <= MAX_SPEED:
        raise InputError(f"--speed {text}: not known; write max, 1x or Nx with N up to {MAX_SPEED:,.0f}")
    return speed


def speed_of(text: str, feed: FeedSpec) -> float:
    """`parse_speed` for this feed: a live market goes by the wall clock, whatever anybody wants."""
    speed = parse_speed(text)
    if feed.kind == "live" and text not in ("max", "1x"):
        raise InputError(f"--speed {text}: a live market cannot be hurried; leave it out")
    return 1.0 if feed.kind == "live" else speed


def parse_pace(text: str | None, feed: FeedSpec, speed: float) -> bool:
    """True for event pacing: asked for, or the default of a replay at `max`."""
    if text is None:
        return feed.kind in ("replay", "bars") and speed == 0
    if text not in ("event", "free"):
        raise InputError(f"--pace {text}: not known; write event or free")
    if text == "event" and speed:
        raise InputError("--pace event: needs --speed max, since a wall clock decides nothing there; write --pace free")
    return text == "event"


def prepare(options: StartOptions, ask_venues: bool = True) -> Prepared:
    """Check settings, input and machine; touch nothing. Of a live feed the venues are asked for their instruments."""
    settings = load(options.config)
    check_limits(settings)
    feed = parse_feed(options.feed)
    data_latency = data_latency_of(settings)
    if data_latency is not None and feed.kind == "live":
        raise SettingsError(
            f"{settings.path}: venue.sim.data: a live market's data take the time that they take; remove it"
        )
    speed = speed_of(options.speed, feed)
    paced = parse_pace(options.pace, feed, speed)
    traded = traded_venue(settings)
    if traded and feed.kind != "live":
        raise InputError(f'--feed {options.feed}: {settings.path} trades live; write --feed live, or mode = "paper"')
    chosen, warnings = chosen_instruments(feed, settings)
    if traded:
        chosen = [key for key in chosen if key[1] == traded]
        if not chosen:
            raise InputError(f"instruments.toml: no instrument of {traded}, which {settings.path} trades on; add one")
    symbols = tuple(chosen)
    gateways = gateways_of(settings, symbols) if feed.kind == "live" else {}
    if traded:
        from workers.gateway import ask_ccxt, check_gateway  # nothing to a session on paper

        check_gateway(settings.path, traded, gateways[traded])
    if gateways:
        from workers.venue_check import check_connections  # decoders and connections are nothing to a replay

        check_connections(settings, symbols, gateways)
    if gateways and ask_venues:
        from workers.venue_check import check_instruments

        warnings = [*warnings, *check_instruments(settings, symbols, gateways, traded)]
        if traded and gateways[traded].ccxt is not None:
            sizes = instrument_records(settings, symbols, 1)
            warnings += ask_ccxt(settings.path, traded, gateways[traded], [symbol for symbol, _ in symbols], sizes)
    placement = _place(settings, options, paced, len(symbols))
    params = _strategy_parameters(settings)
    state = Path(settings.state.folder)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = state / "sessions" / f"{stamp}-{os.getpid()}"
    plan = Plan(
        instance=instance_of(state),
        generation=time.time_ns() // 1_000_000,
        n_shards=placement.n_shards,
        symbols=symbols,
        instruments=instrument_records(settings, symbols, placement.n_shards),
        limits=limits_record(settings),
        breakers=breaker_words(settings),
        session=session_record(
            settings,
            paced=paced,
            n_shards=placement.n_shards,
            n_instruments=len(symbols),
            speed=speed,
        ),
        feed=feed,
        speed=speed,
        strategy_module=settings.strategy.module,
        strategy_params=params,
        state_folder=state,
        session_folder=folder,
        composed=placement.composed,
        strict=bool(settings.state.strict),
        recorder=recorder_of(settings, folder.name),
        gateways=gateways,
        traded=traded,
        quote=settings.account.quote,
        latencies=latencies_of(settings),
        data_latency=data_latency,
        queue=queue_of(settings),
        impacts=impacts_of(settings, symbols),
        history=_history(settings, symbols),
        spike_bps=0 if feed.kind == "bars" else settings.limits.spike_bps,  # a bar's prices have been traded
        time_limit_ns=settings.limits.venue_time_ms * NS_PER_MS,
        silence_ns=silence_of(settings, symbols),
    )
    told = carry_over(plan, settings)
    return Prepared(
        settings=settings,
        plan=plan,
        placement=placement,
        workers=_workers(placement, settings.recorder is not None, bool(traded)),
        paced=paced,
        speed_text="1x" if feed.kind == "live" else options.speed,
        report_folder=options.report or folder / "report",
        warnings=(*warnings, *([told] if told else [])),
    )


def _history(settings: Settings, symbols: tuple[tuple[str, str], ...]) -> np.ndarray | None:
    """How the instruments moved before; SettingsError if what is named is no recording."""
    folder = settings.portfolio.history
    if folder is None:
        return None
    from workers.history import history_of  # Parquet is nothing to the others

    try:
        return history_of(Path(folder), symbols, settings.limits.quote_age_ms * NS_PER_MS)
    except Bot4Error as error:
        raise SettingsError(f"{settings.path}: portfolio.history: {error}") from None


def _opened(plan: Plan, wires: Wires) -> list[str]:
    """Circuit breakers that have opened, in words."""
    venues = [venue for _, venue in plan.symbols] if plan.feed.kind == "live" else []
    return breaker_lines(breaker_table(wires, venues, time.monotonic_ns()))


def _tightened(wires: Wires) -> list[str]:
    """For the report: each limit that is not the one that this start began with."""
    rows = tightened(wires).items()
    return [f"{name} was tightened to {row['in_force']}, from {row['begun']}, while it ran." for name, row in rows]


def carry_over(plan: Plan, settings: Settings) -> str:
    """Begin with what the account's last live session left; any other begins anew, so that its input alone decides.

    Another account.equity than the last session had is a deposit or a withdrawal: it moves equity and marks alike, so
    what was lost and won counts on, to the unit. Where a real venue holds the money, no more than the settings' equity
    is at stake; what was won beyond that moves the marks too. Returns what a person should know of it, "" if nothing.
    """
    equity_e8 = to_e8(settings.account.equity, f"{settings.path}: account.equity")
    live = plan.feed.kind == "live"
    found = read_account(plan.state_folder, settings.account.id, plan.traded) if live else None
    left = found or AccountState(equity_e8, 0, 0, 0, 0, 0)
    moved_e8 = equity_e8 - left.stake_e8 if left.stake_e8 else 0
    begin_e8 = left.equity_e8 + moved_e8
    if moved_e8 and begin_e8 <= 0:
        raise SettingsError(
            f"{settings.path}: account.equity: {from_e8(-moved_e8)} less than at the account's last session, which has "
            f"left {from_e8(left.equity_e8)}: nothing to trade with; write more"
        )
    if plan.traded:
        begin_e8 = min(equity_e8, begin_e8)
    row = plan.session[0]
    for name in AccountState._fields[1:]:
        row[name] = getattr(left, name)
    for name in ("high_water_e8", "day_start_e8"):
        if row[name]:
            row[name] += begin_e8 - left.equity_e8
    row["start_equity_e8"], row["stake_e8"] = begin_e8, equity_e8
    if not moved_e8:
        return ""
    what = "a deposit" if moved_e8 > 0 else "a withdrawal"
    return (
        f"account.equity was {from_e8(left.stake_e8)} at the account's last session and is {from_e8(equity_e8)} now: "
        f"taken as {what} of {from_e8(abs(moved_e8))}; what was lost or won before counts on."
    )


def begin_anew(plan: Plan) -> None:
    """A day that is over is not carried on. HaltedError if the losses would set the kill switch at the first event.

    What was lost stays lost, whoever resets the switch; a session that is taken up begins all the same, since it has
    a position to guard.
    """
    row, limits = plan.session[0], plan.limits[0]
    if row["day"] < (time.time_ns() - limits["day_offset_ns"]) // NS_PER_DAY:
        row["day"] = row["day_start_e8"] = 0
    file = account_path(plan.state_folder, int(row["account"]), plan.traded)
    for mark, limit, since, way_out in (
        ("high_water_e8", "kill_drawdown_bps", "since its high-water mark of",
         f"raise it, or move {file} away to begin with account.equity and a new mark"),
        ("day_start_e8", "kill_daily_loss_bps", "since the trading day began with",
         "wait for the next one, or raise it"),
    ):  # fmt: skip
        mark_e8, bps = int(row[mark]), int(limits[limit])
        lost_e8 = mark_e8 - int(row["start_equity_e8"])
        if lost_e8 > 0 and lost_e8 * BPS >= min(mark_e8, int(limits["capital_e8"])) * bps:
            raise HaltedError(
                f"the account has lost {from_e8(lost_e8)} {since} {from_e8(mark_e8)}: {limit} = {bps} of {LIMITS_FILE} "
                f"would set the kill switch at the first event; {way_out}"
            )


def _strategy_parameters(settings: Settings) -> np.ndarray:
    from bot4.engine.shard import strategy_parameters

    try:
        return strategy_parameters(settings.strategy.module, settings.strategy.params)
    except SettingsError as error:
        raise SettingsError(f"{settings.path}: {error}") from None


def _place(settings: Settings, options: StartOptions, paced: bool, n_instruments: int) -> Placement:
    topology = settings.topology
    if options.shards is not None:
        if not 1 <= options.shards <= MAX_SHARDS:
            raise InputError(f"--shards {options.shards}: write 1 to {MAX_SHARDS}")
        topology = _with(topology, shards=options.shards)
    compose = options.compose or topology.compose
    if compose not in ("auto", "one", "processes"):
        raise InputError(f"--compose {compose}: not known; write auto, one or processes")
    if options.compose == "one" and options.feed == "live":
        raise InputError("--compose one: a live feed waits for its sockets in a process of its own; leave it out")
    if options.feed == "live":
        compose = "processes"
    if compose == "auto":
        # free-running agents are measured as processes, whatever they share; event-paced ones gain nothing from that
        compose = "auto" if paced else "processes"
    return resolve(_with(topology, compose=compose), n_instruments, file=str(settings.path.with_name("topology.toml")))


def _with(topology: Any, **changes: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(topology, **changes)


def recorder_of(settings: Settings, session: str) -> RecorderSpec | None:
    """Where a session of this name is recorded; None if it is not."""
    recorder = settings.recorder
    if recorder is None:
        return None
    rows = recorder.part_mb * 2**20 // TICK.itemsize
    return RecorderSpec(
        folder=Path(recorder.folder) / session, raw=recorder.raw == "on", rows=rows, part_s=float(recorder.part_s)
    )


def _workers(placement: Placement, recorded: bool, live: bool = False) -> tuple[WorkerSpec, ...]:
    """The processes in the order in which they start; the recorder has no core of its own, it runs where it may.

    Live, the gateway to the venue runs in execution's process.
    """

    def order(name: str) -> tuple[int, str]:
        return {"venue": 0, "execution": 1, "feed": 3}.get(name, 2), name

    places = sorted(placement.agents, key=lambda agent: order(agent.name))
    together = {"execution": ("execution", "gateway")} if live else {}
    specs = [
        WorkerSpec(name=place.name, agents=together.get(place.name, (place.name,)), core=place.core, idle=place.idle)
        for place in places
        if not (live and place.name == "venue")
    ]
    recorder = [WorkerSpec(name="recorder", agents=("recorder",), core=None, idle="block")] if recorded else []
    return (*recorder, *specs)


class Session:
    """A prepared session that runs. One use: `run`, then it is over."""

    def __init__(
        self, prepared: Prepared, view: View, until_end: bool = True, template: TemplateProcess | None = None
    ) -> None:
        self._prepared = prepared
        self._plan = prepared.plan
        self._view = view
        self._until_end = until_end
        self._template = template  # begun earlier, or None
        self._state = prepared.plan.state_folder
        self._supervisor: Supervisor | None = None
        self._started_ns = time.time_ns()
        self._inputs = Path()  # the folder of what this start is given

    def run(self) -> tuple[Outcome, list[str], dict[str, Any] | None]:
        """Run it; returns how it ended, the closing lines, and the report (None if there was nothing to report)."""
        lock = InstanceLock(self._state)
        lock.acquire()
        try:
            _require_cache()
            refuse_if_tripped(self._state)
            self._clean_up()
            self._begin()
            _writable(self._prepared.report_folder)
            self._inputs = _keep_inputs(self._prepared)
            plan = self._plan
            shared = create_wires(
                plan.instance, plan.n_shards, plan.n_instruments, generation=plan.generation, **plan.recorded
            )
            set_breakers(plan, shared.wires)
            try:
                return self._run(shared)
            finally:
                self._supervisor = None
                self._remove_warm_folders()  # a template that was killed while it warmed up leaves one
                shared.unlink()
                shared.close()
                remove_instance(self._state)
        finally:
            lock.release()

    def _begin(self) -> None:
        """Make the session's folder, or go on with the session that the account has not ended flat."""
        plan = self._plan
        carry_over(plan, self._prepared.settings)  # a session may have ended since the settings were checked
        before = last_session(plan) if plan.traded else None
        if not before:
            begin_anew(plan)
        if not plan.traded:
            plan.session_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        fresh, plan = plan, taken_up(plan, *before) if before else plan
        plan.session[0]["feed_generation"] = next_generation(self._state, last_generation(self._state))
        if before:
            self._view.note(f"goes on with {plan.session_folder}, which has not ended flat")
            report = self._prepared.report_folder
            if report.parent == fresh.session_folder:
                report = free_name(plan.session_folder, report.name)
            self._prepared, self._plan = replace(self._prepared, plan=plan, report_folder=report), plan
        else:
            plan.session_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            keep_begin(plan)

    @property
    def report_folder(self) -> Path:
        """Where the report goes."""
        return self._prepared.report_folder

    def _clean_up(self) -> None:
        """What an earlier crash of this very instance left: processes by pid and start time, segments and the folders
        in which a template warmed up by name.
        """
        for ended in kill_orphans(self._state):
            self._view.note(f"ended a leftover of an earlier run: {ended}")
        for name in unlink_leftovers(os.getuid(), self._plan.instance):
            self._view.note(f"removed shared memory of an earlier run: {name}")
        self._remove_warm_folders()

    def _remove_warm_folders(self) -> None:
        for folder in (self._state / "sessions").glob(f"*/{WARM_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, shared: SharedWires) -> tuple[Outcome, list[str], dict[str, Any] | None]:
        prepared = self._prepared
        supervision = prepared.settings.topology.supervision
        self._view.note(f"{self._plan.feed.text}: {', '.join(symbol_keys(self._plan.symbols))}; {self._pace_text()}")
        self._view.note(prepared.placement.sentence)
        for warning in prepared.warnings:
            self._view.note(warning)
        supervisor = Supervisor(
            self._plan,
            shared.wires,
            prepared.workers,
            heartbeat_timeout_s=supervision.heartbeat_timeout_ms / 1000,
            restarts_max=supervision.restarts_max,
            until_end=self._until_end,
            note=self._view.note,
            look=lambda: self._show(shared.wires),
            look_s=self._view.every_s,
            changed=self._record,
            template=self._template,
        )
        self._supervisor = supervisor
        self._record()
        outcome = supervisor.run()
        shared.unlink()  # every worker is gone: the names go before anything else can fail
        if outcome.exit_code == 2 or not supervisor.began_ns:
            return outcome, [], None
        with undisturbed():
            self._show(shared.wires)
            records = self._records()
            report = self._report(shared.wires, outcome, records)
            folder, plan = prepared.report_folder, self._plan
            if outcome.exit_code == 0 and len(records):  # what cannot be read stays as it is
                with suppress(OSError):  # a file system that cannot do it keeps the room
                    release_room(plan.journal_path, len(records))
            page: Path | None
            try:
                page = write_report(folder, report, plan.instruments, plan.symbols, records)
            except InputError as error:  # the disk is full: what the session did is told all the same
                told = f"{outcome.message}; {error}" if outcome.message else str(error)
                outcome, page = replace(outcome, exit_code=outcome.exit_code or 1, message=told), None
            return outcome, closing_lines(report, page, plan.session_folder), report

    def _pace_text(self) -> str:
        pace = "paced by event time" if self._prepared.paced else "free-running"
        return f"{pace}, speed {self._prepared.speed_text}"

    def _show(self, wires: Wires) -> None:
        supervisor = self._supervisor
        if supervisor is None or not supervisor.began_ns:
            return
        elapsed_s = (time.monotonic_ns() - supervisor.began_ns) / 1e9
        label = self._label()
        self._view.show(snapshot(wires, label, supervisor.states(), elapsed_s))

    def _label(self) -> SessionLabel:
        plan = self._plan
        return SessionLabel(
            instance=plan.instance,
            feed=plan.feed.text,
            synthetic=plan.feed.synthetic,
            pace="event" if self._prepared.paced else "free",
            speed=self._prepared.speed_text,
            symbols=tuple(symbol_keys(plan.symbols)),
            values_e8=tuple(int(value) for value in plan.instruments["value_e8"]),
            start_equity_e8=int(plan.session[0]["start_equity_e8"]),
            venues=tuple(venue for _, venue in plan.symbols) if plan.feed.kind == "live" else (),
        )

    def _record(self) -> None:
        """Write instance.json: whom status, stop and the next start talk to."""
        supervisor = self._supervisor
        if supervisor is None:
            return
        label = self._label()
        workers = supervisor.workers
        content = InstanceFile(
            instance=self._plan.instance,
            supervisor=identify(os.getpid()),
            generation=self._plan.generation,
            n_shards=self._plan.n_shards,
            n_instruments=self._plan.n_instruments,
            started_ns=self._started_ns,
            began_ns=supervisor.began_ns,
            session_folder=str(self._plan.session_folder),
            report_folder=str(self._prepared.report_folder),
            inputs_folder=str(self._inputs),
            label=label,
            template=supervisor.template,
            workers={name: watched.identity for name, watched in workers.items() if watched.alive},
            cores={name: watched.core for name, watched in workers.items()},
            restarts={name: watched.restarts for name, watched in workers.items()},
            rows={name: list(watched.rows) for name, watched in workers.items()},
        )
        with suppress(OSError):  # a full disk must not end the session: only status and stop know less then
            write_instance(self._state, content)

    def _records(self) -> np.ndarray:
        """The committed journal; empty if execution never opened one."""
        if not self._plan.journal_path.exists():
            return np.zeros(0, JOURNAL)
        try:
            return read_journal(self._plan.journal_path)
        except (
            JournalError
        ) as error:  # the reason of the end stays the first line; the report shows what the wires hold
            self._view.note(f"{error}; the report is without orders and fills")
            return np.zeros(0, JOURNAL)

    def _report(self, wires: Wires, outcome: Outcome, records: np.ndarray) -> dict[str, Any]:
        supervisor, plan = self._supervisor, self._plan
        assert supervisor is not None
        latch = KillLatch(self._state).read()
        strategy = self._prepared.settings.strategy
        calibration = calibration_of(wires.calibration)
        in_force = wires.limits[LIMITS_IN_FORCE]  # nothing, if execution has not begun
        recovered = sum(w.restarts for name, w in supervisor.workers.items() if name == "execution")
        facts = RunFacts(
            source=plan.feed.text if plan.feed.synthetic else plan.feed.kind,
            synthetic=plan.feed.synthetic,
            files=[str(path) for path in plan.feed.paths],
            pace="event" if self._prepared.paced else "free",
            speed=self._prepared.speed_text,
            wall_s=supervisor.wall_s,
            tsc_hz=calibration.tsc_hz if calibration else 0.0,
            session=plan.session,
            limits=in_force.copy().view(LIMITS) if in_force.any() else plan.limits,
            latencies=plan.latencies,
            data_latency=plan.data_latency,
            queue=plan.queue,
            impacts=plan.impacts,
            mode=self._prepared.settings.mode,
            strategy=strategy.module,
            strategy_params=strategy.params,
            workers={name: _facts(watched) for name, watched in supervisor.workers.items()},
            versions=versions(),
            machine=machine(),
            exit_state=outcome.state,
            killed=latch.tripped,
            kill_reason=latch.reason if latch.tripped else outcome.message,
            recovered=recovered,
            warnings=(*self._prepared.warnings, *_tightened(wires), *_opened(plan, wires)),
            recording=str(plan.recorder.folder) if plan.recorder else None,
        )
        return session_object(wires, plan.instruments, plan.symbols, records, facts)


def _keep_inputs(prepared: Prepared) -> Path:
    """What the session is given, into a folder in its own, so that it can be played again; a full disk costs no
    session. Returns that folder.
    """
    plan, path = prepared.plan, prepared.settings.path
    begin = f"bars:{plan.feed.venue}:" if plan.feed.kind == "bars" else "replay:"
    feed = begin + ",".join(str(file.resolve()) for file in plan.feed.paths) if plan.feed.paths else plan.feed.text
    sizes = [(from_e8(int(row["tick_e8"])), from_e8(int(row["lot_e8"]))) for row in plan.instruments]
    instruments = [[name, *size] for name, size in zip(symbol_keys(plan.symbols), sizes, strict=True)]
    said = {
        "config": path.name,
        "feed": feed,
        "pace": "event" if prepared.paced else "free",
        "instruments": instruments,
    }
    folder = free_name(plan.session_folder, INPUTS_FOLDER)
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        for name in (path.name, LIMITS_FILE, INSTRUMENTS_FILE, TOPOLOGY_FILE):
            (folder / name).write_bytes(path.with_name(name).read_bytes())
        (folder / COMMAND_FILE).write_text(json.dumps(said))
    return folder


@contextmanager
def undisturbed() -> Iterator[None]:
    """No signal tears what is done in here: an impatient second Ctrl-C must not cost the report."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refuse_first(config: Path) -> None:
    """HaltedError if the latch is set, before settings, input or venue can be refused for less.

    Where its file is missing, the start finds out under the folder's lock whether it was ever there.
    """
    state = load_state_folder(config)
    if KillLatch(state).path.exists():
        refuse_if_tripped(state)


def refuse_if_tripped(state: Path) -> None:
    """HaltedError, naming the way out, if the kill latch of this state folder is set."""
    latch = KillLatch(state).read()
    if latch.tripped:
        raise HaltedError(
            f"the kill latch of {state} is set ({latch.reason}); find out why, then: "
            'bot4-supervisor reset --reason "..."'
        )


def _require_cache() -> None:
    refusal = cache_refusal()
    if refusal:
        raise SettingsError(refusal)


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        raise InputError(
            f"--report {folder}: cannot be written ({error.strerror}); name a folder that you may write"
        ) from None


def _facts(watched: Any) -> WorkerFacts:
    memory = watched.memory
    return WorkerFacts(
        pid=watched.identity.pid,
        core=watched.core,
        restarts=watched.restarts,
        pss_mb=memory.pss_mb if memory else None,
        private_mb=memory.private_mb if memory else None,
    )


def versions() -> dict[str, str]:
    """What ran."""
    found = {"python": platform.python_version()}
    for name in ("bot4", "numba", "numpy", "llvmlite"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> dict[str, object]:
    """Where it ran."""
    model = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "usable_cores": len(available_cores()),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
    }


# --- the doors: status, stop, kill, reset ------------------------------------------------------------------------
def state_folder(config: Path, state: Path | None) -> Path:
    """The state folder: named directly, or by the session's file, of which nothing else is looked at."""
    if state is not None:
        return state
    try:
        return load_state_folder(config)
    except SettingsError as error:
        raise SettingsError(f"{error}; or name the state folder: --state FOLDER") from None


def seen_folder(config: Path, state: Path | None) -> Path:
    """The state folder of whoever only looks at it or ends what runs there: one that is named has to exist."""
    if state is not None and not state.is_dir():
        raise SettingsError(f"--state: {state}: no such folder; name the state folder of a session")
    return state_folder(config, state)


def status(state: Path) -> dict[str, Any]:
    """What runs on this state folder, as JSON types."""
    latch = KillLatch(state).read() if state.is_dir() else None
    base: dict[str, Any] = {
        "state_folder": str(state),
        "running": False,
        "latch": None
        if latch is None
        else {"tripped": latch.tripped, "reason": latch.reason, "since_ns": latch.since_ns, "damaged": latch.damaged},
    }
    found = running_instance(state)
    if found is None:
        return base | _left(state)
    base |= {"running": True, "pid": found.supervisor.pid, "started_ns": found.started_ns}
    base |= {"session_folder": found.session_folder, "report_folder": found.report_folder}
    try:
        shared = attach_wires(found.instance, found.n_shards, found.n_instruments, generation=found.generation)
    except SegmentError:
        return base | {"session": None}  # just ending
    try:
        states = {
            name: WorkerState(
                pid=found.workers[name].pid if name in found.workers else 0,
                core=found.cores[name],
                restarts=found.restarts[name],
                rows=tuple(rows),
                alive=name in found.workers and found.workers[name].alive,
            )
            for name, rows in found.rows.items()
        }
        if not found.began_ns or found.label is None:
            return base | {"session": None}  # the kernels are being loaded or compiled
        elapsed_s = (time.monotonic_ns() - found.began_ns) / 1e9
        shot = snapshot(shared.wires, found.label, states, elapsed_s)
        return base | {"session": Rates().add(shot)}  # one look: the rates are those since the begin
    finally:
        shared.close()


def _left(state: Path) -> dict[str, Any]:
    """What sessions have left open at a venue, as JSON types; `trouble` where that cannot be known."""
    try:
        left = [{"session_folder": str(folder), "account": begin.account, "venue": begin.venue}
                for folder, begin in not_flat(state)]  # fmt: skip
    except Bot4Error as error:
        return {"not_flat": None, "trouble": str(error)}
    return {"not_flat": left, "trouble": ""}


def stop(state: Path, timeout_s: float) -> bool:
    """Ask the running instance to stop and wait for it; False if none runs. Bot4Error if it does not end in time."""
    from bot4.adapters.system.process import open_process

    found = running_instance(state)
    handle = open_process(found.supervisor) if found is not None else None
    if handle is None:
        return False
    try:
        handle.send(signal.SIGTERM)
        if not handle.wait(timeout_s):
            raise Bot4Error(f"the supervisor (pid {handle.identity.pid}) has not ended after {timeout_s:.0f} s")
    finally:
        handle.close()
    return True


def kill(state: Path, reason: str) -> bool:
    """Trip the latch on disk, then the kill word of the running instance; True if one runs."""
    from bot4.shm.layout import CONTROL_KILL

    KillLatch(state).trip(reason)
    found = running_instance(state)
    if found is None:
        return False
    with suppress(SegmentError):  # starting or ending; it reads the latch itself
        shared = attach_wires(found.instance, found.n_shards, found.n_instruments, generation=found.generation)
        shared.wires.control[CONTROL_KILL] = 1
        shared.close()
    return True


def reset(state: Path, reason: str) -> bool:
    """Clear the latch; False if it was clear. Bot4Error while an instance runs: stop it first."""
    if not reason.strip():
        raise InputError('reset: --reason is empty; say why, like --reason "checked all positions"')
    if not state.is_dir():
        raise SettingsError(f"state folder {state}: no such folder, so there is nothing to reset")
    lock = InstanceLock(state)
    try:
        lock.acquire()
    except Bot4Error as error:
        raise Bot4Error(f"reset is refused: {error}") from None
    try:
        latch = KillLatch(state)
        before = latch.read()
        if before.tripped:
            latch.reset(reason)
        return before.tripped
    finally:
        lock.release()


def build(config: Path) -> float:
    """Compile everything a session of these settings can need; returns the seconds it took."""
    _require_cache()
    settings_of = StartOptions(config=config)
    began = time.monotonic()
    apart = replace(settings_of, compose="processes")
    if any(instrument.venue in LIVE_VENUES for instrument in load(config).instruments):
        apart = replace(settings_of, feed="live")  # the same agents, and the feed of the connections
    for options in (apart, replace(settings_of, compose="one")):
        prepared = prepare(options, ask_venues=False)
        context = multiprocess.get_context("spawn")
        answers, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_build, args=(prepared.plan, theirs), name="bot4-build")
        process.start()
        theirs.close()
        try:
            failure = answers.recv()
        except EOFError:
            failure = Bot4Error("the kernels cannot be compiled; see above")
        process.join()
        process.close()
        if failure is not None:
            raise failure
    return time.monotonic() - began


def _build(plan: Plan, answers: Any) -> None:
    """Compile in a process of its own; answer with the error that a person can mend, or None."""
    try:
        warm_up(plan)
    except Bot4Error as error:
        answers.send(error)
    else:
        answers.send(None)

"""What a running session looks like: one snapshot of the wires, shown as a live page, a JSON line or a plain line.

A snapshot is read without stopping anybody: counters are single words, so each is right, though not all of one instant.
What nobody takes at once is left out: a reader that has gone or stands still must not hold up the supervisor.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

import numpy as np
import orjson

from bot4.adapters.files.breaker import breaker_lines, breaker_table
from bot4.adapters.files.report_facts import clock_object
from bot4.adapters.files.shut import shut_ways
from bot4.adapters.system.instance import SessionLabel
from bot4.adapters.system.output import TerminalFile, standard_output
from bot4.model.breaker import BEGUN, rows_of_component
from bot4.model.enums import INT64_MAX, REJECT_NAMES
from bot4.model.records import LIMITS
from bot4.model.units import from_e8
from bot4.settings.conversion import BREAKER_COLUMNS, limit_field, limit_text
from bot4.settings.schema import Breakers
from bot4.shm import wires as w
from bot4.shm.calibration import calibration_of
from bot4.shm.histogram import HISTOGRAM_COUNT, percentile
from bot4.shm.layout import CLOCK_FEED, CONTROL_KILL, CONTROL_STOP

GUARDS = ("", "none at this venue", "armed", "off, a stop rests", "off, nothing rests that opens")
EXEC_STATES = ("starting", "recovering", "active", "halted")
PLAIN_EVERY_S = 5.0  # a log wants a heartbeat, not a film


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One worker as the supervisor, or instance.json, knows it."""

    pid: int
    core: int | None
    restarts: int
    rows: tuple[int, ...]
    alive: bool


def snapshot(
    wires: w.Wires, label: SessionLabel, workers: Mapping[str, WorkerState], elapsed_s: float
) -> dict[str, Any]:
    """The session now, as JSON types; rates are left to `Rates`."""
    n_shards = wires.gauges.shape[0] - w.N_OTHER_ROWS
    feed = wires.gauges[n_shards + w.FEED_ROW]
    execution = wires.gauges[n_shards + w.EXECUTION_ROW]
    counts = wires.rejects.sum(axis=0)
    equity = int(execution[w.GAUGE_EXEC_EQUITY_E8]) or label.start_equity_e8
    now = time.monotonic_ns()
    return {
        "instance": label.instance,
        "feed": label.feed,
        "synthetic": label.synthetic,
        "pace": label.pace,
        "speed": label.speed,
        "elapsed_s": round(elapsed_s, 3),
        "event_time_ns": int(wires.gauges[:n_shards, w.GAUGE_EVENT_TIME_NS].min()),  # how far decisions have come
        "feed_done": bool(wires.clocks[CLOCK_FEED] == INT64_MAX),
        "stopping": bool(wires.control[CONTROL_STOP]),
        "killed": bool(wires.control[CONTROL_KILL]),
        "state": EXEC_STATES[int(execution[w.GAUGE_EXEC_STATE]) % len(EXEC_STATES)],
        "messages": int(feed[w.GAUGE_FEED_MESSAGES]),
        "ticks": int(feed[w.GAUGE_FEED_TICKS]),
        "dropped": int(feed[w.GAUGE_FEED_DROPPED]),
        "rejected_input": int(wires.refused.sum()),
        "intents": int(wires.gauges[:n_shards, w.GAUGE_SHARD_INTENTS].sum()),
        "orders": int(execution[w.GAUGE_EXEC_ORDERS]),
        "fills": int(execution[w.GAUGE_EXEC_FILLS]),
        "open_orders": int(execution[w.GAUGE_EXEC_OPEN_ORDERS]),
        "unknown_orders": int(execution[w.GAUGE_EXEC_UNKNOWN]),
        "breaker_open": bool(execution[w.GAUGE_EXEC_BREAKER]),
        "losing_streak": bool(execution[w.GAUGE_EXEC_STREAK]),
        "shut": shut_ways(wires),
        "breakers": breaker_table(wires, label.venues, now),
        "tightened": tightened(wires),
        "rejects": {
            REJECT_NAMES.get(int(code), f"CODE_{code}"): int(counts[code]) for code in np.flatnonzero(counts) if code
        },
        "latency_ns": _latency(wires, label),
        "equity": from_e8(equity),
        "profit": from_e8(equity - label.start_equity_e8),
        "drawdown_ratio": int(execution[w.GAUGE_EXEC_DRAWDOWN_PPM]) / 1_000_000,
        "positions": {
            symbol: _position(wires.positions[index], label.values_e8[index])
            for index, symbol in enumerate(label.symbols)
        },
        "venues": _venues(feed[w.GAUGE_FEED_VENUES :], label.venues, now),
        "dead_man": GUARDS[int(wires.gauges[n_shards + w.VENUE_ROW, w.GAUGE_VENUE_GUARD])],
        "clock": {symbol: clock_object(wires.venue_clocks[index]) for index, symbol in enumerate(label.symbols)},
        "workers": {name: _worker(wires, state, now) for name, state in workers.items()},
    }


def tightened(wires: w.Wires) -> dict[str, dict[str, str]]:
    """By field of limits.toml: what is in force since it was tightened, and what the session began with."""
    in_force, begun = wires.limits
    found = {
        limit_field(name): {
            "in_force": limit_text(name, int(in_force[word])),
            "begun": limit_text(name, int(begun[word])),
        }
        for word, name in enumerate(LIMITS.names or ())
        if in_force[word] != begun[word]
    }
    n_shards = wires.gauges.shape[0] - w.N_OTHER_ROWS
    for component in Breakers.__struct_fields__:
        row = wires.breakers[rows_of_component(component, n_shards)[0]]
        for field, (column, unit) in BREAKER_COLUMNS.items():
            now, then = int(row[column]) // unit, int(row[column + BEGUN]) // unit
            if now != then:
                found[f"breaker.{component}.{field}"] = {"in_force": str(now), "begun": str(then) if then else "none"}
    return found


def _venues(row: np.ndarray, venues: Sequence[str], now_ns: int) -> dict[str, dict[str, Any]]:
    """By venue of a live feed: whether all of its instruments are heard, since when, and how many books are whole."""
    found = {}
    for place, venue in enumerate(sorted(set(venues))):
        words = row[place * w.N_VENUE_GAUGES :]
        books, since_ns = venues.count(venue), int(words[w.VENUE_SINCE_NS])
        found[venue] = {
            "connected": int(words[w.VENUE_HEARD]) == books,
            "since_s": round(max(0, now_ns - since_ns) / 1e9, 1) if since_ns else None,
            "books": books,
            "books_whole": int(words[w.VENUE_WHOLE]),
        }
    return found


def _latency(wires: w.Wires, label: SessionLabel) -> dict[str, dict[str, int]] | None:
    if label.pace == "event":
        return None  # event-paced agents wait for each other: that time says nothing
    calibration = calibration_of(wires.calibration)
    if calibration is None:
        return None
    found = {}
    for row, stage in enumerate(w.STAGES):
        histogram = wires.histograms[row]
        if histogram[HISTOGRAM_COUNT]:
            found[stage] = {
                name: round(percentile(histogram, ratio) / calibration.cycles_per_ns)
                for name, ratio in (("p50", 0.5), ("p99", 0.99))
            }
    return found


def _position(row: np.ndarray, value_e8: int) -> dict[str, Any]:
    lots, bid, ask = (int(row[column]) for column in (w.POSITION_LOTS, w.POSITION_BID, w.POSITION_ASK))
    open_tl = lots * ((bid + ask) // 2) - int(row[w.POSITION_COST_TL]) if lots and bid > 0 and ask > 0 else 0
    fees, funding = int(row[w.POSITION_FEES_E8]), int(row[w.POSITION_FUNDING_E8])
    net = (int(row[w.POSITION_REALISED_TL]) + open_tl) * value_e8 - fees + funding
    return {"lots": lots, "unrealised": from_e8(open_tl * value_e8), "profit": from_e8(net), "fees": from_e8(fees)}


def _worker(wires: w.Wires, state: WorkerState, now_ns: int) -> dict[str, Any]:
    stamped = min(int(wires.gauges[row, w.GAUGE_HEARTBEAT_NS]) for row in state.rows)
    return {
        "pid": state.pid,
        "core": state.core,
        "restarts": state.restarts,
        "alive": state.alive,
        "heartbeat_ms": round(max(0, now_ns - stamped) / 1e6, 1) if stamped else None,
    }


class Rates:
    """Messages and ticks per second between two snapshots."""

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None

    def add(self, shot: dict[str, Any]) -> dict[str, Any]:
        """The snapshot with `messages_per_s` and `ticks_per_s` since the one before."""
        now = (shot["elapsed_s"], shot["messages"], shot["ticks"])
        last = self._last or (0.0, 0, 0)
        self._last = now
        seconds = now[0] - last[0]
        rates = [round((now[i] - last[i]) / seconds) if seconds > 0 else 0 for i in (1, 2)]
        return shot | {"messages_per_s": rates[0], "ticks_per_s": rates[1]}


class View(Protocol):
    """Where a session shows itself."""

    every_s: float

    def show(self, shot: dict[str, Any]) -> None:
        """One look at the session."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...

    def close(self) -> None:
        """The session has ended."""
        ...


class JsonView:
    """One JSON line a second; notes become lines of their own."""

    every_s = 1.0

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write if write is not None else standard_output().line
        self._rates = Rates()

    def _line(self, content: dict[str, Any]) -> None:
        self._write(orjson.dumps(content).decode())

    def show(self, shot: dict[str, Any]) -> None:
        """{"kind": "status", ...}"""
        self._line({"kind": "status", "t_ns": time.time_ns()} | self._rates.add(shot))

    def note(self, text: str) -> None:
        """{"kind": "note", "text": ...}"""
        self._line({"kind": "note", "t_ns": time.time_ns(), "text": text})

    def close(self) -> None:
        """Nothing is left open."""


class PlainView:
    """A line every few seconds, for a log."""

    every_s = PLAIN_EVERY_S

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write if write is not None else standard_output().line
        self._rates = Rates()

    def show(self, shot: dict[str, Any]) -> None:
        """One line."""
        self._write(plain_line(self._rates.add(shot)))

    def note(self, text: str) -> None:
        """The text, as it is."""
        self._write(text)

    def close(self) -> None:
        """Nothing is left open."""


def plain_line(shot: Mapping[str, Any]) -> str:
    """The snapshot in one line."""
    parts = [
        f"{shot['elapsed_s']:7.1f} s{' synthetic' if shot['synthetic'] else ''}",
        f"{shot.get('ticks_per_s', 0):,} ticks/s",
        f"{shot['messages']:,} messages",
        f"{shot['orders']:,} orders",
        f"{shot['fills']:,} fills",
        f"{sum(shot['rejects'].values()):,} refusals",
        f"profit {shot['profit']}",
    ]
    stage = (shot["latency_ns"] or {}).get("tick_to_intent")
    if stage:
        parts.append(f"tick to intent p50 {stage['p50']:,} p99 {stage['p99']:,} ns")
    if shot["dropped"]:
        parts.append(f"{shot['dropped']:,} dropped")
    restarts = sum(worker["restarts"] for worker in shot["workers"].values())
    if restarts:
        parts.append(f"{restarts} restarts")
    parts += [f"{name} {venue_words(row)}" for name, row in shot["venues"].items() if is_lacking(row)]
    if shot["killed"]:
        parts.append("KILLED")
    parts += [f"SHUT by {row['limit']}" for row in shot["shut"] if not shot["killed"]]
    return "  ".join(parts)


def is_lacking(row: Mapping[str, Any]) -> bool:
    """Whether something of a venue is not as it should be."""
    return not row["connected"] or row["books_whole"] < row["books"]


def venue_words(row: Mapping[str, Any]) -> str:
    """A venue's state in words."""
    since = "" if row["since_s"] is None else f" for {row['since_s']:,.0f} s"
    state = "connected" if row["connected"] else "not connected"
    return f"{state}{since}, {row['books_whole']} of {row['books']} books whole"


class LiveView:
    """One page on a terminal, drawn anew each half second; notes scroll above it."""

    every_s = 0.5

    def __init__(self, file: IO[str] | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._rates = Rates()
        self._console = Console(file=file or cast("IO[str]", TerminalFile(standard_output())))
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, shot: dict[str, Any]) -> None:
        """Draw the page."""
        self._live.update(live_page(self._rates.add(shot)), refresh=True)

    def note(self, text: str) -> None:
        """Above the page."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


def live_page(shot: Mapping[str, Any]) -> Any:
    """The page of a snapshot, as a rich renderable."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    def table(*columns: str) -> Table:
        made = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
        for index, column in enumerate(columns):
            made.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        return made

    state = "killed" if shot["killed"] else "stopping" if shot["stopping"] else shot["state"]
    title = f"bot4 · {shot['feed']} · pace {shot['pace']} · speed {shot['speed']} · {state}"
    market = Text("SYNTHETIC MARKET: not real prices", style="bold yellow") if shot["synthetic"] else Text("")
    head = Text.assemble(
        (f"{shot['ticks_per_s']:,}", "bold"), " ticks/s   ", (f"{shot['messages_per_s']:,}", "bold"), " messages/s   ",
        f"{shot['messages']:,} messages   {shot['ticks']:,} ticks   {shot['dropped']:,} dropped   ",
        f"{shot['elapsed_s']:.1f} s",
    )  # fmt: skip
    money = Text.assemble(
        "equity ", (shot["equity"], "bold"), "   profit after fees ",
        (shot["profit"], "bold red" if shot["profit"].startswith("-") else "bold green"),
        f"   drawdown {shot['drawdown_ratio']:.2%}   {shot['intents']:,} intents   {shot['orders']:,} orders   "
        f"{shot['fills']:,} fills   {shot['unknown_orders']} unknown",
    )  # fmt: skip
    alarms = [f"{row['limit']}: {row['why']}" for row in shot["shut"]] + breaker_lines(shot["breakers"])
    ways = Text("\n".join(alarms), style="bold red")
    stages = table("stage", "p50 ns", "p99 ns")
    for stage, values in (shot["latency_ns"] or {}).items():
        stages.add_row(stage, f"{values['p50']:,}", f"{values['p99']:,}")
    positions = table("position", "lots", "unrealised", "fees", "profit")
    for symbol, row in shot["positions"].items():
        positions.add_row(symbol, f"{row['lots']:,}", row["unrealised"], row["fees"], row["profit"])
    rejects = table("refused", "times")
    for name, count in sorted(shot["rejects"].items(), key=lambda item: -item[1])[:6]:
        rejects.add_row(name, f"{count:,}")
    venues = table("venue", "state")
    for name, row in shot["venues"].items():
        venues.add_row(name, Text(venue_words(row), style="bold red" if is_lacking(row) else ""))
    clocks = table("clock", "offset ms", "latest ms", "learned anew")
    told = {symbol: clock for symbol, clock in shot["clock"].items() if clock}
    for symbol, clock in told.items():
        clocks.add_row(
            symbol, f"{clock['offset_ms']:+,.1f}", f"{clock['latest_ms']:,.1f}", f"{clock['learned_anew']:,}"
        )
    workers = table("worker", "pid", "core", "heartbeat", "restarts")
    for name, row in shot["workers"].items():
        age = "-" if row["heartbeat_ms"] is None else f"{row['heartbeat_ms']:.0f} ms"
        core = "any" if row["core"] is None else str(row["core"])
        workers.add_row(name, str(row["pid"]), core, age if row["alive"] else "dead", str(row["restarts"]))
    if shot["dead_man"]:
        money.append(f"   dead-man's switch: {shot['dead_man']}")
    parts: list[Any] = [market, head, money, *([ways] if alarms else []), positions]
    if shot["latency_ns"]:
        parts.append(stages)
    if told:
        parts.append(clocks)
    if shot["rejects"]:
        parts.append(rejects)
    if shot["venues"]:
        parts.append(venues)
    return Panel(Group(*parts, workers), title=title, border_style="red" if shot["killed"] else "cyan")


def choose_view(json: bool, terminal: bool) -> View:
    """The view that fits where the output goes."""
    if json:
        return JsonView()
    return LiveView() if terminal else PlainView()


def _left_lines(found: Mapping[str, Any]) -> list[str]:
    if found["trouble"]:
        return [f"what is open at the venue is NOT known: {found['trouble']}"]
    return [
        f"NOT ENDED FLAT: {row['session_folder']}, account {row['account']} at {row['venue']}: positions or orders may "
        "be open there; the next start goes on with it, bot4-kill --flatten closes everything"
        for row in found["not_flat"]
    ]


def status_lines(found: Mapping[str, Any]) -> list[str]:
    """What `status` tells a person."""
    latch = found["latch"]
    lines = []
    if latch and latch["tripped"]:
        lines.append(f"kill latch: SET ({latch['reason']})")
    elif latch:
        lines.append("kill latch: clear")
    if not found["running"]:
        return [f"nothing runs on state folder {found['state_folder']}", *lines, *_left_lines(found)]
    lines.insert(0, f"running as pid {found['pid']}; report goes to {found['report_folder']}")
    shot = found["session"]
    if shot is None:
        return [*lines, "starting: the kernels are being loaded, or compiled if the cache is empty (or just ending)"]
    lines.append(plain_line(shot))
    lines += [f"shut: {row['limit']}: {row['why']}" for row in shot["shut"]]
    lines += breaker_lines(shot["breakers"])
    for name, row in shot["tightened"].items():
        lines.append(f"limit {name}: {row['in_force']}, tightened from {row['begun']}")
    for name, row in shot["positions"].items():
        lines.append(f"position {name}: {row['lots']:,} lots, profit {row['profit']}, fees {row['fees']}")
    lines += [f"venue {name}: {venue_words(row)}" for name, row in shot["venues"].items()]
    if shot["dead_man"]:
        lines.append(f"the venue's dead-man's switch: {shot['dead_man']}")
    for name, clock in shot["clock"].items():
        if clock:
            lines.append(
                f"clock {name}: receive time minus the venue's {clock['offset_ms']:+,.1f} ms, "
                f"the latest message {clock['latest_ms']:,.1f} ms later, learned anew {clock['learned_anew']:,} times"
            )
    for name, row in shot["workers"].items():
        core = "any core" if row["core"] is None else f"core {row['core']}"
        age = "no heartbeat yet" if row["heartbeat_ms"] is None else f"heartbeat {row['heartbeat_ms']:.0f} ms ago"
        state = age if row["alive"] else "dead"
        lines.append(f"worker {name}: pid {row['pid']}, {core}, {state}, {row['restarts']} restarts")
    return lines

"""The session report: `session.json` from the counters in shared memory and the journal, and the page beside it.

Counts of messages, refusals and stages come from the wires; orders, fills and the digest from the journal, which is the
truth that survives a killed process. Money leaves as decimal strings, and no value is ever NaN.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from bot4.adapters.files.breaker import breaker_table
from bot4.adapters.files.digest import bodies, session_digest
from bot4.adapters.files.report_account import equity_object, position_object, result_object
from bot4.adapters.files.report_assumption import assumptions
from bot4.adapters.files.report_facts import RunFacts, WorkerFacts, clock_object, kind_of_market
from bot4.adapters.files.report_page import session_page
from bot4.adapters.files.report_series import fills_of
from bot4.adapters.files.shut import shut_ways
from bot4.model.enums import (
    DECISION_BAD_SCORE,
    INPUT_REASONS,
    KIND_NAMES,
    LEG_ENTRY,
    LEG_EXIT,
    REJECT_NAMES,
    REJECT_REASONS,
    RISK_BREAKER_OPEN,
    RISK_DAILY_LOSS,
    RISK_DRAWDOWN,
    RISK_STREAK,
    SIZED_BY,
)
from bot4.model.errors import InputError
from bot4.model.records import JOURNAL_DENIED, JOURNAL_INTENT, JOURNAL_SLICED, ORDER_INTENT
from bot4.model.units import decimal_string
from bot4.shm import wires as w
from bot4.shm.histogram import HISTOGRAM_COUNT, HISTOGRAM_MAX, percentile
from bot4.shm.layout import RING_DROPPED, RING_HEAD

JSON_NAME = "session.json"
PAGE_NAME = "session.html"
MANY = 0.1  # share of the input that no sound market is refused
PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999))


def symbol_keys(symbols: Sequence[tuple[str, str]]) -> list[str]:
    """Names of the session's instruments: the symbol, with its venue where two instruments share a symbol."""
    names = [symbol for symbol, _ in symbols]
    return [f"{symbol}.{venue}" if names.count(symbol) > 1 else symbol for symbol, venue in symbols]


def session_object(
    wires: w.Wires,
    instruments: np.ndarray,
    symbols: Sequence[tuple[str, str]],
    records: np.ndarray,
    run: RunFacts,
) -> dict:
    """Everything that `session.json` holds.

    Parameters
    ----------
    wires : the session's shared memory
    instruments : INSTRUMENT[n]
    symbols : (symbol, venue) of each instrument
    records : JOURNAL[m], the session's committed journal records
    run : what only the supervisor knows

    Returns
    -------
    dict of JSON types, keys as the interface of the session report names them
    """
    keys = symbol_keys(symbols)
    free = run.pace != "event"
    fills = fills_of(records)
    rejects = _rejects(wires)
    positions = {key: position_object(wires.positions[i], instruments[i]) for i, key in enumerate(keys)}
    return {
        "feed": {
            "source": run.source,
            "synthetic": run.synthetic,
            "files": [str(name) for name in run.files],
            "span_ns": _span_ns(wires) if run.span_ns is None else int(run.span_ns),
        },
        "mode": run.mode,
        "pace": run.pace,
        "speed": run.speed,
        "messages": {key: _by_kind(wires.messages[i]) for i, key in enumerate(keys)},
        "levels": {key: int(wires.levels[i]) for i, key in enumerate(keys)},
        "dropped": int(_other(wires, w.FEED_ROW)[w.GAUGE_FEED_DROPPED]),
        "rejected_input": _refused(wires.refused.sum(axis=(0, 1))),
        "rejected_by_kind": {key: _refused_by_kind(wires.refused[i]) for i, key in enumerate(keys)},
        "book": {key: _book(wires, i) for i, key in enumerate(keys)},
        "clock": {key: clock_object(wires.venue_clocks[i]) for i, key in enumerate(keys)},
        "intents": _intents(records),
        "orders": int(np.count_nonzero(records["type"] == JOURNAL_INTENT)),
        "fills": len(fills),
        "rejects": rejects,
        "reject_reasons": {name: _reason(name) for name in rejects},
        "sized_by": _sized_by(records),
        "stops": _stops(wires),
        "positions": positions,
        "equity": equity_object(wires, instruments, records, int(run.session[0]["start_equity_e8"])),
        "result": result_object(wires, instruments, fills),
        "latency_ns": _latency(wires, run.tsc_hz) if free else None,
        "throughput": _throughput(wires, run.wall_s),
        "recorder": _recorder(wires, run),
        "digest": None if free else session_digest(records),
        "exit": _exit(wires, run),
        "breakers": breaker_table(wires, [v for _, v in symbols] if run.source == "live" else (), time.monotonic_ns()),
        "warnings": [*run.warnings, *_silence(records, rejects), *_warnings(wires, instruments, keys, rejects, run)],
        "strategy": {"name": run.strategy, "params": _plain_all(run.strategy_params)},
        "assumptions": assumptions(instruments, keys, run),
        "workers": {name: _worker(facts) for name, facts in run.workers.items()},
        "versions": dict(run.versions),
        "machine": _plain_all(run.machine),
    }


def write_report(
    folder: Path, report: dict, instruments: np.ndarray, symbols: Sequence[tuple[str, str]], records: np.ndarray
) -> Path:
    """Write `session.json` and `session.html` into `folder`, each whole or not at all, and return the page's path.

    Raises
    ------
    InputError
        the folder cannot be made or written
    """
    folder = Path(folder)
    page = session_page(report, instruments, symbol_keys(symbols), records)
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / JSON_NAME, text)
        _replace(folder / PAGE_NAME, page)
    except OSError as error:
        raise InputError(
            f"--report {folder}: cannot be written ({error.strerror or error}); name a folder that you may write"
        ) from None
    return folder / PAGE_NAME


def closing_lines(report: dict, page: Path | None = None, session: Path | None = None) -> list[str]:
    """What the terminal says last: what was done, what it earned or lost after fees, where report and session lie."""
    feed, result, throughput = report["feed"], report["result"], report["throughput"]
    taken = sum(sum(kinds.values()) for kinds in report["messages"].values())
    bad = sum(report["rejected_input"].values())
    total = f"{taken:,} messages" + (f" ({bad:,} more were refused)" if bad else "")
    symbols = ", ".join(report["positions"]) or "no instrument"
    market = "synthetic market (not real prices)" if feed["synthetic"] else f"{kind_of_market(feed)} market"
    profit = Decimal(result["profit_after_fees"])
    word = "earned" if profit > 0 else "lost" if profit < 0 else "neither earned nor lost"
    amount = f" {abs(profit):,.2f}" if profit else ""
    drawdown = report["equity"]["max_drawdown_ratio"]
    what = (
        f"{report['mode'].capitalize()} trading on a {market}: {symbols}; {total} of {_duration(feed['span_ns'])} in "
        f"{throughput['wall_s']:.1f} s ({throughput['messages_per_s']:,.0f} messages/s)."
    )
    refused = sum(n for name, n in report["rejects"].items() if name.startswith("VENUE_"))
    held_back = sum(report["rejects"].values()) - refused
    counts = (
        f"{report['intents']:,} intents, {report['orders']:,} orders, {report['fills']:,} fills, "
        f"{result['round_trips']:,} round trips of which {result['won']:,} won, "
        f"{held_back:,} decisions refused before they went out, {refused:,} orders by the venue, "
        f"largest drawdown {drawdown:.3%}."
    )
    money = (
        f"After fees of {Decimal(result['fees']):,.2f} it {word}{amount} on a start of "
        f"{Decimal(report['equity']['start']):,.2f}. Past results promise nothing."
    )
    lines = [what, counts, money]
    lines += [f"Mind: {warning}" for warning in report["warnings"]]
    state = report["exit"]
    if state["state"] != "done" or state["killed"]:
        reason = f": {state['kill_reason']}" if state["kill_reason"] else ""
        by = " by the kill switch" if state["killed"] else ""
        lines.append(f"The session ended as {state['state']}{by}{reason}.")
    if report["digest"]:
        lines.append(f"Digest {report['digest']}")
    if session is not None:
        lines.append(f"Journal, ledger and logs: {session}")
    if page is not None:
        lines.append(f"Report: {page}")
    return lines


def _other(wires: w.Wires, row: int) -> np.ndarray:
    n_shards = wires.gauges.shape[0] - w.N_OTHER_ROWS
    return wires.gauges[n_shards + row]


def _span_ns(wires: w.Wires) -> int:
    feed = _other(wires, w.FEED_ROW)
    return max(0, int(feed[w.GAUGE_FEED_SPAN_END_NS]) - int(feed[w.GAUGE_FEED_SPAN_START_NS]))


def _by_kind(counts: np.ndarray) -> dict[str, int]:
    return {name: int(counts[kind]) for kind, name in enumerate(KIND_NAMES) if name}


def _refused(counts: np.ndarray) -> dict[str, int]:
    return {name: int(counts[reason]) for reason, name in enumerate(INPUT_REASONS) if name and counts[reason]}


def _refused_by_kind(counts: np.ndarray) -> dict[str, dict[str, int]]:
    named = {name or "unknown": _refused(counts[kind]) for kind, name in enumerate(KIND_NAMES)}
    return {name: reasons for name, reasons in named.items() if reasons}


def _book(wires: w.Wires, i: int) -> dict[str, int | bool]:
    """What is known of the book: comparisons with the venue's best quote, and whether it was ever whole.

    Levels become records only once a snapshot has been applied; a continuation without one makes none.
    """
    compared, equal = (int(count) for count in wires.book_checks[i])
    return {"compared": compared, "equal": equal, "whole": bool(wires.levels[i] > 0)}


def _stale(wires: w.Wires) -> np.ndarray:
    """By instrument: was the book whole once, but not at the end?"""
    stale: np.ndarray = (wires.levels > 0) & (wires.positions[:, w.POSITION_WHOLE] == 0)
    return stale


def _silence(records: np.ndarray, rejects: Mapping[str, int]) -> list[str]:
    """Why not a single order went out, where a limit is why."""
    limits = sorted((count, name) for name, count in rejects.items() if name.startswith("RISK_") and count)
    if not limits or (records["type"] == JOURNAL_INTENT).any():
        return []
    told = "; ".join(f"{name} {count:,} times, {_reason(name)}" for count, name in reversed(limits[-3:]))
    return [f"no order went out, for every intent was refused: {told}. LIMITS.md names the field of each."]


def _warnings(
    wires: w.Wires, instruments: np.ndarray, keys: Sequence[str], rejects: Mapping[str, int], run: RunFacts
) -> list[str]:
    """What a person must not overlook, a sentence each."""
    found = []
    held = [
        f"{key} {decimal_string(int(row[w.POSITION_LOTS]) * Decimal(int(instrument['lot_e8'])).scaleb(-8))}"
        for key, row, instrument in zip(keys, wires.positions, instruments, strict=True)
        if row[w.POSITION_LOTS]
    ]
    if held:
        rest = (
            "each stays at the venue, with the stops that rest there: a start goes on, bot4-kill --flatten closes it"
            if run.mode == "live"
            else "valued at the last price, and gone with the simulated venue"
        )
        found.append(f"STILL OPEN at the end: {', '.join(held)} ({rest}).")
    never = [key for i, key in enumerate(keys) if not _book(wires, i)["whole"]]
    if never:
        why = "see why in log/feed.log of the session's folder" if run.source == "live" else "no snapshot in the input"
        found.append(f"never a whole book ({why}), so nothing was traded on: {', '.join(never)}.")
    unread = _refused(wires.refused.sum(axis=(0, 1)))
    lost = sum(unread.values())
    if lost > MANY * (lost + int(wires.messages.sum())):
        most = ", ".join(f"{name} {count:,}" for name, count in sorted(unread.items(), key=lambda row: -row[1])[:3])
        found.append(f"{lost:,} messages of the input were refused ({most}); is it what it is taken for?")
    dropped = int(_other(wires, w.FEED_ROW)[w.GAUGE_FEED_DROPPED])
    if dropped:
        found.append(f"{dropped:,} records found a ring full and were dropped by the feed: its readers were too slow.")
    for text, blind in (
        ("a depth message was missing and no snapshot came after it, so nothing more was opened on", _stale(wires)),
        ("a shard lost its place and got no snapshot, so nothing more was decided on", wires.gapped[:, w.GAPPED_SHARD]),
        (
            "the simulated venue missed records and got no snapshot, so orders found no market on",
            wires.gapped[:, w.GAPPED_VENUE],
        ),
    ):
        names = [key for i, key in enumerate(keys) if blind[i]]
        if names:
            found.append(f"{text}: {', '.join(names)}.")
    leapt = [key for i, key in enumerate(keys) if wires.venue_clocks[i, w.CLOCK_ANEW]]
    if leapt:
        found.append(
            f"the venue's time and ours moved apart by more than venue_time_ms, and what came meanwhile was refused: "
            f"{', '.join(leapt)}. Look whether a clock was set."
        )
    bad = rejects.get(REJECT_NAMES[DECISION_BAD_SCORE], 0)
    if bad:
        found.append(
            f"{run.strategy} returned a score that is no number from -1 to 1 {bad:,} times; such a score "
            "decides nothing. Look for a division by zero, or another scale, in its on_tick."
        )
    recorder = _recorder(wires, run)
    if recorder is not None and (recorder["dropped"] or recorder["failures"] or recorder["raw_dropped"]):
        found.append(
            f"the recording is not whole: {recorder['dropped']:,} records and {recorder['raw_dropped']:,} raw messages "
            f"are missing in it, {recorder['failures']:,} times it could not be written; see the log of the recorder."
        )
    found += [f"{row['limit']} had shut the way in at the end: {row['why']}." for row in shut_ways(wires)]
    for code in (RISK_DRAWDOWN, RISK_DAILY_LOSS, RISK_STREAK, RISK_BREAKER_OPEN):
        refused = rejects.get(REJECT_NAMES[code], 0)
        if refused:
            found.append(f"entries were refused {refused:,} times because {REJECT_REASONS[code]}.")
    naked_ns, allowed_ns = _stops(wires)["naked_ns_max"], int(run.limits[0]["stop_confirm_ns"])
    if naked_ns > allowed_ns:
        text = (
            f"a position stood without a confirmed stop for up to {naked_ns / 1e9:.1f} s of event time; "
            f"stop_confirm_ms allows {allowed_ns / 1e9:.1f} s, after which it is closed at the market."
        )
        if run.pace != "event" and run.speed == "max":
            text += (
                " Free-running at max the market runs ahead of the agents: this run measures speed. "
                "Trade with --pace event or --speed 1x."
            )
        found.append(text)
    return found


def _rejects(wires: w.Wires) -> dict[str, int]:
    counts = wires.rejects.sum(axis=0)
    return {REJECT_NAMES.get(int(code), f"CODE_{code}"): int(counts[code]) for code in np.flatnonzero(counts) if code}


def _reason(name: str) -> str:
    return {known: REJECT_REASONS[code] for code, known in REJECT_NAMES.items()}.get(name, "not in the table of codes")


def _intents(records: np.ndarray) -> int:
    """Orders that strategies asked for: accepted entries and exits, and what execution denied."""
    accepted = bodies(records[np.isin(records["type"], (JOURNAL_INTENT, JOURNAL_SLICED))], ORDER_INTENT)
    denied = bodies(records[records["type"] == JOURNAL_DENIED], ORDER_INTENT)
    return int(np.count_nonzero(accepted["leg"] <= LEG_EXIT) + len(denied) + denied["aux"].sum())


def _sized_by(records: np.ndarray) -> dict[str, int]:
    """Entries that went out, by what decided their quantity."""
    orders = bodies(records[np.isin(records["type"], (JOURNAL_INTENT, JOURNAL_SLICED))], ORDER_INTENT)
    counts = np.bincount(orders["sized_by"][orders["leg"] == LEG_ENTRY], minlength=len(SIZED_BY))
    return {name: int(count) for name, count in zip(SIZED_BY, counts, strict=True) if count}


def _stops(wires: w.Wires) -> dict[str, int]:
    execution = _other(wires, w.EXECUTION_ROW)
    return {
        "placed": int(execution[w.GAUGE_EXEC_STOPS_PLACED]),
        "triggered": int(execution[w.GAUGE_EXEC_STOPS_TRIGGERED]),
        "naked_ns_max": int(execution[w.GAUGE_EXEC_NAKED_NS_MAX]),
    }


def _latency(wires: w.Wires, tsc_hz: float) -> dict[str, dict[str, int]]:
    scale = 1e9 / tsc_hz if tsc_hz > 0 else 0.0
    stages = {}
    for row, stage in enumerate(w.STAGES):
        histogram = wires.histograms[row]
        stages[stage] = {"count": int(histogram[HISTOGRAM_COUNT])}
        for name, ratio in PERCENTILES:
            stages[stage][name] = round(percentile(histogram, ratio) * scale)
        stages[stage]["max"] = round(int(histogram[HISTOGRAM_MAX]) * scale)
    return stages


def _recorder(wires: w.Wires, run: RunFacts) -> dict[str, object] | None:
    """What was recorded, and how many records never came to lie in a file; None if nothing was to be recorded."""
    if run.recording is None:
        return None
    row = _other(wires, w.RECORDER_ROW)
    published = int(wires.record[RING_HEAD]) + int(wires.record[RING_DROPPED]) if wires.record.size else 0
    written = int(row[w.GAUGE_RECORDER_TICKS])
    return {
        "folder": run.recording,
        "ticks": written,
        "dropped": published - written,
        "raw": int(row[w.GAUGE_RECORDER_RAW]),
        "raw_dropped": int(wires.raw[RING_DROPPED]) if wires.raw.size else 0,
        "files": int(row[w.GAUGE_RECORDER_FILES]),
        "failures": int(row[w.GAUGE_RECORDER_FAILURES]),
    }


def _throughput(wires: w.Wires, wall_s: float) -> dict[str, float]:
    feed = _other(wires, w.FEED_ROW)
    rate = 1 / wall_s if wall_s > 0 else 0.0
    return {
        "messages_per_s": round(int(feed[w.GAUGE_FEED_MESSAGES]) * rate, 1),
        "ticks_per_s": round(int(feed[w.GAUGE_FEED_TICKS]) * rate, 1),
        "wall_s": round(wall_s, 3),
    }


def _exit(wires: w.Wires, run: RunFacts) -> dict[str, object]:
    execution = _other(wires, w.EXECUTION_ROW)
    return {
        "state": run.exit_state,
        "killed": run.killed,
        "kill_reason": run.kill_reason,
        "breaker_open": bool(execution[w.GAUGE_EXEC_BREAKER]),
        "losing_streak": bool(execution[w.GAUGE_EXEC_STREAK]),
        "flattens": int(execution[w.GAUGE_EXEC_FLATTENS]),
        "recovered": run.recovered,
    }


def _worker(facts: WorkerFacts) -> dict[str, object]:
    return {
        "pid": facts.pid,
        "core": facts.core,
        "restarts": facts.restarts,
        "pss_mb": facts.pss_mb,
        "private_mb": facts.private_mb,
    }


def _plain_all(values: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: object) -> object:
    """A value of settings or machine facts as a JSON type; what JSON does not know becomes text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _duration(span_ns: int) -> str:
    seconds = span_ns // 1_000_000_000
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"

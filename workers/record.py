"""Records a market without trading on it: the feed and the recorder in one process, and nobody else.

Nobody reads the rings of those who would trade, so they are emptied as they fill.
"""

import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot4.engine.shard import BUILT_IN
from bot4.model.enums import INPUT_REASONS
from bot4.model.errors import RecordingError
from bot4.settings.conversion import NS_PER_MS, breaker_words, instrument_records, limits_record, session_record
from bot4.settings.loader import load
from bot4.settings.schema import Settings
from bot4.shm.layout import CONTROL_FEED_DONE, RING_DROPPED, RING_HEAD, RING_TAIL
from bot4.shm.wires import FEED_ROW, GAUGE_FEED_MESSAGES, RECORD_RING_CAPACITY, Wires, private_wires
from workers.bootstrap import builder
from workers.breaker import set_breakers
from workers.feed import chosen_instruments, gateways_of, silence_of
from workers.plan import FeedSpec, Plan, RecorderSpec
from workers.recorder import recorder_agent
from workers.session import parse_feed, speed_of

ROWS = 262_144  # of a part: 16 MB
PART_S = 60.0
NAP_S = 1e-3
BATCHES = 64  # of the feed between two looks at the ring
HALF = RECORD_RING_CAPACITY // 2  # records in it: more wait for the recorder first


def record(
    config: Path, feed: str, out: Path, *, raw: bool = False, speed: str = "max", moved: Callable[[int], None]
) -> dict[str, Any]:
    """Record a feed to its end, or until SIGINT or SIGTERM.

    Parameters
    ----------
    config : the session's settings file; its instruments are used
    feed : as `--feed` says it
    out : folder in which the recording gets a folder of its own
    raw : record the raw messages too
    speed : as `--speed` says it
    moved : told how many messages have been read

    Returns
    -------
    JSON types: folder, messages, accepted, refused (by reason), ticks, dropped, raw, files, lacking (what has no book),
    told (of what is recorded, a sentence each)
    """
    settings = load(config)
    spec = parse_feed(feed)
    pace = speed_of(speed, spec)
    symbols, told = chosen_instruments(spec, settings)
    plan = plan_of(settings, spec, symbols, out, raw=raw, speed=pace)
    said = run(plan, lambda plan, wires: builder(plan.builders["feed"])(plan, wires, "feed", 0), moved)
    return said | {"told": told}


def plan_of(
    settings: Settings,
    spec: FeedSpec,
    symbols: Sequence[tuple[str, str]],
    out: Path,
    *,
    raw: bool = False,
    speed: float = 0.0,
) -> Plan:
    """The plan of a recording, its folder made; `symbols` : (symbol, venue) of each instrument."""
    folder = out / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{time.monotonic_ns() % 100_000:05d}"
    instruments = instrument_records(settings, symbols, 1, traded=False)
    table = session_record(settings, paced=False, n_shards=1, n_instruments=len(symbols), speed=speed, measure=False)
    plan = Plan(
        instance="record", generation=1, n_shards=1, symbols=tuple(symbols), instruments=instruments,
        limits=limits_record(settings), session=table, feed=spec, speed=speed, strategy_module=BUILT_IN,
        strategy_params=instruments[:0], state_folder=folder, session_folder=folder,
        recorder=RecorderSpec(folder=folder, raw=raw, rows=ROWS, part_s=PART_S),
        gateways=gateways_of(settings, symbols) if spec.kind == "live" else {}, breakers=breaker_words(settings),
        silence_ns=silence_of(settings, symbols), time_limit_ns=settings.limits.venue_time_ms * NS_PER_MS,
        spike_bps=0 if spec.kind == "bars" else settings.limits.spike_bps,  # a bar's prices have been traded
    )  # fmt: skip
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RecordingError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    return plan


def run(plan: Plan, feed_of: Callable[[Plan, Wires], Any], moved: Callable[[int], None]) -> dict[str, Any]:
    """Record what the feed publishes until it ends, or until SIGINT or SIGTERM; JSON types, as of `record`."""
    assert plan.recorder is not None
    wires = private_wires(1, plan.n_instruments, **plan.recorded)
    set_breakers(plan, wires)
    recorder = recorder_agent(plan, plan.recorder, wires)
    feed = feed_of(plan, wires)
    unread = (*wires.ticks, wires.market, wires.quotes)
    messages = wires.gauges[1 + FEED_ROW]
    stopped: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda got, _: stopped.append(got)) for number in numbers}
    try:
        while not stopped and not wires.control[CONTROL_FEED_DONE]:
            done = 0
            for _ in range(BATCHES):
                done += feed.do_work()
                for ring in unread:
                    ring[RING_TAIL] = ring[RING_HEAD]
                if wires.record[RING_HEAD] - wires.record[RING_TAIL] > HALF:
                    break
            done += recorder.do_work()
            moved(int(messages[GAUGE_FEED_MESSAGES]))
            if not done:
                time.sleep(NAP_S)
    finally:
        feed.close()
        recorder.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    written = recorder.written()
    published = int(wires.record[RING_HEAD]) + int(wires.record[RING_DROPPED])
    return {
        "folder": str(plan.recorder.folder),
        "messages": int(messages[GAUGE_FEED_MESSAGES]),
        "accepted": int(wires.messages.sum()),
        "refused": refused_of(wires),
        "ticks": written.ticks,
        "dropped": published - written.ticks,
        "raw": written.raw,
        "files": written.files,
        "lacking": lacking_of(plan, wires),
    }


def refused_of(wires: Wires) -> dict[str, int]:
    """How many messages of instruments were refused, by reason."""
    counts = wires.refused.sum(axis=(0, 1))
    return {reason: int(count) for reason, count in zip(INPUT_REASONS, counts, strict=True) if count}


def lacking_of(plan: Plan, wires: Wires) -> list[str]:
    """Instruments that no session can trade on, a sentence each."""
    told = []
    for index, (symbol, venue) in enumerate(plan.symbols):
        if not wires.messages[index].sum():
            told.append(f"{symbol} of {venue}: nothing of it could be taken")
        elif not wires.levels[index]:
            told.append(f"{symbol} of {venue}: no book became whole, so no session trades on it")
    return told

"""Converts raw captures into own recordings: the live feed on the connections of the capture, and the recorder."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot4.adapters.files.capture_pool import CapturePool, Contents, contents_of
from bot4.adapters.files.raw import RawCapture
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.adapters.kraken.translate import SecondOfFirst
from bot4.engine.live_capture import CaptureFeed
from bot4.model.errors import RecordingError
from bot4.settings.loader import load
from bot4.settings.schema import Settings
from bot4.shm.layout import CONTROL_FEED_DONE
from bot4.shm.wires import Wires
from workers.plan import FeedSpec, Plan
from workers.record import plan_of, run
from workers.venues import DECODERS, STREAMS

_KEYS = {"kraken": ("kraken_v2", "kraken_v1")}  # venue -> keys of files.raw, where those are others


class _PlayedFeed:
    """The feed of a capture, until it has ended."""

    def __init__(
        self, plan: Plan, wires: Wires, captures: Sequence[RawCapture], contents: Contents, settings: Settings
    ) -> None:
        venues = {key: venue for _, venue in plan.symbols for key in _KEYS.get(venue, (venue,))}
        streams = {venue: STREAMS[venue]() for venue in venues.values()}
        sizes = {
            row.symbol: (Decimal(row.tick_size), Decimal(row.venue_lot or row.lot_size))
            for row in settings.instruments
            if row.venue == "kraken"
        }
        for venue, depth in contents.depths.items():
            streams[venue].depth = depth
        self._wires = wires
        self._pool = CapturePool(captures, contents, streams, venues, {"kraken_v1": SecondOfFirst(sizes).translate})
        self._feed = CaptureFeed(
            wires, plan.instruments, plan.session, plan.symbols, streams,
            {venue: DECODERS[venue]() for venue in streams}, self._pool, self._pool.clock,
        )  # fmt: skip
        self._feed.memory.feed.states["spike_bps"] = plan.spike_bps
        self._feed.memory.feed.states["time_limit_ns"] = plan.time_limit_ns
        self.refused: dict[str, int] = {}  # what no instrument could be told of, once it has ended

    def do_work(self) -> int:
        """One message."""
        handled = self._feed.do_work()
        if self._pool.ended and not self._wires.control[CONTROL_FEED_DONE]:
            told = self._feed.finish()
            self.refused = {name: told.get(name, 0) for name in ("passed_over", "unreadable")}
            self.refused["rest_unused"] = self._pool.unused
            self._wires.control[CONTROL_FEED_DONE] = 1
        return handled

    def close(self) -> None:
        """Nothing is open."""
        self._feed.close()


def convert_captures(
    config: Path, captures: Sequence[RawCapture], out: Path, moved: Callable[[int], None]
) -> dict[str, Any]:
    """Turn captures into one own recording; what is returned is told as by `record`.

    Parameters
    ----------
    config : the session's settings file; its instruments are used
    captures : of any venue that a live feed hears
    out : folder in which the recording gets a folder of its own
    moved : told how many messages have been read

    Raises
    ------
    RecordingError : nothing in them can be converted, or an instrument of theirs is not configured
    """
    settings = load(config)
    for capture in captures:
        if capture.venue and not capture.symbol:
            raise RecordingError(
                f"{capture.name}: raw messages of an own recording, which do not say what connection brought them; "
                "replay the recording itself"
            )
    decoders = {venue: decoder() for venue, decoder in DECODERS.items() if venue not in _KEYS}
    kraken = {"kraken_v2": KrakenV2(depth=0), "kraken_v1": KrakenV1(renamed=True)}
    contents = contents_of(captures, decoders | kraken)
    _check_configured(captures, contents, settings)
    text = "replay:" + ",".join(str(path) for capture in captures for path in capture.files)
    spec = FeedSpec(kind="replay", paths=tuple(path for one in captures for path in one.files), text=text)
    plan = plan_of(settings, spec, contents.symbols, out)
    feeds: list[_PlayedFeed] = []

    def feed_of(plan: Plan, wires: Wires) -> _PlayedFeed:
        feeds.append(_PlayedFeed(plan, wires, captures, contents, settings))
        return feeds[0]

    said = run(plan, feed_of, moved)
    more = feeds[0].refused | {"unknown_venue": contents.unknown}
    said["refused"] |= {reason: count for reason, count in more.items() if count}
    return said


def _check_configured(captures: Sequence[RawCapture], contents: Contents, settings: Settings) -> None:
    known = {(row.symbol, row.venue) for row in settings.instruments}
    missing = [key for key in contents.symbols if key not in known]
    if missing:
        names = ", ".join(f"{symbol} of {venue}" for symbol, venue in missing)
        symbol, venue = missing[0]
        raise RecordingError(
            f"{', '.join(one.name for one in captures)}: holds {names}, not configured; add an [[instrument]] for each "
            f'to instruments.toml, with the venue\'s sizes: symbol = "{symbol}", venue = "{venue}", tick_size, lot_size'
        )

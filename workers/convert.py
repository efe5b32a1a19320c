"""Converts raw captures into own recordings: the live feed on the connections of the capture, and the recorder."""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from bot4.adapters.coinbase.streams import heartbeat_of
from bot4.adapters.files.capture import REPLAYED
from bot4.adapters.files.capture_pool import CapturePool, Contents, contents_of, told_of
from bot4.adapters.files.raw import RawCapture
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.adapters.kraken.translate import SecondOfFirst
from bot4.engine.live_capture import CaptureFeed
from bot4.model.errors import RecordingError
from bot4.model.units import decimal_string
from bot4.ports.feed import Instrument
from bot4.settings.conversion import MAX_LOTS
from bot4.settings.loader import INSTRUMENTS_FILE, load, needed_fields
from bot4.settings.schema import FEE_BPS, QUANTITY, Settings
from bot4.settings.schema import Instrument as Configured
from bot4.shm.layout import CONTROL_FEED_DONE
from bot4.shm.wires import Wires
from workers.plan import FeedSpec, Plan
from workers.record import plan_of, run
from workers.record import record as record_feed
from workers.venues import DECODERS, STREAMS

_KEYS = {"kraken": ("kraken_v2", "kraken_v1")}  # venue -> keys of files.raw, where those are others
_NUMBERED = {"coinbase": heartbeat_of}  # by key, where messages bear the number of their connection
_NAMED = 20  # instruments in an error, at most
_E8 = Decimal("0.00000001")


class NotConfiguredError(RecordingError):
    """No instrument of what is to be converted is configured; `tables`: those that the capture tells the sizes of."""

    def __init__(self, text: str, tables: Sequence[str]) -> None:
        super().__init__(text)
        self.tables = tables


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
        self.bare = 0  # messages of instruments that were left out, of which the number alone was read
        for venue, depth in contents.depths.items():
            streams[venue].depth = depth
        self._wires = wires
        translate = {"kraken_v1": SecondOfFirst(sizes).translate}
        self._pool = CapturePool(captures, contents, streams, venues, translate, _NUMBERED)
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
            self.bare = self._pool.bare
            self._wires.control[CONTROL_FEED_DONE] = 1
        return handled

    def close(self) -> None:
        """Nothing is open."""
        self._feed.close()


def convert_captures(
    config: Path, captures: Sequence[RawCapture], out: Path, moved: Callable[[int], None]
) -> dict[str, Any]:
    """Turn captures into one own recording. What is returned is told as by `record`, and `left_out`: the messages of
    each instrument that is not configured.

    Parameters
    ----------
    config : the session's settings file; its instruments are used
    captures : of any venue that a live feed hears
    out : folder in which the recording gets a folder of its own
    moved : told how many messages have been read

    Raises
    ------
    RecordingError : nothing in them can be converted
    NotConfiguredError : none of their instruments is configured
    """
    settings = load(config)
    known = {(row.symbol, row.venue) for row in settings.instruments}
    if all(capture.venue in REPLAYED for capture in captures):
        return _convert_lines(config, captures, known, out, moved)
    for capture in captures:
        if capture.venue and not capture.symbol:
            raise RecordingError(
                f"{capture.name}: raw messages of an own recording, which do not say what connection brought them; "
                "replay the recording itself"
            )
    decoders = {venue: decoder() for venue, decoder in DECODERS.items() if venue not in _KEYS}
    kraken = {"kraken_v2": KrakenV2(depth=0), "kraken_v1": KrakenV1(renamed=True)}
    decoders |= kraken
    contents = contents_of(captures, decoders, known)
    if not contents.symbols:
        tables = [_table_of(*told) for told in told_of(captures, decoders, contents.left_out)]
        raise _not_configured(config, captures, list(contents.left_out), tables)
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
    said["messages"] -= feeds[0].bare
    return said | {"left_out": _by_name(contents.left_out)}


def _convert_lines(
    config: Path,
    captures: Sequence[RawCapture],
    known: Collection[tuple[str, str]],
    out: Path,
    moved: Callable[[int], None],
) -> dict[str, Any]:
    """Lines of Binance, of one instrument a capture, are read as a replay reads them."""
    strangers = [one for one in captures if one.symbol and (one.symbol, one.venue) not in known]
    taken = [one for one in captures if one not in strangers]
    left_out: dict[tuple[str, str], int] = {}
    for one in strangers:
        key = (one.symbol, one.venue)
        left_out[key] = left_out.get(key, 0) + sum(1 for _ in one.messages())
    if not taken:
        raise _not_configured(config, captures, list(left_out), [])
    feed = "replay:" + ",".join(str(path) for one in taken for path in one.files)
    return record_feed(config, feed, out, moved=moved) | {"left_out": _by_name(left_out)}


def _by_name(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {f"{symbol} of {venue}": count for (symbol, venue), count in counts.items()}


def _not_configured(
    config: Path, captures: Sequence[RawCapture], keys: Sequence[tuple[str, str]], tables: Sequence[str]
) -> NotConfiguredError:
    names = ", ".join(f"{symbol} of {venue}" for symbol, venue in keys[:_NAMED])
    more = f" and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else ""
    told = f"; the sizes that the capture tells are printed, of {len(tables)} of them" if tables else ""
    return NotConfiguredError(
        f"{', '.join(one.name for one in captures)}: holds {names}{more}, none of them configured; add an "
        f"[[instrument]] for each that is wanted to {config.with_name(INSTRUMENTS_FILE)}, with "
        f"{', '.join(needed_fields(Configured))}{told}",
        tables,
    )


def _table_of(venue: str, told: Instrument) -> str:
    """An [[instrument]] with the sizes that the venue's own metadata say. What they do not say is what harms least."""
    lot = told.lot
    while told.tick * lot % _E8:
        lot *= 10
    least = (told.min_qty / lot).to_integral_value(ROUND_CEILING) * lot
    most = min(told.max_qty or Decimal(QUANTITY.high), Decimal(QUANTITY.high), MAX_LOTS * lot)
    most = (most / lot).to_integral_value(ROUND_FLOOR) * lot
    untold = "not told by the capture"
    rows = [
        ("symbol", told.symbol, ""),
        ("venue", venue, ""),
        ("tick_size", decimal_string(told.tick), ""),
        ("lot_size", decimal_string(lot), ""),
        *([("venue_lot", decimal_string(told.lot), "")] if lot != told.lot else []),
        ("min_notional", decimal_string(told.min_notional or Decimal(0)), "" if told.min_notional else untold),
        ("min_qty", decimal_string(max(least, lot)), ""),
        ("max_qty", decimal_string(most), untold if told.max_qty is None else ""),
        ("maker_fee_bps", FEE_BPS.high, f"{untold}: the dearest that is allowed; write your own"),
        ("taker_fee_bps", FEE_BPS.high, f"{untold}: the dearest that is allowed; write your own"),
        ("quote", told.quote, ""),
    ]
    return "[[instrument]]\n" + "".join(
        f'{name} = "{value}"' + (f"  # {comment}" if comment else "") + "\n" for name, value, comment in rows
    )

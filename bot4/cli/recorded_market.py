"""Captures as the market of `bot4-exchange`: the symbols they hold, their sizes, their events.

Those of Binance Spot for its own protocol, and those of Binance's USDT perpetuals for Bybit's linear contracts: both
tell update ids without which nobody knows what was first, and ticks and lots are the same.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.recorded import Event, Recording
from bot4.adapters.exchange.recording import Told, VenueOrder
from bot4.adapters.exchange.symbol import Filters, Symbol
from bot4.adapters.files.raw import RawCapture, RawMessage, find_captures
from bot4.kernels.exchange.state import MAX_LOTS, MAX_PRICE_TICKS, VALUE_BOUND
from bot4.model.errors import RecordingError
from bot4.model.queue import QueueModel
from bot4.ports.feed import BookChange, Instrument, MessageError, Quote, Trade

LOOK_MESSAGES = 20_000  # of a capture of several symbols: what comes later first is left out
_PRICE_ROOM = 1_000  # times the first price: no order goes further
_CONTRACT_ROOM = 2  # ... of a contract, whose whole book is one account's open orders
_DECODERS = {"binance": BinanceSpot(), "bybit": BinanceUsdm()}
PAUSE_NS = 1_000_000_000  # between the end of a recording and its beginning, where it is told over and over


def open_recording(
    paths: list[Path], queue: QueueModel, venue: str = "binance", known: Sequence[Symbol] = (), again: bool = False
) -> Recording:
    """What these captures hold, ready to be replayed.

    Parameters
    ----------
    paths : files and folders; day files of one symbol are one chain
    queue : where in a queue quantity goes off
    venue : whose protocol is spoken: binance or bybit
    known : the venue's usual symbols; of others the capture has to tell the sizes
    again : from the beginning once more when they have ended, with later times and ids, without an end

    Raises
    ------
    RecordingError : no capture of the right venue, a symbol in two of them, or one whose sizes nobody knows
    """
    decoder = _DECODERS[venue]
    captures = [capture for capture in find_captures(paths) if isinstance(capture, RawCapture)]
    if not captures:
        raise RecordingError(f"--market recorded: none of the files is a raw capture; name some of {decoder.venue}")
    symbols: dict[str, Symbol] = {}
    names: list[tuple[RawCapture, list[str]]] = []
    for capture in captures:
        if capture.venue not in ("", decoder.venue):
            raise RecordingError(
                f"--market recorded: {capture.name} is of {capture.venue}; --venue {venue} replays {decoder.venue}"
            )
        prices, sizes = _look(capture, decoder)
        if not prices:
            raise RecordingError(f"--market recorded: {capture.name} holds no book of {decoder.venue}")
        for name, price in prices.items():
            if name in symbols:
                raise RecordingError(f"--market recorded: {name} is in two captures; name those of one, in one chain")
            symbols[name] = _symbol(len(symbols), name, price, sizes.get(name), known, venue)
        names.append((capture, list(prices)))

    def told() -> Iterator[tuple[int, Event | str]]:
        parts = [_events(capture, its, decoder) for capture, its in names]
        return heapq.merge(*parts, key=lambda one: one[0])

    return Recording(list(symbols.values()), _over_and_over(told) if again else told(), queue)


def _over_and_over(told: Callable[[], Iterator[tuple[int, Event | str]]]) -> Iterator[tuple[int, Event | str]]:
    """The same events without an end: times and update ids go on rising, and no symbol ends."""
    later_ns = more = 0
    while True:
        first_ns, last_ns, top = -1, 0, 0
        for ts_ns, event in told():
            first_ns, last_ns = first_ns if first_ns >= 0 else ts_ns, ts_ns
            if isinstance(event, str):
                continue
            if isinstance(event, BookChange):
                before = None if event.before is None else event.before + more
                top = max(top, event.last or 0)
                event = event._replace(before=before, last=None if event.last is None else event.last + more)
            elif isinstance(event, Quote):
                top = max(top, event.update_id or 0)
                event = event._replace(update_id=None if event.update_id is None else event.update_id + more)
            yield ts_ns + later_ns, event
        later_ns += last_ns - first_ns + PAUSE_NS
        more += top + 1


def _decoded(message: RawMessage, symbol: str, decoder: BinanceSpot) -> list[Told]:
    """The events of one message; none if it cannot be read: a change that is missing is a gap in the ids."""
    if message.venue != decoder.venue:
        return []
    try:
        if message.rest:
            parts = urlsplit(message.url)
            found = decoder.decode_rest(parts.path, dict(parse_qsl(parts.query)), message.body)
        else:
            found = decoder.decode(message.body)
    except MessageError:
        return []
    return [
        Told(message.ts_ns, found.kind, event._replace(symbol=event.symbol or symbol))
        for event in found.events
        if isinstance(event, BookChange | Quote | Trade)
    ]


def _look(capture: RawCapture, decoder: BinanceSpot) -> tuple[dict[str, Decimal], dict[str, Instrument]]:
    """A first price of each symbol that has a book, and what the venue said of sizes."""
    prices: dict[str, Decimal] = {}
    books: dict[str, None] = {}
    sizes: dict[str, Instrument] = {}
    for message in islice(capture.messages(), LOOK_MESSAGES):
        if message.rest and message.venue == decoder.venue and message.url.partition("?")[0].endswith("/exchangeInfo"):
            sizes |= {one.symbol: one for one in decoder.instruments(urlsplit(message.url).path, message.body)}
        for _, _, event in _decoded(message, capture.symbol, decoder):
            if isinstance(event, BookChange):
                books[event.symbol] = None
                if event.snapshot and event.bids:
                    prices.setdefault(event.symbol, event.bids[0][0])
            else:
                prices[event.symbol] = event.price if isinstance(event, Trade) else event.bid
        if capture.symbol in books and capture.symbol in prices:
            break
    return {name: prices[name] for name in books if name in prices}, sizes


def _symbol(
    index: int, name: str, price: Decimal, sizes: Instrument | None, known: Sequence[Symbol], venue: str
) -> Symbol:
    start_e8 = int(price * E8)
    category = "linear" if venue == "bybit" else "spot"
    if sizes is None or category == "linear":
        for usual in known:
            if (usual.name, usual.category) == (name, category):
                usual.index, usual.start_price_e8 = index, start_e8
                if usual.is_linear:  # the lower the highest price, the more contracts the core can count
                    most_e8 = start_e8 * _CONTRACT_ROOM
                    usual.filters = replace(usual.filters, max_price_e8=most_e8 - most_e8 % usual.tick_e8)
                return usual
    if sizes is None:
        raise RecordingError(
            f"--market recorded: nothing tells tick and lot of {name}; record the venue's exchangeInfo with it"
        )
    tick_e8, lot_e8 = int(sizes.tick * E8), int(sizes.lot * E8)
    if tick_e8 * lot_e8 % E8:
        raise RecordingError(f"--market recorded: a tick of a lot of {name} is no whole number of 0.00000001")
    most_e8 = min(start_e8 * _PRICE_ROOM, MAX_PRICE_TICKS * tick_e8)
    lots = min(MAX_LOTS, VALUE_BOUND // (most_e8 // tick_e8 * (tick_e8 * lot_e8 // E8)))
    qty_e8 = min(int((sizes.max_qty or Decimal(9_000)) * E8), lots * lot_e8)
    notional_e8 = int((sizes.min_notional or Decimal(0)) * E8)
    filters = Filters(tick_e8, most_e8 - most_e8 % tick_e8, int(sizes.min_qty * E8), qty_e8, qty_e8, notional_e8)
    return Symbol(index, name, sizes.base, sizes.quote, tick_e8, lot_e8, start_e8, filters, category=category)


def _events(capture: RawCapture, names: list[str], decoder: BinanceSpot) -> Iterator[tuple[int, Event | str]]:
    """The events of a capture in the venue's order, then the names of its symbols: they have ended."""
    told = (one for message in capture.messages() for one in _decoded(message, capture.symbol, decoder))
    last_ns = 0
    for last_ns, event in VenueOrder(told):
        if event.symbol in names:
            yield last_ns, event
    for name in names:
        yield last_ns, name

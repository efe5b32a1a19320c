"""Captures of Binance Spot as the market of `bot4-exchange`: the symbols they hold, their sizes, their events."""

import heapq
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from bot4.adapters.binance.parse import BinanceSpot
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.recorded import Event, QueueModel, Recording
from bot4.adapters.exchange.recording import Told, VenueOrder
from bot4.adapters.exchange.symbol import Filters, Symbol, default_symbols
from bot4.adapters.files.raw import RawCapture, RawMessage, find_captures
from bot4.kernels.exchange.state import MAX_LOTS, MAX_PRICE_TICKS, VALUE_BOUND
from bot4.model.errors import RecordingError
from bot4.ports.feed import BookChange, Instrument, MessageError, Quote, Trade

VENUE = "binance_spot"
LOOK_MESSAGES = 20_000  # of a capture of several symbols: what comes later first is left out
_PRICE_ROOM = 1_000  # times the first price: no order goes further
_DECODER = BinanceSpot()


def open_recording(paths: list[Path], queue: QueueModel) -> Recording:
    """What these captures hold, ready to be replayed.

    Parameters
    ----------
    paths : files and folders; day files of one symbol are one chain
    queue : where in a queue quantity goes off

    Raises
    ------
    RecordingError : no capture of Binance Spot, a symbol in two of them, or one whose sizes nobody knows
    """
    captures = [capture for capture in find_captures(paths) if isinstance(capture, RawCapture)]
    if not captures:
        raise RecordingError("--market recorded: none of the files is a raw capture; name captures of Binance Spot")
    symbols: dict[str, Symbol] = {}
    parts: list[Iterator[tuple[int, Event | str]]] = []
    for capture in captures:
        if capture.venue not in ("", VENUE):
            raise RecordingError(f"--market recorded: {capture.name} is of {capture.venue}; only {VENUE} is replayed")
        prices, sizes = _look(capture)
        if not prices:
            raise RecordingError(f"--market recorded: {capture.name} holds no book of {VENUE}")
        for name, price in prices.items():
            if name in symbols:
                raise RecordingError(f"--market recorded: {name} is in two captures; name those of one, in one chain")
            symbols[name] = _symbol(len(symbols), name, price, sizes.get(name))
        parts.append(_events(capture, list(prices)))
    merged = heapq.merge(*parts, key=lambda told: told[0])
    return Recording(list(symbols.values()), merged, queue)


def _decoded(message: RawMessage, symbol: str) -> list[Told]:
    """The events of one message; none if it cannot be read: a change that is missing is a gap in the ids."""
    if message.venue != VENUE:
        return []
    try:
        if message.rest:
            parts = urlsplit(message.url)
            found = _DECODER.decode_rest(parts.path, dict(parse_qsl(parts.query)), message.body)
        else:
            found = _DECODER.decode(message.body)
    except MessageError:
        return []
    return [
        Told(message.ts_ns, found.kind, event._replace(symbol=event.symbol or symbol))
        for event in found.events
        if isinstance(event, BookChange | Quote | Trade)
    ]


def _look(capture: RawCapture) -> tuple[dict[str, Decimal], dict[str, Instrument]]:
    """A first price of each symbol that has a book, and what the venue said of sizes."""
    prices: dict[str, Decimal] = {}
    books: dict[str, None] = {}
    sizes: dict[str, Instrument] = {}
    for message in islice(capture.messages(), LOOK_MESSAGES):
        if message.rest and message.venue == VENUE and message.url.partition("?")[0].endswith("/exchangeInfo"):
            sizes |= {one.symbol: one for one in _DECODER.instruments(urlsplit(message.url).path, message.body)}
        for _, _, event in _decoded(message, capture.symbol):
            if isinstance(event, BookChange):
                books[event.symbol] = None
                if event.snapshot and event.bids:
                    prices.setdefault(event.symbol, event.bids[0][0])
            else:
                prices[event.symbol] = event.price if isinstance(event, Trade) else event.bid
        if capture.symbol in books and capture.symbol in prices:
            break
    return {name: prices[name] for name in books if name in prices}, sizes


def _symbol(index: int, name: str, price: Decimal, sizes: Instrument | None) -> Symbol:
    start_e8 = int(price * E8)
    if sizes is None:
        for known in default_symbols():
            if known.name == name:
                known.index, known.start_price_e8 = index, start_e8
                return known
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
    return Symbol(index, name, sizes.base, sizes.quote, tick_e8, lot_e8, start_e8, filters)


def _events(capture: RawCapture, names: list[str]) -> Iterator[tuple[int, Event | str]]:
    """The events of a capture in the venue's order, then the names of its symbols: they have ended."""
    told = (one for message in capture.messages() for one in _decoded(message, capture.symbol))
    last_ns = 0
    for last_ns, event in VenueOrder(told):
        if event.symbol in names:
            yield last_ns, event
    for name in names:
        yield last_ns, name

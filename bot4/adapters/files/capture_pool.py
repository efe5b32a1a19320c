"""A raw capture as the connections that it was recorded from: the live feed reads it as it reads sockets.

Connections come, speak and go in the order of the capture, a message a turn, and the clock is its receive time. A book
that is asked for by REST is the last one that was received by then: what the recorder asked for is in the capture or
nowhere.

A capture is read twice: what its connections bring has to be known before the first message is taken. Messages of
instruments that nobody wants are left out and counted; where messages bear the number of their connection, the number
alone is told, so that no hole is seen.
"""

import heapq
import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from bot4.adapters.files.origin import told_by
from bot4.adapters.files.raw import RawCapture, RawMessage
from bot4.model.errors import RecordingError
from bot4.ports.feed import Bar, BookChange, Decoder, Instrument, Message, MessageError, Status
from bot4.ports.stream import MAX_CONNECTIONS, Closed, Connection, Event, Key, Opened, Readable, Request, VenueStreams

_TEXT = 0x81  # first byte of a frame that is a whole message of text
_AGAIN = re.compile(r"(.+)#[0-9]+", re.DOTALL)  # the name of a connection that was made again
_SUBSCRIBED = re.compile(rb'"method"\s*:\s*"subscribe".*"depth"\s*:\s*([0-9]{1,4})', re.DOTALL)

Name = tuple[int, str, str]  # capture, connection, key of its decoder

_TAKEN, _UNNUMBERED = -2, -1  # of a message: it is not left out; it is, and bears no number


class Contents(NamedTuple):
    """What captures hold."""

    symbols: list[tuple[str, str]]  # (symbol, venue) of those that are wanted, in the order in which they come
    left_out: dict[tuple[str, str], int]  # messages by (symbol, venue) of those that are not
    depths: dict[str, int]  # by venue: levels a side of its books; 0: all
    topics: dict[Name, dict[str, bool]]  # by connection: its symbols, and whether their books change there
    unknown: int  # messages of no venue that has a decoder
    numbers: Sequence[Sequence[int]]  # by capture and message: _TAKEN, or left out: its number, or _UNNUMBERED


def contents_of(
    captures: Sequence[RawCapture], decoders: Mapping[str, Decoder], wanted: Collection[tuple[str, str]]
) -> Contents:
    """Read captures to their end; RecordingError if there is no market data in them.

    Parameters
    ----------
    captures : at least one
    decoders : by the key of `files.raw`, of the venues that a live feed can hear
    wanted : (symbol, venue) of the instruments to take; of any other the messages are left out
    """
    topics: dict[Name, dict[str, bool]] = {}
    depths: dict[str, set[int]] = {}  # by key of the decoder
    told: dict[str, int] = {}  # depths that only the answer to a subscription tells
    unknown: Counter[str] = Counter()
    left_out: Counter[tuple[str, str]] = Counter()
    bodies: Counter[tuple[str, str]] = Counter()  # of REST, about one instrument that is not wanted
    numbers = [array("q") for _ in captures]
    for number, capture in enumerate(captures):
        for message in capture.messages():
            numbers[number].append(_TAKEN)
            decoder = decoders.get(message.venue)
            if decoder is None:
                unknown[message.venue] += not message.rest
                continue
            if message.rest:
                about = (_symbol_of(message.url), decoder.venue)
                bodies[about] += about not in wanted
                continue
            heard = topics.setdefault((number, message.connection, message.venue), {})
            try:
                decoded = decoder.decode(message.body)
            except MessageError:
                continue
            if decoded.kind == "subscribe" and (found := _SUBSCRIBED.search(message.body)):
                told[message.venue] = int(found[1])
            stranger = _stranger_of(decoded, message.body, decoder.venue, wanted)
            if stranger:
                left_out[stranger, decoder.venue] += 1
                numbers[number][-1] = _UNNUMBERED if decoded.sequence is None else decoded.sequence
                continue
            for event in decoded.events:
                if isinstance(event, Status | Bar) or (event.symbol, decoder.venue) not in wanted:
                    continue
                is_book = isinstance(event, BookChange) and not (event.snapshot and event.depth == 1)
                heard[event.symbol] = heard.get(event.symbol, False) or is_book
                if is_book:
                    depths.setdefault(message.venue, set()).add(event.depth)  # type: ignore[union-attr]
    symbols = list(dict.fromkeys((symbol, decoders[name[2]].venue) for name, of in topics.items() for symbol in of))
    if not symbols and not left_out:
        raise RecordingError(
            f"{_names(captures)}: holds no market data of a venue that a session hears, so there is nothing to "
            "convert; bot4-data check tells what is in it"
        )
    left_out.update({about: count for about, count in bodies.items() if about in left_out})
    depth = _depths(captures, decoders, depths, told)
    return Contents(symbols, dict(left_out), depth, topics, unknown.total(), numbers)


def _symbol_of(url: str) -> str:
    """The instrument that a request of REST is about; "" if it does not say one."""
    return dict(parse_qsl(urlsplit(url).query)).get("symbol", "").upper()


def _stranger_of(message: Message, body: bytes, venue: str, wanted: Collection[tuple[str, str]]) -> str:
    """The first instrument of a message that is of none that is wanted; "" if it is to be taken."""
    symbols = [event.symbol for event in message.events if not isinstance(event, Status)]
    if not message.events and (named := told_by(body)[1]):
        symbols = [named]  # nothing that a session needs, as a price of the index alone
    return symbols[0] if symbols and not any((symbol, venue) in wanted for symbol in symbols) else ""


def told_of(
    captures: Sequence[RawCapture], decoders: Mapping[str, Decoder], symbols: Collection[tuple[str, str]]
) -> list[tuple[str, Instrument]]:
    """(venue, instrument) of these (symbol, venue) for which the captures hold the venue's own metadata, by REST."""
    found: dict[tuple[str, str], Instrument] = {}
    for message in (message for capture in captures for message in capture.messages() if message.rest):
        decoder = decoders.get(message.venue)
        if decoder is None:
            continue
        with suppress(MessageError):  # an answer that cannot be read tells nothing
            told = decoder.instruments(urlsplit(message.url).path, message.body)
            found |= {(one.symbol, decoder.venue): one for one in told if (one.symbol, decoder.venue) in symbols}
    return [(key[1], found[key]) for key in symbols if key in found]


def _names(captures: Sequence[RawCapture]) -> str:
    return ", ".join(capture.name for capture in captures)


def _depths(
    captures: Sequence[RawCapture],
    decoders: Mapping[str, Decoder],
    found: Mapping[str, set[int]],
    told: Mapping[str, int],
) -> dict[str, int]:
    depths: dict[str, set[int]] = {}
    for key, of in found.items():
        if key == "kraken_v2":  # its messages do not tell: as it was subscribed, else what the largest snapshot needs
            of = {told.get(key, max(of))}
        depths.setdefault(decoders[key].venue, set()).update(of)
    for venue, of in depths.items():
        if len(of) > 1:
            levels = ", ".join(map(str, sorted(of)))
            raise RecordingError(
                f"{_names(captures)}: holds books of {venue} of several depths ({levels}), and a recording has one; "
                "convert captures of one depth"
            )
    return {venue: of.pop() for venue, of in depths.items()}


class CaptureConnection:
    """One connection of a capture; what it says was received, what is said to it is not heard."""

    def __init__(self, number: int, venue: str, symbols: tuple[str, ...], topics: tuple[str, ...]) -> None:
        self.id, self.venue, self.symbols, self.topics = number, venue, symbols, topics
        self.waiting = memoryview(b"")

    def fileno(self) -> int:
        """It has none."""
        return -1

    def read_into(self, buffer: memoryview) -> int:
        """As much of the frame in hand as fits."""
        count = min(len(buffer), len(self.waiting))
        buffer[:count] = self.waiting[:count]
        self.waiting = self.waiting[count:]
        return count

    def send_text(self, text: str) -> None:
        """Nobody hears it."""

    def send_pong(self, payload: bytes) -> None:
        """Nobody hears it."""


class CapturePool:
    """The pool and the fetcher of a feed whose messages were captured.

    Parameters
    ----------
    captures, contents : what is played, and what is in it
    streams : by venue
    venues : by key of `files.raw`: the venue as the settings call it
    translate : by key, where the feed does not read what was captured: a connection and its message as the one it reads
    numbered : by key, where messages bear the number of their connection: one that says its number and nothing else

    Attributes
    ----------
    now_ns : receive time of the message in hand
    ended : everything has been told
    unused : how many bodies of REST no book was in need of
    bare : how many messages were told by their number alone
    """

    def __init__(
        self,
        captures: Sequence[RawCapture],
        contents: Contents,
        streams: Mapping[str, VenueStreams],
        venues: Mapping[str, str],
        translate: Mapping[str, Callable[[Name, bytes], bytes]],
        numbered: Mapping[str, Callable[[int], bytes]],
    ) -> None:
        self._contents, self._streams, self._venues = contents, streams, venues
        self._translate, self._numbered = translate, numbered
        self._messages = heapq.merge(
            *(_to_its_end(number, capture, contents.numbers[number]) for number, capture in enumerate(captures)),
            key=lambda item: item[0],
        )
        self._playing = len(captures)
        self._open: dict[Name, CaptureConnection] = {}
        self._reading: CaptureConnection | None = None
        self._bodies: dict[Key, bytes] = {}
        self._asked: set[Key] = set()
        self.now_ns = 0
        self.ended = False
        self.bare = 0

    @property
    def unused(self) -> int:
        """Bodies of REST that were not asked for."""
        return len(self._bodies)

    def clock(self) -> int:
        """Time in ns, as the capture tells it."""
        return self.now_ns

    def turn(self, timeout_s: float) -> list[Event]:
        """The next message, or more of it; nobody waits here."""
        if self._reading is not None and self._reading.waiting:
            return [Readable(self._reading)]
        item = next(self._messages, None)
        if item is None:
            self.ended = True
            return []
        ts_ns, number, message, sequence = item
        self.now_ns = max(self.now_ns, ts_ns)
        if message is None:
            return self._end(number)
        if message.venue not in self._venues:
            return []
        if message.rest:
            self._keep_body(message)
            return []
        if sequence == _UNNUMBERED:
            return []
        name = (number, message.connection, message.venue)
        events = [] if name in self._open else self._begin(name)
        self._reading = self._open[name]
        translate, body = self._translate.get(message.venue), message.body
        if sequence != _TAKEN:
            body = self._numbered[message.venue](sequence)
            self.bare += 1
        self._reading.waiting = memoryview(_frame(translate(name, body) if translate else body))
        return [*events, Readable(self._reading)]

    def drop(self, connection: Connection, reason: str) -> None:
        """What it says next is said by another one."""
        self._open = {name: one for name, one in self._open.items() if one is not connection}
        if self._reading is connection:
            self._reading = None

    def retire(self, connection: Connection) -> None:
        """It is gone when the capture says so."""

    def rebalance(self, rates: Mapping[Key, float]) -> int:
        """Who brought what has been."""
        return 0

    def resubscribe(self, venue: str, symbol: str) -> None:
        """Nobody hears it."""

    def ask(self, key: Key, venue: str, request: Request) -> None:
        """What was answered then, if it has been by now."""
        self._asked.add(key)

    def done(self) -> list[tuple[Key, bytes, str]]:
        """Bodies that were asked for."""
        found = [(key, self._bodies.pop(key), "") for key in list(self._bodies) if key in self._asked]
        self._asked.clear()
        return found

    def close(self) -> None:
        """Nothing is held."""

    def _begin(self, name: Name) -> list[Event]:
        """A connection of the capture opens; one that was made again closes what it was before."""
        number, connection, key = name
        again = _AGAIN.fullmatch(connection)
        events: list[Event] = []
        if again:
            for other in list(self._open):
                same = other[1] == again[1] or other[1].startswith(f"{again[1]}#")
                if same and (other[0], other[2]) == (number, key):
                    events.append(Closed(self._open.pop(other), "made again"))
        taken = {one.id for one in self._open.values()}
        place = next((place for place in range(MAX_CONNECTIONS) if place not in taken), None)
        if place is None:
            raise RecordingError(
                f"more than {MAX_CONNECTIONS} connections at a time; convert captures of fewer instruments"
            )
        venue, heard = self._venues[key], self._contents.topics[name]
        streams = self._streams[venue]
        topics = [topic for symbol, book in heard.items() for topic in streams.topics(symbol)
                  if book or not streams.has_book([topic])]  # fmt: skip
        self._open[name] = CaptureConnection(place, venue, tuple(heard), tuple(topics))
        return [*events, Opened(self._open[name], place)]

    def _end(self, number: int) -> list[Event]:
        """A capture has ended, and its connections with it, unless nothing comes after it."""
        self._playing -= 1
        if not self._playing:
            return []
        ended = [name for name in self._open if name[0] == number]
        return [Closed(self._open.pop(name), "the capture ends") for name in ended]

    def _keep_body(self, message: RawMessage) -> None:
        """The answer to a request for a book; the last one counts. Others say nothing that a feed takes."""
        venue, symbol = self._venues[message.venue], _symbol_of(message.url)
        request = self._streams[venue].snapshot(symbol) if venue in self._streams else None
        if (
            request is not None
            and request[0] == urlsplit(message.url).path
            and (symbol, venue) in self._contents.symbols
        ):
            self._bodies[venue, symbol] = message.body


def _to_its_end(
    number: int, capture: RawCapture, numbers: Sequence[int]
) -> Iterator[tuple[int, int, RawMessage | None, int]]:
    """(receive time, number, message, its entry of `Contents.numbers`), and None behind the last one; a message without
    a time comes where it lies.
    """
    ts_ns = 0
    for message, sequence in zip(capture.messages(), numbers, strict=False):  # what has come since is not read
        ts_ns = max(ts_ns, message.ts_ns)
        yield ts_ns, number, message, sequence
    yield ts_ns, number, None, _TAKEN


def _frame(body: bytes) -> bytes:
    """A message as a server sends it (RFC 6455)."""
    size = len(body)
    if size < 126:
        return bytes((_TEXT, size)) + body
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + body
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + body

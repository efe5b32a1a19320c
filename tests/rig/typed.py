"""A venue's scanner beside its typed decoder: the same message through both, what they make of it in the same words."""

import random
import re
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from bot4.engine.feed_typed import fill
from bot4.kernels.scan import scanned as words
from bot4.kernels.scan.directory import directory_of
from bot4.kernels.scan.scanned import LISTING, N_TRADE_WORDS, scanned_memory
from bot4.model.enums import (
    INPUT_OK,
    INPUT_REASONS,
    INPUT_UNKNOWN_STREAM,
    INPUT_UNPARSABLE,
    INPUT_WRONG_SYMBOL,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_TRADE,
)
from bot4.ports.feed import Bar, BookChange, Decoder, Mark, MessageError, Quote, Trade

LEFT = (INPUT_UNPARSABLE, INPUT_UNKNOWN_STREAM, INPUT_WRONG_SYMBOL)  # refused as a whole
BEHIND = (b"", b'"}]}]}}\n', b'5","b":[]}\n')  # behind the newline; none of it may matter
COMPARED = {
    TICK_TRADE: (words.VENUE_NS,),
    TICK_QUOTE: (words.LAST_ID, words.BID, words.BID_LOTS, words.ASK, words.ASK_LOTS, words.VENUE_NS),
    TICK_LEVEL: (
        words.LAST_ID, words.FIRST_ID, words.PREVIOUS_ID, words.IS_SNAPSHOT, words.BIDS, words.ASKS,
        words.CHECKSUM, words.VENUE_NS,
    ),
    TICK_MARK: (words.MARK, words.INDEX, words.RATE, words.TIME_MS, words.VENUE_NS),
}  # fmt: skip

BINANCE = {  # whose words of time are the message's own, where an event has the engine's
    TICK_TRADE: (words.TRADE_ID, words.PRICE, words.QTY, words.BUYER_MAKER, words.OFF_MARKET),
    TICK_QUOTE: (words.LAST_ID, words.BID, words.BID_LOTS, words.ASK, words.ASK_LOTS),
    TICK_LEVEL: (words.LAST_ID, words.IS_SNAPSHOT, words.BIDS, words.ASKS),
    TICK_MARK: (words.MARK, words.INDEX, words.RATE, words.TIME_MS),
}


class Found(NamedTuple):
    """What one message says, in words that compare."""

    symbol: str  # "": of no instrument
    kind: int
    values: tuple


class Venue(NamedTuple):
    """A scanner, its twin, and the instruments that were asked for."""

    scan: Callable
    decoder: Decoder
    listings: np.ndarray
    ignored: Callable[[object], bool]  # events that the scanner has no words for
    bars: tuple[bytes, ...]  # how messages of bars begin: their values are not read
    later: tuple[str, ...] = ()  # complaints of the typed decoder that the feed itself finds, or that need not matter
    numbers: re.Pattern[bytes] = re.compile(rb'"-?0[0-9]{2}')  # that the scanner may refuse: zeros count as digits


def listing_of(rule: int, symbol: str, tick: str, lot: str) -> np.ndarray:
    """LISTING[1] of an instrument."""
    made = np.zeros(1, LISTING)
    row = made[0]
    for name, size in (("price", tick), ("qty", lot)):
        decimals = max(0, -int(Decimal(size).normalize().as_tuple().exponent))
        row[f"{name}_decimals"] = decimals
        row["tick_units" if name == "price" else "lot_units"] = int(Decimal(size).scaleb(decimals))
    row["rule"] = rule
    row["symbol_length"] = len(symbol)
    row["symbol"][: len(symbol)] = np.frombuffer(symbol.upper().encode(), np.uint8)
    return made


def _values(kind: int, scanned: words.Scanned, rule: int) -> tuple:
    message = scanned.message
    compared = COMPARED[kind]
    if rule < words.RULE_STREAM:
        compared = BINANCE[kind]
        if kind == TICK_LEVEL and message[words.IS_SNAPSHOT] == 0:
            compared += (words.PREVIOUS_ID if rule == words.RULE_FUTURES else words.FIRST_ID,)
    made = [int(message[place]) for place in compared]
    if kind == TICK_LEVEL:
        for row, count in ((0, message[words.BIDS]), (1, message[words.ASKS])):
            made.append((scanned.prices[row, :count].tolist(), scanned.lots[row, :count].tolist()))
    return tuple(made)


class Pair:
    """Runs both on the same bytes."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.rule = int(venue.listings[0]["rule"])
        members = np.arange(len(venue.listings), dtype=np.int64)
        self.directory = directory_of(venue.listings, members)
        self.names = [row["symbol"][: row["symbol_length"]].tobytes().decode() for row in venue.listings]
        self.scanned, self.filled = scanned_memory(), scanned_memory()

    def scan(self, body: bytes) -> tuple[int, int, list[Found]]:
        """(reason, number of the message, what was found) by the scanner, whatever lies around the message."""
        made = []
        for behind in BEHIND:
            text = np.frombuffer(b"xx" + body + b"\n" + behind, np.uint8).copy()
            at, end = np.int64(2), np.int64(2 + len(body))
            reason = int(self.venue.scan(text, at, end, self.directory, self.venue.listings, self.scanned))
            made.append((reason, int(self.scanned.message[words.SEQUENCE]), self._found(reason)))
        assert made[0] == made[1] == made[2], body
        return made[0]

    def _found(self, reason: int) -> list[Found]:
        message = self.scanned.message
        kind = int(message[words.KIND])
        if reason != INPUT_OK or kind == 0:
            return []
        name = self.names[message[words.INSTRUMENT]]
        if kind == TICK_TRADE and self.rule >= words.RULE_STREAM:
            rows = self.scanned.trades[: message[words.TRADES]].tolist()
            return [Found(name, kind, tuple(row)) for row in rows]
        if kind == TICK_TRADE and message[words.OFF_MARKET] and not (message[words.PRICE] and message[words.QTY]):
            return []  # a number without a trade
        return [Found(name, kind, _values(kind, self.scanned, self.rule))]

    def decode(self, body: bytes) -> tuple[str, int, list[Found]]:
        """(why it is refused, number, what was found) by the typed decoder and `fill`; of no instrument of ours: ""."""
        try:
            message = self.venue.decoder.decode(body)
        except MessageError as error:
            return str(error), -1, []
        number = -1 if message.sequence is None else message.sequence
        made: list[Found] = []
        for event in message.events:
            if isinstance(event, Bar) or self.venue.ignored(event):
                continue
            assert isinstance(event, Trade | Quote | BookChange | Mark)
            name = event.symbol.upper()
            if name not in self.names:
                made.append(Found(name, -1, ()))
                continue
            reason = fill(event, self.venue.listings[self.names.index(name)], self.filled, message.venue_ns)
            if reason != INPUT_OK:
                return INPUT_REASONS[reason], number, []
            kind = int(self.filled.message[words.KIND])
            if kind == TICK_TRADE and self.rule >= words.RULE_STREAM:
                made.append(Found(name, kind, tuple(self.filled.trades[0, :N_TRADE_WORDS].tolist())))
            elif kind != 0:
                made.append(Found(name, kind, _values(kind, self.filled, self.rule)))
        return "", number, made

    def compare(self, body: bytes) -> int:
        """Assert that the scanner says what the typed decoder says, or refuses; its reason."""
        reason, number, found = self.scan(body)
        if reason in LEFT:
            return reason
        why, typed_number, typed = self.decode(body)
        if reason != INPUT_OK:
            assert why or self.venue.numbers.search(body), (INPUT_REASONS[reason], body)
            return reason
        if why and why.startswith(self.venue.later):
            return reason
        if why and re.sub(rb"\s", b"", body).startswith(self.venue.bars):
            return reason
        assert not why, (why, body, found)
        assert found == typed, (body, found, typed)
        assert number == typed_number, body
        return reason


BYTES = b'0123456789.,:{}[]"-+eE \t\\abnulUpst@NIZT\x00\x7f\xff'
NUMBERS = (b"0", b"-0", b"-1", b"1e5", b"1E-3", b"0.0", b"NaN", b"null", b"9" * 19, b"9" * 30, b"1." + b"0" * 45,
           b"9223372036854775807", b"01", b"1.", b".5", b"", b"true", b"1.0", b"-5.5")  # fmt: skip
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_MEMBER = re.compile(rb'"[A-Za-z0-9_]+":(?:"[^"]*"|[0-9.truefalsn-]+)')


def mutated(body: bytes, source: random.Random, others: list[bytes]) -> bytes:
    """A message with one to three random changes: of bytes, numbers, members, white space."""
    data = bytearray(body)
    for _ in range(source.randint(1, 3)):
        at, size = source.randrange(len(data) + 1), source.choice((1, 1, 1, 2, 8, 40))
        way = source.randrange(10)
        if way == 0:
            data[at : at + size] = b""
        elif way == 1:
            data[at:at] = bytes(source.choice(BYTES) for _ in range(size))
        elif way == 2:
            data[at : at + 1] = bytes([source.choice(BYTES)])
        elif way == 3:
            data[at:at] = data[at : at + size]
        elif way == 4:
            other = source.choice(others)
            start = source.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        elif way == 5:
            del data[at:]
        elif way == 6:
            _swap_in(data, source, _NUMBER, lambda _: source.choice(NUMBERS))
        elif way == 7:
            _swap_in(data, source, _MEMBER, lambda member: member + b"," + member)
        elif way == 8:
            _swap_in(data, source, _MEMBER, lambda _: source.choice(_MEMBER.findall(body) or [b""]))
        else:
            places = [place for place, byte in enumerate(data) if byte in b"{}[],:"]
            if places:
                place = source.choice(places) + source.randint(0, 1)
                data[place:place] = source.choice((b" ", b"\t", b"\r", b"  \r "))
        if not data:
            break
    return bytes(data).replace(b"\n", b" ")


def _swap_in(data: bytearray, source: random.Random, pattern: re.Pattern[bytes], make: Callable) -> None:
    matches = list(pattern.finditer(data))
    if matches:
        match = source.choice(matches)
        data[match.start() : match.end()] = make(match.group())

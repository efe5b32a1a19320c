"""One typed event of a venue's decoder as the words that a scanner fills: the way of the rare and the unusual messages.

Decimals become ticks and lots by the scanner's own rules: a price has to be on its tick, a trade's or quote's quantity
on its lot; a level's quantity is cut, but never down to nothing. So it does not matter which of the two read a message.
"""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bot4.kernels.scan.decimal import CUT, MAX_E8, MAX_QUANTITY, MAX_TICKS
from bot4.kernels.scan.number import trade_number
from bot4.kernels.scan.scanned import (
    ABSENT,
    ASK,
    ASK_LOTS,
    ASKS,
    BID,
    BID_LOTS,
    BIDS,
    BUYER_MAKER,
    CHECKSUM,
    FIRST_ID,
    INDEX,
    INSTRUMENT,
    IS_SNAPSHOT,
    KIND,
    LAST_ID,
    MARK,
    MAX_LEVELS,
    OFF_MARKET,
    PREVIOUS_ID,
    PRICE,
    QTY,
    RATE,
    RULE_CONNECTION,
    RULE_FUTURES,
    RULE_STREAM,
    SENT_NS,
    SEQUENCE,
    TIME_MS,
    TRADE_HASHED,
    TRADE_ID,
    TRADE_NS,
    TRADE_NUMBER,
    TRADE_OFF_MARKET,
    TRADE_PRICE,
    TRADE_QTY,
    TRADE_SIDE,
    TRADES,
    VENUE_NS,
    Scanned,
)
from bot4.kernels.scan.token import MAX_DIGITS
from bot4.model.enums import (
    INPUT_BAD_NUMBER,
    INPUT_NEGATIVE,
    INPUT_OFF_LOT,
    INPUT_OFF_TICK,
    INPUT_OK,
    INPUT_OVERFLOW,
    INPUT_TOO_MANY_LEVELS,
    INPUT_UNPARSABLE,
    INPUT_ZERO,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_TRADE,
)
from bot4.ports.feed import BookChange, Event, Level, Mark, Quote, Trade

_E8_DECIMALS = 8
_MS = 1_000_000


def _units(value: Decimal, decimals: int, units: int, off_reason: int, limit: int) -> int:
    """The decimal in whole units of `units` / 10**decimals, or minus the reason: as `scan_decimal`."""
    if value.is_signed():
        return -INPUT_NEGATIVE
    if max(value.adjusted() + 1, 1) + decimals > MAX_DIGITS:
        return -INPUT_OVERFLOW
    numerator, denominator = value.as_integer_ratio()
    count, rest = divmod(numerator * 10**decimals, denominator * units)
    if count > limit:
        return -INPUT_OVERFLOW
    if rest:
        return -off_reason if off_reason != CUT else max(count, 1)
    return count


def _ticks(value: Decimal, listing: np.void) -> int:
    """A price, above zero."""
    found = _units(value, int(listing["price_decimals"]), int(listing["tick_units"]), INPUT_OFF_TICK, MAX_TICKS)
    return found or -INPUT_ZERO


def _lots(value: Decimal, listing: np.void) -> int:
    """The quantity of a trade or a quote, above zero."""
    found = _units(value, int(listing["qty_decimals"]), int(listing["lot_units"]), INPUT_OFF_LOT, MAX_QUANTITY)
    return found or -INPUT_ZERO


def _first_reason(*values: int) -> int:
    return next((-value for value in values if value < 0), INPUT_OK)


def _fill_side(levels: Sequence[Level], row: int, listing: np.void, scanned: Scanned, best_first: bool) -> int:
    """Levels of row 0 (bids) or 1 (asks); the first reason among them.

    best_first: those of a whole book that is too long may be left out at its far end.
    """
    reason = INPUT_OK
    prices, lots = scanned.prices[row], scanned.lots[row]
    held = (int(listing["qty_decimals"]), int(listing["lot_units"]), CUT, MAX_QUANTITY)
    for index, (price, qty) in enumerate(levels):
        ticks, found = _ticks(price, listing), _units(qty, *held)
        if index < MAX_LEVELS:
            prices[index], lots[index] = ticks, found
            reason = reason or _first_reason(ticks, found)
            continue
        deeper = 0 < ticks < prices[-1] if row == 0 else ticks > prices[-1] or ticks == -INPUT_OVERFLOW
        if not (best_first and deeper):
            reason = reason or INPUT_TOO_MANY_LEVELS
        if found != -INPUT_OVERFLOW:
            reason = reason or _first_reason(found)
    scanned.message[ASKS if row else BIDS] = min(len(levels), MAX_LEVELS)
    return reason


def _fill_book(event: BookChange, listing: np.void, scanned: Scanned) -> int:
    message = scanned.message
    rule = int(listing["rule"])
    best_first = event.snapshot and rule == RULE_CONNECTION
    reason = _fill_side(event.bids, 0, listing, scanned, best_first)
    reason = reason or _fill_side(event.asks, 1, listing, scanned, best_first)
    message[LAST_ID] = event.last or 0
    if event.depth == 1 and event.snapshot:  # a best quote that looks like a book
        whole = message[BIDS] == 1 and message[ASKS] == 1 and scanned.lots[0, 0] != 0 and scanned.lots[1, 0] != 0
        message[BIDS] = message[ASKS] = 0
        message[KIND] = TICK_QUOTE if whole or reason else 0
        if whole:
            message[BID], message[BID_LOTS] = scanned.prices[0, 0], scanned.lots[0, 0]
            message[ASK], message[ASK_LOTS] = scanned.prices[1, 0], scanned.lots[1, 0]
        return reason
    message[KIND] = TICK_LEVEL
    message[IS_SNAPSHOT] = event.snapshot
    if event.last is not None and (rule == RULE_STREAM or event.before is not None):
        before = event.last - 1 if event.before is None else event.before
        message[PREVIOUS_ID] = before if rule in (RULE_FUTURES, RULE_STREAM) else 0
        message[FIRST_ID] = before + 1
    if event.checksum is not None:
        message[CHECKSUM] = event.checksum
    return reason


def _fill_trade(event: Trade, listing: np.void, scanned: Scanned) -> int:
    message, trade = scanned.message, scanned.trades[0]
    message[KIND] = TICK_TRADE
    if not event.trade_id:
        return INPUT_UNPARSABLE  # nobody could tell it from a repeat
    name = np.frombuffer(event.trade_id.encode(), np.uint8)
    number, hashed = trade_number(name, np.int64(0), np.int64(len(name)))
    ticks, lots = _ticks(event.price, listing), _lots(event.qty, listing)
    trade[TRADE_PRICE] = message[PRICE] = ticks
    trade[TRADE_QTY] = message[QTY] = lots
    trade[TRADE_NUMBER] = message[TRADE_ID] = number
    trade[TRADE_HASHED] = hashed
    trade[TRADE_SIDE] = event.side
    trade[TRADE_NS] = event.venue_ns
    trade[TRADE_OFF_MARKET] = message[OFF_MARKET] = not event.market
    message[BUYER_MAKER] = event.side < 0
    message[TRADES] = 1
    return _first_reason(ticks, lots)


def _fill_quote(event: Quote, listing: np.void, scanned: Scanned) -> int:
    message = scanned.message
    values = {
        BID: _ticks(event.bid, listing),
        BID_LOTS: _lots(event.bid_qty, listing),
        ASK: _ticks(event.ask, listing),
        ASK_LOTS: _lots(event.ask_qty, listing),
    }
    message[KIND] = TICK_QUOTE
    message[LAST_ID] = event.update_id or 0
    for place, value in values.items():
        message[place] = value
    return _first_reason(*values.values())


def _fill_mark(event: Mark, listing: np.void, scanned: Scanned) -> int:
    message = scanned.message
    absent = ABSENT if int(listing["rule"]) >= RULE_STREAM else 0
    message[KIND] = TICK_MARK
    message[TIME_MS] = event.next_ns // _MS if event.next_ns else absent
    reason = INPUT_OK
    for place, value in ((MARK, event.mark), (INDEX, event.index_price), (RATE, event.rate)):
        if value is None:
            message[place] = absent
            continue
        found = _units(value.copy_abs() if place == RATE else value, _E8_DECIMALS, 1, INPUT_BAD_NUMBER, MAX_E8)
        reason = reason or (INPUT_BAD_NUMBER if place == RATE and found < 0 else _first_reason(found))
        message[place] = -found if place == RATE and value.is_signed() else found
    return reason


def fill(event: Event, listing: np.void, scanned: Scanned, sent_ns: int) -> int:
    """Put one event into the words; INPUT_OK or what is wrong with its first bad number.

    Parameters
    ----------
    event : of the instrument that the listing is of
    listing : LISTING record
    sent_ns : when the venue sent the message, 0 where it does not say
    scanned : Scanned, out; the words INSTRUMENT and SEQUENCE are the caller's, -1 here. KIND is 0 for a bar
    """
    message = scanned.message
    message[:] = 0
    message[INSTRUMENT] = message[SEQUENCE] = message[CHECKSUM] = -1
    message[VENUE_NS] = event.venue_ns
    message[SENT_NS] = sent_ns
    if isinstance(event, BookChange):
        return _fill_book(event, listing, scanned)
    if isinstance(event, Trade):
        return _fill_trade(event, listing, scanned)
    if isinstance(event, Quote):
        return _fill_quote(event, listing, scanned)
    if isinstance(event, Mark):
        return _fill_mark(event, listing, scanned)
    return INPUT_OK

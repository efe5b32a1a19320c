"""A venue's private side in ccxt's unified words: requests to ccxt's process and what its answers prove.

Pure: records in, messages out, rows of decimal texts in, our units out; no connection and no ccxt. An answer is the
venue's clear word where ccxt has returned, where the venue's own code says that the request was refused before anything
was done, where ccxt's exception can mean nothing else, or where ccxt has raised before anything was sent. All else
proves nothing: a network that failed, a venue that is overloaded, an error that ccxt has no class for.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bot4.model.enums import (
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_REJECT,
    SIDE_BUY,
    SIDE_SELL,
    TIF_FOK,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
    VENUE_BAD_REQUEST,
    VENUE_BALANCE,
    VENUE_DUPLICATE_ID,
    VENUE_FILTER,
    VENUE_KEY,
    VENUE_NO_MARKET,
    VENUE_NOT_WHOLE,
    VENUE_POSITION,
    VENUE_POST_ONLY,
    VENUE_RATE,
    VENUE_REDUCE_ONLY,
    VENUE_SELF_TRADE,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TIME,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)
from bot4.model.intent import OrderIntent
from bot4.model.units import from_e8
from bot4.ports.gateway import (
    CALL_AMEND,
    CALL_CANCEL,
    CALL_PLACE,
    CALL_QUERY,
    Call,
    FundingRow,
    OrderRow,
    Outcome,
    Page,
    PositionRow,
    Reply,
    Told,
    TradeRow,
)
from bot4.ports.gateway_values import UNREADABLE, exact_e8, fee_ppm, milliseconds, paid_e8, reason_of, units, word
from bot4.ports.venue import Done, Refused, Unknown

_PAUSE_S = 1.0
_BAN_S = 600.0  # of an address that has been shut out, where the venue does not say for how long

# by the names of `words`
_CODES = {
    "time": VENUE_TIME, "key": VENUE_KEY, "rate": VENUE_RATE, "unknown_order": VENUE_UNKNOWN_ORDER,
    "filter": VENUE_FILTER, "balance": VENUE_BALANCE, "too_many": VENUE_TOO_MANY_ORDERS, "position": VENUE_POSITION,
    "reduce_only": VENUE_REDUCE_ONLY, "duplicate": VENUE_DUPLICATE_ID, "would_trigger": VENUE_STOP_WOULD_TRIGGER,
    "no_market": VENUE_NO_MARKET,
}  # fmt: skip
# ccxt's exceptions that a venue's refusal alone raises; of an exception's bases the first that stands here counts
_CLASSES = {
    "OrderNotFound": VENUE_UNKNOWN_ORDER, "OrderImmediatelyFillable": VENUE_POST_ONLY,
    "OrderNotFillable": VENUE_NOT_WHOLE, "DuplicateOrderId": VENUE_DUPLICATE_ID, "ContractUnavailable": VENUE_NO_MARKET,
    "InvalidOrder": VENUE_FILTER, "InsufficientFunds": VENUE_BALANCE, "BadSymbol": VENUE_NO_MARKET,
    "MarketClosed": VENUE_NO_MARKET, "BadRequest": VENUE_BAD_REQUEST, "ArgumentsRequired": VENUE_BAD_REQUEST,
    "AuthenticationError": VENUE_KEY, "RateLimitExceeded": VENUE_RATE, "InvalidNonce": VENUE_TIME,
}  # fmt: skip
_BUSY = ("RateLimitExceeded", "DDoSProtection")
_STATES = {"open": REPORT_ACK, "closed": REPORT_FILL, "canceled": REPORT_CANCELED, "expired": REPORT_EXPIRED,
           "rejected": REPORT_REJECT}  # fmt: skip
_ENDS = {
    "post_only": (REPORT_REJECT, VENUE_POST_ONLY), "reduced": (REPORT_EXPIRED, VENUE_REDUCE_ONLY),
    "self_trade": (REPORT_EXPIRED, VENUE_SELF_TRADE), "not_whole": (REPORT_EXPIRED, VENUE_NOT_WHOLE),
    "expired": (REPORT_EXPIRED, 0), "too_many": (REPORT_REJECT, VENUE_TOO_MANY_ORDERS),
}  # fmt: skip
_TIFS = {TIF_GTC: "GTC", TIF_IOC: "IOC", TIF_FOK: "FOK"}


class _Sizes(NamedTuple):
    symbol: str
    tick_e8: int
    lot_e8: int
    value_e8: int


class Raised(msgspec.Struct):
    """What ccxt has raised: the names of the exception's classes, the nearest first, and its text."""

    bases: list[str]
    text: str
    sent: bool  # something has gone out


class Answer(msgspec.Struct):
    """Of ccxt's process to a call: what ccxt has returned, or has raised."""

    done: Any = None
    raised: Raised | None = None


def _side(row: Mapping[str, Any], plus: str, minus: str) -> int:
    if row["side"] not in (plus, minus):
        raise ValueError(f"side {str(row['side'])[:40]}")
    return SIDE_BUY if row["side"] == plus else SIDE_SELL


class CcxtPrivate:
    """See `ports.gateway.Private`.

    Parameters
    ----------
    words : of `words.WORDS`
    symbols : of the instruments that are traded, by index
    instruments : INSTRUMENT[n], their sizes
    whole : what the account has of other instruments is no less ours; they get the next indices, and count in 1e-8
    """

    host = ""  # ccxt's process knows where it asks

    def __init__(self, words: Any, symbols: Sequence[str], instruments: np.ndarray, whole: bool = False) -> None:
        self._words, self._whole = words, whole
        self.deadline_ms: int = words.deadline_ms
        self.limits: Sequence[int] = words.limits
        self.total: tuple[int, float] = words.total
        self.window_ms: int = words.window_ms
        self._sizes = [
            _Sizes(symbol, *(int(row[name]) for name in ("tick_e8", "lot_e8", "value_e8")))
            for symbol, row in zip(symbols, instruments, strict=True)
        ]
        self._index = {symbol: index for index, symbol in enumerate(symbols)}

    @property
    def symbols(self) -> list[str]:
        """By index, those that have turned up included."""
        return [sizes.symbol for sizes in self._sizes]

    def differs(self, markets: Mapping[str, Mapping[str, Any]]) -> str:
        """Why the markets that ccxt has found are not those of the settings, a sentence; "": they are."""
        for sizes in self._sizes:
            found, at = markets.get(sizes.symbol), f"instruments.toml: {sizes.symbol}"
            if found is None:
                return f"{at}: ccxt knows no such {self._words.kind} market; name one that it has"
            if Decimal(found["contract"]) != 1:
                return f"{at}: a contract of ccxt's is {found['contract']} of the base, which is not supported"
            if found["quote"] != self._words.quote:
                return f"{at}: ccxt says that it settles in {found['quote']}; trade what settles in {self._words.quote}"
            ours = {"tick_size": sizes.tick_e8, "lot_size": sizes.lot_e8}
            for field, size_e8 in ours.items():
                theirs = exact_e8(found[field])
                if size_e8 % theirs or (field == "tick_size" and size_e8 != theirs):
                    return f'{at}: {field}: {from_e8(size_e8)} is not ccxt\'s; write "{from_e8(theirs)}"'
        return ""

    # --- requests ---

    def place(self, order: OrderIntent, link: str) -> Call:
        """See ports/gateway.py."""
        sizes, kind = self._sizes[order.instrument], order.type
        return self._call(
            CALL_PLACE,
            "place",
            symbol=sizes.symbol,
            link=link,
            side="buy" if order.side > 0 else "sell",
            type="limit" if kind == TYPE_LIMIT else "market",
            qty=from_e8(order.qty_lots * sizes.lot_e8),
            price=from_e8(order.price_ticks * sizes.tick_e8) if kind == TYPE_LIMIT else "",
            stop=from_e8(order.stop_ticks * sizes.tick_e8) if kind == TYPE_STOP_MARKET else "",
            tif=_TIFS[order.tif] if kind == TYPE_LIMIT else "",
            post_only=bool(order.flags & ORDER_POST_ONLY),
            reduce_only=bool(order.flags & ORDER_REDUCE_ONLY),
        )

    def replace(self, order: OrderIntent, link: str, gone: str) -> Call | None:
        """See ports/gateway.py. What only reduces a contract holds nothing back."""
        return None

    def cancel(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_CANCEL, "cancel", symbol=self._sizes[instrument].symbol, link=link, venue_id="")

    def amend(self, instrument: int, link: str, qty_lots: int, stop_ticks: int) -> Call | None:
        """See ports/gateway.py."""
        sizes = self._sizes[instrument]
        qty, stop = (from_e8(one) for one in (qty_lots * sizes.lot_e8, stop_ticks * sizes.tick_e8))
        return self._call(CALL_AMEND, "amend", symbol=sizes.symbol, link=link, qty=qty, stop=stop if stop_ticks else "")

    def cancel_all(self, instrument: int) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_CANCEL, "cancel_all", symbol=self._sizes[instrument].symbol)

    def cancel_but_stops(self) -> Call | None:
        """See ports/gateway.py."""
        return self._call(CALL_CANCEL, "cancel_but_stops") if self._words.but_stops else None

    def cancel_named(self, order: OrderRow) -> Call:
        """See ports/gateway.py."""
        symbol = self._sizes[order.instrument].symbol
        return self._call(CALL_CANCEL, "cancel", symbol=symbol, link="", venue_id=order.venue_id)

    def ask_order(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "order", symbol=self._sizes[instrument].symbol, link=link)

    def ask_ended(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "order_ended", symbol=self._sizes[instrument].symbol, link=link)

    def ask_owner(self, instrument: int, venue_id: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "owner", symbol=self._sizes[instrument].symbol, venue_id=venue_id)

    def ask_open(self, cursor: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "open", cursor=cursor)

    def ask_ended_list(self, cursor: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "ended", cursor=cursor)

    def ask_trades(self, since_ms: int, until_ms: int, link: str, cursor: str) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "trades", since_ms=since_ms, until_ms=until_ms, link=link, cursor=cursor)

    def ask_positions(self) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "positions")

    def ask_cash(self) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "cash")

    def ask_fees(self, instrument: int) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "fees", symbol=self.symbols[instrument])

    def set_guard(self, timeout_s: int) -> Call | None:
        """See ports/gateway.py. ccxt unifies none."""
        return None

    def guard(self, is_armed: bool) -> str:
        """See ports/gateway.py."""
        raise AssertionError("the venue has no dead-man's switch through ccxt")

    def ask_time(self) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "time")._replace(signed=False)

    def ask_key(self) -> Call:
        """See ports/gateway.py."""
        return self._call(CALL_QUERY, "key")

    @staticmethod
    def _call(kind: int, name: str, **arguments: object) -> Call:
        return Call(kind, name, "", "", msgspec.json.encode(arguments).decode())

    def sign(self, call: Call, now_ms: int) -> bytes:
        """See ports/gateway.py. The message to ccxt's process, which signs as of that time."""
        return b'{"name":"%s","now_ms":%d,"arguments":%s}' % (call.name.encode(), now_ms, call.payload.encode())

    # --- answers ---

    def judge(self, call: Call, reply: Reply) -> Outcome:
        """See ports/gateway.py."""
        if reply.error:
            return Unknown(reply.error)
        try:
            answer = msgspec.json.decode(reply.body, type=Answer)
            if answer.raised is None:
                return Done(self._value(call, answer.done))
        except UNREADABLE as error:
            return Unknown(f"an answer to {call.name} that cannot be read ({reason_of(error)})")
        return self._raised(call, answer.raised)

    def _raised(self, call: Call, raised: Raised) -> Outcome:
        said = self._words.refusal(call.name, raised.text)
        if said == "done":
            return Done(None)
        code = _CODES[said] if said else next((_CLASSES[name] for name in raised.bases if name in _CLASSES), 0)
        if not raised.sent:
            return Refused(code or VENUE_BAD_REQUEST)
        if not code or (code == VENUE_UNKNOWN_ORDER and call.name not in ("cancel", "amend")):
            return Unknown(f"{raised.bases[0] if raised.bases else 'an error'}: {raised.text[:200]}")
        return Refused(code)

    def _value(self, call: Call, done: Any) -> Any:
        name = call.name
        if name in ("place", "cancel", "amend"):
            if not isinstance(done, str):
                raise TypeError("the order's name is no text")
            return done
        if name in ("cancel_all", "cancel_but_stops"):
            return [str(one) for one in done]
        if name in ("order", "order_ended", "owner"):
            if done is None:
                return None
            row = self._order(done)
            if row is None:
                raise ValueError("an order of another instrument")
            return row
        if name in ("open", "ended", "trades"):
            read: Any = self._execution if name == "trades" else self._order
            return Page(tuple(self._ours(read, done["rows"])), word(done, "cursor"))
        if name == "positions":
            return self._ours(self._position, done)
        if name == "cash":
            return exact_e8(done)
        if name == "fees":
            return fee_ppm(word(done, "maker")), fee_ppm(word(done, "taker"))
        if name == "time":
            return milliseconds(done) * 1_000_000
        if not isinstance(done, str):
            raise TypeError("what is said of the key is no text")
        return done

    def _ours(self, read: Any, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Rows of another instrument that cannot be read are left out; one of ours leaves the whole list unread."""
        if not isinstance(rows, list):
            raise TypeError("no list")
        made = []
        for row in rows:
            symbol = word(row, "symbol")
            try:
                if self._whole and symbol not in self._index:
                    self._index[symbol] = len(self._sizes)
                    self._sizes.append(_Sizes(symbol, 1, 1, 1))
                made.append(read(row))
            except UNREADABLE as error:
                if symbol in self._index:
                    raise ValueError(f"{symbol}: {reason_of(error)}") from None
        return [one for one in made if one is not None]

    def _order(self, row: Mapping[str, Any]) -> OrderRow | None:
        index = self._index.get(row["symbol"])
        if index is None:
            return None
        sizes, is_stop = self._sizes[index], bool(row["stop"])
        cum = units(word(row, "filled"), sizes.lot_e8)
        status, code = _STATES[row["status"]], 0
        if status == REPORT_REJECT:
            code = VENUE_BAD_REQUEST
        if status not in (REPORT_ACK, REPORT_FILL):
            status, code = _ENDS.get(row["end"], (status, code))
            if status == REPORT_REJECT and cum:
                status = REPORT_EXPIRED
        kind = TYPE_STOP_MARKET if is_stop else TYPE_MARKET if row["type"] == "market" else TYPE_LIMIT
        return OrderRow(
            link=word(row, "link"),
            venue_id=word(row, "venue_id"),
            instrument=index,
            side=_side(row, "buy", "sell"),
            type=kind,
            status=status,
            code=code,
            price_ticks=units(word(row, "price"), sizes.tick_e8) if kind == TYPE_LIMIT else 0,
            stop_ticks=units(word(row, "stop"), sizes.tick_e8),
            qty_lots=units(word(row, "qty"), sizes.lot_e8),
            cum_lots=cum,
            is_triggered=is_stop and (bool(row["is_triggered"]) or cum > 0),
            updated_ms=milliseconds(row["updated_ms"]),
            is_reduce_only=bool(row["reduce_only"]),
        )

    def _execution(self, row: Mapping[str, Any]) -> TradeRow | FundingRow | None:
        index = self._index.get(row["symbol"])
        if index is None:
            return None
        sizes, when = self._sizes[index], milliseconds(row["time_ms"])
        if row["what"] == "funding":
            return FundingRow(word(row, "key"), index, paid_e8(word(row, "paid")), when)
        if row["fee_in"] not in ("", self._words.quote) and Decimal(row["fee"]):
            raise ValueError(f"a fee in {str(row['fee_in'])[:20]}")
        return TradeRow(
            key=word(row, "key"),
            link=word(row, "link"),
            instrument=index,
            side=_side(row, "buy", "sell"),
            price_ticks=units(word(row, "price"), sizes.tick_e8),
            qty_lots=units(word(row, "qty"), sizes.lot_e8),
            fee_e8=paid_e8(word(row, "fee")),
            time_ms=when,
        )

    def _position(self, row: Mapping[str, Any]) -> PositionRow | None:
        index = self._index.get(row["symbol"])
        if index is None:
            return None
        if row["is_hedged"]:
            raise ValueError("the account holds long and short positions apart; set it to one-way")
        sizes, lots = self._sizes[index], units(word(row, "qty"), self._sizes[index].lot_e8)
        if not lots:
            return PositionRow(index, 0, 0)
        sign = _side(row, "long", "short")
        return PositionRow(index, sign * lots, sign * (exact_e8(word(row, "cost")) // sizes.value_e8))

    def limit_of(self, reply: Reply) -> int:
        """See ports/gateway.py."""
        text = reply.head.get("x-bapi-limit", "")
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    def pause_s(self, reply: Reply) -> float:
        """See ports/gateway.py."""
        said = reply.head.get("retry-after", "")
        if said.isdecimal() and len(said) < 10 and reply.status in (403, 418, 429):
            return float(said)
        if reply.status in (403, 418):
            return _BAN_S
        return _PAUSE_S if any(b'"%s"' % name.encode() in reply.body[:400] for name in _BUSY) else 0.0

    # --- stream ---

    def logon(self, now_ms: int) -> str:
        """See ports/gateway.py."""
        return '{"name":"auth"}'

    def subscribe(self) -> str:
        """See ports/gateway.py."""
        return '{"name":"subscribe"}'

    def ping(self) -> str:
        """See ports/gateway.py."""
        return '{"name":"pong"}'

    def read(self, text: bytes) -> Told:
        """See ports/gateway.py."""
        try:
            message = msgspec.json.decode(text)
            if "answered" in message:
                return Told(answered=word(message, "answered"))
            read: Any = self._execution if message["what"] == "trades" else self._order
            return Told(tuple(self._ours(read, message["rows"])))
        except UNREADABLE as error:
            raise ValueError(f"a message that cannot be read ({reason_of(error)})") from None

"""Binance Spot's private side: requests, answers, the stream of the websocket API.

Pure: bytes and records in, bytes and rows out, no connection. An answer proves something only where it is the venue's
clear word: status 200, or a 4xx with a code that is known to mean that the request was refused before anything was
done. Whatever comes with a 5xx proves nothing, as the venue itself says. Whatever the bytes are, reading them ends in
an outcome or, of the stream, in a ValueError. Of a list, a row of another symbol that cannot be read is left out; one
of ours leaves the whole list unread.

- **Position.** What there is of the base asset, free and locked, to the last 1e-8: whole lots and a rest.
- **Fees.** A buy pays in what it buys, so less than was bought is held. A fee in a third asset (BNB, where the account
  has that switched on) counts as what the instrument's taker fee of the settings would have been: never less than its
  price.
- **No reduce-only.** A sell only reduces, since nobody sells here what he does not have. A stop locks what it would
  sell, so an order that closes takes its place in one call, which the venue does as one.
- **Names.** Trades are listed by the venue's number of their order alone; numbers count by symbol.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote as quoted
from urllib.parse import urlsplit

import msgspec
import numpy as np

from bot4.adapters.binance.sign import signer
from bot4.adapters.binance.symbols import SELF_TRADE
from bot4.model.enums import (
    ORDER_POST_ONLY,
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
    VENUE_POST_ONLY,
    VENUE_RATE,
    VENUE_SELF_TRADE,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TIME,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)
from bot4.model.intent import OrderIntent
from bot4.ports.gateway import (
    CALL_AMEND,
    CALL_CANCEL,
    CALL_PLACE,
    CALL_QUERY,
    Call,
    OrderRow,
    Outcome,
    Page,
    PositionRow,
    Reply,
    Told,
    TradeRow,
)
from bot4.ports.gateway_values import (
    UNREADABLE,
    Keys,
    decimal_text,
    exact_e8,
    fee_ppm,
    milliseconds,
    paid_e8,
    reason_of,
    units,
    word,
)
from bot4.ports.venue import Done, Refused, Unknown

DEADLINE_MS = 2_000
_TRADES = 1_000
_PAUSE_S = 1.0
_BAN_S = 120.0  # of an address that has been shut out, where the venue does not say for how long
_PPM = 1_000_000

# What a request was refused with before anything was done; -2010, -2011 and -1013 say more in their text.
CODES = {
    -1002: VENUE_KEY, -2008: VENUE_KEY, -2014: VENUE_KEY, -2015: VENUE_KEY, -1022: VENUE_KEY, -1021: VENUE_TIME,
    -1003: VENUE_RATE, -1015: VENUE_RATE, -1034: VENUE_RATE, -1131: VENUE_BAD_REQUEST, -2013: VENUE_UNKNOWN_ORDER,
    -2038: VENUE_FILTER,
}  # fmt: skip
_MALFORMED = range(-1199, -1099)
_TEXTS = (
    ("would immediately match", VENUE_POST_ONLY), ("insufficient balance", VENUE_BALANCE),
    ("Duplicate order", VENUE_DUPLICATE_ID), ("would trigger immediately", VENUE_STOP_WOULD_TRIGGER),
    ("liquidity is less", VENUE_NO_MARKET), ("Market is closed", VENUE_NO_MARKET),
    ("too many", VENUE_TOO_MANY_ORDERS), ("Too many", VENUE_TOO_MANY_ORDERS), ("MAX_NUM", VENUE_TOO_MANY_ORDERS),
    ("Filter failure", VENUE_FILTER), ("Unknown order", VENUE_UNKNOWN_ORDER),
)  # fmt: skip
_BY_TEXT = {-2010: VENUE_BAD_REQUEST, -2011: VENUE_UNKNOWN_ORDER, -1013: VENUE_FILTER}
_STATES = {
    "NEW": (REPORT_ACK, 0), "PENDING_NEW": (REPORT_ACK, 0), "PARTIALLY_FILLED": (REPORT_ACK, 0),
    "PENDING_CANCEL": (REPORT_ACK, 0), "FILLED": (REPORT_FILL, 0), "CANCELED": (REPORT_CANCELED, 0),
    "EXPIRED": (REPORT_EXPIRED, 0), "EXPIRED_IN_MATCH": (REPORT_EXPIRED, VENUE_SELF_TRADE),
    "REJECTED": (REPORT_REJECT, VENUE_BAD_REQUEST),
}  # fmt: skip
_TYPES = {"MARKET": TYPE_MARKET, "STOP_LOSS": TYPE_STOP_MARKET}  # any other has a limit
_TIFS = {TIF_GTC: "GTC", TIF_IOC: "IOC", TIF_FOK: "FOK"}
_LINK = re.compile(r"(?:newClientOrderId|origClientOrderId)=([^&]*)")


class _Sizes(NamedTuple):
    symbol: str
    base: str
    tick_e8: int
    lot_e8: int
    value_e8: int
    price_decimals: int
    qty_decimals: int
    taker_fee_ppm: int


def _rows(result: Any) -> list[Any]:
    if not isinstance(result, list):
        raise TypeError("no list")
    return result


def _refusal(code: int, text: str) -> Refused | None:
    """What a code proves; None: nothing."""
    if code in _BY_TEXT:
        return Refused(next((known for part, known in _TEXTS if part in text), _BY_TEXT[code]))
    if code in CODES:
        return Refused(CODES[code])
    return Refused(VENUE_BAD_REQUEST) if code in _MALFORMED else None


class BinancePrivate:
    """See `ports.gateway.Private`.

    Parameters
    ----------
    keys : of the account
    rest_url : https address of the venue
    symbols : of the instruments that are traded, by index; each the base asset and then `quote`
    instruments : INSTRUMENT[n], their sizes
    quote : asset that all of them are priced in
    whole : open orders of other symbols are no less ours; those get the next indices, and count in 1e-8. What there is
        of other assets is a person's
    """

    deadline_ms = DEADLINE_MS
    limits: Sequence[int] = (10, 50, 10, 50)
    total = (3_600, 60.0)  # of the 6000 weight that an address has: the feed's books take the others
    window_ms = 86_400_000

    def __init__(
        self,
        keys: Keys,
        rest_url: str,
        symbols: Sequence[str],
        instruments: np.ndarray,
        quote: str,
        whole: bool = False,
    ) -> None:
        self._api_key, self._sign, self._quote, self._whole = keys.api_key, signer(keys.api_secret), quote, whole
        self.host = urlsplit(rest_url).netloc
        head = b"Host: %s\r\nUser-Agent: bot4\r\nAccept: application/json\r\n" % self.host.encode()
        self._head = head + b"X-MBX-APIKEY: %s\r\n" % keys.api_key.encode()
        names = ("tick_e8", "lot_e8", "value_e8", "price_decimals", "qty_decimals", "taker_fee_ppm")
        self._sizes = [
            _Sizes(symbol, symbol.removesuffix(quote), *(int(row[name]) for name in names))
            for symbol, row in zip(symbols, instruments, strict=True)
        ]
        self._traded = len(self._sizes)
        self._index = {symbol: index for index, symbol in enumerate(symbols)}

    # --- requests ---

    def place(self, order: OrderIntent, link: str) -> Call:
        """See ports/gateway.py. Own orders never meet: the one that rests gives way."""
        return Call(CALL_PLACE, "place", "POST", "/api/v3/order", self._new(order, link))

    def replace(self, order: OrderIntent, link: str, gone: str) -> Call | None:
        """See ports/gateway.py."""
        payload = f"cancelReplaceMode=ALLOW_FAILURE&cancelOrigClientOrderId={quoted(gone)}&{self._new(order, link)}"
        return Call(CALL_PLACE, "replace", "POST", "/api/v3/order/cancelReplace", payload)

    def _new(self, order: OrderIntent, link: str) -> str:
        sizes = self._sizes[order.instrument]
        parts = [f"symbol={sizes.symbol}&side={'BUY' if order.side > 0 else 'SELL'}&newClientOrderId={link}"]
        parts.append(f"quantity={decimal_text(order.qty_lots * sizes.lot_e8, sizes.qty_decimals)}")
        if order.type == TYPE_LIMIT:
            price = decimal_text(order.price_ticks * sizes.tick_e8, sizes.price_decimals)
            post_only = order.flags & ORDER_POST_ONLY
            kind = "LIMIT_MAKER" if post_only else f"LIMIT&timeInForce={_TIFS[order.tif]}"
            parts.append(f"type={kind}&price={price}")
        elif order.type == TYPE_STOP_MARKET:
            trigger = decimal_text(order.stop_ticks * sizes.tick_e8, sizes.price_decimals)
            parts.append(f"type=STOP_LOSS&stopPrice={trigger}")
        else:
            parts.append("type=MARKET")
        return "&".join((*parts, f"newOrderRespType=ACK&selfTradePreventionMode={SELF_TRADE}"))

    def cancel(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_CANCEL, "cancel", "DELETE", "/api/v3/order", self._by_link(instrument, link))

    def amend(self, instrument: int, link: str, qty_lots: int, stop_ticks: int) -> Call | None:
        """See ports/gateway.py. The venue makes a limit order smaller, which keeps its place; it moves no stop."""
        if stop_ticks:
            return None
        sizes = self._sizes[instrument]
        qty = decimal_text(qty_lots * sizes.lot_e8, sizes.qty_decimals)
        payload = f"{self._by_link(instrument, link)}&newClientOrderId={link}&newQty={qty}"
        return Call(CALL_AMEND, "amend", "PUT", "/api/v3/order/amend/keepPriority", payload, weight=4)

    def cancel_all(self, instrument: int) -> Call:
        """See ports/gateway.py."""
        payload = f"symbol={self._sizes[instrument].symbol}"
        return Call(CALL_CANCEL, "cancel_all", "DELETE", "/api/v3/openOrders", payload)

    def cancel_but_stops(self) -> Call | None:
        """See ports/gateway.py. The venue's own takes stops too."""
        return None

    def cancel_named(self, order: OrderRow) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_CANCEL, "cancel", "DELETE", "/api/v3/order", self._by_id(order.instrument, order.venue_id))

    def ask_order(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("order", "order", self._by_link(instrument, link), 4)

    def ask_ended(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py. The venue shows one that has ended where it shows the others."""
        return self.ask_order(instrument, link)

    def ask_owner(self, instrument: int, venue_id: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("order", "order", self._by_id(instrument, venue_id), 4)

    def ask_open(self, cursor: str) -> Call:
        """See ports/gateway.py. A page is a symbol's, or that of all."""
        if self._whole:
            return self._ask("open", "openOrders", "", 80)
        return self._ask("open", "openOrders", f"symbol={self._sizes[int(cursor or 0)].symbol}", 6)

    def ask_ended_list(self, cursor: str) -> Call:
        """See ports/gateway.py. The last thousand of each symbol."""
        return self._ask("ended", "allOrders", f"symbol={self._sizes[int(cursor or 0)].symbol}&limit=1000", 20)

    def ask_trades(self, since_ms: int, until_ms: int, link: str, cursor: str) -> Call:
        """See ports/gateway.py. Of all orders: the venue does not know them by our names here. Symbol by symbol."""
        at, _, number = cursor.partition(":")
        span = f"fromId={number}" if number else f"startTime={since_ms}&endTime={until_ms}"
        payload = f"symbol={self._sizes[int(at or 0)].symbol}&{span}&limit={_TRADES}"
        return self._ask("trades", "myTrades", payload, 20)

    def ask_positions(self) -> Call:
        """See ports/gateway.py."""
        return self._ask("positions", "account", "omitZeroBalances=true", 20)

    def ask_cash(self) -> Call:
        """See ports/gateway.py."""
        return self._ask("cash", "account", "omitZeroBalances=true", 20)

    def ask_fees(self, instrument: int) -> Call:
        """See ports/gateway.py."""
        return self._ask("fees", "account/commission", f"symbol={self._sizes[instrument].symbol}", 20)

    def set_guard(self, timeout_s: int) -> Call | None:
        """See ports/gateway.py. The venue has no dead-man's switch."""
        return None

    def guard(self, is_armed: bool) -> str:
        """See ports/gateway.py."""
        raise AssertionError("the venue has no dead-man's switch")

    def ask_time(self) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_QUERY, "time", "GET", "/api/v3/time", "", signed=False)

    def ask_key(self) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_QUERY, "key", "GET", "/sapi/v1/account/apiRestrictions", "")

    @staticmethod
    def _ask(name: str, path: str, payload: str, weight: int) -> Call:
        return Call(CALL_QUERY, name, "GET", f"/api/v3/{path}", payload, weight=weight)

    def _by_link(self, instrument: int, link: str) -> str:
        return f"symbol={self._sizes[instrument].symbol}&origClientOrderId={quoted(link)}"

    def _by_id(self, instrument: int, venue_id: str) -> str:
        return f"symbol={self._sizes[instrument].symbol}&orderId={venue_id.rpartition(':')[2]}"

    def sign(self, call: Call, now_ms: int) -> bytes:
        """See ports/gateway.py."""
        query, head = call.payload, self._head
        if call.signed:
            query += f"{'&' if query else ''}recvWindow={DEADLINE_MS}&timestamp={now_ms}"
            query += f"&signature={quoted(self._sign(query.encode()), safe='')}"
        target = f"{call.path}?{query}" if query else call.path
        length = b"" if call.method == "GET" else b"Content-Length: 0\r\n"
        return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (call.method.encode(), target.encode(), head, length)

    # --- answers ---

    def judge(self, call: Call, reply: Reply) -> Outcome:
        """See ports/gateway.py."""
        if reply.error:
            return Unknown(reply.error)
        if reply.status != 200 and not 400 <= reply.status < 500:
            return Unknown(f"HTTP status {reply.status}")
        try:
            answer = msgspec.json.decode(reply.body)
            if reply.status == 200:
                return Done(self._value(call, answer))
            code, text = answer["code"], str(answer["msg"])
            if type(code) is not int:
                raise TypeError("code is no number")
            if call.name == "replace" and code in (-2021, -2022):
                return self._replaced(call, answer["data"])
        except UNREADABLE as error:
            if reply.status in (403, 418, 429):
                return Refused(VENUE_RATE)  # shut out by the address, and nobody has looked at the request
            return Unknown(f"an answer to {call.name} that cannot be read ({reason_of(error)})")
        if call.name == "order" and code == -2013:
            return Done(None)
        if call.name == "key" and reply.status == 404:
            return Done("the venue does not say what the key may do, so nobody knows whether it can move money away")
        return _refusal(code, text) or Unknown(f"code {code}")

    def _replaced(self, call: Call, data: Any) -> Outcome:
        """One half of it, or none: what counts is the new order."""
        response = data["newOrderResponse"]
        if data["newOrderResult"] == "SUCCESS":
            return Done(self._placed(call, response))
        if data["newOrderResult"] == "NOT_ATTEMPTED":
            response = data["cancelResponse"]
        return _refusal(response["code"], str(response["msg"])) or Unknown(f"code {response['code']}")

    def _placed(self, call: Call, result: Any) -> str:
        own = _LINK.findall(call.payload)
        if own and result.get("origClientOrderId", result["clientOrderId"]) not in own:
            raise ValueError("it speaks of another order")
        return f"{word(result, 'symbol')}:{int(result['orderId'])}"

    def _value(self, call: Call, result: Any) -> Any:
        if call.name in ("place", "cancel"):
            return self._placed(call, result)
        if call.name == "replace":
            return self._placed(call, result["newOrderResponse"])
        if call.name == "amend":
            return f"{word(result['amendedOrder'], 'symbol')}:{int(result['amendedOrder']['orderId'])}"
        if call.name == "cancel_all":
            return [f"{word(row, 'symbol')}:{int(row['orderId'])}" for row in _rows(result)]
        if call.name == "order":
            row = self._order(result)
            if row is None:
                raise ValueError("an order of another symbol")
            return row
        if call.name in ("open", "ended", "trades"):
            return self._page(call, _rows(result))
        if call.name == "positions":
            held = self._balances(result)
            rows = ((index, *divmod(held.get(one.base, 0), one.lot_e8)) for index, one in enumerate(self._ours))
            return [PositionRow(index, lots, 0, rest) for index, lots, rest in rows if lots or rest]
        if call.name == "cash":
            return self._balances(result).get(self._quote, 0)
        if call.name == "fees":
            return self._fees(call, result)
        if call.name == "time":
            return milliseconds(result["serverTime"]) * 1_000_000
        return self._key(result)

    def _fees(self, call: Call, result: Any) -> tuple[int, int]:
        """Of the maker, of the taker: all that the venue adds up, whichever side is dearer."""
        if call.payload != f"symbol={word(result, 'symbol')}":
            raise ValueError("fees of another instrument")
        parts = [result[f"{kind}Commission"] for kind in ("standard", "special", "tax")]
        maker, taker, buyer, seller = (
            sum(fee_ppm(part[who]) for part in parts) for who in ("maker", "taker", "buyer", "seller")
        )
        return maker + max(buyer, seller), taker + max(buyer, seller)

    @property
    def _ours(self) -> list[_Sizes]:
        return self._sizes[: self._traded]

    @staticmethod
    def _balances(result: Any) -> dict[str, int]:
        found = {}
        for row in _rows(result["balances"]):
            held = exact_e8(row["free"]) + exact_e8(row["locked"])
            if held < 0 or held >= 2**63:
                raise ValueError(f"{row['asset']} cannot be held")
            found[word(row, "asset")] = held
        return found

    def _page(self, call: Call, rows: list[Any]) -> Page:
        """A symbol's part of a list; the cursor names the next symbol, or more of its trades."""
        if self._whole and call.name == "open":
            return Page(tuple(self._read(self._order, rows)), "")
        symbol = call.payload.partition("symbol=")[2].partition("&")[0]
        at = self._index[symbol]
        following = str(at + 1) if at + 1 < self._traded else ""
        if call.name != "trades":
            return Page(tuple(self._read(self._order, rows[::-1])), following)
        if len(rows) >= _TRADES:
            following = f"{at}:{int(rows[-1]['id']) + 1}"
        return Page(tuple(self._read(self._trade, rows[::-1])), following)

    @staticmethod
    def _key(result: Any) -> str:
        moves = [name for name in ("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer")
                 if result.get(name, False)]  # fmt: skip
        if result["enableWithdrawals"] or moves:
            return f"the key can move money away ({', '.join(moves)}); make one that may trade and nothing else"
        if not result["ipRestrict"]:
            return "the key is not bound to an address; bind it to this machine's"
        if not result["enableSpotAndMarginTrading"]:
            return "the key may not trade; allow it spot trading"
        return ""

    @property
    def symbols(self) -> list[str]:
        """By index, those that have turned up included."""
        return [sizes.symbol for sizes in self._sizes]

    def _read(self, read: Any, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        made = []
        for row in rows:
            try:
                if self._whole and row["symbol"] not in self._index:
                    self._index[word(row, "symbol")] = len(self._sizes)
                    self._sizes.append(_Sizes(row["symbol"], "", 1, 1, 1, 8, 8, 0))
                made.append(read(row))
            except UNREADABLE as error:
                symbol = word(row, "symbol")
                if symbol in self._index:
                    raise ValueError(f"{symbol}: {reason_of(error)}") from None
        return [one for one in made if one is not None]

    def _order(self, row: Mapping[str, Any]) -> OrderRow | None:
        index = self._index.get(row["symbol"])
        if index is None:
            return None
        return self._order_row(
            index, word(row, "clientOrderId"), row["orderId"], row["side"], row["type"], row["status"],
            (row["price"], row.get("stopPrice", "0"), row["origQty"], row["executedQty"]), bool(row["isWorking"]),
            row["updateTime"],
        )  # fmt: skip

    def _order_row(
        self, index: int, link: str, number: Any, side: Any, kind: Any, state: Any,
        numbers: tuple[str, str, str, str], works: bool, updated: Any,
    ) -> OrderRow:  # fmt: skip
        sizes = self._sizes[index]
        status, code = _STATES[state]
        order_type = _TYPES.get(kind, TYPE_LIMIT)
        price, stop, qty, cum = numbers
        cum_lots = units(cum, sizes.lot_e8)
        return OrderRow(
            link=link,
            venue_id=f"{sizes.symbol}:{int(number)}",
            instrument=index,
            side=SIDE_BUY if side == "BUY" else SIDE_SELL,
            type=order_type,
            status=status,
            code=code,
            price_ticks=units(price, sizes.tick_e8),
            stop_ticks=units(stop, sizes.tick_e8),
            qty_lots=units(qty, sizes.lot_e8),
            cum_lots=cum_lots,
            is_triggered=order_type == TYPE_STOP_MARKET and (works or cum_lots > 0),
            updated_ms=milliseconds(updated),
            is_reduce_only=side == "SELL",
        )

    def _trade(self, row: Mapping[str, Any]) -> TradeRow | None:
        index = self._index.get(row["symbol"])
        if index is None:
            return None
        return self._trade_row(
            index, "", row["orderId"], row["id"], bool(row["isBuyer"]), row["price"], row["qty"], row["commission"],
            row["commissionAsset"], row["time"],
        )  # fmt: skip

    def _trade_row(
        self, index: int, link: str, number: Any, key: Any, buys: bool, price: str, qty: str, fee: str, asset: Any,
        when: Any,
    ) -> TradeRow:  # fmt: skip
        sizes = self._sizes[index]
        ticks, lots = units(price, sizes.tick_e8), units(qty, sizes.lot_e8)
        paid = paid_e8(fee)
        fee_e8 = coin_e8 = 0
        if asset == self._quote:
            fee_e8 = paid
        elif asset == sizes.base:
            coin_e8 = paid
        elif paid:
            fee_e8 = -(-ticks * lots * sizes.value_e8 * sizes.taker_fee_ppm // _PPM)
        return TradeRow(
            key=str(int(key)),
            link=link,
            instrument=index,
            side=SIDE_BUY if buys else SIDE_SELL,
            price_ticks=ticks,
            qty_lots=lots,
            fee_e8=fee_e8,
            time_ms=milliseconds(when),
            coin_fee_e8=coin_e8,
            venue_id=f"{sizes.symbol}:{int(number)}",
        )

    def limit_of(self, reply: Reply) -> int:
        """See ports/gateway.py. The venue tells what is used, and its limits elsewhere."""
        return 0

    def pause_s(self, reply: Reply) -> float:
        """See ports/gateway.py."""
        if reply.status not in (403, 418, 429):
            return 0.0
        said = reply.head.get("retry-after", "")
        if said.isdecimal() and len(said) < 10:
            return float(said)
        return _PAUSE_S if reply.status == 429 else _BAN_S

    # --- stream ---

    def logon(self, now_ms: int) -> str:
        """See ports/gateway.py. One signed request logs on and subscribes."""
        params: dict[str, Any] = {"apiKey": self._api_key, "recvWindow": DEADLINE_MS, "timestamp": now_ms}
        params["signature"] = self._sign("&".join(f"{name}={params[name]}" for name in sorted(params)).encode())
        return json.dumps({"id": "subscribe", "method": "userDataStream.subscribe.signature", "params": params})

    def subscribe(self) -> str:
        """See ports/gateway.py."""
        raise AssertionError("whoever has logged on is subscribed")

    def ping(self) -> str:
        """See ports/gateway.py."""
        return '{"id":"pong","method":"ping"}'

    def read(self, text: bytes) -> Told:
        """See ports/gateway.py."""
        try:
            message = msgspec.json.decode(text)
            if "event" not in message:
                name = str(message["id"])
                if message["status"] == 200:
                    return Told(answered=name)
                return Told(refused=f"{name}: {str(message['error']['msg'])[:100]}")
            event = message["event"]
            kind = event["e"]
            if kind == "eventStreamTerminated":
                return Told(refused="the venue has ended the stream")
            return Told(tuple(self._report(event)) if kind == "executionReport" else ())
        except UNREADABLE as error:
            raise ValueError(f"a message that cannot be read ({reason_of(error)})") from None

    def _report(self, row: Mapping[str, Any]) -> list[OrderRow | TradeRow]:
        """Of an order that has been taken back the old name is its own; the other one is that of the request."""
        index = self._index.get(word(row, "s"))
        if index is None or index >= self._traded:
            return []
        link = row.get("C") or word(row, "c")
        if not isinstance(link, str):
            raise TypeError("C is no text")
        told: list[OrderRow | TradeRow] = []
        if row["x"] == "TRADE":
            told.append(
                self._trade_row(index, link, row["i"], row["t"], row["S"] == "BUY", row["L"], row["l"], row["n"],
                                row["N"], row["T"])
            )  # fmt: skip
        numbers = (row["p"], row["P"], row["q"], row["z"])
        told.append(
            self._order_row(index, link, row["i"], row["S"], row["o"], row["X"], numbers, bool(row["w"]), row["T"])
        )
        return told

"""Bybit's private side for contracts that settle in USDT, one-way, unified account: requests, answers, stream.

Pure: bytes and records in, bytes and rows out, no connection. An answer proves something only where it is the venue's
clear word: `retCode` 0, or a code that is known to mean that the request was refused before anything was done. The
codes stand in one table; what is not in it proves nothing. Whatever the bytes are, reading them ends in an outcome or,
of the stream, in a ValueError. Of a list, a row of another instrument that cannot be read is left out; one of ours
leaves the whole list unread.

Fees of contracts are paid in the settle currency, so money is exact here; a fee of more than eight decimals is rounded
up, against us.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np

from bot4.adapters.bybit.sign import logon_args, signed_head
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

SETTLE = "USDT"
DEADLINE_MS = 2_000
LOGON_MS = 10_000
UNCHANGED = "order remains unchanged"
_PAGE = 50
_TRADES = 100
_PAUSE_S = 1.0
_BAN_S = 600.0  # of an address that has been shut out, where the venue does not say for how long

# What a request was refused with before anything was done. 10001 is told apart by its text, see `_bad_request`.
CODES = {
    10002: VENUE_TIME, 10003: VENUE_KEY, 10004: VENUE_KEY, 10005: VENUE_KEY, 10007: VENUE_KEY, 10010: VENUE_KEY,
    10006: VENUE_RATE, 10018: VENUE_RATE, 10017: VENUE_BAD_REQUEST, 33004: VENUE_KEY,
    110001: VENUE_UNKNOWN_ORDER, 110003: VENUE_FILTER, 110004: VENUE_BALANCE, 110007: VENUE_BALANCE,
    110009: VENUE_TOO_MANY_ORDERS, 110012: VENUE_BALANCE, 110016: VENUE_POSITION, 110017: VENUE_REDUCE_ONLY,
    110020: VENUE_TOO_MANY_ORDERS, 110021: VENUE_POSITION, 110045: VENUE_BALANCE, 110052: VENUE_BALANCE,
    110064: VENUE_FILTER, 110072: VENUE_DUPLICATE_ID, 110092: VENUE_STOP_WOULD_TRIGGER,
    110093: VENUE_STOP_WOULD_TRIGGER, 110094: VENUE_FILTER, 170143: VENUE_NO_MARKET,
}  # fmt: skip
_FILTERS = ("number of contracts", "qty", "price", "order value")
_WORKING = ("New", "PartiallyFilled", "Untriggered", "Triggered", "Active", "Created")
_REASONS = {
    "EC_PostOnlyWillTakeLiquidity": (REPORT_REJECT, VENUE_POST_ONLY), "CancelByReduceOnly": (REPORT_EXPIRED,
    VENUE_REDUCE_ONLY), "CancelBySmp": (REPORT_EXPIRED, VENUE_SELF_TRADE), "EC_BySelfMatch": (REPORT_EXPIRED,
    VENUE_SELF_TRADE), "EC_NoEnoughQtyToFill": (REPORT_EXPIRED, VENUE_NOT_WHOLE),
    "EC_NoImmediateQtyToFill": (REPORT_EXPIRED, 0), "EC_ReachMaxPendingOrders": (REPORT_REJECT, VENUE_TOO_MANY_ORDERS),
}  # fmt: skip
_TIFS = {TIF_GTC: "GTC", TIF_IOC: "IOC", TIF_FOK: "FOK"}


_TOO_MANY = re.compile(rb'"retCode"\s*:\s*10006\b')


class _Sizes(NamedTuple):
    symbol: str
    tick_e8: int
    lot_e8: int
    value_e8: int
    price_decimals: int
    qty_decimals: int


def _rows(result: Any) -> list[Any]:
    rows = result["list"] if isinstance(result, dict) else result
    if not isinstance(rows, list):
        raise TypeError("no list")
    return rows


class BybitPrivate:
    """See `ports.gateway.Private`.

    Parameters
    ----------
    keys : of the account
    rest_url : https address of the venue
    symbols : of the instruments that are traded, by index
    instruments : INSTRUMENT[n], their sizes
    whole : what the account has of other instruments is no less ours; they get the next indices, and count in 1e-8
    """

    deadline_ms = DEADLINE_MS
    limits: Sequence[int] = (10, 10, 10, 50)
    total = (600, 5.0)
    window_ms = 7 * 86_400_000 - 1

    def __init__(
        self, keys: Keys, rest_url: str, symbols: Sequence[str], instruments: np.ndarray, whole: bool = False
    ) -> None:
        self._keys, self._whole = keys, whole
        self._key_name, self._secret = keys.api_key.encode(), keys.api_secret.encode()
        self.host = urlsplit(rest_url).netloc
        self._head = b"Host: %s\r\nUser-Agent: bot4\r\nAccept: application/json\r\n" % self.host.encode()
        self._sizes = [
            _Sizes(symbol, *(int(row[name]) for name in ("tick_e8", "lot_e8", "value_e8", "price_decimals",
                                                         "qty_decimals")))
            for symbol, row in zip(symbols, instruments, strict=True)
        ]  # fmt: skip
        self._index = {symbol: index for index, symbol in enumerate(symbols)}

    # --- requests ---

    def place(self, order: OrderIntent, link: str) -> Call:
        """See ports/gateway.py. Own orders never meet: the one that rests gives way."""
        sizes, kind, flags = self._sizes[order.instrument], order.type, order.flags
        side = "Buy" if order.side > 0 else "Sell"
        qty = decimal_text(order.qty_lots * sizes.lot_e8, sizes.qty_decimals)
        parts = [f'{{"category":"linear","symbol":"{sizes.symbol}","side":"{side}","qty":"{qty}","orderLinkId":']
        parts.append(f'"{link}","positionIdx":0,"smpType":"CancelMaker"')
        if kind == TYPE_LIMIT:
            tif = "PostOnly" if flags & ORDER_POST_ONLY else _TIFS[order.tif]
            price = decimal_text(order.price_ticks * sizes.tick_e8, sizes.price_decimals)
            parts.append(f',"orderType":"Limit","timeInForce":"{tif}","price":"{price}"')
        else:
            parts.append(',"orderType":"Market"')
        if kind == TYPE_STOP_MARKET:
            trigger = decimal_text(order.stop_ticks * sizes.tick_e8, sizes.price_decimals)
            direction = 1 if order.side > 0 else 2
            parts.append(f',"triggerPrice":"{trigger}","triggerDirection":{direction},"triggerBy":"LastPrice"')
        if flags & ORDER_REDUCE_ONLY:
            parts.append(',"reduceOnly":true')
        parts.append("}")
        return Call(CALL_PLACE, "place", "POST", "/v5/order/create", "".join(parts))

    def cancel(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        body = f'{{"category":"linear","symbol":"{self._sizes[instrument].symbol}","orderLinkId":"{link}"}}'
        return Call(CALL_CANCEL, "cancel", "POST", "/v5/order/cancel", body)

    def replace(self, order: OrderIntent, link: str, gone: str) -> Call | None:
        """See ports/gateway.py. What only reduces a contract holds nothing back."""
        return None

    def amend(self, instrument: int, link: str, qty_lots: int, stop_ticks: int) -> Call | None:
        """See ports/gateway.py."""
        sizes = self._sizes[instrument]
        qty = decimal_text(qty_lots * sizes.lot_e8, sizes.qty_decimals)
        body = f'{{"category":"linear","symbol":"{sizes.symbol}","orderLinkId":"{link}","qty":"{qty}"'
        if stop_ticks:
            body += f',"triggerPrice":"{decimal_text(stop_ticks * sizes.tick_e8, sizes.price_decimals)}"'
        return Call(CALL_AMEND, "amend", "POST", "/v5/order/amend", body + "}")

    def cancel_all(self, instrument: int) -> Call:
        """See ports/gateway.py."""
        body = f'{{"category":"linear","symbol":"{self._sizes[instrument].symbol}"}}'
        return Call(CALL_CANCEL, "cancel_all", "POST", "/v5/order/cancel-all", body)

    def cancel_but_stops(self) -> Call | None:
        """See ports/gateway.py."""
        body = f'{{"category":"linear","settleCoin":"{SETTLE}","orderFilter":"Order"}}'
        return Call(CALL_CANCEL, "cancel_all", "POST", "/v5/order/cancel-all", body)

    def cancel_named(self, order: OrderRow) -> Call:
        """See ports/gateway.py."""
        symbol = self._sizes[order.instrument].symbol
        body = f'{{"category":"linear","symbol":"{symbol}","orderId":"{order.venue_id}"}}'
        return Call(CALL_CANCEL, "cancel", "POST", "/v5/order/cancel", body)

    def ask_order(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("order", "order/realtime", symbol=self._sizes[instrument].symbol, orderLinkId=link)

    def ask_ended(self, instrument: int, link: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("order", "order/history", symbol=self._sizes[instrument].symbol, orderLinkId=link)

    def ask_owner(self, instrument: int, venue_id: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("order", "order/history", symbol=self._sizes[instrument].symbol, orderId=venue_id)

    def ask_open(self, cursor: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("open", "order/realtime", settleCoin=SETTLE, openOnly="0", limit=str(_PAGE), cursor=cursor)

    def ask_ended_list(self, cursor: str) -> Call:
        """See ports/gateway.py."""
        return self._ask("ended", "order/history", settleCoin=SETTLE, limit=str(_PAGE), cursor=cursor)

    def ask_trades(self, since_ms: int, until_ms: int, link: str, cursor: str) -> Call:
        """See ports/gateway.py."""
        span = {"startTime": str(since_ms), "endTime": str(until_ms)}
        return self._ask("trades", "execution/list", limit=str(_TRADES), orderLinkId=link, cursor=cursor, **span)

    def ask_positions(self) -> Call:
        """See ports/gateway.py."""
        return self._ask("positions", "position/list", settleCoin=SETTLE, limit="200")

    def ask_cash(self) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_QUERY, "cash", "GET", "/v5/account/wallet-balance", f"accountType=UNIFIED&coin={SETTLE}")

    def ask_fees(self, instrument: int) -> Call:
        """See ports/gateway.py."""
        return self._ask("fees", "account/fee-rate", symbol=self._sizes[instrument].symbol)

    def set_guard(self, timeout_s: int) -> Call | None:
        """See ports/gateway.py. Not every account has it."""
        body = f'{{"product":"DERIVATIVES","timeWindow":{timeout_s}}}'
        return Call(CALL_QUERY, "guard", "POST", "/v5/order/disconnected-cancel-all", body)

    def guard(self, is_armed: bool) -> str:
        """See ports/gateway.py."""
        return f'{{"req_id":"guard","op":"{"" if is_armed else "un"}subscribe","args":["dcp.future"]}}'

    def ask_time(self) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_QUERY, "time", "GET", "/v5/market/time", "", signed=False)

    def ask_key(self) -> Call:
        """See ports/gateway.py."""
        return Call(CALL_QUERY, "key", "GET", "/v5/user/query-api", "")

    @staticmethod
    def _ask(name: str, path: str, **params: str) -> Call:
        query = "&".join(f"{key}={value}" for key, value in params.items() if value)
        return Call(CALL_QUERY, name, "GET", f"/v5/{path}", f"category=linear&{query}")

    def sign(self, call: Call, now_ms: int) -> bytes:
        """See ports/gateway.py."""
        payload = call.payload.encode()
        head = self._head
        if call.signed:
            head += signed_head(self._key_name, self._secret, now_ms, DEADLINE_MS, payload)
        if call.method == "GET":
            target = f"{call.path}?{call.payload}" if call.payload else call.path
            return b"GET %s HTTP/1.1\r\n%s\r\n" % (target.encode(), head)
        return b"POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            call.path.encode(), head, len(payload), payload
        )  # fmt: skip

    # --- answers ---

    def judge(self, call: Call, reply: Reply) -> Outcome:
        """See ports/gateway.py."""
        if reply.error:
            return Unknown(reply.error)
        if reply.status not in (200, 403, 429):
            return Unknown(f"HTTP status {reply.status}")
        try:
            answer = msgspec.json.decode(reply.body)
            code = answer["retCode"]
            if type(code) is not int:
                raise TypeError("retCode is no number")
            if code == 0 and reply.status == 200:
                return Done(self._value(call, answer["result"]))
            if code == 10001:
                return self._bad_request(call, str(answer["retMsg"]).lower())
        except UNREADABLE as error:
            if reply.status != 200:
                return Refused(VENUE_RATE)  # shut out by the address, and nobody has looked at the request
            return Unknown(f"an answer to {call.name} that cannot be read ({reason_of(error)})")
        if code in CODES:
            return Refused(CODES[code])
        return Unknown(f"retCode {code}")

    @staticmethod
    def _bad_request(call: Call, text: str) -> Outcome:
        if call.name == "amend" and UNCHANGED in text:
            return Done(None)
        return Refused(VENUE_FILTER if any(name in text for name in _FILTERS) else VENUE_BAD_REQUEST)

    def _value(self, call: Call, result: Any) -> Any:
        if call.name in ("place", "cancel", "amend"):
            link = result.get("orderLinkId", "")
            if '"orderLinkId"' in call.payload and link and f'"orderLinkId":"{link}"' not in call.payload:
                raise ValueError("it speaks of another order")
            return word(result, "orderId")
        if call.name == "cancel_all":
            return [word(row, "orderId") for row in _rows(result)]
        if call.name == "order":
            rows = _rows(result)
            if not rows:
                return None
            row = self._order(rows[0])
            if row is None:
                raise ValueError("an order of another instrument")
            return row
        if call.name in ("open", "ended", "trades"):
            read: Any = self._execution if call.name == "trades" else self._order
            rows = _rows(result)
            return Page(tuple(self._ours(read, rows)), str(result.get("nextPageCursor") or "") if rows else "")
        if call.name == "guard":
            return None
        if call.name == "positions":
            return self._ours(self._position, _rows(result))
        if call.name == "cash":
            coins = result["list"][0]["coin"]
            return next((exact_e8(coin["walletBalance"]) for coin in coins if coin["coin"] == SETTLE), 0)
        if call.name == "fees":
            (row,) = _rows(result)
            if not call.payload.endswith(f"symbol={row['symbol']}"):
                raise ValueError("fees of another instrument")
            return fee_ppm(row["makerFeeRate"]), fee_ppm(row["takerFeeRate"])
        if call.name == "time":
            time_ns = int(result["timeNano"])
            milliseconds(time_ns // 1_000_000)
            return time_ns
        return self._key(result)

    @staticmethod
    def _key(result: Any) -> str:
        wallet = [str(one) for one in result["permissions"].get("Wallet", ())]
        trade = result["permissions"].get("ContractTrade", ())
        if wallet:
            return f"the key can move money away ({', '.join(wallet)}); make one that may trade and nothing else"
        if not result["ips"] or "*" in result["ips"]:
            return "the key is not bound to an address; bind it to this machine's"
        if int(result["readOnly"]) or "Order" not in trade or "Position" not in trade:
            return "the key may not trade contracts; allow it orders and positions"
        return ""

    @property
    def symbols(self) -> list[str]:
        """By index, those that have turned up included."""
        return [sizes.symbol for sizes in self._sizes]

    def _ours(self, read: Any, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        made = []
        for row in rows:
            try:
                if self._whole and row["symbol"] not in self._index:
                    self._index[word(row, "symbol")] = len(self._sizes)
                    self._sizes.append(_Sizes(row["symbol"], 1, 1, 1, 8, 8))
                made.append(read(row))
            except UNREADABLE as error:
                symbol = word(row, "symbol")
                if symbol in self._index:
                    raise ValueError(f"{symbol}: {reason_of(error)}") from None
        return [one for one in made if one is not None]

    def _order(self, row: Mapping[str, Any]) -> OrderRow | None:
        index = self._index.get(row["symbol"])
        if index is None or row.get("category", "linear") != "linear":
            return None
        sizes = self._sizes[index]
        text, is_stop = word(row, "orderStatus"), bool(row["stopOrderType"])
        cum = units(row["cumExecQty"], sizes.lot_e8)
        status, code = REPORT_ACK, 0
        if text == "Filled":
            status = REPORT_FILL
        elif text == "Rejected":
            status, code = REPORT_REJECT, _REASONS.get(row["rejectReason"], (0, VENUE_BAD_REQUEST))[1]
        elif text in ("Cancelled", "PartiallyFilledCanceled", "Deactivated"):
            by_reason = _REASONS.get(row["rejectReason"])
            status, code = _REASONS.get(row["cancelType"]) or by_reason or (REPORT_CANCELED, 0)
            if status == REPORT_REJECT and cum:
                status = REPORT_EXPIRED
        elif text not in _WORKING:
            raise ValueError(f"orderStatus {text[:40]}")
        return OrderRow(
            link=word(row, "orderLinkId"),
            venue_id=word(row, "orderId"),
            instrument=index,
            side=SIDE_BUY if row["side"] == "Buy" else SIDE_SELL,
            type=TYPE_STOP_MARKET if is_stop else TYPE_MARKET if row["orderType"] == "Market" else TYPE_LIMIT,
            status=status,
            code=code,
            price_ticks=units(row["price"], sizes.tick_e8),
            stop_ticks=units(row["triggerPrice"], sizes.tick_e8),
            qty_lots=units(row["qty"], sizes.lot_e8),
            cum_lots=cum,
            is_triggered=is_stop and (text in ("Triggered", "New", "PartiallyFilled", "Filled") or cum > 0),
            updated_ms=milliseconds(row["updatedTime"]),
            is_reduce_only=bool(row["reduceOnly"]),
        )

    def _execution(self, row: Mapping[str, Any]) -> TradeRow | FundingRow | None:
        index = self._index.get(row["symbol"])
        if index is None or row.get("category", "linear") != "linear":
            return None
        sizes = self._sizes[index]
        kind, when = word(row, "execType"), milliseconds(row["execTime"])
        if kind == "Funding":
            return FundingRow(word(row, "execId"), index, paid_e8(row["execFee"]), when)
        if kind not in ("Trade", "AdlTrade", "BustTrade", "Delivery", "BlockTrade"):
            raise ValueError(f"execType {kind[:40]}")
        return TradeRow(
            key=word(row, "execId"),
            link=word(row, "orderLinkId"),
            instrument=index,
            side=SIDE_BUY if row["side"] == "Buy" else SIDE_SELL,
            price_ticks=units(row["execPrice"], sizes.tick_e8),
            qty_lots=units(row["execQty"], sizes.lot_e8),
            fee_e8=paid_e8(row["execFee"]),
            time_ms=when,
        )

    def _position(self, row: Mapping[str, Any]) -> PositionRow | None:
        index = self._index.get(row["symbol"])
        if index is None:
            return None
        if row["positionIdx"]:
            raise ValueError("the account holds long and short positions apart; set it to one-way")
        sizes = self._sizes[index]
        sign = -1 if row["side"] == "Sell" else 1
        cost = exact_e8(row["positionValue"] or "0") // sizes.value_e8
        return PositionRow(index, sign * units(row["size"], sizes.lot_e8), sign * cost)

    def limit_of(self, reply: Reply) -> int:
        """See ports/gateway.py."""
        text = reply.head.get("x-bapi-limit", "")
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    def pause_s(self, reply: Reply) -> float:
        """See ports/gateway.py."""
        said = reply.head.get("retry-after", "")
        if said.isdecimal() and len(said) < 10 and reply.status in (403, 429):
            return float(said)
        if reply.status == 403:
            return _BAN_S
        if reply.status == 429 or _TOO_MANY.search(reply.body[:64]):
            return _PAUSE_S
        return 0.0

    # --- stream ---

    def logon(self, now_ms: int) -> str:
        """See ports/gateway.py."""
        args = logon_args(self._keys.api_key, self._secret, now_ms + LOGON_MS)
        return json.dumps({"op": "auth", "args": args})

    def subscribe(self) -> str:
        """See ports/gateway.py."""
        return '{"op":"subscribe","args":["execution.linear","order.linear"]}'

    def ping(self) -> str:
        """See ports/gateway.py."""
        return '{"op":"ping"}'

    def read(self, text: bytes) -> Told:
        """See ports/gateway.py."""
        try:
            message = msgspec.json.decode(text)
            if "topic" not in message:
                name = "pong" if message["op"] in ("ping", "pong") else str(message["op"])
                if message.get("req_id") == "guard":
                    return Told(answered="guard" if message.get("success") else "no guard")
                if message.get("success", True):
                    return Told(answered=name)
                return Told(refused=f"{name}: {str(message.get('ret_msg'))[:100]}")
            if message["topic"].startswith("dcp"):
                return Told()
            read: Any = self._execution if message["topic"].startswith("execution") else self._order
            return Told(tuple(self._ours(read, _rows(message["data"]))))
        except UNREADABLE as error:
            raise ValueError(f"a message that cannot be read ({reason_of(error)})") from None

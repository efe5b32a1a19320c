"""What ccxt does not unify, by venue: parameters of requests, reasons of refusals and ends, what a key may do.

Read by both ends, that of the gateway and that of ccxt's process; nothing here imports ccxt.

Two rules hold for each venue here: its orders are found by the client's own id, and its stop becomes a market order.
One that cannot do both is none of them, for the bot's promise could not be kept there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# what a venue says, by names that `private` knows
_BYBIT_CODES = {
    "10002": "time", "10003": "key", "10004": "key", "10005": "key", "10007": "key", "10010": "key", "33004": "key",
    "10006": "rate", "10018": "rate", "110001": "unknown_order", "110003": "filter", "110004": "balance",
    "110007": "balance", "110009": "too_many", "110012": "balance", "110016": "position", "110017": "reduce_only",
    "110020": "too_many", "110021": "position", "110045": "balance", "110052": "balance", "110064": "filter",
    "110072": "duplicate", "110092": "would_trigger", "110093": "would_trigger", "110094": "filter",
    "170143": "no_market",
}  # fmt: skip
_BYBIT_FILTERS = ("number of contracts", "qty", "price", "order value")  # of a code that means a wrong request, too
_BYBIT_ENDS = {
    "EC_PostOnlyWillTakeLiquidity": "post_only", "CancelByReduceOnly": "reduced", "CancelBySmp": "self_trade",
    "EC_BySelfMatch": "self_trade", "EC_NoEnoughQtyToFill": "not_whole", "EC_NoImmediateQtyToFill": "expired",
    "EC_ReachMaxPendingOrders": "too_many",
}  # fmt: skip
_BYBIT_CODE = re.compile(r'"retCode"\s*:\s*(\d{1,7})\b')
_UNCHANGED = "order remains unchanged"


class BybitLinear:
    """Contracts that settle in USDT, one-way, unified account."""

    ids = ("bybit",)  # of ccxt
    quote = "USDT"
    kind = "linear"
    deadline_ms = 2_000  # a request that the venue has not begun with after so long is refused by it
    limits: Sequence[int] = (10, 10, 10, 40)
    total = (500, 5.0)  # one of our questions may be several of ccxt's
    window_ms = 7 * 86_400_000 - 1
    # no question before an order: what ccxt would ask about the account is what we ask of it
    options: Mapping[str, Any] = {
        "recvWindow": deadline_ms, "enableUnifiedMargin": False, "enableUnifiedAccount": True,
        "defaultType": "swap", "defaultSubType": "linear", "defaultSettle": "USDT",
        "fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False,
    }  # fmt: skip
    but_stops: Mapping[str, Any] = {"orderFilter": "Order"}  # of cancel_all_orders; {}: it would take the stops too
    # where what changes a position or the cash is listed: ccxt's call and what it is to be asked for; ours first
    trade_lists: Sequence[tuple[str, Mapping[str, Any]]] = (
        ("fetch_my_trades", {}), ("fetch_my_trades", {"execType": "AdlTrade"}),
        ("fetch_my_trades", {"execType": "BustTrade"}), ("fetch_funding_history", {}),
    )  # fmt: skip
    page = 50
    trades_page = 100

    @staticmethod
    def is_ours(row: Mapping[str, Any]) -> bool:
        """Whether a row of the private stream is of these contracts: it tells of all that the account has."""
        return row.get("category", "linear") == "linear"

    @staticmethod
    def named(link: str) -> dict[str, Any]:
        """Parameters that name an order by the client's id."""
        return {"orderLinkId": link}

    @staticmethod
    def by_id(venue_id: str) -> dict[str, Any]:
        """Parameters that name an order by the venue's id."""
        return {"orderId": venue_id}

    @staticmethod
    def cursor(rows: Sequence[Mapping[str, Any]]) -> str:
        """Of the next page, from the last one as ccxt has it; "": it was the last."""
        return next((str(row["info"]["nextPageCursor"]) for row in rows if "nextPageCursor" in row["info"]), "")

    @staticmethod
    def at(cursor: str) -> dict[str, Any]:
        """Parameters of the page that a cursor names."""
        return {"cursor": cursor} if cursor else {}

    @staticmethod
    def place(order: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
        """Beside what ccxt unifies. Own orders never meet: the one that rests gives way."""
        more: dict[str, Any] = {"positionIdx": 0, "smpType": "CancelMaker"}
        if order["stop"]:
            direction = "ascending" if order["side"] == "buy" else "descending"
            more |= {"triggerPrice": order["stop"], "triggerDirection": direction, "triggerBy": "LastPrice"}
        if order["reduce_only"]:
            more["reduceOnly"] = True
        return more

    @staticmethod
    def amend(stop: str) -> dict[str, Any]:
        """Another trigger."""
        return {"triggerPrice": stop} if stop else {}

    @staticmethod
    def refusal(name: str, text: str) -> str:
        """What the venue's own words prove: why it has not done what was asked, "done", or "" for nothing."""
        found = _BYBIT_CODE.search(text)
        code = found[1] if found else ""
        if code == "10001":
            said = text.lower()
            if name == "amend" and _UNCHANGED in said:
                return "done"
            return "filter" if any(one in said for one in _BYBIT_FILTERS) else ""
        return _BYBIT_CODES.get(code, "")

    @staticmethod
    def end(row: Mapping[str, Any]) -> str:
        """Why an order has ended, "" where the venue does not say."""
        return _BYBIT_ENDS.get(row.get("cancelType", ""), "") or _BYBIT_ENDS.get(row.get("rejectReason", ""), "")

    @staticmethod
    def is_triggered(row: Mapping[str, Any]) -> bool:
        """Whether a stop order has gone off."""
        return row["orderStatus"] in ("Triggered", "New", "PartiallyFilled", "Filled")

    @staticmethod
    def link_of(row: Mapping[str, Any]) -> str:
        """The client's id in a trade."""
        return str(row["orderLinkId"])

    @staticmethod
    def key(found: Mapping[str, Any]) -> str:
        """Why the key must not be used, "" where it may."""
        result = found["result"]
        wallet = [str(one) for one in result["permissions"].get("Wallet", ())]
        trade = result["permissions"].get("ContractTrade", ())
        if wallet:
            return f"the key can move money away ({', '.join(wallet)}); make one that may trade and nothing else"
        if not result["ips"] or "*" in result["ips"]:
            return "the key is not bound to an address; bind it to this machine's"
        if int(result["readOnly"]) or "Order" not in trade or "Position" not in trade:
            return "the key may not trade contracts; allow it orders and positions"
        return ""

    key_call = "privateGetV5UserQueryApi"
    ended_call = "fetch_canceled_and_closed_orders"


WORDS: dict[str, Any] = {"bybit_linear": BybitLinear}

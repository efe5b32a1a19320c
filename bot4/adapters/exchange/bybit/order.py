"""Orders as Bybit tells of them: the venue's own order, with what this protocol has beside it."""

from dataclasses import dataclass
from typing import Any

from bot4.adapters.exchange.bybit.symbol import decimals_of, price_text, qty_text
from bot4.adapters.exchange.bybit.text import average, order_text, plain, trade_text
from bot4.adapters.exchange.number import mul_e8
from bot4.adapters.exchange.order import Fill, Order
from bot4.adapters.exchange.symbol import Symbol
from bot4.model.enums import (
    VENUE_BALANCE,
    VENUE_NOT_WHOLE,
    VENUE_POST_ONLY,
    VENUE_REDUCE_ONLY,
    VENUE_SELF_TRADE,
)

STP_MODES = {"None": "NONE", "CancelMaker": "EXPIRE_MAKER", "CancelTaker": "EXPIRE_TAKER", "CancelBoth": "EXPIRE_BOTH"}
_SMP = {mode: name for name, mode in STP_MODES.items()}
_STATUS = {
    "PENDING_NEW": "New", "NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled",
    "CANCELED": "Cancelled", "EXPIRED": "Cancelled", "EXPIRED_IN_MATCH": "Cancelled",
}  # fmt: skip
_REASONS = {
    VENUE_POST_ONLY: "EC_PostOnlyWillTakeLiquidity", VENUE_NOT_WHOLE: "EC_NoEnoughQtyToFill",
    VENUE_SELF_TRADE: "EC_BySelfMatch", VENUE_BALANCE: "EC_Others",
}  # fmt: skip
_CANCEL_TYPES = {VENUE_REDUCE_ONLY: "CancelByReduceOnly", VENUE_SELF_TRADE: "CancelBySmp"}


@dataclass(slots=True)
class BybitOrder(Order):
    """`client_id` is the orderLinkId and may be empty."""

    seed: int = 0
    trigger_direction: int = 0  # 1 rising, 2 falling
    trigger_by: str = ""
    stop_type: str = ""  # Stop, TakeProfit, StopLoss; tpslOrder of spot
    create_type: str = "CreateByUser"
    exec_type: str = "Trade"  # BustTrade: the venue took the position
    cancel_type: str = ""  # why it was cancelled, where nobody asked for it by name
    last_price_e8: int = 0  # when it was made
    take_profit_e8: int = 0
    stop_loss_e8: int = 0
    close_on_trigger: bool = False
    market_unit: str = ""
    fee_e8: int = 0  # all fills together

    @property
    def text_id(self) -> str:
        """The orderId of requests and answers."""
        return order_text(self.seed, self.order_id, self.symbol.is_linear)

    @property
    def is_waiting(self) -> bool:
        """Whether its trigger has not been reached."""
        return bool(self.stop_e8) and self.working_ms < 0

    @property
    def is_market(self) -> bool:
        """Whether it takes at any price."""
        return not self.price_e8

    def status_text(self) -> str:
        """orderStatus."""
        if self.is_open:
            return "Untriggered" if self.is_waiting else _STATUS[self.status]
        if self.status == "FILLED":
            return "Filled"
        if self.is_waiting:
            return "Deactivated"
        return "PartiallyFilledCanceled" if self.executed_e8 and not self.symbol.is_linear else "Cancelled"

    def row(self, status: str = "") -> dict[str, Any]:
        """As queries and the stream tell of it; `status` where it is another one for an instant."""
        symbol = self.symbol
        leaves_e8 = max(0, self.qty_e8 - self.executed_e8 - self.prevented_e8) if self.is_open else 0
        reference_e8 = self.price_e8 or self.last_price_e8
        reason = "EC_NoError"
        cancel_type = "UNKNOWN"
        if not self.is_open and self.status != "FILLED":
            reason = _REASONS.get(self.reason, "")
            cancel_type = self.cancel_type or _CANCEL_TYPES.get(self.reason, "")
            if self.status == "CANCELED":
                reason, cancel_type = reason or "EC_PerCancelRequest", cancel_type or "CancelByUser"
            reason, cancel_type = reason or "EC_NoImmediateQtyToFill", cancel_type or "UNKNOWN"
        asked_e8 = self.quote_qty_e8 or self.qty_e8
        found = {
            "category": symbol.category,
            "orderId": self.text_id,
            "orderLinkId": self.client_id,
            "blockTradeId": "",
            "symbol": symbol.name,
            "price": price_text(symbol, self.price_e8) if self.price_e8 else "0",
            "qty": plain(asked_e8) if self.quote_qty_e8 else qty_text(symbol, asked_e8),
            "side": "Buy" if self.is_buy else "Sell",
            "isLeverage": "" if symbol.is_linear else "0",
            "positionIdx": 0,
            "orderStatus": status or self.status_text(),
            "cancelType": cancel_type,
            "rejectReason": reason,
            "avgPrice": average(self.quote_e8, self.executed_e8, max(4, decimals_of(symbol.tick_e8))),
            "leavesQty": qty_text(symbol, leaves_e8),
            "leavesValue": plain(mul_e8(leaves_e8, reference_e8)),
            "cumExecQty": qty_text(symbol, self.executed_e8),
            "cumExecValue": plain(self.quote_e8),
            "cumExecFee": plain(self.fee_e8),
            "cumFeeDetail": {self.fills[-1].fee_asset: plain(self.fee_e8)} if self.fills else {},
            "timeInForce": "IOC" if self.is_market else "PostOnly" if self.type == "LIMIT_MAKER" else self.tif,
            "orderType": "Market" if self.is_market else "Limit",
            "stopOrderType": self.stop_type,
            "orderIv": "",
            "triggerPrice": price_text(symbol, self.stop_e8) if self.stop_e8 else "",
            "takeProfit": price_text(symbol, self.take_profit_e8) if self.take_profit_e8 else "",
            "stopLoss": price_text(symbol, self.stop_loss_e8) if self.stop_loss_e8 else "",
            "tpTriggerBy": "LastPrice" if self.take_profit_e8 else "",
            "slTriggerBy": "LastPrice" if self.stop_loss_e8 else "",
            "tpLimitPrice": "",
            "slLimitPrice": "",
            "triggerDirection": self.trigger_direction,
            "triggerBy": self.trigger_by,
            "lastPriceOnCreated": price_text(symbol, self.last_price_e8),
            "reduceOnly": self.reduce_only,
            "closeOnTrigger": self.close_on_trigger,
            "placeType": "",
            "smpType": _SMP.get(self.stp_mode, "None"),
            "smpGroup": 0,
            "smpOrderId": "",
            "createdTime": str(self.time_ms),
            "updatedTime": str(self.update_ms),
        }
        if symbol.is_linear:
            return found | {"createType": self.create_type, "tpslMode": "Full" if self._has_ends() else ""}
        return found | {"marketUnit": self.market_unit, "ocoTriggerBy": ""}

    def _has_ends(self) -> bool:
        return bool(self.take_profit_e8 or self.stop_loss_e8)

    def execution(self, fill: Fill, leaves_e8: int, ppm: int) -> dict[str, Any]:
        """One fill as `execution/list` and the stream tell of it; `ppm`: its fee."""
        symbol = self.symbol
        return {
            "category": symbol.category,
            "symbol": symbol.name,
            "orderId": self.text_id,
            "orderLinkId": self.client_id,
            "side": "Buy" if self.is_buy else "Sell",
            "orderPrice": price_text(symbol, self.price_e8) if self.price_e8 else "0",
            "orderQty": qty_text(symbol, self.qty_e8),
            "leavesQty": qty_text(symbol, leaves_e8),
            "createType": self.create_type if symbol.is_linear else "",
            "orderType": "Market" if self.is_market else "Limit",
            "stopOrderType": self.stop_type or "UNKNOWN",
            "execFee": plain(fill.fee_e8),
            "execId": trade_text(self.seed, symbol.key, fill.trade_id),
            "execPrice": price_text(symbol, fill.price_e8),
            "execQty": qty_text(symbol, fill.qty_e8),
            "execType": self.exec_type,
            "execValue": plain(fill.quote_e8),
            "execTime": str(fill.time_ms),
            "feeCurrency": "" if symbol.is_linear else fill.fee_asset,
            "isMaker": fill.maker,
            "feeRate": plain(ppm * 100),
            "tradeIv": "",
            "markIv": "",
            "markPrice": price_text(symbol, fill.price_e8),
            "indexPrice": "",
            "underlyingPrice": "",
            "blockTradeId": "",
            "closedSize": "",
            "isLeverage": "0",
            "seq": fill.trade_id,
        }


def funding_row(
    symbol: Symbol, number: str, now_ms: int, lots: int, mark_e8: int, rate_e8: int, paid_e8: int
) -> dict[str, Any]:
    """What a position in signed lots has paid, as an execution that belongs to no order of the account."""
    qty_e8 = abs(lots) * symbol.lot_e8
    return {
        "category": symbol.category,
        "symbol": symbol.name,
        "orderId": number,
        "orderLinkId": "",
        "side": "Buy" if lots > 0 else "Sell",
        "orderPrice": "0",
        "orderQty": "0",
        "leavesQty": "0",
        "createType": "",
        "orderType": "UNKNOWN",
        "stopOrderType": "UNKNOWN",
        "execFee": plain(paid_e8),
        "execId": number,
        "execPrice": price_text(symbol, mark_e8),
        "execQty": qty_text(symbol, qty_e8),
        "execType": "Funding",
        "execValue": plain(mul_e8(qty_e8, mark_e8)),
        "execTime": str(now_ms),
        "feeCurrency": "",
        "isMaker": False,
        "feeRate": plain(rate_e8),
        "tradeIv": "",
        "markIv": "",
        "markPrice": price_text(symbol, mark_e8),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "",
        "isLeverage": "0",
        "seq": 0,
    }

"""Orders and order lists as the venue knows them, and every form in which it tells of them.

Amounts are whole numbers of 1e-8; times are ms. The core knows an order by its number alone; texts live here.
"""

from dataclasses import dataclass, field, replace

from bot4.adapters.exchange.number import E8, text_e8
from bot4.adapters.exchange.symbol import Symbol

OPEN = frozenset(("PENDING_NEW", "NEW", "PARTIALLY_FILLED"))
ZERO = text_e8(0)


@dataclass(slots=True)
class Fill:
    """One side of a trade."""

    trade_id: int
    price_e8: int
    qty_e8: int
    quote_e8: int
    fee_e8: int
    fee_asset: str
    maker: bool
    time_ms: int


@dataclass(slots=True)
class OrderList:
    """An OCO, OTO or OTOCO."""

    list_id: int
    symbol: Symbol
    client_id: str
    contingency: str
    time_ms: int
    orders: list["Order"] = field(default_factory=list)
    status_type: str = "EXEC_STARTED"
    status: str = "EXECUTING"
    account: int = 0
    contingency_kind: str = "OCO"  # what the core is told: an OTOCO too is an OTO to those who ask

    def info(self) -> dict:
        """As queries answer."""
        return {
            "orderListId": self.list_id,
            "contingencyType": self.contingency,
            "listStatusType": self.status_type,
            "listOrderStatus": self.status,
            "listClientOrderId": self.client_id,
            "transactionTime": self.time_ms,
            "symbol": self.symbol.name,
            "orders": [
                {"symbol": self.symbol.name, "orderId": order.order_id, "clientOrderId": order.client_id}
                for order in self.orders
            ],
        }

    def event(self, now_ms: int) -> dict:
        """`listStatus` of the user stream."""
        return {
            "e": "listStatus",
            "E": now_ms,
            "s": self.symbol.name,
            "g": self.list_id,
            "c": self.contingency,
            "l": self.status_type,
            "L": self.status,
            "r": "NONE",
            "C": self.client_id,
            "T": now_ms,
            "O": [{"s": self.symbol.name, "i": order.order_id, "c": order.client_id} for order in self.orders],
        }


@dataclass(slots=True)
class Order:
    """One order of one account, from its acceptance on."""

    symbol: Symbol
    order_id: int
    client_id: str
    account: int
    is_buy: bool
    type: str
    tif: str
    price_e8: int
    qty_e8: int
    stop_e8: int
    iceberg_e8: int
    stp_mode: str
    time_ms: int
    quote_qty_e8: int = 0
    trailing_bips: int = 0
    order_list: OrderList | None = None
    executed_e8: int = 0
    quote_e8: int = 0
    prevented_e8: int = 0
    status: str = "NEW"
    update_ms: int = 0
    working_ms: int = -1
    strategy_id: int | None = None
    strategy_type: int | None = None
    reduce_only: bool = False
    reason: int = 0  # the core's code of what it refused or ended, VENUE_*
    fills: list[Fill] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN

    @property
    def left_lots(self) -> int:
        """What of it can still be filled."""
        return (self.qty_e8 - self.executed_e8 - self.prevented_e8) // self.symbol.lot_e8

    @property
    def list_id(self) -> int:
        """The list it belongs to, -1 if to none."""
        return -1 if self.order_list is None else self.order_list.list_id

    def as_of(self, past_ms: int) -> "Order | None":
        """The order as it was then, for a replica that lags; None if it was not. Amendments are told at once."""
        if self.update_ms <= past_ms:
            return self
        if self.time_ms > past_ms:
            return None
        fills = [fill for fill in self.fills if fill.time_ms <= past_ms]
        return replace(
            self,
            status="PARTIALLY_FILLED" if fills else "NEW",
            executed_e8=sum(fill.qty_e8 for fill in fills),
            quote_e8=sum(fill.quote_e8 for fill in fills),
            prevented_e8=0,
            update_ms=fills[-1].time_ms if fills else self.time_ms,
            working_ms=self.working_ms if self.working_ms <= past_ms else -1,
            fills=fills,
        )

    def _optional(self, stop: bool = True) -> dict:
        """Fields that are there only for orders that have them."""
        found: dict = {}
        if stop and self.stop_e8:
            found["stopPrice"] = text_e8(self.stop_e8)
        if self.iceberg_e8:
            found["icebergQty"] = text_e8(self.iceberg_e8)
        if self.trailing_bips:
            found["trailingDelta"] = self.trailing_bips
        if self.strategy_id is not None:
            found["strategyId"] = self.strategy_id
        if self.strategy_type is not None:
            found["strategyType"] = self.strategy_type
        if self.prevented_e8:
            found["preventedQuantity"] = text_e8(self.prevented_e8)
        return found

    def acknowledged(self) -> dict:
        """newOrderRespType=ACK."""
        return {
            "symbol": self.symbol.name,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.client_id,
            "transactTime": self.update_ms,
        }

    def result(self) -> dict:
        """newOrderRespType=RESULT; `acknowledged` and the order's state."""
        return {
            "symbol": self.symbol.name,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.client_id,
            "transactTime": self.update_ms,
            "price": text_e8(self.price_e8),
            "origQty": text_e8(self.qty_e8),
            "executedQty": text_e8(self.executed_e8),
            "origQuoteOrderQty": text_e8(self.quote_qty_e8),
            "cummulativeQuoteQty": text_e8(self.quote_e8),
            "status": self.status,
            "timeInForce": self.tif,
            "type": self.type,
            "side": "BUY" if self.is_buy else "SELL",
            "workingTime": self.working_ms,
            "selfTradePreventionMode": self.stp_mode,
            **self._optional(),
        }

    def full(self, fills: list[Fill]) -> dict:
        """newOrderRespType=FULL; `result` and the trades the order made when it came."""
        return self.result() | {
            "fills": [
                {
                    "price": text_e8(fill.price_e8),
                    "qty": text_e8(fill.qty_e8),
                    "commission": text_e8(fill.fee_e8),
                    "commissionAsset": fill.fee_asset,
                    "tradeId": fill.trade_id,
                }
                for fill in fills
            ]
        }

    def info(self) -> dict:
        """As queries answer."""
        return {
            "symbol": self.symbol.name,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.client_id,
            "price": text_e8(self.price_e8),
            "origQty": text_e8(self.qty_e8),
            "executedQty": text_e8(self.executed_e8),
            "cummulativeQuoteQty": text_e8(self.quote_e8),
            "status": self.status,
            "timeInForce": self.tif,
            "type": self.type,
            "side": "BUY" if self.is_buy else "SELL",
            "stopPrice": text_e8(self.stop_e8),
            "icebergQty": text_e8(self.iceberg_e8),
            "time": self.time_ms,
            "updateTime": self.update_ms,
            "isWorking": self.working_ms >= 0,
            "workingTime": self.working_ms,
            "origQuoteOrderQty": text_e8(self.quote_qty_e8),
            "selfTradePreventionMode": self.stp_mode,
            **{name: value for name, value in self._optional(stop=False).items() if name != "icebergQty"},
        }

    def canceled(self, cancel_id: str) -> dict:
        """As a cancel answers: the cancel's own id, and the order's as the original one."""
        answer = self.result()
        answer["origClientOrderId"] = self.client_id
        answer["clientOrderId"] = cancel_id
        return answer

    def trades(self) -> list[dict]:
        """As `myTrades` answers."""
        return [self.trade(fill) for fill in self.fills]

    def trade(self, fill: Fill) -> dict:
        """One of them."""
        return {
            "symbol": self.symbol.name,
            "id": fill.trade_id,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "price": text_e8(fill.price_e8),
            "qty": text_e8(fill.qty_e8),
            "quoteQty": text_e8(fill.quote_e8),
            "commission": text_e8(fill.fee_e8),
            "commissionAsset": fill.fee_asset,
            "time": fill.time_ms,
            "isBuyer": self.is_buy,
            "isMaker": fill.maker,
            "isBestMatch": True,
        }

    def event(self, kind: str, now_ms: int, execution_id: int, fill: Fill | None = None, cancel_id: str = "") -> dict:
        """`executionReport` of the user stream; kind is NEW, CANCELED, TRADE, EXPIRED, TRADE_PREVENTION or REPLACED."""
        report = {
            "e": "executionReport",
            "E": now_ms,
            "s": self.symbol.name,
            "c": cancel_id or self.client_id,
            "S": "BUY" if self.is_buy else "SELL",
            "o": self.type,
            "f": self.tif,
            "q": text_e8(self.qty_e8),
            "p": text_e8(self.price_e8),
            "P": text_e8(self.stop_e8),
            "F": text_e8(self.iceberg_e8),
            "g": self.list_id,
            "C": self.client_id if cancel_id else "",
            "x": kind,
            "X": self.status,
            "r": "NONE",
            "i": self.order_id,
            "l": text_e8(fill.qty_e8) if fill else ZERO,
            "z": text_e8(self.executed_e8),
            "L": text_e8(fill.price_e8) if fill else ZERO,
            "n": text_e8(fill.fee_e8) if fill else "0",
            "N": fill.fee_asset if fill else None,
            "T": now_ms,
            "t": fill.trade_id if fill else -1,
            "I": execution_id,
            "w": self.is_open and self.working_ms >= 0,
            "m": fill.maker if fill else False,
            "M": bool(fill),
            "O": self.time_ms,
            "Z": text_e8(self.quote_e8),
            "Y": text_e8(fill.quote_e8) if fill else ZERO,
            "Q": text_e8(self.quote_qty_e8),
            "V": self.stp_mode,
        }
        if self.working_ms >= 0:
            report["W"] = self.working_ms
        if self.trailing_bips:
            report["d"] = self.trailing_bips
        if self.strategy_id is not None:
            report["j"] = self.strategy_id
        if self.strategy_type is not None:
            report["J"] = self.strategy_type
        if self.prevented_e8:
            report["A"] = text_e8(self.prevented_e8)
        return report


def whole_value(price_e8: int, qty_e8: int) -> int:
    """price × quantity in 1e-8; whole, since the price is in ticks and the quantity in lots."""
    return price_e8 * qty_e8 // E8

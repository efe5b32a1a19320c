"""What Bybit says no with: retCode and retMsg as its documents list them; the HTTP status is 200 but for a few."""

from bot4.adapters.exchange.refusal import Refused
from bot4.model.enums import (
    REJECT_NAMES,
    VENUE_BALANCE,
    VENUE_DUPLICATE_ID,
    VENUE_NO_MARKET,
    VENUE_POSITION,
    VENUE_POST_ONLY,
    VENUE_REDUCE_ONLY,
    VENUE_STOP_WOULD_TRIGGER,
    VENUE_TOO_MANY_ORDERS,
    VENUE_UNKNOWN_ORDER,
)

WOULD_TAKE = 170218
_CORE = {
    VENUE_POST_ONLY: (WOULD_TAKE, "The LIMIT-MAKER order is rejected due to invalid price."),
    VENUE_BALANCE: (170131, "Insufficient balance."),
    VENUE_DUPLICATE_ID: (110072, "OrderLinkedID is duplicate"),
    VENUE_NO_MARKET: (170143, "Cannot be found on order book"),
    VENUE_POSITION: (110016, "The quantity of contracts requested exceeds the risk limit"),
    VENUE_REDUCE_ONLY: (110017, "current position is zero, cannot fix reduce-only order qty"),
    VENUE_STOP_WOULD_TRIGGER: (110092, "expect Rising or Falling, but the trigger price is reached already"),
    VENUE_TOO_MANY_ORDERS: (110020, "Not allowed to have more than 500 active orders."),
    VENUE_UNKNOWN_ORDER: (110001, "order not exists or too late to replace"),
}  # fmt: skip


def bad(text: str) -> Refused:
    """10001, with what is wrong."""
    return Refused(10001, f"params error: {text}", 200)


def no(code: int, text: str) -> Refused:
    """Any other code."""
    return Refused(code, text, 200)


def of_core(code: int) -> Refused:
    """What the core refused with VENUE_*."""
    number, text = _CORE.get(code, (10001, f"params error: {REJECT_NAMES.get(code, code)}"))
    return no(number, text)


def not_found(is_linear: bool, what: str) -> Refused:
    """There is no such order, or it is over."""
    if is_linear:
        return no(110001, f"order not exists or too late to {what}")
    return no(170213, "Order does not exist.")

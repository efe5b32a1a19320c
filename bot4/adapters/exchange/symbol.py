"""A symbol of the venue, its filters, and what `exchangeInfo` says of it."""

from dataclasses import dataclass, field, replace

from bot4.adapters.exchange.number import E8, mul_e8, text_e8
from bot4.adapters.exchange.refusal import Refused, filter_failure
from bot4.model.errors import SettingsError

LIMIT_TYPES = ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
ALGO_TYPES = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", *ALGO_TYPES)
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")
AVERAGE_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Filters:
    """The rules of one symbol; prices, quantities and values in 1e-8, ratios in 1e-8 too."""

    min_price_e8: int
    max_price_e8: int
    min_qty_e8: int
    max_qty_e8: int
    market_max_qty_e8: int
    min_notional_e8: int = 5 * E8
    max_notional_e8: int = 9_000_000 * E8
    bid_up_e8: int = 5 * E8
    bid_down_e8: int = E8 // 5
    ask_up_e8: int = 5 * E8
    ask_down_e8: int = E8 // 5
    iceberg_parts: int = 10
    max_orders: int = 200
    max_algo_orders: int = 5
    max_order_lists: int = 20
    trailing_min_bips: int = 10
    trailing_max_bips: int = 2_000


_PAIRS = (
    ("min_price_e8", "max_price_e8"), ("min_qty_e8", "max_qty_e8"), ("min_notional_e8", "max_notional_e8"),
    ("bid_down_e8", "bid_up_e8"), ("ask_down_e8", "ask_up_e8"), ("trailing_min_bips", "trailing_max_bips"),
)  # fmt: skip


def changed_filters(filters: Filters, values: dict[str, int]) -> Filters:
    """Filters with other values; SettingsError if one is none of theirs, or a smallest value above the largest."""
    for name in values:
        if name not in Filters.__dataclass_fields__:
            known = ", ".join(Filters.__dataclass_fields__)
            raise SettingsError(f"fault: filters: {name!r} is no filter; the filters are {known}")
    changed = replace(filters, **values)
    for low, high in _PAIRS:
        if getattr(changed, low) > getattr(changed, high):
            raise SettingsError(
                f"fault: filters: {low} {getattr(changed, low)} is above {high} {getattr(changed, high)}; change both"
            )
    return changed


@dataclass(slots=True)
class Symbol:
    """One symbol; `index` is its place in the core. Prices are whole ticks, quantities whole lots."""

    index: int
    name: str
    base: str
    quote: str
    tick_e8: int
    lot_e8: int
    start_price_e8: int
    filters: Filters
    status: str = "TRADING"
    category: str = "spot"  # or linear: a contract with positions that settles in the quote asset
    value_e8: int = field(init=False)

    def __post_init__(self) -> None:
        self.value_e8, rest = divmod(self.tick_e8 * self.lot_e8, E8)
        assert rest == 0, "a tick of a lot is a whole number of 1e-8"

    @property
    def is_linear(self) -> bool:
        """Whether it is a contract."""
        return self.category == "linear"

    @property
    def key(self) -> str:
        """What no other symbol of the venue has: a name may stand for a coin and for a contract on it."""
        return f"{self.category}:{self.name}"

    # --- the filters, in the order in which the venue looks at them ---

    def check_price(self, price_e8: int) -> None:
        """PRICE_FILTER, for prices and stop prices."""
        rules = self.filters
        if not rules.min_price_e8 <= price_e8 <= rules.max_price_e8 or price_e8 % self.tick_e8:
            raise filter_failure("PRICE_FILTER")

    def check_band(self, is_buy: bool, price_e8: int, average_e8: int) -> None:
        """PERCENT_PRICE_BY_SIDE against the average price of the last minutes."""
        rules = self.filters
        up, down = (rules.bid_up_e8, rules.bid_down_e8) if is_buy else (rules.ask_up_e8, rules.ask_down_e8)
        if not average_e8 * down <= price_e8 * E8 <= average_e8 * up:
            raise filter_failure("PERCENT_PRICE_BY_SIDE")

    def check_qty(self, qty_e8: int, market: bool) -> None:
        """LOT_SIZE, and MARKET_LOT_SIZE for what goes to the market."""
        rules = self.filters
        if not rules.min_qty_e8 <= qty_e8 <= rules.max_qty_e8 or qty_e8 % self.lot_e8:
            raise filter_failure("LOT_SIZE")
        if market and qty_e8 > rules.market_max_qty_e8:
            raise filter_failure("MARKET_LOT_SIZE")

    def check_notional(self, price_e8: int, qty_e8: int, market: bool) -> None:
        """NOTIONAL; its upper bound does not apply to market orders."""
        value_e8 = mul_e8(price_e8, qty_e8)
        rules = self.filters
        if value_e8 < rules.min_notional_e8 or (not market and value_e8 > rules.max_notional_e8):
            raise filter_failure("NOTIONAL")

    def check_iceberg(self, qty_e8: int, iceberg_e8: int) -> None:
        """LOT_SIZE of the part that is shown, and ICEBERG_PARTS."""
        if iceberg_e8 > qty_e8:
            raise Refused(-2010, "IcebergQty exceeds QTY.")
        self.check_qty(iceberg_e8, market=False)
        if -(-qty_e8 // iceberg_e8) > self.filters.iceberg_parts:
            raise filter_failure("ICEBERG_PARTS")

    def check_trailing(self, bips: int) -> None:
        """TRAILING_DELTA."""
        if not self.filters.trailing_min_bips <= bips <= self.filters.trailing_max_bips:
            raise filter_failure("TRAILING_DELTA")

    def info(self) -> dict:
        """This symbol in `exchangeInfo`."""
        rules = self.filters
        return {
            "symbol": self.name,
            "status": self.status,
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": list(ORDER_TYPES),
            "icebergAllowed": True,
            "ocoAllowed": True,
            "otoAllowed": True,
            "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "amendAllowed": True,
            "pegInstructionsAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": text_e8(rules.min_price_e8),
                    "maxPrice": text_e8(rules.max_price_e8),
                    "tickSize": text_e8(self.tick_e8),
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": text_e8(rules.min_qty_e8),
                    "maxQty": text_e8(rules.max_qty_e8),
                    "stepSize": text_e8(self.lot_e8),
                },
                {"filterType": "ICEBERG_PARTS", "limit": rules.iceberg_parts},
                {
                    "filterType": "MARKET_LOT_SIZE",
                    "minQty": text_e8(0),
                    "maxQty": text_e8(rules.market_max_qty_e8),
                    "stepSize": text_e8(0),
                },
                {
                    "filterType": "TRAILING_DELTA",
                    "minTrailingAboveDelta": rules.trailing_min_bips,
                    "maxTrailingAboveDelta": rules.trailing_max_bips,
                    "minTrailingBelowDelta": rules.trailing_min_bips,
                    "maxTrailingBelowDelta": rules.trailing_max_bips,
                },
                {
                    "filterType": "PERCENT_PRICE_BY_SIDE",
                    "bidMultiplierUp": _ratio(rules.bid_up_e8),
                    "bidMultiplierDown": _ratio(rules.bid_down_e8),
                    "askMultiplierUp": _ratio(rules.ask_up_e8),
                    "askMultiplierDown": _ratio(rules.ask_down_e8),
                    "avgPriceMins": AVERAGE_MINUTES,
                },
                {
                    "filterType": "NOTIONAL",
                    "minNotional": text_e8(rules.min_notional_e8),
                    "applyMinToMarket": True,
                    "maxNotional": text_e8(rules.max_notional_e8),
                    "applyMaxToMarket": False,
                    "avgPriceMins": AVERAGE_MINUTES,
                },
                {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": rules.max_orders},
                {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": rules.max_order_lists},
                {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": rules.max_algo_orders},
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": list(STP_MODES),
        }


def _ratio(value_e8: int) -> str:
    """A multiplier without zeros that say nothing."""
    return text_e8(value_e8).rstrip("0").rstrip(".")


def default_symbols() -> list[Symbol]:
    """BTCUSDT and ETHUSDT, with the sizes the venue gives them."""
    return [
        Symbol(0, "BTCUSDT", "BTC", "USDT", E8 // 100, 1_000, 60_000 * E8,
               Filters(E8 // 100, 1_000_000 * E8, 1_000, 2_000 * E8, 100 * E8)),
        Symbol(1, "ETHUSDT", "ETH", "USDT", E8 // 100, 10_000, 3_000 * E8,
               Filters(E8 // 100, 100_000 * E8, 10_000, 9_000 * E8, 2_000 * E8)),
    ]  # fmt: skip

"""Symbols of Bybit: perpetuals that settle in USDT and spot pairs, with the rules the venue gives them.

Prices and quantities are bounded a little closer than there, so that every position of every account fits the core.
"""

from typing import Any

from bot4.adapters.exchange.bybit.text import plain, scaled
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.symbol import Filters, Symbol

CATEGORIES = ("linear", "spot")
KNOWN = (*CATEGORIES, "inverse", "option")  # may be asked for; there is nothing of the other two
MAX_LEVERAGE = 100
LEVERAGE_SCALE = 100  # leverage has two decimals
_LAUNCH_MS = 1_584_230_400_000


def decimals_of(step_e8: int) -> int:
    """How many decimals a step needs."""
    return len(plain(step_e8).partition(".")[2])


def price_text(symbol: Symbol, price_e8: int) -> str:
    """A price as the venue writes it: contracts have two decimals at least."""
    return scaled(price_e8, max(decimals_of(symbol.tick_e8), 2 if symbol.is_linear else 0))


def qty_text(symbol: Symbol, qty_e8: int) -> str:
    """A quantity as the venue writes it."""
    return scaled(qty_e8, decimals_of(symbol.lot_e8))


def _rules(tick_e8: int, max_price: int, lot_e8: int, max_qty: int, max_market: int) -> Filters:
    return Filters(
        tick_e8, max_price * E8 - tick_e8, lot_e8, max_qty * E8, max_market * E8, 5 * E8, 8_000_000 * E8,
        bid_up_e8=E8 * 110 // 100, ask_down_e8=E8 * 90 // 100, max_orders=500, max_algo_orders=10,
    )  # fmt: skip


def bybit_symbols() -> list[Symbol]:
    """BTCUSDT and ETHUSDT, contracts and coins."""
    linear, spot = CATEGORIES
    return [
        Symbol(0, "BTCUSDT", "BTC", "USDT", E8 // 10, E8 // 1_000, 60_000 * E8,
               _rules(E8 // 10, 1_000_000, E8 // 1_000, 500, 100), category=linear),
        Symbol(1, "ETHUSDT", "ETH", "USDT", E8 // 100, E8 // 100, 3_000 * E8,
               _rules(E8 // 100, 100_000, E8 // 100, 5_000, 1_000), category=linear),
        Symbol(2, "BTCUSDT", "BTC", "USDT", E8 // 10, 100, 60_000 * E8,
               _rules(E8 // 10, 1_000_000, 100, 230, 120), category=spot),
        Symbol(3, "ETHUSDT", "ETH", "USDT", E8 // 100, 1_000, 3_000 * E8,
               _rules(E8 // 100, 100_000, 1_000, 5_000, 2_000), category=spot),
    ]  # fmt: skip


def info(symbol: Symbol) -> dict[str, Any]:
    """As `instruments-info` answers."""
    rules = symbol.filters
    status = "Trading" if symbol.status == "TRADING" else "PreLaunch"
    risk = {"priceLimitRatioX": "0.05", "priceLimitRatioY": plain(rules.bid_up_e8 - E8)}
    if not symbol.is_linear:
        return {
            "symbolId": symbol.index + 1,
            "symbol": symbol.name,
            "baseCoin": symbol.base,
            "quoteCoin": symbol.quote,
            "innovation": "0",
            "status": status,
            "marginTrading": "none",
            "stTag": "0",
            "lotSizeFilter": {
                "basePrecision": plain(symbol.lot_e8),
                "quotePrecision": plain(symbol.value_e8),
                "minOrderQty": plain(rules.min_qty_e8),
                "maxOrderQty": plain(rules.max_qty_e8),
                "minOrderAmt": plain(rules.min_notional_e8),
                "maxOrderAmt": plain(rules.max_notional_e8),
                "maxLimitOrderQty": plain(rules.max_qty_e8),
                "maxMarketOrderQty": plain(rules.market_max_qty_e8),
                "postOnlyMaxLimitOrderSize": plain(rules.max_qty_e8),
            },
            "priceFilter": {"tickSize": plain(symbol.tick_e8)},
            "riskParameters": risk,
            "symbolType": "",
            "xstockMultiplier": "1",
        }
    return {
        "symbol": symbol.name,
        "contractType": "LinearPerpetual",
        "status": status,
        "baseCoin": symbol.base,
        "quoteCoin": symbol.quote,
        "launchTime": str(_LAUNCH_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": "2",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{MAX_LEVERAGE}.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": price_text(symbol, rules.min_price_e8),
            "maxPrice": price_text(symbol, rules.max_price_e8),
            "tickSize": price_text(symbol, symbol.tick_e8),
        },
        "lotSizeFilter": {
            "maxOrderQty": qty_text(symbol, rules.max_qty_e8),
            "minOrderQty": qty_text(symbol, rules.min_qty_e8),
            "qtyStep": qty_text(symbol, symbol.lot_e8),
            "postOnlyMaxOrderQty": qty_text(symbol, rules.max_qty_e8),
            "maxMktOrderQty": qty_text(symbol, rules.market_max_qty_e8),
            "minNotionalValue": plain(rules.min_notional_e8),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": symbol.quote,
        "copyTrading": "none",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": risk,
        "displayName": "",
        "symbolType": "",
        "forbidUplWithdrawal": False,
        "symbolId": symbol.index + 1,
    }

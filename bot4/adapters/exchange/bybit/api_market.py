"""Answers about the market: anybody may ask."""

from typing import Any

from bot4.adapters.exchange.bybit.entry import find_symbol
from bot4.adapters.exchange.bybit.field import Fields
from bot4.adapters.exchange.bybit.refusal import bad
from bot4.adapters.exchange.bybit.state import MAINTENANCE_PPM, TIER_E8
from bot4.adapters.exchange.bybit.symbol import KNOWN, info, price_text, qty_text
from bot4.adapters.exchange.bybit.text import INTERVALS, plain, scaled, trade_text
from bot4.adapters.exchange.market import Trade
from bot4.adapters.exchange.number import mul_e8, parse_e8
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Venue

_DAY_MS = 86_400_000
_FUNDING_MS = 8 * 3_600_000
FUNDING_RATE_E8 = 10_000  # what the venue asks where contract and index do not differ


def server_time(venue: Venue, fields: Fields) -> dict[str, Any]:
    """The venue's clock."""
    now_ns = venue.clock_ns() + venue.skew_ms * 1_000_000
    return {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}


def _symbols(venue: Venue, fields: Fields) -> tuple[str, list[Symbol]]:
    category = fields.choice("category", KNOWN)
    name, base = fields.text("symbol"), fields.text("baseCoin")
    found = [symbol for symbol in venue.by_index if symbol.category == category]
    if name:
        found = [symbol for symbol in found if symbol.name == name]
        if not found:
            raise bad("symbol invalid")
    return category, [symbol for symbol in found if not base or symbol.base == base]


def risk_limits(venue: Venue, fields: Fields) -> dict[str, Any]:
    """The tiers of maintenance margin, of each contract the same."""
    category, symbols = _symbols(venue, fields)
    rows = []
    for symbol in symbols if category == "linear" else ():
        deduction_e8 = 0
        for tier, ppm in enumerate(MAINTENANCE_PPM):
            deduction_e8 += tier * TIER_E8 * (ppm - MAINTENANCE_PPM[tier - 1]) // 1_000_000 if tier else 0
            rows.append({
                "id": tier + 1,
                "symbol": symbol.name,
                "riskLimitValue": plain((tier + 1) * TIER_E8),
                "maintenanceMargin": plain(ppm * 100),
                "initialMargin": "0.01",
                "isLowestRisk": int(not tier),
                "maxLeverage": "100",
                "mmDeduction": plain(deduction_e8) if tier else "",
            })  # fmt: skip
    return {"category": category, "list": rows, "nextPageCursor": ""}


def instruments(venue: Venue, fields: Fields) -> dict[str, Any]:
    """Symbols and their rules, on one page."""
    category, symbols = _symbols(venue, fields)
    status = fields.text("status")
    rows = [info(symbol) for symbol in symbols]
    answer: dict[str, Any] = {"category": category, "list": [row for row in rows if status in ("", row["status"])]}
    if category != "spot":
        answer["nextPageCursor"] = ""
    return answer


def levels(symbol: Symbol, side: list[tuple[int, int]]) -> list[list[str]]:
    """One side of a book."""
    return [[price_text(symbol, price), qty_text(symbol, qty)] for price, qty in side]


def orderbook(venue: Venue, fields: Fields) -> dict[str, Any]:
    """The best levels of both sides."""
    symbol = find_symbol(venue, fields)
    limit = fields.whole("limit", 25 if symbol.is_linear else 1, 1, 500 if symbol.is_linear else 200)
    now_ms = venue.now_ms()
    number = venue.update_ids[symbol.index]
    return {
        "s": symbol.name,
        "b": levels(symbol, venue.core.depth(symbol, True, limit)),
        "a": levels(symbol, venue.core.depth(symbol, False, limit)),
        "ts": now_ms,
        "u": number,
        "seq": number,
        "cts": now_ms,
    }


def next_funding_ms(now_ms: int) -> int:
    """When funding is settled next."""
    return (now_ms // _FUNDING_MS + 1) * _FUNDING_MS


def _share(now_e8: int, then_e8: int) -> str:
    """A change as a share of what was, in six decimals."""
    change = (now_e8 - then_e8) * 1_000_000 // then_e8 if then_e8 else 0
    return scaled(change * 100, 6)


def ticker(venue: Venue, symbol: Symbol) -> dict[str, Any]:
    """Statistics of the last 24 hours, as `tickers` answers; the streams of both categories take parts of it."""
    tape = venue.tapes[symbol.index]
    now_ms = venue.now_ms()
    day = tape.statistics(now_ms, _DAY_MS)
    bid, ask = venue.best(symbol)
    found = {
        "symbol": symbol.name,
        "bid1Price": price_text(symbol, bid[0]) if bid[0] else "",
        "bid1Size": qty_text(symbol, bid[1]) if bid[0] else "",
        "ask1Price": price_text(symbol, ask[0]) if ask[0] else "",
        "ask1Size": qty_text(symbol, ask[1]) if ask[0] else "",
        "lastPrice": price_text(symbol, day.close_e8),
        "prevPrice24h": price_text(symbol, day.open_e8),
        "price24hPcnt": _share(day.close_e8, day.open_e8),
        "highPrice24h": price_text(symbol, day.high_e8),
        "lowPrice24h": price_text(symbol, day.low_e8),
        "turnover24h": plain(day.quote_e8),
        "volume24h": plain(day.qty_e8),
    }
    if not symbol.is_linear:
        return found | {"usdIndexPrice": ""}
    held = [venue.core.position(account.index, symbol).lots for account in venue.accounts]
    open_e8 = sum(lots for lots in held if lots > 0) * symbol.lot_e8
    return found | {
        "indexPrice": price_text(symbol, tape.last_e8),
        "markPrice": price_text(symbol, tape.last_e8),
        "prevPrice1h": price_text(symbol, tape.statistics(now_ms, 3_600_000).open_e8),
        "openInterest": qty_text(symbol, open_e8),
        "openInterestValue": scaled(mul_e8(open_e8, tape.last_e8), 2),
        "fundingRate": plain(FUNDING_RATE_E8),
        "fundingIntervalHour": "8",
        "fundingCap": "0.005",
        "nextFundingTime": str(next_funding_ms(now_ms)),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def tickers(venue: Venue, fields: Fields) -> dict[str, Any]:
    """Of one symbol or of all."""
    category, symbols = _symbols(venue, fields)
    return {"category": category, "list": [ticker(venue, symbol) for symbol in symbols]}


def _trade(seed: int, symbol: Symbol, trade: Trade) -> dict[str, Any]:
    return {
        "execId": trade_text(seed, symbol.key, trade.trade_id),
        "symbol": symbol.name,
        "price": price_text(symbol, trade.price_e8),
        "size": qty_text(symbol, trade.qty_e8),
        "side": "Sell" if trade.buyer_maker else "Buy",
        "time": str(trade.time_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(trade.trade_id),
    }


def recent_trades(venue: Venue, fields: Fields, seed: int) -> dict[str, Any]:
    """The last trades, the latest first."""
    symbol = find_symbol(venue, fields)
    limit = fields.whole("limit", 500 if symbol.is_linear else 60, 1, 1_000 if symbol.is_linear else 60)
    rows = list(venue.tapes[symbol.index].trades)[-limit:]
    return {"category": symbol.category, "list": [_trade(seed, symbol, trade) for trade in reversed(rows)]}


def bar_row(symbol: Symbol, row: list[Any]) -> list[str]:
    """A bar of the tape as `kline` answers."""
    prices = [price_text(symbol, parse_e8(text, "price")) for text in row[1:5]]
    return [str(row[0]), *prices, plain(parse_e8(row[5], "volume")), plain(parse_e8(row[7], "turnover"))]


def klines(venue: Venue, fields: Fields) -> dict[str, Any]:
    """Bars, the latest first."""
    symbol = find_symbol(venue, fields)
    interval = INTERVALS[fields.choice("interval", list(INTERVALS))]
    limit = fields.whole("limit", 200, 1, 1_000)
    start, end = fields.whole("start", -1), fields.whole("end", -1)
    tape = venue.tapes[symbol.index]
    rows = tape.bars(interval, venue.now_ms(), start if start >= 0 else None, end if end >= 0 else None, 10**6)
    chosen = rows[-limit:]
    return {
        "symbol": symbol.name,
        "category": symbol.category,
        "list": [bar_row(symbol, row) for row in reversed(chosen)],
    }


def coins(venue: Venue, fields: Fields) -> dict[str, Any]:
    """The coins of the venue; nothing is deposited or withdrawn here."""
    wanted = fields.text("coin")
    rows = [
        {
            "name": coin,
            "coin": coin,
            "remainAmount": str(10**9),
            "chains": [
                {
                    "chain": coin,
                    "chainType": coin,
                    "confirmation": "1",
                    "withdrawFee": "0",
                    "depositMin": "0",
                    "withdrawMin": "0",
                    "minAccuracy": "8",
                    "chainDeposit": "0",
                    "chainWithdraw": "0",
                    "withdrawPercentageFee": "0",
                    "contractAddress": "",
                }
            ],
        }
        for coin in venue.assets
        if wanted in ("", coin)
    ]
    return {"rows": rows}

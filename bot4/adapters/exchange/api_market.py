"""Answers about the market: anybody may ask."""

from collections.abc import Callable
from typing import Any

from bot4.adapters.exchange.api import Call
from bot4.adapters.exchange.market import Aggregate, Bar, Trade, window_ms
from bot4.adapters.exchange.number import E8, text_e8
from bot4.adapters.exchange.refusal import Refused, one_of
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Venue

DAY_MS = 86_400_000
_MAX_ROWS = 1_000
_MAX_DEPTH = 5_000
_MAX_WINDOW_SYMBOLS = 100
_WIDTH_BASE = E8


def _limit(values: dict[str, Any], default: int, most: int) -> int:
    limit = values.get("limit", default)
    if limit == 0:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def ping(venue: Venue, call: Call) -> Any:
    """Nothing but an answer."""
    return {}


def time(venue: Venue, call: Call) -> Any:
    """The venue's clock."""
    return {"serverTime": call.now_ms}


def system_status(venue: Venue, call: Call) -> Any:
    """Whether the venue is closed for maintenance."""
    return {"status": 1, "msg": "system_maintenance"} if venue.is_closed else {"status": 0, "msg": "normal"}


def exchange_info(venue: Venue, call: Call) -> Any:
    """Symbols, their filters, and the limits."""
    values = call.values
    if "symbol" in values and "symbols" in values:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    names = [values["symbol"]] if "symbol" in values else values.get("symbols")
    symbols = list(venue.by_index) if names is None else [venue.symbol(name) for name in names]
    if "symbolStatus" in values:
        symbols = [symbol for symbol in symbols if symbol.status == values["symbolStatus"]]
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "rateLimits": venue.limits.info(),
        "exchangeFilters": [],
        "symbols": [symbol.info() for symbol in symbols],
    }


def _levels(levels: list[tuple[int, int]]) -> list[list[str]]:
    return [[text_e8(price), text_e8(qty)] for price, qty in levels]


def book(venue: Venue, symbol: Symbol, limit: int) -> dict:
    """The best levels of both sides and the update they belong to."""
    return {
        "lastUpdateId": venue.update_ids[symbol.index],
        "bids": _levels(venue.core.depth(symbol, True, limit)),
        "asks": _levels(venue.core.depth(symbol, False, limit)),
    }


def depth(venue: Venue, call: Call) -> Any:
    """The book."""
    symbol = venue.symbol(call.values["symbol"])
    return book(venue, symbol, _limit(call.values, 100, _MAX_DEPTH))


def depth_weight(values: dict[str, Any]) -> int:
    """More levels weigh more."""
    limit = values.get("limit", 100)
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1_000 else 250


def _trade(trade: Trade) -> dict:
    return {
        "id": trade.trade_id,
        "price": text_e8(trade.price_e8),
        "qty": text_e8(trade.qty_e8),
        "quoteQty": text_e8(trade.price_e8 * trade.qty_e8 // E8),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_maker,
        "isBestMatch": True,
    }


def trades(venue: Venue, call: Call) -> Any:
    """The last trades."""
    tape = venue.tapes[venue.symbol(call.values["symbol"]).index]
    limit = _limit(call.values, 500, _MAX_ROWS)
    return [_trade(trade) for trade in list(tape.trades)[-limit:]]


def historical_trades(venue: Venue, call: Call) -> Any:
    """Trades from an id on."""
    tape = venue.tapes[venue.symbol(call.values["symbol"]).index]
    limit = _limit(call.values, 500, _MAX_ROWS)
    since = call.values.get("fromId")
    rows = list(tape.trades)
    chosen = rows[-limit:] if since is None else [trade for trade in rows if trade.trade_id >= since][:limit]
    return [_trade(trade) for trade in chosen]


def _aggregate(trade: Aggregate) -> dict:
    return {
        "a": trade.aggregate_id,
        "p": text_e8(trade.price_e8),
        "q": text_e8(trade.qty_e8),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": trade.time_ms,
        "m": trade.buyer_maker,
        "M": True,
    }


def agg_trades(venue: Venue, call: Call) -> Any:
    """Aggregate trades, from an id, within a time, or the last ones."""
    values = call.values
    tape = venue.tapes[venue.symbol(values["symbol"]).index]
    limit = _limit(values, 500, _MAX_ROWS)
    since, start, end = values.get("fromId"), values.get("startTime"), values.get("endTime")
    if since is not None and (start is not None or end is not None):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    rows = [
        trade
        for trade in tape.aggregates
        if (since is None or trade.aggregate_id >= since)
        and (start is None or trade.time_ms >= start)
        and (end is None or trade.time_ms <= end)
    ]
    return [_aggregate(trade) for trade in (rows[-limit:] if since is None and start is None else rows[:limit])]


def klines(venue: Venue, call: Call) -> Any:
    """Bars."""
    values = call.values
    tape = venue.tapes[venue.symbol(values["symbol"]).index]
    return tape.bars(values["interval"], call.now_ms, values.get("startTime"), values.get("endTime"),
                     _limit(values, 500, _MAX_ROWS))  # fmt: skip


def avg_price(venue: Venue, call: Call) -> Any:
    """The average of the last five minutes."""
    symbol = venue.symbol(call.values["symbol"])
    tape = venue.tapes[symbol.index]
    close_ms = tape.trades[-1].time_ms if tape.trades else call.now_ms
    return {"mins": 5, "price": text_e8(venue.average_e8(symbol, 5)), "closeTime": close_ms}


# --- tickers ---


def _each(venue: Venue, call: Call, answer: Callable[[Symbol], dict], needed: bool = False) -> Any:
    """One symbol as an object, several or all as a list."""
    values = call.values
    if "symbol" in values and "symbols" in values:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    if "symbol" in values:
        return answer(venue.symbol(values["symbol"]))
    if "symbols" in values:
        return [answer(venue.symbol(name)) for name in values["symbols"]]
    if needed:
        raise one_of("symbol", "symbols")
    return [answer(symbol) for symbol in venue.by_index]


def price_ticker(venue: Venue, call: Call) -> Any:
    """The last price."""
    return _each(
        venue, call, lambda symbol: {"symbol": symbol.name, "price": text_e8(venue.tapes[symbol.index].last_e8)}
    )


def _best(venue: Venue, symbol: Symbol) -> dict:
    bid, ask = venue.best(symbol)
    return {
        "bidPrice": text_e8(bid[0]),
        "bidQty": text_e8(bid[1]),
        "askPrice": text_e8(ask[0]),
        "askQty": text_e8(ask[1]),
    }


def book_ticker(venue: Venue, call: Call) -> Any:
    """The best bid and ask."""
    return _each(venue, call, lambda symbol: {"symbol": symbol.name} | _best(venue, symbol))


def _ratio_text(change_e8: int, open_e8: int) -> str:
    thousandths = change_e8 * 100_000 // open_e8 if open_e8 else 0
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{abs(thousandths) // 1000}.{abs(thousandths) % 1000:03d}"


def average_of(bar: Bar) -> int:
    """The average price of a bar by volume."""
    return bar.quote_e8 * E8 // bar.qty_e8 if bar.qty_e8 else bar.close_e8


def statistics(venue: Venue, symbol: Symbol, now_ms: int, window: int, full: bool) -> dict:
    """What was traded of a symbol within `window` ms."""
    tape = venue.tapes[symbol.index]
    bar = tape.statistics(now_ms, window)
    change_e8 = bar.close_e8 - bar.open_e8
    answer: dict = {"symbol": symbol.name}
    if full:
        answer |= {
            "priceChange": text_e8(change_e8),
            "priceChangePercent": _ratio_text(change_e8, bar.open_e8),
            "weightedAvgPrice": text_e8(average_of(bar)),
        }
    answer |= {
        "openPrice": text_e8(bar.open_e8),
        "highPrice": text_e8(bar.high_e8),
        "lowPrice": text_e8(bar.low_e8),
        "lastPrice": text_e8(bar.close_e8),
        "volume": text_e8(bar.qty_e8),
        "quoteVolume": text_e8(bar.quote_e8),
        "openTime": now_ms - window,
        "closeTime": now_ms,
        "firstId": bar.first_id,
        "lastId": bar.last_id,
        "count": bar.count,
    }
    return answer


def ticker_day(venue: Venue, call: Call) -> Any:
    """Statistics of the last 24 hours."""
    full = call.values.get("type", "FULL") == "FULL"

    def answer(symbol: Symbol) -> dict:
        found = statistics(venue, symbol, call.now_ms, DAY_MS, full)
        if full:
            tape = venue.tapes[symbol.index]
            last = tape.trades[-1].qty_e8 if tape.trades else 0
            found |= {"prevClosePrice": found["openPrice"], "lastQty": text_e8(last)} | _best(venue, symbol)
        return found

    return _each(venue, call, answer)


def ticker_window(venue: Venue, call: Call) -> Any:
    """Statistics of a window of one's choice."""
    window = window_ms(call.values.get("windowSize", "1d"))
    if not 60_000 <= window <= 7 * DAY_MS:
        raise Refused(-1130, "Data sent for parameter 'windowSize' is not valid.")
    full = call.values.get("type", "FULL") == "FULL"
    return _each(venue, call, lambda symbol: statistics(venue, symbol, call.now_ms, window, full), needed=True)


def ticker_trading_day(venue: Venue, call: Call) -> Any:
    """Statistics since midnight."""
    full = call.values.get("type", "FULL") == "FULL"
    window = call.now_ms % DAY_MS + 1
    return _each(venue, call, lambda symbol: statistics(venue, symbol, call.now_ms, window, full), needed=True)


def by_symbol(one: int, several: int) -> Callable[[dict[str, Any]], int]:
    """Weight of an endpoint that answers of one symbol or of many."""
    return lambda values: one if "symbol" in values else several

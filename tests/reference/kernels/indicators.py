"""Slow twins of bot4/kernels/indicators: whole series in, whole series out, written as the textbooks have them."""

import itertools
import math
from fractions import Fraction


def ema(values, period):
    """Simple mean of the first `period` values, then value * k + previous * (1 - k); None before."""
    out = [None] * len(values)
    k = 2 / (period + 1)
    for i in range(period - 1, len(values)):
        if i == period - 1:
            out[i] = sum(values[:period]) / period
        else:
            out[i] = values[i] * k + out[i - 1] * (1 - k)
    return out


def rsi(values, period):
    """100 * mean gain / (mean gain + mean loss) with Wilder's smoothing; None before."""
    out = [None] * len(values)
    changes = [b - a for a, b in itertools.pairwise(values)]
    gain = loss = 0.0
    for i, change in enumerate(changes, start=1):
        up, down = max(change, 0.0), max(-change, 0.0)
        if i < period:
            continue
        if i == period:
            gain = sum(max(c, 0.0) for c in changes[:period]) / period
            loss = sum(max(-c, 0.0) for c in changes[:period]) / period
        else:
            gain = (gain * (period - 1) + up) / period
            loss = (loss * (period - 1) + down) / period
        out[i] = 100 * gain / (gain + loss) if gain + loss else 0.0
    return out


def atr(bars, period):
    """Wilder's mean of the true ranges of (high, low, close) bars; None before."""
    out = [None] * len(bars)
    ranges = []
    for i in range(1, len(bars)):
        high, low, _ = bars[i]
        last = bars[i - 1][2]
        ranges.append(max(high - low, abs(high - last), abs(low - last)))
        if i == period:
            out[i] = sum(ranges) / period
        elif i > period:
            out[i] = (out[i - 1] * (period - 1) + ranges[-1]) / period
    return out


def macd(values, fast, slow, signal):
    """[(macd, signal, histogram)], the averages seeded where the slow one's first mean is complete; None before."""
    quick = [None] * (slow - fast) + ema(values[slow - fast :], fast)
    lazy = ema(values, slow)
    difference = [a - b for a, b in zip(quick, lazy, strict=True) if b is not None]
    smooth = ema(difference, signal)
    rows = [None if s is None else (d, s, d - s) for d, s in zip(difference, smooth, strict=True)]
    return [None] * (len(values) - len(rows)) + rows


def bollinger(values, period):
    """[(mean, population standard deviation)] of the last `period` values in exact fractions; None before."""
    out = [None] * len(values)
    for i in range(period - 1, len(values)):
        window = [Fraction(value) for value in values[i - period + 1 : i + 1]]
        mean = sum(window) / period
        out[i] = (float(mean), math.sqrt(sum((value - mean) ** 2 for value in window) / period))
    return out


def vwap(trades):
    """[average] of (ts_ns, price, quantity) trades since each one's UTC day began, in exact fractions."""
    out = []
    for i, (now, _, _) in enumerate(trades):
        day = [(p, q) for t, p, q in trades[: i + 1] if t // 86_400_000_000_000 == now // 86_400_000_000_000]
        out.append(float(Fraction(sum(p * q for p, q in day), sum(q for _, q in day))))
    return out


def microprice(bid, bid_lots, ask, ask_lots):
    """Mid weighted by the opposite sizes."""
    total = bid_lots + ask_lots
    return float(Fraction(bid * ask_lots + ask * bid_lots, total)) if total else (bid + ask) / 2


def imbalance(bid_lots, ask_lots):
    """Difference over sum of two sizes."""
    return float(Fraction(bid_lots - ask_lots, bid_lots + ask_lots)) if bid_lots + ask_lots else 0.0


MOST = 2**62 - 1  # where sums of a bar stop
BAR_FIELDS = ("open", "high", "low", "close", "volume", "buy_volume", "turnover", "trades", "begin_ns", "end_ns")


def bar_row(trades, kind, span):
    """BAR_FIELDS of the bar that these (ts_ns, price, lots, side) trades make; its end as of a closed one."""
    begin, end = trades[0][0], trades[-1][0]
    if kind == 0 and span:
        begin = begin // span * span
        end = begin + span
    prices = [price for _, price, _, _ in trades]
    sums = (
        sum(lots for _, _, lots, _ in trades),
        sum(lots for _, _, lots, side in trades if side > 0),
        sum(price * lots for _, price, lots, _ in trades),
    )
    ends = (float(prices[0]), float(max(prices)), float(min(prices)), float(prices[-1]))
    return dict(zip(BAR_FIELDS, (*ends, *(min(total, MOST) for total in sums), len(trades), begin, end), strict=True))


def bar_is_full(trades, kind, span, size, value_e8):
    """Whether the rule closes a bar of these trades by itself."""
    if kind == 0:
        return span == 0
    if kind == 1:
        return len(trades) == size
    if kind == 2:
        return min(sum(lots for _, _, lots, _ in trades), MOST) >= size
    return min(sum(price * lots for _, price, lots, _ in trades), MOST) * value_e8 >= size


def bars(trades, kind, span, size=0, value_e8=1):
    """(closed bars, trades of the open one) of (ts_ns, price, lots, side) trades; kinds: time, tick, volume, dollar.

    A span without a trade makes no bar; a trade that overfills one closes it and is not split.
    """
    closed, inside = [], []
    for trade in trades:
        if kind == 0 and span and inside and inside[0][0] // span != trade[0] // span:
            closed.append(bar_row(inside, kind, span))
            inside = []
        inside.append(trade)
        if bar_is_full(inside, kind, span, size, value_e8):
            closed.append(bar_row(inside, kind, span))
            inside = []
    return closed, inside

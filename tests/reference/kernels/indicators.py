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


def bars(trades, span):
    """[(open, high, low, close, volume)] of (ts_ns, price, quantity) trades; a span without a trade makes no bar."""
    spans = {}
    for ts, price, lots in trades:
        spans.setdefault(ts // span, []).append((price, lots))
    return [
        (row[0][0], max(p for p, _ in row), min(p for p, _ in row), row[-1][0], sum(q for _, q in row))
        for _, row in sorted(spans.items())
    ]

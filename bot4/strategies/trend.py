"""Trend following on short bars: moving averages give the direction, three others confirm it.

    direction      EMA fast against slow, and the MACD histogram, both in average true ranges
    confirmation   RSI around 50, place within the Bollinger bands, imbalance of the book (this one at every tick)

It shows how a strategy is written: a table of parameters, a record of state, four functions. The engine supplies bars,
average true range, quote, microprice and imbalance in `view`; what else it needs a strategy keeps in its own state. It
is meant to exercise the pipeline and promises no profit.

Contract: PARAMETERS begins with TRADING; PARAMS is its record; STATE has a field `warm`, 1 once the score may be used;
`on_tick` returns the score, -1 (short) .. +1 (long), and is also called before that. `refuse` is optional.

Bars: `bar_kind` with `bar_ns` or `bar_size`, both of TRADING, say what fills one (kernels/indicators/bar.py). When one
has closed, `view` holds it (open, high, low, close, volume, buy_volume, turnover, bar_trades, bar_begin_ns,
bar_end_ns), then `on_bar` is called, once a bar: before the trade that ended a time bar by its time, after the trade
that filled any other. `on_tick` follows at the end of the message. After a gap in the data, bars and strategy begin
anew. Trades that are no price of the market (an insurance fund's, a block trade) are in no bar.
"""

from collections.abc import Mapping

import numpy as np

from bot4.jit import inlined
from bot4.kernels.indicators.bollinger import (
    BOLLINGER,
    bollinger_init,
    bollinger_ready,
    bollinger_score,
    bollinger_update,
)
from bot4.kernels.indicators.ema import EMA, ema_init, ema_ready, ema_update
from bot4.kernels.indicators.macd import MACD, macd_init, macd_ready, macd_update
from bot4.kernels.indicators.rsi import RSI, rsi_init, rsi_ready, rsi_update
from bot4.kernels.parameter import TRADING, Parameter, record_dtype

PARAMETERS = (
    *TRADING,
    Parameter("fast_period", 5, 1, 10_000, "bars of the fast moving average"),
    Parameter("slow_period", 12, 2, 10_000, "bars of the slow moving average"),
    Parameter("signal_period", 4, 1, 10_000, "bars of the MACD's signal"),
    Parameter("rsi_period", 7, 1, 10_000, "bars of the RSI"),
    Parameter("band_period", 10, 2, 64, "bars of the Bollinger bands"),
    Parameter("trend_weight", 0.4, 0.0, 1.0, "share of the moving averages in the score"),
    Parameter("macd_weight", 0.2, 0.0, 1.0, "share of the MACD histogram"),
    Parameter("rsi_weight", 0.1, 0.0, 1.0, "share of the RSI"),
    Parameter("band_weight", 0.1, 0.0, 1.0, "share of the place within the bands"),
    Parameter("imbalance_weight", 0.2, 0.0, 1.0, "share of the book's imbalance"),
)
PARAMS = record_dtype(PARAMETERS)
STATE = np.dtype(
    [
        ("warm", "i8"),
        ("bar_score", "f8"),  # everything but the imbalance; changes with bars alone
        ("fills", "i8"),
        ("fast", EMA),
        ("slow", EMA),
        ("rsi", RSI),
        ("macd", MACD),
        ("band", BOLLINGER),
    ]
)


def refuse(values: Mapping[str, int | float]) -> str:
    """What the table alone cannot show; "" if nothing is wrong. values : [strategy.params], each field checked."""
    if values["fast_period"] >= values["slow_period"]:
        return (
            f"fast_period: {values['fast_period']} is not below slow_period = {values['slow_period']}; "
            "the fast average must be the shorter one"
        )
    return ""


@inlined
def squash(value):
    """Any finite number into -1 .. 1, monotone, 0 to 0; cheaper than a hyperbolic tangent."""
    return value / (1.0 + abs(value))


@inlined
def init(params, state):
    """Empty indicators. params : PARAMS; state : STATE, zeroed."""
    ema_init(state["fast"], params["fast_period"])
    ema_init(state["slow"], params["slow_period"])
    rsi_init(state["rsi"], params["rsi_period"])
    macd_init(state["macd"], params["fast_period"], params["slow_period"], params["signal_period"])
    bollinger_init(state["band"], params["band_period"])


@inlined
def on_bar(params, state, view):
    """A bar has closed: move the indicators on. view : VIEW."""
    close = view["close"]
    fast = ema_update(state["fast"], close)
    slow = ema_update(state["slow"], close)
    histogram = macd_update(state["macd"], close)
    rsi = rsi_update(state["rsi"], close)
    bollinger_update(state["band"], close)
    unit = view["atr"] if view["atr"] > 0.0 else 1.0
    state["bar_score"] = (
        params["trend_weight"] * squash((fast - slow) / unit)
        + params["macd_weight"] * squash(histogram / unit)
        + params["rsi_weight"] * (rsi - 50.0) / 50.0
        + params["band_weight"] * squash(bollinger_score(state["band"], close))
    )
    if (
        ema_ready(state["slow"])
        and macd_ready(state["macd"])
        and rsi_ready(state["rsi"])
        and bollinger_ready(state["band"])
    ):
        state["warm"] = 1


@inlined
def on_tick(params, state, view):
    """The score now. view : VIEW."""
    score = state["bar_score"] + params["imbalance_weight"] * view["imbalance"]
    return max(min(score, 1.0), -1.0)  # in this order of arguments a NaN stays one, and the engine refuses it


@inlined
def on_fill(params, state, view):
    """One of our orders filled (`view["fill_*"]`). Nothing to learn from it here but the count."""
    state["fills"] += 1

"""From journal records to what the report draws: fills, round trips, samples, series thinned but for their extremes."""

from typing import NamedTuple

import numpy as np

from bot4.adapters.files.digest import fill_records
from bot4.model.records import JOURNAL_SAMPLE
from bot4.model.units import E8

MAX_POINTS = 2_000  # per drawn series: more than a screen has columns, little enough to be sent by mail
_FIELDS = ("ts_ns", "instrument", "side", "leg", "price_ticks", "qty_lots", "fee_e8", "trade_id")
FILL = np.dtype([(name, "i8") for name in _FIELDS])


class Sample(NamedTuple):
    """One instrument's samples, in order of time; all arrays of one length."""

    ts_ns: np.ndarray  # int64
    mid: np.ndarray  # float64, quote currency, of samples that have a bid and an ask
    position: np.ndarray  # int64, lots


class EquityCurve(NamedTuple):
    """The account's equity, one value per time; all arrays of one length."""

    ts_ns: np.ndarray  # int64
    equity: np.ndarray  # float64, quote currency
    drawdown: np.ndarray  # float64, ratio of the high-water mark, at most 0


def fills_of(records: np.ndarray) -> np.ndarray:
    """Every fill that the journal holds, in the order in which execution applied them.

    Parameters
    ----------
    records : JOURNAL[n]

    Returns
    -------
    FILL[m]; `ts_ns` is the time at the venue where it is known, else the time of delivery
    """
    journal, body = fill_records(records)
    fills = np.zeros(len(body), FILL)
    fills["ts_ns"] = np.where(body["t_venue_ns"] > 0, body["t_venue_ns"], journal["ts_ns"])
    for name in _FIELDS[1:]:
        fills[name] = body[name]
    return fills[np.argsort(journal["seq"], kind="stable")]


def round_trips(fills: np.ndarray, instruments: np.ndarray) -> list[int]:
    """Profit after fees, in 1e-8 of the quote currency, of each round trip: from flat to flat, or to the other side.

    A fill that turns the position ends one round trip and starts the next; its fee goes to each by quantity.
    """
    return [profit for _, profit in closed_trips(fills, instruments)]


def closed_trips(fills: np.ndarray, instruments: np.ndarray) -> list[tuple[int, int]]:
    """(row of the fill that ended it, profit after fees in 1e-8) of each round trip, in the order of their ends."""
    lots = [0] * len(instruments)
    flow = [0] * len(instruments)  # what the open round trip has earned so far, had its position no value
    trips = []
    for row, (_, i, side, _, price, quantity, fee, _) in enumerate(fills.tolist()):
        value = int(instruments[i]["value_e8"])
        closing = min(quantity, abs(lots[i])) if lots[i] * side < 0 else 0
        closing_fee = fee * closing // quantity if quantity else 0
        if closing:
            lots[i] += side * closing
            flow[i] -= side * closing * price * value + closing_fee
            if lots[i] == 0:
                trips.append((row, flow[i]))
                flow[i] = 0
        opening = quantity - closing
        if opening:
            lots[i] += side * opening
            flow[i] -= side * opening * price * value + fee - closing_fee
    return trips


def samples_of(records: np.ndarray, i: int, tick_e8: int) -> Sample:
    """The samples of instrument `i` that have a bid and an ask."""
    chosen = records[(records["type"] == JOURNAL_SAMPLE) & (records["instrument"] == i)]
    chosen = chosen[(chosen["bid_ticks"] > 0) & (chosen["ask_ticks"] > 0)]
    chosen = chosen[np.argsort(chosen["ts_ns"], kind="stable")]
    mid = (chosen["bid_ticks"] + chosen["ask_ticks"]) * (tick_e8 / (2 * E8))
    return Sample(chosen["ts_ns"].copy(), mid, chosen["position_lots"].copy())


def equity_of(records: np.ndarray) -> EquityCurve:
    """Equity and drawdown over all samples; of several at one time the last counts."""
    chosen = records[records["type"] == JOURNAL_SAMPLE]
    chosen = chosen[np.argsort(chosen["ts_ns"], kind="stable")]
    last = np.append(chosen["ts_ns"][1:] != chosen["ts_ns"][:-1], True) if len(chosen) else np.zeros(0, bool)
    chosen = chosen[last]
    high = chosen["high_water_e8"]
    ratio = np.divide(chosen["equity_e8"] - high, high, out=np.zeros(len(chosen)), where=high > 0)
    return EquityCurve(chosen["ts_ns"].copy(), chosen["equity_e8"] / E8, np.minimum(ratio, 0.0))


def lowest_drawdown(records: np.ndarray) -> float:
    """Largest fall below the high-water mark at any sample, as a positive ratio; 0 without samples."""
    drawdown = equity_of(records).drawdown
    return round(float(-drawdown.min()), 9) + 0.0 if len(drawdown) else 0.0


def thin(values: np.ndarray, max_points: int = MAX_POINTS) -> np.ndarray:
    """Indices of at most `max_points` values that keep the first, the last, and every bucket's smallest and largest.

    Parameters
    ----------
    values : any numeric array, length n
    max_points : at least 4

    Returns
    -------
    int64[<= max_points], increasing
    """
    n = len(values)
    if n <= max_points:
        return np.arange(n)
    edges = np.linspace(0, n, (max_points - 2) // 2 + 1).astype(np.int64)
    kept = {0, n - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:end]
        kept.update((start + int(part.argmin()), start + int(part.argmax())))
    return np.array(sorted(kept))

"""Parameters of a strategy: one documented table makes the record for the kernels, the defaults and the refusals.

Every strategy has the fields of TRADING, which the engine reads, followed by its own. Cold path only.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bot4.model.errors import SettingsError

SECOND_NS = 1_000_000_000


class Parameter(NamedTuple):
    """One number that a strategy takes from `[strategy.params]`; its type is that of `default`."""

    name: str
    default: int | float
    low: int | float
    high: int | float
    meaning: str


TRADING = (
    Parameter("bar_ns", SECOND_NS // 4, 0, 86_400 * SECOND_NS, "length of a time bar; 0: each trade is a bar"),
    Parameter("bar_kind", 0, 0, 3, "what fills a bar: 0 time, 1 trades, 2 lots, 3 turnover"),
    Parameter("bar_size", 0, 0, 2**62 - 1, "trades, lots, or 1e-8 of the quote currency in a bar; 0 for time bars"),
    Parameter("enter_threshold", 0.28, 0.0, 1.0, "score from which a position is opened"),
    Parameter("exit_threshold", 0.0, -1.0, 1.0, "score at which it is closed again"),
    Parameter(
        "min_hold_ns",
        SECOND_NS // 4,
        0,
        86_400 * SECOND_NS,
        "the strategy keeps a position this long; stops do not wait",
    ),
    Parameter(
        "max_hold_ns", 0, 0, 30 * 86_400 * SECOND_NS, "a position is closed after this, whatever the score; 0: never"
    ),
    Parameter("position_fraction_bps", 150, 1, 10_000, "value of a position as a share of equity, at most"),
    Parameter("sizing", 0, 0, 3, "0: that share, 1: quarter Kelly, 2: volatility target, 3: value-at-risk budget"),
    Parameter(
        "sizing_budget_bps", 1.0, 0.001, 1_000.0, "of equity: what an average range may move (2), or may be lost (3)"
    ),
    Parameter("atr_period", 7, 1, 10_000, "bars of the average true range that sets the stop"),
    Parameter("stop_atr_multiple", 1.2, 0.0, 100.0, "distance of the stop in average true ranges"),
    Parameter("stop_min_bps", 0.8, 0.0, 5_000.0, "least distance of the stop"),
    Parameter("stop_trails", 0, 0, 1, "1: the stop follows the price at the distance that it began with"),
    Parameter("even_atr_multiple", 0.0, 0.0, 100.0, "average ranges gained that move the stop to the cost; 0: none do"),
    Parameter(
        "profit_atr_multiple", 0.0, 0.0, 1_000.0, "average ranges from the entry's price to its take-profit; 0: none"
    ),
    Parameter("slippage_ticks", 1, 0, 1_000_000, "how far beyond the best price a taking entry may fill"),
    Parameter("entry_style", 0, 0, 1, "0: limit at the touch, immediate or cancel; 1: post-only, resting"),
    Parameter("entry_life_ns", 2 * SECOND_NS, 0, 86_400 * SECOND_NS, "a resting entry is cancelled after this"),
    Parameter("entry_slices", 0, 0, 200, "execution works an entry in so many parts; 0: it goes out as a whole"),
    Parameter("slice_ms", 0, 0, 6_553_500, "taking: time between two parts, in whole tenths of a second; resting: 0"),
    Parameter("imbalance_levels", 1, 1, 100, "levels of the book in the imbalance; 1: the best quote alone"),
)


_FILLED_BY = ("", "trades", "lots", "1e-8 of the quote currency")  # by bar_kind


def refuse_bars(values: Mapping[str, int | float]) -> str:
    """What is wrong with the rule of bars, though each of its fields is in bounds; "" if nothing is."""
    kind, size, length_ns = (values[name] for name in ("bar_kind", "bar_size", "bar_ns"))
    if kind == 0 and size != 0:
        return f"bar_size: {size}, but time bars (bar_kind = 0) have their length in bar_ns; write bar_size = 0"
    if kind != 0 and size == 0:
        return f"bar_size: 0 is not allowed with bar_kind = {kind}; write how many {_FILLED_BY[int(kind)]} fill a bar"
    if kind != 0 and length_ns != 0:
        return f"bar_ns: {length_ns} is a length of time bars, but bar_kind = {kind}; write bar_ns = 0"
    return ""


def refuse_thresholds(values: Mapping[str, int | float]) -> str:
    """What is wrong with the scores that open and close, though each is in bounds; "" if nothing is."""
    enter, leave = values["enter_threshold"], values["exit_threshold"]
    if leave > enter:
        return (
            f"exit_threshold: {leave} is above enter_threshold = {enter}, so it would never be what closes a "
            f"position; write at most {enter}"
        )
    return ""


def refuse_sizing(values: Mapping[str, int | float]) -> str:
    """What is wrong with how entries are sized, though each field is in bounds; "" if nothing is."""
    if values["sizing"] == 3 and values["bar_ns"] == 0:
        return "sizing: 3 reads the moves from bars of a known length; write time bars (bar_ns), or another sizing"
    return ""


def refuse_slices(values: Mapping[str, int | float]) -> str:
    """What is wrong with how entries are cut, though each field is in bounds; "" if nothing is."""
    slices, wait_ms, style = (values[name] for name in ("entry_slices", "slice_ms", "entry_style"))
    if slices == 1:
        return "entry_slices: 1 part is the whole; write 0, or 2 and more"
    if wait_ms != 0 and (slices == 0 or style == 1):
        return f"slice_ms: {wait_ms} is a time between parts of a taking entry; write 0, or entry_slices with style 0"
    if slices > 1 and style == 0 and (wait_ms == 0 or wait_ms % 100 != 0):
        return f"slice_ms: {wait_ms}, but parts of a taking entry are whole tenths of a second apart; write 1000"
    return ""


def record_dtype(table: tuple[Parameter, ...]) -> np.dtype:
    """Record of a table's numbers in its order: int64 where the default is an int, else float64."""
    return np.dtype([(row.name, "i8" if isinstance(row.default, int) else "f8") for row in table])


def defaults(table: tuple[Parameter, ...]) -> dict[str, int | float]:
    """The table's own values, as `[strategy.params]` would give them."""
    return {row.name: row.default for row in table}


def parameters(table: tuple[Parameter, ...], values: Mapping[str, int | float]) -> np.ndarray:
    """One record of `record_dtype(table)`; SettingsError names a missing, unknown, ill-typed or out-of-range field."""
    known = {row.name for row in table}
    for name in values:
        if name not in known:
            raise SettingsError(
                f"strategy.params.{name}: the strategy knows no such parameter; it has {', '.join(sorted(known))}"
            )
    record = np.zeros(1, record_dtype(table))
    for row in table:
        field = f"strategy.params.{row.name}"
        if row.name not in values:
            raise SettingsError(f"{field}: missing; write {row.name} = {row.default} ({row.meaning})")
        value = values[row.name]
        whole = isinstance(row.default, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise SettingsError(f"{field}: {value!r} is not {'a whole number' if whole else 'a number'}")
        if not row.low <= value <= row.high:
            raise SettingsError(f"{field}: {value} is outside {row.low} to {row.high} ({row.meaning})")
        record[0][row.name] = value
    return record

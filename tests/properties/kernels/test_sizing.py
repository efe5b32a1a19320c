"""Size of entries against the twin, what an instrument's checks allow, and Kelly's own examples."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference.kernels import sizing as twin
from rig.tables import instruments, limits

from bot4.engine.shard import BUILT_IN
from bot4.jit import kernel
from bot4.kernels.parameter import defaults, parameters
from bot4.kernels.risk.order_checks import check_order
from bot4.kernels.risk.view import RISK_VIEW
from bot4.kernels.sizing.entry import size_entry
from bot4.kernels.sizing.kelly import EVIDENCE, KELLY_CAP_BPS, kelly_growth, kelly_share, quarter_kelly_bps
from bot4.kernels.state import SHARD_STATE
from bot4.model.enums import (
    ACTION_PLACE,
    OK,
    RISK_MIN_NOTIONAL,
    SIZED_BY,
    SIZED_BY_EVIDENCE,
    SIZED_BY_KELLY,
    TIF_IOC,
    TYPE_LIMIT,
)
from bot4.model.records import ORDER_INTENT
from bot4.strategies.trend import PARAMETERS

BID, ASK = 6_000_000, 6_000_001
SECOND = 10**9
assert BUILT_IN == "bot4.strategies.trend"


@kernel
def _size(params, state, atr, side, price, stop, risk, instrument, table):
    """The inlined function by itself."""
    return size_entry(params, state, atr, side, price, stop, risk, instrument, table)


@kernel
def _check(order, view, instrument, table):
    """The inlined function by itself."""
    return check_order(order, view, instrument, table)


def statistics(results):
    """SHARD_STATE with so many closed positions."""
    state = np.zeros(1, SHARD_STATE)
    won, lost = [one for one in results if one > 0], [-one for one in results if one <= 0]
    state["trips"], state["wins"], state["won_ppb"], state["lost_ppb"] = len(results), len(won), sum(won), sum(lost)
    return state


def entry(results=(), atr=3_000.0, side=1, limit_changes=(), view_changes=(), spot=False, **values):
    """(lots, what decided them), by kernel and twin, and what the checks of the instrument say of such an order."""
    given_ = defaults(PARAMETERS) | values
    table, tables = instruments(1, spot=spot), limits(**dict(limit_changes))
    risk = np.zeros(1, RISK_VIEW)
    risk["bid_ticks"], risk["ask_ticks"], risk["equity_e8"], risk["quote_ts_ns"] = BID, ASK, 10**13, SECOND
    for name, value in dict(view_changes).items():
        risk[name] = value
    price = ASK if side > 0 else BID
    stop = price - side * 60_000
    arguments = atr, side, price, stop, risk[0], table[0], tables[0]
    found = _size(parameters(PARAMETERS, given_)[0], statistics(results)[0], *arguments)
    plain = [dict(zip(row.dtype.names, row.item(), strict=True)) for row in (risk[0], table[0], tables[0])]
    expected = twin.entry(given_, results, atr, side, price, stop, *plain)
    order = np.zeros(1, ORDER_INTENT)
    order["ts_ns"], order["action"], order["type"], order["tif"] = SECOND, ACTION_PLACE, TYPE_LIMIT, TIF_IOC
    order["side"] = side
    order["price_ticks"], order["qty_lots"], order["stop_ticks"] = price, found[0], stop
    code = _check(order[0], risk[0], table[0], tables[0]) if found[0] else OK
    return (int(found[0]), int(found[1])), expected, code


RESULTS = st.one_of(
    st.lists(st.integers(-50_000_000, 50_000_000), max_size=80),
    st.lists(st.integers(-200_000_000, 250_000_000), min_size=EVIDENCE, max_size=80),
)


@settings(deadline=None, max_examples=300)
@given(
    results=RESULTS, atr=st.floats(0.0, 50_000.0), side=st.sampled_from([1, -1]), method=st.integers(0, 3),
    budget=st.floats(0.001, 50.0), fraction=st.integers(1, 1_000), bar_s=st.sampled_from([1, 60, 3_600]),
    position=st.integers(1, 400), notional=st.integers(1, 5_000), most=st.integers(1, 10**5),
    stop_loss=st.integers(1, 300), held=st.integers(-3_000, 3_000), pending=st.integers(0, 500), spot=st.booleans(),
)  # fmt: skip
def test_equal_to_the_twin_and_never_more_than_the_checks_allow(
    results, atr, side, method, budget, fraction, bar_s, position, notional, most, stop_loss, held, pending, spot
):
    assume(not spot or side > 0)
    found, expected, code = entry(
        results, atr, side,
        {"position_bps": position, "order_notional_e8": notional * 10**8, "order_lots": most, "var_horizon_s": 3_600,
         "stop_loss_bps": stop_loss, "stop_bps": 1_000},
        {"position_lots": held, "pending_buy_lots": pending, "pending_sell_lots": pending}, spot,
        sizing=method, sizing_budget_bps=budget, position_fraction_bps=fraction, bar_ns=bar_s * SECOND,
    )  # fmt: skip
    assert found == expected
    assert 0 <= found[1] < len(SIZED_BY)
    if method:
        assert code in (OK, RISK_MIN_NOTIONAL)


@settings(deadline=None, max_examples=200)
@given(p=st.floats(0.01, 0.99), win=st.floats(0.01, 5.0), loss=st.floats(0.01, 1.0))
def test_the_share_makes_the_account_grow_fastest(p, win, loss):
    share = float(kelly_share(p, win, loss))
    assert share == pytest.approx(twin.kelly(p, win, loss), abs=1e-9 * max(1.0, abs(share)) + 1e-9)
    best = kelly_growth(p, win, loss, share) if share * loss < 1 else 0.0
    for other in (share - 0.01, share + 0.01):
        if abs(share) * loss < 0.9 and -0.9 < other * win and other * loss < 0.9 and -0.9 < share * win:
            assert kelly_growth(p, win, loss, other) < best


@pytest.mark.data
def test_the_published_examples(data_dir):
    kelly, thorp = json.loads((data_dir / "references" / "published_numbers.json").read_text())["kelly"]
    p, b = kelly["inputs"]["p"], kelly["inputs"]["b"]
    assert kelly_share(p, float(b), 1.0) == pytest.approx(kelly["f"], abs=1e-15)
    assert kelly_growth(p, float(b), 1.0, kelly["f"]) == pytest.approx(kelly["growth_per_bet"], rel=1e-12)
    assert kelly_share(0.51, 1.0, 1.0) == pytest.approx(thorp["f"], abs=1e-15)


def test_evidence_is_needed_and_shrinks_what_it_shows():
    even = [100_000_000, -100_000_000] * 15
    assert quarter_kelly_bps(30, 15, 15 * 10**8, 15 * 10**8) == 0
    assert entry(even[:29], sizing=1)[0] == (616, SIZED_BY_EVIDENCE)  # a quarter of 150 basis points: 370
    assert entry(even, sizing=1)[0] == (0, SIZED_BY_KELLY)
    # 18 of 30 won: 0.55 with as many again that prove nothing; a quarter of 10 times 0.1, and no more than the cap
    assert quarter_kelly_bps(30, 18, 18 * 10**8, 12 * 10**8) == KELLY_CAP_BPS
    # half a per cent more than even, at stake whole: a quarter of 2 p - 1
    wins = 1_005_000
    p = (wins + EVIDENCE / 2) / (2_000_000 + EVIDENCE)
    whole = 10**9
    found = quarter_kelly_bps(2_000_000, wins, wins * whole, (2_000_000 - wins) * whole)
    assert found == math.floor(2_500 * (2 * p - 1))

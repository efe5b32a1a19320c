"""Risk against its twin on arbitrary records, and over random lives of orders: no limit is ever passed."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels.risk.order_checks import check, exposed_of, others, unproven
from rig.risk import ASK, BID, EQUITY, T0, Case
from rig.tables import SECOND, instruments

from bot4.engine.portfolio import PORTFOLIO
from bot4.kernels.risk.order_checks import note_done, note_fill, note_order
from bot4.kernels.risk.portfolio import find_exposed, note_others
from bot4.kernels.risk.share import is_worth_less, is_worth_more, parts_ceil, share_ceil, share_floor
from bot4.kernels.risk.view import RISK_VIEW
from bot4.model.enums import LEG_EXIT, OK, ORDER_REDUCE_ONLY, RISK_RATE, TYPE_LIMIT, TYPE_MARKET

near = st.integers(-3, 3)
any_order = st.fixed_dictionaries(
    {
        "action": st.sampled_from([1, 1, 1, 1, 2]),
        "side": st.sampled_from([1, 1, -1, -1, 0]),
        "type": st.sampled_from([1, 2, 2, 2, 3]),
        "tif": st.sampled_from([1, 2, 2, 0]),
        "flags": st.sampled_from([0, 0, 0, 1, 2, 3, 4]),
        "leg": st.integers(0, 4),
        "price_ticks": st.one_of(st.integers(BID - 70_000, ASK + 70_000), st.just(0), st.integers(-(2**63), 2**63 - 1)),
        "qty_lots": st.one_of(st.integers(1, 8_000), near, st.integers(-(2**63), 2**63 - 1)),
        "stop_ticks": st.one_of(near.map(lambda d: BID + d), near.map(lambda d: ASK + d), st.just(0), st.just(1)),
    }
)
others_e8 = st.one_of(st.just(0), st.integers(0, 20_000 * 10**8), st.integers(0, 2**61))
any_view = st.fixed_dictionaries(
    {
        "position_lots": st.one_of(st.integers(-8_000, 8_000), st.integers(-(2**41), 2**41)),
        "pending_buy_lots": st.integers(0, 4_000),
        "pending_sell_lots": st.integers(0, 4_000),
        "open_orders": st.integers(0, 5),
        "bid_ticks": st.one_of(near.map(lambda d: BID + d), st.just(0)),
        "ask_ticks": st.one_of(near.map(lambda d: ASK + d), st.just(2**40)),
        "quote_ts_ns": near.map(lambda d: T0 - 10 + d),
        "equity_e8": st.one_of(st.integers(95_000 * 10**8, 105_000 * 10**8), st.integers(-(2**63), 2**63 - 1)),
        "high_water_e8": st.one_of(st.just(EQUITY), st.integers(0, 2**63 - 1)),
        "day_start_e8": st.one_of(st.just(EQUITY), st.integers(0, 2**63 - 1)),
        "last_open_ns": st.one_of(st.just(0), near.map(lambda d: T0 - SECOND + d)),
        "bucket_ns": st.one_of(st.just(0), near.map(lambda d: T0 + 2 * SECOND + d)),
        **dict.fromkeys(
            ("shard_bucket_ns", "order_bucket_ns", "message_bucket_ns"),
            st.one_of(st.just(0), st.just(0), st.just(0), near.map(lambda d: T0 + 2 * SECOND + d)),
        ),
        **dict.fromkeys(("exit_buy_lots", "exit_sell_lots"), st.sampled_from([0, 0, -1_000])),
        **dict.fromkeys(
            ("own_bid_ticks", "own_ask_ticks"), st.one_of(st.just(0), st.just(0), near.map(lambda d: ASK + d))
        ),
        "own_stop_ticks": st.one_of(st.just(0), near.map(lambda d: BID + d), near.map(lambda d: ASK + d), st.just(1)),
        "run": st.sampled_from([0, 0, 2, 3, 4, -2, -3, -4]),
        "run_ns": near.map(lambda d: T0 - SECOND + d),
        "killed": st.sampled_from([0, 0, 0, 0, 0, 1]),
        "breaker_open": st.sampled_from([0, 0, 0, 0, 0, 1]),
        "stale": st.sampled_from([0, 0, 0, 0, 0, 1]),
        "streak": st.sampled_from([0, 0, 0, 0, 0, 1]),
        "day_shut": st.sampled_from([0, 0, 0, 0, 0, 1]),
        "correlation_bps": st.integers(-10_000, 10_000),
        **dict.fromkeys(("others_gross_e8", "others_long_e8", "others_short_e8", "others_venue_e8"), others_e8),
    }
)
any_limits = st.fixed_dictionaries(
    {
        "is_spot": st.integers(0, 1),
        "value_e8": st.sampled_from([10, 10, 1, 7, 10_000, 2**62]),
        "position_bps": st.one_of(st.just(200), st.integers(1, 10_000)),
        "order_notional_e8": st.one_of(st.just(5_000 * 10**8), st.integers(1, 2**62)),
        "order_lots": st.one_of(st.just(5_000), st.integers(1, 2**40)),
        "collar_bps": st.integers(1, 200),
        "drawdown_bps": st.integers(1, 10_000),
        "daily_loss_bps": st.integers(1, 10_000),
        "quote_age_ns": st.just(10),
        "gross_bps": st.integers(1, 3_000),
        "net_bps": st.integers(1, 3_000),
        "venue_bps": st.integers(1, 3_000),
        "strategy_bps": st.integers(1, 3_000),
        "capital_e8": st.one_of(st.just(2**61), st.integers(1, 10**14)),
        **dict.fromkeys(("shard_tokens", "order_tokens"), st.integers(0, 4)),
        "message_tokens": st.integers(0, 7),
        **dict.fromkeys(
            ("shard_refill_ns", "order_refill_ns", "message_refill_ns"), st.sampled_from([0, SECOND, SECOND, SECOND])
        ),
        "repeat_orders": st.integers(1, 4),
        "repeat_pause_ns": st.just(SECOND),
        "stop_bps": st.one_of(st.just(10_000), st.integers(1, 300)),
        "stop_loss_bps": st.one_of(st.just(10_000), st.integers(1, 100)),
        "slippage_bps": st.integers(0, 20_000),
        "taker_fee_ppm": st.integers(-10_000, 200_000),
        "min_notional_e8": st.one_of(st.just(0), st.integers(0, 10**12)),
    }
)


magnitude = st.integers(0, 62).flatmap(lambda bits: st.integers(1 << bits >> 1, 1 << bits)).map(lambda x: max(x, 1))


@settings(deadline=None, max_examples=2_000)
@given(lots=magnitude, price=magnitude, value=magnitude, close=st.integers(-2, 2), scale=st.integers(-1, 1))
def test_values_and_shares_are_exact_at_every_magnitude(lots, price, value, close, scale):
    """Compared with whole numbers of any size, near the amount where the answer changes."""
    lots, price = min(lots, 2**40 - 1), min(price, 2**40 - 1)
    amount = min(max(lots * price * value + close + scale * value, 0), 2**61)
    assert is_worth_more(lots, price, value, amount) == (lots * price * value > amount)
    assert is_worth_less(lots, price, value, amount) == (lots * price * value < amount)
    assert parts_ceil(amount, min(price, 1_000_000)) == -(-amount * min(price, 1_000_000) // 1_000_000)
    bps = min(price, 1_000_000)
    assert share_floor(amount, bps) == min(amount * bps // 10_000, 2**61)
    assert share_ceil(amount, bps) == min(-(-amount * bps // 10_000), 2**61)


@settings(deadline=None, max_examples=1_000)
@given(order=any_order, view=any_view, table=any_limits)
def test_equal_to_the_twin(order, view, table):
    case = Case(**order, **view, **table)
    assert case.code() == check(*case.tables())


@settings(deadline=None, max_examples=300)
@given(view=any_view, table=any_limits, lots=st.integers(1, 5_000), short=st.booleans())
def test_a_market_exit_is_never_refused_for_risk(view, table, lots, short):
    """Whatever has happened to equity, limits, quotes and clocks: with room among the open orders one can get out.

    But for who tries again and again: for him execution does it.
    """
    held = -lots if short else lots
    case = Case(**{**view, "open_orders": 0, "position_lots": held, "run": 0}, **table)
    case.set(side=1 if short else -1, type=TYPE_MARKET, price_ticks=0, flags=ORDER_REDUCE_ONLY, leg=LEG_EXIT)
    assert case.set(qty_lots=lots, stop_ticks=0).code() == OK


any_row = st.fixed_dictionaries(
    {
        "lots": st.one_of(st.just(0), st.integers(-(2**41), 2**41), st.integers(-9_000, 9_000)),
        "buys": st.one_of(st.just(0), st.integers(0, 2**41)),
        "sells": st.one_of(st.just(0), st.integers(0, 2**41)),
        "bid": st.one_of(st.just(0), st.just(BID), magnitude.map(lambda x: min(x, 2**40 - 2))),
        "value_e8": st.sampled_from([10, 1, 10_000, 2**62]),
        "venue": st.integers(0, 2),
        "cost": st.one_of(st.just(0), st.integers(-(2**61), 2**61), st.integers(0, 9_000 * BID)),
        "worth": st.integers(-(2**55), 2**55),
        "age": st.integers(8, 12),
        "whole": st.integers(0, 1),
    }
)


@settings(deadline=None, max_examples=300)
@given(rows=st.lists(any_row, min_size=1, max_size=6), index=st.integers(0, 5))
def test_the_others_are_summed_up_as_the_twin_does(rows, index):
    index %= len(rows)
    views, table = np.zeros(len(rows), RISK_VIEW), instruments(len(rows))
    quotes = np.zeros(len(rows), PORTFOLIO)
    for view, quote, instrument, row in zip(views, quotes, table, rows, strict=True):
        view["position_lots"], view["pending_buy_lots"] = row["lots"], row["buys"]
        view["pending_sell_lots"], quote["bid_ticks"] = row["sells"], row["bid"]
        quote["ask_ticks"] = row["bid"] + 1
        instrument["value_e8"], instrument["venue"] = row["value_e8"], row["venue"]
        row["twice_mid"] = 2 * row["bid"] + 1 if row["bid"] else 0
        quote["lots"], quote["cost_tl"], quote["unrealised_e8"] = row["lots"], row["cost"], row["worth"]
        quote["quote_ts_ns"], quote["whole"] = T0 - row["age"], row["whole"]
        row["live"] = row["bid"] > 0 and row["whole"] and row["age"] <= 10
    exposed = np.zeros(1 + len(rows), np.int64)
    find_exposed(views, index, exposed)
    assert exposed[1 : 1 + exposed[0]].tolist() == exposed_of(rows, index)
    assert note_others(views, quotes, table, exposed, index, T0, 10) == unproven(rows)
    expected = others(rows, index)
    assert {name: int(views[index][name]) for name in expected} == expected


actions = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "fill", "done", "market"]),
        st.sampled_from([1, -1]),
        st.integers(1, 6_000),
        st.integers(0, SECOND),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(actions=actions, spot=st.booleans())
def test_no_sequence_of_accepted_orders_and_fills_exceeds_the_position_limit(actions, spot):
    case = Case(cool_down_ns=0, bucket_tokens=1_000, max_open_orders=10, is_spot=spot, quote_age_ns=10**12)
    view, limits = case.view[0], case.limits[0]
    equity, value = int(view["equity_e8"]), int(case.instrument[0]["value_e8"])
    open_orders, now, mid = [], T0, Fraction(BID + ASK, 2)
    for action, side, lots, pause in actions:
        now += pause
        if action == "market":  # the quote moves; what is held may then be worth more than one could buy
            case.set(bid_ticks=BID + side * lots, ask_ticks=ASK + side * lots)
            mid = Fraction(BID + ASK, 2) + side * lots
        elif action == "order":
            bid, ask = int(view["bid_ticks"]), int(view["ask_ticks"])
            case.set(ts_ns=now, side=side, type=TYPE_LIMIT, flags=0, qty_lots=lots)
            case.set(price_ticks=ask if side > 0 else bid, stop_ticks=bid - 1_000 if side > 0 else ask + 1_000)
            if case.code() == OK:
                note_order(case.order[0], view, limits)
                open_orders.append([side, lots])
                pending = int(view["pending_buy_lots" if side > 0 else "pending_sell_lots"])
                held = max(side * int(view["position_lots"]), 0)
                assert (held + pending) * mid * value <= Fraction(equity, 50)
        elif open_orders:
            order = open_orders[lots % len(open_orders)]
            filled = min(order[1], max(1, lots // 10)) if action == "fill" else 0
            if filled:
                note_fill(view, order[0], filled)
                order[1] -= filled
            if not filled or order[1] == 0:
                note_done(view, order[0], order[1])
                open_orders.remove(order)
        assert view["pending_buy_lots"] == sum(lots for side, lots in open_orders if side > 0)
        assert view["pending_sell_lots"] == sum(lots for side, lots in open_orders if side < 0)
        assert view["open_orders"] == len(open_orders) <= 10
        assert not spot or view["position_lots"] - view["pending_sell_lots"] >= 0


@settings(deadline=None, max_examples=150)
@given(pauses=st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=80), tokens=st.integers(1, 6))
def test_the_bucket_lets_through_what_a_counting_bucket_does(pauses, tokens):
    case = Case(cool_down_ns=0, bucket_tokens=tokens, bucket_refill_ns=SECOND, qty_lots=10, quote_age_ns=10**15)
    now, level = T0, Fraction(tokens)
    for pause in pauses:
        now += pause
        level = min(Fraction(tokens), level + Fraction(pause, SECOND))
        code = case.set(ts_ns=now).code()
        assert code == (OK if level >= 1 else RISK_RATE)
        if code == OK:
            level -= 1
            note_order(case.order[0], case.view[0], case.limits[0])
            note_done(case.view[0], 1, 10)

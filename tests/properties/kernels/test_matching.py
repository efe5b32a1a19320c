"""Properties of the venue's arithmetic and of its matching under any script."""

import random
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels.matching import funding as ref_funding
from rig.matching import Pair, RandomScript, small_instruments

from bot4.jit import JIT
from bot4.kernels.matching.account import account_fill, funding_e8, mul_e8, mul_e8_up, removed_cost
from bot4.kernels.matching.order import id_slot
from bot4.kernels.matching.state import DESK, ID_SLOTS, SEAT
from bot4.model import enums as e

amounts = st.integers(0, 2**40)
fills = st.lists(st.tuples(st.sampled_from((1, -1)), st.integers(1, 10**7), st.integers(1, 10**6)), max_size=40)


@given(st.integers(0, 2**62), st.integers(1, 2**31 - 1), st.data())
@settings(deadline=None)
def test_removed_cost_is_the_floor_of_its_share(cost, held, data):
    qty = data.draw(st.integers(0, held))
    assert removed_cost(np.int64(cost), np.int64(held), np.int64(qty)) == cost * qty // held


def test_removed_cost_is_exact_for_holdings_of_very_many_lots():
    source = random.Random(6)
    for _ in range(1_000):
        held = source.randrange(1, 2 ** source.randint(31, 45))
        cost, qty = source.randrange(2**62), source.randint(0, held)
        assert removed_cost(np.int64(cost), np.int64(held), np.int64(qty)) == cost * qty // held


@given(st.integers(0, 2**42), st.integers(0, 2**44))
@settings(deadline=None)
def test_products_of_1e8_are_exact(a, b):
    assert mul_e8(np.int64(a), np.int64(b)) == a * b // 10**8
    assert mul_e8_up(np.int64(a), np.int64(b)) == -(-a * b // 10**8)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**8), st.integers(0, 10**13), st.integers(-(10**7), 10**7))
@settings(deadline=None)
def test_funding_is_rounded_against_us_and_close_to_the_exact(lots, lot_e8, mark_e8, rate_e8):
    paid = funding_e8(*(np.int64(value) for value in (lots, lot_e8, mark_e8, rate_e8)))
    assert paid == ref_funding(lots, lot_e8, mark_e8, rate_e8)
    exact = -Fraction(lots * lot_e8 * mark_e8 * rate_e8, 10**16)
    assert 0 <= exact - paid < 2 + Fraction(abs(rate_e8), 10**8)


@given(fills, st.booleans())
@settings(deadline=None)
def test_an_account_conserves_money_and_quantity(script, is_spot):
    """Cash + what the position cost = start - fees, whatever the fills."""
    seat = np.zeros(1, SEAT)[0]
    desk = np.zeros(1, DESK)[0]
    instrument = small_instruments()[int(is_spot)]
    value_e8 = int(instrument["value_e8"])
    lots = flow = fees = 0
    for number, (side, price, qty) in enumerate(script):
        account_fill(seat, instrument, desk, np.int64(side), np.int64(price), np.int64(qty), np.int64(number))
        lots += side * qty
        flow += side * price * qty
        fees += number
        assert seat["lots"] == lots
        assert seat["realised_tl"] == seat["cost_tl"] - flow
        assert lots != 0 or seat["cost_tl"] == 0
        assert (seat["cost_tl"] > 0) == (lots > 0) or seat["cost_tl"] == 0
        assert desk["cash_e8"] == (-flow if is_spot else int(seat["realised_tl"])) * value_e8 - fees


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_every_id_has_a_slot(high, low):
    slot = id_slot(np.uint64(high), np.uint64(low))
    assert 0 <= slot < ID_SLOTS


def test_ids_as_they_are_made_spread_over_the_slots():
    """Consecutive events, few instruments and legs: no crowding, so a probe stays short."""
    hit = np.zeros(ID_SLOTS, np.int64)
    count = 0
    for instrument in range(4):
        for number in range(0, 4_000, 3):
            for leg in range(2):
                high = np.uint64(7 << 48 | 1 << 32 | instrument << 16 | 1)
                hit[id_slot(high, np.uint64(number << 32 | leg << 24))] += 1
                count += 1
    assert hit.max() <= 5
    assert np.count_nonzero(hit) > 0.9 * count


QUEUES = ("risk-averse", "power", "power:0.5", "log")


@given(st.integers(0, 2**32), st.sampled_from((10**6, 10**7, 10**9)), st.sampled_from(QUEUES))
@settings(deadline=None, max_examples=40 if JIT else 8)
def test_any_script_leaves_both_venues_alike_and_the_books_balanced(seed, cash, queue):
    pair = Pair(cash_e8=cash, queue=queue)
    script = RandomScript(pair, seed)
    for _ in range(120):
        script.step()
        pair.check_state()
    for event in pair.events:
        assert event[2] != e.REPORT_FILL or (event[7] > 0 and event[8] > 0)

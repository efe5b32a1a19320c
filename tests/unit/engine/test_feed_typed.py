"""Typed events in the scanner's words: what only this way brings, and decimals by the scanner's rules."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.kernels.scan import ref_decimal
from rig.typed import listing_of

from bot4.engine.feed_typed import fill
from bot4.kernels.scan import scanned as words
from bot4.kernels.scan.decimal import MAX_QUANTITY, MAX_TICKS
from bot4.kernels.scan.scanned import ABSENT, RULE_CHECKSUM, RULE_FUTURES, RULE_SPOT, RULE_STREAM, scanned_memory
from bot4.model.enums import INPUT_OK, INPUT_REASONS, INPUT_UNPARSABLE, TICK_LEVEL, TICK_MARK, TICK_QUOTE, TICK_TRADE
from bot4.ports.feed import Bar, BookChange, Mark, Quote, Trade

ONE = Decimal(1)
SCANNED = scanned_memory()


def put(event, rule=RULE_STREAM, tick="0.5", lot="0.001", sent_ns=0):
    """(reason, the words) of one event, over the leavings of another."""
    SCANNED.message[:] = 77
    return INPUT_REASONS[fill(event, listing_of(rule, "BTCUSDT", tick, lot)[0], SCANNED, sent_ns)], SCANNED.message


@settings(max_examples=200, deadline=None)
@given(
    st.from_regex(r"\A[1-9][0-9]{0,19}(\.[0-9]{1,20})?\Z|\A0(\.[0-9]{1,20})?\Z"),
    st.from_regex(r"\A[1-9][0-9]{0,19}(\.[0-9]{1,20})?\Z|\A0(\.[0-9]{1,20})?\Z"),
    st.sampled_from(["0.01", "0.5", "25", "0.00000001"]),
)
def test_decimals_become_units_by_the_scanners_rules(price, qty, size):
    unit = Decimal(size)
    decimals = max(0, -unit.as_tuple().exponent)
    ticks, bad_price = ref_decimal(price, unit, decimals, "off_tick", MAX_TICKS)
    if not bad_price and not ticks:
        bad_price = "zero"
    for event, off in (
        (Trade("BTCUSDT", Decimal(price), Decimal(qty), 1, "5", 3), "off_lot"),
        (BookChange("BTCUSDT", True, [(Decimal(price), Decimal(qty))], [], None, 7, 3), ""),
    ):
        lots, bad_lots = ref_decimal(qty, unit, decimals, off, MAX_QUANTITY)
        if off and not bad_lots and not lots:
            bad_lots = "zero"
        reason, _ = put(event, RULE_STREAM, size, size)
        assert reason == (bad_price or bad_lots)
        if not reason and off:
            assert SCANNED.trades[0, : words.TRADE_NUMBER + 1].tolist() == [ticks, lots, 5]
        elif not reason:
            assert (SCANNED.prices[0, 0], SCANNED.lots[0, 0]) == (ticks, lots)


def test_a_trade_of_a_venue_with_ids_fills_the_words_of_one_trade():
    reason, message = put(Trade("BTCUSDT", ONE, ONE, -1, "12", 9_000_000, False), RULE_SPOT)
    found = [message[place] for place in (words.PRICE, words.QTY, words.TRADE_ID, words.BUYER_MAKER, words.OFF_MARKET)]
    assert (reason, message[words.KIND], found, message[words.TRADES]) == ("", TICK_TRADE, [2, 1000, 12, 1, 1], 1)
    assert (message[words.INSTRUMENT], message[words.SEQUENCE], message[words.VENUE_NS]) == (-1, -1, 9_000_000)


def test_a_trade_without_an_id_is_refused():
    assert put(Trade("BTCUSDT", ONE, ONE, 1, "", 0))[0] == INPUT_REASONS[INPUT_UNPARSABLE]


def test_a_bar_is_of_no_kind():
    reason, message = put(Bar("BTCUSDT", 0, 1, ONE, ONE, ONE, ONE, ONE, True, 5))
    assert (reason, message[words.KIND], message[words.SEEN]) == ("", 0, 0)


@pytest.mark.parametrize(
    ("rule", "before", "last", "first", "previous"),
    [(RULE_SPOT, 6, 9, 7, 0), (RULE_FUTURES, 6, 9, 7, 6), (RULE_STREAM, 8, 9, 9, 8), (RULE_STREAM, None, 9, 9, 8)],
)
def test_ids_of_a_change_by_the_rule_of_its_venue(rule, before, last, first, previous):
    _, message = put(BookChange("BTCUSDT", before is None, [], [(ONE, ONE)], before, last, 5), rule)
    found = [message[place] for place in (words.KIND, words.LAST_ID, words.FIRST_ID, words.PREVIOUS_ID, words.CHECKSUM)]
    assert found == [TICK_LEVEL, last, first, previous, -1]
    assert (message[words.IS_SNAPSHOT], message[words.BIDS], message[words.ASKS]) == (before is None, 0, 1)


def test_a_check_sum_of_zero_is_one():
    _, message = put(BookChange("BTC/USD", False, [], [], None, None, 5, checksum=0), RULE_CHECKSUM)
    assert (message[words.CHECKSUM], message[words.LAST_ID], message[words.FIRST_ID]) == (0, 0, 0)


@pytest.mark.parametrize(("bids", "asks", "kind"), [(1, 1, TICK_QUOTE), (1, 0, 0), (2, 1, 0), (0, 0, 0)])
def test_a_book_of_one_level_is_a_quote_where_it_has_both_sides(bids, asks, kind):
    levels = [(ONE, ONE), (ONE, ONE)]
    reason, message = put(BookChange("BTCUSDT", True, levels[:bids], levels[:asks], None, 9, 5, depth=1))
    assert (reason, message[words.KIND], message[words.BIDS], message[words.ASKS]) == ("", kind, 0, 0)
    if kind:
        found = [message[place] for place in (words.BID, words.BID_LOTS, words.ASK, words.ASK_LOTS, words.LAST_ID)]
        assert found == [2, 1000, 2, 1000, 9]


def test_the_first_bad_value_of_a_quote_is_named():
    reason, _ = put(Quote("BTCUSDT", ONE, Decimal("0.0005"), Decimal("0.7"), ONE, None, 5))
    assert reason == "off_lot"


@pytest.mark.parametrize(("rule", "absent"), [(RULE_STREAM, ABSENT), (RULE_FUTURES, 0)])
def test_a_mark_leaves_out_what_the_message_leaves_out(rule, absent):
    reason, message = put(Mark("BTCUSDT", None, Decimal("2.5"), Decimal("-0.0001"), 0, 5), rule)
    found = [message[place] for place in (words.MARK, words.INDEX, words.RATE, words.TIME_MS)]
    assert (reason, message[words.KIND], found) == ("", TICK_MARK, [absent, 250_000_000, -10_000, absent])
    assert put(Mark("BTCUSDT", Decimal("1e-9"), None, None, 0, 5), rule)[0] == "bad_number"


def test_levels_below_zero_are_refused():
    reason, _ = put(BookChange("BTCUSDT", False, [(Decimal(-1), ONE)], [], 8, 9, 5))
    assert reason == "negative" != INPUT_OK and np.all(SCANNED.message[words.BIDS] == 1)

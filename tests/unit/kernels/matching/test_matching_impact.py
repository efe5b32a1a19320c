"""How our own taking moves the prices that we take at: against the twin, by hand, and against Almgren and Chriss."""

import numpy as np
import pytest
from reference.kernels.impact import cost
from reference.kernels.matching import Impact
from rig.matching import Pair, RandomScript

from bot4.jit import JIT
from bot4.kernels.impact import SCHEDULE, best_trajectory
from bot4.model import enums as e

SECOND = 10**9
MODELS = {
    "linear": lambda: Impact("linear", 0.31, 2_000.0),
    "square_root": lambda: Impact("square_root", 0.07, 5_000.0),
    "almgren_chriss": lambda: Impact("almgren_chriss", 0.013, 0.0021, 0.7, 0.05),
}


@pytest.mark.parametrize("name", MODELS)
def test_kernels_and_twin_pay_the_same(name):
    """A market with orders of all kinds, prices moved in one of its two instruments."""
    moved = 0
    for seed in range(20 if JIT else 3):
        pair, plain = Pair(impacts={1: MODELS[name]()}), Pair()
        scripts = RandomScript(pair, seed), RandomScript(plain, seed)
        for _ in range(1_500):
            for script in scripts:
                script.step()
        pair.check_state()
        moved += [event for event in pair.events if event[2] == e.REPORT_FILL] != [
            event for event in plain.events if event[2] == e.REPORT_FILL
        ]
    assert moved > 0


def deep(impact, bid=100_000, ask=100_001, lots=10**7):
    """A contract whose book has one deep level a side, and nothing in the way of large orders."""
    pair = Pair(cash_e8=10**15, impacts={0: impact})
    pair.instruments["max_qty_lots"] = 10**8
    for rules in pair.twin.rules:
        rules.max_qty = 10**8
    pair.now = SECOND
    show(pair, bid, ask, lots)
    return pair


def show(pair, bid, ask, lots):
    """The book, anew: what was taken is offered again."""
    pair.tick(0, e.TICK_STATUS, e.FLAG_SNAPSHOT, e.STATUS_CLEAR)
    pair.tick(0, e.TICK_LEVEL, e.FLAG_SNAPSHOT, bid, lots, 1)
    pair.tick(0, e.TICK_LEVEL, e.FLAG_SNAPSHOT, ask, lots, -1)
    pair.tick(0, e.TICK_STATUS, e.FLAG_SNAPSHOT | e.FLAG_LAST, e.STATUS_WHOLE)


def take(pair, number, side, lots, limit=0):
    """(price, lots) of the fills of a market order, or of one that takes up to a limit."""
    kind = {"type": e.TYPE_LIMIT, "price": limit} if limit else {"type": e.TYPE_MARKET}
    said = pair.request(e.ACTION_PLACE, number, side=side, tif=e.TIF_IOC, qty=lots, **kind)
    return [(event[6], event[7]) for event in said if event[2] == e.REPORT_FILL]


def test_linear_and_square_root_to_the_tick():
    pair = deep(Impact("linear", 0.5, 1_000_000.0))
    assert take(pair, 1, 1, 1_000) == [(100_001 + 26, 1_000)], "half of 0.5 * 1000 / 1000000 of the price, rounded up"
    assert take(pair, 2, 1, 1_000) == [(100_001 + 76, 1_000)], "and what the first has left behind"
    assert take(pair, 3, -1, 1_000) == [(100_000 - 25, 1_000)], "nobody sells into what he has raised"
    root = deep(Impact("square_root", 0.5, 1_000_000.0))
    assert take(root, 1, 1, 10_000) == [(100_001 + 3_334, 10_000)], "two thirds of 0.5 * sqrt(0.01)"
    root.now += 600 * SECOND
    flow = 10_000 * 2.718281828459045**-1
    mean = ((flow + 10_000) ** 1.5 - flow**1.5) / 1.5 / 10_000 / 1_000
    assert take(root, 2, 1, 10_000) == [(100_001 + int(100_001 * 0.5 * mean) + 1, 10_000)], "the rest is forgotten"


@pytest.mark.parametrize("name", ["linear", "square_root", "almgren_chriss"])
def test_parts_cost_what_the_whole_does(name):
    made = {
        "linear": lambda: Impact("linear", 0.5, 1_000_000.0),
        "square_root": lambda: Impact("square_root", 0.5, 1_000_000.0),
        "almgren_chriss": lambda: Impact("almgren_chriss", 0.01, 0.02, 0.0, 60.0),
    }[name]
    whole = take(deep(made()), 1, 1, 8_000)
    pair = deep(made())
    parts = [fill for number in range(8) for fill in take(pair, number + 1, 1, 1_000)]
    paid = [sum(price * lots for price, lots in fills) for fills in (whole, parts)]
    assert 0 <= paid[1] - paid[0] <= 8_000 + 8_000, "to the tick that each fill is rounded up by"


def test_a_plan_of_almgren_and_chriss_costs_what_they_say():
    """Sold by the best plan, an interval at a time: the cost against the first price is (14) of their paper."""
    schedule = np.zeros(1, SCHEDULE)[0]
    schedule["quantity"], schedule["tau"], schedule["sigma"] = 100_000.0, 60.0, 3.0
    schedule["epsilon"], schedule["gamma"], schedule["eta"] = 4.0, 0.002, 0.9
    schedule["risk_aversion"] = 1e-6
    held = np.zeros(11)
    best_trajectory(schedule, held)
    held = np.round(held)
    pair = deep(Impact("almgren_chriss", 0.002, 0.9, 4.0, 60.0))
    lost = sold = 0
    for number in range(10):
        lots = int(held[number] - held[number + 1])
        pair.now = (number + 1) * 60 * SECOND
        for price, part in take(pair, number + 1, -1, lots):
            lost += (100_000 - price) * part
            sold += part
    assert sold == 100_000
    expected = cost(schedule, held)
    assert expected <= lost <= expected + sold, "each sale is rounded against us by less than a tick"
    assert expected > 10 * sold


def test_an_order_takes_as_much_as_its_limit_bears_and_rests_away_from_a_market_that_it_has_moved():
    pair = deep(Impact("linear", 0.5, 1_000_000.0))
    assert take(pair, 1, 1, 4_000, limit=100_001 + 50) == [(100_001 + 50, 1_999)]
    said = pair.request(e.ACTION_PLACE, 2, side=1, type=e.TYPE_LIMIT, tif=e.TIF_GTC, price=100_001 + 50, qty=100)
    assert [event[2] for event in said] == [e.REPORT_ACK], "the market stands off by 100 ticks"
    show(pair, 100_000, 100_001, 10**7)
    assert not pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, 99_999, 5, 1), "nor does it come to what rests"
    said = pair.request(e.ACTION_PLACE, 3, side=-1, type=e.TYPE_MARKET, tif=e.TIF_IOC, qty=1_500)
    assert [event[2] for event in said] == [e.REPORT_ACK, e.REPORT_FILL]
    said = pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, 99_999, 6, 1)
    assert [(event[2], event[6], event[7]) for event in said] == [(e.REPORT_FILL, 100_001 + 50, 100)], (
        "until it is back"
    )


def test_a_book_that_is_dearer_than_the_model_is_paid_as_it_is():
    pair = deep(Impact("linear", 0.5, 1_000_000.0), lots=500)
    pair.tick(0, e.TICK_LEVEL, e.FLAG_LAST, 100_401, 10**6, -1)
    assert take(pair, 1, 1, 1_000) == [(100_001 + 13, 500), (100_401, 500)], "counted once, whichever says more"


def test_a_price_moves_by_half_of_itself_at_most():
    pair = deep(Impact("square_root", 100.0, 1.0), bid=11, ask=12)
    assert take(pair, 1, 1, 1_000) == [(18, 1_000)]
    assert take(pair, 2, -1, 2_000) == [(6, 2_000)]

"""Every limit at itself and one unit to either side, in execution's real wiring; losses made of all that money does.

`unit` is by how much the order, or the account, is beyond the limit: -1, 0, 1.
"""

import pytest
from rig.execution import ASK, BID, Rig
from rig.tables import MS, SECOND

from bot4.model import enums as e

UNITS = (-1, 0, 1)
LOTS, VALUE = 1_000, 10
EQUITY = 100_000 * 10**8
FILLER = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
RESTING = {"tif": e.TIF_GTC, "price_ticks": BID, "qty_lots": 100}


def position(rig, unit):
    """2 % of equity is worth 1,000 lots at the mid, but for a unit of it."""
    exact = LOTS * (BID + ASK) * VALUE * 10_000 // (2 * 200)
    account = rig.agent.memory.account
    account["equity_e8"], account["high_water_e8"], account["day_start_e8"] = exact - unit, 0, 0
    rig.intent(5)


def notional(rig, unit):
    rig.limits["order_notional_e8"] = LOTS * ASK * VALUE - unit
    rig.intent(5)


def least_notional(rig, unit):
    rig.instruments["min_notional_e8"] = LOTS * ASK * VALUE + unit
    rig.intent(5)


def lots(rig, unit):
    rig.limits["order_lots"] = LOTS - unit
    rig.intent(5)


def collar(rig, unit):
    """1 % of the odd mid 6,000,000.5 is 60,000.005: the last price within is 60,000 ticks and a half away."""
    rig.intent(5, price_ticks=BID - 59_999 + 0 - unit, stop_ticks=1)


def stop(rig, unit):
    rig.intent(5, stop_ticks=BID - 1 + unit)


def quote_age(rig, unit):
    rig.quote(20 * SECOND, instrument=1)
    rig.intent(10 * SECOND + unit)


def cool_down(rig, unit):
    rig.limits["cool_down_ns"] = SECOND
    rig.intent(5, **RESTING)
    rig.intent(5 + SECOND - unit, qty_lots=100)


def rate(rig, unit):
    """Two at once, the third when a refill time is over."""
    rig.limits["bucket_tokens"], rig.limits["bucket_refill_ns"] = 2, SECOND
    for _ in range(2):
        rig.intent(5, **RESTING)
    rig.intent(5 + SECOND - unit, qty_lots=100)


def bucket(name, code):
    """Two at once of instruments in turn, the third when a refill time is over."""

    def reach(rig, unit):
        rig.limits[f"{name}_tokens"], rig.limits[f"{name}_refill_ns"] = 2, SECOND
        for instrument in (0, 1):
            rig.intent(5, instrument=instrument, **RESTING)
        rig.intent(5 + SECOND - unit, qty_lots=100)

    return reach, code, 1


def messages(rig, unit):
    """Three of six at once for orders; the fourth when a refill time is over. An exit passes."""
    rig.limits["message_tokens"], rig.limits["message_refill_ns"] = 6, SECOND
    for _ in range(3):
        rig.intent(5, **RESTING)
    rig.intent(5 + SECOND - unit, qty_lots=100)


def repeats(rig, unit):
    """Three in a row, each just soon enough, and one more that is or is not."""
    rig.limits["repeat_orders"], rig.limits["repeat_pause_ns"] = 3, SECOND
    for at in range(3):
        rig.intent(5 + at * (SECOND - 1), **RESTING)
    rig.intent(5 + 2 * (SECOND - 1) + SECOND - unit, qty_lots=100)


def repeats_in_number(rig, unit):
    rig.limits["repeat_orders"] = 3
    for at in range(3 + unit):
        rig.intent(5 + at, **RESTING)


def stop_distance(rig, unit):
    """1 % of ASK is 60,000.01 ticks."""
    rig.limits["stop_bps"] = 100
    rig.intent(5, stop_ticks=ASK - 60_000 - unit)


def stop_loss(rig, unit):
    """To the last unit of equity: the way there, 0.1 % of fee each way, 0.5 % of slippage."""
    stop = BID - 1_000
    way, there, back = (LOTS * ticks * VALUE for ticks in (ASK - stop, ASK, stop))
    lost = way + -(-there // 1_000) + -(-back * 6 // 1_000)
    account = rig.agent.memory.account
    account["equity_e8"], account["high_water_e8"], account["day_start_e8"] = lost * 200 - unit, 0, 0
    rig.limits["stop_loss_bps"], rig.limits["position_bps"] = 50, 10_000
    rig.intent(5, stop_ticks=stop)


def farthest_stop(side):
    """An order that rests may fill last, and its stop is then that of all: the next one is measured by it."""

    def reach(rig, unit):
        price, far, near = (BID, BID - 9_000, BID - 10) if side > 0 else (ASK, ASK + 9_000, ASK + 10)
        rig.intent(5, side=side, tif=e.TIF_GTC, price_ticks=price, stop_ticks=far, qty_lots=100)
        rig.run()
        way, there, back = ((100 + LOTS) * ticks * VALUE for ticks in (9_000, price, far))
        lost = way + -(-there // 1_000) + -(-back * 6 // 1_000)
        account = rig.agent.memory.account
        account["equity_e8"], account["high_water_e8"], account["day_start_e8"] = lost * 200 - unit, 0, 0
        rig.limits["stop_loss_bps"], rig.limits["position_bps"] = 50, 10_000
        rig.intent(6, side=side, tif=e.TIF_GTC, price_ticks=price, stop_ticks=near)

    return reach, e.RISK_STOP_LOSS, 1


def self_trade(rig, unit):
    """A buy that rests at BID, and a sell just above it, at it, or below."""
    rig.intent(5, **RESTING)
    rig.intent(6, side=-1, price_ticks=BID - unit, stop_ticks=ASK + 60_000, qty_lots=100)


def self_trade_of_a_buy(rig, unit):
    rig.intent(5, side=-1, price_ticks=ASK, stop_ticks=ASK + 60_000, qty_lots=100, tif=e.TIF_GTC)
    rig.intent(6, price_ticks=ASK + unit, qty_lots=100)


def open_orders(rig, unit):
    for at in range(3 + unit):
        rig.intent(5 + at, **RESTING)
    rig.intent(50, qty_lots=100)


def exit_lots(rig, unit):
    rig.enter()
    rig.intent(6 * MS, side=-1, type=e.TYPE_MARKET, price_ticks=0, stop_ticks=0, leg=e.LEG_EXIT,
               flags=e.ORDER_REDUCE_ONLY, qty_lots=LOTS + unit)  # fmt: skip


def breaker(rig, unit):
    """As many failures as open it, and one more or less."""
    for at in range(5 + unit):
        rig.intent(5 + at, qty_lots=100)
        rig.run()
        for request in rig.requests():
            rig.event(20 + at, e.REPORT_REJECT, request, code=e.VENUE_FILTER)
        rig.run()
    rig.intent(50, qty_lots=100)


def breaker_window(rig, unit):
    """The fifth failure at the very end of the window that the first one began, or one ns beside it."""
    rig.limits["breaker_window_ns"] = SECOND
    for at in (5, 6, 7, 8, 5 + SECOND - unit):
        fail(rig, at)
    rig.intent(50 + SECOND, qty_lots=100)


def breaker_time(rig, unit):
    """Open for so long, then an order tries it."""
    rig.limits["breaker_open_ns"] = 2 * SECOND
    for at in range(5):
        fail(rig, 5 + at)
    rig.intent(9 + 10 + 2 * SECOND - unit, qty_lots=100)


def fail(rig, at):
    """An order that the venue refuses ten ns later."""
    rig.intent(at, qty_lots=100)
    rig.run()
    for request in rig.requests():
        rig.event(at + 10, e.REPORT_REJECT, request, code=e.VENUE_FILTER)
    rig.run()


def lose(rig, at, **limits):
    """A position that ends with a loss, two ns later; these limits change while it is held."""
    rig.intent(at, qty_lots=100)
    rig.run()
    (entry,) = rig.requests()
    rig.fill(at + 1, entry, fee=1)
    rig.intent(at + 1, side=-1, type=e.TYPE_MARKET, price_ticks=0, stop_ticks=0, leg=e.LEG_EXIT,
               flags=e.ORDER_REDUCE_ONLY, qty_lots=100)  # fmt: skip
    rig.run()
    leave = next(one for one in rig.requests() if one["leg"] == e.LEG_EXIT)
    for name, value in limits.items():
        rig.limits[name] = value
    rig.fill(at + 2, leave)
    rig.run()
    rig.requests()


def streak(rig, unit):
    """Three losses in a row, where as many make a pause, or one more or less."""
    for number in range(2):
        lose(rig, 10 + 10 * number)
    lose(rig, 30, streak_losses=3 - unit)
    rig.intent(100, qty_lots=100)


def streak_pause(rig, unit):
    rig.limits["streak_losses"], rig.limits["streak_pause_ns"] = 1, SECOND
    lose(rig, 10)
    rig.intent(12 + SECOND - unit, qty_lots=100)


CASES = {  # how it is reached, the code, and from which unit on it is refused
    "position": (position, e.RISK_POSITION, 1),
    "notional": (notional, e.RISK_NOTIONAL, 1),
    "least notional": (least_notional, e.RISK_MIN_NOTIONAL, 1),
    "lots": (lots, e.RISK_ORDER_SIZE, 1),
    "collar": (collar, e.RISK_COLLAR, 1),
    "stop": (stop, e.RISK_STOP_SIDE, 1),
    "quote age": (quote_age, e.EXEC_NO_QUOTE, 1),
    "cool-down": (cool_down, e.RISK_COOL_DOWN, 1),
    "rate": (rate, e.RISK_RATE, 1),
    "rate of a shard": bucket("shard", e.RISK_SHARD_RATE),
    "rate of all": bucket("order", e.RISK_ORDER_RATE),
    "messages": (messages, e.RISK_MESSAGE_RATE, 1),
    "repeats": (repeats, e.RISK_REPEAT, 1),
    "repeats in number": (repeats_in_number, e.RISK_REPEAT, 1),
    "stop distance": (stop_distance, e.RISK_STOP_FAR, 1),
    "stop loss": (stop_loss, e.RISK_STOP_LOSS, 1),
    "stop loss by an earlier order's stop": farthest_stop(1),
    "stop loss by an earlier sell's stop": farthest_stop(-1),
    "self-trade": (self_trade, e.RISK_SELF_TRADE, 0),
    "self-trade of a buy": (self_trade_of_a_buy, e.RISK_SELF_TRADE, 0),
    "open orders": (open_orders, e.RISK_OPEN_ORDERS, 1),
    "exit": (exit_lots, e.RISK_REDUCE_ONLY, 1),
    "breaker": (breaker, e.RISK_BREAKER_OPEN, 0),
    "breaker's window": (breaker_window, e.RISK_BREAKER_OPEN, 0),
    "breaker's time": (breaker_time, e.RISK_BREAKER_OPEN, 1),
    "streak": (streak, e.RISK_STREAK, 0),
    "streak's pause": (streak_pause, e.RISK_STREAK, 1),
}


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path, 2, limit_changes={"quote_age_ns": 10 * SECOND})
    rig.open_market()
    return rig


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", CASES)
def test_a_limit_holds_from_its_first_unit_on(rig, case, unit):
    reach, code, first = CASES[case]
    reach(rig, unit)
    rig.run()
    refused = rig.rejects.get(code, 0)
    assert bool(refused) == (unit >= first)
    assert set(rig.rejects) <= {code, e.VENUE_FILTER, e.RISK_BREAKER_OPEN}
    asked = [request for request in rig.requests() if request["action"] == e.ACTION_PLACE]
    assert asked or refused


LOSSES = {
    "day": ({"drawdown_bps": 9_000}, EQUITY * 3 // 100, e.RISK_DAILY_LOSS),
    "drawdown": ({"daily_loss_bps": 9_000}, EQUITY * 15 // 100, e.RISK_DRAWDOWN),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("priced", [True, False], ids=["priced", "price gone"])
@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_of_fees_funding_and_open_positions_ends_the_opening_at_its_first_unit(tmp_path, case, priced, unit):
    """Fee, open loss and funding add up to the limit, but for a unit; the first event that crosses it counts."""
    changes, most, code = LOSSES[case]
    rig = Rig(tmp_path, 2, limit_changes=changes)
    rig.open_market()
    rig.intent(1)
    rig.run()
    (entry,) = rig.requests()
    fee = 7 * 10**8 + 1
    rig.fill(2 * MS, entry, fee=fee)
    rig.quote(6 * MS, bid=BID - 101, ask=ASK - 100)  # the mid is lower by 101 and a half
    rig.run()
    open_loss = LOTS * 101 * VALUE
    assert rig.agent.memory.account["equity_e8"] == EQUITY - fee - open_loss
    if not priced:
        rig.quote(7 * MS, bid=0, ask=0)
    rig.event(8 * MS, e.REPORT_FUNDING, FILLER, cash_e8=fee + open_loss - (most + unit) + 1)
    rig.intent(9 * MS, instrument=1, qty_lots=100)
    rig.event(10 * MS, e.REPORT_FUNDING, FILLER, cash_e8=-1)
    rig.intent(11 * MS, instrument=1, qty_lots=100)
    rig.run()
    reasons = [e.RISK_GROSS] if not priced else []  # and what has no price has no bound
    expected = [code if unit + step >= 0 else (reasons or [e.OK])[0] for step in (-1, 0)]
    told = [int(report["code"]) for report in rig.reports() if report["kind"] == e.REPORT_DENIED]
    assert told == [one for one in expected if one != e.OK]

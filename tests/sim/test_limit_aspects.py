"""Every limit that is a share of the account, at its last unit, whatever made the account what it is.

Fees, funding, an open loss, an open profit that no live price bears out, and a position without a price, each by the
venue's events and the feed's quotes through execution's real wiring: the order stands at the limit, one unit within
it, or one beyond. `EDGES` names for every limit of the settings the test that holds it at its exact unit, so that a
new limit without one fails here.
"""

import re
from pathlib import Path

import pytest
from reference.kernels.risk.tail import could_lose
from rig.execution import ASK, BID, Rig
from rig.tables import MS

from bot4.model import enums as e
from bot4.settings.schema import Limits
from bot4.shm.layout import CONTROL_KILL, KILLED_BY_DAILY_LOSS, KILLED_BY_DRAWDOWN

REPOSITORY = Path(__file__).resolve().parents[2]
START = 100_000 * 10**8
VALUE, MID2, STOP = 10, BID + ASK, BID - 1_000
ORDERED, HELD, OTHER = range(3)  # instruments: of the order, of what is held, of what was paid
LOTS, HELD_LOTS, MOVE = 1_500, 500, 20_000
FILLER = {"instrument": OTHER, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
ASPECTS = ("fees", "funding", "open loss", "stale profit", "no price")


class Scene:
    """An account by what has happened to it; money in 1e-8 of the quote currency."""

    def __init__(self, folder, aspect, **changes):
        self.aspect, self.at = aspect, MS
        self.rig = rig = Rig(folder, 3, 3, 20_000, changes)
        rig.open_market()
        self.unproven = self.unrealised = 0
        self.held = aspect in ("open loss", "stale profit", "no price")
        if aspect == "fees":
            self._round_trip()
        if self.held:
            self._hold()

    def _round_trip(self):
        """In and out at one price: nothing is lost but the fee."""
        entry, _ = self.rig.enter(shard=OTHER, instrument=OTHER, qty_lots=100)
        self.rig.intent(
            4 * MS, shard=OTHER, instrument=OTHER, side=e.SIDE_SELL, type=e.TYPE_MARKET, price_ticks=0, stop_ticks=0,
            leg=e.LEG_EXIT, flags=e.ORDER_REDUCE_ONLY, qty_lots=100,
        )  # fmt: skip
        self.rig.run()
        leave = self.rig.requests()[-1]
        self.rig.fill(6 * MS, leave, fee=7 * 10**8 + 1)
        self.rig.run()
        self.rig.requests()
        assert entry["qty_lots"] == 100 and self.equity == START - 7 * 10**8 - 1
        self.at = 7 * MS

    def _hold(self):
        """Bought at the ask; then the market moves, for or against it, and its price may be believed or not."""
        rig, move = self.rig, MOVE if self.aspect == "stale profit" else -MOVE
        rig.enter(shard=HELD, instrument=HELD, qty_lots=HELD_LOTS)
        rig.quote(6 * MS, BID + move, ASK + move, HELD)
        if self.aspect == "stale profit":
            rig.whole(7 * MS, False, HELD)
        if self.aspect == "no price":
            rig.quote(7 * MS, 0, 0, HELD)
        rig.run()
        rig.requests()
        self.unrealised = (HELD_LOTS * (MID2 + 2 * move - 2 * ASK) * VALUE) // 2
        self.unproven = max(0, self.unrealised) if self.aspect == "stale profit" else 0
        assert self.equity == START + self.unrealised
        self.price2 = MID2 + 2 * move if self.aspect != "stale profit" else max(MID2 + 2 * move, 2 * ASK)
        self.at = 8 * MS

    @property
    def equity(self):
        """The account's own figure."""
        return int(self.rig.agent.memory.account["equity_e8"][0])

    def others2(self):
        """Twice what is held elsewhere at its worst."""
        return HELD_LOTS * self.price2 * VALUE if self.held else 0

    def pay_to(self, equity_e8):
        """Funding brings the account to this, to the unit, as one event."""
        self.rig.event(self.at, e.REPORT_FUNDING, FILLER, cash_e8=equity_e8 - self.equity)
        self.rig.run()
        assert self.equity == equity_e8

    def could_lose(self):
        """Twice what the order could cost at value at risk, and at the expected shortfall, by the slow twin."""
        memory = self.rig.agent.memory
        window = [[None if move != move else move for move in row] for row in memory.known.window.T.tolist()]
        rows = [
            {"lots": HELD_LOTS * (i == HELD and self.held), "cost": HELD_LOTS * ASK * (i == HELD and self.held),
             "buys": 0, "sells": 0, "twice_mid": self.price2 if i == HELD and self.held else MID2,
             "live": self.aspect != "stale profit" or i != HELD, "value_e8": VALUE}
            for i in range(3)
        ]  # fmt: skip
        table = dict(zip(self.rig.limits.dtype.names, self.rig.limits[0].item(), strict=True))
        return could_lose(window, rows, ORDERED, 1, LOTS, table)


def needed(bps, worth2_e8):
    """The least equity of which that share is worth so much."""
    return -(-worth2_e8 * 10_000 // (2 * bps))


def of_the_order(scene):
    """Twice the order's value at the mid."""
    return LOTS * MID2 * VALUE


def with_the_others(scene):
    """... and what is held."""
    return LOTS * MID2 * VALUE + scene.others2()


def at_the_stop(scene):
    """Twice what is lost there: the way, a thousandth of fee each way, half a hundredth of slippage."""
    way, there, back = (LOTS * ticks * VALUE for ticks in (ASK - STOP, ASK, STOP))
    return 2 * (way + -(-there // 1_000) + -(-back * 6 // 1_000))


SHARES = {  # what is measured, the code, and whether it is judged before what all positions may be worth
    "position_bps": (of_the_order, e.RISK_POSITION, True),
    "stop_loss_bps": (at_the_stop, e.RISK_STOP_LOSS, True),
    "gross_bps": (with_the_others, e.RISK_GROSS, False),
    "strategy_bps": (with_the_others, e.RISK_STRATEGY, False),
    "net_bps": (with_the_others, e.RISK_NET, False),
    "venue_bps": (with_the_others, e.RISK_VENUE, False),
    "var_bps": (lambda scene: scene.could_lose()[0], e.RISK_VALUE_AT_RISK, False),
    "shortfall_bps": (lambda scene: scene.could_lose()[1], e.RISK_SHORTFALL, False),
}


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("limit", SHARES)
def test_a_share_of_the_account_is_exact_whatever_made_the_account(tmp_path, limit, aspect, unit):
    """`unit` is what the account has more than the order needs of it."""
    measured, code, goes_first = SHARES[limit]
    scene = Scene(tmp_path, aspect)
    rig = scene.rig
    for other in ("position_bps", "gross_bps", "net_bps", "venue_bps", "strategy_bps", "var_bps", "shortfall_bps"):
        rig.limits[other] = 1_000_000  # no other limit is in the way
    worth2 = measured(scene) if aspect != "no price" or goes_first else of_the_order(scene)
    rig.limits[limit] = bps = max(1, worth2 * 10_000 // (2 * START * 985 // 1_000))
    rig.limits["daily_loss_bps"], rig.limits["drawdown_bps"] = 9_999, 9_999
    scene.pay_to(needed(bps, worth2) + unit + scene.unproven)
    rig.intent(scene.at + MS, shard=ORDERED, instrument=ORDERED, qty_lots=LOTS, stop_ticks=STOP)
    rig.run()
    expected = {code: 1} if unit < 0 else {}
    if aspect == "no price" and not (goes_first and unit < 0):
        expected = {e.RISK_GROSS: 1}  # what has no price has no bound
    assert rig.rejects == expected
    assert len(rig.requests()) == (not expected)


LOSSES = {  # the share of the mark that ends the opening, the code or the kill word, whether unproven profit counts
    "daily_loss_bps": (e.RISK_DAILY_LOSS, 0, False),
    "drawdown_bps": (e.RISK_DRAWDOWN, 0, False),
    "kill_daily_loss_bps": (e.RISK_KILLED, KILLED_BY_DAILY_LOSS, True),
    "kill_drawdown_bps": (e.RISK_KILLED, KILLED_BY_DRAWDOWN, True),
}
WIDE = {"daily_loss_bps": 9_999, "drawdown_bps": 9_999}


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("limit", LOSSES)
def test_a_loss_is_exact_whatever_it_is_made_of(tmp_path, limit, aspect, unit):
    """`unit` is what is lost beyond the limit; at it nothing is opened any more."""
    code, word, counts = LOSSES[limit]
    scene = Scene(tmp_path, aspect, **(WIDE | {limit: 250}))
    rig, mark = scene.rig, max(START, START + scene.unrealised)
    if "drawdown" not in limit:
        mark = START
    scene.pay_to(mark + -mark * 250 // 10_000 - unit + (0 if counts else scene.unproven))
    assert rig.wires.control[CONTROL_KILL] == (word if unit >= 0 else 0)
    rig.intent(scene.at + MS, shard=ORDERED, instrument=ORDERED, qty_lots=100)
    rig.run()
    free = {e.RISK_GROSS: 1} if aspect == "no price" else {}
    assert rig.rejects == ({code: 1} if unit >= 0 else free)


UNITS = "tests/sim/test_limit_boundaries.py::test_a_limit_holds_from_its_first_unit_on"
SHARE = f"tests/sim/{Path(__file__).name}::test_a_share_of_the_account_is_exact_whatever_made_the_account"
LOSS = f"tests/sim/{Path(__file__).name}::test_a_loss_is_exact_whatever_it_is_made_of"
TOGETHER = "tests/sim/test_portfolio_limits.py"
EDGES = {
    **dict.fromkeys(SHARES, SHARE),
    **dict.fromkeys(LOSSES, LOSS),
    **dict.fromkeys(
        ("order_notional", "order_lots", "collar_bps", "open_orders", "cool_down_ms", "bucket_tokens",
         "bucket_refill_ms", "shard_tokens", "shard_refill_ms", "order_tokens", "order_refill_ms", "message_tokens",
         "message_refill_ms", "repeat_orders", "repeat_pause_ms", "stop_bps", "slippage_bps", "quote_age_ms",
         "breaker_failures", "breaker_window_ms", "breaker_open_ms", "streak_losses", "streak_pause_ms"),
        UNITS,
    ),
    "capital": f"{TOGETHER}::test_equity_counts_as_no_more_than_the_capital_at_stake",
    "correlation_bps": f"{TOGETHER}::test_the_limit_of_correlation_is_exact",
    "correlation_half_life_s": "tests/unit/settings/test_conversion.py::test_a_move_counts_half_after_its_half_life",
    "var_confidence_bps": "tests/properties/kernels/test_tail.py::test_equal_to_the_twin_to_the_last_unit",
    "var_horizon_s": "tests/properties/kernels/test_tail.py::test_equal_to_the_twin_to_the_last_unit",
    "stop_confirm_ms": "tests/sim/test_execution_wiring.py::"
    "test_a_stop_that_is_not_confirmed_in_time_ends_in_a_market_close",
    "day_offset_minutes": "tests/sim/test_day_shut.py::"
    "test_the_trading_day_starts_so_many_minutes_after_midnight",
    "lag_ms": "tests/sim/test_shard_wiring.py::test_a_lag_counts_from_the_first_nanosecond_beyond_its_limit",
    "silence_ms": "tests/sim/test_feed_limits.py::test_a_book_is_stale_from_the_first_nanosecond_beyond_its_silence",
    "spike_bps": "tests/sim/test_feed_limits.py::test_a_leap_counts_from_the_first_tick_beyond_its_limit",
    "venue_time_ms": "tests/properties/engine/test_feed_time.py::"
    "test_a_time_is_wrong_from_the_first_nanosecond_beyond_its_limit",
}  # fmt: skip


@pytest.mark.parametrize("limit", Limits.__struct_fields__)
def test_every_limit_of_the_settings_is_held_at_its_exact_unit_by_a_test(limit):
    file, name = EDGES[limit].split("::")
    assert re.search(rf"^def {name}\(", (REPOSITORY / file).read_text(), re.MULTILINE), EDGES[limit]


def test_nothing_else_is_called_a_limit():
    assert set(EDGES) == set(Limits.__struct_fields__)

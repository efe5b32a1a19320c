"""Each limit of limits.toml is changed in the file, and the kernels that were compiled before hold the new one.

A compiler that froze a limit as a constant, or a cache that did not notice, would go on with the old one. The bot is
started with the shipped limits first, so every kernel is loaded by then; nothing is compiled or loaded anew after it.
"""

import re

import numpy as np
import pytest
from rig.hand import MS, HandBot
from rig.market import MARKETS
from rig.session import settings_folder

from bot4.engine.execution_step import execution_step
from bot4.jit import JIT
from bot4.model.enums import (
    DECISION_NO_QUOTE,
    RISK_COLLAR,
    RISK_COOL_DOWN,
    RISK_DAILY_LOSS,
    RISK_DRAWDOWN,
    RISK_GROSS,
    RISK_NET,
    RISK_NOTIONAL,
    RISK_ORDER_SIZE,
    RISK_RATE,
    RISK_SIZE_ZERO,
    RISK_STOP_FAR,
    RISK_STOP_LOSS,
    RISK_STRATEGY,
    RISK_STREAK,
    RISK_VALUE_AT_RISK,
    RISK_VENUE,
)
from bot4.model.records import LIMITS
from bot4.settings.conversion import limits_record
from bot4.settings.loader import load
from bot4.settings.schema import Limits
from bot4.shm.wires import GAUGE_EXEC_FLATTENS

pytestmark = pytest.mark.compiled
VENUE = "binance_usdm"
MESSAGES = 1_200
FEE_PPM, SLIPPAGE_TICKS = 20_000, 70  # so that a few orders lose what a limit allows, and a price is far away
STRICT = {  # field: value, the refusals that it makes and the shipped one does not (or many more of)
    "position_bps": ("1", RISK_SIZE_ZERO),
    "order_notional": ('"10"', RISK_NOTIONAL),
    "order_lots": ("1", RISK_ORDER_SIZE),
    "collar_bps": ("1", RISK_COLLAR),
    "drawdown_bps": ("1", RISK_DRAWDOWN),
    "daily_loss_bps": ("1", RISK_DAILY_LOSS),
    "gross_bps": ("1", RISK_GROSS),
    "net_bps": ("1", RISK_NET),
    "venue_bps": ("1", RISK_VENUE),
    "strategy_bps": ("1", RISK_STRATEGY),
    "var_bps": ("1", RISK_VALUE_AT_RISK),
    "streak_losses": ("1", RISK_STREAK),
    "cool_down_ms": ("60000", RISK_COOL_DOWN),
    "bucket_tokens": ("1", RISK_RATE),
    "bucket_refill_ms": ("60000", RISK_RATE),
    "quote_age_ms": ("1", DECISION_NO_QUOTE),
    "stop_bps": ("1", RISK_STOP_FAR),
    "stop_loss_bps": ("1", RISK_STOP_LOSS),
}
# seen at work in tests/sim/test_execution_wiring.py, test_portfolio_limits.py, test_limit_boundaries.py,
# test_rates_and_repeats.py and tests/unit/kernels/risk
OTHERS = {
    "correlation_bps": "0", "correlation_half_life_s": "10", "shortfall_bps": "1", "var_confidence_bps": "9000",
    "kill_daily_loss_bps": "400", "kill_drawdown_bps": "1900",
    "var_horizon_s": "60", "capital": '"100"', "streak_pause_ms": "1",
    "open_orders": "1", "breaker_failures": "1", "breaker_window_ms": "1", "breaker_open_ms": "1",
    "day_offset_minutes": "60", "stop_confirm_ms": "3", "repeat_orders": "1", "repeat_pause_ms": "1000",
    "shard_tokens": "1", "shard_refill_ms": "60000", "order_tokens": "1", "order_refill_ms": "60000",
    "message_tokens": "2", "message_refill_ms": "60000", "slippage_bps": "5000",
}  # fmt: skip
OF_THE_FEED = {
    "spike_bps",
    "venue_time_ms",
    "silence_ms",
    "lag_ms",
}  # tests/unit/workers, tests/sim/test_bad_data_everywhere.py


def limits_of(folder, field="", value=""):
    """LIMITS[1] of the shipped file with one field changed, by the way that a session takes."""
    config = settings_folder(folder)
    # the profile of paper would hold drawdown shorter than the file
    config.write_text(re.sub(r"\[profile\].*?(?=\n\n|\Z)", "", config.read_text(), flags=re.DOTALL))
    if field:
        file = config.with_name("limits.toml")
        text, count = re.subn(rf"^{field} = \S+", f"{field} = {value}", file.read_text(), flags=re.MULTILINE)
        assert count == 1
        file.write_text(text)
    return limits_record(load(config))


def rejects(folder, limits):
    """Refusals by code, and closes for want of a confirmed stop, on the same market."""
    market = MARKETS[VENUE](1)
    bot = HandBot(
        folder, market.streams(), market.decoder(), market.listing,
        limits=limits, fee_ppm=FEE_PPM, slippage_ticks=SLIPPAGE_TICKS,
    )  # fmt: skip
    bot.fetcher.answer = market.whole
    bot.pool.open()
    for _ in range(MESSAGES):
        bot.clock.ns += 20 * MS
        bot.put(market.next().body)
        bot.turn()
    bot.close()
    return bot.wires.rejects.sum(axis=0), int(bot.wires.gauges[1, GAUGE_EXEC_FLATTENS])


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """What the shipped limits refuse."""
    folder = tmp_path_factory.mktemp("shipped")
    return rejects(folder, limits_of(folder))


def loaded():
    """How many versions of execution's step there are in this process."""
    return sum(execution_step.stats.cache_misses.values()) + sum(execution_step.stats.cache_hits.values()) if JIT else 0


@pytest.mark.parametrize("field", STRICT)
def test_a_limit_that_was_changed_is_the_one_that_holds(tmp_path, shipped, field):
    before = loaded()
    value, code = STRICT[field]
    found, _ = rejects(tmp_path, limits_of(tmp_path, field, value))
    print(f"{field} = {value}: refused {found[code]} times, {shipped[0][code]} with the shipped one")
    assert found[code] > shipped[0][code] and found[code] >= 5
    assert loaded() == before, "by the kernels that were there"


def test_a_time_for_the_stop_that_is_too_short_flattens(tmp_path, shipped):
    found = rejects(tmp_path, limits_of(tmp_path, "stop_confirm_ms", "3"))
    assert found[1] > shipped[1] == 0


@pytest.mark.parametrize("field", [*STRICT, *OTHERS])
def test_every_field_reaches_its_own_place_in_the_record_and_no_other(tmp_path, field):
    value = OTHERS[field] if field in OTHERS else STRICT[field][0]
    shipped, changed = limits_of(tmp_path / "a"), limits_of(tmp_path / "b", field, value)
    differ = [name for name in LIMITS.names if not np.array_equal(shipped[name], changed[name])]
    assert len(differ) == 1, differ


def test_no_field_is_forgotten_here():
    assert {*STRICT, *OTHERS, *OF_THE_FEED} == set(Limits.__struct_fields__)

"""Settings to records: units, exactness, and what is refused at start."""

import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from bot4.engine.feed_memory import listing
from bot4.model.errors import InputError, SettingsError
from bot4.model.impact import IMPACT_ALMGREN_CHRISS, IMPACT_NONE, IMPACT_SQUARE_ROOT
from bot4.model.records import INSTRUMENT, LIMITS, SESSION
from bot4.settings.conversion import (
    breaker_words,
    check_instruments,
    check_limits,
    check_profile,
    check_stop_time,
    data_latency_of,
    impacts_of,
    instrument_records,
    latencies_of,
    limits_record,
    session_record,
)
from bot4.settings.loader import load
from bot4.settings.schema import MAX_INSTRUMENTS, MAX_SHARDS, Impact, Profile, WayLatency
from bot4.shm import layout

SHIPPED = load(Path(__file__).resolve().parents[3] / "config" / "paper.toml")
SETTINGS = msgspec.structs.replace(SHIPPED, profile=None)
SPOT = ("BTCUSDT", "binance_spot")
USDM = ("BTCUSDT", "binance_usdm")
LISTED = SimpleNamespace(symbol="BTCUSDT", venue="binance_spot", synthetic=False)
SOL = ("SYNSOL", "synthetic")


def _changed(**groups):
    """The settings with fields of a group replaced, e.g. limits={"order_lots": 5}."""
    new = {name: msgspec.structs.replace(getattr(SETTINGS, name), **fields) for name, fields in groups.items()}
    return msgspec.structs.replace(SETTINGS, **new)


def _instrument(**fields):
    return msgspec.structs.replace(SETTINGS.instruments[0], **fields)


def test_limits_are_in_record_units_and_every_field_is_set():
    limits = msgspec.structs.replace(SETTINGS.limits, order_notional="2500.5", day_offset_minutes=90, cool_down_ms=7)
    row = limits_record(msgspec.structs.replace(SETTINGS, limits=limits))
    assert row.dtype == LIMITS and row.shape == (1,)
    assert row[0]["position_bps"] == 200
    assert row[0]["order_notional_e8"] == 2500_5000_0000
    assert row[0]["cool_down_ns"] == 7_000_000
    assert row[0]["stop_confirm_ns"] == 1_000_000_000
    assert row[0]["day_offset_ns"] == 5_400_000_000_000
    assert row[0]["breaker_window_ns"] == SETTINGS.limits.breaker_window_ms * 1_000_000
    assert all(row[0][name] > 0 for name in LIMITS.names)


def test_each_limit_reaches_a_word_of_its_own():
    base = limits_record(SETTINGS)[0]
    reached = set()
    for name in SETTINGS.limits.__struct_fields__:
        if name in ("lag_ms", "silence_ms", "spike_bps", "venue_time_ms"):
            continue  # one goes by the pace: see test_a_lag_is_measured_in_event_time; the other is the live feed's
        value = getattr(SETTINGS.limits, name)
        other = str(Decimal(value) + 1) if isinstance(value, str) else value + 1
        row = limits_record(_changed(limits={name: other}))[0]
        differing = [field for field in LIMITS.names if row[field] != base[field]]
        assert len(differing) == 1, name
        reached.update(differing)
    assert reached == set(LIMITS.names)


@pytest.mark.parametrize(
    ("component", "fields", "words"),
    [
        ("shard", {"open_ms": 1_000}, "breaker.shard.open_ms: the breaker of the shard does not go by it; remove it"),
        ("parser", {"failures": 3}, "breaker.parser.failures: the breaker of the parser does not go by it"),
        ("model", {"slow_ms": 3, "slow_bps": 1, "calls": 1}, "breaker.model.slow_ms: the breaker of the model"),
        ("feed", {"open_ms": None, "doublings": None, "probes": None}, "breaker.feed.open_ms: missing; add it"),
        ("feed", {"open_ms": None}, "breaker.feed.open_ms: missing; add it, doublings needs it"),
        ("feed", {"failures": None}, "breaker.feed.failures: missing; add it, or nothing would ever open"),
        ("feed", {"failure_bps": 100}, "breaker.feed.calls: missing; add it, failure_bps needs it"),
        ("execution", {"slow_bps": None}, "breaker.execution.slow_bps: missing; add it, slow_ms needs it"),
        ("parser", {"failure_bps": None}, "breaker.parser.failure_bps: missing; add it"),
    ],
)
def test_fields_of_a_breaker_that_do_not_fit_together_are_refused_by_name(component, fields, words):
    changed = msgspec.structs.replace(getattr(SETTINGS.breakers, component), **fields)
    with pytest.raises(SettingsError, match=re.escape(words)):
        breaker_words(_changed(breakers={component: changed}))


def test_the_settings_of_breakers_are_in_record_units():
    found = breaker_words(SETTINGS)
    assert set(found) == {"execution", "journal", "recorder", "feed", "parser", "shard", "model"}
    assert found["execution"].tolist() == [5, 60 * 10**9, 10, 5_000, 2 * 10**9, 5_000, 10 * 10**9, 5, 2]
    assert found["shard"].tolist() == [4, 60 * 10**9, *[0] * 7] and found["journal"][0] == 1


def test_a_session_on_paper_is_held_shorter_and_never_longer():
    assert SHIPPED.profile is not None and limits_record(SHIPPED)[0]["drawdown_bps"] == 500
    assert limits_record(SETTINGS)[0]["drawdown_bps"] == SHIPPED.limits.drawdown_bps == 1_500
    tighter = msgspec.structs.replace(_changed(limits={"drawdown_bps": 400}), profile=None)
    assert limits_record(msgspec.structs.replace(tighter, profile=Profile(drawdown_bps=400)))[0]["drawdown_bps"] == 400
    check_profile(SHIPPED)
    loose = msgspec.structs.replace(SHIPPED, profile=Profile(drawdown_bps=1_501))
    with pytest.raises(SettingsError, match=r"profile.drawdown_bps: 1501 is looser than the 1500 of limits.toml"):
        check_profile(loose)


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [("position_bps", 1_601, "net_bps"), ("gross_bps", 1_799, "strategy_bps"),
     ("net_bps", 199, "position_bps"), ("venue_bps", 199, "position_bps"), ("strategy_bps", 199, "position_bps"),
     ("gross_bps", 199, "net_bps"), ("venue_bps", 2_001, "gross_bps"), ("net_bps", 2_001, "gross_bps"),
     ("strategy_bps", 2_001, "gross_bps"), ("kill_daily_loss_bps", 299, "daily_loss_bps"),
     ("kill_drawdown_bps", 1_499, "drawdown_bps")],
)  # fmt: skip
def test_limits_of_which_one_makes_another_impossible_are_refused_by_name(name, value, other):
    check_limits(SHIPPED)
    with pytest.raises(SettingsError) as caught:
        check_limits(_changed(limits={name: value}))
    assert f": {name}: {value} is above" in str(caught.value) or f"of {name}, " in str(caught.value)
    assert other in str(caught.value) and "\n" not in str(caught.value)
    nearer = value + (-1 if f": {name}: " in str(caught.value) else 1)
    if name != "gross_bps" or nearer == 1_800:  # with less, others are in its way too
        check_limits(_changed(limits={name: nearer}))


def test_a_budget_for_losses_that_no_order_can_meet_is_refused_by_name():
    tight = {"stop_loss_bps": 1, "slippage_bps": 1_980}  # 20 % of the least order of 5 is 1
    instrument_records(_changed(limits=tight, account={"equity": "10000"}), [SPOT], 1)
    with pytest.raises(SettingsError, match=r"min_notional: fees and slippage_bps alone are .* stop_loss_bps"):
        instrument_records(_changed(limits=tight, account={"equity": "9999"}), [SPOT], 1)


def test_instruments_are_exact_and_dealt_to_shards_in_turn():
    rows = instrument_records(SETTINGS, [SPOT, USDM, SOL], 2)
    assert rows.dtype == INSTRUMENT
    assert list(rows["index"]) == [0, 1, 2]
    assert list(rows["shard"]) == [0, 1, 0]
    assert list(rows["is_spot"]) == [1, 0, 1]
    assert list(rows["tick_e8"]) == [1_000_000, 10_000_000, 1_000_000]
    assert list(rows["lot_e8"]) == [1_000, 100_000, 100_000]
    assert list(rows["value_e8"]) == [10, 10_000, 1_000]
    assert list(rows["price_decimals"]) == [2, 1, 2]
    assert list(rows["qty_decimals"]) == [5, 3, 3]
    assert list(rows["min_notional_e8"]) == [500_000_000] * 3
    assert list(rows["min_qty_lots"]) == [1, 1, 1]
    assert list(rows["maker_fee_ppm"]) == [1_000, 200, 1_000]
    assert list(rows["taker_fee_ppm"]) == [1_000, 500, 1_000]


def test_a_lot_too_fine_for_exact_money_is_refused_with_one_that_would_do():
    with pytest.raises(SettingsError) as caught:
        check_instruments([_instrument(tick_size="0.1", lot_size="0.00000001")], "instruments.toml")
    assert 'write lot_size = "0.0000001" and venue_lot = "0.00000001"' in str(caught.value)
    check_instruments([_instrument(tick_size="0.1", lot_size="0.0000001", venue_lot="0.00000001")], "instruments.toml")


@pytest.mark.parametrize(("step", "decimals"), [(None, 0), ("0.00000001", 9), ("0.0000010", 7), ("0.00001", 6)])
def test_the_venues_own_step_is_written_down_by_its_decimals(step, decimals):
    rows = instrument_records(msgspec.structs.replace(SETTINGS, instruments=(_instrument(venue_lot=step),)), [SPOT], 1)
    assert (rows[0]["step_decimals"], rows[0]["lot_e8"], rows[0]["qty_decimals"]) == (decimals, 1_000, 5)
    found = listing(rows[0], LISTED)[0]
    steps = 10 ** (decimals - 6) if decimals else 1
    assert (found["qty_decimals"], found["lot_units"], found["lot_scale"]) == (max(decimals - 1, 5), 1, steps)


def test_whole_sizes_have_no_decimals():
    rows = instrument_records(
        msgspec.structs.replace(SETTINGS, instruments=(_instrument(tick_size="100", lot_size="1", min_qty="1"),)),
        [SPOT],
        1,
    )
    assert (rows[0]["price_decimals"], rows[0]["qty_decimals"]) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tick_size": "0.00001", "lot_size": "0.0001"}, "lot_size: one tick of one lot is worth"),
        ({"venue_lot": "0.0001"}, "venue_lot"),
        ({"venue_lot": "0.000002"}, "venue_lot"),
        ({"lot_size": "20", "venue_lot": "10", "min_qty": "20"}, "venue_lot"),
        ({"min_qty": "0.000015"}, "min_qty"),
        ({"max_qty": "0.000015"}, "max_qty"),
        ({"min_qty": "2", "max_qty": "1"}, "max_qty"),
        ({"lot_size": "0.00000001", "tick_size": "1", "max_qty": "100000000"}, "max_qty"),
        ({"maker_fee_bps": "0.001"}, "maker_fee_bps"),
        ({"taker_fee_bps": "0.015"}, "taker_fee_bps"),
        ({"maker_fee_bps": "-0.51", "taker_fee_bps": "0.5"}, "maker_fee_bps: -0.51 and taker_fee_bps = 0.5 are less"),
        ({"min_notional": "0.000000001"}, "min_notional"),
        ({"tick_size": "0.000000001"}, "tick_size"),
    ],
)
def test_units_that_do_not_fit_together_are_refused_by_field(fields, named):
    with pytest.raises(SettingsError) as caught:
        check_instruments([SETTINGS.instruments[1], _instrument(**fields)], "instruments.toml")
    assert str(caught.value).startswith(f"instruments.toml: instrument[1].{named}")


@pytest.mark.parametrize("half_life_s", [10, 3_600, 604_800])
def test_a_move_counts_half_after_its_half_life(half_life_s):
    decay = limits_record(_changed(limits={"correlation_half_life_s": half_life_s}))["correlation_decay_ppb"][0] / 1e9
    assert decay**half_life_s == pytest.approx(0.5, rel=1e-3)
    assert decay ** (half_life_s * 1.01) < 0.4975 < decay ** (half_life_s * 0.99)


def test_a_rebate_up_to_the_other_sides_fee_is_one():
    check_instruments([_instrument(maker_fee_bps="-0.5", taker_fee_bps="0.5")], "instruments.toml")


def test_an_instrument_named_twice_is_refused():
    with pytest.raises(SettingsError, match=r"instrument\[1\]\.symbol: BTCUSDT of binance_spot is there twice"):
        check_instruments([_instrument(), _instrument(tick_size="0.1")], "instruments.toml")


def test_instrument_that_is_not_listed():
    with pytest.raises(SettingsError, match='no instrument "DOGEUSDT" of venue "binance_spot"; add'):
        instrument_records(SETTINGS, [("DOGEUSDT", "binance_spot")], 1)


def test_one_instrument_from_two_sources():
    with pytest.raises(SettingsError, match="name its files as one chain"):
        instrument_records(SETTINGS, [SPOT, USDM, SPOT], 1)


@pytest.mark.parametrize(
    ("chosen", "shards"), [([], 1), ([SPOT] * (MAX_INSTRUMENTS + 1), 1), ([SPOT], 0), ([SPOT], MAX_SHARDS + 1)]
)
def test_counts_outside_their_bounds(chosen, shards):
    with pytest.raises(SettingsError):
        instrument_records(SETTINGS, chosen, shards)


def test_minimum_notional_above_what_two_percent_allow_says_the_equity_needed():
    poor = _changed(account={"equity": "249.99"})
    with pytest.raises(SettingsError, match=r"needs an equity of 250 at position_bps = 200; account.equity is 249.99"):
        instrument_records(poor, [SPOT], 1)
    assert instrument_records(_changed(account={"equity": "250"}), [SPOT], 1).size == 1


def test_one_account_counts_in_one_currency():
    other = msgspec.structs.replace(SETTINGS.instruments[0], quote="USD")
    settings = msgspec.structs.replace(SETTINGS, instruments=(other, *SETTINGS.instruments[1:]))
    with pytest.raises(
        SettingsError, match=r"instrument\[0\]\.quote: BTCUSDT is priced in USD, .* counts in USDT; leave"
    ):
        instrument_records(settings, [SPOT], 1)
    assert instrument_records(settings, [USDM], 1).size == 1, "what is not chosen does not matter"
    silent = msgspec.structs.replace(other, quote=None)
    settings = msgspec.structs.replace(SETTINGS, instruments=(silent, *SETTINGS.instruments[1:]))
    assert instrument_records(settings, [SPOT], 1).size == 1


def test_minimum_notional_above_the_largest_order():
    with pytest.raises(SettingsError, match=r"order_notional of limits\.toml is 4"):
        instrument_records(_changed(limits={"order_notional": "4"}), [SPOT], 1)


def test_stop_that_could_never_be_confirmed_in_time():
    late = msgspec.structs.replace(SETTINGS.venue.sim, order_latency_us=600_000, report_latency_us=400_000)
    settings = msgspec.structs.replace(SETTINGS, venue=msgspec.structs.replace(SETTINGS.venue, sim=late))
    with pytest.raises(SettingsError, match=r"venue\.sim\.order_latency_us"):
        check_stop_time(settings)
    sooner = msgspec.structs.replace(late, report_latency_us=399_999)
    check_stop_time(msgspec.structs.replace(settings, venue=msgspec.structs.replace(settings.venue, sim=sooner)))


@pytest.mark.parametrize(
    ("paced", "speed", "expected_ms"), [(False, 1.0, 250), (False, 10.0, 2_500), (False, 0.0, 0), (True, 1.0, 0)]
)
def test_a_lag_is_measured_in_event_time(paced, speed, expected_ms):
    """Where the feed waits for its readers, or agents for promises, nobody is late."""
    row = session_record(SETTINGS, paced=paced, n_shards=1, n_instruments=1, speed=speed)
    assert row["lag_limit_ns"][0] == expected_ms * 10**6


@pytest.mark.parametrize(
    ("paced", "measure", "expected"), [(True, None, 0), (False, None, 1), (True, True, 1), (False, False, 0)]
)
def test_session(paced, measure, expected):
    row = session_record(SETTINGS, paced=paced, n_shards=2, n_instruments=3, feed_generation=4, measure=measure)
    assert row.dtype == SESSION and row.shape == (1,)
    assert {name: int(row[0][name]) for name in SESSION.names} == {
        "paced": int(paced),
        "order_latency_ns": 1_000_000,
        "report_latency_ns": 1_000_000,
        "internal_latency_ns": 50_000,
        "totals_grid_ns": 100_000_000,
        "start_equity_e8": 100_000 * 10**8,
        "account": 1,
        "strategy": 1,
        "feed_generation": 4,
        "n_shards": 2,
        "n_instruments": 3,
        "measure": expected,
        "lag_limit_ns": 0,
        **dict.fromkeys(
            (
                "high_water_e8",
                "day",
                "day_start_e8",
                "streak",
                "streak_until_ns",
                "day_shut_until_ns",
                "asks_first",
                "stake_e8",
            ),
            0,
        ),
    }


def test_an_order_id_of_the_largest_account_is_a_positive_int64():
    assert np.int64(32_767 << 48) > 0


def test_bound_of_shards_is_what_shared_memory_has_lines_for():
    assert MAX_SHARDS == layout.MAX_SHARDS


def test_every_refusal_is_an_input_error_with_exit_code_2():
    assert issubclass(SettingsError, InputError) and SettingsError.exit_code == 2


def with_ways(**ways):
    venue = msgspec.structs.replace(SETTINGS.venue, sim=msgspec.structs.replace(SETTINGS.venue.sim, **ways))
    return msgspec.structs.replace(SETTINGS, venue=venue)


def test_latencies_of_the_ways(tmp_path):
    assert latencies_of(SETTINGS) == (None, None, None)
    (tmp_path / "samples").write_text("5\n7\n")
    (tmp_path / "measured").write_text("req_ts,exch_ts,resp_ts\n10,13,18\n")
    order, cancel, report = latencies_of(
        with_ways(
            order=WayLatency("log_normal", us=3_000, sigma="0.5", seed=7),
            cancel=WayLatency("recorded", file=str(tmp_path / "samples")),
            report=WayLatency("interpolated", file=str(tmp_path / "measured")),
        )
    )
    assert np.median(order.values) == pytest.approx(3_000_000, rel=0.1) and len(set(order.values.tolist())) > 1_000
    assert cancel.values.tolist() == [5, 7]
    assert (report.times.tolist(), report.values.tolist()) == ([13], [5])
    order, _, _ = latencies_of(with_ways(order=WayLatency("constant", us=9)))
    assert order.values.tolist() == [9_000]


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (WayLatency("constant"), "us: missing"), (WayLatency("constant", us=1, seed=2), "seed: not used"),
        (WayLatency("log_normal", us=1, sigma="1"), "seed: missing"), (WayLatency("recorded", us=1), "us: not used"),
        (WayLatency("recorded", file="/nowhere/at/all"), "file: /nowhere/at/all: cannot be read"),
    ],
)  # fmt: skip
def test_latencies_that_are_refused(way, says):
    with pytest.raises(SettingsError) as error:
        latencies_of(with_ways(cancel=way))
    assert f"venue.sim.cancel.{says}" in str(error.value) and "\n" not in str(error.value)


def test_the_latency_of_data_is_the_way_from_the_venue(tmp_path):
    (tmp_path / "measured").write_text("req_ts,exch_ts,resp_ts\n10,13,18\n")
    assert data_latency_of(SETTINGS) is None
    data = data_latency_of(with_ways(data=WayLatency("interpolated", file=str(tmp_path / "measured"))))
    assert (data.times.tolist(), data.values.tolist()) == ([13], [5])
    with pytest.raises(SettingsError, match=r"venue\.sim\.data\.us: missing"):
        data_latency_of(with_ways(data=WayLatency("constant")))


def with_impact(**fields):
    first = msgspec.structs.replace(SETTINGS.instruments[0], impact=Impact(**fields))
    return msgspec.structs.replace(SETTINGS, instruments=(first, *SETTINGS.instruments[1:]))


def test_impacts_in_ticks_and_lots():
    """Of an instrument with a tick of 0.01 and a lot of 0.00001."""
    chosen = [("BTCUSDT", "binance_usdm"), ("BTCUSDT", "binance_spot")]
    assert not impacts_of(SETTINGS, chosen)["model"].any()
    square = impacts_of(with_impact(model="square_root", coefficient="0.5", daily_quantity="20000"), chosen)
    assert square["model"].tolist() == [IMPACT_NONE, IMPACT_SQUARE_ROOT]
    assert (square[1]["coefficient"], square[1]["daily_lots"]) == (0.5, 2e9)
    plan = impacts_of(with_impact(model="almgren_chriss", gamma="2", eta="60", epsilon="0.05", tau_s=30), chosen)[1]
    named = ("model", "gamma", "eta", "epsilon", "tau")
    assert [float(plan[name]) for name in named] == pytest.approx([IMPACT_ALMGREN_CHRISS, 0.002, 0.06, 5.0, 30.0])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "linear", "coefficient": "1"}, "daily_quantity: missing by linear; add it"),
        ({"model": "square_root", "gamma": "1"}, "coefficient: missing"),
        ({"model": "almgren_chriss", "gamma": "1", "eta": "1", "epsilon": "0"}, "tau_s: missing"),
        (
            {"model": "linear", "coefficient": "1", "daily_quantity": "1", "eta": "1"},
            "eta: not used by linear; remove it",
        ),
    ],
)
def test_impacts_that_are_refused(fields, says):
    with pytest.raises(SettingsError) as error:
        impacts_of(with_impact(**fields), [("BTCUSDT", "binance_spot")])
    assert f"instruments.toml: instrument[0].impact.{says}" in str(error.value)

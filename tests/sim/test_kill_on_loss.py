"""Losses beyond the limits that end opening: the kill switch, at the event and the unit at which they are reached."""

import re

import pytest
from rig.execution import ASK, BID, T0, Rig
from rig.session import settings_folder
from rig.tables import MS, SECOND

from bot4.adapters.system.latch import FILE_NAME, KillLatch
from bot4.model.enums import LEG_STOP, REPORT_FUNDING, RISK_KILLED, TIF_GTC
from bot4.model.errors import SettingsError
from bot4.shm.layout import CONTROL_KILL, KILLED_BY_DAILY_LOSS, KILLED_BY_DRAWDOWN
from workers.execution import DAILY_LOSS, DRAWDOWN, LatchReader
from workers.reload import reload
from workers.session import StartOptions, prepare

DAY = 86_400 * SECOND
START = 100_000 * 10**8
FILLER = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
WAYS = {"kill_daily_loss_bps": (KILLED_BY_DAILY_LOSS, DAILY_LOSS), "kill_drawdown_bps": (KILLED_BY_DRAWDOWN, DRAWDOWN)}


def pay(rig, at, cash):
    """Funding, received or paid."""
    rig.event(at, REPORT_FUNDING, FILLER, cash_e8=cash)
    rig.run()


@pytest.mark.parametrize("unit", [-1, 0, 1])
@pytest.mark.parametrize("name", WAYS)
def test_the_kill_switch_is_set_at_the_very_unit(tmp_path, name, unit):
    rig = Rig(tmp_path, limit_changes={name: 400, "drawdown_bps": 9_999, "daily_loss_bps": 9_999})
    rig.open_market()
    if name == "kill_drawdown_bps":  # a mark above the day's begin, and a new day in between
        pay(rig, MS, 1_000 * 10**8)
        rig.quote(DAY)
        rig.run()
    mark = 101_000 * 10**8 if name == "kill_drawdown_bps" else START
    at = DAY + MS if name == "kill_drawdown_bps" else 2 * MS
    pay(rig, at, -(mark * 400 // 10_000) - unit)
    assert rig.wires.control[CONTROL_KILL] == (WAYS[name][0] if unit >= 0 else 0)
    pay(rig, at + MS, 10**12)  # what came back does not set it back
    rig.quote(at + 2 * MS)
    rig.intent(at + 3 * MS)
    rig.run()
    assert (rig.rejects == {RISK_KILLED: 1}) == (unit >= 0)
    assert len(rig.requests()) == (unit < 0)


@pytest.mark.parametrize("ticks", [0, 1])
def test_the_quote_that_brings_the_loss_sets_it_and_stops_stay(tmp_path, ticks):
    """1,000 lots lose 400 of 100,000 when the mid is 4,000,000 ticks lower; what rests is cancelled, the stop stays."""
    rig = Rig(tmp_path, limit_changes={"kill_daily_loss_bps": 40})
    rig.open_market()
    _, (stop,) = rig.enter(stop_ticks=BID - 5_000_000)
    rig.ack(4 * MS, stop)
    rig.intent(5 * MS, tif=TIF_GTC, price_ticks=BID - 10, qty_lots=100)
    rig.run()
    (resting,) = rig.requests()
    rig.ack(7 * MS, resting)
    low = 4_000_000 - ticks  # bought at the ask, so that the mid's half tick decides
    rig.quote(8 * MS, bid=BID - low, ask=ASK - low)
    rig.run()
    cancels = rig.requests()
    assert rig.wires.control[CONTROL_KILL] == (KILLED_BY_DAILY_LOSS if not ticks else 0)
    assert [int(one["id_lo"]) for one in cancels] == ([int(resting["id_lo"])] if not ticks else [])
    assert rig.position["stop_row"] >= 0 and rig.agent.memory.orders["leg"][rig.position["stop_row"]] == LEG_STOP


@pytest.mark.parametrize("name", WAYS)
def test_the_latch_on_disk_says_which_loss_it_was(tmp_path, name):
    (state := tmp_path / "state").mkdir()
    KillLatch(state).initialise()
    rig = Rig(tmp_path, limit_changes={name: 100})
    watched = LatchReader(rig.agent, rig.wires, state / FILE_NAME, rig.agent)
    rig.open_market()
    rig.event(MS, REPORT_FUNDING, FILLER, cash_e8=-START // 50)
    for _ in range(3):
        watched.do_work()
    assert KillLatch(state).read().reason == WAYS[name][1]
    assert rig.agent.memory.account["now_ns"][0] == T0 + MS


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("gross_bps", 199, "net_bps: 1600 is above the 199 of gross_bps"),
     ("net_bps", 2_001, "net_bps: 2001 is above the 2000 of gross_bps"),
     ("kill_drawdown_bps", 1_499, "drawdown_bps: 1500 is above the 1499 of kill_drawdown_bps")],
)  # fmt: skip
def test_start_and_reload_refuse_limits_of_which_one_makes_another_impossible(tmp_path, name, value, words):
    config = settings_folder(tmp_path)
    file = config.with_name("limits.toml")
    file.write_text(re.sub(rf"^{name} = \S+", f"{name} = {value}", file.read_text(), flags=re.MULTILINE))
    with pytest.raises(SettingsError, match=re.escape(words)):
        prepare(StartOptions(config=config))
    with pytest.raises(SettingsError, match=re.escape(words)):
        reload(config, None)

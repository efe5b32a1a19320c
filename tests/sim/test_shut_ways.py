"""What has shut the way in is shown: which limit, why, and until when; by execution's own figures."""

import json
import re

import pytest
from rig.execution import T0, Rig
from rig.session import run_command, settings_folder
from rig.tables import MS, SECOND

from bot4.adapters.files.shut import shut_ways
from bot4.model.enums import (
    ACTION_PLACE,
    LEG_ENTRY,
    LEG_EXIT,
    ORDER_REDUCE_ONLY,
    REPORT_FUNDING,
    REPORT_REJECT,
    SIDE_SELL,
    TYPE_MARKET,
)
from bot4.shm.layout import CONTROL_KILL

DAY = 86_400 * SECOND
OFFSET = 60 * 60 * SECOND
FILLER = {"instrument": 0, "id_hi": 1, "id_lo": 1, "order_row": -1, "side": 1}
NEXT_DAY = ((T0 - OFFSET) // DAY + 1) * DAY + OFFSET


def pays(rig, cash):
    """Funding."""
    rig.event(MS, REPORT_FUNDING, FILLER, cash_e8=-cash)


def loses(rig, cash):
    """A position is closed at a loss."""
    entry, _ = rig.enter(at=2 * MS)
    rig.event(5 * MS, REPORT_FUNDING, entry, cash_e8=-cash)
    rig.intent(6 * MS, side=SIDE_SELL, type=TYPE_MARKET, price_ticks=0, stop_ticks=0, leg=LEG_EXIT,
               flags=ORDER_REDUCE_ONLY, qty_lots=1_000)  # fmt: skip
    rig.run()
    rig.fill(8 * MS, rig.requests()[-1])


def fails(rig, code):
    """The venue refuses an order."""
    rig.intent(2 * MS, qty_lots=100)
    rig.run()
    rig.event(4 * MS, REPORT_REJECT, rig.requests()[-1], code=code)


CASES = {
    "drawdown_bps": ({"drawdown_bps": 100}, pays, 1_000 * 10**8, None, "1.00 % below the high-water mark"),
    "daily_loss_bps": ({"daily_loss_bps": 100}, pays, 1_000 * 10**8, NEXT_DAY, "1.00 % below the day's first equity"),
    "streak_losses": ({"streak_losses": 1, "streak_pause_ns": DAY}, loses, 10**8, T0 + 8 * MS + DAY, "losses in a row"),
    "breaker_failures": ({"breaker_failures": 1, "breaker_open_ns": DAY}, fails, 510, T0 + 4 * MS + DAY, "venue has"),
    "kill switch": ({"kill_drawdown_bps": 200}, pays, 2_000 * 10**8, None, "kill switch is set"),
}


@pytest.mark.parametrize("limit", CASES)
def test_it_is_shown_which_limit_has_shut_the_way_in_and_until_when(tmp_path, limit):
    changes, happens, what, until_ns, why = CASES[limit]
    rig = Rig(tmp_path, limit_changes={"day_offset_ns": OFFSET, **changes})
    rig.open_market()
    rig.run()
    assert shut_ways(rig.wires) == []
    happens(rig, what)
    rig.run()
    (found,) = [row for row in shut_ways(rig.wires) if row["limit"] == limit]
    assert found["until_ns"] == until_ns and why in found["why"] and "nothing is opened until" in found["why"]
    rig.intent(20 * MS, qty_lots=100)
    rig.run()
    opened = [r for r in rig.requests() if r["action"] == ACTION_PLACE and r["leg"] == LEG_ENTRY]
    assert opened == [], "and so it is"
    assert sum(rig.rejects.values()) >= 1


def test_a_unit_less_shuts_nothing(tmp_path):
    rig = Rig(tmp_path, limit_changes={"drawdown_bps": 100, "daily_loss_bps": 100})
    rig.open_market()
    pays(rig, 1_000 * 10**8 - 1)
    rig.run()
    assert shut_ways(rig.wires) == [] and not rig.wires.control[CONTROL_KILL]


@pytest.mark.compiled
def test_the_report_says_it(tmp_path):
    """A day's loss of a hundredth of a per cent is reached at once."""
    config = settings_folder(tmp_path)
    file = config.with_name("limits.toml")
    file.write_text(re.sub(r"^daily_loss_bps = \d+", "daily_loss_bps = 1", file.read_text(), flags=re.MULTILINE))
    report = tmp_path / "report"
    done = run_command("start", "--config", config, "--feed", "synthetic:3", "--pace", "event", "--report", report)
    assert done.returncode == 0, done.stderr
    said = json.loads((report / "session.json").read_text())["warnings"]
    assert any("daily_loss_bps had shut the way in at the end" in text and "nothing is opened until" in text
               for text in said), said  # fmt: skip
    assert any(re.search(r"refused [\d,]+ times because loss of the day", text) for text in said), said
    assert "Mind: daily_loss_bps had shut" in done.stdout

"""A strategy that loses on purpose, on a recorded market: each limit of losses ends the opening at the order it should.

Whole sessions as a user starts them. The strategy trades on the sizes of the best quote and pays ten basis points for
each fill. An oracle that reads nothing but the venue's ledger says what was lost before each entry: a limit that is
set to just that, to the unit of 1e-8, has to let every entry before it out and that one not, and with a unit more that
one and no other. Sizes do not follow the limits, so all sessions are the same up to there.
"""

import gzip
import json
import re
from decimal import Decimal
from typing import NamedTuple

import pytest
from rig.command import ledger, session, settings_in, start_with

pytestmark = [pytest.mark.compiled, pytest.mark.data]

CAPTURE = "hftbacktest/spot/ethusdt_20240808.gz"
VALUE_E8 = 100  # of one tick of one lot of ETHUSDT
WAY_NS = 1_000_000  # to the venue and back
TRIP = 12  # the entry that is not to go out
PARAMS = """[strategy]
id = 1
module = "rig.puppet"
[strategy.params]
bar_ns = 0
bar_kind = 0
bar_size = 0
enter_threshold = 0.6
exit_threshold = 0.0
min_hold_ns = 0
max_hold_ns = 0
position_fraction_bps = 10000
sizing = 2
sizing_budget_bps = 1000.0
atr_period = 2
stop_atr_multiple = 2.0
stop_min_bps = 20.0
stop_trails = 0
even_atr_multiple = 0.0
slippage_ticks = 2
entry_style = 0
entry_life_ns = 1000000000
imbalance_levels = 1
warm_bars = 0

"""
WIDE = {  # nothing is in the way but what a test asks for; every order is of the same 1,000 lots
    "position_bps": "10000", "gross_bps": "10000", "net_bps": "10000", "venue_bps": "10000", "strategy_bps": "10000",
    "kill_daily_loss_bps": "10000", "kill_drawdown_bps": "10000", "order_lots": "1000",
    "daily_loss_bps": "5000", "drawdown_bps": "5000", "streak_losses": "1000", "cool_down_ms": "0",
    "bucket_tokens": "10000", "shard_tokens": "10000", "order_tokens": "10000", "message_tokens": "10000",
    "repeat_orders": "1000", "stop_loss_bps": "1000", "var_bps": "10000", "shortfall_bps": "10000",
}  # fmt: skip


class Entry(NamedTuple):
    """An order that opened a position, and what the ledger had said by then."""

    decided_ns: int
    lots: int
    lost_e8: int  # since the start
    losses: int  # closed positions in a row, the last one this long ago
    closed_ns: int  # when execution heard of the last close


def entries(folder) -> list[Entry]:
    """By the ledger alone."""
    found, cash, lots, before, losses, closed = [], 0, 0, 0, 0, 0
    for line in map(json.loads, ledger(folder).read_text().splitlines()):
        if line["kind"] == "request" and line["action"] == "place" and line["leg"] == "entry":
            assert lots == 0, "it opens when it holds nothing"
            found.append(Entry(line["t_ns"] - WAY_NS, line["qty_lots"], -cash, losses, closed))
        elif line["kind"] == "fill":
            side = 1 if line["side"] == "buy" else -1
            lots += side * line["qty_lots"]
            cash -= side * line["qty_lots"] * line["price_ticks"] * VALUE_E8 + line["fee_e8"]
            if not lots:
                losses, before, closed = (losses + 1 if cash < before else 0), cash, line["t_ns"] + WAY_NS
    return found


@pytest.fixture(scope="module")
def losing(data_dir, tmp_path_factory):
    """Run the session with some limits; the entries and the reasons for which others were refused."""

    def run(code=0, **limits):
        folder = tmp_path_factory.mktemp("losing")
        config = settings_in(folder)
        paper = re.sub(r"\[strategy\].*?(?=\[venue)", lambda _: PARAMS, config.read_text(), flags=re.DOTALL)
        paper = re.sub(r"\[profile\][^\[#]*#[^\n]*\n[^\n]*\n", "", paper)
        config.write_text(paper.replace("totals_grid_ms = 100", "totals_grid_ms = 1"))
        assert "[profile]" not in config.read_text()
        file = config.with_name("limits.toml")
        text = file.read_text()
        for name, value in (WIDE | limits).items():
            text, count = re.subn(rf"^{name} = \S+", f"{name} = {value}", text, flags=re.MULTILINE)
            assert count == 1, name
        file.write_text(text)
        done = start_with(config, folder, "--feed", f"replay:{data_dir / CAPTURE}", "--compose", "one")
        assert done.returncode == code, done.stderr
        return entries(folder), session(folder)["rejects"]

    return run


@pytest.fixture(scope="module")
def unlimited(losing):
    """The same without a limit in the way."""
    found, _ = losing()
    assert len(found) > 2 * TRIP and {one.lots for one in found} == {1_000}
    lost = [one.lost_e8 for one in found]
    assert lost == sorted(lost) and lost[0] == 0, "it loses again and again, so no equity is higher than the first"
    return found


LOSSES = {"daily_loss_bps": "RISK_DAILY_LOSS", "drawdown_bps": "RISK_DRAWDOWN"}


@pytest.mark.parametrize(
    ("name", "unit"), [("daily_loss_bps", 0), ("daily_loss_bps", 1), ("drawdown_bps", 0),
                       pytest.param("drawdown_bps", 1, marks=pytest.mark.stress)]
)  # fmt: skip
def test_a_limit_of_losses_ends_it_at_the_entry_it_should(losing, unlimited, name, unit):
    """1 % of the capital at stake is what was lost before that entry, or a unit more."""
    reached = unlimited[TRIP].lost_e8 + unit
    capital = Decimal(100 * reached).scaleb(-8)
    found, rejects = losing(**{name: "100", "capital": f'"{capital}"'})
    print(f"{name}: {reached} reached after {len(found)} entries of {len(unlimited)}; refused {rejects[LOSSES[name]]}")
    assert found == unlimited[: TRIP + unit]
    assert rejects[LOSSES[name]] > 100, "it would have gone on"


@pytest.mark.parametrize("name", ["daily_loss", pytest.param("drawdown", marks=pytest.mark.stress)])
def test_a_loss_that_is_too_large_sets_the_kill_switch_before_the_entry_it_should(losing, unlimited, name):
    """Its own limit, at the same loss: the switch is set when the loss is there, not when the next order asks."""
    reached = unlimited[TRIP].lost_e8
    limits = {f"{name}_bps": "100", f"kill_{name}_bps": "100", "capital": f'"{Decimal(100 * reached).scaleb(-8)}"'}
    found, rejects = losing(code=3, **limits)
    print(f"kill_{name}_bps: {reached} reached after {len(found)} entries; refused {rejects}")
    assert found == unlimited[:TRIP]
    assert LOSSES[f"{name}_bps"] not in rejects, "set before anybody asked; the shards hear of it at once"
    assert rejects["DECISION_GATE_SHUT"] > 100, "it would have gone on"


def test_so_many_losses_in_a_row_make_a_pause_and_it_goes_on_after_it(losing, unlimited, data_dir):
    long = next(number for number, one in enumerate(unlimited) if one.losses == 8)
    pause_s = 60
    found, rejects = losing(streak_losses="8", streak_pause_ms=str(1_000 * pause_s))
    assert found[:long] == unlimited[:long] and rejects["RISK_STREAK"] > 100
    over_ns = unlimited[long].closed_ns + pause_s * 10**9
    with gzip.open(data_dir / CAPTURE) as file:
        times = [int(line.split(b" ", 1)[0]) for line in file]
    after = [one for one in times if one >= over_ns]
    assert over_ns <= found[long].decided_ns
    print(f"pause over at {over_ns}, next entry {found[long].decided_ns - over_ns} ns later")
    wanted = next(one.decided_ns for one in unlimited if one.decided_ns >= over_ns)
    assert found[long].decided_ns <= max(wanted, after[2]), "the first time that it wants to"

"""Each limit of losses is reached at the very event it should be, on recorded markets and on months of bars.

A strategy that loses on purpose trades in whole sessions. An oracle that knows ledger and market alone leads an account
through both, event by event, and says at which one each limit is reached; the journal has to name the same nanosecond,
and every entry that was asked for has to be answered as the oracle says.
"""

from heapq import merge
from typing import NamedTuple

import pytest
from oracle.losses import Limits, Quote
from rig import flipper
from rig.losing import (
    MS,
    WAY_NS,
    asked,
    bar_quotes,
    capture_quotes,
    judged,
    lines,
    lost_at,
    records,
    run,
    settings_of,
    shut_ns,
)

pytestmark = [pytest.mark.compiled, pytest.mark.data]

SPOT, TICK = "hftbacktest/spot", "0.01"
ONE = ("ethusdt_20240808.gz",)
TWO = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")
VALUES_E8 = {"BTCUSDT": 10, "ETHUSDT": 100}
AGE_NS = 5_000 * MS
RESTING = {"entry_style": 1, "entry_life_ns": 10_000 * MS, "slippage_ticks": 0}


class Known(NamedTuple):
    """What the market and a session without limits say."""

    feed: str
    quotes: list[Quote]
    entries_ns: list[int]
    lows: list[tuple[int, int]]  # each event at which more was lost than ever that day
    ledger: list[dict]


def known(folder, feed, quotes, **changes) -> Known:
    """Run it without a limit in the way; the oracle has to have the same account."""
    report = run(folder, settings_of(folder, **changes), feed)
    entries, codes = asked(records(folder))
    ledger = lines(folder)
    account, verdicts = judged(ledger, iter(quotes), VALUES_E8, entries, quote_age_ns=AGE_NS)
    assert set(codes) == set(verdicts) == {""} and len(entries) > 100
    assert report["equity"]["end"] == f"{account.equity_e8 / 10**8:.8f}"
    return Known(feed, quotes, entries, account.lows, ledger)


def of_captures(data_dir, names):
    """A feed, and all its quotes."""
    paths = [data_dir / SPOT / name for name in names]
    quotes = merge(*(capture_quotes(path, TICK) for path in paths), key=lambda quote: quote.ts_ns)
    return "replay:" + ",".join(map(str, paths)), list(quotes)


def of_bars(data_dir, form):
    """The same of eight months of two markets."""
    paths = [data_dir / form.format(symbol) for symbol in ("BTCUSDT", "ETHUSDT")]
    quotes = merge(*(bar_quotes(path, TICK) for path in paths), key=lambda quote: quote.ts_ns)
    return "bars:binance_spot:" + ",".join(map(str, paths)), list(quotes)


@pytest.fixture(scope="module")
def unlimited(data_dir, tmp_path_factory):
    """Entries that take."""
    return known(tmp_path_factory.mktemp("unlimited"), *of_captures(data_dir, ONE))


@pytest.fixture(scope="module")
def resting(data_dir, tmp_path_factory):
    """Entries that rest, for ten seconds if nobody meets them."""
    return known(tmp_path_factory.mktemp("resting"), *of_captures(data_dir, TWO), **RESTING)


def session_with(folder, known, code=0, **limits):
    """A session with these limits: report, journal, the oracle's account."""
    report = run(folder, settings_of(folder, **limits), known.feed, code)
    journal = records(folder)
    times, codes = asked(journal)
    capital = limits.pop("capital", '"1000000"')
    told = {name: int(value) for name, value in limits.items() if name in Limits.__dataclass_fields__}
    if "streak_pause_ms" in limits:
        told["streak_pause_ns"] = int(limits["streak_pause_ms"]) * MS
    account, verdicts = judged(
        lines(folder), iter(known.quotes), VALUES_E8, times, quote_age_ns=AGE_NS,
        capital_e8=round(float(capital.strip('"')) * 10**8), **told,
    )  # fmt: skip
    assert codes == verdicts, [row for row in zip(times, codes, verdicts, strict=True) if row[1] != row[2]][:3]
    return report, journal, account


@pytest.mark.parametrize("unit", [0, 1])
@pytest.mark.parametrize("share", [0.25, pytest.param(0.6, marks=pytest.mark.stress)])
def test_the_day_is_shut_at_the_event_that_reaches_its_loss(tmp_path, unlimited, share, unit):
    """To the unit: at a loss that one event brought about, and one more, which only a later event does."""
    at = int(share * len(unlimited.lows))
    loss = unlimited.lows[at][1] + unit
    expected = next(ns for ns, lost in unlimited.lows if lost >= loss)
    assert (expected == unlimited.lows[at][0]) == (unit == 0)
    report, journal, account = session_with(tmp_path, unlimited, daily_loss_bps=100, capital=lost_at(loss))
    assert shut_ns(journal) == [ns for ns, _ in account.shut] == [expected]
    entries = [ns for ns, code in zip(*asked(journal), strict=True) if not code]
    assert entries == [ns for ns in unlimited.entries_ns if ns < expected]
    assert report["rejects"]["RISK_DAILY_LOSS"] > 100, "it would have gone on"


@pytest.mark.parametrize("unit", [0, 1])
def test_the_drawdown_ends_the_opening_at_the_event_that_reaches_it(tmp_path, unlimited, unit):
    """As long as it lasts: each entry that execution is asked for is answered by the equity of that very moment."""
    loss = unlimited.lows[len(unlimited.lows) // 3][1] + unit
    report, journal, account = session_with(tmp_path, unlimited, drawdown_bps=100, capital=lost_at(loss))
    entries = [ns for ns, code in zip(*asked(journal), strict=True) if not code]
    reached = next(ns for ns, lost in unlimited.lows if lost >= loss)
    assert [ns for ns in entries if ns < reached] == [ns for ns in unlimited.entries_ns if ns < reached]
    assert report["rejects"]["RISK_DRAWDOWN"] > 100 and not account.shut


def open_entries(ledger: list[dict], now_ns: int) -> set[str]:
    """Entries that execution knows to rest at that time."""
    found = set()
    for line in ledger:
        if line["t_ns"] + WAY_NS > now_ns:
            break
        if line["kind"] == "order" and line["leg"] == "entry":
            if line["status"] == "accepted":
                found.add(line["client_order_id"])
            else:
                found.discard(line["client_order_id"])
        elif line["kind"] == "fill" and line["leaves_lots"] == 0:
            found.discard(line["client_order_id"])
        elif line["kind"] == "request" and line["action"] == "cancel":
            found.discard(line["client_order_id"])
    return found


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("kill_daily_loss_bps", 0),
        ("kill_drawdown_bps", 1),
        pytest.param("kill_daily_loss_bps", 1, marks=pytest.mark.stress),
        pytest.param("kill_drawdown_bps", 0, marks=pytest.mark.stress),
    ],
)
def test_the_kill_switch_is_set_at_the_event_that_reaches_its_loss(tmp_path, resting, name, unit):
    """What rests then is taken back at once: the ledger has the moment, to the nanosecond."""
    pairs = zip(resting.lows, resting.lows[1:], strict=False)
    loss = next(
        lost + unit for (now, lost), (later, _) in pairs
        if lost > 10**9 and open_entries(resting.ledger, now) and open_entries(resting.ledger, later)
    )  # fmt: skip
    reached = next(ns for ns, lost in resting.lows if lost >= loss)
    limits = {name: 100, name.removeprefix("kill_"): 100}  # it may not be the lower one
    report, journal, account = session_with(tmp_path, resting, code=3, **limits, capital=lost_at(loss), **RESTING)
    assert account.killed == (reached, name)
    ledger = lines(tmp_path)
    back = [line for line in ledger if line["kind"] == "request" and line["action"] == "cancel"]
    rested = open_entries(resting.ledger, reached)
    taken = {line["client_order_id"]: line["t_ns"] for line in back if line["t_ns"] >= reached + WAY_NS}
    assert {one: taken.get(one) for one in rested} == dict.fromkeys(rested, reached + WAY_NS)
    assert not [ns for ns, code in zip(*asked(journal), strict=True) if not code and ns >= reached]
    assert report["rejects"]["DECISION_GATE_SHUT"] > 100, "it would have gone on"


def test_so_many_losses_make_a_pause_from_the_event_of_the_last_one(tmp_path, unlimited):
    report, journal, account = session_with(tmp_path, unlimited, streak_losses=8, streak_pause_ms=60_000)
    entries = [ns for ns, code in zip(*asked(journal), strict=True) if not code]
    assert len(account.pauses) > 1
    for begun, over in account.pauses:
        assert not [ns for ns in entries if begun <= ns < over]
        assert [ns for ns in entries if ns < begun]
    assert report["rejects"]["RISK_STREAK"] > 100, "it would have gone on"


# --- months of bars ---
HOURS = "binance_spot_1h_2024/{}-1h.csv.gz"
MINUTES = "binance_spot_5m_2024/{}-5m.csv.gz"
FLIPPER = {
    "table": flipper.PARAMETERS,
    "module": "rig.flipper",
    "every": 7,
    "position_fraction_bps": 4_500,
    "order_lots": 10**9,
    "order_notional": '"1000000"',
}
SLOWER = {"every": 35, "position_fraction_bps": 2_500}
MONTHS_NS = 8 * 30 * 86_400 * 10**9


@pytest.mark.parametrize("form", [HOURS, pytest.param(MINUTES, marks=pytest.mark.stress)])
def test_every_day_and_every_row_of_losses_of_eight_months_of_bars(tmp_path, data_dir, form):
    """Day limit and pause, again and again; then the drawdown, until the end."""
    feed, quotes = of_bars(data_dir, form)
    market = Known(feed, quotes, [], [], [])
    limits = {"daily_loss_bps": 100, "drawdown_bps": 4_000, "streak_losses": 8, "streak_pause_ms": 6 * 3_600_000}
    report, journal, account = session_with(tmp_path, market, **limits, **FLIPPER | SLOWER)
    assert report["rejected_input"] == {} and quotes[-1].ts_ns - quotes[0].ts_ns > MONTHS_NS
    assert shut_ns(journal) == [ns for ns, _ in account.shut]
    times, codes = asked(journal)
    opened = [ns for ns, code in zip(times, codes, strict=True) if not code]
    for begun, over in account.pauses:
        assert not [ns for ns in opened if begun <= ns < over]
    refused = {name: count for name, count in report["rejects"].items() if name.startswith("RISK")}
    print(f"{len(quotes):,} points: {len(opened):,} entries, {len(account.shut)} days, {len(account.pauses)} pauses; "
          f"{len(codes) - len(opened)} refused by execution; {refused}")  # fmt: skip
    assert len(account.shut) > 10 < len(account.pauses)
    assert account.shut[-1][0] - account.shut[0][0] > 40 * 86_400 * 10**9, "over more than a month"
    assert report["rejects"]["RISK_DRAWDOWN"] > 100, "it would have gone on"
    assert report["equity"]["end"] == f"{account.equity_e8 / 10**8:.8f}"


@pytest.mark.parametrize("name", ["kill_daily_loss_bps", "kill_drawdown_bps"])
def test_the_kill_switch_ends_months_of_bars_where_the_oracle_says(tmp_path, data_dir, name):
    feed, quotes = of_bars(data_dir, HOURS)
    bps = 400 if name == "kill_daily_loss_bps" else 2_000
    limits = {name: bps, name.removeprefix("kill_"): bps}
    report, journal, account = session_with(tmp_path, Known(feed, quotes, [], [], []), code=3, **limits, **FLIPPER)
    killed_ns, which = account.killed
    times, codes = asked(journal)
    opened = [ns for ns, code in zip(times, codes, strict=True) if not code]
    print(f"{which} after {len(opened)} entries, {(killed_ns - quotes[0].ts_ns) / 86_400e9:.1f} days")
    assert which == name and opened[-1] < killed_ns and len(opened) > 10
    assert report["rejects"]["DECISION_GATE_SHUT"] > 100, "it would have gone on"

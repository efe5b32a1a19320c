"""`session.json` has every key of its interface, its sums are those of wires and journal, and no value is NaN."""

import dataclasses
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from builders import report_sample as sample

from bot4.adapters.files.report import closing_lines, session_object, symbol_keys, write_report
from bot4.adapters.files.report_assumption import LIMIT_ROWS
from bot4.adapters.files.report_facts import RunFacts, WorkerFacts
from bot4.adapters.files.report_page import session_page
from bot4.model import enums as e
from bot4.model import records as r
from bot4.model.errors import InputError
from bot4.model.latency import constant, log_normal
from bot4.shm import wires as w

SYMBOLS = [("BTCUSDT", "binance_usdm"), ("ETHUSDT", "binance_spot")]
TYPES = {
    "feed": {"source": str, "synthetic": bool, "files": list, "span_ns": int},
    "pace": str, "speed": str, "messages": dict, "levels": dict, "dropped": int, "rejected_input": dict,
    "intents": int, "orders": int, "fills": int, "rejects": dict,
    "stops": {"placed": int, "triggered": int, "naked_ns_max": int},
    "positions": dict,
    "equity": {"start": str, "end": str, "max_drawdown_ratio": float},
    "throughput": {"messages_per_s": float, "ticks_per_s": float, "wall_s": float},
    "workers": dict, "versions": dict, "machine": dict,
}  # fmt: skip


def facts(**changes: object) -> RunFacts:
    """A run of the synthetic market, paced by event time."""
    run = RunFacts(
        source="synthetic:7", synthetic=True, files=(), pace="event", speed="max", wall_s=2.5, tsc_hz=2.5e9,
        session=sample.session(), limits=sample.limits(), strategy="bot4.strategies.trend",
        strategy_params={"fast": 12, "threshold": np.float64(0.25)},
        workers={"shard0": WorkerFacts(pid=41, core=1, restarts=2, pss_mb=40.5, private_mb=9.25)},
        versions={"bot4": "0.1.0"}, machine={"cores": 2, "load": float("nan")},
    )  # fmt: skip
    return dataclasses.replace(run, **changes)


def report_of(session: sample.SampleSession, run: RunFacts | None = None, symbols: list = SYMBOLS) -> dict:
    return session_object(session.wires, session.instruments, symbols, session.journal(), run or facts())


@pytest.fixture(scope="module")
def session() -> sample.SampleSession:
    return sample.SampleSession(seed=7, seconds=600)


def test_every_key_of_the_interface(session: sample.SampleSession) -> None:
    report = report_of(session)
    for key, kind in TYPES.items():
        if isinstance(kind, dict):
            for inner, inner_kind in kind.items():
                assert isinstance(report[key][inner], inner_kind), (key, inner)
        else:
            assert isinstance(report[key], kind), key
    assert list(report["messages"]["BTCUSDT"]) == ["trade", "quote", "depth", "mark", "funding", "status"]
    for position in report["positions"].values():
        assert isinstance(position["lots"], int)
        for name in ("average_price", "realised", "unrealised", "fees", "funding"):
            assert isinstance(position[name], str)
            assert Decimal(position[name]).is_finite()
    assert report["workers"]["shard0"] == {"pid": 41, "core": 1, "restarts": 2, "pss_mb": 40.5, "private_mb": 9.25}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_paced_has_a_digest_and_no_latency(session: sample.SampleSession) -> None:
    report = report_of(session)
    assert report["latency_ns"] is None
    assert len(report["digest"]) == 64


def test_free_running_has_latency_and_no_digest() -> None:
    session = sample.SampleSession(seconds=5)
    sample.put_latencies(session.wires, np.random.default_rng(1))
    report = report_of(session, facts(pace="free", tsc_hz=2e9))
    assert report["digest"] is None
    assert set(report["latency_ns"]) == set(w.STAGES)
    for row in report["latency_ns"].values():
        assert row["count"] == 4_000
        assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["p99_9"] <= row["max"]
    assert 250 < report["latency_ns"]["feed_to_shard"]["p50"] < 350  # 600 cycles at 2 GHz


def test_cycles_become_nanoseconds() -> None:
    session = sample.SampleSession(seconds=0)
    from bot4.shm.histogram import histogram_record

    histogram_record(session.wires.histograms[w.STAGE_STEP], 20)
    row = report_of(session, facts(pace="free", tsc_hz=4e9))["latency_ns"]["step"]
    assert row == {"count": 1, "p50": 5, "p90": 5, "p99": 5, "p99_9": 5, "max": 5}


def test_counts_are_those_of_the_journal(session: sample.SampleSession) -> None:
    report, journal = report_of(session), session.journal()
    assert report["fills"] == np.count_nonzero(journal["type"] == r.JOURNAL_EVENT) > 0
    assert report["orders"] == np.count_nonzero(journal["type"] == r.JOURNAL_INTENT) > 0
    legs = [record["body"].copy().view(r.ORDER_INTENT)[0]["leg"] for record in journal[journal["type"] == 2]]
    denied = np.count_nonzero(journal["type"] == r.JOURNAL_DENIED)
    assert report["intents"] == sum(leg <= e.LEG_EXIT for leg in legs) + denied
    assert report["result"]["buys"] + report["result"]["sells"] == report["fills"]


def test_rejects_are_summed_over_all_rows(session: sample.SampleSession) -> None:
    report = report_of(session)
    cool_down = int(session.wires.rejects[:, e.RISK_COOL_DOWN].sum())
    assert cool_down > session.wires.rejects[0, e.RISK_COOL_DOWN]
    assert report["rejects"]["RISK_COOL_DOWN"] == cool_down
    assert sum(report["rejects"].values()) == session.wires.rejects.sum()
    assert report["reject_reasons"]["RISK_COOL_DOWN"] == "the instrument is cooling down after an order"


def test_accepted_and_refused_messages_add_up_to_what_was_read(session: sample.SampleSession) -> None:
    report = report_of(session)
    accepted = sum(sum(kinds.values()) for kinds in report["messages"].values())
    read = session.wires.gauges[session.shards + w.FEED_ROW, w.GAUGE_FEED_MESSAGES]
    assert accepted + sum(report["rejected_input"].values()) == read
    assert report["rejected_input"] == {"non_market_trade": 2, "before_snapshot": 7}
    assert report["rejected_by_kind"]["ETHUSDT"] == {"trade": {"non_market_trade": 1}, "depth": {"before_snapshot": 4}}


def test_an_input_that_is_refused_in_numbers_is_told() -> None:
    session = sample.SampleSession(seconds=0)
    session.wires.refused[:] = 0
    session.wires.messages[0, 0], session.wires.refused[0, 0, e.INPUT_UNPARSABLE] = 90, 9
    assert not any("of the input were refused" in warning for warning in report_of(session)["warnings"])
    session.wires.refused[0, 0, e.INPUT_UNPARSABLE] = 11
    assert any("11 messages of the input were refused (unparsable 11)" in one for one in report_of(session)["warnings"])


def test_a_message_of_no_known_kind_is_listed_as_unknown() -> None:
    session = sample.SampleSession(seconds=0)
    session.wires.refused[0, 0, e.INPUT_UNPARSABLE] = 3
    assert report_of(session)["rejected_by_kind"]["BTCUSDT"]["unknown"] == {"unparsable": 3}


@pytest.mark.parametrize("seconds", [600, 605, 611, 617])
def test_money_adds_up_to_the_last_unit(seconds: int) -> None:
    session = sample.SampleSession(seed=7, seconds=seconds)
    report = report_of(session)
    parts = Decimal(report["equity"]["start"])
    for p in report["positions"].values():
        parts += Decimal(p["realised"]) + Decimal(p["unrealised"]) - Decimal(p["fees"]) + Decimal(p["funding"])
    assert parts == Decimal(report["equity"]["end"]) == Decimal(session.equity()).scaleb(-8)
    profit = Decimal(report["result"]["profit_after_fees"])
    assert profit == Decimal(report["equity"]["end"]) - Decimal(report["equity"]["start"])


def open_position(i: int, lots: int, price: int, fee: int) -> sample.SampleSession:
    """A session whose only trade left `lots` of instrument `i` open at `price` ticks, the mid 10.5 ticks higher."""
    session = sample.SampleSession(seconds=0)
    row = session.wires.positions[i]
    row[:] = 0
    row[w.POSITION_LOTS], row[w.POSITION_COST_TL], row[w.POSITION_FEES_E8] = lots, lots * price, fee
    row[w.POSITION_BID], row[w.POSITION_ASK] = price + 10, price + 11
    return session


def test_open_position_is_valued_at_the_mid_and_rounded_down() -> None:
    session = open_position(0, lots=-3, price=600_000, fee=7)
    position = report_of(session)["positions"]["BTCUSDT"]
    assert position["average_price"] == "60000"
    assert Decimal(position["unrealised"]) == Decimal(-3 * 21 * 10_000 // 2).scaleb(-8)
    session.instruments["value_e8"][0] = 1
    assert report_of(session)["positions"]["BTCUSDT"]["unrealised"] == "-0.00000032"


def test_cash_of_spot_pays_the_value_and_of_a_contract_does_not() -> None:
    contract = report_of(open_position(0, lots=5, price=600_000, fee=1_000))["equity"]
    assert Decimal(contract["cash"]) == Decimal(100_000) - Decimal("0.00001")
    spot = report_of(open_position(1, lots=5, price=268_000, fee=1_000))["equity"]
    assert Decimal(spot["cash"]) == Decimal(100_000) - 5 * Decimal("0.0001") * 2_680 - Decimal("0.00001")


def test_funding_received_adds_to_equity() -> None:
    session = open_position(0, lots=0, price=600_000, fee=0)
    session.wires.positions[0, w.POSITION_FUNDING_E8] = 25_000_000
    report = report_of(session)
    assert report["equity"]["end"] == report["equity"]["cash"] == "100000.25"


def test_drawdown_is_the_deeper_of_execution_and_samples(session: sample.SampleSession) -> None:
    sampled = report_of(session)["equity"]["max_drawdown_ratio"]
    journal = session.journal()
    journal = journal[journal["type"] == r.JOURNAL_SAMPLE]
    expected = (1 - journal["equity_e8"] / journal["high_water_e8"]).max()
    assert sampled == pytest.approx(expected, rel=1e-3)
    session = sample.SampleSession(seconds=3)
    session.wires.gauges[session.shards + w.EXECUTION_ROW, w.GAUGE_EXEC_DRAWDOWN_PPM] = 41_000
    assert report_of(session)["equity"]["max_drawdown_ratio"] == 0.041


def test_two_instruments_of_one_symbol_are_told_apart(session: sample.SampleSession) -> None:
    symbols = [("BTCUSDT", "binance_usdm"), ("BTCUSDT", "binance_spot")]
    assert symbol_keys(symbols) == ["BTCUSDT.binance_usdm", "BTCUSDT.binance_spot"]
    assert set(report_of(session, symbols=symbols)["levels"]) == {"BTCUSDT.binance_usdm", "BTCUSDT.binance_spot"}
    assert symbol_keys(SYMBOLS) == ["BTCUSDT", "ETHUSDT"]


def test_empty_session() -> None:
    session = sample.SampleSession(seconds=0)
    session.wires.gauges[:] = 0
    report = report_of(session, facts(wall_s=0.0, workers={}))
    assert report["fills"] == report["orders"] == report["intents"] == 0
    assert report["result"]["win_ratio"] is None
    assert report["equity"]["end"] == "100000"
    assert report["throughput"] == {"messages_per_s": 0.0, "ticks_per_s": 0.0, "wall_s": 0.0}
    json.dumps(report, allow_nan=False)


def test_a_book_that_was_never_whole_is_said_to_be_so() -> None:
    session = sample.SampleSession(seconds=20)
    session.wires.levels[1] = 0
    session.wires.book_checks[1] = 0
    report = report_of(session)
    assert report["book"]["BTCUSDT"] == {"compared": 503, "equal": 503, "whole": True}
    assert report["book"]["ETHUSDT"] == {"compared": 0, "equal": 0, "whole": False}
    text = "\n".join(closing_lines(report))
    assert "nothing was traded on: ETHUSDT." in text
    assert "book never whole" in session_page(report, session.instruments, ["BTCUSDT", "ETHUSDT"], session.journal())


def test_the_clocks_are_shown_and_a_leap_is_told() -> None:
    session = sample.SampleSession(seconds=20)
    session.wires.venue_clocks[1, w.CLOCK_STAMPS] = 0
    report = report_of(session)
    assert report["clock"] == {
        "BTCUSDT": {"offset_ms": -1272.5, "latest_ms": 53.0, "learned_anew": 0},
        "ETHUSDT": None,
    }
    page = session_page(report, session.instruments, ["BTCUSDT", "ETHUSDT"], session.journal())
    assert "\u22121,272.5 ms (+53.0)" in page and "no time told" in page
    assert "moved apart" not in "\n".join(closing_lines(report))
    session.wires.venue_clocks[0, w.CLOCK_ANEW] = 2
    assert "what came meanwhile was refused: BTCUSDT." in "\n".join(closing_lines(report_of(session)))


def test_assumptions_name_latencies_fees_and_limits(session: sample.SampleSession) -> None:
    rows = {row["name"]: row["value"] for row in report_of(session)["assumptions"]}
    assert rows["order latency"] == "5000 µs"
    assert rows["fees of BTCUSDT"] == "maker 2 bps, taker 5 bps"
    assert rows["position limit"] == "2 %"
    assert rows["drawdown limit"] == "15 %"
    assert all(row["note"] for row in report_of(session)["assumptions"])


def test_assumptions_name_every_limit() -> None:
    assert set(LIMIT_ROWS) == set(r.LIMITS.names), "a limit that the report does not tell, or one that is none"
    assert len({name for name, _, _ in LIMIT_ROWS.values()}) == len(LIMIT_ROWS), "two limits of one name"


def test_assumptions_name_what_ways_really_take(session: sample.SampleSession) -> None:
    """The least of a way counts where a table says less."""
    tables = log_normal(30_000_000, 0.5, "x"), constant(5_000_000), constant(1)
    rows = {row["name"]: row["value"] for row in report_of(session, facts(latencies=tables))["assumptions"]}
    middle, slow = (float(part.removeprefix("p99 ").removesuffix(" µs")) for part in rows["order latency"].split(", "))
    assert 28_000 < middle < 32_000 and slow > 2 * middle
    assert rows["cancel latency"] == "5000 µs"
    assert rows["report latency"] == f"{sample.session()[0]['report_latency_ns'] // 1000} µs"


def test_written_whole_and_nothing_else(session: sample.SampleSession, tmp_path: Path) -> None:
    report = report_of(session)
    folder = tmp_path / "new" / "report"
    page = write_report(folder, report, session.instruments, SYMBOLS, session.journal())
    assert sorted(path.name for path in folder.iterdir()) == ["session.html", "session.json"]
    assert page == folder / "session.html"
    assert json.loads((folder / "session.json").read_text()) == report
    write_report(folder, report, session.instruments, SYMBOLS, session.journal())


@pytest.mark.parametrize("obstacle", ["file", "folder_in_the_way"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(
    session: sample.SampleSession, tmp_path: Path, obstacle: str
) -> None:
    folder = tmp_path / "report"
    if obstacle == "file":
        folder.write_text("in the way")
    else:
        (folder / "session.json").mkdir(parents=True)
    with pytest.raises(InputError, match=r"--report .*cannot be written"):
        write_report(folder, report_of(session), session.instruments, SYMBOLS, session.journal())
    assert not list(tmp_path.glob(".*"))
    if obstacle == "folder_in_the_way":
        assert [path.name for path in folder.iterdir()] == ["session.json"]


def test_closing_lines_say_what_it_did_earned_and_where(session: sample.SampleSession, tmp_path: Path) -> None:
    report = report_of(session)
    lines = closing_lines(report, tmp_path / "session.html", tmp_path / "session")
    assert f"Journal, ledger and logs: {tmp_path / 'session'}" in lines
    bad = sum(report["rejected_input"].values())
    assert bad and f"messages ({bad:,} more were refused) of" in lines[0]
    text = "\n".join(lines)
    assert "synthetic market" in text
    assert "BTCUSDT, ETHUSDT" in text
    assert "it lost" in text
    assert "promise nothing" in text
    assert str(tmp_path / "session.html") in lines[-1]


def test_closing_lines_of_gain_draw_and_kill() -> None:
    session = open_position(0, lots=3, price=600_000, fee=0)
    assert "it earned 0.0" in "\n".join(closing_lines(report_of(session)))
    session.wires.positions[:] = 0
    text = "\n".join(closing_lines(report_of(session, facts(exit_state="halted", killed=True, kill_reason="by hand"))))
    assert "neither earned nor lost on" in text
    assert "halted by the kill switch: by hand" in text


def test_what_must_not_be_overlooked_is_said_last_and_on_the_page(session: sample.SampleSession) -> None:
    held = ["STILL OPEN at the end: ETHUSDT 0.02 (valued at the last price, and gone with the simulated venue)."]
    assert report_of(session)["warnings"] == held
    assert "bot4-kill --flatten" in report_of(session, facts(mode="live"))["warnings"][0]
    session.wires.positions[:, w.POSITION_LOTS] = 0
    assert report_of(session)["warnings"] == []
    late = sample.SampleSession(seconds=5)
    late.wires.rejects[0, e.DECISION_BAD_SCORE] = 3
    late.wires.levels[1] = 0
    late.wires.positions[0, w.POSITION_WHOLE] = 0
    late.wires.gapped[1, w.GAPPED_SHARD] = late.wires.gapped[0, w.GAPPED_VENUE] = 1
    row = late.wires.gauges[1 + w.EXECUTION_ROW]
    row[w.GAUGE_EXEC_NAKED_NS_MAX] = int(sample.limits()["stop_confirm_ns"][0]) + 1
    for pace, free_running in (("event", False), ("free", True)):
        run = facts(pace=pace, warnings=["BTCUSDT: 5.0 h without data <between> a and b."])
        report = report_of(late, run)
        words = [
            "5.0 h without data",
            "no order went out, for every intent was refused: RISK_",
            "never a whole book",
            "opened on: BTCUSDT.",
            "decided on: ETHUSDT.",
        ]
        words += ["no market on: BTCUSDT.", "no number from -1 to 1 3 times", "without a confirmed stop"]
        for word, warning in zip(words, report["warnings"], strict=True):
            assert word in warning
        assert ("Free-running at max" in report["warnings"][-1]) == free_running
        lines = closing_lines(report)
        assert [line for line in lines if line.startswith("Mind: ")] == [f"Mind: {x}" for x in report["warnings"]]
        page = session_page(report, late.instruments, ["BTCUSDT", "ETHUSDT"], late.journal())
        assert "5.0 h without data &lt;between&gt;" in page

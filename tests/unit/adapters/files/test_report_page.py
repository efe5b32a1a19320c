"""The page is well-formed, asks for nothing from outside, escapes what it shows, and stands without any data."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from builders import report_sample as sample

from bot4.adapters.files.report import session_object, symbol_keys
from bot4.adapters.files.report_chart import script_json, time_axis, value_axis
from bot4.adapters.files.report_facts import RunFacts, WorkerFacts
from bot4.adapters.files.report_page import session_page
from bot4.model import records as r

VOID = {"meta", "br", "path", "line", "use", "circle", "link", "img", "input", "hr"}
HOSTILE = '</script><img src=x onerror="alert(1)">&\'X'


class Reader(HTMLParser):
    """Collects tags, attributes and text; fails on tags that do not close in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data + "\n"


def page_of(
    session: sample.SampleSession,
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT"),
    journal: np.ndarray | None = None,
    **changes: object,
) -> str:
    base = {
        "source": "synthetic:7", "synthetic": True, "files": (), "pace": "event", "speed": "max", "wall_s": 2.5,
        "tsc_hz": 2.5e9, "session": sample.session(), "limits": sample.limits(),
        "workers": {"feed": WorkerFacts(pid=4, core=None)}, "machine": {"cpu": "a & b"},
    }  # fmt: skip
    run = RunFacts(**(base | changes))
    names = [(symbol, "binance_spot") for symbol in symbols]
    journal = session.journal() if journal is None else journal
    report = session_object(session.wires, session.instruments, names, journal, run)
    return session_page(report, session.instruments, symbol_keys(names), journal)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def session() -> sample.SampleSession:
    return sample.SampleSession(seed=7, seconds=600)


def test_well_formed_and_complete(session: sample.SampleSession) -> None:
    reader = read(page_of(session))
    for words in (
        "Profit after fees", "Fees paid", "Win rate", "Largest drawdown", "Equity and drawdown", "BTCUSDT", "ETHUSDT",
        "bought", "sold", "stop or flatten", "Latency", "paced by event time", "Refusals, by reason",
        "the instrument is cooling down after an order", "Market data", "non market trade", "Processes and machine",
        "Assumptions", "order latency", "position limit", "promise nothing", "Digest",
    ):  # fmt: skip
        assert words in reader.text, words
    markers = [attrs["href"] for tag, attrs in reader.tags if tag == "use"]
    assert {"#m-buy", "#m-sell", "#m-stop"} <= set(markers)


def test_nothing_is_fetched(session: sample.SampleSession) -> None:
    page = page_of(session)
    assert not re.search(r"(?:https?:)?//[a-z]", page.replace("// A cross-hair", ""), re.IGNORECASE)
    assert "@import" not in page
    assert "url(" not in page
    for tag, attrs in read(page).tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not attrs.get("src")
        assert (attrs.get("href") or "#").startswith("#")
    assert "default-src 'none'" in page


def test_synthetic_is_said_in_plain_sight_and_recorded_is_not(session: sample.SampleSession) -> None:
    synthetic = read(page_of(session)).text
    assert "Synthetic market." in synthetic
    assert synthetic.index("Synthetic market.") < synthetic.index("Profit after fees")
    assert "ynthetic" not in read(page_of(session, synthetic=False, source="replay", files=("a/x.gz",))).text


def test_hostile_names_are_text(session: sample.SampleSession) -> None:
    page = page_of(
        session, symbols=(HOSTILE, "ETHUSDT"), source=HOSTILE, files=(HOSTILE,), strategy=HOSTILE, killed=True,
        kill_reason=HOSTILE, machine={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE},
        strategy_params={HOSTILE: HOSTILE}, workers={HOSTILE: WorkerFacts(pid=1, core=0)},
    )  # fmt: skip
    reader = read(page)
    assert not [tag for tag, attrs in reader.tags if tag == "img" or "onerror" in attrs]
    assert HOSTILE in reader.text
    assert page.count("<script") == page.count("</script>") == len([tag for tag, _ in reader.tags if tag == "script"])


def test_json_inside_a_script_cannot_leave_it() -> None:
    text = script_json({"name": "</script><!--&"})
    assert "<" not in text
    assert "&" not in text


def test_empty_session_has_a_page() -> None:
    session = sample.SampleSession(seconds=0)
    session.wires.rejects[:] = 0
    session.wires.refused[:] = 0
    text = read(page_of(session, workers={})).text
    assert "no samples were taken" in text
    assert "Nothing was refused." in text
    assert "none closed" in text


def test_session_without_fills_has_its_curves() -> None:
    text = read(page_of(sample.SampleSession(seconds=60, trades=False))).text
    assert "bought 0" in text
    assert "none closed" in text


def test_session_that_never_saw_a_book() -> None:
    session = sample.SampleSession(seconds=30, trades=False)
    journal = session.journal()
    journal["bid_ticks"] = journal["ask_ticks"] = 0
    assert "its book was never whole" in read(page_of(session, journal=journal)).text


def test_latencies_are_shown_when_free_running() -> None:
    session = sample.SampleSession(seconds=20)
    assert "No stage was measured" in read(page_of(session, pace="free")).text
    sample.put_latencies(session.wires, np.random.default_rng(1))
    text = read(page_of(session, pace="free")).text
    assert "tick_to_intent" in text
    assert "µs" in text
    assert "paced by event time" not in text


def test_no_nan_and_no_infinity_anywhere(session: sample.SampleSession) -> None:
    for seconds in (0, 1, 2, 30):
        page = page_of(sample.SampleSession(seconds=seconds))
        assert not re.search(r"\b(?:nan|inf|Infinity)\b", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
    assert not re.search(r"\b(?:nan|inf|NaN|Infinity)\b", page_of(session))


def test_a_long_session_stays_small() -> None:
    session = sample.SampleSession(seconds=1, n=1)
    journal = np.zeros(200_000, r.JOURNAL)
    journal["type"], journal["instrument"] = r.JOURNAL_SAMPLE, 0
    journal["ts_ns"] = sample.START_NS + np.arange(200_000) * sample.SECOND
    journal["bid_ticks"] = 600_000 + np.cumsum(np.random.default_rng(1).integers(-9, 10, 200_000))
    journal["ask_ticks"] = journal["bid_ticks"] + 1
    journal["equity_e8"] = journal["high_water_e8"] = 10**13
    page = page_of(session, symbols=("BTCUSDT",), journal=journal)
    assert len(page) < 600_000
    read(page)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (1, 1), (0, 0), (-5, -5), (61_000.1, 61_000.2), (1e-8, 2e-8), (99_978, 1e7), (-3, 0)]
)
def test_value_axis_labels_are_round_inside_and_distinct(low: float, high: float) -> None:
    axis = value_axis(low, high)
    assert axis.low <= low <= high <= axis.high
    assert 2 <= len(axis.ticks) <= 12
    assert all(axis.low <= tick <= axis.high * (1 + 1e-12) for tick in axis.ticks)
    labels = [f"{tick:.{axis.decimals}f}" for tick in axis.ticks]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("seconds", [0, 1, 59, 601, 4_000, 90_000, 900_000, 40_000_000, 400_000_000])
def test_time_axis_has_a_few_round_ticks(seconds: int) -> None:
    axis, labels = time_axis(sample.START_NS, sample.START_NS + seconds * sample.SECOND)
    assert len(labels) == len(axis.ticks) <= 8
    assert all(0 <= tick <= axis.high for tick in axis.ticks)
    assert len(set(labels)) == len(labels)

"""Any scenario file is refused in one clear line, or the exchange runs with it: no crash, no other error."""

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from rig.exchange_desk import BTC, Desk

from bot4.adapters.exchange.scenario import EVENT_KINDS, REQUEST_KINDS, STATE_KINDS
from bot4.adapters.exchange.symbol import Filters
from bot4.model.errors import Bot4Error

KINDS = (*REQUEST_KINDS, *EVENT_KINDS, *STATE_KINDS)
WHOLE = st.one_of(st.integers(0, 2_000), st.integers(-(2**70), 2**70), st.sampled_from([0, 1, 86_400_000, 2**62]))
SHARE = st.one_of(st.floats(0, 1), st.floats(), st.integers(-1, 2))
NAMES = ("*", "GET /api/v3/*", "GET /api/v3/time", "executionReport", "[", "[!a-", "")
NAME = st.one_of(st.sampled_from(NAMES), st.text())
SYMBOL = st.sampled_from(["", BTC, "ETHUSDT", "X"])
FIELDS = {
    "fault": {
        "kind": st.sampled_from((*KINDS, *KINDS, "worse")), "endpoint": NAME, "stream": NAME, "probability": SHARE,
        "times": WHOLE, "skip": WHOLE, "after_ms": WHOLE, "duration_ms": WHOLE, "delay_ms": WHOLE,
        "status": st.sampled_from([400, 504, 599, 200]), "skew_ms": WHOLE, "symbol": SYMBOL,
        "symbol_status": st.sampled_from(["HALT", "BREAK", "TRADING"]), "cancels_orders": st.booleans(),
        "filters": st.dictionaries(st.sampled_from([*Filters.__dataclass_fields__, "none"]), WHOLE, max_size=3),
    },
    "impact": {
        "model": st.sampled_from(["linear", "square_root", "almgren_chriss", "x"]), "symbol": SYMBOL,
        "coefficient": SHARE, "daily_quantity": SHARE, "gamma": SHARE,
    },
    "latency": {
        "way": st.sampled_from(["order", "cancel", "answer", "data", "x"]),
        "model": st.sampled_from(["constant", "log_normal", "recorded", "interpolated"]), "us": WHOLE, "sigma": SHARE,
        "file": st.one_of(st.just("scenario.toml"), st.just("none"), st.just("/dev/zero"), st.text()),
    },
    "limits": dict.fromkeys(("request_weight_1m", "orders_10s", "orders_1d", "raw_requests_5m"), WHOLE),
    "rules": {"client_ids_once": st.one_of(st.booleans(), WHOLE)},
}  # fmt: skip
NEEDED = {"fault": ["kind"], "impact": ["model"], "latency": ["way", "model"], "limits": [], "rules": []}


def toml(value: object) -> str:
    """A value as TOML writes it; text goes through JSON, whose escapes TOML has too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    return repr(value)


@st.composite
def tables(draw: st.DrawFn) -> str:
    """Tables with fields that are known, values that are sound or not, and now and then a field that nobody knows."""
    text = f"seed = {draw(WHOLE)}\n" if draw(st.booleans()) else ""
    for name in draw(st.lists(st.sampled_from(list(FIELDS)), max_size=4)):
        once = name in ("limits", "rules")
        text += f"[{name}]\n" if once else f"[[{name}]]\n"
        fields = FIELDS[name]
        for field in sorted({*NEEDED[name], *draw(st.sets(st.sampled_from(list(fields)), max_size=4))}):
            text += f"{field} = {toml(draw(fields[field]))}\n"
        if draw(st.integers(0, 20)) == 0:
            text += f"{draw(st.from_regex('[a-z_]{1,9}', fullmatch=True))} = {toml(draw(WHOLE))}\n"
    return text


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A sound file with some bytes replaced, or any bytes."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    data = bytearray(draw(tables()).encode())
    for _ in range(draw(st.integers(0, 3))):
        if data:
            place = draw(st.integers(0, len(data) - 1))
            data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def run_with(data: bytes) -> bool:
    """Whether the exchange ran with it; refused is the other way, in one line that names what is wrong."""
    folder = Path(tempfile.mkdtemp())
    said = ""
    try:
        (folder / "given.toml").write_bytes(data)
        desk = Desk(folder, scenario_file=folder / "given.toml", market_seed=3, speed=0.2)
        for _ in range(4):
            desk.gateway.states()
            desk.gateway.fault_of("GET /api/v3/time")
            desk.gateway.scenario.event("executionReport", desk.now_ms)
            desk.gateway.scenario.latency_s("order", desk.now_ns)
            assert desk.raw("GET", "/api/v3/time")[0] in (200, 418, 429, 503)
            desk.signed(0, "POST", "order", symbol=BTC, side="BUY", type="MARKET", quantity="0.01")
            desk.tick(0.5)
        desk.conserved()
    except Bot4Error as error:
        said = f"{error.exit_code} {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert not said or (said.startswith("2 ") and len(said) > 2 and len(said.splitlines()) == 1), said
    return not said


def test_tables_of_any_values_are_refused_or_run() -> None:
    ran = []

    @settings(deadline=None, max_examples=150, database=None, derandomize=True)
    @given(tables())
    def any_tables(text: str) -> None:
        ran.append(run_with(text.encode()))

    any_tables()
    assert 10 <= sum(ran) <= len(ran) - 10, "both happen"


@settings(deadline=None, max_examples=150)
@given(spoilt())
def test_bytes_of_any_kind_are_refused_or_run(data: bytes) -> None:
    run_with(data)

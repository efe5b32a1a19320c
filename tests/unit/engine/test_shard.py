"""The loop generated for a strategy: which one, never a stale one, compiled once; what is no strategy is refused."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from rig import puppet
from rig.shard import Rig

from bot4.engine import shard_loop
from bot4.engine.shard import (
    aligned,
    load_loop,
    shard_memory,
    strategy_fault,
    strategy_line,
    strategy_module,
    strategy_parameters,
)
from bot4.jit import JIT
from bot4.kernels.parameter import defaults
from bot4.kernels.state import SHARD_STATE, VIEW
from bot4.model.enums import REPORT_POSITION
from bot4.model.errors import SettingsError
from bot4.shm.layout import CONTROL_RESYNC, CONTROL_SNAPSHOT
from bot4.strategies import trend

TESTS = Path(__file__).resolve().parents[2]


def test_the_built_in_strategy_runs_in_the_template_itself():
    assert load_loop("bot4.strategies.trend") is shard_loop


def test_any_other_strategy_gets_a_loop_of_its_own():
    loop = load_loop("rig.puppet")
    assert loop is load_loop("rig.puppet") is not shard_loop
    assert loop.on_tick is puppet.on_tick and loop.STATE == puppet.STATE
    assert Path(loop.__file__).read_text().count("bot4.strategies.trend") == 0


def test_what_cannot_be_imported_is_refused():
    with pytest.raises(SettingsError, match=r"strategy\.module: cannot import no\.such_module"):
        strategy_module("no.such_module")


BROKEN = {
    "syntax": ("def on_tick(:\n", "is no Python", "line 1: invalid syntax"),
    "on import": ("x = 1\ny = x / 0\n", "cannot be imported", "line 2: ZeroDivisionError: division by zero"),
    "exit": ("import sys\n\nsys.exit(7)\n", "cannot be imported", "line 3: SystemExit: 7"),
    "import": ("import not_there_at_all\n", "cannot be imported", "line 1", "No module named 'not_there_at_all'"),
    "state": ("PARAMETERS = PARAMS = STATE = init = on_tick = on_bar = on_fill = None\n", "STATE needs", "'warm'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_module_is_refused_with_its_line(case, tmp_path, monkeypatch):
    text, *words = BROKEN[case]
    name = f"broken_{case.replace(' ', '_')}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError) as raised:
        strategy_module(name)
    message = str(raised.value)
    assert message.startswith(f"strategy.module: {name}") and all(word in message for word in words)
    assert "\n" not in message


def changed_puppet(tmp_path, monkeypatch, name, old, new):
    """A strategy of the user's own: the puppet with one thing changed; its text before the change too."""
    text = Path(puppet.__file__).read_text()
    assert text.count(old) == 1
    (tmp_path / f"{name}.py").write_text(text.replace(old, new))
    monkeypatch.syspath_prepend(tmp_path)
    return text[: text.index(old)]


RETURN = """if view["bid_lots"] == NOT_A_NUMBER_LOTS:
        return np.nan
    if view["bid_lots"] == INFINITE_LOTS:
        return -np.inf
    if view["bid_lots"] == BEYOND_LOTS:
        return 1.0 + 2.0**-52
    if view["bid_lots"] == LEAST_LOTS:
        return -1.0
    return view["imbalance"]"""
FAULTS = {
    "text": ('return "buy"', "on_tick: it returns Literal[str](buy), not a number"),
    "nothing": ("pass", "on_tick: it returns none, not a number"),
    "either": ('return view["imbalance"] if view["bid_lots"] > 0 else "buy"', "Literal[str](buy)"),
}


@pytest.mark.compiled
@pytest.mark.parametrize("case", FAULTS)
def test_a_function_that_the_loop_cannot_use_is_told_by_its_place(case, tmp_path, monkeypatch):
    new, words = FAULTS[case]
    before = changed_puppet(tmp_path, monkeypatch, f"fault_{case}", RETURN, new)
    module = strategy_module(f"fault_{case}")
    told = strategy_fault(module)
    assert words in told and "\n" not in told
    begins = before.rindex("@inlined")
    lines = range(before[:begins].count("\n") + 1, before.count("\n") + 2)
    assert any(told.startswith(f"{module.__file__}, line {line}") for line in lines), told
    assert strategy_fault(puppet) == ""


@pytest.mark.compiled
def test_a_function_that_is_not_compiled_is_refused_by_its_place(tmp_path, monkeypatch):
    before = changed_puppet(tmp_path, monkeypatch, "bare", "@inlined\ndef on_tick", "def on_tick")
    with pytest.raises(SettingsError, match=rf"bare\.on_tick is not compiled .*line {before.count(chr(10)) + 1}\)"):
        load_loop("bare")


def test_a_function_that_raises_is_refused_by_its_line(tmp_path, monkeypatch):
    before = changed_puppet(tmp_path, monkeypatch, "raising", RETURN, 'raise ValueError("no")')
    with pytest.raises(SettingsError, match=rf"raising\.py, line {before.count(chr(10)) + 1}: on_tick raises"):
        strategy_module("raising")


def test_a_strategy_in_the_current_folder_is_found(tmp_path):
    """By a command that is installed too, whose search path is not the folder's; and what it prints is kept apart."""
    text = Path(puppet.__file__).read_text()
    (tmp_path / "at_hand.py").write_text(f'print("hello")\n{text}')
    code = (
        "import sys; sys.path = [part for part in sys.path if part]\n"
        "from bot4.engine.shard import strategy_module; print(strategy_module('at_hand').__file__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"BOT4_WATCHER": "1"},
    )  # fmt: skip
    assert (result.stdout, result.stderr) == (f"{tmp_path / 'at_hand.py'}\n", "hello\n")


def test_the_line_of_the_strategy_that_an_error_comes_from(tmp_path, monkeypatch):
    """From the compiler's text or from the frames, whichever there is; an error from elsewhere has none."""
    name = "misspelt"
    text = Path(puppet.__file__).read_text()
    assert text.count('view["imbalance"]') == 1
    (tmp_path / f"{name}.py").write_text(text.replace('view["imbalance"]', 'view["imbalence"]'))
    monkeypatch.syspath_prepend(tmp_path)
    module = strategy_module(name)
    line = 1 + text[: text.index('view["imbalance"]')].count("\n")
    with pytest.raises(Exception) as raised:  # the compiler's, or ValueError without it
        module.on_tick(np.zeros(1, module.PARAMS)[0], np.zeros(1, module.STATE)[0], np.zeros(1, VIEW)[0])
    told = strategy_line(raised.value, module.__file__)
    assert told.startswith(f"{module.__file__}, line {line}: ") and "imbalence" in told and "\n" not in told
    assert strategy_line(raised.value, puppet.__file__) == ""


def test_what_a_single_parameter_cannot_show_the_strategy_refuses():
    values = defaults(trend.PARAMETERS)
    strategy_parameters("bot4.strategies.trend", values)
    with pytest.raises(SettingsError, match=r"strategy\.params\.fast_period: 12 is not below slow_period = 12"):
        strategy_parameters("bot4.strategies.trend", {**values, "fast_period": 12})


def test_a_rule_of_bars_that_contradicts_itself_is_refused():
    values = {**defaults(trend.PARAMETERS), "bar_ns": 0, "bar_kind": 2, "bar_size": 100}
    assert strategy_parameters("bot4.strategies.trend", values)[0]["bar_size"] == 100
    with pytest.raises(SettingsError, match=r"strategy\.params\.bar_size: 0 is not allowed with bar_kind = 2; write"):
        strategy_parameters("bot4.strategies.trend", {**values, "bar_size": 0})


def test_a_threshold_that_closes_above_the_one_that_opens_is_refused():
    values = {**defaults(trend.PARAMETERS), "enter_threshold": 0.25, "exit_threshold": 0.25}
    assert strategy_parameters("bot4.strategies.trend", values)[0]["exit_threshold"] == 0.25
    with pytest.raises(
        SettingsError, match=r"params\.exit_threshold: 0\.26 is above enter_threshold = 0\.25, .* write"
    ):
        strategy_parameters("bot4.strategies.trend", {**values, "exit_threshold": 0.26})


def test_a_sizing_without_bars_of_a_known_length_is_refused():
    values = {**defaults(trend.PARAMETERS), "sizing": 3}
    assert strategy_parameters("bot4.strategies.trend", values)[0]["sizing"] == 3
    with pytest.raises(SettingsError, match=r"strategy\.params\.sizing: 3 reads the moves from bars of a known length"):
        strategy_parameters("bot4.strategies.trend", {**values, "bar_ns": 0})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entry_slices": 1}, r"entry_slices: 1 part is the whole"),
        ({"slice_ms": 100}, r"slice_ms: 100 is a time between parts of a taking entry"),
        ({"entry_slices": 4, "slice_ms": 100, "entry_style": 1}, r"slice_ms: 100 is a time between parts of a taking"),
        ({"entry_slices": 4}, r"slice_ms: 0, but parts of a taking entry are whole tenths of a second apart"),
        ({"entry_slices": 4, "slice_ms": 150}, r"slice_ms: 150, but parts of a taking entry are whole tenths"),
    ],
)
def test_a_way_to_cut_entries_that_contradicts_itself_is_refused(changes, said):
    values = defaults(trend.PARAMETERS)
    assert strategy_parameters("bot4.strategies.trend", {**values, "entry_slices": 4, "slice_ms": 200})
    assert strategy_parameters("bot4.strategies.trend", {**values, "entry_slices": 4, "entry_style": 1})
    with pytest.raises(SettingsError, match=rf"strategy\.params\.{said}"):
        strategy_parameters("bot4.strategies.trend", {**values, **changes})


@pytest.mark.parametrize("part", ["PARAMETERS", "PARAMS", "STATE", "init", "on_tick", "on_bar", "on_fill"])
def test_a_strategy_without_a_part_of_the_contract_is_refused(part, monkeypatch):
    monkeypatch.delattr(puppet, part)
    with pytest.raises(SettingsError, match=f"has no {part}"):
        strategy_module("rig.puppet")


@pytest.mark.parametrize("state", [[("fills", "i8")], [("warm", "i8"), ("odd", "u1")]])
def test_a_strategy_state_that_cannot_be_used_is_refused(state, monkeypatch):
    monkeypatch.setattr(puppet, "STATE", np.dtype(state))
    with pytest.raises(SettingsError, match="needs a field 'warm'"):
        strategy_module("rig.puppet")


def test_records_start_on_a_cache_line():
    for count in (1, 3):
        records = aligned(SHARD_STATE, count)
        assert len(records) == count and records.ctypes.data % 64 == 0


def test_a_fresh_shard_trades_from_the_first_record_and_a_restarted_one_does_not():
    rig = Rig()
    arguments = (rig.loop, rig.params, rig.instruments, rig.limits, rig.session, 0)
    fresh, restarted = shard_memory(*arguments, True), shard_memory(*arguments, False)
    assert (fresh.states["next_event_no"][0], fresh.states["synced"][0], fresh.status["resyncing"][0]) == (1, 1, 0)
    assert fresh.risks["equity_e8"][0] == rig.session["start_equity_e8"][0]
    assert (restarted.states["synced"][0], restarted.status["resyncing"][0]) == (0, 1)
    assert restarted.risks["equity_e8"][0] == 0


def test_a_shard_that_has_only_taken_a_report_asks_after_its_restart():
    """Execution may have told it of a position before the first tick came; the next life would believe to be flat."""
    rig = Rig()
    rig.report(0, REPORT_POSITION, qty_lots=700)
    assert rig.risk()["position_lots"] == 700
    rig.start()
    assert rig.wires.control[CONTROL_SNAPSHOT] == rig.wires.control[CONTROL_RESYNC] == 1
    assert rig.agent.memory.status["resyncing"][0] == 1


def test_a_shard_tells_which_instruments_wait_for_a_snapshot():
    rig = Rig()
    at = rig.warm_up()
    assert rig.wires.gapped[0].tolist() == [0, 0]
    rig.quote(at, event_no=rig.last_event_no[0] + 2)
    assert rig.wires.gapped[0].tolist() == [1, 0]
    rig.snapshot(at + 1)
    assert rig.wires.gapped[0].tolist() == [0, 0]


STRATEGY = """
import numpy as np
from bot4.jit import inlined
from bot4.kernels.parameter import TRADING, record_dtype

PARAMETERS = TRADING
PARAMS = record_dtype(PARAMETERS)
STATE = np.dtype([("warm", "i8")])

@inlined
def init(params, state):
    state["warm"] = 1

@inlined
def on_bar(params, state, view):
    pass

@inlined
def on_tick(params, state, view):
    return SCORE

@inlined
def on_fill(params, state, view):
    pass
"""

RUN = """
import sys
sys.path[:0] = [FOLDER, TESTS]
import rig.shard
from bot4.kernels.parameter import TRADING, defaults
rig.shard.STRATEGY = "users_own"
rig.shard.puppet.PARAMETERS = TRADING
one = rig.shard.Rig()
at = one.warm_up()
orders = one.intents()
step = one.loop.shard_run
hits = sum(getattr(step, "stats", None).cache_hits.values()) if hasattr(step, "stats") else -1
print([int(order["side"]) for order in orders], one.loop.__name__, hits)
"""


def run_users_strategy(folder, score):
    """The sides of the first orders, the loop's name and its cache hits, in a process of its own."""
    (folder / "users_own.py").write_text(STRATEGY.replace("SCORE", score))
    code = textwrap.dedent(RUN).replace("FOLDER", repr(str(folder))).replace("TESTS", repr(str(TESTS)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    sides, _, rest = done.stdout.strip().partition("] ")
    name, hits = rest.split()
    return sides + "]", name, int(hits)


def test_an_edited_strategy_is_never_stale(tmp_path):
    """Long, edited to short, and back: each run does what the file says, and the third compiles nothing."""
    sides, first_name, _ = run_users_strategy(tmp_path, "0.9")
    assert sides == "[1]"
    sides, second_name, _ = run_users_strategy(tmp_path, "-0.9")
    assert sides == "[-1]" and second_name != first_name
    sides, third_name, hits = run_users_strategy(tmp_path, "0.9")
    assert sides == "[1]" and third_name == first_name
    assert hits == (1 if JIT else -1)

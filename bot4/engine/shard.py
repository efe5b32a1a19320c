"""A shard's cold path: its memory, the loop generated for its strategy, and the agent that a worker drives."""

import ast
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bot4.atomics import store_release
from bot4.engine import shard_loop as template
from bot4.engine.shard_keep import kept_words, restore
from bot4.engine.shard_loop import ShardMemory
from bot4.jit import JIT, cache_root, source_digest
from bot4.kernels.book import BOOK
from bot4.kernels.breaker import BREAKER, LIMITS_TAKEN
from bot4.kernels.parameter import parameters, refuse_bars, refuse_sizing, refuse_slices, refuse_thresholds
from bot4.kernels.risk.view import RISK_VIEW
from bot4.kernels.state import SHARD_STATE, SHARD_STATUS, VIEW
from bot4.model.breaker import breaker_row
from bot4.model.enums import FLAG_SNAPSHOT
from bot4.model.errors import InputError, SettingsError
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, PORTFOLIO_TOTALS, TICK, words
from bot4.shm.layout import CONTROL_RESYNC, CONTROL_SNAPSHOT, LINE, RING_HEAD, RING_TAIL
from bot4.shm.spsc_ring import consume, peek_tick, ring_recover
from bot4.shm.waiting import NOBODY, ONE_POLL
from bot4.shm.wires import GAUGE_SHARD_GATE_OPEN, NOTHING_KEPT, Wires

BUILT_IN = "bot4.strategies.trend"  # the one that the template imports
_IMPORT = f"from {BUILT_IN} import STATE, init, on_bar, on_fill, on_tick"
_FUNCTIONS = ("init", "on_tick", "on_bar", "on_fill")
_COMPILER_TALK = ("Failed in", "During:", "File ", "Use of unsupported", "Enable logging")
MAX_BATCH = 2_048  # items a call handles: a heartbeat at least every half millisecond, the call itself costs 5 us


def strategy_module(name: str) -> ModuleType:
    """Import a strategy by module name, from the current folder too; SettingsError if it is missing or does not keep
    the contract.
    """
    _search_current_folder()
    try:
        with redirect_stdout(sys.stderr):  # what it prints belongs to nobody's output
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_refusal(name, error) from None  # something that the strategy imports
        raise SettingsError(
            f"strategy.module: cannot import {name} ({error}); name a module in the current folder or on PYTHONPATH"
        ) from None
    except SyntaxError as error:
        raise SettingsError(
            f"strategy.module: {name} is no Python: {error.filename}, line {error.lineno}: {error.msg}; mend that line"
        ) from None
    except (Exception, SystemExit) as error:  # whatever a user's module does when it is imported
        raise _import_refusal(name, error) from None
    for part in ("PARAMETERS", "PARAMS", "STATE", *_FUNCTIONS):
        if not hasattr(module, part):
            raise SettingsError(f"strategy.module: {name} has no {part}; see bot4/strategies/trend.py for the contract")
    state = module.STATE
    if not isinstance(state, np.dtype) or state.itemsize % 8 or state.fields is None or "warm" not in state.fields:
        raise SettingsError(
            f"strategy.module: {name}.STATE needs a field 'warm' and a size that is a multiple of 8 bytes"
        )
    _refuse_raising(module)
    return module


def _search_current_folder() -> None:
    """Have imports look into the current folder, last of all: a command that was installed does not do so by itself.

    Processes that are spawned take the search path over.
    """
    try:
        folder = str(Path.cwd())
    except OSError:
        raise InputError("the current folder has been deleted; change to one that is there") from None
    if folder not in sys.path:
        sys.path.append(folder)


def _import_refusal(name: str, error: BaseException) -> SettingsError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    at = frames[-1]
    what = f"{at.filename}, line {at.lineno}: {type(error).__name__}: {error}"
    return SettingsError(f"strategy.module: {name} cannot be imported: {what}; mend it")


def require_kernels(module: ModuleType) -> None:
    """SettingsError if a function of the strategy is none that other kernels can call."""
    for name in _FUNCTIONS:
        function = getattr(module, name)
        if JIT and not hasattr(function, "py_func"):
            code = getattr(function, "__code__", None)
            where = f"{code.co_filename}, line {code.co_firstlineno}" if code else str(module.__file__)
            raise SettingsError(
                f"strategy.module: {module.__name__}.{name} is not compiled ({where}); write @inlined above it, from "
                "bot4.jit"
            )


def _refuse_raising(module: ModuleType) -> None:
    """SettingsError if a compiled function of the strategy's file raises: in a kernel that ends the whole process."""
    path = Path(str(module.__file__))
    functions = [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if not any("inlined" in ast.unparse(mark) or "kernel" in ast.unparse(mark) for mark in function.decorator_list):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Raise | ast.Assert):
                raise SettingsError(
                    f"strategy.module: {path}, line {node.lineno}: {function.name} raises, which a kernel cannot; "
                    "return a score of 0 instead"
                )


def strategy_fault(module: ModuleType) -> str:
    """Which function of a strategy does not compile by itself, in one line with its place; "" if all do.

    For the case that the loop around them does not compile and the compiler names none of them.
    """
    if not JIT:
        return ""
    from numba import typeof, types

    path = str(module.__file__)
    records = [np.zeros(1, dtype)[0] for dtype in (module.PARAMS, module.STATE, VIEW)]
    for name in _FUNCTIONS:
        function: Any = getattr(module, name)
        arguments = tuple(typeof(record) for record in records[: 2 if name == "init" else 3])
        where = f"{path}, line {function.py_func.__code__.co_firstlineno}, {name}"
        try:
            function.compile(arguments)
        except Exception as error:
            return strategy_line(error, path) or f"{where}: {_what(error)}"
        returned = function.overloads[arguments].signature.return_type
        if name == "on_tick" and not isinstance(returned, types.Number | types.Boolean):
            return f"{where}: it returns {returned}, not a number in every case; return a score from -1 to 1"
    return ""


def _what(error: BaseException) -> str:
    """The compiler's complaint in plain words, one line."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    plain = [line for line in said if not line.startswith(_COMPILER_TALK)]
    return plain[0][:300] if plain else type(error).__name__


def strategy_line(error: BaseException, path: str) -> str:
    """Which line of the strategy in file `path` an error comes from, and what is wrong there; "" if from none.

    The compiler's errors are texts: what is wrong in plain words, then the lines that led there, the innermost first.
    Where it names no line it names the function. Any other error has its frames.
    """
    text = str(error)
    if type(error).__module__.startswith("numba."):
        what = _what(error)
        own = Path(path).resolve()
        for file, number in re.findall(r'File "([^"]+)", line (\d+)', text):
            if Path(file).resolve() == own:
                return f"{path}, line {number}: {what}"
        found = re.search(rf"<function ({'|'.join(_FUNCTIONS)}) at", text)
        return f"{path}, {found[1]}: {what}" if found else ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}, line {frames[-1].lineno}: {type(error).__name__}: {text}" if frames else ""


def load_loop(name: str) -> ModuleType:
    """The shard loop with this strategy's functions compiled in.

    The template itself serves the strategy that it imports. For any other a copy with that import line replaced is
    written to the kernel cache, named by the hash of the template and of every source file that the strategy reaches:
    an edited strategy makes another name, so neither Python's nor Numba's cache can be stale.
    """
    strategy = strategy_module(name)
    if name == BUILT_IN:
        return template
    require_kernels(strategy)
    return generate_module(template, "bot4_shard", {_IMPORT: _IMPORT.replace(BUILT_IN, name)}, strategy)


def generate_module(template_module: ModuleType, prefix: str, lines: Mapping[str, str], user: ModuleType) -> ModuleType:
    """A copy of a template module with import lines replaced, so that what it imports is a global and inlined.

    Parameters
    ----------
    template_module : module whose source has each line exactly once
    prefix : of the copy's name; the rest is the hash of all sources that go into it
    lines : import lines and what replaces them
    user : the module that the new lines import from
    """
    source = Path(str(template_module.__file__)).read_text()
    digest = hashlib.sha256()
    for line, replacement in lines.items():
        if source.count(line) != 1:
            raise RuntimeError(f"{template_module.__name__} has lost the import line: {line}")
        source = source.replace(line, replacement)
        digest.update(replacement.encode())
    for module in (template_module, user):
        digest.update(source_digest(str(module.__file__)).encode())
    generated = f"{prefix}_{digest.hexdigest()[:24]}"
    if generated in sys.modules:
        return sys.modules[generated]
    folder = cache_root() / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{generated}.py"
    if not path.exists():
        private = path.with_suffix(f".{os.getpid()}")
        private.write_text(source)
        private.replace(path)  # whole or not at all, also when two processes start together
    spec = importlib.util.spec_from_file_location(generated, path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[generated] = module
    spec.loader.exec_module(module)
    return module


def strategy_parameters(name: str, values: Mapping[str, int | float]) -> np.ndarray:
    """`[strategy.params]` as the strategy's PARAMS record [1]; SettingsError names the field that cannot be used.

    What a single field cannot show is refused here for bars, thresholds and sizing, and by `refuse(values)` of the
    strategy, if it has one: what is wrong, or "".
    """
    module = strategy_module(name)
    record = parameters(module.PARAMETERS, values)
    refusal = refuse_bars(values) or refuse_thresholds(values) or refuse_sizing(values) or refuse_slices(values)
    if not refusal and hasattr(module, "refuse"):
        refusal = module.refuse(values)
    if refusal:
        raise SettingsError(f"strategy.params.{refusal}")
    return record


def aligned(dtype: np.dtype, count: int) -> np.ndarray:
    """Zeroed records that start on a cache line of 64 bytes."""
    raw = np.zeros(count * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * dtype.itemsize].view(dtype)


def shard_memory(
    loop: ModuleType,
    params: np.ndarray,
    instruments: np.ndarray,
    limits: np.ndarray,
    session: np.ndarray,
    k: int,
    fresh: bool,
    kept: np.ndarray = NOTHING_KEPT,
) -> ShardMemory:
    """All memory of shard `k`.

    Parameters
    ----------
    loop : module that `load_loop` returned
    params : PARAMS[1]
    instruments : INSTRUMENT[n]; session : SESSION[1]
    limits : LIMITS[1], changed where they lie when they are tightened
    fresh : True at the start of a session: the first record of every instrument has event_no 1 and there is no
    position;
        False after a restart: the gate stays shut until snapshot and resync are answered
    kept : int64[n, kept_row(loop)], what an earlier life has left, see engine/shard_keep.py; without rows, as for a bot
    in one process: nothing outlives it
    """
    n = len(instruments)
    if not len(kept):
        kept = np.zeros((n, kept_row(loop)), np.int64)
    tick, report, intent = aligned(TICK, 1), aligned(EXEC_REPORT, 1), aligned(ORDER_INTENT, 1)
    states, views, strategies = aligned(SHARD_STATE, n), aligned(VIEW, n), aligned(loop.STATE, n)
    memory: ShardMemory = loop.ShardMemory(
        states=states,
        views=views,
        risks=aligned(RISK_VIEW, n),
        books=aligned(BOOK, n),
        strategies=strategies,
        strategy_words=strategies.view(np.int64).reshape(n, -1),
        params=params.copy(),
        limits=limits,
        limit_words=words(limits),
        status=aligned(SHARD_STATUS, 1),
        model=aligned(BREAKER, 1),
        kept=kept,
        state_words=states.view(np.int64).reshape(n, -1),
        view_words=views.view(np.int64).reshape(n, -1),
        tick=tick,
        tick_words=words(tick),
        report=report,
        totals=report.view(PORTFOLIO_TOTALS),
        report_words=words(report),
        intent=intent,
        intent_words=words(intent),
    )
    for i in np.flatnonzero(instruments["shard"] == k):
        told = -1 if fresh else restore(memory, int(i))
        if told < 0:
            loop.reset_indicators(memory, int(i))
        memory.status["reports_taken"] = max(memory.status["reports_taken"][0], told)
    memory.risks["stale"] = 1
    if fresh:
        memory.states["next_event_no"] = 1
        memory.states["synced"] = 1
        memory.status["execution_gate"] = 1
        for field in ("equity_e8", "high_water_e8", "day_start_e8"):
            memory.risks[field] = session["start_equity_e8"][0]
        memory.risks["high_water_e8"] = max(session["start_equity_e8"][0], session["high_water_e8"][0])
        if session["day"][0] > 0:
            memory.risks["day_start_e8"] = session["day_start_e8"][0]
    else:
        memory.status["resyncing"] = 1
    return memory


def kept_row(loop: ModuleType) -> int:
    """Words of a row of `Wires.kept` for this strategy."""
    return kept_words(SHARD_STATE, VIEW, loop.STATE)


class ShardAgent:
    """One shard as a worker sees it: `do_work` until it is told to stop."""

    def __init__(
        self,
        loop_module: ModuleType,
        wires: Wires,
        instruments: np.ndarray,
        limits: np.ndarray,
        session: np.ndarray,
        k: int,
        strategy_params: np.ndarray,
    ) -> None:
        ring = wires.ticks[k]
        # a report alone is enough to make it a restart: it may have told of a position that this life would not know
        fresh = bool(ring[RING_TAIL] == 0 and wires.reports[k][RING_TAIL] == 0 and wires.intents[k][RING_HEAD] == 0)
        self.memory = shard_memory(loop_module, strategy_params, instruments, limits, session, k, fresh, wires.kept)
        row = wires.breakers[breaker_row("model", int(session[0]["n_shards"]), k)]
        for field, column in LIMITS_TAKEN.items():  # once: who decides looks at no word that anybody may change
            self.memory.model[field] = row[column]
        self._run = loop_module.shard_run
        self._arguments = (wires, instruments, limits, session, k)
        ring_recover(wires.intents[k])
        wires.gauges[k, GAUGE_SHARD_GATE_OPEN] = 0  # whatever an earlier life last said
        if not fresh:
            self._pass_over_known(ring, wires.reports[k])
            for word in (CONTROL_SNAPSHOT + k * LINE, CONTROL_RESYNC + k * LINE):
                # SYNC POINT: pairs with the feed's and execution's load_acquire of these words.
                store_release(wires.control, word, wires.control[word] + 1)

    def _pass_over_known(self, ring: np.ndarray, reports: np.ndarray) -> None:
        """Take what the earlier life had kept but not taken: after that it was killed."""
        memory = self.memory
        if reports[RING_TAIL] < memory.status["reports_taken"][0]:
            consume(reports)
        if not peek_tick(ring, memory.tick_words, 0):
            return
        tick = memory.tick[0]
        i = int(tick["instrument"])
        if i >= len(memory.states) or tick["flags"] & FLAG_SNAPSHOT:
            return  # the head of a snapshot is taken again, the rest of one is not believed without it
        if tick["event_no"] < memory.states[i]["next_event_no"]:
            consume(ring)

    def do_work(self) -> int:
        """Handle a bounded batch of reports and ticks; returns how many."""
        return self.run(ONE_POLL, NOBODY)

    def run(self, idle: np.ndarray, peers: np.ndarray) -> int:
        """The same, again and again for about a millisecond, waiting as `idle` says and waking `peers` after news."""
        return int(self._run(self.memory, *self._arguments, MAX_BATCH, idle, peers))

    def close(self) -> None:
        """Nothing to release: all memory is the process's own or belongs to the wires."""

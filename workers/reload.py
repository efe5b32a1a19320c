"""`limits.toml` read again for the session that runs: what is tighter is handed to execution, anything else is refused.

All of the file or nothing: one limit that would be looser, or that is set at the start alone, and nothing changes.
Execution takes the wish as an input in the order of event time, and says so by what it shows to be in force; it judges
by itself what is tighter, so this door is no part of the protection.
"""

import json
import time
from pathlib import Path

import numpy as np

from bot4.adapters.system.instance import InstanceFile, running_instance
from bot4.kernels.risk.tightening import AT_THE_START, DOWNWARDS, TIGHTER
from bot4.model.breaker import LIMIT_FAILURES, LIMIT_PROBES, rows_of_component
from bot4.model.enums import INT64_MAX
from bot4.model.errors import Bot4Error, SegmentError, SettingsError
from bot4.model.records import LIMITS, words
from bot4.settings.conversion import (
    BREAKER_COLUMNS,
    breaker_words,
    check_limits,
    limit_field,
    limit_text,
    limits_record,
)
from bot4.settings.loader import LIMITS_FILE, load
from bot4.settings.schema import Settings
from bot4.shm.layout import CLOCK_EXEC_VENUE, CONTROL_FEED_DONE, LINE
from bot4.shm.wires import LIMITS_IN_FORCE
from bot4.shm.wiring import attach_wires
from workers.session import COMMAND_FILE

_PATIENCE_S = 10.0
_ANEW = "or stop the session and start it again"
_OF_THE_FEED = ("lag_ms", "silence_ms", "spike_bps", "venue_time_ms")  # read at the start alone, by feed and shards


def reload(config: Path, state: Path | None) -> dict[str, str]:
    """Tighten the limits of the session that runs; returns what is tighter now, by field.

    Raises
    ------
    SettingsError : a limit would be looser, or is set at the start alone; nothing has changed
    Bot4Error : nothing runs, its feed has ended, or execution did not take it in time
    """
    settings = load(config)
    check_limits(settings)
    folder = state if state is not None else Path(settings.state.folder)
    found = running_instance(folder)
    if found is None:
        raise Bot4Error(f"nothing runs on state folder {folder}; a start reads {LIMITS_FILE} by itself")
    _refuse_unlike(settings, found)
    try:
        shared = attach_wires(found.instance, found.n_shards, found.n_instruments, generation=found.generation)
    except SegmentError:
        raise Bot4Error("the session is starting or ending; try again") from None
    try:
        in_force = shared.wires.limits[LIMITS_IN_FORCE]
        if not in_force.any():
            raise Bot4Error("the session is starting; try again")
        wires, wanted = shared.wires, words(limits_record(settings))
        changed = _changed(settings, in_force.copy(), wanted)
        rows = breaker_words(settings)
        changed |= tighter_breakers(settings, wires.breakers, rows, found.n_shards)
        is_tighter = not np.array_equal(in_force, wanted)
        if is_tighter and wires.control[CONTROL_FEED_DONE] and wires.clocks[CLOCK_EXEC_VENUE] == INT64_MAX:
            # No event takes it any more.
            raise Bot4Error("the feed has ended, nothing is decided any more; a start reads limits.toml by itself")
        for component, line in rows.items():
            for row in rows_of_component(component, found.n_shards):  # whoever keeps a breaker reads them each time
                wires.breakers[row, LIMIT_FAILURES : LIMIT_PROBES + 1] = line
        if is_tighter:
            wires.asked[LINE:] = wanted
            wires.asked[0] += 1  # last: who sees the number sees the values
            _wait(in_force, wanted)
        return changed
    finally:
        shared.close()


def _refuse_unlike(settings: Settings, found: InstanceFile) -> None:
    """Limits that are no input of execution: they have to be what this start of the session was given."""
    inputs = Path(found.inputs_folder)
    try:
        begun = load(inputs / json.loads((inputs / COMMAND_FILE).read_bytes())["config"]).limits
    except (OSError, ValueError, KeyError, SettingsError) as error:
        raise Bot4Error(f"{inputs}: what the session was started with cannot be read ({error}); {_ANEW[3:]}") from None
    for name in _OF_THE_FEED:
        if getattr(settings.limits, name) != getattr(begun, name):
            raise _refusal(settings, name, f"is read at the start alone; write {getattr(begun, name)} again")


def _changed(settings: Settings, in_force: np.ndarray, wanted: np.ndarray) -> dict[str, str]:
    """What is to be tighter, by field; SettingsError names the first that cannot be."""
    found = {}
    for word, name in enumerate(LIMITS.names or ()):
        now, then, bound = int(in_force[word]), int(wanted[word]), int(TIGHTER[word])
        if now == then:
            continue
        field = limit_field(name)
        if bound == AT_THE_START:
            raise _refusal(settings, field, "is set at the start alone; write it as it was")
        if (then > now) == (bound == DOWNWARDS):
            way = "at most" if bound == DOWNWARDS else "at least"
            text = f"{limit_text(name, then)} is looser than the {limit_text(name, now)} in force"
            raise _refusal(settings, field, f"{text}; write {way} {limit_text(name, now)}")
        found[field] = limit_text(name, then)
    return found


def tighter_breakers(
    settings: Settings, table: np.ndarray, rows: dict[str, np.ndarray], n_shards: int
) -> dict[str, str]:
    """What is to be tighter of the breakers, by field; SettingsError names the first that cannot be.

    0 is never where a failure is watched, and for good where time is.
    """
    found = {}
    for component, line in rows.items():
        now = table[rows_of_component(component, n_shards)[0], LIMIT_FAILURES : LIMIT_PROBES + 1]
        for field, (column, unit) in BREAKER_COLUMNS.items():
            is_now, then = int(now[column - LIMIT_FAILURES]), int(line[column - LIMIT_FAILURES])
            name = f"breaker.{component}.{field}"
            if is_now == then:
                continue
            if component == "model":  # an input of decisions
                raise _refusal(settings, name, "is set at the start alone; write it as it was")
            grows = field in ("window_ms", "open_ms", "doublings", "probes")
            endless = 0 if field in ("doublings", "probes") else INT64_MAX
            if ((then or endless) > (is_now or endless)) != grows:
                text = f"{then // unit} is looser than the {is_now // unit} in force"
                raise _refusal(settings, name, f"{text}; write it as it was")
            found[name] = str(then // unit)
    return found


def _refusal(settings: Settings, field: str, why: str) -> SettingsError:
    return SettingsError(f"{settings.path.with_name(LIMITS_FILE)}: {field}: {why}, {_ANEW}")


def _wait(in_force: np.ndarray, wanted: np.ndarray) -> None:
    limit = time.monotonic() + _PATIENCE_S
    while not np.array_equal(in_force, wanted):
        if time.monotonic() > limit:
            raise Bot4Error(
                f"execution has not taken the limits within {_PATIENCE_S:.0f} s; they hold as soon as it does"
            )
        time.sleep(0.005)

"""Reads the four files of the settings. Whatever is wrong is one SettingsError of one line: file, dotted field, fix.

    config/limits.toml: order_lots: -1 is outside ORDER_LOTS; write a whole number of lots, 1 to 1000000000

Values are checked on the raw tables, before msgspec builds the frozen structs, so that missing, unknown and bad values
all read alike.
"""

import difflib
import re
import stat
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from bot4.model.errors import SettingsError
from bot4.settings.bound import Bound, shown
from bot4.settings.conversion import check_instruments, check_mode, check_profile, check_stop_time
from bot4.settings.schema import (
    STATE_FOLDER,
    Instrument,
    Instruments,
    Limits,
    LimitsFile,
    Session,
    Settings,
    Table,
    Topology,
)

LIMITS_FILE = "limits.toml"
INSTRUMENTS_FILE = "instruments.toml"
TOPOLOGY_FILE = "topology.toml"
MAX_FILE_BYTES = 1 << 20  # a settings file is a page; more is a mistake in the path

_NAME_IT = "name the session's file with --config"

T = TypeVar("T", bound=Table)


class _Where(Table, frozen=True):
    folder: Annotated[str, STATE_FOLDER]


def load(path: Path) -> Settings:
    """The settings of the session file `path` and of the three files beside it, checked field by field."""
    session = load_session(path)
    file = _decode(path.with_name(LIMITS_FILE), LimitsFile)
    limits = Limits(**{name: getattr(file, name) for name in Limits.__struct_fields__})
    instruments = load_instruments(path.with_name(INSTRUMENTS_FILE))
    topology = _decode(path.with_name(TOPOLOGY_FILE), Topology)
    settings = Settings(
        path=path,
        mode=session.mode,
        account=session.account,
        state=session.state,
        strategy=session.strategy,
        venue=session.venue,
        portfolio=session.portfolio,
        profile=session.profile,
        recorder=session.recorder,
        limits=limits,
        breakers=file.breaker,
        instruments=instruments,
        topology=topology,
    )
    check_stop_time(settings)
    check_profile(settings)
    return settings


def load_session(path: Path) -> Session:
    """The session's file alone, its mode checked."""
    session = _decode(path, Session, _NAME_IT)
    check_mode(path, session)
    return session


def load_instruments(path: Path) -> tuple[Instrument, ...]:
    """The instruments' file alone."""
    instruments = _decode(path, Instruments).instrument
    check_instruments(instruments, str(path))
    return instruments


def load_state_folder(path: Path) -> Path:
    """`[state] folder` of the session's file alone: who ends a session must not stumble over its settings."""
    raw = _parse(path, _read(path, _NAME_IT)).get("state")
    state = raw if isinstance(raw, dict) else {}
    _check_table(str(path), "state", _Where, {name: state[name] for name in ("folder",) if name in state})
    return Path(state["folder"])


def _decode(path: Path, table: type[T], fix: str = "it belongs beside the session's file") -> T:
    raw = _parse(path, _read(path, fix))
    _check_table(str(path), "", table, raw)
    return msgspec.convert(raw, table)


def _read(path: Path, fix: str) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise SettingsError(f"{path}: is a pipe or a device; name a plain file")
        if found.st_size > MAX_FILE_BYTES:
            raise SettingsError(f"{path}: larger than {MAX_FILE_BYTES} bytes; this is no settings file")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; {fix}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{path}: cannot be read ({reason}); give a readable file") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply; settings are tables of plain values") from None
    except ValueError as error:
        reason = str(error).splitlines()[0][:200]
        found = re.search(r"at line (\d+)", reason)
        line = text.splitlines()[int(found[1]) - 1].strip() if found and int(found[1]) <= len(text.splitlines()) else ""
        where = f" in {shown(line)}" if line else ""
        raise SettingsError(f"{path}: not TOML{where}: {reason}; mend that line") from None


def _check_table(file: str, at: str, table: type[Table], raw: Any) -> None:
    if not isinstance(raw, dict):
        raise SettingsError(f"{file}: {at}: {shown(raw)} is no table; write [{at}] and its fields below it")
    hints = typing.get_type_hints(table, include_extras=True)
    for key in raw:
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            fix = f"did you mean {close[0]}?" if close else "remove it; known here: " + ", ".join(hints)
            raise SettingsError(f"{file}: {_join(at, _quoted(key))}: unknown field; {fix}")
    for name, hint in hints.items():
        if name not in raw:
            if is_optional(hint):
                continue
            raise SettingsError(f"{file}: {_join(at, name)}: missing; {_how(hint)}")
        _check_field(file, _join(at, name), hint, raw[name])


def _check_field(file: str, at: str, hint: Any, value: Any) -> None:
    bound = bound_of(hint)
    if is_optional(hint) and bound is None:
        hint = typing.get_args(hint)[0]
    if bound is not None:
        refusal = bound.refusal(value)
        if refusal is not None:
            raise SettingsError(f"{file}: {at}: {refusal}")
        return
    if typing.get_origin(hint) is not tuple:
        _check_table(file, at, hint, value)
        return
    if not isinstance(value, list) or not value:
        raise SettingsError(f"{file}: {at}: {shown(value)} is no list of tables; write at least one [[{at}]]")
    for index, row in enumerate(value):
        _check_table(file, f"{at}[{index}]", typing.get_args(hint)[0], row)


def needed_fields(table: type[Table]) -> list[str]:
    """The fields of a table that may not be left out."""
    return [name for name, hint in typing.get_type_hints(table, include_extras=True).items() if not is_optional(hint)]


def is_optional(hint: Any) -> bool:
    """Whether a field may be left out: `Table | None`, or an annotated value with None among its types."""
    inner = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    return type(None) in typing.get_args(inner)


def bound_of(hint: Any) -> Bound | None:
    """The bound in a field's annotation; None where the field is a table or a list of tables."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Bound):
            return extra
    return None


def _how(hint: Any) -> str:
    bound = bound_of(hint)
    if bound is None:
        return "add this table"
    refusal = bound.refusal(None)
    return "add it: " + (refusal.split("; ", 1)[-1] if refusal else "")


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _quoted(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]{1,60}", key) else shown(key)

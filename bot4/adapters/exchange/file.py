"""Files that a user names: plain ones of a bounded size, and what is wrong with their content in one line."""

import os
import re
import stat
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from bot4.model.errors import SettingsError

MAX_FILE_BYTES = 1 << 20  # a scenario is a page; more is a mistake in the path

T = TypeVar("T")


def open_plain(option: str, path: Path, flags: int, mode: int = 0o666) -> int:
    """A descriptor of a plain file; SettingsError where there is none, or a pipe or a device that could hang."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except (OSError, ValueError) as error:
        what = "read" if flags & os.O_ACCMODE == os.O_RDONLY else "written"
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{option} {path}: cannot be {what}: {reason}; name a plain file") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SettingsError(f"{option} {path}: is no plain file; name one")
    return descriptor


def read_toml(option: str, path: Path, kind: type[T], tables: dict[str, type]) -> T:
    """The content of a TOML file as a struct; SettingsError names the field and what to write."""
    with os.fdopen(open_plain(option, path, os.O_RDONLY), "rb") as file:
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise SettingsError(f"{option} {path}: larger than {MAX_FILE_BYTES} bytes; name the right file")
    try:
        return msgspec.toml.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{option} {path}: {mended(error, tables)}") from None
    except RecursionError:
        raise SettingsError(f"{option} {path}: is nested too deeply; write tables of plain values") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{option} {path}: byte {error.start} is not UTF-8; save it as UTF-8 text") from None
    except (msgspec.DecodeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise SettingsError(f"{option} {path}: no TOML: {reason}; mend that line") from None


def mended(error: msgspec.ValidationError, tables: dict[str, type]) -> str:
    """What is wrong with a field, and what may be written there."""
    text = str(error).splitlines()[0][:300]
    place = re.search(r" - at `(\$[^`]*)`$", text)
    at = re.sub(r"\[\d+\]", "[...]", place[1] if place else "$")
    table = tables.get(at, tables["$"] if at == "$" else None)
    if table is not None and "unknown field" in text:
        return f"{text}; remove it, known here: {', '.join(table.__struct_fields__)}"  # type: ignore[attr-defined]
    if "missing required field" in text:
        return f"{text}; write it"
    holder, _, name = at.rpartition(".")
    table = tables.get(holder)
    if table is not None and "Invalid enum value" in text:
        choices = get_args(next(field.type for field in msgspec.structs.fields(table) if field.name == name))
        return f"{text}; write one of {', '.join(choices)}"
    return f"{text}; change it to that" if text.startswith("Expected") else text

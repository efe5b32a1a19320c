"""The file of a key: read by the one process that needs it, and by nobody else on the machine.

A plain file of mode 0400 that belongs to this user, or a credential of systemd: a name without a folder is looked for
in $CREDENTIALS_DIRECTORY first. Nothing of it is ever shown.

    api_key = "..."
    api_secret = "..."
"""

import os
import re
import stat
import tomllib
from pathlib import Path

from bot4.model.errors import SettingsError

FIELDS = ("api_key", "api_secret")
_FORM = re.compile(r"[\x21-\x7e]{8,256}", re.ASCII)
_MAX_BYTES = 4_096


def key_path(name: str) -> tuple[Path, bool]:
    """Where the file is, and whether it is a credential of systemd."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and "/" not in name and (Path(folder) / name).exists():
        return Path(folder) / name, True
    return Path(name), False


def check_key_file(name: str, at: str) -> None:
    """SettingsError, naming the field `at`, if the file is not there or others could read it."""
    path, is_credential = key_path(name)
    try:
        _check(path.lstat(), path, is_credential, at)
    except OSError as error:
        raise SettingsError(f"{at}: {path} cannot be read ({error.strerror}); name the file of the key") from None


def _check(found: os.stat_result, path: Path, is_credential: bool, at: str) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError(f"{at}: {path} is no plain file; name the file of the key itself")
    if is_credential:
        if mode & 0o227:
            raise SettingsError(f"{at}: {path} has mode {mode:04o}; a credential is not written, nor read by others")
    elif mode != 0o400 or found.st_uid != os.geteuid():
        raise SettingsError(
            f"{at}: {path} has mode {mode:04o} and owner {found.st_uid}; it has to be yours alone: chmod 0400"
        )


def read_key_file(name: str, at: str) -> tuple[str, str]:
    """Key and secret; SettingsError says what is wrong with the file, and never what is in it."""
    path, is_credential = key_path(name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(f"{at}: {path} cannot be read ({error.strerror}); name the file of the key") from None
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor), path, is_credential, at)
        text = file.read(_MAX_BYTES + 1)
    try:
        content = tomllib.loads(text[:_MAX_BYTES].decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        content = {}
    values = [content.get(field) for field in FIELDS]
    if set(content) != set(FIELDS) or not all(isinstance(one, str) and _FORM.fullmatch(one) for one in values):
        raise SettingsError(f"{at}: {path} is no file of a key; write api_key and api_secret, a line each, in quotes")
    return str(values[0]), str(values[1])

"""What an account carries from session to session: equity, high-water mark, the day's begin, losses in a row.

    byte 0    slot 0  (256 bytes)      magic | version | account | generation | seven values | check sum
    byte 256  slot 1  (256 bytes)      the same

A change writes the older slot with the next generation, so a death at any instruction leaves the last word whole, and
of a torn write the one before. Writing does not sync, since execution must not wait for a disk: the page cache survives
the death of any process, and the supervisor syncs. A file without one whole slot is never taken for a new account's;
a new one appears under its name when its first slots are in it, so who dies before leaves none.
"""

import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

from bot4.model.errors import Bot4Error, SettingsError

SLOT_BYTES = 256
_HEAD = struct.Struct("<8sIIq8q")  # magic, version, account, generation, values
_MAGIC = b"BOT4ACCT"
_VERSION = 1
_SUM_BYTES = 16


class AccountState(NamedTuple):
    """Money in 1e-8 of the quote currency, times in ns of event time."""

    equity_e8: int
    high_water_e8: int
    day: int  # the trading day's number, as execution counts it
    day_start_e8: int
    streak: int  # losses in a row
    streak_until_ns: int  # nothing is opened before
    stake_e8: int = 0  # account.equity of the settings by then; 0: not known, as of a file of before it was kept
    day_shut_until_ns: int = 0  # nothing is opened before: the loss of the day reached its limit


def account_path(folder: Path, account: int, venue: str = "") -> Path:
    """Where the state of that account lies; `venue`: the real one that it is traded on, "" on paper."""
    return folder / f"account-{account}{venue and '-'}{venue}.state"


def read_account(folder: Path, account: int, venue: str = "") -> AccountState | None:
    """What the account's last session left, None if it had none; SettingsError if that cannot be known any more."""
    path = account_path(folder, account, venue)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); {_WAY_OUT}") from None
    slots = [_unpack(content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
    whole = [slot for slot in slots if slot is not None]
    if len(content) != 2 * SLOT_BYTES or not whole:
        raise SettingsError(f"{path}: is damaged; {_WAY_OUT}")
    owner, _, state = max(whole, key=lambda slot: slot[1])
    if owner != account:
        raise SettingsError(f"{path}: belongs to account {owner}; {_WAY_OUT}")
    return state


_WAY_OUT = "put a copy of it back, or move it away to begin anew with account.equity and a new high-water mark"


class AccountFile:
    """The file of one account, open for its one writer."""

    def __init__(self, folder: Path, account: int, venue: str = "") -> None:
        """Open it, or make room for a new one. Bot4Error if that cannot be."""
        self._path, self._account = account_path(folder, account, venue), account
        self._new: Path | None = None  # what it is called until something is in it
        try:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                self._new = self._path.with_suffix(".new")
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._new, flags, 0o600)
            content = os.pread(self._descriptor, 2 * SLOT_BYTES, 0)
        except OSError as error:
            raise Bot4Error(f"{self._path}: cannot be written: {error.strerror}") from None
        slots = [_unpack(content[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
        generations = [0 if slot is None else slot[1] for slot in slots]
        self._generation = max(generations)
        self._next = generations.index(min(generations))
        self._last: AccountState | None = None

    def write(self, state: AccountState) -> None:
        """Keep it, if it is news."""
        if state == self._last:
            return
        first = self._generation == 0  # both slots, so that the file has its size
        self._last, self._generation = state, self._generation + 1
        slot = _pack(self._account, self._generation, state)
        try:
            os.pwrite(self._descriptor, slot * 2 if first else slot, 0 if first else self._next * SLOT_BYTES)
            if self._new is not None:
                self._new.rename(self._path)
                self._new = None
        except OSError as error:
            raise Bot4Error(f"{self._path}: cannot be written: {error.strerror}") from None
        self._next = 1 - self._next

    def close(self) -> None:
        """On disk, then closed; Bot4Error if that cannot be."""
        try:
            os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            if self._new is not None:
                self._new.unlink()
        except OSError as error:
            raise Bot4Error(f"{self._path}: cannot be written: {error.strerror}") from None


def sync_account(folder: Path, account: int, venue: str = "") -> None:
    """What execution has written survives a power cut from now on; nothing if there is no such file yet."""
    try:
        descriptor = os.open(account_path(folder, account, venue), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _pack(account: int, generation: int, state: AccountState) -> bytes:
    body = _HEAD.pack(_MAGIC, _VERSION, account, generation, *state).ljust(SLOT_BYTES - _SUM_BYTES, b"\0")
    return body + hashlib.blake2b(body, digest_size=_SUM_BYTES).digest()


def _unpack(content: bytes) -> tuple[int, int, AccountState] | None:
    """Account, generation and state of a whole slot."""
    body, check = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if len(content) != SLOT_BYTES or hashlib.blake2b(body, digest_size=_SUM_BYTES).digest() != check:
        return None
    magic, version, account, generation, *values = _HEAD.unpack_from(body)
    if magic != _MAGIC or version != _VERSION:
        return None
    return account, generation, AccountState(*values)

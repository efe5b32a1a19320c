"""What an account carries from session to session: whole after any death, refused when it cannot be known."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from bot4.adapters.system.account_file import (
    SLOT_BYTES,
    AccountFile,
    AccountState,
    account_path,
    read_account,
    sync_account,
)
from bot4.model.errors import SettingsError

STATE = AccountState(100_000 * 10**8, 105_000 * 10**8, 19_700, 101_000 * 10**8, 7, 1_700_000_000 * 10**9)
WRITER = """
import sys
from pathlib import Path
from bot4.adapters.system.account_file import AccountFile, AccountState
file, number = AccountFile(Path(sys.argv[1]), 5), int(sys.argv[2])
print("ready", flush=True)
while True:
    number += 1
    file.write(AccountState(*range(number, number + 6)))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def write(folder, *states, account=5):
    """By a session of that account."""
    file = AccountFile(folder, account)
    for state in states:
        file.write(state)
    file.close()


def test_what_was_written_last_is_read(tmp_path):
    assert read_account(tmp_path, 5) is None
    states = [STATE._replace(streak=number) for number in range(5)]
    for count in range(1, 6):
        write(tmp_path, *states[:count])
        assert read_account(tmp_path, 5) == states[count - 1]
    assert account_path(tmp_path, 5).stat().st_size == 2 * SLOT_BYTES
    sync_account(tmp_path, 5)


def test_another_account_inherits_nothing(tmp_path):
    write(tmp_path, STATE)
    assert read_account(tmp_path, 6) is None
    account_path(tmp_path, 5).rename(account_path(tmp_path, 6))
    with pytest.raises(SettingsError, match=r"account-6\.state: belongs to account 5; put a copy of it back, or move"):
        read_account(tmp_path, 6)
    sync_account(tmp_path, 5)  # nothing there: nothing to do


def test_a_session_without_an_event_leaves_no_file_and_one_that_dies_then_none_under_its_name(tmp_path):
    write(tmp_path)
    assert not list(tmp_path.iterdir()) and read_account(tmp_path, 5) is None
    AccountFile(tmp_path, 5)  # and nobody closes it
    assert read_account(tmp_path, 5) is None
    write(tmp_path, STATE)
    assert read_account(tmp_path, 5) == STATE and [path.suffix for path in tmp_path.iterdir()] == [".state"]


def test_what_is_the_same_is_not_written_again(tmp_path):
    file = AccountFile(tmp_path, 5)
    file.write(STATE)
    before = account_path(tmp_path, 5).read_bytes()
    file.write(STATE)
    assert account_path(tmp_path, 5).read_bytes() == before
    file.close()


@pytest.mark.parametrize("torn", range(0, SLOT_BYTES, 37))
def test_a_torn_write_leaves_the_state_before(tmp_path, torn):
    old, new = STATE, STATE._replace(streak=8)
    write(tmp_path, old, old._replace(streak=1), new)
    path = account_path(tmp_path, 5)
    content = path.read_bytes()
    at = next(at for at in (0, SLOT_BYTES) if content[at : at + SLOT_BYTES] != b"" and _streak(content, at) == 8)
    path.write_bytes(content[: at + torn] + b"\xff" * (SLOT_BYTES - torn) + content[at + SLOT_BYTES :])
    assert read_account(tmp_path, 5) == old._replace(streak=1)


def _streak(content, at):
    return int.from_bytes(content[at + 24 + 32 : at + 24 + 40], "little")


@pytest.mark.parametrize("damage", ["both slots", "short", "long", "empty", "a folder"])
def test_what_cannot_be_known_any_more_is_refused_with_the_way_out(tmp_path, damage):
    write(tmp_path, STATE)
    path = account_path(tmp_path, 5)
    content = bytearray(path.read_bytes())
    if damage == "both slots":
        content[30] ^= 1
        content[SLOT_BYTES + 30] ^= 1
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes({"short": content[:-1], "long": content + b"\0", "empty": b""}.get(damage, bytes(content)))
    with pytest.raises(SettingsError, match=r"account-5\.state: .*; put a copy of it back, or move it away") as error:
        read_account(tmp_path, 5)
    assert "\n" not in str(error.value)


def kill_writers(folder, kills):
    """A writer is killed at any moment; what is read is whole, and no older than what he has said he wrote."""
    dice, known = random.Random(kills), 0
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(folder), str(known)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(dice.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        told = process.stdout.read().split("\n")[:-1]
        process.wait()
        process.stdout.close()
        found = read_account(folder, 5)
        least = int(told[-1]) if told else known
        if found is None:
            assert least == 0
            continue
        assert found == AccountState(*range(found.equity_e8, found.equity_e8 + 6))
        assert least <= found.equity_e8 <= least + 1
        known = found.equity_e8


def test_kills_leave_it_whole(tmp_path):
    kill_writers(tmp_path, 5)


@pytest.mark.stress
def test_a_thousand_kills_leave_it_whole(tmp_path):
    kill_writers(tmp_path, 1_000)

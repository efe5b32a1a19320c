"""Output that nobody reads, that is full, closed or gone: nothing waits for ever, nothing raises, no line is torn."""

import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from bot4.adapters.system.output import Output, TerminalFile


@pytest.fixture
def pipe():
    """Read end, write end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def fill(writer: int) -> int:
    """Fill a pipe to the last byte; how many went in."""
    os.set_blocking(writer, False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += os.write(writer, b"x" * 65_536)
    os.set_blocking(writer, True)
    return count


@pytest.mark.parametrize("patience_s", [0.0, 0.05])
def test_nobody_who_does_not_read_holds_up_the_writer(pipe, patience_s):
    """The line is left out, the next one that has room is whole."""
    reader, writer = pipe
    output = Output(writer)
    count = fill(writer)
    writing = threading.Thread(target=lambda: output.line("lost", patience_s), daemon=True)
    writing.start()
    writing.join(20.0)
    assert not writing.is_alive()
    while count:
        count -= len(os.read(reader, count))
    assert output.line("seen", patience_s)
    assert os.read(reader, 1 << 20) == b"seen\n" and os.get_blocking(writer), "the flag of others is untouched"


def test_a_line_that_has_begun_is_ended_before_the_next(pipe):
    reader, writer = pipe
    output = Output(writer)
    long = "a" * 200_000
    assert output.line(long), "the rest of it goes out later"
    assert not output.line("left out")
    got = b""
    while len(got) < len(long) + 1:
        got += os.read(reader, 1 << 16)
        output.write("")
    output.line("next")
    assert got + os.read(reader, 100) == long.encode() + b"\nnext\n"


def test_with_patience_a_slow_reader_gets_it_all(pipe):
    reader, writer = pipe
    got = []

    def read() -> None:
        while not b"".join(got).endswith(b"\n"):
            got.append(os.read(reader, 1 << 12))

    reading = threading.Thread(target=read)
    reading.start()
    assert Output(writer).line("b" * 500_000, None)
    reading.join()
    assert len(b"".join(got)) == 500_001


def test_a_reader_that_has_gone_is_told_from_a_full_disk(pipe):
    reader, writer = pipe
    output, late = Output(writer), os.dup(writer)
    os.close(reader)
    for made in (output, Output(late)):  # opened anew before he went, and not possible after
        assert not made.line("nobody is there") and made.gone and made.failure
        assert not made.line("nor now", None)
    os.close(late)
    with open("/dev/full", "w") as full:  # noqa: PTH123
        output = Output(full.fileno())
        assert not output.line("x") and output.failure == "No space left on device" and not output.gone


def test_a_terminal_takes_frames():
    master, slave = pty.openpty()
    output = Output(slave)
    assert output.terminal
    file = TerminalFile(output)
    file.write("frame\n")
    file.flush()
    assert file.isatty() and b"frame" in os.read(master, 100)
    os.close(slave)
    os.close(master)


def test_closed_descriptors_are_taken_before_any_file_is():
    code = (
        "import os; from bot4.adapters.system.output import Output, hold_standard_descriptors\n"
        "hold_standard_descriptors(); hold_standard_descriptors()\n"
        "out = Output(1); told = out.line('x'); opened = os.open('/dev/null', os.O_RDONLY)\n"
        "Output(2).line(f'{told} {out.failure} {opened > 2} {out.terminal} {os.get_inheritable(1)}')"
    )
    command = ["sh", "-c", '"$0" -c "$1" <&- >&-', sys.executable, code]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True, timeout=60)
    assert result.stderr == "False it is closed True False True\n"

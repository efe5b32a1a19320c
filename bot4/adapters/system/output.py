"""Standard output and error as what they may be: a terminal, a pipe that nobody reads, a full disk, or closed.

A line that the reader has no room for is left out or waited for, as the caller says, never for ever. Pipes and
terminals are opened anew without blocking, so the flag is ours alone and not that of everybody who shares them.
"""

import functools
import os
import select
import stat
import sys
from collections.abc import Callable
from time import monotonic

_DIRECT = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISBLK)  # never make anybody wait
_PIECE_BYTES = 4096  # where blocking cannot be switched off: a pipe that polls as ready takes so much at once
_closed: set[int] = set()
GIVE_UP_S = 5.0  # a reader that takes nothing for so long is given up at the end


def hold_standard_descriptors() -> None:
    """Open what was closed of 0, 1, 2 on /dev/null, or the next file that is opened would be taken for it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
            os.set_inheritable(opened, True)


def run_door(name: str, door: Callable[[], object]) -> None:
    """Run a command; if its output cannot be written that is one line on standard error and exit code 1."""
    hold_standard_descriptors()
    if sys.stdout is None:  # as Python leaves it where it was closed
        sys.stdout = os.fdopen(1, "w", closefd=False)
    try:
        door()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what is left in buffers goes there
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            standard_error().line(f"{name}: {error.strerror or error}", GIVE_UP_S)
        raise SystemExit(1) from None


class Output:
    """Lines to one descriptor. `failure` says why nothing goes out any more, "" while it does."""

    def __init__(self, descriptor: int) -> None:
        self.failure = "it is closed" if descriptor in _closed else ""
        self.gone = False  # the reader has closed his end
        self._rest = b""
        self._descriptor = descriptor
        self._blocks = False
        if self.failure:
            return
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            else:
                self._blocks = not any(kind(mode) for kind in _DIRECT)
        except OSError:
            self._blocks = True

    @property
    def terminal(self) -> bool:
        """True if a person looks on."""
        return not self.failure and os.isatty(self._descriptor)

    def line(self, text: str, patience_s: float | None = 0.0) -> bool:
        """Write a line; False if it is left out. See `write`."""
        return self.write(text + "\n", patience_s)

    def write(self, text: str, patience_s: float | None = 0.0) -> bool:
        """Write a text as a whole or not at all; False if it is left out.

        Parameters
        ----------
        patience_s : how long the reader may take nothing before he is given up; None: as long as he likes
        """
        if self._rest and not self._flush(patience_s):
            return False
        data = text.encode("utf-8", "backslashreplace")
        self._rest = data
        if self._flush(patience_s):
            return True
        if len(self._rest) == len(data):
            self._rest = b""
            return False
        return patience_s == 0.0 and not self.failure  # begun: the rest goes out before anything else

    def _flush(self, patience_s: float | None) -> bool:
        until = monotonic() + (patience_s or 0.0)
        while self._rest and not self.failure:
            if (count := self._put()) > 0:
                self._rest = self._rest[count:]
                until = monotonic() + (patience_s or 0.0)
            elif patience_s is None:
                self._ready(None)
            elif (left := until - monotonic()) <= 0 or not self._ready(left):
                return False
        return not self.failure

    def _put(self) -> int:
        """Bytes that went out now; 0 if there is no room."""
        try:
            if not self._blocks:
                return os.write(self._descriptor, self._rest)
            return os.write(self._descriptor, self._rest[:_PIECE_BYTES]) if self._ready(0.0) else 0
        except BlockingIOError:
            return 0
        except OSError as error:
            self.failure, self.gone = error.strerror or str(error), isinstance(error, BrokenPipeError)
            return 0

    def _ready(self, timeout_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


class TerminalFile:
    """A terminal as the file that a drawing library writes to; what the terminal does not take is left out."""

    encoding = "utf-8"

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, text: str) -> int:
        """All or nothing of it."""
        self._output.write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        """True: it would not be asked otherwise."""
        return True


@functools.cache
def standard_output() -> Output:
    """The process's standard output."""
    return Output(1)


@functools.cache
def standard_error() -> Output:
    """The process's standard error."""
    return Output(2)

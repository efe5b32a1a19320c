"""The circuit breaker of one component: counts what becomes of its calls, and says whether it may be called.

    closed     every call goes; failures, their share, or the share of slow calls in the window open it
    open       no call goes, until its time is over; twice as long after each try that fails, so often as is set
    half-open  so many calls as are set try it: all of them done, and it closes; one that fails, and it is open again

Its settings lie in shared memory and are read at each call, so what is tightened there holds at once; where all are 0
it never opens. It tells of each change, and what it shows is one word: see `bot4.model.breaker`. One thread uses it. A
process that is started again goes on where the one before has been, but for a breaker without an open time, which is
final for the life of a process and no longer.

The window is made of tenths, so it is up to a tenth shorter than it says. A clock that is set back stands still here.
"""

from collections import deque
from collections.abc import Callable
from types import TracebackType

import numpy as np

from bot4.model.breaker import (
    CALLS,
    CHANGED_NS,
    CLOSED,
    DONE,
    FAILED,
    FAILURES,
    HALF_OPEN,
    LIMIT_CALLS,
    LIMIT_DOUBLINGS,
    LIMIT_FAILURE_BPS,
    LIMIT_FAILURES,
    LIMIT_OPEN_NS,
    LIMIT_PROBES,
    LIMIT_SLOW_BPS,
    LIMIT_SLOW_NS,
    LIMIT_WINDOW_NS,
    NEVER,
    OPEN,
    REFUSED,
    SLOW,
    STATES,
    TRIPS,
    UNTIL_NS,
    VOID,
    WORD,
)
from bot4.model.errors import BreakerOpenError, InputError, RecordingError

_TENTH = 10
_BPS = 10_000


def counts(error: BaseException) -> int:
    """What an exception says of the component that was called: nothing if it is the caller's fault, or ends him."""
    own = isinstance(error, InputError | BreakerOpenError) and not isinstance(error, RecordingError)
    return VOID if own or not isinstance(error, Exception) else FAILED


class GuardedCall:
    """One call that a breaker has let through. It ends once, whichever way it is left.

        with breaker.call():
            ...

    An exception that `counts` is a failure; where the outcome comes later, `end` takes it.
    """

    __slots__ = ("_breaker", "began_ns", "life", "number")

    def __init__(self, breaker: "Breaker", number: int, began_ns: int, life: int) -> None:
        self._breaker: Breaker | None = breaker
        self.number, self.began_ns, self.life = number, began_ns, life

    def end(self, outcome: int) -> None:
        """DONE, FAILED or VOID; whatever comes after the first says nothing."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.end(self, outcome)

    def __enter__(self) -> "GuardedCall":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(DONE if error is None else counts(error))


class Breaker:
    """See the module.

    Parameters
    ----------
    row : int64[BREAKER_WORDS] of `Wires.breakers`
    clock : ns; never a reason to do anything but wait
    tell : takes a line about each change
    name : of the component, as that line begins
    """

    def __init__(
        self, row: np.ndarray, clock: Callable[[], int], tell: Callable[[str], None] | None = None, name: str = ""
    ) -> None:
        self._row, self._clock, self._tell, self._name = row, clock, tell, name
        self._now_ns = clock()
        self._windows: dict[int, deque[list[int]]] = {}  # by source: begin, calls, failures, slow of each tenth
        self._number = 0  # of the last call
        self._probes: dict[int, int] = {}  # under way: until when the place of each is kept
        self._done = 0  # of the probes
        self._life = 0  # counts changes: what was begun before one says nothing after it
        word = int(row[WORD])
        self._openings = word >> 2
        self._state = word & 3
        if self._state != CLOSED and row[UNTIL_NS] == NEVER:
            self._state = CLOSED
            row[TRIPS] = row[UNTIL_NS] = 0
            self._publish()

    # --- may it be called? -------------------------------------------------------------------------------------------

    @property
    def state(self) -> int:
        """CLOSED, HALF_OPEN or OPEN now."""
        self._advance()
        return self._state

    @property
    def until_ns(self) -> int:
        """While it is open: when it may be tried, by its clock; 0: it is not open."""
        return int(self._row[UNTIL_NS]) if self.state == OPEN else 0

    def lets_through(self) -> bool:
        """Whether a call may begin now; no is counted. Takes no place: `begin` does."""
        state = self.state
        free = state == HALF_OPEN and len(self._probes) + self._done < self._most_probes
        if state != CLOSED and not free:
            self._row[REFUSED] += 1
        return state == CLOSED or free

    def begin(self) -> GuardedCall | None:
        """A call that may go, to be ended by `end`; None: it may not."""
        return self.watch() if self.lets_through() else None

    def watch(self) -> GuardedCall:
        """A call that goes whatever the state is: what becomes of it counts like that of any other."""
        self._advance()
        self._number += 1
        if self._state == HALF_OPEN:
            # A place that is never given back is free again after the time that a failure would cost.
            self._probes[self._number] = self._now_ns + self._limit(LIMIT_OPEN_NS)
        return GuardedCall(self, self._number, self._now_ns, self._life)

    def call(self) -> GuardedCall:
        """The same for a `with`. BreakerOpenError: it may not go."""
        made = self.begin()
        if made is None:
            raise BreakerOpenError(f"{self._name}: its circuit breaker is {STATES[self._state]}; try again later")
        return made

    # --- what has become of it? --------------------------------------------------------------------------------------

    def end(self, call: GuardedCall, outcome: int) -> None:
        """`GuardedCall.end` calls it, once."""
        self._advance()
        if call.life != self._life:
            if outcome != VOID:
                self._count(1, int(outcome == FAILED), 0)
            return
        self._probes.pop(call.number, None)
        self.note(outcome, self._now_ns - call.began_ns)

    def note(self, outcome: int, took_ns: int = 0) -> None:
        """One outcome, of a call that nobody asked about before."""
        if outcome != VOID:
            self.note_many(1, int(outcome == FAILED), took_ns)

    def note_many(self, calls: int, failures: int, took_ns: int = 0, source: int = 0) -> bool:
        """So many calls, of which so many have failed, the slowest of them in this time. True if that opens it.

        Where there are several sources, each has a window of its own: what one of them does is not thinned by others.
        """
        self._advance()
        if calls < 1:
            return False
        limit_ns = self._limit(LIMIT_SLOW_NS)
        slow = int(0 < limit_ns < took_ns)
        self._count(calls, failures, slow)
        if self._state == HALF_OPEN:
            self._judge_probe(calls, failures, slow)
        elif self._state == CLOSED:
            window = self._windows.setdefault(source, deque())
            why = self._why_open(window, calls, failures, slow)
            if why:
                self.trip(why)
        else:
            return False
        return self._state == OPEN

    def trip(self, why: str) -> None:
        """Open it, whatever has been counted."""
        self._advance()
        row, open_ns = self._row, self._limit(LIMIT_OPEN_NS)
        row[TRIPS] += 1
        doubled = min(int(row[TRIPS]) - 1, self._limit(LIMIT_DOUBLINGS))
        self._openings += 1
        row[UNTIL_NS] = self._now_ns + (open_ns << doubled) if open_ns else NEVER
        again = f", tried again in {(open_ns << doubled) / 1e9:g} s" if open_ns else ", for good"
        self._change(OPEN, f"{why}{again}")

    def clear(self, source: int = 0) -> None:
        """What has been counted in the window of a source says nothing any more."""
        self._windows.pop(source, None)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _limit(self, column: int) -> int:
        return int(self._row[column])

    @property
    def _most_probes(self) -> int:
        return max(1, self._limit(LIMIT_PROBES))

    def _advance(self) -> None:
        """The clock has gone on: what is over is over."""
        self._now_ns = max(self._now_ns, self._clock())
        if self._state == OPEN and self._now_ns >= self._row[UNTIL_NS]:
            self._change(HALF_OPEN, "is tried")
        for number in [number for number, until_ns in self._probes.items() if until_ns <= self._now_ns]:
            del self._probes[number]

    def _change(self, state: int, why: str) -> None:
        self._state = state
        self._life += 1
        self._done = 0
        self._probes.clear()
        self._windows.clear()
        self._publish()
        if self._tell is not None:
            self._tell(f"breaker of {self._name}: {STATES[state]}: {why}")

    def _publish(self) -> None:
        """The word last: who sees it sees the rest."""
        self._row[CHANGED_NS] = self._now_ns
        self._row[WORD] = self._openings << 2 | self._state

    def _count(self, calls: int, failures: int, slow: int) -> None:
        row = self._row
        row[CALLS] += calls
        row[FAILURES] += failures
        row[SLOW] += slow

    def _judge_probe(self, calls: int, failures: int, slow: int) -> None:
        if failures:
            self.trip("the try has failed")
        elif slow and self._limit(LIMIT_SLOW_BPS):
            self.trip("the try was slow")
        else:
            self._done += calls
            if self._done >= self._most_probes:
                self._row[TRIPS] = self._row[UNTIL_NS] = 0
                self._change(CLOSED, "it works again")

    def _why_open(self, window: deque[list[int]], calls: int, failures: int, slow: int) -> str:
        """Enter it into the window; why that opens the breaker, "" if it does not."""
        window_ns = self._limit(LIMIT_WINDOW_NS)
        while window and window[0][0] <= self._now_ns - window_ns:
            window.popleft()
        if not window or self._now_ns - window[-1][0] >= window_ns // _TENTH:
            window.append([self._now_ns, 0, 0, 0])
        for column, more in enumerate((calls, failures, slow), 1):
            window[-1][column] += more
        all_calls, all_failures, all_slow = (sum(tenth[column] for tenth in window) for column in (1, 2, 3))
        most, least = self._limit(LIMIT_FAILURES), self._limit(LIMIT_CALLS)
        if 0 < most <= all_failures:
            return f"{all_failures} failures in {window_ns / 1e9:g} s"
        for found, column, what in (
            (all_failures, LIMIT_FAILURE_BPS, "failed"),
            (all_slow, LIMIT_SLOW_BPS, "were slow"),
        ):
            bps = self._limit(column)
            if 0 < bps and least <= all_calls and found * _BPS >= bps * all_calls:
                return f"{found} of {all_calls} calls {what}"
        return ""

"""The circuit breaker against its slow twin, step by step, whatever is done with it and whatever the clock does."""

import random

import numpy as np
import pytest
from reference.shm import breaker as slow

from bot4.model import breaker as b
from bot4.model.errors import BreakerOpenError, InputError, RecordingError
from bot4.shm.breaker import Breaker

MS = 1_000_000
STATES = {b.CLOSED: slow.CLOSED, b.HALF_OPEN: slow.HALF_OPEN, b.OPEN: slow.OPEN}
FATES = {b.DONE: slow.DONE, b.FAILED: slow.FAILED, b.VOID: slow.VOID}
COLUMNS = {
    "failures": b.LIMIT_FAILURES, "window_ns": b.LIMIT_WINDOW_NS, "calls": b.LIMIT_CALLS,
    "failure_bps": b.LIMIT_FAILURE_BPS, "slow_ns": b.LIMIT_SLOW_NS, "slow_bps": b.LIMIT_SLOW_BPS,
    "open_ns": b.LIMIT_OPEN_NS, "doublings": b.LIMIT_DOUBLINGS, "probes": b.LIMIT_PROBES,
}  # fmt: skip


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns


def row_of(**settings):
    """A breaker's row with these settings, all others 0."""
    row = np.zeros(b.BREAKER_WORDS, np.int64)
    for name, value in settings.items():
        row[COLUMNS[name]] = value
    return row


def made(clock=None, told=None, **settings):
    """A breaker with these settings, its row and its clock."""
    row, clock = row_of(**settings), clock or Clock()
    return Breaker(row, clock, None if told is None else told.append, "x"), row, clock


def chosen(source):
    """Settings of any kind, small enough that everything happens."""
    settings = dict.fromkeys(COLUMNS, 0)
    settings["window_ns"] = source.choice([10, 95, 1_000]) * MS
    if source.random() < 0.6:
        settings["failures"] = source.randint(1, 6)
    if source.random() < 0.5:
        settings |= {"failure_bps": source.choice([1, 2_500, 5_000, 10_000]), "calls": source.randint(1, 12)}
    if source.random() < 0.5:
        settings |= {"slow_ns": 5 * MS, "slow_bps": source.choice([1, 3_000, 9_999]), "calls": source.randint(1, 12)}
    if source.random() < 0.9:
        settings |= {"open_ns": 20 * MS, "doublings": source.randint(0, 4), "probes": source.randint(0, 3)}
    return settings


@pytest.mark.parametrize("seed", range(150))
def test_every_step_is_the_twins(seed):
    source = random.Random(seed)
    settings = chosen(source)
    breaker, row, clock = made(**settings)
    twin, calls, seen = slow.SlowBreaker(dict(settings)), [], set()
    bad = source.choice([0.05, 0.3, 0.7])
    for _ in range(400):
        clock.ns += source.choice([0, 0, MS // 3, MS, 4 * MS, 30 * MS])
        if source.random() < 0.03:
            clock.ns = max(0, clock.ns - source.choice([MS, 1_000 * MS]))  # set back
        if source.random() < 0.02:  # tightened while it runs
            settings["failures"] = row[b.LIMIT_FAILURES] = source.randint(1, 3)
            settings["window_ns"] = row[b.LIMIT_WINDOW_NS] = settings["window_ns"] + 5 * MS
            twin.settings = dict(settings)
        outcome = source.choices([b.FAILED, b.VOID, b.DONE], [bad, 0.1, 1 - bad])[0]
        act = source.random()
        if act < 0.4:
            begun, wanted = breaker.begin(), twin.begin(clock.ns)
            assert (begun is None) == (wanted is None)
            if begun is not None:
                calls.append((begun, wanted))
        elif act < 0.75 and calls:
            begun, wanted = calls.pop(source.randrange(len(calls)))
            begun.end(outcome)
            twin.end(clock.ns, wanted, FATES[outcome])
            begun.end(b.FAILED)  # a second end says nothing
        elif act < 0.95 and outcome != b.VOID:
            took, place = source.choice([0, 9 * MS]), source.randint(0, 1)
            opened = breaker.note_many(1, int(outcome == b.FAILED), took, place)
            before = twin.openings
            twin.note(clock.ns, FATES[outcome], took, place)
            assert opened == (twin.openings > before)
        elif act > 0.99:
            place = source.randint(0, 1)
            breaker.clear(place)
            twin.gone(place)
        assert STATES[breaker.state] == twin.look(clock.ns)
        assert (row[b.CALLS], row[b.FAILURES]) == (twin.calls, twin.failures)
        assert int(row[b.WORD]) == twin.openings << 2 | breaker.state
        assert row[b.TRIPS] == twin.trips
        seen.add(breaker.state)
        if breaker.state == b.OPEN:
            assert int(row[b.UNTIL_NS]) == (b.NEVER if twin.until is None else twin.until)
            assert breaker.until_ns == row[b.UNTIL_NS] and not breaker.lets_through()
    watched = settings["failures"] or settings["failure_bps"] or settings["slow_bps"]
    assert not watched or bad < 0.3 or b.OPEN in seen


def fail(breaker, times=1):
    """So many calls that fail."""
    for _ in range(times):
        with pytest.raises(RecordingError), breaker.call():
            raise RecordingError("no room")


def test_each_try_that_fails_doubles_the_time_so_often_as_is_set_and_what_works_begins_anew():
    told = []
    breaker, row, clock = made(told=told, failures=2, window_ns=100 * MS, open_ns=10 * MS, doublings=2, probes=2)
    fail(breaker, 2)
    for longest in (10, 20, 40, 40):
        assert breaker.until_ns - clock.ns == longest * MS
        clock.ns = breaker.until_ns - 1
        with pytest.raises(BreakerOpenError):
            breaker.call()
        clock.ns += 1
        with breaker.call():
            pass
        fail(breaker)
    clock.ns = breaker.until_ns
    for _ in range(2):
        assert breaker.state == b.HALF_OPEN
        with breaker.call():
            pass
    assert breaker.state == b.CLOSED
    fail(breaker, 2)
    assert breaker.until_ns - clock.ns == 10 * MS
    assert int(row[b.WORD]) == 6 << 2 | b.OPEN and row[b.REFUSED] == 4
    assert [line.split(": ")[1] for line in told[:3]] == ["open", "half-open", "open"]


def test_no_more_calls_try_it_than_are_set_and_a_place_that_is_never_given_back_comes_free():
    breaker, _, clock = made(failures=1, window_ns=100 * MS, open_ns=10 * MS, probes=2)
    fail(breaker)
    clock.ns += 10 * MS
    lost = [breaker.begin(), breaker.begin()]  # nobody ever ends them
    assert all(lost) and breaker.begin() is None
    clock.ns += 10 * MS
    again = [breaker.begin(), breaker.begin()]
    assert all(again) and breaker.begin() is None
    lost[0].end(b.DONE)  # late, and it takes nobody's place away
    assert breaker.begin() is None
    again[0].end(b.DONE)
    assert breaker.state == b.CLOSED  # two of its tries are done


@pytest.mark.parametrize(
    ("error", "failures"),
    [(None, 0), (RecordingError("full"), 1), (OSError(), 1), (ValueError(), 1), (InputError("mend it"), 0),
     (BreakerOpenError("another one"), 0), (KeyboardInterrupt(), 0), (SystemExit(), 0), (GeneratorExit(), 0)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_guard_gives_its_place_back_whichever_way_it_is_left(error, failures):
    breaker, row, clock = made(failures=1, window_ns=100 * MS, open_ns=10 * MS, probes=1)
    fail(breaker)
    clock.ns += 10 * MS

    def use():
        with breaker.call():
            assert breaker.begin() is None  # the one place is taken
            if error is not None:
                raise error

    if error is None:
        use()
        assert breaker.state == b.CLOSED
    else:
        with pytest.raises(type(error)):
            use()
        assert breaker.state == (b.OPEN if failures else b.HALF_OPEN)
    assert row[b.FAILURES] == 1 + failures and (failures or breaker.begin() is not None)


def test_a_generator_that_is_closed_or_forgotten_gives_its_place_back():
    breaker, row, clock = made(failures=1, window_ns=100 * MS, open_ns=10 * MS, probes=1)
    fail(breaker)
    clock.ns += 10 * MS

    def work():
        with breaker.call():
            yield

    for leave in (lambda task: task.close(), lambda task: None):
        task = work()
        next(task)
        assert breaker.begin() is None
        leave(task)
        del task
        assert breaker.lets_through() and row[b.FAILURES] == 1


def test_what_was_begun_before_it_opened_says_nothing_afterwards():
    breaker, row, clock = made(failures=1, window_ns=100 * MS, open_ns=10 * MS, probes=1)
    late = [breaker.begin(), breaker.begin()]
    fail(breaker)
    clock.ns += 10 * MS
    assert breaker.state == b.HALF_OPEN
    late[0].end(b.FAILED)
    late[1].end(b.DONE)
    assert breaker.state == b.HALF_OPEN and row[b.FAILURES] == 2


def test_a_process_that_is_started_again_goes_on_but_what_is_final_is_that_of_one_life():
    breaker, row, clock = made(failures=1, window_ns=100 * MS, open_ns=10 * MS, doublings=3, probes=1)
    fail(breaker)
    again = Breaker(row, clock)
    assert again.state == b.OPEN and again.until_ns == clock.ns + 10 * MS
    clock.ns += 10 * MS
    fail(again)
    assert Breaker(row, clock).until_ns == clock.ns + 20 * MS
    final, row, clock = made(failures=1, window_ns=100 * MS)
    fail(final)
    clock.ns += 10**18
    assert final.state == b.OPEN and final.until_ns == b.NEVER and not final.lets_through()
    another = Breaker(row, clock)
    assert another.state == b.CLOSED and int(row[b.WORD]) >> 2 == 1


def test_without_settings_it_never_opens():
    breaker, row, _ = made()
    for _ in range(1_000):
        breaker.note(b.FAILED, 10**15)
    assert breaker.state == b.CLOSED and row[b.WORD] == 0 and row[b.FAILURES] == 1_000

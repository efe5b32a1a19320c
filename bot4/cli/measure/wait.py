"""Suite `wait`: how soon a worker that waits hears the news, by the way it waits. Half a round trip, two processes.

`spin`, `backoff`, `block`: each on a core of its own. `yield_shared`, `block_shared`: both on one core, where a spinner
would keep the other away for a whole time slice. The limit is two lines going to and fro between two spinning cores.
"""

# mypy: allow-untyped-defs

import functools

import numpy as np

from bot4.atomics import load_acquire, rdtsc, store_release
from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.jit import kernel
from bot4.model.errors import Bot4Error
from bot4.shm.layout import LINE
from bot4.shm.waiting import NEVER, WAITER_TIME_OUTS, idle_words, rest, rise, wake

_NEWS = 4 * LINE  # + side * LINE: the number last published
_WORDS = 8 * LINE
_TIME_OUT_NS = 1_000_000_000
_WAYS = {  # spins, yields; on one core
    "spin": (NEVER, 0, False),
    "backoff": (400, 64, False),
    "block": (0, 0, False),
    "yield_shared": (0, NEVER, True),
    "block_shared": (0, 0, True),
}


@kernel
def _play(words, side, rounds, idle, peers, stamps):
    """One side of the game: side 0 begins, every number is answered by the same number."""
    for number in range(1, rounds + 1):
        if side == 0:
            store_release(words, _NEWS, number)
            wake(words, peers)
        empty = np.int64(0)
        while load_acquire(words, _NEWS + (1 - side) * LINE) < number:
            empty = max(0, rest(words, side, idle, empty))
        rise(words, side, idle, empty)
        if side == 1:
            store_release(words, _NEWS + LINE, number)
            wake(words, peers)
        else:
            stamps[number - 1] = rdtsc()


def _game(
    spins: int, yields: int, shared_core: bool, n: int, ghz: float, cores: tuple[int, int], taken: Samples
) -> None:
    area = scratch(_WORDS + n)
    words, stamps = area.words[:_WORDS], area.words[_WORDS:]
    idle = idle_words(spins, yields, _TIME_OUT_NS, 1)
    works = [functools.partial(_play, words, side, n, idle, np.array([1 - side]), stamps) for side in (0, 1)]
    run_pinned(works, [cores[0], cores[0]] if shared_core else list(cores))
    late = int(words[WAITER_TIME_OUTS] + words[LINE + WAITER_TIME_OUTS])
    taken.add_durations(np.diff(stamps) / (2 * ghz))
    area.close()
    if late:
        raise Bot4Error(f"{late} sleeps of the bench ended by their time-out: a wake-up was lost")


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases."""
    n = 2_000 if quick else 20_000
    _play(np.zeros(_WORDS, np.int64), 0, 0, idle_words(0, 0, 1, 1), np.array([1]), np.zeros(1, np.int64))
    return [
        Case(name, "ns", functools.partial(_game, *way, n, ghz, cores), limit="line_2") for name, way in _WAYS.items()
    ]

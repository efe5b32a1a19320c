"""What the suites that run the engine's own processes share: ticks at their time, answers to intents, histograms.

Closed loop: the next tick follows the answer to the one before, so a pause of the machine delays the question too and
hides in one sample (coordinated omission). Open loop: ticks have a timetable, each is measured from the time at which
it was due, and whatever waits behind a pause is counted with its wait. A tick that finds its instrument's order still
unanswered makes no intent: it counts as the worst sample of its run.
"""

# mypy: allow-untyped-defs

import numpy as np

from bot4.atomics import rdtsc
from bot4.jit import inlined
from bot4.model.enums import REPORT_EXPIRED
from bot4.model.errors import Bot4Error
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, TICK, words
from bot4.shm.histogram import HISTOGRAM_BUCKETS, HISTOGRAM_MAX, N_BUCKETS, bucket_upper
from bot4.shm.spsc_ring import push_order, push_tick

LOW_HALF = 0xFFFF_FFFF
PATIENCE_CYCLES = 20_000_000_000  # some seconds: closed, a tick without an intent is an error of the bench
QUIET_CYCLES = 50_000_000  # some 20 ms: open, what has not come by then does not come
OPEN_INSTRUMENTS = 256  # in turn, so that the answer to one tick is there before the instrument's next
_UPPER = np.array([bucket_upper(index) for index in range(N_BUCKETS)], np.int64)


@inlined
def send_tick(ring, tick_words, number, tick, hand, due):
    """Push a prepared tick stamped with the time it was due. It is taken in hand first (`tick`, and `hand` as words):
    the prepared ones lie in pages that the process would have to copy.
    """
    for word in range(8):
        hand[word] = tick_words[number * 8 + word]
    tick[0]["tsc_low"] = due & LOW_HALF
    push_tick(ring, hand, 0)


@inlined
def due_time(start, gap, number):
    """When tick `number` is to be sent: now in a closed loop (gap 0), else by the timetable, waited for."""
    if gap == 0:
        return rdtsc()
    due = start + gap * number
    while rdtsc() < due:
        continue
    return due


@inlined
def expire(ring, intent, intent_words, report, report_words):
    """Answer an intent: expired unfilled, so that the instrument's next tick decides again."""
    row = intent[0]
    for word in range(16):
        report_words[word] = 0
    for word in range(3):
        report_words[word] = intent_words[word]
    answer = report[0]
    answer["instrument"] = row["instrument"]
    answer["kind"] = REPORT_EXPIRED
    answer["side"] = row["side"]
    answer["leaves_lots"] = row["qty_lots"]
    push_order(ring, report_words, 0)


def hands() -> tuple[np.ndarray, ...]:
    """Scratch records of the driving process, each followed by the same memory as words."""
    tick, intent, report = np.zeros(1, TICK), np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)
    return tick, words(tick), intent, words(intent), report, words(report)


def durations(histogram: np.ndarray, ghz: float) -> np.ndarray:
    """The samples of a histogram in ns, sorted, each at its bucket's upper edge (6 % wide)."""
    counts = histogram[HISTOGRAM_BUCKETS : HISTOGRAM_BUCKETS + N_BUCKETS]
    cycles: np.ndarray = np.minimum(np.repeat(_UPPER, counts), histogram[HISTOGRAM_MAX])
    return cycles / ghz


def completed(samples: np.ndarray, n: int) -> np.ndarray:
    """The samples and, for each of the `n` ticks that made none, the worst of them; an error if all made none."""
    if not 0 < len(samples) <= n:
        raise Bot4Error(f"{len(samples)} of the bench's {n} ticks made an order")
    return np.concatenate([samples, np.full(n - len(samples), samples.max())])

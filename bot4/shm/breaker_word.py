"""The word of a breaker that a kernel keeps in the time of events, for whoever looks on."""

from bot4.atomics import store_release
from bot4.jit import inlined
from bot4.model.breaker import CHANGED_NS, FAILURES, TRIPS, UNTIL_NS, WORD


@inlined
def show_breaker(row, state, until_ns, trips, failures, now_ns):
    """Enter a state into a row of `Wires.breakers`; an opening is counted there, also beyond the life of a process."""
    openings = row[WORD] >> 2
    if until_ns != 0 and until_ns != row[UNTIL_NS]:
        openings += 1
    word = openings << 2 | state
    row[FAILURES] = max(row[FAILURES], failures)
    if word != row[WORD]:
        row[UNTIL_NS] = until_ns
        row[TRIPS] = trips
        row[CHANGED_NS] = now_ns
        # SYNC POINT: who sees the word sees the rest.
        store_release(row, WORD, word)

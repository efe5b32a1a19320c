"""Seqlock: a few words that one process writes and any process reads whole, and nobody waits for anybody.

Why not a ring: whoever reads a calibration wants the newest one only, and the writer must not care who reads. Why not
a mutex: its owner may die. Where it stands: the calibration of the time-stamp counter (see `calibration`).

A slot is int64[1 + n], the version and then the payload. The version is odd while the writer is at work and 0 before
its first copy. A reader copies between two looks at the version and believes the copy if both saw the same even number.
A writer that dies in the middle leaves the version odd: readers find nothing until the next writer has written.

Payload words are loaded by acquire and stored by release like the version: then no compiler moves one of them to the
other side of a look at the version, and on x86 it costs nothing. A process without compiled kernels may read too: the
processor does not reorder loads and the interpreter changes no order.
"""

from bot4.atomics import load_acquire, pause, store_release
from bot4.jit import kernel
from bot4.shm.layout import SEQLOCK_PAYLOAD, SEQLOCK_VERSION

TRIES = 1_000  # a copy takes 10 ns, so a reader gives up after some 50 us


@kernel
def seqlock_write(words, source):
    """Publish `source`, as many words as it has; the only writer of this slot.

    Parameters
    ----------
    words : int64[1 + n], the slot
    source : int64[<= n]

    Notes
    -----
    Complexity: O(n). Invariant: the version is odd from before the first payload word changes until after the last.
    Twin: tests/reference/shm/seqlock.py
    """
    writing = words[SEQLOCK_VERSION] | 1  # odd already if the writer before this one died at work
    store_release(words, SEQLOCK_VERSION, writing)
    for word in range(len(source)):
        # SYNC POINT: pairs with load_acquire of the payload: who sees this word sees the odd version.
        store_release(words, SEQLOCK_PAYLOAD + word, source[word])
    # SYNC POINT: pairs with the first load_acquire of the version: who sees it even sees the whole payload.
    store_release(words, SEQLOCK_VERSION, writing + 1)


@kernel
def seqlock_read(words, target):
    """Copy the payload into `target`, as many words as it has.

    Parameters
    ----------
    words : int64[1 + n], the slot
    target : int64[<= n], changed; of no use if the answer is False

    Returns
    -------
    bool, True if `target` is one whole copy; False if nothing was ever written, if the writer died at work, or if
    it wrote anew during each of a bounded number of tries

    Notes
    -----
    Complexity: O(n), at most TRIES times. Twin: tests/reference/shm/seqlock.py
    """
    for _ in range(TRIES):
        version = load_acquire(words, SEQLOCK_VERSION)
        if version > 0 and version & 1 == 0:
            for word in range(len(target)):
                target[word] = load_acquire(words, SEQLOCK_PAYLOAD + word)
            if load_acquire(words, SEQLOCK_VERSION) == version:
                return True
        pause()
    return False

"""Any sequence of writes, deaths in the middle and reads: the slot gives what the twin gives."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.shm.seqlock import RefSlot

from bot4.shm.layout import SEQLOCK_PAYLOAD, SEQLOCK_VERSION
from bot4.shm.seqlock import seqlock_read, seqlock_write

STEPS = st.lists(st.tuples(st.sampled_from(("write", "die", "read")), st.integers(0, 2**62)), max_size=30)


def die_after(slot: np.ndarray, payload: np.ndarray, stores: int) -> None:
    """As many stores of a write as its writer got done: the odd version, then the payload word by word."""
    if stores:
        slot[SEQLOCK_VERSION] |= 1
        slot[SEQLOCK_PAYLOAD : SEQLOCK_PAYLOAD + stores - 1] = payload[: stores - 1]


@settings(deadline=None)
@given(steps=STEPS, n=st.integers(1, 15))
def test_it_does_what_the_twin_does(steps, n):
    slot, twin = np.zeros(SEQLOCK_PAYLOAD + n, np.int64), RefSlot()
    for what, number in steps:
        payload = np.arange(n) + number
        if what == "write":
            seqlock_write(slot, payload)
            twin.begin()
            twin.end(tuple(payload.tolist()))
        elif what == "die":
            stores = number % (n + 2)
            die_after(slot, payload, stores)
            if stores:
                twin.begin()
        target = np.full(n, -1, np.int64)
        assert bool(seqlock_read(slot, target)) == (twin.whole is not None)
        assert slot[SEQLOCK_VERSION] == twin.version
        assert twin.whole is None or tuple(target.tolist()) == twin.whole

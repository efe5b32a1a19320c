"""Raw messages for the recorder, where it wants them: each as it was received, before anything is made of it.

A full ring costs a message of the recording; a replay waits for room instead, as it does for the other rings.
"""

import numpy as np

from bot4.engine.feed_out import must_wait_for_recorder
from bot4.jit import inlined, kernel
from bot4.kernels.scan.token import find_newline
from bot4.shm.byte_ring import has_room, push_message, slots_of
from bot4.shm.spsc_ring import count_dropped


@kernel
def record_message(wires, source, ts_ns, text, at, end):
    """Give text[at:end], received at `ts_ns` (0: the text says it), to the recorder if it wants it; never waits.

    Parameters
    ----------
    wires : Wires
    source : int64, instrument
    ts_ns : int64
    text : uint8[N]; at, end : int64

    Notes
    -----
    Complexity: O(bytes). Twin: tests/reference/shm/byte_ring.py
    """
    if len(wires.raw) == 0:
        return
    if has_room(wires.raw, end - at):
        push_message(wires.raw, ts_ns, source, text, at, end)
    else:
        count_dropped(wires.raw, 1)


@inlined
def record_line(feed, wires, source, wait):
    """The next line of a source, as it stands in its file; False if it has to wait for room."""
    if len(wires.raw) == 0:
        return True
    instrument = np.int64(source["instrument"])
    text = feed.buffers[instrument]
    end = find_newline(text, source["at"], source["end"])
    if wait and must_wait_for_recorder(wires, wires.raw, slots_of(end - source["at"])):
        return False
    record_message(wires, instrument, np.int64(0), text, source["at"], end)
    return True

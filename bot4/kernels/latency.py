"""How long a message is under way, looked up in a table of `bot4.model.latency`: nothing is drawn while messages go."""

import numpy as np

from bot4.jit import kernel
from bot4.model.latency import BY_NUMBER


@kernel
def latency_ns(kind, times, values, number, now_ns):
    """How long the message of that number is under way that is sent now.

    Parameters
    ----------
    kind : int64, BY_NUMBER or BY_TIME
    times, values : int64[n], as `Latency` has them
    number : int64 >= 0, counts the messages
    now_ns : int64, in the time of the table; before and after it its first and last value count

    Returns
    -------
    int64 : ns; between two measurements in proportion, rounded down

    Notes
    -----
    Complexity: O(log n). Bound: the product of two differences fits, since values are below 2**36 and times of a
    table apart by less than 2**57 ns (4 years) are shortened alike. Twin: tests/reference/kernels/latency.py
    """
    if kind == BY_NUMBER:
        return values[number % len(values)]
    if now_ns <= times[0]:
        return values[0]
    low = np.int64(0)
    high = np.int64(len(times) - 1)
    if now_ns >= times[high]:
        return values[high]
    while high - low > 1:
        middle = (low + high) >> 1
        if times[middle] <= now_ns:
            low = middle
        else:
            high = middle
    span = times[high] - times[low]
    passed = now_ns - times[low]
    while span >= 1 << 26:  # so that the product stays below 2**62
        span >>= 1
        passed >>= 1
    return values[low] + (values[high] - values[low]) * passed // span

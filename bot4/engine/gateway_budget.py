"""How many calls may go out: the venue's limits as sliding windows, a part of each kept for what takes risk back.

A window that slides never holds more than one that is cut by the clock, wherever that begins. What is urgent (cancels,
amends, orders that only reduce) may use all of a limit, the rest four fifths.
"""

from collections import deque
from collections.abc import Sequence

from bot4.ports.gateway import N_CALLS

NS = 1_000_000_000
WINDOW_NS = NS + NS // 10  # of the limits by kind: a second, and what calls may catch up with each other on the way
RESERVE = 0.2


class Budget:
    """Calls by kind and all together.

    Parameters
    ----------
    limits : calls a second, by kind
    total : weight of calls within so many seconds
    """

    def __init__(self, limits: Sequence[int], total: tuple[int, float]) -> None:
        self._limits = list(limits)
        self._total, self._total_ns = total[0], int(total[1] * 1.1 * NS)
        self._sent: list[deque[int]] = [deque() for _ in range(N_CALLS)]
        self._all: deque[int] = deque()
        self._paused_ns = [0] * N_CALLS

    def learn(self, kind: int, most: int) -> None:
        """The venue names its limit."""
        self._limits[kind] = most

    def pause(self, kind: int | None, until_ns: int) -> None:
        """No call of a kind, or none at all, before that."""
        for one in range(N_CALLS) if kind is None else (kind,):
            self._paused_ns[one] = max(self._paused_ns[one], until_ns)

    def take(self, kind: int, is_urgent: bool, now_ns: int, weight: int = 1) -> bool:
        """Count one call of that weight if it may go out now."""
        if now_ns < self._paused_ns[kind]:
            return False
        own, every = self._sent[kind], self._all
        while own and own[0] <= now_ns - WINDOW_NS:
            own.popleft()
        while every and every[0] <= now_ns - self._total_ns:
            every.popleft()
        share = 1.0 if is_urgent else 1.0 - RESERVE
        if len(own) >= max(1, int(self._limits[kind] * share)) or len(every) + weight > int(self._total * share):
            return False
        own.append(now_ns)
        every.extend([now_ns] * weight)
        return True

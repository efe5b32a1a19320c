"""Slow twins of bot4/kernels/decision and of the data check: the rules as a reader would say them."""

GAP, CROSSED, STALE, BAD_VALUE, TIME_BACK, BAD_KIND = range(101, 107)
WARMING, NO_QUOTE, GATE_SHUT = 201, 202, 203
TRADE, QUOTE, LEVEL, MARK, FUNDING, STATUS = range(1, 7)
SNAPSHOT, CLEAR = 2, 2
LARGEST = 2**40 - 1


def target(score, current, enter, leave):
    """+1, 0 or -1: open beyond `enter`, stay while beyond `leave`, seen from the position's side."""
    for side in (1, -1):
        if side * score >= enter:
            return side
    return current if current and current * score > leave else 0


def gate(is_open, warm, age, most):
    """First reason against opening."""
    return next((code for ok, code in ((is_open, GATE_SHUT), (warm, WARMING), (age <= most, NO_QUOTE)) if not ok), 0)


def values(tick):
    """Code of a record's own fields. tick : dict by field name."""
    kind, (w0, w1, w2, w3) = tick["kind"], (tick[f"w{i}"] for i in range(4))
    price = {QUOTE: (w0, w2), LEVEL: (w0,), TRADE: (w0,)}.get(kind, ())
    size = {QUOTE: (w1, w3), TRADE: (w1,)}.get(kind, ())
    if kind not in range(1, 7):
        return BAD_KIND
    if any(not 0 < value <= LARGEST for value in (*price, *size)):
        return BAD_VALUE
    if kind == LEVEL and (not 0 <= w1 <= LARGEST or w2 not in (1, -1)):
        return BAD_VALUE
    if kind == MARK and w0 <= 0:
        return BAD_VALUE
    return CROSSED if kind == QUOTE and w0 >= w2 else 0


class Sequence:
    """Whether an instrument's records have come without a hole."""

    def __init__(self):
        self.next, self.synced, self.last_ns = 1, True, 0

    def code(self, tick):
        """Code of the next record."""
        if tick["flags"] & SNAPSHOT:
            self.synced = self.synced or (tick["kind"] == STATUS and tick["w0"] == CLEAR)
            self.next, self.last_ns = tick["event_no"] + 1, tick["ts_recv_ns"]
            return 0 if self.synced else GAP
        if not self.synced or tick["event_no"] != self.next:
            return GAP
        self.next += 1
        if tick["ts_recv_ns"] < self.last_ns:
            return TIME_BACK
        self.last_ns = tick["ts_recv_ns"]
        return 0

"""Slow twin of the venue's times: which of them are believable, and what is learned of the offset of the clocks."""

LASTING = 8
MINUTE_NS = 60_000_000_000
FAR_NS = 4 * 10**18


class RefClock:
    """The offset of one instrument's venue; a limit of 0 believes everything."""

    def __init__(self, limit_ns: int = 0) -> None:
        self.limit_ns = limit_ns
        self.believed: list[tuple[int, int]] = []  # lag and receive time of those since the offset was last learned
        self.doubted: list[tuple[int, int]] = []  # of those in a row that were not believed
        self.offset_ns = self.latest_ns = self.stamps = self.anew = 0

    def deviation(self, lag_ns: int) -> int:
        """From the offset."""
        return lag_ns - self.offset_ns

    def is_near(self, lag_ns: int, later_ns: int = 0) -> bool:
        """Within the limit, or not so much later."""
        if not self.limit_ns or not self.stamps:
            return True
        return -self.limit_ns <= self.deviation(lag_ns) <= self.limit_ns + later_ns

    def judge(self, lag_ns: int, ts_ns: int) -> bool:
        """Whether it is believed."""
        if not self.is_near(lag_ns):
            if self.doubted and abs(lag_ns - self.doubted[-1][0]) > self.limit_ns:
                self.doubted = []
            self.doubted.append((lag_ns, ts_ns))
            late = self.deviation(lag_ns) > 0 and self.stamps > LASTING
            jammed = late and ts_ns < self.doubted[0][1] + MINUTE_NS
            if len(self.doubted) < LASTING or jammed:
                return False
            self.believed = []
            self.anew += 1
        self.doubted = []
        self.stamps += 1
        if self.believed:
            before_ns, at_ns = self.believed[-1]
            self.latest_ns = max(self.latest_ns, self.deviation(lag_ns))
            risen_ns = self.offset_ns + min(ts_ns - at_ns, MINUTE_NS) // 1024
            self.offset_ns = min(risen_ns, max(lag_ns, before_ns))
        else:
            self.offset_ns = lag_ns
        self.believed.append((lag_ns, ts_ns))
        return True


def lag_of(venue_ns: int, ts_ns: int) -> int:
    """Receive time minus the venue's, cut where nobody cares any more."""
    return max(-FAR_NS, min(FAR_NS, ts_ns - venue_ns))


class RefTimes:
    """The times of an instrument's messages. Kinds are `trade`, `quote`, `depth`, `mark`."""

    def __init__(self, limit_ns: int = 0) -> None:
        self.clock = RefClock(limit_ns)
        self.seen: dict[tuple[str, bool], set[str]] = {}

    def judge(self, kind: str, whole: bool, sent_ns: int, made_ns: int, ts_ns: int, empty: bool = False) -> bool:
        """Whether a message's times are believable; 0: it has none. `empty`: a book's change without a level."""
        clock, seen = self.clock, self.seen.setdefault((kind, whole), set())
        made_ns = 0 if empty else made_ns
        told = {name for name, value in (("sent", sent_ns), ("made", made_ns)) if value > 0}
        missing = seen - told - ({"made"} if empty else set())
        if clock.limit_ns and missing:
            return False
        new = not whole and kind != "quote"
        if whole and sent_ns > 0 and not clock.is_near(lag_of(sent_ns, ts_ns), FAR_NS):
            return False
        stamp = sent_ns if sent_ns > 0 else made_ns if new else 0
        if not whole and stamp > 0 and not clock.judge(lag_of(stamp, ts_ns), ts_ns):
            return False
        if made_ns > 0 and kind != "trade" and not clock.is_near(lag_of(made_ns, ts_ns), 0 if new else FAR_NS):
            return False
        seen |= told
        return True

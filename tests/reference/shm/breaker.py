"""Circuit breaker, slow and plain: every outcome is kept, and all is counted anew whenever something is asked."""

CLOSED, HALF_OPEN, OPEN = "closed", "half-open", "open"
DONE, FAILED, VOID = "done", "failed", "void"


class SlowBreaker:
    """Settings are a dict of plain names; 0 where something is not watched. All times in ns."""

    def __init__(self, settings):
        self.settings, self.now = settings, 0
        self.state, self.until, self.trips, self.openings = CLOSED, None, 0, 0
        self.outcomes = []  # since the last change: time of the tenth, source, failed, slow
        self.tried = []  # places of the probes: number, until when
        self.done = self.number = self.change = 0
        self.calls = self.failures = 0

    def look(self, at):
        """Time goes on, never back."""
        self.now = max(self.now, at)
        if self.state == OPEN and self.until is not None and self.now >= self.until:
            self._become(HALF_OPEN)
        self.tried = [place for place in self.tried if place[1] > self.now]
        return self.state

    def _become(self, state):
        self.state, self.outcomes, self.tried, self.done = state, [], [], 0
        self.change += 1

    def _open(self):
        self.trips += 1
        self.openings += 1
        longer = 2 ** min(self.trips - 1, self.settings["doublings"])
        self.until = self.now + self.settings["open_ns"] * longer if self.settings["open_ns"] else None
        self._become(OPEN)

    def allowed(self, at):
        """Whether a call may begin."""
        self.look(at)
        return self.state == CLOSED or (
            self.state == HALF_OPEN and len(self.tried) + self.done < max(1, self.settings["probes"])
        )

    def begin(self, at):
        """A call that may go, or None."""
        if not self.allowed(at):
            return None
        self.number += 1
        if self.state == HALF_OPEN:
            self.tried.append((self.number, self.now + self.settings["open_ns"]))
        return self.number, self.now, self.change

    def end(self, at, call, outcome):
        """What became of it."""
        self.look(at)
        number, began, change = call
        if change != self.change:
            self._count(outcome)
            return
        self.tried = [place for place in self.tried if place[0] != number]
        self.note(at, outcome, self.now - began)

    def _count(self, outcome):
        self.calls += outcome != VOID
        self.failures += outcome == FAILED

    def gone(self, source):
        """A source is gone, with all that it has done."""
        self.outcomes = [one for one in self.outcomes if one[1] != source]

    def note(self, at, outcome, took=0, source=0):
        """An outcome."""
        self.look(at)
        self._count(outcome)
        if outcome == VOID:
            return
        failed, limits = outcome == FAILED, self.settings
        slow = limits["slow_ns"] > 0 and took > limits["slow_ns"]
        if self.state == HALF_OPEN:
            if failed or (slow and limits["slow_bps"]):
                self._open()
            else:
                self.done += 1
                if self.done >= max(1, limits["probes"]):
                    self.trips, self.until = 0, None
                    self._become(CLOSED)
            return
        if self.state == OPEN:
            return
        own = [one for one in self.outcomes if one[1] == source and one[0] > self.now - limits["window_ns"]]
        tenth = own[-1][0] if own and self.now - own[-1][0] < limits["window_ns"] // 10 else self.now
        own.append((tenth, source, failed, slow))
        self.outcomes = [one for one in self.outcomes if one[1] != source] + own
        calls, failures, late = len(own), sum(one[2] for one in own), sum(one[3] for one in own)
        if (
            (limits["failures"] and failures >= limits["failures"])
            or (
                limits["failure_bps"]
                and calls >= limits["calls"]
                and failures * 10_000 >= limits["failure_bps"] * calls
            )
            or (limits["slow_bps"] and calls >= limits["calls"] and late * 10_000 >= limits["slow_bps"] * calls)
        ):
            self._open()

"""Twin of waiting and waking: an agent's patience as a list of what it does, poll by poll; flags in a dictionary."""


class Sleeper:
    """One agent: `spins` empty polls, `yields` offers of the core, the flag, one more look, then sleep."""

    def __init__(self, spins, yields):
        self.plan = ["pause"] * spins + ["yield"] * yields + ["show the flag"]
        self.at = 0
        self.flag = False
        self.sleeps = self.time_outs = 0

    def found_nothing(self, woken):
        """What it does now; `woken`: somebody takes the flag down while it sleeps."""
        if self.at < len(self.plan):
            done = self.plan[self.at]
            self.at += 1
            self.flag = self.flag or done == "show the flag"
            return done
        self.sleeps += 1
        if self.flag and not woken:
            self.time_outs += 1
        self.flag, self.at = False, 0
        return "sleep"

    def found_work(self):
        """It begins anew, and nobody need wake it."""
        self.flag, self.at = False, 0


def wake(flags, peers):
    """Rows of `peers` whose flag was up; it is down now."""
    woken = [row for row in peers if flags.get(row)]
    for row in woken:
        flags[row] = False
    return woken

"""The circuit breakers of a session, for whoever looks at it: their words and what they have counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot4.model.breaker import CALLS, FAILURES, NEVER, OPEN, REFUSED, SLOW, STATES, UNTIL_NS, WORD, breaker_names
from bot4.shm import wires as w


def breaker_table(wires: w.Wires, venues: Sequence[str], now_ns: int) -> dict[str, dict[str, Any]]:
    """By component: state, how often it has opened, in how many seconds it is tried (None: never, or it is not open).

    Whose time is that of events, the venue's and the models', is held against execution's last one; `now_ns` is
    monotonic time, by which all others go. `venues` are those of a live feed.
    """
    n_shards = wires.gauges.shape[0] - w.N_OTHER_ROWS
    event_ns = int(wires.gauges[n_shards + w.EXECUTION_ROW, w.GAUGE_EVENT_TIME_NS])
    found = {}
    for name, row in breaker_names(n_shards, sorted(set(venues))).items():
        words = wires.breakers[row].copy()
        word, until_ns = int(words[WORD]), int(words[UNTIL_NS])
        now = event_ns if name == "venue" or name.startswith("model-") else now_ns
        tried = word & 3 == OPEN and until_ns != NEVER
        found[name] = {
            "state": STATES[word & 3],
            "openings": word >> 2,
            "tried_in_s": round(max(0, until_ns - now) / 1e9, 1) if tried else None,
            "calls": int(words[CALLS]),
            "failures": int(words[FAILURES]),
            "slow": int(words[SLOW]),
            "refused": int(words[REFUSED]),
        }
    return found


def breaker_lines(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those that have opened, in words."""
    lines = []
    for name, row in table.items():
        if not row["openings"]:
            continue
        tried = f", tried in {row['tried_in_s']:,.1f} s" if row["tried_in_s"] is not None else ""
        until = ", for good" if row["state"] == STATES[OPEN] and not tried else ""
        times = "once" if row["openings"] == 1 else f"{row['openings']:,} times"
        counted = f"; {row['failures']:,} of {row['calls']:,} calls failed, {row['slow']:,} were slow" * (
            row["calls"] > 0
        )
        lines.append(f"breaker {name}: {row['state']}{tried}{until}, opened {times}{counted}")
    return lines

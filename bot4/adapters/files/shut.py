"""What has shut the way in, and until when: for whoever looks at a session, from what execution shows.

Times are event time, as everything that decides. Figures are those of execution's last batch; profit that no live price
bears out may make execution refuse a little earlier.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from bot4.model.records import LIMITS
from bot4.shm import wires as w
from bot4.shm.layout import CONTROL_KILL

_REGAINED = "open positions have regained it or "  # losses are those of equity, open profit included


def shut_ways(wires: w.Wires) -> list[dict[str, Any]]:
    """Each limit that lets nothing be opened now: `limit`, `why`, and `until_ns` of event time, None: by a person."""
    row = wires.gauges[wires.gauges.shape[0] - w.N_OTHER_ROWS + w.EXECUTION_ROW]
    limits = np.ascontiguousarray(wires.limits[w.LIMITS_IN_FORCE]).view(LIMITS)[0]
    now, equity, high, day = (
        int(row[gauge])
        for gauge in (w.GAUGE_EVENT_TIME_NS, w.GAUGE_EXEC_EQUITY_E8, w.GAUGE_EXEC_HIGH_WATER_E8,
                      w.GAUGE_EXEC_DAY_START_E8)
    )  # fmt: skip
    found = []

    def shut(limit: str, why: str, until_ns: int | None, back: str = "") -> None:
        until = "a person acts" if until_ns is None else f"{datetime.fromtimestamp(until_ns / 1e9, UTC):%F %T} UTC"
        found.append({"limit": limit, "why": f"{why}; nothing is opened until {back}{until}", "until_ns": until_ns})

    def lost(mark: int, bps: int) -> bool:
        return 0 < mark > equity and (mark - equity) * 10_000 >= min(mark, int(limits["capital_e8"])) * bps

    if wires.control[CONTROL_KILL]:
        shut("kill switch", "the kill switch is set", None)
    if not limits["capital_e8"]:
        return found  # execution has shown nothing yet
    if lost(high, int(limits["drawdown_bps"])):
        shut("drawdown_bps", f"{_share(high, equity)} below the high-water mark", None, _REGAINED)
    if now < int(row[w.GAUGE_EXEC_DAY_SHUT_UNTIL_NS]):
        today = f"now {_share(day, equity)} below the day's first equity" if day > equity else "regained since"
        until_ns = int(row[w.GAUGE_EXEC_DAY_SHUT_UNTIL_NS])
        shut("daily_loss_bps", f"the loss of the day reached its limit ({today})", until_ns)
    if row[w.GAUGE_EXEC_STREAK]:
        shut("streak_losses", "too many losses in a row", int(row[w.GAUGE_EXEC_STREAK_UNTIL_NS]))
    if row[w.GAUGE_EXEC_BREAKER]:
        shut("breaker_failures", "the venue has failed too often", int(row[w.GAUGE_EXEC_BREAKER_UNTIL_NS]))
    return found


def _share(mark: int, equity: int) -> str:
    return f"{100 * (mark - equity) / mark:.2f} %"

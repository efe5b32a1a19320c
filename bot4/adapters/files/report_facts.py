"""What a supervisor tells the report: facts that neither shared memory nor the journal holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot4.model.latency import Latency
from bot4.model.queue import AVERSE, QueueModel
from bot4.shm.wires import CLOCK_ANEW, CLOCK_LATEST_NS, CLOCK_OFFSET_NS, CLOCK_STAMPS


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """One process of the session: where it ran and what it weighed."""

    pid: int
    core: int | None  # None: not pinned
    restarts: int = 0
    pss_mb: float | None = None  # proportional share of memory; None: could not be measured
    private_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the wires and the journal cannot know about a session."""

    source: str  # "synthetic:7", "replay", "bars", "live"
    synthetic: bool
    files: Sequence[str]
    span_ns: int | None = None  # None: as the feed counted
    pace: str  # "event" | "free"
    speed: str  # "max" | "1x" | "Nx"
    wall_s: float
    tsc_hz: float
    session: np.ndarray  # SESSION[1]
    limits: np.ndarray  # LIMITS[1]
    latencies: Sequence[Latency | None] = (None, None, None)  # of orders, cancels, reports; None: the least
    data_latency: Latency | None = None  # of the market's data beside their recorded times
    queue: QueueModel = AVERSE
    impacts: np.ndarray | None = None  # IMPACT[n] of the simulated venue
    mode: str = "paper"
    strategy: str = ""
    strategy_params: Mapping[str, object] = field(default_factory=dict)
    workers: Mapping[str, WorkerFacts] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, object] = field(default_factory=dict)
    exit_state: str = "done"  # "done" | "stopped" | "halted" | "failed"
    killed: bool = False
    kill_reason: str = ""
    recovered: int = 0  # times that execution recovered from its journal
    warnings: Sequence[str] = ()  # what a person should know of the input
    recording: str | None = None  # folder of the session's recording; None: it was not recorded


def kind_of_market(feed: dict) -> str:
    """Of the report's object `feed`: synthetic, live or recorded."""
    return "synthetic" if feed["synthetic"] else "live" if feed["source"] == "live" else "recorded"


def clock_object(row: np.ndarray) -> dict[str, Any] | None:
    """How our clock stands to a venue's, of a row of `Wires.venue_clocks`; None if the venue has told no time.

    `offset_ms`: receive time minus the venue's, of the fastest way here. `latest_ms`: the largest delay beyond that of
    a message that was taken. `learned_anew`: how often one of the clocks was set, or the way became another.
    """
    if not row[CLOCK_STAMPS]:
        return None
    return {
        "offset_ms": round(int(row[CLOCK_OFFSET_NS]) / 1e6, 3),
        "latest_ms": round(int(row[CLOCK_LATEST_NS]) / 1e6, 3),
        "learned_anew": int(row[CLOCK_ANEW]),
    }

"""What a supervisor tells the report: facts that neither shared memory nor the journal holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


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

    source: str  # "synthetic:7", "replay", "live"
    synthetic: bool
    files: Sequence[str]
    span_ns: int | None = None  # None: as the feed counted
    pace: str  # "event" | "free"
    speed: str  # "max" | "1x" | "Nx"
    wall_s: float
    tsc_hz: float
    session: np.ndarray  # SESSION[1]
    limits: np.ndarray  # LIMITS[1]
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

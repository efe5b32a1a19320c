"""The plan: what the processes of one session have to agree on, made by the supervisor, pickled once.

The agents are `feed`, `shard-0` .., `execution`, `venue`, and `bot`, which is all of them in one compiled loop;
`gateway` instead of `venue` where a real one is traded on; and `recorder`, if the market is recorded. `quarantine-0` ..
stands in the place of a shard that cannot be kept alive.
A worker is a process that runs one or more agents; `builders` says which function wires each kind of agent.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bot4.model.latency import Latency
from bot4.model.queue import AVERSE, QueueModel
from bot4.settings.schema import Gateway
from bot4.shm.wires import (
    EXECUTION_ROW,
    FEED_ROW,
    RAW_RING_CAPACITY,
    RECORD_RING_CAPACITY,
    RECORDER_ROW,
    VENUE_ROW,
)

BUILDERS = {
    "feed": "workers.feed:build",
    "shard": "workers.shard:build",
    "execution": "workers.execution:build",
    "venue": "workers.venue:build",
    "gateway": "workers.gateway:build",
    "bot": "workers.composed:build",
    "recorder": "workers.recorder:build",
    "quarantine": "workers.quarantine:build",
}
WARM = "workers.warm:warm"
SETTLE = 2  # in the stop word: nothing is opened any more, everybody works on until execution has left
SETTLE_LIMIT_S = 8.0  # execution's time for that
GATEWAY_FILE = "gateway.bin"  # of a session's folder: what went to the venue and came back
WARM_PREFIX = "bot4-warm-"  # of the folder in which a template warms up


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSpec:
    """Where the market data comes from."""

    kind: str  # "synthetic" | "replay" | "bars" | "live"
    paths: tuple[Path, ...] = ()
    seed: int = 0
    text: str = "synthetic"  # as the user wrote it
    recording: bool = False  # a replay of an own recording
    made_up: bool = False  # ... of a synthetic market
    venue: str = ""  # of bars, whose files do not say it

    @property
    def synthetic(self) -> bool:
        """True if no market made these data."""
        return self.kind == "synthetic" or self.made_up


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """One process: its agents, its core, its way of waiting."""

    name: str
    agents: tuple[str, ...]
    core: int | None
    idle: str = "backoff"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSpec:
    """Where the market is recorded."""

    folder: Path  # of this session's recording alone
    raw: bool  # raw messages too
    rows: int  # of a part
    part_s: float

    @property
    def slots(self) -> int:
        """Of its ring of records."""
        return RECORD_RING_CAPACITY

    @property
    def raw_slots(self) -> int:
        """Of its ring of raw messages; 0: none."""
        return RAW_RING_CAPACITY if self.raw else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a worker needs to know."""

    instance: str
    generation: int  # of the shared memory
    n_shards: int
    symbols: tuple[tuple[str, str], ...]  # (symbol, venue) of each instrument
    instruments: np.ndarray  # INSTRUMENT[n]
    limits: np.ndarray  # LIMITS[1]
    session: np.ndarray  # SESSION[1]
    feed: FeedSpec
    speed: float  # event seconds per second; 0: as fast as it goes
    strategy_module: str
    strategy_params: np.ndarray  # PARAMS[1] of the strategy
    state_folder: Path
    session_folder: Path
    composed: bool = False  # all agents in one process
    strict: bool = False  # an order goes out when its record in the journal is synced
    recorder: RecorderSpec | None = None  # None: nothing is recorded
    gateways: dict[str, Gateway] = field(default_factory=dict)  # of a live feed: where each venue is reached
    traded: str = ""  # the real venue that orders go to
    quote: str = ""  # what all money of the account is counted in
    spike_bps: int = 0  # a price further from the last mid is not believed; 0: any is
    time_limit_ns: int = 0  # a message so much earlier or later than others by the venue's time is none; 0: any is
    latencies: tuple[Latency | None, Latency | None, Latency | None] = (None, None, None)  # orders, cancels, reports
    data_latency: Latency | None = None  # of the market's data; None: none beside what their times say
    queue: QueueModel = AVERSE  # of the simulated venue
    impacts: np.ndarray | None = None  # IMPACT[n] of the simulated venue; None: our taking moves no price
    tightened: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))  # int64[n, 3], played again
    history: np.ndarray | None = None  # float64[seconds, n], mids of before the session; None: nothing is known
    silence_ns: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # int64[n] of a live feed
    breakers: dict[str, np.ndarray] = field(default_factory=dict)  # by component, as in `Wires.breakers`
    builders: dict[str, str] = field(default_factory=lambda: dict(BUILDERS))
    warm: str = WARM

    @property
    def n_instruments(self) -> int:
        """Instruments of the session."""
        return len(self.symbols)

    @property
    def journal_path(self) -> Path:
        """Execution's journal."""
        return self.session_folder / "journal.bin"

    @property
    def synced(self) -> bool:
        """True if a power cut may cost no more than milliseconds of the journal; a replay can be had again."""
        return self.strict or self.feed.kind == "live"

    @property
    def ledger_path(self) -> Path:
        """The venue's ledger."""
        return self.session_folder / "ledger.jsonl"

    @property
    def gateway_path(self) -> Path:
        """The gateway's log."""
        return self.session_folder / GATEWAY_FILE

    @property
    def log_folder(self) -> Path:
        """One log per worker."""
        return self.session_folder / "log"

    @property
    def recorded(self) -> dict[str, int]:
        """Slots of the recorder's rings, as the wires want to know them; nothing if nothing is recorded."""
        return {"record": self.recorder.slots, "raw": self.recorder.raw_slots} if self.recorder else {}

    @property
    def replayed(self) -> bool:
        """True if the feed waits for its readers instead of dropping."""
        return self.speed == 0


_ROWS = {
    "execution": EXECUTION_ROW,
    "venue": VENUE_ROW,
    "gateway": VENUE_ROW,
    "feed": FEED_ROW,
    "recorder": RECORDER_ROW,
}


def rows_of(agent: str, n_shards: int) -> tuple[int, ...]:
    """Rows of `gauges` that an agent writes."""
    if kind_of(agent) in ("shard", "quarantine"):
        return (int(agent.partition("-")[2]),)
    if agent == "bot":
        return tuple(range(n_shards + 3))
    return (n_shards + _ROWS[agent],)


def kind_of(agent: str) -> str:
    """`shard` for every shard, `quarantine` for what stands in its place, else the agent's own name."""
    return agent.partition("-")[0]

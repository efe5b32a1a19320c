"""What goes wrong on purpose: a scenario file, and the faults it holds.

    seed = 7
    [limits]                        # instead of the venue's own
    orders_10s = 1_000_000
    [[fault]]
    kind = "timeout_after"          # the order lands, the answer never comes
    endpoint = "POST /api/v3/order" # or a method of the websocket API; "*" for all
    probability = 0.1               # or times = 3

Each fault draws from its own generator, one number for each request or event that it could hit; so the same seed and
the same requests give the same faults. Every one that happens is a line of the ledger.
"""

import fnmatch
import random
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bot4.adapters.exchange.file import mended, read_toml
from bot4.adapters.exchange.limit import Limits
from bot4.kernels.latency import latency_ns
from bot4.model.errors import InputError, SettingsError
from bot4.model.latency import MAX_LATENCY_NS, Latency, constant, interpolated, log_normal, recorded

REQUEST_KINDS = (
    "timeout_before", "timeout_after", "error_before", "error_after", "reset_before", "reset_after", "garbage", "empty",
    "late_before", "late_after", "rate_limit",
)  # fmt: skip
EVENT_KINDS = ("event_drop", "event_duplicate", "event_late", "event_reorder", "silence")
STATE_KINDS = ("clock_skew", "halt", "maintenance", "filters", "replica_lag", "disconnect")
_Kind = Literal[
    "timeout_before", "timeout_after", "error_before", "error_after", "reset_before", "reset_after", "garbage", "empty",
    "late_before", "late_after", "rate_limit", "event_drop", "event_duplicate", "event_late", "event_reorder",
    "silence", "clock_skew", "halt", "maintenance", "filters", "replica_lag", "disconnect",
]  # fmt: skip
MAX_FAULTS = 1_000  # that are not over; each is asked at every request
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One thing that goes wrong."""

    kind: _Kind
    endpoint: str = "*"  # of a request: method and path, or a method of the websocket API; may hold * and ?
    stream: str = "*"  # of an event: its name (executionReport, depthUpdate, trade, ...)
    probability: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1.0
    times: Count = 0  # at most so often; 0: always
    skip: Count = 0  # so many that it could hit go by first
    after_ms: Milliseconds = 0  # from the server's start, or from its injection
    duration_ms: Milliseconds = 0  # 0: until the end
    delay_ms: Milliseconds = 1_000  # late_*, event_late, replica_lag
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 504  # error_*
    skew_ms: Annotated[int, msgspec.Meta(ge=-86_400_000, le=86_400_000)] = 0
    symbol: str = ""  # halt, filters: none names all
    symbol_status: Literal["HALT", "BREAK"] = "HALT"  # halt: what the symbol is said to be
    cancels_orders: bool = False  # maintenance: every open order ends with its beginning
    filters: dict[str, Annotated[int, msgspec.Meta(ge=1, le=2**62)]] = {}  # names of symbol.Filters

    def __post_init__(self) -> None:
        usual = {"endpoint": "*", "stream": "*", "probability": 1.0}
        for name in usual if self.kind in STATE_KINDS else ():
            if getattr(self, name) != usual[name]:
                raise ValueError(f"{name} is not used by kind {self.kind}, which is of the whole venue; leave it out")


class _LimitTable(msgspec.Struct, forbid_unknown_fields=True):
    request_weight_1m: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 6_000
    orders_10s: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 100
    orders_1d: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 200_000
    raw_requests_5m: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 61_000


class _RuleTable(msgspec.Struct, forbid_unknown_fields=True):
    client_ids_once: bool = False


Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e15)]


class Impact(msgspec.Struct, forbid_unknown_fields=True):
    """What those who take from the generated market leave behind in its price."""

    model: Literal["linear", "square_root", "almgren_chriss"]
    symbol: str = ""  # none names all
    coefficient: Positive = 0.0  # linear, square_root: share of the price for a day's turnover taken by one order
    daily_quantity: Positive = 0.0  # linear, square_root: a day's turnover in the base asset
    gamma: Positive = 0.0  # almgren_chriss: price for a unit of the base asset

    def __post_init__(self) -> None:
        mine = {"gamma": self.gamma} if self.model == "almgren_chriss" else {
            "coefficient": self.coefficient, "daily_quantity": self.daily_quantity
        }  # fmt: skip
        for name in ("coefficient", "daily_quantity", "gamma"):
            if (getattr(self, name) != 0.0) != (name in mine):
                raise ValueError(f"{name} is {'needed' if name in mine else 'not used'} by model {self.model}")


class LatencyTable(msgspec.Struct, forbid_unknown_fields=True):
    """How long messages of one way are under way."""

    way: Literal["order", "cancel", "answer", "data"]  # data: markets; answer: to orders, and user data
    model: Literal["constant", "log_normal", "recorded", "interpolated"]
    us: Annotated[int, msgspec.Meta(ge=1, le=MAX_LATENCY_NS // 1_000)] | None = None  # constant; log_normal: the median
    sigma: Annotated[float, msgspec.Meta(gt=0.0, le=5.0)] | None = None  # log_normal
    file: str | None = None  # recorded, interpolated; beside the scenario's own file

    def __post_init__(self) -> None:
        mine = {"constant": ("us",), "log_normal": ("us", "sigma")}.get(self.model, ("file",))
        for name in ("us", "sigma", "file"):
            if (getattr(self, name) is not None) != (name in mine):
                raise ValueError(f"{name} is {'needed' if name in mine else 'not used'} by model {self.model}")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    limits: _LimitTable = msgspec.field(default_factory=_LimitTable)
    rules: _RuleTable = msgspec.field(default_factory=_RuleTable)
    impact: list[Impact] = []
    latency: list[LatencyTable] = []
    fault: list[Fault] = []


_TABLES: dict[str, type] = {
    "$": _File, "$.limits": _LimitTable, "$.rules": _RuleTable, "$.impact[...]": Impact,
    "$.latency[...]": LatencyTable, "$.fault[...]": Fault,
}  # fmt: skip


def read_fault(body: bytes) -> Fault:
    """A fault of the control endpoint (JSON); SettingsError says what is wrong with it and what to write."""
    try:
        return msgspec.json.decode(body, type=Fault)
    except msgspec.ValidationError as error:
        raise SettingsError(f"fault: {mended(error, {'$': Fault})}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        example = '{"kind": "halt", "symbol": "BTCUSDT"}'
        raise SettingsError(f"fault: no JSON: {error}; write an object such as {example}") from None


class _Armed:
    """A fault with its generator and what it has done."""

    def __init__(self, fault: Fault, seed: str, start_ms: int) -> None:
        self.fault = fault
        self.begin_ms = start_ms + fault.after_ms
        self.end_ms = self.begin_ms + fault.duration_ms if fault.duration_ms else 2**62
        self.seen = 0
        self.done = 0
        self.is_on = False
        self._random = random.Random(seed)

    def runs(self, now_ms: int) -> bool:
        """Whether this is its time."""
        return self.begin_ms <= now_ms < self.end_ms

    def is_over(self, now_ms: int) -> bool:
        """Whether it can do nothing any more."""
        return now_ms >= self.end_ms or (self.fault.times > 0 and self.done >= self.fault.times)

    def strikes(self, now_ms: int) -> bool:
        """Whether it hits what it could hit; counts it."""
        fault = self.fault
        if not self.runs(now_ms) or (fault.times and self.done >= fault.times):
            return False
        self.seen += 1
        if self.seen <= fault.skip:
            return False
        if fault.probability < 1.0 and self._random.random() >= fault.probability:
            return False
        self.done += 1
        return True

    def noise(self) -> bytes:
        """Bytes that mean nothing."""
        return self._random.randbytes(self._random.randrange(1, 200))


class _Way:
    """The latencies of one way, message after message; those by time over and over from the server's start."""

    def __init__(self, latency: Latency, start_ms: int) -> None:
        self._latency = latency
        self._start_ns = start_ms * 1_000_000
        self._sent = 0
        self._span_ns = int(latency.times[-1] - latency.times[0]) + 1
        self.next_s(self._start_ns)  # compiled now, not when the first order waits for it
        self._sent = 0

    def next_s(self, now_ns: int) -> float:
        """Of the next message."""
        kind, times, values = self._latency
        number, self._sent = self._sent, self._sent + 1
        return latency_ns(kind, times, values, number, times[0] + (now_ns - self._start_ns) % self._span_ns) / 1e9


def _latency(table: LatencyTable, seed: int, path: Path | None) -> Latency:
    us = (table.us or 0) * 1_000
    if table.model == "constant":
        return constant(us)
    if table.model == "log_normal":
        return log_normal(us, table.sigma or 0.0, f"{seed}.{table.way}")
    file = (path.parent if path else Path()) / (table.file or "")
    try:
        if table.model == "recorded":
            return recorded(file)
        return interpolated(file, answers=table.way in ("answer", "data"))
    except InputError as error:
        raise SettingsError(f"--scenario {path}: latency: {error}") from None


class Scenario:
    """All faults of a server, from its file and from its control endpoint."""

    def __init__(self, path: Path | None, start_ms: int) -> None:
        """Raises SettingsError naming the field and what it may be."""
        self._file = _File()
        if path is not None:
            self._file = read_toml("--scenario", path, _File, _TABLES)
        self.seed = self._file.seed
        self.client_ids_once = self._file.rules.client_ids_once  # a day long; the venue itself lets them be used again
        self.impacts = self._file.impact
        moved = [impact.symbol for impact in self.impacts]
        if len(moved) > 1 and ("" in moved or len({*moved}) != len(moved)):
            raise SettingsError(f"--scenario {path}: impact: a symbol is there twice; keep one table of each")
        self._latencies: dict[str, _Way] = {
            table.way: _Way(_latency(table, self.seed, path), start_ms) for table in self._file.latency
        }
        if len(self._latencies) != len(self._file.latency):
            raise SettingsError(f"--scenario {path}: latency: a way is there twice; keep one table of each")
        table = self._file.limits
        self.limits = Limits(table.request_weight_1m, table.orders_10s, table.orders_1d, table.raw_requests_5m)
        self._armed: list[_Armed] = []
        self._made = 0
        for fault in self._file.fault:
            self.add(fault, start_ms)

    def add(self, fault: Fault, now_ms: int) -> None:
        """One more, from now on; those that are over go. SettingsError beyond MAX_FAULTS."""
        self._armed = [armed for armed in self._armed if armed.is_on or not armed.is_over(now_ms)]
        if len(self._armed) >= MAX_FAULTS:
            raise SettingsError(f"fault: there are {MAX_FAULTS} already; take some out with DELETE /control/fault")
        self._armed.append(_Armed(fault, f"{self.seed}.{self._made}", now_ms))
        self._made += 1

    def clear(self, now_ms: int) -> None:
        """No fault any more; states go back with the next `states`."""
        self._armed = [armed for armed in self._armed if armed.is_on]
        for armed in self._armed:
            armed.end_ms = now_ms

    def latency_s(self, way: str, now_ns: int) -> float | None:
        """How long the next message of a way is under way; None: no longer than the machine takes."""
        found = self._latencies.get(way)
        return None if found is None else found.next_s(now_ns)

    @property
    def has_latencies(self) -> bool:
        """Whether any way is slower than the machine."""
        return bool(self._latencies)

    def request(self, endpoint: str, now_ms: int) -> tuple[Fault, bytes] | None:
        """What happens to a request, with noise for those who need some; None: nothing."""
        for armed in self._armed:
            fault = armed.fault
            if fault.kind in REQUEST_KINDS and fnmatch.fnmatchcase(endpoint, fault.endpoint) and armed.strikes(now_ms):
                return fault, armed.noise() if fault.kind == "garbage" else b""
        return None

    def event(self, name: str, now_ms: int) -> Fault | None:
        """What happens to an event on its way out."""
        for armed in self._armed:
            fault = armed.fault
            if fault.kind in EVENT_KINDS and fnmatch.fnmatchcase(name, fault.stream) and armed.strikes(now_ms):
                return fault
        return None

    def running(self) -> list[Fault]:
        """Faults of state that are on."""
        return [armed.fault for armed in self._armed if armed.is_on]

    def states(self, now_ms: int) -> list[tuple[Fault, bool]]:
        """Faults of state whose time has come (True) or is over (False)."""
        changed = []
        for armed in self._armed:
            if armed.fault.kind in STATE_KINDS and armed.runs(now_ms) != armed.is_on:
                armed.is_on = not armed.is_on
                changed.append((armed.fault, armed.is_on))
        return changed

    @property
    def is_quiet(self) -> bool:
        """Whether nothing can go wrong."""
        return not self._armed

    def faults(self) -> list[Fault]:
        """All of them."""
        return [armed.fault for armed in self._armed]

    def report(self) -> list[dict]:
        """Every fault and how often it has struck."""
        return [
            {"kind": armed.fault.kind, "endpoint": armed.fault.endpoint, "stream": armed.fault.stream,
             "seen": armed.seen, "done": armed.done}
            for armed in self._armed
        ]  # fmt: skip

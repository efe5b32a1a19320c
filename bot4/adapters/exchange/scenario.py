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

from bot4.adapters.exchange.limit import Limits
from bot4.model.errors import SettingsError

REQUEST_KINDS = (
    "timeout_before", "timeout_after", "error_before", "error_after", "reset_before", "reset_after", "garbage", "empty",
    "late_before", "late_after", "rate_limit",
)  # fmt: skip
EVENT_KINDS = ("event_drop", "event_duplicate", "event_late", "event_reorder", "silence")
STATE_KINDS = ("clock_skew", "halt", "filters", "replica_lag", "disconnect")
_Kind = Literal[
    "timeout_before", "timeout_after", "error_before", "error_after", "reset_before", "reset_after", "garbage", "empty",
    "late_before", "late_after", "rate_limit", "event_drop", "event_duplicate", "event_late", "event_reorder",
    "silence", "clock_skew", "halt", "filters", "replica_lag", "disconnect",
]  # fmt: skip
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
    filters: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**62)]] = {}  # names of symbol.Filters


class _LimitTable(msgspec.Struct, forbid_unknown_fields=True):
    request_weight_1m: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 6_000
    orders_10s: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 100
    orders_1d: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 200_000
    raw_requests_5m: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 61_000


class _File(msgspec.Struct, forbid_unknown_fields=True):
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    limits: _LimitTable = msgspec.field(default_factory=_LimitTable)
    fault: list[Fault] = []


def read_fault(body: bytes) -> Fault:
    """A fault of the control endpoint (JSON); SettingsError says what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=Fault)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"fault: {error}") from None


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


class Scenario:
    """All faults of a server, from its file and from its control endpoint."""

    def __init__(self, path: Path | None, start_ms: int) -> None:
        """Raises SettingsError naming the field and what it may be."""
        self._file = _File()
        if path is not None:
            try:
                self._file = msgspec.toml.decode(path.read_bytes(), type=_File)
            except OSError as error:
                raise SettingsError(f"--scenario {path}: cannot be read: {error.strerror}") from None
            except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
                raise SettingsError(f"--scenario {path}: {error}") from None
            except RecursionError:
                raise SettingsError(f"--scenario {path}: is nested too deeply") from None
            except ValueError as error:  # tomllib's own
                raise SettingsError(f"--scenario {path}: {error}") from None
        self.seed = self._file.seed
        table = self._file.limits
        self.limits = Limits(table.request_weight_1m, table.orders_10s, table.orders_1d, table.raw_requests_5m)
        self._armed: list[_Armed] = []
        self._made = 0
        for fault in self._file.fault:
            self.add(fault, start_ms)

    def add(self, fault: Fault, now_ms: int) -> None:
        """One more, from now on."""
        self._armed.append(_Armed(fault, f"{self.seed}.{self._made}", now_ms))
        self._made += 1

    def clear(self, now_ms: int) -> None:
        """No fault any more; states go back with the next `states`."""
        for armed in self._armed:
            armed.end_ms = now_ms

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

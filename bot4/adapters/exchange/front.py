"""What every venue's gateway shares: the ledger of requests, faults by scenario, and the server's own endpoint.

A venue's protocol is its gateway (endpoints, signing, words of refusal), its streams and its websockets; `protocol`
puts them together.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from bot4.adapters.exchange.key import Key, KeyRing
from bot4.adapters.exchange.scenario import Fault, Scenario, read_fault
from bot4.adapters.exchange.symbol import Filters, Symbol, changed_filters
from bot4.adapters.exchange.venue import Account, Venue
from bot4.model.errors import SettingsError

JSON = b"application/json;charset=UTF-8"


@dataclass(slots=True)
class Answer:
    """What goes back to an HTTP client."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    content: bytes = JSON


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value)


class Front(ABC):
    """A venue behind some protocol."""

    user_events: frozenset[str] = frozenset()  # kinds of events of an account, which take the way of answers
    said: frozenset[bytes] = frozenset()  # headers, in lower case, that say who asks

    def __init__(self, venue: Venue, keys: list[Key], scenario: Scenario) -> None:
        self.venue = venue
        self.scenario = scenario
        self._ring = KeyRing(keys)
        self._usual: dict[str, Filters] = {symbol.key: symbol.filters for symbol in venue.by_index}

    @abstractmethod
    def who(self, said: Mapping[bytes, bytes]) -> Any:
        """Who asks, by the headers that say so."""

    @abstractmethod
    def key_of(self, who: Any) -> Key | None:
        """The key of whoever asks, if it is one of the venue's."""

    @abstractmethod
    def rest(self, method: str, path: str, query: str, body: bytes, who: Any) -> Answer:
        """One HTTP request, answered; whatever is wrong with it is an answer too."""

    @abstractmethod
    def failure(self, fault: Fault) -> Answer:
        """The answer of a request that a fault answers."""

    @abstractmethod
    def broken(self) -> Answer:
        """The answer of a request that this server has failed at."""

    def way(self, endpoint: str) -> str | None:
        """The way of a scenario's latencies that a request takes: order, cancel, None for others."""
        return None

    def fault_of(self, endpoint: str) -> tuple[Fault, bytes] | None:
        """What a scenario does to a request of this endpoint."""
        if self.scenario.is_quiet:
            return None
        found = self.scenario.request(endpoint, self.venue.clock_ns() // 1_000_000)
        if found is not None:
            self.venue.ledger.add(self.venue.clock_ns(), "fault", reason=found[0].kind, target=endpoint)
            self.venue.ledger.flush()
        return found

    def note(self, who: Any, method: str, target: str, body: bytes) -> None:
        """A request has come: a line of the ledger, whatever becomes of it."""
        if self.venue.ledger.is_kept:
            key = self.key_of(who)
            self._note(self.venue.accounts[key.account] if key else None, method, target, body)

    def note_account(self, account: Account | None, target: str, body: bytes) -> None:
        """The same of a websocket that has said before whose it is."""
        if self.venue.ledger.is_kept:
            self._note(account, "WS", target, body)

    def _note(self, account: Account | None, method: str, target: str, body: bytes) -> None:
        self.venue.ledger.request(self.venue.clock_ns(), account.name if account else None, method, target, body)

    # --- control ---

    def control(self, method: str, path: str, body: bytes) -> Answer:
        """The server's own endpoint: faults are put in and taken out, and money is counted. `states` has to follow."""
        now_ms = self.venue.clock_ns() // 1_000_000
        if method == "POST" and path == "/control/fault":
            try:
                fault = read_fault(body)
                self._check_fault(fault)
                self.scenario.add(fault, now_ms)
            except SettingsError as error:
                return Answer(400, _dumps({"error": str(error)}))
            return Answer(200, _dumps({"faults": self.scenario.report()}))
        if method == "DELETE" and path == "/control/fault":
            self.scenario.clear(now_ms)
            return Answer(200, _dumps({"faults": self.scenario.report()}))
        if method == "GET" and path == "/control/fault":
            return Answer(200, _dumps({"faults": self.scenario.report()}))
        if method == "GET" and path == "/control/money":
            return Answer(200, _dumps(self.venue.money()))
        there_is = "there are POST, GET and DELETE /control/fault and GET /control/money"
        return Answer(404, _dumps({"error": f"{method} {path}: no such request; {there_is}"}))

    def _check_fault(self, fault: Fault) -> None:
        if fault.symbol and fault.symbol not in self.venue.symbols:
            raise SettingsError(f"fault: symbol {fault.symbol!r} is not one of {', '.join(self.venue.symbols)}")
        for symbol in self._of_fault(fault):
            changed_filters(self._usual[symbol.key], fault.filters)

    def _of_fault(self, fault: Fault) -> list[Symbol]:
        return [symbol for symbol in self.venue.by_index if fault.symbol in ("", symbol.name)]

    def check_scenario(self) -> None:
        """Raises SettingsError if a fault of the file names what there is not."""
        for fault in self.scenario.faults():
            self._check_fault(fault)
        for impact in self.scenario.impacts:
            if impact.symbol and impact.symbol not in self.venue.symbols:
                raise SettingsError(f"impact: symbol {impact.symbol!r} is not one of {', '.join(self.venue.symbols)}")

    def states(self) -> bool:
        """Faults of state begin and end; True if connections have to be dropped now."""
        venue = self.venue
        changed = self.scenario.states(venue.clock_ns() // 1_000_000)
        if not changed:
            return False
        for fault, is_on in changed:
            venue.ledger.add(venue.clock_ns(), "fault", reason=fault.kind, target="on" if is_on else "off")
            if fault.kind == "halt":
                for symbol in self._of_fault(fault):
                    venue.close(symbol, fault.symbol_status, is_on)
            elif fault.kind == "maintenance":
                venue.maintain(is_on, fault.cancels_orders)
        running = self.scenario.running()
        venue.skew_ms = sum(fault.skew_ms for fault in running if fault.kind == "clock_skew")
        venue.lag_ms = max((fault.delay_ms for fault in running if fault.kind == "replica_lag"), default=0)
        for symbol in venue.by_index:
            symbol.filters = self._usual[symbol.key]
        for fault in running:
            if fault.kind == "filters":
                for symbol in self._of_fault(fault):
                    symbol.filters = changed_filters(symbol.filters, fault.filters)
        venue.ledger.flush()
        return any(is_on and fault.kind in ("disconnect", "maintenance") for fault, is_on in changed)

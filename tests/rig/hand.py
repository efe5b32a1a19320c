"""A whole bot in one process on a live feed that is fed by hand: no sockets, and a clock that the test turns.

    HandPool --frames--> LiveFeed --> shard, execution, venue (the product's own agents, on private wires)

The pool and the fetcher are those ports of `bot4.ports.stream` whose other end is the test: what it puts in is read as
from a socket, what the feed asks for is answered by the test's market when the clock has come so far.
"""

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reference.kernels.scan import Listing
from rig import puppet
from rig.feed import instruments_of
from rig.tables import limits, session
from websockets.frames import Frame, Opcode

from bot4.adapters.sim.venue import VenueAgent
from bot4.engine.execution import ExecutionAgent
from bot4.engine.live import LiveFeed
from bot4.engine.shard import ShardAgent, kept_row, load_loop, strategy_parameters
from bot4.kernels.parameter import defaults
from bot4.model.enums import INPUT_REASONS
from bot4.ports.feed import Decoder
from bot4.ports.stream import Closed, Event, Key, Opened, Readable, Request, VenueStreams
from bot4.shm.layout import RING_HEAD, RING_TAIL
from bot4.shm.wires import Wires, private_wires

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_723_161_256_000_000_000
WIDE = limits(order_lots=10**9, drawdown_bps=9_999, daily_loss_bps=9_999, cool_down_ns=0)


class Clock:
    """Monotonic time that the test turns."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.ns


def frame(body: bytes) -> bytes:
    """A text frame of a server."""
    return Frame(Opcode.TEXT, body).serialize(mask=False)


class HandConnection:
    """What the feed sees of a connection; what it reads was put in by the test."""

    def __init__(self, number: int, venue: str, symbols: tuple[str, ...], topics: tuple[str, ...]) -> None:
        self.id, self.venue, self.symbols, self.topics = number, venue, symbols, topics
        self.waiting = bytearray()
        self.said: list[str] = []

    def fileno(self) -> int:
        """It has none."""
        return -1

    def read_into(self, buffer: memoryview) -> int:
        """What waits, as far as it fits."""
        count = min(len(buffer), len(self.waiting))
        buffer[:count] = self.waiting[:count]
        del self.waiting[:count]
        return count

    def send_text(self, text: str) -> None:
        """Heard."""
        self.said.append(text)

    def send_pong(self, payload: bytes) -> None:
        """Heard."""
        self.said.append("pong")


class HandPool:
    """One connection at a time, opened and cut by the test; a dropped one is replaced at once."""

    def __init__(self, streams: VenueStreams, symbol: str) -> None:
        self._streams, self._symbol = streams, symbol
        self._events: deque[Event] = deque()
        self._numbers = 0
        self.connection: HandConnection | None = None
        self.dropped: list[str] = []
        self.greet: Callable[[], None] = lambda: None  # what the venue sends to a new connection, or one that asks

    def open(self) -> None:
        """A connection is there."""
        topics = tuple(self._streams.topics(self._symbol))
        self.connection = HandConnection(self._numbers % 2, self._streams.venue, (self._symbol,), topics)
        self._numbers += 1
        self._events.append(Opened(self.connection, 0))
        self.greet()

    def cut(self) -> None:
        """It is gone, and whatever of it was not read."""
        assert self.connection is not None
        self._events.append(Closed(self.connection, "cut by the test"))
        self.connection = None

    def put(self, raw: bytes) -> None:
        """Bytes of the venue, if anybody listens."""
        if self.connection is not None:
            self.connection.waiting += raw

    def turn(self, timeout_s: float) -> list[Event]:
        """As the port says."""
        events = list(self._events)
        self._events.clear()
        if self.connection is not None and self.connection.waiting:
            events.append(Readable(self.connection))
        return events

    def drop(self, connection: HandConnection, reason: str) -> None:
        """The feed trusts it no more."""
        self.dropped.append(reason)
        if connection is self.connection:
            self.open()

    def retire(self, connection: HandConnection) -> None:
        """Nothing has a successor here."""

    def rebalance(self, rates: Mapping[Key, float]) -> int:
        """Nothing to share out."""
        return 0

    def resubscribe(self, venue: str, symbol: str) -> None:
        """The venue sends the whole book again."""
        if self.connection is not None:
            self.greet()

    def close(self) -> None:
        """Nothing is held."""


class HandFetcher:
    """REST whose answers take `delay_ns` of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: deque[tuple[int, Key, bytes]] = deque()
        self._unasked: deque[tuple[Key, bytes, str]] = deque()
        self.delay_ns = 0
        self.asked = 0
        self.answer: Callable[[], bytes] = lambda: b""  # the book as it is when it is asked for

    def ask(self, key: Key, venue: str, request: Request) -> None:
        """As the port says."""
        if not any(key == other for _, other, _ in self._asked):
            self.asked += 1
            self._asked.append((self._clock() + self.delay_ns, key, self.answer()))

    def push(self, key: Key, body: bytes) -> None:
        """An answer that is there at once."""
        self._unasked.append((key, body, ""))

    def done(self) -> list[tuple[Key, bytes, str]]:
        """What is due by now."""
        found = list(self._unasked)
        self._unasked.clear()
        while self._asked and self._asked[0][0] <= self._clock():
            _, key, body = self._asked.popleft()
            found.append((key, body, ""))
        return found

    def close(self) -> None:
        """Nothing is held."""


class Told(NamedTuple):
    """Where every message that was put in has gone: all counters of the feed."""

    accepted: int
    refused: int
    unreadable: int  # that no instrument could be told of
    passed_over: int
    silent: int  # good, and no market data
    holes: int  # in the numbers of a connection

    @property
    def bad(self) -> int:
        """Messages that were not taken for something that is wrong with them."""
        return self.refused + self.unreadable + self.passed_over


class HandFeed:
    """The live feed of one instrument on private wires."""

    def __init__(
        self, streams: VenueStreams, decoder: Decoder, listing: Listing, *, spike_bps: int = 500, silence_s: float = 1e9
    ) -> None:
        self.clock = Clock()
        self.wires: Wires = private_wires(1, 1)
        self.instruments = instruments_of([listing])
        row = self.instruments[0]
        row["value_e8"], rest = divmod(int(row["tick_e8"]) * int(row["lot_e8"]), 10**8)
        assert rest == 0
        row["min_qty_lots"], row["max_qty_lots"] = 1, 10**9
        self.session = session(lag_limit_ns=0)
        self.pool, self.fetcher = HandPool(streams, listing.symbol), HandFetcher(self.clock)
        self.feed = LiveFeed(
            self.wires, self.instruments, self.session, [(listing.symbol, streams.venue)],
            {streams.venue: streams}, {streams.venue: decoder}, self.pool, self.fetcher,
            np.full(1, int(silence_s * SECOND), np.int64), clock=self.clock,
        )  # fmt: skip
        self.feed._offset_ns = T0 - self.clock.ns  # the same event times in every run
        self.feed.memory.feed.states["spike_bps"] = spike_bps

    @property
    def whole(self) -> bool:
        """Whether the book is."""
        return bool(self.feed.memory.feed.states[0]["whole"])

    @property
    def event_ns(self) -> int:
        """Now, as records are stamped."""
        return T0 + self.clock.ns - 1_000 * SECOND

    def put(self, *bodies: bytes) -> None:
        """Messages of the venue."""
        self.pool.put(b"".join(map(frame, bodies)))

    def read_all(self) -> None:
        """The feed alone, until nothing is left to read."""
        self.feed.do_work()
        while self.pool.connection is not None and self.pool.connection.waiting:
            self.feed.do_work()

    def turn(self) -> None:
        """One turn of the feed, and of whoever reads it."""
        self.feed.do_work()
        for ring in (*self.wires.ticks, self.wires.market, self.wires.quotes):
            ring[RING_TAIL] = ring[RING_HEAD]

    def told(self) -> Told:
        """All counters."""
        rows = self.feed.memory.connections
        return Told(
            int(self.wires.messages.sum()),
            int(self.wires.refused.sum()),
            int(rows["unreadable"].sum()),
            int(rows["passed_over"].sum()),
            int(rows["silent"].sum()),
            int(rows["holes"].sum()),
        )

    def reasons(self) -> dict[str, int]:
        """Refused messages by reason."""
        table = self.wires.refused.sum(axis=(0, 1))
        return {INPUT_REASONS[index]: int(count) for index, count in enumerate(table) if count}


class HandBot(HandFeed):
    """The same with shard, execution and venue behind it, free-running, trading by the imbalance of the best quote."""

    def __init__(
        self,
        folder: Path,
        *market: Any,
        resting: bool = False,
        limits: np.ndarray = WIDE,
        fee_ppm: int = 0,
        slippage_ticks: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(*market, **kwargs)
        self.limits = limits
        self.instruments["taker_fee_ppm"] = fee_ppm
        loop = load_loop("rig.puppet")
        values = defaults(puppet.PARAMETERS) | {
            "bar_ns": 0, "atr_period": 2, "warm_bars": 0, "min_hold_ns": 0, "enter_threshold": 0.5,
            "exit_threshold": 0.0, "position_fraction_bps": 100, "entry_style": int(resting),
            "entry_life_ns": 60 * SECOND, "slippage_ticks": slippage_ticks, "stop_min_bps": 20.0,
        }  # fmt: skip
        self.wires = self.feed.wires = self.wires._replace(kept=np.zeros((1, kept_row(loop)), np.int64))
        tables = self.instruments, self.limits, self.session
        params = strategy_parameters("rig.puppet", values)
        self.shard = ShardAgent(loop, self.wires, *tables, 0, params)
        self.execution = ExecutionAgent(self.wires, *tables, folder / "journal", 65_536)
        equity = int(self.session[0]["start_equity_e8"])
        self.venue = VenueAgent(self.wires, self.instruments, self.session, equity, folder / "ledger", ["A"])
        self._agents = self.shard, self.execution, self.venue
        self.settle()

    def settle(self) -> None:
        """Everybody works until nothing is left to do."""
        while sum(agent.do_work() for agent in self._agents):
            pass

    def turn(self) -> None:
        """One turn of the feed, and all that follows from it."""
        self.feed.do_work()
        self.settle()

    @property
    def decisions(self) -> int:
        """Intents that the shard has sent."""
        return int(self.wires.intents[0][RING_HEAD])

    def floats(self) -> list[tuple[str, np.ndarray]]:
        """Every floating point number of every state array, by its name."""
        found = []
        execution = self.execution.memory._asdict()
        known = execution.pop("known")._asdict()  # what it has learned of the instruments' moves
        window = known.pop("window")
        known["window"] = window[~np.isnan(window)]  # which is the word for a second without a move
        del execution["tail"]  # scratch of one check
        feed = self.feed.memory.feed._asdict()
        way = feed.pop("way")._asdict()  # of the data, when it takes time
        memories = (feed, way, self.shard.memory._asdict(), execution, known)
        for memory in (*memories, self.venue.memory.core._asdict()):
            for name, array in memory.items():
                if array.dtype.kind == "f":
                    found.append((name, array))
                for field in array.dtype.names or ():
                    if array[field].dtype.kind == "f":
                        found.append((f"{name}.{field}", array[field]))
        return found

    def close(self) -> None:
        """Files."""
        for agent in self._agents:
            agent.close()

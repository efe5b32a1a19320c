"""The simulated venue on a bench: its port, and a market that a test moves by hand. Nothing sleeps."""

import numpy as np

from bot4.adapters.sim.port import SimVenue
from bot4.adapters.sim.venue import VenueAgent
from bot4.model.enums import (
    FLAG_LAST,
    FLAG_SNAPSHOT,
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_MARK,
    TICK_QUOTE,
    TICK_STATUS,
    TICK_TRADE,
)
from bot4.model.records import INSTRUMENT, SESSION, TICK, words
from bot4.shm.layout import CLOCK_FEED
from bot4.shm.spsc_ring import push_tick
from bot4.shm.wires import private_wires

START_NS = 1_723_161_600_000_000_000
ORDER_LATENCY_NS = 1_000_000
REPORT_LATENCY_NS = 2_000_000
LINEAR = 0
SPOT = 1


def bench_instruments() -> np.ndarray:
    """A linear contract (tick 0.1, lot 0.001) and a spot pair (tick 0.01, lot 0.00001), with filters and fees."""
    rows = np.zeros(2, INSTRUMENT)
    for index, values in enumerate(
        (
            {"tick_e8": 10_000_000, "lot_e8": 100_000, "value_e8": 10_000, "taker_fee_ppm": 500, "maker_fee_ppm": 200},
            {"tick_e8": 1_000_000, "lot_e8": 1_000, "value_e8": 10, "taker_fee_ppm": 1_000, "maker_fee_ppm": -100},
        )
    ):
        rows[index]["index"] = index
        rows[index]["is_spot"] = index
        rows[index]["min_notional_e8"] = 10_000_000 if index else 500_000_000
        rows[index]["min_qty_lots"] = 2
        rows[index]["max_qty_lots"] = 1_000_000
        for name, value in values.items():
            rows[index][name] = value
    return rows


class SimBench:
    """Simulated venue, its port (`venue`) and the market in the test's hand."""

    CANNOT: frozenset[str] = frozenset()
    most_open = 1_024  # orders
    many_trades = 2_500  # more than the ring of events holds

    def __init__(self, ledger_path, start_balance_e8: int = 10**13, max_orders: int | None = None):
        self.instruments = bench_instruments()
        self.symbols = ["BTCUSDT", "ETHUSDT"]
        self.start_balance_e8 = start_balance_e8
        self.ledger_path = ledger_path
        self.session = np.zeros(1, SESSION)
        self.session[0]["n_shards"] = 1
        self.session[0]["n_instruments"] = 2
        self.session[0]["order_latency_ns"] = ORDER_LATENCY_NS
        self.session[0]["report_latency_ns"] = REPORT_LATENCY_NS
        self.wires = private_wires(1, 2)
        self.agent = VenueAgent(self.wires, self.instruments, self.session, start_balance_e8, ledger_path, self.symbols)
        self.now_ns = START_NS
        self.silent = False
        self._tick = np.zeros(1, TICK)
        self._tick_words = words(self._tick)
        self._event_no = [0, 0]
        self.venue = SimVenue(
            self.wires, self.instruments, self.drive, lambda: self.now_ns, ORDER_LATENCY_NS, patience=50
        )

    def drive(self) -> None:
        """Let time go on by twice the order latency, as an idle feed does, and let the venue work."""
        self.now_ns += 2 * ORDER_LATENCY_NS
        self.wires.clocks[CLOCK_FEED] = self.now_ns
        if not self.silent:
            self.agent.do_work()

    def close(self) -> None:
        """Stop the venue."""
        self.agent.close()

    # --- the market ------------------------------------------------------------------------------------------------

    def send(self, instrument: int, kind: int, flags: int, *values: int, lag_us: int = 0) -> None:
        """Push one record of the market at the present time and let the venue see it."""
        self._event_no[instrument] += 1
        row = self._tick[0]
        row["ts_recv_ns"] = self.now_ns
        row["venue_lag_us"] = lag_us
        row["instrument"] = instrument
        row["kind"] = kind
        row["flags"] = flags
        for name, value in zip(("w0", "w1", "w2", "w3"), (*values, 0, 0, 0, 0)[:4], strict=True):
            row[name] = value
        row["event_no"] = self._event_no[instrument]
        push_tick(self.wires.market, self._tick_words, 0)
        self.drive()

    def lose(self, instrument: int) -> None:
        """A record of the market that never arrives."""
        self._event_no[instrument] += 1

    def snapshot(self, instrument: int, bids: dict[int, int], asks: dict[int, int]) -> None:
        """A new whole book: {price: quantity} of both sides."""
        self.send(instrument, TICK_STATUS, FLAG_SNAPSHOT, STATUS_CLEAR)
        for side, levels in ((1, bids), (-1, asks)):
            for price, lots in levels.items():
                self.send(instrument, TICK_LEVEL, FLAG_SNAPSHOT, price, lots, side)
        self.send(instrument, TICK_STATUS, FLAG_SNAPSHOT | FLAG_LAST, STATUS_WHOLE)

    def level(self, instrument: int, side: int, price: int, lots: int, flags: int = FLAG_LAST) -> None:
        """One change of the depth book."""
        self.send(instrument, TICK_LEVEL, flags, price, lots, side)

    def quote(self, instrument: int, bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
        """A best quote newer than the depth book."""
        self.send(instrument, TICK_QUOTE, FLAG_LAST, bid, bid_lots, ask, ask_lots)

    def trade(self, instrument: int, price: int, lots: int, aggressor: int, times: int = 1) -> None:
        """A recorded trade, or several."""
        for _ in range(times):
            self.send(instrument, TICK_TRADE, FLAG_LAST, price, lots, 1, aggressor)

    def stale(self, instrument: int) -> None:
        """The book is not whole any more."""
        self.send(instrument, TICK_STATUS, FLAG_LAST, STATUS_STALE)

    def mark(self, instrument: int, mark_e8: int, rate_e8: int, next_funding_ns: int) -> None:
        """A mark price with the funding rate and the announced funding time."""
        self.send(instrument, TICK_MARK, FLAG_LAST, mark_e8, mark_e8, rate_e8, next_funding_ns)

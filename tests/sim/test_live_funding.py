"""Funding on live streams: rate and settlement reach the simulated venue, which charges an open position at its time.

The venue on the loopback plays a small market across a settlement; a position is opened before it by the venue's port.
A time of settlement that is damaged makes nothing be paid that is not due.
"""

import json
import time
from decimal import Decimal
from itertools import count

import pytest
from reference.kernels.scan import Listing
from rig.live import LiveRig
from rig.replayer import Plan, Recorded, certificates, serve

from bot4.adapters.binance.parse import BinanceUsdm
from bot4.adapters.binance.streams import BinanceUsdmStreams
from bot4.adapters.bybit.parse import BybitLinear
from bot4.adapters.bybit.streams import BybitLinearStreams
from bot4.adapters.sim.port import SimVenue
from bot4.adapters.sim.venue import VenueAgent
from bot4.model.enums import INPUT_REASONS, REPORT_FUNDING, SIDE_BUY, TICK_MARK, TIF_IOC, TYPE_MARKET
from bot4.ports.venue import ClientId, Done, NewOrder
from bot4.shm.layout import CLOCK_FEED, RING_HEAD, RING_TAIL

LISTING = Listing("BTCUSDT", Decimal("0.10"), Decimal("0.001"), True)
BEGIN_MS = int(time.time()) * 1_000  # the tape is played at once, thus ahead of our clock
DUE_MS = BEGIN_MS + 10_000
HOURS_8 = 28_800_000
SECONDS = 20
LOTS = 400  # 0.4
RATE, MARK, LAST_MARK = "0.00012500", "60000.50", "70000.00"
PAID_E8 = -int(Decimal(RATE) * Decimal(LAST_MARK) * Decimal("0.4") * 10**8)


def compact(made):
    return json.dumps(made, separators=(",", ":")).encode()


def mark_at(second):
    return MARK if second < 10 else LAST_MARK


def usdm_market(settlement):
    """Every second a quote, a change of the book, a trade and a mark. settlement : second -> what is told then."""
    tape = []
    for second in range(SECONDS):
        now, u, mark = BEGIN_MS + second * 1_000, 1_001 + second, mark_at(second)
        told = {"p": mark, "P": mark, "i": mark, "r": RATE, "T": settlement(second)}
        level = ["59990.00", f"{second + 1}.000"]
        rows = {
            "bookTicker": {"u": u, "b": "60000.00", "B": "5.000", "a": "60000.10", "A": "5.000", "T": now},
            "depth@0ms": {"e": "depthUpdate", "U": u, "u": u, "pu": u - 1, "b": [level], "a": [], "T": now},
            "trade": {"e": "trade", "t": u, "p": "60000.10", "q": "0.001", "X": "MARKET", "m": False, "T": now},
            "markPrice@1s": {"e": "markPriceUpdate", **told},
        }
        for stream, data in rows.items():
            body = compact({"stream": f"btcusdt@{stream}", "data": {"E": now, "s": "BTCUSDT", **data}})
            tape.append(Recorded(now * 1_000_000, f"btcusdt@{stream}", body))
    snapshot = {"lastUpdateId": 1_000, "bids": [["60000.00", "5.000"]], "asks": [["60000.10", "5.000"]]}
    return Plan("binance_usdm", tape, snapshot=compact(snapshot))


def bybit_market(settlement):
    """Every second a change of the book, a trade and a ticker, which says only what has changed."""
    tape, told = [], None
    for second in range(SECONDS):
        now = BEGIN_MS + second * 1_000
        sides = {"b": [["60000.00", f"{5 + second}"]], "a": [["60000.10", "5"]]}
        data = {"symbol": "BTCUSDT", "markPrice": mark_at(second)}
        if second == 0:
            data |= {"fundingRate": RATE, "indexPrice": MARK}
        if settlement(second) != told:
            told = settlement(second)
            data["nextFundingTime"] = str(told)
        trade = {"T": now, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "60000.10", "i": f"x{second}", "BT": False}
        kind = "delta" if second else "snapshot"
        rows = {
            "orderbook.50": {"type": kind, "data": {"s": "BTCUSDT", **sides, "u": 1 + second, "seq": 1}, "cts": now},
            "tickers": {"type": kind, "data": data, "cs": second},
            "publicTrade": {"type": "snapshot", "data": [trade]},
            "orderbook.1": {"type": "snapshot", "data": {"s": "BTCUSDT", **sides, "u": 1 + second, "seq": 1}},
        }
        for channel, row in rows.items():
            body = compact({"topic": f"{channel}.BTCUSDT", "ts": now, **row})
            tape.append(Recorded(now * 1_000_000, f"{channel}.BTCUSDT", body))
    return Plan("bybit_linear", tape)


MARKETS = {
    "usdm": (usdm_market, BinanceUsdmStreams, BinanceUsdm),
    "bybit": (bybit_market, lambda *urls: BybitLinearStreams(50, *urls), BybitLinear),
}


class Session:
    """A live feed and the simulated venue behind it, turned by one thread."""

    def __init__(self, folder, name, settlement):
        make, self._streams, self._decoder = MARKETS[name]
        self.plan, self._folder = make(settlement), folder

    def run(self):
        """The market up to the position, then to its end; what was paid, as the venue told it."""
        made = certificates(self._folder)
        with serve(self.plan, made.server) as server:
            server.until = len(self.plan.tape) // SECONDS * 3
            streams = self._streams(f"wss://localhost:{server.port}", f"https://localhost:{server.port}")
            self.rig = LiveRig(streams, self._decoder(), LISTING, made.ca_file)
            feed, wires = self.rig.feed, self.rig.wires
            feed.memory.feed.states["time_limit_ns"] = 600_000_000_000
            row = feed.instruments[0]
            row["value_e8"], row["min_qty_lots"], row["max_qty_lots"] = 10_000, 1, 10**9
            feed.session[0]["order_latency_ns"] = feed.session[0]["report_latency_ns"] = 1_000_000
            ledger = self._folder / "ledger.jsonl"
            self.agent = VenueAgent(wires, feed.instruments, feed.session, 10**13, ledger, ["BTCUSDT"])
            venue = SimVenue(
                wires, feed.instruments, self.turn, lambda: int(wires.clocks[CLOCK_FEED]), 1_000_000, patience=5_000
            )
            try:
                self.until(lambda: server.position == server.until and feed.memory.feed.states[0]["whole"])
                order = NewOrder(ClientId(7 << 48, 1 << 32), 0, SIDE_BUY, TYPE_MARKET, LOTS, TIF_IOC)
                state = venue.place(order)
                assert isinstance(state, Done) and state.value.cum_lots == LOTS, state
                server.until = len(self.plan.tape)
                self.until(lambda: wires.messages[0, TICK_MARK] + wires.refused[0, TICK_MARK].sum() == SECONDS)
                for _ in range(20):
                    self.turn()
                return [int(event[0]["cash_e8"]) for event in venue.events() if event[0]["kind"] == REPORT_FUNDING]
            finally:
                self.agent.close()
                self.rig.close()

    def refused(self):
        """Refused marks by reason."""
        counts = self.rig.wires.refused[0, TICK_MARK].tolist()
        return {name: count for name, count in zip(INPUT_REASONS, counts, strict=True) if count}

    def turn(self):
        """Feed, then venue; the other readers have read everything."""
        self.rig.feed.do_work()
        for ring in (self.rig.wires.ticks[0], self.rig.wires.quotes):
            ring[RING_TAIL] = ring[RING_HEAD]
        self.agent.do_work()

    def until(self, reached):
        """Turn until it is so."""
        for turn in count():
            if reached():
                return
            assert turn < 20_000, (self.rig.refused(), self.rig.feed.counts, self.rig.wires.messages)
            self.turn()


def steady(second):
    return DUE_MS if second <= 10 else DUE_MS + HOURS_8


@pytest.mark.parametrize("name", MARKETS)
def test_a_position_pays_at_the_settlement_by_the_last_mark_before(tmp_path, name):
    session = Session(tmp_path, name, steady)
    assert session.run() == [PAID_E8]
    assert not session.refused()
    assert session.rig.wires.messages[0, TICK_MARK] == SECONDS


@pytest.mark.parametrize(
    "wrong",
    [DUE_MS - 3_600_000, BEGIN_MS + 7_000, DUE_MS + 3_600_000, 1],
    ids=["an hour early", "in the middle", "an hour late", "none"],
)
@pytest.mark.parametrize("name", MARKETS)
def test_a_settlement_that_nobody_expected_is_none(tmp_path, name, wrong):
    session = Session(tmp_path, name, lambda second: wrong if second in (5, 13) else steady(second))
    assert session.run() == [PAID_E8]
    assert session.refused() == {"venue_time": 2}


def test_a_settlement_that_is_told_twice_is_believed(tmp_path):
    """Put forward from the tenth second to the sixth, and told again a second later."""
    session = Session(tmp_path, "usdm", lambda second: DUE_MS - 4_000 if second in (4, 5, 6) else steady(second))
    assert session.run() == [-int(Decimal(RATE) * Decimal(MARK) * Decimal("0.4") * 10**8), PAID_E8]
    assert session.refused() == {"venue_time": 1}

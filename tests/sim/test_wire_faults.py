"""What goes wrong between the venue and us, over real sockets: the book is the venue's, or it is stale."""

import json
import time
from collections import Counter
from decimal import Decimal

import pytest
from rig.live import LiveRig, ReaderBook
from rig.replayer import Fault, Plan, binance_tape, certificates, serve
from rig.scan import SPOT, USDM

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams

pytestmark = [pytest.mark.compiled, pytest.mark.data]
MESSAGES = 10_000
RARE = pytest.mark.stress  # the full counts of `make stress`
LEVELS = 40  # compared a side: well within the snapshot's
MARKETS = {
    "usdm": ("hftbacktest/usdm/btcusdt_20240808.gz", USDM, BinanceUsdmStreams, BinanceUsdm),
    "spot": ("hftbacktest/spot/btcusdt_20240808.gz", SPOT, BinanceSpotStreams, BinanceSpot),
}
STEP = 50  # messages
QUIET_S = 3.5  # nothing has come for so long: the tape is over


class Truth:
    """The venue's book after each update, from the capture itself."""

    def __init__(self, snapshot: bytes, tape, listing) -> None:
        self._tick, self._lot = listing.tick, listing.lot
        first = json.loads(snapshot)
        self._sides = {1: {}, -1: {}}
        self._set({"b": first["bids"], "a": first["asks"]})
        self.states = {first["lastUpdateId"]: self._top()}
        for message in tape:
            data = json.loads(message.payload)["data"] if "@depth" in message.topic else None
            if data is not None and data["u"] > first["lastUpdateId"]:
                self._set(data)
                self.states[data["u"]] = self._top()

    def _set(self, data) -> None:
        for side, key in ((1, "b"), (-1, "a")):
            for price, qty in data[key]:
                ticks, lots = int(Decimal(price) / self._tick), int(Decimal(qty) / self._lot)
                self._sides[side].pop(ticks, None)
                if lots:
                    self._sides[side][ticks] = lots

    def _top(self):
        return sorted(self._sides[1].items(), reverse=True)[:LEVELS], sorted(self._sides[-1].items())[:LEVELS]


def changes(data_dir):
    """Three messages of the futures' tape that change the book."""
    tape, _ = binance_tape([data_dir / MARKETS["usdm"][0]], MESSAGES)
    depth = [index for index, message in enumerate(tape) if "@depth" in message.topic]
    return [depth[len(depth) * part // 4] for part in (1, 2, 3)]


def run(tmp_path, data_dir, market, faults, *, speed=0.0, quiet_s=QUIET_S, hold=True, seed=1):
    """The tape through the feed. Returns (what was counted, times at which the book came and went, rig, faults).

    `hold`: the market stands still while a snapshot is on its way, so that little of it goes by a stale book.
    """
    path, listing, streams_of, decoder = MARKETS[market]
    tape, snapshot = binance_tape([data_dir / path], MESSAGES)
    truth = Truth(snapshot, tape, listing)
    made = certificates(tmp_path)
    plan = Plan(f"binance_{market}", tape, snapshot, speed=speed, faults=faults, seed=seed)
    book, looks, spells = ReaderBook(), Counter(), []
    with serve(plan, made.server) as server:
        server.until = STEP if speed == 0 else len(tape)
        address = f"localhost:{server.port}"
        streams = streams_of(ws_url=f"wss://{address}", rest_url=f"https://{address}")
        rig = LiveRig(streams, decoder(), listing, made.ca_file, 2.0)
        try:
            heard, begun = time.monotonic(), time.monotonic()
            while time.monotonic() - heard < quiet_s or not looks["taken"]:
                handled, ticks = rig.turn()
                waits = hold and rig.feed.memory.feed.states[0]["pending_messages"] > 0
                if not handled and not waits:  # step by step: what is on its way is little
                    server.until = min(server.position + STEP, len(tape))
                heard = time.monotonic() if handled else heard
                assert time.monotonic() - begun < 240, (looks, rig.refused(), rig.feed.counts)
                for tick in ticks:
                    was = book.whole
                    if book.take(tick):
                        looks["whole"] += 1
                        assert book.top(LEVELS) == truth.states[book.update], book.update
                    if was != book.whole:
                        spells.append((book.whole, book.ts_ns))
                looks["taken"] += handled
                looks["stale"] += 0 if book.whole else handled
            return looks, spells, rig, list(server.log)
        finally:
            rig.close()


@pytest.mark.parametrize("market", MARKETS)
def test_without_faults_nothing_is_refused_but_what_came_before_the_snapshot(tmp_path, data_dir, market):
    looks, spells, rig, _ = run(tmp_path, data_dir, market, ())
    assert looks["taken"] == MESSAGES and looks["whole"] > 50, (looks, rig.refused())
    assert set(rig.refused()) <= {"before_snapshot", "no_snapshot"} and not rig.feed.counts
    checks, equal = rig.wires.book_checks[0].tolist()
    print(f"{market}: {looks['whole']} books compared with the truth, {checks} with the venue's own quotes")
    assert checks == equal > 0 and len(spells) == 1


@pytest.mark.parametrize(
    "share", [pytest.param(0.0001, marks=RARE), 0.001, pytest.param(0.01, marks=RARE), pytest.param(0.1, marks=RARE)]
)
@pytest.mark.parametrize("kind", ["drop", "repeat", "reorder"])
def test_a_whole_book_is_the_venues_whatever_is_lost_repeated_or_swapped(tmp_path, data_dir, kind, share):
    one = Fault(kind, at=changes(data_dir)[1])  # by chance one of ten thousand may be none
    faults = (one,) if share * MESSAGES <= 1 else (Fault(kind, probability=share),)
    looks, _, rig, log = run(tmp_path, data_dir, "usdm", faults, hold=share < 0.1)
    assert len(log) > share * MESSAGES / 3
    assert faults != (one,) or kind != "drop" or rig.refused()["gap"] == 1, "a lost change costs the book"
    assert looks["whole"] > 0 and rig.feed.memory.feed.states[0]["whole"] in (0, 1)
    print(f"{kind} {share:.2%}: {len(log)} faults, {looks['whole']} books compared, {rig.refused()}")


@pytest.mark.parametrize("kind", ["cut", "close", "half_open"])
def test_a_connection_that_ends_leaves_no_wrong_book(tmp_path, data_dir, kind):
    faults = tuple(Fault(kind, at=at, missed=20) for at in (1_500, 4_000, 7_000))
    looks, spells, rig, log = run(tmp_path, data_dir, "usdm", faults[: 1 if kind == "half_open" else 3], quiet_s=6.0)
    assert len(log) == (1 if kind == "half_open" else 3) and looks["whole"] > 400, (looks, log)
    assert [whole for whole, _ in spells].count(False) >= len(log) - 1
    print(f"{kind}: {len(log)} ends, {looks['whole']} books compared, {rig.feed.counts}")


@pytest.mark.stress
def test_after_a_fault_the_book_is_whole_within_two_seconds(tmp_path, data_dir):
    """At the market's own pace: three diffs of ten thousand messages are lost."""
    faults = tuple(Fault("drop", at=at) for at in changes(data_dir))
    looks, spells, rig, log = run(tmp_path, data_dir, "usdm", faults, speed=1.0, hold=False)
    assert len(log) == 3 and rig.refused()["gap"] == 3
    lost = [ts for whole, ts in spells if not whole]
    found = [next(ts for whole, ts in spells if whole and ts > at) for at in lost]
    away = [(back - at) / 1e9 for at, back in zip(lost, found, strict=True)]
    print(f"away for {away} s, {looks['stale']} of {looks['taken']} messages met a stale book")
    assert len(away) == 3 and max(away) <= 2.0
    begun = spells[0][1]  # before that nobody could have a book
    assert begun and looks["stale"] <= 0.05 * looks["taken"]

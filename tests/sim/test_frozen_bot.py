"""A whole bot on a market that freezes: stale by the instrument's limit, no entry after, resting entries taken back,
and whole again only by a snapshot. Fed by hand, so event time is the test's and every moment can be looked at.
"""

import numpy as np
import pytest
from rig.hand import MS
from sim.test_bad_data_everywhere import Trial

from bot4.model.enums import LEG_ENTRY, STATUS_CLEAR, STATUS_STALE, STATUS_WHOLE, TICK_STATUS
from bot4.shm.layout import RING_HEAD

pytestmark = pytest.mark.compiled
VENUES = ("binance_usdm", "bybit_linear", "kraken", "coinbase")
LIMIT_MS = 1_000  # of the instrument
WITHDRAWN_MS = 500  # after the book went stale no entry rests any more
KINDS = ("nothing", "constant", "one stream dead", "heartbeat only")
HEARTBEATS = {
    "binance": b'{"result":null,"id":7}',
    "bybit": b'{"success":true,"ret_msg":"pong","conn_id":"1","req_id":"","op":"ping"}',
    "kraken": b'{"channel":"heartbeat"}',
    "coinbase": b"",
}


class Frozen(Trial):
    """A bot that rests entries in the book, and a market that can freeze."""

    resting = True

    def __init__(self, folder, venue, seed):
        super().__init__(folder, venue, seed)
        self.has_ids = venue.startswith(("binance", "bybit"))  # a repeat is known as one
        self.quotes_die = seed % 2 == 1  # of two streams

    def heartbeat(self):
        """A sign of life that says nothing of the market."""
        if self.venue == "coinbase":
            event = {"current_time": self.market.when(), "heartbeat_counter": 1}
            return self.market._said("heartbeats", event)
        return HEARTBEATS[self.venue.partition("_")[0]]

    def still(self, how, step):
        """What still comes in this step of 20 ms."""
        market, source = self.market, self.source
        if how == "heartbeat only" and step % 10 == 0:
            self.bot.put(self.heartbeat())
        if how == "constant" and step % 3 == 0:  # the last messages, again and again
            again = (self.last["quote"], self.last["depth"]) if self.has_ids else (market.quote(),)
            self.bot.put(*again)
        if how == "one stream dead" and step % 2 == 0:
            dead = "quote" if self.venue.startswith("binance") and self.quotes_die else "depth"
            alive = [about for about in ("depth", "quote", "trade") if about != dead]
            self.bot.put(market.next(source.choice(alive)).body)

    def entries(self):
        """ORDER_INTENT[n]: what went to the venue to open a position."""
        sent = self.orders()
        return sent[sent["leg"] == LEG_ENTRY]

    def states(self, begin):
        """What was told of the book since."""
        ticks = self.published(begin)
        return ticks[ticks["kind"] == TICK_STATUS]

    def rests(self):
        """Entries that may still trade."""
        orders = self.bot.execution.memory.orders
        return int(np.count_nonzero((orders["base"] != 0) & (orders["leg"] == LEG_ENTRY) & (orders["done"] == 0)))


def freeze(folder, venue, how, seed):
    """One market that freezes; what was seen: ms until stale, ms until nothing rested, entries that rested."""
    trial = Frozen(folder, venue, seed)
    bot = trial.bot
    bot.feed.silence_ns[:] = LIMIT_MS * MS
    for _ in range(400 + trial.source.randrange(200)):
        trial.good()
    for _ in range(200):
        if trial.rests():
            break
        trial.good()
    trial.good("quote")
    trial.good("depth")
    assert bot.whole
    rested, begin, frozen_ns = trial.rests(), int(bot.wires.market[RING_HEAD]), bot.event_ns
    stale_ns = alone_ns = 0
    entries = len(trial.entries())
    for step in range(200):  # four seconds
        bot.clock.ns += 20 * MS
        trial.still(how, step)
        bot.turn()
        states = trial.states(begin)
        if not stale_ns and STATUS_STALE in states["w0"]:
            stale_ns = int(states["ts_recv_ns"][states["w0"] == STATUS_STALE][0])
            entries = len(trial.entries())
        if stale_ns and not alone_ns and not trial.rests():
            alone_ns = bot.event_ns
    assert stale_ns, (venue, how, seed, bot.told(), bot.reasons())
    waited_ms = (stale_ns - frozen_ns) / MS
    assert waited_ms <= LIMIT_MS + 2 * 20, (venue, how, waited_ms)
    assert trial.rests() == 0 and alone_ns and alone_ns - stale_ns <= WITHDRAWN_MS * MS, (
        venue,
        how,
        rested,
        (alone_ns - stale_ns) / MS,
    )
    healed(trial, begin, stale_ns, entries, how)
    trial.close()
    return waited_ms, (alone_ns - stale_ns) / MS, rested


def healed(trial, begin, stale_ns, entries, how):
    """No entry from the moment when it was stale to the snapshot; then the market goes on and is traded again."""
    bot = trial.bot
    states = trial.states(begin)
    told = states["w0"].tolist()
    if STATUS_WHOLE not in told:
        assert len(trial.entries()) == entries, "an entry into a market that stands still"
    bot.fetcher.answer = trial.market.whole
    bot.pool.greet = lambda: bot.put(trial.market.whole()) if trial.in_stream else None
    for _ in range(1_000):  # half a minute
        trial.good()
        if bot.whole:
            break
        bot.clock.ns += 30 * MS
    for number in range(12_000):  # longer than closes that found no market keep the breaker open
        trial.good()
        if number >= 300 and number % 100 == 0 and trial.entries()["ts_ns"][-1] > stale_ns:
            break
    assert bot.whole
    states = trial.states(begin)
    told = states["w0"].tolist()
    assert all(told[at - 1] == STATUS_CLEAR for at, state in enumerate(told) if state == STATUS_WHOLE)
    whole_ns = int(states["ts_recv_ns"][states["w0"] == STATUS_WHOLE][0])
    opened = trial.entries()
    assert not np.count_nonzero((opened["ts_ns"] > stale_ns) & (opened["ts_ns"] < whole_ns))
    assert np.count_nonzero(opened["ts_ns"] >= whole_ns) >= 1, "it is traded again"


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("venue", VENUES)
def test_a_frozen_market_is_stale_in_time_and_nothing_of_ours_opens_in_it(tmp_path, venue, how):
    waited, withdrawn, rested = freeze(tmp_path, venue, how, 1)
    print(f"{venue}: {how}: stale after {waited:.0f} ms, {rested} entries taken back within {withdrawn:.0f} ms")


@pytest.mark.stress
@pytest.mark.parametrize("how", KINDS)
def test_two_hundred_frozen_markets_of_each_kind(tmp_path, how):
    found = [freeze(tmp_path / str(seed), VENUES[seed % len(VENUES)], how, seed) for seed in range(200)]
    waited, withdrawn, rested = zip(*found, strict=True)
    print(f"{how}: 200 times stale after {min(waited):.0f} to {max(waited):.0f} ms; {sum(rested)} entries rested,")
    print(f"  the last of them taken back {max(withdrawn):.0f} ms later")
    assert sum(rested) >= 80

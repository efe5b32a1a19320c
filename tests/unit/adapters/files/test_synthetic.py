"""The synthetic market: the same seed gives the same bytes, its messages are those of a spot venue without a fault."""

import hashlib

import numpy as np
import pytest
from rig.feed import instruments_of
from rig.scan import SPOT

from bot4.adapters.files.synthetic import MAX_SECONDS, SyntheticSource, synthetic_sources
from bot4.engine.feed import FeedAgent
from bot4.jit import JIT
from bot4.model.enums import FLAG_SYNTHETIC, TICK_LEVEL, TICK_QUOTE, TICK_TRADE
from bot4.model.errors import InputError
from bot4.model.records import SESSION, TICK, words
from bot4.shm.layout import CONTROL_FEED_DONE
from bot4.shm.spsc_ring import consume, peek_tick
from bot4.shm.wires import private_wires

SECONDS = 60 if JIT else 2
SYMBOLS = ["SYNBTC", "SYNETH", "SYNSOL"]
LISTINGS = [SPOT._replace(symbol=symbol, lot=SPOT.lot * 10**place) for place, symbol in enumerate(SYMBOLS)]
# of two seconds of seed 1, compiled or not, on any machine
DIGESTS = {"SYNBTC": "906f64dbe5b257ed", "SYNETH": "ce6e9d7a12656871", "SYNSOL": "c34677637b16327b"}


def text_of(source, size=1 << 16):
    buffer, found = np.zeros(size, np.uint8), b""
    while count := source.read_into(buffer):
        found += buffer[:count].tobytes()
    return found


def sources(seed=1, seconds=SECONDS):
    return synthetic_sources(SYMBOLS, instruments_of(LISTINGS), seed, seconds)


def test_the_same_seed_gives_the_same_bytes_whatever_is_read_at_once():
    for first, second in zip(sources(seconds=2), sources(seconds=2), strict=True):
        assert text_of(first, 1_000) == text_of(second, 1 << 20)


def test_seed_and_symbol_make_different_markets():
    texts = [text_of(source)[:20_000] for seed in (0, 1, 2) for source in sources(seed, 2)]
    assert len(set(texts)) == 9


def test_a_longer_market_begins_as_a_shorter_one():
    short, long = text_of(sources(seconds=1)[0]), text_of(sources(seconds=2)[0])
    assert long.startswith(short) and len(long) > 1.5 * len(short)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_bytes_are_the_same_everywhere(symbol):
    source = sources(seconds=2)[SYMBOLS.index(symbol)]
    assert hashlib.sha256(text_of(source)).hexdigest()[:16] == DIGESTS[symbol]


def test_through_the_feed_nothing_is_refused_and_every_book_is_equal():
    instruments, session = instruments_of(LISTINGS), np.zeros(1, SESSION)
    session[0]["n_shards"], session[0]["n_instruments"] = 1, 3
    wires = private_wires(1, 3)
    agent = FeedAgent(wires, instruments, session, sources(), True)
    ticks, scratch = [], np.zeros(1, TICK)
    while not wires.control[CONTROL_FEED_DONE]:
        agent.do_work()
        for ring in (wires.ticks[0], wires.market, wires.quotes):
            while peek_tick(ring, words(scratch), np.int64(0)):
                if ring is wires.market:
                    ticks.append(scratch.copy())
                consume(ring)
    assert wires.refused.sum() == 0
    assert (wires.book_checks[:, 0] == wires.book_checks[:, 1]).all() and (wires.book_checks[:, 0] > SECONDS).all()
    records = np.concatenate(ticks)
    assert (records["flags"] & FLAG_SYNTHETIC).all()
    assert (np.diff(records["ts_recv_ns"]) >= 0).all()
    for index in range(3):
        own = records[records["instrument"] == index]
        for kind, least in ((TICK_QUOTE, 15), (TICK_TRADE, 8), (TICK_LEVEL, 30)):
            assert (own["kind"] == kind).sum() > least * SECONDS
        quotes = own[own["kind"] == TICK_QUOTE]
        spread = (quotes["w2"] - quotes["w0"]) / quotes["w0"]
        assert (spread > 0).all() and np.median(spread) < 0.0005
        sides = own[own["kind"] == TICK_TRADE]["w3"]
        assert (sides == 1).any() and (sides == -1).any()
        assert quotes["w0"].max() > quotes["w0"].min()


@pytest.mark.parametrize(
    ("seed", "seconds", "words_"), [(-1, 10, "seed"), (1, 0, "seconds"), (1, MAX_SECONDS + 1, "seconds")]
)
def test_bad_seed_and_length(seed, seconds, words_):
    with pytest.raises(InputError, match=words_):
        SyntheticSource("SYNBTC", instruments_of(LISTINGS)[0], seed, seconds)


def test_a_symbol_of_the_users_own_and_one_that_is_too_long():
    instrument = instruments_of([SPOT._replace(symbol="SYNXYZ")])[0]
    text = text_of(SyntheticSource("SYNXYZ", instrument, 1, 1))
    assert text.count(b"synxyz@") > 10
    with pytest.raises(InputError, match="too long"):
        SyntheticSource("X" * 200, instrument, 1, 1)

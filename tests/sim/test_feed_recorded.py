"""All recorded captures of Binance through the feed: every message accounted for, every comparable book equal.

The independent count reads the files with json and a dictionary as book; it shares nothing with the feed.
"""

import gzip
import json
from collections import Counter

import numpy as np
import pytest
from reference.engine.feed import ref_feed
from rig.feed import FeedRig
from rig.scan import SPOT, USDM

from bot4.adapters.files.capture import open_chains
from bot4.model.enums import FLAG_LAST, INT64_MAX, STATUS_WHOLE, TICK_QUOTE, TICK_STATUS
from bot4.shm.layout import CLOCK_FEED
from bot4.shm.wires import FEED_ROW, GAUGE_FEED_MESSAGES, GAUGE_FEED_TICKS

pytestmark = [pytest.mark.data, pytest.mark.compiled]

CATALOGUE = [("BTCUSDT", "binance_spot"), ("ETHUSDT", "binance_spot"), ("BTCUSDT", "binance_usdm")]
KINDS = {"bookTicker": "quote", "trade": "trade", "depth": "depth", "markPrice": "mark"}
# files of a chain; messages refused and why; best quotes whose update id is that of a depth message, and the levels
CHAINS = {
    "usdm 2024": (["usdm/btcusdt_20240808.gz"], {("depth", "before_snapshot"): 4}, 629, 445_262),
    "usdm 2023": (
        ["usdm/btcusdt_20230404.dat.gz", "usdm/btcusdt_20230405.dat.gz"],
        {("trade", "non_market_trade"): 1},
        1_565,
        324_682,
    ),
    "spot BTC": (
        ["spot/btcusdt_20240808.gz", "spot/btcusdt_20240809.gz"],
        {("depth", "before_snapshot"): 2},
        1_072,
        300_094,
    ),
    "spot ETH": (["spot/ethusdt_20240808.gz"], {("depth", "before_snapshot"): 2}, 577, 108_802),
    "without snapshot": (["spot/btcusdt_20240809.gz"], {("depth", "no_snapshot"): 3_044}, 0, 0),
}


def text_of(folder, names):
    return b"".join(gzip.decompress((folder / "hftbacktest" / name).read_bytes()) for name in names)


def listing_of(names):
    listing = USDM if names[0].startswith("usdm") else SPOT
    return listing._replace(symbol="ETHUSDT", lot=listing.lot * 10) if "eth" in names[0] else listing


def count(text):
    """Messages of each kind, by json."""
    found = Counter()
    for line in text.splitlines():
        message = json.loads(line.split(b" ", 1)[1])
        found[KINDS[message["stream"].split("@")[1]] if "stream" in message else "depth"] += 1
    return found


@pytest.mark.parametrize("chain", CHAINS)
def test_every_message_is_accounted_for_and_every_comparable_book_equal(data_dir, chain):
    names, refused, compared, levels = CHAINS[chain]
    text = text_of(data_dir, names)
    rig = FeedRig([text], [listing_of(names)]).run()
    counts = rig.counts()
    by_kind = Counter()
    for (kind, _), number in counts.items():
        by_kind[kind] += number
    assert by_kind == count(text)
    assert {key: number for key, number in counts.items() if key[1] != "ok"} == refused
    assert rig.wires.book_checks[0].tolist() == [compared, compared]
    assert rig.wires.levels[0] == levels
    gauges = rig.wires.gauges[1 + FEED_ROW]
    assert gauges[GAUGE_FEED_MESSAGES] == text.count(b"\n")
    assert gauges[GAUGE_FEED_TICKS] == len(rig.taken["market"]) == len(rig.taken["shard-0"])
    assert rig.wires.clocks[CLOCK_FEED] == INT64_MAX
    whole = [
        record.words[0] for record in rig.records("quotes") if record.kind == TICK_STATUS and record.flags & FLAG_LAST
    ]
    assert whole == ([STATUS_WHOLE] if compared else [])


@pytest.mark.parametrize("chain", ["usdm 2023", "spot ETH"])
def test_the_first_messages_equal_the_twin_record_by_record(data_dir, chain):
    names = CHAINS[chain][0]
    text = b"".join(text_of(data_dir, names[:1]).splitlines(keepends=True)[:4_000])
    listing = listing_of(names)
    rig = FeedRig([text], [listing]).run()
    records, (twin,) = ref_feed([text], [listing])
    assert rig.records() == records
    assert rig.counts() == +twin.counts
    assert rig.wires.book_checks[0].tolist() == twin.checks


def test_a_receive_clock_behind_the_venue_is_good_input(data_dir):
    rig = FeedRig([text_of(data_dir, ["usdm/btcusdt_20240808.gz"])], [USDM]).run()
    lags = np.array([tick["venue_lag_us"][0] for tick in rig.taken["quotes"] if tick["kind"][0] == TICK_QUOTE])
    assert 1_150_000 < lags.min() and lags.max() < 1_400_000


def test_chains_of_several_instruments_are_merged_by_receive_time(data_dir):
    names = [
        "spot/btcusdt_20240809.gz",
        "usdm/btcusdt_20240808.gz",
        "spot/btcusdt_20240808.gz",
        "spot/ethusdt_20240808.gz",
    ]
    sources = open_chains([data_dir / "hftbacktest" / name for name in names], CATALOGUE)
    assert [(source.symbol, source.venue) for source in sources] == [
        ("BTCUSDT", "binance_spot"),
        ("BTCUSDT", "binance_usdm"),
        ("ETHUSDT", "binance_spot"),
    ]
    assert [path.name for path in sources[0].paths] == ["btcusdt_20240808.gz", "btcusdt_20240809.gz"]
    listings = [SPOT, USDM, listing_of(["spot/ethusdt"])]
    rig = FeedRig([b""] * 3, listings, n_shards=2)
    rig.agent.sources = sources
    rig.run()
    times = np.array([tick["ts_recv_ns"][0] for tick in rig.taken["market"]])
    assert (np.diff(times) >= 0).all()
    for index, chain in enumerate(("spot BTC", "usdm 2024", "spot ETH")):
        assert rig.wires.book_checks[index].tolist() == [CHAINS[chain][2]] * 2
        numbers = [tick["event_no"][0] for tick in rig.taken["market"] if tick["instrument"][0] == index]
        assert numbers == list(range(1, len(numbers) + 1))

"""Binance's scanner against the typed decoder: recorded messages, and thousands of damaged ones.

Not all is judged by the scanner. The stream alone tells the type, so an event's name is not read; an index of zero is
none; whether ids of a change are in order, and whether a time can be true, is for the feed to say.
"""

import gzip
import random
import re
from collections import Counter

import pytest
from rig.typed import LEFT, Pair, Venue, listing_of, mutated

from bot4.adapters.binance.parse import BinanceSpot, BinanceUsdm
from bot4.jit import JIT
from bot4.kernels.scan.binance import scan_binance
from bot4.kernels.scan.scanned import RULE_FUTURES, RULE_SPOT

MUTATIONS = 30_000 if JIT else 200
LINES = 5_000 if JIT else 300
MARKETS = {
    "spot": ("spot/btcusdt_20240808.gz", BinanceSpot, RULE_SPOT, ("BTCUSDT", "0.01", "0.00001")),
    "usdm": ("usdm/btcusdt_20230405.dat.gz", BinanceUsdm, RULE_FUTURES, ("BTCUSDT", "0.10", "0.001")),
}
LATER = ("bad_field: e:", "bad_field: U:", "bad_field: pu:", "zero: i:")
NUMBERS = re.compile(rb'"-?0[0-9]{2}|-0[^0-9.]|[0-9]{19}')  # zeros as digits, a zero below zero, ids of 19 digits
LATE = re.compile(rb'"[ET]"\s*:\s*[0-9]{14}')  # ms to the scanner, us to the typed decoder


def binance(market):
    _, decoder, rule, sizes = MARKETS[market]
    return Pair(Venue(scan_binance, decoder(), listing_of(rule, *sizes), lambda _: False, (), LATER, NUMBERS))


def bodies(data_dir, market):
    with gzip.open(data_dir / "hftbacktest" / MARKETS[market][0]) as file:
        lines = [line.split(b" ", 1)[1].strip() for _, line in zip(range(LINES), file, strict=False)]
    return [line for line in lines if line.startswith(b'{"stream"')]  # the snapshot of REST is no message of these


@pytest.mark.data
@pytest.mark.parametrize("market", MARKETS)
def test_every_recorded_message_is_taken_and_equal(data_dir, market):
    pair, counts = binance(market), Counter()
    for body in bodies(data_dir, market):
        counts[pair.compare(body)] += 1
    total = sum(counts.values())
    print(f"{market}: {counts[0]} of {total} messages taken by the scanner")
    assert total > LINES * 9 // 10 and counts[0] > 0.99 * total, counts


@pytest.mark.data
@pytest.mark.parametrize("market", MARKETS)
def test_damaged_messages_are_refused_or_equal(data_dir, market):
    pair, source, counts = binance(market), random.Random(10), Counter()
    lines = [body for body in bodies(data_dir, market) if len(body) < 3_000]
    for _ in range(MUTATIONS):
        body = mutated(source.choice(lines), source, lines)
        if LATE.search(body):
            continue
        reason = pair.compare(body)
        counts["left" if reason in LEFT else "bad number" if reason else "taken"] += 1
    print(market, dict(counts))
    assert min(counts["left"], counts["taken"]) > MUTATIONS // 100 and counts["bad number"] > 0

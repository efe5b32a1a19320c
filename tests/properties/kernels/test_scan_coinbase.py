"""Coinbase's scanner against the typed decoder: every message of the capture, and thousands of damaged ones."""

import random
from collections import Counter

import numpy as np
import pytest
from rig.typed import LEFT, Pair, Venue, listing_of, mutated

from bot4.adapters.coinbase.parse import CoinbaseAdvanced
from bot4.adapters.files.raw import find_captures
from bot4.jit import JIT
from bot4.kernels.scan.coinbase import scan_coinbase
from bot4.kernels.scan.scanned import MAX_LEVELS, RULE_CONNECTION

MUTATIONS = 30_000 if JIT else 200
CAPTURE = "cryptofeed/2026-08-09_COINBASE_first60pct.jsonl.gz"
FIXTURES = "nautilus_trader/adapter_fixtures/coinbase"


def coinbase():
    sizes = [("BTC-USD", "0.01", "0.00000001"), ("ETH-USD", "0.01", "0.00000001")]
    rows = [listing_of(RULE_CONNECTION, *row) for row in sizes]
    bars = (b'{"channel":"candles"',)
    return Pair(Venue(scan_coinbase, CoinbaseAdvanced(), np.concatenate(rows), lambda _: False, bars))


def bodies(data_dir):
    for capture in find_captures([data_dir / CAPTURE]):
        yield from (message.body.strip() for message in capture.messages() if not message.rest)


def fixtures(data_dir):
    return [path.read_bytes().replace(b"\n", b" ").strip() for path in sorted((data_dir / FIXTURES).glob("ws_*.json"))]


@pytest.mark.data
def test_every_recorded_message_is_taken_and_equal(data_dir):
    pair, counts, longest = coinbase(), Counter(), 0
    for body in bodies(data_dir):
        if not JIT and len(body) > 100_000:
            continue
        longest = max(longest, len(body))
        counts[pair.compare(body)] += 1
    total = sum(counts.values())
    print(f"coinbase: {counts[0]} of {total} messages taken by the scanner, the longest of {longest:,} bytes")
    assert total > 500 and counts[0] == total, counts


@pytest.mark.data
def test_the_forms_of_the_documentation(data_dir):
    pair = coinbase()
    assert [pair.compare(body) for body in fixtures(data_dir)] == [0] * 5


@pytest.mark.data
def test_damaged_messages_are_refused_or_equal(data_dir):
    pair, source, counts = coinbase(), random.Random(8), Counter()
    lines = [body for body in [*bodies(data_dir), *fixtures(data_dir)] if len(body) < 3_000]
    for _ in range(MUTATIONS):
        reason = pair.compare(mutated(source.choice(lines), source, lines))
        counts["left" if reason in LEFT else "bad number" if reason else "taken"] += 1
    print(dict(counts))
    assert min(counts["left"], counts["taken"]) > MUTATIONS // 100 and counts["bad number"] > 0


def book(kind, bids, asks, deepest="1"):
    time = '"event_time":"2026-08-09T21:05:48.170326Z"'
    levels = [f'{{"side":"bid",{time},"price_level":"{price}","new_quantity":"1"}}' for price in bids]
    levels += [f'{{"side":"offer",{time},"price_level":"{price}","new_quantity":"1"}}' for price in asks]
    levels[-1] = levels[-1].replace('"new_quantity":"1"', f'"new_quantity":"{deepest}"')
    event = f'{{"type":"{kind}","product_id":"BTC-USD","updates":[{",".join(levels)}]}}'
    head = '{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.4Z","sequence_num":1,"events":['
    return f"{head}{event}]}}".encode()


@pytest.mark.compiled
@pytest.mark.parametrize("over", [-1, 0, 1, 1_000])
def test_a_whole_book_is_cut_at_its_far_end_alone(over):
    count = MAX_LEVELS + over
    bids, asks = range(20_000, 20_000 - count, -1), range(20_001, 20_001 + count)
    pair = coinbase()
    good = [pair.compare(book("snapshot", bids, asks)), pair.compare(book("snapshot", asks, bids))]
    assert good == [0, 0 if over <= 0 else 17]
    assert pair.compare(book("update", bids, asks)) == (0 if over <= 0 else 17)


@pytest.mark.compiled
@pytest.mark.parametrize(("over", "reason"), [(0, 18), (1, 0)])
def test_what_lies_too_deep_may_hold_any_quantity_that_is_one(over, reason):
    count = MAX_LEVELS + over
    pair, bids, asks = coinbase(), range(20_000, 20_000 - count, -1), range(20_001, 20_001 + count)
    assert pair.compare(book("snapshot", bids, asks, "12345678901")) == reason
    assert pair.compare(book("snapshot", bids, asks, "-1")) == 5

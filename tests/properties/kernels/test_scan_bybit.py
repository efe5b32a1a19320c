"""Bybit's scanner against the typed decoder: every message of the captures, and thousands of damaged ones."""

import random
from collections import Counter

import numpy as np
import pytest
from rig.typed import LEFT, Pair, Venue, listing_of, mutated

from bot4.adapters.bybit.parse import BybitLinear, BybitSpot
from bot4.adapters.files.raw import find_captures
from bot4.jit import JIT
from bot4.kernels.scan.bybit import scan_bybit
from bot4.kernels.scan.scanned import RULE_STREAM
from bot4.ports.feed import Quote

MUTATIONS = 30_000 if JIT else 200
SIZES = {
    "bybit_linear": {"BTCUSDT": ("0.10", "0.001"), "ETHUSDT": ("0.01", "0.01"), "SOLUSDT": ("0.010", "0.1"),
                     "DOGEUSDT": ("0.00001", "1"), "BANDUSDT": ("0.0001", "0.1"), "RADUSDT": ("0.0001", "0.1"),
                     "SNTUSDT": ("0.00001", "10"), "AIOZUSDT": ("0.0001", "1")},
    "bybit_spot": {"OPUSDC": ("0.001", "0.01"), "TUSDUSDT": ("0.0001", "0.01"), "KCSUSDT": ("0.001", "0.01"),
                   "CPOOLUSDT": ("0.00001", "0.01"), "ARBUSDC": ("0.0001", "0.01"), "MASAUSDT": ("0.00001", "0.01")},
}  # fmt: skip
DECODERS = {"bybit_linear": BybitLinear, "bybit_spot": BybitSpot}
CAPTURES = ("2026-08-09_BYBIT_first60pct.jsonl.gz", "2025-06-13_BYBIT_V5")


def pair_of(venue):
    rows = [listing_of(RULE_STREAM, name, *sizes) for name, sizes in SIZES[venue].items()]
    quotes_of_tickers = lambda event: isinstance(event, Quote) and event.update_id is None  # noqa: E731
    return Pair(Venue(scan_bybit, DECODERS[venue](), np.concatenate(rows), quotes_of_tickers, (b'{"topic":"kline.',)))


def bodies(data_dir, venue):
    for capture in find_captures([data_dir / "cryptofeed" / name for name in CAPTURES]):
        for message in capture.messages():
            if not message.rest and message.venue == venue:
                yield message.body.strip()


@pytest.mark.data
@pytest.mark.parametrize("venue", SIZES)
def test_every_recorded_message_is_taken_and_equal(data_dir, venue):
    pair, counts = pair_of(venue), Counter()
    for body in bodies(data_dir, venue):
        counts[pair.compare(body)] += 1
    total = sum(counts.values())
    print(f"{venue}: {counts[0]} of {total} messages taken by the scanner")
    assert total > 100 and counts[0] > 0.99 * total, counts


@pytest.mark.data
@pytest.mark.parametrize("venue", SIZES)
def test_damaged_messages_are_refused_or_equal(data_dir, venue):
    pair, source, counts = pair_of(venue), random.Random(7), Counter()
    lines = [body for body in bodies(data_dir, venue) if len(body) < 3_000]
    for _ in range(MUTATIONS):
        reason = pair.compare(mutated(source.choice(lines), source, lines))
        counts["left" if reason in LEFT else "bad number" if reason else "taken"] += 1
    print(venue, dict(counts))
    assert min(counts["left"], counts["taken"]) > MUTATIONS // 100 and counts["bad number"] > 0


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"success":true,"ret_msg":"","op":"subscribe"}', False),
        (b'{"success":false,"ret_msg":"no","op":"subscribe"}', True),
        (b'{"op":"subscribe"}', True),
        (b'{"op":"pong","args":["1"]}', False),
        (b'{"success":true,"op":"auth"}', True),
    ],
)
def test_a_refused_subscription_is_left_to_the_typed_decoder(body, left):
    pair = pair_of("bybit_linear")
    assert (pair.compare(body) in LEFT) == left
    assert pair.scan(body)[2] == []


def test_a_topic_that_is_written_otherwise_is_left_to_the_typed_decoder():
    rest = '"type":"delta","ts":1,"data":{"symbol":"BTCUSDT","topic":"tickers.ETHUSDT","markPrice":"1"}}'
    pair = pair_of("bybit_linear")
    assert pair.compare(f'{{"topic":"tickers.BTCUSDT",{rest}'.encode()) == 0
    assert pair.compare(f'{{"topic": "tickers.BTCUSDT",{rest}'.encode()) in LEFT

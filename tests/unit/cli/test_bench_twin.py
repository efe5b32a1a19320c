"""The C++ twin of the shard step computes what it is timed for: byte by byte what Python computes."""

import numpy as np
import pytest

from bot4.cli.measure import cpp
from bot4.cli.measure.market import Market, market, shard_of
from bot4.cli.measure.step import run_twin
from bot4.engine.shard_loop import step_batch
from bot4.model.enums import FLAG_QUOTE_NEWER, FLAG_SNAPSHOT, TICK_LEVEL, TICK_QUOTE
from bot4.model.records import ORDER_INTENT

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(not cpp.available("step"), reason="the twin needs g++"),
]
CENTRE = 6_000_000  # of the bench's market
REACH = 300  # levels a side: blocks of the book are split


def timed() -> Market:
    """The market of the case `order_32`, shorter."""
    return market(32, 5_000, 1.0, True)


def quoted() -> Market:
    """That of `mixed_32`."""
    return market(32, 5_000, 0.3, False)


def deep() -> Market:
    """Time bars, resting entries, levels of the book that come and go and count, and one record missing."""
    prepared = market(4, 12_000, 0.3, False)
    prepared.params["bar_ns"], prepared.params["entry_style"], prepared.params["imbalance_levels"] = 10_000_000, 1, 5
    ticks = prepared.ticks
    rng = np.random.default_rng(7)
    quotes = np.flatnonzero((ticks["kind"] == TICK_QUOTE) & (ticks["flags"] & FLAG_SNAPSHOT == 0))
    changed = rng.permutation(quotes)[: len(quotes) // 2]
    sides = rng.choice((1, -1), len(changed))
    ticks["kind"][changed] = TICK_LEVEL
    ticks["flags"][changed] |= rng.choice((0, FLAG_QUOTE_NEWER), len(changed)).astype(np.uint8)
    ticks["w0"][changed] = CENTRE - sides * rng.integers(1, REACH, len(changed))
    ticks["w1"][changed] = rng.integers(0, 900, len(changed)) * rng.choice((0, 1, 1), len(changed))
    ticks["w2"][changed] = sides
    lost = np.flatnonzero(ticks["instrument"] == 0)[-500]
    return prepared._replace(ticks=np.delete(ticks, lost))


def counted(kind: int, size: int) -> Market:
    """Bars that trades, lots or turnover fill."""
    prepared = market(4, 12_000, 0.5, False)
    prepared.params["bar_kind"], prepared.params["bar_size"] = kind, size
    return prepared


def computed(prepared: Market) -> tuple[np.ndarray, ...]:
    """The intents of Python's steps after the warm-up, and the records of all instruments at the end."""
    shard = shard_of(prepared)
    arguments = (prepared.instruments, prepared.limits, prepared.session, prepared.ticks)
    step_batch(shard, *arguments, 0, prepared.warm)
    steps = range(prepared.warm, len(prepared.ticks))
    intents = [shard.intent[0].copy() for at in steps if step_batch(shard, *arguments, at, 1)]
    return np.array(intents, ORDER_INTENT), shard.states, shard.views, shard.risks, shard.strategies


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> cpp.Twin:
    return cpp.Twin("step", tmp_path_factory.mktemp("twin"))


MADE = {
    "timed": timed,
    "quoted": quoted,
    "deep": deep,
    "ticks": lambda: counted(1, 2),
    "lots": lambda: counted(2, 700),
    "turnover": lambda: counted(3, 700 * CENTRE * 100 + 1),
}


@pytest.mark.parametrize("case", MADE)
def test_the_twin_computes_what_python_computes(twin, case):
    prepared = MADE[case]()
    ours = computed(prepared)
    theirs, at = run_twin(twin, prepared, 0), 0
    for records in ours:
        words = records.nbytes // 8
        np.testing.assert_array_equal(theirs[at : at + words].view(records.dtype), records)
        at += words
    assert at == len(theirs)
    assert len(np.unique(ours[0]["side"])) == 2 and len(ours[0]) > 500


def test_the_twin_is_timed_on_orders_alone(twin):
    stamps = run_twin(twin, timed(), 1_000)
    assert len(stamps) == 5 + 1 and (np.diff(stamps) > 0).all()

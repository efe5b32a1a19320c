"""The shard on a recorded market: compiled and interpreted, it decides the same to the last bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rig.shard_replay import ETH_SPOT, replay
from rig.tables import session

from bot4.adapters.files.capture import open_chains
from bot4.engine.feed import FeedAgent
from bot4.model.enums import INT64_MAX
from bot4.model.records import TICK, words
from bot4.shm.layout import CLOCK_FEED
from bot4.shm.spsc_ring import consume, peek_tick
from bot4.shm.wires import private_wires

TESTS = Path(__file__).resolve().parents[1]
N_TICKS = 24_000


@pytest.fixture(scope="module")
def ticks(data_dir):
    """What the feed makes of the first part of the ETH spot capture."""
    path = data_dir / "hftbacktest" / "spot" / "ethusdt_20240808.gz"
    wires = private_wires(1, 1)
    feed = FeedAgent(wires, ETH_SPOT, session(), open_chains([path], {("ETHUSDT", "binance_spot")}), True)
    out = np.zeros(N_TICKS, TICK)
    count = 0
    while count < N_TICKS and wires.clocks[CLOCK_FEED] < INT64_MAX:
        feed.do_work()
        while count < N_TICKS and peek_tick(wires.ticks[0], words(out), 8 * count):
            consume(wires.ticks[0])
            count += 1
        for ring in (wires.market, wires.quotes):
            while peek_tick(ring, np.zeros(8, np.int64), 0):
                consume(ring)
    return out[:count]


@pytest.mark.data
@pytest.mark.compiled
def test_interpreted_and_compiled_decide_alike(ticks, tmp_path):
    compiled = replay(ticks)
    assert len(compiled) >= 20 and {-1, 1} == set(compiled["side"].tolist())
    np.save(tmp_path / "ticks.npy", ticks)
    command = [sys.executable, "-m", "rig.shard_replay", str(tmp_path / "ticks.npy"), str(tmp_path / "intents.npy")]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(TESTS)}
    subprocess.run(command, check=True, env=environment, cwd=TESTS, timeout=500)
    assert np.load(tmp_path / "intents.npy").tobytes() == compiled.tobytes()


@pytest.mark.data
@pytest.mark.compiled
def test_the_same_ticks_give_the_same_intents(ticks):
    assert replay(ticks).tobytes() == replay(ticks).tobytes()

"""A market that has stopped without anybody saying so: stale by the instrument's limit, whole only by a snapshot."""

import time

import pytest
from rig.live import LiveRig
from rig.replayer import Plan, binance_tape, certificates, serve
from rig.scan import USDM

from bot4.adapters.binance.parse import BinanceUsdm
from bot4.adapters.binance.streams import BinanceUsdmStreams
from bot4.model.enums import (
    STATUS_CLEAR,
    STATUS_STALE,
    STATUS_WHOLE,
    TICK_LEVEL,
    TICK_QUOTE,
    TICK_STATUS,
)

pytestmark = [pytest.mark.compiled, pytest.mark.data]
WARM = 3_000  # messages before the market freezes
TAIL = 300  # ... and while it is frozen
LIMIT_NS = 1_000_000_000


def frozen(tape, how):
    """What still comes of a market that is frozen in this way."""
    depth = [message for message in tape[:WARM] if "@depth" in message.topic][-1]
    quote = [message for message in tape[:WARM] if "@bookTicker" in message.topic][-1]
    rest = tape[WARM : WARM + 20 * TAIL]
    return {
        "nothing": [],
        "no book": [message for message in rest if "@depth" not in message.topic][:TAIL],
        "no quotes": [message for message in rest if "@depth" in message.topic],
        "repeats": [quote, depth] * (TAIL // 2),
    }[how]


@pytest.mark.parametrize("how", ["nothing", "no book", "no quotes", "repeats"])
def test_a_market_that_is_frozen_is_stale_by_its_limit_and_whole_only_by_a_snapshot(data_dir, tmp_path, how):
    tape, snapshot = binance_tape([data_dir / "hftbacktest/usdm/btcusdt_20240808.gz"], WARM + 20 * TAIL + 3_000)
    tail = frozen(tape, how)
    served = [*tape[:WARM], *tail, *tape[WARM + 20 * TAIL :]]
    made = certificates(tmp_path)
    with serve(Plan("binance_usdm", served, snapshot), made.server) as server:
        server.until = 10
        address = f"localhost:{server.port}"
        streams = BinanceUsdmStreams(ws_url=f"wss://{address}", rest_url=f"https://{address}")
        rig = LiveRig(streams, BinanceUsdm(), USDM, made.ca_file)
        states: list[tuple[int, int]] = []  # what the reader was told of the book, and when
        heard_ns = {TICK_LEVEL: 0, TICK_QUOTE: 0}

        def turn_until(done):
            begun = time.monotonic()
            while not done():
                assert time.monotonic() - begun < 60, (states, server.position, rig.refused())
                for tick in rig.turn()[1]:
                    if tick["kind"] == TICK_STATUS:
                        states.append((int(tick["w0"]), int(tick["ts_recv_ns"])))
                    elif tick["kind"] in heard_ns:
                        heard_ns[int(tick["kind"])] = int(tick["ts_recv_ns"])

        def further(to, step=100):
            if server.position == server.until:
                server.until = min(server.until + step, to)
            return server.position == to

        try:
            turn_until(lambda: further(WARM))
            turn_until(lambda: rig.feed.memory.feed.states[0]["whole"] == 1)
            assert states[-1][0] == STATUS_WHOLE
            rig.feed.silence_ns[:] = LIMIT_NS

            def is_stale():
                further(WARM + len(tail), 1)
                return states[-1][0] == STATUS_STALE

            turn_until(is_stale)
            waited_ns = states[-1][1] - min(heard_ns.values())
            assert LIMIT_NS < waited_ns < 3 * LIMIT_NS, "by the limit of the instrument"
            told = len(states)
            rig.feed.silence_ns[:] = 100 * LIMIT_NS
            turn_until(lambda: further(len(served)) and states[-1][0] == STATUS_WHOLE)
            after = [state for state, _ in states[told:]]
            assert all(after[at - 1] == STATUS_CLEAR for at, state in enumerate(after) if state == STATUS_WHOLE)
        finally:
            rig.close()

"""One venue's market, good and damaged messages, through a whole bot; prints a digest of all that it left behind.

    python tests/sim/modes.py --venue kraken --count 20000

Run under NUMBA_DISABLE_JIT=1, NUMBA_BOUNDSCHECK=1 or as it is, it has to say the same (tests/sim/test_modes.py).
"""

import argparse
import hashlib
import json
import random
import tempfile
from pathlib import Path

import numpy as np
from rig.damage import cells, damage
from rig.hand import MS, HandBot
from rig.market import MARKETS

from bot4.model.records import JOURNAL_WORDS


def arrays_of(bot):
    """Every array of every state, by name; what is only scratch or names a process is not among them."""
    memories = {
        "feed": bot.feed.memory.feed, "live": bot.feed.memory, "shard": bot.shard.memory,
        "execution": bot.execution.memory, "venue": bot.venue.memory.core, "wires": bot.wires,
    }  # fmt: skip
    written = bot.execution.journal.count * JOURNAL_WORDS  # behind that lie gigabytes of addresses and nothing else
    for room, memory in memories.items():
        for name, array in memory._asdict().items():
            if (room, name) == ("execution", "records"):
                yield "execution.records", array[:written]
            elif isinstance(array, np.ndarray) and name not in ("buffers", "histograms", "header"):
                yield f"{room}.{name}", array


def messages_of(market, count, source):
    """Good messages, damaged ones of every kind, and some with bytes that were flipped."""
    while count:
        message = market.next()
        turn = source.random()
        body = message.body
        if turn < 0.15:
            cell = source.choice(cells(market.venue, message.about, body))
            body = damage(market.venue, message.about, cell, body, source) or b""
        elif turn < 0.25:
            flipped = bytearray(body)
            for _ in range(source.randint(1, 3)):
                flipped[source.randrange(len(flipped))] ^= 1 << source.randrange(8)
            body = bytes(flipped)
        yield body[:3_000]
        count -= 1


def run(venue, count, folder):
    """What is printed."""
    market, source = MARKETS[venue](9), random.Random(9)
    bot = HandBot(folder, market.streams(), market.decoder(), market.listing)
    in_stream = not venue.startswith("binance")
    bot.pool.greet = lambda: bot.put(market.whole()) if in_stream else None
    bot.fetcher.answer = market.whole
    bot.pool.open()
    for body in messages_of(market, count, source):
        bot.clock.ns += source.choice((1, 1, 20)) * MS
        bot.put(body)
        bot.turn()
        if not bot.whole and source.random() < 0.5:
            bot.clock.ns += 1_000 * MS
            bot.turn()
    told, digest, parts = bot.told(), hashlib.sha256(), {}
    for name, array in arrays_of(bot):
        parts[name] = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        digest.update(array.tobytes())
    for name, array in bot.floats():
        assert np.isfinite(array).all(), name
    bot.close()
    return {"digest": digest.hexdigest(), "decisions": bot.decisions, "told": told._asdict(), "parts": parts}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--venue", required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bot4-modes-") as name:
        print(json.dumps(run(given.venue, given.count, Path(name))))

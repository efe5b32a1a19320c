"""The prepared input of the suites that read a market's bytes: messages of a venue in websocket frames.

In the form in which Binance spot sends them, prices on a random walk, ids without a hole. Everything is valid: what a
feed does with a good message is the dearest that it can do with one.
"""

import json
import struct
from typing import NamedTuple

import numpy as np

from bot4.model.records import INSTRUMENT, SESSION

SEED = 20_260_101
SYMBOL, VENUE = "BTCUSDT", "binance_spot"
LEVELS = 10  # a side of a depth message: 20 in all
_START = 6_000_000  # ticks of 0.01
_FIRST_ID = 50_000_000_000
_FIRST_MS = 1_700_000_000_000


class Stream(NamedTuple):
    """Messages of one kind, or of several, as a connection brings them."""

    bodies: list[bytes]
    frames: bytes
    snapshot: bytes  # of the book, as REST gives it: comes before the first message


def frame(body: bytes) -> bytes:
    """A text frame of a server."""
    size = len(body)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + body
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + body
    return struct.pack("!BBQ", 0x81, 127, size) + body


def _price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}000000"


def _body(stream: str, data: dict[str, object]) -> bytes:
    return json.dumps({"stream": f"{SYMBOL.lower()}@{stream}", "data": data}, separators=(",", ":")).encode()


def stream_of(kind: str, n: int) -> Stream:
    """`n` messages of a kind: quote, trade, depth20, or mixed (seven quotes, two trades, one depth message in ten)."""
    rng = np.random.default_rng(SEED)
    mid = _START + np.cumsum(rng.integers(-2, 3, n)).astype(int)
    lots = rng.integers(1, 900_000_000, (n, 2 * LEVELS + 2))
    turn = rng.integers(0, 10, n)
    bodies = []
    covered = _FIRST_ID  # update id of the last depth message
    for index in range(n):
        what = kind if kind != "mixed" else "quote" if turn[index] < 7 else "trade" if turn[index] < 9 else "depth20"
        price, qty, update = int(mid[index]), [f"{value / 1e8:.8f}" for value in lots[index]], _FIRST_ID + index + 1
        if what == "quote":
            data = {"u": update, "s": SYMBOL, "b": _price(price - 1), "B": qty[0], "a": _price(price + 1), "A": qty[1]}
            bodies.append(_body("bookTicker", data))
        elif what == "trade":
            when = _FIRST_MS + index
            data = {
                "e": "trade", "E": when, "s": SYMBOL, "t": _FIRST_ID + index, "p": _price(price), "q": qty[0],
                "T": when, "m": bool(turn[index] & 1), "M": True,
            }  # fmt: skip
            bodies.append(_body("trade", data))
        else:
            low, high = _START - 2, _START + 2  # the same levels each time, so that the book never crosses
            data = {
                "e": "depthUpdate", "E": _FIRST_MS + index, "s": SYMBOL, "U": covered + 1, "u": update,
                "b": [[_price(low - level), qty[level]] for level in range(LEVELS)],
                "a": [[_price(high + level), qty[LEVELS + level]] for level in range(LEVELS)],
            }  # fmt: skip
            covered = update
            bodies.append(_body("depth@100ms", data))
    snapshot = {
        "lastUpdateId": _FIRST_ID,
        "bids": [[_price(_START // 2), "1.00000000"]],
        "asks": [[_price(_START * 2), "1.00000000"]],
    }
    return Stream(bodies, b"".join(map(frame, bodies)), json.dumps(snapshot).encode())


def first_diff() -> bytes:
    """The frame of a change that the snapshot holds already: only with one that waits does it begin a book."""
    best = [[_price(_START // 2), "1.00000000"]]
    data = {"e": "depthUpdate", "E": _FIRST_MS, "s": SYMBOL, "U": _FIRST_ID, "u": _FIRST_ID, "b": best, "a": []}
    return frame(_body("depth@100ms", data))


def instruments() -> np.ndarray:
    """INSTRUMENT[1] of the streams' symbol."""
    table = np.zeros(1, INSTRUMENT)
    row = table[0]
    row["tick_e8"], row["price_decimals"], row["lot_e8"], row["qty_decimals"] = 1_000_000, 2, 1, 8
    row["is_spot"] = 1
    return table


def session() -> np.ndarray:
    """SESSION[1] of one shard."""
    record = np.zeros(1, SESSION)
    record[0]["n_shards"], record[0]["n_instruments"], record[0]["measure"] = 1, 1, 1
    return record

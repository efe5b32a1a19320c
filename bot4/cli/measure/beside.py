"""Peers that read markets: each in a process of its own, under an interpreter that has it.

`peer_process` is what such a process runs. A library is looked for beside Bot4, then with the interpreters that
BOT4_PEER_PYTHON names (paths with colons between them: some peers cannot live in one environment with Bot4, or with
each other). What is found nowhere is left out and named. Whatever a peer has written last is held against what the
message says by our own exact decoder: a peer that does less than asked is no peer.
"""

import atexit
import functools
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from bot4.adapters.binance.parse import BinanceSpot
from bot4.model.enums import FLAG_LAST, TICK_LEVEL, TICK_QUOTE, TICK_TRADE
from bot4.model.errors import Bot4Error, InputError
from bot4.model.units import to_units
from bot4.ports.feed import BookChange, Quote, Trade

VARIABLE = "BOT4_PEER_PYTHON"
PACKAGES = {  # what each peer needs, itself first
    "msgspec": ("msgspec",),
    "orjson": ("orjson",),
    "websockets": ("websockets", "msgspec"),
    "aiohttp": ("aiohttp", "msgspec"),
    "picows": ("picows", "msgspec"),
    "cryptofeed": ("cryptofeed",),
    "ccxt": ("ccxt", "aiohttp", "orjson"),
    "nautilus_trader": ("nautilus_trader", "msgspec"),
}
_PROGRAM = Path(__file__).with_name("peer_process.py")
_TICK, _LOT = Decimal("0.01"), Decimal("1e-8")  # of the bench's instrument
RECORD = struct.Struct("<qiHBBqqqqIIQ")


class _Found(NamedTuple):
    python: str
    versions: dict[str, str]


@functools.cache
def _interpreters() -> tuple[_Found, ...]:
    """Every interpreter with the versions of the packages that it has."""
    others = [path for path in os.environ.get(VARIABLE, "").split(":") if path]
    found = []
    for python in [sys.executable, *others]:
        names = sorted({name for needed in PACKAGES.values() for name in needed} | {"uvloop"})
        try:
            done = subprocess.run([python, _PROGRAM, *names], capture_output=True, text=True, timeout=60, check=True)
            found.append(_Found(python, json.loads(done.stdout)))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise InputError(f"{VARIABLE}: {python} is no Python that runs here ({error})") from None
    return tuple(found)


def find(name: str, also: Sequence[str] = ()) -> _Found | None:
    """The first interpreter that has the peer, and what is asked for beside it; None if there is none."""
    needed = {*PACKAGES[name], *also}
    return next((found for found in _interpreters() if needed <= found.versions.keys()), None)


def left_out(names: Iterable[str]) -> list[str]:
    """Which of the peers are nowhere, in words."""
    return [f"{name}: not installed, nor with an interpreter of {VARIABLE}" for name in names if find(name) is None]


@functools.cache
def _process(python: str, name: str) -> "subprocess.Popen[str]":
    """The process of a peer, which has imported nothing yet; it ends with its input, so with the bench."""
    process = subprocess.Popen(
        [python, _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    atexit.register(process.communicate)  # closes its input, and waits for it
    return process


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="bot4-bench-peers-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def work(name: str, bodies: list[bytes], core: int, *, port: int = 0, kind: str = "quote", **options: bool) -> float:
    """Give a peer its task and wait: the seconds it took to read the bodies, from the socket at `port` or from a file.

    Parameters
    ----------
    name : of PACKAGES
    bodies : all that it is to read, of one kind
    core : that it runs on
    options : `uvloop`, `decode_only`
    """
    uvloop, decode_only = options.get("uvloop", False), options.get("decode_only", False)
    found = find(name, ("uvloop",) if uvloop else ())
    assert found is not None
    task: dict[str, Any] = {"name": name, "core": core, "kind": kind, "uvloop": uvloop, "decode_only": decode_only}
    if port:
        task |= {"port": port, "n": len(bodies)}
    else:
        path = _folder() / f"{kind}-{len(bodies)}"
        if not path.exists():
            path.write_bytes(b"\n".join(bodies))
        task["file"] = str(path)
    process = _process(found.python, name)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        raise Bot4Error(f"{name} did not finish its part of the bench: try {found.python} {_PROGRAM} by hand")
    answer = json.loads(line)
    if not decode_only:
        check(name, bodies, int(answer["records"]), bytes.fromhex(answer["last"]))
    return float(answer["seconds"])


def check(name: str, bodies: list[bytes], count: int, last: bytes) -> None:
    """Bot4Error if the peer has not written what it was asked for."""
    expected = records_of(bodies[-1])
    number = len(bodies) * len(expected)
    words = RECORD.unpack(last) if last else ()
    if count != number or words[3:9] != expected[-1] or words[9] != number & 0xFFFF_FFFF:
        raise Bot4Error(f"{name} wrote {count} records, the last one {words}, instead of {number}, {expected[-1]}")


def records_of(body: bytes) -> list[tuple[int, int, int, int, int, int]]:
    """(kind, flags, w0, w1, w2, w3) of each record that a message of the bench becomes, by our typed decoder."""
    event = BinanceSpot().decode(body).events[0]
    if isinstance(event, Quote):
        bid, bid_lots = to_units(event.bid, _TICK, "bid"), to_units(event.bid_qty, _LOT, "bid quantity")
        ask, ask_lots = to_units(event.ask, _TICK, "ask"), to_units(event.ask_qty, _LOT, "ask quantity")
        return [(TICK_QUOTE, FLAG_LAST, bid, bid_lots, ask, ask_lots)]
    if isinstance(event, Trade):
        price, lots = to_units(event.price, _TICK, "price"), to_units(event.qty, _LOT, "qty")
        return [(TICK_TRADE, FLAG_LAST, price, lots, int(event.trade_id), event.side)]
    assert isinstance(event, BookChange) and event.last is not None
    levels = [(side, *level) for side, levels in ((1, event.bids), (-1, event.asks)) for level in levels]
    return [
        (TICK_LEVEL, FLAG_LAST if place == len(levels) else 0, to_units(price, _TICK, "price"),
         to_units(lots, _LOT, "qty"), side, event.last)
        for place, (side, price, lots) in enumerate(levels, 1)
    ]  # fmt: skip

"""An hour of recorded market at ten times the speed, traded live under chaos, judged by the exchange's ledger.

    PYTHONPATH=tests python tests/stress/live_hour.py [--minutes 60] [--speed 10] [--seed 1]

`bot4-exchange` replays a perpetual's recording over and over as Bybit over TLS; `bot4-supervisor start` trades on it
with the busy strategy of the tests. Meanwhile, by the seed: connections lost, answers that never come or come late,
errors before and after an order has landed, events twice, late and in another order, and a kill -9 of execution each
ten minutes of the market. At the end positions and cash have to be the ledger's to the smallest unit.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rig.exchange_bybit import BybitServer
from rig.live_trading import Books, trading

VALUE_E8 = 10_000  # of one tick of one lot
FAULTS = (
    {"kind": "timeout_after", "endpoint": "POST /v5/order/create", "times": 1},
    {"kind": "timeout_before", "endpoint": "POST /v5/order/create", "times": 1},
    {"kind": "error_after", "endpoint": "POST /v5/order/create", "times": 1},
    {"kind": "error_before", "endpoint": "POST /v5/order/*", "times": 2},
    {"kind": "reset_after", "endpoint": "POST /v5/order/create", "times": 1},
    {"kind": "late_after", "endpoint": "POST /v5/order/create", "times": 1, "delay_ms": 800},
    {"kind": "garbage", "endpoint": "GET /v5/order/realtime", "times": 1},
    {"kind": "event_duplicate", "stream": "execution", "times": 2},
    {"kind": "event_late", "stream": "order", "times": 2, "delay_ms": 700},
    {"kind": "event_drop", "stream": "execution", "times": 1},
    {"kind": "event_drop", "stream": "orderbook", "times": 1},
    {"kind": "replica_lag", "delay_ms": 500, "duration_ms": 3_000},
)


def trade(folder: Path, data: Path, minutes: float, speed: int, seed: int) -> dict:
    """One such session; what is to be told of it."""
    chain = ",".join(str(data / "hftbacktest" / "usdm" / f"btcusdt_2023040{day}.dat.gz") for day in (4, 5))
    chance, told, kills = random.Random(seed), Counter(), 0
    (folder / "exchange").mkdir()
    options = ("--tls", "--loop", "--speed", f"{speed}x")
    with BybitServer(folder / "exchange", *options, market=f"recorded:{chain}") as server:
        with trading(folder, server) as running:
            began = time.monotonic()
            ends = began + minutes * 60 / speed
            next_kill, next_fault = began + 600 / speed, began + 2
            next_cut = began + 515 / speed  # once in each round of the recording
            line = running.until(lambda line: line["kind"] == "status" and line["state"] == "active")
            while time.monotonic() < ends:
                line = running.until(lambda line: line["kind"] == "status")
                now = time.monotonic()
                if now >= next_kill:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(line["workers"]["execution"]["pid"], signal.SIGKILL)
                    kills, next_kill = kills + 1, now + 600 / speed
                if now >= next_cut:
                    server.fault(kind="disconnect", times=1)
                    told["disconnect"] += 1
                    next_cut = now + 515 / speed
                if now >= next_fault:
                    fault = chance.choice(FAULTS)
                    server.fault(**fault)
                    told[fault["kind"]] += 1
                    next_fault = now + chance.uniform(0.5, 3.0)
            stop = [sys.executable, "-m", "bot4.cli.supervisor", "stop", "--config", folder / "config" / "live.toml"]
            subprocess.run(list(map(str, stop)), check=False, timeout=300, capture_output=True)
            code, _, error = running.finish()
        row = server.done("GET", "position/list", category="linear", symbol="BTCUSDT")["list"][0]
        held = round(float(row["size"]) * 1_000) * (-1 if row["side"] == "Sell" else 1)
        server.conserved()
        server.stop()
        books = Books(server.ledger, folder / "config" / "state")
    return {
        "minutes_of_market": minutes, "speed": speed, "exit_code": code, "error": error.strip()[-400:],
        "kills": kills, "faults": dict(told), "orders": len(books.accepted), "fills": len(books.fills),
        "position": [books.lots, books.told_lots, held],
        "gain_e8": [books.gained_e8, books.told_gain_e8(VALUE_E8)],
        "sent_most_often": max(books.sent.values(), default=0), "refused": line.get("rejects"),
        "accepted_most_often": max(books.accepted.values(), default=0),
    }  # fmt: skip


def is_sound(said: dict) -> bool:
    """The numbers are the ledger's, nothing was sent twice, it ended well, and there has been chaos to judge it by."""
    same = len(set(said["position"])) == len(set(said["gain_e8"])) == 1
    once = said["sent_most_often"] == said["accepted_most_often"] == 1
    shaken = said["kills"] >= said["minutes_of_market"] / 10 - 1 and sum(said["faults"].values()) > 0
    return same and once and shaken and said["exit_code"] == 0


def main() -> None:
    """Run it and say what came out; exit code 1 if that is not sound."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--speed", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    repository = Path(__file__).resolve().parents[2]
    os.environ["PYTHONPATH"] = str(repository / "tests")
    data = Path(os.environ.get("BOT4_DATA", repository.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        said = trade(Path(folder), data, given.minutes, given.speed, given.seed)
    print(json.dumps(said, indent=1))
    raise SystemExit(0 if is_sound(said) else 1)


if __name__ == "__main__":
    main()

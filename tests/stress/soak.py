"""A whole live session for minutes at 10,000 messages a second: feed, shard and recorder on two cores, over TLS.

    python tests/stress/soak.py --seconds 600

A sender of its own plays Binance spot on the loopback: frames that were made before, ids put in as they go, five
messages every half millisecond by a timetable. The product is started as its user starts it: the feed on the first
core, the shard spinning on the second, everybody else (sender, recorder, execution, venue, supervisor) beside the feed.
Prints one JSON object:

    taken, dropped          messages accepted or refused by name; records lost in rings
    trades_recorded         of the trades taken; out_of_row: holes in their numbers
    sender_late_us          from the moment a trade was due to the call that put it into the socket
    socket_to_feed_us       from that call to its receive time, as recorded
    due_to_feed_us          both together; the sender shares the feed's core
    feed_to_shard_us        from publication to the shard's step (the session's own histogram)
    socket_to_shard_p99_us  socket_to_feed and feed_to_shard together
    memory                  RssAnon of each process: MB at a quarter of the run and at its end, slope between them
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from rig.replayer import certificates, server_context
from rig.session import Running, settings_folder
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bot4.adapters.files.recording import Recording
from bot4.adapters.system.process import die_with_parent
from bot4.cli.measure.frames import frame
from bot4.model.enums import TICK_TRADE

RATE = 10_000  # messages a second
STEPS = 2_000  # pieces a second
PREPARED = 20_000  # frames, sent again and again under new ids
FIRST_ID, FIRST_TRADE = 50_000_000_000, 70_000_000_000  # eleven digits each, for as long as anybody waits
MID, WALK, LEVELS = 6_000_000, 100, 10
PLACES = {b'"u":': FIRST_ID, b'"U":': FIRST_ID, b'"t":': FIRST_TRADE}


# --- the sender's process ---------------------------------------------------------------------------------------------


def price(ticks):
    """As the venue writes it."""
    return f"{ticks // 100}.{ticks % 100:02d}000000"


def prepared():
    """Frames with the places of their ids: seven quotes, two trades and one change of the book in ten messages."""
    rng = np.random.default_rng(7)
    steps = rng.integers(-1, 2, PREPARED)
    mid, made = MID, []
    for index in range(PREPARED):
        mid = min(max(mid + int(steps[index]), MID - WALK), MID + WALK)
        qty = [f"{value / 1e5:.5f}000" for value in rng.integers(1, 900_000, 2 * LEVELS + 2)]
        turn = index % 10
        if turn < 7:
            stream = "bookTicker"
            data = {"u": FIRST_ID, "s": "BTCUSDT", "b": price(mid - 1), "B": qty[0], "a": price(mid + 1), "A": qty[1]}
        elif turn < 9:
            stream = "trade"
            data = {"e": "trade", "E": 0, "s": "BTCUSDT", "t": FIRST_TRADE, "p": price(mid), "q": qty[0], "T": 0}
            data |= {"m": bool(index & 1), "M": True}
        else:
            stream = "depth@100ms"
            low, high = MID - WALK - 2, MID + WALK + 2
            data = {"e": "depthUpdate", "E": 0, "s": "BTCUSDT", "U": FIRST_ID, "u": FIRST_ID}
            data |= {"b": [[price(low - level), qty[level]] for level in range(LEVELS)]}
            data |= {"a": [[price(high + level), qty[LEVELS + level]] for level in range(LEVELS)]}
        body = json.dumps({"stream": f"btcusdt@{stream}", "data": data}, separators=(",", ":")).encode()
        raw = bytearray(frame(body))
        places = {key: raw.index(key) + len(key) for key in PLACES if key in raw}
        made.append((raw, turn, places))
    return made


def ids_put_in(one, number, covered):
    """The frame under the ids of message `number`; changes of the book tell of all updates since the last one."""
    raw, turn, places = one
    for key, at in places.items():
        value = FIRST_TRADE + number if key == b'"t":' else FIRST_ID + (covered + 1 if key == b'"U":' else number)
        raw[at : at + 11] = b"%011d" % value
    return raw, number if turn == 9 else covered


def snapshot(number):
    """The book's body as REST gives it."""
    low, high = MID - WALK - 2, MID + WALK + 2
    bids = [[price(low - level), "1.00000000"] for level in range(LEVELS)]
    asks = [[price(high + level), "1.00000000"] for level in range(LEVELS)]
    return json.dumps({"lastUpdateId": FIRST_ID + number, "bids": bids, "asks": asks}).encode()


def sender(listener, chain_file, shared, rate):
    """Serve one websocket and its snapshots.

    shared: int64[n, 2]: [0, 0] messages sent, [0, 1] 1: end; from row 1 on when each was due, and when it was sent
    """
    context, frames = server_context(chain_file), prepared()
    listener.settimeout(0.0)
    peer, number, covered = None, 0, 0
    due = time.monotonic_ns()
    while not shared[0, 1]:
        with suppress(BlockingIOError, OSError):
            taken = accept(context, listener, number)
            if taken is not None:
                peer, due = taken, time.monotonic_ns()
        if peer is None or number + rate // STEPS >= len(shared):
            time.sleep(0.001)
            continue
        while (now := time.monotonic_ns()) < due:
            time.sleep((due - now) * 1e-9)
        block, first = bytearray(), number + 1
        for _ in range(rate // STEPS):
            number += 1
            raw, covered = ids_put_in(frames[number % PREPARED], number, covered)
            block += raw
        shared[first : number + 1] = due, time.monotonic_ns()
        try:
            peer.sendall(block)
        except OSError:
            peer = None
        shared[0, 0] = number
        due += 1_000_000_000 // STEPS


def accept(context, listener, number):
    """The next client: answers a request for the book at once (None), or returns a websocket."""
    sock, _ = listener.accept()
    sock.settimeout(5.0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(sock, server_side=True)
    head = b""
    while b"\r\n\r\n" not in head:
        head += tls.recv(4_096)
    if b"/api/v3/depth" in head:
        body = snapshot(number)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        tls.close()
        return None
    protocol = ServerProtocol()
    protocol.receive_data(head)
    (request,) = [event for event in protocol.events_received() if isinstance(event, Request)]
    protocol.send_response(protocol.accept(request))
    tls.sendall(b"".join(protocol.data_to_send()))
    return tls


# --- the run ----------------------------------------------------------------------------------------------------------


def settings(folder, port, ca_file, cores):
    """The repository's settings with spot bitcoin alone, live, recorded, and everybody in his place."""
    config = settings_folder(folder)
    instruments = config.with_name("instruments.toml")
    listed = instruments.read_text().split("[[instrument]]")
    (wanted,) = [text for text in listed if '"BTCUSDT"' in text and '"binance_spot"' in text]
    instruments.write_text(f"[[instrument]]{wanted}")
    address = f"localhost:{port}"
    config.write_text(
        f'{config.read_text()}\n[venue.binance_spot]\nws_url = "wss://{address}"\nrest_url = "https://{address}"\n'
        f'ca_file = "{ca_file}"\n\n[recorder]\nfolder = "{folder / "recordings"}"\nraw = "off"\n'
        "part_mb = 4\npart_s = 10\n"
    )
    topology = config.with_name("topology.toml")
    text = (
        topology.read_text()
        .replace('compose = "auto"', 'compose = "processes"')
        .replace('shards = "auto" ', "shards = 1 ")
    )
    own, beside = cores[1], cores[0]
    for name, core in (("feed", beside), ("shards", own), ("execution", beside), ("venue", beside)):
        text = text.replace(f'\n{name} = "auto"\n', f"\n{name} = [{core}]\n")
    text = text.replace('shards = "backoff"', 'shards = "spin"').replace('execution = "backoff"', 'execution = "block"')
    topology.write_text(text)
    return config


def anonymous_mb(pid):
    """RssAnon of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1_024
    return 0.0


def percentiles(found):
    """Of durations in ns, as us."""
    if not len(found):
        return {}
    return {
        name: round(float(np.quantile(found, q)) / 1e3, 1) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def slopes(samples):
    """Of each process: MB at a quarter and at the end, and MB a minute between."""
    made = {}
    for name in samples[-1][1]:
        rows = [(at, held[name]) for at, held in samples if name in held]
        rows = rows[len(rows) // 4 :]
        times, held = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        slope = float(np.polyfit(times - times[0], held, 1)[0] * 60) if len(rows) > 2 else 0.0
        made[name] = {"quarter_mb": round(held[0], 2), "end_mb": round(held[-1], 2), "mb_per_minute": round(slope, 3)}
    return made


def run(seconds, rate, folder):
    """One session; the object that is printed."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    made = certificates(folder)
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    port = listener.getsockname()[1]
    path = Path(f"/dev/shm/soak.{os.getpid()}")
    shared = np.memmap(path, np.int64, "w+", shape=(int((seconds + 60) * rate) + 64, 2))
    parent, child = os.getpid(), os.fork()
    if child == 0:
        with suppress(KeyboardInterrupt):
            die_with_parent(parent)
            os.sched_setaffinity(0, {cores[0]})
            sender(listener, made.chain_file, shared, rate)
        os._exit(0)
    listener.close()
    try:
        config = settings(folder, port, made.ca_file, cores)
        running = Running(config, "--feed", "live", "--report", folder / "report")
        try:
            line = running.until(lambda line: line["kind"] == "status" and line["messages"] > 100)
            for pid in (os.getpid(), running.process.pid, line["workers"]["recorder"]["pid"]):
                for thread in psutil.Process(pid).threads():  # what the product does not pin goes beside the feed
                    os.sched_setaffinity(thread.id, {cores[0]})
            begun, samples = time.monotonic(), []
            while time.monotonic() - begun < seconds:
                line = running.until(lambda line: line["kind"] == "status")
                held = {name: anonymous_mb(worker["pid"]) for name, worker in line["workers"].items() if worker["pid"]}
                samples.append((time.monotonic() - begun, held))
            stop = [sys.executable, "-m", "bot4.cli.supervisor", "stop", "--config", str(config)]
            first = int(shared[0, 0])
            subprocess.run(stop, check=True, capture_output=True, timeout=120)
            code, _, error = running.finish()
            assert code == 0, error
        finally:
            running.close()
        offset_ns = time.time_ns() - time.monotonic_ns()
        report = json.loads((folder / "report" / "session.json").read_text())
        return judged(report, folder, np.array(shared), first, offset_ns, samples)
    finally:
        shared[0, 1] = 1
        with suppress(ChildProcessError):
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
        path.unlink()


def judged(report, folder, shared, sent, offset_ns, samples):
    """What came of it."""
    (path,) = (folder / "recordings").iterdir()
    trades = [block[block["kind"] == TICK_TRADE][["ts_recv_ns", "w2"]] for block in Recording([path]).blocks()]
    trades = np.concatenate(trades)
    numbers = trades["w2"] - FIRST_TRADE
    due, sent_ns = shared[numbers].T
    wire = percentiles(trades["ts_recv_ns"] - offset_ns - sent_ns)
    messages = report["messages"]["BTCUSDT"]
    refused = sum(report["rejected_input"].values())
    taken = sum(messages.values()) + refused
    shard = report["latency_ns"]["feed_to_shard"]
    return {
        "seconds": round(samples[-1][0], 1),
        "sent_at_the_stop": sent,
        "taken": taken,
        "rate": round(taken / report["feed"]["span_ns"] * 1e9, 1) if report["feed"].get("span_ns") else None,
        "refused": report["rejected_input"],
        "dropped": report["dropped"],
        "recorder_dropped": report["recorder"]["dropped"],
        "trades": messages["trade"],
        "trades_recorded": len(trades),
        "trades_out_of_row": int(np.count_nonzero(np.diff(numbers) > np.where(numbers[:-1] % 10 == 8, 9, 1))),
        "orders": report["orders"],
        "restarts": sum(worker["restarts"] for worker in report["workers"].values()),
        "sender_late_us": percentiles(sent_ns - due),
        "socket_to_feed_us": wire,
        "due_to_feed_us": percentiles(trades["ts_recv_ns"] - offset_ns - due),
        "feed_to_shard_us": {name: round(shard[name] / 1e3, 1) for name in ("p50", "p99", "max")},
        "socket_to_shard_p99_us": round(wire["p99"] + shard["p99"] / 1e3, 1),
        "memory": slopes(samples),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=int, default=RATE, help=f"messages a second, a multiple of {STEPS}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bot4-soak-") as name:
        print(json.dumps(run(given.seconds, given.rate, Path(name))))

"""Those that stand beside the feed in the bench do the same work: what they write is what the feed publishes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bot4.cli.measure import beside
from bot4.cli.measure.feed import PEERS as CLIENTS
from bot4.cli.measure.frames import VENUE, instruments, session, stream_of
from bot4.cli.measure.parse import begin, feed_of
from bot4.engine.live import load_step
from bot4.model.errors import Bot4Error
from bot4.model.records import TICK
from bot4.shm.layout import RING_HEAD, RING_SLOTS
from bot4.shm.wires import private_wires

pytestmark = pytest.mark.compiled
KINDS = ("quote", "trade", "depth20")
CORE = min(os.sched_getaffinity(0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_of_peers_is_what_the_feed_publishes(kind):
    stream = stream_of(kind, 12)
    wires = private_wires(1, 1)
    memory = feed_of(wires).memory
    begin(memory, wires, stream.snapshot)
    begun = int(wires.market[RING_HEAD])
    frames = np.frombuffer(stream.frames, np.uint8)
    memory.buffers[0, : len(frames)] = frames
    memory.connections[0]["filled"] = len(frames)
    step = load_step([VENUE])
    ts_ns = np.int64(1_700_000_000_000_000_000)
    assert step(memory, wires, instruments(), session(), np.int64(0), ts_ns, np.int64(100)) == 12
    slots = wires.market[RING_SLOTS : RING_SLOTS + int(wires.market[RING_HEAD]) * 8].view(TICK)[begun:]
    asked = [record for body in stream.bodies for record in beside.records_of(body)]
    assert [tuple(slot[["kind", "flags", "w0", "w1", "w2", "w3"]].tolist()) for slot in slots] == asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["msgspec", "orjson", "cryptofeed", "nautilus_trader", "ccxt"])
def test_peers_write_it_from_the_same_messages(name, kind):
    if beside.find(name) is None:
        assert beside.left_out([name])[0].startswith(f"{name}: not installed")
        return
    if kind == "depth20" and name not in ("msgspec", "orjson"):
        return  # they want a book by REST first
    bodies = stream_of(kind, 70).bodies  # `work` holds the last record against the message
    assert beside.work(name, bodies, CORE, kind=kind) > 0
    if name in ("msgspec", "orjson"):
        assert beside.work(name, bodies, CORE, kind=kind, decode_only=True) > 0


def test_a_peer_that_writes_something_else_is_none():
    bodies = stream_of("quote", 3).bodies
    (kind, flags, *values), number = beside.records_of(bodies[-1])[-1], 3
    good = beside.RECORD.pack(1, 0, 0, kind, flags, *values, number, 0, number)
    beside.check("x", bodies, number, good)
    for place in (3, 4, 5, 6, 7, 8, 9):
        words = list(beside.RECORD.unpack(good))
        words[place] += 1
        with pytest.raises(Bot4Error, match=r"x wrote 3 records, the last one"):
            beside.check("x", bodies, number, beside.RECORD.pack(*words))
    with pytest.raises(Bot4Error, match="x wrote 2 records"):
        beside.check("x", bodies, 2, good)


def test_a_peer_that_dies_is_named():
    with pytest.raises(Bot4Error, match="msgspec did not finish its part"):
        beside.work("msgspec", stream_of("trade", 5).bodies, CORE, kind="quote")  # no quotes


def test_the_other_interpreters_have_to_be_some():
    command = [sys.executable, "-m", "bot4.cli.bench", "parse", "--quick"]
    environment = os.environ | {beside.VARIABLE: "/bin/false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2 and f"{beside.VARIABLE}: /bin/false is no Python" in done.stderr
    assert "Traceback" not in done.stderr


def test_suites_name_the_peers_that_they_have(tmp_path):
    path = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bot4.cli.bench", "parse", "feed", "--quick", "--json", str(path)]
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    parse, feed = result["suites"]["parse"], result["suites"]["feed"]
    for kind in KINDS:
        assert parse[f"{kind}_msgspec"]["p50"] > parse[f"{kind}_msgspec_decode"]["p50"] * 0.5
        assert parse[f"{kind}_msgspec"]["x_kernel"] == pytest.approx(
            parse[f"{kind}_msgspec"]["p50"] / parse[kind]["p50"], rel=1e-3
        )
    assert feed["websockets"]["x_feed"] == pytest.approx(feed["socket"]["rate"] / feed["websockets"]["rate"], rel=1e-3)
    told = " ".join(text for texts in result.get("left_out", {}).values() for text in texts)
    for name in CLIENTS:
        assert (name in feed) != (f"{name}: not installed" in told), name
    assert not list(folder.iterdir())


def test_an_order_inside_stands_beside_ccxts_own_and_the_bare_socket(tmp_path):
    path = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bot4.cli.bench", "order_inside", "--quick", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    limits, gateway = result["limits"], result["suites"]["order_inside"]["gateway"]
    assert gateway["limit"] == "tls_send" and gateway["p50"] > limits["hmac"]["p50"] > 0
    assert gateway["p50"] <= gateway["p99"] <= gateway["max"]
    ccxt = result["suites"]["order_inside"]["ccxt"]  # a library of the tests, so it is here
    assert ccxt["peer"] and gateway["x_ccxt"] == pytest.approx(gateway["p50"] / ccxt["p50"], rel=1e-3)

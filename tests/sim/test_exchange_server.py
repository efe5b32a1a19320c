"""The exchange as a process over real sockets: streams, user data in all forms, faults, TLS, its end."""

import base64
import contextlib
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import socket as sockets
import subprocess
import sys
import threading
import time

import psutil
import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_server import COMMAND, WIDE, ExchangeServer, ask
from websockets.exceptions import ConnectionClosed

from bot4.cli import exchange as door

pytestmark = pytest.mark.compiled
BTC = "BTCUSDT"
LIMIT = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000", "quantity": "0.01"}
BALANCES = """
[[account]]
name = "main"
balances = { USDT = "100000", BTC = "2", ETH = "20" }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ExchangeServer(
        tmp_path_factory.mktemp("exchange"), "--speed", "5x", scenario=WIDE, market="generated:7"
    ) as made:
        yield made
        made.conserved()
        assert made.stop().kinds["order"] > 100


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    with ExchangeServer(tmp_path_factory.mktemp("quiet"), scenario=WIDE) as made:
        yield made
        made.conserved()
        made.stop()


@pytest.fixture
def quiet(lonely):
    """One that nobody else trades on, without faults and open orders."""
    lonely.heal()
    lonely.signed("DELETE", "openOrders", symbol=BTC)
    lonely.past = len(lonely.done("GET", "allOrders", symbol=BTC, limit=1_000))
    return lonely


def hear_all(stream):
    """Whatever is still on its way; the connection's end is not."""
    for _ in range(100):
        stream.recv(5)


def until(stream, wanted, seconds=10.0):
    """The first message that is wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = json.loads(stream.recv(seconds))
        if wanted(message):
            return message
    raise AssertionError("it did not come")


def test_streams_raw_and_combined(server):
    with server.listen("/ws/btcusdt@trade/btcusdt@bookTicker") as raw:
        assert until(raw, lambda m: m.get("e") == "trade")["s"] == BTC
        assert until(raw, lambda m: "u" in m)["s"] == BTC
    names = "btcusdt@depth@100ms/ethusdt@depth5@100ms/!miniTicker@arr"
    with server.listen("/stream?streams=" + names) as combined:
        diff = until(combined, lambda m: m["stream"] == "btcusdt@depth@100ms")["data"]
        assert diff["U"] <= diff["u"]
        after = until(combined, lambda m: m["stream"] == "btcusdt@depth@100ms")["data"]
        assert after["U"] == diff["u"] + 1
        partial = until(combined, lambda m: m["stream"] == "ethusdt@depth5@100ms")["data"]
        assert len(partial["bids"]) == len(partial["asks"]) == 5
        assert len(until(combined, lambda m: m["stream"] == "!miniTicker@arr")["data"]) == 2


def test_subscribing_and_the_other_commands(server):
    with server.listen("/ws") as stream:

        def command(**request):
            stream.send(json.dumps(request))
            return until(stream, lambda m: "id" in m or "error" in m)

        assert command(method="SUBSCRIBE", params=["btcusdt@kline_1s"], id=1) == {"result": None, "id": 1}
        assert until(stream, lambda m: m.get("e") == "kline")["k"]["i"] == "1s"
        assert command(method="LIST_SUBSCRIPTIONS", id=2)["result"] == ["btcusdt@kline_1s"]
        assert command(method="SET_PROPERTY", params=["combined", True], id=3)["result"] is None
        assert until(stream, lambda m: "stream" in m)["stream"] == "btcusdt@kline_1s"
        assert command(method="GET_PROPERTY", params=["combined"], id=4)["result"] is True
        assert command(method="UNSUBSCRIBE", params=["btcusdt@kline_1s"], id=5)["result"] is None
        assert command(method="LIST_SUBSCRIPTIONS", id=6)["result"] == []
        assert command(method="SUBSCRIBE", params="all", id=7)["error"]["code"] == 2
        assert command(method="NOTHING", id=8)["error"]["code"] == 2
        assert command(method="SUBSCRIBE", params=[f"s{n}@trade" for n in range(1_025)], id=9)["error"]["code"] == 2


def test_user_data_in_three_forms(quiet):
    status, body = quiet.raw("POST", "/api/v3/userDataStream", b"", {"X-MBX-APIKEY": quiet.ready["api_key"]})
    assert status == 200
    listen_key = json.loads(body)["listenKey"]
    with (
        quiet.listen("/ws/" + listen_key) as by_key,
        quiet.listen("/ws-api/v3") as by_logon,
        quiet.listen("/ws-api/v3") as by_signature,
    ):
        assert ask(by_logon, "userDataStream.subscribe")["error"]["code"] == -2015
        refused = ask(by_logon, "session.logon", **quiet.socket_params())
        assert refused["error"]["code"] == -1022, "only Ed25519 keys log on"
        status = ask(by_logon, "session.logon", **quiet.socket_params(ed25519=True))["result"]
        assert status["apiKey"] == quiet.ready["api_key"]
        assert ask(by_logon, "userDataStream.subscribe")["result"] == {"subscriptionId": 0}
        assert ask(by_signature, "userDataStream.subscribe.signature", **quiet.socket_params())["status"] == 200
        answer = ask(by_logon, "order.place", **(LIMIT | {"timestamp": int(time.time() * 1_000)}))
        assert answer["status"] == 200, answer
        order = answer["result"]["orderId"]
        first = until(by_key, lambda m: m["e"] == "executionReport")
        assert (first["x"], first["i"]) == ("NEW", order)
        assert until(by_key, lambda m: m["e"] == "outboundAccountPosition")["B"][1]["l"] == "500.00000000"
        told = until(by_signature, lambda m: "event" in m)
        assert (told["subscriptionId"], told["event"]) == (0, first)
        cancelled = ask(by_logon, "order.cancel", symbol=BTC, orderId=order, timestamp=int(time.time() * 1_000))
        assert cancelled["result"]["status"] == "CANCELED"
        assert ask(by_logon, "session.logout")["result"]["apiKey"] is None
        assert ask(by_logon, "order.cancel", symbol=BTC, orderId=order, timestamp=0)["error"]["code"] == -1102
        assert ask(by_signature, "userDataStream.unsubscribe")["status"] == 200
        assert ask(by_signature, "session.subscriptions")["result"] == []


def test_tls(tmp_path):
    with ExchangeServer(tmp_path, "--tls", scenario=WIDE) as server:
        assert server.ready["rest"].startswith("https://127.0.0.1:")
        assert server.done("POST", "order", **LIMIT)["status"] == "NEW"
        with server.listen("/ws-api/v3") as api:
            assert ask(api, "ping")["result"] == {}
        with pytest.raises(OSError):  # noqa: PT012 - who does not trust it does not get in
            stranger = http.client.HTTPSConnection("127.0.0.1", server.address.port, timeout=5)
            stranger.request("GET", "/api/v3/ping")
        server.stop(signal.SIGINT)


def test_a_file_of_accounts(tmp_path):
    (tmp_path / "balances.toml").write_text(BALANCES + BALANCES.replace("main", "other").replace("100000", "7"))
    with ExchangeServer(tmp_path, "--balances", str(tmp_path / "balances.toml"), scenario=WIDE) as server:
        assert [account["name"] for account in server.ready["accounts"]] == ["main", "other"]
        server.ready |= server.ready["accounts"][1]
        rows = server.done("GET", "account")["balances"]
        assert [row["free"] for row in rows] == ["2.00000000", "20.00000000", "7.00000000"]
        server.stop()


def statuses(server):
    """Of the orders of this test."""
    return [row["status"] for row in server.done("GET", "allOrders", symbol=BTC, limit=1_000)][server.past :]


def lost(server, method="POST", path="order", seconds=0.5, **params):
    """Send a request on a connection of its own and hear nothing in time."""
    made = server.new_http(seconds)
    with contextlib.closing(made):
        made.request(method, server.target(path, **params), b"", {"X-MBX-APIKEY": server.ready["api_key"]})
        with pytest.raises((TimeoutError, OSError, http.client.HTTPException)):
            made.getresponse().read()


def struck(server) -> int:
    """How many faults have happened, by the ledger."""
    return sum(json.loads(line)["kind"] == "fault" for line in server.ledger.read_text().splitlines())


def land(server, count):
    """Wait until so many orders rest: a busy machine may need longer than the client that has hung up."""
    end = time.monotonic() + 20
    while statuses(server) != ["NEW"] * count:
        assert time.monotonic() < end, "what was late never landed"
        time.sleep(0.05)


def test_answers_that_go_wrong(quiet):
    before = struck(quiet)
    order = "POST /api/v3/order"
    quiet.fault(kind="timeout_before", endpoint=order, times=1)
    lost(quiet, **LIMIT)
    assert statuses(quiet) == []
    quiet.fault(kind="timeout_after", endpoint=order, times=1)
    lost(quiet, **LIMIT)
    land(quiet, 1)
    quiet.fault(kind="reset_before", endpoint=order, times=1)
    lost(quiet, **LIMIT)
    assert statuses(quiet) == ["NEW"]
    quiet.fault(kind="reset_after", endpoint=order, times=1)
    lost(quiet, **LIMIT)
    land(quiet, 2)
    quiet.fault(kind="error_before", endpoint=order, status=503, times=1)
    assert quiet.signed("POST", "order", **LIMIT)[0] == 503
    assert statuses(quiet) == ["NEW"] * 2
    quiet.fault(kind="error_after", endpoint=order, times=1)
    status, answer = quiet.signed("POST", "order", **LIMIT)
    assert (status, answer["code"]) == (504, -1007)
    assert statuses(quiet) == ["NEW"] * 3
    headers = {"X-MBX-APIKEY": quiet.ready["api_key"]}
    quiet.fault(kind="garbage", endpoint=order, times=1)
    status, body = quiet.raw("POST", quiet.target("order", **LIMIT), b"", headers)
    assert status == 200
    with pytest.raises(ValueError):
        json.loads(body)
    quiet.fault(kind="empty", endpoint=order, times=1)
    assert quiet.raw("POST", quiet.target("order", **LIMIT), b"", headers) == (200, b"")
    assert statuses(quiet) == ["NEW"] * 5
    quiet.fault(kind="rate_limit", endpoint=order, times=1)
    assert quiet.signed("POST", "order", **LIMIT)[0] == 429
    assert quiet.headers["retry-after"] == "1"
    quiet.fault(kind="late_after", endpoint=order, delay_ms=300, times=1)
    began = time.monotonic()
    assert quiet.signed("POST", "order", **LIMIT)[0] == 200
    assert time.monotonic() - began >= 0.3
    quiet.fault(kind="late_before", endpoint=order, delay_ms=3_000, times=1)
    lost(quiet, seconds=0.3, **LIMIT)
    assert statuses(quiet) == ["NEW"] * 6
    land(quiet, 7)
    assert struck(quiet) == before + 11
    assert [row["done"] for row in quiet.faults()] == [1], "those that are over go when another one comes"


def test_events_that_go_wrong(quiet):
    with quiet.listen("/ws-api/v3") as api:
        ask(api, "userDataStream.subscribe.signature", **quiet.socket_params())

        def told(n):
            """Client ids of the next n order events."""
            found = []
            while len(found) < n:
                event = json.loads(api.recv(10))["event"]
                if event["e"] == "executionReport":
                    found.append(event["c"])
            return found

        def place(name):
            assert quiet.signed("POST", "order", newClientOrderId=name, **LIMIT)[0] == 200

        quiet.fault(kind="event_drop", stream="executionReport", times=1)
        place("dropped")
        place("a")
        assert told(1) == ["a"]
        quiet.fault(kind="event_duplicate", stream="executionReport", times=1)
        place("twice")
        assert told(2) == ["twice", "twice"]
        quiet.fault(kind="event_reorder", stream="executionReport", times=1)
        place("second")
        place("first")
        assert told(2) == ["first", "second"]
        quiet.fault(kind="event_late", stream="executionReport", delay_ms=500, times=1)
        place("late")
        place("punctual")
        assert told(2) == ["punctual", "late"]
        quiet.fault(kind="silence")
        place("unheard")
        with pytest.raises(TimeoutError):
            api.recv(0.5)
        quiet.heal()
        place("heard")
        assert told(1) == ["heard"]
        quiet.fault(kind="disconnect")
        with pytest.raises(ConnectionClosed):
            hear_all(api)


def test_the_websocket_api_goes_wrong_too(quiet):
    with quiet.listen("/ws-api/v3") as api:
        quiet.fault(kind="error_after", endpoint="order.place", status=503, times=1)
        answer = ask(api, "order.place", **quiet.socket_params(**LIMIT))
        assert (answer["status"], answer["error"]["code"]) == (503, -1008)
        quiet.fault(kind="timeout_after", endpoint="order.place", times=1)
        api.send(json.dumps({"id": 5, "method": "order.place", "params": quiet.socket_params(**LIMIT)}))
        assert ask(api, "ping", identity=6)["id"] == 6
        assert statuses(quiet) == ["NEW", "NEW"]


def test_requests_in_a_row_are_answered_in_their_order(quiet):
    quiet.fault(kind="late_after", endpoint="GET /api/v3/time", delay_ms=200, times=1)
    with sockets.create_connection(("127.0.0.1", quiet.address.port), 10) as raw:
        line = b"GET /api/v3/%s HTTP/1.1\r\nHost: x\r\n\r\n"
        raw.sendall(line % b"time" + line % b"ping" + line % b"avgPrice")
        data = b""
        while data.count(b"HTTP/1.1") < 3 or not data.endswith(b"}"):
            piece = raw.recv(65_536)
            assert piece
            data += piece
    bodies = [part.split(b"\r\n\r\n")[1] for part in data.split(b"HTTP/1.1")[1:]]
    assert b"serverTime" in bodies[0]
    assert bodies[1].startswith(b"{}")
    assert b"-1102" in bodies[2]


def test_sizes_are_bounded(quiet):
    port = quiet.address.port
    for data, status in (
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: %s\r\n" % (n, b"v" * 1_000) for n in range(20)) + b"\r\n", b"431"),
        (b"POST /api/v3/order HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"a" * 70_000, b"413"),
        (b"nonsense\r\n\r\n", b"400"),
    ):
        with sockets.create_connection(("127.0.0.1", port), 10) as raw:
            raw.sendall(data)
            assert raw.recv(65_536).split(b" ")[1] == status
    head = b"POST /api/v3/order HTTP/1.1\r\n"
    for data in (
        head + b"Content-Length: 70000\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n" + 5 * (b"4000\r\n" + b"a" * 0x4000 + b"\r\n"),
    ):
        with sockets.create_connection(("127.0.0.1", port), 10) as raw:
            raw.sendall(data)  # and not a byte of what is left of it
            assert raw.recv(65_536).split(b" ")[1] == b"413", "before the body has come"
    with quiet.listen("/ws-api/v3") as api:
        api.send("a" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            api.recv(10)
        assert closed.value.rcvd.code == 1009
    quiet.get("ping")


def test_a_full_disk_ends_the_exchange(tmp_path):
    if shutil.which("prlimit") is None:
        pytest.skip("no prlimit here")
    with ExchangeServer(tmp_path, scenario=WIDE) as server:
        size = server.ledger.stat().st_size
        subprocess.run(["prlimit", f"--fsize={size + 700}", "--pid", str(server.process.pid)], check=True)
        placed = 0
        try:
            for _ in range(20):
                status, _ = server.signed("POST", "order", **LIMIT)
                placed += status == 200
        except (OSError, http.client.HTTPException):
            pass
        assert server.process.wait(60) == 1
        assert "the ledger cannot be written" in server.log()
        assert server.ledger.read_bytes().endswith(b"\n")
        written = [json.loads(line) for line in server.ledger.read_text().splitlines()]
        assert placed <= sum(line["kind"] == "order" for line in written), (
            "nobody is told what the ledger does not hold"
        )


@pytest.mark.parametrize("head", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n"])
def test_a_line_without_an_end_is_refused(quiet, head):
    """The parser keeps what is unfinished; nobody counts it there."""
    answer = b""
    with sockets.create_connection(("127.0.0.1", quiet.address.port), 10) as raw, contextlib.suppress(OSError):
        raw.sendall(head + b"a" * 30_000)
        answer = raw.recv(65_536)
    assert answer.split(b" ")[1:2] == [b"431"]


def flood(address, head, piece, end):
    """Send without a pause, and read what comes back."""
    with sockets.create_connection(address, 10) as raw, contextlib.suppress(OSError):
        threading.Thread(target=lambda: [None for _ in iter(lambda: raw.recv(1 << 20), b"")], daemon=True).start()
        raw.sendall(head)
        while not end.is_set():
            raw.sendall(piece)


def test_one_who_sends_without_a_pause_holds_up_nobody(quiet):
    address = ("127.0.0.1", quiet.address.port)
    piece = b"GET /api/v3/ping HTTP/1.1\r\n\r\n" * 5_000
    context = multiprocessing.get_context("spawn")
    end = context.Event()
    sender = context.Process(target=flood, args=(address, b"", piece, end), daemon=True)
    sender.start()
    try:
        time.sleep(2.0)
        asked = 0
        begin = time.monotonic()
        while time.monotonic() - begin < 3.0:
            quiet.get("time")
            asked += 1
        assert sender.is_alive() and asked > 20, asked
    finally:
        end.set()
        sender.join(10)


def test_what_is_asked_of_a_connection_is_in_the_ledger(quiet):
    with quiet.listen("/ws-api/v3") as api:
        assert ask(api, "session.status", "in-the-ledger")["status"] == 200
    last = json.loads(quiet.ledger.read_text().splitlines()[-1])
    assert last["kind"] == "request" and b"in-the-ledger" in base64.b64decode(last["body"])


def test_nothing_is_written_behind_a_failure(tmp_path):
    if shutil.which("prlimit") is None:
        pytest.skip("no prlimit here")
    server = ExchangeServer(tmp_path, scenario=f'{WIDE}[[fault]]\nkind = "late_after"\ndelay_ms = 1\n')
    size = server.ledger.stat().st_size
    subprocess.run(["prlimit", f"--fsize={size + 700}", "--pid", str(server.process.pid)], check=True)
    for body in (b"a" * 2_000, b"", b""):  # the first does not fit, the others would
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.raw("POST", "/api/v3/order", body)
    assert server.process.wait(10) == 1
    assert "the ledger cannot be written" in server.log() and "Traceback" not in server.log()
    assert server.ledger.stat().st_size == size
    server._log.close()


NO_START = ["--ready", "nowhere/ready"]  # read last: who misses the error before it does not serve for ever


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--venue", "kraken"], "--venue"),
        (["--port", "70000"], "--port"),
        (["--market", "recorded"], "--market"),
        (["--market", "recorded:"], "--market"),
        (["--market", "recorded:/nowhere.gz"], "/nowhere.gz"),
        (["--queue", "fifo"], "--queue"),
        (["--market", "generated", "--queue", "log"], "--queue"),
        (["--market", "none", "--calibrate", "/nowhere.gz"], "--calibrate"),
        (["--market", "generated:-1"], "--market"),
        (["--speed", "0x"], "--speed"),
        (["--loop"], "--loop: is for --market recorded"),
        (["--speed", "nan"], "--speed"),
        (["--balances", "absent.toml"], "--balances"),
        (["--scenario", "absent.toml"], "--scenario"),
        (["--scenario", "/dev/zero"], "no plain file"),
        (["--scenario", "pipe"], "no plain file"),
        (["--scenario", "large"], "larger than"),
        (["--scenario", "piped.toml"], "pipe: is no plain file"),
        (["--scenario", "twice.toml", *NO_START], "impact: a symbol is there twice"),
        (["--market", "none", "--scenario", "moved.toml", *NO_START], "impact: with --market none"),
        (["--scenario", "part.toml", *NO_START], "endpoint is not used by kind maintenance"),
        (["--balances", "rebate.toml", *NO_START], "maker_fee_bps of b and taker_fee_bps of a"),
        (["--balances", "pipe"], "no plain file"),
        (["--ledger", "pipe"], "--ledger pipe"),
        (["--ledger", "/dev/null"], "no plain file"),
        (["--ledger", "full"], "name a new file"),
        (["--ledger", "nowhere/ledger"], "cannot be written"),
        (["--ready", "nowhere/ready"], "cannot be written"),
        (["--ready", "pipe"], "no plain file"),
        (["--port", "a"], "--port"),
        (["--nothing"], "--nothing"),
        (["more"], "more"),
    ],
)
def test_settings_that_are_refused(tmp_path, monkeypatch, capsys, options, says):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").write_text("{}\n")
    (tmp_path / "large").write_text("#" * (1 << 21))
    (tmp_path / "piped.toml").write_text('[[latency]]\nway = "order"\nmodel = "recorded"\nfile = "pipe"\n')
    moved = '[[impact]]\nmodel = "almgren_chriss"\ngamma = 0.1\n'
    (tmp_path / "moved.toml").write_text(moved)
    (tmp_path / "twice.toml").write_text(moved + moved + 'symbol = "BTCUSDT"\n')
    (tmp_path / "part.toml").write_text('[[fault]]\nkind = "maintenance"\nendpoint = "GET /api/v3/depth"\n')
    (tmp_path / "rebate.toml").write_text(
        '[[account]]\nname = "a"\nbalances = {}\ntaker_fee_bps = "1"\n'
        '[[account]]\nname = "b"\nbalances = {}\nmaker_fee_bps = "-1.5"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bot4-exchange", *options])
    with pytest.raises(SystemExit) as end:
        door.main()
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    lines = [line for line in said.err.splitlines() if ": loading; " not in line]  # said where the machine is busy
    assert len(lines) == 1, said.err
    assert lines[0].startswith("bot4-exchange: ") and says in lines[0]


def test_a_port_that_is_taken(tmp_path):
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        command = [*COMMAND, "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name a free port" in done.stderr


def test_a_start_that_takes_long_says_so(tmp_path):
    slow = "import bot4.cli.exchange as door; door.TELL_LOADING_S = 0.0; door.main()"
    command = [sys.executable, "-c", slow, "--market", "none", "--ready", "ready.json", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        try:
            assert process.stderr.readline().startswith(b"bot4-exchange: loading")
            assert json.loads(process.stdout.readline())["rest"].startswith("http://127.0.0.1:")
        finally:
            process.terminate()
    assert process.returncode == 0


def test_a_crowd_of_silent_clients_shuts_nobody_out(tmp_path):
    if shutil.which("prlimit") is None:
        pytest.skip("no prlimit here")

    class Narrow(ExchangeServer):
        prefix = ("prlimit", "--nofile=128:128")

    with contextlib.ExitStack() as crowd, Narrow(tmp_path, scenario=WIDE) as server:
        for number in range(300):
            client = crowd.enter_context(sockets.create_connection(("127.0.0.1", server.address.port), 10))
            with contextlib.suppress(OSError):  # it may have been ended by one that came later
                client.sendall(b"GET /api/v3/ti" if number % 2 else b"\r\n")
            if number % 50 == 0:
                with contextlib.closing(server.new_http()) as newcomer:
                    newcomer.request("GET", "/api/v3/ping")
                    assert newcomer.getresponse().status == 200
        assert len(psutil.Process(server.process.pid).net_connections("tcp")) < 128
        server.stop()


def test_a_killed_exchange_leaves_a_ledger_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its keys are left behind
    with ExchangeServer(tmp_path, "--speed", "50x", scenario=WIDE, market="generated:2") as server:
        for _ in range(5):
            server.done("POST", "order", **LIMIT)
        server.done("POST", "order", symbol=BTC, side="BUY", type="MARKET", quantity="0.01")
        server.process.kill()
        server.process.wait(10)
        assert recompute(server.ledger).kinds["fill"] > 0
        whole = server.ledger.read_bytes()
        whole = whole[: whole.rindex(b"\n") + 1]
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(whole + b'{"seq":12')
        assert recompute(torn) == recompute(server.ledger)._replace(torn=b'{"seq":12')


def test_the_keys_of_a_killed_exchange_go_with_the_next_start_and_of_a_living_one_stay(tmp_path, monkeypatch):
    home = tmp_path / "tmp"
    home.mkdir()
    monkeypatch.setenv("TMPDIR", str(home))
    (home / "bot4-exchange-notes.d-1").mkdir()  # somebody else's
    for name in ("killed", "living", "next"):
        (tmp_path / name).mkdir()
    with ExchangeServer(tmp_path / "killed") as killed, ExchangeServer(tmp_path / "living") as living:
        assert len(list(home.glob("bot4-exchange-*/*.pem"))) == 2
        killed.process.kill()
        killed.process.wait(10)
        with ExchangeServer(tmp_path / "next") as following:
            kept = {path.name.split("-")[2].split(".")[0] for path in home.iterdir()}
            assert kept == {str(living.process.pid), str(following.process.pid), "notes"}
            following.stop()
        living.stop()
    assert [path.name for path in home.iterdir()] == ["bot4-exchange-notes.d-1"]

"""ccxt's process under the gateway: it is killed, it hangs, it is lied to, and no order goes out twice or late.

The exchange's ledger is the judge of what was sent. Everything is real: the process, ccxt, the sockets.
"""

import asyncio
import json
import os
import signal
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import trustme
from rig.exchange_bybit import BTC
from rig.exchange_bybit_ccxt import OPTIONS
from rig.gateway import Exchange, instrument_row
from rig.gateway_ccxt import CcxtRig
from rig.journal import wait_for
from sim.test_gateway import ended, link, links, make_flat

from bot4.adapters.ccxt.private import CcxtPrivate
from bot4.adapters.ccxt.serve import NotSentError, _Request, _request, made, point
from bot4.adapters.ccxt.words import BybitLinear
from bot4.model import enums as e
from bot4.ports.gateway import TradeRow
from bot4.ports.gateway_values import Keys
from bot4.settings.schema import Gateway
from workers.gateway import ccxt_process

pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with Exchange(tmp_path_factory.mktemp("exchange")) as server:
        server.make_book()
        yield server
        server.conserved()
        server.stop()


@pytest.fixture
def calm(exchange):
    exchange.heal()
    yield exchange
    make_flat(exchange)


def gone(pid):
    return not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_killed_in_the_midst_of_an_order_it_is_begun_anew_and_the_order_found_out(tmp_path, calm):
    with CcxtRig(tmp_path, calm).ready() as rig:
        before = rig.process.pid
        calm.fault(kind="late_after", endpoint="POST /v5/order/create", delay_ms=1_500)
        bought = rig.place(1, 10)
        rig.until(lambda: links(calm)[0][link(bought)])
        assert rig.process.under_way
        os.kill(before, signal.SIGKILL)
        calm.heal()
        rig.until(lambda: ended(rig, bought))
        rig.until(lambda: rig.process.pid not in (0, before) and rig.agent.is_ready)
        assert rig.kinds(bought) == ["ack", "fill"]
        again = rig.place(-1, 10)
        rig.until(lambda: ended(rig, again))
    sent, taken, _ = links(calm)
    assert sent[link(bought)] == taken[link(bought)] == sent[link(again)] == taken[link(again)] == 1
    assert gone(rig.process.pid) and gone(before)


def test_one_that_hangs_is_killed_and_sends_nothing_any_more(tmp_path, calm):
    with CcxtRig(tmp_path, calm).ready() as rig:
        before = rig.process.pid
        os.kill(before, signal.SIGSTOP)
        bought = rig.place(1, 10)  # lies in the socket of who does not read
        rig.until(lambda: rig.process.pid not in (0, before) and rig.agent.is_ready)
        rig.until(lambda: rig.of(bought))
        assert [int(report["kind"]) for report in rig.of(bought)] == [e.REPORT_NOT_FOUND]
        assert rig.agent.stats["never_landed"] == 1
        assert gone(before)
    assert links(calm)[0][link(bought)] == 0


def test_what_was_asked_for_too_long_ago_is_not_sent(tmp_path, calm):
    with CcxtRig(tmp_path, calm).ready() as rig:
        order = {"symbol": BTC, "link": "7" * 32, "side": "buy", "type": "market", "qty": "0.001", "price": "",
                 "stop": "", "tif": "", "post_only": False, "reduce_only": False}  # fmt: skip
        call = {"name": "place", "now_ms": time.time_ns() // 10**6, "arguments": order}
        rig.process.under_way[99] = time.monotonic_ns() + 10**10
        rig.process.say(json.dumps({"token": 99, "until_ns": 1, "call": call}).encode())
        found = []

        def answered():
            rig.process.turn()
            found.extend(reply for token, reply in rig.process.replies if token == 99)
            return found

        wait_for(answered)
        raised = json.loads(found[0].body)["raised"]
        assert raised["sent"] is False
    assert links(calm)[0]["7" * 32] == 0


def test_what_is_under_way_when_it_dies_is_told_as_unanswered(tmp_path, calm):
    with CcxtRig(tmp_path, calm).ready() as rig:
        rig.process.under_way[98] = time.monotonic_ns() + 10**11
        before = rig.process.pid
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: rig.process.turn() or rig.process.pid != before)
        assert "ended" in dict(rig.process.replies)[98].error


FORGETFUL = """
from bot4.adapters.ccxt.words import BybitLinear
BybitLinear.options = {**BybitLinear.options, "tradesLimit": 2}
from workers.ccxt_venue import main
main()
"""  # ccxt keeps a thousand trades between two looks of ours, and forgets the others without a word


def test_what_ccxt_forgets_between_two_looks_is_found_by_asking(tmp_path, calm):
    with CcxtRig(tmp_path, calm) as rig:
        _, at, named, *rest = rig.process._command[1:]
        assert (at, named) == ("-m", "workers.ccxt_venue")
        rig.process._command[1:] = ["-P", "-c", FORGETFUL, *rest]
        rig.ready()
        calm.be("maker")
        for number in range(12):
            calm.done("POST", "order/create", category="linear", symbol=BTC, side="Sell", orderType="Limit",
                      qty="0.001", price=f"{60_000.9 - number * 0.1:.1f}")  # fmt: skip
        heard = []
        read = rig.agent._private.read

        def hear(message):
            told = read(message)
            heard.extend(row for row in told.rows if isinstance(row, TradeRow))
            return told

        rig.agent._private.read = hear
        calm.be("main")  # a person's order: of ours its own state would tell that there are more
        calm.done("POST", "order/create", category="linear", symbol=BTC, side="Buy", qty="0.012", orderType="Market")
        rig.until(lambda: rig.lots() == 12)
        assert 0 < len(heard) < 12, "nothing was lost"
        assert sum(report["kind"] == e.REPORT_FILL for report in rig.events) == 12


def test_garbage_in_answers_ends_nothing(tmp_path, calm):
    with CcxtRig(tmp_path, calm).ready() as rig:
        before = rig.process.pid
        for kind in ("garbage", "empty"):
            calm.fault(kind=kind, endpoint="GET /v5/*", probability=0.3)
        orders = []
        for side in (1, -1, 1, -1):
            orders.append(rig.place(side, 2))
            rig.until(lambda: ended(rig, *orders))
        calm.heal()
        rig.until(lambda: rig.agent.is_ready and not rig.agent.differs)
        assert rig.lots() == 0 and rig.process.pid == before
    assert max(links(calm)[0][link(one)] for one in orders) == 1


def test_its_key_stands_neither_in_its_arguments_nor_in_its_environment(tmp_path, calm):
    account = next(one for one in calm.ready["accounts"] if one["name"] == "main")
    with CcxtRig(tmp_path, calm).ready() as rig:
        place = Path(f"/proc/{rig.process.pid}")
        shown = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
        assert b"ccxt_venue" in shown
        assert account["api_key"].encode() not in shown and account["api_secret"].encode() not in shown


def test_an_order_is_one_request_whatever_ccxt_would_do(tmp_path, calm):
    """ccxt is told to try again, and the venue takes the order and hangs up."""
    import ccxt.pro  # the judge is what it does by itself

    calm.be("main")
    calm.fault(kind="reset_after", endpoint="POST /v5/order/create")
    orders = []

    async def place(guarded):
        kind = made(ccxt.pro.bybit) if guarded else ccxt.pro.bybit
        more = {"maxRetriesOnFailure": 2, "enableUnifiedMargin": False, "enableUnifiedAccount": True}
        venue = kind({"apiKey": calm.ready["api_key"], "secret": calm.ready["api_secret"], "cafile": calm.ready["ca"],
                      "options": {**OPTIONS, **more}, "enableRateLimit": False})  # fmt: skip
        point(venue.urls["api"], calm.ready["rest"], calm.ready["ws"])
        name = ("a" if guarded else "b") * 32
        orders.append(name)
        try:
            await venue.load_markets()
            _request.set(_Request("place", venue.milliseconds(), time.monotonic_ns() + 10**11))
            with pytest.raises((NotSentError, ccxt.NetworkError, ccxt.ExchangeError)):
                await venue.create_order("BTC/USDT:USDT", "market", "buy", 0.001, None, {"clientOrderId": name})
        finally:
            await venue.close()

    asyncio.run(place(False))
    asyncio.run(place(True))
    sent = links(calm)[0]
    calm.be("maker")
    assert sent[orders[0]] > 1 and sent[orders[1]] == 1


class _Elsewhere(BaseHTTPRequestHandler):
    """Whoever asks is sent to another place."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(307)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()


def why_not(ready):
    """Why ccxt's process does not come up there."""
    gateway = Gateway(rest_url=ready["rest"], ws_private_url=ready["rest"], ca_file=ready["ca"], ccxt="bybit")
    private = CcxtPrivate(BybitLinear, [BTC], instrument_row())
    process = ccxt_process("bybit_linear", gateway, Keys("", ""), private, private.differs)
    try:
        wait_for(lambda: process.turn() or process.trouble)
        return process.trouble
    finally:
        process.close()


def test_a_venue_that_sends_us_elsewhere_is_not_followed(tmp_path):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        rest = f"https://127.0.0.1:{server.server_address[1]}"
        assert "the venue sends us elsewhere" in why_not({"rest": rest, "ca": str(tmp_path / "ca.pem")})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert _Elsewhere.asked and not any("elsewhere" in path for path in _Elsewhere.asked)


def test_another_machine_is_not_even_dialled():
    assert "live trading beyond this machine" in why_not({"rest": "https://192.0.2.1", "ca": None})


def test_a_contract_of_another_size_is_refused_before_anything_is_asked(tmp_path, calm):
    """The settings' tick is not the venue's: every order would be ten times another one."""
    rig = CcxtRig(tmp_path, calm, tick_e8=1_000_000)
    with rig:
        wait_for(lambda: rig.turn() or rig.process.trouble)
        assert rig.process.trouble == 'instruments.toml: BTCUSDT: tick_size: 0.01 is not ccxt\'s; write "0.1"'

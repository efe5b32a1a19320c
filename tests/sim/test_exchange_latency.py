"""A server whose ways are slow: orders land late, answers and events come late, and nothing overtakes."""

import json
import time

import pytest
from rig.exchange_server import WIDE, ExchangeServer, ask

pytestmark = pytest.mark.compiled

BTC = "BTCUSDT"
LIMIT = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000", "quantity": "0.01"}
SLOW = WIDE + "".join(
    f'[[latency]]\nway = "{way}"\nmodel = "constant"\nus = {us}\n'
    for way, us in (("order", 300_000), ("cancel", 150_000), ("answer", 100_000), ("data", 200_000))
)
UNEVEN = WIDE + "".join(
    f'[[latency]]\nway = "{way}"\nmodel = "log_normal"\nus = 5_000\nsigma = 1.5\n' for way in ("order", "answer")
)
EARLY_S = 0.002  # the loop's timers are whole ms


def timed(action):
    begin = time.monotonic()
    found = action()
    return time.monotonic() - begin, found


def lines_of(server):
    return [json.loads(line) for line in server.ledger.read_bytes().splitlines()]


def test_orders_cancels_answers_and_data_take_their_time(tmp_path):
    with ExchangeServer(tmp_path, scenario=SLOW) as server:
        with server.listen("/ws-api/v3") as api, server.listen("/ws/btcusdt@bookTicker") as market:
            ask(api, "userDataStream.subscribe.signature", **server.socket_params())
            took, order = timed(lambda: server.done("POST", "order", **LIMIT))
            assert took >= 0.4 - EARLY_S
            json.loads(market.recv(10))
            heard_s = time.time()
            assert json.loads(api.recv(10))["event"]["x"] == "NEW"
            told_s = time.time()
            took, _ = timed(lambda: server.done("DELETE", "order", symbol=BTC, orderId=order["orderId"]))
            assert took >= 0.25 - EARLY_S
            took, answer = timed(lambda: ask(api, "order.place", **server.socket_params(**LIMIT)))
            assert took >= 0.4 - EARLY_S and answer["status"] == 200
        server.stop()
        lines = lines_of(server)
    sent = [line["t_ns"] for line in lines if line["kind"] == "request" and "/api/v3/order?" in line["target"]]
    landed = [line["t_ns"] for line in lines if line["kind"] == "order"]
    assert landed[0] - sent[0] >= (0.3 - EARLY_S) * 1e9
    assert landed[1] - sent[1] >= (0.15 - EARLY_S) * 1e9
    assert heard_s - landed[0] / 1e9 >= 0.2 - EARLY_S
    assert told_s - landed[0] / 1e9 >= 0.1 - EARLY_S


def test_on_one_connection_nothing_overtakes(tmp_path):
    with ExchangeServer(tmp_path, scenario=UNEVEN) as server:
        with server.listen("/ws-api/v3") as api:
            for number in range(40):
                params = server.socket_params(**LIMIT, newClientOrderId=f"n{number}")
                api.send(json.dumps({"id": number, "method": "order.place", "params": params}))
            answers = [json.loads(api.recv(30)) for _ in range(40)]
        assert [answer["id"] for answer in answers] == list(range(40))
        assert [answer["result"]["clientOrderId"] for answer in answers] == [f"n{number}" for number in range(40)]
        numbers = [answer["result"]["orderId"] for answer in answers]
        assert numbers == sorted(numbers)
        server.stop()

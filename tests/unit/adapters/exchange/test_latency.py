"""Latencies of a scenario: by way and model, the seed's own, and what is refused."""

import pytest
from rig.exchange_desk import START_NS, Desk

from bot4.adapters.exchange.scenario import Scenario
from bot4.adapters.exchange.table import REST, SOCKET
from bot4.model.errors import SettingsError

START_MS = START_NS // 1_000_000


def scenario(tmp_path, text):
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario(path, START_MS)


def test_which_way_a_request_takes(tmp_path):
    way_of = Desk(tmp_path).gateway.way
    ways = {f"{method} {path}": way_of(f"{method} {path}") for method, path in REST}
    ways |= {name: way_of(name) for name in SOCKET}
    assert {name for name, way in ways.items() if way == "order"} == {
        "POST /api/v3/order", "POST /api/v3/order/test", "POST /api/v3/order/cancelReplace", "POST /api/v3/order/oco",
        "PUT /api/v3/order/amend/keepPriority", "POST /api/v3/orderList/oco", "POST /api/v3/orderList/oto",
        "POST /api/v3/orderList/otoco", "order.place", "order.cancelReplace", "order.amend.keepPriority",
        "orderList.place", "orderList.place.oco", "orderList.place.oto", "orderList.place.otoco",
    }  # fmt: skip
    assert {name for name, way in ways.items() if way == "cancel"} == {
        "DELETE /api/v3/order", "DELETE /api/v3/openOrders", "DELETE /api/v3/orderList", "order.cancel",
        "openOrders.cancelAll", "orderList.cancel",
    }  # fmt: skip
    assert way_of("v3/order.place") == "order"


def test_each_way_has_its_own_latencies(tmp_path):
    (tmp_path / "samples").write_text("1000000\n3000000\n")
    (tmp_path / "measured").write_text("req_ts,exch_ts,resp_ts\n0,1000000,3000000\n1000000000,1003000000,1004000000\n")
    text = """
seed = {}
[[latency]]
way = "order"
model = "log_normal"
us = 2_000
sigma = 0.4
[[latency]]
way = "cancel"
model = "recorded"
file = "samples"
[[latency]]
way = "answer"
model = "interpolated"
file = "measured"
"""
    made = scenario(tmp_path, text.format(3))
    now = START_NS
    drawn = [made.latency_s("order", now) for _ in range(50)]
    assert len(set(drawn)) == 50 and sorted(drawn)[25] == pytest.approx(0.002, rel=0.3)
    assert [made.latency_s("cancel", now) for _ in range(3)] == [0.001, 0.003, 0.001]
    assert made.latency_s("data", now) is None
    begin, end = 1_000_000, 1_003_000_000  # when the measurements were answered
    assert made.latency_s("answer", now) == 0.002
    assert made.latency_s("answer", now + (end - begin) // 2) == 0.0015
    assert made.latency_s("answer", now + end - begin) == 0.001
    assert made.latency_s("answer", now + end - begin + 1) == 0.002, "and over again"
    assert drawn == [scenario(tmp_path, text.format(3)).latency_s("order", now)] + drawn[1:]
    assert drawn[0] != scenario(tmp_path, text.format(4)).latency_s("order", now)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("way = 'query'\nmodel = 'constant'\nus = 1", "way"),
        ("way = 'order'\nmodel = 'normal'\nus = 1", "model"),
        ("way = 'order'\nmodel = 'constant'", "us is needed"),
        ("way = 'order'\nmodel = 'constant'\nus = 0", "us"),
        ("way = 'order'\nmodel = 'constant'\nus = 60000001", "us"),
        ("way = 'order'\nmodel = 'constant'\nus = 1\nsigma = 1.0", "sigma is not used"),
        ("way = 'order'\nmodel = 'log_normal'\nus = 1", "sigma is needed"),
        ("way = 'order'\nmodel = 'log_normal'\nus = 1\nsigma = nan", "sigma"),
        ("way = 'order'\nmodel = 'recorded'\nus = 1", "us is not used"),
        ("way = 'order'\nmodel = 'recorded'", "file is needed"),
        ("way = 'order'\nmodel = 'recorded'\nfile = 'none'", "cannot be read"),
        ("way = 'order'\nmodel = 'interpolated'\nfile = 'scenario.toml'", "line 1"),
        ("way = 'order'\nmodel = 'constant'\nus = 1\n[[latency]]\nway = 'order'\nmodel = 'constant'\nus = 2", "twice"),
    ],
)
def test_latencies_that_are_refused(tmp_path, text, says):
    with pytest.raises(SettingsError) as error:
        scenario(tmp_path, f"[[latency]]\n{text}\n")
    assert says in str(error.value) and "\n" not in str(error.value)

"""Scenario files, faults by seed, the generated market by seed: the same seed gives the same bytes."""

import hashlib
import json
import random

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, Desk

from bot4.adapters.exchange.owner import read_owners
from bot4.adapters.exchange.scenario import Scenario
from bot4.model.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sed = 1", "remove it, known here: seed, limits, rules, impact, "),
        ("seed = -1", "seed"),
        ("seed = 'x'", "seed"),
        ("[limits]\norders_10s = 0", "orders_10s"),
        ("[limits]\nmore = 1", "more"),
        ("[[fault]]\nendpoint = '*'", "kind"),
        ("[[fault]]\nkind = 'worse'", "write one of timeout_before, "),
        ("[[fault]]\nkind = 'empty'\nprobability = 1.5", "probability"),
        ("[[fault]]\nkind = 'error_after'\nstatus = 200", "status"),
        ("[[fault]]\nkind = 'late_after'\ndelay_ms = -1", "delay_ms"),
        ("[[fault]]\nkind = 'empty'\nforever = true", "forever"),
        ("seed = ", "--scenario"),
        ("\x00", "--scenario"),
        ("a = " + "[" * 100_000, "nested"),
    ],
)
def test_scenarios_that_are_refused(tmp_path, text, says):
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        Scenario(path, 0)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_fault_of_what_there_is_not(tmp_path):
    for text, says in (
        ("kind='halt'\nsymbol='NOPE'", "NOPE"),
        ("kind='filters'\nfilters={max_color=1}", "max_color"),
        ("kind='filters'\nfilters={min_qty_e8=0}", "filters"),
        ("kind='filters'\nfilters={min_qty_e8=500_000_000_000}", "is above max_qty_e8"),
    ):
        with pytest.raises(SettingsError) as error:
            Desk(tmp_path, scenario=f"[[fault]]\n{text}", ledger=says)
        assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "account"),
        ("a = " + "[" * 100_000, "nested"),
        ("[[account]]\nname='a'", "balances"),
        ("[[account]]\nname='A B'\nbalances={}", "name"),
        ("[[account]]\nname='a'\nbalances={USDT='-1'}", "USDT"),
        ("[[account]]\nname='a'\nbalances={USDT='NaN'}", "USDT"),
        ("[[account]]\nname='a'\nbalances={USDT='0.000000001'}", "USDT"),
        ("[[account]]\nname='a'\nbalances={XRP='1'}", "XRP"),
        ("[[account]]\nname='a'\nbalances={}\nmaker_fee_bps='2000'", "maker_fee_bps"),
        ("[[account]]\nname='a'\nbalances={}\n[[account]]\nname='a'\nbalances={}", "two of that name"),
        ("[[account]]\nname='market-0'\nbalances={}", "market-"),
    ],
)
def test_accounts_that_are_refused(tmp_path, text, says):
    path = tmp_path / "balances.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_owners(path)
    assert says in str(error.value)


def test_accounts_of_a_file(tmp_path):
    path = tmp_path / "balances.toml"
    path.write_text('[[account]]\nname="a"\nbalances={USDT="1.5"}\ntaker_fee_bps="7.5"\nmaker_fee_bps="-1"\n')
    (owner,) = read_owners(path).accounts
    assert (owner.name, owner.balances, owner.tiers) == ("a", {"USDT": 150_000_000}, ((0, -100, 750),))


def scenario(tmp_path, text):
    path = tmp_path / "s.toml"
    path.write_text(text)
    return Scenario(path, 1_000)


def test_how_often_a_fault_strikes(tmp_path):
    made = scenario(
        tmp_path, "[[fault]]\nkind='empty'\nendpoint='POST *'\ntimes=2\nskip=1\nafter_ms=10\nduration_ms=5\n"
    )
    struck = [made.request("POST /api/v3/order", now) is not None for now in (1_009, 1_010, 1_011, 1_012, 1_013, 1_014)]
    assert struck == [False, False, True, True, False, False]
    assert made.request("GET /api/v3/order", 1_012) is None
    late = scenario(tmp_path, "[[fault]]\nkind='empty'\nafter_ms=10\nduration_ms=5\n")
    assert [late.request("x", now) is not None for now in (1_009, 1_010, 1_014, 1_015)] == [False, True, True, False]
    share = scenario(tmp_path, "seed=4\n[[fault]]\nkind='event_drop'\nstream='execution*'\nprobability=0.25\n")
    struck = [share.event("executionReport", 1_000) is not None for _ in range(2_000)]
    assert 400 < sum(struck) < 600
    again = scenario(tmp_path, "seed=4\n[[fault]]\nkind='event_drop'\nstream='execution*'\nprobability=0.25\n")
    assert struck == [again.event("executionReport", 1_000) is not None for _ in range(2_000)]
    assert again.event("trade", 1_000) is None


def test_states_come_and_go(tmp_path):
    desk = Desk(tmp_path, scenario="""
[[fault]]
kind = "halt"
symbol = "BTCUSDT"
after_ms = 1000
duration_ms = 1000
[[fault]]
kind = "clock_skew"
skew_ms = 7000
after_ms = 3000
duration_ms = 1000
[[fault]]
kind = "filters"
symbol = "BTCUSDT"
filters = { min_notional_e8 = 100_000_000_000 }
after_ms = 5000
duration_ms = 1000
[[fault]]
kind = "replica_lag"
delay_ms = 500
after_ms = 7000
""")  # fmt: skip
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "59000", "quantity": "0.01"}

    def next_second():
        desk.tick(1.0)
        desk.gateway.states()

    desk.done(0, "POST", "order", **order)
    next_second()
    assert desk.refused(0, "POST", "order", **order) == (-1013, "Market is closed.")
    assert [row["status"] for row in desk.get("exchangeInfo")["symbols"]] == ["HALT", "TRADING"]
    next_second()
    desk.done(0, "POST", "order", **order)
    next_second()
    assert desk.refused(0, "POST", "order", **order)[0] == -1021
    assert desk.get("time")["serverTime"] == desk.now_ms + 7_000
    next_second()
    desk.done(0, "POST", "order", **order)
    next_second()
    assert desk.refused(0, "POST", "order", **order) == (-1013, "Filter failure: NOTIONAL")
    next_second()
    desk.done(0, "POST", "order", **order)
    next_second()
    placed = desk.done(0, "POST", "order", **order)
    assert desk.refused(0, "GET", "order", symbol=BTC, orderId=placed["orderId"])[0] == -2013
    assert len(desk.done(0, "GET", "openOrders")) == 4
    desk.tick(0.5)
    assert len(desk.done(0, "GET", "openOrders")) == 5
    desk.venue.ledger.close()
    faults = [json.loads(line) for line in desk.ledger.read_text().splitlines() if '"fault"' in line]
    assert [(line["reason"], line["target"]) for line in faults] == [
        ("halt", "on"), ("halt", "off"), ("clock_skew", "on"), ("clock_skew", "off"), ("filters", "on"),
        ("filters", "off"), ("replica_lag", "on"),
    ]  # fmt: skip


def test_states_of_one_kind_that_overlap(tmp_path):
    text = "[[fault]]\nkind='clock_skew'\nskew_ms=700\nafter_ms=1000\nduration_ms=2000\n"
    desk = Desk(tmp_path, scenario=text + text.replace("700", "50").replace("1000", "2000"))
    skews = []
    for _ in range(5):
        desk.gateway.states()
        skews.append(desk.venue.skew_ms)
        desk.tick(1.0)
    assert skews == [0, 700, 750, 50, 0]


def test_a_replica_that_lags_shows_what_has_ended_as_open(tmp_path):
    desk = Desk(tmp_path, scenario="[[fault]]\nkind='replica_lag'\ndelay_ms=500\n")
    desk.gateway.states()
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "59000", "quantity": "2"}
    canceled = desk.done(0, "POST", "order", **order)["orderId"]
    traded = desk.done(0, "POST", "order", **order)["orderId"]
    desk.tick(0.6)
    desk.limit(1, "SELL", "59000", "3")
    desk.done(0, "DELETE", "order", symbol=BTC, orderId=traded)
    rows = {row["orderId"]: (row["status"], row["executedQty"]) for row in desk.done(0, "GET", "openOrders")}
    assert rows == {canceled: ("NEW", "0.00000000"), traded: ("NEW", "0.00000000")}
    assert desk.done(0, "GET", "order", symbol=BTC, orderId=canceled)["status"] == "NEW"
    assert [row["status"] for row in desk.done(0, "GET", "allOrders", symbol=BTC)] == ["NEW", "NEW"]
    assert desk.done(0, "GET", "myTrades", symbol=BTC) == []
    desk.tick(0.6)
    assert desk.done(0, "GET", "openOrders") == []
    assert [row["status"] for row in desk.done(0, "GET", "allOrders", symbol=BTC)] == ["FILLED", "CANCELED"]
    assert len(desk.done(0, "GET", "myTrades", symbol=BTC)) == 2


def test_the_control_endpoint(tmp_path):
    desk = Desk(tmp_path)
    control = desk.gateway.control
    assert control("POST", "/control/fault", b'{"kind":"halt","symbol":"BTCUSDT"}').status == 200
    desk.gateway.states()
    assert desk.venue.symbol(BTC).status == "HALT"
    assert control("DELETE", "/control/fault", b"").status == 200
    desk.gateway.states()
    assert desk.venue.symbol(BTC).status == "TRADING"
    zero = b'{"kind":"filters","filters":{"max_orders":0}}'
    for body in (zero, b"[" * 50_000, b"", b"{}", b'{"kind":"worse"}', b'{"kind":"halt","symbol":"X"}', b"\xff", b"[]"):
        answer = control("POST", "/control/fault", body)
        assert answer.status == 400
        assert json.loads(answer.body)["error"].startswith("fault: ")
    assert json.loads(control("GET", "/control/money", b"").body)["BTC"]["fees_e8"] == 0
    assert control("GET", "/control/anything", b"").status == 404


def test_faults_are_bounded_and_those_that_are_over_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr("bot4.adapters.exchange.scenario.MAX_FAULTS", 3)
    desk = Desk(tmp_path)
    control = desk.gateway.control

    def kinds():
        return [row["kind"] for row in json.loads(control("GET", "/control/fault", b"").body)["faults"]]

    control("POST", "/control/fault", b'{"kind":"halt","symbol":"BTCUSDT","duration_ms":500}')
    control("POST", "/control/fault", b'{"kind":"error_before","endpoint":"GET /api/v3/ping","times":1}')
    assert control("POST", "/control/fault", b'{"kind":"garbage","endpoint":"x"}').status == 200
    desk.gateway.states()
    answer = control("POST", "/control/fault", b'{"kind":"empty"}')
    assert (answer.status, len(kinds())) == (400, 3)
    assert "there are 3 already; take some out with DELETE /control/fault" in json.loads(answer.body)["error"]
    assert desk.gateway.fault_of("GET /api/v3/ping") is not None  # and with it this one is over
    assert control("POST", "/control/fault", b'{"kind":"empty","endpoint":"y"}').status == 200
    assert kinds() == ["halt", "garbage", "empty"]
    desk.tick(1.0)
    assert control("POST", "/control/fault", b'{"kind":"empty","endpoint":"z"}').status == 400
    desk.gateway.states()  # the halt has been taken back now, and not before
    assert desk.venue.symbol(BTC).status == "TRADING"
    assert control("POST", "/control/fault", b'{"kind":"empty","endpoint":"z"}').status == 200
    assert control("DELETE", "/control/fault", b"").status == 200
    assert kinds() == []


def chaos(folder, seed, requests=150):
    """A market, an account that does anything, faults by probability: everything that was answered and written."""
    text = f"""
seed = {seed}
[limits]
request_weight_1m = 1000000000
orders_10s = 1000000
[[fault]]
kind = "error_before"
endpoint = "POST *"
probability = 0.1
[[fault]]
kind = "error_after"
endpoint = "* /api/v3/order"
probability = 0.1
[[fault]]
kind = "halt"
after_ms = 4000
duration_ms = 1000
"""
    desk = Desk(folder, scenario=text, market_seed=seed, speed=4.0)
    draw = random.Random(seed)
    answers = hashlib.sha256()
    for _ in range(requests):
        desk.tick(draw.random() * 0.2)
        desk.gateway.states()
        what = draw.random()
        account = draw.randrange(2)
        side = draw.choice(("BUY", "SELL"))
        (bid, _), (ask, _) = desk.venue.best(desk.venue.symbol(BTC))
        price = f"{(bid + draw.randrange(-400, 400) * 1_000_000) // 10**6 / 100:.2f}"
        if what < 0.5:
            method, path = "POST", "order"
            params = {"symbol": BTC, "side": side, "type": "LIMIT", "timeInForce": draw.choice(("GTC", "IOC", "FOK")),
                      "price": price, "quantity": f"{draw.randrange(1, 9_000) / 10_000}"}  # fmt: skip
        elif what < 0.7:
            method, path = "POST", "order"
            params = {"symbol": BTC, "side": side, "type": "MARKET", "quantity": f"{draw.randrange(1, 900) / 10_000}"}
        elif what < 0.8:
            method, path = "POST", "orderList/oco"
            params = {"symbol": BTC, "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER",
                      "abovePrice": f"{ask / 1e8 + 5:.2f}", "belowType": "STOP_LOSS",
                      "belowStopPrice": f"{bid / 1e8 - 5:.2f}"}  # fmt: skip
        else:
            opened = list(desk.venue.accounts[account].open)
            method, path = "DELETE", "order"
            params = {"symbol": BTC, "orderId": draw.choice(opened) if opened else 1}
        struck = desk.gateway.fault_of(f"{method} /api/v3/{path}")
        if struck is None or struck[0].kind == "error_after":
            desk.signed(account, method, path, **params)
            assert desk.answer.status < 500
            answers.update(desk.answer.body)
        if struck is not None:
            answers.update(desk.gateway.failure(struck[0]).body)
        desk.conserved()
    for account, heard in enumerate(desk.events):
        assert heard, account
        answers.update(json.dumps(heard).encode())
    desk.venue.ledger.close()
    kinds = recompute(desk.ledger).kinds
    assert kinds["fault"] > 2
    return answers.hexdigest(), hashlib.sha256(desk.ledger.read_bytes()).hexdigest(), kinds


def same_twice(tmp_path, seed, requests=150):
    """The same seed gives the same bytes, and another one others."""
    found = []
    for name in ("one", "two"):
        folder = tmp_path / f"{seed}-{name}"
        folder.mkdir()
        found.append(chaos(folder, seed, requests))
    assert found[0] == found[1]
    return found[0]


@pytest.mark.compiled
def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second = same_twice(tmp_path, 1), same_twice(tmp_path, 2)
    assert first[:2] != second[:2]
    assert first[2]["fill"] > 100

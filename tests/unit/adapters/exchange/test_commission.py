"""What trading costs: tiers by turnover, rebates, fees in the token; told to clients, in the ledger, conserved."""

import json

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_desk import BTC, Desk

from bot4.adapters.exchange.commission import WINDOW_HOURS, Turnover
from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.owner import read_owners
from bot4.model.errors import SettingsError

HOUR_S = 3_600
HOUR_MS = 3_600_000
FILE = """
[fee_token]
price = "500"
[[account]]
name = "a"
balances = { USDT = "10000000", BTC = "100", BNB = "1" }
maker_fee_bps = "10"
taker_fee_bps = "20"
pays_token = true
[[account.tier]]
turnover = "60000"
maker_fee_bps = "-0.5"
taker_fee_bps = "7.5"
[[account.tier]]
turnover = "180000"
maker_fee_bps = "-1"
taker_fee_bps = "5"
[[account]]
name = "b"
balances = { USDT = "10000000", BTC = "100" }
"""


def made(tmp_path, text=FILE, **more):
    path = tmp_path / "balances.toml"
    path.write_text(text)
    return Desk(tmp_path, owners=read_owners(path), **more)


ACCOUNT = "[[account]]\nname='a'\nbalances={}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fee_token]\nasset='BTC'\n" + ACCOUNT, "BTC is traded"),
        ("[fee_token]\nasset='bnb'\n" + ACCOUNT, "asset"),
        ("[fee_token]\nprice='0'\n" + ACCOUNT, "price"),
        ("[fee_token]\nprice='800000'\n" + ACCOUNT, "price"),
        ("[fee_token]\ndiscount='1.1'\n" + ACCOUNT, "discount"),
        ("[fee_token]\ndiscount='-0.1'\n" + ACCOUNT, "discount"),
        ("[fee_token]\ndiscount='0.0000001'\n" + ACCOUNT, "discount"),
        (ACCOUNT + "pays_token=true\n", "fee_token"),
        ("[[account]]\nname='a'\nbalances={BNB='1'}\n", "BNB"),
        (ACCOUNT + "[[account.tier]]\nturnover='0'\nmaker_fee_bps='1'\ntaker_fee_bps='1'\n", "turnover"),
        (ACCOUNT + "[[account.tier]]\nturnover='x'\nmaker_fee_bps='1'\ntaker_fee_bps='1'\n", "turnover"),
        (ACCOUNT + "[[account.tier]]\nturnover='1'\nmaker_fee_bps='1'\n", "taker_fee_bps"),
        (ACCOUNT + "[[account.tier]]\nturnover='1'\nmaker_fee_bps='1001'\ntaker_fee_bps='1'\n", "1: maker_fee_bps"),
        (ACCOUNT + 2 * "[[account.tier]]\nturnover='1'\nmaker_fee_bps='1'\ntaker_fee_bps='1'\n", "tier 2: turnover"),
    ],
)
def test_fees_that_are_refused(tmp_path, text, says):
    with pytest.raises(SettingsError) as error:
        made(tmp_path, text)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_turnover_is_that_of_thirty_days():
    turnover = Turnover()
    begin = 500_000 * HOUR_MS
    for hour in range(5):
        turnover.add(begin + hour * HOUR_MS + 17, 10**hour)
        turnover.add(begin + hour * HOUR_MS - 17, 10**hour)  # a clock that went back
    assert turnover.total_e8 == 22_222
    turnover.forget(begin + WINDOW_HOURS * HOUR_MS - 1)
    assert turnover.total_e8 == 22_222
    turnover.forget(begin + WINDOW_HOURS * HOUR_MS)
    assert turnover.total_e8 == 22_220
    turnover.forget(begin + (WINDOW_HOURS + 4) * HOUR_MS)
    assert turnover.total_e8 == 0 and not turnover._hours


def rates(desk, account=0):
    """Maker and taker as the account's commission says."""
    found = desk.done(account, "GET", "account/commission", symbol=BTC)["standardCommission"]
    assert found == desk.done(account, "GET", "account")["commissionRates"]
    return found["maker"], found["taker"]


def test_fees_follow_the_turnover_of_thirty_days(tmp_path):
    desk = made(tmp_path, FILE.replace("pays_token = true", ""))
    assert rates(desk) == ("0.00100000", "0.00200000")
    desk.limit(1, "SELL", "60000", "5")
    (fill,) = desk.limit(0, "BUY", "60000", "0.9")["fills"]
    assert (fill["commission"], fill["commissionAsset"]) == ("0.00180000", "BTC")
    assert rates(desk) == ("0.00100000", "0.00200000"), "54,000 are not enough"
    desk.tick(HOUR_S)
    (fill,) = desk.limit(0, "BUY", "60000", "0.1")["fills"]
    assert fill["commission"] == "0.00020000", "the fill that reaches a tier is of the one before"
    assert rates(desk) == ("-0.00005000", "0.00075000")
    (fill,) = desk.limit(0, "BUY", "60000", "1")["fills"]
    assert fill["commission"] == "0.00075000"
    desk.limit(0, "SELL", "70000", "1")
    assert desk.limit(1, "BUY", "70000", "1")["status"] == "FILLED"
    (trade,) = [row for row in desk.done(0, "GET", "myTrades", symbol=BTC) if row["isMaker"]]
    assert (trade["commission"], trade["commissionAsset"]) == ("-3.50000000", "USDT"), "a rebate"
    report = [event for event in desk.events[0] if event.get("x") == "TRADE"][-1]
    assert (report["n"], report["N"], report["m"]) == ("-3.50000000", "USDT", True)
    assert rates(desk) == ("-0.00010000", "0.00050000")
    desk.tick((WINDOW_HOURS - 1) * HOUR_S)  # the first 54,000 are too old
    assert rates(desk) == ("-0.00005000", "0.00075000"), "136,000 of the second hour are left"
    desk.tick(HOUR_S)
    assert rates(desk) == ("0.00100000", "0.00200000")
    assert rates(desk, 1) == ("0.00100000", "0.00100000"), "accounts without tiers"
    desk.conserved()
    recompute(desk.ledger)


def test_who_rests_pays_by_what_counts_when_it_trades(tmp_path):
    """An hour that passes without a request of the account changes its tier all the same."""
    desk = made(tmp_path, FILE.replace("pays_token = true", ""))
    desk.limit(1, "SELL", "60000", "1")
    desk.limit(0, "BUY", "60000", "1")
    desk.limit(0, "SELL", "61000", "1")
    desk.tick(WINDOW_HOURS * HOUR_S)
    desk.limit(1, "BUY", "61000", "1")
    assert desk.done(0, "GET", "myTrades", symbol=BTC)[-1]["commission"] == "61.00000000"


def test_fees_in_the_token(tmp_path):
    desk = made(tmp_path)
    answer = desk.done(0, "GET", "account/commission", symbol=BTC)
    assert answer["discount"] == {
        "enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB", "discount": "0.75000000",
    }  # fmt: skip
    desk.limit(1, "SELL", "60000", "5")
    (fill,) = desk.limit(0, "BUY", "60000", "1")["fills"]
    assert (fill["commission"], fill["commissionAsset"]) == ("0.18000000", "BNB"), "120 less a quarter, at 500"
    report = [event for event in desk.events[0] if event.get("x") == "TRADE"][-1]
    assert (report["n"], report["N"]) == ("0.18000000", "BNB")
    position = [event for event in desk.events[0] if event["e"] == "outboundAccountPosition"][-1]
    assert {"a": "BNB", "f": "0.82000000", "l": "0.00000000"} in position["B"]
    assert {"a": "BTC", "f": "101.00000000", "l": "0.00000000"} in position["B"]
    assert desk.done(0, "GET", "myTrades", symbol=BTC)[0]["commissionAsset"] == "BNB"
    assert desk.balances(0)["BNB"] == ("0.82000000", "0.00000000")
    desk.conserved()
    money = recompute(desk.ledger)
    assert money.fees["BNB"] == 18_000_000 and money.balances["a", "BNB"] == 82_000_000


def test_the_switch_of_the_token_and_an_empty_pocket(tmp_path):
    desk = made(tmp_path, FILE.replace('turnover = "60000"', 'turnover = "170000"'))
    desk.limit(1, "SELL", "60000", "9")

    def burn(method, **params):
        return desk.signed_at(0, method, "/sapi/v1/bnbBurn", **params)

    assert burn("GET") == (200, {"spotBNBBurn": True, "interestBNBBurn": False})
    assert burn("POST", spotBNBBurn="false")[1]["spotBNBBurn"] is False
    assert desk.limit(0, "BUY", "60000", "1")["fills"][0]["commissionAsset"] == "BTC"
    discount = desk.done(
        0, "POST", "order/test", symbol=BTC, side="BUY", type="MARKET", quantity="1", computeCommissionRates="true"
    )["discount"]
    assert (discount["enabledForAccount"], discount["enabledForSymbol"]) == (False, True)
    assert burn("POST", spotBNBBurn="true")[1]["spotBNBBurn"] is True
    assert desk.limit(0, "BUY", "60000", "2")["fills"][0]["commissionAsset"] == "BNB"
    assert desk.balances(0)["BNB"][0] == "0.64000000"
    fills = [desk.limit(0, "BUY", "60000", "2")["fills"][0] for _ in range(2)]
    assert [(fill["commissionAsset"], fill["commission"]) for fill in fills] == [("BNB", "0.09000000")] * 2
    assert burn("POST", spotBNBBurn="perhaps")[0] == 400
    big = desk.limit(0, "BUY", "60000", "1")["fills"][0]
    assert big["commissionAsset"] == "BNB"
    desk.limit(1, "SELL", "60000", "90")
    big = desk.limit(0, "BUY", "60000", "90")["fills"][-1]
    assert (big["commissionAsset"], big["commission"]) == ("BTC", "0.04450000"), "its pocket is empty"
    desk.conserved()
    recompute(desk.ledger)


def test_without_a_token_the_switch_changes_nothing(tmp_path):
    desk = Desk(tmp_path)
    assert desk.signed_at(0, "POST", "/sapi/v1/bnbBurn", spotBNBBurn="true")[0] == 200
    desk.limit(1, "SELL", "60000", "1")
    assert desk.limit(0, "BUY", "60000", "1")["fills"][0]["commissionAsset"] == "BTC"
    answer = desk.done(0, "GET", "account/commission", symbol=BTC)["discount"]
    assert (answer["enabledForAccount"], answer["enabledForSymbol"]) == (True, False)


def test_the_ledger_names_the_asset_of_every_fee(tmp_path):
    desk = made(tmp_path)
    desk.limit(1, "SELL", "60000", "1")
    desk.limit(0, "BUY", "60000", "1")
    lines = [json.loads(line) for line in desk.ledger.read_text().splitlines()]
    assert [(line["account"], line["asset"], line["fee_e8"]) for line in lines if line["kind"] == "fill"] == [
        ("a", "BNB", 18_000_000), ("b", "USDT", 60 * E8)
    ]  # fmt: skip
    assert [line["free_e8"] for line in lines if line["kind"] == "balance" and line["asset"] == "BNB"] == [
        E8, 82_000_000
    ]  # fmt: skip

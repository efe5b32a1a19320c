"""The venue liquidates our account: over real sockets, the position follows and nothing is missed.

The trade is nobody's order of ours: it is told as a close, and our own orders, which the venue has ended, are over.
"""

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_bybit import BTC
from rig.gateway import ACCOUNTS, Exchange, GatewayRig

from bot4.model import enums as e

pytestmark = pytest.mark.compiled
OTHERS = '[[account]]\nname = "other"\nbalances = { USDT = "100000000" }\n'


def order(server, side, qty, price=""):
    kind = {"orderType": "Limit", "price": price} if price else {"orderType": "Market"}
    server.done("POST", "order/create", category="linear", symbol=BTC, side=side, qty=qty, **kind)


def test_a_liquidation_is_a_close_that_nobody_ordered(tmp_path):
    with Exchange(tmp_path / "venue", accounts=ACCOUNTS + OTHERS) as server:
        server.make_book()
        with GatewayRig(tmp_path, server).ready() as rig:
            bought = rig.place(1, 15_000, price=600_010)
            rig.until(lambda: rig.lots() == 15_000)
            stop = rig.place(-1, 15_000, stop=500_000, flags=e.ORDER_REDUCE_ONLY)
            resting = rig.place(1, 5, price=520_000)
            rig.until(lambda: rig.of(stop) and rig.of(resting))
            server.be("maker")
            server.done("POST", "order/cancel-all", category="linear", symbol=BTC)
            order(server, "Buy", "20", "53000")
            order(server, "Buy", "0.001", "53500")
            server.be("other")
            order(server, "Sell", "0.001")
            rig.until(lambda: rig.lots() == 0)
            rig.until(lambda: rig.kinds(stop)[-1] == rig.kinds(resting)[-1] == "canceled")
            told = [event for event in rig.events if event["kind"] == e.REPORT_FILL]
            assert {int(event["leg"]) for event in told if event["side"] < 0} == {e.LEG_FLATTEN}
            assert sum(int(event["qty_lots"]) for event in told if event["side"] < 0) == 15_000
            assert rig.kinds(bought)[-1] == "fill"
        server.be("main")
        (row,) = server.done("GET", "position/list", category="linear", symbol=BTC)["list"]
        coin = server.done("GET", "account/wallet-balance", accountType="UNIFIED", coin="USDT")["list"][0]["coin"][0]
        assert (row["size"], coin["walletBalance"]) == ("0.000", "0")
        server.stop()
        assert recompute(server.ledger).balances["main", "USDT"] == 0

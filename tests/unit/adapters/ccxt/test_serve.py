"""What ccxt's process makes of the venue's lists: real ccxt, and the exchange's own words over a socket."""

from rig.ccxt_desk import Front
from rig.exchange_bybit import BybitDesk

from bot4.adapters.ccxt.words import BybitLinear

HOUR_MS = 3_600_000


def test_a_list_of_fundings_or_of_trades_is_read_to_its_last_page(tmp_path, monkeypatch):
    monkeypatch.setattr(BybitLinear, "trades_page", 5)
    desk = BybitDesk(tmp_path)
    desk.create(1, "Sell", "9", "60000")
    for _ in range(7):
        desk.create(0, "Buy", "0.01")
        desk.tick(1.0)
    for _ in range(6 * 3):
        desk.tick(8 * 3_600.0)
        desk.position(0)
    with Front(desk) as front:
        asked = {"since_ms": desk.now_ms - 6 * 24 * HOUR_MS - HOUR_MS, "until_ms": desk.now_ms, "link": ""}
        pages = front.answers("trades", asked)
    rows = [row for page in pages for row in page["rows"]]
    kinds = [row["what"] for row in rows]
    assert kinds == ["trade"] * 7 + ["funding"] * 18 and len({row["key"] for row in rows}) == 25
    assert [len(page["rows"]) for page in pages] == [5, 2, 0, 0, 5, 5, 5, 3]
    assert len(pages) == sum("/execution/list" in path for path in front.asked), "a call is one request"
    with Front(desk) as front:
        link = "9" * 32
        assert front.answers("trades", asked | {"link": link}) == [{"rows": [], "cursor": ""}]

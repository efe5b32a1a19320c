"""The rules of the recorded market, one by one, on captures written by hand."""

import pytest
from oracle.exchange_ledger import recompute
from rig.exchange_capture import STEP_NS, Capture
from rig.exchange_desk import BTC
from rig.exchange_recorded import RecordedDesk, open_files

from bot4.model.errors import RecordingError
from bot4.model.queue import read_queue

BIDS = "60000.00 5, 59999.00 4, 59998.00 9"
ASKS = "60000.10 3, 60001.00 4, 60002.00 9"
STEP_S = STEP_NS / 1e9


class Play:
    """A desk in front of a capture; `next` plays its next line."""

    def __init__(self, folder, capture, queue="risk-averse", **more):
        capture.wait(5).depth()  # the end comes later
        recording = open_files([capture.write(folder / "capture.gz")], queue)
        self.desk = RecordedDesk(folder, recording, accounts=1, **more)
        self.tape = []
        self.desk.venue.on_trades = lambda trades: self.tape.extend(
            (text(trade.price_e8), text(trade.qty_e8)) for _, trade, _ in trades
        )
        self.symbol = self.desk.symbols[BTC]

    def next(self, count=1):
        for _ in range(count):
            self.desk.tick(STEP_S)

    def book(self, side, count=2):
        levels = self.desk.venue.core.depth(self.symbol, side == "BUY", count)
        return [(text(price), text(qty)) for price, qty in levels]

    def queue(self, price, side="BUY"):
        """Who waits at a price: our lots as they are, those of the market in brackets."""
        ticks = round(float(price) * 100)
        market = self.desk.made.market.symbols[BTC]._account.index
        rows = self.desk.venue.core.queue(self.symbol, side == "BUY", ticks)
        return [[text(row[3] * 1_000)] if row[1] == market else text(row[3] * 1_000) for row in rows]

    def fills(self):
        return [(event["L"], event["l"]) for event in self.desk.events[0] if event.get("x") == "TRADE"]

    def ours(self):
        """Price and quantity of our fills, without zeros at the end."""
        return [(short(price), short(qty)) for price, qty in self.fills()]

    def finish(self):
        self.desk.conserved()
        recompute(self.desk.ledger)


def short(number):
    return number.rstrip("0").rstrip(".")


def text(units):
    return short(f"{units / 1e8:.8f}")


@pytest.fixture
def play(tmp_path):
    made = []

    def start(capture, queue="risk-averse", **more):
        made.append(Play(tmp_path, capture, queue, **more))
        return made[-1]

    yield start
    for one in made:
        one.finish()


def test_a_trade_takes_what_was_there_before_us(play):
    capture = Capture(BIDS, ASKS).trade("60000.00", "3").trade("60000.00", "2.5").trade("60000.00", "1")
    one = play(capture)
    one.desk.limit(0, "BUY", "60000.00", "1")
    assert one.queue("60000.00") == [["5"], "1"]
    one.next()
    assert one.ours() == [] and one.queue("60000.00") == [["2"], "1"] and one.tape == [("60000", "3")]
    one.next()
    assert one.ours() == [("60000", "0.5")]
    assert one.tape[1:] == [("60000", "0.5"), ("60000", "2")], "the trade is there once, ours and others'"
    one.next()
    assert one.ours() == [("60000", "0.5")] * 2 and one.tape[-1] == ("60000", "0.5")


@pytest.mark.parametrize(
    ("queue", "ahead"),
    [("risk-averse", "6"), ("power", "4.4"), ("power:3", "4.22223"), ("log", "4.83206")],
)
def test_who_went_without_a_trade_is_what_the_model_says(play, queue, ahead):
    capture = Capture("60000.00 6, 59999.00 4", ASKS).depth("60000.00 9").depth("60000.00 7").depth("60000.00 1")
    one = play(capture, queue)
    one.desk.limit(0, "BUY", "60000.00", "1")
    one.next()
    assert one.queue("60000.00") == [["6"], "1", ["3"]]
    one.next()
    first, ours, behind = one.queue("60000.00")
    assert ours == "1" and round(float(first[0]) + float(behind[0]), 5) == 7
    assert first == [ahead]
    one.next()
    total = sum(float(part[0]) for part in one.queue("60000.00") if isinstance(part, list))
    assert round(total, 5) == 1 and "1" in one.queue("60000.00")


def test_of_two_orders_the_last_is_asked_first(play):
    capture = Capture("60000.00 4, 59999.00 4", ASKS).depth("60000.00 8").depth("60000.00 12").depth("60000.00 6")
    one = play(capture)
    one.desk.limit(0, "BUY", "60000.00", "1")
    one.next()
    one.desk.limit(0, "BUY", "60000.00", "2")
    one.next()
    assert one.queue("60000.00") == [["4"], "1", ["4"], "2", ["4"]]
    one.next()
    assert one.queue("60000.00") == [["4"], "1", ["2"], "2"]


@pytest.mark.parametrize("late", [False, True])
def test_a_decrease_that_a_trade_explains_is_no_cancel(play, late):
    """The trade may be heard of after the change that holds it."""
    capture = Capture(BIDS, ASKS)
    if late:
        capture.depth("60000.00 3").trade("60000.00", "2", ago_ms=150)
    else:
        capture.trade("60000.00", "2").depth("60000.00 3")
    one = play(capture, "power")
    one.desk.limit(0, "BUY", "60000.00", "1")
    one.next(3)
    assert one.queue("60000.00") == [["3"], "1"]
    assert one.tape == [("60000", "2")]


def test_what_we_took_is_not_offered_again(play):
    capture = Capture(BIDS, ASKS).quote("60000.00 5", "60000.10 3").depth("60000.00 6", "60000.10 3")
    capture.trade("60000.50", "1", seller=False).quote("60000.00 6", "60000.10 4").depth("", "60000.10 4")
    one = play(capture)
    one.desk.market(0, "BUY", quantity="2")
    assert one.ours() == [("60000.1", "2")]
    for _ in range(3):
        one.next()
        assert one.book("SELL") == [("60000.1", "1"), ("60001", "4")]
    one.next()
    assert one.book("SELL")[0] == ("60000.1", "2"), "a quote has said one more"
    one.desk.market(0, "BUY", quantity="4")
    one.next()
    assert one.book("SELL")[0] == ("60001", "2"), "the change says the same again"


def test_a_level_that_flickers_by_a_lot_gives_us_a_lot(play):
    capture = Capture(BIDS, ASKS)
    for lots in ("3.00001", "3", "3.00001", "2.5", "3.5"):
        capture.depth("", f"60000.10 {lots}")
    capture.trade("60000.10", "2", seller=False).depth("", "60000.10 1.5").depth("60000.00 5", "60000.10 4")
    one = play(capture)
    one.desk.market(0, "BUY", quantity="3")
    for offered in ("0.00001", None, "0.00001", None, "1"):
        one.next()
        first = one.book("SELL")[0]
        assert first == (("60000.1", offered) if offered else ("60001", "4"))
    one.next(2)
    assert one.book("SELL")[0] == ("60000.1", "1"), "the trade took what we had taken: half of it is left"
    one.next()
    assert one.book("SELL")[0] == ("60000.1", "3.5")


def test_what_reached_us_is_taken_too(play):
    capture = Capture(BIDS, ASKS).depth("", "60000.03 2").depth("60000.00 6", "60000.03 2").depth("", "60000.03 1")
    one = play(capture)
    one.desk.limit(0, "BUY", "60000.05", "1.5")
    one.next()
    assert one.ours() == [("60000.05", "1.5")], "at our price"
    assert one.book("SELL")[0] == ("60000.03", "0.5")
    one.next()
    assert one.book("SELL")[0] == ("60000.03", "0.5")
    one.next()
    assert one.book("SELL")[0] == ("60000.1", "3"), "less is there than we have taken"


def test_the_market_walks_through_our_orders_best_first(play):
    capture = Capture(BIDS, ASKS).depth("60000.00 0, 59999.00 0", "59998.50 2")
    one = play(capture)
    one.desk.limit(0, "BUY", "59999.00", "1")
    one.desk.limit(0, "BUY", "60000.00", "1.5")
    one.next()
    assert one.ours() == [("60000", "1.5"), ("59999", "0.5")]
    assert one.book("SELL")[0] == ("60000.1", "3")


def test_we_walk_the_depth_and_no_further(play):
    one = play(Capture(BIDS, "60000.10 3, 60001.00 4"))
    answer = one.desk.market(0, "BUY", quantity="9")
    assert one.ours() == [("60000.1", "3"), ("60001", "4")]
    assert answer["status"] == "EXPIRED" and short(answer["executedQty"]) == "7"
    assert one.book("SELL") == []


@pytest.mark.parametrize("seller", [True, False])
def test_a_trade_beyond_our_price_went_through_us(play, seller):
    """Ours is first whatever waits at its price; the trade is shared out once, best price first."""
    if seller:
        capture = Capture(BIDS, ASKS).trade("59999.00", "2.2")
        orders, expected = (("BUY", "59999.50", "1"), ("BUY", "60000.00", "1")), [("60000", "1"), ("59999.5", "1")]
    else:
        capture = Capture(BIDS, ASKS).trade("60001.00", "2.2", seller=False)
        orders, expected = (("SELL", "60000.10", "1"), ("SELL", "60000.50", "1")), [("60000.1", "1"), ("60000.5", "1")]
    one = play(capture)
    for side, price, qty in orders:
        one.desk.limit(0, side, price, qty)
    one.next()
    assert one.ours() == expected
    assert one.tape[-1] == ("59999" if seller else "60001", "0.2")


def test_a_trade_on_the_other_side_of_our_price_went_through_us(play):
    """Somebody bought below our bid: whoever sold to him would have sold to us."""
    capture = Capture(BIDS, "60003.00 3, 60004.00 4").trade("60001.00", "2", seller=False)
    one = play(capture)
    one.desk.limit(0, "BUY", "60002.00", "0.7")
    one.desk.limit(0, "BUY", "60001.00", "0.7")
    one.next()
    assert one.ours() == [("60002", "0.7")]
    assert one.tape[-1] == ("60001", "1.3")


def test_a_quote_moves_the_book_at_once_but_not_where_ours_wait(play):
    capture = Capture(BIDS, ASKS).quote("59999.00 3", "60000.10 2").depth("60000.00 0, 59999.00 3", "60000.10 2")
    one = play(capture)
    one.next()
    assert one.book("BUY")[0] == ("59999", "3") and one.book("SELL")[0] == ("60000.1", "2")
    one.next()
    assert one.book("BUY") == [("59999", "3"), ("59998", "9")]


def test_where_ours_wait_a_quote_is_left_to_the_change(play):
    capture = Capture(BIDS, ASKS).quote("60000.00 2", "60000.10 3").trade("60000.00", "3").depth("60000.00 2")
    one = play(capture, "power")
    one.desk.limit(0, "BUY", "60000.00", "1")
    one.next()
    assert one.queue("60000.00") == [["5"], "1"], "was it a cancel or the trade that is about to be told?"
    one.next()
    assert one.queue("60000.00") == [["2"], "1"]
    one.next()
    assert one.queue("60000.00") == [["2"], "1"]


def test_a_trade_sets_off_a_stop(play):
    capture = Capture(BIDS, ASKS).trade("60000.00", "0.1").trade("59999.00", "0.1")
    one = play(capture)
    one.desk.done(0, "POST", "order", symbol=BTC, side="SELL", type="STOP_LOSS", quantity="1", stopPrice="59999.00")
    one.next()
    assert one.ours() == []
    one.next()
    assert one.ours() == [("60000", "1")]


def test_a_gap_closes_the_market_until_the_next_snapshot(play):
    capture = Capture(BIDS, ASKS).depth("60000.00 4", lost=3).trade("59990.00", "9").depth("60000.00 3", "60000.10 1")
    capture.snapshot("60000.00 2, 59999.00 4", "60000.10 3").depth("60000.00 1")
    one = play(capture)
    order = one.desk.limit(0, "BUY", "60000.00", "1")
    other = one.desk.limit(0, "BUY", "59999.00", "1")
    one.next()
    assert one.symbol.status == "BREAK"
    limit = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "60000", "quantity": "1"}
    assert one.desk.refused(0, "POST", "order", **limit) == (-1013, "Market is closed.")
    one.desk.done(0, "DELETE", "order", symbol=BTC, orderId=other["orderId"])
    one.next(2)
    assert one.ours() == [] and one.tape == []
    assert one.queue("60000.00") == [["5"], "1"], "nobody knows"
    one.next()
    assert one.symbol.status == "TRADING"
    assert one.queue("60000.00") == [["2"], "1"], "who waited still waits, at his place"
    assert one.desk.done(0, "GET", "order", symbol=BTC, orderId=order["orderId"])["status"] == "NEW"


def test_the_end_of_the_recording_closes_the_market(play):
    capture = Capture(BIDS, ASKS).depth("60000.00 4")
    one = play(capture)
    one.desk.limit(0, "BUY", "59999.00", "1")
    one.next(60)
    assert one.desk.made.market.has_ended and one.symbol.status == "BREAK"
    assert one.book("BUY")[0] == ("60000", "4"), "the last book is still there"
    assert one.desk.get("exchangeInfo")["symbols"][0]["status"] == "BREAK"
    one.desk.done(0, "DELETE", "openOrders", symbol=BTC)
    one.next(10)


def test_a_silence_closes_the_market_until_it_ends(play):
    capture = Capture(BIDS, ASKS).wait(90).depth("60000.00 4").depth("60000.00 3")
    one = play(capture)
    one.desk.tick(59)
    assert one.symbol.status == "TRADING"
    one.desk.tick(2)
    assert one.symbol.status == "BREAK"
    one.desk.tick(29.2)
    assert one.symbol.status == "TRADING"


def test_a_halt_of_the_scenario_stops_the_market(play):
    capture = Capture(BIDS, ASKS).trade("60000.00", "9").depth("60000.00 2").depth("60000.00 3").depth("", "60000.10 1")
    halt = "[[fault]]\nkind = 'halt'\nsymbol = 'BTCUSDT'\nafter_ms = 50\nduration_ms = 150"
    one = play(capture, scenario=halt)
    one.desk.limit(0, "BUY", "60000.00", "1")
    for _ in range(20):
        one.desk.tick(0.01)
        one.desk.gateway.states()
    assert one.ours() == [] and one.tape == []
    one.next(2)
    assert one.symbol.status == "TRADING"
    assert one.queue("60000.00") == [["2"], "1", ["1"]] and one.book("SELL")[0] == ("60000.1", "1")


def test_an_iceberg_of_ours_shows_its_next_part_at_the_end(play):
    capture = Capture(BIDS, ASKS).depth("60000.00 6").trade("60000.00", "6.4")
    one = play(capture)
    one.desk.limit(0, "BUY", "60000.00", "2", icebergQty="0.3")
    one.next()
    assert one.queue("60000.00") == [["5"], "2", ["1"]]
    one.next()
    assert one.ours() == [("60000", "0.3"), ("60000", "0.1")]


def test_recordings_that_are_no_market(tmp_path):
    late = Capture(BIDS, ASKS, snapshot=False).depth("60000.00 4").quote("60000.00 4", "60000.10 3")
    path = late.write(tmp_path / "late.gz")
    with pytest.raises(RecordingError, match="snapshot") as error:
        RecordedDesk(tmp_path, open_files([path]))
    assert "\n" not in str(error.value)
    with pytest.raises(RecordingError, match="no such file"):
        open_files([tmp_path / "nothing.gz"])
    one = Capture(BIDS, ASKS).depth("60000.00 4")
    one.wait(5_000).depth("60000.00 3").write(tmp_path / "a.gz")
    twice = Capture(BIDS, ASKS)
    twice.now_ns += 10**13
    twice.snapshot(BIDS, ASKS).depth("60000.00 3").write(tmp_path / "b.gz")
    twice.lines.pop(0)
    twice.write(tmp_path / "b.gz")
    with pytest.raises(RecordingError, match="two captures"):
        open_files([tmp_path / "a.gz", tmp_path / "b.gz"])
    odd = Capture(BIDS, ASKS).depth("60000.00 4")
    odd.lines = [line.replace("BTCUSDT", "ODDUSDT").replace("btcusdt", "oddusdt") for line in odd.lines]
    with pytest.raises(RecordingError, match="tick and lot of ODDUSDT"):
        open_files([odd.write(tmp_path / "odd.gz")])


@pytest.mark.parametrize("text", ["", "fifo", "power:", "power:0", "power:11", "power:x", "log:2", "power:1.2.3"])
def test_queue_models_that_there_are_not(text):
    assert read_queue(text) is None


def test_maintenance_cancels_our_orders_and_leaves_the_book(play):
    capture = Capture(BIDS, ASKS)
    for _ in range(6):
        capture.depth("59990.00 1", "")
    scenario = '[[fault]]\nkind = "maintenance"\nafter_ms = 150\nduration_ms = 200\ncancels_orders = true\n'
    one = play(capture, scenario=scenario)
    one.desk.limit(0, "BUY", "60000.00", "1")
    book = [("60000", "5"), ("59999", "4"), ("59998", "9"), ("59990", "1")]
    closed = []
    for _ in range(6):
        one.next()
        one.desk.gateway.states()
        closed.append(one.desk.venue.is_closed)
    assert True in closed and not closed[-1]
    assert one.desk.venue.accounts[0].open == {}
    assert one.book("BUY", 9) == book
    assert one.desk.limit(0, "SELL", "60000.00", "2")["executedQty"] == "2.00000000"


def test_what_finds_no_room_is_told_and_so_is_the_end(play, caplog, monkeypatch):
    caplog.set_level("INFO", logger="bot4")
    capture = Capture(BIDS, ASKS).depth("59000.00 1, 58000.00 1", "").depth("57000.00 1", "")
    one = play(capture)
    market = one.desk.made.market
    assert one.desk.made.recording()[BTC]["left_out"] == 0
    monkeypatch.setattr("bot4.adapters.exchange.recorded.ROOM", one.desk.venue.core.open_orders + 1)
    one.next(2)
    assert one.desk.made.recording()[BTC] == {
        "at_ns": market.symbols[BTC].last_ns, "left_out": 2, "has_ended": False
    }  # fmt: skip
    assert one.book("BUY", 9)[-1] != ("57000", "1")
    while not market.has_ended:
        one.next()
    told = [(record.getMessage(), record.fields) for record in caplog.records]
    assert [text for text, _ in told] == ["a part of the recording is left out", "the recording of a symbol has ended"]
    assert told[0][1]["symbol"] == told[1][1]["symbol"] == BTC and told[1][1]["left_out"] == 2
    assert one.desk.made.recording()[BTC]["has_ended"]

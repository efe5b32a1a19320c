"""What the first version of Kraken's protocol says, in the words of the second: event for event the same."""

from decimal import Decimal

import pytest

from bot4.adapters.files.raw import find_captures
from bot4.adapters.kraken.parse import KrakenV1, KrakenV2
from bot4.adapters.kraken.translate import SecondOfFirst
from bot4.ports.feed import BookChange, MessageError, Quote, Status, Trade

TICK, STEP = Decimal("0.1"), Decimal("0.00000001")
SIZES = {"BTC/USD": (TICK, STEP)}
AT_NS = 1_723_161_256_000_001_000
AT = "1723161256.000001"


def second(*bodies):
    """What the second version reads in the last of these messages of one connection."""
    translator = SecondOfFirst(SIZES)
    return [KrakenV2(depth=10).decode(translator.translate("a", body)) for body in bodies][-1]


def test_trades_are_numbered_by_pair_whatever_connection_they_come_on():
    translator = SecondOfFirst({})
    body = b'[1,[["5.10","2.50","%s","s","l",""],["5.20","1","%s","b","m",""]],"trade","XDG/XBT"]'
    body %= (AT.encode(), AT.encode())
    found = [KrakenV2().decode(translator.translate(name, body)) for name in ("a", "b")]
    assert [(one.symbol, str(one.price), str(one.qty), one.side, one.venue_ns) for one in found[0].events] == [
        ("DOGE/BTC", "5.10", "2.50", -1, AT_NS), ("DOGE/BTC", "5.20", "1", 1, AT_NS),
    ]  # fmt: skip
    assert [one.trade_id for message in found for one in message.events] == ["1", "2", "3", "4"]


def test_best_quotes_of_both_channels_are_a_ticker():
    spread = second(b'[1,["5698.40000","5700.00000","%s","1.01","0.98"],"spread","XBT/USD"]' % AT.encode())
    wanted = Quote("BTC/USD", *map(Decimal, ("5698.4", "1.01", "5700", "0.98")), None, AT_NS)
    assert (spread.kind, list(spread.events)) == ("ticker", [wanted])
    ticker = second(b'[1,{"a":["5700.0",0,"0.98"],"b":["5698.4",1,"1.01"]},"ticker","XBT/USD"]')
    assert list(ticker.events) == [wanted._replace(venue_ns=0)]


@pytest.mark.parametrize("word", ["online", "Maintenance"])
def test_a_venue_that_is_not_trading_says_so(word):
    body = b'{"event":"systemStatus","status":"%s"}' % word.encode()
    (status,) = second(body).events
    assert status == Status("", word == "online", word.lower(), 0)
    assert KrakenV1().decode(body).events == (status,)


def test_what_says_nothing_of_the_market_is_silent_and_a_refusal_is_told():
    subscribed = b'{"event":"subscriptionStatus","status":"subscribed"}'
    bar = b'[1,["%s","%s","1","1","1","1","1","1",2],"ohlc-5","XBT/USD"]' % (AT.encode(), AT.encode())
    for body in (b'{"event":"heartbeat"}', subscribed, bar):
        assert second(body).kind == "heartbeat"
    assert second(subscribed.replace(b"subscribed", b"error")).kind == "subscribe.error"


@pytest.mark.parametrize("body", [b"[7,", b"{}", b'{"channel":"heartbeat"}', b'[1,{},"book-10","XBT/USD"]'])
def test_what_cannot_be_read_cannot_be_read_there_either(body):
    with pytest.raises(MessageError):
        second(body)


@pytest.mark.data
def test_books_of_the_capture_are_the_same_with_the_digits_and_sums_of_the_second_version(data_dir):
    (capture,) = find_captures([data_dir / "cryptofeed/2021-04-17_KRAKEN"])
    found = [message for message in capture.messages() if not message.rest]
    listed = next(message for message in capture.messages() if message.rest)
    first = KrakenV1(renamed=True)
    listings = first.instruments("AssetPairs", listed.body)
    translator = SecondOfFirst({one.symbol: (one.tick, one.lot) for one in listings})
    other = KrakenV2(listings, depth=1000)
    changes = sums = 0
    for message in found:
        events = first.decode(message.body).events
        told = other.decode(translator.translate(message.connection, message.body)).events
        assert len(told) == len(events)
        for ours, theirs in zip(told, events, strict=True):
            if isinstance(theirs, Trade):
                ours = ours._replace(trade_id="")
            if isinstance(theirs, BookChange):
                changes += 1
                sums += ours.checksum != theirs.checksum
                at = 0 if theirs.snapshot else theirs.venue_ns
                theirs = theirs._replace(checksum=ours.checksum, venue_ns=at)
            assert ours == theirs
    assert changes == 4_279 and sums > 3_000, "the digits of the two versions differ"

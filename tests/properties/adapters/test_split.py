"""How symbols are shared out among connections: nothing is lost, no limit broken, no connection overloaded."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bot4.adapters.binance.streams import BinanceSpotStreams, BinanceUsdmStreams
from bot4.adapters.bybit.streams import BybitLinearStreams
from bot4.adapters.coinbase.streams import CoinbaseStreams
from bot4.adapters.net.split import heaviest, matched, split, topics_by_route

STREAMS = [BinanceSpotStreams, BinanceUsdmStreams, BybitLinearStreams, CoinbaseStreams]
NAMES = st.lists(st.integers(0, 999).map(lambda number: f"S{number}"), min_size=1, max_size=60, unique=True)
RATES = st.floats(0.0, 1e6, allow_nan=False)


@settings(deadline=None)
@given(st.sampled_from(STREAMS), NAMES, st.integers(1, 12), st.data())
def test_every_symbol_has_one_connection_and_every_connection_keeps_the_venues_limit(make, symbols, count, data):
    streams = make()
    streams.max_topics = data.draw(st.integers(6, 40))
    rates = {symbol: data.draw(RATES) for symbol in symbols}
    for route, topics in topics_by_route(streams, symbols).items():
        parts = split(streams, route, symbols, count, rates)
        assert sorted(symbol for part in parts for symbol in part) == sorted(symbols)
        assert all(part for part in parts)
        for part in parts:
            assert len(topics_by_route(streams, part)[route]) <= streams.max_topics
        assert len(parts) >= min(count, len(symbols)) or len(parts) * streams.max_topics >= len(topics)
        again = split(streams, route, symbols, len(parts), rates)
        assert again == parts
        assert sorted(matched(parts[::-1], again)) == sorted(parts)


@settings(deadline=None)
@given(NAMES, st.integers(1, 12), st.data())
def test_the_heaviest_connection_is_within_four_thirds_of_what_must_be(symbols, count, data):
    rates = {symbol: data.draw(RATES) for symbol in symbols}
    parts = split(BinanceSpotStreams(), "", symbols, count, rates)
    ordered = sorted(rates.values(), reverse=True)
    least = max(sum(ordered) / len(parts), ordered[0])
    if len(ordered) > len(parts):  # two of the largest have to share
        least = max(least, ordered[len(parts) - 1] + ordered[len(parts)])
    assert heaviest(parts, rates) <= least * 4 / 3 + 1e-6


@settings(deadline=None)
@given(NAMES, st.integers(1, 12))
def test_without_rates_the_counts_are_equal(symbols, count):
    sizes = [len(part) for part in split(BinanceSpotStreams(), "", symbols, count, {})]
    assert max(sizes) - min(sizes) <= 1


def test_connections_whose_symbols_stay_are_matched_to_themselves():
    before = [("A", "B"), ("C",), ("D", "E", "F")]
    assert matched(before, [("D", "E"), ("A", "B", "F"), ("C",)]) == [("A", "B", "F"), ("C",), ("D", "E")]

"""Which symbols share a connection: all topics of a symbol's route stay together, loads are as equal as they go.

Together, since of some venues only the connection that brought a book's snapshot may speak of the instrument. Heaviest
first onto the lightest connection: never worse than four thirds of the best split (Graham 1969, "Bounds on
multiprocessing timing anomalies"), and the best one is not worth a search.
"""

from collections.abc import Mapping, Sequence

from bot4.model.errors import InputError
from bot4.ports.stream import VenueStreams


def topics_by_route(streams: VenueStreams, symbols: Sequence[str]) -> dict[str, list[str]]:
    """The topics of these symbols, each once, by route; the book's route first."""
    found: dict[str, dict[str, None]] = {}
    for symbol in symbols:
        for topic in streams.topics(symbol):
            found.setdefault(streams.route(topic), {})[topic] = None
    return {route: list(topics) for route, topics in found.items()}


def split(
    streams: VenueStreams, route: str, symbols: Sequence[str], connections: int, rates: Mapping[str, float]
) -> list[tuple[str, ...]]:
    """The symbols of each connection of a route.

    Parameters
    ----------
    connections : so many, unless the venue's limit of topics demands more or there are fewer symbols
    rates : messages per second of a symbol; one that is not named counts as 1

    InputError where one symbol has more topics than a connection may have.
    """
    sizes = {symbol: len(topics_by_route(streams, [symbol]).get(route, ())) for symbol in symbols}
    largest = max(sizes.values())
    if largest > streams.max_topics:
        raise InputError(f"{streams.venue}: {largest} topics of one symbol, {streams.max_topics} fit a connection")
    fitting = streams.max_topics // largest  # symbols on one connection, if all were as large
    count = min(max(connections, -(-len(symbols) // fitting)), len(symbols))
    parts: list[list[str]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for symbol in sorted(symbols, key=lambda symbol: -rates.get(symbol, 1.0)):
        open_parts = [number for number in range(count) if len(parts[number]) < fitting]
        lightest = min(open_parts, key=lambda number: (loads[number], len(parts[number])))
        parts[lightest].append(symbol)
        loads[lightest] += rates.get(symbol, 1.0)
    return [tuple(sorted(part)) for part in parts]


def heaviest(parts: Sequence[Sequence[str]], rates: Mapping[str, float]) -> float:
    """Load of the heaviest connection of a split."""
    return max(sum(rates.get(symbol, 1.0) for symbol in part) for part in parts)


def matched(before: Sequence[Sequence[str]], after: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The parts of `after` in the order in which most symbols stay where they were."""
    left = list(after)
    ordered = []
    for part in before:
        best = max(left, key=lambda candidate: len(set(candidate) & set(part)))
        left.remove(best)
        ordered.append(best)
    return ordered

"""Circuit breakers: what each of them watches, and where its words lie in a row of `Wires.breakers`.

The state is one word, so whoever looks sees state and number of openings of one moment. Its row has three lines: the
first is written by the component alone, the second by whoever starts a session or tightens its settings; the third has
what the session began with.
"""

CLOSED, HALF_OPEN, OPEN = range(3)
STATES = ("closed", "half-open", "open")
MOST_FAILURES = 1_000  # that open one, by its settings
NEVER = (1 << 63) - 1  # open until then: for good

DONE, FAILED, VOID = range(3)  # what became of a call; VOID says nothing of the component

# first line: the component's
WORD = 0  # state in the lowest two bits, above them how often it has opened
UNTIL_NS = 1  # while it is open: when it may be tried
TRIPS = 2  # openings since it was closed
CALLS = 3  # of the session: that were judged
FAILURES = 4
SLOW = 5
REFUSED = 6  # calls that it did not let through
CHANGED_NS = 7  # of the last change of state
# second line: the settings, 0: not watched
LIMIT_FAILURES = 16  # in the window
LIMIT_WINDOW_NS = 17
LIMIT_CALLS = 18  # shares are of so many calls in the window at least
LIMIT_FAILURE_BPS = 19
LIMIT_SLOW_NS = 20  # a call that takes longer is slow
LIMIT_SLOW_BPS = 21
LIMIT_OPEN_NS = 22  # 0: it stays open
LIMIT_DOUBLINGS = 23  # of that time at most, one with each try that fails
LIMIT_PROBES = 24  # calls that try it, and have to be done to close it
JOURNALED = 31  # the word that execution has journaled last; its own
# third line: the settings again, each so much further on, as the session began with them
BEGUN = 16
BREAKER_WORDS = 48

COMPONENTS = ("execution", "venue", "journal", "recorder", "feed", "parser", "shard", "model")
MOST_VENUES = 8  # of a session that have a row of feed and parser each, in alphabetical order
_FEED, _PARSER, _SHARD = 4, 4 + MOST_VENUES, 4 + 2 * MOST_VENUES


def breaker_rows(n_shards: int) -> int:
    """Rows of `Wires.breakers`."""
    return _SHARD + 2 * n_shards


def breaker_row(component: str, n_shards: int, number: int = 0) -> int:
    """The row of a component; `number` is that of the venue or the shard, where there is one each."""
    first = {"feed": _FEED, "parser": _PARSER, "shard": _SHARD, "model": _SHARD + n_shards}
    return first[component] + number if component in first else COMPONENTS.index(component)


def rows_of_component(component: str, n_shards: int) -> range:
    """All rows of a component, those in use among them."""
    count = {"feed": MOST_VENUES, "parser": MOST_VENUES, "shard": n_shards, "model": n_shards}.get(component, 1)
    first = breaker_row(component, n_shards)
    return range(first, first + count)


def row_label(row: int) -> str:
    """What a row that is journaled speaks of; models are not."""
    if row < _FEED:
        return COMPONENTS[row]
    if row >= _SHARD:
        return f"shard-{row - _SHARD}"
    return f"{'feed' if row < _PARSER else 'parser'} of venue {(row - _FEED) % MOST_VENUES + 1}"


def breaker_names(n_shards: int, venues: list[str]) -> dict[str, int]:
    """Rows that are in use, by the component's name."""
    found = {name: breaker_row(name, n_shards) for name in COMPONENTS[:4]}
    for number, venue in enumerate(venues):
        found |= {f"{name} {venue}": breaker_row(name, n_shards, number) for name in ("feed", "parser")}
    for k in range(n_shards):
        found |= {f"{name}-{k}": breaker_row(name, n_shards, k) for name in ("shard", "model")}
    return found

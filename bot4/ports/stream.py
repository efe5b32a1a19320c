"""The promise of a venue's public streams: what to connect to, what to say there, and what a reader gets of it.

`VenueStreams` is what one venue needs, in words and addresses and without any connection. `Pool`, `Connection` and
`Fetcher` are what the feed sees of the connections that somebody else keeps: it reads bytes and is told when a
connection comes and goes.

Words
-----
topic       one stream of one symbol, as text that the venue's own class makes and reads: `btcusdt@trade`
route       topics of different routes cannot share a connection, since the venue serves them at different addresses;
            most venues have one route, ""
connection  one websocket. Its `id` is unique among the living ones and below MAX_CONNECTIONS
slot        a place that always wants one connection: some symbols of a route. What is there changes, the slot stays;
            while a successor takes over, two connections belong to it
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

MAX_CONNECTIONS = 64  # living at a time, with those that are being replaced

Request = tuple[str, str]  # path and query of a GET, the query as it stands in the address and without "?"
Key = tuple[str, str]  # venue, symbol


class Attempts(NamedTuple):
    """How often something may be done at a venue from one address: all that do it share this."""

    most: int
    within_s: float


class Heartbeat(NamedTuple):
    """What the venue wants to hear, however much it sends itself."""

    every_s: float
    text: str


class VenueStreams(Protocol):
    """What one venue's public streams need."""

    venue: str  # as in the settings and of the decoder
    ws_url: str  # base of every websocket address
    rest_url: str  # base of every REST address
    max_topics: int  # on one connection
    depth: int  # levels a side that the stream keeps up to date, deeper ones are to be forgotten; 0: all
    attempts: Attempts  # to connect
    snapshots: Attempts | None  # whole books by REST; None: none are asked for there
    texts_per_s: int  # messages that we may send on a connection
    lifetime_s: float  # the venue ends a connection after so long; 0: it does not
    heartbeat: Heartbeat | None  # None: an answer to each of its pings is enough

    def topics(self, symbol: str) -> list[str]:
        """All topics of a symbol that the decoder reads: trades, best quote, book, mark price where there is one."""
        ...

    def route(self, topic: str) -> str:
        """Which topics may share a connection."""
        ...

    def url(self, topics: Sequence[str]) -> str:
        """The address to connect to for these topics, which are of one route."""
        ...

    def subscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """Messages to send after connecting; none where the address says it all.

        Each takes a request id of its own, counted on from `request_id`.
        """
        ...

    def unsubscribe(self, topics: Sequence[str], request_id: int) -> list[str]:
        """Messages that end what `subscribe` began."""
        ...

    def book_topic(self, symbol: str) -> str:
        """The topic whose first message is the whole book; "": the venue sends none and `snapshot` has to ask."""
        ...

    def has_book(self, topics: Sequence[str]) -> bool:
        """Whether changes of books are among these topics: when their connection is gone, its books are stale."""
        ...

    def snapshot(self, symbol: str) -> Request | None:
        """Where the whole book is read by REST; None: by subscribing anew to `book_topic`."""
        ...

    def metadata(self) -> Request:
        """Where the instruments are read; the path without the query is what the decoder's `instruments` wants."""
        ...


class Connection(Protocol):
    """One websocket that has been opened and subscribed. Used by one thread."""

    id: int
    venue: str
    symbols: tuple[str, ...]
    topics: tuple[str, ...]

    def fileno(self) -> int:
        """Of the socket."""
        ...

    def read_into(self, buffer: memoryview) -> int:
        """Read what has come: frames as sent, first those that came with the answer to the handshake.

        Returns bytes; 0: nothing now. When the peer is gone it returns 0 too, and the pool's next turn says `Closed`.
        """
        ...

    def send_text(self, text: str) -> None:
        """Send a message. Never blocks: what the socket does not take is sent in later turns."""
        ...

    def send_pong(self, payload: bytes) -> None:
        """Answer a ping (at most 125 bytes)."""
        ...


class Opened(NamedTuple):
    """A connection is there and subscribed; what its symbols were before is another connection's."""

    connection: Connection
    slot: int
    replaces: Connection | None = None  # still sends; closed some seconds after the successor's first data


class Readable(NamedTuple):
    """There is something to read: at most one such event for a connection in a turn."""

    connection: Connection


class Closed(NamedTuple):
    """The connection is gone; the id is free from the next event on."""

    connection: Connection
    reason: str  # one line


Event = Opened | Readable | Closed


class Pool(Protocol):
    """Keeps all connections of a feed. Used by one thread."""

    def turn(self, timeout_s: float) -> list[Event]:
        """What has happened; waits at most so long for something to read."""
        ...

    def drop(self, connection: Connection, reason: str) -> None:
        """The reader trusts the connection no more: close it and open another. No `Closed` follows."""
        ...

    def retire(self, connection: Connection) -> None:
        """The reader needs it no more, having seen its successor's data. No `Closed` follows."""
        ...

    def rebalance(self, rates: Mapping[Key, float]) -> int:
        """Share the symbols out anew by their messages per second, where that is worth it; how many slots change."""
        ...

    def resubscribe(self, venue: str, symbol: str) -> None:
        """Ask for the whole book in the stream again, at most once a second for a symbol."""
        ...

    def close(self) -> None:
        """Close all connections and end all threads."""
        ...


class Fetcher(Protocol):
    """Answers of REST, fetched elsewhere. Used by one thread."""

    def ask(self, key: Key, venue: str, request: Request) -> None:
        """Fetch it; a key that is under way or waits is not asked twice."""
        ...

    def done(self) -> list[tuple[Key, bytes, str]]:
        """What has come since: key, body, and why there is none ("": there is one)."""
        ...

    def close(self) -> None:
        """End all threads."""
        ...

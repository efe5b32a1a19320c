"""Wires the feed of a live session: each venue's streams and decoder, the pool of connections, REST, and a log."""

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bot4.adapters.net.pool import StreamPool
from bot4.adapters.net.rest import RestFetcher
from bot4.engine.live import LiveFeed
from bot4.log import start_log
from bot4.ports.stream import Event, Request
from bot4.shm.wires import Wires, private_wires
from workers.breaker import breaker_of
from workers.plan import Plan
from workers.venues import DECODERS, streams_of, wanted_of

SILENCE_S = 10.0  # of a whole connection; what a book may keep silent is a limit of the settings
TELL_NS = 1_000_000_000  # between two looks at what there is to tell


class ToldFeed:
    """A live feed that says in its log why connections ended or did not come about, and what could not be used.

    Each reason once, and again whenever it has come twice as often: a log that a venue's bad day does not fill.
    """

    waits_itself = True

    def __init__(self, feed: LiveFeed, pool: StreamPool) -> None:
        self._feed, self._pool = feed, pool
        self._log = start_log("feed")
        self._told: Counter[tuple[str, str]] = Counter()
        self._due_ns = 0

    def do_work(self) -> int:
        """One turn of the feed."""
        handled = self._feed.do_work()
        now_ns = time.monotonic_ns()
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + TELL_NS
            self._tell()
        return handled

    def close(self) -> None:
        """Tell what is left, close all connections."""
        self._tell()
        self._feed.close()

    def _tell(self) -> None:
        found = Counter({("input", reason): count for reason, count in self._feed.counts.items()})
        for slot in self._pool.slots:
            for reason, count in slot.reasons.items():
                found["connection", f"{slot.streams.venue}: {reason}"] += count
        for key, count in found.items():
            if count >= 2 * self._told[key]:
                self._told[key] = count
                self._log.warning(key[0], extra={"fields": {"reason": key[1], "times": count}})


def live_feed(plan: Plan, wires: Wires, attempt: int) -> ToldFeed:
    """The feed of a live session, its connections on their way."""
    streams = streams_of(plan.gateways)
    ca_file = {venue: Path(gateway.ca_file) for venue, gateway in plan.gateways.items() if gateway.ca_file}
    log = start_log("feed")
    parsers = {venue: breaker_of(plan, wires, f"parser {venue}", log) for venue in streams}
    breakers = {venue: (breaker_of(plan, wires, f"feed {venue}", log), parsers[venue]) for venue in streams}
    clock = time.monotonic_ns
    pool = StreamPool(
        wanted_of(streams, plan.symbols), SILENCE_S, random.Random(), clock, ca_file=ca_file, breakers=breakers
    )
    feed = LiveFeed(
        wires,
        plan.instruments,
        plan.session,
        plan.symbols,
        streams,
        {venue: DECODERS[venue]() for venue in streams},
        pool,
        RestFetcher(list(streams.values()), time.monotonic_ns, ca_file=ca_file),
        plan.silence_ns,
        restarts=attempt,
        parsers=parsers,
    )
    feed.memory.feed.states["spike_bps"] = plan.spike_bps
    feed.memory.feed.states["time_limit_ns"] = plan.time_limit_ns
    return ToldFeed(feed, pool)


class _NoConnection:
    """A pool and a fetcher of a feed that only wants to be compiled: it has nothing to connect to."""

    def turn(self, timeout_s: float) -> list[Event]:
        """Nothing happens."""
        return []

    def ask(self, key: tuple[str, str], venue: str, request: Request) -> None:
        """Nothing is stale that has no connection."""

    def done(self) -> list[tuple[tuple[str, str], bytes, str]]:
        """Nothing was asked."""
        return []

    def close(self) -> None:
        """Nothing is open."""


def warm_live(plan: Plan) -> None:
    """Compile or load the kernels of the live feed."""
    wires = private_wires(plan.n_shards, plan.n_instruments)
    nothing: Any = _NoConnection()
    feed = LiveFeed(
        wires, plan.instruments, plan.session, plan.symbols, streams_of(plan.gateways), {}, nothing, nothing,
        plan.silence_ns, restarts=1,
    )  # fmt: skip
    feed.warm()

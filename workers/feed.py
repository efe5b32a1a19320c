"""Wires the feed: which instruments a session has, and where their bytes come from."""

import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bot4.adapters.files.bar_source import open_bars, symbol_of
from bot4.adapters.files.capture import open_chains
from bot4.adapters.files.synthetic import VENUE, synthetic_sources
from bot4.engine.feed import FeedAgent, Source
from bot4.engine.feed_resume import resume
from bot4.engine.feed_ticks import TickFeed
from bot4.model.enums import INT64_MAX
from bot4.model.errors import InputError, SettingsError
from bot4.settings.conversion import instrument_records
from bot4.settings.schema import LIVE_VENUES, Gateway, Settings
from bot4.shm.wires import Wires
from workers.plan import FeedSpec, Plan
from workers.ticks import recorded_instruments, tick_feed


def chosen_instruments(feed: FeedSpec, settings: Settings) -> tuple[list[tuple[str, str]], list[str]]:
    """(symbol, venue) of each instrument of a session, in the order of the feed's sources, and what a person should
    know of the recordings, a sentence each; checks every recording.
    """
    if feed.recording:
        return recorded_instruments(feed, settings)
    configured = [(instrument.symbol, instrument.venue) for instrument in settings.instruments]
    if feed.kind == "live":
        heard = [key for key in configured if key[1] in LIVE_VENUES]
        if not heard:
            raise InputError("instruments.toml: no instrument of a venue; add an [[instrument]] for the live feed")
        return heard, []
    if feed.synthetic:
        chosen = [(symbol, venue) for symbol, venue in configured if venue == VENUE]
        if not chosen:
            raise InputError(f"instruments.toml: no instrument of venue {VENUE!r}, which the synthetic market needs")
        return chosen, []
    if feed.kind == "bars":
        known = [symbol for symbol, venue in configured if venue == feed.venue]
        named = list(dict.fromkeys((symbol_of(path, known), feed.venue) for path in feed.paths))
        bars = open_bars(feed.paths, _by_symbol(named, instrument_records(settings, named, 1)))
        return named, [gap for source in bars for gap in source.gaps]
    chains = open_chains(feed.paths, configured)
    return [(chain.symbol, chain.venue) for chain in chains], [gap for chain in chains for gap in chain.gaps]


def open_sources(plan: Plan) -> list[Source]:
    """The sources of a plan, one per instrument."""
    if plan.feed.synthetic:
        return list(synthetic_sources([symbol for symbol, _ in plan.symbols], plan.instruments, plan.feed.seed))
    if plan.feed.kind == "bars":
        return list(open_bars(plan.feed.paths, _by_symbol(plan.symbols, plan.instruments)))
    return list(open_chains(plan.feed.paths, plan.symbols))


def _by_symbol(keys: Sequence[tuple[str, str]], instruments: np.ndarray) -> dict[str, np.void]:
    return {symbol: row for (symbol, _), row in zip(keys, instruments, strict=True)}


def gateways_of(settings: Settings, symbols: Sequence[tuple[str, str]]) -> dict[str, Gateway]:
    """Where each venue of the session is reached, as the settings say; SettingsError names a ca_file of no use."""
    found = {venue: getattr(settings.venue, venue) or Gateway() for venue in {venue for _, venue in symbols}}
    for venue, gateway in found.items():
        if gateway.ca_file is not None:
            _check_roots(f"{settings.path}: venue.{venue}.ca_file", Path(gateway.ca_file))
    return found


def _check_roots(at: str, ca_file: Path) -> None:
    from bot4.adapters.net.dial import verified_context  # connections are nothing to a replay

    reason = ""
    try:
        if not stat.S_ISREG(ca_file.stat().st_mode):
            reason = "is no plain file"  # to open a pipe would wait for its writer
        else:
            verified_context(ca_file)
    except InputError:
        reason = "cannot be read, or holds no certificates"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    if reason:
        raise SettingsError(f"{at}: {ca_file} {reason}; name a readable file of certificates in PEM form")


def silence_of(settings: Settings, symbols: Sequence[tuple[str, str]]) -> np.ndarray:
    """How long the book of each instrument may be silent: int64[n], ns."""
    rows = {(row.symbol, row.venue): row.silence_ms for row in settings.instruments}
    return np.array([(rows[key] or settings.limits.silence_ms) * NS_PER_MS for key in symbols], np.int64)


NS_PER_MS = 1_000_000


class Pace:
    """Lets event time pass `speed` times as fast as the wall clock, by the feed's limit."""

    def __init__(self, agent: FeedAgent | TickFeed, speed: float) -> None:
        self._agent, self._speed = agent, speed
        self._start_ns = 0
        self._began_ns = 0
        if speed:
            agent.until_ns = 0  # the first batch only looks ahead: when does the recording begin?

    def advance(self) -> None:
        """Set how far the feed may go by now."""
        if not self._speed:
            return
        now = time.monotonic_ns()
        if self._start_ns == 0:
            first = int(self._agent.memory.sources["next_ns"].min())
            if not 0 < first < INT64_MAX:
                return
            self._start_ns, self._began_ns = first, now
        self._agent.until_ns = self._start_ns + int((now - self._began_ns) * self._speed)


class PacedFeed:
    """A feed in a process of its own, paced by the wall clock where a speed is set."""

    def __init__(self, agent: FeedAgent | TickFeed, speed: float) -> None:
        self._agent, self._pace = agent, Pace(agent, speed)

    def do_work(self) -> int:
        """One batch of what is due by now."""
        self._pace.advance()
        return self._agent.do_work()

    def close(self) -> None:
        """Close the agent."""
        self._agent.close()


def feed_agent(plan: Plan, wires: Wires) -> FeedAgent | TickFeed:
    """The agent of the plan's feed."""
    if plan.feed.recording:
        return tick_feed(plan, wires)
    agent = FeedAgent(wires, plan.instruments, plan.session, open_sources(plan), plan.replayed, plan.data_latency)
    agent.memory.states["spike_bps"] = plan.spike_bps
    agent.memory.states["time_limit_ns"] = plan.time_limit_ns
    return agent


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> Any:
    """The agent of the feed, paced by the wall clock where a speed is set; a restarted one goes on where it was."""
    if plan.feed.kind == "live":
        from workers.live import live_feed  # connections and decoders are nothing to a replay

        return live_feed(plan, wires, attempt)
    agent = feed_agent(plan, wires)
    if attempt:
        resume(agent)
    return PacedFeed(agent, plan.speed)

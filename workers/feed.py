"""Wires the feed: which instruments a session has, and where their bytes come from."""

import time

from bot4.engine.feed_ticks import TickFeed

from bot4.adapters.files.capture import open_chains
from bot4.adapters.files.synthetic import VENUE, synthetic_sources
from bot4.engine.feed import FeedAgent, Source
from bot4.engine.feed_resume import resume
from bot4.model.enums import INT64_MAX
from bot4.model.errors import InputError
from bot4.settings.schema import Settings
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
    if feed.synthetic:
        chosen = [(symbol, venue) for symbol, venue in configured if venue == VENUE]
        if not chosen:
            raise InputError(f"instruments.toml: no instrument of venue {VENUE!r}, which the synthetic market needs")
        return chosen, []
    chains = open_chains(feed.paths, configured)
    return [(chain.symbol, chain.venue) for chain in chains], [gap for chain in chains for gap in chain.gaps]


def open_sources(plan: Plan) -> list[Source]:
    """The sources of a plan, one per instrument."""
    if plan.feed.synthetic:
        return list(synthetic_sources([symbol for symbol, _ in plan.symbols], plan.instruments, plan.feed.seed))
    return list(open_chains(plan.feed.paths, plan.symbols))


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
    return FeedAgent(wires, plan.instruments, plan.session, open_sources(plan), plan.replayed)


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> PacedFeed:
    """The agent of the feed, paced by the wall clock where a speed is set; a restarted one goes on where it was."""
    agent = feed_agent(plan, wires)
    if attempt:
        resume(agent)
    return PacedFeed(agent, plan.speed)

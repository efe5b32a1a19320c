"""Wires the feed of an own recording: its instruments, its rows, and the loop of all agents around it."""

from types import ModuleType

import numpy as np

from bot4.adapters.files.recording import Recording, Silences
from bot4.engine import feed_ticks
from bot4.engine.feed_ticks import TickFeed
from bot4.engine.shard import generate_module
from bot4.model.errors import RecordingError
from bot4.model.records import INSTRUMENT, SESSION
from bot4.model.units import to_e8
from bot4.settings.schema import Settings
from bot4.shm.wires import Wires, private_wires
from workers.plan import FeedSpec, Plan

_LINE = "from bot4.engine.feed import feed_step"
_REPLACEMENT = "from bot4.engine.feed_ticks import tick_step as feed_step"


def recorded_instruments(feed: FeedSpec, settings: Settings) -> tuple[list[tuple[str, str]], list[str]]:
    """(symbol, venue) of each instrument of a recording, and what a person should know of it; reads all of it."""
    recording = Recording(feed.paths)
    configured = {(row.symbol, row.venue): row for row in settings.instruments}
    for _, listed, _ in recording.chosen:
        row = configured.get((listed.symbol, listed.venue))
        if row is None:
            raise RecordingError(
                f"{recording.folder}: holds {listed.symbol} of {listed.venue}, which is not configured; add it to "
                "instruments.toml"
            )
        for name in ("tick_size", "lot_size"):
            recorded, now = getattr(listed, name), getattr(row, name)
            if to_e8(recorded, name) != to_e8(now, name):
                raise RecordingError(
                    f"{recording.folder}: {listed.symbol} was recorded with {name} = {recorded}, instruments.toml says "
                    f"{now}; write the recorded one"
                )
    silences = Silences(recording.chosen)
    for block in recording.blocks():
        silences.take(block)
    told = [*recording.lost(raw=False), *silences.told()]
    if recording.head.missing:
        told.append(f"the recording lacks {recording.head.missing:,} records; its books are not whole after a hole.")
    if not recording.head.ended:
        told.append("the recording was not closed in order: what its recorder last had in memory is not in it.")
    return [(chosen.listed.symbol, chosen.listed.venue) for chosen in recording.chosen], told


def tick_feed(plan: Plan, wires: Wires) -> TickFeed:
    """The agent that publishes a recording; one without a path has nothing to publish."""
    blocks = Recording(plan.feed.paths).blocks() if plan.feed.paths else iter(())
    return TickFeed(
        wires, plan.instruments, plan.session, blocks, plan.feed.synthetic, plan.replayed, plan.data_latency
    )


def composed_of_ticks(loop: ModuleType) -> ModuleType:
    """A copy of the loop of all agents whose feed is that of a recording."""
    return generate_module(loop, "bot4_composed_ticks", {_LINE: _REPLACEMENT}, feed_ticks)


def warm_ticks() -> None:
    """Compile or load the step."""
    session = np.zeros(1, SESSION)
    session[0]["n_shards"] = 1
    TickFeed(private_wires(1, 1), np.zeros(1, INSTRUMENT), session, iter(()), False, True).do_work()

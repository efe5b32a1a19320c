"""The exchange without sockets behind a recording, event by event."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from rig.exchange_desk import START_NS, Desk

from bot4.adapters.exchange.recorded import Event, Recording
from bot4.adapters.exchange.symbol import default_symbols
from bot4.cli.recorded_market import open_recording
from bot4.model.queue import read_queue

SPOT = "hftbacktest/spot"
STEP_S = 0.005
Looker = Callable[[int, Event | str], None]


class RecordedDesk(Desk):
    """A desk whose market is a recording; `look` is called after each of its events, `before` in front of it."""

    def __init__(
        self, folder: Path, recording: Recording, look: Looker | None = None, before: Looker | None = None, **more: Any
    ) -> None:
        self.told = 0
        events = recording.events

        def watched():
            for ts_ns, event in events:
                if before is not None and self.told >= 0:
                    before(ts_ns, event)
                yield ts_ns, event
                self.told += 1
                if look is not None:
                    look(ts_ns, event)

        self.symbols = {symbol.name: symbol for symbol in recording.symbols}
        super().__init__(folder, recording=recording._replace(events=watched()), **more)

    def run(self, seconds: float = 1e9) -> None:
        """Play it, to its end or for so many seconds."""
        end_ns = self.now_ns + int(seconds * 1e9)
        while not self.made.market.has_ended and self.now_ns < end_ns:
            self.tick(STEP_S)


def open_files(paths: list[Path], queue: str = "risk-averse") -> Recording:
    """A recording of these files."""
    model = read_queue(queue)
    assert model is not None, queue
    return open_recording(paths, model, known=default_symbols())


def scaled(levels: dict[Decimal, Decimal], tick: Decimal, lot: Decimal) -> dict[int, int]:
    """What a venue of that tick and lot can show, in 1e-8: quantities cut to whole lots, one at least."""
    lot_e8 = int(lot * 10**8)
    return {int(price * 10**8): max(int(qty // lot), 1) * lot_e8 for price, qty in levels.items() if price % tick == 0}


__all__ = ["SPOT", "START_NS", "RecordedDesk", "open_files", "scaled"]

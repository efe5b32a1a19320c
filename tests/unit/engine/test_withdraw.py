"""Taking everything back at a venue of a few lines, in real time: what is believed, and when."""

import time

from rig.gateway import instrument_row
from rig.gateway_script import BTC, REFUSED, ManualClock, ScriptedCaller, ScriptedVenue

from bot4.adapters.bybit.private import BybitPrivate
from bot4.engine.withdraw import Withdrawal
from bot4.ports.gateway_values import Keys


class Lagging(ScriptedVenue):
    """Its lists show what has happened a second late."""

    until_s = 0.0

    def _answer(self, name, asked):
        is_early = name == "order/realtime" and time.monotonic() < self.until_s
        return {"list": []} if is_early else super()._answer(name, asked)


def test_that_nothing_is_left_is_not_believed_before_the_venues_copies_agree():
    venue = Lagging(ManualClock())
    venue.open("late", {"side": "Buy", "orderType": "Limit", "price": "59900", "qty": "0.005"})
    venue.refuses["order/cancel-all"] = REFUSED
    venue.until_s = time.monotonic() + 1.0
    private = BybitPrivate(Keys("k" * 18, "s" * 36), "https://127.0.0.1:1", [BTC], instrument_row())
    found = Withdrawal(private, ScriptedCaller(venue), False, 30.0, print).run()
    assert found.proven and found.left == [] and found.cancelled == 1 and not venue.orders


class Shut(BybitPrivate):
    """The venue's words, where it wants to hear nothing for six seconds after the first answer."""

    waits = (6.0,)

    def pause_s(self, reply):
        pause, self.waits = self.waits, ()
        return sum(pause)


def test_who_is_to_wait_asks_nothing_until_then():
    clock = FastClock()
    venue, asked = ScriptedVenue(ManualClock()), []
    caller = ScriptedCaller(venue)
    send = caller.send
    caller.send = lambda *call: asked.append(clock()) or send(*call)
    private = Shut(Keys("k" * 18, "s" * 36), "https://127.0.0.1:1", [BTC], instrument_row())
    assert Withdrawal(private, caller, False, 60.0, print, None, clock).run().proven
    assert asked[1] - asked[0] >= 6.0


class FastClock:
    """Ten seconds in one."""

    def __init__(self):
        self.begun = time.monotonic()

    def __call__(self):
        return 10 * (time.monotonic() - self.begun)

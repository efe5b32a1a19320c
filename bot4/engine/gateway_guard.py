"""The dead-man's switch of a venue: who takes back what opens when nobody here is alive any more.

A venue that watches the private stream ends every order of the account some time after the stream has gone, protective
stops too. So it is armed while an order that opens rests and no stop does, and disarmed before a stop leaves. A stream
that is new is armed first, whatever rests: that ends the count which the loss of the last one has begun. While there is
no stream nothing can be said, and what was said last counts on.
"""

from collections.abc import Callable, Iterable

from bot4.engine.gateway_calls import Task
from bot4.engine.gateway_order import Known
from bot4.model.enums import ORDER_REDUCE_ONLY, TYPE_STOP_MARKET, VENUE_RATE, VENUE_TIME
from bot4.ports.gateway import Listener, Private
from bot4.ports.venue import Done, Refused
from bot4.shm.wires import GUARD_ABSENT, GUARD_ARMED, GUARD_NOTHING_RESTS, GUARD_STOP_RESTS, GUARD_UNTOLD

LOOK_S = 0.1
PASSING = (Refused(VENUE_RATE), Refused(VENUE_TIME))  # says nothing about the account


class Guard:
    """See the module.

    Parameters
    ----------
    private : the venue's words
    timeout_s : of the switch, 0: it is not wanted
    listener : the private stream
    orders : those that may be open
    """

    def __init__(
        self, private: Private, timeout_s: int, listener: Listener, orders: Callable[[], Iterable[Known]]
    ) -> None:
        self._private, self._timeout_s, self._listener, self._orders = private, timeout_s, listener, orders
        self._is_armed = self._is_heard = False
        self.state = GUARD_UNTOLD

    def keep(self) -> Task:
        """Ask whether the venue has one for this account, then see to it all the time."""
        call = self._private.set_guard(self._timeout_s) if self._timeout_s else None
        outcome = None
        while call is not None and (not isinstance(outcome, Done | Refused) or outcome in PASSING):
            outcome = yield call
            yield 0.5
        if not isinstance(outcome, Done):
            self.state = GUARD_ABSENT
            return
        self.state = GUARD_NOTHING_RESTS
        self._arm(True)
        while True:
            self.see()
            yield LOOK_S

    def lost(self) -> None:
        """The stream is gone, or another one that has not been subscribed to."""
        self._is_heard = False

    def opened(self) -> None:
        """The stream is another one, and has been subscribed to."""
        self._is_armed, self._is_heard = False, True
        if self.state not in (GUARD_UNTOLD, GUARD_ABSENT):
            self._arm(True)
            self.see()  # no stop rests on an armed one for longer than between two words

    def see(self, stop_leaves: bool = False) -> None:
        """Arm or disarm it by what rests, or is about to."""
        if self.state in (GUARD_UNTOLD, GUARD_ABSENT):
            return
        opens, stops = False, stop_leaves
        for known in self._orders():
            reduces = known.flags & ORDER_REDUCE_ONLY != 0
            opens = opens or not reduces
            stops = stops or (reduces and known.type == TYPE_STOP_MARKET and known.sent_ns > 0)
        self._arm(opens and not stops)
        self.state = GUARD_ARMED if self._is_armed else GUARD_STOP_RESTS if stops else GUARD_NOTHING_RESTS

    def _arm(self, is_wanted: bool) -> None:
        if is_wanted != self._is_armed and self._is_heard:
            self._listener.send(self._private.guard(is_wanted))
            if self._listener.is_open():  # else it was said to nobody
                self._is_armed = is_wanted

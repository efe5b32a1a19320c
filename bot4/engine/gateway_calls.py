"""What goes to the venue and what comes back: calls wait here for their turn, each kind in a queue of its own.

What takes several answers is a task, a generator that yields calls or seconds and is resumed with the outcome, or when
they are over. Nothing waits. A kind whose limit is used up holds up no other; of each kind what is urgent goes first.
"""

import heapq
import logging
from collections import deque
from collections.abc import Callable, Generator
from itertools import count
from typing import Any, NamedTuple, Protocol

from bot4.crash import AT_ANSWER, AT_CANCEL_SENT, AT_SENT, die_here
from bot4.engine.gateway_budget import NS, Budget
from bot4.engine.gateway_order import Known
from bot4.model.breaker import DONE, FAILED, VOID
from bot4.model.enums import REPORT_REJECT, VENUE_DOWN, VENUE_KEY, VENUE_RATE, VENUE_TIME
from bot4.ports.gateway import CALL_CANCEL, CALL_PLACE, CALL_QUERY, N_CALLS, Call, Caller, Outcome, Private, Reply
from bot4.ports.venue import Done, Refused, Unknown
from bot4.shm.breaker import Breaker, GuardedCall

MS = 1_000_000
PLACE_S, CALL_S = 2.5, 5.0  # an answer that takes longer is none
QUEUED_NS = 5 * NS  # an order that only reduces waits so long for its turn ...
HELD_NS = 100 * MS  # ... and any other one for a connection
CLOCK_S, UNSURE_S = 60.0, 5.0  # until the venue's clock is asked for again
CLOCK_ERROR_NS = 250 * MS  # that an estimate of it may be off while orders open

Task = Generator[Call | float, Any, Any]
Owner = Task | Callable[[Outcome], None]  # who wants the outcome


class Orders(Protocol):
    """Whose orders wait here."""

    def shut(self) -> int:
        """Why no order that opens may leave now; 0: it may."""
        ...

    def leaves(self, known: Known) -> None:
        """An order is about to be sent."""
        ...

    def give_back(self, known: Known, status: int, code: int) -> None:
        """An order has waited for its turn and never leaves."""
        ...

    def disowned(self) -> None:
        """The venue does not accept the key any more."""
        ...


def fate_of(outcome: Outcome) -> int:
    """What an outcome says of the venue: a refusal in clear words is an answer, unless it only answers for us."""
    if isinstance(outcome, Unknown) or (isinstance(outcome, Refused) and outcome.code == VENUE_DOWN):
        return FAILED
    own = isinstance(outcome, Refused) and outcome.code in (VENUE_RATE, VENUE_TIME, VENUE_KEY)
    return VOID if own else DONE


class _Waiting(NamedTuple):
    call: Call
    owner: Owner
    known: Known | None  # a new order
    until_ns: int  # that it waits


class Calls:
    """See the module.

    Parameters
    ----------
    private, caller : the venue's words and connections
    orders : is asked and told about new orders
    clock : monotonic, ns
    event_ns : event time, ns
    breaker : is told what becomes of each call; whom it holds back is for `orders` to say
    """

    def __init__(
        self,
        private: Private,
        caller: Caller,
        orders: Orders,
        clock: Callable[[], int],
        event_ns: Callable[[], int],
        logger: logging.Logger,
        breaker: Breaker,
    ) -> None:
        self._breaker = breaker
        self._private, self._caller, self._orders = private, caller, orders
        self._clock, self._event_ns, self._logger = clock, event_ns, logger
        self._budget = Budget(private.limits, private.total)
        self._waiting: list[list[deque[_Waiting]]] = [[deque() for _ in range(N_CALLS)] for _ in (True, False)]
        self._tokens = count(1)
        self._under_way: dict[int, tuple[Call, Owner, int, GuardedCall]] = {}
        self._timers: list[tuple[int, int, Task]] = []
        self._unclear: dict[str, str] = {}
        self.offset_ns = 0  # the venue's clock less ours of events
        self.skew_ns = 0  # how far off that may be
        self.has_clock = False

    def turn(self) -> int:
        """Take what has come and go on with what has waited long enough. Returns the number of items."""
        done = 0
        for token, reply in self._caller.turn():
            self._replied(token, reply)
            done += 1
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            self._advance(heapq.heappop(self._timers)[2], None)
            done += 1
        return done

    def begin(self, task: Task) -> None:
        """A task begins, and goes on by itself."""
        self._advance(task, None)

    def queue(self, call: Call, owner: Owner) -> None:
        """A call, in its turn; what is not signed needs not wait for the clock, and goes before the others."""
        waiting, one = self._waiting[call.kind == CALL_QUERY][call.kind], _Waiting(call, owner, None, 0)
        waiting.append(one) if call.signed else waiting.appendleft(one)
        self.send_waiting()

    def queue_order(self, call: Call, owner: Owner, known: Known, is_urgent: bool) -> None:
        """A new order, in its turn or not at all."""
        until_ns = self._clock() + (QUEUED_NS if is_urgent else HELD_NS)
        self._waiting[not is_urgent][call.kind].append(_Waiting(call, owner, known, until_ns))
        self.send_waiting()

    @property
    def venue_ns(self) -> int:
        """The venue's clock."""
        return self._event_ns() + self.offset_ns

    def send_waiting(self) -> None:
        """Send what may go: what is urgent first, of it new orders, then cancels, amends, questions."""
        now = self._clock()
        for queues, is_urgent in zip(self._waiting, (True, False), strict=True):
            for waiting in queues:
                while waiting and self._goes(waiting[0], is_urgent, now):
                    waiting.popleft()

    def _goes(self, first: _Waiting, is_urgent: bool, now: int) -> bool:
        """Whether the first of a queue has left it, sent or given back."""
        call, owner, known, until_ns = first
        if known is not None and known.order is None:
            return True  # it has been taken back
        if known is not None and now > until_ns:
            self._orders.give_back(known, REPORT_REJECT, VENUE_DOWN)
            return True
        if not self._caller.free() or (call.signed and not self.has_clock):
            return False
        if known is not None and not is_urgent and (code := self._orders.shut()):
            self._orders.give_back(known, REPORT_REJECT, code)  # what has come between: a kill, another stream
            return True
        if not self._budget.take(call.kind, is_urgent, now, call.weight):
            if known is None or is_urgent:
                return False
            self._orders.give_back(known, REPORT_REJECT, VENUE_RATE)
            return True
        if known is not None:
            self._orders.leaves(known)
        self._send(call, owner)
        return True

    def _send(self, call: Call, owner: Owner) -> None:
        token = next(self._tokens)
        self._under_way[token] = (call, owner, self._clock(), self._breaker.watch())
        data = self._private.sign(call, self.venue_ns // MS)
        if not self._caller.send(token, data, PLACE_S if call.kind == CALL_PLACE else CALL_S):
            self._replied(token, Reply(0, {}, b"", "no connection"))
            return
        if call.kind == CALL_PLACE:
            die_here(AT_SENT)
        elif call.kind == CALL_CANCEL:
            die_here(AT_CANCEL_SENT)

    def _replied(self, token: int, reply: Reply) -> None:
        call, owner, sent_ns, guarded = self._under_way.pop(token)
        if call.kind == CALL_PLACE:
            die_here(AT_ANSWER)
        outcome = self._private.judge(call, reply)
        guarded.end(fate_of(outcome))
        most = self._private.limit_of(reply)
        if most:
            self._budget.learn(call.kind, most)
        pause_s = self._private.pause_s(reply)
        if pause_s:
            self._budget.pause(
                None if reply.status in (403, 418, 429) else call.kind, self._clock() + int(pause_s * NS)
            )
            self._logger.warning("the venue wants fewer requests", extra={"fields": {"s": pause_s, "call": call.name}})
        if isinstance(outcome, Unknown) and not reply.error and outcome.reason != self._unclear.get(call.name):
            self._unclear[call.name] = outcome.reason  # told once, however often it comes in a row
            self._logger.error("unclear answer", extra={"fields": {"call": call.name, "reason": outcome.reason}})
        if isinstance(outcome, Refused) and outcome.code == VENUE_TIME:
            self.begin(self.set_clock())
        elif isinstance(outcome, Refused) and outcome.code == VENUE_KEY and call.name != "guard":
            self._orders.disowned()
        if call.name == "time" and isinstance(outcome, Done):
            outcome = Done((outcome.value, sent_ns))
        if isinstance(owner, Generator):
            self._advance(owner, outcome)
        else:
            owner(outcome)

    def _advance(self, task: Task, value: Any) -> None:
        try:
            step = task.send(value)
        except StopIteration:
            return
        if isinstance(step, float):
            heapq.heappush(self._timers, (self._clock() + int(step * NS), next(self._tokens), task))
        else:
            self.queue(step, task)

    # --- the venue's clock ---

    def set_clock(self) -> Task:
        """The venue's clock by the answer that took least of three. Returns whether there was one."""
        best = None
        for _ in range(3):
            outcome = yield self._private.ask_time()
            if isinstance(outcome, Done):
                theirs, sent_ns = outcome.value
                now = self._clock()
                took = now - sent_ns
                if best is None or took < best[0]:
                    best = took, theirs - (self._event_ns() - now + sent_ns + took // 2)
        if best is None:
            return False
        was_sure, step_ns = self.is_timely, best[1] - self.offset_ns
        if self.has_clock and abs(step_ns) > CLOCK_ERROR_NS + (best[0] + self.skew_ns) // 2:
            self._logger.error("the venue's clock, or ours, was set", extra={"fields": {"by_ms": step_ns // MS}})
        self.skew_ns, self.offset_ns, self.has_clock = best[0], best[1], True
        if was_sure and not self.is_timely:
            fields = {"off_by_ms": best[0] // 2 // MS, "then": "nothing opens until answers come sooner"}
            self._logger.error("the venue's clock is not known well enough", extra={"fields": fields})
        return True

    @property
    def is_timely(self) -> bool:
        """Whether the venue's clock is known well enough for what opens: it may be off by half of an answer's time."""
        return self.skew_ns <= 2 * CLOCK_ERROR_NS

    def keep_clock(self) -> Task:
        """The same again and again."""
        while True:
            yield CLOCK_S if self.is_timely else UNSURE_S
            yield from self.set_clock()

"""Slow twin of the simulated venue's duty cycle: which of market and requests comes next, what is promised, what waits.

Matching is the twin of the kernels; here are queues and clocks. Ticks and requests are taken from `market` and
`requests`, what execution may read lies in `ring`, oldest first, with its time of delivery.
"""

import math
from collections import Counter, deque
from typing import Any, NamedTuple

from reference.kernels.latency import latency
from reference.kernels.matching import RefVenue

END_NS = 2**63 - 1
LAST = 1
ACTION_CANCEL, ACTION_CANCEL_ALL = 2, 4
TIME = 1  # place of the time in an event's tuple


class Tick(NamedTuple):
    """One record of the market."""

    ts_ns: int
    lag_us: int
    instrument: int
    kind: int
    flags: int
    words: tuple[int, int, int, int]
    event_no: int


class RefVenueLoop:
    """The venue between its rings; the caller plays feed and execution."""

    def __init__(
        self, venue: RefVenue, paced: bool, order_latency_ns: int, report_latency_ns: int, slots: int, latencies=None
    ) -> None:
        """`latencies` : of orders, cancels and reports, each (kind, times, values); None: as told."""
        self.latencies = latencies
        self.sent = [0, 0, 0]
        self.held: deque[dict[str, Any]] = deque()  # under way for longer than the least
        self.last_due = self.last_delivery = 0
        self.venue, self.paced, self.slots = venue, paced, slots
        self.order_latency_ns, self.report_latency_ns = order_latency_ns, report_latency_ns
        self.market: deque[Tick] = deque()
        self.requests: deque[dict[str, Any]] = deque()
        self.ring: deque[tuple] = deque()
        self.feed_ns = self.exec_ns = 0
        self.clock_ns = self.items = 0
        self.in_message = self.in_hand = self.ledger_full = self.undrained = False
        self.seen: Counter[str] = Counter()

    def deliver(self) -> bool:
        """What was said goes out as far as there is room; True if nothing is left."""
        while self.venue.events and len(self.ring) < self.slots:
            event = list(self.venue.events.pop(0))
            event[TIME] += self.took(2, event[TIME], self.report_latency_ns)
            event[TIME] = self.last_delivery = max(event[TIME], self.last_delivery)
            self.ring.append(tuple(event))
        return not self.venue.events

    def took(self, way: int, sent_ns: int, least_ns: int) -> int:
        """How long the next message of a way takes."""
        if self.latencies is None:
            return least_ns
        self.sent[way] += 1
        return max(least_ns, math.floor(latency(*self.latencies[way], self.sent[way] - 1, sent_ns)))

    def due(self, request: dict[str, Any]) -> int:
        """When a request is due, reckoned once."""
        if "due" not in request:
            sent = request["t"] - self.order_latency_ns
            way = int(request["action"] in (ACTION_CANCEL, ACTION_CANCEL_ALL))
            due = max(self.last_due, sent + self.took(way, sent, self.order_latency_ns))
            request["due"] = self.last_due = due
        return request["due"]

    def work(self, most: int) -> int:
        """Up to `most` items; how many."""
        handled = 0
        while handled < most and self.next_item():
            self.undrained = self.undrained or bool(self.venue.events)  # no event comes without an entry
            handled += 1
        self.items += handled
        return handled

    def next_item(self) -> bool:
        """One request or one record, whichever is due; False if neither is."""
        if self.venue.events and self.undrained:  # nobody is told what the ledger does not hold yet
            self.seen["ledger first"] += 1
            return False
        if not self.deliver():
            self.seen["no room"] += 1
            return False
        if self.in_hand:  # a request counts as unread until all that it caused can be read
            self.requests.popleft()
            self.in_hand = False
        if self.ledger_full:
            self.seen["ledger full"] += 1
            return False
        # no event without a request comes from before the next record, or before what the feed promises
        begin = self.market[0].ts_ns if self.market else self.feed_ns
        while True:
            first = self.held[0]["due"] if self.held else END_NS
            self.clock_ns = min(min(begin, first) + self.report_latency_ns, END_NS)
            if not self.requests or not begin <= self.due(self.requests[0]) > self.requests[0]["t"]:
                break
            self.held.append(self.requests.popleft())
            self.seen["held"] += 1
        waiting = self.held or self.requests
        arrival = self.due(waiting[0]) if waiting else None
        if arrival is not None and not self.in_message:
            due = arrival < begin
            at_rest = not self.paced and not self.market and arrival == begin
            if due or at_rest:
                self.seen["request" if due else "request at rest"] += 1
                self.venue.request(waiting[0] | {"t": arrival})
                if self.held:
                    self.held.popleft()
                    self.seen["released"] += 1
                else:
                    self.in_hand = True
                return True
            self.seen["request waits"] += 1
        if not self.market:
            self.seen["waits within a message" if self.in_message and arrival is not None else "nothing"] += 1
            return False
        if not self.in_message and self.paced and self.earliest_request() < begin:
            self.seen["market waits"] += 1
            return False
        if arrival == begin:
            self.seen["market before a request of its time"] += 1
        if self.in_message and arrival is not None and arrival < begin:
            self.seen["message before a request"] += 1
        tick = self.market.popleft()
        self.venue.tick(*tick)
        self.in_message = not tick.flags & LAST
        self.seen["market"] += 1
        return True

    def earliest_request(self) -> int:
        """No request that is not in the queue arrives before: execution's word, and what an unread event may cause."""
        if self.ring and self.ring[0][TIME] + self.order_latency_ns < self.exec_ns:
            self.seen["unread event"] += 1
            return self.ring[0][TIME] + self.order_latency_ns
        return self.exec_ns

    def is_idle(self) -> bool:
        """Nothing is under way."""
        return not (self.venue.events or self.in_hand or self.held or self.requests or self.market)

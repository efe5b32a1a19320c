"""The simulated venue as one compiled step between its three rings.

    feed --market--> [ requests and market in event-time order -> matching core ] --events--> execution
    execution --requests-->                        |
                                                   +--> ledger entries, drained to the file by `venue.VenueAgent`

At equal times the market goes first; one message of the market is applied whole before a request is looked at. A
request is taken off its ring only after everything it caused stands in the events ring: execution counts on that when
it computes how far event time may advance. Nobody is told what the ledger does not hold yet: with events and entries
both waiting the batch ends, whoever drives the step drains the entries, and the next batch begins with the events.
When the events ring or the ledger buffer is full the venue takes nothing more; it never loses an event or an entry.
Records that the market ring had no room for leave no market to trade on: the venue asks the feed for a snapshot.

The session's latencies are the least; where a model says more for a request, it is taken off its ring and held until
it is due, and an event is delivered later. Nothing overtakes on its way, and the promise speaks of what is held too.

Budget: 100 ns a record of the market with nothing open, 1 us a request, 2 us an order that is filled at once, all
entries made (`benches/bench_matching.py`).
"""

from typing import NamedTuple

import numpy as np

from bot4.atomics import load_acquire, store_release
from bot4.jit import inlined, kernel
from bot4.kernels.latency import latency_ns
from bot4.kernels.matching.market import handle_tick
from bot4.kernels.matching.request import answer_trades, handle_request
from bot4.kernels.matching.state import ITEM_ENTRIES, LEDGER_CAPACITY, Matching, matching_memory
from bot4.model.enums import ACTION_CANCEL, ACTION_CANCEL_ALL, FLAG_LAST, INT64_MAX
from bot4.model.latency import Latency, constant
from bot4.model.queue import AVERSE, QueueModel
from bot4.model.records import ORDER_INTENT, ORDER_WORDS, TICK, TICK_WORDS, words
from bot4.shm.layout import CLOCK_EXEC_VENUE, CLOCK_FEED, CLOCK_VENUE, CONTROL_SNAPSHOT_VENUE
from bot4.shm.spsc_ring import consume, has_space, next_time, peek_order, peek_tick, push_order, unread_time
from bot4.shm.wires import (
    GAPPED_VENUE,
    GAUGE_EVENT_TIME_NS,
    GAUGE_ITEMS,
    GAUGE_VENUE_FILLS,
    GAUGE_VENUE_LEDGER,
    GAUGE_VENUE_ORDERS,
    VENUE_ROW,
)

# words of VenueMemory.loop
IN_MESSAGE = 0  # 1: a record without FLAG_LAST was applied, the rest of its message comes first
IN_HAND = 1  # 1: the request at the head of the ring is done but what it caused is not all out
PUSHED = 2  # events of the buffer that are in the ring
PROMISED = 3  # last value of CLOCK_VENUE
GAPS_TOLD = 4  # gaps for which a snapshot has been asked
MODELLED = 5  # 1: some way has a model of its latencies
DUE = 6  # when the request at the head of the ring is due, -1: not reckoned yet
LAST_DUE = 7
HELD_FIRST = 8  # place of the oldest request that is held
N_HELD = 9
LAST_DELIVERY = 10
SENT = 11  # orders, cancels and reports so far, three words
N_LOOP_WORDS = 14

ORDER_WAY, CANCEL_WAY, REPORT_WAY = 0, 1, 2
HELD = 65_536  # requests under way at once; more wait in their ring


class Ways(NamedTuple):
    """Tables of latencies of orders (and questions), cancels and reports; `model.latency.Latency` of each."""

    kinds: np.ndarray  # int64[3]
    order_times: np.ndarray
    order_values: np.ndarray
    cancel_times: np.ndarray
    cancel_values: np.ndarray
    report_times: np.ndarray
    report_values: np.ndarray


def ways_of(order: Latency | None, cancel: Latency | None, report: Latency | None) -> Ways:
    """Tables for the venue's step; None: the session's least latency."""
    made = [constant(0) if one is None else one for one in (order, cancel, report)]
    tables = [table for one in made for table in (one.times, one.values)]
    return Ways(np.array([one.kind for one in made], np.int64), *tables)


NONE: tuple[Latency | None, Latency | None, Latency | None] = (None, None, None)


class VenueMemory(NamedTuple):
    """All that the venue's step works on; process-private."""

    core: Matching
    loop: np.ndarray  # int64[N_LOOP_WORDS]
    tick: np.ndarray  # TICK[1], the record in hand
    tick_words: np.ndarray
    request: np.ndarray  # ORDER_INTENT[1], the request in hand
    request_words: np.ndarray
    ways: Ways
    held: np.ndarray  # ORDER_INTENT[HELD], a ring of requests that are under way, `ts_ns` when they are due
    held_words: np.ndarray


def venue_memory(
    n_instruments: int,
    start_balance_e8: int,
    latencies: tuple[Latency | None, Latency | None, Latency | None] = NONE,
    queue: QueueModel = AVERSE,
    impacts: np.ndarray | None = None,
) -> VenueMemory:
    """Memory of a venue with one account of `start_balance_e8` (1e-8 quote currency) and no orders.

    `latencies` : of orders, cancels and reports, where they are not the session's least
    `queue` : where in a queue quantity goes off without a trade
    `impacts` : IMPACT[n], None: our taking moves no price
    """
    tick = np.zeros(1, TICK)
    request = np.zeros(1, ORDER_INTENT)
    held = np.zeros(HELD, ORDER_INTENT)  # virtual until somebody is late
    loop = np.zeros(N_LOOP_WORDS, np.int64)
    loop[MODELLED] = int(any(one is not None for one in latencies))
    loop[DUE] = -1
    return VenueMemory(
        core=matching_memory(n_instruments, start_balance_e8, queue=queue, impacts=impacts),
        loop=loop,
        tick=tick,
        tick_words=words(tick),
        request=request,
        request_words=words(request),
        ways=ways_of(*latencies),
        held=held,
        held_words=words(held),
    )


@inlined
def _later(time_ns, latency_ns):
    """time + latency, where the end of the stream (INT64_MAX) stays the end."""
    return np.int64(INT64_MAX) if time_ns >= INT64_MAX - latency_ns else time_ns + latency_ns


@kernel
def _way_ns(venue, way, now_ns, least_ns):
    """How long the next message of a way is under way that is sent now."""
    ways = venue.ways
    number = venue.loop[SENT + way]
    venue.loop[SENT + way] = number + 1
    if way == ORDER_WAY:
        took = latency_ns(ways.kinds[ORDER_WAY], ways.order_times, ways.order_values, number, now_ns)
    elif way == CANCEL_WAY:
        took = latency_ns(ways.kinds[CANCEL_WAY], ways.cancel_times, ways.cancel_values, number, now_ns)
    else:
        took = latency_ns(ways.kinds[REPORT_WAY], ways.report_times, ways.report_values, number, now_ns)
    return max(least_ns, took)


@kernel
def _due(venue, wires, session, arrival):
    """When the request at the head of the ring is due that would arrive by the least latency; none before the last."""
    loop = venue.loop
    if loop[DUE] < 0:
        least = session[0]["order_latency_ns"]
        peek_order(wires.requests, venue.request_words, 0)
        action = np.int64(venue.request[0]["action"])
        way = CANCEL_WAY if action == ACTION_CANCEL or action == ACTION_CANCEL_ALL else ORDER_WAY
        sent = arrival - least
        loop[DUE] = max(loop[LAST_DUE], sent + _way_ns(venue, way, sent, least))
        loop[LAST_DUE] = loop[DUE]
    return loop[DUE]


@kernel
def _hold(venue, wires):
    """The request at the head of the ring is under way for longer: keep it until it is due."""
    loop = venue.loop
    place = (loop[HELD_FIRST] + loop[N_HELD]) % HELD
    peek_order(wires.requests, venue.held_words, place * ORDER_WORDS)
    venue.held[place]["ts_ns"] = loop[DUE]
    loop[N_HELD] += 1
    loop[DUE] = -1
    consume(wires.requests)


@kernel
def _release(venue):
    """The oldest request that is held becomes the one in hand."""
    loop = venue.loop
    begin = loop[HELD_FIRST] * ORDER_WORDS
    for word in range(ORDER_WORDS):
        venue.request_words[word] = venue.held_words[begin + word]
    loop[HELD_FIRST] = (loop[HELD_FIRST] + 1) % HELD
    loop[N_HELD] -= 1


@kernel
def _push_events(venue, wires, session):
    """Hand waiting events to the ring, delivery time stamped. True when none waits any more."""
    desk = venue.core.desk[0]
    while venue.loop[PUSHED] < desk["n_events"]:
        if not has_space(wires.events, 1):
            return False
        index = venue.loop[PUSHED]
        event = venue.core.events[index]
        delivery = event["ts_ns"] + session[0]["report_latency_ns"]
        if venue.loop[MODELLED] != 0:
            least = session[0]["report_latency_ns"]
            took = _way_ns(venue, REPORT_WAY, np.int64(event["ts_ns"]), least)
            delivery = max(venue.loop[LAST_DELIVERY], event["ts_ns"] + took)
            venue.loop[LAST_DELIVERY] = delivery
        event["ts_ns"] = delivery
        push_order(wires.events, venue.core.event_words, index * ORDER_WORDS)
        venue.loop[PUSHED] = index + 1
    venue.loop[PUSHED] = 0
    desk["n_events"] = 0
    return True


@inlined
def ledger_first(venue):
    """True if events wait while entries are not in the ledger's file yet: drain these, then the events may go out."""
    desk = venue.core.desk[0]
    return desk["n_events"] > 0 and desk["n_entries"] > 0


@kernel
def venue_step(venue, wires, instruments, session, max_items):
    """Handle up to `max_items` requests and records of the market in event-time order.

    Parameters
    ----------
    venue : VenueMemory
    wires : Wires
    instruments : INSTRUMENT[n]
    session : SESSION[1]
    max_items : int64, bound of the batch

    Returns
    -------
    int64, items handled

    Notes
    -----
    Invariant (paced): a record of the market at m is applied only when no request can arrive before m any more, a
    request that arrives at a only after every record with time <= a; no event goes out before the ledger has what it
    came with. Errors: 0 items with work waiting means that the events ring is full or that entries wait to be drained.
    Twin: tests/reference/adapters/sim/venue_loop.py
    """
    core = venue.core
    desk = core.desk[0]
    loop = venue.loop
    paced = session[0]["paced"] != 0
    items = np.int64(0)
    while items < max_items:
        if ledger_first(venue) or not _push_events(venue, wires, session):
            break
        if desk["answer_next"] > 0:
            answer_trades(core, venue.request[0])
            continue
        if loop[IN_HAND] != 0:
            loop[IN_HAND] = 0
            loop[DUE] = -1
            consume(wires.requests)
        if LEDGER_CAPACITY - desk["n_entries"] < ITEM_ENTRIES:
            break
        # SYNC POINT: each promise is read before the ring it speaks of (pairs with store_release in the feed and in
        # execution): what was pushed before the promise is then seen.
        feed_clock = load_acquire(wires.clocks, CLOCK_FEED)
        request_bound = np.int64(INT64_MAX)
        if paced:
            request_bound = load_acquire(wires.clocks, CLOCK_EXEC_VENUE)
            unread = unread_time(wires.events, ORDER_WORDS)
            if unread >= 0:
                request_bound = min(request_bound, unread + session[0]["order_latency_ns"])
        arrival = next_time(wires.requests, ORDER_WORDS)
        market_time = next_time(wires.market, TICK_WORDS)
        market_bound = market_time if market_time >= 0 else feed_clock
        is_held = loop[N_HELD] > 0
        due = arrival
        if loop[MODELLED] != 0 and arrival >= 0:
            due = _due(venue, wires, session, arrival)
        is_late = due > arrival
        first_due = venue.held[loop[HELD_FIRST]]["ts_ns"] if is_held else due
        promise = _later(min(market_bound, first_due) if is_held else market_bound, session[0]["report_latency_ns"])
        if promise != loop[PROMISED]:
            loop[PROMISED] = promise
            # SYNC POINT: pairs with load_acquire in execution: all events before the promise are in the ring.
            store_release(wires.clocks, CLOCK_VENUE, promise)

        if is_late and due >= market_bound and loop[N_HELD] < HELD:
            _hold(venue, wires)
            continue
        late_enough = first_due < market_bound or (not paced and market_time < 0 and first_due == market_bound)
        if loop[IN_MESSAGE] == 0 and first_due >= 0 and late_enough:
            if is_held:
                _release(venue)
            else:
                peek_order(wires.requests, venue.request_words, 0)
                venue.request[0]["ts_ns"] = due
                loop[IN_HAND] = 1
            handle_request(core, instruments, venue.request[0], venue.request_words)
        elif market_time >= 0 and (loop[IN_MESSAGE] != 0 or request_bound >= market_time):
            peek_tick(wires.market, venue.tick_words, 0)
            handle_tick(core, instruments, venue.tick[0])
            loop[IN_MESSAGE] = 0 if (np.int64(venue.tick[0]["flags"]) & FLAG_LAST) != 0 else 1
            consume(wires.market)
            if desk["n_gaps"] != loop[GAPS_TOLD]:
                loop[GAPS_TOLD] = desk["n_gaps"]
                # SYNC POINT: pairs with the feed's load_acquire of this word.
                store_release(wires.control, CONTROL_SNAPSHOT_VENUE, desk["n_gaps"])
        else:
            break
        items += 1
    _publish(venue, wires, session, items)
    return items


@kernel
def _publish(venue, wires, session, items):
    """Gauges for whoever looks on."""
    row = wires.gauges[session[0]["n_shards"] + VENUE_ROW]
    desk = venue.core.desk[0]
    for instrument in range(len(wires.gapped)):
        gapped = venue.core.seats[instrument]["gapped"]
        if wires.gapped[instrument, GAPPED_VENUE] != gapped:
            wires.gapped[instrument, GAPPED_VENUE] = gapped
    row[GAUGE_ITEMS] += items
    row[GAUGE_EVENT_TIME_NS] = desk["now_ns"]
    row[GAUGE_VENUE_ORDERS] = desk["n_accepted"]
    row[GAUGE_VENUE_FILLS] = desk["n_fills"]
    row[GAUGE_VENUE_LEDGER] = desk["ledger_seq"]


@kernel
def venue_idle(venue, wires):
    """True if nothing is under way: all events out, no request in hand, none in the ring, the market ring empty.

    Notes
    -----
    With CLOCK_VENUE at INT64_MAX this means that the venue is through with the stream.
    Twin: tests/reference/adapters/sim/venue_loop.py
    """
    return (
        venue.core.desk[0]["n_events"] == 0
        and venue.core.desk[0]["answer_next"] == 0
        and venue.loop[IN_HAND] == 0
        and venue.loop[N_HELD] == 0
        and next_time(wires.requests, ORDER_WORDS) < 0
        and next_time(wires.market, TICK_WORDS) < 0
    )

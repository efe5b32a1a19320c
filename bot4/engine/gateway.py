"""The gateway to a real venue: execution's requests as calls, the venue's words as events, each of them once.

    execution --requests--> [ log: order about to be sent ] --calls--> venue
    execution <--events---- [ log: event about to be told ] <--answers, private stream--

To execution it is the venue (`ports/venue.py`): it reads the same ring and writes the same events, numbered without a
hole. It runs in execution's own process, behind it, so that one process alone holds the key and an order is on the wire
a batch after it was journaled. Nothing in it waits: connections are asked whether something has come, and what takes
several answers is a generator that is resumed with each.

- **Outcomes.** An answer counts where it is the venue's clear word. Anything else proves nothing: the order is looked
  for by its own id until it is found, or proven never to have landed. No order is sent twice, cancels are. Of many that
  are asked for, as after a restart, the venue's lists tell first.
- **Kill.** All but stops goes in one call where the venue has one; what is left goes by name half a second later.
- **Fills before states.** A state that speaks of more fills than have been told waits until they are fetched.
- **Catching up.** When the private stream is there, its messages wait while open orders, orders without an end, trades
  and positions are asked for; trades first, then states, then what waited. The same comparison goes on all the time,
  with a stream and without one.
  Orders that open are taken when two of them a second apart have found the venue's position to be ours, and no more as
  soon as one has not.
- **Strays.** An order that was given up, or rejected, and works all the same is cancelled until it has ended, unless it
  only reduces. So is one that execution's journal lost in a power cut, and an open one under a name of this account and
  strategy that nobody knows; of these a stop goes as soon as another one stands or nothing is held. Nothing opens
  meanwhile.
- **Coins.** Of a spot instrument what is held is compared to the last 1e-8: whole lots, which execution is told, and a
  rest. A fee that is taken of the coin is told as lots that have not come and their value as the fee; the order that
  paid it ends as expired then, for its last lots never come. So is a fill that is no whole lots, where the venue's step
  is finer than a lot: by the whole lots that are held more or less, none perhaps, and by a fee that makes up for it.
  What only reduces is cut to what is held. A resting stop locks what it would sell, so an order that closes takes its
  place, in one call of the venue; the stop's end is told after that of the order, or after a second. A stop that is to
  change is taken back, and execution places another.
- **Restart**, of the process or of the whole bot. The log says what may have left and what has been told; what
  execution's journal does not hold of that is told again. What lay in the ring unread is dropped: execution asks.
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bot4.crash import (
    AT_CANCEL_ANSWER,
    AT_COMPARED,
    AT_COMPARING,
    AT_FOLDED,
    AT_FOLDING,
    AT_INQUIRED,
    AT_LOGGED,
    AT_REQUEST,
    AT_STOP_ANSWER,
    AT_STOP_LOGGED,
    AT_UNLOGGED,
    die_here,
)
from bot4.engine.gateway_budget import NS
from bot4.engine.gateway_calls import MS, Calls, Task
from bot4.engine.gateway_events import Events
from bot4.engine.gateway_guard import Guard
from bot4.engine.gateway_log import (
    GATEWAY_EVENT,
    GATEWAY_HELD,
    GATEWAY_KEY,
    GATEWAY_SENT,
    GATEWAY_START,
    NO_KEY,
    NO_PARTS,
    GatewayLog,
    Heard,
    Key,
    Parts,
    boot_number,
    trade_key,
)
from bot4.engine.gateway_order import Known, known_of, number_of, part_of
from bot4.model.breaker import BREAKER_WORDS
from bot4.model.enums import (
    ACTION_AMEND,
    ACTION_CANCEL,
    ACTION_CANCEL_ALL,
    ACTION_PLACE,
    ACTION_QUERY_BALANCE,
    ACTION_QUERY_OPEN,
    ACTION_QUERY_ORDER,
    ACTION_QUERY_POSITION,
    ACTION_QUERY_TRADES,
    EXEC_GATE_SHUT,
    EXEC_JOURNAL_FULL,
    LEG_FLATTEN,
    LEG_SLICE,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REPORT_ACK,
    REPORT_BALANCE,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_FUNDING,
    REPORT_NOT_FOUND,
    REPORT_ORDER,
    REPORT_POSITION,
    REPORT_QUERY_END,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    TIF_GTC,
    TIF_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP_MARKET,
    VENUE_BAD_REQUEST,
    VENUE_BALANCE,
    VENUE_DIFFERS,
    VENUE_DOWN,
    VENUE_DUPLICATE_ID,
    VENUE_FILTER,
    VENUE_KEY,
    VENUE_REDUCE_ONLY,
    VENUE_TIME,
    VENUE_TOO_LARGE,
    VENUE_TOO_SMALL,
    VENUE_UNKNOWN_ORDER,
)
from bot4.model.errors import Bot4Error, InputError
from bot4.model.intent import OrderIntent, intent_of
from bot4.model.records import EXEC_REPORT, JOURNAL_WORDS, ORDER_INTENT, ORDER_WORDS, words
from bot4.model.units import from_e8
from bot4.ports.gateway import (
    Call,
    Caller,
    FundingRow,
    Listener,
    OrderRow,
    Outcome,
    Page,
    PositionRow,
    Private,
    TradeRow,
)
from bot4.ports.venue import Done, Refused
from bot4.shm.breaker import Breaker
from bot4.shm.layout import CONTROL_KILL, RING_HEAD, RING_TAIL
from bot4.shm.spsc_ring import consume, peek_order
from bot4.shm.wires import (
    GAUGE_EVENT_TIME_NS,
    GAUGE_ITEMS,
    GAUGE_VENUE_FILLS,
    GAUGE_VENUE_GUARD,
    GAUGE_VENUE_LEDGER,
    GAUGE_VENUE_ORDERS,
    VENUE_ROW,
    Wires,
)

ENGINE_NS = 10 * NS  # that a venue may wait for its own matching engine after the deadline
MARGIN_NS = NS
NEGATIVES, NEGATIVES_NS = 3, 5 * NS  # so many times not found, over so long
SURE_NS = NS  # that two comparisons which find the same position lie apart, before orders are taken
PING_NS, SILENCE_NS = 5 * NS, 12 * NS
WATCH_S = 5.0
KEY_S = 3_600.0
BEAT_NS = NS // 2
OVERLAP_MS = 60_000
REACH_S = 30.0
BATCH = 64
PAGES = 500  # of a list
DAY_MS = 86_400_000
PROVE_S, QUICK_TRIES = 0.1, 10  # between the first attempts at the same proof
FEW = 10  # orders that are asked for one by one ...
AGAIN_NS = NS  # ... and not sooner again, whoever wants to know
MASS_NS = NS // 2  # that a call which takes everything back has, before orders are taken back by name
MASS_TRIES = 3
ROOM_NS = NS  # that the end of a stop waits for that of the order in its place


def in_order(rows: list[Any]) -> list[Any]:
    """Rows that came with the latest first, as they happened."""
    rows.reverse()
    return sorted(rows, key=lambda row: row.time_ms)


class GatewayAgent:
    """See the module.

    Parameters
    ----------
    wires, instruments, session : of the bot
    log : of this session
    private : the venue's words
    caller, listener : connections
    least_cash_e8 : what the account has to hold when a session begins
    heard : what execution's journal holds; what the log holds beyond it is told again
    has_lost : a power cut may have taken records of the log since its last start
    guard_s : timeout of the venue's dead-man's switch, 0: it is not wanted
    clock, wall : monotonic and wall clock, ns
    breaker : of the calls; None: one that never opens
    """

    def __init__(
        self,
        wires: Wires,
        instruments: np.ndarray,
        session: np.ndarray,
        log: GatewayLog,
        private: Private,
        caller: Caller,
        listener: Listener,
        least_cash_e8: int,
        heard: Heard | None = None,
        has_lost: bool = False,
        guard_s: int = 0,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
        logger: logging.Logger | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._wires, self._instruments, self._session = wires, instruments, session
        self._log, self._private, self._caller, self._listener = log, private, caller, listener
        self._least_cash_e8, self._clock = least_cash_e8, clock
        self._logger = logger or logging.getLogger("bot4")
        self._base_ns = wall() - clock()
        heard = heard or Heard(None)
        self._unsure = has_lost or (log.is_new and heard.has_orders)  # what the log does not know may have left
        self._was_cut = has_lost  # ... or once in this session
        account, strategy = int(session[0]["account"]), int(session[0]["strategy"])
        self._own = re.compile(f"{account:04x}{strategy:04x}[0-9a-f]{{24}}")
        self._orders: dict[tuple[int, int], Known] = {}
        self._links: dict[str, Known] = {}
        self._open: dict[str, Known] = {}
        self._seen: set[Key] = set()
        self._keyless: Counter[tuple[int, ...]] = Counter()  # trades that were told, whose keys are lost
        self._is_spot = instruments["is_spot"].tolist()
        n = len(instruments)
        self._lots = [0] * n
        self._rest_e8 = [0] * n  # of a coin what is held beside whole lots
        self._least_lots = instruments["min_qty_lots"].tolist()
        self._most_lots = instruments["max_qty_lots"].tolist()  # of a coin that the venue takes in one order
        self._lot_e8, self._value_e8 = instruments["lot_e8"].tolist(), instruments["value_e8"].tolist()
        self._names: dict[int, str] = {}  # client's ids by the venue's
        self._trade_no = [0] * n
        self._start_ms = self._last_ms = 0
        self._swept_ms = 0  # all trades until then have been seen; no time in the log is later than it was
        self._questions: list[Known] = []  # orders that execution asks for
        self._strays: list[Known] = []  # that are to end, whatever has become of them
        self._killed_ns = 0
        self._mass_ns = 0  # until then a call that takes everything back may be on its way
        self._request = np.zeros(1, ORDER_INTENT)
        self._request_words = words(self._request)
        self._failure: Bot4Error | None = None
        self._started = self._synced = False
        self._buffer: list[Any] | None = None
        self._stream_no = 0
        self._subscribed = False
        self._heard_ns = self._pinged_ns = self._began_ns = clock()
        self._mismatches = 0
        self._equal_since_ns = self._equal_ns = 0  # first and last comparison in a row that agreed
        self.differs = False
        self.stats = {"places": 0, "never_landed": 0, "catch_ups": 0}
        self._breaker = breaker or Breaker(np.zeros(BREAKER_WORDS, np.int64), clock)
        self._calls = calls = Calls(private, caller, self, clock, self._event_ns, self._logger, self._breaker)
        self._guard = Guard(private, guard_s, listener, self._open.values)
        self._events = events = Events(wires.events, log, clock, self._event_ns)
        self._begin, self._queue, self._tell, self._answer = calls.begin, calls.queue, events.tell, events.answer
        is_new = not self._read_back(heard.last)
        if self._start_ms and (self._was_cut or heard.last > self._events.seq):
            self._take_over(heard)
        if self._start_ms and is_new:
            self._log_start()
        self._swept_ms = self._last_ms
        while peek_order(wires.requests, self._request_words, 0):
            consume(wires.requests)  # of before; execution asks about what it has sent
        die_here(AT_FOLDED)
        self._begin(self._start())

    # --- the past ---

    def _read_back(self, heard: int) -> bool:
        """Fold the log; True if this start of the bot has been in it before.

        Then event time goes on, whatever the wall clock says now.
        """
        records = self._log.records()
        first = JOURNAL_WORDS - ORDER_WORDS
        flat = records.view(np.int64).reshape(-1, JOURNAL_WORDS)
        generation, boot, same_start, same_boot = int(self._session[0]["feed_generation"]), boot_number(), False, False
        for index, record in enumerate(records):
            die_here(AT_FOLDING)
            kind = int(record["type"])
            body = flat[index, first:].copy()
            if kind == GATEWAY_START:
                self._start_ms = int(record["code"])
                self._last_ms = max(self._last_ms, self._start_ms)
                same_boot = int(record["cost_tl"]) == boot
                self._was_cut |= not same_boot
                same_start = same_boot and int(record["instrument"]) == generation
                if same_start:
                    self._base_ns = int(record["ts_ns"]) - int(record["position_lots"])
            elif kind == GATEWAY_SENT:
                known = known_of(intent_of(body.view(ORDER_INTENT)))
                known.sent_ns = int(record["code"]) if same_boot else self._clock()  # no later than now
                known.since_ms = self._last_ms
                self._keep(known)
            elif kind == GATEWAY_EVENT:
                report = body.view(EXEC_REPORT)[0]
                parts = int(record["bid_ticks"]), int(record["realised_tl"])
                self._recall(report, (int(record["position_lots"]), int(record["cost_tl"])), parts)
                self._last_ms = max(self._last_ms, int(record["code"]))
                if int(report["event_seq"]) > heard:
                    self._events.again(body)
            elif kind == GATEWAY_HELD:
                self._rest_e8[int(record["instrument"])] = int(record["code"])
            elif kind == GATEWAY_KEY:
                self._seen.add((int(record["position_lots"]), int(record["cost_tl"])))
                report = body.view(EXEC_REPORT)[0]
                self._keyless[self._trade_of(report)] -= 1
                self._last_ms = max(self._last_ms, int(record["code"]))
                told = self._orders.get((int(report["id_hi"]), int(report["id_lo"])))
                if told is not None:
                    told.add_part(int(record["bid_ticks"]), int(record["realised_tl"]))
        if len(records):
            self._base_ns = max(self._base_ns, int(records["ts_ns"].max()) - self._clock())
        return same_start

    def _log_start(self) -> None:
        generation = int(self._session[0]["feed_generation"])
        self._log.start(self._event_ns(), self._start_ms, self._clock(), generation)

    def _recall(self, report: np.void, key: Key, parts: Parts) -> None:
        """What an event of the log made of the order it speaks of."""
        kind, instrument = int(report["kind"]), int(report["instrument"])
        self._events.seq = int(report["event_seq"])
        if key != NO_KEY:
            self._seen.add(key)
        elif kind in (REPORT_FILL, REPORT_FUNDING):
            self._keyless[self._trade_of(report)] += 1
        known = self._orders.get((int(report["id_hi"]), int(report["id_lo"])))
        if kind == REPORT_FILL:
            self._trade_no[instrument] = int(report["trade_id"])
            self._lots[instrument] += int(report["side"]) * int(report["qty_lots"])
            lost, self._rest_e8[instrument] = divmod(int(report["cash_e8"]), self._lot_e8[instrument])
            if known is not None:
                known.fee_lots += int(report["side"]) * lost
                if parts != NO_PARTS or key != NO_KEY:
                    known.add_part(*parts)
        if known is not None:
            known.recall(report)
            self._names[known.venue_no] = known.link
            if known.ended:
                self._open.pop(known.link, None)

    def _take_over(self, heard: Heard) -> None:
        """Into the log what a power cut has taken of it and execution's journal holds; keys of trades are lost.

        What the cut has taken of the journal execution will never ask for.
        """
        orders, events = heard.orders_and_events(self._events.seq)
        journaled = set()
        for body in orders:
            known = known_of(intent_of(body.view(ORDER_INTENT)))
            journaled.add((known.high, known.low))
            if (known.high, known.low) not in self._orders:
                known.sent_ns = self._clock()
                self._log.sent(self._event_ns(), known.sent_ns, body)
                self._keep(known)
        for body in events:
            self._recall(body.view(EXEC_REPORT)[0], NO_KEY, NO_PARTS)
            self._log.event(self._event_ns(), body, NO_KEY, 0)
        if self._was_cut:
            for known in self._open.values():
                if (known.high, known.low) not in journaled:
                    self._make_stray(known, "an order that the journal has lost")

    def _trade_of(self, report: np.void) -> tuple[int, ...]:
        """What a fill or a funding was, but for its times and numbers, and for what a fee made of the lots."""
        names = ("kind", "id_hi", "id_lo", "instrument", "side", "price_ticks", "qty_lots", "fee_e8", "cash_e8")
        kind, high, low, instrument, side, price, qty, fee_e8, cash_e8 = (int(report[name]) for name in names)
        if kind == REPORT_FILL:
            lost, cash_e8 = cash_e8 // self._lot_e8[instrument], 0
            qty, fee_e8 = qty + side * lost, fee_e8 - lost * price * self._value_e8[instrument]
        return kind, high, low, instrument, side, price, qty, fee_e8, cash_e8

    def _was_told(
        self, key: Key, told: Known | None, kind: int, fields: dict[str, int], venue_ms: int, parts: Parts = NO_PARTS
    ) -> bool:
        """Whether this trade is one of those whose keys are lost; those that look alike are alike to us."""
        body = self._events.made(kind, told, fields)
        trade = self._trade_of(body.view(EXEC_REPORT)[0])
        if self._keyless[trade] <= 0:
            return False
        self._keyless[trade] -= 1
        self._log.key(self._event_ns(), body, key, venue_ms, parts)
        return True

    def _keep(self, known: Known) -> None:
        self._orders[known.high, known.low] = self._links[known.link] = self._open[known.link] = known

    # --- one turn ---

    def do_work(self) -> int:
        """One turn; returns the number of items handled. Bot4Error where the session cannot go on."""
        if self._failure is not None:
            raise self._failure
        if self._wires.control[CONTROL_KILL] and not self._killed_ns and self._started:
            self._killed_ns = self._clock()
            self._begin(self._withdraw())
        done = self._take_requests()
        done += self._calls.turn()
        for message in self._listener.turn():
            self._heard(message)
            done += 1
        now = self._clock()
        self._listen(now)
        self._calls.send_waiting()
        if now - self._events.told_ns > BEAT_NS:
            self._answer(REPORT_QUERY_END)  # time goes on for execution where the market says nothing
        self._events.flush()
        market = self._wires.market
        market[RING_TAIL] = market[RING_HEAD]  # nobody trades on it here
        self._publish(done)
        self._log.make_ready()
        return done

    def close(self) -> None:
        """Close the connections; what counts is in the log."""
        self._events.flush()
        self._caller.close()
        self._listener.close()
        self._log.close()

    @property
    def is_ready(self) -> bool:
        """Whether orders are taken."""
        return self._started and self._synced

    @property
    def _is_caught_up(self) -> bool:
        return self._subscribed and self._buffer is None

    def _publish(self, done: int) -> None:
        row = self._wires.gauges[int(self._session[0]["n_shards"]) + VENUE_ROW]
        row[GAUGE_ITEMS] += done
        row[GAUGE_EVENT_TIME_NS] = self._event_ns()
        row[GAUGE_VENUE_ORDERS] = self.stats["places"]
        row[GAUGE_VENUE_FILLS] = sum(self._trade_no)
        row[GAUGE_VENUE_GUARD] = self._guard.state
        row[GAUGE_VENUE_LEDGER] = self._events.seq

    def _event_ns(self) -> int:
        return self._base_ns + self._clock()

    # --- requests ---

    def _take_requests(self) -> int:
        requests = self._wires.requests
        taken = 0
        while taken < BATCH and peek_order(requests, self._request_words, 0):
            die_here(AT_REQUEST)
            self._take(intent_of(self._request))
            consume(requests)
            taken += 1
        return taken

    def _take(self, request: OrderIntent) -> None:
        action = request.action
        if action == ACTION_PLACE:
            self._place(request)
            return
        known = self._orders.get((request.id_hi, request.id_lo))
        if action in (ACTION_CANCEL, ACTION_AMEND):
            if known is not None and known.order is not None:  # it waits for its turn
                if action == ACTION_AMEND:
                    self._tell(known, REPORT_CANCEL_REJECT, VENUE_UNKNOWN_ORDER)
                else:
                    self.give_back(known, REPORT_CANCELED, 0)
            elif known is None or known.ended or not self._started:
                code = VENUE_DOWN if known is not None and not known.ended else VENUE_UNKNOWN_ORDER
                self._tell(known or known_of(request), REPORT_CANCEL_REJECT, code)
            elif action == ACTION_CANCEL:
                known.wants_cancel = True
                self._cancel(known)
            else:
                self._amend(known, request.qty_lots, request.stop_ticks)
        elif action == ACTION_QUERY_ORDER:
            self._asked(request, known)
        elif action == ACTION_QUERY_TRADES:
            self._begin(self._answer_trades(request))
        elif action in (ACTION_QUERY_OPEN, ACTION_QUERY_POSITION, ACTION_QUERY_BALANCE, ACTION_CANCEL_ALL):
            self._begin(self._answer_query(action, request))

    def _place(self, request: OrderIntent) -> None:
        known = known_of(request)
        known.since_ms = self._swept_ms
        if (known.high, known.low) in self._orders:
            self._tell(known, REPORT_REJECT, VENUE_DUPLICATE_ID)
            return
        self._keep(known)
        is_urgent = known.flags & ORDER_REDUCE_ONLY != 0
        code = self._check(request)
        if not code and not self._started:
            code = VENUE_DOWN
        if not code and not is_urgent:
            code = self.shut()
        if not code and self._is_spot[request.instrument] and request.side < 0:
            code, request = self._bounded(known, request)
        if code:
            self._end(known, REPORT_REJECT, code)
            return
        known.order = self._request_words.copy()
        room = known.room and self._private.replace(request, known.link, known.room.link)
        call = room or self._private.place(request, known.link)
        self._calls.queue_order(call, partial(self._placed, known), known, is_urgent)

    def shut(self) -> int:
        """See `gateway_calls.Orders`."""
        if self._wires.control[CONTROL_KILL]:
            return EXEC_GATE_SHUT
        if not self._log.has_room:
            return EXEC_JOURNAL_FULL
        if self.differs or any(not known.ended for known in self._strays):
            return VENUE_DIFFERS
        if not self._calls.is_timely:
            return VENUE_TIME
        return 0 if self._synced and self._breaker.lets_through() else VENUE_DOWN

    def _check(self, request: OrderIntent) -> int:
        kind, tif, flags = request.type, request.tif, request.flags
        post_only = flags & ORDER_POST_ONLY
        good = (
            request.instrument < len(self._is_spot)
            and request.side in (-1, 1)
            and kind in (TYPE_MARKET, TYPE_LIMIT, TYPE_STOP_MARKET)
            and tif in (TIF_GTC, TIF_IOC)
            and request.qty_lots > 0
            and flags <= (ORDER_REDUCE_ONLY | ORDER_POST_ONLY)
            and (request.id_hi or request.id_lo)
            and (kind != TYPE_LIMIT or request.price_ticks > 0)
            and (kind != TYPE_STOP_MARKET or (request.stop_ticks > 0 and tif == TIF_GTC))
            and not (post_only and (kind != TYPE_LIMIT or tif != TIF_GTC))
            and not (self._is_spot[request.instrument] and request.side > 0 and flags & ORDER_REDUCE_ONLY)
        )
        return 0 if good else VENUE_BAD_REQUEST

    def _bounded(self, known: Known, request: OrderIntent) -> tuple[int, OrderIntent]:
        """A sale of a coin: no more than is held or than the venue takes, and in the place of a stop that locks it."""
        held, reduces = self._lots[request.instrument], request.flags & ORDER_REDUCE_ONLY
        if held <= 0 or (request.qty_lots > held and not reduces):
            return VENUE_REDUCE_ONLY if reduces else VENUE_BALANCE, request
        lots = min(request.qty_lots, held)
        if reduces and request.type == TYPE_MARKET:
            lots = part_of(lots, self._most_lots[request.instrument])
        for other in self._open.values():
            is_stop = other.type == TYPE_STOP_MARKET and other.side < 0 and other.order is None and other is not known
            if is_stop and other.instrument == request.instrument and (known.room is None or other.is_acked):
                known.room = other
        if known.room is not None:
            known.room.held_by = known
        return 0, request._replace(qty_lots=lots)

    def leaves(self, known: Known) -> None:
        """See `gateway_calls.Orders`. The log has it first, and there is no other way in which an order leaves."""
        order, known.order = known.order, None
        assert order is not None
        if known.type == TYPE_STOP_MARKET and known.flags & ORDER_REDUCE_ONLY:
            self._guard.see(stop_leaves=True)
        known.sent_ns = self._clock()
        die_here(AT_UNLOGGED)
        self._log.sent(self._event_ns(), known.sent_ns, order)
        die_here(AT_STOP_LOGGED if known.type == TYPE_STOP_MARKET else AT_LOGGED)
        self.stats["places"] += 1

    def _placed(self, known: Known, outcome: Outcome) -> None:
        if known.type == TYPE_STOP_MARKET:
            die_here(AT_STOP_ANSWER)
        if known.ended or known.is_acked:
            return
        if isinstance(outcome, Done):
            known.venue_no = number_of(outcome.value)
            self._names[known.venue_no] = known.link
            self._acknowledge(known)
            self._look(known, 1.0)
        elif isinstance(outcome, Refused) and outcome.code != VENUE_DUPLICATE_ID:
            code = outcome.code
            if self._is_spot[known.instrument] and known.flags & ORDER_REDUCE_ONLY:
                code = self._unsold(known, code)
            self._end(known, REPORT_REJECT, code)
        else:
            self._look(known, 0.05)

    def _unsold(self, known: Known, code: int) -> int:
        """Why the venue has not taken a sale that reduces. What is too large goes again in smaller parts."""
        at = known.instrument
        if code == VENUE_BALANCE:
            return VENUE_REDUCE_ONLY  # there is nothing that could be sold: it has been
        sent = min(known.qty_lots, max(self._lots[at], 1))
        if known.type == TYPE_MARKET:
            sent = part_of(sent, self._most_lots[at])
        if code == VENUE_FILTER and sent < self._least_lots[at]:
            code = VENUE_TOO_SMALL
        if code == VENUE_TOO_LARGE:
            if sent <= self._least_lots[at]:
                code = VENUE_TOO_SMALL
            self._most_lots[at] = max(min(self._most_lots[at], sent // 2), self._least_lots[at], 1)
        if code == VENUE_TOO_SMALL and sent < self._lots[at]:
            code = VENUE_FILTER  # neither the whole nor a part of it
        if code == VENUE_TOO_SMALL:
            fields = {"instrument": self._private.symbols[at], "amount": from_e8(sent * self._lot_e8[at])}
            self._logger.error("dust: the venue takes no order for so little", extra={"fields": fields})
        return code

    def give_back(self, known: Known, status: int, code: int) -> None:
        """See `gateway_calls.Orders`."""
        known.order = None
        self._end(known, status, code)

    def _withdraw(self) -> Task:
        """Killed: what is no stop goes in one call, where the venue has one; who is left after that goes by name."""
        call = self._private.cancel_but_stops()
        if call is None:
            return
        self._mass_ns = self._clock() + MASS_NS
        for _ in range(MASS_TRIES):
            outcome = yield call
            if isinstance(outcome, Done):
                self._logger.error("taken back in one call", extra={"fields": {"orders": len(outcome.value)}})
                break
            yield 0.1

    def _cancel(self, known: Known) -> None:
        now = self._clock()
        if now < known.cancel_ns:
            return
        if known.type != TYPE_STOP_MARKET and now < self._mass_ns:
            self._look(known, MASS_NS / NS)
            return
        known.cancel_ns = now + NS
        self._queue(self._private.cancel(known.instrument, known.link), partial(self._canceled, known))

    def _canceled(self, known: Known, outcome: Outcome) -> None:
        die_here(AT_CANCEL_ANSWER)
        if known.ended:
            return
        if isinstance(outcome, Refused) and outcome.code == VENUE_UNKNOWN_ORDER and not known.is_stray:
            known.wants_cancel = False
            self._tell(known, REPORT_CANCEL_REJECT, outcome.code)
        self._look(known, 0.25 if isinstance(outcome, Done) else 0.05)

    def _amend(self, known: Known, qty_lots: int, stop_ticks: int) -> None:
        if qty_lots <= 0:
            self._tell(known, REPORT_CANCEL_REJECT, VENUE_BAD_REQUEST)
            return
        call = self._private.amend(known.instrument, known.link, qty_lots, stop_ticks)
        if call is None:
            known.wants_cancel = True  # another one comes in its place
            self._cancel(known)
            return
        known.amend = (qty_lots, stop_ticks or known.stop_ticks)
        known.amend_ns = self._clock() + self._private.deadline_ms * MS + self._calls.skew_ns + MARGIN_NS
        self._queue(call, partial(self._amended, known))

    def _amended(self, known: Known, outcome: Outcome) -> None:
        if known.ended or known.amend is None:
            return
        if isinstance(outcome, Refused):
            known.amend = None
            self._tell(known, REPORT_CANCEL_REJECT, outcome.code)
        self._look(known, 0.25 if isinstance(outcome, Done) else 0.05)

    # --- questions of execution ---

    def _asked(self, request: OrderIntent, known: Known | None) -> None:
        if known is None:
            known = known_of(request)
            if self._unsure:
                known.sent_ns = self._clock()  # the log is gone: it may have left just now
            self._keep(known)
        known.order_row = request.order_row
        if known.ended:
            self._answer_order(known)
        elif known.order is None:  # else it waits for its turn, and nothing is known of it yet
            known.is_asked = known.is_unheard = True
            self._ask_for(known)

    def _ask_for(self, known: Known) -> None:
        self._questions.append(known)
        if len(self._questions) == 1:
            self._begin(self._settle())

    def _settle(self) -> Task:
        """Of many orders that are asked for the venue's lists tell first; who is left is asked for by itself."""
        yield 0.0  # more questions may be on their way
        while self._questions:
            count, asked = len(self._questions), {known.link: known for known in self._questions}
            while len(asked) > FEW and not self._started:
                yield 0.02
            if len(asked) > FEW:
                yield from self._from_lists(asked)
            del self._questions[:count]
            now = self._clock()
            for known in asked.values():
                self._look(known, 0.0 if now - known.asked_ns > AGAIN_NS else AGAIN_NS / NS)

    def _from_lists(self, asked: dict[str, Known]) -> Task:
        """Open orders, and those that ended last as long as that takes fewer requests than asking for each."""
        asked_ns = self._clock()
        orders = yield from self._pages(self._private.ask_open)
        if orders is None or not (yield from self._sweep()):
            return
        self._settled(asked, reversed(orders), asked_ns)
        cursor = ""
        for _ in range(len(asked) // FEW):
            outcome = yield self._private.ask_ended_list(cursor)
            if not isinstance(outcome, Done):
                return
            self._settled(asked, outcome.value.rows, asked_ns)
            cursor = outcome.value.cursor
            if not cursor or not asked:
                return

    def _settled(self, asked: dict[str, Known], rows: Iterable[OrderRow], asked_ns: int) -> None:
        """Answer for those that stand there, with all the fills that the venue speaks of."""
        for row in rows:
            known = asked.get(row.link)
            if known is not None and row.cum <= known.cum:
                del asked[row.link]
                if not self._heard_of(known, row, asked_ns):
                    self._look(known, 0.1)

    def _answer_order(self, known: Known) -> None:
        known.is_asked = known.is_unheard = False
        if known.ended == REPORT_NOT_FOUND:
            self._answer(REPORT_NOT_FOUND, known)
        else:
            self._answer(REPORT_ORDER, known, status=known.ended or REPORT_ACK)

    def _answer_trades(self, request: OrderIntent) -> Task:
        """Every fill that has been told after an event number; not before everything that was asked has an answer."""
        while not self._is_caught_up or any(known.is_unheard for known in self._open.values()):
            yield 0.02
        records = self._log.records()
        flat = records.view(np.int64).reshape(-1, JOURNAL_WORDS)
        for index in np.flatnonzero(records["type"] == GATEWAY_EVENT):
            body = flat[index, JOURNAL_WORDS - ORDER_WORDS :].copy()
            report = body.view(EXEC_REPORT)[0]
            if int(report["kind"]) == REPORT_FILL and int(report["event_seq"]) > request.aux:
                report["cash_e8"], report["event_seq"] = int(report["event_seq"]), 0
                report["ts_ns"] = self._event_ns()
                self._events.again(body)
        self._answer(REPORT_QUERY_END, id_hi=request.id_hi, id_lo=request.id_lo)

    def _answer_query(self, action: int, request: OrderIntent) -> Task:
        if action == ACTION_CANCEL_ALL:
            chosen = request.instrument
            for index in range(len(self._instruments)) if chosen >= len(self._instruments) else (chosen,):
                yield self._private.cancel_all(index)
            while any(known.is_acked and chosen in (known.instrument, 0xFFFF) for known in self._open.values()):
                yield 0.01
        elif action == ACTION_QUERY_OPEN:
            found = yield from self._pages(self._private.ask_open)
            if found is None:
                return
            for row in reversed(found):
                known = self._links.get(row.link)
                if known is not None:
                    self._on_order(row)
                    self._answer(REPORT_ORDER, known, status=known.ended or REPORT_ACK)
        elif action == ACTION_QUERY_POSITION:
            outcome = yield self._private.ask_positions()
            if not isinstance(outcome, Done):
                return
            held = {row.instrument: row for row in outcome.value}
            for index in range(len(self._instruments)):
                row = held.get(index, PositionRow(index, 0, 0))
                self._answer(REPORT_POSITION, instrument=index, qty_lots=row.lots, cash_e8=row.cost_tl)
        else:
            outcome = yield self._private.ask_cash()
            if not isinstance(outcome, Done):
                return
            self._answer(REPORT_BALANCE, cash_e8=outcome.value)
        self._answer(REPORT_QUERY_END, id_hi=request.id_hi, id_lo=request.id_lo)

    # --- what the venue tells ---

    def _on_row(self, row: Any) -> None:
        if isinstance(row, OrderRow):
            self._on_order(row)
        elif isinstance(row, TradeRow):
            self._on_trade(row)
        else:
            self._on_funding(row)

    def _on_trade(self, row: TradeRow) -> None:
        key = trade_key(row.instrument, row.key)
        if key in self._seen:
            return
        known = self._links.get(row.link)
        self._seen.add(key)
        if known is None and row.time_ms < self._start_ms:
            return  # of another session
        self._last_ms = max(self._last_ms, row.time_ms)
        if known is not None and not known.ended:
            self._acknowledge(known)
            if known.type == TYPE_STOP_MARKET:
                self._trigger(known)
        told = known or Known(0, 0, row.link, instrument=row.instrument, side=row.side, qty_lots=row.qty_lots)
        if known is None and row.side * self._lots[row.instrument] < 0:
            told.leg = LEG_FLATTEN  # a person's or bot4-kill's
        lost, rest_e8, fields = self._fill_of(row)
        venue_ms = min(row.time_ms, self._swept_ms)
        parts = divmod(told.cum_part_e8 + row.part_e8, self._lot_e8[row.instrument])
        if self._was_told(key, told, REPORT_FILL, fields, venue_ms, parts):
            told.add_part(*parts)
            return
        self._trade_no[row.instrument] += 1
        told.cum_lots += row.qty_lots
        told.fee_lots += row.side * lost
        told.add_part(*parts)
        self._lots[row.instrument] += row.side * fields["qty_lots"]
        self._rest_e8[row.instrument] = rest_e8
        fields |= {"trade_id": self._trade_no[row.instrument], "t_venue_ns": row.time_ms * MS - self._calls.offset_ns}
        self._tell(told, REPORT_FILL, key=key, venue_ms=venue_ms, parts=parts, **fields)
        if known is None:
            self._logger.warning("trade of a stranger", extra={"fields": {"link": row.link[:40], "key": row.key[:40]}})
        else:
            self._try_end(known)

    def _fill_of(self, row: TradeRow) -> tuple[int, int, dict[str, int]]:
        """Lots of a fill that have not come, what is held then beside whole lots, and how the fill is told.

        They have gone as a fee, or parts of lots have become one: told are the lots that are held more or less, and a
        fee that makes up for what was paid without a lot.
        """
        lot_e8, value_e8 = self._lot_e8[row.instrument], self._value_e8[row.instrument]
        rest_e8 = self._rest_e8[row.instrument] + row.side * row.part_e8 - row.coin_fee_e8
        part_value_e8 = -(-row.side * row.part_e8 * row.price_ticks * value_e8 // lot_e8)  # paid, rounded against us
        lost = -(rest_e8 // lot_e8)
        rest_e8 += lost * lot_e8
        fields = {
            "price_ticks": row.price_ticks,
            "qty_lots": row.qty_lots - row.side * lost,
            "side": row.side,
            "fee_e8": row.fee_e8 + lost * row.price_ticks * value_e8 + part_value_e8,
            "cash_e8": lost * lot_e8 + rest_e8,  # so that the next life knows both
        }
        return lost, rest_e8, fields

    def _on_funding(self, row: FundingRow) -> None:
        key = trade_key(row.instrument, row.key)
        if key not in self._seen:
            self._seen.add(key)
            if row.time_ms >= self._start_ms:
                self._last_ms = max(self._last_ms, row.time_ms)
                fields = {"instrument": row.instrument, "cash_e8": -row.paid_e8}
                venue_ms = min(row.time_ms, self._swept_ms)
                if not self._was_told(key, None, REPORT_FUNDING, fields, venue_ms):
                    self._tell(None, REPORT_FUNDING, key=key, venue_ms=venue_ms, parts=NO_PARTS, **fields)

    def _on_order(self, row: OrderRow) -> None:
        known = self._links.get(row.link)
        is_end = row.status != REPORT_ACK
        if known is None or (known.ended and not self._has_come_late(known, row)):
            return
        known.venue_no = number_of(row.venue_id)
        self._names[known.venue_no] = known.link
        if row.updated_ms < known.updated_ms and not is_end:
            return  # an older picture
        known.updated_ms = max(known.updated_ms, row.updated_ms)
        if known.ended:  # it has landed after all
            known.ended = known.code = 0
            self._open[known.link] = known
            if known.flags & ORDER_REDUCE_ONLY:
                self._logger.error("an order that was given up has landed", extra={"fields": {"order": known.link}})
            else:
                self._make_stray(known, "an order that was given up has landed")  # nobody looks after it any more
        if row.status == REPORT_REJECT and not known.is_acked and row.cum == (0, 0):
            self._end(known, REPORT_REJECT, row.code)
            return
        self._acknowledge(known)
        if row.is_triggered:
            self._trigger(known)
        self._resize(known, row)
        if is_end:
            known.last = row
            self._try_end(known)
        if row.cum > known.cum and not known.ended:
            self._look(known, 0.1)
        if known.is_stray and not known.ended and not is_end and self._may_go(known):
            known.wants_cancel = True
            self._cancel(known)

    def _adopt(self, row: OrderRow) -> None:
        """An open order under a name of ours that neither log nor journal holds: it is a stray.

        It is not logged, so the next life finds it as this one has. What has been filled of it may have been told.
        """
        high, low = int(row.link[:16], 16), int(row.link[16:], 16)
        known = Known(
            high,
            low,
            row.link,
            instrument=row.instrument,
            side=row.side,
            type=row.type,
            flags=ORDER_REDUCE_ONLY if row.is_reduce_only else 0,
            leg=min(low >> 24 & 0xFF, LEG_SLICE),
            price_ticks=row.price_ticks,
            stop_ticks=row.stop_ticks,
            qty_lots=row.qty_lots,
            cum_lots=row.cum_lots,
            cum_part_e8=row.cum_part_e8,
            sent_ns=self._clock(),
        )
        self._keep(known)
        self._make_stray(known, "an order of ours that nobody knows")

    def _make_stray(self, known: Known, why: str) -> None:
        known.is_stray = True
        self._strays.append(known)
        self._logger.error(why, extra={"fields": {"order": known.link}})

    def _may_go(self, stray: Known) -> bool:
        """Whether it protects nothing: it is no stop, or another one stands, or nothing is held, by the venue too."""
        if stray.type != TYPE_STOP_MARKET or not stray.flags & ORDER_REDUCE_ONLY:
            return True
        if self._equal_ns and not self._lots[stray.instrument]:
            return True
        return any(
            (other.type, other.instrument, other.side) == (stray.type, stray.instrument, stray.side)
            and other.flags & ORDER_REDUCE_ONLY
            and other.is_acked
            and not (other.is_stray or other.wants_cancel)
            for other in self._open.values()
        )

    @staticmethod
    def _has_come_late(known: Known, row: OrderRow) -> bool:
        """Whether the venue says of an order that never landed or was rejected that it works or has traded."""
        if known.ended == REPORT_REJECT:
            return row.updated_ms > known.updated_ms and (row.status == REPORT_ACK or row.cum > known.cum)
        return known.ended == REPORT_NOT_FOUND

    def _resize(self, known: Known, row: OrderRow) -> None:
        stop = row.stop_ticks if known.type == TYPE_STOP_MARKET else known.stop_ticks
        is_new = (row.qty_lots, stop) != (known.qty_lots, known.stop_ticks)
        if is_new or (known.amend is not None and (row.qty_lots, stop) == known.amend):
            known.qty_lots, known.stop_ticks, known.amend = row.qty_lots, stop, None
            self._tell(known, REPORT_REPLACED)

    def _try_end(self, known: Known) -> None:
        """Its last word is told when all fills that it speaks of are."""
        row, taker = known.last, known.held_by
        if row is not None and row.status != REPORT_FILL and taker is not None and not taker.ended:
            if self._clock() < taker.sent_ns + ROOM_NS:
                self._begin(self._end_later(known))
                return
        if row is not None and not known.ended and known.cum >= row.cum:
            self._end(known, row.status, row.code)

    def _end_later(self, known: Known) -> Task:
        """Of the order in its place nobody has said anything: execution has to know that no stop stands."""
        yield ROOM_NS / NS
        self._try_end(known)

    def _acknowledge(self, known: Known) -> None:
        if not known.is_acked:
            known.is_acked = True
            self._tell(known, REPORT_ACK)

    def _trigger(self, known: Known) -> None:
        if not known.is_triggered:
            known.is_triggered = True
            self._tell(known, REPORT_TRIGGERED)

    def _end(self, known: Known, status: int, code: int) -> None:
        if status == REPORT_FILL and known.fee_lots:
            status = REPORT_EXPIRED  # its last lots have gone as the fee
        known.ended, known.code = status, code
        self._open.pop(known.link, None)
        if status != REPORT_FILL and not 0 < known.qty_lots <= known.cum_lots - known.fee_lots:  # else told as filled
            self._tell(known, status, code)
        if known.is_asked:
            self._answer_order(known)
        room, known.room = known.room, None
        if room is not None and not room.ended:
            self._try_end(room)
            if not room.ended:
                self._look(room, 0.05)

    def disowned(self) -> None:
        """See `gateway_calls.Orders`."""
        if self._started:
            self._trip("the venue does not accept the key any more")

    def _trip(self, reason: str) -> None:
        if not self._wires.control[CONTROL_KILL]:
            self._wires.control[CONTROL_KILL] = 1
            self._logger.error("killed", extra={"fields": {"reason": reason}})

    # --- start ---

    def _fail(self, error: Bot4Error) -> None:
        self._failure = error

    def _start(self) -> Task:
        while not (yield from self._calls.set_clock()):
            if not self._start_ms and self._clock() - self._began_ns > REACH_S * NS:
                why = self._caller.trouble() or "no answer"
                self._fail(Bot4Error(f"the venue cannot be reached: {why}"))
                return
            yield 0.2
        while True:
            outcome = yield self._private.ask_key()
            if isinstance(outcome, Done) or (isinstance(outcome, Refused) and outcome.code == VENUE_KEY):
                break
            yield 0.5
        refusal = outcome.value if isinstance(outcome, Done) else "the venue does not accept it"
        if refusal:
            self._fail(InputError(f"key_file: {refusal}"))
            return
        if not self._start_ms:  # whatever the log holds, the session has not begun: orders were refused, none has left
            refusal = yield from self._first_look()
            if refusal:
                self._fail(InputError(refusal))
                return
            self._start_ms = self._last_ms = self._swept_ms = self._calls.venue_ns // MS
            for index, rest_e8 in enumerate(self._rest_e8):
                if self._is_spot[index]:
                    self._log.held(self._event_ns(), index, rest_e8)
            self._log_start()
        self._started = True
        self._begin(self._calls.keep_clock())
        self._begin(self._keep_key())
        self._begin(self._guard.keep())
        self._begin(self._watch())
        if self._subscribed:
            self._begin(self._catch_up(self._stream_no))

    def _first_look(self) -> Task:
        """A session begins on an account that nothing is open on; a sentence says what is."""
        while True:
            orders = yield from self._pages(self._private.ask_open)
            positions = yield self._private.ask_positions()
            cash = yield self._private.ask_cash()
            if orders is not None and isinstance(positions, Done) and isinstance(cash, Done):
                break
            self._logger.warning("asked again", extra={"fields": {"positions": str(positions), "cash": str(cash)}})
            yield 0.5
        held = [row for row in positions.value if row.lots]
        if held or orders:
            return (
                f"the account holds {len(held)} positions and {len(orders)} open orders of the instruments that are "
                "traded; a session begins flat: close them first"
            )
        if cash.value < self._least_cash_e8:
            return (
                f"account.equity: the account holds {from_e8(cash.value)} only; write that or less"
            )  # fmt: skip
        for row in positions.value:
            self._rest_e8[row.instrument] = row.rest_e8
        return (yield from self._costs())

    def _costs(self) -> Task:
        """Limits reckon with the fees of the settings: a sentence says which of them is less than the venue takes."""
        for index, row in enumerate(self._instruments):
            while not isinstance(outcome := (yield self._private.ask_fees(index)), Done):
                self._logger.warning("asked again", extra={"fields": {"fees": str(outcome)}})
                yield 0.5
            for field, theirs in zip(("maker_fee", "taker_fee"), outcome.value, strict=True):
                ours, named = int(row[f"{field}_ppm"]), self._private.symbols[index]
                if ours < theirs:
                    return (
                        f"instruments.toml: {field}_bps of {named}: {ours / 100:g} is less than the venue takes of "
                        f'this account; write "{theirs / 100:g}"'
                    )
                if ours > theirs:
                    fields = {"instrument": named, field: ours / 100, "venue": theirs / 100}
                    self._logger.info("fees are reckoned dearer than they are", extra={"fields": fields})
        return ""

    def _keep_key(self) -> Task:
        while True:
            yield KEY_S
            outcome = yield self._private.ask_key()
            if isinstance(outcome, Done) and outcome.value:
                self._trip(outcome.value)

    # --- the stream ---

    def _heard(self, message: bytes | None) -> None:
        self._heard_ns = self._clock()
        if message is None:
            self._stream_no += 1
            self._subscribed = self._synced = False
            self._guard.lost()
            self._equal_since_ns = self._equal_ns = 0
            self._buffer = []
            self._pinged_ns = self._heard_ns
            if self._listener.is_open() and self._calls.has_clock:
                self._listener.send(self._private.logon(self._calls.venue_ns // MS))
            elif self._listener.is_open():
                self._listener.drop("the venue's clock is not known yet")
            return
        try:
            told = self._private.read(message)
        except ValueError as error:
            self._logger.error("private stream", extra={"fields": {"reason": str(error)}})
            self._listener.drop(str(error))
            return
        if told.answered == "no guard":
            self._logger.error("the venue's dead-man's switch cannot be armed")
        if told.refused:
            self._logger.error("private stream", extra={"fields": {"reason": told.refused}})
            self._listener.drop(told.refused)
        elif told.answered == "auth":
            self._listener.send(self._private.subscribe())
        elif told.answered == "subscribe":
            self._subscribed = True
            self._guard.opened()
            if self._started:
                self._begin(self._catch_up(self._stream_no))
        elif self._buffer is not None:
            self._buffer.extend(told.rows)
        else:
            for row in told.rows:
                self._on_row(row)

    def _listen(self, now: int) -> None:
        if not self._listener.is_open():
            return
        if now - self._heard_ns > SILENCE_NS:
            self._listener.drop("silent")
        elif now - self._pinged_ns > PING_NS:
            self._pinged_ns = now
            self._listener.send(self._private.ping())

    def _catch_up(self, stream_no: int) -> Task:
        self.stats["catch_ups"] += 1
        while not (yield from self._compare()):
            if stream_no != self._stream_no:
                return
            yield 0.2
        if stream_no != self._stream_no:
            return
        waited, self._buffer = self._buffer or [], None
        for row in waited:
            self._on_row(row)
        while self._equal_ns - self._equal_since_ns < SURE_NS:
            yield 1.0
            yield from self._compare()
            if stream_no != self._stream_no:
                return
        self._synced = True

    def _watch(self) -> Task:
        while True:
            yield 1.0 if self._mismatches else WATCH_S
            if self._synced or not self._subscribed:  # between the two `_catch_up` does it
                yield from self._compare()

    def _pages(self, ask: Callable[[str], Call]) -> Task:
        """All rows of a list; None if a page did not come, or no page is the last."""
        rows: list[Any] = []
        cursor = ""
        for _ in range(PAGES):
            call = ask(cursor)
            outcome = yield call
            if not isinstance(outcome, Done):
                return None
            page: Page = outcome.value
            rows.extend(page.rows)
            cursor = page.cursor
            if not cursor:
                return rows
        fields = {"list": call.name, "pages": PAGES, "rows": len(rows)}
        self._logger.error("a list of the venue has no end, so nothing opens", extra={"fields": fields})
        return None

    def _trades(self, known: Known | None = None) -> Task:
        """What has been traded lately, or all of an order, the latest first; None: not whole.

        The venue answers for a window of time at most; what has been looked through whole is looked through again from
        the last trade on, for a day at most. A trade that came otherwise says nothing about those before it.
        """
        now_ms = self._calls.venue_ns // MS
        lately_ms = max(min(self._last_ms, self._swept_ms), self._swept_ms - DAY_MS)
        since_ms, link = (max(known.since_ms, self._start_ms), known.link) if known else (lately_ms, "")
        found: list[Any] = []
        begin_ms = since_ms - OVERLAP_MS
        while begin_ms <= now_ms:
            end_ms = begin_ms + self._private.window_ms
            rows = yield from self._pages(partial(self._private.ask_trades, begin_ms, end_ms, link))
            if rows is None:
                return None
            found = rows + found
            begin_ms = end_ms
        named = yield from self._named(found)
        if named is None or known is None:
            return named
        return [row for row in named if not isinstance(row, TradeRow) or row.link == known.link]

    def _named(self, rows: list[Any]) -> Task:
        """The same with the client's ids, where the venue lists trades by its own; None: it has not said one."""
        named = []
        for row in rows:
            if isinstance(row, TradeRow) and not row.link and row.venue_id:  # else a stranger's
                number = number_of(row.venue_id)
                if number not in self._names and row.time_ms < self._start_ms:
                    continue  # of another session
                if number not in self._names:
                    outcome = yield self._private.ask_owner(row.instrument, row.venue_id)
                    if not isinstance(outcome, Done) or outcome.value is None:
                        return None
                    self._names[number] = outcome.value.link
                named.append(replace(row, link=self._names[number]))
            else:
                named.append(row)
        return named

    def _sweep(self) -> Task:
        """Apply what has been traded; whether it was whole."""
        now_ms = self._calls.venue_ns // MS
        trades = yield from self._trades()
        if trades is None:
            return False
        for row in in_order(trades):
            self._on_row(row)
        self._swept_ms = now_ms
        return True

    def _compare(self) -> Task:
        """Open orders, orders that should be open, trades, positions: trades are applied first. False: not whole."""
        told = self._events.seq
        missing_since = self._clock() - NS
        orders = yield from self._pages(self._private.ask_open)
        if orders is None:
            return False
        die_here(AT_COMPARING)
        for row in orders:
            if row.link not in self._links and self._own.fullmatch(row.link):
                self._adopt(row)
        shown = {row.link for row in orders}
        for known in [known for link, known in self._open.items() if link not in shown and known.order is None]:
            if 0 < known.sent_ns < missing_since and not known.ended and not known.look_ns:
                self._ask_for(known)
        if not (yield from self._sweep()):
            return False
        positions = yield self._private.ask_positions()
        if not isinstance(positions, Done):
            return False
        die_here(AT_COMPARED)
        for row in reversed(orders):
            self._on_order(row)
        for row in self._buffer or ():
            if not isinstance(row, OrderRow):
                self._on_row(row)
        held = {row.instrument: (row.lots, row.rest_e8) for row in positions.value}
        ours = list(zip(self._lots, self._rest_e8, strict=True))
        different = [index for index, one in enumerate(ours) if held.get(index, (0, 0)) != one]
        if different and self._events.seq == told:  # a fill may have come between the trades and the positions
            if not (yield from self._sweep()):
                return False
        if not different:
            self._mismatches, self.differs = 0, False
            self._equal_ns = self._clock()
            self._equal_since_ns = self._equal_since_ns or self._equal_ns
        elif self._events.seq == told:
            self._mismatches, self.differs = self._mismatches + 1, True
            self._equal_since_ns = self._equal_ns = 0
            if self._mismatches >= 2:  # one may be a fill that is on its way
                way_out = "look whose it is, or close everything: bot4-kill --flatten"
                sides = (held, {index: ours[index] for index in different})
                venue, own = ({at: self._amount(at, *one) for at, one in side.items()} for side in sides)
                fields = {"venue": venue, "ours": own, "then": way_out}
                self._logger.error("the venue holds another position", extra={"fields": fields})
        return True

    def _amount(self, index: int, lots: int, rest_e8: int) -> int:
        """Lots, or a coin's 1e-8."""
        return lots * self._lot_e8[index] + rest_e8 if self._is_spot[index] else lots

    # --- an order whose state is not known ---

    def _look(self, known: Known, delay_s: float) -> None:
        """Ask for it, one at a time: whoever is asking asks on, and whoever would ask later does no more."""
        at_ns = self._clock() + int(delay_s * NS)
        if not known.look_ns or at_ns < known.look_ns:
            known.look_ns = at_ns
            known.look_no += 1
            self._begin(self._inquire(known, delay_s, known.look_no))

    def _inquire(self, known: Known, delay_s: float, look_no: int) -> Task:
        """Ask until its state is known, with fills; or until it is proven never to have landed."""
        while True:
            if delay_s:
                known.look_ns = self._clock() + int(delay_s * NS)
                yield delay_s
                if known.look_no != look_no:
                    return
            delay_s = min(max(2.0 * delay_s, 0.1), 2.0)
            if known.ended and not known.is_asked:
                break
            asked_ns = known.look_ns = known.asked_ns = self._clock()
            outcome = yield self._private.ask_order(known.instrument, known.link)
            if isinstance(outcome, Done) and outcome.value is None:
                outcome = yield self._private.ask_ended(known.instrument, known.link)
            if not isinstance(outcome, Done):
                continue
            die_here(AT_INQUIRED)
            row = outcome.value
            if row is not None:
                known.negatives.clear()
                if (yield from self._found(known, row, asked_ns)):
                    break
                continue
            known.is_unheard = False
            known.negatives.append(asked_ns)
            if not known.sent_ns or self._may_be_proven(known, known.negatives):
                if (yield from self._prove(known)):
                    break
                known.tries += 1
                if known.tries < QUICK_TRIES:
                    delay_s = PROVE_S  # others' fills came between; it is all but proven
            elif known.sent_ns:
                delay_s = min(delay_s, max(PROVE_S, (self._proof_ns(known) - self._clock()) / NS))
        known.look_ns = 0

    def _found(self, known: Known, row: OrderRow, asked_ns: int) -> Task:
        """The venue has it: fills first. True when there is nothing more to ask."""
        if row.cum > known.cum:
            trades = yield from self._trades(known)
            if trades is None:
                return False
            for trade in in_order(trades):
                self._on_row(trade)
            if row.cum > known.cum:
                return False
        return self._heard_of(known, row, asked_ns)

    def _heard_of(self, known: Known, row: OrderRow, asked_ns: int) -> bool:
        """A state with all its fills. True when there is nothing more to ask."""
        self._on_order(row)
        if known.is_asked:
            self._answer_order(known)
        if known.amend is not None and asked_ns > known.amend_ns and not known.ended:
            known.amend = None
            self._tell(known, REPORT_CANCEL_REJECT, VENUE_TIME)
        if known.wants_cancel and not known.ended:
            self._cancel(known)
        return bool(known.ended) or (known.amend is None and not known.wants_cancel)

    def _proof_ns(self, known: Known) -> int:
        """Not before then does "not found" prove anything."""
        return known.sent_ns + self._private.deadline_ms * MS + ENGINE_NS + self._calls.skew_ns + MARGIN_NS

    def _may_be_proven(self, known: Known, negatives: list[int]) -> bool:
        """Whether the time has come at which "not found" says something."""
        return (
            negatives[-1] > self._proof_ns(known)
            and len(negatives) >= NEGATIVES
            and negatives[-1] - negatives[0] >= NEGATIVES_NS
        )  # fmt: skip

    def _prove(self, known: Known) -> Task:
        """Not among open orders, no trade of it, the position as it is without it: it never landed."""
        orders = yield from self._pages(self._private.ask_open)
        if orders is None or any(row.link == known.link for row in orders):
            return False
        trades = yield from self._trades(known)
        if trades is None or trades or not (yield from self._sweep()):  # of others, whose fills the position holds
            return False
        told = self._events.seq
        positions = yield self._private.ask_positions()
        if not isinstance(positions, Done):
            return False
        held = {row.instrument: (row.lots, row.rest_e8) for row in positions.value}
        ours = self._lots[known.instrument], self._rest_e8[known.instrument]
        if held.get(known.instrument, (0, 0)) != ours or told != self._events.seq:
            return False
        if known.ended or known.is_acked:  # the trades have told of it
            return False
        self.stats["never_landed"] += 1
        self._end(known, REPORT_NOT_FOUND, 0)  # an event, so that the next life knows that it has been given up
        return True

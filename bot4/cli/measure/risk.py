"""Suite `risk`: every check between an intent and the wire, as execution asks them, among 1,000 instruments.

`checks_1000`: an opening order of one instrument after the other while ten hold a position and every second of the
window of moves is known: the order's own checks, the exposure of the whole account, correlation with each of the ten,
value at risk and shortfall of all of them. One at a time, a stamp after each, so the figure holds one counter read.
Goal: p99 10 us.
`intents_refused`, `intents_journaled`: intents of 32 instruments a second through the whole of execution, from a ring
and back to the shard: out of the collar, so that each ends as a record and a refusal; or legal, so that each is
journaled, sent to the venue's ring, ended there, and its end journaled and told. Goal: 500,000.
"""

# mypy: allow-untyped-defs

import contextlib
import functools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bot4.atomics import rdtsc
from bot4.cli.measure.harness import Case, Samples
from bot4.cli.measure.market import SEED, Market, market
from bot4.cli.measure.tick_to_execution import end_request
from bot4.engine.execution import ExecutionAgent
from bot4.engine.execution_step import execution_step
from bot4.engine.intent import check_intent
from bot4.jit import kernel
from bot4.model.enums import ACTION_PLACE, LEG_ENTRY, OK, TIF_IOC, TYPE_LIMIT
from bot4.model.errors import Bot4Error
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, words
from bot4.shm.layout import CLOCK_FEED, CLOCK_VENUE
from bot4.shm.spsc_ring import consume, peek_order, push_order
from bot4.shm.wires import Wires, private_wires

_INSTRUMENTS = 1_000
_HELD = 10
_FEW = 32  # instruments of whose intents the rate is taken
_RECORDS_PER_INTENT = 6  # of the journal, at most
_TICKS = 6_000_000  # price of all of them
_LOTS = 100
_NOW_NS = 1_700_000_000_000_000_000


@kernel
def _stamp_checks(x, wires, instruments, limits, session, stamps):
    """One order after the other, a stamp before the first and after each. Returns how many were refused."""
    refused = 0
    stamps[0] = rdtsc()
    for number in range(stamps.shape[0] - 1):
        instrument = np.int64(number % len(instruments))
        intent = x.intent[0]
        intent["instrument"] = instrument
        intent["event_no"] = number + 1
        x.intent_words[1] = (
            (session[0]["account"] << 48)
            | (session[0]["strategy"] << 32)
            | (instrument << 16)
            | session[0]["feed_generation"]
        )
        x.intent_words[2] = (np.int64(number + 1) << 32) | (LEG_ENTRY << 24)
        if check_intent(x, wires, instruments, limits, session, np.int64(0)) != OK:
            refused += 1
        stamps[number + 1] = rdtsc()
    return refused


@kernel
def _stream(x, wires, tables, intent, intent_words, first, number, venue, reports):
    """So many intents, each taken to its end before the next one is there. Returns how many got to the venue."""
    instruments, limits, session = tables
    request, request_words, event, event_words = venue
    sent = 0
    for at in range(first, first + number):
        instrument = np.int64(at % len(instruments))
        intent[0]["instrument"] = instrument
        intent[0]["event_no"] = at + 1
        intent[0]["ts_ns"] = _NOW_NS + at
        intent_words[1] = (
            (session[0]["account"] << 48)
            | (session[0]["strategy"] << 32)
            | (instrument << 16)
            | session[0]["feed_generation"]
        )
        intent_words[2] = (np.int64(at + 1) << 32) | (LEG_ENTRY << 24)
        push_order(wires.intents[0], intent_words, 0)
        execution_step(x, wires, instruments, limits, session, 2)
        if peek_order(wires.requests, request_words, 0):
            end_request(wires, request, request_words, event, event_words, x.account[0]["last_event_seq"] + 1)
            sent += 1
            execution_step(x, wires, instruments, limits, session, 2)
        while peek_order(wires.reports[0], reports, 0):
            consume(wires.reports[0])
    return sent


def _furnish(agent: ExecutionAgent) -> None:
    """Whole books, a full window of moves, and the order."""
    rng = np.random.default_rng(SEED)
    memory = agent.memory
    memory.account["now_ns"] = _NOW_NS
    positions = memory.positions
    positions["bid_ticks"], positions["ask_ticks"] = _TICKS - 1, _TICKS + 1
    positions["quote_ts_ns"], positions["whole"] = _NOW_NS, 1
    memory.known.window[:] = rng.standard_normal(memory.known.window.shape) * 1e-5
    memory.known.seconds[0] = memory.known.window.shape[1]
    memory.known.covariance[:] = 0.0
    memory.known.variance[:], memory.known.shared[:] = 1e-10, memory.known.window.shape[1]
    order = memory.intent[0]
    order["ts_ns"], order["leg"], order["type"], order["tif"], order["side"] = (
        _NOW_NS,
        LEG_ENTRY,
        TYPE_LIMIT,
        TIF_IOC,
        1,
    )
    order["action"], order["strategy"] = ACTION_PLACE, 1
    order["price_ticks"], order["qty_lots"], order["stop_ticks"] = _TICKS + 1, _LOTS, _TICKS - 1_000
    order["ref_ticks"], order["order_row"] = 2 * _TICKS, -1


@contextlib.contextmanager
def _execution(prepared: Market, wires: Wires, records: int) -> Iterator[ExecutionAgent]:
    """Execution with a journal of its own, ready for intents."""
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        tables = (prepared.instruments, prepared.limits, prepared.session)
        agent = ExecutionAgent(wires, *tables, Path(folder) / "journal", records)
        while not agent.started or agent.do_work():
            agent.do_work()
        _furnish(agent)
        yield agent
        agent.close()


def _checks(prepared: Market, n: int, ghz: float, taken: Samples) -> None:
    wires = private_wires(1, _INSTRUMENTS)
    stamps = np.zeros(n + 1, np.int64)
    with _execution(prepared, wires, 8_192) as agent:
        held = np.arange(_HELD) * (_INSTRUMENTS // _HELD)
        agent.memory.positions["lots"][held] = agent.memory.views["position_lots"][held] = _LOTS
        agent.memory.positions["cost_tl"][held] = _LOTS * _TICKS
        if _stamp_checks(agent.memory, wires, prepared.instruments, prepared.limits, prepared.session, stamps):
            raise Bot4Error("the bench's order does not pass the checks of execution")
    taken.add_durations(np.diff(stamps) / ghz)


def _intents(prepared: Market, n: int, is_legal: bool, taken: Samples) -> None:
    wires = private_wires(1, _FEW)
    wires.clocks[CLOCK_FEED] = wires.clocks[CLOCK_VENUE] = (
        2 * _NOW_NS
    )  # nothing comes from there that has to be waited for
    tables = (prepared.instruments, prepared.limits, prepared.session)
    request, event, report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT), np.zeros(1, EXEC_REPORT)
    venue = (request, words(request), event, words(event))
    with _execution(prepared, wires, _RECORDS_PER_INTENT * n + 8_192) as agent:
        intent = agent.memory.intent.copy()
        if not is_legal:
            intent["price_ticks"] += _TICKS
        arguments = (agent.memory, wires, tables, intent, words(intent))
        warm = min(n // 10, 100)
        sent = _stream(*arguments, 0, warm, venue, words(report))
        agent.tend()
        begun = time.perf_counter()
        sent += _stream(*arguments, warm, n, venue, words(report))
        seconds = time.perf_counter() - begun
    refused = int(wires.rejects[1].sum())
    if (sent, refused) != ((warm + n, 0) if is_legal else (0, warm + n)):
        raise Bot4Error(f"of {warm + n} intents of the bench {sent} got to the venue, and {refused} were refused")
    taken.add_rate(n, seconds)


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases; they run in this process, on the core the caller is on."""
    prepared = market(_INSTRUMENTS, 1, 0.0, True, in_turn=True)
    few = market(_FEW, 1, 0.0, True, in_turn=True)
    n = 2_000 if quick else 50_000
    made = [
        Case("checks_1000", "ns", functools.partial(_checks, prepared, n, ghz), "timer"),
        Case("intents_refused", "intents/s", functools.partial(_intents, few, n, False), "timer"),
        Case("intents_journaled", "intents/s", functools.partial(_intents, few, n, True), "timer"),
    ]
    for case in made:
        case.run(Samples(case.unit))  # compile and warm up outside the measurement
    return made

"""Suite `step`: the compiled shard step on prepared ticks, without rings, and its parts on their own.

`order_*`: every tick is a trade that closes a bar, moves every indicator, decides and becomes an order: all there is.
`mixed_32`: seven quotes to three trades, thresholds as in a paper session. Both in batches, ns per step.
`each_*`: one at a time, a stamp after each, so the figure holds one counter read (their limit, `timer`) and the
processor overlaps less: `each_32` the steps of `order_32`, `each_breaker` and `each_risk` the checks. `breaker` is what
halts the opening of risk: kill word, breaker, losses; `risk` is every check of an opening order, these among them.
Budget: `mixed_32` 30 ns, and 60 ns at most; p99 of `each_breaker` 100 ns, of `each_risk` 10 us.
"""

# mypy: allow-untyped-defs

import functools

import numpy as np

from bot4.atomics import rdtsc
from bot4.cli.measure.cpp import Twin
from bot4.cli.measure.harness import Case, Samples
from bot4.cli.measure.market import Market, market, shard_of
from bot4.engine.shard_loop import ShardMemory, step_batch
from bot4.jit import kernel
from bot4.kernels.decision.score import target_of
from bot4.kernels.indicators.atr import atr_update
from bot4.kernels.indicators.microprice import microprice
from bot4.kernels.indicators.vwap import vwap_update
from bot4.kernels.risk.drawdown import check_losses
from bot4.kernels.risk.order_checks import check_order
from bot4.model.errors import Bot4Error
from bot4.model.records import ORDER_WORDS
from bot4.shm.spsc_ring import consume, has_space, private_rings, push_order
from bot4.strategies.trend import on_bar, on_tick

BATCH = 1_000
_TICKS = {True: 20_000, False: 400_000}
_HOT = 255  # mask of the ticks that the checks walk over: these stay in the nearest cache, as the tick at hand does
_BLOCK = 256  # orders of one part's batch: fits any ring


@kernel
def _stamp_batches(shard, instruments, limits, session, ticks, first, count, stamps):
    """Steps in batches of `count`, a stamp before the first and after each. Returns the number of intents."""
    intents = 0
    stamps[0] = rdtsc()
    for batch in range(stamps.shape[0] - 1):
        intents += step_batch(shard, instruments, limits, session, ticks, first + batch * count, count)
        stamps[batch + 1] = rdtsc()
    return intents


@kernel
def _stamp_indicators(shard, ticks, first, count, stamps):
    """What a trade that closes a bar moves: average true range, day's average, and the strategy's own."""
    stamps[0] = rdtsc()
    at = first
    for batch in range(stamps.shape[0] - 1):
        for _ in range(count):
            tick = ticks[at]
            at += 1
            i = np.int64(tick["instrument"])
            price = float(tick["w0"])
            view = shard.views[i]
            view["close"] = price
            view["vwap"] = vwap_update(shard.states[i]["vwap"], tick["ts_recv_ns"], tick["w0"], tick["w1"])
            view["atr"] = atr_update(shard.states[i]["atr"], price, price, price)
            on_bar(shard.params[0], shard.strategies[i], view)
        stamps[batch + 1] = rdtsc()


@kernel
def _stamp_decision(shard, ticks, first, count, stamps):
    """Microprice, score and target. Returns the sum of the targets, so that none of it is left out."""
    targets = 0
    params = shard.params[0]
    stamps[0] = rdtsc()
    at = first
    for batch in range(stamps.shape[0] - 1):
        for _ in range(count):
            tick = ticks[at]
            at += 1
            i = np.int64(tick["instrument"])
            view = shard.views[i]
            view["microprice"] = microprice(view["bid_ticks"], tick["w1"], view["ask_ticks"], view["ask_lots"])
            score = on_tick(params, shard.strategies[i], view)
            targets += target_of(score, 0, params["enter_threshold"], params["exit_threshold"])
        stamps[batch + 1] = rdtsc()
    return targets


@kernel
def _stamp_breaker(shard, limits, ticks, first, count, stamps):
    """What can halt the opening of risk, as `check_order` asks it. Returns how often it did."""
    refused = 0
    stamps[0] = rdtsc()
    at = 0
    for batch in range(stamps.shape[0] - 1):
        for _ in range(count):
            view = shard.risks[np.int64(ticks[first + (at & _HOT)]["instrument"])]
            at += 1
            if view["killed"] or view["breaker_open"] or check_losses(view, limits[0]) != 0:
                refused += 1
        stamps[batch + 1] = rdtsc()
    return refused


@kernel
def _stamp_risk(shard, instruments, limits, ticks, first, count, stamps):
    """Every check of an opening order. Returns how many were refused."""
    refused = 0
    stamps[0] = rdtsc()
    at = 0
    for batch in range(stamps.shape[0] - 1):
        for _ in range(count):
            tick = ticks[first + (at & _HOT)]
            at += 1
            i = np.int64(tick["instrument"])
            order = shard.intent[0]
            order["ts_ns"] = tick["ts_recv_ns"]
            if check_order(order, shard.risks[i], instruments[i], limits[0]) != 0:
                refused += 1
        stamps[batch + 1] = rdtsc()
    return refused


@kernel
def _stamp_order_write(ring, words, count, stamps):
    """Publish an order of 128 bytes and take it away, in this process."""
    stamps[0] = rdtsc()
    for batch in range(stamps.shape[0] - 1):
        for number in range(count):
            words[0] = number
            if has_space(ring, 1):
                push_order(ring, words, 0)
                consume(ring)
        stamps[batch + 1] = rdtsc()


def _warm_shard(prepared: Market) -> ShardMemory:
    shard = shard_of(prepared)
    arguments = (prepared.instruments, prepared.limits, prepared.session, prepared.ticks)
    step_batch(shard, *arguments, 0, prepared.warm)
    return shard


def _steps(prepared: Market, batch: int, always: bool, ghz: float, taken: Samples) -> None:
    shard = _warm_shard(prepared)
    stamps = np.zeros((len(prepared.ticks) - prepared.warm) // batch + 1, np.int64)
    arguments = (prepared.instruments, prepared.limits, prepared.session, prepared.ticks, prepared.warm, batch)
    intents = _stamp_batches(shard, *arguments, stamps)
    if always and intents != batch * (len(stamps) - 1):
        raise Bot4Error(f"only {intents} of {batch * (len(stamps) - 1)} steps of the bench made an order")
    taken.add_durations(np.diff(stamps) / (ghz * batch))


def _part(name: str, prepared: Market, batch: int, ghz: float, taken: Samples) -> None:
    shard = _warm_shard(prepared)
    stamps = np.zeros((len(prepared.ticks) - prepared.warm) // batch, np.int64)
    # one whole step first: `shard.intent` then holds an order that passes
    arguments = (prepared.instruments, prepared.limits, prepared.session, prepared.ticks)
    step_batch(shard, *arguments, prepared.warm, 1)
    place = (prepared.ticks, prepared.warm, batch, stamps)
    if name == "indicators":
        _stamp_indicators(shard, *place)
    elif name == "decision":
        _stamp_decision(shard, *place)
    elif name == "breaker":
        if _stamp_breaker(shard, prepared.limits, *place):
            raise Bot4Error("the bench's market halts the opening of risk")
    elif name == "risk":
        if _stamp_risk(shard, prepared.instruments, prepared.limits, *place):
            raise Bot4Error("the bench's order does not pass the risk checks")
    else:
        _stamp_order_write(private_rings(1, _BLOCK, ORDER_WORDS)[0], shard.intent_words.copy(), batch, stamps)
    taken.add_durations(np.diff(stamps) / (ghz * batch))


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases; they run in this process, on the core the caller is on."""
    n = _TICKS[quick]
    one, many, crowd = (market(instruments, n, 1.0, True) for instruments in (1, 32, 1_024))
    mixed = market(32, n, 0.3, False)
    made = [
        Case(f"order_{size}", "ns", functools.partial(_steps, prepared, BATCH, True, ghz), "add", f"cpp_order_{size}")
        for size, prepared in ((1, one), (32, many), (1_024, crowd))
    ]
    made.append(Case("mixed_32", "ns", functools.partial(_steps, mixed, BATCH, False, ghz), limit="add"))
    for name in ("indicators", "decision", "breaker", "risk", "order_write"):
        made.append(Case(name, "ns", functools.partial(_part, name, many, BATCH, ghz), limit="add"))
    made.append(Case("each_32", "ns", functools.partial(_steps, many, 1, True, ghz), limit="timer"))
    for name in ("breaker", "risk"):
        made.append(Case(f"each_{name}", "ns", functools.partial(_part, name, many, 1, ghz), limit="timer"))
    for case in made:
        case.run(Samples("ns"))  # compile and warm up outside the measurement
    return made


def run_twin(twin: Twin, prepared: Market, batch: int) -> np.ndarray:
    """What the C++ program of the same steps writes, as words: stamps; if `batch` is 0, intents and records instead."""
    records = (prepared.instruments, prepared.limits, prepared.session, prepared.params, prepared.ticks)
    given = b"".join(part.tobytes() for part in records)
    return twin.run(len(prepared.instruments), len(prepared.ticks), prepared.warm, batch, stdin=given)


def twins(quick: bool, ghz: float, cores: tuple[int, int], twin: Twin) -> list[Case]:
    """The same steps by the C++ program, as limits: tests/unit/cli/test_bench_twin.py shows that they are the same."""

    def steps(prepared: Market, taken: Samples) -> None:
        taken.add_durations(np.diff(run_twin(twin, prepared, BATCH)) / (ghz * BATCH))

    sizes = (1, 32, 1_024)
    prepared = [market(instruments, _TICKS[quick], 1.0, True) for instruments in sizes]
    return [
        Case(f"cpp_order_{size}", "ns", functools.partial(steps, one))
        for size, one in zip(sizes, prepared, strict=True)
    ]

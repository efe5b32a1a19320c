"""A shard as a worker runs it, a million ticks long, under watch. Run as a program; prints what it saw as JSON.

    --guard=seccomp   the kernel kills the shard at its first system call but write and exit
    --guard=malloc    calls of malloc, calloc and realloc are counted by the preloaded library of `malloc_count.c`

The parent plays feed and execution: it pushes ticks as they find room, and answers each intent (expired, so that the
next tick decides again).
"""

import argparse
import contextlib
import ctypes
import gc
import json
import os
import signal
import time

import numpy as np

from bot4.adapters.system.process import die_with_parent
from bot4.atomics import load_acquire, pause, sched_yield
from bot4.cli.measure.market import Market, market
from bot4.engine.shard import ShardAgent, load_loop
from bot4.engine.shard_loop import shard_run
from bot4.jit import kernel
from bot4.model.enums import REPORT_EXPIRED
from bot4.model.records import EXEC_REPORT, ORDER_INTENT, words
from bot4.shm.layout import CONTROL_STOP, RING_TAIL
from bot4.shm.spsc_ring import consume, has_space, peek_order, push_order, push_tick
from bot4.shm.waiting import NEVER, idle_words
from bot4.shm.wires import GAUGE_HEARTBEAT_NS, Wires
from bot4.shm.wiring import create_wires
from workers.bootstrap import Duty
from workers.plan import FeedSpec, Plan, WorkerSpec

STRATEGY = "bot4.strategies.trend"
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # the strict mode forbids the time-stamp counter
_LOAD_NUMBER = (0x20, 0, 0, 0)  # of the system call
_ALLOW, _KILL = (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)
_FILTER = (_LOAD_NUMBER, (0x15, 2, 0, 1), (0x15, 1, 0, 231), _KILL, _ALLOW)  # write, exit_group
PATIENCE_S = 100.0


@kernel
def play(wires, tick_words, first, count, intent, intent_words, report, report_words):
    """Push `count` ticks and answer the intents until the ring is full. Returns (ticks pushed, intents answered)."""
    answered = 0
    for at in range(first, first + count):
        polls = 0
        while not has_space(wires.ticks[0], 1):
            polls += 1
            if polls > 100:
                return at - first, answered
            pause()
            sched_yield()
        push_tick(wires.ticks[0], tick_words, at * 8)
        while peek_order(wires.intents[0], intent_words, 0):
            consume(wires.intents[0])
            answered += 1
            for word in range(16):
                report_words[word] = 0
            report_words[0], report_words[1], report_words[2] = intent_words[0], intent_words[1], intent_words[2]
            report[0]["instrument"] = intent[0]["instrument"]
            report[0]["kind"] = REPORT_EXPIRED
            report[0]["side"] = intent[0]["side"]
            report[0]["leaves_lots"] = intent[0]["qty_lots"]
            push_order(wires.reports[0], report_words, 0)
    return count, answered


@kernel
def drained(wires, count):
    """True if the shard has taken `count` ticks."""
    return load_acquire(wires.ticks[0], RING_TAIL) >= count


def plan_of(prepared: Market, way: str) -> tuple[Plan, WorkerSpec]:
    """As much of a plan as a worker's loop looks at."""
    plan = Plan(
        instance="hotpath",
        generation=1,
        n_shards=1,
        symbols=(("A", "synthetic"),) * len(prepared.instruments),
        instruments=prepared.instruments,
        limits=prepared.limits,
        session=prepared.session,
        feed=FeedSpec(kind="synthetic"),
        speed=0.0,
        strategy_module=STRATEGY,
        strategy_params=prepared.params,
        state_folder=None,
        session_folder=None,
    )
    return plan, WorkerSpec(name="shard-0", agents=("shard-0",), core=None, idle=way)


def count_allocations() -> int:
    """Calls so far, by the preloaded library."""
    return ctypes.c_long.in_dll(ctypes.CDLL(None), "bot4_allocations").value


def forbid_system_calls() -> bool:
    """False if this kernel has no such filter."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = (ctypes.c_uint64 * len(_FILTER))(
        *(operation | yes << 16 | no << 24 | value << 32 for operation, yes, no, value in _FILTER)
    )
    program = (ctypes.c_uint64 * 2)(len(_FILTER), ctypes.addressof(code))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) == 0)


def work(wires: Wires, prepared: Market, way: str, guard: str, warm_ticks: int, ticks: int, writer: int) -> None:
    """The shard's process: its worker's loop. Says over `writer` that it came to the end."""
    plan, spec = plan_of(prepared, way)
    tables = (prepared.instruments, prepared.limits, prepared.session)
    agent = ShardAgent(load_loop(STRATEGY), wires, *tables, 0, prepared.params)
    turn = Duty(plan, wires, spec, [agent]).turn
    control, gauges, clock = wires.control, wires.gauges[0], time.monotonic_ns
    gc.collect()
    gc.freeze()

    def loop(until_ticks: int) -> None:
        while not control[CONTROL_STOP] and wires.ticks[0][RING_TAIL] < until_ticks:
            turn()
            gauges[GAUGE_HEARTBEAT_NS] = clock()

    loop(warm_ticks)
    before = after = count_allocations() if guard == "malloc" else 0
    os.write(writer, b"guarded ")
    if guard == "seccomp" and not forbid_system_calls():
        os.write(writer, b"refused ")
        return
    if guard == "malloc":  # one call, so that the interpreter's own allocations around each are not counted
        shard_run(agent.memory, wires, *tables, 0, ticks, idle_words(NEVER, 0, 0, NEVER), np.zeros(0, np.int64))
        after = count_allocations()
    loop(1 << 62)
    os.write(writer, b"done %d " % (after - before))


def main() -> None:
    """Fork the shard, play the market, say what happened."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--idle", default="spin")
    parser.add_argument("--guard", default="none")
    options = parser.parse_args()
    warm = 50_000
    prepared = market(4, warm + options.ticks, 0.5, True)
    total = len(prepared.ticks)
    shared = create_wires(f"hot{os.getpid()}", 1, len(prepared.instruments))
    shared.unlink()
    wires = shared.wires
    intent, report = np.zeros(1, ORDER_INTENT), np.zeros(1, EXEC_REPORT)
    hands = (intent, words(intent), report, words(report))
    tick_words = words(prepared.ticks)
    play(wires, tick_words, 0, 0, *hands)
    drained(wires, 0)
    # compile the shard's loop before the fork, on wires of no account
    scratch = create_wires(f"hotwarm{os.getpid()}", 1, len(prepared.instruments))
    scratch.unlink()
    scratch.wires.control[CONTROL_STOP] = 0
    agent = ShardAgent(
        load_loop(STRATEGY), scratch.wires, prepared.instruments, prepared.limits, prepared.session, 0, prepared.params
    )
    plan, spec = plan_of(prepared, "block")
    Duty(plan, scratch.wires, spec, [agent]).turn()
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        die_with_parent(parent)
        work(wires, prepared, options.idle, options.guard, warm, options.ticks, writer)
        os._exit(0)
    os.close(writer)
    os.set_blocking(reader, False)
    said, first, answered, status, guarded = b"", 0, 0, None, False
    deadline = time.monotonic() + PATIENCE_S
    while status is None and time.monotonic() < deadline:
        limit = total if guarded else warm
        pushed, seen = play(wires, tick_words, first, min(5_000, limit - first), *hands)
        first += pushed
        answered += seen
        if not guarded:
            with contextlib.suppress(BlockingIOError):
                said += os.read(reader, 100)
            guarded = b"guarded" in said
        elif first == total and drained(wires, total):
            wires.control[CONTROL_STOP] = 1
        ended, code = os.waitpid(pid, os.WNOHANG)
        status = code if ended else None
    late = status is None
    if late:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with contextlib.suppress(BlockingIOError):
        said += os.read(reader, 100)
    text = said.decode().split()
    print(
        json.dumps(
            {
                "ticks": int(wires.ticks[0][RING_TAIL]) - warm,
                "intents": answered,
                "refused": "refused" in text,
                "finished": "done" in text,
                "late": late,
                "forbidden_call": status is not None
                and os.WIFSIGNALED(status)
                and os.WTERMSIG(status) == signal.SIGSYS,
                "allocations": int(text[text.index("done") + 1]) if "done" in text else None,
            }
        )
    )


if __name__ == "__main__":
    main()

"""Warms a template: a short synthetic session on private wires, through the very builders that the workers use.

So every kernel is loaded, or compiled on an empty cache, with the very types it will see, and the workers that are
forked afterwards compile nothing. The wires, the journal and the ledger of this session are thrown away.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bot4.adapters.system.latch import KillLatch
from bot4.engine.shard import kept_row, load_loop
from bot4.shm.layout import CONTROL_RESYNC, CONTROL_SNAPSHOT
from bot4.shm.segment import nameless_words
from bot4.shm.spsc_ring import consume
from bot4.shm.waiting import NOBODY, ONE_POLL, rest_once, wake_peers
from bot4.shm.wires import private_wires
from workers.bootstrap import build_agents
from workers.composed import compile_part
from workers.plan import WARM_PREFIX, FeedSpec, Plan
from workers.precompile import compile_apart
from workers.recorder import warm_recorder
from workers.ticks import warm_ticks

ROUNDS = 40  # of one batch each: some seconds of the synthetic market
RESTART_AT = 20  # a shard starts anew here: snapshot and resync are answered


def warm(plan: Plan) -> np.ndarray:
    """Run every agent of the plan until it has met everything it can meet.

    Returns
    -------
    int64[n_instruments, words], the shared memory in which shards keep what their next life goes on from
    """
    home = plan.session_folder if plan.session_folder.is_dir() else None  # there whoever is killed is cleaned up after
    other_feed = not plan.composed and (plan.feed.kind == "live" or plan.feed.recording)  # hears no text of a market
    with tempfile.TemporaryDirectory(prefix=WARM_PREFIX, dir=home) as folder:
        place = Path(folder)
        KillLatch(place).initialise()
        feed = FeedSpec(kind="replay", recording=True) if plan.feed.recording else FeedSpec(kind="synthetic", seed=1)
        short = replace(plan, feed=feed, speed=0.0, state_folder=place, session_folder=place, strict=False)
        shards = [f"shard-{k}" for k in range(plan.n_shards)]
        compile_apart(plan, lambda name: _warm_feed(plan) if name == "feed" and other_feed else _start(short, name))
        row = kept_row(load_loop(plan.strategy_module))
        wires = private_wires(plan.n_shards, plan.n_instruments)
        wires = wires._replace(kept=np.zeros((plan.n_instruments, row), np.int64))
        names = ["bot"] if plan.composed else ["venue", "execution", *shards, *([] if other_feed else ["feed"])]
        agents: list[Any] = build_agents(short, wires, names, 0)
        for number in range(ROUNDS if not plan.composed else 4):
            if number == RESTART_AT:
                wires.control[CONTROL_SNAPSHOT] += 1
                wires.control[CONTROL_RESYNC] += 1
            for agent in agents:
                agent.do_work()
        if plan.traded:
            agents[names.index("execution")].settle([symbol for symbol, _ in plan.symbols])
        for agent in agents:
            _run(agent)
            agent.close()
        if plan.recorder is not None:
            warm_recorder()
        if plan.traded:
            from workers.gateway import warm_gateway  # connections are nothing to a simulated venue

            warm_gateway()
        if not plan.composed:
            if other_feed:
                _warm_feed(plan)
            # the way back: journal scan, empty state; and what a shard that has none is replaced by
            restarted = build_agents(short, wires, ["execution", *shards, "quarantine-0"], 1)
            for agent in restarted:
                agent.do_work()
                agent.close()
            for ring in (wires.ticks[0], wires.reports[0]):
                consume(ring)  # what a killed shard has not read
            wake_peers(wires.waiters, NOBODY)  # the loop around agents that do not wait by themselves
            rest_once(wires.waiters, 0, ONE_POLL, 0)
    return nameless_words(plan.n_instruments, row)


def _warm_feed(plan: Plan) -> None:
    """The kernels of a feed of connections or of an own recording, in a process of its own."""
    if plan.feed.kind == "live":
        from workers.live import warm_live

        warm_live(plan)
    else:
        warm_ticks()


def _start(plan: Plan, name: str) -> None:
    """One agent alone, on wires where nothing is to be done: its step compiles."""
    wires = private_wires(plan.n_shards, plan.n_instruments)
    apart = replace(plan, session_folder=_folder(plan, name))
    if plan.composed:
        compile_part(apart, wires, name)
        return
    agent = build_agents(apart, wires, [name], 0)[0]
    for _ in range(2):  # execution opens with the first call and steps with the second
        agent.do_work()
    _run(agent)


def _run(agent: Any) -> None:
    """The loop that waits by itself, where the agent has one."""
    if hasattr(agent, "run"):
        agent.run(ONE_POLL, NOBODY)


def _folder(plan: Plan, name: str) -> Path:
    folder = plan.session_folder / name
    folder.mkdir()
    return folder

"""Warms a template: a short synthetic session on private wires, through the very builders that the workers use.

So every kernel is loaded, or compiled on an empty cache, with the very types it will see, and the workers that are
forked afterwards compile nothing. The wires, the journal and the ledger of this session are thrown away.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from bot4.adapters.system.latch import KillLatch
from bot4.shm.layout import CONTROL_RESYNC, CONTROL_SNAPSHOT
from bot4.shm.wires import private_wires
from workers import precompile
from workers.bootstrap import build_agents
from workers.plan import FeedSpec, Plan

ROUNDS = 400  # of one batch each: some seconds of the synthetic market, with orders and fills
RESTART_AT = 200  # a shard starts anew here: snapshot and resync are answered


def warm(plan: Plan) -> None:
    """Run every agent of the plan until it has met everything it can meet."""
    with tempfile.TemporaryDirectory(prefix="bot4-warm-") as folder:
        place = Path(folder)
        KillLatch(place).initialise()
        short = replace(
            plan, feed=FeedSpec(kind="synthetic", seed=1), speed=0.0, state_folder=place, session_folder=place
        )
        shards = [f"shard-{k}" for k in range(plan.n_shards)]
        _compile_on_two_cores(short, shards)
        wires = private_wires(plan.n_shards, plan.n_instruments)
        names = ["bot"] if plan.composed else ["venue", "execution", *shards, "feed"]
        agents = build_agents(short, wires, names, 0)
        for number in range(ROUNDS if not plan.composed else 4):
            if number == RESTART_AT:
                wires.control[CONTROL_SNAPSHOT] += 1
                wires.control[CONTROL_RESYNC] += 1
            for agent in agents:
                agent.do_work()
        for agent in agents:
            agent.close()
        if not plan.composed:
            restarted = build_agents(short, wires, ["execution", *shards], 1)  # the way back: journal scan, empty state
            for agent in restarted:
                agent.do_work()
                agent.close()


def _compile_on_two_cores(plan: Plan, shards: list[str]) -> None:
    """On an empty cache: the venue in a process of its own, everything else here, at the same time."""
    beside = precompile.start()
    if beside is None:
        return
    place = plan.session_folder / "apart"
    place.mkdir()
    apart = replace(plan, session_folder=place)
    for agent in build_agents(
        apart, private_wires(plan.n_shards, plan.n_instruments), ["execution", *shards, "feed"], 0
    ):
        for _ in range(2):  # execution opens with the first call and steps with the second
            agent.do_work()
        agent.close()
    beside.wait()

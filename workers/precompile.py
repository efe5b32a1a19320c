"""Compiles the agents beside each other: on an empty cache that divides the time to the first tick by the cores.

Numba compiles on one core. The step of each agent is a tree of kernels of its own, so a forked process each compiles it
and leaves it in the cache on disk, where the template finds it a moment later.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bot4.adapters.sim.venue_loop import venue_step
from bot4.adapters.system.process import die_with_parent
from bot4.engine.execution_step import execution_run, execution_step
from bot4.engine.feed_step import feed_step
from bot4.engine.feed_ticks import tick_step
from bot4.engine.shard import load_loop
from bot4.jit import JIT, is_compiled, load_compiler
from workers.plan import Plan


def compile_apart(plan: Plan, compile_agent: Callable[[str], object]) -> None:
    """Compile the steps that the cache does not have, in as many processes as there are cores.

    Parameters
    ----------
    compile_agent : called in a forked process with the agent's name

    What cannot be compiled is not told here: the caller meets it again, and has words for it.
    """
    if not JIT:
        return
    cold = [name for name, step in _steps(plan).items() if not is_compiled(step)]
    cores = len(os.sched_getaffinity(0))
    if len(cold) < 2 or cores < 2:
        return
    load_compiler()
    running = 0
    for name in cold:
        if running == cores:
            os.wait()
            running -= 1
        parent = os.getpid()
        if os.fork() == 0:
            with suppress(BaseException):  # never back into the parent's code
                die_with_parent(parent)
                compile_agent(name)
            os._exit(0)
        running += 1
    for _ in range(running):
        os.wait()


def _steps(plan: Plan) -> dict[str, Any]:
    """The dearest kernel of each agent, the dearest agent first."""
    loop = load_loop(plan.strategy_module)
    if plan.feed.kind == "live":
        from bot4.engine.live import load_step  # connections are nothing to a replay

        feed = load_step([venue for _, venue in plan.symbols])
    else:
        feed = tick_step if plan.feed.recording else feed_step
    if plan.composed:
        return {"feed": feed, "execution": execution_step, "shard-0": loop.shard_step, "venue": venue_step}
    return {"feed": feed, "execution": execution_run, "shard-0": loop.shard_run, "venue": venue_step}

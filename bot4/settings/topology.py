"""Which agent runs in which process on which core: the topology file against the cores this process may use.

The same file serves 32 cores and a laptop. Where cores are too few, agents are composed into one process or share
cores, and `Placement.sentence` says so. Whoever spins has a core of its own, and at most cores - 1 agents do.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bot4.model.errors import SettingsError
from bot4.settings.schema import MAX_SHARDS, Topology

OTHER_AGENTS = 3  # feed, execution, venue


@dataclass(frozen=True)
class AgentPlace:
    """Where one agent runs and how it waits."""

    name: str  # feed, shard-0 .., execution, venue; bot when all are composed
    core: int
    own: bool  # nobody else of ours is pinned there
    idle: str  # spin, backoff, block


@dataclass(frozen=True)
class Placement:
    """The answer: processes, their cores, and a sentence for a person."""

    n_shards: int
    composed: bool
    agents: tuple[AgentPlace, ...]
    sentence: str

    def place(self, name: str) -> AgentPlace:
        """The place of the agent `name`."""
        return next(agent for agent in self.agents if agent.name == name)


def resolve(
    topology: Topology, n_instruments: int, cores: Sequence[int] | None = None, file: str = "topology.toml"
) -> Placement:
    """Place the agents.

    Parameters
    ----------
    topology : checked settings
    n_instruments : more shards than instruments are never made
    cores : those that may be used; default: the affinity of this process
    file : named in errors
    """
    available = sorted(os.sched_getaffinity(0) if cores is None else cores)
    _check_pins(topology, available, file)
    n_shards = _shards(topology, n_instruments, len(available))
    if topology.compose == "one" or (topology.compose == "auto" and len(available) < n_shards + OTHER_AGENTS):
        return _composed(topology, n_shards, available)
    return _processes(topology, n_shards, available)


def _check_pins(topology: Topology, available: list[int], file: str) -> None:
    for name in ("feed", "shards", "execution", "venue"):
        pins = getattr(topology.cores, name)
        for core in pins if isinstance(pins, tuple) else ():
            if core not in available:
                usable = ", ".join(map(str, available))
                fix = f'choose of {usable}, or "auto"'
                raise SettingsError(f"{file}: cores.{name}: core {core} cannot be used here; {fix}")


def _shards(topology: Topology, n_instruments: int, n_cores: int) -> int:
    wanted = n_cores - OTHER_AGENTS if topology.shards == "auto" else int(topology.shards)
    return max(1, min(wanted, n_instruments, MAX_SHARDS))


def _composed(topology: Topology, n_shards: int, available: list[int]) -> Placement:
    pins = topology.cores.shards
    core = pins[0] if isinstance(pins, tuple) else available[-1]
    idle = _idle(topology.idle.shards, len(available) > 1)
    few = f"{n_shards + OTHER_AGENTS} agents, {_count(len(available), 'core')}"
    why = "as the topology says" if topology.compose == "one" else few
    sentence = f"all agents composed into one process on core {core} ({why})"
    return Placement(n_shards, True, (AgentPlace("bot", core, True, idle),), sentence)


def _processes(topology: Topology, n_shards: int, available: list[int]) -> Placement:
    names = ["feed", *(f"shard-{k}" for k in range(n_shards)), "execution", "venue"]
    chosen = {name: _pin(topology, name) for name in names}
    taken = {core for core in chosen.values() if core is not None}
    free = [core for core in available if core not in taken] or available
    following = 0
    for name in names:
        if chosen[name] is None:
            chosen[name] = free[following % len(free)]
            following += 1
    cores = {name: core for name, core in chosen.items() if core is not None}
    guests = list(cores.values())
    spinners = 0
    agents = []
    for name in names:
        own = guests.count(cores[name]) == 1
        wish = getattr(topology.idle, _group(name))
        may_spin = own and spinners < len(available) - 1
        idle = _idle(wish, may_spin)
        spinners += idle == "spin"
        agents.append(AgentPlace(name, cores[name], own, idle))
    calmed = [agent.name for agent in agents if agent.idle != getattr(topology.idle, _group(agent.name))]
    return Placement(n_shards, False, tuple(agents), _sentence(agents, len(available), calmed))


def _pin(topology: Topology, name: str) -> int | None:
    pins = getattr(topology.cores, _group(name))
    if not isinstance(pins, tuple):
        return None
    number = int(name.removeprefix("shard-")) if name.startswith("shard-") else 0
    return int(pins[number % len(pins)])


def _group(name: str) -> str:
    return "shards" if name.startswith("shard-") else name


def _idle(wish: str, may_spin: bool) -> str:
    return "backoff" if wish == "spin" and not may_spin else wish


def _sentence(agents: Sequence[AgentPlace], n_cores: int, calmed: Sequence[str]) -> str:
    if all(agent.own for agent in agents):
        text = "every agent has a core of its own: " + ", ".join(f"{agent.name} on {agent.core}" for agent in agents)
    else:
        by_core: dict[int, list[str]] = {}
        for agent in agents:
            by_core.setdefault(agent.core, []).append(agent.name)
        shares = ", ".join(f"{' and '.join(names)} on core {core}" for core, names in sorted(by_core.items()))
        text = f"{len(agents)} agents share {_count(len(by_core), 'core')} of {n_cores}: {shares}"
    return text + (f"; no busy spinning for {', '.join(calmed)}" if calmed else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

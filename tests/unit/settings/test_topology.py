"""Agents on cores: own cores, shared cores, one process, spinners, pins."""

from pathlib import Path

import msgspec
import pytest

from bot4.model.errors import SettingsError
from bot4.settings.loader import load
from bot4.settings.topology import AgentPlace, resolve

TOPOLOGY = load(Path(__file__).resolve().parents[3] / "config" / "paper.toml").topology


def _topology(*, cores=None, idle=None, **fields):
    return msgspec.structs.replace(
        TOPOLOGY,
        cores=msgspec.structs.replace(TOPOLOGY.cores, **(cores or {})),
        idle=msgspec.structs.replace(TOPOLOGY.idle, **(idle or {})),
        **fields,
    )


@pytest.mark.parametrize(
    ("instruments", "cores", "shards", "composed"),
    [
        (1, 1, 1, True),
        (3, 2, 1, True),
        (3, 3, 1, True),
        (3, 4, 1, False),
        (3, 5, 2, False),
        (3, 32, 3, False),
        (100, 200, 64, False),
    ],
)
def test_auto_makes_as_many_shards_as_instruments_and_cores_allow(instruments, cores, shards, composed):
    placement = resolve(TOPOLOGY, instruments, range(cores))
    assert (placement.n_shards, placement.composed) == (shards, composed)


def test_with_cores_enough_every_agent_has_its_own():
    placement = resolve(TOPOLOGY, 2, range(8))
    assert placement.agents == tuple(
        AgentPlace(name, core, True, "backoff")
        for core, name in enumerate(["feed", "shard-0", "shard-1", "execution", "venue"])
    )
    assert placement.sentence.startswith("every agent has a core of its own: feed on 0, shard-0 on 1")
    assert placement.place("venue").core == 4


def test_processes_on_too_few_cores_share_them_and_say_so():
    placement = resolve(_topology(compose="processes"), 1, [4, 9])
    assert [agent.core for agent in placement.agents] == [4, 9, 4, 9]
    assert not any(agent.own for agent in placement.agents)
    assert placement.sentence == (
        "4 agents share 2 cores of 2: feed and execution on core 4, shard-0 and venue on core 9"
    )


def test_one_core_is_said_in_the_singular():
    assert "share 1 core of 1" in resolve(_topology(compose="processes"), 1, [0]).sentence
    assert "4 agents, 1 core)" in resolve(TOPOLOGY, 1, [0]).sentence


def test_one_process_by_wish_keeps_its_shards():
    placement = resolve(_topology(compose="one", shards=2), 3, range(16))
    assert placement.composed and placement.n_shards == 2
    assert [agent.name for agent in placement.agents] == ["bot"]
    assert "as the topology says" in placement.sentence


def test_never_more_shards_than_instruments():
    assert resolve(_topology(shards=8), 2, range(32)).n_shards == 2


def test_pins_are_kept_and_the_rest_goes_elsewhere():
    placement = resolve(_topology(compose="processes", shards=3, cores={"shards": (5, 6), "feed": (0,)}), 3, range(8))
    cores = {agent.name: agent.core for agent in placement.agents}
    assert cores == {"feed": 0, "shard-0": 5, "shard-1": 6, "shard-2": 5, "execution": 1, "venue": 2}
    assert [agent.name for agent in placement.agents if not agent.own] == ["shard-0", "shard-2"]


def test_composed_process_runs_where_the_shards_are_pinned():
    assert resolve(_topology(compose="one", cores={"shards": (3,)}), 1, range(8)).agents[0].core == 3
    assert resolve(_topology(compose="one"), 1, range(8)).agents[0].core == 7


@pytest.mark.parametrize("name", ["feed", "shards", "execution", "venue"])
def test_pin_to_a_core_that_is_not_there(name):
    with pytest.raises(SettingsError) as caught:
        resolve(_topology(cores={name: (0, 7)}), 1, [0, 1], "config/topology.toml")
    assert str(caught.value) == (
        f'config/topology.toml: cores.{name}: core 7 cannot be used here; choose of 0, 1, or "auto"'
    )


def test_a_spinner_has_a_core_of_its_own():
    wish = {"feed": "spin", "shards": "spin", "execution": "block"}
    alone = resolve(_topology(idle=wish), 1, range(8))
    assert [agent.idle for agent in alone.agents] == ["spin", "spin", "block", "backoff"]
    sharing = resolve(_topology(idle=wish, compose="processes"), 1, range(2))
    assert [agent.idle for agent in sharing.agents] == ["backoff", "backoff", "block", "backoff"]
    assert sharing.sentence.endswith("; no busy spinning for feed, shard-0")


def test_at_most_one_spinner_less_than_cores():
    wish = dict.fromkeys(("feed", "shards", "execution", "venue"), "spin")
    placement = resolve(_topology(idle=wish), 1, range(4))
    assert [agent.idle for agent in placement.agents] == ["spin", "spin", "spin", "backoff"]


def test_the_only_core_is_never_spun_on():
    assert resolve(_topology(idle={"shards": "spin"}), 1, [0]).agents[0].idle == "backoff"
    assert resolve(_topology(idle={"shards": "spin"}), 1, [0, 1]).agents[0].idle == "spin"


def test_the_affinity_of_this_process_is_the_default():
    assert resolve(TOPOLOGY, 1).agents[0].core >= 0

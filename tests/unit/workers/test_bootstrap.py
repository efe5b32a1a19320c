"""Waiting, building, and what the command line means."""

import pytest

from bot4.adapters.system.latch import KillLatch
from bot4.model.errors import Bot4Error, HaltedError, InputError
from workers import bootstrap
from workers.bootstrap import FREE, Idle, Patience, builder
from workers.plan import FeedSpec, kind_of, rows_of
from workers.session import parse_feed, parse_pace, parse_speed, refuse_if_tripped
from workers.view import SessionLabel


@pytest.fixture
def waits(monkeypatch):
    """What an idle worker does, instead of doing it: yields and naps in order."""
    done = []
    monkeypatch.setattr(bootstrap.os, "sched_yield", lambda: done.append("yield"))
    monkeypatch.setattr(bootstrap.time, "sleep", done.append)
    return done


def test_backoff_spins_then_yields_then_naps_longer_and_longer(waits):
    idle = Idle("backoff", Patience(spins=2, yields=3, nap_first_s=1.0, nap_last_s=2.5))
    for _ in range(9):
        idle.wait()
    assert waits == ["yield"] * 3 + [1.0, 2.0, 2.5, 2.5]
    idle.worked()
    waits.clear()
    for _ in range(3):
        idle.wait()
    assert waits == ["yield"], "after work it begins anew"


def test_spin_never_gives_the_core_away(waits):
    idle = Idle("spin")
    for _ in range(1000):
        idle.wait()
    assert waits == []


def test_block_naps_at_once(waits):
    idle = Idle("block")
    idle.wait()
    idle.wait()
    assert waits == [FREE.nap_first_s, 2 * FREE.nap_first_s]


def test_an_unknown_way_of_waiting_is_refused():
    with pytest.raises(Bot4Error, match="none of spin, backoff, block"):
        Idle("sleep")


def test_a_builder_is_found_by_its_path():
    assert builder("workers.view:SessionLabel") is SessionLabel


def test_agents_and_their_rows():
    assert rows_of("shard-2", 3) == (2,)
    assert [rows_of(name, 3) for name in ("execution", "venue", "feed")] == [(3,), (4,), (5,)]
    assert rows_of("bot", 2) == (0, 1, 2, 3, 4)
    assert [kind_of(name) for name in ("shard-11", "feed", "bot")] == ["shard", "feed", "bot"]


def test_a_tripped_latch_refuses_the_start_and_names_the_way_out(tmp_path):
    latch = KillLatch(tmp_path)
    latch.initialise()
    refuse_if_tripped(tmp_path)
    latch.trip("drill")
    with pytest.raises(HaltedError, match=r"\(drill\).*bot4-supervisor reset --reason") as caught:
        refuse_if_tripped(tmp_path)
    assert caught.value.exit_code == 3


def test_feeds_by_name():
    assert parse_feed("synthetic") == FeedSpec(kind="synthetic", seed=1, text="synthetic")
    assert parse_feed("synthetic:42").seed == 42
    replay = parse_feed("replay:a.gz,b/c.gz")
    assert [str(path) for path in replay.paths] == ["a.gz", "b/c.gz"] and not replay.synthetic


@pytest.mark.parametrize("text", ["", "x", "synthetic:", "synthetic:1.5", "replay", "replay:,", "live", "Live"])
def test_other_feeds_are_refused(text):
    with pytest.raises(InputError, match="--feed"):
        parse_feed(text)


@pytest.mark.parametrize(("text", "speed"), [("max", 0.0), ("1x", 1.0), ("2.5x", 2.5), ("1000000x", 1e6)])
def test_speeds(text, speed):
    assert parse_speed(text) == speed


@pytest.mark.parametrize(
    "text", ["", "x", "1", "0x", "0.0x", "-1x", "1e6x", "infx", "nanx", "1000001x", "1xx", " 1x", "１x"]
)
def test_other_speeds_are_refused(text):
    with pytest.raises(InputError, match="--speed"):
        parse_speed(text)


def test_event_pace_is_the_default_of_a_replay_at_max_alone():
    replay, synthetic = parse_feed("replay:a"), parse_feed("synthetic")
    assert parse_pace(None, replay, 0.0)
    assert not parse_pace(None, replay, 2.0)
    assert not parse_pace(None, synthetic, 0.0)
    assert parse_pace("event", synthetic, 0.0)
    assert not parse_pace("free", replay, 0.0)
    for pace, speed in (("event", 1.0), ("fast", 0.0)):
        with pytest.raises(InputError, match="--pace"):
            parse_pace(pace, replay, speed)

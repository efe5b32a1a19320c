"""Waiting, building, and what the command line means."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rig.sim_venue import bench_instruments
from sim.ring_pair import ring_pair_plan

from bot4.adapters.system.latch import KillLatch
from bot4.model.errors import Bot4Error, HaltedError, InputError
from bot4.model.records import ORDER_INTENT, words
from bot4.shm.layout import CLOCK_FEED, CLOCK_VENUE, LINE
from bot4.shm.spsc_ring import push_order
from bot4.shm.waiting import WAITER_ORDER, WAYS
from bot4.shm.wires import EXECUTION_ROW, VENUE_ROW, private_wires
from workers import venue
from workers.bootstrap import SPINS_OUTSIDE, YIELDS, Duty, builder, peers_of
from workers.plan import FeedSpec, WorkerSpec, kind_of, rows_of
from workers.session import parse_feed, parse_pace, parse_speed, refuse_if_tripped
from workers.view import View


class Busy:
    """An agent with so many turns of work."""

    def __init__(self, turns=0):
        self.turns, self.calls = turns, 0

    def do_work(self):
        self.calls += 1
        self.turns -= 1
        return int(self.turns >= 0)


def duty(agent, idle, paced=0):
    """The turns of a venue's worker on private wires, and the wires."""
    plan = ring_pair_plan("duty", Path(), ticks=1)
    plan.session["paced"] = paced
    wires = private_wires(1, 1, 64)
    return Duty(plan, wires, WorkerSpec(name="venue", agents=("venue",), core=None, idle=idle), [agent]), wires


def line_of(wires, row):
    """Flag, sleeps and time-outs of a waiter."""
    return [int(word) for word in wires.waiters[row * LINE : row * LINE + 3]]


VENUE = 1 + VENUE_ROW


def test_block_shows_its_flag_polls_once_more_and_sleeps():
    agent = Busy()
    made, wires = duty(agent, "block")
    made.turn()
    assert (agent.calls, line_of(wires, VENUE)) == (1, [1, 0, 0])
    made.turn()
    assert agent.calls == 2, "the look after the flag is set: what came in between is not slept over"
    assert line_of(wires, VENUE)[1] == 1


def test_work_after_the_flag_takes_it_back():
    agent = Busy()
    made, wires = duty(agent, "block")
    made.turn()
    agent.turns = 1
    made.turn()
    assert line_of(wires, VENUE) == [0, 0, 0]


def test_spin_never_shows_a_flag():
    made, wires = duty(Busy(), "spin")
    for _ in range(1000):
        made.turn()
    assert line_of(wires, VENUE) == [0, 0, 0]


def test_backoff_sleeps_after_its_spins_and_yields():
    agent = Busy()
    made, wires = duty(agent, "backoff")
    for _ in range(SPINS_OUTSIDE + YIELDS):
        made.turn()
    assert line_of(wires, VENUE) == [0, 0, 0]
    made.turn()
    assert line_of(wires, VENUE)[0] == 1


def test_news_wakes_those_it_concerns_and_nobody_else():
    made, wires = duty(Busy(1), "block")
    wires.waiters[::LINE] = 1  # all of them sleep
    made.turn()
    asleep = [row for row in range(4) if wires.waiters[row * LINE]]
    assert asleep == [0, 1 + VENUE_ROW], "execution is told, and the feed, which may wait for room"


@pytest.mark.parametrize("paced", [0, 1])
def test_a_promise_is_news_where_agents_wait_for_it(paced):
    """Paced by event time; on the wall clock it moves with every look, and nobody would ever sleep."""

    class Promising(Busy):
        def do_work(self):
            wires.clocks[CLOCK_VENUE] += 1
            return 0

    made, wires = duty(Promising(), "block", paced)
    wires.waiters[(1 + EXECUTION_ROW) * LINE] = 1
    made.turn()
    assert wires.waiters[(1 + EXECUTION_ROW) * LINE] == 1 - paced


def test_a_feed_paced_by_the_wall_clock_is_woken_by_nobody():
    plan = replace(ring_pair_plan("duty", Path(), ticks=1), speed=1.0)
    assert peers_of("venue", plan) == [1 + EXECUTION_ROW] and peers_of("shard-0", plan) == [1 + EXECUTION_ROW]


def test_a_controlled_worker_waits_as_it_is_told_or_holds_still():
    agent = Busy()
    made, wires = duty(agent, "controlled")
    order = VENUE * LINE + WAITER_ORDER
    for way, flag in (("spin", 0), ("block", 1)):
        wires.waiters[order] = WAYS.index(way)
        for _ in range(2):  # the first of another way may still belong to the old one
            made.turn()
        assert line_of(wires, VENUE)[0] == flag
    wires.waiters[order] = WAYS.index("hold")
    calls = agent.calls
    for _ in range(3):
        made.turn()
    assert agent.calls == calls


def test_an_unknown_way_of_waiting_is_refused():
    with pytest.raises(Bot4Error, match="none of spin, backoff, block, controlled"):
        duty(Busy(), "sleep")


def test_a_builder_is_found_by_its_path():
    assert builder("workers.view:View") is View


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


@pytest.mark.parametrize("text", ["", "x", "synthetic:", "synthetic:1.5", "replay", "replay:,", "Live", "live:x"])
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


def test_the_ledger_names_instruments_like_the_report(tmp_path):
    """One symbol on two venues: each line says which of the two it means."""
    symbols = (("BTCUSDT", "binance_usdm"), ("BTCUSDT", "binance_spot"))
    plan = replace(
        ring_pair_plan("names", tmp_path, ticks=1), instruments=bench_instruments(), symbols=symbols,
        session_folder=tmp_path,
    )  # fmt: skip
    wires = private_wires(1, 2, 64)
    wires.clocks[CLOCK_FEED] = 2_000
    agent = venue.build(plan, wires, "venue", 0)
    request = np.zeros(1, ORDER_INTENT)
    for number in range(2):
        request["ts_ns"], request["id_lo"], request["instrument"], request["action"] = 1_000, number + 1, number, 1
        push_order(wires.requests, words(request), 0)
    while agent.do_work():
        pass
    agent.close()
    lines = [json.loads(line) for line in plan.ledger_path.read_text().splitlines()]
    named = [line["symbol"] for line in lines if line["kind"] == "request"]
    assert named == ["BTCUSDT.binance_usdm", "BTCUSDT.binance_spot"]

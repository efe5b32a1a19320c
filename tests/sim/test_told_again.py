"""Fills told one to five times, by the stream and by lists, in no order and over restarts: each counts once."""

import json
import random
from collections import Counter

import pytest
from rig.gateway_desk import DeskRig

from bot4.model import enums as e

A_LIFE = 500  # orders until the gateway is started anew
A_SESSION = 4_000  # fills of one log


def ended(rig, identity):
    return rig.kinds(identity)[-1:] == ["fill"] and rig.of(identity)[-1]["leaves_lots"] == 0


def session(folder, seed, wanted):
    """So many fills; returns how many there were by the ledger."""
    dice = random.Random(seed)
    rig, orders, told = DeskRig(folder, seed), [], []
    rig.network.copies = 5
    while len(told) < wanted:
        with rig:
            rig.until(lambda rig=rig: rig.agent.is_ready)
            for number in range(min(A_LIFE, wanted)):
                orders.append(rig.place(dice.choice((1, -1)), dice.randint(1, 4), wait=False))
                rig.turn()
                if number % 20 == 0:
                    rig.until(lambda rig=rig: len(orders) < 20 or ended(rig, orders[-20]))
            if dice.random() < 0.5:  # else some of them are told to nobody yet
                rig.until(lambda rig=rig: all(ended(rig, one) for one in orders[-20:]))
        told = [report for report in rig.events if report["kind"] == e.REPORT_FILL]
        rig = DeskRig(folder, before=rig)
    with rig:
        rig.until(lambda: rig.agent.is_ready and all(ended(rig, one) for one in orders[-20:]))
        rig.go_on(3.0)  # the last copies
        told = [report for report in rig.events if report["kind"] == e.REPORT_FILL]
        rig.desk.conserved()
        rig.desk.venue.ledger.close()
    lots = Counter()
    count = 0
    with rig.desk.ledger.open() as lines:
        for line in map(json.loads, lines):
            if line.get("account") == "a" and line["kind"] == "fill":
                lots[line["client_order_id"]] += line["qty_lots"]
                count += 1
    ours = Counter()
    for report in told:
        ours[rig.link((int(report["id_hi"]), int(report["id_lo"])))] += int(report["qty_lots"])
    assert ours == lots and len(told) == count
    assert [int(report["event_seq"]) for report in rig.events] == list(range(1, len(rig.events) + 1))
    return count


def run(folder, wanted):
    found, seed = 0, 1
    while found < wanted:
        place = folder / str(seed)
        place.mkdir()
        found, seed = found + session(place, seed, min(A_SESSION, wanted - found)), seed + 1
        for file in place.iterdir():
            file.unlink()
    print(f"{found:,} fills, each told once")


def test_each_fill_counts_once(tmp_path):
    run(tmp_path, 1_000)


@pytest.mark.stress
def test_a_hundred_thousand_fills_count_once(tmp_path):
    run(tmp_path, 100_000)

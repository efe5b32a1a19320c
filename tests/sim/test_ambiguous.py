"""Orders of which nobody can say whether they have landed, by the thousand on a manual clock; the ledger judges."""

import base64
import json
from collections import Counter

import numpy as np
import pytest
from rig.exchange_bybit import BTC
from rig.gateway_desk import SECOND, DeskRig

from bot4.model import enums as e

ASK_NS = 400_000_000  # as execution asks for an order that nothing is heard of
FLIGHT = 20  # orders whose fate is open at one time
RESOLVED_S = 15.0
A_LIFE = 4_000  # ambiguous outcomes of one life of gateway and exchange


def is_told(rig, identity):
    """Whether the last word about it has been said."""
    ends = (e.REPORT_REJECT, e.REPORT_CANCELED, e.REPORT_EXPIRED)
    return any(
        report["kind"] in ends or (report["kind"] == e.REPORT_FILL and report["leaves_lots"] == 0)
        for report in rig.told.get(identity, ())
    )


class Hearing(DeskRig):
    """Keeps what is told by order, so that thousands can be followed."""

    def __init__(self, *arguments):
        self.told, self.unknown = {}, set()
        super().__init__(*arguments)

    def read(self):
        super().read()
        for report in self.events:
            self.told.setdefault((int(report["id_hi"]), int(report["id_lo"])), []).append(report)
        self.unknown |= {
            (int(one["id_hi"]), int(one["id_lo"])) for one in self.answers if one["kind"] == e.REPORT_NOT_FOUND
        }
        self.numbers = getattr(self, "numbers", []) + [int(report["event_seq"]) for report in self.events]
        self.events.clear()
        self.answers.clear()


def live(folder, seed, wanted, unheard):
    """A life with so many ambiguous outcomes. Returns how many there were, and seconds until each order was known."""
    rig = Hearing(folder, seed, 0.9, unheard)
    dice = np.random.default_rng(seed)
    placed, waiting, asked, took = {}, set(), {}, []
    with rig:
        rig.until(lambda: rig.agent.is_ready)
        while rig.network.struck < wanted or waiting:
            if rig.network.struck < wanted and len(waiting) < FLIGHT:
                identity = rig.place(int(dice.choice((1, -1))), int(dice.integers(1, 5)), wait=False)
                placed[identity] = asked[identity] = rig.desk.now_ns
                waiting.add(identity)
            rig.turn()
            for identity in list(waiting):
                if is_told(rig, identity) or identity in rig.unknown:
                    waiting.discard(identity)
                    took.append((rig.desk.now_ns - placed[identity]) / SECOND)
                elif rig.desk.now_ns - asked[identity] > ASK_NS:
                    asked[identity] = rig.desk.now_ns
                    rig.send(e.ACTION_QUERY_ORDER, identity)
        rig.until(lambda: not rig.network._due)  # what was on its way has come
        rig.until(lambda: not rig.agent.differs and rig.agent.is_ready)
    judge(rig, placed)
    return rig.network.struck, took


def judge(rig, placed):
    """By the ledger: nothing was sent twice, nothing landed that was given up, every fill was told once."""
    rig.desk.conserved()
    held = float(rig.desk.position(0)["size"] or 0) * (-1 if rig.desk.position(0)["side"] == "Sell" else 1)
    rig.desk.venue.ledger.close()
    sent, taken, lots = Counter(), Counter(), Counter()
    with rig.desk.ledger.open() as lines:
        for line in map(json.loads, lines):
            if line.get("account") != "a":
                continue
            if line["kind"] == "request" and line["target"].startswith("/v5/order/create"):
                sent[json.loads(base64.b64decode(line["body"]))["orderLinkId"]] += 1
            elif line["kind"] == "order" and line["status"] == "accepted":
                taken[line["client_order_id"]] += 1
            elif line["kind"] == "fill":
                lots[line["client_order_id"]] += line["qty_lots"]
    assert max(sent.values()) == max(taken.values()) == 1
    assert {rig.link(identity) for identity in placed} >= set(sent)
    ours = 0
    for identity in placed:
        link, said = rig.link(identity), rig.told.get(identity, [])
        fills = [report for report in said if report["kind"] == e.REPORT_FILL]
        assert sum(int(report["qty_lots"]) for report in fills) == lots[link], link
        if identity in rig.unknown or any(report["kind"] == e.REPORT_REJECT for report in said):
            assert not taken[link], "given up, and it landed"
        ours += sum(int(report["side"]) * int(report["qty_lots"]) for report in fills)
    assert ours == round(held * 1_000)
    assert rig.numbers == list(range(1, len(rig.numbers) + 1))


def run(folder, wanted):
    """Half of it in front of a venue that answers everything else, half where questions get no answer either."""
    struck, seed = 0, 1
    for unheard in (0.0, 0.03):
        took, end = [], struck + wanted // 2
        while struck < end:
            place = folder / str(seed)
            place.mkdir()
            some, seconds = live(place, seed, min(A_LIFE, end - struck), unheard)
            struck, took, seed = struck + some, took + seconds, seed + 1
            for file in place.iterdir():
                file.unlink()
        at = np.quantile(took, [0.5, 0.99, 1.0])
        print(f"{struck:,} without a clear answer, {len(took):,} {BTC} orders here; known after {at.round(1)} s")
        assert unheard or at[1] <= RESOLVED_S
    return struck


def test_what_nobody_can_say_is_found_out(tmp_path):
    assert run(tmp_path, 500) >= 500


@pytest.mark.stress
def test_a_hundred_thousand_times(tmp_path):
    assert run(tmp_path, 100_000) >= 100_000

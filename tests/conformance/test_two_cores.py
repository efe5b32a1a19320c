"""The two matching cores, held to each other: the same recorded market, the same orders, the same fills.

A session's venue holds one account against displayed quantity, the exchange the recording's own orders among ours. What
they must say alike is said alike under each queue model; where they differ, a test here says how and why.
"""

import itertools
import random

import pytest
from rig.two_cores import TwoCores

BEGIN = {1: {6_000_000 - n: 1_000 * (n + 2) for n in range(8)}, -1: {6_000_003 + n: 1_000 * (n + 2) for n in range(8)}}
STEPS = 500


class Walk:
    """A seeded market around orders of ours, at most one at a price and none where we have taken."""

    def __init__(self, cores: TwoCores, seed: int) -> None:
        self.cores, self.random = cores, random.Random(seed)
        self.waiting: dict[int, tuple[int, int]] = {}  # number: side, price
        self.taken: set[tuple[int, int]] = set()  # levels that we took from, until they are gone
        self.places: list[int] = []  # in the queues, order by order after each step

    def best(self, side: int) -> int:
        return max(self.cores.book[1]) if side > 0 else min(self.cores.book[-1])

    def step(self) -> None:
        chance = self.random.random()
        if chance < 0.55:
            self.levels()
        elif chance < 0.7:
            self.trades()
        elif chance < 0.97:
            self.place()
        elif self.waiting:
            number = self.random.choice(list(self.waiting))
            self.cores.cancel(number)
        waiting = self.cores.ahead()
        self.places += waiting.values()
        self.waiting = {number: what for number, what in self.waiting.items() if number in waiting}
        self.taken = {(side, price) for side, price in self.taken if price in self.cores.book[side]}

    def levels(self) -> None:
        """One to three levels are others now; the book is never crossed and never empty."""
        for _ in range(self.random.randint(1, 3)):
            side = self.random.choice((1, -1))
            price = self.best(side) - side * self.random.randint(-2, 6)
            for at, own in self.waiting.values():
                if at == side and own in self.cores.book[side] and self.random.random() < 0.7:
                    price = own
            if side * (self.best(-side) - price) <= 0:
                continue
            lots = self.random.choice((0, 500, 900, 2_000, 7_000))
            if lots == 0 and len(self.cores.book[side]) < 4:
                continue
            comes = any(at == -side and side * (price - own) >= 0 for at, own in self.waiting.values())
            if lots == 0 or not comes:
                self.cores.change([(side, price, lots)])
            elif price not in self.cores.book[side]:
                self.cores.change([(side, price, lots)])
                self.cores.change([(side, price, 0)])  # what we took of it is gone before it is told again

    def trades(self) -> None:
        """Somebody takes one level or two; now and then some of it comes back, or more goes."""
        aggressor = self.random.choice((1, -1))
        side = -aggressor
        prices = sorted(self.cores.book[side], reverse=side > 0)
        if len(prices) < 5:
            return
        count = self.random.choice((1, 1, 1, 2))
        changes = []
        for price in prices[:count]:
            there = self.cores.book[side][price]
            lots = there if count > 1 and price == prices[0] else self.random.randint(1, there)
            for part in (lots // 2, lots - lots // 2):
                if part:
                    self.cores.trade(price, part, aggressor)
            left = max(there - lots + self.random.choice((0, 0, 0, 300, -300)), 0)
            changes.append((side, price, left))
        self.cores.change(changes)

    def place(self) -> None:
        """An order that rests where nobody of ours does, or one that takes what was never taken from."""
        side = self.random.choice((1, -1))
        lots = self.random.randint(120, 900)
        if self.random.random() < 0.25:
            best = self.best(-side)
            offered = self.cores.book[-side][best]
            if offered < 200 or (-side, best) in self.taken or any(at == -side for at, _ in self.waiting.values()):
                return
            self.taken.add((-side, best))
            self.cores.place(side, self.random.choice((0, best)), min(lots, offered - 1))
            return
        price = self.best(side) - side * self.random.randint(-1, 3)
        free = all(side != at for at, _ in self.waiting.values()) and (side, price) not in self.taken
        if free and side * (self.best(-side) - price) > 0:
            if all(at == side or side * (own - price) > 0 for at, own in self.waiting.values()):
                self.waiting[self.cores.place(side, price, lots)] = (side, price)


def merged(fills):
    """Who takes a level is told of it once by a session's venue, of each order there by the exchange."""
    return [
        (*key, sum(lots for _, _, lots in part)) for key, part in itertools.groupby(fills, key=lambda fill: fill[:2])
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_market_and_the_same_orders_have_the_same_fills(tmp_path, seed):
    """And the same place in the queue after each step, which is another one by each model."""
    places = []
    for queue in ("risk-averse", "power:2", "log"):
        folder = tmp_path / queue.replace(":", "")
        folder.mkdir()
        cores = TwoCores(folder, BEGIN, queue)
        walk = Walk(cores, seed)
        for number in range(STEPS):
            walk.step()
            assert merged(cores.fills[0]) == merged(cores.fills[1]), number
        cores.desk.conserved()
        assert len(cores.fills[0]) > 10 and len(walk.places) > 100
        places.append(walk.places)
        print(f"{queue}, seed {seed}: {cores.orders} orders, {len(cores.fills[0])} fills, {len(walk.places)} places")
    assert places[0] != places[1] != places[2]


# Where they differ. A session's venue hears streams that overtake each other, and keeps no orders of others.


def test_a_taker_is_told_once_a_level_or_once_an_order(tmp_path):
    cores = TwoCores(tmp_path, BEGIN)
    cores.change([(-1, 6_000_003, 5_000)])
    cores.place(-1, 6_000_004, 300)
    cores.change([(-1, 6_000_004, 5_000)])  # behind ours, as another order
    cores.cancel(1)
    cores.place(1, 6_000_004, 5_000 + 4_000)
    assert cores.fills[0] == [(2, 6_000_003, 5_000), (2, 6_000_004, 4_000)]
    assert len(cores.fills[1]) > 2 and merged(cores.fills[1]) == cores.fills[0]


def test_a_level_that_changes_is_offered_anew_or_what_is_beyond_our_part(tmp_path):
    """A session's venue forgets what it took of a level with its next change: the change may have been our doing."""
    cores = TwoCores(tmp_path, BEGIN)
    cores.place(1, 6_000_003, 2_000)
    assert cores.fills[0] == cores.fills[1] == [(1, 6_000_003, 2_000)]
    cores.change([(-1, 6_000_003, 2_300)])
    cores.place(1, 6_000_003, 2_300)
    assert [fill[1:] for fill in cores.fills[0][1:]] == [(6_000_003, 2_300)]
    assert [fill[1:] for fill in cores.fills[1][1:]] == [(6_000_003, 300)]


def test_a_trade_through_our_better_order_moves_the_queue_by_the_rest_or_as_it_is_recorded(tmp_path):
    """What hit ours did not hit the queue behind it; the exchange's book without ours is the recorded one."""
    cores = TwoCores(tmp_path, BEGIN)
    cores.place(1, 6_000_001, 200)
    cores.place(1, 6_000_000, 200)
    cores.trade(6_000_000, 500, -1)
    assert cores.fills[0] == cores.fills[1] == [(1, 6_000_001, 200)]
    cores.change([(1, 6_000_000, 1_500)])
    assert cores.places() == ({2: 1_700}, {2: 1_500})


def test_a_decrease_counts_after_a_tenth_of_a_second_or_at_once(tmp_path):
    """A session's venue waits for the trade that may explain it; the exchange has put the streams in order."""
    cores = TwoCores(tmp_path, BEGIN)
    cores.place(1, 6_000_000, 200)
    cores.change([(1, 6_000_000, 1_500)], pause=False)
    assert cores.places() == ({1: 2_000}, {1: 1_500})
    cores.trade(6_000_000, 500, -1)
    cores.change([(1, 6_000_000, 1_500)])
    assert cores.places() == ({1: 1_500}, {1: 1_000}), "the trade came after it: it was it, or it was another"
    cores.change([(1, 6_000_000, 900)])
    assert cores.ahead() == {1: 900}, "and later both are where the level leaves them"

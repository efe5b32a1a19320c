"""What the exchange is built of: its tree of prices, its table of client ids, its bounds, and the audit."""

import random

import numpy as np
import pytest
from reference.kernels.exchange import in_token
from rig.exchange import Pair, RandomScript

from bot4.kernels.exchange import audit as a
from bot4.kernels.exchange.account import token_fee_e8
from bot4.kernels.exchange.identity import find_client, forget, id_slot, remember
from bot4.kernels.exchange.state import (
    COMMAND,
    EVENTS_MORE,
    EVENTS_PER_ORDER,
    ID_SLOTS,
    MAX_INSTRUMENTS,
    N_TREES,
    MarketRules,
    exchange_memory,
    set_account,
    set_token,
)
from bot4.kernels.exchange.step import depth, exchange_step
from bot4.kernels.exchange.tree import root_of, tree_add, tree_after, tree_find, tree_first, tree_remove
from bot4.model import enums as e
from bot4.model.errors import InputError

RULES = MarketRules(1, 0, 1_000, 10, 2**27, 10**6)


@pytest.fixture(scope="module")
def memory():
    return exchange_memory([RULES], 4, 2, 1_000)


@pytest.mark.parametrize("digits", range(1, 6))
def test_the_tree_is_a_sorted_set(memory, digits):
    """Random keys, crowded at the edges of nodes; afterwards every node has been given back."""
    rng = random.Random(digits)
    root = np.int64(root_of(np.int64(1 + digits), np.int64(2)))
    top = 64**digits - 1
    near = [0, top, *(max(0, min(top, 64**k + d)) for k in range(digits) for d in (-1, 0, 1))]
    keys = {}
    for number in range(600):
        key = rng.choice((rng.randrange(top + 1), rng.choice(near), min(top, rng.randrange(200))))
        if key in keys:
            tree_remove(memory, root, np.int64(digits), np.int64(key))
            del keys[key]
        elif len(keys) < 100:
            tree_add(memory, root, np.int64(digits), np.int64(key), np.int64(number))
            keys[key] = number
        asked = rng.randrange(top + 1)
        assert tree_find(memory, root, np.int64(digits), np.int64(asked)) == keys.get(asked, -1)
        for one in (asked, key):
            above = min((k for k in keys if k > one), default=None)
            expected = -1 if above is None else keys[above]
            assert tree_after(memory, root, np.int64(digits), np.int64(one)) == expected
        assert tree_first(memory, root, np.int64(digits)) == (keys[min(keys)] if keys else -1)
    for key in keys:
        tree_remove(memory, root, np.int64(digits), np.int64(key))
    desk, free, node = memory["desk"], 0, int(memory["desk"]["free_node"])
    while node >= 0:
        assert memory["node_bits"][node] == 0
        free += 1
        node = int(memory["node_child"][node, 0])
    assert free == desk["fresh_node"] - N_TREES * MAX_INSTRUMENTS


def test_client_ids_that_crowd_in_a_few_slots_are_found_and_forgotten():
    """Two dozen ids whose first slots are the last and first few of the table: gaps close over its end."""
    memory = exchange_memory([RULES], 4, 2, 1_000)
    window = {(ID_SLOTS - 3 + k) % ID_SLOTS for k in range(6)}
    crowd, number = [], 1
    while len(crowd) < 24:
        if int(id_slot(np.int64(1), np.int64(number))) in window:
            crowd.append(number)
        number += 1
    rng, rows = random.Random(1), {}
    for row, client in enumerate(crowd):
        memory["orders"][row]["account"], memory["orders"][row]["client_id"] = 1, client
    for _ in range(400):
        row = rng.randrange(len(crowd))
        if row in rows:
            forget(memory, np.int64(row))
            del rows[row]
        else:
            remember(memory, np.int64(row))
            rows[row] = crowd[row]
        for other, client in enumerate(crowd):
            found = find_client(memory, np.int64(1), np.int64(client))
            assert found == (other if other in rows else -1)
        assert find_client(memory, np.int64(2), np.int64(crowd[0])) == -1
    assert np.count_nonzero(memory["ids"]) == len(rows)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"base": 2}, "base"), ({"quote": -1}, "quote"), ({"base": 0}, "two assets"),
        ({"max_price_ticks": 2**28 + 1}, "max_price_ticks"), ({"lot_e8": 0}, "lot_e8"),
        ({"max_position_lots": 10}, "max_position_lots"), ({"value_e8": 10**6}, "value_e8"),
        ({"max_price_ticks": 9, "lot_e8": 2**40}, "lot_e8"), ({"max_price_ticks": 1, "max_lots": 2**31}, "max_lots"),
    ],
)  # fmt: skip
def test_an_instrument_beyond_its_bounds_is_refused(change, word):
    with pytest.raises(InputError, match=word) as caught:
        exchange_memory([RULES, RULES._replace(**change)], 4, 2)
    assert str(caught.value).startswith("instrument 1: ")


@pytest.mark.parametrize("numbers", [([], 4, 2, 10), ([RULES], 0, 2, 10), ([RULES], 4, 65, 10), ([RULES], 4, 2, 0)])
def test_an_exchange_beyond_its_bounds_is_refused(numbers):
    with pytest.raises(InputError, match="must be from 1 to"):
        exchange_memory(*numbers)


def test_an_account_beyond_its_bounds_is_refused(memory):
    for account, maker, taker in ((4, 0, 0), (-1, 0, 0), (0, 100_001, 0), (0, 0, -100_001)):
        with pytest.raises(InputError, match="must be from"):
            set_account(memory, account, maker, taker)


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ((2, 0, {0: 1}), "asset"), ((1, 0, {2: 1}), "asset"), ((1, 0, {1: 1}), "token itself"),
        ((1, -1, {0: 1}), "discount_ppm"), ((1, 1_000_001, {0: 1}), "discount_ppm"), ((1, 0, {0: 0}), "prices_e8"),
        ((1, 0, {0: 2**46}), "prices_e8"),
    ],
)  # fmt: skip
def test_a_token_beyond_its_bounds_is_refused(memory, numbers, word):
    with pytest.raises(InputError, match=word):
        set_token(memory, *numbers)


def test_a_fee_in_the_token_is_exact_at_every_size():
    draw = random.Random(5)
    for _ in range(2_000):
        due, discount = draw.choice((0, 1, draw.getrandbits(20), draw.getrandbits(54))), draw.randrange(1_000_001)
        price = draw.choice((1, 2, draw.getrandbits(30) + 1, 2**46 - 1))
        free = draw.choice((0, 2**60, draw.getrandbits(50)))
        expected = in_token(due, discount, price)
        made = token_fee_e8(np.int64(due), np.int64(discount), np.int64(price), np.int64(free))
        assert made == (expected if expected <= free else -1)


def test_depth_shows_what_everybody_sees():
    pair = Pair()
    pair.fund(0, 10**9, 10**9)
    for price, qty, display in ((90, 5, 0), (92, 7, 2), (92, 1, 0), (50, 3, 0)):
        pair.place(account=0, side=1, price=price, qty=qty, display=display)
    out = np.zeros((4, 2), np.int64)
    assert depth(pair.memory, np.int64(0), np.int64(1), out) == 3
    assert out[:3].tolist() == [[92, 3], [90, 5], [50, 3]]
    assert depth(pair.memory, np.int64(0), np.int64(1), out[:2]) == 2
    assert depth(pair.memory, np.int64(0), np.int64(-1), out) == 0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("place", ["balance", "fees", "realised"])
def test_whoever_is_too_rich_or_owes_too_much_trades_no_more(place, sign):
    """The bounds of every sum: an account, what the exchange has collected, a contract's profit so far."""
    pair = Pair()
    memory, twin = pair.memory, pair.twin
    for beyond, code in ((0, 0), (1, e.VENUE_BALANCE)):
        amount = sign * (2**60 + beyond)
        if place == "balance":
            memory["balances"][0, 0]["free_e8"] = memory["supply"][0] = twin.total[0, 0] = twin.supply[0] = amount
        elif place == "fees":
            memory["fees"][0] = memory["supply"][0] = twin.fees[0] = twin.supply[0] = amount
        else:
            memory["seats"][2]["realised_tl"] = twin.seats[0, 2].realised = amount
        assert pair.place(account=0, instrument=2, side=1, price=5, qty=1)[0][12] == code


def test_the_largest_command_stays_within_the_bound_of_its_events():
    """A full book of icebergs in ten parts each, all taken by one order."""
    memory = exchange_memory([RULES], 2, 2, 501)
    memory["balances"]["free_e8"][:2, :2] = 10**15
    memory["supply"][:2] = 2 * 10**15
    command = np.zeros(1, COMMAND)
    for _ in range(50):
        command[0] = (0, 0, 0, e.ACTION_PLACE, e.TYPE_LIMIT, 1, -1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 10, 1, 0, 0, 0, (0,) * 3)
        assert exchange_step(memory, command[0]) == 1
    assert memory["desk"]["n_parts"] == 500
    command[0] = (0, 1, 0, e.ACTION_PLACE, e.TYPE_LIMIT, 1, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 999, 0, 0, 0, 0, (0,) * 3)
    n = exchange_step(memory, command[0])
    assert n == 1 + 2 * 500 <= EVENTS_PER_ORDER * 501 + EVENTS_MORE
    assert a.audit(memory) == a.AUDIT_OK


@pytest.fixture(scope="module")
def crowded():
    """An exchange in the midst of its work; who damages it mends it."""
    pair = Pair()
    script = RandomScript(pair, 11)
    while sum(o.place == 1 for o in pair.twin.orders) < 20 or not pair.twin.seats[1, 2].lots:
        script.step()
    return pair.memory


def first(memory, **wanted):
    """An open order with these numbers."""
    for order in memory["orders"]:
        if order["order_id"] and all(order[name] == value for name, value in wanted.items()):
            return order
    raise AssertionError(wanted)


def _level(memory):
    return memory["levels"][first(memory, place=1)["level"]]


DAMAGES = (
    (a.AUDIT_MONEY, lambda m: m["balances"][0, 0], "free_e8"),
    (a.AUDIT_POSITION, lambda m: m["seats"][1 * MAX_INSTRUMENTS + 2], "lots"),
    (a.AUDIT_OPEN_LOTS, lambda m: m["seats"][first(m, instrument=2, flags=0)["seat"]]["open_lots"], 0),
    (a.AUDIT_LEVEL, _level, "shown_lots"),
    (a.AUDIT_LEVEL, _level, "total_lots"),
    (a.AUDIT_LEVEL, _level, "tail"),
    (a.AUDIT_LEVEL, lambda m: m["markets"][first(m, place=1)["instrument"]]["best"], 0),
    (a.AUDIT_ORDER, lambda m: first(m, place=1), "qty_lots"),
    (a.AUDIT_ORDER, lambda m: first(m, place=1), "prev"),
    (a.AUDIT_ORDER, lambda m: first(m, place=2), "stop_ticks"),
    (a.AUDIT_LOST, lambda m: m["desk"], "n_open"),
    (a.AUDIT_LOST, lambda m: m["desk"], "n_parts"),
    (a.AUDIT_QUEUE, lambda m: m["desk"], "queue_head"),
)


@pytest.mark.parametrize("at", range(len(DAMAGES)))
def test_the_audit_sees_damage(crowded, at):
    code, place, name = DAMAGES[at]
    assert a.audit(crowded) == a.AUDIT_OK
    place(crowded)[name] += 1
    seen = a.audit(crowded)
    place(crowded)[name] -= 1
    assert a.AUDIT_NAMES[seen] == a.AUDIT_NAMES[code]


def test_the_audit_sees_what_is_locked_for_nobody(crowded):
    for amount, code in ((1, a.AUDIT_LOCKED), (-1, a.AUDIT_OK)):
        crowded["balances"][0, 0]["free_e8"] -= amount
        crowded["balances"][0, 0]["locked_e8"] += amount
        assert a.audit(crowded) == code


def test_the_audit_sees_reduce_only_orders_without_their_position():
    pair = Pair()
    for account, side, flags in ((0, 1, 0), (1, -1, 0), (0, -1, e.ORDER_REDUCE_ONLY)):
        pair.place(account=account, instrument=2, side=side, price=50 + 2 * flags, qty=3, flags=flags)
    seats = pair.memory["seats"]
    seats[2]["lots"] -= 1
    seats[MAX_INSTRUMENTS + 2]["lots"] += 1
    assert a.audit(pair.memory) == a.AUDIT_REDUCE


def test_the_audit_sees_a_level_that_is_not_at_its_price_and_one_that_crosses():
    pair = Pair()
    pair.fund(0, 10**9, 10**9)
    pair.place(account=0, side=1, price=50, qty=1)
    pair.place(account=0, side=-1, price=60, qty=1)
    memory, order = pair.memory, first(pair.memory, side=-1)
    order["price_ticks"] = memory["levels"][order["level"]]["price_ticks"] = 49
    assert a.audit(memory) == a.AUDIT_LEVEL
    root, digits = np.int64(root_of(np.int64(0), np.int64(1))), np.int64(memory["markets"][0]["digits"])
    tree_remove(memory, root, digits, np.int64(60))
    tree_add(memory, root, digits, np.int64(49), np.int64(order["level"]))
    assert a.audit(memory) == a.AUDIT_CROSSED


def test_the_audit_sees_an_overflow_of_events(crowded):
    crowded["desk"]["n_events"] = EVENTS_PER_ORDER * crowded["desk"]["max_orders"] + EVENTS_MORE + 1
    assert a.audit(crowded) == a.AUDIT_EVENTS
    crowded["desk"]["n_events"] = 0

"""The exchange against its twin over long seeded scripts: events at every command, money and quantity after each."""

import random

import numpy as np
import pytest
from rig.exchange import Pair, RandomScript

from bot4.jit import JIT
from bot4.kernels.exchange.door import door_queue
from bot4.kernels.exchange.state import EVENTS_MORE, EVENTS_PER_ORDER
from bot4.model import enums as e

STEPS = 20_000 if JIT else 1_000
SEED = 20_260_302
EVERY = 250  # steps between two looks at the whole state
KINDS = {
    e.REPORT_ACK, e.REPORT_REJECT, e.REPORT_FILL, e.REPORT_CANCELED, e.REPORT_EXPIRED, e.REPORT_TRIGGERED,
    e.REPORT_REPLACED, e.REPORT_CANCEL_REJECT, e.REPORT_BALANCE, e.REPORT_PREVENTED, e.REPORT_LIST_STARTED,
    e.REPORT_LIST_DONE, e.REPORT_FUNDING,
}  # fmt: skip
CODES = {
    e.VENUE_POST_ONLY, e.VENUE_REDUCE_ONLY, e.VENUE_UNKNOWN_ORDER, e.VENUE_DUPLICATE_ID, e.VENUE_BALANCE,
    e.VENUE_STOP_WOULD_TRIGGER, e.VENUE_BAD_REQUEST, e.VENUE_POSITION, e.VENUE_SELF_TRADE, e.VENUE_NOT_WHOLE,
    e.VENUE_LIST, e.VENUE_SPENT, e.VENUE_NO_MARKET,
}  # fmt: skip


def run(seed, steps, max_orders=256):
    pair = Pair(max_orders)
    script = RandomScript(pair, seed)
    states = b""
    for number in range(steps):
        script.step()
        if number % EVERY == 0:
            states += pair.check_state()
    pair.hash.update(states + pair.check_state())
    assert pair.most_events <= EVENTS_PER_ORDER * max_orders + EVENTS_MORE
    return pair


def test_same_commands_same_events_same_state():
    """Everything both say and hold is equal, and every rule came to pass."""
    pair = run(SEED, STEPS)
    assert {kind for kind, _ in pair.counts} == KINDS
    if JIT:
        assert {code for _, code in pair.counts} >= CODES
        assert pair.in_token > 100, "and fees were paid in the token"
    print(f"{STEPS} steps, {pair.n_events} events, {pair.twin.n_trades} trades, sha256 {pair.hash.hexdigest()}")


@pytest.mark.stress
@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(10))
def test_a_million_commands(seed):
    """Ten times 100,000, every other one in an exchange that is nearly full."""
    pair = run(seed, 100_000, max_orders=40 if seed % 2 else 256)
    print(f"seed {seed}: {pair.n_events} events, {pair.twin.n_trades} trades, sha256 {pair.hash.hexdigest()}")


def test_the_same_seed_gives_the_same_hash():
    assert run(3, 300).hash.digest() == run(3, 300).hash.digest()


def test_a_full_exchange_refuses_more_orders():
    """An iceberg counts as its parts; what ends makes room."""
    pair = run(4, 600, max_orders=20)
    assert pair.counts[e.REPORT_REJECT, e.VENUE_TOO_MANY_ORDERS] > 5
    assert pair.counts[e.REPORT_FILL, 0] > 20


EDGES = (0, 1, 2, 3, -1, -2, 100, 4_096, 2**28, 2**31 - 1, 2**40, 2**58, 2**60, 2**62, 2**63 - 1, -(2**63))
SMALL = {"account": (-1, 0, 1, 4, 5, 2**31 - 1, -(2**31)), "instrument": (-2, -1, 0, 1, 2, 3, 2**31 - 1, -(2**31))}
BYTES = ("action", "type", "tif", "flags", "stp", "list_kind", "leg")
WORDS = ("client", "list_client", "price", "stop", "qty", "display", "trail", "expire", "amount")


def test_any_numbers_in_any_field_change_nothing_that_must_hold():
    """Nothing wraps, hangs or is believed: whatever stands in a command, both say the same and the audit is content."""
    pair = Pair(64)
    script = RandomScript(pair, 9, most_open=30)
    draw = random.Random(9)
    for _ in range(STEPS // 4):
        if draw.random() < 0.5:
            script.step()
            continue
        fields = script.order(draw.randrange(5), draw.randrange(3)) if draw.random() < 0.7 else {}
        action = draw.choice((1, 1, 1, 2, 3, 3, 4, 10, 11, draw.randrange(256)))
        for name in draw.sample(WORDS, draw.randrange(4)):
            fields[name] = draw.choice(EDGES)
        for name in draw.sample(BYTES[1:], draw.randrange(3)):
            fields[name] = draw.choice((0, 1, 2, 3, 4, 7, 255))
        for name, values in SMALL.items():
            if draw.random() < 0.1:
                fields[name] = draw.choice(values)
        fields["side"] = draw.choice((1, -1, 1, -1, 0, 127, -128))
        fields["order"] = draw.choice((0, 0, draw.randrange(pair.twin.n_orders + 2), 2**40))
        pair.do(action, **fields)
    pair.check_state()
    assert pair.twin.n_trades > STEPS // 200


def test_the_door_tells_every_queue():
    """The orders at each price with their accounts, shown lots and all of them, as the twin has them."""
    pair = Pair(60)
    script = RandomScript(pair, 9)
    memories, seen = pair.memory.base, 0
    for _ in range(600):
        script.step()
        i, side = script.random.randrange(3), script.random.choice((1, -1))
        book = pair.twin.book(i, side)
        price = script.random.choice(book).price if book else script.middles[i]
        waiting = [o for o in book if o.price == price]
        out = np.zeros((len(waiting), 5), np.int64)
        assert door_queue(memories, i, side, price, out) == len(waiting)
        assert out.tolist() == [[o.c.client, o.c.account, o.shown, o.leaves, o.qty] for o in waiting]
        seen += len(waiting)
        assert door_queue(memories, i, side, price, out[:0]) == len(waiting), "what has no room is counted"
    assert seen > 300

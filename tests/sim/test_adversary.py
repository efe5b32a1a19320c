"""Shards replaced by an adversary: no order over a limit is at the venue, and every legal one is.

`make adversary` is the same with a million intents.
"""

import pytest
from rig.adversary import CODES, DAY, KINDS, Session, total

pytestmark = pytest.mark.compiled
INTENTS = 1_600
WIDE = {
    "stop_loss_bps": 1_000,
    "position_bps": 9_000,
    "order_notional_e8": 10**14,
    "gross_bps": 9_000,
    "net_bps": 9_000,
    "venue_bps": 9_000,
    "strategy_bps": 9_000,
}
LOOSE = {  # the breach that the audit has to find: what execution is told instead of the audit's own limit
    "position": {"position_bps": 600},
    "order_notional": {"order_notional_e8": 10**14},
    "gross": {**WIDE, "net_bps": 800},
    "strategy": {**WIDE, "gross_bps": 900, "net_bps": 800},
    "net": WIDE,
    "venue": {"venue_bps": 9_000},
    "streak": {"streak_losses": 1_000},
    "order_lots": {**WIDE, "order_lots": 10**9},
    "collar": {"collar_bps": 20_000},
    "open_orders": {"open_orders": 200, **WIDE},
    "cool_down": {"cool_down_ns": 0},
    "rate": {"bucket_tokens": 1_000},
    "shard_rate": {"shard_tokens": 1_000},
    "order_rate": {"order_tokens": 1_000},
    "message_rate": {"message_tokens": 1_000},
    "repeat": {"repeat_orders": 1_000},
    "stop_far": {"stop_bps": 10_000, "stop_loss_bps": 1_000},
    "stop_loss": {"stop_loss_bps": 1_000},
    "drawdown": {"drawdown_bps": 9_999, "daily_loss_bps": 9_999},
    "daily_loss": {"daily_loss_bps": 9_999},
    "quote_age": {"quote_age_ns": 400 * DAY},
}  # fmt: skip


KIND_OF = {
    **dict.fromkeys(("drawdown", "daily_loss", "quote_age"), "losses"),
    **dict.fromkeys(("shard_rate", "order_rate", "message_rate"), "rates"),
    "repeat": "repeats",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A session of each kind."""
    return total([Session(tmp_path_factory.mktemp(kind), seed, kind).run(INTENTS) for seed, kind in enumerate(KINDS)])


def test_nothing_over_a_limit_reaches_the_venue(found):
    assert not any(found["breaches"].values()), found["breaches"]
    assert found["sent"] == found["legal"]


def test_every_legal_order_reaches_the_venue(found):
    assert found["legal_sent"] == found["legal"] > found["intents"] // 10


def test_every_code_of_execution_is_met(found):
    assert [code for code in CODES if not found["refused"].get(code)] == []


@pytest.mark.parametrize("limit", LOOSE)
def test_the_audit_finds_what_a_loose_limit_lets_through(tmp_path, limit):
    kind = KIND_OF.get(limit, "killed")
    for seed in range(1, 6):  # a session may end before anybody gets so far
        folder = tmp_path / str(seed)
        folder.mkdir()
        breaches = Session(folder, seed, kind, LOOSE[limit]).run(2_400)["breaches"]
        if breaches[limit]:
            return
    raise AssertionError(breaches)


def test_the_audit_finds_orders_that_were_sent_after_the_kill(tmp_path):
    session = Session(tmp_path, 1, "killed", {"order_lots": 20_000})
    session.kill = lambda: setattr(session, "killed", True)  # nobody tells execution
    assert session.run(INTENTS)["breaches"]["killed"]

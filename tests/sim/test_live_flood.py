"""One connection floods, another one goes on: what a turn spends on one is bounded. Real sockets, two venues."""

import itertools
from unittest.mock import patch

import pytest
from rig.replayer import certificates
from rig.two_venues import KRAKEN, frame, trade, two_venues
from websockets.frames import Opcode

from bot4.engine import live
from bot4.engine.live import BATCH, MOST_SLOW, READ_BYTES

pytestmark = pytest.mark.compiled
UNKNOWN = b'{"channel":"heartbeat","error":"a new kind of message"}'


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


def quiet(peer, over):
    """Says nothing."""


def trading(peer, over):
    """A trade every millisecond or so, each in a piece of its own."""
    for number in itertools.count(1):
        if over.wait(0.001):
            return
        peer.sock.sendall(trade(number))


def flooding(piece):
    """As many bytes as the other end takes."""

    def script(peer, over):
        while not over.is_set():
            peer.sock.sendall(piece)

    return script


@pytest.mark.parametrize("body", [UNKNOWN, b"no message", b"{"])
def test_messages_that_must_be_read_slowly_are_taken_by_the_turn_and_keep_nobody_waiting(tls, body):
    with (
        patch.object(live, "BEHIND_NS", 10**12),
        two_venues(tls, flooding(frame(body) * 1_000), trading) as venues,
    ):
        turns = venues.until(lambda: venues.trades() >= 100 and len(venues.feed._behind) == 1)
        assert max(flood for flood, _ in turns) <= MOST_SLOW < 1_000
        begun, flooded = venues.trades(), venues.taken()[KRAKEN]
        turns = venues.until(lambda: venues.taken()[KRAKEN] >= flooded + 20 * MOST_SLOW)  # it is read all the while
        assert len(turns) >= 20 and venues.trades() > begun


def test_who_floods_for_too_long_is_dropped_and_the_other_is_not(tls):
    with (
        patch.object(live, "BEHIND_NS", 300_000_000),
        two_venues(tls, flooding(frame(UNKNOWN) * 1_000), trading) as venues,
    ):
        reason = "kraken: more messages that have to be read slowly than can be"
        venues.until(lambda: venues.feed.counts[reason] == 1)
        begun = venues.trades()
        venues.until(lambda: venues.trades() >= begun + 50)
        assert [slot.closed for slot in venues.pool.slots] == [1, 0]


def test_who_floods_now_and_then_is_not_dropped(tls):
    bursts = 5

    def script(peer, over):
        for _ in range(bursts):
            peer.sock.sendall(frame(UNKNOWN) * 1_000)
            over.wait(0.4)

    with patch.object(live, "BEHIND_NS", 1_000_000_000), two_venues(tls, script, trading) as venues:
        venues.until(lambda: venues.taken()[KRAKEN] == bursts * 1_000)
        assert [slot.closed for slot in venues.pool.slots] == [0, 0]


def test_of_many_pings_the_last_one_is_answered(tls):
    count, heard = 100_000, []

    def pings(peer, over):
        heard.extend(peer.frames(1))  # the subscriptions, as far as they have come
        peer.sock.sendall(b"".join(frame(b"%06d" % number, Opcode.PING) for number in range(count)))
        while not heard or heard[-1].data != b"%06d" % (count - 1):
            heard.extend(peer.frames(1))
        peer.sock.sendall(frame(b'{"channel":"heartbeat"}'))

    with two_venues(tls, pings, trading) as venues:
        turns = venues.until(lambda: venues.taken()[KRAKEN] >= 1 and venues.trades() >= 1)
        pongs = [int(one.data) for one in heard if one.opcode == Opcode.PONG]
        assert pongs == sorted(set(pongs)) and pongs[-1] == count - 1
        assert len(pongs) <= len(turns) and len(pongs) < count // 100
        assert READ_BYTES // 8 > BATCH  # a turn of pings is more than one call of the step


def test_parts_of_a_message_are_put_together_around_pings(tls):
    def script(peer, over):
        text = b'{"channel":"heartbeat"}'
        peer.sock.sendall(
            frame(text[:5], fin=False) + frame(b"", Opcode.PING) + frame(text[5:9], Opcode.CONT, False)
            + frame(b"x", Opcode.PONG) + frame(text[9:], Opcode.CONT) + frame(text)
        )  # fmt: skip

    with two_venues(tls, script, quiet) as venues:
        venues.until(lambda: venues.taken()[KRAKEN] == 2)
        assert not venues.feed.counts and not venues.feed._parts


@pytest.mark.parametrize(
    "inside",
    [
        frame(b'{"channel":"heartbeat"}'),
        frame(b'{"channel":"heartbeat"}', fin=False),
        frame(b"x", Opcode.BINARY),
    ],
    ids=["a whole one", "the beginning of another", "one of bytes"],
)
def test_another_message_inside_the_parts_of_one_ends_the_connection(tls, inside):
    def script(peer, over):
        peer.sock.sendall(frame(b'{"channel":', fin=False) + inside + frame(b'"heartbeat"}', Opcode.CONT))

    with two_venues(tls, script, quiet) as venues:
        venues.until(lambda: venues.feed.counts)
        assert venues.feed.counts == {"kraken: parts of a message out of order": 1}
        assert venues.pool.slots[0].closed == 1


def test_a_part_without_a_beginning_ends_the_connection(tls):
    def script(peer, over):
        peer.sock.sendall(frame(b'{"channel":"heartbeat"}', Opcode.CONT))

    with two_venues(tls, script, quiet) as venues:
        venues.until(lambda: venues.feed.counts)
        assert venues.feed.counts == {"kraken: parts of a message out of order": 1}

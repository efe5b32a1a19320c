"""The raw messages of a live feed are the whole conversation, and the check explains each of them."""

import gzip

import pytest
from rig.replayer import certificates
from rig.two_venues import KRAKEN, frame, trade, two_venues
from websockets.frames import Opcode

from bot4.adapters.files.raw import RawCapture, find_captures
from bot4.adapters.files.recording import VERSION, Head, Listed, RecordingWriter
from bot4.cli.data import check_capture
from bot4.engine.recorder import RecorderAgent

pytestmark = pytest.mark.compiled
TIMES = b'"time_in":"2023-10-06T17:35:55.219022Z","time_out":"2023-10-06T17:35:55.219067Z"'


def traded(symbol, number, space=b""):
    """A trade in Kraken's words."""
    who = b'"symbol":"%s","side":"buy","price":60000.1,"qty":0.5,"ord_type":"market","trade_id":%d' % (symbol, number)
    return b'{"channel":"trade","type":"update",%s"data":[{%s,"timestamp":"2023-10-06T17:35:55.2Z"}]}' % (space, who)


KRAKENS = [
    b'{"channel":"status","type":"update","data":[{"version":"2.0.0","system":"online","connection_id":12}]}',
    b'{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true,%s}' % TIMES,
    b'{"channel":"heartbeat"}',
    traded(b"BTC/USD", 7, space=b"\n "),
    traded(b"BTC/USD", 8),
    traded(b"ETH/USD", 9),
    b'{"method":"subscribe","success":false,"error":"Currency pair not supported",%s}' % TIMES,
    b"no message\nat all",
    b'{"channel":"of another kind"}',
]
UNREADABLE = 2


def test_every_message_is_recorded_and_explained(tmp_path):
    def kraken(peer, over):
        peer.sock.sendall(b"".join(map(frame, KRAKENS[:-1])))
        last = KRAKENS[-1]
        peer.sock.sendall(frame(last[:9], fin=False) + frame(b"", Opcode.PING) + frame(last[9:], Opcode.CONT))

    def bybit(peer, over):
        peer.sock.sendall(
            frame(b'{"success":true,"ret_msg":"","conn_id":"x","req_id":"1","op":"subscribe"}') + trade(5)
        )

    tls = certificates(tmp_path)
    listed = [
        Listed("BTC/USD", "kraken", "0.1", "0.00000001"),
        Listed("BTCUSDT", "bybit_linear", "0.1", "0.001"),
    ]
    folder = tmp_path / "recording"
    with two_venues(tls, kraken, bybit, raw=4_096) as venues:
        venues.until(lambda: venues.taken()[KRAKEN] == len(KRAKENS) and venues.trades() == 1)
        store = RecordingWriter(folder, Head(VERSION, "", "live", False, "receive", listed))
        RecorderAgent(venues.wires, store, 4_096, 60.0, pytest.fail).close()
    found = {one.venue: one for one in find_captures([folder]) if isinstance(one, RawCapture)}
    assert sorted(found) == ["bybit_linear", "kraken_v2"]
    bodies = [message.body for message in found["kraken_v2"].messages()]
    assert sorted(bodies) == sorted(body.replace(b",\n", b", ") for body in KRAKENS)
    own, none = found["kraken_v2"].files
    assert (own.parent.name, none.parent.name) == ("BTC-USD.kraken", "kraken")
    lines = gzip.decompress(own.read_bytes()).splitlines()
    assert len(lines) == 2 and all(b'"symbol":"BTC/USD","side"' in line for line in lines), lines
    for venue, count in (("kraken_v2", len(KRAKENS)), ("bybit_linear", 2)):
        checked = check_capture(found[venue])
        assert sum(checked["messages"].values()) + sum(checked["rejected"].values()) == count, checked
        assert checked["gaps"] == checked["duplicates"] == checked["out_of_order"] == 0
    checked = check_capture(found["kraken_v2"])
    assert sum(checked["rejected"].values()) == UNREADABLE, checked

"""One websocket against real servers: certificates that must be refused, answers that are none, and raw bytes."""

import datetime as dt
import random
import select
import socket
import ssl
import threading
import time
from contextlib import suppress

import pytest
import trustme
from rig.peer import answers, server
from rig.replayer import Fault, Plan, Recorded, certificates, serve, server_context
from websockets.frames import Frame, Opcode

from bot4.adapters.net.dial import Cancel, DialError, verified_context
from bot4.adapters.net.websocket import ClosedError, open_websocket
from bot4.model.errors import InputError

OPEN_S = 20.0


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


def opened(port, ca_file, *, path="/", timeout_s=OPEN_S, host="localhost"):
    cancel = Cancel()
    try:
        return open_websocket(f"wss://{host}:{port}{path}", verified_context(ca_file), timeout_s, cancel)
    finally:
        cancel.close()


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 300
    assert text.isprintable()
    return text


# --- certificates -------------------------------------------------------------------------------------------------


def refused(tmp_path, context, ca_file, words):
    """The certificate is refused, and not one byte of a request was sent."""
    sent = []
    with server(context, lambda peer: sent.append(peer.sock.recv(100))) as (port, errors):
        with pytest.raises(DialError) as error:
            opened(port, ca_file)
        for _ in range(200):
            if errors:
                break
            time.sleep(0.01)
    assert words in one_line(error)
    assert "certificate refused" in str(error.value)
    assert b"GET" not in b"".join(sent)
    assert errors


def test_a_certificate_of_another_host_is_refused(tmp_path):
    made = certificates(tmp_path, "elsewhere.example")
    refused(tmp_path, made.server, made.ca_file, "Hostname mismatch")


def test_an_expired_certificate_is_refused(tmp_path):
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    made = certificates(tmp_path, not_before=past - dt.timedelta(days=9), not_after=past)
    refused(tmp_path, made.server, made.ca_file, "expired")


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path, tls):
    other = certificates(tmp_path)
    refused(tmp_path, tls.server, other.ca_file, "unable to get local issuer certificate")


def test_a_self_signed_certificate_is_refused_by_the_systems_roots(tmp_path, tls):
    authority = trustme.CA()
    chain = tmp_path / "self.pem"
    chain.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    refused(tmp_path, server_context(chain), None, "self-signed")


def test_nothing_below_tls_1_2_is_spoken(tmp_path):
    made = certificates(tmp_path)
    assert verified_context(made.ca_file).minimum_version == ssl.TLSVersion.TLSv1_2
    assert verified_context(made.ca_file).verify_mode == ssl.CERT_REQUIRED
    assert verified_context(made.ca_file).check_hostname
    assert verified_context(None).verify_mode == ssl.CERT_REQUIRED


def test_a_file_that_holds_no_certificates_is_named(tmp_path):
    for content in (None, b"", b"no certificate"):
        path = tmp_path / "roots.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"ca_file: .*roots\.pem"):
            verified_context(path)


@pytest.mark.parametrize(
    "url", ["ws://localhost:1/", "https://localhost:1/", "wss://", "wss://u:p@localhost/", "wss://h:x/"]
)
def test_an_address_of_another_kind_is_refused(tls, url):
    cancel = Cancel()
    with pytest.raises(InputError, match="write wss://"):
        open_websocket(url, verified_context(tls.ca_file), 1.0, cancel)
    cancel.close()


# --- answers that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello", "HTTP 403 Forbidden"),
        (b"HTTP/1.1 503 \x1b[31mUnwell\r\n\r\n", "HTTP 503 ?[31mUnwell"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: wss://evil.example/\r\n\r\n",
            "points to wss://evil.example/ and is not followed",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200 OK"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP"),
        (b"\x00\x01\x02\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the handshake is no websocket's"),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA=\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
        (b"HTTP/1.1 101 X\r\n" + b"".join(b"H%d: x\r\n" % n for n in range(1000)) + b"\r\n", "the handshake is no"),
        (b"HTTP/1.1 101 X\r\nA: " + b"x" * 40_000, "is longer than 16384 bytes"),
        (b"HTTP/1.1 101 X\r\n", "ended the connection"),
    ],
)
def test_an_answer_that_is_no_upgrade_is_told_in_one_line(tls, data, words):
    script = answers(data)
    if words == "ended the connection":

        def script(peer):
            peer.sock.recv(4096)
            peer.sock.sendall(data)

    with server(tls.server, script) as (port, _), pytest.raises(DialError) as error:
        opened(port, tls.ca_file)
    assert words in one_line(error)


def test_no_extension_is_offered_and_none_accepted(tls):
    offered = []

    def script(peer):
        data = peer.sock.recv(4096)
        offered.append(data)
        peer.protocol.receive_data(data)
        response = peer.protocol.accept(peer.protocol.events_received()[0])
        response.headers["Sec-WebSocket-Extensions"] = "permessage-deflate"
        peer.protocol.send_response(response)
        peer.sock.sendall(b"".join(peer.protocol.data_to_send()))

    with server(tls.server, script) as (port, _), pytest.raises(DialError, match="the handshake is no websocket's"):
        opened(port, tls.ca_file)
    assert b"Extensions" not in offered[0]


def test_an_answer_byte_by_byte_does_not_lengthen_the_time(tls):
    ended = threading.Event()

    def script(peer):
        peer.sock.recv(4096)
        for _ in range(300):
            if ended.wait(0.02):
                break
            peer.sock.sendall(b"H")

    with server(tls.server, script) as (port, _):
        with pytest.raises(DialError, match="answer to the upgrade: no answer in time"):
            opened(port, tls.ca_file, timeout_s=1.5)
        ended.set()


def test_what_does_not_listen_and_what_has_no_name_is_told(tls):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DialError, match=r"localhost: no TCP connection to port .*refused"):
        opened(port, tls.ca_file)
    with pytest.raises(DialError, match=r"no such host|no answer in time"):
        opened(port, tls.ca_file, host="nobody.invalid", timeout_s=2.0)


def test_an_opening_is_called_off_at_once(tls):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        cancel = Cancel()
        told = []

        def run():
            try:
                open_websocket(f"wss://localhost:{mute.getsockname()[1]}", verified_context(tls.ca_file), 1e6, cancel)
            except DialError as error:
                told.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        accepted, _ = mute.accept()  # it waits for the TLS handshake now
        cancel.set()
        thread.join()
        accepted.close()
        cancel.close()
        assert told == ["localhost: called off"]


# --- raw bytes ----------------------------------------------------------------------------------------------------


def read_all(sock, count, size=1 << 16):
    """Read so many bytes, waiting for the socket as a reader does."""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    buffer, found = bytearray(size), b""
    while len(found) < count:
        if not sock.pending:
            assert poll.poll(10_000), "nothing comes"
        got = sock.read_into(memoryview(buffer))
        found += bytes(buffer[:got])
    return found


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 16])
def test_bytes_arrive_unchanged_whatever_the_readers_buffer(tls, size):
    rng = random.Random(size)
    payloads = [rng.randbytes(rng.choice((0, 1, 125, 126, 4_000, 40_000))) for _ in range(30)]
    sent = b"".join(Frame(Opcode.BINARY, payload).serialize(mask=False) for payload in payloads)
    sent = sent[: 5_000 if size == 1 else len(sent)]
    with server(
        tls.server, lambda peer: (peer.shake_hands(sent[:1500]), peer.sock.sendall(sent[1500:]), peer.frames(1))
    ) as (port, _):
        sock = opened(port, tls.ca_file)
        assert read_all(sock, len(sent), size) == sent
        assert sock.read_into(memoryview(bytearray(10))) == 0
        assert not sock.pending
        sock.close()
        sock.close()


def test_what_is_sent_is_masked_whole_and_in_order(tls):
    found = []
    with server(tls.server, lambda peer: (peer.shake_hands(), found.extend(peer.frames(4)))) as (port, _):
        sock = opened(port, tls.ca_file)
        sock.send_text('{"op":"ping"}')
        sock.send_ping(b"there?")
        sock.send_pong(b"x" * 125)
        sock.close()
    kinds = [(frame.opcode, bytes(frame.data)) for frame in found]
    assert kinds[:3] == [(Opcode.TEXT, b'{"op":"ping"}'), (Opcode.PING, b"there?"), (Opcode.PONG, b"x" * 125)]
    assert kinds[3][0] is Opcode.CLOSE


def test_a_peer_that_takes_nothing_never_blocks_us_and_is_given_up(tls):
    done = threading.Event()
    with server(tls.server, lambda peer: (peer.shake_hands(), done.wait(60))) as (port, _):
        sock = opened(port, tls.ca_file)

        def send_on():
            for _ in range(100_000):
                sock.send_text("x" * 10_000)

        with pytest.raises(ClosedError, match="takes nothing"):
            send_on()
        assert sock.wants_write
        done.set()
        sock.close()


def test_queued_messages_go_out_when_the_peer_takes_them_again(tls):
    may, found = threading.Event(), []

    def script(peer):
        peer.shake_hands()
        may.wait(60)
        found.extend(peer.frames(600))

    with server(tls.server, script) as (port, _):
        sock = opened(port, tls.ca_file)
        sent = [f"{number}:{'x' * 10_000}" for number in range(600)]
        for text in sent:
            with suppress(ClosedError):
                sock.send_text(text)
            if sock.wants_write:
                may.set()
                poll = select.poll()
                poll.register(sock.fileno(), select.POLLOUT)
                while sock.wants_write:
                    poll.poll(1_000)
                    sock.flush()
        may.set()
    assert [bytes(frame.data).decode() for frame in found] == sent
    sock.close()


@pytest.mark.parametrize("kind", ["cut", "close"])
def test_a_peer_that_goes_is_told_with_a_reason_after_all_its_bytes(tls, kind):
    made = [Recorded(n, "a", b"message %d" % n) for n in range(10)]
    with serve(Plan("binance_spot", made, faults=[Fault(kind, at=9)]), tls.server) as venue:
        sock = opened(venue.port, tls.ca_file, path="/stream?streams=a")
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        found, buffer = bytearray(), bytearray(4096)

        def read_on():
            while True:
                poll.poll(10_000)
                found.extend(buffer[: sock.read_into(memoryview(buffer))])

        with pytest.raises(ClosedError) as error:
            read_on()
        assert one_line(error) in ("the peer has ended the connection", "Connection reset by peer")
        if kind == "close":
            assert found.count(b"message") == 10
        sock.close()

"""Requests on kept connections: one connection serves many, unless the peer says that it ends."""

import socket
import threading
import time

import pytest

from bot4.adapters.exchange.certificate import make_context
from bot4.adapters.net.caller import HttpCaller
from bot4.adapters.net.dial import verified_context

PATIENCE_S = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


class Server:
    """Answers every request with the same bytes, and counts the connections that it has taken."""

    def __init__(self, folder, answer, late=b""):
        self.answer, self.late, self.taken = answer, late, 0
        self._context, self.ca = make_context(folder)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(plain, server_side=True) as tls:
                    self.taken += 1
                    while tls.recv(65_536):
                        tls.sendall(self.answer)
                        if self.late:
                            tls.sendall(self.late)
            except OSError:  # the client has gone, perhaps before it had come
                continue

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def ask(caller, token):
    """One request and its reply."""
    end, replies, sent = time.monotonic() + PATIENCE_S, [], False
    while not replies:
        assert time.monotonic() < end, caller.trouble()
        sent = sent or (caller.free() > 0 and caller.send(token, REQUEST, PATIENCE_S))
        replies = caller.turn()
    return replies


@pytest.mark.parametrize(
    ("head", "body", "is_kept"),
    [
        ("Content-Length: 2", "{}", True),
        ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n", True),
        ("Content-Length: 2\r\nConnection: close", "{}", False),
    ],
    ids=["length", "chunks", "close"],
)
def test_a_connection_is_kept_for_the_next_request_unless_the_peer_ends_it(tmp_path, head, body, is_kept):
    server = Server(tmp_path, f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}".encode())
    caller = HttpCaller(server.url, verified_context(server.ca), 1)
    try:
        for token in (1, 2, 3):
            [(answered, reply)] = ask(caller, token)
            assert (answered, reply.status, reply.body, reply.error) == (token, 200, b"{}", "")
        assert server.taken == 1 if is_kept else server.taken >= 3  # the next one is opened at once
    finally:
        caller.close()
        server.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STRAY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate"


def replies_of(tmp_path, answer, late=b""):
    """Status and body of three requests, each of which waits until the peer has said all that it has to say."""
    server = Server(tmp_path, answer, late)
    caller = HttpCaller(server.url, verified_context(server.ca), 1)
    try:
        said = []
        for token in (1, 2, 3):
            ((known, reply),) = ask(caller, token)
            assert known == token
            said.append((reply.status, reply.body, reply.error != ""))
            time.sleep(0.2)  # what comes late has come, and nobody has looked
        return said
    finally:
        caller.close()
        server.close()


def test_an_answer_that_only_says_that_one_will_come_is_none(tmp_path):
    assert replies_of(tmp_path, b"HTTP/1.1 100 Continue\r\n\r\n" + OK) == [(200, b"{}", False)] * 3


def test_two_answers_to_one_request_are_none(tmp_path):
    """Which of them is meant nobody can say: the outcome is not known."""
    assert replies_of(tmp_path, OK + STRAY) == [(0, b"", True)] * 3


def test_what_nobody_asked_for_is_not_the_next_requests_answer(tmp_path):
    assert replies_of(tmp_path, OK, late=STRAY) == [(200, b"{}", False)] * 3

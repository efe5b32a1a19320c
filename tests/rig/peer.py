"""One end of a TLS connection under a script: what no well-behaved server would do."""

import socket
import threading
from contextlib import contextmanager, suppress

from websockets.server import ServerProtocol


class Peer:
    """The server's end of one TLS connection, used by a script in a thread."""

    def __init__(self, sock):
        self.sock = sock
        self.protocol = ServerProtocol()

    def shake_hands(self, more=b""):
        """Answer the upgrade; `more` goes out in the same piece."""
        while not (events := self.protocol.events_received()):
            self.protocol.receive_data(self.sock.recv(4096))
        self.protocol.send_response(self.protocol.accept(events[0]))
        self.sock.sendall(b"".join(self.protocol.data_to_send()) + more)

    def frames(self, count):
        """So many frames of the client."""
        found = []
        while len(found) < count:
            self.protocol.receive_data(self.sock.recv(4096))
            found += self.protocol.events_received()
        return found


@contextmanager
def server(context, script):
    """Runs the script for each connection; `errors` are what TLS said, `requests` bytes that came after it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ends = threading.Event()
    errors = []

    def run():
        while not ends.is_set():
            with suppress(TimeoutError):
                sock, _ = listener.accept()
                try:
                    with context.wrap_socket(sock, server_side=True) as wrapped:
                        wrapped.settimeout(10)
                        script(Peer(wrapped))
                except OSError as error:
                    errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1], errors
    finally:
        ends.set()
        thread.join()
        listener.close()


def answers(data):
    def script(peer):
        peer.sock.recv(4096)
        peer.sock.sendall(data)
        with suppress(OSError):
            peer.sock.recv(1)

    return script

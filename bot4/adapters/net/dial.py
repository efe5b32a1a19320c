"""A verified TLS connection within a given time: name, TCP, TLS, each step bounded, all of them cancellable.

Own code since no library of ours does all of it: `socket.create_connection` gives each address the whole time-out and
cannot be called off, and the name service knows no time-out at all. It is asked in a thread of its own therefore; one
that does not answer keeps that one thread, whoever else asks for the same host meanwhile.

TLS is always verified: against the system's roots, or against one given file of roots alone; the name of the host is
checked and nothing below TLS 1.2 is spoken. There is no way to switch that off.
"""

import errno
import ipaddress
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from bot4.model.errors import Bot4Error, InputError

_IDLE_S = 30  # TCP asks a silent peer after so long, then every 10 s, and gives up after the third question
_NAME_LOOK_S = 0.05  # between two looks whether a question for a name has been called off
_SHOWN = 160  # characters of a foreign text in a reason
_T = TypeVar("_T")


class DialError(Bot4Error):
    """No connection, or none any more; the text is one line that says what failed."""


class CalledOffError(DialError):
    """We do not want it any more."""


def plain(text: object) -> str:
    """A foreign text as a short part of one line."""
    line = " ".join(str(text).split())[:_SHOWN]
    return "".join(char if char.isprintable() else "?" for char in line)


def split_url(url: str, scheme: str) -> SplitResult:
    """The parts of an address of this scheme; InputError if it is another one or no address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == scheme and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"address {url[:_SHOWN]!r}: write {scheme}://HOST[:PORT][/PATH]; nothing else is spoken")
    return parts


def verified_context(ca_file: Path | None) -> ssl.SSLContext:
    """How peers are verified; `ca_file` None: by the system's roots. InputError if the file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise InputError(f"ca_file: {ca_file} holds no certificates in PEM form ({plain(error)})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def contexts_of(venues: Iterable[str], ca_file: Path | Mapping[str, Path] | None) -> dict[str, ssl.SSLContext]:
    """How the peers of each venue are verified; `ca_file`: one file for all, or by venue."""
    if isinstance(ca_file, Mapping):
        return {venue: verified_context(ca_file.get(venue)) for venue in venues}
    context = verified_context(ca_file)
    return dict.fromkeys(venues, context)


def only_loopback(address: str) -> str:
    """Why this address may not be traded on: it is another machine's; "" for one of the loopback."""
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return ""
    return f"{address}: live trading beyond this machine needs the strategy's certificate, which does not exist yet"


class Cancel:
    """Calls off at once whatever waits beside it."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    def set(self) -> None:
        """Call it off; for ever."""
        self._theirs.close()

    def is_set(self) -> bool:
        """Whether it has been called off."""
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Give the sockets back, once nobody waits any more."""
        self._theirs.close()
        self._ours.close()

    def fileno(self) -> int:
        """Readable once it is called off."""
        return self._ours.fileno()


class _Question:
    """One question to the name service."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.addresses: list[str] = []
        self.error = ""


class _Names:
    """Asks the name service, for each host by at most one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, int], _Question] = {}

    def ask(self, host: str, port: int) -> _Question:
        with self._lock:
            question = self._asked.get((host, port))
            if question is None:
                question = self._asked[host, port] = _Question()
                threading.Thread(target=self._find, args=(host, port, question), name="names", daemon=True).start()
        return question

    def _find(self, host: str, port: int, question: _Question) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            question.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        except (OSError, UnicodeError) as error:
            question.error = plain(error)
        with self._lock:
            del self._asked[host, port]
        question.answered.set()


_names = _Names()


class Dialled:
    """A TLS connection whose every wait ends by the deadline, or when it is called off.

    Parameters
    ----------
    host, port : the peer; its certificate has to be of this host
    context : of `verified_context`
    timeout_s : for everything until `release`
    cancel : calls it off

    Every method raises DialError, naming host and step.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout_s: float, cancel: Cancel) -> None:
        self._until = time.monotonic() + timeout_s
        self._host, self._cancel, self._step = host, cancel, "name service"
        self._open: socket.socket | None = None
        try:
            self._connect(self._addresses(port), port)
            self.tls = self._handshake(context)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Dialled":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open and not released."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def release(self) -> ssl.SSLSocket:
        """The socket, non-blocking; it is the caller's from now on."""
        self._open = None
        return self.tls

    def send(self, data: bytes, step: str) -> None:
        """Send all of it."""
        self._step = step
        rest = memoryview(data)
        while rest:
            rest = rest[self._try(self.tls.send, rest) :]

    def receive(self, size: int, step: str) -> bytes:
        """What has come, at least a byte; b"": the peer has ended the connection."""
        self._step = step
        return self._try(self.tls.recv, size)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _addresses(self, port: int) -> list[str]:
        question = _names.ask(self._host, port)
        while not question.answered.wait(min(_NAME_LOOK_S, self._left_s())):
            if self._cancel.is_set():
                raise CalledOffError(f"{self._host}: called off")
        if not question.addresses:
            raise DialError(f"{self._host}: no such host ({question.error or 'no address'})")
        return question.addresses

    def _connect(self, addresses: list[str], port: int) -> None:
        """The first address that answers; the time that is left is shared out among them."""
        until = self._until
        self._step = "TCP connection"
        failures = []
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            self._until = until
            self._until = time.monotonic() + self._left_s() / left
            self._open = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            try:
                self._connect_one(self._open, address, port)
            except CalledOffError:
                raise
            except DialError:
                failures.append(f"{address} does not answer")
            except OSError as error:
                failures.append(f"{address}: {os.strerror(error.errno or 0)}")
            else:
                self._until = until
                return
            self.close()
        raise DialError(f"{self._host}: no TCP connection to port {port} ({plain(', '.join(failures))})")

    def _connect_one(self, sock: socket.socket, address: str, port: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        error = sock.connect_ex((address, port))
        if error == errno.EINPROGRESS:
            self._wait(sock, select.POLLOUT)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "")

    def _handshake(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        self._step = "TLS handshake"
        assert self._open is not None
        try:
            tls = context.wrap_socket(self._open, server_hostname=self._host, do_handshake_on_connect=False)
        except (OSError, ValueError) as error:
            raise DialError(f"{self._host}: {self._step}: {plain(error)}") from None
        self._open = self.tls = tls
        self._try(tls.do_handshake)
        return tls

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _try(self, operation: Callable[..., _T], *arguments: object) -> _T:
        while True:
            self._left_s()  # a peer that sends byte by byte is bounded too
            try:
                return operation(*arguments)
            except ssl.SSLWantReadError:
                self._wait(self.tls, select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(self.tls, select.POLLOUT)
            except ssl.SSLCertVerificationError as error:
                raise DialError(f"{self._host}: certificate refused: {plain(error.verify_message)}") from None
            except OSError as error:
                raise DialError(f"{self._host}: {self._step}: {told(error)}") from None

    def _wait(self, sock: socket.socket, mask: int) -> None:
        poll = select.poll()
        poll.register(sock, mask)
        poll.register(self._cancel, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._left_s() * 1e3)}
        if self._cancel.fileno() in ready:
            raise CalledOffError(f"{self._host}: called off")
        if not ready:
            self._left_s()

    def _left_s(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise DialError(f"{self._host}: {self._step}: no answer in time")
        return left


def told(error: OSError) -> str:
    """Why a socket failed, in plain words."""
    if isinstance(error, ssl.SSLError):
        return plain(str(error.reason or error).lower().replace("_", " "))
    return os.strerror(error.errno) if error.errno else plain(error)

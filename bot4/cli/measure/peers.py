"""Suite `peers`: other transports between two pinned processes, with our ring beside them in the same run.

The same record of 64 bytes for all, from interpreted Python, as their users drive them: half a round trip, and one way.
Each takes its bytes as cheaply as its interface allows (no pickling where it can be left out). Our ring has two rows:
kernel to kernel, as the engine uses it, and `ring_python`, one compiled call for each push and pop of a Python loop.
`x ring kernel`, `x ring python`: how many times as fast ours is. A peer that is not installed is left out and named.
"""

# mypy: allow-untyped-defs

import contextlib
import functools
import multiprocessing
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bot4.cli.measure.harness import Case, Samples, run_pinned, scratch
from bot4.cli.measure.ring import compile_ring
from bot4.cli.measure.ring import hop as ring_hop
from bot4.cli.measure.ring import rate as ring_rate
from bot4.jit import kernel
from bot4.model.records import TICK_WORDS
from bot4.shm.layout import ring_words
from bot4.shm.spsc_ring import consume, has_space, peek_tick, push_tick, ring_create
from bot4.shm.wires import TICK_RING_CAPACITY

INSTALL = "pip install 'bot4[peers]'"
WORD = 0x0123_4567_89AB_CDEF
RECORD = WORD.to_bytes(8, "little") * 8
_SIZES = {True: (1_000, 5_000), False: (20_000, 100_000)}  # round trips, records one way
_SHARED_MEMORY = Path("/dev/shm")
_ROOM = 256  # records that wait in a peer that has to be told
_POLL_S = 0.001

Send = Callable[[], Any]
Receive = Callable[[], Any]


class Transport(ABC):
    """A way to bring records to another process. `__init__` and `close` run in the parent, the rest in the children."""

    module = ""  # that has to be installed
    package = ""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @abstractmethod
    def connect(self, side: int) -> tuple[Send, Receive]:
        """Send one record, receive one; of side 0 or 1."""

    def same(self, received: Any) -> bool:
        """True if this is the record that was sent."""
        return bool(received == RECORD)

    def leave(self) -> None:  # noqa: B027 - most have nothing to do
        """Deliver what is on its way, then let go."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Remove whatever is left."""


class MpQueue(Transport):
    """The standard library's queue: a pipe, a lock and a thread that feeds it."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        context = multiprocessing.get_context("fork")
        self.queues = context.Queue(), context.Queue()

    def connect(self, side: int) -> tuple[Send, Receive]:
        self.mine = self.queues[side]
        return functools.partial(self.mine.put, RECORD), self.queues[1 - side].get

    def leave(self) -> None:
        self.mine.close()
        self.mine.join_thread()

    def close(self) -> None:
        for queue in self.queues:
            queue.close()


class MpPipe(Transport):
    """The standard library's pipe, raw bytes."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.ends = multiprocessing.Pipe()

    def connect(self, side: int) -> tuple[Send, Receive]:
        return functools.partial(self.ends[side].send_bytes, RECORD), self.ends[side].recv_bytes

    def close(self) -> None:
        for end in self.ends:
            end.close()


class ZeroMq(Transport):
    """A pair of sockets over a local one."""

    module, package = "zmq", "pyzmq"

    def connect(self, side: int) -> tuple[Send, Receive]:
        import zmq

        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PAIR)
        address = f"ipc://{self.folder}/pair"
        if side == 0:
            self.socket.bind(address)
        else:
            self.socket.connect(address)
        return functools.partial(self.socket.send, RECORD), self.socket.recv

    def leave(self) -> None:
        self.socket.close()
        self.context.term()


class FasterFifo(Transport):
    """A queue in shared memory with a lock; bytes as they are instead of its pickling."""

    module, package = "faster_fifo", "faster-fifo"

    def __init__(self, folder: str) -> None:
        import faster_fifo

        super().__init__(folder)
        self.queues = [faster_fifo.Queue(loads=bytes, dumps=lambda record: record) for _ in range(2)]

    def connect(self, side: int) -> tuple[Send, Receive]:
        return functools.partial(self.queues[side].put, RECORD), self.queues[1 - side].get


class Iceoryx2(Transport):
    """Publish and subscribe without copies, polled; nothing is discarded."""

    module, package = "iceoryx2", "iceoryx2"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.prefix = f"bot4bench{os.getpid()}_"

    def connect(self, side: int) -> tuple[Send, Receive]:
        import ctypes

        import iceoryx2 as iox2

        class Words(ctypes.Structure):
            _fields_ = (("words", ctypes.c_int64 * TICK_WORDS),)

        iox2.set_log_level(iox2.LogLevel.Error)
        config = iox2.config.default()
        config.global_cfg.root_path = iox2.Path.new(self.folder)
        config.global_cfg.prefix = iox2.FileName.new(self.prefix)
        node = iox2.NodeBuilder.new().config(config).create(iox2.ServiceType.Ipc)
        services = [
            node.service_builder(iox2.ServiceName.new(name))
            .publish_subscribe(Words)
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(_ROOM)
            .open_or_create()
            for name in ("there", "back")
        ]
        mine, theirs = services[side], services[1 - side]
        retry = iox2.BackpressureStrategy.RetryUntilDelivered
        publisher = mine.publisher_builder().backpressure_strategy(retry).create()
        subscriber = theirs.subscriber_builder().create()
        while mine.dynamic_config.number_of_subscribers == 0 or theirs.dynamic_config.number_of_publishers == 0:
            time.sleep(_POLL_S)
        publisher.update_connections()
        self.held = [publisher, subscriber, services, node]
        record = Words((ctypes.c_int64 * TICK_WORDS)(*([WORD] * TICK_WORDS)))

        def receive() -> Any:
            while True:
                sample = subscriber.receive()
                if sample is not None:
                    taken = sample.payload().contents.words[0]
                    sample.delete()
                    return taken

        return functools.partial(publisher.send_copy, record), receive

    def same(self, received: Any) -> bool:
        return bool(received == WORD)

    def leave(self) -> None:
        publisher, subscriber = self.held[:2]
        publisher.delete()
        subscriber.delete()
        self.held.clear()

    def close(self) -> None:
        for left in _SHARED_MEMORY.glob(f"{self.prefix}*"):  # of a node, which outlives it
            left.unlink(missing_ok=True)


@kernel
def _push(ring, record):
    if not has_space(ring, 1):
        return False
    push_tick(ring, record, 0)
    return True


@kernel
def _pop(ring, target):
    if not peek_tick(ring, target, 0):
        return False
    consume(ring)
    return True


class RingPython(Transport):
    """Our own ring, one compiled call for each push and pop."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        length = ring_words(TICK_RING_CAPACITY, TICK_WORDS)
        self.memory = scratch(2 * length)
        parts = self.memory.words[:length], self.memory.words[length : 2 * length]
        self.rings = [ring_create(part, TICK_RING_CAPACITY, TICK_WORDS) for part in parts]

    def connect(self, side: int) -> tuple[Send, Receive]:
        mine, theirs = self.rings[side], self.rings[1 - side]
        record, target = np.full(TICK_WORDS, WORD, np.int64), np.zeros(TICK_WORDS, np.int64)

        def send() -> None:
            while not _push(mine, record):
                pass

        def receive() -> np.ndarray:
            while not _pop(theirs, target):
                pass
            return target

        return send, receive

    def same(self, received: Any) -> bool:
        return int(received[0]) == WORD

    def close(self) -> None:
        self.memory.close()


TRANSPORTS: dict[str, type[Transport]] = {
    "mp_queue": MpQueue,
    "mp_pipe": MpPipe,
    "zeromq": ZeroMq,
    "iceoryx2": Iceoryx2,
    "faster_fifo": FasterFifo,
    "ring_python": RingPython,
}


def _installed(transport: type[Transport]) -> bool:
    return not transport.module or find_spec(transport.module) is not None


def left_out() -> list[str]:
    """Peers that are not installed here, and how they would be."""
    absent = [transport.package for transport in TRANSPORTS.values() if not _installed(transport)]
    return [f"{', '.join(absent)}: not installed; {INSTALL}"] if absent else []


def _ping(transport: Transport, send: Send, receive: Receive, stamps: np.ndarray) -> None:
    clock = time.perf_counter_ns
    for at in range(len(stamps)):
        send()
        received = receive()
        stamps[at] = clock()
    if not transport.same(received):
        raise AssertionError("the record came back changed")


def _pong(send: Send, receive: Receive, n: int) -> None:
    for _ in range(n):
        receive()
        send()


def _send_all(send: Send, n: int) -> None:
    for _ in range(n):
        send()


def _receive_all(transport: Transport, receive: Receive, n: int, stamps: np.ndarray) -> None:
    received = receive()
    stamps[0] = time.perf_counter_ns()
    for _ in range(n - 1):
        received = receive()
    stamps[1] = time.perf_counter_ns()
    if not transport.same(received):
        raise AssertionError("the last record came changed")


def _both(
    kind: type[Transport],
    cores: tuple[int, int],
    n_stamps: int,
    first: Callable[[Transport, Send, Receive, np.ndarray], None],
    second: Callable[[Transport, Send, Receive, np.ndarray], None],
) -> np.ndarray:
    """Run both sides over a fresh transport: connect, wait for each other, work, and leave when both are done."""
    shared = scratch(16 + n_stamps)
    flags, stamps = shared.words[:16], shared.words[16 : 16 + n_stamps]

    def run(side: int, work: Callable[[Transport, Send, Receive, np.ndarray], None]) -> None:
        send, receive = transport.connect(side)
        _meet(flags, side)
        work(transport, send, receive, stamps)
        _meet(flags, side + 2)
        transport.leave()

    with tempfile.TemporaryDirectory(prefix="bot4-peers-") as folder:
        transport = kind(folder)
        with contextlib.closing(transport):
            run_pinned([lambda: run(0, first), lambda: run(1, second)], list(cores))
    taken = stamps.copy()
    shared.close()
    return taken


def _meet(flags: np.ndarray, place: int) -> None:
    """Wait until the other side stands at the same place; places 0 and 1 belong together, 2 and 3 too."""
    flags[place] = 1
    while not flags[place ^ 1]:
        time.sleep(_POLL_S)


def _hop(kind: type[Transport], n: int, cores: tuple[int, int], taken: Samples) -> None:
    stamps = _both(
        kind,
        cores,
        n,
        _ping,
        lambda transport, send, receive, stamps: _pong(send, receive, n),
    )
    taken.add_durations(np.diff(stamps) / 2)


def _rate(kind: type[Transport], n: int, cores: tuple[int, int], taken: Samples) -> None:
    first, last = _both(
        kind,
        cores,
        2,
        lambda transport, send, receive, stamps: _send_all(send, n),
        lambda transport, send, receive, stamps: _receive_all(transport, receive, n, stamps),
    )
    taken.add_rate(n - 1, int(last - first) * 1e-9)


def _compile() -> None:
    """The kernels of our own rows, so that the children find them compiled."""
    compile_ring(TICK_WORDS)
    ring = RingPython("")
    ring.connect(0)[0]()
    _pop(ring.rings[0], np.zeros(TICK_WORDS, np.int64))
    ring.close()


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases: whatever is installed, and our ring in both ways."""
    hops, messages = _SIZES[quick]
    _compile()
    ours = functools.partial(ring_hop, TICK_WORDS, hops, ghz, cores)
    made = [Case("ring_kernel_hop", "ns", ours, "line_2", beside=(("ring_python", "ring_python_hop"),))]
    ours = functools.partial(ring_rate, TICK_WORDS, 20 * messages, ghz, cores)
    made.append(Case("ring_kernel_rate", "messages/s", ours, "line_2", beside=(("ring_python", "ring_python_rate"),)))
    for name, kind in reversed(TRANSPORTS.items()):
        if not _installed(kind):
            continue
        peer = kind is not RingPython
        for what, unit, run in (
            ("hop", "ns", functools.partial(_hop, kind, hops, cores)),
            ("rate", "messages/s", functools.partial(_rate, kind, messages, cores)),
        ):
            rings = ("ring_kernel", "ring_python") if peer else ("ring_kernel",)
            beside = tuple((ring, f"{ring}_{what}") for ring in rings)
            made.append(Case(f"{name}_{what}", unit, run, "line_2", beside=beside, peer=peer))
    return made

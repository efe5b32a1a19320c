"""The template: one process that compiles and warms every kernel once, then forks workers, 5 ms each, and reaps them.

It has one thread, asserted before it forks. Workers share its pages: a worker's own memory is what it writes. Workers
die with the template and the template with the supervisor, by the kernel's hand: nothing outlives a killed supervisor.

    supervisor --> template:  Plan, then ("fork", WorkerSpec, attempt)
    template --> supervisor:  ("ready",) | ("failed", exit code, text)
                              ("forked", name, pid) | ("ended", name, pid, status, last words)
"""

import gc
import io
import os
import select
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bot4.adapters.system.process import Handle, die_with_parent, name_process, open_child, thread_count
from bot4.engine.shard import BUILT_IN, strategy_fault, strategy_line
from bot4.model.errors import Bot4Error, SettingsError
from bot4.shm.calibration import Stamp, calibrate, stamp
from bot4.shm.wires import Wires
from bot4.shm.wiring import attach_wires
from workers.bootstrap import builder, worker_main
from workers.plan import Plan, WorkerSpec

ERROR_BYTES = 4096  # a pipe takes so much in one piece
CALIBRATE_S = 1.0
EXIT_UNEXPECTED = 70  # a worker ended by an exception nobody raised on purpose: restarted


def template_main(connection: Any) -> None:
    """Take the plan, warm everything, say so, then fork and reap on command until the supervisor lets go."""
    try:
        plan: Plan = connection.recv()
    except EOFError:  # there will be no session
        return
    name_process("bot4-template")
    plan.log_folder.mkdir(parents=True, exist_ok=True)
    _redirect(plan.log_folder / "template.log")
    try:
        wires = attach_wires(
            plan.instance, plan.n_shards, plan.n_instruments, generation=plan.generation, **plan.recorded
        ).wires
        began = stamp()
        wires = wires._replace(kept=warm_up(plan))
        calibrate(wires.calibration, began)
        threads = thread_count()
        if threads != 1:
            raise Bot4Error(f"the template has {threads} threads and must not fork; unset what starts them")
    except Bot4Error as error:
        traceback.print_exc()  # the whole of it, into the log
        connection.send(("failed", error.exit_code, str(error)))
        return
    except Exception as error:
        traceback.print_exc()
        log = plan.log_folder / "template.log"
        why = f"{type(error).__name__}: {str(error).strip()[:200]}"
        connection.send(("failed", 1, f"the template failed: {' '.join(why.split())}; see {log}"))
        return
    gc.collect()
    gc.freeze()
    connection.send(("ready",))
    with suppress(BrokenPipeError, ConnectionResetError):  # the supervisor has let go: that is how a session ends
        _Nursery(connection, plan, wires, began).serve()


def warm_up(plan: Plan) -> np.ndarray:
    """Compile and load what the plan needs, in this process; SettingsError if the user's strategy does not compile.

    Returns
    -------
    int64[n_instruments, words], what becomes of `Wires.kept`
    """
    try:
        kept: np.ndarray = builder(plan.warm)(plan)
        return kept
    except Bot4Error:
        raise
    except Exception as error:
        module = sys.modules.get(plan.strategy_module)
        where = strategy_line(error, str(getattr(module, "__file__", "")))
        if not where and module is not None and plan.strategy_module != BUILT_IN:
            where = strategy_fault(module)
        if not where:
            raise
        raise SettingsError(f"strategy.module: {plan.strategy_module} does not compile: {where}; mend it") from error


class _Nursery:
    """The forked workers of the template."""

    def __init__(self, connection: Any, plan: Plan, wires: Wires, began: Stamp) -> None:
        self._connection = connection
        self._plan = plan
        self._wires = wires
        self._began = began
        self._children: dict[int, tuple[str, Handle, int]] = {}  # pid: name, handle, read end of its last words

    def serve(self) -> None:
        """Fork on command, report ends, calibrate; return when the supervisor closes its end or says quit."""
        next_calibration = 0.0
        while True:
            poll = select.poll()
            poll.register(self._connection.fileno(), select.POLLIN)
            for _, handle, _ in self._children.values():
                poll.register(handle.fileno(), select.POLLIN)
            poll.poll(CALIBRATE_S * 1000)
            self._reap()
            if time.monotonic() >= next_calibration:
                next_calibration = time.monotonic() + CALIBRATE_S
                calibrate(self._wires.calibration, self._began)
            if self._connection.poll(0):
                try:
                    command = self._connection.recv()
                except EOFError:
                    return
                if command[0] == "quit":
                    return
                self._fork(*command[1:])

    def _fork(self, spec: WorkerSpec, attempt: int) -> None:
        reader, writer = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(reader)
                code = _child(self._plan, self._wires, spec, attempt, parent, writer, self._forget)
            finally:
                os._exit(code)
        os.close(writer)
        os.set_blocking(reader, False)
        self._children[pid] = (spec.name, open_child(pid), reader)
        self._connection.send(("forked", spec.name, pid))

    def _forget(self) -> None:
        """In the child: close what belongs to the template."""
        self._connection.close()
        for _, handle, reader in self._children.values():
            handle.close()
            os.close(reader)

    def _reap(self) -> None:
        for pid, (name, handle, reader) in list(self._children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended == 0:
                continue
            try:
                error = os.read(reader, ERROR_BYTES).decode(errors="replace")
            except BlockingIOError:
                error = ""
            os.close(reader)
            handle.close()
            del self._children[pid]
            self._connection.send(("ended", name, pid, status, error))


def _child(plan: Plan, wires: Wires, spec: WorkerSpec, attempt: int, parent: int, writer: int, forget: Any) -> int:
    """The forked worker's whole life; returns its exit code, its last words go to `writer`."""
    die_with_parent(parent)
    forget()
    name_process(f"bot4-{spec.name}")
    _redirect(plan.log_folder / f"{spec.name}.log")
    try:
        worker_main(plan, wires, spec, attempt)
        return 0
    except Bot4Error as error:
        _last_words(writer, str(error))
        return error.exit_code
    except BaseException as error:
        traceback.print_exc()
        _last_words(writer, f"{type(error).__name__}: {error}")
        return EXIT_UNEXPECTED
    finally:
        sys.stderr.flush()


def _last_words(writer: int, text: str) -> None:
    os.write(writer, " ".join(text.split()).encode()[:ERROR_BYTES])


def _redirect(path: Path) -> None:
    """Standard output and error into the worker's log: the terminal belongs to the supervisor's view."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), line_buffering=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), line_buffering=True)

"""The template's process as its starter sees it. It is begun before its plan is known: what it has to import takes as
long as what its starter has to import to make the plan, so the two do it beside each other.
"""

import os
import signal
from typing import Any

import multiprocess
import multiprocess.resource_tracker

from bot4.model.errors import InputError

QUIET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
LEAVE_S = 2.0  # for the template to leave by itself; then it is killed


class TemplateProcess:
    """A template that imports and then waits for its plan. InputError where no process can begin.

    Attributes
    ----------
    connection : messages as in `workers.template`; closed, it tells the template to leave
    pid : of the process
    """

    def __init__(self) -> None:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before its first import of NumPy: it has to fork with one thread
        context = multiprocess.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: Any = context.Process(
            target=_begin, args=(theirs, os.getpid()), name="bot4-template", daemon=True
        )
        multiprocess.resource_tracker.ensure_running()  # it would undo the mask in the midst of the start
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, QUIET
        )  # until it ignores them: a terminal's Ctrl-C reaches it
        try:
            self._process.start()
        except FileNotFoundError:  # a spawned process begins where its parent is
            raise InputError("the current folder has been deleted; change to one that is there") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.pid = int(self._process.pid)
        self._used = False

    def use(self, plan: Any) -> None:
        """Hand it its plan."""
        self._used = True
        self.connection.send(plan)

    def end_code(self) -> int:
        """How it ended: its exit code, below 0 minus the signal, 0 while it lives."""
        self._process.join(1.0)
        return self._process.exitcode or 0

    def close(self) -> None:
        """End the process, at once if it has nothing to tidy up; any number of times."""
        process, self._process = self._process, None
        if process is None:
            return
        self.connection.close()
        if self._used:
            process.join(LEAVE_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _begin(connection: Any, starter_pid: int) -> None:
    """The new process: deaf to the terminal, for the supervisor decides, and gone when its starter is."""
    from bot4.adapters.system.process import die_with_parent

    for number in QUIET:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, QUIET)
    die_with_parent(starter_pid)
    from workers.template import template_main

    template_main(connection)

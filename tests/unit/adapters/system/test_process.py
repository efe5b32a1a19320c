"""Processes by pid and start time, pidfds, pins."""

import os
import signal
import subprocess
import sys

import pytest

from bot4.adapters.system.affinity import available_cores, pin, pinned_core
from bot4.adapters.system.process import (
    ProcessId,
    die_with_parent,
    identify,
    memory_mb,
    name_process,
    open_child,
    open_process,
    sharpen_timers,
    thread_count,
)
from bot4.model.errors import SettingsError

WAITER = "import sys; print('up', flush=True); sys.stdin.readline()"


@pytest.fixture
def waiter():
    """A process that ends when told."""
    process = subprocess.Popen([sys.executable, "-c", WAITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def in_child(function) -> int:
    """Exit code of `function` run in a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = function() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_handle_sees_the_end(waiter):
    handle = open_process(identify(waiter.pid))
    assert handle is not None and not handle.ended and handle.identity.alive
    waiter.stdin.write("\n")
    waiter.stdin.flush()
    assert handle.wait(10.0)
    assert handle.ended
    waiter.wait()
    assert not handle.send(signal.SIGTERM), "reaped: nobody is there"
    handle.close()
    handle.close()


def test_a_zombie_is_dead(waiter):
    identity = identify(waiter.pid)
    handle = open_process(identity)
    handle.send(signal.SIGKILL)
    assert handle.wait(10.0)
    assert not identity.alive and open_process(identity) is None
    handle.close()


def test_kill_waits_for_the_end(waiter):
    handle = open_process(identify(waiter.pid))
    assert handle.kill()
    handle.close()
    assert waiter.wait() == -signal.SIGKILL


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_nobody_has_an_impossible_pid(pid):
    assert identify(pid).start == 0
    assert open_process(ProcessId(pid, 5)) is None


def test_a_child_can_be_held_before_it_is_reaped():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    handle = open_child(pid)
    assert handle.wait(10.0)
    handle.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_child_dies_with_its_parent():
    """Parent forks a child, the child asks for the signal and reports, the parent ends: the child's pipe closes."""
    reader, writer = os.pipe()

    def parent():
        me = os.getpid()
        if os.fork() == 0:
            os.close(reader)
            die_with_parent(me)
            os.write(writer, b"x")
            while True:
                signal.pause()
        os.close(writer)
        os.read(reader, 1)
        return 5

    assert in_child(parent) == 5
    os.close(writer)
    assert os.read(reader, 1) == b""  # every writer has ended
    os.close(reader)


def test_a_child_of_a_dead_parent_leaves_at_once():
    assert in_child(lambda: die_with_parent(1 if os.getppid() != 1 else 2)) == 1


def test_names_timers_threads_and_memory():
    assert in_child(lambda: name_process("bot4-a-long-name-indeed")) == 0
    assert in_child(sharpen_timers) == 0
    assert thread_count() >= 1
    proportional, private = memory_mb(os.getpid())
    assert 0 < private <= proportional
    assert memory_mb(2**22 + 1) is None


def test_a_pin_is_where_the_kernel_says():
    core = available_cores()[-1]
    assert in_child(lambda: 0 if pin(core) == core == pinned_core(os.getpid()) else 3) == 0
    assert pinned_core(2**22 + 1) is None


def test_a_core_that_is_not_there_is_refused():
    def refused():
        with pytest.raises(SettingsError, match="core 4095 cannot be used here"):
            pin(4095)

    assert in_child(refused) == 0


def test_without_a_wish_nothing_is_pinned():
    before = os.sched_getaffinity(0)
    pin(None)
    assert os.sched_getaffinity(0) == before

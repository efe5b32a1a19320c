"""Named places to die at, for tests of what a killed process leaves behind. A normal build has none of them.

With BOT4_CRASH naming a file of CRASH_WORDS words, kernels are compiled, into a cache folder of their own, with a look
at its first word at each `crash_here`: whoever armed that place there has the process killed as by SIGKILL when it has
come by so often. Otherwise `crash_here` is an empty function that is inlined, and no trace of it is compiled. The
gateway, which is not compiled, has `die_here`.

    word  0 place that is armed, 0: none   1 so many times still   2 pid it is meant for, 0: any   3 place that fired
"""

import mmap
import os
import signal
from pathlib import Path

import numpy as np

from bot4.jit import CRASH_FILE, JIT, inlined

CRASH_ARMED, CRASH_COUNT, CRASH_PID, CRASH_FIRED = range(4)
CRASH_WORDS = 8

CRASH_POINTS = (  # in kernels
    "", "intent_read", "intent_checked", "order_unsent", "order_sent",
    "record_word", "record_whole", "record_committed", "slot_word", "slot_whole", "slot_published",
    "event_read", "event_journaled", "event_applied", "event_protected", "stop_unjournaled", "stop_unsent", "stop_sent",
    "change_unjournaled", "change_unsent", "change_sent", "kill_cancel",
    "start_folding", "start_unwritten", "start_written", "recovery_query", "recovery_trades", "recovery_asked",
    "recovery_answer", "recovery_answered", "recovery_active",
)  # fmt: skip
(
    _, INTENT_READ, INTENT_CHECKED, ORDER_UNSENT, ORDER_SENT,
    RECORD_WORD, RECORD_WHOLE, RECORD_COMMITTED, SLOT_WORD, SLOT_WHOLE, SLOT_PUBLISHED,
    EVENT_READ, EVENT_JOURNALED, EVENT_APPLIED, EVENT_PROTECTED, STOP_UNJOURNALED, STOP_UNSENT, STOP_SENT,
    CHANGE_UNJOURNALED, CHANGE_UNSENT, CHANGE_SENT, KILL_CANCEL,
    START_FOLDING, START_UNWRITTEN, START_WRITTEN, RECOVERY_QUERY, RECOVERY_TRADES, RECOVERY_ASKED,
    RECOVERY_ANSWER, RECOVERY_ANSWERED, RECOVERY_ACTIVE,
) = range(31)  # fmt: skip
GATEWAY_POINTS = (  # in the gateway, behind them
    "gateway_request", "gateway_unlogged", "gateway_logged", "gateway_sent", "gateway_answer",
    "gateway_stop_logged", "gateway_stop_answer",
    "gateway_event_unlogged", "gateway_event_logged", "gateway_event_told",
    "gateway_cancel_sent", "gateway_cancel_answer",
    "gateway_folding", "gateway_folded", "gateway_comparing", "gateway_compared", "gateway_inquired",
)  # fmt: skip
(
    AT_REQUEST, AT_UNLOGGED, AT_LOGGED, AT_SENT, AT_ANSWER,
    AT_STOP_LOGGED, AT_STOP_ANSWER, AT_EVENT_UNLOGGED, AT_EVENT_LOGGED, AT_EVENT_TOLD,
    AT_CANCEL_SENT, AT_CANCEL_ANSWER,
    AT_FOLDING, AT_FOLDED, AT_COMPARING, AT_COMPARED, AT_INQUIRED,
) = range(31, 48)  # fmt: skip
POINT_NAMES = CRASH_POINTS + GATEWAY_POINTS  # by number


def crash_words(path: str | os.PathLike) -> np.ndarray:
    """The file at `path`, which has CRASH_WORDS words, as int64[CRASH_WORDS] that all who map it share."""
    with Path(path).open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), CRASH_WORDS * 8), np.int64)


if CRASH_FILE:
    _words = crash_words(CRASH_FILE)

    def _reached(place: int) -> None:
        """The armed place was come by: once less, or the end."""
        if _words[CRASH_PID] not in (0, os.getpid()):
            return
        _words[CRASH_COUNT] -= 1
        if _words[CRASH_COUNT] <= 0:
            _words[CRASH_ARMED] = 0  # whoever is started next lives
            _words[CRASH_FIRED] = place
            os.kill(os.getpid(), signal.SIGKILL)

    def die_here(place: int) -> None:
        """Die here if that is what somebody armed."""
        if _words[CRASH_ARMED] == place:
            _reached(place)

else:

    def die_here(place: int) -> None:
        """Nothing: this build has no such places."""


if CRASH_FILE and JIT:
    import ctypes

    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    _I64 = ir.IntType(64)
    _callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(_reached)
    llvm.add_symbol("bot4_crash_reached", ctypes.cast(_callback, ctypes.c_void_p).value)
    llvm.add_symbol("bot4_crash_words", _words.ctypes.data)

    @intrinsic
    def _crash(typing_context, place):
        def generate(context, builder, sig, args):
            module = builder.module
            words = module.globals.get("bot4_crash_words")
            if words is None:
                words = ir.GlobalVariable(module, _I64, "bot4_crash_words")
                words.linkage = "external"
            armed = builder.load_atomic(words, ordering="acquire", align=8)
            with builder.if_then(builder.icmp_signed("==", armed, args[0]), likely=False):
                signature = ir.FunctionType(ir.VoidType(), [_I64])
                builder.call(cgutils.get_or_insert_function(module, signature, "bot4_crash_reached"), [args[0]])
            return context.get_dummy_value()

        return types.void(types.int64), generate

    @inlined
    def crash_here(place):
        """Die here if that is what somebody armed."""
        _crash(np.int64(place))

elif CRASH_FILE:
    crash_here = die_here
else:

    @inlined
    def crash_here(place):
        """Nothing: this build has no such places."""

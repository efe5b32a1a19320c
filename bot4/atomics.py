"""Ordered access to shared words, the time-stamp counter and the ways to wait, for kernels and for plain Python.

Memory order lives in this file alone. A plain load of a shared word is hoisted out of a spin loop by the compiler:
control words are read by `load_acquire` and written by `store_release`, nothing else. All array arguments are
int64[:] with 8-byte alignment. Inline assembly aborts the process in Numba, so everything is an LLVM instruction or
intrinsic, or a libc symbol by name (which keeps compiled code cacheable).

Under NUMBA_DISABLE_JIT=1 the plain fallbacks serve; they are right in one process only.
"""

import os
import time

import numpy as np

from bot4.jit import JIT, inlined

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    _I32 = ir.IntType(32)
    _I64 = ir.IntType(64)
    _SYS_FUTEX, _FUTEX_WAIT, _FUTEX_WAKE = 202, 0, 1  # x86-64; not private: the word is shared between processes

    def _address(context, builder, array_type, array, index):
        return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])

    @intrinsic
    def _load_acquire(typing_context, array, index):
        signature = array.dtype(array, types.intp)

        def generate(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], args[1])
            return builder.load_atomic(pointer, ordering="acquire", align=8)

        return signature, generate

    @intrinsic
    def _store_release(typing_context, array, index, value):
        signature = types.void(array, types.intp, array.dtype)

        def generate(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], args[1])
            builder.store_atomic(args[2], pointer, ordering="release", align=8)
            return context.get_dummy_value()

        return signature, generate

    @intrinsic
    def _store_sequential(typing_context, array, index, value):
        signature = types.void(array, types.intp, array.dtype)

        def generate(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], args[1])
            builder.store_atomic(args[2], pointer, ordering="seq_cst", align=8)
            return context.get_dummy_value()

        return signature, generate

    @intrinsic
    def _fence(typing_context):
        def generate(context, builder, sig, args):
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def _compare_exchange(typing_context, array, index, expected, desired):
        signature = types.boolean(array, types.intp, array.dtype, array.dtype)

        def generate(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], args[1])
            pair = builder.cmpxchg(pointer, args[2], args[3], "acq_rel", "acquire")
            return builder.extract_value(pair, 1)

        return signature, generate

    @intrinsic
    def _rdtsc(typing_context):
        def generate(context, builder, sig, args):
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_I64, []), "llvm.readcyclecounter"
            )
            return builder.call(function, [])

        return types.int64(), generate

    @intrinsic
    def _pause(typing_context):
        def generate(context, builder, sig, args):
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            )
            builder.call(function, [])
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def _sched_yield(typing_context):
        def generate(context, builder, sig, args):
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I32, []), "sched_yield")
            builder.call(function, [])
            return context.get_dummy_value()

        return types.void(), generate

    def _futex(builder, pointer, operation, value, time_out):
        """The system call itself: the low half of a word is what the kernel compares (little-endian)."""
        signature = ir.FunctionType(_I64, [_I64], var_arg=True)
        function = cgutils.get_or_insert_function(builder.module, signature, "syscall")
        address = builder.ptrtoint(pointer, _I64)
        nothing = ir.Constant(_I64, 0)
        number, what = ir.Constant(_I64, _SYS_FUTEX), ir.Constant(_I64, operation)
        return builder.call(function, [number, address, what, value, time_out, nothing, nothing])

    @intrinsic
    def _futex_wait(typing_context, array, index, expected, time_out_ns):
        signature = types.int64(array, types.intp, types.int64, types.int64)

        def generate(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], args[1])
            span = cgutils.alloca_once(builder, ir.LiteralStructType([_I64, _I64]))
            second = ir.Constant(_I64, 1_000_000_000)
            parts = ir.Constant(ir.LiteralStructType([_I64, _I64]), ir.Undefined)
            parts = builder.insert_value(parts, builder.sdiv(args[3], second), 0)
            parts = builder.insert_value(parts, builder.srem(args[3], second), 1)
            builder.store(parts, span)
            return _futex(builder, pointer, _FUTEX_WAIT, args[2], builder.ptrtoint(span, _I64))

        return signature, generate

    @intrinsic
    def _futex_wake(typing_context, array, index, count):
        signature = types.int64(array, types.intp, types.int64)

        def generate(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], args[1])
            return _futex(builder, pointer, _FUTEX_WAKE, args[2], ir.Constant(_I64, 0))

        return signature, generate

    @inlined
    def load_acquire(array, index):
        """Read a shared word; everything its writer stored before the matching `store_release` is visible after."""
        return _load_acquire(array, index)

    @inlined
    def store_release(array, index, value):
        """Write a shared word; whoever reads it by `load_acquire` also sees all that was stored before."""
        _store_release(array, index, value)

    @inlined
    def store_sequential(array, index, value):
        """Write a shared word before any later load of this process: the waiting side's half of the handshake."""
        _store_sequential(array, index, value)

    @inlined
    def fence():
        """Everything stored before is visible before anything is loaded after: the waking side's half."""
        _fence()

    @inlined
    def futex_wait(array, index, expected, time_out_ns):
        """Sleep while the word still is `expected`, until somebody wakes it or the time is over (system call)."""
        _futex_wait(array, index, np.int64(expected), np.int64(time_out_ns))

    @inlined
    def futex_wake(array, index):
        """Wake whoever sleeps on the word (system call, 0.3 us)."""
        _futex_wake(array, index, np.int64(1))

    @inlined
    def compare_exchange(array, index, expected, desired):
        """Write `desired` if the word still is `expected`, acquire and release at once; True if it was."""
        return _compare_exchange(array, index, expected, desired)

    @inlined
    def rdtsc():
        """The time-stamp counter, cycles. Not ordered with other instructions: good to about 20 ns."""
        return _rdtsc()

    @inlined
    def pause():
        """Tell the core that this is a spin loop."""
        _pause()

    @inlined
    def sched_yield():
        """Give the core to whoever else wants it (system call, about 0.3 us)."""
        _sched_yield()

else:

    def load_acquire(array, index):
        """Plain fallback of the compiled load; one process only."""
        return int(array[index])

    def store_release(array, index, value):
        """Plain fallback of the compiled store; one process only."""
        array[index] = value

    def store_sequential(array, index, value):
        """Plain fallback of the compiled store; one process only."""
        array[index] = value

    def fence():
        """Plain fallback: nothing."""

    def futex_wait(array, index, expected, time_out_ns):
        """Plain fallback: a nap."""
        if array[index] == expected:
            time.sleep(min(time_out_ns * 1e-9, 1e-3))

    def futex_wake(array, index):
        """Plain fallback: nothing, a nap ends by itself."""

    def compare_exchange(array, index, expected, desired):
        """Plain fallback of the compiled exchange; one process only."""
        if array[index] != expected:
            return False
        array[index] = desired
        return True

    def rdtsc():
        """Plain fallback: the monotonic clock in ns."""
        return time.perf_counter_ns()

    def pause():
        """Plain fallback: nothing."""

    def sched_yield():
        """Plain fallback: the same system call from Python."""
        os.sched_yield()

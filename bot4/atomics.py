"""Ordered access to shared words, the time-stamp counter and the ways to wait, for kernels and for plain Python.

Memory order lives in this file alone. A plain load of a shared word is hoisted out of a spin loop by the compiler:
control words are read by `load_acquire` and written by `store_release`, nothing else. All array arguments are
int64[:] with 8-byte alignment. Inline assembly aborts the process in Numba, so everything is an LLVM instruction or
intrinsic, or a libc symbol by name (which keeps compiled code cacheable).

Under NUMBA_DISABLE_JIT=1 the plain fallbacks serve; they are right in one process only.
"""

import os
import time

from bot4.jit import JIT, inlined

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    _I32 = ir.IntType(32)
    _I64 = ir.IntType(64)

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

    @inlined
    def load_acquire(array, index):
        """Read a shared word; everything its writer stored before the matching `store_release` is visible after."""
        return _load_acquire(array, index)

    @inlined
    def store_release(array, index, value):
        """Write a shared word; whoever reads it by `load_acquire` also sees all that was stored before."""
        _store_release(array, index, value)

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

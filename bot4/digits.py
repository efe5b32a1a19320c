"""Eight decimal digits at a time: what a scanner does most.

A digit a step costs a nanosecond, and a quote has seventy of them. Eight bytes are loaded as one word; what is no digit
in it is found, and the digits before that are summed, by a handful of instructions without a branch.

Under NUMBA_DISABLE_JIT=1 the plain loop serves.
"""

import numpy as np

from bot4.jit import JIT, inlined

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _I64 = ir.IntType(64)

    def _word(value):
        return ir.Constant(_I64, value)

    @intrinsic
    def _run_of_digits(typing_context, array, index):
        """(how many of the eight bytes from `index` on are digits before the first other one, their value)."""
        signature = types.UniTuple(types.int64, 2)(array, types.intp)

        def generate(context, builder, sig, args):
            data = context.make_array(sig.args[0])(context, builder, args[0]).data
            pointer = builder.bitcast(builder.gep(data, [args[1]]), _I64.as_pointer())
            digits = builder.xor(builder.load(pointer, align=1), _word(0x3030303030303030))
            above = builder.or_(builder.add(digits, _word(0x7676767676767676)), digits)
            others = builder.and_(above, _word(0x8080808080808080))
            # a carry out of a byte can only reach bytes behind one that is no digit itself
            count = builder.lshr(builder.cttz(others, ir.Constant(ir.IntType(1), 0)), _word(3))
            # to the top of the word: zeros before the digits. A shift by 64 is none: it is done in two steps.
            half = builder.shl(builder.sub(_word(8), count), _word(2))
            value = builder.shl(builder.shl(digits, half), half)
            for mask, factor, shift in (
                (0x0F0F0F0F0F0F0F0F, 2_561, 8),
                (0x00FF00FF00FF00FF, 6_553_601, 16),
                (0x0000FFFF0000FFFF, 42_949_672_960_001, 32),
            ):
                value = builder.lshr(builder.mul(builder.and_(value, _word(mask)), _word(factor)), _word(shift))
            return context.make_tuple(builder, sig.return_type, [count, value])

        return signature, generate

    @inlined
    def run_of_digits(text, at):
        """How many digits there are from text[at] on, at most eight, and their value.

        Parameters
        ----------
        text : uint8[N]
        at : int64; fewer than eight bytes before the array's end are read one by one

        Returns
        -------
        (int64, int64) : count, value

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_digits.py
        """
        if at + 8 <= len(text):
            return _run_of_digits(text, at)
        value = np.int64(0)
        count = np.int64(0)
        while at + count < len(text) and 48 <= text[at + count] <= 57:
            value = value * 10 + (np.int64(text[at + count]) - 48)
            count += 1
        return count, value

else:

    def run_of_digits(text, at):
        """Plain fallback: a digit a step."""
        count = 0
        while count < 8 and at + count < len(text) and 48 <= text[at + count] <= 57:
            count += 1
        return np.int64(count), np.int64(int(text[at : at + count].tobytes() or b"0"))

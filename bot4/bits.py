"""The lowest bit of a word, by the one instruction that there is for it.

Under NUMBA_DISABLE_JIT=1 plain Python serves.
"""

from bot4.jit import JIT, inlined

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def _trailing_zeros(typing_context, bits):
        def generate(context, builder, sig, args):
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

        return types.int64(types.int64), generate

    @inlined
    def lowest_bit(bits):
        """Number of the lowest bit that is set, 0 to 63.

        Parameters
        ----------
        bits : int64, not 0

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_bits.py
        """
        return _trailing_zeros(bits)

else:

    def lowest_bit(bits):
        """Plain fallback."""
        return (int(bits) & -int(bits)).bit_length() - 1

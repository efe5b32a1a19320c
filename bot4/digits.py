"""Eight bytes at a time: digits, letters of names and strings, what a scanner does most.

A byte a step costs a nanosecond, and a quote has a hundred and fifty of them, seventy of them digits. Eight are loaded
as one word; what is no digit in it is found, and the digits before that are summed, by a handful of instructions
without a branch. So are the end of a string, and a name in letters of any case.

Under NUMBA_DISABLE_JIT=1 the plain loop serves.
"""

import numpy as np

from bot4.jit import JIT, inlined, outlined

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _I64 = ir.IntType(64)

    def _word(value):
        return ir.Constant(_I64, value)

    _HIGH, _LOW = 0x8080808080808080, 0x7F7F7F7F7F7F7F7F  # bits of each byte

    def _each(byte):
        return _word(byte * 0x0101010101010101)

    def _is_at_least(builder, word, byte):
        """High bits of the bytes below 128 that are at least `byte`: what is above 127 has to be told apart."""
        return builder.add(builder.and_(word, _word(_LOW)), _each(128 - byte))

    @intrinsic
    def _word_at(typing_context, array, index):
        """The eight bytes from `index` on as one word."""

        def generate(context, builder, sig, args):
            data = context.make_array(sig.args[0])(context, builder, args[0]).data
            return builder.load(builder.bitcast(builder.gep(data, [args[1]]), _I64.as_pointer()), align=1)

        return types.int64(array, types.intp), generate

    @intrinsic
    def _upper_word(typing_context, word, count):
        """The first `count` (1 to 8) bytes, small letters as capitals, zeros behind them."""

        def generate(context, builder, sig, args):
            unused = builder.shl(builder.sub(_word(8), args[1]), _word(3))
            word = builder.lshr(builder.shl(args[0], unused), unused)
            small = builder.xor(_is_at_least(builder, word, 97), _is_at_least(builder, word, 123))
            small = builder.and_(small, builder.and_(builder.not_(word), _word(_HIGH)))
            return builder.sub(word, builder.lshr(small, _word(2)))

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def _run_of_plain(typing_context, word):
        """How many bytes stand before the first that ends a string or has no place in one."""

        def generate(context, builder, sig, args):
            word = args[0]
            others = builder.not_(_is_at_least(builder, word, 32))
            others = builder.or_(others, builder.or_(word, _is_at_least(builder, word, 127)))
            for byte in (34, 92):
                same = builder.xor(word, _each(byte))
                others = builder.or_(others, builder.not_(_is_at_least(builder, same, 1)))
            others = builder.and_(others, _word(_HIGH))
            return builder.lshr(builder.cttz(others, ir.Constant(ir.IntType(1), 0)), _word(3))

        return types.int64(types.int64), generate

    @intrinsic
    def _run_before(typing_context, word, byte):
        """How many bytes stand before the first that is `byte`."""

        def generate(context, builder, sig, args):
            same = builder.xor(args[0], builder.mul(args[1], _each(1)))
            others = builder.or_(same, _is_at_least(builder, same, 1))
            others = builder.and_(builder.not_(others), _word(_HIGH))
            return builder.lshr(builder.cttz(others, ir.Constant(ir.IntType(1), 0)), _word(3))

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def _run_of_digits(typing_context, word):
        """(how many digits stand before the first byte that is none, their value)."""
        signature = types.UniTuple(types.int64, 2)(types.int64)

        def generate(context, builder, sig, args):
            digits = builder.xor(args[0], _each(0x30))
            above = builder.or_(builder.add(digits, _each(0x76)), digits)
            others = builder.and_(above, _word(_HIGH))
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

    @outlined
    def _last_word(text, at):
        """As `word_at`, near the array's end."""
        value = np.int64(0)
        for index in range(min(len(text) - at, 8)):
            value |= np.int64(text[at + index]) << (8 * index)
        return value

    @inlined
    def word_at(text, at):
        """The eight bytes from text[at] on as one little-endian word, int64; zeros behind the array's end.

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_digits.py
        """
        return _word_at(text, at) if at + 8 <= len(text) else _last_word(text, at)

    @inlined
    def run_of_digits(text, at):
        """How many digits there are from text[at] on, at most eight, and their value: (int64, int64).

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_digits.py
        """
        return _run_of_digits(word_at(text, at))

    @inlined
    def upper_word(text, at, count):
        """The `count` (1 to 8) bytes from text[at] on as one word, letters as capitals, zeros behind them: `word_at`.

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_digits.py
        """
        return _upper_word(word_at(text, at), np.int64(count))

    @inlined
    def run_of_plain(text, at):
        """How many of the eight bytes from text[at] on are plain: 32 to 126, no quote and no backslash.

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_digits.py
        """
        return _run_of_plain(word_at(text, at))

    @inlined
    def run_before(text, at, byte):
        """How many of the eight bytes from text[at] on stand before the first that is `byte`; 8: none is.

        Notes
        -----
        Complexity: O(1). Twin: tests/unit/test_digits.py
        """
        return _run_before(word_at(text, at), np.int64(byte))

else:

    def _as_word(data):
        return np.int64(int.from_bytes(data.tobytes(), "little", signed=len(data) == 8))

    def word_at(text, at):
        """Plain fallback."""
        return _as_word(text[at : at + 8])

    def upper_word(text, at, count):
        """Plain fallback."""
        data = text[at : at + count]
        return _as_word(np.where((data >= 97) & (data <= 122), data - 32, data).astype(np.uint8))

    def run_of_plain(text, at):
        """Plain fallback: a byte a step."""
        count = 0
        while count < 8 and at + count < len(text) and 32 <= text[at + count] <= 126:
            if text[at + count] in (34, 92):
                break
            count += 1
        return np.int64(count)

    def run_before(text, at, byte):
        """Plain fallback: a byte a step."""
        return np.int64((text[at : at + 8].tobytes().ljust(8, b"\0") + bytes([byte])).index(int(byte)))

    def run_of_digits(text, at):
        """Plain fallback: a digit a step."""
        count = 0
        while count < 8 and at + count < len(text) and 48 <= text[at + count] <= 57:
            count += 1
        return np.int64(count), np.int64(int(text[at : at + count].tobytes() or b"0"))

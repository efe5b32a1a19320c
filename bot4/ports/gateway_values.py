"""The texts that every private side reads and writes: numbers in our units, exact or refused; and the key."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

import msgspec

E8 = 100_000_000
_MOST = 2**63  # of money in 1e-8
_MOST_UNITS = 2**53  # of ticks or lots: sums of many still fit
_MOST_MS = 4_000_000_000_000  # 2096; times in ns fit, whatever the clocks' offset is

# what reading an answer that is none may raise
UNREADABLE = (msgspec.DecodeError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError)


class Keys(NamedTuple):
    """Who we are to the venue; its text shows nothing of it."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "Keys(...)"


def decimal_text(value_e8: int, decimals: int) -> str:
    """An amount in 1e-8 with so many decimals."""
    whole, rest = divmod(value_e8, E8)
    return f"{whole}.{rest:08d}"[: decimals - 8 or None] if decimals else str(whole)


def _bounded(scaled: Decimal) -> int:
    if not -_MOST < scaled < _MOST:
        raise ValueError(f"{scaled:.3e} does not fit")
    return int(scaled)


def exact_e8(text: str) -> int:
    """Exact, in 1e-8; ValueError, ArithmeticError."""
    scaled = Decimal(text).scaleb(8)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text} has more than eight decimals")
    return _bounded(scaled)


def paid_e8(text: str) -> int:
    """A fee in 1e-8, rounded against us; ValueError, ArithmeticError."""
    return _bounded(Decimal(text or "0").scaleb(8).to_integral_value(ROUND_CEILING))


def fee_ppm(text: str) -> int:
    """A share of the value in millionths, rounded against us; ValueError, ArithmeticError."""
    if not -1 <= Decimal(text) <= 1:
        raise ValueError("a fee of more than the value")
    return int((Decimal(text) * 1_000_000).to_integral_value(ROUND_CEILING))


def units(text: str, unit_e8: int) -> int:
    """Ticks or lots, none below zero; ValueError, ArithmeticError."""
    found, rest = divmod(exact_e8(text or "0"), unit_e8)
    if rest or not 0 <= found < _MOST_UNITS:
        raise ValueError(f"{text} is no multiple that can be")
    return found


def lots_and_part(text: str, lot_e8: int) -> tuple[int, int]:
    """Whole lots of a coin and what is beyond them in 1e-8, none below zero; ValueError, ArithmeticError."""
    lots, part_e8 = divmod(exact_e8(text or "0"), lot_e8)
    if not 0 <= lots < _MOST_UNITS:
        raise ValueError(f"{text} cannot be")
    return lots, part_e8


def milliseconds(text: str | int) -> int:
    """A time; ValueError."""
    value = int(text)
    if not 0 <= value < _MOST_MS:
        raise ValueError(f"{text} is no time")
    return value


def word(row: Mapping[str, Any], name: str) -> str:
    """A field that is text; TypeError."""
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def reason_of(error: BaseException) -> str:
    """Why something could not be read, in short."""
    return f"{type(error).__name__}: {str(error)[:100]}"

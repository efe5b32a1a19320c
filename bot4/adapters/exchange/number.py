"""Decimals of the protocol: text to whole numbers of 1e-8 and back, exactly. No float is in between."""

import re

from bot4.adapters.exchange.refusal import Refused

E8 = 100_000_000
DECIMALS = 8
_WHOLE_DIGITS = 20
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
MAX_E8 = 2**62  # beyond it no amount is taken: two of them still add up in an int64


def parse_e8(text: str, name: str) -> int:
    """A decimal of a request in 1e-8; Refused with the venue's code if it is none, too precise or too large."""
    if not _DECIMAL.fullmatch(text):
        raise Refused(-1100, _illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$"))
    whole, _, part = text.partition(".")
    if len(part) > DECIMALS:
        if part[DECIMALS:].strip("0"):
            raise Refused(-1111, f"Parameter '{name}' has too much precision.")
        part = part[:DECIMALS]
    value = int(whole) * E8 + (int(part.ljust(DECIMALS, "0")) if part else 0)
    if value >= MAX_E8:
        raise Refused(-1108, f"Parameter '{name}' overflowed.")
    return value


def parse_whole(text: str, name: str) -> int:
    """A whole number of a request below 2**63, or Refused."""
    if not (text.isascii() and text.isdigit() and len(text) <= _WHOLE_DIGITS):
        raise Refused(-1100, _illegal(name, "^[0-9]{1,20}$"))
    value = int(text)
    if value >= 2**63:
        raise Refused(-1108, f"Parameter '{name}' overflowed.")
    return value


def text_e8(value_e8: int) -> str:
    """1e-8 as the venue writes it: always eight decimals."""
    if value_e8 < 0:
        return f"-{-value_e8 // E8}.{-value_e8 % E8:08d}"
    return f"{value_e8 // E8}.{value_e8 % E8:08d}"


def mul_e8(left_e8: int, right_e8: int) -> int:
    """The product of two decimals in 1e-8, rounded down (Python's integers do not wrap)."""
    return left_e8 * right_e8 // E8


def _illegal(name: str, legal: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."

"""What a field of the settings may hold: each bound has a name, a range, a unit, and a check that says the fix.

A bound stands in the annotation of its field (`schema`), so the loader checks every field the same way and the tests
are generated from the same place. No field is a float: money and sizes are decimal strings, ratios whole basis points.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

E8_UNIT = Decimal("0.00000001")
DECIMAL_TEXT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
MAX_PARAMETERS = 256
MAX_PARAMETER = 1e15  # beyond it a float no longer holds every whole number with room to spare


def shown(value: Any) -> str:
    """A value as the error shows it: one line, bounded."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Integer:
    """A whole number in low .. high."""

    name: str
    low: int
    high: int
    unit: str

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        if type(value) is int and self.low <= value <= self.high:
            return None
        fix = f"write a whole number of {self.unit}, {self.low} to {self.high}"
        if type(value) is not int:
            return f"{shown(value)} is no whole number without quotes, as {self.name} wants it; {fix}"
        return f"{shown(value)} is outside {self.name}; {fix}"


@dataclass(frozen=True)
class Amount:
    """A decimal string in low .. high, an exact multiple of `step`."""

    name: str
    low: str
    high: str
    unit: str
    step: Decimal = E8_UNIT

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        fix = f'write a decimal string of {self.unit}, "{self.low}" to "{self.high}"'
        if type(value) in (int, float) and DECIMAL_TEXT.fullmatch(str(value)):
            return f'{shown(value)} is a number without quotes; {fix}, such as "{value}"'
        if not isinstance(value, str) or not DECIMAL_TEXT.fullmatch(value):
            return f"{shown(value)} is not a plain decimal number; {fix}"
        number = Decimal(value)
        if not Decimal(self.low) <= number <= Decimal(self.high):
            return f"{shown(value)} is outside {self.name}; {fix}"
        if number % self.step != 0:
            return f"{shown(value)} is not a multiple of {self.step:f}; {fix}"
        return None


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    name: str
    options: tuple[str, ...]

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        if isinstance(value, str) and value in self.options:
            return None
        return f"{shown(value)} is no {self.name}; write one of " + ", ".join(f'"{option}"' for option in self.options)


@dataclass(frozen=True)
class Truth:
    """Yes or no."""

    name: str

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        return None if isinstance(value, bool) else f"{shown(value)} is no {self.name}; write true or false"


@dataclass(frozen=True)
class Text:
    """A text of a known form."""

    name: str
    pattern: str
    form: str

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return None
        return f"{shown(value)} is no {self.name}; write {self.form}"


@dataclass(frozen=True)
class AutoInteger:
    """A whole number in low .. high, or "auto"."""

    name: str
    low: int
    high: int
    unit: str

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        if value == "auto" or (type(value) is int and self.low <= value <= self.high):
            return None
        fix = f'write "auto" or a number of {self.unit}, {self.low} to {self.high}'
        return f"{shown(value)} is outside {self.name}; {fix}"


@dataclass(frozen=True)
class AutoCores:
    """Different core numbers in 0 .. high, or "auto"."""

    name: str
    high: int

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        if value == "auto":
            return None
        fix = f'write "auto" or a list of different core numbers, 0 to {self.high}'
        if not isinstance(value, list | tuple) or not value or len(value) > self.high + 1:
            return f"{shown(value)} is no {self.name}; {fix}"
        if any(type(core) is not int or not 0 <= core <= self.high for core in value) or len(set(value)) < len(value):
            return f"{shown(value)} is no {self.name}; {fix}"
        return None


@dataclass(frozen=True)
class Parameters:
    """Named finite numbers: what the strategy's own record takes is checked against that record when it is built."""

    name: str

    def refusal(self, value: Any) -> str | None:
        """Why `value` is refused and the fix, or None."""
        if not isinstance(value, dict) or len(value) > MAX_PARAMETERS:
            return f"{shown(value)} is no table of at most {MAX_PARAMETERS} numbers; write name = number"
        for name, number in value.items():
            if not re.fullmatch("[a-z][a-z0-9_]{0,63}", name):
                return f"{shown(name)} is no parameter name; write lower-case letters, digits and underscores"
            if type(number) not in (int, float) or not -MAX_PARAMETER <= number <= MAX_PARAMETER:
                return f"{name} = {shown(number)} is no {self.name}; write a finite number within {MAX_PARAMETER:.0e}"
        return None


Bound = Integer | Amount | Choice | Text | Truth | AutoInteger | AutoCores | Parameters

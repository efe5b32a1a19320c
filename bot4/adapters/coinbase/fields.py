"""The values of Coinbase's messages: decimals and times as texts, and what is wrong with them.

A decimal is digits with at most one point: Coinbase writes neither signs, exponents nor blanks, and Python's own
reading of numbers would accept those, other scripts' digits and NaN besides.
"""

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import NoReturn, TypeVar

import msgspec

from bot4.ports.feed import MessageError

NS = 1_000_000_000

_T = TypeVar("_T")
_LATEST_NS = 2**63 - 1
_EPOCH = date(1970, 1, 1).toordinal()
_TEXT = re.compile(r"[0-9]+(?:\.[0-9]+)?").fullmatch
_NEGATIVE_TEXT = re.compile(r"-[0-9]+(?:\.[0-9]+)?").fullmatch
_SECONDS = re.compile(r"[0-9]{1,10}").fullmatch
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]{1,9}))?Z"
).fullmatch


def fail(reason: str, field: str, value: object) -> NoReturn:
    """Refuse a value by the name of its field."""
    shown = repr(value)
    raise MessageError(reason, f"coinbase {field}: {shown if len(shown) <= 80 else shown[:77] + '...'}")


def read(decoder: "msgspec.json.Decoder[_T]", body: bytes, what: str) -> _T:
    """The typed value of a body; whatever it is not is told as a MessageError."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise MessageError("bad_field", f"coinbase {what}: {error}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MessageError("unparsable", f"coinbase {what}: {error}") from None


def named(value: str, field: str) -> str:
    """A name, which is never empty."""
    return value or fail("bad_field", field, value)


def text(value: str, field: str) -> Decimal:
    """A decimal, zero or above."""
    if not _TEXT(value):
        fail("negative" if _NEGATIVE_TEXT(value) else "bad_number", field, value)
    return Decimal(value)


def text_above(value: str, field: str) -> Decimal:
    """A decimal above zero."""
    return text(value, field) or fail("zero", field, value)


def count(value: int, field: str) -> int:
    """An integer from zero to the largest of 63 bits."""
    if value < 0:
        fail("negative", field, value)
    if value > _LATEST_NS:
        fail("bad_number", field, value)
    return value


def seconds(value: str, field: str) -> int:
    """Nanoseconds of a text of whole seconds since the epoch."""
    nanoseconds = int(value) * NS if _SECONDS(value) else -1
    return nanoseconds if 0 <= nanoseconds <= _LATEST_NS else fail("bad_field", field, value)


@lru_cache(maxsize=64)
def _day_ns(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - _EPOCH) * 86_400 * NS


def moment(value: str, field: str) -> int:
    """Nanoseconds of an RFC 3339 text in UTC, exact to its last digit."""
    match = _RFC3339(value)
    if match is None:
        fail("bad_field", field, value)
    day, hour, minute, second, fraction = match.groups("")
    try:
        start = _day_ns(day)
    except ValueError:
        fail("bad_field", field, value)
    nanoseconds = start + ((int(hour) * 60 + int(minute)) * 60 + int(second)) * NS + int(fraction.ljust(9, "0"))
    return nanoseconds if 0 <= nanoseconds <= _LATEST_NS else fail("bad_field", field, value)

"""Values that venues write as texts, and the refusal of those that are none: for every decoder alike.

Decimals are typed as text and converted here: the Decimal parser itself takes 1e5, NaN, 1_0, blanks and the digits of
other scripts, and an exponent cannot be told from the digits once it is read. Sign, exponent and blanks are damage.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain

from bot4.ports.feed import Level, MessageError

LATEST_NS = 2**63 - 1
_NS = 1_000_000_000
_DAY_NS = 86_400 * _NS
_SHOWN = 40  # characters of a value in a complaint
_EPOCH = date(1970, 1, 1).toordinal()

# bounded: a number of a million digits costs more than its message
_plain = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?").fullmatch
_plain_list = re.compile(r"(?:[0-9]{1,40}+(?:\.[0-9]{1,40}+)?+,)*+").fullmatch
_rfc3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]{1,9}))?Z"
).fullmatch


def not_negative(text: str, field: str) -> Decimal:
    """A decimal from zero on, digits kept. MessageError: bad_number, negative."""
    if _plain(text):
        return Decimal(text)
    if text[:1] == "-" and _plain(text[1:]):
        raise MessageError("negative", f"{field}: {text[:_SHOWN]!r}")
    raise _no_number(text, field)


def positive(text: str, field: str) -> Decimal:
    """A decimal above zero. MessageError: bad_number, negative, zero."""
    value = not_negative(text, field)
    if not value:
        raise MessageError("zero", f"{field}: {text[:_SHOWN]!r} has to be above zero")
    return value


def signed(text: str, field: str) -> Decimal:
    """A decimal of either sign, such as a funding rate. MessageError: bad_number."""
    if _plain(text.removeprefix("-")):
        return Decimal(text)
    raise _no_number(text, field)


def _no_number(text: str, field: str) -> MessageError:
    shown = repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
    return MessageError("bad_number", f"{field}: {shown} is no plain decimal")


def levels(rows: Sequence[tuple[str, str]], field: str) -> list[Level]:
    """One side of a book: prices above zero, quantities from zero on. All are looked at in one go, being many."""
    if not rows:
        return []
    made: list[Level] = []
    if _plain_list(",".join(chain.from_iterable(rows)) + ","):
        with suppress(InvalidOperation):  # a comma within a value
            made = [(Decimal(price), Decimal(qty)) for price, qty in rows]
    if made and all(price for price, _ in made):
        return made
    return [
        (positive(price, f"{field}[{row}][0]"), not_negative(qty, f"{field}[{row}][1]"))
        for row, (price, qty) in enumerate(rows)
    ]


@lru_cache(maxsize=64)
def _day_ns(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - _EPOCH) * _DAY_NS


def moment(text: str, field: str) -> int:
    """Nanoseconds of an RFC 3339 text in UTC, exact to its last digit. MessageError: bad_field."""
    match = _rfc3339(text)
    nanoseconds = -1
    if match is not None:
        day, hour, minute, second, fraction = match.groups("")
        with suppress(ValueError):  # no such day
            nanoseconds = _day_ns(day) + ((int(hour) * 60 + int(minute)) * 60 + int(second)) * _NS
            nanoseconds += int(fraction.ljust(9, "0"))
    if not 0 <= nanoseconds <= LATEST_NS:
        raise MessageError("bad_field", f"{field}: {text[:_SHOWN]!r} is no time in UTC")
    return nanoseconds

"""The values of Kraken's messages: numbers, times, and what is wrong with them.

REST and the first websocket version write decimals as texts, the second as JSON numbers. Both become exact decimals
with the digits kept, because the check sum of a book is made of the digits. Bounded on purpose: a number such as
1e999999 is short on the wire and a megabyte when written out, and a time beyond 63 bits of nanoseconds fits no record.
"""

import re
from decimal import Context, Decimal
from typing import Any, NoReturn, TypeVar

import msgspec

from bot4.ports.feed import MessageError
from bot4.ports.feed_values import moment, not_negative, positive

NS = 1_000_000_000
MINUTE_NS = 60 * NS
WIDE = Context(prec=200, traps=[])  # no price, quantity or time of these messages is rounded in it

_T = TypeVar("_T")
_MAGNITUDE = 60  # decimal places that a number may reach, up or down
_LATEST_NS = 2**63 - 1
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?").fullmatch


def fail(reason: str, field: str, value: object) -> NoReturn:
    """Refuse a value by the name of its field."""
    shown = repr(value)
    raise MessageError(reason, f"kraken {field}: {shown if len(shown) <= 80 else shown[:77] + '...'}")


def read(decoder: "msgspec.json.Decoder[_T]", body: bytes | msgspec.Raw, what: str) -> _T:
    """The typed value of a body; whatever it is not is told as a MessageError."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise MessageError("bad_field", f"kraken {what}: {error}") from None
    except ArithmeticError:
        raise MessageError("bad_number", f"kraken {what}: a number beyond all magnitudes") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MessageError("unparsable", f"kraken {what}: {error}") from None


def named(value: str, field: str) -> str:
    """A name, which is never empty."""
    return value or fail("bad_field", field, value)


def number(value: Any, field: str) -> Decimal:
    """A JSON number, zero or above; integers and exponents are as good as any."""
    if type(value) is int:
        value = Decimal(value)
    elif type(value) is not Decimal:
        fail("bad_field", field, value)
    if value.is_signed():
        fail("negative", field, value)
    if not -_MAGNITUDE <= value.adjusted() <= _MAGNITUDE:
        fail("bad_number", field, value)
    return value


def above(value: Any, field: str) -> Decimal:
    """A JSON number above zero."""
    return number(value, field) or fail("zero", field, value)


def text(value: Any, field: str) -> Decimal:
    """A decimal as text, zero or above; no exponent, no sign, no blank."""
    if type(value) is not str:
        fail("bad_field", field, value)
    return not_negative(value, field)


def text_above(value: Any, field: str) -> Decimal:
    """A decimal as text, above zero."""
    if type(value) is not str:
        fail("bad_field", field, value)
    return positive(value, field)


def count(value: int, field: str, limit: int = _LATEST_NS) -> int:
    """An integer from zero to a limit."""
    if value < 0:
        fail("negative", field, value)
    if value > limit:
        fail("bad_number", field, value)
    return value


def seconds(value: Any, field: str) -> int:
    """Nanoseconds of a text of seconds since the epoch: `1618678133.365913`."""
    match = _SECONDS(value) if type(value) is str else None
    if match is None:
        fail("bad_field", field, value)
    whole, fraction = match.groups("")
    nanoseconds = int(whole) * NS + int(fraction.ljust(9, "0"))
    return nanoseconds if nanoseconds <= _LATEST_NS else fail("bad_field", field, value)


def seconds_number(value: Any, field: str) -> int:
    """Nanoseconds of a JSON number of seconds since the epoch."""
    nanoseconds = int(WIDE.multiply(number(value, field), Decimal(NS)))
    return nanoseconds if nanoseconds <= _LATEST_NS else fail("bad_field", field, value)


def moment_or_none(value: str, field: str) -> int:
    """As `moment`; 0 where the venue sends none."""
    return moment(value, field) if value else 0

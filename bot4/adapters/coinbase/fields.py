"""Coinbase's values beside prices, quantities and times: forms, names, counts, and what is wrong with one."""

import re
from typing import NoReturn, TypeVar

import msgspec

from bot4.ports.feed import MessageError

NS = 1_000_000_000

_T = TypeVar("_T")
_LATEST_NS = 2**63 - 1
_SECONDS = re.compile(r"[0-9]{1,10}").fullmatch


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

"""Values of Bybit's messages: plain decimals, milliseconds, and what is wrong with a value that is neither.

Decimals are typed as text and converted here: the Decimal parser itself takes 1e5, NaN, 1_0 and blanks, and an exponent
cannot be told from the digits once it is read.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, TypeVar

import msgspec

from bot4.ports.feed import Level, MessageError

T = TypeVar("T")


class RestHead(msgspec.Struct):
    """What every REST response begins and ends with."""

    code: int = msgspec.field(name="retCode")
    text: str = msgspec.field(name="retMsg")
    time: int


NS_PER_MS = 1_000_000
LAST_MS = (2**63 - 1) // NS_PER_MS
LAST_ID = 2**63 - 1

_rest_head = msgspec.json.Decoder(RestHead)
_plain = re.compile(r"[0-9]+(?:\.[0-9]+)?").fullmatch
_plain_list = re.compile(r"(?:[0-9]++(?:\.[0-9]++)?+,)*+").fullmatch


def parsed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The message in the decoder's form; MessageError where it is no JSON, or a key is missing or of another kind."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        whole = text.startswith("Expected `object`") and "$" not in text  # JSON, but no message
        raise MessageError("unparsable" if whole else "bad_field", text) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError("unparsable", str(error)) from None


def accepted_at(body: bytes) -> int:
    """When the venue answered a REST request, in ns; MessageError where it refused the request."""
    head = parsed(_rest_head, body)
    if head.code:
        raise MessageError("bad_field", f"retCode: {head.code}, {head.text[:100]}")
    return ns(head.time, "time")


def decimal(text: str, field: str, signed: bool = False) -> Decimal:
    """A decimal without an exponent, exact; not below zero unless `signed`."""
    if _plain(text):
        return Decimal(text)
    if text[:1] != "-" or not _plain(text[1:]):
        raise MessageError("bad_number", f"{field}: {text[:40]!r} is no plain decimal")
    if not signed:
        raise MessageError("negative", f"{field}: {text[:40]}")
    return Decimal(text)


def positive(text: str, field: str) -> Decimal:
    """A decimal above zero."""
    value = decimal(text, field)
    if not value:
        raise MessageError("zero", f"{field}: {text[:40]}")
    return value


def levels(rows: Sequence[tuple[str, str]], field: str) -> list[Level]:
    """Levels of a book: prices above zero, quantities of zero or more. All of them are checked at once, being many."""
    if not rows:
        return []
    made: list[Level] = []
    if _plain_list(",".join(chain.from_iterable(rows)) + ","):
        with suppress(InvalidOperation):  # a comma within a value
            made = [(Decimal(price), Decimal(qty)) for price, qty in rows]
    if made and all(price for price, _ in made):
        return made
    return [
        (positive(price, f"{field}[{row}][0]"), decimal(qty, f"{field}[{row}][1]"))
        for row, (price, qty) in enumerate(rows)
    ]


def ns(ms: int, field: str) -> int:
    """Milliseconds as nanoseconds."""
    if 0 <= ms <= LAST_MS:
        return ms * NS_PER_MS
    raise MessageError("negative" if ms < 0 else "bad_field", f"{field}: {ms} is no time in ms")


def text_ns(text: str, field: str) -> int:
    """Milliseconds written as text, as nanoseconds."""
    if len(text) > 19 or not (text.isascii() and text.isdigit()):
        if text[:1] == "-" and text[1:].isdigit():
            raise MessageError("negative", f"{field}: {text[:40]}")
        raise MessageError("bad_number", f"{field}: {text[:40]!r} is no time in ms")
    return ns(int(text), field)


def ident(value: int, field: str, least: int = 0) -> int:
    """An id that counts up from `least`."""
    if least <= value <= LAST_ID:
        return value
    reason = "negative" if value < 0 else "zero" if value == 0 else "bad_field"
    raise MessageError(reason, f"{field}: {value} is no id")


def same(found: Any, wanted: Any, field: str) -> None:
    """Refuse a value that contradicts another one of its message."""
    if found != wanted:
        raise MessageError("bad_field", f"{field}: {found!r} where the message says {wanted!r}")

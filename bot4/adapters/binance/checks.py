"""What a value in a message of Binance may be, and the refusal of one that is not: a reason and the field's name.

Used by the decoders of messages and of metadata. The venue writes every price and quantity as a string of digits with
at most one point inside; sign, exponent, NaN, white space or a bare number are taken for damage, never for a value.
"""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Annotated

import msgspec

from bot4.ports.feed import Level, MessageError

MAX_NS = 2**63 - 1
MAX_MS = MAX_NS // 1_000_000

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_NS // 1_000)]  # ms, or us where the connection asked for them

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # also ValidationError: a DecodeError of a value

_plain = re.compile(r"[0-9]+(?:\.[0-9]+)?").fullmatch
_any = msgspec.json.Decoder(msgspec.Raw).decode
_SHOWN = 40  # characters of a value in a message


def nanoseconds(time: int) -> int:
    """A time of the venue in ns; it sends ms, or us on a connection that asked for them (no ms is that late)."""
    return time * 1_000_000 if time <= MAX_MS else time * 1_000


def positive(text: str, field: str) -> Decimal:
    """A number above zero."""
    if _plain(text) and (value := Decimal(text)):
        return value
    raise _refused(text, field)


def not_negative(text: str, field: str) -> Decimal:
    """A number from zero on."""
    if _plain(text):
        return Decimal(text)
    raise _refused(text, field)


def signed(text: str, field: str) -> Decimal:
    """A number of either sign, such as a funding rate."""
    if _plain(text.removeprefix("-")):
        return Decimal(text)
    raise _refused(text, field)


def levels(side: Sequence[tuple[str, str]], field: str) -> list[Level]:
    """One side of a book: prices above zero, quantities from zero on.

    All numbers are looked at in one go: only digits, and points that no number begins or ends with. What still is no
    number (empty, two points, the joint itself) Decimal refuses. Only a side with a fault is searched for it.
    """
    if not side:
        return []
    text = "x".join(chain.from_iterable(side)).join("xx")
    if (
        text.isascii()
        and text.replace(".", "").replace("x", "").isdigit()
        and "x." not in text
        and ".x" not in text
        and "xx" not in text
    ):
        try:
            found = [(Decimal(price), Decimal(qty)) for price, qty in side]
        except InvalidOperation:
            found = []
        if found and all(price for price, _ in found):
            return found
    return [
        (positive(price, f"{field}[{at}][0]"), not_negative(qty, f"{field}[{at}][1]"))
        for at, (price, qty) in enumerate(side)
    ]


def refusal(body: bytes, error: Exception) -> MessageError:
    """What msgspec found, as the port's error: a value of the wrong kind, or bytes that are no message at all."""
    try:
        _any(body)
    except NOT_JSON as worse:
        return MessageError("unparsable", str(worse))
    if not isinstance(error, msgspec.ValidationError):
        return MessageError("unparsable", str(error))
    what, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").removeprefix(".data").lstrip(".")
    if missing := re.search(r"required field `(.*)`", what):
        field, what = f"{field}.{missing[1]}".lstrip("."), "missing"
    return MessageError("negative" if what.endswith(">= 0") else "bad_field", f"{field or 'message'}: {what}")


def _refused(text: str, field: str) -> MessageError:
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    if _plain(text):
        return MessageError("zero", f"{field}: {shown} has to be above zero")
    if text.startswith("-") and _plain(text[1:]):
        return MessageError("negative", f"{field}: {shown}")
    return MessageError("bad_number", f"{field}: {shown} is no plain decimal")

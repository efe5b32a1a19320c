"""Values of Bybit's messages beside prices and quantities: forms, milliseconds, ids, and what is wrong with one."""

from typing import Any, TypeVar

import msgspec

from bot4.ports.feed import MessageError

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

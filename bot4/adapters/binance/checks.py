"""What a value in a message of Binance may be, and the refusal of one that is not: a reason and the field's name.

Used by the decoders of messages and of metadata, beside `ports.feed_values` for prices and quantities.
"""

import re
from typing import Annotated

import msgspec

from bot4.ports.feed import MessageError

MAX_NS = 2**63 - 1
MAX_MS = MAX_NS // 1_000_000

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_NS // 1_000)]  # ms, or us where the connection asked for them

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # also ValidationError: a DecodeError of a value

_any = msgspec.json.Decoder(msgspec.Raw).decode


def nanoseconds(time: int) -> int:
    """A time of the venue in ns; it sends ms, or us on a connection that asked for them (no ms is that late)."""
    return time * 1_000_000 if time <= MAX_MS else time * 1_000


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

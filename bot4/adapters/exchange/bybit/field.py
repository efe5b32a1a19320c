"""Fields of a request: texts of a query or values of a JSON body, each read as what the endpoint wants of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bot4.adapters.exchange.bybit.refusal import bad
from bot4.adapters.exchange.number import parse_e8, parse_whole
from bot4.adapters.exchange.refusal import Refused

_LINK = re.compile(r"[a-zA-Z0-9_-]{1,36}", re.ASCII)
_MAX_TEXT = 256


class Fields:
    """A request's fields; what nobody reads is no fault here, as at the venue."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def having(self, name: str, value: Any) -> "Fields":
        """The same with one field more."""
        return Fields({**self._values, name: value})

    def text(self, name: str, default: str | None = "") -> str:
        """A text, or a number written as one; where there is none the default, or 10001 without one."""
        value = self._values.get(name)
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int):
            value = str(value)
        if value is None or value == "":
            if default is None:
                raise bad(f"{name} is required")
            return default
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise bad(f"{name} invalid")
        return value

    def choice(self, name: str, values: Sequence[str], default: str | None = None) -> str:
        """One of some texts."""
        found = self.text(name, default)
        if found not in values and found != default:
            raise bad(f"{name} invalid")
        return found

    def decimal(self, name: str, default: int | None = 0) -> int:
        """A decimal in 1e-8, never below zero."""
        found = self.text(name, None if default is None else "")
        if not found:
            return default or 0
        try:
            return parse_e8(found, name)
        except Refused:
            raise bad(f"{name} invalid") from None

    def whole(self, name: str, default: int, least: int = 0, most: int = 2**62) -> int:
        """A whole number within bounds."""
        found = self.text(name)
        if not found:
            return default
        try:
            value = parse_whole(found, name)
        except Refused:
            raise bad(f"{name} invalid") from None
        if not least <= value <= most:
            raise bad(f"{name} invalid")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        return self.choice(name, ("true", "false"), "false") == "true"

    def link(self, name: str = "orderLinkId") -> str:
        """A client's own id: 36 letters, digits, dashes and underscores at most; empty for none."""
        found = self.text(name)
        if found and not _LINK.fullmatch(found):
            raise bad(f"{name} invalid")
        return found

    def size(self, name: str) -> int:
        """How long a list is; 1 where it is none."""
        found = self._values.get(name)
        return max(1, len(found)) if isinstance(found, list) else 1

    def rows(self, name: str, most: int) -> list["Fields"]:
        """A list of objects."""
        found = self._values.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
            raise bad(f"{name} invalid")
        if len(found) > most:
            raise bad(f"at most {most} orders a request")
        return [Fields(row) for row in found]

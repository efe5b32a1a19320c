"""Parameters of requests: the texts of a query, body or JSON object, and the typed values that an endpoint reads."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus

import orjson

from bot4.adapters.exchange.number import parse_e8, parse_whole
from bot4.adapters.exchange.refusal import Refused, missing, not_valid
from bot4.adapters.exchange.symbol import ORDER_TYPES, STP_MODES

Parser = Callable[[str, str], Any]
MAX_PARAMETERS = 64
MAX_SYMBOLS = 100


def _pattern(legal: str) -> Parser:
    form = re.compile(legal, re.ASCII)

    def parse(text: str, name: str) -> str:
        if form.fullmatch(text):
            return text
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'.")

    return parse


def _choice(values: tuple[str, ...], code: int = -1130, text: str = "") -> Parser:
    allowed = frozenset(values)

    def parse(value: str, name: str) -> str:
        if value in allowed:
            return value
        raise Refused(code, text) if text else not_valid(name)

    return parse


def _boolean(text: str, name: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^(true|false)$'.")


def _symbols(text: str, name: str) -> list[str]:
    try:
        symbols = orjson.loads(text)
    except orjson.JSONDecodeError:
        symbols = None
    if not isinstance(symbols, list) or not symbols or len(symbols) > MAX_SYMBOLS:
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is "
                      '\'^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$\'.')  # fmt: skip
    found = [symbol(value if isinstance(value, str) else "", name) for value in symbols]
    if len(set(found)) != len(found):
        raise Refused(-1151, "Symbol is present multiple times in the list.")
    return found


symbol = _pattern("[A-Z0-9-_.]{1,20}")
client_id = _pattern("[a-zA-Z0-9-_]{1,36}")
listen_key = _pattern("[a-zA-Z0-9-_]{1,128}")
time_zone = _pattern("[-+]?[0-9]{1,2}(?::[0-9]{2})?")
symbols = _symbols
boolean = _boolean
decimal = parse_e8
whole = parse_whole
side = _choice(("BUY", "SELL"), -1117, "Invalid side.")
order_type = _choice(ORDER_TYPES, -1116, "Invalid orderType.")
time_in_force = _choice(("GTC", "IOC", "FOK"), -1115, "Invalid timeInForce.")
response_type = _choice(("ACK", "RESULT", "FULL"))
stp_mode = _choice(STP_MODES)
interval = _choice(
    ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"),
    -1120,
    "Invalid interval.",
)  # fmt: skip
ticker_type = _choice(("FULL", "MINI"), -1139, "Invalid ticker type.")
symbol_status = _choice(("TRADING", "HALT", "BREAK", "END_OF_DAY"), -1122, "Invalid symbolStatus.")
window = _pattern("[1-9][0-9]?[mhd]")
replace_mode = _choice(("STOP_ON_FAILURE", "ALLOW_FAILURE"))
restriction = _choice(
    ("ONLY_NEW", "ONLY_PARTIALLY_FILLED"),
    -1145,
    "Invalid cancelRestrictions. It has to be either ONLY_NEW or ONLY_PARTIALLY_FILLED.",
)
rate_exceeded_mode = _choice(("DO_NOTHING", "CANCEL_ONLY"))
text = _pattern("[\\x20-\\x7e]{1,512}")


def split_text(raw: str) -> dict[str, str]:
    """The parameters of a query or a form body, decoded; Refused where a name comes twice or there are too many."""
    found: dict[str, str] = {}
    if not raw:
        return found
    parts = raw.split("&")
    if len(parts) > MAX_PARAMETERS:
        raise Refused(-1101, f"Too many parameters; expected '{MAX_PARAMETERS}' and received '{len(parts)}'.")
    for part in parts:
        if not part:
            continue
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            name, value = unquote_plus(name), unquote_plus(value)
        if name in found:
            raise Refused(-1101, "Duplicate values for a parameter detected.")
        found[name] = value
    return found


def read_parameters(sent: Mapping[str, str], known: Mapping[str, Parser], required: tuple[str, ...]) -> dict[str, Any]:
    """Typed values of what was sent: first what is missing, then what is malformed, then what nobody reads."""
    for name in required:
        if not sent.get(name):
            raise missing(name)
    values: dict[str, Any] = {}
    for name, value in sent.items():
        parse = known.get(name)
        if parse is None:
            continue
        if value == "":
            raise Refused(-1105, f"Parameter '{name}' was empty.")
        values[name] = parse(value, name)
    if len(values) != len(sent):
        if not known:
            raise Refused(-1101, f"Too many parameters; expected '0' and received '{len(sent)}'.")
        raise Refused(
            -1104,
            f"Not all sent parameters were read; read '{len(values)}' parameter(s) but was sent '{len(sent)}'.",
        )
    return values

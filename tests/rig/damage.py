"""Damaged copies of a venue's messages, by class and field: what reliability.md calls the 24 classes of bad data.

A field is found in the bytes of a good message; a class puts something else in its place. What could be true all the
same is named in `could_be_true` with its reason: nobody can refuse it by what it says.
"""

import random
import re
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from rig.market import Market

HOUR_MS = 3_600_000
LEAP = 10**13

PRICE, QTY, RATE, ID, TIME, MOMENT, ENUM, SYMBOL = "price", "qty", "rate", "id", "time", "moment", "enum", "symbol"

# JSON texts that are no good decimal, by class, as venues write decimals: in quotes. {} stands for the true digits.
DECIMALS = {
    "NaN": ['"NaN"', "NaN", '"nan"', '"-NaN"'],
    "infinite": ['"Infinity"', '"-Infinity"', '"inf"', "Infinity", "-Infinity"],
    "minus zero": ['"-0.0"', '"-0"', "-0.0"],
    "negative": ['"-{}"', "-1", '"-1e5"'],
    "zero": ['"0"', '"0.0"', '"0.00000000"', "0"],
    "denormal": ['"4.9e-324"', '"1e-400"', "4.9e-324", '"0.' + "0" * 39 + '1"'],
    "1e308": ['"1e308"', "1e308", '"1' + "0" * 308 + '"'],
    "int64 max": ['"9223372036854775807"', '"9223372036854775808"', '"18446744073709551616"', "9223372036854775807"],
    "off the grid": ['"{}1"', '"{}0001"', '"{}' + "0" * 30 + '1"'],
    "no number": ['""', '" {}"', '"{} "', '"+{}"', '"0x10"', '"1_000"', '"1,5"', '".5"', '"5."', '"1.2.3"', '"true"'],
    "wrong type": ["null", "true", "[]", "{{}}", '["{}"]'],
}
# ... as Kraken writes them: bare
NUMBERS = {
    "NaN": ["NaN", '"NaN"', "nan", "-NaN"],
    "infinite": ["Infinity", "-Infinity", '"Infinity"', "inf", "1e999"],
    "minus zero": ["-0.0", "-0"],
    "negative": ["-{}", "-1", "-1e5"],
    "zero": ["0", "0.0", "0.00000000", "0e5"],
    "denormal": ["4.9e-324", "1e-400", "0." + "0" * 39 + "1"],
    "1e308": ["1e308", "1" + "0" * 308],
    "int64 max": ["9223372036854775807", "9223372036854775808", "18446744073709551616"],
    "off the grid": ["{}1", "{}0001", "{}" + "0" * 30 + "1"],
    "no number": ['""', '"{}"', "+{}", "0x10", "1_000", ".5", "5.", "1.2.3", "01.5"],
    "wrong type": ["null", "true", "[]", "{{}}", "[{}]"],
}
INTEGERS = {
    "NaN": ["NaN", '"NaN"'],
    "infinite": ["Infinity", "-Infinity", "1e999"],
    "minus zero": ["-0", "-0.0"],
    "negative": ["-1", "-{}"],
    "denormal": ["4.9e-324", "1e-400"],
    "1e308": ["1e308", "1.5", "{}.5"],
    "int64 max": ["9223372036854775807", "9223372036854775808", "1" + "0" * 40],
    "wrong type": ["null", "true", "[]", "{{}}", '""', '"{}x"'],
}
TEXTS = {
    "NaN": ['"NaN"', "NaN"],
    "infinite": ['"Infinity"', "Infinity"],
    "negative": ['"-{}"', "-1"],
    "1e308": ['"1e308"', "1e308"],
    "int64 max": ['"9223372036854775807"', "9223372036854775807"],
    "wrong type": ["null", "true", "[]", "{{}}", '""', '"2026-13-41T25:61:61Z"', '"yesterday"'],
}
UNKNOWN = ['"FOO"', '"NA"', '""', "null", "1", "[]", '"buy "', '"{}{}"']
OF_TYPE = {PRICE: DECIMALS, QTY: DECIMALS, RATE: DECIMALS, ID: INTEGERS, TIME: INTEGERS, MOMENT: TEXTS}
SCALES = ("10", "100", "0.01")
SPIKES = ("1.2", "0.8")


class Field(NamedTuple):
    """Where a value stands: group 1 of the pattern is its whole JSON text."""

    name: str
    kind: str
    pattern: re.Pattern[bytes]


def _field(name: str, kind: str, pattern: str) -> Field:
    return Field(name, kind, re.compile(pattern.encode()))


def _key(name: str, kind: str, after: str = "") -> Field:
    return _field(name, kind, after + rf'"{name}":("[^"]*"|[-0-9.]+|true|false)')


def _pairs(bids: str, asks: str) -> list[Field]:
    """Levels as pairs of texts: the first one of each side."""
    made = []
    for key in (bids, asks):
        made.append(_field(f"{key}.price", PRICE, rf'"{key}":\[\[("[^"]*")'))
        made.append(_field(f"{key}.qty", QTY, rf'"{key}":\[\["[^"]*",("[^"]*")'))
    return made


_DATA = '"data":.*?'
_BINANCE_TIMES = [_key("E", TIME, _DATA), _key("T", TIME, _DATA)]
_BYBIT_BOOK = [_key("u", ID, _DATA), _key("ts", TIME), _key("cts", TIME), *_pairs("b", "a"), _key("type", ENUM)]
_KRAKEN_LEVELS = [
    _field(f"{key}.{name}", kind, rf'"{key}":\[{{{before}"{name}":([0-9.]+)')
    for key in ("bids", "asks")
    for name, kind, before in (("price", PRICE, ""), ("qty", QTY, '"price":[0-9.]+,'))
]
_KRAKEN_BOOK = [
    *_KRAKEN_LEVELS,
    _key("checksum", ID),
    _key("timestamp", MOMENT),
    _key("type", ENUM),
    _key("symbol", SYMBOL),
]
_COINBASE = [_key("sequence_num", ID), _key("timestamp", MOMENT)]
_COINBASE_BOOK = [
    *_COINBASE, _key("event_time", MOMENT), _key("price_level", PRICE), _key("new_quantity", QTY), _key("side", ENUM),
    _key("product_id", SYMBOL), _key("type", ENUM),
]  # fmt: skip

FIELDS: dict[tuple[str, str], list[Field]] = {
    ("binance", "quote"): [
        _key("b", PRICE, _DATA), _key("B", QTY), _key("a", PRICE), _key("A", QTY), _key("u", ID), _key("s", SYMBOL),
    ],
    ("binance", "trade"): [
        _key("p", PRICE, _DATA), _key("q", QTY), _key("t", ID), _key("s", SYMBOL), _key("m", ENUM), *_BINANCE_TIMES,
    ],
    ("binance", "mark"): [
        _key("p", PRICE, _DATA), _key("i", PRICE), _key("r", RATE), _key("s", SYMBOL), *_BINANCE_TIMES,
    ],
    ("binance", "depth"): [
        _key("U", ID), _key("u", ID), _key("s", SYMBOL), _key("E", TIME), *_pairs("b", "a"),
    ],
    ("binance", "whole"): [_key("lastUpdateId", ID), *_pairs("bids", "asks")],
    ("bybit", "depth"): [*_BYBIT_BOOK, _key("s", SYMBOL)],
    ("bybit", "whole"): [*_BYBIT_BOOK, _key("s", SYMBOL)],
    ("bybit", "quote"): [*_BYBIT_BOOK, _key("s", SYMBOL)],
    ("bybit", "trade"): [
        _key("T", TIME, _DATA), _key("s", SYMBOL), _key("S", ENUM), _key("v", QTY), _key("p", PRICE), _key("i", ENUM),
        _key("BT", ENUM), _key("ts", TIME),
    ],
    ("bybit", "mark"): [
        _key("markPrice", PRICE), _key("indexPrice", PRICE), _key("fundingRate", RATE), _key("symbol", SYMBOL),
        _key("bid1Price", PRICE), _key("ask1Size", QTY), _key("ts", TIME),
    ],
    ("kraken", "depth"): _KRAKEN_BOOK,
    ("kraken", "whole"): _KRAKEN_BOOK,
    ("kraken", "quote"): [
        _key("bid", PRICE), _key("bid_qty", QTY), _key("ask", PRICE), _key("ask_qty", QTY), _key("symbol", SYMBOL),
    ],
    ("kraken", "trade"): [
        _key("side", ENUM), _key("price", PRICE), _key("qty", QTY), _key("trade_id", ID), _key("timestamp", MOMENT),
        _key("symbol", SYMBOL),
    ],
    ("coinbase", "depth"): _COINBASE_BOOK,
    ("coinbase", "whole"): _COINBASE_BOOK,
    ("coinbase", "quote"): [
        *_COINBASE, _key("best_bid", PRICE), _key("best_bid_quantity", QTY), _key("best_ask", PRICE),
        _key("best_ask_quantity", QTY), _key("product_id", SYMBOL),
    ],
    ("coinbase", "trade"): [
        *_COINBASE, _key("trade_id", ENUM), _key("price", PRICE), _key("size", QTY), _key("time", MOMENT),
        _key("side", ENUM), _key("product_id", SYMBOL),
    ],
}  # fmt: skip


def put(body: bytes, field: Field, text: str) -> bytes:
    """The body with another text of the field; b"" if it has none."""
    found = field.pattern.search(body)
    if not found:
        return b""
    true = found[1].decode().strip('"')
    made = text.replace("{{}}", "\0").replace("{}", true).replace("\0", "{}")
    return body[: found.start(1)] + made.encode() + body[found.end(1) :]


def value_of(body: bytes, field: Field) -> tuple[str, bool]:
    """(digits, whether they stand in quotes)."""
    found = field.pattern.search(body)
    assert found, (field, body)
    text = found[1].decode()
    return text.strip('"'), text.startswith('"')


def _scaled(body: bytes, field: Field, factor: str) -> str:
    true, quoted = value_of(body, field)
    made = Decimal(true) * Decimal(factor)
    text = f"{made.quantize(Decimal(true)):f}"
    return f'"{text}"' if quoted else text


def _shifted(body: bytes, field: Field, ms: int) -> str:
    """A time moved; 0 for none: as 1970."""
    true, _ = value_of(body, field)
    if field.kind == TIME:
        return str(int(true) + ms if ms else 0)
    if not ms:
        return '"1970-01-01T00:00:00Z"'
    hour = (int(true[11:13]) + ms // HOUR_MS) % 24
    return f'"{true[:11]}{hour:02d}{true[13:]}"'


def classes_of(field: Field, quoted: bool) -> list[str]:
    """Every class that a field of this kind can have."""
    table = _table(field, quoted)
    made = [cls for cls in table if not (field.kind == RATE and cls in ("negative", "zero", "minus zero"))]
    return made + {
        PRICE: ["scale", "spike"],
        ID: ["back", "leap"],
        TIME: ["time back", "time +1 h", "time 0"],
        MOMENT: ["time back", "time +1 h", "time 0"],
        ENUM: ["unknown enum"],
        SYMBOL: ["wrong symbol"],
    }.get(field.kind, [])


def _table(field: Field, quoted: bool) -> dict[str, list[str]]:
    table = OF_TYPE.get(field.kind, {})
    return NUMBERS if table is DECIMALS and not quoted else table


def _text(field: Field, cls: str, body: bytes, source: random.Random) -> str:
    """What takes the place of the field's text."""
    true, quoted = value_of(body, field)
    if cls in ("scale", "spike"):
        return _scaled(body, field, source.choice(SCALES if cls == "scale" else SPIKES))
    if cls == "back":
        return str(max(int(true) - source.choice((7, 3)), 0))
    if cls == "leap":
        return str(int(true) + LEAP)
    if cls.startswith("time"):
        return _shifted(body, field, {"time back": -HOUR_MS, "time +1 h": HOUR_MS, "time 0": 0}[cls])
    if cls == "unknown enum":
        return source.choice(UNKNOWN)
    if cls == "wrong symbol":
        return source.choice(STRANGERS)
    return source.choice(_table(field, quoted)[cls])


STRANGERS = ['"ETHUSDT"', '"ETH/USD"', '"ETH-USD"', '""', "null", '"{}X"']


Whole = dict[str, Callable[[bytes, random.Random], bytes]]
WHOLE: Whole = {
    "truncated": lambda body, source: body[: source.randrange(1, len(body) - 1)],
    "huge": lambda body, source: (
        source.choice((b"x", b"[", b"\xff", b'"', b"9", b"{")) * source.randrange(5_000, 50_000)
    ),
    "wrong type": lambda body, source: source.choice((b"\xff\xfe" + body, body + b"}", b"", b"null", b"[]", b" ")),
}


def family(venue: str) -> str:
    """Whose words a venue speaks."""
    return venue.partition("_")[0]


def is_id(venue: str, about: str, name: str) -> bool:
    """Whether a field numbers its messages."""
    field = FIELD.get((family(venue), about, name))
    return field is not None and field.kind == ID


def cells(venue: str, about: str, body: bytes) -> list[tuple[str, str]]:
    """(field, class) of everything that can be done to one value of such a message, or to the message."""
    fields = [field for field in FIELDS[family(venue), about] if field.pattern.search(body)]
    made = [(field.name, cls) for field in fields for cls in classes_of(field, value_of(body, field)[1])]
    return [*made, *(("message", cls) for cls in WHOLE)]


def damage(venue: str, about: str, cell: tuple[str, str], body: bytes, source: random.Random) -> bytes | None:
    """One damaged copy of a message; None if it has no such field."""
    name, cls = cell
    if name == "message":
        return WHOLE[cls](body, source)
    field = FIELD[family(venue), about, name]
    return put(body, field, _text(field, cls, body, source)) if field.pattern.search(body) else None


FIELD = {(*key, field.name): field for key, fields in FIELDS.items() for field in fields}


# --- what is wrong with a message only beside the book, or beside the one before --------------------------------------

BOTH_SIDES = {  # price and quantity of a bid, price and quantity of an ask
    ("binance", "quote"): ("b", "B", "a", "A"),
    ("binance", "depth"): ("b.price", "b.qty", "a.price", "a.qty"),
    ("binance", "whole"): ("bids.price", "bids.qty", "asks.price", "asks.qty"),
    ("bybit", "quote"): ("b.price", "b.qty", "a.price", "a.qty"),
    ("bybit", "depth"): ("b.price", "b.qty", "a.price", "a.qty"),
    ("bybit", "whole"): ("b.price", "b.qty", "a.price", "a.qty"),
    ("kraken", "quote"): ("bid", "bid_qty", "ask", "ask_qty"),
    ("kraken", "depth"): ("bids.price", "bids.qty", "asks.price", "asks.qty"),
    ("kraken", "whole"): ("bids.price", "bids.qty", "asks.price", "asks.qty"),
    ("coinbase", "quote"): ("best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"),
    ("coinbase", "depth"): ("price_level", "new_quantity", "price_level", "new_quantity"),
    ("coinbase", "whole"): ("price_level", "new_quantity", "price_level", "new_quantity"),
}
RELATIVE = ("crossed", "locked", "empty side", "duplicate")
_OFFER = re.compile(rb'"updates":\[\{"side":"offer"')


def relatives(venue: str, about: str) -> list[tuple[str, str]]:
    """The cells that need the market to be made."""
    made = ["duplicate"] if about != "whole" else []
    if (family(venue), about) in BOTH_SIDES:
        made += ["crossed", "locked", *(["empty side"] if about != "quote" else [])]
    return [("message", cls) for cls in made]


def crossing(market: Market, about: str, body: bytes, apart: int) -> bytes:
    """The message with a level at the other side's best price (apart 0), or so many ticks beyond it."""
    key = family(market.venue), about
    bid_price, bid_qty, ask_price, ask_qty = BOTH_SIDES[key]
    bids, asks = market.top(1)
    of_bids = FIELD[*key, bid_price].pattern.search(body) and not _OFFER.search(body)
    ticks = asks[0][0] + apart if of_bids else bids[0][0] - apart
    price, qty = (bid_price, bid_qty) if of_bids else (ask_price, ask_qty)
    for name, text in ((price, market.price(ticks)), (qty, market.qty(10**4))):
        field = FIELD[*key, name]
        body = put(body, field, f'"{text}"' if value_of(body, field)[1] else text)
    return body


# --- what nobody can refuse -------------------------------------------------------------------------------------------

_TIMES = {"time back", "time +1 h", "time 0", "minus zero", "wrong type"}
_UNUSED = {"scale", "spike", "zero", "denormal", "off the grid", "no number", "wrong type"}
_LEVEL = {"zero", "denormal", "off the grid"}
_OTHER_IDS = {"minus zero", "int64 max", "back", "leap"}
_NAMES = {("bybit", "i"), ("coinbase", "trade_id"), ("kraken", "trade_id")}


def could_be_true(venue: str, about: str, cell: tuple[str, str]) -> str:
    """Why such a message may be taken; "": it has to be refused, and counted, each time."""
    name, cls = cell
    key = family(venue), about
    field = FIELD.get((*key, name))
    kind = field.kind if field else ""
    if kind in (TIME, MOMENT) and cls in _TIMES:
        return "the venue's own time decides nothing"
    if name == "sequence_num":
        return "a hole in the numbers: the connection is given up" if cls in ("leap", "int64 max") else ""
    if about == "quote" and key[0] != "binance":
        if (kind in (PRICE, QTY) and cls in _UNUSED) or (kind == ID and cls in _OTHER_IDS) or cls == "duplicate":
            return "quotes are made of the book: the venue's own are looked at, and not used"
    if about in ("depth", "whole") and kind == QTY and (cls in _LEVEL or (key[0] == "kraken" and cls == "minus zero")):
        return "zero takes a level out, and what is finer than a lot is cut"
    if about in ("depth", "whole") and kind == PRICE and cls in ("scale", "spike"):
        return "a level may lie that deep"
    if about == "mark" and (cls in _UNUSED or cls in ("int64 max", "duplicate")) and kind not in (TIME, SYMBOL):
        return "" if name == "message" and cls != "duplicate" else "marks decide nothing, and may tell only some of it"
    if about == "whole" and kind == ID and cls in _OTHER_IDS and name != "checksum":
        return "the change that follows does not fit"
    if (key[0], name) in _NAMES and cls in ("unknown enum", "int64 max"):
        return "a trade's id may be any name"
    if (key, name, cls) == (("binance", "depth"), "U", "back"):
        return "of futures the update before says it"
    if key == ("kraken", "depth") and cls == "duplicate":
        return "the same levels again change nothing"
    return ""

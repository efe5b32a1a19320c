"""Texts of Bybit v5: decimals, ids of orders and executions, intervals of bars."""

import hashlib

from bot4.adapters.exchange.number import E8, text_e8

INTERVALS = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "720": "12h", "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip
_SPOT_BASE = 2_000_000_000_000_000_000  # ids of spot are decimal numbers of 19 digits


def plain(value_e8: int) -> str:
    """1e-8 without zeros that say nothing: 0, 1.5, 100."""
    return text_e8(value_e8).rstrip("0").rstrip(".")


def scaled(value_e8: int, decimals: int) -> str:
    """1e-8 with so many decimals, as the venue writes prices and quantities of a symbol."""
    text = text_e8(value_e8)
    return text[: len(text) - 8 + decimals] if decimals else text[:-9]


def average(value_e8: int, qty_e8: int, decimals: int) -> str:
    """An average price, cut; empty where there is none."""
    return scaled(value_e8 * E8 // qty_e8, decimals) if qty_e8 else ""


def _mixed(seed: int, kind: str, number: int) -> str:
    return hashlib.blake2b(f"{seed}.{kind}.{number}".encode(), digest_size=10).hexdigest()


def order_text(seed: int, number: int, is_linear: bool) -> str:
    """The id of an order as clients see it: the same for the same seed."""
    if not is_linear:
        return str(_SPOT_BASE + number)
    mixed = _mixed(seed, "order", number)
    return f"{mixed[:8]}-{mixed[8:12]}-4{mixed[12:15]}-8{mixed[15:18]}-{number:012x}"


def order_number(text: str) -> int | None:
    """The number within an order's id, None if it can be none; whose id it is has to be compared."""
    if text.isascii() and text.isdigit() and len(text) == 19:
        return int(text) - _SPOT_BASE
    tail = text.rpartition("-")[2]
    if len(text) == 36 and len(tail) == 12 and all(letter in "0123456789abcdef" for letter in tail):
        return int(tail, 16)
    return None


def trade_text(seed: int, symbol: str, number: int) -> str:
    """The id of a trade, which both sides and the public see."""
    mixed = _mixed(seed, symbol, number)
    return f"{mixed[:8]}-{mixed[8:12]}-5{mixed[12:15]}-8{mixed[15:18]}-{number:012x}"

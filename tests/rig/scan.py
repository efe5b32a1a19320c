"""Runs the scanner on single messages and says what it found in the twin's words."""

from decimal import Decimal

import numpy as np
from reference.kernels.scan import Listing, RefMessage

from bot4.kernels.scan import scanned as scan
from bot4.kernels.scan.binance import scan_message
from bot4.kernels.scan.scanned import LISTING, RULE_FUTURES, RULE_SPOT, scanned_memory
from bot4.model.enums import INPUT_REASONS, KIND_NAMES

SPOT = Listing("BTCUSDT", Decimal("0.01"), Decimal("0.00001"), False)
USDM = Listing("BTCUSDT", Decimal("0.10"), Decimal("0.001"), True)
COARSE = Listing("BTCUSDT", Decimal("0.5"), Decimal("25"), False)

_WORDS = {
    "quote": {"u": scan.LAST_ID, "b": scan.BID, "B": scan.BID_LOTS, "a": scan.ASK, "A": scan.ASK_LOTS},
    "trade": {"t": scan.TRADE_ID, "p": scan.PRICE, "q": scan.QTY},
    "depth": {"U": scan.FIRST_ID, "u": scan.LAST_ID, "pu": scan.PREVIOUS_ID},
    "mark": {"p": scan.MARK, "i": scan.INDEX, "r": scan.RATE},
}
_SCANNED = scanned_memory()
_MESSAGE, _PRICES, _LOTS = _SCANNED.message, _SCANNED.prices, _SCANNED.lots


def record(listing: Listing) -> np.ndarray:
    """LISTING[1] of the twin's listing."""
    made = np.zeros(1, LISTING)
    row = made[0]
    row["price_decimals"], row["qty_decimals"] = listing.decimals
    row["tick_units"] = int(listing.tick.scaleb(listing.decimals[0]))
    row["lot_units"] = int(listing.lot.scaleb(listing.decimals[1]))
    row["rule"] = RULE_FUTURES if listing.futures else RULE_SPOT
    row["symbol_length"] = len(listing.symbol)
    row["symbol"][: len(listing.symbol)] = np.frombuffer(listing.symbol.encode(), np.uint8)
    return made


def fast_message(text: bytes, listing: Listing) -> RefMessage:
    """One message through the scanner. What lies behind its newline must not matter, so something is put there."""
    found = [_once(text, listing, behind) for behind in (b"", b'"}]}]}}\n')]
    assert found[0] == found[1]
    return found[0]


def _once(text: bytes, listing: Listing, behind: bytes) -> RefMessage:
    line = np.frombuffer(b"9 " + text + b"\n" + behind, np.uint8).copy()
    reason = scan_message(line, np.int64(2), np.int64(len(line)), record(listing)[0], _MESSAGE, _PRICES, _LOTS)
    assert _MESSAGE[scan.LINE_END] == 2 + len(text)
    kind = KIND_NAMES[_MESSAGE[scan.KIND]]
    if reason:
        return RefMessage(kind, INPUT_REASONS[reason], {})
    values = {key: int(_MESSAGE[word]) for key, word in _WORDS[kind].items()}
    values |= {"E": int(_MESSAGE[scan.EVENT_MS]), "T": int(_MESSAGE[scan.TIME_MS])}
    if kind == "trade":
        values["m"] = bool(_MESSAGE[scan.BUYER_MAKER])
        values["off"] = bool(_MESSAGE[scan.OFF_MARKET])
    if kind == "depth":
        values["snapshot"] = bool(_MESSAGE[scan.IS_SNAPSHOT])
        for row, key, word in ((0, "b", scan.BIDS), (1, "a", scan.ASKS)):
            count = _MESSAGE[word]
            values[key] = list(zip(_PRICES[row, :count].tolist(), _LOTS[row, :count].tolist(), strict=True))
    return RefMessage(kind, "", values)


def assert_same(text: bytes, listing: Listing, twin: RefMessage, narrow: bool) -> None:
    """The scanner decides as the twin does, or refuses where it is narrower on purpose."""
    fast = fast_message(text, listing)
    if fast.reason and narrow:
        return
    assert bool(fast.reason) == bool(twin.reason), (text, fast, twin)
    if twin.reason:
        # which of two faults is named first may differ only where the text is no JSON at all
        if twin.reason != "unparsable" and not narrow:
            assert (fast.kind, fast.reason) == (twin.kind, twin.reason), text
        return
    assert fast.kind == twin.kind
    values = dict(twin.values)
    values.pop("s", None)
    if fast.kind == "trade":
        values["off"] = values.pop("X", "MARKET") != "MARKET"
    for key, value in fast.values.items():
        assert values.pop(key, type(value)()) == value, (key, text)
    assert not values, (values, text)

"""Settings for instruments of recorded captures, and what the slow check makes of their books."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from rig.command import settings_in

from bot4.adapters.files.raw import RawCapture, find_captures
from bot4.adapters.kraken.symbols import second_name
from bot4.cli.data import TRADES_COUNTED, decoders
from bot4.engine.capture_check import CaptureCheck

SIZES = {  # symbol -> tick, lot, the venue's own step of quantities where the lot is coarser
    "binance_spot": {"NKNUSDT": ("0.00001", "1"), "BLZETH": ("0.00000001", "1"), "LRCBTC": ("0.00000001", "1"),
                     "RUNEEUR": ("0.001", "0.1")},
    "binance_usdm": {"SUSHIUSDT": ("0.001", "1"), "AKROUSDT": ("0.00001", "1"), "KEEPUSDT": ("0.0001", "1"),
                     "CTKUSDT": ("0.00001", "1")},
    "bybit_linear": {"BTCUSDT": ("0.1", "0.001"), "ETHUSDT": ("0.01", "0.01"), "SOLUSDT": ("0.01", "0.1"),
                     "DOGEUSDT": ("0.00001", "1"), "SNTUSDT": ("0.00001", "1"), "BANDUSDT": ("0.0001", "0.1"),
                     "AIOZUSDT": ("0.00001", "1"), "RADUSDT": ("0.0001", "1")},
    "bybit_spot": {"OPUSDC": ("0.0001", "0.01"), "ARBUSDC": ("0.0001", "0.01"), "TUSDUSDT": ("0.0001", "0.01"),
                   "KCSUSDT": ("0.001", "0.001"), "CPOOLUSDT": ("0.00001", "0.01"), "MASAUSDT": ("0.00001", "0.01")},
    "coinbase": {"BTC-USD": ("0.01", "0.000001", "0.00000001"), "ETH-USD": ("0.01", "0.000001", "0.00000001")},
    "kraken": {"BTC/USD": ("0.1", "0.00001"), "ETH/USD": ("0.01", "0.00001"),
               "WAVES/EUR": ("0.0001", "0.0001", "0.00000001"), "XMR/USD": ("0.01", "0.000001", "0.00000001"),
               "KSM/BTC": ("0.000001", "0.01", "0.00000001"), "GRT/ETH": ("0.0000001", "0.1", "0.00000001"),
               "SC/EUR": ("0.00001", "0.001", "0.00000001"), "ETH/CHF": ("0.01", "0.000001", "0.00000001"),
               "OCEAN/BTC": ("0.00000001", "1", "0.00000001"), "OMG/USD": ("0.000001", "0.01", "0.00000001"),
               "BTC/CHF": ("0.1", "0.0000001", "0.00000001"), "ADA/BTC": ("0.00000001", "1", "0.00000001")},
}  # fmt: skip


def settings_of(folder: Path, *venues: str) -> Path:
    """The shipped settings with the instruments of these venues alone."""
    paper = settings_in(folder)
    tables = []
    for venue in venues:
        for symbol, (tick, lot, *step) in SIZES[venue].items():
            tables.append(
                f'[[instrument]]\nsymbol = "{symbol}"\nvenue = "{venue}"\ntick_size = "{tick}"\nlot_size = "{lot}"\n'
                + (f'venue_lot = "{step[0]}"\n' if step else "")
                + f'min_notional = "0"\nmin_qty = "{lot}"\nmax_qty = "100000"\n'
                + 'maker_fee_bps = "2"\ntaker_fee_bps = "5"\n'
            )
    paper.with_name("instruments.toml").write_text("\n".join(tables))
    return paper


def books_of(path: Path):
    """By (symbol, venue): the book that the slow check has at the end of a capture, None where it has none."""
    (capture,) = (one for one in find_captures([path]) if isinstance(one, RawCapture))
    check = CaptureCheck(decoders(), TRADES_COUNTED)
    for message in capture.messages():
        parts = urlsplit(message.url)
        rest = (parts.path, dict(parse_qsl(parts.query))) if message.rest else None
        check.take(message.ts_ns, message.connection, message.venue, rest, message.body)
    found = {}
    for name, books in check._books.items():
        venue, _, symbol = name.partition(":")
        whole = [watched.book for (_, depth), watched in books.items() if depth != 1 and watched.book.whole]
        symbol = second_name(symbol) if venue == "kraken" else symbol
        found[symbol, venue] = whole[-1] if whole else None
    return found

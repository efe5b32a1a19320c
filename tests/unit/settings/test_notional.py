"""Units cannot be confused: what an order is worth, by its records and by the text of its price and quantity."""

import json
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bot4.adapters.bybit.private import BybitPrivate, Keys
from bot4.jit import kernel
from bot4.kernels.risk.share import is_worth_less, is_worth_more, worth
from bot4.kernels.risk.view import MAX_MONEY_E8
from bot4.model.enums import TIF_GTC, TYPE_LIMIT
from bot4.model.intent import OrderIntent
from bot4.settings.conversion import instrument_sizes
from bot4.settings.loader import load_instruments

FILE = Path(__file__).resolve().parents[3] / "config" / "instruments.toml"
LISTED = load_instruments(FILE)
ROWS = instrument_sizes(LISTED, str(FILE))
SIZES = 1_000
KEYS = Keys("k" * 18, "s" * 36)


@kernel
def valued(lots, ticks, value_e8, amount_e8):
    """What the risk checks make of it: the value, and whether it is more or less than an amount."""
    return (
        worth(lots, ticks, value_e8),
        is_worth_more(lots, ticks, value_e8, amount_e8),
        is_worth_less(lots, ticks, value_e8, amount_e8),
    )


@pytest.mark.parametrize("index", range(len(LISTED)), ids=lambda index: f"{LISTED[index].symbol}-{LISTED[index].venue}")
def test_an_order_is_worth_what_its_text_says(index):
    """To the last unit: lots and ticks in integers, against the decimals that a venue is sent."""
    dice, listed, row = random.Random(index), LISTED[index], ROWS[index]
    words = BybitPrivate(KEYS, "https://127.0.0.1:1", [listed.symbol], ROWS[index : index + 1])
    most_ticks = int(Decimal(1_000_000) / Decimal(listed.tick_size))
    for _ in range(SIZES):
        lots = max(1, round(10 ** dice.uniform(0, np.log10(float(row["max_qty_lots"])))))
        ticks = max(1, round(10 ** dice.uniform(0, np.log10(most_ticks))))
        order = OrderIntent(side=1, type=TYPE_LIMIT, tif=TIF_GTC, qty_lots=lots, price_ticks=ticks)
        sent = json.loads(words.place(order, "a").payload)
        exact = Decimal(sent["qty"]) * Decimal(sent["price"]) * 10**8
        assert Decimal(sent["qty"]) == lots * Decimal(listed.lot_size), "quantities are of the base currency"
        assert Decimal(sent["price"]) == ticks * Decimal(listed.tick_size)
        assert exact == int(exact) == lots * ticks * int(row["value_e8"])
        for unit in (-1, 0, 1):
            amount = min(int(exact), MAX_MONEY_E8 - 1) + unit  # there all that is worth more is the same
            value, more, less = valued(np.int64(lots), np.int64(ticks), row["value_e8"], np.int64(amount))
            assert (value, more, less) == (min(exact, MAX_MONEY_E8), exact > amount, exact < amount)

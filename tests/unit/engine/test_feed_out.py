"""Quantities as readers are told of them: at the bounds of what the market may show and of what readers may take."""

import numpy as np
import pytest

from bot4.engine.feed_out import told_lots
from bot4.kernels.data_check import check_values
from bot4.kernels.risk.view import MAX_QTY_LOTS
from bot4.kernels.scan.decimal import MAX_QUANTITY
from bot4.model.enums import OK, TICK_LEVEL, TICK_QUOTE, TICK_TRADE
from bot4.model.records import TICK


@pytest.mark.parametrize(
    ("quantity", "scale", "lots"),
    [
        (0, 1, 0),
        (0, 10**4, 0),
        (1, 0, 1),
        (1, 1, 1),
        (1, 10**4, 1),
        (10**4 - 1, 10**4, 1),
        (2 * 10**4 - 1, 10**4, 1),
        (2 * 10**4, 10**4, 2),
        (MAX_QTY_LOTS, 1, MAX_QTY_LOTS),
        (MAX_QTY_LOTS + 1, 1, MAX_QTY_LOTS),
        (MAX_QUANTITY, 1, MAX_QTY_LOTS),
        (MAX_QUANTITY, 10**5, MAX_QTY_LOTS),
        (MAX_QUANTITY, 10**12, 10**6 - 1),
        (MAX_QUANTITY, MAX_QUANTITY, 1),
    ],
)
def test_a_quantity_is_cut_to_lots_but_not_to_nothing_and_bounded(quantity, scale, lots):
    told = told_lots(np.int64(quantity), np.int64(scale))
    assert told == lots
    for kind, side in ((TICK_LEVEL, 1), (TICK_TRADE, 1), (TICK_QUOTE, 2)):  # and no reader refuses it
        tick = np.zeros(1, TICK)[0]
        tick["kind"], tick["w0"], tick["w1"], tick["w2"], tick["w3"] = kind, 1, told, side, told
        assert check_values(tick) == OK or (told == 0 and kind != TICK_LEVEL)

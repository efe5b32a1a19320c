"""An ORDER_INTENT as plain Python numbers: a record is read at once, which costs a tenth of reading its fields."""

from typing import NamedTuple

import numpy as np


class OrderIntent(NamedTuple):
    """The fields of ORDER_INTENT in its order; see `model.records` for what they mean."""

    ts_ns: int = 0
    id_hi: int = 0
    id_lo: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    stop_ticks: int = 0
    ref_ticks: int = 0
    instrument: int = 0
    strategy: int = 0
    shard: int = 0
    action: int = 0
    side: int = 0
    type: int = 0
    tif: int = 0
    flags: int = 0
    leg: int = 0
    event_no: int = 0
    order_row: int = -1
    sized_by: int = 0
    slices: int = 0
    slice_ds: int = 0
    tsc: int = 0
    aux: int = 0
    score: float = 0.0
    tsc_read: int = 0
    trail_ticks: int = 0
    even_ticks: int = 0
    seq: int = 0


def intent_of(record: np.void | np.ndarray) -> OrderIntent:
    """Of one ORDER_INTENT."""
    return OrderIntent._make(record.item())

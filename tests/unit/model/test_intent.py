"""An ORDER_INTENT as plain numbers."""

import numpy as np

from bot4.model.intent import OrderIntent, intent_of
from bot4.model.records import ORDER_INTENT


def test_each_field_stands_where_its_record_has_it():
    assert OrderIntent._fields == ORDER_INTENT.names
    record = np.zeros(1, ORDER_INTENT)
    for number, name in enumerate(ORDER_INTENT.names, 1):
        record[name] = number
    assert intent_of(record) == intent_of(record[0]) == tuple(range(1, len(ORDER_INTENT.names) + 1))
    record["side"], record["id_hi"] = -1, 2**64 - 1
    assert (intent_of(record).side, intent_of(record).id_hi) == (-1, 2**64 - 1)

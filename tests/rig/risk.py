"""An order that passes every risk check, to be spoilt in one field at a time."""

import numpy as np
from rig.tables import SECOND, instruments, limits

from bot4.kernels.risk.order_checks import check_order
from bot4.kernels.risk.view import RISK_VIEW
from bot4.model.enums import ACTION_PLACE, LEG_ENTRY, SIDE_BUY, TIF_IOC, TYPE_LIMIT
from bot4.model.records import ORDER_INTENT

T0 = 1_700_000_000 * SECOND
BID, ASK = 6_000_000, 6_000_002  # mid 60,000.01
EQUITY = 100_000 * 10**8


class Case:
    """Order, view, instrument and limits as records; `code()` asks the kernel."""

    def __init__(self, **changes):
        self.order = np.zeros(1, ORDER_INTENT)
        self.view = np.zeros(1, RISK_VIEW)
        self.instrument = instruments(1)
        self.limits = limits(cool_down_ns=SECOND, bucket_tokens=3, bucket_refill_ns=SECOND)
        self.set(
            ts_ns=T0, action=ACTION_PLACE, side=SIDE_BUY, type=TYPE_LIMIT, tif=TIF_IOC, leg=LEG_ENTRY,
            price_ticks=ASK, qty_lots=1_000, stop_ticks=BID - 1_000,
            bid_ticks=BID, ask_ticks=ASK, quote_ts_ns=T0,
            equity_e8=EQUITY, high_water_e8=EQUITY, day_start_e8=EQUITY,
        )  # fmt: skip
        self.set(**changes)

    def set(self, **changes):
        """Set fields by name, in whichever of the four records has them."""
        for name, value in changes.items():
            for table in (self.order, self.view, self.instrument, self.limits):
                # "open_orders" is both what is open (view) and the limit: the limit is written max_open_orders
                field = "open_orders" if name == "max_open_orders" and table is self.limits else name
                if field in table.dtype.names and not (name == "open_orders" and table is self.limits):
                    table[field] = value
                    break
            else:
                raise KeyError(name)
        return self

    def code(self):
        """What the risk check says."""
        return int(check_order(self.order[0], self.view[0], self.instrument[0], self.limits[0]))

    def tables(self):
        """The four records as dictionaries of Python integers, for the twin."""
        return tuple(
            {name: int(table[0][name]) for name in table.dtype.names if name not in ("score", "_pad", "reserved")}
            for table in (self.order, self.view, self.instrument, self.limits)
        )

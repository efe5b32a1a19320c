"""The life of an order: one base state and overlays; the status is derived, never stored.

base    FREE -> JOURNALED -> SENT -> WORKING
done    none, or how it ended
overlay UNKNOWN, CANCEL_PENDING, REPLACE_PENDING, TRIGGERED

The table below says for each (status, event) what happens. What it does not name is illegal: nothing changes, an
alarm is counted. Fills are not in the hands of the table: they are always applied. An unknown order is never sent again
and no timer ends it; only an answer of the venue does.
"""

import numpy as np

from bot4.jit import kernel

ORDER = np.dtype(
    [
        ("id_hi", "u8"),
        ("id_lo", "u8"),
        ("venue_order_id", "i8"),
        ("instrument", "i8"),
        ("shard", "i8"),
        ("side", "i8"),
        ("leg", "i8"),
        ("type", "i8"),
        ("tif", "i8"),
        ("flags", "i8"),
        ("qty_lots", "i8"),
        ("price_ticks", "i8"),
        ("stop_ticks", "i8"),
        ("cum_lots", "i8"),
        ("base", "i8"),
        ("done", "i8"),
        ("overlay", "i8"),
        ("sends", "i8"),
        ("sent_ns", "i8"),  # when the venue was last told or asked something about it
        ("asked_qty_lots", "i8"),  # of the amend in flight
        ("asked_stop_ticks", "i8"),
        ("trail_ticks", "i8"),  # of an entry: how its stop moves
        ("even_ticks", "i8"),
        ("profit_ticks", "i8"),  # ... and where its take-profit goes, 0: there is none
        ("slices", "i8"),  # of an entry that is worked in slices: how many, 0: it goes out itself
        ("slice_ns", "i8"),  # ... least time between two of them, 0: they rest
        ("sliced", "i8"),  # ... how many have gone out
        ("slice_row", "i8"),  # ... row of the one that is open, -1: none
        ("due_ns", "i8"),  # ... no other one before
        ("event_no", "i8"),
        ("code", "i8"),  # why it was refused
        ("result_e8", "i8"),  # of what it has closed: realised, less its fees
        ("lost", "i8"),  # 1: a loss of it has been counted
    ]
)

BASE_FREE, BASE_JOURNALED, BASE_SENT, BASE_WORKING = range(4)

OVERLAY_UNKNOWN = 1
OVERLAY_CANCEL = 2
OVERLAY_REPLACE = 4
OVERLAY_TRIGGERED = 8

STATUS_NAMES = (
    "free", "journaled", "pending_new", "unknown", "new", "partially_filled", "pending_cancel", "pending_replace",
    "filled", "canceled", "expired", "rejected", "never_landed", "denied",
)  # fmt: skip
(
    FREE, JOURNALED, PENDING_NEW, UNKNOWN, NEW, PARTIALLY_FILLED, PENDING_CANCEL, PENDING_REPLACE,
    FILLED, CANCELED, EXPIRED, REJECTED, NEVER_LANDED, DENIED,
) = range(14)  # fmt: skip
N_STATUS = 14
OPEN_STATUSES = (JOURNALED, PENDING_NEW, UNKNOWN, NEW, PARTIALLY_FILLED, PENDING_CANCEL, PENDING_REPLACE)

EVENT_NAMES = (
    "", "send", "ack", "reject", "fill", "canceled", "expired", "triggered", "replaced", "cancel_reject", "not_found",
    "ambiguous", "cancel_request", "replace_request", "deny",
)  # fmt: skip
(
    _, EV_SEND, EV_ACK, EV_REJECT, EV_FILL, EV_CANCELED, EV_EXPIRED, EV_TRIGGERED, EV_REPLACED, EV_CANCEL_REJECT,
    EV_NOT_FOUND, EV_AMBIGUOUS, EV_CANCEL_REQUEST, EV_REPLACE_REQUEST, EV_DENY,
) = range(15)  # fmt: skip
N_EVENTS = 15

(
    ILLEGAL, IGNORE, TO_SENT, TO_WORKING, TO_REJECTED, TO_CANCELED, TO_EXPIRED, TO_TRIGGERED, TO_REPLACED, DROP_PENDING,
    TO_NEVER_LANDED, TO_UNKNOWN, ASK_CANCEL, ASK_REPLACE, TO_DENIED, APPLY, APPLY_ALARM, REOPEN,
) = range(18)  # fmt: skip

_ENDS = {EV_CANCELED: TO_CANCELED, EV_EXPIRED: TO_EXPIRED}
_LEGAL: dict[int, dict[int, int]] = {
    JOURNALED: {EV_SEND: TO_SENT, EV_DENY: TO_DENIED, EV_AMBIGUOUS: TO_UNKNOWN},
    PENDING_NEW: {
        EV_ACK: TO_WORKING, EV_FILL: APPLY, EV_REJECT: TO_REJECTED, EV_AMBIGUOUS: TO_UNKNOWN,
        EV_CANCEL_REQUEST: ASK_CANCEL, EV_TRIGGERED: TO_TRIGGERED, **_ENDS,
    },
    UNKNOWN: {
        EV_ACK: TO_WORKING, EV_FILL: APPLY, EV_REJECT: TO_REJECTED, EV_AMBIGUOUS: IGNORE, EV_NOT_FOUND: TO_NEVER_LANDED,
        EV_CANCEL_REQUEST: ASK_CANCEL, EV_TRIGGERED: TO_TRIGGERED, EV_REPLACED: TO_REPLACED,
        EV_CANCEL_REJECT: DROP_PENDING, **_ENDS,
    },
    NEW: {
        EV_ACK: IGNORE, EV_FILL: APPLY, EV_TRIGGERED: TO_TRIGGERED, EV_CANCEL_REQUEST: ASK_CANCEL,
        EV_REPLACE_REQUEST: ASK_REPLACE, EV_REPLACED: TO_REPLACED, EV_REJECT: TO_REJECTED, EV_AMBIGUOUS: TO_UNKNOWN,
        **_ENDS,
    },
    PARTIALLY_FILLED: {
        EV_ACK: IGNORE, EV_FILL: APPLY, EV_TRIGGERED: TO_TRIGGERED, EV_CANCEL_REQUEST: ASK_CANCEL,
        EV_REPLACE_REQUEST: ASK_REPLACE, EV_REPLACED: TO_REPLACED, EV_REJECT: TO_CANCELED, EV_AMBIGUOUS: TO_UNKNOWN,
        **_ENDS,
    },
    PENDING_CANCEL: {
        EV_ACK: TO_WORKING, EV_FILL: APPLY, EV_TRIGGERED: TO_TRIGGERED, EV_CANCEL_REJECT: DROP_PENDING,
        EV_REPLACED: TO_REPLACED, EV_CANCEL_REQUEST: IGNORE, EV_REJECT: TO_REJECTED, EV_AMBIGUOUS: TO_UNKNOWN,
        EV_NOT_FOUND: TO_NEVER_LANDED, **_ENDS,
    },
    PENDING_REPLACE: {
        EV_ACK: IGNORE, EV_FILL: APPLY, EV_TRIGGERED: TO_TRIGGERED, EV_REPLACED: TO_REPLACED,
        EV_CANCEL_REJECT: DROP_PENDING, EV_CANCEL_REQUEST: ASK_CANCEL, EV_REJECT: TO_REJECTED,
        EV_AMBIGUOUS: TO_UNKNOWN, EV_NOT_FOUND: TO_NEVER_LANDED, **_ENDS,
    },
    FILLED: {
        EV_ACK: IGNORE, EV_FILL: APPLY_ALARM, EV_CANCELED: IGNORE, EV_EXPIRED: IGNORE, EV_CANCEL_REJECT: IGNORE,
        EV_REPLACED: IGNORE, EV_TRIGGERED: IGNORE, EV_CANCEL_REQUEST: IGNORE,
    },
    CANCELED: {
        EV_ACK: IGNORE, EV_FILL: APPLY_ALARM, EV_CANCELED: IGNORE, EV_EXPIRED: IGNORE, EV_CANCEL_REJECT: IGNORE,
        EV_REPLACED: IGNORE, EV_TRIGGERED: IGNORE, EV_CANCEL_REQUEST: IGNORE,
    },
    REJECTED: {EV_ACK: REOPEN, EV_FILL: REOPEN, EV_REJECT: IGNORE, EV_CANCEL_REJECT: IGNORE, EV_CANCEL_REQUEST: IGNORE},
}  # fmt: skip
_LEGAL[EXPIRED] = _LEGAL[CANCELED]
_LEGAL[NEVER_LANDED] = {**_LEGAL[REJECTED], EV_NOT_FOUND: IGNORE}


def _table() -> np.ndarray:
    table = np.full((N_STATUS, N_EVENTS), ILLEGAL, np.int64)
    for status, row in _LEGAL.items():
        for event, effect in row.items():
            table[status, event] = effect
    return table


TRANSITIONS = _table()


@kernel
def status_of(order):
    """Derived status of an order, first match wins (a full fill outranks everything, then how it ended).

    Notes
    -----
    Twin: tests/reference/engine/order_state.py
    """
    if order["base"] == BASE_FREE:
        return FREE
    if order["qty_lots"] > 0 and order["cum_lots"] >= order["qty_lots"]:
        return FILLED
    if order["done"] != 0:
        return order["done"]
    if order["base"] == BASE_JOURNALED and order["overlay"] == 0:
        return JOURNALED
    if order["overlay"] & OVERLAY_CANCEL:
        return PENDING_CANCEL
    if order["overlay"] & OVERLAY_REPLACE:
        return PENDING_REPLACE
    if order["overlay"] & OVERLAY_UNKNOWN:
        return UNKNOWN
    if order["cum_lots"] > 0:
        return PARTIALLY_FILLED
    if order["base"] == BASE_WORKING:
        return NEW
    return PENDING_NEW


@kernel
def is_open(order):
    """True while the order may still trade."""
    status = status_of(order)
    return JOURNALED <= status <= PENDING_REPLACE


@kernel
def transition(order, event):
    """Apply one event (other than the quantities of a fill) to an order.

    Parameters
    ----------
    order : ORDER record, changed only if the event is legal
    event : EV_*

    Returns
    -------
    int64, the effect from TRANSITIONS; ILLEGAL when nothing changed and somebody must be told

    Notes
    -----
    Twin: tests/reference/engine/order_state.py
    """
    effect = TRANSITIONS[status_of(order), event]
    if effect == TO_SENT:
        order["base"] = BASE_SENT
        order["sends"] += 1
    elif effect == TO_WORKING:
        order["base"] = BASE_WORKING
        order["overlay"] &= ~OVERLAY_UNKNOWN
    elif effect == TO_REJECTED:
        order["done"] = REJECTED if order["cum_lots"] == 0 else CANCELED
    elif effect == TO_CANCELED:
        order["done"] = CANCELED
    elif effect == TO_EXPIRED:
        order["done"] = EXPIRED
    elif effect == TO_TRIGGERED:
        order["base"] = BASE_WORKING
        order["overlay"] = (order["overlay"] | OVERLAY_TRIGGERED) & ~OVERLAY_UNKNOWN
    elif effect == TO_REPLACED:
        order["qty_lots"] = order["asked_qty_lots"]
        order["stop_ticks"] = order["asked_stop_ticks"]
        order["base"] = BASE_WORKING
        order["overlay"] &= ~(OVERLAY_REPLACE | OVERLAY_UNKNOWN)
    elif effect == DROP_PENDING:
        order["overlay"] &= ~(OVERLAY_CANCEL | OVERLAY_REPLACE)
    elif effect == TO_NEVER_LANDED:
        order["done"] = NEVER_LANDED
    elif effect == TO_UNKNOWN:
        order["overlay"] |= OVERLAY_UNKNOWN
    elif effect == ASK_CANCEL:
        order["overlay"] |= OVERLAY_CANCEL
    elif effect == ASK_REPLACE:
        order["overlay"] |= OVERLAY_REPLACE
    elif effect == TO_DENIED:
        order["done"] = DENIED
    elif effect == APPLY:
        order["base"] = BASE_WORKING
        order["overlay"] &= ~OVERLAY_UNKNOWN
    elif effect == REOPEN:
        order["done"] = 0
        order["base"] = BASE_WORKING
    return effect

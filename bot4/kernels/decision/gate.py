"""May this instrument open risk now, as far as the shard itself can tell? Asked only when the strategy wants to."""

from bot4.jit import inlined
from bot4.model.enums import DECISION_GATE_SHUT, DECISION_NO_QUOTE, DECISION_WARMING, OK


@inlined
def check_gate(open_gate, warm, quote_age_ns, max_age_ns):
    """DECISION_GATE_SHUT, DECISION_WARMING, DECISION_NO_QUOTE or OK, in this order.

    Parameters
    ----------
    open_gate : bool, records unbroken, positions known, execution takes orders
    warm : bool, every indicator that the decision uses has seen enough
    quote_age_ns, max_age_ns : int64

    Notes
    -----
    Complexity: O(1). Twin: tests/reference/kernels/decision.py
    """
    if not open_gate:
        return DECISION_GATE_SHUT
    if not warm:
        return DECISION_WARMING
    if quote_age_ns > max_age_ns:
        return DECISION_NO_QUOTE
    return OK

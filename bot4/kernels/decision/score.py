"""From a score to a target with hysteresis:

it takes more to open than to stay, so a score at the threshold does not flap.
"""

from bot4.jit import inlined


@inlined
def target_of(score, current, enter_threshold, exit_threshold):
    """Where the position should be: +1 long, 0 flat, -1 short.

    Parameters
    ----------
    score : float64, -1 .. 1, a number
    current : int64, sign of the position (or of the entry on its way)
    enter_threshold : float64 > 0; a score at or beyond it opens
    exit_threshold : float64, at most the other; a score at or below it (seen from the position's side) closes

    Notes
    -----
    Complexity: O(1). Invariant: the same score twice gives the same target. Twin: tests/reference/kernels/decision.py
    """
    if score >= enter_threshold:
        return 1
    if score <= -enter_threshold:
        return -1
    if current > 0 and score > exit_threshold:
        return 1
    if current < 0 and -score > exit_threshold:
        return -1
    return 0

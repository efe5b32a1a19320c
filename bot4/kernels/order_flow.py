"""A market out of random orders: limit orders, cancels and market orders arrive at a book and make its price.

Why order flow and not a random walk of prices: everything that reads a book has a real one to work on. Quotes, depth
changes and trades fit together, queues fill and empty, a large order walks the book, and the spread opens behind it.

Arrivals are Poisson (their rates fixed, that of cancels growing with the size of the book, which keeps it near its
target). Trends come from regimes of random length in which market orders lean to one side. What comes out is text: the
very lines a capture of a spot venue holds, snapshot first, depth changes every 100 ms, the best quote at each change,
trades. So all of it passes through the same scanner as a recording.

Chance comes from the caller's seed alone: xorshift in the state, integers everywhere (the exponential distribution is a
table that is handed in), so that the same seed gives the same bytes on every machine, compiled or not.

Budget: 1 us an event with its lines.
"""

from typing import NamedTuple

import numpy as np

from bot4.jit import inlined, kernel, outlined

SLOTS = 4096  # grid levels held at once, a power of two; the book spans at most 2 * REACH + the spread
MASK = SLOTS - 1
REACH = 1000  # grid levels from the best price after which orders are gone
NEAR = 60  # grid levels from the best price among which orders arrive, at most
WALK = 12  # levels that one market order eats at most
TABLE = 4096  # entries of the exponential table
ONE = 65_536  # its scale
DEPTH_NS = 100_000_000  # depth changes are sent on this grid
SENT_NS = 2_000_000  # the receive time of a line is this much later than the event
LINE_BOUND = 1 << 18  # no line is longer: 2 * SLOTS changed levels of 32 bytes

LIMIT_WEIGHT = 600
MARKET_WEIGHT = 130
CANCEL_WEIGHT = 470  # when the book has its target size
BIAS_SCALE = 1000  # bias of a regime: thousandths of the market orders that change sides

FLOW = np.dtype(
    [
        ("random", "i8"),  # never 0
        ("now_ns", "i8"),
        ("end_ns", "i8"),
        ("next_depth_ns", "i8"),
        ("regime_end_ns", "i8"),
        ("bias", "i8"),  # of the regime, -BIAS_SCALE / 2 .. BIAS_SCALE / 2
        ("begun", "i8"),  # 1: the snapshot is out
        ("start_level", "i8"),  # prices are levels of `step_ticks`
        ("bid", "i8"),  # best levels
        ("ask", "i8"),
        ("low", "i8"),  # no order lies below, none above
        ("high", "i8"),
        ("total_lots", "i8"),
        ("target_lots", "i8"),
        ("mean_lots", "i8"),  # of an order
        ("near", "i8"),  # 1 .. NEAR
        ("wait_ns", "i8"),  # mean time between events
        ("regime_ns", "i8"),  # mean length of a regime
        ("step_ticks", "i8"),
        ("tick_e8", "i8"),
        ("lot_e8", "i8"),
        ("update_id", "i8"),
        ("depth_id", "i8"),  # last update id that went out with the depth changes
        ("trade_id", "i8"),
        ("changed", "i8"),  # levels changed since then
    ]
)

# pieces of text, filled in by the caller with the symbol in place
(
    PART_QUOTE, PART_QUOTE_BID, PART_BID_LOTS, PART_ASK, PART_ASK_LOTS, PART_QUOTE_END,
    PART_TRADE, PART_TRADE_ID, PART_PRICE, PART_LOTS, PART_TRADE_TIME, PART_BUYER_MAKER, PART_SELLER_MAKER,
    PART_DEPTH, PART_FIRST_ID, PART_LAST_ID, PART_BIDS, PART_ASKS, PART_DEPTH_END,
    PART_SNAPSHOT, PART_SNAPSHOT_BIDS, PART_SNAPSHOT_ASKS, PART_SNAPSHOT_END,
    PART_LEVEL, PART_LEVEL_LOTS, PART_LEVEL_END,
) = range(26)  # fmt: skip
N_PARTS = 26
PART_BYTES = 128


class Flow(NamedTuple):
    """All memory of one symbol's market."""

    state: np.ndarray  # FLOW[1]
    lots: np.ndarray  # int64[SLOTS], by level & MASK
    shown: np.ndarray  # int64[SLOTS], side under which the level was last sent: +1, -1, 0
    marked: np.ndarray  # int64[SLOTS], 1: in `levels`
    levels: np.ndarray  # int64[SLOTS], the changed levels
    exponential: np.ndarray  # int64[TABLE], quantiles of the exponential distribution with mean ONE
    parts: np.ndarray  # uint8[N_PARTS, PART_BYTES]
    part_sizes: np.ndarray  # int64[N_PARTS]


# --- chance ----------------------------------------------------------------------------------------------------------


@inlined
def draw(state):
    """The next 32 random bits, as int64.

    Notes
    -----
    Source: Marsaglia, Xorshift RNGs (2003), triple 13, 7, 17. Twin: tests/reference/kernels/order_flow.py
    """
    word = state["random"]
    word ^= word << 13
    word ^= (word >> 7) & 0x01FF_FFFF_FFFF_FFFF  # the shift of an unsigned word
    word ^= word << 17
    state["random"] = word
    return (word >> 20) & 0xFFFF_FFFF


@inlined
def draw_below(state, bound):
    """A random int64 of [0, bound), bound < 2**31."""
    return (draw(state) * bound) >> 32


@inlined
def draw_exponential(flow, mean):
    """A random int64 >= 0, exponential with that mean (int64 < 2**43)."""
    return (mean * flow.exponential[draw_below(flow.state[0], TABLE)]) >> 16


@inlined
def _draw_near(state):
    """A distance of [0, near), small ones more often."""
    return draw_below(state, state["near"]) * draw_below(state, state["near"]) // state["near"]


# --- text ------------------------------------------------------------------------------------------------------------


@outlined
def _put_part(flow, text, at, part):
    size = flow.part_sizes[part]
    for index in range(size):
        text[at + index] = flow.parts[part, index]
    return at + size


@outlined
def _put_digits(text, at, value, digits):
    for index in range(digits):
        text[at + digits - 1 - index] = 48 + value % 10
        value //= 10
    return at + digits


@kernel
def _put_int(text, at, value):
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    return _put_digits(text, at, value, digits)


@kernel
def _put_e8(text, at, value_e8):
    """A decimal with eight places, as the venue writes it."""
    at = _put_int(text, at, value_e8 // 100_000_000)
    text[at] = 46  # .
    return _put_digits(text, at + 1, value_e8 % 100_000_000, 8)


@inlined
def _put_price(state, text, at, level):
    return _put_e8(text, at, level * state["step_ticks"] * state["tick_e8"])


@inlined
def _put_lots(state, text, at, lots):
    return _put_e8(text, at, lots * state["lot_e8"])


@kernel
def _put_received(state, text, at):
    return _put_int(text, at, state["now_ns"] + SENT_NS)


@inlined
def _put_newline(text, at):
    text[at] = 10
    return at + 1


@kernel
def _put_quote(flow, text, at):
    """The best bid and ask as a bookTicker line."""
    state = flow.state[0]
    bid = state["bid"]
    ask = state["ask"]
    at = _put_received(state, text, at)
    at = _put_int(text, _put_part(flow, text, at, PART_QUOTE), state["update_id"])
    at = _put_price(state, text, _put_part(flow, text, at, PART_QUOTE_BID), bid)
    at = _put_lots(state, text, _put_part(flow, text, at, PART_BID_LOTS), flow.lots[bid & MASK])
    at = _put_price(state, text, _put_part(flow, text, at, PART_ASK), ask)
    at = _put_lots(state, text, _put_part(flow, text, at, PART_ASK_LOTS), flow.lots[ask & MASK])
    return _put_newline(text, _put_part(flow, text, at, PART_QUOTE_END))


@kernel
def _put_trade(flow, text, at, level, lots, side):
    """One trade; side +1: the buyer took."""
    state = flow.state[0]
    state["trade_id"] += 1
    venue_ms = state["now_ns"] // 1_000_000
    at = _put_received(state, text, at)
    at = _put_int(text, _put_part(flow, text, at, PART_TRADE), venue_ms)
    at = _put_int(text, _put_part(flow, text, at, PART_TRADE_ID), state["trade_id"])
    at = _put_price(state, text, _put_part(flow, text, at, PART_PRICE), level)
    at = _put_lots(state, text, _put_part(flow, text, at, PART_LOTS), lots)
    at = _put_int(text, _put_part(flow, text, at, PART_TRADE_TIME), venue_ms)
    at = _put_part(flow, text, at, PART_SELLER_MAKER if side > 0 else PART_BUYER_MAKER)
    return _put_newline(text, at)


@kernel
def _put_level(flow, text, at, first, level, lots):
    state = flow.state[0]
    if not first:
        text[at] = 44  # comma
        at += 1
    at = _put_price(state, text, _put_part(flow, text, at, PART_LEVEL), level)
    at = _put_lots(state, text, _put_part(flow, text, at, PART_LEVEL_LOTS), lots)
    return _put_part(flow, text, at, PART_LEVEL_END)


@kernel
def _put_snapshot(flow, text, at):
    """The whole book, best levels first."""
    state = flow.state[0]
    at = _put_received(state, text, at)
    at = _put_int(text, _put_part(flow, text, at, PART_SNAPSHOT), state["update_id"])
    for turn in range(2):
        side = 1 - 2 * turn
        at = _put_part(flow, text, at, PART_SNAPSHOT_BIDS if side > 0 else PART_SNAPSHOT_ASKS)
        level = state["bid"] if side > 0 else state["ask"]
        first = True
        while state["low"] <= level <= state["high"]:
            lots = flow.lots[level & MASK]
            if lots > 0:
                at = _put_level(flow, text, at, first, level, lots)
                flow.shown[level & MASK] = side
                first = False
            level -= side
    state["depth_id"] = state["update_id"]
    return _put_newline(text, _put_part(flow, text, at, PART_SNAPSHOT_END))


@kernel
def _put_depth(flow, text, at):
    """The levels that changed since the last depth line; nothing if there are none."""
    state = flow.state[0]
    if state["changed"] == 0:
        return at
    at = _put_received(state, text, at)
    at = _put_int(text, _put_part(flow, text, at, PART_DEPTH), state["now_ns"] // 1_000_000)
    at = _put_int(text, _put_part(flow, text, at, PART_FIRST_ID), state["depth_id"] + 1)
    at = _put_int(text, _put_part(flow, text, at, PART_LAST_ID), state["update_id"])
    for turn in range(2):
        side = 1 - 2 * turn
        at = _put_part(flow, text, at, PART_BIDS if side > 0 else PART_ASKS)
        first = True
        for index in range(state["changed"]):
            level = flow.levels[index]
            slot = level & MASK
            here = level <= state["bid"] if side > 0 else level >= state["ask"]
            lots = flow.lots[slot] if here else np.int64(0)
            if lots > 0 or flow.shown[slot] == side:
                at = _put_level(flow, text, at, first, level, lots)
                first = False
    for index in range(state["changed"]):
        slot = flow.levels[index] & MASK
        flow.marked[slot] = 0
        if flow.lots[slot] == 0:
            flow.shown[slot] = 0
        else:
            flow.shown[slot] = 1 if flow.levels[index] <= state["bid"] else -1
    state["changed"] = 0
    state["depth_id"] = state["update_id"]
    return _put_newline(text, _put_part(flow, text, at, PART_DEPTH_END))


# --- the book --------------------------------------------------------------------------------------------------------


@inlined
def _change(flow, level, delta):
    """Add lots to a level (negative: take them away)."""
    state = flow.state[0]
    slot = level & MASK
    flow.lots[slot] += delta
    state["total_lots"] += delta
    if flow.marked[slot] == 0:
        flow.marked[slot] = 1
        flow.levels[state["changed"]] = level
        state["changed"] += 1


@kernel
def _add(flow, level, side, lots):
    """A limit order rests."""
    state = flow.state[0]
    _change(flow, level, lots)
    if side > 0:
        state["bid"] = max(state["bid"], level)
        state["low"] = min(state["low"], level)
    else:
        state["ask"] = min(state["ask"], level)
        state["high"] = max(state["high"], level)


@kernel
def _settle(flow):
    """Find the best levels again, and let go of orders that the price has left behind."""
    state = flow.state[0]
    while state["bid"] > state["low"] and flow.lots[state["bid"] & MASK] == 0:
        state["bid"] -= 1
    if flow.lots[state["bid"] & MASK] == 0:  # nobody is left on this side: somebody steps in
        state["bid"] = state["ask"] - 2
        _add(flow, state["bid"], 1, state["mean_lots"])
    while state["ask"] < state["high"] and flow.lots[state["ask"] & MASK] == 0:
        state["ask"] += 1
    if flow.lots[state["ask"] & MASK] == 0:
        state["ask"] = state["bid"] + 2
        _add(flow, state["ask"], -1, state["mean_lots"])
    while state["low"] < state["bid"] - REACH:
        if flow.lots[state["low"] & MASK] > 0:
            _change(flow, state["low"], -flow.lots[state["low"] & MASK])
        state["low"] += 1
    while state["high"] > state["ask"] + REACH:
        if flow.lots[state["high"] & MASK] > 0:
            _change(flow, state["high"], -flow.lots[state["high"] & MASK])
        state["high"] -= 1


@kernel
def _market_order(flow, text, at):
    """A market order eats into the other side; a line for each level."""
    state = flow.state[0]
    side = 1 if draw_below(state, BIAS_SCALE) < BIAS_SCALE // 2 + state["bias"] else -1
    left = 1 + draw_exponential(flow, state["mean_lots"] * 2)
    level = state["ask"] if side > 0 else state["bid"]
    for _ in range(WALK):
        if left <= 0 or level < state["low"] or level > state["high"]:
            break
        taken = min(left, flow.lots[level & MASK])
        if taken > 0:
            _change(flow, level, -taken)
            at = _put_trade(flow, text, at, level, taken, side)
            left -= taken
        level += side
    return at


@kernel
def _limit_order(flow):
    """A limit order comes to rest between the best price of the other side and `near` levels from it."""
    state = flow.state[0]
    side = 1 if draw_below(state, BIAS_SCALE) < BIAS_SCALE // 2 + state["bias"] // 2 else -1
    distance = 1 + _draw_near(state)
    level = state["ask"] - distance if side > 0 else state["bid"] + distance
    _add(flow, level, side, 1 + draw_exponential(flow, state["mean_lots"]))


@kernel
def _cancel(flow):
    """Someone takes back the orders of a level, or half of them."""
    state = flow.state[0]
    side = 1 - 2 * draw_below(state, 2)
    distance = _draw_near(state)
    level = state["bid"] - distance if side > 0 else state["ask"] + distance
    lots = flow.lots[level & MASK] if state["low"] <= level <= state["high"] else np.int64(0)
    if lots > 0:
        _change(flow, level, -lots if draw_below(state, 2) == 0 else -((lots + 1) // 2))


@kernel
def _next_regime(flow):
    """Choose a lean of the market orders; far from where it began, the price is drawn back."""
    state = flow.state[0]
    state["regime_end_ns"] = state["now_ns"] + state["regime_ns"] // 4 + draw_exponential(flow, state["regime_ns"])
    strength = BIAS_SCALE // 40 + draw_below(state, BIAS_SCALE // 16)
    direction = draw_below(state, 3) - 1
    if state["bid"] < state["start_level"] - state["start_level"] // 4:
        direction = 1
    if state["bid"] > state["start_level"] + state["start_level"] // 4:
        direction = -1
    state["bias"] = direction * strength


@kernel
def _one_event(flow, text, at):
    """One arrival at the book, with the lines that it causes."""
    state = flow.state[0]
    bid = state["bid"]
    ask = state["ask"]
    bid_lots = flow.lots[bid & MASK]
    ask_lots = flow.lots[ask & MASK]
    cancels = CANCEL_WEIGHT * min(state["total_lots"], 4 * state["target_lots"]) // state["target_lots"]
    choice = draw_below(state, LIMIT_WEIGHT + MARKET_WEIGHT + cancels)
    state["update_id"] += 1
    if choice < LIMIT_WEIGHT:
        _limit_order(flow)
    elif choice < LIMIT_WEIGHT + MARKET_WEIGHT:
        at = _market_order(flow, text, at)
    else:
        _cancel(flow)
    _settle(flow)
    if bid != state["bid"] or bid_lots != flow.lots[state["bid"] & MASK]:
        return _put_quote(flow, text, at)
    if ask != state["ask"] or ask_lots != flow.lots[state["ask"] & MASK]:
        return _put_quote(flow, text, at)
    return at


@kernel
def flow_fill(flow, text):
    """Write the next lines of the market into `text`, as many as fit.

    Parameters
    ----------
    flow : Flow, made by the caller with an empty book and state (see adapters/files/synthetic.py)
    text : uint8[N], N > LINE_BOUND

    Returns
    -------
    int64, bytes written; 0 when the market is over (event time end_ns)

    Notes
    -----
    Complexity: O(1) an event. Memory: none. Invariant: the lines are those of a spot venue without a gap; the same
    state gives the same bytes. Source: Smith, Farmer, Gillemot, Krishnamurthy, Statistical theory of the continuous
    double auction (2003), with a lean of the market orders added. Twin: tests/reference/kernels/order_flow.py
    """
    state = flow.state[0]
    at = np.int64(0)
    while at < len(text) - LINE_BOUND:
        if state["begun"] == 0:
            for level in range(state["near"]):
                _add(flow, state["start_level"] - 1 - level, 1, 1 + draw_exponential(flow, state["mean_lots"]))
                _add(flow, state["start_level"] + 1 + level, -1, 1 + draw_exponential(flow, state["mean_lots"]))
            for index in range(state["changed"]):
                flow.marked[flow.levels[index] & MASK] = 0
            state["changed"] = 0
            at = _put_snapshot(flow, text, at)
            at = _put_quote(flow, text, at)
            _next_regime(flow)
            state["begun"] = 1
            state["next_depth_ns"] = state["now_ns"] + DEPTH_NS
        next_ns = state["now_ns"] + 1 + draw_exponential(flow, state["wait_ns"])
        while state["next_depth_ns"] <= next_ns and state["next_depth_ns"] <= state["end_ns"]:
            state["now_ns"] = state["next_depth_ns"]
            state["next_depth_ns"] += DEPTH_NS
            at = _put_depth(flow, text, at)
        if next_ns > state["end_ns"]:
            state["now_ns"] = state["end_ns"]
            break
        state["now_ns"] = next_ns
        if next_ns >= state["regime_end_ns"]:
            _next_regime(flow)
        at = _one_event(flow, text, at)
    return at

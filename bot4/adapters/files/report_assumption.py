"""What the figures of a session rest on, in words: latencies, fill model, fees, limits."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np

from bot4.adapters.files.report_facts import RunFacts
from bot4.model.impact import IMPACT_ALMGREN_CHRISS, IMPACT_LINEAR
from bot4.model.latency import Latency
from bot4.model.queue import QUEUE_LOG, QUEUE_POWER, QUEUE_RISK_AVERSE, QueueModel
from bot4.model.units import decimal_string, from_e8

TAKING = "quantity taken is not offered again until the recording changes that level"
UNMOVED = f"{TAKING}; no market impact beyond that"
MOVING = "the worse of the recorded book and the best price moved by the model; never in our favour"
RESTING = (
    "filled only when trades use the queue up or the market trades through the price; of what leaves a level without "
    "a trade, the model says how much was ahead"
)

BARS = [
    ("order of a bar's prices", "open, high or low, close", "first whichever of high and low is nearer to the open"),
    ("time of a bar's prices", "begin, thirds, end", "nothing is known of the prices between them"),
    (
        "path within a bar",
        "certain",
        "after one extreme comes the other: what is decided between two closes proves nothing",
    ),
    ("quote of a bar", "a tick below and above", "of each price; in fact the spread may be wider"),
    ("quantity of a bar", "a quarter of its volume", "is displayed and traded at each of the four prices"),
    ("funding", "none", "bars tell of none; a perpetual pays it in fact"),
]


def assumptions(instruments: np.ndarray, keys: Sequence[str], run: RunFacts) -> list[dict[str, str]]:
    """What the figures rest on, as rows of {name, value, note}."""
    session, limits = run.session[0], run.limits[0]
    least = int(session["order_latency_ns"]), int(session["order_latency_ns"]), int(session["report_latency_ns"])
    orders, cancels, reports = (_way(ns, table) for ns, table in zip(least, run.latencies, strict=True))
    moved = _impacts(instruments, run)
    rows = [] if run.mode == "live" else [
        ("order latency", orders, "from execution to the simulated venue"),
        ("cancel latency", cancels, "from execution to the simulated venue"),
        ("report latency", reports, "from the simulated venue to execution"),
        ("internal latency", _micros(session["internal_latency_ns"]), "from execution to the strategy"),
        ("fill of a taking order", "walks the recorded book", TAKING if any(moved) else UNMOVED),
        ("fill of a resting order", f"behind the displayed queue, {_queue(run.queue)}", RESTING),
    ]  # fmt: skip
    if run.data_latency is not None:
        rows.append(
            ("data latency", _way(0, run.data_latency), "from the venue to the strategy, beside the recorded one")
        )
    rows += [(f"impact of {key}", *said) for key, said in zip(keys, moved, strict=True) if said]
    if run.source == "bars":
        rows += BARS
    rows.append(("start equity", from_e8(session["start_equity_e8"]), "quote currency"))
    for row, key in zip(instruments, keys, strict=True):
        fees = f"maker {_bps(row['maker_fee_ppm'])}, taker {_bps(row['taker_fee_ppm'])}"
        step = f"tick {from_e8(row['tick_e8'])}, lot {from_e8(row['lot_e8'])}"
        rows.append((f"fees of {key}", fees, f"{'spot' if row['is_spot'] else 'perpetual'}, {step}"))
    rows += [(name, form(limits[field]), note) for field, (name, form, note) in LIMIT_ROWS.items()]
    return [{"name": name, "value": value, "note": note} for name, value, note in rows]


def _impacts(instruments: np.ndarray, run: RunFacts) -> list[tuple[str, str] | None]:
    """Of each instrument how our taking moves its price, value and note; None: not at all, or a real venue says it."""
    if run.impacts is None or run.mode == "live":
        return [None] * len(instruments)
    return [
        _impact(row, impact) if impact["model"] else None for row, impact in zip(instruments, run.impacts, strict=True)
    ]


def _impact(instrument: np.void, impact: np.void) -> tuple[str, str]:
    tick, lot = int(instrument["tick_e8"]) / 1e8, int(instrument["lot_e8"]) / 1e8
    if impact["model"] == IMPACT_ALMGREN_CHRISS:
        figures = f"gamma {impact['gamma'] * tick / lot:g}, eta {impact['eta'] * tick / lot:g}"
        figures += f", epsilon {impact['epsilon'] * tick:g}, intervals of {impact['tau']:g} s"
        return f"Almgren-Chriss: {figures}", MOVING
    name = "linear" if impact["model"] == IMPACT_LINEAR else "square root"
    days = f"{impact['coefficient']:g} of the price for a day's {impact['daily_lots'] * lot:g}"
    return f"{name}: {days}", MOVING


def _queue(queue: QueueModel) -> str:
    names = {QUEUE_RISK_AVERSE: "risk-averse", QUEUE_POWER: f"power:{queue.exponent:g}", QUEUE_LOG: "log"}
    return names[queue.model]


def _way(least_ns: int, table: Latency | None) -> str:
    """How long messages of one way take: always the same, or the middle and the slowest hundredth of a table."""
    if table is None:
        return _micros(least_ns)
    values = np.sort(np.maximum(table.values, least_ns))
    middle, slow = (int(values[int(share * (len(values) - 1))]) for share in (0.5, 0.99))
    return f"{_micros(middle)}, p99 {_micros(slow)}" if slow > middle else _micros(middle)


def _micros(ns: int) -> str:
    return f"{decimal_string(Decimal(int(ns)) / 1000)} µs"


def _seconds(ns: int) -> str:
    return f"{decimal_string(Decimal(int(ns)).scaleb(-9))} s"


def _bps(ppm: int) -> str:
    return f"{decimal_string(Decimal(int(ppm)) / 100)} bps"


def _percent(bps: int) -> str:
    return f"{decimal_string(Decimal(int(bps)) / 100)} %"


def _count(number: int) -> str:
    return f"{int(number):,}"


def _ratio(bps: int) -> str:
    return decimal_string(Decimal(int(bps)).scaleb(-4))


def _ppb(parts: int) -> str:
    return decimal_string(Decimal(int(parts)).scaleb(-9))


def _whole_seconds(seconds: int) -> str:
    return f"{int(seconds):,} s"


# Each field of LIMITS: what it is called, how it is written, what it is measured by and what happens at it.
LIMIT_ROWS: dict[str, tuple[str, Callable[[int], str], str]] = {
    "position_bps": ("position limit", _percent, "of equity per instrument, open orders included"),
    "order_notional_e8": ("order value limit", from_e8, "quote currency"),
    "order_lots": ("order size limit", _count, "lots per order"),
    "collar_bps": ("price collar", _percent, "limit price against the mid"),
    "drawdown_bps": ("drawdown limit", _percent, "of the high-water mark; then nothing opens"),
    "daily_loss_bps": (
        "daily loss limit",
        _percent,
        "of the equity at the start of the day; then nothing opens for the rest of it",
    ),
    "open_orders": ("open orders limit", _count, "per instrument, stops not counted"),
    "cool_down_ns": ("cool-down", _seconds, "between opening orders of one instrument"),
    "bucket_tokens": ("order rate per instrument", _count, "opening orders at once, then ..."),
    "bucket_refill_ns": ("... one more per instrument", _seconds, "after each of these"),
    "shard_tokens": ("order rate per shard", _count, "opening orders at once, then ..."),
    "shard_refill_ns": ("... one more per shard", _seconds, "after each of these"),
    "order_tokens": ("order rate of all shards", _count, "opening orders at once, then ..."),
    "order_refill_ns": ("... one more of all shards", _seconds, "after each of these"),
    "message_tokens": ("message rate", _count, "messages to the venue at once, half of them not for opening, then ..."),
    "message_refill_ns": ("... one more message", _seconds, "after each of these"),
    "repeat_orders": (
        "repeated orders",
        _count,
        "of one side of an instrument in a row; one more sets the kill switch",
    ),
    "repeat_pause_ns": ("... a row ends after", _seconds, "without such an order"),
    "stop_bps": ("stop distance limit", _percent, "from the worst price the order can fill at"),
    "stop_loss_bps": ("loss at the stop", _percent, "of equity, fees and slippage included"),
    "slippage_bps": ("slippage of a stop", _percent, "beyond its price, in that loss"),
    "stop_confirm_ns": ("stop confirmation", _seconds, "an unprotected fill is closed after this"),
    "quote_age_ns": ("age of a quote", _seconds, "an older one is none"),
    "gross_bps": ("gross exposure limit", _percent, "of equity, all positions and open orders"),
    "net_bps": ("exposure limit of one side", _percent, "of equity, the other side counted as no hedge"),
    "venue_bps": ("exposure limit of one venue", _percent, "of equity"),
    "strategy_bps": ("exposure limit of the strategy", _percent, "of equity"),
    "kill_drawdown_bps": ("kill at a drawdown", _percent, "of the high-water mark; until a person resets it"),
    "kill_daily_loss_bps": ("kill at a loss of the day", _percent, "of the day's first equity; likewise"),
    "capital_e8": ("capital at stake", from_e8, "quote currency; equity counts as no more"),
    "streak_losses": ("losing streak", _count, "losses in a row, then nothing opens ..."),
    "streak_pause_ns": ("... pause after it", _seconds, "of event time"),
    "correlation_bps": ("correlation limit", _ratio, "of a new position with an open one, sides counted; unknown is 1"),
    "correlation_decay_ppb": ("... weight of a second", _ppb, "against the one after it"),
    "var_bps": ("value at risk limit", _percent, "of equity, all positions over the horizon"),
    "shortfall_bps": ("expected shortfall limit", _percent, "of equity, on average in the cases beyond"),
    "var_confidence_bps": ("... confidence", _percent, "of the cases"),
    "var_horizon_s": ("... horizon", _whole_seconds, "of both"),
    "breaker_failures": ("breaker of the venue", _count, "failures ..."),
    "breaker_window_ns": ("... within", _seconds, "open it ..."),
    "breaker_open_ns": ("... stays open for", _seconds, "then one try at a time, each failure doubles it"),
    "day_offset_ns": ("trading day starts", _seconds, "after midnight UTC"),
}

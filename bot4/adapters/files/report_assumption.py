"""What the figures of a session rest on, in words: latencies, fill model, fees, limits."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bot4.adapters.files.report_facts import RunFacts
from bot4.model.latency import Latency
from bot4.model.units import decimal_string, from_e8

TAKING = "quantity taken is not offered again until the recording changes that level; no market impact beyond that"
RESTING = "filled only when trades use the queue up or the market trades through the price"


def assumptions(instruments: np.ndarray, keys: Sequence[str], run: RunFacts) -> list[dict[str, str]]:
    """What the figures rest on, as rows of {name, value, note}."""
    session, limits = run.session[0], run.limits[0]
    refill = _seconds(limits["bucket_refill_ns"])
    least = int(session["order_latency_ns"]), int(session["order_latency_ns"]), int(session["report_latency_ns"])
    orders, cancels, reports = (_way(ns, table) for ns, table in zip(least, run.latencies, strict=True))
    rows = [
        ("order latency", orders, "from execution to the simulated venue"),
        ("cancel latency", cancels, "from execution to the simulated venue"),
        ("report latency", reports, "from the simulated venue to execution"),
        ("internal latency", _micros(session["internal_latency_ns"]), "from execution to the strategy"),
        ("fill of a taking order", "walks the recorded book", TAKING),
        ("fill of a resting order", "behind the displayed queue", RESTING),
        ("start equity", from_e8(session["start_equity_e8"]), "quote currency"),
    ]  # fmt: skip
    for row, key in zip(instruments, keys, strict=True):
        fees = f"maker {_bps(row['maker_fee_ppm'])}, taker {_bps(row['taker_fee_ppm'])}"
        step = f"tick {from_e8(row['tick_e8'])}, lot {from_e8(row['lot_e8'])}"
        rows.append((f"fees of {key}", fees, f"{'spot' if row['is_spot'] else 'perpetual'}, {step}"))
    rows += [
        ("position limit", _percent(limits["position_bps"]), "of equity per instrument, open orders included"),
        ("order value limit", from_e8(limits["order_notional_e8"]), "quote currency"),
        ("order size limit", f"{int(limits['order_lots']):,} lots", "per order"),
        ("price collar", _percent(limits["collar_bps"]), "limit price against the mid"),
        ("drawdown limit", _percent(limits["drawdown_bps"]), "of the high-water mark; then nothing opens"),
        ("daily loss limit", _percent(limits["daily_loss_bps"]), "of the equity at the start of the day"),
        ("open orders limit", f"{int(limits['open_orders']):,}", "per instrument"),
        ("cool-down", _seconds(limits["cool_down_ns"]), "between opening orders of one instrument"),
        ("order rate", f"{int(limits['bucket_tokens']):,} at once", f"then one per {refill}"),
        ("stop confirmation", _seconds(limits["stop_confirm_ns"]), "an unprotected fill is closed after this"),
    ]  # fmt: skip
    return [{"name": name, "value": value, "note": note} for name, value, note in rows]


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

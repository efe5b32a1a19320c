"""The session's money from the integers of positions: exact, and decimal only when it leaves."""

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np

from bot4.adapters.files.report_series import lowest_drawdown, round_trips
from bot4.model.records import JOURNAL_SAMPLE
from bot4.model.units import decimal_string, from_e8
from bot4.shm import wires as w


def _unrealised_e8(row: np.ndarray, instrument: np.void) -> int:
    """Open profit at the mid price, rounded down; 0 without a position or a quote."""
    lots, bid, ask = (int(row[column]) for column in (w.POSITION_LOTS, w.POSITION_BID, w.POSITION_ASK))
    if lots == 0 or bid <= 0:
        return 0
    return (lots * (bid + ask) - 2 * int(row[w.POSITION_COST_TL])) * int(instrument["value_e8"]) // 2


def position_object(row: np.ndarray, instrument: np.void) -> dict[str, int | str]:
    """One instrument of `session.json`'s positions from its row of wires.positions."""
    lots, cost = int(row[w.POSITION_LOTS]), int(row[w.POSITION_COST_TL])
    average = Decimal(0)
    if lots:
        tick = Decimal(int(instrument["tick_e8"])).scaleb(-8)
        average = (Decimal(cost) / lots * tick).quantize(Decimal("1e-8"), ROUND_HALF_EVEN)
    return {
        "lots": lots,
        "average_price": decimal_string(average),
        "realised": from_e8(int(row[w.POSITION_REALISED_TL]) * int(instrument["value_e8"])),
        "unrealised": from_e8(_unrealised_e8(row, instrument)),
        "fees": from_e8(int(row[w.POSITION_FEES_E8])),
        "funding": from_e8(int(row[w.POSITION_FUNDING_E8])),
    }


def _sums_e8(wires: w.Wires, instruments: np.ndarray) -> tuple[int, int, int, int]:
    """Realised, unrealised, fees and funding of all instruments."""
    realised = unrealised = fees = funding = 0
    for row, instrument in zip(wires.positions, instruments, strict=True):
        realised += int(row[w.POSITION_REALISED_TL]) * int(instrument["value_e8"])
        unrealised += _unrealised_e8(row, instrument)
        fees += int(row[w.POSITION_FEES_E8])
        funding += int(row[w.POSITION_FUNDING_E8])
    return realised, unrealised, fees, funding


def equity_object(wires: w.Wires, instruments: np.ndarray, records: np.ndarray, start: int) -> dict[str, object]:
    """Equity at the start and the end, and the deepest fall; `start` in 1e-8 of the quote currency."""
    realised, unrealised, fees, funding = _sums_e8(wires, instruments)
    execution = wires.gauges[wires.gauges.shape[0] - w.N_OTHER_ROWS + w.EXECUTION_ROW]
    drawdown = int(execution[w.GAUGE_EXEC_DRAWDOWN_PPM]) / 1_000_000
    return {
        "start": from_e8(start),
        "end": from_e8(start + realised + unrealised - fees + funding),
        "cash": from_e8(_cash_e8(wires, instruments, start)),
        "max_drawdown_ratio": max(drawdown, lowest_drawdown(records)),
        "samples": int(np.count_nonzero(records["type"] == JOURNAL_SAMPLE)),
    }


def result_object(wires: w.Wires, instruments: np.ndarray, fills: np.ndarray) -> dict[str, object]:
    """What the session earned, what it cost, and how its round trips went; `fills` is FILL[n]."""
    realised, unrealised, fees, funding = _sums_e8(wires, instruments)
    trips = round_trips(fills, instruments)
    won = sum(profit > 0 for profit in trips)
    return {
        "profit_after_fees": from_e8(realised + unrealised - fees + funding),
        "gross": from_e8(realised + unrealised),
        "fees": from_e8(fees),
        "funding": from_e8(funding),
        "round_trips": len(trips),
        "won": won,
        "win_ratio": won / len(trips) if trips else None,
        "best": from_e8(max(trips)) if trips else None,
        "worst": from_e8(min(trips)) if trips else None,
        "buys": int(np.count_nonzero(fills["side"] > 0)),
        "sells": int(np.count_nonzero(fills["side"] < 0)),
    }


def _cash_e8(wires: w.Wires, instruments: np.ndarray, start_e8: int) -> int:
    """Cash as the venue counts it: a spot fill moves its whole value, a linear one what it realised; all pay fees."""
    cash = start_e8
    for row, instrument in zip(wires.positions, instruments, strict=True):
        flow = int(row[w.POSITION_REALISED_TL])
        if instrument["is_spot"]:
            flow -= int(row[w.POSITION_COST_TL])
        cash += flow * int(instrument["value_e8"]) - int(row[w.POSITION_FEES_E8]) + int(row[w.POSITION_FUNDING_E8])
    return cash

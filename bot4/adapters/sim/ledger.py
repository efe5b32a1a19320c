"""The ledger: what really happened at the venue, one JSON object a line, appended and flushed, never changed.

A batch of lines is there as a whole or not at all: where the disk is full, what was written of it is taken back, nobody
has been told of it yet, and nothing is written any more.

It is the judge of every test of execution, so it is written by the venue's process alone, from the venue's own entries,
and says everything that is needed to recompute the account: integers with their scale, the contract's kind, the fee's
rate, the request's bytes. Fields of a line (those that mean something for its kind; null where there is none):

    seq, t_ns, kind            1, 2, 3, ...; event time; request | order | fill | balance | fault
    venue_order_id, client_order_id, symbol, side
    symbol      the symbol, with its venue (BTCUSDT.binance_spot) where two instruments of the session share it
    contract    "spot" or "linear"
    scale       {"tick_e8", "lot_e8", "value_e8"}: price = price_ticks * tick_e8, quantity = qty_lots * lot_e8,
                value = price_ticks * qty_lots * value_e8, each in 1e-8
    request     action, type, tif, flags, leg, price_ticks, qty_lots, stop_ticks, body (128 bytes, base64)
    order       status, reason, type, tif, flags, leg, price_ticks, qty_lots, stop_ticks, cum_lots, leaves_lots
    fill        trade_id, price_ticks, qty_lots, cum_lots, leaves_lots, fee_e8, fee_ppm, liquidity, type, flags, leg,
                position_lots and cash_e8 after it
    balance     reason (start | funding), amount_e8, cash_e8 after it; funding: position_lots, mark_e8, rate_e8
    fault       reason
"""

import base64
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson

from bot4.kernels.matching.state import (
    BALANCE_NAMES,
    FAULT_NAMES,
    LEDGER_BALANCE,
    LEDGER_FAULT,
    LEDGER_FILL,
    LEDGER_KINDS,
    LEDGER_ORDER,
    LEDGER_REQUEST,
    LIQUIDITY_MAKER,
)
from bot4.model.enums import (
    ACTION_PLACE,
    LEG_NAMES,
    ORDER_POST_ONLY,
    ORDER_REDUCE_ONLY,
    REJECT_NAMES,
    REPORT_ACK,
    REPORT_CANCEL_REJECT,
    REPORT_CANCELED,
    REPORT_EXPIRED,
    REPORT_FILL,
    REPORT_REJECT,
    REPORT_REPLACED,
    REPORT_TRIGGERED,
    TYPE_NAMES,
)
from bot4.model.errors import Bot4Error

ACTION_NAMES = (
    "", "place", "cancel", "amend", "cancel_all", "query_order", "query_open", "query_trades", "query_position",
    "query_balance",
)  # fmt: skip
TIF_NAMES = ("", "gtc", "ioc")
STATUS_NAMES = {
    REPORT_ACK: "accepted",
    REPORT_REJECT: "rejected",
    REPORT_FILL: "filled",
    REPORT_CANCELED: "canceled",
    REPORT_EXPIRED: "expired",
    REPORT_TRIGGERED: "triggered",
    REPORT_REPLACED: "replaced",
    REPORT_CANCEL_REJECT: "change_refused",
}
_FLAG_NAMES = ((ORDER_REDUCE_ONLY, "reduce_only"), (ORDER_POST_ONLY, "post_only"))
_SIDES = {1: "buy", -1: "sell"}


def client_order_id(id_hi: int, id_lo: int) -> str:
    """A client order id as text: 32 lower-case hex digits."""
    return f"{int(id_hi):016x}{int(id_lo):016x}"


def _name(names: tuple[str, ...], number: int) -> str | int | None:
    """The name of a number, None for 0, the number itself where it has no name (a malformed request)."""
    return names[number] if 0 < number < len(names) else number or None


class LedgerFile:
    """Turns ledger entries into lines and appends them; one per venue process."""

    def __init__(self, path: Path, instruments: np.ndarray, symbols: list[str]):
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._whole_bytes = os.fstat(self._descriptor).st_size
        self._failure = ""
        self._symbols = symbols
        self._contracts = ["spot" if row["is_spot"] else "linear" for row in instruments]
        self._scales = [{name: int(row[name]) for name in ("tick_e8", "lot_e8", "value_e8")} for row in instruments]

    def write(self, entries: np.ndarray) -> None:
        """Append entries (LEDGER_ENTRY[n]), all or none. A failure is final: it is raised again by any later call."""
        if self._failure:
            raise Bot4Error(self._failure)
        text = b"".join(orjson.dumps(self._line(entry), option=orjson.OPT_APPEND_NEWLINE) for entry in entries)
        left = memoryview(text)
        try:
            while left:  # a full disk takes a part first, then nothing
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._whole_bytes)
            self._failure = f"{self._path}: the ledger cannot be written: {error.strerror}"
            raise Bot4Error(self._failure) from None
        self._whole_bytes += len(text)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _line(self, entry: np.void) -> dict:
        kind = int(entry["kind"])
        index = int(entry["instrument"])
        known = 0 <= index < len(self._symbols)
        line = {
            "seq": int(entry["seq"]),
            "t_ns": int(entry["t_ns"]),
            "kind": LEDGER_KINDS[kind],
            "venue_order_id": int(entry["venue_order_id"]) or None,
            "client_order_id": None,
            "symbol": self._symbols[index] if known else None,
            "side": _SIDES.get(int(entry["side"])),
        }
        if kind in (LEDGER_REQUEST, LEDGER_ORDER, LEDGER_FILL):
            if entry["id_hi"] or entry["id_lo"]:
                line["client_order_id"] = client_order_id(entry["id_hi"], entry["id_lo"])
            line["type"] = _name(TYPE_NAMES, int(entry["type"]))
            line["leg"] = LEG_NAMES[int(entry["leg"])] if int(entry["leg"]) < len(LEG_NAMES) else int(entry["leg"])
            line["flags"] = [name for bit, name in _FLAG_NAMES if int(entry["flags"]) & bit]
        if known:
            line["contract"] = self._contracts[index]
            line["scale"] = self._scales[index]
        fill_in = {
            LEDGER_REQUEST: self._request,
            LEDGER_ORDER: self._order,
            LEDGER_FILL: self._fill,
            LEDGER_BALANCE: self._balance,
            LEDGER_FAULT: self._fault,
        }
        fill_in[kind](line, entry)
        return line

    @staticmethod
    def _numbers(line: dict, entry: np.void, *names: str) -> None:
        for name in names:
            line[name] = int(entry[name])

    def _request(self, line: dict, entry: np.void) -> None:
        line["action"] = _name(ACTION_NAMES, int(entry["action"]))
        line["tif"] = _name(TIF_NAMES, int(entry["tif"]))
        self._numbers(line, entry, "price_ticks", "qty_lots", "stop_ticks")
        line["body"] = base64.b64encode(entry["body"].tobytes()).decode()

    def _order(self, line: dict, entry: np.void) -> None:
        status = int(entry["status"])
        code = int(entry["code"])
        line["status"] = STATUS_NAMES[status]
        line["reason"] = REJECT_NAMES[code] if code else None
        if int(entry["action"]) > ACTION_PLACE:
            line["action"] = _name(ACTION_NAMES, int(entry["action"]))
        line["tif"] = _name(TIF_NAMES, int(entry["tif"]))
        self._numbers(line, entry, "price_ticks", "qty_lots", "stop_ticks", "cum_lots", "leaves_lots")

    def _fill(self, line: dict, entry: np.void) -> None:
        line["liquidity"] = "maker" if int(entry["liquidity"]) == LIQUIDITY_MAKER else "taker"
        self._numbers(
            line, entry, "trade_id", "price_ticks", "qty_lots", "cum_lots", "leaves_lots", "fee_e8", "fee_ppm",
            "position_lots", "cash_e8",
        )  # fmt: skip

    def _balance(self, line: dict, entry: np.void) -> None:
        line["reason"] = BALANCE_NAMES[int(entry["status"])]
        self._numbers(line, entry, "amount_e8", "cash_e8")
        if line["symbol"] is not None:
            self._numbers(line, entry, "position_lots", "mark_e8", "rate_e8")

    def _fault(self, line: dict, entry: np.void) -> None:
        line["reason"] = FAULT_NAMES[int(entry["status"])]

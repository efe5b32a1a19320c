"""A session's journal in words: one object a record, for whoever has to explain an order."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from bot4.adapters.files.digest import bodies
from bot4.model import enums as e
from bot4.model import records as r
from bot4.model.breaker import STATES, row_label
from bot4.model.units import decimal_string, from_e8
from bot4.settings.conversion import limit_field, limit_text

KINDS = {
    r.JOURNAL_START: "start", r.JOURNAL_INTENT: "order", r.JOURNAL_DENIED: "refused", r.JOURNAL_EVENT: "venue",
    r.JOURNAL_REQUEST: "request", r.JOURNAL_SAMPLE: "sample", r.JOURNAL_LIMIT: "limit",
    r.JOURNAL_DAY: "day begins", r.JOURNAL_DAY_SHUT: "day shut", r.JOURNAL_BREAKER: "breaker",
    r.JOURNAL_SLICED: "entry in slices",
}  # fmt: skip
ACTIONS = {
    e.ACTION_PLACE: "place", e.ACTION_CANCEL: "cancel", e.ACTION_AMEND: "amend", e.ACTION_CANCEL_ALL: "cancel all",
    e.ACTION_QUERY_ORDER: "ask for the order",
}  # fmt: skip
SIDES = {e.SIDE_BUY: "buy", e.SIDE_SELL: "sell"}
TIFS = {e.TIF_GTC: "gtc", e.TIF_IOC: "ioc", e.TIF_FOK: "fok", e.TIF_GTD: "gtd"}


def journal_lines(records: np.ndarray, sizes: Sequence[tuple[str, Decimal, Decimal]]) -> Iterator[dict[str, Any]]:
    """Every record but samples and ends of lists, in order, as JSON types.

    Parameters
    ----------
    records : JOURNAL[n], checked
    sizes : name, tick size and lot size of each instrument; of one that is not there, ticks and lots are told
    """
    intents, reports = bodies(records, r.ORDER_INTENT), bodies(records, r.EXEC_REPORT)
    asked: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # of each order what is not answered
    for i, record in enumerate(records):
        kind = int(record["type"])
        is_end = kind == r.JOURNAL_EVENT and reports[i]["kind"] == e.REPORT_QUERY_END
        if kind == r.JOURNAL_SAMPLE or is_end:
            continue
        said: dict[str, Any] = {"seq": int(record["seq"])}
        if record["ts_ns"]:
            said["time"] = _time(record["ts_ns"])
        said["record"] = KINDS.get(kind, f"type {kind}")
        if kind == r.JOURNAL_START:
            said["starts"] = int(record["body"][0])
        elif kind == r.JOURNAL_EVENT:
            said |= _report(reports[i], sizes)
            if _answers(asked, reports[i]) == e.ACTION_AMEND:
                said["says"] = "amend_reject"
        elif kind in (r.JOURNAL_INTENT, r.JOURNAL_SLICED, r.JOURNAL_DENIED, r.JOURNAL_REQUEST):
            said |= _order(intents[i], sizes, asks=kind == r.JOURNAL_REQUEST)
            if kind in (r.JOURNAL_INTENT, r.JOURNAL_SLICED) and intents[i]["aux"]:
                said["take_profit"] = _price(intents[i]["aux"], int(intents[i]["instrument"]), sizes)
            if kind != r.JOURNAL_DENIED and intents[i]["action"] in (e.ACTION_CANCEL, e.ACTION_AMEND):
                asked[_id(intents[i])].append(int(intents[i]["action"]))
        elif kind == r.JOURNAL_LIMIT:
            name = (r.LIMITS.names or ())[int(record["code"])]
            said["tighter"] = {limit_field(name): limit_text(name, int(reports[i]["cash_e8"]))}
            said["from"] = _time(reports[i]["ts_ns"])
        elif kind == r.JOURNAL_DAY:
            said["begins_with"] = from_e8(int(record["day_start_e8"]))
        elif kind == r.JOURNAL_DAY_SHUT:
            said["until"] = _time(reports[i]["cash_e8"])
        elif kind == r.JOURNAL_BREAKER:
            word = int(reports[i]["cash_e8"])
            said |= {"of": row_label(int(record["code"])), "is": STATES[word & 3], "opened": word >> 2}
        if record["code"] and kind not in (r.JOURNAL_LIMIT, r.JOURNAL_BREAKER):
            said["code"] = e.REJECT_NAMES.get(int(record["code"]), int(record["code"]))
            said["because"] = e.REJECT_REASONS.get(int(record["code"]), "not in the table of codes")
        if kind not in (r.JOURNAL_START, r.JOURNAL_LIMIT, r.JOURNAL_DAY, r.JOURNAL_DAY_SHUT, r.JOURNAL_BREAKER):
            said["position_before"] = _quantity(record["position_lots"], int(record["instrument"]), sizes)
            said["equity_before"] = from_e8(int(record["equity_e8"]))
        yield said


def _answers(asked: defaultdict[tuple[int, int], list[int]], report: np.void) -> int:
    """Which action the venue refuses by this; 0 if it is no such refusal. A venue answers in the order of requests."""
    actions = asked[_id(report)]
    if report["kind"] == e.REPORT_CANCEL_REJECT:
        return actions.pop(0) if actions else e.ACTION_CANCEL
    if report["kind"] == e.REPORT_REPLACED and e.ACTION_AMEND in actions:
        actions.remove(e.ACTION_AMEND)
    return 0


def _id(row: np.void) -> tuple[int, int]:
    return int(row["id_hi"]), int(row["id_lo"])


def _order(order: np.void, sizes: Sequence[tuple[str, Decimal, Decimal]], asks: bool) -> dict[str, Any]:
    at = int(order["instrument"])
    said = _names(order, sizes)
    if asks or order["action"] != e.ACTION_PLACE:
        said["action"] = ACTIONS.get(int(order["action"]), int(order["action"]))
    said |= {"leg": _name(e.LEG_NAMES, order["leg"]), "side": SIDES.get(int(order["side"]), 0)}
    said["type"] = _name(e.TYPE_NAMES, order["type"])
    if order["tif"] in TIFS:  # what places nothing has none
        said["tif"] = TIFS[int(order["tif"])]
    said["quantity"] = _quantity(order["qty_lots"], at, sizes)
    for name, field in (("price", "price_ticks"), ("stop", "stop_ticks")):
        if order[field]:
            said[name] = _price(order[field], at, sizes)
    for name, flag in (("reduce_only", e.ORDER_REDUCE_ONLY), ("post_only", e.ORDER_POST_ONLY)):
        if order["flags"] & flag:
            said[name] = True
    if order["slices"]:
        said |= {"slices": int(order["slices"]), "slice_s": int(order["slice_ds"]) / 10}
    if order["leg"] == e.LEG_ENTRY and order["action"] == e.ACTION_PLACE:
        said |= {"sized_by": _name(e.SIZED_BY, order["sized_by"]), "score": _number(order["score"])}
    return said


def _report(report: np.void, sizes: Sequence[tuple[str, Decimal, Decimal]]) -> dict[str, Any]:
    at = int(report["instrument"])
    said = _names(report, sizes) | {"says": _name(e.REPORT_NAMES, report["kind"]), "event": int(report["event_seq"])}
    if report["kind"] == e.REPORT_FUNDING:
        return said | {"cash": from_e8(int(report["cash_e8"]))}
    said |= {"leg": _name(e.LEG_NAMES, report["leg"]), "side": SIDES.get(int(report["side"]), 0)}
    if report["qty_lots"]:
        said["quantity"] = _quantity(report["qty_lots"], at, sizes)
    if report["price_ticks"]:
        said["price"] = _price(report["price_ticks"], at, sizes)
    if report["kind"] == e.REPORT_FILL:
        said |= {"fee": from_e8(int(report["fee_e8"])), "trade": int(report["trade_id"])}
    if report["code"]:
        said["code"] = e.REJECT_NAMES.get(int(report["code"]), int(report["code"]))
        said["because"] = e.REJECT_REASONS.get(int(report["code"]), "not in the table of codes")
    return said


def _names(row: np.void, sizes: Sequence[tuple[str, Decimal, Decimal]]) -> dict[str, Any]:
    at = int(row["instrument"])
    said: dict[str, Any] = {"instrument": sizes[at][0] if at < len(sizes) else at}
    if row["id_hi"] or row["id_lo"]:
        said["id"] = f"{int(row['id_hi']):016x}{int(row['id_lo']):016x}"
    return said


def _name(names: Sequence[str], number: int) -> str | int:
    return names[int(number)] if 0 <= number < len(names) else int(number)


def _number(value: float) -> float | str:
    return round(float(value), 6) if np.isfinite(value) else str(float(value))


def _price(ticks: int, at: int, sizes: Sequence[tuple[str, Decimal, Decimal]]) -> str:
    return decimal_string(int(ticks) * sizes[at][1]) if at < len(sizes) else f"{int(ticks)} ticks"


def _quantity(lots: int, at: int, sizes: Sequence[tuple[str, Decimal, Decimal]]) -> str:
    return decimal_string(int(lots) * sizes[at][2]) if at < len(sizes) else f"{int(lots)} lots"


def _time(ts_ns: int) -> str:
    seconds, rest = divmod(int(ts_ns), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"

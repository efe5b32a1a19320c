"""A journal in words: what is left out, and what an answer is called."""

from decimal import Decimal

import numpy as np

from bot4.adapters.files.journal_lines import journal_lines
from bot4.model import enums as e
from bot4.model import records as r


def journal(*rows):
    """Records of (type, body)."""
    records = np.zeros(len(rows), r.JOURNAL)
    for record, (kind, body) in zip(records, rows, strict=True):
        record["type"] = kind
        record["body"] = r.words(body)
    return records


def request(action, id_lo=7, **fields):
    """A request about an order."""
    row = np.zeros(1, r.ORDER_INTENT)
    for name, value in {"action": action, "id_lo": id_lo, **fields}.items():
        row[name] = value
    return r.JOURNAL_REQUEST, row


def report(kind, id_lo=7):
    """What the venue says of it."""
    row = np.zeros(1, r.EXEC_REPORT)
    row["kind"], row["id_lo"] = kind, id_lo
    return r.JOURNAL_EVENT, row


def told(*rows):
    """Its lines."""
    return list(journal_lines(journal(*rows), [("BTC", Decimal("0.1"), Decimal("0.001"))]))


def test_a_refusal_is_called_by_what_was_asked():
    lines = told(
        request(e.ACTION_AMEND), request(e.ACTION_CANCEL), report(e.REPORT_CANCEL_REJECT),
        request(e.ACTION_AMEND, 8), report(e.REPORT_REPLACED, 8), request(e.ACTION_CANCEL, 8),
        report(e.REPORT_CANCEL_REJECT, 8), report(e.REPORT_CANCEL_REJECT), report(e.REPORT_CANCEL_REJECT, 9),
    )  # fmt: skip
    said = [line["says"] for line in lines if line["record"] == "venue"]
    assert said == ["amend_reject", "replaced", "cancel_reject", "cancel_reject", "cancel_reject"]


def test_ends_of_lists_are_left_out_and_times_in_force_are_words():
    lines = told(
        report(e.REPORT_QUERY_END), request(e.ACTION_CANCEL), request(e.ACTION_PLACE, 8, tif=e.TIF_IOC)
    )  # fmt: skip
    assert [line["record"] for line in lines] == ["request", "request"]
    assert "tif" not in lines[0] and lines[1]["tif"] == "ioc"

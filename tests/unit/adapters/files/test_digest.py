"""The digest equals its twin, and changes with what was decided and traded, and with nothing else."""

import numpy as np
import pytest
from builders.report_sample import SampleSession
from reference.adapters.files.digest import ref_session_digest

from bot4.adapters.files.digest import COLUMNS, canonical_rows, session_digest
from bot4.model import enums as e
from bot4.model import records as r

KINDS = {"intent": r.JOURNAL_INTENT, "denied": r.JOURNAL_DENIED, "fill": r.JOURNAL_EVENT}


@pytest.fixture(scope="module")
def journal() -> np.ndarray:
    records = SampleSession(seed=3, seconds=400).journal()
    assert {int(kind) for kind in records["type"]} >= set(KINDS.values())
    return records


def edited(records: np.ndarray, kind: int, name: str, change: int = 1) -> np.ndarray:
    """The journal with one field of the body of its first record of that kind changed."""
    copy = records.copy()
    row = int(np.flatnonzero(copy["type"] == kind)[0])
    dtype = r.EXEC_REPORT if kind == r.JOURNAL_EVENT else r.ORDER_INTENT
    body = copy["body"][row].copy().view(dtype)
    body[name] += np.asarray(change).astype(body[name].dtype)
    copy["body"][row] = body.view(np.int64)
    return copy


def raw(records: np.ndarray) -> list[bytes]:
    return [record.tobytes() for record in records]


def test_twin(journal: np.ndarray) -> None:
    assert session_digest(journal) == ref_session_digest(raw(journal))


def test_empty_journal_has_a_digest() -> None:
    nothing = np.zeros(0, r.JOURNAL)
    assert session_digest(nothing) == ref_session_digest([])


def test_order_of_the_journal_does_not_matter(journal: np.ndarray) -> None:
    shuffled = np.random.default_rng(1).permutation(journal)
    assert session_digest(shuffled) == session_digest(journal)


def test_equal_times_are_ordered_by_instrument_and_event() -> None:
    records = SampleSession(seed=5, seconds=200).journal()
    records["ts_ns"] = records["ts_ns"][0]
    rows = canonical_rows(records)
    keys = [(int(row["instrument"]), int(row["event_no"]), int(row["record"])) for row in rows]
    assert keys == sorted(keys)
    assert session_digest(records) == session_digest(records[::-1]) == ref_session_digest(raw(records))


def test_number_of_shards_does_not_matter() -> None:
    one = SampleSession(seed=9, seconds=300, shards=1).journal()
    two = SampleSession(seed=9, seconds=300, shards=2).journal()
    assert one.tobytes() != two.tobytes()
    assert session_digest(one) == session_digest(two)


@pytest.mark.parametrize("kind", ["intent", "denied"])
@pytest.mark.parametrize("name", ["shard", "order_row", "tsc", "tsc_read", "seq", "score", "strategy", "event_no"])
def test_counters_of_the_machine_are_left_out_of_orders(journal: np.ndarray, kind: str, name: str) -> None:
    assert session_digest(edited(journal, KINDS[kind], name)) == session_digest(journal)


@pytest.mark.parametrize("name", ["shard", "order_row", "seq", "venue_order_id", "event_seq", "ts_ns"])
def test_counters_of_the_machine_are_left_out_of_fills(journal: np.ndarray, name: str) -> None:
    assert session_digest(edited(journal, r.JOURNAL_EVENT, name)) == session_digest(journal)


def test_restarts_of_the_feed_are_left_out(journal: np.ndarray) -> None:
    assert session_digest(edited(journal, r.JOURNAL_INTENT, "id_hi", 5)) == session_digest(journal)


@pytest.mark.parametrize("kind", ["intent", "denied"])
@pytest.mark.parametrize(
    "name",
    ["ts_ns", "id_lo", "price_ticks", "qty_lots", "stop_ticks", "ref_ticks", "instrument", "action", "side", "type",
     "tif", "flags", "leg"],
)  # fmt: skip
def test_every_field_of_an_order_counts(journal: np.ndarray, kind: str, name: str) -> None:
    changed = edited(journal, KINDS[kind], name)
    assert session_digest(changed) != session_digest(journal)
    assert session_digest(changed) == ref_session_digest(raw(changed))


@pytest.mark.parametrize(
    "name",
    ["id_lo", "price_ticks", "qty_lots", "cum_lots", "leaves_lots", "fee_e8", "instrument", "side", "type", "flags",
     "leg", "t_venue_ns"],
)  # fmt: skip
def test_every_field_of_a_fill_counts(journal: np.ndarray, name: str) -> None:
    changed = edited(journal, r.JOURNAL_EVENT, name)
    assert session_digest(changed) != session_digest(journal)
    assert session_digest(changed) == ref_session_digest(raw(changed))


@pytest.mark.parametrize("kind", list(KINDS))
def test_event_time_counts(journal: np.ndarray, kind: str) -> None:
    changed = journal.copy()
    changed["ts_ns"][np.flatnonzero(changed["type"] == KINDS[kind])[0]] += 1
    assert session_digest(changed) != session_digest(journal)


def test_account_counts(journal: np.ndarray) -> None:
    assert session_digest(edited(journal, r.JOURNAL_INTENT, "id_hi", 1 << 48)) != session_digest(journal)


def test_reason_of_a_denial_counts_but_not_a_repeat(journal: np.ndarray) -> None:
    row = np.flatnonzero(journal["type"] == r.JOURNAL_DENIED)[0]
    other = journal.copy()
    other["code"][row] = e.RISK_RATE
    assert session_digest(other) != session_digest(journal)
    repeat = journal[[row]].copy()
    repeat["code"] = e.EXEC_DUPLICATE
    assert session_digest(np.concatenate([journal, repeat])) == session_digest(journal)


def test_a_trade_told_twice_counts_once(journal: np.ndarray) -> None:
    again = journal[journal["type"] == r.JOURNAL_EVENT][:3].copy()
    again["seq"] += 1_000_000
    again["ts_ns"] += 5
    doubled = np.concatenate([journal, again])
    assert session_digest(doubled) == session_digest(journal)
    assert ref_session_digest(raw(doubled)) == session_digest(journal)


def test_each_missing_record_counts(journal: np.ndarray) -> None:
    whole = session_digest(journal)
    for kind in KINDS.values():
        row = np.flatnonzero(journal["type"] == kind)[-1]
        assert session_digest(np.delete(journal, row)) != whole


def test_samples_requests_and_other_events_do_not_count(journal: np.ndarray) -> None:
    assert session_digest(journal[journal["type"] != r.JOURNAL_SAMPLE]) == session_digest(journal)
    other = journal[journal["type"] == r.JOURNAL_EVENT][:1].copy()
    body = other["body"][0].copy().view(r.EXEC_REPORT)
    body["kind"] = e.REPORT_ACK
    other["body"][0] = body.view(np.int64)
    assert session_digest(np.concatenate([journal, other])) == session_digest(journal)


def test_rows_are_as_wide_as_documented(journal: np.ndarray) -> None:
    rows = canonical_rows(journal)
    assert rows.dtype.itemsize == 8 * len(COLUMNS)
    assert all(rows.dtype[name].str == "<i8" for name in COLUMNS)

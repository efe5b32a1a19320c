"""Journals of random records, and what a power cut or another boot makes of them."""

import time

import numpy as np

from bot4.engine.gateway_log import GATEWAY_START
from bot4.engine.journal import JournalFile, journal_append
from bot4.engine.journal_mark import SLOT_BYTES, mark_path, pack_mark, read_mark
from bot4.model.records import JOURNAL, JOURNAL_WORDS, words


def fill(journal, count, seed=1):
    """Append `count` records of random content."""
    random = np.random.default_rng(seed)
    record = np.zeros(1, JOURNAL)
    view = words(record)
    for _ in range(count):
        view[:] = random.integers(-(2**62), 2**62, JOURNAL_WORDS)
        journal_append(journal.header, journal.records, record, view)


def wait_for(true, patience_s=120):
    """Until it is so."""
    until = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < until, "waited for too long"
        time.sleep(0.001)


def grown(path, records, capacity=16, seed=0, **options):
    """A journal of so many records in as many segments as they need, each made before the one before was full."""
    journal = JournalFile(path, capacity, **options)
    while journal.count < records:
        fill(journal, min(journal.room, records - journal.count), seed=seed + journal.segments)
        if journal.count < records:
            segments = journal.segments
            journal.look_ahead()
            wait_for(lambda made=segments + 1: journal.segments == made and journal.room)
    return journal


def log_of_another_boot(path, kept):
    """A gateway's log as another boot would have written it, and no more of it than so many records."""
    log = JournalFile(path)
    records = log.table[:kept].copy()
    log.close()
    path.unlink()
    records["cost_tl"][records["type"] == GATEWAY_START] += 1
    log = JournalFile(path)
    for index in range(len(records)):
        one = records[index : index + 1].copy()
        journal_append(log.header, log.records, one, words(one))
    log.close()


def other_boot(path, seq=None):
    """What a journal's mark says is of another boot; `seq`: so many records were synced there."""
    mark = read_mark(path)
    mark = mark._replace(boot=bytes(16), seq=mark.seq if seq is None else seq)
    mark_path(path).write_bytes(pack_mark(mark).ljust(2 * SLOT_BYTES, b"\0"))

"""How instruments moved before the session: read from an own recording as execution would have sampled it."""

import random

import numpy as np
import pytest

from bot4.adapters.files.recording import VERSION, Head, Listed, RecordingWriter
from bot4.model.enums import STATUS_STALE, STATUS_WHOLE, TICK_QUOTE, TICK_STATUS, TICK_TRADE
from bot4.model.errors import RecordingError
from bot4.model.records import TICK
from bot4.ports.store import Raw
from workers.history import HISTORY_S, history_of

SECOND = 10**9
START_NS = 1_700_000_000 * SECOND
AGE_NS = 3 * SECOND
KEYS = [("BTCUSDT", "binance_spot"), ("ETHUSDT", "binance_spot"), ("BTC/USD", "kraken")]
NO_RAW = Raw(np.zeros(0, np.uint8), np.zeros((0, 4), np.int64))


def record(folder, told):
    """Quotes (time, instrument, bid, ask), and statuses (time, instrument, status), as a recording."""
    rows = np.zeros(len(told), TICK)
    for number, (at, instrument, *values) in enumerate(told):
        kind = TICK_STATUS if len(values) == 1 else TICK_QUOTE if len(values) == 2 else TICK_TRADE
        rows[number]["ts_recv_ns"], rows[number]["instrument"], rows[number]["kind"] = at, instrument, kind
        rows[number]["w0"] = values[0]
        rows[number]["w2"] = values[1] if kind == TICK_QUOTE else 0
        rows[number]["event_no"], rows[number]["seq"] = number + 1, number + 1
    listed = [Listed(symbol, venue, "0.01", "0.00001") for symbol, venue in KEYS]
    writer = RecordingWriter(folder, Head(VERSION, "", "test", False, "receive", listed))
    writer.write(rows, NO_RAW)
    writer.finish(len(rows))
    return folder


def sampled(told, symbols):
    """The same by the rule: at each new second, what the last records before it said."""
    found, last_second = [], None
    for place, (now, *_) in enumerate(told):
        second = now // SECOND
        if last_second is not None and second > last_second:
            row = []
            for key in symbols:
                own = [one for one in told[:place] if KEYS[one[1]] == key]
                whole = [one[2] == STATUS_WHOLE for one in own if len(one) == 3][-1:] == [True]
                quote = next((one for one in reversed(own) if len(one) == 4), None)
                live = whole and quote is not None and quote[2] > 0 and now - quote[0] <= AGE_NS
                row.append(quote[2] + quote[3] if live else None)
            found.append(row)
        last_second = second if last_second is None else max(last_second, second)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_execution_would_have_sampled(tmp_path, seed):
    draw = random.Random(seed)
    now, told = START_NS, [(START_NS, place, STATUS_WHOLE) for place in range(3)]
    for _ in range(400):
        now += draw.choice((0, 1, SECOND // 3, SECOND, 2 * SECOND + 1))
        place, bid = draw.randrange(3), draw.choice((0, *range(6_000_000, 6_000_100)))
        if draw.random() < 0.1:
            told.append((now, place, draw.choice((STATUS_WHOLE, STATUS_WHOLE, STATUS_STALE))))
        else:
            told.append((now, place, bid, bid + 1))
    symbols = [KEYS[2], ("SOLUSDT", "binance_spot"), KEYS[0]]  # one of them nobody has recorded
    chosen = [one for one in told if KEYS[one[1]] in symbols]
    found = history_of(record(tmp_path / "it", told), symbols, AGE_NS)
    expected = sampled(chosen, symbols)
    assert [[None if np.isnan(mid) else mid for mid in row] for row in found.tolist()] == expected
    assert any(None not in (row[0], row[2]) for row in expected) and {row[1] for row in expected} == {None}


def test_the_last_hours_count(tmp_path):
    told = [(START_NS, 0, STATUS_WHOLE)]
    told += [(START_NS + second * SECOND, 0, 6_000_000 + second, 6_000_001 + second) for second in range(HISTORY_S + 9)]
    found = history_of(record(tmp_path / "it", told), KEYS[:1], AGE_NS)
    assert len(found) == HISTORY_S and found[-1, 0] == 2 * (6_000_000 + HISTORY_S + 7) + 1


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"no recording\.json beside it or above it"):
        history_of(tmp_path, KEYS, AGE_NS)

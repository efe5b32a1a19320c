"""The recorder: what it has in files is what was published, whatever becomes of it, and what is missing is counted."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pytest
from reference.kernels.scan import Listing
from rig.feed import FeedRig, KnownMarket

from bot4.adapters.files.raw import find_captures
from bot4.adapters.files.recording import (
    COLUMNS,
    HEAD_NAME,
    SUMS_NAME,
    VERSION,
    Head,
    Listed,
    Recording,
    RecordingWriter,
    as_received,
)
from bot4.adapters.files.recording_check import recording_files
from bot4.engine.feed import FeedAgent
from bot4.engine.recorder import RecorderAgent
from bot4.model.enums import STATUS_STALE, STATUS_WHOLE, TICK_STATUS
from bot4.model.records import TICK
from bot4.ports.store import NUMBERS_APART
from bot4.shm.breaker import Breaker
from bot4.shm.byte_ring import push_message
from bot4.shm.layout import CONTROL_NO_RECORDER, RING_DROPPED, RING_HEAD, RING_TAIL
from bot4.shm.wires import (
    GAUGE_RECORDER_FAILURES,
    GAUGE_RECORDER_TICKS,
    N_OTHER_ROWS,
    RECORDER_ROW,
    private_rings,
    private_wires,
)

SLOTS = 256
DAY_NS = 86_400 * 10**9
START_NS = 1_700_000_000_000_000_000


def ticks(count, first=1, instrument=0, ts_ns=START_NS, step_ns=1_000):
    """Consecutive records of one instrument."""
    made = np.zeros(count, TICK)
    made["instrument"], made["kind"], made["flags"] = instrument, 1, 1
    made["event_no"] = np.arange(first, first + count)
    made["ts_recv_ns"] = ts_ns + np.arange(count) * step_ns
    made["w0"], made["w3"] = np.arange(count) * 7, -np.arange(count)
    return made


def head():
    """Of a recording of two instruments."""
    listed = [Listed("BTCUSDT", "binance_spot", "0.01", "0.00001"), Listed("BTC/USD", "kraken", "0.1", "0.00000001")]
    return Head(VERSION, "", "test", False, "receive", listed)


class Rig:
    """A recorder on private rings and a clock of its own."""

    def __init__(self, folder, rows=100, part_s=60.0, slots=SLOTS, raw=SLOTS):
        self.folder, self.now_ns, self.told = folder, 0, []
        self.wires = private_wires(1, 2, 64, record=slots, raw=raw)
        self.rows, self.part_s = rows, part_s
        self.pushed = []
        self.store_takes_ns = self.begun = 0
        self.start()

    def start(self):
        """A recorder, also one after another that was killed."""
        store = RecordingWriter(self.folder, head())
        self.agent = RecorderAgent(self.wires, store, self.rows, self.part_s, self.told.append, lambda: self.now_ns)

    def watch(self, row):
        """The same recorder with a breaker of this row, and a store that takes as long as the test says."""
        recorder = RecordingWriter(self.folder, head())
        write = recorder.write

        def slowly(*part):
            self.begun += 1
            self.now_ns += self.store_takes_ns
            return write(*part)

        recorder.write = slowly
        breaker = Breaker(row, lambda: self.now_ns, None, "recorder")
        self.agent = RecorderAgent(
            self.wires, recorder, self.rows, self.part_s, self.told.append, lambda: self.now_ns, breaker
        )

    def push(self, records):
        """As the feed does; what finds no room is dropped and counted."""
        ring = self.wires.record
        for record in records:
            if ring[RING_HEAD] - ring[RING_TAIL] == SLOTS:
                ring[RING_DROPPED] += 1
                continue
            slot = ring[64:].view(TICK)[int(ring[RING_HEAD]) % SLOTS :][:1]
            slot[0] = record
            slot["seq"] = ring[RING_HEAD] + 1
            ring[RING_HEAD] += 1
            self.pushed.append(slot[0].copy())

    def gauge(self, number):
        """Of the recorder."""
        return int(self.wires.gauges[self.wires.gauges.shape[0] - N_OTHER_ROWS + RECORDER_ROW, number])

    def read(self):
        """All rows of the recording."""
        return np.concatenate(list(Recording([self.folder]).blocks()))

    def head(self):
        """recording.json."""
        return json.loads((self.folder / HEAD_NAME).read_text())


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path / "session")


def test_the_rows_are_the_records_in_the_order_in_which_they_were_published(rig):
    for turn in range(5):
        rig.push(ticks(17, 1 + 17 * turn, 0, START_NS + turn * 10**6))
        rig.push(ticks(23, 1 + 23 * turn, 1, START_NS + turn * 10**6))  # the same times: only the number tells
        rig.agent.do_work()
    rig.agent.close()
    rows = rig.read()
    expected = np.array(rig.pushed, TICK)
    assert len(rows) == 200
    for name in (*COLUMNS, "seq"):
        assert (rows[name] == expected[name]).all(), name
    assert rig.gauge(GAUGE_RECORDER_TICKS) == rig.head()["ticks"] == 200
    assert rig.head()["ended"] and rig.head()["missing"] == 0 and not rig.told


def test_a_file_a_day_and_instrument(rig):
    midnight = (START_NS // DAY_NS + 1) * DAY_NS
    rig.push(ticks(10, ts_ns=midnight - 5, step_ns=1))
    rig.push(ticks(4, instrument=1, ts_ns=midnight + 1))
    rig.agent.close()
    found = {path.relative_to(rig.folder).as_posix() for path in rig.folder.rglob("*") if path.is_file()}
    assert found == {
        HEAD_NAME,
        SUMS_NAME,
        "date=2023-11-14/BTCUSDT.binance_spot/part-00001.parquet",
        "date=2023-11-15/BTCUSDT.binance_spot/part-00001.parquet",
        "date=2023-11-15/BTC-USD.kraken/part-00001.parquet",
    }
    assert len(rig.read()) == 14


@pytest.mark.parametrize(("rows", "now_s", "written"), [(99, 59.9, 0), (100, 0, 100), (99, 60, 99)])
def test_a_part_is_written_when_it_is_full_or_old(rig, rows, now_s, written):
    rig.push(ticks(rows))
    rig.agent.do_work()
    rig.now_ns = int(now_s * 1e9)
    rig.agent.do_work()
    assert rig.gauge(GAUGE_RECORDER_TICKS) == written


def test_what_found_the_ring_full_is_told_in_the_recording(rig):
    rig.push(ticks(SLOTS + 40))  # the last 40 find no room
    rig.agent.do_work()
    rig.agent.do_work()
    rig.agent.do_work()
    rig.push(ticks(10, SLOTS + 41))
    rig.agent.close()
    assert rig.head()["missing"] == int(rig.wires.record[RING_DROPPED]) == 40
    assert rig.head()["holes"] == [[0, SLOTS, 40, int(rig.pushed[-10]["ts_recv_ns"])]]


@pytest.mark.parametrize("lost", ["the ring was full", "the disk took no more"])
def test_what_was_lost_last_is_missing_though_no_record_behind_it_tells(rig, lost):
    rig.push(ticks(SLOTS + (40 if lost == "the ring was full" else 0)))
    rig.agent.do_work()
    if lost == "the disk took no more":
        rig.push(ticks(30, instrument=1))
        (rig.folder / "date=2023-11-14").mkdir(exist_ok=True)
        (rig.folder / "date=2023-11-14/BTC-USD.kraken").write_text("in the way")
    rig.agent.close()
    missing = 40 if lost == "the ring was full" else 30
    assert rig.head()["missing"] == missing and rig.head()["holes"] == []
    assert recording_files(rig.folder).check()["gaps"] == missing


def test_a_killed_recorder_loses_what_was_in_its_memory_and_says_so(rig):
    rig.push(ticks(100))
    rig.agent.do_work()  # a full part
    rig.push(ticks(30, 101))
    rig.agent.do_work()  # in memory
    (rig.folder / "date=2023-11-14" / "BTCUSDT.binance_spot" / ".part-00002.parquet.77").write_bytes(b"PAR1")
    rig.start()
    rig.push(ticks(20, 131))
    rig.agent.close()
    assert rig.read()["event_no"].tolist() == [*range(1, 101), *range(131, 151)]
    assert rig.gauge(GAUGE_RECORDER_TICKS) == 120 and rig.head()["missing"] == 30
    assert not list(rig.folder.rglob(".part-*"))


def test_what_cannot_be_written_is_lost_counted_and_said_and_the_next_part_is_tried_again(rig):
    place = rig.folder / "date=2023-11-14"
    place.parent.mkdir(parents=True)
    place.write_text("in the way")
    rig.push(ticks(100))
    rig.agent.do_work()
    assert rig.gauge(GAUGE_RECORDER_FAILURES) == 1 and rig.gauge(GAUGE_RECORDER_TICKS) == 0
    assert "cannot be written" in rig.told[0] and "\n" not in rig.told[0]
    place.unlink()
    rig.push(ticks(50, 101))
    rig.agent.close()
    assert rig.head()["holes"] == [[0, 0, 100, int(rig.pushed[100]["ts_recv_ns"])]]
    assert rig.gauge(GAUGE_RECORDER_TICKS) == 50


def test_raw_messages_lie_in_files_that_a_replay_reads(rig):
    def push(ts_ns, text):
        data = np.frombuffer(text + b"\n", np.uint8)
        push_message(rig.wires.raw, np.int64(ts_ns), np.int64(0), data, np.int64(0), np.int64(len(text)))

    push(START_NS, b'{"a":1}')
    push(0, b'%d {"b":2}' % (START_NS // 1_000 + 1))
    push(0, b"no time at all")
    rig.agent.close()
    (part,) = rig.folder.rglob("*.gz")
    assert part.parent.name == "BTCUSDT.binance_spot" and part.parent.parent.name == "date=2023-11-14"
    lines = gzip.decompress(part.read_bytes()).splitlines()
    assert lines == [b'%d {"a":1}' % START_NS, b'%d {"b":2}' % (START_NS // 1_000 + 1), b"no time at all"]
    assert rig.head()["raw"] == 3


BODIES = [
    b'{"a":"b\\n"}',
    b'{\n "a": [1,\r\n 2]\n}',
    b'{"a":"\n"}',
    b"\\n",
    b"\\\n\\\\n\nn",
    b"\n",
    b"",
    b"[1]",
    b"\xff\n",
    b"[" * 10_000 + b"\n",
]


def test_a_raw_message_is_one_line_whatever_is_in_it_and_is_read_as_what_it_was(rig):
    for body in BODIES:
        text = np.frombuffer(body + b"\n", np.uint8)
        push_message(rig.wires.raw, np.int64(START_NS), np.int64(2), text, np.int64(0), np.int64(len(body)))
        rig.agent.do_work()
    rig.agent.close()
    (part,) = rig.folder.rglob("*.gz")
    assert part.parent.name == "binance_spot"  # of none of its instruments
    lines = gzip.decompress(part.read_bytes()).split(b"\n")
    assert len(lines) == len(BODIES) + 1 and rig.head()["raw"] == len(BODIES)
    for line, body in zip(lines, BODIES, strict=False):
        stamp, _, written = line.partition(b" ")
        assert int(stamp) == START_NS
        found = as_received(written + b"\n")
        assert found == (b'{  "a": [1,\r  2] }' if body == BODIES[1] else body)
        assert (written == body) == (b"\n" not in body and not body.startswith(b"\\"))
    (capture,) = find_captures([part])
    assert (capture.venue, [message.body for message in capture.messages() if message.body][:2]) == (
        "binance_spot", [BODIES[0], b'{  "a": [1,\r  2] }'])  # fmt: skip


def restarted(gone=3):
    """Records of a feed that died and numbered on, far behind; `gone`: so many more were lost before."""
    before, after = ticks(5), ticks(7, first=5 + gone + NUMBERS_APART + 1, ts_ns=START_NS + 10**6)
    after["kind"][0], after["w0"][0] = TICK_STATUS, STATUS_STALE
    return before, after


def test_a_new_start_of_the_feed_is_counted_as_one_and_not_as_a_loss(rig):
    before, after = restarted()
    rig.push(before)
    rig.push(after)
    rig.agent.close()
    head = rig.head()
    assert (head["restarts"], head["missing"], head["holes"]) == (1, 0, [])
    found = recording_files(rig.folder).check()
    assert (found["restarts"], found["gaps"], found["out_of_order"]) == (1, 0, 0)


def test_what_came_while_a_book_was_no_longer_whole_is_counted(rig):
    records = ticks(9)
    for row, word in ((0, STATUS_STALE), (2, STATUS_WHOLE), (4, STATUS_STALE), (7, STATUS_WHOLE)):
        records["kind"][row], records["w0"][row] = TICK_STATUS, word
    rig.push(records)
    rig.agent.close()
    assert recording_files(rig.folder).check()["book"]["stale"] == 2, "row 1 came before the first book"


def test_a_leap_of_numbers_that_no_feed_told_is_a_loss(rig):
    before, after = restarted(gone=0)
    after["w0"][0] = STATUS_WHOLE
    rig.push(before)
    rig.push(after)
    rig.agent.close()
    assert (rig.head()["restarts"], rig.head()["missing"]) == (0, NUMBERS_APART)
    found = recording_files(rig.folder).check()
    assert (found["restarts"], found["gaps"]) == (0, NUMBERS_APART)


def test_a_recorder_that_is_started_again_counts_on(rig):
    before, after = restarted()
    rig.push(before)
    rig.push(after)
    rig.agent.write()
    rig.start()
    again = ticks(3, first=int(after["event_no"][-1]) + NUMBERS_APART + 1)
    again["kind"][0], again["w0"][0] = TICK_STATUS, STATUS_STALE
    rig.push(again)
    rig.agent.close()
    assert (rig.head()["restarts"], rig.head()["missing"]) == (2, 0)


# --- the side of the feed ---


def feed(slots, wait):
    """A feed on a market with a ring for the recorder beside the others."""
    market = KnownMarket(5, futures=False)
    lines = market.run(400)
    listing = Listing("BTCUSDT", Decimal("0.01"), Decimal("0.00001"), False)
    made = FeedRig([b"".join(lines)], [listing], wait=wait)
    made.wires = made.wires._replace(record=private_rings(1, slots, 8)[0])
    made.agent.wires = made.wires
    return made


def test_everything_that_the_venue_gets_is_recorded():
    rig = feed(16_384, wait=True).run()
    ring = rig.wires.record
    recorded = ring[64:].view(TICK)[: int(ring[RING_HEAD])]
    market = np.array([tick[0] for tick in rig.taken["market"]], TICK)
    assert len(recorded) > 300
    for name in COLUMNS:
        assert (recorded[name] == market[name]).all(), name


def test_on_a_wall_clock_a_full_ring_costs_the_recording_and_nobody_else():
    whole, rig = feed(16_384, wait=False).run(), feed(64, wait=False).run()
    assert rig.records("market") == whole.records("market") and rig.records("shard-0") == whole.records("shard-0")
    head_, dropped = int(rig.wires.record[RING_HEAD]), int(rig.wires.record[RING_DROPPED])
    assert dropped > 0 and head_ + dropped == len(whole.records("market"))


def test_a_replay_waits_for_the_recorder_unless_there_will_be_none():
    rig = feed(64, wait=True)
    for _ in range(50):
        rig.agent.do_work()
        rig.drain()
    before = len(rig.records("market"))
    assert 0 < before <= 64 and int(rig.wires.record[RING_DROPPED]) == 0
    rig.wires.control[CONTROL_NO_RECORDER] = 1
    rig.run()
    assert len(rig.records("market")) > before and int(rig.wires.record[RING_DROPPED]) > 0


def test_a_feed_that_died_between_a_record_and_its_count_does_not_record_it_twice():
    rig = feed(16_384, wait=True).run()
    ring = rig.wires.record
    head_ = int(ring[RING_HEAD])
    ring[RING_HEAD] -= 1
    FeedAgent(rig.wires, rig.instruments, rig.session, rig.agent.sources, True)
    assert int(ring[RING_HEAD]) == head_ > 0

"""No order from bad data: damaged messages of every field and class between the good ones of a recorded market.

Each damaged message is a copy of the one that comes next, with one value changed, or a whole message that is none. Why
it has to be refused says the scanner's slow twin; the counters have to be exact. What is refused leaves no trace: the
session on the damaged tape makes the very decisions of the session on the good one, by the digest of all its orders.
A damaged change of the book is the exception, for it may have been a good one on its way: the book goes stale, and only
a fresh snapshot makes it whole.

Not here: a value that could be true. A price that is far away without crossing the book is one (an ask or a trade ten
times as high), and the matching engine's time (`T`) decides nothing. When the venue sent a message (`E`) does: an hour
ahead, an hour back and zero are refused.
"""

import gzip
import json
import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reference.kernels.scan import ref_message
from rig.live_session import SYMBOL, intents_of, report_of
from rig.replayer import OracleBook
from rig.scan import USDM
from rig.session import REPOSITORY, run_command
from sim.test_kill_nine import settings

from bot4.adapters.files.recording import Recording
from bot4.model.enums import TICK_STATUS, TICK_TRADE
from bot4.model.records import TICK

pytestmark = [pytest.mark.compiled, pytest.mark.data]
LINES = 60_000
ROUNDS = 3
HOUR_NS = 3_600_000_000_000

# JSON texts that are no good decimal, by class; {} is the true value
DECIMALS = {
    "NaN": ['"NaN"', "NaN", '"nan"', '"-NaN"'],
    "infinite": ['"Infinity"', '"-Infinity"', '"inf"', "Infinity", "-Infinity"],
    "minus zero": ['"-0.0"', '"-0"', "-0.0"],
    "negative": ['"-{}"', "-1", '"-1e5"'],
    "zero": ['"0"', '"0.0"', '"0.00000000"', "0"],
    "denormal": ['"4.9e-324"', '"1e-400"', "4.9e-324", '"0.' + "0" * 39 + '1"'],
    "1e308": ['"1e308"', "1e308", '"1' + "0" * 308 + '"'],
    "int64 max": ['"9223372036854775807"', '"9223372036854775808"', '"18446744073709551616"', "9223372036854775807"],
    "off the grid": ['"{}1"', '"{}0001"', '"{}' + "0" * 30 + '1"'],
    "no number": ['""', '" {}"', '"{} "', '"+{}"', '"0x10"', '"1_000"', '"1,5"', '".5"', '"5."', '"1.2.3"', '"true"'],
    "wrong type": ["null", "true", "[]", "{{}}", '["{}"]', "{}"],
}
INTEGERS = {
    "NaN": ["NaN", '"NaN"'],
    "infinite": ["Infinity", "-Infinity", "1e999"],
    "negative": ["-1", "-{}", "-0"],
    "int64 max": ["9223372036854775807", "9223372036854775808", "1" + "0" * 40],
    "1e308": ["1e308", "1.5", "{}.5"],
    "wrong type": ['"{}"', "null", "true", "[]", "{{}}", '""'],
}
FIELDS = {  # of the stream's data: decimals, integers
    "bookTicker": ("bBaA", "uET"),
    "trade": ("pq", "tET"),
    "markPrice": ("pir", "ET"),
}
MARK = (
    b'{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1723161256000,"s":"BTCUSDT",'
    b'"p":"61800.20000000","P":"61800.20000000","i":"61810.10000000","r":"0.00010000","T":1723190400000}}'
)
FUTURE_ID = 10**13


def put(body: bytes, key: str, text: str) -> bytes:
    """The body with another value of that key of its data; {} stands for the true one."""
    at = body.index(b'"data":')
    found = re.compile(rb'"%s":("([^"]*)"|[-0-9.]+|true|false)' % key.encode()).search(body, at)
    assert found, (key, body[:200])
    true = (found[2] if found[2] is not None else found[1]).decode()
    made = text.replace("{{}}", "\0").replace("{}", true).replace("\0", "{}")
    return body[: found.start(1)] + made.encode() + body[found.end(1) :]


def put_level(body: bytes, key: str, place: int, text: str) -> bytes:
    """The body with another price (0) or quantity (1) of the first level of a side."""
    found = re.compile(rb'"%s":\[\["([0-9.]+)","([0-9.]+)"' % key.encode()).search(body)
    assert found
    begin, end = found.start(1 + place) - 1, found.end(1 + place) + 1
    true = found[1 + place].decode()
    made = text.replace("{{}}", "\0").replace("{}", true).replace("\0", "{}")
    return body[:begin] + made.encode() + body[end:]


def scaled(body: bytes, key: str, factor: str) -> str:
    """The price of that key times 10, 100 or 0.01, as the venue writes it."""
    found = re.search(rb'"%s":(?:\[\[)?"([0-9.]+)"' % key.encode(), body[body.index(b'"data":') :])
    assert found
    return f'"{float(found[1]) * float(factor):.2f}"'


def kind_of(body: bytes) -> str:
    """Of a stream's message; "": none."""
    found = re.match(rb'\{"stream":"[a-z]+@([A-Za-z]+)', body)
    return found[1].decode() if found else ""


def whole_messages(body: bytes, source: random.Random) -> list[tuple[bytes, str]]:
    """What is wrong with a message as a whole, and what the feed itself finds ("" : what the twin says)."""
    made = [(body[: source.randrange(1, len(body) - 1)], ""), (b"x" * 200_000, ""), (b"[" * 100_000, "")]
    made += [(body.replace(b"BTCUSDT", b"ETHUSDT"), ""), (body.replace(b"btcusdt@", b"ethusdt@"), "")]
    made += [(re.sub(rb"@[a-zA-Z]+", b"@liquidation", body, count=1), ""), (b"\xff\xfe" + body, ""), (body + b"}", "")]
    return made


def wrong_times(body: bytes) -> list[tuple[bytes, str]]:
    """When it was sent: never, an hour ago, in an hour."""
    sent = int(re.search(rb'"E":([0-9]+)', body)[1])
    return [(put(body, "E", str(ms)), "venue_time") for ms in (0, sent - 3_600_000, sent + 3_600_000)]


def bad_quotes(body: bytes, last: bytes) -> list[tuple[bytes, str]]:
    """Crossed and locked quotes, wrong scales that cross, and numbers that do not go on."""
    bid, ask = (re.search(rb'"%s":"([0-9.]+)"' % key, body)[1].decode() for key in (b"b", b"a"))
    update = int(re.search(rb'"u":([0-9]+)', last)[1])
    crossed = [put(body, "b", scaled(body, "b", x)) for x in ("10", "100", "1.2")]
    crossed += [put(body, "a", scaled(body, "a", x)) for x in ("0.01", "0.1", "0.8")]
    crossed += [
        put(body, "a", f'"{bid}"'),
        put(body, "b", f'"{ask}"'),
        put(put(body, "b", f'"{ask}"'), "a", f'"{bid}"'),
    ]
    made = [(text, "crossed") for text in crossed]
    made += [(last, "duplicate"), (put(last, "u", str(update - 7)), "out_of_order")]
    return [*made, (put(body, "u", str(update + FUTURE_ID)), "id_leap")]


def bad_trades(body: bytes, last: bytes) -> list[tuple[bytes, str]]:
    """Unknown kinds of trades, wrong types, and numbers that do not go on."""
    number = int(re.search(rb'"t":([0-9]+)', last)[1])
    made = [(put(body, "X", f'"{kind}"'), "non_market_trade") for kind in ("NA", "FOO", "market", "")]
    made += [(put(body, "m", text), "") for text in ('"true"', "null", "1", "maybe", "[]")]
    made += [(last, "duplicate"), (put(last, "t", str(number - 3)), "out_of_order")]
    return [*made, (put(body, "t", str(number + FUTURE_ID)), "id_leap")]


def damages(kind: str, body: bytes, last: bytes, source: random.Random) -> list[tuple[bytes, str]]:
    """All damaged copies of a message without levels, with the reason where it is not the scanner's to know."""
    decimals, integers = FIELDS[kind]
    made = [(put(body, key, text), "") for key in decimals for texts in DECIMALS.values() for text in texts]
    made += [(put(body, key, text), "") for key in integers for texts in INTEGERS.values() for text in texts]
    if kind == "bookTicker":
        made += bad_quotes(body, last) + wrong_times(body)
    if kind == "trade":
        made += bad_trades(body, last) + wrong_times(body)
    made += whole_messages(body, source)
    return made


def damaged_snapshots(body: bytes) -> list[tuple[bytes, str]]:
    """Of the whole book, which stays as it was."""
    texts = [text for texts in DECIMALS.values() for text in texts]
    made = [put_level(body, key, place, text) for key in ("bids", "asks") for place in (0, 1) for text in texts]
    made += [re.sub(rb'"bids":\[.*?\]\]', b'"bids":%s' % text, body) for text in (b"null", b"7", b"[[]]", b'[["1"]]')]
    return [(text, "") for text in made]


def damaged_diffs(body: bytes, last: bytes) -> list[tuple[bytes, str]]:
    """Of a change of the book."""
    made = [(put(body, key, text), "") for key in ("E", "T", "U", "u", "pu") for x in INTEGERS.values() for text in x]
    for key in "ba":
        if re.search(rb'"%s":\[\["' % key.encode(), body):
            made += [(put_level(body, key, place, t), "") for place in (0, 1) for x in DECIMALS.values() for t in x]
    if re.search(rb'"b":\[\["', body):
        made.append((put_level(put_level(body, "b", 0, '"99999.90"'), "b", 1, '"1.000"'), "book_crossed"))
    if re.search(rb'"a":\[\["', body):
        made.append((put_level(put_level(body, "a", 0, '"600.10"'), "a", 1, '"1.000"'), "book_crossed"))
    made.append((last, "duplicate"))
    return made + wrong_times(body)


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines(data_dir):
    """The recorded market: (receive time, body)."""
    with gzip.open(data_dir / "hftbacktest/usdm/btcusdt_20240808.gz") as file:
        made = [line.rstrip(b"\n").split(b" ", 1) for _, line in zip(range(LINES), file, strict=False)]
    return [(int(stamp), body) for stamp, body in made]


def run(folder, lines):
    """A session on these lines, deterministic; its report."""
    folder.mkdir(exist_ok=True)
    tape = folder / "tape.gz"
    with gzip.open(tape, "wb", compresslevel=1) as file:
        file.writelines(b"%d %s\n" % line for line in lines)
    config = settings(folder / "config", REPOSITORY)
    config.write_text(
        f'{config.read_text()}\n[recorder]\nfolder = "{folder / "recordings"}"\nraw = "off"\n'
        "part_mb = 16\npart_s = 600\n"
    )
    result = run_command(
        "start", "--config", config, "--feed", f"replay:{tape}", "--compose", "one", "--report", folder / "report",
        environment={"PYTHONPATH": str(REPOSITORY / "tests")},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return report_of(folder)


@pytest.fixture(scope="module")
def clean(lines, tmp_path_factory):
    """The session on the good tape: its report and folder."""
    folder = tmp_path_factory.mktemp("clean")
    report = run(folder, lines)
    assert report["orders"] >= 100, report
    return report, folder


def ticks_of(folder: Path) -> np.ndarray:
    """All records that the feed published."""
    (path,) = (folder / "recordings").iterdir()
    return np.concatenate(list(Recording([path]).blocks()))


def refused_by(report) -> Counter:
    return Counter(report["rejected_input"])


def no_nan(folder):
    """No number of the report and no score of an order is not finite."""

    def refuse(name):
        raise AssertionError(f"{name} in the report")

    json.loads((folder / "report" / "session.json").read_text(), parse_constant=refuse)
    assert all(math.isfinite(score) for score in intents_of(folder)["score"])


def spread(bad, slots, source):
    """slot -> damaged message, each of them ROUNDS times, never two in one slot."""
    wanted = [number for _ in range(ROUNDS) for number in range(len(bad))]
    return dict(zip(source.sample(slots, len(wanted)), wanted, strict=True))


def test_what_is_refused_leaves_no_trace(lines, clean, tmp_path):
    source = random.Random(29)
    first = next(place for place, (_, body) in enumerate(lines) if body.startswith(b'{"lastUpdateId"'))
    snapshot = lines[first][1]
    slots = {kind: [p for p in range(first + 500, len(lines)) if kind_of(lines[p][1]) == kind] for kind in FIELDS}
    slots["markPrice"], slots["snapshot"] = slots["bookTicker"][1::3], slots["bookTicker"][2::3]
    slots["bookTicker"] = slots["bookTicker"][0::3]
    before: dict[int, bytes] = {}
    lasts: dict[str, bytes] = {}
    for place, (_, body) in enumerate(lines):
        before[place] = lasts.get(kind_of(body), b"")
        lasts[kind_of(body)] = body
    example = {kind: lines[slots[kind][0]][1] if kind != "markPrice" else MARK for kind in FIELDS}
    planned: dict[int, tuple[str, int]] = {}
    for kind in FIELDS:
        count = len(damages(kind, example[kind], example[kind], source))
        planned |= {slot: (kind, number) for slot, number in spread(range(count), slots[kind], source).items()}
    snapshots = damaged_snapshots(snapshot)
    planned |= {slot: ("snapshot", number) for slot, number in spread(snapshots, slots["snapshot"], source).items()}
    tape, expected, passed = [], Counter(), set()
    for place, line in enumerate(lines):
        if place in planned:
            kind, number = planned[place]
            if kind == "snapshot":
                text, why = snapshots[number]
            else:
                body = MARK if kind == "markPrice" else line[1]
                text, why = damages(kind, body, before[place], source)[number]
            why = ref_message(text, USDM).reason or why
            if why:
                tape.append((line[0], text))
                expected[why] += 1
            else:
                passed.add((kind, number))
        if (
            place > first + 500 and place % 500 == 0 and kind_of(line[1]) in FIELDS
        ):  # receive times that go back, or ahead of all that follow
            tape.append((line[0] - HOUR_NS, line[1]))
            tape.append((lines[place - 1][0] + HOUR_NS, line[1]))
            expected["time_back"] += 2
        tape.append(line)
    report = run(tmp_path / "bad", tape)
    found = refused_by(report) - refused_by(clean[0])
    print(f"{expected.total()} damaged messages refused: {dict(expected)}; {len(passed)} could be true")
    assert found == expected
    for key in ("digest", "messages", "levels", "orders", "fills", "positions", "book", "dropped"):
        assert report[key] == clean[0][key], key
    bad, good = ticks_of(tmp_path / "bad"), ticks_of(clean[1])
    assert bad.tobytes() == good.tobytes(), "the feed published the same records"
    assert expected.total() > 1_500 and len(expected) >= 12
    no_nan(tmp_path / "bad")


def test_a_damaged_change_of_the_book_shuts_the_gate_until_a_snapshot(lines, clean, tmp_path):
    source = random.Random(30)
    first = next(place for place, (_, body) in enumerate(lines) if body.startswith(b'{"lastUpdateId"'))
    diffs = [place for place in range(first + 500, len(lines)) if kind_of(lines[place][1]) == "depth"]
    planned = set(source.sample(diffs, len(diffs) * 2 // 3))
    oracle, last = OracleBook(lines[first][1]), b""
    tape, expected, injected = [], Counter(), []
    for place, line in enumerate(lines):
        if place in planned:
            text, why = source.choice(damaged_diffs(line[1], last))
            why = ref_message(text, USDM).reason or why
            if why:
                tape += [(line[0], text), (line[0], oracle.body(1_000))]
                expected[why] += 1
                injected.append(line[0])
        tape.append(line)
        if kind_of(line[1]) == "depth":
            last = line[1]
            if place > first:
                oracle.apply(line[1])
    report = run(tmp_path / "bad", tape)
    assert refused_by(report) - refused_by(clean[0]) == expected and len(expected) >= 6
    assert report["messages"][SYMBOL]["depth"] == clean[0]["messages"][SYMBOL]["depth"] + len(injected)
    assert report["orders"] >= 100 and report["book"][SYMBOL]["compared"] == report["book"][SYMBOL]["equal"] > 100
    ticks, good = ticks_of(tmp_path / "bad"), ticks_of(clean[1])
    same = [name for name in TICK.names if name not in ("seq", "event_no", "flags", "tsc_low")]
    trades = [found[found["kind"] == TICK_TRADE][same] for found in (ticks, good)]
    assert len(trades[0]) == len(trades[1]) and (trades[0] == trades[1]).all()
    stale = ticks[(ticks["kind"] == TICK_STATUS) & (ticks["w0"] == 0)]
    assert len(stale) == expected.total() - expected["duplicate"]
    causes = set(intents_of(tmp_path / "bad")["event_no"].tolist())
    assert not causes & set(stale["event_no"].tolist()), "an order was caused by the damaged message"
    no_nan(tmp_path / "bad")
    print(f"{expected.total()} damaged changes of the book: {dict(expected)}; {report['orders']} orders")

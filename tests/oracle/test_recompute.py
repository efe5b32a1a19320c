"""The oracle is right about a right session, and finds every kind of lie."""

import base64
import json
import random
import struct
import subprocess
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import count
from pathlib import Path

import pytest
from oracle import recompute
from rig.sim_venue import LINEAR, SPOT, SimBench

from bot4.model import enums as e
from bot4.model.records import EXEC_REPORT, JOURNAL, ORDER_INTENT
from bot4.model.units import from_e8
from bot4.ports.venue import ClientId, NewOrder

BIDS = {60_000 - 10 * number: 400 + 37 * number for number in range(20)}
ASKS = {60_010 + 10 * number: 300 + 41 * number for number in range(20)}


def trade_a_while(bench, seed=3, steps=150):
    """Entries with their stops, exits, cancels and funding on both instruments."""
    pick = random.Random(seed)
    ids = count(1)

    def place(instrument, side, order_type, qty, tif, **more):
        bench.venue.place(NewOrder(ClientId(5, next(ids)), instrument, side, order_type, qty, tif, **more))

    for index in (LINEAR, SPOT):
        bench.snapshot(index, BIDS, ASKS)
    for step in range(steps):
        index = pick.randrange(2)
        position = bench.venue.positions().value[index]
        if position.lots == 0:
            side = e.SIDE_BUY if index == SPOT else pick.choice((1, -1))
            place(index, side, e.TYPE_MARKET, pick.randint(50, 900), e.TIF_IOC)
            lots = abs(bench.venue.positions().value[index].lots)
            place(index, -side, e.TYPE_STOP_MARKET, lots, e.TIF_GTC, stop_ticks=60_000 - side * 900,
                  flags=e.ORDER_REDUCE_ONLY, leg=e.LEG_STOP)  # fmt: skip
        elif pick.random() < 0.5:
            side = -1 if position.lots > 0 else 1
            qty = min(abs(position.lots), pick.randint(2, 500))
            place(index, side, e.TYPE_MARKET, max(2, qty), e.TIF_IOC, flags=e.ORDER_REDUCE_ONLY, leg=e.LEG_EXIT)
        else:
            place(index, e.SIDE_BUY, e.TYPE_LIMIT, 100, e.TIF_GTC, price_ticks=50_000, leg=e.LEG_ENTRY)
            bench.venue.cancel(index, bench.venue.open_orders().value[-1].id)
        for price, lots in (*BIDS.items(), *ASKS.items()):
            if pick.random() < 0.2:
                bench.level(index, 1 if price in BIDS else -1, price, lots + step + 1)
        if step % 20 == 10:
            due = bench.now_ns
            bench.mark(LINEAR, 6_000_000_000_000 + step, pick.randint(-20_000, 20_000), due)
            bench.mark(LINEAR, 6_000_000_000_000, 0, due + 1)


def session_of(bench) -> dict:
    """session.json from the venue's own memory, which the oracle does not read."""
    core = bench.agent.memory.core
    positions = {}
    for symbol, seat, instrument in zip(bench.symbols, core.seats, bench.instruments, strict=True):
        lots, cost = int(seat["lots"]), int(seat["cost_tl"])
        tick = int(instrument["tick_e8"])
        average = Decimal(cost) / lots * Decimal(tick).scaleb(-8) if lots else Decimal(0)
        positions[symbol] = {
            "lots": lots,
            "average_price": str(average.quantize(Decimal("1e-8"), ROUND_HALF_EVEN)),
            "realised": from_e8(int(seat["realised_tl"]) * int(instrument["value_e8"])),
            "unrealised": "0",
            "fees": from_e8(int(seat["fees_e8"])),
            "funding": from_e8(int(seat["funding_e8"])),
        }
    end = bench.start_balance_e8 + sum(
        int(seat["realised_tl"]) * int(row["value_e8"]) - int(seat["fees_e8"]) + int(seat["funding_e8"])
        for seat, row in zip(core.seats, bench.instruments, strict=True)
    )
    desk = core.desk[0]
    return {
        "fills": int(desk["n_fills"]),
        "orders": int(desk["n_orders"]),
        "positions": positions,
        "equity": {"start": from_e8(bench.start_balance_e8), "end": from_e8(end), "cash": from_e8(desk["cash_e8"])},
    }


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A session's ledger lines and report."""
    folder = tmp_path_factory.mktemp("oracle")
    bench = SimBench(folder / "ledger.jsonl")
    trade_a_while(bench)
    while any(position.lots for position in bench.venue.positions().value):
        for position in bench.venue.positions().value:
            side = -1 if position.lots > 0 else 1
            bench.snapshot(position.instrument, BIDS, ASKS)
            identity = ClientId(6, bench.now_ns)
            if position.lots:
                bench.venue.place(
                    NewOrder(identity, position.instrument, side, e.TYPE_MARKET, max(2, abs(position.lots)), e.TIF_IOC,
                             flags=e.ORDER_REDUCE_ONLY)
                )  # fmt: skip
    bench.venue.place(NewOrder(ClientId(6, 1), LINEAR, 1, e.TYPE_MARKET, 777, e.TIF_IOC))
    bench.venue.place(
        NewOrder(ClientId(6, 2), LINEAR, -1, e.TYPE_STOP_MARKET, 777, e.TIF_GTC, 0, 59_000, e.ORDER_REDUCE_ONLY)
    )
    session = session_of(bench)
    bench.close()
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()], session


def judge(tmp_path, lines, session, *more) -> int:
    """Exit code of the oracle over these lines and this report."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = tmp_path / "session.json"
    report.write_text(json.dumps(session))
    return recompute.main([str(ledger), str(report), *more])


def journal_of(lines) -> bytes:
    """The journal that execution would have written for these orders and fills."""
    records = []
    for line in lines:
        if line["kind"] == "request" and line["action"] == "place":
            body = base64.b64decode(line["body"])
            records.append((recompute.JOURNAL_INTENT, body))
        elif line["kind"] == "fill":
            body = bytearray(EXEC_REPORT.itemsize)
            high, low = int(line["client_order_id"][:16], 16), int(line["client_order_id"][16:], 16)
            struct.pack_into("<QQqq", body, 8, high, low, line["price_ticks"], line["qty_lots"])
            struct.pack_into("<qq", body, 64, line["trade_id"], line["fee_e8"])
            body[EXEC_REPORT.fields["kind"][1]] = e.REPORT_FILL
            records.append((recompute.JOURNAL_EVENT, bytes(body)))
    data = bytearray(recompute.JOURNAL_HEADER_BYTES + len(records) * JOURNAL.itemsize)
    struct.pack_into("<q", data, recompute.JOURNAL_COMMIT_BYTE, len(records))
    for number, (kind, body) in enumerate(records):
        base = recompute.JOURNAL_HEADER_BYTES + number * JOURNAL.itemsize
        struct.pack_into("<H", data, base + JOURNAL.fields["type"][1], kind)
        data[base + JOURNAL.fields["body"][1] : base + JOURNAL.itemsize] = body
    return bytes(data)


def test_the_oracle_knows_the_layout_of_the_records():
    """Its own structures, written down apart, against the dtypes."""
    for name, at in (
        ("ts_ns", 0),
        ("price_ticks", 24),
        ("stop_ticks", 40),
        ("action", 62),
        ("type", 64),
        ("flags", 66),
    ):
        assert ORDER_INTENT.fields[name][1] == at
    for name, at in (("trade_id", 64), ("fee_e8", 72), ("cash_e8", 88), ("kind", 100)):
        assert EXEC_REPORT.fields[name][1] == at
    assert (JOURNAL.itemsize, JOURNAL.fields["body"][1], JOURNAL.fields["type"][1]) == (256, 128, 4)


def test_a_right_session_is_right(played, tmp_path, capsys):
    lines, session = played
    journal = tmp_path / "journal"
    journal.write_bytes(journal_of(lines))
    assert judge(tmp_path, lines, session, "--journal", str(journal)) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert said.strip().endswith("0 differences")
    assert session["fills"] > 100
    assert {line["reason"] for line in lines if line["kind"] == "balance"} == {"start", "funding"}


def test_it_runs_alone_and_imports_nothing_of_bot4(played, tmp_path):
    lines, session = played
    judge(tmp_path, lines, session)
    script = Path(recompute.__file__)
    assert "bot4" not in [
        word for line in script.read_text().splitlines() if "import " in line for word in line.split()
    ]
    command = [sys.executable, "-I", "-S", str(script), str(tmp_path / "ledger.jsonl"), str(tmp_path / "session.json")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def first(lines, kind, **fields):
    """Index of the first line of a kind with these fields."""
    return next(
        index
        for index, line in enumerate(lines)
        if line["kind"] == kind and all(line.get(name) == value for name, value in fields.items())
    )


def change(**fields):
    def apply(lines, index):
        lines[index] |= fields

    return apply


def add(**fields):
    def apply(lines, index):
        for name, value in fields.items():
            lines[index][name] += value

    return apply


def remove(lines, index):
    del lines[index]
    for number in range(index, len(lines)):
        lines[number]["seq"] -= 1


def repeat(lines, index):
    lines.insert(index, dict(lines[index]))
    for number in range(index + 1, len(lines)):
        lines[number]["seq"] += 1


def delay(seconds):
    def apply(lines, index):
        for line in lines[index:]:
            line["t_ns"] += int(seconds * 10**9)

    return apply


LIES = {
    "a hole in the numbers": ("fill", {}, add(seq=1)),
    "time goes back": ("fill", {}, add(t_ns=-(10**15))),
    "a fee too small by one unit": ("fill", {}, add(fee_e8=-1)),
    "a fee at another rate": ("fill", {}, add(fee_ppm=1)),
    "cash one unit too much": ("fill", {"symbol": "ETHUSDT"}, add(cash_e8=1)),
    "a position one lot off": ("fill", {}, add(position_lots=1)),
    "another price": ("fill", {}, add(price_ticks=1)),
    "another quantity": ("fill", {}, add(qty_lots=1)),
    "a fill that is not there": ("fill", {}, remove),
    "a fill told twice": ("fill", {}, repeat),
    "an order accepted twice": ("order", {"status": "accepted"}, repeat),
    "an order sent twice": ("request", {"action": "place"}, repeat),
    "an order that nobody sent": ("request", {"action": "place"}, remove),
    "an order never answered": ("order", {"status": "accepted"}, remove),
    "an end that is not told": ("order", {"status": "filled"}, remove),
    "another end than its fills say": ("order", {"status": "filled"}, change(status="canceled")),
    "bytes that say something else": ("request", {"action": "place"}, add(qty_lots=1)),
    "funding of another amount": ("balance", {"reason": "funding"}, add(amount_e8=1)),
    "another start": ("balance", {"reason": "start"}, add(amount_e8=1)),
    "a stop confirmed too late": ("order", {"type": "stop_market", "status": "accepted"}, delay(1.1)),
    "a stop that never came": ("request", {"type": "stop_market"}, delay(2)),
    "an unknown kind": ("fill", {}, change(kind="gift")),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_lie_of_the_ledger_is_found(lie, played, tmp_path):
    lines, session = played
    changed = [dict(line) for line in lines]
    kind, fields, apply = LIES[lie]
    apply(changed, first(changed, kind, **fields))
    assert judge(tmp_path, changed, session) == 1


@pytest.mark.parametrize("name", ["lots", "average_price", "realised", "fees", "funding", "unrealised"])
def test_a_lie_of_the_report_about_a_position_is_found(name, played, tmp_path):
    lines, session = json.loads(json.dumps(played))
    told = session["positions"]["BTCUSDT"]
    told[name] = told[name] + 1 if name == "lots" else from_e8(Decimal(told[name]).scaleb(8) + 1)
    assert judge(tmp_path, lines, session) == 1


@pytest.mark.parametrize("where", ["fills", "orders", "start", "end", "cash"])
def test_a_lie_of_the_report_about_the_whole_is_found(where, played, tmp_path):
    lines, session = json.loads(json.dumps(played))
    if where in session:
        session[where] += 1
    else:
        session["equity"][where] = from_e8(Decimal(session["equity"][where]).scaleb(8) + 1)
    assert judge(tmp_path, lines, session) == 1


def test_a_missing_position_is_found(played, tmp_path):
    lines, session = json.loads(json.dumps(played))
    del session["positions"]["ETHUSDT"]
    assert judge(tmp_path, lines, session) == 1


@pytest.mark.parametrize("lie", ["an intent missing", "a fill missing", "a fill changed", "an intent twice", "extra"])
def test_a_lie_of_the_journal_is_found(lie, played, tmp_path):
    lines, session = json.loads(json.dumps(played))
    told = [line for line in lines if line["kind"] == "fill" or line.get("action") == "place"]
    if lie == "an intent missing":
        del told[first(told, "request")]
    elif lie == "a fill missing":
        del told[first(told, "fill")]
    elif lie == "a fill changed":
        told[first(told, "fill")]["fee_e8"] += 1
    elif lie == "an intent twice":
        told.insert(0, told[first(told, "request")])
    else:
        told.append(dict(told[first(told, "fill")], trade_id=10**6))
    journal = tmp_path / "journal"
    journal.write_bytes(journal_of(told))
    assert judge(tmp_path, lines, session, "--journal", str(journal)) == 1


def test_a_late_stop_is_forgiven_when_a_close_is_in_flight(tmp_path):
    """No stop at all, but a market close within the second: the position is never left alone."""
    bench = SimBench(tmp_path / "venue.jsonl")
    bench.snapshot(LINEAR, BIDS, ASKS)
    bench.venue.place(NewOrder(ClientId(1, 1), LINEAR, 1, e.TYPE_MARKET, 100, e.TIF_IOC))
    bench.now_ns += 9 * 10**8
    bench.venue.place(NewOrder(ClientId(1, 2), LINEAR, -1, e.TYPE_MARKET, 100, e.TIF_IOC, flags=e.ORDER_REDUCE_ONLY))
    session = session_of(bench)
    bench.close()
    lines = [json.loads(line) for line in (tmp_path / "venue.jsonl").read_text().splitlines()]
    assert judge(tmp_path, lines, session) == 0
    late = [dict(line) for line in lines]
    delay(0.5)(late, first(late, "request", client_order_id=f"{1:016x}{2:016x}"))
    assert judge(tmp_path, late, session) == 1


@pytest.mark.parametrize("text", ["", "{", '{"positions": 3}', "[]"])
def test_what_cannot_be_read_is_said_so(text, played, tmp_path, capsys):
    lines, session = played
    judge(tmp_path, lines, session)
    (tmp_path / "session.json").write_text(text)
    assert recompute.main([str(tmp_path / "ledger.jsonl"), str(tmp_path / "session.json")]) == 2
    assert "cannot read" in capsys.readouterr().err

"""Whole sessions on the recorded captures, as a user starts them; judged by the files and by the venue's ledger.

The expectations come from the raw files, counted here with json alone, and from `tests/oracle/recompute.py`, which
imports nothing of the bot.
"""

import gzip
import json
from collections import Counter

import pytest
from rig.command import ledger, oracle, session, start

pytestmark = [pytest.mark.compiled, pytest.mark.data]

CHAINS = {
    "usdm-2023": (["usdm/btcusdt_20230404.dat.gz", "usdm/btcusdt_20230405.dat.gz"], 1_565),
    "usdm-2024": (["usdm/btcusdt_20240808.gz"], 503),
    "spot-btc": (["spot/btcusdt_20240808.gz", "spot/btcusdt_20240809.gz"], 1_072),
    "spot-eth": (["spot/ethusdt_20240808.gz"], 500),
}
KIND = {"bookTicker": "quote", "trade": "trade", "depth": "depth", "markPrice": "mark"}


def feed_of(data_dir, files):
    return "replay:" + ",".join(str(data_dir / "hftbacktest" / name) for name in files)


def counted(data_dir, files):
    """Messages of each kind in the files, by json alone."""
    count = Counter()
    for name in files:
        with gzip.open(data_dir / "hftbacktest" / name) as file:
            for line in file:
                message = json.loads(line.split(b" ", 1)[1])
                stream = message.get("stream", "@depth").split("@")[1]
                count[KIND[stream]] += 1
    return count


@pytest.fixture(scope="module")
def sessions(data_dir, tmp_path_factory):
    """Each chain run once in one process, on first use."""
    done = {}

    def run(chain):
        if chain not in done:
            folder = tmp_path_factory.mktemp(chain)
            result = start(folder, "--feed", feed_of(data_dir, CHAINS[chain][0]), "--compose", "one")
            assert result.returncode == 0, result.stderr
            done[chain] = folder
        return done[chain]

    return run


@pytest.mark.parametrize("chain", CHAINS)
def test_every_message_is_accounted_for(sessions, data_dir, chain):
    report = session(sessions(chain))
    expected = counted(data_dir, CHAINS[chain][0])
    (symbol,) = report["messages"]
    got = Counter(report["messages"][symbol])
    for kind, reasons in report["rejected_by_kind"][symbol].items():
        got[kind] += sum(reasons.values())
    assert {kind: count for kind, count in got.items() if count} == dict(expected)
    assert sum(report["rejected_input"].values()) + sum(report["messages"][symbol].values()) == expected.total()
    assert report["dropped"] == 0


@pytest.mark.parametrize("chain", CHAINS)
def test_the_rebuilt_book_equals_the_venues_best_quote(sessions, chain):
    report = session(sessions(chain))
    (book,) = report["book"].values()
    print(f"{chain}: {book['compared']} comparisons")
    assert book["compared"] == book["equal"] >= CHAINS[chain][1]


@pytest.mark.parametrize("chain", CHAINS)
def test_it_trades_both_sides_is_stopped_out_and_is_refused(sessions, chain):
    folder = sessions(chain)
    report = session(folder)
    sides = Counter()
    for line in ledger(folder).read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == "fill":
            sides[entry["side"]] += 1
    assert report["fills"] == sides.total() >= 50
    assert len(sides) == 2 and min(sides.values()) >= 10
    assert report["stops"]["triggered"] >= 1
    assert len(report["rejects"]) >= 3
    assert 0 < report["stops"]["naked_ns_max"] <= 1_000_000_000


@pytest.mark.parametrize("chain", CHAINS)
def test_the_ledger_alone_gives_the_same_account(sessions, chain):
    result = oracle(sessions(chain))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_same_input_gives_the_same_digest(sessions, data_dir, tmp_path):
    expected = session(sessions("spot-eth"))["digest"]
    feed = feed_of(data_dir, CHAINS["spot-eth"][0])
    for name, options in (("again", ["--compose", "one"]), ("processes", ["--compose", "processes"])):
        folder = tmp_path / name
        folder.mkdir()
        result = start(folder, "--feed", feed, *options)
        assert result.returncode == 0, result.stderr
        report = session(folder)
        assert report["digest"] == expected, name
        assert report["latency_ns"] is None
        print(f"{name}: {report['throughput']['messages_per_s']:,.0f} messages/s")


def test_two_instruments_on_one_shard_or_two_give_the_same_digest(data_dir, tmp_path):
    feed = feed_of(data_dir, CHAINS["spot-btc"][0] + CHAINS["spot-eth"][0])
    digests = {}
    for shards in ("1", "2"):
        folder = tmp_path / shards
        folder.mkdir()
        result = start(folder, "--feed", feed, "--compose", "one", "--shards", shards)
        assert result.returncode == 0, result.stderr
        assert oracle(folder).returncode == 0
        digests[shards] = session(folder)["digest"]
    assert digests["1"] == digests["2"]


def test_free_running_processes_lose_nothing(data_dir, tmp_path):
    feed = feed_of(data_dir, CHAINS["usdm-2024"][0])
    result = start(tmp_path, "--feed", feed, "--pace", "free", "--compose", "processes")
    assert result.returncode == 0, result.stderr
    report = session(tmp_path)
    assert report["dropped"] == 0 and report["digest"] is None
    (messages,) = report["messages"].values()
    assert sum(messages.values()) + sum(report["rejected_input"].values()) == 93_954
    latencies = report["latency_ns"]
    for stage in ("feed_to_shard", "step", "tick_to_intent", "tick_to_execution", "order_inside"):
        row = latencies[stage]
        assert 0 < row["count"] and 0 <= row["p50"] <= row["p90"] <= row["p99"] <= row["p99_9"] <= row["max"]
    # Event time passes some hundred times faster than wall time and nobody waits: only the stops' times are not judged.
    assert oracle(tmp_path, "--stop-limit-s", "1000000").returncode == 0
    print(f"free-running: {report['throughput']['messages_per_s']:,.0f} messages/s")


def test_a_continuation_without_its_snapshot_trades_nothing(data_dir, tmp_path):
    result = start(tmp_path, "--feed", feed_of(data_dir, ["usdm/btcusdt_20230405.dat.gz"]), "--compose", "one")
    assert result.returncode == 0, result.stderr
    report = session(tmp_path)
    assert report["orders"] == report["fills"] == 0
    (book,) = report["book"].values()
    assert not book["whole"] and book["compared"] == 0


def test_one_symbol_on_two_venues_is_told_apart(data_dir, tmp_path):
    """The ledger's names are the report's, so that the oracle can compare them."""
    files = ["usdm/btcusdt_20240808.gz", "spot/btcusdt_20240808.gz"]
    result = start(tmp_path, "--feed", feed_of(data_dir, files), "--compose", "one")
    assert result.returncode == 0, result.stderr
    assert set(session(tmp_path)["positions"]) == {"BTCUSDT.binance_usdm", "BTCUSDT.binance_spot"}
    judged = oracle(tmp_path)
    assert judged.returncode == 0, judged.stdout + judged.stderr

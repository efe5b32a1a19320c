"""Live sessions on Binance Spot as a user starts them, over TLS with a key from a file; the ledger is the judge."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from decimal import Decimal

import pytest
from rig.live_spot import COINS, DUST_E8, ETHER, LOT_E8, SpotBooks, SpotServer, spot_settings
from rig.session import Running
from sim.test_kill_program import kill
from sim.test_live_trading import REPOSITORY, filled, refused
from sim.test_take_up import LIVES, Life

from bot4.adapters.exchange.number import text_e8
from bot4.model.errors import SettingsError
from bot4.ports.feed import Instrument
from bot4.settings.loader import load
from workers.session import StartOptions, prepare
from workers.venue_check import _check_coins

pytestmark = pytest.mark.compiled
FILLS, KILLS = 8, 2


@pytest.fixture(autouse=True)
def strategies_are_found(monkeypatch):
    """The workers import the busy strategy, which lies in the tests."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))


@pytest.fixture
def server(tmp_path):
    with SpotServer(tmp_path / "exchange") as made:
        yield made
    while LIVES:
        LIVES.pop().running.close()


@contextmanager
def trading(folder, server, more=""):
    """A live session, which nobody but the test ends."""
    running = Running(spot_settings(folder, server.ready, more=more), "--feed", "live", "--report", folder / "report")
    try:
        yield running
    finally:
        running.close()


def stopped(running, folder):
    """Stop it as a user does."""
    running.until(filled(FILLS))
    command = [sys.executable, "-m", "bot4.cli.supervisor", "stop", "--config", folder / "config" / "live.toml"]
    told = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    code, _, error = running.finish()  # somebody has to read what it says while it ends
    _, why = told.communicate(timeout=120)
    assert (code, told.returncode) == (0, 0), (error, why)


def judged(server, folder):
    """Coins and cash are the exchange's to the smallest unit, what is held has its stop, no order went out twice."""
    held, resting = {asset: server.coins(asset) for asset in COINS}, server.resting()
    server.conserved()
    server.stop()
    books = SpotBooks(server.ledger, folder / "config" / "state")
    stops = []
    for index, (asset, (lot_e8, _)) in enumerate(COINS.items()):
        lots = books.told_lots(index)
        assert books.held.get(asset, 0) == held[asset] == lots * lot_e8 + books.rest_e8(index), asset
        stops += [(f"{asset}USDT", text_e8(lots * lot_e8))] * bool(lots)
    assert books.gained["USDT"] == books.told_gain_e8 != 0
    assert len(books.fills) == len(books.told) >= FILLS
    assert max(books.sent.values()) == max(books.accepted.values()) == 1
    journaled = {f"{int(one['id_hi']):016x}{int(one['id_lo']):016x}" for one in books.intents}
    assert set(books.accepted) <= set(books.sent) <= journaled
    assert sorted((row["symbol"], row["origQty"]) for row in resting) == stops, "each position has its stop"
    assert {row["type"] for row in resting} <= {"STOP_LOSS"}
    return books


def test_a_live_session_ends_with_the_exchanges_own_numbers(tmp_path, server):
    with trading(tmp_path, server, ETHER) as running:
        stopped(running, tmp_path)
    books = judged(server, tmp_path)
    assert [books.rest_e8(0), books.rest_e8(1)] != [DUST_E8, 0], "fees were taken of the coins"
    report = (tmp_path / "report" / "session.json").read_text()
    assert "no dead-man's switch there" in report
    assert any(one["type"] == 3 for one in books.intents), "stops"


def test_execution_killed_in_the_middle_loses_and_doubles_nothing(tmp_path, server):
    with trading(tmp_path, server) as running:
        for killed in range(KILLS):
            line = running.until(filled(FILLS * killed // KILLS))
            os.kill(line["workers"]["execution"]["pid"], signal.SIGKILL)
            running.until(lambda line, killed=killed: line["kind"] == "status"
                          and line["workers"]["execution"]["restarts"] > killed)  # fmt: skip
        stopped(running, tmp_path)
    judged(server, tmp_path)


def test_a_start_after_the_death_of_everything_takes_the_session_up(tmp_path, server):
    config = spot_settings(tmp_path, server.ready)
    first = Life(tmp_path, config)
    first.running.until(filled(FILLS // 2))
    first.kill()
    second = Life(tmp_path, config)
    stopped(second.running, tmp_path)
    second.running.close()
    judged(server, tmp_path)


def test_what_a_session_on_coins_does_not_start_with(tmp_path, server):
    config = spot_settings(tmp_path, server.ready)
    prepare(StartOptions(config=config, feed="live"))
    text = config.read_text()
    config.write_text(text.replace("key_file", "dead_man_s = 30\nkey_file"))
    assert "dead_man_s: the venue has no dead-man's switch" in refused(config)
    config.write_text(text)
    instruments = config.with_name("instruments.toml")
    instruments.write_text(instruments.read_text().replace('"0.01"', '"0.1"', 1))
    assert 'tick_size: 0.1 is not that of binance_spot for BTCUSDT; write "0.01"' in refused(config)


def coin(symbol, base, quote):
    """An instrument as a venue's list has it."""
    return Instrument(symbol, base, quote, "spot", "trading", *(Decimal(1),) * 3, None, None, Decimal(1))


def test_a_coin_belongs_to_one_instrument_and_moves_by_its_trades_alone(tmp_path):
    address = {"rest": "https://127.0.0.1:1", "ws": "wss://127.0.0.1:1", "ca": "none"}
    loaded = load(spot_settings(tmp_path, address | {"api_key": "k" * 18, "api_secret": "s" * 36}))
    bitcoin, ether = coin("BTCUSDT", "BTC", "USDT"), coin("ETHUSDT", "ETH", "USDT")
    _check_coins(loaded, "binance_spot", [bitcoin, ether])
    for traded, expected in (
        ([bitcoin, coin("BTCUSDC", "BTC", "USDC")], "BTC is a coin of BTCUSDC too"),
        ([ether, coin("SOLETH", "SOL", "ETH")], "ETH is a coin of SOLETH too"),
        ([coin(f"{name}USDT", name, "USDT") for name in "ABCDEFG"], "7 instruments of binance_spot"),
        ([coin("BNBUSDT", "BNB", "USDT")], "fees are taken of it"),
        ([coin("USDTBTC", "BTC", "USDT")], "it is no BTCUSDT"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=expected):
            _check_coins(loaded, "binance_spot", traded)


def test_the_kill_switch_takes_back_by_name_and_flattens_under_the_stop(tmp_path, server):
    config = spot_settings(tmp_path, server.ready)
    last = float(server.get("ticker/price", symbol="BTCUSDT")["price"])
    server.done("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.02")
    lots = server.coins() // LOT_E8
    guard = {"stopPrice": f"{last * 0.8:.2f}", "quantity": text_e8(lots * LOT_E8), "type": "STOP_LOSS"}
    server.done("POST", "order", symbol="BTCUSDT", side="SELL", **guard)
    for number in range(5):
        rests = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": f"{last * 0.9 - number:.2f}"}
        server.done("POST", "order", symbol="BTCUSDT", side="BUY", **rests)
    ether = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "2500"}
    server.done("POST", "order", symbol="ETHUSDT", side="BUY", **ether)
    server.done("POST", "order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1")
    persons = {"type": "STOP_LOSS", "stopPrice": "2000", "quantity": "0.9"}
    server.done("POST", "order", symbol="ETHUSDT", side="SELL", **persons)
    limited = persons | {"type": "STOP_LOSS_LIMIT", "quantity": "0.05", "price": "1990", "timeInForce": "GTC"}
    server.done("POST", "order", symbol="ETHUSDT", side="SELL", **limited)
    code, said = kill(config)
    assert (code, said["proven"], said["left"], said["cancelled"], said["stops"]) == (0, True, [], 6, 2), said
    assert said["positions"] == {"BTCUSDT": lots}
    assert sorted(row["type"] for row in server.resting()) == ["STOP_LOSS", "STOP_LOSS", "STOP_LOSS_LIMIT"]
    instruments = config.with_name("instruments.toml")
    given = instruments.read_text()
    instruments.write_text("oops = = 1")
    code, said = kill(config, "--flatten")
    assert (code, said["proven"], said["positions"], said["stops"]) == (1, False, None, 2), said
    assert "which coins were traded" in said["trouble"] and server.coins() // LOT_E8 == lots
    instruments.write_text(given)
    code, said = kill(config, "--flatten")
    assert (code, said["proven"], said["positions"], said["stops"]) == (0, True, {}, 1), said
    assert [row["symbol"] for row in server.resting()] == ["ETHUSDT"] * 2 and server.coins("ETH") == 99_900_000
    assert 0 < server.coins() < LOT_E8


def test_the_kill_switch_closes_in_parts_and_names_the_dust(tmp_path, server):
    config = spot_settings(tmp_path, server.ready)
    server.done("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.8")
    server.fault(kind="filters", symbol="BTCUSDT", filters={"market_max_qty_e8": 30_000_000})
    code, said = kill(config, "--flatten")
    assert (code, said["proven"], said["positions"]) == (0, True, {}), said
    orders = server.done("GET", "allOrders", symbol="BTCUSDT")
    assert [one["side"] for one in orders] == ["BUY"] + ["SELL"] * 4 and 0 < server.coins() < LOT_E8
    server.heal()
    server.done("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.0004")
    server.fault(kind="filters", symbol="BTCUSDT", filters={"min_notional_e8": 10**12})
    code, said = kill(config, "--flatten", "--timeout", "30")
    assert (code, said["proven"], said["left"]) == (1, False, []) and said["seconds"] < 15, said
    assert "BTCUSDT is dust" in said["trouble"] and said["positions"] == {"BTCUSDT": server.coins() // LOT_E8}

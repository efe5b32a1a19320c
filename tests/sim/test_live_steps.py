"""A market in steps far finer than the bot's lots, from settings to rings, as a start wires it, on real sockets."""

import json
import time
from decimal import Decimal

import pytest
from rig.replayer import Plan, certificates, serve
from rig.session import run_command, settings_folder
from sim.test_live_venues import CHEAP, KrakenStreams, KrakenV2, Market, Truth, kraken_market

from bot4.kernels.risk.view import MAX_QTY_LOTS
from bot4.model.enums import TICK_LEVEL, TICK_TRADE
from bot4.model.records import TICK
from bot4.shm.layout import RING_HEAD, RING_SLOTS, RING_TAIL
from bot4.shm.wires import private_wires
from workers.live import live_feed
from workers.session import StartOptions, prepare

pytestmark = pytest.mark.compiled
PATIENCE_S = 120.0
PAIR = {
    "pair_decimals": 1, "lot_decimals": 8, "wsname": "XBT/USD", "tick_size": "0.1", "ordermin": "0.00005",
    "costmin": "0.5", "status": "online",
}  # fmt: skip
PAIRS = json.dumps({"error": [], "result": {"XXBTZUSD": PAIR}}).encode()


def settings_of(folder, port, ca_file, lot="0.0001", step='venue_lot = "0.00000001"', quote="USD"):
    """One instrument of Kraken, heard from that port."""
    config = settings_folder(folder)
    config.with_name("instruments.toml").write_text(
        f'[[instrument]]\nsymbol = "BTC/USD"\nvenue = "kraken"\ntick_size = "0.1"\nlot_size = "{lot}"\n{step}\n'
        'min_notional = "5"\nmin_qty = "0.0001"\nmax_qty = "9000"\nmaker_fee_bps = "25"\ntaker_fee_bps = "40"\n'
    )
    address = f"localhost:{port}"
    text = config.read_text().replace('quote = "USDT"', f'quote = "{quote}"')
    config.write_text(
        f'{text}\n[venue.kraken]\nws_url = "wss://{address}"\nrest_url = "https://{address}"\nca_file = "{ca_file}"\n'
    )
    return config


def test_books_of_cheap_coins_are_whole_and_told_in_lots(tmp_path):
    made = certificates(tmp_path)
    market = Market(kraken_market(most=10**18 - 1), CHEAP, KrakenStreams(), KrakenV2)
    truth = Truth(market)
    plan = Plan("kraken", market.tape, greet=truth.greet, rest={"/0/public/AssetPairs": (200, "X: y", PAIRS)})
    with serve(plan, made.server) as server:
        prepared = prepare(StartOptions(config=settings_of(tmp_path, server.port, made.ca_file), feed="live"))
        assert not [text for text in prepared.warnings if "compared" in text]
        wires = private_wires(prepared.plan.n_shards, 1)
        feed, begun = live_feed(prepared.plan, wires, 0), time.monotonic()
        levels, trades, least = [], [], MAX_QTY_LOTS
        try:
            while server.position < len(market.tape) or len(trades) < len(truth.trades):
                feed.do_work()
                ring = wires.market
                slots = ring[RING_SLOTS:].view(TICK)
                for number in range(int(ring[RING_TAIL]), int(ring[RING_HEAD])):
                    tick = slots[number % len(slots)]
                    if tick["kind"] == TICK_LEVEL:
                        levels.append(int(tick["w1"]))
                    elif tick["kind"] == TICK_TRADE:
                        trades.append((int(tick["w0"]), int(tick["w1"]), int(tick["w3"])))
                for one in (*wires.ticks, ring, wires.quotes):
                    one[RING_TAIL] = one[RING_HEAD]
                assert time.monotonic() - begun < PATIENCE_S, (wires.refused.sum(axis=(0, 1)), len(trades))
        finally:
            feed.close()
    checks, equal = wires.book_checks[0].tolist()
    assert checks == equal == len(truth.states) > 1_000 and not wires.refused.any()
    assert trades == truth.trades
    assert max(levels) == MAX_QTY_LOTS and 0 < min(lots for lots in levels if lots) < least


@pytest.mark.parametrize(
    ("lot", "step", "words"),
    [
        ("0.00000001", "", 'write lot_size = "0.0000001" and venue_lot = "0.00000001"'),
        ("0.0001", "", 'lot_size: 0.0001 is not that of kraken for BTC/USD; write "0.00000001"'),
        (
            "0.0001",
            'venue_lot = "0.000001"',
            'venue_lot: 0.000001 is not that of kraken for BTC/USD; write "0.00000001"',
        ),
    ],
)
def test_sizes_that_are_not_the_venues_are_refused_with_those_that_are(tmp_path, lot, step, words):
    made = certificates(tmp_path)
    plan = Plan("kraken", (), rest={"/0/public/AssetPairs": (200, "X: y", PAIRS)})
    with serve(plan, made.server) as server:
        config = settings_of(tmp_path, server.port, made.ca_file, lot, step)
        result = run_command("start", "--config", config, "--feed", "live")
    assert result.returncode == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert Decimal(lot) > 0 and not (tmp_path / "state").exists()


def test_an_instrument_of_another_currency_than_the_accounts_is_refused(tmp_path):
    """What the venue itself says of it counts, though the settings say nothing."""
    made = certificates(tmp_path)
    plan = Plan("kraken", (), rest={"/0/public/AssetPairs": (200, "X: y", PAIRS)})
    with serve(plan, made.server) as server:
        config = settings_of(tmp_path, server.port, made.ca_file, quote="USDT")
        result = run_command("start", "--config", config, "--feed", "live")
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert "BTC/USD of kraken is priced in USD, the account counts in USDT" in result.stderr

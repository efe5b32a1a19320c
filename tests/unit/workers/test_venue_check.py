"""Configured instruments against the venue's own list, over real HTTPS."""

import json
from pathlib import Path

import msgspec
import pytest
from rig.replayer import Plan, certificates, serve
from rig.session import settings_folder

from bot4.model.errors import SettingsError
from bot4.settings.loader import load
from bot4.settings.schema import Gateway
from workers.session import StartOptions, prepare
from workers.venue_check import check_instruments

CONFIG = Path(__file__).resolve().parents[3] / "config" / "paper.toml"
KEY = ("BTCUSDT", "binance_spot")
PATH = "/api/v3/exchangeInfo"


def listed(tick="0.01000000", lot="0.00001000", status="TRADING", symbol="BTCUSDT", **more) -> bytes:
    """The venue's answer for one instrument."""
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000.00", "stepSize": lot},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
    ]
    row = {"symbol": symbol, "status": status, "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters} | more
    return json.dumps({"timezone": "UTC", "serverTime": 1_700_000_000_000, "symbols": [row]}).encode()


def asked(tmp_path, body: bytes, status: int = 200, traded: str = "") -> list[str]:
    """What is told of that answer."""
    made = certificates(tmp_path)
    plan = Plan("binance_spot", (), rest={PATH: (status, "Content-Type: application/json", body)})
    with serve(plan, made.server) as venue:
        gateway = Gateway(rest_url=f"https://localhost:{venue.port}", ca_file=str(made.ca_file))
        return check_instruments(load(CONFIG), [KEY], {KEY[1]: gateway}, traded)


def test_the_venues_own_sizes_are_good(tmp_path):
    assert asked(tmp_path, listed()) == []


@pytest.mark.parametrize(
    ("field", "answer", "fix"),
    [("tick_size", listed(tick="0.10000000"), 'write "0.1"'), ("lot_size", listed(lot="0.00010000"), 'write "0.0001"')],
)
def test_another_size_is_refused_with_the_venues(tmp_path, field, answer, fix):
    with pytest.raises(SettingsError) as caught:
        asked(tmp_path, answer)
    assert field in str(caught.value) and fix in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("modes", "good"), [(["NONE", "EXPIRE_MAKER"], True), (["NONE", "EXPIRE_TAKER"], False), ([], False)]
)
def test_a_venue_that_lets_own_orders_meet_is_not_traded_on(tmp_path, modes, good):
    body = listed(allowedSelfTradePreventionModes=modes)
    assert asked(tmp_path, body) == [], "who only listens does not mind"
    if good:
        (told,) = asked(tmp_path, body, traded=KEY[1])
        assert "dead-man's switch" in told
    else:
        with pytest.raises(SettingsError, match=r"BTCUSDT: binance_spot would let own orders trade .* leave"):
            asked(tmp_path, body, traded=KEY[1])


def test_a_contract_of_more_than_one_is_refused(tmp_path):
    with pytest.raises(
        SettingsError, match=r"instrument\[\d\]: a contract BTCUSDT of binance_spot is 10 BTC, .* leave"
    ):
        asked(tmp_path, listed(contractSize=10))


def test_where_the_lot_is_coarser_the_step_is_compared(tmp_path):
    settings = load(CONFIG)
    kept = [row for row in settings.instruments if (row.symbol, row.venue) == KEY]
    finer = [msgspec.structs.replace(row, lot_size="0.0001", venue_lot="0.00001") for row in kept]
    made = certificates(tmp_path)
    plan = Plan("binance_spot", (), rest={PATH: (200, "Content-Type: application/json", listed())})
    with serve(plan, made.server) as venue:
        gateway = {KEY[1]: Gateway(rest_url=f"https://localhost:{venue.port}", ca_file=str(made.ca_file))}
        assert check_instruments(msgspec.structs.replace(settings, instruments=tuple(finer)), [KEY], gateway) == []
        wrong = tuple(msgspec.structs.replace(row, venue_lot="0.000001") for row in finer)
        with pytest.raises(SettingsError, match=r'venue_lot: 0.000001 is not .* write "0.00001"'):
            check_instruments(msgspec.structs.replace(settings, instruments=wrong), [KEY], gateway)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (listed(symbol="ETHUSDT"), 200, "not in the list"),
        (listed(status="BREAK"), 200, "says break of it"),
        (b"{", 200, "could not be compared"),
        (b"no", 503, "could not be compared"),
    ],
)
def test_what_cannot_be_told_is_said_and_no_reason_not_to_start(tmp_path, body, status, said):
    (sentence,) = asked(tmp_path, body, status)
    assert said in sentence


def test_a_venue_that_is_not_there_is_said(tmp_path):
    (sentence,) = check_instruments(load(CONFIG), [KEY], {KEY[1]: Gateway(rest_url="https://localhost:9")})
    assert "could not be compared" in sentence


@pytest.mark.parametrize(("venue", "fits"), [("binance_spot", 256), ("binance_usdm", 128)])
def test_more_instruments_than_one_feed_can_hear_are_refused_at_the_start_with_how_many_fit(tmp_path, venue, fits):
    config = settings_folder(tmp_path)
    row = (
        f'[[instrument]]\nsymbol = "A{{}}USDT"\nvenue = "{venue}"\ntick_size = "0.1"\nlot_size = "0.001"\n'
        'min_notional = "5"\nmin_qty = "0.001"\nmax_qty = "9000"\nmaker_fee_bps = "1"\ntaker_fee_bps = "5"\n'
    )
    options = StartOptions(config=config, feed="live")

    def write(count):
        config.with_name("instruments.toml").write_text("".join(row.format(number) for number in range(count)))

    write(fits)
    assert len(prepare(options, ask_venues=False).plan.symbols) == fits
    write(fits + 1)
    with pytest.raises(SettingsError, match=f"the first {fits} fit; leave the others out") as caught:
        prepare(options, ask_venues=False)
    assert "instruments.toml: instrument:" in str(caught.value) and "\n" not in str(caught.value)

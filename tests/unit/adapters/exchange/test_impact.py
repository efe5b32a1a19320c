"""The generated market does not forget who took from it: its fair price has moved, by the chosen model."""

import math

import pytest
from reference.kernels.impact import displaced
from rig.exchange_desk import BTC, Desk

from bot4.adapters.exchange.agent import FLOW_S
from bot4.kernels.impact import decayed_flow
from bot4.model.errors import SettingsError

MODELS = {
    "linear": ("coefficient = 0.5\ndaily_quantity = 10000", 0.5 * 4 / 10_000),
    "square_root": ("coefficient = 0.5\ndaily_quantity = 10000", 0.5 * (4 / 10_000) ** 0.5),
    "almgren_chriss": ("gamma = 75", 75 * 4 / 60_000),
}


def text_of(model):
    return f'[[impact]]\nmodel = "{model}"\nsymbol = "BTCUSDT"\n{MODELS[model][0]}\n'


def mid(desk):
    (bid, _), (ask, _) = desk.venue.best(desk.venue.symbol(BTC))
    return (bid + ask) / 2


def after_taking(folder, scenario, side):
    """Mean of the mid over half a minute that begins a minute after a client took four coins, of what it was before."""
    desk = Desk(folder, scenario=scenario, market_seed=5, ledger=f"{side}{len(scenario)}.jsonl")
    for _ in range(20):
        desk.tick(0.5)
    before = mid(desk)
    for _ in range(5):
        desk.market(0, side, quantity="0.8")
    mids = []
    for number in range(180):
        desk.tick(0.5)
        if number >= 120:
            mids.append(mid(desk))
    desk.conserved()
    return sum(mids) / len(mids) / before


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What becomes of the price where nothing is left behind, by side of who takes."""
    folder = tmp_path_factory.mktemp("alone")
    return {side: after_taking(folder, "", side) for side in ("BUY", "SELL")}


@pytest.mark.parametrize("model", list(MODELS))
def test_who_buys_leaves_a_higher_price_and_who_sells_a_lower_one(tmp_path, alone, model):
    share = MODELS[model][1]
    for side, sign in (("BUY", 1), ("SELL", -1)):
        moved = after_taking(tmp_path, text_of(model), side) / alone[side] - 1
        assert moved == pytest.approx(sign * share, abs=0.002)


def test_who_waits_moves_nothing_and_other_symbols_stay(tmp_path):
    desk = Desk(tmp_path, scenario=text_of("almgren_chriss"), market_seed=5)
    bitcoin, ether = desk.made.market._markets
    fair = bitcoin._fair, ether._fair
    desk.limit(0, "BUY", "59900", "1")
    desk.done(0, "POST", "order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1")
    assert (bitcoin._fair, ether._fair) == fair
    bought = float(desk.market(0, "BUY", quantity="2.5")["executedQty"])
    assert bitcoin._fair - fair[0] == pytest.approx(75 * bought * 100) and bought > 0
    sold = sum(float(desk.market(0, "SELL", quantity="20")["executedQty"]) for _ in range(3))
    assert bitcoin._fair - fair[0] == pytest.approx(75 * (bought - sold) * 100)
    desk.made.market._markets[0].taken(is_buy=False, qty_e8=10**15)
    assert bitcoin._fair == bitcoin._floor()


def test_by_the_square_root_law_no_cut_of_an_order_is_rewarded_and_there_and_back_is_nothing(tmp_path):
    market = Desk(tmp_path, scenario=text_of("square_root"), market_seed=5).made.market._markets[0]
    begin = market._fair

    def stands_off():
        return math.log(market._fair / begin)

    trades = [(0, 2.5), (0, -1.0), (100, 4.0), (300, -9.0), (300, 1.5), (900, 2.0)]
    now = 0
    for number, (at, quantity) in enumerate(trades):
        market._press(decayed_flow(market._flow, float(at - now), FLOW_S), market._impact)
        now = at
        for _ in range(10):  # in ten parts
            market.taken(quantity > 0, round(abs(quantity) * 10**7))
        expected = displaced(trades[: number + 1], now, 10_000.0, 0.5, FLOW_S)
        assert stands_off() == pytest.approx(expected, abs=1e-12)
    market.taken(market._flow < 0, round(abs(market._flow) * 10**8))
    assert abs(stands_off()) < 1e-4, "but for what is no whole unit"
    market._press(decayed_flow(4.0, 20 * FLOW_S, FLOW_S), market._impact)
    assert abs(stands_off()) < 1e-5, "and it is forgotten"


def test_what_the_market_does_by_itself_has_no_impact(tmp_path):
    fairs = []
    for number, text in enumerate(("", text_of("almgren_chriss"))):
        desk = Desk(tmp_path, scenario=text, market_seed=5, ledger=f"{number}.jsonl")
        for _ in range(20):
            desk.tick(0.5)
        assert desk.venue._trade_ids[0] > 0
        fairs.append(desk.made.market._markets[0]._fair)
    assert fairs[0] == fairs[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model = 'cubic'", "model"),
        ("model = 'linear'\ncoefficient = 0.5", "daily_quantity is needed"),
        ("model = 'linear'\ncoefficient = 0.5\ndaily_quantity = -1.0", "daily_quantity"),
        ("model = 'square_root'\ncoefficient = nan\ndaily_quantity = 1.0", "coefficient"),
        ("model = 'square_root'\ncoefficient = inf\ndaily_quantity = 1.0", "coefficient"),
        ("model = 'square_root'\ncoefficient = 1.0\ndaily_quantity = 1.0\ngamma = 1.0", "gamma is not used"),
        ("model = 'almgren_chriss'", "gamma is needed"),
        ("model = 'almgren_chriss'\ngamma = 1.0\nsymbol = 'NOPE'", "NOPE"),
    ],
)
def test_impacts_that_are_refused(tmp_path, text, says):
    with pytest.raises(SettingsError) as error:
        Desk(tmp_path, scenario=f"[[impact]]\n{text}\n")
    assert says in str(error.value) and "\n" not in str(error.value)

"""A market generated after a recording is about as busy as it: the same measure on both, compared by ratios."""

from decimal import Decimal

import pytest
from rig.exchange_desk import START_NS, Desk
from rig.exchange_recorded import SPOT, open_files

from bot4.adapters.exchange.calibration import fit
from bot4.model.errors import RecordingError
from bot4.ports.feed import BookChange, Trade

STEP_S = 0.1


def first_seconds(events, seconds):
    end_ns = None
    for ts_ns, event in events:
        end_ns = end_ns or ts_ns + int(seconds * 1e9)
        if ts_ns > end_ns:
            return
        yield ts_ns, event


class Heard:
    """What a generated market tells, as a recorder would write it: changes every 100 ms, trades in front of them."""

    def __init__(self, desk, index=0):
        self.desk, self.index = desk, index
        self.symbol = desk.venue.by_index[index]
        self.trades = []
        desk.venue.on_trades = self.trades.extend

    def _levels(self, levels, bids):
        return [(Decimal(price) / 10**8, Decimal(qty) / 10**8) for (bid, price), qty in levels.items() if bid == bids]

    def events(self, seconds):
        venue, name = self.desk.venue, self.symbol.name
        changed = venue.changed[self.index]
        changed.clear()
        shown = venue.shown[self.index]
        yield START_NS, BookChange(name, True, self._levels(shown, True), self._levels(shown, False), None, 1, 0)
        for number in range(int(seconds / STEP_S)):
            self.desk.tick(STEP_S)
            now = self.desk.now_ns
            takers = {}
            for symbol, trade, _ in self.trades:
                if symbol is self.symbol:
                    taker = trade.seller_order if trade.buyer_maker else trade.buyer_order
                    at = takers.setdefault(taker, now - 10**8 + len(takers) * 1_000_000)
                    price, qty = Decimal(trade.price_e8) / 10**8, Decimal(trade.qty_e8) / 10**8
                    yield now, Trade(name, price, qty, -1 if trade.buyer_maker else 1, str(trade.trade_id), at)
            self.trades.clear()
            bids, asks = self._levels(changed, True), self._levels(changed, False)
            yield now, BookChange(name, False, bids, asks, 1, number + 2, 0)
            changed.clear()


@pytest.mark.data
@pytest.mark.compiled
@pytest.mark.parametrize(("file", "name", "index"), [("btcusdt", "BTCUSDT", 0), ("ethusdt", "ETHUSDT", 1)])
def test_the_generated_market_is_as_busy_as_the_recorded_one(data_dir, tmp_path, file, name, index):
    recorded = fit(first_seconds(open_files([data_dir / SPOT / f"{file}_20240808.gz"]).events, 60))[name]
    desk = Desk(tmp_path, market_seed=7, profiles={name: recorded.profile})
    heard = Heard(desk, index)
    desk.tick(10)
    generated = fit(heard.events(60))[name]
    print(recorded.text(name))
    print(generated.text(name))
    one, other = recorded.profile, generated.profile
    ratios = {
        "limit orders": generated.grown / recorded.grown,
        "cancels": generated.shrunk / recorded.shrunk,
        "market orders": generated.market_orders / recorded.market_orders,
        "value": other.value / one.value,
        "distance": other.near_ratio / one.near_ratio,
        "share": other.share[0] / sum(other.share) / (one.share[0] / sum(one.share)),
    }
    assert all(0.5 < ratio < 2.0 for ratio in ratios.values()), ratios
    assert abs(other.burst_jump / other.burst_decay - one.burst_jump / one.burst_decay) < 0.3


def test_what_is_too_short_is_refused():
    change = BookChange("BTCUSDT", True, [(Decimal(10), Decimal(1))], [(Decimal(11), Decimal(1))], None, 5, 0)
    with pytest.raises(RecordingError, match="BTCUSDT has 0 s"):
        fit([(1, change)])

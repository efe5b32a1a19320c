"""The generated market: seeded agents that trade with each other and with whoever comes.

Around a fair price that wanders (with regimes of drift and a gap now and then), limit orders arrive at exponential
distances, market orders come in bursts (a Hawkes process: each one makes the next more likely for a while), their sizes
a beta-distributed share of what stands against them, and orders are cancelled the sooner the farther they are from the
mid. Same seed, same clock: same orders.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.order import Order
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.scenario import Impact
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue
from bot4.kernels.impact import FLOW_S, decayed_flow, flow_share, impact_share
from bot4.model.impact import IMPACT_LINEAR

AGENTS = 4  # accounts that the market consists of
AGENT_USDT_E8 = 200_000_000 * E8
AGENT_COINS_E8 = 100_000 * E8
_SECOND_NS = 1_000_000_000
_BEGIN = 0.8  # of the orders a side that the book has in the long run
_DRIFT_RATIO = 0.00002
_REGIME_S = 30.0
_GAP_RATE = 1 / 600.0
TURN_BOUND = 500  # orders a turn: a market that is too fast for the machine is slower than asked, not stuck


@dataclass(frozen=True, slots=True)
class Profile:
    """How busy a symbol's agents are; `calibration` fits one to a recording."""

    limit_rate: float = 16.0  # arrivals per second; as many orders are cancelled
    market_rate: float = 0.8  # market orders per second that nothing caused
    burst_jump: float = 1.2  # what one market order adds to the rate of the next
    burst_decay: float = 2.0  # per second: a share of jump / decay of them is caused by others
    target: float = 150.0  # orders of the agents a side about which arrivals and cancels balance
    near_ratio: float = 0.0006  # mean distance of a new order from the fair price, as a share of the price
    step_ratio: float = 0.00003  # wandering of the fair price in a square-root second
    value: float = 2_000.0  # mean value of an order in the quote asset
    share: tuple[float, float] = (1.2, 1.6)  # beta distribution of the share that a market order takes
    share_scale: float = 1.5  # of what stands against it, as a multiple of the best level


DEFAULT_PROFILE = Profile()


class SymbolMarket:
    """The agents of one symbol."""

    def __init__(
        self,
        venue: Venue,
        symbol: Symbol,
        accounts: list[Account],
        seed: int,
        speed: float,
        impact: Impact | None,
        profile: Profile,
    ) -> None:
        self._impact = impact
        self._profile = profile
        self._venue = venue
        self._symbol = symbol
        self._accounts = accounts
        self._random = random.Random(f"{seed}.{symbol.name}")
        self._speed = speed
        self._fair = float(symbol.start_price_e8 // symbol.tick_e8)  # in ticks; it steers orders and is no price
        self._drift = 0.0
        self._burst = 0.0
        self._flow = 0.0  # of clients, in coins, signed: what the price is held off by
        self._now_ns = venue.clock_ns()
        self._next_ns = self._now_ns
        self._orders: list[Order] = []
        for number in range(int(_BEGIN * profile.target)):
            for is_buy in (True, False):
                self._place(is_buy, 1 + number * self._near() / 20)
        self._draw()

    def _near(self) -> float:
        return max(2.0, self._fair * self._profile.near_ratio)

    def advance(self, to_ns: int, bound: int) -> int:
        """Do what happens until then, `bound` orders at most. Returns how many there were."""
        done = 0
        while self._next_ns <= to_ns:
            if done == bound:
                self._now_ns = self._next_ns = to_ns  # what did not fit is left out
                break
            self._act(self._next_ns)
            done += 1
            self._draw()
        return done

    def taken(self, is_buy: bool, qty_e8: int) -> None:
        """One order of a client has taken so much: the fair price moves as the impact's model says.

        By the square-root law it comes back as the flow is forgotten, else it has moved for good.
        """
        impact = self._impact
        if impact is None:
            return
        quantity = qty_e8 / E8
        if impact.model == "square_root":
            self._press(self._flow + (quantity if is_buy else -quantity), impact)
            return
        if impact.model == "almgren_chriss":
            move = impact.gamma * quantity * E8 / self._symbol.tick_e8
        else:
            move = self._fair * impact_share(IMPACT_LINEAR, quantity, impact.daily_quantity, impact.coefficient)
        fair = self._fair + (move if is_buy else -move)
        self._fair = min(max(fair, self._floor()), self._ceiling())

    def _press(self, flow: float, impact: Impact) -> None:
        """The flow of clients is another now, and the price with it."""
        daily, coefficient = impact.daily_quantity, impact.coefficient
        moved = flow_share(flow, daily, coefficient) - flow_share(self._flow, daily, coefficient)
        self._flow = flow
        self._fair = min(max(self._fair * math.exp(moved), self._floor()), self._ceiling())

    def rest(self, to_ns: int) -> None:
        """The market is closed: nothing happens until then."""
        self._now_ns = self._next_ns = to_ns

    def _draw(self) -> None:
        """When the next thing happens."""
        rate = (2 * self._profile.limit_rate + self._profile.market_rate + self._burst) * self._speed
        self._next_ns += 1 + int(self._random.expovariate(rate) * _SECOND_NS)

    def _act(self, at_ns: int) -> None:
        draw, profile = self._random, self._profile
        passed = (at_ns - self._now_ns) / _SECOND_NS * self._speed
        self._now_ns = at_ns
        self._burst *= math.exp(-profile.burst_decay * passed)
        if self._impact is not None and self._flow:
            self._press(decayed_flow(self._flow, passed, FLOW_S), self._impact)
        if draw.random() < passed / _REGIME_S:
            self._drift = draw.gauss(0.0, _DRIFT_RATIO)
        self._fair *= 1.0 + self._drift * passed + draw.gauss(0.0, profile.step_ratio) * math.sqrt(passed)
        if draw.random() < passed * _GAP_RATE:
            self._fair *= 1.0 + draw.choice((-1, 1)) * 0.001
        self._fair = min(max(self._fair, self._floor()), self._ceiling())
        taking = profile.market_rate + self._burst
        what = draw.random() * (2 * profile.limit_rate + taking)
        if what < taking:
            self._take()
        elif what < taking + profile.limit_rate:
            self._place(draw.random() < 0.5, draw.expovariate(1 / self._near()))
        else:
            self._cancel()

    def _floor(self) -> float:
        return self._symbol.start_price_e8 / self._symbol.tick_e8 / 4

    def _ceiling(self) -> float:
        return self._symbol.start_price_e8 / self._symbol.tick_e8 * 4

    def _qty(self, mean_value: float) -> int:
        """A quantity of lots worth `mean_value` on average."""
        value = self._random.expovariate(1 / mean_value) + 10.0
        lots = int(value / (self._fair * self._symbol.tick_e8 / E8) * E8) // self._symbol.lot_e8
        return max(1, lots) * self._symbol.lot_e8

    def _send(self, is_buy: bool, kind: str, price_e8: int, qty_e8: int) -> Order | None:
        venue = self._venue
        account = self._accounts[self._random.randrange(len(self._accounts))]
        number = venue.order_number()
        order = Order(
            self._symbol, number, f"m{number}", account.index, is_buy, kind, "GTC", price_e8, qty_e8, 0, 0, "NONE", 0
        )
        try:
            venue.place(account, order)
        except Refused:
            return None
        return order

    def _place(self, is_buy: bool, distance: float) -> None:
        """A limit order so many ticks away from the fair price; it never takes."""
        tick_e8 = self._symbol.tick_e8
        ticks = int(self._fair - distance) if is_buy else math.ceil(self._fair + distance)
        (bid_e8, _), (ask_e8, _) = self._venue.best(self._symbol)
        if is_buy and ask_e8:
            ticks = min(ticks, ask_e8 // tick_e8 - 1)
        if not is_buy and bid_e8:
            ticks = max(ticks, bid_e8 // tick_e8 + 1)
        order = self._send(is_buy, "LIMIT", max(1, ticks) * tick_e8, self._qty(self._profile.value))
        if order is not None and order.is_open:
            self._orders.append(order)

    def _take(self) -> None:
        """A market order; it leans to where the fair price is."""
        (bid_e8, bid_qty), (ask_e8, ask_qty) = self._venue.best(self._symbol)
        if not bid_e8 or not ask_e8:
            return
        mid = (bid_e8 + ask_e8) / 2 / self._symbol.tick_e8
        lean = max(-0.4, min(0.4, (self._fair - mid) / self._near()))
        is_buy = self._random.random() < 0.5 + lean
        share = self._random.betavariate(*self._profile.share) * self._profile.share_scale
        lots = int((ask_qty if is_buy else bid_qty) * share) // self._symbol.lot_e8
        limit_e8 = self._symbol.filters.market_max_qty_e8
        self._send(is_buy, "MARKET", 0, min(max(1, lots) * self._symbol.lot_e8, limit_e8))
        self._burst += self._profile.burst_jump

    def _cancel(self) -> None:
        """One of two orders goes, the one farther from the fair price; more often the more there are."""
        orders = self._orders
        draw = self._random
        while orders:
            first = draw.randrange(len(orders))
            if not orders[first].is_open:
                orders[first] = orders[-1]
                orders.pop()
                continue
            break
        if not orders or draw.random() > len(orders) / (2 * self._profile.target):
            return
        second = draw.randrange(len(orders))
        fair_e8 = self._fair * self._symbol.tick_e8
        if orders[second].is_open and abs(orders[second].price_e8 - fair_e8) > abs(orders[first].price_e8 - fair_e8):
            first = second
        order = orders[first]
        orders[first] = orders[-1]
        orders.pop()
        try:
            self._venue.cancel(self._venue.accounts[order.account], order)
        except Refused:
            return


class GeneratedMarket:
    """The agents of all symbols, on one clock."""

    def __init__(
        self,
        venue: Venue,
        accounts: list[Account],
        seed: int,
        speed: float,
        impacts: list[Impact] | None = None,
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        """`profiles` : of the symbols that are not as usual, by name."""
        chosen = {impact.symbol: impact for impact in impacts or ()}
        known = profiles or {}
        self._markets = [
            SymbolMarket(
                venue,
                symbol,
                accounts,
                seed,
                speed,
                chosen.get(symbol.name, chosen.get("")),
                known.get(symbol.name, DEFAULT_PROFILE),
            )
            for symbol in venue.by_index
        ]
        self._symbols = venue.by_index
        if chosen:
            venue.on_taken = lambda symbol, is_buy, qty_e8: self._markets[symbol.index].taken(is_buy, qty_e8)

    def advance(self, to_ns: int) -> None:
        """Everything until then."""
        for market, symbol in zip(self._markets, self._symbols, strict=True):
            if symbol.status == "TRADING":
                market.advance(to_ns, TURN_BOUND)
            else:
                market.rest(to_ns)

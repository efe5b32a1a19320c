"""Slow twin of the simulated venue: plain Python, unbounded integers, dictionaries and lists, one rule a method.

Written from the rules in ports/venue.py, not from the kernels. Imports the numbers of codes and kinds, nothing else.
"""

import math
from dataclasses import dataclass, field

from bot4.model import enums as e

E8 = 10**8
MAX_OPEN = 1_024
MAX_TAKEN = 256
ALL = 0xFFFF
VALUE_BOUND = 2**61


def ceil_div(a: int, b: int) -> int:
    """Division rounded up."""
    return -(-a // b)


def fee(value_e8: int, ppm: int) -> int:
    """Fee of a value, rounded up."""
    return ceil_div(value_e8 * ppm, 10**6)


def funding(lots: int, lot_e8: int, mark_e8: int, rate_e8: int) -> int:
    """Funding payment: value, then rate, each rounded against the account."""
    if not lots or not rate_e8 or mark_e8 <= 0:
        return 0
    if (lots > 0) == (rate_e8 > 0):
        return -ceil_div(ceil_div(abs(lots) * lot_e8 * mark_e8, E8) * abs(rate_e8), E8)
    return abs(lots) * lot_e8 * mark_e8 // E8 * abs(rate_e8) // E8


@dataclass
class Rules:
    """One instrument."""

    is_spot: bool
    lot_e8: int
    value_e8: int
    min_notional_e8: int
    min_qty: int
    max_qty: int
    maker_ppm: int
    taker_ppm: int


@dataclass
class Impact:
    """How our taking moves one instrument's price: every trade is kept, and asked anew at each price."""

    model: str  # "linear" | "square_root" | "almgren_chriss"
    a: float  # coefficient; gamma
    b: float  # a day's lots; eta
    epsilon: float = 0.0
    tau: float = 1.0
    trades: list = field(default_factory=list)  # (time, signed lots)

    def held(self, now: int, side: int) -> float:
        """Lots of before that count, against that side."""
        if self.model == "square_root":
            lots = sum(lots * math.exp(-(now - at) / 600e9) for at, lots in self.trades)
        elif self.model == "almgren_chriss":
            lots = sum(lots for at, lots in self.trades if self.interval(at) != self.interval(now))
        else:
            lots = sum(lots for _, lots in self.trades)
        return max(0.0, side * lots)

    def interval(self, at: int) -> int:
        """Number of an interval."""
        return at // int(self.tau * 10**9)

    def inside(self, now: int, side: int) -> float:
        """Lots of this interval."""
        return max(0.0, side * sum(lots for at, lots in self.trades if self.interval(at) == self.interval(now)))

    def before(self, now: int, side: int, best: int) -> int:
        """Ticks that the book is away."""
        held = self.held(now, side)
        moves = {
            "linear": best * self.a * held / self.b,
            "square_root": best * self.a * (held / self.b) ** 0.5,
            "almgren_chriss": self.a * held,
        }
        return min(math.ceil(moves[self.model]), best // 2)

    def paid(self, side, best, price, before, held, inside, done, lots) -> int:
        """The worse of book and model for these lots: what the whole costs less what the part before it did."""

        def whole(x):
            if self.model == "linear":
                return best * self.a / self.b * ((held + x) ** 2 - held**2) / 2
            if self.model == "square_root":
                return best * self.a / self.b**0.5 * ((held + x) ** 1.5 - held**1.5) / 1.5
            return self.a * held * x + self.epsilon * x + self.b / self.tau * ((inside + x) ** 2 - inside**2)

        move = min(math.ceil(round((whole(done + lots) - whole(done)) / lots, 9)), best // 2)
        return max(side * (price + side * min(before, price // 2)), side * (best + side * move)) * side


@dataclass
class Order:
    """One order; a refused one is kept for its id."""

    number: int
    id: tuple[int, int]
    row: int
    instrument: int
    side: int
    type: int
    tif: int
    flags: int
    price: int
    trigger: int
    qty: int
    cum: int = 0
    queue: int = 0
    seen: int = 0
    traded: list = field(default_factory=lambda: [0, 0])  # lots that the level has not shown yet, since when
    gone: list = field(default_factory=lambda: [0, 0])  # lots that went without a trade: the last round, this one
    round: int = 0
    status: int = 0
    code: int = 0
    open: bool = False
    triggered: bool = False

    @property
    def leaves(self) -> int:
        """What may still trade."""
        return self.qty - self.cum if self.open else 0


class Book:
    """Depth levels, and the quote laid over them while it is newer."""

    def __init__(self):
        self.levels = {1: {}, -1: {}}
        self.quote = {1: (0, 0), -1: (0, 0)}
        self.newer = False
        self.whole = False

    def apply(self, kind: int, flags: int, w: tuple[int, int, int, int]) -> None:
        """A level, quote or status."""
        if kind == e.TICK_LEVEL:
            self.levels[w[2]].pop(w[0], None)
            if w[1] > 0:
                self.levels[w[2]][w[0]] = w[1]
            if flags & e.FLAG_LAST and not flags & e.FLAG_QUOTE_NEWER:
                self.newer = False
        elif kind == e.TICK_QUOTE:
            self.quote = {1: (w[0], w[1]), -1: (w[2], w[3])}
            self.newer = not flags & e.FLAG_BOOK_NEWER
        elif w[0] == e.STATUS_CLEAR:
            self.__init__()
        else:
            self.whole = w[0] == e.STATUS_WHOLE

    def side(self, side: int) -> list[tuple[int, int]]:
        """Effective levels, best first."""
        levels = sorted(self.levels[side].items(), reverse=side > 0)
        if not self.newer:
            return levels
        top, lots = self.quote[side]
        if top == 0:
            return []
        return [(top, lots)] + [(price, qty) for price, qty in levels if side * (price - top) < 0]

    def shown(self, side: int, price: int) -> int:
        """Quantity displayed at a price."""
        return dict(self.side(side)).get(price, 0)

    def best(self, side: int) -> int:
        """Best effective price, 0 for none."""
        levels = self.side(side)
        return levels[0][0] if levels else 0


@dataclass
class Seat:
    """Position and last words of the market of one instrument."""

    book: Book = field(default_factory=Book)
    lots: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    funding: int = 0
    last_trade: int = 0
    mark: tuple[int, int, int] = (0, 0, 0)
    next_no: int = 0
    gapped: bool = False
    taken: dict = field(default_factory=dict)  # (side, price) -> [seen, taken]
    orders: list = field(default_factory=list)

    def market(self) -> bool:
        """True while orders can trade."""
        return self.book.whole and not self.gapped

    def reducible(self, side: int) -> int:
        """Lots that an order of that side can close."""
        return max(0, -side * self.lots)


class RefVenue:
    """The venue; `events` and `entries` hold all that it ever said, as tuples."""

    def __init__(
        self, rules: list[Rules], cash_e8: int, max_orders: int = 2**17, queue_model=("risk-averse", 1.0), impacts=None
    ):
        self.rules = rules
        self.queue_model = queue_model
        self.seats = [Seat() for _ in rules]
        self.cash = cash_e8
        self.now = 0
        self.ids = {}
        self.max_orders = max_orders
        self.impacts = impacts or {}  # instrument: Impact
        self.trades = []
        self.events = []
        self.n_events = 0

    # --- telling -------------------------------------------------------------------------------------------------

    def tell(self, kind, order=None, code=0, query=False, **fields):
        """One event; `fields` override what the order says."""
        seq = 0
        if not query:
            self.n_events += 1
            seq = self.n_events
        event = {
            "seq": seq, "t": self.now, "kind": kind, "id": (0, 0), "instrument": 0, "side": 0, "price": 0, "qty": 0,
            "cum": 0, "leaves": 0, "order": 0, "trade": 0, "fee": 0, "cash": 0, "status": 0, "code": code, "row": -1,
        }  # fmt: skip
        if order is not None:
            event |= {
                "id": order.id, "instrument": order.instrument, "side": order.side, "qty": order.qty,
                "price": order.trigger if order.type == e.TYPE_STOP_MARKET else order.price, "cum": order.cum,
                "leaves": order.leaves, "order": order.number, "status": order.status, "row": order.row,
            }  # fmt: skip
        event |= fields
        self.events.append(tuple(event.values()))
        return event

    def tell_request(self, kind, r, code, query=False):
        """An event about a request without an order."""
        self.tell(kind, None, code, query, id=r["id"], instrument=r["instrument"], side=r["side"], price=r["price"],
                  qty=r["qty"], row=r["row"])  # fmt: skip

    # --- what moves money ----------------------------------------------------------------------------------------

    def fill(self, order, price, qty, maker):
        """One execution."""
        rules = self.rules[order.instrument]
        seat = self.seats[order.instrument]
        value = price * qty * rules.value_e8
        cost = fee(value, rules.maker_ppm if maker else rules.taker_ppm)
        closing = min(qty, seat.reducible(order.side))
        realised = 0
        if closing:
            sign = 1 if seat.lots > 0 else -1
            removed = abs(seat.cost) * closing // abs(seat.lots)
            realised = sign * (price * closing - removed)
            seat.cost -= sign * removed
        seat.cost += order.side * (qty - closing) * price
        seat.lots += order.side * qty
        seat.realised += realised
        seat.fees += cost
        self.cash += (-order.side * value if rules.is_spot else realised * rules.value_e8) - cost
        order.cum += qty
        event = self.tell(e.REPORT_FILL, order, price=price, qty=qty, trade=len(self.trades) + 1, fee=cost)
        self.trades.append(event)
        if order.cum == order.qty:
            self.end(order, e.REPORT_FILL, 0, tell=False)

    def end(self, order, status, code, tell=True):
        """An order is over."""
        order.open = False
        order.status = status
        order.code = code
        if tell:
            self.tell(status, order, code)

    def only_reduces(self, order):
        """Orders that may not open or turn a position."""
        return bool(order.flags & e.ORDER_REDUCE_ONLY) or (self.rules[order.instrument].is_spot and order.side < 0)

    def may_trade(self, order):
        """Lots the order may still trade now."""
        left = order.qty - order.cum
        return min(left, self.seats[order.instrument].reducible(order.side)) if self.only_reduces(order) else left

    def settle(self, index):
        """Reduce-only orders follow the position, ended ones leave."""
        seat = self.seats[index]
        for order in seat.orders:
            if order.open and self.only_reduces(order):
                left = seat.reducible(order.side)
                if left == 0:
                    self.end(order, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY)
                elif order.qty - order.cum > left:
                    order.qty = order.cum + left
                    self.tell(e.REPORT_REPLACED, order, e.VENUE_REDUCE_ONLY)
        seat.orders = [order for order in seat.orders if order.open]

    def offers(self, index, side):
        """(price, shown, offered) of the effective book: what we took is not there."""
        seat = self.seats[index]
        for price, shown in seat.book.side(side):
            if price == 0:
                return
            gone = seat.taken.get((side, price))
            if gone is None:
                yield price, shown, shown if len(seat.taken) < MAX_TAKEN else 0
            else:
                yield price, shown, max(0, shown - gone[1])

    def take(self, order, limit, maker=False):
        """Walk the book."""
        seat = self.seats[order.instrument]
        left = self.may_trade(order)
        side = order.side
        impact = self.impacts.get(order.instrument)
        pays, before = self.prices(order.instrument, side)
        done = 0
        for price, shown, offered in list(self.offers(order.instrument, -side)):
            if left == 0 or (limit and side * (price + side * before - limit) > 0):
                break
            if (-side, price) not in seat.taken and len(seat.taken) >= MAX_TAKEN:
                continue
            qty = min(left, offered)
            if impact and not maker and limit and qty > 0:
                qty = max(n for n in range(qty + 1) if n == 0 or side * (pays(price, done, n) - limit) <= 0)
                if qty == 0:
                    break
            if qty > 0:
                seat.taken.setdefault((-side, price), [shown, 0])[1] += qty
                self.fill(order, order.price if maker else pays(price, done, qty), qty, maker)
                done += qty
                left -= qty
        if impact and not maker and done:
            impact.trades.append((self.now, side * done))

    def prices(self, index, side):
        """What an order that takes now pays for lots of a level, and how far the book is away from it."""
        best = self.seats[index].book.best(-side)
        impact = self.impacts.get(index)
        if impact is None or best == 0:
            return lambda price, done, lots: price, 0
        before = impact.before(self.now, side, best)
        held, inside = impact.held(self.now, side), impact.inside(self.now, side)
        return lambda price, done, lots: impact.paid(side, best, price, before, held, inside, done, lots), before

    # --- requests ------------------------------------------------------------------------------------------------

    def request(self, r: dict) -> None:
        """One request: action, t, id, instrument, side, type, tif, flags, price, qty, trigger, row, aux."""
        self.now = max(self.now, r["t"])
        action = r["action"]
        if action == e.ACTION_PLACE:
            self.place(r)
            return
        order = None
        if action in (e.ACTION_CANCEL, e.ACTION_AMEND, e.ACTION_QUERY_ORDER):
            order = self.ids.get(r["id"])
            if order is not None and r["row"] >= 0:
                order.row = r["row"]
        if action == e.ACTION_CANCEL:
            if order is None or not order.open:
                self.tell_request(e.REPORT_CANCEL_REJECT, r, e.VENUE_UNKNOWN_ORDER)
            else:
                self.end(order, e.REPORT_CANCELED, 0)
                self.settle(order.instrument)
        elif action == e.ACTION_AMEND:
            self.amend(r, order)
        elif action == e.ACTION_CANCEL_ALL:
            for index, seat in enumerate(self.seats):
                if r["instrument"] in (index, ALL):
                    for open_order in seat.orders:
                        self.end(open_order, e.REPORT_CANCELED, 0)
                    self.settle(index)
        else:
            self.query(r, order)

    def query(self, r, order):
        """Questions, and what nobody understands."""
        action = r["action"]
        if action == e.ACTION_QUERY_ORDER:
            if order is None:
                self.tell_request(e.REPORT_NOT_FOUND, r, e.VENUE_UNKNOWN_ORDER, query=True)
            else:
                self.tell(e.REPORT_ORDER, order, order.code, query=True, row=r["row"])
            return
        if action == e.ACTION_QUERY_OPEN:
            for seat in self.seats:
                for known in seat.orders:
                    self.tell(e.REPORT_ORDER, known, query=True)
        elif action == e.ACTION_QUERY_TRADES:
            for trade in self.trades:
                if trade["seq"] > r["aux"]:
                    self.events.append(tuple({**trade, "seq": 0, "t": self.now, "cash": trade["seq"]}.values()))
        elif action == e.ACTION_QUERY_POSITION:
            for index, seat in enumerate(self.seats):
                self.tell(e.REPORT_POSITION, query=True, instrument=index, qty=seat.lots, cash=seat.cost, fee=seat.fees)
        elif action == e.ACTION_QUERY_BALANCE:
            self.tell(e.REPORT_BALANCE, query=True, cash=self.cash)
        else:
            self.tell_request(e.REPORT_REJECT, r, e.VENUE_BAD_REQUEST)
            return
        self.tell_request(e.REPORT_QUERY_END, r, 0, query=True)

    def well_formed(self, r) -> bool:
        """Fields that make sense together."""
        post_only = bool(r["flags"] & e.ORDER_POST_ONLY)
        return (
            r["instrument"] < len(self.seats)
            and r["side"] in (1, -1)
            and r["id"] != (0, 0)
            and r["type"] in (e.TYPE_MARKET, e.TYPE_LIMIT, e.TYPE_STOP_MARKET)
            and r["tif"] in (e.TIF_GTC, e.TIF_IOC)
            and r["flags"] in (0, 1, 2, 3)
            and r["qty"] > 0
            and not (r["type"] == e.TYPE_LIMIT and r["price"] <= 0)
            and not (r["type"] == e.TYPE_STOP_MARKET and (r["trigger"] <= 0 or r["tif"] != e.TIF_GTC))
            and not (post_only and (r["type"], r["tif"]) != (e.TYPE_LIMIT, e.TIF_GTC))
        )

    def needed(self, index, price, qty):
        """Cash that a spot limit buy may need."""
        rules = self.rules[index]
        value = price * qty * rules.value_e8
        return value + max(0, fee(value, max(rules.maker_ppm, rules.taker_ppm))) + qty

    def free_cash(self):
        """Cash that no resting spot buy holds."""
        held = 0
        for index, seat in enumerate(self.seats):
            for order in seat.orders:
                if self.rules[index].is_spot and order.open and order.side > 0 and order.type == e.TYPE_LIMIT:
                    held += self.needed(index, order.price, order.qty - order.cum)
        return self.cash - held

    def walk_cost(self, index, side, qty):
        """What a market order would pay now."""
        cost = done = 0
        pays, _ = self.prices(index, side)
        for price, _, offered in self.offers(index, -side):
            part = min(qty, offered)
            if part > 0:
                price = pays(price, done, part)
                done += part
                value = price * part * self.rules[index].value_e8
                cost += value + fee(value, self.rules[index].taker_ppm)
                qty -= part
        return cost

    def goes_off(self, index, side, trigger):
        """A stop that would trigger at once."""
        seat = self.seats[index]
        price = seat.last_trade or (seat.book.best(-side) if seat.market() else 0)
        return price > 0 and (price >= trigger if side > 0 else price <= trigger)

    def refusal(self, order) -> int:
        """Why a well-formed new order is refused, 0 if it is not."""
        rules = self.rules[order.instrument]
        seat = self.seats[order.instrument]
        reduce_only = bool(order.flags & e.ORDER_REDUCE_ONLY)
        is_stop = order.type == e.TYPE_STOP_MARKET
        best = seat.book.best(-order.side)
        price = {e.TYPE_MARKET: best, e.TYPE_LIMIT: order.price, e.TYPE_STOP_MARKET: order.trigger}[order.type]
        if not rules.min_qty <= order.qty <= rules.max_qty:
            return e.VENUE_FILTER
        if reduce_only and not seat.reducible(order.side):
            return e.VENUE_REDUCE_ONLY
        if sum(len(other.orders) for other in self.seats) >= MAX_OPEN:
            return e.VENUE_TOO_MANY_ORDERS
        if not is_stop and (not seat.market() or (order.type == e.TYPE_MARKET and best == 0)):
            return e.VENUE_NO_MARKET
        if order.qty * price > VALUE_BOUND // rules.value_e8:
            return e.VENUE_FILTER
        if not reduce_only and price * order.qty * rules.value_e8 < rules.min_notional_e8:
            return e.VENUE_FILTER
        if order.flags & e.ORDER_POST_ONLY and best and order.side * (price - best) >= 0:
            return e.VENUE_POST_ONLY
        if is_stop and self.goes_off(order.instrument, order.side, price):
            return e.VENUE_STOP_WOULD_TRIGGER
        if rules.is_spot and order.side < 0 and not reduce_only and order.qty > seat.lots:
            return e.VENUE_BALANCE
        if rules.is_spot and order.side > 0:
            if order.type == e.TYPE_MARKET:
                needed = self.walk_cost(order.instrument, 1, order.qty)
            else:
                needed = self.needed(order.instrument, price, order.qty)
            if needed > self.free_cash():
                return e.VENUE_BALANCE
        return 0

    def place(self, r):
        """A new order."""
        if r["id"] in self.ids:
            self.tell_request(e.REPORT_REJECT, r, e.VENUE_DUPLICATE_ID)
            return
        good = self.well_formed(r)
        if r["id"] == (0, 0) or len(self.ids) >= self.max_orders:
            self.tell_request(e.REPORT_REJECT, r, e.VENUE_TOO_MANY_ORDERS if good else e.VENUE_BAD_REQUEST)
            return
        trigger = r["trigger"] if r["type"] == e.TYPE_STOP_MARKET else 0
        order = Order(len(self.ids) + 1, r["id"], r["row"], r["instrument"], r["side"], r["type"], r["tif"], r["flags"],
                      r["price"], trigger, r["qty"])  # fmt: skip
        self.ids[r["id"]] = order
        code = self.refusal(order) if good else e.VENUE_BAD_REQUEST
        if code:
            order.status = e.REPORT_REJECT
            order.code = code
            self.tell(e.REPORT_REJECT, order, code)
            return
        seat = self.seats[order.instrument]
        seat.orders.append(order)
        order.open = True
        order.status = e.REPORT_ACK
        self.tell(e.REPORT_ACK, order)
        if order.type != e.TYPE_STOP_MARKET:
            self.take(order, order.price if order.type == e.TYPE_LIMIT else 0)
            if order.open and order.type == e.TYPE_LIMIT and order.tif == e.TIF_GTC:
                self.join(order)
            elif order.open:
                self.expire(order)
        self.settle(order.instrument)

    def expire(self, order):
        """The rest of an order that does not wait."""
        over = self.only_reduces(order) and not self.seats[order.instrument].reducible(order.side)
        self.end(order, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY if over else 0)

    def amend_refusal(self, r, order) -> int:
        """Why an order cannot be changed so, 0 if it can."""
        rules = self.rules[order.instrument]
        if r["qty"] <= 0 or r["trigger"] < 0 or r["price"] not in (0, order.price):
            return e.VENUE_BAD_REQUEST
        if order.triggered:
            return e.VENUE_UNKNOWN_ORDER
        if r["qty"] <= order.cum or not rules.min_qty <= r["qty"] <= rules.max_qty:
            return e.VENUE_FILTER
        is_stop = order.type == e.TYPE_STOP_MARKET
        price = (r["trigger"] or order.trigger) if is_stop else order.price
        if r["qty"] * price > VALUE_BOUND // rules.value_e8:
            return e.VENUE_FILTER
        reduce_only = order.flags & e.ORDER_REDUCE_ONLY
        if not reduce_only and price * (r["qty"] - order.cum) * rules.value_e8 < rules.min_notional_e8:
            return e.VENUE_FILTER
        if is_stop and price != order.trigger and self.goes_off(order.instrument, order.side, price):
            return e.VENUE_STOP_WOULD_TRIGGER
        more = r["qty"] - order.qty
        if rules.is_spot and more > 0:
            lots = self.seats[order.instrument].lots
            if order.side < 0 and not reduce_only and r["qty"] - order.cum > lots:
                return e.VENUE_BALANCE
            if order.side > 0 and order.type == e.TYPE_LIMIT:
                if self.needed(order.instrument, price, more) > self.free_cash():
                    return e.VENUE_BALANCE
        return 0

    def amend(self, r, order):
        """Another quantity, another trigger."""
        code = e.VENUE_UNKNOWN_ORDER
        if order is not None and order.open:
            code = self.amend_refusal(r, order)
        if code:
            self.tell_request(e.REPORT_CANCEL_REJECT, r, code)
            return
        seat = self.seats[order.instrument]
        if order.type == e.TYPE_LIMIT and r["qty"] > order.qty:
            self.join(order)
        order.qty = r["qty"]
        if order.type == e.TYPE_STOP_MARKET and r["trigger"]:
            order.trigger = r["trigger"]
        if self.only_reduces(order):
            order.qty = min(order.qty, order.cum + seat.reducible(order.side))
        self.tell(e.REPORT_REPLACED, order)

    # --- the market ----------------------------------------------------------------------------------------------

    def tick(self, t, lag_us, index, kind, flags, w, number) -> None:
        """One record of the recording."""
        self.now = max(self.now, t)
        if index >= len(self.seats):
            return
        seat = self.seats[index]
        if not flags & e.FLAG_SNAPSHOT and number != max(seat.next_no, 1):
            seat.gapped = True
        seat.next_no = number + 1
        if kind == e.TICK_TRADE:
            seat.last_trade = w[0]
            self.trade(index, w[0], w[1], w[3])
            self.trigger(index, w[0])
            self.settle(index)
        elif kind == e.TICK_MARK:
            self.mark(index, t + lag_us * 1_000, w)
        elif kind in (e.TICK_LEVEL, e.TICK_QUOTE, e.TICK_STATUS):
            if kind == e.TICK_STATUS and w[0] == e.STATUS_CLEAR:
                seat.gapped = False
            seat.book.apply(kind, flags, w)
            if flags & e.FLAG_LAST and seat.market():
                seat.taken = {key: gone for key, gone in seat.taken.items() if seat.book.shown(*key) == gone[0]}
                self.follow(index)
                self.meet(index)
                self.settle(index)

    def waiting(self, index, side):
        """Resting limit orders of a side, best price first, then oldest."""
        orders = [o for o in self.seats[index].orders if o.open and o.type == e.TYPE_LIMIT and o.side == side]
        return sorted(orders, key=lambda order: -side * order.price)

    def trade(self, index, price, qty, aggressor):
        """A trade: through our price, or at it behind the queue."""
        left = qty
        for side in (-aggressor, aggressor):
            for order in self.waiting(index, side):
                if left == 0 or side * (order.price - price) <= 0:
                    break
                order.queue = 0
                part = min(left, self.may_trade(order))
                if part > 0:
                    self.fill(order, order.price, part, maker=True)
                    left -= part
                if order.open and left > 0:  # the position it could reduce is gone
                    self.end(order, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY)
        given = 0
        for order in self.waiting(index, -aggressor):
            if order.price != price:
                continue
            ahead = min(order.queue, left - given)
            order.queue -= ahead
            part = min(left - given - ahead, self.may_trade(order))
            if part > 0:
                self.fill(order, price, part, maker=True)
                given += part
            self.explain(order, qty)

    def join(self, order):
        """At the end of its level's queue."""
        order.queue = order.seen = self.seats[order.instrument].book.shown(order.side, order.price)
        order.traded[0] = 0
        order.gone = [0, 0]

    def explain(self, order, qty):
        """A trade: what is gone already, the oldest first, then what will go."""
        for age in (0, 1):
            part = min(qty, order.gone[age])
            order.gone[age] -= part
            qty -= part
        before = order.traded[0] if self.now - order.traded[1] <= 2 * 10**9 else 0
        order.traded = [before + qty, self.now]

    def follow(self, index):
        """The levels of resting orders; what went a tenth of a second ago without a trade was cancelled."""
        seat = self.seats[index]
        for order in seat.orders:
            if not order.open or order.type != e.TYPE_LIMIT:
                continue
            shown = seat.book.shown(order.side, order.price)
            change, order.seen = shown - order.seen, shown
            if change < 0:
                before = order.traded[0] if self.now - order.traded[1] <= 2 * 10**9 else 0
                part = min(before, -change)
                order.traded[0] = before - part
                order.gone[1] += -change - part
            for age in (0, 1):
                part = min(order.gone[age], max(change, 0))
                order.gone[age] -= part
                change -= part
            if self.now - order.round >= 10**8:
                if order.gone[0]:
                    self.cancelled(order)
                order.gone = [order.gone[1], 0]
                order.round = self.now

    def cancelled(self, order):
        """The queue model says how much of it was behind."""
        ahead = order.queue
        behind = max(0, order.seen + sum(order.gone) - ahead)
        gone = min(order.gone[0], ahead + behind)
        kind, exponent = self.queue_model
        if kind == "risk-averse":
            order.queue = min(ahead, ahead + behind - gone)
            return
        if ahead and behind:
            unit = self.rules[order.instrument].lot_e8 * 1e-8
            weigh = (lambda x: math.log1p(x * unit)) if kind == "log" else None
            share = (
                1 / (1 + (ahead / behind) ** exponent) if not weigh else weigh(behind) / (weigh(behind) + weigh(ahead))
            )
        else:
            share = 0.0 if ahead else 1.0
        off = max(gone - ahead, min(behind, math.ceil(share * gone)))
        order.queue = ahead - gone + off

    def trigger(self, index, price):
        """Stops that the trade reaches."""
        for order in list(self.seats[index].orders):
            reached = price >= order.trigger if order.side > 0 else price <= order.trigger
            if order.open and order.type == e.TYPE_STOP_MARKET and not order.triggered and reached:
                order.triggered = True
                self.tell(e.REPORT_TRIGGERED, order)
                if self.seats[index].market():
                    self.set_off(order)

    def set_off(self, order):
        """A triggered stop executes."""
        if self.rules[order.instrument].is_spot and order.side > 0:
            if self.walk_cost(order.instrument, 1, order.qty) > self.free_cash():
                self.end(order, e.REPORT_EXPIRED, e.VENUE_BALANCE)
                return
        self.take(order, 0)
        if order.open:
            self.expire(order)

    def meet(self, index):
        """The opposite side comes to resting orders; stops that waited for a book."""
        seat = self.seats[index]
        for order in list(seat.orders):
            if order.open and order.triggered:
                self.set_off(order)
        for side in (1, -1):
            best = seat.book.best(-side)
            for order in self.waiting(index, side):
                if not best or side * (order.price - best) < 0:
                    break
                self.take(order, order.price, maker=True)
                if order.open:
                    if self.may_trade(order) > 0:
                        break
                    self.end(order, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY)

    def mark(self, index, venue_ns, w):
        """Mark price; funding when its time has come."""
        seat = self.seats[index]
        mark, rate, due = seat.mark
        if due and w[3] != due and venue_ns >= due and seat.lots and not self.rules[index].is_spot:
            amount = funding(seat.lots, self.rules[index].lot_e8, mark, rate)
            seat.funding += amount
            self.cash += amount
            self.tell(e.REPORT_FUNDING, instrument=index, cash=amount, qty=seat.lots)
        seat.mark = (w[0], w[2], w[3])

    def state(self) -> tuple:
        """Everything that matters, for a comparison."""
        return (
            self.cash,
            tuple((s.lots, s.cost, s.realised, s.fees, s.funding) for s in self.seats),
            tuple(sorted((i, *key, *gone) for i, s in enumerate(self.seats) for key, gone in s.taken.items())),
            tuple(
                (o.number, o.qty, o.cum, o.queue, o.trigger, int(o.triggered), o.seen, o.traded[0], *o.gone)
                for s in self.seats
                for o in s.orders
            ),
        )

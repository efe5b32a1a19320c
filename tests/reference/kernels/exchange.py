"""Slow twin of the exchange: plain Python, unbounded integers, dictionaries and lists, one rule a method.

Written from the rules, not from the kernels: the book is the open orders, sorted anew whenever somebody takes; what is
locked is summed up from the open orders whenever somebody asks. Imports the numbers of codes and kinds, nothing else.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from bot4.model import enums as e

ICEBERG_PARTS = 10
MAX_TRAILING = 1_024
VALUE_BOUND = 2**58
SUPPLY_BOUND = 2**60
NOWHERE, BOOK, TRIGGER, LIST, QUEUE, TAKING = range(6)
MAKER, TAKER, IN_TOKEN = 1, 2, 4
ALL = -1
LIMITS = (e.TYPE_LIMIT, e.TYPE_STOP_LIMIT, e.TYPE_TAKE_PROFIT_LIMIT)
STOPS = (e.TYPE_STOP_MARKET, e.TYPE_STOP_LIMIT)


def ceil_div(a: int, b: int) -> int:
    """Division rounded up."""
    return -(-a // b)


def fee(amount: int, ppm: int) -> int:
    """A share of an amount, rounded up."""
    return ceil_div(amount * ppm, 10**6)


def in_token(due, discount_ppm, price_e8):
    """A fee in the token, less the discount: at each step rounded up."""
    return ceil_div(fee(due, 10**6 - discount_ppm) * 10**8, price_e8)


class Rules(NamedTuple):
    """One instrument; a contract if it has a bound of positions."""

    base: int
    quote: int
    lot_e8: int
    value_e8: int
    max_price: int
    max_lots: int
    max_position: int = 0


class Command(NamedTuple):
    """What is asked; `order` is the order's number, not its id."""

    t: int = 0
    account: int = 0
    instrument: int = 0
    action: int = 0
    type: int = 0
    tif: int = 0
    side: int = 0
    flags: int = 0
    stp: int = 0
    list_kind: int = 0
    leg: int = 0
    order: int = 0
    client: int = 0
    list_client: int = 0
    price: int = 0
    stop: int = 0
    qty: int = 0
    display: int = 0
    trail: int = 0
    expire: int = 0
    amount: int = 0


@dataclass(eq=False)
class OrderList:
    """Orders that depend on each other."""

    number: int
    client: int
    kind: int
    account: int
    instrument: int
    legs: dict = field(default_factory=dict)


@dataclass(eq=False)
class Order:
    """An open order."""

    c: Command
    number: int = 0
    cum: int = 0
    value: int = 0
    prevented: int = 0
    place: int = NOWHERE
    stamp: int = 0  # when it joined what it waits in
    shown: int = 0
    active: bool = False  # its money is locked
    lock_price: int = 0
    extreme: int = 0
    fired: bool = False
    list: OrderList | None = None
    leg: int = 0

    def __post_init__(self):
        self.qty, self.price, self.stop = self.c.qty, self.c.price, self.c.stop
        self.parts = self.parts_of(self.qty)  # it counts as so many orders, until it is amended

    @property
    def leaves(self):
        """Lots it may still trade."""
        return 0 if self.c.amount else self.qty - self.cum - self.prevented

    @property
    def limited(self):
        """It names a price."""
        return self.c.type in LIMITS

    @property
    def reduces(self):
        """It may only lower a position."""
        return bool(self.c.flags & e.ORDER_REDUCE_ONLY)

    @property
    def rising(self):
        """It waits for a price at or above its trigger."""
        if self.c.trail and self.extreme:
            return self.c.side > 0
        return (self.c.side > 0) == (self.c.type in STOPS)

    def parts_of(self, lots):
        """In how many pieces so much of it is shown."""
        return ceil_div(lots, self.c.display) if self.c.display else 1


@dataclass(eq=False)
class Seat:
    """One account on one contract."""

    lots: int = 0
    cost: int = 0
    realised: int = 0

    def reducible(self, side):
        """Lots by which an order of that side lowers the position."""
        return abs(self.lots) if self.lots * side < 0 else 0


class RefExchange:
    """The whole exchange."""

    def __init__(self, rules, n_accounts, n_assets, max_orders, fees, groups):
        self.rules, self.n_accounts, self.n_assets, self.max_orders = rules, n_accounts, n_assets, max_orders
        self.fee_ppm, self.groups = fees, groups
        self.token, self.discount_ppm, self.token_prices = None, 0, {}
        self.pays_token = set()
        self.total = {(a, s): 0 for a in range(n_accounts) for s in range(n_assets)}
        self.fees = [0] * n_assets
        self.supply = [0] * n_assets
        self.seats = {(a, i): Seat() for a in range(n_accounts) for i in range(len(rules))}
        self.last = [0] * len(rules)
        self.orders = []  # open ones, oldest first
        self.trailing = [[] for _ in rules]
        self.queue = []
        self.staged = []
        self.events = []
        self.now = self.n_events = self.n_orders = self.n_trades = self.n_prevented = self.n_lists = self.stamps = 0
        self.trades = []  # prices of the walk

    # --- what is told --------------------------------------------------------------------------------------------

    def tell(self, kind, o, code=0, liquidity=0, lots=0, price=0, fee_e8=0, trade=0):
        """Of an order."""
        c = o.c
        self.n_events += 1
        self.events.append((
            self.now, self.n_events, kind, c.side, c.type, c.tif, c.flags, c.stp, o.place, liquidity, c.account,
            c.instrument, code, o.number, c.client, o.list.number if o.list else 0, o.price, o.stop, o.qty, o.cum,
            o.value, lots, price, fee_e8, trade,
        ))  # fmt: skip

    def tell_command(self, kind, c, code=0, client=None, number=0, value=0):
        """Of a command."""
        self.n_events += 1
        self.events.append((
            self.now, self.n_events, kind, c.side, c.type, c.tif, c.flags, c.stp, 0, 0, c.account,
            c.instrument & 0xFFFF, code, c.order, c.client if client is None else client, number, c.price, c.stop,
            c.qty, 0, value, 0, 0, 0, 0,
        ))  # fmt: skip

    def tell_funding(self, c, account, lots, paid, free):
        """Of a position."""
        self.n_events += 1
        self.events.append((
            self.now, self.n_events, e.REPORT_FUNDING, c.side, c.type, c.tif, c.flags, c.stp, 0, 0, account,
            c.instrument, 0, c.order, c.client, 0, c.price, c.stop, c.qty, 0, free, lots, c.price, paid, 0,
        ))  # fmt: skip

    def tell_list(self, kind, one):
        """Of a list."""
        self.n_events += 1
        self.events.append((
            self.now, self.n_events, kind, 0, 0, 0, 0, 0, 0, 0, one.account, one.instrument, 0, 0, one.client,
            one.number, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ))  # fmt: skip

    # --- money ---------------------------------------------------------------------------------------------------

    def pays_with(self, o):
        """(account, asset)."""
        rules = self.rules[o.c.instrument]
        return o.c.account, rules.quote if o.c.side > 0 else rules.base

    def claim(self, o):
        """What the order needs by itself."""
        rules = self.rules[o.c.instrument]
        if rules.max_position or o.c.amount or not o.active:
            return 0
        return o.leaves * (o.lock_price * rules.value_e8 if o.c.side > 0 else rules.lot_e8)

    def locked(self, account, asset):
        """What the open orders of an account need of an asset: of a pair the larger leg."""
        claims = {}
        for o in self.orders:
            if self.pays_with(o) == (account, asset) and self.claim(o):
                pair = id(o.list) if self.sibling(o) else id(o)
                claims[pair] = max(claims.get(pair, 0), self.claim(o))
        return sum(claims.values())

    def free(self, account, asset):
        """What is not locked."""
        return self.total[account, asset] - self.locked(account, asset)

    def need(self, o):
        """What the order needs when it enters the market."""
        o.lock_price = o.price
        if not o.limited and o.c.type != e.TYPE_MARKET:
            o.lock_price = o.stop or self.last[o.c.instrument]
        o.active = True
        needed = self.claim(o)
        o.active = False
        return needed

    def settle(self, o, price, lots, liquidity):
        """One side of a fill. Returns the fee, and how it was paid."""
        account, rules = o.c.account, self.rules[o.c.instrument]
        value = price * lots * rules.value_e8
        o.cum += lots
        o.value += value
        if not rules.max_position:
            asset, received = (rules.base, lots * rules.lot_e8) if o.c.side > 0 else (rules.quote, value)
            spent = value if o.c.side > 0 else lots * rules.lot_e8
            self.total[self.pays_with(o)] -= spent
            self.total[account, asset] += received
        else:
            asset, received = rules.quote, value
            seat = self.seats[account, o.c.instrument]
            closing = min(lots, seat.reducible(o.c.side))
            if closing:
                removed = abs(seat.cost) * closing // abs(seat.lots)
                profit = -o.c.side * (price * closing - removed)
                seat.cost += o.c.side * removed
                seat.realised += profit
                self.total[account, asset] += profit * rules.value_e8
            seat.lots += o.c.side * lots
            seat.cost += o.c.side * (lots - closing) * price
        ppm = self.fee_ppm[account][0 if liquidity == MAKER else 1]
        paid = fee(received, ppm)
        if account in self.pays_token and rules.quote in self.token_prices and ppm > 0:
            instead = in_token(fee(value, ppm), self.discount_ppm, self.token_prices[rules.quote])
            if instead <= self.free(account, self.token):
                asset, paid, liquidity = self.token, instead, liquidity | IN_TOKEN
        self.total[account, asset] -= paid
        self.fees[asset] += paid
        return paid, liquidity

    def pay_funding(self, c):
        """All positions of a contract, each payment rounded up."""
        contract = 0 <= c.instrument < len(self.rules) and self.rules[c.instrument].max_position
        if not contract or not 1 <= c.price <= self.rules[c.instrument].max_price or abs(c.amount) > 10**8:
            self.tell_command(e.REPORT_REJECT, c, e.VENUE_BAD_REQUEST)
            return
        rules = self.rules[c.instrument]
        for account in range(self.n_accounts):
            lots = self.seats[account, c.instrument].lots
            if lots:
                paid = ceil_div(lots * c.price * rules.value_e8 * c.amount, 10**8)
                self.total[account, rules.quote] -= paid
                self.fees[rules.quote] += paid
                self.tell_funding(c, account, lots, paid, self.free(account, rules.quote))

    # --- where orders are ----------------------------------------------------------------------------------------

    def join(self, o, place):
        """Last of those that wait in the same."""
        self.stamps += 1
        o.stamp, o.place = self.stamps, place
        if place == BOOK:
            o.shown = min(o.c.display or o.leaves, o.leaves)
        if place == QUEUE:
            self.queue.append(o)

    def leave(self, o):
        """Out of whatever it waits in."""
        if o in self.queue:
            self.queue.remove(o)
        o.place = NOWHERE

    def book(self, instrument, side):
        """Orders of a side, the next to trade first."""
        found = [o for o in self.orders if o.place == BOOK and o.c.instrument == instrument and o.c.side == side]
        return sorted(found, key=lambda o: (-side * o.price, o.stamp))

    def waiting(self, instrument, rising):
        """Orders that wait for a price, the next to go off first."""
        found = [o for o in self.orders if o.place == TRIGGER and o.c.instrument == instrument and o.rising == rising]
        return sorted(found, key=lambda o: (o.stop if rising else -o.stop, o.stamp))

    def sibling(self, o):
        """The other leg of a pair."""
        if o.list is None or (o.list.kind != e.LIST_OCO and (o.list.kind == e.LIST_OTO or o.leg == 0)):
            return None
        return next((other for leg, other in o.list.legs.items() if other is not o and (o.list.kind == 1 or leg)), None)

    # --- how orders end ------------------------------------------------------------------------------------------

    def remove(self, o):
        """Nowhere any more."""
        self.leave(o)
        self.orders.remove(o)
        if o in self.trailing[o.c.instrument]:
            self.trailing[o.c.instrument].remove(o)
        if o.list:
            del o.list.legs[o.leg]

    def end(self, o, kind, code):
        """By itself."""
        self.leave(o)
        if kind != e.REPORT_FILL:
            self.tell(kind, o, code)
        self.remove(o)

    def end_sibling(self, o):
        """The first leg that trades or goes off ends the other."""
        other = self.sibling(o)
        if other:
            self.end(other, e.REPORT_EXPIRED, e.VENUE_LIST)

    def close(self, o, kind, code):
        """With what it means for its list."""
        self.end(o, kind, code)
        one = o.list
        if one is None:
            return
        for leg in sorted(one.legs):
            if kind == e.REPORT_FILL:
                if o.leg == 0 and one.kind != e.LIST_OCO:
                    self.join(one.legs[leg], QUEUE)
            else:
                other = e.REPORT_CANCELED if kind == e.REPORT_CANCELED else e.REPORT_EXPIRED
                self.end(one.legs[leg], other, e.VENUE_LIST)
        if not one.legs:
            self.tell_list(e.REPORT_LIST_DONE, one)

    def shrink(self, account, instrument):
        """Reduce-only orders in the book ask for no more than the position, the newest give way."""
        seat = self.seats[account, instrument]
        for side in (1, -1) if self.rules[instrument].max_position else ():
            while True:
                mine = [o for o in self.book(instrument, side) if o.c.account == account and o.reduces]
                over = sum(o.leaves for o in mine) - seat.reducible(side)
                if over <= 0:
                    break
                newest = max(mine, key=lambda o: o.number)
                if over >= newest.leaves:
                    self.close(newest, e.REPORT_EXPIRED, e.VENUE_REDUCE_ONLY)
                else:
                    newest.qty -= over
                    newest.shown = min(newest.shown, newest.leaves)
                    self.tell(e.REPORT_REPLACED, newest, e.VENUE_REDUCE_ONLY)

    # --- taking --------------------------------------------------------------------------------------------------

    def is_own(self, o, maker):
        """Of the same account or trade group."""
        a, b = o.c.account, maker.c.account
        return a == b or (self.groups[a] != 0 and self.groups[a] == self.groups[b])

    def reaches(self, o, price):
        """Its limit, if any, goes that far."""
        return not o.limited or o.c.side * (price - o.price) <= 0

    def fillable(self, o):
        """Played through: the other side without others' reduce-only orders, icebergs shown again at the end."""
        if o.reduces and self.seats[o.c.account, o.c.instrument].reducible(o.c.side) < o.leaves:
            return False
        need = o.leaves
        book = [
            [m.price, m.shown, m.leaves, m.c.display, o.c.stp != e.STP_NONE and self.is_own(o, m)]
            for m in self.book(o.c.instrument, -o.c.side)
            if not m.reduces or (o.c.stp != e.STP_NONE and self.is_own(o, m))
        ]
        while need > 0 and book and self.reaches(o, book[0][0]):
            price, shown, leaves, display, own = book.pop(0)
            if own:
                if o.c.stp != e.STP_EXPIRE_MAKER:
                    return False
                continue
            need -= shown
            if leaves > shown:
                at = next((i for i, row in enumerate(book) if row[0] != price), len(book))
                book.insert(at, [price, min(display, leaves - shown), leaves - shown, display, own])
        return need <= 0

    def prevent(self, o, maker):
        """Self-trade prevention by the taker's mode. Returns why the taker ends, or 0."""
        self.n_prevented += 1
        match, mode = self.n_prevented, o.c.stp
        why = e.VENUE_SELF_TRADE
        if mode == e.STP_DECREMENT:
            lots = min(o.leaves, maker.leaves)
            for one, liquidity in ((o, TAKER), (maker, MAKER)):
                one.prevented += lots
                self.tell(e.REPORT_PREVENTED, one, why, liquidity, lots, maker.price, trade=match)
            maker.shown = min(maker.shown, maker.leaves)
            if maker.leaves == 0:
                self.close(maker, e.REPORT_EXPIRED, why)
            return 0 if o.leaves else why
        if mode in (e.STP_EXPIRE_TAKER, e.STP_EXPIRE_BOTH):
            self.tell(e.REPORT_PREVENTED, o, why, TAKER, o.leaves, maker.price, trade=match)
        if mode in (e.STP_EXPIRE_MAKER, e.STP_EXPIRE_BOTH):
            self.tell(e.REPORT_PREVENTED, maker, why, MAKER, maker.leaves, maker.price, trade=match)
            self.close(maker, e.REPORT_EXPIRED, why)
        return 0 if mode == e.STP_EXPIRE_MAKER else why

    def payable(self, o, price, lots):
        """A spot order without a limit pays as it goes: (lots, why not more)."""
        rules = self.rules[o.c.instrument]
        unit, why = price * rules.value_e8, 0
        if o.c.amount and (o.c.amount - o.value) // unit < lots:
            lots, why = (o.c.amount - o.value) // unit, e.VENUE_SPENT
        if o.c.side > 0:
            most = self.free(o.c.account, rules.quote) // unit
        else:
            most = self.free(o.c.account, rules.base) // rules.lot_e8 if o.c.amount else lots
        return (max(0, most), e.VENUE_BALANCE) if most < lots else (lots, why)

    def walk(self, o):
        """Take what there is. Returns why the rest must not wait, or 0."""
        i, rules = o.c.instrument, self.rules[o.c.instrument]
        while True:
            left = rules.max_lots - o.cum if o.c.amount else o.leaves
            if left and o.reduces:
                left = min(left, self.seats[o.c.account, i].reducible(o.c.side))
                if not left:
                    return e.VENUE_REDUCE_ONLY
            if not left:
                return e.VENUE_SPENT if o.c.amount else 0
            book = self.book(i, -o.c.side)
            if not book or not self.reaches(o, book[0].price):
                return 0
            maker = book[0]
            if o.c.stp != e.STP_NONE and self.is_own(o, maker):
                why = self.prevent(o, maker)
                if why:
                    return why
                continue
            lots, price = min(left, maker.shown), maker.price
            if not rules.max_position and not o.limited:
                lots, why = self.payable(o, price, lots)
                if not lots:
                    return why
            self.fill(o, maker, price, lots)

    def fill(self, o, maker, price, lots):
        """A trade."""
        self.n_trades += 1
        self.trades.append(price)
        self.end_sibling(o)
        self.end_sibling(maker)
        for one, liquidity in ((o, TAKER), (maker, MAKER)):
            paid, how = self.settle(one, price, lots, liquidity)
            self.tell(e.REPORT_FILL, one, 0, how, lots, price, paid, self.n_trades)
        maker.shown -= lots
        if maker.leaves == 0:
            self.close(maker, e.REPORT_FILL, 0)
        elif maker.shown == 0:
            self.join(maker, BOOK)
        for one in (o, maker):
            self.shrink(one.c.account, one.c.instrument)

    def execute(self, o):
        """Take, then rest or end; then the prices made set others off."""
        o.place, self.trades = TAKING, []
        if not o.limited and o.c.side > 0:
            o.lock_price = 0
        if o.c.tif == e.TIF_FOK and not self.fillable(o):
            self.close(o, e.REPORT_EXPIRED, e.VENUE_NOT_WHOLE)
            return
        why = self.walk(o)
        if not why and not o.leaves and not o.c.amount:
            self.close(o, e.REPORT_FILL, 0)
        elif not why and o.limited and o.c.tif in (e.TIF_GTC, e.TIF_GTD):
            self.join(o, BOOK)
            self.shrink(o.c.account, o.c.instrument)
        else:
            self.close(o, e.REPORT_EXPIRED, why)
        trades = self.trades
        for price in trades[:1] + trades[-1:]:
            self.on_price(o.c.instrument, price)

    # --- triggers ------------------------------------------------------------------------------------------------

    def follow(self, o, price):
        """A trailing order's best price."""
        if not o.extreme:
            self.trailing[o.c.instrument].insert(0, o)
        o.extreme = price
        if o.c.side > 0:
            o.stop = ceil_div(price * (10_000 + o.c.trail), 10_000)
        else:
            o.stop = price * (10_000 - o.c.trail) // 10_000
        self.join(o, TRIGGER)

    def on_price(self, i, price):
        """Another last price."""
        if price == self.last[i]:
            return
        self.last[i] = price
        for rising in (True, False):
            while True:
                due = [o for o in self.waiting(i, rising) if (o.stop <= price if rising else o.stop >= price)]
                if not due:
                    break
                o = due[0]
                self.leave(o)
                if o.c.trail and not o.extreme:
                    self.follow(o, price)
                    continue
                if o in self.trailing[i]:
                    self.trailing[i].remove(o)
                o.fired = True
                self.join(o, QUEUE)
                self.tell(e.REPORT_TRIGGERED, o)
                self.end_sibling(o)
        for o in list(self.trailing[i]):
            if (o.c.side > 0) == (price < o.extreme) and price != o.extreme:
                self.leave(o)
                self.follow(o, price)

    # --- entering ------------------------------------------------------------------------------------------------

    def well_formed(self, c):
        """The fields make sense by themselves and together."""
        if not (0 <= c.account < self.n_accounts and 0 <= c.instrument < len(self.rules)):
            return False
        rules = self.rules[c.instrument]
        limited, triggered = c.type in LIMITS, c.type not in (e.TYPE_MARKET, e.TYPE_LIMIT)
        rests = limited and c.tif in (e.TIF_GTC, e.TIF_GTD)
        checks = [
            1 <= c.type <= 6, 1 <= c.tif <= 4, c.side in (1, -1), 0 <= c.stp <= 4, not c.flags & ~3,
            c.price == 0 or limited, not limited or 1 <= c.price <= rules.max_price,
            0 <= c.stop <= rules.max_price, 0 <= c.trail < 10_000, triggered == bool(c.stop or c.trail),
            limited or c.tif != e.TIF_FOK, c.type != e.TYPE_MARKET or c.tif != e.TIF_GTD,
            c.expire > self.now if c.tif == e.TIF_GTD else c.expire == 0,
            not c.flags & e.ORDER_POST_ONLY or (c.type == e.TYPE_LIMIT and rests),
            not c.flags & e.ORDER_REDUCE_ONLY or rules.max_position,
        ]  # fmt: skip
        if c.amount:
            checks += [c.type == e.TYPE_MARKET, not rules.max_position, 0 < c.amount <= VALUE_BOUND, c.qty == 0]
            checks += [c.stp != e.STP_DECREMENT]
        else:
            checks += [1 <= c.qty <= rules.max_lots]
        if c.display:
            checks += [0 < c.display <= c.qty and ceil_div(c.qty, c.display) <= ICEBERG_PARTS, rests]
        return all(checks)

    def well_listed(self, commands):
        """The legs make a list of their kind."""
        kind = commands[0].list_kind
        if any(c.amount for c in commands) or not 1 <= kind <= 3 or len(commands) != (3 if kind == e.LIST_OTOCO else 2):
            return False
        if kind == e.LIST_OTO:
            return True
        pair = commands[-2:]
        plain = [c for c in pair if c.type in (e.TYPE_MARKET, e.TYPE_LIMIT)]
        fits = all(c.type == e.TYPE_LIMIT and c.tif in (e.TIF_GTC, e.TIF_GTD) for c in plain) and len(plain) < 2
        return fits and pair[0].side == pair[1].side and pair[0].qty == pair[1].qty

    def make(self, c):
        """An order, or why not."""
        o = Order(c)
        if sum(one.parts for one in self.orders) + o.parts > self.max_orders:
            return None, e.VENUE_TOO_MANY_ORDERS
        if c.client and any((one.c.account, one.c.client) == (c.account, c.client) for one in self.orders):
            return None, e.VENUE_DUPLICATE_ID
        self.orders.append(o)
        return o, 0

    def bound_refusal(self, o, more=0):
        """Money and positions stay within their bounds."""
        c, rules = o.c, self.rules[o.c.instrument]
        for asset in (rules.quote, rules.base):
            if abs(self.free(c.account, asset)) > SUPPLY_BOUND or abs(self.fees[asset]) > SUPPLY_BOUND:
                return e.VENUE_BALANCE
        if not rules.max_position:
            return 0
        seat = self.seats[c.account, c.instrument]
        if abs(seat.realised) > SUPPLY_BOUND:
            return e.VENUE_BALANCE
        mine = [
            one.leaves
            for one in self.orders
            if (one.c.account, one.c.instrument, one.c.side) == (c.account, c.instrument, c.side) and not one.reduces
        ]
        held = max(0, c.side * seat.lots)
        return e.VENUE_POSITION if not o.reduces and held + sum(mine) + more > rules.max_position else 0

    def would_fire(self, o, stop):
        """The last price has reached it already."""
        last = self.last[o.c.instrument]
        return bool(stop and last and (last >= stop if o.rising else last <= stop))

    def crosses(self, o, price):
        """At this price it would take."""
        book = self.book(o.c.instrument, -o.c.side)
        return bool(book) and o.c.side * (book[0].price - price) <= 0

    def poor(self, o):
        """A spot market order costs more than there is, at what the book has."""
        rules, free = self.rules[o.c.instrument], self.free(*self.pays_with(o))
        left, amount = (rules.max_lots, o.c.amount) if o.c.amount else (o.leaves, 0)
        levels = {}
        for maker in self.book(o.c.instrument, -o.c.side):
            levels[maker.price] = levels.get(maker.price, 0) + maker.leaves
        for price, there in levels.items():
            lots = min(left, there)
            if o.c.amount:
                lots = min(lots, amount // (price * rules.value_e8))
                if not lots:
                    return False
            left -= lots
            amount -= lots * price * rules.value_e8
            free -= lots * (price * rules.value_e8 if o.c.side > 0 else rules.lot_e8)
            if free < 0:
                return True
        return False

    def market_refusal(self, o):
        """Why the market as it is does not take it, or 0."""
        c, rules = o.c, self.rules[o.c.instrument]
        if c.trail and not o.stop and not self.last[c.instrument]:
            return e.VENUE_NO_MARKET
        many = [one for one in self.orders if one.c.trail and not one.fired and one.c.instrument == c.instrument]
        if c.trail and len(many) > MAX_TRAILING:
            return e.VENUE_TOO_MANY_ORDERS
        if self.would_fire(o, o.stop):
            return e.VENUE_STOP_WOULD_TRIGGER
        if o.reduces and not self.seats[c.account, c.instrument].reducible(c.side):
            return e.VENUE_REDUCE_ONLY
        if c.flags & e.ORDER_POST_ONLY and self.crosses(o, o.price):
            return e.VENUE_POST_ONLY
        if rules.max_position:
            return 0
        if c.type == e.TYPE_MARKET and (c.side > 0 or c.amount):
            return e.VENUE_BALANCE if self.poor(o) else 0
        return e.VENUE_BALANCE if self.need(o) > self.free(*self.pays_with(o)) else 0

    def accept(self, o):
        """It has a number."""
        self.n_orders += 1
        o.number = self.n_orders
        self.tell(e.REPORT_ACK, o)

    def enter(self, o):
        """To its trigger, or to take."""
        o.place = NOWHERE
        if o.c.type in (e.TYPE_MARKET, e.TYPE_LIMIT):
            self.execute(o)
        elif not o.stop:
            self.follow(o, self.last[o.c.instrument])
        else:
            self.join(o, TRIGGER)

    def activate(self, orders):
        """Their money is locked from now on."""
        for o in orders:
            self.need(o)
            o.active = True

    def place_order(self, c):
        """A new order."""
        o, code = self.make(c) if self.well_formed(c) else (None, e.VENUE_BAD_REQUEST)
        if o:
            code = self.bound_refusal(o) or self.market_refusal(o)
            if code:
                self.orders.remove(o)
        if code:
            self.tell_command(e.REPORT_REJECT, c, code)
            return
        self.activate([o])
        self.accept(o)
        self.enter(o)

    def refuse_list(self, code):
        """All legs or none."""
        self.tell_command(e.REPORT_REJECT, self.staged[0], code, self.staged[0].list_client, -1)
        self.staged = []

    def place_list(self):
        """The legs have come whole."""
        commands = self.staged
        if not all(self.well_formed(c) for c in commands) or not self.well_listed(commands):
            self.refuse_list(e.VENUE_BAD_REQUEST)
            return
        made, code = [], 0
        n_active = 2 if commands[0].list_kind == e.LIST_OCO else 1
        for leg, c in enumerate(commands):
            if not code:
                o, code = self.make(c)
                if o:
                    o.leg = leg
                    o.place = LIST if leg >= n_active else NOWHERE
                    made.append(o)
                    code = self.bound_refusal(o)
        for o in made[:n_active]:
            code = code or self.market_refusal(o)
        if code:
            for o in made:
                self.orders.remove(o)
            self.refuse_list(code)
            return
        self.staged = []
        self.n_lists += 1
        c = commands[0]
        one = OrderList(self.n_lists, c.list_client, c.list_kind, c.account, c.instrument, dict(enumerate(made)))
        self.tell_list(e.REPORT_LIST_STARTED, one)
        self.activate(made[:n_active])
        for o in made:
            o.list = one
            self.accept(o)
        for o in made[:n_active]:
            if o in self.orders:
                self.enter(o)

    def stage(self, c):
        """A leg of a list."""
        same = ("account", "instrument", "list_kind")
        if self.staged and (
            c.leg != len(self.staged) or any(getattr(c, name) != getattr(self.staged[0], name) for name in same)
        ):
            self.refuse_list(e.VENUE_BAD_REQUEST)
        self.staged.append(c)
        if c.leg != len(self.staged) - 1:
            self.refuse_list(e.VENUE_BAD_REQUEST)
        elif len(self.staged) == (3 if c.list_kind == e.LIST_OTOCO else 2):
            self.place_list()

    def take_turns(self):
        """Triggered orders and pending legs, in order."""
        while self.queue:
            o = self.queue[0]
            self.leave(o)
            if o.fired:
                self.execute(o)
                continue
            legs = [o.list.legs[leg] for leg in sorted(o.list.legs)]
            code = 0
            for leg in legs:
                self.leave(leg)
                leg.place = LIST
                code = code or self.market_refusal(leg)
            if code:
                self.close(o, e.REPORT_EXPIRED, code)
                continue
            self.activate(legs)
            for leg in legs:
                leg.place = NOWHERE
                self.tell(e.REPORT_ACK, leg)
            for leg in legs:
                if leg in self.orders:
                    self.enter(leg)

    # --- changes -------------------------------------------------------------------------------------------------

    def find(self, c):
        """The open order that a command means."""
        for o in self.orders:
            named = o.number == c.order if c.order else c.client and o.c.client == c.client
            if named and o.c.account == c.account:
                return o
        return None

    def amend_refusal(self, o, c, leaves, price, stop):
        """Why not, or 0."""
        rules = self.rules[o.c.instrument]
        if o.list:
            return e.VENUE_LIST
        if leaves < 1 or o.qty - o.leaves + leaves > rules.max_lots:
            return e.VENUE_BAD_REQUEST
        if not 0 <= price <= rules.max_price or o.limited != (price > 0):
            return e.VENUE_BAD_REQUEST
        if c.stop:
            waits = o.place == TRIGGER and not o.c.trail
            if not 0 <= stop <= rules.max_price or not waits:
                return e.VENUE_BAD_REQUEST
            if self.would_fire(o, stop):
                return e.VENUE_STOP_WOULD_TRIGGER
        parts = o.parts_of(leaves)
        if parts > ICEBERG_PARTS:
            return e.VENUE_BAD_REQUEST
        if sum(one.parts for one in self.orders) - o.parts + parts > self.max_orders:
            return e.VENUE_TOO_MANY_ORDERS
        if o.place == BOOK and price != o.price and o.c.flags & e.ORDER_POST_ONLY and self.crosses(o, price):
            return e.VENUE_POST_ONLY
        if not rules.max_position:
            unit = rules.lot_e8
            if o.c.side > 0:
                unit = rules.value_e8 * (price or c.stop or o.lock_price)
            if leaves * unit - self.claim(o) > self.free(*self.pays_with(o)):
                return e.VENUE_BALANCE
        return self.bound_refusal(o, max(0, leaves - o.leaves))

    def amend(self, c):
        """Another quantity, limit or trigger."""
        o = self.find(c)
        if o is None:
            self.tell_command(e.REPORT_CANCEL_REJECT, c, e.VENUE_UNKNOWN_ORDER)
            return
        leaves = c.qty - o.cum - o.prevented if c.qty else o.leaves
        price, stop = c.price or o.price, c.stop or o.stop
        code = self.amend_refusal(o, c, leaves, price, stop)
        if code:
            self.tell_command(e.REPORT_CANCEL_REJECT, c, code)
            return
        in_book = o.place == BOOK
        keeps = (price == o.price and leaves <= o.leaves) if in_book else stop == o.stop
        if not keeps:
            self.leave(o)
        o.parts = o.parts_of(leaves)
        o.qty += leaves - o.leaves
        o.price, o.stop = price, stop
        o.lock_price = price or c.stop or o.lock_price
        if keeps:
            o.shown = min(o.shown, o.leaves)
        elif not in_book:
            self.join(o, TRIGGER)
        self.tell(e.REPORT_REPLACED, o)
        if in_book and not keeps:
            self.execute(o)

    def cancel(self, c):
        """End it."""
        o = self.find(c)
        if o:
            self.close(o, e.REPORT_CANCELED, 0)
        else:
            self.tell_command(e.REPORT_CANCEL_REJECT, c, e.VENUE_UNKNOWN_ORDER)

    def cancel_all(self, c):
        """End them all."""
        if not (0 <= c.account < self.n_accounts and ALL <= c.instrument < len(self.rules)):
            self.tell_command(e.REPORT_CANCEL_REJECT, c, e.VENUE_BAD_REQUEST)
            return
        for i in range(len(self.rules)):
            while c.instrument in (ALL, i):
                mine = [o for o in self.orders if o.c.account == c.account and o.c.instrument == i]
                if not mine:
                    break
                self.close(mine[0], e.REPORT_CANCELED, 0)

    def deposit(self, c):
        """Money comes or goes."""
        if not (0 <= c.account < self.n_accounts and 0 <= c.instrument < self.n_assets and c.amount):
            self.tell_command(e.REPORT_REJECT, c, e.VENUE_BAD_REQUEST)
            return
        free = self.free(c.account, c.instrument)
        if (self.supply[c.instrument] + c.amount > SUPPLY_BOUND) if c.amount > 0 else free < -c.amount:
            self.tell_command(e.REPORT_REJECT, c, e.VENUE_BALANCE)
            return
        self.total[c.account, c.instrument] += c.amount
        self.supply[c.instrument] += c.amount
        self.tell_command(e.REPORT_BALANCE, c, value=free + c.amount)

    def trade_elsewhere(self, c):
        """A price that was not made here."""
        if 0 <= c.instrument < len(self.rules) and 1 <= c.price <= self.rules[c.instrument].max_price:
            self.on_price(c.instrument, c.price)
        else:
            self.tell_command(e.REPORT_REJECT, c, e.VENUE_BAD_REQUEST)

    def step(self, c):
        """One command. Returns its events."""
        self.events = []
        self.now = max(self.now, c.t)
        while True:
            due = [o for o in self.orders if o.c.expire and o.c.expire <= self.now]
            if not due:
                break
            self.close(min(due, key=lambda o: (o.c.expire, o.number)), e.REPORT_EXPIRED, 0)
        if self.staged and c.action != e.ACTION_LEG:
            self.refuse_list(e.VENUE_BAD_REQUEST)
        actions = {
            e.ACTION_PLACE: self.place_order, e.ACTION_CANCEL: self.cancel, e.ACTION_AMEND: self.amend,
            e.ACTION_CANCEL_ALL: self.cancel_all, e.ACTION_LEG: self.stage, e.ACTION_DEPOSIT: self.deposit,
            e.ACTION_FUNDING: self.pay_funding,
            e.ACTION_TRADE: self.trade_elsewhere,
        }  # fmt: skip
        if c.action in actions:
            actions[c.action](c)
        elif c.action != e.ACTION_EXPIRE:
            self.tell_command(e.REPORT_REJECT, c, e.VENUE_BAD_REQUEST)
        self.take_turns()
        return self.events

    # --- what must hold ------------------------------------------------------------------------------------------

    def check(self):
        """Money and quantity are conserved, nothing is locked for nothing, no book is crossed."""
        for asset in range(self.n_assets):
            cost = sum(
                seat.cost * self.rules[i].value_e8
                for (_, i), seat in self.seats.items()
                if self.rules[i].max_position and self.rules[i].quote == asset
            )
            held = sum(self.total[a, asset] for a in range(self.n_accounts))
            assert held + self.fees[asset] - cost == self.supply[asset]
        for i, rules in enumerate(self.rules):
            assert sum(self.seats[a, i].lots for a in range(self.n_accounts)) == 0
            bids, asks = self.book(i, 1), self.book(i, -1)
            assert not bids or not asks or bids[0].price < asks[0].price
            assert all(o.leaves >= o.shown > 0 for o in bids + asks)
            if rules.max_position:
                for a in range(self.n_accounts):
                    assert abs(self.seats[a, i].lots) <= rules.max_position
            else:
                assert all(o.cum <= o.qty or o.c.amount for o in self.orders)
        assert not self.queue

    def state(self):
        """Everything that matters, for a comparison."""
        return (
            tuple((self.free(*key), self.locked(*key)) for key in self.total),
            tuple(self.fees), tuple(self.supply), tuple(self.last),
            tuple((s.lots, s.cost, s.realised) for s in self.seats.values()),
            tuple(
                tuple((o.number, o.price, o.leaves, o.shown) for o in self.book(i, side))
                for i in range(len(self.rules)) for side in (1, -1)
            ),
            tuple(
                tuple((o.number, o.stop, o.leaves, o.extreme) for o in self.waiting(i, rising))
                for i in range(len(self.rules)) for rising in (True, False)
            ),
            tuple(
                (o.number, o.qty, o.cum, o.value, o.prevented, o.place, o.price, o.stop, int(o.fired),
                 o.list.number if o.list else 0)
                for o in sorted(self.orders, key=lambda o: o.number)
            ),
        )  # fmt: skip

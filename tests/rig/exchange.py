"""The exchange and its twin side by side: the same commands through both, compared event by event."""

import hashlib
import random

import numpy as np
from reference.kernels.exchange import BOOK, LIST, TRIGGER, Command, RefExchange, Rules

from bot4.kernels.exchange.audit import AUDIT_NAMES, audit
from bot4.kernels.exchange.state import (
    AT_BOOK,
    AT_TRIGGER,
    COMMAND,
    FEE_IN_TOKEN,
    MAX_INSTRUMENTS,
    ROW_BITS,
    MarketRules,
    exchange_memory,
    set_account,
    set_token,
)
from bot4.kernels.exchange.step import exchange_step
from bot4.kernels.exchange.tree import key_of, root_of, tree_after
from bot4.model import enums as e

# Two spot pairs of which one pays with what the other trades, and a contract; two to three digits of prices.
MARKETS = (
    MarketRules(1, 0, 70_000, 700, 200, 60),
    MarketRules(2, 1, 1_100, 130, 5_000, 90),
    MarketRules(2, 0, 30_000, 900, 90_000, 50, 120),
)
MIDDLES = (100, 4_093, 40_000)  # one at the edge of two nodes
FEES = ((213, 457), (-57, 1_003), (0, 0), (99_000, 100_000), (100, 100))
GROUPS = (0, 0, 7, 7, 0)
N_ASSETS = 3
TOKEN, DISCOUNT_PPM, TOKEN_PRICES = 1, 250_000, {0: 99_999_989}
PAYS_TOKEN = (0, 3)
LIQUIDITY, ORDER_ID = 9, 13  # fields of the event


class Pair:
    """Exchange and twin with the same past."""

    def __init__(self, max_orders: int = 256, markets=MARKETS, fees=FEES, groups=GROUPS, token=True):
        self.memory = exchange_memory(list(markets), len(fees), N_ASSETS, max_orders)
        for account, (maker, taker) in enumerate(fees):
            set_account(self.memory, account, maker, taker, groups[account], token and account in PAYS_TOKEN)
        rules = [Rules(*one) for one in markets]
        self.twin = RefExchange(rules, len(fees), N_ASSETS, max_orders, fees, groups)
        if token:
            set_token(self.memory, TOKEN, DISCOUNT_PPM, TOKEN_PRICES)
            self.twin.pays_token = {account for account in PAYS_TOKEN if account < len(fees)}
            self.twin.token, self.twin.discount_ppm, self.twin.token_prices = TOKEN, DISCOUNT_PPM, TOKEN_PRICES
        self.record = np.zeros(1, COMMAND)
        self.ids = {0: 0}  # the twin's number to the id
        self.now = 1_000
        self.counts = {}
        self.n_events = self.most_events = self.in_token = 0
        self.hash = hashlib.sha256()

    def do(self, action, **fields):
        """One command; returns what both said of it."""
        command = Command(**{"t": self.now, "action": action} | fields)
        c = command
        self.record[0] = (
            c.t, c.account, c.instrument, c.action, c.type, c.tif, c.side, c.flags, c.stp, c.list_kind, c.leg,
            self.ids.get(c.order, c.order << ROW_BITS), c.client, c.list_client, c.price, c.stop, c.qty, c.display,
            c.trail, c.expire, c.amount, (0, 0, 0),
        )  # fmt: skip
        n = exchange_step(self.memory, self.record[0])
        said = []
        for event in self.memory["events"][:n].tolist():
            number = event[ORDER_ID] >> ROW_BITS
            if event[2] == e.REPORT_ACK:
                self.ids[number] = event[ORDER_ID]
            said.append((*event[:ORDER_ID], number, *event[ORDER_ID + 1 :]))
        expected = self.twin.step(command)
        assert said == expected, f"{command}\n{said}\n{expected}"
        code = audit(self.memory)
        assert not code, f"{AUDIT_NAMES[code]} after {command}"
        self.twin.check()
        self.n_events += n
        self.most_events = max(self.most_events, n)
        for event in said:
            key = event[2], event[12]
            self.counts[key] = self.counts.get(key, 0) + 1
            self.in_token += event[LIQUIDITY] & FEE_IN_TOKEN != 0
        self.hash.update(repr(said).encode())
        return said

    def place(self, **fields):
        """A new order, a limit order good till canceled if nothing else is said."""
        return self.do(e.ACTION_PLACE, **{"type": e.TYPE_LIMIT, "tif": e.TIF_GTC} | fields)

    def fund(self, account, *amounts):
        """Money for every asset."""
        for asset, amount in enumerate(amounts):
            self.do(e.ACTION_DEPOSIT, account=account, instrument=asset, amount=amount)

    def queues(self, tree, *fields):
        """Orders of one of the trees of each market, as they come."""
        found = []
        for instrument, market in enumerate(self.memory["markets"][: len(self.twin.rules)]):
            level, rows = market["best"][tree], []
            while level >= 0:
                place = self.memory["levels"][level]
                row = place["head"]
                while row >= 0:
                    order = self.memory["orders"][row]
                    rows.append((int(order["order_id"]) >> ROW_BITS, *(int(order[name]) for name in fields)))
                    row = order["next"]
                key = key_of(market, tree, place["price_ticks"])
                level = tree_after(self.memory, root_of(instrument, tree), market["digits"], key)
            found.append(tuple(rows))
        return found

    def state(self) -> tuple:
        """State of the exchange in the twin's words."""
        m, n, accounts = self.memory, len(self.twin.rules), self.twin.n_accounts
        book = ("price_ticks", "leaves_lots", "slice_lots")
        trigger = ("stop_ticks", "leaves_lots", "extreme_ticks")
        seats = [m["seats"][a * MAX_INSTRUMENTS + i] for a in range(accounts) for i in range(n)]
        orders = []
        for seat in seats:
            row = seat["head"]
            while row >= 0:
                o = m["orders"][row]
                fields = ("qty_lots", "cum_lots", "cum_value_e8", "prevented_lots", "place", "price_ticks",
                          "stop_ticks", "fired")  # fmt: skip
                number = int(o["order_id"]) >> ROW_BITS
                of_list = int(m["lists"][o["list"]]["list_id"]) if o["list"] >= 0 else 0
                orders.append((number, *(int(o[name]) for name in fields), of_list))
                row = o["seat_next"]
        sides = [side for pair in zip(self.queues(0, *book), self.queues(1, *book), strict=True) for side in pair]
        waits = [one for pair in zip(self.queues(2, *trigger), self.queues(3, *trigger), strict=True) for one in pair]
        return (
            tuple(pair for row in m["balances"][:accounts, :N_ASSETS].tolist() for pair in row),
            tuple(m["fees"][:N_ASSETS].tolist()), tuple(m["supply"][:N_ASSETS].tolist()),
            tuple(m["markets"]["last_ticks"][:n].tolist()),
            tuple((int(s["lots"]), int(s["cost_tl"]), int(s["realised_tl"])) for s in seats),
            tuple(sides), tuple(waits), tuple(sorted(orders)),
        )  # fmt: skip

    def check_state(self) -> bytes:
        """Both hold the same; returns the hash of it."""
        mine, its = self.state(), self.twin.state()
        for one, other in zip(mine, its, strict=True):
            assert one == other
        return hashlib.sha256(repr(mine).encode()).digest()


assert (BOOK, TRIGGER, LIST) == (AT_BOOK, AT_TRIGGER, 3)


class RandomScript:
    """Seeded commands that meet every rule: few prices, few lots, little money, many lists and triggers."""

    def __init__(self, pair: Pair, seed: int, most_open: int = 70):
        self.pair = pair
        self.random = random.Random(seed)
        self.middles = list(MIDDLES)
        self.most_open = most_open
        for account in range(len(FEES)):
            pair.fund(account, 9 * 10**8, 4 * 10**8, 2 * 10**7)

    def step(self):
        """One command, or the legs of a list."""
        r = self.random
        pair = self.pair
        pair.now += r.randrange(3)
        dice = r.random()
        crowd = len(pair.twin.orders) / self.most_open
        if dice < 0.30 * crowd:
            self.cancel()
        elif dice < 0.30 * crowd + 0.10:
            self.amend()
        elif dice < 0.30 * crowd + 0.17:
            self.place_list()
        elif dice < 0.30 * crowd + 0.19:
            self.money()
        elif dice < 0.30 * crowd + 0.20:
            pair.do(r.choice((e.ACTION_EXPIRE, e.ACTION_EXPIRE, 0, 9)))
        elif dice < 0.30 * crowd + 0.22:
            i = r.randrange(-1, 4)
            price = self.middles[i % 3] + r.choice((-3, -1, 0, 0, 1, 3, -(10**6), 10**9))
            pair.do(e.ACTION_TRADE, instrument=i, price=price)
        else:
            pair.do(e.ACTION_PLACE, **self.order(r.randrange(5), r.randrange(3)))

    def order(self, account, i):
        """Fields of an order, most of them sensible."""
        r = self.random
        if r.random() < 0.02:
            self.middles[i] = max(60, min(self.middles[i] + r.choice((-3, -1, 1, 3)), MARKETS[i].max_price_ticks - 60))
        middle, side = self.middles[i], r.choice((1, -1))
        order_type = r.choices((1, 2, 3, 4, 5, 6), (2, 12, 2, 2, 2, 2))[0]
        tif = r.choices((1, 2, 3, 4), (8, 2, 2, 2))[0]
        fields = {
            "account": account, "instrument": i, "side": side, "type": order_type, "tif": tif,
            "qty": r.choice((1, 2, 3, 5, 8, 13, 30)), "stp": r.choices((0, 1, 2, 3, 4), (5, 1, 1, 1, 2))[0],
            "client": r.choice((0, 0, r.randrange(1, 40), r.randrange(1 << 60))),
        }  # fmt: skip
        if order_type in (2, 4, 6):
            fields["price"] = middle - side * r.choice((-2, -1, 0, 0, 1, 1, 2, 3, 5))
        if order_type > 2:
            if r.random() < 0.35:
                fields["trail"] = r.choice((1, 50, 120, 300, 9_999))
            if "trail" not in fields or r.random() < 0.5:
                away = side if order_type in (3, 4) else -side
                fields["stop"] = middle + away * r.choice((-1, 1, 1, 2, 2, 3, 5))
        if tif == e.TIF_GTD:
            fields["expire"] = self.pair.now + r.randrange(400)
        if order_type != 2 and tif in (3, 4) and r.random() < 0.8:
            fields |= {"tif": 1, "expire": 0}
        if order_type == 2 and r.random() < 0.15:
            fields["flags"] = e.ORDER_POST_ONLY
        if i == 2 and r.random() < 0.3:
            fields["flags"] = fields.get("flags", 0) | e.ORDER_REDUCE_ONLY
        if order_type == 2 and tif in (1, 4) and r.random() < 0.25:
            fields["display"] = r.randrange(1, fields["qty"] + 1)
        if order_type == 1 and r.random() < 0.4:
            fields |= {"qty": 0, "amount": r.randrange(1, 10**7), "stp": r.randrange(4)}
        if r.random() < 0.03:  # anything
            name = r.choice(("account", "instrument", "side", "type", "tif", "stp", "flags", "price", "stop", "qty",
                             "display", "trail", "expire", "amount"))  # fmt: skip
            fields[name] = r.choice((-1, 0, 1, 2, 5, 7, 100, 2**31 - 1 if name[0] in "pqde" else 9))
            if name in ("type", "tif", "stp", "flags"):
                fields[name] = abs(fields[name])
        return fields

    def target(self):
        """An order to change: mostly one that is open, of whoever asks."""
        r = self.random
        orders = self.pair.twin.orders
        if not orders or r.random() < 0.05:
            return {"account": r.randrange(5), "order": r.choice((0, r.randrange(1, 10**6))), "client": r.randrange(9)}
        o = r.choice(orders)
        account = o.c.account if r.random() < 0.97 else r.randrange(5)
        if o.c.client and r.random() < 0.5:
            return {"account": account, "client": o.c.client}
        return {"account": account, "order": o.number}

    def cancel(self):
        """One, or all."""
        r = self.random
        if r.random() < 0.02:
            self.pair.do(e.ACTION_CANCEL_ALL, account=r.randrange(-1, 6), instrument=r.randrange(-2, 4))
        else:
            self.pair.do(e.ACTION_CANCEL, **self.target())

    def amend(self):
        """Quantity, price, trigger."""
        r = self.random
        target = self.target()
        o = self.pair.twin.find(Command(**target))
        if o:
            if r.random() < 0.6:
                target["qty"] = max(0, o.qty + r.choice((-3, -2, -1, 0, 1, 2, 7)))
            if r.random() < 0.4 and (o.price or r.random() < 0.1):
                target["price"] = max(0, o.price + r.choice((-3, -1, 0, 1, 3)))
            if r.random() < 0.4 and (o.place == TRIGGER or r.random() < 0.1):
                target["stop"] = max(0, o.stop + r.choice((-3, -1, 0, 1, 3)))
        self.pair.do(e.ACTION_AMEND, **target)

    def place_list(self):
        """An OCO pair, a working order with one that waits, or with a pair that waits; sometimes none of these."""
        r = self.random
        kind, account, i = r.choice((1, 1, 2, 3, 3)), r.randrange(5), r.randrange(3)
        legs = [self.order(account, i) for _ in range(3 if kind == 3 else 2)]
        if kind != 2:
            one, two = legs[-2:]
            side, middle = one["side"], self.middles[i]
            far = r.choice((1, 2, 3))
            one |= {"type": 2, "price": middle - side * far, "tif": 1, "expire": 0, "amount": 0, "stop": 0, "trail": 0}
            one["qty"] = one["qty"] or 4
            two |= {"side": side, "qty": one["qty"], "amount": 0, "display": 0, "type": r.choice((3, 4, 5, 6))}
            two |= {"price": 0, "stop": 0, "trail": 0, "flags": two.get("flags", 0) & 1, "tif": 1, "expire": 0}
            away = side if two["type"] in (3, 4) else -side
            two["stop"] = middle + away * r.choice((1, 2, 3))
            if two["type"] in (4, 6):
                two["price"] = two["stop"] + side * r.choice((-1, 0, 1, 2))
            if r.random() < 0.2:
                two["trail"] = r.choice((1, 100))
            if r.random() < 0.5:
                legs[-2:] = two, one
        if kind != 1:
            legs[0] |= {"amount": 0, "qty": legs[0]["qty"] or 3}
            if r.random() < 0.6:
                legs[0] |= {"type": 2, "stop": 0, "trail": 0, "price": self.middles[i], "tif": 1, "expire": 0}
                legs[0]["display"] = 0
        for leg in legs:
            leg["instrument"], leg["account"] = i, account
        if r.random() < 0.04:
            legs[r.randrange(len(legs))] |= r.choice(({"side": -1}, {"qty": 9}, {"amount": 5}, {"account": 1}))
        order = list(enumerate(legs))
        if r.random() < 0.03:
            order[r.randrange(len(order))] = (r.randrange(4), legs[0])
        client = r.randrange(1 << 40)
        for leg, fields in order:
            if r.random() < 0.003:
                self.pair.do(e.ACTION_EXPIRE)
            shared = {"list_kind": kind, "leg": leg, "list_client": client}
            self.pair.do(e.ACTION_LEG, **(fields | shared))

    def money(self):
        """In and out."""
        r = self.random
        if r.random() < 0.3:
            rate = r.choice((0, 1, -1, 10_000, -75_003, 10**8, 10**8 + 1))
            price = r.choice((0, 1, 40_000, 40_007, 90_000, 90_001))
            self.pair.do(e.ACTION_FUNDING, instrument=r.choice((-1, 0, 2, 2, 2, 2, 3)), price=price, amount=rate)
            return
        amount = r.choice((0, 10**6, 3 * 10**7, -(10**6), -(10**8), 2**60, -(2**60)))
        self.pair.do(e.ACTION_DEPOSIT, account=r.randrange(-1, 6), instrument=r.randrange(-1, 4), amount=amount)

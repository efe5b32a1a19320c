"""How much a client may ask: weight of requests by address, orders by account, and bans of those who go on.

The venue counts by fixed intervals (its documents say so): an interval begins with the wall clock's minute, second or
day, and the count with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bot4.adapters.exchange.refusal import Refused

_LETTERS = {"SECOND": ("S", 1), "MINUTE": ("M", 60), "HOUR": ("H", 3_600), "DAY": ("D", 86_400)}
FIRST_BAN_S = 120
LONGEST_BAN_S = 3 * 86_400
FILLED_TAKER, FILLED_MAKER = 1, 5  # orders that a first fill takes off the count
BAN_AFTER = 20  # answers 429 within one interval before the address is shut out


@dataclass(slots=True)
class Rule:
    """At most `limit` within each `number` of `interval`."""

    kind: str
    interval: str
    number: int
    limit: int

    @property
    def seconds(self) -> int:
        """The length of the interval."""
        return _LETTERS[self.interval][1] * self.number

    @property
    def suffix(self) -> str:
        """As headers name the interval: 1M, 10S, 1D."""
        return f"{self.number}{_LETTERS[self.interval][0]}"

    def info(self) -> dict:
        """The rule in `exchangeInfo`."""
        return {
            "rateLimitType": self.kind,
            "interval": self.interval,
            "intervalNum": self.number,
            "limit": self.limit,
        }


class Count:
    """The count of one rule in the interval that runs."""

    __slots__ = ("_interval", "_length", "rule", "used")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._length = rule.seconds
        self._interval = -1
        self.used = 0

    def take(self, now_s: float, amount: int) -> bool:
        """Count `amount`; False if that is more than the rule allows."""
        interval = int(now_s) // self._length
        if interval != self._interval:
            self._interval = interval
            self.used = 0
        self.used += amount
        return self.used <= self.rule.limit

    def left_s(self, now_s: float) -> int:
        """Whole seconds until the next interval, at least one."""
        return self._length - int(now_s) % self._length or 1

    def state(self, now_s: float) -> dict:
        """The rule and how much of it is used."""
        self.take(now_s, 0)
        return self.rule.info() | {"count": self.used}


@dataclass(slots=True)
class Limits:
    """The rules of a venue; the numbers are the venue's own unless a scenario says otherwise."""

    request_weight_1m: int = 6_000
    orders_10s: int = 100
    orders_1d: int = 200_000
    raw_requests_5m: int = 61_000

    def weight(self) -> Rule:
        """By address."""
        return Rule("REQUEST_WEIGHT", "MINUTE", 1, self.request_weight_1m)

    def raw(self) -> Rule:
        """By address, whatever a request weighs."""
        return Rule("RAW_REQUESTS", "MINUTE", 5, self.raw_requests_5m)

    def orders(self) -> list[Rule]:
        """By account."""
        return [Rule("ORDERS", "SECOND", 10, self.orders_10s), Rule("ORDERS", "DAY", 1, self.orders_1d)]

    def info(self) -> list[dict]:
        """All of them in `exchangeInfo`."""
        return [rule.info() for rule in (self.weight(), *self.orders(), self.raw())]


class AddressLimit:
    """What one address has used, and whether it is shut out."""

    def __init__(self, limits: Limits) -> None:
        self.weight = Count(limits.weight())
        self._raw = Count(limits.raw())
        self._refused = 0
        self._refused_until_s = 0.0
        self._banned_until_s = 0.0
        self._ban_s = FIRST_BAN_S

    def check_ban(self, now_s: float) -> None:
        """418 while the address is shut out."""
        if now_s < self._banned_until_s:
            raise Refused(
                -1003,
                f"Way too much request weight used; IP banned until {int(self._banned_until_s * 1_000)}. Please use "
                "WebSocket Streams for live updates to avoid bans.",
                418,
                int(self._banned_until_s - now_s) + 1,
            )

    def take(self, now_s: float, weight: int) -> None:
        """Count a request; 429 beyond a rule, 418 for those who do not stop then."""
        self.check_ban(now_s)
        weight_fits = self.weight.take(now_s, weight)
        if weight_fits and self._raw.take(now_s, 1):
            return
        over = self._raw if weight_fits else self.weight
        wait_s = over.left_s(now_s)
        if now_s >= self._refused_until_s:
            self._refused = 0
            self._refused_until_s = now_s + wait_s
        self._refused += 1
        if self._refused > BAN_AFTER:
            self._banned_until_s = now_s + self._ban_s
            self._ban_s = min(2 * self._ban_s, LONGEST_BAN_S)
            self.check_ban(now_s)
        raise Refused(
            -1003,
            f"Too much request weight used; current limit is {over.rule.limit} request weight per {over.rule.number} "
            f"{over.rule.interval}. Please use WebSocket Streams for live updates to avoid polling the API.",
            429,
            wait_s,
        )


class OrderLimit:
    """How many orders one account has sent and not seen filled; an order that is refused has not been sent.

    An order's first fill takes it off the count of every interval that runs, and four more if it had waited in the book
    (the venue's "unfilled order count"). Canceled and expired ones stay in it.
    """

    def __init__(self, limits: Limits) -> None:
        self.counts = [Count(rule) for rule in limits.orders()]

    def take(self, now_s: float, orders: int = 1) -> None:
        """Count orders; -1015 beyond a rule, and then none of them counts."""
        for count in self.counts:
            if not count.take(now_s, 0) or count.used + orders > count.rule.limit:
                rule = count.rule
                raise Refused(
                    -1015,
                    f"Too many new orders; current limit is {rule.limit} orders per {rule.number} {rule.interval}.",
                    429,
                    count.left_s(now_s),
                )
        for count in self.counts:
            count.used += orders

    def give_back(self, now_s: float, orders: int) -> None:
        """So many do not count after all; there is no credit below none."""
        for count in self.counts:
            count.take(now_s, 0)
            count.used = max(0, count.used - orders)

    @contextmanager
    def of(self, now_s: float, orders: int = 1) -> Iterator[None]:
        """Orders that are placed within count, unless they are refused there."""
        self.take(now_s, orders)
        try:
            yield
        except Refused:
            self.give_back(now_s, orders)
            raise

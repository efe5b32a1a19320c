"""What an account pays for trading: its rates by the turnover of the last 30 days, and the token it may pay in."""

from collections import deque
from typing import NamedTuple

COUNTED_IN = "USDT"  # turnover is counted, and the token has a price, in this asset alone
WINDOW_HOURS = 30 * 24
_HOUR_MS = 3_600_000


class Tier(NamedTuple):
    """Fees in parts per million from a turnover of 30 days on, in 1e-8; a negative fee is a rebate."""

    from_e8: int
    maker_ppm: int
    taker_ppm: int


class FeeToken(NamedTuple):
    """An asset that fees may be paid in: what one is worth, in 1e-8, and how much less is paid."""

    asset: str
    price_e8: int
    discount_ppm: int


class Turnover:
    """What an account has traded in the last 30 days, by hours of the venue's clock; the one that runs counts too."""

    def __init__(self) -> None:
        self._hours: deque[list[int]] = deque()  # hour, turnover of it
        self.total_e8 = 0

    def add(self, now_ms: int, value_e8: int) -> None:
        """A fill; what is told of an hour before the last one counts in that."""
        hour = now_ms // _HOUR_MS
        if not self._hours or self._hours[-1][0] < hour:
            self._hours.append([hour, 0])
        self._hours[-1][1] += value_e8
        self.total_e8 += value_e8

    def forget(self, now_ms: int) -> None:
        """What is older than 30 days counts no more."""
        first = now_ms // _HOUR_MS - WINDOW_HOURS
        while self._hours and self._hours[0][0] <= first:
            self.total_e8 -= self._hours.popleft()[1]


class Rates:
    """What an account pays now."""

    def __init__(self, tiers: tuple[Tier, ...], pays_token: bool = False) -> None:
        """`tiers` rise by turnover, the first from 0 on."""
        assert tiers[0].from_e8 == 0, "everybody is on a tier"
        self._tiers = tiers
        self.pays_token = pays_token
        self.tier = tiers[0]
        self.turnover = Turnover()

    def grade(self, now_ms: int) -> bool:
        """Look which tier the account is on by now; True if it is another one than before."""
        if len(self._tiers) == 1:
            return False
        self.turnover.forget(now_ms)
        found = [tier for tier in self._tiers if tier.from_e8 <= self.turnover.total_e8][-1]
        changed = found is not self.tier
        self.tier = found
        return changed

"""What Bybit keeps of an account beside orders and balances: leverage, margin, the ends of positions, and its wallet.

Margin is that of a one-way cross account: USDT alone counts, with what open positions have won and lost at the mark
price, which is the last one traded. A position, or what it would be once the orders of one side are filled, whichever
is larger, needs its value at the mark price divided by the leverage. What an order would lose at once, bought above the
mark price or sold below it, has to be there beside that. Who closes is not asked for margin.

To keep a position takes maintenance margin, by the tiers of the risk limit: each share of the value at its tier's rate.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bot4.adapters.exchange.bybit.order import BybitOrder
from bot4.adapters.exchange.bybit.symbol import LEVERAGE_SCALE, decimals_of, price_text, qty_text
from bot4.adapters.exchange.bybit.text import average, plain, scaled
from bot4.adapters.exchange.core import DEPTH_BOUND, Position
from bot4.adapters.exchange.number import E8, mul_e8
from bot4.adapters.exchange.order import Order
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue

SETTLE = "USDT"
_DEFAULT_LEVERAGE = 10 * LEVERAGE_SCALE
TIER_E8 = 2_000_000 * E8  # value of a position in each tier but the last
MAINTENANCE_PPM = (5_000, 10_000, 15_000, 20_000, 25_000)  # of the part of a value that lies in the tier
_PPM = 1_000_000
_FUNDINGS = 1_000  # settlements that can still be asked for


def maintenance_of(value_e8: int) -> int:
    """Maintenance margin of a position worth so much, rounded up."""
    needed = sum(
        max(0, min(value_e8, (tier + 1) * TIER_E8 if tier + 1 < len(MAINTENANCE_PPM) else value_e8) - tier * TIER_E8)
        * ppm
        for tier, ppm in enumerate(MAINTENANCE_PPM)
    )
    return -(-needed // _PPM)


def tier_of(value_e8: int) -> int:
    """Number of the highest tier that a value reaches into."""
    return min(max(value_e8 - 1, 0) // TIER_E8, len(MAINTENANCE_PPM) - 1)


def rates_ppm(account: Account) -> tuple[int, int]:
    """What makers and takers of an account pay, in parts per million."""
    return account.rates.tier.maker_ppm, account.rates.tier.taker_ppm


@dataclass(slots=True)
class Ends:
    """Take-profit and stop-loss of a whole position, and the orders that stand for them."""

    take_profit_e8: int = 0
    stop_loss_e8: int = 0
    take_profit: BybitOrder | None = None
    stop_loss: BybitOrder | None = None


@dataclass(slots=True)
class AccountState:
    """One account; symbols by their index."""

    leverage: dict[int, int] = field(default_factory=dict)  # in hundredths
    ends: dict[int, Ends] = field(default_factory=dict)
    fees_e8: dict[int, int] = field(default_factory=dict)  # of contracts, all fills
    realised_e8: dict[int, int] = field(default_factory=dict)  # less fees, when the position was flat last
    created_ms: dict[int, int] = field(default_factory=dict)
    fundings: deque[tuple[int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=_FUNDINGS))  # by time
    windows_s: dict[str, int] = field(default_factory=dict)  # disconnection protection by product


@dataclass(frozen=True, slots=True)
class Margin:
    """What an account's contracts need, and what they are worth, in 1e-8 of USDT."""

    position_e8: int = 0
    order_e8: int = 0
    loss_e8: int = 0  # what open orders would lose at once
    maintenance_e8: int = 0
    profit_e8: int = 0


class States:
    """All accounts."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._states = [AccountState() for _ in venue.accounts]
        self._contracts = [symbol for symbol in venue.by_index if symbol.is_linear]
        self._coins = {symbol.base: symbol for symbol in venue.by_index if not symbol.is_linear}

    def __getitem__(self, account: int) -> AccountState:
        return self._states[account]

    def leverage(self, account: Account, symbol: Symbol) -> int:
        """In hundredths."""
        return self._states[account.index].leverage.get(symbol.index, _DEFAULT_LEVERAGE)

    def mark_e8(self, symbol: Symbol) -> int:
        """The price positions are valued at."""
        return self._venue.tapes[symbol.index].last_e8

    def position(self, account: Account, symbol: Symbol) -> Position:
        """What the account holds of a contract."""
        return self._venue.core.position(account.index, symbol)

    # --- margin ---

    def _value_e8(self, symbol: Symbol, lots: int) -> int:
        return self.mark_e8(symbol) // symbol.tick_e8 * lots * symbol.value_e8

    def _orders(self, account: Account, symbol: Symbol) -> tuple[int, int, int]:
        """Lots that open orders may buy and sell, and what they would lose at once; what waits for a trigger is as if
        it had gone off."""
        buys = sells = loss_e8 = 0
        for order in account.open.values():
            if order.symbol is symbol and not order.reduce_only:
                lots = order.left_lots
                loss_e8 += self.loss_e8(order, order.price_e8 or order.stop_e8, lots)
                if order.is_buy:
                    buys += lots
                else:
                    sells += lots
        return buys, sells, loss_e8

    def _needed_e8(self, account: Account, symbol: Symbol, lots: int) -> int:
        return -(-self._value_e8(symbol, lots) * LEVERAGE_SCALE // self.leverage(account, symbol))

    def margin(self, account: Account) -> Margin:
        """Of all contracts."""
        position_e8 = order_e8 = loss_e8 = maintenance_e8 = profit_e8 = 0
        for symbol in self._contracts:
            held = self.position(account, symbol)
            buys, sells, lost_e8 = self._orders(account, symbol)
            loss_e8 += lost_e8
            worst = _worst(held.lots, buys, sells)
            if not worst:
                continue
            needed_e8 = self._needed_e8(account, symbol, abs(held.lots))
            position_e8 += needed_e8
            order_e8 += self._needed_e8(account, symbol, worst) - needed_e8
            maintenance_e8 += maintenance_of(self._value_e8(symbol, abs(held.lots)))
            profit_e8 += self.profit_e8(account, symbol)
        return Margin(position_e8, order_e8, loss_e8, maintenance_e8, profit_e8)

    def profit_e8(self, account: Account, symbol: Symbol) -> int:
        """What a position has won at the mark price, lost: below zero."""
        held = self.position(account, symbol)
        return self._value_e8(symbol, held.lots) - held.cost_e8

    def available_e8(self, account: Account) -> int:
        """USDT that new orders may need."""
        margin = self.margin(account)
        free_e8, _ = self._venue.balance(account, SETTLE)
        return free_e8 + margin.profit_e8 - margin.position_e8 - margin.order_e8 - margin.loss_e8

    def loss_e8(self, order: Order, price_e8: int, lots: int, stop_e8: int = 0) -> int:
        """What so many lots of an order would lose at once at a price; 0 for a price that is no worse than the mark, or
        than the trigger that it waits for (`stop_e8`: a new one)."""
        waits = order.stop_e8 and order.working_ms < 0
        base_e8 = (stop_e8 or order.stop_e8) if waits else self.mark_e8(order.symbol)
        gap_ticks = (price_e8 - base_e8) // order.symbol.tick_e8
        return max(0, gap_ticks if order.is_buy else -gap_ticks) * lots * order.symbol.value_e8

    def walk_loss_e8(self, account: Account, order: Order) -> int:
        """What a market order would lose at once, through the book as it is shown."""
        symbol = order.symbol
        left = order.left_lots
        if order.stp_mode == "EXPIRE_MAKER":  # the account's own orders are in the way and are no counterpart
            left += sum(own.left_lots for own in account.open.values() if own.symbol is symbol)
        loss_e8 = 0
        for price_e8, qty_e8 in self._venue.core.depth(symbol, not order.is_buy, DEPTH_BOUND):
            part = min(left, qty_e8 // symbol.lot_e8)
            loss_e8 += self.loss_e8(order, price_e8, part)
            left -= part
            if not left:
                break
        return loss_e8

    def affords(self, account: Account, order: Order, more_lots: int, loss_e8: int, value_e8: int) -> bool:
        """Whether there is margin for so many lots of an order more, which lose so much at once, its taker's fee
        included; `value_e8` is theirs."""
        symbol = order.symbol
        held = self.position(account, symbol).lots
        buys, sells, _ = self._orders(account, symbol)
        now = _worst(held, buys, sells)
        if order.is_buy:
            buys += more_lots
        else:
            sells += more_lots
        more_e8 = self._needed_e8(account, symbol, _worst(held, buys, sells)) - self._needed_e8(account, symbol, now)
        only_closes = (held + buys if order.is_buy else sells - held) <= 0
        if more_e8 + loss_e8 <= 0 or only_closes:
            return True
        fee_e8 = value_e8 * max(0, rates_ppm(account)[1]) // _PPM
        return more_e8 + loss_e8 + fee_e8 <= self.available_e8(account)

    # --- as it is told ---

    def position_row(self, account: Account, symbol: Symbol) -> dict[str, Any]:
        """As `position/list` answers."""
        held = self.position(account, symbol)
        state = self._states[account.index]
        qty_e8 = abs(held.lots) * symbol.lot_e8
        cost_e8 = abs(held.cost_e8)
        total_e8 = self.realised_e8(account, symbol)
        needed_e8 = self._needed_e8(account, symbol, abs(held.lots))
        value_e8 = self._value_e8(symbol, abs(held.lots))
        tier = tier_of(value_e8)
        ends = state.ends.get(symbol.index, Ends())
        created = str(state.created_ms.get(symbol.index, 0)) if symbol.index in state.created_ms else ""
        return {
            "positionIdx": 0,
            "riskId": tier + 1,
            "riskLimitValue": plain((tier + 1) * TIER_E8),
            "symbol": symbol.name,
            "side": "Buy" if held.lots > 0 else "Sell" if held.lots else "",
            "size": qty_text(symbol, qty_e8),
            "avgPrice": average(cost_e8, qty_e8, max(4, decimals_of(symbol.tick_e8))) or "0",
            "positionValue": plain(cost_e8) if held.lots else "",
            "tradeMode": 0,
            "autoAddMargin": 0,
            "positionStatus": "Normal",
            "leverage": plain(self.leverage(account, symbol) * E8 // LEVERAGE_SCALE),
            "markPrice": price_text(symbol, self.mark_e8(symbol)),
            "positionBalance": plain(needed_e8),
            "positionIM": plain(needed_e8),
            "positionMM": plain(maintenance_of(value_e8)),
            "liqPrice": "",
            "bustPrice": "",
            "tpslMode": "Full",
            "takeProfit": price_text(symbol, ends.take_profit_e8) if ends.take_profit_e8 else "",
            "stopLoss": price_text(symbol, ends.stop_loss_e8) if ends.stop_loss_e8 else "",
            "trailingStop": "0",
            "unrealisedPnl": plain(self._value_e8(symbol, held.lots) - held.cost_e8) if held.lots else "",
            "curRealisedPnl": plain(total_e8 - state.realised_e8.get(symbol.index, 0)),
            "cumRealisedPnl": plain(total_e8),
            "sessionAvgPrice": "",
            "adlRankIndicator": 0,
            "seq": self._venue.update_ids[symbol.index],
            "isReduceOnly": False,
            "mmrSysUpdatedTime": "",
            "leverageSysUpdatedTime": "",
            "createdTime": created,
            "updatedTime": str(account.update_ms) if account.update_ms else "",
        }

    def realised_e8(self, account: Account, symbol: Symbol) -> int:
        """What a contract has made so far, less its fees."""
        fees_e8 = self._states[account.index].fees_e8.get(symbol.index, 0)
        return self.position(account, symbol).realised_e8 - fees_e8

    def _usd_e8(self, coin: str, amount_e8: int) -> int:
        if coin == SETTLE:
            return amount_e8
        symbol = self._coins.get(coin)
        return mul_e8(amount_e8, self.mark_e8(symbol)) if symbol else 0

    def wallet_row(self, account: Account, coins: list[str]) -> dict[str, Any]:
        """As `wallet-balance` and the stream tell of it; with the coins that are asked for and there."""
        margin = self.margin(account)
        rows = []
        total_e8 = 0
        for coin in self._venue.assets:
            free_e8, locked_e8 = self._venue.balance(account, coin)
            wallet_e8 = free_e8 + locked_e8
            total_e8 += self._usd_e8(coin, wallet_e8)
            if (coins and coin not in coins) or (not coins and not wallet_e8):
                continue
            own = margin if coin == SETTLE else Margin()
            realised_e8 = 0
            if coin == SETTLE:
                realised_e8 = sum(self.realised_e8(account, symbol) for symbol in self._contracts)
            rows.append({
                "coin": coin,
                "equity": plain(wallet_e8 + own.profit_e8),
                "usdValue": plain(self._usd_e8(coin, wallet_e8 + own.profit_e8)),
                "walletBalance": plain(wallet_e8),
                "free": "",
                "locked": plain(locked_e8),
                "spotHedgingQty": "0",
                "borrowAmount": "0",
                "availableToBorrow": "",
                "availableToWithdraw": "",
                "accruedInterest": "0",
                "totalOrderIM": plain(own.order_e8),
                "totalPositionIM": plain(own.position_e8),
                "totalPositionMM": plain(own.maintenance_e8),
                "unrealisedPnl": plain(own.profit_e8),
                "cumRealisedPnl": plain(realised_e8),
                "bonus": "0",
                "marginCollateral": coin == SETTLE,
                "collateralSwitch": coin == SETTLE,
            })  # fmt: skip
        equity_e8 = total_e8 + margin.profit_e8
        needed_e8 = margin.position_e8 + margin.order_e8
        return {
            "accountType": "UNIFIED",
            "accountLTV": "0",
            "accountIMRate": _rate(needed_e8, equity_e8),
            "accountMMRate": _rate(margin.maintenance_e8, equity_e8),
            "totalEquity": plain(equity_e8),
            "totalWalletBalance": plain(total_e8),
            "totalMarginBalance": plain(equity_e8),
            "totalAvailableBalance": plain(self.available_e8(account)),
            "totalPerpUPL": plain(margin.profit_e8),
            "totalInitialMargin": plain(needed_e8),
            "totalMaintenanceMargin": plain(margin.maintenance_e8),
            "coin": rows,
        }


def _worst(held: int, buys: int, sells: int) -> int:
    """The largest position that orders of one side can make."""
    return max(abs(held), held + buys, sells - held)


def _rate(part_e8: int, whole_e8: int) -> str:
    return scaled(part_e8 * E8 // whole_e8, 4) if whole_e8 > 0 else "0"

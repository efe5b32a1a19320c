"""Answers to those who trade: orders, executions, positions, and the account."""

from collections.abc import Callable
from typing import Any

from bot4.adapters.exchange.bybit.ends import Keeper
from bot4.adapters.exchange.bybit.entry import (
    Reader,
    check_ends,
    check_ends_mode,
    check_limit,
    check_price,
    check_qty,
    check_trigger,
    check_value,
    find_symbol,
)
from bot4.adapters.exchange.bybit.field import Fields
from bot4.adapters.exchange.bybit.order import BybitOrder
from bot4.adapters.exchange.bybit.refusal import WOULD_TAKE, bad, no, not_found
from bot4.adapters.exchange.bybit.state import States, rates_ppm
from bot4.adapters.exchange.bybit.symbol import KNOWN, LEVERAGE_SCALE, MAX_LEVERAGE
from bot4.adapters.exchange.bybit.text import order_number, plain
from bot4.adapters.exchange.number import E8, mul_e8
from bot4.adapters.exchange.refusal import Refused
from bot4.adapters.exchange.symbol import Symbol
from bot4.adapters.exchange.venue import Account, Venue
from bot4.model.enums import VENUE_POST_ONLY

PRODUCTS = {"DERIVATIVES": "linear", "SPOT": "spot", "OPTIONS": ""}  # of the disconnection protection
_WINDOW_S = (3, 300)
_BATCH = {"linear": 20, "spot": 10, "inverse": 20, "option": 20}
_FILTERS = ("Order", "StopOrder", "tpslOrder")
_RECENT = 500  # finished orders that `order/realtime` still shows
_DAYS_MS = 7 * 86_400_000


class Desk:
    """What accounts may do."""

    def __init__(self, venue: Venue, states: States, reader: Reader, keeper: Keeper) -> None:
        self._venue = venue
        self._states = states
        self._reader = reader
        self._keeper = keeper

    # --- orders ---

    def create(self, account: Account, fields: Fields) -> dict[str, Any]:
        """A new order. One that only makes and would take is taken first and cancelled then."""
        order = self._reader.read(account, fields)
        try:
            self._venue.place(account, order)
        except Refused as refused:
            if refused.code != WOULD_TAKE:
                raise
            self._venue.turn_away(account, order, VENUE_POST_ONLY)
        return {"orderId": order.text_id, "orderLinkId": order.client_id}

    def _known(self, account: Account, fields: Fields, category: str) -> BybitOrder | None:
        """The order that a request names: by its id before its link."""
        text, link = fields.text("orderId"), fields.link()
        if not text and not link:
            raise bad("orderId or orderLinkId is required")
        number = order_number(text) if text else None
        order = self._venue.orders.get(number or 0) if text else account.by_client.get(link)
        if not isinstance(order, BybitOrder) or order.account != account.index or order.symbol.category != category:
            return None
        return order if not text or order.text_id == text else None

    def _open(self, account: Account, fields: Fields, what: str) -> BybitOrder:
        symbol = find_symbol(self._venue, fields)
        order = self._known(account, fields, symbol.category)
        if order is None or order.symbol is not symbol or (symbol.is_linear and not order.is_open):
            raise not_found(symbol.is_linear, what)
        if not order.is_open:
            raise (
                no(170139, "Order has been filled.")
                if order.status == "FILLED"
                else no(170142, "Order has been canceled.")
            )
        return order

    def amend(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Another quantity, price or trigger for an open order."""
        order = self._open(account, fields, "replace")
        symbol = order.symbol
        qty_e8, price_e8, stop_e8 = (fields.decimal(name) for name in ("qty", "price", "triggerPrice"))
        profit_e8, loss_e8 = fields.decimal("takeProfit"), fields.decimal("stopLoss")
        last_e8 = self._venue.tapes[symbol.index].last_e8
        if qty_e8:
            check_qty(symbol, qty_e8, order.is_market)
            if qty_e8 <= order.executed_e8:
                raise no(110064, "The modified contract quantity cannot be less than or equal to the filled quantity.")
        if price_e8:
            if order.is_market:
                raise bad("a market order has no price")
            check_price(symbol, price_e8)
            if not order.is_waiting:
                check_limit(symbol, order.is_buy, price_e8, last_e8)
        if stop_e8:
            if not order.is_waiting:
                raise bad("triggerPrice of an order that waits for none")
            check_trigger(symbol, order.trigger_direction, stop_e8, last_e8)
        if profit_e8 or loss_e8:
            if not symbol.is_linear or order.reduce_only:
                raise bad("takeProfit and stopLoss cannot be set")
            base_e8 = price_e8 or order.price_e8 or last_e8
            check_ends(symbol, order.is_buy, profit_e8, loss_e8, base_e8)
            check_ends_mode(fields)
        self._check_more(account, order, qty_e8, price_e8, stop_e8)
        if qty_e8 or price_e8 or stop_e8:
            self._venue.amend(account, order, qty_e8, price_e8, stop_e8)
        elif not profit_e8 and not loss_e8:
            raise no(10001, "The order remains unchanged as the parameters entered match the existing ones.")
        order.take_profit_e8, order.stop_loss_e8 = profit_e8 or order.take_profit_e8, loss_e8 or order.stop_loss_e8
        return {"orderId": order.text_id, "orderLinkId": order.client_id}

    def _check_more(self, account: Account, order: BybitOrder, qty_e8: int, price_e8: int, stop_e8: int) -> None:
        """There is money for what an amended order has more than before."""
        symbol, states = order.symbol, self._states
        before_e8 = order.price_e8 or order.stop_e8
        reference_e8 = price_e8 or order.price_e8 or stop_e8 or order.stop_e8
        value_e8 = mul_e8(reference_e8, qty_e8 or order.qty_e8)
        if order.reduce_only:
            return
        check_value(symbol, value_e8)
        more_e8 = (qty_e8 or order.qty_e8) - order.qty_e8
        lots, more_lots = order.left_lots, more_e8 // symbol.lot_e8
        if symbol.is_linear:
            loss_e8 = states.loss_e8(order, reference_e8, lots + more_lots, stop_e8)
            loss_e8 -= states.loss_e8(order, before_e8, lots)
            more_value_e8 = mul_e8(reference_e8, max(0, more_e8))
            if not states.affords(account, order, more_lots, loss_e8, more_value_e8):
                raise no(110007, "ab not enough for new order")
        elif order.is_buy:
            left_e8 = lots * symbol.lot_e8
            locked_e8 = mul_e8(reference_e8, left_e8 + more_e8) - mul_e8(before_e8, left_e8)
            if locked_e8 > max(0, states.available_e8(account)):
                raise no(170131, "Insufficient balance.")

    def cancel(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Cancel an order."""
        order = self._open(account, fields, "cancel")
        self._venue.cancel(account, order)
        return {"orderId": order.text_id, "orderLinkId": order.client_id}

    def cancel_all(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Cancel the open orders of a category: conditional ones too, unless a filter says otherwise."""
        category = fields.choice("category", KNOWN)
        name = fields.text("symbol")
        if name:
            find_symbol(self._venue, fields)
        base, settle = fields.text("baseCoin"), fields.text("settleCoin")
        if category == "linear" and not (name or base or settle):
            raise bad("symbol, baseCoin or settleCoin is required")
        wanted = fields.choice("orderFilter", _FILTERS, "")
        done = []
        for order in self._chosen(account.open.values(), category, name, base, settle, wanted):
            if order.is_open:
                self._venue.cancel(account, order)
                done.append({"orderId": order.text_id, "orderLinkId": order.client_id})
        return {"list": done, "success": "1"}

    def cancel_category(self, account: Account, category: str, cancel_type: str) -> None:
        """Every open order of a category ends, without anybody's asking."""
        for order in self._chosen(account.open.values(), category, "", "", "", ""):
            if order.is_open:
                order.cancel_type = cancel_type
                self._venue.cancel(account, order)

    @staticmethod
    def _chosen(orders: Any, category: str, name: str, base: str, settle: str, wanted: str) -> list[BybitOrder]:
        found = []
        for order in orders:
            symbol: Symbol = order.symbol
            if symbol.category != category or (name and symbol.name != name) or (base and symbol.base != base):
                continue
            if settle and symbol.quote != settle:
                continue
            kind = "Order" if not order.stop_e8 else "tpslOrder" if order.stop_type == "tpslOrder" else "StopOrder"
            if wanted in ("", kind):
                found.append(order)
        return found

    def batch(
        self, account: Account, fields: Fields, action: Callable[[Account, Fields], dict[str, Any]]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Several requests of one category, each by itself; result, and what became of each."""
        category = fields.choice("category", KNOWN)
        rows, outcomes = [], []
        for one in fields.rows("request", _BATCH[category]):
            with_category = one.having("category", category)
            row: dict[str, Any] = {"category": category, "symbol": one.text("symbol")}
            try:
                row |= action(account, with_category)
                outcomes.append({"code": 0, "msg": "OK"})
            except Refused as refused:
                row |= {"orderId": "", "orderLinkId": ""}
                outcomes.append({"code": refused.code, "msg": refused.text})
            rows.append(row | {"createAt": str(self._venue.now_ms())})
        return {"list": rows}, {"list": outcomes}

    # --- what is asked of orders ---

    def realtime(self, account: Account, fields: Fields, since_ms: int) -> dict[str, Any]:
        """Open orders; by id, or with openOnly=1, those that have ended lately too. The latest first."""
        category = fields.choice("category", KNOWN)
        if fields.text("orderId") or fields.text("orderLinkId"):
            order = self._known(account, fields, category)
            rows = [order] if order is not None and order.time_ms <= since_ms else []
            return self._page(rows, category, fields, 50)
        name, base, settle = (fields.text(field) for field in ("symbol", "baseCoin", "settleCoin"))
        if category == "linear" and not (name or base or settle):
            raise bad("symbol, baseCoin or settleCoin is required")
        if name:
            find_symbol(self._venue, fields)
        orders: list[Any] = list(account.open.values())
        if fields.whole("openOnly", 0, 0, 2):
            orders = [*list(account.history)[-_RECENT:], *orders]
        chosen = self._chosen(orders, category, name, base, settle, fields.choice("orderFilter", _FILTERS, ""))
        return self._page([order for order in chosen if order.time_ms <= since_ms], category, fields, 50)

    def history(self, account: Account, fields: Fields, since_ms: int) -> dict[str, Any]:
        """Orders that have ended, the latest first."""
        category = fields.choice("category", KNOWN)
        if fields.text("orderId") or fields.text("orderLinkId"):
            order = self._known(account, fields, category)
            return self._page([order] if order is not None else [], category, fields, 50)
        name, base, settle = (fields.text(field) for field in ("symbol", "baseCoin", "settleCoin"))
        wanted = fields.choice("orderFilter", _FILTERS, "")
        status = fields.text("orderStatus")
        begin, end = self._span(fields)
        rows = [
            order
            for order in self._chosen(account.history, category, name, base, settle, wanted)
            if begin <= order.time_ms <= end and order.time_ms <= since_ms and status in ("", order.status_text())
        ]
        return self._page(rows, category, fields, 50)

    def _span(self, fields: Fields) -> tuple[int, int]:
        begin, end = fields.whole("startTime", 0), fields.whole("endTime", 2**62)
        if begin and end < 2**62 and not 0 <= end - begin <= _DAYS_MS:
            raise bad("endTime must be after startTime, by 7 days at most")
        return begin, end

    @staticmethod
    def _page(rows: list[BybitOrder], category: str, fields: Fields, most: int) -> dict[str, Any]:
        limit = fields.whole("limit", 20, 1, most)
        before = fields.whole("cursor", 2**62)
        chosen = sorted((row for row in rows if row.order_id < before), key=lambda row: -row.order_id)
        page = chosen[:limit]
        cursor = str(page[-1].order_id) if len(chosen) > limit else ""
        return {"category": category, "nextPageCursor": cursor, "list": [order.row() for order in page]}

    def executions(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Fills, the latest first."""
        category = fields.choice("category", KNOWN)
        name, base = fields.text("symbol"), fields.text("baseCoin")
        text, link = fields.text("orderId"), fields.link()
        begin, end = self._span(fields)
        limit = fields.whole("limit", 50, 1, 100)
        cursor = fields.whole("cursor", 0)
        kind = fields.text("execType")
        rows: list[tuple[int, dict[str, Any]]] = []
        for order, fill in reversed(account.trades):
            if not isinstance(order, BybitOrder) or order.symbol.category != category:
                continue
            if (name and order.symbol.name != name) or (base and order.symbol.base != base):
                continue
            if (text and order.text_id != text) or (link and order.client_id != link):
                continue
            if kind not in ("", order.exec_type):
                continue
            if begin <= fill.time_ms <= end:
                ppm = rates_ppm(account)[not fill.maker]
                rows.append((fill.time_ms, order.execution(fill, 0, ppm)))
        if category == "linear" and kind in ("", "Funding") and not text and not link:
            rows.extend(
                (time_ms, row)
                for time_ms, row in reversed(self._states[account.index].fundings)
                if begin <= time_ms <= end
                and name in ("", row["symbol"])
                and (not base or row["symbol"].startswith(base))
            )
            rows.sort(key=lambda row: -row[0])
        page = rows[cursor : cursor + limit]
        following = str(cursor + limit) if len(rows) > cursor + limit else ""
        return {"category": category, "nextPageCursor": following, "list": [row for _, row in page]}

    # --- positions ---

    def positions(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Of one symbol always; of a settle coin, those that there are."""
        category = fields.choice("category", KNOWN)
        if category == "spot":
            raise bad("category only support linear or inverse or option")
        name, settle = fields.text("symbol"), fields.text("settleCoin")
        if name:
            symbols = [find_symbol(self._venue, fields)]
        elif settle or category != "linear":
            symbols = [
                symbol
                for symbol in self._venue.by_index
                if symbol.category == category
                and settle in ("", symbol.quote)
                and self._states.position(account, symbol).lots
            ]
        else:
            raise bad("symbol or settleCoin is required")
        rows = [self._states.position_row(account, symbol) for symbol in symbols]
        return {"category": category, "nextPageCursor": "", "list": rows}

    def set_leverage(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Of one contract, both sides alike."""
        symbol = find_symbol(self._venue, fields)
        buy_e8, sell_e8 = fields.decimal("buyLeverage", None), fields.decimal("sellLeverage", None)
        if not symbol.is_linear or buy_e8 != sell_e8:
            raise bad("buy leverage not equal sell leverage")
        leverage, rest = divmod(buy_e8, E8 // LEVERAGE_SCALE)
        if rest or not LEVERAGE_SCALE <= leverage <= MAX_LEVERAGE * LEVERAGE_SCALE:
            raise no(10001, f"leverage invalid, it must be from 1 to {MAX_LEVERAGE}")
        before = self._states.leverage(account, symbol)
        if leverage == before:
            raise no(110043, "leverage not modified")
        self._states[account.index].leverage[symbol.index] = leverage
        if leverage < before and self._states.available_e8(account) < 0:
            self._states[account.index].leverage[symbol.index] = before
            raise no(110044, "Available margin is insufficient.")
        self._keeper.tell(account, symbol)
        return {}

    def trading_stop(self, account: Account, fields: Fields) -> dict[str, Any]:
        """Take-profit and stop-loss of a whole position; 0 takes one away."""
        symbol = find_symbol(self._venue, fields)
        if not symbol.is_linear:
            raise bad("category only support linear or inverse")
        if fields.decimal("trailingStop"):
            raise bad("trailingStop is not served here")
        check_ends_mode(fields)
        lots = self._states.position(account, symbol).lots
        if not lots:
            raise no(10001, "can not set tp/sl/ts for zero position")
        profit = fields.decimal("takeProfit") if fields.text("takeProfit") else None
        loss = fields.decimal("stopLoss") if fields.text("stopLoss") else None
        if profit is None and loss is None:
            raise bad("takeProfit or stopLoss is required")
        check_ends(symbol, lots > 0, profit or 0, loss or 0, self._venue.tapes[symbol.index].last_e8)
        self._keeper.set(account, symbol, profit, loss)
        return {}

    # --- the account ---

    def wallet(self, account: Account, fields: Fields) -> dict[str, Any]:
        """What there is."""
        if fields.text("accountType", None) != "UNIFIED":
            raise bad("accountType only support UNIFIED")
        coins = [coin for coin in fields.text("coin").split(",") if coin]
        return {"list": [self._states.wallet_row(account, coins)]}

    def account_info(self, account: Account, fields: Fields) -> dict[str, Any]:
        """A unified account in cross margin."""
        windows = self._states[account.index].windows_s
        return {
            "unifiedMarginStatus": 5,
            "marginMode": "REGULAR_MARGIN",
            "dcpStatus": "ON" if windows else "OFF",
            "timeWindow": max(windows.values(), default=10),
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
            "updatedTime": str(account.update_ms),
        }

    def fee_rate(self, account: Account, fields: Fields) -> dict[str, Any]:
        """What trading costs."""
        category = fields.choice("category", KNOWN)
        name = fields.text("symbol")
        if name:
            find_symbol(self._venue, fields)
        maker_ppm, taker_ppm = rates_ppm(account)
        rows = [
            {
                "symbol": symbol.name,
                "baseCoin": "",
                "makerFeeRate": plain(maker_ppm * 100),
                "takerFeeRate": plain(taker_ppm * 100),
            }
            for symbol in self._venue.by_index
            if symbol.category == category and name in ("", symbol.name)
        ]
        return {"category": category, "list": rows}

    def api_key(self, account: Account, api_key: str) -> dict[str, Any]:
        """What the key may do: trade and nothing else, from this machine, unless it is to be a bad one."""
        faults = account.key_faults
        words = {"withdraws": "Withdraw", "transfers": "AccountTransfer"}
        return {
            "id": str(account.index + 1),
            "note": account.name,
            "apiKey": api_key,
            "readOnly": int("reads_only" in faults),
            "secret": "",
            "permissions": {
                "ContractTrade": ["Order", "Position"],
                "Spot": ["SpotTrade"],
                "Wallet": [words[fault] for fault in faults if fault in words],
                "Options": [],
                "Derivatives": ["DerivativesTrade"],
                "CopyTrading": [],
                "BlockTrade": [],
                "Exchange": [],
                "NFT": [],
                "Affiliate": [],
                "Earn": [],
            },
            "ips": ["*"] if "unbound" in faults else ["127.0.0.1"],
            "type": 1,
            "deadlineDay": 90,
            "expiredAt": "2100-01-01T00:00:00Z",
            "createdAt": "2024-01-01T00:00:00Z",
            "unified": 0,
            "uta": 1,
            "userID": account.index + 1,
            "inviterID": 0,
            "vipLevel": "No VIP",
            "mktMakerLevel": "0",
            "affiliateID": 0,
            "rsaPublicKey": "",
            "isMaster": True,
            "parentUid": "0",
            "kycLevel": "LEVEL_DEFAULT",
            "kycRegion": "",
        }

    def set_window(self, account: Account, fields: Fields) -> dict[str, Any]:
        """How long the private connection may be gone before every order of a product is cancelled."""
        product = fields.choice("product", list(PRODUCTS), "OPTIONS")
        window = fields.whole("timeWindow", 0, *_WINDOW_S)
        if not window:
            raise bad("timeWindow is required")
        self._states[account.index].windows_s[product] = window
        return {}

    def windows(self, account: Account, fields: Fields) -> dict[str, Any]:
        """The disconnection protection as it is set."""
        windows = self._states[account.index].windows_s
        rows = [
            {"product": product, "dcpStatus": "ON", "timeWindow": str(window)} for product, window in windows.items()
        ]
        return {"dcpInfos": rows}

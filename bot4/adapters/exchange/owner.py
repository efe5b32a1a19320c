"""Accounts that a venue begins with: their names, money and fees, from a file or by default."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from bot4.adapters.exchange.commission import FeeToken, Tier
from bot4.adapters.exchange.file import read_toml
from bot4.adapters.exchange.number import E8
from bot4.kernels.exchange.state import TOKEN_PRICE_BOUND_E8
from bot4.model.errors import SettingsError, UnitError
from bot4.model.units import PPM, to_e8, to_units

_PPM_OF_BPS = 100
_MAX_FEE_BPS = 1_000
_MAX_BALANCE_E8 = 1_000_000_000 * E8
MAX_ACCOUNTS = 100
MAX_TIERS = 20
DEFAULT_BALANCES = {"USDT": 100_000 * E8, "BTC": 2 * E8, "ETH": 20 * E8}


class _TierTable(msgspec.Struct, forbid_unknown_fields=True):
    turnover: str
    maker_fee_bps: str
    taker_fee_bps: str


class _AccountTable(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]{1,32}$")]
    balances: dict[str, str]
    maker_fee_bps: str = "10"
    taker_fee_bps: str = "10"
    pays_token: bool = False
    key_faults: list[Literal["withdraws", "transfers", "unbound", "reads_only"]] = []
    tier: Annotated[list[_TierTable], msgspec.Meta(max_length=MAX_TIERS)] = []


class _TokenTable(msgspec.Struct, forbid_unknown_fields=True):
    asset: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{1,20}$")] = "BNB"
    price: str = "600"
    discount: str = "0.25"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    account: Annotated[list[_AccountTable], msgspec.Meta(min_length=1, max_length=MAX_ACCOUNTS)]
    fee_token: _TokenTable | None = None


_TABLES: dict[str, type] = {
    "$": _File, "$.account[...]": _AccountTable, "$.account[...].tier[...]": _TierTable, "$.fee_token": _TokenTable,
}  # fmt: skip


@dataclass(slots=True)
class Owner:
    """An account to be: name, money in 1e-8 by asset, its fees by turnover, and whether it pays them in the token."""

    name: str
    balances: dict[str, int]
    tiers: tuple[Tier, ...] = (Tier(0, 1_000, 1_000),)
    pays_token: bool = False
    key_faults: tuple[str, ...] = ()  # what a careful client refuses its key for


class Owners(NamedTuple):
    """All accounts to be, and what fees may be paid in beside the usual."""

    accounts: list[Owner]
    token: FeeToken | None = None


def default_owners(traded: Collection[str], fees_ppm: tuple[int, int]) -> Owners:
    """One funded account, of what is traded, with these fees for making and for taking."""
    balances = {asset: amount for asset, amount in DEFAULT_BALANCES.items() if asset in traded}
    return Owners([Owner("main", balances, (Tier(0, *fees_ppm),))])


def read_owners(path: Path, traded: Collection[str] = tuple(DEFAULT_BALANCES)) -> Owners:
    """The accounts of a TOML file with money of these assets; SettingsError names the field that is wrong.

    [fee_token]                 # none without this table
    asset = "BNB"               # the defaults; nothing else is traded for it, so its price in USDT stays
    price = "600"
    discount = "0.25"
    [[account]]
    name = "main"
    balances = { USDT = "100000", BTC = "2", BNB = "5" }
    maker_fee_bps = "10"        # the default
    pays_token = true           # as long as it has enough
    key_faults = ["unbound"]    # what the venue says of its key: withdraws, transfers, unbound, reads_only
    [[account.tier]]
    turnover = "1000000"        # of the last 30 days in USDT, from which on these are its fees
    maker_fee_bps = "-0.5"
    taker_fee_bps = "7.5"
    """
    file = read_toml("--balances", path, _File, _TABLES)
    token = None if file.fee_token is None else _token(file.fee_token, traded, f"--balances {path}: fee_token")
    assets = {*traded} if token is None else {*traded, token.asset}
    owners: list[Owner] = []
    for account in file.account:
        place = f"--balances {path}: account {account.name}"
        if account.name in [owner.name for owner in owners]:
            raise SettingsError(f"{place}: there are two of that name")
        if account.name.startswith("market-"):
            raise SettingsError(f"{place}: names with market- belong to the market itself")
        amounts = {}
        for asset, text in account.balances.items():
            if asset not in assets:
                raise SettingsError(f"{place}: {asset} is not one of {', '.join(sorted(assets))}")
            amounts[asset] = _amount(text, f"{place}: {asset}")
        if account.pays_token and token is None:
            raise SettingsError(f"{place}: pays_token: there is no fee_token; add a table [fee_token]")
        owners.append(
            Owner(account.name, amounts, _tiers(account, place), account.pays_token, tuple(account.key_faults))
        )
    _check_rebates(owners, f"--balances {path}")
    return Owners(owners, token)


def _check_rebates(owners: list[Owner], place: str) -> None:
    """No trade between any two accounts, whatever their tiers are, earns them together."""
    tiers = [(tier, owner.name) for owner in owners for tier in owner.tiers]
    maker, makes = min((tier.maker_ppm, name) for tier, name in tiers)
    taker, takes = min((tier.taker_ppm, name) for tier, name in tiers)
    if maker + taker < 0:
        raise SettingsError(
            f"{place}: maker_fee_bps of {makes} and taker_fee_bps of {takes} are below zero together: trading with "
            "each other would make money; let no rebate exceed the least fee of the other side"
        )


def _token(table: _TokenTable, traded: Collection[str], place: str) -> FeeToken:
    if table.asset in traded:
        raise SettingsError(f"{place}: asset: {table.asset} is traded; name one that is not, such as BNB")
    price_e8 = _exact(to_e8, table.price, f"{place}: price")
    if not 1 <= price_e8 <= TOKEN_PRICE_BOUND_E8:
        raise SettingsError(f"{place}: price: {table.price} must be above 0 and at most {TOKEN_PRICE_BOUND_E8 // E8}")
    discount_ppm = _exact(to_units, table.discount, Decimal(1) / PPM, f"{place}: discount")
    if not 0 <= discount_ppm <= PPM:
        raise SettingsError(f"{place}: discount: {table.discount} must be from 0 to 1")
    return FeeToken(table.asset, price_e8, discount_ppm)


def _tiers(account: _AccountTable, place: str) -> tuple[Tier, ...]:
    tiers = [Tier(0, *_fees(account, place))]
    for number, table in enumerate(account.tier, start=1):
        where = f"{place}: tier {number}"
        from_e8 = _amount(table.turnover, f"{where}: turnover")
        if from_e8 <= tiers[-1].from_e8:
            raise SettingsError(f"{where}: turnover: {table.turnover} must be more than that of the tier before")
        tiers.append(Tier(from_e8, *_fees(table, where)))
    return tuple(tiers)


def _amount(text: str, field: str) -> int:
    amount_e8 = _exact(to_e8, text, field)
    if not 0 <= amount_e8 <= _MAX_BALANCE_E8:
        raise SettingsError(f"{field}: {text} must be from 0 to {_MAX_BALANCE_E8 // E8}")
    return amount_e8


def _exact(read: Callable[..., int], *arguments: object) -> int:
    try:
        return read(*arguments)
    except UnitError as error:
        raise SettingsError(str(error)) from None


def _fees(table: _AccountTable | _TierTable, place: str) -> tuple[int, int]:
    found = []
    for name, text in (("maker_fee_bps", table.maker_fee_bps), ("taker_fee_bps", table.taker_fee_bps)):
        ppm = _exact(to_units, text, Decimal(1) / _PPM_OF_BPS, f"{place}: {name}")
        if abs(ppm) > _MAX_FEE_BPS * _PPM_OF_BPS:
            raise SettingsError(f"{place}: {name}: {text} must be from -{_MAX_FEE_BPS} to {_MAX_FEE_BPS}")
        found.append(ppm)
    return found[0], found[1]

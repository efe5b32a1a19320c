"""Accounts that a venue begins with: their names, money and fees, from a file or by default."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec

from bot4.adapters.exchange.number import E8
from bot4.adapters.exchange.symbol import default_symbols
from bot4.model.errors import SettingsError, UnitError
from bot4.model.units import to_e8, to_units

_PPM_OF_BPS = 100
_MAX_FEE_BPS = 1_000
_MAX_BALANCE_E8 = 1_000_000_000 * E8
MAX_ACCOUNTS = 100
DEFAULT_BALANCES = {"USDT": 100_000 * E8, "BTC": 2 * E8, "ETH": 20 * E8}


class _AccountTable(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]{1,32}$")]
    balances: dict[str, str]
    maker_fee_bps: str = "10"
    taker_fee_bps: str = "10"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    account: Annotated[list[_AccountTable], msgspec.Meta(min_length=1, max_length=MAX_ACCOUNTS)]


@dataclass(slots=True)
class Owner:
    """An account to be: name, money in 1e-8 by asset, maker and taker fee in parts per million."""

    name: str
    balances: dict[str, int]
    fees_ppm: tuple[int, int] = (1_000, 1_000)


def default_owners() -> list[Owner]:
    """One funded account."""
    return [Owner("main", dict(DEFAULT_BALANCES))]


def read_owners(path: Path) -> list[Owner]:
    """The accounts of a TOML file; SettingsError names the field that is wrong.

    [[account]]
    name = "main"
    maker_fee_bps = "10"        # the default
    balances = { USDT = "100000", BTC = "2" }
    """
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise SettingsError(f"--balances {path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise SettingsError(f"--balances {path}: is nested too deeply") from None
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise SettingsError(f"--balances {path}: {error}") from None
    assets = {asset for symbol in default_symbols() for asset in (symbol.base, symbol.quote)}
    owners: list[Owner] = []
    for account in file.account:
        place = f"--balances {path}: account {account.name}"
        if account.name in [owner.name for owner in owners]:
            raise SettingsError(f"{place}: there are two of that name")
        if account.name.startswith("market-"):
            raise SettingsError(f"{place}: names with market- belong to the generated market")
        amounts = {}
        for asset, text in account.balances.items():
            if asset not in assets:
                raise SettingsError(f"{place}: {asset} is not one of {', '.join(sorted(assets))}")
            amount_e8 = _exact(to_e8, text, f"{place}: {asset}")
            if not 0 <= amount_e8 <= _MAX_BALANCE_E8:
                raise SettingsError(f"{place}: {asset}: {text} must be from 0 to {_MAX_BALANCE_E8 // E8}")
            amounts[asset] = amount_e8
        fees = [_fee(getattr(account, field), f"{place}: {field}") for field in ("maker_fee_bps", "taker_fee_bps")]
        owners.append(Owner(account.name, amounts, (fees[0], fees[1])))
    return owners


def _exact(read: Callable[..., int], *arguments: object) -> int:
    try:
        return read(*arguments)
    except UnitError as error:
        raise SettingsError(str(error)) from None


def _fee(text: str, field: str) -> int:
    ppm = _exact(to_units, text, Decimal(1) / _PPM_OF_BPS, field)
    if abs(ppm) > _MAX_FEE_BPS * _PPM_OF_BPS:
        raise SettingsError(f"{field}: {text} must be from -{_MAX_FEE_BPS} to {_MAX_FEE_BPS}")
    return ppm

"""Before a live session: are tick, lot and currency of each instrument those of the venue, and does it trade?

Asked from the venue's own list of instruments. What differs is refused, since every price would be refused later; a
venue that does not answer is told and no reason not to start: the connections try for longer.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from bot4.adapters.net.dial import Cancel, verified_context
from bot4.adapters.net.pool import SLOTS, parts_of
from bot4.adapters.net.rest import get
from bot4.model.errors import SettingsError
from bot4.ports.feed import Instrument, MessageError
from bot4.settings.schema import SPOT_VENUES, Gateway, Settings
from workers.venues import DECODERS, streams_of, wanted_of

ASK_S = 10.0
TRADING = "trading"
MOST_COINS = 6  # whose orders and trades are compared every five seconds within the gateway's share of the weight


def check_connections(settings: Settings, symbols: Sequence[tuple[str, str]], gateways: Mapping[str, Gateway]) -> None:
    """SettingsError if one feed cannot keep the connections of so many instruments, naming how many it can."""
    streams = streams_of(gateways)

    def count(some: Sequence[tuple[str, str]]) -> int:
        return sum(len(parts_of(one)) for one in wanted_of(streams, some))

    fit = next(number for number in range(len(symbols), -1, -1) if count(symbols[:number]) <= SLOTS)
    if fit < len(symbols):
        raise SettingsError(
            f"{settings.path.with_name('instruments.toml')}: instrument: {len(symbols)} are heard by {count(symbols)} "
            f"connections, and one feed keeps {SLOTS}: the first {fit} fit; leave the others out, or give them an "
            "instance of their own (another state.folder)"
        )


def check_instruments(
    settings: Settings, symbols: Sequence[tuple[str, str]], gateways: Mapping[str, Gateway], traded: str = ""
) -> list[str]:
    """Compare the configured instruments with the venues' own lists; of `traded` nothing may be open or different.

    Returns
    -------
    list of str, what a person should know, a sentence each

    Raises
    ------
    SettingsError : a tick or lot size is not the venue's, naming instrument, field and the venue's value
    """
    told = []
    for venue, streams in streams_of(gateways).items():
        path, query = streams.metadata()
        ca_file = gateways[venue].ca_file
        url = streams.rest_url + path + (f"?{query}" if query else "")
        cancel = Cancel()
        answer = get(url, verified_context(Path(ca_file) if ca_file else None), ASK_S, cancel)
        cancel.close()
        error, found = answer.error, {}
        if not error:
            try:
                found = {one.symbol: one for one in DECODERS[venue]().instruments(path, answer.body)}
            except MessageError as refusal:
                error = str(refusal)
        if error and venue == traded:
            anew = 'was the exchange started again? copy its "ca" and key anew'
            mend = anew if "certificate refused" in error else "mend that"
            raise SettingsError(f"{settings.path}: venue.{venue}: its instruments cannot be had: {error}; {mend}")
        if error:
            told.append(f"{venue}: tick and lot sizes could not be compared with the venue's own: {error}.")
            continue
        for symbol in (symbol for symbol, of in symbols if of == venue):
            if symbol not in found and venue == traded:
                file = settings.path.with_name("instruments.toml")
                raise SettingsError(f"{file}: {symbol}: {venue} does not have it; name one that it has")
            if symbol not in found:
                told.append(f"{symbol}: not in the list of instruments of {venue}; nothing may come for it.")
                continue
            _compare(settings, venue, found[symbol])
            if venue == traded:
                _compare_bounds(settings, venue, found[symbol])
            if found[symbol].status != TRADING:
                told.append(f"{symbol}: {venue} says {found[symbol].status} of it; nothing may come for it.")
        if venue == traded and venue in SPOT_VENUES:
            _check_coins(settings, venue, [found[symbol] for symbol, of in symbols if of == venue])
            told.append(f"{venue}: no dead-man's switch there: what rests outlives a machine that dies.")
    return told


def _check_coins(settings: Settings, venue: str, traded: Sequence[Instrument]) -> None:
    """What is held of a coin has to be one instrument's alone, and nothing but its own trades may move it."""
    file = settings.path.with_name("instruments.toml")
    if len(traded) > MOST_COINS:
        raise SettingsError(
            f"{file}: {len(traded)} instruments of {venue}: the venue's limit of requests is enough to watch over "
            f"{MOST_COINS}; leave the others out"
        )
    for one in traded:
        others = [other.symbol for other in traded if other is not one and one.base in (other.base, other.quote)]
        if others:
            raise SettingsError(
                f"{file}: {one.symbol}: {one.base} is a coin of {others[0]} too, so nobody could say whose position it "
                "is; trade one of them"
            )
        if venue == "binance_spot" and (one.base == "BNB" or one.symbol != one.base + one.quote):
            why = "fees are taken of it" if one.base == "BNB" else f"it is no {one.base}{one.quote}"
            raise SettingsError(f"{file}: {one.symbol}: cannot be traded on {venue}, {why}; name another one")


def _compare_bounds(settings: Settings, venue: str, theirs: Instrument) -> None:
    """What may be ordered by the settings has to be what the venue takes, and own orders may not meet there."""
    file = settings.path.with_name("instruments.toml")
    if not theirs.keeps_apart:
        raise SettingsError(
            f"{file}: {theirs.symbol}: {venue} would let own orders trade with each other: it lists no self-trade "
            "prevention of the kind that ours ask for; leave the instrument out"
        )
    for index, ours in enumerate(settings.instruments):
        if (ours.symbol, ours.venue) != (theirs.symbol, venue):
            continue
        for field, least in (("min_qty", theirs.min_qty), ("min_notional", theirs.min_notional)):
            if least is not None and Decimal(getattr(ours, field)) < least:
                raise SettingsError(
                    f"{file}: instrument[{index}].{field}: {getattr(ours, field)} is less than {venue} takes; write "
                    f'"{least.normalize():f}"'
                )
        if theirs.max_qty is not None and Decimal(ours.max_qty) > theirs.max_qty:
            raise SettingsError(
                f"{file}: instrument[{index}].max_qty: {ours.max_qty} is more than {venue} takes; write "
                f'"{theirs.max_qty.normalize():f}"'
            )


def _compare(settings: Settings, venue: str, theirs: Instrument) -> None:
    file = settings.path.with_name("instruments.toml")
    for index, ours in enumerate(settings.instruments):
        if (ours.symbol, ours.venue) != (theirs.symbol, venue):
            continue
        if theirs.quote != settings.account.quote:
            raise SettingsError(
                f"{file}: instrument[{index}]: {ours.symbol} of {venue} is priced in {theirs.quote}, the account "
                f"counts in {settings.account.quote} (account.quote); give each currency an account of its own"
            )
        if theirs.contract_size != 1:
            raise SettingsError(
                f"{file}: instrument[{index}]: a contract {ours.symbol} of {venue} is {theirs.contract_size} "
                f"{theirs.base}, and quantities here are of the base currency itself; leave the instrument out"
            )
        lot_field = "lot_size" if ours.venue_lot is None else "venue_lot"
        for field, size in (("tick_size", theirs.tick), (lot_field, theirs.lot)):
            if Decimal(getattr(ours, field)) != size:
                beside = field == "lot_size" and Decimal(ours.lot_size) % size == 0
                raise SettingsError(
                    f"{file}: instrument[{index}].{field}: {getattr(ours, field)} is not that of {venue} for "
                    f'{ours.symbol}; write "{size.normalize():f}"'
                    + (f', or add venue_lot = "{size.normalize():f}"' if beside else "")
                )

"""Wires `bot4-kill`: the latch on disk first, then a session of its own with the venue. Nothing compiled, no memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot4.adapters.system.latch import KillLatch
from bot4.adapters.system.process import hide_memory
from bot4.engine.withdraw import Withdrawal, Withdrawn
from bot4.model.errors import Bot4Error, InputError, SettingsError
from bot4.settings.conversion import instrument_sizes, traded_venue
from bot4.settings.loader import INSTRUMENTS_FILE, load_instruments, load_session, load_state_folder
from bot4.settings.schema import SPOT_VENUES, Instrument
from workers.gateway import check_gateway, connect


def withdraw(config: Path, reason: str, flatten: bool, timeout_s: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Trip the latch, then take everything back at the venue; what takes long is told. Reads no limits, no topology.

    Returns
    -------
    {"latch": "tripped" or why it is not, "venue": name, "proven": bool, "cancelled": n, "left": [client id],
    "stops": n, "positions": {symbol: lots; 1e-8 where the settings do not name it}, "trouble": text,
    "seconds": s, "sizes": which instruments lots are told by, "" if those beside the session's file}; null where the
    venue has not said

    Raises
    ------
    InputError, SettingsError : the settings are none, trade nowhere, or the key cannot be used; the latch is tripped
        all the same where its folder is known
    """
    try:
        state = load_state_folder(config)
    except SettingsError as error:
        told = "the kill latch is NOT set; set it with bot4-supervisor kill --state FOLDER, and mend the file"
        raise SettingsError(f"{error}; {told}") from None
    try:
        KillLatch(state).trip(reason)
        latch = "tripped"
    except InputError:
        raise
    except Bot4Error as error:
        latch = str(error)  # a full or broken disk must not keep the orders alive
    try:
        instruments, file, sizes = _instruments(config.with_name(INSTRUMENTS_FILE), state)
        venue, found, symbols = _take_back(config, instruments, file, flatten, timeout_s, tell)
    except InputError as error:
        told = "is set" if latch == "tripped" else f"is NOT set ({latch})"
        raise InputError(f"the kill latch of {state} {told}, and nothing else was done: {error}") from None
    return {"latch": latch, "venue": venue, **_told(found, symbols), "sizes": sizes}


def _instruments(path: Path, state: Path) -> tuple[tuple[Instrument, ...], Path, str]:
    """The instruments, their file, and what a person should know of it: a typo there must keep no order alive.

    Next best are those that the newest session was given; without any the venue's names do, and lots are 1e-8.
    """
    why = ""
    given = state.glob(f"sessions/*/inputs*/{INSTRUMENTS_FILE}")
    for file in (path, *sorted(given, key=lambda one: one.stat().st_mtime_ns, reverse=True)):
        try:
            return load_instruments(file), file, f"{why}; those of {file} are used" if why else ""
        except SettingsError as error:
            why = why or str(error)
    return (), path, f"{why}; no session has kept any either, so lots are told in 1e-8"


def _take_back(
    config: Path,
    instruments: tuple[Instrument, ...],
    file: Path,
    flatten: bool,
    timeout_s: float,
    tell: Callable[[str], None],
) -> tuple[str, Withdrawn, list[str]]:
    session = load_session(config)
    venue = traded_venue(session)
    if not venue:
        raise InputError(f"{config}: trades on paper, so no venue holds an order")
    gateway = getattr(session.venue, venue)
    check_gateway(config, venue, gateway)
    hide_memory()
    listed = [one for one in instruments if one.venue == venue]
    symbols, records = [one.symbol for one in listed], instrument_sizes(listed, str(file))
    private, caller, _ = connect(venue, gateway, symbols, records, session.account.quote, whole=True)
    try:
        ours = len(listed) if venue in SPOT_VENUES else None
        found = Withdrawal(private, caller, flatten, timeout_s, tell, ours).run()
        if not listed and venue in SPOT_VENUES:  # of all the coins there nobody knows which are the bot's
            found.positions, found.proven = None, found.proven and not flatten
            found.trouble = found.trouble or "no instrument is known, so nobody knows which coins were traded"
        return venue, found, list(private.symbols)
    finally:
        caller.close()


def _told(found: Withdrawn, symbols: list[str]) -> dict[str, Any]:
    held = found.positions
    return {
        "proven": found.proven,
        "cancelled": found.cancelled,
        "left": found.left,
        "stops": found.stops,
        "positions": None if held is None else {symbols[index]: lots for index, lots in held.items()},
        "trouble": found.trouble,
        "seconds": round(found.seconds, 3),
    }

"""Which session a start of live trading goes on with: the account's last one, until that one was flat at its end.

    begin.json    of a session's folder: what its journal is to be read with; on disk before anything is started
    flat          ... is there once it has ended with nothing open and nothing held

A session that died, or that has left a position with its stop, is taken up: same folder, same journal, same log of the
gateway, and in its order ids a number that no other start has. Nothing is guessed: what its journal says is asked of
the venue as after a crash of execution alone. A session that was never ready to send has left nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from bot4.adapters.system.durable import write_durably
from bot4.engine.gateway_log import has_begun
from bot4.model.errors import Bot4Error, SettingsError
from bot4.model.units import from_e8
from workers.plan import GATEWAY_FILE, Plan

BEGIN_FILE, FLAT_FILE = "begin.json", "flat"
CARRIED = ("start_equity_e8", "high_water_e8", "day", "day_start_e8", "streak", "streak_until_ns", "day_shut_until_ns",
           "stake_e8")  # fmt: skip
_SIZES = {"tick_e8": "tick_size", "lot_e8": "lot_size", "is_spot": "is_spot"}


class Listed(msgspec.Struct, forbid_unknown_fields=True):
    """What an instrument's ticks and lots stand for."""

    symbol: str
    tick_e8: int
    lot_e8: int
    is_spot: int


class Begin(msgspec.Struct, forbid_unknown_fields=True):
    """What a session began with."""

    account: int
    venue: str
    generation: int
    n_shards: int
    instruments: list[Listed]
    carried: dict[str, int]


def begin_of(plan: Plan) -> Begin:
    """What a session of this plan begins with."""
    row = plan.session[0]
    return Begin(
        account=int(row["account"]),
        venue=plan.traded,
        generation=int(row["feed_generation"]),
        n_shards=plan.n_shards,
        instruments=[
            Listed(symbol, *(int(sizes[name]) for name in _SIZES))
            for (symbol, _), sizes in zip(plan.symbols, plan.instruments, strict=True)
        ],
        carried={name: int(row[name]) for name in CARRIED},
    )


def keep_begin(plan: Plan) -> None:
    """Write it into the session's folder. Bot4Error if that cannot be."""
    path = plan.session_folder / BEGIN_FILE
    try:
        write_durably(path, msgspec.json.encode(begin_of(plan)))
    except OSError as error:
        raise Bot4Error(f"{path}: cannot be written: {error.strerror}") from None


def mark_flat(folder: Path) -> None:
    """The session has ended, and there is nothing to take up. Lost, it would be taken up all the same."""
    write_durably(folder / FLAT_FILE, b"")


def read_begin(folder: Path) -> Begin:
    """What the session of this folder began with; SettingsError names a file that does not say so."""
    path = folder / BEGIN_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Begin)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); {way_out(folder)}") from None
    except msgspec.MsgspecError:
        raise SettingsError(f"{path}: is damaged; put a copy of it back, or {way_out(folder)}") from None
    found.carried.setdefault("day_shut_until_ns", 0)  # a session of before it was kept: its journal tells the rest
    if set(found.carried) != set(CARRIED):
        raise SettingsError(f"{path}: is damaged; put a copy of it back, or {way_out(folder)}")
    return found


def way_out(folder: Path) -> str:
    """How a person ends a session by hand that cannot be taken up."""
    return f"close what is open (bot4-kill --flatten), move {folder} away, then bot4-supervisor reset"


def _begins(state: Path) -> Iterator[tuple[Path, Begin]]:
    """What all sessions of a state folder began with; one that is over keeps nobody from starting."""
    for path in (state / "sessions").glob(f"*/{BEGIN_FILE}"):
        try:
            yield path.parent, read_begin(path.parent)
        except SettingsError:
            if not (path.parent / FLAT_FILE).exists():
                raise


def last_generation(state: Path) -> int:
    """The highest number that a session of this state folder is known to have begun with; 0: there is none."""
    return max((begin.generation for _, begin in _begins(state)), default=0)


def last_session(plan: Plan) -> tuple[Path, Begin] | None:
    """The session that the plan's account has not ended flat; None: it has none, and a new one begins."""
    account = int(plan.session[0]["account"]), plan.traded
    return next((one for one in not_flat(plan.state_folder) if (one[1].account, one[1].venue) == account), None)


def not_flat(state: Path) -> list[tuple[Path, Begin]]:
    """Of each account that has been traded live here its last session, if that has not ended flat."""
    last: dict[tuple[int, str], tuple[Path, Begin]] = {}
    for folder, begin in sorted(_begins(state), key=lambda one: one[1].generation):
        if has_begun(folder / GATEWAY_FILE):
            last[begin.account, begin.venue] = folder, begin
    return [one for one in last.values() if not (one[0] / FLAT_FILE).exists()]


def taken_up(plan: Plan, folder: Path, begin: Begin) -> Plan:
    """The plan of a start that goes on with that session; SettingsError names the setting that has changed since."""
    now = begin_of(plan)
    _refuse_another(folder, "instruments.toml: symbols of the session", [one.symbol for one in now.instruments],
                    [one.symbol for one in begin.instruments])  # fmt: skip
    for index, (here, before) in enumerate(zip(now.instruments, begin.instruments, strict=True)):
        for name, field in _SIZES.items():
            values = [getattr(one, name) for one in (here, before)]
            shown = [from_e8(value) if name.endswith("_e8") else value for value in values]
            _refuse_another(folder, f"instruments.toml: instrument[{index}].{field}", *shown)
    _refuse_another(folder, "topology.toml: shards", now.n_shards, begin.n_shards)
    stakes = [from_e8(one.carried["stake_e8"]) for one in (now, begin)]
    _refuse_another(folder, "account.equity", *stakes)  # a deposit moves what the journal was begun with
    session = plan.session.copy()
    for name, value in begin.carried.items():
        session[0][name] = value
    return replace(plan, session=session, session_folder=folder)


def _refuse_another(folder: Path, what: str, here: object, before: object) -> None:
    if here != before:
        told = [", ".join(map(str, one)) if isinstance(one, list) else one for one in (here, before)]
        raise SettingsError(
            f"{what}: {told[0]}, and the account's session {folder.name}, which has not ended flat, goes on with "
            f"{told[1]}; write that, or {way_out(folder)}"
        )


def free_name(folder: Path, name: str) -> Path:
    """NAME in a folder, or the first of NAME-2, NAME-3 ... that nothing is in: nothing of before is written over."""
    number, path = 1, folder / name
    while path.is_dir() and any(path.iterdir()):
        number += 1
        path = folder / f"{name}-{number}"
    return path

"""Suite `matching`: the exchange's matching core on prepared commands, one after the other on one core.

`book_1k` and `book_50k`: with that many orders open, commands that change the book and do not trade: placed, canceled,
amended with and without their place in the queue, at 2,000 prices a side, by 100 accounts and their client ids; the
larger book does not fit into the nearest caches. `fills`: every order that takes meets ten that rest; counted are
fills, each settled for and told to both sides, and the time is that of placing the ten as well. `mixed`: limit, market
and stop orders, icebergs, cancels and OCO lists as they come, a fifth of them trading. Rates are per second that the
core worked on it, whoever else wanted the core. `each_book`, `each_mixed`: one at a time, a stamp after each. Limits:
what reading a command and writing an event costs, and the counter.
Budget: 5,000,000 commands/s in `book_1k`, 1,000,000 fills/s.
"""

# mypy: allow-untyped-defs

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bot4.atomics import rdtsc
from bot4.cli.measure.harness import Case, Samples
from bot4.jit import kernel
from bot4.kernels.exchange.state import ALL_INSTRUMENTS, COMMAND, EVENT, MarketRules, exchange_memory, set_account
from bot4.kernels.exchange.step import exchange_step
from bot4.model import enums as e
from bot4.model.errors import Bot4Error

SEED = 20_260_301
_COMMANDS = {True: 20_000, False: 400_000}
_ACCOUNTS = 100
_MIDDLE = 6_000_000
_REACH = 2_000  # prices a side
_SWEEP = 10  # resting orders that one takes
_RICH_E8 = 10**15
_KINDS = 32  # more than kinds of events


@kernel
def _run(memory, commands, kinds):
    """All commands; counts the events by kind. Returns how many."""
    total = np.int64(0)
    for at in range(len(commands)):
        n = exchange_step(memory, commands[at])
        total += n
        for index in range(n):
            kinds[memory["events"][index]["kind"]] += 1
    return total


@kernel
def _stamp(memory, commands, stamps):
    """A stamp before the first command and after each."""
    stamps[0] = rdtsc()
    for at in range(len(commands)):
        exchange_step(memory, commands[at])
        stamps[at + 1] = rdtsc()


@kernel
def _copy(commands, events):
    """Read each command and write an event, the least that any core does."""
    for at in range(len(commands)):
        command = commands[at]
        event = events[at & 1]
        event["ts_ns"] = command["ts_ns"]
        event["event_seq"] = at
        event["kind"] = command["action"]
        event["side"] = command["side"]
        event["account"] = command["account"]
        event["instrument"] = command["instrument"]
        event["order_id"] = command["order_id"]
        event["client_id"] = command["client_id"]
        event["price_ticks"] = command["price_ticks"]
        event["stop_ticks"] = command["stop_ticks"]
        event["qty_lots"] = command["qty_lots"]


class Script:
    """Commands as they are made, with the orders that are open if none has traded."""

    def __init__(self, n: int) -> None:
        self.rng = np.random.default_rng(SEED)
        self.commands = np.zeros(n + 3 * _ACCOUNTS, COMMAND)
        self.n = 0
        self.left = n
        self.ids = 0
        self.open: list[tuple[int, int, int, int]] = []  # account, client id, price, lots

    def add(self, action: int, account: int, **fields: int) -> None:
        """One command."""
        row = self.commands[self.n]
        self.n += 1
        self.left -= 1
        row["ts_ns"], row["action"], row["account"] = self.n, action, account
        for name, value in fields.items():
            row[name] = value

    def place(self, account: int, price: int, lots: int, **more: int) -> int:
        """A limit order, or what `more` makes of it. Returns its client id."""
        self.ids += 1
        kind = {"type": e.TYPE_LIMIT, "tif": e.TIF_GTC, "side": 1 if price < _MIDDLE else -1, "price_ticks": price}
        self.add(e.ACTION_PLACE, account, client_id=self.ids, qty_lots=lots, **(kind | more))
        return self.ids

    def rest(self, more: dict[str, int] | None = None) -> None:
        """An order somewhere on its side of the middle, most of them near to it."""
        account = int(self.rng.integers(_ACCOUNTS))
        away = 1 + min(_REACH - 1, int(self.rng.exponential(_REACH / 5)))
        price = _MIDDLE + away * int(self.rng.choice((-1, 1)))
        lots = int(self.rng.integers(10, 100))
        self.open.append((account, self.place(account, price, lots, **(more or {})), price, lots))

    def take_open(self) -> tuple[int, int, int, int]:
        """Any of the open orders, no longer among them."""
        at = int(self.rng.integers(len(self.open)))
        self.open[at], self.open[-1] = self.open[-1], self.open[at]
        return self.open.pop()

    def cancel(self) -> None:
        """One of the open orders."""
        account, client, _, _ = self.take_open()
        self.add(e.ACTION_CANCEL, account, client_id=client)

    def amend(self) -> None:
        """Half of them keep their place, half go to another price of their side."""
        account, client, price, lots = self.take_open()
        if lots > 1 and self.rng.random() < 0.5:
            lots -= 1
        else:
            price = max(_MIDDLE + 1, price - 1) if price > _MIDDLE else min(_MIDDLE - 1, price + 1)
        self.add(e.ACTION_AMEND, account, client_id=client, qty_lots=lots, price_ticks=price)
        self.open.append((account, client, price, lots))

    def done(self) -> np.ndarray:
        """COMMAND[...] that end with everything canceled, so that they can be run again."""
        for account in range(_ACCOUNTS):
            self.add(e.ACTION_CANCEL_ALL, account, instrument=ALL_INSTRUMENTS)
        return self.commands[: self.n]


def book_commands(n: int, n_open: int) -> np.ndarray:
    """COMMAND[about n]: the book grows to `n_open` orders and then keeps changing."""
    script = Script(n)
    while script.left > 0:
        dice = script.rng.random()
        if len(script.open) < n_open or dice < 0.45:
            script.rest()
        elif dice < 0.9:
            script.cancel()
        else:
            script.amend()
    return script.done()


def fill_commands(n: int) -> np.ndarray:
    """COMMAND[about n]: ten orders rest at three prices, one takes them all, with the sides in turn."""
    script = Script(n)
    side = 1
    while script.left > _SWEEP:
        for number in range(_SWEEP):
            account = int(script.rng.integers(1, _ACCOUNTS))
            script.place(account, _MIDDLE - side * (1 + number % 3), 10, side=side)
        script.place(0, _MIDDLE - side * 5, 10 * _SWEEP, side=-side, tif=e.TIF_IOC)
        side = -side
    return script.done()


def mixed_commands(n: int) -> np.ndarray:
    """COMMAND[about n]: what a venue meets. Cancels of orders that are gone by then are refused, as they are there."""
    script = Script(n)
    while script.left > 2:
        dice = script.rng.random()
        account = int(script.rng.integers(_ACCOUNTS))
        side = int(script.rng.choice((-1, 1)))
        if len(script.open) < 1_000 or dice < 0.38:
            script.rest({"display_lots": 9} if dice < 0.01 else None)
        elif dice < 0.7:
            script.cancel()
        elif dice < 0.76:
            script.amend()
        elif dice < 0.86:
            script.place(account, _MIDDLE + side * _REACH, int(script.rng.integers(1, 40)), side=side, tif=e.TIF_IOC)
        elif dice < 0.94:
            more = {"type": e.TYPE_MARKET, "tif": e.TIF_IOC, "side": side, "price_ticks": 0}
            script.place(account, _MIDDLE, int(script.rng.integers(1, 40)), **more)
        elif dice < 0.98:
            away = int(script.rng.integers(3, 400))
            more = {"type": e.TYPE_STOP_MARKET, "side": side, "price_ticks": 0, "stop_ticks": _MIDDLE + side * away}
            script.open.append((account, script.place(account, _MIDDLE, 5, **more), _MIDDLE, 1))
        else:
            legs = (
                {"type": e.TYPE_LIMIT, "price_ticks": _MIDDLE - side * 900},
                {"type": e.TYPE_STOP_MARKET, "stop_ticks": _MIDDLE + side * 900},
            )
            for leg, fields in enumerate(legs):
                script.ids += 1
                shared = {"tif": e.TIF_GTC, "side": side, "qty_lots": 5, "list_kind": e.LIST_OCO, "leg": leg}
                script.add(e.ACTION_LEG, account, client_id=script.ids, **(shared | fields))
            script.open.append((account, script.ids, _MIDDLE, 1))
    return script.done()


def exchange() -> np.void:
    """One spot pair and rich accounts."""
    memory = exchange_memory([MarketRules(1, 0, 1_000, 10, 2**27, 10**6)], _ACCOUNTS, 2)
    memory["balances"]["free_e8"][:_ACCOUNTS, :2] = _RICH_E8
    memory["supply"][:2] = _RICH_E8 * _ACCOUNTS
    for account in range(_ACCOUNTS):
        set_account(memory, account, 200, 500)
    return memory


class Stand:
    """An exchange that has met the commands once: every page it needs is there."""

    def __init__(self, commands: np.ndarray) -> None:
        self.commands = commands
        self.memory = exchange()
        self.kinds = np.zeros(_KINDS, np.int64)
        _run(self.memory, commands, self.kinds)
        if int(self.memory["desk"]["n_open"]):
            raise Bot4Error("the bench's commands leave orders open")

    def rate(self, counted: str, taken: Samples) -> None:
        """Commands a second, or fills of two sides."""
        self.kinds[:] = 0
        begun = time.thread_time()
        _run(self.memory, self.commands, self.kinds)
        spent = time.thread_time() - begun
        if counted == "fills":
            taken.add_rate(int(self.kinds[e.REPORT_FILL]) // 2, spent)
        else:
            taken.add_rate(len(self.commands), spent)

    def each(self, ghz: float, taken: Samples) -> None:
        """Ns of each command."""
        stamps = np.zeros(len(self.commands) + 1, np.int64)
        _stamp(self.memory, self.commands, stamps)
        taken.add_durations(np.diff(stamps) / ghz)


@functools.cache
def _stands(n: int) -> dict[str, Stand]:
    scripts: dict[str, Callable[[], Any]] = {
        "book_1k": lambda: book_commands(n, 1_000),
        "book_50k": lambda: book_commands(n, min(50_000, n // 4)),
        "fills": lambda: fill_commands(n),
        "mixed": lambda: mixed_commands(n),
    }
    return {name: Stand(script()) for name, script in scripts.items()}


def limits(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """A command read and an event written."""
    commands, events = book_commands(_COMMANDS[True], 1_000), np.zeros(2, EVENT)
    _copy(commands[:0], events)

    def copy(taken: Samples) -> None:
        begun = time.thread_time()
        for _ in range(10):
            _copy(commands, events)
        taken.add_rate(10 * len(commands), time.thread_time() - begun)

    return [Case("command_copy", "commands/s", copy)]


def cases(quick: bool, ghz: float, cores: tuple[int, int]) -> list[Case]:
    """The suite's cases; they run in this process, on the core the caller is on."""
    stands = _stands(_COMMANDS[quick])
    units = {"book_1k": "commands/s", "book_50k": "commands/s", "fills": "fills/s", "mixed": "commands/s"}
    made = [
        Case(name, unit, functools.partial(stands[name].rate, unit.split("/")[0]), "command_copy")
        for name, unit in units.items()
    ]
    for name in ("book_1k", "mixed"):
        run = functools.partial(stands[name].each, ghz)
        made.append(Case(f"each_{name.split('_')[0]}", "ns", run, "timer"))
    for case in made:
        case.run(Samples(case.unit))  # compile and warm up outside the measurement
    return made

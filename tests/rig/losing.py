"""A strategy that loses on purpose, in whole sessions: its settings, its run, and what ledger and journal say of it."""

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
from oracle.losses import Held, Limits, Losses, Quote, lead
from rig import puppet
from rig.command import ledger, session, settings_in, start_with

from bot4.engine.journal import read_journal
from bot4.kernels.parameter import Parameter, defaults
from bot4.model.enums import LEG_ENTRY, OK, REJECT_NAMES
from bot4.model.records import JOURNAL_DAY_SHUT, JOURNAL_DENIED, JOURNAL_INTENT, ORDER_INTENT

WAY_NS = 1_000_000  # to the venue, and back
MS = 1_000_000
START_E8 = 100_000 * 10**8
PARAMS = {
    "bar_ns": 0, "enter_threshold": 0.6, "exit_threshold": 0.0, "min_hold_ns": 0, "position_fraction_bps": 10_000,
    "sizing": 2, "sizing_budget_bps": 1_000.0, "atr_period": 2, "stop_atr_multiple": 2.0, "stop_min_bps": 20.0,
    "slippage_ticks": 2, "entry_life_ns": 1_000_000_000, "warm_bars": 0,
}  # fmt: skip
WIDE: dict[str, object] = {  # nothing is in the way but what a test asks for; every order is of the same 1,000 lots
    "position_bps": 10_000, "gross_bps": 10_000, "net_bps": 10_000, "venue_bps": 10_000, "strategy_bps": 10_000,
    "kill_daily_loss_bps": 10_000, "kill_drawdown_bps": 10_000, "order_lots": 1_000, "correlation_bps": 10_000,
    "daily_loss_bps": 5_000, "drawdown_bps": 5_000, "streak_losses": 1_000, "cool_down_ms": 0,
    "bucket_tokens": 10_000, "shard_tokens": 10_000, "order_tokens": 10_000, "message_tokens": 10_000,
    "repeat_orders": 1_000, "stop_bps": 5_000, "stop_loss_bps": 1_000, "var_bps": 10_000, "shortfall_bps": 10_000,
    "var_horizon_s": 1,
}  # fmt: skip


def settings_of(
    folder: Path, table: tuple[Parameter, ...] = puppet.PARAMETERS, module: str = "rig.puppet", **changes: object
) -> Path:
    """The shipped settings with that strategy, its parameters and some limits changed; the session's file."""
    config = settings_in(folder)
    given = dict(changes)
    params = defaults(table)
    params |= {name: value for name, value in PARAMS.items() if name in params}
    params |= {name: given.pop(name) for name in list(given) if name in params}
    rows = "\n".join(f"{name} = {value}" for name, value in params.items())
    strategy = f'[strategy]\nid = 1\nmodule = "{module}"\n[strategy.params]\n{rows}\n\n'
    text = re.sub(r"\[strategy\].*?(?=\[venue)", lambda _: strategy, config.read_text(), flags=re.DOTALL)
    text = re.sub(r"\[profile\][^\[#]*#[^\n]*\n[^\n]*\n", "", text)
    assert "[profile]" not in text
    config.write_text(text.replace("totals_grid_ms = 100", "totals_grid_ms = 1"))
    file = config.with_name("limits.toml")
    text = file.read_text()
    for name, value in (WIDE | given).items():
        text, count = re.subn(rf"^{name} = \S+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    file.write_text(text)
    return config


def lost_at(loss_e8: int, bps: int = 100) -> str:
    """The capital of which that share is that loss, as limits.toml wants it."""
    return f'"{Decimal(10_000 // bps * loss_e8).scaleb(-8)}"'


def run(folder: Path, config: Path, feed: str, code: int = 0) -> dict:
    """The session's report."""
    done = start_with(config, folder, "--feed", feed, "--compose", "one")
    assert done.returncode == code, done.stderr
    return session(folder)


def lines(folder: Path) -> list[dict]:
    """The ledger."""
    return [json.loads(line) for line in ledger(folder).read_text().splitlines()]


def records(folder: Path) -> np.ndarray:
    """The journal."""
    return read_journal(ledger(folder).with_name("journal.bin"))


def shut_ns(journal: np.ndarray) -> list[int]:
    """When execution found the day's loss at its limit."""
    return journal["ts_ns"][journal["type"] == JOURNAL_DAY_SHUT].tolist()


def asked(journal: np.ndarray) -> tuple[list[int], list[str]]:
    """When entries were asked for, and what execution said of each: "" or why not."""
    mine = journal[np.isin(journal["type"], (JOURNAL_INTENT, JOURNAL_DENIED))]
    intents = np.ascontiguousarray(mine["body"]).view(ORDER_INTENT)[:, 0]
    entries = intents["leg"] == LEG_ENTRY
    codes = np.where(mine["type"] == JOURNAL_DENIED, mine["code"], OK)[entries]
    return mine["ts_ns"][entries].tolist(), [REJECT_NAMES.get(int(code), "") for code in codes]


def capture_quotes(path: Path, tick: str) -> Iterator[Quote]:
    """The best quotes of a capture of Binance."""
    scale = Decimal(tick)
    with gzip.open(path, "rt") as file:
        for text in file:
            if "@bookTicker" not in text:
                continue
            stamp, _, body = text.partition(" ")
            data = json.loads(body)["data"]
            yield Quote(int(stamp), data["s"], int(Decimal(data["b"]) / scale), int(Decimal(data["a"]) / scale))


def bar_quotes(path: Path, tick: str) -> Iterator[Quote]:
    """The quotes that bars are played as: open, the nearer of high and low, the other, close; a tick to either side."""
    scale, symbol = Decimal(tick), path.name.split("-")[0]
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    times = [int(row[0]) for row in rows]
    length = Counter(later - time for time, later in pairwise(times)).most_common(1)[0][0]
    for time, row in zip(times, rows, strict=True):
        first, high, low, last = (int(Decimal(text) / scale) for text in row[1:5])
        prices = (first, high, low, last) if high - first <= first - low else (first, low, high, last)
        if float(row[5]) > 0:
            for ms, price in zip((0, length // 3, 2 * length // 3, length - 1), prices, strict=True):
                yield Quote((time + ms) * MS, symbol, price - 1, price + 1)


def judged(
    ledger_lines: list[dict], quotes: Iterator[Quote], values_e8: dict[str, int], asked_ns: list[int], **limits: int
) -> tuple[Losses, list[str]]:
    """The account by the oracle, and what it says of each entry that was asked for."""
    account = Losses(START_E8, WAY_NS, Limits(**limits), {name: Held(value) for name, value in values_e8.items()})
    return account, lead(account, ledger_lines, quotes, asked_ns)

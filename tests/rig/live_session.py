"""A session of the live feed against a venue on the loopback: its settings, and a start in the background."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rig.session import REPOSITORY, Running
from sim.test_kill_nine import settings

from bot4.adapters.files.recording import Recording
from bot4.engine.journal import read_journal
from bot4.model.records import JOURNAL_INTENT, ORDER_INTENT

VENUE = "binance_usdm"
SYMBOL = "BTCUSDT"


def live_settings(folder: Path, port: int, ca_file: Path) -> Path:
    """The busy strategy on the perpetual alone, heard from that port; every tick is recorded below `folder`."""
    config = settings(folder / "config", REPOSITORY)
    instruments = config.with_name("instruments.toml")
    listed = instruments.read_text().split("[[instrument]]")
    (wanted,) = [text for text in listed if f'"{SYMBOL}"' in text and f'"{VENUE}"' in text]
    instruments.write_text(f"[[instrument]]{wanted}")
    address = f"localhost:{port}"
    config.write_text(
        f'{config.read_text()}\n[venue.{VENUE}]\nws_url = "wss://{address}"\nrest_url = "https://{address}"\n'
        f'ca_file = "{ca_file}"\n\n[recorder]\nfolder = "{folder / "recordings"}"\nraw = "off"\n'
        "part_mb = 16\npart_s = 600\n"
    )
    return config


@contextmanager
def live_session(folder: Path, port: int, ca_file: Path) -> Iterator[Running]:
    """The session, which nobody but the test ends; needs tests/ on the path that processes inherit."""
    running = Running(live_settings(folder, port, ca_file), "--feed", "live", "--report", folder / "report")
    try:
        yield running
    finally:
        running.close()


def status(line: dict) -> bool:
    """Whether a line tells how the session stands."""
    return line["kind"] == "status"


def report_of(folder: Path) -> dict:
    """The session's report."""
    return json.loads((folder / "report" / "session.json").read_text())


def log_of(folder: Path, worker: str) -> list[dict]:
    """What a worker has logged."""
    (path,) = folder.glob(f"config/state/sessions/*/log/{worker}.log")
    return [json.loads(line) for line in path.read_text().splitlines()]


def intents_of(folder: Path) -> np.ndarray:
    """ORDER_INTENT[n]: everything that was sent to the venue, in the order of the journal."""
    (path,) = folder.glob("config/state/sessions/*/journal.bin")
    records = read_journal(path)
    return np.ascontiguousarray(records["body"][records["type"] == JOURNAL_INTENT]).view(ORDER_INTENT).reshape(-1)


def ticks_of(folder: Path) -> np.ndarray:
    """TICK[n]: all records that the feed published."""
    (path,) = (folder / "recordings").iterdir()
    return np.concatenate(list(Recording([path]).blocks()))


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port on which nothing listens, and which nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])

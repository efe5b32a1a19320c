"""Sessions with a recorder as a user starts them: the round trip, and a recorder that dies, hangs or cannot write."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from rig.command import session, start
from rig.session import Running, settings_folder

from bot4.adapters.files.recording import HEAD_NAME, Recording
from bot4.model.enums import FLAG_SNAPSHOT

pytestmark = pytest.mark.compiled

TABLE = '\n[recorder]\nfolder = "{}"\nraw = "{}"\npart_mb = {}\npart_s = {}\n'


def recorded(folder, *options, raw="off"):
    """A session on settings of its own with a recorder; its report."""
    folder.mkdir()
    shipped = Path(__file__).resolve().parents[2] / "config" / "paper.toml"
    text = shipped.read_text() + TABLE.format(folder / "recordings", raw, 1, 60)
    result = start(folder, *options, "--config", str(write(folder, text)))
    assert result.returncode == 0, result.stderr
    return session(folder)


def write(folder, text):
    """The settings file of a session with a recorder, beside the shipped ones."""
    target = folder / "with"
    target.mkdir()
    for source in (Path(__file__).resolve().parents[2] / "config").glob("*.toml"):
        (target / source.name).write_text(source.read_text())
    (target / "paper.toml").write_text(text.replace('folder = "state"', f'folder = "{folder / "state"}"'))
    return target / "paper.toml"


def rows(folder):
    """All records of a recording."""
    return np.concatenate(list(Recording([Path(folder)]).blocks()))


@pytest.mark.data
def test_the_recording_of_a_session_is_replayed_to_the_same_records_and_decisions(data_dir, tmp_path):
    files = ",".join(str(data_dir / "hftbacktest" / name) for name in
                     ("spot/ethusdt_20240808.gz", "usdm/btcusdt_20240808.gz"))  # fmt: skip
    first = recorded(tmp_path / "raw", "--feed", f"replay:{files}", "--compose", "one", raw="on")
    again = {}
    for compose in ("one", "processes"):
        feed = f"replay:{first['recorder']['folder']}"
        again[compose] = recorded(tmp_path / compose, "--feed", feed, "--compose", compose)
    messages = 33_618 + 93_954
    assert first["recorder"]["raw"] == messages and first["recorder"]["dropped"] == first["recorder"]["failures"] == 0
    ticks = rows(first["recorder"]["folder"])
    assert len(ticks) == first["recorder"]["ticks"] > messages
    for report in again.values():
        assert report["digest"] == first["digest"] and report["fills"] == first["fills"] > 0
        same = rows(report["recorder"]["folder"])
        assert ticks.tobytes() == same.tobytes()
        assert report["feed"]["span_ns"] == first["feed"]["span_ns"]
    raw = {}
    for path in sorted(Path(first["recorder"]["folder"]).rglob("*.gz")):
        raw.setdefault(path.parent.name, []).append(str(path))
    chains = ",".join([*raw["ETHUSDT.binance_spot"], *raw["BTCUSDT.binance_usdm"]])
    assert recorded(tmp_path / "own_raw", "--feed", f"replay:{chains}")["digest"] == first["digest"]
    print(f"{len(ticks):,} records, digest {first['digest'][:16]}")


def running(tmp_path, *options):
    """A free-running synthetic session with a recorder."""
    config = settings_folder(tmp_path)
    config.write_text(config.read_text() + TABLE.format(tmp_path / "recordings", "off", 1, 1))
    topology = config.with_name("topology.toml")
    patient = topology.read_text().replace("heartbeat_timeout_ms = 10000", "heartbeat_timeout_ms = 600000")
    topology.write_text(patient)
    return Running(config, *options)


def recorder_pid(line):
    """Of the recorder, once it runs."""
    worker = line.get("workers", {}).get("recorder")
    return worker["pid"] if worker and worker["heartbeat_ms"] is not None else 0


def test_a_recorder_that_stands_still_costs_gaps_that_are_counted_and_nobody_anything(tmp_path):
    live = running(tmp_path, "--feed", "synthetic:3", "--pace", "free", "--speed", "60x")
    try:
        pid = recorder_pid(live.until(lambda line: line["kind"] == "status" and recorder_pid(line)))
        os.kill(pid, signal.SIGSTOP)
        at_stop = live.until(lambda line: line["kind"] == "status")["ticks"]
        live.until(
            lambda line: line["kind"] == "status" and line["ticks"] > at_stop + 140_000
        )  # more than the ring holds
        os.kill(pid, signal.SIGCONT)
        code, end, error = live.finish()
    finally:
        live.close()
    assert code == 0, error
    report = end["report"]
    told = report["recorder"]
    head = json.loads((Path(told["folder"]) / HEAD_NAME).read_text())
    assert report["dropped"] == 0 and report["workers"]["recorder"]["restarts"] == 0
    assert told["dropped"] > 0 and any("the recording is not whole" in text for text in report["warnings"])
    ticks = rows(told["folder"])
    assert len(ticks) == told["ticks"]
    published = live.lines[-2]["ticks"]  # the last look at the feed's count
    assert np.count_nonzero(ticks["flags"] & FLAG_SNAPSHOT == 0) + told["dropped"] == published
    assert head["missing"] == told["dropped"]
    assert np.count_nonzero(ticks["flags"] & FLAG_SNAPSHOT) > 0  # the books, after the hole


def test_a_recorder_that_is_killed_goes_on_in_the_same_recording(tmp_path):
    live = running(tmp_path, "--feed", "synthetic:4", "--pace", "free", "--speed", "60x")
    try:
        pid = recorder_pid(live.until(lambda line: line["kind"] == "status" and recorder_pid(line)))
        time.sleep(2)  # some parts are written by then
        os.kill(pid, signal.SIGKILL)
        code, end, error = live.finish()
    finally:
        live.close()
    assert code == 0, error
    told = end["report"]["recorder"]
    assert end["report"]["workers"]["recorder"]["restarts"] == 1
    ticks = rows(told["folder"])
    assert len(ticks) == told["ticks"] > 0 and not list(Path(told["folder"]).rglob(".part*"))
    head = json.loads((Path(told["folder"]) / HEAD_NAME).read_text())
    assert head["missing"] == told["dropped"] and head["ended"]


def test_a_folder_that_cannot_be_written_is_told_and_the_session_trades(tmp_path):
    (tmp_path / "recordings").write_text("in the way")
    live = running(tmp_path, "--feed", "synthetic:5", "--pace", "free", "--speed", "100x")
    try:
        code, end, error = live.finish()
    finally:
        live.close()
    assert code == 0, error
    assert any("ALARM: the recording cannot be written" in str(line) for line in live.lines)
    told = end["report"]["recorder"]
    assert told["ticks"] == 0 and told["dropped"] > 0 and told["failures"] > 0 and end["report"]["fills"] > 0

"""Wires the recorder: its rings, the folder of this session's recording, and a place behind everybody else.

Nothing that happens here may cost the path of an order anything: it is nicer than the others wherever it shares a core,
it is woken by nobody, and what it cannot write is lost. Its libraries are loaded in this process alone.
"""

import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from bot4.adapters.files.recording import VERSION, Head, Listed, RecordingWriter
from bot4.engine.recorder import RecorderAgent, take_ticks
from bot4.log import start_log
from bot4.model.records import TICK, words
from bot4.model.units import from_e8
from bot4.shm.byte_ring import N_TAKE, N_TAKEN, take_messages
from bot4.shm.wires import Wires, private_wires
from workers.breaker import breaker_of
from workers.plan import Plan, RecorderSpec

NICENESS = 10


def head_of(plan: Plan) -> Head:
    """What is known of a recording before it begins."""
    build = ""
    with suppress(PackageNotFoundError):
        build = version("bot4")
    sizes = [(from_e8(row["tick_e8"]), from_e8(row["lot_e8"])) for row in plan.instruments]
    listed = [Listed(*symbol, *size) for symbol, size in zip(plan.symbols, sizes, strict=True)]
    return Head(VERSION, build, plan.feed.text, plan.feed.synthetic, "receive", listed)


def recorder_agent(plan: Plan, spec: RecorderSpec, wires: Wires) -> RecorderAgent:
    """The recorder of a session, in whatever process."""
    log = start_log("recorder")
    store = RecordingWriter(spec.folder, head_of(plan))
    breaker = breaker_of(plan, wires, "recorder", log)
    return RecorderAgent(wires, store, spec.rows, spec.part_s, log.error, breaker=breaker)


def build(plan: Plan, wires: Wires, name: str, attempt: int) -> RecorderAgent:
    """The recorder in a process of its own; one that is started again goes on in the same folder."""
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported: more would only share the same core
    os.nice(NICENESS)
    import polars  # noqa: F401, ICN001 -- now, and not when the first part is due

    assert plan.recorder is not None
    return recorder_agent(plan, plan.recorder, wires)


def warm_recorder() -> None:
    """Compile or load the recorder's kernels."""
    wires = private_wires(1, 1, 2, record=2, raw=2)
    take_ticks(wires.record, words(np.zeros(1, TICK)), np.int64(0), np.int64(1))
    take_messages(wires.raw, np.zeros(1, np.uint8), np.zeros((1, N_TAKEN), np.int64), np.zeros(N_TAKE, np.int64))

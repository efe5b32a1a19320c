"""A template that has warmed up: its workers find every kernel compiled, those of a second life too."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rig.session import REPOSITORY

from bot4.engine import feed_live
from bot4.engine.feed_scan import SCANNERS, scan_nothing
from bot4.engine.live import load_step

SCRIPT = """
import gc, json, os, sys
from dataclasses import replace
from pathlib import Path
from bot4.adapters.system.latch import KillLatch
from bot4.jit import kernel
from bot4.shm.spsc_ring import consume
from bot4.shm.wires import private_wires
from workers.bootstrap import Duty, build_agents
from workers.session import StartOptions, prepare
from workers.template import warm_up

def versions():
    known = [one for one in gc.get_objects() if type(one) is type(consume)]
    return {f"{one.__module__}.{one.__name__}": len(one.overloads) for one in known if one.overloads}

prepared = prepare(StartOptions(config=Path("config/paper.toml"), feed="synthetic", compose="processes"))
KillLatch(prepared.plan.state_folder).initialise()
prepared.plan.session_folder.mkdir(parents=True)
warm_up(prepared.plan)
before = versions()
wires = private_wires(prepared.plan.n_shards, prepared.plan.n_instruments)
for attempt in (0, 1):
    duties = []
    for spec in prepared.workers:
        if attempt and spec.name == "venue":
            continue  # is not started again
        duties.append(Duty(prepared.plan, wires, spec, build_agents(prepared.plan, wires, spec.agents, attempt)))
    for _ in range(20):
        for duty in duties:
            duty.turn()
after = versions()
print(json.dumps([len(before), sorted(name for name in after if after[name] != before.get(name))]))
os._exit(0)
"""


@pytest.mark.compiled
def test_workers_find_every_kernel_compiled(tmp_path):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True)
    known, late = json.loads(done.stdout)
    assert known > 10
    assert late == []


@pytest.mark.compiled
@pytest.mark.parametrize("venue", SCANNERS)
def test_a_live_feed_has_the_scanners_of_its_venues_alone(venue):
    step = load_step([venue])
    door = sys.modules[sys.modules[step.__module__].scan_any.__module__]
    names = ("binance", "bybit", "kraken", "coinbase")
    leads = [name for name in names if getattr(door, f"scan_{name}") is not scan_nothing]
    assert leads == [venue.split("_")[0]]
    assert Path(str(door.__file__)).is_file()
    assert load_step([venue]) is step
    assert load_step(list(SCANNERS)) is feed_live.live_step

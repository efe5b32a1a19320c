"""The doctor's eyes: a tuned host has no finding, and each fault of a host is found by its own check, with a fix."""

import os
import resource
from pathlib import Path

import pytest
from rig.host import TUNED, make_host

from bot4.adapters.system import host
from bot4.adapters.system.host import BAD, MIND, OK, UNKNOWN, examine, parse_list

CPU = "sys__devices__system__cpu__"
CLOCK = "sys__devices__system__clocksource__clocksource0__"
ASKED = {"priorities", "lockable memory", "/dev/shm", "open files", "time synchronisation"}  # of this process

FAULTS = [
    ("cores", MIND, {CPU + "online": "0-1"}, "2 online"),
    ("cores", UNKNOWN, {CPU + "online": None}, "does not tell"),
    ("SMT siblings", MIND, {CPU + "cpu1__topology__thread_siblings_list": "1,3"}, "1,3"),
    ("isolated cores", MIND, {CPU + "isolated": ""}, "isolated none"),
    ("isolated cores", MIND, {CPU + "nohz_full": "(null)"}, "tickless none"),
    ("isolated cores", MIND, {"proc__cmdline": "quiet"}, "rcu_nocbs not set"),
    ("clock source", MIND, {CLOCK + "current_clocksource": "hpet"}, "hpet of tsc hpet"),
    ("clock source", UNKNOWN, {CLOCK + "current_clocksource": None}, "does not tell"),
    ("time-stamp counter", BAD, {"proc__cpuinfo": "flags : fpu constant_tsc"}, "nonstop_tsc missing"),
    ("time-stamp counter", UNKNOWN, {"proc__cpuinfo": "processor : 0"}, "no flags"),
    ("frequency governor", MIND, {CPU + "cpu2__cpufreq__scaling_governor": "powersave"}, "core 2 powersave"),
    (
        "frequency governor",
        UNKNOWN,
        {CPU + f"cpu{k}__cpufreq__scaling_governor": None for k in range(4)},
        "not visible",
    ),
    ("transparent huge pages", MIND, {"sys__kernel__mm__transparent_hugepage__enabled": "[always] never"}, "always"),
    ("interrupts", MIND, {"proc__irq__25__smp_affinity_list": "0-3"}, "1 of 2"),
    ("irqbalance", MIND, {"proc__77__comm": "irqbalance"}, "runs"),
    ("real-time throttling", OK, {"proc__sys__kernel__sched_rt_runtime_us": "950000"}, "950,000 us"),
    ("swap", MIND, {"proc__swaps": "Filename\n/dev/sda2 partition 1 0 -2"}, "1 in use"),
    ("stolen time", MIND, {"proc__stat": "cpu  1000 0 1000 7000 0 0 0 1000 0 0"}, "10.00%"),
]


def test_a_tuned_host_has_no_finding(tmp_path):
    findings = examine(make_host(tmp_path))
    assert len({finding.name for finding in findings}) == len(findings) == 17
    assert all(finding.state == OK for finding in findings if finding.name not in ASKED), findings


@pytest.mark.parametrize(("name", "state", "changes", "words"), FAULTS)
def test_each_fault_is_found_by_its_own_check(tmp_path, name, state, changes, words):
    findings = {finding.name: finding for finding in examine(make_host(tmp_path, **changes))}
    found = findings.pop(name)
    assert found.state == state and words in found.found
    assert found.fix or state in (OK, UNKNOWN)
    affected = {"cores", "frequency governor", "interrupts"} if name == "cores" else {name}
    assert all(finding.state == OK for finding in findings.values() if finding.name not in ASKED | affected)


def test_the_fix_of_a_slow_clock_depends_on_whether_the_fast_one_is_there(tmp_path):
    there = make_host(tmp_path / "a", **{CLOCK + "current_clocksource": "hpet"})
    assert host.clock_source(there).fix.startswith("echo tsc > /sys/devices/system/clocksource/")
    changes = {CLOCK + "current_clocksource": "hpet", CLOCK + "available_clocksource": "hpet acpi_pm"}
    assert "tsc=reliable" in host.clock_source(make_host(tmp_path / "b", **changes)).fix


def test_an_empty_host_is_unknown_and_never_raises(tmp_path):
    states = {finding.name: finding.state for finding in examine(tmp_path)}
    assert states["/dev/shm"] == BAD and states["cores"] == states["stolen time"] == UNKNOWN


@pytest.mark.parametrize(("limit", "value", "check", "state", "words"), [
    (resource.RLIMIT_NOFILE, 512, host.open_files, BAD, "512, 1,024 wanted"),
    (resource.RLIMIT_MEMLOCK, 512, host.lockable_memory, MIND, "0 MB, 256 MB wanted"),
    (resource.RLIMIT_NICE, 0, host.priorities, MIND, "nice 0 at best, -10 wanted"),
])  # fmt: skip
def test_limits_of_this_process(limit, value, check, state, words, monkeypatch):
    before = resource.getrlimit(limit)
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    try:
        resource.setrlimit(limit, (value, before[1]))
        found = check(Path("/"))
    finally:
        resource.setrlimit(limit, before)
    assert found.state == state and found.fix and found.found.startswith(words)


def test_this_very_host_can_be_examined():
    findings = examine()
    assert {finding.state for finding in findings} <= {OK, MIND, BAD, UNKNOWN}
    assert all(finding.found for finding in findings)
    assert all(finding.fix for finding in findings if finding.state in (MIND, BAD))


def test_lists_of_cores():
    assert parse_list("0-2,5") == [0, 1, 2, 5] and parse_list("") == []
    assert TUNED["sys/devices/system/cpu/online"] == "0-3"

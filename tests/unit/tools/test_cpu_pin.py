"""`tools/cpu_pin.sh` on a made-up host, on this one, and without rights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.host import make_host

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "cpu_pin.sh"
GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
UNTUNED = {
    "proc__cmdline": "quiet",
    "proc__irq__24__smp_affinity_list": "0-3",
    "sys__kernel__mm__transparent_hugepage__enabled": "[always] madvise never",
    "sys__devices__system__cpu__cpu2__cpufreq__scaling_governor": "powersave",
    "sys__devices__system__cpu__cpu1__topology__thread_siblings_list": "1,3",
}


def run(root: Path | None, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"BOT4_HOST_ROOT": str(root)} if root else {})
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment, user=user
    )


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_print_is_the_default_and_touches_nothing(tmp_path):
    before = files(make_host(tmp_path, **UNTUNED))
    told = run(tmp_path)
    assert told.returncode == 0 and files(tmp_path) == before
    for line in (
        "cores 1-3 for Bot4, 0 for everything else",
        "add       isolcpus=managed_irq,domain,1-3", "add       nohz_full=1-3", "add       rcu_nocbs=1-3",
        "core 1 shares its execution units: 1,3",
        "would set /sys/devices/system/cpu/cpu2/cpufreq/scaling_governor: powersave -> performance",
        "would set /sys/kernel/mm/transparent_hugepage/enabled: always -> madvise",
        "would set /proc/irq/24/smp_affinity_list: 0-3 -> 0",
    ):  # fmt: skip
        assert line in told.stdout, line
    assert "/proc/irq/25" not in told.stdout, "it is where it should be"


def test_apply_does_it_and_undo_puts_every_value_back(tmp_path):
    before = files(make_host(tmp_path, **UNTUNED))
    assert run(tmp_path, "apply").returncode == 0
    after = files(tmp_path)
    assert after[GOVERNOR.format(2)] == "performance\n" and after["proc/irq/24/smp_affinity_list"] == "0\n"
    assert after["sys/kernel/mm/transparent_hugepage/enabled"] == "madvise\n"
    assert run(tmp_path, "apply").returncode == 0, "once more changes nothing, and does not lose the old values"
    assert run(tmp_path, "undo").returncode == 0
    chosen = {
        "sys/kernel/mm/transparent_hugepage/enabled": "always\n"
    }  # the kernel shows it in brackets, a file as it is
    assert files(tmp_path) == before | chosen
    assert "nothing to undo" in run(tmp_path, "undo").stdout


def test_other_cores_can_be_chosen(tmp_path):
    make_host(tmp_path, **UNTUNED)
    told = run(tmp_path, "print", "--cores", "2-3")
    assert "cores 2-3 for Bot4, 0-1 for everything else" in told.stdout
    assert "/proc/irq/24/smp_affinity_list: 0-3 -> 0-1" in told.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (("--cores", "7"), "no core 7 (it has 0-3)"), (("--cores", "0-3"), "leave at least one core"),
    (("--cores", "two"), "write a list"), (("--cores",), "a list is missing"), (("dance",), "dance: not known"),
])  # fmt: skip
def test_wrong_usage_is_one_line(tmp_path, arguments, words):
    told = run(make_host(tmp_path), *arguments)
    assert told.returncode == 2 and words in told.stderr and len(told.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_without_rights_it_says_so_and_changes_nothing(tmp_path):
    before = files(make_host(tmp_path, **UNTUNED))
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    told = run(tmp_path, "apply", user=65_534)
    assert told.returncode == 1 and "CANNOT" in told.stderr and files(tmp_path) == before


def test_a_value_that_cannot_be_set_is_said_and_the_rest_is_done(tmp_path):
    make_host(tmp_path, **UNTUNED)
    stuck = tmp_path / GOVERNOR.format(2)
    stuck.unlink()
    stuck.mkdir()  # cannot be written, whoever tries
    told = run(tmp_path, "apply")
    assert told.returncode == 1 and "CANNOT" in told.stdout and "cpu2/cpufreq" in told.stdout
    assert (tmp_path / "proc/irq/24/smp_affinity_list").read_text() == "0\n"


def test_a_running_worker_is_pinned_and_let_go_again(tmp_path):
    """A real process, listed on the made-up host under a worker's name."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core alone: nothing can be pinned apart")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pid = process.pid
        listed = {
            f"proc__{pid}__comm": "bot4-shard-0",
            f"proc__{pid}__status": f"Cpus_allowed_list:\t{cores[0]}-{cores[1]}",
        }
        make_host(tmp_path, **listed)
        core = cores[1]
        assert f"would run taskset -pc {core} {pid}" in run(tmp_path, "--cores", str(core)).stdout
        assert run(tmp_path, "apply", "--cores", str(core)).returncode == 0
        assert os.sched_getaffinity(pid) == {core}
        assert run(tmp_path, "undo").returncode == 0
        assert os.sched_getaffinity(pid) == {cores[0], cores[1]}
    finally:
        process.communicate(b"\n")


def test_this_very_host_can_be_read():
    told = run(None)
    assert told.returncode in (0, 2) and ("for Bot4" in told.stdout or "one core" in told.stderr)

"""The /proc and /sys of a made-up host: four cores, tuned, unless a test says otherwise."""

from pathlib import Path

TUNED = {
    "sys/devices/system/cpu/online": "0-3",
    "sys/devices/system/cpu/present": "0-3",
    "sys/devices/system/cpu/isolated": "1-3",
    "sys/devices/system/cpu/nohz_full": "1-3",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "proc/cmdline": "quiet isolcpus=managed_irq,domain,1-3 nohz_full=1-3 rcu_nocbs=1-3",
    "proc/cpuinfo": "processor : 0\nflags : fpu constant_tsc nonstop_tsc",
    "proc/irq/24/smp_affinity_list": "0",
    "proc/irq/25/smp_affinity_list": "0",
    "proc/1/comm": "init",
    "proc/sys/kernel/sched_rt_runtime_us": "-1",
    "proc/swaps": "Filename Type Size Used Priority",
    "proc/stat": "cpu  1000 0 1000 8000 0 0 0 0 0 0",
    "dev/shm/.keep": "",
    "run/.keep": "",
} | {
    f"sys/devices/system/cpu/cpu{core}/{name}": value
    for core in range(4)
    for name, value in {"topology/thread_siblings_list": str(core), "cpufreq/scaling_governor": "performance"}.items()
}


def make_host(root: Path, **changes: str | None) -> Path:
    """Write the files below `root`; a change names a file by its path with `/` as `__`, None leaves it out."""
    files: dict[str, str | None] = TUNED | {name.replace("__", "/"): text for name, text in changes.items()}
    for name, text in files.items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    return root

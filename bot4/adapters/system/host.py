"""What of this host makes latencies long or a session fail, each finding with its fix. Reads, never changes.

Everything that is a file is read below `root`, so that another host's /proc and /sys can be looked at as well; what
only this process can be asked (its limits, its clock) is asked here.
"""

import ctypes
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bot4.adapters.system.affinity import FAVOURED

OK, MIND, BAD, UNKNOWN = "ok", "mind", "bad", "unknown"
MIN_CORES = 4  # feed, shard, execution and the rest of the machine
SHARED_BYTES = 256 << 20  # rings of a session with room to grow
LOCK_BYTES = 256 << 20  # to lock them
OPEN_FILES = 1_024
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex
_TIMEX_BYTES = 256  # a little more than struct timex, so that no kernel writes beyond it
_STATUS_OFFSET = 40  # of struct timex on 64-bit Linux: modes, offset, freq, maxerror, esterror, status


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: str  # ok | mind (costs latency) | bad (a session may fail) | unknown (this machine does not tell)
    found: str
    fix: str = ""


def examine(root: Path = Path("/")) -> list[Finding]:
    """Everything, in the order in which a person would look."""
    checks: tuple[Callable[[Path], Finding], ...] = (
        cores, siblings, isolation, clock_source, tsc, governor, huge_pages, interrupts, irq_balance, throttling, swap,
        stolen_time, priorities, lockable_memory, shared_memory, open_files, time_synchronisation,
    )  # fmt: skip
    return [check(root) for check in checks]


def _read(path: Path) -> str | None:
    """A file's text without its newline; None if it is not there or may not be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _cpu(root: Path) -> Path:
    return root / "sys/devices/system/cpu"


def parse_list(text: str) -> list[int]:
    """`0-2,5` as [0, 1, 2, 5]."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _online(root: Path) -> list[int]:
    return parse_list(_read(_cpu(root) / "online") or "")


def cores(root: Path) -> Finding:
    """Enough of them for one spinning process each."""
    online = _online(root)
    if not online:
        return Finding("cores", UNKNOWN, "the kernel does not tell which are online")
    if len(online) >= MIN_CORES:
        return Finding("cores", OK, f"{len(online)} online")
    fix = f"take a machine with {MIN_CORES} or more, or let workers wait: backoff in topology.toml's table [idle]"
    return Finding("cores", MIND, f"{len(online)} online; feed, shard and execution share them with everything", fix)


def siblings(root: Path) -> Finding:
    """Two spinning workers on one physical core slow each other."""
    pairs = {
        text
        for core in _online(root)
        if (text := _read(_cpu(root) / f"cpu{core}/topology/thread_siblings_list")) and len(parse_list(text)) > 1
    }
    if not pairs:
        return Finding("SMT siblings", OK, "none are visible")
    fix = "one worker per pair (topology.toml), or off with them: echo off > /sys/devices/system/cpu/smt/control"
    return Finding("SMT siblings", MIND, f"cores share execution units: {'; '.join(sorted(pairs))}", fix)


def isolation(root: Path) -> Finding:
    """Cores that the scheduler, its tick and RCU leave alone."""
    isolated = _read(_cpu(root) / "isolated") or ""
    ticks = _read(_cpu(root) / "nohz_full") or ""
    ticks = "" if ticks == "(null)" else ticks
    callbacks = "rcu_nocbs=" in (_read(root / "proc/cmdline") or "")
    parts = [
        f"isolated {isolated or 'none'}",
        f"tickless {ticks or 'none'}",
        f"rcu_nocbs {'set' if callbacks else 'not set'}",
    ]
    if isolated and ticks and callbacks:
        return Finding("isolated cores", OK, ", ".join(parts))
    return Finding(
        "isolated cores", MIND, ", ".join(parts), "tools/cpu_pin.sh prints the kernel command line to boot with"
    )


def clock_source(root: Path) -> Finding:
    """The wall clock must be read without leaving the process."""
    folder = root / "sys/devices/system/clocksource/clocksource0"
    current, available = _read(folder / "current_clocksource"), _read(folder / "available_clocksource") or ""
    if current is None:
        return Finding("clock source", UNKNOWN, "the kernel does not tell")
    if current == "tsc":
        return Finding("clock source", OK, "tsc")
    fix = (
        f"echo tsc > {Path('/') / folder.relative_to(root)}/current_clocksource"
        if "tsc" in available.split()
        else "boot with tsc=reliable if the machine's counter is (the kernel has taken it off the list)"
    )
    return Finding("clock source", MIND, f"{current} of {available}; each look at the clock costs more", fix)


def tsc(root: Path) -> Finding:
    """Latencies are differences of the time-stamp counter: it has to run at one rate through every sleep."""
    text = _read(root / "proc/cpuinfo")
    flags = next(
        (line.partition(":")[2].split() for line in (text or "").splitlines() if line.startswith("flags")), None
    )
    if flags is None:
        return Finding("time-stamp counter", UNKNOWN, "/proc/cpuinfo shows no flags")
    missing = [flag for flag in ("constant_tsc", "nonstop_tsc") if flag not in flags]
    if not missing:
        return Finding("time-stamp counter", OK, "constant rate, never stops")
    fix = "do not trust latency figures of this machine; on a virtual one ask for an invariant TSC"
    return Finding("time-stamp counter", BAD, f"{' and '.join(missing)} missing", fix)


def governor(root: Path) -> Finding:
    """A core that first has to speed up is late."""
    found = {core: _read(_cpu(root) / f"cpu{core}/cpufreq/scaling_governor") for core in _online(root)}
    known = {core: value for core, value in found.items() if value is not None}
    if not known:
        return Finding("frequency governor", UNKNOWN, "not visible here (a virtual machine, or no driver)")
    slow = {core: value for core, value in known.items() if value != "performance"}
    if not slow:
        return Finding("frequency governor", OK, "performance on every core")
    told = ", ".join(f"core {core} {value}" for core, value in sorted(slow.items()))
    return Finding("frequency governor", MIND, told, "tools/cpu_pin.sh apply")


def huge_pages(root: Path) -> Finding:
    """`always` lets the kernel stop a process to gather its pages."""
    text = _read(root / "sys/kernel/mm/transparent_hugepage/enabled")
    if text is None:
        return Finding("transparent huge pages", OK, "this kernel has none")
    chosen = text.partition("[")[2].partition("]")[0]
    if chosen in ("madvise", "never"):
        return Finding("transparent huge pages", OK, chosen)
    return Finding("transparent huge pages", MIND, chosen or text, "tools/cpu_pin.sh apply")


def interrupts(root: Path) -> Finding:
    """Interrupts on the cores that are kept quiet (all but the first, where none are isolated)."""
    online = _online(root)
    quiet = set(parse_list(_read(_cpu(root) / "isolated") or "")) or set(online[1:])
    lists = [_read(path) for path in sorted((root / "proc/irq").glob("*/smp_affinity_list"))]
    known = [text for text in lists if text]
    if not known:
        return Finding("interrupts", UNKNOWN, "their places cannot be seen")
    busy = sum(1 for text in known if quiet & set(parse_list(text)))
    if not busy:
        return Finding("interrupts", OK, f"{len(known)}, none may come to the quiet cores")
    return Finding("interrupts", MIND, f"{busy} of {len(known)} may come to the quiet cores", "tools/cpu_pin.sh apply")


def irq_balance(root: Path) -> Finding:
    """A daemon that moves interrupts back."""
    running = any(_read(path) == "irqbalance" for path in (root / "proc").glob("[0-9]*/comm"))
    if running:
        return Finding(
            "irqbalance", MIND, "runs, and moves interrupts where it likes", "systemctl disable --now irqbalance"
        )
    return Finding("irqbalance", OK, "does not run")


def throttling(root: Path) -> Finding:
    """Real-time throttling stops a real-time process for 5 % of each second."""
    text = _read(root / "proc/sys/kernel/sched_rt_runtime_us")
    if text is None:
        return Finding("real-time throttling", UNKNOWN, "the kernel does not tell")
    if text == "-1":
        return Finding("real-time throttling", OK, "off")
    found = f"{int(text):,} us of each second; workers run at normal priority, which it does not touch"
    return Finding("real-time throttling", OK, found, "only before chrt: sysctl kernel.sched_rt_runtime_us=-1")


def swap(root: Path) -> Finding:
    """A page that was swapped out is milliseconds away."""
    devices = (_read(root / "proc/swaps") or "").splitlines()[1:]
    if not devices:
        return Finding("swap", OK, "off")
    return Finding("swap", MIND, f"{len(devices)} in use", "swapoff -a, or vm.swappiness=0")


def stolen_time(root: Path) -> Finding:
    """How much of this virtual machine's time its host gave to others, since boot."""
    line = next((line for line in (_read(root / "proc/stat") or "").splitlines() if line.startswith("cpu ")), "")
    fields = [int(field) for field in line.split()[1:]]
    if len(fields) < 8 or not sum(fields[:8]):
        return Finding("stolen time", UNKNOWN, "the kernel does not tell")
    share = fields[7] / sum(fields[:8])
    if share < 0.001:
        return Finding("stolen time", OK, f"{share:.2%} since boot")
    return Finding(
        "stolen time", MIND, f"{share:.2%} since boot", "take a machine of your own, or dedicated virtual cores"
    )


def priorities(root: Path) -> Finding:
    """May feed and shards be run before others?"""
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if os.geteuid() == 0 or soft == resource.RLIM_INFINITY or 20 - soft <= FAVOURED:
        return Finding("priorities", OK, f"feed and shards run at nice {FAVOURED}")
    fix = f"LimitNICE={FAVOURED} in the unit, or nice in /etc/security/limits.d"
    return Finding("priorities", MIND, f"nice {max(-20, min(0, 20 - soft))} at best, {FAVOURED} wanted", fix)


def lockable_memory(root: Path) -> Finding:
    """May the rings be locked into memory?"""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or soft >= LOCK_BYTES or os.geteuid() == 0:
        told = (
            "as much as root likes"
            if os.geteuid() == 0
            else "unlimited"
            if soft == resource.RLIM_INFINITY
            else _mb(soft)
        )
        return Finding("lockable memory", OK, told)
    fix = "LimitMEMLOCK=infinity in the unit, or memlock in /etc/security/limits.d"
    return Finding("lockable memory", MIND, f"{_mb(soft)}, {_mb(LOCK_BYTES)} wanted", fix)


def shared_memory(root: Path) -> Finding:
    """Room for the rings."""
    try:
        place = os.statvfs(root / "dev/shm")
    except OSError as error:
        return Finding("/dev/shm", BAD, f"cannot be used: {error.strerror}", "mount -t tmpfs tmpfs /dev/shm")
    free = place.f_bavail * place.f_frsize
    if free >= SHARED_BYTES:
        return Finding("/dev/shm", OK, f"{_mb(free)} free")
    return Finding(
        "/dev/shm", BAD, f"{_mb(free)} free, {_mb(SHARED_BYTES)} wanted", "mount -o remount,size=1g /dev/shm"
    )


def open_files(root: Path) -> Finding:
    """Descriptors of one process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        return Finding("open files", OK, f"{soft:,}")
    return Finding("open files", BAD, f"{soft:,}, {OPEN_FILES:,} wanted", f"ulimit -n {OPEN_FILES}")


def time_synchronisation(root: Path) -> Finding:
    """Venues refuse requests whose time is off; recordings are worth little without the true one."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
        return Finding("time synchronisation", UNKNOWN, "the kernel does not tell")
    status = int.from_bytes(buffer.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little")
    if not status & _UNSYNCHRONISED:
        return Finding("time synchronisation", OK, "the kernel's clock is disciplined")
    daemons = [name for name in ("chronyd", "ntpd", "systemd-timesyncd", "ptp4l") if _runs(name)]
    found = f"not synchronised{', though ' + ', '.join(daemons) + ' runs' if daemons else ''}"
    return Finding("time synchronisation", MIND, found, "install chrony and wait until chronyc tracking says Normal")


def _runs(name: str) -> bool:
    return any(process.info["name"] == name[:15] for process in psutil.process_iter(["name"]))


def _mb(count: int) -> str:
    return f"{count / 2**20:,.0f} MB"

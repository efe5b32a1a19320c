"""The real bot under load, killed a thousand times, judged by the venue's ledger: nothing lost, nothing doubled.

    python tests/stress/torture.py --kills 1000 --live 500 --report build/torture.json [--seed 1]     (`make torture`)

Sessions one after the other, each of many blows (see tests/rig/torture.py): every named point of bot4/crash.py in turn,
SIGKILL at random moments of execution, shards, feed, a pair of them, the supervisor. First on paper; then as many as
`--live` says of live sessions on `bot4-exchange` over TLS, with chaos (tests/rig/live_torture.py): every point of the
gateway, execution with it, shard, feed, recorder, and the supervisor, after which the next start takes the session up.
Each session adds a line to the ledger of seeds beside the report. Writes one JSON object, also to the screen:

    kills, kills_with_order_in_flight     processes killed; with a request whose answer execution had not got
    crash_points                          {name: hits}
    orders, unknown                       placed at the venue; whose outcome nobody knew at a session's end
    lost, doubled                         orders or fills that venue or journal does not know, or knows twice
    position_breaks, naked_positions      another position or amount; a position without its stop for too long
    recovery_s                            {p50, p99, max}, from execution's death to the open gate

Exit 1 if anything was lost, doubled, broken, naked or unknown, or a session did not end as it should.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
CRASH = "BOT4_CRASH"
FULL = 25  # hits of each point
PART = 36  # blows of a session
SESSION_S = 600.0  # longest session
GONE_S = 10.0  # after the supervisor's death everybody has ended by the kernel's hand, however busy the machine is
LIVE_ORDERS = 4  # between two blows of a live session
LIVE_KINDS = ("execution", "shard", "feed", "recorder", "supervisor")
RANDOM = ("execution",) * 6 + ("shard",) * 2 + ("feed",) * 2 + ("pair",)


@dataclass
class Total:
    """All sessions, added up."""

    kills: int = 0
    in_flight: int = 0
    victims: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    unknown: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    recovery_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    naked_s: float = 0.0  # of live sessions, the longest time
    seeds: list[dict] = field(default_factory=list)  # one for each session: its line in the ledger of seeds


def crash_file(path: Path) -> Path:
    """The file by which points are armed, as the environment names it for everybody who is started from here."""
    path.write_bytes(bytes(64))
    return path


def said_by(spec: Any, total: Total, look: Callable[[], None] = lambda: None) -> dict | None:
    """Run a session in a process of its own; its last words, after a look at what it leaves. None: there are none.

    `look` is called again and again meanwhile.
    """
    from bot4.adapters.system.process import ProcessId
    from bot4.shm.wiring import unlink_leftovers

    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {CRASH: str(crash_file(folder / "crash.words"))}
    command = [sys.executable, __file__, "--session", json.dumps(asdict(spec))]
    with (folder / "out.txt").open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        until = time.monotonic() + SESSION_S
        while process.poll() is None and time.monotonic() < until:
            look()
            time.sleep(0.02)
        code: int | str | None = process.poll()
        if code is None:
            process.kill()
            process.wait()
            code = "time-out"
    name = f"seed {spec.seed}"
    if not Path(spec.out).exists():
        logs = {path.name: path.read_text()[-300:] for path in folder.rglob("*.log")}
        total.faults.append(f"{name}: no result ({code}): {(folder / 'out.txt').read_text()[-400:]} {logs}")
        return None
    said = json.loads(Path(spec.out).read_bytes())
    killed = is_killed(said)
    alive = [ProcessId(*one) for one in said["processes"]]
    while killed and time.monotonic() < said["killed_at"] + GONE_S and any(one.alive for one in alive):
        time.sleep(0.005)
    if any(one.alive for one in alive):
        total.faults.append(f"{name}: processes are left")
    left = sorted(path.name for path in Path("/dev/shm").glob(f"*{said['instance']}*"))
    if left != (said["shared_memory"] if killed else []):
        total.faults.append(f"{name}: left in shared memory: {left}")
    unlink_leftovers(os.getuid(), said["instance"])  # as the next start does after the supervisor's death
    if said["exit_code"] not in (0, 3) or (not killed and code != 0):
        total.faults.append(f"{name}: ended with {code}, {said['exit_code']}: {said['notes'][-3:]}")
    return said


def is_killed(said: dict) -> bool:
    """Whether the supervisor was killed, and everybody with it."""
    return "supervisor" in said["found"]["victims"]


def add_up(said: dict, total: Total) -> None:
    """What a session saw of its kills."""
    found = said["found"]
    total.kills += len(found["victims"])
    for victim in found["victims"]:
        kind = victim.partition("-")[0]
        total.victims[kind] = total.victims.get(kind, 0) + 1
    for point, hits in found["points"].items():
        total.points[point] = total.points.get(point, 0) + hits
    total.unknown += 0 if is_killed(said) else said["unknown"]
    total.recovery_s += found["recovery_s"]


def one_session(spec: Any, total: Total) -> list[str]:
    """Run a session on paper, judge it, add it up; returns the blows that did not fall."""
    from oracle.recompute import KINDS, LOST, UNANSWERED, UNTOLD
    from rig.torture import in_flight, verdict

    said = said_by(spec, total)
    if said is None:
        return []
    found, report, name = said["found"], said["report"], f"seed {spec.seed}"
    fallen = [text for text in said["notes"] if "ended" in text]
    add_up(said, total)
    session = Path(said["session_folder"])
    result = verdict(session / "ledger.jsonl", session / "journal.bin", report)
    if any(result.kinds[kind] for kind in KINDS):
        total.faults.append(f"{name}: {result.problems[:5]} {fallen[-5:]}")
    total.in_flight += in_flight(session / "journal.bin", found["counts"])
    total.orders += len(result.requests)
    for kind, count in result.kinds.items():
        total.kinds[kind] = total.kinds.get(kind, 0) + count
    lost = sum(result.kinds[kind] for kind in (LOST, UNANSWERED, UNTOLD))
    line = {"seed": spec.seed, "kills": len(found["victims"]), "orders": len(result.requests), "lost": lost}
    line |= {kind: result.kinds[kind] for kind in KINDS} | {"points": found["points"], "exit": said["exit_code"]}
    total.seeds.append(line)
    return found["left"]


def live_session(spec: Any, total: Total, faults: str | None = None) -> list[str]:
    """The same live, on an exchange in a process of its own; who dies as supervisor is followed by another start."""
    from rig import live_torture as live
    from rig.torture import in_flight

    folder, name = Path(spec.folder), f"live seed {spec.seed}"
    counts, absent, last = [], [], None
    with live.exchange(folder / "exchange", spec.seed, live.FAULTS if faults is None else faults) as server:
        live.live_settings(folder, server, spec.style)

        def heal() -> None:
            """Everything has fallen, and is to become known."""
            if live.calm_file(spec).exists():
                server.heal()
                live.calm_file(spec).unlink()

        while True:
            said = said_by(spec, total, heal)
            if said is None:
                return []
            add_up(said, total)
            found = said["found"]
            counts += found["counts"]
            if last is not None:  # from one start to the open gate of the next there was nobody
                absent.append([last["ended_ns"], found["absent"][0][1] if found["absent"] else said["ended_ns"]])
            absent += found["absent"]
            if not is_killed(said):
                break
            Path(spec.out).unlink()
            last, spec = said, replace(spec, seed=spec.seed + 1, blows=tuple(found["left"]))
        held = live.held_by(server)
        server.conserved()
        server.stop()
        if said["report"] is None:
            total.faults.append(f"{name}: no report: {said['notes'][-3:]}")
            return []
        journal = Path(said["session_folder"]) / "journal.bin"
        result = live.live_verdict(server.ledger, journal, said["report"], said["ended_ns"], absent, held)
    if result.problems:
        total.faults.append(f"{name}: {result.problems[:5]}")
    total.orders += result.orders
    total.in_flight += in_flight(journal, counts)
    total.naked_s = max(total.naked_s, result.naked_ns / 1e9)
    for kind, count in result.kinds.items():
        total.kinds[kind] = total.kinds.get(kind, 0) + count
    line = {"live": spec.seed, "kills": len(counts), "orders": result.orders} | dict(result.kinds)
    total.seeds.append(line | {"exit": said["exit_code"]})
    return found["left"]


def result_of(total: Total) -> dict:
    """The object that is reported."""
    times = sorted(total.recovery_s) or [0.0]
    return {
        "kills": total.kills,
        "kills_with_order_in_flight": total.in_flight,
        "crash_points": dict(sorted(total.points.items())),
        "orders": total.orders,
        "unknown": total.unknown + total.kinds.get("unknown", 0),
        "lost": sum(total.kinds.get(kind, 0) for kind in ("lost", "unanswered", "untold")),
        "doubled": total.kinds.get("doubled", 0),
        "position_breaks": total.kinds.get("broken", 0),
        "naked_positions": total.kinds.get("naked", 0),
        "recovery_s": {
            "p50": times[len(times) // 2],
            "p99": times[min(len(times) - 1, len(times) * 99 // 100)],
            "max": times[-1],
        },
    }


def todo_of(kills: int, seed: int) -> list[str]:
    """Blows: each point equally often, at most FULL times, the rest at random moments."""
    from bot4.crash import CRASH_POINTS

    choose = random.Random(seed)
    names = CRASH_POINTS[1:]
    hits = max(1, min(FULL, kills * 3 // 4 // len(names)))
    blows = [name for name in names for _ in range(hits)]
    while len(blows) < kills:
        blows.append(choose.choice(RANDOM))
    choose.shuffle(blows)
    return blows


def shares_of(blows: list[str], seed: int) -> Iterator[tuple[list[str], int]]:
    """Blows of one session each, with its seed; what ends a session comes last in it."""
    last = [blow for blow in blows if blow in ("kill_cancel", "supervisor")]
    rest = [blow for blow in blows if blow not in last]
    number = 0
    while rest or last:
        share, rest = rest[:PART], rest[PART:]
        share += [last.pop()] if last else []
        yield share, seed * 1_000 + number
        number += 1


def torture(kills: int, seed: int, folder: Path, limit_s: float) -> Total:
    """Sessions on paper until every blow has fallen, or the time is over."""
    from rig.torture import Spec

    total, todo, round_ = Total(), todo_of(kills, seed), 0
    todo += ["supervisor"] * -(-kills // 50)
    began = time.monotonic()
    while todo and round_ < 5:
        missed = []
        for share, number in shares_of(todo, seed + 100 * round_):
            if time.monotonic() - began > limit_s:
                total.faults.append(f"the time is over with {kills - total.kills} kills to come")
                return total
            place = folder / str(number)
            spec = Spec(
                seed=number, blows=tuple(share), feed=f"synthetic:{number % 1_000_000}", style=number % 2,
                folder=str(place), out=str(place / "said.json"),
            )  # fmt: skip
            missed += one_session(spec, total)
            told = f"{total.kills} kills, {total.orders} orders, {len(total.faults)} faults"
            print(f"{told}, {time.monotonic() - began:.0f} s", flush=True)
        todo, round_ = missed, round_ + 1
    return total


def live_todo_of(kills: int, seed: int) -> list[str]:
    """Blows of live sessions: a quarter at the gateway's points, each at most FULL times, the rest by kind in turn."""
    from bot4.crash import GATEWAY_POINTS

    hits = max(1, min(FULL, kills // 4 // len(GATEWAY_POINTS)))
    blows = [name for name in GATEWAY_POINTS for _ in range(hits)]
    blows += [LIVE_KINDS[number % len(LIVE_KINDS)] for number in range(kills - len(blows))]
    random.Random(seed).shuffle(blows)
    return blows


def live_torture(kills: int, seed: int, folder: Path, total: Total, limit_s: float) -> None:
    """Live sessions until every blow has fallen, or the time is over."""
    from rig.live_torture import FAULTS, NEVER_LANDS
    from rig.torture import Spec

    todo, number, began = live_todo_of(kills, seed), 0, time.monotonic()
    while todo and number < 2 + 3 * kills // PART:
        if time.monotonic() - began > limit_s:
            total.faults.append(f"the time is over with {len(todo)} live kills to come")
            return
        share, todo = todo[:PART], todo[PART:]
        place = folder / f"live-{number}"
        spec = Spec(
            seed=seed * 100_000 + 1_000 * number, blows=tuple(share), feed="live", style=number % 2,
            orders=LIVE_ORDERS, folder=str(place), out=str(place / "said.json"),
        )  # fmt: skip
        todo += live_session(spec, total, FAULTS + NEVER_LANDS)
        number += 1
        told = f"live: {total.kills} kills, {total.victims}, {total.orders} orders, faults: {total.faults[-1:]}"
        print(f"{told}, {time.monotonic() - began:.0f} s", flush=True)
        shutil.rmtree(place) if not total.faults else None
    if todo:
        total.faults.append(f"live blows that never fell: {todo}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1_000, help="on paper")
    parser.add_argument("--live", type=int, default=0, help="kills of live sessions on bot4-exchange")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--limit-s", type=float, default=1e9, help="begin no session after so many seconds")
    parser.add_argument("--session", help="for the program itself")
    given = parser.parse_args()
    if given.session:
        from rig.live_torture import run_live_session
        from rig.torture import Spec, run_session

        fields = json.loads(given.session)
        spec = Spec(**{**fields, "blows": tuple(fields["blows"])})
        run_live_session(spec) if spec.feed == "live" else run_session(spec)
        return
    with tempfile.TemporaryDirectory(prefix="bot4-torture-") as name:
        total = torture(given.kills, given.seed, Path(name), limit_s=given.limit_s) if given.kills else Total()
        if given.live:
            live_torture(given.live, given.seed, Path(name), total, given.limit_s)
        if given.report:
            given.report.parent.mkdir(parents=True, exist_ok=True)
            with given.report.with_suffix(".seeds.jsonl").open("a") as seeds:
                for line in total.seeds:
                    seeds.write(json.dumps(line) + "\n")
    found = result_of(total)
    text = json.dumps(found, indent=2)
    print(text)
    bound = 300 / max(1, found["kills"])
    print(f"by victim: {total.victims}; 0 of {found['kills']} shows at most {bound:.2f} % (95 %)")
    if given.report:
        given.report.write_text(text + "\n")
    if total.faults:
        sys.exit("\n".join(total.faults[:20]))


if __name__ == "__main__":
    main()

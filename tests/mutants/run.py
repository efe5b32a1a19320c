"""Do the tests notice when a check is removed? Each patch here removes one and names the test that has to fail.

    # test: tests/unit/settings/test_loader.py::test_missing_field
    --- a/bot4/settings/loader.py
    +++ b/bot4/settings/loader.py
    ...

The tree is copied to a temporary folder, once for each core, with a compile cache of its own; there the named tests
first have to pass as they are, then each patch is applied and its test has to fail. Exit 1 if a mutant survives, a
patch no longer applies, or a test does not even run, or not to its end in time.

Usage: python tests/mutants/run.py [NAME ...]      NAME: part of a patch's file name
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from bot4.shm.segment import FOLDER as SEGMENTS
from bot4.shm.segment import owner_alive

REPOSITORY = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).resolve().parent
TIMEOUT_S = 600
TESTS_FAILED = 1  # pytest's exit code; the others say that no test ran
TIMED_OUT = -1  # proves nothing: the machine may have been busy


class Mutant(NamedTuple):
    """One patch and the test that has to notice it."""

    name: str
    path: Path
    test: str
    touched: tuple[str, ...]


def read_mutant(path: Path) -> Mutant:
    """A patch file; SystemExit if it does not name a test and a file."""
    text = path.read_text()
    test = re.match(r"# test: (\S+)\n", text)
    touched = tuple(re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE))
    if not test or not touched:
        raise SystemExit(f"{path.name}: the first line is '# test: path::name', then a unified diff with a/ and b/")
    return Mutant(path.stem, path, test[1], touched)


def copy_tree(target: Path) -> None:
    """All files of the repository that git knows or would take, with their times (the compile cache looks at them)."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)


def run_pytest(tree: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit code and output in the copy, whose sources come before those that are installed."""
    environment = dict(os.environ, PYTHONPATH=str(tree), BOT4_KERNEL_CACHE=str(tree / "build" / "kernels"))
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # a patch within the same second would meet the old bytecode
    environment.setdefault("BOT4_DATA", str(REPOSITORY.parent / "shared" / "data"))
    if not Path(environment["BOT4_DATA"]).is_absolute():
        environment["BOT4_DATA"] = str((REPOSITORY / environment["BOT4_DATA"]).resolve())
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT, "timed out"
    return done.returncode, done.stdout + done.stderr


def check_copy_is_imported(tree: Path) -> None:
    """The copy, not the installed tree, is what the tests see."""
    environment = dict(os.environ, PYTHONPATH=str(tree))
    command = [sys.executable, "-c", "import bot4, workers; print(bot4.__file__); print(workers.__file__)"]
    seen = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout.split()
    if not all(Path(path).resolve().is_relative_to(tree.resolve()) for path in seen):
        raise SystemExit(f"the tests would import {seen}, not the copy")


def failing_unpatched(tree: Path, tests: list[str]) -> set[str]:
    """Those tests that prove nothing, because they do not pass as the tree is."""
    code, _ = run_pytest(tree, tests)
    if code == 0:
        return set()
    return {test for test in tests if run_pytest(tree, [test])[0] != 0}


def end_leftovers(tree: Path) -> None:
    """End what a mutant left running: one that takes away the cleaning up leaves processes behind."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PYTHONPATH", "").split(os.pathsep)[-1] == str(tree):
                process.kill()


def try_mutant(tree: Path, mutant: Mutant) -> str:
    """'killed', or what is wrong."""
    patch = ["git", "apply", "--whitespace=nowarn", str(mutant.path)]
    environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(tree.parent))  # the copy is no repository
    applied = subprocess.run(patch, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if applied.returncode != 0:
        return f"does not apply: {applied.stderr.strip().splitlines()[-1]}"
    try:
        code, output = run_pytest(tree, [mutant.test])
    finally:
        end_leftovers(tree)
        for name in mutant.touched:
            shutil.copy2(REPOSITORY / name, tree / name)
    if code == TESTS_FAILED:
        return "killed"
    if code == 0:
        return "SURVIVED"
    if code == TIMED_OUT:
        return f"not proven: its test did not end within {TIMEOUT_S} s"
    return f"no test ran (exit {code}): {' '.join(output.split())[-200:]}"


def try_share(folder: Path, share: list[Mutant], tell: Callable[[str], None]) -> int:
    """Try some mutants in a copy of the tree of their own; returns how many were not killed."""
    tree = folder / "tree"
    copy_tree(tree)
    check_copy_is_imported(tree)
    tests = sorted({mutant.test for mutant in share})
    broken = failing_unpatched(tree, tests)
    tell(f"{len(tests) - len(broken)} of {len(tests)} named tests pass unpatched")
    bad = 0
    for mutant in share:
        start = time.monotonic()
        verdict = "its test fails unpatched" if mutant.test in broken else try_mutant(tree, mutant)
        bad += verdict != "killed"
        tell(f"{mutant.name:50}  {time.monotonic() - start:6.1f} s  {verdict}")
    return bad


def main() -> int:
    """Run the chosen mutants, a share on each core, and print the table."""
    wanted = sys.argv[1:]
    paths = [
        path for path in sorted(PATCHES.glob("*.patch")) if not wanted or any(part in path.stem for part in wanted)
    ]
    if not paths:
        print("no such mutant", file=sys.stderr)
        return 2
    mutants = sorted(map(read_mutant, paths), key=lambda mutant: (mutant.touched, mutant.test))  # one compile for many
    count = min(len(os.sched_getaffinity(0)), len(mutants))
    shares = [mutants[len(mutants) * at // count : len(mutants) * (at + 1) // count] for at in range(count)]

    before = set(SEGMENTS.glob("bot4.*"))

    def tell(text: str) -> None:
        print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="bot4-mutants-") as folder, ThreadPoolExecutor(count) as pool:
        running = [pool.submit(try_share, Path(folder) / str(at), share, tell) for at, share in enumerate(shares)]
        bad = sum(one.result() for one in running)
    for path in sorted(set(SEGMENTS.glob("bot4.*")) - before):
        if not owner_alive(f"/{path.name}"):
            path.unlink(missing_ok=True)
    print(f"{len(mutants) - bad} of {len(mutants)} mutants killed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""The kernel decorator: a cache that hits in the next process, and is never stale when anything below is edited."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.registry import CPUDispatcher

import bot4
import workers
from bot4.jit import JIT, cache_root, kernel, source_digest

SCRIPT = """
from tmp_strategy.top import answer
print(answer(4), sum(answer.stats.cache_hits.values()), sum(answer.stats.cache_misses.values()))
"""
TOP = """
from bot4.jit import kernel
from tmp_strategy.middle import middle

@kernel
def answer(x):
    return middle(x) + 1
"""
MIDDLE = """
from bot4.jit import inlined
import tmp_strategy.leaf as leaf

@inlined
def middle(x):
    return leaf.leaf(x) * 10
"""
LEAF = "from bot4.jit import inlined\n\n@inlined\ndef leaf(x):\n    return x + {}\n"


@pytest.fixture
def package(tmp_path) -> Path:
    folder = tmp_path / "tmp_strategy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "top.py").write_text(TOP)
    (folder / "middle.py").write_text(MIDDLE)
    (folder / "leaf.py").write_text(LEAF.format(0))
    return folder


def run(package: Path) -> tuple[int, int, int]:
    """The kernel's answer in a process of its own, with its cache hits and misses."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    environment |= {"PYTHONPATH": str(package.parent), "BOT4_KERNEL_CACHE": str(package.parent / "cache")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two edits within a second must both be seen
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    value, hits, misses = done.stdout.split()
    return int(value), int(hits), int(misses)


def test_the_second_process_hits_and_an_edit_two_imports_below_compiles_anew(package):
    assert run(package) == (41, 0, 1)
    assert run(package) == (41, 1, 0)
    (package / "leaf.py").write_text(LEAF.format(3))
    assert run(package) == (71, 0, 1)
    assert run(package) == (71, 1, 0)
    (package / "leaf.py").write_text(LEAF.format(0))
    assert run(package) == (41, 1, 0)  # the old code is still there under its own name


@pytest.mark.parametrize("line", ["from .leaf import leaf", "from . import leaf as leaves\nleaf = leaves.leaf"])
def test_relative_imports_are_followed_too(package, line):
    source = f"from bot4.jit import inlined\n{line}\n\n@inlined\ndef middle(x):\n    return leaf(x) * 10\n"
    (package / "middle.py").write_text(source)
    assert run(package)[0] == 41
    (package / "leaf.py").write_text(LEAF.format(5))
    assert run(package)[0] == 91


@pytest.mark.parametrize(
    "line",
    [
        "try:\n    from tmp_strategy.leaf import leaf\nexcept ImportError:\n    pass",
        "if True:\n    with open(__file__):\n        from tmp_strategy.leaf import leaf",
    ],
)
def test_an_import_within_a_statement_is_followed_too(package, line):
    source = f"from bot4.jit import inlined\n{line}\n\n@inlined\ndef middle(x):\n    return leaf(x) * 10\n"
    (package / "middle.py").write_text(source)
    assert run(package)[0] == 41
    (package / "leaf.py").write_text(LEAF.format(5))
    assert run(package)[0] == 91


def test_the_digest_covers_the_file_itself(package):
    before = source_digest(str(package / "leaf.py"))
    source_digest.cache_clear()
    (package / "leaf.py").write_text(LEAF.format(9))
    assert source_digest(str(package / "leaf.py")) != before


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BOT4_KERNEL_CACHE", str(tmp_path / "a"))
    assert cache_root() == tmp_path / "a"
    monkeypatch.delenv("BOT4_KERNEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_root() == tmp_path / "b" / "bot4" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "bot4" / "kernels"


def test_an_allocation_in_a_kernel_does_not_compile():
    if not JIT:
        return  # nothing is compiled
    import numpy as np

    @kernel
    def allocate(n):
        return np.zeros(n)[0]

    with pytest.raises(Exception, match="zeros"):
        allocate(3)


def test_every_kernel_keeps_its_nans_and_divides_as_numpy_does():
    """What the compiler was asked for, kernel by kernel: no fastmath, which would take guards against NaN away."""
    if not JIT:
        return  # nothing is compiled
    found = 0
    for package in (bot4, workers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for made in vars(importlib.import_module(module.name)).values():
                if not isinstance(made, CPUDispatcher):
                    continue
                for version in (made, made.callee):
                    asked = version.targetoptions
                    assert not asked.get("fastmath") and not asked.get("parallel"), made
                    assert (asked["error_model"], asked["nogil"], asked["_nrt"]) == ("numpy", True, False), made
                found += 1
    assert found > 300

"""The kernel decorator: a cache that hits in the next process, and is never stale when anything below is edited."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

import bot4
import workers
from bot4.jit import JIT, cache_root, inlined, kernel, outlined, source_digest

SCRIPT = """
from tmp_strategy.top import answer, middle
print(answer(4), *[sum(kind.values()) for kind in (answer.stats.cache_hits, answer.stats.cache_misses)])
print(*[sum(kind.values()) for kind in (middle.callee.stats.cache_hits, middle.callee.stats.cache_misses)])
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


def run_script(package: Path, script: str) -> str:
    """What a script prints in a process of its own, with a cache of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    environment |= {"PYTHONPATH": str(package.parent), "BOT4_KERNEL_CACHE": str(package.parent / "cache")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two edits within a second must both be seen
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def run_all(package: Path) -> list[int]:
    """The kernel's answer, its cache hits and misses, and those of what it calls."""
    return [int(word) for word in run_script(package, SCRIPT).split()]


def loaded(package: Path) -> str:
    """What of the compiler a process loads that calls the kernel."""
    names = ("numba.np.arraymath", "numba.np.random.legacy", "scipy.linalg")
    script = "import sys; from tmp_strategy.top import answer; answer(4); print(*set({}) & set(sys.modules))"
    return run_script(package, script.format(names))


def run(package: Path) -> tuple[int, ...]:
    """The kernel's answer, its cache hits and misses."""
    return tuple(run_all(package)[:3])


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


PARSES = "import ast, bot4.jit; count = []; parse = ast.parse; ast.parse = lambda *a: count.append(1) or parse(*a); "


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"a": 1}', b"\xff\x00", b"[" * 100_000])
def test_what_sources_import_is_kept_and_found_anew_where_that_is_damaged(package, damage):
    script = PARSES + "from tmp_strategy.top import answer; print(answer(4), len(count))"
    cache = package.parent / "cache" / "imports-1.json"
    value, parsed = map(int, run_script(package, script).split())
    assert value == 41 and parsed > 0
    assert run_script(package, script).split() == ["41", "0"]
    kept = cache.read_bytes()
    entries = json.loads(kept)
    cache.write_bytes(damage)
    assert int(run_script(package, script).split()[1]) == parsed
    assert json.loads(cache.read_bytes()).keys() >= entries.keys()
    for strange in (7, [1, 2], [[], [[99, "", []]]], [["os"], [[1, "a", [None]]]], [[], [], []], [[1], []]):
        cache.write_text(json.dumps(dict.fromkeys(entries, strange)))
        assert int(run_script(package, script).split()[1]) == parsed, strange
    cache.unlink()
    cache.mkdir()
    assert int(run_script(package, script).split()[1]) == parsed
    assert not [path for path in cache.parent.iterdir() if path.name.startswith("imports") and path != cache]


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


@pytest.mark.compiled
def test_what_kernels_call_is_kept_for_another_caller(package):
    assert run_all(package) == [41, 0, 1, 0, 1]
    assert run_all(package) == [41, 1, 0, 0, 0]  # whole: what it calls is in it
    (package / "top.py").write_text(TOP.replace("+ 1", "+ 2"))
    assert run_all(package) == [42, 0, 1, 1, 0]


@pytest.mark.compiled
def test_only_who_compiles_loads_the_compiler_and_nobody_loads_scipy(package):
    assert sorted(loaded(package).split()) == ["numba.np.arraymath", "numba.np.random.legacy"]
    assert loaded(package).split() == []


class Inner(NamedTuple):
    """A bundle in a bundle."""

    few: np.ndarray
    number: int


class Bundle(NamedTuple):
    """Arrays of all shapes."""

    line: np.ndarray
    table: np.ndarray
    block: np.ndarray
    part: np.ndarray  # every second row of another one
    rows: np.ndarray
    pair: tuple[np.ndarray, np.ndarray]
    inner: Inner


@outlined
def weigh(bundle, factor, out):
    """What a kernel can ask of the arrays of a bundle that it was passed."""
    shapes = 0
    for index in range(3):
        shapes = shapes * 100 + bundle.block.shape[index] * 10 + bundle.block.strides[index]
    out[0] += shapes * factor
    out[1] += bundle.table.size + bundle.table.nbytes * bundle.table.itemsize + bundle.table.strides[0]
    for row in range(bundle.table.shape[0]):
        out[2] += bundle.table[row, bundle.table.shape[1] - 1] * factor + bundle.table[row].sum()
    out[3] += bundle.part[1, 1] * factor + bundle.part.strides[0] + bundle.part.shape[0]
    out[4] += bundle.rows[2]["b"] + bundle.rows.strides[0] + bundle.pair[1][0] + len(bundle.pair[0])
    out[5] += bundle.inner.few[0] * bundle.inner.number + len(bundle.inner.few)
    for index in range(len(bundle.line)):
        out[6] += np.int64(bundle.line[index]) << index
    bundle.rows[0]["a"] += factor
    bundle.table[0, 0] += factor


@kernel
def weigh_twice(bundle, out):
    """Passes a bundle on, with two constants."""
    weigh(bundle, 3, out)
    weigh(bundle, 5, out)


def make_bundle(seed, length):
    """Arrays of random numbers."""
    random = np.random.default_rng(seed)
    rows = np.zeros(3, np.dtype([("a", "i8"), ("b", "i4"), ("c", "u1")], align=True))
    rows["b"] = random.integers(-1000, 1000, 3)
    return Bundle(
        random.integers(0, 200, length).astype(np.uint8),
        random.integers(-1000, 1000, (4, 7)),
        random.integers(0, 9, (2, 3, 5)).astype(np.int16),
        random.integers(-1000, 1000, (6, 3))[::2],
        rows,
        (random.integers(0, 9, 2), random.integers(0, 9, 3)),
        Inner(random.integers(0, 9, 2), 7),
    )


@pytest.mark.parametrize("length", [0, 1, 9])
def test_a_bundle_arrives_as_it_was_passed(length):
    ours, plain = make_bundle(length, length), make_bundle(length, length)
    out, expected = np.zeros(7, np.int64), np.zeros(7, np.int64)
    weigh_twice(ours, out)
    for factor in (3, 5):  # the same by plain Python
        getattr(weigh, "py_func", weigh)(plain, factor, expected)
    assert out.tolist() == expected.tolist()
    assert ours.rows.tolist() == plain.rows.tolist() and ours.table.tolist() == plain.table.tolist()


@kernel
def weigh_made(few, factor, out):
    """Makes bundles and passes them on; what they point to is written to meanwhile."""
    for number in range(3):
        make_one(few, number, factor, out)


@outlined
def make_one(few, number, factor, out):
    """Makes one, in a frame of its own."""
    made = Inner(few, number * factor)
    few[0] += number
    add_inner(made, out)
    out[1] += made.number + made.few[0]


@outlined
def add_inner(inner, out):
    """Writes to what its bundle points to, then reads it again."""
    inner.few[1] += inner.number
    out[0] += inner.few[0] * inner.number + inner.few[1]


def test_a_bundle_that_a_kernel_makes_is_passed_on_and_what_it_points_to_is_read_anew():
    few, out = np.array([5, 2]), np.zeros(2, np.int64)
    weigh_made(few, 10, out)
    assert few.tolist() == [8, 32]
    assert out.tolist() == [(0 + 2) + (60 + 12) + (160 + 32), 5 + (10 + 6) + (20 + 8)]


@kernel
def pick(few, more, number):
    """Binds a name again, to another bundle or to an earlier one, and looks at all of them."""
    first = Inner(few, 1)
    kept = last = first
    if number > 1:
        last = Inner(more, number)
    if number > 2:
        first, last = last, Inner(few, number + 1)
    both = (first, last)
    return both[0].few[0] * 100 + both[1].few[0] * 10 + kept.number + 1_000 * both[1].number


@pytest.mark.parametrize("number", [1, 2, 3])
def test_bundles_of_several_places_are_each_their_own(number):
    few, more = np.array([4.0]), np.array([7.0])
    assert pick(few, more, number) == getattr(pick, "py_func", pick)(few, more, number)


def hand_out(few):
    """Returns a bundle."""
    return Inner(few, 1)


def hand_out_two(few):
    """Returns it within tuples."""
    return 1, (Inner(few, 1), 2)


def hand_on(few):
    """Returns what it was passed, in a tuple."""
    return few, 1


def swap(few):
    """Keeps an earlier one while it makes the next."""
    kept, last, told = Inner(few, 1), Inner(few, 2), 0
    while told < 9:
        kept, last = last, Inner(few, kept.number)
        told += kept.number
    return told


def make_within(few):
    """Makes them within two loops, one under a condition."""
    made = Inner(few, 0)
    for number in range(3):
        for other in range(3):
            if other == number:
                made = Inner(few, other)
    return made.number


FEW = np.zeros(2)
REFUSED = {  # by name: the kernel, what it is called with, what it is told
    "returned": (hand_out, FEW, "hand_out returns a bundle"),
    "within tuples": (hand_out_two, FEW, "hand_out_two returns a bundle"),
    "passed on in a tuple": (hand_on, Inner(FEW, 1), "hand_on returns a bundle"),
    "in a loop": (swap, FEW, "swap makes a bundle in a loop, line [0-9]+: all would be the last one"),
    "in loops": (make_within, FEW, "make_within makes a bundle in a loop"),
}


@pytest.mark.compiled
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("deep", [False, True], ids=["called", "called by a kernel"])
def test_a_bundle_whose_memory_would_not_last_does_not_compile(case, deep):
    function, argument, told = REFUSED[case]
    made = kernel(function)

    @kernel
    def call(argument):
        made(argument)
        return 0

    with pytest.raises(Exception, match=told):
        (call if deep else made)(argument)


@kernel
def double(number):
    """Called by what is inlined."""
    return number * 2


@inlined
def double_more(number):
    """Inlined wherever it is called; what it calls is not."""
    return double(number) + 1


@kernel
def double_twice(number):
    """The root of the two."""
    return double_more(double_more(number))


@pytest.mark.compiled
def test_what_an_inlined_kernel_calls_is_not_forced_inline_itself():
    assert double_twice(4) == 19
    text = {}
    for made in (double, double_more):
        made.callee.compile((numba.int64,))  # from the cache, if it is not there already
        (part,) = made.callee.overloads.values()
        text[made] = str(part.library._final_module)
    assert "alwaysinline" in text[double_more] and "alwaysinline" not in text[double]


@pytest.mark.compiled
def test_what_kernels_call_is_compiled_once_for_all_constants(package):
    (package / "top.py").write_text(TOP.replace("middle(x) + 1", "middle(1) - middle(2) + middle(x)"))
    assert run_all(package) == [30, 0, 1, 0, 1]


def test_an_allocation_in_a_kernel_does_not_compile():
    if not JIT:
        return  # nothing is compiled

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

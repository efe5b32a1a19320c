"""Rules about the sources themselves: import floors, no registry's address, no clock or chance in a kernel."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
KERNEL_ROOMS = ("bot4/kernels", "bot4/strategies")
FORBIDDEN_IN_KERNELS = {"time", "random", "secrets", "datetime", "os", "threading", "uuid"}


def _files():
    """Every file that would be in a clone, or is about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode == 0:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := REPOSITORY / name).is_file()]
    hidden = (".venv", ".git", "build", "report", "state")
    return [
        path for path in REPOSITORY.rglob("*") if path.is_file() and path.relative_to(REPOSITORY).parts[0] not in hidden
    ]


def _kernel_files():
    return sorted(path for room in KERNEL_ROOMS for path in (REPOSITORY / room).rglob("*.py"))


def test_floors_of_the_house():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert "0 broken" in result.stdout


def test_no_file_names_a_package_registry():
    hosts = [
        b"".join(parts)
        for parts in ((b"py", b"pi.org"), (b"python", b"hosted"), (b"registry.", b"npmjs"), (b"crates", b".io"))
    ]
    found = [
        (str(path.relative_to(REPOSITORY)), host) for path in _files() for host in hosts if host in path.read_bytes()
    ]
    assert found == []


def test_requirements_are_pinned_by_hash_and_name_no_place():
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (REPOSITORY / name).read_text()
        entries = re.split(r"\n(?=[a-z])", text.strip())
        assert len(entries) > 10
        for entry in entries:
            assert re.match(r"[a-z0-9._-]+==[^ ]+ ", entry), entry[:80]
            assert "--hash=sha256:" in entry, entry[:80]
        assert "://" not in text and "-index" not in text and "find-links" not in text and "/" not in text


def test_development_pins_contain_the_runtime_pins():
    def pins(name):
        return set(re.findall(r"^([a-z0-9._-]+==[^ ]+)", (REPOSITORY / name).read_text(), re.MULTILINE))

    assert pins("requirements.txt") < pins("requirements-dev.txt")


@pytest.mark.parametrize("path", _kernel_files(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_kernels_know_no_clock_no_chance_and_one_spelling_of_njit(path):
    tree = ast.parse(path.read_bytes())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
            imported |= {alias.name for alias in node.names if node.module == "numpy"}
        elif isinstance(node, ast.Attribute):
            assert node.attr not in ("random", "rdtsc", "njit", "jit"), f"{path}:{node.lineno}: {node.attr}"
        elif isinstance(node, ast.keyword):
            assert node.arg not in ("fastmath", "parallel", "error_model"), f"{path}:{node.value.lineno}: {node.arg}"
        elif isinstance(node, ast.Global):
            pytest.fail(f"{path}:{node.lineno}: a kernel has no global that can change")
    assert not imported & FORBIDDEN_IN_KERNELS
    assert "numba" not in imported, "kernels are made by bot4.jit alone"


def test_njit_is_spelled_in_one_file():
    spelled = re.compile(r"^\s*(@numba\.|@njit|@jit|from numba import.*\bn?jit\b)|numba\.n?jit\(", re.MULTILINE)
    sources = [*(REPOSITORY / "bot4").rglob("*.py"), *(REPOSITORY / "workers").rglob("*.py")]
    assert [str(path.relative_to(REPOSITORY)) for path in sources if spelled.search(path.read_text())] == [
        "bot4/jit.py"
    ]


def test_packages_have_empty_init_files():
    full = [
        path for room in ("bot4", "workers") for path in (REPOSITORY / room).rglob("__init__.py") if path.read_text()
    ]
    assert full == []


def test_every_package_folder_has_an_init_file():
    rooms = {path.parent for room in ("bot4", "workers") for path in (REPOSITORY / room).rglob("*.py")}
    assert [str(room) for room in sorted(rooms) if not (room / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    "patch", sorted((REPOSITORY / "tests" / "mutants").glob("*.patch")), ids=lambda path: path.stem
)
def test_mutant_still_applies_and_names_a_test_that_is_there(patch):
    test = re.match(r"# test: ([^:\s]+)::(\w+)", patch.read_text())
    assert test, "the first line names the test that has to fail"
    assert re.search(rf"def {test[2]}\b", (REPOSITORY / test[1]).read_text()), test[0]
    command = ["git", "apply", "--check", str(patch)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _module_text(path):
    """A module's text with its lines joined, so that a path may follow its word on the next line."""
    return re.sub(r"\s+", " ", path.read_text())


def test_every_module_of_kernels_names_its_twin_and_every_twin_is_there():
    named = []
    rooms = ("kernels", "engine", "shm", "adapters/sim", "model")
    for path in sorted(file for room in rooms for file in (REPOSITORY / "bot4" / room).rglob("*.py")):
        text = _module_text(path)
        if re.search(r"@kernel def [a-z]", text):
            assert "Twin: " in text, f"{path.relative_to(REPOSITORY)} has kernels and names no twin"
        named += re.findall(r"Twin: (tests/\S+?\.py)", text)
    assert named
    assert [twin for twin in sorted(set(named)) if not (REPOSITORY / twin).is_file()] == []


def test_twins_import_nothing_of_what_they_check():
    allowed = "from bot4.model import enums as e"  # the numbers of codes, no code
    for path in sorted((REPOSITORY / "tests" / "reference").rglob("*.py")):
        ours = re.findall(r"^[ \t]*(?:from|import) (?:bot4|workers)\b.*$", path.read_text(), re.MULTILINE)
        assert set(ours) <= {allowed}, path.relative_to(REPOSITORY)


def _functions(body):
    """Functions of a module and of its classes, not those within functions."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body)


def test_every_function_that_is_no_kernel_is_annotated():
    """The type checker looks into annotated functions alone; kernels have Numba's types, all else needs its own."""
    spared = {REPOSITORY / "bot4" / f"{name}.py" for name in ("atomics", "compiler", "jit")}  # they make the kernels
    bare = []
    for path in sorted({*(REPOSITORY / "bot4").rglob("*.py"), *(REPOSITORY / "workers").rglob("*.py")} - spared):
        for function in _functions(ast.parse(path.read_bytes()).body):
            if {ast.unparse(mark) for mark in function.decorator_list} & {"kernel", "inlined", "outlined"}:
                continue
            taken = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
            untyped = [
                argument for argument in taken if argument.annotation is None and argument.arg not in ("self", "cls")
            ]
            if untyped or (function.returns is None and function.name != "__init__"):
                bare.append(f"{path.relative_to(REPOSITORY)}:{function.lineno} {function.name}")
    assert bare == []

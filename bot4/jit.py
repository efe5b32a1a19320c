"""`@kernel`, the only spelling of njit, and the cache that is never stale.

Numba's disk cache looks at the file that defines a function and not at what it calls: an edited callee goes unnoticed.
Here each kernel is cached in a folder named by the hash of every source file that its module reaches by
imports (standard library and installed packages left out), so an edit anywhere below it compiles anew.

Reference counting is off (`_nrt=False`, private in Numba, therefore spelled only here): it costs a locked add
per array, and without it an allocation inside a kernel is a compile error.
"""

import ast
import errno
import functools
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a forking template must have one thread

import numpy as np  # noqa: E402

# A process that only watches (supervisor, status, kill) asks for this before its first import of this file: kernels
# are then the plain functions they are written as, and Numba, 0.3 s and 100 MB, is never imported.
WATCHER = os.environ.get("BOT4_WATCHER") == "1"
if WATCHER:
    JIT = False
else:
    import numba

    JIT = not numba.config.DISABLE_JIT
if JIT:
    from numba.core.registry import cpu_target

    from bot4.compiler import Kernel, Part, PartCompiler, RootCompiler, outlined_functions

CRASH_FILE = os.environ.get("BOT4_CRASH", "")  # only a build for tests has places to die at: see `crash`

_INSTALLED = tuple(
    str(Path(sysconfig.get_paths()[key]).resolve()) for key in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = ("bot4", "workers")


def cache_root() -> Path:
    """Folder of all compiled kernels: BOT4_KERNEL_CACHE, else the user's cache folder."""
    configured = os.environ.get("BOT4_KERNEL_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bot4" / "kernels"


def cache_refusal() -> str:
    """Why compiled kernels cannot be kept, with the way out; "" if they can. Makes the folder."""
    return _refusal_of(cache_root())


@functools.cache
def _refusal_of(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return ""
        why = os.strerror(errno.EACCES)
    except OSError as error:
        why = str(error.strerror)
    return (
        f"the folder of compiled kernels {folder} cannot be written ({why}); "
        "set BOT4_KERNEL_CACHE to a folder that you may write"
    )


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements of a module, those inside others too; expressions hold no imports."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            todo += getattr(node, part, ())


def _parse(source: bytes) -> tuple[list[str], list[tuple[int, str, list[str]]]]:
    """What a source file imports: names of modules, and relative imports as (level, module, names)."""
    names: list[str] = []
    relative: list[tuple[int, str, list[str]]] = []
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            relative.append((node.level, node.module or "", [alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names, relative


def _is_parsed(found: Any) -> bool:
    """Whether this is what `_parse` returns, as it comes back from JSON."""
    if not (isinstance(found, list | tuple) and len(found) == 2 and all(isinstance(part, list) for part in found)):
        return False
    names, relative = found
    return all(isinstance(name, str) for name in names) and all(
        isinstance(one, list | tuple)
        and [type(part) for part in one] == [int, str, list]
        and 0 < one[0] < _MOST_LEVELS
        and all(isinstance(alias, str) for alias in one[2])
        for one in relative
    )


class _Parsed:
    """What sources import, by their hash: beside the compiled kernels, since to parse them takes a warm start 0.2 s."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._is_read = self._is_new = False

    def of(self, source: bytes, digest: str) -> Any:
        """As `_parse`."""
        if not self._is_read:
            self._is_read = True
            with suppress(OSError, ValueError, RecursionError):  # none yet, or not whole: it is made anew
                known = json.loads((cache_root() / _PARSED_FILE).read_bytes())
                self._known = known if isinstance(known, dict) else {}
        found = self._known.get(digest)
        if not _is_parsed(found):
            if len(self._known) >= _MOST_PARSED:  # of sources that have been edited since
                self._known.clear()
            found = self._known[digest] = _parse(source)
            self._is_new = True
        return found

    def keep(self) -> None:
        """Write what is new."""
        if not self._is_new:
            return
        self._is_new = False
        file = cache_root() / f"{_PARSED_FILE}.{os.getpid()}"
        try:
            file.write_text(json.dumps(self._known))
            file.replace(cache_root() / _PARSED_FILE)
        except OSError:
            with suppress(OSError):
                file.unlink()


_PARSED_FILE = "imports-1.json"  # the number is that of what `_parse` returns
_MOST_PARSED, _MOST_LEVELS = 4_096, 32
_parsed = _Parsed()


def _source(path: str) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    """Hash of a source file, names of modules that it imports, files that its relative imports may mean."""
    source = Path(path).read_bytes()
    digest = hashlib.sha256(source)
    names, relative = _parsed.of(source, digest.hexdigest())
    stems: list[Path] = []
    parents = Path(path).parents
    for level, module, aliases in relative:
        if level > len(parents):
            continue  # there is nothing above: the import fails by itself
        stem = parents[level - 1].joinpath(*module.split("."))
        stems += [stem, *(stem / alias for alias in aliases)]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return digest.digest(), tuple(names), tuple(str(file) for file in files if file.is_file())


def _follow(name: str, path: str) -> bool:
    return name.split(".")[0] in _OURS or not path.startswith(_INSTALLED)


def _source_of(name: str) -> str | None:
    path = getattr(sys.modules.get(name), "__file__", None)
    return path if path and path.endswith(".py") and _follow(name, path) else None


@functools.cache
def source_digest(path: str) -> str:
    """SHA-256 over a module's file and every source file it reaches by imports, with the versions that compile it."""
    seen: dict[str, bytes] = {}
    todo = [path]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen[current], names, files = _source(current)
        todo += [found for name in names if (found := _source_of(name))]
        todo += files
    _parsed.keep()
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {sys.version_info[:2]}".encode())
    for name in sorted(seen):
        digest.update(seen[name])
    return digest.hexdigest()[:24]


def _compile(function: Callable, **options) -> Callable:
    if WATCHER:
        return function
    refusal = _refusal_of(cache_root())
    if refusal:  # Numba would quietly keep its files elsewhere, where an edited callee goes unnoticed
        print(refusal, file=sys.stderr)
        raise SystemExit(2)  # nothing compiled can be imported: one line, whoever tried
    if not JIT:
        return function
    options.setdefault("forceinline", False)  # what is not said a kernel takes over from its first caller
    options |= {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    folder = cache_root() / (source_digest(function.__code__.co_filename) + ("-crash" if CRASH_FILE else ""))

    def version(kind: type, **more: Any) -> Any:
        numba.config.CACHE_DIR = str(folder if kind is Kernel else folder / "callee")
        try:
            made = numba.njit(**options, **more)(function)
        except KeyError:  # a Numba without the private option
            raise RuntimeError("this Numba does not know the option _nrt; install the pinned version") from None
        made.__class__ = kind
        return made

    # Two versions, compiled when they are first needed: what other kernels call has no door for Python, which is a
    # third of the time to compile where the arguments are bundles of arrays.
    made = version(Kernel, pipeline_class=RootCompiler)
    made.make_callee = functools.partial(version, Part, no_cpython_wrapper=True, pipeline_class=PartCompiler)
    return made


def is_compiled(function: Any) -> bool:
    """True if the cache has some version of a kernel as its sources are now, for Python or for other kernels."""
    folders = (Path(dispatcher.stats.cache_path) for dispatcher in (function, function.callee))
    return any(True for folder in folders for _ in folder.glob(f"*.{function.__name__}-*.nbi"))


def load_compiler() -> None:
    """Load what only compiling needs, for processes that are forked to compile."""
    if JIT:
        cpu_target.target_context.refresh()


def compile_callee(function: Any, *arguments: object) -> None:
    """Compile the version that other kernels call, for arguments of these types, and keep it in the cache."""
    if JIT:
        function.callee.compile(tuple(numba.typeof(argument) for argument in arguments))


def kernel(function: Callable) -> Callable:
    """Compile a function of scalars, records and arrays: cached, no GIL, no allocation, no fastmath, no parallel."""
    return _compile(function, _nrt=False)


def inlined(function: Callable) -> Callable:
    """A kernel that LLVM always inlines into its caller: for leaves of a few lines on the hot path."""
    return _compile(function, _nrt=False, forceinline=True)


def outlined(function: Callable) -> Callable:
    """A kernel that LLVM never inlines: off the hot path and called from many places, each of which it would fill."""
    if JIT:
        outlined_functions.add(function)
    return kernel(function)

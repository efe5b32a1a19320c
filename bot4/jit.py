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
import gc
import hashlib
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
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
    import llvmlite.binding as llvm
    from numba.core import typed_passes, untyped_passes
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
    from numba.core.compiler import Compiler
    from numba.core.compiler_machinery import PassManager
    from numba.core.registry import CPUDispatcher

    class _Code(JITCodeLibrary):
        """Compiled code as Numba keeps it, or a part: a kernel that only kernels call.

        Numba optimises and translates each function together with all that it calls, so what lies N calls deep is done
        N times. Nobody runs a part by itself: it is linked as it was written, and the kernel at the root, which Python
        calls, is optimised and translated with all of its parts, once.
        """

        part = False
        outlined = False

        def add_ir_module(self, ir_module):
            for function in ir_module.functions if self.outlined else ():
                if not function.is_declaration and "alwaysinline" not in function.attributes:
                    function.attributes.add("noinline")
            super().add_ir_module(ir_module)

        def _optimize_functions(self, ll_module):
            """The passes of a single function; of a part only what makes it small."""
            ll_module.data_layout = self._codegen._data_layout
            passes, builder = self._codegen._function_pass_manager(**({"opt": 1} if self.part else {}))
            for function in ll_module.functions:
                if not function.is_declaration:
                    passes.run(function, builder)

        def _optimize_final_module(self):
            if not self.part:
                super()._optimize_final_module()

        def _finalize_final_module(self):
            if self.part:
                self._finalize_dynamic_globals()
                self._finalized = True
            else:
                super()._finalize_final_module()

        def get_pointer_to_function(self, name):
            return 0 if self.part else super().get_pointer_to_function(name)

        @property
        def codegen(self):
            return self if self.part else super().codegen

        def set_env(self, name, env):
            """Nothing: a part has no globals of its own in memory."""

        def serialize_using_object_code(self):
            if not self.part:
                return super().serialize_using_object_code()
            return self.name, "part", self._get_module_for_linking().as_bitcode()

        @classmethod
        def _unserialize(cls, codegen, state):
            name, kind, data = state
            if kind != "part":
                return super()._unserialize(codegen, state)
            made = cls(codegen, name)
            made.part = made._finalized = True
            made._final_module = made._shared_module = llvm.parse_bitcode(data)
            return made

    JITCPUCodegen._library_class = _Code

    # Numba's passes without those for what no kernel has: closures, generators, expressions of whole arrays.
    _PASSES = (
        untyped_passes.TranslateByteCode,
        untyped_passes.FixupArgs,
        untyped_passes.IRProcessing,
        untyped_passes.DeadBranchPrune,
        untyped_passes.GenericRewrites,
        untyped_passes.ReconstructSSA,
        typed_passes.NopythonTypeInference,
        typed_passes.PreLowerStripPhis,
        typed_passes.NoPythonSupportedFeatureValidation,
        typed_passes.IRLegalization,
        typed_passes.AnnotateTypes,
        typed_passes.NativeLowering,
        typed_passes.NoPythonBackend,
    )
    _outlined: set[Callable] = set()

    class _RootCompiler(Compiler):
        """Compiles what Python calls. The collector rests meanwhile: it would go through every type again and again."""

        part = False

        def compile_extra(self, func):
            code = _Code(self.state.targetctx.codegen(), func.__qualname__)
            code.part, code.outlined = self.part, func in _outlined
            code.enable_object_caching()
            self.state.library = code
            resting = not gc.isenabled()
            gc.disable()
            try:
                return super().compile_extra(func)
            finally:
                if not resting:
                    gc.enable()

        def define_pipelines(self):
            passes = PassManager("kernel")
            for each in _PASSES:
                passes.add_pass(each, each.__name__)
            passes.finalize()
            return [passes]

    class _PartCompiler(_RootCompiler):
        """Compiles what kernels call."""

        part = True

    class _Part(CPUDispatcher):
        """What kernels call: compiled once for a type, where Numba does so for each constant that it is called with."""

        def get_call_template(self, args, kws):
            plain = numba.types.unliteral
            named = {name: plain(one) for name, one in kws.items()}
            return super().get_call_template(tuple(plain(one) for one in args), named)

    class _Kernel(CPUDispatcher):
        """What Python calls; other kernels know it by its part."""

        @property
        def _numba_type_(self):
            return numba.types.Dispatcher(self.callee)

    def _short_name(bundle):
        """A symbol's part for a bundle of arrays: its hash, where Numba spells every field of every record, 10 kB."""
        return bundle.instance_class.__name__, (hashlib.sha256(bundle.name.encode()).hexdigest()[:16],)

    numba.types.NamedTuple.mangling_args = property(_short_name)


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


@functools.cache
def _imports(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a source file imports: names of modules, and files that relative imports of a user's package may mean."""
    names: list[str] = []
    stems: list[Path] = []
    for node in _statements(ast.parse(Path(path).read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            stem = Path(path).parents[node.level - 1].joinpath(*(node.module or "").split("."))
            stems += [stem, *(stem / alias.name for alias in node.names)]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return tuple(names), tuple(str(file) for file in files if file.is_file())


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
        seen[current] = hashlib.sha256(Path(current).read_bytes()).digest()
        names, files = _imports(current)
        todo += [found for name in names if (found := _source_of(name))]
        todo += files
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
    options |= {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    # Two versions, compiled when they are first needed: what other kernels call has no door for Python, which is a
    # third of the time to compile where the arguments are bundles of arrays.
    folder = cache_root() / source_digest(function.__code__.co_filename)
    try:
        numba.config.CACHE_DIR = str(folder / "callee")
        callee = numba.njit(no_cpython_wrapper=True, pipeline_class=_PartCompiler, **options)(function)
        numba.config.CACHE_DIR = str(folder)
        made = numba.njit(pipeline_class=_RootCompiler, **options)(function)
    except KeyError:  # a Numba without the private option
        raise RuntimeError("this Numba does not know the option _nrt; install the pinned version") from None
    callee.__class__ = _Part
    made.__class__ = _Kernel
    made.callee = callee
    return made


def is_compiled(function: Any) -> bool:
    """True if the cache has some version of a kernel as its sources are now, for Python or for other kernels."""
    folders = (Path(dispatcher.stats.cache_path) for dispatcher in (function, function.callee))
    return any(True for folder in folders for _ in folder.glob(f"*.{function.__name__}-*.nbi"))


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
        _outlined.add(function)
    return kernel(function)

"""How kernels are compiled: Numba's compiler, less what no kernel needs of it.

What costs time in it is not LLVM but what goes before: types are inferred and functions written down as text, in
Python. So bundles of arrays are passed by address, what Numba asks itself again and again is remembered, and parts,
which only kernels call, are neither optimised nor translated by themselves. Nothing here changes what a kernel does.

Imported by `jit` alone, and only where something is compiled.
"""

import contextlib
import functools
import gc
import hashlib
import operator
from collections.abc import Callable

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numba
from llvmlite.binding import ffi
from numba.core import cgutils, event, typed_passes, untyped_passes
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.base import BaseContext
from numba.core.caching import Cache
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_getattr_generic
from numba.core.ir import Assign, Expr, Inst, Loc, Var
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.targetconfig import TargetConfig
from numba.core.types.functions import BaseFunction
from numba.core.typing.context import BaseContext as TypingContext
from numba.np import linalg

# --- bundles of arrays -----------------------------------------------------------------------------------------------


_bundles: dict[str, ir.Type] = {}  # address of a bundle as text: its fields


@register_default(numba.types.NamedTuple)
class _BundleModel(models.PrimitiveModel):
    """A bundle is the address of its fields, where Numba passes seven words for each array, at each call."""

    def __init__(self, manager, bundle):
        self.fields = ir.LiteralStructType([manager.lookup(field).get_value_type() for field in bundle.types])
        super().__init__(manager, bundle, self.fields.as_pointer())
        _bundles[str(self.be_type)] = self.fields


@functools.cache
def _size_of(fields, target):
    return fields.get_abi_size(target)


@lower_getattr_generic(numba.types.NamedTuple)
def _field(context, builder, bundle, address, name):
    return builder.load(cgutils.gep_inbounds(builder, address, 0, bundle.fields.index(name)))


_make_tuple = BaseContext.make_tuple


def _make_bundle(context, builder, kind, values):
    """A tuple of Numba's, or a bundle: its fields lie in the frame of the function that makes it."""
    if not isinstance(kind, numba.types.NamedTuple):
        return _make_tuple(context, builder, kind, values)
    address = cgutils.alloca_once(builder, context.data_model_manager[kind].fields)
    for index, value in enumerate(values):
        builder.store(value, cgutils.gep_inbounds(builder, address, 0, index))
    return address


BaseContext.make_tuple = _make_bundle


def _holds_bundle(kind):
    """True if a type is a bundle, or a tuple with one in it at any depth."""
    if isinstance(kind, numba.types.Optional):
        return _holds_bundle(kind.type)
    return isinstance(kind, numba.types.NamedTuple) or any(map(_holds_bundle, getattr(kind, "types", ())))


@register_pass(mutates_CFG=False, analysis_only=True)
class _BundlesLast(AnalysisPass):
    """Refuses bundles whose memory would be gone, or be the next one's: each place that makes one has memory for one.

    A function that returned would take it along, and a loop would make the next one where an earlier one is in use.
    """

    _name = "bundles_last"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        blocks, name = state.func_ir.blocks, state.func_id.func_qualname
        if _holds_bundle(state.return_type):
            raise TypeError(f"{name} returns a bundle: its memory would be gone; return what is in it")
        for loop in compute_cfg_from_blocks(blocks).loops().values():
            for made in (one for label in loop.body for one in blocks[label].find_insts(Assign)):
                called = isinstance(made.value, Expr) and made.value.op == "call"
                if called and isinstance(state.typemap[made.target.name], numba.types.NamedTuple):
                    raise TypeError(
                        f"{name} makes a bundle in a loop, line {made.loc.line}: all would be the last one; make it "
                        "before the loop, or in a kernel of its own that the loop calls"
                    )
        return False


# --- what is asked again and again -----------------------------------------------------------------------------------


def _same_config(ours, other):
    """Numba compares all options there are, at each look into one of its caches; here those that either one sets."""
    if not isinstance(other, TargetConfig):
        return NotImplemented
    if ours is other or ours._values == other._values:
        return True
    return type(ours) is type(other) and all(
        getattr(ours, name) == getattr(other, name) for name in ours._values.keys() | other._values.keys()
    )


TargetConfig.__hash__ = lambda config: hash(type(config))
TargetConfig.__eq__ = _same_config


def _variables(instruction, value):
    """Variables of an instruction, in order: nine of ten things that it holds are places in the source and names."""
    found = []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
    for part in parts:
        kind = type(part)
        if kind is Var:
            found.append(part)
        elif kind is Expr:
            found += _variables(part, part._kws)
        elif kind is not Loc and kind is not str:
            found += part.list_vars() if isinstance(part, Inst) else _nested(instruction, part)
    return found


def _nested(instruction, part):
    return _variables(instruction, part) if isinstance(part, (dict, list, tuple)) else []


Inst._rec_list_vars = _variables

_OPERATORS = frozenset(
    getattr(operator, name)
    for name in (
        *("add", "sub", "mul", "floordiv", "mod", "truediv", "and_", "or_", "xor", "lshift", "rshift"),
        *("iadd", "isub", "imul", "ifloordiv", "imod", "itruediv", "iand", "ior", "ixor", "ilshift", "irshift"),
        *("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "not_", "invert"),
    )
) | {bool, int, float, abs, max, min}
_NUMBERS = (numba.types.Integer, numba.types.Float, numba.types.Boolean)
_NUMBERS += (numba.types.IntegerLiteral, numba.types.BooleanLiteral)
_call_type = BaseFunction.get_call_type


def _remembered_call_type(function, context, args, kws):
    """What an operator makes of numbers: Numba asks all of its some dozen templates, each time."""
    if kws or function.key[0] not in _OPERATORS or not all(isinstance(arg, _NUMBERS) for arg in args):
        return _call_type(function, context, args, kws)
    known = function.__dict__.setdefault("known", {})
    asked = (context, *(numba.types.unliteral(arg) for arg in args))
    if asked not in known:
        known[asked] = _call_type(function, context, asked[1:], kws)
    return known[asked]


BaseFunction.get_call_type = _remembered_call_type


def _has_grown(context, *lists) -> bool:
    """True if a registry of a context holds more than when this was last asked."""
    sizes = [len(getattr(registry, name)) for registry in context._registries for name in lists]
    before, context.seen = context.__dict__.get("seen"), sizes
    return before != sizes


_refresh, _refresh_types = BaseContext.refresh, TypingContext.refresh


def _refresh_grown(context):
    """Numba looks through its registries at each function and at each file of compiled code."""
    while _has_grown(context, "functions", "getattrs", "setattrs", "casts", "constants"):
        _refresh(context)
    context.typing_context.refresh()


def _refresh_grown_types(context):
    while _has_grown(context, "functions", "attributes", "globals"):
        _refresh_types(context)


BaseContext.refresh = _refresh_grown
TypingContext.refresh = _refresh_grown_types


def _load(cache, signature, context):
    """Compiled code from disk: what only compiling needs, a third of the time of a warm start, is not loaded for it."""
    rtsys.initialize(context)
    with cache._guard_against_spurious_io_errors():
        return cache._load_overload(signature, context)


Cache.load_overload = _load


def _no_blas():
    """No kernel multiplies matrices; where SciPy is installed, looking for it takes as long as all of Numba."""
    raise ImportError


linalg.ensure_blas = _no_blas


# Nobody asks how long a function took, or the lock of LLVM was held: Numba adds it up at each call into LLVM.
event.install_timer = lambda kind, callback: contextlib.nullcontext()
for _calls in tuple(ffi.lib._lock._cblist):
    ffi.unregister_lock_callback(*_calls)


# --- roots and parts -------------------------------------------------------------------------------------------------


class _Code(JITCodeLibrary):
    """Compiled code as Numba keeps it, or a part: a kernel that only kernels call.

    Numba optimises and translates each function together with all that it calls, so what lies N calls deep is done
    N times. Nobody runs a part by itself: it is linked as it was written, and the kernel at the root, which Python
    calls, is optimised and translated with all of its parts, once.
    """

    part = False
    outlined = False

    def add_ir_module(self, ir_module):
        for function in ir_module.functions:
            for argument in function.args if not function.is_declaration else ():
                if str(argument.type) in _bundles:
                    self._note_bundle(argument)
        for function in ir_module.functions if self.outlined else ():
            if not function.is_declaration and "alwaysinline" not in function.attributes:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def _note_bundle(self, argument):
        """Nobody writes to a bundle: what was read from it need not be read again after a store."""
        for attribute in ("noalias", "captures(none)", "nonnull"):
            argument.add_attribute(attribute)
        fields = _bundles[str(argument.type)]
        argument.attributes.dereferenceable = _size_of(fields, self._codegen.target_data)

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
        """What is kept on disk: of a part what others link in, of a root what runs and the names in it."""
        if self.part:
            return self.name, "part", self._get_module_for_linking().as_bitcode()
        module = self._final_module
        named = [
            one.name for kind in (module.functions, module.global_variables) for one in kind if not one.is_declaration
        ]
        return self.name, "root", (self._get_compiled_object(), named)

    @classmethod
    def _unserialize(cls, codegen, state):
        name, kind, data = state
        made = cls(codegen, name)
        if kind == "part":
            made.part = made._finalized = True
            made._final_module = made._shared_module = llvm.parse_bitcode(data)
        else:
            code, named = data
            made.enable_object_caching()
            made._set_compiled_object(code)
            made._finalize_final_module()
            codegen._engine._defined_symbols.update(named)
        return made


JITCPUCodegen._library_class = _Code

# Numba's passes without those for what no kernel has: closures, generators, expressions of whole arrays; and without
# the one that writes types beside the source, for nobody.
_PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.DeadBranchPrune,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    _BundlesLast,
    typed_passes.PreLowerStripPhis,
    typed_passes.NoPythonSupportedFeatureValidation,
    typed_passes.IRLegalization,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)
outlined_functions: set[Callable] = set()


class RootCompiler(Compiler):
    """Compiles what Python calls. The collector rests meanwhile: it would go through every type again and again."""

    part = False

    def compile_extra(self, func):
        code = _Code(self.state.targetctx.codegen(), func.__qualname__)
        code.part, code.outlined = self.part, func in outlined_functions
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


class PartCompiler(RootCompiler):
    """Compiles what kernels call."""

    part = True


class Part(CPUDispatcher):
    """What kernels call: compiled once for a type, where Numba does so for each constant that it is called with."""

    def get_call_template(self, args, kws):
        plain = numba.types.unliteral
        named = {name: plain(one) for name, one in kws.items()}
        return super().get_call_template(tuple(plain(one) for one in args), named)


class Kernel(CPUDispatcher):
    """What Python calls; other kernels know it by its part, which is made for the first of them.

    Attributes
    ----------
    make_callee : function of no arguments that makes the part
    """

    @functools.cached_property
    def callee(self):
        return self.make_callee()

    @property
    def _numba_type_(self):
        return numba.types.Dispatcher(self.callee)


def _short_name(bundle):
    """A symbol's part for a bundle of arrays: its hash, where Numba spells every field of every record, 10 kB."""
    return bundle.instance_class.__name__, (hashlib.sha256(bundle.name.encode()).hexdigest()[:16],)


numba.types.NamedTuple.mangling_args = property(_short_name)

"""LLVM IR text -> optimised object code -> linked native functions, by way of llvmlite's ORC.

    imports = {"graphflow_parallel_for": pool.parallel_for_address()}
    library = compile_module(text, exports=["my_kernel"], imports=imports)
    address = library.address("my_kernel")

`optimise_and_emit` is text to object code and goes through the disk cache (`cache.py`); `link` makes object code
callable, in 0.2 ms. Object code holds no addresses (what a module only declares is a symbol, bound at link time), so it
can be kept.

Everything here may be called from several Python threads at once: llvmlite serialises single LLVM calls, and each
module has an LLVM context of its own. A process may be forked at any time: the fork waits for the LLVM call that runs.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ...errors import CompileError
from . import cache

__all__ = [
    "Level", "Library", "assembly", "compile_module", "features", "host_cpu", "link", "optimise_and_emit", "target_machine",
    "vector_bits",
]  # fmt: skip

Level = Literal["quick", "none", "light", "loops", "full"]
"""How much to optimise before instruction selection.

none   nothing (instruction selection and register allocation always run at their full level)
light  registers for stack slots, dead and duplicate code, control flow: for IR explicit about vectors and blocking
loops  light, and LLVM's simplification of functions for `program` and the functions beside it: for loops of scalars
full   LLVM's O3, with loop vectorisation: for scalar loops

Measured on the f32 matrix multiplication (90 kB of text): 64, 74 and 309 ms to compile, the same speed of the result.
"""
FORMAT = "1"
"""Part of every cache key; raise it when this file changes what is emitted for the same text."""

_lock = threading.Lock()
_numbers = itertools.count()


def _llvm_lock() -> Any:
    """The lock that llvmlite holds during each call into LLVM; None before llvmlite is loaded."""
    ffi = sys.modules.get("llvmlite.binding.ffi")
    return getattr(getattr(ffi, "lib", None), "_lock", None)


_held_by_fork: list[Any] = []


def _before_fork() -> None:
    """Wait until no other thread is inside LLVM: its own locks and data are copied as they are, and the child has
    nobody to finish what was begun."""
    lock = _llvm_lock()
    if lock is not None:
        lock.__enter__()
    _held_by_fork.append(lock)


def _after_fork() -> None:
    lock = _held_by_fork.pop()
    if lock is not None:
        lock.__exit__(None, None, None)


def _after_fork_in_child() -> None:
    """Another thread may have held our own lock when this process was forked."""
    global _lock
    _lock = threading.Lock()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _binding() -> Any:
    """`llvmlite.binding` with the native target ready. Imported at the first compile: it costs 90 ms."""
    from llvmlite import binding

    _initialise()
    return binding


@functools.cache
def _initialise() -> None:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    binding.initialize_native_asmparser()  # inline assembly


@functools.cache
def host_cpu() -> str:
    """LLVM's name of this machine's processor, such as `znver5`."""
    return str(_binding().get_host_cpu_name())


@functools.cache
def features() -> str:
    """This machine's processor features as LLVM spells them: `+avx2,-avx512f,...`, sorted."""
    return str(_binding().get_host_cpu_features().flatten())


def vector_bits(of: str | None = None) -> int:
    """The width of the widest vector registers, 512, 256 or 128, under the features `of` (this machine's by
    default)."""
    present = set((features() if of is None else of).split(","))
    if "+avx512f" in present:
        return 512
    return 256 if "+avx2" in present else 128


@functools.cache
def target_machine(opt: int = 3) -> Any:
    """The llvmlite TargetMachine of this machine's processor, one for the process and level of instruction selection."""
    binding = _binding()
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(
        cpu=host_cpu(), features=features(), opt=opt, reloc="pic", codemodel="jitdefault"
    )


@functools.cache
def _tool_versions() -> str:
    import llvmlite

    return f"llvmlite {llvmlite.__version__} llvm {'.'.join(map(str, _binding().llvm_version_info))}"


def optimise_and_emit(text: str, level: Level = "light") -> bytes:
    """Object code of a module's text for this machine, from the disk cache where it is there.

    Raises CompileError, with LLVM's message, for text that does not parse or verify.
    """
    key = cache.key_of(FORMAT, level, host_cpu(), features(), _tool_versions(), text)
    found = cache.load(key)
    if found is None:
        found = _compile(text, level)
        cache.store(key, found)
    return found


def assembly(text: str, level: Level = "light") -> str:
    """This machine's assembly of a module's text, for reading. Raises CompileError for text that does not verify."""
    module, machine = _optimised(text, level)
    with _lock:
        return str(machine.emit_assembly(module))


def _compile(text: str, level: Level) -> bytes:
    module, machine = _optimised(text, level)
    with _lock:  # a target machine emits one module at a time
        return bytes(machine.emit_object(module))


def _optimised(text: str, level: Level) -> tuple[Any, Any]:
    """The module of a text, verified and optimised, and the target machine to emit it with."""
    binding = _binding()
    context = binding.create_context()
    try:
        module = binding.parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM refuses a generated module: {error}") from error
    machine = target_machine(0 if level == "quick" else 3)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    if level not in ("none", "quick"):
        _optimise(binding, machine, module, level)
    return module, machine


def _optimise(binding: Any, machine: Any, module: Any, level: Level) -> None:
    options = binding.create_pipeline_tuning_options(3)
    options.loop_vectorization = level == "full"
    options.slp_vectorization = level == "full"
    builder = binding.create_pass_builder(machine, options)
    if level == "full":
        manager = builder.getModulePassManager()
    else:
        manager = binding.create_new_module_pass_manager()
        manager.add_always_inliner_pass()
        manager.add_sroa_pass()
        manager.add_instruction_combine_pass()
        manager.add_simplify_cfg_pass()
    manager.run(module, builder)
    if level == "loops":
        functions = builder.getFunctionPassManager()
        for function in module.functions:
            if function.name.startswith(("program", "function")):
                functions.run(function, builder)


class Library:
    """Linked native code. Its addresses stay valid as long as the library is referenced; the code goes when it goes."""

    def __init__(self, tracker: Any, exports: Iterable[str]):
        self._tracker = tracker
        self._addresses = {name: int(tracker[name]) for name in exports}

    def address(self, name: str) -> int:
        """The address of an exported symbol; KeyError for a name that was not exported."""
        return self._addresses[name]

    def keep_forever(self) -> None:
        """Never unload this code, not even at interpreter exit: for code that native threads may still be running
        then."""
        self._tracker.detach()


@functools.cache
def _jit() -> Any:
    binding = _binding()
    jit = binding.create_lljit_compiler(target_machine(), use_jit_link=True, suppress_errors=True)
    # llvmlite's own mark for "somebody else disposes of it". Otherwise Python would dispose of the JIT at interpreter
    # exit and unmap code that the pool's threads are still running.
    jit._owned = True
    return jit


def link(object_code: bytes, exports: Iterable[str], imports: Mapping[str, int] | None = None) -> Library:
    """Load object code and bind its undefined symbols: to `imports` (name -> address), else to this process's C
    library.

    Raises CompileError for an export that is not defined or a symbol that is found nowhere.
    """
    names = list(exports)
    builder = _binding().JITLibraryBuilder().add_object_img(object_code).add_current_process()
    for name, address in (imports or {}).items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    try:
        with _lock:  # two threads at once must not make two of them
            jit = _jit()
        # Names of libraries cannot be reused in a JIT; the process id keeps profiles of forked children apart.
        tracker = builder.link(jit, f"graphflow-{os.getpid()}-{next(_numbers)}")
    except RuntimeError as error:
        raise CompileError(f"native code does not link: {error}") from error
    return Library(tracker, names)


def compile_module(
    text: str, exports: Iterable[str], imports: Mapping[str, int] | None = None, level: Level = "light"
) -> Library:
    """`optimise_and_emit` and `link` in one."""
    return link(optimise_and_emit(text, level), exports, imports)

"""Looking into a function: ir, stages, kernels, explain, verify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .explain import Explanation, report_of

__all__ = ["Inspection", "Verification"]


@dataclass(frozen=True)
class Verification:
    """Result of fn.verify: whether graph mode gave eager's bits; if not, the first differing output, node and pass."""

    equal: bool
    outputs: int
    message: str

    def __bool__(self) -> bool:
        return self.equal


class Inspection:
    """Methods of functions that show what the compiler made of them."""

    def ir(self, *args: Any, stage: str = "final", **kwargs: Any) -> str:
        """The graph as text after a stage: "traced", a pass's name ("canonicalise", "fuse" ...) or "final"."""
        executable = self.get_concrete_function(*args, **kwargs).executable  # type: ignore[attr-defined]
        if stage == "final":
            return str(executable.graph)
        if stage == "traced":
            return str(executable.traced)
        names = [s.name for s in executable.stages]
        if stage not in names:
            raise ValueError(f"no stage {stage!r}; the stages are traced, {', '.join(names)}, final")
        return str([s for s in executable.stages if s.name == stage][-1].graph)

    def stages(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Every pass in order: its graph, node counts before and after, rewrites and time."""
        return list(self.get_concrete_function(*args, **kwargs).executable.stages)  # type: ignore[attr-defined]

    def kernels(self, *args: Any, form: str = "nest", **kwargs: Any) -> str:
        """The kernels as readable loop nests; form="llvm": the emitted IR, "asm": this machine's assembly, "python":
        CUDA source, "ptx": its PTX, where numba-cuda is installed (no GPU is needed)."""
        program = self.get_concrete_function(*args, **kwargs).executable.program  # type: ignore[attr-defined]
        return kernels_text(program, form)

    def explain(self) -> Explanation:
        """Every trace with its cause, cost and use, the traces that were dropped, and every remark of the passes
        (unfused edges, placement, fallbacks) and of the tracer (side effects, unguarded values)."""
        cache = self._cache  # type: ignore[attr-defined]
        entries = list(cache.entries)
        remarks = [r for c in entries for r in (*c.remarks, *c.executable.remarks)]
        dropped = [replace(report, state=why) for report, why in cache.dropped]
        limit, _ = self._budget()  # type: ignore[attr-defined]
        return Explanation(self.name, [report_of(c) for c in entries], remarks, dropped, cache.made, limit)  # type: ignore[attr-defined]

    def verify(self, *args: Any, **kwargs: Any) -> Verification:
        """Run these arguments eagerly and compiled (variables restored in between) and compare bit for bit. Where they
        differ, names the output and, by bisecting the passes' rewrites, the first pass and rewrite that changes it."""
        return verify(self, args, kwargs)


def kernels_text(program: Any, form: str) -> str:
    """The kernels of a program in one of the forms of fn.kernels."""
    if form == "nest":
        return "\n\n".join(map(str, program.nests))
    if form == "llvm":
        return str(program.text)
    if form == "asm":
        from ..runtime.cpu.llvm import assembly

        return assembly(program.text)
    if form == "python":
        from ..runtime.cuda.source import print_kernels

        return print_kernels(program.nests)
    if form == "ptx":
        from ..runtime.cuda.kernels import kernels_ptx

        return kernels_ptx(program.nests)
    raise ValueError(f"no form {form!r}; the forms are nest, llvm, asm, python, ptx")


def same_bits(a: Any, b: Any) -> bool:
    """Equal dtype, shape and bytes, where any NaN equals any NaN."""
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.tobytes() == y.tobytes():
        return True
    if x.dtype.kind != "f":
        return False
    nan = np.isnan(x) & np.isnan(y)
    return bool(np.all(nan | ((x == y) & (np.signbit(x) == np.signbit(y)))))


def verify(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Verification:
    """See Inspection.verify."""
    from ..tensor import Tensor
    from ..tree import flatten

    inner = function
    if hasattr(function, "_instance"):
        inner, args = function._function, (function._instance, *args)
    arguments = inner._arguments(args, kwargs)
    concrete, extents = inner._find_or_trace(arguments)
    variables = [v for _, v in concrete.captured] + list(arguments.variables)
    before = [v._array.copy() for v in variables]

    def restore() -> None:
        for variable, array in zip(variables, before, strict=True):
            np.copyto(variable._array, array)

    def collect(run: Any) -> list[Any]:
        try:
            results = [r._array for r in flatten(run()) if isinstance(r, Tensor)]
            return results + [v._array.copy() for v in variables]
        finally:
            restore()

    eager = collect(lambda: concrete.pack(concrete.interpret(arguments.tensors, arguments.variables)))
    compiled = collect(lambda: concrete.run(arguments.tensors, arguments.variables, extents))
    for number, (a, b) in enumerate(zip(eager, compiled, strict=True)):
        if not same_bits(a, b):
            _report(concrete, arguments)
            return Verification(False, len(eager), _bisect(concrete, arguments, extents, eager, collect, number))
    return Verification(
        True, len(eager), f"{inner.name}: {len(eager)} results have the same bits in eager and graph mode"
    )


def _report(concrete: Any, arguments: Any) -> None:
    """Write a reproduction of the differing call, where that is asked for."""
    from ..errors import VerifyError
    from .reproduce import report_failure

    problem = VerifyError(f"{concrete.name}: eager and graph mode give other bits")
    report_failure(problem, concrete, arguments.tensors, arguments.variables)


def _bisect(concrete: Any, arguments: Any, extents: Any, eager: list[Any], collect: Any, number: int) -> str:
    """Name the first rewrite after which the results differ."""
    from ..compiler import compile_graph, optimise

    def differs(fuel: int) -> bool:
        trial = replace(
            concrete, _executable=compile_graph(concrete.graph, fuel=fuel), _bindings={}, _calls={}, _seen={}
        )
        found = collect(lambda: trial.run(arguments.tensors, arguments.variables, extents))
        return not all(same_bits(a, b) for a, b in zip(eager, found, strict=True))

    total = sum(s.rewrites for s in optimise(concrete.graph)[1])
    if differs(0):
        return f"result {number} differs before any rewrite: a kernel alone gives other bits than eager mode"
    low, high = 0, total
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(middle) else (middle, high)
    context = optimise(concrete.graph, fuel=high)[2]
    return f"result {number} differs from rewrite {high} on: {context.last_rewrite}"

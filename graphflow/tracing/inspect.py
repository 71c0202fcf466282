"""Looking into a function: ir, stages, kernels, explain, verify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .calls import Call, prepare_call
from .differing import enclosing, first_difference, same_bits
from .explain import Explanation, report_of

__all__ = ["Inspection", "Verification", "same_bits"]


@dataclass(frozen=True)
class Verification:
    """Result of fn.verify: whether graph mode gave eager's bits. If not, `message` says all that was found out; rewrite and
    pass_name: the first rewrite that changes the result, and its pass; node: where that is, or, if kernels give other bits
    without any rewrite, the first node that does (with the iterations and branches around it)."""

    equal: bool
    outputs: int
    message: str
    rewrite: int = 0
    pass_name: str = ""
    node: str = ""

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

    def memory(self, *args: Any, **kwargs: Any) -> Any:
        """The memory that a call is planned to need, before it runs: the peak, the values alive there with their lines, and
        a timeline (a memory.MemoryReport; str() is a readable report). With TensorSpecs, formulas of the open extents."""
        from .memory import memory

        return memory(self, args, kwargs)

    def profile(self, *args: Any, repeats: int = 20, **kwargs: Any) -> Any:
        """Time and bytes of every kernel on your lines (a profile.Profile; str() is a table, `to_chrome_trace(path)` writes
        a trace). Runs the call 2 * repeats + 4 times, with all it prints; variables are restored afterwards."""
        from .profile import profile

        return profile(self, args, kwargs, repeats)

    def view(self, path: Any, *args: Any, **kwargs: Any) -> str:
        """Write one HTML file that shows the call's graph, each pass's diff, the source, kernels, memory and remarks, and
        needs no network; returns its path. The call is not run."""
        from .view import view

        return view(self, path, args, kwargs)

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


def verify(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Verification:
    """See Inspection.verify."""
    from ..tensor import Tensor
    from ..tree import flatten

    call = prepare_call(function, args, kwargs)
    concrete, arguments = call.concrete, call.arguments

    def collect(run: Any) -> list[Any]:
        with call.variables_restored():
            results = [r._array for r in flatten(run()) if isinstance(r, Tensor)]
            return results + [v._array.copy() for v in call.variables]

    eager = collect(lambda: concrete.pack(concrete.interpret(arguments.tensors, arguments.variables)))
    compiled = collect(call.run)
    for number, (a, b) in enumerate(zip(eager, compiled, strict=True)):
        if not same_bits(a, b):
            _report(concrete, arguments)
            return _bisect(call, eager, collect, number)
    return Verification(
        True, len(eager), f"{concrete.name}: {len(eager)} results have the same bits in eager and graph mode"
    )


def _report(concrete: Any, arguments: Any) -> None:
    """Write a reproduction of the differing call, where that is asked for."""
    from ..errors import VerifyError
    from .reproduce import report_failure

    problem = VerifyError(f"{concrete.name}: eager and graph mode give other bits")
    report_failure(problem, concrete, arguments.tensors, arguments.variables)


def _bisect(call: Call, eager: list[Any], collect: Any, number: int) -> Verification:
    """Name the first rewrite after which the results differ; if there is none, the first node that differs."""
    from ..compiler import compile_graph, optimise

    graph = call.concrete.graph

    def differs(fuel: int) -> bool:
        trial = call.with_executable(compile_graph(graph, fuel=fuel))
        return not all(same_bits(a, b) for a, b in zip(eager, collect(trial.run), strict=True))

    total = sum(s.rewrites for s in optimise(graph)[1])
    if differs(0):
        node = _differing_node(call)
        text = f"result {number} differs before any rewrite: a kernel alone gives other bits than eager mode"
        if node is not None:
            text += f". The first node that differs: {node}"
        return Verification(False, len(eager), text, node=str(node or ""))
    if not differs(total):
        return Verification(False, len(eager), f"result {number} differs from run to run, with the same rewrites")
    low, high = 0, total
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(middle) else (middle, high)
    rewrite = optimise(graph, fuel=high)[2].last_rewrite
    text = f"result {number} differs from rewrite {high} on: {rewrite}"
    around = enclosing(graph, rewrite.source) if rewrite is not None and rewrite.source is not None else None
    if around:
        text += f", in {', in '.join(reversed(around))}"
    return Verification(
        False,
        len(eager),
        text,
        high,
        rewrite.pass_name if rewrite else "",
        str(rewrite.source or "") if rewrite else "",
    )


def _differing_node(call: Call) -> Any:
    """The first node that differs without rewrites; None where it cannot be told."""
    from ..errors import GraphflowError

    if call.concrete.calls_python:  # not to be run again, node by node
        return None
    try:
        with call.variables_restored():
            return first_difference(call.concrete, call.arguments.tensors, call.arguments.variables, 0)
    except GraphflowError:  # a part of the graph cannot be compiled by itself
        return None

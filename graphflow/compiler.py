"""Graph -> executable: the only module that joins passes, kernels and runtime."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import config
from .errors import (
    AssertionFailedError,
    DivisionByZeroError,
    GraphflowError,
    IndexOutOfRangeError,
    InvalidArgumentError,
    MatrixError,
)
from .ir.dims import Dim, DimensionsMustAgree, evaluate, symbol, symbols_of
from .ir.graph import Graph, Node, Value, comparable
from .ir.op import Control, Op
from .ir.source import Source
from .ir.types import CPU, TensorType
from .locks import renew_after_fork
from .passes.manager import PassContext, Stage, run_pipeline
from .passes.pipeline import PIPELINE
from .passes.plan_control import plan_program
from .runtime.cpu.program import build_program, locate
from .runtime.cpu.steps import RowCheck
from .runtime.faults import NEXT_STEP_FINITE, fault_text

__all__ = ["Executable", "compile_graph", "optimise", "prepare_op"]


def evaluate_known(dim: Dim, extents: Mapping[str, int]) -> int | None:
    """The extent as a number, or None if it names a symbol that is not among the extents."""
    return evaluate(dim, extents) if symbols_of(dim) <= extents.keys() else None


@dataclass
class Executable:
    """A compiled graph. `bind(variables, extents)` gives a callable on arrays; bindings are kept by extents."""

    traced: Graph
    graph: Graph
    stages: list[Stage]
    remarks: list[Any]
    program: Any
    compile_milliseconds: float
    backend: str = "cpu"
    _bindings: dict[Any, Any] = field(default_factory=dict)

    def bind(
        self, variables: Mapping[Value, np.ndarray[Any, Any]], extents: Mapping[str, int], callback: Any = None
    ) -> Any:
        key = tuple(extents[name] for name in self.graph.symbols)
        found = self._bindings.get(key)
        if found is None:
            found = self._bindings[key] = self.program.bind(variables, extents, callback)
        return found

    def output_shapes(self, extents: Mapping[str, int]) -> list[tuple[int | None, ...]]:
        """The outputs' shapes for these extents of the inputs; None stands for an extent that only the run decides."""
        return [tuple(evaluate_known(d, extents) for d in v.type.shape) for v in self.graph.outputs]


def optimise(graph: Graph, fuel: int | None = None) -> tuple[Graph, list[Stage], PassContext]:
    """Run the pipeline; returns the final graph, every stage and the context (remarks)."""
    context = PassContext(fuel=config.flags().fuel if fuel is None else fuel, evaluate=evaluate_node)
    final, stages = run_pipeline(graph, PIPELINE, context)
    return final, stages, context


def compile_graph(graph: Graph, fuel: int | None = None) -> Executable:
    """Optimise, plan memory, emit, compile and link. Raises CompileError naming the stage and the user's line."""
    start = time.perf_counter()
    final, stages, context = optimise(graph, fuel)
    program, backend = build(final)
    return Executable(graph, final, stages, context.remarks, program, (time.perf_counter() - start) * 1e3, backend)


def build(final: Graph, profile: bool = False) -> tuple[Any, str]:
    """The program of an optimised graph, and the back end that runs it. profile: count what each step costs (CPU only)."""
    plan = plan_program(final)
    if any(v.type.device != CPU for n in final.nodes for v in n.outputs):
        from .runtime.cuda.program import build_program as build_cuda

        return build_cuda(final, plan, plan_program), "cuda"
    return build_program(final, plan, profile), "cpu"


# Run-time errors -------------------------------------------------------------------------------------------------------
_ERRORS: dict[str, tuple[type[GraphflowError], str, str]] = {
    "division_by_zero": (
        DivisionByZeroError,
        "integer division by zero",
        "guard the divisor with gf.where, or use floats",
    ),
    "index_out_of_range": (IndexOutOfRangeError, "index out of range", "clip the indices, or check how they are made"),
    "negative_exponent": (InvalidArgumentError, "integer power with a negative exponent", "cast to float first"),
    "not_finite": (InvalidArgumentError, "the tensor must be finite", NEXT_STEP_FINITE),
    "negative_extent": (InvalidArgumentError, "an extent must not be negative", "look at how the number is made"),
    "singular": (MatrixError, "the matrix is singular or has NaN", "add a multiple of gf.eye, or use gf.linalg.lstsq"),
    "indefinite": (MatrixError, "the matrix is not positive definite or has NaN", "add a multiple of gf.eye"),
    "no_convergence": (MatrixError, "the iteration did not converge", "look for NaN and infinities in the matrix"),
    "assertion": (AssertionFailedError, "assertion failed", "see the condition on this line"),
}


def runtime_error(binding: Any, status: int) -> GraphflowError:
    """The exception of a call's status: op, element and the user's line."""
    check, element = locate(binding.program.checks, status)
    if hasattr(check.message, "exception"):  # what the user's code raises here, without values in its message
        raised: GraphflowError = check.message.exception(())
        return raised
    kind, text, step = _ERRORS.get(check.kind, (InvalidArgumentError, check.kind, "see the values on this line"))
    if isinstance(check, RowCheck):
        rows = evaluate_known(check.extent, binding.extents)
        position = f": index {check.index(element)}" + ("" if rows is None else f", extent {rows}")
    else:
        position = _place_of(element, [evaluate_known(d, binding.extents) for d in check.shape])
    error = kind(f"{check.op}: {check.message or text}{position}")
    error.hint = step
    if check.source is not _EAGER_SOURCE and check.source.file != _EAGER_SOURCE.file:
        error.place = check.source
    return error


def _place_of(element: int, shape: Sequence[int | None]) -> str:
    """An element's indices as text, as far as the shape is known: the first extent is not needed for them."""
    inner = [extent for extent in shape[1:] if extent is not None]
    if not shape or len(inner) < len(shape) - 1 or 0 in inner:
        return ""
    indices = []
    for extent in reversed(inner):
        element, index = divmod(element, extent)
        indices.append(index)
    beyond = shape[0] is not None and element >= shape[0]
    return "" if beyond else f" at {[element, *reversed(indices)]}"


# Eager: one-node graphs -----------------------------------------------------------------------------------------------
_EAGER_SOURCE = Source("eager", 1, 0, "")
_eager: dict[Any, Executable] = {}
_eager_lock = threading.RLock()


def renew_locks() -> None:
    """In a forked child."""
    global _eager_lock
    _eager_lock = threading.RLock()


renew_after_fork(sys.modules[__name__])


def generic_types(shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> tuple[list[TensorType], dict[str, int]]:
    """Types with a symbol for each distinct extent other than 1, and the symbols' values: one kernel serves every size."""
    names: dict[int, str] = {}
    types = []
    for shape, dtype in zip(shapes, dtypes, strict=True):
        dims = [1 if extent == 1 else symbol(names.setdefault(extent, f"n{len(names)}")) for extent in shape]
        types.append(TensorType(dtype, tuple(dims)))
    return types, {name: extent for extent, name in names.items()}


def prepare_op(
    op: Op, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], attributes: Mapping[str, Any]
) -> Callable[[Sequence[np.ndarray[Any, Any]]], list[np.ndarray[Any, Any]]]:
    """A function that runs one op on arrays of these shapes and dtypes through its own kernel (eager mode, constant folding).
    Kernels are compiled once for each op, dtypes, ranks and attributes, not for each shape. Raises what the op's type rule raises."""
    types, extents = generic_types(shapes, dtypes)
    one_shape = isinstance(op.kernel, Control)  # its sub-graphs have the types of its operands
    if not one_shape:
        try:
            op.result_types(tuple(types), attributes)
        except DimensionsMustAgree:  # the attributes name extents
            one_shape = True
    if one_shape:
        types, extents = [TensorType(d, s) for s, d in zip(shapes, dtypes, strict=True)], {}
    key = (op.name, tuple(types), tuple((k, comparable(v)) for k, v in sorted(attributes.items())))
    executable = _eager.get(key)
    if executable is None:
        with _eager_lock:
            executable = _eager.get(key)
            if executable is None:
                executable = _eager[key] = compile_graph(one_node_graph(op, types, attributes))
    binding = executable.bind({}, extents)

    def fault(status: int, arrays: Sequence[np.ndarray[Any, Any]]) -> GraphflowError:
        error = runtime_error(binding, status)
        error.args = (fault_text(str(error.args[0]), op, arrays, attributes),)
        return error

    if binding.dynamic_outputs:

        def run_dynamic(arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
            status, outputs = binding.run(arrays)
            if status:
                raise fault(status, arrays)
            return outputs

        return run_dynamic
    made: list[Any] = [
        (shape, v.type.dtype.numpy)
        for shape, v in zip(executable.output_shapes(extents), executable.graph.outputs, strict=True)
    ]
    call, empty = binding.call, np.empty

    def run(arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        outputs = [empty(shape, dtype) for shape, dtype in made]
        status = call(*arrays, *outputs)
        if status:
            raise fault(status, arrays)
        return outputs

    return run


def one_node_graph(op: Op, types: Sequence[TensorType], attributes: Mapping[str, Any]) -> Graph:
    inputs = [Value(t, name=f"x{k}") for k, t in enumerate(types)]
    node = Node(op, inputs, attributes, _EAGER_SOURCE)
    return Graph(op.name, tuple(inputs), (node,), node.outputs)


def evaluate_node(node: Node, arrays: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """A pure node on concrete arrays, with the bits that eager mode gives (constant folding)."""
    function = node.op.numpy_call([v.type.dtype for v in (*node.inputs, *node.outputs)])
    if function is not None:
        with np.errstate(all="ignore"):
            results = function(*arrays, **node.attributes)
        results = results if isinstance(results, tuple) else (results,)
        return [np.asarray(r, v.type.dtype.numpy) for r, v in zip(results, node.outputs, strict=True)]
    # not ascontiguousarray: that makes rank 0 rank 1
    dense = [np.array(a, order="C", copy=None) for a in arrays]
    return prepare_op(node.op, [a.shape for a in dense], [v.type.dtype for v in node.inputs], node.attributes)(dense)

"""Two ways to run a graph, and what has to be the same: node by node as eager mode does, with Python's own `if` and `while` for branches
and loops; and compiled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphflow.ops as ops
from graphflow.compiler import Executable, runtime_error
from graphflow.dtypes import DType, float64, rounded
from graphflow.errors import GraphflowError
from graphflow.ir.dims import SymbolicDim, evaluate, symbols_of
from graphflow.ir.graph import Graph, Node, Value
from graphflow.ir.op import Control
from graphflow.tensor import Tensor, _execute
from graphflow.tracing.callbacks import open_scope, run_callback

__all__ = [
    "STATISTICS",
    "Case",
    "Outcome",
    "assert_same_bits",
    "check_runs",
    "random_array",
    "run_compiled",
    "run_eagerly",
]

Array = np.ndarray[Any, Any]

STATISTICS: Counter[str] = Counter()

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, 0.5])


def random_array(generator: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Array:
    """Numbers around 0, with special values in one array of three."""
    if dtype.is_complex:
        parts = [random_array(generator, shape, float64) for _ in range(2)]
        return np.asarray(parts[0] + 1j * parts[1]).astype(dtype.numpy)
    if dtype.is_floating:
        array = generator.normal(0, 2, shape)
        if generator.integers(3) == 0:
            array = np.where(generator.random(shape) < 0.05, generator.choice(SPECIAL, shape), array)
        return np.asarray(rounded(array, dtype))
    if dtype.is_bool:
        return np.asarray(generator.random(shape) < 0.6)
    array = generator.integers(0 if dtype.is_unsigned else -5, 6, shape)
    if generator.integers(3) == 0:
        array = np.where(generator.random(shape) < 0.1, generator.choice([dtype.min, dtype.max], shape), array)
    return np.asarray(array).astype(dtype.numpy)


@dataclass
class Case:
    """A graph with the extents of its symbols (several sets of them), and the seed of its arrays. given: inputs whose arrays are no
    random ones."""

    graph: Graph
    extents: list[dict[str, int]]
    seed: int
    given: dict[Value, Array] = field(default_factory=dict)

    def arrays(self, number: int) -> tuple[list[Array], dict[Value, Array]]:
        """Tensor inputs, and variables' arrays, for the extents of this number."""
        generator = np.random.default_rng([self.seed, number])
        tensors, variables = [], {}
        for value in self.graph.inputs:
            array = self.given.get(value)
            if array is None:
                shape = tuple(evaluate(d, self.extents[number]) for d in value.type.shape)
                array = random_array(generator, shape, value.type.dtype)
            if value.is_variable:
                variables[value] = array
            else:
                tensors.append(array)
        return tensors, variables

    def __repr__(self) -> str:
        return f"Case(extents={self.extents}, seed={self.seed})\n{self.graph}"


@dataclass
class Outcome:
    """What a run did. failure: class and line of its error, or None; printed: the template and the values of each print, in order."""

    outputs: list[Array]
    variables: list[Array]
    failure: tuple[type[GraphflowError], int] | None = None
    printed: list[tuple[str, list[bytes]]] = field(default_factory=list)


# Node by node ---------------------------------------------------------------------------------------------------------


def run_eagerly(graph: Graph, tensors: list[Array], variables: dict[Value, Array], extents: dict[str, int]) -> Outcome:
    """Each node through the kernel (or the NumPy call) of eager mode. A run that fails leaves the variables as they were."""
    given = iter(tensors)
    held = {v: Tensor(variables[v].copy() if v.is_variable else next(given), v.type.dtype) for v in graph.inputs}
    outcome = Outcome([], list(variables.values()))
    try:
        results = _run(graph, held, dict(extents), outcome)
    except _Failed as failed:
        outcome.failure = type(failed.error), failed.node.source.line
        return outcome
    outcome.outputs = [np.asarray(t._array) for t in results]
    outcome.variables = [held[v]._array for v in graph.inputs if v.is_variable]
    return outcome


class _Failed(Exception):
    def __init__(self, node: Node, error: GraphflowError) -> None:
        self.node, self.error = node, error


def _run(graph: Graph, held: dict[Value, Tensor], extents: dict[str, int], outcome: Outcome) -> list[Tensor]:
    for value in graph.inputs:
        _learn(value, held[value], extents, again=True)
    for node in graph.nodes:
        operands = [held[v] for v in node.inputs]
        if node.op is ops.read_variable:
            held[node.output] = operands[0]
        elif node.op is ops.assign_variable:
            held[node.inputs[0]] = operands[1]
        elif node.op is ops.print_:
            outcome.printed.append(_printed(node, [t._array for t in operands]))
        else:
            held.update(zip(node.outputs, _results(node, operands, extents, outcome), strict=True))
        for value in node.outputs:
            _learn(value, held[value], extents)
    return [held[v] for v in graph.outputs]


def _printed(node: Node, arrays: list[Array]) -> tuple[str, list[bytes]]:
    plain = [
        np.where(np.isnan(a), a.dtype.type(0), a) if a.dtype.kind == "f" else a for a in arrays
    ]  # which NaN does not count
    return node.attributes["template"], [np.ascontiguousarray(a).tobytes() for a in plain]


def _learn(value: Value, tensor: Tensor, extents: dict[str, int], again: bool = False) -> None:
    for dim, extent in zip(value.type.shape, tensor._array.shape, strict=True):
        if isinstance(dim, SymbolicDim) and dim.text.isidentifier() and (again or dim.text not in extents):
            extents[dim.text] = extent


def _results(node: Node, operands: list[Tensor], extents: dict[str, int], outcome: Outcome) -> list[Tensor]:
    def inside(graph: Graph, given: list[Tensor]) -> list[Tensor]:
        return _run(graph, dict(zip(graph.inputs, given, strict=True)), dict(extents), outcome)

    kernel, attributes = node.op.kernel, node.attributes
    if not isinstance(kernel, Control):
        try:
            return list(_execute(node.op, operands, {name: _concrete(v, extents) for name, v in attributes.items()}))
        except GraphflowError as error:
            raise _Failed(node, error) from error
    STATISTICS[f"run {kernel.kind}"] += 1
    if kernel.kind == "switch":
        branches, index = attributes["branches"], int(operands[0]._array)
        return inside(branches[index if 0 <= index < len(branches) else -1], operands[1:])
    if kernel.kind == "call":
        return inside(attributes["function"], operands)
    count = attributes["carried"]
    while bool(inside(attributes["condition"], operands)[0]._array):
        STATISTICS["iterations"] += 1
        operands = [*inside(attributes["body"], operands), *operands[count:]]
    return operands[:count]


def _concrete(value: Any, extents: dict[str, int]) -> Any:
    """An attribute with numbers for its symbolic dims, as far as they are known."""
    if isinstance(value, SymbolicDim):
        return evaluate(value, extents) if symbols_of(value) <= extents.keys() else value
    return tuple(_concrete(v, extents) for v in value) if isinstance(value, tuple) else value


# Compiled -------------------------------------------------------------------------------------------------------------

MARGIN = 128
CANARY = 0xA5


def run_compiled(
    executable: Executable, tensors: list[Array], variables: dict[Value, Array], extents: dict[str, int]
) -> Outcome:
    """One native call. Fails if it writes beside its outputs, or to its inputs."""
    old = [v for v in executable.traced.inputs if v.is_variable]
    new = [v for v in executable.graph.inputs if v.is_variable]
    own = {b: variables[a].copy() for a, b in zip(old, new, strict=True)}
    outcome = Outcome([], [own[v] for v in new])
    program = executable.program

    def callback(number: int, binding: Any, table: int) -> int:
        node = program.callbacks.get(number)
        if node is None or node.op is not ops.print_:
            return run_callback(number, binding, table)
        outcome.printed.append(_printed(node, [binding.array_at(table, v) for v in node.inputs]))
        return 0

    binding = program.bind(own, extents, callback)
    before = [t.copy() for t in tensors]
    with open_scope():
        if program.dynamic_outputs:
            status, outcome.outputs = binding.run(tensors)
        else:
            status = _call(binding, tensors, executable.graph, extents, outcome)
    for a, b in zip(before, tensors, strict=True):
        assert a.tobytes() == b.tobytes(), "an input was changed"
    if status:
        error = runtime_error(binding, status)
        outcome.failure = type(error), error.place.line
    return outcome


def _call(binding: Any, tensors: list[Array], graph: Graph, extents: dict[str, int], outcome: Outcome) -> int:
    buffers = []
    for value in graph.outputs:
        shape = tuple(evaluate(d, extents) for d in value.type.shape)
        dtype = value.type.dtype.numpy
        size = int(np.prod(shape)) * dtype.itemsize
        buffer = np.full(size + 2 * MARGIN, CANARY, np.uint8)
        buffers.append(buffer)
        outcome.outputs.append(buffer[MARGIN : MARGIN + size].view(dtype).reshape(shape))
    status = binding.call(*tensors, *outcome.outputs)
    for buffer in buffers:
        assert (buffer[:MARGIN] == CANARY).all() and (buffer[-MARGIN:] == CANARY).all(), "written beside an output"
    return int(status)


# Compared -------------------------------------------------------------------------------------------------------------


def check_runs(case: Case, executable: Executable) -> None:
    """The same results and variables on all extents of the case; or the same failure: after the same prints, of the same class, at
    the same line, with every variable as it was."""
    for number, extents in enumerate(case.extents):
        tensors, variables = case.arrays(number)
        STATISTICS["runs"] += 1
        wanted = run_eagerly(case.graph, tensors, variables, extents)
        found = run_compiled(executable, tensors, variables, extents)
        assert found.failure == wanted.failure, f"eager mode {wanted.failure}, the program {found.failure}"
        assert found.printed == wanted.printed, f"eager mode prints {wanted.printed}, the program {found.printed}"
        if wanted.failure is None:
            assert_same_bits(wanted.outputs, found.outputs, f"outputs for {extents}")
        else:
            STATISTICS["failed runs"] += 1
        assert_same_bits(wanted.variables, found.variables, f"variables for {extents}")


def assert_same_bits(wanted: list[Array], found: list[Array], what: str = "") -> None:
    """Equal dtypes, shapes and bits; which NaN it is does not count."""
    assert len(wanted) == len(found)
    for k, (a, b) in enumerate(zip(wanted, found, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape, (what, k, a.dtype, b.dtype, a.shape, b.shape)
        if a.dtype.kind == "c":
            assert_same_bits([a.real, a.imag], [b.real, b.imag], f"{what}: output {k}")
            continue
        if a.dtype.kind in "fV":  # V: bfloat16
            nan = np.isnan(a)
            assert np.array_equal(nan, np.isnan(b)), f"{what}: NaNs of output {k} differ\n{a}\n{b}"
            a, b = np.where(nan, a.dtype.type(0), a), np.where(nan, b.dtype.type(0), b)
        if a.dtype.kind == "O":
            assert np.array_equal(a, b), f"{what}: output {k} differs: {a!r} and {b!r}"
        elif np.ascontiguousarray(a).tobytes() != np.ascontiguousarray(b).tobytes():
            differ = np.argwhere(
                np.atleast_1d(
                    (a != b) | ((a == 0) & (np.signbit(a) != np.signbit(b)) if a.dtype.kind in "fV" else False)
                )
            )
            first = tuple(differ[0]) if len(differ) else ()
            here, there = np.atleast_1d(a)[first], np.atleast_1d(b)[first]
            where = f"{len(differ)} of {a.size} places, first {list(map(int, first))}"
            raise AssertionError(f"{what}: output {k} differs at {where}: {here!r} and {there!r}")

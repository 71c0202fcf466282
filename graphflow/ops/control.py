"""Control flow: ops that hold sub-graphs. A sub-graph is closed: what it uses from outside is an operand of the node and an
input of the sub-graph, in the same order and of the same type.

    switch(index, *operands) {branches=(g0, g1, ...)}           one of the branches
    while(*operands) {condition=g, body=g, carried=n}           the body again and again while the condition holds
    call(*operands) {function=g}                                a sub-graph that several places share

An extent that only the run decides (of a branch's result, or of a value that grows from iteration to iteration) is a run-time
symbol: its name comes, in order of first appearance in the results, from the attribute `extents`. Who builds a node finds out
how many it needs by calling switch_results, while_results or call_results with a function that makes names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError
from ..ir.dims import Dim, SymbolicDim, symbol, symbols_of
from ..ir.graph import Graph
from ..ir.op import Control, Sample, define_op
from ..ir.types import TensorType, VariableType
from .reference import call_reference, switch_reference, while_reference
from .samples import fill, graph_of

__all__ = ["call", "call_results", "switch", "switch_results", "while_", "while_results"]

#: makes the next run-time extent
Fresh = Callable[[], Dim]
Types = tuple[TensorType, ...]


def _from_names(op: str, names: Sequence[str], results: Callable[[Fresh], Types]) -> Types:
    """The results with their run-time extents named by the attribute `extents`, which must be as long as needed."""
    count = 0

    def fresh() -> Dim:
        nonlocal count
        count += 1
        return symbol(names[count - 1]) if count <= len(names) else symbol("missing")

    types = results(fresh)
    if count != len(names):
        raise GraphError(f"{op}: the results have {count} run-time extents, the attribute 'extents' names {len(names)}")
    return types


def _check_operands(op: str, what: str, graph: Graph, types: Types) -> None:
    own = tuple(v.type for v in graph.inputs)
    if len(own) != len(types):
        raise GraphError(f"{op}: {what} takes {len(own)} operands, got {len(types)}")
    for position, (inside, outside) in enumerate(zip(own, types, strict=True)):
        if inside != outside:
            name = graph.inputs[position].name
            raise GraphError(f"{op}: {what} takes {inside} for operand {position} ({name!r}), got {outside}")


# One of several -------------------------------------------------------------------------------------------------------


def switch_results(branches: Sequence[Graph], fresh: Fresh) -> Types:
    """The results' types. Where the branches differ in an extent, or name one that was made inside a branch, the result has
    a run-time extent: the same one wherever the branches' extents are the same.

    Raises DTypeError or ShapeError where the branches do not fit each other.
    """
    made = [frozenset(branch.extents) for branch in branches]
    known: dict[tuple[Dim, ...], Dim] = {}
    results = []
    for number, column in enumerate(zip(*(branch.outputs for branch in branches), strict=True)):
        first = column[0].type
        for value in column[1:]:
            if value.type.dtype is not first.dtype:
                raise DTypeError(
                    f"switch: branches must agree in dtype, got {first} and {value.type} for result {number}; use gf.cast"
                )
            if value.type.rank != first.rank:
                raise ShapeError(
                    f"switch: branches must agree in rank, got {first} and {value.type} for result {number}"
                )
        shape = []
        for dims in zip(*(value.type.shape for value in column), strict=True):
            is_local = any(symbols_of(dim) & own for dim, own in zip(dims, made, strict=True))
            if is_local or any(dim != dims[0] for dim in dims):
                if dims not in known:
                    known[dims] = fresh()
                shape.append(known[dims])
            else:
                shape.append(dims[0])
        results.append(first.with_shape(tuple(shape)))
    return tuple(results)


def _infer_switch(types: Types, branches: tuple[Graph, ...], extents: tuple[str, ...] = ()) -> Types:
    index, operands = types[0], types[1:]
    if isinstance(index, VariableType):
        raise GraphError(f"switch: the index must be a value, got {index}; read the variable first")
    if index.shape != () or index.dtype.short not in ("b1", "i32"):
        raise DTypeError(f"switch: the index must be a bool or an int32 of rank 0, got {index}; use gf.cast")
    if not branches:
        raise GraphError("switch: needs at least one branch, got none")
    for number, branch in enumerate(branches):
        _check_operands("switch", f"branch {number}", branch, operands)
        if len(branch.outputs) != len(branches[0].outputs):
            raise GraphError(
                "switch: branches must give equally many results, got "
                f"{len(branches[0].outputs)} of branch 0 and {len(branch.outputs)} of branch {number}"
            )
    return _from_names("switch", extents, lambda fresh: switch_results(branches, fresh))


def _switch_samples() -> list[Sample]:
    found = []
    for dtype, short in (("float32", "f32"), ("float64", "f64"), ("int32", "i32")):
        for shape in ((), (3,), (2, 0)):
            type = f"{short}[{','.join(map(str, shape))}]"
            branches = tuple(graph_of(f"x: {type}", f"%0: {type} = {op} x, x") for op in ("add", "multiply", "maximum"))
            x = fill(shape, dtype)
            for index in (np.array(False), np.array(True), *(np.array(k, np.int32) for k in (0, 2, 3, -1))):
                found.append(Sample((index, x), {"branches": branches}, gradient=False))
    sizes = tuple(graph_of("x: f32[3]", f"%0: f32[{n}] = pad x {{paddings=((0, {n - 3}),)}}") for n in (4, 6))
    for k, longer in enumerate((False, True)):  # the run decides the extent
        attributes = {"branches": sizes, "extents": (f"u{k}",)}
        found.append(Sample((np.array(longer), fill((3,), "float32")), attributes, gradient=False))
    one = (graph_of("x: f32[]", "%0: f32[] = negative x"),)
    other = graph_of("x: f32[]", "%0: i32[] = cast x {dtype=i32}")
    x, yes = fill((), "float32"), np.array(True)
    return [
        *found,
        Sample((x, x), {"branches": one}, error=DTypeError),
        Sample((yes, x), {"branches": (*one, other)}, error=DTypeError),
        Sample((yes, x), {"branches": ()}, error=GraphError),
        Sample((yes, fill((2,), "float32")), {"branches": one}, error=GraphError),
    ]


switch = define_op(
    "switch", "index *operands",
    attributes={"branches": ..., "extents": ()},
    infer=_infer_switch,
    kernel=Control("switch"),
    no_gradient="differentiated by the tape itself, branch by branch",
    reference=switch_reference,
    samples=_switch_samples,
    documentation="The results of branches[index] (a bool counts as 0 and 1; an int outside picks the last branch).",
)  # fmt: skip


# A loop ---------------------------------------------------------------------------------------------------------------


def _bind(number: int, declared: Sequence[TensorType], given: Sequence[TensorType], own: set[str]) -> dict[str, Dim]:
    """What the body's own symbols stand for where values of the types `given` are carried. Raises ShapeError where the types
    do not fit the declared ones."""
    bound: dict[str, Dim] = {}
    for inside, value in zip(declared, given, strict=True):
        for dim, extent in zip(inside.shape, value.shape, strict=True):
            if isinstance(dim, SymbolicDim) and dim.text in own:
                bound.setdefault(dim.text, extent)
    for position, (inside, value) in enumerate(zip(declared, given, strict=True)):
        if inside.substitute(bound) != value:
            when = "starts as" if number == 0 else "becomes"
            raise ShapeError(
                f"while: carried value {position} must keep its shape, got {inside} and {value}, which it {when}; declare the "
                "extents that change with shape_invariants"
            )
    return bound


def _own_symbols(types: Types, body: Graph, carried: int) -> set[str]:
    """The symbols among the carried values' types inside that the body binds anew at each iteration."""
    outer = {name for t in types for dim in t.shape for name in symbols_of(dim)}
    return {n for v in body.inputs[:carried] for dim in v.type.shape for n in symbols_of(dim)} - outer


def while_results(types: Types, body: Graph, carried: int, fresh: Fresh) -> Types:
    """The results' types: those of the body's carried inputs, with a run-time extent for each of the body's own symbols.

    types: the operands'. Raises DTypeError or ShapeError where a carried value does not start as the body takes it, or does
    not end as it started.
    """
    declared = [v.type for v in body.inputs[:carried]]
    after = [v.type for v in body.outputs]
    for number, inside in enumerate(declared):
        for other in (types[number], after[number]):
            if other.dtype is not inside.dtype:
                raise DTypeError(f"while: carried value {number} must keep its dtype, got {inside} and {other}")
            if other.rank != inside.rank:
                raise ShapeError(f"while: carried value {number} must keep its rank, got {inside} and {other}")
    own = _own_symbols(types, body, carried)
    for name in own:
        if not any(dim == symbol(name) for t in declared for dim in t.shape):
            raise ShapeError(f"while: no carried value has the extent {name!r} of the body's inputs alone on an axis")
    _bind(0, declared, types[:carried], own)
    _bind(1, declared, after, own)
    results: dict[str, Dim] = {}
    for t in declared:
        for dim in t.shape:
            for name in sorted(symbols_of(dim) & own):
                if name not in results:
                    results[name] = fresh()
    return tuple(t.substitute(results) for t in declared)


def _infer_while(
    types: Types,
    condition: Graph,
    body: Graph,
    carried: int,
    extents: tuple[str, ...] = (),
    most: Dim | None = None,
) -> Types:
    if not 0 <= carried <= len(types):
        raise GraphError(f"while: carries {carried} values, got {len(types)} operands")
    if len(body.outputs) != carried:
        raise GraphError(f"while: the body must give {carried} values, got {len(body.outputs)}")
    for what, graph in (("the condition", condition), ("the body", body)):
        if len(graph.inputs) != len(types):
            raise GraphError(f"while: {what} takes {len(graph.inputs)} operands, got {len(types)}")
    _check_operands("while", "the condition", condition, tuple(v.type for v in body.inputs))
    for position in range(carried, len(types)):
        inside = body.inputs[position].type
        if inside != types[position]:
            raise GraphError(f"while: the body takes {inside} for operand {position}, got {types[position]}")
    results = condition.outputs
    if len(results) != 1 or results[0].type.shape != () or not results[0].type.dtype.is_bool:
        shown = ", ".join(str(v.type) for v in results)
        raise DTypeError(f"while: the condition must give one bool of rank 0, got ({shown})")
    if any(v.is_variable for v in body.inputs[:carried]):
        raise GraphError("while: a variable cannot be a carried value; pass it after them")
    return _from_names("while", extents, lambda fresh: while_results(types, body, carried, fresh))


def _while_samples() -> list[Sample]:
    """Doubling while the sum is below a bound; a row for each iteration."""
    found = []
    for dtype, short in (("float32", "f32"), ("float64", "f64"), ("int32", "i32")):
        for shape in ((), (3,), (2, 0)):
            type = f"{short}[{','.join(map(str, shape))}]"
            axes = "".join(f"{a}, " for a in range(len(shape)))
            inputs = f"k: i32[], x: {type}, most: i32[]"
            condition = graph_of(inputs, "%0: b1[] = less k, most")
            body = graph_of(
                inputs, "%0: i32[] = constant {value=i32 1}", "%1: i32[] = add k, %0",
                f"%2: {short}[] = reduce_sum x {{axes=({axes})}}", f"%3: {type} = add x, %2", results="%1, %3",
            )  # fmt: skip
            for most in (0, 1, 5):
                arrays = (np.array(0, np.int32), fill(shape, dtype), np.array(most, np.int32))
                found.append(Sample(arrays, {"condition": condition, "body": body, "carried": 2}, gradient=False))
    inputs = "k: i32[], rows: f32[k0], most: i32[]"
    grow = {
        "condition": graph_of(inputs, "%0: b1[] = less k, most"),
        "body": graph_of(inputs, "%0: i32[] = constant {value=i32 1}", "%1: i32[] = add k, %0", "%2: f32[] = constant {value=f32 7.0}",
                         "%3: f32[k0+1] = append_row rows, %2", results="%1, %3"),
        "carried": 2,
    }  # fmt: skip
    for most in (0, 4):
        arrays = (np.array(0, np.int32), fill((2,), "float32"), np.array(most, np.int32))
        found.append(Sample(arrays, {**grow, "extents": (f"u{most}",)}, gradient=False))
    x = fill((), "float32")
    halve = graph_of("x: f32[]", "%0: f32[] = square x")
    positive = graph_of("x: f32[]", "%0: f32[] = constant {value=f32 0.0}", "%1: b1[] = greater x, %0", results="%1")
    whole = graph_of("x: f32[]", "%0: i32[] = cast x {dtype=i32}")
    return [
        *found,
        Sample((x,), {"condition": halve, "body": halve, "carried": 1}, error=DTypeError),
        Sample((x,), {"condition": positive, "body": whole, "carried": 1}, error=DTypeError),
        Sample((x,), {"condition": positive, "body": halve, "carried": 2}, error=GraphError),
    ]


while_ = define_op(
    "while", "*operands",
    attributes={"condition": ..., "body": ..., "carried": ..., "extents": (), "most": None},
    infer=_infer_while,
    kernel=Control("while"),
    no_gradient="differentiated by the tape itself, through a loop that runs backwards",
    reference=while_reference,
    samples=_while_samples,
    documentation="""The first `carried` operands are replaced by the body's results while the condition holds; the others stay.
`most` bounds the number of iterations where it is known.""",
)  # fmt: skip


# A shared sub-graph ---------------------------------------------------------------------------------------------------


def call_results(function: Graph, fresh: Fresh) -> Types:
    """The results' types: the function's, with a run-time extent for each symbol made inside it."""
    made, known = set(function.extents), dict[str, Dim]()
    for value in function.outputs:
        for dim in value.type.shape:
            for name in sorted(symbols_of(dim) & made):
                if name not in known:
                    known[name] = fresh()
    return tuple(v.type.substitute(known) for v in function.outputs)


def _infer_call(types: Types, function: Graph, extents: tuple[str, ...] = ()) -> Types:
    _check_operands("call", "the function", function, types)
    return _from_names("call", extents, lambda fresh: call_results(function, fresh))


def _call_samples() -> list[Sample]:
    found = []
    for dtype, short in (("float32", "f32"), ("float64", "f64"), ("int32", "i32")):
        for shape in ((), (2, 3), (0,)):
            type = f"{short}[{','.join(map(str, shape))}]"
            function = graph_of(
                f"x: {type}, y: {type}", f"%0: {type} = multiply x, y", f"%1: {type} = subtract %0, y", results="%1, %0"
            )
            found.append(
                Sample((fill(shape, dtype), fill(shape, dtype, seed=1)), {"function": function}, gradient=False)
            )
    grow = graph_of(
        "x: f32[2]",
        "%0: i64[] = constant {value=i64 5}",
        '%1: i64[k0] = runtime_range %0 {extents=("k0",)}',
        results="%1",
    )
    two = graph_of("x: f32[], y: f32[]", "%0: f32[] = add x, y")
    x = fill((), "float32")
    return [
        *found,
        Sample((fill((2,), "float32"),), {"function": grow, "extents": ("u0",)}, gradient=False),
        Sample((x,), {"function": two}, error=GraphError),
        Sample((x, fill((), "float64")), {"function": two}, error=GraphError),
    ]


call = define_op(
    "call", "*operands",
    attributes={"function": ..., "extents": ()},
    infer=_infer_call,
    kernel=Control("call"),
    no_gradient="differentiated by the tape itself",
    reference=call_reference,
    samples=_call_samples,
    documentation="The results of a sub-graph whose code is emitted once, whatever the number of places that call it.",
)  # fmt: skip

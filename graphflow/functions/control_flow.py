"""Control flow as functions: cond, case, switch_case, while_loop, map_fn, vectorized_map, scan, foldl, foldr.

Names, argument order and meaning are TensorFlow's. Without a trace they are plain Python; in a traced function they become
`switch` and `while` nodes, with the same bits. `recompute` is graphflow's own: which values of a loop gradients compute
again instead of keeping them (True: all but the carried ones; an int k: all but the carried ones of every k-th iteration).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import math, ops
from ..dtypes import DType, as_dtype, int32
from ..errors import BranchError, DTypeError, LoopError, ShapeError
from ..ir.dims import Dim, dim_max
from ..ir.types import TensorType
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tracing.forms import UNUSED, branch, converter, equal_dims, parameter_names, shown, trace_types
from ..tracing.loops import check_condition, counted_loop, holds, loop
from ..tree import assert_same_structure, flatten, is_nested, map_structure, pack_sequence_as
from .effects import Assert
from .tensor_array import TensorArray

__all__ = [
    "UNUSED",
    "branch",
    "case",
    "cond",
    "counted_loop",
    "foldl",
    "foldr",
    "loop",
    "map_fn",
    "scan",
    "switch_case",
    "vectorized_map",
    "while_loop",
]


def _callable(function: Any, what: str) -> Callable[..., Any]:
    """The function, as AutoGraph has it in a traced function. Raises a TypeError for what cannot be called."""
    if not callable(function):
        raise BranchError(f"{what} must be a function, got {function!r}")
    found: Callable[..., Any] = converter.get()(function)
    return found


def _is_known(value: Any) -> bool:
    """Is a condition's value known now: no trace, a Python value, or an eager tensor?"""
    return not isinstance(value, TensorLike) or not convert_to_tensor(value).is_symbolic


# One of several functions ---------------------------------------------------------------------------------------------
def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    name: str | None = None,
) -> Any:
    """true_fn() if pred else false_fn(). pred: a bool of rank 0, Python's or a tensor. The results must have one
    structure and agree in dtype and rank; extents that differ are known at run time. Raises BranchError, DTypeError,
    ShapeError."""
    yes, no = _callable(true_fn, "cond: true_fn"), _callable(false_fn, "cond: false_fn")
    if _is_known(pred):
        return yes() if holds(pred, "cond") else no()
    condition = convert_to_tensor(pred)
    check_condition(condition, "cond")
    return branch(condition, (no, yes), form="cond", labels=("false_fn", "true_fn"))


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """The result of the first function whose condition holds, of default if none does (without a default that is an
    error). pred_fn_pairs: (condition, function) pairs. exclusive: more than one true condition is an error."""
    del strict
    if not isinstance(pred_fn_pairs, (list, tuple)) or not pred_fn_pairs:
        raise BranchError(f"case: pred_fn_pairs must be a list of (condition, function) pairs, got {pred_fn_pairs!r}")
    for pair in pred_fn_pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise BranchError(f"case: each entry of pred_fn_pairs must be a (condition, function) pair, got {pair!r}")
        _callable(pair[1], "case: the function of a pair")
    conditions = [convert_to_tensor(condition) for condition, _ in pred_fn_pairs]
    for condition in conditions:
        check_condition(condition, "case")
    if exclusive:
        count: Any = ops.cast(conditions[0], dtype=int32)
        for condition in conditions[1:]:
            count = math.add(count, ops.cast(condition, dtype=int32))
        Assert(math.less_equal(count, 1), ["case: more than one condition holds, and exclusive=True"])

    def none_holds() -> Any:
        Assert(conditions[-1], ["case: no condition holds, and there is no default"])  # it is false here
        return pred_fn_pairs[-1][1]()

    rest: Callable[[], Any] = none_holds if default is None else _callable(default, "case: default")
    for condition, (_, function) in zip(conditions[::-1], pred_fn_pairs[::-1], strict=True):
        rest = _chosen(condition, function, rest)
    return rest()


def _chosen(condition: Any, function: Callable[[], Any], rest: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: cond(condition, function, rest)


def switch_case(
    branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: str = "switch_case"
) -> Any:
    """branch_fns[branch_index](), or default() (or else the last function) for an index outside. branch_fns: a list of
    functions, of (index, function) pairs, or a dict of them, with the indices 0 to n - 1."""
    if not isinstance(branch_fns, (list, tuple, dict)) or not branch_fns:
        raise BranchError(f"switch_case: branch_fns must be a list or dict of functions, got {branch_fns!r}")
    pairs = list(branch_fns.items()) if isinstance(branch_fns, dict) else list(branch_fns)
    if all(callable(p) for p in pairs):
        pairs = list(enumerate(pairs))
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], int):
            raise BranchError(f"switch_case: each entry of branch_fns must be an (int, function) pair, got {pair!r}")
    keys = sorted(key for key, _ in pairs)
    if keys != list(range(len(keys))):
        raise BranchError(f"switch_case: the indices must be 0 to {len(keys) - 1}, each once, got {keys}")
    functions = [
        _callable(function, f"switch_case: function {key}") for key, function in sorted(pairs, key=lambda p: p[0])
    ]
    if default is not None:
        functions.append(_callable(default, "switch_case: default"))
    index = convert_to_tensor(branch_index)
    if not index.dtype.is_integer or index.dims:
        raise DTypeError(f"switch_case: branch_index must be an int of rank 0, got {index.type}")
    if not index.is_symbolic:
        number = int(index)
        return functions[number if 0 <= number < len(functions) else -1]()
    if index.dtype is not int32:
        # narrowing must not bring an index that is out of range into it
        inside = math.logical_and(math.greater_equal(index, 0), math.less(index, len(functions)))
        index = ops.cast(ops.select(inside, index, _like(len(functions) - 1, index)), dtype=int32)
    labels = [f"branch {k}" for k in range(len(functions))]
    if default is not None:
        labels[-1] = "default"
    return branch(index, functions, form="switch_case", labels=labels)


def _like(number: int, tensor: Any) -> Any:
    return Tensor(np.array(number, tensor.dtype.numpy), tensor.dtype)


# Loops ----------------------------------------------------------------------------------------------------------------
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    maximum_iterations: Any = None,
    name: str | None = None,
    *,
    recompute: bool | int = False,
) -> Any:
    """While cond(*loop_vars): loop_vars = body(*loop_vars). Returns the last loop_vars, in their structure.

    shape_invariants: shapes for loop variables whose extents change, with None for those extents (a string names one
    that several share). maximum_iterations: the loop ends after so many. parallel_iterations and swap_memory are taken
    for TensorFlow's sake; back_prop=False cuts the gradient. Raises LoopError, DTypeError, ShapeError, naming the
    variable.
    """
    del parallel_iterations, swap_memory
    condition, step = _callable(cond, "while_loop: cond"), _callable(body, "while_loop: body")
    if not isinstance(loop_vars, (list, tuple)) or not loop_vars:
        raise LoopError(f"while_loop: loop_vars must be a list or tuple of at least one variable, got {loop_vars!r}")
    values = [map_structure(_carried, v) for v in loop_vars]
    if not back_prop:
        values = [_cut(v) for v in values]
    names = parameter_names(body, len(values))
    if shape_invariants is not None and not isinstance(shape_invariants, (list, tuple)):
        raise LoopError(f"while_loop: shape_invariants must be a list like loop_vars, got {shape_invariants!r}")
    found = loop(
        condition, step, values, form="while_loop", names=names, shape_invariants=shape_invariants,
        maximum_iterations=maximum_iterations, recompute=recompute,
    )  # fmt: skip
    if not back_prop:
        found = [_cut(v) for v in found]
    return type(loop_vars)(*found) if hasattr(loop_vars, "_fields") else type(loop_vars)(found)


def _carried(leaf: Any) -> Any:
    """A loop variable: a tensor of its own, whatever else the value is used for, or a TensorArray."""
    return leaf if isinstance(leaf, TensorArray) or leaf is None else ops.identity(convert_to_tensor(leaf))


def _cut(structure: Any) -> Any:
    return map_structure(
        lambda v: ops.stop_gradient(v) if isinstance(v, Tensor) and v.dtype.is_floating else v, structure
    )


def _elements(form: str, elems: Any) -> tuple[Any, Dim]:
    """The elements as tensors, in their structure, and how many there are. Raises ShapeError."""
    leaves = [convert_to_tensor(leaf) for leaf in flatten(elems)]
    if not leaves:
        raise ShapeError(f"{form}: elems must hold at least one tensor, got {elems!r}")
    for leaf in leaves:
        if not leaf.dims:
            raise ShapeError(f"{form}: elems must have rank 1 or more, got {leaf.type}")
    count = leaves[0].dims[0]
    for leaf in leaves[1:]:
        agree = equal_dims(count, leaf.dims[0]) if active_trace.get() is not None else count == leaf.dims[0]
        if not agree:
            raise ShapeError(
                f"{form}: all elems must have the same first extent, got {leaves[0].type} and {leaf.type} "
                f"({count} and {leaf.dims[0]})"
            )
    return pack_sequence_as(elems, leaves) if is_nested(elems) else leaves[0], count


def _row(elems: Any, index: Any) -> Any:
    return map_structure(lambda x: ops.gather(x, index, axis=0), elems)


def _same_form(form: str, expected: Any, got: Any) -> None:
    try:
        assert_same_structure(expected, got, check_types=False)
    except (TypeError, ValueError):
        error = LoopError(f"{form}: the function must return the structure of {shown(expected)}, got {shown(got)}")
        error.hint = "give fn_output_signature" if form == "map_fn" else "return what the initializer looks like"
        raise error from None


def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
    fn_output_signature: Any = None,
    *,
    recompute: bool | int = False,
) -> Any:
    """fn for each row of elems, its results stacked along a new first axis.

    elems: a tensor or a structure of tensors with one first extent; fn takes a row of each. fn_output_signature (or
    dtype): dtypes or TensorSpecs in the structure of fn's result, where they are not those of elems. Raises LoopError,
    DTypeError, ShapeError.
    """
    del parallel_iterations, swap_memory, infer_shape
    function = _callable(fn, "map_fn: fn")
    rows, count = _elements("map_fn", elems)
    signature = fn_output_signature if fn_output_signature is not None else dtype
    wanted = map_structure(_dtype_of, rows if signature is None else signature)
    found = _mapped("map_fn", function, rows, count, wanted, recompute)
    return found if back_prop else _cut(found)


def _dtype_of(leaf: Any) -> DType:
    return leaf.dtype if isinstance(leaf, Tensor) else as_dtype(getattr(leaf, "dtype", leaf))


def _mapped(
    form: str, function: Callable[[Any], Any], rows: Any, count: Dim, wanted: Any, recompute: bool | int
) -> Any:
    if isinstance(count, int) and count == 0:
        return _empty(form, function, rows, wanted)
    arrays = [TensorArray(d, _size(count), clear_after_read=False) for d in flatten(wanted)]

    def body(k: Any, *held: Any) -> list[Any]:
        result = function(_row(rows, k))
        _same_form(form, wanted, result)
        return [array.write(k, value) for array, value in zip(held, flatten(result), strict=True)]

    found = counted_loop(
        _size(count), body, arrays, form=form, names=[f"result {n}" for n in range(len(arrays))], recompute=recompute
    )
    return pack_sequence_as(wanted, [array.stack() for array in found]) if is_nested(wanted) else found[0].stack()


def _size(count: Dim) -> Any:
    from ..tracing.tracer import wrap_dim

    return wrap_dim(count)


def _empty(form: str, function: Callable[[Any], Any], rows: Any, wanted: Any) -> Any:
    """The result for no rows: fn is traced for the shapes of its results."""
    result = _row_types(function, rows)
    _same_form(form, wanted, result)
    return map_structure(lambda d, type: Tensor(np.zeros((0, *type.shape), d.numpy), d), wanted, result)


def _row_types(function: Callable[[Any], Any], rows: Any) -> Any:
    leaves = flatten(rows)
    types = [TensorType(leaf.dtype, tuple(leaf.dims[1:])) for leaf in leaves]
    return trace_types(function, types, lambda inputs: pack_sequence_as(rows, inputs) if is_nested(rows) else inputs[0])


def vectorized_map(fn: Callable[[Any], Any], elems: Any, fallback_to_while_loop: bool = True, warn: bool = True) -> Any:
    """fn for each row of elems, as map_fn does, with the dtypes that fn gives. A function that works on a whole batch at
    once is faster; graphflow compiles the loop."""
    del fallback_to_while_loop, warn
    function = _callable(fn, "vectorized_map: fn")
    rows, count = _elements("vectorized_map", elems)
    wanted = map_structure(lambda type: type.dtype, _row_types(function, rows))
    return _mapped("vectorized_map", function, rows, count, wanted, False)


def foldl(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    *,
    recompute: bool | int = False,
) -> Any:
    """fn(...fn(fn(initializer, row 0), row 1)...). Without an initializer the first row is it. Raises LoopError,
    DTypeError, ShapeError."""
    del parallel_iterations, swap_memory
    return _fold("foldl", fn, elems, initializer, back_prop, recompute, False)


def foldr(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    *,
    recompute: bool | int = False,
) -> Any:
    """foldl from the last row to the first."""
    del parallel_iterations, swap_memory
    return _fold("foldr", fn, elems, initializer, back_prop, recompute, True)


def _fold(
    form: str, fn: Any, elems: Any, initializer: Any, back_prop: bool, recompute: bool | int, from_end: bool
) -> Any:
    function = _callable(fn, f"{form}: fn")
    rows, count = _elements(form, elems)
    start, place, steps = _start(form, rows, count, initializer, from_end)

    def body(k: Any, held: Any) -> list[Any]:
        result = function(held, _row(rows, place(k)))
        _same_form(form, start, result)
        return [_repack(start, result)]

    found = counted_loop(_size(steps), body, [start], form=form, names=["the accumulator"], recompute=recompute)[0]
    return found if back_prop else _cut(found)


def _repack(like: Any, result: Any) -> Any:
    return (
        pack_sequence_as(like, [convert_to_tensor(v) for v in flatten(result)])
        if is_nested(like)
        else convert_to_tensor(result)
    )


def _start(form: str, rows: Any, count: Dim, initializer: Any, from_end: bool) -> tuple[Any, Callable[[Any], Any], Dim]:
    """The first accumulator, where the k-th step finds its row, and the number of steps."""
    skipped = int(initializer is None)
    if initializer is None and isinstance(count, int) and count == 0:
        raise ShapeError(
            f"{form}: without an initializer elems must have at least one row, got {flatten(rows)[0].type}"
        )
    last = _index_of(count - 1)
    if initializer is None:
        start = _row(rows, last if from_end else _index_of(0))
    else:
        start = map_structure(_carried, initializer)

    def place(k: Any) -> Any:
        ahead = math.add(k, skipped) if skipped else k
        return math.subtract(last, ahead) if from_end else ahead

    steps = count - skipped
    return start, place, steps if isinstance(steps, int) else dim_max(steps, 0)


def _index_of(dim: Dim) -> Any:
    return convert_to_tensor(_size(dim), dtype_hint=int32)


def scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
    *,
    recompute: bool | int = False,
) -> Any:
    """foldl's values after each row, stacked. Without an initializer the first row (with reverse: the last) is the first
    value. reverse: from the last row to the first; the results stand where their rows do. Raises LoopError, DTypeError,
    ShapeError."""
    del parallel_iterations, swap_memory, infer_shape
    function = _callable(fn, "scan: fn")
    rows, count = _elements("scan", elems)
    start, place, steps = _start("scan", rows, count, initializer, reverse)
    leaves = flatten(start)
    arrays = [
        TensorArray(leaf.dtype, _size(count), clear_after_read=False, element_shape=[_size(d) for d in leaf.dims])
        for leaf in leaves
    ]
    if initializer is None:
        first = _index_of(count - 1) if reverse else 0
        arrays = [array.write(first, leaf) for array, leaf in zip(arrays, leaves, strict=True)]

    def body(k: Any, held: Any, *written: Any) -> list[Any]:
        at = place(k)
        result = function(held, _row(rows, at))
        _same_form("scan", start, result)
        result = _repack(start, result)
        return [result, *(array.write(at, value) for array, value in zip(written, flatten(result), strict=True))]

    names = ["the accumulator", *(f"result {n}" for n in range(len(arrays)))]
    _, *found = counted_loop(_size(steps), body, [start, *arrays], form="scan", names=names, recompute=recompute)
    results = [array.stack() for array in found]
    packed = pack_sequence_as(start, results) if is_nested(start) else results[0]
    return packed if back_prop else _cut(packed)

"""Control forms: a loop, traced into a `while` node (or, without a trace, run as plain Python).

`loop` and `counted_loop` are what the public functions (functions/control_flow.py) and AutoGraph build on; see forms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, LoopError
from ..ir.dims import Dim, dim_max
from ..ir.op import OPS
from ..ops.rules import integer
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tree import map_structure
from .forms import is_array, is_plain, path_of
from .subtrace import with_python_calls
from .traced_loop import TracedLoop, as_values, check_condition, same_structure
from .tracer import Trace, known_dims

__all__ = ["check_condition", "counted_loop", "holds", "loop"]


def loop(
    condition: Callable[..., Any],
    body: Callable[..., Any],
    values: Sequence[Any],
    *,
    form: str,
    names: Sequence[str] | None = None,
    shape_invariants: Sequence[Any] | None = None,
    maximum_iterations: Any = None,
    recompute: bool | int = False,
    undefined: type | None = None,
    most: Dim | None = None,
    bound: str = "",
) -> list[Any]:
    """while condition(*values): values = body(*values), as a `while` node in a trace and as plain Python without one.

    Returns the last values, a list. shape_invariants: for each value None or a structure of shapes, in which None (or a
    name that several share) is an extent that may change. recompute: what gradients do without saved values: True keeps
    the carried values only, an int k keeps them at every k-th iteration. most, bound: a bound on the number of iterations
    and whether it is "exact" or "tight" (used to set memory aside). Raises LoopError, DTypeError or ShapeError, naming
    the variable and both values.
    """
    _check_recompute(form, recompute)
    if active_trace.get() is None:
        return _loop_now(condition, body, values, form, names, maximum_iterations)
    options = {"form": form, "names": names, "shape_invariants": shape_invariants, "undefined": undefined}
    if maximum_iterations is not None:
        return _limited(
            condition, body, values, maximum_iterations,
            {**options, "recompute": recompute},
            most, bound,
        )  # fmt: skip
    if recompute and recompute is not True:
        return _checkpointed(
            condition, body, values, int(recompute),
            options, most,
        )  # fmt: skip
    return with_python_calls(
        lambda: TracedLoop(form, names, undefined, values, shape_invariants).run(
            condition, body, {"recompute": bool(recompute), "bound": bound}, most
        )
    )


def _check_recompute(form: str, recompute: Any) -> None:
    if not isinstance(recompute, bool) and (not isinstance(recompute, int) or recompute < 1):
        raise LoopError(f"{form}: recompute must be False, True or a number of iterations, got {recompute!r}")


def _loop_now(
    condition: Callable[..., Any],
    body: Callable[..., Any],
    values: Sequence[Any],
    form: str,
    names: Sequence[str] | None,
    maximum_iterations: Any,
) -> list[Any]:
    values, count = list(values), 0
    limit = None if maximum_iterations is None else integer(form, "maximum_iterations", maximum_iterations)
    while (limit is None or count < limit) and holds(condition(*values), form):
        found = as_values(body(*values), len(values), form)
        for k, (before, after) in enumerate(zip(values, found, strict=True)):
            same_structure(before, after, form, path_of(names, k, "loop variable"))
        values, count = [map_structure(_own, v) for v in found], count + 1
    return values


def _own(leaf: Any) -> Any:
    """A loop variable's next value: a tensor of its own, as in a trace, whatever else it is used for."""
    return leaf if is_plain(leaf) or is_array(leaf) else OPS["identity"](convert_to_tensor(leaf))


def holds(condition: Any, form: str) -> bool:
    """An eager condition as a bool. Raises DTypeError or ShapeError unless it is one bool of rank 0."""
    if isinstance(condition, TensorLike):
        check_condition(convert_to_tensor(condition), form)
    return bool(condition)


def _limited(
    condition: Callable[..., Any],
    body: Callable[..., Any],
    values: Sequence[Any],
    limit: Any,
    options: dict[str, Any],
    most: Dim | None,
    bound: str,
) -> list[Any]:
    """A loop with maximum_iterations: one that counts."""
    from .. import math

    trace: Trace = active_trace.get()
    ceiling = convert_to_tensor(limit)
    if ceiling.dtype.short not in ("i32", "i64") or ceiling.dims:
        raise DTypeError(f"{options['form']}: maximum_iterations must be an int of rank 0, got {ceiling.type}")
    known = known_dims(ceiling._value, trace) if ceiling.is_symbolic else (int(ceiling),)
    if most is None and known is not None:
        most = dim_max(known[0], 0)

    def counted_condition(count: Any, *rest: Any) -> Any:
        return math.logical_and(math.less(count, ceiling), convert_to_tensor(condition(*rest)))

    def counted_body(count: Any, *rest: Any) -> list[Any]:
        return [math.add(count, 1), *as_values(body(*rest), len(rest), options["form"])]

    names, invariants = options.pop("names"), options.pop("shape_invariants")
    start = Tensor(np.zeros((), ceiling.dtype.numpy), ceiling.dtype)
    return loop(
        counted_condition, counted_body, [start, *values], most=most, bound=bound,
        names=None if names is None else ["(the number of iterations)", *names],
        shape_invariants=None if invariants is None else [None, *invariants], **options,
    )[1:]  # fmt: skip


def _checkpointed(
    condition: Callable[..., Any],
    body: Callable[..., Any],
    values: Sequence[Any],
    every: int,
    options: dict[str, Any],
    most: Dim | None,
) -> list[Any]:
    """The loop in blocks of `every` iterations: a loop that keeps its carried values only around one that saves what it
    needs, so that memory is for n / every carried values and for `every` iterations."""
    blocks = None if most is None else (most + (every - 1)) // every

    def block(*inner: Any) -> list[Any]:
        return loop(
            condition, body, inner, maximum_iterations=every, most=every, bound="tight", recompute=False, **options
        )

    return loop(
        condition, block, values, most=blocks, bound="tight" if most is not None else "", recompute=True, **options
    )


def counted_loop(
    count: Any,
    body: Callable[..., Any],
    values: Sequence[Any],
    *,
    form: str,
    names: Sequence[str] | None = None,
    condition: Callable[..., Any] | None = None,
    shape_invariants: Sequence[Any] | None = None,
    recompute: bool | int = False,
    undefined: type | None = None,
) -> list[Any]:
    """for k in range(count): values = body(k, *values), k an int32 tensor. count: an int, an extent or an int tensor.
    condition(*values): checked before each iteration, ends the loop. The rest as in `loop`."""
    from .. import math

    trace = active_trace.get()
    if trace is None:
        _check_recompute(form, recompute)
        values = list(values)
        for k in range(int(count)):
            if condition is not None and not holds(condition(*values), form):
                break
            found = as_values(body(Tensor(np.array(k, np.int32), int32), *values), len(values), form)
            for number, (before, after) in enumerate(zip(values, found, strict=True)):
                same_structure(before, after, form, path_of(names, number, "loop variable"))
            values = [map_structure(_own, v) for v in found]
        return values
    total = convert_to_tensor(count, dtype_hint=int32)
    if total.dims or not total.dtype.is_integer:
        raise DTypeError(f"{form}: the number of iterations must be an int of rank 0, got {total.type}")
    known = known_dims(total._value, trace) if total.is_symbolic else (int(total),)
    most = None if known is None else dim_max(known[0], 0)

    def goes_on(k: Any, *rest: Any) -> Any:
        more = math.less(k, total)
        return more if condition is None else math.logical_and(more, convert_to_tensor(condition(*rest)))

    def step(k: Any, *rest: Any) -> list[Any]:
        return [math.add(k, 1), *as_values(body(_as_int32(k), *rest), len(rest), form)]

    start = Tensor(np.zeros((), total.dtype.numpy), total.dtype)
    return loop(
        goes_on, step, [start, *values], form=form, most=most, bound="" if most is None else "exact" if condition is None else "tight",
        names=None if names is None else ["(the loop's counter)", *names], recompute=recompute, undefined=undefined,
        shape_invariants=None if shape_invariants is None else [None, *shape_invariants],
    )[1:]  # fmt: skip


def _as_int32(k: Any) -> Any:
    from ..ops import cast

    return k if k.dtype.short == "i32" else cast(k, dtype=int32)

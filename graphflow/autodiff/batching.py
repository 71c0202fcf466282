"""Graphs on a batch: each node once for all rows of a new first axis, where the inputs in question have that axis.

What a Jacobian needs: the backward part of a function is a graph with one input (the cotangent), and its rows are what this
graph makes of the rows of the unit matrix. As in JAX's vmap and TensorFlow's pfor, an op has a rule for a batched operand; most
rules follow from its kernel. Values that do not depend on the batched input stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir.dims import Dim
from ..ir.graph import Node, Value
from ..ir.op import Pointwise, Reduce

__all__ = ["NoBatch", "batched"]


class NoBatch(Exception):
    """An op without a rule for a batch. name: the op's; source: its line."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.op.name)
        self.name, self.source = node.op.name, node.source


def batched(
    nodes: Sequence[Node],
    results: Sequence[Value],
    given: Mapping[Value, Callable[[], Any]],
    start: Mapping[Value, Any],
) -> list[tuple[Any, bool]]:
    """The results' tensors, each with whether it has the batch axis. start: value -> a tensor with that axis; given: value ->
    what makes the tensor that stands for it, without. Raises NoBatch."""
    needed: set[Node] = set()
    stack = [v for v in results if v not in start and v not in given]
    while stack:
        node = stack.pop().producer
        assert node is not None, "a value is neither given nor computed"
        if node not in needed:
            needed.add(node)
            stack.extend(v for v in node.inputs if v not in start and v not in given)
    made: dict[Value, tuple[Any, bool]] = {v: (t, True) for v, t in start.items()}

    def value_of(value: Value) -> tuple[Any, bool]:
        if value not in made:
            made[value] = given[value](), False
        return made[value]

    for node in nodes:
        if node not in needed:
            continue
        operands = [value_of(v) for v in node.inputs]
        if not any(has for _, has in operands):
            found = node.op(*(t for t, _ in operands), **node.attributes)
            results_of = found if isinstance(found, tuple) else (found,)
            made.update((v, (t, False)) for v, t in zip(node.outputs, results_of, strict=True))
            continue
        made[node.output] = _once(node, operands), True
    return [value_of(v) for v in results]


def _once(node: Node, operands: list[tuple[Any, bool]]) -> Any:
    """The node's result for all rows."""
    if len(node.outputs) != 1:
        raise NoBatch(node)
    op, kernel = node.op, node.op.kernel
    size = next(t.dims[0] for t, has in operands if has)
    rule = _RULES.get(op.name)
    if rule is not None:
        found = rule(node, operands, size)
        if found is None:
            raise NoBatch(node)
        return found
    if isinstance(kernel, Pointwise):
        rank = max(len(t.dims) - has for t, has in operands)
        return op(*(_raised(t, has, rank) for t, has in operands), **node.attributes)
    if isinstance(kernel, Reduce) and "axes" in node.attributes:
        axes = tuple(a + 1 for a in node.attributes["axes"])
        return op(operands[0][0], **{**node.attributes, "axes": axes})
    raise NoBatch(node)


def _raised(tensor: Any, has: bool, rank: int) -> Any:
    """A batched operand with axes of 1 between the batch and its own, so that it has `rank` axes of its own."""
    from ..ops import reshape

    own = len(tensor.dims) - 1
    if not has or own >= rank:
        return tensor
    return reshape(tensor, shape=(tensor.dims[0], *(1,) * (rank - own), *tensor.dims[1:]))


def _whole(tensor: Any, has: bool, size: Dim) -> Any:
    """The operand with the batch axis."""
    from ..ops import broadcast_to, reshape

    if has:
        return tensor
    raised = reshape(tensor, shape=(1, *tensor.dims))
    return broadcast_to(raised, shape=(size, *tensor.dims))


Rule = Callable[[Node, list[tuple[Any, bool]], Dim], Any]


def _with(**changes: Callable[[Any, Dim], Any]) -> Rule:
    """The rule of an op with one operand whose attributes change as the functions say."""

    def rule(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
        attributes = {k: changes[k](v, size) if k in changes else v for k, v in node.attributes.items()}
        return node.op(operands[0][0], **attributes)

    return rule


def _longer(value: Any, size: Dim) -> Any:
    return (size, *value)


def _begins(value: Any, size: Dim) -> Any:
    return (0, *value)


def _ones(value: Any, size: Dim) -> Any:
    return (1, *value)


def _axes(value: Any, size: Dim) -> Any:
    return tuple(a + 1 for a in value)


def _axis(value: Any, size: Dim) -> Any:
    return value + 1


def _broadcast(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
    shape = node.attributes["shape"]
    return node.op(_raised(*operands[0], len(shape)), shape=(size, *shape))


def _concat(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
    return node.op(*(_whole(t, has, size) for t, has in operands), axis=node.attributes["axis"] + 1)


def _matmul(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
    from ..ops import reshape

    (a, has_a), (b, has_b) = operands
    attributes = node.attributes
    if has_a and not has_b and len(a.dims) == 3 and len(b.dims) == 2 and not attributes.get("transpose_a"):
        # one product of all rows of all matrices: the right operand is read once
        count = a.dims[0] * a.dims[1]
        product = node.op(reshape(a, shape=(count, a.dims[2])), b, **attributes)
        return reshape(product, shape=(a.dims[0], a.dims[1], product.dims[1]))
    rank = max(len(a.dims) - has_a, len(b.dims) - has_b)
    return node.op(_raised(a, has_a, rank), _raised(b, has_b, rank), **attributes)


def _gather(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
    (params, has), (indices, has_indices) = operands
    if has_indices or not has or node.attributes["batch_dims"]:
        return None
    return node.op(params, indices, axis=node.attributes["axis"] + 1, batch_dims=0)


def _scatter_add(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
    """The batch goes behind the axis of rows, and back."""
    from ..ops import transpose

    (indices, has_indices), (updates, _) = operands
    if has_indices:
        return None
    picked, rest = len(indices.dims), len(updates.dims) - 1 - len(indices.dims)
    order = (*range(1, picked + 1), 0, *range(picked + 1, picked + 1 + rest))
    rows, *inner = node.attributes["shape"]
    result = node.op(indices, transpose(updates, permutation=order), shape=(rows, size, *inner))
    return transpose(result, permutation=(1, 0, *range(2, 2 + rest)))


def _leading(node: Node, operands: list[tuple[Any, bool]], size: Dim) -> Any:
    """Ops of matrices that take any number of leading axes, if all operands have them."""
    return node.op(*(_whole(t, has, size) for t, has in operands), **node.attributes)


def _pads(value: Any, size: Dim) -> Any:
    return ((0, 0), *value)


_RULES: dict[str, Rule] = {
    "reshape": _with(shape=_longer),
    "ensure_shape": _with(shape=_longer),
    "identity": _with(),
    "stop_gradient": _with(),
    "checkpoint": _with(),
    "transpose": _with(permutation=lambda value, size: (0, *(a + 1 for a in value))),
    "strided_slice": _with(begin=_begins, sizes=_longer, strides=_ones),
    "strided_slice_gradient": _with(shape=_longer, begin=_begins, strides=_ones),
    "reverse": _with(axes=_axes),
    "pad": _with(paddings=_pads),
    "cumulative": _with(axis=_axis),
    "windows": _with(axis=_axis),
    "fold_windows": _with(shape=_longer, axis=_axis),
    "diagonal": _with(),
    "from_diagonal": _with(),
    "broadcast_to": _broadcast,
    "concat": _concat,
    "matmul": _matmul,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "solve": _leading,
    "triangular_solve": _leading,
}

"""gf.einsum: any equation, as transposes, sums and matrix products of two operands at a time, in the order that opt_einsum finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..dtypes import DType
from ..errors import InvalidArgumentError, ShapeError
from ..ir.dims import Dim, product, require_equal
from ..ops.reduction import reduce_in_steps
from ..ops.rules import same_dtype
from ..tensor import Tensor, operands

__all__ = ["einsum"]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Tensor:
    """The sum of products that an Einstein equation names, such as "bij,bjk->bik". Letters may repeat within an operand (a diagonal), `...`
    stands for leading axes that broadcast, and without `->` the result has the letters that occur once, in alphabetical order.

    optimize: the order of products, as opt_einsum takes it ("greedy" by default). Raises InvalidArgumentError for a bad equation,
    ShapeError where extents of one letter differ.
    """
    optimize = kwargs.pop("optimize", "greedy")
    kwargs.pop("name", None)
    if kwargs:
        raise TypeError(f"einsum: unknown arguments {', '.join(sorted(kwargs))}; it takes optimize and name")
    if not inputs:
        raise InvalidArgumentError(f"einsum: {equation!r} needs operands")
    tensors = operands(*inputs)
    dtype = same_dtype("einsum", [t.type for t in tensors])
    terms, result = _parse(equation, tensors)
    extents: dict[str, Dim] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        for letter, dim in zip(term, tensor.dims, strict=True):
            known = extents.get(letter, 1)
            if known == 1:
                extents[letter] = dim
            elif dim != 1 and not require_equal(known, dim):
                raise ShapeError(
                    f"einsum: the extents of {letter!r} in {equation!r} must be equal, got {known} and {dim}"
                )
    values = [_simplified(term, tensor) for term, tensor in zip(terms, tensors, strict=True)]
    for path in _order(values, result, optimize):
        chosen = [values[k] for k in path]
        values = [v for k, v in enumerate(values) if k not in path]
        needed = set(result).union(*(term for term, _ in values)) if values else set(result)
        if len(chosen) == 1:
            term, tensor = chosen[0]
            values.append(_summed(term, tensor, needed))
            continue
        values.append(_product(chosen[0], chosen[1], needed, extents, dtype))
    term, tensor = values[0]
    term, tensor = _summed(term, tensor, set(result))
    return _ordered(term, tensor, result)


def _parse(equation: str, tensors: Sequence[Any]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with letters of their own for the axes of `...`."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(tensors):
        raise InvalidArgumentError(f"einsum: {equation!r} has {len(parts)} operands, got {len(tensors)}")
    free = [c for c in reversed(_LETTERS) if c not in text]
    most = 0
    for part, tensor in zip(parts, tensors, strict=True):
        plain = part.replace("...", "", 1)
        if any(c not in _LETTERS for c in plain):
            raise InvalidArgumentError(
                f"einsum: {equation!r} has an operand {part!r}; letters and one '...' are allowed"
            )
        rank = len(tensor.dims)
        if "..." not in part and len(plain) != rank or len(plain) > rank:
            raise ShapeError(f"einsum: {part!r} of {equation!r} has {len(plain)} axes, its operand is {tensor.type}")
        if "..." in part:
            most = max(most, rank - len(plain))
    names = "".join(free[:most])[::-1]
    terms = []
    for part, tensor in zip(parts, tensors, strict=True):
        extra = len(tensor.dims) - len(part.replace("...", "", 1))
        terms.append(part.replace("...", names[most - extra :] if extra else "", 1))
    if not arrow:
        once = sorted(c for c in set("".join(parts)) - {"."} if "".join(parts).count(c) == 1)
        return terms, names + "".join(once)
    result = right.replace("...", names, 1)
    bad = [c for c in result if c not in "".join(terms)] or [c for c in result if result.count(c) > 1]
    if names and "..." not in right:
        raise InvalidArgumentError(
            f"einsum: the result of {equation!r} must have the '...' of its operands, here of {len(names)} axes"
        )
    if bad or "." in result:
        raise InvalidArgumentError(f"einsum: the result of {equation!r} must name letters of the operands, once each")
    return terms, result


def _simplified(term: str, x: Any) -> tuple[str, Any]:
    """Letters that repeat within an operand become one axis: its diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            rank = len(x.dims)
            if not require_equal(x.dims[first], x.dims[second]):
                raise ShapeError(f"einsum: a repeated letter needs equal extents, got {letter!r} in {x.type}")
            order = (*(a for a in range(rank) if a not in (first, second)), first, second)
            x = ops.diagonal(ops.transpose(x, permutation=order))
            term = "".join(c for k, c in enumerate(term) if k not in (first, second)) + letter
    return term, x


def _order(values: list[tuple[str, Any]], result: str, optimize: Any) -> list[tuple[int, ...]]:
    """Which values to multiply, pair by pair. Every extent counts as 128, known or not: the order of products decides the bits,
    and they must not depend on what was known while tracing."""
    if len(values) <= 2:
        return [tuple(range(len(values)))]
    import opt_einsum

    shapes = [(128,) * len(term) for term, _ in values]
    equation = ",".join(term for term, _ in values) + "->" + result
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=optimize)
    pairs: list[tuple[int, ...]] = []
    count = len(values)
    for step in path:  # a step of more than two operands becomes products of two
        places = sorted(step)
        while len(places) > 2:
            a, b = places.pop(), places.pop()
            pairs.append((b, a))
            count -= 1
            places.append(count - 1)
        pairs.append(tuple(places))
        count -= len(places) - 1
    return pairs


def _summed(term: str, x: Any, needed: set[str]) -> tuple[str, Any]:
    """The sum over the letters that nothing needs any more."""
    gone = tuple(k for k, c in enumerate(term) if c not in needed)
    if not gone:
        return term, x
    return "".join(c for c in term if c in needed), reduce_in_steps(ops.reduce_sum, x, gone, keepdims=False)


def _ordered(term: str, x: Any, wanted: str) -> Any:
    """x with its axes in the order of `wanted`."""
    if term == wanted:
        return x
    return ops.transpose(x, permutation=tuple(term.index(c) for c in wanted))


def _product(
    left: tuple[str, Any], right: tuple[str, Any], needed: set[str], extents: dict[str, Dim], dtype: DType
) -> tuple[str, Any]:
    """The product of two values, summed over the letters that only they have: a batched matrix product."""
    a_term, a = _summed(*left, needed | set(right[0]))
    b_term, b = _summed(*right, needed | set(a_term))
    shared = [c for c in a_term if c in b_term]
    batch = [c for c in shared if c in needed]
    inner = [c for c in shared if c not in needed]
    rows = [c for c in a_term if c not in shared]
    columns = [c for c in b_term if c not in shared]

    def full(term: str, x: Any, letters: list[str]) -> Any:
        """x with the axes of `letters`, in their order, at their full extents."""
        x = _ordered(term, x, "".join(letters))
        shape = tuple(extents[c] for c in letters)
        return x if x.dims == shape else ops.broadcast_to(x, shape=shape)

    if not inner or dtype.is_bool:
        # nothing to add up: a pointwise product, which fuses
        everything = batch + rows + columns
        a = _ordered(a_term, a, "".join(c for c in everything if c in a_term))
        b = _ordered(b_term, b, "".join(c for c in everything if c in b_term))
        a = ops.reshape(a, shape=(*a.dims, *(1,) * len(columns))) if columns else a
        lead = len(batch)
        b = ops.reshape(b, shape=(*b.dims[:lead], *(1,) * len(rows), *b.dims[lead:])) if rows else b
        return "".join(everything), ops.multiply(a, b)
    sizes = [product(extents[c] for c in group) for group in (batch, rows, inner, columns)]
    a = ops.reshape(full(a_term, a, batch + rows + inner), shape=(sizes[0], sizes[1], sizes[2]))
    b = ops.reshape(full(b_term, b, batch + inner + columns), shape=(sizes[0], sizes[2], sizes[3]))
    if not batch:
        a, b = ops.reshape(a, shape=(sizes[1], sizes[2])), ops.reshape(b, shape=(sizes[2], sizes[3]))
    result = ops.matmul(a, b)
    letters = batch + rows + columns
    return "".join(letters), ops.reshape(result, shape=tuple(extents[c] for c in letters))

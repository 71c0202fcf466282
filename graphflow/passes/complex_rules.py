"""What each op means for complex operands: op -> rule(builder, node, *operands), where a complex operand is a Pair and a real one
a Real, and so are the results. Used by lower_complex.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dims import product
from ..ir.graph import Node, Value
from ..ops.complex import part_of
from .complex_functions import FUNCTIONS, Parts, divide, multiply, power
from .complex_values import Builder, Pair, Real

__all__ = ["ON_ARRAYS", "RULES"]

Rule = Callable[..., Any]


def _parts(x: Pair) -> Parts:
    return x.re, x.im


def _result(b: Builder, node: Node, parts: Parts) -> Pair:
    return b.pair(parts[0], parts[1], node.output.type)


# Part by part ---------------------------------------------------------------------------------------------------------
def each_part(b: Builder, node: Node, *operands: Any) -> Pair:
    """The op of the real parts, and of the imaginary parts: what moves elements, and what is linear with real factors. Real operands
    (positions, conditions) go to both."""
    found = []
    for real in (True, False):
        values = [(x.real if real else x.imag) if isinstance(x, Pair) else x.value for x in operands]
        found.append(b.make(node.op.name, values, node.attributes))
    return Pair(b, node.output.type, real=found[0], imag=found[1])


def pad(b: Builder, node: Node, x: Pair) -> Pair:
    constant = complex(node.attributes["constant"])
    parts = [
        b.make("pad", [value], {**node.attributes, "constant": number})
        for value, number in ((x.real, constant.real), (x.imag, constant.imag))
    ]
    return Pair(b, node.output.type, real=parts[0], imag=parts[1])


def running(b: Builder, node: Node, x: Pair) -> Pair:
    """Running sums part by part, running products by a routine."""
    if node.attributes["kind"] == "sum":
        return each_part(b, node, x)
    flags = {name: node.attributes[name] for name in ("axis", "exclusive", "reverse")}
    return b.from_pairs(b.make("pair_products", [x.pairs], flags), node.output.type)


def reduce_prod(b: Builder, node: Node, x: Pair) -> Pair:
    """The reduced axes last and as one, then a routine."""
    axes = tuple(node.attributes["axes"])
    shape = x.type.shape
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    order = (*kept, *axes)
    moved = x
    if order != tuple(range(len(shape))):
        parts = [b.make("transpose", [v], {"permutation": order}) for v in (x.real, x.imag)]
        moved = Pair(b, x.type.with_shape(tuple(shape[a] for a in order)), real=parts[0], imag=parts[1])
    outer = tuple(shape[a] for a in kept)
    flat = b.make("reshape", [moved.pairs], {"shape": (*outer, product(shape[a] for a in axes), 2)})
    total = b.make("pair_products", [flat], {"axis": len(outer), "total": True})
    if node.output.type.shape != outer:
        total = b.make("reshape", [total], {"shape": (*node.output.type.shape, 2)})
    return b.from_pairs(total, node.output.type)


# Making and taking apart ----------------------------------------------------------------------------------------------
def complex_(b: Builder, node: Node, x: Real, y: Real) -> Pair:
    return _result(b, node, (x, y))


def absolute(b: Builder, node: Node, x: Pair) -> Real:
    return b.real("magnitude", x.re, x.im)


def angle(b: Builder, node: Node, x: Pair) -> Real:
    return b.real("atan2", x.im, x.re)


def cast(b: Builder, node: Node, x: Any) -> Any:
    """To real: the real part; to bool: is it not 0; from real: with the imaginary part 0."""
    dtype = node.attributes["dtype"]
    if not isinstance(x, Pair):
        part = part_of(dtype)
        own = x if x.dtype is part else x.cast(dtype=part)
        return _result(b, node, (own, Real(b, b.number(0, part))))
    if dtype.is_bool:
        return x.re.not_equal(0) | x.im.not_equal(0)
    if not dtype.is_complex:
        return x.re if x.re.dtype is dtype else x.re.cast(dtype=dtype)
    part = part_of(dtype)
    return x if x.type.dtype is dtype else _result(b, node, (x.re.cast(dtype=part), x.im.cast(dtype=part)))


def equal(b: Builder, node: Node, x: Pair, y: Pair) -> Real:
    return x.re.equal(y.re) & x.im.equal(y.im)


def not_equal(b: Builder, node: Node, x: Pair, y: Pair) -> Real:
    return x.re.not_equal(y.re) | x.im.not_equal(y.im)


# Arithmetic -----------------------------------------------------------------------------------------------------------
def _function(function: Callable[[Builder, Parts], Parts]) -> Rule:
    return lambda b, node, x: _result(b, node, function(b, _parts(x)))


def add(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _result(b, node, (x.re + y.re, x.im + y.im))


def subtract(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _result(b, node, (x.re - y.re, x.im - y.im))


def product_of(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _result(b, node, multiply(_parts(x), _parts(y)))


def quotient(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _result(b, node, divide(b, _parts(x), _parts(y)))


def _is_zero(x: Pair) -> Real:
    return x.re.equal(0) & x.im.equal(0)


def _zero_where(b: Builder, node: Node, condition: Real, parts: Parts) -> Pair:
    return _result(b, node, (b.select(condition, 0, parts[0]), b.select(condition, 0, parts[1])))


def multiply_no_nan(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _zero_where(b, node, _is_zero(y), multiply(_parts(x), _parts(y)))


def divide_no_nan(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _zero_where(b, node, _is_zero(y), divide(b, _parts(x), _parts(y)))


def xdivy(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _zero_where(b, node, _is_zero(x), divide(b, _parts(x), _parts(y)))


def xlogy(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _zero_where(b, node, _is_zero(x), multiply(_parts(x), FUNCTIONS["log"](b, _parts(y))))


def squared_difference(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    """conj(x - y) * (x - y), as TensorFlow has it: real."""
    p, q = x.re - y.re, x.im - y.im
    return _result(b, node, (p * p + q * q, Real(b, b.number(0, p.dtype))))


def pow_(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    return _result(b, node, power(b, _parts(x), _parts(y)))


# Matrix products and transforms ---------------------------------------------------------------------------------------
def matmul(b: Builder, node: Node, x: Pair, y: Pair) -> Pair:
    """One real product: [..., m, 2k] (x as it lies in memory) times [..., 2k, 2n], where a number c + id of y has become the 2x2
    block ((c, d), (-d, c)). The result lies in memory as a complex one."""
    rows, columns = node.output.type.shape[-2:]
    if node.attributes["transpose_a"]:
        left = _two_rows(b, x.re, x.im)
    else:
        left = b.make("reshape", [x.pairs], {"shape": (*x.type.shape[:-1], x.type.shape[-1] * 2)})
    c, d = y.re, y.im
    if node.attributes["transpose_b"]:
        right = _two_rows(b, _side_by_side(b, c, -d), _side_by_side(b, d, c))
    else:
        right = _two_rows(b, _side_by_side(b, c, d), _side_by_side(b, -d, c))
    found = b.make("matmul", [left, right], node.attributes)
    pairs = b.make("reshape", [found], {"shape": (*found.type.shape[:-2], rows, columns, 2)})
    return b.from_pairs(pairs, node.output.type)


def _side_by_side(b: Builder, x: Real, y: Real) -> Real:
    """[..., r, c] twice -> [..., r, 2c], an element of each in turn."""
    both = b.make("interleave", [x.value, y.value])
    return Real(b, b.make("reshape", [both], {"shape": (*x.shape[:-1], x.shape[-1] * 2)}))


def _two_rows(b: Builder, *parts: Real) -> Value:
    """Two matrices [..., r, c] -> [..., 2r, c], a row of each in turn."""
    *lead, rows, width = parts[0].shape
    slim = [b.make("reshape", [p.value], {"shape": (*lead, rows, 1, width)}) for p in parts]
    joined = b.make("concat", slim, {"axis": len(lead) + 1})
    return b.make("reshape", [joined], {"shape": (*lead, rows * 2, width)})


def fourier(b: Builder, node: Node, x: Any, table: Pair) -> Any:
    """A Fourier transform on memory: of pairs to pairs, of real values to pairs, or of pairs to real values."""
    found = b.make("pair_fft", [x.pairs if isinstance(x, Pair) else x.value, table.pairs], node.attributes)
    return b.from_pairs(found, node.output.type) if node.output.type.dtype.is_complex else Real(b, found)


def on_arrays(b: Builder, node: Node, *operands: Any) -> tuple[Any, ...]:
    """The op as it stands, on complex arrays in memory: its kernel calls LAPACK's complex routines."""
    inputs = [x.stored if isinstance(x, Pair) else x.value for x in operands]
    new = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
    new.device = node.device
    b.nodes.append(new)
    return tuple(Pair(b, v.type, stored=v) if v.type.dtype.is_complex else Real(b, v) for v in new.outputs)


#: kernels that read and write complex arrays
ON_ARRAYS = (
    "cholesky determinant eig eigh lu matrix_square_root qr slogdet solve svd triangular_solve tridiagonal_solve"
).split()

#: ops that move elements, or are linear with real factors
_EACH_PART = (
    "append_row broadcast_to checkpoint concat diagonal ensure_shape fold_windows from_diagonal gather gather_nd identity one_hot "
    "reduce_sum reshape reverse scatter_add scatter_add_into scatter_into scatter_reduce select stop_gradient strided_slice "
    "strided_slice_gradient transpose update_row windows written_value"
).split()

RULES: dict[str, Rule] = {
    **dict.fromkeys(_EACH_PART, each_part),
    **dict.fromkeys(ON_ARRAYS, on_arrays),
    **{name: _function(function) for name, function in FUNCTIONS.items()},
    "absolute": absolute,
    "add": add,
    "angle": angle,
    "cast": cast,
    "complex": complex_,
    "cumulative": running,
    "dimension": lambda b, node, x: Real(b, b.make("dimension", [x.pairs], node.attributes)),
    "divide": quotient,
    "divide_no_nan": divide_no_nan,
    "equal": equal,
    "fft": fourier,
    "as_pairs": lambda b, node, x: Real(b, x.pairs),
    "from_pairs": lambda b, node, x: b.from_pairs(x.value, node.output.type),
    "imag": lambda b, node, x: x.im,
    "matmul": matmul,
    "multiply": product_of,
    "multiply_no_nan": multiply_no_nan,
    "not_equal": not_equal,
    "pad": pad,
    "pow": pow_,
    "real": lambda b, node, x: x.re,
    "reduce_prod": reduce_prod,
    "squared_difference": squared_difference,
    "subtract": subtract,
    "xdivy": xdivy,
    "xlogy": xlogy,
}

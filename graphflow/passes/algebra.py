"""Local rules of arithmetic and logic. A rule looks at one node and returns the value that may stand for it, or None.

No rule changes a bit of a float result: signed zeros, infinities and NaN stay what they were (which bits a NaN carries
is not observable). Integer arithmetic is modular, so more holds there. `n`, `m` stand for integers, `c`, `d` for
constants, `x`, `y` for any numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir.graph import Node, Value
from ..ir.op import Op
from .rewriting import Rewriter, number_of

__all__ = ["RULES", "Rule", "generic_rules"]

Rule = Callable[[Node, Rewriter], Value | None]

#: units and zeros of integer and bool ops beside those in the ops' records; -1 has all bits set
_UNITS = {"logical_and": 1, "logical_or": 0, "logical_xor": 0, "bitwise_and": -1, "bitwise_or": 0, "bitwise_xor": 0,
          "bitwise_left_shift": 0, "bitwise_right_shift": 0, "floordiv": 1, "truncatediv": 1, "pow": 1}  # fmt: skip
_ZEROS = {"logical_and": 0, "logical_or": 1, "bitwise_and": 0, "bitwise_or": -1}
_ASSOCIATIVE = frozenset(
    ("add", "multiply", "bitwise_and", "bitwise_or", "bitwise_xor", "logical_and", "logical_or", "logical_xor")
)
_OPPOSITE = {"equal": "not_equal", "not_equal": "equal"}
_INTEGER_OPPOSITE = {"less": "greater_equal", "greater_equal": "less", "greater": "less_equal", "less_equal": "greater"}


def _producer(value: Value, op: str) -> Node | None:
    """The node that makes value, if it is one of this op."""
    producer = value.producer
    return producer if producer is not None and producer.op.name == op else None


def _is_modular(value: Value) -> bool:
    """Integers and bools: exact algebra holds."""
    return value.type.dtype.is_integer or value.type.dtype.is_bool


# Rules that follow from an op's record --------------------------------------------------------------------------------


def unit_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """x * 1 -> x, x + -0.0 -> x: the unit in the op's record. (x + 0.0 stays: it turns -0.0 into 0.0.) Integers and
    bools have more units: n & -1 -> n, n // 1 -> n, n << 0 -> n, n ** 1 -> n."""
    left, right = node.inputs
    dtype = right.type.dtype
    unit = node.op.unit
    if unit is None and _is_modular(right):
        unit = _UNITS.get(node.op.name)
    if unit is None or dtype.is_complex:
        return None
    if rewriter.holds(right, unit) and left.type == node.output.type:
        return left
    if node.op.commutative and rewriter.holds(left, unit) and right.type == node.output.type:
        return right
    return None


def integer_zero_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """n * 0 -> 0, b and False -> False, n | -1 -> -1. Not for floats: nan * 0 is nan, -1.0 * 0.0 is -0.0."""
    zero = node.op.zero if node.op.zero is not None else _ZEROS.get(node.op.name)
    if zero is None or not _is_modular(node.output):
        return None
    for value in node.inputs if node.op.commutative else node.inputs[1:]:
        if rewriter.holds(value, zero):
            return rewriter.full(zero, node.output.type, node)
    return None


def idempotent_twice(node: Node, rewriter: Rewriter) -> Value | None:
    """abs(abs(x)) -> abs(x), floor(floor(x)) -> floor(x)."""
    value = node.inputs[0]
    inner = value.producer
    if (
        inner is None
        or inner.op is not node.op
        or inner.attributes != node.attributes
        or value.type != node.output.type
    ):
        return None
    return value


def idempotent_same(node: Node, rewriter: Rewriter) -> Value | None:
    """maximum(x, x) -> x, b and b -> b, n | n -> n."""
    left, right = node.inputs
    return left if left is right and left.type == node.output.type else None


def constant_to_the_right(node: Node, rewriter: Rewriter) -> Value | None:
    """c * x -> x * c. The same bits for commutative ops; later rules and merging then meet one form."""
    left, right = node.inputs
    if rewriter.uniform(left) is None or rewriter.uniform(right) is not None:
        return None
    return rewriter.make(node.op.name, (right, left), node.attributes, node)


def constants_together(node: Node, rewriter: Rewriter) -> Value | None:
    """(n + c) + d -> n + (c + d): integers and bools only, floats round twice. Constant folding then computes c + d."""
    left, right = node.inputs
    inner = _producer(left, node.op.name)
    if inner is None or not _is_modular(node.output) or inner.inputs[0].type.dtype is not node.output.type.dtype:
        return None
    if (
        rewriter.uniform(right) is None
        or rewriter.uniform(inner.inputs[1]) is None
        or rewriter.uniform(inner.inputs[0]) is not None
    ):
        return None
    both = rewriter.make(node.op.name, (inner.inputs[1], right), node.attributes, node)
    return rewriter.make(node.op.name, (inner.inputs[0], both), node.attributes, node, inner)


# Rules by op ----------------------------------------------------------------------------------------------------------


def divide_by_one(node: Node, rewriter: Rewriter) -> Value | None:
    """x / 1 -> x"""
    left, right = node.inputs
    return left if rewriter.holds(right, 1) and left.type == node.output.type else None


def divide_by_power_of_two(node: Node, rewriter: Rewriter) -> Value | None:
    """x / 8 -> x * 0.125: both round the same exact quotient, as 1/8 is exact. A multiplication is 4 to 10 times as
    fast."""
    left, right = node.inputs
    found = rewriter.uniform(right)
    if found is None or not right.type.dtype.is_floating:
        return None
    divisor = float(found)
    if divisor == 0 or not math.isfinite(divisor) or abs(math.frexp(divisor)[0]) != 0.5:
        return None
    inverse = number_of(1 / divisor, right.type.dtype)
    if inverse is None or float(inverse) != 1 / divisor or not math.isfinite(float(inverse)):
        return None
    factor = rewriter.full(1 / divisor, right.type, node)
    return None if factor is None else rewriter.make("multiply", (left, factor), {}, node)


def multiply_by_minus_one(node: Node, rewriter: Rewriter) -> Value | None:
    """x * -1 -> -x"""
    left, right = node.inputs
    if not rewriter.holds(right, -1) or left.type != node.output.type or left.type.dtype.is_unsigned:
        return None
    return rewriter.make("negative", (left,), {}, node)


def subtract_zero(node: Node, rewriter: Rewriter) -> Value | None:
    """x - 0.0 -> x. (x - -0.0 stays: -0.0 - -0.0 is 0.0.)"""
    left, right = node.inputs
    return left if rewriter.holds(right, 0.0) and left.type == node.output.type else None


def subtract_itself(node: Node, rewriter: Rewriter) -> Value | None:
    """n - n -> 0, n ^ n -> 0: not for floats, inf - inf is nan."""
    left, right = node.inputs
    if left is not right or not _is_modular(left):
        return None
    return rewriter.full(0, node.output.type, node)


def add_of_negative(node: Node, rewriter: Rewriter) -> Value | None:
    """x + -y -> x - y, -x + y -> y - x: IEEE 754 defines the difference so."""
    left, right = node.inputs
    inner = _producer(right, "negative")
    if inner is not None:
        return rewriter.make("subtract", (left, inner.inputs[0]), {}, node, inner)
    inner = _producer(left, "negative")
    if inner is not None:
        return rewriter.make("subtract", (right, inner.inputs[0]), {}, node, inner)
    return None


def subtract_of_negative(node: Node, rewriter: Rewriter) -> Value | None:
    """x - -y -> x + y"""
    left, right = node.inputs
    inner = _producer(right, "negative")
    return None if inner is None else rewriter.make("add", (left, inner.inputs[0]), {}, node, inner)


def product_of_negatives(node: Node, rewriter: Rewriter) -> Value | None:
    """-x * -y -> x * y, -x / -y -> x / y: the sign of a product is exact. (Float division only.)"""
    first, second = (_producer(value, "negative") for value in node.inputs)
    if first is None or second is None:
        return None
    return rewriter.make(node.op.name, (first.inputs[0], second.inputs[0]), {}, node, first, second)


def undo_twice(node: Node, rewriter: Rewriter) -> Value | None:
    """-(-x) -> x, not (not b) -> b, ~~n -> n"""
    inner = _producer(node.inputs[0], node.op.name)
    return None if inner is None else inner.inputs[0]


def sign_free_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """abs(-x) -> abs(x), square(-x) -> square(x). Not abs of an unsigned -x, which wraps to another positive number."""
    inner = _producer(node.inputs[0], "negative")
    if inner is not None and node.op.name == "absolute" and node.output.type.dtype.is_unsigned:
        return None
    return None if inner is None else rewriter.make(node.op.name, inner.inputs, {}, node, inner)


def not_of_comparison(node: Node, rewriter: Rewriter) -> Value | None:
    """not (x == y) -> x != y; for integers also not (n < m) -> n >= m, which NaN forbids for floats."""
    inner = node.inputs[0].producer
    if inner is None:
        return None
    opposite = _OPPOSITE.get(inner.op.name)
    if opposite is None and inner.op.name in _INTEGER_OPPOSITE and _is_modular(inner.inputs[0]):
        opposite = _INTEGER_OPPOSITE[inner.op.name]
    return None if opposite is None else rewriter.make(opposite, inner.inputs, {}, node, inner)


def integer_power_of_two(node: Node, rewriter: Rewriter) -> Value | None:
    """n ** 2 -> square(n). Not for floats: our pow(x, 2) may differ from x * x in the last bit."""
    left, right = node.inputs
    if left.type != node.output.type or not left.type.dtype.is_integer or not rewriter.holds(right, 2):
        return None
    return rewriter.make("square", (left,), {}, node)


def integer_remainder_by_one(node: Node, rewriter: Rewriter) -> Value | None:
    """n % 1 -> 0"""
    right = node.inputs[1]
    if not right.type.dtype.is_integer or not rewriter.holds(right, 1):
        return None
    return rewriter.full(0, node.output.type, node)


def select_equal_branches(node: Node, rewriter: Rewriter) -> Value | None:
    """select(c, x, x) -> x"""
    _, left, right = node.inputs
    return left if left is right and left.type == node.output.type else None


def select_by_constant(node: Node, rewriter: Rewriter) -> Value | None:
    """select(True, x, y) -> x, select(False, x, y) -> y"""
    condition, left, right = node.inputs
    found = rewriter.uniform(condition)
    if found is None:
        return None
    chosen = left if bool(found) else right
    return chosen if chosen.type == node.output.type else None


def select_by_not(node: Node, rewriter: Rewriter) -> Value | None:
    """select(not c, x, y) -> select(c, y, x)"""
    condition, left, right = node.inputs
    inner = _producer(condition, "logical_not")
    return None if inner is None else rewriter.make("select", (inner.inputs[0], right, left), {}, node, inner)


#: op -> its rules, tried in order after the generic ones
RULES: dict[str, tuple[Rule, ...]] = {
    "add": (add_of_negative,),
    "subtract": (subtract_zero, subtract_itself, subtract_of_negative),
    "multiply": (multiply_by_minus_one, product_of_negatives),
    "divide": (divide_by_one, divide_by_power_of_two, product_of_negatives),
    "negative": (undo_twice,),
    "logical_not": (undo_twice, not_of_comparison),
    "bitwise_invert": (undo_twice,),
    "bitwise_xor": (subtract_itself,),
    "logical_xor": (subtract_itself,),
    "absolute": (sign_free_operand,),
    "square": (sign_free_operand,),
    "pow": (integer_power_of_two,),
    "floormod": (integer_remainder_by_one,),
    "truncatemod": (integer_remainder_by_one,),
    "select": (select_equal_branches, select_by_constant, select_by_not),
}


def generic_rules(op: Op) -> tuple[Rule, ...]:
    """The rules that follow from an op's facts: unit, zero, commutative, idempotent."""
    rules: list[Rule] = []
    count = len(op.operands)
    if op.variadic:
        return ()
    if count == 2:
        if op.unit is not None or op.name in _UNITS:
            rules.append(unit_operand)
        if op.zero is not None or op.name in _ZEROS:
            rules.append(integer_zero_operand)
        if op.idempotent:
            rules.append(idempotent_same)
        if op.commutative:
            rules.append(constant_to_the_right)
        if op.commutative and op.name in _ASSOCIATIVE:
            rules.append(constants_together)
    elif count == 1 and op.idempotent:
        rules.append(idempotent_twice)
    return tuple(rules)

"""Dims: the symbolic algebra against integers, and its text."""
# ruff: noqa: E501 (tables)

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.errors import ParseError
from graphflow.ir.dims import (
    DimensionsMustAgree,
    SymbolicDim,
    dim_max,
    dim_min,
    evaluate,
    parse_dim,
    product,
    require_equal,
    substitute,
    symbol,
    symbols_of,
)  # fmt: skip

NAMES = ("batch", "s0", "min", "f32")
ENVIRONMENTS = st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMES})


class Expression:
    """A dim beside the same computation on integers."""

    def __init__(self, dim, compute, text):
        self.dim, self.compute, self.text = dim, compute, text

    def __repr__(self):
        return self.text


def _combine(pair):
    operator, left, right = pair
    a, b, text = left.dim, right.dim, f"({left.text}) {operator} ({right.text})"
    if operator in ("//", "%"):  # a divisor that is surely positive
        b, positive = dim_max(b, 1), lambda env: max(right.compute(env), 1)
        if operator == "//":
            return Expression(a // b, lambda env: left.compute(env) // positive(env), text)
        return Expression(a % b, lambda env: left.compute(env) % positive(env), text)
    on_dims = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "min": lambda: dim_min(a, b),
        "max": lambda: dim_max(a, b),
    }
    on_ints = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "min": min, "max": max}[
        operator
    ]
    return Expression(on_dims[operator](), lambda env: on_ints(left.compute(env), right.compute(env)), text)


LEAVES = st.one_of(
    st.integers(-5, 9).map(lambda n: Expression(n, lambda env: n, str(n))),
    st.sampled_from(NAMES).map(lambda name: Expression(symbol(name), lambda env: env[name], name)),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "//", "%", "min", "max"]), inner, inner).map(_combine),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, ENVIRONMENTS)
def test_same_as_integers(expression, env):
    assert evaluate(expression.dim, env) == expression.compute(env)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, ENVIRONMENTS)
def test_text_parses_back(expression, env):
    dim = expression.dim
    again = parse_dim(str(dim))
    assert again == dim and str(again) == str(dim)
    assert evaluate(again, env) == expression.compute(env)
    assert pickle.loads(pickle.dumps(dim)) == dim


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, st.sampled_from(NAMES), LEAVES, ENVIRONMENTS)
def test_substitution_is_evaluation_in_two_steps(expression, name, value, env):
    if isinstance(value.dim, int) and value.dim < 0:
        return  # symbols stand for extents
    half = substitute(expression.dim, {name: value.dim})
    assert evaluate(half, env) == expression.compute({**env, name: value.compute(env)})


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS)
def test_laws(a, b, c):
    a, b, c = a.dim, b.dim, c.dim
    assert a + b == b + a and a * b == b * a
    assert (a + b) + c == a + (b + c) and (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0 and a * 0 == 0 and a * 1 == a
    assert dim_min(a, b) == dim_min(b, a) and dim_max(a, b) == dim_max(b, a)


n, m = symbol("n"), symbol("m")


@pytest.mark.parametrize(("dim", "text"), [
    (n, "n"), (n + 1, "n+1"), (1 + n * 2, "2*n+1"), (n - m, "-m+n"), (-n, "-n"), (n * m * 3, "3*m*n"), (7 - n, "-n+7"),
    (n // 2, "n//2"), ((n + 1) // 2, "(n+1)//2"), ((n // 2) // 3, "(n//2)//3"), ((n // 2) * 3, "3*(n//2)"),
    ((n // 2) * m, "(n//2)*m"), (n // 2 + 1, "n//2+1"), (5 // n, "5//n"), (-(n // 2), "-n//2"), (n // m, "n//m"),
    (n // (m + 1), "n//(m+1)"), (dim_min(n, m + 1), "min(m+1,n)"), (dim_max(n - 3, 0), "max(n-3,0)"), (n % 4, "-4*(n//4)+n"), (7 % n, "-(7//n)*n+7"),
    ((4 * n) // 2, "2*n"), ((n * m) // m, "n"), (n // 1, "n"), (n // n, "1"), (0 // n, "0"), (n - n + 3, "3"),
    (dim_max(n, 0), "n"), (dim_min(n, n + 2), "n"), (dim_max(n + m, n), "m+n"), (dim_min(4, 7), "4"), (product([n, 2, n]), "2*n*n"),
])  # fmt: skip
def test_canonical_text(dim, text):
    assert str(dim) == text
    assert parse_dim(text) == dim


def test_signs_of_atoms():
    """max(x, 0) is x only where x is surely not negative: an atom may be."""
    inner = dim_min(n - 5, 3)
    clamped = dim_max(inner, 0)
    assert isinstance(clamped, SymbolicDim) and evaluate(clamped, {"n": 0}) == 0 and evaluate(clamped, {"n": 7}) == 2
    assert dim_max(n // 2, 0) == n // 2 and dim_max(dim_max(n - 5, 2), 0) == dim_max(n - 5, 2)


def test_absorption():
    """What is a min or max of something already is not one of it again, so that slices up to an extent have that extent."""
    small, large = dim_min(n, 4), dim_max(n, 4)
    assert dim_min(small, 4) == dim_min(small, n) == dim_min(small, large) == small and dim_max(small, n) == n
    assert dim_max(large, 4) == dim_max(large, n) == dim_max(large, small) == large and dim_min(large, 4) == 4
    assert isinstance(dim_min(small, m), SymbolicDim) and dim_min(n + 1, 4) != 4


def test_require_equal():
    assert require_equal(n + 1, 1 + n) and not require_equal(n, n + 1) and not require_equal(3, 4)
    with pytest.raises(DimensionsMustAgree, match="n == m") as caught:
        require_equal(n, m)
    assert not isinstance(caught.value, Exception)


def test_symbols_and_missing_values():
    dim = dim_min(n // symbol("k"), m) + 1
    assert symbols_of(dim) == {"n", "k", "m"} and symbols_of(4) == set()
    with pytest.raises(KeyError, match=r"needs a value for \['k', 'm'\]"):
        evaluate(dim, {"n": 3})
    assert n != "n" and hash(n + 1) == hash(1 + n)


@pytest.mark.parametrize(("text", "message"), [
    ("n ? 2", "unexpected"), ("n 2", "unexpected '2'"), ("(n", r"expected '\)'"), ("n +", "ends too early"), ("min(n 2)", "expected ','"),
    ("*n", r"unexpected '\*'"), ("", "ends too early"),
])  # fmt: skip
def test_wrong_text(text, message):
    with pytest.raises(ParseError, match=message):
        parse_dim(text)

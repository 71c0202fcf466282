"""Random small programs of nested loops and choices: eager against compiled, results and gradients, bit for bit."""

from __future__ import annotations

import numpy as np
from control_checks import assert_same_bits, gradient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import graphflow as gf

LEAVES = st.sampled_from(["x", "w", "y", "z", "row"])


def trees(children):
    return st.one_of(
        st.tuples(st.sampled_from(["sin", "tanh", "negative"]), children),
        st.tuples(st.sampled_from(["add", "multiply", "subtract", "maximum"]), children, children),
        st.tuples(st.just("if"), children, children, children),
        st.tuples(st.just("while"), st.integers(0, 3), children, children),
        st.tuples(st.just("fold"), children, children),
        st.tuples(st.just("until"), children, children),
    )


EXPRESSIONS = st.recursive(LEAVES, trees, max_leaves=7)
RESULTS = st.sampled_from(["y", "z", "both"])


def evaluate(tree, names):
    """The value of an expression: f32[3]."""
    if isinstance(tree, str):
        return names[tree]
    kind, *parts = tree
    if kind == "if":
        test, yes, no = parts
        value = evaluate(test, names)
        return gf.cond(gf.reduce_sum(value) > 0, lambda: evaluate(yes, names), lambda: evaluate(no, names))
    if kind == "while":
        count, start, step = parts

        def body(i, y, z):
            inner = {**names, "y": y, "z": z}
            return i + 1, gf.tanh(evaluate(step, inner)), z * 0.5 + y

        return gf.while_loop(lambda i, y, z: i < count, body, (0, evaluate(start, names), names["z"]))[1]
    if kind == "fold":
        start, step = parts
        rows = gf.stack([names["x"], names["row"]])
        return gf.foldl(
            lambda y, row: gf.sin(evaluate(step, {**names, "y": y, "row": row})), rows, evaluate(start, names)
        )
    if kind == "until":  # at most four iterations; how many depends on the values
        start, step = parts

        def more(i, y):
            return (gf.reduce_sum(y * y) < 2.0) & (i < 4)

        def grown(i, y):
            return i + 1, y * 1.5 + gf.tanh(evaluate(step, {**names, "y": y}))

        return gf.while_loop(more, grown, (0, evaluate(start, names)))[1]
    return getattr(gf, kind)(*(evaluate(part, names) for part in parts))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate])
@given(EXPRESSIONS, EXPRESSIONS, RESULTS, st.integers(0, 2**16))
def test_random_program(first, second, result, seed):
    def program(x, w):
        def body(i, y, z):
            names = {"x": x, "w": w, "y": y, "z": z, "row": x * w}
            return i + 1, gf.tanh(evaluate(first, names)), gf.sin(evaluate(second, names))

        _, y, z = gf.while_loop(lambda i, y, z: i < 3, body, (0, x, w))
        return {"y": (y,), "z": (z,), "both": (y, z)}[result]

    values = np.random.default_rng(seed).uniform(-1, 1, (2, 3)).astype(np.float32)
    x, w = gf.constant(values[0]), gf.constant(values[1])
    assert_same_bits(program(x, w), gf.function(program)(x, w))
    eager = gradient(program)(x, w)
    compiled = gf.function(gradient(program))(x, w)
    for a, b in zip(eager, compiled, strict=True):
        if a is None:  # a path that this run does not take: zeros in the compiled function
            assert b is None or not np.any(np.asarray(b))
        elif np.any(np.asarray(a)):
            assert_same_bits(a, b)
        else:  # a sum of nothing but zeros: a branch that no iteration takes adds one more, which may turn -0.0 into 0.0
            assert not np.any(np.asarray(b))

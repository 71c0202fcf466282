"""Forward mode: ForwardAccumulator against reverse mode, in every nesting, eagerly and compiled, with the same bits."""

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir.op import OPS, Effect

Accumulator = gf.autodiff.ForwardAccumulator
X, V = [0.5, 2.0, -0.3], [1.0, -1.0, 0.5]


def function(x):
    return gf.exp(x) * gf.sin(x) + gf.reduce_max(x) * gf.nn.softmax(x) + gf.cumsum(x * x)


def gradient(f, x, weights=None):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x, output_gradients=weights)


def forward(f, x, v):
    with Accumulator(x, v) as accumulator:
        y = f(x)
    return accumulator.jvp(y)


def both_modes(f, *args):
    """The result, eagerly and compiled, with one set of bits."""
    eager, compiled = f(*args), gf.function(f)(*args)
    assert eager.numpy().tobytes() == compiled.numpy().tobytes()
    return eager.numpy()


def test_it_is_the_jacobian_times_the_tangent():
    x, v = gf.constant(X), gf.constant(V)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    expected = tape.jacobian(y, x).numpy() @ v.numpy()
    np.testing.assert_allclose(both_modes(lambda x, v: forward(function, x, v), x, v), expected, rtol=1e-5)
    compiled = gf.function(function)
    np.testing.assert_allclose(both_modes(lambda x, v: forward(compiled, x, v), x, v), expected, rtol=1e-5)


def test_every_nesting_gives_the_second_derivative():
    x, v = gf.constant(X), gf.constant(V)

    def scalar(x):
        return gf.reduce_sum(function(x))

    def forward_over_reverse(x, v):
        return forward(lambda x: gradient(scalar, x), x, v)

    def reverse_over_forward(x, v):
        return gradient(lambda x: forward(scalar, x, v), x)

    def reverse_over_reverse(x, v):
        return gradient(lambda x: gradient(scalar, x), x, v)

    def forward_over_forward(x, v):
        return forward(lambda x: forward(scalar, x, v), x, v)

    expected = both_modes(reverse_over_reverse, x, v)
    for f in (forward_over_reverse, reverse_over_forward):
        np.testing.assert_allclose(both_modes(f, x, v), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both_modes(forward_over_forward, x, v), expected @ v.numpy(), rtol=1e-4)


def test_third_order():
    x = gf.constant(0.7)
    one = gf.constant(1.0)

    def third(x):
        return forward(lambda x: gradient(lambda x: forward(lambda x: gf.sin(x * x), x, one), x), x, one)

    u = 0.7
    expected = -12 * u * np.sin(u * u) - 8 * u**3 * np.cos(u * u)
    np.testing.assert_allclose(both_modes(third, x), expected, rtol=1e-4)


def test_through_loops_branches_and_variables():
    w = gf.Variable(1.5)

    def walk(x):
        for _ in gf.range(4):
            if x > 1.0:
                x = x * w
            else:
                x = gf.sin(x) + w
        return x

    def directional(x):
        with Accumulator([x, w], [gf.constant(1.0), gf.constant(2.0)]) as accumulator:
            y = walk(x)
        return accumulator.jvp(y)

    def reverse(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = walk(x)
        dx, dw = tape.gradient(y, [x, w])
        return dx + 2.0 * dw

    def second(x):
        return forward(lambda x: gradient(walk, x), x, gf.constant(1.0))

    def second_reverse(x):
        return gradient(lambda x: forward(walk, x, gf.constant(1.0)), x)

    x = gf.constant(0.3)
    np.testing.assert_allclose(both_modes(directional, x), both_modes(reverse, x), rtol=1e-6)
    np.testing.assert_allclose(both_modes(second, x), both_modes(second_reverse, x), rtol=1e-5)


def test_a_loop_and_its_tangents_are_one_loop():
    def walk(x):
        for _ in gf.range(5):
            x = gf.tanh(x * 1.1)
        return x

    @gf.function
    def step(x, v):
        with Accumulator(x, v) as accumulator:
            y = walk(x)
        return y, accumulator.jvp(y)

    x, v = gf.constant(X), gf.constant(V)
    step(x, v)
    nodes = step.get_concrete_function(x, v).executable.graph.nodes
    assert sum(node.op.name == "while" for node in nodes) == 1


def test_unconnected_and_nested_structures():
    x, v = gf.constant(X), gf.constant(V)
    with Accumulator({"a": x}, {"a": v}) as accumulator:
        y = {"floor": gf.floor(x), "other": gf.constant(1.0) * 2.0, "cut": gf.stop_gradient(x), "x": x * 2.0}
    found = accumulator.jvp(y)
    assert found["floor"] is None or not found["floor"].numpy().any()
    assert found["other"] is None
    assert found["cut"] is None
    np.testing.assert_array_equal(found["x"].numpy(), 2 * v.numpy())
    zeros = accumulator.jvp(y, unconnected_gradients=gf.UnconnectedGradients.ZERO)
    assert zeros["other"].numpy() == 0
    np.testing.assert_array_equal(accumulator.jvp(x).numpy(), v.numpy())


def test_custom_gradients_have_tangents():
    @gf.custom_gradient
    def triple(x):
        return x * 1.0, lambda dy: dy * 3.0

    x, v = gf.constant(X), gf.constant(V)
    np.testing.assert_array_equal(both_modes(lambda x, v: forward(triple, x, v), x, v), 3 * v.numpy())


def test_misuse():
    x, v = gf.constant(X), gf.constant(V)
    with pytest.raises(ValueError, match="must be like it"):
        Accumulator(x, gf.constant([1.0]))
    with pytest.raises(RuntimeError, match="given twice"):
        Accumulator([x, x], [v, v])
    with pytest.raises(RuntimeError, match="float"):
        Accumulator(gf.constant([1]), gf.constant([1]))
    with pytest.raises(RuntimeError, match="2 tangents for 1"):
        Accumulator(x, [v, v])
    with Accumulator(x, v) as accumulator, pytest.raises(RuntimeError, match="already"), accumulator:
        pass


def _differentiable():
    for op in OPS.values():
        if op.gradient is None or op.samples is None or isinstance(op.kernel, Effect):
            continue
        for sample in op.samples():
            floats = [k for k, a in enumerate(sample.arrays) if a.dtype == np.float64]
            if sample.gradient and sample.error is None and floats and all(a.size < 200 for a in sample.arrays):
                yield op, sample, floats
                break


DIFFERENTIABLE = list(_differentiable())


@pytest.mark.parametrize(("op", "sample", "floats"), DIFFERENTIABLE, ids=[op.name for op, _, _ in DIFFERENTIABLE])
def test_every_op_against_reverse_mode(op, sample, floats):
    """<u, J v> by forward mode and by reverse mode."""
    generator = np.random.default_rng(3)
    values = [gf.constant(a) for a in sample.arrays]
    primals = [values[k] for k in floats]
    tangents = [gf.constant(generator.normal(size=tuple(p.shape))) for p in primals]

    def result():
        found = op(*values, **sample.attributes)
        outputs = found if isinstance(found, tuple) else (found,)
        return [t for t in outputs if t.dtype is gf.float64]

    with Accumulator(primals, tangents) as accumulator, gf.GradientTape() as tape:
        tape.watch(primals)
        outputs = result()
    if not outputs:
        return
    weights = [gf.constant(generator.normal(size=tuple(t.shape))) for t in outputs]
    zero = gf.UnconnectedGradients.ZERO
    forward_value = sum(
        float(np.sum(u.numpy() * t.numpy())) for u, t in zip(weights, accumulator.jvp(outputs, zero), strict=True)
    )
    gradients = tape.gradient(outputs, primals, weights, zero)
    reverse_value = sum(float(np.sum(g.numpy() * t.numpy())) for g, t in zip(gradients, tangents, strict=True))
    np.testing.assert_allclose(forward_value, reverse_value, rtol=1e-8, atol=1e-10)

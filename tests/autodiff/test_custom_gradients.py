"""Gradients that the user writes: TensorFlow's custom_gradient, grad_pass_through and recompute_grad."""

import pickle

import numpy as np
import pytest

import graphflow as gf

MODES = ["eager", "graph", "function inside"]


def run(mode, f, *args):
    return gf.function(f)(*args) if mode == "graph" else f(*args)


def called(mode, f):
    """What the tape is around: the function, or a compiled one."""
    return gf.function(f) if mode == "function inside" else f


def same_bits(a, b):
    return a.numpy().tobytes() == b.numpy().tobytes()


@gf.custom_gradient
def log1pexp(x):
    e = gf.exp(x)
    return gf.math.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_is_the_given_one_to_any_order(mode):
    f = called(mode, log1pexp)

    def step(x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = f(x)
            first = inner.gradient(y, x)
        return y, first, outer.gradient(first, x)

    x = gf.constant([0.5, 100.0])
    for _ in range(3):
        _, first, second = run(mode, step, x)
    assert first.numpy()[1] == 1.0  # exp(100) is infinite in float32: the plain gradient would be NaN
    sigmoid = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(first.numpy()[0], sigmoid, rtol=1e-6)
    np.testing.assert_allclose(second.numpy()[0], sigmoid * (1 - sigmoid), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_variables_keywords_and_several_results(mode):
    w = gf.Variable([2.0, 3.0])
    seen = []

    @gf.custom_gradient
    def f(a, b, *, scale=1.0):
        def gradient(d_sum, d_product, variables=None):
            seen.append([v is w for v in variables])
            return (d_sum * 10.0, None), [gf.ones_like(w) * 7.0]

        return {"sum": (a + b) * w * scale, "product": a * b}, gradient

    def step(a, b):
        with gf.GradientTape() as tape:
            tape.watch([a, b])
            y = f(a, b, scale=2.0)
        return y["sum"], tape.gradient([y["sum"], y["product"]], [a, b, w])

    a, b = gf.constant([1.0, 2.0]), gf.constant([3.0, 4.0])
    value, (da, db, dw) = run(mode, step, a, b)
    assert value.numpy().tolist() == [16, 36]
    assert da.numpy().tolist() == [10, 10]
    assert db is None
    assert dw.numpy().tolist() == [7, 7]
    assert seen == [[True]]


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_in_loops_and_branches(mode):
    w = gf.Variable(2.0)

    @gf.custom_gradient
    def scaled(x):
        return x * w, lambda dy, variables: (dy * 10.0, [dy * 100.0])

    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in gf.range(3):
                if y > 1.0:
                    y = scaled(y)
                else:
                    y = log1pexp(y) + 1.0
        return tape.gradient(y, [x, w])

    dx, dw = run(mode, step, gf.constant(0.5))
    np.testing.assert_allclose(dx.numpy(), 100 / (1 + np.exp(-0.5)), rtol=1e-5)
    assert dw.numpy() == 1100


@pytest.mark.parametrize("mode", MODES)
def test_nested(mode):
    @gf.custom_gradient
    def inner(x):
        return x * x, lambda dy: dy * 3.0

    @gf.custom_gradient
    def outer(x):
        return inner(x) + 1.0, lambda dy: inner(dy) + dy * x

    f = called(mode, outer)

    def step(x):
        with gf.GradientTape() as second:
            second.watch(x)
            with gf.GradientTape() as first:
                first.watch(x)
                y = f(x)
            g = first.gradient(y, x)
        return g, second.gradient(g, x)

    g, gg = run(mode, step, gf.constant(5.0))
    assert (float(g), float(gg)) == (6, 1)


def test_a_gradient_function_that_fails_does_so_when_it_is_wanted():
    @gf.custom_gradient
    def f(x):
        def gradient(dy):
            raise KeyError("no gradient today")

        return x * 2.0, gradient

    assert gf.function(f)(gf.constant(3.0)).numpy() == 6

    @gf.function
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x)

    with pytest.raises(KeyError, match="no gradient today"):
        step(gf.constant(1.0))


def test_what_does_not_fit_is_an_error():
    w = gf.Variable(1.0)
    x = gf.constant([1.0, 2.0])

    def gradient_of(f):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.custom_gradient(f)(x)
        return tape.gradient(y, x)

    with pytest.raises(TypeError, match="variables="):
        gradient_of(lambda x: (x * w, lambda dy: dy))
    with pytest.raises(ValueError, match="2 gradients for 1 argument"):
        gradient_of(lambda x: (x * 1.0, lambda dy: (dy, dy)))
    with pytest.raises(ValueError, match=r"argument 0 must be f32\[2\], got f32\[\]"):
        gradient_of(lambda x: (x * 1.0, lambda dy: gf.reduce_sum(dy)))
    with pytest.raises(TypeError, match="gradient function"):
        gradient_of(lambda x: x)
    with pytest.raises(ValueError, match="1 variable"):
        gradient_of(lambda x: (x * w, lambda dy, variables: (dy, [])))


@pytest.mark.parametrize("mode", MODES)
def test_pass_through(mode):
    f = called(mode, gf.grad_pass_through(gf.floor))

    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x) * x
        return y, tape.gradient(y, x)

    y, g = run(mode, step, gf.constant(2.5))
    assert (float(y), float(g)) == (5, 4.5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_why_none_names_the_function_and_its_line(mode):
    @gf.custom_gradient
    def cut(x):
        return x * 2.0, lambda dy: None

    f = called(mode, lambda x: cut(x) + 1.0)
    said = []

    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x) * 3.0
        said.append(tape.why_none(y, x))
        return y

    for _ in range(3):
        run(mode, step, gf.constant(1.0))
    assert all("its gradient function returns None" in text and "cut(x)" in text for text in said)


# Recomputation --------------------------------------------------------------------------------------------------------
def layers(count, recompute):
    weights = [
        gf.Variable(np.random.default_rng(k).normal(size=(16, 16)).astype("f4") / 4, name=f"w{k}") for k in range(count)
    ]

    def layer(w):
        return lambda h: gf.tanh(gf.matmul(gf.sigmoid(gf.matmul(gf.tanh(gf.matmul(h, w)), w)), w)) + h

    def step(x):
        with gf.GradientTape() as tape:
            h = x
            for w in weights:
                f = layer(w)
                h = (gf.recompute_grad(f) if recompute else f)(h)
            loss = gf.reduce_sum(h * h)
        return loss, tape.gradient(loss, weights)

    return step


def test_recomputation_lowers_the_planned_peak_and_keeps_the_bits():
    x = gf.constant(np.random.default_rng(99).normal(size=(256, 16)).astype("f4"))
    plain, recomputed = layers(12, False), layers(12, True)
    functions = [gf.function(plain), gf.function(recomputed)]
    results = [f(x) for f in (plain, recomputed, *functions)]
    for loss, gradients in results:
        assert same_bits(loss, results[0][0])
        assert all(same_bits(a, b) for a, b in zip(gradients, results[0][1], strict=True))
    peaks = [f.get_concrete_function(x).executable.program.layout({}).total for f in functions]
    layer = 256 * 16 * 4
    assert peaks[0] > 12 * 4 * layer  # every layer keeps its intermediate values
    assert peaks[1] < (12 + 12) * layer  # one value of each layer, and what one layer needs


def test_recomputation_in_a_loop_with_an_argument_structure():
    w = gf.Variable(0.5)

    def body(state):
        return {"x": gf.sin(state["x"]) * w}

    def step(x, f):
        with gf.GradientTape() as tape:
            tape.watch(x)
            state = {"x": x}
            for _ in gf.range(4):
                state = f(state)
            y = state["x"]
        return tape.gradient(y, [x, w])

    x = gf.constant(0.7)
    plain = step(x, body)
    for found in (step(x, gf.recompute_grad(body)), gf.function(lambda x: step(x, gf.recompute_grad(body)))(x)):
        for a, b in zip(plain, found, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


# Values without gradients ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_stop_gradient(mode):
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = x * gf.stop_gradient(x * x)
        return tape.gradient(y, x)

    assert run(mode, step, gf.constant(3.0)).numpy() == 9


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_second_derivative_of_leaky_relu_is_zero_not_none(mode):
    def step(x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = gf.nn.leaky_relu(x, alpha=0.25)
            g = inner.gradient(y, x)
        return g, outer.gradient(g, x)

    first, second = run(mode, step, gf.constant([2.0, -2.0, 0.0]))
    assert first.numpy().tolist() == [1, 0.25, 0.25]
    assert second.numpy().tolist() == [0, 0, 0]


# Pickling -------------------------------------------------------------------------------------------------------------
@gf.custom_gradient
def doubled(x):
    return gf.exp(x), lambda dy: dy * 2.0 * x


@gf.custom_gradient
def nested_doubled(x):
    return doubled(x) * x, lambda dy: dy * doubled(x)


@gf.custom_gradient
def without_any(x):
    def gradient(dy):
        raise ValueError("no gradient today")

    return x * 1.0, gradient


def test_concrete_functions_keep_the_gradients_when_they_are_pickled():
    def chain(x):
        for _ in gf.range(3):
            x = nested_doubled(x) * 0.1
        return gf.recompute_grad(lambda t: gf.tanh(t * t))(x)

    x = gf.constant([0.5, 1.5])
    concrete = gf.function(chain).get_concrete_function(x)
    found = []
    for function in (concrete, pickle.loads(pickle.dumps(concrete))):
        with gf.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with gf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            gradient = tape.gradient(y, x)
        found.append([y.numpy().tobytes(), gradient.numpy().tobytes(), outer.gradient(gradient, x).numpy().tobytes()])
    assert found[0] == found[1]


def test_a_pickled_gradient_that_could_not_be_traced_says_so_when_it_is_wanted():
    x = gf.constant(1.0)
    loaded = pickle.loads(pickle.dumps(gf.function(lambda x: without_any(x)).get_concrete_function(x)))
    assert float(loaded(x)) == 1.0
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = loaded(x)
    with pytest.raises(ValueError, match="no gradient today"):
        tape.gradient(y, x)

"""Jacobians: one walk for all rows, with the bits of row by row; in eager mode and compiled."""

import numpy as np
import pytest

import graphflow as gf

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(4, 6)).astype("f4")
W = GENERATOR.normal(size=(6, 5)).astype("f4")
M = (GENERATOR.normal(size=(3, 3)) + 4 * np.eye(3)).astype("f4")
IMAGE = GENERATOR.normal(size=(1, 5, 5, 2)).astype("f4")
KERNEL = GENERATOR.normal(size=(3, 3, 2, 2)).astype("f4")


def loop(x):
    for _ in gf.range(3):
        x = gf.sin(x) * 1.1
    return x


CASES = {
    "dense": (lambda x, w: gf.tanh(gf.matmul(x, w)), (X, W)),
    "batched product": (lambda x: gf.matmul(gf.reshape(x, (2, 3, 4)), gf.reshape(x, (2, 4, 3))), (X,)),
    "product with a vector": (lambda x, w: gf.linalg.matvec(x, w[:, 0]), (X, W)),
    "softmax": (gf.nn.softmax, (X,)),
    "reductions": (lambda x: gf.reduce_sum(x * x, 0) + gf.reduce_max(x, 0) + gf.reduce_prod(x, 0), (X,)),
    "slices": (lambda x: gf.concat([x[:, ::2], gf.reverse(x[:, 1:4], [1])], 1) * x[0, 0], (X,)),
    "broadcasting": (lambda x: x[:, :1] * x[0], (X,)),
    "pad and transpose": (lambda x: gf.transpose(gf.pad(x, [[1, 0], [0, 2]])) ** 2, (X,)),
    "gather": (lambda x: gf.gather(x, [1, 1, 3]) * gf.gather(x, [0, 2, 2]), (X,)),
    "gather of columns": (lambda x: gf.gather(x, [[1, 1], [0, 5]], axis=1) ** 2, (X,)),
    "cumsum": (lambda x: gf.cumsum(x, axis=1) * x, (X,)),
    "choice": (lambda x: gf.where(x > 0, x * x, gf.exp(x)), (X,)),
    "loop": (loop, (X,)),
    "inverse": (gf.linalg.inv, (M,)),
    "determinant": (gf.linalg.det, (M,)),
    "convolution": (lambda i, k: gf.nn.conv2d(i, k, strides=1, padding="SAME"), (IMAGE, KERNEL)),
    "scalar": (lambda x: gf.reduce_sum(x**3), (X,)),
    "custom": (lambda x: gf.grad_pass_through(gf.floor)(x) * x, (X,)),
}


@pytest.mark.parametrize("name", CASES)
def test_at_once_and_row_by_row_have_the_same_bits(name):
    f, arrays = CASES[name]
    values = [gf.constant(a) for a in arrays]

    def jacobian(use_pfor):
        def run(*values):
            with gf.GradientTape() as tape:
                tape.watch(list(values))
                y = f(*values)
            return tape.jacobian(y, list(values), experimental_use_pfor=use_pfor)

        return run

    expected = jacobian(False)(*values)
    for found in (jacobian(True)(*values), gf.function(jacobian(True))(*values), gf.function(jacobian(False))(*values)):
        for a, b, x in zip(found, expected, values, strict=True):
            assert tuple(a.shape)[len(a.shape) - len(x.shape) :] == tuple(x.shape)
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_against_central_differences():
    x = gf.constant(X.astype("f8"))
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.nn.softmax(x * x)
    found = tape.jacobian(y, x).numpy().reshape(24, 24)
    for k in range(24):
        step = np.zeros(24)
        step[k] = 1e-6
        up, down = (gf.nn.softmax(gf.constant((X + s * step.reshape(4, 6)) ** 2)).numpy() for s in (1, -1))
        np.testing.assert_allclose(found[:, k], ((up - down) / 2e-6).reshape(-1), atol=1e-8)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_rows_of_a_batch(mode):
    def run(x):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = gf.stack([x[:, 0] * x[:, 1], gf.reduce_sum(x * x, 1)], axis=1)
        return tape.batch_jacobian(y, x), tape.batch_jacobian(y, x, experimental_use_pfor=False)

    at_once, loop = (gf.function(run) if mode == "graph" else run)(gf.constant(X))
    assert tuple(at_once.shape) == (4, 2, 6)
    np.testing.assert_array_equal(at_once.numpy(), loop.numpy())
    np.testing.assert_array_equal(at_once.numpy()[:, 1], 2 * X)


def test_a_large_target_makes_one_loop_and_not_as_many_walks():
    @gf.function
    def run(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.tanh(x)
        return tape.jacobian(y, x, experimental_use_pfor=False)

    x = gf.constant(X)
    run(x)
    assert len(run.get_concrete_function(x).graph.nodes) < 60


def test_an_op_without_a_rule_is_told():
    @gf.function
    def run(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = loop(x)
        return tape.jacobian(y, x)

    run(gf.constant(X))
    assert any("no rule for a batch" in str(remark) for remark in run.explain().remarks)


def test_hessian_of_a_gradient_and_unconnected_sources():
    x, other = gf.constant(X), gf.constant([1.0, 2.0])
    with gf.GradientTape() as outer:
        outer.watch([x, other])
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = gf.reduce_sum(x**3)
        g = inner.gradient(y, x)
    found, zeros = outer.jacobian(g, [x, other], unconnected_gradients="zero")
    np.testing.assert_allclose(found.numpy().reshape(24, 24), np.diag(6 * X.reshape(-1)), rtol=1e-6)
    assert tuple(zeros.shape) == (4, 6, 2)
    assert not zeros.numpy().any()


def test_the_jacobian_can_be_differentiated():
    x = gf.constant([0.5, 1.5])
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = gf.sin(x)
        rows = inner.jacobian(y, x)
    np.testing.assert_allclose(outer.gradient(rows, x).numpy(), -np.sin([0.5, 1.5]), rtol=1e-6)


# Without a tape -------------------------------------------------------------------------------------------------------
def test_gradients_of_a_graph():
    w, c = gf.Variable([1.0, 2.0]), gf.constant([3.0, 4.0])

    @gf.function
    def run(x):
        y = x * x * w
        z = gf.reduce_sum(y * c)
        s = x
        for _ in gf.range(3):
            s = s * w
        a = 2.0 * x
        return (
            gf.gradients(z, [x, w]),
            gf.gradients(gf.gradients(z, x)[0], x),
            gf.gradients(s, [x, w]),
            gf.gradients([y, a], [x, c], grad_ys=[2.0 * gf.ones_like(y), None], unconnected_gradients="zero"),
            gf.gradients(z, x, stop_gradients=[y]),
            gf.gradients(a + x * a, [x, a], stop_gradients=[x, a]),
            gf.hessians(gf.reduce_prod(x) * gf.reduce_sum(x), x),
        )

    found = gf.nest.map_structure(lambda t: None if t is None else t.numpy().tolist(), run(gf.constant([0.5, 1.5])))
    assert found == (
        [[3, 24], [0.75, 9]],
        [[6, 16]],
        [[1, 8], [1.5, 18]],
        [[4, 14], [0, 0]],
        [None],
        [[1, 3], [1.5, 2.5]],
        [[[3, 4], [4, 1]]],
    )
    with pytest.raises(RuntimeError, match="inside a gf"):
        gf.gradients(w, w)


# Symbolic extents -----------------------------------------------------------------------------------------------------
OF_ANY_EXTENT = {
    "elementwise": lambda x: gf.sin(x) * x,
    "matmul": lambda x: gf.matmul(x, x, transpose_b=True),
    "softmax": lambda x: gf.nn.softmax(x),
    "gather": lambda x: gf.gather(x, [0, 0]) ** 2,
    "sorted": lambda x: gf.sort(x),  # no rule for a batch: row by row, by a loop
    "loop": lambda x: gf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, gf.sin(h) * x), (gf.constant(0), x))[1],
    "scalar": lambda x: gf.reduce_sum(x * x),
}


def test_targets_of_symbolic_extents():
    def jacobians(x):
        found = []
        for f in OF_ANY_EXTENT.values():
            with gf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = f(x)
            found += [tape.jacobian(y, x), tape.jacobian(y, x, experimental_use_pfor=False)]
        return found

    compiled = gf.function(jacobians, input_signature=[gf.TensorSpec([None, None], gf.float64)])
    for shape in ((1, 1), (2, 3), (3, 1)):
        x = gf.constant(np.random.default_rng(0).standard_normal(shape))
        for one, other in zip(compiled(x), jacobians(x), strict=True):
            assert one.shape == other.shape
            assert one.numpy().tobytes() == other.numpy().tobytes()
    assert compiled.experimental_get_tracing_count() == 1


def test_empty_targets_of_symbolic_extents():
    def both(x):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = gf.sin(x) * x
        return tape.jacobian(y, x), tape.jacobian(y, x, experimental_use_pfor=False), tape.batch_jacobian(y, x)

    compiled = gf.function(both, input_signature=[gf.TensorSpec([None, 2], gf.float32)])
    assert [tuple(j.shape) for j in compiled(gf.zeros([0, 2]))] == [(0, 2, 0, 2), (0, 2, 0, 2), (0, 2, 2)]
    assert [tuple(j.shape) for j in compiled(gf.zeros([3, 2]))] == [(3, 2, 3, 2), (3, 2, 3, 2), (3, 2, 2)]


def test_batch_jacobians_of_what_does_not_depend_on_the_source_are_zeros():
    x = gf.ones([3, 2])
    with gf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = gf.ones([3, 4])
    assert tape.jacobian(y, x) is None
    assert tape.batch_jacobian(y, x).numpy().tolist() == np.zeros((3, 4, 2)).tolist()

"""Straight-line code: operators, literals, dtypes, shapes, reductions, indexing; and gradients through a tape."""

import graphflow as gf

from ..table import booleans, doubles, factory, floats, integers, longs, program


@program((floats(1, 2, 3), floats(4, 5, 6)), (floats(0.1, -2, 3e10), floats(1e-10, 5, -6)))
def operators(a, b):
    return a + b, a - b, a * b, a / b, a // b, a % b, a**2, -a, abs(a), +a


@program((integers(7, -7, 7), integers(2, 2, -2)))
def integer_operators(a, b):
    return a + b, a - b, a * b, a / b, a // b, a % b, a**2, -a, abs(a)


@program((integers(7, -7, 12), integers(2, 3, 5)))
def bit_operators(a, b):
    return a & b, a | b, a ^ b, ~a


@program((floats(1, 2, 3), floats(3, 2, 1)))
def comparisons(a, b):
    return a < b, a <= b, a > b, a >= b, a == b, a != b


@program(floats(1, 2, 3), floats(-1, 0.5, 7))
def python_literals(x):
    return 2 * x, x + 1, 1 - x, 2.5 / x, x**0.5, 3 // (x + 10)


@program(integers(1, 2, 3))
def integer_literals(n):
    return 2 * n, n + 1, 10 - n, 7 // n, 7 % n, n / 2


@program(longs(2**40), longs(-(2**40)))
def long_integers(n):
    return n * 3, n // 7, n % 7, gf.cast(n, gf.float64) / 3.0


@program(integers(2**31 - 1))
def integer_overflow_wraps(n):
    return n + 1, n * 2, -(n + 1)


@program(doubles(0.1, 0.2), doubles(1e300, -1e-300))
def double_precision(x):
    return gf.exp(-x * x), x + 0.1, gf.reduce_sum(x), gf.cast(x, gf.float32)


@program(floats(-2.5, -1.5, 0.5, 1.5, 2.5, 3.7))
def rounding(x):
    return gf.round(x), gf.floor(x), gf.math.ceil(x), gf.cast(x, gf.int32), gf.sign(x)


@program(floats(float("nan"), float("inf"), -0.0, 1.0))
def special_values(x):
    return (
        gf.maximum(x, 0.0), gf.minimum(x, 0.0), gf.math.is_nan(x), gf.math.is_inf(x), x == x, 1.0 / x,
        gf.reduce_max(x), gf.reduce_min(x), gf.where(gf.math.is_finite(x), x, 7.0),
    )  # fmt: skip


@program(floats(0.5, 1, 2), floats(10, 0.1, 3))
def transcendental(x):
    return gf.exp(x), gf.math.log(x), gf.sin(x), gf.cos(x), gf.tanh(x), gf.sqrt(x), gf.math.erf(x), gf.sigmoid(x)


@program((floats([[1, 2], [3, 4]]), floats([[5, 6], [7, 8]])))
def matrices(a, b):
    return a @ b, gf.transpose(a), gf.linalg.matmul(a, b, transpose_b=True), gf.reduce_sum(a @ b)


@program(floats([[1, 2, 3], [4, 5, 6]]), floats([[0, 1], [2, 3], [4, 5]]))
def reductions(x):
    return (
        gf.reduce_sum(x), gf.reduce_sum(x, axis=0), gf.reduce_mean(x, axis=1), gf.reduce_max(x, axis=-1),
        gf.reduce_prod(x), gf.argmax(x, axis=1), gf.reduce_any(x > 3), gf.reduce_all(x > 0, axis=0),
    )  # fmt: skip


@program(floats([[1, 2, 3], [4, 5, 6]]), floats([[0, 1], [2, 3], [4, 5]]))
def shapes(x):
    rows, columns = x.shape[0], x.shape[1]
    flat = gf.reshape(x, [rows * columns])
    return flat, gf.reshape(x, [columns, rows]), gf.shape(x), gf.size(x), gf.zeros([rows, 2]), gf.ones_like(x)


@program(floats([[1, 2, 3], [4, 5, 6]]))
def slicing(x):
    return x[0], x[:, 1], x[-1, ::-1], x[..., 0], x[:, None, :], x[0:1, 1:], x[1, 2]


@program((floats(1, 2, 3, 4), integers(3, 0, 0)))
def gathering(x, indices):
    return gf.gather(x, indices), x[indices[0]], gf.one_hot(indices, 4)


@program((floats(1, 2, 3), floats(4, 5, 6)))
def stacking(a, b):
    return gf.stack([a, b]), gf.concat([a, b], 0), gf.stack([a, b], axis=1), gf.tile(a, [2])


@program((floats([[1, 2, 3]]), floats([[1], [2]])))
def broadcasting(a, b):
    return a + b, gf.maximum(a, b), gf.where(a > b, a, b)


@program(floats(1, 2, 3), floats(-1, -5, 0))
def softmax_by_hand(x):
    e = gf.exp(x - gf.reduce_max(x))
    return e / gf.reduce_sum(e), gf.nn.softmax(x), gf.nn.log_softmax(x)


@program((floats([[1, 2], [3, 4], [5, 6]]), integers(0, 1, 1)))
def cross_entropy(logits, labels):
    losses = gf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return gf.reduce_mean(losses)


@program(floats(1, 2, 3))
def returns_python_values(x):
    return {"x": x, "name": "three", "n": 3, "none": None, "nested": [x + 1, (2.5, True)]}


@program(floats(1, 2, 3))
def returns_nothing(x):
    x + 1


@program((floats(1, 2), [floats(3, 4), {"k": floats(5, 6)}]))
def nested_arguments(a, rest):
    first, mapping = rest
    return a + first + mapping["k"]


@program(booleans(True, False, True), booleans(False, False, False))
def counting_booleans(m):
    return gf.reduce_sum(gf.cast(m, gf.int32)), gf.reduce_any(m), gf.logical_not(m)


@program(floats(1, 2, 3), floats(-1, 0, 1))
def gradient_of_polynomial(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.reduce_sum(x * x * x - 2.0 * x)
    return tape.gradient(y, x)


@program(floats(0.5), floats(1.5))
def second_derivative(x):
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = gf.sin(x) * x
        dy = inner.gradient(y, x)
    return dy, outer.gradient(dy, x)


@program(floats(2), floats(-2))
def gradient_through_branch(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        if x > 0:
            y = x * x
        else:
            y = -3.0 * x
    return tape.gradient(y, x)


@program((floats(1.5), integers(4)), (floats(0.5), integers(1)))
def gradient_through_loop(x, n):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for _ in gf.range(n):
            y = y * x + gf.sin(y)
    return tape.gradient(y, x)


@program((floats([[0.1, 0.2, 0.3], [0.5, -0.4, 0.1]]), floats([[0.5, 0.1, 0], [0, 0.5, 0.1], [0.2, 0, 0.5]])))
def gradient_of_recurrence(x, w):
    with gf.GradientTape() as tape:
        tape.watch([x, w])
        h = gf.zeros([1, 3])
        for row in x:
            h = gf.tanh(row[None, :] + h @ w)
        loss = gf.reduce_sum(h * h)
    return tape.gradient(loss, [x, w])


@program(floats(1.5), floats(-0.5))
def gradient_through_while_with_break(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x
        i = gf.constant(0)
        while i < 10:
            y = y * 1.5
            if y > 3:
                break
            i += 1
    return tape.gradient(y, x), y


@program((floats(0.7), integers(3)), (floats(-0.3), integers(2)))
def second_derivative_through_loop(x, n):
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = x
            for _ in gf.range(n):
                y = gf.sin(y) * x
        dy = inner.gradient(y, x)
    return dy, outer.gradient(dy, x)


@factory(floats(1, 2, 3), floats(0.5, 0.5, 0.5))
def gradient_step():
    w = gf.Variable([0.1, 0.2, 0.3])

    def run(x):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(w * x - 1.0))
        gradient = tape.gradient(loss, w)
        w.assign_sub(0.1 * gradient)
        return loss

    return run, [w]


@factory((floats(1, 2, 3), integers(5)), (floats(3, 2, 1), integers(2)))
def training_loop_inside():
    w = gf.Variable([0.1, 0.2, 0.3])

    def run(x, steps):
        loss = 0.0
        for _ in gf.range(steps):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(gf.square(w * x - 1.0))
            w.assign_sub(0.05 * tape.gradient(loss, w))
        return loss

    return run, [w]


@factory(floats([[1, 2], [3, 4]]), floats([[0, 1], [1, 0]]))
def optimizer_step():
    w = gf.Variable([[0.1, 0.2], [0.3, 0.4]])
    optimizer = gf.optimizers.Adam(0.01)

    def run(x):
        with gf.GradientTape() as tape:
            loss = gf.reduce_mean(gf.square(x @ w))
        gradients = tape.gradient(loss, [w])
        optimizer.apply_gradients(zip(gradients, [w], strict=True))
        return loss

    return run, [w]


@program(floats(0.5, 2, -1))
def activations(x):
    return gf.nn.relu(x), gf.nn.gelu(x), gf.nn.elu(x), gf.nn.softplus(x), gf.nn.silu(x), gf.nn.leaky_relu(x)


@program((floats([[1, 2, 3], [4, 5, 6]]), floats(1, 1, 1), floats(0, 0, 0)))
def layer_norm(x, scale, shift):
    mean = gf.reduce_mean(x, axis=-1, keepdims=True)
    variance = gf.reduce_mean(gf.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) * gf.math.rsqrt(variance + 1e-5) * scale + shift


@program(floats(1, 2, 3))
def stop_gradient(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.reduce_sum(x * gf.stop_gradient(x))
    return tape.gradient(y, x)


@program(floats(3, 1, 2))
def unconnected_gradient(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.reduce_sum(gf.round(x))
    return tape.gradient(y, x)


@program((floats(1, 2, 3), floats(4, 5, 6)))
def persistent_tape(a, b):
    with gf.GradientTape(persistent=True) as tape:
        tape.watch([a, b])
        y = a * b
        z = gf.reduce_sum(y * y)
    return tape.gradient(y, a), tape.gradient(z, [a, b])


@program(floats(1, 2), floats(0.5, -1))
def jacobian(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.stack([x[0] * x[1], gf.sin(x[0])])
    return tape.jacobian(y, x)

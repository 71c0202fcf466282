"""Compiled functions called under a tape outside: compiled forward and backward parts with the bits of an op-by-op run."""

import numpy as np
import pytest

import graphflow as gf
from graphflow.tracing.taped import Call

GENERATOR = np.random.default_rng(0)


def normal(*shape):
    return GENERATOR.normal(size=shape).astype("f4")


W, B, X = gf.Variable(normal(4, 3)), gf.Variable(normal(3)), gf.constant(normal(5, 4))


def loss(x):
    return gf.reduce_mean(gf.square(gf.tanh(gf.matmul(x, W) + B)))


def same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        assert a is None or a.numpy().tobytes() == b.numpy().tobytes()


def native(tape):
    """The calls on the tape that were recorded as one."""
    return [record for record in tape._records if isinstance(record, Call)]


def repeat(f, *args):
    """The last of several calls: the first ones find out which results have gradients."""
    for _ in range(2):
        f(*args)
    return f(*args)


def test_from_the_second_call_on_the_call_is_one_record():
    compiled = gf.function(loss)
    for number in range(4):
        with gf.GradientTape() as tape:
            y = compiled(X)
        assert len(native(tape)) == (number > 0)
        calls = native(tape)
        found = tape.gradient(y, [W, B])
        assert all(None not in call.pair.made.values() for call in calls)  # the backward part is compiled too
        with gf.GradientTape() as tape:
            expected_loss = loss(X)
        same_bits([y, *found], [expected_loss, *tape.gradient(expected_loss, [W, B])])


def other_users(f):
    """Sums that have begun, results used twice, a call that feeds a call."""

    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
            total = f(x * y) + 0.1 * gf.reduce_sum(W * W) + y * y
        return tape.gradient(total, [W, B, x])

    return step


def test_sums_continue_as_op_by_op():
    same_bits(repeat(other_users(gf.function(loss)), X), other_users(loss)(X))


def test_several_results_of_which_some_have_gradients():
    @gf.function
    def f(x):
        y = gf.matmul(x, W)
        return gf.reduce_sum(y * y), {"logits": y, "count": gf.shape(y)[0]}

    def step(x, both):
        with gf.GradientTape() as tape:
            total, rest = f(x)
            target = total + gf.reduce_sum(rest["logits"]) if both else total
        return tape.gradient(target, W)

    def expected(both):
        with gf.GradientTape() as tape:
            y = gf.matmul(X, W)
            total = gf.reduce_sum(y * y)
            target = total + gf.reduce_sum(y) if both else total
        return tape.gradient(target, W)

    for both in (False, False, True, True, False):
        same_bits([step(X, both)], [expected(both)])


def test_state_is_read_and_written_as_in_the_function():
    w, count = gf.Variable([2.0, 3.0]), gf.Variable(0)

    @gf.function
    def f(x):
        y = gf.reduce_sum(w * w * x)
        w.assign_add(x)
        count.assign_add(1)
        return y + gf.reduce_sum(w)

    x = gf.constant([1.0, 10.0])
    for number in range(4):
        before = w.numpy()
        with gf.GradientTape() as tape:
            y = f(x)
        w.assign_add([100.0, 100.0])  # the gradient is that of the call
        np.testing.assert_array_equal(tape.gradient(y, w).numpy(), 2 * before * x.numpy() + 1)
        assert count.numpy() == number + 1


def test_loops_and_branches():
    @gf.function
    def f(x):
        for _ in gf.range(3):
            x = gf.sin(x) * B
        if gf.reduce_sum(x) > 0.0:
            return gf.reduce_sum(x * x)
        return gf.reduce_sum(x)

    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, [x, B])

    inside = gf.function(step)
    x = gf.constant(normal(2, 3))
    same_bits(repeat(step, x), inside(x))


def test_shapes_that_vary():
    compiled = gf.function(loss)

    def step(f, x):
        with gf.GradientTape() as tape:
            y = f(x)
        return [y, *tape.gradient(y, [W, B])]

    for rows in (5, 6, 7, 3, 8):
        x = gf.constant(normal(rows, 4))
        same_bits(step(compiled, x), step(loss, x))


def test_higher_orders_and_persistent_tapes_run_op_by_op():
    compiled = gf.function(loss)

    def second(f):
        with gf.GradientTape() as outer:
            with gf.GradientTape() as inner:
                y = f(X)
            g = inner.gradient(y, W)
        return [g, outer.gradient(g, W)]

    def persistent(f):
        with gf.GradientTape(persistent=True) as tape:
            y = f(X)
        return [tape.gradient(y, W), tape.gradient(y, B)]

    for check in (second, persistent):
        same_bits(repeat(check, compiled), check(loss))


def test_a_tape_that_is_opened_after_the_call():
    x = gf.constant(2.0)

    def check(f):
        with gf.GradientTape() as first:
            first.watch(x)
            y = f(x)
        with gf.GradientTape() as second:
            second.watch(x)
            g = first.gradient(y, x)
        return [g, second.gradient(g, x)]

    def cube(x):
        return x * x * x

    expected = check(cube)  # the second tape has not seen x * x
    compiled = gf.function(cube)
    for _ in range(3):
        same_bits(check(compiled), expected)


def test_jacobians_and_why_none():
    compiled = gf.function(lambda x: gf.floor(x) * 2.0)
    square = gf.function(lambda x: x * x)
    x = gf.constant([1.5, 2.5])
    for _ in range(3):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = compiled(x)
        assert "floor cuts" in tape.why_none(y, x)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = square(x)
        np.testing.assert_array_equal(tape.jacobian(y, x).numpy(), np.diag(2 * x.numpy()))


def test_a_failed_call_changes_nothing():
    count, divisor = gf.Variable(1), gf.Variable(1)

    @gf.function
    def step(x):
        count.assign_add(1)
        return x * gf.cast(count // divisor, "float32")

    x = gf.constant(1.0)
    for _ in range(3):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = step(x)
        assert tape.gradient(y, x) is not None
    divisor.assign(0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(ZeroDivisionError):
            step(x)
    assert count.numpy() == 4


def test_prints_once(capsys):
    @gf.function
    def f(x):
        gf.print("ran", output_stream="stdout")
        return x * x

    x = gf.constant(2.0)
    for _ in range(3):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        assert float(tape.gradient(y, x)) == 4
    assert capsys.readouterr().out == "ran\n" * 3


def test_tapes_that_pause_start_anew_or_watch_nothing():
    compiled = gf.function(loss)
    for _ in range(3):
        with gf.GradientTape() as tape:
            with tape.stop_recording():
                compiled(X)
            y = compiled(X)
        assert tape.gradient(y, W) is not None
        with gf.GradientTape() as tape:
            compiled(X)
            tape.reset()
            y = compiled(X)
        assert tape.gradient(y, W) is not None
        with gf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(B)
            y = compiled(X)
        assert tape.watched_variables() == (B,)
        dw, db = tape.gradient(y, [W, B])
        assert dw is None
        assert db is not None

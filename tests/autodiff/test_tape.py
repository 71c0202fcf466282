"""GradientTape, as TensorFlow has it, in eager mode and inside compiled functions."""

from __future__ import annotations

import collections
import warnings

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir.op import OPS

MODES = ["eager", "graph"]


def run(mode, function, *args):
    return (gf.function(function) if mode == "graph" else function)(*args)


@pytest.mark.parametrize("mode", MODES)
def test_variables_are_watched_and_constants_are_not(mode):
    w, frozen = gf.Variable(3.0), gf.Variable(2.0, trainable=False)
    x = gf.constant(5.0)

    def step():
        with gf.GradientTape() as tape:
            y = w * w * x * frozen
        assert [v is w for v in tape.watched_variables()] == [True]
        return tape.gradient(y, [w, x, frozen])

    dw, dx, dfrozen = run(mode, step)
    assert dw.numpy() == 60
    assert dx is None
    assert dfrozen is None


@pytest.mark.parametrize("mode", MODES)
def test_watch(mode):
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = x * x
        return tape.gradient(y, x)

    assert run(mode, step, gf.constant(3.0)).numpy() == 6


@pytest.mark.parametrize("mode", MODES)
def test_watch_a_constant_made_inside(mode):
    def step():
        x = gf.constant(3.0)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = x * x + x
        return tape.gradient(y, x)

    assert run(mode, step).numpy() == 7


@pytest.mark.parametrize("mode", MODES)
def test_watch_a_captured_tensor_and_a_frozen_variable(mode):
    x, frozen = gf.constant(3.0), gf.Variable(2.0, trainable=False)

    def step():
        with gf.GradientTape() as tape:
            tape.watch([x, frozen])
            y = x * x * frozen
        return tape.gradient(y, {"x": x, "f": frozen})

    found = run(mode, step)
    assert found["x"].numpy() == 12
    assert found["f"].numpy() == 9


@pytest.mark.parametrize("mode", MODES)
def test_watch_accessed_variables_off(mode):
    v, w = gf.Variable(2.0), gf.Variable(3.0)

    def step():
        with gf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(w)
            y = v * w
        return tape.gradient(y, [v, w])

    dv, dw = run(mode, step)
    assert dv is None
    assert dw.numpy() == 2


@pytest.mark.parametrize("mode", MODES)
def test_unconnected(mode):
    w, other = gf.Variable([1.0, 2.0]), gf.Variable([[1.0], [2.0]])

    def step():
        with gf.GradientTape(persistent=True) as tape:
            y = gf.reduce_sum(w * 2)
        return tape.gradient(y, other), tape.gradient(y, [w, other], unconnected_gradients=gf.UnconnectedGradients.ZERO)

    none, (dw, zero) = run(mode, step)
    assert none is None
    assert dw.numpy().tolist() == [2, 2]
    assert zero.numpy().tolist() == [[0], [0]]
    with gf.GradientTape() as tape:
        y = w * 1
    with pytest.raises(ValueError, match="none"):
        tape.gradient(y, w, unconnected_gradients="maybe")


@pytest.mark.parametrize("mode", MODES)
def test_used_twice(mode):
    w = gf.Variable(1.0)

    def step():
        with gf.GradientTape() as tape:
            y = w * w
        tape.gradient(y, w)
        tape.gradient(y, w)

    with pytest.raises(RuntimeError, match="persistent=True") as caught:
        run(mode, step)
    assert "test_tape.py" in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_persistent(mode):
    w = gf.Variable(2.0)

    def step():
        with gf.GradientTape(persistent=True) as tape:
            y = w * w
            z = y * w
        return tape.gradient(y, w), tape.gradient(z, w), tape.gradient(z, y)

    assert [float(g) for g in run(mode, step)] == [4, 12, 2]


@pytest.mark.parametrize("mode", MODES)
def test_gradient_inside_a_non_persistent_tape_ends_it(mode):
    w = gf.Variable(2.0)

    def step():
        with gf.GradientTape() as tape:
            y = w * w
            g = tape.gradient(y, w)
            _ = g * w
        return g

    assert run(mode, step).numpy() == 4


@pytest.mark.parametrize("mode", MODES)
def test_persistent_tape_sees_its_own_gradients_while_recording(mode):
    v = gf.Variable(3.0)

    def step():
        with gf.GradientTape(persistent=True) as tape:
            y = v * v * v
            first = tape.gradient(y, v)
        return first, tape.gradient(first, v)

    assert [float(g) for g in run(mode, step)] == [27, 18]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_nested_to_any_order(mode, order):
    def derivative(x, n):
        if n == 0:
            return x**5
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = derivative(x, n - 1)
        return tape.gradient(y, x)

    expected = {1: 80, 2: 160, 3: 240, 4: 240}[order]
    assert run(mode, lambda x: derivative(x, order), gf.constant(2.0)).numpy() == expected


@pytest.mark.parametrize("mode", MODES)
def test_second_order_needs_the_first_inside_the_outer_tape(mode):
    w = gf.Variable(2.0)

    def step():
        with gf.GradientTape() as outer:
            with gf.GradientTape() as inner:
                y = w * w * w
            first = inner.gradient(y, w)
        inside = outer.gradient(first, w)
        with gf.GradientTape() as outer, gf.GradientTape() as inner:
            y = w * w * w
        first = inner.gradient(y, w)
        return inside, outer.gradient(first, w)

    inside, outside = run(mode, step)
    assert inside.numpy() == 12
    assert outside is None


@pytest.mark.parametrize("mode", MODES)
def test_targets_are_summed_and_weighted(mode):
    w = gf.Variable([1.0, 2.0])

    def step():
        with gf.GradientTape(persistent=True) as tape:
            y, z = w * w, w * 3.0
        return (
            tape.gradient(y, w),
            tape.gradient([y, z], w),
            tape.gradient({"a": y, "b": [z]}, w),
            tape.gradient(y, w, output_gradients=gf.constant([10.0, 100.0])),
            tape.gradient([y, z], w, output_gradients=[gf.constant([1.0, 0.0]), None]),
        )

    found = [g.numpy().tolist() for g in run(mode, step)]
    assert found == [[2, 4], [5, 7], [5, 7], [20, 400], [5, 3]]


def test_output_gradients_must_fit():
    w = gf.Variable([1.0, 2.0])
    with gf.GradientTape(persistent=True) as tape:
        y = w * w
    with pytest.raises(ValueError, match="2 weights for 1 targets"):
        tape.gradient(y, w, output_gradients=[gf.constant([1.0, 1.0]), gf.constant([1.0, 1.0])])
    with pytest.raises(ValueError, match=r"\[3\] for f32\[2\]"):
        tape.gradient(y, w, output_gradients=gf.constant([1.0, 1.0, 1.0]))


Pair = collections.namedtuple("Pair", "left right")


@pytest.mark.parametrize("mode", MODES)
def test_structure_of_sources(mode):
    a, b = gf.Variable(2.0), gf.Variable(3.0)

    def step():
        with gf.GradientTape(persistent=True) as tape:
            y = a * a * b
        return tape.gradient(y, {"p": Pair(a, [b]), "q": (b,)}), tape.gradient(y, a), tape.gradient(y, [])

    nested, alone, empty = run(mode, step)
    assert isinstance(nested["p"], Pair)
    assert (float(nested["p"].left), float(nested["p"].right[0]), float(nested["q"][0])) == (12, 4, 4)
    assert float(alone) == 12
    assert empty == []


@pytest.mark.parametrize("mode", MODES)
def test_intermediates_and_the_target_itself(mode):
    w = gf.Variable(2.0)

    def step():
        with gf.GradientTape(persistent=True) as tape:
            middle = w * w
            y = middle * middle
        return tape.gradient(y, middle), tape.gradient(y, y), tape.gradient(w, w), tape.gradient(middle, y)

    dmiddle, dy, dw, backwards = run(mode, step)
    assert (float(dmiddle), float(dy), float(dw)) == (8, 1, 1)
    assert backwards is None


@pytest.mark.parametrize("mode", MODES)
def test_stop_recording(mode):
    w = gf.Variable(3.0)

    def step():
        with gf.GradientTape() as tape:
            y = w * w
            with tape.stop_recording():
                z = w * w
            total = y + z
        return tape.gradient(total, w)

    assert run(mode, step).numpy() == 6
    with pytest.raises(RuntimeError):
        gf.GradientTape().stop_recording().__enter__()


@pytest.mark.parametrize("mode", MODES)
def test_reset_and_reuse(mode):
    w = gf.Variable(3.0)

    def step():
        with gf.GradientTape() as tape:
            y = w * w
            tape.reset()
            z = w * 2.0
            total = y + z
        first = tape.gradient(total, w)
        with tape:
            y = w * w
        return first, tape.gradient(y, w)

    assert [float(g) for g in run(mode, step)] == [2, 6]


def test_a_recording_tape_cannot_be_entered_again():
    tape = gf.GradientTape()
    with tape, pytest.raises(RuntimeError, match="already recording"):
        tape.__enter__()


def test_int_tensors_have_no_gradient():
    n, x = gf.constant(3), gf.constant(2.0)

    def step():
        with gf.GradientTape(persistent=True) as tape:
            for _ in range(3):
                tape.watch(n)
            tape.watch(x)
            y = gf.cast(n, "float32") * x
        return tape.gradient(y, [n, x])

    with pytest.warns(UserWarning, match="int32 has no gradient(.|\n)*test_tape.py") as caught:
        found = step()
    assert len(caught) == 1  # once for a line
    for dn, dx in (found, gf.function(step)()):
        assert dn is None
        assert dx.numpy() == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "cut",
    [
        lambda x: gf.cast(gf.cast(x, "int32"), "float32"),
        gf.floor,
        gf.round,
        lambda x: gf.cast(gf.argmax(gf.stack([x, x])), "float32"),
        gf.stop_gradient,
        gf.sign,
        lambda x: gf.cast(x > 0, "float32"),
    ],
)
def test_what_cuts_the_gradient(mode, cut):
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = cut(x) * 2.0
        return tape.gradient(y, x)

    found = run(mode, step, gf.constant(2.5))
    assert found is None or found.numpy() == 0


def test_numpy_and_assign_cut_the_gradient():
    w, copy = gf.Variable(2.0), gf.Variable(0.0)
    with gf.GradientTape(persistent=True) as tape:
        y = gf.constant(w.numpy()) * 3.0
        copy.assign(w * 5.0)
        z = copy * 2.0
    assert tape.gradient(y, w) is None
    assert tape.gradient(z, w) is None
    assert tape.gradient(z, copy).numpy() == 2


@pytest.mark.parametrize("mode", MODES)
def test_reads_before_and_after_an_assign_count_at_their_own_value(mode):
    w = gf.Variable(2.0)

    def step():
        with gf.GradientTape() as tape:
            before = w * w
            w.assign(5.0)
            after = w * w
            total = before + after
        return total, tape.gradient(total, w)

    total, gradient = run(mode, step)
    assert total.numpy() == 29
    assert gradient.numpy() == 14


@pytest.mark.parametrize("mode", MODES)
def test_cast_between_floats_passes(mode):
    w = gf.Variable(2.0)

    def step():
        with gf.GradientTape() as tape:
            y = gf.cast(w, "float64") ** 2
        return tape.gradient(y, w)

    found = run(mode, step)
    assert found.dtype == gf.float32
    assert found.numpy() == 4


@pytest.mark.parametrize("mode", MODES)
def test_broadcast_gradients_sum_back(mode):
    a, b = gf.Variable([[1.0], [2.0]]), gf.Variable([1.0, 2.0, 3.0])

    def step():
        with gf.GradientTape() as tape:
            y = a * b + 1.0
        return tape.gradient(y, [a, b])

    da, db = run(mode, step)
    assert da.numpy().tolist() == [[6], [6]]
    assert db.numpy().tolist() == [3, 3, 3]


CONVENTIONS = [
    (lambda x: gf.nn.relu(x), 0.0, 0.0),
    (abs, 0.0, 0.0),
    (gf.sqrt, 0.0, np.inf),
    (lambda x: gf.maximum(x, 1.0), 1.0, 1.0),
    (lambda x: gf.maximum(1.0, x), 1.0, 0.0),
    (lambda x: gf.minimum(x, 1.0), 1.0, 1.0),
    (lambda x: gf.minimum(1.0, x), 1.0, 0.0),
    (lambda x: gf.clip_by_value(x, 0.0, 1.0), 0.0, 1.0),
    (lambda x: gf.clip_by_value(x, 0.0, 1.0), 1.0, 1.0),
    (lambda x: gf.clip_by_value(x, 0.0, 1.0), 1.5, 0.0),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("function", "at", "expected"), CONVENTIONS)
def test_conventions(mode, function, at, expected):
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x)

    assert run(mode, step, gf.constant(at)).numpy() == expected


@pytest.mark.parametrize("mode", MODES)
def test_reduction_conventions(mode):
    def step(x):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            largest, product = gf.reduce_max(x), gf.reduce_prod(x)
        return tape.gradient(largest, x), tape.gradient(product, x)

    ties, zero = run(mode, step, gf.constant([3.0, 0.0, 3.0]))
    assert ties.numpy().tolist() == [0.5, 0, 0.5]
    assert zero.numpy().tolist() == [0, 9, 0]


@pytest.mark.parametrize("mode", MODES)
def test_no_gradient_rule(mode):
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = OPS["copy_sign"](x, x)  # no public function is left without one
        return tape.gradient(y, x)

    with pytest.raises(LookupError, match="copy_sign"):
        run(mode, step, gf.constant(2.0))


def test_not_a_tensor():
    w = gf.Variable(1.0)
    with gf.GradientTape(persistent=True) as tape:
        y = w * 1.0
    for call in (lambda: tape.gradient(3.0, w), lambda: tape.gradient(y, 3.0), lambda: tape.watch(3.0)):
        with pytest.raises((TypeError, RuntimeError, ValueError), match="tensor"):
            call()


def test_int_target_warns():
    w = gf.Variable(1.0)
    with gf.GradientTape() as tape:
        y = gf.cast(w, "int32")
    with pytest.warns(UserWarning, match="int32"):
        assert tape.gradient(y, w) is None


# Tapes around compiled functions --------------------------------------------------------------------------------------
def test_tape_around_a_function():
    w = gf.Variable([1.0, 2.0])

    @gf.function
    def loss(x):
        return gf.reduce_sum(gf.square(w * x))

    for _ in range(2):
        with gf.GradientTape() as tape:
            y = loss(gf.constant([3.0, 4.0]))
        assert tape.gradient(y, w).numpy().tolist() == [18, 64]
    assert loss.experimental_get_tracing_count() == 1


def test_second_order_around_a_function():
    cube = gf.function(lambda x: x * x * x)
    x = gf.constant(2.0)
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = cube(x)
        first = inner.gradient(y, x)
    assert (float(first), float(outer.gradient(first, x))) == (12, 12)


def test_tape_around_a_function_with_effects(capsys):
    w, count = gf.Variable(2.0), gf.Variable(0)

    @gf.function
    def step():
        y = w * w
        w.assign(10.0)
        count.assign_add(1)
        gf.print("ran", output_stream="stdout")
        return y + w

    with gf.GradientTape() as tape:
        y = step()
    assert y.numpy() == 14
    assert tape.gradient(y, w).numpy() == 5
    assert (w.numpy(), count.numpy()) == (10, 1)
    assert capsys.readouterr().out == "ran\n"


def test_failed_call_under_a_tape_changes_nothing():
    count, divisor = gf.Variable(1), gf.Variable(0)

    @gf.function
    def step(x):
        count.assign_add(1)
        return x * gf.cast(count // divisor, "float32")

    x = gf.constant(1.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(ZeroDivisionError):
            step(x)
    assert count.numpy() == 1
    divisor.assign(1)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = step(x)
    assert (count.numpy(), tape.gradient(y, x).numpy()) == (2, 2)


def test_tape_and_compiled_results_have_the_same_bits():
    generator = np.random.default_rng(0)
    w = gf.Variable(generator.normal(size=(4, 3)).astype("f4"))
    x = gf.constant(generator.normal(size=(5, 4)).astype("f4"))

    @gf.function
    def forward():
        return gf.reduce_sum(gf.tanh(gf.matmul(x, w)))

    plain = forward()
    with gf.GradientTape() as tape:
        taped = forward()
    outside = tape.gradient(taped, w)

    @gf.function
    def inside():
        with gf.GradientTape() as tape:
            y = gf.reduce_sum(gf.tanh(gf.matmul(x, w)))
        return tape.gradient(y, w)

    assert plain.numpy().tobytes() == taped.numpy().tobytes()
    assert outside.numpy().tobytes() == inside().numpy().tobytes()


# Jacobians ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
def test_jacobian(mode):
    w, other = gf.Variable([[1.0, 2.0], [3.0, 4.0]]), gf.Variable([1.0])

    def step(x):
        with gf.GradientTape() as tape:
            y = gf.matmul(w, x)
        return tape.jacobian(y, [w, other])

    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "f4")
    found, none = run(mode, step, gf.constant(x))
    expected = np.einsum("ik,lj->ijkl", np.eye(2), x).astype("f4")
    assert found.shape == (2, 3, 2, 2)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert none is None


@pytest.mark.parametrize("mode", MODES)
def test_batch_jacobian(mode):
    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.stack([x[:, 0] * x[:, 1], x[:, 0] + 2.0 * x[:, 1], x[:, 1] ** 2], axis=1)
        return tape.batch_jacobian(y, x)

    x = np.array([[1.0, 2.0], [3.0, 4.0]], "f4")
    found = run(mode, step, gf.constant(x)).numpy()
    expected = [[[b, a], [1, 2], [0, 2 * b]] for a, b in x]
    np.testing.assert_array_equal(found, np.array(expected, "f4"))


def test_jacobian_of_scalars_and_of_nothing():
    w = gf.Variable(3.0)
    with gf.GradientTape(persistent=True) as tape:
        y, empty = w * w, gf.zeros((0,)) * w
    assert tape.jacobian(y, w).numpy() == 6
    assert tape.jacobian(empty, w, unconnected_gradients="zero").shape == (0,)
    with pytest.raises(ValueError, match="first extent"):
        tape.batch_jacobian(y, w)


def test_hessian():
    x = gf.Variable([1.0, 2.0])
    with gf.GradientTape() as outer:
        with gf.GradientTape() as inner:
            y = x[0] ** 3 + x[0] * x[1] ** 2
        gradient = inner.gradient(y, x)
    assert outer.jacobian(gradient, x).numpy().tolist() == [[6, 4], [4, 2]]


# why_none -------------------------------------------------------------------------------------------------------------
def test_why_none():
    w, n, other = gf.Variable(2.5), gf.constant(3), gf.Variable(1.0)
    x = gf.constant(1.0)
    with gf.GradientTape(persistent=True) as tape:
        floored = gf.floor(w) * 2.0
        cast = gf.cast(gf.cast(w, "int32"), "float32")
        fine = w * 2.0
        _ = other * 1.0
    assert "floor" in tape.why_none(floored, w)
    assert "test_tape.py" in tape.why_none(floored, w)
    assert "cast cuts the gradient: its result is int32" in tape.why_none(cast, w)
    assert "int32" in tape.why_none(fine, n)
    assert "not watched" in tape.why_none(fine, x)
    assert "no recorded op" in tape.why_none(fine, other)
    assert "not None" in tape.why_none(fine, w)


def test_no_memory_is_kept_after_the_gradient():
    import gc
    import weakref

    w = gf.Variable([1.0])
    with gf.GradientTape() as tape:
        y = w * 2.0
        middle = weakref.ref(y)
    tape.gradient(y, w)
    del y
    gc.collect()
    assert middle() is None


def test_warnings_do_not_leak_between_modes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = gf.Variable(1.0)
        with gf.GradientTape() as tape:
            y = w * w
        assert tape.gradient(y, w).numpy() == 2

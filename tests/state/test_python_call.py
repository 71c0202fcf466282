"""gf.py_function and gf.numpy_function: values, order, variables, gradients, shapes, errors; eager and compiled."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, InvalidArgumentError, NoGradientError, ShapeError

VECTOR = gf.TensorSpec([3], gf.float32)
SCALAR = gf.TensorSpec([], gf.float32)


def both(function: Any, *arguments: Any) -> list[np.ndarray[Any, Any]]:
    """The compiled results, twice (the second call is the fast one), after a check that eager mode agrees."""
    compiled = gf.function(function)
    found = []
    for run in (function, compiled, compiled):
        found.append([np.asarray(t) for t in gf.nest.flatten(run(*arguments))])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    return found[1]


def test_values_of_every_dtype() -> None:
    for dtype in (gf.float32, gf.float64, gf.int8, gf.int32, gf.int64, gf.uint8, gf.uint64, gf.bool):
        x = gf.cast(gf.constant([0, 1, 1]), dtype)
        spec = gf.TensorSpec([3], dtype)
        for form in (gf.py_function, gf.numpy_function):
            (found,) = both(lambda v, form=form, spec=spec: form(lambda a: a[::-1], [v], spec), x)
            np.testing.assert_array_equal(found, np.asarray(x)[::-1])


def test_what_the_function_gets_and_may_return() -> None:
    seen: list[Any] = []

    def look(a, b):
        seen.append((a, b))
        return [a, float(b) + 1], 7, np.float32(2.5)

    def program(x):
        a, b, c = gf.py_function(
            lambda a, b: (seen.append((a, b)), [a + 1, 5, np.array(2.5, np.float32)])[1],
            [x, 2.0],
            [gf.TensorSpec([3], gf.float32), gf.TensorSpec([], gf.int64), SCALAR],
        )
        return a, b, c

    a, b, c = both(program, gf.constant([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(a, [2, 3, 4])
    assert (b.dtype, int(b), float(c)) == (np.int64, 5, 2.5)
    assert all(isinstance(t, gf.Tensor) and not t.is_symbolic for pair in seen for t in pair)
    arrays: list[Any] = []
    both(lambda x: gf.numpy_function(lambda v: (arrays.append(v), v)[1], [x], VECTOR), gf.constant([1.0, 2.0, 3.0]))
    assert all(type(v) is np.ndarray and v.flags.writeable for v in arrays)


def test_empty_and_scalar_tensors_and_many_results() -> None:
    def program(x, y):
        e, s = gf.numpy_function(lambda a, b: (a * 2, b + 1), [x, y], [gf.TensorSpec([0, 3]), SCALAR])
        return e, s

    e, s = both(program, gf.zeros([0, 3]), gf.constant(4.0))
    assert e.shape == (0, 3) and s == 5


def test_no_results() -> None:
    log: list[float] = []

    def program(x):
        assert gf.py_function(lambda v: log.append(float(v)), [x], []) == []
        gf.numpy_function(log.append, [x + 1], [])
        return x

    both(program, gf.constant(3.0))
    assert log == [3, 4] * 3


def test_decorators() -> None:
    @gf.numpy_function(Tout=VECTOR)
    def running(x):
        """Running sums."""
        return np.cumsum(x, dtype=np.float32)

    assert running.__doc__ == "Running sums."
    (found,) = both(lambda x: running(x), gf.constant([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(found, [1, 3, 6])
    with pytest.raises(InvalidArgumentError, match="Tout"):
        gf.py_function(lambda x: x, [1.0])
    with pytest.raises(InvalidArgumentError, match="callable"):
        gf.py_function(3, [1.0], gf.float32)
    with pytest.raises(DTypeError, match="Tout"):
        gf.py_function(lambda x: x, [1.0], "no dtype")


def test_the_python_function_is_not_called_while_tracing() -> None:
    calls: list[int] = []

    @gf.function
    def program(x):
        return gf.py_function(lambda v: (calls.append(1), v)[1], [x], SCALAR)

    program.get_concrete_function(gf.TensorSpec([], gf.float32))
    assert calls == []
    program(gf.constant(1.0))
    assert calls == [1]


# Order and variables --------------------------------------------------------------------------------------------------
def test_program_order_with_variables_prints_and_draws(capsys: pytest.CaptureFixture[str]) -> None:
    w = gf.Variable(1.0)
    generator = gf.random.Generator.from_seed(4)
    log: list[str] = []

    def double() -> None:
        log.append(f"double {float(w)}")
        w.assign(w * 2)

    def program(x):
        w.assign_add(x)
        gf.print("before", w)
        gf.py_function(double, [], [])
        a = w + 0
        first = generator.uniform([])
        gf.py_function(lambda: generator.uniform([]), [], [])
        second = generator.uniform([])
        gf.print("after", w)
        w.assign_add(a)
        gf.py_function(double, [], [])
        return a, w.read_value(), first, second

    def run(function):
        w.assign(1.0)
        generator.reset_from_seed(4)
        log.clear()
        results = [float(t) for t in function(gf.constant(3.0))]
        return results, float(w), list(log), capsys.readouterr().err

    eager = run(program)
    compiled = gf.function(program)
    assert run(compiled) == eager
    assert run(compiled) == eager
    assert eager[0][:2] == [8.0, 32.0] and eager[2] == ["double 4.0", "double 16.0"]
    generator.reset_from_seed(4)
    three = generator.uniform([3]).numpy()
    assert eager[0][2:] == [float(three[0]), float(three[2])]


def test_a_failed_call_changes_no_variable_and_keeps_the_exception() -> None:
    class Refused(Exception):
        pass

    written, by_python, by_both = gf.Variable(1.0), gf.Variable([1.0, 2.0]), gf.Variable(5.0)
    refuse = [True]

    def act(x):
        by_python.assign([7.0, 8.0])
        by_both.assign_add(1.0)
        if refuse[0]:
            raise Refused(f"not {float(x)}")
        return x

    @gf.function
    def program(x):
        written.assign_add(x)
        by_both.assign_add(x)
        y = gf.py_function(act, [x], SCALAR)
        by_both.assign_add(y)
        return y

    for _ in range(3):
        with pytest.raises(Refused, match=r"^not 3\.0$") as caught:
            program(gf.constant(3.0))
        assert any(entry.name == "act" for entry in caught.traceback)
        assert (float(written), by_python.numpy().tolist(), float(by_both)) == (1.0, [1.0, 2.0], 5.0)
    refuse[0] = False
    program(gf.constant(3.0))
    assert (float(written), by_python.numpy().tolist(), float(by_both)) == (4.0, [7.0, 8.0], 12.0)


def test_a_check_that_fails_later_undoes_what_python_wrote() -> None:
    w = gf.Variable(1.0)

    @gf.function
    def program(x):
        gf.py_function(lambda: w.assign(9.0), [], [])
        gf.Assert(x > 0, ["positive"])
        return x

    with pytest.raises(AssertionError):
        program(gf.constant(-1.0))
    assert float(w) == 1.0
    program(gf.constant(1.0))
    assert float(w) == 9.0


def test_python_may_call_compiled_functions() -> None:
    w = gf.Variable(0.0)

    @gf.function
    def inner(x):
        w.assign_add(x)
        return w * 2

    @gf.function
    def outer(x, fail):
        y = gf.py_function(inner, [x], SCALAR)
        gf.Assert(gf.logical_not(fail), ["asked to"])
        return y + w

    good = gf.constant(False)
    for k in range(1, 4):  # from the second call on both take their fast paths
        assert float(outer(gf.constant(1.0), good)) == 3 * k
    with pytest.raises(AssertionError):
        outer(gf.constant(1.0), gf.constant(True))
    assert float(w) == 3.0


def test_a_function_may_call_itself_through_python() -> None:
    @gf.function
    def factorial(n):
        return gf.py_function(lambda v: v * factorial(v - 1) if float(v) > 1 else v, [n], SCALAR)

    assert float(factorial(gf.constant(5.0))) == 120


def test_threads_have_calls_of_their_own() -> None:
    @gf.function
    def program(x):
        a = gf.py_function(lambda v: v + 1, [x], SCALAR)
        return gf.py_function(lambda v: v * 2, [a], SCALAR)

    program(gf.constant(0.0))
    results: dict[int, list[float]] = {}

    def work(k: int) -> None:
        results[k] = [float(program(gf.constant(float(k + n)))) for n in range(50)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {k: [2.0 * (k + n + 1) for n in range(50)] for k in range(4)}


# Shapes ---------------------------------------------------------------------------------------------------------------
def test_set_shape_and_ensure_shape() -> None:
    def program(x):
        y = gf.py_function(lambda v: v * 2, [x], gf.float32)
        y.set_shape([3])
        z = gf.ensure_shape(gf.numpy_function(lambda v: v + 1, [x], gf.float32), [3])
        _, b = gf.py_function(lambda v: (v, v[0]), [x], [gf.float32, gf.float32])
        b.set_shape([])
        return y + z, b

    y, b = both(program, gf.constant([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y, [4, 7, 10])
    assert float(b) == 1.0


def test_a_result_needs_its_rank_before_it_is_used() -> None:
    @gf.function
    def program(x):
        y = gf.py_function(lambda v: v, [x], gf.float32)
        return y + 1

    with pytest.raises(ShapeError, match="shape of result 0") as caught:
        program(gf.constant(1.0))
    assert "TensorSpec" in str(caught.value) and "y + 1" in str(caught.value)


@pytest.mark.parametrize("declared", [[2], [3, 1], []])
def test_results_of_another_shape_than_declared(declared: list[int]) -> None:
    def program(x):
        return gf.py_function(lambda v: v, [x], gf.TensorSpec(declared, gf.float32))

    for run in (program, gf.function(program)):
        with pytest.raises(ShapeError, match=r"result 0 of <lambda> is declared f32.*got f32\[3\]"):
            run(gf.constant([1.0, 2.0, 3.0]))


def test_symbolic_extents_of_arguments() -> None:
    @gf.function(input_signature=[gf.TensorSpec([None, 2], gf.float32)])
    def program(x):
        y = gf.numpy_function(lambda v: v * 2, [x], gf.float32)
        y.set_shape(x.shape)
        return y + x

    for rows in (3, 1, 0, 5):
        np.testing.assert_array_equal(program(gf.ones([rows, 2])), np.full((rows, 2), 3.0, np.float32))


def test_run_time_extents() -> None:
    def program(x):
        y = gf.numpy_function(lambda v: v[v > 0], [x], gf.TensorSpec([None], gf.float32))
        return y * 2, gf.reduce_sum(y)

    compiled = gf.function(program)
    for values in ([1.0, -2.0, 3.0], [-1.0, -1.0, -1.0], [4.0, 5.0, 6.0]):
        x = gf.constant(values)
        for a, b in zip(program(x), compiled(x), strict=True):
            np.testing.assert_array_equal(a, b)
    assert compiled.experimental_get_tracing_count() == 1


# Errors ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (lambda v: (v, v), InvalidArgumentError, "returned 2 values, and Tout declares 1"),
        (lambda v: None, InvalidArgumentError, "returned 0 values"),
        (lambda v: np.asarray(v, np.float64), DTypeError, "declared float32, got float64"),
        (lambda v: gf.cast(v, gf.int32), DTypeError, "declared float32, got int32"),
    ],
)
def test_results_that_are_not_as_declared(result: Any, kind: type[Exception], words: str) -> None:
    def program(x):
        return gf.py_function(result, [x], SCALAR)

    for run in (program, gf.function(program)):
        with pytest.raises(kind, match=words) as caught:
            run(gf.constant(1.0))
        assert "test_python_call.py" in str(caught.value)


def test_a_variable_is_no_result() -> None:
    w = gf.Variable(1.0)
    with pytest.raises(InvalidArgumentError, match="variable"):
        gf.py_function(lambda: w, [], SCALAR)


# Gradients ------------------------------------------------------------------------------------------------------------
def slopes(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.py_function(lambda v: v * v * v, [x], VECTOR)
        z = gf.py_function(lambda v, w: (gf.exp(v), w * v), [x, y], [VECTOR, VECTOR])
        loss = gf.reduce_sum(y * 2.0) + gf.reduce_sum(z[0] + z[1])
    return loss, tape.gradient(loss, x)


def test_gradients_agree_with_eager_mode() -> None:
    x = gf.constant([0.5, 1.0, -2.0])
    _, gradient = both(slopes, x)
    v = np.array([0.5, 1.0, -2.0])
    np.testing.assert_allclose(gradient, 6 * v**2 + np.exp(v) + 4 * v**3, rtol=1e-5)


def test_the_backward_call_uses_the_tape_of_its_own_run() -> None:
    """The forward function runs once, also where its result is not a function of its arguments."""
    factor = [1.0]
    calls = []

    def forward(v):
        calls.append(1)
        factor[0] += 1
        return v * factor[0]

    @gf.function
    def program(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.py_function(forward, [x], SCALAR)
            z = gf.py_function(forward, [y], SCALAR)
        return z, tape.gradient(z, x)

    for expected in (6.0, 20.0):
        z, gradient = program(gf.constant(1.0))
        assert float(z) == float(gradient) == expected
    assert len(calls) == 4


def test_gradients_of_set_shape_results_and_of_one_result_only() -> None:
    def program(x):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            a, b = gf.py_function(lambda v: (v * 3, v * v), [x], [SCALAR, gf.float32])
            b.set_shape([]) if isinstance(b, gf.Tensor) else None
        return tape.gradient(a, x), tape.gradient(b, x), tape.gradient([a, b], x)

    assert [float(g) for g in both(program, gf.constant(5.0))] == [3.0, 10.0, 13.0]


def test_operands_that_have_no_gradient() -> None:
    def program(x, k):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.py_function(lambda v, n: v * gf.cast(n, gf.float32), [x, k], SCALAR)
        return tape.gradient(y, x)

    assert float(both(program, gf.constant(5.0), gf.constant(3))[0]) == 3.0


def test_numpy_functions_cut_the_gradient() -> None:
    @gf.function
    def program(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.numpy_function(lambda v: v * 2, [x], SCALAR)
        return y, tape.gradient(y, x)

    assert program(gf.constant(1.0))[1] is None


def test_second_order_inside_is_refused_and_outside_it_works() -> None:
    @gf.function
    def inside(x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = gf.py_function(lambda v: v * v * v, [x], SCALAR)
            first = inner.gradient(y, x)
        return outer.gradient(first, x)

    with pytest.raises(NoGradientError, match="second-order"):
        inside(gf.constant(2.0))
    cube = gf.function(lambda x: gf.py_function(lambda v: v * v * v, [x], SCALAR))
    x = gf.constant(2.0)
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = cube(x)
        first = inner.gradient(y, x)
    assert (float(first), float(outer.gradient(first, x))) == (12.0, 12.0)


# Extents that only the run decides ------------------------------------------------------------------------------------
def test_ensure_shape_fixes_run_time_extents() -> None:
    @gf.function
    def program(x, w):
        with gf.GradientTape() as tape:
            tape.watch(x)
            kept = gf.py_function(
                lambda v: gf.constant(v.numpy()[v.numpy() > 0]) * 1.0, [x], gf.TensorSpec([None], gf.float32)
            )
            fixed = gf.ensure_shape(kept, [2])
            assert fixed.shape == (2,)
            loss = gf.reduce_sum(fixed * w)
        return loss

    w = gf.constant([10.0, 100.0])
    assert float(program(gf.constant([1.0, -1.0, 2.0]), w)) == 210.0
    for values in ([1.0, 2.0, 3.0], [-1.0, -1.0, -1.0]):
        with pytest.raises(AssertionError, match="ensure_shape: the shape must be"):
            program(gf.constant(values), w)


def test_ensure_shape_of_known_shapes() -> None:
    x = gf.ones([2, 3])
    for run in (lambda f: f(x), lambda f: gf.function(f)(x)):
        assert run(lambda v: gf.ensure_shape(v, [2, None])).shape == (2, 3)
        assert run(lambda v: gf.ensure_shape(v, None)).shape == (2, 3)
        for wrong in ([2, 4], [6], [None, None, None]):
            with pytest.raises(ShapeError, match="must be"):
                run(lambda v, wrong=wrong: gf.ensure_shape(v, wrong))
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.reduce_sum(gf.ensure_shape(x, [2, 3]) * 2.0)
    np.testing.assert_array_equal(tape.gradient(y, x), np.full((2, 3), 2.0))

    @gf.function(input_signature=[gf.TensorSpec([None, 3])])
    def exact(x):
        return gf.ensure_shape(x, [2, 3]) * 2.0

    np.testing.assert_array_equal(exact(x), np.full((2, 3), 2.0))


def test_gradients_of_calls_in_loops() -> None:
    """Each iteration's backward call finds the tape of that iteration, and no forward call runs again."""
    calls: list[float] = []

    def program(x, n):
        with gf.GradientTape() as tape:
            tape.watch(x)

            def body(k, y):
                y = gf.py_function(lambda v: (calls.append(float(v)), gf.sin(v) * 3.0)[1], [y], SCALAR)
                return k + 1, y * y

            _, y = gf.while_loop(lambda k, y: k < n, body, [gf.constant(0), x])
        return y, tape.gradient(y, x)

    for n in (0, 1, 5):
        calls.clear()
        both(program, gf.constant(0.7), gf.constant(n))
        assert len(calls) == 3 * n and calls[:n] == calls[n : 2 * n]


def test_a_gradient_never_calls_a_function_of_a_branch_again() -> None:
    """What a branch computes for its gradient is kept, so each mode calls the function once."""
    calls: list[int] = []

    def choose(x):
        return gf.cond(x > 0, lambda: gf.py_function(lambda v: (calls.append(1), v * v)[1], [x], SCALAR), lambda: x)

    @gf.function
    def inside(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = choose(x)
        return tape.gradient(y, x)

    x = gf.constant(3.0)
    assert float(inside(x)) == 6.0 and len(calls) == 1
    assert float(inside(-x)) == 1.0 and len(calls) == 1
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.function(choose)(x)
    assert float(tape.gradient(y, x)) == 6.0 and len(calls) == 2


def test_gradients_in_branches_and_loops_of_results_that_get_their_shape_later() -> None:
    def parts(v):
        return v * v, v * 3.0

    def called(x):
        square, triple = gf.py_function(parts, [x], [gf.float32, gf.float32])
        return gf.ensure_shape(triple, [2]) * gf.ensure_shape(square, [2])  # 3 x^3

    @gf.function
    def of_branch_and_loop(x, n):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            branch = gf.cond(n > 0, lambda: called(x), lambda: x)
            _, loop = gf.while_loop(lambda k, v: k < n, lambda k, v: (k + 1, v + called(x)), (0, x))
        return tape.gradient(branch, x), tape.gradient(loop, x)

    branch, loop = of_branch_and_loop(gf.constant([2.0, -1.0]), gf.constant(2))
    assert branch.numpy().tolist() == [36.0, 9.0] and loop.numpy().tolist() == [73.0, 19.0]


def test_stateless_functions_run_in_order_too() -> None:
    log: list[float] = []

    def program(x):
        a = gf.numpy_function(lambda v: (log.append(float(v)), v)[1], [x], SCALAR, stateful=False)
        return a + gf.numpy_function(lambda v: (log.append(-float(v)), v)[1], [x], SCALAR, False)

    assert float(both(program, gf.constant(2.0))[0]) == 4.0
    assert log == [2.0, -2.0] * 3


def test_the_op_copies_only_what_was_declared():
    """Native code has memory for the declared dtype and shape; results of another layout are made dense."""
    from graphflow import dtypes, ops

    def call(function, x):
        return gf.function(lambda x: ops.python_call(x, function=function, dtypes=(dtypes.float32,), shapes=((2, 3),)))(
            x
        )

    x = gf.constant(np.arange(6, dtype=np.float32).reshape(3, 2))
    np.testing.assert_array_equal(call(lambda a: (a.T,), x), x.numpy().T)
    with pytest.raises(gf.errors.DTypeError, match=r"declared f32\[2,3\], got c128\[2,3\]"):
        call(lambda a: (a.T.astype(np.complex128),), x)
    with pytest.raises(gf.errors.ShapeError, match=r"declared f32\[2,3\], got f32\[3,2\]"):
        call(lambda a: (a,), x)

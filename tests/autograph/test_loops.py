"""while and for statements over tensors."""

from __future__ import annotations

import numpy as np
import pytest
from three_ways import Fixed, check

import graphflow as gf
from graphflow.errors import DTypeError, LoopError, ShapeError, UnrolledWarning

VECTORS = [[1.0, 2.0, 3.0]], [[-1.0, 4.0]], [[0.5]]


def test_while():
    def f(x):
        n = 0
        while gf.reduce_sum(x) > 1:
            x = x / 2
            n += 1
        return x, n

    check(f, [[8.0, 2.0]], [[0.1]])


def test_while_with_else_and_break():
    def f(x):
        n = 0
        while x > 1:
            x = x / 2
            n += 1
            if n > 3:
                break
        else:
            n += 100
        return x, n

    check(f, [8.0], [1000.0], [0.5])


def test_while_true_with_a_tensor_break():
    def f(x):
        while True:
            x = x * 2
            if x > 100:
                break
        return x

    check(f, [3.0], [1000.0])


def test_while_that_becomes_a_tensors_loop():
    def f(x):
        n = 0
        while n < 10:
            if x > 5:
                n += 3
            else:
                n += 1
            x = x + 1
        return x, n

    check(f, [3.0], [8.0])


def test_while_python():
    def f(x, n):
        while n > 0:
            x = x + n
            n -= 1
        else:
            x = x * 2
        return x

    check(f, [1.0, Fixed(3.0)], [1.0, Fixed(0.0)], signature=False)


def test_for_rows():
    def f(x):
        s = 0.0
        for row in x:
            s = s + row * 2
        return s

    check(f, *VECTORS)


def test_for_rows_of_rank_two():
    def f(x):
        s = gf.zeros([2])
        for row in x:
            s += row
        return s

    check(f, [[[1.0, 2.0], [3.0, 4.0]]], [[[1.0, 2.0]]])


def test_for_gf_range():
    def f(n, x):
        for i in gf.range(n):
            x = x + gf.cast(i, gf.float32)
        return x

    check(f, [4, 1.0], [0, 1.0], [-3, 1.0])


def test_for_gf_range_with_steps():
    def f(a, b, c):
        s = 0
        for i in gf.range(a, b, c):
            s = s * 10 + i
        return s

    check(f, [1, 8, 3], [8, 1, -3], [5, 5, 1], [0, 7, 7])


def test_python_range_with_tensor_bounds():
    def f(n):
        s = 0
        for i in range(n):
            s += i
        for i in range(1, n, 2):
            s += i * 100
        return s

    check(f, [5], [0], [1])


def test_python_range_of_numbers_is_unrolled():
    @gf.function
    def f(x):
        for i in range(3):
            x = x + i
        return x

    assert f(gf.constant(1.0)).numpy() == 4
    assert "while" not in f.ir(gf.constant(1.0), stage="trace" if False else "final")


def test_range_of_an_extent():
    def f(x):
        s = 0.0
        for i in range(x.shape[0]):
            s = s + x[i] * (i + 1.0)  # i is Python's: the function is traced for each extent
        return s

    check(f, *VECTORS)


def test_len_of_a_tensor():
    def f(x):
        s = x[0] * 0
        for i in range(len(x)):
            s += x[i]
        return s / len(x)

    check(f, *VECTORS)


def test_enumerate_zip_reversed():
    def f(x, y):
        s = 0.0
        for i, v in enumerate(x):
            s = s * 2 + v * gf.cast(i, gf.float32)
        for a, b in zip(x, y):
            s = s + a * b
        for v in reversed(x):
            s = s * 3 + v
        for i, (a, b) in enumerate(zip(x, reversed(y)), 2):
            s = s + a - b * gf.cast(i, gf.float32)
        return s

    check(f, [[1.0, 2.0, 3.0], [4.0, 5.0]], [[1.0], [2.0]])


def test_zip_of_a_tensor_and_a_list():
    def f(x):
        s = 0.0
        for v, k in zip(x, [1.0, 2.0, 3.0]):
            s = s + v * k
        return s

    check(f, *VECTORS)


def test_break_continue_and_else():
    def f(x):
        s = 0.0
        for v in x:
            if v < 0:
                continue
            if v > 10:
                break
            s = s + v
        else:
            s = s + 1000
        return s

    check(f, [[1.0, -2.0, 3.0]], [[1.0, 20.0, 3.0]], [[20.0]], [[-1.0]])


def test_continue_in_the_middle():
    def f(x):
        s = 0.0
        for v in x:
            if v > 0:
                if v > 2:
                    s = s + 100
                    continue
                s = s + v
            s = s + 1
        return s

    check(f, [[1.0, -2.0, 3.0]], [[3.0, 3.0]])


def test_return_from_a_loop():
    def f(x):
        for v in x:
            if v > 2:
                return v * 10
        return x[0]

    check(f, *VECTORS)


def test_return_from_nested_loops():
    def f(x):
        n = 0
        for row in x:
            for v in row:
                n += 1
                if v > 5:
                    return v, n
            n += 100
        return x[0, 0], n

    check(f, [[[1.0, 2.0], [6.0, 1.0]]], [[[1.0, 2.0], [1.0, 1.0]]], [[[9.0]]])


def test_break_of_an_outer_loop_by_flag():
    def f(x):
        total = 0.0
        for row in x:
            done = False
            for v in row:
                if v < 0:
                    done = True
                    break
                total += v
            if done:
                break
        return total

    check(f, [[[1.0, 2.0], [-6.0, 1.0], [5.0, 5.0]]], [[[1.0, 2.0], [1.0, 1.0]]])


def test_python_loop_with_tensor_break_and_return():
    def f(x):
        for k in range(4):
            if x > 10:
                break
            x = x * (k + 2)
        for k in [1.0, 2.0, 3.0]:
            x = x + k
            if x > 100:
                return x
        return -x

    check(f, [1.0], [20.0], [99.0], [0.001])


def test_loop_variable_after_the_loop():
    def f(x):
        for v in x:
            w = v * 2
        return v + w

    check(f, *VECTORS)
    found = check(f, [np.zeros(0, "f4")], lines=False)
    assert found[0][0] is UnboundLocalError


def test_loop_variable_with_a_value_before():
    def f(x):
        v = x[0] * 0 - 1
        i = 7
        for i, v in enumerate(x[1:]):
            pass
        return v, i

    check(f, *VECTORS)


def test_attributes_and_items_as_state():
    class Cell:
        def __init__(self, h):
            self.h = h
            self.steps = 0

        def step(self, x):
            self.h = self.h * 0.5 + x
            return self.h

    def f(x):
        cell = Cell(x[0] * 0)
        seen = {"last": x[0], "n": 0}
        pair = [x[0], x[0]]
        for v in x:
            y = cell.step(v)
            cell.steps += 1
            seen["last"] = y
            seen["n"] += 1
            pair[0], pair[1] = pair[1], v
        return cell.h, cell.steps, seen, pair

    check(f, *VECTORS)


def test_lists_that_grow():
    def f(x):
        ys = []
        for v in x:
            ys.append(v * 2)
        return gf.stack(ys), ys[0], ys[-1], len(ys)

    check(f, *VECTORS)


def test_list_that_grows_under_a_condition():
    def f(x):
        ys = [x[0]]
        for v in x:
            if v > 1:
                ys.append(v)
        return gf.stack(ys)

    check(f, *VECTORS)


def test_list_pop():
    def f(x):
        ys = []
        for v in x:
            ys.append(v)
            ys.append(v + 1)
            t = ys.pop()
            ys[-1] = ys[-1] + t
        return gf.stack(ys)

    check(f, *VECTORS)


def test_list_returned():
    def f(x):
        ys = []
        for v in x:
            ys.append(v * 2)
        return ys

    check(f, *VECTORS)


def test_list_of_tuples():
    def f(x):
        ys = []
        for i, v in enumerate(x):
            ys.append((v, i))
        a, b = ys[0]
        s = 0.0
        for v, _ in ys:
            s = s + v
        return a, b, s

    check(f, *VECTORS)


def test_comprehensions():
    def f(x):
        ys = [v * 2 for v in x]
        return gf.stack(ys), sum(v for v in x), {k: v for k, v in zip("ab", x)}["a"]

    check(f, *VECTORS)


def test_shape_invariants():
    @gf.function
    def f(x):
        y = x
        for _ in gf.range(3):
            gf.autograph.experimental.set_loop_options(shape_invariants=[(y, gf.TensorShape([None]))])
            y = gf.concat([y, x], 0)
        return y

    assert f(gf.constant([1.0, 2.0])).numpy().tolist() == [1, 2] * 4


def test_maximum_iterations():
    @gf.function
    def f(x):
        while x < 100:
            gf.autograph.experimental.set_loop_options(maximum_iterations=3)
            x = x * 2
        return x

    assert f(gf.constant(1.0)).numpy() == 8


def test_shape_that_changes():
    @gf.function
    def f(x):
        for _ in gf.range(3):
            x = gf.concat([x, x], 0)
        return x

    with pytest.raises(ShapeError, match="'x' is") as caught:
        f(gf.constant([1.0]))
    assert "shape_invariants" in caught.value.hint


def test_dtype_that_changes():
    @gf.function
    def f(x):
        s = 0
        for v in x:
            s = s + v
        return s

    with pytest.raises(DTypeError):
        f(gf.constant([1.0]))

    @gf.function
    def g(x):
        s = 0
        for v in x:
            s = v
        return s

    with pytest.raises(DTypeError, match="'s' is i32.* before the loop and f32"):
        g(gf.constant([1.0]))


def test_none_that_becomes_a_tensor():
    @gf.function
    def f(x):
        last = None
        for v in x:
            last = v
        return last

    with pytest.raises(LoopError, match="'last' is None before the loop and f32"):
        f(gf.constant([1.0]))


def test_effects_in_the_test(capsys):
    def noisy(x):
        gf.print("test", output_stream="stdout")
        return x > 1

    @gf.function
    def f(x):
        while noisy(x):
            x = x / 2
        return x

    assert f(gf.constant(4.0)).numpy() == 1
    assert capsys.readouterr().out == "test\n" * 3


def test_walrus_in_the_test():
    def f(x):
        while (y := x * 2) > 4:
            x = x - 1
        return x, y

    check(f, [5.0], [1.0])


def test_variables():
    v = gf.Variable(1.0)

    @gf.function
    def f(x):
        for row in x:
            v.assign_add(row)
            if v > 4:
                break
        return v + 0.0

    assert f(gf.constant([1.0, 2.0, 3.0])).numpy() == 4 + 3
    assert v.numpy() == 7


def test_iterator_in_zip_is_unrolled():
    def f(x):
        s = 0.0
        for v, k in zip(x, iter([1.0, 2.0])):
            s = s + v * k
        return s

    check(f, [[1.0, 2.0]], [[1.0, 2.0, 5.0]])


def test_many_rows_taken_by_python_are_warned_about(monkeypatch):
    monkeypatch.setattr("graphflow.tracing.tracer.UNROLLED_ROWS", 3)
    names = {}
    exec("def total(x):\n    t = 0.0\n    for row in x:\n        t = t + row\n    return t", names)

    def total(x):
        t = 0.0
        for row in x:
            t = t + row
        return t

    with pytest.warns(UnrolledWarning, match=r"of 4 rows .*source of 'total' is not to be found.*gf\.map_fn") as caught:
        assert gf.function(names["total"])(gf.ones((4,))).numpy() == 4
    assert (caught[0].filename, caught[0].lineno) == ("<string>", 3)
    with pytest.warns(UnrolledWarning, match="of 4 rows") as caught:
        assert gf.function(lambda x: sum(list(x)))(gf.ones((4,))).numpy() == 4
    assert caught[0].filename == __file__
    assert gf.function(names["total"])(gf.ones((3,))).numpy() == 3
    assert gf.function(total)(gf.ones((4,))).numpy() == names["total"](gf.ones((4,))).numpy() == 4


def test_gradient_of_a_loop():
    @gf.function
    def f(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = x[0] * 0 + 1
            for v in x:
                if v > 1:
                    y = y * v
        return tape.gradient(y, x)

    assert f(gf.constant([2.0, 3.0, 0.5])).numpy().tolist() == [3.0, 2.0, 0.0]

"""if, elif, else and conditional expressions under tensor conditions."""

from __future__ import annotations

import pytest
from three_ways import check

import graphflow as gf
from graphflow.errors import AutographError, BranchError, DTypeError

ONE = [3.0], [-2.0], [0.0]
ROWS = [[1.0, 2.0]], [[-1.0, -2.0, -3.0]], [[4.0]]


def test_if_else():
    def f(x):
        if x > 0:
            y = x * 2
        else:
            y = x - 1
        return y

    check(f, *ONE)


def test_elif_chain():
    def f(x):
        if x > 2:
            y = x * 2
        elif x > 1:
            y = x * 3
        elif x < -1:
            y = x * 5
        else:
            y = x
        return y + 1

    check(f, [3.0], [1.5], [-2.0], [0.5])


def test_if_without_else_changes_a_variable():
    def f(x):
        y = x + 1
        if gf.reduce_sum(x) > 0:
            y = y * x
            z = y  # never read outside
            y = z + 1
        return y

    check(f, *ROWS)


def test_early_return():
    def f(x):
        if x > 2:
            return x
        y = x * x
        if y > 1:
            return y + 10
        return y

    check(f, *ONE, [0.5])


def test_return_in_one_branch_and_code_after():
    def f(x):
        y = x
        if x > 0:
            if x > 2:
                return y * 100
            y = y + 1
        y = y * 2
        return y

    check(f, [3.0], [1.0], [-1.0])


def test_return_in_else():
    def f(x):
        if x > 0:
            y = x
        else:
            return x * 7
        return y * 2

    check(f, *ONE)


def test_both_return_structures():
    def f(x):
        if x > 0:
            return {"a": x, "b": (x + 1, x + 2)}
        else:
            return {"a": -x, "b": (x, x)}

    check(f, *ONE)


def test_nested():
    def f(x, y):
        if x > 0:
            if y > 0:
                z = x + y
            else:
                z = x - y
                x = x * 2
        else:
            if y > 0:
                z = x * y
            else:
                z = x / 2
        return z, x

    check(f, [1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0])


def test_python_condition_inside_a_tensor_condition():
    def f(x, flag):
        if x > 0:
            if flag:
                y = x
            else:
                y = x * 2
        else:
            y = x * 3
        return y

    check(f, [1.0, True], [1.0, False], [-1.0, True], signature=False)


def test_conditional_expression():
    def f(x):
        y = x * 2 if x > 0 else x * 3
        return (y if y > 4 else -y) + (1.0 if x > 1 else 2.0)

    check(f, *ONE, [1.0])


def test_equal_numbers_stay_python():
    def f(x):
        n = 2
        if x > 0:
            n = 3
            y = x
        else:
            n = 3
            y = -x
        return gf.concat([gf.reshape(y, [1])] * n, 0)

    check(f, *ONE)


def test_numbers_become_tensors():
    def f(x):
        n = 0
        if x > 0:
            n = 3
        return n

    check(f, *ONE)


def test_augmented_assignment_and_unpacking():
    def f(x):
        a, (b, *c) = x, (x + 1, x + 2, x + 3)
        if x > 0:
            a += b
            b, a = a, b
            c[0] *= 2
        else:
            a, *c = c[0], a, b
        return a, b, c

    check(f, *ONE)


def test_attributes_and_items():
    class Cell:
        def __init__(self, h):
            self.h = h
            self.seen = {"last": h}

    def f(x):
        cell = Cell(x)
        values = [x, x + 1]
        if x > 0:
            cell.h = cell.h * 2
            cell.seen["last"] = x - 1
            values[1] = x * 9
        else:
            cell.seen["last"] = x + 1
        return cell.h, cell.seen["last"], values

    check(f, *ONE)


def test_attribute_set_by_a_method():
    class Cell:
        def __init__(self, h):
            self.h = h

        def step(self, x):
            if x > 1:
                self.h = self.h + x
            return self.h * 2

    def f(x):
        cell = Cell(x)
        y = x
        if x > 0:
            y = cell.step(x)
        return y, cell.h

    check(f, [3.0], [0.5], [-2.0])


def test_walrus():
    def f(x):
        if (y := x * 2) > 1 and (z := y + 1) > 2:
            return z
        return y

    check(f, *ONE, [0.6])


def test_global_and_nonlocal():
    total = gf.constant(0.0)

    def f(x):
        count = x

        def add():
            nonlocal count
            if count > 0:
                count = count + 5
            return count

        if x > -1:
            add()
        return count

    check(f, *ONE)
    assert total.numpy() == 0


def test_del():
    def f(x):
        y = x
        if x > 0:
            y = y + 1
            t = y * 2
            y = t
            del t
        return y

    check(f, *ONE)


def test_variable_defined_in_one_branch():
    @gf.function
    def f(x):
        if x > 0:
            y = x
        return y

    with pytest.raises(BranchError, match="'y' is not defined after the else branch") as caught:
        f(gf.constant(1.0))
    assert "test_if.py" in str(caught.value)
    assert "before the if" in caught.value.hint


def test_dtypes_that_differ_name_the_variable():
    @gf.function
    def f(x):
        y = x
        if x > 0:
            y = 1
        return y

    with pytest.raises(DTypeError, match="'y' is .*i32.*f32|'y' is .*f32.*i32|'y' is .* and 1"):
        f(gf.constant(1.0))


def test_return_on_one_path_only():
    @gf.function
    def f(x):
        if x > 0:
            return x

    with pytest.raises(BranchError, match="return value"):
        f(gf.constant(1.0))


def test_objects_that_differ():
    @gf.function
    def f(x):
        mode = "a"
        if x > 0:
            mode = "b"
        return x if mode == "a" else -x

    with pytest.raises(BranchError, match="'mode' is 'a' .* and 'b'"):
        f(gf.constant(1.0))


def test_extents_that_differ():
    def f(x):
        if gf.reduce_sum(x) > 0:
            y = gf.concat([x, x], 0)
        else:
            y = x
        return y

    check(f, *ROWS)


def test_effects_in_branches(capsys):
    def f(x):
        if x > 0:
            gf.print("yes", x, output_stream="stdout")
        else:
            gf.print("no", output_stream="stdout")
        return x

    decorated = gf.function(f)
    for value, text in ((1.0, "yes 1\n"), (-1.0, "no\n")):
        decorated(gf.constant(value))
        assert capsys.readouterr().out == text


def test_variables_in_branches():
    v = gf.Variable(1.0)

    @gf.function
    def f(x):
        if x > 0:
            v.assign_add(x)
        elif x < -5:
            v.assign(0.0)
        return v + 0.0

    assert f(gf.constant(2.0)).numpy() == 3
    assert f(gf.constant(-2.0)).numpy() == 3
    assert f(gf.constant(-6.0)).numpy() == 0
    assert v.numpy() == 0


def test_recursion_that_a_tensor_ends():
    def down(x):
        if x < 1:
            return x
        return down(x - 1)

    with pytest.raises(AutographError, match="recursion"):
        gf.function(down)(gf.constant(3.0))


def test_gradients():
    @gf.function
    def f(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            if x > 0:
                y = x * x
            else:
                y = x * 3
        return tape.gradient(y, x)

    assert f(gf.constant(4.0)).numpy() == 8
    assert f(gf.constant(-4.0)).numpy() == 3


def test_tape_around():
    @gf.function
    def f(x):
        if x > 0:
            return x * x
        return x * 3

    for value, expected in ((4.0, 8), (-4.0, 3)):
        x = gf.constant(value)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        assert tape.gradient(y, x).numpy() == expected

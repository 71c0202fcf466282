"""assert and raise under tensor conditions, try and with around tensor code."""

from __future__ import annotations

import contextlib
import traceback

import pytest
from three_ways import check

import graphflow as gf
from graphflow.errors import AssertionFailedError, AutographError, InvalidArgumentError


class Wrong(ValueError):
    """An exception of the user's own, whose constructor takes other arguments than it passes on."""

    def __init__(self, name, value):
        super().__init__(f"{name} is {value}")
        self.name, self.value = name, value

    def __reduce__(self):
        return Wrong, (self.name, self.value)


def test_raise():
    def f(x):
        if x < 0:
            raise ValueError("x must not be negative")
        return x * 2

    found = check(f, [1.0], [-1.0])
    assert found[1][0] is ValueError


def test_raise_keeps_message_and_line():
    @gf.function
    def f(x):
        y = x * 2
        if y < 0:
            # fmt: off
            raise ValueError("negative",
                             3)
            # fmt: on
        return y

    for _ in range(3):
        with pytest.raises(ValueError, match="negative") as caught:
            f(gf.constant(-1.0))
        assert type(caught.value) is ValueError
        assert caught.value.args == ("negative", 3)
        last = traceback.extract_tb(caught.value.__traceback__)[-1]
        assert (last.filename, last.name, last.line) == (__file__, "f", 'raise ValueError("negative",')
    assert f(gf.constant(1.0)).numpy() == 2


def test_raise_of_a_class_of_the_users():
    def f(x):
        if x > 3:
            raise Wrong("x", 3)
        if x > 2:
            raise KeyError
        return x

    found = check(f, [1.0], [2.5], [4.0])
    assert found[1][0] is KeyError
    assert found[2][0] is Wrong


def test_raise_from():
    def f(x):
        if x > 3:
            raise ValueError("outer") from TypeError("inner")
        return x

    check(f, [1.0], [4.0])
    with pytest.raises(ValueError) as caught:
        gf.function(f)(gf.constant(5.0))
    assert isinstance(caught.value.__cause__, TypeError)


def test_raise_in_else_and_in_both():
    def f(x):
        if x > 0:
            y = x
        else:
            raise ValueError("no")
        return y

    def g(x):
        if x > 0:
            raise ValueError("positive")
        raise TypeError("negative")

    def h(x, flag):
        if x > 0:
            if x > 2:
                raise ValueError("large")
            else:
                raise KeyError("positive")
        assert flag, "flag"
        raise TypeError("negative")

    check(f, [1.0], [-1.0])
    check(g, [1.0], [-1.0])
    check(h, [1.0, True], [3.0, True], [-1.0, True], [-1.0, False], signature=False)


def test_raise_in_a_function_that_is_called():
    def helper(x):
        if x > 5:
            raise ValueError("too large")
        return x + 1

    def f(x):
        y = helper(x)
        if x > 0:
            y = helper(y)
        return y

    check(f, [1.0], [6.0], [5.0], [-1.0])


def test_raise_in_a_loop():
    def f(x):
        s = 0.0
        for v in x:
            if v < 0:
                raise ValueError("negative")
            s = s + v
        return s

    check(f, [[1.0, 2.0]], [[1.0, -2.0]])


def test_raise_leaves_variables_as_they_were():
    v = gf.Variable(1.0)

    @gf.function
    def f(x):
        v.assign_add(1.0)
        if x < 0:
            raise ValueError("no")
        return v + 0.0

    with pytest.raises(ValueError):
        f(gf.constant(-1.0))
    assert v.numpy() == 1
    assert f(gf.constant(1.0)).numpy() == 2


def test_raise_without_a_condition():
    def f(x):
        raise ValueError("always")

    check(f, [1.0])


def test_raise_caught_in_the_same_branch():
    def f(x):
        y = x
        if x > 0:
            try:
                raise ValueError("inside")
            except ValueError:
                y = x * 10
        return y

    check(f, [1.0], [-1.0])


def test_raise_caught_around_the_condition_is_refused():
    @gf.function
    def f(x):
        try:
            if x > 0:
                raise ValueError("inside")
        except ValueError:
            return x * 10
        return x

    with pytest.raises(AutographError, match="ValueError is raised under a tensor condition inside a try"):
        f(gf.constant(1.0))

    def thrower(x):
        if x > 0:
            raise KeyError("inside")
        return x

    @gf.function
    def g(x):
        try:
            return thrower(x)
        except (TypeError, LookupError):
            return x * 10

    with pytest.raises(AutographError, match="KeyError"):
        g(gf.constant(1.0))

    def h(x):
        try:
            return thrower(x)
        except (TypeError, ValueError):
            return x * 10

    check(h, [1.0], [-1.0])


def test_assert():
    def f(x):
        assert x > 0, "x must be positive"
        assert True
        return x * 2

    found = check(f, [1.0], [-1.0])
    assert found[1][0] is AssertionError
    with pytest.raises(AssertionFailedError, match="x must be positive"):
        gf.function(f)(gf.constant(-1.0))


def test_assert_of_python_values():
    def f(x, n):
        assert n > 0, f"n is {n}"
        return x

    check(f, [1.0, 1], [1.0, -1], signature=False)


def test_assert_in_branch_and_loop():
    def f(x):
        for v in x:
            if v > 1:
                assert v < 10, "large"
        return x

    check(f, [[0.0, 2.0]], [[0.0, 20.0]])


def test_assert_reduces():
    @gf.function
    def f(x):
        assert x > 0
        return x

    with pytest.raises(ValueError, match="one element"):
        f(gf.constant([1.0, 2.0]))


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_try_except_finally():
    log = []

    def f(x, key):
        table = {"a": 2.0}
        try:
            if x > 0:
                y = x * 2
            else:
                y = x
            y = y * table[key]
        except KeyError:
            y = x - 1
        else:
            y = y + 1
        finally:
            log.append(1)
        return y

    check(f, [1.0, "a"], [1.0, "b"], [-1.0, "a"], signature=False)


def test_return_inside_try_and_with():
    class Manager:
        def __init__(self):
            self.left = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.left += 1

    def f(x):
        with Manager() as m:
            if x > 5:
                return x, m.left
            x = x + 1
        try:
            if x > 2:
                return x * 2, m.left
        except ValueError:
            pass
        return -x, m.left

    check(f, [8.0], [2.0], [0.0])


def test_break_inside_with():
    def f(x):
        s = 0.0
        for v in x:
            with contextlib.nullcontext():
                if v < 0:
                    break
                if v < 1:
                    continue
                s = s + v
            s = s + 100
        return s

    check(f, [[1.0, 0.5, 2.0]], [[1.0, -1.0, 2.0]])


def test_return_in_finally_is_left_alone():
    def f(x, flag):
        try:
            y = x * 2
        finally:
            if flag:
                return x  # noqa: B012
        return y

    check(f, [1.0, True], [1.0, False], signature=False)

    @gf.function
    def g(x):
        try:
            y = x * 2
        finally:
            if x > 0:
                return x  # noqa: B012
        return y

    with pytest.raises(TypeError) as caught:
        g(gf.constant(1.0))
    assert "finally" in caught.value.hint


def test_errors_of_ops_keep_class_and_line():
    def f(x):
        if gf.reduce_sum(x) > 0:
            y = x + gf.ones([5])
        else:
            y = x
        return y

    with pytest.raises(ValueError) as caught:
        gf.function(f)(gf.ones([3]))
    assert caught.value.place.expression == "x + gf.ones([5])"


def test_error_of_python_in_user_code():
    def f(x):
        if gf.reduce_sum(x) > 0:
            return {}["missing"]
        return x

    with pytest.raises(KeyError) as caught:
        gf.function(f)(gf.ones([3]))
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.line == 'return {}["missing"]'
    assert last.name == "f"


def test_gf_assert_inside_branches():
    def f(x):
        if x > 0:
            gf.debugging.Assert(x < 10, ["large", x])
        return x

    check(f, [1.0], [-1.0])
    with pytest.raises(InvalidArgumentError):
        gf.function(f)(gf.constant(20.0))


def test_messages_with_tensors():
    def f(x):
        if x < 0:
            raise ValueError(f"x is {x} and twice {x * 2!s:>3}, {1 + 1:03d}", x)
        return x

    def g(x):
        assert x < 5, f"got {x}"
        for v in gf.stack([x, x + 1]):
            if v > 2:
                raise KeyError(f"{v}")
        return x

    x = gf.constant(-1.0)
    with pytest.raises(ValueError) as eager:
        f(x)
    with pytest.raises(ValueError) as traced:
        gf.function(f)(x)
    assert traced.value.args[0] == eager.value.args[0] == f"x is {x} and twice {x * 2}, 002"
    assert traced.value.args[1].numpy() == -1
    for value in (6.0, 2.0, 1.5):
        found = []
        for way in (g, gf.function(g)):
            with pytest.raises((AssertionError, KeyError)) as caught:
                way(gf.constant(value))
            found.append(caught.value.args[0])
        assert found[0].splitlines()[0] in found[1]


def test_raise_beside_a_call_of_python():
    seen = []

    def note(v):
        seen.append(float(v))
        return v

    def f(x):
        y = gf.py_function(note, [x], gf.TensorSpec([], gf.float32))
        if y < 0:
            raise ValueError("negative")
        return y * 2

    check(f, [1.0], [-1.0], signature=False)
    assert seen == [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]


def test_raise_under_a_tape_outside():
    @gf.function
    def f(x):
        if x < 0:
            raise ValueError("negative")
        return x * x

    x = gf.constant(-1.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(ValueError, match="negative"):
            f(x)
    x = gf.constant(3.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    assert tape.gradient(y, x).numpy() == 6

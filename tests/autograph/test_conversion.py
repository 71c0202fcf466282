"""Which functions are converted, and that converted ones are Python's own in every other way: cells, defaults, names,
positions, tracebacks, breakpoints."""

from __future__ import annotations

import asyncio
import functools
import inspect
import linecache
import threading

import numpy as np
import pytest
from three_ways import Fixed, check

import graphflow as gf
from graphflow.autograph.convert import convert_function
from graphflow.errors import TracedBoolError

do_not_convert = gf.autograph.experimental.do_not_convert


# What is converted ----------------------------------------------------------------------------------------------------
def plain(x):
    return gf.tanh(x) * 2.0 + gf.reduce_sum(x, axis=0)


def branching(x, k=2, *, scale: float = 3.0):
    """Its documentation."""
    if x > 0:
        x = x * k
    return x * scale


def test_straight_line_code_is_left_alone():
    assert convert_function(plain) is plain


def test_names_defaults_annotations():
    found = convert_function(branching)
    assert found is not branching
    for name in (
        "__name__",
        "__qualname__",
        "__doc__",
        "__module__",
        "__defaults__",
        "__kwdefaults__",
        "__annotations__",
    ):
        assert getattr(found, name) == getattr(branching, name)
    assert found.__globals__ is branching.__globals__
    assert found.__code__.co_filename == branching.__code__.co_filename
    assert found.__code__.co_firstlineno == branching.__code__.co_firstlineno
    assert inspect.signature(found) == inspect.signature(branching)


def test_defaults_are_not_evaluated_again():
    made = []

    def default():
        made.append(1)
        return 2.0

    def f(x, k=default()):  # noqa: B008
        if x > 0:
            return x * k
        return x

    check(f, [1.0], [-1.0])
    assert made == [1]
    f.__defaults__ = (5.0,)
    assert convert_function(f)(gf.constant(1.0)).numpy() == 5


def test_code_is_converted_once():
    first, second = convert_function(branching), convert_function(branching)
    assert first.__code__ is second.__code__
    assert convert_function(first) is first


def test_generators_and_coroutines_run_as_they_are():
    def rows(x):
        for k in range(3):
            if k != 1:
                yield x * k

    async def wait(x):
        if x is not None:
            return x
        return None

    assert convert_function(rows) is rows
    assert convert_function(wait) is wait

    def f(x):
        total = x
        for v in rows(x):
            total = total + v
        return total

    check(f, [2.0])
    assert asyncio.run(wait(1)) == 1


def test_methods_super_and_private_names():
    class Base:
        def __init__(self, k):
            self.__k = k

        def scaled(self, x):
            if x > 0:
                return x * self.__k
            return x

    class Derived(Base):
        def __init__(self, k):
            if k is not None:
                super().__init__(k)
            self.__k = 100.0

        def scaled(self, x):
            if x > 1:
                y = super().scaled(x) + self.__k
            else:
                y = super(Derived, self).scaled(x)
            return y

        @classmethod
        def made(cls, x):
            if x > 0:
                return cls(2.0).scaled(x)
            return x

        @staticmethod
        def twice(x):
            return x * 2 if x > 0 else x

        @property
        def key(self):
            return "a" if self.__k > 3 else "b"

        def __call__(self, x):
            if x > 0:
                return __class__.twice(x) + len(self.key)
            return x

    def f(x):
        layer = Derived(3.0)
        return layer.scaled(x), Derived.made(x), layer.twice(x), layer(x)

    check(f, [2.0], [0.5], [-1.0])

    class Model(gf.Module):
        @gf.function
        def run(self, x):
            if x > 0:
                return x + 1
            return x

    model = Model()
    assert model.run(gf.constant(1.0)).numpy() == 2
    assert model.run(gf.constant(-1.0)).numpy() == -1


def test_closures_share_their_cells():
    rate = 2.0

    def f(x):
        nonlocal rate
        if x is not None:
            rate = rate + 1
        return x * rate

    def read():
        return rate

    converted = convert_function(f)
    assert converted(1.0) == 3
    assert read() == 3
    rate = 10.0
    assert converted(1.0) == 11
    assert converted.__closure__ is not None


def test_lambdas_on_one_line_are_told_apart():
    # fmt: off
    pair = (lambda x: x * 2 if x > 0 else x, lambda x: x * 3 if x > 0 else -x)
    # fmt: on
    check(pair[0], [2.0], [-2.0])
    check(pair[1], [2.0], [-2.0])
    same = [lambda x: x + 1 if x > 0 else x, lambda x: x + 1 if x > 0 else x]
    check(same[1], [2.0], [-2.0])


def wrapped(function):
    @functools.wraps(function)
    def inner(*args):
        if args:
            return function(*args)
        return None

    return inner


def test_decorated_functions_and_partial():
    @wrapped
    @wrapped
    def f(x):
        if x > 0:
            return x * 2
        return x

    def scale(k, x):
        if x > 0:
            return x * k
        return x

    half = functools.partial(scale, 0.5)

    def g(x):
        return f(x) + half(x)

    check(g, [2.0], [-2.0])
    assert gf.function(half)(gf.constant(4.0)).numpy() == 2


def test_nested_functions_and_classes():
    def f(x):
        def helper(v):
            if v > 1:
                return v * 10
            return v

        class Box:
            size = 3 if True and not False else 4

            def __init__(self, v):
                self.v = v if v > 0 else -v

            def value(self):
                if self.v > 2:
                    return self.v
                return helper(self.v)

        table = {"f": lambda v: helper(v) if v > 0 else v}
        return helper(x), Box(x).value() + Box.size, table["f"](x), (lambda v: v if v > 0 else 0.0)(x)

    check(f, [2.0], [3.0], [-1.0])


def test_functions_given_to_functions():
    def clip(v):
        return v if v < 2 else v * 0 + 2

    def f(x):
        a = gf.map_fn(clip, x)
        b = gf.stack(list(map(clip, x)))
        c = functools.reduce(lambda s, v: s + v if v > 1 else s, x)
        d = gf.foldl(lambda s, v: s + v if v > 1 else s, x)
        e = gf.cond(c > 2, lambda: clip(c), lambda: c)
        return a, b, c, d, e

    check(f, [[1.0, 3.0, 2.0]], signature=False)


def test_variable_arguments_and_keyword_calls():
    def inner(a, *rest, k=1.0, **more):
        if a > 0:
            return a * k + sum(rest) + more.get("m", 0.0)
        return a

    def f(x):
        return inner(x, *[1.0, 2.0], k=2.0, m=3.0), inner(*(x,))

    check(f, [2.0], [-2.0])


def test_positional_errors_are_pythons():
    def inner(a):
        return a if a > 0 else -a

    @gf.function
    def f(x):
        return inner(x, 1, 2)

    with pytest.raises(TypeError, match=r"inner\(\) takes 1 positional argument but 3 were given"):
        f(gf.constant(1.0))


def test_recursion_on_python_values():
    def power(x, n):
        if n == 0:
            return x * 0 + 1
        half = power(x, n // 2)
        return half * half * (x if n % 2 else 1.0)

    check(power, [2.0, Fixed(5)], signature=False)

    def f(x):
        return power(x, 5) if x > 0 else x

    check(f, [2.0], [-2.0])


# Switching it off -----------------------------------------------------------------------------------------------------
def test_do_not_convert():
    @do_not_convert
    def left_alone(x):
        if x > 0:
            return x
        return -x

    @gf.function
    def f(x):
        return left_alone(x)

    with pytest.raises(TracedBoolError):
        f(gf.constant(1.0))
    assert left_alone(gf.constant(-1.0)).numpy() == 1
    assert do_not_convert()(abs)(-1) == 1
    with pytest.raises(TracedBoolError):
        gf.function(left_alone)(gf.constant(1.0))


def test_autograph_off():
    def helper(x):
        if x > 0:
            return x
        return -x

    @gf.function(autograph=False)
    def f(x):
        return helper(x)

    @gf.function
    def g(x):
        return f(x)

    for function in (f, g):
        with pytest.raises(TracedBoolError):
            function(gf.constant(1.0))

    @gf.function(autograph=False)
    def h(x):
        return inner(x)

    @gf.function
    def inner(x):
        return helper(x)

    assert h(gf.constant(-2.0)).numpy() == 2


def test_nested_compiled_functions():
    @gf.function
    def inner(x):
        if x > 0:
            return x * 2
        return x

    def f(x):
        y = x
        for _ in gf.range(3):
            y = inner(y) + 1
        return y

    check(f, [1.0], [-5.0])


# Where the source is --------------------------------------------------------------------------------------------------
SOURCE = "def f(x):\n    if x > 0:\n        return x * 2\n    return x\n"


def test_notebook_cell():
    name = "<ipython-input-7-autograph>"
    linecache.cache[name] = (len(SOURCE), None, SOURCE.splitlines(True), name)
    scope = {}
    exec(compile(SOURCE, name, "exec"), scope)
    assert gf.function(scope["f"])(gf.constant(2.0)).numpy() == 4


def test_missing_source_is_said():
    scope = {}
    exec(compile(SOURCE, "<nowhere>", "exec"), scope)
    with pytest.raises(TracedBoolError) as caught:
        gf.function(scope["f"])(gf.constant(2.0))
    assert "source of 'f' is not to be found (<nowhere>)" in caught.value.hint


def test_edited_file_is_not_taken_for_what_runs(tmp_path):
    file = tmp_path / "edited.py"
    file.write_text(SOURCE)
    scope = {"__name__": "edited"}
    exec(compile(SOURCE, str(file), "exec"), scope)
    file.write_text(SOURCE.replace("x * 2", "x * 7"))
    with pytest.raises(TracedBoolError) as caught:
        gf.function(scope["f"])(gf.constant(2.0))
    assert "is not what 'f' was compiled from" in caught.value.hint


def test_equal_code_in_two_files(tmp_path):
    found = []
    for name in ("first.py", "second.py"):
        file = tmp_path / name
        file.write_text(SOURCE)
        scope = {}
        exec(compile(SOURCE, str(file), "exec"), scope)
        found.append(convert_function(scope["f"]).__code__.co_filename)
    assert [f.rsplit("/", 1)[-1] for f in found] == ["first.py", "second.py"]


def test_code_is_forgotten_with_its_function():
    from graphflow.autograph.reasons import conversions

    name = "<short lived>"
    linecache.cache[name] = (len(SOURCE), None, SOURCE.splitlines(True), name)
    scope = {}
    exec(compile(SOURCE, name, "exec"), scope)
    before = len(conversions._entries)
    convert_function(scope["f"])
    assert len(conversions._entries) == before + 1
    scope.clear()
    assert len(conversions._entries) == before


def test_threads():
    scope = {}
    name = "<for threads>"
    linecache.cache[name] = (len(SOURCE), None, SOURCE.splitlines(True), name)
    exec(compile(SOURCE, name, "exec"), scope)
    found = []

    def work():
        found.append(convert_function(scope["f"]).__code__)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(code) for code in found}) == 1


# Reading the converted form -------------------------------------------------------------------------------------------
def test_to_code():
    text = gf.autograph.to_code(branching)
    assert "ag__.if_(x > 0" in text
    compile(text, "<text>", "exec")
    with pytest.raises(ValueError):
        gf.autograph.to_code(eval("lambda x: x"))
    with pytest.raises(TypeError):
        gf.autograph.to_code(3)


def test_to_graph():
    f = gf.autograph.to_graph(branching)
    assert f(gf.constant(2.0)).numpy() == 12
    assert gf.function(f)(gf.constant(-2.0)).numpy() == -6
    np.testing.assert_array_equal(f(gf.constant(2.0)).numpy(), branching(gf.constant(2.0)).numpy())


def test_why_code_was_not_converted_is_said():
    class Box:
        def __init__(self, v):
            self.v = v

        @property
        def size(self):
            return self.v if self.v > 0 else -self.v

    @gf.function
    def f(x):
        return Box(x).size

    with pytest.raises(TracedBoolError) as caught:
        f(gf.constant(1.0))
    assert "'size' is called by code that is not converted (a property" in caught.value.hint

"""and, or, not, chained comparisons, in, and built-in functions; on tensors, and exactly as Python on everything else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from three_ways import Fixed, check

import graphflow as gf
from graphflow.errors import AutographError

PAIRS = [1.0, 2.0], [2.0, 1.0], [-1.0, 2.0], [2.0, 2.0], [0.0, 0.0], [float("nan"), 1.0]


class Counted:
    """A value whose truth is counted."""

    def __init__(self, log, name, value):
        self.log, self.name, self.value = log, name, value

    def __bool__(self):
        self.log.append(self.name)
        return self.value

    def __lt__(self, other):
        self.log.append(f"{self.name}<{other.name}")
        return Counted(self.log, f"({self.name}<{other.name})", self.value)


def test_truth_is_asked_for_as_often_as_python_does():
    def f(a, b, c):
        log = a.log
        if a and b:
            log.append("1")
        if a or b and not c:
            log.append("2")
        x = a and b or c
        log.append(x.name)
        y = (a or b) and c
        log.append(y.name)
        log.append(not (a and b))
        if a < b < c:
            log.append("3")
        z = a < b < c
        log.append(z.name)
        log.append("4" if a and b else "5")
        log.append("6" if (a or not b) or c else "7")
        log.append([n for n in (1, 2) if a and not c])
        k = 0
        while a and k < 2 or b and k < 1:
            k += 1
        return log

    def values(bits):
        log = []
        return [Counted(log, n, bool(bits >> k & 1)) for k, n in enumerate("abc")]

    converted = gf.autograph.to_graph(f)
    assert converted.__code__ is not f.__code__
    for bits in range(8):
        assert converted(*values(bits)) == f(*values(bits))


def test_and_or_not():
    def f(x, y):
        a = 1 if x > 0 and y > 1 else 0
        b = 1 if x > 0 or y > 1 else 0
        c = 1 if not x > 0 else 0
        d = 1 if (x > 0 and not y > 1) or x == y else 0
        return a, b, c, d, x > 0 and y > 0, x < 0 or y < 0

    check(f, *PAIRS)


def test_values_of_and_and_or():
    def f(x, y):
        return x and y, x or y, not x

    check(f, *PAIRS)


def test_short_circuit_keeps_what_would_fail_from_running():
    def f(x, i):
        if i < gf.shape(x)[0] and x[i] > 0:
            return x[i]
        return x[0] - 100

    check(f, [[1.0, 2.0], 1], [[1.0, 2.0], 7], [[1.0, -2.0], 1])


def test_tensor_and_python():
    def f(x, flag):
        if flag and x > 0:
            x = x + 1
        if x > 0 and flag:
            x = x + 10
        if x > 0 or flag:
            x = x + 100
        if flag or x > 0:
            x = x + 1000
        return x

    check(f, [1.0, True], [1.0, False], [-1.0, True], [-1.0, False], signature=False)


def test_chained_comparisons():
    def f(x, y):
        a = 1 if 0 < x < y else 0
        b = 1 if x < y <= 2 != 3 else 0
        return a, b, -1 < x <= y

    check(f, *PAIRS)


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_comparisons_evaluate_each_operand_once():
    calls = []

    def value(k):
        calls.append(k)
        return k

    @gf.function
    def f(x):
        if value(1) < value(2) < value(0) < value(5):
            return x
        return -x

    assert f(gf.constant(1.0)).numpy() == -1
    assert calls == [1, 2, 0]


def test_in():
    def f(x, y):
        a = 1 if x in y else 0
        b = 1 if x not in y else 0
        c = 1 if x in [1.0, 5.0] else 0
        d = 1 if 2.0 in y else 0
        return a, b, c, d

    check(f, [1.0, [1.0, 2.0]], [3.0, [1.0, 2.0]], [5.0, [5.0]])


def test_in_of_python():
    def f(x, key, table):
        return (x if key in table else -x), key not in table

    check(f, [1.0, "a", Fixed({"a": 1})], [1.0, "b", Fixed({"a": 1})], signature=False)


def test_walrus_in_logic():
    def f(x):
        if x > 0 and (y := x * 2) > 3:
            return y
        z = 5.0 if (w := x + 1) > 0 else 6.0
        return z + w

    check(f, [1.0], [2.0], [-3.0])


def test_int_float_bool_abs():
    def f(x):
        return int(x), float(x), bool(x), abs(x), int(x) + 1

    check(f, [1.7], [-2.0], [0.0])


VALUES = [
    [1.0, 5.0, 3.0],
    [2.0],
    [0.0, -0.0],
    [-0.0, 0.0],
    [math.nan, 1.0],
    [1.0, math.nan, 2.0],
    [math.inf, -math.inf],
]


@pytest.mark.parametrize("values", VALUES)
def test_max_min_sum_of_a_tensor(values):
    def f(x):
        return max(x), min(x), sum(x), any(x), all(x)

    check(f, [values])


def test_max_min_of_values():
    def f(x, y):
        return max(x, y), min(x, y), max([x, y, x]), min((y, x)), max(v for v in (x, y))

    check(f, *PAIRS[:5])


def test_sum_of_a_long_tensor():
    def f(x):
        return sum(x)

    check(f, [np.linspace(0.1, 3, 77).astype("f4")])


def test_any_all_of_generators():
    def f(x):
        return any(v > 2 for v in x), all(v > 0 for v in x)

    check(f, [[1.0, 5.0]], [[-1.0]], [[3.0]])


def test_sorted():
    def f(x):
        return sorted(x), sorted(x, reverse=True)

    check(f, [[3.0, 1.0, 2.0]], signature=False)
    with pytest.raises(AutographError):
        gf.function(lambda x: sorted(x, key=abs))(gf.constant([1.0]))


def test_builtins_on_python_values():
    def f(x, values):
        table = dict(enumerate(zip(values, reversed(values))))
        found = [max(values), min(values, key=abs), sum(values, 1), any(values), all(values), len(values)]
        found += [
            sorted(values, key=lambda v: -v),
            int("7"),
            float("1.5"),
            bool([]),
            list(range(2)),
            list(map(abs, values)),
        ]
        return x, found, table, list(filter(None, values))

    check(f, [1.0, Fixed((3, -1, 2))], signature=False)


def test_match():
    def f(x, command):
        match command:
            case ("scale", k) if k > 1:
                return x * k
            case ("shift", k):
                x = x + k
            case {"op": "neg", **rest}:
                x = -x + len(rest)
            case [first, *_]:
                x = x + first
            case _:
                if x > 0:
                    return x * 100
        return x + 1

    check(
        f,
        [1.0, Fixed(("scale", 2.0))],
        [1.0, Fixed(("shift", 3.0))],
        [1.0, Fixed({"op": "neg", "a": 1})],
        [1.0, Fixed([5.0, 6.0])],
        [1.0, Fixed(None)],
        [-1.0, Fixed(None)],
        signature=False,
    )


def test_match_on_tensors_is_refused():
    @gf.function
    def f(x):
        match x:
            case 1.0:
                return x
        return -x

    with pytest.raises(AutographError, match="match statement"):
        f(gf.constant(1.0))

    @gf.function
    def g(x):
        match 1:
            case _ if x > 0:
                return x
        return -x

    with pytest.raises(AutographError, match="a match guard depends on a tensor"):
        g(gf.constant(1.0))


def test_comprehension_condition_is_refused():
    @gf.function
    def f(x):
        return [v for v in x if v > 0]

    with pytest.raises(AutographError, match="a comprehension's if depends on a tensor"):
        f(gf.constant([1.0]))


def test_more_than_one_element_has_no_truth():
    @gf.function
    def f(x):
        if x:
            return x
        return -x

    with pytest.raises(ValueError, match="one element"):
        f(gf.constant([1.0, 2.0]))
    assert f(gf.constant([3.0])).numpy() == [3]
    assert f(gf.zeros([0])).numpy().shape == (0,)

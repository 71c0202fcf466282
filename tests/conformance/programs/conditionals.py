"""Branches: if, ternaries, and/or/not, comparisons."""

import graphflow as gf

from ..table import booleans, floats, integers, program


@program(floats(1, -2, 3), floats(-4, 1, 2))
def branch_on_sum(x):
    if gf.reduce_sum(x) > 0:
        y = x * 2
    else:
        y = -x
    return y


@program(floats(3), floats(-3), floats(0))
def three_ways(x):
    if x > 0:
        result = gf.constant(1)
    elif x < 0:
        result = gf.constant(-1)
    else:
        result = gf.constant(0)
    return result


@program(floats(2), floats(-2))
def only_if(x):
    y = x
    if x < 0:
        y = gf.sqrt(-x)
    return y + 1


@program(floats(5), floats(-5))
def early_return(x):
    if x > 0:
        return x * 10
    return x / 10


@program(floats(5), floats(-5), floats(0.5))
def many_returns(x):
    if x > 1:
        return x * 10
    if x < -1:
        return -x
    y = x + 1
    if y > 2:
        return y
    else:
        return y * y


@program((floats(1), floats(2)), (floats(2), floats(1)), (floats(1), floats(1)))
def nested_branches(x, y):
    if x < y:
        if x + y > 2:
            z = x * y
        else:
            z = x - y
    else:
        if x == y:
            z = x
        else:
            z = y / x
    return z


@program(floats(0.25), floats(-4))
def ternary(x):
    return gf.sqrt(x) if x >= 0 else gf.zeros_like(x)


@program(floats(0.25), floats(-4), floats(9))
def nested_ternary(x):
    return x if x > 1 else (x * 2 if x > 0 else -x)


@program((booleans(True), booleans(False)), (booleans(True), booleans(True)), (booleans(False), booleans(False)))
def and_or_not(a, b):
    return (a and b), (a or b), (not a), (a and not b)


@program(floats(3), floats(7), floats(-1))
def chained_comparison(x):
    return 0 < x < 5


@program(floats(3), floats(7), floats(-1))
def chained_in_condition(x):
    if 0 <= x <= 5:
        return x
    return x - 100


@program(integers(0), integers(2))
def short_circuit_guards_division(n):
    if n != 0 and 10 // n > 3:
        return 10 // n
    return n


@program(integers(0), integers(2), integers(9))
def short_circuit_or(n):
    if n == 0 or 10 // n > 3:
        return n + 100
    return n


@program((floats(1, 2, 3), True), (floats(1, 2, 3), False))
def python_condition_stays_python(x, flag):
    if flag:
        return gf.reduce_sum(x)
    return gf.reduce_max(x)


@program((floats(1, 2, 3), None), (floats(1, 2, 3), floats(1, 1, 1)))
def optional_argument(x, bias):
    if bias is not None:
        x = x + bias
    return x * 2


@program(floats(1, 2, 3), floats([1.0]))
def condition_on_rank_and_dtype(x):
    if len(x.shape) == 1 and x.dtype == gf.float32:
        return x + 1
    return x


@program((floats(1), 3), (floats(-1), 3), (floats(1), 0))
def mixed_python_and_tensor_condition(x, n):
    if n > 0 and x > 0:
        return x * n
    return x - n


@program((floats(1), "double"), (floats(1), "half"), (floats(-1), "double"))
def string_mode(x, mode):
    if mode == "double":
        if x > 0:
            x = x * 2
    elif mode == "half":
        x = x / 2
    return x


@program(floats(1, 2, 3), floats(-1, -2, -3))
def any_all(x):
    if gf.reduce_all(x > 0):
        return gf.reduce_sum(x) > 100
    return gf.reduce_any(x > 1)


@program(floats(4), floats(-4))
def branch_gives_pair(x):
    if x > 0:
        a, b = x, x * 2
    else:
        a, b = -x, x - 1
    return {"a": a, "b": (b, a + b)}


@program(floats(4), floats(-4))
def branch_gives_structure(x):
    state = {"value": x, "count": gf.constant(0)}
    if x > 0:
        state = {"value": x * 3, "count": state["count"] + 1}
    return state


@program(floats(4), floats(-4))
def python_float_in_branch(x):
    if x > 0:
        scale = 2.0
    else:
        scale = 0.5
    return x * scale


@program(floats(4), floats(-4))
def python_integer_in_branch(x):
    n = 1
    if x > 0:
        n = 2
    return gf.cast(x, gf.int32) + n


@program((floats(1, 2), floats(3, 4)), (floats(5, 2), floats(3, 4)))
def swap_if(a, b):
    if a[0] > b[0]:
        a, b = b, a
    return a, b


@program(floats(1, 5, 2, 8), floats(9, 1, 1, 1))
def condition_from_element(x):
    if x[0] > x[-1]:
        return x[0]
    return x[-1]


@program(floats(1.5), floats(-1.5))
def unused_names_may_differ(x):
    if x > 0:
        only_here = x * 2
        y = only_here + 1
    else:
        y = x
    return y


@program(integers(3), integers(4))
def parity(n):
    return gf.constant(True) if n % 2 == 0 else gf.constant(False)


@program(floats(2), floats(-2))
def pass_branch(x):
    if x > 0:
        pass
    else:
        x = x * x
    return x


@program(floats(2), floats(-2))
def walrus(x):
    if (y := x * 2) > 0:
        return y
    return y - 1


@program((floats(3), floats(4)), (floats(-3), floats(4)))
def negated_conditions(x, y):
    if not x > 0:
        x = -x
    if not (x > y or y < 0):
        return x
    return y


@program(floats(0, 1, -1), floats(2, 2, 2))
def truth_of_one_element(x):
    if x[0]:
        return x
    return x + 1


@program(floats(1, 2, 3), floats(-3, 2, 1))
def where_and_if(x):
    y = gf.where(x > 0, x, -x)
    if gf.reduce_max(y) > 2.5:
        y = y / gf.reduce_max(y)
    return y


@program(floats(3), floats(-3))
def augmented_in_branch(x):
    total = x
    if x > 0:
        total += 1
        total *= 2
    else:
        total -= 1
    return total


@program(floats(11), floats(7), floats(3), floats(-3), floats(-30))
def deep_elif(x):
    if x > 10:
        k = 0
    elif x > 5:
        k = 1
    elif x > 0:
        k = 2
    elif x > -5:
        k = 3
    else:
        k = 4
    return gf.constant(10) * k


@program((floats(1, 2, 3), booleans(True, False, True)), (floats(4, 5, 6), booleans(False, False, True)))
def logic_on_vectors(x, m):
    return gf.where(gf.logical_and(m, x > 1), x, 0.0), ~m, m | (x > 4), m ^ (x > 2)


@program(floats(1, 2, 3), floats(3, 2, 1))
def functional_cond(x):
    return gf.cond(x[0] < x[1], lambda: x + 1, lambda: x - 1)


@program(integers(0), integers(1), integers(2), integers(7), integers(-1))
def functional_switch_case(n):
    return gf.switch_case(n, [lambda: n + 10, lambda: n * 2, lambda: -n], default=lambda: n)


@program(floats(1), floats(5), floats(50))
def functional_case(x):
    return gf.case([(x < 2, lambda: x), (x < 10, lambda: x * 2)], default=lambda: x * 3)


@program((floats(1, 2, 3), integers(0)), (floats(1, 2, 3), integers(2)))
def branches_of_different_operands(x, n):
    a, b = gf.exp(x), gf.sqrt(x)
    if n == 0:
        return a
    elif n == 1:
        return b
    return a + b


@program(floats(-1, 2), floats(1, -2))
def condition_used_twice(x):
    positive = x[0] > 0
    if positive:
        x = x + 1
    y = x * 2
    if positive:
        y = y - x
    return y


@program(integers(4), integers(40))
def condition_on_loop_result(n):
    total = 0
    for i in gf.range(n):
        total += i
    return total if total < 100 else total - 100


@program((floats(1), floats(2), floats(3)), (floats(3), floats(2), floats(1)), (floats(2), floats(2), floats(1)))
def long_chain(a, b, c):
    return a < b < c, a <= b != c, a == b == c

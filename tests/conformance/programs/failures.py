"""Programs that fail on some inputs: the exception's type and line must be the same in all ways of running."""

import graphflow as gf

from ..table import factory, floats, integers, program


@program(integers(2), integers(0), fails=True)
def division_by_zero(n):
    return 10 // n


@program(integers(2, 1), integers(1, 0), fails=True)
def division_in_fused_chain(n):
    y = n + 1
    z = 7 // (y - 1)
    return z * 2


@program(integers(3), fails=True)
def division_in_loop(n):
    total = 0
    i = n
    while i > -2:
        total += 12 // i
        i -= 1
    return total


@program(floats(1), floats(-1), fails=True)
def assert_condition(x):
    assert x > 0, "x must be positive"
    return gf.sqrt(x)


@program(floats(1), floats(-1), fails=True)
def assert_in_branch(x):
    if x < 0:
        assert x > -0.5
    return x


@program(integers(3), integers(9), fails=True)
def assert_in_loop(n):
    i = gf.constant(0)
    while i < n:
        assert i < 5, "too far"
        i += 1
    return i


@program(floats(1), floats(-1), fails=True)
def raise_under_condition(x):
    if x < 0:
        raise ValueError("x is negative")
    return x * 2


@program(integers(3), integers(8), fails=True)
def raise_in_loop(n):
    for i in gf.range(n):
        if i > 5:
            raise RuntimeError("six")
    return n


@program((floats(1, 2, 3), integers(1)), (floats(1, 2, 3), integers(5)), fails=True)
def index_out_of_range(x, i):
    return gf.gather(x, i)


@program((floats(1, 2, 3), integers(2)), (floats(1, 2, 3), integers(3)), fails=True)
def subscript_out_of_range(x, i):
    y = x * 2
    return y[i]


@program((floats(1, 2, 3), integers(3)), (floats(1, 2, 3), integers(4)), fails=True)
def index_in_loop(x, n):
    total = 0.0
    for i in gf.range(n):
        total += x[i]
    return total


@program((floats([[1, 2], [3, 4]]), floats([[1, 2, 3]])), symbolic=False, fails=True)
def shapes_do_not_fit(a, b):
    c = a + 1
    return c @ b


@program((floats(1, 2, 3), floats(1, 2)), symbolic=False, fails=True)
def broadcasting_fails(a, b):
    return a + b


@program((floats(1), integers(1)), fails=True)
def mixed_dtypes(a, b):
    return a * b


@program(floats(1, 2, 3), fails=True)
def wrong_axis(x):
    return gf.reduce_sum(x, axis=2)


@program(floats(1, 2, 3), fails=True)
def user_error_while_tracing(x):
    options = {"scale": 2.0}
    return x * options["missing"]


@program(floats(1, 2, 3), fails=True)
def attribute_error(x):
    return x.no_such_method()


@program((floats(1, 2, 3), 0), (floats(1, 2, 3), 1), fails=True)
def python_raise(x, n):
    if n > 0:
        raise NotImplementedError("only zero")
    return x


@program((floats(1, 2, 3), -1), fails=True)
def python_assert(x, n):
    assert n >= 0, "n must not be negative"
    return x


@factory(integers(3), integers(9), fails=True)
def failed_loop_prints_in_order():
    def run(n):
        for i in gf.range(n):
            gf.print("at", i)
            assert i < 5
        return n

    return run, []


@program(floats(1), floats(float("nan")), fails=True)
def check_numerics(x):
    y = x * 2
    return gf.debugging.check_numerics(y, "y is bad")


@program(floats(1), floats(-2), fails=True)
def assert_positive(x):
    gf.debugging.assert_positive(x, "must be positive")
    return x * 2


@program((floats(1, 2), floats(1, 2)), (floats(1, 2), floats(1, 3)), fails=True)
def assert_equal(a, b):
    gf.debugging.assert_equal(a, b)
    return a + b


@program(floats(1, 2, 3), fails=True)
def error_in_nested_function(x):
    def inner(y):
        return y + gf.constant([1.0, 2.0])

    return inner(x * 2)


@program((integers(2), integers(3)), (integers(2), integers(-1)), fails=True)
def negative_exponent(a, b):
    return a**b


@program(floats(1, 2, 3), fails=True)
def undefined_name(x):
    return x + not_defined  # noqa: F821


@program(floats(1, 2, 3), symbolic=False, fails=True)
def reshape_fails(x):
    y = x + 1
    return gf.reshape(y, [2, 2])


@program(integers(1), fails=True)
def literal_does_not_fit(n):
    return n + 3_000_000_000


@program(integers(1), fails=True)
def float_literal_on_integer(n):
    return n + 2.5


@program(floats(1), floats(-1), fails=True)
def raise_in_called_function(x):
    def check(y):
        if y < 0:
            raise ArithmeticError("negative")
        return y

    return check(x) + check(x * 2)


@program(integers(2), integers(7), fails=True)
def assert_with_values(n):
    total = n * 2
    assert total < 10, "total is too large"
    return total


@program(integers(1, 2, 3), fails=True)
def len_of_scalar(x):
    return len(x[0])


@program(floats(1), fails=True)
def unpack_scalar(x):
    a, b = x
    return a + b


@program(floats(1, 2, 3), fails=True)
def string_operand(x):
    return x + "one"


@program(floats(1, 2, 3), fails=True)
def wrong_dtype_for_op(x):
    return gf.bitwise.bitwise_and(x, x)


@program(integers(3), integers(1), fails=True)
def one_branch_fails(n):
    if n > 2:
        return 100 // (n - 3)
    return n

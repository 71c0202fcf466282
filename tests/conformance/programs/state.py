"""Variables, printing, the order of effects, objects and calls."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

import graphflow as gf

from ..table import factory, floats, integers


@factory(floats(1), floats(2))
def assign_add():
    v = gf.Variable(0.0)

    def run(x):
        v.assign_add(x)
        return v + 1

    return run, [v]


@factory(floats(1), floats(-1))
def assign_in_branch():
    v = gf.Variable(10.0)

    def run(x):
        if x > 0:
            v.assign(x)
        else:
            v.assign_sub(1.0)
        return v.read_value()

    return run, [v]


@factory(floats(1), floats(-1))
def assign_in_one_branch():
    v = gf.Variable(10.0)

    def run(x):
        if x > 0:
            v.assign_add(x)

    return run, [v]


@factory(integers(5), integers(0))
def assign_in_loop():
    v = gf.Variable(0)

    def run(n):
        for i in gf.range(n):
            v.assign_add(i)
        return v * 2

    return run, [v]


@factory(integers(5), integers(3))
def two_variables_in_loop():
    a, b = gf.Variable([1.0, 2.0]), gf.Variable([3.0, 4.0])

    def run(n):
        i = gf.constant(0)
        while i < n:
            old = a.read_value()
            a.assign(b * 0.5)
            b.assign(old + b)
            i += 1
        return a + b

    return run, [a, b]


@factory(integers(4), integers(7))
def read_before_and_after():
    v = gf.Variable(1)

    def run(n):
        before = v.read_value()
        while v < n:
            v.assign(v * 2)
        after = v.read_value()
        return before, after

    return run, [v]


@factory(floats(3), floats(-3), floats(1))
def condition_on_variable():
    v = gf.Variable(0.0)

    def run(x):
        if v > 2:
            v.assign(0.0)
            return x
        v.assign_add(gf.abs(x))
        return -x

    return run, [v]


@factory(integers(3))
def print_in_loop():
    def run(n):
        for i in gf.range(n):
            gf.print("step", i)
            if i == 1:
                gf.print("one")
        return n

    return run, []


@factory(floats(1), floats(-1))
def print_in_branch():
    def run(x):
        if x > 0:
            gf.print("positive", x)
        else:
            gf.print("negative", x)
        gf.print("done")
        return x

    return run, []


@factory(floats(2), floats(3))
def print_between_assigns():
    v = gf.Variable(1.0)

    def run(x):
        gf.print("before", v)
        v.assign(x)
        gf.print("after", v)
        v.assign_add(1.0)
        gf.print("last", v)

    return run, [v]


@factory(floats(1, 2), floats(3, 4))
def method_with_state():
    class Accumulator:
        def __init__(self):
            self.total = gf.Variable([0.0, 0.0])
            self.scale = 2.0

        def add(self, x):
            if gf.reduce_sum(x) > 4:
                self.total.assign_add(x * self.scale)
            else:
                self.total.assign_add(x)
            return self.total.read_value()

    holder = Accumulator()
    return holder.add, [holder.total]


@factory(integers(4), integers(2))
def attribute_as_loop_state():
    class Counter:
        def __init__(self):
            self.value = gf.constant(0)

    def run(n):
        counter = Counter()
        while counter.value < n:
            counter.value = counter.value + 1
        return counter.value

    return run, []


@factory(floats(1, 2, 3))
def module_layers():
    class Dense(gf.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.w = gf.Variable(np.arange(inputs * outputs, dtype=np.float32).reshape(inputs, outputs) * 0.1)
            self.b = gf.Variable(gf.zeros([outputs]))

        def __call__(self, x):
            return gf.nn.relu(gf.linalg.matvec(self.w, x, transpose_a=True) + self.b)

    class Net(gf.Module):
        def __init__(self):
            super().__init__()
            self.layers = [Dense(3, 4), Dense(4, 2)]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Net()
    return (lambda x: net(x)), list(net.variables)


@factory(floats(1, 2, 3), floats(4, 5))
def closure_over_number():
    scale = 3.0

    def run(x):
        return x * scale

    return run, []


@factory(floats(1, 2, 3))
def closure_over_tensor_and_array():
    t = gf.constant([1.0, 2.0, 3.0])
    a = np.array([0.5, 0.25, 0.125], np.float32)

    def run(x):
        return x * t + a

    return run, []


@factory(floats(4), floats(-4))
def nested_function():
    def run(x):
        def halve(y):
            if y > 1:
                return y / 2
            return y

        return halve(halve(x)) + halve(x)

    return run, []


@factory(floats(4), floats(-4))
def nonlocal_in_branch():
    def run(x):
        count = gf.constant(0)

        def bump():
            nonlocal count
            if x > 0:
                count = count + 1

        bump()
        bump()
        return count

    return run, []


@factory(floats(1, 2))
def partial_function():
    def scaled(x, scale, shift=0.0):
        if gf.reduce_sum(x) > 0:
            return x * scale + shift
        return x

    return functools.partial(scaled, scale=3.0), []


@factory((floats(1, 2), floats(3, 4)))
def named_tuple_state():
    class Pair(NamedTuple):
        first: object
        second: object

    def run(a, b):
        pair = Pair(a, b)
        for _ in gf.range(3):
            pair = Pair(pair.second, pair.first + pair.second)
        return pair.first, pair.second

    return run, []


@factory((floats(1, 2), floats(3, 4)))
def dataclass_value():
    @dataclasses.dataclass
    class State:
        position: object
        velocity: object

    def run(a, b):
        state = State(a, b)
        for _ in range(3):
            state = State(state.position + 0.5 * state.velocity, state.velocity * 0.9)
        return state.position, state.velocity

    return run, []


@factory(floats(3), floats(5))
def recursion_on_python_number():
    def power(x, n):
        if n == 0:
            return gf.ones_like(x)
        return x * power(x, n - 1)

    def run(x):
        return power(x, 4)

    return run, []


@factory(floats(2), floats(-2))
def lambda_with_condition():
    return (lambda x: x * 2 if x > 0 else -x), []


@factory(floats(1), floats(2))
def keyword_only():
    def scaled(x, *, scale=2.0, offset=None):
        if offset is None:
            offset = 1.0
        return x * scale + offset

    def run(x):
        return scaled(x), scaled(x, scale=3.0), scaled(x, offset=x)

    return run, []


@factory(floats(1, 2, 3))
def star_arguments():
    def total(*values, **named):
        result = 0.0
        for value in values:
            result = result + value
        for key in sorted(named):
            result = result * named[key]
        return result

    def run(x):
        return total(x, x * 2, x * 3, b=2.0, a=gf.reduce_sum(x))

    return run, []


@factory(floats(1), floats(-1))
def nested_compiled_function():
    @gf.function
    def inner(x):
        if x > 0:
            return x * 10
        return x

    def run(x):
        return inner(x) + inner(-x)

    return run, []


@factory(floats(3), floats(5))
def python_call_in_order():
    seen = gf.Variable(0.0)

    def note(x):
        return x + 1

    def run(x):
        seen.assign(x)
        y = gf.numpy_function(note, [x], gf.TensorSpec([], gf.float32))
        seen.assign_add(y)
        return y

    return run, [seen]


@factory(integers(3), integers(0))
def generator_in_loop():
    generator = gf.random.Generator.from_seed(3)

    def run(n):
        total = gf.zeros([4])
        for _ in gf.range(n):
            total = total + generator.normal([4])
        return total

    return run, []


@factory(floats(1), floats(-1))
def draws_in_branches():
    generator = gf.random.Generator.from_seed(5)

    def run(x):
        if x > 0:
            y = generator.uniform([3])
        else:
            y = generator.normal([3]) + generator.normal([3])
        return y, generator.uniform([2])

    return run, []


@factory(floats(1, 2, 3), floats(0, 0, 0))
def with_statement():
    def run(x):
        with gf.name_scope("scope"):
            if gf.reduce_sum(x) > 0:
                x = x * 2
        return x

    return run, []


@factory(floats(1, 2, 3), floats(0, 0, 0))
def try_around_tensor_code():
    def run(x):
        try:
            y = {"a": x}["b"]
        except KeyError:
            y = x * 2
        finally:
            z = x + 1
        if gf.reduce_sum(y) > 3:
            y = y + z
        return y

    return run, []


@factory(floats(1), floats(-1))
def un_returned_assign():
    v, w = gf.Variable(0.0), gf.Variable(0.0)

    def run(x):
        v.assign(x)
        w.assign(v * 2)
        v.assign(v + w)

    return run, [v, w]


@factory(integers(2), integers(5))
def variable_rolled_in_loop():
    v = gf.Variable([0.0, 1.0, 2.0, 3.0])

    def run(n):
        for _ in gf.range(n):
            v.assign(gf.roll(v, shift=1, axis=0))
        return v[1]

    return run, [v]


@factory(integers(9), integers(2))
def variable_in_condition_and_body():
    v = gf.Variable(0)

    def run(n):
        while v < n:
            if v % 2 == 0:
                v.assign_add(1)
            else:
                v.assign(v * 2)
        return v.read_value()

    return run, [v]


@factory(floats(1, 2), floats(3, 4))
def static_and_class_methods():
    class Tools:
        factor = 3.0

        @staticmethod
        def double(x):
            return x * 2

        @classmethod
        def scaled(cls, x):
            if gf.reduce_sum(x) > 5:
                return x * cls.factor
            return x

    def run(x):
        return Tools.double(x), Tools.scaled(x)

    return run, []


@factory(floats(1, 2), floats(3, 4))
def callable_object():
    class Layer:
        def __init__(self, scale):
            self.scale = scale

        def __call__(self, x):
            return x * self.scale if gf.reduce_max(x) > 3 else x

    layer = Layer(gf.Variable(2.0))
    return (lambda x: layer(x)), [layer.scale]


@factory(floats(1, 2), floats(3, 4))
def inherited_method():
    class Base:
        def step(self, x):
            return x + 1

    class Derived(Base):
        def step(self, x):
            y = super().step(x)
            if gf.reduce_sum(y) > 6:
                y = y * 10
            return y

    return Derived().step, []


@factory(floats(1, 2, 3), floats(-1, 0, 1))
def decorated_helper():
    def logged(f):
        @functools.wraps(f)
        def wrapper(*args):
            return f(*args) + 1

        return wrapper

    @logged
    def helper(x):
        if gf.reduce_sum(x) > 0:
            return x * 2
        return x

    def run(x):
        return helper(x)

    return run, []


@factory(floats(1, 2, 3))
def dictionary_of_functions():
    table = {"double": lambda x: x * 2, "negate": lambda x: -x}

    def run(x):
        for name in ("double", "negate", "double"):
            x = table[name](x)
        return x

    return run, []


@factory(integers(3), integers(6))
def list_of_variables():
    variables = [gf.Variable(float(k)) for k in range(3)]

    def run(n):
        for _ in gf.range(n):
            for k, v in enumerate(variables):
                v.assign(v * 0.5 + float(k))
        return gf.add_n([v.read_value() for v in variables])

    return run, variables


@factory(floats(1, -2, 3), floats(-1, 2, -3))
def map_and_filter():
    def run(x):
        parts = list(map(lambda k: x[k] * (k + 1), range(3)))  # noqa: C417
        return gf.stack(parts), sum(parts), max(1, 2) * x

    return run, []


@factory(floats(2), floats(-2))
def generator_expression():
    def run(x):
        total = sum(x * k for k in range(4))
        return total if total > 0 else -total

    return run, []

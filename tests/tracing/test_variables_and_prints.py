"""Variables that are made, assigned and printed in functions."""

from __future__ import annotations

import pytest

import graphflow as gf


def test_variable_created_at_the_first_call_only():
    class Layer:
        def __init__(self):
            self.w = None

        @gf.function
        def __call__(self, x):
            if self.w is None:
                self.w = gf.Variable(lambda: gf.ones((2,)) * 3.0)
            return x * self.w

    layer = Layer()
    assert layer.__call__(gf.constant([1.0, 2.0])).numpy().tolist() == [3, 6]
    layer.w.assign([1.0, 1.0])
    assert layer.__call__(gf.constant([1.0, 2.0])).numpy().tolist() == [1, 2]


def test_variable_created_at_every_call_is_refused():
    make = gf.function(lambda x: gf.Variable(1.0) * x)
    with pytest.raises(ValueError, match="at a later trace than the first") as caught:
        make(gf.constant(1.0))
    assert "test_variables_and_prints.py" in str(caught.value)
    assert "next:" in str(caught.value)


def test_variable_created_on_a_later_call():
    kept = []

    @gf.function
    def late(x, more):
        if more:
            kept.append(gf.Variable(5.0))
        return x * 2.0

    assert late(gf.constant(1.0), False).numpy() == 2
    with pytest.raises(gf.errors.VariableCreationError):
        late(gf.constant(1.0), True)
    assert late(gf.constant(2.0), False).numpy() == 4


def test_variable_from_a_traced_value_is_refused():
    kept = []

    @gf.function
    def make(x):
        if not kept:
            kept.append(gf.Variable(x * 2.0))
        return kept[0] * x

    with pytest.raises(ValueError, match="initial value is computed inside"):
        make(gf.constant(1.0))


def test_prints_run_at_each_call_in_order(capsys):
    counter = gf.Variable(0)

    @gf.function
    def step(x):
        gf.print("before", counter, x, output_stream="stdout")
        counter.assign_add(1)
        gf.print({"after": counter, "list": [x, 1.5, None]}, output_stream="stdout")
        return x

    step(gf.constant([1.0, 2.5]))
    step(gf.constant([1.0, 2.5]))
    text = capsys.readouterr().out.splitlines()
    assert text == [
        "before 0 [1 2.5]",
        "{'after': 1, 'list': [[1 2.5], 1.5, None]}",
        "before 1 [1 2.5]",
        "{'after': 2, 'list': [[1 2.5], 1.5, None]}",
    ]


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_python_print_runs_while_tracing_only(capsys):
    @gf.function
    def step(x):
        print("tracing")
        return x

    for _ in range(3):
        step(gf.constant(1.0))
    assert capsys.readouterr().out == "tracing\n"


def test_assigns_keep_program_order_and_run_unreturned():
    a, b = gf.Variable(1.0), gf.Variable(0.0)

    @gf.function
    def step():
        a.assign_add(1.0)
        b.assign(a * 10.0)
        a.assign(a * 2.0)
        b.assign_add(a)

    step()
    assert (a.numpy(), b.numpy()) == (4, 24)
    step()
    assert (a.numpy(), b.numpy()) == (10, 60)

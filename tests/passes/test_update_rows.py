"""update_rows: a few rows of a variable are written where they lie, with the bits of the dense pass."""

import numpy as np
import pytest

import graphflow as gf

ROWS, WIDTH = 50, 8
GENERATOR = np.random.default_rng(0)
TABLE = GENERATOR.normal(size=(ROWS, WIDTH)).astype("f4")
TABLE[5], TABLE[6], TABLE[7] = -0.0, np.nan, np.inf
TARGET = GENERATOR.normal(size=(6, WIDTH)).astype("f4")
ONCE, TWICE = [3, 9, 5, 1, 30, 49], [3, 9, 3, 5, 9, 3]


def stepper(update, dtype="float32"):
    table = gf.Variable(TABLE.astype(dtype))

    def step(indices, target):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(gf.nn.embedding_lookup(table, indices) - target))
        update(table, tape.gradient(loss, table))
        return loss

    return table, step


def op_names(function, *args):
    return [node.op.name for node in function.get_concrete_function(*args).executable.graph.nodes]


def sgd(rate):
    optimizer = gf.optimizers.SGD(rate)
    return lambda table, gradient: optimizer.apply_gradients([(gradient, table)])


UPDATES = {
    "assign_sub": lambda rate: lambda table, gradient: table.assign_sub(rate * gradient),
    "assign_add": lambda rate: lambda table, gradient: table.assign_add(gradient * -rate),
    "optimizer": sgd,
    "clipped": lambda rate: lambda table, gradient: table.assign_sub(rate * gf.clip_by_value(gradient, -0.5, 0.5)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.0, -0.1, float("inf")])
@pytest.mark.parametrize("name", UPDATES)
def test_the_bits_of_the_dense_pass(name, rate, dtype):
    dense_table, dense = stepper(UPDATES[name](rate), dtype)
    table, step = stepper(UPDATES[name](rate), dtype)
    compiled = gf.function(step)
    for indices in (ONCE, TWICE, TWICE):
        args = gf.constant(indices), gf.constant(TARGET.astype(dtype))
        dense(*args)
        compiled(*args)
        finite = ~np.isnan(dense_table.numpy())
        assert table.numpy()[finite].tobytes() == dense_table.numpy()[finite].tobytes()
        assert np.array_equal(np.isnan(table.numpy()), ~finite)
    names = op_names(compiled, *args)
    assert "update_rows" in names
    assert "scatter_add" not in names


def test_memory_and_commits():
    _, step = stepper(sgd(0.1))
    compiled = gf.function(step)
    args = gf.constant(ONCE), gf.constant(TARGET)
    compiled(*args)
    program = compiled.get_concrete_function(*args).executable.program
    assert all(variable.type.shape == () for variable, _ in program.plan.commits)  # the step counter
    assert all(t.bytes < ROWS * WIDTH * 4 for t in program.plan.temporaries)


def test_two_lookups_of_one_table():
    def make():
        table, optimizer = gf.Variable(TABLE), gf.optimizers.SGD(0.1)

        def step(a, b):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(gf.gather(table, a) * gf.gather(table, b))
            optimizer.apply_gradients([(tape.gradient(loss, table), table)])

        return table, step

    (dense_table, dense), (table, step) = make(), make()
    compiled = gf.function(step)
    args = gf.constant([[1, 2], [2, 3]]), gf.constant([[2, 2], [8, 1]])
    for _ in range(3):
        dense(*args)
        compiled(*args)
    finite = ~np.isnan(dense_table.numpy())
    assert table.numpy()[finite].tobytes() == dense_table.numpy()[finite].tobytes()
    assert "update_rows" in op_names(compiled, *args)


def test_a_failed_call_changes_nothing():
    table, step = stepper(sgd(0.1))
    before = table.numpy().tobytes()
    with pytest.raises(IndexError):
        gf.function(step)(gf.constant([0, 1, 2, 3, 4, ROWS]), gf.constant(TARGET))
    assert table.numpy().tobytes() == before


@pytest.mark.parametrize("kind", ["the gradient is returned", "momentum", "decay", "the old value is returned"])
def test_where_the_dense_array_is_needed_it_is_made(kind):
    def make():
        table = gf.Variable(np.nan_to_num(TABLE, posinf=1.0))
        optimizer = (
            gf.optimizers.SGD(0.1, momentum=0.9) if kind == "momentum" else gf.optimizers.SGD(0.1, weight_decay=0.1)
        )

        def step(indices, target):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(gf.square(gf.gather(table, indices) - target))
            gradient = tape.gradient(loss, table)
            old = table.value()
            if kind in ("momentum", "decay"):
                optimizer.apply_gradients([(gradient, table)])
            else:
                table.assign_sub(0.1 * gradient)
            return gradient if kind == "the gradient is returned" else old

        return table, step

    (dense_table, dense), (table, step) = make(), make()
    compiled = gf.function(step)
    args = gf.constant(TWICE), gf.constant(TARGET)
    for _ in range(3):
        assert dense(*args).numpy().tobytes() == compiled(*args).numpy().tobytes()
    assert table.numpy().tobytes() == dense_table.numpy().tobytes()


def test_two_variables_that_change_places():
    a, b = gf.Variable(np.nan_to_num(TABLE, posinf=1.0)), gf.Variable(np.zeros_like(TABLE))

    @gf.function
    def step(indices, rows):
        old = a.value()
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.gather(a, indices) * rows)
        a.assign_sub(tape.gradient(loss, a))
        b.assign(old)

    before = a.numpy()
    step(gf.constant(ONCE), gf.constant(TARGET))
    expected = before.copy()
    expected[ONCE] -= TARGET
    np.testing.assert_array_equal(b.numpy(), before)
    np.testing.assert_array_equal(a.numpy(), expected)

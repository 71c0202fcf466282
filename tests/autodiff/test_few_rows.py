"""Gradients of large tables of which few rows are looked up: kept as rows in eager mode, updated by rows in compiled functions, with the
bits of the dense pass."""

import itertools
import pickle

import numpy as np
import pytest

import graphflow as gf
from graphflow.indexed_slices import FewRows
from graphflow.optimizers import SGD, Adagrad, Adam, schedules

ROWS, WIDTH = 4096, 8
TABLE = np.random.default_rng(0).standard_normal((ROWS, WIDTH))
INDICES = gf.constant([3, 9, 3, 5, 9, 3, 77, ROWS - 1])

LOOKUPS = {
    "one": lambda t, i: gf.gather(t, i),
    "two": lambda t, i: gf.gather(t, i) * t[i[::-1]],
    "scalars": lambda t, i: gf.gather(t, i[0]) * gf.gather(t, i[1]) + gf.gather(t, i[0]),
    "mixed": lambda t, i: gf.gather(t, i[0]) * gf.gather(t, gf.cast(i, gf.int64)),
    "norms": lambda t, i: gf.nn.embedding_lookup(t, gf.reshape(i, [2, 4]), max_norm=1.0),
    "positions": lambda t, i: gf.gather_nd(t, i[:, None]),
}
OPTIMIZERS = {
    "sgd": lambda: SGD(0.1),
    "schedule": lambda: SGD(schedules.ExponentialDecay(0.1, 2, 0.5)),
    "adagrad": lambda: Adagrad(0.1),
    "clipped": lambda: Adagrad(0.1, clipvalue=0.2),
}
DENSE = {
    "negative rate": lambda: SGD(-0.1),
    "infinite rate": lambda: SGD(float("inf")),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "norm": lambda: SGD(0.1, clipnorm=0.2),
    "global norm": lambda: Adagrad(0.1, global_clipnorm=0.2),
    "decay": lambda: SGD(0.1, weight_decay=0.1),
    "average": lambda: SGD(0.1, use_ema=True),
    "adam": lambda: Adam(0.1),
}


def table_of(dtype="float32"):
    return gf.Variable(gf.cast(TABLE, dtype))


def trained(make, look, dtype, way, steps=3):
    """The bytes of the table and of the optimizer's state after some steps, and the ops of the compiled step."""
    table, optimizer = table_of(dtype), make()
    optimizer.build([table])

    def step(indices):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(look(table, indices)))
        gradient = tape.gradient(loss, table)
        if way == "dense":
            gradient.numpy()
        optimizer.apply_gradients([(gradient, table)])

    run = gf.function(step) if way == "compiled" else step
    for _ in range(steps):
        run(INDICES)
    ops = op_names(run) if way == "compiled" else []
    return [v.numpy().tobytes() for v in (table, *optimizer.variables)], ops


def op_names(compiled, *args):
    found = []

    def walk(graph):
        for node in graph.nodes:
            found.append(node.op.name)
            for inner in node.subgraphs():
                walk(inner)

    walk(compiled.get_concrete_function(*(args or (INDICES,))).executable.graph)
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("look", LOOKUPS)
def test_rows_have_the_bits_of_the_dense_pass(look, name):
    for dtype in ("float32", "bfloat16") if look == "one" else ("float32",):
        dense, _ = trained(OPTIMIZERS[name], LOOKUPS[look], dtype, "dense")
        assert trained(OPTIMIZERS[name], LOOKUPS[look], dtype, "eager")[0] == dense
        compiled, ops = trained(OPTIMIZERS[name], LOOKUPS[look], dtype, "compiled")
        assert compiled == dense
        assert "update_rows" in ops
        assert not {"scatter_add", "scatter_add_into"} & set(ops)


@pytest.mark.parametrize("name", DENSE)
def test_where_other_rows_change_the_pass_is_dense(name):
    dense, _ = trained(DENSE[name], LOOKUPS["one"], "float32", "dense")
    assert trained(DENSE[name], LOOKUPS["one"], "float32", "eager")[0] == dense
    assert trained(DENSE[name], LOOKUPS["one"], "float32", "compiled")[0] == dense


def sequence(table, optimizer):
    """A loop that has nothing to do with the table's update stands beside it."""

    def step(indices):
        with gf.GradientTape() as tape:
            rows, state = gf.gather(table, indices), gf.zeros([WIDTH])
            for k in gf.range(8):
                state = gf.tanh(state + rows[k])
            loss = gf.reduce_sum(state * state)
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])

    return step


def several_steps(table, optimizer):
    def steps(indices):
        for _ in gf.range(4):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(gf.square(gf.gather(table, indices)))
            optimizer.apply_gradients([(tape.gradient(loss, table), table)])

    return steps


def under_a_condition(table, optimizer):
    def step(indices):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(gf.gather(table, indices)))
        gradient = tape.gradient(loss, table)
        if loss > 0.0:
            optimizer.apply_gradients([(gradient, table)])

    return step


def python_sees_it(table, optimizer):
    seen = gf.Variable(0.0)

    def step(indices):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(gf.gather(table, indices)))
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])
        gf.py_function(lambda: seen.assign(gf.reduce_sum(gf.gather(table, INDICES))), [], [])

    optimizer.seen = seen
    return step


@pytest.mark.parametrize(
    ("program", "by_rows"),
    [(sequence, True), (several_steps, True), (under_a_condition, False), (python_sees_it, False)],
)
@pytest.mark.parametrize("make", [lambda: SGD(0.1), lambda: Adagrad(0.1)], ids=["sgd", "adagrad"])
def test_beside_and_inside_control_flow(make, program, by_rows):
    results = []
    for compiled in (False, True):
        table, optimizer = table_of(), make()
        step = program(table, optimizer)
        optimizer.build([table])
        run = gf.function(step) if compiled else step
        for _ in range(2):
            run(INDICES)
        extra = [optimizer.seen] if hasattr(optimizer, "seen") else []
        results.append([v.numpy().tobytes() for v in (table, *optimizer.variables, *extra)])
    assert results[0] == results[1]
    assert ("update_rows" in op_names(run)) == by_rows
    if by_rows:  # no second table: in a loop the one that it carries
        plan = run.get_concrete_function(INDICES).executable.program.plan
        large = [t for t in plan.temporaries if t.bytes >= TABLE.size * 4]
        tables = 1 + len(optimizer.slot_names)
        assert len(large) == (tables if program is several_steps else 0)


def gradient_of(table, look=LOOKUPS["one"]):
    with gf.GradientTape() as tape:
        loss = gf.reduce_sum(gf.square(look(table, INDICES)))
    return tape.gradient(loss, table)


def test_the_gradient_is_a_tensor_like_others():
    table = table_of()
    expected = np.zeros((ROWS, WIDTH), "f4")
    for k in INDICES.numpy():
        expected[k] += 2 * table.numpy()[k]
    makers = [
        lambda g: g,
        lambda g: g + gradient_of(table) - g,
        lambda g: pickle.loads(pickle.dumps(g)),
        lambda g: gf.function(lambda x: x * 1.0)(g),
        lambda g: gf.clip_by_value(g, -1e9, 1e9),
    ]
    for make in makers:
        gradient = gradient_of(table)
        assert isinstance(gradient, FewRows)
        assert not gradient.is_dense
        assert (gradient.shape, gradient.dtype) == ((ROWS, WIDTH), gf.float32)
        np.testing.assert_allclose(make(gradient).numpy(), expected, rtol=1e-6)
    total = gradient_of(table) + gradient_of(table)
    assert not total.is_dense
    np.testing.assert_allclose(total.numpy(), 2 * expected, rtol=1e-6)
    assert total.is_dense


def test_higher_orders_and_forward_mode():
    table = table_of()
    with gf.GradientTape() as outer:
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.gather(table, INDICES[:1]) ** 3)
        gradient = tape.gradient(loss, table)
        assert not isinstance(gradient, FewRows)  # the tape outside sees the ops
        total = gf.reduce_sum(gradient)
    second = outer.gradient(total, table)
    np.testing.assert_allclose(second.numpy()[3], 6 * table.numpy()[3], rtol=1e-6)
    with gf.autodiff.ForwardAccumulator(table, gf.ones_like(table)) as accumulator:
        rows = gf.gather(table, INDICES)
    assert float(gf.reduce_sum(accumulator.jvp(rows))) == INDICES.shape[0] * WIDTH


def test_a_lookup_does_not_follow_later_assignments():
    table = table_of()
    with gf.GradientTape() as tape:
        before = gf.gather(table, INDICES)
        table.assign(table * 2.0)
        after = gf.gather(table, INDICES)
        loss = gf.reduce_sum(before * after)
    held = before.numpy().copy()
    expected = np.zeros((ROWS, WIDTH), "f4")
    np.add.at(expected, INDICES.numpy(), 3 * held)
    np.testing.assert_allclose(tape.gradient(loss, table).numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(before.numpy(), held)


def test_small_tables_and_many_rows_have_dense_gradients():
    small = gf.Variable(np.ones((8, 2), "f4"))
    large = table_of()
    many = gf.range(ROWS // 2)
    with gf.GradientTape(persistent=True) as tape:
        one, two = gf.reduce_sum(gf.gather(small, [1])), gf.reduce_sum(gf.gather(large, many))
    assert not any(isinstance(tape.gradient(y, v), FewRows) for y, v in ((one, small), (two, large)))


def test_accumulators_that_are_no_numbers_stay_as_they_are():
    """Adagrad leaves elements without gradient alone, whatever its accumulator holds there."""
    for compiled, dense in itertools.product((False, True), (False, True)):
        table, optimizer = table_of(), Adagrad(0.1)
        optimizer.build([table])
        state = np.full((ROWS, WIDTH), 0.1, "f4")
        state[7], state[8], state[10] = np.nan, -0.0, -1.0
        optimizer.slot(table, "accumulator").assign(state)
        before = table.numpy()

        def step(table=table, optimizer=optimizer, dense=dense):
            gradient = gradient_of(table)
            optimizer.apply_gradients([(gradient + 0.0 if dense else gradient, table)])

        (gf.function(step) if compiled else step)()
        untouched = sorted(set(range(ROWS)) - set(INDICES.numpy().tolist()))
        assert table.numpy()[untouched].tobytes() == before[untouched].tobytes()
        assert optimizer.slot(table, "accumulator").numpy()[untouched].tobytes() == state[untouched].tobytes()

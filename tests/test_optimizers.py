"""Optimizers: pinned numbers, independent formulas, the same bits in both modes, and what a bad call leaves."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop, schedules

Make = Callable[[], Any]

EVERY: dict[str, Make] = {
    "sgd": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: Adam(0.1),
    "amsgrad": lambda: Adam(0.1, amsgrad=True),
    "adamw": lambda: AdamW(0.1),
    "rmsprop": lambda: RMSprop(0.1),
    "rmsprop centered": lambda: RMSprop(0.1, momentum=0.9, centered=True),
    "adagrad": lambda: Adagrad(0.1),
    "clipvalue": lambda: SGD(0.1, clipvalue=0.2),
    "clipnorm": lambda: SGD(0.1, clipnorm=0.5),
    "global clipnorm": lambda: SGD(0.1, global_clipnorm=0.5),
    "weight decay": lambda: SGD(0.1, weight_decay=0.01),
    "schedule": lambda: Adam(schedules.CosineDecay(0.1, 5)),
}


def descend(optimizer: Any, variable: Any, steps: int, compiled: bool) -> list[float]:
    """The variable after each step of minimising its square."""

    def step() -> None:
        with gf.GradientTape() as tape:
            loss = variable * variable
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])

    run = gf.function(step) if compiled else step
    values = []
    for _ in range(steps):
        run()
        values.append(float(variable.numpy()))
    return values


def random_gradients(steps: int, dtype: Any = np.float32) -> list[list[np.ndarray]]:
    random = np.random.default_rng(5)
    shapes = [(3, 4), (4,)]
    return [[random.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(steps)]


def start_values(dtype: Any = np.float32) -> list[np.ndarray]:
    random = np.random.default_rng(6)
    return [random.standard_normal(shape).astype(dtype) for shape in [(3, 4), (4,)]]


def train(
    optimizer: Any, gradients: list[list[np.ndarray]], compiled: bool, dtype: Any = np.float32
) -> list[np.ndarray]:
    """Variables, then slots, after applying all gradients."""
    variables = [gf.Variable(value, name=f"v{k}") for k, value in enumerate(start_values(dtype))]

    def step(first: Any, second: Any) -> None:
        optimizer.apply_gradients([(first, variables[0]), (second, variables[1])])

    run = gf.function(step) if compiled else step
    for one, two in gradients:
        run(gf.constant(one), gf.constant(two))
    return [variable.numpy() for variable in [*variables, *optimizer.variables]]


@pytest.mark.parametrize("compiled", [False, True])
def test_momentum_follows_the_pinned_numbers(compiled: bool) -> None:
    values = descend(SGD(0.1, momentum=0.9), gf.Variable(1.0), 3, compiled)
    np.testing.assert_allclose(values, [0.8, 0.46, 0.062], rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_plain_descent(compiled: bool) -> None:
    np.testing.assert_allclose(descend(SGD(0.1), gf.Variable(1.0), 3, compiled), [0.8, 0.64, 0.512], rtol=1e-6)


def test_nesterov_follows_its_formula() -> None:
    weight, velocity, expected = 1.0, 0.0, []
    for _ in range(5):
        gradient = 2 * weight
        velocity = 0.9 * velocity - 0.1 * gradient
        weight += 0.9 * velocity - 0.1 * gradient
        expected.append(weight)
    values = descend(SGD(0.1, momentum=0.9, nesterov=True), gf.Variable(1.0), 5, True)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_adam_matches_a_float64_formula(compiled: bool) -> None:
    gradients = random_gradients(20)
    expected = [value.astype(np.float64) for value in start_values()]
    first, second = [np.zeros_like(v) for v in expected], [np.zeros_like(v) for v in expected]
    for count, both in enumerate(gradients, start=1):
        for k, gradient in enumerate(both):
            first[k] = 0.9 * first[k] + 0.1 * gradient
            second[k] = 0.999 * second[k] + 0.001 * gradient.astype(np.float64) ** 2
            rate = 0.01 * math.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            expected[k] -= rate * first[k] / (np.sqrt(second[k]) + 1e-7)
    results = train(Adam(0.01), gradients, compiled)
    for result, right in zip(results[:2], expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=2e-5, atol=2e-6)


def test_rmsprop_and_adagrad_match_their_formulas() -> None:
    gradients = random_gradients(6)
    mean_square, total = np.zeros((3, 4)), np.full((3, 4), 0.1)
    by_rmsprop, by_adagrad = start_values()[0].astype(np.float64), start_values()[0].astype(np.float64)
    for gradient, _ in gradients:
        mean_square = 0.9 * mean_square + 0.1 * gradient.astype(np.float64) ** 2
        by_rmsprop -= 0.01 * gradient / np.sqrt(mean_square + 1e-7)
        total += gradient.astype(np.float64) ** 2
        by_adagrad -= 0.01 * gradient / np.sqrt(total + 1e-7)
    np.testing.assert_allclose(train(RMSprop(0.01), gradients, False)[0], by_rmsprop, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(train(Adagrad(0.01), gradients, False)[0], by_adagrad, rtol=1e-5, atol=1e-6)


def test_adamw_decays_before_it_steps() -> None:
    gradients = random_gradients(1)
    plain, decayed = train(Adam(0.1), gradients, False)[0], train(AdamW(0.1, weight_decay=0.5), gradients, False)[0]
    np.testing.assert_allclose(decayed - plain, -0.1 * 0.5 * start_values()[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_eager_and_graph_give_the_same_bits(name: str) -> None:
    gradients = random_gradients(6)
    eager, graph = train(EVERY[name](), gradients, False), train(EVERY[name](), gradients, True)
    assert len(eager) == len(graph)
    for one, other in zip(eager, graph, strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer_descends(name: str) -> None:
    optimizer, variable = EVERY[name](), gf.Variable([3.0, -2.0])

    @gf.function
    def step() -> Any:
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(variable))
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])
        return loss

    losses = [float(step()) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slots_and_arithmetic_have_the_weights_dtype(dtype: Any) -> None:
    optimizer = Adam(0.1)
    results = train(optimizer, random_gradients(2, dtype), True, dtype)
    assert results[0].dtype == dtype
    kinds = [variable.dtype for variable in optimizer.variables]
    assert kinds[:2] == [gf.int64, gf.float32]
    assert set(kinds[2:]) == {gf.as_dtype(dtype)}


def test_iterations_count_updates_and_learning_rate_can_change_between_compiled_steps() -> None:
    optimizer, variable = SGD(0.1), gf.Variable(1.0)

    @gf.function
    def step() -> None:
        optimizer.apply_gradients([(gf.constant(1.0), variable)])

    step()
    optimizer.learning_rate = 0.5
    step()
    assert optimizer.iterations.dtype is gf.int64
    assert int(optimizer.iterations) == 2
    np.testing.assert_allclose(variable.numpy(), 1.0 - 0.1 - 0.5, rtol=1e-6)
    assert step.experimental_get_tracing_count() == 1


def test_some_gradients_none_warns_and_skips() -> None:
    optimizer, one, other = SGD(0.1), gf.Variable(1.0, name="one"), gf.Variable(1.0, name="other")
    with pytest.warns(UserWarning, match="no gradient for other"):
        optimizer.apply_gradients([(gf.constant(1.0), one), (None, other)])
    np.testing.assert_allclose([one.numpy(), other.numpy()], [0.9, 1.0], rtol=1e-6)
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize("make", [SGD, Adam])
def test_all_gradients_none_is_an_error(make: Make) -> None:
    optimizer, variable = make(), gf.Variable(1.0)
    with pytest.raises(ValueError, match="no variable has a gradient"):
        optimizer.apply_gradients([(None, variable)])
    with pytest.raises(ValueError, match="no variable has a gradient"):
        optimizer.apply_gradients([])
    assert int(optimizer.iterations) == 0
    assert not optimizer.built


@pytest.mark.parametrize(
    ("gradient", "error"),
    [
        (np.zeros(2, np.float32), ValueError),
        (np.zeros(3, np.float64), TypeError),
        (np.zeros((), np.float32), ValueError),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_gradient_that_does_not_fit_changes_nothing(gradient: np.ndarray, error: type[Exception]) -> None:
    optimizer, one, two = Adam(), gf.Variable([1.0, 2.0]), gf.Variable([1.0, 2.0, 3.0])
    with pytest.raises(error, match="apply_gradients"):
        optimizer.apply_gradients([(gf.constant([1.0, 1.0]), one), (gf.constant(gradient), two)])
    assert one.numpy().tolist() == [1.0, 2.0]
    assert int(optimizer.iterations) == 0
    optimizer.apply_gradients([(gf.constant([1.0, 1.0]), one), (gf.constant([1.0, 1.0, 1.0]), two)])
    assert int(optimizer.iterations) == 1


def test_a_variable_it_was_not_built_for_is_an_error() -> None:
    optimizer, known, unknown = Adam(), gf.Variable(1.0), gf.Variable(1.0, name="unknown")
    optimizer.build([known])
    optimizer.build([known])
    with pytest.raises(ValueError, match="unknown"):
        optimizer.apply_gradients([(gf.constant(1.0), unknown)])


def test_an_integer_variable_cannot_be_trained() -> None:
    with pytest.raises(gf.errors.DTypeError, match="only floats train"):
        SGD().build([gf.Variable(1, dtype=gf.int32)])


def test_settings_are_fixed_once_built() -> None:
    optimizer = Adam()
    optimizer.beta_1 = 0.8
    optimizer.build([gf.Variable(1.0)])
    with pytest.raises(AttributeError, match="beta_1 cannot be changed"):
        optimizer.beta_1 = 0.7


def test_minimize_takes_a_callable_or_a_tensor_with_its_tape() -> None:
    variable = gf.Variable(1.0)
    SGD(0.1).minimize(lambda: variable * variable, [variable])
    np.testing.assert_allclose(variable.numpy(), 0.8, rtol=1e-6)
    with gf.GradientTape() as tape:
        loss = variable * variable
    SGD(0.1).minimize(loss, [variable], tape=tape)
    np.testing.assert_allclose(variable.numpy(), 0.64, rtol=1e-6)
    with pytest.raises(ValueError, match="needs the tape"):
        SGD(0.1).minimize(loss, [variable])


def test_slots_are_made_in_the_first_trace_and_survive_a_retrace() -> None:
    optimizer, variable = Adam(0.1), gf.Variable([1.0, 1.0])

    @gf.function
    def step(x: Any) -> None:
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.reduce_sum(x) * variable)
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])

    step(gf.constant([1.0]))
    momentum = optimizer.slot(variable, "momentum")
    step(gf.constant([1.0, 2.0]))
    step(gf.constant([1.0, 2.0, 3.0]))
    assert optimizer.slot(variable, "momentum") is momentum
    assert int(optimizer.iterations) == 3
    assert len(optimizer.variables) == 4


def test_the_first_update_may_be_inside_a_loop() -> None:
    """The slots are made once, though a loop's body is traced again and what it does to objects is taken back."""
    weights = gf.Variable([1.0, 2.0]), gf.Variable(3.0)
    optimizer = Adam(0.1, global_clipnorm=1.0)

    @gf.function
    def train(steps: Any) -> Any:
        total = 0.0
        for _ in gf.range(steps):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(weights[0] * weights[0]) * weights[1]
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            total += loss
        return total

    looped = float(train(gf.constant(4)))
    after = [w.numpy().tolist() for w in weights]
    assert optimizer.iterations.numpy() == 4
    assert len(optimizer.variables) == 2 + 2 * len(weights)
    weights[0].assign([1.0, 2.0]), weights[1].assign(3.0)
    optimizer = Adam(0.1, global_clipnorm=1.0)
    assert float(train.python_function(gf.constant(4))) == looped
    assert [w.numpy().tolist() for w in weights] == after


def test_clipping_bounds_what_it_says() -> None:
    gradients = [np.full((3, 4), 3.0, np.float32), np.full(4, -4.0, np.float32)]
    total = math.sqrt(12 * 9 + 4 * 16)
    expected = {
        "clipvalue": (0.5, -0.5),
        "clipnorm": (3 * 0.5 / math.sqrt(12 * 9), -4 * 0.5 / 8),
        "global_clipnorm": (3 * 0.5 / total, -4 * 0.5 / total),
    }
    for name, (one, two) in expected.items():
        results = train(SGD(1.0, **{name: 0.5}), [gradients], False)
        np.testing.assert_allclose(start_values()[0] - results[0], np.full((3, 4), one), rtol=1e-5)
        np.testing.assert_allclose(start_values()[1] - results[1], np.full(4, two), rtol=1e-5)
    with pytest.raises(ValueError, match="at most one"):
        SGD(clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ValueError, match="must be positive"):
        SGD(clipnorm=0.0)


@pytest.mark.parametrize("setting", [{"momentum": -0.1}, {"momentum": 1.5}])
def test_momentum_outside_its_range_is_an_error(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="momentum"):
        SGD(**setting)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (schedules.ExponentialDecay(0.1, 10, 0.5), lambda s: 0.1 * 0.5 ** (s / 10)),
        (schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True), lambda s: 0.1 * 0.5 ** (s // 10)),
        (schedules.InverseTimeDecay(0.1, 10, 0.5), lambda s: 0.1 / (1 + 0.5 * s / 10)),
        (schedules.PolynomialDecay(0.1, 50, 0.01, 2.0), lambda s: 0.09 * (1 - min(s, 50) / 50) ** 2 + 0.01),
        (
            schedules.CosineDecay(0.1, 50, 0.1),
            lambda s: 0.1 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(s, 50) / 50)) + 0.1),
        ),
        (
            schedules.PiecewiseConstantDecay([5, 10], [1.0, 0.5, 0.1]),
            lambda s: 1.0 if s <= 5 else 0.5 if s <= 10 else 0.1,
        ),
    ],
)
def test_schedules_follow_their_formulas(schedule: Any, formula: Callable[[int], float]) -> None:
    for step in (0, 1, 5, 6, 9, 10, 11, 49, 50, 51, 500):
        rate = schedule(step)
        assert rate.dtype is gf.float32
        np.testing.assert_allclose(float(rate), formula(step), rtol=2e-6, atol=1e-8)


def test_cosine_warms_up() -> None:
    schedule = schedules.CosineDecay(0.0, 100, warmup_target=0.2, warmup_steps=10)
    np.testing.assert_allclose([float(schedule(s)) for s in (0, 5, 10, 60, 110)], [0, 0.1, 0.2, 0.1, 0], atol=1e-7)


def test_a_scheduled_rate_moves_with_the_iterations_inside_one_trace() -> None:
    optimizer, variable = SGD(schedules.PiecewiseConstantDecay([0], [1.0, 0.25])), gf.Variable(0.0)

    @gf.function
    def step() -> None:
        optimizer.apply_gradients([(gf.constant(-1.0), variable)])

    step()
    step()
    step()
    assert float(variable.numpy()) == 1.5
    assert step.experimental_get_tracing_count() == 1
    assert float(optimizer.learning_rate) == 0.25
    with pytest.raises(ValueError, match="follows a schedule"):
        optimizer.learning_rate = 0.1


def test_bad_schedules_are_errors() -> None:
    with pytest.raises(ValueError, match="one value more"):
        schedules.PiecewiseConstantDecay([1, 2], [1.0, 2.0])
    with pytest.raises(ValueError, match="must rise"):
        schedules.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="must be positive"):
        schedules.CosineDecay(0.1, 0)


# What all optimizers have ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("compiled", [False, True])
def test_averages_of_the_weights(compiled: bool) -> None:
    """Keras' rule: the first step's average is the weights themselves; every third step the average takes their place."""
    gradients, starts = random_gradients(7), start_values()
    expected = [value.astype(np.float64) for value in starts]
    averages = [np.zeros_like(value) for value in expected]
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3)
    for count, both in enumerate(gradients):
        for k, gradient in enumerate(both):
            expected[k] = expected[k] - 0.1 * gradient
            momentum = 0.9 if count else 0.0
            averages[k] = momentum * averages[k] + (1 - momentum) * expected[k]
            if (count + 1) % 3 == 0:
                expected[k] = averages[k]
    variables = [gf.Variable(value) for value in starts]

    def step(first: Any, second: Any) -> None:
        optimizer.apply([first, second], variables)

    run = gf.function(step) if compiled else step
    for both in gradients:
        run(*map(gf.constant, both))
    for variable, right in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), right, rtol=1e-5, atol=1e-6)
    optimizer.finalize_variable_values(variables)
    for variable, right in zip(variables, averages, strict=True):
        np.testing.assert_allclose(variable.numpy(), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("make", [lambda **kw: SGD(0.1, momentum=0.9, **kw), lambda **kw: Adam(0.1, **kw)])
def test_accumulated_gradients_are_one_step_with_their_mean(make: Any, compiled: bool) -> None:
    gradients = random_gradients(7)
    means = [[(a + b + c) / np.float32(3) for a, b, c in zip(*gradients[k : k + 3], strict=True)] for k in (0, 3)]
    found = train(make(gradient_accumulation_steps=3), gradients, compiled)[:2]
    wanted = train(make(), means, compiled)[:2]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_accumulation_counts_steps() -> None:
    optimizer, weight = SGD(1.0, gradient_accumulation_steps=2), gf.Variable(1.0)
    seen = []
    for _ in range(5):
        optimizer.apply_gradients([(gf.constant(0.25), weight)])
        seen.append((float(weight.numpy()), int(optimizer.iterations)))
    assert seen == [(1.0, 0), (0.75, 1), (0.75, 1), (0.5, 2), (0.5, 2)]


def test_scaled_losses_constraints_and_undecayed_weights() -> None:
    weight = gf.Variable(2.0, constraint=lambda w: gf.clip_by_value(w, 0.0, 1.5))
    optimizer = SGD(0.1, loss_scale_factor=1024.0)
    with gf.GradientTape() as tape:
        loss = optimizer.scale_loss(weight * 3.0)
    assert float(loss) == 6144.0
    optimizer.apply_gradients([(tape.gradient(loss, weight), weight)])
    assert float(weight.numpy()) == 1.5
    kernel, bias, scale = gf.Variable(1.0, name="kernel"), gf.Variable(1.0, name="bias"), gf.Variable(1.0)
    optimizer = SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([scale], ["bi.s"])
    zero = gf.constant(0.0)
    optimizer.apply_gradients([(zero, kernel), (zero, bias), (zero, scale)])
    assert [round(float(v.numpy()), 6) for v in (kernel, bias, scale)] == [0.95, 1.0, 1.0]
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay([kernel])


def test_rates_from_functions() -> None:
    for rate in (lambda: 0.5, lambda calls: 0.5, schedules.PiecewiseConstantDecay([10], [0.5, 0.1])):
        weight = gf.Variable(1.0)
        SGD(rate).apply_gradients([(gf.constant(1.0), weight)])
        assert float(weight.numpy()) == 0.5


def test_bad_settings() -> None:
    for setting in ({"ema_momentum": 2.0}, {"gradient_accumulation_steps": 1}, {"ema_overwrite_frequency": 0}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            SGD(0.1, **setting)
    with pytest.raises(ValueError, match="2 gradients for 1 variables"):
        SGD(0.1).apply([gf.constant(1.0), gf.constant(1.0)], [gf.Variable(1.0)])


def test_cycles_and_restarts() -> None:
    cycle = schedules.PolynomialDecay(0.1, 4, end_learning_rate=0.0, cycle=True)
    np.testing.assert_allclose([float(cycle(k)) for k in (0, 1, 4, 5, 8)], [0.1, 0.075, 0.0, 0.0375, 0.0], atol=1e-7)
    restarts = schedules.CosineDecayRestarts(0.1, 2, t_mul=2.0, m_mul=0.5)
    np.testing.assert_allclose(
        [float(restarts(k)) for k in (0, 1, 2, 4, 6)], [0.1, 0.05, 0.05, 0.025, 0.025], atol=1e-6
    )
    equal = schedules.CosineDecayRestarts(0.1, 2, t_mul=1.0, alpha=0.2)
    np.testing.assert_allclose([float(equal(k)) for k in (0, 1, 2, 3)], [0.1, 0.06, 0.1, 0.06], atol=1e-6)

"""What is measured: inputs, float64 references and targets of each workload. NumPy (and SciPy's erf) only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from graphflow.bench import networks
from graphflow.bench.networks import Arrays

LEARNING_RATE = 0.01
RISK_FREE_RATE = 0.02
VOLATILITY = 0.3
LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Target:
    """`ours / theirs <= factor`, where `against` is the name of a contender or base line, or `best peer`; with `over`, at most that many
    seconds more than theirs."""

    against: str
    factor: float
    text: str
    over: float | None = None


@dataclass(frozen=True)
class Program:
    """One contender's form of a workload.

    `run(count)` does `count` steps and returns when their results are ready; `outputs()` returns the last results, or
    the state, as NumPy arrays under the reference's names; `reset()` puts training state back to its start, so that no
    contender is timed on a converged (or denormal) model.
    """

    run: Callable[[int], object]
    outputs: Callable[[], Arrays]
    reset: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Workload:
    """A workload: `inputs()` makes the same float32 arrays in every process, `reference(inputs, steps)` the results.

    `tolerance` bounds the relative error: the largest difference over the largest magnitude of each output.
    """

    name: str
    title: str
    inputs: Callable[[], Arrays]
    reference: Callable[[Arrays, int], Arrays]
    targets: tuple[Target, ...]
    tolerance: float
    check_steps: int = 1
    bytes_moved: int = 0
    flops: int = 0
    notes: str = ""
    baselines: Mapping[str, str] = field(default_factory=dict)


def relative_errors(got: Arrays, expected: Arrays) -> dict[str, float]:
    """The largest difference of each output over the output's largest magnitude; NaN or a wrong shape gives inf."""
    errors = {}
    for name, right in expected.items():
        value = np.asarray(got[name], dtype=np.float64)
        if value.shape != right.shape or not np.isfinite(value).all():
            errors[name] = float("inf")
        else:
            errors[name] = float(np.max(np.abs(value - right)) / (np.max(np.abs(right)) + 1e-30))
    return errors


# --- linear regression -----------------------------------------------------------------------------------------------


def _regression_inputs(features: int) -> Arrays:
    random = np.random.default_rng(7)
    x = random.standard_normal((100, features), dtype=np.float32)
    y = x @ random.standard_normal(features, dtype=np.float32) + np.float32(0.5)
    return {"x": x, "y": y.astype(np.float32), "w": np.zeros(features, np.float32), "b": np.zeros((), np.float32)}


def _regression_reference(inputs: Arrays, steps: int) -> Arrays:
    x, y, w, b = (inputs[name].astype(np.float64) for name in ("x", "y", "w", "b"))
    for _ in range(steps):
        difference = x @ w + b - y
        w = w - LEARNING_RATE * 2.0 * (x.T @ difference) / len(y)
        b = b - LEARNING_RATE * 2.0 * difference.mean()
    return {"w": w, "b": b}


def _regression(features: int) -> Workload:
    return Workload(
        name=f"linear{features}",
        title=f"linear regression step, 100 samples, {features} feature{'s' if features > 1 else ''}",
        inputs=lambda: _regression_inputs(features),
        reference=_regression_reference,
        targets=(
            Target("jax", 0.25, "under 1/4 of JAX"),
            Target("tensorflow", 0.025, "under 1/40 of TensorFlow (tf.function)"),
            Target("tensorflow xla", 0.025, "under 1/40 of TensorFlow (with XLA)"),
        ),
        tolerance=1e-4,
        check_steps=5,
        notes="forward, gradient and update in one function; the variables are part of the step",
    )


# --- pointwise -------------------------------------------------------------------------------------------------------


def _gelu_inputs() -> Arrays:
    return {"x": np.random.default_rng(1).standard_normal(4 << 20, dtype=np.float32)}


def _gelu_reference(inputs: Arrays, steps: int) -> Arrays:
    x = inputs["x"].astype(np.float64)
    return {"y": 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))}


def _black_scholes_inputs() -> Arrays:
    random = np.random.default_rng(2)
    count = 1 << 20
    return {
        "price": random.uniform(5.0, 30.0, count).astype(np.float32),
        "strike": random.uniform(1.0, 100.0, count).astype(np.float32),
        "years": random.uniform(0.25, 10.0, count).astype(np.float32),
    }


def _black_scholes_reference(inputs: Arrays, steps: int) -> Arrays:
    from scipy.special import ndtr

    price, strike, years = (inputs[name].astype(np.float64) for name in ("price", "strike", "years"))
    spread = VOLATILITY * np.sqrt(years)
    d1 = (np.log(price / strike) + (RISK_FREE_RATE + 0.5 * VOLATILITY**2) * years) / spread
    d2 = d1 - spread
    discounted = strike * np.exp(-RISK_FREE_RATE * years)
    call = price * ndtr(d1) - discounted * ndtr(d2)
    return {"call": call, "put": call - price + discounted}


# --- row reductions --------------------------------------------------------------------------------------------------


def _rows_inputs() -> Arrays:
    random = np.random.default_rng(3)
    return {
        "x": random.standard_normal((4096, 1024), dtype=np.float32),
        "scale": random.uniform(0.5, 1.5, 1024).astype(np.float32),
        "offset": random.standard_normal(1024, dtype=np.float32),
    }


def _softmax_reference(inputs: Arrays, steps: int) -> Arrays:
    x = inputs["x"].astype(np.float64)
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return {"y": weights / weights.sum(axis=-1, keepdims=True)}


def _layer_norm_reference(inputs: Arrays, steps: int) -> Arrays:
    x, scale, offset = (inputs[name].astype(np.float64) for name in ("x", "scale", "offset"))
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    return {"y": centred / np.sqrt(variance + LAYER_NORM_EPSILON) * scale + offset}


# --- call overhead ---------------------------------------------------------------------------------------------------


def _scalar_inputs() -> Arrays:
    return {"x": np.asarray(1.5, np.float32)}


def _scalar_reference(inputs: Arrays, steps: int) -> Arrays:
    return {"y": inputs["x"].astype(np.float64) + 1.0}


# --- loops -----------------------------------------------------------------------------------------------------------

COLLATZ_STARTS = 11_000
NEWTON_STEPS = 1_000_000
RECURRENT = {"steps": 1000, "batch": 32, "features": 64, "units": 64}


def _collatz_inputs() -> Arrays:
    return {"starts": np.asarray(COLLATZ_STARTS, np.int64)}


def _collatz_reference(inputs: Arrays, steps: int) -> Arrays:
    total = 0
    for start in range(1, int(inputs["starts"]) + 1):
        n = start
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            total += 1
    return {"steps": np.asarray(total)}


def _newton_inputs() -> Arrays:
    return {"a": np.asarray(2.0, np.float64)}


def _newton_reference(inputs: Arrays, steps: int) -> Arrays:
    a, x = float(inputs["a"]), 1.0
    for _ in range(NEWTON_STEPS):
        x = 0.5 * (x + a / x)
        a = a + 1e-6
    return {"x": np.asarray(x)}


def _recurrent_inputs() -> Arrays:
    random = np.random.default_rng(5)
    batch, features, units = RECURRENT["batch"], RECURRENT["features"], RECURRENT["units"]
    return {
        "x": random.standard_normal((RECURRENT["steps"], batch, features), dtype=np.float32),
        "w": random.standard_normal((features, units), dtype=np.float32) / np.float32(np.sqrt(features)),
        "u": random.standard_normal((units, units), dtype=np.float32) * np.float32(0.5 / np.sqrt(units)),
        "b": np.zeros(units, np.float32),
    }


def _recurrent_reference(inputs: Arrays, steps: int) -> Arrays:
    """Every step has its term of the loss. With a loss of the last state alone the gradient is gone after 100 steps, and what would be
    measured is how a library treats subnormal numbers: graphflow keeps them, XLA makes them zero."""
    x, w, u, b = (inputs[name].astype(np.float64) for name in ("x", "w", "u", "b"))
    states = [np.zeros((x.shape[1], u.shape[0]))]
    for row in x:
        states.append(np.tanh(row @ w + states[-1] @ u + b))
    loss = sum(np.mean(h**2) for h in states[1:])
    dh = np.zeros_like(states[0])
    dw, du, db = np.zeros_like(w), np.zeros_like(u), np.zeros_like(b)
    for t in reversed(range(len(x))):
        dz = (dh + 2.0 * states[t + 1] / states[t + 1].size) * (1.0 - states[t + 1] ** 2)
        dw += x[t].T @ dz
        du += states[t].T @ dz
        db += dz.sum(0)
        dh = dz @ u.T
    return {"loss": np.asarray(loss), "dw": dw, "du": du, "db": db}


def _recurrent_flops() -> int:
    sizes = RECURRENT
    product = sizes["batch"] * sizes["units"] * (2 * sizes["features"] + 3 * sizes["units"])
    return 2 * sizes["steps"] * product


def _captures_inputs() -> Arrays:
    random = np.random.default_rng(6)
    return {name: random.standard_normal(4, dtype=np.float32) for name in ("a", "b", "c", "d", "e")}


CAPTURED = {f"k{number}": 0.5 + number / 8 for number in range(10)}


def _captures_reference(inputs: Arrays, steps: int) -> Arrays:
    weights = list(CAPTURED.values())
    total = sum(inputs[name].astype(np.float64) * weight for name, weight in zip("abcde", weights, strict=False))
    return {"y": np.asarray(total + sum(weights[5:]))}


LOOP_TARGETS = (
    Target("numba", 1.3, "at most 1.3x of hand-written Numba"),
    Target("tensorflow", 0.05, "under 1/20 of TensorFlow (tf.function)"),
)

BEST_OF_PEERS = Target("best peer", 1.0, "at most the best peer")

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        _regression(1),
        _regression(8),
        Workload(
            name="gelu",
            title="tanh-GELU, 4 M f32",
            inputs=_gelu_inputs,
            reference=_gelu_reference,
            targets=(
                Target("best peer", 0.8, "at most 0.8 of the best peer"),
                Target("copy", 1.5, "within 1.5x of a copy of the same bytes"),
            ),
            tolerance=2e-6,
            bytes_moved=2 * 4 * (4 << 20),
            baselines={"copy": "a copy of the same bytes on the same threads"},
        ),
        Workload(
            name="black_scholes",
            title="Black-Scholes, 1 M f32",
            inputs=_black_scholes_inputs,
            reference=_black_scholes_reference,
            targets=(BEST_OF_PEERS,),
            tolerance=5e-6,
            bytes_moved=5 * 4 * (1 << 20),
            notes="price, strike and years are arrays; call and put come back",
        ),
        Workload(
            name="softmax",
            title="softmax, 4096x1024 f32",
            inputs=_rows_inputs,
            reference=_softmax_reference,
            targets=(BEST_OF_PEERS,),
            tolerance=5e-6,
            bytes_moved=2 * 4 * (4 << 20),
        ),
        Workload(
            name="layer_norm",
            title="layer norm, 4096x1024 f32",
            inputs=_rows_inputs,
            reference=_layer_norm_reference,
            targets=(BEST_OF_PEERS,),
            tolerance=5e-6,
            bytes_moved=2 * 4 * (4 << 20),
        ),
        Workload(
            name="mlp",
            title="MLP 784-512-512-10, batch 128, Adam step",
            inputs=networks.mlp_inputs,
            reference=networks.trained(networks.mlp_gradients),
            targets=(
                Target("best peer", 0.85, "at most 0.85 of the best peer"),
                Target("blas", 1.4, "within 1.4x of its BLAS calls alone"),
            ),
            tolerance=2e-3,
            check_steps=5,
            flops=networks.mlp_flops(),
            baselines={"blas": "the step's 8 matrix products alone, through NumPy"},
        ),
        Workload(
            name="cnn",
            title="CNN on 32 images of 32x32x3, Adam step",
            inputs=networks.cnn_inputs,
            reference=networks.trained(networks.cnn_gradients),
            targets=(BEST_OF_PEERS,),
            tolerance=2e-3,
            check_steps=2,
            flops=networks.cnn_flops(),
            notes="two 3x3 convolutions to 32 and 64 channels, each with batch normalisation, relu and pooling; a linear layer",
        ),
        Workload(
            name="transformer",
            title="transformer on 16 texts of 64 bytes, Adam step",
            inputs=networks.transformer_inputs,
            reference=networks.trained(networks.transformer_gradients),
            targets=(BEST_OF_PEERS,),
            tolerance=2e-3,
            check_steps=2,
            flops=networks.transformer_flops(),
            notes="2 layers of width 128 with 4 heads, causal attention, layer norm before, tanh-GELU, tied embedding",
        ),
        Workload(
            name="call",
            title="call overhead: f(x) = x + 1 on a scalar",
            inputs=_scalar_inputs,
            reference=_scalar_reference,
            targets=(),
            tolerance=1e-6,
        ),
        Workload(
            name="collatz",
            title="Collatz lengths of 1 to 11,000: 0.95 M iterations of a scalar loop",
            inputs=_collatz_inputs,
            reference=_collatz_reference,
            targets=LOOP_TARGETS,
            tolerance=0.0,
            notes="a while in a for, an if inside, int64",
            baselines={"numba": "the same loop by hand under @njit"},
        ),
        Workload(
            name="newton",
            title="Newton's square root, 1 M dependent steps, f64",
            inputs=_newton_inputs,
            reference=_newton_reference,
            targets=LOOP_TARGETS,
            tolerance=1e-9,
            baselines={"numba": "the same loop by hand under @njit"},
        ),
        Workload(
            name="recurrent",
            title="recurrent net, 1,000 steps, batch 32, 64 units, with gradient",
            inputs=_recurrent_inputs,
            reference=_recurrent_reference,
            targets=(Target("jax", 1.0, "at most JAX's (lax.scan, grad)"),),
            tolerance=1e-3,
            flops=_recurrent_flops(),
        ),
        Workload(
            name="captures",
            title="call overhead: 5 tensors and 10 captured Python values",
            inputs=_captures_inputs,
            reference=_captures_reference,
            targets=(Target("native call", 0.0, "under 5 us over the native call", over=5e-6),),
            tolerance=1e-5,
            baselines={"native call": "the compiled program alone, without the checks of arguments and captures"},
        ),
    )
}

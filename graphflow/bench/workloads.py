"""What is measured: inputs, float64 references and targets of each workload. NumPy (and SciPy's erf) only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

Arrays = dict[str, np.ndarray]

LEARNING_RATE = 0.01
RISK_FREE_RATE = 0.02
VOLATILITY = 0.3
LAYER_NORM_EPSILON = 1e-5
ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
MLP_SIZES = (784, 512, 512, 10)
MLP_BATCH = 128


@dataclass(frozen=True)
class Target:
    """`ours / theirs <= factor`, where `against` is the name of a contender or base line, or `best peer`."""

    against: str
    factor: float
    text: str


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


# --- MLP -------------------------------------------------------------------------------------------------------------


def _mlp_inputs() -> Arrays:
    random = np.random.default_rng(4)
    arrays = {
        "x": random.random((MLP_BATCH, MLP_SIZES[0]), dtype=np.float32),
        "labels": random.integers(0, MLP_SIZES[-1], MLP_BATCH).astype(np.int32),
    }
    for layer, (inputs, outputs) in enumerate(pairwise(MLP_SIZES)):
        limit = np.sqrt(6.0 / (inputs + outputs))
        arrays[f"w{layer}"] = random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
        arrays[f"b{layer}"] = np.zeros(outputs, np.float32)
    return arrays


def mlp_parameter_names() -> list[str]:
    """`w0 b0 w1 b1 w2 b2`, the order in which every contender keeps the parameters."""
    return [f"{kind}{layer}" for layer in range(len(MLP_SIZES) - 1) for kind in ("w", "b")]


def _mlp_reference(inputs: Arrays, steps: int) -> Arrays:
    names = mlp_parameter_names()
    weights = {name: inputs[name].astype(np.float64) for name in names}
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    x, labels = inputs["x"].astype(np.float64), inputs["labels"]
    loss = np.zeros(())
    for step in range(1, steps + 1):
        h0 = np.maximum(x @ weights["w0"] + weights["b0"], 0.0)
        h1 = np.maximum(h0 @ weights["w1"] + weights["b1"], 0.0)
        logits = h1 @ weights["w2"] + weights["b2"]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        rows = np.arange(len(labels))
        loss = -log_probability[rows, labels].mean()
        d2 = np.exp(log_probability)
        d2[rows, labels] -= 1.0
        d2 /= len(labels)
        d1 = (d2 @ weights["w2"].T) * (h1 > 0)
        d0 = (d1 @ weights["w1"].T) * (h0 > 0)
        gradients = {
            "w0": x.T @ d0,
            "b0": d0.sum(0),
            "w1": h0.T @ d1,
            "b1": d1.sum(0),
            "w2": h1.T @ d2,
            "b2": d2.sum(0),
        }
        rate = ADAM["learning_rate"] * np.sqrt(1 - ADAM["beta_2"] ** step) / (1 - ADAM["beta_1"] ** step)
        for name in names:
            gradient = gradients[name]
            first[name] += (1 - ADAM["beta_1"]) * (gradient - first[name])
            second[name] += (1 - ADAM["beta_2"]) * (gradient**2 - second[name])
            weights[name] -= rate * first[name] / (np.sqrt(second[name]) + ADAM["epsilon"])
    # Adam turns a gradient of 1e-7 into a full step of either sign, so single weights differ between float32 programs;
    # the loss and the norms of the weights do not.
    return {"loss": np.asarray(loss)} | {
        f"norm_{name}": np.asarray(np.linalg.norm(weights[name])) for name in ("w0", "w1", "w2")
    }


def _mlp_flops() -> int:
    inputs, hidden0, hidden1, classes = MLP_SIZES
    products = 2 * inputs * hidden0 + 3 * hidden0 * hidden1 + 3 * hidden1 * classes
    return 2 * MLP_BATCH * products


# --- call overhead ---------------------------------------------------------------------------------------------------


def _scalar_inputs() -> Arrays:
    return {"x": np.asarray(1.5, np.float32)}


def _scalar_reference(inputs: Arrays, steps: int) -> Arrays:
    return {"y": inputs["x"].astype(np.float64) + 1.0}


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
            inputs=_mlp_inputs,
            reference=_mlp_reference,
            targets=(
                Target("best peer", 0.85, "at most 0.85 of the best peer"),
                Target("blas", 1.4, "within 1.4x of its BLAS calls alone"),
            ),
            tolerance=2e-3,
            check_steps=5,
            flops=_mlp_flops(),
            baselines={"blas": "the step's 8 matrix products alone, through NumPy"},
        ),
        Workload(
            name="call",
            title="call overhead: f(x) = x + 1 on a scalar",
            inputs=_scalar_inputs,
            reference=_scalar_reference,
            targets=(),
            tolerance=1e-6,
        ),
    )
}

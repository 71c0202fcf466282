"""JAX on the CPU, written for speed: everything under `jit`, outputs written into donated buffers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from graphflow.bench import networks
from graphflow.bench import workloads as spec
from graphflow.bench.workloads import Arrays, Program, Workload

jax: Any = None
jnp: Any = None


def start(threads: int) -> dict[str, str]:
    """Import JAX. Its CPU client takes one thread per core that the process may use."""
    global jax, jnp
    import jax as jax_module
    import jax.numpy as jax_numpy
    import jaxlib

    jax, jnp = jax_module, jax_numpy
    jax.devices("cpu")
    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


def build(contender: str, workload: Workload, inputs: Arrays) -> Program:
    """The program of `workload`."""
    makers: dict[str, Callable[[Arrays], Program]] = {
        "collatz": _collatz,
        "newton": _newton,
        "recurrent": _recurrent,
        "linear1": _regression,
        "linear8": _regression,
        "gelu": _gelu,
        "black_scholes": _black_scholes,
        "softmax": _softmax,
        "layer_norm": _layer_norm,
        "mlp": _mlp,
        "cnn": _cnn,
        "transformer": _transformer,
        "call": _call,
    }
    return makers[workload.name](inputs)


def _repeated(function: Callable[..., Any], arguments: list[Any], names: list[str]) -> Program:
    """A stateless program. The previous results are donated, so XLA writes into them instead of fresh pages."""
    # Nothing may be traced or compiled before the first run, which is timed: device_put only copies.
    scratch = [jax.device_put(np.zeros(arguments[0].shape, np.float32)) for _ in names]
    compiled = jax.jit(lambda scratch, *rest: function(*rest), donate_argnums=0, keep_unused=True)
    state = {"results": scratch}

    def run(count: int) -> None:
        results = state["results"]
        for _ in range(count):
            results = compiled(results, *arguments)
        jax.block_until_ready(results)
        state["results"] = results

    return Program(run, lambda: {name: np.asarray(value) for name, value in zip(names, state["results"], strict=True)})


def _regression(inputs: Arrays) -> Program:
    x, y = jax.device_put(inputs["x"]), jax.device_put(inputs["y"])

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(w: Any, b: Any, x: Any, y: Any) -> Any:
        def loss(w: Any, b: Any) -> Any:
            return jnp.mean((x @ w + b - y) ** 2)

        dw, db = jax.grad(loss, argnums=(0, 1))(w, b)
        return w - spec.LEARNING_RATE * dw, b - spec.LEARNING_RATE * db

    state: dict[str, Any] = {}

    def reset() -> None:
        state["w"], state["b"] = jax.device_put(inputs["w"].copy()), jax.device_put(inputs["b"].copy())

    def run(count: int) -> None:
        w, b = state["w"], state["b"]
        for _ in range(count):
            w, b = step(w, b, x, y)
        jax.block_until_ready((w, b))
        state["w"], state["b"] = w, b

    reset()
    return Program(run, lambda: {name: np.asarray(value) for name, value in state.items()}, reset)


def _gelu(inputs: Arrays) -> Program:
    return _repeated(lambda x: [jax.nn.gelu(x, approximate=True)], [jax.device_put(inputs["x"])], ["y"])


def _black_scholes(inputs: Arrays) -> Program:
    def price_options(price: Any, strike: Any, years: Any) -> Any:
        spread = spec.VOLATILITY * jnp.sqrt(years)
        d1 = (jnp.log(price / strike) + (spec.RISK_FREE_RATE + 0.5 * spec.VOLATILITY**2) * years) / spread
        d2 = d1 - spread
        discounted = strike * jnp.exp(-spec.RISK_FREE_RATE * years)
        call = price * _normal_distribution(d1) - discounted * _normal_distribution(d2)
        return [call, call - price + discounted]

    return _repeated(
        price_options, [jax.device_put(inputs[name]) for name in ("price", "strike", "years")], ["call", "put"]
    )


def _normal_distribution(value: Any) -> Any:
    return 0.5 * (1.0 + jax.lax.erf(value * np.float32(np.sqrt(0.5))))


def _softmax(inputs: Arrays) -> Program:
    return _repeated(lambda x: [jax.nn.softmax(x, axis=-1)], [jax.device_put(inputs["x"])], ["y"])


def _layer_norm(inputs: Arrays) -> Program:
    def layer_norm(x: Any, scale: Any, offset: Any) -> Any:
        mean = jnp.mean(x, axis=-1, keepdims=True)
        centred = x - mean
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        return [centred * jax.lax.rsqrt(variance + spec.LAYER_NORM_EPSILON) * scale + offset]

    return _repeated(layer_norm, [jax.device_put(inputs[name]) for name in ("x", "scale", "offset")], ["y"])


def _training(inputs: Arrays, loss_of: Callable[[dict[str, Any], Any, Any], Any]) -> Program:
    names = networks.weight_names(inputs)
    x, labels = jax.device_put(inputs["x"]), jax.device_put(inputs["labels"])
    beta_1, beta_2, epsilon = (networks.ADAM[name] for name in ("beta_1", "beta_2", "epsilon"))

    def updated(w: Any, m: Any, v: Any, g: Any, rate: Any) -> Any:
        m, v = m + (1 - beta_1) * (g - m), v + (1 - beta_2) * (g * g - v)
        return w - rate * m / (jnp.sqrt(v) + epsilon), m, v

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, labels: Any) -> Any:
        weights, first, second, count = state
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, labels)
        count = count + 1
        moment = count.astype(jnp.float32)
        rate = networks.ADAM["learning_rate"] * jnp.sqrt(1 - beta_2**moment) / (1 - beta_1**moment)
        new = {name: updated(weights[name], first[name], second[name], gradients[name], rate) for name in names}
        return (*({name: new[name][part] for name in names} for part in range(3)), count), loss

    holder: dict[str, Any] = {}

    def reset() -> None:
        # Copies, because the step's donation must never reach the NumPy arrays that device_put may share.
        weights = {name: jax.device_put(inputs[name].copy()) for name in names}
        zeros = [{name: jax.device_put(np.zeros_like(inputs[name])) for name in names} for _ in range(2)]
        holder["state"] = (weights, *zeros, jax.device_put(np.zeros((), np.int32)))

    def run(count: int) -> None:
        state, loss = holder["state"], None
        for _ in range(count):
            state, loss = step(state, x, labels)
        jax.block_until_ready((state, loss))
        holder["state"], holder["loss"] = state, loss

    reset()
    return Program(run, lambda: {"loss": np.asarray(holder["loss"]), **networks.norms(holder["state"][0])}, reset)


def _mean_cross_entropy(labels: Any, logits: Any) -> Any:
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)


def _mlp(inputs: Arrays) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        hidden = jax.nn.relu(x @ weights["w0"] + weights["b0"])
        hidden = jax.nn.relu(hidden @ weights["w1"] + weights["b1"])
        return _mean_cross_entropy(labels, hidden @ weights["w2"] + weights["b2"])

    return _training(inputs, loss_of)


def _normalized(weights: dict[str, Any], name: str, x: Any, axes: tuple[int, ...]) -> Any:
    centred = x - jnp.mean(x, axes, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.mean(centred * centred, axes, keepdims=True) + networks.EPSILON)
    return centred * inverse * weights[f"scale{name}"] + weights[f"offset{name}"]


def _cnn(inputs: Arrays) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        for layer in range(2):
            layout = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, weights[f"filters{layer}"], (1, 1), "SAME", dimension_numbers=layout)
            x = jax.nn.relu(_normalized(weights, str(layer), x, (0, 1, 2)))
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return _mean_cross_entropy(labels, x.reshape(len(x), -1) @ weights["w"] + weights["b"])

    return _training(inputs, loss_of)


def _transformer(inputs: Arrays) -> Program:
    batch, time, width, heads = (networks.TRANSFORMER[name] for name in ("batch", "time", "width", "heads"))

    def attended(qkv: Any) -> Any:
        query, key, value = qkv.reshape(batch, time, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2) * (width // heads) ** -0.5
        scores = jnp.where(np.tri(time, dtype=bool), scores, -jnp.inf)
        return (jax.nn.softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(batch, time, width)

    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        h = weights["embedding"][x] + weights["positions"]
        for layer in range(networks.TRANSFORMER["layers"]):
            qkv = _normalized(weights, f"_attention{layer}", h, (-1,)) @ weights[f"qkv{layer}"]
            h += attended(qkv) @ weights[f"output{layer}"]
            hidden = _normalized(weights, f"_perceptron{layer}", h, (-1,)) @ weights[f"wide{layer}"]
            hidden = jax.nn.gelu(hidden + weights[f"wide_bias{layer}"], approximate=True)
            h += hidden @ weights[f"narrow{layer}"] + weights[f"narrow_bias{layer}"]
        return _mean_cross_entropy(labels, _normalized(weights, "_last", h, (-1,)) @ weights["embedding"].T)

    return _training(inputs, loss_of)


def _call(inputs: Arrays) -> Program:
    add_one = jax.jit(lambda x: x + 1.0)
    x, result = jax.device_put(inputs["x"]), {}

    def run(count: int) -> None:
        value = None
        for _ in range(count):
            value = add_one(x)
        result["y"] = jax.block_until_ready(value)

    return Program(run, lambda: {"y": np.asarray(result["y"])})


def _scalar_loop(function: Callable[..., Any], argument: Any, name: str) -> Program:
    """A loop in 64 bits, which JAX has to be told."""
    compiled, result = jax.jit(function), {}
    with jax.enable_x64(True):
        argument = jax.device_put(argument)

    def run(count: int) -> None:
        value = None
        with jax.enable_x64(True):
            for _ in range(count):
                value = compiled(argument)
            result[name] = jax.block_until_ready(value)

    return Program(run, lambda: {name: np.asarray(result[name])})


def _collatz(inputs: Arrays) -> Program:
    def total_steps(starts: Any) -> Any:
        def one_step(state: Any) -> Any:
            n, total = state
            return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), total + 1

        def one_start(start: Any, total: Any) -> Any:
            return jax.lax.while_loop(lambda state: state[0] != 1, one_step, (start, total))[1]

        return jax.lax.fori_loop(jnp.int64(1), starts + 1, one_start, jnp.int64(0))

    return _scalar_loop(total_steps, inputs["starts"], "steps")


def _newton(inputs: Arrays) -> Program:
    def root(a: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            x, a = state
            return 0.5 * (x + a / x), a + 1e-6

        return jax.lax.fori_loop(0, spec.NEWTON_STEPS, step, (jnp.ones_like(a), a))[0]

    return _scalar_loop(root, inputs["a"], "x")


def _recurrent(inputs: Arrays) -> Program:
    def loss(weights: Any, x: Any) -> Any:
        w, u, b = weights

        def cell(carry: Any, row: Any) -> Any:
            h, total = carry
            h = jnp.tanh(row @ w + h @ u + b)
            return (h, total + jnp.mean(h * h)), None

        start = (jnp.zeros((x.shape[1], u.shape[0]), x.dtype), jnp.zeros((), x.dtype))
        return jax.lax.scan(cell, start, x)[0][1]

    compiled = jax.jit(jax.value_and_grad(loss))
    weights = tuple(jax.device_put(inputs[name]) for name in ("w", "u", "b"))
    x, result = jax.device_put(inputs["x"]), {}

    def run(count: int) -> None:
        value = None
        for _ in range(count):
            value = compiled(weights, x)
        result["value"] = jax.block_until_ready(value)

    def outputs() -> Arrays:
        value, gradients = result["value"]
        arrays = dict(zip(("dw", "du", "db"), map(np.asarray, gradients), strict=True))
        return {"loss": np.asarray(value), **arrays}

    return Program(run, outputs)

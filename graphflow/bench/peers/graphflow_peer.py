"""graphflow, as its users write it: `@gf.function` around plain code, variables for state, the shipped Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.bench import networks
from graphflow.bench import workloads as spec
from graphflow.bench.workloads import Arrays, Program, Workload

__graphflow_user__ = True  # the functions below stand for a user's program

gf: Any = None


def start(threads: int) -> dict[str, str]:
    """Import graphflow and what it would load at the first compile, so that all of it counts as imports, as it does for
    the peers. The thread count comes through the environment."""
    global gf
    import llvmlite.binding

    import graphflow
    import graphflow.compiler
    import graphflow.runtime.cpu.program

    gf = graphflow
    for name in ("Variable", "GradientTape", "function", "linalg", "math", "nn", "optimizers", "reduce_mean"):
        getattr(gf, name)
    return {"graphflow": graphflow.__version__, "llvmlite": llvmlite.__version__}


def build(contender: str, workload: Workload, inputs: Arrays) -> Program:
    """The program of `workload`."""
    if workload.name == "captures":
        return _captures(inputs, contender == "native call")
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
    state: dict[str, Any] = {}

    def run(count: int) -> None:
        state.clear()
        results = None
        for _ in range(count):
            results = None  # frees the last buffer for this call: what the peers' donated and preallocated outputs do
            results = function(*arguments)
        state["results"] = results

    return Program(run, lambda: {n: value.numpy() for n, value in zip(names, state["results"], strict=True)})


def _regression(inputs: Arrays) -> Program:
    x, y = gf.constant(inputs["x"]), gf.constant(inputs["y"])
    w, b = gf.Variable(inputs["w"]), gf.Variable(inputs["b"])

    @gf.function
    def step(x: Any, y: Any) -> None:
        with gf.GradientTape() as tape:
            loss = gf.reduce_mean(gf.square(gf.linalg.matvec(x, w) + b - y))
        dw, db = tape.gradient(loss, [w, b])
        w.assign_sub(spec.LEARNING_RATE * dw)
        b.assign_sub(spec.LEARNING_RATE * db)

    def run(count: int) -> None:
        for _ in range(count):
            step(x, y)

    def reset() -> None:
        w.assign(inputs["w"])
        b.assign(inputs["b"])

    return Program(run, lambda: {"w": w.numpy(), "b": b.numpy()}, reset)


def _gelu(inputs: Arrays) -> Program:
    @gf.function
    def gelu(x: Any) -> Any:
        return (gf.nn.gelu(x, approximate=True),)

    return _repeated(gelu, [gf.constant(inputs["x"])], ["y"])


def _black_scholes(inputs: Arrays) -> Program:
    def normal_distribution(value: Any) -> Any:
        return 0.5 * (1.0 + gf.math.erf(value * np.float32(np.sqrt(0.5))))

    @gf.function
    def price_options(price: Any, strike: Any, years: Any) -> Any:
        spread = spec.VOLATILITY * gf.sqrt(years)
        d1 = (gf.math.log(price / strike) + (spec.RISK_FREE_RATE + 0.5 * spec.VOLATILITY**2) * years) / spread
        d2 = d1 - spread
        discounted = strike * gf.exp(-spec.RISK_FREE_RATE * years)
        call = price * normal_distribution(d1) - discounted * normal_distribution(d2)
        return call, call - price + discounted

    arguments = [gf.constant(inputs[name]) for name in ("price", "strike", "years")]
    return _repeated(price_options, arguments, ["call", "put"])


def _softmax(inputs: Arrays) -> Program:
    @gf.function
    def softmax(x: Any) -> Any:
        return (gf.nn.softmax(x),)

    return _repeated(softmax, [gf.constant(inputs["x"])], ["y"])


def _layer_norm(inputs: Arrays) -> Program:
    @gf.function
    def layer_norm(x: Any, scale: Any, offset: Any) -> Any:
        mean = gf.reduce_mean(x, axis=-1, keepdims=True)
        centred = x - mean
        variance = gf.reduce_mean(gf.square(centred), axis=-1, keepdims=True)
        return (centred * gf.math.rsqrt(variance + spec.LAYER_NORM_EPSILON) * scale + offset,)

    return _repeated(layer_norm, [gf.constant(inputs[name]) for name in ("x", "scale", "offset")], ["y"])


def _training(inputs: Arrays, loss_of: Callable[[dict[str, Any], Any, Any], Any]) -> Program:
    names = networks.weight_names(inputs)
    x, labels = gf.constant(inputs["x"]), gf.constant(inputs["labels"])
    weights = {name: gf.Variable(inputs[name], name=name) for name in names}
    optimizer = gf.optimizers.Adam(**networks.ADAM)

    @gf.function
    def step(x: Any, labels: Any) -> Any:
        with gf.GradientTape() as tape:
            loss = loss_of(weights, x, labels)
        gradients = tape.gradient(loss, weights)
        optimizer.apply_gradients([(gradients[name], weights[name]) for name in names])
        return loss

    state: dict[str, Any] = {}

    def run(count: int) -> None:
        loss = None
        for _ in range(count):
            loss = step(x, labels)
        state["loss"] = loss

    def reset() -> None:
        optimizer.iterations.assign(0)
        for name, weight in weights.items():
            weight.assign(inputs[name])
            for slot in optimizer.slot_names if optimizer.built else ():
                optimizer.slot(weight, slot).assign(np.zeros_like(inputs[name]))

    return Program(run, lambda: {"loss": state["loss"].numpy(), **networks.norms(weights)}, reset)


def _mean_cross_entropy(labels: Any, logits: Any) -> Any:
    return gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _mlp(inputs: Arrays) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        w0, b0, w1, b1, w2, b2 = weights.values()
        hidden = gf.nn.relu(gf.matmul(x, w0) + b0)
        hidden = gf.nn.relu(gf.matmul(hidden, w1) + b1)
        return _mean_cross_entropy(labels, gf.matmul(hidden, w2) + b2)

    return _training(inputs, loss_of)


def _cnn(inputs: Arrays) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        for layer in range(2):
            x = gf.nn.conv2d(x, weights[f"filters{layer}"], strides=1, padding="SAME")
            mean, variance = gf.nn.moments(x, axes=[0, 1, 2])
            scale, offset = weights[f"scale{layer}"], weights[f"offset{layer}"]
            x = gf.nn.relu(gf.nn.batch_normalization(x, mean, variance, offset, scale, networks.EPSILON))
            x = gf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")
        return _mean_cross_entropy(labels, gf.reshape(x, [x.shape[0], -1]) @ weights["w"] + weights["b"])

    return _training(inputs, loss_of)


def _transformer(inputs: Arrays) -> Program:
    batch, time, width, heads = (networks.TRANSFORMER[name] for name in ("batch", "time", "width", "heads"))

    def normalized(weights: dict[str, Any], name: str, x: Any) -> Any:
        scale, offset = weights[f"scale_{name}"], weights[f"offset_{name}"]
        return gf.nn.layer_normalization(x, offset, scale, variance_epsilon=networks.EPSILON)

    def attended(qkv: Any) -> Any:
        parts = gf.reshape(qkv, [batch, time, 3, heads, width // heads])
        query, key, value = gf.unstack(gf.transpose(parts, [2, 0, 3, 1, 4]))
        scores = gf.matmul(query, key, transpose_b=True) * (width // heads) ** -0.5
        scores = gf.where(np.tri(time, dtype=bool), scores, float("-inf"))
        return gf.reshape(gf.transpose(gf.nn.softmax(scores) @ value, [0, 2, 1, 3]), [batch, time, width])

    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        h = gf.nn.embedding_lookup(weights["embedding"], x) + weights["positions"]
        for layer in range(networks.TRANSFORMER["layers"]):
            qkv = normalized(weights, f"attention{layer}", h) @ weights[f"qkv{layer}"]
            h += attended(qkv) @ weights[f"output{layer}"]
            hidden = normalized(weights, f"perceptron{layer}", h) @ weights[f"wide{layer}"]
            hidden = gf.nn.gelu(hidden + weights[f"wide_bias{layer}"], approximate=True)
            h += hidden @ weights[f"narrow{layer}"] + weights[f"narrow_bias{layer}"]
        logits = gf.matmul(normalized(weights, "last", h), weights["embedding"], transpose_b=True)
        return _mean_cross_entropy(labels, logits)

    return _training(inputs, loss_of)


def _call(inputs: Arrays) -> Program:
    @gf.function
    def add_one(x: Any) -> Any:
        return (x + 1.0,)

    return _repeated(add_one, [gf.constant(inputs["x"])], ["y"])


def _collatz(inputs: Arrays) -> Program:
    @gf.function
    def total_steps(starts: Any) -> Any:
        total = gf.constant(0, gf.int64)
        for start in gf.range(1, starts + 1):
            n = start
            while n != 1:
                if n % 2 == 0:
                    n = n // 2
                else:
                    n = 3 * n + 1
                total += 1
        return (total,)

    return _repeated(total_steps, [gf.constant(inputs["starts"])], ["steps"])


def _newton(inputs: Arrays) -> Program:
    @gf.function
    def root(a: Any) -> Any:
        x = gf.ones_like(a)
        for _ in gf.range(spec.NEWTON_STEPS):
            x = 0.5 * (x + a / x)
            a = a + 1e-6
        return (x,)

    return _repeated(root, [gf.constant(inputs["a"])], ["x"])


def _recurrent(inputs: Arrays) -> Program:
    units = spec.RECURRENT["units"]

    @gf.function
    def step(x: Any, w: Any, u: Any, b: Any) -> Any:
        with gf.GradientTape() as tape:
            tape.watch([w, u, b])
            h, loss = gf.zeros([x.shape[1], units]), 0.0
            for row in x:
                h = gf.tanh(row @ w + h @ u + b)
                loss += gf.reduce_mean(h * h)
        return (loss, *tape.gradient(loss, [w, u, b]))

    arguments = [gf.constant(inputs[name]) for name in ("x", "w", "u", "b")]
    return _repeated(step, arguments, ["loss", "dw", "du", "db"])


def _captures(inputs: Arrays, native: bool) -> Program:
    k0, k1, k2, k3, k4, k5, k6, k7, k8, k9 = spec.CAPTURED.values()

    @gf.function
    def combine(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        return (a * k0 + b * k1 + c * k2 + d * k3 + e * k4 + (k5 + k6 + k7 + k8 + k9),)

    arguments = [gf.constant(inputs[name]) for name in "abcde"]
    if not native:
        return _repeated(combine, arguments, ["y"])
    call = combine.get_concrete_function(*arguments).binding((), {}).call
    arrays = [argument.numpy() for argument in arguments]
    result = np.empty(4, np.float32)

    def run(count: int) -> None:
        for _ in range(count):
            call(*arrays, result)

    return Program(run, lambda: {"y": result})

"""TensorFlow on the CPU: `tf.function`, without and with XLA, with the fused Adam kernel that TensorFlow ships."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.bench import networks
from graphflow.bench import workloads as spec
from graphflow.bench.workloads import Arrays, Program, Workload

tf: Any = None


def start(threads: int) -> dict[str, str]:
    """Import TensorFlow with `threads` threads inside an op; independent ops share one more pool of that size."""
    global tf
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    tf = tensorflow
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return {"tensorflow": tf.__version__}


def build(contender: str, workload: Workload, inputs: Arrays) -> Program:
    """The program of `workload`; the contender's name says whether XLA compiles it."""
    makers: dict[str, Callable[[Arrays, Callable[..., Any]], Program]] = {
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
    decorate = tf.function(jit_compile=contender == "tensorflow xla", autograph=False)
    return makers[workload.name](inputs, decorate)


def _concrete(state: dict[str, Any], function: Any, *arguments: Any) -> Callable[..., Any]:
    """The traced function, which skips the look-up by signature as a serving loop would; made at the first run."""
    if "concrete" not in state:
        state["concrete"] = function.get_concrete_function(*arguments)
    found: Callable[..., Any] = state["concrete"]
    return found


def _repeated(function: Callable[..., Any], arguments: list[Any], names: list[str]) -> Program:
    state: dict[str, Any] = {}

    def run(count: int) -> None:
        concrete = _concrete(state, function, *arguments)
        results = None
        for _ in range(count):
            results = concrete(*arguments)
        state["results"] = results

    def outputs() -> Arrays:
        return {name: value.numpy() for name, value in zip(names, state["results"], strict=True)}

    return Program(run, outputs)


def _regression(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    x, y = tf.constant(inputs["x"]), tf.constant(inputs["y"])
    w, b = tf.Variable(inputs["w"]), tf.Variable(inputs["b"])

    @decorate
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.linalg.matvec(x, w) + b - y))
        dw, db = tape.gradient(loss, [w, b])
        w.assign_sub(spec.LEARNING_RATE * dw)
        b.assign_sub(spec.LEARNING_RATE * db)

    state: dict[str, Any] = {}

    def run(count: int) -> None:
        concrete = _concrete(state, step, x, y)
        for _ in range(count):
            concrete(x, y)

    def reset() -> None:
        w.assign(inputs["w"])
        b.assign(inputs["b"])

    return Program(run, lambda: {"w": w.numpy(), "b": b.numpy()}, reset)


def _gelu(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    @decorate
    def gelu(x: Any) -> Any:
        return (tf.nn.gelu(x, approximate=True),)

    return _repeated(gelu, [tf.constant(inputs["x"])], ["y"])


def _black_scholes(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    def normal_distribution(value: Any) -> Any:
        return 0.5 * (1.0 + tf.math.erf(value * np.float32(np.sqrt(0.5))))

    @decorate
    def price_options(price: Any, strike: Any, years: Any) -> Any:
        spread = spec.VOLATILITY * tf.sqrt(years)
        d1 = (tf.math.log(price / strike) + (spec.RISK_FREE_RATE + 0.5 * spec.VOLATILITY**2) * years) / spread
        d2 = d1 - spread
        discounted = strike * tf.exp(-spec.RISK_FREE_RATE * years)
        call = price * normal_distribution(d1) - discounted * normal_distribution(d2)
        return call, call - price + discounted

    return _repeated(
        price_options, [tf.constant(inputs[name]) for name in ("price", "strike", "years")], ["call", "put"]
    )


def _softmax(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    @decorate
    def softmax(x: Any) -> Any:
        return (tf.nn.softmax(x),)

    return _repeated(softmax, [tf.constant(inputs["x"])], ["y"])


def _layer_norm(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    @decorate
    def layer_norm(x: Any, scale: Any, offset: Any) -> Any:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        factor = tf.math.rsqrt(variance + spec.LAYER_NORM_EPSILON) * scale
        return ((x - mean) * factor + offset,)

    return _repeated(layer_norm, [tf.constant(inputs[name]) for name in ("x", "scale", "offset")], ["y"])


def _training(
    inputs: Arrays, loss_of: Callable[[dict[str, Any], Any, Any], Any], decorate: Callable[..., Any]
) -> Program:
    names = networks.weight_names(inputs)
    x, labels = tf.constant(inputs["x"]), tf.constant(inputs["labels"])
    weights = {name: tf.Variable(inputs[name]) for name in names}
    first = {name: tf.Variable(tf.zeros_like(weight)) for name, weight in weights.items()}
    second = {name: tf.Variable(tf.zeros_like(weight)) for name, weight in weights.items()}
    count = tf.Variable(0.0)

    @decorate
    def step(x: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(weights, x, labels)
        gradients = tape.gradient(loss, weights)
        moment = count.assign_add(1.0)
        for name in names:
            # One fused kernel per parameter, which also updates in place: faster than Keras' op by op update.
            tf.raw_ops.ResourceApplyAdam(
                var=weights[name].handle,
                m=first[name].handle,
                v=second[name].handle,
                beta1_power=tf.pow(networks.ADAM["beta_1"], moment),
                beta2_power=tf.pow(networks.ADAM["beta_2"], moment),
                lr=networks.ADAM["learning_rate"],
                beta1=networks.ADAM["beta_1"],
                beta2=networks.ADAM["beta_2"],
                epsilon=networks.ADAM["epsilon"],
                grad=tf.convert_to_tensor(gradients[name]),
            )
        return loss

    state: dict[str, Any] = {}

    def run(steps: int) -> None:
        concrete = _concrete(state, step, x, labels)
        loss = None
        for _ in range(steps):
            loss = concrete(x, labels)
        state["loss"] = loss

    def reset() -> None:
        count.assign(0.0)
        for name, weight in weights.items():
            weight.assign(inputs[name])
        for slot in (*first.values(), *second.values()):
            slot.assign(tf.zeros_like(slot))

    return Program(run, lambda: {"loss": state["loss"].numpy(), **networks.norms(weights)}, reset)


def _mean_cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _mlp(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        hidden = tf.nn.relu(tf.matmul(x, weights["w0"]) + weights["b0"])
        hidden = tf.nn.relu(tf.matmul(hidden, weights["w1"]) + weights["b1"])
        return _mean_cross_entropy(labels, tf.matmul(hidden, weights["w2"]) + weights["b2"])

    return _training(inputs, loss_of, decorate)


def _cnn(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        for layer in range(2):
            x = tf.nn.conv2d(x, weights[f"filters{layer}"], strides=1, padding="SAME")
            scale, offset = weights[f"scale{layer}"], weights[f"offset{layer}"]
            x = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=networks.EPSILON)[0]
            x = tf.nn.max_pool2d(tf.nn.relu(x), ksize=2, strides=2, padding="VALID")
        return _mean_cross_entropy(labels, tf.reshape(x, [x.shape[0], -1]) @ weights["w"] + weights["b"])

    return _training(inputs, loss_of, decorate)


def _transformer(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    batch, time, width, heads = (networks.TRANSFORMER[name] for name in ("batch", "time", "width", "heads"))

    def normalized(weights: dict[str, Any], name: str, x: Any) -> Any:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        scale, offset = weights[f"scale_{name}"], weights[f"offset_{name}"]
        return tf.nn.batch_normalization(x, mean, variance, offset, scale, networks.EPSILON)

    def attended(qkv: Any) -> Any:
        parts = tf.reshape(qkv, [batch, time, 3, heads, width // heads])
        query, key, value = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
        scores = tf.matmul(query, key, transpose_b=True) * (width // heads) ** -0.5
        scores = tf.where(np.tri(time, dtype=bool), scores, float("-inf"))
        return tf.reshape(tf.transpose(tf.nn.softmax(scores) @ value, [0, 2, 1, 3]), [batch, time, width])

    def product(x: Any, matrix: Any) -> Any:  # one product of matrices instead of one for each text
        return tf.reshape(tf.reshape(x, [batch * time, -1]) @ matrix, [batch, time, -1])

    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        h = tf.gather(weights["embedding"], x) + weights["positions"]
        for layer in range(networks.TRANSFORMER["layers"]):
            qkv = product(normalized(weights, f"attention{layer}", h), weights[f"qkv{layer}"])
            h += product(attended(qkv), weights[f"output{layer}"])
            hidden = product(normalized(weights, f"perceptron{layer}", h), weights[f"wide{layer}"])
            hidden = tf.nn.gelu(hidden + weights[f"wide_bias{layer}"], approximate=True)
            h += product(hidden, weights[f"narrow{layer}"]) + weights[f"narrow_bias{layer}"]
        return _mean_cross_entropy(labels, product(normalized(weights, "last", h), tf.transpose(weights["embedding"])))

    return _training(inputs, loss_of, decorate)


def _call(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    @decorate
    def add_one(x: Any) -> Any:
        return (x + 1.0,)

    return _repeated(add_one, [tf.constant(inputs["x"])], ["y"])


def _collatz(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    @decorate
    def total_steps(starts: Any) -> Any:
        def one_step(n: Any, total: Any) -> Any:
            return tf.where(n % 2 == 0, n // 2, 3 * n + 1), total + 1

        def one_start(start: Any, total: Any) -> Any:
            return start + 1, tf.while_loop(lambda n, total: n != 1, one_step, (start, total))[1]

        zero = tf.constant(0, tf.int64)
        return (tf.while_loop(lambda start, total: start <= starts, one_start, (zero + 1, zero))[1],)

    return _repeated(total_steps, [tf.constant(inputs["starts"])], ["steps"])


def _newton(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    @decorate
    def root(a: Any) -> Any:
        def step(i: Any, x: Any, a: Any) -> Any:
            return i + 1, 0.5 * (x + a / x), a + 1e-6

        return (tf.while_loop(lambda i, x, a: i < spec.NEWTON_STEPS, step, (tf.constant(0), tf.ones_like(a), a))[1],)

    return _repeated(root, [tf.constant(inputs["a"])], ["x"])


def _recurrent(inputs: Arrays, decorate: Callable[..., Any]) -> Program:
    steps, units = spec.RECURRENT["steps"], spec.RECURRENT["units"]

    @decorate
    def step(x: Any, w: Any, u: Any, b: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([w, u, b])

            def cell(t: Any, h: Any, total: Any) -> Any:
                h = tf.tanh(x[t] @ w + h @ u + b)
                return t + 1, h, total + tf.reduce_mean(h * h)

            start = (tf.constant(0), tf.zeros([x.shape[1], units]), tf.constant(0.0))
            loss = tf.while_loop(lambda t, h, total: t < steps, cell, start, maximum_iterations=steps)[2]
        return (loss, *tape.gradient(loss, [w, u, b]))

    arguments = [tf.constant(inputs[name]) for name in ("x", "w", "u", "b")]
    return _repeated(step, arguments, ["loss", "dw", "du", "db"])

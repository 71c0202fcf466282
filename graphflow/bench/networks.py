"""Training steps of networks: shapes, first weights, and float64 references with gradients by hand. No library that is measured.

Inputs are `x`, `labels` and the weights, in the order in which every contender keeps them. A step is the forward pass, the
mean of the softmax cross entropy, the gradient and Adam's update of all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

Arrays = dict[str, np.ndarray]
#: the float64 weights, x and the labels -> the loss and each weight's gradient
LossAndGradients = Callable[[Arrays, np.ndarray, np.ndarray], tuple[np.ndarray, Arrays]]

ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
EPSILON = 1e-5
MLP_SIZES = (784, 512, 512, 10)
MLP_BATCH = 128
CNN: dict[str, Any] = {"batch": 32, "side": 32, "channels": (3, 32, 64), "classes": 10}
TRANSFORMER = {"batch": 16, "time": 64, "width": 128, "heads": 4, "layers": 2, "vocabulary": 256}


def weight_names(inputs: Mapping[str, Any]) -> list[str]:
    """The names of the weights, in order."""
    return [name for name in inputs if name not in ("x", "labels")]


def norms(weights: Mapping[str, Any]) -> Arrays:
    """The norm of each weight that is no vector: what is compared after some steps, with the loss. Adam turns a gradient of
    1e-7 into a full step of either sign, so single weights differ between float32 programs; these do not."""
    arrays = {name: np.asarray(weight) for name, weight in weights.items()}
    return {f"norm_{name}": np.asarray(np.linalg.norm(array)) for name, array in arrays.items() if array.ndim > 1}


def trained(loss_and_gradients: LossAndGradients) -> Callable[[Arrays, int], Arrays]:
    """The reference of a workload: the loss before the last one of that many steps, and the norms after it."""

    @threadpool_limits.wrap(limits=1)  # beside a busy process the waiting threads of OpenBLAS take 20 times as long
    def reference(inputs: Arrays, steps: int) -> Arrays:
        weights = {name: inputs[name].astype(np.float64) for name in weight_names(inputs)}
        first = {name: np.zeros_like(value) for name, value in weights.items()}
        second = {name: np.zeros_like(value) for name, value in weights.items()}
        loss = np.zeros(())
        for step in range(1, steps + 1):
            loss, gradients = loss_and_gradients(weights, inputs["x"], inputs["labels"])
            rate = ADAM["learning_rate"] * np.sqrt(1 - ADAM["beta_2"] ** step) / (1 - ADAM["beta_1"] ** step)
            for name, gradient in gradients.items():
                first[name] += (1 - ADAM["beta_1"]) * (gradient - first[name])
                second[name] += (1 - ADAM["beta_2"]) * (gradient**2 - second[name])
                weights[name] = weights[name] - rate * first[name] / (np.sqrt(second[name]) + ADAM["epsilon"])
        return {"loss": np.asarray(loss)} | norms(weights)

    return reference


def _uniform(random: np.random.Generator, inputs: int, outputs: int, shape: tuple[int, ...]) -> np.ndarray:
    limit = np.sqrt(6.0 / (inputs + outputs))  # Glorot and Bengio, 2010
    return random.uniform(-limit, limit, shape).astype(np.float32)


def _softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean loss, and its gradient in the logits [..., classes]."""
    chosen = np.eye(logits.shape[-1])[labels]
    probability = _softmax(logits)
    return -np.log(probability[chosen > 0]).mean(), (probability - chosen) / labels.size


def _normalized(
    x: np.ndarray, axes: tuple[int, ...], scale: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """x shifted and scaled to mean 0 and variance 1 over axes, times scale plus offset along the last axis; and the function
    from the result's gradient to those in x, scale and offset."""
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1.0 / np.sqrt(np.mean(centred**2, axes, keepdims=True) + EPSILON)
    normal = centred * inverse
    lead = tuple(range(x.ndim - 1))

    def back(dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dn = dy * scale
        dx = inverse * (dn - dn.mean(axes, keepdims=True) - normal * (dn * normal).mean(axes, keepdims=True))
        return dx, (dy * normal).sum(lead), dy.sum(lead)

    return normal * scale + offset, back


# --- perceptron ------------------------------------------------------------------------------------------------------


def mlp_inputs() -> Arrays:
    """Inputs of the perceptron's step."""
    random = np.random.default_rng(4)
    arrays = {
        "x": random.random((MLP_BATCH, MLP_SIZES[0]), dtype=np.float32),
        "labels": random.integers(0, MLP_SIZES[-1], MLP_BATCH).astype(np.int32),
    }
    for layer, (inputs, outputs) in enumerate(pairwise(MLP_SIZES)):
        arrays[f"w{layer}"] = _uniform(random, inputs, outputs, (inputs, outputs))
        arrays[f"b{layer}"] = np.zeros(outputs, np.float32)
    return arrays


def mlp_gradients(weights: Arrays, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """Two hidden layers with relu."""
    h0 = np.maximum(x @ weights["w0"] + weights["b0"], 0.0)
    h1 = np.maximum(h0 @ weights["w1"] + weights["b1"], 0.0)
    loss, d2 = _cross_entropy(h1 @ weights["w2"] + weights["b2"], labels)
    d1 = (d2 @ weights["w2"].T) * (h1 > 0)
    d0 = (d1 @ weights["w1"].T) * (h0 > 0)
    return loss, {
        "w0": x.T.astype(np.float64) @ d0,
        "b0": d0.sum(0),
        "w1": h0.T @ d1,
        "b1": d1.sum(0),
        "w2": h1.T @ d2,
        "b2": d2.sum(0),
    }


def mlp_flops() -> int:
    """Of the matrix products: the first layer needs no gradient in its input."""
    inputs, hidden0, hidden1, classes = MLP_SIZES
    products = 2 * inputs * hidden0 + 3 * hidden0 * hidden1 + 3 * hidden1 * classes
    return 2 * MLP_BATCH * products


# --- convolutional network -------------------------------------------------------------------------------------------


def cnn_inputs() -> Arrays:
    """Images f32[n, side, side, 3]; for each convolution filters [3, 3, inputs, outputs] and the normalisation's vectors; the last
    layer's matrix, whose rows are in the order of [side / 4, side / 4, channels]."""
    random = np.random.default_rng(8)
    batch, side, channels, classes = (CNN[name] for name in ("batch", "side", "channels", "classes"))
    arrays = {
        "x": random.random((batch, side, side, channels[0]), dtype=np.float32),
        "labels": random.integers(0, classes, batch).astype(np.int32),
    }
    for layer, (inputs, outputs) in enumerate(pairwise(channels)):
        arrays[f"filters{layer}"] = _uniform(random, 9 * inputs, 9 * outputs, (3, 3, inputs, outputs))
        arrays[f"scale{layer}"] = np.ones(outputs, np.float32)
        arrays[f"offset{layer}"] = np.zeros(outputs, np.float32)
    features = (side // 4) ** 2 * channels[-1]
    arrays["w"] = _uniform(random, features, classes, (features, classes))
    arrays["b"] = np.zeros(classes, np.float32)
    return arrays


def cnn_gradients(weights: Arrays, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """Twice: 3x3 convolution, normalisation over the batch, relu, pooling by 2; then a linear layer."""
    backs: list[Any] = []
    h = x.astype(np.float64)
    for layer in range(2):
        h, convolution = _convolved(h, weights[f"filters{layer}"])
        h, normalisation = _normalized(h, (0, 1, 2), weights[f"scale{layer}"], weights[f"offset{layer}"])
        positive = h > 0
        h, pooling = _pooled(h * positive)
        backs.append((convolution, normalisation, positive, pooling))
    flat = h.reshape(len(h), -1)
    loss, d = _cross_entropy(flat @ weights["w"] + weights["b"], labels)
    gradients = {"w": flat.T @ d, "b": d.sum(0)}
    d = (d @ weights["w"].T).reshape(h.shape)
    for layer, (convolution, normalisation, positive, pooling) in reversed(list(enumerate(backs))):
        d, gradients[f"scale{layer}"], gradients[f"offset{layer}"] = normalisation(pooling(d) * positive)
        d, gradients[f"filters{layer}"] = convolution(d)
    return loss, gradients


def _convolved(x: np.ndarray, filters: np.ndarray) -> tuple[np.ndarray, Any]:
    """3x3, stride 1, as many zeros around as keep the extents."""
    _, height, width, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = [(i, j, slice(i, i + height), slice(j, j + width)) for i in range(3) for j in range(3)]
    y = sum(padded[:, rows, columns] @ filters[i, j] for i, j, rows, columns in places)

    def back(dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        around, df = np.zeros_like(padded), np.zeros_like(filters)
        flat = dy.reshape(-1, dy.shape[-1])
        for i, j, rows, columns in places:
            around[:, rows, columns] += dy @ filters[i, j].T
            df[i, j] = padded[:, rows, columns].reshape(-1, channels).T @ flat
        return around[:, 1:-1, 1:-1], df

    return np.asarray(y), back


def _pooled(x: np.ndarray) -> tuple[np.ndarray, Any]:
    """The largest of each 2x2 square; the gradient goes to the first of equal ones."""
    count, height, width, channels = x.shape
    squares = x.reshape(count, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    flat = squares.reshape(*squares.shape[:4], 4)
    chosen = np.eye(4)[flat.argmax(axis=-1)].reshape(squares.shape)

    def back(dy: np.ndarray) -> np.ndarray:
        return (chosen * dy[..., None, None]).transpose(0, 1, 4, 2, 5, 3).reshape(x.shape)

    return flat.max(axis=-1), back


def cnn_flops() -> int:
    """Of the convolutions and the matrix products: the first convolution needs no gradient in its input."""
    total, pixels = 0, CNN["batch"] * CNN["side"] ** 2
    for layer, (inputs, outputs) in enumerate(pairwise(CNN["channels"])):
        total += (3 if layer else 2) * pixels // 4**layer * 9 * inputs * outputs
    return 2 * (total + 3 * pixels // 16 * CNN["channels"][-1] * CNN["classes"])


# --- transformer -----------------------------------------------------------------------------------------------------


def transformer_inputs() -> Arrays:
    """Tokens i32[batch, time] and, as labels, those that follow; the embedding is the last layer's matrix too."""
    random = np.random.default_rng(9)
    batch, time, width, layers = (TRANSFORMER[name] for name in ("batch", "time", "width", "layers"))
    text = random.integers(0, TRANSFORMER["vocabulary"], (batch, time + 1)).astype(np.int32)
    arrays = {"x": text[:, :-1].copy(), "labels": text[:, 1:].copy()}
    arrays["embedding"] = _uniform(random, width, width, (TRANSFORMER["vocabulary"], width))
    arrays["positions"] = _uniform(random, width, width, (time, width))
    for layer in range(layers):
        for name, inputs, outputs in (("qkv", 1, 3), ("output", 1, 1), ("wide", 1, 4), ("narrow", 4, 1)):
            shape = inputs * width, outputs * width
            arrays[f"{name}{layer}"] = _uniform(random, *shape, shape)
        arrays[f"wide_bias{layer}"] = np.zeros(4 * width, np.float32)
        arrays[f"narrow_bias{layer}"] = np.zeros(width, np.float32)
    for name in transformer_norms():
        arrays[f"scale_{name}"], arrays[f"offset_{name}"] = np.ones(width, np.float32), np.zeros(width, np.float32)
    return arrays


def transformer_norms() -> list[str]:
    """The layer normalisations: before each attention, before each perceptron, and the last."""
    layers = range(TRANSFORMER["layers"])
    return [*(f"attention{layer}" for layer in layers), *(f"perceptron{layer}" for layer in layers), "last"]


def transformer_gradients(weights: Arrays, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """Causal attention and a perceptron with the tanh form of GELU, each after a normalisation and added to what came in."""
    gradients: Arrays = {}
    backs: list[Callable[[np.ndarray], np.ndarray]] = []

    def normalized(name: str, h: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        y, back = _normalized(h, (-1,), weights[f"scale_{name}"], weights[f"offset_{name}"])

        def gradient(dy: np.ndarray) -> np.ndarray:
            dx, gradients[f"scale_{name}"], gradients[f"offset_{name}"] = back(dy)
            return dx

        return y, gradient

    def product(name: str, h: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        def gradient(dy: np.ndarray) -> np.ndarray:
            gradients[name] = h.reshape(-1, h.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
            return dy @ weights[name].T

        return h @ weights[name], gradient

    h = weights["embedding"][x] + weights["positions"]
    for layer in range(TRANSFORMER["layers"]):
        normal, back_normal = normalized(f"attention{layer}", h)
        qkv, back_qkv = product(f"qkv{layer}", normal)
        mixed, back_mixed = _attended(qkv)
        out, back_out = product(f"output{layer}", mixed)
        h = h + out
        backs.append(_chain(back_out, back_mixed, back_qkv, back_normal))

        normal, back_normal = normalized(f"perceptron{layer}", h)
        hidden, back_hidden = product(f"wide{layer}", normal)
        active, back_gelu = _gelu(hidden + weights[f"wide_bias{layer}"])
        out, back_out = product(f"narrow{layer}", active)
        h = h + out + weights[f"narrow_bias{layer}"]
        back_bias = _bias(gradients, f"narrow_bias{layer}")
        back_wide = _bias(gradients, f"wide_bias{layer}")
        backs.append(_chain(back_bias, back_out, back_gelu, back_wide, back_hidden, back_normal))
    normal, back_normal = normalized("last", h)
    loss, d = _cross_entropy(normal @ weights["embedding"].T, labels)
    gradients["embedding"] = d.reshape(-1, d.shape[-1]).T @ normal.reshape(-1, normal.shape[-1])
    d = back_normal(d @ weights["embedding"])
    for back in reversed(backs):
        d = d + back(d)
    np.add.at(gradients["embedding"], x, d)
    gradients["positions"] = d.sum(0)
    return loss, gradients


def _chain(*steps: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def back(d: np.ndarray) -> np.ndarray:
        for step in steps:
            d = step(d)
        return d

    return back


def _bias(gradients: Arrays, name: str) -> Callable[[np.ndarray], np.ndarray]:
    def back(d: np.ndarray) -> np.ndarray:
        gradients[name] = d.sum((0, 1))
        return d

    return back


def _attended(qkv: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    batch, time, triple = qkv.shape
    heads = TRANSFORMER["heads"]
    each = triple // 3 // heads
    query, key, value = qkv.reshape(batch, time, 3, heads, each).transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) * each**-0.5
    share = _softmax(np.where(np.tri(time, dtype=bool), scores, -np.inf))

    def back(dy: np.ndarray) -> np.ndarray:
        d = dy.reshape(batch, time, heads, each).transpose(0, 2, 1, 3)
        d_share = d @ value.swapaxes(-1, -2)
        d_scores = share * (d_share - (d_share * share).sum(-1, keepdims=True)) * each**-0.5
        parts = np.stack([d_scores @ key, d_scores.swapaxes(-1, -2) @ query, share.swapaxes(-1, -2) @ d])
        return parts.transpose(1, 3, 0, 2, 4).reshape(qkv.shape)

    return (share @ value).transpose(0, 2, 1, 3).reshape(batch, time, heads * each), back


def _gelu(x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    factor = np.sqrt(2.0 / np.pi)
    t = np.tanh(factor * (x + 0.044715 * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * factor * (1 + 3 * 0.044715 * x**2)
    return 0.5 * x * (1 + t), lambda d: d * slope


def transformer_flops() -> int:
    """Of the matrix products, three for each in the forward pass; attention counted in full, as if nothing were masked."""
    sizes = TRANSFORMER
    tokens, width = sizes["batch"] * sizes["time"], sizes["width"]
    layer = 12 * width**2 + 2 * sizes["time"] * width
    return 6 * tokens * (sizes["layers"] * layer + sizes["vocabulary"] * width)

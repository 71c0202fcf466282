"""PyTorch on the CPU: eager with its fused kernels, preallocated outputs and fused Adam, and `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.bench import networks
from graphflow.bench import workloads as spec
from graphflow.bench.workloads import Arrays, Program, Workload

torch: Any = None
functional: Any = None


def start(threads: int) -> dict[str, str]:
    """Import torch and give its intra-op pool `threads` threads."""
    global torch, functional
    import torch as torch_module
    import torch.nn.functional as torch_functional

    torch, functional = torch_module, torch_functional
    torch.set_num_threads(threads)
    return {"torch": torch.__version__}


def build(contender: str, workload: Workload, inputs: Arrays) -> Program:
    """The program of `workload`; the contender's name says whether it goes through `torch.compile`."""
    makers: dict[str, Callable[[Arrays, bool], Program]] = {
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
    return makers[workload.name](inputs, contender == "torch compile")


def _repeated(function: Callable[..., None], results: list[Any], arguments: list[Any], names: list[str]) -> Program:
    """A stateless program that writes into `results`, allocated once."""

    def run(count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                function(*results, *arguments)

    return Program(run, lambda: {name: value.numpy() for name, value in zip(names, results, strict=True)})


def _tensors(inputs: Arrays, names: tuple[str, ...]) -> list[Any]:
    return [torch.from_numpy(inputs[name].copy()) for name in names]


def _regression(inputs: Arrays, compiled: bool) -> Program:
    x, y = _tensors(inputs, ("x", "y"))
    w, b = (value.requires_grad_() for value in _tensors(inputs, ("w", "b")))

    def loss_of(x: Any, y: Any, w: Any, b: Any) -> Any:
        return ((torch.mv(x, w) + b - y) ** 2).mean()

    def step() -> None:
        dw, db = torch.autograd.grad(loss_of(x, y, w, b), (w, b))
        with torch.no_grad():
            w.sub_(dw, alpha=spec.LEARNING_RATE)
            b.sub_(db, alpha=spec.LEARNING_RATE)

    if compiled:
        plain_w, plain_b = w.detach(), b.detach()

        @torch.compile(fullgraph=True)
        def compiled_step(w: Any, b: Any, x: Any, y: Any) -> None:
            dw, db = torch.func.grad(lambda w, b: loss_of(x, y, w, b), argnums=(0, 1))(w, b)
            w.sub_(dw, alpha=spec.LEARNING_RATE)
            b.sub_(db, alpha=spec.LEARNING_RATE)

        def step() -> None:
            compiled_step(plain_w, plain_b, x, y)

    def run(count: int) -> None:
        for _ in range(count):
            step()

    def reset() -> None:
        with torch.no_grad():
            w.copy_(torch.from_numpy(inputs["w"]))
            b.copy_(torch.from_numpy(inputs["b"]))

    return Program(run, lambda: {"w": w.detach().numpy(), "b": b.detach().numpy()}, reset)


def _gelu(inputs: Arrays, compiled: bool) -> Program:
    (x,) = _tensors(inputs, ("x",))

    def eager(y: Any, x: Any) -> None:
        torch.ops.aten.gelu.out(x, approximate="tanh", out=y)

    def fused(y: Any, x: Any) -> None:
        y.copy_(functional.gelu(x, approximate="tanh"))

    return _repeated(torch.compile(fused) if compiled else eager, [torch.zeros_like(x)], [x], ["y"])


def _black_scholes(inputs: Arrays, compiled: bool) -> Program:
    arguments = _tensors(inputs, ("price", "strike", "years"))

    def price_options(call: Any, put: Any, price: Any, strike: Any, years: Any) -> None:
        spread = spec.VOLATILITY * torch.sqrt(years)
        d1 = (torch.log(price / strike) + (spec.RISK_FREE_RATE + 0.5 * spec.VOLATILITY**2) * years) / spread
        d2 = d1 - spread
        discounted = strike * torch.exp(-spec.RISK_FREE_RATE * years)
        value = price * torch.special.ndtr(d1) - discounted * torch.special.ndtr(d2)
        call.copy_(value)
        put.copy_(value - price + discounted)

    def price_in_place(call: Any, put: Any, price: Any, strike: Any, years: Any) -> None:
        # The eager form reuses its temporaries: fresh 4 MB buffers cost more in page faults than the arithmetic.
        spread = torch.sqrt(years, out=scratch[0]).mul_(spec.VOLATILITY)
        d1 = torch.div(price, strike, out=scratch[1]).log_()
        d1.add_(years, alpha=spec.RISK_FREE_RATE + 0.5 * spec.VOLATILITY**2).div_(spread)
        d2 = torch.sub(d1, spread, out=scratch[0])
        discounted = torch.mul(years, -spec.RISK_FREE_RATE, out=scratch[2]).exp_().mul_(strike)
        for value in (d1, d2):
            value.mul_(0.5**0.5).erf_().add_(1.0).mul_(0.5)
        torch.mul(price, d1, out=call).addcmul_(discounted, d2, value=-1.0)
        torch.sub(call, price, out=put).add_(discounted)

    scratch = [torch.empty_like(arguments[0]) for _ in range(3)]
    results = [torch.zeros_like(arguments[0]) for _ in range(2)]
    function = torch.compile(price_options) if compiled else price_in_place
    return _repeated(function, results, arguments, ["call", "put"])


def _softmax(inputs: Arrays, compiled: bool) -> Program:
    (x,) = _tensors(inputs, ("x",))

    def eager(y: Any, x: Any) -> None:
        torch.softmax(x, dim=-1, out=y)

    def fused(y: Any, x: Any) -> None:
        y.copy_(torch.softmax(x, dim=-1))

    return _repeated(torch.compile(fused) if compiled else eager, [torch.zeros_like(x)], [x], ["y"])


def _layer_norm(inputs: Arrays, compiled: bool) -> Program:
    x, scale, offset = _tensors(inputs, ("x", "scale", "offset"))
    width = (x.shape[-1],)
    statistics = [torch.empty(x.shape[0], 1) for _ in range(2)]

    def eager(y: Any, x: Any, scale: Any, offset: Any) -> None:
        torch.ops.aten.native_layer_norm.out(
            x, width, scale, offset, spec.LAYER_NORM_EPSILON, out0=y, out1=statistics[0], out2=statistics[1]
        )

    def fused(y: Any, x: Any, scale: Any, offset: Any) -> None:
        y.copy_(functional.layer_norm(x, width, scale, offset, spec.LAYER_NORM_EPSILON))

    return _repeated(torch.compile(fused) if compiled else eager, [torch.zeros_like(x)], [x, scale, offset], ["y"])


def _training(inputs: Arrays, loss_of: Callable[[dict[str, Any], Any, Any], Any], compiled: bool) -> Program:
    names = networks.weight_names(inputs)
    x = torch.from_numpy(inputs["x"].copy())
    labels = torch.from_numpy(inputs["labels"].astype(np.int64))
    weights = {name: torch.from_numpy(inputs[name].copy()).requires_grad_() for name in names}
    optimizer = torch.optim.Adam(
        weights.values(),
        lr=networks.ADAM["learning_rate"],
        betas=(networks.ADAM["beta_1"], networks.ADAM["beta_2"]),
        eps=networks.ADAM["epsilon"],
        fused=True,
    )
    state: dict[str, Any] = {}
    forward = torch.compile(loss_of) if compiled else loss_of

    def run(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            loss = forward(weights, x, labels)
            loss.backward()
            optimizer.step()
            state["loss"] = loss.detach()

    def reset() -> None:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(torch.from_numpy(inputs[name]))
            for slots in optimizer.state.values():
                for slot in slots.values():
                    slot.zero_()

    def outputs() -> Arrays:
        return {"loss": state["loss"].numpy(), **networks.norms({n: w.detach().numpy() for n, w in weights.items()})}

    return Program(run, outputs, reset)


def _mlp(inputs: Arrays, compiled: bool) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        hidden = torch.relu(torch.addmm(weights["b0"], x, weights["w0"]))
        hidden = torch.relu(torch.addmm(weights["b1"], hidden, weights["w1"]))
        return functional.cross_entropy(torch.addmm(weights["b2"], hidden, weights["w2"]), labels)

    return _training(inputs, loss_of, compiled)


def _cnn(inputs: Arrays, compiled: bool) -> Program:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        x = x.permute(0, 3, 1, 2)  # channels first by name, last in memory: the layout that oneDNN is fastest with here
        for layer in range(2):
            filters = weights[f"filters{layer}"].permute(3, 2, 0, 1)
            x = functional.conv2d(x, filters, padding=1)
            scale, offset = weights[f"scale{layer}"], weights[f"offset{layer}"]
            x = functional.batch_norm(x, None, None, scale, offset, training=True, eps=networks.EPSILON)
            x = functional.max_pool2d(torch.relu(x), 2)
        flat = x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)
        return functional.cross_entropy(torch.addmm(weights["b"], flat, weights["w"]), labels)

    return _training(inputs, loss_of, compiled)


def _transformer(inputs: Arrays, compiled: bool) -> Program:
    batch, time, width, heads = (networks.TRANSFORMER[name] for name in ("batch", "time", "width", "heads"))

    def normalized(weights: dict[str, Any], name: str, x: Any) -> Any:
        scale, offset = weights[f"scale_{name}"], weights[f"offset_{name}"]
        return functional.layer_norm(x, (width,), scale, offset, networks.EPSILON)

    def attended(qkv: Any) -> Any:
        query, key, value = qkv.view(batch, time, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind()
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, time, width)

    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        h = functional.embedding(x, weights["embedding"]) + weights["positions"]
        for layer in range(networks.TRANSFORMER["layers"]):
            qkv = normalized(weights, f"attention{layer}", h) @ weights[f"qkv{layer}"]
            h = h + attended(qkv) @ weights[f"output{layer}"]
            hidden = (
                normalized(weights, f"perceptron{layer}", h) @ weights[f"wide{layer}"] + weights[f"wide_bias{layer}"]
            )
            hidden = functional.gelu(hidden, approximate="tanh")
            h = h + (hidden @ weights[f"narrow{layer}"] + weights[f"narrow_bias{layer}"])
        logits = normalized(weights, "last", h) @ weights["embedding"].T
        return functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))

    return _training(inputs, loss_of, compiled)


def _call(inputs: Arrays, compiled: bool) -> Program:
    def add_one(x: Any) -> Any:
        return x + 1.0

    function = torch.compile(add_one) if compiled else add_one
    (x,) = _tensors(inputs, ("x",))
    state: dict[str, Any] = {}

    def run(count: int) -> None:
        value = None
        with torch.inference_mode():
            for _ in range(count):
                value = function(x)
        state["y"] = value

    return Program(run, lambda: {"y": state["y"].numpy()})


def _recurrent(inputs: Arrays, compiled: bool) -> Program:
    (x,) = _tensors(inputs, ("x",))
    w, u, b = (value.requires_grad_() for value in _tensors(inputs, ("w", "u", "b")))
    state: dict[str, Any] = {}

    def run(count: int) -> None:
        for _ in range(count):
            for weight in (w, u, b):
                weight.grad = None
            h, loss = torch.zeros(x.shape[1], u.shape[0]), torch.zeros(())
            for row in x:
                h = torch.tanh(torch.addmm(torch.addmm(b, row, w), h, u))
                loss = loss + torch.mean(h * h)
            loss.backward()
            state["loss"] = loss

    def outputs() -> Arrays:
        gradients = {"dw": w.grad.numpy(), "du": u.grad.numpy(), "db": b.grad.numpy()}
        return {"loss": state["loss"].detach().numpy(), **gradients}

    return Program(run, outputs)

"""`graphflow demo`: trains a network on the shipped digits and shows what became of the training step on the way.

Public functions only: what is done here can be done to any decorated function.
"""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

import graphflow as gf
from graphflow.data import digits
from graphflow.ir.op import Alias, Effect

__all__ = ["REQUIRED_ACCURACY", "Model", "Traffic", "run", "traffic_of"]

__graphflow_user__ = True  # this module stands for the user's program: messages and dumps name its lines

REQUIRED_ACCURACY = 0.95
BATCH = 64
SIZES = (digits.PIXELS, 128, 64, digits.CLASSES)
PLAIN_WIDTH = 150


class Model:
    """A network of two hidden layers with its optimizer; `step` is the function that is compiled."""

    def __init__(self, seed: int = 0) -> None:
        """He's initial weights, drawn from `seed`."""
        random = np.random.default_rng(seed)
        self.weights: list[gf.Variable] = []
        for layer, (inputs, outputs) in enumerate(pairwise(SIZES)):
            start = random.standard_normal((inputs, outputs)) * np.sqrt(2.0 / inputs)
            self.weights.append(gf.Variable(start.astype(np.float32), name=f"w{layer}"))
            self.weights.append(gf.Variable(np.zeros(outputs, np.float32), name=f"b{layer}"))
        self.optimizer = gf.optimizers.Adam(learning_rate=0.003)

    def logits(self, images: Any) -> Any:
        """Class scores f32[n, 10] of images f32[n, 64]."""
        w0, b0, w1, b1, w2, b2 = self.weights
        hidden = gf.nn.relu(gf.matmul(images, w0) + b0)
        hidden = gf.nn.relu(gf.matmul(hidden, w1) + b1)
        return gf.matmul(hidden, w2) + b2

    @gf.function
    def step(self, images: Any, labels: Any) -> Any:
        """One update of all weights; returns the batch's loss before it."""
        with gf.GradientTape() as tape:
            scores = self.logits(images)
            loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))
        gradients = tape.gradient(loss, self.weights)
        self.optimizer.apply_gradients(zip(gradients, self.weights, strict=True))
        return loss

    @gf.function
    def accuracy(self, images: Any, labels: Any) -> Any:
        """The share of images whose highest score is at their label."""
        right = gf.equal(gf.argmax(self.logits(images), axis=1), labels)
        return gf.reduce_mean(gf.cast(right, gf.float32))


@dataclass(frozen=True)
class Traffic:
    """What running a graph once costs: kernels launched, and bytes of tensors that they read and write."""

    kernels: int
    bytes_moved: int


def traffic_of(graph: Any) -> Traffic:
    """Count over a graph with static shapes: each kernel reads its operands and writes its results once.

    Reshapes, constants, reads and writes of variables are no kernels; a variable is written by the kernel that makes
    its value.
    """
    kernels = moved = 0
    for node in _kernel_nodes(graph):
        kernels += 1
        moved += sum(_bytes(value) for value in {*node.inputs, *node.outputs})
    return Traffic(kernels, moved)


def _kernel_nodes(graph: Any) -> Iterator[Any]:
    for node in graph.nodes:
        if not isinstance(node.op.kernel, (Effect, Alias)):
            yield node


def _bytes(value: Any) -> int:
    return int(np.prod(value.type.shape, dtype=np.int64)) * int(value.type.dtype.numpy.itemsize)


def run(epochs: int = 20, full: bool = False, seed: int = 0, console: Console | None = None) -> int:
    """Run the demo; `full` prints the whole IR instead of its beginning.

    Returns the exit status: 0, or 1 if the network missed the required accuracy or graph mode differed from eager mode.
    """
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=PLAIN_WIDTH, force_terminal=False)
    begin = time.perf_counter()
    split = digits.split(seed)
    model = Model(seed)
    _say_data(console, split)
    _show_step(console)
    images, labels = gf.constant(split.train_images[:BATCH]), gf.constant(split.train_labels[:BATCH])
    _first_call(console, model, images, labels)
    accuracy = _train(console, model, split, epochs, seed)
    _show_graph(console, model, images, labels, full)
    _show_kernels(console, model, images, labels)
    equal = _compare(console, model, images, labels)
    console.print(f"\nDone in {time.perf_counter() - begin:.1f} s.", highlight=False)
    if accuracy < REQUIRED_ACCURACY:
        console.print(
            f"The accuracy is below {REQUIRED_ACCURACY:.0%}: something is wrong with this build.", style="bold red"
        )
        return 1
    return 0 if equal else 1


def _heading(console: Console, title: str, sentence: str) -> None:
    console.print()
    console.rule(Text(title, style="bold"), align="left", characters="-")
    console.print(sentence, highlight=False)


def _say_data(console: Console, split: digits.Split) -> None:
    _heading(
        console,
        "1. Data",
        f"{len(split.train_images):,} images of handwritten digits to learn from, "
        f"{len(split.test_images)} held back for the test.",
    )
    image = (split.test_images[0].reshape(8, 8) * 4).astype(int)
    for row in image:
        console.print("    " + "".join(" .+#@"[level] * 2 for level in row), highlight=False, markup=False)
    console.print(f"    (a {split.test_labels[0]})", highlight=False)


def _show_step(console: Console) -> None:
    _heading(console, "2. Program", "This is all that a user writes: plain Python under @gf.function.")
    source = inspect.getsource(Model.step.python_function)
    if console.is_terminal:
        console.print(Syntax(source, "python", dedent=True, background_color="default"))
    else:
        console.print(inspect.cleandoc(source), markup=False, highlight=False)


def _first_call(console: Console, model: Model, images: Any, labels: Any) -> None:
    _heading(
        console,
        "3. Compilation",
        "The first call runs the Python once to trace a graph, then compiles it to one native function.",
    )
    begin = time.perf_counter()
    concrete = model.step.get_concrete_function(images, labels)
    executable = concrete.executable
    elapsed = time.perf_counter() - begin
    console.print(
        f"Traced {len(executable.traced.nodes)} nodes and compiled them in {elapsed * 1e3:.0f} ms "
        f"(a later process finds the machine code in the cache).",
        highlight=False,
    )
    table = Table("pass", "nodes before", "after", "rewrites", "ms", box=None, pad_edge=False)
    for stage in executable.stages[1:]:
        table.add_row(
            stage.name,
            str(stage.nodes_before),
            str(stage.nodes_after),
            str(stage.rewrites),
            f"{stage.milliseconds:.2f}",
        )
    console.print(table)


def _train(console: Console, model: Model, split: digits.Split, epochs: int, seed: int) -> float:
    _heading(
        console,
        "4. Training",
        f"Adam on batches of {BATCH}: forward pass, gradients and update are one native call a step.",
    )
    random = np.random.default_rng(seed)
    steps = len(split.train_images) // BATCH
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
    )
    begin = time.perf_counter()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs, loss=float("nan"))
        for _ in range(epochs):
            losses = []
            for rows in random.permutation(len(split.train_images))[: steps * BATCH].reshape(steps, BATCH):
                losses.append(model.step(gf.constant(split.train_images[rows]), gf.constant(split.train_labels[rows])))
            progress.update(task, advance=1, loss=float(np.mean([float(loss) for loss in losses])))
    elapsed = time.perf_counter() - begin
    accuracy = float(model.accuracy(gf.constant(split.test_images), gf.constant(split.test_labels)))
    console.print(
        f"{epochs * steps} steps in {elapsed:.2f} s. Accuracy on the held-back images: [bold]{accuracy:.1%}[/bold] "
        f"(wanted: at least {REQUIRED_ACCURACY:.0%}).",
        highlight=False,
    )
    return accuracy


def _show_graph(console: Console, model: Model, images: Any, labels: Any, full: bool) -> None:
    executable = model.step.get_concrete_function(images, labels).executable
    backward = sum(node.source.backward for node in executable.traced.nodes)
    _heading(
        console,
        "5. Graph",
        f"The traced graph has {len(executable.traced.nodes)} nodes; {backward} of them are the gradient, each marked "
        f"with the line that it is the backward of. The passes leave {len(executable.graph.nodes)}.",
    )
    lines = 10_000 if full else 24
    for title, stage in (("Before the passes", "traced"), ("After the passes", "final")):
        console.print(f"\n{title}:", style="bold")
        _print_ir(console, model.step.ir(images, labels, stage=stage), lines)


def _print_ir(console: Console, text: str, most: int) -> None:
    """The first `most` lines from the graph's body on, each cut to the console's width, the source line at the end."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(") -> ") or line.endswith("{")), 0)
    shown = lines if most > len(lines) else lines[first + 1 :][:most]
    code_width = min(max(len(line.split("  # ")[0].rstrip()) for line in shown), console.width * 3 // 5)
    for line in shown:
        code, mark, source = line.partition("  # ")
        text_line = Text(code.rstrip().ljust(code_width) if mark else code)
        if mark:
            text_line.append("  # " + source, style="dim")
        text_line.truncate(console.width, overflow="ellipsis")
        console.print(text_line, highlight=False, no_wrap=True)
    if len(shown) < len(lines):
        left = len(lines) - first - 1 - len(shown)
        console.print(
            f"  ... {left} lines more; `graphflow demo --full` prints all of them", style="dim", highlight=False
        )


def _show_kernels(console: Console, model: Model, images: Any, labels: Any) -> None:
    graph = model.step.get_concrete_function(images, labels).executable.graph
    nodes = list(_kernel_nodes(graph))
    _heading(
        console,
        "6. Kernels",
        f"The optimised step runs these {len(nodes)} kernels; fn.kernels(...) prints each as a loop nest.",
    )
    table = Table("#", "kernel", "results", "kB moved", "lines", box=None, pad_edge=False)
    for number, node in enumerate(nodes):
        results = ", ".join(str(value.type) for value in node.outputs)
        moved = sum(_bytes(value) for value in {*node.inputs, *node.outputs}) / 1e3
        places = {f"{'backward of ' if place.backward else ''}{place.line}": None for place in node.source.all()}
        table.add_row(str(number), _kernel_name(node), results, f"{moved:.1f}", ", ".join(places))
    console.print(table)


def _kernel_name(node: Any) -> str:
    body = node.attributes.get("body")
    if body is None:
        return str(node.op.name)
    names = [inner.op.name for inner in body.nodes if inner.op.name != "constant"]
    shown = " ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"fused: {shown}"


def _compare(console: Console, model: Model, images: Any, labels: Any) -> bool:
    _heading(console, "7. Eager against graph", "The same step, run op by op and as compiled, on the same batch.")
    executable = model.step.get_concrete_function(images, labels).executable
    eager, graph = traffic_of(executable.traced), traffic_of(executable.graph)
    eager_seconds = _seconds_per_step(lambda: Model.step.python_function(model, images, labels), 0.5)
    graph_seconds = _seconds_per_step(lambda: model.step(images, labels), 0.5)
    table = Table("", "eager", "graph", "eager / graph", box=None, pad_edge=False)
    table.add_row(
        "time per step",
        f"{eager_seconds * 1e6:,.0f} us",
        f"{graph_seconds * 1e6:,.0f} us",
        f"{eager_seconds / graph_seconds:.1f}",
    )
    table.add_row("kernels launched", str(eager.kernels), str(graph.kernels), f"{eager.kernels / graph.kernels:.1f}")
    table.add_row(
        "bytes moved",
        f"{eager.bytes_moved / 1e6:.2f} MB",
        f"{graph.bytes_moved / 1e6:.2f} MB",
        f"{eager.bytes_moved / graph.bytes_moved:.1f}",
    )
    console.print(table)
    verification = model.step.verify(images, labels)
    console.print(verification.message[:1].upper() + verification.message[1:] + ".", highlight=False)
    return bool(verification)


def _seconds_per_step(step: Callable[[], Any], budget: float) -> float:
    """Median seconds of a call, over as many calls as fit `budget` seconds (at least 5), after two that warm up."""
    step(), step()
    times: list[float] = []
    while len(times) < 5 or (sum(times) < budget and len(times) < 2000):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)

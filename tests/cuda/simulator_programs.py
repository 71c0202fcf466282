"""Runs programs on the CPU and, in Numba's CUDA simulator, on /GPU:0, and prints one JSON line for each: its name, and
what differs ("" if nothing does). Started by test_simulator.py with NUMBA_ENABLE_CUDASIM=1, which Numba reads when it
is imported.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

import graphflow as gf
import graphflow.ops  # registers the ops
from graphflow.compiler import compile_graph, generic_types, one_node_graph, runtime_error
from graphflow.dtypes import of_numpy
from graphflow.errors import GraphflowError
from graphflow.ir.dims import DimensionsMustAgree
from graphflow.ir.op import OPS, Control, Effect, Interleave, Library
from graphflow.passes.place_devices import GPU_LIBRARY

# The simulator's threads wait for each other in Python: the usual 5 ms between switches would be most of the time.
sys.setswitchinterval(1e-4)

RANDOM = np.random.default_rng(0)
SAMPLES_OF_AN_OP = 3


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "f":
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return False
        a, b = np.where(np.isnan(a), 0, a), np.where(np.isnan(b), 0, b)
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def outcome(function, arguments):
    """The results as arrays, or the error's text."""
    try:
        results = function(*map(gf.constant, arguments))
    except GraphflowError as error:
        return [], f"{type(error).__name__}: {error}".splitlines()[0]
    return [r.numpy() for r in (results if isinstance(results, (tuple, list)) else [results])], ""


def on(device, python_function):
    @gf.function
    def placed(*arguments):
        with gf.device(device):
            return python_function(*arguments)

    return placed


def compare(python_function, *arguments):
    """What differs between the two devices."""
    cpu, gpu = on("/CPU:0", python_function), on("/GPU:0", python_function)
    (expected, wrong), (found, also_wrong) = outcome(cpu, arguments), outcome(gpu, arguments)
    if wrong != also_wrong:
        return f"CPU: {wrong or expected}; GPU: {also_wrong or found}"
    if gpu.get_concrete_function(*map(gf.constant, arguments)).executable.backend != "cuda":
        return "it ran on the CPU"
    differing = [k for k, (a, b) in enumerate(zip(expected, found, strict=True)) if not same_bits(a, b)]
    return "".join(f"result {k}: {expected[k]} and {found[k]}; " for k in differing)


def normal(*shape, dtype=np.float32):
    return RANDOM.normal(size=shape).astype(dtype)


def integers(low, high, *shape, dtype=np.int32):
    return RANDOM.integers(low, high, size=shape).astype(dtype)


SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 1e-45, 1.2e-38, 3.4e38, -104.5, 88.9], np.float32)


def softmax(x):
    shifted = gf.exp(x - gf.reduce_max(x, axis=1, keepdims=True))
    return shifted / gf.reduce_sum(shifted, axis=1, keepdims=True)


def layer_norm(x):
    centred = x - gf.reduce_mean(x, axis=1, keepdims=True)
    return centred / gf.sqrt(gf.reduce_mean(centred * centred, axis=1, keepdims=True) + 1e-5)


def mixed(a, b):
    """Work on both devices and copies both ways."""
    with gf.device("/CPU:0"):
        c = gf.exp(a) * b
    d = gf.tanh(c) + a
    with gf.device("/CPU:0"):
        e = gf.reduce_sum(d, axis=0)
    return d * e, e


PROGRAMS = {
    "pointwise": lambda: compare(lambda x, y: gf.tanh(x * 2.0 + y) * gf.exp(x) - 1.0 / x, normal(5, 7), normal(7)),
    "special values": lambda: compare(
        lambda x: (gf.exp(x), gf.tanh(x), gf.sqrt(x), x * 3.0, gf.maximum(x, -x)), SPECIAL
    ),
    "pow and float64": lambda: compare(
        lambda x, y: gf.pow(gf.abs(x), y), normal(9, dtype=np.float64), normal(9, dtype=np.float64)
    ),
    "integers": lambda: compare(
        lambda a, b: (a // b, a % b, a * 100003 + b, gf.bitwise.bitwise_xor(a, b)),
        integers(-99, 99, 4, 5),
        integers(1, 9, 4, 5),
    ),
    "select and cast": lambda: compare(
        lambda x: (gf.where(x > 0.0, x, gf.zeros_like(x)), gf.cast(x * 1e10, gf.int32), gf.cast(x, gf.float64)),
        normal(6, 3),
    ),
    "several outputs": lambda: compare(lambda x: (gf.sin(x), gf.sin(x) * gf.cos(x), x > 0.5), normal(11)),
    "scalars": lambda: compare(lambda x: gf.tanh(x) + 1.0, np.float32(0.3)),
    "nothing": lambda: compare(
        lambda x: (x * 2.0, gf.reduce_sum(x, axis=1), gf.reduce_sum(x)), np.zeros((3, 0), np.float32)
    ),
    "rows": lambda: compare(lambda x: (gf.reduce_sum(x, axis=1), gf.reduce_max(x * x, axis=1)), normal(3, 150)),
    "rows of two dtypes": lambda: compare(
        lambda x: (gf.reduce_sum(gf.cast(x, gf.float64), axis=1), gf.reduce_max(x, axis=1)), normal(3, 9)
    ),
    "columns": lambda: compare(lambda x: gf.reduce_sum(x * x, axis=0), normal(300, 3)),
    "outer and inner axes": lambda: compare(lambda x: gf.reduce_sum(x, axis=(0, 2)), normal(3, 2, 5)),
    "everything": lambda: compare(lambda x: (gf.reduce_sum(x), gf.reduce_min(x)), normal(9001)),
    "positions": lambda: compare(lambda x: (gf.argmax(x, axis=1), gf.argmin(x, axis=0)), normal(3, 5)),
    "softmax": lambda: compare(softmax, normal(2, 70)),
    "layer norm": lambda: compare(layer_norm, normal(2, 70)),
    "matmul": lambda: compare(lambda a, b: gf.matmul(a, b, transpose_b=True), normal(2, 3, 4), normal(5, 4)),
    "gather": lambda: compare(lambda x, i: gf.gather(x, i), normal(5, 3), np.array([4, 0, 4], np.int32)),
    "gather out of range": lambda: compare(lambda x, i: gf.gather(x, i), normal(5, 3), np.array([4, 5, 9], np.int32)),
    "division by zero": lambda: compare(
        lambda a, b: a + a // b, integers(1, 9, 6), np.array([1, 2, 0, 1, 0, 3], np.int32)
    ),
    "concat": lambda: compare(lambda a, b: gf.concat([a, b * 2.0], axis=1), normal(3, 2), normal(3, 4)),
    "mixed devices": lambda: compare(mixed, normal(4, 3), normal(4, 3)),
}


def symbolic_extents():
    """One trace serves several sizes."""
    cpu, gpu = (on(d, lambda x: (softmax(x), gf.reduce_sum(x, axis=0))) for d in ("/CPU:0", "/GPU:0"))
    for rows in (2, 1, 3):
        x = normal(rows, 6)
        for a, b in zip(outcome(cpu, [x])[0], outcome(gpu, [x])[0], strict=True):
            if not same_bits(a, b):
                return f"{rows} rows: {a} and {b}"
    return "" if gpu.experimental_get_tracing_count() == 2 else "it was traced for every size"


def training(make_optimizer):
    """A step of a classifier: forward, tape, update; the losses and all variables after three batches of two sizes."""

    def run(device):
        random = np.random.default_rng(1)
        variables = [
            gf.Variable((0.3 * random.normal(size=s)).astype(np.float32)) for s in ((6, 5), (5,), (5, 3), (3,))
        ]
        w0, b0, w1, b1 = variables
        optimizer = make_optimizer()

        @gf.function
        def step(x, labels):
            with gf.device(device):
                with gf.GradientTape() as tape:
                    hidden = gf.nn.relu(gf.matmul(x, w0) + b0)
                    logits = gf.matmul(hidden, w1) + b1
                    loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
                optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        found = []
        for rows in (4, 2, 3):
            x, labels = (
                random.normal(size=(rows, 6)).astype(np.float32),
                random.integers(0, 3, size=rows).astype(np.int32),
            )
            found.append(step(gf.constant(x), gf.constant(labels)).numpy())
        return [*found, *(v.numpy() for v in variables)]

    pairs = zip(run("/CPU:0"), run("/GPU:0"), strict=True)
    return "".join(f"{k}: {a} and {b}; " for k, (a, b) in enumerate(pairs) if not same_bits(a, b))


def state():
    """Reads first, writes last: a swap swaps, a read after a write sees it, a failed call changes nothing."""
    first, second = gf.Variable(np.array([1, 2, 3], np.int32)), gf.Variable(np.array([4, 5, 6], np.int32))

    @gf.function
    def swap():
        with gf.device("/GPU:0"):
            old = first.value()
            first.assign(second.value())
            second.assign(old)
            return first * 10

    @gf.function
    def divide(by):
        with gf.device("/GPU:0"):
            first.assign_add(by)
            seen = first * 1
            second.assign(second // by)
            return seen

    def held():
        return [first.numpy().tolist(), second.numpy().tolist()]

    if swap().numpy().tolist() != [40, 50, 60] or held() != [[4, 5, 6], [1, 2, 3]]:
        return f"after the swap: {held()}"
    if divide(gf.constant([1, 1, 2])).numpy().tolist() != [5, 6, 8] or held() != [[5, 6, 8], [1, 2, 1]]:
        return f"after the division: {held()}"
    try:
        divide(gf.constant([1, 0, 2]))
    except ZeroDivisionError as error:
        return "" if held() == [[5, 6, 8], [1, 2, 1]] and "at [1]" in str(error) else f"{error}, then {held()}"
    return "no error"


def effects():
    """print runs on the host in order; assert fails the call and leaves the variable alone."""
    seen = gf.Variable(np.float32(0))

    @gf.function
    def checked(x):
        with gf.device("/GPU:0"):
            y = x * 2.0
            gf.print("y is", y)
            gf.Assert(gf.reduce_all(y > 0.0), [y])
            seen.assign(y)
            return y

    if checked(gf.constant(1.0)).numpy() != 2 or seen.numpy() != 2:
        return "a wrong result"
    try:
        checked(gf.constant(-1.0))
    except AssertionError:
        return "" if seen.numpy() == 2 else "a failed call changed a variable"
    return "no error"


def threads():
    """Two Python threads call one function at once."""
    from concurrent.futures import ThreadPoolExecutor

    double = on("/GPU:0", lambda x: gf.tanh(x) * 2.0)
    arrays = [normal(4) for _ in range(6)]
    double(gf.constant(arrays[0]))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda x: double(gf.constant(x)).numpy(), arrays))
    wrong = [k for k, x in enumerate(arrays) if not same_bits(double(gf.constant(x)).numpy(), found[k])]
    return f"calls {wrong} differ" if wrong else ""


PROGRAMS |= {
    "symbolic extents": symbolic_extents,
    "training with SGD": lambda: training(lambda: gf.optimizers.SGD(0.1)),
    "training with Adam": lambda: training(lambda: gf.optimizers.Adam(0.01)),
    "state": state,
    "effects": effects,
    "threads": threads,
}


# Samples of every op -----------------------------------------------------------------------------------------------


def run_sample(op, sample, device):
    """(the back end, the run-time error's text, the results) of one op on its sample."""
    arrays = [np.ascontiguousarray(a).reshape(np.shape(a)) for a in map(np.asarray, sample.arrays)]
    types, extents = generic_types([a.shape for a in arrays], [of_numpy(a.dtype) for a in arrays])
    graph = one_node_graph(op, types, sample.attributes)
    graph.nodes[0].device = device
    executable = compile_graph(graph)
    binding = executable.bind({}, extents)
    shapes = executable.output_shapes(extents)
    results = [np.empty(s, v.type.dtype.numpy) for s, v in zip(shapes, executable.graph.outputs, strict=True)]
    status = binding.call(*arrays, *results)
    return executable.backend, str(runtime_error(binding, status)) if status else "", results


def op_samples(op):
    """What differs on a few of the op's samples."""
    every = [s for s in op.samples() if s.arrays and not any(np.asarray(a).dtype.kind in "cV" for a in s.arrays)]
    every = [s for s in every if not any(getattr(v, "is_narrow", False) for v in s.attributes.values())]
    every = [s for s in every if s.error is None or not issubclass(s.error, (TypeError, ValueError))]
    for sample in every[:: max(1, len(every) // SAMPLES_OF_AN_OP)]:
        try:
            _, wrong, expected = run_sample(op, sample, "CPU:0")
        except (DimensionsMustAgree, GraphflowError):
            continue  # its attributes name extents: not a sample for the kernel of every size
        backend, also_wrong, found = run_sample(op, sample, "GPU:0")
        shown = f"{[(np.shape(a), np.asarray(a).dtype.name) for a in sample.arrays]} {sample.attributes}"
        if backend != "cuda":
            return f"{shown}: it ran on the CPU"
        if wrong != also_wrong:
            return f"{shown}: CPU: {wrong}; GPU: {also_wrong}"
        if not wrong and not all(same_bits(a, b) for a, b in zip(expected, found, strict=True)):
            return f"{shown}: {expected} and {found}"
    return ""


def ops_with_samples():
    """All but those whose one kernel is written by hand for the CPU, and those that make complex numbers: these stay on the CPU."""
    return [
        op
        for op in OPS.values()
        if op.samples is not None
        and not isinstance(op.kernel, (Control, Effect, Interleave))
        and op.name not in ("complex", "fused")
        and not (isinstance(op.kernel, Library) and op.kernel.name not in GPU_LIBRARY)
    ]


def main():
    with gf.config.override(check=True):
        for name, program in PROGRAMS.items():
            report(name, program)
    for op in ops_with_samples():
        report(f"samples of {op.name}", lambda op=op: op_samples(op))


def report(name, program):
    start = time.perf_counter()
    try:
        problem = program()
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    print(json.dumps({"name": name, "problem": problem, "seconds": round(time.perf_counter() - start, 2)}), flush=True)


if __name__ == "__main__":
    main()

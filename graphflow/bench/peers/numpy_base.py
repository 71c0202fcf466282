"""Base lines: what the machine needs for the bytes, or for the matrix products, of a workload alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from graphflow.bench.workloads import Arrays, Program, Workload

_threads = 1


def start(threads: int) -> dict[str, str]:
    """Remember the thread count; NumPy's BLAS was told through the environment."""
    global _threads
    _threads = threads
    return {"numpy": np.__version__}


def build(contender: str, workload: Workload, inputs: Arrays) -> Program:
    """`copy`: reads and writes the workload's bytes on `threads` threads. `blas`: its matrix products alone."""
    return _copy(inputs["x"]) if contender == "copy" else _matrix_products(inputs)


def _copy(source: np.ndarray) -> Program:
    target = np.zeros_like(source)
    pool = ThreadPoolExecutor(_threads)
    pieces = list(zip(np.array_split(target, _threads), np.array_split(source, _threads), strict=True))

    def run(count: int) -> None:
        if _threads == 1:
            for _ in range(count):
                np.copyto(target, source)
            return
        for _ in range(count):
            # np.copyto releases the interpreter lock, so the pieces are copied at the same time.
            for waiting in [pool.submit(np.copyto, to, piece) for to, piece in pieces]:
                waiting.result()

    return Program(run, lambda: {"y": target})


def _matrix_products(inputs: Arrays) -> Program:
    x, w0, w1, w2 = (inputs[name] for name in ("x", "w0", "w1", "w2"))
    h0, h1, logits = x @ w0, np.zeros((len(x), w1.shape[1]), np.float32), np.zeros((len(x), w2.shape[1]), np.float32)
    d1, d0 = np.zeros_like(h1), np.zeros_like(h0)
    dw0, dw1, dw2 = np.zeros_like(w0), np.zeros_like(w1), np.zeros_like(w2)

    def run(count: int) -> None:
        for _ in range(count):
            np.matmul(x, w0, out=h0)
            np.matmul(h0, w1, out=h1)
            np.matmul(h1, w2, out=logits)
            np.matmul(h1.T, logits, out=dw2)
            np.matmul(logits, w2.T, out=d1)
            np.matmul(h0.T, d1, out=dw1)
            np.matmul(d1, w1.T, out=d0)
            np.matmul(x.T, d0, out=dw0)

    return Program(run, lambda: {"logits": logits})

"""The text of docs/ops.md: the table of ops x checks."""

from __future__ import annotations

from collections import Counter

from graphflow.dtypes import DType
from graphflow.ir.op import Effect, Library, Op
from graphflow.ops.samples import complex_samples

from .symbolic import FIXED, scenarios, symbolic_samples
from .table import (
    COMPLEX,
    DTYPES,
    EVERY_OP,
    accepted_dtypes,
    bad_samples,
    dtype_samples,
    good_samples,
    gradient_samples,
    holds_program,
    takes_everything,
)

HEAD = """# Ops and their checks

This file is written by `python tools/op_table.py`; a test fails where it is stale. An op is one record
([adding-an-op.md](adding-an-op.md)), and each check runs on samples that the record has, chosen by `tests/ops/table.py` and
`tests/ops/symbolic.py`. A number is that of the samples that the check runs on.

- **dtypes**: those that the type rule takes. `b1` is bool; all: floats, ints, bool and complex.
- **samples** (`tests/ops/test_samples.py`): eager mode against the reference (NumPy, SciPy), graph against eager bit for bit, with what is
  printed and written to variables.
- **errors** (there too): samples that must fail, in both modes, with the stated class and the user's line (but for graphs that are
  made wrong). *none can*: the type rule takes every tensor.
- **other dtypes** (`tests/ops/test_dtypes.py`): the samples in the dtypes that they lack, with edge values where the op takes every number:
  eager against the reference, graph against eager bit for bit.
- **complex** (`tests/complex/test_ops.py`): the same for complex numbers, and their gradients.
- **gradient** (`tests/ops/test_samples.py`): samples in float64 against central differences, first and second order. *rule*: the gradient
  is not one of a single real result (tests/linalg, tests/complex, tests/autodiff check it), or zero. A text: why there is none.
- **symbolic** (`tests/ops/test_symbolic.py`): samples x extents. One compilation for unknown extents does what eager mode does at the
  samples' own, at 0, 1, 2, 17 and 1000, and at each of these beside others: the same bits or the same error.
- **numbers**: extents that have to be known, or why there is no symbolic case.

"""

REASONS = {
    "while": "as its sub-graphs say",
    "switch": "as its sub-graphs say",
    "call": "as its sub-graph says",
    "fused": "as its sub-graph says",
    "python_call": "as `shapes` says",
    "fourier_table": "made for a length: tests/signal",
    "runtime_range": "makes an extent: tests/test_runtime_extents.py",
    "constant": "its value's",
    "read_variable": "the variable's",
    "assign_variable": "the variable's",
}


def render() -> str:
    rows = [row(op) for op in sorted(EVERY_OP, key=lambda op: op.name)]
    kinds = Counter(kind_of(op) for op in EVERY_OP)
    every = [sum(counts(op)[k] for op in EVERY_OP) for k in range(6)]
    summary = (
        f"{len(rows)} ops: {', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}. Samples: {every[0]} good, {every[1]} bad, "
        f"{every[2]} in other dtypes, {every[3]} complex, {every[4]} with gradients, {every[5]} symbolic. Records without samples: "
        f"{sum(not good_samples(op) for op in EVERY_OP)}.\n\n"
    )
    head = "| op | kernel | dtypes | samples | errors | other dtypes | complex | gradient | symbolic | numbers |"
    return HEAD + summary + "\n".join([head, "| --- " * 10 + "|", *rows]) + "\n"


def counts(op: Op) -> tuple[int, int, int, int, int, int]:
    symbolic = sum(len(scenarios(case)) for case in symbolic_samples(op))
    return (
        len(good_samples(op)), len(bad_samples(op)), len(dtype_samples(op)), len(complex_samples(op)), sum(1 for _ in gradient_samples(op)),
        symbolic,
    )  # fmt: skip


def row(op: Op) -> str:
    good, bad, others, complexes, slopes, symbolic = counts(op)
    gradient = op.no_gradient if op.gradient is None else str(slopes) if slopes else "rule"
    errors = str(bad) if bad else "none can" if op.operands and takes_everything(op) else "-"
    cells = [
        f"`{op.name}`", kind_of(op), dtype_names(accepted_dtypes(op)), str(good), errors, str(others or "-"),
        str(complexes or "-"), gradient,
        f"{len(symbolic_samples(op))} x {symbolic // len(symbolic_samples(op))}" if symbolic else "-", numbers(op),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def kind_of(op: Op) -> str:
    """The kind of kernel."""
    kernel = op.kernel
    name = type(kernel).__name__.lower()
    return (
        f"{name} ({kernel.name})"
        if isinstance(kernel, Library) and kernel.name != op.name
        else (f"{name} ({kernel.kind})" if isinstance(kernel, Effect) else name)
    )


def dtype_names(dtypes: tuple[DType, ...]) -> str:
    """The groups that are whole, and the short names of the rest."""
    rest = set(dtypes)
    groups = {
        "all": {*DTYPES, *COMPLEX},
        "floats": {d for d in DTYPES if d.is_floating},
        "ints": {d for d in DTYPES if d.is_integer},
        "complex": set(COMPLEX),
    }
    found = []
    for name, group in groups.items():
        if group <= rest:
            found.append(name)
            rest -= group
    return " ".join([*found, *(d.short for d in dtypes if d in rest)])


def numbers(op: Op) -> str:
    """Axes that have to be known. An extent of 1 that is broadcast is not told."""
    cases = symbolic_samples(op)
    if not cases:
        if op.name in REASONS:
            return REASONS[op.name]
        return "as its graph says" if all(map(holds_program, good_samples(op))) else "no extents"
    found: dict[str, None] = {}
    for case in cases:
        for operand, axis in case.known:
            array = case.sample.arrays[operand]
            if array.shape[axis] != 1:
                name = op.operands[min(operand, len(op.operands) - 1)].removeprefix("*")
                found[f"`{name}[{axis - array.ndim}]`"] = None
    if op.name in FIXED:
        found["(a table for one length; unknown ones: tests/signal)"] = None
    if "sizes" in op.attributes and op.name != "strided_slice":
        found["sizes of windows"] = None
    return " ".join(found) or "-"

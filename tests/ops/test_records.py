"""Every op's record is whole: samples that run and samples that fail, a gradient or a reason, a reference,
documentation."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import graphflow.ops
from graphflow.dtypes import of_numpy
from graphflow.errors import InvalidArgumentError
from graphflow.ir.dims import SymbolicDim
from graphflow.ir.op import OPS, Effect, Indexed, Op, Pointwise, Reduce, View, define_op
from graphflow.ir.types import TensorType

from .document import render
from .table import (
    EVERY_OP,
    accepted_dtypes,
    bad_samples,
    good_samples,
    references,
    samples_of,
    takes_everything,
    types_of,
)

every_op = pytest.mark.parametrize("op", EVERY_OP, ids=lambda op: op.name)


@every_op
def test_has_documentation_and_a_gradient_or_the_reason_for_none(op: Op) -> None:
    assert op.documentation.strip().endswith(".")
    assert (op.gradient is None) == bool(op.no_gradient)


def test_no_record_is_without_samples_or_a_reference() -> None:
    assert [op.name for op in EVERY_OP if not good_samples(op) or op.reference is None] == []


@every_op
def test_some_samples_fail(op: Op) -> None:
    """Unless the type rule takes every tensor, so that none can."""
    if op.operands and not bad_samples(op):
        assert takes_everything(op), "no sample that must fail"


@every_op
def test_type_rule_agrees_with_the_reference(op: Op) -> None:
    assert op.reference is not None
    for sample in samples_of(op):
        if sample.error is not None:
            with pytest.raises(sample.error):
                op.result_types(types_of(sample), {**op.attribute_defaults, **sample.attributes})
                references(op, sample)
            continue
        results = op.result_types(types_of(sample), {**op.attribute_defaults, **sample.attributes})
        for result, expected in zip(results, references(op, sample), strict=sample.program is None):
            assert (result.dtype, result.rank) == (of_numpy(expected.dtype), expected.ndim)
            assert all(isinstance(d, SymbolicDim) or d == e for d, e in zip(result.shape, expected.shape, strict=True))


@every_op
def test_samples_are_of_more_than_one_dtype(op: Op) -> None:
    """Single and double precision, or all that there is: the checks of dtypes make the others from these."""
    dtypes = accepted_dtypes(op)
    floats = {d.name for d in dtypes if d.is_floating and not d.is_narrow}
    assert floats in ({"float32", "float64"}, set()), f"{op.name} takes {dtypes}"


@every_op
def test_attributes_are_the_kernel_functions_keywords(op: Op) -> None:
    """A misspelt attribute would otherwise show only when a kernel is built."""
    kernel = op.kernel
    function = (
        kernel.emit if isinstance(kernel, (Pointwise, Indexed)) else kernel.map if isinstance(kernel, View) else None
    )
    if function is None:
        return
    parameters = inspect.signature(function).parameters.values()
    keywords = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    assert set(op.attributes) <= keywords


@every_op
def test_reductions_declare_what_the_kernel_level_needs(op: Op) -> None:
    if isinstance(op.kernel, Reduce):
        assert "axes" in op.attributes or "axis" in op.attributes
        assert (op.kernel.combine is None) == (op.kernel.better is not None)


def test_the_table_of_ops_and_checks_is_not_stale() -> None:
    text = (Path(__file__).parents[2] / "docs" / "ops.md").read_text(encoding="utf-8")
    assert text == render(), "run python tools/op_table.py"


def test_every_op_is_exported_under_its_name() -> None:
    for op in EVERY_OP:
        assert any(getattr(graphflow.ops, n, None) is op for n in (op.name, f"{op.name}_")), op.name
    assert set(graphflow.ops.__all__) == {
        n for n in vars(graphflow.ops) if isinstance(getattr(graphflow.ops, n), Op)
    } | {"OPS"}


def test_an_op_cannot_be_defined_twice_or_without_a_word_on_its_gradient() -> None:
    with pytest.raises(ValueError, match="twice"):
        define_op("add", infer=lambda types: types[0], kernel=Effect("read"), no_gradient="none")
    with pytest.raises(ValueError, match="gradient rule or a no_gradient reason"):
        define_op("undefined", infer=lambda types: types[0], kernel=Effect("read"))


def test_ops_import_no_compiler() -> None:
    code = (
        "import graphflow.ops, sys; "
        "print([m for m in ('numba', 'llvmlite', 'scipy', 'numpy.random', 'graphflow.kernels') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_type_rules_name_op_requirement_and_both_operands() -> None:
    a, b = (TensorType(of_numpy(np.dtype("float32")), shape) for shape in ((8, 4), (5, 2)))
    with pytest.raises(
        ValueError, match=r"matmul: inner sizes must match, got a: f32\[8,4\] and b: f32\[5,2\] \(4 and 5\)"
    ):
        OPS["matmul"].result_types((a, b), {"transpose_a": False, "transpose_b": False})
    with pytest.raises(InvalidArgumentError, match=r"add: shapes must broadcast, got f32\[8,4\] and f32\[5,2\]"):
        OPS["add"].result_types((a, b), {})
    with pytest.raises(TypeError, match=r"add: operands must have one dtype, got f32\[8,4\] and i32\[8,4\].*gf.cast"):
        OPS["add"].result_types((a, TensorType(of_numpy(np.dtype("int32")), (8, 4))), {})


def test_the_example_of_the_documentation_runs() -> None:
    """The code of docs/adding-an-op.md, in a process of its own because it defines an op."""
    text = (Path(__file__).parents[2] / "docs" / "adding-an-op.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    checks = (
        "from graphflow.errors import DTypeError\n"
        "for s in hypot.samples():\n"
        "    try:\n"
        "        found = hypot(*map(gf.constant, s.arrays))\n"
        "    except s.error or ():\n"
        "        continue\n"
        "    assert s.error is None\n"
        "    np.testing.assert_allclose(found, hypot.reference(*s.arrays), rtol=3e-7)\n"
        "print(public_hypot(3.0, 4.0).numpy())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "example.py"  # a file: the errors and the IR name the user's lines
        script.write_text("\n".join(blocks) + checks)
        result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "gf.Tensor([ 5. 13.], shape=(2,), dtype=float32)"
    assert lines[1].startswith("gf.Tensor(18.0")
    assert lines[-1] == "5.0"

"""Printed programs under the simulator's primitives equal LLVM bit for bit; with numba-cuda, PTX has no contraction."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_math import compiled, measure, same  # the same folder: pytest puts it on the path

from graphflow.dtypes import (
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from graphflow.kernels import math as library
from graphflow.kernels.python_source import constant, primitive_names, print_program
from graphflow.kernels.scalar import ScalarBuilder
from graphflow.runtime.cuda import primitives_simulator as simulator

INTEGERS = [int8, int16, int32, int64, uint8, uint16, uint32, uint64]
INF, NAN = np.inf, np.nan


def python_function(roots):
    """The printed program as a Python function of NumPy scalars."""
    lines, results = print_program(roots, lambda leaf: f"p{leaf.data}")
    count = 1 + max(int(name) for line in lines for name in re.findall(r"\bp(\d+)\b", line))
    body = "\n    ".join([*lines, f"return {', '.join(results)},"])
    names = {name: getattr(simulator, name) for name in primitive_names(roots)}
    exec(f"def program({', '.join(f'p{k}' for k in range(count))}):\n    {body}\n", names)
    return names["program"]


def check(roots, dtypes, arguments, lanes=4):
    """LLVM and printed source on the same arguments."""
    llvm = measure.compile_program(roots, dtypes, lanes)
    program = python_function(roots)
    expected = llvm(*arguments)
    if len(roots) == 1:
        expected = [expected]
    rows = [program(*row) for row in zip(*arguments, strict=True)]
    for k, root in enumerate(roots):
        got = np.array([row[k] for row in rows], root.dtype.numpy)
        assert same(got, expected[k]), (
            k,
            [a for a, g, e in zip(arguments[0], got, expected[k], strict=True) if not same(g, e)],
        )


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", library.__all__)
def test_math_function(name, dtype):
    """Every function of the math library at random and edge points."""
    operands = measure.CASES[name].operands
    specials = np.array([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN], dtype.numpy)
    points = np.concatenate(
        [measure.edges(dtype)[::4], specials, measure.every_binade(dtype, 1, 21)[:: 8 if dtype is float32 else 64]]
    )
    mixed = [points] if operands == 1 else [points, np.random.default_rng(22).permutation(points)]
    arguments = [np.concatenate(pair) for pair in zip(mixed, measure.ordinary(name, dtype, 40, 23), strict=True)]
    function = compiled(name, dtype)
    program = python_function(function.roots)
    got = np.array([program(*row)[0] for row in zip(*arguments, strict=True)], dtype.numpy)
    assert same(got, function(*arguments))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_float_operations(dtype):
    """Each operation alone, on all pairs of edge values: f32 stays f32, fma has one rounding, division and root are
    IEEE."""
    kind = dtype.numpy.type
    base = [0.0, -0.0, 1.0, -1.0, 0.1, 2.5, -3.5, 0.5, 1.5, INF, -INF, NAN, np.finfo(kind).max, np.finfo(kind).tiny,
            np.finfo(kind).smallest_subnormal, 1e10, -7e-5, 3.0]  # fmt: skip
    x, y = (a.ravel() for a in np.meshgrid(np.array(base, kind), np.array(base, kind)))
    s = ScalarBuilder()
    a, b = s.parameter(0, dtype), s.parameter(1, dtype)
    binary = [
        s.make(name, a, b) for name in ("add", "sub", "mul", "div", "copysign", "eq", "ne", "lt", "le", "gt", "ge")
    ]
    unary = [s.make(name, a) for name in ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint")]
    others = [s.fma(a, b, a), s.fma(a, a, -b), s.select(a < b, a, b), s.maximum(a, b)]
    check([*binary, *unary, *others], [dtype, dtype], [x, y])


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_operations(dtype):
    """Wrap-around, shifts, comparisons, truncated division."""
    information = np.iinfo(dtype.numpy)
    base = np.array(
        [0, 1, 2, 3, 7, 100, information.max, information.max - 1, information.min, information.min + 1], dtype.numpy
    )
    x, y = (a.ravel() for a in np.meshgrid(base, base))
    s = ScalarBuilder()
    a, b = s.parameter(0, dtype), s.parameter(1, dtype)
    bits = dtype.itemsize * 8
    amount = b & (bits - 1)
    roots = [
        s.make(name, a, b) for name in ("add", "sub", "mul", "and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge")
    ]
    roots += [s.make(name, a, amount) for name in ("shl", "lshr", "ashr")]
    roots += [s.make("neg", a), s.make("not", a), s.select(a < b, a, b)]
    if dtype.kind == "int":
        roots.append(s.abs(a))
    # the divisor is made odd, so never 0; minimum / -1 overflows in C and LLVM and is kept out
    divisor = s.select((b | 1).equal(-1 if dtype.kind == "int" else 0), 3, b | 1)
    roots += [s.make("quotient", a, divisor), s.make("remainder", a, divisor)]
    check(roots, [dtype, dtype], [x, y])


@pytest.mark.parametrize("start", [*INTEGERS, float16, float32, float64], ids=str)
def test_conversions(start):
    """Saturating float to integer with NaN -> 0, wrapping integer to integer, one rounding to floats, to bool,
    bitcasts."""
    if start.is_floating:
        values = [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 127.5, 128.0, -129.0, 255.9, 256.0, 65504.0, INF, -INF, NAN]
        if start is not float16:
            values += [3e9, -3e9, 1e19, -1e19, 2.0**31, -(2.0**31), 2.0**63, 2.0**64, 65520.0, 1e-7, 1e30]
        points = np.array(values, start.numpy)
    else:
        information = np.iinfo(start.numpy)
        points = np.array(
            [0, 1, 100, information.max, information.min, information.max // 3, information.max - 64], start.numpy
        )
    s = ScalarBuilder()
    x = s.parameter(0, start)
    targets = [d for d in (*INTEGERS, float32, float64) if d is not start]
    roots = [s.convert(x, d) for d in targets] + [s.convert(x, bool_)]
    if start is float32:  # f64 -> f16 needs a library function on x86
        roots.append(s.convert(x, float16))
    twins = {float32: int32, float64: int64, int32: float32, int64: float64, uint32: int32, uint64: float64}
    if start in twins:
        roots.append(s.bitcast(x, twins[start]))
    check(roots, [start], [points])


def test_integer_to_f32_rounds_once():
    """2^53 + 2^29 + 1 goes up, 2^53 + 2^29 to even: through f64 both would be the tie."""
    s = ScalarBuilder()
    points = np.array([2**53 + 2**29 + 1, 2**53 + 2**29, 2**53 + 3 * 2**29, -(2**53) - 2**29 - 1, 2**62 + 2**38 + 1])
    check([s.convert(s.parameter(0, int64), float32)], [int64], [points])


def test_narrow_floats():
    """f16 and bf16 (as 16 bits): one rounding to nearest even from f32, f64 and integers; exact on the way back."""
    import ml_dtypes

    points = np.random.default_rng(24).normal(size=300) * 10.0 ** np.random.default_rng(25).uniform(-12, 12, 300)
    # ties of f16 and bf16, and numbers just beside them, where a second rounding would show
    points = np.concatenate(
        [points, [1 + 2**-11, 1 + 2**-11 + 2**-40, 1 + 2**-8, 1 + 2**-8 + 2**-40, 1 + 3 * 2**-9, INF, NAN, 0.0]]
    )
    for value in points:
        expected = np.float64(value).astype(np.float32) if value != value else value
        with np.errstate(over="ignore"):
            assert same(simulator.convert_f64_f16(np.float64(value)), np.float64(expected).astype(np.float16))
        wide = np.float32(value)
        got = simulator.convert_f32_bf16(wide)
        assert same(simulator.convert_bf16_f32(got), np.float32(wide.astype(ml_dtypes.bfloat16)))
    exact = [1 + 2**-8 + 2**-40, -(1 + 2**-8 + 2**-40), 1 + 2**-8 - 2**-40]
    assert [float(simulator.convert_bf16_f64(simulator.convert_f64_bf16(np.float64(v)))) for v in exact] == [
        1.0078125, -1.0078125, 1.0]  # fmt: skip
    assert (
        float(simulator.convert_bf16_f32(simulator.convert_i64_bf16(np.int64(2**62 + 2**54 + 1)))) == 2.0**62 + 2.0**55
    )
    assert simulator.lt_bf16(simulator.convert_f32_bf16(np.float32(1)), simulator.convert_f32_bf16(np.float32(2)))
    assert simulator.gt_f16(np.float16(2), np.float16(1)) and not simulator.eq_f16(np.float16(NAN), np.float16(NAN))


def test_constants_read_back():
    """Every constant's text gives its bits."""
    names = vars(simulator)
    for dtype in (float32, float64):
        for value in (0.1, -0.0, 1e-45, 5e-324, 3.4e38, INF, -INF, NAN, 1 / 3):
            value = float(dtype.numpy.type(value)) if abs(value) < 1e38 or dtype is float64 else value
            got = eval(constant(value, dtype), dict(names))
            assert type(got) is dtype.numpy.type
            assert same(got, dtype.numpy.type(value))
    for dtype in INTEGERS:
        information = np.iinfo(dtype.numpy)
        for value in (information.min, information.max, 0, 1):
            got = eval(constant(value, dtype), dict(names))
            assert type(got) is dtype.numpy.type and got == value
    assert constant(True, bool_) == "True"
    assert constant(1.0, bfloat16) == "uint16(16256)"


def test_text_and_names():
    s = ScalarBuilder()
    x = s.parameter(0, float32)
    root = s.fma(x, 0.5, x * x)
    lines, results = print_program([root, x], lambda leaf: "a[i]")
    assert lines == ["v0 = a[i]", "v2 = mul_f32(v0, v0)", "v3 = fma_f32(v0, float32(0.5), v2)"]
    assert results == ["v3", "v0"]
    assert primitive_names([root]) == {"mul_f32", "fma_f32", "float32"}
    # a second call continues the first
    known: dict[int, str] = {}
    print_program([x], lambda leaf: "a[i]", known=known, prefix="t")
    lines, _ = print_program([root], lambda leaf: "a[i]", known=known, prefix="t")
    assert lines == ["t2 = mul_f32(t0, t0)", "t3 = fma_f32(t0, float32(0.5), t2)"]


def test_compound_leaves():
    s = ScalarBuilder()
    x = s.parameter(0, float32)
    checked = s.check(x, x > 0.0, "positive")
    with pytest.raises(TypeError, match="compound"):
        print_program([checked], lambda leaf: "x")
    lines, _ = print_program(
        [checked], lambda leaf: "x", lambda scalar, operands: f"check({operands[0]}, {operands[1]})"
    )
    assert lines[-1].endswith("= check(v0, v2)")


def test_both_worlds_have_the_same_primitives():
    """The simulator has every primitive; the device module, where numba-cuda is installed, the same ones."""
    if importlib.util.find_spec("numba_cuda") is None:
        assert len(simulator.PRIMITIVES) > 300
        return
    from graphflow.runtime.cuda import primitives_device as device

    assert set(device.PRIMITIVES) == set(simulator.PRIMITIVES)


_PTX = """
import re
from numba import cuda
from numba.cuda import types
from graphflow.dtypes import float32, float64
from graphflow.kernels.python_source import primitive_names, print_program
from graphflow.kernels.scalar import ScalarBuilder, walk
from graphflow.runtime.cuda import primitives_device as device
from graphflow.runtime.cuda import primitives_simulator as simulator
assert set(device.PRIMITIVES) == set(simulator.PRIMITIVES)

def fused(make, dtype, operands):
    s = ScalarBuilder()
    root = make(s, *(s.parameter(k, dtype) for k in range(operands)))
    lines, (result,) = print_program([root], lambda leaf: f"a{leaf.data}[i]")
    arguments = [f"a{k}" for k in range(operands)]
    text = f"def kernel({', '.join(arguments)}, out):\\n  i = cuda.grid(1)\\n  if i < out.size:\\n"
    text += "".join(f"    {line}\\n" for line in [*lines, f"out[i] = {result}"])
    names = {"cuda": cuda, **{n: getattr(device, n) for n in primitive_names([root])}}
    exec(text, names)
    kind = getattr(types, dtype.name)[::1]
    ptx, _ = cuda.compile_ptx(names["kernel"], (kind,) * (operands + 1), cc=(9, 0))
    assert ".ftz" not in ptx and ".approx" not in ptx
    return len(re.findall(r"fma\\.rn\\.f", ptx)), sum(x.operation == "fma" for x in walk([root]))

for dtype in (float32, float64):
    assert fused(lambda s, x, y: x * y + x, dtype, 2) == (0, 0)
    assert fused(lambda s, x, y: x - x * y, dtype, 2) == (0, 0)
    assert fused(lambda s, x, y: s.fma(x, y, x), dtype, 2) == (1, 1)
    for name in ("exp", "tanh", "sin", "lgamma"):
        in_ptx, in_program = fused(lambda s, x: getattr(s, name)(x), dtype, 1)
        assert 0 < in_ptx <= in_program, (name, in_ptx, in_program)
print("ok")
"""


def test_ptx_is_not_contracted():
    """Compiled to PTX: as many fma as the program has, none made of mul and add, no flush to zero, no approximate
    division.

    Runs in the environment named by GRAPHFLOW_CUDA_PYTHON (an interpreter with numba-cuda[cu13]) or in this one."""
    interpreter = os.environ.get("GRAPHFLOW_CUDA_PYTHON", sys.executable)
    if interpreter == sys.executable and importlib.util.find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed; set GRAPHFLOW_CUDA_PYTHON to an interpreter that has it")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([interpreter, "-c", _PTX], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("ok")

"""Loop nests: their readable text, and the reduction tree that they stand for, against a NumPy emulation bit for
bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.compiler import compile_graph
from graphflow.ir import parse
from graphflow.kernels.nest import BLOCK, LANE_BYTES, OTHER_BLOCK, lanes_of
from graphflow.runtime.cpu import emit_program, llvm, pool


def kernels(text):
    """The nests of a compiled graph."""
    return compile_graph(parse(text)).program.nests


GOLDEN = {
    "map": (
        "graph f(x: f32[n,4], y: f32[4]) -> (f32[n,4]) {\n %0: f32[n,4] = multiply x, y\n %1: f32[n,4] = exp %0\n"
        " return %1\n}",
        """\
kernel kernel0(a0: f32[n,4], a1: f32[4]) -> (out: f32[n,4])    # <text>:2, <text>:3
  for i0 in n:    # parallel
    for i1 in 4:    # vector
      v0 = a0[i0*4 + i1]
      v1 = a1[i1]
      v2 = v0 * v1
      v3 = exp(v2)
      out[i0*4 + i1] = v3"""),
    "merged axes": (
        "graph f(x: f32[n,4]) -> (f32[n,4]) {\n %0: f32[n,4] = negative x\n return %0\n}",
        """\
kernel kernel0(a0: f32[n,4]) -> (out: f32[n,4])    # <text>:2
  for i0 in 4*n:    # vector
    v0 = a0[i0]
    v1 = neg(v0)
    out[i0] = v1"""),
    "softmax": (
        """graph f(x: f32[n,m]) -> (f32[n,m]) {
 %0: f32[n,1] = reduce_max x {axes=(1,), keepdims=True}
 %1: f32[n,m] = subtract x, %0
 %2: f32[n,m] = exp %1
 %3: f32[n,1] = reduce_sum %2 {axes=(1,), keepdims=True}
 %4: f32[n,m] = divide %2, %3
 return %4
}""",
        """\
kernel kernel0(a0: f32[n,m]) -> (out: f32[n,m])    # <text>:2, <text>:3, <text>:4, <text>:5, <text>:6
  scratch row0: f32[m] for each worker
  for i0 in n:    # parallel
    for i1 in m:    # stage 0, 64 lanes, blocks of 8192
      v0 = a0[i0*(m) + i1]
      r0 = reduce_max(r0, v0)
    for i1 in m:    # stage 1, 64 lanes, blocks of 8192
      v0 = a0[i0*(m) + i1]
      v1 = v0 - r0
      v2 = exp(v1)
      row0[i1] = v2
      r1 = reduce_sum(r1, v2)
    for i1 in m:    # stage 2, vector
      v0 = row0[i1]
      v1 = v0 / r1
      out[i0*(m) + i1] = v1"""),
    "columns": (
        "graph f(x: f64[n,m]) -> (f64[m]) {\n %0: f64[n,m] = square x\n %1: f64[m] = reduce_sum %0 {axes=(0,)}\n"
        " %2: f64[m] = sqrt %1\n return %2\n}",
        """\
kernel kernel0(a0: f64[n,m]) -> (out: f64[m])    # <text>:2, <text>:3, <text>:4
  for i0 in m:    # vector
    for i1 in n:    # stage 0, in order, blocks of 128
      v0 = a0[i0 + i1*(m)]
      v1 = v0 * v0
      r0 = reduce_sum(r0, v1)
    v0 = sqrt(r0)
    out[i0] = v0"""),
    "both": (
        "graph f(x: f32[3,n,5]) -> (f32[n]) {\n %0: f32[n] = reduce_sum x {axes=(0, 2)}\n return %0\n}",
        """\
kernel kernel0(a0: f32[3,n,5]) -> (out: f32[n])    # <text>:2
  for i0 in n:    # parallel
    for i1 in 3:    # stage 0, in order, blocks of 128
      for i2 in 5:    # stage 0, 64 lanes, blocks of 8192
        v0 = a0[i0*5 + i1*(5*n) + i2]
        r0 = reduce_sum(r0, v0)
    out[i0] = r0"""),
    "check": (
        "graph f(x: u8[n], y: u8[n]) -> (u8[n]) {\n %0: u8[n] = floordiv x, y\n return %0\n}",
        """\
kernel kernel0(a0: u8[n], a1: u8[n]) -> (out: u8[n])    # <text>:2
  for i0 in n:    # vector
    v0 = a0[i0]
    v1 = a1[i0]
    v2 = v1 != 0
    v3 = select(v2, v1, 1)
    v4 = quotient(v0, v3)
    v5 = check v4 unless v2 fails division_by_zero
    out[i0] = v5"""),
    "reversed and transposed": (
        "graph f(x: i32[3,4]) -> (i32[4,3]) {\n %0: i32[3,4] = reverse x {axes=(1,)}\n"
        " %1: i32[4,3] = transpose %0 {permutation=(1, 0)}\n"
        " return %1\n}",
        """\
kernel kernel0(a0: i32[3,4]) -> (out: i32[4,3])    # <text>:2, <text>:3
  for i0 in 4:    # parallel
    for i1 in 3:    # vector
      v0 = a0[i0*-1 + i1*4 + 3]
      out[i0*3 + i1] = v0"""),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_text(case):
    text, expected = GOLDEN[case]
    assert "\n".join(str(nest) for nest in kernels(text)) == expected


def test_sizes():
    assert (BLOCK, OTHER_BLOCK, LANE_BYTES) == (8192, 128, 256)
    (nest,) = kernels(GOLDEN["softmax"][0])
    assert [lanes_of(b.dtype) for b in nest.buffers] == [64, 64, 64]
    assert not nest.is_map
    assert nest.kept == [0]


# The tree
# ------------------------------------------------------------------------------------------------------------------


def lane_tree(row, combine, start):
    """A trailing axis: blocks of BLOCK; lanes; lanes folded by halves; blocks in order."""
    lanes = LANE_BYTES // row.dtype.itemsize
    total = row.dtype.type(start)
    for begin in range(0, len(row), BLOCK):
        block = row[begin : begin + BLOCK]
        held = np.full(lanes, start, row.dtype)
        for first in range(0, len(block), lanes):
            part = block[first : first + lanes]
            held[: len(part)] = combine(held[: len(part)], part)
        while len(held) > 1:
            half = len(held) // 2
            held = combine(held[:half], held[half:])
        total = combine(total, held[0])
    return total


def other_tree(rows, combine, start):
    """The other axes: blocks of OTHER_BLOCK, each in order, and the blocks in order. rows: one result or one vector
    each."""
    total = np.full(np.shape(rows[0]) if len(rows) else (), start, rows.dtype)
    for begin in range(0, len(rows), OTHER_BLOCK):
        block = np.full(np.shape(total), start, rows.dtype)
        for row in rows[begin : begin + OTHER_BLOCK]:
            block = combine(block, row)
        total = combine(total, block)
    return total


def run(text, *arrays, extents=None):
    executable = compile_graph(parse(text))
    extents = extents or {}
    outputs = [np.empty(shape, v.type.dtype.numpy) for v, shape in zip(
        executable.graph.outputs, executable.output_shapes(extents), strict=True)]  # fmt: skip
    assert executable.program.bind({}, extents).call(*arrays, *outputs) == 0
    return outputs


EXTENTS = [0, 1, 2, 31, 63, 64, 65, 127, 128, 129, 200, 1000, 8191, 8192, 8193, 8256, 8257, 16383, 16384, 16385, 24600]
MONOIDS = {"reduce_sum": (np.add, 0), "reduce_prod": (np.multiply, 1), "reduce_max": (np.maximum, -np.inf)}


@pytest.fixture(params=["native", 256, 128])
def vectors(request, monkeypatch):
    """The machine's own vectors, and narrower ones."""
    if request.param != "native":
        monkeypatch.setattr(llvm, "vector_bits", lambda of=None: request.param)


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("op", MONOIDS)
def test_trailing_axis(op, dtype):
    combine, start = MONOIDS[op]
    numpy = {"f32": np.float32, "f64": np.float64}[dtype]
    text = f"graph f(x: {dtype}[3,n]) -> ({dtype}[3]) {{\n %0: {dtype}[3] = {op} x {{axes=(1,)}}\n return %0\n}}"
    whole = f"graph f(x: {dtype}[n]) -> ({dtype}[]) {{\n %0: {dtype}[] = {op} x {{axes=(0,)}}\n return %0\n}}"
    rows, single = compile_graph(parse(text)), compile_graph(parse(whole))
    generator = np.random.default_rng(0)
    for extent in EXTENTS:
        x = generator.uniform(0.9, 1.1, (3, extent)).astype(numpy)
        expected = np.array([lane_tree(row, combine, start) for row in x])
        found, first = np.empty(3, numpy), np.empty((), numpy)
        assert rows.program.bind({}, {"n": extent}).call(x, found) == 0
        assert single.program.bind({}, {"n": extent}).call(x[0].copy(), first) == 0
        assert found.tobytes() == expected.tobytes(), extent
        assert first.tobytes() == expected[0].tobytes(), extent


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("width", [1, 3, 16, 65, 200])
def test_other_axis(width):
    text = (
        f"graph f(x: f32[n,{width}]) -> (f32[{width}]) {{\n %0: f32[{width}] = reduce_sum x {{axes=(0,)}}\n"
        " return %0\n}"
    )
    executable = compile_graph(parse(text))
    generator = np.random.default_rng(0)
    for extent in [1, 2, 127, 128, 129, 255, 256, 257, 1000]:
        x = generator.normal(size=(extent, width)).astype(np.float32)
        found = np.empty(width, np.float32)
        assert executable.program.bind({}, {"n": extent}).call(x, found) == 0
        assert found.tobytes() == other_tree(x, np.add, 0).tobytes(), extent


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize(("outer", "inner"), [(1, 7), (127, 3), (128, 64), (129, 65), (300, 130), (3, 8200)])
def test_both_axes(outer, inner):
    text = (
        f"graph f(x: f32[{outer},2,{inner}]) -> (f32[2]) {{\n %0: f32[2] = reduce_sum x {{axes=(0, 2)}}\n return %0\n}}"
    )
    x = np.random.default_rng(0).normal(size=(outer, 2, inner)).astype(np.float32)
    rows = np.array([[lane_tree(row, np.add, 0) for row in pair] for pair in x])
    assert run(text, x)[0].tobytes() == other_tree(rows, np.add, 0).tobytes()


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(0, 2), (0, 2, 4), (1, 3), (0, 1, 3)])
def test_other_axes_apart(axes, keepdims):
    """Kept axes between the reduced ones: the tree is that of the reduced positions in row-major order."""
    x = np.random.default_rng(0).normal(size=(3, 7, 20, 2, 5)).astype(np.float32)
    trailing = 4 in axes
    other = [a for a in axes if a != 4]
    kept = [a for a in range(5) if a not in axes]
    rows = x.transpose([*other, *kept, *([4] if trailing else [])])
    rows = rows.reshape(-1, *[x.shape[a] for a in kept], *([5] if trailing else []))
    if trailing:
        rows = np.apply_along_axis(lane_tree, -1, rows, np.add, 0).astype(np.float32)
    shape = ",".join(str(1 if a in axes else d) for a, d in enumerate(x.shape) if keepdims or a not in axes)
    text = (
        f"graph f(x: f32[3,7,20,2,5]) -> (f32[{shape}]) {{\n"
        f" %0: f32[{shape}] = reduce_sum x {{axes={axes}, keepdims={keepdims}}}\n return %0\n}}"
    )
    assert run(text, x)[0].tobytes() == other_tree(rows, np.add, 0).tobytes()


@pytest.mark.parametrize("axes", ["(1,)", "(0,)", "(0, 1)"])
@pytest.mark.parametrize("extent", [1, 63, 64, 129, 8193])
def test_fused_is_unfused(axes, extent):
    """A prologue, an epilogue, a stored row and a second reduction beside it leave the sum's bits alone."""
    shape = {"(1,)": "3", "(0,)": "n", "(0, 1)": ""}[axes]
    x = np.random.default_rng(0).normal(size=(3, extent)).astype(np.float32)
    plain = (
        f"graph f(x: f32[3,n]) -> (f32[{shape}]) {{\n %0: f32[{shape}] = reduce_sum x {{axes={axes}}}\n return %0\n}}"
    )
    body = f"""graph f(x: f32[3,n]) -> (f32[3,n], f32[{shape}], f32[{shape}], f32[{shape}]) {{
 %0: f32[3,n] = square x
 %1: f32[3,n] = tanh %0
 %2: f32[3,n] = add %1, x
 %3: f32[{shape}] = reduce_sum %2 {{axes={axes}}}
 %4: f32[{shape}] = reduce_max %2 {{axes={axes}}}
 %5: f32[{shape}] = negative %3
 return %2, %3, %4, %5
}}"""
    extents = {"n": extent}
    stored, total, largest, negated = run(body, x, extents=extents)
    assert len(kernels(body)) == 1
    assert total.tobytes() == run(plain, stored, extents=extents)[0].tobytes()
    assert negated.tobytes() == (-total).tobytes()
    assert np.array_equal(largest, stored.max(axis={"(1,)": 1, "(0,)": 0, "(0, 1)": None}[axes]))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_threads_keep_the_tree(monkeypatch, count):
    """A sum to a scalar over many blocks, on several threads."""
    monkeypatch.setattr(emit_program, "PARALLEL_WORK", 0)
    before = pool.threads()
    pool.set_threads(count)
    try:
        x = np.random.default_rng(0).normal(size=10 * BLOCK + 77).astype(np.float32)
        text = (
            "graph f(x: f32[n]) -> (f32[], i64[]) {\n %0: f32[] = reduce_sum x {axes=(0,)}\n"
            " %1: i64[] = argmax x {axis=0}\n return %0, %1\n}"
        )
        total, where = run(text, x, extents={"n": len(x)})
    finally:
        pool.set_threads(before)
    assert total.tobytes() == lane_tree(x, np.add, 0).tobytes()
    assert where == x.argmax()


@pytest.mark.parametrize("extent", [1, 7, 63, 64, 65, 300, 9000])
@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", ["f32", "i8", "i64"])
def test_positions_are_the_first(op, dtype, extent):
    """Ties give the first position, whichever lane it is in; the first NaN wins."""
    numpy = {"f32": np.float32, "i8": np.int8, "i64": np.int64}[dtype]
    x = np.random.default_rng(extent).integers(-3, 4, (5, extent)).astype(numpy)
    if dtype == "f32":
        x[1, extent // 2 :: 3] = np.nan
    text = (
        f"graph f(x: {dtype}[5,n]) -> (i64[5], i64[n]) {{\n %0: i64[5] = {op} x {{axis=1}}\n"
        f" %1: i64[n] = {op} x {{axis=0}}\n return %0, %1\n}}"
    )
    rows, columns = run(text, x, extents={"n": extent})
    function = getattr(np, op)
    assert np.array_equal(rows, function(x, axis=1))
    assert np.array_equal(columns, function(x, axis=0))


@pytest.mark.parametrize("case", ["map", "softmax", "columns", "both", "check"])
def test_documentation_shows_what_is_printed(case):
    document = Path(__file__).parents[2] / "docs" / "kernels.md"
    assert f"```\n{GOLDEN[case][1]}\n```" in document.read_text(encoding="utf-8")

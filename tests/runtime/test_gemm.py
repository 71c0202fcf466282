"""The matrix multiplication gives exactly the bits of its definition, however it is cut up."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphflow.runtime.cpu import gemm as gemm_file
from graphflow.runtime.cpu import llvm, pool
from graphflow.runtime.cpu.gemm import FIELDS, PARTS, gemm, gemm_address, gemm_module, gemm_part
from graphflow.runtime.cpu.gemm_ways import SMALL_DEPTH, SMALL_WORK

Array = np.ndarray[Any, Any]
FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

# Sizes on both sides of every border: tile rows, vector, panel, square of a transposition, block of k.
SHAPES = [
    (0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 1), (1, 0, 1), (2, 3, 1), (3, 5, 7), (8, 16, 32),
    (9, 17, 33), (7, 15, 31), (100, 1, 16), (100, 16, 16), (100, 16, 1), (3, 100, 1), (1, 100, 3), (1, 37, 300),
    (1, 600, 129), (300, 37, 1), (5, 1, 5), (16, 31, 15), (15, 513, 17), (33, 1030, 40), (257, 20, 65), (128, 60, 10),
    (270, 10, 50), (40, 70, 1), (1, 70, 70), (131, 600, 37), (65, 65, 33), (3, 130, 70),
]  # fmt: skip


@functools.cache
def naive(dtype: str) -> Any:
    """The definition in the plainest IR: three loops, one fma at a time, dense operands."""
    t = {"float32": "float", "float64": "double"}[dtype]
    suffix = {"float": "f32", "double": "f64"}[t]
    text = f"""
define void @naive(ptr %a, ptr %b, ptr %c, i64 %m, i64 %n, i64 %k) {{
entry:
  %any.m = icmp sgt i64 %m, 0
  %any.n = icmp sgt i64 %n, 0
  %any = and i1 %any.m, %any.n
  br i1 %any, label %row, label %end
row:
  %i = phi i64 [0, %entry], [%i.next, %row.end]
  br label %column
column:
  %j = phi i64 [0, %row], [%j.next, %store]
  br label %head
head:
  %p = phi i64 [0, %column], [%p.next, %step]
  %acc = phi {t} [0.0, %column], [%sum, %step]
  %more = icmp slt i64 %p, %k
  br i1 %more, label %step, label %store
step:
  %ai = mul i64 %i, %k
  %ap = add i64 %ai, %p
  %apl = getelementptr {t}, ptr %a, i64 %ap
  %x = load {t}, ptr %apl
  %bi = mul i64 %p, %n
  %bp = add i64 %bi, %j
  %bpl = getelementptr {t}, ptr %b, i64 %bp
  %y = load {t}, ptr %bpl
  %sum = call {t} @llvm.fma.{suffix}({t} %x, {t} %y, {t} %acc)
  %p.next = add i64 %p, 1
  br label %head
store:
  %ci = mul i64 %i, %n
  %cp = add i64 %ci, %j
  %cpl = getelementptr {t}, ptr %c, i64 %cp
  store {t} %acc, ptr %cpl
  %j.next = add i64 %j, 1
  %j.more = icmp slt i64 %j.next, %n
  br i1 %j.more, label %column, label %row.end
row.end:
  %i.next = add i64 %i, 1
  %i.more = icmp slt i64 %i.next, %m
  br i1 %i.more, label %row, label %end
end:
  ret void
}}
"""
    library = llvm.compile_module(text, ["naive"], level="none")
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3)(library.address("naive"))
    return library, function


def defined(a: Array, b: Array) -> Array:
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    c = np.empty((a.shape[0], b.shape[1]), a.dtype)
    _, function = naive(a.dtype.name)
    function(a.ctypes.data, b.ctypes.data, c.ctypes.data, a.shape[0], b.shape[1], a.shape[1])
    return c


def same_bits(got: Array, want: Array) -> bool:
    """Equal bits; any NaN equals any NaN, because LLVM does not define which payload an fma of two NaNs passes on."""
    assert got.shape == want.shape and got.dtype == want.dtype
    if got.dtype.kind != "f":
        return bool((got == want).all())
    bits = f"u{got.dtype.itemsize}"
    return bool(((got.view(bits) == want.view(bits)) | (np.isnan(got) & np.isnan(want))).all())


def sample(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = pool.threads()
    yield
    pool.set_threads(before)


@pytest.mark.parametrize("dtype", FLOATS)
def test_naive_reference_is_sequential_fma(dtype: str) -> None:
    """Against the C library's fma, on values where the two roundings of a multiply and an add would show."""
    name, kind = ("fmaf", ctypes.c_float) if dtype == "float32" else ("fma", ctypes.c_double)
    fused = getattr(ctypes.CDLL(ctypes.util.find_library("m")), name)
    fused.restype, fused.argtypes = kind, [kind] * 3
    a, b = sample((5, 40), dtype, 1), sample((40, 6), dtype, 2)
    want = np.zeros((5, 6), dtype)
    for i, j, p in itertools.product(range(5), range(6), range(40)):
        want[i, j] = fused(float(a[i, p]), float(b[p, j]), float(want[i, j]))
    assert same_bits(defined(a, b), want)
    two_roundings = np.zeros((5, 6), dtype)
    for p in range(40):
        two_roundings += a[:, p, None] * b[None, p]
    assert not same_bits(two_roundings, want)
    assert same_bits(gemm(a, b), want)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_in_every_layout(dtype: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = sample((m, k), dtype, 3), sample((k, n), dtype, 4)
    want = defined(a, b)
    spread = np.zeros((2 * m, 3 * k), dtype)
    spread[::2, ::3] = a
    lefts = {
        "rows": a,
        "columns": np.asfortranarray(a),
        "spread": spread[::2, ::3],
        "backward": a[::-1, ::-1].copy()[::-1, ::-1],
    }
    rights = {"rows": b, "columns": np.asfortranarray(b), "backward": b[::-1, ::-1].copy()[::-1, ::-1]}
    for (left, x), (right, y) in itertools.product(lefts.items(), rights.items()):
        assert same_bits(gemm(x, y), want), (left, right)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap(dtype: str) -> None:
    for m, k, n in ((1, 1, 1), (3, 0, 2), (9, 17, 70), (130, 33, 5), (70, 40, 1), (1, 70, 300)):
        a, b = sample((m, k), dtype, 5), sample((k, n), dtype, 6)
        for x, y in itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b))):
            assert same_bits(gemm(x, y), a @ b), (m, k, n)


@pytest.mark.parametrize("features", ["", "+avx2,+fma", "+avx512f"], ids=["128", "256", "512"])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i16"])
def test_every_vector_width_gives_the_same_bits(dtype: str, features: str) -> None:
    """The module for narrower vectors runs on a wide machine too."""
    if llvm.vector_bits(features) > llvm.vector_bits():
        pytest.skip("this machine has no such vectors")
    numpy_name = {"f32": "float32", "f64": "float64", "i16": "int16"}[dtype]
    imports = {"graphflow_parallel_for": pool.parallel_for_address()}
    libraries, native = [], {}
    for part in ("vector", "tiles", "any", "small"):  # `any` needs the first two
        name = f"graphflow_gemm_{dtype}_{part}"
        libraries.append(llvm.compile_module(gemm_module(dtype, features, part), [name], imports))
        imports[name] = libraries[-1].address(name)
        native[part] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(imports[name])
    for m, k, n in ((1, 70, 300), (9, 17, 33), (33, 530, 11), (7, 5, 1), (40, 0, 9), (270, 20, 40), (300, 19, 1)):
        a, b = sample((m, k), numpy_name, 7), sample((k, n), numpy_name, 8)
        want = a @ b if dtype == "i16" else defined(a, b)
        for x, y in itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b))):
            for part in ("any", "tiles", *(["small"] if m * k * n <= SMALL_WORK else [])):
                c = np.empty((m, n), numpy_name)
                table = np.array([x.ctypes.data, y.ctypes.data, c.ctypes.data, *fields(x, y, c).values()], np.int64)
                native[part](table.ctypes.data)
                assert same_bits(c, want), (part, m, k, n)


def fields(a: Array, b: Array, c: Array) -> dict[str, int]:
    """FIELDS of one product without the pointers."""
    strides = [stride // array.itemsize for array in (a, b, c) for stride in (0, *array.strides)]
    return dict(zip(FIELDS[3:], (1, a.shape[0], b.shape[1], a.shape[1], *strides[:8]), strict=True))


@pytest.mark.parametrize("dtype", (*FLOATS, "int32"))
def test_every_part_gives_the_same_bits(dtype: str) -> None:
    """Each part that can compute a problem, also those that `gemm_part` would not take."""
    short = f"{dtype[0]}{np.dtype(dtype).itemsize * 8}"
    used = set()
    for m, k, n in SHAPES:
        a, b = sample((m, k), dtype, 20), sample((k, n), dtype, 21)
        want = gemm(a, b)
        for x, y in itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b))):
            known = fields(x, y, want)
            used.add(gemm_part(short, known))
            possible = {"any", "tiles"} | ({"vector"} if 1 in (m, n) else set())
            if m * k * n <= SMALL_WORK and k <= SMALL_DEPTH:
                possible.add("small")
            assert gemm_part(short, known) in possible
            for part in possible:
                c = np.empty((m, n), dtype)
                table = np.array([x.ctypes.data, y.ctypes.data, c.ctypes.data, *known.values()], np.int64)
                ctypes.CFUNCTYPE(None, ctypes.c_void_p)(gemm_address(short, part))(table.ctypes.data)
                assert same_bits(c, want), (part, m, k, n)
    assert used == set(PARTS) - {"any"}


def test_the_part_follows_from_what_is_known() -> None:
    """What is not known may only widen the choice."""
    a, b = np.zeros((100, 8), "f4"), np.zeros((8, 200), "f4")
    known: dict[str, int | None] = {**fields(a, b, np.zeros((100, 200), "f4"))}
    assert gemm_part("f32", known) == "tiles"
    assert gemm_part("f32", known | {"batch": None, "k": None}) == "tiles"
    assert gemm_part("f32", known | {"m": None, "c_row": None}) == "any"
    assert gemm_part("f32", known | {"m": None, "n": 10, "c_row": 10}) == "tiles"  # one row: narrow
    assert gemm_part("f32", known | {"m": 1}) == "small"
    assert gemm_part("f32", known | {"m": 1, "k": None}) == "vector"
    assert gemm_part("f32", dict.fromkeys(known)) == "any"


@pytest.mark.parametrize("dtype", FLOATS)
def test_only_the_matrix_is_written(dtype: str) -> None:
    """Rows of C further apart than their length keep what lies between them."""
    for m, k, n in ((13, 7, 37), (9, 600, 5), (1, 3, 200)):
        a, b = sample((m, k), dtype, 9), sample((k, n), dtype, 10)
        wide = np.full((m + 2, n + 9), 7.0, dtype)
        strides = [stride // a.itemsize for array in (a, b) for stride in (0, *array.strides)]
        table = np.array(
            [a.ctypes.data, b.ctypes.data, wide[1:, 4:].ctypes.data, 1, m, n, k, *strides, 0, n + 9], np.int64
        )
        name = {"float32": "f32", "float64": "f64"}[dtype]
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(gemm_file.gemm_address(name))(table.ctypes.data)
        assert same_bits(np.ascontiguousarray(wide[1 : m + 1, 4 : n + 4]), defined(a, b))
        wide[1 : m + 1, 4 : n + 4] = 7.0
        assert (wide == 7.0).all()


def test_batches_and_broadcasting() -> None:
    a, b = sample((3, 4, 9, 17), "float32", 11), sample((4, 17, 5), "float32", 12)
    got = gemm(a, b)
    for i, j in itertools.product(range(3), range(4)):
        assert same_bits(got[i, j], defined(a[i, j], b[j]))
    shared = gemm(a[0], b[:1])  # one B for the whole batch: stride 0
    for j in range(4):
        assert same_bits(shared[j], defined(a[0, j], b[0]))
    assert gemm(np.zeros((0, 2, 3), "f4"), np.zeros((0, 3, 4), "f4")).shape == (0, 2, 4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values_flow(dtype: str) -> None:
    generator = np.random.default_rng(13)
    smallest = np.finfo(dtype).smallest_subnormal
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, np.finfo(dtype).max, smallest, -smallest], dtype)
    for (m, k, n), often in itertools.product(((9, 33, 35), (1, 20, 300), (50, 20, 1)), (1.0, 0.02)):
        a, b = sample((m, k), dtype, 14), sample((k, n), dtype, 15)
        for x in (a, b):
            chosen = np.flatnonzero(generator.random(x.size) < often)
            x.flat[chosen] = generator.choice(values, len(chosen))
        assert same_bits(gemm(a, b), defined(a, b))
    negative = np.full((3, 2), -0.0, dtype)
    assert not np.signbit(gemm(negative, np.ones((2, 4), dtype))).any()  # the accumulator starts at +0


@pytest.mark.parametrize("dtype", FLOATS)
def test_threads_do_not_change_bits(dtype: str) -> None:
    for m, k, n in ((128, 300, 512), (700, 200, 40), (2000, 600, 1), (1, 900, 2000)):
        a, b = sample((m, k), dtype, 16), sample((k, n), dtype, 17)
        want = defined(a, b)
        for threads in (1, 2, 4):
            pool.set_threads(threads)
            assert same_bits(gemm(a, b), want), threads
            assert same_bits(gemm(np.asfortranarray(a), np.asfortranarray(b)), want), threads


def test_python_threads_at_once() -> None:
    pool.set_threads(3)
    a, b = sample((200, 300), "float32", 18), sample((300, 400), "float32", 19)
    want = defined(a, b)
    wrong: list[int] = []

    def run(number: int) -> None:
        for _ in range(20):
            if not same_bits(gemm(a, b), want):
                wrong.append(number)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(4, 5\)"):
        gemm(np.zeros((2, 3)), np.zeros((4, 5)))
    with pytest.raises(TypeError, match="same numeric dtype, got float32 and float64"):
        gemm(np.zeros((2, 3), "f4"), np.zeros((3, 5)))
    ragged = np.zeros((4, 3), np.dtype([("value", "f4"), ("tag", "u1")]))["value"]
    with pytest.raises(ValueError, match="whole elements"):
        gemm(ragged, np.zeros((3, 5), "f4"))

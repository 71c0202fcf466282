"""Dtypes that calls of the table take beside float32, with TensorFlow's result dtypes: eagerly, and with the same bits in one compiled
function. The values are those of the same call on float64 numbers, or of plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf

from .calls import CALLS, VALUES, arguments_of, leaves

#: call -> (the dtype whose arrays are cast, "dtype -> dtypes of the results")
TABLE: dict[str, tuple[str, str]] = {
    "math.divide_no_nan": ("float32", "int8 -> float32, int32 -> float64, uint64 -> float64"),
    "math.unsorted_segment_mean": ("float32", "int8 -> float32, int32 -> float64, float16 -> float16"),
    "math.unsorted_segment_sum": ("int32", "int16 -> float32, int64 -> float32"),
    "math.segment_mean": ("float32", "int8 -> int8, int32 -> int32, uint16 -> uint16, complex64 -> complex64"),
    "math.reduce_euclidean_norm": ("float32", "int8 -> int8, int32 -> int32, uint64 -> uint64, complex64 -> complex64"),
    "nn.isotonic_regression": ("float32", "int8 -> float32 int32, int64 -> float64 int32"),
    "nn.compute_average_loss": ("float32", "int8 -> float32, int64 -> float64, complex64 -> complex64"),
    "nn.scale_regularization_loss": ("float32", "uint8 -> float32, int32 -> float64, float16 -> float16"),
    "nn.weighted_moments": ("float32", "complex64 -> complex64 complex64"),
    "nn.ctc_loss": ("float32", "float16 -> float16, bfloat16 -> bfloat16"),
    "nn.conv2d": ("float32", "int32 -> int32"),
    "nn.conv2d_transpose": ("float32", "int32 -> int32"),
    "nn.dilation2d": ("float32", "int8 -> int8, uint8 -> uint8, int64 -> int64"),
    "nn.erosion2d": ("float32", "int32 -> int32"),
    "nn.embedding_lookup": ("int32", "int16 -> float32"),
    "gather": ("int32", "int16 -> float32"),
    "dynamic_stitch": ("float32", "bool -> bool"),
    "scatter_nd": ("float32", "bool -> bool"),
    "foldr": ("float32", "bool -> bool"),
    "bitcast": ("float32", "complex64 -> int32, complex128 -> int32"),
    "bitcast narrower": ("float32", "complex64 -> uint8"),
    "bitcast wider": ("float32", "complex64 -> float64, complex128 -> float64"),
}


def cast_values(call: str, own: str, dtype: str) -> list[Any]:
    """The call's arrays, those of dtype `own` as `dtype`: floats rounded for integers, positive for unsigned ones, > 0 for bool."""
    found = []
    for name in arguments_of(CALLS[call]):
        array = VALUES[name]
        if array.dtype == own:
            wanted = gf.as_dtype(dtype)
            array = np.rint(array) if wanted.is_integer else array
            array = np.abs(array) if wanted.is_unsigned else array > 0 if wanted.is_bool else array
            array = array.astype(wanted.numpy)
        found.append(array)
    return found


def test_the_dtypes_of_the_table_give_tensorflows_dtypes_and_the_same_bits_compiled() -> None:
    functions: list[Any] = []
    arguments: list[Any] = []
    for call, (own, row) in TABLE.items():
        text = f"lambda {', '.join(arguments_of(CALLS[call]))}: {CALLS[call]}"
        for case in row.split(", "):
            dtype, _, wanted = case.partition(" -> ")
            function, arrays = eval(text, {"m": gf}), [gf.constant(a) for a in cast_values(call, own, dtype)]
            assert [v.dtype.name for v in leaves(function(*arrays))] == wanted.split(), (call, case)
            functions.append(function)
            arguments.append(arrays)

    @gf.function(autograph=False)
    def every(rows: Any) -> Any:
        return [leaves(function(*arrays)) for function, arrays in zip(functions, rows, strict=True)]

    for function, arrays, compiled in zip(functions, arguments, every(arguments), strict=True):
        for expected, found in zip(leaves(function(*arrays)), compiled, strict=True):
            assert np.asarray(expected).tobytes() == np.asarray(found).tobytes()


@pytest.mark.parametrize("call", ["nn.conv2d", "nn.conv2d_transpose", "nn.conv3d", "nn.dilation2d", "nn.erosion2d"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32"])
def test_integer_windows_are_those_of_floats(call: str, dtype: str) -> None:
    function = eval(f"lambda {', '.join(arguments_of(CALLS[call]))}: {CALLS[call]}", {"m": gf})
    arrays = cast_values(call, "float32", dtype)
    exact = np.asarray(function(*[gf.constant(a.astype(np.float64)) for a in arrays]))
    assert np.array_equal(np.asarray(function(*map(gf.constant, arrays))), exact.astype(np.int64).astype(dtype))


def test_values_at_the_ends_of_integer_ranges() -> None:
    image, filters = gf.constant([[-128, 127], [-3, 4]], gf.int8), gf.constant([[-2, 0], [0, -1]], gf.int8)
    found = gf.nn.dilation2d(
        gf.reshape(image, [1, 2, 2, 1]), filters[..., None], [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1]
    )
    assert np.asarray(found)[0, ..., 0].tolist() == [[127, 125], [4, 2]]
    many = np.full(300, 1, np.int8)  # neither the sum nor the count fits int8
    assert gf.math.segment_mean(many, np.zeros(300, np.int32)).numpy().tolist() == [1]
    assert gf.math.segment_mean(np.array([4, 5, -8, -3]), [0, 0, 1, 1]).numpy().tolist() == [4, -5]
    assert gf.math.unsorted_segment_mean(np.ones(300, np.float16), np.zeros(300, np.int16), 1).numpy().tolist() == [1]
    assert gf.math.reduce_euclidean_norm(np.array([2, 2], np.uint8)).numpy() == 2
    assert gf.scatter_nd([[1], [1], [0]], [True, True, False], [3]).numpy().tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["complex64", "complex128"])
def test_bits_of_complex_numbers(name: str) -> None:
    array = np.array([[1 + 2j, -0.0 + 3.5j]], name)
    for other in ("int8", "uint16", "float32", "int64", "float64"):
        parts = gf.bitcast(array, other)
        assert np.asarray(parts).tobytes() == array.tobytes()
        assert np.asarray(gf.bitcast(parts, name)).tobytes() == array.tobytes()
    with pytest.raises(gf.errors.ShapeError, match="last axis"):
        gf.bitcast(np.zeros(3, np.float32), name)
    with pytest.raises(TypeError, match="bool"):
        gf.bitcast(array, gf.bool)


def test_the_product_of_truth_values() -> None:
    x, y = gf.constant([True, True, False]), gf.constant([True, False, False])
    assert (x * y).numpy().tolist() == [True, False, False]
    assert gf.function(lambda a, b: a * b)(x, y).numpy().tolist() == [True, False, False]
    for wrong in (lambda: x + y, lambda: x * 2, lambda: gf.multiply(x, y)):
        with pytest.raises(TypeError):
            wrong()

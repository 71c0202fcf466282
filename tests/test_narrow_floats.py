"""float16 and bfloat16 as a user meets them: literals, arrays, functions, gradients, variables, optimizers, text, files."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

import graphflow as gf
from graphflow.cli import main
from graphflow.dtypes import rounded
from graphflow.errors import DTypeError, LiteralOverflowError
from graphflow.functions.rearranging import saturate_cast
from graphflow.ir import parse, print_graph

NARROW = [gf.float16, gf.bfloat16]
narrow = pytest.mark.parametrize("dtype", NARROW, ids=str)


def numbers(dtype, *shape, seed=0):
    return gf.constant(rounded(np.random.default_rng(seed).normal(size=shape), dtype))


def same_bits(one, other):
    assert one.dtype is other.dtype
    one, other = np.asarray(one), np.asarray(other)
    nan = np.isnan(one)
    assert np.array_equal(nan, np.isnan(other))
    assert one[~nan].tobytes() == other[~nan].tobytes()


# Literals and arrays --------------------------------------------------------------------------------------------------
def test_a_literal_is_rounded_once():
    """1 + 2**-8 + 2**-40 is above the middle of 1 and 1 + 2**-7; rounded to float32 first it would be that middle."""
    for value, bits in ((1 + 2**-8 + 2**-40, 0x3F81), (1 + 2**-8 - 2**-40, 0x3F80), (1 + 2**-8, 0x3F80), (0.1, 0x3DCD)):
        for tensor in (
            gf.constant(value, gf.bfloat16),
            gf.constant([value], gf.bfloat16),
            gf.cast(gf.constant(value, gf.float64), gf.bfloat16),
        ):
            assert np.asarray(tensor).view(np.uint16).reshape(()) == bits
        inside = gf.function(lambda x, value=value: x * 0 + value)(gf.constant(1, gf.bfloat16))
        assert np.asarray(inside).view(np.uint16) == bits
    half = gf.constant(1 + 2**-11 + 2**-40, gf.float16)
    assert np.asarray(half).view(np.uint16) == 0x3C01


@narrow
def test_what_a_literal_can_be(dtype):
    assert gf.constant(3, dtype).dtype is dtype and float(gf.constant(3, dtype)) == 3.0
    same_bits(gf.constant([1, 2.5], dtype), gf.constant(np.array([1, 2.5]), dtype))
    assert (gf.constant(2.0, dtype) + 1).dtype is dtype and (1.5 - gf.constant(2.0, dtype)).dtype is dtype
    assert (gf.constant(2.0, dtype) * np.ones(3, dtype.numpy)).dtype is dtype
    with pytest.raises(LiteralOverflowError):
        gf.constant(1e39, dtype)
    with pytest.raises(OverflowError):
        gf.constant(2.0, dtype) + 1e39
    with pytest.raises(DTypeError, match="float32"):
        gf.constant(1.0, dtype) + gf.constant(1.0)
    with pytest.raises(DTypeError):
        gf.constant([1.0], gf.float16) * gf.constant([1.0], gf.bfloat16)


def test_numpy_and_ml_dtypes_arrays_keep_their_dtype():
    for numpy_dtype, dtype in ((np.float16, gf.float16), (ml_dtypes.bfloat16, gf.bfloat16)):
        array = np.array([[1.5, -0.0], [np.inf, 3e-6]], numpy_dtype)
        tensor = gf.constant(array)
        assert (
            tensor.dtype is dtype
            and tensor.numpy().dtype == array.dtype
            and tensor.numpy().tobytes() == array.tobytes()
        )
        assert gf.function(lambda x: x)(array).numpy().tobytes() == array.tobytes()
        assert gf.as_dtype(numpy_dtype) is dtype and gf.as_dtype(dtype.name) is dtype
        turned = np.asfortranarray(array)
        same_bits(gf.function(lambda x: x + x)(turned), tensor + tensor)
    swapped = np.array([1.5, 2.25], ">f2")
    same_bits(gf.constant(swapped) * 2, gf.constant([3.0, 4.5], gf.float16))


@narrow
def test_special_values_survive(dtype):
    smallest = np.array([1, 0x8001, 2], np.uint16).view(dtype.numpy)
    tensor = gf.constant(smallest)
    same_bits(tensor * 1.0, tensor)
    same_bits(gf.function(lambda x: gf.negative(-x) * 1.0 + -0.0)(tensor), tensor)
    same_bits(gf.cast(gf.cast(tensor, gf.float32), dtype), tensor)
    largest = gf.constant(float(dtype.max), dtype)
    assert np.isposinf(np.asarray(largest + largest)) and np.isneginf(np.asarray(-largest * 2))
    assert np.isnan(np.asarray(gf.constant(np.inf, dtype) * 0))
    assert np.signbit(np.asarray(gf.constant(-0.0, dtype) * 1).astype(np.float32))


@narrow
def test_casts_saturate_where_they_leave_the_floats(dtype):
    x = gf.constant([3e4, -3e4, np.nan, 1.9, -1.9], dtype)
    assert gf.cast(x, gf.int8).numpy().tolist() == [127, -128, 0, 1, -1]
    assert gf.cast(x, gf.bool).numpy().tolist() == [True, True, True, True, True]
    assert np.isinf(np.asarray(gf.cast(gf.constant(1e30, gf.float64) * 1e30, dtype)))
    kept = saturate_cast(gf.constant([1e39, -1e39, 1.0], gf.float64), dtype)
    same_bits(kept, gf.constant([float(dtype.max), float(dtype.min), 1.0], dtype))
    ends = saturate_cast(gf.constant([float(dtype.max), 2**31 - 1, -(2**31)], gf.float64), dtype)
    assert np.isfinite(np.asarray(ends).astype(np.float32)).all()
    same_bits(
        saturate_cast(gf.constant([2**31 - 1, -5]), dtype), gf.constant([min(2.0**31, float(dtype.max)), -5], dtype)
    )
    half = saturate_cast(gf.constant([1e30, -1e30, 0.5], gf.bfloat16), gf.float16)
    same_bits(half, gf.constant([65504.0, -65504.0, 0.5], gf.float16))


# Graph and eager mode -------------------------------------------------------------------------------------------------
def network(x, w, b):
    hidden = gf.nn.gelu(gf.matmul(x, w) + b)
    normal = (hidden - gf.reduce_mean(hidden, 1, keepdims=True)) / gf.sqrt(
        gf.math.reduce_variance(hidden, 1, keepdims=True) + 1e-3
    )
    scores = gf.nn.log_softmax(gf.matmul(normal, w, transpose_b=True))
    return gf.cumsum(scores, axis=1)[:, ::2] + gf.sort(x, axis=-1)[:, ::2], gf.argmax(scores, 1), gf.reduce_max(normal)


@narrow
def test_a_network_has_the_bits_of_eager_mode(dtype):
    x, w, b = numbers(dtype, 5, 8, seed=1), numbers(dtype, 8, 6, seed=2), numbers(dtype, 6, seed=3)
    compiled = gf.function(network)
    for found, expected in zip(compiled(x, w, b), network(x, w, b), strict=True):
        same_bits(found, expected)
    symbolic = gf.function(
        network,
        input_signature=[gf.TensorSpec([None, 8], dtype), gf.TensorSpec([8, 6], dtype), gf.TensorSpec([6], dtype)],
    )
    for found, expected in zip(symbolic(x, w, b), network(x, w, b), strict=True):
        same_bits(found, expected)


@narrow
def test_gradients_have_the_dtype_and_the_bits_of_eager_mode(dtype):
    x, w, b = numbers(dtype, 5, 8, seed=1), numbers(dtype, 8, 6, seed=2), numbers(dtype, 6, seed=3)

    def slopes(x, w, b):
        with gf.GradientTape() as outer:
            outer.watch([x, w])
            with gf.GradientTape() as tape:
                tape.watch([w, b])
                loss = gf.reduce_sum(gf.square(network(x, w, b)[0]))
            first = tape.gradient(loss, [w, b])
            total = gf.reduce_sum(first[0] * first[0])
        return [*first, *outer.gradient(total, [x, w])]

    eager, compiled = slopes(x, w, b), gf.function(slopes)(x, w, b)
    for found, expected, like in zip(compiled, eager, (w, b, x, w), strict=True):
        assert found.dtype is dtype and found.shape == like.shape
        same_bits(found, expected)
    wide = slopes(*(gf.cast(t, gf.float32) for t in (x, w, b)))[:2]
    for found, expected in zip(eager[:2], wide, strict=True):
        size = np.abs(np.asarray(expected)).max()
        np.testing.assert_allclose(
            np.asarray(found).astype(np.float32), expected, atol=size * (0.02 if dtype is gf.float16 else 0.15)
        )


@narrow
def test_branches_and_loops(dtype):
    def walk(rows):
        total, seen = gf.zeros([4], dtype), gf.TensorArray(dtype, size=7, element_shape=[4])
        for k in gf.range(7):
            row = rows[k]
            if gf.reduce_sum(row) > 0:
                total = total * 0.75 + row
            else:
                total = total - row * row[0]
            seen = seen.write(k, total)
        return total, seen.stack(), gf.map_fn(gf.sin, rows), gf.scan(lambda a, r: a * 0.5 + r, rows)

    rows = numbers(dtype, 7, 4, seed=5)
    expected = walk(rows)
    for found, wanted in zip(gf.function(walk)(rows), expected, strict=True):
        same_bits(found, wanted)

    def slope(function, rows):
        with gf.GradientTape() as tape:
            tape.watch(rows)
            out = function(rows)
            loss = gf.reduce_sum(out[0]) + gf.reduce_sum(out[1] * out[1])
        return tape.gradient(loss, rows)

    found = slope(gf.function(walk), rows)
    assert found.dtype is dtype
    same_bits(found, gf.function(lambda r: slope(walk, r))(rows))


@narrow
def test_rows_added_in_place(dtype):
    """The gradient of reading rows in a loop adds to one row an iteration; each addition rounds."""

    @gf.function
    def total(table, places):
        result = gf.zeros([3], dtype)
        for place in places:
            result = result + table[place] * table[place]
        return gf.reduce_sum(result)

    table, places = numbers(dtype, 5, 3), gf.constant([0, 3, 3, 3, 1, 0])
    slopes = []
    for function in (total, total.python_function):
        with gf.GradientTape() as tape:
            tape.watch(table)
            value = function(table, places)
        slopes.append(tape.gradient(value, table))
    same_bits(*slopes)


# State ----------------------------------------------------------------------------------------------------------------
@narrow
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_training(name, dtype):
    """Parameters and slots in the narrow dtype: compiled and eager steps agree bit for bit, and the loss falls."""
    x, y = numbers(dtype, 16, 4, seed=8), numbers(dtype, 16, 1, seed=9)

    def trained(compiled):
        w, optimizer = gf.Variable(gf.zeros([4, 1], dtype)), getattr(gf.optimizers, name)(0.05)

        def step():
            with gf.GradientTape() as tape:
                loss = gf.reduce_mean(gf.square(gf.matmul(x, w) - y))
            (slope,) = tape.gradient(loss, [w])
            assert slope.dtype is dtype
            optimizer.apply_gradients([(slope, w)])
            return loss

        run = gf.function(step) if compiled else step
        losses = [float(run()) for _ in range(12)]
        return losses, w

    (losses, w), (eager_losses, eager_w) = trained(True), trained(False)
    assert w.dtype is dtype
    same_bits(w.value(), eager_w.value())
    assert losses == eager_losses
    assert losses[-1] < losses[0]


@narrow
def test_adam_counts_its_steps_in_float32(dtype):
    """beta_2 = 0.999 is 1.0 in bfloat16, and 257 is no bfloat16: the correction of the bias is made in float32."""
    w, optimizer = gf.Variable(gf.ones([3], dtype)), gf.optimizers.Adam(0.125)
    optimizer.apply_gradients([(gf.ones([3], dtype), w)])
    np.testing.assert_allclose(np.asarray(w).astype(np.float32), 0.875, rtol=2**-6)


@narrow
def test_variables(dtype):
    v = gf.Variable([1.0, 2.5], dtype=dtype)

    @gf.function
    def bump(x):
        v.assign_add(x)
        v.assign(v * 2)
        return v + 0

    same_bits(bump(gf.constant([1, 1], dtype)), gf.constant([4, 7], dtype))
    v.assign([0.5, 1.0])
    assert v.numpy().dtype == dtype.numpy and v.dtype is dtype
    with pytest.raises(DTypeError):
        v.assign(gf.constant([1.0, 2.0]))


# Text and files -------------------------------------------------------------------------------------------------------
@narrow
def test_text(dtype):
    tensor = gf.constant([1.5, -2.0], dtype)
    assert f"dtype={dtype.name}" in str(tensor) and f"dtype={dtype.name}" in repr(tensor)
    assert f"{gf.constant(1.5, dtype):.3f}" == "1.500" and tensor.numpy().tolist() == [1.5, -2.0]
    assert dtype.is_floating and dtype.size == 2 and dtype.min == -dtype.max

    @gf.function
    def f(x):
        return x * gf.constant([0.1, -3.0], dtype) + gf.cast(1e-3, dtype)

    graph = f.get_concrete_function(tensor).graph
    text = print_graph(graph, full_paths=True)
    assert f"{dtype.short} [0.1, -3.0]" in text and parse(text) == graph
    infinite = int(np.array(np.inf, dtype.numpy).view(np.uint16))
    patterns = np.arange(0, 1 << 16, 7, dtype=np.uint16)
    every = patterns[(patterns & 0x7FFF) <= infinite].view(dtype.numpy)
    for start in range(0, len(every), 997):
        for number in every[start : start + 5]:
            constant = f"%0: {dtype.short}[] = constant {{value={dtype.short} {float(number)!r}}}"
            text = f"graph f() -> ({dtype.short}[]) {{\n  {constant}\n  return %0\n}}"
            (node,) = parse(print_graph(parse(text))).nodes
            assert node.attributes["value"].tobytes() == number.tobytes()


@narrow
def test_printing_and_pickling(dtype, capfd):
    x = gf.constant([[1.5, 0.25], [-3.0, 8.0]], dtype)
    gf.print("x:", x)
    gf.function(lambda x: gf.print("x:", x * 1))(x)
    first, second = capfd.readouterr().err.strip().split("x:")[1:]
    assert first.split() == second.split() == ["[[1.5", "0.25]", "[-3", "8]]"]
    same_bits(pickle.loads(pickle.dumps(x)), x)
    same_bits(copy.deepcopy(x), x)
    v = pickle.loads(pickle.dumps(gf.Variable(x)))
    same_bits(v.value(), x)


@narrow
def test_reproduction_files(dtype, tmp_path, capsys):
    @gf.function
    def f(x):
        return gf.exp(x) * gf.constant(0.3, dtype)

    x = numbers(dtype, 3, 4)
    path = gf.debugging.reproduce(f, x, path=tmp_path / "f.graphflow")
    assert main(["run", path]) == 0
    assert "agree, bit for bit" in capsys.readouterr().out


# Other entries --------------------------------------------------------------------------------------------------------
@narrow
def test_ranges_count_in_float32(dtype):
    same_bits(gf.range(gf.constant(1, dtype), gf.constant(7, dtype), 2), gf.constant([1, 3, 5], dtype))
    long = gf.linspace(gf.constant(0, dtype), gf.constant(1, dtype), 1001)
    same_bits(long, gf.cast(gf.linspace(0.0, 1.0, 1001), dtype))
    same_bits(gf.range(0, 300, dtype=dtype), gf.cast(gf.range(300), dtype))


@narrow
def test_products_with_a_wider_result(dtype):
    a, b = numbers(dtype, 4, 9), numbers(dtype, 9, 3, seed=2)
    wide = gf.matmul(a, b, output_type=gf.float32)
    assert wide.dtype is gf.float32
    same_bits(wide, gf.matmul(gf.cast(a, gf.float32), gf.cast(b, gf.float32)))
    same_bits(gf.matmul(a, b), gf.cast(wide, dtype))
    counts = gf.matmul(gf.fill([2, 9], gf.constant(100, gf.int8)), gf.ones([9, 2], gf.int8), output_type=gf.int32)
    assert counts.numpy().tolist() == [[900, 900], [900, 900]]


@narrow
def test_random_draws(dtype):
    for draw in (gf.random.uniform, gf.random.normal, gf.random.truncated_normal):
        assert draw([5], dtype=dtype).dtype is dtype

    def draws(seed):
        return gf.random.stateless_uniform([100], seed, dtype=dtype), gf.random.stateless_normal(
            [100], seed, dtype=dtype
        )

    for found, expected in zip(gf.function(draws)(gf.constant([1, 2])), draws(gf.constant([1, 2])), strict=True):
        same_bits(found, expected)


@narrow
def test_python_functions_and_checks(dtype):
    x = numbers(dtype, 3)
    found = gf.function(lambda x: gf.py_function(lambda a: a * 2, [x], gf.TensorSpec([3], dtype)))(x)
    same_bits(found, x * 2)
    same_bits(gf.debugging.check_numerics(x, "fine"), x)
    with pytest.raises(gf.errors.InvalidArgumentError, match="bad values"):
        gf.function(lambda x: gf.debugging.check_numerics(x / 0, "bad values"))(x)


def test_between_narrow_dtypes():
    x = numbers(gf.float16, 50)
    same_bits(gf.cast(gf.cast(x, gf.float32), gf.bfloat16), gf.cast(x, gf.bfloat16))
    back = gf.function(lambda x: gf.cast(gf.cast(x, gf.bfloat16), gf.float16))(x)
    same_bits(back, gf.cast(gf.cast(x, gf.bfloat16), gf.float16))

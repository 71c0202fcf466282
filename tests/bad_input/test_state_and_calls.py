"""The issue's list of bad input: a typed error with the user's line, the values at fault and a next step (or the right
answer), state as it was, and the next call works."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

from .cases import MODES, Case


@pytest.mark.parametrize("mode", MODES)
def test_shape_mismatch(mode):
    case = Case(mode, lambda x, y: gf.matmul(x, y))
    a, b = gf.ones((8, 4)), gf.ones((5, 2))
    case.fails(ValueError, ["matmul", "f32[8,4]", "f32[5,2]", "4 and 5", "gf.matmul(x, y)"], a, b)
    assert case.works(gf.ones((1, 2)), gf.ones((2, 1))) == [[2]]
    case = Case(mode, lambda x, y: gf.exp(x) + y)
    case.fails(ValueError, ["add", "f32[2]", "f32[3]", "gf.exp(x) + y"], gf.ones(2), gf.ones(3))
    assert case.works(gf.zeros(2), gf.ones(2)) == [2, 2]


@pytest.mark.parametrize("mode", MODES)
def test_mixed_dtypes(mode):
    case = Case(mode, lambda x, y: x * y)
    case.fails(TypeError, ["multiply", "f32[2]", "i32[2]", "gf.cast"], gf.ones(2), gf.ones(2, "int32"))
    assert case.works(gf.ones(2), gf.ones(2)) == [1, 1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axis", [2, -3, (0, 0), "a"])
def test_bad_axis(mode, axis):
    case = Case(mode, lambda x: gf.reduce_sum(x, axis=axis))
    case.fails(
        (ValueError, TypeError), ["reduce_sum", str(axis if not isinstance(axis, tuple) else 0)], gf.ones((2, 3))
    )
    assert Case(mode, lambda x: gf.reduce_sum(x, axis=-1)).works(gf.ones((2, 3))) == [3, 3]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [4, -1, 2**31 - 1, -(2**31)])
def test_gather_out_of_range_in_a_fused_kernel(mode, bad):
    case = Case(mode, lambda x, i: gf.tanh(gf.gather(gf.exp(x) * 0.0, i) + 1.0) * 0.0)
    x = gf.ones((4, 2))
    case.fails(IndexError, ["gather", str(bad), "4", "next:"], x, gf.constant([0, bad, 1]))
    assert case.works(x, gf.constant([3])) == [[0, 0]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operator", ["//", "%"])
def test_integer_division_by_zero_in_a_fused_kernel(mode, operator):
    bodies = {"//": lambda x, y: (x + 1) // (y * 2) + 3, "%": lambda x, y: (x + 1) % (y * 2) + 3}
    case = Case(mode, bodies[operator])
    x = gf.constant([6, 7, 8])
    case.fails(ZeroDivisionError, ["[1]", "8 and 0", operator, "next:"], x, gf.constant([1, 0, 0]))
    assert case.works(x, gf.constant([1, 1, 1])) == {"//": [6, 7, 7], "%": [4, 3, 4]}[operator]


def test_division_by_zero_beside_updates_of_large_variables():
    w = gf.Variable(np.ones((300, 200), "f4"))
    n = gf.Variable(np.full(1000, 7))

    @gf.function
    def step(d):
        w.assign(w * 2.0)
        n.assign(n // d)
        w.assign_add(gf.ones((300, 200)))

    with pytest.raises(ZeroDivisionError):
        step(gf.constant(0, "int64"))
    assert (w.numpy() == 1).all()
    assert (n.numpy() == 7).all()
    step(gf.constant(2, "int64"))
    assert (w.numpy() == 3).all()
    assert (n.numpy() == 3).all()


def test_negative_integer_power():
    for mode in MODES:
        case = Case(mode, lambda x, y: x**y)
        case.fails(gf.errors.InvalidArgumentError, ["pow", "2 and -1", "x**y"], gf.constant([2]), gf.constant([-1]))
        assert case.works(gf.constant([2]), gf.constant([3])) == [8]


@pytest.mark.parametrize("mode", MODES)
def test_nan_flows_through_max(mode):
    case = Case(
        mode,
        lambda x: (
            gf.reduce_max(x),
            gf.reduce_min(x),
            gf.maximum(x, 0.0),
            gf.minimum(0.0, x),
            gf.reduce_max(gf.exp(x) * 1.0, axis=0),
        ),
    )
    found = case.works(gf.constant([1.0, np.nan, 3.0]))
    assert np.isnan([found[0].numpy(), found[1].numpy(), found[4].numpy()]).all()
    assert np.isnan(found[2].numpy()).tolist() == np.isnan(found[3].numpy()).tolist() == [False, True, False]


def test_wrong_input_signature():
    case = Case("graph", lambda x: gf.reduce_sum(x), input_signature=[gf.TensorSpec([None, 2], gf.float32)])
    case.fails(TypeError, ["TensorSpec", "f32[2,3]", "input_signature"], gf.ones((2, 3)))
    case.fails(TypeError, ["TensorSpec", "i32[2,2]"], gf.ones((2, 2), "int32"))
    assert case.works(gf.ones((2, 2))) == 4


def test_variable_created_on_a_later_call():
    kept = []

    def body(x, more):
        if more:
            kept.append(gf.Variable(1.0))
        return x

    case = Case("graph", body)
    assert case.works(gf.constant(1.0), False) == 1
    case.fails(ValueError, ["later trace", "gf.Variable(1.0)", "next: create variables once"], gf.constant(1.0), True)
    assert case.works(gf.constant(2.0), False) == 2


@pytest.mark.parametrize("mode", MODES)
def test_non_persistent_tape_twice(mode):
    w = gf.Variable(2.0)

    def body(twice):
        with gf.GradientTape() as tape:
            y = w * w
        first = tape.gradient(y, w)
        return tape.gradient(y, w) if twice else first

    case = Case(mode, body)
    case.fails(RuntimeError, ["persistent=True", "tape.gradient(y, w)"], True)
    assert case.works(False) == 4


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_leaked_tensor():
    kept = []

    def body(x, leak):
        if leak:
            kept.append(x + 1.0)
            return x
        return x + kept[0]

    case = Case("graph", body)
    assert case.works(gf.constant(1.0), True) == 1
    case.fails(TypeError, ["made at", "x + 1.0", "x + kept[0]", "next: return it"], gf.constant(1.0), False)
    kept[:] = [5.0]
    assert case.works(gf.constant(1.0), False) == 6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("dtype", "literal"),
    [("float32", 1e39), ("int32", 2**31), ("uint8", 256), ("uint8", -1), ("int64", 2**63), ("float64", 10**400)],
)
def test_huge_literal(mode, dtype, literal):
    case = Case(mode, lambda x: x + literal)
    case.fails(OverflowError, [str(literal)[:20], dtype, "x + literal"], gf.ones(2, dtype))
    assert Case(mode, lambda x: x + 1).works(gf.ones(2, dtype)) == [2, 2]


@pytest.mark.parametrize("mode", MODES)
def test_zero_size_arrays(mode):
    def body(x, w):
        y = gf.tanh(gf.matmul(x, w)) + 1.0
        return (
            gf.reduce_sum(y),
            gf.reduce_max(y, axis=0),
            gf.reduce_mean(y, axis=1),
            y[1:],
            gf.concat([y, y], 0),
            gf.transpose(y),
        )

    case = Case(mode, body)
    w = gf.ones((4, 3))
    with_rows = case.works(gf.zeros((2, 4)), w)
    assert with_rows[0].numpy() == 6
    for _ in range(2):
        total, largest, mean, rest, joined, turned = case.works(gf.zeros((0, 4)), w)
        assert total.numpy() == 0
        assert largest.numpy().tolist() == [-np.inf] * 3
        assert mean.shape == (0,)
        assert rest.shape == joined.shape == (0, 3)
        assert turned.shape == (3, 0)
    assert case.works(gf.zeros((2, 0)), gf.zeros((0, 3)))[0].numpy() == 6


def odd_arrays():
    base = np.arange(24, dtype="f4").reshape(4, 6)
    frozen = base.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + base.tobytes(), "u1")[1:].view("f4").reshape(4, 6)
    return {
        "strided": np.repeat(np.repeat(base, 2, 0), 3, 1)[::2, ::3],
        "reversed": base[::-1, ::-1][::-1, ::-1],
        "fortran": np.asfortranarray(base),
        "read only": frozen,
        "big endian": base.astype(">f4"),
        "unaligned": unaligned,
        "transposed": base.T.copy().T,
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", list(odd_arrays()))
def test_odd_numpy_arrays(mode, kind):
    array = odd_arrays()[kind]
    expected = np.arange(24, dtype="f4").reshape(4, 6)
    case = Case(mode, lambda x: gf.convert_to_tensor(x) * 2.0 + 1.0)
    for _ in range(2):
        assert case.works(array) == (expected * 2 + 1).tolist()
    variable = gf.Variable(array)
    variable.assign(array)
    assert variable.numpy().tolist() == expected.tolist()


@pytest.mark.parametrize("mode", MODES)
def test_failed_assertion(mode):
    def body(x):
        gf.Assert(gf.reduce_all(x > 0.0), ["x must be positive"])
        return x

    case = Case(mode, body)
    case.fails(AssertionError, ["x must be positive", "gf.Assert"], gf.constant([1.0, -1.0]))
    assert case.works(gf.constant([1.0])) == [1]

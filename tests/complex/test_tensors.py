"""Complex tensors as values: literals, NumPy, text, pickles, dtype rules, optimizers."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, LiteralOverflowError, UnimplementedError


def test_literals_and_conversion() -> None:
    assert gf.constant(1 + 2j).dtype is gf.complex128
    assert gf.constant([1, 2j]).dtype is gf.complex128
    assert gf.constant([1 + 2j], gf.complex64).dtype is gf.complex64
    assert gf.constant(np.complex64(1j)).dtype is gf.complex64
    z = gf.constant([1 + 2j], gf.complex64)
    for other in (2, 2.5, 1j, True, [2], [0.5], [1j]):
        assert (z * other).dtype is gf.complex64
    assert (1 / z).dtype is gf.complex64
    assert complex(z[0]) == 1 + 2j
    assert z.numpy().dtype == np.complex64
    np.testing.assert_array_equal(np.asarray(gf.constant([1j]) + np.array([2.0])), [2 + 1j])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (z + np.array([1j])).dtype is gf.complex64
    assert any("narrowed" in str(w.message) for w in caught)


def test_text() -> None:
    assert str(gf.constant([1 + 2j])) == "gf.Tensor([1.+2.j], shape=(1,), dtype=complex128)"
    assert repr(gf.constant(1j, gf.complex64)).startswith("<gf.Tensor: shape=(), dtype=complex64, numpy=array(0.+1.j")


def test_pickles_and_copies() -> None:
    z = gf.constant([1 + 2j, -0.0j])
    for again in (pickle.loads(pickle.dumps(z)), copy.deepcopy(z)):
        assert again.dtype is z.dtype and again.numpy().tobytes() == z.numpy().tobytes()
    v = pickle.loads(pickle.dumps(gf.Variable([1 + 2j])))
    np.testing.assert_array_equal(v.numpy(), [1 + 2j])


def test_ir_text_round_trip() -> None:
    @gf.function
    def f(x: Any) -> Any:
        return gf.pad(gf.exp(x) * (1 - 2j), [[1, 0]], constant_values=3j) + gf.constant([complex(np.nan, -0.0), 0, 1j])

    x = gf.constant([1j, 2.0])
    for stage in ("input", "lower_complex", "final"):
        graph = gf.ir.parse(f.ir(x, stage=stage))
        assert gf.ir.parse(str(graph)) == graph
    assert "complex(" in f.ir(x, stage="input")


def test_casts() -> None:
    z = gf.constant([1.75 - 2j, 0j, 1j])
    np.testing.assert_array_equal(np.asarray(gf.cast(z, gf.float32)), np.array([1.75, 0, 0], np.float32))
    np.testing.assert_array_equal(np.asarray(gf.cast(z, gf.int32)), [1, 0, 0])
    np.testing.assert_array_equal(np.asarray(gf.cast(z, gf.bool)), [True, False, True])
    np.testing.assert_array_equal(np.asarray(gf.cast([True, False], gf.complex64)), [1, 0])
    assert gf.cast(z, gf.complex64).dtype is gf.complex64


def test_parts_of_real_tensors() -> None:
    x = gf.constant([1.0, -2.0])
    np.testing.assert_array_equal(np.asarray(gf.math.real(x)), [1, -2])
    np.testing.assert_array_equal(np.asarray(gf.math.imag(x)), [0, 0])
    np.testing.assert_array_equal(np.asarray(gf.math.conj(x)), [1, -2])
    np.testing.assert_array_equal(np.asarray(gf.math.angle(x)), np.array([0, np.pi], np.float32))
    assert gf.math.conj(gf.constant([1, 2])).dtype is gf.int32


REFUSED = {
    "less": lambda z: z < z,
    "maximum": lambda z: gf.maximum(z, z),
    "reduce_max": lambda z: gf.reduce_max(z),
    "argmax": lambda z: gf.argmax(z),
    "sort": lambda z: gf.sort(z),
    "floor": lambda z: gf.floor(z),
    "floordiv": lambda z: z // z,
    "is_nan": lambda z: gf.math.is_nan(z),
    "relu": lambda z: gf.nn.relu(z),
    "erf": lambda z: gf.math.erf(z),
    "atan2": lambda z: gf.atan2(z, z),
    "mixed": lambda z: z + gf.constant([1.0]),
    "float_with_complex_literal": lambda z: gf.constant(2.0) * 1j,
    "complex_of_ints": lambda z: gf.complex(gf.constant(1), gf.constant(2)),
    "fft_of_reals": lambda z: gf.signal.fft(gf.constant([1.0])),
    "rfft_of_complex": lambda z: gf.signal.rfft(z),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_complex_meaning_is_refused_in_both_modes(name: str) -> None:
    z = gf.constant([1 + 2j])
    with pytest.raises(DTypeError):
        REFUSED[name](z)
    with pytest.raises(DTypeError):
        gf.function(REFUSED[name])(z)


def test_what_is_not_there_yet_says_so() -> None:
    with pytest.raises(UnimplementedError, match="complex"):
        gf.math.unsorted_segment_prod(gf.constant([1j, 2j]), [0, 1], 2)


def test_literals_that_do_not_fit() -> None:
    with pytest.raises(LiteralOverflowError):
        gf.constant(1e300 + 0j, gf.complex64)
    assert np.isinf(np.asarray(gf.constant(complex(np.inf, 0), gf.complex64)).real)


def test_comparison_and_counting() -> None:
    z = gf.constant([1 + 2j, 1 - 2j, 0j])
    np.testing.assert_array_equal(np.asarray(z == gf.math.conj(z)), [False, False, True])
    np.testing.assert_array_equal(np.asarray(z != 0), [True, True, False])
    assert int(gf.math.count_nonzero(z)) == 2


#: three steps from [1+2j, -1j] towards [3-1j, 2+2j] on |w - target|**2 with rate 0.1, read off TensorFlow 2.21 (Keras' Adam does not
#: take complex variables there: that row is its formula in NumPy)
STEPS = {
    "SGD": ({}, [1.976 + 0.536j, 0.976 + 0.464j]),
    "momentum": ({"momentum": 0.9}, [2.876 - 0.814j, 1.876 + 1.814j]),
    "RMSprop": ({}, [1.72615197 + 1.97979574j, 0.72615197 - 0.97979574j]),
    "Adagrad": ({}, [1.22726423 + 1.99792553j, 0.22726423 - 0.99792553j]),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("compiled", [False, True])
def test_optimizers_train_complex_variables(name: str, compiled: bool) -> None:
    options, expected = STEPS[name]
    kind = {"momentum": "SGD"}.get(name, name)
    optimizer = getattr(gf.optimizers, kind)(learning_rate=0.1, **options)
    w = gf.Variable(np.array([1 + 2j, -1j]))
    target = gf.constant([3 - 1j, 2 + 2j])

    def step() -> None:
        with gf.GradientTape() as tape:
            gap = w - target
            loss = gf.reduce_sum(gf.math.real(gap * gf.math.conj(gap)))
        optimizer.apply_gradients([(tape.gradient(loss, w), w)])

    run = gf.function(step) if compiled else step
    for _ in range(3):
        run()
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-6)


def test_adam_is_its_formula_on_complex_numbers() -> None:
    optimizer = gf.optimizers.Adam(learning_rate=0.1)
    w = gf.Variable(np.array([1 + 2j, -1j]))
    value, first, second = w.numpy(), np.zeros(2, complex), np.zeros(2, complex)
    for step in range(1, 4):
        gradient = 2 * value
        optimizer.apply_gradients([(gf.constant(2 * w.numpy()), w)])
        first += (gradient - first) * (1 - 0.9)
        second += (gradient * gradient - second) * (1 - 0.999)
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value = value - rate * first / (np.sqrt(second) + 1e-7)
    np.testing.assert_allclose(w.numpy(), value, rtol=1e-6)


def test_gradients_are_conjugate_gradients() -> None:
    """d|z|**2: 2z, not 2 conj z; of a real part 1, of an imaginary part i."""
    z = gf.constant([1 + 2j, -3j])
    with gf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        square = gf.reduce_sum(gf.math.real(z * gf.math.conj(z)))
        size = gf.reduce_sum(gf.abs(z))
        real, imag = gf.reduce_sum(gf.math.real(z)), gf.reduce_sum(gf.math.imag(z))
        whole = gf.reduce_sum(z * (1 + 1j))
    np.testing.assert_allclose(np.asarray(tape.gradient(square, z)), 2 * z.numpy())
    np.testing.assert_allclose(np.asarray(tape.gradient(size, z)), z.numpy() / np.abs(z.numpy()))
    np.testing.assert_array_equal(np.asarray(tape.gradient(real, z)), [1, 1])
    np.testing.assert_array_equal(np.asarray(tape.gradient(imag, z)), [1j, 1j])
    np.testing.assert_array_equal(np.asarray(tape.gradient(whole, z)), [1 - 1j, 1 - 1j])


def test_the_gradient_of_a_magnitude_at_zero_is_zero() -> None:
    z = gf.constant([0j])
    with gf.GradientTape() as tape:
        tape.watch(z)
        size = gf.abs(z)
    np.testing.assert_array_equal(np.asarray(tape.gradient(size, z)), [0])


def test_products_with_zeros_have_a_gradient() -> None:
    z = gf.constant([2 + 1j, 0j, 1j])
    with gf.GradientTape() as tape:
        tape.watch(z)
        loss = gf.math.real(gf.reduce_prod(z))
    np.testing.assert_allclose(np.asarray(tape.gradient(loss, z)), [0, np.conj((2 + 1j) * 1j), 0])

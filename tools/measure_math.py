"""Measures the math library: the largest error of every function against references of higher precision, and its time.

    python tools/measure_math.py                    # the table of docs/math.md: about 20 minutes on one core
    python tools/measure_math.py --quick            # fewer points: about 2 minutes
    python tools/measure_math.py exp tanh --every   # all 2^32 floats for f32 (about 5 minutes a function)

f32: every 127th of all floats and all floats of 1/16 <= |x| < 16, against NumPy's and SciPy's f64 functions (their
own error is below 1e-8 ulp of f32; tests/kernels/test_math.py checks them against mpmath). f64: points of every
binade and of the usual range, against 80-bit `long double` functions where the C library has them, else (and as a
check of them) against mpmath."""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import scipy.special

sys.path.insert(0, str(Path(__file__).parents[1]))

from graphflow.dtypes import DType, float32, float64
from graphflow.kernels.scalar import Scalar, ScalarBuilder, walk
from graphflow.runtime.cpu.emit import pointwise_function
from graphflow.runtime.cpu.llvm import Library, compile_module

mp.mp.dps = 40
Array = Any


@dataclass
class Compiled:
    """A scalar program as a native function over contiguous arrays."""

    roots: list[Scalar]
    dtypes: list[DType]
    library: Library
    function: Any

    def __call__(self, *arrays: Array) -> Array:
        inputs = [np.ascontiguousarray(a, d.numpy) for a, d in zip(arrays, self.dtypes, strict=True)]
        outputs = [np.empty(inputs[0].shape, root.dtype.numpy) for root in self.roots]
        self.function(*(a.ctypes.data for a in (*inputs, *outputs)), inputs[0].size)
        return outputs[0] if len(outputs) == 1 else outputs

    @property
    def operations(self) -> int:
        """Operations of the scalar program, constants and inputs not counted."""
        return sum(1 for scalar in walk(self.roots) if scalar.operation not in ("const", "parameter"))


def compile_program(roots: list[Scalar], dtypes: list[DType], lanes: int) -> Compiled:
    """Compile with 512-bit vectors where the machine has them, as the CPU programs do."""
    text = pointwise_function("measured", roots, dtypes, lanes).replace("i64 %n) {", "i64 %n) #0 {", 1)
    text += 'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }\n'
    linked = compile_module(text, exports=["measured"])
    count = len(dtypes) + len(roots)
    kind = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * count), ctypes.c_int64)
    return Compiled(roots, dtypes, linked, kind(linked.address("measured")))


def compile_function(name: str, dtype: DType, lanes: int | None = None) -> Compiled:
    """A function of the math library at 64 bytes of lanes, or as many as asked."""
    dtypes = [dtype] * CASES[name].operands
    s = ScalarBuilder()
    root = getattr(s, name)(*(s.parameter(k, d) for k, d in enumerate(dtypes)))
    return compile_program([root], dtypes, lanes or 64 // dtype.itemsize)


# References -----------------------------------------------------------------------------------------------------------
def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _mp_lgamma(x: Any) -> Any:
    if mp.isinf(x) or (x <= 0 and x == mp.floor(x)):
        return mp.inf
    return mp.re(mp.loggamma(x))


def _mp_digamma(x: Any) -> Any:
    if x == 0 or (x < 0 and (mp.isinf(x) or x == mp.floor(x))):
        return mp.nan
    return mp.digamma(x)


def _mp_atan2(y: Any, x: Any) -> Any:
    """mpmath has no signed zero: y = 0 is left to the special-value tests."""
    return mp.nan if y == 0 else mp.atan2(y, x)


def _mp_erfc(x: Any) -> Any:
    if abs(x) > 1000:
        return mp.mpf(0 if x > 0 else 2)
    return mp.erfc(x)


def _mp_erfinv(x: Any) -> Any:
    """mpmath's own loses digits next to 1: Newton on erfc with enough of them."""
    if abs(x) >= 1:
        return mp.sign(x) * mp.inf if abs(x) == 1 else mp.nan
    y = mp.mpf(float(scipy.special.erfinv(float(x))))
    with mp.workdps(50):
        for _ in range(4):
            gap = mp.erf(y) - x if abs(x) < 0.5 else mp.sign(x) * ((1 - abs(x)) - mp.erfc(abs(y)))
            y -= gap * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
    return y


@dataclass(frozen=True)
class Case:
    """How a function is checked. `wide`: on f64 or long double arrays. `exact`: on one mpmath number; what it does
    not give (infinities, NaN, out of domain) is left to the special-value tests."""

    wide: Callable[..., Array] | None
    exact: Callable[..., Any]
    numpy: Callable[..., Array] | None = None
    operands: int = 1
    range: tuple[float, float] = (-20.0, 20.0)
    long_double: bool = True
    bound: dict[str, float] = field(default_factory=lambda: {"f32": 2.0, "f64": 2.0})


CASES: dict[str, Case] = {
    "exp": Case(np.exp, mp.exp, np.exp, range=(-80.0, 80.0)),
    "exp2": Case(np.exp2, lambda x: mp.mpf(2) ** x, np.exp2, range=(-120.0, 120.0)),
    "expm1": Case(np.expm1, mp.expm1, np.expm1, range=(-3.0, 3.0)),
    "log": Case(np.log, mp.log, np.log, range=(0.0, 4.0)),
    "log2": Case(np.log2, lambda x: mp.log(x) / mp.log(2), np.log2, range=(0.0, 4.0)),
    "log10": Case(np.log10, lambda x: mp.log(x) / mp.log(10), np.log10, range=(0.0, 4.0)),
    "log1p": Case(np.log1p, mp.log1p, np.log1p, range=(-1.0, 3.0)),
    "sin": Case(np.sin, mp.sin, np.sin),
    "cos": Case(np.cos, mp.cos, np.cos),
    "tan": Case(np.tan, mp.tan, np.tan),
    "asin": Case(np.arcsin, mp.asin, np.arcsin, range=(-1.0, 1.0)),
    "acos": Case(np.arccos, mp.acos, np.arccos, range=(-1.0, 1.0)),
    "atan": Case(np.arctan, mp.atan, np.arctan, range=(-5.0, 5.0)),
    "atan2": Case(np.arctan2, _mp_atan2, np.arctan2, operands=2),
    "sinh": Case(np.sinh, mp.sinh, np.sinh, range=(-9.0, 9.0)),
    "cosh": Case(np.cosh, mp.cosh, np.cosh, range=(-9.0, 9.0)),
    "tanh": Case(np.tanh, mp.tanh, np.tanh, range=(-9.0, 9.0)),
    "asinh": Case(np.arcsinh, mp.asinh, np.arcsinh, range=(-5.0, 5.0)),
    "acosh": Case(np.arccosh, mp.acosh, np.arccosh, range=(1.0, 5.0)),
    "atanh": Case(np.arctanh, mp.atanh, np.arctanh, range=(-1.0, 1.0)),
    "sigmoid": Case(_sigmoid, lambda x: 1 / (1 + mp.exp(-x))),
    "softplus": Case(_softplus, lambda x: mp.log1p(mp.exp(-abs(x))) + max(x, 0)),
    "log_sigmoid": Case(lambda x: -_softplus(-x), lambda x: -(mp.log1p(mp.exp(-abs(x))) + max(-x, 0))),
    "rsqrt": Case(lambda x: 1 / np.sqrt(x), lambda x: 1 / mp.sqrt(x), range=(0.0, 4.0)),
    "pow": Case(np.power, mp.power, np.power, operands=2),
    "erf": Case(scipy.special.erf, mp.erf, scipy.special.erf, range=(-6.0, 6.0), long_double=False),
    "erfc": Case(scipy.special.erfc, _mp_erfc, scipy.special.erfc, range=(-6.0, 27.5), long_double=False),
    "erfinv": Case(None, _mp_erfinv, scipy.special.erfinv, range=(-1.0, 1.0), long_double=False),
    # Relative accuracy ends near the zeros left of 0: positive arguments only, the others are tested in absolute terms.
    "lgamma": Case(None, _mp_lgamma, scipy.special.gammaln, range=(0.0, 20.0), long_double=False),
    "digamma": Case(None, _mp_digamma, scipy.special.digamma, range=(0.0, 20.0), long_double=False),
}


def positive_only(name: str) -> bool:
    """lgamma and digamma have no relative bound left of 0."""
    return name in ("lgamma", "digamma")


# Errors ---------------------------------------------------------------------------------------------------------------
def ulp_errors(got: Array, reference: Array, dtype: DType) -> Array:
    """|got - reference| in units of dtype's last place at the reference. Infinity where one is NaN and the other is
    not; an overflow to infinity counts as the next number after the largest finite one."""
    kind = dtype.numpy.type
    information = np.finfo(kind)
    with np.errstate(all="ignore"):
        magnitude = np.abs(reference)
        _, exponent = np.frexp(np.where(np.isfinite(reference) & (magnitude > 0), magnitude, 1))
        exponent = np.clip(exponent - 1, information.minexp, information.maxexp - 1)
        unit = np.ldexp(np.ones_like(reference), (exponent - information.nmant).astype(np.int32))
        top = np.ldexp(np.ones_like(reference), information.maxexp - 1) * 2
        # values at or beyond 2^maxexp all mean "infinity": compare them as 2^maxexp
        wide = got.astype(reference.dtype)
        wide = np.where(np.isinf(wide), np.copysign(top, wide), wide)
        clipped = np.clip(reference, -top, top)
        error = np.abs(wide - clipped) / unit
        return np.where(
            np.isnan(got) | np.isnan(reference), np.where(np.isnan(got) & np.isnan(reference), 0, np.inf), error
        )


def exact_errors(got: Array, arguments: list[Array], case: Case, dtype: DType) -> Array:
    """Like ulp_errors with mpmath, element by element; 0 where mpmath gives no real finite number."""
    information = np.finfo(dtype.numpy.type)
    smallest = mp.mpf(2) ** (information.minexp - information.nmant)
    top = mp.mpf(2) ** information.maxexp
    errors = np.zeros(len(got))
    for k, value in enumerate(got.tolist()):
        xs = [mp.mpf(float(a[k])) for a in arguments]
        if any(not mp.isfinite(x) for x in xs):
            continue
        try:
            reference = case.exact(*xs)
        except (ValueError, ZeroDivisionError):
            continue
        if isinstance(reference, mp.mpc) or not mp.isfinite(reference):
            continue
        if value != value:
            errors[k] = np.inf
            continue
        reference = max(-top, min(top, reference))
        given = mp.mpf(value) if np.isfinite(value) else (top if value > 0 else -top)
        unit = smallest
        if reference != 0:
            exponent = min(int(mp.floor(mp.log(abs(reference), 2))), information.maxexp - 1)
            unit = max(smallest, mp.mpf(2) ** (exponent - information.nmant))
        errors[k] = float(abs(given - reference) / unit)
    return errors


# Points ---------------------------------------------------------------------------------------------------------------
def every_binade(dtype: DType, per_binade: int, seed: int) -> Array:
    """Random numbers of every exponent and sign, subnormal ones too."""
    generator = np.random.default_rng(seed)
    integer, mantissa, exponents = (np.uint32, 23, 256) if dtype is float32 else (np.uint64, 52, 2048)
    exponent = np.repeat(np.arange(exponents - 1, dtype=np.uint64), per_binade)
    low = generator.integers(0, 1 << mantissa, exponent.size, dtype=np.uint64)
    sign = generator.integers(0, 2, exponent.size, dtype=np.uint64)
    pattern = (sign << np.uint64(mantissa + (8 if dtype is float32 else 11))) | (exponent << np.uint64(mantissa)) | low
    return pattern.astype(integer).view(dtype.numpy)


def edges(dtype: DType) -> Array:
    """Zeros, ones, limits, halves of pi, thresholds of overflow and underflow, and the neighbours of each."""
    kind = dtype.numpy.type
    information = np.finfo(kind)
    values = [0.0, 1.0, 2.0, 0.5, 0.25, 0.5625, 0.62, 0.85, 0.78, 8.0, 17.0, 18.2, 36.0, 88.72284, 87.33655, 103.97208,
              709.782712893384, 708.3964185322641, 745.1332191019412, 89.41599, 710.4758600739439, 26.543258, 27.226017,
              10.05, 1e30]  # fmt: skip
    values += [float(information.max), float(information.tiny), float(information.smallest_subnormal)]
    values += [k * np.pi / 4 for k in (*range(1, 9), 11, 22, 355, 710)]
    # the f64 nearest to a multiple of pi/2 (Muller, Elementary Functions, table 11.1), and f32's
    values += [6381956970095103.0 * 2.0**797, 16367173.0 * 2.0**72] if dtype is float64 else [16367173.0 * 2.0**72]
    with np.errstate(over="ignore"):
        base = np.array(values, kind)
        base = np.concatenate([base, np.nextafter(base, kind(np.inf)), np.nextafter(base, kind(0))])
    return np.concatenate([base, -base])


def ordinary(name: str, dtype: DType, count: int, seed: int) -> list[Array]:
    """Random points of the range where the function is neither constant nor its argument."""
    generator = np.random.default_rng(seed)
    case = CASES[name]
    kind = dtype.numpy.type
    if case.operands == 1:
        return [generator.uniform(*case.range, count).astype(kind)]
    if name == "atan2":
        return [generator.normal(size=count).astype(kind), generator.normal(size=count).astype(kind)]
    limit = 88.0 if dtype is float32 else 709.0
    x = np.exp(
        np.where(
            np.arange(count) % 2, generator.uniform(-limit / 2, limit / 2, count), generator.normal(size=count) * 0.01
        )
    )
    x = x.astype(kind)
    logarithm = np.log(x.astype(np.float64))
    y = generator.uniform(-limit * 1.05, limit, count) / np.where(logarithm == 0, 1, logarithm)
    return [x, y.astype(kind)]


def floats32(every: int) -> Iterator[Array]:
    """All floats whose bits are a multiple of `every`, in blocks."""
    step = every * (1 << 21)
    for start in range(0, 1 << 32, step):
        yield np.arange(start, min(start + step, 1 << 32), every, dtype=np.uint64).astype(np.uint32).view(np.float32)


def usual_floats32() -> Iterator[Array]:
    """All floats with 1/16 <= |x| < 16."""
    for sign in (0, 1 << 31):
        for start in range((127 - 4) << 23, (127 + 4) << 23, 1 << 21):
            yield (np.arange(start, start + (1 << 21), dtype=np.uint32) | np.uint32(sign)).view(np.float32)


# The table ------------------------------------------------------------------------------------------------------------
def nanoseconds(run: Callable[[], Any], count: int) -> float:
    """The best of many runs, per element."""
    best = float("inf")
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(5):
            run()
        best = min(best, (time.perf_counter() - start) / 5)
    return best / count * 1e9


class Worst:
    """The largest error seen, and where."""

    def __init__(self) -> None:
        self.error, self.point, self.count = 0.0, "", 0

    def see(self, errors: Array, arguments: list[Array]) -> None:
        self.count += errors.size
        k = int(np.argmax(errors))
        if errors[k] > self.error:
            self.error, self.point = float(errors[k]), ", ".join(repr(a[k].item()) for a in arguments)


def measure_error(name: str, dtype: DType, quick: bool, every: bool) -> Worst:
    """The largest error of a function over its points."""
    case, compiled, worst = CASES[name], compile_function(name, dtype), Worst()

    def wide(arguments: list[Array], target: Any) -> None:
        with np.errstate(all="ignore"):
            reference = case.wide(*(a.astype(target) for a in arguments))  # type: ignore[misc]
            worst.see(ulp_errors(compiled(*arguments), reference, dtype), arguments)

    def exact(arguments: list[Array]) -> None:
        if positive_only(name):
            arguments = [a[a > 0] for a in arguments]
        worst.see(exact_errors(compiled(*arguments), arguments, case, dtype), arguments)

    def pairs(points: Array, seed: int) -> list[Array]:
        return [np.random.default_rng(seed + k).permutation(points) for k in range(case.operands)]

    short = dtype is float32
    if short and case.wide is not None and case.operands == 1:
        for block in floats32(1 if every else 127 * (16 if quick else 1)):
            wide([block], np.float64)
        if not quick and not every:
            for block in usual_floats32():
                wide([block], np.float64)
    if case.wide is not None and (short or (case.long_double and np.finfo(np.longdouble).nmant >= 63)):
        count = 200_000 if quick else 4_000_000
        target = np.float64 if short else np.longdouble
        wide(ordinary(name, dtype, count, 1), target)
        wide(pairs(every_binade(dtype, count // (256 if short else 2048), 2), 3), target)
    # mpmath: erfinv costs a millisecond a point there
    count = (300 if quick else 3000) if name == "erfinv" else (1500 if quick else 30_000)
    exact(ordinary(name, dtype, count, 4))
    exact(pairs(every_binade(dtype, 2 if quick else 10, 5), 6))
    near = edges(dtype)
    exact([near] if case.operands == 1 else [a.ravel() for a in np.meshgrid(near, near)])
    return worst


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--every", action="store_true", help="all 2^32 floats")
    options = parser.parse_args()
    print("| function | dtype | largest error, ulp | at | points | operations | ns per element | NumPy or SciPy, ns |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in options.functions or CASES:
        for dtype in (float32, float64):
            worst = measure_error(name, dtype, options.quick, options.every)
            compiled = compile_function(name, dtype)
            points = ordinary(name, dtype, 8192, 7)
            outputs = np.empty(8192, dtype.numpy)
            addresses = [a.ctypes.data for a in (*points, outputs)]
            ours = nanoseconds(lambda c=compiled, a=addresses: c.function(*a, 8192), 8192)  # type: ignore[misc]
            peer, theirs = CASES[name].numpy, "-"
            if peer is not None:
                with np.errstate(all="ignore"):
                    run = lambda p=peer, a=points, o=outputs: p(*a, out=o)  # type: ignore[misc]  # noqa: E731
                    theirs = f"{nanoseconds(run, 8192):.2f}"
            row = [name, dtype.short, f"{worst.error:.3f}", worst.point, f"{worst.count:.3g}", compiled.operations]
            print("|", " | ".join(map(str, [*row, f"{ours:.2f}", theirs])), "|", flush=True)


if __name__ == "__main__":
    main()

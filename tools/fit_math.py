"""Fits every polynomial of graphflow/kernels/math*.py and writes them as graphflow/kernels/math_coefficients.py.

    python tools/fit_math.py            # rewrite the file
    python tools/fit_math.py exp log    # only print these fits and their errors

Each polynomial is the minimax one (Remez exchange, Muller, "Elementary Functions", 3rd edition, section 3.5) of a
function that mpmath evaluates at 60 digits, under a weight that turns its error into a relative error of the final
result. Coefficients are rounded to the target dtype from the lowest power up, and after each rounding the higher ones
are fitted again, so the rounding of a low coefficient is made up by the rest (the idea of Brisebarre, Muller and
Tisserand 2006, done greedily)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Function = Callable[[Any], Any]


def solve(points: list[Any], values: list[Any], weights: list[Any], size: int) -> tuple[list[Any], Any]:
    """Coefficients c and level e with weight * (value - sum c_k x^k) = +-e, alternating over the size + 1 points."""
    size += 1
    matrix = mp.matrix(size, size)
    right = mp.matrix(size, 1)
    for row, (x, value, weight) in enumerate(zip(points, values, weights, strict=True)):
        for column in range(size - 1):
            matrix[row, column] = x**column
        matrix[row, size - 1] = (-1) ** row / weight
        right[row] = value
    answer = mp.lu_solve(matrix, right)
    return [answer[k] for k in range(size - 1)], abs(answer[size - 1])


def remez(grid: list[Any], values: list[Any], weights: list[Any], size: int) -> tuple[list[Any], float]:
    """The weighted minimax polynomial of `size` coefficients on a fine grid, and its largest weighted error."""
    count = size + 1
    last = len(grid) - 1
    chosen = sorted({round(last * (1 - float(mp.cos(mp.pi * k / (count - 1)))) / 2) for k in range(count)})
    best: tuple[list[Any], float] = ([], float("inf"))
    for _ in range(25):
        coefficients, level = solve(
            [grid[k] for k in chosen], [values[k] for k in chosen], [weights[k] for k in chosen], size
        )
        errors = []
        for x, value, weight in zip(grid, values, weights, strict=True):
            total = mp.polyval(coefficients[::-1], x)
            errors.append(float(weight * (value - total)))
        largest = max(map(abs, errors))
        if largest < best[1]:
            best = (coefficients, largest)
        if largest <= float(level) * 1.02:
            break
        # one extremum of each run of equal sign, then the best `count` neighbours
        extrema: list[int] = []
        for k, error in enumerate(errors):
            if extrema and (error > 0) == (errors[extrema[-1]] > 0):
                if abs(error) > abs(errors[extrema[-1]]):
                    extrema[-1] = k
            else:
                extrema.append(k)
        while len(extrema) > count:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < count:
            break
        chosen = extrema
    return best


def chebyshev_grid(low: Any, high: Any, size: int) -> list[Any]:
    """Points of [low, high], denser towards its ends. 0, where a difference quotient is 0/0, is moved by a tiny
    amount."""
    low, high = mp.mpf(low), mp.mpf(high)
    grid = [low + (high - low) * (1 - mp.cos(mp.pi * k / (size - 1))) / 2 for k in range(size)]
    return [x if abs(x) > mp.mpf("1e-12") else mp.mpf("1e-12") for x in grid]


def fit(
    function: Function, low: Any, high: Any, count: int, weight: Function, dtype: str, keep: tuple[float, ...] = ()
) -> tuple[list[float], float]:
    """`count` coefficients (lowest first, `keep` of them given) in dtype, and the largest weighted error after
    rounding."""
    grid = chebyshev_grid(low, high, 30 * count + 1)
    span = grid[-1] - grid[0]
    values = [mp.mpf(function(x)) for x in grid]
    weights = [abs(mp.mpf(weight(x))) for x in grid]
    floor = max(weights) * mp.mpf("1e-3")
    weights = [max(w, floor) for w in weights]
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    done: list[float] = [float(kind(c)) for c in keep]
    while len(done) < count:
        # What is left after the fixed low coefficients is x^k times a polynomial: divide by x^k (so that the basis
        # keeps the Haar condition on an interval around 0) and weight by |x|^k.
        k = len(done)
        # Points next to 0 carry no information then.
        kept = [(x, v, w) for x, v, w in zip(grid, values, weights, strict=True) if k == 0 or abs(x) > 1e-3 * span]
        rest = [(v - mp.polyval([mp.mpf(c) for c in done[::-1]], x) if done else v) / x**k for x, v, _ in kept]
        coefficients, _ = remez([x for x, _, _ in kept], rest, [w * abs(x) ** k for x, _, w in kept], count - k)
        if k >= 3 + len(keep):  # from here on the rounding is far below the final precision: keep the joint solution
            done.extend(float(kind(mp.nstr(c, 30))) for c in coefficients)
        else:
            done.append(float(kind(mp.nstr(coefficients[0], 30))))
    exact = [mp.mpf(c) for c in done]
    largest = max(
        abs(float(w * (v - mp.polyval(exact[::-1], x)))) for x, v, w in zip(grid, values, weights, strict=True)
    )
    return done, largest


def fit_long(
    function: Function, low: Any, high: Any, count: int, weight: Function, long: int
) -> tuple[list[float], list[float], float]:
    """Like fit in f64, but the lowest `long` coefficients are sums of two floats: also returns their second parts."""
    grid = chebyshev_grid(low, high, 30 * count + 1)
    values, weights = [mp.mpf(function(x)) for x in grid], [abs(mp.mpf(weight(x))) for x in grid]
    coefficients, _ = remez(grid, values, weights, count)
    first = [float(mp.nstr(c, 30)) for c in coefficients]
    second = [float(mp.nstr(c - mp.mpf(f), 30)) for c, f in zip(coefficients[:long], first, strict=False)]
    exact = [mp.mpf(f) + (mp.mpf(second[k]) if k < long else 0) for k, f in enumerate(first)]
    largest = max(
        abs(float(w * (v - mp.polyval(exact[::-1], x)))) for x, v, w in zip(grid, values, weights, strict=True)
    )
    return first, second, largest


LN2 = mp.log(2)
ROOT_HALF, ROOT_TWO = mp.sqrt(mp.mpf(1) / 2), mp.sqrt(2)
LOG_Z = ((ROOT_TWO - 1) / (ROOT_TWO + 1)) ** 2 * mp.mpf("1.001")
QUARTER_PI = (mp.pi / 4) ** 2 * mp.mpf("1.001")
ATAN_Z = mp.tan(mp.pi / 8) ** 2 * mp.mpf("1.001")
EXP_R = LN2 / 2 * mp.mpf("1.001")
ERFCX_K = 4  # erfcx(x) (x + K) as a polynomial of t = (x - K) / (x + K), after Shepherd and Laframboise 1981


def root(z: Any) -> Any:
    """x where the variable of the polynomial is x^2."""
    return mp.sqrt(z)


def one(z: Any) -> Any:
    """The weight of an absolute error."""
    return mp.mpf(1)


def erfcx_scaled(t: Any) -> Any:
    """exp(x^2) erfc(x) (x + K) in t."""
    x = ERFCX_K * (1 + t) / (1 - t) if t < 1 else mp.inf
    if x > 1e6:
        return (1 + ERFCX_K / x) / mp.sqrt(mp.pi)
    return mp.exp(x * x) * mp.erfc(x) * (x + ERFCX_K)


def stirling(z: Any) -> Any:
    """(lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2) x in z = 1/x^2."""
    x = 1 / mp.sqrt(z)
    if x > 1e5:
        return mp.mpf(1) / 12 - z / 360 + z * z / 1260
    return (mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x


def digamma_tail(z: Any) -> Any:
    """(log x - 1/(2x) - digamma(x)) x^2 in z = 1/x^2."""
    x = 1 / mp.sqrt(z)
    if x > 1e5:
        return mp.mpf(1) / 12 - z / 120 + z * z / 252
    return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) * x * x


DIGAMMA_ZERO = mp.findroot(mp.digamma, mp.mpf("1.46163214496836"))


def erfinv_tail(w: Any) -> Any:
    """erfinv(x) / sqrt(w) with w = -log(1 - x^2), as a function of sqrt(w)."""
    x2 = -mp.expm1(-w * w)
    with mp.workdps(40):
        y = mp.sqrt(w * w)
        for _ in range(60):
            # Newton on log erfc, which is nearly linear in y^2
            complement = mp.erfc(y)
            wanted = mp.exp(-w * w) / (1 + mp.sqrt(x2))
            step = (mp.log(complement) - mp.log(wanted)) * complement * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
            y += step
            if abs(step) < mp.mpf(10) ** -30:
                break
        return y / w


# name -> (function, low, high, weight, {dtype: number of coefficients}, what it is)
FITS: dict[str, tuple[Function, Any, Any, Function, dict[str, int], str]] = {
    "EXP": (lambda r: (mp.expm1(r) - r) / r**2, -EXP_R, EXP_R, lambda r: abs(r), {"f32": 5, "f64": 11},
            "(exp(r) - 1 - r) / r^2 on |r| <= log(2)/2"),
    "EXP2": (lambda r: mp.expm1(r * LN2) / r, -0.5, 0.5, lambda r: abs(r), {"f32": 6, "f64": 11},
             "(2^r - 1) / r on |r| <= 1/2"),
    "EXP_ODD": (lambda z: (mp.sinh(root(z)) / root(z) - 1) / z, 0, EXP_R**2, lambda z: z, {"f32": 2, "f64": 5},
                "(sinh(r) - r) / r^3 in z = r^2 on |r| <= log(2)/2"),
    "EXP_EVEN": (lambda z: (mp.cosh(root(z)) - 1) / z, 0, EXP_R**2, lambda z: z, {"f32": 3, "f64": 6},
                 "(cosh(r) - 1) / r^2 in z = r^2 on |r| <= log(2)/2"),
    "LOG_F32": (lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, ROOT_HALF - 1, ROOT_TWO - 1, lambda f: f**2, {"f32": 9},
                "(log(1+f) - f + f^2/2) / f^3 on sqrt(1/2) <= 1+f <= sqrt(2)"),
    "LOG": (lambda z: (2 * mp.atanh(root(z)) / root(z) - 2) / z, 0, LOG_Z, one, {"f64": 7},
            "(log((1+s)/(1-s)) - 2s) / s^3 in z = s^2, the range of LOG_F32 under s = f / (2 + f)"),
    "LOG_TAIL": (lambda z: (2 * mp.atanh(root(z)) / root(z) - 2 - 2 * z / 3) / z**2, 0, LOG_Z, one, {"f64": 7},
                 "(log((1+s)/(1-s)) - 2s - 2/3 s^3) / s^5 in z = s^2 (pow)"),
    "LOG_SHORT": (lambda z: 2 * mp.atanh(root(z)) / root(z) / LN2, 0, LOG_Z, one, {"f64": 6},
                  "log2((1+s)/(1-s)) / s in z = s^2 to 42 bits (pow of f32)"),
    "EXP2_SHORT": (lambda r: mp.mpf(2) ** r, -0.5, 0.5, one, {"f64": 8}, "2^r on |r| <= 1/2 to 34 bits (pow of f32)"),
    "SIN": (lambda z: (mp.sin(root(z)) / root(z) - 1) / z, 0, QUARTER_PI, lambda z: z, {"f32": 3, "f64": 6},
            "(sin(r) - r) / r^3 in z = r^2 on |r| <= pi/4"),
    "COS": (lambda z: (mp.cos(root(z)) - 1 + z / 2) / z**2, 0, QUARTER_PI, lambda z: z * z, {"f32": 3, "f64": 6},
            "(cos(r) - 1 + r^2/2) / r^4 in z = r^2 on |r| <= pi/4"),
    "TANH": (lambda z: (mp.tanh(root(z)) / root(z) - 1) / z, 0, mp.mpf("0.3844"), lambda z: z, {"f32": 5},
             "(tanh(x) - x) / x^3 in z = x^2 on |x| <= 0.62"),
    "ATAN": (lambda z: (mp.atan(root(z)) / root(z) - 1) / z, 0, ATAN_Z, lambda z: z, {"f32": 4, "f64": 11},
             "(atan(x) - x) / x^3 in z = x^2 on |x| <= tan(pi/8)"),
    "ASIN": (lambda z: (mp.asin(root(z)) / root(z) - 1) / z, 0, mp.mpf("0.31641"), lambda z: z, {"f32": 6, "f64": 14},
             "(asin(x) - x) / x^3 in z = x^2 on |x| <= 0.5625"),
    "ERF": (lambda z: mp.erf(root(z)) / root(z) - 1, 0, 1, one, {"f32": 7, "f64": 13},
            "erf(x) / x - 1 in z = x^2 on |x| <= 1"),
    "ERF_LOG": (lambda x: mp.log(mp.erfc(x)), mp.mpf("0.99"), mp.mpf("4.0"), lambda x: mp.erfc(x), {"f32": 8},
                "log(erfc(x)) on 1 <= x <= 4, weighted by erfc(x)"),
    "ERFCX": (erfcx_scaled, mp.mpf("-0.651"), mp.mpf("0.751"), lambda t: 1 / erfcx_scaled(t), {"f64": 22},
              f"exp(x^2) erfc(x) (x + {ERFCX_K}) in t = (x - {ERFCX_K}) / (x + {ERFCX_K}) on 0.85 <= x <= 28"),
    "LGAMMA": (lambda d: mp.loggamma(2 + d) / d, -0.5, 0.5, one, {"f64": 18}, "lgamma(2+d) / d on |d| <= 1/2"),
    "STIRLING": (stirling, 0, mp.mpf(1) / 64, one, {"f64": 9},
                 "x (lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2) in 1/x^2 on x >= 8"),
    "DIGAMMA": (lambda d: mp.digamma(mp.mpf(3) / 2 + d) / (mp.mpf(3) / 2 + d - DIGAMMA_ZERO), -0.5, 0.5, one, {"f64":
    25},
                "digamma(x) / (x - x0) in d = x - 3/2 on |d| <= 1/2, x0 the positive zero"),
    "DIGAMMA_TAIL": (digamma_tail, 0, mp.mpf(1) / 36, one, {"f64": 10},
                     "x^2 (log x - 1/(2x) - digamma(x)) in 1/x^2 on x >= 6"),
    "ERFINV_CENTRE": (lambda z: mp.erfinv(root(z)) / root(z), 0, mp.mpf("0.609"), one, {"f64": 10},
                      "erfinv(x) / x in z = x^2 on |x| <= 0.78, first guess"),
    "ERFINV_TAIL": (erfinv_tail, mp.mpf("0.96"), mp.mpf("6.1"), one, {"f64": 13},
                    "erfinv(x) / w in w = sqrt(-log(1 - x^2)) on 0.78 <= |x| < 1, first guess"),
}  # fmt: skip

#: Given lowest coefficients that must stay exact.
KEEP = {"EXP": (0.5,), "EXP_EVEN": (0.5,)}
#: How many lowest coefficients are sums of two floats, because their rounding alone would cost an ulp.
LONG = {"ERFCX": 2, "LGAMMA": 1, "DIGAMMA": 1}


def split(value: Any, dtype: str, bits: tuple[int, ...]) -> list[float]:
    """value as a sum of floats of dtype: each but the last is cut to so many bits, so that products with small
    integers are exact (Cody and Waite 1980); the last is rounded."""
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    parts = []
    for count in bits:
        scale = mp.mpf(2) ** (count - 1 - int(mp.floor(mp.log(abs(value), 2))))
        part = mp.nint(value * scale) / scale
        parts.append(float(part))
        value -= part
    return [*parts, float(kind(mp.nstr(value, 40)))]


# name -> (value, {dtype: bits of the leading parts}, what it is). k log(2) is exact for every exponent k of the dtype.
SPLITS: dict[str, tuple[Any, dict[str, tuple[int, ...]], str]] = {
    "LN2": (LN2, {"f32": (15,), "f64": (41,)}, "log(2), the first part short"),
    "LOG10_2": (mp.log10(2), {"f32": (15,), "f64": (41,)}, "log10(2), the first part short"),
    "LOG2_E": (1 / LN2, {"f32": (24,), "f64": (53,)}, "log2(e)"),
    "LOG10_E": (1 / mp.log(10), {"f32": (24,), "f64": (53,)}, "log10(e)"),
    "PI": (mp.pi, {"f32": (24,), "f64": (53,)}, "pi"),
    "TWO_THIRDS": (mp.mpf(2) / 3, {"f64": (53,)}, "2/3"),
    "HALF_LOG_TWO_PI": (mp.log(2 * mp.pi) / 2, {"f64": (53,)}, "log(2 pi) / 2"),
    "LOG_PI": (mp.log(mp.pi), {"f64": (53,)}, "log(pi)"),
    "DIGAMMA_ZERO": (DIGAMMA_ZERO, {"f64": (53,)}, "the positive zero of digamma"),
}


def two_over_pi(word: int, count: int) -> list[int]:
    """The first `count` digits of 2/pi in base 2^word (Payne and Hanek 1983)."""
    with mp.workprec(word * count + 64):
        digits = int(mp.floor(2 / mp.pi * mp.mpf(2) ** (word * count)))
    return [(digits >> (word * (count - 1 - k))) & ((1 << word) - 1) for k in range(count)]


def main(names: list[str]) -> None:
    """Fit, report and (with no names given) write the file."""
    lines = [
        '"""Polynomial coefficients of the math library, lowest power first. Written by tools/fit_math.py.',
        "",
        "Each is a minimax fit that this project ran itself (Remez exchange in mpmath at 60 digits); the comment gives",
        'what is approximated, where, and the largest weighted error after rounding the coefficients."""',
    ]
    for name, (function, low, high, weight, counts, text) in FITS.items():
        if names and name not in names:
            continue
        for dtype, count in counts.items():
            second: list[float] = []
            if name in LONG:
                coefficients, second, error = fit_long(function, low, high, count, weight, LONG[name])
            else:
                coefficients, error = fit(function, low, high, count, weight, dtype, KEEP.get(name, ()))
            bits = -np.log2(error)
            print(f"{name} {dtype}: {count} coefficients, error {error:.3g} = 2^-{bits:.1f}", flush=True)
            label = name if name.endswith("_F32") or len(counts) == 1 else f"{name}_{dtype.upper()}"
            lines += ["", f"#: {text}.", f"#: Error {error:.2g} (2^-{bits:.1f}).", f"{label} = ("]
            for value in coefficients:
                lines.append(f"    {float(np.float32(value)) if dtype == 'f32' else value!r},")
            lines.append(")")
            if second:
                lines += ["", f"#: What the rounding of the lowest coefficients of {label} left out."]
                lines.append(f"{label}_LOW = {tuple(second)}")
    for name, (value, lengths, text) in SPLITS.items():
        for dtype, parts in lengths.items():
            lines += ["", f"#: {text}, as a sum.", f"{name}_{dtype.upper()} = {tuple(split(value, dtype, parts))}"]
    lines += [
        "",
        "#: 2/pi in digits of 32 bits (f32) and of 48 bits (f64), as many as the largest finite argument needs.",
    ]
    lines += ["TWO_OVER_PI_F32 = (", *(f"    0x{digit:08X}," for digit in two_over_pi(32, 7)), ")"]
    lines += ["TWO_OVER_PI_F64 = (", *(f"    0x{digit:012X}," for digit in two_over_pi(48, 25)), ")"]
    if not names:
        target = Path(__file__).parents[1] / "graphflow" / "kernels" / "math_coefficients.py"
        target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Writes graphflow/kernels/special_coefficients.py: the Chebyshev series of the special functions in kernels/math_bessel.py.

Each piece is a smooth function of t in [-1, 1], interpolated at Chebyshev nodes with 40 digits and cut where what is left is below
2**-58 of its largest value. Run `python tools/fit_special.py`; the file comes out the same to the byte, in about a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpmath import mp

mp.dps = 40
Function = Callable[[Any], Any]
NODES = 64


def series(function: Function) -> list[float]:
    """The Chebyshev coefficients of function(t), lowest first, the lowest halved already."""
    count = NODES
    angles = [mp.pi * (k + mp.mpf(1) / 2) / count for k in range(count)]
    values = [function(mp.cos(a)) for a in angles]
    found = []
    for degree in range(count):
        total = mp.fsum(v * mp.cos(degree * a) for v, a in zip(values, angles, strict=True))
        found.append(total * (1 if degree == 0 else 2) / count)
    largest = max(abs(v) for v in values)
    kept = max(k for k, c in enumerate(found) if abs(c) > largest * mp.mpf(2) ** -58) + 1
    if kept > count - 8:
        raise ValueError(f"a series of {count} terms is too short")
    return [float(mp.nstr(c, 25)) for c in found[:kept]]


def by_x(function: Function, low: Any, high: Any) -> Function:
    """t -> function(x) with x from low to high."""
    return lambda t: function(low + (high - low) * (t + 1) / 2)


def by_square(function: Function, high: Any) -> Function:
    """t -> function(x) with x * x from 0 to high * high."""
    return lambda t: function(mp.sqrt(mp.mpf(high) ** 2 * (t + 1) / 2))


def by_power(function: Function, low: Any, power: int) -> Function:
    """t -> function(x) with x ** -power from 0 to low ** -power."""
    return lambda t: function((mp.mpf(low) ** -power * (t + 1) / 2) ** (mp.mpf(-1) / power))


def hankel(order: int) -> tuple[Function, Function]:
    """P(x) and x Q(x) of the Bessel functions' large arguments (DLMF 10.17)."""
    shift = mp.pi * (2 * order + 1) / 4

    def amplitudes(x: Any) -> tuple[Any, Any]:
        with mp.extradps(30):
            j, y, chi = mp.besselj(order, x), mp.bessely(order, x), x - shift
            root = mp.sqrt(mp.pi * x / 2)
            p = root * (j * mp.cos(chi) + y * mp.sin(chi))
            return p, x * root * (y * mp.cos(chi) - j * mp.sin(chi))

    return (lambda x: amplitudes(x)[0]), (lambda x: amplitudes(x)[1])


def dawson(x: Any) -> Any:
    """Dawson's integral."""
    return mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)


def fresnel(x: Any) -> tuple[Any, Any]:
    """The auxiliary functions times pi x and pi**2 x**3 (DLMF 7.5)."""
    with mp.extradps(40):
        s, c = mp.mpf(1) / 2 - mp.fresnels(x), mp.mpf(1) / 2 - mp.fresnelc(x)
        angle = mp.pi * x * x / 2
        f = s * mp.cos(angle) - c * mp.sin(angle)
        g = c * mp.cos(angle) + s * mp.sin(angle)
        return f * mp.pi * x, g * mp.pi**2 * x**3


P0, Q0 = hankel(0)
P1, Q1 = hankel(1)
TWO_OVER_PI = 2 / mp.pi


def scaled_ei(x: Any) -> Any:
    """The exponential integral without its growth."""
    return x * mp.exp(-x) * mp.ei(x)


PIECES: dict[str, Function] = {
    "I0E_NEAR": by_x(lambda x: mp.exp(-x) * mp.besseli(0, x), 0, 8),
    "I0E_FAR": by_power(lambda x: mp.sqrt(x) * mp.exp(-x) * mp.besseli(0, x), 8, 1),
    "I1E_NEAR": by_x(lambda x: mp.exp(-x) * mp.besseli(1, x) / x, 0, 8),
    "I1E_FAR": by_power(lambda x: mp.sqrt(x) * mp.exp(-x) * mp.besseli(1, x), 8, 1),
    "K0_NEAR": by_square(lambda x: mp.besselk(0, x) + mp.log(x / 2) * mp.besseli(0, x), 2),
    "K0E_FAR": by_power(lambda x: mp.sqrt(x) * mp.exp(x) * mp.besselk(0, x), 2, 1),
    "K1_NEAR": by_square(lambda x: x * (mp.besselk(1, x) - mp.log(x / 2) * mp.besseli(1, x)), 2),
    "K1E_FAR": by_power(lambda x: mp.sqrt(x) * mp.exp(x) * mp.besselk(1, x), 2, 1),
    "J0_NEAR": by_square(lambda x: mp.besselj(0, x), 8),
    "J1_NEAR": by_square(lambda x: mp.besselj(1, x) / x, 8),
    "Y0_NEAR": by_square(lambda x: mp.bessely(0, x) - TWO_OVER_PI * mp.log(x) * mp.besselj(0, x), 8),
    "Y1_NEAR": by_square(lambda x: (mp.bessely(1, x) - TWO_OVER_PI * (mp.log(x) * mp.besselj(1, x) - 1 / x)) / x, 8),
    "P0": by_power(P0, 8, 2),
    "Q0": by_power(Q0, 8, 2),
    "P1": by_power(P1, 8, 2),
    "Q1": by_power(Q1, 8, 2),
    "DAWSON_NEAR": by_square(lambda x: dawson(x) / x, 1),
    "DAWSON_MIDDLE": by_x(dawson, 1, 3),
    "DAWSON_OUTER": by_x(dawson, 3, 6),
    "DAWSON_FAR": by_power(lambda x: x * dawson(x), 6, 2),
    "EI_NEAR": by_x(lambda x: (mp.ei(x) - mp.euler - mp.log(x)) / x, 0, 2),
    "EI_MIDDLE": by_x(scaled_ei, 2, 6),
    "EI_OUTER": by_x(scaled_ei, 6, 16),
    "EI_FAR": by_x(scaled_ei, 16, 40),
    "EI_LARGE": by_power(scaled_ei, 40, 1),
    "FRESNEL_S_NEAR": lambda t: (lambda x: mp.fresnels(x) / x**3)(((t + 1) / 2 * mp.mpf("1.6") ** 4) ** (mp.mpf(1) / 4)),
    "FRESNEL_C_NEAR": lambda t: (lambda x: mp.fresnelc(x) / x)(((t + 1) / 2 * mp.mpf("1.6") ** 4) ** (mp.mpf(1) / 4)),
    "FRESNEL_F": by_power(lambda x: fresnel(x)[0], "1.6", 2),
    "FRESNEL_G": by_power(lambda x: fresnel(x)[1], "1.6", 2),
    "DILOGARITHM": by_x(lambda w: mp.polylog(2, w) / w, mp.mpf(-1) / 2, mp.mpf(1) / 2),
}  # fmt: skip


def text() -> str:
    """The module's source."""
    lines = [
        '"""Chebyshev series of the special functions, lowest degree first. Written by tools/fit_special.py: do not edit."""',
        "",
        "from __future__ import annotations",
        "",
    ]
    for name, function in PIECES.items():
        lines.append(f"{name} = (")
        lines += [f"    {c!r}," for c in series(function)]
        lines += [")", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "graphflow" / "kernels" / "special_coefficients.py"
    target.write_text(text(), encoding="utf-8")

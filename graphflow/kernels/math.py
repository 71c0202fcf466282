"""The math library in the scalar language: `s.exp(x)` and the rest, for f32 and f64, each within 2 ulp of the true
value (the bounds measured are in docs/math.md). Nothing but IEEE operations and fma is used, so every target computes
the same bits."""

from __future__ import annotations

from .math_bessel import (  # noqa: F401 (their bounds are other ones: docs/special.md)
    bessel_i0,
    bessel_i0e,
    bessel_i1,
    bessel_i1e,
    bessel_j0,
    bessel_j1,
    bessel_k0,
    bessel_k0e,
    bessel_k1,
    bessel_k1e,
    bessel_y0,
    bessel_y1,
)
from .math_exponential import (
    acosh,
    asinh,
    atanh,
    cosh,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    log_sigmoid,
    pow,
    rsqrt,
    sigmoid,
    sinh,
    softplus,
    tanh,
)
from .math_integrals import (  # noqa: F401
    dawsn,
    expint,
    fresnel_cos,
    fresnel_sin,
    nextafter,
    polygamma_of_order,
    spence,
)
from .math_special import digamma, erf, erfc, erfinv, lgamma
from .math_trigonometric import acos, asin, atan, atan2, cos, sin, tan
from .random import cos_turn_f32, cos_turn_f64, threefry_high, threefry_low  # noqa: F401 (bits: no functions of the library, but `s.` finds them)

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "digamma", "erf", "erfc", "erfinv",
    "exp", "exp2", "expm1", "lgamma", "log", "log1p", "log2", "log10", "log_sigmoid", "pow", "rsqrt", "sigmoid", "sin",
    "sinh", "softplus", "tan", "tanh",
]  # fmt: skip

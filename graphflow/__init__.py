"""graphflow: a define-then-run graph compiler and runtime. TensorFlow-style Python in, one native function out.

    import graphflow as gf

    @gf.function
    def f(x):
        return gf.math.tanh(x) * 2.0
"""
from __future__ import annotations

from . import config, errors
from .autodiff.tape import GradientTape, UnconnectedGradients
from .devices import device
from .dtypes import (
    DType, as_dtype, bfloat16, complex64, complex128, float16, float32, float64, int8, int16, int32, int64, uint8, uint16,
    uint32, uint64,
)  # fmt: skip
from .dtypes import bool_ as bool  # noqa: A004
from .tensor import Tensor, TensorShape, constant, convert_to_tensor, is_tensor
from .tracing.function import Function, function, init_scope
from .tracing.signature import TensorSpec
from .variable import Variable

__version__ = "0.1.0"
newaxis = None

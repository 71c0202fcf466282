"""graphflow: a define-then-run graph compiler and runtime. TensorFlow-style Python in, one native function out.

    import graphflow as gf

    @gf.function
    def f(x):
        return gf.math.tanh(x) * 2.0

The public names are listed here; each is loaded when it is first used, so that importing graphflow costs little more
than NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as _numpy  # noqa: F401  (every part needs it; loaded here so that its cost shows where users look for it)

__version__ = "0.1.0"
newaxis = None

#: module -> the public names it defines. Later modules may re-export under gf.<namespace> too.
_NAMES = {
    "functions.array_ops": (
        "boolean_mask broadcast_to clip_by_global_norm clip_by_norm clip_by_value concat expand_dims eye fill "
        "gather gather_nd global_norm identity linspace meshgrid norm one_hot ones ones_like pad range rank "
        "repeat reshape reverse roll shape size slice split squeeze stack stop_gradient strided_slice tile "
        "transpose unstack where zeros zeros_like cast"
    ),
    "functions.assertions": "assert_equal assert_greater assert_less assert_rank",
    "autodiff.tape": "GradientTape UnconnectedGradients",
    "functions.control_flow": "case cond foldl foldr map_fn scan switch_case vectorized_map while_loop",
    "functions.custom_gradients": "custom_gradient grad_pass_through recompute_grad",
    "devices": "device",
    "dtypes": (
        "DType as_dtype bfloat16 complex64 complex128 float16 float32 float64 int8 int16 int32 int64 string "
        "uint8 uint16 uint32 uint64"
    ),
    "functions.effects": "Assert print name_scope",
    "functions.cumulative": "cumsum",
    "functions.einstein": "einsum",
    "linalg": "eig eigvals matmul matrix_square_root tensordot",
    "math": (
        "abs acos acosh add add_n argmax argmin asin asinh atan atan2 atanh cos cosh divide equal exp floor "
        "greater greater_equal less less_equal logical_and logical_not logical_or maximum minimum multiply "
        "negative not_equal pow reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min "
        "complex realdiv reduce_prod reduce_sum round scalar_mul sigmoid sign sin sinh sqrt square subtract tan tanh truediv "
        "truncatediv truncatemod"
    ),
    "module": "Module",
    "functions.ordering": "control_dependencies group no_op tuple",
    "functions.python_call": "ensure_shape numpy_function py_function",
    "functions.initializers": (
        "constant_initializer ones_initializer random_normal_initializer random_uniform_initializer zeros_initializer"
    ),
    "functions.introspection": (
        "broadcast_dynamic_shape broadcast_static_shape executing_eagerly get_current_name_scope get_logger "
        "get_static_value inside_function is_symbolic_tensor timestamp type_spec_from_value "
        "variable_creator_scope"
    ),
    "indexed_slices": "IndexedSlices",
    "functions.rearranging": (
        "batch_to_space bitcast dynamic_partition dynamic_stitch extract_volume_patches guarantee_const "
        "identity_n parallel_stack required_space_to_batch_paddings reverse_sequence saturate_cast "
        "sequence_mask shape_n space_to_batch space_to_batch_nd unravel_index"
    ),
    "functions.static_gradients": "gradients hessians",
    "functions.runtime_extent": "unique unique_with_counts",
    "functions.segments": (
        "histogram_fixed_width histogram_fixed_width_bins scatter_nd tensor_scatter_nd_add tensor_scatter_nd_max "
        "tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update"
    ),
    "functions.sorting": "argsort searchsorted sort",
    "tensor": "Tensor TensorShape constant convert_to_tensor is_tensor",
    "functions.tensor_array": "TensorArray",
    "tracing.function": "Function function init_scope",
    "tracing.signature": "TensorSpec",
    "variable": "Variable",
}
_SUBMODULES = (
    "autodiff",
    "autograph",
    "bitwise",
    "cache",
    "config",
    "data",
    "debugging",
    "dtypes",
    "errors",
    "image",
    "ir",
    "linalg",
    "math",
    "nest",
    "nn",
    "optimizers",
    "random",
    "signal",
    "tree",
)
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
_HOME |= {"bool": "dtypes"}
_RENAMED = {"bool": "bool_"}

__all__ = sorted([*_HOME, *_SUBMODULES, "newaxis"])


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        found: Any = importlib.import_module(f".{name}", __name__)
    elif name in _HOME:
        for part in (
            "tensor",
            "ops",
            "math",
        ):  # what every program uses: loaded together, so that no first call pays for it
            importlib.import_module(f".{part}", __name__)
        home = importlib.import_module(f".{_HOME[name]}", __name__)
        importlib.import_module(".arguments", __name__).guard("gf", vars(home), _NAMES.get(_HOME[name], "").split())
        found = getattr(home, _RENAMED.get(name, name))
    else:
        raise AttributeError(f"module 'graphflow' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

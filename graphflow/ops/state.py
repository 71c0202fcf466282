"""Ops with an effect: variables, printing, assertions; and the copy between devices. They keep their order."""

from __future__ import annotations

from string import Formatter
from typing import Any

import numpy as np

from ..devices import canonical_device
from ..errors import AssertionFailedError, DTypeError, GraphError, InvalidArgumentError, ShapeError
from ..ir.op import Alias, Effect, Sample, define_op
from ..ir.types import CPU, TensorType, VariableType
from .rules import equal_shapes
from .samples import fill

__all__ = ["assert_true", "assign_variable", "copy", "print_", "read_variable", "written_value"]


def _variable(name: str, type: TensorType) -> VariableType:
    if not isinstance(type, VariableType):
        raise GraphError(f"{name}: the first operand must be a variable, got {type}")
    return type


#: shapes and dtypes of the values that the samples move
_HELD = [
    ((3, 4), "float32"), ((), "float64"), ((0, 2), "float64"), ((2, 3), "float64"), ((5,), "int32"), ((2,), "bool"), ((2, 2), "complex64"),
]  # fmt: skip

read_variable = define_op(
    "read_variable", "variable",
    infer=lambda types: _variable("read_variable", types[0]).value_type,
    kernel=Effect("read"),
    gradient=lambda node, dy: [dy],
    reference=lambda variable: variable.copy(),
    samples=lambda: [
        *(Sample((fill(shape, dtype),), program=lambda variable: variable.value()) for shape, dtype in _HELD),
        Sample((fill((3,), "float32"),), error=GraphError),
    ],
    documentation="The variable's value at this point of the program.",
)  # fmt: skip


def _infer_assign(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    variable, value = _variable("assign_variable", types[0]), types[1]
    if value.dtype is not variable.dtype:
        raise DTypeError(f"assign_variable: the variable is {variable}, the value {value}; use gf.cast")
    if not equal_shapes(value.shape, variable.shape):
        raise ShapeError(f"assign_variable: shapes must be equal (no broadcasting), got {variable} and {value}")
    return ()


def _write(variable: Any, value: Any) -> tuple[Any, ...]:
    np.copyto(variable, value)
    return ()


def _assign_samples() -> list[Sample]:
    """The public call finds a wrong value before it makes a node, so those that fail are applied to plain tensors."""
    found = [
        Sample(
            (fill(shape, dtype), fill(shape, dtype, seed=1)),
            gradient=False,
            program=lambda variable, value: variable._write(value),
        )
        for shape, dtype in _HELD
    ]
    x = fill((3,), "float32")
    return [*found, Sample((x, x), error=GraphError)]


assign_variable = define_op(
    "assign_variable", "variable value",
    infer=_infer_assign,
    kernel=Effect("write"),
    no_gradient="an assignment cuts the gradient",
    reference=_write,
    samples=_assign_samples,
    documentation="The variable holds value from here on. No result.",
)  # fmt: skip


def _infer_written(types: tuple[TensorType, ...]) -> TensorType:
    value, before = types
    if value.dtype is not before.dtype:
        raise DTypeError(f"written_value: the value must have the variable's dtype, got {value} and {before}")
    return value


written_value = define_op(
    "written_value", "value before",
    infer=_infer_written,
    kernel=Alias(),
    gradient=lambda node, dy: [None, dy],
    reference=lambda value, before: value, numpy=lambda value, before: value,
    samples=lambda: [
        Sample((np.arange(3.0), np.ones(3)), gradient=False),
        Sample((np.array(2), np.array(1)), gradient=False),
        Sample((np.arange(3.0), np.ones(3, np.float32)), error=DTypeError),
    ],
    documentation="""A variable's value inside a branch or body that has written it: `value`, with a gradient that belongs to the
variable (whose value `before` stands for), not to the value that was written.""",
)  # fmt: skip


def _infer_print(
    types: tuple[TensorType, ...], template: str, stream: str = "stderr", summarize: int = 3
) -> tuple[TensorType, ...]:
    places = sum(field is not None for _, field, _, _ in Formatter().parse(template))
    if places != len(types):
        raise InvalidArgumentError(f"print: the template {template!r} has {places} places, got {len(types)} values")
    if stream not in ("stdout", "stderr") and not stream.startswith("file://"):
        raise InvalidArgumentError(f"print: the stream must be 'stdout', 'stderr' or 'file://<path>', got {stream!r}")
    return ()


def _print_samples() -> list[Sample]:
    x, edges = fill((3, 4), "float32"), np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 1 / 3])
    return [
        Sample((), {"template": "no values {{}}\n"}, gradient=False),
        Sample((x,), {"template": "{}\n"}, gradient=False),
        Sample((edges,), {"template": "edges {}\n", "summarize": -1}, gradient=False),
        Sample((edges, edges.astype("float32")), {"template": "{} and {}\n", "stream": "stdout"}, gradient=False),
        *(Sample((fill(shape, dtype),), {"template": f"{dtype} {{}}\n", "summarize": 1}, gradient=False)
          for shape in ((), (5,), (0, 2)) for dtype in ("int8", "uint64", "bool", "float64")),
        Sample((x, x), {"template": "{}"}, error=InvalidArgumentError),
        Sample((x,), {"template": "{}", "stream": "nowhere"}, error=InvalidArgumentError),
    ]  # fmt: skip


print_ = define_op(
    "print", "*values",
    attributes={"template": ..., "stream": "stderr", "summarize": 3},
    infer=_infer_print,
    kernel=Effect("print"), strings=True,
    no_gradient="printing has no result",
    reference=lambda *values, **attributes: (),
    samples=_print_samples,
    documentation="Writes `template` with the operands' values put in, at each run, in program order. No result.",
)  # fmt: skip


def _infer_assert(
    types: tuple[TensorType, ...], message: str, summarize: int = 3, name: str = "", labels: tuple[str, ...] = ()
) -> tuple[TensorType, ...]:
    if not types[0].dtype.is_bool:
        raise DTypeError(f"assert_true: the condition must be bool, got {types[0]}")
    return ()


def _assert_reference(condition: Any, *values: Any, message: str, **attributes: Any) -> tuple[Any, ...]:
    if not condition.all():
        raise AssertionFailedError(f"assert_true: {message}")
    return ()


def _assert_samples() -> list[Sample]:
    x = fill((3,), "float32")
    attributes = {"message": "x must be positive", "name": "assert_true", "labels": ("x",)}
    return [
        *(Sample((np.ones(shape, bool), x), attributes, gradient=False) for shape in ((), (3,), (2, 3), (0,))),
        *(Sample((condition, x), attributes, error=AssertionFailedError)
          for condition in (np.array(False), np.array([True, False, True]))),
        Sample((x, x), attributes, error=DTypeError),
    ]  # fmt: skip


assert_true = define_op(
    "assert_true", "condition *values",
    attributes={"message": ..., "summarize": 3, "name": "", "labels": ()},
    infer=_infer_assert,
    kernel=Effect("assert"), strings=True,
    no_gradient="an assertion has no result",
    reference=_assert_reference,
    samples=_assert_samples,
    documentation="""Fails the run with `message` and the values unless every element of condition is true. No result. summarize:
elements of each value that the error shows (-1: all); name: the public function that asserts; labels: what the error calls the values.""",
)  # fmt: skip


def _copy_gradient(node: Any, dy: Any) -> list[Any]:
    return [copy(dy, device=node.inputs[0].type.device)]


def _infer_copy(types: tuple[TensorType, ...], device: str) -> TensorType:
    try:
        return types[0].with_device(canonical_device(device))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"copy: {error}") from None


copy = define_op(
    "copy", "x",
    attributes={"device": ...},
    infer=_infer_copy,
    kernel=Effect("copy"),
    gradient=_copy_gradient,
    reference=lambda x, device: x,
    samples=lambda: [
        *(Sample((fill(shape, dtype),), {"device": CPU}) for shape, dtype in _HELD),
        Sample((fill((3,), "float32"),), {"device": "nowhere"}, error=InvalidArgumentError),
    ],
    documentation="x moved to another device; same bits.",
)  # fmt: skip

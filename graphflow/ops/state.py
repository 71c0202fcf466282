"""Ops with an effect: variables, printing, assertions; and the copy between devices. They keep their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError
from ..ir.op import Alias, Effect, Sample, define_op
from ..ir.types import TensorType, VariableType
from .rules import equal_shapes

__all__ = ["assert_true", "assign_variable", "copy", "print_", "read_variable", "written_value"]


def _variable(name: str, type: TensorType) -> VariableType:
    if not isinstance(type, VariableType):
        raise GraphError(f"{name}: the first operand must be a variable, got {type}")
    return type


read_variable = define_op(
    "read_variable", "variable",
    infer=lambda types: _variable("read_variable", types[0]).value_type,
    kernel=Effect("read"),
    gradient=lambda node, dy: [dy],
    documentation="The variable's value at this point of the program.",
)  # fmt: skip


def _infer_assign(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    variable, value = _variable("assign_variable", types[0]), types[1]
    if value.dtype is not variable.dtype:
        raise DTypeError(f"assign: the variable is {variable}, the value {value}; use gf.cast")
    if not equal_shapes(value.shape, variable.shape):
        raise ShapeError(f"assign: shapes must be equal (no broadcasting), got {variable} and {value}")
    return ()


assign_variable = define_op(
    "assign_variable", "variable value",
    infer=_infer_assign,
    kernel=Effect("write"),
    no_gradient="an assignment cuts the gradient",
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

print_ = define_op(
    "print", "*values",
    attributes={"template": ..., "stream": "stderr", "summarize": 3},
    infer=lambda types, template, stream, summarize: (),
    kernel=Effect("print"),
    no_gradient="printing has no result",
    documentation="Writes `template` with the operands' values put in, at each run, in program order. No result.",
)  # fmt: skip


def _infer_assert(
    types: tuple[TensorType, ...], message: str, summarize: int = 3, name: str = "", labels: tuple[str, ...] = ()
) -> tuple[TensorType, ...]:
    if not types[0].dtype.is_bool:
        raise DTypeError(f"assert: the condition must be bool, got {types[0]}")
    return ()


assert_true = define_op(
    "assert_true", "condition *values",
    attributes={"message": ..., "summarize": 3, "name": "", "labels": ()},
    infer=_infer_assert,
    kernel=Effect("assert"),
    no_gradient="an assertion has no result",
    documentation="""Fails the run with `message` and the values unless every element of condition is true. No result. summarize:
elements of each value that the error shows (-1: all); name: the public function that asserts; labels: what the error calls the values.""",
)  # fmt: skip


def _copy_gradient(node: Any, dy: Any) -> list[Any]:
    return [copy(dy, device=node.inputs[0].type.device)]


copy = define_op(
    "copy", "x",
    attributes={"device": ...},
    infer=lambda types, device: types[0].with_device(device),
    kernel=Effect("copy"),
    gradient=_copy_gradient,
    reference=lambda x, device: x,
    documentation="x moved to another device; same bits.",
)  # fmt: skip

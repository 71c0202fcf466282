"""Toy ops for the tests of the text form and the verifier: they keep working whatever the real ops become."""

from __future__ import annotations

import pytest

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.dtypes import float32
from graphflow.ir.op import OPS, Library, define_op
from graphflow.ir.types import TensorType


def _infer_any(types, **attributes):
    return types[0]


def _infer_branch(types, then, otherwise):
    return tuple(v.type for v in then.outputs)


@pytest.fixture(scope="session", autouse=True)
def toy_ops():
    """t_any: one operand, attributes of every kind. t_split: two results. t_many: any operands. t_source: none.
    t_branch: graphs. t_two: one operand and more."""
    common = {"kernel": Library("toy"), "no_gradient": "a toy"}
    define_op("t_any", "x", attributes={"a": None, "b": 1, "c": ()}, infer=_infer_any, **common)
    define_op("t_need", "x", attributes={"value": ...}, infer=_infer_any, **common)
    define_op("t_split", "x", infer=lambda types: (types[0], types[0]), **common)
    define_op("t_many", "*values", infer=lambda types: types[0] if types else TensorType(float32, ()), **common)
    define_op("t_two", "x *values", infer=lambda types: types[0], **common)
    define_op("t_source", attributes={"shape": ()}, infer=lambda types, shape: TensorType(float32, shape), **common)
    define_op("t_variable", infer=lambda types: _variable(), **common)
    define_op("t_branch", "condition *values", attributes={"then": ..., "otherwise": ()}, infer=_infer_branch, **common)
    yield
    for name in [name for name in OPS if name.startswith("t_")]:
        del OPS[name]


def _variable():
    from graphflow.ir.types import VariableType

    return VariableType(float32, ())

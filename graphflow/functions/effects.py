"""Ops for their effect: print, Assert; and TensorFlow's grouping helpers, which program order makes plain."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InvalidArgumentError
from ..ops import assert_true
from ..ops import print_ as print_op
from ..runtime.host import HOST_EFFECTS
from ..tensor import TensorLike, convert_to_tensor
from ..variable import name_scopes

__all__ = ["Assert", "name_scope", "print"]


def print(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int = 3,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> None:
    """Print values at each run of the function, in program order.

    inputs: tensors, variables, Python values and structures of them. output_stream: sys.stderr (the default, as in
    TensorFlow), sys.stdout, or "file://" and a path to append to. summarize: elements shown at each end of an axis, -1
    for all.
    """
    stream = _STREAMS.get(output_stream, output_stream) if isinstance(output_stream, (str, type(None))) else None
    if stream is None:
        stream = "stdout" if output_stream is sys.stdout else "stderr" if output_stream is sys.stderr else None
    if stream is None or stream not in ("stdout", "stderr") and not stream.startswith("file://"):
        raise InvalidArgumentError(
            f"print: output_stream must be sys.stdout, sys.stderr or 'file://<path>', got {output_stream!r}"
        )
    tensors: list[Any] = []

    def template(value: Any, inside: bool = False) -> str:
        if isinstance(value, (TensorLike, np.ndarray)) or hasattr(value, "__graphflow_dim__"):
            tensor = convert_to_tensor(value)
            if len(inputs) == 1 and not inside and tensor.dtype.is_string and not tensor.dims:
                return _literal(tensor.numpy().decode("utf-8", "backslashreplace"))  # alone it has no quotes
            tensors.append(tensor)
            return "{}"
        if isinstance(value, Mapping):
            return "{{" + ", ".join(f"{_literal(repr(k))}: {template(v, True)}" for k, v in value.items()) + "}}"
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = (f"{name}={template(v, True)}" for name, v in zip(value._fields, value, strict=True))
            return f"{type(value).__name__}({', '.join(fields)})"
        if isinstance(value, (list, tuple)):
            inner = ", ".join(template(v, True) for v in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
        return _literal(repr(value) if inside and isinstance(value, str) else str(value))

    text = sep.join(template(value) for value in inputs) + end
    print_op(*tensors, template=text, stream=stream, summarize=summarize)


_STREAMS = {None: "stderr", "stdout": "stdout", "stderr": "stderr"}


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def Assert(condition: Any, data: Any = None, summarize: int | None = None, name: str | None = None) -> None:  # noqa: N802
    """Raise AssertionFailedError when the function runs and condition (bool, any shape) is not all true; at once where
    its value is known while tracing.

    data: values the error shows: strings, tensors, Python values. summarize: elements shown at each end of an axis of
    a tensor (3 by default, negative: all).
    """
    text: list[str] = []
    tensors: list[Any] = []
    for item in [] if data is None else data if isinstance(data, (list, tuple)) else [data]:
        if isinstance(item, (TensorLike, np.ndarray)) or hasattr(item, "__graphflow_dim__"):
            tensors.append(convert_to_tensor(item))
        else:
            text.append(str(item))
    check(condition, " ".join(text), tensors, (), summarize, name or "Assert")


def check(
    condition: Any,
    message: str,
    values: Sequence[Any] = (),
    labels: Sequence[str] = (),
    summarize: int | None = None,
    name: str = "Assert",
) -> None:
    """What every assertion comes down to: the op assert_true, or the error now where the condition is known to be
    false."""
    tensor = convert_to_tensor(condition)
    attributes = {
        "message": message,
        "summarize": 3 if summarize is None else -1 if summarize < 0 else int(summarize),
        "name": name,
        "labels": tuple(labels),
    }
    known = [known_array(t) for t in (tensor, *values)]
    if known[0] is not None and tensor.dtype.is_bool and (known[0].all() or all(k is not None for k in known)):
        HOST_EFFECTS["assert_true"](known, **attributes)
        return
    assert_true(tensor, *values, **attributes)


def known_array(tensor: Any) -> Any:
    """The array of a tensor whose value is known now: an eager one, or a constant of a trace. Else None."""
    if not tensor.is_symbolic:
        return tensor._array
    producer = tensor._value.producer
    return producer.attributes["value"] if producer is not None and producer.op.name == "constant" else None


class NameScope:
    """A name scope: `with scope as text`, where text ends in a slash. It may be entered again, also inside itself and
    in several threads at once."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def __enter__(self) -> str:
        scopes = name_scopes.get()
        full = self._name if self._name.endswith("/") else f"{scopes[-1] if scopes else ''}{self._name}/"
        name_scopes.set((*scopes, full if self._name else ""))
        return name_scopes.get()[-1]

    def __exit__(self, *error: Any) -> None:
        name_scopes.set(name_scopes.get()[:-1])


def name_scope(name: str) -> NameScope:
    """Inside `with gf.name_scope("layer"):`, new variables are called "layer/...". Scopes nest; a name that ends in a
    slash is taken as it is, and an empty name leaves all scopes. Nodes are named by their source lines."""
    return NameScope(name)

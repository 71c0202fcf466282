# ruff: noqa: E501 (a table)
"""Calls of the public functions: expressions in `m` (graphflow, or TensorFlow for tools/tensorflow_differences.py) and in the arrays of
VALUES. The tables stand in tables/, one for each family. test_public_calls.py runs each call eagerly, compiled, and compiled for unknown
extents."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .tables import arrays, linear, math, nn

_random = np.random.default_rng(5)


def _floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray[Any, Any]:
    return _random.uniform(low, high, shape).astype(np.float32)


VALUES: dict[str, np.ndarray[Any, Any]] = {
    "x": _floats(3, 4), "y": _floats(3, 4), "row": _floats(4), "p": _floats(3, 4, low=0.2, high=5), "q": _floats(3, 4, low=0.2, high=5),
    "u": _floats(3, 4, low=0.05, high=0.95), "big": _floats(3, 4, low=1.1, high=20), "wide": _floats(3, 4, low=-25, high=25),
    "i": _random.integers(-5, 9, (3, 4)).astype(np.int32), "j": _random.integers(1, 6, (3, 4)).astype(np.int32),
    "b": _random.integers(0, 2, (3, 4)).astype(bool), "c": _random.integers(0, 2, (3, 4)).astype(bool),
    "ids": np.array([2, 0, 2], np.int32), "sorted_ids": np.array([0, 0, 2], np.int32), "vector": np.array([3, 1, 3, 2, 1, 9], np.int32),
    "lengths": np.array([2, 4, 1], np.int32), "cube": _floats(2, 3, 4), "image": _floats(2, 6, 6, 4), "volume": _floats(1, 4, 4, 4, 2),
    "line": _floats(2, 8, 3), "kernel": _floats(3, 3, 4, 2), "depth": _floats(3, 3, 4, 2), "kernel1": _floats(3, 3, 2),
    "kernel3": _floats(2, 2, 2, 2, 3), "mix": _floats(1, 1, 8, 3), "flat": _floats(2, 2, 4), "matrix": _floats(2, 3, 3) + 3 * np.eye(3, dtype=np.float32),
    "symmetric": (lambda a: (a @ a.T + 3 * np.eye(3)).astype(np.float32))(_floats(3, 3)), "rhs": _floats(2, 3, 2),
    "diagonals": _floats(2, 3, 3) + np.array([[0], [4], [0]], np.float32), "triangular": np.tril(_floats(3, 3)) + 3 * np.eye(3, dtype=np.float32),
    "labels": np.array([1, 0, 3], np.int32), "onehot": np.eye(4, dtype=np.float32)[[1, 0, 3]], "paths": np.array([[1, 2, 1], [3, 1, 2]], np.int32),
    "logits": _floats(7, 2, 5), "table": _floats(6, 3), "batch": _floats(2, 3), "classes": np.array([[1], [4]], np.int64),
    "shape2": np.array([2, 6], np.int32), "count": np.array(3, np.int32), "scalar": np.array(1.5, np.float32),
    "d": _floats(3, 4).astype(np.float64), "bytes": _random.integers(0, 255, (3, 4)).astype(np.uint8),
    "z": (_floats(3, 4) + 1j * _floats(3, 4)).astype(np.complex64), "w": (_floats(3, 4) + 1j * _floats(3, 4)).astype(np.complex64),
    "none": _floats(0, 4), "narrow": _floats(3, 4).astype(np.float16), "ties": np.array([[2, 1, 2, 0, 1, 2], [3, -1, 3, -1, 0, 0]], np.float32),
    "holes": np.array([[1, np.nan, 3, np.inf], [-np.inf, 0, np.nan, -2]], np.float32), "long": _random.integers(-9, 9, (3, 4)),
    "image_first": _floats(2, 4, 6, 6), "odd_image": _floats(1, 5, 7, 4), "line_first": _floats(2, 3, 8), "volume_first": _floats(1, 2, 4, 4, 4),
    "square": _floats(3, 3, low=1), "rows2": np.array([[2, 0], [1, 1]], np.int32), "places": np.array([[0, 3], [2, 1]], np.int64),
    "places_in": np.array([[[1, 0], [2, 3]], [[0, 2], [1, 1]]], np.int32), "columns": np.array([[0, 3, 1], [2, 2, 0]], np.int32), "axis1": np.array(1, np.int32),
    "two": np.array(2, np.int32), "mask": np.array([True, False, True]), "grouped": _floats(3, 3, 2, 4), "signal": _floats(2, 12), "wave": _floats(2, 4, 6),
    "hermitian": (lambda a: (a + a.conj().T).astype(np.complex64))(_floats(3, 3) + 1j * _floats(3, 3)),
}  # fmt: skip

CALLS: dict[str, str] = {}


#: name -> what TensorFlow runs instead, where it has no CPU kernel for the call: the same thing said otherwise
INSTEAD: dict[str, str] = {}


def _add(text: str) -> None:
    """A table, a call a line: `name: expression`; `= expression`, which is its own name; `* arguments | names`, which makes
    `m.name(arguments)` of each name. ` || ` parts the expression from TensorFlow's."""
    for line in filter(None, (line.strip() for line in text.strip().splitlines())):
        if line.startswith("*"):
            arguments, names = line[1:].split("|")
            CALLS.update({name: f"m.{name}({arguments.strip()})" for name in names.split()})
            continue
        expression, _, instead = line.removeprefix("= ").partition(" || ")
        name = expression
        if not line.startswith("= "):
            name, _, expression = expression.partition(": ")
        CALLS[name] = expression
        if instead:
            INSTEAD[name] = instead


for _table in (arrays, linear, math, nn):
    _add(_table.TABLE)
NAMES = re.compile(r"\b(" + "|".join(sorted(VALUES, key=len, reverse=True)) + r")\b(?!\s*=[^=]|\()")


def arguments_of(expression: str) -> list[str]:
    """The names of VALUES that an expression uses, attributes of `m` not counted."""
    bare = re.sub(r"\bm(\.\w+)+|\"[^\"]*\"", "", expression)
    return sorted(set(NAMES.findall(bare)))


def function_of(expression: str, module: Any, names: list[str] | None = None) -> tuple[Any, list[np.ndarray[Any, Any]]]:
    """The call as a function of its arrays (of those named), and the arrays."""
    names = arguments_of(expression) if names is None else names
    function = eval(f"lambda {', '.join(names)}: {expression}", {"m": module})
    return function, [VALUES[name] for name in names]


def leaves(found: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(found, (list, tuple)) and not hasattr(found, "as_list"):
        return [leaf for part in found for leaf in leaves(part)]
    return [] if found is None else [found]

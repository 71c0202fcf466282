"""Each program of the table runs undecorated, decorated, and decorated with symbolic shapes: same bits, same exceptions (type and
line), same variables, same output."""

from __future__ import annotations

import linecache
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as gf

from . import programs
from .table import PROGRAMS, Program

FOLDER = str(Path(programs.__file__).parent)


def described(value: Any) -> Any:
    """A result as something comparable bit by bit: structure, dtype, shape, bytes. A Python number is what it becomes as a tensor: the
    number that a tensor loop or branch carries comes back as one."""
    if isinstance(value, (bool, int, float)):
        value = gf.constant(value)
    if isinstance(value, (gf.Tensor, gf.Variable)):
        array = value.numpy()
        return "tensor", value.dtype.name, tuple(array.shape), _bytes(array)
    if isinstance(value, (np.ndarray, np.generic)):
        return "array", str(value.dtype), np.shape(value), _bytes(np.asarray(value))
    if isinstance(value, dict):
        return "dict", tuple((k, described(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(described(v) for v in value)
    return type(value).__name__, value


def _bytes(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes, with one pattern for NaN: which NaN an operation gives is not specified."""
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return np.ascontiguousarray(array).tobytes()


class Raised:
    """An exception's class. `graph == eager` where it is the same one; a failed `assert` of Python's may raise a subclass, which has the
    values."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Raised):
            return False
        return self.kind is other.kind or other.kind is AssertionError and issubclass(self.kind, AssertionError)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self.kind.__name__


def place(error: BaseException) -> tuple[str, int] | None:
    """The user's line of an exception: where graphflow says it was, else the innermost frame in the programs' folder."""
    found = getattr(error, "place", None)
    if found is not None and found.file.startswith(FOLDER):
        return Path(found.file).name, found.line
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(FOLDER)]
    return (Path(frames[-1].filename).name, frames[-1].lineno or 0) if frames else None


def tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return gf.constant(value)
    if isinstance(value, list):
        return [tensors(v) for v in value]
    return {k: tensors(v) for k, v in value.items()} if isinstance(value, dict) else value


def spec(value: Any) -> Any:
    """A TensorSpec with unknown extents for an array."""
    if isinstance(value, np.ndarray):
        return gf.TensorSpec([None] * value.ndim, gf.as_dtype(value.dtype))
    if isinstance(value, list):
        return [spec(v) for v in value]
    return {k: spec(v) for k, v in value.items()} if isinstance(value, dict) else value


def outcome(row: Program, way: str, capfd: Any) -> list[Any]:
    """What each call gives: result or exception, the variables after it, what it printed."""
    function, variables = row.make()
    if way == "decorated":
        function = gf.function(function)
    elif way == "symbolic":
        compiled = gf.function(function)
        function = lambda *args: compiled.get_concrete_function(*map(spec, args))(*args)  # noqa: E731
    found = []
    for call in row.calls:
        capfd.readouterr()
        try:
            result = ("result", described(function(*[tensors(v) for v in call])))
        except Exception as error:
            result = ("raised", Raised(type(error)), place(error))
            assert result[2] is not None, f"{error!r} does not name the user's line:\n{traceback.format_exc()}"
            linecache.checkcache()
        found.append((result, [described(v) for v in variables], capfd.readouterr()))
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_decorated(name, capfd):
    row = PROGRAMS[name]
    expected = outcome(row, "plain", capfd)
    assert any(r[0][0] == "raised" for r in expected) == row.fails
    assert outcome(row, "decorated", capfd) == expected


@pytest.mark.parametrize("name", [name for name, row in PROGRAMS.items() if row.symbolic])
def test_symbolic_shapes(name, capfd):
    row = PROGRAMS[name]
    assert outcome(row, "symbolic", capfd) == outcome(row, "plain", capfd)


def test_the_table_is_large_enough():
    assert len(PROGRAMS) >= 150


def test_warnings_are_errors_here():
    with pytest.raises(UserWarning, match="seen"):
        warnings.warn("seen", UserWarning, stacklevel=1)

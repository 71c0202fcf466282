"""Runs a function three ways: as Python on eager tensors, decorated, and decorated with extents that vary."""

from __future__ import annotations

import traceback

import numpy as np

import graphflow as gf


def leaves(value):
    """The leaves as arrays, with their dtypes; Python values as they are."""
    found = []
    for leaf in gf.nest.flatten(value):
        found.append(np.asarray(leaf.numpy()) if gf.is_tensor(leaf) else leaf)
    return found


def same_bits(a, b):
    """Equal bit for bit; a Python number equals a tensor of that value, as tensors have become of numbers."""
    if not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray):
        return type(a) is type(b) and (a is b or a == b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    array, number = (a, b) if isinstance(a, np.ndarray) else (b, a)
    return array.shape == () and array == np.asarray(number, array.dtype)


def outcome(function, arguments):
    """(the result's leaves, None) or (None, (the exception's type, the line that raised it, its message))"""
    try:
        return leaves(function(*arguments)), None
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own_file(function)]
        place = getattr(error, "place", None)
        line = place.line if place is not None else lines[-1] if lines else None
        return None, (type(error), line, str(error.args[0]) if error.args else "")


def own_file(function):
    return getattr(function, "python_function", function).__code__.co_filename


def open_spec(value):
    array = np.asarray(value)
    dtype = gf.convert_to_tensor(value).dtype
    return gf.TensorSpec([None] * array.ndim, dtype)


class Fixed:
    """A Python value among the arguments."""

    def __init__(self, value):
        self.value = value


def tensors(arguments):
    return [
        a.value
        if isinstance(a, Fixed)
        else gf.constant(a)
        if isinstance(a, (list, float, int, np.ndarray)) and not isinstance(a, bool)
        else a
        for a in arguments
    ]


def check(function, *calls, signature=True, lines=True):
    """Each call gives the same bits, or raises an exception of the same class at the same line, in all ways. Returns the
    eager outcomes."""
    decorated = gf.function(function)
    ways = [decorated]
    first = tensors(calls[0])
    if signature and all(gf.is_tensor(a) for a in first):
        ways.append(gf.function(function, input_signature=[open_spec(a) for a in first]))
    found = []
    for call in calls:
        given = tensors(call)
        expected, failure = outcome(function, given)
        found.append(expected if failure is None else failure)
        for way in ways:
            for _ in range(2):
                got, error = outcome(way, given)
                if failure is None:
                    assert error is None, f"{call}: {error}"
                    assert len(got) == len(expected), (call, got, expected)
                    assert all(map(same_bits, expected, got)), f"{call}: expected {expected}, got {got}"
                else:
                    assert error is not None, f"{call}: expected {failure}, got {got}"
                    assert issubclass(error[0], failure[0]), f"{call}: expected {failure}, got {error}"
                    assert error[1] == failure[1] or not lines, f"{call}: expected {failure}, got {error}"
    return found

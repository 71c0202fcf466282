"""The fast path of a call: a Python function written for one trace, one set of extents and one set of variables.

It checks the arguments and the guards in a few comparisons, makes the result arrays and calls the native program;
anything that is not as expected goes the slow way. Written as source because each check then costs tens of nanoseconds:
a call with two tensors, two captured variables and one result takes about a microsecond.
"""

from __future__ import annotations

import itertools
import linecache
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import config
from ..autodiff.record import recorders
from ..ir.dims import evaluate
from ..tensor import Tensor, TensorLike, active_trace
from ..tree import children_of, is_nested, rebuild
from .guards import MISSING, same_plain

__all__ = ["Leaf", "write_fast_call"]

_numbers = itertools.count()


class Leaf:
    """A leaf of the returned structure: the number of a graph output, or (-1) the Python value itself."""

    __slots__ = ("output", "value")

    def __init__(self, output: int, value: Any = None) -> None:
        self.output, self.value = output, value


def write_fast_call(
    concrete: Any,
    arguments: tuple[Any, ...],
    extents: dict[str, int],
    variables: Sequence[Any],
    slow: Callable[..., Any],
) -> Callable[..., Any]:
    """The fast path for calls like this one: the same tensors' dtypes and shapes, and the same other arguments."""
    binding = concrete.binding(variables, extents)
    environment: dict[str, Any] = {
        "Tensor": Tensor,
        "trace": active_trace.get,
        "tapes": recorders.get,
        "flags": config.flags,
        "empty": np.empty,
        "native": binding.call,
        "ndarray": np.ndarray,
        "slow": slow,
        "new": object.__new__,
        "same": same_plain,
        "MISSING": MISSING,
    }
    names = [f"a{k}" for k in range(len(arguments))]
    inputs = []
    checks = ["not rest and not keywords and trace() is None and not tapes() and not flags().run_functions_eagerly"]
    for k, value in enumerate(arguments):
        if isinstance(value, Tensor):
            environment[f"d{k}"], environment[f"s{k}"] = value.dtype, tuple(value.dims)
            checks.append(f"a{k}.__class__ is Tensor and a{k}.dtype is d{k} and a{k}._array.shape == s{k}")
            inputs.append(f"a{k}._array")
        elif isinstance(value, np.ndarray):  # read in place: the program keeps no input
            environment[f"d{k}"], environment[f"s{k}"] = np.dtype(value.dtype.name), value.shape
            checks.append(
                f"a{k}.__class__ is ndarray and a{k}.dtype is d{k} and a{k}.shape == s{k} and a{k}.flags.c_contiguous "
                f"and a{k}.flags.aligned"
            )
            inputs.append(f"a{k}")
        else:
            checks.append(_argument_check(k, value, environment))
    checks += [guard.source(k, environment) for k, guard in enumerate(concrete.guards) if not guard.is_dead]

    def fail(status: int, *arrays: Any) -> BaseException:
        return concrete.error(binding, status, arrays, variables, extents)

    environment["fail"] = fail
    results, body = [], []
    for k, value in enumerate(concrete.graph.outputs):
        environment[f"shape{k}"] = tuple(evaluate(d, extents) for d in value.type.shape)
        environment[f"dtype{k}"], environment[f"numpy{k}"] = value.type.dtype, value.type.dtype.numpy
        body.append(f"o{k} = empty(shape{k}, numpy{k})")
        results.append(f"o{k}")
    body.append(f"status = native({', '.join(inputs + results)})")
    body.append(f"if status: raise fail({', '.join(['status', *inputs])})")
    for k in range(len(results)):
        body.append(f"t{k} = new(Tensor); t{k}._array = o{k}; t{k}.dtype = dtype{k}; t{k}._key = None")
    body.append(f"return {_result_source(concrete, environment)}")
    parameters = "".join(f"{name}, " for name in names)
    declared = "".join(f"{name}=MISSING, " for name in names) + ("/, " if names else "")
    lines = [
        f"def call({declared}*rest, **keywords):",
        "    try:",
        f"        matches = {' and '.join(checks)}",
        "    except (AttributeError, KeyError, ValueError):  # a captured name or attribute is gone, a cell is empty",
        "        matches = False",
        "    if matches:",
        *(f"        {line}" for line in body),
        f"    return slow(*[a for a in ({parameters}) if a is not MISSING], *rest, **keywords)",
    ]
    source = "\n".join(lines)
    # Inside the package, so that errors and warnings look past it for the user's line.
    file = os.path.join(os.path.dirname(__file__), f"<call {next(_numbers)} of {concrete.name}>")
    exec(compile(source, file, "exec"), environment)
    call: Callable[..., Any] = environment["call"]
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)  # so that tracebacks show it
    weakref.finalize(call, linecache.cache.pop, file, None)
    return call


def _argument_check(k: int, value: Any, environment: dict[str, Any]) -> str:
    """True for the same argument: plain values by type and value, objects by identity."""
    if isinstance(value, (int, float, str, bytes)) and not isinstance(value, bool):
        environment[f"c{k}"] = value
        return f"(a{k} is c{k} or same(a{k}, c{k}))"
    if value is not None and not isinstance(value, (bool, TensorLike)):
        try:
            environment[f"c{k}"] = weakref.ref(value)  # a method's instance must not be kept alive by its own fast path
            return f"a{k} is c{k}() is not None"
        except TypeError:
            pass
    environment[f"c{k}"] = value
    return f"a{k} is c{k}"


def _result_source(concrete: Any, environment: dict[str, Any]) -> str:
    """An expression that builds the returned structure."""

    def text(value: Any) -> str:
        if isinstance(value, Leaf):
            if value.output >= 0:
                return f"t{value.output}"
            name = f"v{len(environment)}"
            environment[name] = value.value
            return name
        if type(value) is tuple:
            return "(" + "".join(text(v) + ", " for v in value) + ")"
        if type(value) is list:
            return "[" + ", ".join(text(v) for v in value) + "]"
        if type(value) is dict and all(type(k) in (str, int) for k in value):
            return "{" + ", ".join(f"{k!r}: {text(v)}" for k, v in value.items()) + "}"
        if not is_nested(value):
            raise TypeError(f"{value!r} is neither a leaf nor a container")
        name = f"v{len(environment)}"
        environment[name], environment["rebuild"] = value, rebuild
        return f"rebuild({name}, [{', '.join(text(v) for v in children_of(value))}])"

    return text(concrete.result)

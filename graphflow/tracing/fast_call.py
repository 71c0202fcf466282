"""The fast path of a call: a Python function written for one trace, one set of extents and one set of variables.

It checks the arguments and the guards in a few comparisons, makes the result arrays and calls the native program;
anything that is not as expected goes the slow way. Written as source because each check then costs tens of nanoseconds:
a call with two tensors, two captured variables and one result takes about a microsecond.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import linecache
import os
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import config
from ..autodiff.record import recorders
from ..compiler import runtime_error
from ..ir.dims import evaluate
from ..tensor import Tensor, TensorLike, active_trace
from ..tree import children_of, flatten, is_nested, labels_of, metadata_of, pack_sequence_as, rebuild
from .guards import MISSING, same_plain, snapshot_of
from .signature import CONTENT_TYPES, Arguments

__all__ = ["Leaf", "ListLeaf", "write_fast_call"]

_numbers = itertools.count()


class Leaf:
    """A leaf of the returned structure: the number of a graph output, or (-1) the Python value itself."""

    __slots__ = ("output", "value")

    def __init__(self, output: int, value: Any = None) -> None:
        self.output, self.value = output, value

    def pick(self, outputs: Sequence[Any]) -> Any:
        """The leaf, of a call with these outputs."""
        return outputs[self.output] if self.output >= 0 else self.value


class ListLeaf(Leaf):
    """A list whose length the run decided: its items are the rows of outputs. template: the structure of an item, None
    for a tensor alone."""

    __slots__ = ("numbers", "template")

    def __init__(self, numbers: Sequence[int], template: Any) -> None:
        super().__init__(-1)
        self.numbers, self.template = tuple(numbers), template

    def join(self, *tensors: Any) -> list[Any]:
        """The list, of these outputs."""
        if self.template is None:
            return list(tensors[0])
        return [pack_sequence_as(self.template, leaves) for leaves in zip(*tensors, strict=True)]

    def pick(self, outputs: Sequence[Any]) -> Any:
        """The leaf, of a call with these outputs."""
        return self.join(*(outputs[k] for k in self.numbers))


def write_fast_call(
    concrete: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    arguments: Arguments,
    extents: dict[str, int],
    slow: Callable[..., Any],
) -> Callable[..., Any] | None:
    """The fast path for calls like this one: the same form (which arguments are positional, which keywords), the same
    tensors' dtypes and shapes, and the same other arguments. None where the form is not one of those written here."""
    binding = concrete.binding(arguments.variables, extents)
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
        "uses": concrete.uses,
    }
    names = [f"a{k}" for k in range(len(args))]
    given = "not keywords" if not kwargs else f"len(keywords) == {len(kwargs)}"
    checks = [f"not rest and {given} and trace() is None and not tapes() and not flags().run_functions_eagerly"]
    inputs = _argument_checks(args, kwargs, arguments, environment, checks)
    if inputs is None:
        return None
    checks += [guard.source(k, environment) for k, guard in enumerate(concrete.guards) if not guard.is_dead]
    variables = [weakref.ref(v) for v in arguments.variables]
    owner = weakref.ref(concrete)  # which keeps this call: weak, so that both are freed without a collection

    def fail(status: int, *arrays: Any) -> BaseException:
        trace = owner()
        if trace is None:  # dropped by another thread during the call
            return runtime_error(binding, status)
        error: BaseException = trace.error(binding, status, arrays, [v() for v in variables], extents)
        return error

    environment["fail"] = fail
    results, body = [], []
    dynamic = getattr(binding, "dynamic_outputs", ())
    for k, value in enumerate(concrete.graph.outputs):
        environment[f"dtype{k}"], environment[f"numpy{k}"] = value.type.dtype, value.type.dtype.numpy
        if not dynamic:
            final = concrete.executable.graph.outputs[k]  # extents that only the run decides may be known there
            environment[f"shape{k}"] = tuple(evaluate(d, extents) for d in final.type.shape)
            body.append(f"o{k} = empty(shape{k}, numpy{k})")
        results.append(f"o{k}")
    if dynamic:  # shapes that only the run decides: the call makes the arrays
        environment["run"] = binding.run
        body.append(f"status, made = run([{', '.join(inputs)}])")
    else:
        body.append(f"status = native({', '.join(inputs + results)})")
    body.append(f"if status: raise fail({', '.join(['status', *inputs])})")
    if dynamic:
        body.append(f"{', '.join(results)}, = made")
    body.append("uses[0] += 1")
    for k in range(len(results)):
        body.append(f"t{k} = new(Tensor); t{k}._array = o{k}; t{k}.dtype = dtype{k}; t{k}._key = None")
    body.append(f"return {_result_source(concrete.result, environment)}")
    parameters = "".join(f"{name}, " for name in names)
    declared = "".join(f"{name}=MISSING, " for name in names) + ("/, " if names else "")
    lines = [
        f"def call({declared}*rest, **keywords):",
        "    try:",
        f"        matches = {' and '.join(checks)}",
        # a captured name or attribute is gone, a cell is empty, an argument has other keys or is shorter
        "    except (AttributeError, LookupError, ValueError, TypeError):",
        "        matches = False",
        "    if matches:",
        *(f"        {line}" for line in body),
        f"    return slow(*[a for a in ({parameters}) if a is not MISSING], *rest, **keywords)",
    ]
    exec(_compiled("\n".join(lines), concrete.name), environment)
    call: Callable[..., Any] = environment.pop(
        "call"
    )  # a function that is in its own globals is freed by the collector
    return call


@functools.lru_cache(512)
def _compiled(source: str, name: str) -> types.CodeType:
    """The code of a fast call. The instances of a class have the same, and compiling it is most of what it costs."""
    # Inside the package, so that errors and warnings look past it for the user's line.
    file = os.path.join(os.path.dirname(__file__), f"<call {next(_numbers)} of {name}>")
    code = compile(source, file, "exec")
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)  # so that tracebacks show it
    inner = next(part for part in code.co_consts if isinstance(part, types.CodeType))
    weakref.finalize(inner, linecache.cache.pop, file, None)
    return code


def _argument_checks(
    args: tuple[Any, ...], kwargs: dict[str, Any], arguments: Arguments, environment: dict[str, Any], checks: list[str]
) -> list[str] | None:
    """Add the checks of a call's arguments; returns the expressions that give the native inputs' arrays, in canonical
    order, or None where this form of call has no fast path."""
    if len(args) > len(arguments.values):
        return None
    places: list[tuple[str, Any, Any]] = []  # expression, the value given, the canonical value
    for k, canonical in enumerate(arguments.values):
        name = arguments.parameters[k] if k < len(arguments.parameters) else None
        if k < len(args):
            places.append((f"a{k}", args[k], canonical))
        elif name in kwargs:
            places.append((f"keywords[{name!r}]", kwargs[name], canonical))
        elif _holds_tensors(canonical):
            return None  # a default that is a tensor or an array
    for name, canonical in arguments.kwargs.items():
        if name in kwargs:
            places.append((f"keywords[{name!r}]", kwargs[name], canonical))
        elif _holds_tensors(canonical):
            return None
    inputs: list[str] = []
    counter = itertools.count()
    for k, (place, value, canonical) in enumerate(places):
        fits = (
            _leaf_check(place, value, canonical, environment, checks, inputs, counter)
            if arguments.is_method and k == 0
            else _check(place, value, canonical, environment, checks, inputs, counter)
        )
        if not fits:
            return None
    return inputs if len(inputs) == len(arguments.tensors) else None


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(leaf, (TensorLike, np.ndarray, np.generic)) for leaf in flatten(value))


def _check(
    place: str,
    value: Any,
    canonical: Any,
    environment: dict[str, Any],
    checks: list[str],
    inputs: list[str],
    counter: Iterator[int],
) -> bool:
    """Add checks that the expression `place` gives an argument like `value`. False: not for the fast path."""
    if not is_nested(value):
        return not is_nested(canonical) and _leaf_check(place, value, canonical, environment, checks, inputs, counter)
    kind = type(value)
    if type(canonical) is not kind or metadata_of(value) is not None:
        return False
    k = next(counter)
    own, labels = f"n{k}", labels_of(value)
    environment[f"kind{k}"] = kind
    if kind is dict and all(type(label) in (str, int, bool) for label in labels):
        parts = [f"{own}[{label!r}]" for label in labels]
    elif kind in (list, tuple) or issubclass(kind, tuple) and hasattr(kind, "_fields"):
        parts = [f"{own}[{label}]" for label in range(len(labels))]
    elif dataclasses.is_dataclass(kind):
        parts = [f"{own}.{label}" for label in labels]
    else:
        return False
    length = f" and len({own}) == {len(labels)}" if not dataclasses.is_dataclass(kind) else ""
    checks.append(f"({own} := {place}).__class__ is kind{k}{length}")
    children = list(children_of(canonical))
    return len(children) == len(parts) and all(
        _check(part, child, new, environment, checks, inputs, counter)
        for part, child, new in zip(parts, children_of(value), children, strict=True)
    )


def _leaf_check(
    place: str,
    value: Any,
    canonical: Any,
    environment: dict[str, Any],
    checks: list[str],
    inputs: list[str],
    counter: Iterator[int],
) -> bool:
    """The same for one leaf: tensors and arrays by dtype and shape, plain values by type and value, what has content by
    its content, objects by identity."""
    k = next(counter)
    own = f"n{k}"
    if isinstance(canonical, Tensor):
        if type(value) is not Tensor and type(value) is not np.ndarray:
            return False
        if value is not canonical and (type(value) is Tensor or value.dtype != canonical.dtype.numpy):
            return False  # converted by input_signature
        environment[f"s{k}"] = tuple(canonical.dims)
        if type(value) is Tensor:
            environment[f"d{k}"] = value.dtype
            checks.append(
                f"({own} := {place}).__class__ is Tensor and {own}.dtype is d{k} and {own}._array.shape == s{k}"
            )
            inputs.append(f"{own}._array")
        else:  # read in place: the program keeps no input
            environment[f"d{k}"] = np.dtype(value.dtype.name)
            checks.append(
                f"({own} := {place}).__class__ is ndarray and {own}.dtype is d{k} and {own}.shape == s{k} and "
                f"{own}.flags.c_contiguous and {own}.flags.aligned"
            )
            inputs.append(own)
        return True
    if value is not canonical:
        return False
    environment[f"c{k}"] = value
    if isinstance(value, CONTENT_TYPES):
        environment[f"c{k}"] = snapshot_of(value)
        checks.append(f"c{k}.matches({place})")
    elif value is None or isinstance(value, (bool, type)):
        checks.append(f"{place} is c{k}")
    elif isinstance(value, (int, float, str, bytes)):
        checks.append(f"(({own} := {place}) is c{k} or same({own}, c{k}))")
    elif isinstance(value, (types.MethodType, types.BuiltinFunctionType, functools.partial)):
        return False
    else:
        try:  # a method's instance, or a variable, must not be kept alive by its own fast path
            environment[f"c{k}"] = weakref.ref(value)
            checks.append(f"{place} is c{k}() is not None")
        except TypeError:
            checks.append(f"{place} is c{k}")
    return True


def _result_source(value: Any, environment: dict[str, Any]) -> str:
    """An expression that builds the returned structure; `value` is it, or a part of it."""
    name = f"v{len(environment)}"
    if isinstance(value, ListLeaf):
        environment[name] = value.join
        return f"{name}({', '.join(f't{k}' for k in value.numbers)})"
    if isinstance(value, Leaf):
        if value.output >= 0:
            return f"t{value.output}"
        environment[name] = value.value
        return name
    if type(value) is dict and all(type(k) in (str, int) for k in value):
        return "{" + ", ".join(f"{k!r}: {_result_source(v, environment)}" for k, v in value.items()) + "}"
    if not is_nested(value):
        raise TypeError(f"{value!r} is neither a leaf nor a container")
    if type(value) not in (tuple, list):
        environment[name], environment["rebuild"] = value, rebuild
    parts = [_result_source(v, environment) for v in children_of(value)]
    if type(value) is tuple:
        return "(" + "".join(part + ", " for part in parts) + ")"
    items = "[" + ", ".join(parts) + "]"
    return items if type(value) is list else f"rebuild({name}, {items})"

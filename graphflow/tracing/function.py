"""@gf.function: traces a Python function once for each kind of arguments and runs the compiled graph afterwards."""

from __future__ import annotations

import copy
import functools
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import config
from ..arguments import typed
from ..autodiff.record import recorders
from ..errors import CompileError, RetraceError, RetraceWarning, SignatureError, VariableCreationError, VerifyError
from ..ir.source import capture, user_level
from ..locks import renew_after_fork
from ..tensor import Tensor, active_trace
from ..tree import flatten, map_structure
from .causes import ASKED, Cause, cause_of
from .concrete import ConcreteFunction
from .inspect import Inspection
from .methods import BoundFunction, InstanceTable
from .nested import call_inside
from .settle import Settling
from .signature import (
    Arguments,
    CallForm,
    TensorSpec,
    analyse_arguments,
    bind_symbols,
    conform,
    defaults_of,
    spec_types,
)
from .tracebacks import filtered, with_user_traceback
from .traces import Traces

__all__ = ["Function", "function", "init_scope"]

MOST_FAST_CALLS = 4
"""Fast calls that are tried one after the other before the slow way: a miss costs 0.2 us, the slow way 10."""


class Function(Settling, Inspection):
    """A traced function (the result of @gf.function). Calling it looks up or makes a trace for the arguments and runs
    it."""

    def __init__(
        self,
        python_function: Callable[..., Any],
        input_signature: Sequence[Any] | None = None,
        reduce_retracing: bool = True,
        name: str | None = None,
        autograph: bool = True,
        is_method: bool = False,
        retrace_limit: int | None = None,
        on_retrace: str | None = None,
        strict: bool | None = None,
    ) -> None:
        """is_method: the first argument is the instance that the function is bound to; it is part of no signature.
        retrace_limit, on_retrace, strict: None takes the flags retrace_warn, on_retrace, strict."""
        if on_retrace not in (None, "warn", "raise", "ignore"):
            raise SignatureError(f"on_retrace must be 'warn', 'raise' or 'ignore', got {on_retrace!r}")
        if retrace_limit is not None and (not isinstance(retrace_limit, int) or retrace_limit < 0):
            raise SignatureError(f"retrace_limit must be a number of at least 0 (0: no limit), got {retrace_limit!r}")
        self.python_function = python_function
        self.name = name or str(getattr(python_function, "__name__", type(python_function).__name__))
        self.input_signature = None if input_signature is None else tuple(input_signature)
        self.reduce_retracing = reduce_retracing
        self.autograph = autograph
        self.retrace_limit, self.on_retrace, self.strict = retrace_limit, on_retrace, strict
        self._is_method = is_method
        self._form = CallForm(python_function)
        self._cache = Traces()
        self._chain: list[Callable[..., Any]] = []
        self._lock = threading.Lock()
        self._first = threading.Lock()
        renew_after_fork(self)
        self._exact_only = False
        self._reported: set[tuple[str, int]] = set()
        self._instances = InstanceTable()
        self._blueprints = []
        reference = weakref.ref(self)
        #: what fast calls fall back to; weak, so that a function without users is freed at once
        self._otherwise = lambda *args, **kwargs: reference()._slow(*args, **kwargs)  # type: ignore[union-attr]
        functools.update_wrapper(self, python_function, updated=())

    def renew_locks(self) -> None:
        """In a forked child."""
        self._lock = threading.Lock()
        self._first = threading.Lock()

    def options(self) -> dict[str, Any]:
        """What Function takes beside the Python function, to make another one like this."""
        return {
            "input_signature": self.input_signature,
            "reduce_retracing": self.reduce_retracing,
            "name": self.name,
            "autograph": self.autograph,
            "retrace_limit": self.retrace_limit,
            "on_retrace": self.on_retrace,
            "strict": self.strict,
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._fast(*args, **kwargs)
        except Exception as error:
            error = typed(error, self.name, args, kwargs)
            raise filtered(error)  # noqa: B904  the same error, with the user's frames

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: each instance has traces of its own, and is not kept alive by them."""
        return self if instance is None else BoundFunction(self._instances.of(instance, self._for_instance), instance)

    def _for_instance(self) -> Function:
        made = Function(self.python_function, is_method=True, **self.options())
        made._blueprints = self._blueprints
        return made

    def __copy__(self) -> Function:
        """A function of the same code, without the traces."""
        return Function(self.python_function, is_method=self._is_method, **self.options())

    def __deepcopy__(self, memo: Any) -> Function:
        """The same; a bound instance, or a partial function's arguments, are copied."""
        return Function(copy.deepcopy(self.python_function, memo), is_method=self._is_method, **self.options())

    def __reduce__(self) -> Any:
        from .pickling import function_state

        return function_state(self)

    # The slow path ----------------------------------------------------------------------------------------------------
    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        """Find or make the trace for a call, install its fast path, run it."""
        if "debug" in kwargs:
            from .debug import debug_call, requested_debugging

            wanted = requested_debugging(self, kwargs)
            if wanted is not None:
                kwargs, options = wanted
                if (
                    options.pop("debug", False)
                    and not config.flags().run_functions_eagerly
                    and active_trace.get() is None
                ):
                    return debug_call(self, args, kwargs, **options)
        if config.flags().run_functions_eagerly:
            return self.python_function(*args, **kwargs)
        arguments = self._arguments(args, kwargs)
        if active_trace.get() is not None:  # part of the trace that is running
            return call_inside(self, arguments)
        concrete, extents = self._find_or_trace(arguments)
        concrete.uses[0] += 1
        if not recorders.get():
            call = concrete.fast_call(args, kwargs, arguments, extents, self._otherwise)
            if call is not None:
                self._install(call)
        return concrete.run(arguments.tensors, arguments.variables, extents)

    _fast: Callable[..., Any] = _slow  # an attribute of the instance once there is a fast call

    def _install(self, call: Callable[..., Any]) -> None:
        """Try this fast call first, then the last ones, then the slow way."""
        with self._lock:
            chain = [call, *[c for c in self._chain if c is not call]][:MOST_FAST_CALLS]
            for k, link in enumerate(chain):
                link.__globals__["slow"] = chain[k + 1] if k + 1 < len(chain) else self._otherwise
            self._chain = chain
            self._fast = call

    def _forget_fast_calls(self) -> None:
        with self._lock:
            self._chain = []
            self.__dict__.pop("_fast", None)

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        if self._form.defaults != (now := defaults_of(self.python_function)) and self._form.defaults is not now:
            self._form = CallForm(self.python_function)
        values, keywords, names = self._form.canonical(args, kwargs, self.name)
        if self.input_signature is not None:
            values = conform(values, names, self.input_signature, int(self._is_method), self.name)
        return analyse_arguments(values, keywords, names, self._is_method)

    def _find_or_trace(self, arguments: Arguments) -> tuple[ConcreteFunction, dict[str, int]]:
        """The trace for a call. Threads that need the same one wait for the first of them; others do not."""
        found = self._cache.find(arguments)
        if found is not None:
            return found
        types = self._types(arguments)
        with self._cache.making((arguments.key, tuple(types))):
            return self._cache.find(arguments) or self._find_shared(arguments) or self._trace(arguments)

    # Tracing ----------------------------------------------------------------------------------------------------------
    def _trace(self, arguments: Arguments) -> tuple[ConcreteFunction, dict[str, int]]:
        exact = [t.type for t in arguments.tensors]
        cause = cause_of(
            self._cache.by_use(),
            arguments,
            self._cache.was_dropped(arguments),
            self._exact_only or not self.reduce_retracing,
        )
        start = time.perf_counter()
        concrete = self._make(arguments, self._types(arguments), exact, cause)
        extents = bind_symbols(concrete.types, arguments.shapes)  # type: ignore[arg-type]
        if extents is None:  # the symbols had to agree, and here they do not: these exact shapes
            concrete = self._make(arguments, exact, exact, cause)
            extents = {}
        concrete.trace_milliseconds = (time.perf_counter() - start) * 1e3
        try:
            self._add(concrete, arguments.full_key, extents)
        except (CompileError, VerifyError) as error:
            from .reproduce import report_failure

            report_failure(error, concrete, arguments.tensors, arguments.variables)
            raise
        self._offer(concrete, arguments)
        return concrete, extents

    def _make(self, arguments: Arguments, types: list[Any], exact: list[Any], cause: Cause) -> ConcreteFunction:
        """A trace, not yet compiled. Only the first one may create variables. Other threads' first calls run beside it,
        and again after it if they came to a place that creates one."""
        self._check_budget(cause)
        while True:
            none_yet = not self._cache.made
            first = none_yet and self._first.acquire(blocking=False)
            try:
                concrete = self._settle(arguments, types, exact, cause.text, first)
                concrete.cause, concrete.caller = cause, capture()
                return concrete
            except VariableCreationError:
                if first or not none_yet:
                    raise
            finally:
                if first:
                    self._first.release()
            with self._first:  # wait for the other thread's first trace
                pass

    def _add(self, concrete: ConcreteFunction, full_key: Any = None, extents: dict[str, int] | None = None) -> None:
        """Compile and keep a trace, then warn about what was seen while tracing."""
        _ = concrete.executable  # a compile error leaves no trace behind
        if self._cache.add(concrete, full_key, extents):
            self._forget_fast_calls()
        self._report(concrete)
        limit, action = self._budget()
        if action == "warn" and limit and self._cache.made == limit + 1:
            warnings.warn(
                f"{self.name} was traced {self._cache.made} times; the last reason: {concrete.reason}. To avoid such "
                f"traces: {concrete.cause.advice or 'see the reasons'}. {self.name}.explain() lists them all",
                RetraceWarning,
                stacklevel=user_level(),
            )

    def _report(self, concrete: ConcreteFunction) -> None:
        """Warn about side effects and unguarded values, once for each line."""
        for category, message, place in concrete.sightings:
            key = (place.file, place.line)
            if key not in self._reported:
                self._reported.add(key)
                warnings.warn_explicit(message, category, place.file, place.line)

    def _budget(self) -> tuple[int, str]:
        flags = config.flags()
        limit = flags.retrace_warn if self.retrace_limit is None else self.retrace_limit
        return limit, flags.on_retrace if self.on_retrace is None else self.on_retrace

    def _check_budget(self, cause: Cause) -> None:
        """Raises RetraceError where this would be one trace too many."""
        limit, action = self._budget()
        if action != "raise" or not limit or self._cache.made < limit:
            return
        earlier = [c.cause for c in self._cache.entries if c.cause is not None]
        reasons = Counter(c.subject or c.kind for c in (*earlier, cause))
        listed = ", ".join(f"{name} ({count})" for name, count in reasons.most_common())
        error = RetraceError(
            f"{self.name}: the call needs trace number {self._cache.made + 1}, the limit is {limit}. This reason: "
            f"{cause.text}. All reasons: {listed}",
            reasons=dict(reasons),
        )
        error.hint = cause.advice or f"raise retrace_limit; {self.name}.explain() lists the traces"
        raise error

    # Public -----------------------------------------------------------------------------------------------------------
    @property
    def _entries(self) -> list[ConcreteFunction]:
        return self._cache.entries

    def experimental_get_tracing_count(self) -> int:
        """How often the Python function was traced."""
        return self._cache.made

    @with_user_traceback
    def get_concrete_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        """The trace for these arguments (tensors, TensorSpecs or Python values), made if need be, not run."""
        if self.input_signature is not None and not args and not kwargs:
            args = self.input_signature
        replaced = [_example(a) for a in args]
        named = {k: _example(v) for k, v in kwargs.items()}
        specs = [s for s in flatten([list(args), kwargs]) if isinstance(s, TensorSpec)]
        if any(None in tuple(s.shape or ()) for s in specs) and self.input_signature is None:
            return self._concrete_of_specs(args, kwargs)
        arguments = self._arguments(tuple(replaced), named)
        return self._find_or_trace(arguments)[0]

    def _concrete_of_specs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ConcreteFunction:
        arguments = self._arguments(tuple(_example(a) for a in args), {k: _example(v) for k, v in kwargs.items()})
        counter = [0]
        leaves = [s for s in flatten([list(args), kwargs]) if isinstance(s, (TensorSpec, Tensor))]
        types = [spec_types(s, counter) if isinstance(s, TensorSpec) else s.type for s in leaves]
        exact = [t.type for t in arguments.tensors]
        with self._cache.making((arguments.key, tuple(types))):
            for concrete in self._cache.with_key(arguments.key):
                if concrete.types == types and concrete.holds():
                    return concrete
            start = time.perf_counter()
            concrete = self._make(arguments, types, exact, ASKED)
            concrete.trace_milliseconds = (time.perf_counter() - start) * 1e3
            self._add(concrete)
            return concrete

    def __repr__(self) -> str:
        return f"<gf.function {self.name}, {self._cache.made} traces>"


def _example(value: Any) -> Any:
    """A value that stands for a spec: zeros of its shape (1 for unknown extents)."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, TensorSpec):
            if leaf.shape is None:
                raise SignatureError(
                    f"{leaf} has no rank, so that it cannot be traced; give a shape, with None for extents that vary"
                )
            shape = tuple(2 if d is None else d for d in leaf.shape)
            return Tensor(np.zeros(shape, leaf.dtype.numpy), leaf.dtype)
        return leaf

    return map_structure(one, value)


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Sequence[Any] | None = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = True,
    experimental_implements: Any = None,
    experimental_autograph_options: Any = None,
    experimental_attributes: Any = None,
    experimental_relax_shapes: bool | None = None,
    experimental_compile: bool | None = None,
    experimental_follow_type_hints: bool | None = None,
    *,
    retrace_limit: int | None = None,
    on_retrace: str | None = None,
    strict: bool | None = None,
) -> Any:
    """Compile a Python function into graphs: `@gf.function`, `@gf.function(input_signature=[...])` or `gf.function(f)`.

    input_signature: TensorSpecs (None extents vary) that all calls must fit. reduce_retracing: from the second shape
    on, extents that differ become symbolic. retrace_limit: how many traces it may have (0: any number) before
    on_retrace applies: "warn" once with a RetraceWarning, "raise" RetraceError, or "ignore". strict: a side effect on
    Python state while tracing raises SideEffectError instead of warning. None takes the flags retrace_warn, on_retrace
    and strict. The other arguments are taken for TensorFlow's sake and change nothing: everything is compiled.
    """
    del experimental_implements, experimental_autograph_options, experimental_attributes, experimental_compile
    del experimental_follow_type_hints, jit_compile
    if experimental_relax_shapes is not None:
        reduce_retracing = experimental_relax_shapes

    def made(f: Callable[..., Any]) -> Function:
        return Function(
            f,
            input_signature,
            reduce_retracing,
            None,
            autograph,
            retrace_limit=retrace_limit,
            on_retrace=on_retrace,
            strict=strict,
        )

    return made if func is None else made(func)


@contextmanager
def init_scope() -> Iterator[None]:
    """Leave the trace for a while: ops inside run at once (to make variables' initial values)."""
    trace = active_trace.get()
    token = active_trace.set(None)
    stopped = recorders.set(())
    try:
        yield
    finally:
        recorders.reset(stopped)
        active_trace.reset(token)
        del trace

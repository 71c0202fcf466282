"""GradientTape: reverse-mode differentiation over recorded ops.

A tape keeps the ops that ran between a watched tensor and now; `gradient` walks them backwards with each op's own rule.
Rules work on tensors, so in eager mode the gradient is computed at once, inside a trace it becomes nodes ("backward of
line N") that are optimised with the rest, and an outer tape sees it too (higher orders).
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np

from ..errors import NoGradientError, ShapeError, TapeError
from ..ir.builder import backward_source
from ..ir.dims import require_equal
from ..ir.source import Source, capture
from ..tree import flatten, map_structure
from .control import add_control_gradients, reach_through
from .jacobians import batch_jacobian, jacobian
from .record import CallRecord, ControlRecord, Record, active_trace, few_rows, recorders, stop
from .sums import Sums, reads_few_rows, reads_one_row

__all__ = ["GradientTape", "UnconnectedGradients"]


class UnconnectedGradients(enum.Enum):
    """What `gradient` returns for a source that the target does not depend on."""

    NONE = "none"
    ZERO = "zero"


class GradientTape:
    """Records ops for differentiation.

        with gf.GradientTape() as tape:
            loss = f(w)
        dw = tape.gradient(loss, w)

    persistent: `gradient` may be called more than once. watch_accessed_variables: trainable variables are watched when
    read.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = persistent
        self._watch_accessed = watch_accessed_variables
        self._records: list[Any] = []
        self._connected: set[int] = set()  # ids of tensors that depend on a watched one
        self._alive: list[Any] = []  # keeps those tensors, so that no id is used twice
        self._reads: dict[int, list[Any]] = {}  # id of a variable -> the tensors it was read as
        self._watched: dict[int, Any] = {}
        #: id of a tensor -> id of what it was read from: all reads of a variable add to one sum, in the tape's order
        self._alias: dict[int, int] = {}
        #: values that went where the tape does not see them: (id of the tensor, or None for all; how; where; number of records then)
        self._departures: list[tuple[int | None, str, Source, int]] = []
        self._recording = False
        self._used = False
        self._keeps = False  # something was None: the records are kept for why_none

    # Recording --------------------------------------------------------------------------------------------------------
    def __enter__(self) -> GradientTape:
        """Record. A tape that was left records on where it stopped; one whose gradient was taken starts anew."""
        if self._recording:
            raise TapeError("this tape is already recording; leave its `with` block first")
        if self._used:
            self.reset()
        self._used = False
        self._start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._recording:
            self._stop()

    def _start(self) -> None:
        self._recording = True
        recorders.set((*recorders.get(), self))

    def _stop(self) -> None:
        self._recording = False
        recorders.set(tuple(r for r in recorders.get() if r is not self))

    def watch(self, tensor: Any) -> None:
        """Make tensors or variables sources. Only floats have gradients: watching another dtype warns once and does
        nothing."""
        for value in flatten(tensor):
            if not hasattr(value, "dims"):
                raise TapeError(f"watch: {value!r} is not a tensor; make one with gf.constant")
            if not (value.dtype.is_floating or value.dtype.is_complex):
                _warn_once(f"watch: a tensor of {value.dtype.name} has no gradient; only floats do")
                continue
            self._watched[id(value)] = value
            self._connect(value)
            trace = active_trace()
            if trace is not None and not hasattr(value, "assign"):
                # Ops in a trace see the tensor as a value of the graph.
                lifted = trace.share(value)
                if lifted is not value:
                    self.add_read(value, lifted)

    def add_read(self, source: Any, tensor: Any) -> None:
        """The tensor is the source's value: its gradient counts as the source's."""
        self._connect(tensor)
        self._alias[id(tensor)] = self._alias.get(id(source), id(source))
        self._reads.setdefault(id(source), []).append(tensor)

    def _connect(self, tensor: Any) -> None:
        if id(tensor) not in self._connected:
            self._connected.add(id(tensor))
            self._alive.append(tensor)

    def record(self, record: Any) -> None:
        """Keep a record of an op if one of its operands is connected to a watched tensor. Ops call it."""
        if self._recording and any(id(t) in self._connected for t in record.inputs):
            self._records.append(record)
            if isinstance(record, ControlRecord):
                record.holders.append(self)
            self.connect_results(record.outputs)

    def connect_results(self, outputs: Sequence[Any]) -> None:
        """Results of an op that was recorded: they depend on what is watched."""
        for output in outputs:
            if output.dtype.is_floating or output.dtype.is_complex:
                self._connect(output)

    def accessed(self, variable: Any, value: Any) -> None:
        """A variable was read, with this value. Variables call it."""
        if not self._recording:
            return
        watch = id(variable) in self._watched
        if (
            self._watch_accessed
            and variable.trainable
            and not watch
            and (variable.dtype.is_floating or variable.dtype.is_complex)
        ):
            self._watched[id(variable)] = variable
            watch = True
        if watch:
            self.add_read(variable, value)

    def departed(self, tensor: Any, way: str) -> None:
        """The value of a tensor left for where nothing is recorded."""
        if self._recording and id(tensor) in self._connected:
            self._departures.append((id(tensor), way, capture(), len(self._records)))

    def stop_recording(self) -> AbstractContextManager[None]:
        """Inside this block nothing is recorded on this tape. Raises TapeError if nothing is anyway."""
        if not self._recording:
            raise TapeError("stop_recording: the tape is not recording")
        self._departures.append((None, "stop_recording", capture(), len(self._records)))
        return self._pause()

    @contextmanager
    def _pause(self) -> Iterator[None]:
        self._stop()
        try:
            yield
        finally:
            self._start()

    def reset(self) -> None:
        """Forget everything recorded and watched, and go on recording."""
        self._records.clear()
        self._connected.clear()
        self._alive.clear()
        self._reads.clear()
        self._alias.clear()
        self._watched.clear()
        self._departures.clear()

    def watched_variables(self) -> tuple[Any, ...]:
        """Variables this tape watches, in order of their first read."""
        return tuple(v for v in self._watched.values() if hasattr(v, "assign"))

    # Gradients --------------------------------------------------------------------------------------------------------
    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: UnconnectedGradients | str = UnconnectedGradients.NONE,
    ) -> Any:
        """d(sum of targets)/d(sources), in the structure of `sources`; None (or zeros) where a target does not depend
        on a source.

        target: tensor or structure of them. output_gradients: weights, one for each target. Raises TapeError when a
        non-persistent tape is used twice, NoGradientError when a float op on the way has no gradient rule.
        """
        self._require_unused()
        unconnected = _unconnected(unconnected_gradients)
        targets = flatten(target)
        weights = [None] * len(targets) if output_gradients is None else flatten(output_gradients)
        if len(weights) != len(targets):
            raise ValueError(f"output_gradients: {len(weights)} weights for {len(targets)} targets")
        with self._last_use():
            return self._backward(targets, weights, sources, unconnected)

    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: UnconnectedGradients | str = UnconnectedGradients.NONE,
        parallel_iterations: Any = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """d target / d source with shape target.shape + source.shape, for each source. The tape must be persistent or not used
        yet.

        One walk back for all elements of the target at once (see jacobians.py); experimental_use_pfor=False computes the
        rows one after another, in less memory.
        """
        del parallel_iterations
        self._require_unused()
        unconnected = _unconnected(unconnected_gradients)
        zero = None if unconnected is UnconnectedGradients.NONE else partial(_zero_rows, target)
        with self._last_use():
            return jacobian(self, target, sources, experimental_use_pfor, zero)

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: UnconnectedGradients | str = UnconnectedGradients.NONE,
        parallel_iterations: Any = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """d target[b] / d source[b] with shape [batch] + target.shape[1:] + source.shape[1:], where row b of the target
        depends on row b of the source only; see jacobian. Zeros where the target does not depend on the source, whatever
        unconnected_gradients says, as in TensorFlow. Raises ShapeError where the batches differ."""
        del parallel_iterations
        self._require_unused()
        if not target.dims or not source.dims or not require_equal(target.dims[0], source.dims[0]):
            raise ShapeError(
                f"batch_jacobian: target and source need one first extent, got {target.type} and {source.type}"
            )
        _unconnected(unconnected_gradients)
        with self._last_use():
            found = batch_jacobian(self, target, source, experimental_use_pfor)
        return _zeros_of(source, (*target.dims, *source.dims[1:])) if found is None else found

    @contextmanager
    def _last_use(self) -> Iterator[None]:
        """Ends the recording of a tape that is not persistent, and forgets what it recorded, unless there is a None to explain."""
        if self._recording and not self._persistent:
            self._stop()
        self._keeps = False
        try:
            yield
        finally:
            if not self._persistent:
                self._used = True
                if not self._keeps:
                    self.reset()

    def _require_unused(self) -> None:
        if self._used and not self._persistent:
            raise TapeError(
                "a non-persistent GradientTape can give gradients only once; use GradientTape(persistent=True)"
            )

    def _backward(
        self, targets: Sequence[Any], weights: Sequence[Any], sources: Any, unconnected: UnconnectedGradients
    ) -> Any:
        alone = {id(source) for source in flatten(sources)}  # a read that is asked for itself has a sum of its own
        sums = Sums({k: v for k, v in self._alias.items() if k not in alone})
        for target, weight in zip(targets, weights, strict=True):
            if not hasattr(target, "dims"):
                raise TapeError(f"gradient: the target {target!r} is not a tensor")
            if not (target.dtype.is_floating or target.dtype.is_complex):
                _warn_once(f"gradient: a target of {target.dtype.name} has no gradient; only floats do")
                continue
            own = [target] if hasattr(target, "assign") else self._reads.get(id(target), [target])
            sums.add(own[0], _seed(own[0], weight))
        self.walk(sums, self._needed(sources))

        def result(source: Any) -> Any:
            if not hasattr(source, "dims"):
                raise TapeError(f"gradient: the source {source!r} is not a tensor or variable")
            connected = id(source) in self._connected or id(source) in self._reads or hasattr(source, "assign")
            total = sums.get(source) if connected else None
            for tensor in self._reads.get(id(source), ()):
                if id(tensor) in alone and tensor is not source and sums.get(tensor) is not None:
                    total = sums.get(tensor) if total is None else total + sums.get(tensor)
            if total is None:
                self._keeps = True
                return None if unconnected is UnconnectedGradients.NONE else _zeros(source)
            return total

        return map_structure(result, sources)

    def walk(self, sums: Sums, needed: set[int]) -> None:
        """Add the gradients of everything recorded to the sums, from the last op to the first. needed: ids of the tensors
        that the walk goes through."""
        # a tape that is still recording sees the backward ops too
        self._walk_records(list(self._records), sums, needed)

    def _walk_records(self, records: Sequence[Any], sums: Sums, needed: set[int]) -> None:
        connected = self._connected
        for record in reversed(records):
            incoming = [sums.get(t) for t in record.outputs]
            for gradient in incoming:
                if gradient is not None:
                    break
            else:
                continue
            for tensor in record.inputs:
                if id(tensor) in needed:
                    break
            else:
                continue
            if not isinstance(record, Record):
                wanted = [id(t) in needed and id(t) in connected for t in record.inputs]
                if isinstance(record, ControlRecord):
                    with _backward_of(record.source):
                        add_control_gradients(self, record, incoming, wanted, sums)
                elif not record.add_gradients(incoming, wanted, sums):
                    self._walk_records(self._opened(record, needed), sums, needed)
                continue
            with _backward_of(record.source):
                if record.op.name == "gather" and self._add_rows(record, incoming[0], sums):
                    continue
                for tensor, gradient in zip(record.inputs, self._rule(record, incoming), strict=True):
                    if gradient is not None and id(tensor) in connected:
                        sums.add(tensor, gradient)

    def _add_rows(self, record: Record, gradient: Any, sums: Sums) -> bool:
        """Add the gradient of a lookup of rows to the table's sum, if it can be done by rows."""
        table, indices = record.inputs
        if reads_few_rows(record):
            if id(table) in self._connected:
                sums.add(table, few_rows(table, indices, gradient))
            return True
        if reads_one_row(record):  # O(row) in a loop: the sum is updated in place
            if id(table) in self._connected:
                sums.add_row(table, indices, gradient)
            return True
        return False

    def _opened(self, record: CallRecord, needed: set[int]) -> Sequence[Record]:
        """The records of a call's ops, connected like those that were recorded one by one."""
        found = record.expanded()
        for each in found:
            if any(id(t) in self._connected for t in each.inputs):
                self.connect_results(each.outputs)
            if any(id(t) in needed for t in each.inputs):
                needed.update(map(id, each.outputs))
        self._alive.append(found)
        return found

    def _needed(self, sources: Any) -> set[int]:
        """Tensors that depend on one of the sources: the walk back goes through these only."""
        wanted = set()
        for source in flatten(sources):
            wanted.add(id(source))
            wanted.update(id(t) for t in self._reads.get(id(source), ()))
        for record in self._records:
            if any(id(t) in wanted for t in record.inputs):
                wanted.update(id(t) for t in record.outputs)
        return wanted

    def _rule(self, record: Record, incoming: list[Any]) -> Sequence[Any]:
        """The gradients that an op's rule gives for its inputs."""
        op = record.op
        if op.gradient is None:
            if op.no_gradient.startswith("not differentiable"):
                error = NoGradientError(f"{op.name} has no gradient: {op.no_gradient}")
                error.place = record.source
                error.hint = "use gf.stop_gradient where the gradient is not wanted"
                raise error
            return [None] * len(record.inputs)
        if any(g is None for g in incoming):
            incoming = [g if g is not None else _zeros(t) for g, t in zip(incoming, record.outputs, strict=True)]
        return op.gradient(record, *incoming)

    def _all_records(self) -> list[Any]:
        """What was recorded, with the ops of calls."""
        found: list[Any] = []
        for record in self._records:
            found += self._opened(record, set()) if isinstance(record, CallRecord) else [record]
        return found

    def reach(self, starts: set[int], records: Sequence[Any] | None = None) -> tuple[set[int], list[tuple[Any, Any]]]:
        """(ids of the tensors that gradients of the starting ones come from, the records that cut a path: each with the one
        at fault, which stands inside a branch or body of the record or is the record itself)."""
        reached, cuts = set(starts), []
        for record in self._all_records() if records is None else records:
            inputs = [id(t) in reached for t in record.inputs]
            if not any(inputs):
                continue
            outputs = [o for o in record.outputs if o.dtype.is_floating or o.dtype.is_complex]
            if isinstance(record, ControlRecord):
                through, inner = reach_through(record, inputs)
                found = {id(o) for o, k in zip(record.outputs, through, strict=True) if k} & set(map(id, outputs))
                reached |= found
                cuts += [] if found else [(record, cut) for _, cut in inner] or [(record, record)]
                continue
            with stop(), _backward_of(record.source):
                gradients = self._rule(record, [None] * len(record.outputs)) if outputs else [None] * len(record.inputs)
            if any(g is not None and k for k, g in zip(inputs, gradients, strict=True)):
                reached.update(map(id, outputs))
            else:
                cuts.append((record, record))
        return reached, cuts

    def why_none(self, target: Any, source: Any) -> str:
        """Why `gradient(target, source)` is None: the edge that cuts the path, with its line. Before or after gradient.

        target: a tensor or a structure of them. source: a tensor or variable. Raises TapeError for anything else, and on a tape
        that is not persistent and has given a gradient that was not None.
        """
        targets = flatten(target)
        for label, value in [("target", t) for t in targets] + [("source", source)]:
            if not hasattr(value, "dims"):
                raise TapeError(f"why_none: the {label} {value!r} is not a tensor or variable")
        if self._used and not self._records and not self._watched:
            error = TapeError(
                "why_none: the tape has given its gradients, none of which was None, and has forgotten its ops"
            )
            error.hint = "call why_none before gradient, or use GradientTape(persistent=True)"
            raise error
        if not (source.dtype.is_floating or source.dtype.is_complex):
            return f"the source is {source.dtype.name}; only floats have gradients"
        starts = {id(source), *(id(t) for t in self._reads.get(id(source), ()))}
        if not starts & (self._connected | set(self._watched)):
            return (
                "the source is not watched: use tape.watch(source), or a trainable variable, and compute the target "
                "inside the tape"
            )
        records: list[Any] = []
        place: dict[int, float] = {}  # id of a record -> when it was recorded
        for number, record in enumerate(self._records):
            own = self._opened(record, set()) if isinstance(record, CallRecord) else [record]
            place.update((id(each), number) for each in own)
            records += own
        reached, cuts = self.reach(starts, records)
        if any(id(t) in reached for t in targets):
            return "the path is connected; the gradient is not None"
        leading = set(map(id, targets))  # tensors that the target was computed from
        for record in reversed(records):
            if any(id(t) in leading for t in record.outputs):
                leading.update(map(id, record.inputs))
        for record, cut in reversed(cuts):
            if any(id(t) in leading for t in record.outputs):
                return _explained(cut)
        # no op on the way is known to cut: what was computed from the source and is not followed further, the latest first
        ends = [(place[id(record)], _explained(cut)) for record, cut in cuts]
        for tensor, way, line, count in self._departures:
            if tensor is None or tensor in reached:
                ends.append((count - 0.5, f"{way} cuts the gradient: {_DEPARTURES[way]}{_at(line)}"))
        if ends:
            return max(ends, key=lambda end: end[0])[1]
        return (
            "no recorded op leads from the source to the target (it was computed from something else, from shapes alone, or outside "
            "the tape)"
        )


_DEPARTURES = {
    "numpy": "the value went to NumPy or Python, where nothing is recorded",
    "numpy_function": "it works on NumPy arrays, where nothing is recorded; gf.py_function is differentiable",
    "assign": "a variable's reads after it depend on the variable, not on what was assigned",
    "stop_recording": "what is computed inside is not recorded",
}
"""Ways out of a tape, and why the gradient does not follow."""

_REASONS = {"stop_gradient": "that is its purpose"}


def _explained(cut: Any) -> str:
    """That a record cuts the gradient, why, and where."""
    name, result = cut.op.name, cut.outputs[0].dtype
    if getattr(cut.op.kernel, "name", "") == "custom_gradient":
        name = getattr(cut.attributes.get("gradient"), "name", name)
        reason = "its gradient function returns None for the source"
    else:
        reason = cut.op.no_gradient or _REASONS.get(name, "")
    if not reason:
        is_float = result.is_floating or result.is_complex
        reason = "its derivative is zero everywhere" if is_float else f"its result is {result.name}"
    return f"{name} cuts the gradient: {reason}{_at(cut.source)}"


def _at(source: Source) -> str:
    return f"\n  at {source.file}:{source.line}   {source.expression}"


def _unconnected(value: UnconnectedGradients | str) -> UnconnectedGradients:
    try:
        return UnconnectedGradients(value)
    except ValueError:
        raise ValueError(f"unconnected_gradients must be 'none' or 'zero', got {value!r}") from None


_warned: set[tuple[str, int, str]] = set()


def _warn_once(message: str) -> None:
    """Warn once for each line of the user's."""
    place = capture()
    if (place.file, place.line, message) not in _warned:
        _warned.add((place.file, place.line, message))
        text = f"{message}\n  at {place.file}:{place.line}   {place.expression}"
        warnings.warn_explicit(text, UserWarning, place.file, place.line)


def _zeros_of(tensor: Any, shape: tuple[Any, ...]) -> Any:
    from ..ops.gradients import constant_like
    from ..ops.shape import broadcast_to

    zero = constant_like(0, tensor)
    return broadcast_to(zero, shape=shape) if shape else zero


def _zero_rows(target: Any, source: Any) -> Any:
    return _zeros_of(source, (*target.dims, *source.dims))


def _seed(tensor: Any, weight: Any) -> Any:
    from ..ops.gradients import constant_like
    from ..ops.shape import broadcast_to

    with _backward_of(None):
        if weight is None:
            one = constant_like(1, tensor)
            return broadcast_to(one, shape=tensor.dims) if tensor.dims else one
        from ..ops import multiply

        one = constant_like(1, tensor)
        shape = tuple(weight.dims) if hasattr(weight, "dims") else np.shape(weight)
        if len(shape) > len(tensor.dims) or any(
            isinstance(a, int) and isinstance(b, int) and a not in (1, b)
            for a, b in zip(shape[::-1], tensor.dims[::-1], strict=False)
        ):
            raise ShapeError(
                f"output_gradients: a weight must have its target's shape, got {list(shape)} for {tensor.type}"
            )
        weighted = multiply(one, weight)
        return weighted if weighted.dims == tensor.dims else broadcast_to(weighted, shape=tensor.dims)


def _zeros(tensor: Any) -> Any:
    return _zeros_of(tensor, tuple(tensor.dims))


class _backward_of:  # noqa: N801 (used as `with _backward_of(source):`, like a function)
    """Nodes traced and ops recorded inside are "backward of" the source's line (nobody else asks)."""

    __slots__ = ("_source", "_token")

    def __init__(self, source: Source | None) -> None:
        self._source = source

    def __enter__(self) -> None:
        asked = active_trace() is not None or recorders.get()
        self._token = backward_source.set(self._source) if asked else None

    def __exit__(self, *exception: object) -> None:
        if self._token is not None:
            backward_source.reset(self._token)

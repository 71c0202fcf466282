"""What tapes see: every op that runs while a tape is recording."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from ..ir.op import Control, Op
from ..ir.source import Source

__all__ = [
    "CallRecord",
    "ControlRecord",
    "Record",
    "Recorder",
    "active_trace",
    "few_rows",
    "new_trace",
    "record_access",
    "record_departure",
    "record_operation",
    "recorders",
    "set_trace",
    "stop",
]


#: the trace that is running in this context, or None (set by tensor.py, which this layer may not import)
_trace: Callable[[], Any] = lambda: None  # noqa: E731


_make_trace: Callable[[str], Any]


_make_rows: Callable[[Any, Any, Any], Any]


def set_trace(getter: Callable[[], Any], make: Callable[[str], Any], make_rows: Callable[[Any, Any, Any], Any]) -> None:
    """Installed once by the tensor layer: how to find the trace that is running, how to begin one, and how to make an eager tensor
    that is zero but for a few rows."""
    global _trace, _make_trace, _make_rows
    _trace, _make_trace, _make_rows = getter, make, make_rows


def few_rows(like: Any, indices: Any, rows: Any) -> Any:
    """A tensor like another one, zero but for the sums of these rows at these indices."""
    return _make_rows(like, indices, rows)


def new_trace(name: str) -> Any:
    """A trace of its own, which is not running yet."""
    return _make_trace(name)


def active_trace() -> Any:
    """The trace that is running in this context, or None (eager)."""
    return _trace()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One executed (or traced) op: the `node` that gradient rules receive."""

    op: Op
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    attributes: dict[str, Any]
    source: Source


class ControlRecord:
    """The record of a node with sub-graphs. Differentiating a loop makes its node save values: the record then gets the
    node's new operands, results and attributes, on all tapes that hold it. prepared: what was worked out for it so far."""

    __slots__ = ("attributes", "holders", "inputs", "op", "outputs", "prepared", "source")

    def __init__(
        self, op: Op, inputs: tuple[Any, ...], outputs: tuple[Any, ...], attributes: dict[str, Any], source: Source
    ) -> None:
        self.op, self.inputs, self.outputs, self.attributes, self.source = op, inputs, outputs, attributes, source
        self.holders: list[Any] = []
        self.prepared: dict[Any, Any] = {}


class CallRecord(ABC):
    """A call of a compiled function, recorded as one. inputs, outputs: its tensors; op, source: for messages."""

    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    op: Op
    source: Source
    attributes: dict[str, Any]

    @abstractmethod
    def add_gradients(self, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> bool:
        """Add the gradients of the inputs to the sums. False: the ops of `expanded` have to do it."""

    @abstractmethod
    def expanded(self) -> list[Record]:
        """The records of the ops that the call consists of."""


class Recorder(Protocol):
    """A tape, as this module sees it."""

    def record(self, record: Record) -> None: ...
    def accessed(self, variable: Any, value: Any) -> None: ...


#: the active tapes of this context, outermost first
recorders: ContextVar[tuple[Recorder, ...]] = ContextVar("graphflow_recorders", default=())


def record_operation(
    op: Op, inputs: tuple[Any, ...], outputs: tuple[Any, ...], attributes: dict[str, Any], source: Source
) -> None:
    """Tell every active tape about an op."""
    kind = ControlRecord if isinstance(op.kernel, Control) else Record
    entry: Any = kind(op, inputs, outputs, attributes, source)
    for recorder in recorders.get():
        recorder.record(entry)


def record_access(variable: Any, value: Any) -> None:
    """Tell every active tape that a variable was read, giving `value`."""
    for recorder in recorders.get():
        recorder.accessed(variable, value)


def record_departure(value: Any, way: str) -> None:
    """Tell the active tapes that a tensor's value went where no tape sees it, such as to NumPy."""
    for recorder in recorders.get():
        departed = getattr(recorder, "departed", None)
        if departed is not None:
            departed(value, way)


class stop:  # noqa: N801 (used as `with stop():`, like a function)
    """`with stop():` nothing is recorded (tape.stop_recording uses a narrower form)."""

    def __enter__(self) -> None:
        self._token = recorders.set(())

    def __exit__(self, *exception: object) -> None:
        recorders.reset(self._token)

"""Saying where operations run: gf.debugging.set_log_device_placement."""

from __future__ import annotations

import sys
from typing import Any

from ..autodiff.record import Record, recorders
from ..ir.graph import Graph

__all__ = ["get_log_device_placement", "log_graph", "set_log_device_placement"]


class _Logger:
    """Sees every eager op that runs, as a tape does, and says where it ran."""

    is_passive = True

    def record(self, record: Record) -> None:
        """One line for an op."""
        if record.outputs and not any(output.is_symbolic for output in record.outputs):
            _say(record.op.name, record.outputs[0].device, str(record.source.location))

    def accessed(self, variable: Any, value: Any) -> None:
        """Reading a variable is no operation of its own."""

    def writes(self, variable: Any) -> None:
        """Nor is writing one."""


_logger = _Logger()


def set_log_device_placement(enabled: bool) -> None:
    """Write a line to standard error for every operation that runs from here on in this thread, with its device: for an eager one
    when it runs, for those of a compiled function when it is called."""
    others = tuple(r for r in recorders.get() if r is not _logger)
    recorders.set((*others, _logger) if enabled else others)


def get_log_device_placement() -> bool:
    """Are placements written?"""
    return _logger in recorders.get()


def log_graph(name: str, graph: Graph) -> None:
    """A line for each node of a compiled function that is about to run, where placements are written."""
    if not get_log_device_placement():
        return
    for node in graph.nodes:
        if node.outputs:
            _say(f"{name}/{node.op.name}", f"/{node.outputs[0].type.device}", node.source.location)


def _say(op: str, device: str, place: str) -> None:
    sys.stderr.write(f"{op}: {device}  ({place})\n")

"""Ctrl-C in native loops: every tenth of a second a loop asks Python whether a signal wants to be handled.

Asking needs the GIL, so a loop looks at the processor's clock first: in each iteration, or, where an iteration is a few instructions on
scalars, in one of LIGHT_TURNS. A signal handler that raises (Ctrl-C: KeyboardInterrupt) ends the call like a failed check, so variables
stay as they were.
"""

from __future__ import annotations

from typing import Any

from ...ir.graph import Graph, Node
from ...ir.op import Alias, Control, Effect, Library
from .counters import COUNTER
from .emit_scalars import is_inline

__all__ = ["INTERRUPTED", "INTERRUPT_DECLARATIONS", "POLL", "poll"]

INTERRUPTED = -3
"""The status of a call that a signal handler's exception ended (no check has this number)."""
LIGHT_TURNS = 1 << 14
"""Turns between two looks at the clock where they are short: 20 us at the least."""
COPIES, MOST_COPIED = 4, 64
"""A loop of at most so many operations on scalars takes so many iterations in a turn."""
PERIOD = 1 << (28 if COUNTER == "llvm.readcyclecounter" else 22)
"""Ticks of the clock between two questions: 0.1 s at 2.7 GHz (x86), 0.17 s at 24 MHz or less (ARM)."""

POLL = f"""define internal i1 @interrupted(ptr %asked) noinline cold {{
entry:
  %now = call i64 @{COUNTER}()
  %before = load i64, ptr %asked, align 8
  %since = sub i64 %now, %before
  %early = icmp ult i64 %since, {PERIOD}
  br i1 %early, label %no, label %ask
ask:
  store i64 %now, ptr %asked, align 8
  %state = call i32 @PyGILState_Ensure()
  %raised = call i32 @PyErr_CheckSignals()
  call void @PyGILState_Release(i32 %state)
  %yes = icmp slt i32 %raised, 0
  ret i1 %yes
no:
  ret i1 false
}}
"""
INTERRUPT_DECLARATIONS = {
    f"declare i64 @{COUNTER}()",
    "declare i32 @PyGILState_Ensure()",
    "declare i32 @PyErr_CheckSignals()",
    "declare void @PyGILState_Release(i32)",
}


def _is_light(graph: Graph) -> bool:
    """Nothing but instructions on scalars, without loops?"""
    for node in graph.nodes:
        kernel = node.op.kernel
        if isinstance(kernel, Control):
            if kernel.kind != "switch" or not all(map(_is_light, node.subgraphs())):
                return False
        elif not (
            isinstance(kernel, Alias)
            or isinstance(kernel, Effect)
            and kernel.kind in ("copy", "constant")
            or isinstance(kernel, Library)
            and kernel.name == "nest"
            and is_inline(node)
        ):
            return False
    return True


def _is_short(node: Node) -> bool:
    most = node.attributes["most"]
    return isinstance(most, int) and most <= LIGHT_TURNS


def copies(node: Node) -> int:
    """How often the body of a loop is written out, one after the other: a loop of few instructions feels each one more, so that it looks
    at its turns once in COPIES iterations."""
    light = all(map(_is_light, node.subgraphs())) and not _is_short(node)
    return COPIES if light and sum(map(_size, node.subgraphs())) <= MOST_COPIED else 1


def _size(graph: Graph) -> int:
    """Operations in a graph and in the graphs of its nodes."""
    inner = (
        node.subgraphs() or ([node.attributes["body"]] if "body" in node.attributes else []) for node in graph.nodes
    )
    return len(graph.nodes) + sum(_size(g) for graphs in inner for g in graphs)


def poll(emitter: Any, node: Node) -> None:
    """In the body of a loop: leave the program if a signal handler raised."""
    light = all(map(_is_light, node.subgraphs()))
    if light and _is_short(node):
        return
    writer, prologue = emitter.writer, emitter.own.prologue
    if emitter.own.asked is None:  # one clock for the loops of a function
        emitter.own.asked = prologue.let("alloca i64, align 8", "asked")
        prologue.line(f"store i64 {prologue.let(f'call i64 @{COUNTER}()')}, ptr {emitter.own.asked}, align 8")
    after = writer.label("go_on")
    if light:
        turns = prologue.let("alloca i64, align 8", "turns")
        prologue.line(f"store i64 {LIGHT_TURNS}, ptr {turns}, align 8")
        left = writer.let(f"sub i64 {writer.let(f'load i64, ptr {turns}, align 8')}, 1")
        writer.line(f"store i64 {left}, ptr {turns}, align 8")
        look = writer.label("look")
        writer.line(
            f'br i1 {writer.let(f"icmp eq i64 {left}, 0")}, label %{look}, label %{after}, !prof !{{!"branch_weights", i32 1, i32 16383}}'
        )
        writer.open(look)
        writer.line(f"store i64 {LIGHT_TURNS}, ptr {turns}, align 8")
    stop = writer.label("interrupted")
    writer.line(f"br i1 {writer.let(f'call i1 @interrupted(ptr {emitter.own.asked})')}, label %{stop}, label %{after}")
    writer.open(stop)
    writer.line(f"store i64 {INTERRUPTED}, ptr %table, align 8")
    writer.line("br label %out")
    writer.open(after)

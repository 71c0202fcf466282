"""Converted code has the lines, columns, frames and names of the user's."""

from __future__ import annotations

import inspect
import linecache
import sys
import traceback
import types

import pytest
from three_ways import check

import graphflow as gf
from graphflow.autograph.convert import convert_function


# fmt: off
def placed(x, y):
    total = x @ y
    if gf.reduce_sum(total) > 0:
        total = (total +
                 gf.reduce_max(x * y))
    for k in range(2):
        total = total - (x[k] if k else gf.tanh(total))
    return total
# fmt: on


def all_positions(code):
    found = set()
    for instruction, position in zip(code.co_code[::2], code.co_positions()):
        del instruction
        if position[0] is not None:
            found.add(position)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found |= all_positions(inner)
    return found


def test_positions_are_those_of_the_file():
    converted = convert_function(placed)
    before, after = all_positions(placed.__code__), all_positions(converted.__code__)
    operations = {p for p in before if p[0] != placed.__code__.co_firstlineno}
    lines = {p[0] for p in operations}
    assert {p[0] for p in after} - lines <= {placed.__code__.co_firstlineno}
    text = inspect.getsource(placed).splitlines()
    first = placed.__code__.co_firstlineno

    def shown(position):
        line, end, column, end_column = position
        return text[line - first][column : end_column if end == line else None]

    expressions = {shown(p) for p in after}
    for wanted in (
        "x @ y",
        "gf.reduce_sum(total) > 0",
        "x * y",
        "gf.reduce_max(x * y))"[:-1],
        "gf.tanh(total)",
        "(total +",
    ):
        assert any(e.startswith(wanted) or e == wanted.strip("(") for e in expressions), (wanted, expressions)


def test_node_sources():
    x = gf.ones([2, 2])
    graph = gf.function(placed).get_concrete_function(x, x).graph
    first = placed.__code__.co_firstlineno
    found = {(n.op.name, n.source.line - first, n.source.expression) for n in graph.nodes}
    assert ("matmul", 1, "x @ y") in found
    assert ("switch", 2, "if gf.reduce_sum(total) > 0") in found
    assert ("tanh", 6, "gf.tanh(total)") in found
    inner = next(n for n in graph.nodes if n.op.name == "switch").attributes["branches"][1]
    found = {(n.op.name, n.source.line - first, n.source.expression) for n in inner.nodes}
    assert ("reduce_max", 4, "gf.reduce_max(x * y)") in found
    assert all(n.source.file == __file__ for n in graph.nodes)


def test_tracebacks_show_the_users_file_alone():
    def fail(x):
        for k in range(3):
            if k == 1:
                while True:
                    x = x + undefined
        return x

    with pytest.raises(NameError) as caught:
        gf.function(fail)(gf.constant(1.0))
    entries = traceback.extract_tb(caught.value.__traceback__)
    ours = [e.filename for e in entries if e.filename != __file__]
    assert len(ours) <= 1  # where the call of the compiled function hands the error on
    assert {e.name for e in entries[1:] if e.filename == __file__} == {"fail"}
    assert entries[-1].line == "x = x + undefined"


def test_unbound_locals_are_unbound_locals():
    def f(x, flag):
        if flag:
            y = x
        if not flag:
            return y * 2
        return x

    check(f, [1.0, True], [1.0, False], signature=False)


def test_a_debugger_sees_the_original_lines():
    def stepped(x):
        y = x + 1
        if y is not None:
            y = y * 2
        for k in range(2):
            if k > 0:
                y = y - 1
        return y

    def lines_of(function, *arguments):
        seen = []

        def tracer(frame, event, argument):
            if frame.f_code.co_filename != __file__ or frame.f_code.co_name != "stepped":
                return None
            if event == "line":
                seen.append(frame.f_lineno)
            return tracer

        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            function(*arguments)
        finally:
            sys.settrace(before)
        return seen

    plain_lines = lines_of(stepped, 1.0)
    converted_lines = lines_of(convert_function(stepped), 1.0)
    assert set(converted_lines) == set(plain_lines)
    executed = [n for n, line in enumerate(plain_lines) if "k > 0" not in linecache.getline(__file__, line)]
    assert [plain_lines[n] for n in executed][0] == converted_lines[0]
    body = stepped.__code__.co_firstlineno + 3
    assert plain_lines.count(body) == converted_lines.count(body)


def test_breakpoint_in_a_converted_block(monkeypatch):
    stopped = []

    def hook():
        frame = sys._getframe(1)
        stopped.append((frame.f_code.co_name, frame.f_lineno, "y" in frame.f_locals))

    monkeypatch.setattr(sys, "breakpointhook", hook)

    @gf.function
    def f(x):
        y = x + 1
        if x > 0:
            breakpoint()
            y = y * 2
        return y

    line = f.python_function.__code__.co_firstlineno + 4
    f(gf.constant(1.0))
    assert stopped == [("f", line, True)]

"""The examples of docs/autograph.md do what it says."""

from __future__ import annotations

import linecache
import pathlib
import re

import pytest
from three_ways import check

import graphflow as gf

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "autograph.md"
CALLS = [2.0, [1.0, 2.0, 3.0], 2], [-3.0, [0.5, -1.0, 4.0], 1], [0.5, [0.25, 0.5, 0.0], 3]


def rows(heading):
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}")[1].split("\n## ")[0]
    for line in section.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 3 and cells[0] not in ("construct", "program", "---"):
            yield cells


def lines_of(cell):
    return [part.strip()[1:-1] for part in cell.split("<br>")]


def function_of(lines, name):
    text = "def f(x, v, n):\n" + "".join(f"    {line}\n" for line in lines) + "    return x\n"
    file = f"<docs/autograph.md: {name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    scope = {"gf": gf, "__name__": "documentation"}
    exec(compile(text, file, "exec"), scope)
    return scope["f"]


SUPPORTED = list(rows("What is supported"))
REFUSED = list(rows("What is refused"))


def test_there_are_examples():
    assert len(SUPPORTED) > 25
    assert len(REFUSED) > 15


@pytest.mark.parametrize(("construct", "meaning", "example"), SUPPORTED, ids=[r[0] for r in SUPPORTED])
def test_example(construct, meaning, example):
    lines = lines_of(example)
    assert len(lines) >= 2
    extents = "sorted" not in construct  # sorted gives a Python list, whose length the extents decide
    check(function_of(lines, construct), *CALLS, signature=extents)


@pytest.mark.parametrize(("program", "error", "message"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_refusal(program, error, message):
    function = gf.function(function_of(lines_of(program), message))
    expected = getattr(gf.errors, error.strip("`"))
    with pytest.raises(expected, match=re.escape(message.strip("`"))) as caught:
        function(gf.constant(2.0), gf.constant([1.0, 2.0, 3.0]), gf.constant(1))
    assert type(caught.value) is expected
    assert caught.value.hint
    assert caught.value.place is not None

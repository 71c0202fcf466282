"""fn.view(): one static HTML file that shows what became of a function. view.html is the page; here is what it shows."""

from __future__ import annotations

import difflib
import itertools
import json
import linecache
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Contract, Control, Effect, Indexed, Library, Reduce, View
from ..ir.printer import print_graph, print_value
from ..ir.source import Source
from ..passes.manager import Stage
from .calls import prepare_call
from .explain import Explanation, report_of
from .memory import memory
from .profile import what
from .signature import TensorSpec

__all__ = ["diff_stages", "view", "view_data"]

TEMPLATE = Path(__file__).with_name("view.html")
SLOT = "/*DATA*/"
MOST_GRAPH_NODES = 6000
"""Nodes of all stages' graphs together that a page holds; beyond, only the first and the last graph are drawn."""
MOST_ASSEMBLY = 2_000_000
"""Characters of LLVM IR up to which a page holds the assembly (about as long; compiling them takes 4 s)."""
MOST_COMPARISONS = 1_000_000
"""Pairs of lines up to which a diff is the best there is."""
LONGEST_FILE = 4000
"""Lines of a source file that is shown whole; of a longer one those around the function's lines are."""
AROUND = 40
CONTEXT = 2
"""Unchanged lines around a change."""


def view(function: Any, path: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """See Inspection.view."""
    data = json.dumps(view_data(function, args, kwargs), ensure_ascii=False, separators=(",", ":"))
    # Inside a script element only "</" and "<!--" would end it; these characters are the same JSON.
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    page = TEMPLATE.read_text(encoding="utf-8")
    assert page.count(SLOT) == 1, "the template has one slot"
    Path(path).write_text(page.replace(SLOT, data), encoding="utf-8")
    return os.fspath(path)


def view_data(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the page shows, as plain Python values."""
    from ..tree import flatten

    if any(isinstance(leaf, TensorSpec) for leaf in flatten([list(args), kwargs])) or not args and not kwargs:
        concrete = function.get_concrete_function(*args, **kwargs)
    else:
        concrete = prepare_call(function, args, kwargs).concrete
    executable = concrete.executable
    files = _Files()
    return {
        "name": concrete.name,
        "signature": ", ".join(f"{n}: {t}" for n, t in zip(concrete.names, concrete.types, strict=True)),
        "graphs": _graphs(executable.stages, files),
        "stages": [_stage(s, d) for s, d in zip(executable.stages, diff_stages(executable.stages), strict=True)],
        "kernels": _kernels(executable, files),
        "memory": _memory(function, args, kwargs, executable, files),
        "remarks": _remarks(concrete, files),
        "sources": files.listing(),
    }


class _Files:
    """The source files that the graphs name, by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.lines: dict[int, set[int]] = {}

    def place(self, source: Source) -> list[Any]:
        """[file, line, column, expression, 1 for a gradient]."""
        number = self.number(source.file, source.line)
        return [number, source.line, source.column, source.expression, int(source.backward)]

    def number(self, file: str, line: int) -> int:
        number = self.numbers.setdefault(file, len(self.numbers))
        self.lines.setdefault(number, set()).add(line)
        return number

    def listing(self) -> list[dict[str, Any]]:
        """Each file's name and lines: [line number, text]. Where a file cannot be read, the lines that are known."""
        found = []
        for file, number in self.numbers.items():
            text = [line.rstrip("\n") for line in linecache.getlines(file)]
            used = self.lines[number]
            wanted: Sequence[int] = range(1, len(text) + 1)
            if len(text) > LONGEST_FILE:
                near = {k for line in used for k in range(line - AROUND, line + AROUND + 1)}
                wanted = sorted(k for k in near if 1 <= k <= len(text))
            listed = [[k, text[k - 1]] for k in wanted] or [[k, ""] for k in sorted(used)]
            found.append({"file": file, "name": os.path.basename(file), "lines": listed})
        return found


# Graphs ---------------------------------------------------------------------------------------------------------------
def _graphs(stages: Sequence[Stage], files: _Files) -> list[dict[str, Any]]:
    """The graph after each pass that changed it."""
    chosen = [stages[0]]
    for stage in stages[1:]:
        if stage.graph is not chosen[-1].graph and (stage.rewrites or stage.nodes_before != stage.nodes_after):
            chosen.append(stage)
    if chosen[-1].graph is not stages[-1].graph:
        chosen.append(stages[-1])
    if sum(_count(stage.graph) for stage in chosen) > MOST_GRAPH_NODES:
        chosen = [chosen[0], chosen[-1]] if len(chosen) > 1 else chosen
    named = []
    for k, stage in enumerate(chosen):
        name = "traced" if k == 0 else f"after {stage.name}" + (", the last pass" if k == len(chosen) - 1 else "")
        named.append({"stage": name, "graph": _graph(stage.graph, files)})
    return named


def _count(graph: Graph) -> int:
    return sum(1 + sum(map(_count, node.subgraphs())) for node in graph.nodes)


def _graph(graph: Graph, files: _Files) -> dict[str, Any]:
    """A graph as nested lists. A value is [node, output] or [-1 - input]."""
    place: dict[Value, list[int]] = {value: [-1 - k] for k, value in enumerate(graph.inputs)}
    nodes = []
    for number, node in enumerate(graph.nodes):
        nodes.append(_node(node, place, files))
        place.update({value: [number, k] for k, value in enumerate(node.outputs)})
    return {
        "name": graph.name,
        "inputs": [[v.name, str(v.type)] for v in graph.inputs],
        "nodes": nodes,
        "outputs": [place[v] for v in graph.outputs],
    }


def _node(node: Node, place: dict[Value, list[int]], files: _Files) -> dict[str, Any]:
    found: dict[str, Any] = {
        "op": node.op.name,
        "label": what(node),
        "kind": kind_of(node),
        "types": [str(v.type) for v in node.outputs],
        "in": [place[v] for v in node.inputs],
        "src": [files.place(source) for source in node.source.all()],
    }
    attributes = {}
    parts = []
    for name, value in node.attributes.items():
        if isinstance(value, Graph):
            parts.append([name, _graph(value, files)])
        elif isinstance(value, tuple) and value and all(isinstance(item, Graph) for item in value):
            parts += [[_branch(node, k, len(value)), _graph(item, files)] for k, item in enumerate(value)]
        elif value != node.op.attribute_defaults.get(name, node):
            text = print_value(value)
            attributes[name] = text if len(text) <= 160 else f"{text[:157]}..."
    if attributes:
        found["attributes"] = attributes
    if parts:
        found["parts"] = parts
    return found


def _branch(node: Node, number: int, count: int) -> str:
    if count == 2 and node.inputs[0].type.dtype.is_bool:
        return ("if false", "if true")[number]
    return f"branch {number}"


def kind_of(node: Node) -> str:
    """The family of a node, which decides its colour."""
    kernel = node.op.kernel
    if isinstance(kernel, Control):
        return "control"
    if isinstance(kernel, Effect):
        return {"read": "variable", "write": "variable", "constant": "constant"}.get(kernel.kind, "effect")
    if node.op.name == "constant":
        return "constant"
    if isinstance(kernel, Contract):
        return "matmul"
    if isinstance(kernel, Library):
        return "fused" if kernel.name == "nest" else "library"
    if isinstance(kernel, Reduce):
        return "reduce"
    return "view" if isinstance(kernel, (View, Alias, Indexed)) else "pointwise"


# Passes ---------------------------------------------------------------------------------------------------------------
def _stage(stage: Stage, diff: list[list[str]]) -> dict[str, Any]:
    return {
        "name": stage.name,
        "before": stage.nodes_before,
        "after": stage.nodes_after,
        "rewrites": stage.rewrites,
        "ms": round(stage.milliseconds, 3),
        "diff": diff,
    }


def diff_stages(stages: Sequence[Stage]) -> list[list[list[str]]]:
    """What each pass changed, as [sign, line] with the signs "-", "+", "~" (the same node on other operands), " " (unchanged,
    near a change) and "@" (how many lines are left out). That values have other numbers is no change."""
    texts: dict[int, list[str]] = {}

    def lines(graph: Graph) -> list[str]:
        if id(graph) not in texts:
            texts[id(graph)] = [_line(line) for line in print_graph(graph).splitlines()]
        return texts[id(graph)]

    found: list[list[list[str]]] = [[]]
    for before, after in itertools.pairwise(stages):
        same = before.graph is after.graph
        found.append([] if same else list(_diff(lines(before.graph), lines(after.graph))))
    return found


def _line(text: str) -> str:
    """A line without the spaces that only align it with others."""
    indent = len(text) - len(text.lstrip())
    return text[:indent] + re.sub(r" {2,}", "  ", text[indent:]).replace("  =", " =")


def _diff(old: list[str], new: list[str]) -> Iterator[list[str]]:
    keys = [[re.sub(r"%\d+", "%", line) for line in lines] for lines in (old, new)]
    start = 0
    while start < min(len(old), len(new)) and keys[0][start] == keys[1][start]:
        start += 1
    stop = 0
    while stop < min(len(old), len(new)) - start and keys[0][-1 - stop] == keys[1][-1 - stop]:
        stop += 1
    middle = [lines[start : len(lines) - stop] for lines in keys]
    if len(middle[0]) * len(middle[1]) > MOST_COMPARISONS:  # the k-th line of a kind is compared with the k-th
        middle = [_numbered(lines) for lines in middle]
    matcher = difflib.SequenceMatcher(None, middle[0], middle[1], autojunk=False)
    blocks = [(a + start, b + start, size) for a, b, size in matcher.get_matching_blocks() if size]
    blocks = [(0, 0, start), *blocks, (len(old) - stop, len(new) - stop, stop)]
    pairs = {b + k: a + k for a, b, size in blocks for k in range(size)}
    rewired = _rewired(old, new, pairs)
    changes: list[list[str]] = []
    taken = 0
    for k, line in enumerate(new):
        match = pairs.get(k)
        if match is None:
            changes.append(["+", line])
            continue
        changes += [["-", old[j]] for j in range(taken, match)]
        taken = match + 1
        changes.append(["~" if k in rewired else " ", line])
    changes += [["-", old[j]] for j in range(taken, len(old))]
    changed = [k for k, (sign, _) in enumerate(changes) if sign != " "]
    if not changed:
        return
    near = {j for k in changed for j in range(k - CONTEXT, k + CONTEXT + 1)}
    left = 0
    for k, change in enumerate(changes):
        if k in near:
            if left:
                yield ["@", str(left)]
            left = 0
            yield change
        else:
            left += 1
    if left:
        yield ["@", str(left)]


def _rewired(old: list[str], new: list[str], pairs: dict[int, int]) -> set[int]:
    """The lines of `new` whose operands are other values than in the line of `old` that they are paired with."""
    found: set[int] = set()
    known: dict[
        int, dict[str, str]
    ] = {}  # in each scope, given by its indentation: a value's old number -> its new one
    for k, j in sorted(pairs.items()):
        indent = len(new[k]) - len(new[k].lstrip())
        for deeper in [d for d in known if d > indent]:
            del known[deeper]
        scope = known.setdefault(indent, {})
        (was, before), (now, after) = _values(old[j]), _values(new[k])
        if any(scope.get(a) != b for a, b in zip(before, after, strict=True)):
            found.add(k)
        scope.update(zip(was, now, strict=True))
    return found


def _values(line: str) -> tuple[list[str], list[str]]:
    """The numbers of a line's results and of its operands."""
    text = line.partition("  #")[0]
    left, equals, right = text.partition(" = ")
    if not equals or not left.lstrip().startswith("%"):
        left, right = "", text
    return re.findall(r"%\d+", left), re.findall(r"%\d+", right)


def _numbered(lines: list[str]) -> list[str]:
    """The lines, each with how often it came before."""
    counts: dict[str, int] = {}
    found = []
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
        found.append(f"{line} {counts[line]}")
    return found


# Kernels, memory, remarks ---------------------------------------------------------------------------------------------
def _kernels(executable: Any, files: _Files) -> dict[str, Any]:
    program = executable.program
    parts: dict[str, str] = {}
    note = ""
    if executable.backend == "cpu":
        from ..runtime.cpu.llvm import assembly

        if len(program.text) > MOST_ASSEMBLY:
            note = f"The program has {len(program.text):,} characters of LLVM IR: see fn.kernels(..., form='asm')."
        else:
            parts = split_assembly(assembly(program.text, "loops" if program.has_loop else "light"))
    else:
        note = "This trace has nodes on a GPU: see fn.kernels(..., form='ptx')."
    kernels = [
        {
            "name": nest.name,
            "src": [files.place(source) for source in nest.source.all()],
            "nest": str(nest),
            "asm": parts.get(nest.name, ""),
        }
        for nest in program.nests
    ]
    named = {nest.name for nest in program.nests}
    rest = [{"name": name, "asm": text} for name, text in parts.items() if name not in named]
    return {"kernels": kernels, "others": rest, "note": note}


def split_assembly(text: str) -> dict[str, str]:
    """Function -> its part of a module's assembly."""
    found: dict[str, list[str]] = {}
    own: list[str] | None = None
    for line in text.splitlines():
        label = re.match(r"_?([A-Za-z][\w.]*):", line)
        if label and not label.group(1).startswith(("L", "ltmp")):
            own = found.setdefault(label.group(1), [])
        if own is not None and not re.match(r"\s*(\.(p2align|cfi_|type|size|globl|section|ident|set)|#)", line):
            own.append(line.rstrip())
    return {
        name: "\n".join(lines) for name, lines in found.items() if any("ret" in line or "jmp" in line for line in lines)
    }


def _memory(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], executable: Any, files: _Files
) -> dict[str, Any] | None:
    if executable.backend != "cpu":
        return None
    report = memory(function, args, kwargs)
    rows = [
        [s.number, s.what, files.number(s.file, s.line), s.line, s.depth, s.bytes, s.unknown, s.place, s.function]
        for s in report.timeline
    ]
    buffers = [
        [b.kind, b.type, b.what, b.formula, b.bytes, b.first, b.last, b.place, b.function,
         files.number(b.file, b.line) if b.file else -1, b.line]
        for b in report.buffers
    ]  # fmt: skip
    return {
        "text": str(report).split("\n  step by step:")[0],
        "peak": report.peak.number if report.peak else -1,
        "peakBytes": report.peak_bytes,
        "rows": rows,
        "buffers": buffers,
    }


def _remarks(concrete: Any, files: _Files) -> dict[str, Any]:
    every = [*concrete.remarks, *concrete.executable.remarks]
    explanation = Explanation(concrete.name, [report_of(concrete)], every)
    return {
        "trace": str(report_of(concrete)),
        "remarks": [
            [remark.category, remark.message, [files.place(source) for source in remark.sources]]
            for group in (
                explanation.warnings,
                explanation.placement,
                explanation.fallbacks,
                *explanation.refusals.values(),
            )
            for remark in group
        ],
    }

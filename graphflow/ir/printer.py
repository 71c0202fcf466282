"""The text form of a graph: one line a node, its type, its place in the user's program at the end. `parser.parse` reads
it back to an equal graph; the grammar is in docs/ir.md.

    graph mlp(x: f32[batch,784], w: var f32[784,10]) -> (f32[batch,10]) {
      %0: f32[784,10]   = read_variable w  # train.py:12:8  w
      %1: f32[batch,10] = matmul x, %0     # train.py:13:8  x @ w
      return %1
    }
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dtypes import ALL, DType, of_numpy, string
from ..errors import GraphflowError
from .dims import SymbolicDim, symbols_of
from .graph import Graph, Node, Value, comparable
from .op import Op
from .source import Source

__all__ = ["RESERVED", "print_graph", "print_node", "print_value"]

#: words that mean something else than a dimension's symbol where an attribute's value is expected
RESERVED = frozenset(
    ("None", "True", "False", "nan", "inf", "graph", "base64", "complex", "dim", "min", "max", "object")
)
SHORT_NAMES = frozenset(dtype.short for dtype in ALL)
#: arrays up to this many elements are printed as lists, larger ones as base64
INLINE_ELEMENTS = 16
#: longer left-hand sides (lines) do not push the `=` (the `#`) of all the others to the right
WIDEST_RESULT, WIDEST_LINE, WIDEST_HEADER = 48, 100, 120

_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*\Z", re.ASCII)
_PLAIN_FILE = re.compile(r"[^\s\"#:]+\Z")


def print_graph(graph: Graph, full_paths: bool = False, sources: bool = True) -> str:
    """The text of a graph, without a final newline.

    full_paths: begin with lines that map the short file names to the whole ones, so that parse() gives an equal graph.
    sources: append each node's place in the user's program. A sub-graph that several nodes hold stands once, before the
    graph, and its name in its place.
    """
    labels = _file_labels(graph) if sources else {}
    lines = []
    if full_paths:
        lines = [f"file {json.dumps(label)} = {json.dumps(path)}" for path, label in labels.items() if label != path]
    style = _Style(labels if sources else None, _shared_graphs(graph))
    for inner, name in style.shared.items():
        first, *rest = _graph_lines(inner.graph, style)
        lines += [f"shared {name} = {first}", *rest]
    return "\n".join([*lines, *_graph_lines(graph, style)])


def print_node(node: Node, graph: Graph | None = None) -> str:
    """The line of one node, without its source. Values that the graph does not define appear as `<undefined>`."""
    names = {} if graph is None else _value_names(graph)
    return " = ".join(part for part in _node_parts(node, names, _PLAIN) if part).replace("\n", " ")


def print_value(value: Any) -> str:
    """The text of an attribute's value on one line."""
    return re.sub(r"\s*\n\s*", " ", _value_text(value, _PLAIN))


@dataclass(frozen=True)
class _Same:
    """A graph as this very object: equal graphs are printed one by one."""

    graph: Graph

    def __hash__(self) -> int:
        return id(self.graph)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.graph is self.graph


@dataclass(frozen=True)
class _Style:
    """labels: file -> its name in sources; None: no sources. shared: the graphs that stand before the others, with the texts
    of their names, those that others hold first."""

    labels: Mapping[str, str] | None = None
    shared: Mapping[_Same, str] = field(default_factory=dict)


_PLAIN = _Style()


def _shared_graphs(graph: Graph) -> dict[_Same, str]:
    """The sub-graphs that are held more than once, inner ones first, with unique names."""
    counts: dict[_Same, int] = {}
    order: list[_Same] = []

    def visit(graph: Graph) -> None:
        for node in graph.nodes:
            for inner in node.subgraphs():
                key = _Same(inner)
                counts[key] = counts.get(key, 0) + 1
                if counts[key] == 1:
                    visit(inner)
                    order.append(key)

    visit(graph)
    names: dict[_Same, str] = {}
    taken: set[str] = set()
    for key in order:
        if counts[key] > 1:
            name, number = key.graph.name, 1
            while name in taken:
                name, number = f"{key.graph.name}_{number}", number + 1
            taken.add(name)
            names[key] = _name_text(name)
    return names


# Lines ----------------------------------------------------------------------------------------------------------------


def _graph_lines(graph: Graph, style: _Style) -> list[str]:
    names = _value_names(graph)
    labels = style.labels
    parts = [_node_parts(node, names, style) for node in graph.nodes]
    width = max((len(left) for left, _ in parts if len(left) <= WIDEST_RESULT), default=0)
    texts = [f"{left:<{width}} = {right}" if left else right for left, right in parts]
    firsts = [text.partition("\n")[0] for text in texts]
    column = max((len(first) for first in firsts if len(first) <= WIDEST_LINE), default=0)
    lines = [_header(graph)]
    for node, first, text in zip(graph.nodes, firsts, texts, strict=True):
        rest = text.split("\n")[1:]
        if labels is None:
            comments = []
        else:
            comments = [_source_text(source, labels) for source in node.source.all()]
        lines.append(f"  {first:<{column}}  # {comments[0]}" if comments else f"  {first}")
        lines += [f"  {'':<{column}}  # {comment}" for comment in comments[1:]]
        lines += [f"  {line}" for line in rest]
    lines += [f"  return {', '.join(names.get(v, '<undefined>') for v in graph.outputs)}".rstrip(), "}"]
    return lines


def _header(graph: Graph) -> str:
    inputs = [f"{_name_text(v.name)}: {v.type}" for v in graph.inputs]
    outputs = f"({', '.join(str(v.type) for v in graph.outputs)})"
    line = f"graph {_name_text(graph.name)}({', '.join(inputs)}) -> {outputs} {{"
    if len(line) <= WIDEST_HEADER or not inputs:
        return line
    return f"graph {_name_text(graph.name)}(\n  " + ",\n  ".join(inputs) + f"\n) -> {outputs} {{"


def _value_names(graph: Graph) -> dict[Value, str]:
    names = {value: _name_text(value.name) for value in graph.inputs}
    for node in graph.nodes:
        for value in node.outputs:
            names[value] = f"%{len(names) - len(graph.inputs)}"
    return names


def _node_parts(node: Node, names: Mapping[Value, str], style: _Style) -> tuple[str, str]:
    """What stands left and right of the `=`."""
    left = ", ".join(f"{names.get(v, '%?')}: {v.type}" for v in node.outputs)
    right = " ".join([node.op.name, ", ".join(names.get(v, "<undefined>") for v in node.inputs)]).rstrip()
    shown = [(name, value) for name, value in _in_order(node) if not _is_default(node.op, name, value)]
    if not shown:
        return left, right
    if any(_holds_graph(value, style) for _, value in shown):
        items = [f"{name} = {_value_text(value, style)}" for name, value in shown]
        return left, f"{right} {{\n  " + ",\n".join(items).replace("\n", "\n  ") + "\n}"
    return left, f"{right} {{{', '.join(f'{name}={_value_text(value, style)}' for name, value in shown)}}}"


def _in_order(node: Node) -> Iterator[tuple[str, Any]]:
    """The attributes in the order of the op's record, unknown ones last."""
    for name in node.op.attributes:
        if name in node.attributes:
            yield name, node.attributes[name]
    for name in sorted(set(node.attributes) - set(node.op.attributes)):
        yield name, node.attributes[name]


def _is_default(op: Op, name: str, value: Any) -> bool:
    if name not in op.attribute_defaults:
        return False
    default = op.attribute_defaults[name]
    return value is default or comparable(value) == comparable(default)


# Sources --------------------------------------------------------------------------------------------------------------


def _file_labels(graph: Graph) -> dict[str, str]:
    """File -> the shortest tail of its path (base name if that is enough) that no other file of the graph has."""
    files: dict[str, None] = {}

    def collect(graph: Graph) -> None:
        for node in graph.nodes:
            for source in node.source.all():
                files.setdefault(source.file)
            for inner in node.subgraphs():
                collect(inner)

    collect(graph)
    same_name: dict[str, list[str]] = {}
    for file in files:
        same_name.setdefault(_tail(file, 1), []).append(file)
    labels = dict.fromkeys(files, "")
    for group in same_name.values():
        depth = 1
        while len({_tail(file, depth) for file in group}) < len(group):
            depth += 1
        labels.update((file, _tail(file, depth)) for file in group)
    return labels


def _tail(path: str, depth: int) -> str:
    """The last `depth` parts of a path, with its own separators."""
    starts = [0, *(match.end() for match in re.finditer(r"[/\\]", path) if match.end() < len(path))]
    return path[starts[-depth] if depth <= len(starts) else 0 :]


def _source_text(source: Source, labels: Mapping[str, str]) -> str:
    place = f"{_file_text(labels[source.file])}:{source.line}:{source.column}"
    expression = source.expression
    if expression and (not expression.isprintable() or expression != expression.strip() or expression.startswith('"')):
        expression = json.dumps(expression)
    return f"{'backward of ' if source.backward else ''}{place}{'  ' if expression else ''}{expression}"


def _file_text(label: str) -> str:
    return label if _PLAIN_FILE.match(label) and label.isprintable() else json.dumps(label)


def _name_text(name: str) -> str:
    """An input's or a graph's name: as it is if it is an identifier (dots allowed), else quoted."""
    return name if _IDENTIFIER.match(name) else json.dumps(name)


# Attribute values -----------------------------------------------------------------------------------------------------


def _holds_graph(value: Any, style: _Style) -> bool:
    """Does the value's text have lines of its own?"""
    if isinstance(value, Graph):
        return _Same(value) not in style.shared
    return isinstance(value, (tuple, list)) and any(_holds_graph(item, style) for item in value)


def _value_text(value: Any, style: _Style) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, (float, complex)):
        return _number_text(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=not value.isprintable())
    if isinstance(value, DType):
        return value.short
    if isinstance(value, SymbolicDim):
        return f"dim({value})" if any(map(_is_reserved, symbols_of(value))) else str(value)
    if isinstance(value, (tuple, list)):
        items = [_value_text(item, style) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, np.ndarray):
        return _array_text(value)
    if isinstance(value, Graph):
        name = style.shared.get(_Same(value))
        return "\n".join(_graph_lines(value, style)) if name is None else f"graph {name}"
    return f"object({json.dumps(repr(value))})"


def _is_reserved(name: str) -> bool:
    return name in RESERVED or name in SHORT_NAMES


def _number_text(value: Any) -> str:
    """A Python number whose text, read back, has the same bits (all NaN are one)."""
    if isinstance(value, complex):
        return f"complex({_number_text(value.real)}, {_number_text(value.imag)})"
    value = float(value)
    return "nan" if math.isnan(value) else repr(value)


def _array_text(array: np.ndarray[Any, Any]) -> str:
    try:
        dtype = of_numpy(array.dtype)
    except GraphflowError:
        dtype = string
    if dtype is string:  # not the dtype of a value in a graph: shown, but not readable
        return f"object({json.dumps(repr(array))})"
    array = np.ascontiguousarray(array, dtype.numpy).reshape(array.shape)
    if array.size <= INLINE_ELEMENTS and 0 not in array.shape and _has_plain_nan(array, dtype):
        return f"{dtype.short} {_nested_text(array, dtype)}"
    shape = ",".join(map(str, array.shape))
    return f'base64({dtype.short}[{shape}], "{base64.b64encode(array.tobytes()).decode()}")'


def _has_plain_nan(array: np.ndarray[Any, Any], dtype: DType) -> bool:
    """Does every NaN have the bits that `nan` in text gives?"""
    if dtype.kind not in ("float", "complex"):
        return True
    parts = array.reshape(-1).view(np.dtype(f"f{dtype.itemsize // 2}")) if dtype.is_complex else array.reshape(-1)
    plain = np.array(math.nan).astype(parts.dtype).tobytes()
    return all(item.tobytes() == plain for item in parts[np.isnan(parts)])


def _nested_text(array: np.ndarray[Any, Any], dtype: DType) -> str:
    if array.ndim:
        return f"[{', '.join(_nested_text(array[k, ...], dtype) for k in range(array.shape[0]))}]"
    item = array[()]
    if dtype.is_bool:
        return str(bool(item))
    if dtype.is_integer:
        return str(int(item))
    if dtype.is_complex:
        return f"complex({_float_text(item.real, dtype)}, {_float_text(item.imag, dtype)})"
    return _float_text(item, dtype)


def _float_text(item: Any, dtype: DType) -> str:
    """The shortest text that gives this float back. NumPy's own is the shortest, except for bfloat16; read through a
    double it could in theory be rounded twice, so it is checked."""
    if np.isnan(item):
        return "nan"
    candidates = [str(item)]
    if dtype.name == "bfloat16":
        candidates = [repr(float(f"{float(item):.{digits}g}")) for digits in range(1, 5)]
    exact = dtype.numpy.type if dtype.is_floating else type(item)  # the part of a complex number
    return next((text for text in candidates if exact(float(text)) == item), repr(float(item)))

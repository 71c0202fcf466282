"""Reads a graph back from its text (see printer). A tokenizer and a recursive descent; every error names line and
column and what was expected."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..dtypes import DType, from_short
from ..errors import GraphflowError, ParseError
from .dims import Dim, DimensionsMustAgree, SymbolicDim, dim_max, dim_min, symbol
from .graph import Graph, Node, Value
from .op import OPS, Op
from .printer import RESERVED, SHORT_NAMES
from .source import Source, merge_sources
from .types import CPU, TensorType, VariableType

__all__ = ["parse"]

_T = TypeVar("_T")

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+)|(?P<newline>\n)|(?P<comment>\#[^\n]*)
    |(?P<value>%\d+)|(?P<name>[A-Za-z_][\w.]*)|(?P<device>@[\w:/.\-]+)|(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(?P<mark>->|//|[-+*(){}\[\],:=])""",
    re.VERBOSE | re.ASCII,
)
_SOURCE = re.compile(
    r"(?P<backward>backward\ of\ )?(?P<file>\"(?:[^\"\\]|\\.)*\"|[^\s\":]+)"
    r":(?P<line>-?\d+)(?::(?P<column>-?\d+))?(?:\ \ (?P<expression>.+))?\Z"
)


@dataclass(frozen=True)
class _Token:
    kind: str  # comment, value, name, device, string, number, mark, end
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        return "the end of the text" if self.kind == "end" else f"'{self.text}'"


def parse(text: str, file: str = "<text>", stand_in: Callable[[str], Any] | None = None) -> Graph:
    """The graph that `text` describes; parse(print_graph(g, full_paths=True)) == g.

    A node line without a source comment gets its place in the text (`file`, line, column) as its source, so
    hand-written graphs have provenance too. stand_in: makes what stands for a Python object from what the text says of it;
    without it such a text is an error. Raises ParseError for text that does not follow the grammar, unknown ops
    and attributes, undefined or doubly defined values, and output types that differ from what the op's type rule gives.
    """
    return _Parser(text, file, stand_in).run()


class _Parser:
    def __init__(self, text: str, file: str, stand_in: Callable[[str], Any] | None = None) -> None:
        self.lines = text.split("\n")
        self.file = file
        self.stand_in = stand_in
        self.tokens = self._tokenize(text)
        self.position = 0
        self.paths: dict[str, str] = {}
        self.shared: dict[str, Graph] = {}

    # Tokens -----------------------------------------------------------------------------------------------------------
    def _tokenize(self, text: str) -> list[_Token]:
        tokens: list[_Token] = []
        position, line, start = 0, 1, 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.failure_at(line, position - start + 1, f"unexpected character {text[position]!r}")
            kind = str(match.lastgroup)
            if kind not in ("space", "newline"):
                tokens.append(_Token(kind, match.group(), line, position - start + 1))
            position = match.end()
            if kind == "newline":
                line, start = line + 1, position
        tokens.append(_Token("end", "", line, position - start + 1))
        return tokens

    @property
    def next(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.next
        if token.kind != "end":
            self.position += 1
        return token

    def accept(self, text: str) -> bool:
        """Step over the next token if it is this mark or word."""
        if self.next.text == text and self.next.kind in ("mark", "name"):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> _Token:
        if self.next.text != text or self.next.kind not in ("mark", "name"):
            raise self.failure(f"expected '{text}', got {self.next}")
        return self.take()

    def expect_kind(self, kind: str, wanted: str) -> _Token:
        if self.next.kind != kind:
            raise self.failure(f"expected {wanted}, got {self.next}")
        return self.take()

    def failure(self, message: str, token: _Token | None = None) -> ParseError:
        token = token or self.next
        return self.failure_at(token.line, token.column, message)

    def failure_at(self, line: int, column: int, message: str) -> ParseError:
        shown = self.lines[line - 1]
        indent = len(shown) - len(shown.lstrip())
        pointer = " " * (column - 1 - indent) + "^"
        return ParseError(f"line {line}, column {column}: {message}\n    {shown.strip()}\n    {pointer}")

    def skip_comments(self) -> None:
        while self.next.kind == "comment":
            self.position += 1

    def separated(self, close: str, item: Callable[[], _T]) -> list[_T]:
        """Items with commas between them, up to and including the closing mark."""
        items: list[_T] = []
        while not self.accept(close):
            if items:
                if self.next.text != ",":
                    raise self.failure(f"expected ',' or '{close}', got {self.next}")
                self.take()
            items.append(item())
        return items

    # Graphs -----------------------------------------------------------------------------------------------------------
    def run(self) -> Graph:
        self.skip_comments()
        while self.next.text == "file" and self.next.kind == "name":
            self._file()
            self.skip_comments()
        while self.next.text == "shared" and self.next.kind == "name":
            self._shared()
            self.skip_comments()
        graph = self.graph()
        self.skip_comments()
        if self.next.kind != "end":
            raise self.failure(f"expected the end of the text after the graph, got {self.next}")
        return graph

    def _file(self) -> None:
        """file "train.py" = "/home/me/train.py": what the short name in source comments stands for."""
        self.take()
        label = self._string("a file's short name in quotes")
        self.expect("=")
        self.paths[label] = self._string("the file's path in quotes")

    def _shared(self) -> None:
        """shared step = graph step(...) -> ... {...}: a graph that several nodes hold, as `graph step`."""
        self.take()
        token = self.next
        name = self._name("a shared graph's name")
        if name in self.shared:
            raise self.failure(f"the shared graph {token} is defined twice", token)
        self.expect("=")
        self.shared[name] = self.graph()

    def _subgraph(self) -> Graph:
        """A graph as an attribute's value: written out, or the name of a shared one."""
        start = self.position
        self.expect("graph")
        token = self.next
        name = self._name("the graph's name")
        if self.next.text == "(":
            self.position = start
            return self.graph()
        if name not in self.shared:
            raise self.failure(f"no shared graph {token} stands before the graph", token)
        return self.shared[name]

    def graph(self) -> Graph:
        self.expect("graph")
        name = self._name("the graph's name")
        scope: dict[str, Value] = {}
        inputs: list[Value] = []

        def graph_input() -> None:
            token = self.next
            input_name = self._name("an input's name")
            self.expect(":")
            value = Value(self._type(variable=True), name=input_name)
            if input_name in scope:
                raise self.failure(f"the input {token} is defined twice", token)
            scope[input_name] = value
            inputs.append(value)

        self.expect("(")
        self.separated(")", graph_input)
        self.expect("->")
        self.expect("(")
        types = self.separated(")", lambda: self._type(variable=True))
        self.expect("{")
        self.skip_comments()
        nodes: list[Node] = []
        while not (self.next.text == "return" and self.next.kind == "name"):
            nodes.append(self._node(scope))
        keyword = self.take()
        outputs = self._operands(scope, keyword)
        if tuple(v.type for v in outputs) != tuple(types):
            shown = ", ".join(str(v.type) for v in outputs)
            raise self.failure(
                f"the header promises ({', '.join(map(str, types))}), but returned are ({shown})", keyword
            )
        self.skip_comments()
        self.expect("}")
        return Graph(name, tuple(inputs), tuple(nodes), tuple(outputs))

    def _node(self, scope: dict[str, Value]) -> Node:
        start = self.next
        results: list[tuple[_Token, TensorType]] = []
        while self.next.kind == "value":
            token = self.take()
            self.expect(":")
            results.append((token, self._type()))
            if not self.accept(","):
                break
        if results:
            self.expect("=")
        token = self.expect_kind("name", "an op's name" if results else "a node, 'return'")
        op = OPS.get(token.text)
        if op is None:
            hint = "" if OPS else "; no ops are registered, import graphflow.ops first"
            raise self.failure(f"unknown op {token}{hint}", token)
        inputs = self._operands(scope, token)
        sources: list[Source] = []
        attributes: dict[str, Any] = {}
        if self.next.text == "{" and self.next.line == token.line:
            self.take()
            sources += self._sources()

            def attribute() -> None:
                key = self.expect_kind("name", "an attribute's name")
                if key.text not in op.attributes:
                    known = ", ".join(op.attributes) or "none"
                    raise self.failure(f"{op.name} has no attribute {key}; it has: {known}", key)
                if key.text in attributes:
                    raise self.failure(f"the attribute {key} is given twice", key)
                self.expect("=")
                attributes[key.text] = self._value()
                self.skip_comments()

            self.separated("}", attribute)
        sources += self._sources()
        source = merge_sources(sources) if sources else Source(
            self.file, start.line, start.column - 1, self.lines[start.line - 1].partition("#")[0].strip())  # fmt: skip
        node = self._make_node(op, token, inputs, attributes, source)
        declared, found = [t for _, t in results], [v.type for v in node.outputs]
        if declared != found:
            shown = ", ".join(map(str, declared)) or "no outputs"
            got = ", ".join(map(str, found)) or "no outputs"
            raise self.failure(f"declared: {shown}; {op.name} gives: {got}", start)
        for (result, _), value in zip(results, node.outputs, strict=True):
            if result.text in scope:
                raise self.failure(f"{result} is defined twice", result)
            scope[result.text] = value
        return node

    def _make_node(
        self, op: Op, token: _Token, inputs: list[Value], attributes: dict[str, Any], source: Source
    ) -> Node:
        least = len(op.operands) - op.variadic
        if len(inputs) < least or (len(inputs) > least and not op.variadic):
            wanted = f"{least} or more" if op.variadic else str(least)
            names = f" ({', '.join(op.operands)})" if op.operands else ""
            raise self.failure(f"{op.name} takes {wanted} operands{names}, got {len(inputs)}", token)
        missing = [name for name, default in op.attributes.items() if default is ... and name not in attributes]
        if missing:
            raise self.failure(f"{op.name} needs the attribute '{missing[0]}'", token)
        try:
            return Node(op, inputs, attributes, source)
        except DimensionsMustAgree as error:
            raise self.failure(
                f"{op.name} needs equal dims, which these are not known to be: {error}", token
            ) from error
        except GraphflowError as error:
            raise self.failure(f"{op.name} rejects its operands: {error}", token) from error
        except (TypeError, ValueError, LookupError, AttributeError) as error:  # an attribute of another kind
            raise self.failure(f"{op.name} rejects its attributes: {type(error).__name__}: {error}", token) from error

    def _operands(self, scope: dict[str, Value], head: _Token) -> list[Value]:
        """The operands on the line of `head`."""
        operands: list[Value] = []
        while self.next.line == head.line and (operands or self.next.kind in ("value", "name", "string")):
            if operands and not self.accept(","):
                break
            token = self.next
            if token.kind not in ("value", "name", "string") or token.line != head.line:
                raise self.failure(f"expected an operand, got {token}")
            name = token.text if token.kind == "value" else self._peek_name()
            if name not in scope:
                raise self.failure(f"{token} is not defined (yet)", token)
            self.take()
            operands.append(scope[name])
        return operands

    def _peek_name(self) -> str:
        position = self.position
        name = self._name("a name")
        self.position = position
        return name

    # Sources ----------------------------------------------------------------------------------------------------------
    def _sources(self) -> list[Source]:
        sources = []
        while self.next.kind == "comment":
            token = self.take()
            match = _SOURCE.match(token.text[1:].strip())
            if match is None:
                raise self.failure(f"expected a source '# file:line:column  expression', got {token}", token)
            label, expression = match["file"], match["expression"] or ""
            if label.startswith('"'):
                label = self._decode(label, token)
            if expression.startswith('"'):
                expression = self._decode(expression, token)
            column = int(match["column"] or 0)
            path = self.paths.get(label, label)
            sources.append(Source(path, int(match["line"]), column, expression, match["backward"] is not None))
        return sources

    # Names, types, dims -----------------------------------------------------------------------------------------------
    def _name(self, wanted: str) -> str:
        if self.next.kind == "string":
            return self._string(wanted)
        return self.expect_kind("name", wanted).text

    def _string(self, wanted: str) -> str:
        token = self.expect_kind("string", wanted)
        return self._decode(token.text, token)

    def _decode(self, text: str, token: _Token) -> str:
        try:
            return str(json.loads(text))
        except ValueError as error:
            raise self.failure(f"not a valid string: {error}", token) from error

    def _dtype(self) -> DType:
        token = self.expect_kind("name", "a dtype such as f32")
        if token.text not in SHORT_NAMES:
            raise self.failure(f"expected a dtype ({', '.join(sorted(SHORT_NAMES))}), got {token}", token)
        return from_short(token.text)

    def _type(self, variable: bool = False) -> TensorType:
        is_variable = variable and self.accept("var")
        dtype = self._dtype()
        self.expect("[")
        shape = tuple(self.separated("]", self._dim))
        device = self.take().text[1:] if self.next.kind == "device" else CPU
        return (VariableType if is_variable else TensorType)(dtype, shape, device)

    def _dim(self) -> Dim:
        sign = -1 if self.accept("-") else 1
        total = self._dim_product() * sign
        while self.next.kind == "mark" and self.next.text in ("+", "-"):
            sign = 1 if self.take().text == "+" else -1
            total = total + self._dim_product() * sign
        return total

    def _dim_product(self) -> Dim:
        total = self._dim_atom()
        while self.next.kind == "mark" and self.next.text in ("*", "//"):
            operator = self.take()
            factor = self._dim_atom()
            if operator.text == "//" and factor == 0:
                raise self.failure("a dimension is divided by zero", operator)
            total = total * factor if operator.text == "*" else total // factor
        return total

    def _dim_atom(self) -> Dim:
        token = self.take()
        if token.kind == "number" and token.text.isdigit():
            return int(token.text)
        if token.text == "(":
            inner = self._dim()
            self.expect(")")
            return inner
        if token.kind == "name" and token.text in ("min", "max") and self.next.text == "(":
            self.take()
            left = self._dim()
            self.expect(",")
            right = self._dim()
            self.expect(")")
            return (dim_min if token.text == "min" else dim_max)(left, right)
        if token.kind == "name" and "." not in token.text:
            return symbol(token.text)
        raise self.failure(f"expected a dimension, got {token}", token)

    # Attribute values -------------------------------------------------------------------------------------------------
    def _value(self) -> Any:
        token = self.next
        if token.kind == "string":
            return self._string("a string")
        if token.kind == "name":
            if token.text in _WORDS:
                self.take()
                return _WORDS[token.text]
            if token.text in SHORT_NAMES:
                dtype = self._dtype()
                return self._array(dtype) if self._starts_element() else dtype
            if token.text == "graph":
                return self._subgraph()
            if token.text in ("nan", "inf", "complex"):
                return self._number()
            if token.text == "base64":
                return self._base64()
            if token.text == "object":
                return self._object()
            if token.text == "dim":
                self.take()
                self.expect("(")
                dim = self._dim()
                self.expect(")")
                return dim
        if token.text == "(":
            return self._tuple_or_dim()
        if self._is_float(self.position + (token.text == "-")):
            return self._number()
        if token.text == "-" and self.tokens[self.position + 1].text in _NOT_NEGATED:
            self.take()
            raise self.failure(f"expected a number or a dimension, got {self.next}")
        if token.kind in ("name", "number") or token.text == "-":
            return self._dim()
        raise self.failure(f"expected a value, got {token}")

    def _is_float(self, position: int) -> bool:
        token = self.tokens[min(position, len(self.tokens) - 1)]
        return (token.kind == "number" and not token.text.isdigit()) or (
            token.kind == "name" and token.text in ("nan", "inf")
        )

    def _tuple_or_dim(self) -> Any:
        """`(` begins a tuple if a comma follows its first item (or it is empty), else a dimension such as (n+1)//2."""
        start = self.position
        self.take()
        if self.accept(")"):
            return ()
        items = [self._value()]
        if self.next.text == ")":
            self.position = start
            dim = self._dim()
            if not isinstance(dim, (int, SymbolicDim)):
                raise self.failure("a tuple of one item is written (item,)")
            return dim
        while self.accept(","):
            if self.next.text == ")":
                break
            items.append(self._value())
        if self.next.text != ")":
            raise self.failure(f"expected ',' or ')', got {self.next}")
        self.take()
        return tuple(items)

    def _number(self) -> Any:
        """An int, a float or a complex number."""
        sign = -1 if self.accept("-") else 1
        token = self.take()
        if token.kind == "number":
            return sign * int(token.text) if token.text.isdigit() else sign * float(token.text)
        if token.text in ("nan", "inf"):
            return sign * float(token.text)
        if token.text == "complex" and sign == 1:
            self.expect("(")
            real = self._number()
            self.expect(",")
            imaginary = self._number()
            self.expect(")")
            return complex(real, imaginary)
        raise self.failure(f"expected a number, got {token}", token)

    def _starts_element(self) -> bool:
        token = self.next
        return (
            token.kind == "number"
            or token.text in ("[", "-")
            or token.text in ("nan", "inf", "complex", "True", "False")
        )

    def _array(self, dtype: DType) -> np.ndarray[Any, Any]:
        start = self.next
        nested = self._elements(dtype)
        try:
            with np.errstate(over="ignore"):
                return np.array(nested, dtype.numpy)
        except (ValueError, TypeError, OverflowError) as error:
            raise self.failure(f"not an array of {dtype.name}: {error}", start) from error

    def _elements(self, dtype: DType) -> Any:
        if self.accept("["):
            return self.separated("]", lambda: self._elements(dtype))
        token = self.next
        if dtype.is_bool:
            if token.text not in ("True", "False"):
                raise self.failure(f"expected True or False, got {token}")
            return self.take().text == "True"
        number = self._number()
        if (dtype.is_integer and not isinstance(number, int)) or (isinstance(number, complex) and not dtype.is_complex):
            raise self.failure(f"expected an element of {dtype.name}, got {token}", token)
        return number

    def _object(self) -> Any:
        if self.stand_in is None:
            raise self.failure("a Python object in a graph's text cannot be read back")
        self.take()
        self.expect("(")
        text = self._string("what the object prints as")
        self.expect(")")
        return self.stand_in(text)

    def _base64(self) -> np.ndarray[Any, Any]:
        self.take()
        self.expect("(")
        dtype = self._dtype()
        self.expect("[")
        shape = self.separated("]", lambda: int(self.expect_kind("number", "an extent").text))
        self.expect(",")
        token = self.next
        try:
            data = base64.b64decode(self._string("the array's bytes in base64"), validate=True)
            array = np.frombuffer(data, dtype.numpy).reshape(shape).copy()
        except (binascii.Error, ValueError, TypeError) as error:
            raise self.failure(
                f"not the bytes of a {dtype.short}[{','.join(map(str, shape))}]: {error}", token
            ) from error
        self.expect(")")
        return array


_WORDS = {"None": None, "True": True, "False": False}
_NOT_NEGATED = (RESERVED | SHORT_NAMES) - {"min", "max"}

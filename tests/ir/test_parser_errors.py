"""Every error of the parser: line, column, what was expected."""

from __future__ import annotations

import re

import pytest

from graphflow.errors import ParseError
from graphflow.ir import OPS, parse

HEAD = "graph g(x: f32[4], n: i32[k], m: i32[j]) -> () {\n"


def body(text):
    return f"{HEAD}  {text}\n  return\n}}"


CASES = {
    # the graph
    "": (1, 1, "expected 'graph', got the end of the text"),
    "grape": (1, 1, "expected 'graph', got 'grape'"),
    "graph (": (1, 7, "expected the graph's name, got '('"),
    "graph g(": (1, 9, "expected an input's name, got the end of the text"),
    "graph g(x f32[])": (1, 11, "expected ':', got 'f32'"),
    "graph g(x: f32[] y: f32[])": (1, 18, "expected ',' or ')', got 'y'"),
    "graph g(x: f32[], x: f32[])": (1, 19, "the input 'x' is defined twice"),
    "graph g() ()": (1, 11, "expected '->', got '('"),
    "graph g() -> () return": (1, 17, "expected '{', got 'return'"),
    "graph g() -> () { }": (1, 19, "expected a node, 'return', got '}'"),
    "graph g() -> () { return": (1, 25, "expected '}', got the end of the text"),
    "graph g() -> () { return } more": (1, 28, "expected the end of the text after the graph, got 'more'"),
    "graph g(x: f32[4]) -> (f32[5]) { return x }": (1, 34, "the header promises (f32[5]), but returned are (f32[4])"),
    "graph g() -> () { return ? }": (1, 26, "unexpected character '?'"),
    # files
    'file train.py = "/a"\ngraph g() -> () { return }': (1, 6, "expected a file's short name in quotes, got 'train.py'"),
    'file "train.py" "/a"': (1, 17, "expected '=', got '\"/a\"'"),
    'file "train.py" = 3': (1, 19, "expected the file's path in quotes, got '3'"),
    'file "\\q" = "a"': (1, 6, "not a valid string: "),
    # types
    "graph g(x: f33[])": (1, 12, "expected a dtype (b1, bf16, "),
    "graph g(x: 3)": (1, 12, "expected a dtype such as f32, got '3'"),
    "graph g(x: f32)": (1, 15, "expected '[', got ')'"),
    "graph g(x: f32[4 5])": (1, 18, "expected ',' or ']', got '5'"),
    "graph g(x: f32[*])": (1, 16, "expected a dimension, got '*'"),
    "graph g(x: f32[1.5])": (1, 16, "expected a dimension, got '1.5'"),
    "graph g(x: f32[a.b])": (1, 16, "expected a dimension, got 'a.b'"),
    "graph g(x: f32[(n])": (1, 18, "expected ')', got ']'"),
    "graph g(x: f32[min(n)])": (1, 21, "expected ',', got ')'"),
    "graph g(x: f32[n//0])": (1, 17, "a dimension is divided by zero"),
    # nodes
    body("%0 f32[4] = exp x"): (2, 6, "expected ':', got 'f32'"),
    body("%0: f32[4] exp x"): (2, 14, "expected '=', got 'exp'"),
    body("%0: f32[4] = %1"): (2, 16, "expected an op's name, got '%1'"),
    body("%0: f32[4] = t_nothing x"): (2, 16, "unknown op 't_nothing'"),
    body("%0: f32[4] = exp y"): (2, 20, "'y' is not defined (yet)"),
    body("%0: f32[4] = exp %0"): (2, 20, "'%0' is not defined (yet)"),
    body("%0: f32[4] = exp x,"): (3, 3, "expected an operand, got 'return'"),
    body("%0: f32[4] = t_many x, 3"): (2, 26, "expected an operand, got '3'"),
    body("%0: f32[4] = exp"): (2, 16, "exp takes 1 operands (x), got 0"),
    body("%0: f32[4] = t_two"): (2, 16, "t_two takes 1 or more operands (x, *values), got 0"),
    body("%0: f32[4] = add x, x, x"): (2, 16, "add takes 2 operands (x, y), got 3"),
    body("%0: f32[4] = t_source x"): (2, 16, "t_source takes 0 operands, got 1"),
    body("%0: f32[4] = add x, n"): (2, 16, "add rejects its operands: add: operands must have one dtype"),
    body("%0: i32[k] = add n, m"): (2, 16, "add needs equal dims, which these are not known to be: k == j"),
    body("%0: f32[5] = exp x"): (2, 3, "declared: f32[5]; exp gives: f32[4]"),
    body("exp x"): (2, 3, "declared: no outputs; exp gives: f32[4]"),
    body("%0: f32[4] = t_split x"): (2, 3, "declared: f32[4]; t_split gives: f32[4], f32[4]"),
    body("%0: f32[4] = exp x\n  %0: f32[4] = exp x"): (3, 3, "'%0' is defined twice"),
    body("%0: f32[4] = exp x # no place"): (2, 22, "expected a source '# file:line:column  expression', got '# no place'"),
    body('%0: f32[4] = exp x # "a\\q":1:2'): (2, 22, "not a valid string"),
    # attributes
    body("%0: f32[4] = exp x {a=1}"): (2, 23, "exp has no attribute 'a'; it has: none"),
    body("%0: f32[4] = t_any x {z=1}"): (2, 25, "t_any has no attribute 'z'; it has: a, b, c"),
    body("%0: f32[4] = t_any x {a=1, a=2}"): (2, 30, "the attribute 'a' is given twice"),
    body("%0: f32[4] = t_any x {3=1}"): (2, 25, "expected an attribute's name, got '3'"),
    body("%0: f32[4] = t_any x {a 1}"): (2, 27, "expected '=', got '1'"),
    body("%0: f32[4] = t_any x {a=1 b=2}"): (2, 29, "expected ',' or '}', got 'b'"),
    body("%0: f32[4] = t_any x {a=}"): (2, 27, "expected a value, got '}'"),
    body("%0: f32[4] = t_any x {a=(1 2)}"): (2, 30, "expected ',' or ')', got '2'"),
    body('%0: f32[4] = t_any x {a=("s")}'): (2, 28, "expected a dimension, got '\"s\"'"),
    body("%0: f32[4] = t_any x {a=(1, 2}"): (2, 32, "expected ',' or ')', got '}'"),
    body("%0: f32[4] = t_any x {a=-True}"): (2, 28, "expected a number or a dimension, got 'True'"),
    body("%0: f32[4] = t_any x {a=complex(1, x)}"): (2, 38, "expected a number, got 'x'"),
    body("%0: f32[4] = t_any x {a=complex 1}"): (2, 35, "expected '(', got '1'"),
    body('%0: f32[4] = t_any x {a=object("f")}'): (2, 27, "a Python object in a graph's text cannot be read back"),
    body("%0: f32[4] = t_any x {a=dim 3}"): (2, 31, "expected '(', got '3'"),
    body("%0: f32[4] = t_need x"): (2, 16, "t_need needs the attribute 'value'"),
    body('%0: f32[4] = transpose x {permutation="a"}'): (2, 16, "transpose rejects its"),
    body("%0: f32[4] = transpose x {permutation=3}"): (2, 16, "transpose rejects its attributes: TypeError"),
    # arrays
    body("%0: f32[4] = t_any x {a=f32 [[1.0], [2.0, 3.0]]}"): (2, 31, "not an array of float32: "),
    body("%0: f32[4] = t_any x {a=f32 [1.0 2.0]}"): (2, 36, "expected ',' or ']', got '2.0'"),
    body("%0: f32[4] = t_any x {a=i8 300}"): (2, 30, "not an array of int8: "),
    body("%0: f32[4] = t_any x {a=i32 [1.5]}"): (2, 32, "expected an element of int32, got '1.5'"),
    body("%0: f32[4] = t_any x {a=f32 complex(1.0, 2.0)}"): (2, 31, "expected an element of float32, got 'complex'"),
    body("%0: f32[4] = t_any x {a=b1 [1]}"): (2, 31, "expected True or False, got '1'"),
    body("%0: f32[4] = t_any x {a=f32 [True]}"): (2, 32, "expected a number, got 'True'"),
    body('%0: f32[4] = t_any x {a=base64(f32[4], "AAAA")}'): (2, 42, "not the bytes of a f32[4]: "),
    body('%0: f32[4] = t_any x {a=base64(f32[1], "?")}'): (2, 42, "not the bytes of a f32[1]: "),
    body("%0: f32[4] = t_any x {a=base64(f32[n])}"): (2, 38, "expected an extent, got 'n'"),
    body("%0: f32[4] = t_any x {a=base64(f32[1], 4)}"): (2, 42, "expected the array's bytes in base64, got '4'"),
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_error(text):
    line, column, message = CASES[text]
    with pytest.raises(ParseError, match=rf"^line {line}, column {column}: {re.escape(message)}") as caught:
        parse(text)
    assert isinstance(caught.value, SyntaxError)
    shown, pointer = str(caught.value).splitlines()[-2:]
    source = text.split("\n")[line - 1]
    assert shown.strip() == source.strip()
    assert len(pointer) - 4 == column - (len(source) - len(source.lstrip()))


def test_no_ops(monkeypatch):
    text = body("%0: f32[4] = exp x")
    for name in list(OPS):
        monkeypatch.delitem(OPS, name)
    with pytest.raises(ParseError, match=r"unknown op 'exp'; no ops are registered, import graphflow.ops first"):
        parse(text)

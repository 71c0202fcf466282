"""The meaning of control flow, op by op: a graph run node by node through the eager kernels, its sub-graphs by Python loops and choices."""

from __future__ import annotations

import numpy as np

from graphflow.compiler import build, evaluate_node, optimise, runtime_error
from graphflow.ir import parse
from graphflow.ir.dims import SymbolicDim, evaluate, symbols_of
from graphflow.ir.graph import Node
from graphflow.ir.op import Control, Effect
from graphflow.passes.control_structure import is_structured


def interpret(graph, arrays, symbols=None, log=None):
    """The graph's results for these arrays (of variables too, which are changed in place)."""
    symbols = {} if symbols is None else symbols
    values = dict(zip(graph.inputs, arrays, strict=True))
    for value, array in values.items():
        learn(symbols, value, array)
    for node in graph.nodes:
        operands = [values[v] for v in node.inputs]
        results = run_node(node, operands, symbols, log)
        for value, array in zip(node.outputs, results, strict=True):
            values[value] = array
            learn(symbols, value, array)
    return [values[v] for v in graph.outputs]


def learn(symbols, value, array):
    """The symbols of a type from an array's extents."""
    for dim, extent in zip(value.type.shape, np.shape(array), strict=True):
        if isinstance(dim, SymbolicDim) and {dim.text} == symbols_of(dim):
            symbols[dim.text] = extent


def run_node(node, operands, symbols, log):
    kernel, attributes = node.op.kernel, node.attributes
    if isinstance(kernel, Control) and kernel.kind == "switch":
        branches, index = attributes["branches"], int(operands[0])
        chosen = branches[index if 0 <= index < len(branches) else -1]
        return interpret(chosen, operands[1:], dict(symbols), log)
    if isinstance(kernel, Control) and kernel.kind == "while":
        count = attributes["carried"]
        carried, fixed = list(operands[:count]), list(operands[count:])
        while interpret(attributes["condition"], carried + fixed, dict(symbols), log)[0]:
            carried = interpret(attributes["body"], carried + fixed, dict(symbols), log)
        return carried
    if isinstance(kernel, Control):
        return interpret(attributes["function"], operands, dict(symbols), log)
    if isinstance(kernel, Effect):
        if kernel.kind == "constant":
            return [attributes["value"]]
        if kernel.kind == "read":
            return [operands[0].copy()]
        if kernel.kind == "write":
            operands[0][...] = operands[1]
            return []
        if kernel.kind == "print":
            log.append([np.array(a) for a in operands])
            return []
        assert operands[0].all(), "assertion"
        return []
    known = {name: replaced(value, symbols) for name, value in attributes.items()}
    return evaluate_node(Node(node.op, node.inputs, known, node.source, [v.type for v in node.outputs]), operands)


def replaced(value, symbols):
    """An attribute with numbers for its symbols."""
    if isinstance(value, SymbolicDim):
        return evaluate(value, symbols)
    if isinstance(value, tuple):
        return tuple(replaced(item, symbols) for item in value)
    return value


class Native:
    """A graph given as text (or as it is), emitted without the optimiser."""

    def __init__(self, graph, variables=(), callback=None):
        self.graph = parse(graph) if isinstance(graph, str) else graph
        final = self.graph if is_structured(self.graph) else optimise(self.graph)[0]
        self.program, _ = build(final)
        self.variables = dict(zip([v for v in self.graph.inputs if v.is_variable], variables, strict=True))
        self.callback = callback
        self.bindings = {}

    def binding(self, arrays):
        symbols = {}
        for value, array in zip([v for v in self.graph.inputs if not v.is_variable], arrays, strict=True):
            learn(symbols, value, array)
        for value, array in self.variables.items():
            learn(symbols, value, array)
        key = tuple(sorted(symbols.items()))
        if key not in self.bindings:
            self.bindings[key] = self.program.bind(self.variables, symbols, self.callback)
        return self.bindings[key]

    def __call__(self, *arrays):
        binding = self.binding(arrays)
        status, outputs = binding.run(arrays)
        if status:
            raise runtime_error(binding, status)
        return outputs


def split(text):
    """The parts of a list of typed names."""
    parts, depth, part = [], 0, ""
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += letter
    return [*parts, part.strip()] if part.strip() else parts


def counted(carried, body, results, fixed="", count=5, extents=""):
    """The text of a graph that carries values through a counted loop: its inputs are the carried and the fixed ones, its results the
    carried ones. Values of the body are numbered from %2 on; `i` is the count so far (before the step)."""
    every = ", ".join([carried, fixed] if fixed else [carried])
    names = ", ".join(p.split(":")[0] for p in split(every))
    inside = [p.split(": ")[1] for p in split(carried)]
    symbols = dict(pair.split("=") for pair in extents.split()) if extents else {}
    outside = [replace_symbols(t, symbols) for t in inside]
    given = [replace_symbols(t, {old: new.replace("u", "n") for old, new in symbols.items()}) for t in split(every)]
    header = "".join(f"%{k + 1}: {t}, " for k, t in enumerate(["i32[]", *outside])).rstrip(", ")
    named = f", extents=({''.join(repr(n) + ', ' for n in symbols.values())})".replace("'", '"') if symbols else ""
    return f"""graph f({", ".join(given)}) -> ({", ".join(outside)}) {{
 %0: i32[] = constant {{value=i32 0}}
 {header} = while %0, {names} {{
  condition = graph condition(i: i32[], {every}) -> (b1[]) {{
   %0: i32[] = constant {{value=i32 {count}}}
   %1: b1[] = less i, %0
   return %1
  }},
  body = graph body(i: i32[], {every}) -> (i32[], {", ".join(inside)}) {{
   %0: i32[] = constant {{value=i32 1}}
   %1: i32[] = add i, %0
   {body}
   return %1, {results}
  }}, carried={len(inside) + 1}{named}}}
 return {", ".join(f"%{k + 2}" for k in range(len(inside)))}
}}"""


def replace_symbols(text, symbols):
    """A type with other names for its extents."""
    for old, new in symbols.items():
        text = text.replace(old, new)
    return text


def check(graph, *arrays, variables=()):
    """Native and interpreted results are the same bits, of variables too; inputs stay as they were. Returns the results."""
    held, expected_held = [v.copy() for v in variables], [v.copy() for v in variables]
    native = Native(graph, held)
    before = [a.copy() for a in arrays]
    for _ in range(2):  # a second call finds a used arena
        for own, start in zip(held, variables, strict=True):
            own[...] = start
        found = native(*arrays)
        rest, own_variables = iter(before), iter(expected_held)
        for own, start in zip(expected_held, variables, strict=True):
            own[...] = start
        operands = [next(own_variables if v.is_variable else rest) for v in native.graph.inputs]
        expected = interpret(native.graph, operands)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == np.shape(b), f"{a.shape} for {np.shape(b)}"
            assert a.tobytes() == np.asarray(b, a.dtype).tobytes(), f"{a} for {b}"
        for a, b in zip(held, expected_held, strict=True):
            assert a.tobytes() == b.tobytes()
        for a, b in zip(arrays, before, strict=True):
            assert a.tobytes() == b.tobytes(), "an input was written"
    return found

"""Native loops, branches and shared functions: their meaning, against the interpreter; scalars in registers; checks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from control_interpreter import Native, check, counted, interpret

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.compiler import evaluate_node
from graphflow.errors import AssertionFailedError, DivisionByZeroError, IndexOutOfRangeError
from graphflow.ir import parse
from graphflow.ir.builder import GraphBuilder
from graphflow.ir.graph import Graph, Node, Value
from graphflow.ir.op import OPS, Pointwise
from graphflow.ir.source import Source
from graphflow.ir.types import TensorType

COLLATZ = """graph f(n: i64[]) -> (i64[], i64[]) {
 %0: i64[] = constant {value=i64 0}
 %1: i64[], %2: i64[] = while n, %0 {
  condition = graph c(n: i64[], s: i64[]) -> (b1[]) {
   %0: i64[] = constant {value=i64 1}
   %1: b1[] = not_equal n, %0
   return %1
  },
  body = graph b(n: i64[], s: i64[]) -> (i64[], i64[]) {
   %0: i64[] = constant {value=i64 2}
   %1: i64[] = constant {value=i64 0}
   %2: i64[] = floormod n, %0
   %3: b1[] = equal %2, %1
   %4: i64[] = switch %3, n {branches=(
    graph odd(n: i64[]) -> (i64[]) {
     %0: i64[] = constant {value=i64 3}
     %1: i64[] = constant {value=i64 1}
     %2: i64[] = multiply n, %0
     %3: i64[] = add %2, %1
     return %3
    },
    graph even(n: i64[]) -> (i64[]) {
     %0: i64[] = constant {value=i64 2}
     %1: i64[] = floordiv n, %0
     return %1
    })}
   %5: i64[] = constant {value=i64 1}
   %6: i64[] = add s, %5
   return %4, %6
  }, carried=2}
 return %1, %2
}"""
X, Y, Z = (np.arange(4, dtype=np.float32) * k + k for k in (1, -3, 10))
A = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)


@pytest.mark.parametrize("start", [1, 2, 3, 27, 97])
def test_collatz(start):
    end, steps = check(COLLATZ, np.array(start, np.int64))
    expected, n = 0, start
    while n != 1:
        n, expected = (3 * n + 1 if n % 2 else n // 2), expected + 1
    assert (int(end), int(steps)) == (1, expected)


def test_a_loop_of_scalars_is_registers():
    """Nothing in the loop's blocks touches memory: LLVM sees loads and stores of stack slots only, which it promotes; one call asks for
    signals, once in many turns."""
    text = Native(COLLATZ).program.text
    body = text[text.index("while1:") : text.index("done2:")]
    assert re.findall(r"call .*?(@\w+)", body) == ["@interrupted"]
    places = [
        line.split("ptr ")[1].split(",")[0] for line in body.splitlines() if " load " in line or " store " in line
    ]
    assert places
    assert all(place.startswith(("%entry_carried", "%entry_chosen", "%entry_turns", "%table")) for place in places)


# Parallel assignment --------------------------------------------------------------------------------------------------
CARRIED = {
    "in place": ("x: f32[4]", "%2: f32[4] = add x, x", "%2"),
    "unchanged": ("x: f32[4], y: f32[4]", "%2: f32[4] = add x, y", "%2, y"),
    "swap": ("x: f32[4], y: f32[4]", "", "y, x"),
    "rotation": ("x: f32[4], y: f32[4], z: f32[4]", "", "y, z, x"),
    "one value twice": ("x: f32[4], y: f32[4], z: f32[4]", "", "y, y, x"),
    "one value three times": ("x: f32[4], y: f32[4], z: f32[4]", "%2: f32[4] = add x, z", "%2, %2, %2"),
    "next of one is the other": ("x: f32[4], y: f32[4]", "%2: f32[4] = add x, y", "y, %2"),
    "old value read late": ("x: f32[4], y: f32[4]", "%2: f32[4] = negative x\n%3: f32[4] = add x, y", "%2, %3"),
    "read at other places": ("x: f32[4]", "%2: f32[4] = reverse x {axes=(0,)}\n%3: f32[4] = add %2, x", "%3"),
    "a constant": ("x: f32[4], y: f32[4]", "%2: f32[4] = constant {value=f32 [1.0, 2.0, 3.0, 4.0]}", "y, %2"),
    "reshaped": ("x: f32[4]", "%2: f32[2,2] = reshape x {shape=(2,2)}\n%3: f32[2,2] = transpose %2 {permutation=(1,0)}\n"
                 "%4: f32[4] = reshape %3 {shape=(4,)}", "%4"),
    "scalars": ("a: f32[], b: f32[]", "%2: f32[] = add a, b", "b, %2"),
    "scalars that kernels need": ("x: f32[4], a: f32[]", "%2: f32[4] = multiply x, a\n"
                                  "%3: f32[] = reduce_sum %2 {axes=(0,)}\n%4: f32[] = add %3, a", "%2, %4"),
}  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
@pytest.mark.parametrize("case", CARRIED)
def test_parallel_assignment(case, count):
    carried, body, results = CARRIED[case]
    arrays = {"x": X, "y": Y, "z": Z, "a": np.float32([1.5])[0], "b": np.float32([-0.25])[0]}
    check(
        counted(carried, body, results, count=count), *(np.array(arrays[p.split(":")[0]]) for p in carried.split(", "))
    )


FIXED = {
    "an invariant as the next value": ("x: f32[4], y: f32[4]", "%2: f32[4] = add x, y", "%2, w", "w: f32[4]"),
    "an invariant in a product": ("x: f32[4,4]", "%2: f32[4,4] = matmul x, w", "%2", "w: f32[4,4]"),
    "an invariant element": ("x: f32[4]", "%2: f32[] = gather w, i {axis=0}\n%3: f32[4] = multiply x, %2", "%3", "w: f32[4]"),
    "a row of an invariant": ("x: f32[4]", "%2: f32[4] = gather w, i {axis=0}\n%3: f32[4] = add x, %2", "%3", "w: f32[4,4]"),
}  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("case", FIXED)
def test_invariants(case, count):
    carried, body, results, fixed = FIXED[case]
    arrays = [A if p.endswith("4,4]") else v for p, v in zip((*carried.split(", "), fixed), (X, Y, Z), strict=False)]
    arrays[-1] = A.T.copy() if "4,4" in fixed else Z
    check(counted(carried, body, results, fixed, count), *arrays)


def test_the_same_operand_carried_twice_and_fixed():
    text = """graph f(x: f32[4]) -> (f32[4], f32[4]) {
 %0: i32[] = constant {value=i32 0}
 %9: f32[4] = exp x
 %1: i32[], %2: f32[4], %3: f32[4] = while %0, %9, %9, %9 {
  condition = graph c(i: i32[], a: f32[4], b: f32[4], w: f32[4]) -> (b1[]) {
   %0: i32[] = constant {value=i32 3}
   %1: b1[] = less i, %0
   return %1
  },
  body = graph b(i: i32[], a: f32[4], b: f32[4], w: f32[4]) -> (i32[], f32[4], f32[4]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[4] = add a, w
   %3: f32[4] = subtract b, w
   return %1, %2, %3
  }, carried=3}
 return %2, %3
}"""
    check(text, X)


# Branches -------------------------------------------------------------------------------------------------------------
PICK = """graph f(k: i32[], x: f32[4], y: f32[4]) -> (f32[4], f32[4]) {
 %0: f32[4] = exp x
 %1: f32[4], %2: f32[4] = switch k, %0, y {branches=(
  graph a(x: f32[4], y: f32[4]) -> (f32[4], f32[4]) { return x, y },
  graph b(x: f32[4], y: f32[4]) -> (f32[4], f32[4]) {
   %0: f32[4] = negative x
   return y, %0
  },
  graph c(x: f32[4], y: f32[4]) -> (f32[4], f32[4]) {
   %0: f32[4] = add x, y
   return %0, %0
  })}
 return %1, %2
}"""


@pytest.mark.parametrize("index", [0, 1, 2, 3, -1, 2**31 - 1])
def test_switch_of_arrays(index):
    check(PICK, np.array(index, np.int32), X, Y)


@pytest.mark.parametrize("flag", [False, True])
def test_switch_on_a_bool(flag):
    text = """graph f(p: b1[], x: f32[4], a: f32[]) -> (f32[4], f32[], f32[4]) {
 %0: f32[4], %1: f32[], %2: f32[4] = switch p, x, a {branches=(
  graph no(x: f32[4], a: f32[]) -> (f32[4], f32[], f32[4]) {
   %0: f32[] = reduce_sum x {axes=(0,)}
   return x, %0, x
  },
  graph yes(x: f32[4], a: f32[]) -> (f32[4], f32[], f32[4]) {
   %0: f32[4] = multiply x, a
   %1: f32[] = sqrt a
   return %0, %1, x
  })}
 return %0, %1, %2
}"""
    check(text, np.array(flag), X, np.array(2.0, np.float32))


def test_branches_in_loops_in_branches():
    text = """graph f(p: b1[], n: i32[], x: f32[4,4]) -> (f32[4,4], i32[]) {
 %0: f32[4,4], %1: i32[] = switch p, n, x {branches=(
  graph no(n: i32[], x: f32[4,4]) -> (f32[4,4], i32[]) { return x, n },
  graph yes(n: i32[], x: f32[4,4]) -> (f32[4,4], i32[]) {
   %0: i32[] = constant {value=i32 0}
   %1: i32[], %2: f32[4,4], %3: i32[] = while %0, x, %0, n {
    condition = graph c(i: i32[], x: f32[4,4], t: i32[], n: i32[]) -> (b1[]) {
     %0: b1[] = less i, n
     return %0
    },
    body = graph b(i: i32[], x: f32[4,4], t: i32[], n: i32[]) -> (i32[], f32[4,4], i32[]) {
     %0: i32[] = constant {value=i32 1}
     %1: i32[] = add i, %0
     %2: i32[] = constant {value=i32 3}
     %3: i32[] = floormod i, %2
     %4: f32[4,4], %5: i32[] = switch %3, x, t, i {branches=(
      graph a(x: f32[4,4], t: i32[], i: i32[]) -> (f32[4,4], i32[]) { return x, t },
      graph b(x: f32[4,4], t: i32[], i: i32[]) -> (f32[4,4], i32[]) {
       %0: i32[] = add t, i
       %1: f32[4,4] = negative x
       return %1, %0
      },
      graph c(x: f32[4,4], t: i32[], i: i32[]) -> (f32[4,4], i32[]) {
       %0: f32[4,4] = matmul x, x
       return %0, i
      })}
     return %1, %4, %5
    }, carried=3}
   return %2, %3
  })}
 return %0, %1
}"""
    for flag in (False, True):
        for n in (0, 1, 2, 3, 7):
            check(text, np.array(flag), np.array(n, np.int32), A)


def test_equal_branches_of_two_switches_are_two():
    text = """graph f(p: b1[], x: f32[4], y: f32[4]) -> (f32[4], f32[4]) {
 %0: f32[4] = switch p, x {branches=(
  graph no(a: f32[4]) -> (f32[4]) {
   %0: f32[4] = exp a
   return %0
  },
  graph yes(a: f32[4]) -> (f32[4]) { return a })}
 %1: f32[4] = switch p, y {branches=(
  graph no(a: f32[4]) -> (f32[4]) {
   %0: f32[4] = exp a
   return %0
  },
  graph yes(a: f32[4]) -> (f32[4]) { return a })}
 return %0, %1
}"""
    for flag in (False, True):
        check(text, np.array(flag), X, Y)


def test_a_result_array_that_a_first_loop_used():
    """Both loops would like to work in the array of the result; the second one's value ends up in another buffer."""
    text = """graph f(x: f32[4,4], y: f32[4,4], r: f32[4]) -> (f32[4,4]) {
 %0: f32[4,4] = exp y
 %1: i32[] = constant {value=i32 0}
 %2: i32[], %3: f32[4,4], %4: f32[4,4] = while %1, x, %0, %0, r {
  condition = graph c(i: i32[], a: f32[4,4], b: f32[4,4], w: f32[4,4], r: f32[4]) -> (b1[]) {
   %0: i32[] = constant {value=i32 3}
   %1: b1[] = less i, %0
   return %1
  },
  body = graph b(i: i32[], a: f32[4,4], b: f32[4,4], w: f32[4,4], r: f32[4]) -> (i32[], f32[4,4], f32[4,4]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[4,4] = scatter_add_into a, i, r
   return %1, %2, %2
  }, carried=3}
 %5: i32[], %6: f32[4,4], %7: f32[4,4] = while %1, %4, %4, %0 {
  condition = graph c(i: i32[], a: f32[4,4], b: f32[4,4], w: f32[4,4]) -> (b1[]) {
   %0: i32[] = constant {value=i32 2}
   %1: b1[] = less i, %0
   return %1
  },
  body = graph b(i: i32[], a: f32[4,4], b: f32[4,4], w: f32[4,4]) -> (i32[], f32[4,4], f32[4,4]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[4,4] = maximum a, w
   return %1, w, %2
  }, carried=3}
 return %7
}"""
    check(text, A, A.T.copy(), Z)


# Shared functions -----------------------------------------------------------------------------------------------------
def test_a_function_is_emitted_once():
    inner = """graph g(x: f32[4,4], a: f32[]) -> (f32[4,4], f32[]) {
   %0: f32[4,4] = multiply x, a
   %1: f32[4,4] = matmul %0, x
   %2: f32[] = reduce_sum %1 {axes=(0, 1)}
   return %1, %2
  }"""
    shared = parse(inner)
    builder = GraphBuilder("f")
    x, a = (builder.input(v.name, v.type) for v in shared.inputs)
    y, b = builder.add(OPS["call"], [x, a], {"function": shared}, PLACE)
    z, c = builder.add(OPS["call"], [y, b], {"function": shared}, PLACE)
    graph = builder.finish([z, c, y])
    check(graph, A, np.array(0.5, np.float32))
    program = Native(graph).program
    assert program.text.count("define internal void @function") == 1
    assert program.text.count("call void @function1(") == 2


def test_a_function_that_returns_its_parameter():
    shared = parse("graph g(x: f32[4], y: f32[4]) -> (f32[4]) {\n return y\n}")
    builder = GraphBuilder("f")
    x, y = (builder.input(v.name, v.type) for v in shared.inputs)
    (a,) = builder.add(OPS["call"], [x, y], {"function": shared}, PLACE)
    (b,) = builder.add(OPS["call"], [y, x], {"function": shared}, PLACE)
    check(builder.finish([a, b]), X, Y)


# Checks ---------------------------------------------------------------------------------------------------------------
def test_a_check_leaves_the_loop_at_its_line():
    text = counted(
        "a: i32[], b: i32[]",
        "%2: i32[] = constant {value=i32 3}\n%3: i32[] = subtract %2, i\n%4: i32[] = floordiv a, %3",
        "%4, i",
        count=10,
    )
    run = Native(text)
    with pytest.raises(DivisionByZeroError, match=r"floordiv: integer division by zero\n  at <text>:1\d"):
        run(np.array(100, np.int32), np.array(0, np.int32))
    with pytest.raises(DivisionByZeroError):
        interpret(run.graph, [np.array(100, np.int32), np.array(0, np.int32)])


def test_a_check_of_arrays_in_a_loop_names_the_element():
    text = counted("x: i32[5]", "%2: i32[5] = subtract x, %1\n%3: i32[5] = floordiv x, %2", "%3", count=4)
    with pytest.raises(DivisionByZeroError, match=r"at \[3\]"):
        Native(text)(np.array([9, 9, 9, 1, 1], np.int32))


@pytest.mark.parametrize("op", ["update_row", "scatter_add_into"])
def test_a_row_outside(op):
    text = counted(
        "x: f32[4,3]",
        f"%2: i32[] = constant {{value=i32 4}}\n%3: i32[] = multiply i, %2\n%4: f32[4,3] = {op} x, %3, w",
        "%4",
        "w: f32[3]",
        count=3,
    )
    with pytest.raises(IndexOutOfRangeError, match=rf"{op}: index out of range: index 4, extent 4\n  at <text>"):
        Native(text)(np.zeros((4, 3), np.float32), np.ones(3, np.float32))
    negative = text.replace("multiply i, %2", "subtract i, %2")
    with pytest.raises(IndexOutOfRangeError, match="index -4, extent 4"):
        Native(negative)(np.zeros((4, 3), np.float32), np.ones(3, np.float32))


def test_assertions_in_a_loop():
    text = counted(
        "a: i32[]", '%2: b1[] = less i, n\nassert_true %2 {message="too far"}\n%3: i32[] = add a, i', "%3", "n: i32[]"
    )
    check(text, np.array(1, np.int32), np.array(9, np.int32))
    with pytest.raises(AssertionFailedError, match="too far"):
        Native(text)(np.array(1, np.int32), np.array(3, np.int32))


def test_a_division_by_a_number_is_not_checked():
    text = counted("a: i32[]", "%2: i32[] = constant {value=i32 3}\n%3: i32[] = floordiv a, %2", "%3")
    assert "report" not in Native(text).program.text
    check(text, np.array(-1000, np.int32))


# Bits -----------------------------------------------------------------------------------------------------------------
POINTWISE = sorted(name for name, op in OPS.items() if isinstance(op.kernel, Pointwise) and op.samples)


@pytest.mark.parametrize("name", POINTWISE)
def test_scalars_have_the_bits_of_kernels(name):
    """Each op on single elements, in registers, gives what the kernel on arrays gives."""
    op, tried = OPS[name], set()
    for sample in op.samples():
        dtypes = tuple(a.dtype for a in sample.arrays)
        if sample.error is not None or dtypes in tried or not sample.arrays:
            continue
        arrays = [np.array(a).reshape(-1)[:40] for a in np.broadcast_arrays(*sample.arrays)]
        if not arrays[0].size:
            continue
        tried.add(dtypes)
        vectors = [Value(TensorType(v, a.shape)) for v, a in zip(types_of(arrays), arrays, strict=True)]
        (expected,) = evaluate_node(Node(op, vectors, sample.attributes, PLACE), arrays)
        own = Graph("scalars", *one_node(op, types_of(arrays), sample.attributes))
        inputs, nodes, outputs = one_node(OPS["call"], types_of(arrays), {"function": own})
        run = Native(Graph("f", inputs, nodes, outputs))
        for k in range(len(arrays[0])):
            (found,) = run(*(np.array(a[k]) for a in arrays))
            same = found.tobytes() == expected[k].tobytes() or found != found and expected[k] != expected[k]
            assert same, f"{[a[k] for a in arrays]}: {found} in registers, {expected[k]} in an array"
    assert tried or name in ("bitcast",)


PLACE = Source("test.py", 1, 0, "")


def types_of(arrays):
    from graphflow.dtypes import as_dtype

    return [as_dtype(a.dtype) for a in arrays]


def one_node(op, dtypes, attributes):
    inputs = tuple(Value(TensorType(d, ()), name=f"x{k}") for k, d in enumerate(dtypes))
    node = Node(op, inputs, attributes, PLACE)
    return inputs, (node,), node.outputs


def test_the_tree_prints_and_parses():
    graph = parse(COLLATZ)
    assert parse(str(graph)) == graph

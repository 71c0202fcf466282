"""fn(..., debug=True): the same bits node by node, at the user's own lines, where debuggers stop."""

from __future__ import annotations

import bdb
import io
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir import parse
from graphflow.tensor import Tensor
from graphflow.tracing.stepping import ShadowVariable, Stepper, TooManySteps, UserFrame

HERE = __file__


def line_of(text: str) -> int:
    """The number of the only line of this file that ends with the comment `text`."""
    lines = Path(HERE).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith("# " + text)]
    return found


W = gf.Variable([[1.0, -2.0], [0.5, 3.0]], name="weights")


@gf.function
def layer(x, scale=2.0):
    hidden = x @ W  # the product
    x = gf.nn.relu(hidden) * scale  # x again
    total = gf.reduce_sum(gf.exp(x), axis=1)  # the sum
    return total, hidden  # the end


X = gf.constant(np.linspace(-1, 1, 6, dtype="f4").reshape(3, 2))


def same(a: Any, b: Any) -> bool:
    return all(p._array.tobytes() == q._array.tobytes() for p, q in zip(a, b, strict=True))


def test_the_bits_are_those_of_the_compiled_call():
    assert same(layer(X, debug=True), layer(X))
    assert same(layer(X, scale=0.5, debug=True, stage="final"), layer(X, scale=0.5))
    assert same(layer(X, debug=False), layer(X))


@pytest.mark.parametrize("stage", ["traced", "canonicalise", "fuse", "final"])
def test_every_stage_can_be_run(stage):
    seen = []
    assert same(layer(X, debug=True, stage=stage, on_node=lambda node, *_: seen.append(node.op.name)), layer(X))
    assert "matmul" in seen
    assert "fused" not in seen


def test_an_unknown_stage_names_the_known_ones():
    with pytest.raises(gf.errors.InvalidArgumentError, match=r"no stage 'nothing'.*traced.*fuse.*final"):
        layer(X, debug=True, stage="nothing")


def test_extents_that_differ_from_call_to_call():
    @gf.function
    def flat(x):
        ones = gf.zeros_like(x) + gf.cast(gf.shape(x)[0], gf.float32)
        return gf.reshape(ones * gf.broadcast_to(gf.reduce_sum(x), gf.shape(x)), [-1])

    for rows in (2, 3, 5):
        x = gf.ones((rows, 3))
        assert same([flat(x, debug=True)], [flat(x)])
    assert flat.experimental_get_tracing_count() == 2


def test_on_node_sees_every_node_with_its_values():
    seen = []
    layer(X, debug=True, on_node=lambda node, inputs, outputs: seen.append((node, inputs, outputs)))
    product = next(s for s in seen if s[0].op.name == "matmul")
    assert product[0].source.line == line_of("the product")
    assert product[1][0].numpy().tolist() == X.numpy().tolist()
    assert np.array_equal(product[2][0].numpy(), X.numpy() @ W.numpy())


def test_the_log_has_a_line_for_each_node(capsys):
    log = io.StringIO()
    layer(gf.constant([[1.0, 2.0]]), debug=True, log=log)
    lines = log.getvalue().splitlines()
    assert any(
        f"test_stepping.py:{line_of('the product')} matmul" in line and "-> f32[1,2] = [[2 4]]" in line
        for line in lines
    )
    layer(X, debug=True, log=True)
    assert len(capsys.readouterr().err.splitlines()) == len(lines)


# Debuggers ------------------------------------------------------------------------------------------------------------
class Debugger(bdb.Bdb):
    """Notes where it stops and what it sees there."""

    def __init__(self, *lines: int) -> None:
        super().__init__()
        self.stops: list[tuple[str, int, dict[str, Any]]] = []
        for line in lines:
            assert self.set_break(HERE, line) is None

    def user_line(self, frame: Any) -> None:
        if self.break_here(frame):
            self.stops.append((frame.f_code.co_name, frame.f_lineno, dict(frame.f_locals)))
        self.set_continue() if self.breaks else self.set_quit()


def test_a_breakpoint_at_a_line_of_the_function_stops_with_the_values_there():
    layer(X)  # traced before: tracing would stop there too
    debugger = Debugger(line_of("x again"), line_of("the sum"))
    debugger.runcall(layer, X, debug=True)
    (first, at_first, before), (_, at_second, after) = debugger.stops
    assert (first, at_first, at_second) == ("layer", line_of("x again"), line_of("the sum"))
    assert np.array_equal(before["hidden"].numpy(), X.numpy() @ W.numpy())
    assert np.array_equal(before["x"].numpy(), X.numpy())
    assert np.array_equal(after["x"].numpy(), np.maximum(X.numpy() @ W.numpy(), 0) * np.float32(2))
    assert before["weights"] is W


SCRIPT = """\
import graphflow as gf

def helper(x):
    inner = x + 1.0
    return inner * 3.0

@gf.function
def step(x):
    y = gf.exp(x)
    {stop}
    z = helper(y) - 1.0
    return z

x = gf.constant([0.0, 1.0])
{before}
result = step(x, debug=True)
print("RESULT", result.numpy().tolist() == step(x).numpy().tolist())
"""


def script(tmp_path: Path, stop: str = "pass", before: str = "step(x)") -> Path:
    path = tmp_path / "program_to_debug.py"
    path.write_text(SCRIPT.format(stop=stop, before=before), encoding="utf-8")
    return path


def run(command: list[str], typed: list[str], tmp_path: Path) -> str:
    done = subprocess.run(
        command, input="\n".join(typed) + "\n", capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120
    )
    return done.stdout + done.stderr


def test_pdb_stops_at_the_line_steps_and_shows_values(tmp_path):
    path = script(tmp_path)
    typed = [
        "b 16",
        "c",
        "b 11",
        "b 5",
        "c",
        "p y.numpy().tolist()",
        "c",
        "p inner.numpy().tolist()",
        "r",
        "n",
        "cl 1 2 3",
        "c",
        "q",
    ]
    text = run([sys.executable, "-m", "pdb", str(path)], typed, tmp_path)
    assert "program_to_debug.py(11)step()" in text
    assert "[1.0, 2.7182817459106445]" in text
    assert "program_to_debug.py(5)" in text
    assert "[2.0, 3.7182817459106445]" in text
    assert "RESULT True" in text


@pytest.mark.parametrize("before", ["pass", "step(x, debug=True)"], ids=["first call", "later call"])
def test_breakpoint_in_the_function_lands_in_the_users_code(tmp_path, before):
    path = script(tmp_path, stop="breakpoint()", before=before)
    stops = 1 if before == "pass" else 2
    typed = ["p y.numpy().tolist()", "w", "c"] * stops
    path.write_text(
        path.read_text().replace('print("RESULT"', 'import os; os.environ["PYTHONBREAKPOINT"] = "0"; print("RESULT"')
    )
    text = run([sys.executable, str(path)], typed, tmp_path)
    assert text.count("program_to_debug.py(4)step()") >= stops, "the next line: that of the helper"
    assert text.count("[1.0, 2.7182817459106445]") == stops
    assert "RESULT True" in text


def test_breakpoint_at_stops_before_the_line(tmp_path, monkeypatch):
    stops = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(sys._getframe(1)))
    line = line_of("the sum")
    with gf.debugging.breakpoint_at(f"test_stepping.py:{line}") as point:
        assert point in gf.debugging.breakpoints()
        layer(X, debug=True)
        assert len(stops) == 1
        layer(X)
        assert len(stops) == 1, "only debugged calls stop"
    (frame,) = stops
    assert frame.f_code.co_filename == HERE
    assert frame.f_code.co_name == "layer"
    assert "hidden" in frame.f_locals
    assert "total" in frame.f_locals, "the frame went on to its end"
    assert gf.debugging.breakpoints() == ()
    layer(X, debug=True)
    assert len(stops) == 1


@pytest.mark.parametrize("place", ["", "file.py", "file.py:", ":3", "file.py:zero", "file.py:0"])
def test_breakpoint_at_explains_its_argument(place):
    with pytest.raises(gf.errors.InvalidArgumentError, match=r"expected 'file\.py:12'"):
        gf.debugging.breakpoint_at(place)


def test_an_error_shows_the_users_line_in_its_traceback():
    @gf.function
    def divide(a, b):
        return a // b  # divides

    with pytest.raises(gf.errors.DivisionByZeroError) as caught:
        divide(gf.constant([1, 7]), gf.constant([1, 0]), debug=True)
    entries = [(e.frame.code.name, e.lineno + 1) for e in caught.traceback if str(e.path) == HERE]
    assert ("divide", line_of("divides")) in entries
    assert "7 and 0" in str(caught.value)


# Keywords -------------------------------------------------------------------------------------------------------------
def test_a_parameter_called_debug_is_the_functions_own():
    @gf.function
    def own(x, debug=False, log=1.0):
        return x * log + (10.0 if debug else 0.0)

    assert float(own(gf.constant(1.0), debug=True)) == 11.0
    seen = []
    assert float(gf.debugging.debug(own, gf.constant(1.0), debug=True, on_node=lambda *a: seen.append(a))) == 11.0
    assert seen


def test_keywords_of_the_function_are_left_to_it():
    @gf.function
    def scaled(x, log):
        return x * log

    assert float(scaled(gf.constant(2.0), log=3.0, debug=True)) == 6.0


def test_methods_nested_functions_and_eager_mode():
    class Model:
        def __init__(self):
            self.w = gf.Variable(3.0)

        @gf.function
        def run(self, x):
            return inner(x, debug=True) * self.w

    @gf.function
    def inner(x):
        return x + 1.0

    model = Model()
    assert float(model.run(gf.constant(1.0), debug=True)) == 6.0
    assert float(model.run(gf.constant(1.0))) == 6.0
    gf.config.run_functions_eagerly(True)
    try:
        assert float(model.run(gf.constant(1.0), debug=True)) == 6.0
    finally:
        gf.config.run_functions_eagerly(False)


def test_gradients_flow_through_a_debugged_call():
    def gradient(**options):
        with gf.GradientTape() as tape:
            total, _ = layer(X, **options)
            loss = gf.reduce_sum(total)
        return tape.gradient(loss, W)

    assert same([gradient(debug=True)], [gradient()])


def test_effects_happen_once_and_in_order(capsys):
    counter = gf.Variable(0)

    @gf.function
    def count(x):
        counter.assign_add(1)
        gf.print("count is", counter, output_stream=sys.stdout)
        counter.assign_add(x)
        return counter * 2

    assert int(count(gf.constant(4), debug=True)) == 10
    assert int(counter) == 5
    assert capsys.readouterr().out == "count is 1\n"


def test_a_failed_call_leaves_the_variables_as_they_were():
    v = gf.Variable([1, 2])

    @gf.function
    def update(d):
        v.assign_add([5, 5])
        v.assign(v // d)

    with pytest.raises(ZeroDivisionError):
        update(gf.constant([1, 0]), debug=True)
    assert v.numpy().tolist() == [1, 2]


def test_a_function_that_does_not_compile_can_be_debugged(monkeypatch):
    from graphflow import compiler

    def broken_pass(graph, context):
        raise KeyError("oops")

    monkeypatch.setattr(compiler, "PIPELINE", [broken_pass])
    compiled = gf.function(lambda x: x * 3.0)
    with pytest.raises(gf.errors.CompileError):
        compiled(gf.constant(2.0))
    assert float(compiled(gf.constant(2.0), debug=True)) == 6.0


def test_variables_made_at_the_first_call():
    class Lazy:
        v = None

        @gf.function
        def run(self, x):
            if self.v is None:
                self.v = gf.Variable(2.0)
            return x * self.v

    assert float(Lazy().run(gf.constant(4.0), debug=True)) == 8.0


# Control flow, on graphs as text --------------------------------------------------------------------------------------
LOOP = """graph powers(x: f32[2], n: i32[]) -> (i32[], f32[2]) {
  %0: i32[] = constant {value=i32 0}  # loop.py:3:4  0
  %1: i32[], %2: f32[2] = while %0, x, n {
    condition = graph condition(i: i32[], y: f32[2], n: i32[]) -> (b1[]) {
      %0: b1[] = less i, n  # loop.py:4:10  i < n
      return %0
    },
    body = graph body(i: i32[], y: f32[2], n: i32[]) -> (i32[], f32[2]) {
      %0: f32[2] = multiply y, y  # loop.py:5:8  y * y
      %1: i32[] = constant {value=i32 1}  # loop.py:6:8  i += 1
      %2: i32[] = add i, %1  # loop.py:6:8  i += 1
      return %2, %0
    },
    carried = 2
  }  # loop.py:4:4  while i < n
  return %1, %2
}"""

CHOICE = """graph choose(c: b1[], k: i32[], x: f32[2]) -> (f32[2], f32[2]) {
  %0: f32[2] = switch c, x {
    branches = (graph no(x: f32[2]) -> (f32[2]) {
      %0: f32[2] = negative x  # choice.py:5:4  -x
      return %0
    }, graph yes(x: f32[2]) -> (f32[2]) {
      return x
    })
  }  # choice.py:4:4  if c
  %1: f32[2] = switch k, x {
    branches = (graph a(x: f32[2]) -> (f32[2]) {
      %0: f32[2] = exp x  # choice.py:7:4  exp
      return %0
    }, graph b(x: f32[2]) -> (f32[2]) {
      %0: f32[2] = add x, x  # choice.py:8:4  x + x
      return %0
    }, graph c(x: f32[2]) -> (f32[2]) {
      %0: f32[2] = square x  # choice.py:9:4  square
      return %0
    })
  }  # choice.py:6:4  switch
  return %0, %1
}"""


def tensor(values: Any, dtype: str = "f4") -> Tensor:
    return gf.constant(np.array(values, dtype))


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_loops_run_iteration_by_iteration(count, framed):
    seen = []
    frame = UserFrame("loop.py", "powers") if framed else None
    stepper = Stepper(parse(LOOP), frame, [lambda node, *_: seen.append(node.op.name)])
    number, powers = stepper.run([tensor([1.5, 2.0]), tensor(count, "i4")])
    assert int(number) == count
    assert powers.numpy().tolist() == (np.array([1.5, 2.0], "f4") ** (2**count)).tolist()
    assert seen.count("multiply") == count
    assert seen.count("less") == count + 1


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize(("k", "expected"), [(-1, 4.0), (0, np.exp(np.float32(2))), (1, 4.0), (2, 4.0), (7, 4.0)])
def test_branches(k, expected, framed):
    frame = UserFrame("choice.py", "choose") if framed else None
    for c in (True, False):
        one, other = Stepper(parse(CHOICE), frame).run([tensor(c, "?"), tensor(k, "i4"), tensor([2.0, 3.0])])
        assert one.numpy().tolist() == ([2.0, 3.0] if c else [-2.0, -3.0])
        assert float(other[0]) == pytest.approx(float(expected))


def test_locals_in_a_loop_have_the_names_of_the_carried_values(monkeypatch):
    lines = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename == "loop.py":
            if event == "line" and frame.f_lineno == 6:
                lines.append((int(frame.f_locals["i"]), frame.f_locals["y"].numpy().tolist()))
            return trace
        return None

    stepper = Stepper(parse(LOOP), UserFrame("loop.py", "powers"))
    sys.settrace(trace)
    try:
        stepper.run([tensor([2.0, 3.0]), tensor(2, "i4")])
    finally:
        sys.settrace(None)
    assert lines == [(0, [2.0, 3.0]), (1, [4.0, 9.0])]


def test_an_error_names_the_iteration_and_the_branch():
    text = textwrap.dedent(LOOP).replace("%0: f32[2] = multiply y, y", '%0: f32[2] = check_numerics y {message="y"}')
    text = text.replace("return %2, %0\n", "%3: f32[2] = multiply %0, y  # loop.py:6:8  y * y\n      return %2, %3\n")
    with pytest.raises(gf.errors.InvalidArgumentError) as caught:
        Stepper(parse(text)).run([tensor([1e10, 2.0]), tensor(9, "i4")])
    assert "iteration 2 (from 0) of the loop at loop.py:4" in str(caught.value)
    assert "got inf at [0] (1 of 2 elements)" in str(caught.value)


def test_a_budget_ends_a_long_run():
    with pytest.raises(TooManySteps):
        Stepper(parse(LOOP), budget=1000).run([tensor([1.0, 1.0]), tensor(10**6, "i4")])


def test_shadows_leave_the_variables_alone():
    graph = parse(
        "graph f(w: var f32[2]) -> (f32[2]) {\n  %0: f32[2] = read_variable w\n  %1: f32[2] = exp %0\n"
        "  assign_variable w, %1\n  %2: f32[2] = read_variable w\n  return %2\n}"
    )
    shadow = ShadowVariable(tensor([0.0, 0.0]))
    (result,) = Stepper(graph).run([shadow])
    assert result.numpy().tolist() == [1.0, 1.0]
    assert shadow.value().numpy().tolist() == [1.0, 1.0]

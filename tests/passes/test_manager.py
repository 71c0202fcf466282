"""The pass manager: stages, checks, errors, fuel, bisection, dumps."""

from __future__ import annotations

import functools

import pytest

from graphflow import config
from graphflow.errors import CompileError, VerifyError
from graphflow.ir import Node, parse
from graphflow.ir.graph import Graph
from graphflow.passes.canonicalise import canonicalise
from graphflow.passes.manager import PassContext, Remark, Rewrite, bisect, pass_name, run_pipeline
from graphflow.passes.merge_common import merge_common
from graphflow.passes.remove_dead import remove_dead

TEXT = """graph f(x: f32[4], w: var f32[4]) -> (f32[4]) {
  %0: f32[4] = read_variable w    # a.py:1:0  w
  assign_variable w, x            # a.py:2:0  w.assign(x)
  %1: f32[4] = read_variable w    # a.py:3:0  w
  print %1 {template="{}"}        # a.py:4:0  print(w)
  assign_variable w, %0           # a.py:5:0  w.assign(old)
  %2: f32[4] = identity %1        # a.py:6:0  identity(w)
  return %2
}"""


def same(graph, context):
    return graph


def test_stages():
    graph = parse(TEXT)
    context = PassContext()
    final, stages = run_pipeline(graph, [canonicalise, remove_dead], context, verify=True)
    assert [s.name for s in stages] == ["input", "canonicalise", "remove_dead"]
    assert stages[0].graph is graph and stages[-1].graph is final
    assert [(s.nodes_before, s.nodes_after, s.rewrites) for s in stages] == [(6, 6, 0), (6, 5, 1), (5, 5, 0)]
    assert all(s.milliseconds >= 0 for s in stages)
    assert str(stages[1]).startswith("canonicalise: 6 -> 5 nodes, 1 rewrites, ")
    assert str(context.last_rewrite) == "canonicalise: alias_of_same_shape at a.py:6   identity(w)"


def test_names():
    assert pass_name(functools.partial(same)) == "same"
    assert pass_name(type("Doubling", (), {"__call__": same})()) == "Doubling"


def without(*dropped):
    def edit(graph, context):
        return graph.replace([n for k, n in enumerate(graph.nodes) if k not in dropped])

    return edit


def moved(order):
    def edit(graph, context):
        return graph.replace([graph.nodes[k] for k in order])

    return edit


@pytest.mark.parametrize(("edit", "message"), [
    (without(1), r"the order of effects changed.*read_variable w at a.py:3.*sees the value at entry"),
    (without(4), r"among the last writes of 'w' expected assign_variable w at a.py:5.*, found assign_variable .*:2"),
    (without(3), r"among the effects expected print at a.py:4.*found no more"),
    (moved([0, 4, 2, 3, 1, 5]), r"among the last writes of 'w'"),
    (moved([1, 0, 2, 3, 4, 5]), r"read_variable w at a.py:1.*sees the write at a.py:2"),
    (without(2), r"breaks the rule `defined`"),
    (lambda g, c: Graph(g.name, g.inputs[::-1], g.nodes, g.outputs), "the inputs changed"),
    (lambda g, c: g.replace(g.nodes, ()), "the outputs' types changed"),
])  # fmt: skip
def test_wrong_passes_are_caught(edit, message):
    graph = parse(TEXT)
    with pytest.raises(CompileError, match=rf"(?s)^the pass .* failed on graph 'f': VerifyError: .*{message}"):
        run_pipeline(graph, [edit], PassContext(), verify=True)
    run_pipeline(graph, [edit], PassContext(), verify=False)


def test_writes_may_be_forwarded_and_moved_last():
    """What forward_state does is no change of effects: reads see entry values, overwritten writes go, the last one
    stays."""
    graph = parse(TEXT)
    w = graph.inputs[1]

    def forward(graph, context):
        read, _, _, say, last, identity = graph.nodes
        x = graph.inputs[0]
        new = Node(identity.op, (x,), {}, identity.source)
        return graph.replace([read, Node(say.op, (x,), say.attributes, say.source), new, last], new.outputs)

    result, _ = run_pipeline(graph, [forward], PassContext(), verify=True)
    assert len(result.nodes) == 4 and w in result.nodes[-1].inputs


def test_two_writes_of_one_variable_keep_their_order():
    graph = parse("""graph f(x: f32[4], w: var f32[4]) -> () {
      assign_variable w, x  # a.py:1:0
      assign_variable w, x  # a.py:2:0
      assign_variable w, x  # a.py:3:0
      return
    }""")
    with pytest.raises(CompileError, match="is new, or comes later than the writes after it did"):
        run_pipeline(graph, [moved([1, 0, 2])], PassContext(), verify=True)
    run_pipeline(graph, [without(1)], PassContext(), verify=True)


def test_new_effects_are_caught():
    graph = parse(TEXT)

    def twice(graph, context):
        say = graph.nodes[3]
        return graph.replace([*graph.nodes, Node(say.op, say.inputs, say.attributes, say.source)])

    with pytest.raises(CompileError, match=r"among the effects expected no more, found print at a.py:4"):
        run_pipeline(graph, [twice], PassContext(), verify=True)


def test_an_invalid_graph_is_refused_before_any_pass():
    graph = parse(TEXT)
    broken = graph.replace(graph.nodes[1:])
    with pytest.raises(VerifyError, match="`defined`"):
        run_pipeline(broken, [same], PassContext(), verify=True)


def test_exceptions_name_the_pass_and_its_last_rewrite():
    def crash(graph, context):
        context.spend("clever_rule", graph.nodes[0].source)
        raise IndexError("oops")

    with pytest.raises(CompileError) as caught:
        run_pipeline(parse(TEXT), [same, crash], PassContext())
    assert caught.value.args[0] == (
        "the pass crash failed on graph 'f': IndexError: oops\n  its last rewrite was crash: clever_rule at a.py:1   w"
    )
    assert isinstance(caught.value.__cause__, IndexError)


def test_the_check_flag():
    graph = parse(TEXT)
    edit = without(2)
    run_pipeline(graph, [edit], PassContext())
    with config.override(check=True), pytest.raises(CompileError):
        run_pipeline(graph, [edit], PassContext())


def test_remarks():
    context = PassContext()

    def note(graph, context):
        context.remark("not fused", "too large", [graph.nodes[0].source])
        return graph

    run_pipeline(parse(TEXT), [note], context)
    [remark] = context.remarks
    assert remark == Remark("not fused", "too large", (parse(TEXT).nodes[0].source,), "note")
    assert str(remark) == "not fused: too large (a.py:1)"
    assert str(Rewrite("fuse", "")) == "fuse: a rewrite"


def test_dump(tmp_path):
    graph = parse(TEXT)
    with config.override(dump_dir=str(tmp_path / "dumps")):
        run_pipeline(graph, [canonicalise], PassContext())
        run_pipeline(graph, [], PassContext())
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.gir")) == [
        "dumps/f.0/00-input.gir", "dumps/f.0/01-canonicalise.gir", "dumps/f.1/00-input.gir",
    ]  # fmt: skip
    assert parse((tmp_path / "dumps/f.0/00-input.gir").read_text()) == graph


# Bisection ------------------------------------------------------------------------------------------------------------


def wrong_square(graph, context):
    """Turns the third exp into a square: a wrong rewrite among right ones."""
    nodes, mapping, seen = [], {}, 0
    from graphflow.ir import OPS

    for node in graph.nodes:
        inputs = [mapping.get(v, v) for v in node.inputs]
        op = node.op
        if op.name == "exp":
            seen += 1
            if context.spend(f"visit {seen}", node.source) and seen == 3:
                op = OPS["square"]
        new = Node(op, inputs, node.attributes, node.source)
        mapping.update(zip(node.outputs, new.outputs, strict=True))
        nodes.append(new)
    return graph.replace(nodes, [mapping[v] for v in graph.outputs])


def chain(length):
    lines = [f"%{k}: f32[4] = exp {'x' if k == 0 else f'%{k - 1}'}  # a.py:{k + 1}:0" for k in range(length)]
    return parse("graph f(x: f32[4]) -> (f32[4]) {\n" + "\n".join(lines) + f"\nreturn %{length - 1}\n}}")


def is_right(passes):
    def run(graph, context):
        final, _ = run_pipeline(graph, passes, context)
        return all(node.op.name != "square" for node in final.nodes)

    return run


def test_bisect_names_the_rewrite():
    found = bisect(chain(12), is_right([merge_common, wrong_square]))
    assert found.fuel == 3 and found.pass_name == "wrong_square"
    assert str(found) == "rewrite 3 is wrong: wrong_square: visit 3 at a.py:3"
    assert bisect(chain(12), is_right([wrong_square]), fuel_max=2) is None
    assert bisect(chain(3), is_right([wrong_square])).fuel == 3
    assert bisect(chain(2), is_right([wrong_square])) is None


def test_bisect_a_crash():
    def crash(graph, context):
        for k in range(10):
            if context.spend(f"step {k}") and k == 6:
                raise KeyError("broken")
        return graph

    found = bisect(chain(1), lambda g, c: bool(run_pipeline(g, [crash], c)), context=PassContext(fold_limit=7))
    assert str(found) == "rewrite 7 is wrong: crash: step 6"


def test_bisect_without_guilt():
    found = bisect(chain(1), lambda graph, context: False)
    assert (found.fuel, found.rewrite, found.pass_name, str(found)) == (0, None, "", "wrong without any rewrite")


# Sub-graphs and run-time extents --------------------------------------------------------------------------------------

TWICE = """shared double = graph double(x: f32[n]) -> (f32[n]) {
  %0: f32[n] = constant {value=f32 1.0}
  %1: f32[n] = multiply x, %0
  return %1
}
graph f(x: f32[n]) -> (f32[n]) {
  %0: f32[n] = call x {function=graph double}
  %1: f32[n] = call %0 {function=graph double}
  return %1
}""".replace("%0: f32[n] = constant", "%0: f32[] = constant")


def test_a_shared_graph_is_rewritten_once_and_stays_shared():
    context = PassContext()
    final, _ = run_pipeline(parse(TWICE), [canonicalise], context, verify=True)
    first, second = (node.attributes["function"] for node in final.nodes)
    assert first is second and first.outputs == first.inputs
    assert context.rewrites == 1


def test_new_symbols_are_not_in_the_program():
    text = """graph f(p: b1[], x: f32[u1], y: f32[m]) -> (f32[u0]) {
      %0: f32[u0] = switch p, x, y {
        branches = (graph a(x: f32[u1], y: f32[m]) -> (f32[u1]) {
          return x
        }, graph b(x: f32[u1], y: f32[m]) -> (f32[m]) {
          return y
        }), extents = ("u0",)
      }
      return %0
    }"""
    names = []

    def ask(graph, context):
        names.extend(context.new_symbol() for _ in range(2))
        return graph

    run_pipeline(parse(text), [ask, ask], PassContext(), verify=True)
    assert names == ["u2", "u3", "u2", "u3"]  # the first pass did not use its names


def test_an_output_may_get_a_known_extent_and_no_other():
    text = """graph f(p: b1[], x: f32[n], y: f32[m]) -> (f32[u0], f32[u0]) {
      %0: f32[u0] = switch p, x, y {
        branches = (graph a(x: f32[n], y: f32[m]) -> (f32[n]) {
          return x
        }, graph b(x: f32[n], y: f32[m]) -> (f32[m]) {
          return y
        }), extents = ("u0",)
      }
      return %0, %0
    }"""
    graph = parse(text)

    def returning(*places):
        return lambda graph, context: graph.replace(
            graph.nodes, [(*graph.inputs, graph.nodes[0].output)[k] for k in places]
        )

    run_pipeline(graph, [returning(1, 1)], PassContext(), verify=True)
    for places in ((1, 2), (1,), (1, 3), (0, 0)):
        with pytest.raises(CompileError, match="the outputs' types changed"):
            run_pipeline(graph, [returning(*places)], PassContext(), verify=True)

"""The rules for branches and loops, text in and text out; both graphs run through the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from switch_rules import SWITCH
from while_rules import WHILE

from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.remove_dead import remove_dead
from graphflow.passes.simplify_control import RULES, simplify_control

X = np.array([1.5, -2.0, 0.25], "f4")
TRUE, FALSE = np.array(True), np.array(False)


def whole(k):
    """A number of dtype i32."""
    return np.array(k, "i4")


@pytest.mark.parametrize("name", [*SWITCH, *WHILE])
def test_rule(name, check_control):
    before, after, runs = {**SWITCH, **WHILE}[name]
    context = check_control(simplify_control, before, after, *runs)
    if name in rule_names():
        assert context.rewrites >= 1


def rule_names():
    return {rule.__name__ for rules in RULES.values() for rule in rules}


def test_every_rule_has_a_case():
    assert {rule.__name__ for rule in RULES["switch"]} <= SWITCH.keys()
    assert {rule.__name__ for rule in RULES["while"]} <= WHILE.keys()
    assert {kind for kind, rules in RULES.items() if rules} == {"switch", "while"}


@pytest.mark.parametrize("name", sorted(rule_names()))
def test_without_fuel_nothing_changes(name, check_control):
    for cases in (SWITCH, WHILE):
        if name in cases:
            check_control(simplify_control, cases[name][0], None, *cases[name][2], fuel=0)


def test_inner_nodes_come_first(check_control):
    check_control(
        simplify_control,
        """p: b1[], x: f32[n]
        %0: b1[] = constant {value=b1 True}
        %1: f32[n] = switch p, x, %0 {
          branches = (graph a(y: f32[n], q: b1[]) -> (f32[n]) {
            %0: f32[n] = switch q, y {
              branches = (graph a(y: f32[n]) -> (f32[n]) {
                return y
              }, graph b(y: f32[n]) -> (f32[n]) {
                %0: f32[n] = negative y
                return %0
              })
            }
            return %0
          }, graph b(y: f32[n], q: b1[]) -> (f32[n]) {
            %0: f32[n] = exp y
            return %0
          })
        }
        return %1""",
        """p: b1[], x: f32[n]
        %0: b1[] = constant {value=b1 True}
        %1: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            %0: b1[] = constant {value=b1 True}
            %1: f32[n] = negative y
            return %1
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = exp y
            return %0
          })
        }
        return %1""",
        [TRUE, X],
        [FALSE, X],
        passes=(simplify_control,),
    )


def test_an_unused_loop_goes_unless_it_has_effects(check_control):
    loop = """x: f32[n], k: i32[]
        %0: f32[n] = while x, k {{
          condition = graph more(y: f32[n], k: i32[]) -> (b1[]) {{
            %0: b1[] = constant {{value=b1 False}}
            return %0
          }},
          body = graph step(y: f32[n], k: i32[]) -> (f32[n]) {{
            {}
            return y
          }}, carried = 1
        }}
        return x"""
    check_control(remove_dead, loop.format("%0: f32[n] = exp y"), "x: f32[n], k: i32[]\nreturn x", [X, whole(0)])
    for effect in ('print k {template="{}"}', "%0: f32[] = gather y, k {axis=0}"):
        check_control(remove_dead, loop.format(effect), None)


def test_symbols_of_inlined_graphs_get_new_names(graph_of, run_graph):
    """Two equal branches define one run-time extent each; inlined side by side they must not become one."""
    chosen = """%{0}: f32[] = switch %0, x, {1} {{
          branches = (graph a(x: f32[n], q: b1[]) -> (f32[]) {{
            %0: f32[] = reduce_sum x {{axes=(0,)}}
            return %0
          }}, graph b(x: f32[n], q: b1[]) -> (f32[]) {{
            %0: f32[u1] = switch q, x {{
              branches = (graph a(x: f32[n]) -> (f32[n]) {{
                return x
              }}, graph b(x: f32[n]) -> (f32[n+1]) {{
                %0: f32[] = constant {{value=f32 1.0}}
                %1: f32[n+1] = append_row x, %0
                return %1
              }}), extents = ("u1",)
            }}
            %1: f32[] = reduce_sum %0 {{axes=(0,)}}
            return %1
          }})
        }}"""
    graph = graph_of("x: f32[n], q: b1[]", f"""
        %0: b1[] = constant {{value=b1 True}}
        %9: b1[] = logical_not q
        {chosen.format(1, "q")}
        {chosen.format(2, "%9")}
        return %1, %2""".replace("\n        ", "\n"))  # fmt: skip
    final, _ = run_pipeline(graph, [simplify_control], PassContext(), verify=True)
    assert len(final.extents) == len(set(final.extents)) == 2
    assert run_graph(final, [X, TRUE])[0] == run_graph(graph, [X, TRUE])[0] == [X.sum() + 1, X.sum()]

"""The order of effects: what a pass may change of it and what not, across branches, loops and calls of Python."""

from __future__ import annotations

import re

import pytest

from graphflow.errors import VerifyError
from graphflow.ir import effect_sequence, parse, verify
from graphflow.ir.effects import EffectGroup, check_effects_kept, check_observable_order
from graphflow.ir.op import OPS, Effect, define_op


@pytest.fixture(autouse=True)
def call():
    define_op("t_call", "*values", infer=lambda types: (), kernel=Effect("call"), no_gradient="a toy")
    yield
    del OPS["t_call"]


def effects(body, file="a.py"):
    """The effects of a graph with variables v and w, a condition p and an operand x; line k of the body is its source."""
    lines = body.strip("\n").splitlines()
    text = "\n".join(lines)
    graph = parse(f"graph g(p: b1[], x: f32[4], v: var f32[4], w: var f32[4]) -> () {{\n{text}\n  return\n}}", file)
    verify(graph)
    return effect_sequence(graph)


def show(sequence):
    """The effects as nested lists of kinds."""
    return [
        [item.kind, *map(show, item.parts)] if isinstance(item, EffectGroup) else f"{item.kind} {item.variable}".strip()
        for item in sequence
    ]


def refuse(before, after, message):
    with pytest.raises(VerifyError, match=f"the order of effects changed: .*{re.escape(message)}"):
        check_effects_kept(before, after)


SWITCH = """
  switch p, x, w {                             # a.py:3:0
    branches = (graph no(x: f32[4], w: var f32[4]) -> () {
      print x {template="no{}"}                  # a.py:4:0
      return
    }, graph yes(x: f32[4], w: var f32[4]) -> () {
      %0: f32[4] = read_variable w             # a.py:5:0
      print %0 {template="yes{}"}                # a.py:6:0
      t_call                                   # a.py:7:0
      assign_variable w, x                     # a.py:8:0
      return
    })
  }
"""


def test_sequence():
    sequence = effects("  assign_variable w, x  # a.py:1:0\n" + SWITCH + '  print x {template="end{}"}  # a.py:9:0\n')
    assert show(sequence) == [
        "write w", ["switch", ["print"], ["read w", "print", "call", "write w"]], "print",
    ]  # fmt: skip
    assert str(sequence[0]) == "assign_variable w at a.py:1" and str(sequence[1]).startswith(
        "switch at a.py:3 (print at"
    )
    check_effects_kept(sequence, sequence)


def test_a_group_that_only_reads_is_its_reads():
    sequence = effects("""
  t_branch p, v, w {                # a.py:3:0
    then = graph body(a: var f32[4], b: var f32[4]) -> () {
      %0: f32[4] = read_variable b  # a.py:4:0
      return
    }
  }
""")
    assert show(sequence) == ["read w"]
    check_effects_kept(sequence, ())


def reads_and_writes(*lines):
    found = []
    for number, line in lines:
        text = {
            "r": "%{k}: f32[4] = read_variable w", "W": "assign_variable w, x", "V": "assign_variable v, x", "C": "t_call",
            "P": 'print x {{template="{{}}"}}',
        }[line].format(k=number)  # fmt: skip
        found.append(f"  {text}  # a.py:{number}:0")
    return effects("\n".join(found))


def test_calls_of_python_are_barriers():
    def sequence(text):
        """Letters with their lines: "1r 2W"."""
        return reads_and_writes(*((int(item[:-1]), item[-1]) for item in text.split()))

    check_effects_kept(sequence("1W 2r 3C 4W 5W"), sequence("1W 3C 5W"))
    refuse(sequence("1W 3C 5W"), sequence("3C 5W"), "expected assign_variable w at a.py:1, found no more")
    refuse(sequence("1W 3C"), sequence("3C 1W"), "expected assign_variable w at a.py:1, found no more")
    refuse(
        sequence("1C 2r"),
        sequence("2r 1C"),
        "read_variable w at a.py:2 sees the value at entry, which it did not before",
    )
    refuse(sequence("1W 2C 3r"), sequence("1W 3r 2C"), "sees the write at a.py:1, which it did not before")
    refuse(sequence("1C 2P"), sequence("2P 1C"), "expected t_call at a.py:1, found print at a.py:2")
    check_effects_kept(sequence("1P 2W 3P"), sequence("1P 3P 2W"))  # a print is no barrier


def test_the_way_of_a_run_may_become_known():
    before = effects('  print x {template="{}"}  # a.py:1:0\n' + SWITCH)
    first, yes, no = (
        "  print x {template=\"{}\"}  # a.py:1:0\n",
        '  %0: f32[4] = read_variable w  # a.py:5:0\n  print %0 {template="yes{}"}  # a.py:6:0\n'
        "  t_call  # a.py:7:0\n  assign_variable w, x  # a.py:8:0\n",
        '  print x {template="no{}"}  # a.py:4:0\n',
    )  # fmt: skip
    check_effects_kept(before, effects(first + yes))
    check_effects_kept(before, effects(first + no))
    refuse(before, effects(first), "expected switch at a.py:3")
    refuse(before, effects(first + no + yes), "expected switch at a.py:3")
    refuse(before, effects(first + yes.replace("  t_call  # a.py:7:0\n", "")), "expected switch at a.py:3")
    refuse(before, effects(no + first), "expected print at a.py:1, found print at a.py:4")


def test_effects_stay_in_their_branch():
    before = effects(SWITCH)
    refuse(
        before, effects(SWITCH.replace('print x {template="no{}"}                  # a.py:4:0', "")), "found no more"
    )
    moved = effects(SWITCH.replace("assign_variable w, x                     # a.py:8:0", "")
                    + "  assign_variable w, x  # a.py:8:0\n")  # fmt: skip
    refuse(before, moved, "expected assign_variable w at a.py:8, found no more")


LOOP = """
  %0: f32[4] = while x {                    # a.py:3:0
    condition = graph test(x: f32[4]) -> (b1[]) {
      print x {template="test{}"}             # a.py:4:0
      %0: b1[] = constant {value=b1 False}  # a.py:5:0
      return %0
    },
    body = graph step(x: f32[4]) -> (f32[4]) {
      print x {template="step{}"}             # a.py:6:0
      return x
    },
    carried = 1
  }
"""


def test_a_loop_that_never_runs_tests_once():
    before = effects(LOOP)
    assert show(before) == [["while", ["print"], ["print"]]]
    check_effects_kept(before, effects('  print x {template="test{}"}  # a.py:4:0\n'))
    refuse(before, effects('  print x {template="step{}"}  # a.py:6:0\n'), "expected while at a.py:3")
    refuse(before, (), "expected while at a.py:3")


def test_the_same_function_in_two_places():
    shared = 'shared f = graph f(x: f32[4]) -> () {\n  print x {template="{}"}  # f.py:1:0\n  return\n}\n'
    head = "graph g(x: f32[4]) -> () {\n"
    calls = ["  call x {function=graph f}  # a.py:1:0\n", "  call x {function=graph f}  # a.py:2:0\n"]
    inlined = '  print x {template="{}"}  # f.py:1:0\n'

    def sequence(*lines):
        return effect_sequence(parse(shared + head + "".join(lines) + "  return\n}"))

    before = sequence(*calls)
    for after in ([calls[0], inlined], [inlined, calls[1]], [inlined, inlined]):
        check_effects_kept(before, sequence(*after))
    refuse(before, sequence(inlined), "expected call at a.py:1")
    refuse(before, sequence(inlined, inlined, inlined), "expected call at a.py:1")


OBSERVABLE = {
    "gather": "%{k}: f32[3] = gather x, n {{axis=0}}  # a.py:1:0",
    "print": 'print x {{template="{{}}"}}  # a.py:2:0',
    "division": "%{k}: i32[3] = floordiv n, d  # a.py:3:0",
    "assertion": 'assert_true p {{message=""}}  # a.py:4:0',
    "the gather again": "%{k}: f32[3] = gather x, n {{axis=0}}  # a.py:5:0",
    "a safe gather": "%{k}: f32[3] = gather x, c {{axis=0}}  # a.py:6:0",
    "a branch": "%{k}: i32[3] = switch p, n, d {{branches = (graph no(n: i32[3], d: i32[3]) -> (i32[3]) {{\n"
    "return n\n}}, graph yes(n: i32[3], d: i32[3]) -> (i32[3]) {{\n"
    "%0: i32[3] = floormod n, d  # a.py:7:0\nreturn %0\n}})}}  # a.py:8:0",
    "what it does": "%{k}: i32[3] = floormod n, d  # a.py:7:0",
}


def observable_graph(names):
    lines = ["%0: i32[3] = constant {value=i32 [3, 0, 1]}  # a.py:9:0"]
    lines += [OBSERVABLE[name].format(k=k + 1).replace(", c ", ", %0 ") for k, name in enumerate(names)]
    numbers = iter(range(len(lines)))  # results are numbered without gaps
    text = re.sub(
        r"(?m)^%\d+(?=: .*# a.py:(?!7:0\nreturn))|^%\d+(?=: i32\[3\] = switch)",
        lambda m: f"%{next(numbers)}",
        "\n".join(lines),
    )
    return parse(f"graph g(p: b1[], x: f32[4], n: i32[3], d: i32[3]) -> () {{\n{text}\n  return\n}}", "a.py")


ORDER = ["gather", "print", "division", "assertion", "the gather again", "a branch"]


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        (ORDER, None),
        (["gather", "the gather again", "print", "division", "assertion", "a branch"], None),  # checked before
        (["gather", "print", "division", "assertion", "what it does"], None),  # the branch is known
        (["gather", "print", "division", "assertion"], None),
        (["gather", "a safe gather", "print", "division"], None),
        (["print", "gather", "division"], "gather at a.py:1"),
        (["gather", "division", "print"], "print at a.py:2"),
        (["gather", "print", "assertion", "division"], "floordiv at a.py:3"),
        (["gather", "a branch", "print"], "print at a.py:2"),
        (["what it does", "division"], "floordiv at a.py:3"),
    ],
)  # fmt: skip
def test_what_can_be_observed_keeps_its_order(after, problem):
    before, after = observable_graph(ORDER), observable_graph(after)
    if problem is None:
        check_observable_order(before, after)
    else:
        with pytest.raises(VerifyError, match=f"what can be observed changed: {re.escape(problem)}.* comes after"):
            check_observable_order(before, after)

"""Each public function, called with one argument made bad: it answers, or it raises a typed error that names it, shows the line of the
call and gives a next step; nothing of NumPy's or of graphflow's inside leaks. The valid calls are those of tests/public."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import numpy as np
import pytest
from public.calls import CALLS, VALUES

import graphflow as gf

FAMILIES = ["math", "nn", "linalg", "others"]
#: takes anything, or runs functions that the call brings along: their exceptions are the user's
OPEN = re.compile(
    r"^(m\.)?(math\.sobol_sample|vectorized_map|map_fn|scan|foldl|foldr|cond|case|switch_case|while_loop|grad_pass_through)"
)


class Thing:
    def __repr__(self):
        return "Thing()"


def bad_values() -> list[Any]:
    return [
        None, "bogus", -1, 1.5, [], [[1], [2, 3]], Thing(), {}, 2**70, (0, 0), float("nan"), True, gf.float64, lambda: None,
        gf.constant(1.5), gf.constant([-7, 100]), gf.zeros((0, 4)), gf.ones((1, 1, 1, 1, 1)), gf.constant([True]),
        gf.constant([[1j]]), np.array([None]),
    ]  # fmt: skip


def family(name: str) -> str:
    found = name.partition(".")[0]
    return found if "." in name and found in FAMILIES else "others"


def parts_of(expression: str) -> tuple[Any, list[Any], dict[str, Any]] | None:
    """The function, arguments and keywords of the outermost call of an expression of the table."""
    node: ast.expr = ast.parse(expression, mode="eval").body
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Call) or any(isinstance(a, ast.Starred) for a in node.args):
        return None
    names = {"m": gf, **{name: gf.constant(value) for name, value in VALUES.items()}}

    def value(part: ast.expr) -> Any:
        return eval(compile(ast.Expression(part), "<table>", "eval"), names)

    return value(node.func), [value(a) for a in node.args], {str(k.arg): value(k.value) for k in node.keywords}


def refusals(name: str, expression: str, number: int, graph: bool) -> list[str]:
    """What is wrong with the refusals of one function's bad calls."""
    found = parts_of(expression)
    if (
        found is None
        or not str(found[0].__module__).startswith("graphflow.")
        or OPEN.match(name)
        or OPEN.match(expression[2:])
    ):
        return []
    function, args, keywords = found
    own = getattr(function, "__name__", type(function).__name__)
    parameters = [p for p in inspect.signature(function).parameters if p != "name"]
    values, wrong = bad_values()[: -1 if graph else None], []  # what a trace captures is looked at when it is captured
    places: list[Any] = [*range(len(args)), *[p for p in parameters[len(args) :] if p not in keywords], *keywords]
    for k, place in enumerate(places):
        for step in range(1 if graph else 3):
            bad = values[(number * 5 + k * 3 + step * 7) % len(values)]
            given = [bad if j == place else a for j, a in enumerate(args)]
            named = {**keywords, **({place: bad} if isinstance(place, str) else {})}
            run = gf.function(lambda g=given, n=named: function(*g, **n), autograph=False)
            try:
                if graph:
                    run.get_concrete_function()
                else:
                    function(*given, **named)
            except Exception as error:
                text, what = str(error), f"{name} {place}={bad!r}: {type(error).__name__}: {error}"
                if not isinstance(error, gf.errors.GraphflowError):
                    wrong.append(what)
                elif not re.search(r"at .*test_every_function\.py:\d+", text):
                    wrong.append(f"line: {what}")
                elif not (error.hint or "; " in text):
                    wrong.append(f"no next step: {what}")
                elif own not in text and "'<lambda>'" not in text:  # or the traced function, for what it returns
                    wrong.append(f"name: {what}")
    return wrong


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("chosen", FAMILIES)
def test_bad_arguments(chosen, graph):
    state = gf.Variable([1.0, 2.0])
    wrong: list[str] = []
    for number, (name, expression) in enumerate(CALLS.items()):
        if family(name) == chosen:
            wrong += refusals(name, expression, number, graph)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:30])
    assert state.numpy().tolist() == [1, 2]
    assert gf.autodiff.tape.recorders.get() == ()
    assert gf.reduce_sum(state + 1.0).numpy() == 5


@pytest.mark.parametrize("count", ["too few", "too many", "unknown"])
def test_the_number_of_arguments(count):
    wrong = []
    for name, expression in CALLS.items():
        found = parts_of(expression)
        if found is None or not inspect.isfunction(found[0]) or not str(found[0].__module__).startswith("graphflow."):
            continue
        function, args, keywords = found
        required = [
            p for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]  # fmt: skip
        try:
            if count == "too few" and required:
                function()
            elif count == "too many":
                function(*args, *[1] * 20, **keywords)
            elif count == "unknown":
                function(*args, **keywords, no_such_argument=1)
        except gf.errors.InvalidArgumentError as error:  # of einsum, which takes any number, its own
            if function.__name__ not in str(error) or "next:" not in str(error):
                wrong.append(f"{name}: {error}")
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong[:30])

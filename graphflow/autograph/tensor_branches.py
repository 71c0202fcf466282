"""if statements and conditional expressions that a tensor decides: both branches are traced, the results are chosen by a
`switch` node."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import AutographError
from ..ops import assert_true
from ..tensor import TensorLike, active_trace
from ..tracing.forms import UNUSED, branch
from ..tree import is_nested, map_structure
from .blocks import UNDEFINED, Undefined, run
from .constructs import Again, Construct
from .exceptions import failure_of, in_branch, is_conditional, may_have_failed, refuse_catching, tensors_of
from .options import loop_options
from .state import Place, holds_tensor
from .truth import constant_bool, is_false, truth

__all__ = ["conditional", "fail_where", "tensor_choose", "tensor_expression", "tensor_if", "tried"]

MOST_ATTEMPTS = 12
MOST_NESTED = 60
"""Tensor conditions inside each other; more is a recursion that a tensor is meant to end."""


@contextmanager
def conditional() -> Iterator[None]:
    """Inside, a tensor decides whether the code runs."""
    depth = in_branch.get()
    if depth >= MOST_NESTED:
        error = AutographError(f"{depth} tensor conditions are nested: a recursion that a tensor ends cannot be traced")
        error.hint = "write the recursion as a while statement, or end it by a Python value"
        raise error
    tokens = in_branch.set(depth + 1), loop_options.set(None)
    try:
        yield
    finally:
        in_branch.reset(tokens[0])
        loop_options.reset(tokens[1])


def tried(computed: Callable[[], Any], name: str, what: str, form: str) -> Any:
    """The sub-trace of a trial run, of which nothing stays in the graph; None where the run fails as only a computation under a
    condition may."""
    probe = active_trace.get().subtrace(name, what, form)
    try:
        with probe.tracing(), conditional():
            computed()
    except BaseException as error:
        if not is_conditional(error):
            raise
        return None
    finally:
        probe.alive = False
    return probe


def fail_where(condition: Any, error: BaseException) -> None:
    """A run-time check that raises the user's exception where the condition (True: always) holds."""
    refuse_catching(error)
    failure = failure_of(error)
    holds = constant_bool(False) if condition is True else is_false(condition)
    assert_true(holds, *failure.values, message=failure, name="raise")
    may_have_failed()


class _Branches(Construct):
    """The blocks of one if statement."""

    def __init__(self, blocks: Sequence[Any], facts: Any, arguments: Sequence[Any], wants_value: bool) -> None:
        super().__init__(blocks, facts, "if")
        self.arguments, self.wants_value = arguments, wants_value
        self.begin()

    def begin(self) -> None:
        """An attempt begins."""
        self.results: list[list[Any]] = []
        self.changes: list[dict[Any, tuple[Place, Any]]] = []
        self.passive: list[tuple[Place, Any]] = []
        self.touched: set[int] = set()
        self.ended: list[bool] = []
        self.names: list[str] = ["return value"] if self.wants_value else []
        self.names += [cell.name for cell in self.state.cells]
        self.places: list[Place] = []

    def run(self, block: Any) -> list[Any]:
        """Trace a block: its value (for a function's last if) and what it leaves in the variables."""
        state = self.state
        state.restore()
        value: Any = UNUSED
        ended = False
        with conditional():
            try:
                if block is not None:
                    value = run(block, *self.arguments)
                elif self.wants_value:
                    value = None
            except BaseException as error:
                if not is_conditional(error):
                    raise
                fail_where(True, error)
                ended = True
        found: list[Any] = [value] if self.wants_value else []
        for number, (cell, before) in enumerate(zip(state.cells, state.before, strict=True)):
            now = cell.get()
            if now is not before:
                self.touched.add(number)
            if ended or cell.name not in state.live or now is UNDEFINED and cell.name.startswith("."):
                now = UNUSED
            found.append(_kept(now))
        self.changes.append({} if ended else {p.identity: (p, _kept(p.get())) for p in state.heap.changes()})
        self.ended.append(ended)
        self.results.append(found)
        if len(self.results) == len(self.blocks):
            self.complete()
        return found

    def complete(self) -> None:
        """Before the results are merged: what no branch changed is no result; the places that any branch changed are
        results of all."""
        self.state.heap.restore()
        first = int(self.wants_value)
        for number in range(len(self.state.cells)):
            if number not in self.touched:
                for result in self.results:
                    result[first + number] = UNUSED
        places: dict[Any, Place] = {}
        for changed in self.changes:
            places.update({key: place for key, (place, _) in changed.items()})
        for key, place in places.items():
            before = place.get()
            values = [changed[key][1] if key in changed else before for changed in self.changes]
            if not place.is_explicit and not any(map(holds_tensor, values)):
                now = next(changed[key][1] for changed in self.changes if key in changed)
                self.passive.append((place, now))
                continue
            if place.kind == "content" and isinstance(place.owner, list) and len({*map(len, values)}) > 1:
                self.request_growth(place.owner, place.name, values)
            self.places.append(place)
            self.names.append(place.name)
            for result, value, ended in zip(self.results, values, self.ended, strict=True):
                result.append(UNUSED if ended else value)

    def choose(self, condition: Any, labels: Sequence[str], form: str) -> Any:
        """Trace both; set the variables to the chosen values; the chosen result."""
        blocks = list(self.blocks)
        functions = [lambda: self.run(blocks[1]), lambda: self.run(blocks[0])]
        for _ in range(MOST_ATTEMPTS):
            self.convert_lists({})
            self.begin()
            try:
                with self.active():
                    chosen: Any = branch(
                        condition, functions, form=form, labels=[labels[1], labels[0]], names=self.names,
                        undefined=Undefined, keep_numbers=True,
                    )  # fmt: skip
                break
            except Again as again:
                if again.construct is not self:
                    raise
        else:
            raise AutographError(f"{form}: the lists that it changes did not settle in {MOST_ATTEMPTS} traces")
        state = self.state
        state.heap.restore()
        values = list(chosen)
        result = values.pop(0) if self.wants_value else None
        for number, (cell, before) in enumerate(zip(state.cells, state.before, strict=True)):
            value = values[number]
            if value is UNUSED:
                value = UNDEFINED if number in self.touched else before
            cell.set(value)
        for place, value in zip(self.places, values[len(state.cells) :], strict=True):
            place.set(value)
        for place, value in self.passive:
            place.set(value)
        return None if result is UNUSED else result

    def only_check(self, condition: Any, raising: int) -> bool:
        """Where one block does nothing but raise: a check alone, and the other block without a condition around it."""
        probe = active_trace.get().subtrace("raise", "branch", "if")
        state = self.state
        caught: BaseException | None = None
        try:
            with probe.tracing(), conditional():
                try:
                    run(self.blocks[raising], *self.arguments)
                except BaseException as error:
                    if not is_conditional(error):
                        raise
                    caught = error
        finally:
            probe.alive = False
            state.restore()
        if (
            caught is None
            or any(t._trace is probe for t in tensors_of(caught))
            or probe.writes
            or not all(node.is_pure for node in probe.builder.nodes)
        ):
            return False
        fail_where(condition if raising == 0 else is_false(condition), caught)
        return True


def _kept(value: Any) -> Any:
    """A copy of a structure's containers: they get back what they held before the other branch is traced."""
    return map_structure(lambda leaf: leaf, value) if is_nested(value) else value


def _labels(lines: Sequence[int], block: Any) -> tuple[str, str]:
    file = os.path.basename(block.__code__.co_filename)
    return f"if branch ({file}:{lines[0]})", f"else branch ({file}:{lines[1]})"


def _decided(condition: Any, then: Any, otherwise: Any, arguments: Sequence[Any]) -> Any:
    chosen = then if condition else otherwise
    return run(chosen, *arguments) if chosen is not None else None


def tensor_if(
    test: Any, then: Any, otherwise: Any, facts: Any, lines: Any, raises: tuple[bool, bool], *arguments: Any
) -> None:
    """`if test: then; else: otherwise` for a symbolic test. A block may be None."""
    _traced(test, then, otherwise, facts, lines, raises, arguments, False)


def tensor_choose(test: Any, then: Any, otherwise: Any, facts: Any, lines: Any, raises: tuple[bool, bool]) -> Any:
    """The result of a function that ends in an if statement with a symbolic test."""
    return _traced(test, then, otherwise, facts, lines, raises, (), True)


def _traced(
    test: Any, then: Any, otherwise: Any, facts: Any, lines: Any, raises: tuple[bool, bool], arguments: Any, value: bool
) -> Any:
    condition = truth(test)
    if not isinstance(condition, TensorLike):
        return _decided(condition, then, otherwise, arguments)
    branches = _Branches((then, otherwise), facts, arguments, value)
    if raises[0] != raises[1]:
        side = 0 if raises[0] else 1
        if branches.only_check(condition, side):
            return run(otherwise if side == 0 else then, *arguments)
    return branches.choose(condition, _labels(lines, then or otherwise), "if")


def tensor_expression(test: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """`then if test else otherwise` for a symbolic test."""
    condition = truth(test)
    if not isinstance(condition, TensorLike):
        return run(then) if condition else run(otherwise)
    branches = _Branches((then, otherwise), ((), (), (), ()), (), True)
    return branches.choose(condition, ("value of the if", "value of the else"), "conditional expression")

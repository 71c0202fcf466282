"""while and for statements that a tensor decides: one trace of the body in a `while` node.

Carried are the variables that the body binds and somebody reads at the loop's head, and the objects' places that the body
changes. Which places these are is known when the body was traced: where there are new ones, it is traced once more. A
list that the body appends to is carried as a GrowingList.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import AutographError
from ..tensor import TensorLike, active_trace, convert_to_tensor
from ..tracing.forms import UNUSED
from ..tracing.loops import counted_loop, loop
from .blocks import UNDEFINED, Cell, GlobalName, Undefined, run
from .exceptions import is_conditional
from .growing import GrowingList
from .iterables import Sequential
from .options import LoopOptions, loop_options
from .state import Place, State, holds_tensor
from .tensor_branches import conditional, fail_where
from .truth import constant_bool, is_false, truth

__all__ = ["tensor_for", "tensor_while"]

MOST_ATTEMPTS = 12


class _Again(BaseException):
    """The body has to be traced again: something more is carried. Not an Exception: user code must not swallow it."""


class _Loop:
    """One loop: what is carried, and its body."""

    def __init__(self, body: Any, others: Sequence[Any], facts: Any, form: str) -> None:
        self.body, self.facts, self.form = body, facts, form
        self.blocks = [body, *others]
        self.options = LoopOptions()
        self.invariants: dict[Any, Any] = {}
        self.extra: dict[Any, Any] = {}
        #: lists that grow: the structure of their items, by the place that holds them; those just found
        self.lists: dict[Any, Any] = {}
        self.longer: dict[Any, tuple[list[Any], list[Any]]] = {}
        self.state = State(self.blocks, facts)
        at_head = set(facts[4])
        self.cells = [cell for cell in self.state.cells if cell.name in at_head]

    # What is carried --------------------------------------------------------------------------------------------------
    @property
    def carried(self) -> list[Any]:
        """The variables and places that are carried."""
        return [*self.cells, *self.extra.values()]

    def names(self) -> list[str]:
        """As errors call them."""
        return [c.name for c in self.carried]

    def start(self) -> list[Any]:
        """The values before the loop."""
        found = []
        for place in self.carried:
            value = place.get()
            if value is UNDEFINED:
                value = UNUSED
            found.append(value.rows if _key(place) in self.lists else value)
        return found

    def set(self, values: Sequence[Any]) -> None:
        """Give the carried variables and places these values."""
        for place, value in zip(self.carried, values, strict=True):
            if _key(place) in self.lists:
                value = GrowingList(self.lists[_key(place)], value)
            place.set(UNDEFINED if value is UNUSED else value)

    def values(self) -> list[Any]:
        """What the body leaves in them."""
        found = []
        for place in self.carried:
            value = place.get()
            if _key(place) in self.lists and isinstance(value, GrowingList):
                value = value.rows
            found.append(UNUSED if value is UNDEFINED else value)
        return found

    # The body ---------------------------------------------------------------------------------------------------------
    def iterate(self, values: Sequence[Any], *arguments: Any) -> list[Any]:
        """Trace the body once: the carried values after it. Raises _Again."""
        self.state.restore()
        self.set(values)
        before = [place.get() for place in self.carried]
        options = LoopOptions()
        with conditional():
            token = loop_options.set(options)
            try:
                run(self.body, *arguments)
            except BaseException as error:
                if not is_conditional(error):
                    raise
                fail_where(constant_bool(True), error)
                return [UNUSED if v is UNUSED else v for v in values]
            finally:
                loop_options.reset(token)
        self._look_for_more(before, options)
        return self.values()

    def _look_for_more(self, before: Sequence[Any], options: LoopOptions) -> None:
        """Objects that the body changed and that are not carried yet; options that it asked for."""
        known = {_key(p) for p in self.carried}
        found = False
        for place in self.state.heap.changes():
            if _key(place) in known:
                continue
            if place.kind == "content" and isinstance(place.owner, list):
                found = self._grow(place) or found
            elif place.is_explicit or holds_tensor(place.get()):
                self.extra[_key(place)] = place
                found = True
        for value, shape in options.shape_invariants:
            for place, own in zip(self.carried, before, strict=True):
                if own is value and _key(place) not in self.invariants:
                    self.invariants[_key(place)] = shape
                    found = True
        if options.maximum_iterations is not self.options.maximum_iterations or options.recompute != self.options.recompute:
            self.options.maximum_iterations, self.options.recompute = options.maximum_iterations, options.recompute
            found = True
        if found:
            raise _Again

    def _grow(self, place: Place) -> bool:
        """Carry a list that the body made longer."""
        now = list(place.owner)
        held = self.state.heap.entries[id(place.owner)][1]
        if not place.is_explicit and not holds_tensor(now):
            return False
        if len(now) <= len(held):
            error = AutographError(
                f"{self.form}: the list '{place.name}' loses items in a loop that a tensor decides (from {len(held)} to "
                f"{len(now)})"
            )
            error.hint = "keep the values in a tensor or a gf.TensorArray"
            raise error
        holder = self.state.heap.holder_of(place.owner)
        target: Any = holder
        if isinstance(holder, str):
            cell = self.state.free.get(holder)
            target = next((c for c in self.state.cells if c.name == holder), None) or (
                Cell(holder, cell) if cell is not None else GlobalName(holder, self.body.__globals__)
            )
        if target is None:
            error = AutographError(f"{self.form}: the list '{place.name}' grows in a loop that a tensor decides")
            error.hint = "keep it in a variable or an attribute that the loop's body names"
            raise error
        self.longer[_key(target)] = (now, held)
        if all(_key(target) != _key(c) for c in self.carried):
            self.extra[_key(target)] = target
        return True

    def prepare(self) -> None:
        """Before an attempt: lists that grow become what they are carried as."""
        self.state.restore()
        for key, (now, held) in self.longer.items():
            example = now[len(held)]
            try:
                made = GrowingList.of(list(held), example)
            except Exception as problem:
                error = AutographError(f"{self.form}: the items of a list that grows in a graph must be alike: {problem}")
                error.hint = "append tensors of one dtype and shape, or keep several lists"
                raise error from None
            target = next(c for c in self.carried if _key(c) == key)
            target.set(made)
            self.lists[key] = made.template
        self.longer.clear()
        # what was made of them is the state before the loop from here on
        self.state = State(self.blocks, self.facts)
        at_head = set(self.facts[4])
        self.cells = [cell for cell in self.state.cells if cell.name in at_head and _key(cell) not in self.extra]

    def shape_invariants(self) -> list[Any]:
        """For each carried value its declared shape."""
        found: list[Any] = []
        for place in self.carried:
            value = place.get()
            if _key(place) in self.lists and isinstance(value, GrowingList):
                found.append(tuple((None, *row.shape[1:]) for row in value.rows))
            elif place.__class__ is Place and place.kind == "rows":
                found.append(tuple((None, *row.shape[1:]) for row in place.owner.rows))
            else:
                found.append(_invariant(self.invariants.get(_key(place))))
        return found

    # Running ----------------------------------------------------------------------------------------------------------
    def trace(self, attempt: Callable[[], list[Any]], ran: Callable[[], Any]) -> None:
        """Trace until nothing more is found; leave the results in the variables. ran: did the body run at all?"""
        for _ in range(MOST_ATTEMPTS):
            self.prepare()
            try:
                results = attempt()
                break
            except _Again:
                continue
        else:
            raise AutographError(f"{self.form}: what the loop carries did not settle in {MOST_ATTEMPTS} traces")
        self.state.restore()
        missing = [
            place.name
            for place, value in zip(self.carried, self.start(), strict=True)
            if value is UNUSED and place.name in self.state.live and not place.name.startswith(".")
        ]
        carried = {_key(p) for p in self.carried}
        for cell in self.state.cells:
            if _key(cell) not in carried:
                cell.set(UNDEFINED)
        self.set(results)
        defined = {c.name: c.get() for c in self.cells}
        for name in missing:
            if defined.get(name, UNDEFINED) is not UNDEFINED:
                fail_where(
                    is_false(ran()),
                    UnboundLocalError(f"cannot access local variable '{name}' where it is not associated with a value"),
                )
                break


def _key(place: Any) -> Any:
    return place.identity if isinstance(place, Place) else (type(place).__name__, place.name)


def _invariant(shape: Any) -> Any:
    return None if shape is None else tuple(shape)


# while ----------------------------------------------------------------------------------------------------------------
def tensor_while(answer: Any, test: Any, body: Any, facts: Any) -> None:
    """`while test: body`, whose test gave the tensor `answer` just now."""
    first = truth(answer)
    if not isinstance(first, TensorLike):  # a tensor without elements, say
        if not first:
            return
        first = constant_bool(True)
    found = _Loop(body, [test], facts, "while")
    binds = any(n in test.__code__.co_freevars for n in facts[0]) and _stores(test.__code__, facts[0])
    again = binds or not _is_pure_test(found, test)

    def condition(*values: Any) -> Any:
        found.state.restore()
        found.set(values)
        with conditional():
            return _as_tensor(truth(run(test)))

    def attempt() -> list[Any]:
        limits: Any = dict(
            form="while", undefined=Undefined, shape_invariants=found.shape_invariants(),
            maximum_iterations=found.options.maximum_iterations, recompute=found.options.recompute,
        )  # fmt: skip
        if not again:
            return loop(condition, lambda *v: found.iterate(v), found.start(), names=found.names(), **limits)
        limits["shape_invariants"] = [None, *limits["shape_invariants"]]
        return loop(
            lambda goes_on, *v: goes_on,
            lambda goes_on, *v: _with_test(found, test, v),
            [first, *found.start()],
            names=["(the loop's test)", *found.names()],
            **limits,
        )[1:]

    found.trace(attempt, lambda: first)


def _with_test(found: _Loop, test: Any, values: Sequence[Any]) -> list[Any]:
    """An iteration, and the test for the next one: for tests that do more than look."""
    found.iterate(values)
    with conditional():
        answer = _as_tensor(truth(run(test)))
    return [answer, *found.values()]


def _as_tensor(value: Any) -> Any:
    return value if isinstance(value, TensorLike) else constant_bool(value)


def _stores(code: Any, names: Sequence[str]) -> bool:
    import dis

    return any(i.opname.startswith(("STORE_", "DELETE_")) and i.argval in names for i in dis.get_instructions(code))


def _is_pure_test(found: _Loop, test: Any) -> bool:
    """Does evaluating the test once more do nothing but cost time?"""
    probe = active_trace.get().subtrace("test", "condition", "while")
    try:
        with probe.tracing(), conditional():
            run(test)
    except BaseException as error:
        if not is_conditional(error):
            raise
        return False
    finally:
        probe.alive = False
    changed = bool(found.state.heap.changes())
    found.state.restore()
    return not changed and not probe.writes and all(node.is_pure for node in probe.builder.nodes)


# for ------------------------------------------------------------------------------------------------------------------
def tensor_for(rows: Sequential, body: Any, stop: Any, facts: Any) -> None:
    """`for item in rows: body(item)`"""
    count = rows.length()
    if isinstance(count, int) and count == 0:
        return
    found = _Loop(body, [stop] if stop is not None else [], facts, "for")

    def goes_on(*values: Any) -> Any:
        found.state.restore()
        found.set(values)
        with conditional():
            return _as_tensor(is_false(run(stop)))

    def attempt() -> list[Any]:
        step = lambda k, *v: found.iterate(v, rows.item(k))  # noqa: E731
        limits: Any = dict(form="for", undefined=Undefined, recompute=found.options.recompute)
        if found.options.maximum_iterations is not None:
            return _limited(found, rows, count, stop, goes_on, limits)
        return counted_loop(
            count, step, found.start(), names=found.names(), condition=None if stop is None else goes_on,
            shape_invariants=found.shape_invariants(), **limits,
        )  # fmt: skip

    def ran() -> Any:
        return convert_to_tensor(count) > 0

    found.trace(attempt, ran)


def _limited(found: _Loop, rows: Sequential, count: Any, stop: Any, goes_on: Any, limits: Any) -> list[Any]:
    """A for statement whose body sets maximum_iterations."""
    from .. import math

    total = math.minimum(convert_to_tensor(count), convert_to_tensor(found.options.maximum_iterations))
    return counted_loop(
        total, lambda k, *v: found.iterate(v, rows.item(k)), found.start(), names=found.names(),
        condition=None if stop is None else goes_on, shape_invariants=found.shape_invariants(), **limits,
    )  # fmt: skip



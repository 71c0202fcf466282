"""while and for statements that a tensor decides: one trace of the body in a `while` node.

Carried are the variables that the body binds and somebody reads at the loop's head, and the objects' places that the body
changes. Which places these are is known when the body was traced: where there are new ones, it is traced once more. A
list that the body appends to is carried as a GrowingList.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import AutographError
from ..ir.dims import Dim
from ..ops import ensure_shape
from ..tensor import TensorLike, as_dim, convert_to_tensor
from ..tracing.forms import UNUSED
from ..tracing.loops import counted_loop, loop
from .blocks import UNDEFINED, Undefined, run
from .constructs import Again, Construct, key_of
from .exceptions import is_conditional
from .growing import GrowingList
from .iterables import Sequential
from .options import LoopOptions, loop_options
from .state import Place, holds_tensor
from .tensor_branches import conditional, fail_where, tried
from .truth import constant_bool, is_false, truth

__all__ = ["tensor_for", "tensor_while"]

MOST_ATTEMPTS = 12


class _Loop(Construct):
    """One loop: what is carried, and its body."""

    def __init__(self, body: Any, others: Sequence[Any], facts: Any, form: str) -> None:
        super().__init__([body, *others], facts, form)
        self.body = body
        self.options = LoopOptions()
        self.invariants: dict[Any, Any] = {}
        self.extra: dict[Any, Any] = {}
        #: variables that hold a Python number which the body leaves alone after all, and those that only seemed to
        self.constant: set[str] = set()
        self.changing: set[str] = set()
        #: how many items an iteration appends to a list
        self.growth: dict[Any, Any] = {}
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
            found.append(value.rows if key_of(place) in self.lists else value)
        return found

    def set(self, values: Sequence[Any]) -> None:
        """Give the carried variables and places these values."""
        for place, value in zip(self.carried, values, strict=True):
            if key_of(place) in self.lists:
                value = GrowingList(self.lists[key_of(place)], value)
            place.set(UNDEFINED if value is UNUSED else value)

    def values(self) -> list[Any]:
        """What the body leaves in them."""
        found = []
        for place in self.carried:
            value = place.get()
            if key_of(place) in self.lists and isinstance(value, GrowingList):
                value = value.rows
            found.append(UNUSED if value is UNDEFINED else value)
        return found

    # The body ---------------------------------------------------------------------------------------------------------
    def iterate(self, values: Sequence[Any], *arguments: Any) -> list[Any]:
        """Trace the body once: the carried values after it. Raises Again."""
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
                fail_where(True, error)
                return [UNUSED if v is UNUSED else v for v in values]
            finally:
                loop_options.reset(token)
        self._look_for_more(before, options)
        after = self.values()
        for number, place in enumerate(self.carried):
            if self._is_list(place):
                self.growth[key_of(place)] = after[number][0].dims[0] - values[number][0].dims[0]
        return after

    def _is_list(self, place: Any) -> bool:
        """Is the carried value the rows of a list that grows?"""
        return key_of(place) in self.lists or isinstance(place, Place) and place.kind == "rows"

    def sized(self, starts: Sequence[Any], results: Sequence[Any], count: Dim | None) -> list[Any]:
        """The results; where the number of iterations is known, and that of the items that each appends, lists have known
        lengths."""
        found = list(results)
        for number, place in enumerate(self.carried):
            growth = self.growth.get(key_of(place)) if self._is_list(place) else None
            if count is not None and isinstance(growth, int) and self.options.maximum_iterations is None:
                length = starts[number][0].dims[0] + count * growth
                found[number] = tuple(ensure_shape(row, shape=(length, *row.dims[1:])) for row in results[number])
        return found

    def _look_for_more(self, before: Sequence[Any], options: LoopOptions) -> None:
        """Objects that the body changed and that are not carried yet; options that it asked for."""
        known = {key_of(p) for p in self.carried}
        found = self._look_for_constants(before)
        for place in self.state.heap.changes():
            if key_of(place) in known:
                continue
            if place.kind == "content" and isinstance(place.owner, list):
                if place.is_explicit or holds_tensor(place.get()):
                    self.request_growth(place.owner, place.name, [place.owner])
            elif place.is_explicit or holds_tensor(place.get()):
                self.extra[key_of(place)] = place
                found = True
        for value, shape in options.shape_invariants:
            for place, own in zip(self.carried, before, strict=True):
                if own is value and key_of(place) not in self.invariants:
                    self.invariants[key_of(place)] = shape
                    found = True
        if (
            options.maximum_iterations is not self.options.maximum_iterations
            or options.recompute != self.options.recompute
        ):
            self.options.maximum_iterations, self.options.recompute = options.maximum_iterations, options.recompute
            found = True
        if found:
            raise Again(self)

    def _look_for_constants(self, before: Sequence[Any]) -> bool:
        """Python numbers that the body leaves alone stay Python numbers."""
        found = False
        for cell, inside in zip(self.cells, before, strict=False):
            start = self.state.before[self.state.cells.index(cell)]
            if (
                isinstance(start, (bool, int, float, complex))
                and cell.get() is inside
                and cell.name not in self.changing
            ):
                self.constant.add(cell.name)
                found = True
        for cell, start in zip(self.state.cells, self.state.before, strict=True):
            if cell.name in self.constant and cell not in self.cells and cell.get() is not start:
                self.constant.discard(cell.name)
                self.changing.add(cell.name)
                found = True
        return found

    def prepare(self) -> None:
        """Before an attempt: lists that grow become what they are carried as."""
        self.convert_lists(self.extra)
        at_head = set(self.facts[4])
        self.cells = [
            cell
            for cell in self.state.cells
            if cell.name in at_head and key_of(cell) not in self.extra and cell.name not in self.constant
        ]

    def shape_invariants(self) -> list[Any]:
        """For each carried value its declared shape."""
        found: list[Any] = []
        for place in self.carried:
            value = place.get()
            if key_of(place) in self.lists and isinstance(value, GrowingList):
                found.append(tuple((None, *row.shape[1:]) for row in value.rows))
            elif place.__class__ is Place and place.kind == "rows":
                found.append(tuple((None, *row.shape[1:]) for row in place.owner.rows))
            else:
                found.append(_invariant(self.invariants.get(key_of(place))))
        return found

    # Running ----------------------------------------------------------------------------------------------------------
    def trace(self, attempt: Callable[[], list[Any]], ran: Callable[[], Any], count: Dim | None = None) -> None:
        """Trace until nothing more is found; leave the results in the variables. ran: did the body run at all? count: the
        number of iterations, where it is known."""
        for _ in range(MOST_ATTEMPTS):
            self.prepare()
            try:
                with self.active():
                    results = attempt()
                break
            except Again as again:
                if again.construct is not self:
                    raise
        else:
            raise AutographError(f"{self.form}: what the loop carries did not settle in {MOST_ATTEMPTS} traces")
        self.state.restore()
        results = self.sized(self.start(), results, count)
        missing = [
            place.name
            for place, value in zip(self.carried, self.start(), strict=True)
            if value is UNUSED and place.name in self.state.live and not place.name.startswith(".")
        ]
        carried = {key_of(p) for p in self.carried}
        for cell in self.state.cells:
            if key_of(cell) not in carried and cell.name not in self.constant:
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
        limits: dict[str, Any] = {
            "form": "while",
            "undefined": Undefined,
            "shape_invariants": found.shape_invariants(),
            "maximum_iterations": found.options.maximum_iterations,
            "recompute": found.options.recompute,
        }
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
    probe = tried(lambda: run(test), "test", "condition", "while")
    changed = bool(found.state.heap.changes())
    found.state.restore()
    return probe is not None and not changed and not probe.writes and all(node.is_pure for node in probe.builder.nodes)


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
        limits: dict[str, Any] = {"form": "for", "undefined": Undefined, "recompute": found.options.recompute}
        if found.options.maximum_iterations is not None:
            return _limited(found, rows, count, stop, goes_on, limits)
        return counted_loop(
            count, step, found.start(), names=found.names(), condition=None if stop is None else goes_on,
            shape_invariants=found.shape_invariants(), **limits,
        )  # fmt: skip

    def ran() -> Any:
        return convert_to_tensor(count) > 0

    is_known = stop is None and (isinstance(count, int) or hasattr(count, "__graphflow_dim__"))
    found.trace(attempt, ran, as_dim(count) if is_known else None)


def _limited(found: _Loop, rows: Sequential, count: Any, stop: Any, goes_on: Any, limits: Any) -> list[Any]:
    """A for statement whose body sets maximum_iterations."""
    from .. import math

    total = math.minimum(convert_to_tensor(count), convert_to_tensor(found.options.maximum_iterations))
    return counted_loop(
        total, lambda k, *v: found.iterate(v, rows.item(k)), found.start(), names=found.names(),
        condition=None if stop is None else goes_on, shape_invariants=found.shape_invariants(), **limits,
    )  # fmt: skip

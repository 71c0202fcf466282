"""Contraction: a directed acyclic graph whose nodes are merged pair by pair, as long as it stays acyclic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Contraction"]


class Contraction:
    """Units and the units that each waits for; two units may become one if no path leads from one through a third to the other.

    A topological order is kept (the order in which the units are given, at first), so that a search for such a path sees only units
    between the two: D. J. Pearce and P. H. J. Kelly, "A Dynamic Topological Sort Algorithm for Directed Acyclic Graphs", 2006. Most
    paths are not searched for: they lead down the branches of a depth-first forest, where one comparison of numbers finds them (merging
    only adds paths). `steps` counts the units that searches have met.
    """

    def __init__(self, before: Mapping[int, Iterable[int]]) -> None:
        #: unit -> the units that it waits for, by the number of one of their parts
        self.before: dict[int, set[int]] = {unit: set(needs) for unit, needs in before.items()}
        self.steps = 0
        self._unit = {unit: unit for unit in self.before}  # part -> unit, or a part on the way to it
        self._parts = {unit: [unit] for unit in self.before}
        self._order = _Order(self.before)
        self._first, self._last = _forest(self.before)

    def unit(self, part: int) -> int:
        """The unit that a unit of the beginning is part of now."""
        known = self._unit
        while known[part] != part:
            known[part] = part = known[known[part]]
        return part

    def between(self, a: int, b: int) -> list[int] | None:
        """The units that have to come before b and stand behind a (or before a, behind b) in the order kept; None if a path leads from
        one through a third unit to the other."""
        place = self._order.place
        first, last = (a, b) if place[a] < place[b] else (b, a)
        low = place[first]
        stack = [unit for unit in map(self.unit, self.before[last]) if place[unit] > low and unit != last]
        if any(
            self._first[part] <= self._first[unit] <= self._last[part] for unit in stack for part in self._parts[first]
        ):
            return None
        found = set()
        while stack:
            current = stack.pop()
            if current in found:
                continue
            found.add(current)
            self.steps += 1
            for unit in map(self.unit, self.before[current]):
                if unit == first:
                    return None
                if place[unit] > low:
                    stack.append(unit)
        return sorted(found, key=place.__getitem__)

    def merge(self, a: int, b: int, between: Iterable[int]) -> None:
        """Unit a stands for both from now on. between: what `between` found."""
        place = self._order.place
        first = a if place[a] < place[b] else b
        self._order.move_before(first, between)
        if first == b:
            self._order.replace(b, a)
        else:
            self._order.remove(b)
        self._unit[b] = a
        self._parts[a] += self._parts.pop(b)
        self.before[a] = {self.unit(part) for part in self.before[a] | self.before.pop(b)} - {a}


class _Order:
    """A list of units; place: a number that grows along it."""

    def __init__(self, units: Iterable[int]) -> None:
        self.place: dict[int, float] = {unit: float(k) for k, unit in enumerate(units)}
        given = list(self.place)
        self._next: dict[int | None, int | None] = dict(zip([None, *given], [*given, None], strict=True))
        self._previous: dict[int | None, int | None] = dict(zip([*given, None], [None, *given], strict=True))

    def remove(self, unit: int) -> None:
        self._unlink(unit)
        del self.place[unit]

    def replace(self, old: int, new: int) -> None:
        """`new`, which stands elsewhere, goes to the place of `old`, which goes."""
        self.move_before(old, [new])
        self.remove(old)

    def move_before(self, target: int, units: Iterable[int]) -> None:
        """These units, in this order, go to the place just before the target."""
        moved = list(units)
        if not moved:
            return
        for unit in moved:
            self._unlink(unit)
        previous = self._previous[target]
        high = self.place[target]
        low = high - len(moved) - 1.0 if previous is None else self.place[previous]
        for k, unit in enumerate(moved):
            self.place[unit] = low + (high - low) * (k + 1) / (len(moved) + 1)
            self._next[previous], self._previous[unit] = unit, previous
            previous = unit
        self._next[previous], self._previous[target] = target, previous
        if not low < self.place[moved[0]] or not self.place[moved[-1]] < high or (high - low) < len(moved) * 1e-9:
            self._number_again()

    def _unlink(self, unit: int) -> None:
        before, after = self._previous.pop(unit), self._next.pop(unit)
        self._next[before], self._previous[after] = after, before

    def _number_again(self) -> None:
        """The numbers between two neighbours are used up."""
        unit, k = self._next[None], 0
        while unit is not None:
            self.place[unit] = float(k)
            unit, k = self._next[unit], k + 1


def _forest(before: Mapping[int, Iterable[int]]) -> tuple[dict[int, int], dict[int, int]]:
    """(unit -> its number in a depth-first walk, unit -> the last number below it)."""
    after: dict[int, list[int]] = {unit: [] for unit in before}
    for unit, needs in before.items():
        for need in needs:
            after[need].append(unit)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for root in before:
        if root in first:
            continue
        first[root] = len(first)
        stack = [(root, iter(after[root]))]
        while stack:
            unit, rest = stack[-1]
            for child in rest:
                if child not in first:
                    first[child] = len(first)
                    stack.append((child, iter(after[child])))
                    break
            else:
                last[unit] = len(first) - 1
                stack.pop()
    return first, last

"""What a loop saves for its gradient: the cheapest set of values from which the backward part can be computed again.

A minimum cut between what can only be had by saving (carried values, results of expensive ops) and what the backward part
reads, with the bytes of each value as its capacity: the idea of "min-cut rematerialisation" of PyTorch's AOTAutograd, with
augmenting paths after Ford and Fulkerson (breadth first, Edmonds and Karp). Bodies have tens of nodes, so that this takes
milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

__all__ = ["INFINITE", "minimum_cut"]

INFINITE = 1 << 60


def minimum_cut(
    sources: Iterable[Hashable],
    sinks: Iterable[Hashable],
    operands: Mapping[Any, Iterable[Any]],
    cost: Callable[[Any], int],
) -> set[Any]:
    """Values of least total cost such that each path from a source to a sink goes through one of them.

    operands: value -> the values it is computed from (only those that depend on a source need be there). cost: of saving a
    value; INFINITE for one that cannot be saved. Among cuts of equal cost the one nearest to the sinks.
    """
    graph: dict[Any, dict[Any, int]] = {}

    def edge(a: Any, b: Any, capacity: int) -> None:
        graph.setdefault(a, {})[b] = graph.setdefault(a, {}).get(b, 0) + capacity
        graph.setdefault(b, {}).setdefault(a, 0)

    values: dict[Any, None] = dict.fromkeys([*sources, *sinks, *operands])
    for inputs in operands.values():
        values.update(dict.fromkeys(inputs))
    for value in values:
        edge(("in", value), ("out", value), cost(value))
    for value, inputs in operands.items():
        for operand in inputs:
            edge(("out", operand), ("in", value), INFINITE)
    for value in sources:
        edge("source", ("in", value), INFINITE)
    for value in sinks:
        edge(("out", value), "sink", INFINITE)
    while True:
        path = _shortest_path(graph)
        if path is None:
            break
        flow = min(graph[a][b] for a, b in path)
        for a, b in path:
            graph[a][b] -= flow
            graph[b][a] += flow
    reaching = _reaching_sink(graph)
    return {value for value in values if ("in", value) not in reaching and ("out", value) in reaching}


def _shortest_path(graph: Mapping[Any, Mapping[Any, int]]) -> list[tuple[Any, Any]] | None:
    before: dict[Any, Any] = {"source": None}
    queue = deque(["source"] if "source" in graph else [])
    while queue:
        node: Any = queue.popleft()
        for other, capacity in graph[node].items():
            if capacity > 0 and other not in before:
                before[other] = node
                if other == "sink":
                    path = []
                    while before[other] is not None:
                        path.append((before[other], other))
                        other = before[other]
                    return path
                queue.append(other)
    return None


def _reaching_sink(graph: Mapping[Any, Mapping[Any, int]]) -> set[Any]:
    """The nodes from which the sink can still be reached."""
    found, queue = {"sink"}, deque(["sink"] if "sink" in graph else [])
    while queue:
        node: Any = queue.popleft()
        for other in graph[node]:
            if graph[other][node] > 0 and other not in found:
                found.add(other)
                queue.append(other)
    return found

"""Runs passes: in order, timed, every stage kept, verified on demand, under a budget of rewrites that finds a wrong
one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import config
from ..errors import CompileError, VerifyError
from ..ir.dims import Dim, SymbolicDim
from ..ir.effects import check_effects_kept, check_observable_order, effect_sequence
from ..ir.graph import Graph, Node
from ..ir.printer import print_graph
from ..ir.source import Source
from ..ir.verify import verify as verify_graph
from ..ir.walks import symbols_in

__all__ = ["Bisection", "Evaluate", "Pass", "PassContext", "Remark", "Rewrite", "Stage", "bisect", "run_pipeline"]

Array = np.ndarray[Any, Any]
Evaluate = Callable[[Node, list[Array]], list[Array]]


@dataclass(frozen=True)
class Remark:
    """A structured reason for something the compiler did or did not do. `category` is a short fixed phrase to count and
    filter by."""

    category: str
    message: str
    sources: tuple[Source, ...] = ()
    pass_name: str = ""

    def __str__(self) -> str:
        places = ", ".join(source.location for source in self.sources)
        return f"{self.category}: {self.message}" + (f" ({places})" if places else "")


@dataclass(frozen=True)
class Rewrite:
    """One spent unit of fuel: which pass did what, where."""

    pass_name: str
    rule: str
    source: Source | None = None

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.rule or 'a rewrite'}" + (f" at {self.source}" if self.source else "")


@dataclass
class PassContext:
    """What passes share in one compilation.

    evaluate: runs one node on arrays with the compiler's own kernels, so that folded constants have the bits that
    running gives; None turns folding off. fuel: how many rewrites are still allowed; None: any number. fold_limit: most
    elements of a folded result. options: settings for single passes.
    """

    evaluate: Evaluate | None = None
    fuel: int | None = None
    fold_limit: int = field(default_factory=lambda: config.flags().fold_limit)
    remarks: list[Remark] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    pass_name: str = ""
    rewrites: int = 0
    last_rewrite: Rewrite | None = None
    #: the sub-graphs that the running pass has rewritten, so that what nodes share stays shared
    done: dict[tuple[Any, int], tuple[Graph, Graph]] = field(default_factory=dict, repr=False)
    #: the whole program under the running pass
    program: Graph | None = field(default=None, repr=False)
    _names: set[str] = field(default_factory=set, repr=False)

    def start(self, name: str, program: Graph) -> None:
        """Begin a pass over a program."""
        self.pass_name, self.program = name, program
        self.done.clear()
        self._names.clear()

    def new_symbol(self) -> str:
        """A name for a run-time extent that the program does not have."""
        if not self._names and self.program is not None:
            self._names |= symbols_in(self.program)
        number = 0
        while f"u{number}" in self._names:
            number += 1
        self._names.add(f"u{number}")
        return f"u{number}"

    def spend(self, rule: str = "", source: Source | None = None) -> bool:
        """Ask to make one rewrite. False: the budget is used up, leave the graph as it is from here on."""
        if self.fuel is not None:
            if self.fuel <= 0:
                return False
            self.fuel -= 1
        self.rewrites += 1
        self.last_rewrite = Rewrite(self.pass_name, rule, source)
        return True

    def remark(self, category: str, message: str, sources: Sequence[Source] = ()) -> None:
        """Note a reason that the user can ask for."""
        self.remarks.append(Remark(category, message, tuple(sources), self.pass_name))


Pass = Callable[[Graph, PassContext], Graph]


@dataclass(frozen=True)
class Stage:
    """The graph after one pass, and what the pass did."""

    name: str
    graph: Graph
    nodes_before: int
    nodes_after: int
    rewrites: int
    milliseconds: float

    def __str__(self) -> str:
        counts = f"{self.nodes_before} -> {self.nodes_after} nodes, {self.rewrites} rewrites"
        return f"{self.name}: {counts}, {self.milliseconds:.2f} ms"


def run_pipeline(
    graph: Graph, passes: Sequence[Pass], context: PassContext, verify: bool | None = None
) -> tuple[Graph, list[Stage]]:
    """Run the passes in order; returns the last graph and all stages, the first of them ("input") the given graph.

    verify: check the given graph, and after each pass the new one and the order of its effects; None asks the flag
    `check`. With the flag `dump_dir` each stage is written there as text. Raises CompileError naming the pass and the
    user's line of its last rewrite, with the cause chained; VerifyError if the given graph is not valid.
    """
    if verify is None:
        verify = config.flags().check
    if verify:
        verify_graph(graph)
    stages = [Stage("input", graph, len(graph.nodes), len(graph.nodes), 0, 0.0)]
    for transform in passes:
        stages.append(_run_pass(graph, transform, context, verify))
        graph = stages[-1].graph
    context.pass_name = ""
    if config.flags().dump_dir:
        _dump(stages, Path(config.flags().dump_dir))
    return graph, stages


def _run_pass(graph: Graph, transform: Pass, context: PassContext, verify: bool) -> Stage:
    name = pass_name(transform)
    context.start(name, graph)
    rewrites = context.rewrites
    start = time.perf_counter()
    try:
        result = transform(graph, context)
        milliseconds = (time.perf_counter() - start) * 1e3
        if verify:
            verify_graph(result)
            _check_signature(graph, result)
            check_effects_kept(effect_sequence(graph), effect_sequence(result))
            check_observable_order(graph, result)
    except Exception as error:
        last = f"\n  its last rewrite was {context.last_rewrite}" if context.rewrites > rewrites else ""
        message = f"the pass {name} failed on graph {graph.name!r}: {type(error).__name__}: {error}{last}"
        raise CompileError(message) from error
    return Stage(name, result, len(graph.nodes), len(result.nodes), context.rewrites - rewrites, milliseconds)


def pass_name(transform: Pass) -> str:
    """The name of a pass: that of its function, through functools.partial."""
    inner = getattr(transform, "func", transform)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _check_signature(before: Graph, after: Graph) -> None:
    """A pass may not change what callers see; but it may find out run-time extents of outputs."""
    old, new = [(v.name, v.type) for v in before.inputs], [(v.name, v.type) for v in after.inputs]
    if old != new:
        raise VerifyError(f"the inputs changed: {old} became {new}")
    results, now = [v.type for v in before.outputs], [v.type for v in after.outputs]
    known: dict[str, Dim] = {}  # what the run-time extents are that were found out
    for was, found in zip(results, now, strict=False):
        for dim, extent in zip(was.shape, found.shape, strict=False):
            if isinstance(dim, SymbolicDim) and dim.text not in before.symbols:
                known.setdefault(dim.text, extent)
    if [t.substitute(known) for t in results] != now:
        raise VerifyError(f"the outputs' types changed: {results} became {now}")


def _dump(stages: Sequence[Stage], directory: Path) -> None:
    """directory/<graph>.<number>/<stage>.gir: one directory a compilation."""
    directory.mkdir(parents=True, exist_ok=True)
    base = re.sub(r"\W+", "_", stages[0].graph.name).strip("_") or "graph"
    number = 0
    while True:
        try:
            place = directory / f"{base}.{number}"
            place.mkdir()
            break
        except FileExistsError:  # an earlier compilation, or another process at the same moment
            number += 1
    for k, stage in enumerate(stages):
        (place / f"{k:02d}-{stage.name}.gir").write_text(
            f"{print_graph(stage.graph, full_paths=True)}\n", encoding="utf-8"
        )


# Finding a wrong rewrite ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bisection:
    """The first rewrite with which a run goes wrong: with `fuel` - 1 rewrites it is right, with `fuel` it is wrong.
    rewrite is None, and fuel 0, if it is wrong without any rewrite, so that no pass is guilty."""

    fuel: int
    rewrite: Rewrite | None

    @property
    def pass_name(self) -> str:
        """The guilty pass; empty if none is."""
        return self.rewrite.pass_name if self.rewrite else ""

    def __str__(self) -> str:
        return f"rewrite {self.fuel} is wrong: {self.rewrite}" if self.rewrite else "wrong without any rewrite"


def bisect(
    graph: Graph,
    run: Callable[[Graph, PassContext], bool],
    fuel_max: int | None = None,
    context: PassContext | None = None,
) -> Bisection | None:
    """Find the smallest fuel with which a run goes wrong, and the rewrite that this unit of fuel pays for.

    run(graph, context) compiles the graph under the context and says whether the result is right (gives the same bits,
    say); a CompileError counts as wrong. fuel_max: the most rewrites to try; None: as many as an unlimited run makes.
    context: the settings of all runs (their evaluate function ...). Returns None if nothing goes wrong. Takes about
    log2(rewrites) runs.
    """
    model = context or PassContext()

    def attempt(fuel: int | None) -> tuple[bool, PassContext]:
        own = replace(model, fuel=fuel, remarks=[], rewrites=0, last_rewrite=None, pass_name="", done={}, _names=set())
        try:
            return run(graph, own), own
        except CompileError:
            return False, own

    right, used = attempt(fuel_max)
    if right:
        return None
    if not attempt(0)[0]:
        return Bisection(0, None)
    low, high, guilty = 0, used.rewrites, used.last_rewrite
    while high - low > 1:  # right with `low` rewrites, wrong with `high`
        middle = (low + high) // 2
        right, used = attempt(middle)
        if right:
            low = middle
        else:
            high, guilty = used.rewrites, used.last_rewrite
    return Bisection(high, guilty)

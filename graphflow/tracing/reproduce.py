"""Reproduction files: one text file with a traced graph, the values it ran on and what happened, to be run again elsewhere.

    graphflow reproduction 1
    --- about
    {"function": "step", "error": "DivisionByZeroError", "message": "...", "versions": {...}, ...}      (JSON)
    --- graph
    file "train.py" = "/home/ann/train.py"
    graph step(x: i32[3], y: i32[3]) -> (i32[3]) { ... }                                                (docs/ir.md)
    --- values
    graph values() -> (i32[3], i32[3]) { ... }            one constant for each input of the graph, variables too
    --- end 5f0c...                                       SHA-256 of all lines before

Values are text up to 16 elements and base64 beyond, each with its own bits. `graphflow run FILE` replays it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import config
from ..autodiff.record import stop as stop_recording
from ..compiler import compile_graph, runtime_error
from ..errors import GraphflowError, ParseError, ReproductionError
from ..ir.dims import evaluate
from ..ir.graph import Graph, Node
from ..ir.op import OPS
from ..ir.parser import parse
from ..ir.printer import print_graph
from ..ir.source import Source
from ..ir.types import TensorType
from ..tensor import Tensor
from .callbacks import calls_python, failures, run_callback
from .debug import locate_call, operands_of, shadows_of, trace_of
from .inspect import same_bits
from .numerics import is_checking_numerics, require_finite, with_checks
from .signature import bind_symbols
from .stepping import Hook, Stepper, UserFrame

__all__ = ["Outcome", "Reproduction", "read", "report_failure", "reproduce", "write_reproductions"]

HEADER = "graphflow reproduction 1"
_numbers = itertools.count()


@dataclass(frozen=True)
class Outcome:
    """What a run gave: results with the variables after it, or an error."""

    results: list[np.ndarray[Any, Any]]
    variables: list[np.ndarray[Any, Any]]
    error: BaseException | None = None

    def digest(self) -> str:
        """A fingerprint of the bits; all NaN are one."""
        found = hashlib.sha256()
        for array in (*self.results, *self.variables):
            plain = (
                np.where(np.isnan(array), np.array(np.nan, array.dtype), array) if array.dtype.kind == "f" else array
            )
            found.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(plain).tobytes())
        return found.hexdigest()

    def same(self, other: Outcome) -> bool:
        """Equal bits, or errors of one class."""
        if self.error is not None or other.error is not None:
            return type(self.error) is type(other.error)
        mine, theirs = (*self.results, *self.variables), (*other.results, *other.variables)
        return len(mine) == len(theirs) and all(map(same_bits, mine, theirs))


@dataclass(frozen=True)
class Reproduction:
    """A graph, the values of its inputs, and what is known about the call."""

    graph: Graph
    values: list[np.ndarray[Any, Any]]
    about: Mapping[str, Any]

    # Running ----------------------------------------------------------------------------------------------------------
    def require_replayable(self) -> None:
        """Raises ReproductionError for a graph that calls Python."""
        if calls_python(self.graph):
            raise _calls_python(self.graph.name)

    def extents(self) -> dict[str, int]:
        """The symbolic extents that the values fix."""
        types = [v.type for v in self.graph.inputs]
        found = bind_symbols(types, tuple(a.shape for a in self.values))
        if found is None:
            raise ReproductionError(f"{self.graph.name}: the values do not have the shapes that the graph declares")
        return found

    def run(self) -> Outcome:
        """Compile and run."""
        self.require_replayable()
        graph = with_checks(self.graph) if self.about.get("check_numerics") else self.graph
        try:
            executable = compile_graph(graph)
            extents = self.extents()
            copies = [a.copy() for a in self.values]
            held = {new: a for new, a in zip(executable.graph.inputs, copies, strict=True) if new.is_variable}
            binding = executable.program.bind(held, extents, run_callback)
            given = [a for v, a in zip(graph.inputs, copies, strict=True) if not v.is_variable]
            if getattr(binding, "dynamic_outputs", ()):  # extents that only the run decides
                status, outputs = binding.run(given)
            else:
                finals = executable.graph.outputs
                outputs = [
                    np.empty(tuple(evaluate(d, extents) for d in v.type.shape), v.type.dtype.numpy) for v in finals
                ]
                status = binding.call(*given, *outputs)
            if status:
                return Outcome([], [], self._error(binding, status))
        except GraphflowError as error:
            return Outcome([], [], error)
        return Outcome(outputs, [a for v, a in zip(graph.inputs, copies, strict=True) if v.is_variable])

    def _error(self, binding: Any, status: int) -> BaseException:
        import threading

        kept = failures.pop(threading.get_ident(), None)
        if kept is not None:
            return kept
        found = runtime_error(binding, status)
        precise = self.run_eagerly(silent=True).error
        own = precise is not None and not isinstance(precise, GraphflowError)  # what the user's code raises
        return precise if own or isinstance(precise, type(found)) else found  # type: ignore[return-value]

    def run_eagerly(
        self, hooks: Sequence[Hook] = (), stage: str = "traced", frames: bool = False, silent: bool = False
    ) -> Outcome:
        """Run the graph, or what a pass made of it, node by node. frames: at the user's lines, for debuggers."""
        self.require_replayable()
        graph = self.graph if stage == "traced" else self.stage(stage)
        operands = shadows_of(
            [
                _Held(Tensor(array.copy(), v.type.dtype)) if v.is_variable else Tensor(array.copy(), v.type.dtype)
                for v, array in zip(graph.inputs, self.values, strict=True)
            ]
        )
        checks: list[Hook] = []
        if self.about.get("check_numerics"):
            checks.append(lambda node, given, results: require_finite(node.op, given, results, node.source))
        stepper = Stepper(graph, _frame_of(graph) if frames else None, [*checks, *hooks], silent)
        try:
            with stop_recording():
                results = stepper.run(operands)
        except Exception as error:
            if not isinstance(error, GraphflowError) and error is not stepper.raised:
                raise
            return Outcome([], [], error)
        after = [o.value()._array for v, o in zip(graph.inputs, operands, strict=True) if v.is_variable]
        return Outcome([r._array for r in results], after)

    def stage(self, name: str) -> Graph:
        """The graph after a pass, or "final". Raises ReproductionError for a pass that there is not."""
        from ..compiler import optimise

        final, stages, _ = optimise(self.graph)
        if name == "final":
            return final
        found = [s.graph for s in stages if s.name == name]
        if not found:
            names = ", ".join(dict.fromkeys(s.name for s in stages))
            raise ReproductionError(f"no stage {name!r}; the stages are traced, {names}, final")
        return found[-1]

    def expects(self, error: BaseException) -> bool:
        """Is it the recorded error? What the user's own `raise` statement raised comes back as a failed assertion that names it."""
        recorded = self.about.get("error")
        return recorded is not None and (
            recorded == type(error).__name__ or str(error).startswith((f"raise: {recorded}:", f"raise: {recorded}\n"))
        )

    # Text -------------------------------------------------------------------------------------------------------------
    def __str__(self) -> str:
        values = _values_graph(self.graph, self.values)
        lines = [
            HEADER,
            "--- about",
            json.dumps(self.about, indent=1, sort_keys=True, default=str),
            "--- graph",
            print_graph(self.graph, full_paths=True),
            "--- values",
            print_graph(values, sources=False),
        ]
        text = "\n".join(lines) + "\n"
        return f"{text}--- end {hashlib.sha256(text.encode()).hexdigest()}\n"

    def write(self, path: str | os.PathLike[str]) -> str:
        """Write the file, whole or not at all; gives its path."""
        path = os.fspath(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        beside = f"{path}.{os.getpid()}.part"
        with open(beside, "w", encoding="utf-8", newline="\n") as file:
            file.write(str(self))
        os.replace(beside, path)
        return path

    def foreign(self) -> list[str]:
        """What differs between the writer's machine and this one, in words."""
        then, now = dict(self.about.get("versions", {})), versions()
        return [
            f"{name}: written with {then.get(name, 'none')}, here {now.get(name, 'none')}"
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        ]


def _calls_python(name: str) -> ReproductionError:
    problem = ReproductionError(
        f"{name}: calls Python functions (gf.py_function or gf.numpy_function), which the file does not hold; it cannot be "
        f"replayed without the program"
    )
    problem.hint = "read the graph and the values in the file; replay in the program itself with debug=True"
    return problem


class _Held:
    """A variable of a replay, before its shadow is made."""

    def __init__(self, tensor: Tensor) -> None:
        self._array, self.dtype = tensor._array, tensor.dtype

    def assign(self, tensor: Any) -> None:
        self._array = tensor._array


def _values_graph(graph: Graph, values: Sequence[np.ndarray[Any, Any]]) -> Graph:
    place = Source("reproduction", 1, 0)
    nodes = [
        Node(OPS["constant"], (), {"value": np.asarray(a)}, place, [TensorType(v.type.dtype, a.shape)])
        for v, a in zip(graph.inputs, values, strict=True)
    ]
    return Graph("values", (), tuple(nodes), tuple(n.output for n in nodes))


def _frame_of(graph: Graph) -> UserFrame:
    """The file that most of the graph's nodes are from."""
    files = [node.source.file for node in graph.nodes]
    file = max(set(files), key=files.count) if files else "<graph>"
    lines = [node.source.line for node in graph.nodes if node.source.file == file]
    return UserFrame(file, graph.name, min(lines, default=1))


def versions() -> dict[str, str]:
    """What decides about a result's bits and the compiler's doings."""
    from importlib.metadata import PackageNotFoundError, version

    import graphflow

    from ..runtime.cpu import llvm

    found = {"graphflow": graphflow.__version__, "numpy": np.__version__, "python": platform.python_version()}
    for name in ("llvmlite", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    found["llvm"] = ".".join(map(str, llvm._binding().llvm_version_info))
    found["cpu"] = f"{platform.machine()} {llvm.host_cpu()}"
    return found


def _features() -> str:
    """The processor's extensions that the compiler may use."""
    from ..runtime.cpu import llvm

    return " ".join(word[1:] for word in llvm.features().split(",") if word.startswith("+"))


# Reading --------------------------------------------------------------------------------------------------------------
def read(path: str | os.PathLike[str]) -> Reproduction:
    """The reproduction in a file. Raises ReproductionError for a file that is torn, changed or none, OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    name = os.path.basename(os.fspath(path))
    first, _, _ = text.partition("\n")
    if first != HEADER:
        if first.startswith("graphflow reproduction"):
            raise ReproductionError(f"{name}: {first!r} is of another form than this version reads, {HEADER!r}")
        raise ReproductionError(f"{name}: is no reproduction file: it must begin with {HEADER!r}, got {first[:40]!r}")
    body, mark, end = text.rpartition("--- end ")
    digest = hashlib.sha256(body.encode()).hexdigest()
    if not mark or end.strip() != digest:
        reason = "its end is missing" if not mark else "its checksum does not fit"
        problem = ReproductionError(f"{name}: the file is torn or was changed: {reason}")
        problem.hint = "copy it again, as a whole"
        raise problem
    try:
        about_text, rest = body.split("--- about\n", 1)[1].split("\n--- graph\n", 1)
        graph_text, values_text = rest.split("\n--- values\n", 1)
        about = json.loads(about_text)
        if about.get("calls_python"):
            raise _calls_python(about.get("function", name))
        graph = parse(graph_text, name)
        values = [n.attributes["value"] for n in parse(values_text, name).nodes]
    except ReproductionError:
        raise
    except (IndexError, ValueError, KeyError, ParseError) as error:
        raise ReproductionError(f"{name}: cannot be read: {error}") from error
    if len(values) != len(graph.inputs):
        raise ReproductionError(f"{name}: {len(values)} values for the {len(graph.inputs)} inputs of its graph")
    return Reproduction(graph, values, about)


# Writing --------------------------------------------------------------------------------------------------------------
def reproduction_of(
    concrete: Any, tensors: Sequence[Any], variables: Sequence[Any], error: BaseException | None
) -> Reproduction:
    """What a call of a concrete function is about to do, or has failed to do (a failed call has changed nothing)."""
    operands = operands_of(concrete, tensors, variables)
    about: dict[str, Any] = {
        "function": concrete.name,
        "written": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": versions(),
        "features": _features(),
        "flags": asdict(config.flags()),
        "check_numerics": is_checking_numerics(),
        "calls_python": calls_python(concrete.graph),
        "error": None,
    }
    if error is not None:
        about |= {"error": type(error).__name__, "message": str(error)}
    return Reproduction(concrete.graph, [np.array(o._array) for o in operands], about)


def reproduce(fn: Any, *args: Any, path: str | os.PathLike[str], **kwargs: Any) -> str:
    """Write a file with which this call of fn can be run again elsewhere: `graphflow run FILE`. The call is made on copies of
    the variables; its error, or a fingerprint of its results, is in the file. Gives the path.

    fn: a gf.function or a method of one. Errors while tracing are raised: nothing could be written.
    """
    function, args = locate_call(fn, args)
    concrete, arguments = trace_of(function, args, kwargs)
    found = reproduction_of(concrete, arguments.tensors, arguments.variables, None)
    about = dict(found.about)
    if not about["calls_python"]:
        outcome = found.run()
        if outcome.error is not None:
            about |= {"error": type(outcome.error).__name__, "message": str(outcome.error)}
        else:
            about["results"] = outcome.digest()
    return Reproduction(found.graph, found.values, about).write(path)


_directory: ContextVar[str] = ContextVar("graphflow_reproductions", default="")


@contextmanager
def write_reproductions(directory: str | os.PathLike[str]) -> Iterator[None]:
    """In this block, a call of a compiled function that fails (a run-time check, an error of the compiler, a verification) writes
    a reproduction file into the directory; the error's note says which. GRAPHFLOW_REPRODUCE=DIRECTORY does so everywhere."""
    token = _directory.set(os.fspath(directory))
    try:
        yield
    finally:
        _directory.reset(token)


def report_failure(error: BaseException, concrete: Any, tensors: Sequence[Any], variables: Sequence[Any]) -> None:
    """Write a reproduction of a failed call where that is wanted, and note its path on the error. Never raises: the error that
    is on its way matters more; what went wrong is noted instead."""
    directory = _directory.get() or config.flags().reproduce
    if not directory or hasattr(error, "reproduction"):
        return
    try:
        found = reproduction_of(concrete, tensors, variables, error)
        name = f"{_file_name(concrete.name)}-{os.getpid()}-{next(_numbers)}.graphflow"
        path = found.write(Path(directory) / name)
        error.reproduction = path  # type: ignore[attr-defined]
        error.add_note(f"  reproduction: {path} (graphflow run {path})")
    except (OSError, GraphflowError, TypeError, ValueError) as problem:
        error.add_note(f"  reproduction: could not be written to {directory}: {problem}")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in name)[:60] or "function"

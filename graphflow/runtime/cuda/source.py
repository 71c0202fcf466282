"""Loop nests as Python source of numba.cuda kernels.

    map             the kept axes flattened, a grid-stride loop: one element for each thread and turn
    row reduction   one block for each row; thread t is lane t of the reduction's tree, folded through shared memory
    full reduction  one block for each BLOCK positions writes its result to `partial`; a second kernel adds those up in
    order column          one thread for each column, which walks the other axis in order, in blocks

Lanes, blocks and the order of every fold are those that define a reduction (kernels/nest.py, docs/kernels.md), so a
reduction has the CPU's bits too. There are no float atomics: the only atomic is the minimum of failed checks on the
status word.

A kernel's parameters: the nest's buffers in order (flat arrays), `status` and `first_check` if it has checks, then its
symbolic extents. Generated code calls primitives (kernels/python_source.py) for all arithmetic on data; positions are
plain int64.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...dtypes import DType, int64
from ...ir.dims import Dim, SymbolicDim
from ...ir.source import Source
from ...kernels.nest import BLOCK, OTHER_BLOCK, Access, Nest, Reduction, Stage, Store, lanes_of
from ...kernels.python_source import constant, print_program
from ...kernels.scalar import Scalar, ScalarBuilder, walk

__all__ = ["CHECK_SHIFT", "Kernel", "NestKernels", "kernels_of", "print_kernels"]

CHECK_SHIFT = 44
"""A failed check is reported as number << CHECK_SHIFT | element, as on the CPU."""
LAST_POSITION = 2**63 - 1
THREADS_A_MAP_BLOCK = 128


@dataclass(frozen=True)
class Kernel:
    """One kernel: its source, and how it is launched. dims: the symbolic extents among its parameters, in order.
    partials: dtypes of the partial buffers of a full reduction, which come after the nest's own. elements: how many
    units its grid covers, of which each block covers `unit`; threads: of a block."""

    name: str
    source: str
    dims: tuple[SymbolicDim, ...]
    partials: tuple[DType, ...]
    has_checks: bool
    elements: Dim
    unit: int
    threads: int


@dataclass(frozen=True)
class NestKernels:
    """The kernels of one nest, to be launched in order: one, or two for a full reduction."""

    nest: Nest
    kernels: tuple[Kernel, ...]


def kernels_of(nest: Nest, name: str | None = None) -> NestKernels:
    """The kernels that compute a nest."""
    name = name or nest.name
    if _is_full_reduction(nest):
        return NestKernels(nest, (_Printer(nest, name).single(), _Printer(nest, f"{name}_finish").finish()))
    roles = {axis.role for axis in nest.axes}
    if nest.is_map:
        return NestKernels(nest, (_Printer(nest, name).map(),))
    if "trailing" in roles:
        return NestKernels(nest, (_Printer(nest, name).rows(),))
    return NestKernels(nest, (_Printer(nest, name).columns(),))


def print_kernels(nests: Sequence[Nest]) -> str:
    """The source of the kernels of some nests, for reading (`fn.kernels(form="python")`)."""
    return "\n\n".join(kernel.source for nest in nests for kernel in kernels_of(nest).kernels)


_PLAIN = re.compile(r"\W+")
_TYPES = "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 boolean nan inf"
_LOCALS = "cuda range min status first_check thread begin limit width block row column element"
_RESERVED = frozenset([*keyword.kwlist, *_TYPES.split(), *_LOCALS.split()])
#: names that the printer makes itself: axes, scalars, results, accumulators
_OWN = re.compile(r"^(i|v|u|w|r|c|lane|where|result|place|part|folded|shared|partial|at|p|q)\d+$")


@dataclass
class _Scope:
    """Names of scalars computed so far, seen by this block of code and those inside it."""

    names: dict[int, str]
    prefix: str


@dataclass
class _Printer:
    """Writes one kernel."""

    nest: Nest
    name: str
    lines: list[str] = field(default_factory=list)
    depth: int = 1

    def __post_init__(self) -> None:
        nest = self.nest
        self.buffers = [self._unique(b.name, k) for k, b in enumerate(nest.buffers)]
        self.dims: dict[SymbolicDim, str] = {}
        self.varying = _varying(nest)
        self.combines = 0
        self.has_checks = False
        self.reductions = [r for stage in nest.stages for r in stage.reductions]
        #: the buffer's first element for this block (scratch rows are one for each block)
        self.base: dict[int, str] = {}

    def _unique(self, name: str, number: int) -> str:
        text = _PLAIN.sub("_", name).strip("_") or "buffer"
        taken = [b.name for b in self.nest.buffers].count(name) > 1
        return f"{text}_{number}" if taken or text in _RESERVED or _OWN.match(text) or text[0].isdigit() else text

    # Text -------------------------------------------------------------------------------------------------------------
    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def open(self, text: str) -> None:
        self.line(text)
        self.depth += 1

    def close(self) -> None:
        self.depth -= 1

    def dim(self, dim: Dim) -> str:
        """An extent: a number, or the parameter that brings it."""
        if isinstance(dim, int):
            return str(dim)
        if dim not in self.dims:
            text = _PLAIN.sub(
                "_", dim.text.replace("*", "_times_").replace("+", "_plus_").replace("-", "_minus_")
            ).strip("_")
            text = f"d_{text}" if text[0].isdigit() else text
            taken = {*self.buffers, *self.dims.values(), *_RESERVED}
            self.dims[dim] = text if text not in taken and not _OWN.match(text) else f"{text}_{len(self.dims)}_"
        return self.dims[dim]

    def product(self, dims: Sequence[Dim]) -> str:
        shown = [self.dim(d) for d in dims if d != 1]
        return " * ".join(shown) or "1"

    def position(self, access: Access) -> str:
        """The element position of an access at the current indices."""
        parts = [f"i{axis}" if stride == 1 else f"i{axis} * {self.dim(stride)}"
                 for axis, stride in enumerate(access.strides) if stride != 0]  # fmt: skip
        if access.buffer in self.base:
            parts.insert(0, self.base[access.buffer])
        if access.offset != 0 or not parts:
            parts.append(self.dim(access.offset))
        return " + ".join(parts)

    def split(self, flat: str, axes: Sequence[int]) -> None:
        """Assign the indices of the axes from their row-major number."""
        extents = [self.nest.axes[a].extent for a in axes]
        for place, axis in reversed(list(enumerate(axes))):
            inner = [e for e in extents[place + 1 :] if e != 1]
            number = flat if not inner else f"{flat} // {_parenthesised(self.product(inner))}"
            self.line(f"i{axis} = {number}" if place == 0 else f"i{axis} = {number} % {self.dim(extents[place])}")

    # Scalars ----------------------------------------------------------------------------------------------------------
    def compute(self, roots: Sequence[Scalar], scope: _Scope) -> list[str]:
        """Print what the roots need; returns their names."""

        def leaf(scalar: Scalar) -> str:
            if scalar.operation == "load":
                return f"{self.buffers[scalar.data.buffer]}[{self.position(scalar.data)}]"
            if scalar.operation == "parameter":
                return self.dim(scalar.data)
            assert scalar.operation == "index", scalar.operation
            return f"i{scalar.data}"

        reports: dict[str, tuple[str, str]] = {}

        def compound(scalar: Scalar, operands: list[str]) -> str:
            if scalar.operation == "gather":
                return self.gather(scalar.data, operands[0])
            self.has_checks = True
            check = self.nest.checks[scalar.data]
            element = "0" if check.place is None else self.position(check.place)
            checked = f"{operands[0]}  # fine, or {check.kind} at {check.source.location}"
            report = f"cuda.atomic.min(status, 0, ((first_check + {scalar.data}) << {CHECK_SHIFT}) + {element})"
            reports[checked] = (f"if not {operands[1]}:", report)
            return checked

        lines, names = print_program(roots, leaf, compound, scope.prefix, scope.names)
        for text in lines:
            condition, report = reports.get(text.partition(" = ")[2], ("", ""))
            if condition:
                self.open(condition)
                self.line(report)
                self.close()
            self.line(text)
        return names

    def gather(self, buffer: int, position: str) -> str:
        """A load at a computed position. Positions are in range by construction, unless there is no element at all:
        then one element that the runtime allocates anyway is read and not used."""
        name = self.buffers[buffer]
        if all(isinstance(d, int) and d > 0 for d in self.nest.buffers[buffer].shape):
            return f"{name}[{position}]"
        return f"{name}[min({position}, {name}.size - 1)]"

    def inside(self, scope: _Scope, prefix: str) -> _Scope:
        """A scope for the body of a loop: sees what is outside; what it computes is not seen after it."""
        return _Scope(dict(scope.names), prefix)

    def store(self, stores: Sequence[Store], scope: _Scope) -> None:
        names = self.compute([s.value for s in stores], scope)
        for store, name in zip(stores, names, strict=True):
            self.line(f"{self.buffers[store.access.buffer]}[{self.position(store.access)}] = {name}")

    def fixed(self, roots: Sequence[Scalar], scope: _Scope) -> None:
        """Compute ahead of a loop what does not change in it. Constants need no place."""
        waiting: set[int] = set()
        ready = []
        for x in walk(list(roots)):
            if x.operation == "reduced" and id(x) not in scope.names or any(id(o) in waiting for o in x.operands):
                waiting.add(id(x))
            elif id(x) not in self.varying and x.operation not in ("const", "reduced"):
                ready.append(x)
        self.compute(ready, scope)

    # Reductions -------------------------------------------------------------------------------------------------------
    def combine(self, reduction: Reduction, into: Sequence[str], other: Sequence[str]) -> None:
        """into = combine(into, other), through the op's own scalar program; index reductions have (value, position)."""
        s = ScalarBuilder()
        kernel = reduction.op.kernel
        x, y = s.parameter(0, reduction.dtype), s.parameter(1, reduction.dtype)
        known = {id(x): into[0], id(y): other[0]}
        if not _is_index(reduction):
            roots = [kernel.combine(s, x, y)]  # type: ignore[attr-defined]
        else:
            p, q = s.parameter(2, int64), s.parameter(3, int64)
            known |= {id(p): into[1], id(q): other[1]}
            better = kernel.better  # type: ignore[attr-defined]
            replace = better(s, x, y) | (~better(s, y, x) & (q < p))
            roots = [s.select(replace, y, x), s.select(replace, q, p)]
        lines, names = print_program(roots, lambda scalar: known[id(scalar)], None, "c", known)
        if len(roots) == 1 and lines and lines[-1].startswith(f"{names[0]} = "):
            lines[-1] = f"{into[0]} = {lines[-1].split(' = ', 1)[1]}"
        else:
            lines += [f"{place} = {name}" for place, name in zip(into, names, strict=True) if place != name]
        for text in lines:
            self.line(text)

    def parts(self, reduction: Reduction) -> list[tuple[DType, str]]:
        """(dtype, start as source) of what a reduction carries: the value, and the position of an index reduction."""
        found = [(reduction.dtype, constant(reduction.start, reduction.dtype))]  # type: ignore[arg-type]
        return [*found, (int64, constant(LAST_POSITION, int64))] if _is_index(reduction) else found

    def names(self, reduction: Reduction, value: str, where: str) -> list[str]:
        k = self.reductions.index(reduction)
        return [f"{value}{k}", f"{where}{k}"][: len(self.parts(reduction))]

    def start(self, reduction: Reduction, names: Sequence[str]) -> None:
        for name, (_, start) in zip(names, self.parts(reduction), strict=True):
            self.line(f"{name} = {start}")

    def finished(self, reduction: Reduction, scope: _Scope, names: Sequence[str]) -> None:
        """The reduction's result is known from here on."""
        result, name = reduction.result, names[-1]
        if _is_index(reduction) and result.dtype is not int64:
            self.line(f"r{self.reductions.index(reduction)} = convert_i64_{result.dtype.short}({name})")
            name = f"r{self.reductions.index(reduction)}"
        scope.names[id(result)] = name

    # Kernels ----------------------------------------------------------------------------------------------------------
    def map(self) -> Kernel:
        nest, kept = self.nest, self.nest.kept
        total = [nest.axes[a].extent for a in kept]
        flat = f"i{kept[0]}" if len(kept) == 1 else "element"
        self.open(f"for {flat} in range(cuda.grid(1), {self.product(total)}, cuda.gridsize(1)):")
        if len(kept) > 1:
            self.split(flat, kept)
        scope = _Scope({}, "v")
        stores = [s for stage in nest.stages for s in stage.stores] + nest.row_stores
        self.store(stores, scope)
        self.compute(nest.effects, scope)
        self.close()
        return self.kernel(_product(total), THREADS_A_MAP_BLOCK, THREADS_A_MAP_BLOCK)

    def columns(self) -> Kernel:
        nest, kept = self.nest, self.nest.kept
        total = [nest.axes[a].extent for a in kept]
        other = next(k for k, axis in enumerate(nest.axes) if axis.role == "other")
        stage = nest.stages[0]
        flat = f"i{kept[0]}" if len(kept) == 1 else "column"
        self.open(f"for {flat} in range(cuda.grid(1), {self.product(total)}, cuda.gridsize(1)):")
        if len(kept) > 1:
            self.split(flat, kept)
        scope = _Scope({}, "u")
        self.fixed(_roots(stage), scope)
        extent = self.dim(nest.axes[other].extent)
        for reduction in stage.reductions:
            self.start(reduction, self.names(reduction, "result", "place"))
        self.open(f"for block in range(0, {extent}, {OTHER_BLOCK}):")
        for reduction in stage.reductions:
            self.start(reduction, self.names(reduction, "part", "at"))
        self.open(f"for i{other} in range(block, min(block + {OTHER_BLOCK}, {extent})):")
        inner = self.inside(scope, "v")
        self.store(stage.stores, inner)
        for reduction, name in zip(
            stage.reductions, self.compute([r.operand for r in stage.reductions], inner), strict=True
        ):
            self.combine(reduction, self.names(reduction, "part", "at"), [name, f"i{other}"])
        self.compute([x for x in nest.effects if id(x) in self.varying], inner)
        self.close()
        for reduction in stage.reductions:
            self.combine(reduction, self.names(reduction, "result", "place"), self.names(reduction, "part", "at"))
        self.close()
        for reduction in stage.reductions:
            self.finished(reduction, scope, self.names(reduction, "result", "place"))
        rest = [x for x in nest.effects if id(x) not in self.varying]
        self.store(nest.row_stores, scope)
        self.compute(rest, scope)
        self.close()
        return self.kernel(_product(total), THREADS_A_MAP_BLOCK, THREADS_A_MAP_BLOCK)

    def rows(self) -> Kernel:
        nest, kept = self.nest, self.nest.kept
        total = [nest.axes[a].extent for a in kept]
        threads = max([lanes_of(r.dtype) for r in self.reductions], default=64)
        self.line("thread = cuda.threadIdx.x")
        self.shared(self.reductions)
        first = len(nest.inputs) + len(nest.outputs)
        for k, buffer in enumerate(nest.scratch):
            self.line(
                f"p{k} = cuda.blockIdx.x * {self.dim(buffer.shape[0])}  # this block's row of {self.buffers[first + k]}"
            )
            self.base[first + k] = f"p{k}"
        flat = f"i{kept[0]}" if len(kept) == 1 else "row"
        self.open(f"for {flat} in range(cuda.blockIdx.x, {self.product(total)}, cuda.gridDim.x):")
        if len(kept) > 1:
            self.split(flat, kept)
        scope = _Scope({}, "u")
        for number, stage in enumerate(nest.stages):
            self.fixed(_roots(stage), scope)
            effects = [x for x in nest.effects if id(x) in self.varying] if number == 0 else []
            self.stage(stage, scope, effects)
            if not stage.reductions and stage.stores:
                self.line(
                    "cuda.syncthreads()"
                )  # the next stage, or row, may use what other threads stored or have yet to read
        rest = [x for x in nest.effects if id(x) not in self.varying]
        names = self.compute([s.value for s in nest.row_stores], scope)
        self.compute(rest, scope)
        if names:
            self.open("if thread == 0:")
            for store, name in zip(nest.row_stores, names, strict=True):
                self.line(f"{self.buffers[store.access.buffer]}[{self.position(store.access)}] = {name}")
            self.close()
        self.close()
        return self.kernel(_product(total), 1, threads)

    def stage(self, stage: Stage, scope: _Scope, effects: Sequence[Scalar]) -> None:
        """One walk over the reduced axes of a row."""
        nest = self.nest
        other = next((k for k, axis in enumerate(nest.axes) if axis.role == "other"), None)
        if other is None:
            self.walk_lanes(stage, scope, effects, "result", "place")
            for reduction in stage.reductions:
                self.finished(reduction, scope, self.names(reduction, "result", "place"))
            return
        extent = self.dim(nest.axes[other].extent)
        for reduction in stage.reductions:
            self.start(reduction, self.names(reduction, "result", "place"))
        self.open(f"for block in range(0, {extent}, {OTHER_BLOCK}):")
        for reduction in stage.reductions:
            self.start(reduction, self.names(reduction, "part", "at"))
        self.open(f"for i{other} in range(block, min(block + {OTHER_BLOCK}, {extent})):")
        self.walk_lanes(stage, self.inside(scope, scope.prefix), effects, "line", "at_line")
        for reduction in stage.reductions:
            self.combine(reduction, self.names(reduction, "part", "at"), self.names(reduction, "line", "at_line"))
        self.close()
        for reduction in stage.reductions:
            self.combine(reduction, self.names(reduction, "result", "place"), self.names(reduction, "part", "at"))
        self.close()
        for reduction in stage.reductions:
            self.finished(reduction, scope, self.names(reduction, "result", "place"))

    def walk_lanes(self, stage: Stage, scope: _Scope, effects: Sequence[Scalar], value: str, where: str) -> None:
        """The trailing axis once: blocks of BLOCK positions, lanes, a fold for each block."""
        axis = next(k for k, a in enumerate(self.nest.axes) if a.role == "trailing")
        extent = self.dim(self.nest.axes[axis].extent)
        if not stage.reductions:
            self.open(f"for i{axis} in range(thread, {extent}, cuda.blockDim.x):")
            inner = self.inside(scope, "v")
            self.store(stage.stores, inner)
            self.compute(effects, inner)
            self.close()
            return
        for reduction in stage.reductions:
            self.start(reduction, self.names(reduction, value, where))
        self.open(f"for begin in range(0, {extent}, {BLOCK}):")
        self.line(f"limit = min(begin + {BLOCK}, {extent})")
        self.block(stage, scope, effects, axis)
        for reduction in stage.reductions:
            self.combine(reduction, self.names(reduction, value, where), self.folded(reduction))
        self.line("cuda.syncthreads()  # all have read the fold's result")
        self.close()

    def block(self, stage: Stage, scope: _Scope, effects: Sequence[Scalar], axis: int) -> None:
        """Accumulate positions [begin, limit) of the trailing axis into the lanes and fold them."""
        widths = sorted({lanes_of(r.dtype) for r in stage.reductions}, reverse=True)
        for number, lanes in enumerate(widths):
            group = [r for r in stage.reductions if lanes_of(r.dtype) == lanes]
            for reduction in group:
                self.start(reduction, self.names(reduction, "lane", "where"))
            narrow = lanes < max(lanes_of(r.dtype) for r in self.reductions)
            if narrow:
                self.open(f"if thread < {lanes}:")
            self.open(f"for i{axis} in range(begin + thread, limit, {lanes}):")
            inner = self.inside(scope, "v")
            if number == 0:
                self.store(stage.stores, inner)
                self.compute(effects, inner)
            operands = self.compute([r.operand for r in group], inner)
            for reduction, name in zip(group, operands, strict=True):
                self.combine(reduction, self.names(reduction, "lane", "where"), [name, f"i{axis}"])
            self.close()
            for reduction in group:
                k = self.reductions.index(reduction)
                for part, name in enumerate(self.names(reduction, "lane", "where")):
                    self.line(f"shared{k}{'_where' if part else ''}[thread] = {name}")
            if narrow:
                self.close()
        self.line("cuda.syncthreads()")
        for lanes in widths:
            self.line(f"width = {lanes // 2}")
            self.open("while width > 0:")
            self.open("if thread < width:")
            for reduction in (r for r in stage.reductions if lanes_of(r.dtype) == lanes):
                k = self.reductions.index(reduction)
                arrays = [f"shared{k}", f"shared{k}_where"][: len(self.parts(reduction))]
                held = self.names(reduction, "lane", "where")
                for name, array in zip(held, arrays, strict=True):
                    self.line(f"{name} = {array}[thread]")
                self.combine(reduction, held, [f"{array}[thread + width]" for array in arrays])
                for name, array in zip(held, arrays, strict=True):
                    self.line(f"{array}[thread] = {name}")
            self.close()
            self.line("cuda.syncthreads()")
            self.line("width //= 2")
            self.close()

    def shared(self, reductions: Sequence[Reduction]) -> None:
        for reduction in reductions:
            k = self.reductions.index(reduction)
            for part, (dtype, _) in enumerate(self.parts(reduction)):
                kind = "boolean" if dtype.is_bool else dtype.name
                self.line(
                    f"shared{k}{'_where' if part else ''} = cuda.shared.array({lanes_of(reduction.dtype)}, {kind})"
                )

    def folded(self, reduction: Reduction) -> list[str]:
        k = self.reductions.index(reduction)
        return [f"shared{k}[0]", f"shared{k}_where[0]"][: len(self.parts(reduction))]

    def single(self) -> Kernel:
        nest, stage = self.nest, self.nest.stages[0]
        extent = self.dim(nest.axes[0].extent)
        threads = max(lanes_of(r.dtype) for r in self.reductions)
        self.line("thread = cuda.threadIdx.x")
        self.shared(self.reductions)
        scope = _Scope({}, "u")
        self.fixed(_roots(stage), scope)
        self.open(f"for block in range(cuda.blockIdx.x, ({extent} + {BLOCK - 1}) // {BLOCK}, cuda.gridDim.x):")
        self.line(f"begin = block * {BLOCK}")
        self.line(f"limit = min(begin + {BLOCK}, {extent})")
        self.block(stage, scope, [x for x in nest.effects if id(x) in self.varying], 0)
        self.open("if thread == 0:")
        for name, value in zip(self.partial_names(), [v for r in self.reductions for v in self.folded(r)], strict=True):
            self.line(f"{name}[block] = {value}")
        self.close()
        self.line("cuda.syncthreads()  # the fold's result was read")
        self.close()
        return self.kernel(nest.axes[0].extent, BLOCK, threads, self.partial_types())

    def finish(self) -> Kernel:
        nest, stage = self.nest, self.nest.stages[0]
        extent = self.dim(nest.axes[0].extent)
        self.open("if cuda.grid(1) == 0:")
        for reduction in stage.reductions:
            self.start(reduction, self.names(reduction, "result", "place"))
        self.open(f"for block in range(({extent} + {BLOCK - 1}) // {BLOCK}):")
        names = self.partial_names()
        for reduction in stage.reductions:
            own = [f"{names.pop(0)}[block]" for _ in self.parts(reduction)]
            self.combine(reduction, self.names(reduction, "result", "place"), own)
        self.close()
        scope = _Scope({}, "u")
        for reduction in stage.reductions:
            self.finished(reduction, scope, self.names(reduction, "result", "place"))
        self.store(nest.row_stores, scope)
        self.compute([x for x in nest.effects if id(x) not in self.varying], scope)
        self.close()
        return self.kernel(1, 1, 1, self.partial_types())

    def partial_names(self) -> list[str]:
        names = []
        for k, reduction in enumerate(self.reductions):
            names += [f"partial{k}", f"partial{k}_where"][: len(self.parts(reduction))]
        return names

    def partial_types(self) -> tuple[DType, ...]:
        return tuple(dtype for r in self.reductions for dtype, _ in self.parts(r))

    def kernel(self, elements: Dim, unit: int, threads: int, partials: tuple[DType, ...] = ()) -> Kernel:
        """The finished kernel: the head, the user's lines, the body."""
        parameters = [*self.buffers, *(self.partial_names() if partials else ())]
        if self.has_checks:
            parameters += ["status", "first_check"]
        parameters += self.dims.values()
        head = [f"@cuda.jit\ndef {self.name}({', '.join(parameters)}):"]
        head += [f"    # {text}" for text in _places(self.nest.source)]
        head += [f"    # {name} = {dim}" for dim, name in self.dims.items() if name != dim.text]
        source = "\n".join([*head, *self.lines, ""])
        return Kernel(self.name, source, tuple(self.dims), partials, self.has_checks, elements, unit, threads)


def _places(source: Source) -> list[str]:
    """The user's lines that a kernel computes."""
    return list(dict.fromkeys(" ".join(str(place).split()) for place in source.all()))


def _parenthesised(text: str) -> str:
    return f"({text})" if " " in text else text


def _product(dims: Sequence[Dim]) -> Dim:
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def _roots(stage: Stage) -> list[Scalar]:
    return [s.value for s in stage.stores] + [r.operand for r in stage.reductions]


def _varying(nest: Nest) -> set[int]:
    """Scalars that must be computed in the innermost loop: they differ along the reduced axes, read back what the nest
    wrote, or may fail (a check of an element must not run when there is no element)."""
    reduced = {k for k, axis in enumerate(nest.axes) if axis.role != "kept"}
    found: set[int] = set()
    after: set[int] = set()
    for x in walk(nest.roots()):
        varies = any(id(o) in found for o in x.operands)
        if x.operation == "reduced" or any(id(o) in after for o in x.operands):
            after.add(id(x))
        if x.operation == "load":
            varies = any(x.data.strides[a] != 0 for a in reduced) or x.data.buffer >= len(nest.inputs)
        elif x.operation == "index":
            varies = x.data in reduced
        elif x.operation in ("check", "gather"):
            varies = varies or id(x) not in after
        if varies:
            found.add(id(x))
    return found


def _is_full_reduction(nest: Nest) -> bool:
    """One stage that reduces everything to scalars: blocks of the whole grid take part."""
    return (
        not nest.kept
        and [a.role for a in nest.axes] == ["trailing"]
        and len(nest.stages) == 1
        and bool(nest.stages[0].reductions)
    )


def _is_index(reduction: Reduction) -> bool:
    """Does the reduction carry positions (argmax)?"""
    return getattr(reduction.op.kernel, "better", None) is not None

"""Steps of a program that are written by hand rather than lowered from nests: matrix products, concatenation, scatter-add, assertions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...dtypes import DType
from ...ir.dims import Dim, product
from ...ir.graph import Graph, Node, Value
from ...ir.region import dense_strides
from ...kernels.nest import Check, Nest
from . import llvm
from .counters import Counters
from .emit import Writer, memory_type
from .nests import Slots

__all__ = ["INDEX_BITS", "RowCheck", "StepEmitter"]


INDEX_BITS = 44
"""The element field of a status: a row's index, as a signed number of so many bits."""


@dataclass(frozen=True)
class RowCheck(Check):
    """The check of a row's index: the status carries the index in place of an element. extent: how many rows there are."""

    extent: Dim = 0

    def index(self, element: int) -> int:
        """The index that a status word's element stands for."""
        return element - (1 << INDEX_BITS) if element >> (INDEX_BITS - 1) else element


class StepEmitter:
    """What steps share: the table's slots, the body of `program`, the kernels' functions, the checks; and the hand-written steps."""

    def __init__(self, graph: Graph, plan: Any, profile: bool) -> None:
        self.graph, self.plan, self.profile = graph, plan, profile
        self.counters = Counters() if profile else None
        self.slots = Slots()
        self.writer = Writer()
        self.functions: list[str] = []
        self.declarations: set[str] = set()
        self.imports: dict[str, int] = {}
        self.nests: list[Nest] = []
        self.checks: list[Check] = []
        self.scratch: list[tuple[Any, Dim]] = []
        self.callbacks: dict[int, Node] = {}
        self.vector_bytes = llvm.vector_bits() // 8
        self.kernels = 0
        self._arguments = ""

    def key(self, value: Value) -> tuple[str, int]:
        place = self.plan.place(value)
        return place.kind, place.index

    def slot(self, value: Value) -> int:
        return self.slots.buffer(self.key(value))

    def pointer(self, key: Any) -> str:
        writer = self.writer
        address = writer.let(f"getelementptr i64, ptr %table, i64 {self.slots.buffer(key)}")
        return writer.let(f"load ptr, ptr {address}, align 8")

    def dim(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        address = self.writer.let(f"getelementptr i64, ptr %table, i64 {self.slots.dim(dim)}")
        return self.writer.let(f"load i64, ptr {address}, align 8")

    def _matmul(self, node: Node) -> None:
        """C[b] = A[b] @ B[b] through the GEMM library; batch axes that broadcast unevenly become a loop of calls."""
        from .gemm import FIELDS, gemm_part

        a, b, c = node.inputs[0], node.inputs[1], node.output
        short = c.type.dtype.short
        writer = self.writer
        m, n = c.type.shape[-2:]
        batch_shape = c.type.shape[:-2]
        swap_a, swap_b = node.attributes["transpose_a"], node.attributes["transpose_b"]
        k = a.type.shape[-2] if swap_a else a.type.shape[-1]
        a_strides, b_strides = _batch_strides(a, batch_shape), _batch_strides(b, batch_shape)
        merged = all(_merged(batch_shape, s) for s in (a_strides, b_strides))
        arguments = self._argument_record(len(FIELDS))
        pa, pb, pc = self.pointer(self.key(a)), self.pointer(self.key(b)), self.pointer(self.key(c))
        size_a, size_b = a.type.shape[-1], b.type.shape[-1]
        fixed: dict[str, Dim] = {
            "m": m, "n": n, "k": k, "c_row": n, "c_batch": m * n,
            "a_row": 1 if swap_a else size_a, "a_column": size_a if swap_a else 1,
            "b_row": 1 if swap_b else size_b, "b_column": size_b if swap_b else 1,
            "batch": product(batch_shape) if merged else 1,
            "a_batch": (a_strides[-1] if batch_shape else 0) if merged else 0,
            "b_batch": (b_strides[-1] if batch_shape else 0) if merged else 0,
        }  # fmt: skip
        known = {field_name: extent if isinstance(extent, int) else None for field_name, extent in fixed.items()}
        name = f"graphflow_gemm_{short}_{gemm_part(short, known)}"
        self.imports[name] = 0
        self.declarations.add(f"declare void @{name}(ptr)")
        for position, field_name in enumerate(FIELDS):
            if field_name in fixed:
                self._field(arguments, position, f"i64 {self.dim(fixed[field_name])}")
        if merged:
            for position, pointer in ((0, pa), (1, pb), (2, pc)):
                self._field(arguments, position, f"ptr {pointer}")
            writer.line(f"call void @{name}(ptr {arguments})")
        else:
            operands = [(pa, a_strides), (pb, b_strides), (pc, _batch_strides(c, batch_shape))]
            self._batch_loop(name, arguments, batch_shape, operands, c.type.dtype)
        self.kernels += 1

    def _argument_record(self, fields: int) -> str:
        """Memory for the arguments of a matrix product: one record for all of them."""
        if not self._arguments:
            self._arguments = self.writer.let(f"alloca [{fields} x i64], align 64")
        return self._arguments

    def _field(self, arguments: str, position: int, value: str) -> None:
        address = self.writer.let(f"getelementptr i64, ptr {arguments}, i64 {position}")
        self.writer.line(f"store {value}, ptr {address}, align 8")

    @contextmanager
    def _repeat(self, count: str, hint: str) -> Iterator[str]:
        """Emit the block as the body of a loop over 0 .. count - 1; gives the index."""
        writer = self.writer
        loop, after, index, following = writer.label(hint), writer.label("done"), writer.name("i"), writer.name("next")
        some = writer.let(f"icmp sgt i64 {count}, 0")
        before = writer.block
        writer.line(f"br i1 {some}, label %{loop}, label %{after}")
        writer.open(loop)
        writer.line(f"{index} = phi i64 [0, %{before}], [{following}, %{loop}]")
        yield index
        writer.line(f"{following} = add i64 {index}, 1")
        more = writer.let(f"icmp slt i64 {following}, {count}")
        writer.line(f"br i1 {more}, label %{loop}, label %{after}")
        writer.open(after)

    def _batch_loop(
        self, name: str, arguments: str, shape: Sequence[Dim], operands: Sequence[tuple[str, list[Dim]]], dtype: DType
    ) -> None:
        writer = self.writer
        total = self.dim(product(shape))
        extents = [self.dim(d) for d in shape]
        strides = [[self.dim(s) for s in own] for _, own in operands]
        with self._repeat(total, "batch") as index:
            rest, places = index, []
            for extent in reversed(extents):
                places.append(writer.let(f"srem i64 {rest}, {extent}"))
                rest = writer.let(f"sdiv i64 {rest}, {extent}")
            places.reverse()
            for position, ((pointer, _), own) in enumerate(zip(operands, strides, strict=True)):
                offset = "0"
                for place, stride in zip(places, own, strict=True):
                    step = writer.let(f"mul i64 {place}, {stride}")
                    offset = writer.let(f"add i64 {offset}, {step}")
                moved = writer.let(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {offset}")
                self._field(arguments, position, f"ptr {moved}")
            writer.line(f"call void @{name}(ptr {arguments})")

    def _concat(self, node: Node) -> None:
        """Copy each operand's stretches into the result: one memcpy for each position of the axes before."""
        writer, axis, out = self.writer, node.attributes["axis"], node.output
        size = out.type.dtype.itemsize
        outer = self.dim(product(out.type.shape[:axis]))
        whole = self.dim(product(out.type.shape[axis:]) * size)
        target, start = self.pointer(self.key(out)), "0"
        for operand in node.inputs:
            stretch = self.dim(product(operand.type.shape[axis:]) * size)
            source = self.pointer(self.key(operand))
            with self._repeat(outer, "stretch") as index:
                from_offset = writer.let(f"mul i64 {index}, {stretch}")
                row = writer.let(f"mul i64 {index}, {whole}")
                to_offset = writer.let(f"add i64 {row}, {start}")
                to = writer.let(f"getelementptr i8, ptr {target}, i64 {to_offset}")
                source_at = writer.let(f"getelementptr i8, ptr {source}, i64 {from_offset}")
                writer.intrinsic(
                    "llvm.memcpy",
                    "void",
                    [("ptr", to), ("ptr", source_at), ("i64", stretch), ("i1", "false")],
                    "p0.p0.i64",
                )
            start = writer.let(f"add i64 {start}, {stretch}")
        self.kernels += 1

    def _scatter_add(self, node: Node) -> None:
        """out = 0; for j in order: out[indices[j], :] += updates[j, :]. In index order on one thread: deterministic. An index outside
        the rows is reported and its update skipped."""
        indices, updates, out = node.inputs[0], node.inputs[1], node.output
        dtype, index_type = out.type.dtype, indices.type.dtype
        width = product(out.type.shape[1:])
        name = f"kernel_scatter{len(self.functions)}"
        kind, index_kind = memory_type(dtype), memory_type(index_type)
        add = "fadd" if dtype.is_floating else "add"
        parameters = "ptr noalias %table, ptr noalias %out, ptr noalias %indices, ptr noalias %updates, i64 %count, i64 %width, i64 %rows"
        self.functions.append(f"""define internal void @{name}({parameters}) #0 {{
entry:
  %cells = mul i64 %rows, %width
  %bytes = mul i64 %cells, {dtype.itemsize}
  call void @llvm.memset.p0.i64(ptr %out, i8 0, i64 %bytes, i1 false)
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %each, label %done
each:
  %j = phi i64 [0, %entry], [%j2, %next]
  %ip = getelementptr {index_kind}, ptr %indices, i64 %j
  %ir = load {index_kind}, ptr %ip
  %i = {"sext " + index_kind + " %ir to i64" if index_kind != "i64" else "add i64 %ir, 0"}
  %inside = icmp ult i64 %i, %rows
  %wide = icmp sgt i64 %width, 0
  %to = mul i64 %i, %width
  %from = mul i64 %j, %width
  br i1 %inside, label %begin, label %outside
outside:
  %word = or i64 %j, {len(self.checks) << 44}
  %earlier = atomicrmw umin ptr %table, i64 %word monotonic
  br label %next
begin:
  br i1 %wide, label %row, label %next
row:
  %c = phi i64 [0, %begin], [%c2, %row]
  %tc = add i64 %to, %c
  %fc = add i64 %from, %c
  %tp = getelementptr {kind}, ptr %out, i64 %tc
  %fp = getelementptr {kind}, ptr %updates, i64 %fc
  %old = load {kind}, ptr %tp
  %new = load {kind}, ptr %fp
  %sum = {add} {kind} %old, %new
  store {kind} %sum, ptr %tp
  %c2 = add i64 %c, 1
  %more = icmp slt i64 %c2, %width
  br i1 %more, label %row, label %next
next:
  %j2 = add i64 %j, 1
  %again = icmp slt i64 %j2, %count
  br i1 %again, label %each, label %done
done:
  ret void
}}
""")  # fmt: skip
        self.declarations.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        self.checks.append(Check("index_out_of_range", node.op.name, node.source, "", indices.type.shape))
        self._can_fail = True
        arguments = ["ptr %table", *(f"ptr {self.pointer(self.key(v))}" for v in (out, indices, updates))]
        arguments += [f"i64 {self.dim(d)}" for d in (product(indices.type.shape), width, out.type.shape[0])]
        self.writer.line(f"call void @{name}({', '.join(arguments)})")
        self.kernels += 1

    def _assert(self, node: Node) -> None:
        """Report the first element of the condition that is false."""
        condition = node.inputs[0]
        name = f"kernel_assert{len(self.functions)}"
        self.functions.append(f"""define internal void @{name}(ptr %table, ptr %condition, i64 %count) #0 {{
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %each, label %done
each:
  %j = phi i64 [0, %entry], [%j2, %next]
  %at = getelementptr i8, ptr %condition, i64 %j
  %value = load i8, ptr %at
  %holds = icmp ne i8 %value, 0
  br i1 %holds, label %next, label %failed
failed:
  %word = or i64 %j, {len(self.checks) << 44}
  %old = atomicrmw umin ptr %table, i64 %word monotonic
  ret void
next:
  %j2 = add i64 %j, 1
  %again = icmp slt i64 %j2, %count
  br i1 %again, label %each, label %done
done:
  ret void
}}
""")
        self.checks.append(self._assert_check(node))
        count = self.dim(product(condition.type.shape))
        self.writer.line(f"call void @{name}(ptr %table, ptr {self.pointer(self.key(condition))}, i64 {count})")
        self._can_fail = True

    def _assert_check(self, node: Node) -> Check:
        """What a failed assertion reports."""
        name, message = node.attributes["name"] or "Assert", node.attributes["message"]
        return Check("assertion", name, node.source, message, node.inputs[0].type.shape)


def _batch_strides(value: Value, batch: Sequence[Dim]) -> list[Dim]:
    """Strides of a matmul operand along the result's batch axes; 0 where it broadcasts."""
    own = value.type.shape[:-2]
    strides = dense_strides(value.type.shape)[:-2]
    missing = len(batch) - len(own)
    return [0] * missing + [0 if d == 1 else s for d, s in zip(own, strides, strict=True)]


def _merged(shape: Sequence[Dim], strides: Sequence[Dim]) -> bool:
    """Can the batch axes be walked with one stride?"""
    return all(strides[k] == strides[k + 1] * shape[k + 1] for k in range(len(shape) - 1))

"""One row of an array replaced, added to or appended: in place where the plan gives the result the array's buffer."""

from __future__ import annotations

from ...dtypes import DType, float32
from ...ir.dims import product
from ...ir.graph import Node
from ...kernels.scalar import ScalarBuilder
from .emit import Emitter, Writer, memory_type
from .emit_scalars import load_scalar, store_scalar
from .emit_values import ValueEmitter
from .steps import INDEX_BITS, RowCheck

__all__ = ["RowEmitter"]


class RowEmitter(ValueEmitter):
    """The steps `update_row`, `scatter_add_into` and `append_row`."""

    def _row(self, node: Node) -> None:
        """One row of node's result; the others are the array's."""
        array, row, out = node.inputs[0], node.inputs[-1], node.output
        name, dtype = node.op.name, out.type.dtype
        writer, plan = self.writer, self.plan
        position = self._appended(node) if name == "append_row" else self._checked_row(node)
        if out.type.elements == 1:  # the only row of one element
            value = self.register(row)
            if name == "scatter_add_into":
                value = _sum(writer, dtype, self.register(array), value)
            self.set_register(out, value)
            return
        home = plan.home(out)
        if name != "append_row" and home is not plan.home(array):
            self.copy_into(home, array)
        width = product(out.type.shape[1:])
        base = self.address(out)
        if width == 1:
            place = writer.let(f"getelementptr {memory_type(dtype)}, ptr {base}, i64 {position}")
            value = self.register(row)
            if name == "scatter_add_into":
                old = load_scalar(writer, dtype, place)
                value = _sum(writer, dtype, old, value)
            store_scalar(writer, dtype, value, place)
            return
        size = self.dim(width)
        offset = writer.let(f"mul i64 {position}, {size}")
        place = writer.let(f"getelementptr {memory_type(dtype)}, ptr {base}, i64 {offset}")
        source = self.address(row)
        if name == "scatter_add_into":
            writer.line(f"call void @{self._row_addition(dtype)}(ptr {place}, ptr {source}, i64 {size})")
        else:
            arguments = [("ptr", place), ("ptr", source), ("i64", self.bytes_of(row)), ("i1", "false")]
            writer.intrinsic("llvm.memcpy", "void", arguments, "p0.p0.i64")

    def _checked_row(self, node: Node) -> str:
        """The index of the row as i64; leaves the program where there is no such row."""
        writer, index = self.writer, node.inputs[1]
        position = self.register(index)
        if index.type.dtype.itemsize == 4:
            position = writer.let(f"sext i32 {position} to i64")
        rows = node.output.type.shape[0]
        inside = writer.let(f"icmp ult i64 {position}, {self.dim(rows)}")
        shown = writer.let(f"and i64 {position}, {(1 << INDEX_BITS) - 1}")
        self.fail_unless(inside, len(self.checks), shown)
        self.checks.append(RowCheck("index_out_of_range", node.op.name, node.source, "", (), None, rows))
        return position

    def _appended(self, node: Node) -> str:
        """Make room for one more row behind the array's; its index."""
        array, out = node.inputs[0], node.output
        home = self.plan.home(out)
        rows = self.dim(array.type.shape[0])
        if out.type.elements == 1:
            return rows
        in_place = home is self.plan.home(array)
        if home.dynamic:
            self.reserve(self.dynamic_slot(home.index), self.bytes_of(out), keep=in_place)
        if not in_place:
            self.copy_value(self.address(out), array)
        return rows

    def _row_addition(self, dtype: DType) -> str:
        """The function that adds `count` elements to others: whole vectors, then single elements."""
        name = f"add_row_{dtype.short}"
        if any(f"@{name}(" in text for text in self.functions):
            return name
        lanes = max(1, self.vector_bytes // max(4, dtype.itemsize))
        kind = memory_type(dtype)
        vector, size = f"<{lanes} x {kind}>", dtype.itemsize
        writer = Writer()
        several_sum = _sum(writer, dtype, "%va", "%vb", lanes)
        count = len(writer.lines)
        one_sum = _sum(writer, dtype, "%a", "%b")
        self.declarations |= writer.declarations
        adding_several, adding_one = "\n".join(writer.lines[:count]), "\n".join(writer.lines[count:])
        self.functions.append(f"""define internal void @{name}(ptr %to, ptr %from, i64 %count) #0 {{
entry:
  %whole = and i64 %count, {-lanes}
  %any = icmp sgt i64 %whole, 0
  br i1 %any, label %vectors, label %rest
vectors:
  %i = phi i64 [0, %entry], [%i2, %vectors]
  %vp = getelementptr {kind}, ptr %to, i64 %i
  %vq = getelementptr {kind}, ptr %from, i64 %i
  %va = load {vector}, ptr %vp, align {size}
  %vb = load {vector}, ptr %vq, align {size}
{adding_several}
  store {vector} {several_sum}, ptr %vp, align {size}
  %i2 = add i64 %i, {lanes}
  %again = icmp slt i64 %i2, %whole
  br i1 %again, label %vectors, label %rest
rest:
  %some = icmp slt i64 %whole, %count
  br i1 %some, label %single, label %done
single:
  %j = phi i64 [%whole, %rest], [%j2, %single]
  %p = getelementptr {kind}, ptr %to, i64 %j
  %q = getelementptr {kind}, ptr %from, i64 %j
  %a = load {kind}, ptr %p, align {size}
  %b = load {kind}, ptr %q, align {size}
{adding_one}
  store {kind} {one_sum}, ptr %p, align {size}
  %j2 = add i64 %j, 1
  %more = icmp slt i64 %j2, %count
  br i1 %more, label %single, label %done
done:
  ret void
}}
""")
        return name


def _sum(writer: Writer, dtype: DType, a: str, b: str, lanes: int = 1) -> str:
    """The sum of two registers, of narrow floats computed in float32."""
    s = ScalarBuilder()
    x, y = s.parameter(0, dtype), s.parameter(1, dtype)
    if dtype.is_narrow:
        total = s.convert(s.convert(x, float32) + s.convert(y, float32), dtype)
    else:
        total = x | y if dtype.is_bool else x + y
    emitter = Emitter(writer, lanes, lambda _, leaf: ((a, b)[leaf.data], lanes > 1))
    emitter.emit([total])
    return emitter.values[id(total)][0]

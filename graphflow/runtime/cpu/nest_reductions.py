"""Accumulators of reductions: where they live, how they combine, and how lanes fold. The tree is described in kernels/nest.py."""

from __future__ import annotations

from typing import Any

from ...dtypes import DType, int64
from ...kernels.nest import Reduction, lanes_of
from ...kernels.scalar import Scalar, ScalarBuilder
from .emit import Emitter, literal, register_type
from .nest_memory import MemoryEmitter

__all__ = ["ReductionEmitter", "reduction_is_index"]


def reduction_is_index(reduction: Reduction) -> bool:
    """Does the reduction carry positions (argmax)?"""
    return getattr(reduction.op.kernel, "better", None) is not None


class ReductionEmitter(MemoryEmitter):
    """The part of a nest's emitter that keeps accumulators: vectors of lanes, results and totals on the stack, all promoted to registers
    where their index is known."""

    accumulators: list[dict[str, str]]  # of each reduction of the nest: what `_allocate` made

    def _allocate(self, columns: int) -> list[dict[str, str]]:
        """Stack slots of each reduction: vectors (the lanes of a row, or `columns` side by side), result and total (scalars); index
        reductions have positions beside."""
        writer, found = self.writer, []
        for reduction in [r for s in self.nest.stages for r in s.reductions]:
            is_column = not any(axis.role == "trailing" for axis in self.nest.axes)
            count = columns if is_column else lanes_of(reduction.dtype) // self.lanes
            place = {}
            for kind, dtype in (
                ("value", reduction.dtype),
                *((("where", int64),) if reduction_is_index(reduction) else ()),
            ):
                place[kind] = writer.let(f"alloca [{count} x {register_type(dtype, self.lanes)}], align 64", "acc")
                place[kind + "_result"] = writer.let(f"alloca {register_type(dtype)}, align 8", "result")
            place["total"] = writer.let(f"alloca [2 x {register_type(reduction.dtype)}], align 8", "total")
            found.append(place)
        return found

    def _align(self, dtype: DType) -> int:
        """Alignment of the vectors in an array of accumulators: their own size (a vector of i8 beside one of i64 is short)."""
        return 1 if dtype.is_bool else min(64, self.lanes * dtype.itemsize)

    def _parts(self, reduction: Reduction) -> list[tuple[str, DType, Any]]:
        parts: list[tuple[str, DType, Any]] = [("value", reduction.dtype, reduction.start)]
        if reduction_is_index(reduction):
            parts.append(("where", int64, 2**63 - 1))
        return parts

    def _start(self, reduction: Reduction, place: dict[str, str], slot: int | str, kind: str = "value") -> None:
        writer = self.writer
        if kind == "total":
            self._store_scalar(reduction.dtype, literal(reduction.start, reduction.dtype), place["total"], slot)  # type: ignore[arg-type]
            return
        for name, dtype, start in self._parts(reduction):
            vector = register_type(dtype, self.lanes)
            address = writer.let(f"getelementptr {vector}, ptr {place[name]}, i64 {slot}")
            writer.line(
                f"store {vector} splat ({register_type(dtype)} {literal(start, dtype)}), ptr {address}, align {self._align(dtype)}"
            )

    def _get(self, reduction: Reduction, place: dict[str, str], slot: int | str) -> list[str]:
        values = []
        for name, dtype, _ in self._parts(reduction):
            vector = register_type(dtype, self.lanes)
            address = self.writer.let(f"getelementptr {vector}, ptr {place[name]}, i64 {slot}")
            values.append(self.writer.let(f"load {vector}, ptr {address}, align {self._align(dtype)}"))
        return values

    def _put(self, reduction: Reduction, place: dict[str, str], slot: int | str, values: list[str]) -> None:
        for (name, dtype, _), value in zip(self._parts(reduction), values, strict=True):
            vector = register_type(dtype, self.lanes)
            address = self.writer.let(f"getelementptr {vector}, ptr {place[name]}, i64 {slot}")
            self.writer.line(f"store {vector} {value}, ptr {address}, align {self._align(dtype)}")

    def _accumulate(
        self, reduction: Reduction, place: dict[str, str], slot: int | str, value: str, where: str | None
    ) -> None:
        held = self._get(reduction, place, slot)
        new = [value] if where is None else [value, where]
        self._put(reduction, place, slot, self._combine(reduction, held, new))

    def _merge(self, reduction: Reduction, place: dict[str, str], into: int | str, other: int | str) -> None:
        merged = self._combine(reduction, self._get(reduction, place, into), self._get(reduction, place, other))
        self._put(reduction, place, into, merged)

    def _combine(
        self, reduction: Reduction, a: list[str], b: list[str], scalar: bool = False, lanes: int = 0
    ) -> list[str]:
        """combine(a, b) on vectors (or scalars), through the op's own scalar program."""
        lanes = 1 if scalar else lanes or self.lanes
        s = ScalarBuilder()
        x, y = s.parameter(0, reduction.dtype), s.parameter(1, reduction.dtype)
        kernel: Any = reduction.op.kernel
        emitter = Emitter(self.writer, lanes, _no_leaf)
        emitter.values = {id(x): (a[0], lanes > 1), id(y): (b[0], lanes > 1)}
        if not reduction_is_index(reduction):
            roots = [kernel.combine(s, x, y)]
        else:
            p, q = s.parameter(2, int64), s.parameter(3, int64)
            emitter.values.update({id(p): (a[1], lanes > 1), id(q): (b[1], lanes > 1)})
            replace = kernel.better(s, x, y) | (~kernel.better(s, y, x) & (q < p))
            roots = [s.select(replace, y, x), s.select(replace, q, p)]
        emitter.emit(roots)
        return [emitter.vector(r) for r in roots]

    def _combine_scalar(self, reduction: Reduction, a: str, b: str) -> str:
        return self._combine(reduction, [a], [b], scalar=True)[0]

    def _fold(self, reduction: Reduction, k: int) -> list[str]:
        """Fold the lanes by halves: vectors first, then halves of one vector."""
        writer, lanes = self.writer, self.lanes
        count = lanes_of(reduction.dtype) // lanes
        held = [self._get(reduction, self.accumulators[k], u) for u in range(count)]
        while len(held) > 1:
            half = len(held) // 2
            held = [self._combine(reduction, held[u], held[u + half]) for u in range(half)]
        value, width = held[0], lanes
        parts = self._parts(reduction)
        while width > 1:
            width //= 2
            halves: list[list[str]] = [[], []]
            for (_, dtype, _), whole in zip(parts, value, strict=True):
                vector = register_type(dtype, width * 2)
                for which in (0, 1):
                    if width == 1:
                        halves[which].append(writer.let(f"extractelement {vector} {whole}, i64 {which}"))
                    else:
                        mask = ", ".join(f"i32 {which * width + m}" for m in range(width))
                        halves[which].append(
                            writer.let(f"shufflevector {vector} {whole}, {vector} poison, <{width} x i32> <{mask}>")
                        )
            value = self._combine(reduction, halves[0], halves[1], scalar=width == 1, lanes=width)
        return value

    def _start_result(self, reduction: Reduction, k: int) -> None:
        self._put_result(reduction, k, [literal(start, dtype) for _, dtype, start in self._parts(reduction)])

    def _put_result(self, reduction: Reduction, k: int, values: list[str]) -> None:
        for (name, dtype, _), value in zip(self._parts(reduction), values, strict=True):
            self.writer.line(
                f"store {register_type(dtype)} {value}, ptr {self.accumulators[k][name + '_result']}, align 8"
            )

    def _result(self, reduction: Reduction, k: int) -> list[str]:
        return [self.writer.let(f"load {register_type(dtype)}, ptr {self.accumulators[k][name + '_result']}, align 8")
                for name, dtype, _ in self._parts(reduction)]  # fmt: skip

    def _fold_into_result(self, reduction: Reduction, k: int) -> None:
        merged = self._combine(reduction, self._result(reduction, k), self._fold(reduction, k), scalar=True)
        self._put_result(reduction, k, merged)

    def _load_scalar(self, dtype: DType, base: str, slot: int) -> str:
        address = self.writer.let(f"getelementptr {register_type(dtype)}, ptr {base}, i64 {slot}")
        return self.writer.let(f"load {register_type(dtype)}, ptr {address}")

    def _store_scalar(self, dtype: DType, value: str, base: str, slot: int) -> None:
        address = self.writer.let(f"getelementptr {register_type(dtype)}, ptr {base}, i64 {slot}")
        self.writer.line(f"store {register_type(dtype)} {value}, ptr {address}")


def _no_leaf(emitter: Emitter, x: Scalar) -> tuple[str, bool]:
    raise TypeError(f"a combining program may only use its operands, not {x.operation}")

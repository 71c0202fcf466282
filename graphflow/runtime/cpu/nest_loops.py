"""The loops of a nest: scalar ones, and walks along the vector axis whose last vector is masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .nest_reductions import ReductionEmitter

__all__ = ["LoopEmitter"]


@dataclass
class _Loop:
    label: str
    after: str
    index: str
    following: str
    position: int
    entry: str
    begin: str


class LoopEmitter(ReductionEmitter):
    """Opens and closes loops around what `body` writes."""

    def _open(self, begin: str, limit: str, step: int | str, hint: str) -> _Loop:
        """Open `for index in range(begin, limit, step)`; runs zero times when begin >= limit."""
        writer = self.writer
        loop = _Loop(
            writer.label(hint),
            writer.label(f"{hint}_done"),
            writer.name("i"),
            writer.name("next"),
            0,
            writer.block,
            begin,
        )
        condition = writer.let(f"icmp slt i64 {begin}, {limit}")
        writer.line(f"br i1 {condition}, label %{loop.label}, label %{loop.after}")
        loop.entry = writer.block
        writer.open(loop.label)
        loop.position = len(writer.lines)
        return loop

    def _close(self, loop: _Loop, limit: str, step: int | str) -> None:
        writer = self.writer
        writer.line(f"{loop.following} = add i64 {loop.index}, {step}")
        more = writer.let(f"icmp slt i64 {loop.following}, {limit}")
        writer.line(f"br i1 {more}, label %{loop.label}, label %{loop.after}")
        phi = f"  {loop.index} = phi i64 [{loop.begin}, %{loop.entry}], [{loop.following}, %{writer.block}]"
        writer.lines.insert(loop.position, phi)
        writer.open(loop.after)

    def _scoped(self, body: Callable[[], None]) -> None:
        """Run body with the emitter's values restored afterwards: what a loop computes is not visible after it."""
        saved, splats = dict(self.emitter.values), dict(self.emitter._splats)
        body()
        self.emitter.values, self.emitter._splats = saved, splats

    def _vectors(self, axis: int, begin: str, limit: str, body: Callable[[], None]) -> None:
        """Walk [begin, limit) along the vector axis: whole vectors, then one masked vector (no code for it where the extent is
        known to have none: that halves the kernel, hence the time to compile it)."""
        writer = self.writer
        span = writer.let(f"sub i64 {limit}, {begin}")
        whole = writer.let(f"and i64 {span}, {-self.lanes}")
        end = writer.let(f"add i64 {begin}, {whole}")
        loop = self._open(begin, end, self.lanes, "vector")
        self.index[axis] = loop.index
        self._scoped(body)
        self._close(loop, end, self.lanes)
        if not self._divides(self.lanes):
            self._masked(axis, end, limit, body)

    def _divides(self, step: int) -> bool:
        """Is the vector axis's extent a known multiple of step? Chunks and blocks begin at multiples, so then all their spans are."""
        assert self.vector is not None
        extent = self.nest.axes[self.vector].extent
        return isinstance(extent, int) and extent % step == 0

    def _masked(self, axis: int, begin: str, limit: str, body: Callable[[], None]) -> None:
        """One vector starting at begin, of which the lanes below limit are active; nothing if there are none."""
        writer = self.writer
        tail, after = writer.label("tail"), writer.label("tail_done")
        some = writer.let(f"icmp slt i64 {begin}, {limit}")
        writer.line(f"br i1 {some}, label %{tail}, label %{after}")
        writer.open(tail)
        self.index[axis] = begin
        left = writer.let(f"sub i64 {limit}, {begin}")
        # An empty assembly keeps the mask from becoming a constant: LLVM 22 compiles a masked store of truncated integers with one
        # known lane into the store of that lane's whole wide integer, which writes beside the array.
        left = writer.let(f'call i64 asm "", "=r,0"(i64 {left})')
        narrow = writer.let(f"trunc i64 {left} to i32")
        splat = self._splat("i32", narrow)
        self.mask = writer.let(f"icmp slt <{self.lanes} x i32> {self._iota('i32')}, {splat}")
        self._scoped(body)
        self.mask = None
        writer.line(f"br label %{after}")
        writer.open(after)

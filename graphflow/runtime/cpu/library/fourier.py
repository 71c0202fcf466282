"""Fourier transforms of rows: Stockham's self-sorting algorithm with radices 8, 4, 2, 3, 5 and 7, and Bluestein's for lengths with a
larger prime factor.

A pass of radix r takes x[q + s*(p + m*j)] to y[q + s*(r*p + k)] = w**(p*k) * sum over j of x * exp(-2 pi i j k / r), where n = m*r is
what is left of the length, s the product of the radices before, w = exp(-2 pi i / n): no reordering of elements, all accesses in
stretches of s (T. G. Stockham, High-speed convolution and correlation, 1966; C. Van Loan, Computational Frameworks for the Fast Fourier
Transform, 1992, 1.7). Bluestein (1970) writes a transform of any length as a convolution with the chirp exp(-pi i k**2 / n), done by
transforms of a power of two. Rows are taken apart into real and imaginary parts in scratch memory, so that vectors hold one or the other.

The factors w**(p*k) are an operand, the table (see fourier_table in ops/fourier.py): one kernel serves all lengths. One unit is one row; a
row's arithmetic does not depend on the others, nor on threads.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ....dtypes import DType
from ....ir.dims import product
from ....ops.fourier import RADICES
from ..emit import literal, memory_type
from ..routine import Number, Routine
from .common import new_routine, run_routine, worker_scratch

__all__ = ["KERNELS"]

Complex = tuple["Lane", "Lane"]


class Lane:
    """A float, or a vector of them, in a register."""

    __slots__ = ("name", "of")

    def __init__(self, of: Lanes, name: str) -> None:
        self.of, self.name = of, name

    def _binary(self, word: str, other: Lane) -> Lane:
        of = self.of
        return Lane(of, of.r.writer.let(f"{word} {of.type} {self.name}, {other.name}"))

    def __add__(self, other: Lane) -> Lane:
        return self._binary("fadd", other)

    def __sub__(self, other: Lane) -> Lane:
        return self._binary("fsub", other)

    def __mul__(self, other: Lane) -> Lane:
        return self._binary("fmul", other)

    def __neg__(self) -> Lane:
        return Lane(self.of, self.of.r.writer.let(f"fneg {self.of.type} {self.name}"))

    def times_plus(self, factor: Lane, other: Lane) -> Lane:
        """self * factor + other, rounded once."""
        of = self.of
        arguments = [(of.type, x.name) for x in (self, factor, other)]
        return Lane(of, of.r.writer.intrinsic("llvm.fma", of.type, arguments, of.suffix))


class Lanes:
    """Loads, stores and numbers of vectors of `count` floats (1: plain floats)."""

    def __init__(self, r: Routine, dtype: DType, count: int) -> None:
        self.r, self.dtype, self.count = r, dtype, count
        self.type = memory_type(dtype, count) if count > 1 else memory_type(dtype)
        self.suffix = f"v{count}{dtype.short}" if count > 1 else dtype.short

    def number(self, value: float) -> Lane:
        text = literal(float(self.dtype.numpy.type(value)), self.dtype)
        return Lane(self, text if self.count == 1 else f"splat ({memory_type(self.dtype)} {text})")

    def splat(self, value: Lane) -> Lane:
        """A float in every place."""
        if self.count == 1:
            return Lane(self, value.name)
        let = self.r.writer.let
        one = let(f"insertelement {self.type} poison, {memory_type(self.dtype)} {value.name}, i64 0")
        return Lane(
            self, let(f"shufflevector {self.type} {one}, {self.type} poison, <{self.count} x i32> zeroinitializer")
        )

    def load(self, pointer: str, index: Number) -> Lane:
        address = self.r.offset(pointer, index, self.dtype)
        return Lane(self, self.r.writer.let(f"load {self.type}, ptr {address}, align {self.dtype.itemsize}"))

    def store(self, pointer: str, index: Number, value: Lane) -> None:
        address = self.r.offset(pointer, index, self.dtype)
        self.r.writer.line(f"store {self.type} {value.name}, ptr {address}, align {self.dtype.itemsize}")

    def load_pairs(self, pointer: str, index: Number) -> Complex:
        """`count` complex numbers from the one at `index` on."""
        r, writer = self.r, self.r.writer
        address = r.offset(pointer, index * 2, self.dtype)
        if self.count == 1:
            first = Lane(self, writer.let(f"load {self.type}, ptr {address}, align {self.dtype.itemsize}"))
            return first, self.load(pointer, index * 2 + 1)
        wide = memory_type(self.dtype, 2 * self.count)
        both = writer.let(f"load {wide}, ptr {address}, align {self.dtype.itemsize}")
        found = []
        for part in (0, 1):
            order = ", ".join(f"i32 {2 * k + part}" for k in range(self.count))
            found.append(
                Lane(self, writer.let(f"shufflevector {wide} {both}, {wide} poison, <{self.count} x i32> <{order}>"))
            )
        return found[0], found[1]

    def store_pairs(self, pointer: str, index: Number, value: Complex) -> None:
        r, writer = self.r, self.r.writer
        if self.count == 1:
            self.store(pointer, index * 2, value[0])
            self.store(pointer, index * 2 + 1, value[1])
            return
        address = r.offset(pointer, index * 2, self.dtype)
        order = ", ".join(f"i32 {k}, i32 {self.count + k}" for k in range(self.count))
        wide = memory_type(self.dtype, 2 * self.count)
        both = writer.let(
            f"shufflevector {self.type} {value[0].name}, {self.type} {value[1].name}, <{2 * self.count} x i32> <{order}>"
        )
        writer.line(f"store {wide} {both}, ptr {address}, align {self.dtype.itemsize}")

    def store_turned(self, pointer: str, index: Number, values: list[Lane]) -> None:
        """values[k][lane] to position index + lane * len(values) + k."""
        writer, count = self.r.writer, self.count
        width = count
        names = [v.name for v in values]
        while len(names) & (len(names) - 1):
            names.append("poison")
        while len(names) > 1:
            kind = memory_type(self.dtype, width)
            order = ", ".join(f"i32 {k}" for k in range(2 * width))
            names = [
                writer.let(f"shufflevector {kind} {a}, {kind} {b}, <{2 * width} x i32> <{order}>")
                for a, b in zip(names[::2], names[1::2], strict=True)
            ]
            width *= 2
        total = count * len(values)
        order = ", ".join(f"i32 {k * count + lane}" for lane in range(count) for k in range(len(values)))
        kind, wide = memory_type(self.dtype, width), memory_type(self.dtype, total)
        turned = writer.let(f"shufflevector {kind} {names[0]}, {kind} poison, <{total} x i32> <{order}>")
        address = self.r.offset(pointer, index, self.dtype)
        writer.line(f"store {wide} {turned}, ptr {address}, align {self.dtype.itemsize}")


def times(z: Complex, w: Complex) -> Complex:
    (a, b), (c, d) = z, w
    return a.times_plus(c, -(b * d)), a.times_plus(d, b * c)


# Butterflies: transforms of a few numbers -----------------------------------------------------------------------------
def butterfly(z: list[Complex]) -> list[Complex]:
    """The transform of 2, 3, 4, 5, 7 or 8 numbers."""
    if len(z) == 2:
        (a, b), (c, d) = z
        return [(a + c, b + d), (a - c, b - d)]
    if len(z) in (4, 8):
        return _even(z)
    return _odd(z)


def _even(z: list[Complex]) -> list[Complex]:
    """Two transforms of half the size, of the even and of the odd positions."""
    half = len(z) // 2
    even, odd = butterfly(z[::2]), butterfly(z[1::2])
    low, high = [], []
    for k in range(half):
        (a, b), (c, d) = even[k], odd[k]
        if len(z) == 8 and k % 2:
            root = a.of.number(math.sqrt(0.5))
            c, d = ((c + d) * root, (d - c) * root) if k == 1 else ((d - c) * root, -((c + d) * root))
        elif k:  # times -i
            c, d = d, -c
        low.append((a + c, b + d))
        high.append((a - c, b - d))
    return low + high


def _odd(z: list[Complex]) -> list[Complex]:
    """Sums and differences of mirrored positions, times cosines and sines."""
    size, of = len(z), z[0][0].of
    half = size // 2
    sums = [(z[j][0] + z[size - j][0], z[j][1] + z[size - j][1]) for j in range(1, half + 1)]
    gaps = [(z[j][0] - z[size - j][0], z[j][1] - z[size - j][1]) for j in range(1, half + 1)]
    first = z[0]
    for own in sums:
        first = first[0] + own[0], first[1] + own[1]
    result: list[Any] = [first] + [None] * (size - 1)
    for k in range(1, half + 1):
        u = z[0]
        v: Any = None
        for j in range(1, half + 1):
            turn = 2 * math.pi * (j * k % size) / size
            cosine, sine = of.number(math.cos(turn)), of.number(math.sin(turn))
            own, gap = sums[j - 1], gaps[j - 1]
            u = own[0].times_plus(cosine, u[0]), own[1].times_plus(cosine, u[1])
            v = (gap[0] * sine, gap[1] * sine) if v is None else (
                gap[0].times_plus(sine, v[0]), gap[1].times_plus(sine, v[1]))  # fmt: skip
        result[k] = u[0] + v[1], u[1] - v[0]
        result[size - k] = u[0] - v[1], u[1] + v[0]
    return result


# One transform --------------------------------------------------------------------------------------------------------
def lanes_of(step: Any, dtype: DType) -> int:
    """Vectors of at most 8: a radix-8 pass then leaves stretches of whole vectors."""
    return int(min(8, step.vector_bytes // dtype.itemsize))


def radix_of(r: Routine, left: Number) -> Number:
    """The first radix that divides what is left of the length (see ops.fourier.factors)."""
    found = r.constant(RADICES[-1])
    for radix in reversed(RADICES[:-1]):
        found = r.select(left % radix == 0, radix, found)
    return found


def core(step: Any, dtype: DType) -> str:
    """The function `i64 fft(re, im, re2, im2, table, n)`: the transform of n numbers, n > 0 a product of the radices. The second arrays
    are scratch; the result is in them if it gives 1."""
    name = f"graphflow_fft_{dtype.short}"
    if any(text.startswith(f"define internal i64 @{name}(") for text in step.functions):
        return name
    r = Routine(name, step.slot, step.slots.dim)
    count = lanes_of(step, dtype)
    vector, single = Lanes(r, dtype, count), Lanes(r, dtype, 1)
    places = [r.cell(Number(r, f"%{n}", "ptr")) for n in ("re", "im", "re2", "im2")]
    left, stretch, used, turn = r.cell(Number(r, "%n", "i64")), r.cell(1), r.cell(0), r.cell(0)
    with r.repeat(lambda: left.get() > 1):
        radix = radix_of(r, left.get())
        m, s = left.get() // radix, stretch.get()
        pointers = [place.get().name for place in places]
        for size in RADICES:
            with r.when(radix == size):
                with r.when(s == 1):
                    whole = m - m % count
                    for lanes, start, stop in ((vector, r.constant(0), whole), (single, whole, m)):
                        with r.loop(stop, start, lanes.count) as p:
                            _first_pass(lanes, size, m, p, pointers, used.get())
                with r.when(s > 1), r.loop(m) as p:
                    factors = [single.load_pairs("%factors", used.get() + p * (size - 1) + k) for k in range(size - 1)]
                    whole = s - s % count
                    for lanes, start, stop in ((vector, r.constant(0), whole), (single, whole, s)):
                        splat = [(lanes.splat(a), lanes.splat(b)) for a, b in factors]
                        with r.loop(stop, start, lanes.count) as q:
                            _pass(lanes, size, m, s, p, q, pointers, splat)
        used.set(used.get() + m * (radix - 1))
        left.set(m)
        stretch.set(s * radix)
        for place, other in zip(places, pointers[2:] + pointers[:2], strict=True):
            place.set(Number(r, other, "ptr"))
        turn.set(turn.get() ^ 1)
    result = turn.get()
    parameters = ", ".join(f"ptr noalias %{n}" for n in ("re", "im", "re2", "im2", "factors"))
    head = f"define internal i64 @{name}({parameters}, i64 %n) #0 {{"
    lines = [
        head,
        "entry:",
        *r._locals,
        "  br label %body",
        "body:",
        *r.writer.lines,
        f"  ret i64 {result.name}",
        "}",
        "",
    ]
    step.functions.append("\n".join(lines))
    step.declarations |= r.writer.declarations
    return name


def _first_pass(lanes: Lanes, size: int, m: Number, p: Number, pointers: list[str], used: Number) -> None:
    """Stretches of one element: vectors go along p, and are turned when stored."""
    z = [(lanes.load(pointers[0], p + m * j), lanes.load(pointers[1], p + m * j)) for j in range(size)]
    found = butterfly(z)
    for k in range(1, size):
        found[k] = times(found[k], lanes.load_pairs("%factors", used + m * (k - 1) + p))
    for part in (0, 1):
        values = [own[part] for own in found]
        if lanes.count > 1:
            lanes.store_turned(pointers[2 + part], p * size, values)
        else:
            for k, value in enumerate(values):
                lanes.store(pointers[2 + part], p * size + k, value)


def _pass(
    lanes: Lanes, size: int, m: Number, s: Number, p: Number, q: Number, pointers: list[str], factors: list[Complex]
) -> None:
    places = [q + s * (p + m * j) for j in range(size)]
    found = butterfly([(lanes.load(pointers[0], at), lanes.load(pointers[1], at)) for at in places])
    for k in range(size):
        value = times(found[k], factors[k - 1]) if k else found[0]
        at = q + s * (p * size + k)
        lanes.store(pointers[2], at, value[0])
        lanes.store(pointers[3], at, value[1])


def _sizes(r: Routine, n: Number, real: bool) -> tuple[Number, Number, Number, Number]:
    """Of rows of n elements: has n no other prime factors than the radices; is the row transformed as n / 2 complex numbers; the power
    of two that Bluestein's algorithm takes; and the size of the transforms that are run."""
    left, power = r.cell(n), r.cell(1)

    def divisible(prime: int) -> Number:
        return (left.get() > 1) & (left.get() % prime == 0)

    for prime in (2, 3, 5, 7):
        with r.repeat(partial(divisible, prime)):
            left.set(left.get() // prime)
    with r.repeat(lambda: power.get() < n * 2 - 1):
        power.set(power.get() * 2)
    smooth, convolved = left.get() == 1, power.get()
    packed = smooth & (n % 2 == 0) if real else r.constant(False, "i1")
    return smooth, packed, convolved, r.select(packed, n // 2, r.select(smooth, n, convolved))


# Rows -----------------------------------------------------------------------------------------------------------------
class _Row:
    """What the steps of a row's transform share. n: the row's length; half: of a real row that is transformed as n / 2 complex numbers
    (where `packed`); size: of the transforms that are run."""

    def __init__(self, step: Any, node: Any, number: int) -> None:
        x, table, out = node.inputs[0], node.inputs[1], node.output
        self.kind, self.inverse = node.attributes["kind"], node.attributes["inverse"]
        self.dtype = dtype = x.type.dtype
        rows = (
            out.type.shape
            if self.kind == "to_real"
            else x.type.shape
            if self.kind == "to_complex"
            else x.type.shape[:-1]
        )
        self.lead, self.length = product(rows[:-1]), rows[-1]
        self.core = core(step, dtype)
        self.r = r = new_routine(step, node)
        self.source, self.target, self.table = r.pointer(x), r.pointer(out), r.pointer(table)
        bytes_ = (table.type.shape[0] + 1) * dtype.itemsize  # no transform is longer than its table and one
        self.arrays = [worker_scratch(step, r, number, place, bytes_, self.lead) for place in range(6)]
        self.vector, self.single = Lanes(r, dtype, lanes_of(step, dtype)), Lanes(r, dtype, 1)
        self.n, self.bins = r.dim(self.length), r.dim(self.length // 2 + 1)
        self.half = self.n // 2
        self.smooth, self.packed, self.convolved, self.size = _sizes(r, self.n, self.kind != "complex")
        self.chirp = r.offset(self.table, (self.convolved - 1) * 2, dtype)
        self.roots = r.offset(self.table, (self.half - 1) * 2, dtype)

    def each(self, stop: Number, body: Any, start: int = 0) -> None:
        """body(lanes, k) for start <= k < stop, a vector at a time where that goes."""
        r, count = self.r, self.vector.count
        span = stop - start
        whole = r.select(span > 0, span - span % count, 0) + start
        for lanes, first, last in ((self.vector, r.constant(start), whole), (self.single, whole, stop)):
            with r.loop(last, first, lanes.count) as k:
                body(lanes, k)

    def transform(self, arrays: list[str], size: Number) -> list[str]:
        """arrays: real parts, imaginary parts and two of scratch; the transform is in the first two of the result."""
        r = self.r
        text = ", ".join(f"ptr {p}" for p in (*arrays, self.table))
        word = r.writer.let(f"call i64 @{self.core}({text}, i64 {size.name})")
        turned = r.writer.let(f"icmp ne i64 {word}, 0")
        other = arrays[2:] + arrays[:2]
        return [r.writer.let(f"select i1 {turned}, ptr {b}, ptr {a}") for a, b in zip(arrays, other, strict=True)]

    # Bluestein --------------------------------------------------------------------------------------------------------
    def filter(self) -> None:
        """The transform of the conjugate chirp, which wraps around, to the last two arrays."""
        r, single = self.r, self.single
        with r.when(~self.smooth):
            for array in self.arrays[:2]:
                r.fill(array, self.size * self.dtype.itemsize, 0)
            with r.loop(self.n) as k:
                a, b = single.load_pairs(self.chirp, k)
                mirrored = r.select(k == 0, 0, self.size - k)
                for at in (k, mirrored):
                    single.store(self.arrays[0], at, a)
                    single.store(self.arrays[1], at, -b)
            found = self.transform(self.arrays[:4], self.size)
            for target, source in zip(self.arrays[4:], found, strict=False):
                r.copy(target, source, self.size * self.dtype.itemsize)

    def convolve(self, arrays: list[str]) -> list[str]:
        """The transform of n numbers through a convolution with the chirp."""
        r = self.r

        def chirped(place: list[str]) -> Any:
            def body(lanes: Lanes, k: Number) -> None:
                value = times((lanes.load(place[0], k), lanes.load(place[1], k)), lanes.load_pairs(self.chirp, k))
                lanes.store(place[0], k, value[0])
                lanes.store(place[1], k, value[1])

            return body

        self.each(self.n, chirped(arrays))
        for array in arrays[:2]:
            r.fill(r.offset(array, self.n, self.dtype), (self.size - self.n) * self.dtype.itemsize, 0)
        found = self.transform(arrays, self.size)
        share = self._share(self.size)

        def product_of(lanes: Lanes, k: Number) -> None:
            factor = lanes.splat(Lane(self.single, share.name))
            filtered = lanes.load(self.arrays[4], k), lanes.load(self.arrays[5], k)
            value = times((lanes.load(found[0], k), lanes.load(found[1], k)), filtered)
            lanes.store(found[0], k, value[0] * factor)
            lanes.store(found[1], k, value[1] * factor)

        self.each(self.size, product_of)
        # the inverse transform is the transform with the parts exchanged, before and after
        back = self.transform([found[1], found[0], found[3], found[2]], self.size)
        back = [back[1], back[0], back[3], back[2]]
        self.each(self.n, chirped(back))
        return back

    def _share(self, count: Number) -> Number:
        """1 / count"""
        r, kind = self.r, memory_type(self.dtype)
        return r.constant(1.0, kind) / r.convert(count, kind)

    # Loading ----------------------------------------------------------------------------------------------------------
    def load(self, row: Number) -> None:
        """The row to the first two arrays; exchanged for an inverse transform."""
        re, im = self.arrays[:2]
        r, n = self.r, self.n
        if self.kind == "complex":
            first, second = (im, re) if self.inverse else (re, im)

            def parts(lanes: Lanes, k: Number) -> None:
                a, b = lanes.load_pairs(self.source, row * n + k)
                lanes.store(first, k, a)
                lanes.store(second, k, b)

            self.each(n, parts)
        elif self.kind == "to_complex":
            start = r.offset(self.source, row * n, self.dtype)

            def pairs(lanes: Lanes, k: Number) -> None:
                a, b = lanes.load_pairs(start, k)
                lanes.store(re, k, a)
                lanes.store(im, k, b)

            with r.when(self.packed):
                self.each(self.half, pairs)
            with r.when(~self.packed):
                r.copy(re, start, n * self.dtype.itemsize)
                r.fill(im, n * self.dtype.itemsize, 0)
        else:
            start = r.offset(self.source, row * self.bins * 2, self.dtype)
            with r.when(self.packed):
                self._load_spectrum(start)
            with r.when(~self.packed), r.loop(n) as k:
                mirrored = k > n - k
                a, b = self.single.load_pairs(start, r.select(mirrored, n - k, k))
                own = Number(r, b.name, memory_type(self.dtype))
                own = r.select((k == 0) | (k == n - k), 0.0, r.select(mirrored, -own, own))
                self.single.store(im, k, a)
                self.single.store(re, k, Lane(self.single, own.name))

    def _mirrored(self, lanes: Lanes, pointer: str, k: Number, stride: int) -> list[Lane]:
        """Elements half - k, half - k - 1, ... of an array, or of both parts of an array of pairs."""
        count = lanes.count
        first = self.half - k - (count - 1)
        values = [lanes.load(pointer, first)] if stride == 1 else list(lanes.load_pairs(pointer, first))
        if count == 1:
            return values
        order = ", ".join(f"i32 {count - 1 - lane}" for lane in range(count))
        let = self.r.writer.let
        return [
            Lane(lanes, let(f"shufflevector {lanes.type} {v.name}, {lanes.type} poison, <{count} x i32> <{order}>"))
            for v in values
        ]

    def _load_spectrum(self, start: str) -> None:
        """z[k] = X[k] + conj X[half-k] + i exp(2 pi i k / n) (X[k] - conj X[half-k]), whose inverse transform has the row's elements in
        turn as real and imaginary parts."""
        re, im = self.arrays[:2]

        def body(lanes: Lanes, k: Number) -> None:
            (a, b), (c, d) = lanes.load_pairs(start, k), self._mirrored(lanes, start, k, 2)
            w, v = lanes.load_pairs(self.roots, k)
            p, q = times((a - c, b + d), (w, -v))
            lanes.store(im, k, a + c - q)
            lanes.store(re, k, b - d + p)

        single = self.single
        first, last = single.load_pairs(start, self.r.constant(0)), single.load_pairs(start, self.half)
        single.store(im, self.r.constant(0), first[0] + last[0])
        single.store(re, self.r.constant(0), first[0] - last[0])
        self.each(self.half, body, 1)

    # Storing ----------------------------------------------------------------------------------------------------------
    def store(self, row: Number, arrays: list[str]) -> None:
        r, n, single = self.r, self.n, self.single
        re, im = arrays[:2]
        if self.kind == "to_complex":
            start = r.offset(self.target, row * self.bins * 2, self.dtype)
            with r.when(self.packed):
                self._store_spectrum(start, re, im)
            with r.when(~self.packed):
                self.each(
                    self.bins, lambda lanes, k: lanes.store_pairs(start, k, (lanes.load(re, k), lanes.load(im, k)))
                )
            return
        inverse = self.inverse or self.kind == "to_real"
        share = self._share(n) if inverse else None

        def parts(lanes: Lanes, k: Number) -> Complex:
            a, b = lanes.load(re, k), lanes.load(im, k)
            if share is None:
                return a, b
            factor = lanes.splat(Lane(single, share.name))
            return b * factor, a * factor

        if self.kind == "complex":
            self.each(n, lambda lanes, k: lanes.store_pairs(self.target, row * n + k, parts(lanes, k)))
            return
        start = r.offset(self.target, row * n, self.dtype)
        with r.when(self.packed):
            self.each(self.half, lambda lanes, k: lanes.store_pairs(start, k, parts(lanes, k)))
        with r.when(~self.packed):
            self.each(n, lambda lanes, k: lanes.store(start, k, parts(lanes, k)[0]))

    def _store_spectrum(self, start: str, re: str, im: str) -> None:
        """X[k] = (z[k] + conj z[half-k]) / 2 - i exp(-2 pi i k / n) (z[k] - conj z[half-k]) / 2."""
        single, r = self.single, self.r

        def body(lanes: Lanes, k: Number) -> None:
            a, b = lanes.load(re, k), lanes.load(im, k)
            (c,), (d,) = self._mirrored(lanes, re, k, 1), self._mirrored(lanes, im, k, 1)
            p, q = times((a - c, b + d), lanes.load_pairs(self.roots, k))
            factor = lanes.number(0.5)
            lanes.store_pairs(start, k, ((a + c + q) * factor, (b - d - p) * factor))

        a, b = single.load(re, r.constant(0)), single.load(im, r.constant(0))
        zero = single.number(0.0)
        single.store_pairs(start, r.constant(0), (a + b, zero))
        single.store_pairs(start, self.half, (a - b, zero))
        self.each(self.half, body, 1)


def emit_fft(step: Any, node: Any, number: int) -> None:
    """The transform of each row of the last axis."""
    own = _Row(step, node, number)
    r = own.r
    with r.when(own.n > 0):
        own.filter()
        with r.loop(r.end, r.begin) as row:
            own.load(row)
            arrays = [r.cell(Number(r, p, "ptr")) for p in own.arrays[:4]]
            with r.when(own.smooth):
                found = own.transform(own.arrays[:4], own.size)
                for cell, p in zip(arrays, found, strict=True):
                    cell.set(Number(r, p, "ptr"))
            with r.when(~own.smooth):
                found = own.convolve(own.arrays[:4])
                for cell, p in zip(arrays, found, strict=True):
                    cell.set(Number(r, p, "ptr"))
            own.store(row, [cell.get().name for cell in arrays])
    run_routine(step, r, own.lead, own.length * 32)


def emit_table(step: Any, node: Any, number: int) -> None:
    """The factors of each pass one after the other, then what the rest of the transform needs, from roots of unity in order (see
    ops.fourier.table_positions, which does the same for a length known when the graph is made)."""
    del number
    (roots, chirp, wide), out = node.inputs, node.output
    dtype, length = out.type.dtype, node.attributes["length"]
    r = new_routine(step, node)
    single = Lanes(r, dtype, 1)
    of_roots, of_chirp, of_wide, target = r.pointer(roots), r.pointer(chirp), r.pointer(wide), r.pointer(out)
    n = r.dim(length)
    r.fill(target, n * 10 * dtype.itemsize, 0)
    smooth, packed, convolved, count = _sizes(r, n, node.attributes["real"])
    whole = r.select(smooth, n, convolved)
    source = r.writer.let(f"select i1 {smooth.name}, ptr {of_roots}, ptr {of_wide}")
    used, rest, stretch = r.cell(0), r.cell(count), r.cell(whole // r.maximum(count, 1))
    first = r.cell(True, "i1")
    with r.when(n > 0):
        with r.repeat(lambda: rest.get() > 1):
            radix = radix_of(r, rest.get())
            m = rest.get() // radix
            with r.loop(m) as p, r.loop(radix, 1) as k:
                value = single.load_pairs(source, p * k * stretch.get())
                at = r.select(first.get(), m * (k - 1) + p, p * (radix - 1) + k - 1)
                single.store_pairs(target, used.get() + at, value)
            used.set(used.get() + m * (radix - 1))
            rest.set(m)
            stretch.set(stretch.get() * radix)
            first.set(False)
        with r.when(packed), r.loop(n // 2 + 1) as k:
            single.store_pairs(target, used.get() + k, single.load_pairs(of_roots, k))
        with r.when(~smooth), r.loop(n) as k:
            single.store_pairs(target, used.get() + k, single.load_pairs(of_chirp, k))
    run_routine(step, r, 1, length * 16)


KERNELS = {"fft": emit_fft, "fourier_table": emit_table}

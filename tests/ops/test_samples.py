"""The table of op samples: eager against the reference, graph against eager bit for bit, errors, and gradients
against central differences in float64, first and second order."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import GraphError
from graphflow.ir.op import Op, Sample

from .closeness import assert_results
from .table import (
    EVERY_OP,
    after,
    apply,
    bad_samples,
    bits,
    good_samples,
    gradient_samples,
    operands_of,
    references,
    says,
)

every_op = pytest.mark.parametrize("op", EVERY_OP, ids=lambda op: op.name)


@every_op
def test_eager_matches_the_reference(op: Op) -> None:
    for sample in good_samples(op):
        operands = operands_of(sample)
        assert_results(op, sample, [*apply(op, sample, operands), *after(sample, operands)])


@every_op
def test_graph_gives_the_bits_of_eager(op: Op, capsys: pytest.CaptureFixture[str]) -> None:
    """All samples of an op are one function: one compilation. Where eager mode calls NumPy, this proves that it has the
    kernel's bits. What is written to variables and printed is the same too."""
    samples = good_samples(op)
    arguments, others = ([operands_of(s) for s in samples] for _ in range(2))

    @gf.function
    def all_samples(operands: Any) -> Any:
        return [apply(op, s, own) for own, s in zip(operands, samples, strict=True)]

    results = all_samples(arguments)
    printed = capsys.readouterr()
    for sample, own, other, found in zip(samples, arguments, others, results, strict=True):
        expected = [*apply(op, sample, other), *after(sample, other)]
        for one, right in zip([*found, *after(sample, own)], expected, strict=True):
            assert one.dtype == right.dtype
            np.testing.assert_array_equal(bits(one), bits(right), err_msg=f"{sample}")
    assert capsys.readouterr() == printed
    assert any(printed) == (op.name == "print")


@every_op
def test_bad_samples_raise_the_stated_class_in_both_modes(op: Op) -> None:
    for sample in bad_samples(op):

        @gf.function
        def one(*operands: Any, sample: Sample = sample) -> Any:
            return apply(op, sample, operands)

        with pytest.raises(sample.error, match=says(op)):  # type: ignore[arg-type]
            apply(op, sample, operands_of(sample))
        with pytest.raises(sample.error, match=says(op)) as caught:  # type: ignore[arg-type]
            one(*operands_of(sample))
        if not issubclass(sample.error, GraphError):  # type: ignore[arg-type]  # it blames who made the graph, no line
            assert "tests/ops" in str(caught.value)


# Gradients ----------------------------------------------------------------------------------------------------------
STEP = 1e-5
NO_SECOND_ORDER: frozenset[str] = frozenset()
DIRECTIONS = 2


def moved(sample: Sample, directions: list[Any], step: float) -> list[Any]:
    return [a if d is None else a + step * d for a, d in zip(sample.arrays, directions, strict=True)]


def random_like(arrays: Any, generator: np.random.Generator) -> list[Any]:
    return [generator.standard_normal(a.shape) if a.dtype == np.float64 else None for a in arrays]


def dot(values: Any, directions: list[Any]) -> Any:
    """The sum of products of gradients and directions; a None gradient counts as zero."""
    parts = [gf.reduce_sum(v * d) for v, d in zip(values, directions, strict=True) if v is not None and d is not None]
    return gf.math.add_n(parts) if parts else None


@pytest.mark.parametrize("op", [op for op in EVERY_OP if op.gradient is not None], ids=lambda op: op.name)
def test_gradients_match_central_differences(op: Op) -> None:
    generator = np.random.default_rng(7)
    count = 0
    for sample in gradient_samples(op):
        expected_output = references(op, sample)[0]
        if expected_output.dtype != np.float64:
            continue
        weights = generator.standard_normal(expected_output.shape)

        def scalar(arrays: Any, op: Op = op, sample: Sample = sample, weights: Any = weights) -> float:
            with np.errstate(all="ignore"):
                return float(np.sum(weights * op.reference(*arrays, **sample.attributes)))  # type: ignore[misc]

        def slopes(
            arrays: Any, op: Op = op, sample: Sample = sample, weights: Any = weights
        ) -> tuple[list[Any], list[Any]]:
            operands = operands_of(replace(sample, arrays=tuple(arrays)))
            with gf.GradientTape() as tape:
                floats = [t for t in operands if t.dtype.is_floating]
                tape.watch(floats)
                total = gf.reduce_sum(apply(op, sample, operands)[0] * weights)
            found = iter(tape.gradient(total, floats))
            return [next(found) if t.dtype.is_floating else None for t in operands], operands

        first, operands = slopes(sample.arrays)
        for t, g in zip(operands, first, strict=True):
            assert g is None or (g.dtype is t.dtype and g.dims == t.dims)
        for _ in range(DIRECTIONS):
            along = random_like(sample.arrays, generator)
            upper, lower = scalar(moved(sample, along, STEP)), scalar(moved(sample, along, -STEP))
            expected = (upper - lower) / (2 * STEP)
            found = dot(first, along)
            scale = 1 + np.sum(np.abs(weights)) + abs(expected)
            assert abs((0.0 if found is None else float(found)) - expected) <= 2e-7 * scale, (
                f"{op.name} {sample.attributes}"
            )
            count += 1
        # second order: the derivative of <gradient, u> along v, against differences of the first-order gradient
        u, v = random_like(sample.arrays, generator), random_like(sample.arrays, generator)
        if op.name in NO_SECOND_ORDER:
            with pytest.raises(LookupError):
                second_slopes(op, sample, weights, u)
            continue
        second = second_slopes(op, sample, weights, u)
        found = dot(second, v)
        upper = dot(slopes(moved(sample, v, STEP))[0], u)
        lower = dot(slopes(moved(sample, v, -STEP))[0], u)
        if upper is None:
            assert found is None
            continue
        expected = (float(upper) - float(lower)) / (2 * STEP)
        scale = 1 + abs(float(upper)) + abs(expected)
        assert abs((0.0 if found is None else float(found)) - expected) <= 1e-6 * scale, (
            f"{op.name} second order {sample.attributes}"
        )
    assert count or not any(True for _ in gradient_samples(op))


def second_slopes(op: Op, sample: Sample, weights: Any, u: list[Any]) -> list[Any]:
    """Gradients of <gradient of sum(weights * op), u>, or None where an op on the way has no gradient."""
    operands = operands_of(sample)
    floats = [t for t in operands if t.dtype.is_floating]
    with gf.GradientTape() as outer:
        outer.watch(floats)
        with gf.GradientTape() as inner:
            inner.watch(floats)
            total = gf.reduce_sum(apply(op, sample, operands)[0] * weights)
        first = inner.gradient(total, floats)
        own_u = [d for d in u if d is not None]
        projected = dot(first, own_u)
    found = iter([None] * len(floats) if projected is None else outer.gradient(projected, floats))
    return [next(found) if t.dtype.is_floating else None for t in operands]


def test_warnings_are_errors_here() -> None:
    with pytest.raises(UserWarning):
        warnings.warn("a test must not warn", UserWarning, stacklevel=1)

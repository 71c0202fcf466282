"""Every op on unknown extents: all samples of an op are one function, traced and compiled once, that does what eager mode does at the
samples' own extents and at 0, 1, 2, 17 and 1000: the same bits, or the same error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import GraphflowError, IndexOutOfRangeError, InvalidArgumentError
from graphflow.ir.op import Op

from .symbolic import Symbolic, env_of, fails, sample_at, scenarios, specs, symbolic_samples
from .table import EVERY_OP, bits, several

SYMBOLIC = [op for op in EVERY_OP if symbolic_samples(op)]

#: Documented: an axis of unknown extent into which no window fits has none, and none gives zeros back.
WITHOUT_WINDOWS = {"windows", "fold_windows"}

#: An op that a pass makes where the indices have been checked.
TRUSTING = {"update_rows"}


def operands_at(case: Symbolic, extents: dict[str, int], sample: Any) -> list[Any]:
    return [*map(gf.constant, sample.arrays), gf.zeros([extents[n] for n in case.loose] + [0], gf.bool)]


def joined(parts: list[list[Any]]) -> list[Any]:
    return [t for own in parts for t in own]


@pytest.mark.parametrize("op", SYMBOLIC, ids=lambda op: op.name)
def test_one_compilation_serves_every_extent(op: Op) -> None:
    cases = symbolic_samples(op)
    bounds = np.cumsum([0, *(len(specs(case)) for case in cases)])

    @gf.function(input_signature=joined([specs(case) for case in cases]))
    def every_case(*operands: Any) -> Any:
        found = []
        for case, first, last in zip(cases, bounds, bounds[1:], strict=False):
            own = operands[first:last]
            found.append(several(op(*own[:-1], **case.attributes(env_of(case, own)))))
        return found

    at_home = [operands_at(case, dict(case.own), case.sample) for case in cases]
    rounds = [scenarios(case) for case in cases]
    for number in range(max(map(len, rounds))):
        chosen, expected = [], []
        for k, (case, extents) in enumerate(zip(cases, rounds, strict=True)):
            now = extents[number % len(extents)]
            sample = sample_at(case, now)
            own = operands_at(case, now, sample)
            if op.name in TRUSTING and fails(op, sample):
                own, sample = at_home[k], case.sample
            try:
                results = several(op(*own[:-1], **sample.attributes))
            except GraphflowError as error:
                if number < len(extents):
                    wrong = joined([*at_home[:k], own, *at_home[k + 1 :]])
                    if op.name in WITHOUT_WINDOWS:
                        assert not np.any(every_case(*wrong)[k][0])
                    else:
                        with pytest.raises(_class_of(error), match=rf"{op.name}[:\s]"):
                            every_case(*wrong)
                own, results = at_home[k], several(op(*at_home[k][:-1], **case.sample.attributes))
            chosen.append(own)
            expected.append(results)
        for case, found, right in zip(cases, every_case(*joined(chosen)), expected, strict=True):
            for one, other in zip(found, right, strict=True):
                assert one.dtype is other.dtype
                np.testing.assert_array_equal(bits(one), bits(other), err_msg=f"{op.name} {case.types()} {number}")
    assert every_case.experimental_get_tracing_count() == 1


def _class_of(error: GraphflowError) -> type[GraphflowError]:
    """What a run raises for it: extents are asserted where only the run knows them."""
    return IndexOutOfRangeError if isinstance(error, IndexOutOfRangeError) else InvalidArgumentError


def test_an_extent_is_checked_where_the_op_runs() -> None:
    """In the branch that is taken, at the user's line, also for an extent that only the run decides; the gradient is none the worse."""
    vector = gf.TensorSpec([None])

    @gf.function(input_signature=[vector])
    def guarded(x: Any) -> Any:
        return gf.cond(gf.size(x) > 0, lambda: gf.argmax(x), lambda: gf.constant(-1, gf.int64))

    assert int(guarded(gf.zeros([0]))) == -1
    assert int(guarded(gf.constant([1.0, 3.0, 2.0]))) == 1

    @gf.function(input_signature=[vector])
    def of_positives(x: Any) -> Any:
        return gf.argmin(gf.boolean_mask(x, x > 0))

    assert int(of_positives(gf.constant([3.0, -1.0, 2.0]))) == 1
    with pytest.raises(InvalidArgumentError, match=r"argmin: axis 0 of f32\[u0\] is empty") as caught:
        of_positives(gf.constant([-1.0]))
    assert "test_symbolic.py" in str(caught.value)

    @gf.function(input_signature=[vector])
    def slope(x: Any) -> Any:
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.pad(x, [[2, 1]], "REFLECT")
        return tape.gradient(y, x)

    assert slope(gf.zeros([4])).numpy().tolist() == [1.0, 2.0, 3.0, 1.0]
    with pytest.raises(
        InvalidArgumentError, match=r"pad: reflect paddings must be at most s0-1 on axis 0 of f32\[s0\]"
    ):
        slope(gf.zeros([2]))

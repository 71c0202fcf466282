"""Every op on unknown extents: all samples of an op are one function, traced and compiled once, that has eager mode's bits at the
samples' own extents and at 0, 1, 2, 17 and 1000."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import GraphflowError
from graphflow.ir.op import Op

from .symbolic import Symbolic, env_of, fails, sample_at, scenarios, specs, symbolic_samples
from .table import EVERY_OP, bits, several

SYMBOLIC = [op for op in EVERY_OP if symbolic_samples(op)]


def operands_at(case: Symbolic, extents: dict[str, int], sample: Any) -> list[Any]:
    return [*map(gf.constant, sample.arrays), gf.zeros([extents[n] for n in case.loose] + [0], gf.bool)]


@pytest.mark.parametrize("op", SYMBOLIC, ids=lambda op: op.name)
def test_one_compilation_serves_every_extent(op: Op) -> None:
    cases = symbolic_samples(op)
    bounds = np.cumsum([0, *(len(specs(case)) for case in cases)])

    @gf.function(input_signature=[spec for case in cases for spec in specs(case)])
    def every_case(*operands: Any) -> Any:
        found = []
        for case, first, last in zip(cases, bounds, bounds[1:], strict=False):
            own = operands[first:last]
            found.append(several(op(*own[:-1], **case.attributes(env_of(case, own)))))
        return found

    at_home = [operands_at(case, dict(case.own), case.sample) for case in cases]
    rounds = [scenarios(case) for case in cases]
    for number in range(max(map(len, rounds))):
        chosen, expected, failing = [], [], []
        for k, (case, extents) in enumerate(zip(cases, rounds, strict=True)):
            now = extents[number % len(extents)]
            sample = sample_at(case, now)
            own = operands_at(case, now, sample)
            problem = fails(op, sample)
            if problem is not None:
                failing.append((k, own, problem))
                own, sample = at_home[k], case.sample
            chosen.append(own)
            expected.append(several(op(*own[:-1], **sample.attributes)))
        flat = [t for own in chosen for t in own]
        for case, found, right in zip(cases, every_case(*flat), expected, strict=True):
            for one, other in zip(found, right, strict=True):
                assert one.dtype is other.dtype
                np.testing.assert_array_equal(bits(one), bits(other), err_msg=f"{op.name} {case.types()} {number}")
        for k, own, problem in failing:
            print('FAILING', op.name, rounds[k][number % len(rounds[k])], type(problem), str(problem)[:100])
    assert every_case.experimental_get_tracing_count() == 1

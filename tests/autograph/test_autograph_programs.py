"""Random programs of nested control flow: as Python on eager tensors, decorated, and with extents that vary."""

from __future__ import annotations

import linecache

import pytest
from random_programs import Holder, helper, program
from three_ways import leaves, same_bits

import graphflow as gf

CALLS = (1.0, 2, [1.0, -2.0]), (-3.0, 0, [0.5]), (2.5, 3, [3.0, 0.25, -1.0])
SPECS = [gf.TensorSpec([], gf.float32), gf.TensorSpec([], gf.int32), gf.TensorSpec([None], gf.float32)]


def result_of(function, scope, call):
    scope["state"] = Holder(gf.constant(0.0))
    try:
        return leaves(function(*map(gf.constant, call))), None
    except ValueError as error:
        return None, type(error)


@pytest.mark.filterwarnings("ignore:.*Holder object.h")  # the programs leave a tensor in an object from outside
@pytest.mark.parametrize("seed", range(12))
def test_program(seed):
    text, name = program(seed), f"<program {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    scope = {"gf": gf, "helper": helper, "FLAG": seed % 2 == 0, "COUNT": seed % 5, "state": None, "__name__": "program"}
    exec(compile(text, name, "exec"), scope)
    ways = gf.function(scope["f"]), gf.function(scope["f"], input_signature=SPECS)
    for call in CALLS:
        expected, raised = result_of(scope["f"], scope, call)
        for way in ways:
            got, error = result_of(way, scope, call)
            assert error is raised, (text, call)
            if raised is None:
                assert all(map(same_bits, expected, got)), (text, call, expected, got)

"""Functions that make, use and print state of their own: no side effect is reported."""

from __future__ import annotations

import dataclasses
import functools
import types

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import SideEffectWarning

X = gf.constant([1.0, 2.0])


def test_state_made_inside_the_function_is_its_own():
    @dataclasses.dataclass
    class Record:
        total: float = 0.0

    class Counter:
        made = 0

        def __init__(self):
            self.n = 0
            self.seen = []

        def step(self, x):
            self.n += 1
            self.seen.append(x)
            return x * float(self.n)

    def body(x):
        found, table, names, record, counter = [], {}, set(), Record(), Counter()
        for k in range(3):
            found.append(x * float(k))
            table[k] = found[-1]
            names.add(k)
            record.total += 1.0
            x = counter.step(x)
        total = 0

        def inner():
            nonlocal total
            total += 1
            found.append(x)

        inner()
        space = types.SimpleNamespace(a=1)
        space.a = 2
        rng = np.random.default_rng(3)
        return gf.add_n(found) * float(rng.integers(1, 2)) + record.total + float(total) + table[2] + float(space.a)

    compiled = gf.function(body, autograph=False)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X).numpy(), body(X).numpy())


def test_lazy_initialisation_is_no_effect():
    class Model:
        def __init__(self):
            self.v = self.table = None
            self.built = False
            self.kept = []
            self.memo = {}

        def build(self):
            if not self.built:
                self.w = gf.Variable(2.0)
                self.built = True

        @functools.cached_property
        def rate(self):
            return 3.0

        @gf.function
        def run(self, x):
            self.build()
            if self.v is None:
                self.v = gf.Variable(1.0)
            if self.table is None:
                self.table = {"k": 2.0}
            if not hasattr(self, "late"):
                self.late = 4.0
            if not self.kept:
                self.kept.append(gf.Variable(1.0))
            if "a" not in self.memo:
                self.memo["a"] = 2.0
            return x * self.v * self.w * self.table["k"] * self.late * self.kept[0] * self.memo["a"] * self.rate

    model = Model()
    for _ in range(3):
        assert model.run(X).numpy().tolist() == [96.0, 192.0]


def test_library_internals_are_no_effect():
    import logging

    class Quiet(logging.Handler):
        def emit(self, record):
            return None

    logger = logging.getLogger("graphflow_side_effect_test")
    logger.addHandler(Quiet())
    logger.propagate = False
    optimizer = gf.optimizers.Adam(0.1)
    w = gf.Variable([1.0, 2.0])

    @functools.lru_cache
    def cached(k):
        return 2.0 * k

    def body(x):
        logger.warning("traced")
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(w * x)) * cached(1)
        optimizer.apply_gradients([(tape.gradient(loss, w), w)])
        return loss

    compiled = gf.function(body)
    compiled(X)
    compiled(X)


def test_gf_print_and_gf_random_are_fine(capfd):
    def body(x):
        gf.print("x is", x)
        return x + gf.random.normal((2,))

    compiled = gf.function(body)
    compiled(X)
    compiled(X)
    assert capfd.readouterr().err.count("x is") == 2


def test_an_effect_of_the_first_run_that_created_variables_is_not_counted_twice():
    class Model:
        def __init__(self):
            self.v = None
            self.calls = 0

        @gf.function
        def run(self, x):
            self.calls += 1
            if self.v is None:
                self.v = gf.Variable(1.0)
            return x * self.v

    model = Model()
    with pytest.warns(SideEffectWarning, match=r"Model object.calls was changed") as caught:
        model.run(X)
    assert len(caught) == 1

"""gf.Module: names, tracking, copying, and variables made in compiled methods."""

from __future__ import annotations

import collections
import copy
import pickle

import numpy as np
import pytest

import graphflow as gf

from .models import Dense, Network

X = gf.ones((4, 2))


def names(variables):
    return [v.name for v in variables]


def test_names():
    class MLPLayer(gf.Module):
        pass

    class HTTPServer2Layer(gf.Module):
        pass

    assert (MLPLayer().name, HTTPServer2Layer().name) == ("mlp_layer", "http_server2_layer")
    assert gf.Module("given").name == "given"
    for bad in ("two words", "1st", "a/b", ""):
        with pytest.raises(ValueError, match="must be a valid Python identifier"):
            gf.Module(bad)


def test_name_scopes():
    network = Network()
    assert names(network.variables) == [
        "network/first/b:0", "network/first/w:0", "network/second/b:0", "network/second/w:0",
    ]  # fmt: skip
    with network.name_scope as scope, gf.name_scope("inner"):
        assert scope == "network/"
        assert gf.Variable(1.0, name="v").name == "network/inner/v:0"
        with gf.name_scope(scope):
            assert gf.Variable(1.0).name == "network/Variable:0"
        with gf.name_scope(""):
            assert gf.Variable(1.0).name == "Variable:0"
    assert gf.Variable(1.0).name == "Variable:0"
    with pytest.raises(KeyError), gf.name_scope("lost"):
        raise KeyError
    assert gf.Variable(1.0).name == "Variable:0"


def test_with_name_scope():
    class Lazy(gf.Module):
        w = None

        @gf.Module.with_name_scope
        def __call__(self, x):
            """Documented."""
            if self.w is None:
                self.w = gf.Variable(gf.ones(2), name="w")
            return x * self.w

        @gf.Module.with_name_scope
        @gf.function
        def compiled(self, x):
            if self.w is None:
                self.w = gf.Variable(lambda: gf.ones(2), name="w")
            return x * self.w

        @gf.function
        @gf.Module.with_name_scope
        def outside(self, x):
            if self.w is None:
                self.w = gf.Variable(lambda: gf.ones(2), name="w")
            return x * self.w

    assert Lazy.__call__.__doc__ == "Documented."
    for method in ("__call__", "compiled", "outside"):
        model = Lazy(name="model")
        for _ in range(3):
            assert getattr(model, method)(gf.constant([2.0, 3.0])).numpy().tolist() == [2, 3]
        assert names(model.variables) == ["model/w:0"]


def test_tracking():
    network = Network()
    first, second = network.layers
    assert network.variables == (first.b, first.w, second.b, second.w)
    assert network.trainable_variables == (first.w, second.w)
    assert network.non_trainable_variables == (first.b, second.b)
    assert network.submodules == (first, second)
    assert network.variables == network.variables


def test_containers_records_shared_and_cyclic_modules():
    Pair = collections.namedtuple("Pair", "left right")
    model = gf.Module("model")
    v = [gf.Variable(float(k), name=f"v{k}") for k in range(6)]
    child = gf.Module("child")
    child.parent, child.own = model, v[5]
    model.z = {"b": v[1], "a": [v[0], (v[2],)]}
    model.a = Pair(v[3], {"again": v[0], "deep": collections.deque([v[4]])})
    model.child = [child, child]
    model.not_tracked = {1, 2}
    assert model.variables == (v[3], v[0], v[4], v[2], v[1], v[5])
    assert model.submodules == (child,)
    assert child.variables == (v[5], v[3], v[0], v[4], v[2], v[1])
    paths = dict.fromkeys(path for path, _ in model._flatten(predicate=lambda x: x is v[0], with_path=True))
    assert {("a", "right", "again"), ("z", "a", 0)} <= set(paths)
    assert list(model._flatten(recursive=False, predicate=lambda x: x is v[5])) == []
    reverse = model._flatten(
        predicate=lambda x: isinstance(x, gf.Variable), attribute_traversal_key=lambda k: -ord(k[0])
    )
    assert next(reverse) is v[0]


def test_attributes_change():
    network = Network()
    old = network.layers[0].w
    network.layers[0].w = gf.Variable(gf.zeros((2, 3)))
    assert all(v is not old for v in network.variables)
    assert (network(X).numpy() == 0).all()
    del network.layers[0].b
    assert len(network.variables) == 3
    with pytest.raises(AttributeError):
        network(X)
    network.layers[0].b = gf.Variable(gf.ones(3))
    assert len(network.trainable_variables) == 3
    network.layers.append(Dense(1, 1, "third"))
    before = network(X).numpy()
    network.layers[-1].w.assign([[0.0]])
    assert (network(X).numpy() == 0).all() and (before != 0).all()


def test_a_variable_added_after_the_trace_is_seen():
    class Model(gf.Module):
        def __init__(self):
            super().__init__()
            self.v = gf.Variable(2.0)

        @gf.function
        def total(self):
            return gf.add_n([v.value() for v in self.trainable_variables])

    model = Model()
    for _ in range(3):
        assert float(model.total()) == 2
    model.another = gf.Variable(5.0)
    assert float(model.total()) == 7
    model.more = [gf.Variable(10.0)]
    assert float(model.total()) == 17
    model.more.append(gf.Variable(100.0))
    assert float(model.total()) == 117
    del model.v
    assert float(model.total()) == 115


def test_an_attribute_that_cannot_be_flattened_is_named():
    class Bad(tuple):
        def __iter__(self):
            raise RuntimeError("no")

    model = gf.Module()
    model.broken = Bad((1,))
    with pytest.raises(ValueError, match="attribute 'broken' cannot be flattened"):
        _ = model.variables


def test_training():
    network = Network()
    losses = [float(network.step(X)) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert network.step.experimental_get_tracing_count() == 1


# Copies ---------------------------------------------------------------------------------------------------------------
def state(module):
    return [(v.name, v.dtype, v.trainable, v.numpy().tolist()) for v in module.variables]


def by_pickle(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_duplicates_are_independent(duplicate):
    network = Network()
    network.step(X)
    twin = duplicate(network)
    assert state(twin) == state(network)
    assert all(a is not b for a, b in zip(twin.variables, network.variables, strict=True))
    assert twin.shared["again"] is twin.layers[0]
    assert twin(X).numpy().tobytes() == network(X).numpy().tobytes()
    for _ in range(3):
        assert twin.step(X).numpy().tobytes() == network.step(X).numpy().tobytes()
    twin.layers[0].w.assign(gf.zeros((2, 3)))
    assert (twin(X).numpy() == 0).all() and (network(X).numpy() != 0).all()
    assert names(twin.variables) == names(network.variables)
    with twin.name_scope as scope:
        assert scope == "network/"


def test_a_shallow_copy_shares_its_variables():
    network = Network()
    twin = copy.copy(network)
    assert twin.variables == network.variables
    twin.rate = 0.5
    assert (twin(X).numpy() == 2 * network(X).numpy()).all()


def test_state_restored_by_hand():
    network, other = Network(), Network()
    network.step(X)
    for mine, its in zip(other.variables, network.variables, strict=True):
        mine.assign(its)
    assert state(other) == state(network)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, by_pickle])
def test_variables(dtype, duplicate):
    values = np.array([[1, 0], [3, 4]]).astype(getattr(gf, dtype).numpy)
    variable = gf.Variable(values, trainable=False, name="scope/v")
    with gf.name_scope("elsewhere"):
        twin = duplicate(variable)
    assert (twin.name, twin.dtype, twin.trainable) == ("scope/v:0", variable.dtype, False)
    assert twin.numpy().tobytes() == variable.numpy().tobytes()
    twin.assign(gf.zeros((2, 2), variable.dtype))
    assert variable.numpy().any()


def test_one_variable_in_two_places_stays_one():
    v = gf.Variable(1.0)
    for twin in (copy.deepcopy([v, v]), by_pickle([v, v])):
        assert twin[0] is twin[1] is not v


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
@pytest.mark.parametrize("kind", [gf.optimizers.Adam, gf.optimizers.SGD])
def test_optimizers(duplicate, kind):
    network, optimizer = Network(), kind(0.1)

    def step(network, optimizer):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(network(X))
        optimizer.minimize(loss, network.trainable_variables, tape)
        return network(X).numpy().tobytes()

    step(network, optimizer)
    twin, its_optimizer = duplicate((network, optimizer))
    assert step(twin, its_optimizer) == step(network, optimizer)
    assert int(its_optimizer.iterations) == int(optimizer.iterations) == 2
    its_optimizer.learning_rate = 0.0
    assert float(optimizer.learning_rate) > 0
    with pytest.raises(ValueError, match="not one of those it was built for"):
        step(network, its_optimizer)

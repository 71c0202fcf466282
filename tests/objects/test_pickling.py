"""Pickling and copying functions, methods and concrete functions, into this process and others."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import graphflow as gf

from . import models

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATH = (ROOT, os.path.dirname(HERE))
X = gf.constant([1.0, 3.0])
A = gf.ones((4, 2))


def elsewhere(data, code, tmp_path, path=PATH):
    """Run code in a new process, where `loaded` is the unpickled data and `traced` the names of the functions whose
    Python was traced; what it prints."""
    file = tmp_path / "data.pickle"
    file.write_bytes(data)
    program = textwrap.dedent(
        f"""
        import pickle, sys
        sys.path[:0] = {list(path)!r}
        import numpy as np
        import graphflow as gf
        from graphflow.tracing import settle
        traced = []
        run = settle.Settling._run_python
        settle.Settling._run_python = lambda self, *a: (traced.append(self.name), run(self, *a))[1]
        with open({str(file)!r}, "rb") as opened:
            loaded = pickle.load(opened)
        X, A = gf.constant([1.0, 3.0]), gf.ones((4, 2))
        """
    ) + textwrap.dedent(code)
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


# Functions ------------------------------------------------------------------------------------------------------------
def test_by_reference_in_this_process():
    models.scaled(X)
    assert pickle.loads(pickle.dumps(models.scaled)) is models.scaled
    assert pickle.loads(pickle.dumps(models.Network.step)) is models.Network.step
    again = pickle.loads(pickle.dumps(models.compiled))
    assert again is not models.compiled
    assert again(X).numpy().tolist() == [3, 5]


def test_in_a_new_process_nothing_is_traced(tmp_path):
    network = models.Network()
    expected = [models.scaled(X), models.scaled(X, 3), models.compiled(X), network(A)]
    found = elsewhere(
        pickle.dumps([models.scaled, models.compiled, network.__call__]),
        """
        scaled, compiled, call = loaded
        for result in (scaled(X), scaled(X, 3), compiled(X), call(A)):
            print(result.numpy().tobytes().hex())
        print(",".join(traced) or "nothing", scaled.experimental_get_tracing_count())
        scaled(gf.constant([1.0]))
        print(*set(traced))
        """,
        tmp_path,
    )
    assert found[:4] == [e.numpy().tobytes().hex() for e in expected]
    assert found[4:] == ["nothing", "2", "scaled"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("models.SCALE = 3.0", [3.5, 8.5]),
        ("models.SETTINGS.rate = 1.0", [4, 10]),
        ("models.SETTINGS = models.Settings(2.0)", [6, 16]),
        ("models.OFFSET = gf.Variable([0.0, 0.0])", [1, 3]),
        ("models.helper = lambda x: x * 0.0", [2, 4]),
        ("models.scaled.python_function.__defaults__ = (0,)", [1, 3]),
    ],
)
def test_guards_are_checked_where_it_is_loaded(change, expected, tmp_path):
    models.scaled(X)
    found = elsewhere(
        pickle.dumps(models.scaled),
        f"""
        from objects import models
        {change}
        print(*loaded(X).numpy(), *traced)
        """,
        tmp_path,
    )
    assert [float(v) for v in found[:2]] == expected
    if "OFFSET" not in change:
        assert found[2:] == ["scaled"]


def test_code_that_changed_is_traced_again(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    source = """
        import graphflow as gf

        def inner(x):
            return x * {factor}

        @gf.function
        def outer(x):
            return inner(x) + 1.0
        """
    file = folder / "changing.py"
    file.write_text(textwrap.dedent(source.format(factor=2.0)))
    data = elsewhere(
        pickle.dumps(None),
        """
        import changing, base64
        changing.outer(X)
        print(base64.b64encode(pickle.dumps(changing.outer)).decode())
        """,
        tmp_path,
        (ROOT, str(folder)),
    )[0]
    import base64

    call = "print(*loaded(X).numpy(), *traced)"
    assert elsewhere(base64.b64decode(data), call, tmp_path, (ROOT, str(folder))) == ["3.0", "7.0"]
    file.write_text(textwrap.dedent(source.format(factor=5.0)))
    os.utime(file, (1e9, 1e9))
    assert elsewhere(base64.b64decode(data), call, tmp_path, (ROOT, str(folder))) == ["6.0", "16.0", "outer"]


def _call(function):
    return function(X).numpy().tolist()


def test_spawned_processes():
    models.scaled(X)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_call, [models.scaled, models.compiled]) == [[3, 7], [3, 5]]


def test_methods_and_wrapped_callables_are_made_again():
    network = models.Network()
    network.forward = gf.function(network.layers[0].__call__)
    part = gf.function(functools.partial(models.plain))
    twin, again = pickle.loads(pickle.dumps((network, part)))
    assert again(X).numpy().tolist() == [3, 5]
    twin.layers[0].w.assign(gf.zeros((2, 3)))
    assert (twin.forward(A).numpy() == 0).all()
    assert (network.forward(A).numpy() != 0).all()


def outer_function():
    @gf.function
    def inner(x):
        return x

    return inner


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: gf.function(lambda x: x), "it is a lambda"),
        (outer_function, "defined inside a function"),
    ],
)
def test_functions_without_a_name_to_import(make, reason):
    with pytest.raises(gf.errors.NotPicklableError, match=reason) as caught:
        pickle.dumps(make())
    assert isinstance(caught.value, (pickle.PicklingError, TypeError))
    assert "get_concrete_function" in caught.value.hint


def test_a_function_of_main(tmp_path):
    found = elsewhere(
        pickle.dumps(None),
        """
        @gf.function
        def f(x):
            return x * 2.0

        try:
            pickle.dumps(f)
        except gf.errors.NotPicklableError as error:
            print("__main__" in str(error))
        print(*pickle.loads(pickle.dumps(f.get_concrete_function(X)))(X).numpy())
        """,
        tmp_path,
    )
    assert found == ["True", "2.0", "6.0"]


def test_traces_that_cannot_travel_stay():
    offset = gf.Variable(1.0)

    def closing(x):
        return x + offset

    models.closing = gf.function(closing)
    models.closing.__module__, models.closing.__qualname__ = models.__name__, "closing"
    try:
        models.closing(X)
        data = pickle.dumps(models.closing)
        assert pickle.loads(data) is models.closing
        assert not models.closing._blueprints
    finally:
        del models.closing


# Concrete functions ---------------------------------------------------------------------------------------------------
def test_a_concrete_function_needs_no_source(tmp_path):
    weight = gf.Variable([[2.0], [1.0]], name="weight")
    count = gf.Variable(0, dtype=gf.int64)

    @gf.function(input_signature=[gf.TensorSpec([None, 2])])
    def f(x):
        count.assign_add(1)
        return {"y": gf.nn.relu(gf.matmul(x, weight)), "constant": (3, None), "sizes": gf.shape(x)}

    f(A)
    concrete = f.get_concrete_function()
    found = elsewhere(
        pickle.dumps((concrete, count)),
        """
        f, count = loaded
        for rows in (1, 3):
            found = f(gf.ones((rows, 2)))
            print(*found["y"].numpy().ravel(), found["constant"], *found["sizes"].numpy())
        print(count.numpy(), [v.name for v in f.variables], len(traced))
        """,
        tmp_path,
    )
    assert " ".join(found) == "3.0 (3, None) 1 2 3.0 3.0 3.0 (3, None) 3 2 3 ['Variable:0', 'weight:0'] 0"
    assert int(count) == 1


def test_a_concrete_function_in_this_process():
    v = gf.Variable([1.0, 1.0])
    concrete = gf.function(lambda x: v.assign_add(x).value()).get_concrete_function(X)
    for twin in (pickle.loads(pickle.dumps(concrete)), copy.deepcopy(concrete)):
        assert twin(X).numpy().tolist() == [2, 4]
        assert v.numpy().tolist() == [1, 1]
        assert str(twin.graph) == str(concrete.graph)
    assert copy.copy(concrete)(X).numpy().tolist() == [2, 4]
    assert v.numpy().tolist() == [2, 4]
    both = pickle.loads(pickle.dumps((concrete, v)))
    both[0](X)
    assert both[1].numpy().tolist() == [3, 7]


def test_large_constants_and_dtypes_keep_their_bits():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(300, 7)).astype("f4")
    special = np.array([np.nan, np.inf, -0.0, 1e-42], "f4")
    concrete = gf.function(lambda i: (gf.gather(table, i), gf.constant(special) * 1.0)).get_concrete_function(
        gf.constant([0, 299])
    )
    twin = pickle.loads(pickle.dumps(concrete))
    for a, b in zip(concrete(gf.constant([5, 7])), twin(gf.constant([5, 7])), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_python_calls_cannot_travel():
    f = gf.function(lambda x: gf.numpy_function(np.sin, [x], gf.TensorSpec([2], gf.float32)))
    concrete = f.get_concrete_function(X)
    with pytest.raises(gf.errors.NotPicklableError, match="calls Python") as caught:
        pickle.dumps(concrete)
    assert "test_pickling.py" in str(caught.value)
    models.python_call = f
    f.__module__, f.__qualname__ = models.__name__, "python_call"
    try:
        assert pickle.loads(pickle.dumps(f)) is f  # the function goes by reference, the trace stays
    finally:
        del models.python_call


def test_copies_of_functions():
    log = []

    @gf.function
    def f(x):
        log.append(1)
        return x * 2.0

    with pytest.warns(gf.errors.SideEffectWarning):
        f(X)
        for twin in (copy.copy(f), copy.deepcopy(f)):
            assert twin is not f and twin.python_function is f.python_function
            assert twin(X).numpy().tolist() == [2, 6]
    assert len(log) == 3


def test_a_deep_copy_of_a_bound_function_follows_its_instance():
    network = models.Network()
    network.forward = gf.function(network.layers[0].__call__)
    twin = copy.deepcopy(network)
    twin.layers[0].w.assign(gf.zeros((2, 3)))
    assert (twin.forward(A).numpy() == 0).all() and (network.forward(A).numpy() != 0).all()
    bound = copy.deepcopy(network.step)
    assert bound._instance is not network


def test_code_of_compiled_special_methods_is_guarded(tmp_path):
    network = models.Network()
    network(A)
    found = elsewhere(
        pickle.dumps(network.__call__),
        """
        from objects import models
        models.Dense.__call__ = gf.function(lambda self, x: gf.matmul(x, self.w) * 0.0)
        print(*loaded(A).numpy().ravel(), *traced)
        """,
        tmp_path,
    )
    assert found == ["0.0"] * 4 + ["__call__"]

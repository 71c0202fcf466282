"""docs/errors.md lists every exception class with its bases; TensorFlow's names are there; guards keep functions what they were."""

from __future__ import annotations

import inspect
import pickle
import re
import traceback
from pathlib import Path

import pytest

import graphflow as gf
from graphflow import errors

CLASSES = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, Exception) and found.__module__ == errors.__name__
}
TEXT = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
#: tf.errors of TensorFlow 2.21
TENSORFLOW = """AbortedError AlreadyExistsError CancelledError DataLossError DeadlineExceededError FailedPreconditionError InternalError
    InvalidArgumentError NotFoundError OpError OperatorNotAllowedInGraphError OutOfRangeError PermissionDeniedError ResourceExhaustedError
    UnauthenticatedError UnavailableError UnimplementedError UnknownError""".split()


def test_every_class_is_in_the_catalogue_with_its_bases():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", TEXT, re.M))
    raised = {name: found for name, found in CLASSES.items() if found.__doc__ != "Never raised."}
    assert rows == {name: ", ".join(f"`{b.__name__}`" for b in found.__bases__) for name, found in raised.items()}
    assert all(f"`{name}`" in TEXT for name in CLASSES)
    assert set(CLASSES) <= set(errors.__all__)


def test_what_nothing_raises_is_tensorflow_s():
    never = {name for name, found in CLASSES.items() if found.__doc__ == "Never raised."}
    assert never < set(TENSORFLOW)
    assert set(TENSORFLOW) <= set(CLASSES)
    assert all(issubclass(CLASSES[name], errors.OpError) for name in never)


def test_what_is_raised_is_raised_somewhere():
    """Each class that is no base of others and is not TensorFlow's is named in the package outside errors.py."""
    source = "\n".join(p.read_text() for p in Path(gf.__file__).parent.rglob("*.py") if p.name != "errors.py")
    leaves = {n for n, c in CLASSES.items() if not c.__subclasses__() and c.__doc__ != "Never raised."}
    assert [n for n in sorted(leaves - set(TENSORFLOW)) if not re.search(rf"\b{n}\b", source)] == []


def test_guarded_functions_are_what_they_were():
    assert gf.exp is gf.math.exp
    assert gf.nn.softmax is gf.math.softmax
    for function in (gf.exp, gf.concat, gf.linalg.norm, gf.random.normal, gf.nn.conv2d, gf.signal.fft):
        assert pickle.loads(pickle.dumps(function)) is function
        assert function.__doc__
        assert "name" in inspect.signature(function).parameters
    assert "ops.add(x, y)" in inspect.getsource(gf.add)
    assert "call(ops.add)(x, y)" in gf.autograph.to_code(gf.add)
    x = gf.constant([1.0, 2.0])
    total = gf.function(gf.reduce_sum)
    assert (
        total(x).numpy()
        == total(input_tensor=x).numpy()
        == gf.reduce_sum(x, 0).numpy()
        == gf.reduce_sum(axis=0, input_tensor=x).numpy()
        == 3
    )
    assert gf.clip_by_value(x, 0.0, 1.5).numpy().tolist() == [1, 1.5]
    for call, count in (
        (lambda: gf.add(), "2 required"),
        (lambda: gf.add(1, first=2), "'first'"),
        (lambda: gf.add(1, 2, 3, 4), "4 were"),
    ):
        with pytest.raises(errors.ArgumentError, match=count):
            call()


def test_errors_of_guarded_functions_show_the_users_frames():
    from graphflow.tracing.tracebacks import disable_traceback_filtering, enable_traceback_filtering

    def fails(row):
        return gf.add(row, gf.ones(3))

    def files():
        with pytest.raises(errors.ShapeError) as caught:
            gf.map_fn(fails, gf.ones((2, 2)))
        return [Path(entry.filename).name for entry in traceback.extract_tb(caught.value.__traceback__)]

    assert files() == [Path(__file__).name, "arguments.py", Path(__file__).name]
    disable_traceback_filtering()
    try:
        assert "op.py" in files()
    finally:
        enable_traceback_filtering()


def test_methods_are_called_by_the_public_class():
    with pytest.raises(errors.GraphflowError) as caught:
        gf.Variable([1.0]).scatter_add(3)
    assert caught.value.hint == "help(gf.Variable.scatter_add) says what it takes"


def test_a_warning_of_a_guarded_method_names_the_users_line():
    optimizer = gf.optimizers.SGD(0.1)
    with pytest.warns(UserWarning, match="no gradient for") as caught:
        optimizer.apply_gradients([(gf.ones(2), gf.Variable([1.0, 2.0])), (None, gf.Variable(1.0))])
    assert caught[0].filename == __file__


def test_the_users_exceptions_keep_their_class():
    class OwnError(ValueError):
        pass

    def fails(*args):
        raise OwnError("mine")

    def key(*args):
        return {}["missing"]

    x = gf.ones((2, 2))
    calls = [
        lambda f: gf.map_fn(f, x), lambda f: gf.cond(gf.constant(True), f, f), lambda f: gf.while_loop(f, f, [x]),
        lambda f: gf.custom_gradient(f)(x), lambda f: gf.nest.map_structure(f, [x]), lambda f: gf.scan(f, x),
        lambda f: gf.optimizers.SGD(0.1).minimize(f, []),
    ]  # fmt: skip
    for call in calls:
        for f, error in ((fails, OwnError), (key, KeyError)):
            with pytest.raises(error):
                call(f)
            with pytest.raises(error):
                gf.function(lambda call=call, f=f: call(f), autograph=False)()


def test_a_broken_repr_does_not_hide_the_error():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no repr")

    with pytest.raises(gf.errors.GraphflowError, match="repr raised RuntimeError"):
        gf.nn.moments(gf.ones((2, 2)), [7], Broken())


def test_a_missing_library_is_named_with_the_command(monkeypatch):
    from graphflow.bench.peers import CONTENDERS
    from graphflow.runtime.cuda import available

    monkeypatch.setattr(available, "is_available", lambda: False)
    with pytest.raises(gf.errors.FailedPreconditionError, match=r"numba-cuda[\s\S]*pip install 'graphflow\[cuda\]'"):
        available.cuda()
    assert all(c.install.startswith("pip install ") for c in CONTENDERS.values())

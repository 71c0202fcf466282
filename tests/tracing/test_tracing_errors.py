"""What Python code cannot do with a traced tensor, and with one that outlived its trace."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf


def test_user_exceptions_keep_their_class():
    class Mine(Exception):
        pass

    @gf.function
    def f(x, fail):
        if fail:
            raise Mine("mine")
        return x

    with pytest.raises(Mine, match=r"^mine$"):
        f(gf.constant(1.0), True)
    assert f(gf.constant(1.0), False).numpy() == 1
    assert f.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "use",
    [
        bool,
        float,
        int,
        lambda t: t.numpy(),
        lambda t: [1, 2][t],
        lambda t: np.sqrt(t),
        lambda t: t.tolist(),
        lambda t: 1 if t else 2,
        lambda t: range(t),
    ],
)
def test_symbolic_tensor_as_a_python_value(use):
    with pytest.raises(TypeError, match="no Python value while the function") as caught:
        gf.function(lambda x: use(x), autograph=False)(gf.constant(1))
    assert isinstance(caught.value, gf.errors.TracedBoolError)
    assert "test_tracing_errors.py" in str(caught.value)
    assert "gf.where" in str(caught.value)


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_leaked_tensor():
    kept = []

    @gf.function
    def leak(x):
        kept.append(x * 2.0)  # leaks
        return x

    leak(gf.constant(1.0))
    other = gf.function(lambda y: y + kept[0])
    for use in (
        lambda: kept[0] + 1.0,
        lambda: kept[0].numpy(),
        lambda: bool(kept[0]),
        lambda: leak(kept[0]),
        lambda: other(gf.constant(1.0)),
        lambda: gf.Variable(kept[0]),
    ):
        with pytest.raises(
            gf.errors.TensorLeakError, match=r"made at .*test_tracing_errors.py:\d+ +x \* 2.0"
        ) as caught:
            use()
        assert "'leak'" in str(caught.value) or "body" in str(caught.value)
        assert isinstance(caught.value, TypeError)
    assert "symbolic" in repr(kept[0])


def test_symbolic_tensor_of_an_outer_trace_in_an_init_scope():
    @gf.function
    def f(x):
        with gf.init_scope():
            return x + 1.0

    with pytest.raises(gf.errors.TensorLeakError):
        f(gf.constant(1.0))

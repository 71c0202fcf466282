"""Slices of variables that are assigned to, scattered updates, IndexedSlices; TensorShape's methods; variable creators."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

ROWS = gf.IndexedSlices
UPDATES = {
    "slice": (lambda v: v[1:3].assign([7.0, 8.0]), [1, 7, 8, 4]),
    "slice of one value": (lambda v: v[1:3].assign(5.0), [1, 5, 5, 4]),
    "negative step": (lambda v: v[::-2].assign([1.0, 2.0]), [1, 2, 3, 1]),
    "new axis": (lambda v: v[gf.newaxis, 1:2].assign([[9.0]]), [1, 9, 3, 4]),
    "mask": (lambda v: v[v > 2.0].assign(0.0), [1, 2, 0, 0]),
    "element": (lambda v: v[-1].assign(3.0), [1, 2, 3, 3]),
    "strided_slice": (lambda v: gf.strided_slice(v, [1], [3], var=v).assign([0.0, 0.0]), [1, 0, 0, 4]),
    "scatter_update": (lambda v: v.scatter_update(ROWS([2.0, 3.0], [0, 0])), [3, 2, 3, 4]),
    "scatter_add": (lambda v: v.scatter_add(ROWS([2.0, 3.0], [0, 0])), [6, 2, 3, 4]),
    "scatter_sub": (lambda v: v.scatter_sub(ROWS([2.0, 3.0], [0, 0])), [-4, 2, 3, 4]),
    "scatter_mul": (lambda v: v.scatter_mul(ROWS([2.0, 3.0], [3, 3])), [1, 2, 3, 24]),
    "scatter_div": (lambda v: v.scatter_div(ROWS([2.0, 4.0], [3, 3])), [1, 2, 3, 0.5]),
    "scatter_max": (lambda v: v.scatter_max(ROWS([2.0, 1.0], [0, 3])), [2, 2, 3, 4]),
    "scatter_min": (lambda v: v.scatter_min(ROWS([2.0, 1.0], [0, 3])), [1, 2, 3, 1]),
    "scatter_nd_add": (lambda v: v.scatter_nd_add([[0], [0]], [1.0, 1.0]), [3, 2, 3, 4]),
    "scatter_nd_sub": (lambda v: v.scatter_nd_sub([[2]], [1.0]), [1, 2, 2, 4]),
    "scatter_nd_update": (lambda v: v.scatter_nd_update([[2]], [9.0]), [1, 2, 9, 4]),
    "batch_scatter_update": (lambda v: v.batch_scatter_update(ROWS([9.0, 8.0], [3, 0])), [8, 2, 3, 9]),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_eager_and_compiled(name):
    update, expected = UPDATES[name]
    eager, compiled = (gf.Variable([1.0, 2.0, 3.0, 4.0]) for _ in range(2))
    assert update(eager) is eager
    gf.function(lambda: update(compiled).value())()
    np.testing.assert_array_equal(eager.numpy(), np.float32(expected))
    assert eager.numpy().tobytes() == compiled.numpy().tobytes()


def test_only_slices_of_variables_have_assign():
    assert not hasattr(gf.constant([1.0])[0], "assign")
    assert not hasattr(gf.Tensor, "__getattr__")  # every access to an attribute would be slower
    v = gf.Variable([1.0, 2.0])
    with gf.GradientTape() as tape:
        y = v[0] * v[1]
    np.testing.assert_array_equal(tape.gradient(y, v).numpy(), [2, 1])


def test_batches_of_rows():
    v = gf.Variable([[1.0, 2.0], [3.0, 4.0]])
    v.batch_scatter_update(ROWS([[9.0, 8.0], [7.0, 6.0]], [[1, 0], [0, 1]]))
    np.testing.assert_array_equal(v.numpy(), [[8, 9], [7, 6]])
    np.testing.assert_array_equal(v.sparse_read([1, 1]).numpy(), [[7, 6], [7, 6]])
    np.testing.assert_array_equal(v.gather_nd([[0, 1]]).numpy(), [9])
    v[:, 1].assign([0.0, 1.0])
    np.testing.assert_array_equal(v.numpy(), [[8, 0], [7, 1]])


def test_a_refused_update_changes_nothing():
    v = gf.Variable([1.0, 2.0])
    for update in (
        lambda: v[0].assign([1.0, 2.0]),
        lambda: v[0].assign(gf.constant(1)),
        lambda: v.scatter_add(ROWS([1.0], [5])),
        lambda: v.scatter_add(ROWS([[1.0, 2.0]], [0])),
        lambda: v.scatter_add(1.0),
        lambda: v.set_shape([3]),
    ):
        with pytest.raises(gf.errors.GraphflowError):
            update()
    np.testing.assert_array_equal(v.numpy(), [1, 2])


def test_creators():
    def creator(create, **arguments):
        return create(**{**arguments, "trainable": False})

    with gf.variable_creator_scope(creator):
        assert not gf.Variable(1.0).trainable
    assert gf.Variable(1.0, constraint=abs).constraint is abs
    assert gf.Variable(1.0).trainable


def test_shapes():
    s, u = gf.TensorShape([None, 3]), gf.TensorShape(None)
    assert s.concatenate([4]) == [None, 3, 4] and s + [5] == [None, 3, 5] and [1] + s == [1, None, 3]
    assert s.merge_with([2, None]) == [2, 3] and s.is_compatible_with([7, 3]) and not s.is_compatible_with([7, 4])
    assert s.most_specific_compatible_shape([2, 4]) == [None, None] and s.num_elements() is None
    assert gf.TensorShape([2]).is_subtype_of(gf.TensorShape([None])) and gf.TensorShape(3) == [3]
    assert u.rank is None and u.dims is None and not u and str(u) == "<unknown>" and repr(u) == "TensorShape(None)"
    assert (
        u == gf.TensorShape(None)
        and u != s
        and u.with_rank(2) == [None, None]
        and u[1:] == u
        and u.merge_with([2]) == [2]
    )
    for call in (
        lambda: len(u), lambda: list(u), u.as_list, lambda: s.with_rank(3), lambda: s.merge_with([1, 4]), s.assert_is_fully_defined,
        lambda: s.assert_has_rank(1), lambda: s.with_rank_at_least(3), lambda: s.with_rank_at_most(1), lambda: s.assert_same_rank([1]),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            call()

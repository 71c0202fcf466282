"""gf.nest against tf.nest's rules, gf.tree's registration, static fields, and paths."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import types
import typing

import numpy as np
import pytest

import graphflow as gf
from graphflow import nest, tree

Point = collections.namedtuple("Point", "x y")


class Typed(typing.NamedTuple):
    first: object
    second: object = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: object
    b: object = dataclasses.field(default=None, metadata={"static": True})


@dataclasses.dataclass
class Outer:
    inner: Slotted
    items: list = dataclasses.field(default_factory=list)


class Row(collections.abc.Sequence):
    def __init__(self, items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, k):
        return self.items[k]

    def __eq__(self, other):
        return isinstance(other, Row) and self.items == other.items

    __hash__ = None


class Table(collections.abc.MutableMapping):
    def __init__(self, items=()):
        self.items_ = dict(items)

    def __getitem__(self, k):
        return self.items_[k]

    def __setitem__(self, k, v):
        self.items_[k] = v

    def __delitem__(self, k):
        del self.items_[k]

    def __iter__(self):
        return iter(self.items_)

    def __len__(self):
        return len(self.items_)


class Labelled(dict):
    """A dictionary with a state of its own, and a constructor that takes something else."""

    def __init__(self, label):
        super().__init__()
        self.label = label


class Pinned:
    def __init__(self, value, unit):
        self.value, self.unit = value, unit

    def __tf_flatten__(self):
        return (self.unit,), (self.value,)

    @classmethod
    def __tf_unflatten__(cls, metadata, components):
        return cls(components[0], metadata[0])


class Interval:
    def __init__(self, low, high, closed):
        self.low, self.high, self.closed = low, high, closed


tree.register(Interval, lambda v: (v.closed, (v.low, v.high)), lambda closed, parts: Interval(*parts, closed))

LEAVES = [
    5, None, "text", b"bytes", range(3), {1, 2}, frozenset([1]), object(), np.zeros(3), bytearray(b"x"), int, ...,
    types.SimpleNamespace(a=1), lambda: 0, iter([1]),
]  # fmt: skip

NESTED = [
    ([1, [2, (3,)]], [1, 2, 3]),
    ({"b": 1, "a": [2, 3]}, [2, 3, 1]),
    (collections.OrderedDict(b=1, a=2), [2, 1]),
    (collections.defaultdict(list, b=1, a=2), [2, 1]),
    (types.MappingProxyType({"b": 1, "a": 2}), [2, 1]),
    (collections.ChainMap({"b": 1}, {"a": 2}), [2, 1]),
    ({10: "x", 9: "y", 9.5: "z"}, ["y", "z", "x"]),
    ({True: 1, False: 0}, [0, 1]),
    (Point(1, [2]), [1, 2]),
    (Typed([1, 2]), [1, 2, 0]),
    (collections.deque([1, 2], maxlen=3), [1, 2]),
    (Row([1, [2]]), [1, 2]),
    (collections.UserList([1, 2]), [1, 2]),
    (Slotted([1, 2], "s"), [1, 2]),
    (Outer(Slotted(1), [2, {"k": None}]), [1, 2, None]),
    ([], []),
    ({}, []),
    (((), [[]]), []),
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda v: type(v).__name__)
def test_leaves(leaf):
    assert not nest.is_nested(leaf)
    assert nest.flatten(leaf)[0] is leaf
    assert nest.pack_sequence_as(leaf, [7]) == 7
    assert nest.map_structure(lambda v: (v, 1), leaf)[0] is leaf
    assert nest.flatten_with_path(leaf) == [((), leaf)]


def test_graphflow_objects_are_leaves():
    for leaf in (gf.constant([1.0]), gf.Variable(1.0), gf.TensorShape([1, 2]), gf.TensorSpec([1]), gf.Module("m")):
        assert not nest.is_nested(leaf)

    @dataclasses.dataclass
    class Layer(gf.Module):
        size: int = 3

    assert nest.flatten([Layer()])[0].size == 3


@pytest.mark.parametrize(("structure", "leaves"), NESTED, ids=lambda v: type(v).__name__)
def test_containers(structure, leaves):
    assert nest.is_nested(structure)
    assert nest.flatten(structure) == leaves
    again = nest.pack_sequence_as(structure, [(v,) for v in leaves])
    assert type(again) is type(structure)
    nest.assert_same_structure(structure, nest.map_structure(lambda v: 0, structure))
    assert nest.flatten(nest.map_structure(lambda v: [v], structure)) == leaves
    assert [leaf for _, leaf in nest.flatten_with_path(structure)] == leaves
    assert nest.map_structure_with_path(lambda path, v: v, structure) == structure


def test_mappings_keep_their_own_order_when_packed():
    packed = nest.pack_sequence_as({"b": 0, "a": 0}, [1, 2])
    assert list(packed.items()) == [("b", 2), ("a", 1)]
    assert list(nest.map_structure(lambda v: v, collections.OrderedDict(b=1, a=2))) == ["b", "a"]


def test_containers_keep_their_state():
    assert nest.map_structure(lambda v: v, collections.defaultdict(list, a=1))["new"] == []
    assert nest.map_structure(lambda v: v, collections.deque([1], maxlen=1)).maxlen == 1
    labelled = Labelled("lab")
    labelled["x"] = 1
    again = nest.map_structure(lambda v: v + 1, labelled)
    assert (again, again.label, labelled["x"]) == ({"x": 2}, "lab", 1)
    assert nest.map_structure(lambda v: v + 1, Table({"x": 1}))["x"] == 2
    assert nest.map_structure(lambda v: v, {"a": 1}.values()) == [1]  # a view cannot be made: a list, as in TensorFlow


def test_dataclass_fields():
    value = Slotted([1, 2], "unit")
    again = nest.map_structure(lambda v: v * 10, value)
    assert (again.a, again.b) == ([10, 20], "unit")
    assert tree.metadata_of(value) == (("b", "unit"),)
    with pytest.raises(ValueError, match="static"):
        nest.assert_same_structure(value, Slotted([1, 2], "other"))

    @dataclasses.dataclass
    class Checked:
        a: int
        runs: typing.ClassVar[list] = []

        def __post_init__(self):
            self.runs.append(1)

    nest.map_structure(lambda v: v + 1, Checked(1))
    assert Checked.runs == [1]  # made again without running its code


def test_attrs_like_classes():
    class Attribute:
        def __init__(self, name, **metadata):
            self.name, self.metadata = name, metadata

    class Pair:
        __attrs_attrs__ = (Attribute("left"), Attribute("right"), Attribute("unit", static=True))

        def __init__(self, left, right, unit):
            self.left, self.right, self.unit = left, right, unit

    value = nest.map_structure(lambda v: v + 1, Pair(1, 2, "m"))
    assert (value.left, value.right, value.unit) == (2, 3, "m")
    assert nest.flatten_with_path(value) == [(("left",), 2), (("right",), 3)]


def test_real_attrs_classes():
    attr = pytest.importorskip("attr")
    cls = attr.make_class("Pair", {"_left": attr.ib(), "right": attr.ib(metadata={"static": True})}, frozen=True)
    value = nest.map_structure(lambda v: v + 1, cls(1, "m"))
    assert (value._left, value.right) == (2, "m")


def test_tf_protocol_and_registration():
    again = nest.map_structure(lambda v: v * 2, [Pinned(3, "kg")])[0]
    assert (again.value, again.unit) == (6, "kg")
    again = nest.map_structure(lambda v: v * 2, Interval(1, [2], True))
    assert (again.low, again.high, again.closed) == (2, [4], True)
    assert tree.labels_of(again) == (0, 1)
    with pytest.raises(ValueError, match="Interval is a container already"):
        tree.register(Interval, None, None)
    with pytest.raises(TypeError, match="expected a class"):
        tree.register(3, None, None)


def test_what_cannot_be_rebuilt_says_so():
    class Fixed(tuple):
        def __new__(cls, a, b):
            return super().__new__(cls, (a, b))

    with pytest.raises(TypeError, match=r"Fixed cannot be made again.*register"):
        nest.map_structure(lambda v: v, Fixed(1, 2))


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1], [1, 2], ValueError),
        ({"a": 1}, {"b": 1}, ValueError),
        ([1], 1, ValueError),
        ([[1]], [1], ValueError),
        ({"a": 1}, [1], ValueError),
        ([1], (1,), TypeError),
        (Point(1, 2), (1, 2), TypeError),
        (Point(1, 2), Typed(1, 2), TypeError),
    ],
)
def test_structures_that_differ(a, b, error):
    with pytest.raises(error):
        nest.assert_same_structure(a, b)
    with pytest.raises(error):
        nest.map_structure(lambda x, y: x, a, b)
    if error is TypeError:
        nest.assert_same_structure(a, b, check_types=False)
        assert nest.map_structure(lambda x, y: x + y, a, b, check_types=False) is not None


def test_types_that_count_as_one():
    nest.assert_same_structure({"a": 1, "b": 2}, collections.OrderedDict(b=1, a=2))
    nest.assert_same_structure([1], type("MyList", (list,), {})([2]))
    nest.assert_same_structure(Point(1, 2), collections.namedtuple("Point", "x y")(3, 4))
    added = nest.map_structure(lambda a, b: a + b, {"x": 1, "y": 2}, collections.OrderedDict(y=20, x=10))
    assert added == {"x": 11, "y": 22}


def test_wrong_calls():
    with pytest.raises(TypeError, match="func must be callable, got 3"):
        nest.map_structure(3, [1])
    with pytest.raises(ValueError, match="at least one structure"):
        nest.map_structure(len)
    with pytest.raises(ValueError, match="the keywords are check_types and expand_composites, got other"):
        nest.map_structure(len, [1], other=1)
    with pytest.raises(TypeError, match="flat_sequence must be a sequence"):
        nest.pack_sequence_as([1], 5)
    with pytest.raises(ValueError, match="2 leaves, the sequence 3"):
        nest.pack_sequence_as([1, 2], [1, 2, 3])
    assert nest.map_structure(lambda v: v, [1], check_types=True, expand_composites=False) == [1]


def test_paths():
    structure = {"b": [1, Point(2, 3)], "a": Outer(Slotted(4), [5])}
    assert nest.flatten_with_path(structure) == [
        (("a", "inner", "a"), 4),
        (("a", "items", 0), 5),
        (("b", 0), 1),
        (("b", 1, "x"), 2),
        (("b", 1, "y"), 3),
    ]
    named = nest.map_structure_with_path(lambda path, a, b: (path[-1], a + b), [1, (2,)], [10, (20,)])
    assert named == [(0, 11), ((0, 22),)]


def test_classes_are_freed():
    import gc
    import weakref

    def use():
        cls = collections.namedtuple("Short", "x")
        assert nest.flatten(cls(1)) == [1]
        return weakref.ref(cls)

    watch = use()
    gc.collect()
    assert watch() is None

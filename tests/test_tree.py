"""Nested structures: leaves in order, rebuilt in the same form."""

from __future__ import annotations

import collections
import dataclasses

import pytest

from graphflow import tree

Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: object
    b: object = None


@dataclasses.dataclass
class WithHidden:
    a: object
    derived: object = dataclasses.field(init=False, default=7)


STRUCTURES = [
    (5, [5]),
    (None, [None]),
    ([], []),
    ((), []),
    ({}, []),
    ([1, [2, (3,)]], [1, 2, 3]),
    ({"b": 1, "a": 2}, [2, 1]),
    (Point(1, [2]), [1, 2]),
    (Frozen(1, {"k": 2}), [1, 2]),
    (WithHidden(1), [1, 7]),
    ("text", ["text"]),
    (collections.OrderedDict(b=1, a=2), [2, 1]),
    ({2: "x", 1: "y"}, ["y", "x"]),
    ({1: "i", "a": "s"}, ["i", "s"]),
]


@pytest.mark.parametrize(("structure", "leaves"), STRUCTURES)
def test_flatten_and_pack(structure, leaves):
    assert tree.flatten(structure) == leaves
    again = tree.pack_sequence_as(structure, leaves)
    assert again == structure
    assert type(again) is type(structure)
    if isinstance(structure, dict):
        assert list(again) == list(structure)


def test_map_structure_of_several():
    found = tree.map_structure(lambda a, b: a + b, {"x": [1, 2], "y": (3,)}, {"y": (30,), "x": [10, 20]})
    assert found == {"x": [11, 22], "y": (33,)}


def test_default_dict_keeps_its_factory():
    value = collections.defaultdict(list, a=1)
    again = tree.map_structure(lambda v: v, value)
    assert again["missing"] == []


@pytest.mark.parametrize(
    ("a", "b"),
    [([1], [1, 2]), ({"a": 1}, {"b": 1}), ([1], 1), ({"a": 1}, [1]), (1, [1])],
)
def test_structures_that_differ(a, b):
    with pytest.raises(ValueError, match="differ"):
        tree.map_structure(lambda x, y: x, a, b) if tree.is_nested(a) else tree.assert_same_structure(a, b)
    with pytest.raises(ValueError, match="differ"):
        tree.assert_same_structure(a, b)


def test_same_structure():
    tree.assert_same_structure({"a": [1, 2]}, {"a": [3, 4]})
    with pytest.raises(TypeError, match="list and tuple"):
        tree.assert_same_structure([1], (1,))


def test_pack_checks_the_count():
    with pytest.raises(ValueError, match="2 leaves, the sequence 1"):
        tree.pack_sequence_as([0, 0], [1])

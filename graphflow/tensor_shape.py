"""TensorShape: a shape with TensorFlow's methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .errors import ShapeError

__all__ = ["TensorShape"]


class TensorShape(tuple[Any, ...]):
    """A shape: a tuple of extents with TensorFlow's helpers. An extent that is not known is None, or (inside a trace with symbolic
    shapes) a Dimension object. TensorShape(None) is a shape of unknown rank."""

    _unknown: bool

    def __new__(cls, dims: Any = ()) -> TensorShape:
        """dims: an int, extents, another shape, or None for an unknown rank."""
        if isinstance(dims, TensorShape) and dims._unknown:
            return dims
        values: Iterable[Any]
        if dims.__class__ is tuple:  # the common case, before the slow questions
            values = dims
        elif dims is None:
            values = ()
        elif isinstance(dims, int) or not isinstance(dims, Iterable):
            values = (dims,)
        else:
            values = dims
        found = tuple.__new__(cls, values)
        found._unknown = dims is None
        for extent in tuple.__iter__(found):
            if extent.__class__ is not int and not _is_extent(extent) or extent.__class__ is int and extent < 0:
                raise ShapeError(
                    f"TensorShape: an extent must be an int or None, got {extent!r} in {dims!r}; use 0 or more, or None for any"
                )
        return found

    @property
    def rank(self) -> int | None:
        """The number of axes; None if it is not known."""
        return None if self._unknown else tuple.__len__(self)

    ndims = rank

    @property
    def dims(self) -> list[Any] | None:
        """The extents as a list (None where unknown), or None if the rank is unknown."""
        return None if self._unknown else list(self)

    def as_list(self) -> list[int | None]:
        """The extents; None where one is not known."""
        self._require_rank("as_list()")
        return [d if isinstance(d, int) else None for d in self]

    def is_fully_defined(self) -> bool:
        """Are rank and all extents known?"""
        return not self._unknown and all(isinstance(d, int) for d in self)

    def num_elements(self) -> int | None:
        """The product of the extents; None unless all are known."""
        return math.prod(self) if self.is_fully_defined() else None

    # Relations --------------------------------------------------------------------------------------------------------
    def is_compatible_with(self, other: Any) -> bool:
        """Could both be the shape of one tensor?"""
        other = TensorShape(other)
        if self._unknown or other._unknown:
            return True
        return len(self) == len(other) and all(_compatible(a, b) for a, b in zip(self, other, strict=True))

    def merge_with(self, other: Any) -> TensorShape:
        """What is known from either. Raises ShapeError where they differ."""
        other = TensorShape(other)
        if not self.is_compatible_with(other):
            raise ShapeError(f"merge_with: the shapes {self} and {other} are not compatible")
        if self._unknown or other._unknown:
            return other if self._unknown else self
        return TensorShape(a if isinstance(a, int) or b is None else b for a, b in zip(self, other, strict=True))

    def concatenate(self, other: Any) -> TensorShape:
        """The axes of both, one after another."""
        other = TensorShape(other)
        return TensorShape(None) if self._unknown or other._unknown else TensorShape((*self, *other))

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The shape that both are instances of: None where they differ."""
        other = TensorShape(other)
        if self._unknown or other._unknown or len(self) != len(other):
            return TensorShape(None)
        return TensorShape(a if _same(a, b) else None for a, b in zip(self, other, strict=True))

    def most_specific_common_supertype(self, others: Sequence[Any]) -> TensorShape | None:
        """most_specific_compatible_shape of all; None if one of them is no shape."""
        found = self
        for other in others:
            if not isinstance(other, TensorShape):
                return None
            found = found.most_specific_compatible_shape(other)
        return found

    def is_subtype_of(self, other: Any) -> bool:
        """Does `other` allow every shape that this one allows?"""
        if not isinstance(other, TensorShape):
            return False
        if other._unknown:
            return True
        if self._unknown or len(self) != len(other):
            return False
        return all(b is None or _same(a, b) for a, b in zip(self, other, strict=True))

    # Ranks ------------------------------------------------------------------------------------------------------------
    def with_rank(self, rank: int) -> TensorShape:
        """The shape itself if its rank is `rank` (with unknown extents if its rank is not known). Raises ShapeError."""
        if self._unknown:
            return TensorShape([None] * rank)
        self.assert_has_rank(rank)
        return self

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """The shape itself. Raises ShapeError if its rank is lower."""
        if not self._unknown and len(self) < rank:
            raise ShapeError(f"the shape {self} must have rank at least {rank}, got {len(self)}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """The shape itself. Raises ShapeError if its rank is higher."""
        if not self._unknown and len(self) > rank:
            raise ShapeError(f"the shape {self} must have rank at most {rank}, got {len(self)}")
        return self

    def assert_has_rank(self, rank: int) -> None:
        """Raises ShapeError if the rank is another."""
        if not self._unknown and len(self) != rank:
            raise ShapeError(f"the shape {self} must have rank {rank}, got {len(self)}")

    def assert_same_rank(self, other: Any) -> None:
        """Raises ShapeError if the ranks differ."""
        other = TensorShape(other)
        if not self._unknown and not other._unknown and len(self) != len(other):
            raise ShapeError(f"the shapes {self} and {other} must have the same rank, got {len(self)} and {len(other)}")

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ShapeError if no tensor has both shapes."""
        if not self.is_compatible_with(other):
            raise ShapeError(f"the shapes {self} and {TensorShape(other)} are incompatible")

    def assert_is_fully_defined(self) -> None:
        """Raises ShapeError if an extent is not known."""
        if not self.is_fully_defined():
            raise ShapeError(f"the shape {self} is not fully defined")

    def _require_rank(self, what: str) -> None:
        if self._unknown:
            raise ShapeError(f"{what} needs a shape of known rank, got {self}")

    # Tuples -----------------------------------------------------------------------------------------------------------
    def __eq__(self, other: object) -> bool:
        if isinstance(other, TensorShape) and other._unknown is not self._unknown:
            return False
        if self._unknown and not isinstance(other, TensorShape):
            return False
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __len__(self) -> int:
        self._require_rank("len()")
        return tuple.__len__(self)

    def __bool__(self) -> bool:
        return not self._unknown and tuple.__len__(self) > 0

    def __iter__(self) -> Iterator[Any]:
        self._require_rank("iteration")
        return tuple.__iter__(self)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __getitem__(self, key: Any) -> Any:
        if self._unknown:
            return TensorShape(None) if isinstance(key, slice) else None
        found = tuple.__getitem__(self, key)
        return TensorShape(found) if isinstance(key, slice) else found

    def __repr__(self) -> str:
        return "TensorShape(None)" if self._unknown else f"TensorShape([{', '.join(str(d) for d in self)}])"

    def __str__(self) -> str:
        return "<unknown>" if self._unknown else repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorShape, (None if self._unknown else tuple(self),)


def _is_extent(value: Any) -> bool:
    """None, an integer of NumPy, or an extent of a trace?"""
    return (
        value is None
        or hasattr(value, "__graphflow_dim__")
        or hasattr(value, "__index__")
        and not isinstance(value, bool)
    )


def _same(a: Any, b: Any) -> bool:
    return a is b or isinstance(a, int) and isinstance(b, int) and a == b


def _compatible(a: Any, b: Any) -> bool:
    return not (isinstance(a, int) and isinstance(b, int)) or a == b

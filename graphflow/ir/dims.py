"""Symbolic dimensions: exact integer expressions over named extents, kept in one canonical form so that equal means
equal.

An expression is a polynomial with integer coefficients over atoms; an atom is a symbol (`batch`), a floor division, a
minimum or a maximum of expressions. Every symbol stands for an integer >= 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Union

from ..errors import ParseError

__all__ = ["Dim", "DimensionsMustAgree", "SymbolicDim", "dim_max", "dim_min", "evaluate", "is_nonnegative", "parse_dim", "product",
           "require_equal", "substitute", "symbol", "symbols_of"]  # fmt: skip

Dim = Union[int, "SymbolicDim"]


class DimensionsMustAgree(BaseException):
    """Shape inference needs two dims to be equal that it cannot prove equal. The tracer answers by making them one
    symbol (or a number) and tracing again, so no shape constraint ever stays implicit. Not an Exception: user code must
    not swallow it."""

    def __init__(self, left: Dim, right: Dim) -> None:
        super().__init__(f"{left} == {right}")
        self.left, self.right = left, right


@dataclass(frozen=True)
class _Atom:
    kind: str  # "symbol", "floordiv", "min", "max"
    name: str = ""
    left: Dim = 0
    right: Dim = 0

    @cached_property
    def text(self) -> str:
        if self.kind == "symbol":
            return self.name
        if self.kind == "floordiv":
            return f"({self.bare})"
        return f"{self.kind}({self.left},{self.right})"

    @cached_property
    def bare(self) -> str:
        """The text where nothing binds tighter around it: a floor division needs no parentheses there."""
        return f"{_operand(self.left)}//{_operand(self.right)}" if self.kind == "floordiv" else self.text

    @cached_property
    def is_nonnegative(self) -> bool:
        """Surely >= 0, given that symbols are. False means: not known."""
        if self.kind == "symbol":
            return True
        left, right = is_nonnegative(self.left), is_nonnegative(self.right)
        return left or right if self.kind == "max" else left and right

    def evaluate(self, env: Mapping[str, Dim]) -> Dim:
        if self.kind == "symbol":
            return env[self.name] if self.name in env else symbol(self.name)
        left, right = substitute(self.left, env), substitute(self.right, env)
        if self.kind == "floordiv":
            return left // right
        return dim_min(left, right) if self.kind == "min" else dim_max(left, right)


_Monomial = tuple[_Atom, ...]


class SymbolicDim:
    """An integer expression that is not a plain number. Immutable, hashable; arithmetic with ints and other dims gives
    an int where the symbols cancel."""

    __slots__ = ("_hash", "terms", "text")

    def __init__(self, terms: Mapping[_Monomial, int]) -> None:
        ordered = sorted(terms.items(), key=lambda item: (-len(item[0]), [a.text for a in item[0]]))
        self.terms: tuple[tuple[_Monomial, int], ...] = tuple(ordered)
        self.text = _print(self.terms)
        self._hash = hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolicDim) and self.text == other.text

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return self.text

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other):
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _make(terms)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + (other * -1)

    def __rsub__(self, other: Dim) -> Dim:
        return (self * -1) + other

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[_Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=lambda atom: atom.text))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        if other == 1:
            return self
        if self == other:
            return 1
        exact = _divide_exactly(self, other)
        if exact is not None:
            return exact
        return _make({(_Atom("floordiv", left=self, right=other),): 1})

    def __rfloordiv__(self, other: int) -> Dim:
        return 0 if other == 0 else _make({(_Atom("floordiv", left=other, right=self),): 1})

    def __mod__(self, other: Dim) -> Dim:
        return self - (self // other) * other

    def __rmod__(self, other: int) -> Dim:
        return other - (other // self) * self

    def __reduce__(self) -> tuple[object, ...]:
        return parse_dim, (self.text,)


def _terms(dim: Dim) -> Iterable[tuple[_Monomial, int]]:
    return dim.terms if isinstance(dim, SymbolicDim) else ((((), int(dim)),) if dim else ())


def _make(terms: dict[_Monomial, int]) -> Dim:
    terms = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return SymbolicDim(terms)


def _divide_exactly(dim: SymbolicDim, divisor: Dim) -> Dim | None:
    """dim / divisor when the divisor is one monomial that divides every term of dim."""
    terms = list(_terms(divisor))
    if len(terms) != 1:
        return None
    (atoms, coefficient) = terms[0]
    result: dict[_Monomial, int] = {}
    for monomial, own in dim.terms:
        rest = list(monomial)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if own % coefficient:
            return None
        result[tuple(rest)] = own // coefficient
    return _make(result)


def _operand(dim: Dim) -> str:
    """The text of one side of a floor division, in parentheses unless it is a name or a number."""
    text = str(dim)
    return text if text.replace("_", "a").isalnum() else f"({text})"


def is_nonnegative(dim: Dim) -> bool:
    """Surely >= 0, given that symbols are. False means: not known."""
    if not isinstance(dim, SymbolicDim):
        return dim >= 0
    return all(c > 0 and all(atom.is_nonnegative for atom in monomial) for monomial, c in dim.terms)


def _print(terms: tuple[tuple[_Monomial, int], ...]) -> str:
    text = ""
    for monomial, coefficient in terms:
        size = abs(coefficient)
        factors = [monomial[0].bare] if size == 1 and len(monomial) == 1 else [atom.text for atom in monomial]
        body = "*".join(([str(size)] if size != 1 or not factors else []) + factors)
        text += ("-" if coefficient < 0 else "+" if text else "") + body
    return text


def symbol(name: str) -> SymbolicDim:
    """The extent called `name`."""
    return SymbolicDim({(_Atom("symbol", name),): 1})


def dim_min(left: Dim, right: Dim) -> Dim:
    """The smaller dim; one of the two where that is decided for all extents."""
    return _extreme("min", left, right)


def dim_max(left: Dim, right: Dim) -> Dim:
    """The larger dim; one of the two where that is decided for all extents."""
    return _extreme("max", left, right)


def _extreme(kind: str, left: Dim, right: Dim) -> Dim:
    difference = left - right
    if isinstance(difference, int):
        return left if (difference <= 0) == (kind == "min") else right
    if _is_at_most(right, left):
        return right if kind == "min" else left
    if _is_at_most(left, right):
        return left if kind == "min" else right
    if isinstance(right, SymbolicDim) and (not isinstance(left, SymbolicDim) or right.text < left.text):
        left, right = right, left
    return _make({(_Atom(kind, left=left, right=right),): 1})


def _is_at_most(low: Dim, high: Dim) -> bool:
    """Surely low <= high, given that symbols are >= 0: min(a, b) <= a <= max(a, c). False means: not known."""
    if is_nonnegative(high - low):
        return True
    smallest, largest = _extreme_operands("min", low), _extreme_operands("max", high)
    return any(_is_at_most(one, high) for one in smallest) or any(_is_at_most(low, one) for one in largest)


def _extreme_operands(kind: str, dim: Dim) -> tuple[Dim, ...]:
    """What `dim` is the min or max of, if it is nothing else."""
    if isinstance(dim, SymbolicDim) and len(dim.terms) == 1:
        ((monomial, coefficient),) = dim.terms
        if coefficient == 1 and len(monomial) == 1 and monomial[0].kind == kind:
            return monomial[0].left, monomial[0].right
    return ()


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dims; 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """dim with symbols replaced by dims."""
    if not isinstance(dim, SymbolicDim):
        return dim
    result: Dim = 0
    for monomial, coefficient in dim.terms:
        result = result + product(atom.evaluate(env) for atom in monomial) * coefficient
    return result


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """dim as a number; every symbol must be in env."""
    result = substitute(dim, env)
    if isinstance(result, SymbolicDim):
        raise KeyError(f"dimension {dim} needs a value for {sorted(symbols_of(result) - set(env))}")
    return result


def symbols_of(dim: Dim) -> set[str]:
    """Names of the symbols in dim."""
    names: set[str] = set()
    if isinstance(dim, SymbolicDim):
        for monomial, _ in dim.terms:
            for atom in monomial:
                names |= {atom.name} if atom.kind == "symbol" else symbols_of(atom.left) | symbols_of(atom.right)
    return names


def require_equal(left: Dim, right: Dim) -> bool:
    """True if equal, False if surely different; raises DimensionsMustAgree when that depends on symbols."""
    if left == right:
        return True
    if not (isinstance(left, SymbolicDim) or isinstance(right, SymbolicDim)) or isinstance(left - right, int):
        return False
    raise DimensionsMustAgree(left, right)


_TOKEN = re.compile(r"\s*(\d+|[A-Za-z_]\w*|//|[-+*(),])")


def parse_dim(text: str) -> Dim:
    """Read a dim back from its text. Raises ParseError."""
    tokens: list[str] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ParseError(f"dimension {text!r}: unexpected {text[position:]!r}")
        tokens.append(match.group(1))
        position = match.end()
    dim, rest = _parse_sum(tokens, text)
    if rest:
        raise ParseError(f"dimension {text!r}: unexpected {rest[0]!r}")
    return dim


def _parse_sum(tokens: list[str], text: str) -> tuple[Dim, list[str]]:
    sign = 1
    if tokens[:1] == ["-"]:
        sign, tokens = -1, tokens[1:]
    total, tokens = _parse_product(tokens, text)
    total = total * sign
    while tokens and tokens[0] in "+-":
        operator, (term, rest) = tokens[0], _parse_product(tokens[1:], text)
        total, tokens = (total + term if operator == "+" else total - term), rest
    return total, tokens


def _parse_product(tokens: list[str], text: str) -> tuple[Dim, list[str]]:
    total, tokens = _parse_atom(tokens, text)
    while tokens and tokens[0] in ("*", "//"):
        operator, (factor, rest) = tokens[0], _parse_atom(tokens[1:], text)
        total, tokens = (total * factor if operator == "*" else total // factor), rest
    return total, tokens


def _parse_atom(tokens: list[str], text: str) -> tuple[Dim, list[str]]:
    if not tokens:
        raise ParseError(f"dimension {text!r} ends too early")
    head, rest = tokens[0], tokens[1:]
    if head.isdigit():
        return int(head), rest
    if head == "(":
        inner, rest = _parse_sum(rest, text)
        return inner, _expect(rest, ")", text)
    if head in ("min", "max") and rest[:1] == ["("]:
        left, rest = _parse_sum(rest[1:], text)
        right, rest = _parse_sum(_expect(rest, ",", text), text)
        return (dim_min if head == "min" else dim_max)(left, right), _expect(rest, ")", text)
    if head[0].isalpha() or head[0] == "_":
        return symbol(head), rest
    raise ParseError(f"dimension {text!r}: unexpected {head!r}")


def _expect(tokens: list[str], wanted: str, text: str) -> list[str]:
    if tokens[:1] != [wanted]:
        raise ParseError(f"dimension {text!r}: expected {wanted!r}")
    return tokens[1:]

"""The intermediate representation: types, ops' record, graphs, builder, text form, verifier, walks. Nothing heavy is
imported."""

from __future__ import annotations

from .builder import GraphBuilder, rewrite
from .dims import (
    Dim,
    DimensionsMustAgree,
    SymbolicDim,
    dim_max,
    dim_min,
    evaluate,
    parse_dim,
    product,
    require_equal,
    substitute,
    symbol,
    symbols_of,
)  # fmt: skip
from .effects import effect_sequence
from .graph import Graph, Node, Value
from .op import OPS, Op, define_op
from .parser import parse
from .printer import print_graph, print_node
from .source import Source, merge_sources
from .types import CPU, TensorType, ValueType, VariableType
from .verify import verify

__all__ = [
    "CPU",
    "OPS",
    "Dim",
    "DimensionsMustAgree",
    "Graph",
    "GraphBuilder",
    "Node",
    "Op",
    "Source",
    "SymbolicDim",
    "TensorType",
    "Value",
    "ValueType",
    "VariableType",
    "define_op",
    "dim_max",
    "dim_min",
    "effect_sequence",
    "evaluate",
    "merge_sources",
    "parse",
    "parse_dim",
    "print_graph",
    "print_node",
    "product",
    "require_equal",
    "rewrite",
    "substitute",
    "symbol",
    "symbols_of",
    "verify",
]

"""Kernels written by hand as routines (see routine.py): name of the Library kernel -> function that emits a node's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import cumulative, fourier, lapack_factors, lapack_systems, products, rows, scatter, sorting

__all__ = ["LIBRARY"]

#: kernel name -> emit(step emitter, node, step number)
LIBRARY: dict[str, Callable[[Any, Any, int], None]] = {
    **fourier.KERNELS,
    **lapack_factors.KERNELS,
    **lapack_systems.KERNELS,
    **rows.KERNELS,
    "argsort": sorting.emit_argsort,
    "cumulative": cumulative.emit_cumulative,
    "pair_products": products.emit_pair_products,
    "scatter_into": scatter.emit_scatter_into,
    "scatter_reduce": scatter.emit_scatter_reduce,
}

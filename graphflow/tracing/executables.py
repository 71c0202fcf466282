"""Machine code in memory, by IR: equal graphs share one executable as long as one of them is used.

So the second instance of a class whose method cannot share its trace (see blueprint.py) costs a trace and no
compilation, and so does a function that is made again and again by a factory.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import Any

from .. import config
from ..compiler import Executable, compile_graph
from ..ir.graph import Graph
from ..locks import renew_after_fork
from .blueprint import NotGeneral, check_graph, every_node

__all__ = ["executable_of"]

_lock = threading.Lock()


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.Lock()


renew_after_fork(sys.modules[__name__])
_known: weakref.WeakValueDictionary[Any, Executable] = weakref.WeakValueDictionary()


def executable_of(graph: Graph) -> Executable:
    """The compiled graph; compiled unless an equal graph (sources included, for the errors) is compiled already."""
    try:
        check_graph(graph)
    except NotGeneral:  # it holds Python functions, which may have state
        return compile_graph(graph)
    key = (graph, tuple(node.device for node in every_node(graph)), config.flags())
    with _lock:
        found = _known.get(key)
    if found is not None:
        return found
    made = compile_graph(graph)
    with _lock:
        return _known.setdefault(key, made)

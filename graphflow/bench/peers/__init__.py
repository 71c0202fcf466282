"""Who is measured. Each module here is one library and offers

* `start(threads)`: imports the library, sets it to that many threads and returns its versions,
* `build(contender, workload, inputs)`: the workload's `Program` as the library's own experts would write it for speed.

Nothing is imported before `start`, so the parent process can read this table without any peer installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass

from graphflow.bench.workloads import WORKLOADS


@dataclass(frozen=True)
class Contender:
    """A row of the tables: `module` is the one in this package, `needs` the distribution it imports."""

    name: str
    module: str
    needs: str
    install: str
    workloads: frozenset[str]
    is_peer: bool = True
    needs_compiler: bool = False

    def problem(self) -> str | None:
        """Why this contender cannot run here, with what to do about it; None when it can."""
        if importlib.util.find_spec(self.needs) is None:
            return f"{self.name}: {self.needs} is not installed; install it with: {self.install}"
        compilers = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
        if self.needs_compiler and not any(shutil.which(compiler) for compiler in compilers):
            return f"{self.name}: no C++ compiler found (tried {', '.join(compilers)}); install one, or set CXX"
        return None


_ALL = frozenset(WORKLOADS)
#: loops in which every iteration waits for the one before, step by step in Python
_SCALAR_LOOPS = frozenset({"collatz", "newton"})
_OWN = frozenset({"captures"})

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("graphflow", "graphflow_peer", "graphflow", "pip install graphflow", _ALL, is_peer=False),
        Contender("jax", "jax_peer", "jax", "pip install jax", _ALL - _OWN),
        Contender("tensorflow", "tensorflow_peer", "tensorflow", "pip install tensorflow-cpu", _ALL - _OWN),
        Contender("tensorflow xla", "tensorflow_peer", "tensorflow", "pip install tensorflow-cpu", _ALL - _OWN),
        Contender("torch", "torch_peer", "torch", "pip install torch", _ALL - _OWN - _SCALAR_LOOPS),
        # torch.compile would unroll the loops' iterations: no machine has the time.
        Contender(
            "torch compile",
            "torch_peer",
            "torch",
            "pip install torch",
            _ALL - _OWN - _SCALAR_LOOPS - {"recurrent"},
            needs_compiler=True,
        ),
        Contender("copy", "numpy_base", "numpy", "pip install numpy", frozenset({"gelu"}), is_peer=False),
        Contender("numba", "numba_base", "numba", "pip install numba", _SCALAR_LOOPS, is_peer=False),
        Contender("native call", "graphflow_peer", "graphflow", "pip install graphflow", _OWN, is_peer=False),
        Contender("blas", "numpy_base", "numpy", "pip install numpy", frozenset({"mlp"}), is_peer=False),
    )
}

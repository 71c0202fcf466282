"""Runs the calls of tests/public/calls.py through graphflow and through TensorFlow and writes docs/tensorflow-differences.md.

    python tools/tensorflow_differences.py            # writes the file; fails where a difference is not accepted (ACCEPTED says why)
    python tools/tensorflow_differences.py --check    # the same, and fails where the file is not what would be written

Needs TensorFlow 2.21. Structures, dtypes, shapes, integers and bools must be equal; floats within a few roundings (see `bound`), because
sums are added in other orders and functions are approximated by other polynomials.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import graphflow as gf  # noqa: E402
from tests.public.calls import CALLS, function_of, leaves  # noqa: E402

TARGET = ROOT / "docs" / "tensorflow-differences.md"

#: call -> why it may differ
ACCEPTED: dict[str, str] = {
    "math.approx_min_k": "TensorFlow has no CPU kernel for it",
    "parallel_stack": "TensorFlow's works in graphs only",
}


def bound(found: np.ndarray[Any, Any]) -> float:
    """The largest difference that is rounding: 64 units in the last place of the largest element."""
    finite = np.abs(found[np.isfinite(found)])
    return 64 * float(np.finfo(found.dtype).eps) * float(finite.max() if finite.size else 1.0)


def difference(ours: Any, theirs: Any) -> str:
    """What differs, or ""."""
    mine, other = leaves(ours), leaves(theirs)
    if len(mine) != len(other):
        return f"{len(mine)} results, TensorFlow {len(other)}"
    for a, b in zip(mine, other, strict=True):
        x, y = np.asarray(a), np.asarray(b)
        if x.dtype != y.dtype:
            return f"dtype {x.dtype}, TensorFlow {y.dtype}"
        if x.shape != y.shape:
            return f"shape {list(x.shape)}, TensorFlow {list(y.shape)}"
        if x.dtype.kind not in "fc":
            if not np.array_equal(x, y):
                return f"values {x.reshape(-1)[:6].tolist()}, TensorFlow {y.reshape(-1)[:6].tolist()}"
            continue
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        with np.errstate(invalid="ignore"):
            gap = np.where(same, 0, np.abs(x - y))
        if gap.size and not float(gap.max()) <= bound(y):
            where = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
            return f"value {x.reshape(-1)[where]!r}, TensorFlow {y.reshape(-1)[where]!r}"
    return ""


def run(module: Any, expression: str, make: Any) -> Any:
    """What a call gives, or the exception that it raises."""
    function, arrays = function_of(expression, module)
    try:
        return function(*[make(a) for a in arrays])
    except Exception as error:  # shown as what the call gives
        return error


def raised(who: str, found: Any) -> str:
    """What a side raised, or ""."""
    return (
        f"{who} raises {type(found).__name__}: {str(found).splitlines()[0][:90]}"
        if isinstance(found, Exception)
        else ""
    )


def compare(tf: Any) -> dict[str, str]:
    """call -> what differs."""
    found = {}
    for name, expression in CALLS.items():
        ours, theirs = run(gf, expression, gf.constant), run(tf, expression, tf.constant)
        if isinstance(ours, Exception) or isinstance(theirs, Exception):
            text = "; ".join(
                raised(who, e) for who, e in (("graphflow", ours), ("TensorFlow", theirs)) if raised(who, e)
            )
        else:
            text = difference(ours, theirs)
        if text:
            found[name] = text
    return found


def document(found: dict[str, str]) -> str:
    """docs/tensorflow-differences.md."""
    lines = [
        "# Differences from TensorFlow's results",
        "",
        "Written by `python tools/tensorflow_differences.py` from TensorFlow 2.21 and this checkout: do not edit.",
        "",
        f"{len(CALLS)} calls of public functions ran through both; {len(CALLS) - len(found)} agree: structure, dtype, shape, "
        "integers and bools exactly, floats within 64 units in the last place of the largest element (sums are added in other orders, "
        "functions approximated by other polynomials). The others:",
        "",
        "| call | difference | why |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| `{CALLS[name]}` | {text} | {ACCEPTED.get(name, '**not explained**')} |" for name, text in found.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--check", action="store_true", help="fail where docs/tensorflow-differences.md is not up to date"
    )
    check = options.parse_args().check
    try:
        import tensorflow as tf
    except ImportError:
        print("TensorFlow is not installed, so there is nothing to compare with: pip install tensorflow-cpu==2.21")
        return 2
    found = compare(tf)
    text = document({name: why for name, why in found.items() if name in ACCEPTED} | found)
    stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    unexplained = [name for name in found if name not in ACCEPTED]
    for name in unexplained:
        print(f"{name}: {found[name]}")
    for name in sorted(set(ACCEPTED) - set(found)):
        print(f"listed for nothing: {name}")
    if check and stale:
        print("docs/tensorflow-differences.md is not up to date: run python tools/tensorflow_differences.py")
    return int(bool(unexplained or set(ACCEPTED) - set(found) or check and stale))


if __name__ == "__main__":
    sys.exit(main())

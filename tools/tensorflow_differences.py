"""Runs public calls and ops' samples through graphflow and through TensorFlow and writes docs/tensorflow-differences.md.

    python tools/tensorflow_differences.py            # writes the file; fails where a difference is not accepted
    python tools/tensorflow_differences.py --check    # the same, and fails where the file is not what would be written
    python tools/tensorflow_differences.py gather     # runs the calls and ops of that name and prints what differs; writes nothing

Needs TensorFlow 2.21 (extra `bench`). tools/crosscheck does the work: see its docstring.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools.crosscheck.cases import Case, calls, samples, unassigned  # noqa: E402
from tools.crosscheck.document import document  # noqa: E402
from tools.crosscheck.findings import Finding, findings  # noqa: E402

TARGET = ROOT / "docs" / "tensorflow-differences.md"


def compare(cases: Iterable[Case], tf: Any) -> tuple[Counter[str], list[Finding], int]:
    """How many cases of each kind there were, what differs, how many ops."""
    counts: Counter[str] = Counter()
    found: list[Finding] = []
    ops = set()
    for case in cases:
        kind, name = case.group.split(" ", 1)
        counts[kind] += 1
        if kind != "call":
            ops.add(name)
        found.extend(findings(case, tf))
    return counts, found, len(ops)


def main() -> int:
    """The exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="only these calls and ops (parts of their names)")
    options.add_argument(
        "--check", action="store_true", help="fail where docs/tensorflow-differences.md is not up to date"
    )
    chosen = options.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError:
        print("TensorFlow is not installed, so there is nothing to compare with: pip install tensorflow-cpu==2.21")
        return 2
    tf.get_logger().setLevel("ERROR")
    warnings.simplefilter("ignore")  # both sides warn of deprecated names and of gradients of integers
    every = chain(calls(tf), samples(tf))
    if chosen.names:
        _, found, _ = compare((c for c in every if any(n in c.group.split(" ", 1)[1] for n in chosen.names)), tf)
        for f in found:
            print(
                f"{f.case.group}, {f.case.label}: {f.aspect}: {f.text} ({f.reason.text if f.reason else 'not accepted'})"
            )
        return int(any(f.reason is None for f in found))
    counts, found, ops = compare(every, tf)
    text = document(counts, found, ops)
    stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
    if not chosen.check:
        TARGET.write_text(text, encoding="utf-8")
    unexplained = [f for f in found if f.reason is None]
    for f in unexplained:
        print(f"{f.case.group}, {f.case.label}: {f.aspect}: {f.text}")
    for name in unassigned():
        print(f"tools/crosscheck/expressions.py does not say what {name} is in TensorFlow, or names an op that is none")
    if chosen.check and stale:
        print("docs/tensorflow-differences.md is not up to date: run python tools/tensorflow_differences.py")
    return int(bool(unexplained or unassigned() or (chosen.check and stale)))


if __name__ == "__main__":
    sys.exit(main())

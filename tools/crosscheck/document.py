"""docs/tensorflow-differences.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .accepted import Reason
from .expressions import WITHOUT
from .findings import Finding

_TITLES = {"pinned": "also pinned", "rounding": "rounding"}
_HEAD = """# Differences from TensorFlow's results

Written by `python tools/tensorflow_differences.py` from TensorFlow 2.21 and this checkout: do not edit.

{calls} calls of public functions (tests/public/tables) ran through both, eagerly, with the gradients of their results in every float and
complex input, and in functions; {samples} cases of the samples of {ops} ops ran through the op's record and, those that must fail too,
through the public function of its meaning (tools/crosscheck/expressions.py). {alike} of these {all} cases agree: structure, dtype, shape,
integers, bools and `None` exactly; floats within 64 units in the last place (of the element, or of 1, for functions of single elements; of
the largest element elsewhere), because sums are added in other orders and functions approximated by other polynomials; an exception of
TensorFlow's is met by one that the same `except` clause catches.
"""


def document(counts: Counter[str], found: Sequence[Finding], ops: int) -> str:
    """The text. counts: cases by "call", "op" and "expression"."""
    differing = {id(f.case) for f in found}
    every = sum(counts.values())
    head = _HEAD.format(
        calls=counts["call"], samples=counts["op"] + counts["expression"], ops=ops, alike=every - len(differing), all=every
    )  # fmt: skip
    lines = [
        head,
        "## Accepted differences",
        "",
        "Deviations are numbered as in [deviations.md](deviations.md).",
        "",
    ]
    lines += _table("deviation", [f for f in found if f.reason and f.reason.kind not in ("beyond", "wrong")])
    lines += [
        "",
        "## Where TensorFlow has no answer",
        "",
        "It has no kernel for the dtype, or no gradient, or its gradient fails.",
        "",
    ]
    lines += _names([f for f in found if f.reason and f.reason.kind == "beyond"])
    lines += [
        "",
        "## Where TensorFlow's answer is wrong",
        "",
        "Shown by the run itself, but for poles, where there are no differences of results.",
        "",
    ]
    lines += _table("shown by", [f for f in found if f.reason and f.reason.kind == "wrong"])
    lines += ["", "## Ops without a TensorFlow function", "", "| ops | why |", "| --- | --- |"]
    for why in dict.fromkeys(WITHOUT.values()):
        lines.append(f"| {' '.join(f'`{name}`' for name, own in WITHOUT.items() if own == why)} | {why} |")
    unexplained = [f for f in found if f.reason is None]
    if unexplained:
        lines += ["", "## Not explained", ""]
        lines += [f"- {f.case.group}, {f.case.label}: {f.aspect}: {f.text}" for f in unexplained]
    return "\n".join(lines) + "\n"


def _name(finding: Finding) -> str:
    """The call or op, without what side of it the case is."""
    return finding.case.group.split(" ", 1)[1]


def _table(title: str, found: Iterable[Finding]) -> list[str]:
    """One row for each reason and aspect: what it concerns, an example."""
    rows: dict[tuple[Reason, str], list[Finding]] = {}
    for finding in found:
        assert finding.reason is not None
        rows.setdefault((finding.reason, finding.aspect), []).append(finding)
    lines = [f"| {title} | aspect | calls and ops | example |", "| --- | --- | --- | --- |"]
    for (reason, aspect), own in sorted(rows.items(), key=lambda item: (item[0][0].kind, item[0][0].text, item[0][1])):
        names = " ".join(f"`{name}`" for name in dict.fromkeys(map(_name, own)))
        label = _TITLES.get(reason.kind, reason.kind)
        why = reason.text if reason.kind == "wrong" else f"{label}: {reason.text}"
        lines.append(f"| {why} | {aspect} | {names} | `{own[0].case.label}`: {own[0].text} |")
    return lines


def _names(found: Iterable[Finding]) -> list[str]:
    """One row for each aspect and message, shortened: what it concerns."""
    rows: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        message = finding.text.split("{{", 1)[0].split(":", 1)
        rows.setdefault((finding.aspect, message[0]), []).append(finding)
    lines = ["| aspect | TensorFlow | calls and ops |", "| --- | --- | --- |"]
    for (aspect, message_), own in sorted(rows.items()):
        names = " ".join(f"`{name}`" for name in dict.fromkeys(map(_name, own)))
        lines.append(f"| {aspect} | {message_.removeprefix('TensorFlow ')} | {names} |")
    return lines

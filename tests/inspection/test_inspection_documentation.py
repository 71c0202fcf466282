"""The examples in docs/inspection.md: each is run, and gives the output that stands below it.

`python tests/inspection/test_inspection_documentation.py` writes the outputs anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "inspection.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIME = re.compile(r"[\d.,]+ (?:ns|us|ms|s)\b")


def run(command: list[str], folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment, check=False
    )
    return done.stdout.replace(f"{folder}{os.sep}", "").replace(f"{folder.resolve()}{os.sep}", "")


def outputs(text: str, folder: Path) -> list[tuple[str, str, str]]:
    """(kind of the block, what stands there, what it has to be) for every block of output."""
    found, printed = [], ""
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            name = body.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(body, encoding="utf-8")
            printed = run([sys.executable, name], folder)
        elif kind in ("text", "profile"):
            found.append((kind, body, printed))
        elif kind == "console":
            command = re.match(r"\$ graphflow (.*)", body)
            assert command is not None
            import shlex

            shown = run([sys.executable, "-m", "graphflow.cli", *shlex.split(command.group(1))], folder)
            found.append((kind, body, f"{body.splitlines()[0]}\n{shown}"))
    return found


def rows_without_times(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The head of a profile without its times, and (runs, bytes, line and what) of each row, in an order that does not depend on time."""
    head, _, *rows = text.splitlines()
    found = []
    for row in rows:
        parts = re.match(r" +[\d.]+% +[\d.,]+ \w+ +(?:([\d,]+) +([\d.]+ \w?B)?[\d. ]*)?(\S.*)$", row)
        assert parts is not None, row
        found.append((parts.group(1) or "", parts.group(2) or "", parts.group(3)))
    return TIME.sub("...", head), sorted(found)


def test_every_example_gives_the_output_below_it(tmp_path: Path) -> None:
    found = outputs(DOCUMENT.read_text(encoding="utf-8"), tmp_path)
    assert [kind for kind, _, _ in found] == ["text", "text", "text", "profile", "text", "console"]
    for kind, shown, printed in found:
        if kind == "profile":
            assert rows_without_times(shown) == rows_without_times(printed)
            assert len(shown.splitlines()) > 6
        else:
            assert shown == printed
    assert (tmp_path / "step.html").stat().st_size > 50_000


if __name__ == "__main__":
    document = DOCUMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        fresh = iter(outputs(document, Path(place)))
        document = BLOCK.sub(
            lambda m: m.group() if m.group(1) == "python" else f"```{m.group(1)}\n{next(fresh)[2]}```", document
        )
    DOCUMENT.write_text(document, encoding="utf-8")

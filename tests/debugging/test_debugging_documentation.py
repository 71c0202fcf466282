"""The examples in docs/debugging.md: each is run, and gives the output that stands below it.

`python tests/debugging/test_debugging_documentation.py` writes the outputs anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "debugging.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(command: list[str], typed: str, folder: Path) -> str:
    """Everything a command prints, with neither this machine's paths nor addresses."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHON_COLORS": "0"}
    done = subprocess.run(
        command,
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    text = done.stdout.replace(f"{folder}{os.sep}", "").replace(f"{folder.resolve()}{os.sep}", "")
    text = re.sub(
        r'File "[^"]*[/\\]graphflow[/\\](\w+[/\\]\w+\.py)", line \d+', r'File ".../graphflow/\1", line ...', text
    )
    text = re.sub(r"^ *[\^~]+\n", "", text, flags=re.MULTILINE)  # drawn differently by different versions of Python
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def pdb_session(shown: str, folder: Path) -> str:
    """A session with pdb: the commands of the block, each with what pdb answers."""
    first, *rest = shown.splitlines()
    typed = [line.removeprefix("(Pdb) ") for line in rest if line.startswith("(Pdb) ")]
    answer = run([sys.executable, *first.split()[2:]], "\n".join(typed) + "\n", folder)
    parts = re.split(r"\(Pdb\) ?", answer)
    lines = [first, *parts[0].splitlines()]
    for command, part in zip(typed, parts[1:], strict=False):
        lines += [f"(Pdb) {command}", *part.splitlines()]
    return "\n".join(lines) + "\n"


def console(shown: str, folder: Path) -> str:
    lines = []
    for line in shown.splitlines():
        if line.startswith("$ graphflow "):
            lines += [line, *run([sys.executable, "-m", "graphflow.cli", *line.split()[2:]], "", folder).splitlines()]
    return "\n".join(lines) + "\n"


def outputs(text: str, folder: Path) -> list[tuple[str, str]]:
    """(what stands there, what it has to be) for every block of output."""
    found, printed = [], ""
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            name = body.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(body, encoding="utf-8")
            printed = "" if name == "session.py" else run([sys.executable, name], "", folder)
        elif kind == "text":
            found.append((body, printed))
        elif kind in ("pdb", "console"):
            found.append((body, (pdb_session if kind == "pdb" else console)(body, folder)))
    return found


def test_every_example_gives_the_output_below_it(tmp_path: Path) -> None:
    pairs = outputs(DOCUMENT.read_text(encoding="utf-8"), tmp_path)
    assert len(pairs) >= 8
    for shown, printed in pairs:
        if shown.startswith("$ python -m pdb") and sys.version_info[:2] != (3, 11):
            continue  # other versions of pdb say some things differently
        assert shown == printed


def test_every_public_name_is_in_the_document() -> None:
    import graphflow as gf

    text = DOCUMENT.read_text(encoding="utf-8")
    own = [
        n
        for n in gf.debugging.__all__
        if not n.startswith(("assert_", "is_", "read_", "Nan", "Origin", "Breakpoint", "breakpoints", "state"))
    ]
    missing = [name for name in own if not re.search(rf"\b{name}\b", text)]
    if missing:
        pytest.fail(f"docs/debugging.md does not mention {', '.join(missing)}")


if __name__ == "__main__":
    document = DOCUMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        fresh = iter(outputs(document, Path(place)))
        document = BLOCK.sub(
            lambda m: m.group() if m.group(1) == "python" else f"```{m.group(1)}\n{next(fresh)[1]}```", document
        )
    DOCUMENT.write_text(document, encoding="utf-8")

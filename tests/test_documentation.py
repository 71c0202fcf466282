"""README.md and docs/ name what exists: links, files, modules, public names, flags, passes, categories of remarks.

What the pages show as output is tested where it comes from: tests/inspection, tests/debugging, tests/autograph, tests/ir, tests/bad_input
(docs/errors.md), tests/ops (docs/adding-an-op.md, docs/ops.md), tests/test_packaging.py (README.md)."""

from __future__ import annotations

import importlib
import re
from functools import cache, reduce
from pathlib import Path

import pytest

import graphflow as gf
from graphflow import config
from graphflow.passes.pipeline import PIPELINE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "examples" / "README.md", ROOT / "benchmarks" / "README.md"]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"(?<![\w/.:<-])[\w*./-]*\w\*?\.(?:py|md)\b")
FOLDER = re.compile(r"(?<![\w/.:-])(?:graphflow|tests|docs|tools|examples|benchmarks)/[\w/]+(?![\w.*-])")
PUBLIC = re.compile(r"\bgf((?:\.[A-Za-z_]\w*)+)(\*?)")
MODULE = re.compile(r"\bgraphflow((?:\.[a-z_]\w*)+)")
INSIDE = re.compile(r"^(?:\w+/)*([a-z_]+)\.(\w+)\b(?!\.)")
REFUSAL = re.compile(r"Refusal\(\s*\"([^\"]+)\"")
REMARK = re.compile(r"\bremark\(\s*\"([^\"]+)\"")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def prose_of(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", text_of(page))


@cache
def programs() -> set[str]:
    """The user's files in the pages' examples: those that a block begins with or that stand before a line number."""
    fenced = "\n".join(block for page in PAGES for block in FENCE.findall(text_of(page)))
    return {*re.findall(r"^# (\w+\.py)$", fenced, re.MULTILINE), *re.findall(r"\b(\w+\.py):\d", fenced)}


@cache
def modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in [*(ROOT / "graphflow").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]:
        found.setdefault(file.name, []).append(file)
    return found


@cache
def inner_modules() -> dict[str, list[Path]]:
    """Those of the compiler: other names are also those of variables in examples (`report.peak_bytes`)."""
    inner = {"autodiff", "ir", "kernels", "ops", "passes", "runtime", "tracing"}
    return {name: inside for name, files in modules().items() if (inside := [f for f in files if inner & set(f.parts)])}


def headings(page: Path) -> set[str]:
    """The anchors of a page, as they are made of its headings: lower case, spaces as dashes, no punctuation."""
    titles = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def exists(name: str, page: Path) -> bool:
    """Is this file there: from the page, the checkout or the package; a name without folders, anywhere in the package? `NAME` is any."""
    if name in programs() or "/" not in name and name in modules():
        return True
    return any(any(place.glob(name.replace("NAME", "*"))) for place in (page.parent, ROOT, ROOT / "graphflow"))


def has(names: str) -> bool:
    """Does `.functions.control_flow.branch` lead from graphflow to something?"""
    found = gf
    for name in names.strip(".").split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            try:
                found = importlib.import_module(f"{found.__name__}.{name}")
            except (ImportError, AttributeError):
                return False
    return True


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(SPAN.sub("", prose_of(page))):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), f"{link}: no such file"
        assert not anchor or anchor in headings(file), f"{link}: no such heading"


@each_page
def test_files_and_folders_exist(page: Path) -> None:
    text = LINK.sub("", prose_of(page))
    assert [name for name in FILE.findall(text) if not name.startswith("/") and not exists(name, page)] == []
    assert [name for name in FOLDER.findall(text) if not (ROOT / name).exists() and not exists(name, page)] == []


@each_page
def test_public_names_exist(page: Path) -> None:
    wrong = []
    for names, star in PUBLIC.findall(text_of(page)):
        home, _, last = names.rpartition(".")
        holder = reduce(getattr, home.strip(".").split("."), gf) if home and has(home) else gf
        if star and not any(name.startswith(last) for name in dir(holder)) or not star and not has(names):
            wrong.append(f"gf{names}{star}")
    assert wrong == []
    assert [name for name in MODULE.findall(prose_of(page)) if not has(name) and not exists(f"{name[1:]}", page)] == []


@pytest.mark.parametrize("page", [p for p in PAGES if "do not edit." not in text_of(p)], ids=lambda page: page.stem)
def test_names_inside_modules_exist(page: Path) -> None:
    """`walks.observable`, `passes/substitution.retyped`: a definition of that name stands in a module of that name."""
    wrong = []
    for span in SPAN.findall(prose_of(page)):
        found = INSIDE.match(span)
        if found and found[2] not in ("py", "md") and (files := inner_modules().get(f"{found[1]}.py")):
            definition = re.compile(rf"(?:def|class) {found[2]}\b|^\s*{found[2]}\b.*[:=]|\"{found[2]}\"", re.MULTILINE)
            if not any(definition.search(text_of(file)) for file in files):
                wrong.append(span)
    assert wrong == []


@each_page
def test_flags_of_the_environment_exist(page: Path) -> None:
    known = {row[1] for row in config.table()} | {"GRAPHFLOW_CACHE"}
    assert set(re.findall(r"\bGRAPHFLOW_[A-Z_]+\b", text_of(page))) <= known


def section(page: str, title: str) -> str:
    """What stands under a heading of a page, up to the next one of any level."""
    text = "\n" + text_of(ROOT / page)
    assert f"\n{title}\n" in text
    return re.split(r"^#", text.partition(f"\n{title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text: str) -> list[str]:
    """The code spans that begin the rows of the tables in a text."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_the_readme_lists_every_page_once() -> None:
    linked = re.findall(r"^- \[(docs/[\w-]+\.md)\]\(\1\): .", section("README.md", "## More"), re.MULTILINE)
    assert sorted(linked) == sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").glob("*.md"))


def test_the_readme_shows_the_first_table_of_the_benchmarks() -> None:
    table = re.compile(r"^\| workload \|.*?\n(?!\|)", re.MULTILINE | re.DOTALL)
    shown, written = (table.search(text_of(ROOT / page)) for page in ("README.md", "docs/benchmarks.md"))
    assert shown and written
    assert shown.group() == written.group()


def test_the_table_of_passes_is_the_pipeline() -> None:
    table = section("docs/passes.md", "# Passes").partition("A pass goes into")[0]
    assert first_column(table) == [transformation.__name__ for transformation in PIPELINE]


def test_every_category_of_remarks_is_explained() -> None:
    compiler = "".join(text_of(file) for name in ("ir", "passes") for file in (ROOT / "graphflow" / name).rglob("*.py"))
    assert sorted(first_column(section("docs/kernels.md", "## What is one nest"))) == sorted(
        {*REFUSAL.findall(compiler)}
    )
    noted = {"not fused: ...", *REMARK.findall(compiler)}
    assert sorted(first_column(section("docs/passes.md", "### Remarks"))) == sorted(noted)


def test_the_table_of_flags_is_that_of_config() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| `([^`]*)` \|", section("docs/inspection.md", "## Flags"), re.MULTILINE
    )
    assert rows == [(name, variable, repr(default)) for name, variable, default, _ in config.table()]

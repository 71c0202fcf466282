"""fn.view(): one file, without network, with all that it promises; and, where Chromium is installed, a page that works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import graphflow as gf
from graphflow.cli import main
from graphflow.tracing.view import TEMPLATE, diff_stages

X = gf.constant(np.random.default_rng(0).standard_normal((4, 3)).astype("f4"))


@gf.function
def step(x, n):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for _ in gf.range(n):
            y = gf.tanh(y @ gf.transpose(y) @ y)
        loss = gf.reduce_sum(gf.cond(gf.reduce_sum(y) > 0.0, lambda: y * 2.0, lambda: gf.exp(y)))
    return loss, tape.gradient(loss, x)


class Page(HTMLParser):
    """The elements of a page: which are open at the end, the content of scripts, ids, and everything that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.attributes.append((tag, found))
        if tag not in ("meta", "input", "link"):
            self.open.append(tag)
        if "id" in found:
            self.ids.append(str(found["id"]))
        self.loads += [str(v) for k, v in attributes if k in ("src", "href", "action", "data", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(text)


def page_of(path: Path) -> tuple[Page, dict]:
    page = Page(path.read_text(encoding="utf-8"))
    return page, json.loads(page.scripts[0])


def every_node(graph: dict) -> list[dict]:
    return [
        n
        for node in graph["nodes"]
        for n in (node, *(m for _, part in node.get("parts", []) for m in every_node(part)))
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "step.html"
    assert step.view(path, X, gf.constant(4)) == str(path)
    return path


def test_one_well_formed_file_that_loads_nothing(written):
    page, _ = page_of(written)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.loads == []
    text = TEMPLATE.read_text(encoding="utf-8")  # the page also shows this file
    addresses = set(re.findall(r"https?://[^\s\"'`<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    for word in ("fetch(", "XMLHttpRequest", "import(", "@import", "url("):
        assert word not in text
    policies = [a["content"] for tag, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies and policies[0].startswith("default-src 'none'")
    assert ("html", {"lang": "en"}) in page.attributes


def test_it_has_everything(written):
    _, data = page_of(written)
    assert data["name"] == "step"
    assert data["signature"] == "x: f32[4,3], n: i32[]"
    final = every_node(data["graphs"][-1]["graph"])
    kinds = {node["kind"] for node in final}
    assert {"control", "fused", "matmul"} <= kinds
    titles = {part[0] for node in final for part in node.get("parts", [])}
    assert {"condition", "body", "if false", "if true"} <= titles
    stages = step.stages(X, gf.constant(4))
    assert [(s["name"], s["before"], s["after"], s["rewrites"]) for s in data["stages"]] == [
        (s.name, s.nodes_before, s.nodes_after, s.rewrites) for s in stages
    ]
    assert all(s["diff"] for s in data["stages"] if s["rewrites"])
    program = step.get_concrete_function(X, gf.constant(4)).executable.program
    assert [k["nest"] for k in data["kernels"]["kernels"]] == [str(nest) for nest in program.nests]
    assert any("ret" in k["asm"] for k in (*data["kernels"]["kernels"], *data["kernels"]["others"]))
    assert data["memory"]["peakBytes"] == step.memory(X, gf.constant(4)).peak_bytes
    assert "first call" in data["remarks"]["trace"]


def test_every_node_leads_to_a_line_and_back(written):
    _, data = page_of(written)
    own = Path(__file__).read_text(encoding="utf-8").splitlines()
    (source,) = [s for s in data["sources"] if s["file"] == __file__]
    assert [text for _, text in source["lines"]] == own
    for graph in data["graphs"]:
        for node in every_node(graph["graph"]):
            assert node["src"]
            for file, line, column, expression, backward in node["src"]:
                assert backward in (0, 1)
                text = data["sources"][file]["lines"][line - 1][1]
                if expression and data["sources"][file]["file"] == __file__:
                    assert "".join(text.encode()[column:].decode().split()).startswith("".join(expression.split())[:20])


def test_operands_lead_to_values_that_exist(written):
    _, data = page_of(written)

    def check(graph):
        for number, node in enumerate(graph["nodes"]):
            for operand in node["in"]:
                if operand[0] >= 0:
                    assert operand[0] < number
                    assert operand[1] < len(graph["nodes"][operand[0]]["types"])
                else:
                    assert -1 - operand[0] < len(graph["inputs"])
            for _, part in node.get("parts", []):
                check(part)

    for graph in data["graphs"]:
        check(graph["graph"])


def test_what_a_program_says_cannot_break_out_of_the_page(tmp_path):
    @gf.function
    def hostile(x):
        gf.print("</script><script>document.title = 'broken'</script><!--", x)
        return x + 1.0

    path = tmp_path / "hostile.html"
    hostile.view(path, gf.constant([1.0]))
    page, data = page_of(path)
    assert page.open == []
    assert len([tag for tag, _ in page.attributes if tag == "script"]) == 2
    assert any("</script>" in text for _, text in data["sources"][0]["lines"])


def test_a_diff_says_what_a_pass_did():
    @gf.function
    def twice(x):
        a = gf.sin(x)
        b = gf.sin(x)
        return (a + b) * 1.0

    stages = twice.stages(X)
    diffs = dict(zip([s.name for s in stages], diff_stages(stages), strict=True))
    merged = diffs["merge_common"]
    assert [sign for sign, _ in merged].count("-") == 1
    assert all(line.lstrip().startswith("#") for sign, line in merged if sign == "+")  # the other line's place
    (removed,) = [line for sign, line in merged if sign == "-"]
    assert "sin x" in removed
    assert [line.split(" = ")[1].split()[0] for sign, line in merged if sign == "~"] == ["add"]
    for before, after, diff in zip(stages, stages[1:], diff_stages(stages)[1:], strict=False):
        if diff:  # from a diff both sides can be told
            shown = sum(int(text) if sign == "@" else sign in " ~" for sign, text in diff)
            assert shown + sum(sign == "+" for sign, _ in diff) == len(str(after.graph).splitlines())
            assert shown + sum(sign == "-" for sign, _ in diff) == len(str(before.graph).splitlines())


def test_renumbered_values_are_no_change():
    from graphflow.tracing.view import _diff

    old = [
        "g {",
        "  %0: f32[] = sin x",
        "  %1: f32[] = cos x",
        "  %2: f32[] = exp %1",
        "  %3: f32[] = add %2, %1",
        "  return %3",
        "}",
    ]
    new = ["g {", "  %0: f32[] = cos x", "  %1: f32[] = exp %0", "  %2: f32[] = add %1, %1", "  return %2", "}"]
    assert [tuple(change) for change in _diff(old, new) if change[0] not in " @"] == [
        ("-", "  %0: f32[] = sin x"),
        ("~", "  %2: f32[] = add %1, %1"),
    ]


def test_large_graphs(tmp_path):
    @gf.function
    def large(x):
        results = []
        for k in range(330):
            x = gf.sin(x) * 0.5 + gf.reduce_sum(x, axis=0)
            if k % 10 == 0:
                results.append(x @ gf.transpose(x))
        return gf.add_n(results), x

    path = tmp_path / "large.html"
    large.view(path, X)
    _, data = page_of(path)
    assert len(data["graphs"][0]["graph"]["nodes"]) > 1500
    assert path.stat().st_size < 8_000_000


def test_the_view_of_specs_and_of_a_signature(tmp_path):
    function = gf.function(lambda x: gf.exp(x) @ gf.transpose(x))
    function.view(tmp_path / "specs.html", gf.TensorSpec([None, 3], gf.float32))
    _, data = page_of(tmp_path / "specs.html")
    assert "s0" in data["signature"]


def test_a_trace_for_a_gpu_has_a_page_without_a_plan(tmp_path):
    function = gf.function(lambda x: gf.exp(x) + 1.0)
    function.get_concrete_function(X).executable.backend = "cuda"
    function.view(tmp_path / "page.html", X)
    _, data = page_of(tmp_path / "page.html")
    assert data["memory"] is None
    assert "GPU" in data["kernels"]["note"]
    for ask in (function.memory, function.profile):
        with pytest.raises(gf.errors.UnimplementedError, match="GPU") as error:
            ask(X)
        assert error.value.hint


def test_the_command_writes_the_page(tmp_path, capsys, monkeypatch):
    program = tmp_path / "program_for_the_view_command.py"
    program.write_text(
        "import graphflow as gf\n\n\n@gf.function\ndef double(x):\n    return x * 2.0\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["view", f"{program}:double", "--args", "f32[3]"]) == 0
    assert capsys.readouterr().out == "double.html\n"
    _, data = page_of(tmp_path / "double.html")
    assert data["sources"][0]["name"] == "program_for_the_view_command.py"
    assert main(["view", f"{program}:double", "--args", "f32[3]", "--output", "out.html"]) == 0
    assert (tmp_path / "out.html").exists()
    capsys.readouterr()
    assert main(["view", f"{program}:double"]) == 1
    assert "which arguments" in capsys.readouterr().err
    assert main(["view", f"{program}:double", "--args", "f32[3]", "--output", "no/such/folder.html"]) == 1
    assert "no/such" in capsys.readouterr().err


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as the Web Content Accessibility Guidelines define it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_in_both_themes():
    css = TEMPLATE.read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root[^{]*\{([^}]*)\}", css)
    ]
    assert len(themes) == 3
    assert themes[1] == themes[2]  # what the system asks for and what the button sets
    grounds = "ground panel mark good bad box box2 pointwise reduce view matmul library fused control variable constant effect input"
    for theme in themes:
        for ground in grounds.split():
            assert contrast(theme["text"], theme[ground]) >= 7, ground
        for ground in set(grounds.split()) - {"mark", "good", "bad"}:
            assert contrast(theme["quiet"], theme[ground]) >= 4.5, ground
        for ground in ("ground", "panel", "mark", "box2"):
            assert contrast(theme["accent"], theme[ground]) >= 4.5, ground


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
ACTIONS = """
<script>
const said = [];
window.onerror = (message) => { said.push("error: " + message); };
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const tell = () => { document.title = "said " + JSON.stringify(said); };
$("expand").click();
said.push(["open", document.querySelectorAll(".node.open").length > 0]);
$("collapse").click();
said.push(["closed", document.querySelectorAll(".node.open").length === 0]);
const first = order.find((id) => nodes.get(id).node.parts);
choose(first);
press("Enter");
said.push(["Enter opens", open.has(first) && document.activeElement.dataset.id === first]);
press("ArrowRight");
said.push(["arrows go on", chosen === order[order.indexOf(first) + 1]]);
said.push(["lines are marked", document.querySelectorAll("#source .chosen").length > 0]);
press("Escape");
said.push(["Escape leaves", chosen === null]);
document.querySelector("#source .used").click();
said.push(["a line marks nodes", document.querySelectorAll(".node.marked").length > 0]);
$("details").querySelector("[data-node]").click();
said.push(["a link chooses", document.querySelectorAll(".node.chosen").length === 1]);
$("find").value = "matmul";
$("find").dispatchEvent(new Event("input"));
said.push(["search finds", hits.length > 0]);
data.graphs.forEach((_, k) => show(k));
const apart = (a, b) => a.x + a.w <= b.x + 1 || b.x + b.w <= a.x + 1 || a.y + a.h <= b.y + 1 || b.y + b.h <= a.y + 1;
said.push(["nodes do not overlap", drawn.items.every((a) => drawn.items.every((b) => a === b || apart(a, b)))]);
$("tab-passes").click();
document.querySelector("[data-diff]").click();
$("tab-memory").click();
document.querySelector("rect.step").dispatchEvent(new MouseEvent("click", { bubbles: true }));
said.push(["steps show buffers", $("alive").textContent.startsWith("In use at step")]);
$("tab-kernels").click();
said.push(["one panel is shown", [...document.querySelectorAll("[role=tabpanel]")].filter((e) => !e.hidden).length === 1]);
setTimeout(() => { said.push(["diffs are drawn", document.querySelectorAll("#passes pre .add").length > 0]); tell(); }, 200);
tell();
</script></body>
"""


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_the_page_works_in_a_browser(written, tmp_path):
    page = tmp_path / "acting.html"
    page.write_text(written.read_text(encoding="utf-8").replace("</body>", ACTIONS), encoding="utf-8")
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    title = re.search(r"<title>said (.*?)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    said = json.loads(title.group(1).replace("&quot;", '"').replace("&amp;", "&"))
    assert [entry for entry in said if entry[1] is not True] == []
    assert len(said) == 13

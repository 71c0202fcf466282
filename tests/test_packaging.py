"""What an installation promises: light imports, imports in one direction, data and entry points in place."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


README_SESSION = re.compile(r"```\n\$ ([^\n]+)\n((?:(?!```).)*?)\n?```", re.DOTALL)


def readme_output(readme: str, line: str, folder: Path) -> str:
    """What a command of the README prints when its program is in `folder`."""
    program = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert program is not None
    (folder / "train.py").write_text(program.group(1), encoding="utf-8")
    name, *arguments = shlex.split(line)
    module = [] if name == "python" else ["-m", "graphflow.cli"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *module, *arguments], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    lines = (done.stdout or done.stderr).replace(f"{folder}{os.sep}", "").splitlines()
    return "\n".join(text for text in lines if done.stdout or not text.startswith("gf.Tensor"))


def run_python(code: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("heavy", ["numba", "llvmlite", "scipy", "networkx", "rich", "matplotlib", "torch"])
def test_import_loads_nothing_heavy(heavy: str) -> None:
    loaded = run_python("import graphflow, sys; print('\\n'.join(sorted(sys.modules)))").split()
    assert heavy not in {name.partition(".")[0] for name in loaded}


def test_every_public_name_loads() -> None:
    missing = run_python(
        "import graphflow as gf\n"
        "for name in gf.__all__:\n"
        "    try: getattr(gf, name)\n"
        "    except (AttributeError, ImportError) as error: print(name, error)\n"
    )
    assert missing == ""


def test_unknown_name_is_an_attribute_error() -> None:
    import graphflow as gf

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gf.no_such_name


def test_imports_point_to_the_left() -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed; pip install -e '.[test]' brings it")
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None))",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_contract_names_the_whole_house() -> None:
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    assert contract["type"] == "layers"
    assert contract["exhaustive"] is True
    named = {name for layer in contract["layers"] for name in re.findall(r"\w+", layer)}
    folders = {
        path.name for path in (ROOT / "graphflow").iterdir() if path.is_dir() and (path / "__init__.py").exists()
    }
    assert folders <= named


def test_version_is_one() -> None:
    import graphflow as gf

    assert gf.__version__ == PROJECT["project"]["version"]


def test_readme_gives_exactly_the_two_set_up_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    section = lines[lines.index("## Set up") : lines.index("## Decorate")]
    commands = [line for line in section if line.startswith("pip")]
    assert commands == ["pip install . && graphflow demo", "pip install -e '.[test]' && pytest"]


def test_readme_shows_real_output(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sessions = README_SESSION.findall(readme)
    assert len(sessions) >= 4
    for line, shown in sessions:
        assert readme_output(readme, line, tmp_path) == shown, line


def test_data_and_marker_are_packaged() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    assert data["graphflow"] == ["py.typed"]
    assert "*.csv.gz" in data["graphflow.data"]
    assert (ROOT / "graphflow" / "py.typed").exists()
    assert "CC BY 4.0" in (ROOT / "graphflow" / "data" / "digits.py").read_text(encoding="utf-8")


def test_extras_are_those_the_documents_name() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) == {"test", "bench", "cuda"}
    assert PROJECT["project"]["scripts"] == {"graphflow": "graphflow.cli:main"}


def test_licence_is_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_ci_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    for command in (
        "pip install",
        "pytest",
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "lint-imports",
        "graphflow demo",
    ):
        assert command in text

"""The examples: a few steps of each, through the command line that their readers use."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> ModuleType:
    """The example as a module of its own, so that its settings can be made smaller."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(pattern: str, text: str) -> list[float]:
    """What the group of a pattern matches, as numbers."""
    return [float(found) for found in re.findall(pattern, text)]


def test_digits_cnn_learns_and_repeats_itself(capsys: pytest.CaptureFixture[str]) -> None:
    module = example("digits_cnn")
    texts = []
    for _ in range(2):
        module.main(["--epochs", "3"])
        texts.append(capsys.readouterr().out)
    losses, again = (numbers(r"loss ([\d.]+)", text) for text in texts)
    (accuracy,) = numbers(r"accuracy on 359 test images: ([\d.]+)%", texts[0])
    assert len(losses) == 3
    assert losses[2] < losses[0] / 2
    assert accuracy > 90
    assert losses == again, "the same seed trains the same network"
    assert "same bits in eager and graph mode" in texts[0]


def test_digits_cnn_validates_without_the_test_images(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    module = example("digits_cnn")
    split = module.digits.split(0)
    monkeypatch.setattr(module.digits, "split", lambda seed: split._replace(test_images=split.test_images[:0]))
    module.main(["--epochs", "1", "--validate"])
    (accuracy,) = numbers(r"accuracy on 287 validation images: ([\d.]+)%", capsys.readouterr().out)
    assert accuracy > 30


def test_language_model_learns_and_writes(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    module = example("language_model")
    monkeypatch.setattr(module, "BATCH", 8)
    monkeypatch.setattr(module, "STEPS_A_CALL", 20)
    module.main(["--steps", "80", "--prompt", "import "])
    text = capsys.readouterr().out
    losses = numbers(r"to +\d+  loss ([\d.]+)", text)
    (held_out,) = numbers(r"held-out loss ([\d.]+)", text)
    (unigram,) = numbers(r"frequencies of bytes ([\d.]+)", text)
    assert len(losses) == 4
    assert losses[3] < losses[1] < losses[0]
    assert held_out < unigram - 0.1
    assert text.count("\nimport ") == 2, "each text begins with the prompt"

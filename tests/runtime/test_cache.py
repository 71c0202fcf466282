"""The object-code cache: what it returns is what was stored, or nothing."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graphflow import config
from graphflow.errors import CompileError
from graphflow.runtime.cpu import cache, llvm

TEXT = "define i32 @next(i32 %x) {\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(config, "_process", replace(config.flags(), cache_dir=str(tmp_path / "kept")))
    monkeypatch.setattr(cache, "problems", [])
    monkeypatch.setattr(cache, "_usage", {})
    yield tmp_path / "kept"


def call(library: llvm.Library, name: str, value: int) -> int:
    return int(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(library.address(name))(value))


def only_file() -> Path:
    (entry,) = cache.entries()
    return entry.path


def test_store_and_load() -> None:
    key = cache.key_of("some", "text")
    assert cache.load(key) is None and cache.entries() == []
    assert cache.store(key, b"payload") and cache.load(key) == b"payload"
    assert cache.store(cache.key_of("empty"), b"") and cache.load(cache.key_of("empty")) == b""
    assert {entry.key for entry in cache.entries()} == {key, cache.key_of("empty")}
    assert cache.verify() == [] and cache.problems == []
    assert cache.clear() == 2 and cache.entries() == [] and cache.load(key) is None


def test_keys() -> None:
    assert cache.key_of("ab", "c") != cache.key_of("a", "bc") != cache.key_of("abc")
    assert len(cache.key_of()) == 64


def test_a_second_compile_is_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    first = llvm.optimise_and_emit(TEXT)
    monkeypatch.setattr(llvm, "_compile", lambda text, level: pytest.fail("compiled again"))
    assert llvm.optimise_and_emit(TEXT) == first
    assert call(llvm.compile_module(TEXT, ["next"]), "next", 41) == 42


def test_the_key_holds_all_that_decides_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    llvm.optimise_and_emit(TEXT)
    llvm.optimise_and_emit(TEXT, "none")
    llvm.optimise_and_emit(TEXT.replace("1", "2"))
    for name, value in (("host_cpu", "other"), ("features", "+other"), ("_tool_versions", "other")):
        with monkeypatch.context() as patch:
            patch.setattr(llvm, name, lambda value=value: value)
            patch.setattr(llvm, "_compile", lambda text, level: b"code")
            llvm.optimise_and_emit(TEXT)
    with monkeypatch.context() as patch:
        patch.setattr(llvm, "FORMAT", "other")
        llvm.optimise_and_emit(TEXT)
    assert len(cache.entries()) == 7


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-1], "checksum"),
        (lambda content: content[:40], "not a cache entry"),
        (lambda content: b"", "not a cache entry"),
        (lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:], "checksum"),
        (lambda content: content + b"x", "checksum"),
        (lambda content: b"another format" + content[14:], "not a cache entry"),
    ],
)
def test_a_damaged_entry_is_recompiled(damage: object, reason: str) -> None:
    good = llvm.optimise_and_emit(TEXT)
    path = only_file()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert [fault for _, fault in cache.verify() if reason in fault]
    assert call(llvm.compile_module(TEXT, ["next"]), "next", 41) == 42
    assert reason in cache.problems[0]
    assert cache.verify() == [] and cache.load(path.stem) == good


def test_an_entry_under_another_name_is_refused() -> None:
    llvm.optimise_and_emit(TEXT)
    path = only_file()
    other = cache.key_of("other")
    target = path.parent.parent / other[:2] / f"{other}.o"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(path.read_bytes())
    assert cache.load(other) is None and "another key" in cache.problems[0]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users on this system")
def test_an_entry_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(cache.key_of("x"), b"payload")
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    assert cache.load(cache.key_of("x")) is None and "another user" in cache.problems[0]


def test_an_unusable_directory_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    monkeypatch.setattr(config, "_process", replace(config.flags(), cache_dir=str(file)))
    for _ in range(2):
        assert call(llvm.compile_module(TEXT, ["next"]), "next", 1) == 2
    assert any("cannot be written" in problem for problem in cache.problems)
    assert len(cache.problems) == len(set(cache.problems)) <= 2
    assert cache.entries() == [] and cache.clear() == 0


def test_a_full_disk_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not cache.store(cache.key_of("x"), b"payload")
    assert "No space left" in cache.problems[0]
    assert cache.load(cache.key_of("x")) is None
    root = cache.directory()
    assert root is not None and list(root.rglob(".writing-*")) == []


@pytest.mark.parametrize("word", ["0", "off", "No"])
def test_turned_off(monkeypatch: pytest.MonkeyPatch, place: Path, word: str) -> None:
    monkeypatch.setattr(config, "_process", replace(config.flags(), cache_dir=word))
    assert cache.directory() is None
    assert not cache.store(cache.key_of("x"), b"payload")
    assert cache.load(cache.key_of("x")) is None and cache.entries() == [] and cache.clear() == 0
    assert call(llvm.compile_module(TEXT, ["next"]), "next", 1) == 2
    assert not place.exists() and cache.problems == []


def test_default_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_process", replace(config.flags(), cache_dir=""))
    assert cache.directory() is not None and "graphflow" in str(cache.directory())


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT_BYTES", 10_000)
    keys = [cache.key_of(str(number)) for number in range(40)]
    for age, key in enumerate(keys):
        cache.store(key, bytes(1000))
        for entry in cache.entries():
            if entry.key == key:
                os.utime(entry.path, (1_000_000 + age, 1_000_000 + age))
        assert sum(entry.size for entry in cache.entries()) <= 10_000
    cache.load(keys[-5])  # a use makes it young
    cache.store(cache.key_of("more"), bytes(1000))
    assert [entry.key for entry in cache.entries()][-2:] in (
        [keys[-5], cache.key_of("more")],
        [cache.key_of("more"), keys[-5]],
    )
    assert keys[0] not in {entry.key for entry in cache.entries()}


def test_abandoned_writes_are_removed(place: Path) -> None:
    folder = place / "objects" / "ab"
    folder.mkdir(parents=True)
    for name, age in ((".writing-old", 1_000_000), (".writing-new", None)):
        (folder / name).write_bytes(b"torn")
        if age:
            os.utime(folder / name, (age, age))
    cache.store(cache.key_of("x"), b"payload")
    assert [path.name for path in folder.glob(".writing-*")] == [".writing-new"]


def test_threads_at_once() -> None:
    wrong: list[object] = []

    def run() -> None:
        for number in range(30):
            got = cache.load(cache.key_of(str(number)))
            if got not in (None, bytes([number]) * 5000):
                wrong.append(got)
            cache.store(cache.key_of(str(number)), bytes([number]) * 5000)

    workers = [threading.Thread(target=run) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong and len(cache.entries()) == 30 and cache.problems == []


def test_compile_errors_name_the_cause() -> None:
    with pytest.raises(CompileError, match="undefined value '%z'"):
        llvm.compile_module(TEXT.replace("ret i32 %y", "ret i32 %z"), ["next"])
    with pytest.raises(CompileError, match="does not link"):
        llvm.compile_module(TEXT, ["absent"])
    needs = "declare i32 @nowhere(i32)\n" + TEXT.replace("add i32 %x, 1", "call i32 @nowhere(i32 %x)")
    with pytest.raises(CompileError, match="does not link"):
        llvm.compile_module(needs, ["next"])
    library = llvm.compile_module(TEXT, ["next"])
    assert call(llvm.compile_module(needs, ["next"], {"nowhere": library.address("next")}), "next", 1) == 2
    with pytest.raises(KeyError):
        library.address("absent")

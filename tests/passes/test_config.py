"""The flags."""

from __future__ import annotations

import threading

import pytest

from graphflow import config
from graphflow.config import Flags, read_environment


def test_at_most_15_documented_flags():
    table = config.table()
    assert len(table) <= 15
    assert all(variable.startswith("GRAPHFLOW_") and meaning.endswith(".") for _, variable, _, meaning in table)
    assert len({variable for _, variable, _, _ in table}) == len(table)


def test_environment():
    assert read_environment({}) == Flags()
    found = read_environment(
        {"GRAPHFLOW_CHECK": "1", "GRAPHFLOW_FUEL": "12", "GRAPHFLOW_CACHE": "elsewhere", "OTHER": "y"}
    )
    assert (found.check, found.fuel, found.cache_dir) == (True, 12, "elsewhere")
    assert read_environment({"GRAPHFLOW_CHECK": "no"}).check is False


@pytest.mark.parametrize(
    ("variable", "text"), [("GRAPHFLOW_CHECK", "maybe"), ("GRAPHFLOW_THREADS", "-1"), ("GRAPHFLOW_FUEL", "x")]
)
def test_wrong_environment(variable, text):
    with pytest.raises(ValueError, match=rf"{variable}='{text}': expected .*\."):
        read_environment({variable: text})


def test_override_nests_and_ends():
    before = config.flags()
    with config.override(check=True, fuel=3) as outer:
        assert outer.check and config.get("fuel") == 3
        with config.override(fuel=None):
            assert config.flags().fuel is None and config.flags().check
        assert config.flags() is outer
    assert config.flags() is before


def test_override_is_of_one_thread():
    seen = []
    with config.override(fuel=5):
        thread = threading.Thread(target=lambda: seen.append(config.flags().fuel))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.mark.parametrize(("changes", "message"), [
    ({"speed": 1}, "config has no flag 'speed'; the flags are check, "),
    ({"check": 1}, "config.check is of type bool, got 1"),
    ({"threads": True}, "config.threads is of type int, got True"),
    ({"threads": -1}, "config.threads must be at least 0, got -1"),
    ({"dump_dir": None}, "config.dump_dir is of type str, got None"),
])  # fmt: skip
def test_wrong_changes(changes, message):
    with pytest.raises(TypeError, match=message), config.override(**changes):
        raise AssertionError("not reached")


def test_unknown_flag():
    with pytest.raises(ValueError, match="there is no flag 'speed'; the flags are check,"):
        config.get("speed")


def test_run_functions_eagerly():
    before = config.functions_run_eagerly()
    config.run_functions_eagerly(True)
    try:
        assert config.functions_run_eagerly()
    finally:
        config.run_functions_eagerly(before)

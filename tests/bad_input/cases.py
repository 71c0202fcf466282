"""The forms of these tests: `Case` for a function with state that fails at run time, `Row` for a call that is refused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from public.calls import VALUES

import graphflow as gf

MODES = ["eager", "graph"]
#: arrays of fixed shape in symbolic mode: what a function must know when it is traced
KNOWN = frozenset({"kernel", "kernel1", "kernel3", "depth", "flat", "mix"})


def assert_refused(error: BaseException, parts: Sequence[str], file: str) -> None:
    """A typed error with the values, the line of the test `file` and a next step."""
    text = str(error)
    assert isinstance(error, gf.errors.GraphflowError), repr(error)
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
    assert re.search(rf"at .*{re.escape(file)}:\d+   \S", text), text
    assert error.hint or "; " in text.partition("\n")[0], f"no next step: {text}"


class Row(NamedTuple):
    """A call that is refused: its parameters are names of VALUES. It raises `error`, and says all `parts`."""

    call: Callable[..., Any]
    error: str
    parts: str

    def check(self, mode: str, file: str) -> None:
        """mode: "eager", "graph", or "symbolic": traced for unknown extents. Twice, since a failed trace must leave nothing behind."""
        names = list(inspect.signature(self.call).parameters)
        tensors = [gf.constant(VALUES[name]) for name in names]
        run: Any = self.call
        if mode != "eager":
            specs = [
                gf.TensorSpec(VALUES[n].shape if n in KNOWN else [None] * VALUES[n].ndim, gf.as_dtype(VALUES[n].dtype))
                for n in names
            ]
            run = gf.function(self.call, autograph=False, input_signature=specs if mode == "symbolic" else None)
        for _ in range(2):
            with pytest.raises(getattr(gf.errors, self.error)) as caught:
                run(*tensors)
            assert_refused(caught.value, self.parts.split(" / "), file)


def check_rows(rows: Sequence[Row], mode: str, file: str) -> None:
    """All rows of a table; then the next call works."""
    wrong = []
    for row in rows:
        try:
            row.check(mode, file)
        except (AssertionError, Exception, pytest.fail.Exception) as error:
            wrong.append(f"line {row.call.__code__.co_firstlineno}: {type(error).__name__}: {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)
    again = gf.function(lambda x: gf.reduce_sum(x * 2.0), autograph=False) if mode != "eager" else gf.reduce_sum
    assert again(gf.ones(3)).numpy() == (3 if mode == "eager" else 6)


class Case:
    """A function with a state that it updates before it fails, in eager mode or compiled."""

    def __init__(self, mode: str, body: Callable[..., Any], **options: Any) -> None:
        self.count = gf.Variable([0, 0])
        self.weights = gf.Variable([1.0, 2.0])

        def run(*args: Any) -> Any:
            if mode == "graph":
                self.count.assign_add([1, 1])
                self.weights.assign(self.weights * 2.0)
            return body(*args)

        self.file = body.__code__.co_filename.rpartition("/")[2]
        self.run = gf.function(run, **options) if mode == "graph" else run
        self.mode = mode
        self.calls = 0

    def works(self, *args: Any) -> Any:
        found = self.run(*args)
        self.calls += 1
        self.check()
        return found.numpy().tolist() if isinstance(found, gf.Tensor) else found

    def check(self) -> None:
        """Each successful call counted, no failed one."""
        if self.mode == "graph":
            assert self.count.numpy().tolist() == [self.calls] * 2
            assert self.weights.numpy().tolist() == [2.0**self.calls, 2.0 ** (self.calls + 1)]

    def fails(self, error: Any, parts: Sequence[str], *args: Any) -> None:
        for _ in range(2):
            with pytest.raises(error) as caught:
                self.run(*args)
            text = str(caught.value)
            for part in parts:
                assert part in text, text
            assert re.search(rf"at .*({re.escape(self.file)}|cases\.py):\d+   \S", text), (
                text
            )  # or the call itself, above
            assert isinstance(caught.value, gf.errors.GraphflowError)
            self.check()

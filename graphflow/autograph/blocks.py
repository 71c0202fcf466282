"""Blocks of converted code: functions without arguments whose closure cells are the user's variables."""

from __future__ import annotations

from collections.abc import Callable
from types import CellType
from typing import Any

from .convert import block_locals

__all__ = ["UNDEFINED", "Cell", "GlobalName", "Undefined", "run"]


class Undefined:
    """What stands for the value of a name that has none."""

    def __repr__(self) -> str:
        return "nothing"


UNDEFINED: Any = Undefined()


def run(block: Callable[..., Any], *arguments: Any) -> Any:
    """Run a block. A variable without a value is missing as a local variable of the user's function is."""
    try:
        return block(*arguments)
    except NameError as error:
        local = _as_local(error)
        if local is None:
            raise
        raise local from None


def _as_local(error: NameError) -> UnboundLocalError | None:
    """A block's variable is a free variable to Python, and a local one to the user."""
    trace = error.__traceback__
    if type(error) is not NameError or trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    if error.name not in code.co_freevars or error.name not in block_locals(code):
        return None
    local = UnboundLocalError(f"cannot access local variable '{error.name}' where it is not associated with a value")
    local.name = error.name
    return local.with_traceback(error.__traceback__)


class Cell:
    """A variable of the user's function as state of its control flow."""

    __slots__ = ("_cell", "name")

    def __init__(self, name: str, cell: CellType) -> None:
        self.name, self._cell = name, cell

    def get(self) -> Any:
        """Its value, or UNDEFINED."""
        try:
            return self._cell.cell_contents
        except ValueError:
            return UNDEFINED

    def set(self, value: Any) -> None:
        """Give it a value; UNDEFINED takes it away."""
        if value is UNDEFINED:
            try:
                del self._cell.cell_contents
            except ValueError:  # Python 3.15 may refuse to empty an empty cell
                return
        else:
            self._cell.cell_contents = value


class GlobalName:
    """A global variable as state of control flow."""

    __slots__ = ("_scope", "name")

    def __init__(self, name: str, scope: dict[str, Any]) -> None:
        self.name, self._scope = name, scope

    def get(self) -> Any:
        """Its value, or UNDEFINED."""
        return self._scope.get(self.name, UNDEFINED)

    def set(self, value: Any) -> None:
        """Give it a value; UNDEFINED takes it away."""
        if value is UNDEFINED:
            self._scope.pop(self.name, None)
        else:
            self._scope[self.name] = value

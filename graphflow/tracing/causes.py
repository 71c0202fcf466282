"""Why a call needs a trace of its own: which argument or captured value changed, from what to what, and what to do
about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .guards import Guard, short
from .signature import Arguments, ObjectKey, ValueKey

__all__ = ["Cause", "cause_of"]


@dataclass(frozen=True)
class Cause:
    """Why a trace was made.

    kind: "first call", "argument", "structure", "shape", "capture", "aliasing", "dropped" or "asked for". subject: the
    argument or captured place, as in the message. old, new: texts of the two values (nothing is kept alive). advice:
    what to change, empty where there is nothing to change.
    """

    kind: str
    text: str
    subject: str = ""
    old: str = ""
    new: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return self.text


FIRST = Cause("first call", "first call")
ASKED = Cause("asked for", "asked for")


def cause_of(entries: list[Any], arguments: Arguments, was_dropped: bool, fixed_shapes: bool) -> Cause:
    """The difference between a call and the traces there are. entries: ConcreteFunctions, the last used one last.
    was_dropped: there was a trace for just this call. fixed_shapes: extents do not become symbolic."""
    if was_dropped:
        return Cause(
            "dropped",
            "the trace for these arguments was dropped to make room",
            advice="raise the flag most_traces, or pass tensors instead of Python values",
        )
    if not entries:
        return FIRST
    same = [c for c in entries if c.key == arguments.key]
    if not same:
        return _of_keys([c.key for c in entries], arguments)
    changed = [[g for g in c.guards if not g.is_dead and not g.holds()] for c in same]
    current = [c for c, guards in zip(same, changed, strict=True) if not guards]
    if not current:
        return _of_guard(changed[-1][0])
    # a trace for the present captured values is there: it is the arguments that it does not fit
    for position, (old, new) in enumerate(zip(current[-1].types, arguments.tensors, strict=True)):
        if old.shape != new.dims:
            return _of_shapes(arguments.names[position], list(old.shape), list(new.dims), fixed_shapes)
    if not all(c.accepts(arguments.variables) for c in current):
        return Cause(
            "aliasing",
            "a variable is an argument and captured in other ways than before",
            advice="pass the variable, or capture it, but not both",
        )
    return Cause("shape", "the extents do not agree as this trace needs")


def _of_guard(guard: Guard) -> Cause:
    where, old, new = guard.then.difference(guard.get())
    if old == new:
        new = f"another {new}" if new.startswith("an object") else f"{new} (another one)"
    name = guard.name.split("'")[1] if "'" in guard.name else guard.name.rsplit(".", 1)[-1]
    value = guard.get()
    if isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        advice = f"make `{name}` a gf.Variable or an argument"
    elif type(value).__module__ == "numpy":
        advice = f"pass `{name}` as an argument, or keep it in a gf.Variable"
    else:
        advice = f"keep `{name}` as it is between calls, or pass it as an argument"
    return Cause("capture", f"captured {guard.name}{where} changed from {old} to {new}", guard.name, old, new, advice)


def _of_shapes(name: str, old: list[Any], new: list[Any], fixed_shapes: bool) -> Cause:
    axes = [k for k, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    where = " and ".join(f"axis {k}" for k in axes)
    advice = f"give input_signature with None for {where} of '{name}'"
    if fixed_shapes:
        advice = f"Python uses the number behind {where} of '{name}': use gf.shape({name})[{axes[0]}] and gf ops there"
    text = f"argument '{name}' changed shape from {old} to {new}"
    return Cause("shape", text, f"argument '{name}'", str(old), str(new), advice)


def _of_keys(keys: Iterable[Any], arguments: Arguments) -> Cause:
    """The difference to the trace whose arguments are most like these (of equals, the last used)."""
    after = list(leaves_of(arguments.key))
    closest: list[tuple[int, Any, Any]] | None = None
    lengths = 0
    for key in keys:
        before = list(leaves_of(key))
        lengths = len(before)
        if len(before) == len(after) == len(arguments.leaf_keys):
            differing = [(k, a, b) for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
            if differing and (closest is None or len(differing) <= len(closest)):
                closest = differing
    if closest is None:
        text = "the arguments' structure changed"
        if lengths != len(after):
            text += f": {lengths} leaves became {len(after)}"
        advice = "pass the same structure (containers, lengths, keys) at each call"
        return Cause("structure", text, "", f"{lengths} leaves", f"{len(after)} leaves", advice)
    position, was, now = closest[0]
    name = arguments.leaf_keys[position][0]
    old, new = key_text(was), key_text(now)
    text = f"argument '{name}' changed from {old} to {new}"
    return Cause("argument", text, f"argument '{name}'", old, new, _advice(name, was, now, new))


def _advice(name: str, was: Any, now: Any, new: str) -> str:
    """What to do about an argument with another key."""
    if isinstance(now, ObjectKey) or isinstance(was, ObjectKey):
        return f"pass the same object for '{name}' (made once, outside the loop), or pass tensors"
    if now[0] == "T" and was[0] == "T":
        return f"cast '{name}' to one dtype" if now[1] != was[1] else f"reshape '{name}' to one rank"
    if now[0] in ("V", "S") or was[0] in ("V", "S"):
        return f"pass the same kind of argument for '{name}' at each call"
    if isinstance(now[0], type) and issubclass(now[0], (int, float, complex)) and now[0] is not bool:
        return f"pass a tensor (gf.constant({new})) instead of the Python number {new} for '{name}'"
    return f"each value of '{name}' is a trace of its own; that is right for a few values"


_TAGS = ("T", "V", "S")


def leaves_of(key: Any) -> Iterator[Any]:
    """The leaf keys inside a call's key."""
    if isinstance(key, ObjectKey) or (
        isinstance(key, tuple)
        and key
        and (key[0] in _TAGS if isinstance(key[0], str) else isinstance(key[0], type) and len(key) == 2)
    ):
        yield key
    elif isinstance(key, tuple):
        for part in key[2] if len(key) == 3 and isinstance(key[0], type) else key:
            if isinstance(part, (tuple, ObjectKey)):
                yield from leaves_of(part)


def key_text(key: Any) -> str:
    """A leaf key in words."""
    if isinstance(key, ObjectKey):
        return repr(key)
    if key[0] == "T":
        return f"{key[1]} of rank {key[2]}"
    if key[0] == "V":
        return "a variable" if len(key) == 4 else "a variable that is passed twice"
    if key[0] == "S":
        return str(key[1])
    if isinstance(key[1], (tuple, frozenset)):
        return f"<{key[0].__name__}>"
    value = key[1].value if isinstance(key[1], ValueKey) else key[1]
    value = float.fromhex(value) if issubclass(key[0], float) else value
    return str(value) if issubclass(key[0], (range, slice, complex)) else short(value)


def objects_of(key: Any) -> Iterator[ObjectKey]:
    """The objects in a leaf key that are known by identity."""
    if isinstance(key, ObjectKey):
        yield key
    elif isinstance(key, (tuple, frozenset)):
        for part in key:
            yield from objects_of(part)

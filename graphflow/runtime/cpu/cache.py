"""Content-addressed object code on disk: compiled once, never trusted blindly.

An entry is one file named after its key, `objects/<first two digits>/<key>.o`:

    magic, 24 bytes | key, 32 bytes | sha256 of the payload, 32 bytes | payload

The key is the sha256 of everything that decides the machine code (see `key_of`), so a stale entry is simply never
looked up. A torn entry fails its checksum, a renamed one does not carry its own key, one written by another user is
refused; each of them is recompiled and overwritten. A write goes to a temporary file first and is renamed into place,
so a reader sees an entry whole or not at all. When the directory cannot be used (read-only, full disk) there is no
cache and no error: what went wrong is kept in `problems`, which `graphflow doctor` prints.

The place is `platformdirs.user_cache_dir("graphflow")`, or the directory that the flag `cache_dir` names (GRAPHFLOW_CACHE
at the start, `config.set_flags` and `config.override` at any time); "0" turns the cache off. A hit costs about
0.1 ms (open, read, sha256 of some 10 kB).
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ... import config
from ...locks import renew_after_fork

__all__ = ["Entry", "clear", "directory", "entries", "key_of", "load", "problems", "store", "verify"]

MAGIC = b"graphflow object code 1\n"
HEADER_BYTES = len(MAGIC) + 32 + 32
LIMIT_BYTES = 512 * 1024 * 1024
"""Entries beyond this total are evicted, the ones unused for longest first. Assign to change it."""
EVICT_TO = 0.75
"""An eviction goes down to this share of the limit, so that a full cache does not evict at every write."""
TOUCH_SECONDS = 3600.0
"""A hit refreshes an entry's time stamp when it is older than this: eviction need not be finer, and a hit stays
read-only."""
ABANDONED_SECONDS = 3600.0
"""A temporary file older than this was left behind by a process that died."""
KEPT_PROBLEMS = 64

problems: list[str] = []
"""What went wrong with the cache in this process, in order, each message once, at most KEPT_PROBLEMS of them."""

_lock = threading.Lock()


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.Lock()


renew_after_fork(sys.modules[__name__])
_usage: dict[str, int] = {}  # directory -> bytes believed to be in it; absent until this process first writes there


@dataclass(frozen=True)
class Entry:
    """One file of the cache: its key (hexadecimal), path, size in bytes and the time of its last use (seconds since
    1970)."""

    key: str
    path: Path
    size: int
    used: float


def directory() -> Path | None:
    """The cache's directory, or None where cache_dir="0" (or another word for no) turns the cache off. It need not exist yet."""
    place = config.flags().cache_dir
    if place.lower() in ("0", "false", "no", "off"):
        return None
    if place:
        return Path(place)
    import platformdirs  # 4 ms, and not needed where the flag is set

    return Path(platformdirs.user_cache_dir("graphflow"))


def key_of(*parts: str) -> str:
    """The key of what `parts` determine. Each part is hashed with its length, so ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256(MAGIC)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def load(key: str) -> bytes | None:
    """The object code kept under `key`, or None: not there, or there and not to be trusted (see `problems`)."""
    root = directory()
    if root is None:
        return None
    path = _path(root, key)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                _problem(f"{path}: ignored, it belongs to another user ({status.st_uid})")
                return None
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _problem(f"{path}: cannot be read: {error}")
        return None
    fault = _fault(key, content)
    if fault:
        _problem(f"{path}: ignored, {fault}")
        return None
    if time.time() - status.st_mtime > TOUCH_SECONDS:
        try:
            os.utime(path)
        except OSError as error:
            _problem(f"{path}: time of use not recorded: {error}")
    return content[HEADER_BYTES:]


def store(key: str, payload: bytes) -> bool:
    """Keep `payload` under `key`; False, with the reason in `problems`, where that cannot be done. Never raises
    OSError."""
    root = directory()
    if root is None:
        return False
    path = _path(root, key)
    content = MAGIC + bytes.fromhex(key) + hashlib.sha256(payload).digest() + payload
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        _problem(f"{path}: cannot be written: {error}")
        if temporary:
            _remove(Path(temporary))
        return False
    _account(root, len(content))
    return True


def entries() -> list[Entry]:
    """Every entry, the one unused for longest first."""
    root = directory()
    return [] if root is None else sorted(_scan(root), key=lambda entry: (entry.used, entry.key))


def verify() -> list[tuple[Entry, str]]:
    """Read every entry and check it; returns those which would be ignored, each with the reason. Removes nothing."""
    faults = []
    for entry in entries():
        try:
            fault = _fault(entry.key, entry.path.read_bytes())
        except OSError as error:
            fault = f"cannot be read: {error}"
        if fault:
            faults.append((entry, fault))
    return faults


def clear() -> int:
    """Remove every entry; returns how many were removed."""
    root = directory()
    if root is None:
        return 0
    removed = sum(_remove(entry.path) for entry in entries())
    with _lock:
        _usage.pop(str(root), None)
    return removed


def _path(root: Path, key: str) -> Path:
    return root / "objects" / key[:2] / f"{key}.o"


def _fault(key: str, content: bytes) -> str | None:
    """Why `content` is not the entry of `key`; None if it is."""
    if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
        return "it is not a cache entry of this format"
    head = content[len(MAGIC) : HEADER_BYTES]
    if head[:32].hex() != key:
        return "it is the entry of another key"
    if hashlib.sha256(memoryview(content)[HEADER_BYTES:]).digest() != head[32:]:
        return "its checksum does not match (torn or altered)"
    return None


def _scan(root: Path) -> Iterator[Entry]:
    """The entries below `root`, in no order. What disappears meanwhile (another process evicts) is left out."""
    for path in (root / "objects").glob("??/*.o"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            _problem(f"{path}: {error}")
            continue
        yield Entry(path.stem, path, status.st_size, status.st_mtime)


def _account(root: Path, size: int) -> None:
    """Add `size` to what `root` is believed to hold; past the limit count anew and evict.

    The directory is walked at this process's first write and then only when the estimate passes the limit, because a
    walk over 10 000 entries takes some 100 ms and a write 0.2 ms.
    """
    with _lock:
        place = str(root)
        if place in _usage:
            _usage[place] += size
        else:
            _remove_abandoned(root)
            _usage[place] = sum(entry.size for entry in _scan(root))
        if _usage[place] <= LIMIT_BYTES:
            return
        kept = sorted(_scan(root), key=lambda entry: (entry.used, entry.key))
        total = sum(entry.size for entry in kept)
        for entry in kept if total > LIMIT_BYTES else ():
            if total <= LIMIT_BYTES * EVICT_TO:
                break
            total -= entry.size * _remove(entry.path)
        _usage[place] = total


def _remove_abandoned(root: Path) -> None:
    for path in (root / "objects").glob("??/.writing-*"):
        try:
            old = time.time() - path.stat().st_mtime > ABANDONED_SECONDS
        except OSError:
            continue  # its writer has just renamed or removed it
        if old:
            _remove(path)


def _remove(path: Path) -> bool:
    """Whether this call removed the file."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        _problem(f"{path}: cannot be removed: {error}")
        return False
    return True


def _problem(message: str) -> None:
    if message not in problems and len(problems) < KEPT_PROBLEMS:
        problems.append(message)

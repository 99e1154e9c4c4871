"""The contents of directories, read once by a run for as long as nothing changes there.

A verb reads the same directories again and again: for the disk of the backups, for remains of runs
that died, for restore points.  Within ``kept`` the first answer is given again, until one of these
has changed:

* the number of changes to names that this process has made, wherever that was (``changing``);
* the status of the directory, whose times tell of a name that another process has made or removed.

So an answer is never older than the last change by this run.  Bytes that another process writes
into an existing file are seen by the next run, as if they had come a moment later.  Only the thread
that has entered ``kept`` gets answers again: others read for themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_State = tuple[int, ...]
"""The state for which an answer is valid: number of changes by this process, status of the
directory."""

_KEPT: ContextVar[dict[tuple[str, Hashable], tuple[_State, Any]] | None] = ContextVar(
    "kept", default=None
)


class _Changing:
    """Counts the changes to names; entered around each."""

    def __init__(self) -> None:
        self._counter = count(1)
        self.count = 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        # after the body: another thread may have read the state before the change
        if kind is None or not issubclass(kind, FileExistsError):
            # one of two threads that add at the same time would count for nothing
            self.count = next(self._counter)


changing = _Changing()
"""Context for the making, renaming and removing of names, and for other programs that do so."""


@contextmanager
def kept() -> Iterator[None]:
    """Let ``once`` give its answers again within the body; within another body it is that one."""
    if _KEPT.get() is not None:
        yield
        return
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def once(directory: Path, what: Hashable, read: Callable[[], T]) -> T:
    """Return the result of *read*, which is *what* of *directory*; see the module.

    Errors are not kept.  Several callers get the result, so none may change it.
    """
    kept = _KEPT.get()
    if kept is None:
        return read()
    state, key = _state_of(directory), (os.fspath(directory), what)
    if key in kept and kept[key][0] == state is not None:
        found: T = kept[key][1]
        return found
    found = read()
    if state is not None:
        kept[key] = (state, found)
    return found


def entries(directory: Path) -> tuple[os.DirEntry[str], ...]:
    """Return the entries of *directory*, in no order.  Raises OSError."""
    return once(directory, entries, lambda: _entries(directory))


def _entries(directory: Path) -> tuple[os.DirEntry[str], ...]:
    with os.scandir(directory) as found:
        return tuple(found)


def _state_of(directory: Path) -> _State | None:
    """Return what an answer about *directory* is good for, None if it is not there."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (changing.count, status.st_dev, status.st_ino, *times)

"""What directories hold, read once by a run for as long as nothing changes there.

A verb asks again and again what there is: whether the disk of the backups is there, what a run
that died has left, which restore points there are.  Within ``kept`` the first answer is given
again, until one of these has changed:

* the number of changes to names that this process has made, wherever that was (``changing``);
* the status of the directory, whose times tell of a name that another process has made or removed.

So an answer is never older than what this run has done itself.  What another process writes into
a file that stays there, under its name, is seen by the next run, as if it had come a moment later.
Only the thread that has entered ``kept`` gets answers again: others look for themselves.
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
"""What an answer was given for: changes of this process, and the directory as it was."""

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
        # after it: what another thread has read meanwhile may be from before
        if kind is None or not issubclass(kind, FileExistsError):
            # one of two threads that add at the same time would count for nothing
            self.count = next(self._counter)


changing = _Changing()
"""Whatever makes, renames or removes names does so in its body, and so do other programs."""


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
    """Return what *read* returns, which is *what* of *directory*; see the module.

    Errors are not kept.  What is returned is given to several callers, so none may change it.
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
    """Return what lies in *directory*, in no order.  Raises OSError."""
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

"""Which processes this one has started, and not waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def child_processes() -> set[int]:
    """Return the ids of the child processes of this one, also of those that have ended."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it is gone
            # the name stands in parentheses, and may have some itself
            _state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                found.add(int(stat.parent.name))
    return found


@contextmanager
def none_left() -> Iterator[None]:
    """Fail if the body leaves a child process; servers of other tests may be there."""
    before = child_processes()
    yield
    left = child_processes() - before
    assert not left, f"left running, or not waited for: {left}"

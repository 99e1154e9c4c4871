"""What something costs, in calls and in looks at a disk: the same on any machine, however busy."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


def increments(work: Callable[[], object], grow: Callable[[], object]) -> tuple[int, int]:
    """Return how many calls *work* makes more after *grow*, and how many more after the next.

    What costs as much for each of what there is has two that are alike.
    """
    before = calls(work)
    grow()
    between = calls(work)
    grow()
    return between - before, calls(work) - between


def calls(work: Callable[[], object]) -> int:
    """Return how many functions *work* calls in this thread, ours and built-in."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


class Looks:
    """How often each directory was listed, and each file opened, by *work* in this process."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.listed: Counter[Path] = Counter()
        self.opened: Counter[Path] = Counter()
        _listen()
        _LOOKING.append(self)
        try:
            work()
        finally:
            _LOOKING.remove(self)

    def take(self, event: str, path: str | bytes | os.PathLike[str] | int) -> None:
        """Count one look at *path*, which may be the number of an open file."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        counted = self.opened if event == "open" else self.listed
        counted[Path(os.fsdecode(path))] += 1


_LOOKING: list[Looks] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if _LOOKING and event in ("os.listdir", "os.scandir", "open"):
        # what Python opens by a descriptor that it got from an opener is told twice
        if event == "open" and arguments[1] is not None:
            return
        for looks in _LOOKING:
            looks.take(event, arguments[0])


@cache
def _listen() -> None:
    """Hear of each look from now on; the interpreter keeps the hook to its end."""
    sys.addaudithook(_heard)

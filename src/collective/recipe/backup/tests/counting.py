"""What something costs, in calls of functions: the same on any machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable


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

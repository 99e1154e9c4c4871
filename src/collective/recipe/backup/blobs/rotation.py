"""Numbers in the names of backups, in place of stamps: 0 is the newest.

With each new backup the others get the next number.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, takewhile


def moving(numbers: Iterable[int]) -> list[int]:
    """Return those of *numbers* that have to change before 0 is free, the largest first.

    They are all up to the first gap.  A run that dies while the numbers change leaves a gap, so
    the next run changes only those below it.
    """
    used = set(numbers)
    return list(takewhile(used.__contains__, count()))[::-1]

"""What older releases left beside their filestorage backups, and which belongs to which.

With time stamps a blob backup has the stamp of the filestorage backup that it was made
for.  A number says nothing: it was made after that filestorage backup and before the next,
and the modification time says when.  Where the times of numbered backups do not fall from
number to number, somebody has copied them without their times: then nothing is said of
them, and nothing is done to them.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from collective.recipe.backup.blobs.holdings import Holding, Holdings


class Belongings:
    """Which of some *holdings* was made for which filestorage backup."""

    def __init__(self, holdings: Holdings) -> None:
        untold = {each.name for each in disordered(holdings)}
        found = list(holdings.values())
        self._of = {each.stamp: each for each in reversed(found) if each.certain}
        guessed = (each for each in found if not each.certain and each.name not in untold)
        self._guessed = sorted(guessed, key=lambda each: each.stamp)

    def of(self, stamp: str, before: str | None) -> Holding | None:
        """Return what was made for the filestorage backup *stamp*, None if nothing was.

        *before* is the stamp of the next filestorage backup, None if there is none yet.
        """
        if stamp in self._of:
            return self._of[stamp]
        later = self._guessed[bisect_left(self._guessed, stamp, key=lambda each: each.stamp) :]
        if not later or (before is not None and later[0].stamp >= before):
            return None
        return later[0]


def disordered(holdings: Holdings) -> list[Holding]:
    """Return the numbered holdings of older releases whose times say nothing."""
    untold: list[Holding] = []
    for kind in (holdings.archives, holdings.trees):
        guessed = (each for each in kind.values() if not each.certain)
        numbered = sorted(guessed, key=lambda each: each.number or 0)
        if any(newer.stamp <= older.stamp for newer, older in pairwise(numbered)):
            untold += numbered
    return untold

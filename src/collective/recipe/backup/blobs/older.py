"""Blobs that older releases left, and the filestorage backups to which they belong.

With time stamps a blob backup has the stamp of its filestorage backup.  A number says nothing: the
blobs were copied after that filestorage backup and before the next, at their modification time.  If
the times of numbered backups are not in order, they were copied without their times: then they
belong to no filestorage backup, and stay untouched.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from collective.recipe.backup.blobs.holdings import Holding, Holdings


class Belongings:
    """The filestorage backup to which each of some *holdings* belongs."""

    def __init__(self, holdings: Holdings) -> None:
        untold = {each.name for each in disordered(holdings)}
        found = list(holdings.values())
        self._of = {each.stamp: each for each in reversed(found) if each.certain}
        guessed = (each for each in found if not each.certain and each.name not in untold)
        self._guessed = sorted(guessed, key=lambda each: each.stamp)

    def of(self, stamp: str, before: str | None) -> Holding | None:
        """Return the holding of the filestorage backup *stamp*, None if it has none.

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

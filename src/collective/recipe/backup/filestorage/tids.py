"""The order of transaction ids in a log, and the moments that are unknown if it is broken.

A transaction id is a time, and ZODB makes each later than the one before.  Some files have
one that is not: the clock was set back by a release that believed it, or a tool copied
transactions.  ZODB opens, serves and packs such a file, and warns of a *time-stamp reduction*;
so here it is no damage either.

    begin of the log                        end
    10   12   20   15   18   30

The order of the log is the order in which it was written.  "All up to 12" and "all up to 20" are
begins of this log; "all up to 16" is none, because 20 stands before 15. So the state of the site at
the moments from 15 until 20 is unknown: they are a *hole*.
"""

from __future__ import annotations

from collections.abc import Iterable

from collective.recipe.backup.model import Hole
from collective.recipe.backup.times import ZERO_TID, Tid

MOST = 1000
"""Holes that are kept apart; further ones are joined, because memory must not grow with the log."""


class Tids:
    """The ids of transactions, taken in the order of the log.

    *greatest* is the greatest of all, ZERO_TID before the first; *holes* what they cannot tell.
    *reductions* counts the ids that are not later than all before.
    """

    def __init__(self, greatest: Tid | None = None) -> None:
        """Go on after transactions of which *greatest* is the greatest id (None: there is none)."""
        self.greatest = greatest or ZERO_TID
        self.reductions = 0
        self._holes: list[Hole] = []

    def add(self, tid: Tid) -> None:
        """Take the next one."""
        if tid > self.greatest:
            self.greatest = tid
            return
        self.reductions += 1
        if tid < self.greatest:
            self._holes = joined([*self._holes, Hole(tid, self.greatest)])

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The spans of moments at which the state of the site is unknown, oldest first."""
        return tuple(self._holes)


def joined(holes: Iterable[Hole]) -> list[Hole]:
    """Return *holes* in order, those that overlap or meet as one, and not more than MOST."""
    found: list[Hole] = []
    for hole in sorted(holes):
        if found and hole.first <= found[-1].end:
            found[-1] = Hole(found[-1].first, max(found[-1].end, hole.end))
        else:
            found.append(hole)
    if len(found) > MOST:
        return [Hole(found[0].first, found[-1].end)]
    return found

"""The restore points to read for a span of transactions.  Pure.

The newest restore point of a chain has all that the earlier ones have, so one of each chain is
read.  The log of a newer chain has everything from its *since* on, but for its holes.  The rest are
*gaps*, and an older chain is read for those alone::

    older chain   |====================|           read up to the since of the newer one
    newer chain   |- - - - - - - -|===========|    packed up to its since
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Hole, RestorePoint
from collective.recipe.backup.times import (
    LAST_TID,
    ZERO_TID,
    Tid,
    When,
    tid_after,
    tid_at,
    tid_before,
)


class Stretch(NamedTuple):
    """Transaction ids from *first* to *last*, both included."""

    first: Tid  # included
    last: Tid  # included


EVERYTHING = Stretch(ZERO_TID, LAST_TID)


def stretch_of(since: When | None, until: When | None) -> Stretch:
    """Return the transactions between two moments (None: no limit); of these, whole seconds."""
    if isinstance(since, datetime):
        since = tid_after(tid_at(since - timedelta(microseconds=1)))
    if isinstance(until, datetime):
        until = tid_at(until + timedelta(seconds=1, microseconds=-1))
    return Stretch(since or ZERO_TID, until or LAST_TID)


@dataclass(frozen=True, kw_only=True)
class Share:
    """The spans for which one restore point is read."""

    point: RestorePoint  # the restore point
    gaps: tuple[Stretch, ...]  # in order, none within another
    lost: tuple[Hole, ...] = ()  # spans of these that only it has, since a restore has cut them off


def shares(points: Iterable[RestorePoint], wanted: Stretch) -> list[Share]:
    """Return the restore points to read for the transactions *wanted*, the newest chain first.

    Damaged restore points are read only if their chain has no sound one.
    """
    gaps, lost = [wanted], list[Hole]()
    found: list[Share] = []
    for point in _newest_of_each(points):
        known = _known(point)
        here = [gap for gap in gaps if gap.first <= _end(point)]
        is_needed = not found or known is None or _cut_out(here, known) != here
        if not here or not is_needed:
            continue
        found.append(Share(point=point, gaps=tuple(here), lost=tuple(lost)))
        gaps = _cut_out(gaps, known or ())
        lost.extend(point.holes)
    return found


def _newest_of_each(points: Iterable[RestorePoint]) -> list[RestorePoint]:
    """Return one restore point of each chain, the newest chain first."""
    usable = sorted(
        (point for point in points if point.restorable),
        key=lambda point: (point.history, point.sound, point.age),
    )
    newest = [list(chain)[-1] for _history, chain in groupby(usable, lambda it: it.history)]
    return newest[::-1]


def _end(point: RestorePoint) -> Tid:
    return tid_at(point.moment) if point.tid is None else point.tid


def _known(point: RestorePoint) -> list[Stretch] | None:
    """Return the spans that its log has completely; None: unknown, an older tool made it.

    The transaction *since* itself may be one that a pack rewrote.
    """
    if point.since is None:
        return None
    known = [Stretch(tid_after(point.since), _end(point))]
    return _cut_out(known, [Stretch(hole.first, tid_before(hole.end)) for hole in point.holes])


def _cut_out(stretches: Sequence[Stretch], known: Iterable[Stretch]) -> list[Stretch]:
    """Return *stretches* without the *known* ones."""
    left = list(stretches)
    for span in known:
        left = [rest for each in left for rest in _without(each, span)]
    return left


def _without(stretch: Stretch, known: Stretch) -> Iterator[Stretch]:
    """Yield the parts of *stretch* before and after *known*."""
    if stretch.first < known.first:
        yield Stretch(stretch.first, min(stretch.last, tid_before(known.first)))
    if known.last < stretch.last:
        yield Stretch(max(stretch.first, tid_after(known.last)), stretch.last)

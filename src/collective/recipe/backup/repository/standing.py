"""Which restore points there are: those that count, those that do not, and what can be doubted.

A restore point that came to be when its ticket was over counts only if all that it needs is
there (it is *void* otherwise).  That is so for all of them in a copy of the store whose times
are those of the copying; each is looked at once.

A client that has the keys may write what it wants, with whatever claims.  It cannot choose when
the store got it.  So the restore points of a site are taken in the order in which the store got
them, and one is *doubtful* that does not go on where the site was: whose claims go back in
time, whose last transaction does, that has lost most of its records, or that names another
predecessor than the one before it although that is there.  A doubtful one is kept and can be
restored; it is up to retention that it never displaces another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.controls import Control
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reaching import is_whole
from collective.recipe.backup.stores import NoSuchObject, StoredObject

FUTURE = timedelta(days=1)
"""The clock of a client may be ahead of that of the store by so much."""

MOST_LOST = 0.5
"""A restore point with fewer than this share of its predecessor's records is doubtful."""


@dataclass(frozen=True)
class Standing:
    """The restore points of one listing."""

    points: tuple[Point, ...]  # that count, in the order in which the store got them
    void: tuple[Point, ...]  # that came to be too late, and lack something
    damaged: tuple[StoredObject, ...]  # that cannot be read


def standing(repository: Repository, control: Control) -> Standing:
    """Return the restore points in a listing."""
    points: list[Point] = []
    void: list[Point] = []
    damaged: list[StoredObject] = []
    for entry in sorted(control.points, key=lambda entry: (entry.stored, entry.name)):
        try:
            point = repository.points.point(entry)
        except NoSuchObject:  # removed since
            continue
        except IntegrityError:
            damaged.append(entry)
            continue
        counts = not point.is_late or is_whole(repository, point)
        (points if counts else void).append(point)
    return Standing(tuple(points), tuple(void), tuple(damaged))


def doubts(points: Iterable[Point]) -> dict[str, str]:
    """Return why restore points, by name, are doubtful; all others are not.

    *points* may be of several sites, in any order.
    """
    found: dict[str, str] = {}
    heads: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: (point.stored, point.counter, point.name)):
        chain = heads.setdefault(point.site, [])
        why = _doubt(chain, point)
        if why:
            found[point.name] = why
        else:
            chain.append(point)
    return found


def _doubt(chain: Sequence[Point], point: Point) -> str:
    """Return why *point* does not follow the last of *chain*, "" if it does."""
    if point.claimed > point.stored + FUTURE:
        return "it says that it is from the future"
    if not chain:
        return ""
    head = chain[-1]
    if point.claimed < head.claimed:
        return "it says that it is older than one that was there before it"
    if point.counter <= head.counter:
        return "its number was taken before"
    if point.predecessor != head.id and any(each.id == point.predecessor for each in chain):
        return "it does not follow the one before it"
    if point.tid < head.tid:
        return "its last transaction is older than that of the one before it"
    if head.records and point.records is not None and point.records < head.records * MOST_LOST:
        return "most records of the one before it are not in it"
    return ""

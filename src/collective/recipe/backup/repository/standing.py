"""Restore points that count, those that do not, and those that are in doubt.

A restore point that was put after its ticket was over counts only if all its chunks are there;
otherwise it is *void*.  In a copy of the store, whose times are those of the copying, all restore
points are late; each is checked once.  Nothing tells whether a run took too long there or whether
the store has lost something.  So what a void one still has stays, as long as nobody removes it: it
may be healed, or what was lost may come back.

A client that has the keys may write what it wants, with whatever claims.  It cannot choose when
the store got it.  So the restore points of a site are taken in the order in which the store got
them, and one begins a *line* of its own that does not go on where the one before it was: whose
claims go back in time, whose last transaction does, that has lost most of its records, or whose
predecessor has another successor.  Restore points of different lines never take each other's
place, whoever wrote them; a large pack or a restore begins another line as well.  A line that
has ended for longer than LINE_LIFE counts to the newest one, so that what was packed away goes
in the end; by then somebody has noticed what a hostile client did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.controls import Control
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.stores import NoSuchObject, StoredObject

FUTURE = timedelta(days=1)
"""The clock of a client may be ahead of that of the store by so much."""

MOST_LOST = 0.5
"""One with fewer than this share of its predecessor's records begins another line."""


LINE_LIFE = timedelta(days=400)
"""A line stays one of its own for so long after its last restore point, in store time."""


@dataclass(frozen=True)
class Standing:
    """The restore points of one listing."""

    points: tuple[Point, ...]  # that count, in the order in which the store got them
    void: tuple[Point, ...]  # that came to be too late, and lack something
    damaged: tuple[StoredObject, ...]  # that cannot be read

    @property
    def readable(self) -> tuple[Point, ...]:
        """All but those that cannot be read: what these need is needed."""
        return self.points + self.void


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
        counts = not point.is_late or _has_all(repository, point)
        (points if counts else void).append(point)
    return Standing(tuple(points), tuple(void), tuple(damaged))


def _has_all(repository: Repository, point: Point) -> bool:
    # few are late: the rooms that read chunks are not imported for the others
    from collective.recipe.backup.repository.reaching import is_whole

    return is_whole(repository, point)


def lines(points: Iterable[Point]) -> dict[str, str]:
    """Return the line of each restore point, by name: the name of the first one in it.

    *points* may be of several sites, in any order.
    """
    found: dict[str, str] = {}
    last: dict[str, Point] = {}  # of each line
    heads: dict[str, list[Point]] = {}  # the same that have no successor yet, by site
    for point in sorted(points, key=lambda point: (point.stored, point.counter, point.name)):
        ends = heads.setdefault(point.site, [])
        before = _before(ends, point)
        if before is None:
            found[point.name] = point.name
        else:
            found[point.name] = found[before.name]
            ends.remove(before)
        ends.append(point)
        last[found[point.name]] = point
    merged = _ended_long_ago(last)
    return {name: merged.get(line, line) for name, line in found.items()}


def _ended_long_ago(last: Mapping[str, Point]) -> dict[str, str]:
    """Return the lines that are none of their own any more, each with the newest of its site.

    *last* has the last restore point of each line.
    """
    newest: dict[str, Point] = {}
    for point in last.values():
        if point.site not in newest or point.stored > newest[point.site].stored:
            newest[point.site] = point
    lines = {point.name: line for line, point in last.items()}
    return {
        line: lines[newest[point.site].name]
        for line, point in last.items()
        if point.stored < newest[point.site].stored - LINE_LIFE
    }


def _before(ends: Sequence[Point], point: Point) -> Point | None:
    """Return the restore point that *point* follows, of those that have no successor yet.

    Its predecessor may be gone: then the last one that it can follow.
    """
    fitting = [each for each in ends if _follows(each, point)]
    named = [each for each in fitting if each.id == point.predecessor]
    return next(reversed(named or fitting), None)


def _follows(before: Point, point: Point) -> bool:
    """Tell whether *point* may go on where *before* was."""
    if point.claimed > point.stored + FUTURE:
        return False
    if point.claimed < before.claimed or point.counter <= before.counter:
        return False
    if point.tid < before.tid:
        return False
    if not before.records or point.records is None:
        return True
    return point.records >= before.records * MOST_LOST

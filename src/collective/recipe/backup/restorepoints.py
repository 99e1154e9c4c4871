"""The choice of the restore point that gives the state at a moment.  Pure.

A filestorage is append-only and its transaction ids are times.  So the state at a moment
is the next restore point of a chain, cut after the last transaction at or before the
moment.  A pack ends a chain and rewrites what lies before it: a chain serves no moment
earlier than the last transaction that a pack rewrote in its full backup.

A restore cuts history off.  The log afterwards tells of the time before, and of the time
since, but for a hole in between (see lineage).  Tids that are not in order leave holes as well
(see filestorage.tids).

Transaction ids decide, as long as there are any: they increase even if a clock does not.  After the
last one of a chain, nothing was committed until the time of the clock in the backup.  The stamp may
be later than that, so it proves nothing.

Several chains may serve a moment.  The oldest one does: it was made nearest to the moment,
and what happened to the site later, a restore for one, cannot be in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.times import Tid, When, moment_of, show_tid, stamp, tid_at, tid_before

NEAR = 3
"""Spans of time on each side of the moment that a refusal names."""

_SECOND = timedelta(seconds=1)
_NOTHING = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A restore point, and where to cut it."""

    point: RestorePoint  # the restore point
    until: Tid | None = None  # last transaction to take; None: all are taken


@dataclass(frozen=True, kw_only=True)
class Range:
    """Moments that one chain can restore: whole seconds, first and last included.

    A chain with a hole has several ranges.
    """

    chain: str  # stamp of its full backup
    first: datetime  # included
    last: datetime  # included


def newest(points: Iterable[RestorePoint]) -> RestorePoint:
    """Return the newest restore point that is sound.  Raises NoRestorePoint."""
    points = sorted(points, key=lambda point: point.age)
    for point in reversed(points):
        if point.sound:
            return point
    if points:
        raise NoRestorePoint(
            f"none of {number_of(len(points), 'restore point')} can be restored",
            hint=f"the newest, {points[-1].stamp}: {_why(points[-1])}",
        )
    raise NoRestorePoint(
        "there is no restore point yet",
        hint="is this the place that the backups are in?  If there are none, run the backup",
    )


def choose(points: Sequence[RestorePoint], when: When | None) -> Choice:
    """Return the restore point for the state at *when*; None is the newest state there is.

    The exact moment of a stamp means that restore point, whole.  A moment later than the newest
    restore point means that one; a tid later than all is refused.  Between two chains that only
    older tools made, a moment means the restore point before it, as it did with them.  A damaged
    restore point is chosen if it is named, or if no other has *when*.  Raises NoRestorePoint, which
    names the moments that can be had, if no chain has *when*.
    """
    if when is None or not any(point.restorable for point in points):
        return Choice(point=newest(points))
    named = next((point for point in points if point.moment == when), None)
    if named is not None and named.restorable:
        return Choice(point=named)
    sound = [point for point in points if point.sound]
    found = _from_chains(sound, when) or _from_chains(points, when)
    if found is None and named is not None:
        # an earlier one in the place of the one that was named would be a surprise
        raise NoRestorePoint(
            f"the restore point {named.stamp} cannot be restored: {_why(named)}",
            hint=_offer(points, when),
        )
    if found is None and isinstance(when, datetime):
        found = _before(points, when)
    if found is None:
        raise NoRestorePoint(
            f"no restore point has the state at {_shown(when)}", hint=_offer(points, when)
        )
    return found


def newest_before(points: Sequence[RestorePoint], when: When | None) -> Choice:
    """Return the newest restore point at or before *when*, whole: the rule of repozo.

    One that is damaged must be named.  Raises NoRestorePoint if all are later, or *when* is
    a tid.
    """
    if when is None:
        return Choice(point=newest(points))
    if isinstance(when, datetime):
        earlier = [point for point in points if point.restorable and point.moment <= when]
        named = [point for point in earlier if point.moment == when]
        if earlier:
            return Choice(point=named[0] if named else newest(earlier))
    raise NoRestorePoint(
        f"no restore point was made at {_shown(when)} or before",
        hint=f"name the stamp of one: {_offer(points, when)}",
    )


def passed_over(
    points: Iterable[RestorePoint], when: When | None, choice: Choice
) -> list[RestorePoint]:
    """Return the damaged restore points, oldest first, in whose place *choice* is.

    Where a chain serves *when*, or a restore point is named, there are none.
    """
    chosen = choice.point
    # a part that has lost its ledger may be of a later chain, and yet be older
    newer = [
        point
        for point in points
        if point.damaged and point.age > chosen.age and point.stamp > chosen.stamp
    ]
    if isinstance(when, datetime):
        if choice.until is not None or choice.point.moment == when:
            return []
        return [point for point in newer if point.moment <= when]
    return newer if when is None else []


def ranges(points: Iterable[RestorePoint]) -> list[Range]:
    """Return the moments that can be had exactly, oldest chain first, oldest moment first.

    Other stamps can be had as well, each as the restore point that it names.
    """
    chains = _chains(point for point in points if point.sound)
    return [found for chain in chains for found in _ranges(chain)]


def outermost(found: Iterable[Range]) -> list[Range]:
    """Return those of some ranges that lie in no other one, the earliest first.

    In a repository each restore point is a chain, and tells what all before it tell.
    """
    outer: list[Range] = []
    for each in sorted(found, key=lambda it: (it.first, -it.last.timestamp())):
        if not outer or each.last > outer[-1].last:
            outer.append(each)
    return outer


def spans(points: Iterable[RestorePoint]) -> list[tuple[datetime, datetime]]:
    """Return the moments that can be restored, without their chains: overlapping ranges are one."""
    found: list[tuple[datetime, datetime]] = []
    for first, last in sorted((each.first, each.last) for each in ranges(points)):
        if found and first <= found[-1][1] + _SECOND:
            begin, end = found.pop()
            found.append((begin, max(end, last)))
        else:
            found.append((first, last))
    return found


def _chains(points: Iterable[RestorePoint]) -> list[list[RestorePoint]]:
    """Return the restorable points of each chain, in order of time, oldest chain first."""
    usable = (point for point in points if point.restorable)
    ordered = sorted(usable, key=lambda point: (point.history, point.age))
    return [list(chain) for _stamp, chain in groupby(ordered, lambda point: point.history)]


def _begin(chain: Sequence[RestorePoint]) -> Tid:
    """Return the first tid that *chain* can be cut after.

    A pack of a chain of an older tool shows only when the chain is read, but it was before the
    chain began.
    """
    known = (point.since for point in chain if point.since is not None)
    return next(known, tid_at(chain[0].moment))


def _end(point: RestorePoint) -> Tid:
    """Return the last tid that *point* can be cut after."""
    return tid_at(point.moment) if point.tid is None else point.tid


def _seen(point: RestorePoint) -> datetime:
    """Return the moment at which nothing had been committed after the end of *point*."""
    return point.moment if point.taken is None else min(point.taken, point.moment)


def known_until(choice: Choice) -> Tid:
    """Return the last tid up to which *choice* is known to be what the site was."""
    if choice.until is not None:
        return choice.until
    return max(_end(choice.point), tid_at(_seen(choice.point)))


def _served(point: RestorePoint) -> datetime:
    """Return up to when *point* serves every whole second.

    Its stamp means it in any case.  So the stamp is the end as long as no second lies in
    between: the second of two backups within one second has that of the next.
    """
    seen = _seen(point).replace(microsecond=0)
    return max(_seen(point), point.moment) if point.moment - seen <= _SECOND else seen


def _from_chains(points: Iterable[RestorePoint], when: When) -> Choice | None:
    """Return what the oldest chain has that serves *when*, None if none does."""
    chains = _chains(points)
    if isinstance(when, datetime):
        tries = [way(chain, tid_at(when)) for chain in chains for way in (_cut, _quiet)]
    else:
        # if a log has that tid, no clock can prove that nothing was committed then
        tries = [way(chain, when) for way in (_cut, _quiet) for chain in chains]
    return next(filter(None, tries), None)


def _cut(chain: Sequence[RestorePoint], tid: Tid) -> Choice | None:
    """Return the next restore point of *chain*, cut at *tid*."""
    if tid < _begin(chain):
        return None
    point = next((point for point in chain if tid <= _end(point)), None)
    # later transactions may have smaller tids
    if point is None or _is_unknown(chain[-1], tid):
        return None
    return Choice(point=point, until=tid)


def _is_unknown(point: RestorePoint, tid: Tid) -> bool:
    """Tell whether *point* cannot tell of *tid*."""
    return any(hole.first <= tid < hole.end for hole in point.holes)


def _quiet(chain: Sequence[RestorePoint], tid: Tid) -> Choice | None:
    """Return the newest of *chain* if nothing was committed from its end up to *tid*."""
    last = chain[-1]
    served = max(_begin(chain), _end(last)) <= tid <= tid_at(_seen(last))
    return Choice(point=last) if served and not _is_unknown(last, tid) else None


def _before(points: Sequence[RestorePoint], when: datetime) -> Choice | None:
    """Return the newest for a moment after all, the one before it if an older tool's."""
    points = [point for point in points if point.sound] or points
    last = max((point for point in points if point.restorable), key=lambda point: point.age)
    if when > _seen(last) and tid_at(when) >= _end(last):
        return Choice(point=last)
    earlier = [point for point in points if point.restorable and point.moment <= when]
    nearest = max(earlier, key=lambda point: point.age, default=None)
    return Choice(point=nearest) if nearest and nearest.tid is None else None


def _ranges(chain: Sequence[RestorePoint]) -> list[Range]:
    """Return what *chain* serves."""
    begin, found = _begin(chain), []
    end = max(tid_at(_served(chain[-1])), *map(_end, chain))
    for hole in chain[-1].holes:
        found.append(_range(chain[0].chain, begin, min(end, tid_before(hole.first))))
        begin = max(begin, hole.end)
    found.append(_range(chain[0].chain, begin, end))
    newest = chain[-1].moment
    # the range may have no whole second; its stamp still names the newest
    return [*filter(None, found)] or [Range(chain=chain[0].chain, first=newest, last=newest)]


def _range(chain: str, begin: Tid, end: Tid) -> Range | None:
    """Return the whole seconds from *begin* to *end*, None if there are none."""
    with suppress(ValueError):  # a tid that is no time
        first, last = moment_of(begin).replace(microsecond=0), moment_of(end).replace(microsecond=0)
        first += _SECOND if tid_at(first) < begin else _NOTHING
        last -= _SECOND if tid_at(last) > end else _NOTHING
        if first <= last:
            return Range(chain=chain, first=first, last=last)
    return None


def _offer(points: Iterable[RestorePoint], when: When) -> str:
    """Return in words which moments near *when* can be had."""
    tid = tid_at(when) if isinstance(when, datetime) else when
    found = spans(points)
    earlier = sum(tid_at(first) <= tid for first, _last in found)
    near = found[max(0, earlier - NEAR) : earlier + NEAR]
    words = [
        stamp(first) if first == last else f"{stamp(first)} to {stamp(last)}"
        for first, last in near
    ]
    if len(near) < len(found):
        words.append(f"and {len(found) - len(near)} more, see the list of restore points")
    offer = f"these can be restored: {'; '.join(words)}"
    if found and tid_at(found[-1][1]) < tid:
        offer += "; without a moment it is the newest of them"
    return offer


def _shown(when: When) -> str:
    if not isinstance(when, datetime):
        return f"tid {show_tid(when)}"
    return when.isoformat() if when.microsecond else stamp(when)


def _why(point: RestorePoint) -> str:
    return "; ".join(point.problems) or "it is not whole"

"""The past in a log: from which moment on it knows it, and where history was cut off.  Pure.

A restore takes the site back, and its log with it::

    the log that was lived     a b c d e f
    restored to a moment in    a b c              (d e f are cut off)
    the log afterwards         a b c         x y

The new log tells exactly what the site was up to the moment that was asked for, and again from
the restore on.  In between the site was what had been cut off.  So a chain that begins with the
new log serves the old moments as well, but for a *hole* there.

Whether history was cut off is seen from the log alone: it lacks the last transaction of the newest
restore point.  The note that a restore leaves beside the filestorage says exactly what was
restored, and when.  Without that note (``cp`` or an older release restored) the log serves the past
as far as a restore point proves it, or else not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Hole, RestorePoint
from collective.recipe.backup.times import ZERO_TID, Tid, tid_after, tid_at


class KnownTransactions(Protocol):
    """The transactions of a filestorage, as far as lineage asks for them."""

    packed: Tid | None
    """The last transaction that a pack rewrote: ZERO_TID for none, None for unknown."""

    def last_at(self, tid: Tid) -> Tid | None:
        """Return the last transaction at or before *tid*, None if there is none."""

    def first_after(self, tid: Tid | None) -> Tid | None:
        """Return the first transaction after *tid* (None: of all), None if there is none."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The restore that replaced a filestorage."""

    when: datetime  # of the restore, by the clock
    own: bool  # whether it came from backups of this site; False: from those of another one
    directory: str  # where these backups lie
    chain: str  # the stamp of the full backup that it came from
    newest: str  # the stamp of the newest restore point that was there; "": only the clock tells
    tid: Tid | None  # the last transaction of what was restored; None: it has none
    until: Tid  # up to this tid the site was what was restored, as far as the backups know
    since: Tid | None  # the earliest transaction that what was restored can be cut after
    holes: tuple[Hole, ...] = ()  # spans of moments that it does not know


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The past that a chain knows."""

    since: Tid | None  # the earliest transaction that it can be cut after; None: unknown
    holes: tuple[Hole, ...] = ()  # oldest first, none within another
    restored: Restored | None = None  # the restore since the last restore point; None: none


def is_cut_off(log: KnownTransactions, before: RestorePoint | None) -> bool:
    """Tell whether *log* lacks history that *before*, the newest restore point, still has."""
    since = _since(log)
    if before is None or before.tid is None or since is None or before.tid <= since:
        return False
    return log.last_at(before.tid) != before.tid


def of_restore(
    log: KnownTransactions, before: RestorePoint | None, noted: Restored | None
) -> Restored | None:
    """Return the *noted* restore if *before* does not know of it yet, else None.

    The note stays where it is until the next restore.
    """
    if noted is None or before is None or before.tid is None:
        return noted
    if not _is_later(noted, before):
        return None
    if _begins_after(log, before):
        return noted
    if log.last_at(before.tid) == before.tid:
        return noted if before.tid <= noted.until else None
    # the restored state may end after *before* as well, if that is of another past
    last = log.last_at(max(before.tid, noted.tid or ZERO_TID))
    return noted if last == noted.tid else None


def _begins_after(log: KnownTransactions, before: RestorePoint) -> bool:
    """Tell whether *log* tells nothing of the last transaction of *before*: it begins later.

    The restored log may have been packed, or it has been packed since.
    """
    since = _since(log)
    return since is not None and before.tid is not None and before.tid < since


def _is_later(noted: Restored, before: RestorePoint) -> bool:
    """Tell whether the *noted* restore happened after *before* was made."""
    if noted.newest:
        return noted.newest == before.stamp
    return noted.when >= (before.moment if before.taken is None else before.taken)


def begun(
    log: KnownTransactions,
    before: RestorePoint | None,
    noted: Restored | None,
    now: datetime,
    shared: Callable[[], RestorePoint | None],
) -> Lineage:
    """Return what a chain can tell that begins with *log* at *now*.

    *before* is the last restore point before it, *noted* what the last restore left (None for
    either: there is none).  *shared* returns the newest restore point that *log* agrees with,
    None if there is none.
    """
    since = _since(log)
    if since is None:
        return Lineage(since=None)
    restored = of_restore(log, before, noted)
    if restored is not None and not restored.own:
        # the past of another site is none of this one
        return Lineage(since=max(since, _return(log, restored, now)), restored=restored)
    if restored is not None:
        # the restored log tells its own past, whatever was live before the restore
        return _carried(since, restored.since, restored.holes, _hole(log, restored, now), restored)
    if before is None:
        return Lineage(since=since)
    if is_cut_off(log, before) and before.tid is not None:
        lived = log.first_after(log.last_at(before.tid)) or tid_at(now)
        proof = shared()
        if proof is None or proof.tid is None:
            return Lineage(since=max(since, lived))
        return _carried(since, proof.since, proof.holes, Hole(tid_after(proof.tid), lived))
    return _carried(since, before.since, before.holes)


def continued(
    log: KnownTransactions, before: RestorePoint, noted: Restored | None, now: datetime
) -> tuple[Hole, ...]:
    """Return the holes in the past of a chain whose restore point *before* is followed by *log*.

    Between *before* and a restore to it the site may have had states that no backup has.  A pack
    that kept all of *before* may have removed later transactions.
    """
    holes = [*before.holes]
    last = before.tid or ZERO_TID
    if log.packed is not None and log.packed > last:
        holes.append(Hole(tid_after(last), log.packed))
    if noted is not None and _is_later(noted, before) and last <= noted.until:
        holes.append(_hole(log, noted, now))
    return _joined(holes, before.since or ZERO_TID)


def _since(log: KnownTransactions) -> Tid | None:
    """Return the first transaction that *log* can be cut after by itself, None if unknown."""
    first = log.first_after(None)
    return None if log.packed is None or first is None else max(log.packed, first)


def _carried(
    since: Tid,
    earlier: Tid | None,
    holes: Iterable[Hole],
    hole: Hole | None = None,
    restored: Restored | None = None,
) -> Lineage:
    since = max(since, earlier or since)
    found = [*holes] if hole is None else [*(each for each in holes if each < hole), hole]
    return Lineage(since=since, holes=_joined(found, since), restored=restored)


def _hole(log: KnownTransactions, restored: Restored, now: datetime) -> Hole:
    return Hole(tid_after(restored.until), _return(log, restored, now))


def _return(log: KnownTransactions, restored: Restored, now: datetime) -> Tid:
    """Return the first tid from which on the site had the restored state, or later."""
    lived = log.first_after(restored.until)
    at = tid_at(restored.when)
    if at >= restored.until and (lived is None or at <= lived):
        return at
    # the clock was wrong
    return lived or tid_at(now)


def _joined(holes: Iterable[Hole], since: Tid) -> tuple[Hole, ...]:
    """Return *holes* in order, those that overlap as one, without moments before *since*."""
    joined: list[Hole] = []
    for hole in sorted(holes):
        if hole.end <= max(since, hole.first):
            continue
        if joined and hole.first <= joined[-1].end:
            joined[-1] = Hole(joined[-1].first, max(joined[-1].end, hole.end))
        else:
            joined.append(hole)
    return tuple(joined)

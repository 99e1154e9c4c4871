"""The status: is there a backup to rely on, and does anything keep the next from it?

Made from the restore points, the history, the locks and the disk, in a fraction of a
second and without changing anything, so that a watcher can ask every minute.

The newest restore point may be old although the backups run: if nothing was committed, there is
nothing to add.  So its age counts from the last moment at which it was the state of the site: the
begin of the newest successful backup, if that found it current.

Clocks can be wrong.  So the last event is the last line of the history, and a time that is later
than now makes nothing young.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from collective.recipe.backup import history, locking, retention
from collective.recipe.backup.chronology import committed_of, reading_of
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    Interrupted,
    explained,
    from_os_error,
)
from collective.recipe.backup.history import RunRecord
from collective.recipe.backup.model import RestorePoint, Source
from collective.recipe.backup.operations.made_good import died, goes_on
from collective.recipe.backup.operations.run import Run, history_directory
from collective.recipe.backup.operations.sitestatus import (
    DiskRoom,
    SiteStatus,
    StatusFinding,
    StatusSeverity,
    Storage,
)
from collective.recipe.backup.operations.statusfindings import findings_of
from collective.recipe.backup.restoring import swap, undoing
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.times import stamp


def statuses(run: Run) -> list[SiteStatus]:
    """Return the status of each destination of *run*, of which there is one or several.

    Of several, one that cannot be looked at is critical, and hides no other.
    """
    if not run.places:
        return [status(run)]
    return [_status_or_failure(each) for each in run.beside]


def status(run: Run) -> SiteStatus:
    """Return the status of the destination of *run*."""
    with run.opened() as destinations:
        return status_of(run, destinations)


def _status_or_failure(run: Run) -> SiteStatus:
    try:
        return status(run)
    except Interrupted:
        raise
    except (BackupError, OSError) as error:
        return unseen_status(run, error)


def unseen_status(run: Run, error: BackupError | OSError) -> SiteStatus:
    """Return the status of a destination that cannot be looked at because of *error*."""
    failure = error if isinstance(error, BackupError) else from_os_error(error)
    what = f"{failure} ({failure.hint})" if failure.hint else str(failure)
    return _status(run, (), [StatusFinding(severity=StatusSeverity.CRITICAL, what=what)])


def status_of(run: Run, destinations: Sequence[Destination]) -> SiteStatus:
    """Return the status of *destinations*, which are those of *run*, opened."""
    return _status(run, [(it.source, it.restore_points()) for it in destinations])


def _status(
    run: Run,
    points: Sequence[tuple[Source, Sequence[RestorePoint]]],
    unseen: Iterable[StatusFinding] = (),
) -> SiteStatus:
    seen_here = (it.at(run.label) for it in history.read(history_directory(run)))
    records = [it for it in seen_here if it is not None]
    journal = journal_path(Path(os.path.realpath(run.config.sources[-1].filestorage)))
    replaced, broken = _replaced(journal)
    found = SiteStatus(
        part=run.config.part,
        destination=run.label,
        name=run.name,
        title=run.title,
        now=run.now,
        storages=[_storage(source, each, records, run.now) for source, each in points],
        rooms=list(_rooms(run.homes)),
        records=records,
        under_way=_under_way(run, records),
        died=died(records, run.now),
        replaced=replaced,
        withheld=_withheld(run, [each for _source, each in points], records),
    )
    findings = sorted(
        [*unseen, *broken, *findings_of(run, found)],
        key=lambda finding: finding.severity,
        reverse=True,
    )
    return replace(found, findings=tuple(findings))


def _storage(
    source: Source, points: Sequence[RestorePoint], records: Sequence[RunRecord], now: datetime
) -> Storage:
    whole = [point for point in points if point.whole and point.restorable]
    newest = max(whole, key=lambda point: point.age, default=None)
    return Storage(
        source=source,
        count=len(points),
        whole=len(whole),
        stored=sum(point.stored for point in points),
        newest=newest,
        as_of=_as_of(whole, _found_current(newest, source, records), now) if newest else None,
        stamps={point.stamp for point in points},
        forgotten=sum(point.forgotten for point in points),
    )


def _as_of(
    points: Sequence[RestorePoint], found_current: Iterable[datetime], now: datetime
) -> datetime:
    """Return up to when the newest of *points* is known to be the state of the site.

    *found_current* is when runs found it to be that, the last run first.  No time that is later
    than *now* is believed.  If all are, it is as old as the oldest of them says.
    """
    points = sorted(points, key=lambda point: point.age, reverse=True)
    known = [
        *found_current,
        min(reading_of(points[0]), points[0].moment),
        *filter(None, [committed_of(points[0])]),
        *(min(reading_of(point), point.moment) for point in points[1:]),
    ]
    return next((moment for moment in known if moment <= now), min(known))


def _found_current(
    newest: RestorePoint, source: Source, records: Sequence[RunRecord]
) -> Iterator[datetime]:
    """Yield when runs began that found *newest* to be the state of *source*, the last first."""
    for record in reversed(records):
        good = record.outcome in (history.DONE, history.INCOMPLETE)
        if record.verb == "backup" and good and record.points.get(source.name) == newest.stamp:
            yield record.started


def _withheld(
    run: Run, points: Iterable[Sequence[RestorePoint]], records: Iterable[RunRecord]
) -> str:
    """Return why restore points stay that would go otherwise, "" if none do.

    That the clock says so for the first time just now is no reason yet to complain.
    """
    witnesses = [record.started for record in records if record.started != run.now]
    for each in points:
        planned = retention.plan(each, run.policy, run.now, witnesses=witnesses)
        if planned.withheld and not planned.sudden:
            return planned.doubt
    return ""


def _rooms(homes: Iterable[Home]) -> Iterator[DiskRoom]:
    """Yield the room of each file system that backups lie on, as far as it is there."""
    seen = set()
    for home in homes:
        for path in home.directories:
            if not path.is_dir() or path.stat().st_dev in seen:
                continue
            seen.add(path.stat().st_dev)
            with explained("cannot look at the room left", path):
                found = os.statvfs(path)
            unit = found.f_frsize
            yield DiskRoom(path=path, free=found.f_bavail * unit, size=found.f_blocks * unit)


def _under_way(run: Run, records: Iterable[RunRecord]) -> str:
    """Return what the run that is at work says of itself, "" if there is none."""
    own = locking.holder_of(run.config_path.parent)
    for holder in (own, *(home.holder() for home in run.homes)):
        if holder is not None:
            return holder or "a run that does not say who it is"
    for record in records:
        if record.outcome == history.STARTED and goes_on(record):
            return f"{record.verb}, process {record.process} since {stamp(record.started)}"
    return ""


def _replaced(journal: Path) -> tuple[list[Path], list[StatusFinding]]:
    """Return the paths that a restore replaced, and problems with them."""
    try:
        if not swap.is_pending(journal):
            return undoing.replaced(journal), []
        name = "an undo" if swap.is_undo(journal) else "a restore"
        what = f"{name} was broken off in the middle: run it again, which finishes it"
    except IntegrityError as error:
        what = str(error)
    return [], [StatusFinding(severity=StatusSeverity.CRITICAL, what=what)]

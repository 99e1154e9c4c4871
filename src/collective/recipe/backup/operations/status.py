"""The status: is there a backup to rely on, and does anything keep the next from it?

Made from the restore points, the history, the locks and the disk, in a fraction of a
second and without changing anything, so that a watcher can ask every minute.

The newest restore point may be old although the backups run: if nothing was committed,
there is nothing to add.  So what counts is up to when it is known to be the state of the
site: until the newest backup that went well began, if that found it current.

Clocks lie.  So what happened last is what the history has last, no time that is later than now
makes anything young, and each such time is a warning.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup import history, locking, retention
from collective.recipe.backup.amounts import duration, size
from collective.recipe.backup.chronology import committed_of, reading_of
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.errors import (
    IntegrityError,
    Interrupted,
    InUse,
    explained,
    printable,
)
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.history import FOLLOW, RunRecord
from collective.recipe.backup.model import MAIN, RestorePoint, Source
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.damagememory import FORGOTTEN
from collective.recipe.backup.operations.made_good import died, goes_on, is_made_good, kind_of
from collective.recipe.backup.operations.run import Run, history_directory
from collective.recipe.backup.restoring import swap, undoing
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.times import stamp

DIFFERENT_CLOCKS = timedelta(minutes=5)
"""By how much the clocks of two machines may differ that look at the same backups."""

PROOFS = ("verify", "rehearse")
"""Verbs that look whether restore points are whole."""


class StatusSeverity(enum.IntEnum):
    """How bad a finding is, as Nagios counts."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, kw_only=True)
class StatusFinding:
    """Something to complain of."""

    severity: StatusSeverity
    what: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The restore points of one source, counted.

    One that was found damaged is not *whole* until somebody finds it whole.  *newest* is the
    newest whole one, *as_of* up to when it is known to be the site's state.  *stamps* are
    those of all.  Of *forgotten* ones it is lost whether they were found damaged.
    """

    source: Source
    count: int
    whole: int
    stored: int
    newest: RestorePoint | None
    as_of: datetime | None
    stamps: Collection[str] = ()
    forgotten: int = 0

    def age(self, now: datetime) -> timedelta | None:
        """Return the age of the newest whole restore point, None if there is none."""
        return None if self.as_of is None else max(now - self.as_of, timedelta(0))


@dataclass(frozen=True, kw_only=True)
class DiskRoom:
    """The room of a file system that holds backups, in bytes."""

    path: Path
    free: int
    size: int


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """What is known at *now*.

    *records* are all runs, as the history has them.  *under_way* says which run is at work,
    "" if none is; *died* are runs that began and neither ended nor go on.  *replaced* is what a
    restore replaced and is still there.  *withheld* says why restore points stay that would go
    otherwise, "" if none do.  *findings* come with the worst first.
    """

    part: str
    destination: str
    now: datetime
    storages: Sequence[Storage]
    rooms: Sequence[DiskRoom]
    records: Sequence[RunRecord] = ()
    under_way: str = ""
    died: Sequence[RunRecord] = ()
    replaced: Sequence[Path] = ()
    withheld: str = ""
    findings: Sequence[StatusFinding] = field(default=())

    @property
    def ended(self) -> Sequence[RunRecord]:
        """The runs that have ended, in that order."""
        return [record for record in self.records if record.outcome != history.STARTED]

    @property
    def newest(self) -> Mapping[str, RunRecord]:
        """The run of each verb that ended last."""
        return {record.verb: record for record in self.ended}

    @property
    def newest_good(self) -> Mapping[str, RunRecord]:
        """The run of each verb that ended last of those that went well."""
        return {record.verb: record for record in self.ended if record.outcome == history.DONE}

    @property
    def severity(self) -> StatusSeverity:
        """The worst of the findings."""
        return max((finding.severity for finding in self.findings), default=StatusSeverity.OK)

    def after(self, record: RunRecord) -> SiteStatus:
        """Return the same with one more run, which has ended."""
        others = (other for other in self.records if other.key != record.key)
        return replace(self, records=(*others, record), under_way="")


def status(run: Run) -> SiteStatus:
    """Return the status of the destination of *run*."""
    with run.opened() as destinations:
        return status_of(run, destinations)


def status_of(run: Run, destinations: Sequence[Destination]) -> SiteStatus:
    """Return the status of *destinations*, which are those of *run*, opened."""
    records = [
        record
        for record in history.read(history_directory(run))
        if record.destination == run.destination
    ]
    points = [(it.source, it.restore_points()) for it in destinations]
    journal = journal_path(Path(os.path.realpath(run.config.sources[-1].filestorage)))
    replaced, broken = _replaced(journal)
    found = SiteStatus(
        part=run.config.part,
        destination=run.destination,
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
        [*broken, *_findings(run, found)], key=lambda finding: finding.severity, reverse=True
    )
    return replace(found, findings=tuple(findings))


# what there is


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
    """Return what a restore replaced, and what is wrong about that."""
    try:
        if not swap.is_pending(journal):
            return undoing.replaced(journal), []
        name = "an undo" if swap.is_undo(journal) else "a restore"
        what = f"{name} was broken off in the middle: run it again, which finishes it"
    except IntegrityError as error:
        what = str(error)
    return [], [StatusFinding(severity=StatusSeverity.CRITICAL, what=what)]


# what is wrong about it


def _findings(run: Run, found: SiteStatus) -> Iterator[StatusFinding]:
    yield from _of_clocks(found)
    for lost in missingdisk.gone(run):
        if lost.unmounted:
            yield _critical(f"{lost.what}: {lost.directory}")
    for storage in found.storages:
        yield from _of_storage(run, storage)
    yield from _of_rooms(run, found.rooms)
    yield from _of_history(history_directory(run))
    for record in found.newest.values():
        yield from _of_run(record, found)
    for record in found.died:
        yield StatusFinding(
            severity=_weight(record, exit_code=None),
            what=f"the {record.verb} of {stamp(record.started)} died"
            + (", and none follows since then" if record.verb == FOLLOW else ""),
        )


def _of_history(directory: Path) -> Iterator[StatusFinding]:
    """Complain of a history that may hide how the last run ended."""
    flaw = history.flaw(directory)
    if flaw:
        yield StatusFinding(
            severity=StatusSeverity.WARNING,
            what="the history does not say how the last run ended: "
            f"{printable(str(directory / history.NAME))}: {flaw}",
        )


def _of_clocks(found: SiteStatus) -> Iterator[StatusFinding]:
    """Complain of a time that is later than now, and of what stays because of such a doubt."""
    told = [(record.started, f"the {record.verb}") for record in found.newest.values()]
    told += [
        (reading_of(storage.newest), "the newest restore point")
        for storage in found.storages
        if storage.newest is not None
    ]
    latest, what = max(told, default=(found.now, ""))
    if latest > found.now + DIFFERENT_CLOCKS:
        yield StatusFinding(
            severity=StatusSeverity.WARNING,
            what=f"{what} of {stamp(latest)} is later than now: the clock was ahead then, "
            "or is behind",
        )
    if found.withheld:
        yield StatusFinding(
            severity=StatusSeverity.WARNING,
            what=f"{found.withheld}: restore points stay that would go otherwise",
        )


def _of_storage(run: Run, storage: Storage) -> Iterator[StatusFinding]:
    options = run.config.options
    where = "" if storage.source.name == MAIN else f" of storage {storage.source.name}"
    age = storage.age(run.now)
    if age is None:
        yield _critical(f"there is no whole restore point{where}")
    elif options.max_age and age > options.max_age:
        limit = duration(options.max_age.total_seconds())
        yield _critical(
            f"the newest whole restore point{where} is {duration(age.total_seconds())} old, "
            f"more than {limit}"
        )
    if storage.forgotten:
        yield StatusFinding(
            severity=StatusSeverity.WARNING,
            what=f"{FORGOTTEN}{where}: any of {storage.forgotten} restore points may be damaged, "
            "and none is removed; run verify, which looks again",
        )
    if storage.whole < options.minimum_restore_points:
        yield _critical(
            f"there are {storage.whole} whole restore points{where}, "
            f"fewer than {options.minimum_restore_points}"
        )


def _of_rooms(run: Run, rooms: Iterable[DiskRoom]) -> Iterator[StatusFinding]:
    for room in rooms:
        wanted = run.config.options.minimum_free.of(room.size)
        if room.free < wanted:
            yield _critical(f"{size(room.free)} are free at {room.path}, less than {size(wanted)}")


def _of_run(record: RunRecord, found: SiteStatus) -> Iterator[StatusFinding]:
    """Complain of the newest run of a verb, unless it was made good."""
    if record.outcome == history.DONE:
        return
    later = found.records[found.records.index(record) + 1 :]
    if is_made_good(record, later, found.now) or _is_gone(record, found):
        return
    severity = _weight(record, record.exit_code)
    if record.outcome == history.INCOMPLETE:
        severity = StatusSeverity.WARNING
    yield StatusFinding(
        severity=severity, what=f"the {record.verb} of {stamp(record.started)}: {record.error}"
    )


def _is_gone(record: RunRecord, found: SiteStatus) -> bool:
    """Tell whether nothing is left of what a verify or a rehearsal has found.

    Its record has the newest restore points that are concerned; the older ones went earlier.
    """
    if record.verb not in PROOFS or record.exit_code != IntegrityError.exit_code:
        return False
    stamps = {storage.source.name: storage.stamps for storage in found.storages}
    return bool(record.points) and not any(
        stamp in stamps.get(name, ()) for name, stamp in record.points.items()
    )


def _weight(record: RunRecord, exit_code: int | None) -> StatusSeverity:
    """Return how bad it is that a run failed."""
    if exit_code in (Interrupted.exit_code, InUse.exit_code):
        return StatusSeverity.WARNING
    critical = kind_of(record) == "backup" or exit_code == IntegrityError.exit_code
    return StatusSeverity.CRITICAL if critical else StatusSeverity.WARNING


def _critical(what: str) -> StatusFinding:
    return StatusFinding(severity=StatusSeverity.CRITICAL, what=what)

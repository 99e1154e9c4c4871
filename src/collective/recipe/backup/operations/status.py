"""The status: is there a backup to rely on, and does anything keep the next from it?

Made from the restore points, the history, the locks and the disk, in a fraction of a
second and without changing anything, so that a watcher can ask every minute.

The newest restore point may be old although the backups run: if nothing was committed,
there is nothing to add.  So what counts is up to when it is known to be the state of the
site: until the newest backup that went well began, if that found it current.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup import history, locking, swap
from collective.recipe.backup.amounts import duration, size
from collective.recipe.backup.errors import IntegrityError, Interrupted, InUse, explained
from collective.recipe.backup.history import FOLLOW, Record
from collective.recipe.backup.model import MAIN, Place, RestorePoint, Source
from collective.recipe.backup.operations import whereabouts
from collective.recipe.backup.operations.run import Run, history_directory
from collective.recipe.backup.process import is_running
from collective.recipe.backup.times import stamp

PROOFS = ("verify", "rehearse")
"""Verbs that look whether restore points are whole."""


class Severity(enum.IntEnum):
    """How bad a finding is, as Nagios counts."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to complain of."""

    severity: Severity
    what: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The restore points of one source, counted.

    One that was found damaged is not *whole* until somebody finds it whole.  *newest* is the
    newest whole one, *as_of* up to when it is known to be the site's state.  *stamps* are
    those of all.
    """

    source: Source
    count: int
    whole: int
    stored: int
    newest: RestorePoint | None
    as_of: datetime | None
    stamps: Collection[str] = ()

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
class Status:
    """What is known at *now*.

    *newest* has the newest run of each verb that has ended, *newest_good* the newest that
    went well.  *under_way* says which run is at work, "" if none is; *died* are runs that
    began and neither ended nor go on.  *replaced* is what a restore replaced and is still
    there.  *findings* come with the worst first.
    """

    part: str
    destination: str
    now: datetime
    storages: Sequence[Storage]
    rooms: Sequence[DiskRoom]
    newest: Mapping[str, Record]
    newest_good: Mapping[str, Record]
    under_way: str = ""
    died: Sequence[Record] = ()
    replaced: Sequence[Path] = ()
    findings: Sequence[Finding] = field(default=())

    @property
    def severity(self) -> Severity:
        """The worst of the findings."""
        return max((finding.severity for finding in self.findings), default=Severity.OK)

    def after(self, record: Record) -> Status:
        """Return the same with one more run, which has ended."""
        good = {record.verb: record} if record.outcome == history.DONE else {}
        return replace(
            self,
            newest={**self.newest, record.verb: record},
            newest_good={**self.newest_good, **good},
            under_way="",
        )


def status(run: Run) -> Status:
    """Return the status of the destination of *run*."""
    records = [
        record
        for record in history.read(history_directory(run))
        if record.destination == run.destination
    ]
    # a run that was not let in may have begun later, and is over at once
    ended = sorted((record for record in records if record.outcome != history.STARTED), key=_end_of)
    journal = swap.journal_path(Path(os.path.realpath(run.config.sources[-1].filestorage)))
    replaced, broken = _replaced(journal)
    found = Status(
        part=run.config.part,
        destination=run.destination,
        now=run.now,
        storages=[_storage(it.source, it.restore_points(), ended) for it in run.destinations()],
        rooms=list(_rooms(run.config.destinations[run.destination])),
        newest={record.verb: record for record in ended},
        newest_good={r.verb: r for r in ended if r.outcome == history.DONE},
        under_way=_under_way(run, records),
        died=_died(records),
        replaced=replaced,
    )
    findings = sorted(
        [*broken, *_findings(run, found)], key=lambda finding: finding.severity, reverse=True
    )
    return replace(found, findings=tuple(findings))


# what there is


def _storage(source: Source, points: Sequence[RestorePoint], ended: Sequence[Record]) -> Storage:
    whole = [point for point in points if point.whole and point.restorable]
    newest = max(whole, key=lambda point: point.age, default=None)
    return Storage(
        source=source,
        count=len(points),
        whole=len(whole),
        stored=sum(point.stored for point in points),
        newest=newest,
        as_of=None if newest is None else _as_of(newest, source, ended),
        stamps={point.stamp for point in points},
    )


def _as_of(newest: RestorePoint, source: Source, ended: Iterable[Record]) -> datetime:
    """Return up to when *newest* is known to be the state of the site."""
    taken = newest.moment if newest.taken is None else min(newest.taken, newest.moment)
    found_current = (
        record.started
        for record in ended
        if record.verb == "backup"
        and record.outcome in (history.DONE, history.INCOMPLETE)
        and record.points.get(source.name) == newest.stamp
    )
    return max([taken, *found_current])


def _rooms(places: Iterable[Place]) -> Iterator[DiskRoom]:
    """Yield the room of each file system that backups lie on, as far as it is there."""
    seen = set()
    for place in places:
        for path in (place.filestorage, place.blobstorage):
            if path is None or not path.is_dir() or path.stat().st_dev in seen:
                continue
            seen.add(path.stat().st_dev)
            with explained("cannot look at the room left", path):
                found = os.statvfs(path)
            unit = found.f_frsize
            yield DiskRoom(path=path, free=found.f_bavail * unit, size=found.f_blocks * unit)


def _under_way(run: Run, records: Iterable[Record]) -> str:
    """Return what the run that is at work says of itself, "" if there is none."""
    directories = (each.lock_directory for each in run.destinations())
    for directory in (run.config_path.parent, *directories):
        holder = locking.holder_of(directory)
        if holder is not None:
            return holder or "a run that does not say who it is"
    for record in records:
        if record.outcome == history.STARTED and _goes_on(record):
            return f"{record.verb}, process {record.process} since {stamp(record.started)}"
    return ""


def _died(records: Sequence[Record]) -> list[Record]:
    """Return the runs that began, are gone, and that no later one of their kind made good."""
    died = []
    for number, record in enumerate(records):
        if record.outcome != history.STARTED or _goes_on(record):
            continue
        later = (
            other
            for other in records[number + 1 :]
            if other.outcome in (history.DONE, history.INCOMPLETE)
            and _kind(other) == _kind(record)
            # what a time of following did before it died makes nothing good
            and (other.process, other.host) != (record.process, record.host)
        )
        if next(later, None) is None:
            died.append(record)
    return died


def _goes_on(record: Record) -> bool:
    """Tell whether the process of a run is still there; elsewhere only its lock can tell."""
    return record.host == os.uname().nodename and is_running(record.process)


def _end_of(record: Record) -> datetime:
    return record.started + timedelta(seconds=record.seconds or 0)


def _kind(record: Record) -> str:
    return "backup" if record.verb == FOLLOW else record.verb


def _replaced(journal: Path) -> tuple[list[Path], list[Finding]]:
    """Return what a restore replaced, and what is wrong about that."""
    try:
        if not swap.is_pending(journal):
            return swap.replaced(journal), []
        what = "a restore was broken off in the middle: run it again, which finishes it"
    except IntegrityError as error:
        what = str(error)
    return [], [Finding(severity=Severity.CRITICAL, what=what)]


# what is wrong about it


def _findings(run: Run, found: Status) -> Iterator[Finding]:
    for lost in whereabouts.gone(run):
        if lost.unmounted:
            yield _critical(f"{lost.what}: {lost.directory}")
    for storage in found.storages:
        yield from _of_storage(run, storage)
    yield from _of_rooms(run, found.rooms)
    for record in found.newest.values():
        yield from _of_run(record, found)
    for record in found.died:
        yield Finding(
            severity=_weight(record, exit_code=None),
            what=f"the {record.verb} of {stamp(record.started)} died",
        )


def _of_storage(run: Run, storage: Storage) -> Iterator[Finding]:
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
    if storage.whole < options.minimum_restore_points:
        yield _critical(
            f"there are {storage.whole} whole restore points{where}, "
            f"fewer than {options.minimum_restore_points}"
        )


def _of_rooms(run: Run, rooms: Iterable[DiskRoom]) -> Iterator[Finding]:
    for room in rooms:
        wanted = run.config.options.minimum_free.of(room.size)
        if room.free < wanted:
            yield _critical(f"{size(room.free)} are free at {room.path}, less than {size(wanted)}")


def _of_run(record: Record, found: Status) -> Iterator[Finding]:
    """Complain of the newest run of a verb, unless it was made good."""
    if record.outcome == history.DONE:
        return
    good = (other for other in found.newest_good.values() if _kind(other) == _kind(record))
    if any(other.started > record.started for other in good) or _is_gone(record, found):
        return
    severity = _weight(record, record.exit_code)
    if record.outcome == history.INCOMPLETE:
        severity = Severity.WARNING
    yield Finding(
        severity=severity, what=f"the {record.verb} of {stamp(record.started)}: {record.error}"
    )


def _is_gone(record: Record, found: Status) -> bool:
    """Tell whether nothing is left of what a verify or a rehearsal has found.

    Its record has the newest restore points that are concerned; the older ones went earlier.
    """
    if record.verb not in PROOFS or record.exit_code != IntegrityError.exit_code:
        return False
    stamps = {storage.source.name: storage.stamps for storage in found.storages}
    return bool(record.points) and not any(
        stamp in stamps.get(name, ()) for name, stamp in record.points.items()
    )


def _weight(record: Record, exit_code: int | None) -> Severity:
    """Return how bad it is that a run failed."""
    if exit_code in (Interrupted.exit_code, InUse.exit_code):
        return Severity.WARNING
    critical = _kind(record) == "backup" or exit_code == IntegrityError.exit_code
    return Severity.CRITICAL if critical else Severity.WARNING


def _critical(what: str) -> Finding:
    return Finding(severity=Severity.CRITICAL, what=what)

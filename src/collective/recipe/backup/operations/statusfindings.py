"""The findings of the status: too old, too few, damaged, too full, failed, or of odd clocks.

A time that is later than now makes nothing young, and each such time is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from collective.recipe.backup import history
from collective.recipe.backup.amounts import duration, number_of, size
from collective.recipe.backup.chronology import reading_of
from collective.recipe.backup.config import ALTERNATIVE
from collective.recipe.backup.config.repositories import local_path
from collective.recipe.backup.errors import (
    IntegrityError,
    Interrupted,
    InUse,
    printable,
)
from collective.recipe.backup.history import FOLLOW, RunRecord
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.mounts import is_read_only, mount_of
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.damagememory import FORGOTTEN
from collective.recipe.backup.operations.made_good import is_made_good, kind_of
from collective.recipe.backup.operations.run import Run, history_directory
from collective.recipe.backup.operations.sitestatus import (
    DiskRoom,
    SiteStatus,
    StatusFinding,
    StatusSeverity,
    Storage,
)
from collective.recipe.backup.times import stamp

DIFFERENT_CLOCKS = timedelta(minutes=5)
"""The most by which the clocks of two machines with the same backups may differ."""
PROOFS = ("verify", "rehearse")
"""Verbs that look whether restore points are whole."""


def findings_of(run: Run, found: SiteStatus) -> Iterator[StatusFinding]:
    """Yield problems of the status *found*."""
    yield from _of_clocks(found)
    for lost in missingdisk.gone(run):
        if lost.unmounted:
            yield _critical(f"{lost.what}: {lost.directory}")
    for storage in found.storages:
        yield from _of_storage(run, storage)
    yield from _of_rooms(run, found.rooms)
    yield from _of_read_only_disks(run)
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
    """Yield problems with times later than now, and with restore points that stay due to them."""
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
            what=f"{FORGOTTEN}{where}: any of {number_of(storage.forgotten, 'restore point')} "
            "may be damaged, "
            "and none is removed; run verify, which looks again",
        )
    if storage.whole < options.minimum_restore_points:
        yield _critical(
            f"there {'is' if storage.whole == 1 else 'are'} "
            f"{number_of(storage.whole, 'whole restore point')}{where}, "
            f"fewer than {options.minimum_restore_points}"
        )


def _of_rooms(run: Run, rooms: Iterable[DiskRoom]) -> Iterator[StatusFinding]:
    for room in rooms:
        wanted = run.config.options.minimum_free.of(room.size)
        if room.free < wanted:
            yield _critical(f"{size(room.free)} are free at {room.path}, less than {size(wanted)}")


def _of_read_only_disks(run: Run) -> Iterator[StatusFinding]:
    """Complain of disks that the next backup cannot write to; a failing one may become so."""
    if run.destination == ALTERNATIVE:
        return  # nothing is ever backed up there
    places = [directory for home in run.homes for directory in home.directories]
    places += filter(None, (local_path(each.url) for each in run.configured.repositories))
    read_only = {mount_of(each): each for each in reversed(places) if is_read_only(each)}
    for mount, place in read_only.items():
        yield _critical(
            f"the disk at {mount} is mounted read-only, so nothing can be backed up to {place}: "
            "look into the system log, and mount it writable again"
        )


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
    """Tell whether all restore points with the problem of a verify or rehearsal have gone.

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

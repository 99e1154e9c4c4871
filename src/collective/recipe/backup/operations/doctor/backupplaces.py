"""The places of the backups: findings of each home, its disk, and its room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.room import HINT, Need, rooms
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.run import Run


def homes(run: Run) -> Iterator[DoctorFinding]:
    """Yield the findings of each home of the backups."""
    report = Report("places")
    unmounted = {
        each.directory for each in missingdisk.gone(run) if _is_unmounted(each, run, report)
    }
    yield from report
    for home in run.homes:
        yield from home.examine(run.files, unmounted=unmounted)


def _is_unmounted(lost: missingdisk.Gone, run: Run, report: Report) -> bool:
    """Say that the backups of the last run are gone; tell whether their disk is."""
    if lost.unmounted:
        error = lost.error(missingdisk.note_path(run))
        report.problem(error.what, error.where, error.hint)
    else:
        report.warning(
            "the backups that were here at the last run are gone",
            lost.directory,
            "if they were not removed on purpose, bring them back from a copy before the next "
            "backup begins anew",
        )
    return lost.unmounted


def room(destinations: Iterable[Destination]) -> Iterator[DoctorFinding]:
    """Compare the free room with the size of a full backup."""
    report = Report("room")
    needs: list[Need] = []
    for destination in destinations:
        # another check names files that cannot be looked at
        with suppress(BackupError, OSError):
            needs.extend(destination.room_for_full())
    for there in rooms(needs):
        if there.free < there.least:
            report.problem(str(there), there.directory, HINT)
        elif there.free < there.most:
            report.warning(str(there), there.directory, HINT)
        else:
            report.ok(str(there), there.directory)
    yield from report

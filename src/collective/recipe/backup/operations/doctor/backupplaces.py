"""The directories for the backups: may we write there, can they do what we need, is there room?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.room import HINT, Need, rooms
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.directories import nearest
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.doctor.abilities import lacking
from collective.recipe.backup.operations.doctor.findings import DoctorFinding, Report
from collective.recipe.backup.operations.run import Run

PROBE = ".backup-doctor"
_TRY_BY_HAND = "find out why this user cannot make and rename a file there"


def directories(run: Run) -> Iterator[DoctorFinding]:
    """Try in each directory of backups what a backup does there."""
    report = Report("places")
    lost = {each.directory: each for each in missingdisk.gone(run)}
    for directory in (it for home in run.homes for it in home.directories):
        if directory in lost and _is_unmounted(lost[directory], run, report):
            continue
        there = nearest(directory)
        if not there.is_dir():
            report.problem(
                "something that is not a directory stands in the way", there, "move it away"
            )
            continue
        try:
            _try_out(report, directory, there, run.files)
        except OSError as error:
            # the probe and its name are nobody's concern
            nameless = OSError(error.errno, error.strerror or str(error))
            said = from_os_error(nameless, "a backup cannot write here", there)
            said.hint = said.hint or _TRY_BY_HAND
            said.__cause__ = error
            report.error(said)
    yield from report


def _is_unmounted(lost: missingdisk.Gone, run: Run, report: Report) -> bool:
    """Say that the backups of the last run are gone; tell whether their disk is."""
    if lost.unmounted:
        error = lost.error(missingdisk.note_path(run))
        report.problem(error.what, error.where, error.hint)
    else:
        report.warning(
            "the backups that were here at the last run are gone",
            lost.directory,
            "if nobody removed them on purpose, bring them back from a copy before the next "
            "backup begins anew",
        )
    return lost.unmounted


def _try_out(report: Report, directory: Path, there: Path, files: Files) -> None:
    # a temporary name, which the next backup sweeps away should we die
    probe = files.partial_name(there / PROBE)
    try:
        # written, flushed, renamed, the directory flushed: as every file of a backup
        files.write(probe, b"a probe of the doctor\n")
        lacks = list(lacking(probe, files))
        locks = locking.can_lock(probe)
    finally:
        with suppress(FileNotFoundError):
            files.remove(probe)
    made = "can be written to" if directory == there else "can be made"
    report.ok(made, directory)
    for each in lacks:
        report.warning(f"the file system {each.what}", there, each.lost)
    if not locks:
        report.problem(
            "the file system has no locks",
            there,
            "two runs at once would spoil each other: mount it with locks (NFS: without nolock)",
        )


def room(destinations: Iterable[Destination]) -> Iterator[DoctorFinding]:
    """Compare the room that is left with what a full backup takes."""
    report = Report("room")
    needs: list[Need] = []
    for destination in destinations:
        # what cannot be looked at is said elsewhere
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

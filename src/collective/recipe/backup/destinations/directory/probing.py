"""Directories for backups: may we write there, and can their file system do what we need?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.destinations.directory.abilities import lacking
from collective.recipe.backup.errors import from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.directories import nearest
from collective.recipe.backup.findings import DoctorFinding, Report

_PROBE = ".backup-doctor"
_TRY_BY_HAND = "find out why this user cannot make and rename a file there"


def probe(directory: Path, files: Files) -> Iterator[DoctorFinding]:
    """Try in *directory* what a backup does there, and leave nothing."""
    report = Report("places")
    there = nearest(directory)
    if not there.is_dir():
        report.problem("something that is not a directory stands in the way", there, "move it away")
    else:
        try:
            _try_out(report, directory, there, files)
        except OSError as error:
            # messages about the probe and its name are not passed on
            nameless = OSError(error.errno, error.strerror or str(error))
            said = from_os_error(nameless, "a backup cannot write here", there)
            said.hint = said.hint or _TRY_BY_HAND
            said.__cause__ = error
            report.error(said)
    yield from report


def _try_out(report: Report, directory: Path, there: Path, files: Files) -> None:
    # a temporary name, which the next backup sweeps away should we die
    made = files.partial_name(there / _PROBE)
    try:
        # written, flushed, renamed, the directory flushed: as every file of a backup
        files.write(made, b"a probe of the doctor\n")
        lacks = list(lacking(made, files))
        locks = locking.can_lock(made)
    finally:
        with suppress(FileNotFoundError):
            files.remove(made)
    report.ok("can be written to" if directory == there else "can be made", directory)
    for each in lacks:
        report.warning(f"the file system {each.what}", there, each.lost)
    if not locks:
        report.problem(
            "the file system has no locks",
            there,
            "two runs at once would spoil each other: mount it with locks (NFS: without nolock)",
        )

"""The directories for the backups: may we write there, can they do what we need, is there room?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import locking
from collective.recipe.backup.amounts import size
from collective.recipe.backup.blobs.layout import walk
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import Place, RestorePoint, Source
from collective.recipe.backup.operations import whereabouts
from collective.recipe.backup.operations.doctor.findings import Finding, Report
from collective.recipe.backup.operations.run import Run

PROBE = ".backup-doctor"
_TRY_BY_HAND = "find out why this user cannot make and rename a file there"
_SHRINKS_TO = 4
"""What gzip can be hoped to make of a filestorage: one part in so many."""


def directories(run: Run) -> Iterator[Finding]:
    """Try in each directory of backups what a backup does there."""
    report = Report("places")
    lost = {each.directory: each for each in whereabouts.gone(run)}
    for directory in _directories(run.config.destinations[run.destination]):
        if directory in lost and _is_unmounted(lost[directory], run, report):
            continue
        there = _nearest(directory)
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
            report.problem(said.what, said.where, said.hint or _TRY_BY_HAND)
    yield from report


def _is_unmounted(lost: whereabouts.Gone, run: Run, report: Report) -> bool:
    """Say that the backups of the last run are gone; tell whether their disk is."""
    if lost.unmounted:
        error = lost.error(whereabouts.note_path(run))
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
    probe, link = files.partial_name(there / PROBE), files.partial_name(there / PROBE)
    try:
        # written, flushed, renamed, the directory flushed: as every file of a backup
        files.write(probe, b"a probe of the doctor\n")
        links = files.link(probe, link)
        locks = locking.can_lock(probe)
    finally:
        for path in (probe, link):
            with suppress(FileNotFoundError):
                files.remove(path)
    made = "can be written to" if directory == there else "can be made"
    report.ok(made, directory)
    if not links:
        report.warning(
            "the file system has no hard links",
            there,
            "each chain of backups will hold a full copy of all blobs: mind the room",
        )
    if not locks:
        report.problem(
            "the file system has no locks",
            there,
            "two runs at once would spoil each other: mount it with locks (NFS: without nolock)",
        )


class _Need(NamedTuple):
    """The bytes that a full backup takes in a directory: at least and at most."""

    directory: Path
    least: int
    most: int


def room(run: Run) -> Iterator[Finding]:
    """Compare the room that is left with what a full backup takes."""
    report = Report("room")
    needs: dict[int, list[_Need]] = {}
    for need in _needs(run):
        device = need.directory.stat().st_dev
        needs.setdefault(device, []).append(need)
    for there in needs.values():
        _judge(report, there)
    yield from report


def _judge(report: Report, needs: Sequence[_Need]) -> None:
    where = needs[0].directory
    found = os.statvfs(where)
    free = found.f_bavail * found.f_frsize
    least, most = sum(need.least for need in needs), sum(need.most for need in needs)
    words = f"{size(free)} are free, a full backup takes up to {size(most)}"
    hint = "make room, let keep be smaller, or keep the backups on another disk"
    if free < least:
        report.problem(words, where, hint)
    elif free < most:
        report.warning(words, where, hint)
    else:
        report.ok(words, where)


def _needs(run: Run) -> Iterator[_Need]:
    """Yield what the next full backup of each source takes, where it will lie."""
    options = run.config.options
    places = run.config.destinations[run.destination]
    for source, place, destination in zip(
        run.config.sources, places, run.destinations(), strict=True
    ):
        # what cannot be looked at is said elsewhere
        with suppress(BackupError, OSError):
            if not options.only_blobs:
                whole = source.filestorage.stat().st_size
                least = whole // _SHRINKS_TO if options.gzip else whole
                yield _Need(_nearest(place.filestorage), least, whole)
        with suppress(BackupError, OSError):
            points = destination.restore_points()
            if place.blobstorage is not None and not _are_linked(run, points):
                blobs = _size_of_blobs(source, run)
                yield _Need(_nearest(place.blobstorage), blobs, blobs)


def _are_linked(run: Run, points: Sequence[RestorePoint]) -> bool:
    """Tell whether the next full backup links most blobs to what is there."""
    archives = run.config.options.archive_blob or run.destination == "zip"
    return bool(points) and points[-1].blobs is not None and not archives


def _size_of_blobs(source: Source, run: Run) -> int:
    root = source.blobstorage
    assert root is not None  # noqa: S101  who has a place for blobs has blobs
    total = 0
    with run.progress.phase("measuring the blobs", 0, "blobs") as advance:
        for entry in walk(root):
            with suppress(FileNotFoundError):
                total += os.lstat(root / entry.path).st_size
            advance(1)
    return total


def _directories(places: Sequence[Place]) -> Iterator[Path]:
    for place in places:
        yield from filter(None, (place.filestorage, place.blobstorage))


def _nearest(path: Path) -> Path:
    """Return *path*, or the nearest directory above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path

"""The remains of an earlier restore beside the live data, and obstacles for the next one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup import links
from collective.recipe.backup.errors import explained
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.caches import existing_caches
from collective.recipe.backup.operations.doctor.writers import LOCK_SUFFIX
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restoring import letting_go, undoing
from collective.recipe.backup.restoring.journal import journal_path, read
from collective.recipe.backup.restoring.moves import staged_path
from collective.recipe.backup.restoring.ways import check_can_make, way_of


def left_over(run: Run, source: Source) -> Iterator[DoctorFinding]:
    """Look for a restore that was broken off, and for data that one has replaced."""
    report = Report("restores")
    journal = journal_path(Path(os.path.realpath(source.filestorage)))
    with report.looking(journal):
        found, command = read(journal), run.restore_command
        if found.is_pending and found.copied_from is not None:
            report.problem(
                f"this site is a copy of the one in {found.copied_from.parent}, made while a "
                "restore there was not finished",
                journal,
                f"it is a mixture: run {command} --give-up, then {command} again",
            )
        elif found.is_pending:
            command = f"{command} --undo" if found.is_undo else command
            report.problem(
                f"{'an undo' if found.is_undo else 'a restore'} was broken off in the middle",
                journal,
                f"the site is a mixture: run {command} again, which finishes it",
            )
        whole = undoing.replaced(journal)
        for path in [] if whole else letting_go.left(journal):
            report.warning(
                "the removal of what the last restore replaced was broken off",
                path,
                f"{run.restore_command} --let-go goes on with it",
            )
        for path in whole:
            report.warning(
                "what the last restore replaced is still there, and takes room",
                path,
                f"{run.restore_command} --let-go removes it, {run.restore_command} --undo puts it "
                "back",
            )
        staged = staged_path(source.filestorage)
        if os.path.lexists(staged) and not found.is_pending:
            report.warning(
                "a restore ended before it was done, and left this",
                staged,
                "the next restore removes it",
            )
    yield from report


def way_back(run: Run, source: Source) -> Iterator[DoctorFinding]:
    """Find out whether a restore could replace the live data, and how."""
    report = Report("restores")
    if _only_read(source.filestorage):
        report.warning(
            "this user may read the site and not write to it: it can back up, and not restore",
            source.filestorage,
            "restore as the user who owns it, and where it is not mounted read-only",
        )
        yield from report
        return
    journal = journal_path(Path(os.path.realpath(source.filestorage)))
    with report.looking(journal.parent):
        check_can_make(journal.parent, run.files)
        for lock in filter(os.path.lexists, _locks(source)):
            with explained("neither a restore nor a server can lock this", lock):
                run.files.check_writable(Path(links.real(lock)))
    for path in filter(None, _replaced(run, source)):
        with report.looking(path):
            live = Path(links.real(path))
            way = way_of(live, run.files)
            if way.inside is not None:
                report.ok(f"{way.why}: a restore exchanges what lies in it", live)
            elif way.in_place:
                report.ok(f"{way.why}: a restore writes over it, in place", live)
            elif os.path.lexists(live):
                report.ok("a restore can replace it", live)
            else:
                report.ok("there is none now, and a restore can make it", live)
    yield from report


def caches(run: Run) -> Iterator[DoctorFinding]:
    """Find the caches of ZEO clients, with which no client works after a restore back in time."""
    report = Report("restores")
    for path in sorted({*run.config.caches, *existing_caches(run)}):
        report.ok(
            "a ZEO client keeps its cache here (client and var in its zope.conf): a restore to an "
            "earlier state removes it, but none of a client on another machine",
            path,
        )
    yield from report


def _only_read(filestorage: Path) -> bool:
    """Tell whether this user was given a site to read: a container, or a backup user."""
    effective = os.access in os.supports_effective_ids
    return os.path.exists(filestorage) and not any(
        os.access(path, os.W_OK, effective_ids=effective)
        for path in (filestorage, filestorage.parent)
    )


def _replaced(run: Run, source: Source) -> Iterator[Path | None]:
    """Yield what a restore replaces of *source*; None: there is no such part of it."""
    if not run.config.options.only_blobs:
        yield source.filestorage
    yield source.blobstorage


def _locks(source: Source) -> Iterator[Path]:
    """Yield the files that a restore of *source* locks: beside a link, and beside its end."""
    for path in dict.fromkeys([source.filestorage, Path(os.path.realpath(source.filestorage))]):
        yield path.with_name(path.name + LOCK_SUFFIX)

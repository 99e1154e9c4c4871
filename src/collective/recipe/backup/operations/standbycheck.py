"""The conditions for a round of a standby to write, and the mark of the last round.

A restore must have written the copy, and it must not have changed since.  A copy that was opened
and written to is a site of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from collective.recipe.backup.errors import (
    IntegrityError,
    NoRestorePoint,
    UsageError,
    explained,
)
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.brokenoff import finish
from collective.recipe.backup.operations.caches import last_tid
from collective.recipe.backup.operations.restoreorder import Job
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.targets import targets_of
from collective.recipe.backup.restoring import standbymark, swap
from collective.recipe.backup.restoring.journal import end, known
from collective.recipe.backup.restoring.journalcheck import is_as_left
from collective.recipe.backup.restoring.mixture import OF_STANDBY
from collective.recipe.backup.restoring.standbymark import StandbyMark, has_blobs, left_so
from collective.recipe.backup.times import in_words


def check_not_earlier(jobs: Sequence[Job]) -> None:
    """Raise NoRestorePoint if the copy has later transactions than the newest restore point.

    Newer restore points may have been removed, by a mistake or by a thief: then the copy may be
    all that has those transactions.
    """
    for job in jobs:
        newest, here = job.choice.point.tid, last_tid(job.target.filestorage)
        if newest is not None and here is not None and newest < here:
            raise NoRestorePoint(
                "the newest restore point ends before what this standby has: newer ones are gone, "
                "or the site was restored",
                where=job.target.filestorage,
                hint="if the site was restored on purpose, wait until it has later transactions, "
                "or move this copy away; else promote it, or keep it until you know",
            )


def source_of(run: Run) -> str:
    """Return what tells which site a standby is of, and where its backups lie."""
    return f"{run.config.options.site_name} in {run.homes[-1].label}"


def check_source(run: Run, targets: Sequence[Source]) -> None:
    """Raise UsageError if the copy is a standby of another site, or of other backups."""
    mark = standbymark.read(targets[-1].filestorage)
    if mark is not None and mark.source != source_of(run):
        raise UsageError(
            f"this is a standby of {mark.source}, and not of {source_of(run)}",
            where=targets[-1].filestorage,
            hint="name another directory with --to; or move this one away, with all that lies "
            "beside it",
        )


def mark_as_left(run: Run, targets: Sequence[Source], source: str) -> None:
    """Let the mark say how the copy is left, which comes from *source*."""
    standbymark.write(targets[-1].filestorage, left_so(targets, source), run.files)


def settle(run: Run, targets: Sequence[Source], journal: Path) -> None:
    """Finish a round that was broken off, and make sure that the copy is as it was left.

    Raises UsageError for a copy that is no standby of this site, or no longer, and IntegrityError
    for one that was written to, or that lacks a part.  The result of a restore can become a
    standby, unless it is in the place of the site.
    """
    main = targets[-1].filestorage
    mark = standbymark.read(main)
    if mark is not None and mark.promoted is not None:
        raise UsageError(
            f"this standby was promoted at {in_words(mark.promoted)}: it is a site of its own",
            where=main,
            hint="begin another one elsewhere with --to; or move this one away, with all that "
            "lies beside it",
        )
    if swap.is_pending(journal):
        finish(run, journal, OF_STANDBY)
    with explained("cannot note that the round is done", journal):
        end(journal, run.files)
    if mark is None:
        _begin_here(run, targets, journal)
    else:
        _check_as_left(run, mark, targets, journal)


def _begin_here(run: Run, targets: Sequence[Source], journal: Path) -> None:
    """Make sure that a standby may begin here; mark the result of a restore as one."""
    if not any(_is_anything_there(target) for target in targets):
        return
    live = {each.filestorage for each in targets_of(run, None)}
    in_place = any(each.filestorage in live for each in targets)
    if in_place or not _is_left_by_restore(targets, journal):
        raise UsageError(
            "something is here that no standby has put here, and that no restore to a directory "
            "of its own has left so",
            where=targets[-1].filestorage,
            hint="name a directory of its own with --to, or move away what is here",
        )
    mark_as_left(run, targets, source_of(run))


def _check_as_left(run: Run, mark: StandbyMark, targets: Sequence[Source], journal: Path) -> None:
    """Make sure that the standby is as its last round left it."""
    if mark.has_all_of(targets):
        return
    if gone := mark.gone():
        raise IntegrityError(
            "a part of this standby is gone",
            where=gone,
            hint="is the disk mounted?  If it was removed, move away the rest and begin anew",
        )
    if _is_left_by_restore(targets, journal):
        # a round has died before its mark; the next restore lets that journal go
        mark_as_left(run, targets, mark.source)
        return
    raise IntegrityError(
        "this standby was written to since its last round, or something else lies in its place: "
        "it may be a site that is in use",
        where=targets[-1].filestorage,
        hint="to keep it as the site that it is, remove "
        f"{standbymark.mark_path(targets[-1].filestorage)}; if it is not wanted, move it away and "
        "begin anew",
    )


def _is_left_by_restore(targets: Sequence[Source], journal: Path) -> bool:
    """Tell whether all files there are the result of the last restore, unchanged."""
    left = known(journal)
    there = [target for target in targets if _is_anything_there(target)]
    return bool(left) and all(each.filestorage in left for each in there) and is_as_left(journal)


def _is_anything_there(target: Source) -> bool:
    return os.path.lexists(target.filestorage) or has_blobs(target)

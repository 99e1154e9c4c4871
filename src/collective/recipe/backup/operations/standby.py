"""A standby: a copy of the site that follows its backups, ready to take its place.

Each interval looks whether there is a newer restore point.  If so, a restore writes what the
copy lacks: transactions that are new come behind those that are there, and blobs beside those
that are there.  Blobs that the newer state lacks, since the source was packed, go only once the
filestorage has changed: so a copy that is read in the middle of a round is whole.

    first   what comes, as one restore; what is not wanted any more stays
    then    if there is such, it goes, as another one

A round that dies is finished by the next one, or by the promotion.  What the copy is was put
there by a restore and has not changed since: of that each round makes sure before it writes.
Who opens the copy and writes to it has made a site of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from collective.recipe.backup.errors import (
    IntegrityError,
    InUse,
    NoRestorePoint,
    StoreUnreachable,
    UsageError,
    explained,
)
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations.brokenoff import chosen_of, finish
from collective.recipe.backup.operations.caches import last_tid
from collective.recipe.backup.operations.carryingout import carry_out
from collective.recipe.backup.operations.follow import FollowClock
from collective.recipe.backup.operations.hooks import Account
from collective.recipe.backup.operations.preloading import import_all_rooms
from collective.recipe.backup.operations.restorejobs import jobs_of
from collective.recipe.backup.operations.restoreorder import Job, RestoreOrder
from collective.recipe.backup.operations.run import Run, one_run
from collective.recipe.backup.operations.targets import (
    journal_of,
    lock_targets,
    sweep_beside,
    targets_of,
)
from collective.recipe.backup.restoring import standbymark, swap
from collective.recipe.backup.restoring.journal import Chosen, end, known
from collective.recipe.backup.restoring.journalcheck import is_as_left
from collective.recipe.backup.restoring.remembered import Remembered
from collective.recipe.backup.restoring.stagedblobs import Changeable
from collective.recipe.backup.restoring.standbymark import StandbyMark, has_blobs, left_so
from collective.recipe.backup.times import Tid, in_words, pause

logger = logging.getLogger("backup")

PATIENCE = 60.0
"""Seconds for which a promotion waits for the round that is at work."""
_PAUSE = 0.2


def standby(run: Run, to: Path | None, pace: FollowClock, *, tell: Callable[[str], None]) -> None:
    """Let the copy below *to* (None: where the site is configured) follow, until *pace* ends.

    *tell* is told when that has begun, and each restore point that the copy has come to.  Raises
    UsageError for what is no standby, or no longer, and IntegrityError for one that
    was written to.
    """
    if run.config.options.only_blobs:
        raise UsageError(
            "a standby needs the filestorage, and only_blobs is set",
            hint="name the configuration of the whole site",
        )
    import_all_rooms()
    standing = _Standby(run, RestoreOrder(to=to, further=False))
    tell("standing by")
    while True:
        for stamp in standing.look(pace.now()):
            tell(f"restore point {stamp}")
        if not pace.wait():
            return


def promote(run: Run, to: Path | None) -> dict[str, Tid | None]:
    """End the standby below *to*; return the last transaction of each storage.

    What was broken off is finished first.  One that is promoted already stays what it is.
    Raises UsageError if there is none, InUse if a server has it open, and IntegrityError if it
    was written to.
    """
    with ExitStack() as locks:
        targets = _locked(run, to, locks)
        journal, main = journal_of(targets), targets[-1].filestorage
        mark = standbymark.read(main)
        if mark is None:
            raise UsageError(
                "there is no standby here",
                where=main,
                hint="name the directory with --to as where it was begun",
            )
        if mark.promoted is None:
            _settle(run, targets, journal)
            left = left_so(targets, mark.source)
            if not left.left:
                raise UsageError(
                    "no round of this standby has come to its end: there is nothing to promote",
                    where=main,
                    hint="let it stand by until it has come to a restore point",
                )
            standbymark.write(main, replace(left, promoted=run.now), run.files)
    return {target.name: last_tid(target.filestorage) for target in targets}


def _locked(run: Run, to: Path | None, locks: ExitStack) -> list[Source]:
    """Return the targets, locked as soon as no round is at work.  Raises InUse."""
    waited = 0.0
    while True:
        try:
            with ExitStack() as taken:
                taken.enter_context(one_run(run))
                targets = lock_targets(run, to, taken)
                locks.enter_context(taken.pop_all())
                return targets
        except InUse:
            if waited >= PATIENCE:
                raise
            pause(_PAUSE)
            waited += _PAUSE


class _Standby:
    """What has been done so far."""

    def __init__(self, run: Run, order: RestoreOrder) -> None:
        self._run = run
        self._order = order
        self._there: tuple[Chosen, ...] | None = None  # what the copy is; None: not known
        self._remembered: dict[str, Remembered] = {}
        self._waits_for = ""  # what was told last of what is waited for
        self._damage = ""  # what was found damaged in the last round

    def look(self, now: datetime) -> list[str]:
        """Do one round at *now*; return the stamps of what the copy has come to, none if none."""
        run = replace(self._run, now=now)
        try:
            stamps = self._round(run)
        except (InUse, StoreUnreachable, NoRestorePoint) as error:
            if str(error) != self._waits_for:
                logger.warning("waiting: %s", error)
            self._waits_for = str(error)
            return []
        self._waits_for = ""
        return stamps

    def _round(self, run: Run) -> list[str]:
        with one_run(run), ExitStack() as locks:
            targets = lock_targets(run, self._order.to, locks)
            journal = journal_of(targets)
            _check_source(run, targets)
            _settle(run, targets, journal)
            sweep_beside(run, targets)
            try:
                jobs = self._followed(run, targets, journal)
            except IntegrityError as error:
                # a backup may have put one file in the place of several while they were read
                if str(error) == self._damage:
                    raise
                logger.info("what is read may have changed meanwhile, once more: %s", error)
                self._damage = str(error)
                return []
            self._damage = ""
        return [job.choice.point.stamp for job in jobs if job.target.name == MAIN]

    def _followed(self, run: Run, targets: Sequence[Source], journal: Path) -> Sequence[Job]:
        """Let the copy become what is newest, and return that; nothing if it is that already."""
        with run.opened() as destinations:
            jobs = jobs_of(run, self._order, destinations, targets, None)
            chosen = chosen_of(jobs, self._order)
            if chosen == self._there:
                return ()
            self._there = None
            _check_not_earlier(jobs)
            main = targets[-1].filestorage
            if standbymark.read(main) is None:
                # whatever dies from here on, a standby has begun here
                standbymark.write(main, StandbyMark(source=_source(run)), run.files)
            self._become(run, jobs, journal)
            self._there = chosen
        return jobs

    def _become(self, run: Run, jobs: Sequence[Job], journal: Path) -> None:
        for job in jobs:
            name, live = job.target.name, job.target.filestorage
            remembered = self._remembered.setdefault(name, Remembered(live))
            remembered.may_change, remembered.surplus = Changeable.COMING, 0
        self._carry_out(run, self._order, jobs, journal)
        if any(each.surplus for each in self._remembered.values()):
            for each in self._remembered.values():
                each.may_change = Changeable.ANY
            self._carry_out(run, replace(self._order, filestorage=False), jobs, journal)

    def _carry_out(self, run: Run, order: RestoreOrder, jobs: Sequence[Job], journal: Path) -> None:
        carry_out(run, order, jobs, Account(), self._remembered)
        with explained("cannot note that the round is done", journal):
            end(journal, run.files)
        _mark(run, [job.target for job in jobs], _source(run))


def _check_not_earlier(jobs: Sequence[Job]) -> None:
    """Raise NoRestorePoint if the copy has later transactions than what is newest now.

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


def _source(run: Run) -> str:
    """Return what tells which site a standby is of, and where its backups lie."""
    return f"{run.config.options.site_name} in {run.homes[-1].label}"


def _check_source(run: Run, targets: Sequence[Source]) -> None:
    """Raise UsageError if what is there is a standby of another site, or of other backups."""
    mark = standbymark.read(targets[-1].filestorage)
    if mark is not None and mark.source != _source(run):
        raise UsageError(
            f"this is a standby of {mark.source}, and not of {_source(run)}",
            where=targets[-1].filestorage,
            hint="name another directory with --to; or move this one away, with all that lies "
            "beside it",
        )


def _mark(run: Run, targets: Sequence[Source], source: str) -> None:
    """Let the mark say how the copy is left, which comes from *source*."""
    standbymark.write(targets[-1].filestorage, left_so(targets, source), run.files)


def _settle(run: Run, targets: Sequence[Source], journal: Path) -> None:
    """Finish a round that was broken off, and make sure that the copy is as it was left.

    Raises UsageError for what is no standby of this site, or no longer, and IntegrityError for
    one that was written to, or that lacks a part.  What a restore has left can become a standby,
    but for what it has left in the place of the site.
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
        finish(run, journal)
    with explained("cannot note that the round is done", journal):
        end(journal, run.files)
    if mark is None:
        _begin_here(run, targets, journal)
    else:
        _check_as_left(run, mark, targets, journal)


def _begin_here(run: Run, targets: Sequence[Source], journal: Path) -> None:
    """Make sure that a standby may begin here; what a restore has left is marked as one."""
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
    _mark(run, targets, _source(run))


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
        _mark(run, targets, mark.source)
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
    """Tell whether all that is there is what the last restore has left, and has not changed."""
    left = known(journal)
    there = [target for target in targets if _is_anything_there(target)]
    return bool(left) and all(each.filestorage in left for each in there) and is_as_left(journal)


def _is_anything_there(target: Source) -> bool:
    return os.path.lexists(target.filestorage) or has_blobs(target)

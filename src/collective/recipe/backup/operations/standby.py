"""A standby: a copy of the site that follows its backups, ready to take its place.

Each interval looks for a newer restore point.  If there is one, a restore adds what the copy lacks:
new transactions behind those that are there, and new blobs beside the others.  Blobs that the newer
state lacks, since the source was packed, go only once the filestorage has changed: so a copy that
is read in the middle of a round is whole.

    first   what comes, as one restore; what is not wanted any more stays
    then    if there is such, it goes, as another one

A round that dies is finished by the next one, or by the promotion.  Before it writes, each round
makes sure that a restore wrote the copy, and that it has not changed since.  A copy that was opened
and written to is a site of its own, and no standby any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.errors import (
    IntegrityError,
    InUse,
    NoRestorePoint,
    StoreUnreachable,
    UsageError,
)
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations.brokenoff import chosen_of
from collective.recipe.backup.operations.caches import last_tid
from collective.recipe.backup.operations.carryingout import carry_out
from collective.recipe.backup.operations.follow import FollowClock
from collective.recipe.backup.operations.hooks import Account
from collective.recipe.backup.operations.preloading import import_all_rooms
from collective.recipe.backup.operations.restorejobs import jobs_of
from collective.recipe.backup.operations.restoreorder import Job, RestoreOrder
from collective.recipe.backup.operations.run import Run, one_run
from collective.recipe.backup.operations.standbycheck import (
    check_not_earlier,
    check_source,
    mark_as_left,
    settle,
    source_of,
)
from collective.recipe.backup.operations.targets import (
    journal_of,
    lock_targets,
    sweep_beside,
    targets_of,
)
from collective.recipe.backup.restoring import standbymark
from collective.recipe.backup.restoring.journal import Chosen
from collective.recipe.backup.restoring.remembered import Remembered
from collective.recipe.backup.restoring.stagedblobs import Changeable
from collective.recipe.backup.restoring.standbymark import StandbyMark, left_so
from collective.recipe.backup.times import Tid, pause

logger = logging.getLogger("backup")

PATIENCE = 60.0
"""Seconds for which a promotion waits for the round that is at work."""
_PAUSE = 0.2


def standby(run: Run, to: Path | None, pace: FollowClock, *, tell: Callable[[str], None]) -> None:
    """Let the copy below *to* (None: where the site is configured) follow, until *pace* ends.

    *tell* is called when that has begun, and with each restore point that the copy reaches.
    Raises UsageError for a copy that is no standby, or no longer, IntegrityError for one that
    was written to, and InUse for one that another process keeps.
    """
    if run.config.options.only_blobs:
        raise UsageError(
            "a standby needs the filestorage, and only_blobs is set",
            hint="name the configuration of the whole site",
        )
    import_all_rooms()
    with ExitStack() as kept:
        standing = _Standby(run, RestoreOrder(to=to, further=False, follows=True), kept)
        standing.keep()
        tell("standing by")
        while True:
            for stamp in standing.look(pace.now()):
                tell(f"restore point {stamp}")
            if not pace.wait():
                return


def promote(run: Run, to: Path | None) -> dict[str, Tid | None]:
    """End the standby below *to*; return the last transaction of each storage.

    A round that was broken off is finished first.  One that is promoted already stays what it is.
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
                hint="name with --to the directory in which it was begun",
            )
        if mark.promoted is None:
            settle(run, targets, journal)
            left = left_so(targets, mark.source)
            if not left.left:
                raise UsageError(
                    "this standby has reached no restore point yet, so there is nothing to promote",
                    where=main,
                    hint="let it run until it says that it has reached one",
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
    """The state of a standby."""

    def __init__(self, run: Run, order: RestoreOrder, kept: ExitStack) -> None:
        self._run = run
        self._order = order
        self._kept = kept  # gets the lock of the copy
        self._is_kept = False
        self._there: tuple[Chosen, ...] | None = (
            None  # the restore points of which the copy consists; None: not known
        )
        self._remembered: dict[str, Remembered] = {}
        self._waits_for = ""  # the last message about waiting
        self._damage = ""  # the damage of the last round

    def keep(self) -> None:
        """Keep every other standby away, once there is one here.  Raises InUse."""
        if not self._is_kept:
            main = targets_of(self._run, self._order.to)[-1].filestorage
            if standbymark.read(main) is not None:
                self._kept.enter_context(locking.one_standby(main))
                self._is_kept = True

    def look(self, now: datetime) -> list[str]:
        """Do one round at *now*; return the stamps that the copy has reached, none if none.

        Raises InUse if another standby has begun here meanwhile.
        """
        self.keep()
        run = replace(self._run, now=now)
        try:
            stamps = self._round(run)
        except (InUse, StoreUnreachable, NoRestorePoint) as error:
            if str(error) != self._waits_for:
                logger.warning("waiting: %s", error)
                if error.hint:
                    logger.warning("hint: %s", error.hint)
            self._waits_for = str(error)
            return []
        self._waits_for = ""
        return stamps

    def _round(self, run: Run) -> list[str]:
        with one_run(run), ExitStack() as locks:
            targets = lock_targets(run, self._order.to, locks)
            check_source(run, targets)
            settle(run, targets, journal_of(targets))
            sweep_beside(run, targets)
            try:
                jobs = self._followed(run, targets)
            except IntegrityError as error:
                # a backup may have put one file in the place of several while they were read
                if str(error) == self._damage:
                    raise
                logger.info("the backups may have changed meanwhile, reading again: %s", error)
                self._damage = str(error)
                return []
            self._damage = ""
        return [job.choice.point.stamp for job in jobs if job.target.name == MAIN]

    def _followed(self, run: Run, targets: Sequence[Source]) -> Sequence[Job]:
        """Let the copy become the newest state, and return its jobs; none if it is that already."""
        with run.opened() as destinations:
            jobs = jobs_of(run, self._order, destinations, targets, None)
            chosen = chosen_of(jobs, self._order)
            if chosen == self._there:
                return ()
            self._there = None
            check_not_earlier(jobs)
            main = targets[-1].filestorage
            if standbymark.read(main) is None:
                # if the run dies from here on, a standby has begun here
                standbymark.write(main, StandbyMark(source=source_of(run)), run.files)
            self.keep()
            self._become(run, jobs)
            self._there = chosen
        return jobs

    def _become(self, run: Run, jobs: Sequence[Job]) -> None:
        for job in jobs:
            name, live = job.target.name, job.target.filestorage
            remembered = self._remembered.setdefault(name, Remembered(live))
            remembered.may_change, remembered.surplus = Changeable.COMING, 0
        self._carry_out(run, self._order, jobs)
        if any(each.surplus for each in self._remembered.values()):
            for each in self._remembered.values():
                each.may_change = Changeable.ANY
            self._carry_out(run, replace(self._order, filestorage=False), jobs)

    def _carry_out(self, run: Run, order: RestoreOrder, jobs: Sequence[Job]) -> None:
        carry_out(run, order, jobs, Account(), self._remembered)
        mark_as_left(run, [job.target for job in jobs], source_of(run))

"""The rehearsal: restore to scratch, open everything, report the time, leave nothing behind.

A scratch directory belongs to the run that holds the lock in it.  The next run removes the files of
a run that died.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    IntegrityError,
    NoRestorePoint,
    UsageError,
    explained,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Problem, RestorePoint, Source
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.damagememory import Spoilt, read_with
from collective.recipe.backup.operations.hooks import Account, hooks_around
from collective.recipe.backup.operations.restoreroom import check_rehearsal_room
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.siteopening import OpenedSite, open_everything
from collective.recipe.backup.progress import Advance, PhaseManager, Progress
from collective.recipe.backup.restorepoints import Choice, choose, newest
from collective.recipe.backup.restoring.staging import Targets, stage
from collective.recipe.backup.times import When, monotonic

logger = logging.getLogger("backup")

MARK = ".rehearsal."
"""In the name of each scratch directory, before the number of the process."""


class Which(Enum):
    """The restore points to rehearse, if no moment is given."""

    NEWEST = "newest"
    RANDOM = "random"
    EACH = "each"


@dataclass(frozen=True, kw_only=True)
class RehearseOrder:
    """The restore points to rehearse, the scratch directory, and the time for it."""

    which: Which = Which.NEWEST  # unless a moment is given
    when: When | None = None  # a moment; None: *which* decides
    scratch: Path | None = None  # existing directory; None: the one of the backups
    seconds: float | None = None  # after which it stops; None: no limit
    draw: Callable[[Sequence[RestorePoint]], RestorePoint]
    """Returns one of some restore points at random."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """The result of one rehearsal: *opened*, a *problem*, or neither if time was over."""

    source: Source  # the storage
    choice: Choice  # the restore point, and where to cut it
    size: int = 0  # bytes of the restored filestorage; an upper limit if it was not restored
    opened: OpenedSite | None = None  # numbers of opened objects; None: not opened
    problem: IntegrityError | None = None  # the damage; None: there is none, or time was over
    seconds: float = 0.0  # that the restore took
    opening: float = 0.0  # seconds that opening everything took after that

    @property
    def is_out_of_time(self) -> bool:
        """Tell whether it was stopped before anything could be said."""
        return self.opened is None and self.problem is None


class OutOfTime(BaseException):
    """The time that the user gave is over.  Like an interrupt, it is no Exception."""


def rehearse(
    run: Run, order: RehearseOrder, tell: Callable[[Rehearsed], object]
) -> list[Rehearsed]:
    """Rehearse the restore points of *order*; *tell* gets each result as soon as it is there.

    Raises BackupError if the rehearsal itself is impossible: there is no room for it, or none of
    the requested restore points; ConfigurationError if only blobs are backed up, and UsageError if
    there is no such scratch directory: no run has begun then, and the history does not tell of one.
    """
    if run.config.options.only_blobs:
        raise ConfigurationError(
            "only blobs are backed up here, and there is no site to open without a filestorage",
            hint="verify compares each of them with what was stored",
        )
    if order.scratch is not None and not order.scratch.is_dir():
        raise UsageError(
            "the directory for scratch is not there",
            where=order.scratch,
            hint="make it, or name one with --scratch that is there; is its disk mounted?",
        )
    timed = _Timed(run.progress, order.seconds)
    with hooks_around(run) as account, replace(run, progress=timed).opened() as destinations:
        jobs = [
            (destination, choice)
            for destination in destinations
            for choice in _choices_of(run, destination, order)
        ]
        rehearsed: list[Rehearsed] = []
        for destination, choice in jobs:
            done = _rehearse(run, timed, destination, choice, order)
            if _was_replaced(destination, done):
                logger.info("another run has changed these files meanwhile: rehearsing once more")
                done = _rehearse(run, timed, destination, choice, order)
            rehearsed.append(done)
            _remember(run, destination, rehearsed[-1])
            tell(rehearsed[-1])
            if rehearsed[-1].is_out_of_time:
                break
        _account_for(rehearsed, account)
        error = outcome(rehearsed, order)
        if error is not None:
            account.found_wrong(error)
    return rehearsed


def _account_for(rehearsed: Sequence[Rehearsed], account: Account) -> None:
    opened = [each.opened for each in rehearsed if each.opened]
    account.phases["restore"] = sum(each.seconds for each in rehearsed)
    account.phases["opening"] = sum(each.opening for each in rehearsed)
    account.points = _newest_of(rehearsed)
    account.numbers = {
        "rehearsals": len(opened),
        "objects": sum(each.objects for each in opened),
        "blobs": sum(each.blobs for each in opened),
        "problems": sum(each.problem is not None for each in rehearsed),
    }


def _newest_of(rehearsed: Sequence[Rehearsed]) -> dict[str, str]:
    """Return the newest stamp of each storage that was rehearsed, or that failed if any did."""
    stamps: dict[str, str] = {}
    failed = [each for each in rehearsed if each.problem is not None]
    for each in failed or rehearsed:
        name, stamp = each.source.name, each.choice.point.stamp
        stamps[name] = max(stamps.get(name, ""), stamp)
    return stamps


def _choices_of(run: Run, destination: Destination, order: RehearseOrder) -> list[Choice]:
    try:
        return _choices(destination.restore_points(), order)
    except NoRestorePoint as error:
        missingdisk.warn(run)
        error.where = error.where or destination.home.label
        raise


def _choices(points: Sequence[RestorePoint], order: RehearseOrder) -> list[Choice]:
    """Return what to rehearse of one source, the newest first."""
    if order.when is not None:
        return [choose(points, order.when)]
    # restore points with findings are rehearsed again: they may have been mended
    usable = sorted((point for point in points if point.restorable), key=lambda each: each.age)
    last = usable[-1] if usable else newest(points)
    if order.which is Which.EACH:
        return [Choice(point=point) for point in reversed(usable)]
    if order.which is Which.RANDOM:
        return [Choice(point=order.draw(usable))]
    return [Choice(point=last)]


def _rehearse(
    run: Run, timed: _Timed, destination: Destination, choice: Choice, order: RehearseOrder
) -> Rehearsed:
    source = destination.source
    found = Rehearsed(source=source, choice=choice, size=choice.point.end)
    logger.info("rehearsing the restore point %s", choice.point.stamp)
    here = destination.home.state
    beside = order.scratch or here.parent
    try:
        with _scratch(run, beside, here.name) as scratch:
            timed.check()
            check_rehearsal_room(beside, choice.point)
            filestorage = scratch / source.filestorage.name
            blobstorage = source.blobstorage and scratch / "blobs" / source.blobstorage.name
            if blobstorage:
                run.files.make_directory(blobstorage.parent)
            targets = Targets(
                filestorage=filestorage, index=index_of(filestorage), blobstorage=blobstorage
            )
            began = monotonic()
            with destination.open(choice) as state:
                stage(state, targets, files=run.files, progress=timed)
            staged = monotonic()
            size = filestorage.stat().st_size if filestorage.exists() else 0
            found = replace(found, size=size, seconds=staged - began)
            has_blobs = blobstorage if blobstorage and blobstorage.is_dir() else None
            opened = open_everything(filestorage, has_blobs, timed)
            return replace(found, opened=opened, opening=monotonic() - staged)
    except OutOfTime:
        return found
    except IntegrityError as error:
        return replace(found, problem=error)


def _was_replaced(destination: Destination, done: Rehearsed) -> bool:
    """Tell whether a file that was missing is one of which a merge has made another one."""
    if done.problem is None or not done.problem.where or Path(done.problem.where).exists():
        return False
    stamps = {point.stamp for point in destination.restore_points()}
    return done.choice.point.stamp in stamps and not destination.problem_of(done.problem).points


def _remember(run: Run, destination: Destination, done: Rehearsed) -> None:
    """Remember what a rehearsal has shown of its restore point."""
    if done.is_out_of_time:
        return
    stamp = done.choice.point.stamp
    spoilt, staged = Spoilt(run, destination), bool(done.seconds)
    if done.problem is not None:
        # data that came out as stored and does not open was damaged in the site already
        if not staged:
            spoilt.add(destination.problem_of(done.problem))
        found = str(done.problem)
        spoilt.add(Problem(where=stamp, what=found, inherited=staged, points=(stamp,)))
    read: list[str] = []
    if staged and done.choice.until is None:
        read = read_with(done.choice.point, destination.restore_points())
    spoilt.remember(read=read, loaded=done.opened is not None)


# scratch


@contextmanager
def _scratch(run: Run, beside: Path, name: str) -> Iterator[Path]:
    """Yield a new directory, which is gone afterwards."""
    with explained("cannot use the scratch directory", beside):
        _sweep(run.files, beside, name)
        directory = beside / f"{name}{MARK}{os.getpid()}"
        run.files.make_directory(directory, 0o700)
    try:
        with locking.one_writer(directory, run.holder):
            yield directory
    finally:
        with explained("cannot remove the scratch directory", directory):
            run.files.clear(directory)


def _sweep(files: Files, beside: Path, name: str) -> None:
    """Remove what rehearsals that died left."""
    for path in beside.iterdir():
        is_ours = path.name.startswith(name + MARK) and path.is_dir() and not path.is_symlink()
        if is_ours and (path / locking.LOCK_NAME).exists() and locking.holder_of(path) is None:
            logger.info("removing what a rehearsal that died left: %s", path)
            files.remove_tree(path)


# time


class _Timed(Progress):
    """A Progress that ends the work when its time is over."""

    def __init__(self, progress: Progress, seconds: float | None) -> None:
        self._progress = progress
        self._end = None if seconds is None else monotonic() + seconds

    def check(self) -> None:
        """Raise OutOfTime if it is over."""
        if self._end is not None and monotonic() > self._end:
            raise OutOfTime("the time is over")

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a phase whose Advance checks."""
        return self._phase(self._progress.phase(title, total, unit))

    @contextmanager
    def _phase(self, phase: PhaseManager) -> Iterator[Advance]:
        with phase as advance:

            def checked(by: int) -> None:
                advance(by)
                self.check()

            yield checked


def outcome(rehearsed: Sequence[Rehearsed], order: RehearseOrder) -> BackupError | None:
    """Return the error of all rehearsals together, None if the requested ones are done.

    A rehearsal that had not enough time is no error as long as another one ended.
    """
    failed = [each for each in rehearsed if each.problem is not None]
    if failed:
        stamps = ", ".join(each.choice.point.stamp for each in failed)
        return IntegrityError(
            f"{len(failed)} of {len(rehearsed)} rehearsals failed: {stamps}",
            hint="do not rely on these restore points; verify tells what is damaged",
        )
    if not any(each.opened for each in rehearsed):
        return BackupError(
            f"not one restore point could be rehearsed in {order.seconds:g} seconds",
            hint="give it more time: the messages say how far it came",
        )
    return None

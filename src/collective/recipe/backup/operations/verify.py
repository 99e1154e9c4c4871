"""Verify: read and compare, change nothing, and tell all that is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations import Depth, Destination
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Problem, RestorePoint, Source
from collective.recipe.backup.operations import missingdisk, sampling
from collective.recipe.backup.operations.damagememory import Spoilt, read_with
from collective.recipe.backup.operations.hooks import hooks_around
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.times import When

if TYPE_CHECKING:
    from fractions import Fraction

logger = logging.getLogger("backup")

Tell = Callable[[Source, Problem], object]


@dataclass(frozen=True, kw_only=True)
class VerifyOrder:
    """An order to verify: the depth, and the restore points."""

    depth: Depth = Depth.CHECKSUMS  # names, contents or records
    when: When | None = None  # moment of one restore point; None: all
    share: Fraction | None = None
    """Of the files whose contents are read, 0 to 1; None: all; names are always compared."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The result for one source."""

    source: Source  # the storage
    points: int  # restore points that were examined
    problems: int  # number
    newest: str | None = None
    """Stamp of the newest restore point with a problem; None: a problem has none, or there are
    none."""
    lacking: int = 0  # earlier restore points without blobs that their source lacked: no problems
    is_damaged: bool = False  # whether stored data are not as they were stored


def verify(run: Run, order: VerifyOrder, tell: Tell) -> list[Verified]:
    """Verify the restore points of each source; *tell* gets each problem as it is found.

    Raises NoRestorePoint if there is nothing to verify.
    """
    with hooks_around(run) as account, run.opened() as destinations:
        verified = [_one(run, destination, order, tell) for destination in destinations]
        account.numbers = {
            "restore_points": sum(each.points for each in verified),
            "problems": sum(each.problems for each in verified),
        }
        wrong = [each for each in verified if each.problems]
        if all(each.newest for each in wrong):
            account.points = {each.source.name: each.newest or "" for each in wrong}
        error = outcome(verified)
        if error is not None:
            account.found_wrong(error)
    return verified


def outcome(verified: list[Verified]) -> IntegrityError | None:
    """Return the error that all problems together are, None if there are none."""
    count = sum(each.problems for each in verified)
    if not count:
        return None
    problems = number_of(count, "problem")
    hint = "it can be restored without that, and the next backup tries again to get it"
    if any(each.is_damaged for each in verified):
        hint = (
            "the list says which restore points are damaged; if the newest chain is, the next "
            "backup begins a new one"
        )
    return IntegrityError(f"the backups are not what they should be: {problems}", hint=hint)


def _one(run: Run, destination: Destination, order: VerifyOrder, tell: Tell) -> Verified:
    home = destination.home
    holder = home.holder()
    if holder is not None:
        logger.warning("another run is at work, and its changes may look like problems: %s", holder)
    points = destination.restore_points()
    only: RestorePoint | None = None
    if order.when is not None:
        only = choose(points, order.when).point
    arc = sampling.next_arc(home.state, order.share) if order.share is not None else None
    spoilt = Spoilt(run, destination)
    tally = _Tally(spoilt, only or next(reversed(points), None))
    try:
        for problem in destination.verify(order.depth, only=only, reads=arc and arc.holds):
            tell(destination.source, problem)
            tally.add(problem)
    except BaseException:
        spoilt.remember()
        raise
    read: list[str] = []
    if order.depth is not Depth.NAMES and order.share in (None, 1):
        read = read_with(only, points) if only else [point.stamp for point in points]
    spoilt.remember(read=read, loaded=order.depth is Depth.RECORDS)
    if not points and not tally.problems:
        missingdisk.warn(run)
        raise NoRestorePoint(
            "there is no restore point to verify",
            where=home.label,
            hint="is this the place that the backups are in?  If there are none, run the backup",
        )
    if arc is not None and run.as_of is None:
        sampling.remember(home.state, arc, run.files)
    return Verified(
        source=destination.source,
        points=1 if only else len(points),
        problems=tally.problems,
        newest=spoilt.newest,
        lacking=tally.lacking,
        is_damaged=tally.is_damaged,
    )


class _Tally:
    """Counts problems; *last* is the newest of the examined restore points."""

    def __init__(self, spoilt: Spoilt, last: RestorePoint | None) -> None:
        self.problems = self.lacking = 0
        self.is_damaged = False
        self._spoilt = spoilt
        self._last = "" if last is None else last.stamp

    def add(self, problem: Problem) -> None:
        """Count a problem; blobs that the source of an earlier restore point lacked are none."""
        if problem.told and self._last not in problem.points:
            self.lacking += 1
            return
        self._spoilt.add(problem)
        self.problems += 1
        self.is_damaged = self.is_damaged or not problem.told

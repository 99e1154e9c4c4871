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
    """How deep to look, and at what.

    *when* names one restore point (None: all).  *share* is how much of the files is read
    (None: all of them); names are always compared.
    """

    depth: Depth = Depth.CHECKSUMS
    when: When | None = None
    share: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of one source: how many restore points were looked at, how many problems.

    *newest* is the stamp of the newest restore point that a problem concerns, None if one
    concerns something else, or there are none.  What an earlier restore point than the newest
    lacks, since its source did, is no problem: *lacking* says how often that was found.
    *is_damaged*: something is not as it was stored.
    """

    source: Source
    points: int
    problems: int
    newest: str | None = None
    lacking: int = 0
    is_damaged: bool = False


def verify(run: Run, order: VerifyOrder, tell: Tell) -> list[Verified]:
    """Look at each source's restore points; *tell* is told each problem as it is found.

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
        logger.warning("what another run changes just now may look like a problem: %s", holder)
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
    """Counts what is found; *last* is the newest of the restore points that are looked at."""

    def __init__(self, spoilt: Spoilt, last: RestorePoint | None) -> None:
        self.problems = self.lacking = 0
        self.is_damaged = False
        self._spoilt = spoilt
        self._last = "" if last is None else last.stamp

    def add(self, problem: Problem) -> None:
        """Count a problem; what an earlier restore point says of itself is none."""
        if problem.told and self._last not in problem.points:
            self.lacking += 1
            return
        self._spoilt.add(problem)
        self.problems += 1
        self.is_damaged = self.is_damaged or not problem.told

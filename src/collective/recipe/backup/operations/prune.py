"""Prune: restore points that no rule keeps are removed, after the reason for each was shown."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from collective.recipe.backup import restored, retention
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import BackupError, IntegrityError, StoreRefused
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint, Source
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.clockdoubts import warn_of, witnesses
from collective.recipe.backup.operations.damagememory import FORGOTTEN, warn_of_forgotten
from collective.recipe.backup.operations.hooks import hooks_around, let_in
from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The plan for the restore points of one source."""

    source: Source  # the storage
    plan: retention.Plan  # what happens to each restore point, and why


def plan(run: Run, *, certain: bool = False) -> list[Pruned]:
    """Return what prune would do now.  Changes nothing."""
    with run.opened() as destinations:
        missingdisk.warn(run)
        return [
            Pruned(source=each.source, plan=_planned(run, each, certain=certain))
            for each in destinations
        ]


def prune(run: Run, *, certain: bool = False, yes: bool = False) -> list[Pruned]:
    """Remove restore points that no rule keeps; return what happened to each.

    *certain*: the user says that the clock is right; *yes*: also that many may go at once.  Raises
    BackupError, after it has gone over all sources, if too many would go without a yes.
    """
    with (
        let_in(run),
        hooks_around(run) as account,
        run.opened() as destinations,
        ExitStack() as locks,
    ):
        missingdisk.warn(run)
        for destination in destinations:
            if destination.home.is_there():
                locks.enter_context(destination.home.locked(run.holder))
                destination.claim()
                sweep(destination)
        refusals: list[str] = []
        pruned = [
            Pruned(
                source=each.source,
                plan=prune_one(run, each, refusals.append, certain=certain, yes=yes),
            )
            for each in destinations
        ]
        if refusals:
            raise BackupError(
                refusals[0],
                hint="is the clock right, and is the retention policy meant so?  If it is, say "
                "--yes; --dry-run shows what would go",
            )
        removed = [made for each in pruned for made in each.plan.decisions if not made.kept]
        account.numbers = {"removed": len(removed)}
    return pruned


def sweep(destination: Destination) -> None:
    """Finish what runs that died have left in *destination*, which is locked; say so."""
    for sentence in destination.sweep():
        logger.warning("%s", sentence)


def prune_one(
    run: Run,
    destination: Destination,
    refused: Callable[[str], object],
    *,
    certain: bool = False,
    yes: bool = False,
) -> retention.Plan:
    """Remove the restore points of *destination*, which is locked, that no rule keeps.

    *refused* is called with the reason if nothing goes because it is too much at once.
    """
    planned = _planned(run, destination, certain=certain)
    if planned.removed:
        chains = ", ".join(dict.fromkeys(point.chain for point in planned.removed))
        try:
            refusal = destination.remove(planned.removed, certain=yes)
        except StoreRefused as error:
            raise StoreRefused(
                f"no rule keeps {chains} any longer, but that stays: {error.what}",
                where=error.where,
                hint=error.hint,
            ) from error
        if refusal:
            refused(refusal)
            return planned
        logger.info("removed restore points that no rule keeps: %s", chains)
    return planned


def warn_of_refusal(run: Run, refusal: str) -> None:
    """Warn that old restore points stay because too many of them would go, once in a process."""
    if refusal in run.told:
        return
    run.told.add(refusal)
    place = f" --from {run.name}" if len(run.beside) > 1 else ""
    logger.warning(
        "%s; is the clock right, and is the retention policy meant so?  If it is, say prune%s "
        "--yes",
        refusal,
        place,
    )


def _planned(run: Run, destination: Destination, *, certain: bool) -> retention.Plan:
    points = destination.restore_points()
    planned = retention.plan(
        points,
        run.policy,
        run.now,
        spared=_spared(run, destination, points),
        witnesses=None if certain else witnesses(run),
    )
    if planned.withheld:
        warn_of(run, planned.doubt)
    return planned


def _spared(run: Run, destination: Destination, points: Sequence[RestorePoint]) -> dict[str, str]:
    """Return the chains that stay whatever the policy says, each with the reason.

    The last restore may have come from one, and no backup followed it.
    """
    if any(point.forgotten for point in points):
        warn_of_forgotten(run, points)
        return {point.chain: FORGOTTEN for point in points}
    try:
        noted = restored.read(Path(os.path.realpath(destination.source.filestorage)))
    except IntegrityError as error:
        logger.warning("%s: nothing is removed (%s)", error, error.hint)
        return {point.chain: "what the last restore noted cannot be read" for point in points}
    newest = max(
        (point for point in points if point.tid), key=lambda point: point.age, default=None
    )
    here = destination.home.identity
    if noted is None or newest is None or (noted.directory, noted.newest) != (here, newest.stamp):
        return {}
    return {noted.chain: "the last restore came from it, and no backup was made since"}

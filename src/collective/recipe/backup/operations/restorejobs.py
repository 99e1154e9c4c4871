"""The jobs of a restore, one for each source, all checked before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from collective.recipe.backup.blobs.marker import refuse_cache
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import (
    NoRestorePoint,
    UsageError,
)
from collective.recipe.backup.model import (
    Source,
)
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.brokenoff import (
    Earlier,
    chosen_of,
    earlier,
    mixture_of,
)
from collective.recipe.backup.operations.choosing import choice_of, warn_of_later
from collective.recipe.backup.operations.damagememory import warn_of_forgotten
from collective.recipe.backup.operations.restoreorder import Job, RestoreOrder
from collective.recipe.backup.operations.restoreroom import check_restore_room
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.targets import (
    journal_of,
)
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.times import stamp

logger = logging.getLogger("backup")


def jobs_of(
    run: Run,
    order: RestoreOrder,
    destinations: Sequence[Destination],
    targets: Sequence[Source],
    locks: ExitStack | None,
) -> list[Job]:
    """Return what to do, all of it checked; the destinations are locked where they can be."""
    if isinstance(order.when, datetime) and order.when > run.now:
        logger.warning("%s is in the future: the newest state is meant", stamp(order.when))
    jobs = []
    for destination, target in zip(destinations, targets, strict=True):
        if locks is not None and destination.home.may_be_locked():
            locks.enter_context(destination.home.locked(run.holder))
        points = destination.restore_points()
        warn_of_forgotten(run, points)
        try:
            choice = choice_of(run, destination, order.when, points)
        except NoRestorePoint as error:
            missingdisk.warn(run)
            error.where = error.where or destination.home.label
            raise
        if order.blobstorage and target.blobstorage and choice.point.blobs is None:
            raise _without_blobs(choice)
        warn_of_later(choice, order.when, destination.source.filestorage)
        newer = [] if order.when else [each for each in points if each.age > choice.point.age]
        jobs.append(
            Job(
                destination=destination,
                choice=choice,
                target=target,
                when=order.when,
                points=points,
                newer=newer,
            )
        )
    before = earlier(run, journal_of(targets), chosen_of(jobs, order), mixture_of(order))
    is_there = before is Earlier.SAME
    for job in jobs if order.filestorage and not is_there else ():
        check_restore_room(job.target.filestorage, job.choice.point)
    return jobs


def of_what_there_is(run: Run, order: RestoreOrder) -> RestoreOrder:
    """Return *order* without the filestorage if only blobs are backed up."""
    if not run.config.options.only_blobs:
        return order
    if not order.blobstorage:
        raise UsageError(
            "there is no filestorage in these backups, since only_blobs is set",
            hint="leave --only-filestorage out",
        )
    return replace(order, filestorage=False)


def come_with_pre_command(run: Run, destinations: Sequence[Destination]) -> bool:
    """Tell whether there are no backups yet, and a pre_command that may mount their disk."""
    if not run.config.options.pre_command:
        return False
    return not any(destination.restore_points() for destination in destinations)


def _without_blobs(choice: Choice) -> NoRestorePoint:
    return NoRestorePoint(
        "this restore point was made when blobs were not backed up",
        where=choice.point.stamp,
        hint="--only-filestorage restores it, and leaves the blobs as they are",
    )


def refuse_caches(targets: Sequence[Source], order: RestoreOrder) -> None:
    """Refuse to put blobs where a ZEO client keeps its cache of them."""
    for target in targets if order.blobstorage else ():
        if target.blobstorage is not None:
            refuse_cache(target.blobstorage)

"""Several restores carried out as one: all are staged and verified, then put in place.

The caller holds the locks, and has finished or taken back an earlier restore that was broken off.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup import restored
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.operations.announcing import described, passed_over
from collective.recipe.backup.operations.brokenoff import chosen_of, mixture_of
from collective.recipe.backup.operations.choosing import alternative_named
from collective.recipe.backup.operations.hooks import Account
from collective.recipe.backup.operations.restorenote import restored_of
from collective.recipe.backup.operations.restoreorder import Job, RestoreOrder
from collective.recipe.backup.operations.restoreroom import check_room_of_files
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.targets import journal_of
from collective.recipe.backup.restoring import swap
from collective.recipe.backup.restoring.moves import Move
from collective.recipe.backup.restoring.placedfiles import check_no_files, place_files
from collective.recipe.backup.restoring.placing import RestorePlace, place_for
from collective.recipe.backup.times import monotonic

if TYPE_CHECKING:
    from collective.recipe.backup.restoring.remembered import Remembered

logger = logging.getLogger("backup")


def carry_out(
    run: Run,
    order: RestoreOrder,
    jobs: Sequence[Job],
    account: Account,
    remembered: Mapping[str, Remembered] | None = None,
) -> None:
    """Stage all sources, then put all of them in place.

    *remembered* has the facts about the live data, by the name of the storage; None: there are
    none.  A caller that has them runs nothing else around the restore, which ends with this.
    """
    known = remembered or {}
    began = monotonic()
    journal = journal_of([job.target for job in jobs])
    places = [
        place_for(
            job.target,
            run.files,
            filestorage=order.filestorage,
            blobstorage=order.blobstorage,
            all_blobs=order.all_blobs,
            remembered=known.get(job.target.name),
        )
        for job in jobs
    ]
    moves: list[Move] = []
    with _nothing_left_of(places, journal, run):
        for job, place in zip(jobs, places, strict=True):
            with alternative_named(run, job.destination, job.choice, job.points):
                moves += _stage(run, job, place, order)
        staged = monotonic()
        account.phases["stage"] = staged - began
        chosen = chosen_of(jobs, order) if remembered is None else None
        swap.swap(journal, moves, run.files, chosen=chosen, mixture=mixture_of(order))
    account.phases["swap"] = monotonic() - staged
    keeps = {move.live: move.keep for move in moves}
    for place in places:
        if place.remembered is not None and place.filestorage in keeps:
            place.remembered.left(keeps[place.filestorage])


@contextmanager
def _nothing_left_of(places: Sequence[RestorePlace], journal: Path, run: Run) -> Iterator[None]:
    """Remove the staged files if the body fails: the disk may be full of them.

    Once live data has begun to change, they are needed to finish that.
    """
    try:
        yield
    except BaseException:
        with suppress(BackupError):
            if not swap.is_pending(journal):
                for place in places:
                    place.discard(run.files)
        raise


def _stage(run: Run, job: Job, place: RestorePlace, order: RestoreOrder) -> list[Move]:
    """Write and verify one source beside the live one; return the moves that make it live.

    Further files are only written to another place: the live ones belong to the administrator.
    """
    storage = "" if job.target.name == MAIN else f" of storage {job.target.name}"
    logger.info("restoring %s%s", described(job.choice, job.when), storage)
    for problem in passed_over(job):
        logger.warning("%s", problem)
    with job.destination.open(job.choice) as state:
        is_whole = order.filestorage and order.blobstorage
        further = state.files if order.to and order.further and is_whole else None
        if order.to is not None and further is not None:
            check_no_files(order.to)
            check_room_of_files(order.to, further.size)
        staged = place.stage(state, run.files, run.progress)
        if order.to is not None and further is not None:
            place_files(further, order.to, run.files, run.progress)
    if order.to is None and staged.log is not None:
        note = restored_of(run, job.destination, job.choice, job.points, staged.log.tid)
        restored.write(place.filestorage, note, run.files)
    return place.moves(staged, job.choice.point, run.files)

"""Objects that were there at a moment and are not there later: when they went, and by whom.

Changes nothing, and runs no code of the stored objects.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import MAIN, Oid
from collective.recipe.backup.objects.comparison import Comparison, GoneObject
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.operations.blobsizes import BlobAmount, BlobSizes, BlobTally
from collective.recipe.backup.operations.objects import opened_objects
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.times import LAST_TID, Tid, When, tid_at

logger = logging.getLogger("backup")


@dataclass(frozen=True, kw_only=True)
class TwoMoments:
    """Two states of a storage to compare."""

    before: When | None  # None: the newest backup
    after: When | None  # None: the newest backup; see live
    live: bool  # the later state is that of the live site
    storage: str = MAIN  # name of the storage
    path: str = "/"  # only what is there or below is told


class Deleted(NamedTuple):
    """An object that is gone or moved, with all that went with it."""

    gone: GoneObject  # the uppermost object
    objects: int  # that went with it, itself included; of what has moved 0
    size: int  # bytes of their data
    blobs: BlobAmount  # of these objects


class Compared(NamedTuple):
    """Two moments side by side."""

    comparison: Comparison  # of their objects
    sizes: BlobSizes  # tells those of the blobs of the earlier one


@contextmanager
def compared(run: Run, moments: TwoMoments) -> Iterator[Compared]:
    """Yield what the storage was and has become.

    Raises UsageError if the later moment is the earlier one, and as ``opened_objects`` does.
    """
    before, after = moments.before, moments.after
    if before is not None and _tid(before) > _tid(after):
        raise UsageError("the later moment is earlier than the other", hint="exchange them")
    with (
        opened_objects(run, before, moments.storage) as first,
        opened_objects(
            run, after, moments.storage, live=moments.live, earlier=first.objects
        ) as second,
    ):
        comparison = Comparison(first.objects, second.objects)
        unreadable = comparison.before.unreadable + comparison.after.unreadable
        if unreadable:
            logger.warning(
                "%s cannot be read: what only they lead to is not told",
                number_of(unreadable, "object"),
            )
        yield Compared(comparison, first.sizes)


def deleted(compared: Compared, path: str) -> list[Deleted]:
    """Return the objects that are gone from *path* or below, in the order in which they went."""
    objects = compared.comparison.before.objects
    losses = list(compared.comparison.losses(path))
    tally = BlobTally(compared.sizes, len(losses))
    sizes = [_size(objects, loss.oids, number, tally) for number, loss in enumerate(losses)]
    found = [
        Deleted(loss.gone, len(loss.oids), size, blobs)
        for loss, size, blobs in zip(losses, sizes, tally.amounts(), strict=True)
    ]
    found += [Deleted(gone, 0, 0, BlobAmount()) for gone in compared.comparison.moves(path)]
    return sorted(found, key=_order)


def _tid(when: When | None) -> Tid:
    if when is None:
        return LAST_TID
    return tid_at(when) if isinstance(when, datetime) else when


def _size(objects: Objects, oids: list[Oid], owner: int, tally: BlobTally) -> int:
    """Return the bytes of the data of *oids*; their blobs count for the *owner*."""
    size = 0
    for held in filter(None, map(objects.load, objects.in_order(oids))):
        size += held.size
        tally.add(owner, held)
    return size


def _order(each: Deleted) -> tuple[bytes, str]:
    departure = each.gone.departure
    return departure.tid if departure else b"", each.gone.path

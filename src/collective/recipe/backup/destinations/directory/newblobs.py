"""The blobs that a backup adds: all that the log names, or only the new ones.

New are the blobs of the records since the restore point before, and those that it lacked.  A style
decides how they are stored; see the rooms of ``blobstyles``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.blobs.holdings import Holding
from collective.recipe.backup.blobs.holdings.archiveholdings import Archived
from collective.recipe.backup.blobs.layout import blobs_in
from collective.recipe.backup.destinations.directory.blobstyles import WantedBlobs
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.times import LAST_TID, ZERO_TID

if TYPE_CHECKING:
    from collective.recipe.backup.repozo.backuporder import Taken


def wanted_of(
    log: TransactionLog, taken: Taken, before: Manifest | None, there: Holding | None
) -> WantedBlobs:
    """Return what a backup adds: the blobs that records of *log* up to the end of *taken* name.

    *before* is the newest restore point of the chain, *there* holds its blobs (None: there are
    none that can be built on, and all are new).
    """
    named = partial(blobs_between, log, MAGIC_SIZE, taken.end)
    new: Callable[[], Iterable[BlobId]] = named
    if before and there:
        if before.lost == len(before.missing):
            new = partial(_since, before, log, taken.end)
        else:  # there are more than it names
            new = partial(_lacking, there, named)
    return WantedBlobs(
        stamp=taken.stamp,
        until=taken.tid or ZERO_TID,
        before=there.name if there else None,
        named=named,
        new=new,
        scan=bool(before and before.left_out),
        differing=before.differing if before else (),
        others=before.others if before else "",
    )


def wanted_of_all(source: Path, stamp: str, before: Archived | None) -> WantedBlobs:
    """Return what a backup without a log adds: all blobs of *source* that *before* lacks."""
    named = partial(blobs_in, source)
    wanted = partial(WantedBlobs, stamp=stamp, until=LAST_TID, named=named, others=None)
    if before is None:
        return wanted()
    return wanted(before=before.name, new=partial(_lacking, before, named))


def blobs_between(log: TransactionLog, start: int, stop: int) -> Iterator[BlobId]:
    """Yield the blobs that the records between two boundaries name."""
    from collective.recipe.backup.filestorage.blobrecords import blobs

    return blobs(log, start, stop)


def _since(before: Manifest, log: TransactionLog, end: int) -> Iterator[BlobId]:
    """Yield the blobs that *before* lacks, and those of the records after it."""
    return chain(before.missing, blobs_between(log, before.end, end))


def _lacking(holding: Holding, named: Callable[[], Iterable[BlobId]]) -> Iterator[BlobId]:
    return holding.lacking(named())

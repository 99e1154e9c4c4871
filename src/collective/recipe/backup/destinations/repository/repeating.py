"""An earlier backup is computed again from the live log, to make its lost lists anew.

The lists of a restore point are nodes: the spans of its log, the pages of its blobs.  No copy of
the site has those.  But if a log still has the transactions of that time, equal steps give equal
nodes: from the restore point before it, as at that time, or from nothing, as for the first one.
Nothing is stored here, and ``heal`` compares the results with the ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from collective.recipe.backup.destinations.repository.blobpages import BlobList
from collective.recipe.backup.destinations.repository.blobs import listed_blobs
from collective.recipe.backup.destinations.repository.logchunks import NewChunks, UnusableError
from collective.recipe.backup.destinations.repository.logs import captured_log, log_state
from collective.recipe.backup.destinations.repository.newfiles import BlobSource
from collective.recipe.backup.destinations.repository.pointblobs import blob_list
from collective.recipe.backup.destinations.repository.sinks import LostNodes
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments import Keys, LogState, Target, capture
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.times import ZERO_TID, Tid


@dataclass(frozen=True)
class _Basis:
    """An earlier restore point on which a backup may have built."""

    state: LogState | None  # of the log of the restore point before it; None: of none
    blobs: BlobList | None  # of that; None: of none
    grown: bool  # whether it knew that the filestorage had only grown since


def repeated(
    repository: Repository,
    point: Point,
    before: Point | None,
    lost: Collection[ChunkId],
    site: tuple[Log, BlobSource | None],
) -> Iterator[tuple[int, bytes]]:
    """Yield kind and bytes of nodes of *point* that are among *lost*.

    *before* is the restore point that it followed, None if that is gone.  *site* has its log as
    it is now, and its blobs, None if only the log is known.  Raises BackupError or OSError where
    it cannot be read.
    """
    log, source = site
    end = log.cut(Tid(bytes.fromhex(point.tid)) if point.tid else ZERO_TID)
    for basis in _bases(repository, before):
        sink = LostNodes(repository.keyring, lost)
        chunks = NewChunks(ChunkReader(repository), sink)
        target = Target(chunks=chunks, keys=Keys(repository.keyring.master))
        with suppress(UnusableError, IntegrityError):
            captured = capture(log, end, target, basis.state, grown=basis.grown)
            kept = chunks, basis.state if basis.grown else None
            new = captured_log(log, end, captured, kept)
            if source is not None:
                blobs = basis.blobs or BlobList(layout=source.layout)
                listed_blobs(log, new, blobs, source, sink)
        yield from sink.found.values()
        if sink.found:
            return


def _bases(repository: Repository, before: Point | None) -> Iterable[_Basis]:
    if before is not None:
        with suppress(IntegrityError):
            state, blobs = log_state(repository, before), blob_list(repository, before)
            yield _Basis(state, blobs, grown=True)
            yield _Basis(state, blobs, grown=False)
    yield _Basis(None, None, grown=False)

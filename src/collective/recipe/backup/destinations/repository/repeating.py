"""A backup that was made once is repeated in thought, to know again how it wrote its lists.

What a restore point consists of stands in nodes: the spans of its log, the pages of its blobs.
No copy of the site has those.  But where a log still has what it had then, the same steps give
the same nodes: from the restore point before it, as in those days, or from nothing, as the
first one.  Nothing is stored here, and what comes out is compared with the ids by ``heal``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from collective.recipe.backup.destinations.repository.blobpages import BlobList
from collective.recipe.backup.destinations.repository.blobs import blob_list, listed_blobs
from collective.recipe.backup.destinations.repository.logchunks import NewChunks, UnusableError
from collective.recipe.backup.destinations.repository.logs import captured_log, log_state
from collective.recipe.backup.destinations.repository.newfiles import BlobSource
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
    """What a backup may have begun with."""

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

"""The bundles that a restore of a moment reads, and that lie in cold storage.

A moment between two restore points needs only a part of the later one: of its filestorage the spans
up to the first later transaction, of its blobs those that are there by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collective.recipe.backup.destinations.repository.blobpages import PIECE, read_pieces
from collective.recipe.backup.destinations.repository.logchunks import StoredChunks
from collective.recipe.backup.destinations.repository.logs import log_state
from collective.recipe.backup.destinations.repository.pointblobs import stored_blobs
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.filestorage import window
from collective.recipe.backup.filestorage.segments import Chunks, Linked, LogState
from collective.recipe.backup.repository.chunks import ChunkId, is_node
from collective.recipe.backup.repository.coldness import cold_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.places import ChunkPlace
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reaching import Reached, reach
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.stores import StoredObject
from collective.recipe.backup.times import LAST_TID, Tid


def cold_objects(repository: Repository, point: Point, until: Tid | None) -> Sequence[StoredObject]:
    """Return the objects to be asked for before *point* can be restored up to *until*, by name.

    *until* is a transaction; None: the last one. All nodes on the way are read, and one byte of
    each bundle.
    """
    if not repository.store.promises.cold:
        return ()
    bundles: set[bytes] = set()

    def see(_chunk: ChunkId, places: Sequence[ChunkPlace]) -> None:
        if not is_node(places[0].kind):  # nodes lie in bundles of their own, which are not cold
            bundles.add(places[0].bundle)

    for chunk, places in repository.index.of(_leaves(repository, point, until)):
        see(chunk, places)
    parts = contents_of(point)
    foreign = None if parts.blobs is None else parts.blobs.foreign
    files = None if parts.files is None else parts.files.root
    whole = [each for each in (foreign, files) if each is not None]
    reached = Reached()
    try:
        reach(repository, whole, reached, see)
    finally:
        reached.close()
    return cold_bundles(repository, bundles)


def _leaves(repository: Repository, point: Point, until: Tid | None) -> Iterator[ChunkId]:
    """Yield the chunks with the bytes of filestorage and blobs; one may come several times."""
    reader = ChunkReader(repository)
    state = log_state(repository, point)
    if state is not None:
        yield from _pieces_of_log(state, until or LAST_TID, StoredChunks(reader))
    blobs = stored_blobs(repository, point, until)
    for _blob, file in () if blobs is None else blobs.files():
        if file.size <= PIECE:
            yield from map(ChunkId, file.chunks)
            continue
        for node in reader.nodes(map(ChunkId, file.chunks)):
            yield from map(ChunkId, read_pieces(Linked(node.refs, node.payload)))


def _pieces_of_log(state: LogState, until: Tid, chunks: Chunks) -> Iterator[ChunkId]:
    """Yield the pieces of segments that are read up to the first transaction later than *until*."""
    left: int | None = None  # bytes that may be read behind that; None: it comes later
    for span in state.all_spans(chunks):
        if left is not None and left <= 0:
            return
        extents = [*span.segment.extents(span.begin, span.end - span.begin)]
        for loan in span.loans:
            if loan.size:
                extents += span.lenders[loan.lender].extents(loan.offset, loan.size)
        yield from (ChunkId(each) for each in dict.fromkeys(extent.name for extent in extents))
        if left is not None:
            left -= span.size
        elif span.last > until:
            left = window.SIZE

"""The copies of blobs in an earlier restore point, for blobs that are missing or changed now.

A blob never changes.  If the site lacks one now, or has other bytes, its earlier copy is taken
over, provided that all of it is still stored.
"""

from __future__ import annotations

from collective.recipe.backup.destinations.repository.blobpages import PIECE, BlobFile, read_pieces
from collective.recipe.backup.destinations.repository.pagedblobs import PagedBlobs
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter


class EarlierBlobs:
    """The blobs *found* in a restore point that *writer* may build on; see ``build_on``."""

    def __init__(self, found: PagedBlobs, reader: ChunkReader, writer: ChunkWriter) -> None:
        self._found = found
        self._reader = reader
        self._writer = writer

    def file(self, blob: BlobId) -> BlobFile | None:
        """Return the file of *blob*; None: there is none, or its chunks are damaged."""
        try:
            return self._found.file(blob)
        except IntegrityError:
            return None

    def is_stored(self, file: BlobFile) -> bool:
        """Tell whether all chunks of *file* are stored, as far as is known."""
        needed = set(map(ChunkId, file.chunks))
        try:
            for name in file.chunks if file.size > PIECE else ():
                node = self._reader.node(ChunkId(name))
                needed.update(map(ChunkId, read_pieces(Linked(node.refs, node.payload))))
        except IntegrityError:
            return False
        return self._writer.known(needed) == needed

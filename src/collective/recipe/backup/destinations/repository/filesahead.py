"""Files of a repository with their bytes, read ahead over all of them.

Files lie beside each other in the store, and so do the nodes that name the pieces of large
ones.  So it pays to ask for them without an end after each page: a restore then finds the
next files there, however far away the store is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from collective.recipe.backup.destinations.repository.blobpages import (
    PIECE,
    BlobFile,
    BlobPage,
    PagedBlob,
    read_page,
    read_pieces,
)
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.reading import ChunkReader


class FileAt(NamedTuple):
    """A file that is not empty, and its place."""

    path: str  # relative to where it is written
    file: BlobFile  # its size and its chunks


def pages_ahead(
    pages: Sequence[BlobPage], reader: ChunkReader
) -> Iterator[tuple[BlobPage, list[PagedBlob]]]:
    """Yield *pages*, each with the blobs in it.  Raises IntegrityError."""
    nodes = reader.nodes(ChunkId(page.name) for page in pages)
    for page, node in zip(pages, nodes, strict=True):
        yield page, read_page(page, Linked(node.refs, node.payload))


def files_ahead(
    groups: Iterable[Sequence[FileAt]], reader: ChunkReader
) -> Iterator[tuple[FileAt, Iterator[bytes]]]:
    """Yield each file of *groups* with its pieces, to be taken before the next file is.

    A group is asked for before the files of earlier ones are written, and even between two
    pieces of one.  Raises IntegrityError for what is missing or damaged.
    """
    owners: deque[FileAt] = deque()  # of the pieces that were asked for
    found = reader.each(_pieces(groups, reader, owners))
    owned = ((owners.popleft(), data) for _chunk, data in found)
    for owner, pieces in groupby(owned, key=itemgetter(0)):
        yield owner, (data for _owner, data in pieces)


def _pieces(
    groups: Iterable[Sequence[FileAt]], reader: ChunkReader, owners: deque[FileAt]
) -> Iterator[ChunkId]:
    """Yield the chunks with the bytes of all files; note the owner of each."""
    for group in groups:
        large = [each.file for each in group if each.file.size > PIECE]
        nodes = reader.nodes(ChunkId(name) for file in large for name in file.chunks)
        for each in group:
            for name in each.file.chunks:
                names: Iterable[bytes] = [name]
                if each.file.size > PIECE:
                    node = next(nodes)
                    names = read_pieces(Linked(node.refs, node.payload))
                for piece in names:
                    owners.append(each)
                    yield ChunkId(piece)

"""The blobs of a restore point, read: their list, its pages, and the files that they name."""

from __future__ import annotations

from collective.recipe.backup.destinations.repository.blobpages import (
    BlobList,
    BlobPage,
    PagedBlob,
    read_list,
    read_page,
)
from collective.recipe.backup.destinations.repository.blobsandforeign import BlobsAndForeign
from collective.recipe.backup.destinations.repository.foreignfiles import foreign_list
from collective.recipe.backup.destinations.repository.pagedblobs import PagedBlobs
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.times import LAST_TID, Tid


def blob_list(repository: Repository, point: Point) -> BlobList | None:
    """Return the list of the blobs of *point*; None: it has none.  Raises IntegrityError."""
    part = contents_of(point).blobs
    if part is None:
        return None
    node = ChunkReader(repository).node(part.root)
    return read_list(Linked(node.refs, node.payload))


def blobs_of(page: BlobPage, reader: ChunkReader) -> list[PagedBlob]:
    """Return all blobs of a page.  Raises IntegrityError."""
    node = reader.node(ChunkId(page.name))
    return read_page(page, Linked(node.refs, node.payload))


def flaw_of_page(page: BlobPage, reader: ChunkReader) -> IntegrityError | None:
    """Return why no restore can read *page*, None if it can be read."""
    try:
        blobs_of(page, reader)
    except IntegrityError as error:
        return error
    return None


def stored_blobs(repository: Repository, point: Point, until: Tid | None) -> PagedBlobs | None:
    """Return the blobs of *point* up to the transaction *until*; None: it has none.

    Other files of the blobstorage come with them, if they were backed up.  Raises IntegrityError.
    """
    part, found = contents_of(point).blobs, blob_list(repository, point)
    if part is None or found is None:
        return None
    until, reader = LAST_TID if until is None else until, ChunkReader(repository)
    if part.foreign is None:
        return PagedBlobs(found, until, reader)
    return BlobsAndForeign(found, until, reader, foreign_list(reader, part.foreign))

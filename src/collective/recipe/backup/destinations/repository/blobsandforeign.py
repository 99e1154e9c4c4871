"""The blobs of a restore point with the foreign files among them: see StoredBlobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from heapq import merge
from itertools import islice

from blake3 import blake3

from collective.recipe.backup.blobs.layout import Kind, order
from collective.recipe.backup.blobs.storedblobs import StoredContents, StoredFile
from collective.recipe.backup.destinations.repository.blobpages import BlobList
from collective.recipe.backup.destinations.repository.blobwriting import BlobWriting
from collective.recipe.backup.destinations.repository.filesahead import FileAt
from collective.recipe.backup.destinations.repository.foreignfiles import foreign_entries
from collective.recipe.backup.destinations.repository.foreignpages import (
    ForeignEntry,
    ForeignList,
)
from collective.recipe.backup.destinations.repository.pagedblobs import PagedBlobs
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.times import Tid

_TOGETHER = 256
"""Entries that are looked at together."""


class BlobsAndForeign(PagedBlobs):
    """The blobs of *found* up to the transaction *until*, and all of *foreign*."""

    def __init__(
        self, found: BlobList, until: Tid, reader: ChunkReader, foreign: ForeignList
    ) -> None:
        super().__init__(found, until, reader)
        self._foreign = foreign

    def count(self) -> int:
        """Return how many there are; see StoredBlobs."""
        return super().count() + self._foreign.count

    def listed(self) -> Iterator[StoredFile]:
        """Yield what there is, in the order of a walk; see StoredBlobs."""
        foreign = map(_stored, self._entries())
        return merge(super().listed(), foreign, key=lambda file: order(file.path))

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield the wanted files, the blobs first; see StoredBlobs."""
        yield from super().contents(wanted)
        for each in self._entries():
            if wanted(each.path):
                yield StoredContents(_stored(each), self._bytes_of(each))

    def _bytes_of(self, each: ForeignEntry) -> Iterator[bytes]:
        if each.file is not None:
            return self.pieces_of(each.file)
        return iter([each.text] if each.text else [])

    def _coming_foreign(
        self, paths: Collection[str] | None, writing: BlobWriting
    ) -> Iterator[list[FileAt]]:
        some = None if paths is None else frozenset(paths)
        entries = (each for each in self._entries() if some is None or each.path in some)
        while group := list(islice(entries, _TOGETHER)):
            coming = []
            for each in group:
                if each.kind is Kind.DIRECTORY:
                    writing.make_directory(each.path, each.mode)
                elif each.file is None:
                    writing.write_link(each.path, os.fsdecode(each.text), each.time)
                elif not writing.needs_no_bytes(each.path, each.file):
                    coming.append(FileAt(each.path, each.file))
            yield coming

    def _entries(self) -> Iterator[ForeignEntry]:
        return foreign_entries(self._reader, self._foreign)


def _stored(each: ForeignEntry) -> StoredFile:
    digest = each.file.digest.hex() if each.file else None
    if each.kind is Kind.LINK:
        digest = blake3(each.text).hexdigest()
    return StoredFile(each.path, each.kind, each.size, each.time, digest)

"""Each blob of a moment as a file that can be opened by its path.

A blob that the backup has as a file is that file.  Otherwise it is copied into a private cache,
which has a limit; blobs that were asked for least recently are removed first.  Either way all of it
is compared with its digest before the path is given for the first time.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from collective.recipe.backup.blobs.storedblobs import StoredBlobs
from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId

_PIECE = 1 << 20
_KEPT = 16
"""Files that stay in any case: one that was asked for may not have been opened yet."""
_PROVED = 100_000
"""Blobs of which it is known that they were compared, some 200 bytes for each."""
_READ_ONLY = 0o400


class MomentBlobs:
    """The files of *blobs*.  It is for one thread at a time."""

    def __init__(self, blobs: StoredBlobs, directory: Path, files: Files, limit: int) -> None:
        """Copy *limit* bytes into *directory* at most, where nothing else lies."""
        self._blobs = blobs
        self._directory = directory
        self._files = files
        self._limit = limit
        self._copies: OrderedDict[BlobId, int] = OrderedDict()  # sizes, the least recent first
        self._size = 0  # bytes of all copies
        self._proved: OrderedDict[BlobId, Path] = OrderedDict()

    def path(self, blob: BlobId) -> Path:
        """Return the file that *blob* is, which nothing may change.

        Raises KeyError if it is none of these, and IntegrityError if it is missing or damaged.
        """
        if blob in self._copies:
            self._copies.move_to_end(blob)
            return self._copy_of(blob)
        found = self._proved.get(blob)
        if found is not None and found.exists():
            return found
        found = self._blobs.file_of(blob)
        if found is None:
            return self._copied(blob)
        with self._blobs.open(blob) as file:
            while file.read(_PIECE):
                pass  # at its end it is compared
        self._proved[blob] = found
        if len(self._proved) > _PROVED:
            self._proved.popitem(last=False)
        return found

    def _copy_of(self, blob: BlobId) -> Path:
        return self._directory / f"{blob.oid.hex()}.{blob.tid.hex()}.blob"

    def _copied(self, blob: BlobId) -> Path:
        target = self._copy_of(blob)
        with (
            self._blobs.open(blob) as file,
            explained("cannot write to the cache", target),
            self._files.writing(target, _READ_ONLY) as writer,
        ):
            while piece := file.read(_PIECE):
                writer.write(piece)
        self._copies[blob] = writer.size
        self._size += writer.size
        while self._size > self._limit and len(self._copies) > _KEPT:
            oldest, size = self._copies.popitem(last=False)
            self._size -= size
            with explained("cannot remove from the cache", self._directory):
                self._files.remove(self._copy_of(oldest))
        return target

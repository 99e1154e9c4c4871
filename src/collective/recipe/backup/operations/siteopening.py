"""A restored site opened as Zope would open it: by the real ZODB, every record, every blob.

ZODB is imported here alone, and only when something is opened: it is slow to start, and no
other command needs it.  The classes of the site are not needed: ZODB itself can walk a
pickle without them, which it does to find the references for a pack.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage.format import RECORD
from collective.recipe.backup.filestorage.pickles import decompressed
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.times import Tid

logger = logging.getLogger("backup")

_LARGEST = 1 << 28
"""Bytes of a record, once it is decompressed: ZODB itself would read it, whatever its size."""


@dataclass(frozen=True, kw_only=True)
class OpenedSite:
    """Numbers of what was opened.

    A blob with two records in one transaction, as Plone makes them, counts once.
    """

    objects: int  # current objects
    records: int  # records of all revisions
    blobs: int  # number
    blob_bytes: int  # bytes


def open_everything(filestorage: Path, blobstorage: Path | None, progress: Progress) -> OpenedSite:
    """Load every record and open every blob that one names.

    Raises IntegrityError that says which cannot be.
    """
    with _explained(filestorage, "the filestorage cannot be opened"), _heard():
        from ZODB.FileStorage import FileStorage

        blobs = os.fspath(blobstorage) if blobstorage else None
        storage = FileStorage(os.fspath(filestorage), read_only=True, blob_dir=blobs)
    with closing(storage), _heard():
        return _Opening(storage, has_blobs=blobstorage is not None).all(
            progress, filestorage.stat().st_size
        )


class _Opening:
    """The walk through one open storage."""

    def __init__(self, storage: Any, *, has_blobs: bool) -> None:
        from ZODB.blob import is_blob_record
        from ZODB.serialize import referencesf

        self._storage = storage
        self._has_blobs = has_blobs
        self._is_blob = is_blob_record
        self._references = referencesf
        self._records = self._blobs = self._blob_bytes = 0
        self._opened: set[BlobId] = set()
        """The blobs of one transaction."""

    def all(self, progress: Progress, size: int) -> OpenedSite:
        path = Path(self._storage.getName())
        with (
            progress.phase("opening every record", size) as advance,
            _explained(path, "the filestorage cannot be read to its end"),
            closing(self._storage.iterator()) as transactions,
        ):
            for transaction in transactions:
                self._opened.clear()
                for record in transaction:
                    self._open(record, path)
                    advance(RECORD.size + len(record.data or b""))
        return OpenedSite(
            objects=len(self._storage),
            records=self._records,
            blobs=self._blobs,
            blob_bytes=self._blob_bytes,
        )

    def _open(self, record: Any, path: Path) -> None:
        self._records += 1
        if record.data is None:
            return  # the object was removed by an undo
        blob = BlobId(Oid(record.oid), Tid(record.tid))
        with _explained(path, f"the record of {blob} cannot be loaded"):
            data = decompressed(record.data, _LARGEST)
            self._references(data)
            is_blob = self._has_blobs and self._is_blob(data)
        if is_blob and blob not in self._opened:
            self._opened.add(blob)
            with _explained(path, f"the blob of {blob} cannot be opened"):
                with open_regular(self._storage.loadBlob(record.oid, record.tid)) as file:
                    self._blob_bytes += os.fstat(file.fileno()).st_size
                self._blobs += 1


class _Hearing(logging.Handler):
    """Says as a message of ours what ZODB says to its own logger."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.info("ZODB: %s", record.getMessage())


@contextmanager
def _heard() -> Iterator[None]:
    """Drop log messages of ZODB: without a handler Python would print them."""
    theirs, hearing = logging.getLogger("ZODB"), _Hearing(logging.WARNING)
    before, theirs.propagate = theirs.propagate, False
    theirs.addHandler(hearing)
    try:
        yield
    finally:
        theirs.removeHandler(hearing)
        theirs.propagate = before


@contextmanager
def _explained(where: Path, what: str) -> Iterator[None]:
    """Turn whatever ZODB makes of damage, which may be any error, into an IntegrityError."""
    try:
        yield
    except BackupError:
        raise
    except Exception as error:
        raise IntegrityError(
            f"{what}: {type(error).__name__}: {error}",
            where=where,
            hint="verify at depth records tells whether the backup is damaged, or was the site",
        ) from error

"""Which data records of a log are blobs, decided as ZODB decides it, without ZODB.

A record is a blob's if the first of its two pickles is the class ``ZODB.blob.Blob``.  Its blob
file is named by the oid and the tid of the record.  A record with a backpointer is one if
the record that this leads to is: undoing a change of a blob copies the older blob file under
the new tid.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.model import BlobId

if TYPE_CHECKING:
    from collective.recipe.backup.filestorage.log import TransactionLog

_HEAD = 512
"""Bytes that hold the pickle of a class, compressed or not; Blob's takes 30."""

_MODULE = b"ZODB.blob"
_COMPRESSED = b".z"
_BLOB = object()
"""What stands for the class ZODB.blob.Blob."""

_NO_PICKLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
)
"""What an unpickler raises when the bytes are something else, or need more than names."""


class _Names(pickle.Unpickler):
    """Looks at names, imports none of them; so there is nothing that a pickle could run."""

    def find_class(self, module: str, name: str) -> Any:
        return _BLOB if (module, name) == ("ZODB.blob", "Blob") else None


def blobs(log: TransactionLog, start: int, stop: int) -> Iterator[BlobId]:
    """Yield what names the blob file of each blob record between two boundaries of *log*.

    In the order of the log; one may come twice, if a transaction holds it twice.
    """
    reader = RecordReader(log, _HEAD)
    for transaction in log.transactions(start, stop):
        for record, head in reader.records(transaction):
            if is_blob(head or (record.backpointer and reader.follow(record)) or b""):
                yield BlobId(record.oid, record.tid)


def is_blob(head: bytes) -> bool:
    """Tell whether data that begin with *head*, 512 bytes or all of them, are a blob record's."""
    if head[:2] == _COMPRESSED:
        head = _decompressed(head)
    if _MODULE not in head:
        return False
    try:
        return _Names(io.BytesIO(head)).load() is _BLOB
    except _NO_PICKLE:
        return False


def _decompressed(head: bytes) -> bytes:
    """Return the begin of what a wrapper like zc.zlibstorage compressed."""
    try:
        return zlib.decompressobj().decompress(head[len(_COMPRESSED) :], _HEAD)
    except zlib.error:
        # data that nobody can load, so no blob that anybody could ask for
        return b""

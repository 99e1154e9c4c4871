"""The data records of a log that are blobs, decided as ZODB decides it, without ZODB.

A record is a blob's if the first of its two pickles is the class ``ZODB.blob.Blob``.  Its blob
file is named by the oid and the tid of the record.  A record with a backpointer is one if
the record that this leads to is: undoing a change of a blob copies the older blob file under
the new tid.

A pickle is a program, and an unpickler may run it, or ask for any amount of memory if its bytes
are damaged.  All that picklers ever wrote for a class are a few forms, so they are compared
instead::

    PROTO? FRAME? GLOBAL "ZODB.blob" "Blob" memo? STOP
    PROTO? FRAME? string "ZODB.blob" memo? string "Blob" memo? STACK_GLOBAL memo? STOP
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator

from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.records import Place, RecordReader
from collective.recipe.backup.model import BlobId, Oid

HEAD = 512
"""Bytes that surely hold the pickle of a class, compressed or not; at most 60 are needed."""

MODULE = b"ZODB.blob"
NEAR = 64
"""Bytes of the data of an uncompressed blob record in which the class name begins."""
_COMPRESSED = b".z"
MARK = _COMPRESSED[0]
"""The first byte of data that are compressed: no pickle begins with it."""
_NAMES = struct.Struct("8s8s")
_BLOB = re.compile(
    rb"""
    (?: \x80 [\0-\5] )?              # PROTO
    (?: \x95 .{8} )?                 # FRAME
    (?: cZODB\.blob\nBlob\n          # GLOBAL
      | (?: \x8c\x09 | X\x09\0\0\0 ) # SHORT_BINUNICODE or BINUNICODE
        ZODB\.blob MEMO?
        (?: \x8c\x04 | X\x04\0\0\0 )
        Blob MEMO? \x93              # STACK_GLOBAL
    )
    MEMO? \.                         # STOP
    """.replace(b"MEMO", rb"(?: q. | r.{4} | p\d+\n | \x94 )"),
    re.DOTALL | re.VERBOSE,
)


def blobs(log: Log, start: int, stop: int) -> Iterator[BlobId]:
    """Yield what names the blob file of each blob record between two boundaries of *log*.

    In the order of the log; one that a transaction holds twice, as those of Plone do, comes once.
    """
    reader = RecordReader(log, HEAD)
    for transaction in log.transactions(start, stop):
        seen: set[bytes] = set()
        for place in reader.places(transaction):
            if is_blob_at(reader, transaction, place) and place[0] not in seen:
                seen.add(place[0])
                yield BlobId(place[0], place[1])


class NamedBlobs:
    """The blobs that *log* names from the boundary *since* on, noted by a reader of its records.

    They come as ``blobs`` yields them.  Each takes 16 bytes.
    """

    def __init__(self, log: Log, since: int) -> None:
        """Begin with none."""
        self.since = since
        self._log = log
        self._found = bytearray()

    def note(self, transaction: Transaction, oids: Iterable[Oid] | None) -> None:
        """Note the objects *oids* that the next transaction names.

        None: the reader does not know the records of this transaction.
        """
        if transaction.begin < self.since:
            return
        if oids is None:
            for blob in blobs(self._log, transaction.begin, transaction.end):
                self._found += blob.oid + blob.tid
            return
        for oid in dict.fromkeys(oids):
            self._found += oid + transaction.tid

    def __iter__(self) -> Iterator[BlobId]:
        """Yield them, in the order of the log."""
        for oid, tid in _NAMES.iter_unpack(self._found):
            yield BlobId(oid, tid)


def is_blob_at(reader: RecordReader, transaction: Transaction, place: Place) -> bool:
    """Tell whether a record is a blob's, at the *place* that *reader* has just given.

    *reader* reads the first HEAD bytes of the data.  Its window stays where it is.
    """
    _oid, _tid, size, data, index, _previous = place
    window = reader.window.data
    if size and window[index] != _COMPRESSED[0]:
        return _BLOB.match(window, index, index + size) is not None
    record, head = reader.at(transaction, data)
    return is_blob(head or (record.backpointer and reader.follow(record)) or b"")


def is_blob(head: bytes) -> bool:
    """Tell whether data that begin with *head*, 512 bytes or all of them, are a blob record's."""
    if head[:2] == _COMPRESSED:
        head = _decompressed(head)
    return _BLOB.match(head) is not None


def _decompressed(head: bytes) -> bytes:
    """Return the begin of data that a wrapper like zc.zlibstorage compressed."""
    try:
        return zlib.decompressobj().decompress(head[len(_COMPRESSED) :], HEAD)
    except zlib.error:
        # nobody can load such data, so nobody can ask for its blob
        return b""

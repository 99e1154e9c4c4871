"""Which data records of a log are blobs, decided as ZODB decides it, without ZODB.

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
import zlib
from collections.abc import Iterator

from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.model import BlobId

_HEAD = 512
"""Bytes that surely hold the pickle of a class, compressed or not; at most 60 are needed."""

_COMPRESSED = b".z"
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
    reader = RecordReader(log, _HEAD)
    window, match = reader.window, _BLOB.match
    for transaction in log.transactions(start, stop):
        seen: set[bytes] = set()
        for oid, tid, size, data, index, _previous in reader.places(transaction):
            # this is done for each record of a site: all but a few get no further
            if size and window.data[index] != _COMPRESSED[0]:
                found = match(window.data, index, index + size) is not None
            else:
                record, head = reader.at(transaction, data)
                found = is_blob(head or (record.backpointer and reader.follow(record)) or b"")
            if found and oid not in seen:
                seen.add(oid)
                yield BlobId(oid, tid)


def is_blob(head: bytes) -> bool:
    """Tell whether data that begin with *head*, 512 bytes or all of them, are a blob record's."""
    if head[:2] == _COMPRESSED:
        head = _decompressed(head)
    return _BLOB.match(head) is not None


def _decompressed(head: bytes) -> bytes:
    """Return the begin of what a wrapper like zc.zlibstorage compressed."""
    try:
        return zlib.decompressobj().decompress(head[len(_COMPRESSED) :], _HEAD)
    except zlib.error:
        # data that nobody can load, so no blob that anybody could ask for
        return b""

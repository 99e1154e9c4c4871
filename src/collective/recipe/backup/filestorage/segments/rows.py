"""Rows: the transactions and records of a live log, in the form in which they are compared.

The records of a transaction are *rows* of four columns, for which docs/design/selection.rst has
the reasons::

    oid        8 bytes
    size       of its data in bytes, 0 if it has a backpointer
    distance   its offset minus that of the previous record of its object, 0 if it has none
    digest     16 bytes, keyed, of its data; if its size is 0:
                   8   its offset minus its backpointer, 0 if it has none
                   8   tid of the record that holds the data which this leads to, zeros if none

No column depends on where in a file the transaction stands.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

from collective.recipe.backup.filestorage.blobrecords import HEAD, MARK, MODULE, NEAR, is_blob_at
from collective.recipe.backup.filestorage.format import (
    RECORD,
    TRANSACTION,
    Transaction,
)
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.filestorage.segments.segmentkeys import DIGEST_SIZE, Keys
from collective.recipe.backup.model import Oid
from collective.recipe.backup.times import ZERO_TID

POINTER = struct.Struct(">Q8s")
"""The digest of a record without data."""

OPAQUE = b"\0"
"""The status of a transaction that is only ever kept as it is; it has no rows."""

_STATUS = 16
_PIECE = 1 << 20
"""Bytes of data that are read at once."""


class Rows:
    """A live *transaction* and its records."""

    __slots__ = (
        "blobs",
        "digests",
        "distances",
        "oids",
        "sizes",
        "status",
        "texts",
        "texts_size",
        "transaction",
    )

    def __init__(self, transaction: Transaction) -> None:
        """Begin with no row."""
        self.transaction = transaction
        self.status = OPAQUE  # one byte, as in the log
        self.texts = bytes(DIGEST_SIZE)  # keyed digest of the three lengths and the texts
        self.texts_size = 0  # bytes of the three texts together
        self.oids = bytearray()
        self.sizes = array("Q")
        self.distances = array("Q")
        self.digests = bytearray()
        self.blobs: list[Oid] = []  # of the records of blobs, if they were asked for

    def __len__(self) -> int:
        """The number of records."""
        return len(self.sizes)

    def oid(self, number: int) -> bytes:
        """Return the oid of a record."""
        return bytes(self.oids[8 * number : 8 * number + 8])

    def digest(self, number: int) -> bytes:
        """Return the digest of a record."""
        return bytes(self.digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)])

    def back(self, number: int) -> int:
        """Return the offset of a record without data minus its backpointer, 0 if it has none."""
        distance, _tid = POINTER.unpack_from(self.digests, DIGEST_SIZE * number)
        return int(distance)

    @property
    def opaque(self) -> bool:
        """Tell whether this transaction is only ever kept as it is."""
        return self.status == OPAQUE


class RowReader:
    """Reads the transactions of a log as rows.  Best asked for in the order of the log."""

    def __init__(self, log: Log, keys: Keys, *, blobs: bool = False) -> None:
        """Digest with *keys* what *log* has; *blobs*: find the records of blobs as well."""
        self._blobs = blobs
        self._reader = RecordReader(log, HEAD)
        self._reader.window = log.window(_PIECE)
        self._keys = keys

    def rows(self, transaction: Transaction, *, odd: bool = False) -> Rows:
        """Return the rows of *transaction*.  Raises IntegrityError if it is damaged.

        It is opaque if it is *odd*, which means that its tid is not greater than all before; if an
        old undo took it back; or if a record carries another tid, or says that the previous record
        of its object follows.  ZODB opens such a log, but no rule gives the result of a pack.
        """
        rows = Rows(transaction)
        if odd or transaction.undone:
            return rows
        window, size = self._reader.window, transaction.records - transaction.begin
        index = window.at(transaction.begin, size)
        head = window.data[index + _STATUS : index + size]
        if self._add_records(rows):
            rows.status = head[:1]
            rows.texts_size = size - TRANSACTION.size
            rows.texts = self._keys.texts.copy().update(head[1:]).digest(DIGEST_SIZE)
            return rows
        return Rows(transaction)

    def _add_records(self, rows: Rows) -> bool:
        """Add a row for each record; return False if one makes the transaction opaque."""
        reader, transaction = self._reader, rows.transaction
        window, oids, digests = reader.window, rows.oids, rows.digests
        add_size, add_distance = rows.sizes.append, rows.distances.append
        expected, header, hasher = transaction.tid, RECORD.size, self._keys.data.copy
        finds_blobs = self._blobs
        # this is done for each new record of a site, and for each that a pack leaves
        for place in reader.places(transaction):
            oid, tid, size, data, index, previous = place
            if tid != expected or previous >= data - header:
                return False
            oids += oid
            add_size(size)
            add_distance(data - header - previous if previous else 0)
            if finds_blobs:
                here = window.data
                plain = size and here[index] != MARK
                # all but a few get no further
                may_be = not plain or here.find(MODULE, index, index + NEAR) >= 0
                if may_be and is_blob_at(reader, transaction, place):
                    rows.blobs.append(oid)
            if not size:
                digests += self._pointer(transaction, data)
            elif index + size <= len(window.data):
                piece = window.data[index : index + size]
                digests += hasher().update(piece).digest(DIGEST_SIZE)
            else:
                digests += self._digest(data, size)
        return True

    def _digest(self, data: int, size: int) -> bytes:
        """Return the digest of data that are not in the window."""
        hasher, window = self._keys.data.copy(), self._reader.window
        for offset in range(data, data + size, _PIECE):
            length = min(_PIECE, data + size - offset)
            index = window.at(offset, length)
            hasher.update(window.data[index : index + length])
        return hasher.digest(DIGEST_SIZE)

    def _pointer(self, transaction: Transaction, data: int) -> bytes:
        """Return the digest of a record without data."""
        record, _head = self._reader.at(transaction, data)
        origin = self._reader.origin(record)
        distance = record.offset - record.backpointer if record.backpointer else 0
        return POINTER.pack(distance, origin.tid if origin else ZERO_TID)


def big_endian(values: array[Any]) -> bytes:
    """Return an array of unsigned 8-byte numbers as it is stored."""
    swapped = array("Q", values)
    swapped.byteswap()
    return swapped.tobytes()

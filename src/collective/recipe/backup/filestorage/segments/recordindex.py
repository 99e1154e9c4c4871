"""The record index of a segment: its transactions and records in columns, without the data.

It tells which records of a packed log are those of the segment without reading the segment.
Numbers are big-endian and unsigned, with 8 bytes each where no size is given::

    0    8        magic "CRBINDEX"
    8    2        version of this format, 1
    10   2        0
    12   4        T, the number of transactions
    16   8        R, the number of records
    24   8 T      tid of each transaction; those of transactions that are not opaque increase
         8 T      length, as its header has it
         1 T      status, as its header has it; 0: opaque, kept as it is, without records here
         8 T      size of its three texts
         8 T      number of its records
         16 T     keyed digest of bytes 17 to 22 of its header, then its texts
         8 R      oid of each record    }
         8 R      size                  }  as rows says
         8 R      distance              }
         16 R     digest                }

A pack of 1 GB asks for a million of these rows, so columns are compared and searched as bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from itertools import accumulate

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import LENGTH, RECORD, TRANSACTION
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.segments.rows import OPAQUE, POINTER, Rows, big_endian
from collective.recipe.backup.filestorage.segments.segmentkeys import DIGEST_SIZE
from collective.recipe.backup.times import ZERO_TID, Tid

MAGIC, VERSION = b"CRBINDEX", 1
_HEADER = struct.Struct(">8sHHIQ")
_STATUSES = b" p" + OPAQUE
_TRANSACTION = 8 + 8 + 1 + 8 + 8 + DIGEST_SIZE
_RECORD = 8 + 8 + 8 + DIGEST_SIZE
_ID = 8
_GREATEST = 1 << 60
"""Bytes that no log has; a damaged record index may say so."""


class IndexWriter:
    """Collects the rows of a segment, transaction by transaction."""

    def __init__(self) -> None:
        """Begin with no transaction."""
        # tids of the first and the last transaction that is not opaque; zeros: all are
        self.first = self.last = ZERO_TID
        self._tids = bytearray()
        self._lengths = array("Q")
        self._statuses = bytearray()
        self._text_sizes = array("Q")
        self._counts = array("Q")
        self._texts = bytearray()
        self._oids = bytearray()
        self._sizes = array("Q")
        self._distances = array("Q")
        self._digests = bytearray()

    def __len__(self) -> int:
        """The number of transactions."""
        return len(self._counts)

    @property
    def records(self) -> int:
        """The number of records."""
        return len(self._sizes)

    def add(self, rows: Rows) -> None:
        """Add the next transaction."""
        transaction = rows.transaction
        if not rows.opaque:
            self.last = transaction.tid
            self.first = self.first if self.first != ZERO_TID else transaction.tid
        self._tids += transaction.tid
        self._lengths.append(transaction.end - transaction.begin - LENGTH.size)
        self._statuses += rows.status
        self._text_sizes.append(rows.texts_size)
        self._counts.append(len(rows))
        self._texts += rows.texts
        self._oids += rows.oids
        self._sizes += rows.sizes
        self._distances += rows.distances
        self._digests += rows.digests

    def encoded(self) -> bytes:
        """Return the record index of the added transactions."""
        return b"".join(
            (
                _HEADER.pack(MAGIC, VERSION, 0, len(self), self.records),
                self._tids,
                big_endian(self._lengths),
                self._statuses,
                big_endian(self._text_sizes),
                big_endian(self._counts),
                self._texts,
                self._oids,
                big_endian(self._sizes),
                big_endian(self._distances),
                self._digests,
            )
        )


class RecordIndex:
    """A record index that was read, and found to fit together."""

    def __init__(self, data: bytes) -> None:
        """Read *data*.  Raises IntegrityError if they are not a whole record index."""
        transactions, records = _counts(data)
        columns = _Columns(data)
        tids = columns.integers(transactions)
        self._lengths = columns.integers(transactions)
        self.statuses = columns.take(transactions)
        self.text_sizes = columns.integers(transactions)
        counts = columns.integers(transactions)
        self._texts = columns.take(DIGEST_SIZE * transactions)
        self.oids = columns.take(_ID * records)
        self.sizes = columns.integers(records)
        self.distances = columns.integers(records)
        self.digests = columns.take(DIGEST_SIZE * records)
        # for each transaction, the offsets of its records and bytes; at last the end of the last
        # one
        _refuse(sum(counts) != records, "its records are not as many as it says")
        _refuse(sum(self._lengths) >= _GREATEST, "a length is too large")
        self.starts = array("Q", accumulate(counts, initial=0))
        ends = accumulate((length + LENGTH.size for length in self._lengths), initial=0)
        self.begins = array("Q", ends)
        # the transactions that are not opaque, and their tids
        self._numbers = array("Q", (n for n, status in enumerate(self.statuses) if status))
        self._tids = array("Q", map(tids.__getitem__, self._numbers))
        self._check()

    @property
    def size(self) -> int:
        """The bytes of the segment."""
        return self.begins[-1]

    def number(self, tid: Tid) -> int:
        """Return the number of the transaction *tid*, -1 if there is none or it is opaque."""
        wanted = int.from_bytes(tid, "big")
        place = bisect_left(self._tids, wanted)
        found = place < len(self._tids) and self._tids[place] == wanted
        return self._numbers[place] if found else -1

    def tid(self, number: int) -> Tid:
        """Return the id of a transaction, if none of the segment is opaque."""
        return Tid(self._tids[number].to_bytes(8, "big"))

    def length(self, number: int) -> int:
        """Return the length of a transaction, as its header has it."""
        return self._lengths[number]

    def texts(self, number: int) -> bytes:
        """Return the digest of the texts of a transaction."""
        return self._texts[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)]

    def oid(self, row: int) -> bytes:
        """Return the oid of a record."""
        return self.oids[_ID * row : _ID * (row + 1)]

    def digest(self, row: int) -> bytes:
        """Return the digest of a record."""
        return self.digests[DIGEST_SIZE * row : DIGEST_SIZE * (row + 1)]

    def pointer(self, row: int) -> tuple[int, Tid]:
        """Return what the digest of a record without data says: distance, tid of the data."""
        distance, tid = POINTER.unpack_from(self.digests, DIGEST_SIZE * row)
        return distance, tid

    def find(self, oid: bytes, row: int, stop: int) -> int:
        """Return the first record of an object from *row* on and before *stop*, -1 if none."""
        index = self.oids.find(oid, _ID * row, _ID * stop)
        while index % _ID and index >= 0:
            index = self.oids.find(oid, index + 1, _ID * stop)
        return index // _ID

    def place(self, number: int, row: int) -> int:
        """Return where in the segment the data of a record of transaction *number* begin."""
        before = self.sizes[self.starts[number] : row]
        passed = sum(before) + RECORD.size * (len(before) + 1) + LENGTH.size * before.count(0)
        return self.begins[number] + TRANSACTION.size + self.text_sizes[number] + passed

    def _check(self) -> None:
        tids = self._tids
        _refuse(any(a >= b for a, b in zip(tids, tids[1:], strict=False)), "tids do not increase")
        _refuse(bool(self.statuses.translate(None, _STATUSES)), "a status is not known")
        for number, length in enumerate(self._lengths):
            sizes = self.sizes[self.starts[number] : self.starts[number + 1]]
            taken = sum(sizes) + RECORD.size * len(sizes) + LENGTH.size * sizes.count(0)
            taken += TRANSACTION.size + self.text_sizes[number]
            fits = taken <= length if self.statuses[number] == OPAQUE[0] else taken == length
            _refuse(not fits, "the records of a transaction do not fill it")


class _Columns:
    """Takes one column after the other from *data*, which has all of them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEADER.size

    def take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def integers(self, count: int) -> array[int]:
        values = array("Q", self.take(8 * count))
        if sys.byteorder == "little":
            values.byteswap()
        return values


def _counts(data: bytes) -> tuple[int, int]:
    """Return the numbers of transactions and records in *data*, if the sizes agree."""
    _refuse(len(data) < _HEADER.size, "it is cut short")
    magic, version, zero, transactions, records = _HEADER.unpack_from(data)
    _refuse(magic != MAGIC, "it begins as no record index does")
    _refuse(version != VERSION or zero != 0, f"its version {version} is not known here")
    _refuse(not transactions, "it has no transaction")
    size = _HEADER.size + _TRANSACTION * transactions + _RECORD * records
    _refuse(len(data) != size, f"it has {len(data)} bytes and not {size}")
    return transactions, records


def _refuse(flawed: bool, flaw: str) -> None:  # noqa: FBT001  of a table of checks
    if flawed:
        raise IntegrityError(f"a record index is damaged: {flaw}", hint=DAMAGE_HINT)

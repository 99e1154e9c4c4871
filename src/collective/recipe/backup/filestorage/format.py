r"""The format of a filestorage (``Data.fs``), and what a transaction in it must look like.

A filestorage is a log: a magic number, then transactions, each later than the one before (but
see ``tids``).
ZODB only ever appends to it; a pack writes a new file and swaps it in.  All numbers are
big-endian and unsigned; all offsets count from the begin of the file::

    log          = magic transaction*
    magic        = "FS30" (written by Python 3) | "FS21" (by Python 2; otherwise the same)

    transaction  0   8   tid, the transaction id
                 8   8   length L of this transaction without its last 8 bytes
                 16  1   status: " " complete
                                 "p" complete, rewritten by a pack
                                 "u" complete, but taken back by an undo of old
                                 "c" being written: voted for, not finished
                 17  2   length U of the user's name
                 19  2   length D of the description
                 21  2   length E of the extension
                 23  U + D + E           those three
                     data record*
                 L   8   L again

    data record  0   8   oid, the object id
                 8   8   tid, that of the transaction
                 16  8   offset of the previous data record of this object, or 0
                 24  8   offset of the transaction that this record is in
                 32  2   0 (once the length of a version's name)
                 34  8   size S of the data
                 42  S   the data: two pickles, the class and the state
              or 42  8   if S is 0, the backpointer: the offset of the data record that holds
                         the data of this one too, or 0 if the object is gone

A storage that wraps the filestorage may transform the data; zc.zlibstorage writes
``.z`` and then what zlib makes of the pickles, when that is shorter.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.times import ZERO_TID, Tid

MAGICS = (b"FS30", b"FS21")
MAGIC_SIZE = 4

TRANSACTION = struct.Struct(">8sQcHHH")
LENGTH = struct.Struct(">Q")
RECORD = struct.Struct(">8s8sQQHQ")
# no check of input, but of the three lines above
assert (TRANSACTION.size, LENGTH.size, RECORD.size) == (23, 8, 42)  # noqa: S101

SMALLEST = TRANSACTION.size + LENGTH.size
"""Bytes of a transaction without texts and data records."""

COMPLETE = b" pu"
"""Each a status of a complete transaction."""
PACKED = b"p"
UNDONE = b"u"
BEING_WRITTEN = b"c"


class Transaction(NamedTuple):
    """The place of one complete transaction in a log."""

    tid: Tid  # its id
    begin: int  # offset of its first byte
    end: int  # offset after its last byte
    packed: bool  # whether a pack rewrote it, so that older states of its objects may be gone
    undone: bool  # whether its data records do not count
    records: int  # offset of its data records, which end 8 bytes before *end*


class DataRecord(NamedTuple):
    """One data record of a log."""

    oid: Oid  # of its object
    tid: Tid  # of its transaction
    previous: int  # offset of the previous record of the object; 0: there is none
    transaction: int  # offset of its transaction
    size: int  # bytes of its data; 0: it has a backpointer instead
    data: int  # offset of its data
    backpointer: int  # offset of the record that has its data; 0: there is none

    @property
    def offset(self) -> int:
        """The offset of the data record itself, which an index names."""
        return self.data - RECORD.size

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int) -> DataRecord:
        """Return the one that begins with *data* and stands at *offset*; see *backpointer*.

        That is 0 for now: its 8 bytes follow.
        """
        oid, tid, previous, transaction, version, size = RECORD.unpack(data)
        if version:
            transaction = -1  # no storage of today writes one: it fits nowhere
        return cls(oid, tid, previous, transaction, size, offset + RECORD.size, 0)

    def fits(self, begin: int, end: int) -> bool:
        """Tell whether it can belong to the transaction at *begin*, and ends before *end*.

        ZODB opens a log in which *previous* is wrong, and says so: then it is not that which
        keeps a record from being one.
        """
        return self.transaction == begin and self.data + (self.size or LENGTH.size) <= end


class TransactionHeader(NamedTuple):
    """The fields in the first 23 bytes of a transaction."""

    tid: Tid  # its id
    length: int  # bytes from its begin to the second length field
    status: bytes  # one byte
    texts: int  # bytes of user, description and extension together

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> TransactionHeader:
        """Return the header at the begin of *data*."""
        tid, length, status, *texts = TRANSACTION.unpack_from(data)
        return cls(tid, length, status, sum(texts))

    @property
    def fits(self) -> bool:
        """Tell whether the length has room for what must be in it."""
        return self.length >= TRANSACTION.size + self.texts

    @property
    def flaw(self) -> str:
        """The reason why this is no complete transaction, "" if it is one."""
        if not self.fits:
            return f"its length ({self.length}) is less than that of its header"
        if self.status not in COMPLETE:
            return f"its status is {self.status!r}"
        if self.tid == ZERO_TID:
            return "it has no tid"
        return ""


def repetition(tid: Tid, after: Tid) -> str:
    """Return the flaw of a transaction *tid* whose data records name another place than its own.

    *after* is the greatest tid before it.  A tid that is not later is no flaw by itself (see
    ``tids``), but then its bytes may be a copy of earlier ones.
    """
    order = "" if tid > after else f"is not later than {after.hex()} before it, and "
    return f"its tid {tid.hex()} {order}has data that were written for another place"

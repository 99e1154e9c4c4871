"""The records and the transactions of a moment, found as FileStorage finds them.

Each record leads to the one before it of its object, each transaction to the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ZODB.POSException import POSKeyError

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    LENGTH,
    MAGIC_SIZE,
    RECORD,
    TRANSACTION,
    UNDONE,
    DataRecord,
    TransactionHeader,
)
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.served.objectindex import index_of
from collective.recipe.backup.served.readpages import ReadPages
from collective.recipe.backup.times import Tid


class WrittenTransaction(NamedTuple):
    """A transaction with its texts."""

    tid: Tid  # its id
    begin: int  # its offset
    length: int  # without its last 8 bytes
    status: bytes  # one byte
    user: bytes  # as written
    description: bytes  # as written
    extension: bytes  # a pickle, or empty

    @property
    def records(self) -> int:
        """The offset of its first record."""
        texts = len(self.user) + len(self.description) + len(self.extension)
        return self.begin + TRANSACTION.size + texts


class MomentRecords:
    """Reads the records of *log*.  It is for one thread at a time.

    All methods raise POSKeyError for an object that is not there, and IntegrityError for damage.
    """

    def __init__(self, log: StoredLog, pages: ReadPages) -> None:
        """Read the index.  Raises IntegrityError if the log is damaged."""
        self._log = log
        self._read = pages.read
        self.size = log.size
        self.index = index_of(log)

    # records

    def current(self, oid: bytes) -> DataRecord:
        """Return the last record of an object."""
        place = self.index.get(oid)
        if place is None:
            raise POSKeyError(oid)
        return self.record(place, oid)

    def record(self, place: int, oid: bytes | None = None) -> DataRecord:
        """Return the record at *place*, which is one of *oid* (None: of any object)."""
        head = self._read(place, RECORD.size)
        if len(head) < RECORD.size:
            raise self._damaged(place)
        record = DataRecord.unpack(head, place)
        if (oid is not None and record.oid != oid) or record.data + record.size > self.size:
            raise self._damaged(place)
        if not record.size:
            (back,) = LENGTH.unpack(self._exactly(record.data, LENGTH.size))
            # always backwards, so that even a damaged log lets us out of here
            if back >= place:
                raise self._damaged(place)
            return record._replace(backpointer=back)
        return record

    def before(self, record: DataRecord) -> DataRecord | None:
        """Return the record of the object before *record*; None: that is its first."""
        if not record.previous:
            return None
        if record.previous >= record.offset:
            raise self._damaged(record.offset)
        return self.record(record.previous, record.oid)

    def data(self, record: DataRecord) -> bytes | None:
        """Return the data of *record*; None: its object was taken back."""
        while not record.size:
            if not record.backpointer:
                return None
            record = self.record(record.backpointer, record.oid)
        return self._exactly(record.data, record.size)

    def lender(self, record: DataRecord) -> Tid | None:
        """Return the transaction whose data *record* carries; None: its own, or none."""
        if record.size or not record.backpointer:
            return None
        return self.record(record.backpointer, record.oid).tid

    # transactions

    def written(self, begin: int) -> WrittenTransaction:
        """Return the transaction at *begin*."""
        head = self._exactly(begin, TRANSACTION.size)
        header = TransactionHeader.unpack(head)
        sizes = TRANSACTION.unpack(head)[3:]
        if header.flaw or begin + header.length + LENGTH.size > self.size:
            raise self._damaged(begin)
        texts = self._exactly(begin + TRANSACTION.size, header.texts)
        user, description = sizes[0], sizes[0] + sizes[1]
        return WrittenTransaction(
            header.tid,
            begin,
            header.length,
            header.status,
            texts[:user],
            texts[user:description],
            texts[description:],
        )

    def last(self) -> WrittenTransaction | None:
        """Return the last transaction; None: there is none."""
        return next(self.backwards(), None)

    def backwards(self) -> Iterator[WrittenTransaction]:
        """Yield all transactions, the last one first."""
        end = self.size
        while end > MAGIC_SIZE:
            (length,) = LENGTH.unpack(self._exactly(end - LENGTH.size, LENGTH.size))
            found = self.written(end - LENGTH.size - length)
            if found.length != length:
                raise self._damaged(end)
            yield found
            end = found.begin

    def forwards(self, begin: int = MAGIC_SIZE) -> Iterator[WrittenTransaction]:
        """Yield all transactions from the one at *begin* on."""
        while begin < self.size:
            found = self.written(begin)
            yield found
            begin += found.length + LENGTH.size

    def of(self, transaction: WrittenTransaction) -> Iterator[DataRecord]:
        """Yield the records of *transaction*; none if it was undone."""
        place, end = transaction.records, transaction.begin + transaction.length
        while place < end and transaction.status != UNDONE:
            record = self.record(place)
            if not record.fits(transaction.begin, end):
                raise self._damaged(place)
            yield record
            place = record.data + (record.size or LENGTH.size)

    def _exactly(self, offset: int, size: int) -> bytes:
        data = self._read(offset, size) if offset >= 0 else b""
        if len(data) < size:
            raise self._damaged(offset)
        return data

    def _damaged(self, offset: int) -> IntegrityError:
        return IntegrityError(
            f"the filestorage is damaged: at byte {offset} stands nothing that fits there",
            where=self._log.path,
            hint=self._log.damage_hint,
        )

"""The data records of a log, and where the data of a record really is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    LENGTH,
    RECORD,
    DataRecord,
    Transaction,
)
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.window import Window
from collective.recipe.backup.model import Oid
from collective.recipe.backup.times import Tid

Place: TypeAlias = tuple[Oid, Tid, int, int, int, int]
"""Oid, tid and size of a record, the offset of its data in the log, and in the window now.

At last the offset of the previous record of the object, or 0.
"""


_FRAME = struct.Struct(">24xQHQ")
"""Of a RECORD its transaction, the length of its version's name, and its size."""
_OWNED = struct.Struct(">8s16xQHQ")
"""Of a RECORD its object, its transaction, the length of its version's name, and its size."""
# no check of input, but of the lines above
assert _FRAME.size == _OWNED.size == RECORD.size  # noqa: S101


def records_of(log: Log, transaction: Transaction) -> Iterator[DataRecord]:
    """Yield the data records of *transaction*, none if it was undone.

    Raises IntegrityError where something stands that is no data record.
    """
    return (record for record, _head in RecordReader(log).records(transaction))


class RecordReader:
    """Reads data records of a log, each with the begin of its data.

    Transactions, and the records of each, are best asked for in the order of the log.
    """

    def __init__(self, log: Log, head: int = LENGTH.size) -> None:
        """Read the first *head* bytes of the data, at least the 8 of a backpointer."""
        self._path = log.path
        self._damage_hint = log.damage_hint
        self.window = log.window()
        self._elsewhere = log.window(RECORD.size + head)
        self._head = head

    def records(self, transaction: Transaction) -> Iterator[tuple[DataRecord, bytes]]:
        """Yield each data record and the begin of its data, empty if it has a backpointer.

        Those of an undone transaction do not count and are not yielded.
        """
        for _oid, _tid, _size, data, _index, _previous in self.places(transaction):
            yield self.at(transaction, data)

    def places(self, transaction: Transaction) -> Iterator[Place]:
        """Yield the place of each data record, for callers that want few of many: see Place."""
        offset, end, begin = transaction.records, _end(transaction), transaction.begin
        window, at, unpack = self.window, self.window.at, RECORD.unpack_from
        wanted = RECORD.size + self._head
        if transaction.undone:
            return
        # this is done for each record of a site, and most of them are in the window
        while offset < end:
            index = offset - window.begin
            if index < 0 or index + wanted > len(window.data):
                index = at(offset, min(wanted, end - offset))
            data = offset + RECORD.size
            if index < 0 or data > end:
                raise self._damaged(offset)
            oid, tid, previous, whose, version, size = unpack(window.data, index)
            offset = data + (size or LENGTH.size)
            # as DataRecord.fits says
            if version or whose != begin or offset > end:
                raise self._damaged(data - RECORD.size)
            yield oid, tid, size, data, index + RECORD.size, previous

    def offsets(self, transaction: Transaction) -> Iterator[tuple[Oid, int]]:
        """Yield the object and the offset of each data record, and none of an undone one."""
        offset, end, begin = transaction.records, _end(transaction), transaction.begin
        window, unpack = self.window, _OWNED.unpack_from
        data, first, last = window.data, window.begin, len(window.data) - RECORD.size
        if transaction.undone:
            return
        # this is done for each record of a site
        while offset < end:
            index = offset - first
            if not 0 <= index <= last:
                index = window.at(offset, RECORD.size)
                if index < 0:
                    raise self._damaged(offset)
                data, first, last = window.data, window.begin, len(window.data) - RECORD.size
            oid, whose, version, size = unpack(data, index)
            at, offset = offset, offset + RECORD.size + (size or LENGTH.size)
            # as DataRecord.fits says
            if version or whose != begin or offset > end:
                raise self._damaged(at)
            yield oid, at

    def counted(self, transaction: Transaction) -> tuple[int, int]:
        """Return how many data records there are, and how many of them only have a pointer."""
        offset, end, begin = transaction.records, _end(transaction), transaction.begin
        window, unpack = self.window, _FRAME.unpack_from
        data, first, last = window.data, window.begin, len(window.data) - RECORD.size
        records = pointers = 0
        if transaction.undone:
            return 0, 0
        # this is done for each record of a site
        while offset < end:
            index = offset - first
            if not 0 <= index <= last:
                index = window.at(offset, RECORD.size)
                if index < 0:
                    raise self._damaged(offset)
                data, first, last = window.data, window.begin, len(window.data) - RECORD.size
            whose, version, size = unpack(data, index)
            pointers += not size
            records += 1
            at, offset = offset, offset + RECORD.size + (size or LENGTH.size)
            # as DataRecord.fits says
            if version or whose != begin or offset > end:
                raise self._damaged(at)
        return records, pointers

    def at(self, transaction: Transaction, data: int) -> tuple[DataRecord, bytes]:
        """Return the data record whose data are at *data*, and their begin, as records() does."""
        return self._at(self.window, data - RECORD.size, _end(transaction))

    def follow(self, record: DataRecord) -> bytes:
        """Return the begin of the data that the backpointer of *record* leads to.

        It is empty if that leads nowhere: the object is gone.
        """
        return self._lead(record)[1]

    def origin(self, record: DataRecord) -> DataRecord | None:
        """Return the record with the data that the backpointer of *record* leads to.

        None: it leads nowhere, the object is gone.
        """
        found, _head = self._lead(record)
        return found if found.size else None

    def _lead(self, record: DataRecord) -> tuple[DataRecord, bytes]:
        """Return the last record that backpointers lead to, and the begin of its data."""
        head = b""
        while not head and record.backpointer:
            # always backwards, so that even a damaged log lets us out of here
            if record.backpointer >= record.offset:
                raise self._damaged(record.offset)
            record, head = self._at(self._elsewhere, record.backpointer, record.offset)
        return record, head

    def _at(self, window: Window, offset: int, end: int) -> tuple[DataRecord, bytes]:
        """Return the data record at *offset* and the begin of its data, nothing from *end* on."""
        index = window.at(offset, min(RECORD.size + self._head, end - offset))
        if index < 0 or offset + RECORD.size > end:
            raise self._damaged(offset)
        data = index + RECORD.size
        record = DataRecord.unpack(window.data[index:data], offset)
        if record.size:
            return record, window.data[data : data + min(record.size, self._head)]
        pointer = window.data[data : data + LENGTH.size].ljust(LENGTH.size, b"\0")
        return record._replace(backpointer=LENGTH.unpack(pointer)[0]), b""

    def _damaged(self, offset: int) -> IntegrityError:
        return IntegrityError(
            f"the filestorage is damaged: at byte {offset} stands no data record that fits there",
            where=self._path,
            hint=self._damage_hint,
        )


def _end(transaction: Transaction) -> int:
    """Return where the data records of *transaction* end."""
    return transaction.end - LENGTH.size

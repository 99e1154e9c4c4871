"""The data records of a log, and where the data of a record really is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    LENGTH,
    RECORD,
    Record,
    Transaction,
)
from collective.recipe.backup.filestorage.tail import DAMAGE_HINT

if TYPE_CHECKING:
    from collective.recipe.backup.filestorage.log import TransactionLog
    from collective.recipe.backup.filestorage.window import Window


class RecordReader:
    """Reads data records of a log, each with the begin of its data.

    Transactions, and the records of each, are best asked for in the order of the log.
    """

    def __init__(self, log: TransactionLog, head: int = LENGTH.size) -> None:
        """Read the first *head* bytes of the data, at least the 8 of a backpointer."""
        self._path = log.path
        self._window = log.window()
        self._elsewhere = log.window(RECORD.size + head)
        self._head = head

    def records(self, transaction: Transaction) -> Iterator[tuple[Record, bytes]]:
        """Yield each data record and the begin of its data, empty if it has a backpointer.

        Those of an undone transaction do not count and are not yielded.
        """
        offset = transaction.records
        end = transaction.end - LENGTH.size
        while offset < end and not transaction.undone:
            record, head = self._at(self._window, offset, end)
            if not record.fits(transaction.begin, end):
                raise self._damaged(offset)
            yield record, head
            offset = record.data + (record.size or LENGTH.size)

    def follow(self, record: Record) -> bytes:
        """Return the begin of the data that the backpointer of *record* leads to.

        It is empty if that leads nowhere: the object is gone.
        """
        head = b""
        while not head and record.backpointer:
            # always backwards, so that even a damaged log lets us out of here
            if record.backpointer >= record.offset:
                raise self._damaged(record.offset)
            record, head = self._at(self._elsewhere, record.backpointer, record.offset)
        return head

    def _at(self, window: Window, offset: int, end: int) -> tuple[Record, bytes]:
        """Return the data record at *offset* and the begin of its data, nothing from *end* on."""
        index = window.at(offset, min(RECORD.size + self._head, end - offset))
        if index < 0 or offset + RECORD.size > end:
            raise self._damaged(offset)
        data = index + RECORD.size
        record = Record.unpack(window.data[index:data], offset)
        if record.size:
            return record, window.data[data : data + min(record.size, self._head)]
        pointer = window.data[data : data + LENGTH.size].ljust(LENGTH.size, b"\0")
        return record._replace(backpointer=LENGTH.unpack(pointer)[0]), b""

    def _damaged(self, offset: int) -> IntegrityError:
        return IntegrityError(
            f"the filestorage is damaged: at byte {offset} stands no data record that fits there",
            where=self._path,
            hint=DAMAGE_HINT,
        )

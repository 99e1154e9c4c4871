"""The log of a filestorage as a stream: checked, and cut at a moment, while it passes by.

The rules are those of ``log``, but for a tail: a backup ends with a complete transaction, so any
other bytes at its end are damage.  Bytes come in pieces of any size.  Memory does not grow: only
the begin of a header waits for its rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    LENGTH,
    MAGIC_SIZE,
    MAGICS,
    PACKED,
    RECORD,
    TRANSACTION,
    UNDONE,
    DataRecord,
    TransactionHeader,
    repetition,
)
from collective.recipe.backup.times import ZERO_TID, Tid

DAMAGE_HINT = "another restore point may be whole: verify tells which"

Bytes: TypeAlias = bytes | bytearray | memoryview


class Framing:
    """The ends of transactions in a stream.

    ``end`` is the offset after the last whole transaction, ``begin`` the offset at which it began,
    ``tid`` the greatest tid so far, which is that of the last transaction but for odd logs (None
    before the first; see tids), ``packed`` the greatest of those that a pack rewrote, ``count`` the
    number of transactions.  ``done`` tells whether one later than *until* was reached; if a pack
    rewrote that one, its tid is ``packed``, and the moment *until* is lost.
    """

    def __init__(
        self,
        *,
        until: Tid | None = None,
        where: str | os.PathLike[str] = "",
        on_record: Callable[[DataRecord], object] | None = None,
    ) -> None:
        """Stop before the first transaction later than *until*; errors name *where*.

        *on_record* is called for each data record but those of undone transactions.  Its
        transaction is whole only when ``end`` has passed it.
        """
        self.end = self.begin = 0
        self.tid: Tid | None = None
        self.packed: Tid | None = None
        self.count = 0
        self.done = False
        self._until = until
        self._where = where
        self._walks_records = on_record is not None
        self._report = on_record or (lambda _record: None)
        self._offset = 0  # of the first byte that was not passed on
        self._held = b""  # from there on, too few for what comes next
        self._skip = 0  # bytes of no interest before that
        self._size = MAGIC_SIZE  # bytes of the next item
        self._read: Callable[[memoryview, int], None] = self._magic  # reader of the next item
        self._in_order = True  # or proved to be no damage; see tids
        self._header: TransactionHeader
        self._current: DataRecord

    def resume(self, end: int, tid: Tid | None) -> None:
        """Continue at the offset *end*; *tid* is the greatest of the transactions before."""
        self.end = self.begin = self._offset = end
        self.tid = tid
        self._expect(TRANSACTION.size, self._transaction)

    def feed(self, data: Bytes) -> memoryview:
        """Read on; return the bytes to pass on, which are those of the log up to the cut.

        A header that is cut in two is held back and returned with its rest, since its tid
        decides whether it is passed on at all.  Raises IntegrityError.
        """
        view = memoryview(self._held + data if self._held else data).cast("B")
        index = 0
        while not self.done:
            step = min(self._skip, len(view) - index)
            self._skip -= step
            index += step
            if self._skip or len(view) - index < self._size:
                break
            size = self._size
            self._read(view[index : index + size], self._offset + index)
            if not self.done:
                index += size
        self._offset += index
        self._held = b"" if self.done else bytes(view[index:])
        return view[:index]

    @property
    def ends(self) -> bool:
        """Tell whether the following bytes do not count: the cut was reached, or is here."""
        return self.done or (self._until is not None and self.tid == self._until)

    def finish(self) -> None:
        """Raise IntegrityError unless the stream ended where a transaction does."""
        at = self._offset + len(self._held)
        if not self.end:
            raise self._damaged(0, "it ends before its first transaction")
        if not self.done and at != self.end:
            raise self._damaged(self.end, f"it is cut short at byte {at}")

    def _expect(self, size: int, read: Callable[[memoryview, int], None], skip: int = 0) -> None:
        self._size, self._read, self._skip = size, read, skip

    def _magic(self, data: memoryview, offset: int) -> None:
        if data not in MAGICS:
            raise self._damaged(offset, f"it begins with {bytes(data)!r}, so is no filestorage")
        self.end = self.begin = MAGIC_SIZE
        self._expect(TRANSACTION.size, self._transaction)

    def _transaction(self, data: memoryview, offset: int) -> None:
        self._header = header = TransactionHeader.unpack(data)
        if header.flaw:
            raise self._damaged(offset, header.flaw)
        if self.tid is not None and header.tid <= self.tid:
            self._in_order = False  # until a data record says that it stands where it should
        if self._until is not None and header.tid > self._until:
            self.done = True
            if header.status == PACKED:
                self.packed = header.tid
        elif header.status != UNDONE and (self._walks_records or not self._in_order):
            self._next_record(offset + TRANSACTION.size, header.texts)
        else:
            self._expect(LENGTH.size, self._last, header.length - TRANSACTION.size)

    def _next_record(self, offset: int, skip: int) -> None:
        """Expect a data record or the transaction's end, *skip* bytes after *offset*."""
        room = self.end + self._header.length - offset - skip
        if room == 0:
            self._expect(LENGTH.size, self._last, skip)
        elif room < RECORD.size:
            raise self._damaged(offset, "no data record fits there")
        else:
            self._expect(RECORD.size, self._record, skip)

    def _record(self, data: memoryview, offset: int) -> None:
        end = self.end + self._header.length
        self._current = record = DataRecord.unpack(data, offset)
        if not self._in_order and record.transaction != self.end:
            raise self._damaged(self.end, repetition(self._header.tid, self.tid or ZERO_TID))
        self._in_order = True
        if not record.fits(self.end, end):
            raise self._damaged(offset, "no data record fits there")
        if record.size:
            self._report(record)
            self._next_record(record.data, record.size)
        else:
            self._expect(LENGTH.size, self._backpointer)

    def _backpointer(self, data: memoryview, offset: int) -> None:
        self._report(self._current._replace(backpointer=LENGTH.unpack(data)[0]))
        self._next_record(offset + LENGTH.size, 0)

    def _last(self, data: memoryview, offset: int) -> None:
        header = self._header
        if LENGTH.unpack(data) != (header.length,):
            raise self._damaged(self.end, "its two lengths are not the same")
        self.begin, self.end = self.end, offset + LENGTH.size
        self.tid = max(self.tid or ZERO_TID, header.tid)
        self.count += 1
        if header.status == PACKED:
            self.packed = max(self.packed or ZERO_TID, header.tid)
        self._expect(TRANSACTION.size, self._transaction)

    def _damaged(self, offset: int, flaw: str) -> IntegrityError:
        return IntegrityError(
            f"the filestorage is damaged at byte {offset}: {flaw}",
            where=self._where,
            hint=DAMAGE_HINT,
        )

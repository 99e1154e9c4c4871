"""The log of transactions that a filestorage is, wherever its bytes come from.

A transaction counts once its status says that it is complete, and ZODB changes no byte of it after
that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.format import (
    COMPLETE,
    LENGTH,
    MAGIC_SIZE,
    PACKED,
    RECORD,
    SMALLEST,
    TRANSACTION,
    UNDONE,
    DataRecord,
    Transaction,
    repetition,
)
from collective.recipe.backup.filestorage.logcut import LogEnd, cut_after
from collective.recipe.backup.filestorage.window import SIZE, Window
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid, When

__all__ = ["MAGIC_SIZE", "Log", "Transaction"]


class Log(ABC):
    """The log of a filestorage, which can be read at any place.

    All methods raise BackupError for what cannot be read and IntegrityError for a damaged log;
    both name *path*.
    """

    damage_hint = tail.DAMAGE_HINT
    """Hint about damage in it."""

    def __init__(self, path: Path) -> None:
        """Be the log that errors call *path*."""
        self.path = path

    @property
    @abstractmethod
    def size(self) -> int:
        """Its size in bytes now, the tail included."""

    @abstractmethod
    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends."""

    @abstractmethod
    def _tail(self, begin: int, after: Tid) -> str | None:
        """Judge the bytes after the last complete transaction; see tail.tail_at."""

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly *size* bytes from *offset* on; IntegrityError if they are not there."""
        data = self.read_at(offset, size)
        while len(data) < size:
            # one system call gives 2 GB at most
            more = self.read_at(offset + len(data), size - len(data))
            if not more:
                raise IntegrityError(
                    f"the filestorage ends at byte {offset + len(data)},"
                    f" before byte {offset + size}",
                    where=self.path,
                    hint="another program cut it short: " + self.damage_hint,
                )
            data += more
        return data

    def window(self, size: int = SIZE) -> Window:
        """Return a new Window on it, for reading on and on, *size* bytes at a time."""
        return Window(self.read_at, size)

    def before(self, offset: int) -> Transaction | None:
        """Return the transaction that ends at *offset*, None at the begin of the log.

        Raises IntegrityError if none ends there.
        """
        if offset == MAGIC_SIZE:
            return None
        found = None
        if MAGIC_SIZE + SMALLEST <= offset <= self.size:
            (length,) = LENGTH.unpack(self.read(offset - LENGTH.size, LENGTH.size))
            begin = offset - LENGTH.size - length
            # no more is read of it than what says where it ends
            walk = self.walk(begin, ZERO_TID, LENGTH.size) if begin >= MAGIC_SIZE else iter(())
            found = next(walk, None)
        if found is None or found.end != offset:
            raise self._no_boundary(offset)
        return found

    def backwards(self, offset: int) -> Iterator[Transaction]:
        """Yield the transactions before *offset*, the last one first; little else is read.

        Raises IntegrityError at one that is not sound, and if none ends there.
        """
        while found := self.before(offset):
            yield found
            offset = found.begin

    def transactions(
        self, start: int = MAGIC_SIZE, stop: int | None = None
    ) -> Generator[Transaction, None, str]:
        """Yield the complete transactions from the boundary *start* on.

        They end at *stop*, which must be a boundary too, or else before the tail of the log,
        of which the kind is returned.
        """
        last = self.before(start)
        offset, tid = start, last.tid if last else ZERO_TID
        while offset != stop:
            for transaction in self.walk(offset, tid):
                if stop is not None and transaction.end > stop:
                    raise self._no_boundary(stop)
                yield transaction
                offset, tid = transaction.end, max(tid, transaction.tid)
                if offset == stop:
                    return tail.NONE
            kind = self._tail(offset, tid)
            # None: one more was finished while we looked
            if kind is not None:
                if stop is not None:
                    raise self._no_boundary(stop)
                return kind
        return tail.NONE

    def end(self, start: int = MAGIC_SIZE) -> LogEnd:
        """Return the end of the last complete transaction; walks from the boundary *start* on."""
        return self.cut(LAST_TID, start)

    def cut(self, when: When, start: int = MAGIC_SIZE, stop: int | None = None) -> LogEnd:
        """Return where the first transaction later than *when* begins, at most *stop*.

        It walks from the boundary *start* on, or from the begin if *when* is earlier.
        """
        limit = times.tid_at(when) if isinstance(when, datetime) else when
        last = self.before(start)
        if last and last.tid > limit:
            last, start = None, MAGIC_SIZE
        return cut_after(limit, last, self.transactions(start, stop), start)

    def walk(self, begin: int, after: Tid, size: int = SIZE) -> Iterator[Transaction]:
        """Yield transactions up to the first one that is not complete, for whatever reason.

        So many bytes, *size*, are read at a time.

        *begin* must be where one begins; *after* is the greatest tid before it.
        ``transactions`` finds out why a walk has ended.  Raises IntegrityError where the order of
        the tids is odd because of damage.
        """
        window = self.window(size)
        at, unpack, unpack_length = window.at, TRANSACTION.unpack_from, LENGTH.unpack_from
        greatest: Transaction | None = None
        in_order = True
        while (index := at(begin, TRANSACTION.size)) >= 0:
            tid, length, status, user, description, extension = unpack(window.data, index)
            records = begin + TRANSACTION.size + user + description + extension
            last = begin + length
            if tid == ZERO_TID or status not in COMPLETE or records > last:
                return
            index = at(last, LENGTH.size)
            if index < 0 or unpack_length(window.data, index) != (length,):
                return
            found = Transaction(
                tid, begin, last + LENGTH.size, status == PACKED, status == UNDONE, records
            )
            if tid > after:
                greatest = found
            else:
                in_order = False
            if not in_order:
                in_order = self._is_proved(found, after, greatest)
            yield found
            begin, after = last + LENGTH.size, max(after, tid)

    def _is_proved(self, found: Transaction, after: Tid, greatest: Transaction | None) -> bool:
        """Tell whether *found*, whose tid or one before it is not later, proves to be no damage.

        If it has no data the next one must.  *greatest* is the one with the tid *after*, if
        that is known.  Raises IntegrityError if either was not written as it stands there.
        """
        first = self._first_record(found)
        if first is None:
            return False
        if first.transaction != found.begin:
            raise self._damaged(found, repetition(found.tid, after))
        known = self._first_record(greatest) if greatest and greatest is not found else None
        if greatest is not None and known is not None and known.tid != greatest.tid:
            raise self._damaged(
                greatest, f"its tid is {greatest.tid.hex()}, its data have {known.tid.hex()}"
            )
        return True

    def _first_record(self, transaction: Transaction) -> DataRecord | None:
        """Return the first data record of *transaction*, None if it has none."""
        room = transaction.end - LENGTH.size - transaction.records
        data = self.read_at(transaction.records, RECORD.size) if room >= RECORD.size else b""
        return DataRecord.unpack(data, transaction.records) if len(data) == RECORD.size else None

    def _damaged(self, transaction: Transaction, why: str) -> IntegrityError:
        return IntegrityError(
            f"the filestorage is damaged: the transaction at byte {transaction.begin} is not "
            f"sound ({why})",
            where=self.path,
            hint=self.damage_hint,
        )

    def _no_boundary(self, offset: int) -> IntegrityError:
        return IntegrityError(
            f"no transaction ends at byte {offset} of the filestorage",
            where=self.path,
            hint="another program changed it or put another file in its place: a full backup"
            " takes it as it is now",
        )

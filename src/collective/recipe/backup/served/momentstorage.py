"""A moment as a storage of ZODB: all that reads, as a read-only FileStorage does it.

Nothing is ever written.  The only changes are in a private directory, which is gone once the
storage is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO, Concatenate, NoReturn, ParamSpec, TypeVar

from ZODB.blob import BlobFile
from ZODB.interfaces import (
    IBlobStorage,
    IStorage,
    IStorageCurrentRecordIteration,
    IStorageIteration,
    IStorageUndoable,
)
from ZODB.POSException import POSKeyError, ReadOnlyError, StorageError
from ZODB.UndoLogCompatible import UndoLogCompatible
from ZODB.utils import maxtid, p64, u64
from zope.interface import alsoProvides, implementer

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.filestorage.format import LENGTH, MAGIC_SIZE, UNDONE
from collective.recipe.backup.filestorage.format import DataRecord as Record
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.served.momentblobs import MomentBlobs
from collective.recipe.backup.served.momenthistory import Entry, Wanted, history_of, undo_log
from collective.recipe.backup.served.momentiterator import MomentRecord, MomentTransaction
from collective.recipe.backup.served.momentrecords import MomentRecords, WrittenTransaction
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.times import ZERO_TID, Tid

P = ParamSpec("P")
T = TypeVar("T")


def _reading(
    method: Callable[Concatenate[MomentStorage, P], T],
) -> Callable[Concatenate[MomentStorage, P], T]:
    """Let one thread read at a time, and raise errors that clients know."""

    @wraps(method)
    def read(self: MomentStorage, /, *arguments: P.args, **named: P.kwargs) -> T:
        with self._lock:
            if self._is_closed:
                raise StorageError(f"{self._name} is closed")
            try:
                return method(self, *arguments, **named)
            except BackupError as error:
                hint = f" ({error.hint})" if error.hint else ""
                raise StorageError(f"{error}{hint}") from error

    return read


@implementer(IStorage, IStorageIteration, IStorageCurrentRecordIteration, IStorageUndoable)
class MomentStorage(UndoLogCompatible):  # type: ignore[misc]  # ZODB has no type hints
    """The storage; ``momentmaking`` makes one of a state."""

    def __init__(
        self,
        name: str,
        records: MomentRecords,
        blobs: MomentBlobs | None,
        directory: Path,
        held: ExitStack,
    ) -> None:
        """Leave *held* when it is closed; *directory* is its own."""
        self._name = name
        self._records = records
        self._blobs = blobs
        self._directory = directory
        self._held = held
        self._lock = RLock()
        self._is_closed = False
        last = records.last()
        self._last = ZERO_TID if last is None else last.tid
        if blobs is not None:
            alsoProvides(self, IBlobStorage)

    # its identity

    def close(self) -> None:
        """Close the restore point; its private files are removed."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._held.close()

    def getName(self) -> str:
        """Return what logs call it."""
        return self._name

    sortKey = getName

    def getSize(self) -> int:
        """Return the bytes of the filestorage at this moment."""
        return self._records.size

    def __len__(self) -> int:
        """The number of objects."""
        return len(self._records.index)

    def isReadOnly(self) -> bool:
        """Say yes."""
        return True

    def supportsUndo(self) -> bool:
        """Return True: the list of transactions can be read, though none can be undone."""
        return True

    def lastTransaction(self) -> bytes:
        """Return the last transaction; zeros: there is none."""
        return self._last

    def registerDB(self, db: Any) -> None:
        """Do nothing: no other transactions will come."""

    # objects

    @_reading
    def load(self, oid: bytes, version: str = "") -> tuple[bytes, bytes]:
        """Return the current data of an object, and the transaction that wrote them."""
        record = self._records.current(oid)
        return self._data(record), record.tid

    @_reading
    def loadBefore(self, oid: bytes, tid: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        """Return data, transaction, and the next transaction of an object before *tid*."""
        following = None
        record: Record | None = self._records.current(oid)
        while record is not None and record.tid >= tid:
            following, record = record.tid, self._records.before(record)
        return None if record is None else (self._data(record), record.tid, following)

    @_reading
    def loadSerial(self, oid: bytes, serial: bytes) -> bytes:
        """Return the data of an object that the transaction *serial* wrote."""
        record: Record | None = self._records.current(oid)
        while record is not None and record.tid > serial:
            record = self._records.before(record)
        if record is None or record.tid != serial:
            raise POSKeyError(oid)
        return self._data(record)

    @_reading
    def getTid(self, oid: bytes) -> bytes:
        """Return the last transaction of an object."""
        record = self._records.current(oid)
        if not record.size and not record.backpointer:
            raise POSKeyError(oid)
        return record.tid

    def _data(self, record: Record) -> bytes:
        data = self._records.data(record)
        if data is None:
            raise POSKeyError(record.oid)
        return data

    @_reading
    def record_iternext(
        self,
        next: bytes | None = None,  # noqa: A002  as ZODB calls it
    ) -> tuple[bytes, bytes, bytes, bytes | None]:
        """Return an object, its transaction and data, and what to ask for the next one."""
        index = self._records.index
        oid = index.minKey(next)
        try:
            following = index.minKey(p64(u64(oid) + 1))
        except ValueError:  # it was the last one
            following = None
        record = self._records.current(oid)
        return oid, record.tid, self._data(record), following

    # transactions

    @_reading
    def history(
        self,
        oid: bytes,
        size: int = 1,
        filter: Wanted = None,  # noqa: A002  as ZODB calls it
    ) -> list[Entry]:
        """Return the last *size* revisions of an object, as far as they are known."""
        return history_of(self._records, oid, size, filter)

    @_reading
    def undoLog(
        self,
        first: int = 0,
        last: int = -20,
        filter: Wanted = None,  # noqa: A002  as ZODB calls it
    ) -> list[Entry]:
        """Return descriptions of transactions since the last pack, the last one first.

        A negative *last* is the number of them at most.
        """
        return undo_log(self._records, first, first - last if last < 0 else last, filter)

    def iterator(
        self, start: bytes | None = None, stop: bytes | None = None
    ) -> Iterator[MomentTransaction]:
        """Yield the transactions from *start* to *stop*, each with its records."""
        begin: int | None = self._begin_of(start or ZERO_TID)
        while begin is not None:
            found, begin = self._transaction(begin, stop or maxtid)
            if found is not None:
                yield found

    @_reading
    def _begin_of(self, start: bytes) -> int:
        """Return where the first transaction from *start* on begins."""
        if start == ZERO_TID:
            return MAGIC_SIZE
        begin = self._records.size
        for written in self._records.backwards():
            if written.tid < start:
                break
            begin = written.begin
        return begin

    @_reading
    def _transaction(self, begin: int, stop: bytes) -> tuple[MomentTransaction | None, int | None]:
        """Return the transaction at *begin* (None: it was undone), and where the next one begins.

        None for that: it is the end.
        """
        written = next(self._records.forwards(begin), None)
        if written is None or written.tid > stop:
            return None, None
        found = None if written.status == UNDONE else MomentTransaction(self, written)
        return found, written.begin + written.length + LENGTH.size

    @_reading
    def records_of(self, written: WrittenTransaction) -> list[MomentRecord]:
        """Return the records of a transaction."""
        records = self._records
        return [MomentRecord(self, it, records.lender(it)) for it in records.of(written)]

    @_reading
    def data_of(self, record: Record) -> bytes | None:
        """Return the data of a record; None: its object was taken back."""
        return self._records.data(record)

    # blobs

    @_reading
    def loadBlob(self, oid: bytes, serial: bytes) -> str:
        """Return the path of a blob, which is only to be read."""
        return str(self._blob(oid, serial))

    @_reading
    def openCommittedBlobFile(
        self, oid: bytes, serial: bytes, blob: Any = None
    ) -> BinaryIO | BlobFile:
        """Return a blob, open."""
        path = self._blob(oid, serial)
        # the opener of ZODB's own, and no other reads what it gives
        return open_regular(path) if blob is None else BlobFile(str(path), "r", blob)

    def _blob(self, oid: bytes, serial: bytes) -> Path:
        if self._blobs is None:
            raise POSKeyError("this backup has no blobs", oid, serial)
        try:
            return self._blobs.path(BlobId(Oid(oid), Tid(serial)))
        except KeyError:
            raise POSKeyError("no such blob is in the backup", oid, serial) from None

    def temporaryDirectory(self) -> str:
        """Return a directory in which ZODB may put what a connection has not committed."""
        return str(self._directory)

    # methods that would write

    def _refuse(self, *_arguments: Any, **_named: Any) -> NoReturn:
        """Write nothing."""
        raise ReadOnlyError

    new_oid = store = storeBlob = restore = restoreBlob = deleteObject = _refuse
    tpc_begin = tpc_vote = tpc_finish = undo = pack = _refuse
    checkCurrentSerialInTransaction = copyTransactionsFrom = _refuse

    def tpc_abort(self, transaction: Any) -> None:
        """Do nothing: there is no transaction."""

    def tpc_transaction(self) -> None:
        """Return none: there is no transaction."""

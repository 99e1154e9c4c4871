"""A moment as a storage of ZODB: all that reads, as a read-only FileStorage does it.

Nothing is ever written.  The only changes are in a private directory, which is gone once the
storage is closed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO, Concatenate, NamedTuple, NoReturn, ParamSpec, TypeVar

from persistent.TimeStamp import TimeStamp
from ZODB.BaseStorage import DataRecord, TransactionRecord
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

from collective.recipe.backup.errors import BackupError, ConfigurationError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.format import MAGIC_SIZE, PACKED
from collective.recipe.backup.filestorage.format import DataRecord as Record
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.served.loggedextensions import extension_of
from collective.recipe.backup.served.momentblobs import MomentBlobs
from collective.recipe.backup.served.momentrecords import MomentRecords, WrittenTransaction
from collective.recipe.backup.served.privatecache import private_cache
from collective.recipe.backup.served.readpages import ReadPages
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.states import State
from collective.recipe.backup.times import ZERO_TID, Tid

P = ParamSpec("P")
T = TypeVar("T")


class MomentCache(NamedTuple):
    """Where a storage may put aside what it cannot read in place."""

    room: Path  # a directory, in which each storage gets its own
    size: int  # bytes of the log, and as many of blobs


def moment_storage(state: State, name: str, files: Files, cache: MomentCache) -> MomentStorage:
    """Return the storage of *state*, which is left when it is closed; logs call it *name*.

    Raises IntegrityError if what it needs to begin with is missing or damaged, BackupError if
    that cannot be read, and ConfigurationError if it has no filestorage.
    """
    with ExitStack() as stack:
        stack.enter_context(state)
        if state.log is None:
            raise ConfigurationError("only blobs are backed up here, and they tell of no objects")
        directory = stack.enter_context(private_cache(cache.room, files))
        aside = stack.enter_context(files.scratch(directory / "log"))
        # whatever becomes of this process, it is gone with it
        files.remove(Path(aside.path))
        pages = ReadPages(state.log, aside, cache.size)
        stack.callback(pages.close)
        records = MomentRecords(state.log, pages)
        found = state.blobs
        blobs = None if found is None else MomentBlobs(found, directory, files, cache.size)
        return MomentStorage(name, records, blobs, directory, stack.pop_all())


def _reading(
    method: Callable[Concatenate[MomentStorage, P], T],
) -> Callable[Concatenate[MomentStorage, P], T]:
    """Let one thread read at a time, and say what is wrong in an error that clients know."""

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
    """The storage; see ``moment_storage``."""

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

    # what it is

    def close(self) -> None:
        """Leave the restore point; what was put aside is gone."""
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
        """Say yes: what could be undone is told, though nothing can be."""
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
        filter: Callable[[Any], bool] | None = None,  # noqa: A002
    ) -> list[dict[str, Any]]:
        """Return what is known of the last *size* revisions of an object."""
        found: list[dict[str, Any]] = []
        record: Record | None = self._records.current(oid)
        while record is not None and len(found) < size:
            written = self._records.written(record.transaction)
            entry = {
                **extension_of(written.extension),
                "time": TimeStamp(record.tid).timeTime(),
                "user_name": written.user,
                "description": written.description,
                "tid": record.tid,
                "size": record.size,
            }
            if filter is None or filter(entry):
                found.append(entry)
            record = self._records.before(record)
        return found

    @_reading
    def undoLog(
        self,
        first: int = 0,
        last: int = -20,
        filter: Callable[[Any], bool] | None = None,  # noqa: A002
    ) -> list[dict[str, Any]]:
        """Return what is known of transactions since the last pack, the last one first."""
        stop = first - last if last < 0 else last
        found: list[dict[str, Any]] = []
        count = 0
        for written in self._records.backwards():
            if count >= stop or written.status == PACKED:
                break
            entry = {
                "id": base64.encodebytes(written.tid).rstrip(),
                "time": TimeStamp(written.tid).timeTime(),
                "user_name": written.user,
                "size": written.length,
                "description": written.description,
                **extension_of(written.extension),
            }
            if written.status == b" " and (filter is None or filter(entry)):
                if count >= first:
                    found.append(entry)
                count += 1
        return found

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
        found = None if written.status == b"u" else MomentTransaction(self, written)
        return found, written.begin + written.length + 8

    @_reading
    def records_of(self, written: WrittenTransaction) -> list[MomentRecord]:
        """Return the records of a transaction."""
        return [MomentRecord(self, it) for it in self._records.of(written)]

    @_reading
    def data_of(self, record: Record) -> bytes | None:
        """Return the data of a record; None: its object was taken back."""
        return self._records.data(record)

    @_reading
    def lender_of(self, record: Record) -> Tid | None:
        """Return the transaction whose data a record carries; None: its own, or none."""
        return self._records.lender(record)

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

    # what writes

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


class MomentTransaction(TransactionRecord):  # type: ignore[misc]  # ZODB has no type hints
    """A transaction, and its records."""

    def __init__(self, storage: MomentStorage, written: WrittenTransaction) -> None:
        """Read the records when they are asked for."""
        super().__init__(
            written.tid,
            written.status.decode("ascii"),
            written.user,
            written.description,
            extension_of(written.extension),
        )
        self.extension_bytes = written.extension
        self._storage = storage
        self._written = written

    def __iter__(self) -> Iterator[MomentRecord]:
        return iter(self._storage.records_of(self._written))


class MomentRecord(DataRecord):  # type: ignore[misc]  # ZODB has no type hints
    """A data record; its data are read when they are asked for."""

    def __init__(self, storage: MomentStorage, record: Record) -> None:
        """Be *record* of *storage*."""
        super().__init__(record.oid, record.tid, None, storage.lender_of(record))
        self._storage = storage
        self._record = record

    @property
    def data(self) -> bytes | None:
        """The pickles; None: the object was taken back."""
        return self._storage.data_of(self._record)

    @data.setter
    def data(self, _data: None) -> None:
        """Keep none."""

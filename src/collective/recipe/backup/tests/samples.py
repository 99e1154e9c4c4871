"""A real site to back up: a FileStorage with a bushy blob directory.

Commits happen at the moments that a test wants, so that a sample can be several days old;
the database is closed between calls, as a site is whose server was stopped.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import transaction
import ZODB.FileStorage
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from persistent.timestamp import TimeStamp
from ZODB.blob import Blob, is_blob_record
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

from collective.recipe.backup.times import ZERO_TID, Tid, tid_at

FOUNDED = datetime(2020, 1, 1, tzinfo=timezone.utc)
"""The moment of the first transaction of every sample site."""


class FileStorage(ZODB.FileStorage.FileStorage):
    """A FileStorage whose transactions can be given their moment."""

    moment: datetime | None = None

    def tpc_begin(self, transaction: Any, tid: bytes | None = None, status: str = " ") -> None:
        if self.moment is not None:
            tid = self._tid_at(self.moment)
        super().tpc_begin(transaction, tid, status)

    def _tid_at(self, moment: datetime) -> bytes:
        """Return the tid of *moment*, the next free one if that moment has one already."""
        tid = tid_at(moment)
        last = self.lastTransaction()
        if tid > last:
            return tid
        if tid[:7] < last[:7]:  # the last byte counts fractions of a microsecond
            raise ValueError(f"the site already has a transaction after {moment}")
        return TimeStamp(tid).laterThan(TimeStamp(last)).raw()


class Site:
    """A site in *directory*, made with its first transaction if it is not there yet.

    ``values`` are persistent objects of their own under ``root.values``, ``blobs`` are
    ZODB blobs under ``root.blobs``.
    """

    def __init__(self, directory: Path, *, founded: datetime = FOUNDED) -> None:
        self.directory = directory
        self.filestorage = directory / "var" / "filestorage" / "Data.fs"
        self.blobstorage = directory / "var" / "blobstorage"
        self._founded = founded
        self._db: ZODB.DB | None = None
        self._storage: FileStorage | None = None
        if not self.filestorage.exists():
            self.filestorage.parent.mkdir(parents=True, exist_ok=True)
            with self._at(founded) as db, db.transaction() as connection:
                connection.root()["values"] = OOBTree()
                connection.root()["blobs"] = OOBTree()

    @contextmanager
    def opened(self) -> Iterator[ZODB.DB]:
        """Give the open DB; calls inside the body share it, and so are quicker."""
        if self._db is not None:
            yield self._db
            return
        storage = FileStorage(str(self.filestorage), blob_dir=str(self.blobstorage))
        if storage.lastTransaction() == ZERO_TID:
            storage.moment = self._founded  # DB makes the first transaction by itself
        db = ZODB.DB(storage)
        storage.moment = None
        self._db, self._storage = db, storage
        try:
            yield db
        finally:
            self._db = self._storage = None
            db.close()

    @contextmanager
    def _at(self, moment: datetime | None) -> Iterator[ZODB.DB]:
        with self.opened() as db:
            assert self._storage is not None
            self._storage.moment = moment
            try:
                yield db
            finally:
                self._storage.moment = None

    def commit(
        self,
        values: Mapping[str, object] | None = None,
        blobs: Mapping[str, bytes] | None = None,
        *,
        at: datetime | None = None,
        by: str = "",
        note: str = "commit",
    ) -> Tid:
        """Set values and blobs in one transaction, at a moment or now; return its tid.

        It is *by* a user, and its description is *note*.
        """
        with self._at(at) as db:
            with db.transaction(note=note) as connection:
                connection.transaction_manager.get().user = by
                root = connection.root()
                root.setdefault("commits", 0)
                root["commits"] += 1
                for key, value in (values or {}).items():
                    root["values"].setdefault(key, PersistentMapping())["value"] = value
                for key, data in (blobs or {}).items():
                    with root["blobs"].setdefault(key, Blob()).open("w") as file:
                        file.write(data)
            return Tid(db.lastTransaction())

    def delete(
        self, key: str, *, at: datetime | None = None, by: str = "", note: str = "delete"
    ) -> Tid:
        """Take a value away; the rest is as for ``commit``."""
        with self._at(at) as db:
            with db.transaction(note=note) as connection:
                connection.transaction_manager.get().user = by
                del connection.root()["values"][key]
            return Tid(db.lastTransaction())

    def commit_blob_twice(self, key: str, data: bytes, *, at: datetime | None = None) -> Tid:
        """Write a blob anew that is there, with two records in the transaction, as Plone does."""
        with self._at(at) as db:
            with db.transaction() as connection:
                oid = connection.root()["blobs"][key]._p_oid
            storage = self._storage
            assert storage is not None
            record, serial = storage.load(oid)
            path = self.directory / "twice"
            path.write_bytes(data)
            about = TransactionMetaData(description="twice")
            storage.tpc_begin(about)
            storage.storeBlob(oid, serial, record, str(path), "", about)
            storage.store(oid, serial, record, "", about)
            storage.tpc_vote(about)
            return Tid(storage.tpc_finish(about))

    def undo(self, tid: Tid, *, at: datetime | None = None) -> Tid:
        """Undo the transaction *tid* in a new one; return its tid."""
        with self._at(at) as db:
            [found] = [
                entry["id"]
                for entry in db.undoLog(0, 10_000)
                if base64.decodebytes(entry["id"] + b"\n") == tid
            ]
            db.undo(found, transaction.get())
            transaction.commit()
            return Tid(db.lastTransaction())

    def commit_out_of_order(self, *tids: Tid) -> None:
        """Commit the root once more by a transaction for each of *tids*, whatever there is.

        After one that is not later ZODB shows what was at that time: let a later one follow.
        """
        with self.opened():
            storage = self._storage
            assert storage is not None
            data, _serial = storage.load(z64)
            for tid in tids:
                about = TransactionMetaData(description="out of order")
                storage.tpc_begin(about, tid)
                storage.restore(z64, tid, data, "", None, about)
                storage.tpc_vote(about)
                storage.tpc_finish(about)

    def pack(self, at: datetime | None = None) -> None:
        """Pack away what was no longer current at a moment, the present one by default."""
        with self.opened() as db:
            db.pack(at.timestamp() if at else None)

    def contents(self) -> dict[str, dict[Any, Any]]:
        """Return all there is in a form that can be compared: see contents_of."""
        return contents_of(self.filestorage, self.blobstorage)

    def tids(self) -> list[Tid]:
        """Return the tids of all transactions, oldest first."""
        storage = ZODB.FileStorage.FileStorage(str(self.filestorage), read_only=True)
        try:
            return [Tid(each.tid) for each in storage.iterator()]
        finally:
            storage.close()

    @property
    def size(self) -> int:
        """The size of the filestorage in bytes."""
        return self.filestorage.stat().st_size

    def lose(self) -> None:
        """Lose the filestorage with its index, and all blobs."""
        for path in self.filestorage.parent.iterdir():
            path.unlink()
        shutil.rmtree(self.blobstorage)


def contents_of(filestorage: Path, blobstorage: Path | None = None) -> dict[str, dict[Any, Any]]:
    """Return all that a filestorage and its blobs hold, in a form that can be compared.

    ``values`` and ``blobs`` are what an application sees now (blobs as their SHA-256),
    ``records`` is every record that any transaction wrote, ``revisions`` every blob file
    that a record names.  A blob that cannot be opened raises POSKeyError.
    """
    storage = ZODB.FileStorage.FileStorage(
        str(filestorage), read_only=True, blob_dir=str(blobstorage) if blobstorage else None
    )
    db = ZODB.DB(storage)
    try:
        records, revisions = {}, {}
        for record in chain.from_iterable(storage.iterator()):
            key = record.tid.hex(), record.oid.hex()
            records[key] = record.data
            if blobstorage and record.data and is_blob_record(record.data):
                revisions[key] = _digest(Path(storage.loadBlob(record.oid, record.tid)))
        with db.transaction() as connection:
            root = connection.root()
            values = {key: item["value"] for key, item in root["values"].items()}
            blobs = {
                key: _digest(Path(blob.committed())) if blobstorage else None
                for key, blob in root["blobs"].items()
            }
        return {"values": values, "blobs": blobs, "records": records, "revisions": revisions}
    finally:
        db.close()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

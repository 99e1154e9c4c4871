"""ZODB's own tests of storages, in which all that reads is asked of a backup just made.

They write to a FileStorage, and what they read comes from a moment opened after that.
"""

from __future__ import annotations

import shutil
import tempfile
import unittest
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import transaction
from ZODB import DB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.tests import (
    BasicStorage,
    HistoryStorage,
    IteratorStorage,
    ReadOnlyStorage,
    RecoveryStorage,
    RevisionStorage,
    StorageTestBase,
    TransactionalUndoStorage,
)

from collective.recipe.backup.files import Files
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.served.momentmaking import MomentCache, moment_storage
from collective.recipe.backup.served.momentstorage import MomentStorage
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

if not hasattr(BasicStorage.BasicStorage, "testGetTid"):
    pytest.skip("ZODB before 6 has other names for its tests", allow_module_level=True)

READING = {
    "getTid",
    "history",
    "iterator",
    "lastTransaction",
    "load",
    "loadBefore",
    "loadSerial",
    "record_iternext",
    "undoInfo",
    "undoLog",
}


def backed_up(operated: Operated) -> MomentStorage:
    operated.backup()
    destination = operated.destination()
    state = destination.open(choose(destination.restore_points(), None))
    cache = MomentCache(operated.site.directory / "cache", 1 << 30)
    return moment_storage(state, "test", Files(), cache)


class ServedStorage:
    """A FileStorage, of which a moment is opened whenever something is read."""

    def __init__(self, operated: Operated) -> None:
        self._operated = operated
        site = operated.site
        self._live = FileStorage(str(site.filestorage), blob_dir=str(site.blobstorage))
        self._opened = ExitStack()
        self._moment: MomentStorage | None = None
        self._made_at = 0

    def __getattr__(self, name: str) -> Any:
        # while a transaction is being written, what is asked for serves the writing
        reads = name in READING and self._live.tpc_transaction() is None
        return getattr(self.moment() if reads else self._live, name)

    def __len__(self) -> int:
        return len(self.moment())

    def getSize(self) -> int:
        return self.moment().getSize()

    def moment(self) -> MomentStorage:
        size = self._operated.site.filestorage.stat().st_size
        if self._moment is None or size != self._made_at:
            self._moment = backed_up(self._operated)
            self._opened.callback(self._moment.close)
            self._made_at = size
        return self._moment

    def close(self) -> None:
        self._opened.close()
        self._live.close()


class Reading(
    StorageTestBase.StorageTestBase,
    RevisionStorage.RevisionStorage,
    HistoryStorage.HistoryStorage,
    IteratorStorage.IteratorStorage,
    IteratorStorage.ExtendedIteratorStorage,
    TransactionalUndoStorage.TransactionalUndoStorage,
    ReadOnlyStorage.ReadOnlyStorage,
    RecoveryStorage.RecoveryStorage,
):
    make: type[Operated]
    use_extension_bytes = True

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(tempfile.mkdtemp())
        self.operated: Operated | None = None
        self.open()

        self._dst = FileStorage(str(self.directory / "copy.fs"))

    def tearDown(self) -> None:
        self._dst.close()
        self._close()
        self._storage = None
        # theirs cannot remove symbolic links
        shutil.rmtree(self.directory)
        super().tearDown()

    def open(self, **options: Any) -> None:
        if options.get("read_only"):
            assert self.operated is not None
            self._storage = backed_up(self.operated)
            return
        var = self.directory / "var"
        (var / "filestorage").mkdir(parents=True)
        site = SimpleNamespace(
            directory=self.directory,
            filestorage=var / "filestorage" / "Data.fs",
            blobstorage=var / "blobstorage",
        )
        self.operated = self.make(cast("Site", site))
        self._storage = ServedStorage(self.operated)

    testGetTid = BasicStorage.BasicStorage.testGetTid
    testLen = BasicStorage.BasicStorage.testLen
    testGetSize = BasicStorage.BasicStorage.testGetSize
    testStoreAndLoad = BasicStorage.BasicStorage.testStoreAndLoad
    testNote = BasicStorage.BasicStorage.testNote
    testMultipleEmptyTransactions = BasicStorage.BasicStorage.testMultipleEmptyTransactions

    def testBlobsAreCopiedFromAMoment(self) -> None:
        """As their RecoveryBlobStorage does from a storage that can be restored to."""
        database = DB(self._storage._live)
        connection = database.open()
        for number, data in enumerate((b"", b"some data", b"more" * 100_000, b"other")):
            connection.root()[number % 3] = blob = Blob()
            with blob.open("w") as file:
                file.write(data)
            transaction.commit()
        copy = FileStorage(str(self.directory / "blobs.fs"), blob_dir=str(self.directory / "blobs"))
        try:
            copy.copyTransactionsFrom(self._storage.moment())
            self.compare(self._storage.moment(), copy)
        finally:
            copy.close()
            connection.close()

    def testTransactionExtensionFromIterator(self) -> None:
        """That one needs its extension to be run, which none of a backup is."""


class ReadingADirectory(Reading):
    make = Operated


class ReadingARepository(Reading):
    make = OperatedInRepository


del Reading


def test_the_tests_of_zodb_are_there():
    found = unittest.defaultTestLoader.loadTestsFromTestCase(ReadingADirectory)
    assert found.countTestCases() > 45

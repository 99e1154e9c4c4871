"""Transactions and their records, as an iterator of a storage yields them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ZODB.BaseStorage import DataRecord, TransactionRecord

from collective.recipe.backup.filestorage.format import DataRecord as Record
from collective.recipe.backup.served.loggedextensions import extension_of
from collective.recipe.backup.served.momentrecords import WrittenTransaction
from collective.recipe.backup.times import Tid


class Reads(Protocol):
    """The storage that they are of."""

    def records_of(self, written: WrittenTransaction) -> Sequence[MomentRecord]:
        """Return the records of a transaction."""

    def data_of(self, record: Record) -> bytes | None:
        """Return the data of a record; None: its object was taken back."""


class MomentTransaction(TransactionRecord):  # type: ignore[misc]  # ZODB has no type hints
    """A transaction, and its records."""

    def __init__(self, storage: Reads, written: WrittenTransaction) -> None:
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

    def __init__(self, storage: Reads, record: Record, lender: Tid | None) -> None:
        """Be *record* of *storage*; it carries the data of the transaction *lender*.

        None for that: its own, or none.
        """
        super().__init__(record.oid, record.tid, None, lender)
        self._storage = storage
        self._record = record

    @property
    def data(self) -> bytes | None:
        """The pickles; None: the object was taken back."""
        return self._storage.data_of(self._record)

    @data.setter
    def data(self, _data: Any) -> None:
        """Keep none."""

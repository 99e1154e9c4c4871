"""One transaction of a log: its user, its description, and the size of its data."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from collective.recipe.backup.filestorage.classes import HEAD, KnownClasses, class_of
from collective.recipe.backup.filestorage.format import TRANSACTION, Transaction
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, Log
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.model import Oid
from collective.recipe.backup.times import ZERO_TID, Tid, tid_before
from collective.recipe.backup.transactions.coverage import EVERYTHING, Stretch

GONE = "(object is gone)"
"""The kind of a record that says that an undo took the creation of an object back."""


class Amount(NamedTuple):
    """The amount of data of one kind of objects."""

    objects: int  # number
    size: int  # bytes of data


class Logged(NamedTuple):
    """One transaction."""

    tid: Tid  # its id
    size: int  # bytes that it takes in the log; of some objects, the bytes of their data
    objects: int  # data records
    undoing: int  # number of records that only point to older data, as an undo writes them
    packed: bool  # a pack rewrote it, and may have dropped some of its objects
    undone: bool  # an undo of old took it back: its objects do not count
    user: bytes  # as written, without spaces around it
    description: bytes  # as written
    kinds: Mapping[str, Amount] = {}  # by class; empty if that was not asked for
    cut_off: bool = False  # a restore has taken it back
    oid: Oid | None = None  # one of the objects that were asked for; None: all were

    @property
    def marks(self) -> tuple[str, ...]:
        """Remarks about it, in words."""
        words = {
            "an undo": self.undoing,
            "undone": self.undone,
            "packed": self.packed,
            "taken back by a restore": self.cut_off,
        }
        return tuple(each for each, is_so in words.items() if is_so)


def logged(
    log: Log,
    gaps: Sequence[Stretch] = (EVERYTHING,),
    *,
    with_kinds: bool = False,
    oids: Container[Oid] | None = None,
) -> Iterator[Logged]:
    """Yield the transactions of *log* whose ids lie in *gaps*, in the order of the log.

    With *oids* only those that wrote one of these objects, and of each only what it wrote of
    them: then ``size`` is the bytes of their data.

    Only the headers of transactions and records are read, but for the classes *with_kinds*.
    Raises IntegrityError if the log is damaged.
    """
    reading = _Reading(log, oids, with_kinds=with_kinds)
    for transaction in transactions_in(log, gaps):
        entry = reading.entry(transaction)
        if entry.objects or oids is None:
            yield entry


def transactions_in(log: Log, gaps: Sequence[Stretch]) -> Iterator[Transaction]:
    """Yield the transactions of *log* whose ids lie in *gaps*.  Raises IntegrityError."""
    first, last = gaps[0].first, gaps[-1].last
    start = MAGIC_SIZE if first == ZERO_TID else log.cut(tid_before(first)).offset
    for transaction in log.transactions(start):
        if transaction.tid > last:
            return
        if any(gap.first <= transaction.tid <= gap.last for gap in gaps):
            yield transaction


class _Reading:
    """Reads what the transactions of a log hold, in their order."""

    def __init__(self, log: Log, oids: Container[Oid] | None, *, with_kinds: bool) -> None:
        self._oids = oids
        self._with_kinds = with_kinds
        self._reader = RecordReader(log, HEAD) if with_kinds else RecordReader(log)
        self._classes = KnownClasses()
        self._last: Oid | None = None  # the object that was counted last

    def entry(self, transaction: Transaction) -> Logged:
        user, description = self._texts(transaction)
        kinds: dict[str, Amount] = {}
        size = transaction.end - transaction.begin
        oid = None
        if self._oids is not None:
            objects, undoing, size, kinds = self._some(transaction, self._oids)
            oid = self._last
        elif self._with_kinds:
            objects, undoing, _data_size, kinds = self._some(transaction, None)
        else:
            objects, undoing = self._reader.counted(transaction)
        return Logged(
            tid=transaction.tid,
            size=size,
            objects=objects,
            undoing=undoing,
            packed=transaction.packed,
            undone=transaction.undone,
            user=user,
            description=description,
            kinds=kinds,
            oid=oid,
        )

    def _some(
        self, transaction: Transaction, oids: Container[Oid] | None
    ) -> tuple[int, int, int, dict[str, Amount]]:
        """Return of the records of *oids* (None: of all) how many, and how many only point.

        Then the bytes of their data, and these by class where that was asked for.
        """
        numbers: dict[str, int] = {}
        sizes: dict[str, int] = {}
        objects = undoing = data_size = 0
        class_at, window = self._classes.at, self._reader.window
        # this is done for each record of a site
        for oid, _tid, size, data, index, _previous in self._reader.places(transaction):
            if oids is not None and oid not in oids:
                continue
            self._last = oid
            objects += 1
            data_size += size
            undoing += not size
            if self._with_kinds:
                kind = class_at(window.data, index) if size else self._origin(transaction, data)
                numbers[kind] = numbers.get(kind, 0) + 1
                sizes[kind] = sizes.get(kind, 0) + size
        kinds = {kind: Amount(number, sizes[kind]) for kind, number in numbers.items()}
        return objects, undoing, data_size, kinds

    def _texts(self, transaction: Transaction) -> tuple[bytes, bytes]:
        window, size = self._reader.window, transaction.records - transaction.begin
        begin = window.at(transaction.begin, size)
        _tid, _length, _status, user, description, _extension = TRANSACTION.unpack_from(
            window.data, begin
        )
        begin += TRANSACTION.size
        end = begin + user
        return window.data[begin:end].strip(), window.data[end : end + description].strip()

    def _origin(self, transaction: Transaction, data: int) -> str:
        """Return the class of a record that only points to older data."""
        record, _head = self._reader.at(transaction, data)
        origin = self._reader.follow(record) if record.backpointer else b""
        return class_of(origin) if origin else GONE

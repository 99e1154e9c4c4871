"""The places of the current records of all objects, and the data of one.

The places are numbers in pages of 64, found by the rest of the oid: 9 bytes for each object where
oids follow each other, as ZODB gives them.  A site of 313,000 objects takes some 3 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.classes import KnownClasses
from collective.recipe.backup.filestorage.format import LENGTH, RECORD, TRANSACTION, DataRecord
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, Log
from collective.recipe.backup.filestorage.records import RecordReader, records_of
from collective.recipe.backup.filestorage.savedplaces import saved_places
from collective.recipe.backup.filestorage.storedlog import StoredLog, begins_with
from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.inert import ObjectState, state_of
from collective.recipe.backup.times import ZERO_TID, Tid

_WINDOW = 1 << 14
"""Bytes that are read at once: records that are near, as those are that a level needs in order."""

_BITS = 6
_EMPTY = array("Q", bytes(8 << _BITS))


class OidNumbers:
    """A number for each oid that has one; 0 stands for none."""

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}

    def __setitem__(self, oid: Oid, number: int) -> None:
        self.update([(oid, number)])

    def update(self, pairs: Iterable[tuple[bytes, int]]) -> None:
        """Give the number of each pair to its oid."""
        pages = self._pages
        # this is done for each record of a site
        for oid, number in pairs:
            key = int.from_bytes(oid, "big")
            page = pages.get(key >> _BITS)
            if page is None:
                page = pages[key >> _BITS] = _EMPTY[:]
            page[key & 63] = number

    def __getitem__(self, oid: Oid) -> int:
        key = int.from_bytes(oid, "big")
        page = self._pages.get(key >> _BITS)
        return 0 if page is None else page[key & 63]

    def __contains__(self, oid: object) -> bool:
        return isinstance(oid, bytes) and self[Oid(oid)] > 0

    def sorted(self, least: int = 0) -> array[int]:
        """Return all numbers from *least* on, the smallest first."""
        found = (each for page in self._pages.values() for each in page if each and each >= least)
        return array("Q", sorted(found))

    def below(self, limit: int) -> Iterator[Oid]:
        """Yield each oid with a number below *limit*."""
        for key, page in self._pages.items():
            for at, number in enumerate(page, key << _BITS):
                if 0 < number < limit:
                    yield Oid(at.to_bytes(8, "big"))

    def copy(self) -> OidNumbers:
        """Return another one with the same numbers."""
        copy = OidNumbers()
        copy._pages = {key: page[:] for key, page in self._pages.items()}
        return copy


class Held(NamedTuple):
    """An object, by its current record."""

    oid: Oid  # of the object
    tid: Tid  # of the transaction that wrote it
    kind: str  # its class
    data: bytes  # two pickles, perhaps compressed; see ``state``
    transaction: int  # the offset of that transaction

    @property
    def size(self) -> int:
        """The bytes of its data."""
        return len(self.data)

    def state(self) -> ObjectState:
        """Return its state.  Raises UnreadableStateError."""
        return state_of(self.data)


class Objects:
    """The objects of *log*, each as its last record has it.  It is for one thread."""

    def __init__(self, log: Log, earlier: Objects | None = None) -> None:
        """Read the headers of all records once, but for those that a saved index knows.

        Raises IntegrityError if the log is damaged, as far as it is read.

        If *log* begins with all of the log of the *earlier* objects, that part is not read again.
        """
        self._log = log
        self._window = log.window(_WINDOW)
        self._classes = KnownClasses()
        start = MAGIC_SIZE
        if earlier is None or not begins_with(log, earlier._log):
            self._places = OidNumbers()
            self._common = 0
            if isinstance(log, StoredLog):
                entries, start = saved_places(log)
                for prefix, entry in entries.items():
                    self._places.update(_entries(prefix, entry))
        else:
            self._places = earlier._places.copy()
            self._common = start = earlier._log.size
        if isinstance(log, StoredLog):
            for places in log.places(start):
                oids = (places.oids[at : at + 8] for at in range(0, len(places.oids), 8))
                self._places.update(zip(oids, places.offsets, strict=True))
            return
        reader = RecordReader(log)
        for transaction in log.transactions(start):
            self._places.update(reader.offsets(transaction))

    def __contains__(self, oid: object) -> bool:
        return oid in self._places

    def in_order(self, oids: Iterable[Oid]) -> list[Oid]:
        """Return *oids* in the order of the log, in which they are read quickest."""
        return sorted(oids, key=self._places.__getitem__)

    def load(self, oid: Oid) -> Held | None:
        """Return an object; None: it is not there, or an undo has taken its creation back."""
        place = self._places[oid]
        if not place:
            return None
        record = self._record(place)
        if record.oid != oid:
            raise IntegrityError(
                "the index that was stored with the filestorage names another object",
                where=self._log.path,
                hint=self._log.damage_hint,
            )
        return self.held(record)

    def unchanged(self) -> Iterator[Oid]:
        """Yield each object that is known to be what it was among the earlier objects."""
        return self._places.below(self._common)

    def records(self) -> Iterator[DataRecord]:
        """Yield the current record of each other object, in the order of the log."""
        return map(self._record, self._places.sorted(self._common))

    def written_with(self, held: Held) -> Iterator[Held]:
        """Yield all that the transaction of *held* wrote, as it wrote it."""
        for transaction in self._log.walk(held.transaction, ZERO_TID):
            yield from filter(None, map(self.held, records_of(self._log, transaction)))
            return

    def held(self, first: DataRecord) -> Held | None:
        """Return the object of which *first* is a record, as ``load`` does."""
        record = first
        while not record.size:
            (back,) = LENGTH.unpack(self._read(record.data, LENGTH.size))
            # always backwards, so that even a damaged log lets us out of here
            if not 0 < back < record.offset:
                return None
            record = self._record(back)
        data = self._read(record.data, record.size)
        kind = self._classes.at(data, 0)
        return Held(first.oid, first.tid, kind, data, first.transaction)

    def revisions(self, oid: Oid) -> Iterator[Held]:
        """Yield what the log has of an object, the newest first.

        Where an undo has taken its creation back, there is none.
        """
        place = self._places[oid]
        while place:
            record = self._record(place)
            held = self.held(record)
            if held is not None:
                yield held
            # always backwards, as in held
            place = record.previous if record.previous < place else 0

    def _read(self, offset: int, size: int) -> bytes:
        index = self._window.at(offset, size)
        if index < 0:
            return self._log.read(offset, size)  # which says what is wrong
        return self._window.data[index : index + size]

    def _record(self, offset: int) -> DataRecord:
        return DataRecord.unpack(self._read(offset, RECORD.size), offset)

    def user(self, held: Held) -> bytes:
        """Return the user who wrote *held*, as bytes of the transaction."""
        return self._texts(held)[0]

    def description(self, held: Held) -> bytes:
        """Return the description of the transaction that wrote *held*, as it was written."""
        return self._texts(held)[1]

    def _texts(self, held: Held) -> tuple[bytes, bytes]:
        head = self._read(held.transaction, TRANSACTION.size)
        user, description = TRANSACTION.unpack(head)[3:5]
        texts = self._read(held.transaction + TRANSACTION.size, user + description)
        return texts[:user].strip(), texts[user:].strip()


def _entries(prefix: bytes, entry: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each object of an entry of an index, and its place: see fsindex."""
    offsets = len(entry) // 4  # behind the last 2 bytes of each oid stand 6 for each offset
    for number in range(len(entry) // 8):
        at = offsets + 6 * number
        suffix = entry[2 * number : 2 * number + 2]
        yield prefix + suffix, int.from_bytes(entry[at : at + 6], "big")

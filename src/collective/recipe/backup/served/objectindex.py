"""The place of the current record of each object: some 9 bytes for each.

It comes from the index that was stored with the log, if that is believed, and from the headers
of the records behind it; else from those of all records.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ZODB.fsIndex import fsIndex

from collective.recipe.backup.filestorage.believing import is_believed
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.fsindex import PREFIX, start_of_entries
from collective.recipe.backup.filestorage.indexpairs import UnbelievableError, pairs
from collective.recipe.backup.filestorage.manyplaces import ManyPlaces
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.smallfile import open_regular

_SUFFIX = 2
"""Bytes of an oid behind its prefix."""
_ENTRY = struct.Struct(f"{_SUFFIX}s{PREFIX}s")
"""An entry: suffix and offset, which has as many bytes as a prefix."""
_ROW = struct.Struct(f"{PREFIX}s{_ENTRY.size}s")
_FEW = 1 << 18
"""Places that wait at least: 2 MB."""


def index_of(log: StoredLog) -> fsIndex:
    """Return the places of all objects of *log*.  Raises IntegrityError if it is damaged."""
    saved = log.saved_index()
    entries, start = (saved and _read(saved, log)) or ({}, MAGIC_SIZE)
    growing = _Growing(entries)
    for places in log.places(start):
        growing.add(places)
    index = fsIndex()
    # as ZODB itself reads an index that it has pickled
    index.__setstate__({"state_version": 1, "_data": growing.taken()})
    return index


def _read(path: Path, log: StoredLog) -> tuple[dict[bytes, bytes], int] | None:
    """Return the entries of the index at *path*, and where the log ended for it.

    None: it is not believed.
    """
    with suppress(OSError, UnbelievableError):
        if is_believed(path, log.read_at):
            with open_regular(path) as file:
                end = start_of_entries(file)
                found = dict(pairs(file))
            if end is not None:
                return found, end
    return None


class _Growing:
    """The entries of an index, as ``pairs`` yields them, and places that are to be among them.

    To sort one place in moves half of the thousands that are there for its prefix.  So places
    wait until they are as many as all entries.
    """

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self._entries = entries
        self._waiting: defaultdict[bytes, bytearray] = defaultdict(bytearray)
        self._number = 0  # of places that wait

    def add(self, places: ManyPlaces) -> None:
        """Add the next places; of an object the last one counts."""
        offsets = array("Q", places.offsets)
        if sys.byteorder == "little":
            offsets.byteswap()
        values = offsets.tobytes()
        # columns of bytes beside each other: the oid, and then the offset without its first two
        rows = bytearray(_ROW.size * len(offsets))
        for byte in range(8):
            rows[byte :: _ROW.size] = places.oids[byte::8]
        for byte in range(2, 8):
            rows[PREFIX + byte :: _ROW.size] = values[byte::8]
        for prefix, entry in _ROW.iter_unpack(rows):
            self._waiting[prefix] += entry
        self._number += len(offsets)
        if self._number >= max(_FEW, sum(map(len, self._entries.values())) // _ENTRY.size):
            self._settle()

    def _settle(self) -> None:
        """Sort in all that waits."""
        while self._waiting:
            prefix, new = self._waiting.popitem()
            found = self._entries.get(prefix, b"")
            split = len(found) // _ENTRY.size * _SUFFIX
            suffixes = (found[at : at + _SUFFIX] for at in range(0, split, _SUFFIX))
            offsets = (found[at : at + PREFIX] for at in range(split, len(found), PREFIX))
            merged = dict(zip(suffixes, offsets, strict=True))
            merged.update(_ENTRY.iter_unpack(new))
            order = sorted(merged)
            self._entries[prefix] = b"".join(order) + b"".join(map(merged.__getitem__, order))
        self._number = 0

    def taken(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all entries, which are given up."""
        self._settle()
        while self._entries:
            yield self._entries.popitem()

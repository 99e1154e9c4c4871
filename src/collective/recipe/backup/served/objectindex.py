"""The place of the current record of each object: some 9 bytes for each.

It comes from the index that was stored with the log, if that is believed, and from the headers
of the records behind it; else from those of all records.  Nothing is sorted before it is asked for.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections import defaultdict
from contextlib import suppress
from functools import cached_property
from typing import Any

from ZODB.fsIndex import fsBucket

from collective.recipe.backup.filestorage.fsindex import PREFIX
from collective.recipe.backup.filestorage.manyplaces import ManyPlaces
from collective.recipe.backup.filestorage.savedplaces import saved_places
from collective.recipe.backup.filestorage.storedlog import StoredLog

_SUFFIX = 2
"""Bytes of an oid behind its prefix."""
_ENTRY = struct.Struct(f"{_SUFFIX}s{PREFIX}s")
"""An entry: suffix and offset, which has as many bytes as a prefix."""
_ROW = struct.Struct(f"{PREFIX}s{_ENTRY.size}s")
_FEW = 1 << 20
"""Places that wait at least: 8 MB."""


def index_of(log: StoredLog) -> ObjectIndex:
    """Return the places of all objects of *log*.  Raises IntegrityError if it is damaged."""
    entries, start = saved_places(log)
    index = ObjectIndex(entries)
    for places in log.places(start):
        index.add(places)
    return index


class ObjectIndex:
    """The place of the current record of each object.  It is for one thread at a time.

    Objects whose oids have one prefix are kept together, as ZODB's own index keeps them.  To sort
    one place in moves half of the thousands that are there for its prefix.  So places wait until
    their prefix is asked for, or until they are as many as all entries.
    """

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        """Begin with *entries* by prefix, as ``pairs`` yields them; they are taken over."""
        self._entries = entries
        self._waiting: defaultdict[bytes, bytearray] = defaultdict(bytearray)
        self._number = 0  # of places that wait
        self._buckets: dict[bytes, Any] = {}  # of the prefixes that were asked for

    def add(self, places: ManyPlaces) -> None:
        """Add the next places, before any is asked for; of an object the last one counts."""
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
            while self._waiting:
                self._settle(next(iter(self._waiting)))
            self._number = 0

    def get(self, oid: bytes) -> int | None:
        """Return the place of the current record of an object; None: there is no such object."""
        place = self._bucket(oid[:PREFIX]).get(oid[PREFIX:])
        return None if place is None else int.from_bytes(place, "big")

    def minKey(self, least: bytes | None = None) -> bytes:
        """Return the first oid, from *least* on.  Raises ValueError if there is none."""
        least = least or bytes(8)
        prefixes = self._prefixes
        for number in range(bisect_left(prefixes, least[:PREFIX]), len(prefixes)):
            prefix = prefixes[number]
            suffix = least[PREFIX:] if prefix == least[:PREFIX] else bytes(_SUFFIX)
            with suppress(ValueError):
                return prefix + bytes(self._bucket(prefix).minKey(suffix))
        raise ValueError("there is no further object")

    def __len__(self) -> int:
        """The number of objects."""
        return sum(len(self._bucket(prefix)) for prefix in self._prefixes)

    @cached_property
    def _prefixes(self) -> list[bytes]:
        return sorted({*self._entries, *self._waiting, *self._buckets})

    def _bucket(self, prefix: bytes) -> Any:
        """Return the places of one prefix, sorted, in the fewest bytes."""
        bucket = self._buckets.get(prefix)
        if bucket is None:
            bucket = fsBucket()
            self._settle(prefix)
            entries = self._entries.pop(prefix, None)
            if entries is None:
                return bucket
            self._buckets[prefix] = bucket.fromString(entries)
        return bucket

    def _settle(self, prefix: bytes) -> None:
        """Sort in what waits for *prefix*."""
        new = self._waiting.pop(prefix, None)
        if new is None:
            return
        found = self._entries.get(prefix, b"")
        split = len(found) // _ENTRY.size * _SUFFIX
        suffixes = (found[at : at + _SUFFIX] for at in range(0, split, _SUFFIX))
        offsets = (found[at : at + PREFIX] for at in range(split, len(found), PREFIX))
        merged = dict(zip(suffixes, offsets, strict=True))
        merged.update(_ENTRY.iter_unpack(new))
        order = sorted(merged)
        self._entries[prefix] = b"".join(order) + b"".join(map(merged.__getitem__, order))

"""The places of the records of a log, many at a time: an index has millions of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from collective.recipe.backup.filestorage.format import RECORD
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.records import RecordReader

_BATCH = 10_000
"""Records that are told at a time, and those of a transaction more."""


class ManyPlaces(NamedTuple):
    """The places of consecutive records."""

    oids: bytes  # 8 bytes for each
    offsets: array[int]  # of each in its log


def places_between(log: Log, start: int, stop: int) -> Iterator[ManyPlaces]:
    """Yield the place of each data record between two boundaries of *log*, in their order."""
    reader = RecordReader(log)
    oids, offsets = bytearray(), array("Q")
    for transaction in log.transactions(start, stop):
        for oid, _tid, _size, data, _index, _previous in reader.places(transaction):
            oids += oid
            offsets.append(data - RECORD.size)
        if len(offsets) >= _BATCH:
            yield ManyPlaces(bytes(oids), offsets)
            oids, offsets = bytearray(), array("Q")
    if offsets:
        yield ManyPlaces(bytes(oids), offsets)

"""The check of FileStorage on an index: it uses one that passes, and reads the whole log otherwise.

The rule is that of ``_check_sanity`` in ZODB: the index must be of a place behind the first 100
bytes, and name the data records of the last transaction before that place which has some and
was not undone, the first 5 of them, each at its own offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    COMPLETE,
    LENGTH,
    MAGIC_SIZE,
    RECORD,
    TRANSACTION,
    UNDONE,
    DataRecord,
    TransactionHeader,
)
from collective.recipe.backup.filestorage.fsindex import PREFIX, start_of_entries
from collective.recipe.backup.filestorage.indexpairs import UnbelievableError, pairs
from collective.recipe.backup.model import Oid
from collective.recipe.backup.smallfile import open_regular

Read = Callable[[int, int], bytes]
"""Takes an offset and a size and returns those bytes of a log, fewer only where it ends."""

_LEAST = 100
"""Bytes of a log below which ZODB believes no index."""
_CHECKED = 5


def is_believed(index: Path, read: Read) -> bool:
    """Tell whether ZODB believes *index* for the log that *read* gives the bytes of.

    False as well for one that is not as ZODB 5 and later write it.  Raises OSError.
    """
    try:
        with open_regular(index) as file:
            end = start_of_entries(file)
            if end is None or end < _LEAST:
                return False
            wanted = set(_last_records(read, end))
            return wanted == set(_found(file, wanted))
    except (IntegrityError, UnbelievableError):
        return False


def reader_of(file: IO[bytes]) -> Read:
    """Return what reads from an open file."""

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    return read


def joined(first: Read, keep: int, rest: Read) -> Read:
    """Return what reads the first *keep* bytes of one, and then the other."""

    def read(offset: int, size: int) -> bytes:
        data = first(offset, min(size, keep - offset)) if offset < keep else b""
        if len(data) < size:
            data += rest(offset + len(data) - keep, size - len(data))
        return data

    return read


def _last_records(read: Read, end: int) -> Iterator[tuple[Oid, int]]:
    """Yield which data records ZODB looks at, and where they are."""
    while True:
        [length] = LENGTH.unpack(_exactly(read, end - LENGTH.size, LENGTH.size))
        begin = end - length - LENGTH.size
        if begin < MAGIC_SIZE:
            raise UnbelievableError
        header = TransactionHeader.unpack(_exactly(read, begin, TRANSACTION.size))
        if header.length != length or header.status not in COMPLETE or not header.fits:
            raise UnbelievableError
        last, end = end - LENGTH.size, begin
        offset = begin + TRANSACTION.size + header.texts
        if header.status == UNDONE or offset == last:
            continue
        for _number in range(_CHECKED):
            record = DataRecord.unpack(_exactly(read, offset, RECORD.size), offset)
            if not record.fits(begin, last):
                raise UnbelievableError
            yield record.oid, offset
            offset = record.data + (record.size or LENGTH.size)
            if offset >= last:
                break
        return


def _found(file: IO[bytes], wanted: set[tuple[Oid, int]]) -> Iterator[tuple[Oid, int]]:
    """Yield those of the *wanted* oids and places that are in an index."""
    for prefix, entries in pairs(file):
        for oid, place in wanted:
            if oid[:PREFIX] == prefix and _place_in(entries, oid[PREFIX:]) == place:
                yield oid, place


def _place_in(entries: bytes, suffix: bytes) -> int | None:
    """Return the place of the oid that ends in *suffix*; None: it is not among *entries*."""
    width = len(suffix)
    end = len(entries) // 8 * width  # of all suffixes
    at = entries.find(suffix, 0, end)
    while at % width and at >= 0:
        at = entries.find(suffix, at + 1, end)
    if at < 0:
        return None
    begin = end + at // width * 6
    return int.from_bytes(entries[begin : begin + 6], "big")


def _exactly(read: Read, offset: int, size: int) -> bytes:
    data = read(offset, size) if offset >= 0 else b""
    if len(data) != size:
        raise UnbelievableError
    return data

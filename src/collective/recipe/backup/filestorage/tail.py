"""The bytes after the last complete transaction of a log: nothing, a tail, or damage.

A *tail* belongs to no transaction that was ever finished: ZEO is just writing it, or died
while it did, or a disk filled up, or a power cut left zeros.  Leaving it out is right.
*Damage* within the log looks the same from its begin on, and leaving out what follows
would hide every later transaction.  So bytes count as a tail only if no complete
transaction stands in them, neither at their end, where a transaction says its length
once more, nor anywhere else; and damage counts only if it is still there at a second look,
since a writer at work changes the bytes while we read them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    BEING_WRITTEN,
    COMPLETE,
    LENGTH,
    RECORD,
    SMALLEST,
    TRANSACTION,
    TransactionHeader,
)
from collective.recipe.backup.times import Tid

NONE = ""
WRITING = "being written"
CUT_SHORT = "cut short"

DAMAGE_HINT = (
    "restore the last good backup, or stop the ZEO server and save what can be saved with"
    " ZODB's fsrecover"
)

_SECOND_LOOK = 0.05
_ZEROS = TransactionHeader.unpack(bytes(TRANSACTION.size))
_STEP = 1 << 20
_TID_SIZE = 8
# a length below 2 ** 40; only what follows its first byte is looked ahead at, as it may be a
# first byte too
_LENGTH_AND_STATUS = re.compile(rb"\0(?=\0\0.{5}[" + COMPLETE + b"])", re.DOTALL)


class _Damage(Exception):  # noqa: N818  not an error yet: a second look decides
    """Apparent damage, in words."""


def tail_at(descriptor: int, begin: int, after: Tid, where: Path) -> str | None:
    """Return why the bytes from *begin* on do not count, NONE if there are none.

    *begin* follows a transaction with the tid *after*.  Returns None if by now a complete
    transaction stands there.  Raises IntegrityError, which names *where*, if the log is
    damaged there.
    """
    try:
        return _look(descriptor, begin, after)
    except _Damage:
        times.pause(_SECOND_LOOK)
    try:
        return _look(descriptor, begin, after)
    except _Damage as damage:
        raise IntegrityError(
            f"the filestorage is damaged: the transaction at byte {begin} is not whole ({damage})",
            where=where,
            hint=DAMAGE_HINT,
        ) from None


def _look(descriptor: int, begin: int, after: Tid) -> str | None:
    size = os.fstat(descriptor).st_size
    start = os.pread(descriptor, TRANSACTION.size, begin)
    if size - begin < SMALLEST or len(start) < TRANSACTION.size:
        return NONE if size == begin else CUT_SHORT
    header = TransactionHeader.unpack(start)
    end = begin + header.length + LENGTH.size
    if header.fits and _length_at(descriptor, end - LENGTH.size) == header.length:
        return _after_whole(descriptor, header, begin, after)
    _refuse_last(descriptor, header, begin)
    _refuse_later(descriptor, begin + 1, after)
    return WRITING if header.status == BEING_WRITTEN else CUT_SHORT


def _after_whole(descriptor: int, header: TransactionHeader, begin: int, after: Tid) -> str | None:
    """Judge a transaction that has all its bytes."""
    if header.status != BEING_WRITTEN:
        if header.flaw:
            raise _Damage(header.flaw)
        return None
    _refuse_later(descriptor, begin + header.length + LENGTH.size, after)
    return WRITING


def _refuse_last(descriptor: int, header: TransactionHeader, begin: int) -> None:
    """Raise _Damage if the last transaction began here and was written to its end.

    Zeros do not say so: after a power cut they stand where nothing had reached the disk.
    """
    if header.status == BEING_WRITTEN or header == _ZEROS:
        return
    size = os.fstat(descriptor).st_size
    last = _length_at(descriptor, size - LENGTH.size)
    if last and size - LENGTH.size in (begin + last, begin + header.length):
        raise _Damage(f"its length is {header.length} at its begin, {last} at its end")


def _refuse_later(descriptor: int, begin: int, after: Tid) -> None:
    """Raise _Damage if a complete transaction stands anywhere from *begin* on."""
    size = os.fstat(descriptor).st_size
    last = size - LENGTH.size - (_length_at(descriptor, size - LENGTH.size) or size)
    if last >= begin and _is_complete(descriptor, last, b""):
        raise _Damage(f"and a complete one follows at byte {last}")
    for offset in _candidates(descriptor, begin):
        if _is_complete(descriptor, offset, after):
            raise _Damage(f"and a complete one follows at byte {offset}")


def _candidates(descriptor: int, begin: int) -> Iterator[int]:
    """Yield the offsets from *begin* on where bytes look like the header of a transaction."""
    while data := os.pread(descriptor, _STEP, begin):
        # zeros can go on for gigabytes, and hold no status
        found = _LENGTH_AND_STATUS.finditer(data, _TID_SIZE) if data.strip(b"\0") else ()
        for match in found:
            yield begin + match.start() - _TID_SIZE
        if len(data) < TRANSACTION.size:
            return
        begin += len(data) - TRANSACTION.size + 1


def _is_complete(descriptor: int, begin: int, after: bytes) -> bool:
    """Tell whether a whole transaction with a data record of its own stands at *begin*."""
    header = TransactionHeader.unpack(
        os.pread(descriptor, TRANSACTION.size, begin).ljust(23, b"\0")
    )
    return (
        header.flaw == ""
        and header.tid > after
        and _length_at(descriptor, begin + header.length) == header.length
        and _first_record_agrees(descriptor, header, begin) is True
    )


def _first_record_agrees(descriptor: int, header: TransactionHeader, begin: int) -> bool | None:
    """Tell whether the first data record has the tid of the transaction; None if there is none.

    Its offset is not compared: bytes may have been lost or put in somewhere before.
    """
    offset = begin + TRANSACTION.size + header.texts
    data = os.pread(descriptor, RECORD.size, offset)
    if len(data) < RECORD.size or offset == begin + header.length:
        return None
    return data[8:16] == header.tid


def _length_at(descriptor: int, offset: int) -> int | None:
    data = os.pread(descriptor, LENGTH.size, offset) if 0 <= offset < 1 << 62 else b""
    return LENGTH.unpack(data)[0] if len(data) == LENGTH.size else None

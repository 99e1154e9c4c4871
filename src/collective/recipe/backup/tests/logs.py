"""Logs of a filestorage made by hand, for what no FileStorage would write on request."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from collective.recipe.backup.filestorage.manyplaces import ManyPlaces
from collective.recipe.backup.times import Tid

MAGIC = b"FS30"


def tid(number: int) -> Tid:
    return Tid(struct.pack(">Q", (0x040D31 << 40) + number))


def record(
    begin: int,
    serial: Tid,
    *,
    oid: int = 1,
    data: bytes = b"data",
    back: int = 0,
    previous: int = 0,
) -> bytes:
    """Return a data record of the transaction at *begin*; without data it has a backpointer."""
    header = struct.pack(">Q8sQQHQ", oid, serial, previous, begin, 0, len(data))
    return header + (data or struct.pack(">Q", back))


def transaction(
    begin: int,
    serial: Tid,
    contents: Sequence[bytes] = (b"data",),
    *,
    status: bytes = b" ",
    texts: Sequence[bytes] = (b"user", b"", b"ext"),
) -> bytes:
    """Return a whole transaction at *begin*, with a data record for each of *contents*."""
    records = [record(begin, serial, oid=n, data=data) for n, data in enumerate(contents, 1)]
    return framed(serial, b"".join(records), status=status, texts=texts)


def framed(
    serial: Tid,
    records: bytes,
    *,
    status: bytes = b" ",
    texts: Sequence[bytes] = (b"user", b"", b"ext"),
) -> bytes:
    """Return a whole transaction around *records*."""
    length = 23 + sum(map(len, texts)) + len(records)
    header = struct.pack(">8sQcHHH", serial, length, status, *map(len, texts))
    return header + b"".join(texts) + records + struct.pack(">Q", length)


def log(*contents: Sequence[bytes], status: bytes = b" ") -> bytes:
    """Return a log with a transaction for each of *contents*; tids are 1, 2, 3..."""
    data = MAGIC
    for number, each in enumerate(contents, 1):
        data += transaction(len(data), tid(number), each, status=status)
    return data


def ends(data: bytes) -> list[int]:
    """Return where the transactions of a sound log end, by its lengths alone."""
    found, offset = [], len(MAGIC)
    while offset < len(data):
        offset += struct.unpack_from(">Q", data, offset + 8)[0] + 8
        found.append(offset)
    return found


def each_of(told: Iterable[ManyPlaces]) -> list[tuple[bytes, int]]:
    """Return each oid with its place."""
    return [
        (places.oids[8 * number : 8 * number + 8], place)
        for places in told
        for number, place in enumerate(places.offsets)
    ]

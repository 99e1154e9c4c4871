"""The entries of a ``Data.fs.index``, taken out without running its pickles: see fsindex."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from collective.recipe.backup.filestorage.fsindex import PREFIX

_PICKLE = b"\x80\x03"
_PAIR = b"\x86."
_LONGEST = 8 << 16
"""Bytes of the entries of one prefix, which has 2 bytes of each oid left."""


class UnbelievableError(Exception):
    """Something is not as ZODB 5 and later write it."""


def pairs(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each prefix with its entries: the last 2 bytes of each oid, then 6 for each offset.

    *file* stands where the entries begin.  Raises UnbelievableError.
    """
    while (begin := file.read(3)) == _PICKLE + b"C":
        prefix = _bytes(file, begin[2:])
        entries = _bytes(file, file.read(1))
        if file.read(len(_PAIR)) != _PAIR or len(prefix) != PREFIX or len(entries) % 8:
            raise UnbelievableError
        yield prefix, entries
    if begin != _PICKLE + b"N":
        raise UnbelievableError


def _bytes(file: IO[bytes], kind: bytes) -> bytes:
    """Return bytes as pickled after the *kind* of their length."""
    width = {b"C": 1, b"B": 4}.get(kind, 0)
    size = int.from_bytes(file.read(width), "little")
    data = file.read(min(size, _LONGEST + 1))
    if not width or len(data) != size or size > _LONGEST:
        raise UnbelievableError
    return data

r"""``Data.fs.index``: where FileStorage keeps the place of each object's last data record.

Without it a FileStorage reads the whole log when it is opened, with it only what comes after
the index's position.  The file is a sequence of pickles::

    position    where the log ended when the index was written
    (p, b)*     in the order of p, the first 6 bytes of oids; b is the last 2 bytes of each oid
                that begins with p, in order, then the offset of each, 6 bytes, big-endian
    None

An index is a cache.  FileStorage compares a few of its entries with the last transactions
before it believes it, and reads the log if it must.
"""

from __future__ import annotations

import heapq
import os
import pickle
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.writes import Writer
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.smallfile import open_regular

_PROTOCOL = 3
_END = pickle.dumps(None, _PROTOCOL)
_INTEGERS = {b"K": 1, b"M": 2, b"J": 4}

PREFIX = 6
"""Leading bytes of an oid that are common to the entries stored together."""
ENTRY = struct.Struct(">8sQ")
"""An object and where its data record is: an entry of a run, see NewIndex."""

_MERGED = 1 << 23
"""Bytes in memory while runs are merged."""
_WRITTEN = 1 << 20


def position(path: Path) -> int | None:
    """Return the position of the index at *path*; None if there is none that is whole."""
    try:
        with open_regular(path) as file:
            found = start_of_entries(file)
            file.seek(-len(_END), os.SEEK_END)
            whole = file.read() == _END
    except OSError:
        # missing, unreadable or shorter than an end: it cannot be used, whatever the reason
        return None
    return found if whole else None


def start_of_entries(file: IO[bytes]) -> int | None:
    """Return the position of an index that is open at its begin, None if it says none.

    The entries begin where the file stands then.
    """
    head = file.read(3)
    size = ord(file.read(1) or b"\0") if head[2:] == b"\x8a" else _INTEGERS.get(head[2:], 0)
    number = file.read(size)
    if len(number) != size or not size or head[:1] != b"\x80" or file.read(1) != b".":
        return None
    return int.from_bytes(number, "little")


def fits(path: Path, log: TransactionLog, end: int) -> bool:
    """Tell whether the index at *path* is one of *log* as it was at a boundary up to *end*.

    Then a FileStorage reads only what comes after its position.  Whether its entries are
    right is not looked at.
    """
    offset = position(path)
    if offset is None or offset > end:
        return False
    try:
        log.before(offset)
    except IntegrityError:
        return False
    return True


class NewIndex:
    """Makes a Data.fs.index out of runs of places, in bounded memory.

    A *run* is a byte string of entries, 16 bytes each: an oid and an offset, big-endian, in order.
    If an object has several places, the greatest offset counts, the last of the log.

    All runs but the last are written to a file beside *final*. A context manager: that file is
    removed after the body.
    """

    def __init__(self, final: Path, files: Files) -> None:
        """Begin with no run."""
        self._final = final
        self._files = files
        self._last = b""  # the last run
        self._aside: Writer | None = None
        self._runs: list[tuple[int, int]] = []  # begin and end of each in the file aside
        self._open = ExitStack()

    def __enter__(self) -> NewIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def add(self, run: bytes) -> None:
        """Take one more run; one that is empty is none."""
        if not run:
            return
        if self._last:
            self._put_aside(self._last)
        self._last = run

    def write(self, end: int) -> None:
        """Write the index of a log that ends at *end*, whole and durable."""
        with (
            explained("cannot write the index of the filestorage", self._final),
            self._files.writing(self._final, 0o600) as writer,
        ):
            waiting = bytearray(pickle.dumps(end, _PROTOCOL))
            for piece in _pickled(self._merged()):
                waiting += piece
                if len(waiting) >= _WRITTEN:
                    writer.write(waiting)
                    waiting.clear()
            writer.write(waiting + _END)

    def _put_aside(self, run: bytes) -> None:
        with explained("cannot put a part of the index aside", self._final.parent):
            if self._aside is None:
                self._aside = self._open.enter_context(self._files.scratch(self._final))
            begin = self._aside.size
            self._aside.write(run)
            self._runs.append((begin, self._aside.size))

    def _merged(self) -> Iterator[bytes]:
        """Yield all entries in order; those of one object in the order of their offsets."""
        size = max(ENTRY.size, _MERGED // (len(self._runs) or 1) // ENTRY.size * ENTRY.size)
        runs = [self._run(begin, end, size) for begin, end in self._runs]
        return heapq.merge(*runs, _entries(self._last))

    def _run(self, begin: int, end: int, size: int) -> Iterator[bytes]:
        assert self._aside is not None  # noqa: S101  there are no runs without
        while begin < end:
            data = os.pread(self._aside.descriptor, min(size, end - begin), begin)
            yield from _entries(data)
            begin += len(data)


def _entries(run: bytes) -> Iterator[bytes]:
    return (run[at : at + ENTRY.size] for at in range(0, len(run), ENTRY.size))


def _pickled(entries: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pickles of all entries, one for each prefix."""
    prefix, last, suffixes, offsets = b"", b"", bytearray(), bytearray()
    for entry in entries:
        oid = entry[:8]
        if oid[:PREFIX] != prefix:
            if suffixes:
                yield _pair(prefix, bytes(suffixes + offsets))
            prefix, suffixes, offsets = oid[:PREFIX], bytearray(), bytearray()
        elif oid == last:
            del suffixes[-2:], offsets[-6:]
        suffixes += oid[PREFIX:]
        offsets += entry[-6:]
        last = oid
    if suffixes:
        yield _pair(prefix, bytes(suffixes + offsets))


def _pair(prefix: bytes, places: bytes) -> bytes:
    """Return the pickle of the two, as FileStorage's pickler writes it, which keeps no memo."""
    return b"\x80\x03" + _bytes(prefix) + _bytes(places) + b"\x86."


def _bytes(data: bytes) -> bytes:
    if len(data) < 256:
        return b"C" + bytes([len(data)]) + data
    return b"B" + struct.pack("<I", len(data)) + data

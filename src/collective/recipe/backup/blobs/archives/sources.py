"""The files that an archive is made of: where each lies, and that all of it can be read.

A header says how large a file is before its bytes come, and nothing that was written can be
taken back.  So a small file is read before its header is written.  A large one is read on
the way; if that fails in the middle, the archive has to be begun anew, *with care*: then
each large file is read once before its header, and only what could be read is packed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.blobs.refusing import refusal
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.unreadable import CannotReadError, CutShortError, unreadable

SMALL = 1 << 20
"""Bytes of a file that is read before its header is written."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LeftOut(Exception):  # noqa: N818  it is told, and no error of the backup
    """A file that cannot be packed, and *why*."""

    def __init__(self, why: BackupError) -> None:
        super().__init__(str(why))
        self.why = why


class NotAtOnce(Exception):  # noqa: N818  caught, never shown
    """A large file could not be read to its end: the archive is to be begun anew, with care."""

    def __init__(self, why: BackupError) -> None:
        super().__init__(str(why))
        self.why = why


class OpenFile(NamedTuple):
    """An open file."""

    descriptor: int  # of the file
    status: os.stat_result  # at the opening
    pieces: Iterable[bytes]  # its bytes, once


class Sources:
    """Files below several *roots*; if several have a file, the first one counts.

    A file of *first* goes before all of them.
    """

    def __init__(self, roots: Sequence[Path], *, first: Path | None = None, care: bool) -> None:
        self.roots = roots
        self._places = [first, *roots] if first else roots
        self._care = care

    def found(self, path: str) -> tuple[Path, os.stat_result]:
        """Return the root that has *path*, and the status of the file.

        Raises FileNotFoundError if none has it, LeftOut if it cannot be looked at.
        """
        for root in self.roots[:-1]:
            with suppress(FileNotFoundError):
                return root, _looked_at(root, path)
        return self.roots[-1], _looked_at(self.roots[-1], path)

    def opened(self, entry: Entry) -> OpenFile:
        """Open the file of *entry*; the caller closes it.  Links are not followed.

        As far as can be known now, it has all its bytes.  A file that ends early is looked at once
        more, for a network may have stumbled.  A blob never changes, so it must have its first
        size.  Raises FileNotFoundError, or LeftOut; the pieces raise NotAtOnce.
        """
        try:
            try:
                return self._opened(entry, None)
            except CutShortError as error:
                return self._opened(entry, error.size)
        except CannotReadError as error:
            raise LeftOut(from_os_error(error, "cannot be read", entry.path)) from error

    def _opened(self, entry: Entry, size: int | None) -> OpenFile:
        place, descriptor = self._open(entry)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise LeftOut(BackupError("this is not a file any more", where=place))
            if size is not None and size != status.st_size and entry.kind is Kind.BLOB:
                raise CutShortError.of(place, size, status.st_size)
            reading = _Reading(descriptor, place, status.st_size, entry.kind is Kind.BLOB)
            return OpenFile(descriptor, status, self._pieces(reading))
        except BaseException:
            os.close(descriptor)
            raise

    def _open(self, entry: Entry) -> tuple[str, int]:
        for root in self._places:
            place = os.path.join(root, entry.path)
            try:
                return place, os.open(place, _FLAGS)
            except FileNotFoundError:
                continue
            except OSError as error:
                refused = refusal(entry._replace(kind=Kind.IMPOSTOR), root)
                if error.errno == errno.ELOOP and refused:
                    raise LeftOut(refused) from error
                raise unreadable(error, place) from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.path)

    def _pieces(self, reading: _Reading) -> Iterable[bytes]:
        if reading.size <= SMALL:
            return list(reading)
        if self._care:
            for _piece in reading:
                pass
            os.lseek(reading.descriptor, 0, os.SEEK_SET)
        return _at_once(reading)


@dataclass(frozen=True)
class _Reading:
    """All bytes of a file; raises CutShortError if fewer than *size*, or more of a blob."""

    descriptor: int  # of the open file
    place: str  # path, for messages
    size: int  # bytes
    is_blob: bool  # blobs may not be longer either

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        while left:
            try:
                data = os.read(self.descriptor, min(left, SMALL))
            except OSError as error:
                raise unreadable(error, self.place) from error
            if not data:
                raise CutShortError.of(self.place, self.size, self.size - left)
            left -= len(data)
            yield data
        # bytes added to another file meanwhile are left to the next backup
        if self.is_blob and os.fstat(self.descriptor).st_size != self.size:
            raise CutShortError.of(self.place, self.size, self.size)


def _at_once(reading: _Reading) -> Iterator[bytes]:
    try:
        yield from reading
    except OSError as error:
        raise NotAtOnce(from_os_error(error, "cannot be read", reading.place)) from error


def _looked_at(root: Path, path: str) -> os.stat_result:
    place = os.path.join(root, path)
    try:
        return os.lstat(place)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LeftOut(from_os_error(error, "cannot be read", place)) from error

"""Small files that any user may have put there: opened only if they are regular files.

A journal, a mark or a configuration lies where other programs and other people write.  Under its
name there may be a named pipe without a writer, or a file of a terabyte::

    regular       a descriptor of a regular file, of whatever size
    open_regular  such a file, to be read
    read_small    the bytes of one whose size has a limit

These functions never wait.  The room of the file decides whether a bad file is refused, or counts
as missing.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup import held
from collective.recipe.backup.errors import naming

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LIMIT = 16 << 20
"""Bytes that a small file may have, if its room has no limit of its own."""


class UnfitError(OSError):
    """The path of a small file has something else: no regular file, or a too large one."""

    hint = "find out what put it there, and move it away"


class NotRegularError(UnfitError):
    """The file to open is no regular file."""

    hint = "something else stands where a file should be: move it away"


def regular(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """Open *path*, which must be a regular file; anything else is not waited for.

    For the *opener* of ``open``.  *mode* is that of a file which *flags* allow to be made.
    With O_NOFOLLOW no link is followed that its owner could have put there: see links.
    Raises NotRegularError, or another OSError.
    """
    return regular_status(path, flags, mode)[0]


def regular_status(
    path: str | os.PathLike[str], flags: int, mode: int = 0o666
) -> tuple[int, os.stat_result]:
    """Open *path* as ``regular`` does; return the descriptor and the status of the file."""
    try:
        descriptor = _opened(path, flags | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a pipe without a reader
            raise _not_regular(path) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _opened(path: str | os.PathLike[str], flags: int, mode: int) -> int:
    if not flags & os.O_NOFOLLOW:
        return os.open(path, flags | os.O_CLOEXEC, mode)
    with held.place(path) as at:
        return at.open(flags, mode)


def open_regular(path: str | os.PathLike[str], *, follow: bool = True) -> BufferedReader:
    """Return the regular file at *path*, open for reading.  Raises as regular does.

    Errors of reading it name it too.  With *follow* false, a link is not followed: for what
    others will be able to read in another file.
    """
    return BufferedReader(_Named(path, opener=regular if follow else _itself))


def _itself(path: str, flags: int) -> int:
    return regular(path, flags | os.O_NOFOLLOW)


class _Named(FileIO):
    """A file whose errors name it, not only those of opening it."""

    def readinto(self, buffer: WriteableBuffer) -> int:
        with naming(self.name):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with naming(self.name):
            return super().readall()


def _not_regular(path: str | os.PathLike[str]) -> NotRegularError:
    return NotRegularError(errno.EINVAL, "not a regular file", os.fspath(path))


def read_small(path: Path, limit: int = LIMIT) -> bytes | None:
    """Return the bytes of the file at *path*, None if nothing is there.

    Raises UnfitError if it is no regular file or has more than *limit* bytes, and other
    OSErrors.
    """
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(data) > limit:
        what = f"larger than {limit} bytes, which no such file is"
        raise UnfitError(errno.EINVAL, what, os.fspath(path))
    return data

"""The size, the times and the digest of a file, all of one state or none.

A file that ends before its size was not read.  A blob never changes, so its size must be the
same before and after it is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.layout import Entry, blob_of
from collective.recipe.backup.blobs.refusing import refusal, text_of
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.unreadable import CannotReadError, CutShortError, unreadable

_SECOND = 10**9
_READ_SIZE = 1 << 20


def regular(path: StrPath) -> os.stat_result | None:
    """Return the status of a regular file, None if *path* is none that can be looked at."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def unchanged(one: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether two files, of one blob, have the same size and modification time."""
    return one.st_size == other.st_size and same_time(one.st_mtime_ns, other.st_mtime_ns)


def same_time(here: int, there: int) -> bool:
    """Tell whether two times, in nanoseconds, are equal.

    If one of the file systems keeps whole seconds only, the seconds are compared.
    """
    if here == there:
        return True
    return not (here % _SECOND and there % _SECOND) and here // _SECOND == there // _SECOND


def checksum_of(root: Path, path: str) -> Checksum:
    """Return what the file at *path* below *root* is.  A symbolic link is not followed.

    Raises CannotReadError, or FileNotFoundError if it is gone.
    """
    where = root / path
    if where.is_symlink():
        return link_checksum(path, text_of(where))
    try:
        digest, size = _read(where)
    except OSError as error:
        raise unreadable(error, where) from error
    return Checksum(path, size, digest)


def _read(path: Path) -> tuple[str, int]:
    """Return digest and size of a file."""
    digest, size = blake3(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        expected = os.fstat(descriptor).st_size
        room = min(expected + 1, _READ_SIZE)
        while data := os.read(descriptor, room):
            digest.update(data)
            size += len(data)
    finally:
        os.close(descriptor)
    if size < expected:
        raise CutShortError.of(path, expected, size)
    return digest.hexdigest(), size


def is_legible(root: Path, path: str) -> bool:
    """Tell whether there is a file at *path* below *root* that can be read to its end."""
    try:
        return regular(root / path) is not None and bool(checksum_of(root, path))
    except OSError:
        return False


def obstacle(entry: Entry, root: Path) -> BackupError | None:
    """Return why *entry* below *root* cannot be copied, None if it can: all of it is read.

    Raises FileNotFoundError if it is gone.
    """
    if refused := refusal(entry, root):
        return refused
    try:
        checksum_of(root, entry.path)
    except CannotReadError as error:
        return from_os_error(error, "cannot be read")
    return None


def link_checksum(path: str, text: str) -> Checksum:
    """Return what a symbolic link at *path* with *text* is."""
    return Checksum(path, None, blake3(os.fsencode(text)).hexdigest())


def copied_whole(path: str, size: int | None, copy: Callable[..., int]) -> Checksum:
    """Copy the file known as *path*; return the checksum of the copy.

    *copy* takes the keywords of Files.copy, *size* is one of them.  A file that ends early is read
    once more: a network may have stumbled.  Raises CannotReadError.
    """
    try:
        return _copied(path, copy, size)
    except CutShortError:
        return _copied(path, copy, size)


def _copied(path: str, copy: Callable[..., int], size: int | None) -> Checksum:
    digest = blake3()
    copied = copy(observe=digest.update, size=size)
    return Checksum(path, copied, digest.hexdigest())


def size_to_come(path: str, source: StrPath) -> int | None:
    """Return the size in bytes that a copy of *source*, known as *path*, must have.

    None: any, for only a blob never changes.  Raises CannotReadError.
    """
    if blob_of(path) is None:
        return None
    try:
        return os.lstat(source).st_size
    except OSError as error:
        raise unreadable(error, source) from error

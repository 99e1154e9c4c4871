"""Copies of files: shared blocks or copied bytes, the times, the mode and the owner."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from collective.recipe.backup.errors import naming
from collective.recipe.backup.files.changes import REFUSED, ExchangedError
from collective.recipe.backup.files.writes import Writer, Writes
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.smallfile import regular, regular_status
from collective.recipe.backup.unreadable import CannotReadError, CutShortError, unreadable

Observe = Callable[[memoryview], object]
"""Called with the bytes of a file, piece by piece, while they are copied."""

_COPY_SIZE = 1 << 20
_FICLONE = 0x40049409  # from linux/fs.h; Python names it from 3.12 on
_NEVER_CLONE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}
# which of the two files EIO is of, only a read and a write can tell
_NO_CLONE = {*_NEVER_CLONE, errno.EINVAL, errno.EPERM, errno.EIO}
_NO_COPY_RANGE = {*REFUSED, errno.EXDEV, errno.EBADF}


class Copies(Writes):
    """Changes that make one file what another one is."""

    def __init__(self, token: Callable[[], str] = lambda: os.urandom(4).hex()) -> None:
        """Take *token*, which returns 8 hex digits that were not used before."""
        super().__init__(token)
        self._unclonable: set[tuple[int, int]] = set()

    def copy(
        self,
        source: StrPath,
        target: StrPath,
        *,
        sync: bool = True,
        observe: Observe | None = None,
        size: int | None = None,
    ) -> int:
        """Copy a regular file with its times, mode and, for root, owner; return the bytes copied.

        *target* must not exist and must be a temporary name or lie in a staged tree, for
        it is not made in one step.  Without *sync* the caller syncs the tree.  A symbolic
        link as *source* is not followed but an error.  *observe* is called with all bytes
        in their order, which then are read once for it and for the copy.

        *size* is that of a file that never changes (None: it may).  Raises CannotReadError
        if *source* cannot be read, CutShortError if it ends early or has not that *size*
        before and after; then *target* is gone.
        """
        try:
            reader, status = regular_status(source, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise unreadable(error, source) from error
        try:
            # the permissions of its owner, who alone may read it until it is whole
            descriptor, _directory = self._create(target, status.st_mode & stat.S_IRWXU)
            try:
                made = os.fstat(descriptor)
                writer = Writer(self, target, descriptor)
                devices = status.st_dev, made.st_dev
                with naming(source):  # a failure that is no change is a failed read
                    copied = self._take(reader, writer, devices, observe)
                    _check_end(reader, status.st_size, copied, size)
                self._keep_status(target, descriptor, status, made)
                if sync:
                    self._change("fsync", target, os.fsync, descriptor)
            finally:
                os.close(descriptor)
        except CannotReadError as error:
            self.discard(Path(target))
            error.filename = os.fspath(source)  # the kernel names no file
            raise
        finally:
            os.close(reader)
        return copied

    def _take(
        self, reader: int, writer: Writer, devices: tuple[int, int], observe: Observe | None
    ) -> int:
        """Copy all bytes of *reader*; return how many they were."""
        if not self._clone(reader, writer, devices):
            return self._fill(reader, writer, observe)
        return _read_through(reader, observe) if observe else os.fstat(writer.descriptor).st_size

    @contextmanager
    def filling(self, target: StrPath, like: os.stat_result) -> Iterator[Writer]:
        """Yield a Writer of *target*, which gets mode, times and, for root, owner of *like*.

        As with copy it must not exist and must lie in a staged tree, which the caller syncs.
        """
        descriptor, _directory = self._create(target, 0o600)
        try:
            yield Writer(self, target, descriptor)
            self._keep_status(target, descriptor, like, os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def publish_copy(  # noqa: PLR0913  what copy takes, and where
        self,
        source: Path,
        final: Path,
        *,
        observe: Observe | None = None,
        size: int | None = None,
        room: Path | None = None,
        sync: bool = True,
    ) -> int:
        """Copy *source* to *final*, whole and durable, in one step for readers.

        Until then it lies in the directory *room*, on the same file system, by default
        beside *final*.  Without *sync* it is durable once the caller has synced the
        directory of *final*: of many in one directory, or of many directories at once.
        """
        partial = self.partial_name(room / final.name if room else final)
        try:
            copied = self.copy(source, partial, observe=observe, size=size)
            (self.rename if sync else self.move)(partial, final)
        except BaseException:
            self.discard(partial)
            raise
        return copied

    def make_like(self, path: Path, original: os.stat_result) -> None:
        """Give a staged file the mode, the group and, for root, the owner of *original*.

        Raises ExchangedError if it has another name, which no staged file has.
        """
        descriptor = regular(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            made = os.fstat(descriptor)
            if made.st_nlink != 1:
                raise ExchangedError.at(path)
            self._keep_rights(path, descriptor, original, made)
        finally:
            os.close(descriptor)

    def _keep_status(
        self, target: StrPath, descriptor: int, like: os.stat_result, made: os.stat_result
    ) -> None:
        """Give a file that was *made* the missing attributes to be *like* another one."""
        self._keep_rights(target, descriptor, like, made)
        times = (like.st_atime_ns, like.st_mtime_ns)
        self._try("utime", target, os.utime, descriptor, ns=times)

    def _fill(self, reader: int, writer: Writer, observe: Observe | None) -> int:
        """Copy the bytes from *reader* up to its end; return the size."""
        if observe is None:
            return self._pour(reader, writer)
        # as fast as the kernel's copy and a second reading for the observer
        return _read_through(reader, observe, writer)

    def _clone(self, reader: int, writer: Writer, devices: tuple[int, int]) -> bool:
        """Share the blocks of the file, where the file system can."""
        if devices in self._unclonable:
            return False
        try:
            self._change("clone", writer.path, fcntl.ioctl, writer.descriptor, _FICLONE, reader)
        except OSError as error:
            if error.errno in _NEVER_CLONE:
                self._unclonable.add(devices)
            if error.errno in _NO_CLONE or error.errno == errno.EIO:
                return False  # EIO does not tell which of both files it is about: a read does
            raise
        return True

    def _pour(self, reader: int, writer: Writer) -> int:
        """Copy from *reader* up to the end; in the kernel where it can."""
        done = 0
        while True:
            try:
                step = self._change(
                    "write",
                    writer.path,
                    os.copy_file_range,
                    reader,
                    writer.descriptor,
                    1 << 30,
                )
            except OSError as error:
                if error.errno != errno.EIO and (done or error.errno not in _NO_COPY_RANGE):
                    raise
                step = 0
            if not step:
                # the end; a file system (procfs, old overlays) that cannot tell; or EIO, which does
                # not tell which of both files it is about
                return done + _read_through(reader, None, writer)
            done += step


def _read_through(reader: int, observe: Observe | None, writer: Writer | None = None) -> int:
    """Read what *reader* still holds and hand it on; return its size in bytes."""
    size = 0
    # many files are small: no more memory than they need
    room = min(os.fstat(reader).st_size + 1, _COPY_SIZE)
    while data := _read(reader, room):
        if observe:
            observe(memoryview(data))
        if writer:
            writer.write(data)
        size += len(data)
    return size


def _read(reader: int, room: int) -> bytes:
    try:
        return os.read(reader, room)
    except OSError as error:
        raise unreadable(error, "") from error  # the caller, who has opened it, knows its name


def _check_end(reader: int, before: int, copied: int, expected: int | None) -> None:
    """Raise CutShortError unless all was copied of a file that had *before* bytes.

    *expected* is the size of a file that never changes, None of one that may.
    """
    after = os.fstat(reader).st_size
    if expected is None:
        expected = min(before, after)
        if copied >= expected:
            return
    if not expected == before == copied == after:
        raise CutShortError.of("", expected, copied)

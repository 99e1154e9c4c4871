"""Files and trees that come to be whole and durable, or not at all.

A file comes to be in four steps: written under a temporary name in the directory of its final
one, fsynced, renamed, the directory fsynced.  A tree comes to be the same way, with one sync of
its file system in place of thousands.  A writer holds a lock on the file under its temporary
name until that is final, so no sweep of another run takes it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collective.recipe.backup import held, links
from collective.recipe.backup.files.changes import Changes
from collective.recipe.backup.files.entries import Entries
from collective.recipe.backup.files.partials import hold, naming_final
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.smallfile import NotRegularError, regular


class Writer:
    """An open file under its temporary name."""

    def __init__(self, files: Changes, path: StrPath, descriptor: int) -> None:
        """Write to *descriptor*, which stays its opener's to close."""
        self.path = path
        self.descriptor = descriptor
        self.size = 0
        self._files = files

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of *data*; return its length in bytes."""
        view = memoryview(data).cast("B")
        size = len(view)
        while view:
            view = view[self._files._change("write", self.path, os.write, self.descriptor, view) :]
        self.size += size
        return size

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace the bytes at *offset*, which were written before, by *data*."""
        while data:
            done = self._files._change(
                "pwrite", self.path, os.pwrite, self.descriptor, data, offset
            )
            data, offset = data[done:], offset + done

    def leave_hole(self, size: int) -> None:
        """Let *size* bytes of zeros follow, which take no room where holes can be."""
        self.size += size
        self._files._change("truncate", self.path, os.ftruncate, self.descriptor, self.size)
        os.lseek(self.descriptor, self.size, os.SEEK_SET)


class Writes(Entries):
    """Changes to the contents of files."""

    @contextmanager
    def writing(self, final: Path, mode: int = 0o666) -> Iterator[Writer]:
        """Yield a Writer; *final* comes to be, whole and durable, when the body succeeds.

        A *final* that exists is replaced at that moment, not before.  When the body
        fails, nothing is left.
        """
        with self._making(final, mode) as writer:
            yield writer
            self._change("fsync", writer.path, os.fsync, writer.descriptor)
            self.rename(Path(writer.path), final)

    @contextmanager
    def unnamed(self, final: Path, mode: int = 0o666) -> Iterator[Writer]:
        """Yield a Writer of the future file *final*; when the body succeeds it is durable.

        It keeps its temporary name, the *path* of the Writer, until it is given to ``name``.
        """
        with self._making(final, mode) as writer:
            yield writer
            self._change("fsync", writer.path, os.fsync, writer.descriptor)

    @contextmanager
    def _making(self, final: Path, mode: int) -> Iterator[Writer]:
        """Yield a Writer under a temporary name, which is locked; if the body fails it is gone."""
        while True:
            partial = self.partial_name(final)
            descriptor, directory = self._create(partial, self._limited(final, mode))
            try:
                if not hold(descriptor, partial):
                    # a sweep came before the lock
                    self.discard(partial)
                    continue
                self._hand_over(partial, descriptor, directory)
                yield Writer(self, partial, descriptor)
                return
            except BaseException:
                self.discard(partial)
                raise
            finally:
                os.close(descriptor)

    def name(self, partial: Path, final: Path) -> None:
        """Rename a whole file from its temporary name to *final*; if that fails it is removed."""
        try:
            self.rename(partial, final)
        except BaseException:
            self.discard(partial)
            raise

    @contextmanager
    def creating(self, final: Path, mode: int = 0o600) -> Iterator[Writer]:
        """Yield a Writer; *final* comes to be, whole and durable, when the body succeeds.

        A *final* that exists is never replaced: that raises FileExistsError.  The modification
        time of *final* is that at which it came to be.  When the body fails, nothing is left.
        """
        with self._making(final, mode) as writer:
            yield writer
            # a writer that was stopped since its last write publishes now, not then
            self._change("utime", writer.path, os.utime, writer.descriptor)
            self._change("fsync", writer.path, os.fsync, writer.descriptor)
            self._name_new(Path(writer.path), final)

    def _name_new(self, partial: Path, final: Path) -> None:
        """Give *partial* the name *final*, which must not exist.  Raises FileExistsError."""
        if self.link(partial, final):
            self.remove(partial)
        elif os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(final))
        else:
            # without hard links, two that make the same name at the same moment both succeed
            self.move(partial, final)
        self.sync_directory(final.parent)

    @contextmanager
    def scratch(self, final: Path) -> Iterator[Writer]:
        """Yield a Writer for a file that is needed only while *final* is made, and is read again.

        The file lies beside *final* and is removed after the body.
        """
        partial = self.partial_name(final)
        descriptor, _directory = self._create(partial, 0o600, os.O_RDWR)
        try:
            yield Writer(self, partial, descriptor)
        finally:
            os.close(descriptor)
            self.discard(partial)

    def _create(
        self, path: StrPath, mode: int, flags: int = os.O_WRONLY
    ) -> tuple[int, os.stat_result]:
        """Make a file that must not be there; return a descriptor, and what its directory is."""
        with naming_final(), held.place(path) as at:
            directory = at.directory_status()
            flags |= os.O_CREAT | os.O_EXCL
            return self._change("create", path, at.open, flags, mode), directory

    def write(self, final: Path, data: bytes, mode: int = 0o666) -> None:
        """Make *final* hold *data*, in one step for all readers."""
        with self.writing(final, mode) as writer:
            writer.write(data)

    def publish(self, path: Path, data: bytes, mode: int | None = None) -> None:
        """Make the file that a user has named hold *data*, in one step.

        It gets just this *mode*, whatever the umask (None: that of the file that it replaces; if
        there is none, by the umask and the limit). A symbolic link is followed, by root as links
        says.  Raises NotRegularError for a device or a pipe, which would be lost, and which others
        use.
        """
        final = Path(links.real(path))
        if os.path.lexists(final) and not final.is_file():
            raise NotRegularError(errno.EINVAL, "not a regular file", os.fspath(path))
        # files of a run that was killed, as far as this user may look for them
        with suppress(OSError):
            self.sweep(final.parent, of=final.name, alone=False)
        if mode is None and final.exists():
            mode = final.stat().st_mode & 0o666
        with self.writing(final, 0o666 if mode is None else mode) as writer:
            writer.write(data)
            if mode is not None:
                self._try("chmod", writer.path, os.fchmod, writer.descriptor, mode)

    def append(self, path: Path, data: bytes) -> None:
        """Add *data* at the end of *path* and fsync it.  Not atomic: for logs only.

        A symbolic link is not followed but an error: it could lead to live data.
        """
        flags = os.O_WRONLY | os.O_APPEND
        directory = None
        if os.path.lexists(path):
            descriptor = self._change("create", path, regular, path, flags | os.O_NOFOLLOW)
        else:
            descriptor, directory = self._create(path, self._limited(path, 0o666), flags)
        try:
            if directory is not None:
                self._hand_over(path, descriptor, directory)
            Writer(self, path, descriptor).write(data)
            self._change("fsync", path, os.fsync, descriptor)
        finally:
            os.close(descriptor)
        if directory is not None:
            self.sync_directory(path.parent)

    def check_writable(self, path: Path) -> None:
        """Raise OSError if this user may not write into *path*, or it is no regular file."""
        os.close(self._change("try", path, regular, path, os.O_WRONLY | os.O_NOFOLLOW))

    @contextmanager
    def overwriting(self, path: Path, offset: int) -> Iterator[Writer]:
        """Yield a Writer into *path* from *offset* on; the last written byte is its end.

        Not made in one step: only under a journal that can do it again.  A symbolic link is not
        followed but an error.
        """
        descriptor = regular(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            writer = Writer(self, path, descriptor)
            yield writer
            end = offset + writer.size
            self._change("truncate", path, os.ftruncate, descriptor, end)
            self._change("fsync", path, os.fsync, descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def staging(self, final: Path) -> Iterator[Path]:
        """Yield a new directory that becomes *final*, whole and durable, if the body succeeds.

        *final* must not exist or be an empty directory.
        """
        partial = self.partial_name(final)
        self.make_directory(partial)
        try:
            yield partial
            self.sync_tree(partial)
            self.rename(partial, final)
        except BaseException:
            self.discard(partial)
            raise

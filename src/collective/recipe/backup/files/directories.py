"""Directories and trees: made, removed with all in them, and made durable."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

from collective.recipe.backup import held, listings
from collective.recipe.backup.descent import Descent
from collective.recipe.backup.errors import naming
from collective.recipe.backup.files.changes import OF_OTHERS, REFUSED, Changes, ExchangedError
from collective.recipe.backup.links import StrPath

FEW = 100
"""So many files and directories are synced one by one, at most."""

_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}
_TO_SYNC = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_OPENED = {errno.EACCES, errno.EPERM, errno.ELOOP}


class Directories(Changes):
    """Changes of directories as a whole."""

    def make_directories(self, path: Path) -> None:
        """Make *path* and its parents where they are missing, durably."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            if path == path.parent:
                break
            path = path.parent
        for directory in reversed(missing):
            self.make_directory(directory)
            self.sync_directory(directory.parent)

    def make_directory(self, path: StrPath, mode: int = 0o777) -> None:
        """Make one directory; not durable before its tree or its parent is synced."""
        mode = self._limited(path, mode)
        with held.place(path) as at:
            directory = at.directory_status()
            if self._make_directory(path, at, mode) and os.geteuid() == 0 and directory.st_uid:
                with _opened(at, new=True) as descriptor:
                    self._hand_over(path, descriptor, directory)

    def _make_directory(self, path: StrPath, at: held.HeldName, mode: int) -> bool:
        """Make one directory; False if it is there."""
        try:
            self._change("mkdir", path, at.make_directory, mode)
        except FileExistsError:
            if os.path.isdir(path):
                return False
            code = errno.ENOTDIR
            raise NotADirectoryError(code, os.strerror(code), os.fspath(path)) from None
        return True

    def make_directory_like(self, path: StrPath, original: os.stat_result) -> None:
        """Make one directory with the mode and, for root, the owner of *original*.

        Its own user may enter and change it, whatever the original says, so that it can be
        filled.  A link to a directory that was there stays as it is.  So does a directory that
        may be another one of root's, which the owner of the directory around it has put there.
        """
        mode = stat.S_IMODE(original.st_mode) | stat.S_IRWXU
        if original.st_gid != os.getegid():
            mode &= ~OF_OTHERS  # it would be another group that has these
        with held.place(path) as at:
            new = self._make_directory(path, at, mode)
            if (not new and os.path.islink(path)) or (new and _is_like(at.status(), original)):
                return
            with _opened(at, new=new) as descriptor:
                made = os.fstat(descriptor)
                if new or os.geteuid() or not _is_perhaps_of_root(at, descriptor, made):
                    self._keep_rights(path, descriptor, original, made)

    def remove(self, path: Path) -> None:
        """Remove one file or symbolic link."""
        self._change("unlink", path, held.unlink, path)

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all in it.  Symbolic links are removed, never followed."""
        try:
            descent = Descent(path)
        except NotADirectoryError:
            self.remove(path)
            return
        with descent:
            self._empty(descent)
        self._change("rmdir", path, held.rmdir, path)

    def _empty(self, here: Descent) -> None:
        """Remove all that is in a directory."""
        waiting: list[list[str]] = [[]]  # directories of each one from the top down
        while waiting:
            if not waiting[-1]:
                waiting[-1], others = here.some_entries()
                for name in others:
                    self._remove_at(here, "unlink", os.unlink, name)
                if others and not waiting[-1]:
                    continue  # there may be more
            if waiting[-1]:
                here.down(waiting[-1].pop())
                waiting.append([])
                continue
            waiting.pop()
            if waiting:
                self._remove_at(here, "rmdir", os.rmdir, here.up())

    def _remove_at(
        self, here: Descent, operation: str, function: Callable[..., None], name: str
    ) -> None:
        path = here.path / name
        try:
            with listings.changing:
                self._change(operation, path, function, name, dir_fd=here.descriptor)
        except OSError as error:
            error.filename = os.fspath(path)
            raise

    def remove_empty(self, path: Path) -> bool:
        """Remove a directory if it is empty; False if it is not, or not there."""
        try:
            self._change("rmdir", path, held.rmdir, path)
        except OSError as error:
            if error.errno in _NOT_EMPTY:
                return False
            raise
        return True

    def clear(self, path: Path) -> None:
        """Remove *path*, whatever it is, if it is there."""
        if path.is_dir() and not path.is_symlink():
            self.remove_tree(path)
        elif path.is_symlink() or path.exists():
            self.remove(path)

    def sync_directory(self, path: Path) -> bool:
        """Make the entries of *path* durable; False where the file system refuses.

        Such file systems (some network ones) order their entries themselves, or cannot say.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return self._try("fsync", path, os.fsync, descriptor)
        finally:
            os.close(descriptor)

    def sync_tree(self, path: Path) -> None:
        """Make all below *path* durable: one sync of the file system it lies on.

        An fsync for each of 100,000 small files takes minutes.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._change("syncfs", path, _syncfs, descriptor)
        finally:
            os.close(descriptor)

    def sync_little_tree(self, path: Path) -> None:
        """Make all below *path* durable, as ``sync_each`` does: it is likely to be little."""
        self.sync_each(_all_in(path), path)

    def sync_each(self, paths: Iterable[Path], top: Path) -> None:
        """Make files and directories durable that lie on the file system of *top*.

        Of few each is synced by itself: a sync of the file system waits for all that others
        have written to it.  That is what is done for many, or where one cannot be synced.
        """
        some = list(islice(paths, FEW + 1))
        if len(some) > FEW or not self._are_synced(some):
            self.sync_tree(top)

    def _are_synced(self, paths: Sequence[Path]) -> bool:
        """Sync each of *paths*; False if one cannot be."""
        with ExitStack() as stack:
            opened = []
            for path in paths:
                try:
                    descriptor = os.open(path, os.O_RDONLY | _TO_SYNC)
                except OSError as error:
                    if error.errno in _NOT_OPENED:
                        return False
                    raise
                stack.callback(os.close, descriptor)
                opened.append(descriptor)
            for descriptor in opened:
                # the disk begins with all of them, and is waited for only once
                with suppress(OSError):
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            pairs = zip(paths, opened, strict=True)
            return all([self._try("fsync", path, os.fsync, each) for path, each in pairs])

    @staticmethod
    def write_back(path: Path) -> None:
        """Let the disk write what it has of the file system of *path*; this promises nothing.

        It is a part of the work of a sync_tree that comes later, done early.  Raises OSError
        as that would.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # an error of this write would not be reported by a later sync of another descriptor
            _syncfs(descriptor)
        finally:
            os.close(descriptor)


def nearest(path: Path) -> Path:
    """Return *path*, or the nearest directory above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


@contextmanager
def _opened(at: held.HeldName, *, new: bool) -> Iterator[int]:
    """Yield a descriptor of a directory; one that is *new* must be empty."""
    descriptor = at.open_directory()
    try:
        if new and os.geteuid() == 0 and _holds_something(at, descriptor):
            raise ExchangedError.at(at.path)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_like(made: os.stat_result, original: os.stat_result) -> bool:
    """Tell whether a path that was just made is a directory with all the rights of *original*."""
    mode = stat.S_IFDIR | stat.S_IMODE(original.st_mode) | stat.S_IRWXU
    owner = original.st_uid if os.geteuid() == 0 else made.st_uid
    return (made.st_mode, made.st_uid, made.st_gid) == (mode, owner, original.st_gid)


def _is_perhaps_of_root(at: held.HeldName, descriptor: int, found: os.stat_result) -> bool:
    """Tell whether a directory that was there has something of root, for another user to move."""
    if found.st_uid or not at.directory_status().st_uid:
        return False
    return _holds_something(at, descriptor)


def _holds_something(at: held.HeldName, descriptor: int) -> bool:
    with naming(at.path):
        return bool(os.listdir(descriptor))


def _all_in(directory: Path) -> Iterator[Path]:
    """Yield the files and directories in *directory*, each before the one that it lies in."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _all_in(Path(entry))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry)
    yield directory


def _syncfs(descriptor: int) -> None:
    import ctypes  # imported only by runs that sync a whole file system

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        os.sync()
    elif function(descriptor):
        number = ctypes.get_errno()
        if number not in REFUSED:
            raise OSError(number, os.strerror(number))
        os.sync()  # of all file systems, which nothing refuses

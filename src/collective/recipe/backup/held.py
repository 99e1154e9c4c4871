"""Calls on names in directories that belong to somebody else: the directory is held first.

A run of root works in directories of the user of a site.  Between two calls that user can put a
symbolic link in the place of any entry there, the directories on the way to it included, and the
next call by the same path changes the target of the link: any file of the machine.  So root takes
the directory by a descriptor and makes each call relative to it.  On the way to it no link is
followed but one that may be (see links).
"""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from threading import get_ident
from typing import NamedTuple

from collective.recipe.backup.links import (
    PLACE,
    StrPath,
    hold,
    name_all,
    naming_all,
)
from collective.recipe.backup.listings import changing


class HeldName(NamedTuple):
    """A name in a directory that is held, until the body of a ``with`` ends.

    It stands for its path wherever one is asked for.
    """

    path: str  # the whole of it, for messages
    name: str  # relative to the directory
    directory: int | None  # a descriptor of it; None: it is not held, and *name* is the path
    lent: bool = False  # the directory is held by a Trail, and longer than any body

    def __enter__(self) -> HeldName:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.directory is not None and not self.lent:
            os.close(self.directory)

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def open(self, flags: int, mode: int = 0o666) -> int:
        """Open the file of this name; return a descriptor that no other program inherits."""
        # a caller that makes a file looks first for one that is not there
        making = changing if flags & os.O_EXCL else nullcontext()
        try:
            with making:
                return os.open(self.name, flags | os.O_CLOEXEC, mode, dir_fd=self.directory)
        except OSError as error:
            name_all(error, self.path)
            raise

    def status(self) -> os.stat_result:
        """Return the status of the file of this name; no link is followed."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except OSError as error:
            name_all(error, self.path)
            raise

    def directory_status(self) -> os.stat_result:
        """Return the status of the directory itself."""
        if self.directory is None:
            return os.stat(os.path.dirname(self.path) or ".")
        return os.fstat(self.directory)

    def open_directory(self) -> int:
        """Open the directory that has the name, to list or to change it; no link is followed."""
        return self.open(os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def make_directory(self, mode: int) -> None:
        """Make a directory of that name."""
        try:
            with changing:
                os.mkdir(self.name, mode, dir_fd=self.directory)
        except OSError as error:
            name_all(error, self.path)
            raise


def place(path: StrPath) -> HeldName:
    """Hold the directory of *path* until the body ends, so that no user can exchange it.

    A HeldName that a Trail has lent stays as it is.  Raises StrangeLinkError, or another OSError if
    there is no such directory.
    """
    if isinstance(path, HeldName):
        return path
    text = os.fspath(path)
    if os.geteuid():
        return HeldName(text, text, None)
    parent, name = os.path.split(text)
    with naming_all(text):
        return HeldName(text, name, hold(parent))


class Trail:
    """Lends root places below *top*, and keeps directories open that the next place shares.

    So a walk through a tree takes a step for each directory, not the whole way for each file.  It
    holds directories only in the body of a ``with``, for the thread of that body; other threads get
    places of their own.
    """

    def __init__(self, top: str) -> None:
        """Hold nothing yet."""
        self._top = top
        self._held: list[tuple[str, int]] = []  # path with a slash, descriptor; from *top* down
        self._thread: int | None = None  # that places are lent to, None: to none

    def __enter__(self) -> Trail:
        if os.geteuid() == 0:
            self._thread = get_ident()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._thread = None
        self._let_go()

    def forget(self) -> None:
        """Hold nothing: the next place is looked for from the top on.

        A directory that is held may have been removed, and another one made in its place.
        """
        if get_ident() == self._thread:
            self._let_go()

    def _let_go(self) -> None:
        while self._held:
            os.close(self._held.pop()[1])

    def place(self, path: str) -> HeldName:
        """Return the place of *path*, which lies below the top.

        It may be used until the next one is asked for.  Raises as ``place`` does.
        """
        if get_ident() != self._thread:
            return place(path)
        parent, _slash, name = path.rpartition("/")
        try:
            return HeldName(path, name, self._directory(parent), lent=True)
        except OSError as error:
            name_all(error, path)
            raise

    def directory_status(self, path: str) -> os.stat_result:
        """Return the status of the directory at *path*, which is the top or lies below it."""
        if get_ident() != self._thread:
            return os.lstat(path)
        try:
            return os.fstat(self._directory(path))
        except OSError as error:
            name_all(error, path)
            raise

    def _directory(self, path: str) -> int:
        """Return a descriptor of the directory at *path*."""
        place = f"{path}/"
        if self._held and self._held[-1][0] == place:
            return self._held[-1][1]
        try:
            return self._go_to(place)
        except FileNotFoundError:
            self.forget()
            return self._go_to(place)

    def _go_to(self, place: str) -> int:
        """Hold the directory *place*, which ends in a slash, and those above it; return that."""
        if not self._held:
            self._held.append((f"{self._top}/", hold(self._top)))
        here, descriptor = self._held[-1]
        while not place.startswith(here):
            os.close(self._held.pop()[1])
            here, descriptor = self._held[-1]
        while here != place:
            name = place[len(here) : place.index("/", len(here))]
            here, descriptor = f"{here}{name}/", self._step(here, name, descriptor)
            self._held.append((here, descriptor))
        return descriptor

    @staticmethod
    def _step(here: str, name: str, holder: int) -> int:
        """Return a descriptor of the directory *name* in the one that *holder* is."""
        try:
            return os.open(name, PLACE | os.O_NOFOLLOW, dir_fd=holder)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            return hold(f"{here}{name}")  # a link, maybe one that may be followed


# calls


def rename(source: StrPath, target: StrPath) -> None:
    """Rename within a file system."""
    with place(source) as old, place(target) as new, changing:
        try:
            os.rename(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)
        except OSError as error:
            error.filename, error.filename2 = old.path, new.path
            raise


def link(source: StrPath, target: StrPath) -> None:
    """Make another name of a file; of a symbolic link it is one of the link."""
    with place(source) as old, place(target) as new, naming_all(new.path), changing:
        os.link(
            old.name,
            new.name,
            src_dir_fd=old.directory,
            dst_dir_fd=new.directory,
            follow_symlinks=False,
        )


def symlink(text: str, path: StrPath) -> None:
    """Make a symbolic link to *text*."""
    with place(path) as at, naming_all(at.path), changing:
        os.symlink(text, at.name, dir_fd=at.directory)


def unlink(path: StrPath) -> None:
    """Remove a file or a link."""
    with place(path) as at, naming_all(at.path), changing:
        os.unlink(at.name, dir_fd=at.directory)


def rmdir(path: StrPath) -> None:
    """Remove an empty directory."""
    with place(path) as at, naming_all(at.path), changing:
        os.rmdir(at.name, dir_fd=at.directory)


def utime(path: StrPath, times: tuple[int, int]) -> None:
    """Set the times of *path*, in nanoseconds since 1970."""
    with place(path) as at, naming_all(at.path):
        os.utime(at.name, ns=times, dir_fd=at.directory, follow_symlinks=False)


def chown_link(path: StrPath, owner: tuple[int, int]) -> None:
    """Set user and group, as numbers, of *path*; of a link they are its own."""
    with place(path) as at, naming_all(at.path):
        os.chown(at.name, *owner, dir_fd=at.directory, follow_symlinks=False)


def chmod(path: StrPath, mode: int) -> None:
    """Set the permission bits of a file or directory."""
    with place(path) as at, naming_all(at.path):
        if at.directory is None:
            os.chmod(path, mode)  # its owner may, and need not be allowed to read it
            return
        descriptor = at.open(os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

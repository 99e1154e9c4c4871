"""Calls on names in directories that belong to somebody else: the directory is held first.

A run of root works in directories of the user of a site.  Between two calls that user can
put a symbolic link in the place of whatever lies there, the directories on the way to it
included, and the next call by the same path changes what the link leads to: any file of the
machine.  So root takes the directory by a descriptor and makes each call relative to it.
A link at the end of a path is not followed then, and on the way one is followed only into a
directory that whoever could have put it there could change without root::

    a link of a user, or in a directory of a user      into a directory of that user
    one of root where a group may make and move names  into a directory where it may as well
    one of root where no other user may                wherever it leads

What a directory holds by itself, without a link, counts as belonging there: no user can move
a directory of root, or make a hard link to a file of root where ``fs.protected_hardlinks``
is 1, as it is by default.

A run of any other user follows links as the kernel does: it can change no more than that
user may, and many a link leads to the directory of a colleague on purpose.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import get_ident
from typing import NamedTuple

from collective.recipe.backup.listings import changing

StrPath = str | os.PathLike[str]

_PLACE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MANY_LINKS = 40  # as many as the kernel follows


class StrangeLinkError(OSError):
    """A link of a user leads root to what is not that user's."""

    hint = "if that is right, put the path that it leads to into the configuration"


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
        """Open what has the name; return a descriptor that no other program inherits."""
        # whoever makes a file asks first for one that is not there
        making = changing if flags & os.O_EXCL else nullcontext()
        try:
            with making:
                return os.open(self.name, flags | os.O_CLOEXEC, mode, dir_fd=self.directory)
        except OSError as error:
            _name(error, self.path)
            raise

    def status(self) -> os.stat_result:
        """Return the status of what has the name; no link is followed."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except OSError as error:
            _name(error, self.path)
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
            _name(error, self.path)
            raise


def place(path: StrPath) -> HeldName:
    """Hold the directory of *path* until the body ends, against whoever would exchange it.

    A HeldName that a Trail has lent stays what it is.  Raises StrangeLinkError, or another
    OSError if there is no such directory.
    """
    if isinstance(path, HeldName):
        return path
    text = os.fspath(path)
    if os.geteuid():
        return HeldName(text, text, None)
    parent, name = os.path.split(text)
    with _naming(text):
        return HeldName(text, name, _hold(parent))


class Trail:
    """Lends root places below *top*, and holds the directories that one shares with the next.

    So who goes through a tree takes a step for each directory, not the whole way for each file.
    Nothing is held but in the body of a ``with``, for the thread of that body; anybody else gets
    places of their own.
    """

    def __init__(self, top: str) -> None:
        """Hold nothing yet."""
        self._top = top
        self._held: list[tuple[str, int]] = []  # path and descriptor, from *top* down
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
            _name(error, path)
            raise

    def directory_status(self, path: str) -> os.stat_result:
        """Return the status of the directory at *path*, which is the top or lies below it."""
        if get_ident() != self._thread:
            return os.lstat(path)
        try:
            return os.fstat(self._directory(path))
        except OSError as error:
            _name(error, path)
            raise

    def _directory(self, path: str) -> int:
        """Return a descriptor of the directory at *path*."""
        if self._held and self._held[-1][0] == path:
            return self._held[-1][1]
        try:
            return self._go_to(path)
        except FileNotFoundError:
            self.forget()
            return self._go_to(path)

    def _go_to(self, path: str) -> int:
        """Hold the directory at *path* and those above it; return a descriptor of it."""
        if not self._held:
            self._held.append((self._top, _hold(self._top)))
        while not _is_at_or_below(path, here := self._held[-1][0]):
            os.close(self._held.pop()[1])
        for name in path[len(here) + 1 :].split("/") if path != here else ():
            here, descriptor = self._step(name)
            self._held.append((here, descriptor))
        return self._held[-1][1]

    def _step(self, name: str) -> tuple[str, int]:
        """Return path and descriptor of a directory of the last one."""
        above, holder = self._held[-1]
        path = f"{above}/{name}"
        try:
            return path, os.open(name, _PLACE | os.O_NOFOLLOW, dir_fd=holder)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            return path, _hold(path)  # a link, maybe one that may be followed


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


def real(path: StrPath) -> str:
    """Return *path* without a link in it, as ``os.path.realpath`` does; it need not exist.

    For a path that its user has given, so a link at its end counts as one on the way.
    Raises StrangeLinkError.
    """
    text = os.fspath(path)
    if os.geteuid():
        return os.path.realpath(text)
    with _naming(text), _Walk(text) as walk:
        rest = walk.follow(text)
        return os.path.normpath(os.path.join(walk.path, *rest))


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
    with place(source) as old, place(target) as new, _naming(new.path), changing:
        os.link(
            old.name,
            new.name,
            src_dir_fd=old.directory,
            dst_dir_fd=new.directory,
            follow_symlinks=False,
        )


def symlink(text: str, path: StrPath) -> None:
    """Make a symbolic link to *text*."""
    with place(path) as at, _naming(at.path), changing:
        os.symlink(text, at.name, dir_fd=at.directory)


def unlink(path: StrPath) -> None:
    """Remove a file or a link."""
    with place(path) as at, _naming(at.path), changing:
        os.unlink(at.name, dir_fd=at.directory)


def rmdir(path: StrPath) -> None:
    """Remove an empty directory."""
    with place(path) as at, _naming(at.path), changing:
        os.rmdir(at.name, dir_fd=at.directory)


def utime(path: StrPath, times: tuple[int, int]) -> None:
    """Set the times of what lies at *path*, in nanoseconds since 1970."""
    with place(path) as at, _naming(at.path):
        os.utime(at.name, ns=times, dir_fd=at.directory, follow_symlinks=False)


def chmod(path: StrPath, mode: int) -> None:
    """Set the permission bits of a file or directory."""
    with place(path) as at, _naming(at.path):
        if at.directory is None:
            os.chmod(path, mode)  # its owner may, and need not be allowed to read it
            return
        descriptor = at.open(os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)


# the way to a directory


def _hold(path: str) -> int:
    """Return a descriptor of the directory at *path*."""
    descriptor = os.open(path or ".", _PLACE)
    if _is_called(descriptor, path):
        return descriptor
    os.close(descriptor)
    with _Walk(path) as walk:
        rest = walk.follow(path)
        # what is missing, or no directory, says so itself
        return os.open(rest[0] if rest else ".", _PLACE | os.O_NOFOLLOW, dir_fd=walk.directory)


def _is_called(descriptor: int, path: str) -> bool:
    """Tell whether the kernel calls an open directory *path*, so that no link has led to it.

    Nearly always that spares the walk.
    """
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == path
    except OSError:  # there is no /proc, which the walk does not need
        return False


class _Walk:
    """A way through directories, one name after the other; the last one is held."""

    def __init__(self, path: str) -> None:
        """Begin where *path* does."""
        self.path = "/" if path.startswith("/") else os.getcwd()
        self.directory = os.open(self.path, _PLACE)
        self._links = 0

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.directory)

    def follow(self, path: str) -> list[str]:
        """Go along *path* as far as there are directories; return the names that are left."""
        if path.startswith("/"):
            self._go(os.open("/", _PLACE), "/")
        names = [name for name in reversed(path.split("/")) if name not in ("", ".")]
        while names:
            name = names.pop()
            if self._enter(name):
                continue
            rest = self._follow_link(name)
            if rest:
                return [*rest, *reversed(names)]
        return []

    def _enter(self, name: str) -> bool:
        """Go into a directory; False if there is none of that name."""
        try:
            descriptor = os.open(name, _PLACE | os.O_NOFOLLOW, dir_fd=self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return False
        up = name == ".."
        self._go(descriptor, os.path.dirname(self.path) if up else os.path.join(self.path, name))
        return True

    def _follow_link(self, name: str) -> list[str]:
        """Go where a link leads to; return what is left, *name* itself if it is none."""
        where = os.path.join(self.path, name)
        try:
            status = os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return [name]
        if not stat.S_ISLNK(status.st_mode):
            return [name]
        # should it be another one by now, that is of a user who could have made the first as well
        text = os.readlink(name, dir_fd=self.directory)
        self._links += 1
        if self._links > _MANY_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), where)
        holder = os.fstat(self.directory)
        rest = self.follow(text)
        reached = os.fstat(self.directory)
        user = status.st_uid or holder.st_uid
        if user not in (0, reached.st_uid) or (not user and not _may_lead(holder, reached)):
            whose = f"of user {user}" if user else f"that group {holder.st_gid} may have made"
            what = f"a link {whose} leads root into a directory of user {reached.st_uid}"
            raise StrangeLinkError(errno.ELOOP, what, where)
        return rest

    def _go(self, descriptor: int, path: str) -> None:
        os.close(self.directory)
        self.directory, self.path = descriptor, path


def _may_lead(holder: os.stat_result, reached: os.stat_result) -> bool:
    """Tell whether who can put names of root into a directory of root can do so in another."""
    held_mode, mode = holder.st_mode, reached.st_mode
    if held_mode & stat.S_ISVTX or not held_mode & _OF_OTHERS or mode & stat.S_IWOTH:
        return True
    by_group = mode & stat.S_IWGRP and holder.st_gid == reached.st_gid
    return bool(by_group and not held_mode & stat.S_IWOTH)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Let an error of the body name the whole *path*, but for one that names a link."""
    try:
        yield
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: str) -> None:
    """Let *error* name the whole *path*, unless it names a link."""
    if not isinstance(error, StrangeLinkError):
        error.filename = path
        del error.filename2

"""The links that root follows in directories of other users.

A link at the end of a path is not followed, and on the way one is followed only into a
directory that whoever could have put it there could change without root::

    a link of a user, or in a directory of a user      into a directory of that user
    one of root where a group may make and move names  into a directory where it may as well
    one of root where no other user may                wherever it leads

The entries of a directory, other than links, count as belonging there: no user can move a directory
of root, or make a hard link to a file of root where ``fs.protected_hardlinks`` is 1, as it is by
default.

A run of any other user follows links as the kernel does: it can change no more than that
user may, and many a link leads to the directory of a colleague on purpose.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

StrPath = str | os.PathLike[str]

PLACE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MANY_LINKS = 40  # as many as the kernel follows


class StrangeLinkError(OSError):
    """A link of a user leads root to a file that is not that user's."""

    hint = "if that is right, put the path that it leads to into the configuration"


def real(path: StrPath) -> str:
    """Return *path* without a link in it, as ``os.path.realpath`` does; it need not exist.

    For a path that its user has given, so a link at its end counts as one on the way.
    Raises StrangeLinkError.
    """
    text = os.fspath(path)
    if os.geteuid():
        return os.path.realpath(text)
    with naming_all(text), _Walk(text) as walk:
        rest = walk.follow(text)
        return os.path.normpath(os.path.join(walk.path, *rest))


def hold(path: str) -> int:
    """Return a descriptor of the directory at *path*."""
    descriptor = os.open(path or ".", PLACE)
    if _is_called(descriptor, path):
        return descriptor
    os.close(descriptor)
    with _Walk(path) as walk:
        rest = walk.follow(path)
        # a missing path, or one that is no directory, raises by itself
        return os.open(rest[0] if rest else ".", PLACE | os.O_NOFOLLOW, dir_fd=walk.directory)


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
        self.directory = os.open(self.path, PLACE)
        self._links = 0

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.directory)

    def follow(self, path: str) -> list[str]:
        """Go along *path* as far as there are directories; return the names that are left."""
        if path.startswith("/"):
            self._go(os.open("/", PLACE), "/")
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
            descriptor = os.open(name, PLACE | os.O_NOFOLLOW, dir_fd=self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return False
        up = name == ".."
        self._go(descriptor, os.path.dirname(self.path) if up else os.path.join(self.path, name))
        return True

    def _follow_link(self, name: str) -> list[str]:
        """Go to the target of a link; return the rest of the path, or *name* if it is no link."""
        where = os.path.join(self.path, name)
        try:
            status = os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return [name]
        if not stat.S_ISLNK(status.st_mode):
            return [name]
        # if it is another link by now, a user made it who could have made the first as well
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
    """Tell whether a user who can put links of root into *holder* can do so in *reached*."""
    held_mode, mode = holder.st_mode, reached.st_mode
    if held_mode & stat.S_ISVTX or not held_mode & _OF_OTHERS or mode & stat.S_IWOTH:
        return True
    by_group = mode & stat.S_IWGRP and holder.st_gid == reached.st_gid
    return bool(by_group and not held_mode & stat.S_IWOTH)


@contextmanager
def naming_all(path: str) -> Iterator[None]:
    """Let an error of the body name the whole *path*, but for one that names a link."""
    try:
        yield
    except OSError as error:
        name_all(error, path)
        raise


def name_all(error: OSError, path: str) -> None:
    """Let *error* name the whole *path*, unless it names a link."""
    if not isinstance(error, StrangeLinkError):
        error.filename = path
        del error.filename2

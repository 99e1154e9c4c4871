"""The one tree of errors, and the only place that knows exit codes.

::

    BackupError              1  failed; what was there before is untouched
    +-- StoreRefused         1  a store does not let us do that
    |   +-- ObjectArchived   1  it has to be asked for before it can be read
    +-- RequestsSpent        1  this run may make no more requests
    +-- ConfigurationError   2  wrong configuration
    |   +-- UsageError       2  wrong command line
    +-- IntegrityError       3  stored or live data is not what it should be
    +-- NoRestorePoint       4  nothing covers the moment asked for
    +-- InUse                5  locked by another run, or the filestorage is open
    +-- StoreUnreachable     6  a store does not answer, or not in time
    +-- CommandFailed        7  a hook or a program failed
    +-- BrokenOff            8  the site is a mixture until the restore is finished
    +-- Interrupted        130  stopped by the user or by a signal

An error says *what* happened, *where*, and gives a *hint* that can be acted on.  No error is logged
and then ignored: each room raises it, and ``cli`` alone turns it into words and an exit code.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

DONE = 0


class BackupError(Exception):
    """The command failed; what was there before is untouched."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | os.PathLike[str] = "", hint: str = "") -> None:
        """Say *what* went wrong, *where* (a path or a name) and what to do about it."""
        super().__init__(what)
        self.what = what
        self.where = os.fspath(where)
        self.hint = hint

    def __str__(self) -> str:
        place = f": {printable(self.where)}" if self.where else ""
        return f"{self.what}{place}"


class ConfigurationError(BackupError):
    """The configuration cannot be used; every problem found is named at once."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | os.PathLike[str] = "",
        hint: str = "",
        problems: Sequence[str] = (),
    ) -> None:
        """Take the single *problems*, a sentence each, besides the usual three."""
        super().__init__(what, where=where, hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {problem}" for problem in self.problems)])


class UsageError(ConfigurationError):
    """The command line cannot be understood."""


class IntegrityError(BackupError):
    """Stored or live data is not what it should be."""

    exit_code = 3


class NoRestorePoint(BackupError):
    """No restore point covers the moment that was asked for."""

    exit_code = 4


class InUse(BackupError):
    """Another run holds the destination, or another process has the filestorage open."""

    exit_code = 5


class StoreUnreachable(BackupError):
    """The store of a repository could not be reached, or did not answer in time."""

    exit_code = 6


class StoreRefused(BackupError):
    """The store of a repository answers, and does not let this credential do that."""


class ObjectArchived(StoreRefused):
    """An object lies where the store has to be asked for it before it can be read."""


class RequestsSpent(BackupError):
    """As many requests were made of a store as the user allows, but for some at the end."""

    def __init__(
        self,
        what: str,
        *,
        where: str | os.PathLike[str] = "",
        hint: str = "",
        allow_end: Callable[[], None] | None = None,
    ) -> None:
        """Take *allow_end* as well, which allows those that are kept back (None: none are)."""
        super().__init__(what, where=where, hint=hint)
        self.allow_end = allow_end


class CommandFailed(BackupError):
    """A hook of the user or a program that we were told to call failed."""

    exit_code = 7


class BrokenOff(BackupError):
    """A restore was broken off: part of the site is what it was, part is restored."""

    exit_code = 8


class Interrupted(BackupError):
    """The user or a signal ended the command; it took back what was half done, or says what is."""

    exit_code = 130


_HINTS = {
    errno.ENOSPC: "free some room there, then run the command again",
    errno.EDQUOT: "the quota is used up: raise it or free some room, then run the command again",
    errno.EACCES: "give the user who runs this command the permission, or run it as the owner",
    errno.EPERM: "give the user who runs this command the permission, or run it as the owner",
    errno.EROFS: "it is mounted read-only: mount it writable; if it was not meant to be read-only, "
    "look into the system log first",
    errno.EIO: "the disk or its connection is failing: look into the system log",
    errno.ENOENT: "is the path right, and is the disk mounted?",
    errno.ENOTDIR: "something that is not a directory stands in the way",
    errno.EISDIR: "a directory stands where a file should be: move it away",
    errno.ELOOP: "a symbolic link there leads to itself: remove it",
    errno.EFBIG: "the file system, or a limit (ulimit -f), allows no file that large",
    errno.ENAMETOOLONG: "use shorter names",
}


@contextmanager
def explained(what: str, where: str | os.PathLike[str] = "") -> Iterator[None]:
    """Turn an OSError of the body into a BackupError: *what* did not work, *where*, a hint.

    The path of the OSError itself wins over *where*, because it is nearer to the cause.  A
    system call on a descriptor names none: where the body has to do with more than one file,
    such calls stand in ``naming``.
    """
    try:
        yield
    except OSError as error:
        raise from_os_error(error, what, where) from error


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an OSError of the body name *path* if it names no path itself."""
    try:
        yield
    except OSError as error:
        if not names_a_path(error):
            error.filename = os.fspath(path)
        raise


def names_a_path(error: OSError) -> bool:
    """Tell whether *error* names a path: the number of a descriptor is none."""
    return isinstance(error.filename, str | bytes | os.PathLike)


def from_os_error(
    error: OSError, what: str = "cannot go on", where: str | os.PathLike[str] = ""
) -> BackupError:
    """Return the BackupError that says in words what *error* means."""
    reason = error.strerror or str(error)
    place = os.fsdecode(error.filename if names_a_path(error) else where)
    # an OSError of ours may know better than its number; see smallfile
    hint = getattr(error, "hint", "") or _HINTS.get(error.errno or 0, "")
    return BackupError(f"{what}: {reason}", where=place, hint=hint)


def printable(text: str) -> str:
    """Return *text* fit for a terminal: one line, control and undecodable bytes escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )

"""Locks of writers: one run for each destination, none while a filestorage is open.

And one restore for each filestorage, during which no other run removes the replaced files;
one standby for each, for as long as it runs.
All are ``flock`` locks, which end with their process however it dies; the file that
carries one stays, and the holder named in it counts only while it is locked.  A writer
locks the directory itself as well, where the file system can: a file is soon removed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from collective.recipe.backup import held, links
from collective.recipe.backup.errors import InUse, explained, printable
from collective.recipe.backup.smallfile import regular
from collective.recipe.backup.times import pause

LOCK_NAME = ".backup.lock"
STANDBY_LOCK = ".standby.lock"
"""Suffix of the lock beside the filestorage of a standby, held as long as that runs."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LOCKS = Path("/proc/locks")


@contextmanager
def one_writer(directory: Path, holder: str) -> Iterator[None]:
    """Hold *directory* against every other writer; *holder* is our name in the lock.

    Raises InUse, which names the holder, at once if there is another.
    """
    path = directory / LOCK_NAME
    # the target of a link would be overwritten, and could be live data
    what = "cannot lock the backups"
    with ExitStack() as locks:
        descriptor, other = locks.enter_context(_lock_file(path, what))
        if other is None:
            other = locks.enter_context(_lock_directory(directory, what))
        if other is not None:
            raise InUse(
                f"another run is at work here ({printable(other) or 'it does not say who'})",
                where=directory,
                hint="wait until it has ended, then run the command again",
            )
        with explained(what, path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{holder}\n".encode("utf-8", "replace"), 0)
        yield


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold *directory* against all other callers of this function; it leaves no file there.

    For callers of single functions: it waits, where a command would rather name the holder.
    """
    with explained("cannot lock the backups", directory):
        descriptor = os.open(directory, _DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def holder_of(directory: Path) -> str | None:
    """Return what the run that holds *directory* says of itself, None if there is none."""
    # a user who follows a standby may read here, and perhaps not write
    for path, flags, opening, words in (
        (directory / LOCK_NAME, os.O_RDONLY, regular, _said),
        (directory, _DIRECTORY, os.open, _locked_by),
    ):
        with suppress(OSError):
            descriptor = opening(path, flags)
            try:
                if not _flock(descriptor, fcntl.LOCK_SH):
                    return words(descriptor)
            finally:
                os.close(descriptor)
    return None


def can_lock(path: Path) -> bool:
    """Tell whether the file system of *path*, a file of our own, has locks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def closed_filestorage(filestorage: Path) -> Iterator[None]:
    """Hold the lock that a FileStorage holds while it is open for writing.

    It is ``Data.fs.lock`` beside it, locked the way of ``zc.lockfile``: so no program can open the
    filestorage until we let go.  Raises InUse if it is open.
    """
    hint = "stop the ZEO server or the Zope instance that has it open, then try again"
    with _closed(filestorage, "the filestorage", hint):
        yield


@contextmanager
def closed_cache(cache: Path) -> Iterator[None]:
    """Hold the lock that a ZEO client holds while it uses a persistent *cache*.

    Raises InUse if it is open.
    """
    with _closed(cache, "the cache of a ZEO client", "stop that client, then remove the file"):
        yield


@contextmanager
def _closed(file: Path, what: str, hint: str) -> Iterator[None]:
    with explained(f"cannot lock {what}", file):
        # a program that has it open has followed a link there
        path = Path(links.real(file.with_name(f"{file.name}.lock")))
    with _lock_file(path, f"cannot lock {what}") as (_descriptor, other):
        if other is not None:
            process = f" by process {printable(other.split()[0])}" if other else ""
            raise InUse(f"{what} is open{process}", where=file, hint=hint)
        yield


@contextmanager
def one_restore(directory: Path) -> Iterator[None]:
    """Hold *directory*, in which a filestorage lies, against every other restore.

    A server may have the filestorage open.  Raises InUse at once if a restore is at work.
    """
    with _lock_directory(directory, "cannot lock the directory of the filestorage") as other:
        if other is not None:
            raise InUse(
                f"a restore is at work here ({other or 'it does not say which process'})",
                where=directory,
                hint="wait until it has ended, then run the command again",
            )
        yield


@contextmanager
def one_standby(filestorage: Path) -> Iterator[None]:
    """Hold *filestorage* against every other process that keeps it as a standby.

    Raises InUse at once if there is one.  A promotion does not ask.
    """
    path = filestorage.with_name(filestorage.name + STANDBY_LOCK)
    with _lock_file(path, "cannot lock the standby") as (descriptor, other):
        if other is not None:
            process = f", process {printable(other.split()[0])}" if other else ""
            raise InUse(
                f"this standby is kept up to date already by another one{process}",
                where=filestorage,
                hint="end that one first, or name another directory with --to",
            )
        with explained("cannot lock the standby", path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield


@contextmanager
def _lock_file(path: Path, what: str) -> Iterator[tuple[int, str | None]]:
    """Yield a descriptor of *path*, and what its holder says if we did not get the lock."""
    with explained(what, path):
        descriptor = _open(path)
    try:
        with explained(what, path):
            locked = _flock(descriptor, fcntl.LOCK_EX, attempts=3)
            other = None if locked else _said(descriptor)
        yield descriptor, other
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file; if root makes it, the owner of its directory gets it and can lock it.

    Raises NotRegularError for a file that is not regular, into which no name can be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with held.place(path) as at:
        owner = at.directory_status()
        try:
            # users who may change the directory must be able to lock it, and others need not
            descriptor = at.open(flags | os.O_EXCL, owner.st_mode & 0o666)
        except FileExistsError:
            return regular(path, flags)
        if os.geteuid() == 0:
            with suppress(PermissionError):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


@contextmanager
def _lock_directory(directory: Path, what: str) -> Iterator[str | None]:
    """Lock *directory* itself; yield by whom it is locked if we did not get it.

    Where that cannot be (NFS), the lock of the file must do.
    """
    with explained(what, directory):
        descriptor = os.open(directory, _DIRECTORY)
    try:
        locked = True
        with suppress(OSError):
            locked = _flock(descriptor, fcntl.LOCK_EX, attempts=3)
        yield None if locked else _locked_by(descriptor)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int, attempts: int = 1) -> bool:
    """Try to lock; *attempts* outlast the instant for which holder_of has the lock."""
    for attempt in range(attempts):
        if attempt:
            pause(0.05)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
    return False


def _locked_by(descriptor: int) -> str:
    """Return in words which process holds a lock on *descriptor*, as the kernel knows it."""
    status = os.fstat(descriptor)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    with suppress(OSError):
        for line in _LOCKS.read_text("ascii", "replace").splitlines():
            # 1: FLOCK ADVISORY WRITE 4711 fe:00:131074 0 EOF
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == f"{device}:{status.st_ino}":
                return f"process {fields[4]}"
    return ""


def _said(descriptor: int) -> str:
    return os.pread(descriptor, 1000, 0).decode("utf-8", "replace").strip()

"""Who may write: one run for each destination, nobody while a filestorage is open.

Both are ``flock`` locks, which end with their process however it dies; the file that
carries one stays, and what it says of its holder counts only while it is locked.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collective.recipe.backup.errors import InUse, explained, printable

LOCK_NAME = ".backup.lock"


@contextmanager
def one_writer(directory: Path, holder: str) -> Iterator[None]:
    """Hold *directory* against every other writer; *holder* says who we are.

    Raises InUse, which names the holder, at once if there is another.
    """
    path = directory / LOCK_NAME
    with explained("cannot lock the backups", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not _flock(descriptor):
            first = os.pread(descriptor, 1000, 0).decode("utf-8", "replace").strip()
            raise InUse(
                f"another run is at work here ({printable(first) or 'it does not say who'})",
                where=directory,
                hint="wait until it has ended, then run the command again",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holder}\n".encode("utf-8", "replace"), 0)
        yield
    finally:
        os.close(descriptor)


def holder_of(directory: Path) -> str | None:
    """Return what the run that holds *directory* says of itself, None if there is none."""
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _flock(descriptor):
            return None
        return os.pread(descriptor, 1000, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(descriptor)


@contextmanager
def closed_filestorage(filestorage: Path) -> Iterator[None]:
    """Hold the lock that a FileStorage holds while it is open for writing.

    It is ``Data.fs.lock`` beside it, locked the way of ``zc.lockfile``: so nobody can open
    the filestorage until we let go.  Raises InUse if it is open.
    """
    path = filestorage.with_name(f"{filestorage.name}.lock")
    with explained("cannot lock the filestorage", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not _flock(descriptor):
            said = os.pread(descriptor, 100, 0).decode("ascii", "replace").split()
            process = f" by process {said[0]}" if said else ""
            raise InUse(
                f"the filestorage is open{process}",
                where=filestorage,
                hint="stop the ZEO server or the Zope instance that has it open, then try again",
            )
        yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

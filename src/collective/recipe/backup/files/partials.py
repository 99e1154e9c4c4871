"""Temporary names: their form, and a test for a living writer."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collective.recipe.backup.errors import names_a_path
from collective.recipe.backup.smallfile import regular

PROBE = ".backup"
"""Begin of temporary names of probes."""

_PARTIAL = re.compile(r"(.+)\.[0-9a-f]{8}\.partial", re.DOTALL)
_ENDING = re.compile(r"\.[0-9a-f]{8}\.partial(?=/|$)")


def is_partial(name: str, *, of: str = "") -> bool:
    """Tell whether *name* is a temporary name of ours, which no reader may take for data.

    With *of*: whether it is one of that final name.
    """
    match = _PARTIAL.fullmatch(name)
    return match is not None and of in {"", match[1]}


def final_path(path: str) -> str:
    """Return *path* with the final names in the place of temporary ones of ours: what a user knows.

    A tree comes to be under a temporary name as well, so any part of *path* may be one.
    """
    return _ENDING.sub("", path)


@contextmanager
def naming_final() -> Iterator[None]:
    """Let an OSError of the body name the final path."""
    try:
        yield
    except OSError as error:
        if names_a_path(error):
            error.filename = final_path(os.fsdecode(error.filename))
        raise


def hold(descriptor: int, partial: Path) -> bool:
    """Lock the new file *partial*; False if a sweep has removed it, or is about to.

    Where the file system has no locks, it counts as held.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return os.path.lexists(partial)


@contextmanager
def trying_lock(path: Path) -> Iterator[bool | None]:
    """Yield whether no writer has the file *path* locked, None if that cannot be told."""
    try:
        # NFS gives a write lock only to users who may write
        descriptor = regular(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield _is_lockable(descriptor)
    finally:
        os.close(descriptor)


def _is_lockable(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True

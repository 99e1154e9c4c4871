"""A directory that one process has for itself, and what died ones have left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.partials import is_partial, trying_lock

_NAME = "backup-open"
_LOCK = "lock"


@contextmanager
def private_cache(room: Path, files: Files) -> Iterator[Path]:
    """Yield a new directory in *room* that only this user may look into; it is gone afterwards."""
    with explained("cannot make a place for the cache", room):
        files.make_directories(room)
        _sweep(room, files)
        directory = files.partial_name(room / _NAME)
        files.make_directory(directory, 0o700)
    try:
        with files.unnamed(directory / _LOCK, 0o600):
            yield directory
    finally:
        files.discard(directory)


def _sweep(room: Path, files: Files) -> None:
    """Remove the directories of this user of which the process has died."""
    with os.scandir(room) as found:
        left = [Path(entry) for entry in found if is_partial(entry.name, of=_NAME)]
    for each in left:
        with suppress(OSError):
            # one without a lock is just being made
            for lock in each.glob(f"{_LOCK}.*"):
                with trying_lock(lock) as is_dead:
                    if is_dead and lock.lstat().st_uid == os.getuid():
                        files.remove_tree(each)

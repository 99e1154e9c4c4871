"""Is there room?  Asked before anything is written.

The size of a full backup is known only roughly.  The gain by gzip varies, and some file systems
compress data, or share the blocks of a copy with the original.  So there is a least and a most.  A
backup is refused if not even the least fits on a file system that is known to store each byte as a
byte; in all other cases of doubt there is a warning.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.amounts import size
from collective.recipe.backup.blobs.layout import walk
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files.directories import nearest
from collective.recipe.backup.mounts import type_of
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.chains import read_directory

logger = logging.getLogger("backup")

LEAST_SHARE = 0.1
"""gzip makes no less of a filestorage, or of blobs, as far as is known before the first time."""
_ALIKE = 0.75
"""The next full backup is not compressed better than the last one by more than this factor."""
_PLAIN = {"ext2", "ext3", "ext4", "tmpfs", "vfat", "msdos", "exfat"}
"""File systems that store each byte, and never one for two files."""
HINT = "free some room there, let keep be smaller, or keep the backups on another disk"


class Need(NamedTuple):
    """The bytes that a full backup takes in a directory, which may not be there yet."""

    directory: Path  # absolute; it may not be there yet
    least: int  # bytes
    most: int  # bytes


class Room(NamedTuple):
    """The *free* bytes on the file system of *directory*, and those that a backup needs there."""

    directory: Path  # absolute
    free: int  # bytes
    least: int  # bytes that the backup needs at least
    most: int  # bytes that it needs at most

    def __str__(self) -> str:
        return f"{size(self.free)} are free, a full backup takes up to {size(self.most)}"


def rooms(needs: Iterable[Need]) -> list[Room]:
    """Return the room on each file system, for all *needs* that are on it.  Raises OSError."""
    found: dict[int, Room] = {}
    for need in needs:
        there = nearest(need.directory)
        device = there.stat().st_dev
        before = found.get(device) or Room(there, _free(there), 0, 0)
        found[device] = before._replace(
            least=before.least + need.least, most=before.most + need.most
        )
    return list(found.values())


def check_free(directory: Path, needed: int, *, hint: str) -> None:
    """Raise BackupError unless *needed* bytes are free in *directory*, or where it will be.

    Raises OSError if that cannot be looked at.
    """
    there = nearest(directory)
    free = _free(there)
    if free < needed:
        raise BackupError(
            f"there is not enough room: {free} bytes are free, {needed} are needed",
            where=there,
            hint=hint,
        )


def check_room(needs: Iterable[Need]) -> None:
    """Raise BackupError if a full backup surely does not fit; warn if it may not."""
    for room in rooms(needs):
        if room.free < room.least and type_of(room.directory) in _PLAIN:
            raise BackupError(
                f"there is not enough room for a full backup: {size(room.free)} are free, "
                f"at least {size(room.least)} are needed",
                where=room.directory,
                hint=HINT,
            )
        if room.free < room.most:
            logger.warning("there may not be enough room in %s: %s", room.directory, room)


def share_of_gzip(directory: Path) -> float:
    """Return what gzip leaves of a filestorage at least, as a share of its bytes.

    The last full backup in *directory* tells, if it is compressed.
    """
    for chain in reversed(read_directory(directory).chains):
        full = chain.parts[0]
        if full.compressed and full.size and full.name not in chain.missing:
            return _ALIKE * chain.path(full).stat().st_size / full.size
    return LEAST_SHARE


def size_of_blobs(root: Path, progress: Progress) -> int:
    """Return the bytes of all files in the blobstorage *root*.  Raises OSError."""
    total = 0
    with progress.phase("measuring the blobs", 0, "blobs") as advance:
        for entry in walk(root):
            with suppress(OSError):  # a file that cannot be looked at takes no room in a backup
                total += os.lstat(root / entry.path).st_size
            advance(1)
    return total


def _free(directory: Path) -> int:
    """Return the bytes that this user may still fill."""
    found = os.statvfs(directory)
    blocks = found.f_bavail if os.geteuid() else found.f_bfree
    return blocks * found.f_frsize

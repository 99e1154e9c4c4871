"""Comparison of the journal of a restore with the disk: names, mounts, live files."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint
from collective.recipe.backup.restoring.graft import digest_of_ends
from collective.recipe.backup.restoring.journal import known, read
from collective.recipe.backup.restoring.moves import Move


def check_names(journal: Path, ours: Collection[Path]) -> None:
    """Raise IntegrityError if root would change what the writer of *journal* could not.

    A restore of another part of the site may have changed what this part knows nothing of.
    So a path that is none of *ours* counts if the owner of the journal could change it.
    """
    found = read(journal)
    for move in () if found.copied_from else found.moves:
        for path in filter(None, (move.live, move.companion)):
            if path not in ours and not _could_change(journal, move, path):
                raise IntegrityError(
                    f"this names {path}, which does not belong to the site",
                    where=journal,
                    hint="find out who wrote it, and move it away",
                )


def _could_change(journal: Path, move: Move, path: Path) -> bool:
    """Tell whether the owner of *journal* owns the directory in which *move* changes *path*."""
    owner = journal.lstat().st_uid
    if os.geteuid() or not owner:
        return True
    directory = path.parent if move.inside is None else path
    return directory.is_dir() and directory.stat().st_uid == owner


def check_mounts(moves: Sequence[Move]) -> None:
    """Raise BackupError if other disks are mounted than when *moves* began.

    Files on one that is not there now would count as moved already.
    """
    for move in moves:
        if move.mounts is None:
            continue
        then, now = set(move.mounts), set(move.now_mounted)
        for where, what, hint in (
            *((path, "this was mounted, and is not now", "mount it") for path in then - now),
            *((path, "this is mounted, and was not", "unmount it") for path in now - then),
        ):
            raise BackupError(
                f"since the restore began, disks have changed: {what}",
                where=where,
                hint=f"{hint}, then run the command again",
            )


def is_as_left(journal: Path) -> bool:
    """Tell whether no live file has changed in any way since the restore left it."""
    return all(
        live.is_file() and _status(live) == (was.inode, was.length, was.time)
        for live, was in known(journal).items()
    )


def _status(live: Path) -> tuple[int, int, int]:
    status = live.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def check_same_files(journal: Path) -> None:
    """Raise NoRestorePoint if a live file is not the one that the restore left, grown maybe."""
    for live, was in known(journal).items():
        is_same = live.is_file() and live.stat().st_ino == was.inode
        if not is_same or digest_of_ends(live, was.size) != was.ends:
            raise NoRestorePoint(
                "this is not the file that was restored: it was packed since then, or replaced",
                where=live,
                hint="the restore changed live data in place, and what it replaced fits no other "
                "data; restore from a backup",
            )

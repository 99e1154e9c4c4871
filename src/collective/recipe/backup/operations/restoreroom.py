"""Is there room for a restore, or for a rehearsal of one?  Asked before anything is written."""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.destinations.room import check_free
from collective.recipe.backup.errors import explained
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.restoring.placing import buildable


def check_restore_room(filestorage: Path, point: RestorePoint) -> None:
    """Raise BackupError if that of *point* cannot fit beside the live *filestorage*.

    The room that the live one takes counts if it can be written on in place.
    """
    live = buildable(filestorage)
    directory = filestorage.parent
    with explained("cannot look at the place to restore to", directory):
        check_free(
            directory,
            point.end - (live.stat().st_size if live else 0),
            hint="the live data stays until its replacement is whole, so both must fit; "
            "free some room, or restore to another disk with --to",
        )


def check_room_of_files(to: Path, size: int) -> None:
    """Raise BackupError if further files of *size* bytes in all cannot fit below *to*."""
    hint = "free some room, or restore to another disk; --only-filestorage leaves them out"
    with explained("cannot look at the place to restore to", to):
        check_free(to, size, hint=hint)


def check_rehearsal_room(scratch: Path, point: RestorePoint) -> None:
    """Raise BackupError if the filestorage of *point* cannot fit in *scratch*; or OSError."""
    hint = "free some room, or rehearse on another disk with --scratch"
    check_free(scratch, point.end, hint=hint)

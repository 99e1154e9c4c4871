"""The ways in which live data give way to restored data: by name, by contents, or in place.

A name is exchanged by two renames.  If that is impossible, the contents are exchanged: entries of a
directory are renamed one by one (see contents), bytes of a file are overwritten (see graft).  The
way is found out before anything is staged, since it decides where to stage.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from collective.recipe.backup import contents
from collective.recipe.backup.errors import BackupError, explained, from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.directories import nearest
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.restoring.moves import Move, staged_path


@dataclass(frozen=True, kw_only=True)
class Way:
    """The way in which the data at *live* give way."""

    live: Path  # the path
    inside: tuple[str, ...] | None = None  # the mount points below *live*; None: see Move
    in_place: bool = False  # whether a file is overwritten
    why: str = ""  # why the name is not exchanged, in words; "": it is

    @property
    def staged(self) -> Path:
        """The path of the staged data."""
        return staged_path(self.live, inside=self.inside is not None)

    def make_ready(self, files: Files) -> None:
        """Remove what an earlier restore has staged; make rooms where there are to be several."""
        for place in self._places():
            files.clear(place.staged)
            files.sweep(place.root)
        files.clear(staged_path(self.live))
        if self.inside:
            contents.lay_out(self._places(), files)

    def sync(self, files: Files) -> None:
        """Make staged data durable that lie on other disks than the top directory."""
        for place in self._places()[1:]:
            files.sync_tree(place.staged)

    def discard(self, files: Files) -> None:
        """Remove the staged data."""
        for place in self._places():
            files.clear(place.staged)
        files.clear(self.staged)

    def move(self, *, difference: bool = False, filestorage: Path | None = None) -> Move:
        """Return the Move of a directory that goes this way."""
        return Move(
            live=self.live, inside=self.inside, difference=difference, filestorage=filestorage
        )

    def _places(self) -> list[contents.ExchangedDirectory]:
        return [] if self.inside is None else contents.places_of(self.live, self.inside)


def way_of(live: Path, files: Files) -> Way:
    """Return how the data at *live*, which is no link, give way.

    Probes are made to find out, and removed.  Raises BackupError if there is no way, OSError if
    this user may not even look.
    """
    try:
        os.lstat(live)
    except (FileNotFoundError, NotADirectoryError):
        check_can_make(live.parent, files)
        return Way(live=live)
    mounts = mounts_in(live)
    if live in mounts:
        why = "it is a mount point"
    elif mounts:
        why = f"{mounts[0]} is mounted in it"
    else:
        refusal = _refusal(live, files)
        if refusal is None:
            return Way(live=live)
        why = f"it cannot be renamed ({refusal.strerror})"
    return _by_contents(live, mounts, why, files) if live.is_dir() else _in_place(live, why)


def _by_contents(live: Path, mounts: list[Path], why: str, files: Files) -> Way:
    for mount in mounts:
        if not mount.is_dir():
            raise BackupError(
                "a file is mounted here, so it cannot be replaced",
                where=mount,
                hint="unmount it, or restore to another place with --to",
            )
    below = tuple(str(mount.relative_to(live)) for mount in mounts if mount != live)
    for place in contents.places_of(live, below):
        try:
            with files.trying_renames(place.root):
                pass
        except OSError as error:
            said = from_os_error(error, f"{why}, and nothing can be made in it")
            said.hint = said.hint or "restore to another place with --to"
            raise said from error
    return Way(live=live, inside=below, why=why)


def _in_place(live: Path, why: str) -> Way:
    if live.stat().st_nlink > 1:
        raise BackupError(
            f"cannot restore here: {why}, and the file has another name, whose content would "
            "change as well",
            where=live,
            hint="remove the other name, or restore to another place with --to",
        )
    if not os.access(live, os.W_OK):
        raise BackupError(
            f"cannot restore here: {why}, and this user may not write to it",
            where=live,
            hint="give the user who runs this command the permission, or run it as the owner",
        ) from PermissionError(errno.EACCES, os.strerror(errno.EACCES), live)
    return Way(live=live, in_place=True, why=why)


def _refusal(live: Path, files: Files) -> OSError | None:
    """Return why *live* cannot be renamed, None if it can.

    Raises BackupError for a file beside which nothing can be made: it needs room there even if
    it is written over.
    """
    try:
        with files.trying_renames(live.parent) as refusal:
            return refusal(live)
    except PermissionError as error:
        if not live.is_dir():
            check_can_make(live.parent, files)
        return error


def check_can_make(directory: Path, files: Files) -> None:
    """Raise BackupError if nothing can be made in *directory*, or where that would be made."""
    there = nearest(directory)
    with explained("a restore can make nothing here", there), files.trying_renames(there):
        pass

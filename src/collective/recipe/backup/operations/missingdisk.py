"""A note of the disks of the backups: a disk that is not mounted is no place to begin anew.

Without its disk, a directory of backups is missing or empty, and a backup would make it again
on the disk below, silently: full, and where the user does not look for it.  So each backup notes,
beside the configuration, on which mount point its directories lie, and the next one that finds
nothing in one of them looks where it lies now.  Without buildout and with ``locationprefix`` the
configuration may be on the disk of the backups itself; then the note is beside the filestorage::

    {"format": 1, "mounts": {"/mnt/shelf/backups": "/mnt/shelf", ...}, "check": "..."}

If the note, or its directory, is removed, the next run does not warn.  Where the directory may not
be written to, as in some containers, there is no note.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.destinations.ownermarks import holds_backups
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.jsonfile import Form, UnreadableError
from collective.recipe.backup.mounts import mount_of
from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

NAME = "whereabouts.json"
FORM = Form(version=1, indent=2)


class Gone(NamedTuple):
    """A *directory* that had backups and is empty or missing now."""

    directory: Path  # absolute
    mount: Path  # mount point of their disk
    unmounted: bool  # whether nothing is mounted there now

    @property
    def what(self) -> str:
        """The first half of messages about a disk that is not mounted."""
        return f"the backups that were here are gone: the disk at {self.mount} is not mounted"

    def error(self, note: Path) -> BackupError:
        """Return the error of a run that would begin anew."""
        return BackupError(
            self.what,
            where=self.directory,
            hint="mount it, then run the command again; if the backups are to begin anew where "
            f"they would lie now, remove {note}",
        )


def note_path(run: Run) -> Path:
    """Return where the note lies: on no disk of the backups alone."""
    around = run.config_path.parent.parent
    main = run.config.sources[-1]
    site = main.blobstorage if run.config.options.only_blobs else main.filestorage
    is_among_backups = any(it.is_relative_to(around) for it in _directories(run))
    if is_among_backups and site is not None and not site.is_relative_to(around):
        return site.with_name(f"{site.name}.{NAME}")
    return run.config_path.with_name(NAME)


def gone(run: Run) -> Iterator[Gone]:
    """Yield the directories of the destination that held backups and hold none now."""
    noted = _noted(note_path(run))
    here = Path(os.path.realpath(note_path(run).parent))
    own = mount_of(here)
    for directory in _directories(run):
        mount = noted.get(str(directory))
        if mount is not None and not holds_backups(directory):
            now = mount_of(directory)
            below = Path(mount).is_relative_to(now) or now == own
            # a site that was below it as well has not been unmounted: it was moved
            moved = now == Path(mount) or here.is_relative_to(mount)
            yield Gone(directory, Path(mount), unmounted=below and not moved)


def warn(run: Run) -> None:
    """Warn a run that looks for backups that their disk is not mounted."""
    for each in gone(run):
        if each.unmounted:
            logger.warning("%s: %s", each.what, each.directory)


def note(run: Run) -> None:
    """Note where the directories of the destination lie that hold backups.

    The caller holds the lock of the run.
    """
    path = note_path(run)
    if not os.access(path.parent, os.W_OK):
        return
    noted = _noted(path)
    found = {str(it): str(mount_of(it)) for it in _directories(run) if holds_backups(it)}
    if any(noted.get(directory) != mount for directory, mount in found.items()):
        run.files.sweep(path.parent, of=path.name)
        run.files.write(path, FORM.encode({"mounts": {**noted, **found}}))


def _directories(run: Run) -> Iterator[Path]:
    for home in run.homes:
        yield from home.directories


def _noted(path: Path) -> dict[str, str]:
    """Return what *path* says; nothing if it is missing, damaged or of a later release."""
    try:
        table = FORM.load(path)
        if table is not None:
            mounts = table.table("mounts")
            return {directory: str(mounts.path(directory)) for directory in mounts}
    except (OSError, UnreadableError):
        pass
    return {}

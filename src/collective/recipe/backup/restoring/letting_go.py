"""The data that a restore has replaced: what is left of it, and its removal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from collective.recipe.backup.errors import BackupError, BrokenOff
from collective.recipe.backup.files import Files
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.restoring.exchange import exists, replaced_by, slots_of
from collective.recipe.backup.restoring.journal import DONE, LETTING_GO, read, write


def left(journal: Path) -> list[Path]:
    """Return what the last restore replaced and is still there, partly removed maybe."""
    found = read(journal)
    if found.state not in (DONE, LETTING_GO) or found.copied_from is not None:
        return []
    return [path for move in found.moves for path in replaced_by(move)]


def let_go(journal: Path, files: Files) -> None:
    """Remove the data that an earlier restore replaced, and its journal.

    If they came with a copy of a site, only the journal is removed: it names files that are
    elsewhere.
    """
    found = read(journal)
    if found.state is None:
        return
    if found.is_pending:
        raise BrokenOff(
            "a restore was broken off here",
            where=journal,
            hint="run the undo again" if found.is_undo else "run the restore again",
        )
    going = [] if found.copied_from else [slot.replaced for slot in slots_of(found.moves)]
    check_no_mounts(going)
    if going:
        # from now on no undo takes what is left of it for something to put back
        write(journal, LETTING_GO, found.moves, files)
    there = [path for path in going if exists(path)]
    for path in there:
        files.clear(path)
    for directory in {path.parent: None for path in there}:
        files.sync_directory(directory)
    files.remove(journal)
    files.sync_directory(journal.parent)


def check_no_mounts(paths: Iterable[Path]) -> None:
    """Raise BackupError if a disk is mounted in a directory that is to be removed."""
    for mount in (mount for path in paths for mount in mounts_in(path)):
        raise BackupError(
            "something is mounted in what is to be removed, and would be emptied with it",
            where=mount,
            hint="unmount it, then run the command again",
        )

"""Undo: put back the data from before a restore, as long as they are there and fit.

Undoing is a swap as well: the replaced data are staged again, so it can be undone in turn.
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.errors import NoRestorePoint, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.restoring.exchange import can_be_undone, exists, slots_of, try_all
from collective.recipe.backup.restoring.journal import DONE, TAKING_BACK, UNDOING, read, write
from collective.recipe.backup.restoring.journalcheck import check_mounts, check_same_files
from collective.recipe.backup.restoring.letting_go import left
from collective.recipe.backup.restoring.mixture import OF_SITE, Mixture, mixture_told
from collective.recipe.backup.restoring.moves import Move
from collective.recipe.backup.restoring.swap import finish, swap_back


def undo(journal: Path, files: Files, mixture: Mixture = OF_SITE) -> None:
    """Put back what the last restore replaced.  Raises as check_undo.

    *mixture* has the words for an end in the middle.
    """
    check_undo(journal)
    moves = read(journal).moves
    with explained("cannot put back what was replaced", journal.parent):
        try_all(moves, files, undo=True)
        for slot in slots_of(moves):
            # data that a failed restore has staged are not the replaced ones
            if exists(slot.staged):
                files.clear(slot.staged)
                files.sync_directory(slot.staged.parent)
        with mixture_told(journal, mixture):
            write(journal, UNDOING, moves, files)
            swap_back(journal, moves, files)


def check_undo(journal: Path) -> None:
    """Raise NoRestorePoint if what the last restore replaced is not there, or fits no more."""
    found = read(journal)
    if not replaced(journal):
        origin = found.copied_from
        copied = f": this site is a copy of the one in {origin.parent}" if origin else ""
        raise NoRestorePoint(
            f"there is nothing to undo{copied}",
            where=journal.parent,
            hint="only the data that the last restore here replaced can be put back",
        )
    check_mounts(found.moves)
    for move in found.moves:
        if move.in_place and not (exists(move.slots[0].replaced) and exists(move.live)):
            raise NoRestorePoint(
                "what was replaced is no longer whole",
                where=move.slots[0].replaced,
                hint="the restore changed live data in place, and only both together make it "
                "what it was; restore from a backup",
            )
    if any(move.in_place for move in found.moves):
        check_same_files(journal)


def take_back(journal: Path, files: Files, mixture: Mixture = OF_SITE) -> None:
    """Put back the data from before a restore that was broken off, if they are there.

    *mixture* has the words for an end in the middle.

    The data of that restore have never been live, so an undo could bring back nothing worse: they
    give way to those that the next restore is to replace.
    """
    found = read(journal)
    if found.state == DONE:
        if can_be_undone(found.moves):
            undo(journal, files, mixture)
        return
    with explained("cannot take back the restore that was broken off", journal):
        write(journal, TAKING_BACK, found.moves, files)
    finish(journal, files, mixture=mixture)


def named(journal: Path) -> list[Move]:
    """Return what the last restore here has changed, or was changing."""
    found = read(journal)
    return [] if found.copied_from else list(found.moves)


def replaced(journal: Path) -> list[Path]:
    """Return what the last restore replaced and is still there, whole."""
    return left(journal) if read(journal).state == DONE else []

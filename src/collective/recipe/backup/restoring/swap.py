"""Put restored data in the place of live data: all of it, or none.

The restored data lie whole and verified beside the live ones, as ``Data.fs.restoring``.  Each live
path is tested whether it can give way, which changes nothing.  The journal,
``Data.fs.restore.json``, then lists the moves, and they are carried out one after the other (see
exchange).

::

    die before the journal is written     nothing has changed; the staged data is debris
    die between the changes               the journal says ``swapping``: *finish* goes on
                                          where it stopped
    die after them                        the same; nothing is left to change
    done                                  the journal says ``done`` and stays as long as
                                          the replaced data does: undoing reads it
    die before the run came to its end    the journal still says what was restored: what
                                          is live has not been used
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup import contents
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.restoring.exchange import (
    can_be_undone,
    carry_out,
    save,
    slots_of,
    stage_again,
    try_all,
)
from collective.recipe.backup.restoring.journal import (
    DONE,
    REVERTING,
    SWAPPING,
    TAKING_BACK,
    UNDOING,
    Chosen,
    Journal,
    read,
    write,
)
from collective.recipe.backup.restoring.journalcheck import check_mounts, is_as_left
from collective.recipe.backup.restoring.letting_go import check_no_mounts, let_go
from collective.recipe.backup.restoring.mixture import OF_SITE, Mixture, mixture_told
from collective.recipe.backup.restoring.moves import Move


def swap(
    journal: Path,
    moves: Sequence[Move],
    files: Files,
    *,
    chosen: Sequence[Chosen] | None = None,
    mixture: Mixture = OF_SITE,
) -> None:
    """Make the staged data live, in the order of *moves*; keep the data that they replace.

    The *chosen* restore points stay in the journal until the run has come to its end; None: that is
    now.  *mixture* has the words for an end in the middle.

    The caller has staged and verified everything and holds the filestorage's lock.  Data that an
    earlier restore replaced are removed first.  Raises BackupError if a live path cannot give way,
    and then nothing has changed.
    """
    with explained("cannot put the restored data in place", journal.parent):
        try_all(moves, files)
        let_go(journal, files)
        debris = [slot.replaced for slot in slots_of(moves)]
        check_no_mounts(debris)
        for path in debris:
            files.clear(path)
        for move in moves:
            for place in move.places:
                contents.clear(place, files)
        save(moves, files)
        noted = [replace(move, mounts=move.now_mounted) for move in moves]
        with mixture_told(journal, mixture):
            write(journal, SWAPPING, noted, files, chosen=chosen)
            _carry_on(journal, noted, files, chosen)


def is_pending(journal: Path) -> bool:
    """Tell whether a restore died between its changes."""
    return read(journal).is_pending


def is_undo(journal: Path) -> bool:
    """Tell whether what died between its changes is an undo."""
    return read(journal).is_undo


def broken_off(
    journal: Path, *, command: str = "bin/restore", mixture: Mixture = OF_SITE
) -> Journal:
    """Return what *journal* says if a restore or an undo died, else what an empty one does.

    That is also a restore that died with all its names changed, if what it restored is as it
    left it.  *command* is how the user calls the restore, *mixture* has the words for a copy of a
    site, in which this raises IntegrityError.
    """
    found = read(journal)
    if not found.is_pending:
        is_left = found.has_not_ended and found.copied_from is None and is_as_left(journal)
        return found if is_left else Journal()
    if found.copied_from is not None:
        raise IntegrityError(
            f"this site is a copy of the one in {found.copied_from.parent}, made while a restore "
            "there was not finished: part of it is restored, the rest is as it was before",
            where=journal,
            hint=mixture.in_copy.format(command=command),
        )
    return found


def finish(
    journal: Path, files: Files, *, command: str = "bin/restore", mixture: Mixture = OF_SITE
) -> bool:
    """Finish the changes of a restore that died; False if there was none.

    *command* and *mixture*: see broken_off.  Raises IntegrityError in a copy of a site.
    """
    found = broken_off(journal, command=command, mixture=mixture)
    if not found.is_pending:
        return False
    with (
        mixture_told(journal, mixture),
        explained("cannot finish the restore that was broken off", journal),
    ):
        check_mounts(found.moves)
        if found.state == UNDOING:
            swap_back(journal, found.moves, files)
        elif found.state == TAKING_BACK:
            _carry_on_and_back(journal, found.moves, files)
        else:
            _carry_on(journal, found.moves, files, found.chosen)
    return True


def swap_back(journal: Path, moves: Sequence[Move], files: Files) -> None:
    """Put back what *moves* have replaced: an undo."""
    again = stage_again(moves, files)
    write(journal, REVERTING, again, files)
    _carry_on(journal, again, files)


def _carry_on(
    journal: Path,
    moves: Sequence[Move],
    files: Files,
    chosen: Sequence[Chosen] | None = None,
) -> None:
    for move in moves:
        carry_out(move, files)
    write(journal, DONE, moves, files, chosen=chosen)


def _carry_on_and_back(journal: Path, moves: Sequence[Move], files: Files) -> None:
    """Finish, since from the middle there is no way back, and undo that."""
    for move in moves:
        carry_out(move, files)
    if can_be_undone(moves):
        write(journal, UNDOING, moves, files)
        swap_back(journal, moves, files)
    else:
        write(journal, DONE, moves, files)

"""Put restored data in the place of live data: all of it, or none, and back if need be.

What was restored lies whole and verified beside what is live, as ``Data.fs.restoring``.
The journal, ``Data.fs.restore.json``, then says which names are to change, and the names
change one by one: the live data becomes ``Data.fs.replaced``, the restored data live.

    die before the journal is written     nothing has changed; the staged data is debris
    die between the renames               the journal says ``swapping``: *finish* goes on
                                          where it stopped
    die after them                        the same; nothing is left to rename
    done                                  the journal says ``done`` and stays as long as
                                          the replaced data does: *undo* reads it

Undoing is a swap as well: what was replaced is staged again, so it can be undone in turn.
A live file never vanishes in between: its second name is made before the first is given
away.  A directory has no second name; there the gap is one rename.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.graft import graft, save_tail
from collective.recipe.backup.journal import (
    DONE,
    REPLACED_SUFFIX,
    STAGED_SUFFIX,
    SWAPPING,
    UNDOING,
    Move,
    check_same_files,
    journal_path,
    read,
    replaced_path,
    staged_path,
    write,
)
from collective.recipe.backup.transplant import CARRIED_OUT, prepare, transplant

__all__ = [
    "REPLACED_SUFFIX",
    "STAGED_SUFFIX",
    "Move",
    "finish",
    "is_pending",
    "journal_path",
    "let_go",
    "lives",
    "replaced",
    "replaced_path",
    "staged_path",
    "swap",
    "undo",
]


logger = logging.getLogger("backup")


def swap(journal: Path, moves: Sequence[Move], files: Files) -> None:
    """Make what is staged live, in the order of *moves*; keep what it replaces.

    The caller has staged and verified everything and holds the filestorage's lock.  What
    an earlier restore replaced is let go first.
    """
    with explained("cannot put the restored data in place", journal.parent):
        let_go(journal, files)
        for name in _names(moves):
            files.clear(replaced_path(name))
        _save(moves, files)
        with _mixture_told(journal):
            write(journal, SWAPPING, moves, files)
            _carry_on(journal, moves, files)


def is_pending(journal: Path) -> bool:
    """Tell whether a restore died between its renames."""
    state, _moves = read(journal)
    return state in (SWAPPING, UNDOING)


def finish(journal: Path, files: Files) -> bool:
    """Finish the renames of a restore that died; False if there was none."""
    state, moves = read(journal)
    with (
        _mixture_told(journal),
        explained("cannot finish the restore that was broken off", journal),
    ):
        if state == UNDOING:
            _stage_again(journal, moves, files)
        elif state == SWAPPING:
            _carry_on(journal, moves, files)
        else:
            return False
    return True


def lives(journal: Path) -> list[Path]:
    """Return what is live by the names in the journal, whatever its state; companions aside."""
    return [move.live for move in read(journal)[1]]


def replaced(journal: Path) -> list[Path]:
    """Return what the last restore replaced and is still there."""
    state, moves = read(journal)
    if state != DONE:
        return []
    return [replaced_path(name) for name in _names(moves) if _exists(replaced_path(name))]


def undo(journal: Path, files: Files) -> None:
    """Put back what the last restore replaced.  Raises NoRestorePoint if it is not there."""
    state, moves = read(journal)
    if state != DONE or not replaced(journal):
        raise NoRestorePoint(
            "there is nothing to undo",
            where=journal.parent,
            hint="only the data that the last restore replaced can be put back",
        )
    for move in moves:
        if move.in_place and not (_exists(replaced_path(move.live)) and _exists(move.live)):
            raise NoRestorePoint(
                "what was replaced is no longer whole",
                where=replaced_path(move.live),
                hint="the restore changed live data in place, and only both together make it "
                "what it was; restore from a backup",
            )
    if any(move.in_place for move in moves):
        check_same_files(journal)
    with explained("cannot put back what was replaced", journal.parent):
        for name in _names(moves):
            # what a restore that failed has staged is not what was replaced
            if _exists(staged_path(name)):
                files.clear(staged_path(name))
                files.sync_directory(name.parent)
        with _mixture_told(journal):
            write(journal, UNDOING, moves, files)
            _stage_again(journal, moves, files)


def let_go(journal: Path, files: Files) -> None:
    """Remove what an earlier restore replaced, and its journal."""
    state, moves = read(journal)
    if state is None:
        return
    if state != DONE:
        raise BackupError(
            "a restore was broken off here", where=journal, hint="run the restore again"
        )
    # without the journal nobody takes what is left of it for something to put back
    files.remove(journal)
    files.sync_directory(journal.parent)
    for name in _names(moves):
        files.clear(replaced_path(name))


@contextmanager
def _mixture_told(journal: Path) -> Iterator[None]:
    """Say that the site is a mixture where an error or an interrupt leaves it as one."""
    try:
        yield
    except BaseException:
        with suppress(BackupError):
            if is_pending(journal):
                logger.warning(
                    "broken off in the middle: part of the site is what it was, part is restored; "
                    "keep it stopped and run the restore again, which finishes it"
                )
        raise


def _names(moves: Sequence[Move]) -> list[Path]:
    """Return the live names of *moves*, companions included."""
    return [name for move in moves for name in (move.live, move.companion) if name is not None]


def _carry_on(journal: Path, moves: Sequence[Move], files: Files) -> None:
    for move in moves:
        _carry_out(move, files)
    write(journal, DONE, moves, files)


def _carry_out(move: Move, files: Files) -> None:
    """Do what is left to do of *move*."""
    if not move.staged or _exists(staged_path(move.live)):
        if move.companion is not None and _exists(move.companion):
            _give_way(move.companion, files, link=False)
        if move.keep is not None:
            _graft(move.live, move.keep, files)
        elif move.difference:
            _transplant(move.live, files)
        else:
            _exchange(move, files)
    if move.companion is not None and _exists(staged_path(move.companion)):
        files.rename(staged_path(move.companion), move.companion)


def _exchange(move: Move, files: Files) -> None:
    if _exists(move.live):
        _give_way(move.live, files, link=move.staged)
    if move.staged:
        files.rename(staged_path(move.live), move.live)


def _graft(live: Path, keep: int, files: Files) -> None:
    tail = staged_path(live)
    graft(live, keep, tail, replaced_path(live), files)
    files.remove(tail)
    files.sync_directory(tail.parent)


def _transplant(live: Path, files: Files) -> None:
    difference = staged_path(live)
    inverse = replaced_path(live)
    transplant(live, difference, inverse, files)
    # what is left of it are hundreds of empty directories: they go when what was replaced goes
    files.clear(difference / CARRIED_OUT)  # with an undo it was an inverse before
    files.rename(difference, inverse / CARRIED_OUT)


def _save(moves: Sequence[Move], files: Files) -> None:
    """Note what the live data is that will change in place."""
    for move in moves:
        if move.keep is not None:
            save_tail(move.live, move.keep, replaced_path(move.live), files)
        elif move.difference:
            prepare(move.live, staged_path(move.live), replaced_path(move.live), files)


def _give_way(live: Path, files: Files, *, link: bool) -> None:
    """Make *live* what was replaced; with *link* its first name stays to be renamed over."""
    old = replaced_path(live)
    if not _exists(old):
        if not (link and not live.is_dir() and files.link(live, old)):
            files.rename(live, old)
    elif not old.samefile(live):
        raise IntegrityError(
            "something was made here after a restore had been broken off",
            where=live,
            hint=f"move it away, then run the restore again; {old.name} is what was live before",
        )


def _stage_again(journal: Path, moves: Sequence[Move], files: Files) -> None:
    """Stage what was replaced, then swap: an undo."""
    for name in _names(moves):
        if _exists(replaced_path(name)) and not _exists(staged_path(name)):
            files.rename(replaced_path(name), staged_path(name))
    again = [replace(move, staged=_exists(staged_path(move.live))) for move in moves]
    _save(again, files)
    write(journal, SWAPPING, again, files)
    _carry_on(journal, again, files)


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()

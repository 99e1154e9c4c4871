"""Put restored data in the place of live data: all of it, or none, and back if need be.

What was restored lies whole and verified beside what is live, as ``Data.fs.restoring``.
Everything that is to give way is tried, which changes nothing.  The journal,
``Data.fs.restore.json``, then says what is to change, and it changes, one thing after the
other, each in one of four ways:

* a name is exchanged by two renames: the live data becomes ``Data.fs.replaced``, the
  restored data live;
* the contents of a directory that has to stay are exchanged (see contents);
* the live file gets another tail, in place (see graft);
* the files that differ change places in a live tree (see transplant).

::

    die before the journal is written     nothing has changed; the staged data is debris
    die between the changes               the journal says ``swapping``: *finish* goes on
                                          where it stopped
    die after them                        the same; nothing is left to change
    done                                  the journal says ``done`` and stays as long as
                                          the replaced data does: *undo* reads it
    die before the run came to its end    the journal still says what was restored: what
                                          is live has not been used

Undoing is a swap as well: what was replaced is staged again, so it can be undone in turn.
A live file never vanishes in between: its second name is made before the first is given
away.  A directory has no second name; there the gap is one rename.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup import contents
from collective.recipe.backup.errors import (
    BackupError,
    BrokenOff,
    IntegrityError,
    NoRestorePoint,
    explained,
    from_os_error,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.restoring.graft import graft, save_tail
from collective.recipe.backup.restoring.journal import (
    DONE,
    LETTING_GO,
    REVERTING,
    SWAPPING,
    TAKING_BACK,
    UNDOING,
    Chosen,
    Journal,
    check_mounts,
    check_same_files,
    is_as_left,
    journal_path,
    read,
    write,
)
from collective.recipe.backup.restoring.moves import (
    REPLACED_SUFFIX,
    STAGED_SUFFIX,
    Move,
    Slot,
    replaced_path,
    staged_path,
)
from collective.recipe.backup.restoring.transplant import CARRIED_OUT, prepare, transplant, try_out

__all__ = [
    "REPLACED_SUFFIX",
    "STAGED_SUFFIX",
    "Move",
    "broken_off",
    "check_undo",
    "finish",
    "is_pending",
    "journal_path",
    "is_undo",
    "left",
    "let_go",
    "named",
    "replaced",
    "replaced_path",
    "staged_path",
    "swap",
    "take_back",
    "undo",
]


logger = logging.getLogger("backup")


def swap(
    journal: Path,
    moves: Sequence[Move],
    files: Files,
    *,
    chosen: Sequence[Chosen] | None = None,
) -> None:
    """Make what is staged live, in the order of *moves*; keep what it replaces.

    What was *chosen* to be live stands in the journal until the run has come to its end; None:
    that is now.

    The caller has staged and verified everything and holds the filestorage's lock.  What
    an earlier restore replaced is let go first.  Raises BackupError if something cannot
    give way, and then nothing has changed.
    """
    with explained("cannot put the restored data in place", journal.parent):
        _try(moves, files)
        let_go(journal, files)
        debris = [slot.replaced for slot in _slots(moves)]
        _check_no_mounts(debris)
        for path in debris:
            files.clear(path)
        for move in moves:
            for place in move.places:
                contents.clear(place, files)
        _save(moves, files)
        noted = [replace(move, mounts=move.now_mounted) for move in moves]
        with _mixture_told(journal):
            write(journal, SWAPPING, noted, files, chosen=chosen)
            _carry_on(journal, noted, files, chosen)


def is_pending(journal: Path) -> bool:
    """Tell whether a restore died between its changes."""
    return read(journal).is_pending


def is_undo(journal: Path) -> bool:
    """Tell whether what died between its changes is an undo."""
    return read(journal).is_undo


def broken_off(journal: Path, *, command: str = "bin/restore") -> Journal:
    """Return what *journal* says if a restore or an undo died, else what an empty one does.

    That is also a restore that died with all its names changed, if what it restored is as it
    left it.  *command* is how the user calls the restore.  Raises IntegrityError in a copy of
    a site.
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
            hint=f"run {command} --give-up, which sets aside what that restore left here and "
            f"removes nothing, then {command} again, which restores this copy",
        )
    return found


def finish(journal: Path, files: Files, *, command: str = "bin/restore") -> bool:
    """Finish the changes of a restore that died; False if there was none.

    *command* is how the user calls the restore.  Raises IntegrityError in a copy of a site.
    """
    found = broken_off(journal, command=command)
    if not found.is_pending:
        return False
    with (
        _mixture_told(journal),
        explained("cannot finish the restore that was broken off", journal),
    ):
        check_mounts(found.moves)
        if found.state == UNDOING:
            _stage_again(journal, found.moves, files)
        elif found.state == TAKING_BACK:
            _carry_on_and_back(journal, found.moves, files)
        else:
            _carry_on(journal, found.moves, files, found.chosen)
    return True


def take_back(journal: Path, files: Files) -> None:
    """Put back what was live before a restore that was broken_off, if that is there.

    What the restore has put in its place has never been used, so an undo could bring back
    nothing worse: it gives way to what the next restore is to replace.
    """
    found = read(journal)
    if found.state == DONE:
        if _can_be_undone(found.moves):
            undo(journal, files)
        return
    with explained("cannot take back the restore that was broken off", journal):
        write(journal, TAKING_BACK, found.moves, files)
    finish(journal, files)


def named(journal: Path) -> list[Move]:
    """Return what the last restore here has changed, or was changing."""
    found = read(journal)
    return [] if found.copied_from else list(found.moves)


def replaced(journal: Path) -> list[Path]:
    """Return what the last restore replaced and is still there, whole."""
    return left(journal) if read(journal).state == DONE else []


def left(journal: Path) -> list[Path]:
    """Return what the last restore replaced and is still there, partly removed maybe."""
    found = read(journal)
    if found.state not in (DONE, LETTING_GO) or found.copied_from is not None:
        return []
    return [path for move in found.moves for path in _replaced(move)]


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
        if move.in_place and not (_exists(move.slots[0].replaced) and _exists(move.live)):
            raise NoRestorePoint(
                "what was replaced is no longer whole",
                where=move.slots[0].replaced,
                hint="the restore changed live data in place, and only both together make it "
                "what it was; restore from a backup",
            )
    if any(move.in_place for move in found.moves):
        check_same_files(journal)


def undo(journal: Path, files: Files) -> None:
    """Put back what the last restore replaced.  Raises as check_undo."""
    check_undo(journal)
    moves = read(journal).moves
    with explained("cannot put back what was replaced", journal.parent):
        _try(moves, files, undo=True)
        for slot in _slots(moves):
            # what a restore that failed has staged is not what was replaced
            if _exists(slot.staged):
                files.clear(slot.staged)
                files.sync_directory(slot.staged.parent)
        with _mixture_told(journal):
            write(journal, UNDOING, moves, files)
            _stage_again(journal, moves, files)


def let_go(journal: Path, files: Files) -> None:
    """Remove what an earlier restore replaced, and its journal.

    Of one that came with a copy of a site only the journal goes: it names what is elsewhere.
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
    going = [] if found.copied_from else [slot.replaced for slot in _slots(found.moves)]
    _check_no_mounts(going)
    if going:
        # from now on no undo takes what is left of it for something to put back
        write(journal, LETTING_GO, found.moves, files)
    for path in going:
        if _exists(path):
            files.clear(path)
            files.sync_directory(path.parent)
    files.remove(journal)
    files.sync_directory(journal.parent)


def _check_no_mounts(paths: Iterable[Path]) -> None:
    """Raise BackupError if a disk is mounted in what is to be removed."""
    for mount in (mount for path in paths for mount in mounts_in(path)):
        raise BackupError(
            "something is mounted in what is to be removed, and would be emptied with it",
            where=mount,
            hint="unmount it, then run the command again",
        )


@contextmanager
def _mixture_told(journal: Path) -> Iterator[None]:
    """Say that the site is a mixture where an error or an interrupt leaves it as one.

    Of an error that promises that nothing has changed it makes BrokenOff.
    """
    try:
        yield
    except BaseException as error:
        if not _is_mixture(journal):
            raise
        if isinstance(error, OSError):
            raise _broken_off(from_os_error(error)) from error
        if isinstance(error, BackupError) and error.exit_code == BackupError.exit_code:
            raise _broken_off(error) from error
        logger.warning("%s; %s", _BROKEN_OFF, _GOING_ON)
        raise


_BROKEN_OFF = "broken off in the middle: part of the site is what it was, part is restored"
_GOING_ON = (
    "keep it stopped and run the same command again, which finishes it; if that cannot be, "
    "--give-up sets it aside and says what is where"
)


def _is_mixture(journal: Path) -> bool:
    try:
        return is_pending(journal)
    except BackupError:  # the error under way is worth more
        return False


def _broken_off(error: BackupError) -> BrokenOff:
    hint = "; ".join(filter(None, [error.hint, _GOING_ON]))
    return BrokenOff(f"{_BROKEN_OFF}; {error.what}", where=error.where, hint=hint)


def _slots(moves: Sequence[Move]) -> list[Slot]:
    return [slot for move in moves for slot in move.slots]


def _replaced(move: Move) -> Iterator[Path]:
    """Yield what *move* has replaced."""
    if move.exchanged_places:
        places = filter(contents.has_replaced, move.exchanged_places)
        yield from (place.replaced for place in places)
    else:
        yield from (slot.replaced for slot in move.slots if _exists(slot.replaced))


def _carry_on(
    journal: Path,
    moves: Sequence[Move],
    files: Files,
    chosen: Sequence[Chosen] | None = None,
) -> None:
    for move in moves:
        _carry_out(move, files)
    write(journal, DONE, moves, files, chosen=chosen)


def _carry_on_and_back(journal: Path, moves: Sequence[Move], files: Files) -> None:
    """Finish, since from the middle there is no way back, and undo that."""
    for move in moves:
        _carry_out(move, files)
    if _can_be_undone(moves):
        write(journal, UNDOING, moves, files)
        _stage_again(journal, moves, files)
    else:
        write(journal, DONE, moves, files)


def _can_be_undone(moves: Sequence[Move]) -> bool:
    """Tell whether *moves* have replaced something, and all of what they need to put it back."""
    is_whole = all(
        _exists(move.slots[0].replaced) and _exists(move.live) for move in moves if move.in_place
    )
    return is_whole and any(True for move in moves for _path in _replaced(move))


def _carry_out(move: Move, files: Files) -> None:
    """Do what is left to do of *move*."""
    if move.exchanged_places:
        for place in move.exchanged_places:
            contents.exchange(place, files)
        return
    slot, *companions = move.slots
    if not move.staged or _exists(slot.staged):
        for companion in companions:
            if _exists(companion.live):
                _give_way(companion, files, link=False)
        _put_in_place(move, slot, files)
    for companion in companions:
        if _exists(companion.staged):
            files.rename(companion.staged, companion.live)


def _put_in_place(move: Move, slot: Slot, files: Files) -> None:
    if move.keep is not None:
        _graft(slot, move.keep, files)
    elif move.difference:
        _transplant(move.live, slot, files)
    else:
        _exchange(slot, files, staged=move.staged)


def _exchange(slot: Slot, files: Files, *, staged: bool) -> None:
    if _exists(slot.live):
        _give_way(slot, files, link=staged)
    if staged:
        files.rename(slot.staged, slot.live)


def _graft(slot: Slot, keep: int, files: Files) -> None:
    graft(slot.live, keep, slot.staged, slot.replaced, files)
    files.remove(slot.staged)
    files.sync_directory(slot.staged.parent)


def _transplant(live: Path, slot: Slot, files: Files) -> None:
    difference, inverse = slot.staged, slot.replaced
    transplant(live, difference, inverse, files)
    # what is left of it are hundreds of empty directories: they go when what was replaced goes
    files.clear(difference / CARRIED_OUT)  # with an undo it was an inverse before
    files.rename(difference, inverse / CARRIED_OUT)


def _try(moves: Sequence[Move], files: Files, *, undo: bool = False) -> None:
    """Raise an error now if something cannot give way; nothing is changed.

    What comes is what is staged, with *undo* what was replaced.
    """
    for move in moves:
        slot, *_companions = move.slots
        if move.difference:
            try_out(move.live, slot.replaced if undo else slot.staged, files)
        elif move.keep is not None:
            files.check_writable(move.live)
        for place in move.exchanged_places:
            contents.check(place, place.replaced if undo else place.staged, files)
        for name in _renamed(move):
            with files.trying_renames(name.parent) as refusal:
                error = refusal(name)
            if error is not None:
                raise error


def _renamed(move: Move) -> Iterator[Path]:
    """Yield what is there and is to be renamed, whole."""
    names = [move.companion]
    if not move.in_place and move.inside is None:
        names.append(move.live)
    yield from (name for name in names if name is not None and _exists(name))


def _save(moves: Sequence[Move], files: Files) -> None:
    """Note what the live data is that will change in place."""
    for move in moves:
        slot = move.slots[0]
        if move.keep is not None:
            save_tail(move.live, move.keep, slot.replaced, files)
        elif move.difference:
            prepare(move.live, slot.staged, slot.replaced, files)


def _give_way(slot: Slot, files: Files, *, link: bool) -> None:
    """Make what is live what was replaced; with *link* its first name stays, to be renamed over."""
    live, old = slot.live, slot.replaced
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
    for move in moves:
        for place in move.exchanged_places:
            contents.stage_again(place, files)
        for slot in move.slots if not move.exchanged_places else ():
            if _exists(slot.replaced) and not _exists(slot.staged):
                files.rename(slot.replaced, slot.staged)
    again = [replace(move, staged=_exists(move.slots[0].staged)) for move in moves]
    _save(again, files)
    write(journal, REVERTING, again, files)
    _carry_on(journal, again, files)


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()

"""The steps of one move of a restore: try, save, carry out, stage again.

A move changes one thing, in one of four ways:

* a name is exchanged by two renames: the live data becomes ``Data.fs.replaced``, the
  restored data live;
* the contents of a directory that has to stay are exchanged (see contents);
* the live file gets another tail, in place (see graft);
* the files that differ change places in a live tree (see transplant).

Each can be carried out again from wherever it was broken off.  A live file never vanishes in
between: its second name is made before the first is given away.  A directory has no second
name; there the gap is one rename.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup import contents
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.restoring.graft import graft, save_tail
from collective.recipe.backup.restoring.moves import Move, Slot
from collective.recipe.backup.restoring.transplant import CARRIED_OUT, prepare, transplant, try_out


def try_all(moves: Sequence[Move], files: Files, *, undo: bool = False) -> None:
    """Raise an error now if a live file or directory cannot give way; nothing is changed.

    The new data are the staged ones, with *undo* the replaced ones.
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
    """Yield the paths that are to be renamed, whole."""
    names = [move.companion]
    if not move.in_place and move.inside is None:
        names.append(move.live)
    yield from (name for name in names if name is not None and exists(name))


def save(moves: Sequence[Move], files: Files) -> None:
    """Note what the live data is that will change in place."""
    for move in moves:
        slot = move.slots[0]
        if move.keep is not None:
            save_tail(move.live, move.keep, slot.replaced, files)
        elif move.difference:
            prepare(move.live, slot.staged, slot.replaced, files)


def carry_out(move: Move, files: Files) -> None:
    """Do the remaining steps of *move*."""
    if move.exchanged_places:
        for place in move.exchanged_places:
            contents.exchange(place, files)
        return
    slot, *companions = move.slots
    if not move.staged or exists(slot.staged):
        for companion in companions:
            if exists(companion.live):
                _give_way(companion, files, link=False)
        _put_in_place(move, slot, files)
    for companion in companions:
        if exists(companion.staged):
            files.rename(companion.staged, companion.live)


def _put_in_place(move: Move, slot: Slot, files: Files) -> None:
    if move.keep is not None:
        _graft(slot, move.keep, files)
    elif move.difference:
        _transplant(move.live, slot, files)
    else:
        _exchange(slot, files, staged=move.staged)


def _exchange(slot: Slot, files: Files, *, staged: bool) -> None:
    if exists(slot.live):
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
    # its many empty directories are removed together with the replaced data
    files.clear(difference / CARRIED_OUT)  # with an undo it was an inverse before
    files.rename(difference, inverse / CARRIED_OUT)


def _give_way(slot: Slot, files: Files, *, link: bool) -> None:
    """Rename the live data to the replaced name; with *link* the first name stays for now."""
    live, old = slot.live, slot.replaced
    if not exists(old):
        if not (link and not live.is_dir() and files.link(live, old)):
            files.rename(live, old)
    elif not old.samefile(live):
        raise IntegrityError(
            "something was made here after a restore had been broken off",
            where=live,
            hint=f"move it away, then run the restore again; {old.name} is what was live before",
        )


def stage_again(moves: Sequence[Move], files: Files) -> list[Move]:
    """Stage what *moves* have replaced; return the moves that make it live again."""
    for move in moves:
        for place in move.exchanged_places:
            contents.stage_again(place, files)
        for slot in move.slots if not move.exchanged_places else ():
            if exists(slot.replaced) and not exists(slot.staged):
                files.rename(slot.replaced, slot.staged)
    again = [replace(move, staged=exists(move.slots[0].staged)) for move in moves]
    save(again, files)
    return again


def can_be_undone(moves: Sequence[Move]) -> bool:
    """Tell whether *moves* have replaced data, all of which is still there to be put back."""
    is_whole = all(
        exists(move.slots[0].replaced) and exists(move.live) for move in moves if move.in_place
    )
    return is_whole and any(True for move in moves for _path in replaced_by(move))


def replaced_by(move: Move) -> Iterator[Path]:
    """Yield what *move* has replaced."""
    if move.exchanged_places:
        places = filter(contents.has_replaced, move.exchanged_places)
        yield from (place.replaced for place in places)
    else:
        yield from (slot.replaced for slot in move.slots if exists(slot.replaced))


def slots_of(moves: Sequence[Move]) -> list[Slot]:
    """Return all places that *moves* change."""
    return [slot for move in moves for slot in move.slots]


def exists(path: Path) -> bool:
    """Tell whether *path* is there, if only as a link to nothing; OSError if that is unknown."""
    return path.is_symlink() or path.exists()

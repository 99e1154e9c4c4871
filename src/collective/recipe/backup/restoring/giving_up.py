"""Give up a restore that was broken off and cannot be finished: list where its files are.

Nothing is removed.  The staged and the replaced files get other names, with the moment in them, so
that no later restore takes them for its own::

    Data.fs.restoring.STAMP      what was to become live
    Data.fs.replaced.STAMP       what was live
    Data.fs.restore.json.STAMP   the journal, which is renamed last

If the process dies in between, the journal still has its name, and it can be done again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.contents import LEAVING
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.restoring.journal import UNDOING, read
from collective.recipe.backup.restoring.moves import Move, Slot

_COMING, _LEFT = "what was to become live", "what was live before"


def check(journal: Path) -> bool:
    """Tell whether *journal* names the files of the restore.

    Raises NoRestorePoint if no restore was broken off.
    """
    state, _slots = _state(journal, ())
    return bool(state)


def give_up(journal: Path, lives: Sequence[Path], stamp: str, files: Files) -> list[str]:
    """Set aside the files of the restore of *journal*; return, in lines, where they are.

    *lives* are the names to look at if the journal is damaged, or came with a copy of a site.
    Raises NoRestorePoint if no restore was broken off, and OSError if not even the journal can be
    renamed.
    """
    state, slots = _state(journal, lives)
    lines: list[str] = []
    for slot in slots:
        lines.append(f"{slot.live}: {_now(slot, state)}")
        coming = _LEFT if state == UNDOING else _COMING
        found = [(slot.staged, coming), (slot.replaced, _LEFT)]
        found.append((slot.replaced.with_name(LEAVING), _LEFT))
        lines.extend(_set_aside(found, stamp, files))
    files.rename(journal, _aside(journal, stamp))
    return lines


def _state(journal: Path, lives: Sequence[Path]) -> tuple[str, list[Slot]]:
    """Return the state of a restore that was broken off ("": unknown), and where to look."""
    try:
        found = read(journal)
    except IntegrityError:
        return "", _slots_of(lives)
    if found.state is None or not found.is_pending:
        raise NoRestorePoint(
            "no restore was broken off here, so there is nothing to give up",
            where=journal.parent,
            hint="--undo puts back what the last restore replaced",
        )
    if found.copied_from is not None:  # the files that it names are elsewhere
        return "", _slots_of(lives)
    return found.state, [slot for move in found.moves for slot in move.slots]


def _slots_of(lives: Sequence[Path]) -> list[Slot]:
    """Return all places where a restore of *lives* may have left something."""
    moves = [Move(live=live) for live in lives]
    moves += [Move(live=live, inside=()) for live in lives if live.is_dir()]
    return [slot for move in moves for slot in move.slots]


def _now(slot: Slot, state: str) -> str:
    """Return in words which data are live now."""
    if not os.path.lexists(slot.live):
        return "nothing is here now"
    if state == UNDOING:
        return "what the last restore had made of it"
    if os.path.lexists(slot.staged):
        return "what was here before, or a mixture"
    return "what was restored"


def _set_aside(found: Iterable[tuple[Path, str]], stamp: str, files: Files) -> Iterator[str]:
    """Rename the files that are there; yield where each is then, and its content."""
    for path, what in found:
        if not os.path.lexists(path):
            continue
        aside = _aside(path, stamp)
        try:
            files.rename(path, aside)
        except OSError as error:
            yield (
                f"    {path}: {what}; it cannot be renamed ({error.strerror}): move it away "
                "before the next restore, which removes what has this name"
            )
        else:
            yield f"    {aside}: {what}"


def _aside(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.name}.{stamp}")

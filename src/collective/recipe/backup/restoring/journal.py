"""The journal of a restore: the names that change, and the step that was reached.

``Data.fs.restore.json`` lies beside the main filestorage and is replaced in one step, so a
run that dies leaves it as it was before or after::

    journal  its own path; a journal that lies elsewhere came with a copy of a site
    state    swapping, taking back, undoing, reverting: broken off, unless a run is at work (the
             last three are steps of an undo)
             done: it can be undone
             letting go: the replaced data is being removed
    moves    see Move
    chosen   the restore points that are restored, until the run has ended; see Chosen
    known    once it is done: the fingerprint of each filestorage, an inode, a size and a digest of
             both ends.  A change in place can be undone only while the file has it, grown maybe:
             a pack makes another file, ``cp`` writes over this one.  ``length`` and ``time`` (of
             its last change) tell whether the file has changed at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from collective.recipe.backup.errors import (
    IntegrityError,
    explained,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, Table, UnreadableError
from collective.recipe.backup.restoring.graft import digest_of_ends
from collective.recipe.backup.restoring.moves import Move

FORM = Form(version=1, indent=1)
JOURNAL_SUFFIX = ".restore.json"
SWAPPING, DONE, LETTING_GO = "swapping", "done", "letting go"
TAKING_BACK, UNDOING, REVERTING = "taking back", "undoing", "reverting"
_PENDING_UNDO = (TAKING_BACK, UNDOING, REVERTING)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The new content for the place of one filestorage, its blobs, or both."""

    directory: str  # where the backups lie
    point: str  # the stamp of the restore point
    until: str | None  # the last transaction to take from it, 16 hex digits; None: all of them
    lives: tuple[str, ...]  # the paths of what gives way


@dataclass(frozen=True, kw_only=True)
class Known:
    """The fingerprint of a live filestorage after a restore."""

    inode: int  # number of the file in its file system
    size: int  # bytes that stay even if the restore is undone
    ends: str  # digest of both ends of these
    length: int | None  # bytes of all of it, None: written by an older release
    time: int | None  # of its last change, in nanoseconds since 1970; None: as above


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The content of a journal; without one there is no *state*, and there are no *moves*."""

    state: str | None = None  # see the docstring of the module; None: there is no journal
    moves: tuple[Move, ...] = ()  # in their order
    chosen: tuple[Chosen, ...] | None = None  # None: not known, or the restore came to its end
    copied_from: Path | None = None  # where it was written; None: where it lies

    @property
    def is_pending(self) -> bool:
        """Tell whether what it tells of was broken off."""
        return self.state in (SWAPPING, *_PENDING_UNDO)

    @property
    def is_undo(self) -> bool:
        """Tell whether an undo was broken off."""
        return self.state in _PENDING_UNDO

    @property
    def has_not_ended(self) -> bool:
        """Tell whether the run of a restore died, though all names may have changed by then."""
        return self.state == SWAPPING or (self.state == DONE and self.chosen is not None)


def journal_path(filestorage: Path) -> Path:
    """Return where the journal of a restore of *filestorage* lies."""
    return filestorage.with_name(filestorage.name + JOURNAL_SUFFIX)


def write(
    journal: Path,
    state: str,
    moves: Sequence[Move],
    files: Files,
    *,
    chosen: Sequence[Chosen] | None = None,
) -> None:
    """Let the *journal* say this, in one step."""
    known_now = _known_now(journal, moves) if state == DONE else {}
    content = {
        "state": state,
        "journal": str(journal),
        "known": {live: asdict(it) for live, it in known_now.items()},
        "moves": [
            {
                "live": str(move.live),
                "staged": move.staged,
                "companion": move.companion and str(move.companion),
                "keep": move.keep,
                "difference": move.difference,
                "filestorage": move.filestorage and str(move.filestorage),
                "inside": move.inside,
                "mounts": move.mounts,
            }
            for move in moves
        ],
        "chosen": None if chosen is None else [asdict(each) for each in chosen],
    }
    files.write(journal, FORM.encode(content))


def end(journal: Path, files: Files) -> None:
    """Note that the run of a restore has come to its end, and the site may be used.

    The journal keeps its knowledge of live files: the site may be running already.
    """
    with _understood(journal):
        table = _load(journal)
    if table is not None and table.value("chosen") is not None:
        content = {key: table.value(key) for key in table}
        files.write(journal, FORM.encode({**content, "chosen": None}))


def read(journal: Path) -> Journal:
    """Return what *journal* says.

    Raises IntegrityError if it is damaged, or of a later release.
    """
    with _understood(journal):
        table = _load(journal)
        if table is None:
            return Journal()
        written = table.path("journal")
        return Journal(
            state=_state(table),
            moves=tuple(_moves(table)),
            chosen=_chosen(table),
            copied_from=None if written == journal else written,
        )


def known(journal: Path) -> dict[Path, Known]:
    """Return the fingerprint of each live filestorage, {} if no restore has come to its end."""
    with _understood(journal):
        table = _load(journal)
        rows = Table({}) if table is None else table.table("known")
        return {Path(name): _known(rows.table(name)) for name in rows}


def _load(journal: Path) -> Table | None:
    with explained("cannot read what a restore left behind", journal):
        return FORM.load(journal)


@contextmanager
def _understood(journal: Path) -> Iterator[None]:
    """Turn an UnreadableError of the body into the IntegrityError of *journal*."""
    try:
        yield
    except LaterReleaseError as error:
        raise IntegrityError(
            f"the journal of a restore cannot be read: {error}",
            where=journal,
            hint="finish or undo that restore with the release that began it",
        ) from error
    except UnreadableError as error:
        raise IntegrityError(
            f"the journal of a restore is damaged: {error}",
            where=journal,
            hint="look at the *.restoring and *.replaced files beside it and rename by hand",
        ) from error


def _state(table: Table) -> str:
    state = table.text("state")
    if state not in (SWAPPING, DONE, LETTING_GO, *_PENDING_UNDO):
        raise UnreadableError(f"there is no state {state[:20]!r}")
    return state


def _moves(table: Table) -> list[Move]:
    return [
        Move(
            live=move.path("live"),
            staged=move.flag("staged"),
            companion=move.path_or_none("companion"),
            keep=move.number_or_none("keep"),
            difference=move.flag("difference"),
            filestorage=move.path_or_none("filestorage"),
            inside=_inside(move),
            mounts=None if move.value("mounts") is None else tuple(move.texts("mounts")),
        )
        for move in table.tables("moves")
    ]


def _chosen(table: Table) -> tuple[Chosen, ...] | None:
    if table.value("chosen") is None:
        return None
    return tuple(
        Chosen(
            directory=each.text("directory"),
            point=each.text("point"),
            until=each.text_or_none("until"),
            lives=tuple(each.texts("lives")),
        )
        for each in table.tables("chosen")
    )


def _known(row: Table) -> Known:
    return Known(
        inode=row.number("inode"),
        size=row.number("size"),
        ends=row.text("ends"),
        length=row.number_or_none("length"),
        time=row.number_or_none("time"),
    )


def _inside(move: Table) -> tuple[str, ...] | None:
    """Return the mount points below the live directory, None if its name is exchanged."""
    if move.value("inside") is None:
        return None
    paths = tuple(move.texts("inside"))
    # an absolute one has an empty name before its first slash
    if not all({"", ".", ".."}.isdisjoint(path.split("/")) for path in paths):
        raise UnreadableError("inside holds what is no path below the live one")
    return paths


def _known_now(journal: Path, moves: Sequence[Move]) -> dict[str, Known]:
    """Return the fingerprints of the live files, to tell a pack or a cp since then."""
    main = journal.with_name(journal.name.removesuffix(JOURNAL_SUFFIX))
    named = [main, *(move.filestorage for move in moves if move.filestorage)]
    keeps = {**dict.fromkeys(named), **{move.live: move.keep for move in moves}}
    found: dict[str, Known] = {}
    for live, keep in keeps.items():
        if live.is_file():
            status = live.stat()
            size = status.st_size if keep is None else keep
            found[str(live)] = Known(
                inode=status.st_ino,
                size=size,
                ends=digest_of_ends(live, size),
                length=status.st_size,
                time=status.st_mtime_ns,
            )
    return found

"""The order for a backup of a filestorage, and its result."""

from __future__ import annotations

from collections.abc import Callable

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import DEFAULT_LEVEL, Hole
from collective.recipe.backup.times import Tid


@dataclass(frozen=True)
class Orders:
    """An order to back up a filestorage."""

    why_full: str = ""  # reason for a full backup; "": an incremental one will do
    level: int | None = DEFAULT_LEVEL  # of compression; None: no gzip
    strict: bool = False
    """Whether to compare the whole former backup with the filestorage before continuing it."""
    merged_later: bool = False  # whether the new part stays uncompressed until it is merged
    before_full: Callable[[], None] = lambda: None
    """Called before a full backup is written; may raise BackupError."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The newest part of *chain* after a backup."""

    stamp: str  # of the part
    chain: str  # stamp of its full backup
    start: int  # first byte in the filestorage
    end: int  # byte after the last one
    tid: Tid | None  # greatest tid up to the end; None: there is no transaction
    packed: Tid | None  # greatest tid that a pack rewrote; ZERO_TID: none; None: unknown
    changed: bool  # False: there was nothing new, and nothing was written
    full: bool  # whether it is a full backup
    reason: str  # why it is a full one, and oddities, in words
    stored: int  # bytes of the data file
    reductions: int = 0  # new transactions whose tid is not greater than all before
    holes: tuple[Hole, ...] = ()  # spans of moments that are unknown because of those
    healed: tuple[str, ...] = ()  # sentences about repairs before the backup


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Pending:
    """A part that is written and not yet a backup.

    Exactly one of *publish* and *discard* is called, once.  Both do nothing if there was nothing
    new.
    """

    taken: Taken  # its description
    publish: Callable[[], None] = _nothing  # makes it a part of its chain
    discard: Callable[[], None] = _nothing  # removes its temporary files

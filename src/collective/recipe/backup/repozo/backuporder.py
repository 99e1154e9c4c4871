"""What a backup of a filestorage is told to do, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import DEFAULT_LEVEL, Hole
from collective.recipe.backup.times import Tid


@dataclass(frozen=True)
class Orders:
    """How to back up.

    *why_full*: why it is to be a full one in any case, "" if that need not be; *level*: of
    compression, None for no gzip; *strict*: compare all that was backed up with the
    filestorage before going on from there; *merged_later*: what is added is not compressed,
    since merging it will (see merge); *before_full*: called before a full one is written, to
    raise BackupError if it must not be.
    """

    why_full: str = ""
    level: int | None = DEFAULT_LEVEL
    strict: bool = False
    merged_later: bool = False
    before_full: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was backed up, as the newest part of *chain* now is.

    Not *changed*: there was nothing new, and nothing was written.  *tid* is the greatest up to
    its end, *packed* the greatest that a pack rewrote, ZERO_TID if there is none, None if
    nobody knows.  Of the transactions that were added, *reductions* are not later than one
    before, and *holes* is what they cannot tell because of that.  *reason* says why it is a
    full one and what is odd, *healed* what was mended before.  *stored* is the number of bytes
    that it takes.
    """

    stamp: str
    chain: str
    start: int
    end: int
    tid: Tid | None
    packed: Tid | None
    changed: bool
    full: bool
    reason: str
    stored: int
    reductions: int = 0
    holes: tuple[Hole, ...] = ()
    healed: tuple[str, ...] = ()


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Pending:
    """What was *taken*, before anybody takes it for a backup.

    *publish* makes it a part of its chain, *discard* leaves nothing of it; one of them is called,
    once.  Both do nothing if there was nothing new.
    """

    taken: Taken
    publish: Callable[[], None] = _nothing
    discard: Callable[[], None] = _nothing

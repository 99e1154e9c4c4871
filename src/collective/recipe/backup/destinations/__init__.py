"""Destinations: the places that keep the restore points of a source.

Every destination promises:

* A restore point exists only once it is whole, and what makes it exist is written last.
* ``backup`` that dies at any step leaves the earlier restore points as they were, and the
  next one mends what is left over.
* ``restore_points``, ``verify``, ``open`` and the State that it returns change nothing in the
  destination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Problem, RestorePoint, Source

if TYPE_CHECKING:
    from collective.recipe.backup.chronology import Clock
    from collective.recipe.backup.destinations.room import Need
    from collective.recipe.backup.errors import IntegrityError
    from collective.recipe.backup.restorepoints import Choice
    from collective.recipe.backup.states import State


class Depth(Enum):
    """The depth of an examination by ``verify``."""

    NAMES = "names"
    CHECKSUMS = "checksums"
    RECORDS = "records"


Reads = Callable[[str], bool]
"""Tells whether to read a file, by a name that the file keeps for its lifetime."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a backup of one source."""

    point: RestorePoint  # the newest restore point, which may be an earlier one
    changed: bool  # whether anything was stored
    summary: str  # the result, in a sentence for the log
    phases: Mapping[str, float]  # seconds of each phase, in order
    notes: tuple[str, ...] = ()  # sentences about what the run mended or found remarkable


class Destination(Protocol):
    """The restore points of one source."""

    source: Source
    home: Home
    """The place of the restore points: its directories, its lock, its local notes."""
    whole_only: bool
    """Whether moments between two restore points cannot be restored."""

    def opened(self) -> AbstractContextManager[None]:
        """Return the context in which a run works with the destination.

        Within it, the other methods may keep what they have read until something changes there.
        """

    def prepare(self) -> None:
        """Make the directories that the first backup needs; raise if that is impossible."""

    def check_owner(self) -> None:
        """Raise ConfigurationError if the backups are those of another site; write nothing."""

    def claim(self) -> None:
        """Mark the backups as those of the source; the caller holds the lock.

        Raises ConfigurationError if they are those of another site.
        """

    def sweep(self) -> Iterator[str]:
        """Finish the work of runs that died; yield, in sentences, what was done.

        Each operation that changes restore points calls this first; the caller holds the lock.
        """

    def backup(
        self,
        now: datetime,
        *,
        clock: Clock | None = None,
        why_full: str = "",
        accept_changed: bool = False,
    ) -> Outcome:
        """Make a restore point of the source's present state, if it changed since the last.

        Its name is the stamp of *now*, or the one that *clock* (None: *now* is believed) decides
        on; the moment by the clock is recorded as it is.  *why_full* is the reason to begin a new
        chain, "" if there is none.  A blob never changes: if a blob differs from its earlier
        backup, the earlier copy is taken over, unless *accept_changed* is set, which needs a new
        chain.  Raises BackupError of the fitting kind; a blob that the source lacks is no error but
        a problem of the restore point.
        """

    def room_for_full(self) -> Iterable[Need]:
        """Return the room that a full backup takes.  Raises OSError or BackupError."""

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return the restore points, oldest first, with the problems of each.

        Problems are those that a quick look shows, and those that verify and rehearse found
        earlier.
        """

    def open(self, choice: Choice) -> State:
        """Return the state of *choice*, to be read in a ``with`` block."""

    def remove(self, points: Iterable[RestorePoint], *, certain: bool = False) -> str:
        """Remove *points* and the data that only they need; return "", or why nothing was removed.

        A destination may refuse to remove more than a policy should at once, unless the user is
        *certain*.  Data on which another restore point builds stays, with the restore points in it.
        """

    def tidy(self, now: datetime) -> Iterator[str]:
        """Merge small pieces that were stored before the present hour, the one of *now*.

        Restore points that a later one replaces may be removed with them.  The caller asks once an
        hour, where something is stored every few seconds, holds the lock, and has swept.  Yields,
        in sentences, what was done; every moment can still be restored.  Raises IntegrityError if a
        piece is damaged.
        """

    def verify(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield problems; if there are none, all restore points can be restored.

        Each problem has the restore points that it concerns: those that need the damaged data.
        With *only*, nothing but the data of this restore point is examined.  *reads* is asked for
        each file whether its contents are to be read; None: all of them.
        """

    def problem_of(self, error: IntegrityError) -> Problem:
        """Return what *error*, which it has raised, means: which restore points it concerns."""

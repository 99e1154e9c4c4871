"""Destinations: where the restore points of a source are kept.

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
    """How much of a destination ``verify`` looks at."""

    NAMES = "names"
    CHECKSUMS = "checksums"
    RECORDS = "records"


Reads = Callable[[str], bool]
"""Tells whether a file is to be read, by a name that stays the same for its lifetime."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a backup of one source came to.

    *phases* holds what was done, in order, and the seconds it took; *notes* what the run
    mended or found worth a sentence.
    """

    point: RestorePoint
    changed: bool
    summary: str
    phases: Mapping[str, float]
    notes: tuple[str, ...] = ()


class Destination(Protocol):
    """The restore points of one source."""

    source: Source
    home: Home
    """Where they lie, what is remembered of them, and how writers are kept apart."""
    whole_only: bool
    """Whether no moment between two restore points can be restored."""

    def opened(self) -> AbstractContextManager[None]:
        """Return what is entered for as long as a run works with it.

        Within, the others may keep what they have read of it until something changes there.
        """

    def prepare(self) -> None:
        """Make what has to be there before the first backup; raise if it cannot be."""

    def check_owner(self) -> None:
        """Raise ConfigurationError if the backups are those of another site; write nothing."""

    def claim(self) -> None:
        """Mark the backups as those of the source; the caller holds the lock.

        Raises ConfigurationError if they are those of another site.
        """

    def sweep(self) -> Iterator[str]:
        """Finish what runs that died left half done; yield what was done, in sentences.

        Whatever changes the restore points does so first; the caller holds the lock.
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

        It is named after *now*, or as *clock* (None: nothing speaks against *now*) says; what
        the clock said is recorded as it is.
        *why_full* says why it is to begin a new chain, "" if it need not.
        A blob never changes: of one that differs from what was backed up once, the earlier
        copy is taken over, unless *accept_changed* is set for a new chain.
        Raises BackupError of the fitting kind; a blob that the source lacks is no error
        but a problem of the restore point.
        """

    def room_for_full(self) -> Iterable[Need]:
        """Return the room that a full backup takes.  Raises OSError or BackupError."""

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return what is there, oldest first, with what is wrong about each.

        That is what a quick look shows, and what verify and rehearse have found earlier.
        """

    def open(self, choice: Choice) -> State:
        """Return the state of *choice*, to be read in a ``with`` block."""

    def remove(self, points: Iterable[RestorePoint], *, certain: bool = False) -> str:
        """Remove *points* and what only they need; return "", or why nothing was removed.

        A destination may refuse what is more than a policy should take at once, unless the user
        is *certain*.
        What a restore point stands on that is not one of them stays, with all that this holds.
        """

    def tidy(self, now: datetime) -> Iterator[str]:
        """Put together what was stored in small pieces until the hour of *now* began.

        Restore points that another one serves as well may go with that.
        It is asked for once an hour where something is stored every few seconds.  Yields in
        sentences what was done; every moment can be restored as before.  Raises IntegrityError
        if a piece is damaged; the caller holds the lock, and has swept.
        """

    def verify(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield what is wrong; nothing means that all restore points are worth having.

        Each problem has the restore points that it concerns: those that need what is damaged.
        With *only* nothing but what this restore point needs is looked at.  *reads* is asked
        for each file whether its contents are to be read; None: all of them.
        """

    def problem_of(self, error: IntegrityError) -> Problem:
        """Return what *error*, which it has raised, means: which restore points it concerns."""

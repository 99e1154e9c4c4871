"""The flat store of immutable, named byte strings in which the objects of a repository lie.

Nothing here knows what the bytes mean.  Each room below this one is one kind of store, and
``tests/contracts/store.py`` is what all of them must do.  A difference between stores is a
value of ``Promises``, never a type to test for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass

Buffer = bytes | bytearray | memoryview

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,199}(?:/[a-z0-9][a-z0-9-]{0,199}){0,3}", re.ASCII)


class ObjectExists(Exception):
    """There is an object of that name already.  An answer; nothing was changed."""


class NoSuchObject(Exception):
    """There is no object of that name, or it is shorter than what was asked for.  An answer."""


class StoredObject(NamedTuple):
    """One object as a listing has it."""

    name: str  # name of the object
    size: int  # bytes
    stored: datetime  # when it came to be, by the clock of the store


Views = Mapping[str, Callable[[], Collection[str]]]
"""Restore points to show, oldest first: by title, a function that returns the names of their
objects.

The function is called only for a restore point that is not shown yet.
"""


class Weakness(NamedTuple):
    """Something that a store keeps worse than it was told to."""

    name: str  # of the object, or what else of the store it is
    what: str  # what it lacks
    is_lost: bool  # whether it cannot be read now
    is_mended: bool  # whether it lacks that no more


@dataclass(frozen=True, kw_only=True)
class Promises:
    """The differences between kinds of stores."""

    parallel: int  # puts or gets at the same time that are worth their threads; 1: one by one
    gap: int  # bytes that are cheaper to read than another get is: what lies nearer is read at once
    shows: bool = False  # whether it lets others see what belongs to a restore point
    cold: bool = False  # whether what is put as bulk has to be asked for before it can be read


CHECK = "check"
"""Below this name ``proving`` puts its objects, and removes them."""


class Store(Protocol):
    """A flat store of immutable, named byte strings.

    Every store promises:

    * ``put`` is atomic and durable: once it has returned, the object is whole and survives a
      power cut; until then there is no object of that name, or all of it.
    * An object never changes.  ``put`` of a name that exists raises ObjectExists and changes
      nothing.  Two puts of one name at the same moment should not both succeed, and nothing
      breaks where they do: but for ``format``, a name is made of the bytes.
    * ``get`` and ``list`` see every ``put`` that has returned, and no object that ``delete``
      has removed, as far as the store itself keeps its listings up to date.
    * Names are those of ``checked``; any other is a ValueError before anything is done.
    * StoreRefused says that this credential may not do that.  A store for one that may only
      add refuses each ``delete`` so, also of what is not there, where it can tell.
    * After StoreUnreachable a put or a delete may have been done or not.  Other BackupErrors
      (a full disk, a missing permission) say what to do.
    * All methods but ``close`` may be called by several threads at the same time.
    """

    location: str  # for messages: a path, or a URL without a secret
    promises: Promises

    def prepare(self) -> None:
        """Make the place where the first object is to lie, if it is missing."""

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:
        """Make the object *name* of *data*; return when, by the clock of the store.

        *bulk* says that little but restores reads it: a store may have a cheaper place for that.
        Raises ObjectExists.
        """

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return *size* bytes of the object from *start* on (None: all that follow).

        Raises NoSuchObject, also where it is shorter, and IntegrityError if it is there and
        its bytes cannot be read: a disk with bad sectors.  Raises ObjectArchived for one that was
        put as bulk, and that has to be asked for first.
        """

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names begin with *prefix*, sorted by name.

        Names that no object of ours can have are left out.
        """

    def delete(self, name: str) -> None:
        """Remove the object *name*, if it is there."""

    def sweep(self) -> None:
        """Remove what puts have left, other than objects, as far as it is sure.

        That is of those that died, and directories of CHECK.
        """

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:
        """Renew what lets all objects stay, and yield what is kept worse than it should be.

        With *mend* that is made good first, as far as the store can do it by itself.  Most
        stores keep one copy of an object, for ever, and yield nothing.
        """

    def show(self, views: Views, *, anew: bool = False) -> None:
        """Show *views*, and no earlier ones, to people who read the store with its own tools.

        With *anew* the views that are shown already are checked as well: objects may have gone.
        Stores that do not promise to show anything do nothing.
        """

    def clock(self) -> datetime:
        """Return the present moment by the clock that ``stored`` of an entry is read from."""

    def close(self) -> None:
        """Let go of connections and the like."""


def checked(name: str) -> str:
    """Return *name* if an object may have it.

    That is one to four parts with ``/`` between them, of lower-case letters, digits and
    hyphens, so that no store has to quote it and no file system can mistake it.  Raises
    ValueError.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of an object: {name!r}")
    return name


def nothing_above(location: str) -> ConfigurationError:
    """Return what to say where not even the directory above that of a new store is there."""
    return ConfigurationError(
        "the directory above that of the repository is not there",
        where=location,
        hint="is the disk mounted, and is the path right?  If so, make that directory: init makes "
        "only the last one",
    )


def is_name(name: str) -> bool:
    """Tell whether an object may have *name*."""
    return _NAME.fullmatch(name) is not None

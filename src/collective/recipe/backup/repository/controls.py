"""The objects under ``m/``: restore points, tickets, marks and trash, as one listing has them.

All are boxes (see ``boxes``).  The heads, and what belongs to them::

    ticket   purpose    what the run does
             site       tag of the site that it backs up, or ""
             lifetime   seconds from the moment at which the store says that it came to be
             nonce      16 random bytes, hex: no two tickets are equal
    mark     reason     "unneeded" or "damaged"
             made       when, in ISO 8601
             ..         the IDs of bundles, 32 bytes each
    trash    name       the name of the restore point that was removed
             ..         all bytes of its object

A *ticket* says that a run is under way, so that collect removes nothing that the run may rely on. A
ticket is over once it is removed, or when its lifetime has passed. A *mark* has one of two reasons:

``unneeded``
    Nothing needs these bundles.  They go in a later run of collect; until then no run relies
    on them.
``damaged``
    What lies there cannot be read.  No run relies on it, and what it holds is stored again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import UnreadableError
from collective.recipe.backup.repository.boxes import (
    Opened,
    Sealed,
    authentic,
    damaged,
    parsed,
    seal_box,
    told,
)
from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.chunks import ID_SIZE
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import (
    CONTROL,
    MARKS,
    POINTS,
    TICKETS,
    TRASH,
    id_in,
    id_of,
)
from collective.recipe.backup.repository.sealing import Sort
from collective.recipe.backup.stores import Store, StoredObject

UNNEEDED = "unneeded"
DAMAGED = "damaged"
MOST_MARKED = 4096
"""Bundles that one mark may have."""


@dataclass(frozen=True)
class Control:
    """One listing."""

    points: tuple[StoredObject, ...] = ()  # restore points
    trash: tuple[StoredObject, ...] = ()  # restore points that were removed, and can come back
    tickets: tuple[StoredObject, ...] = ()  # runs that are under way, or have died
    marks: tuple[StoredObject, ...] = ()  # marks on bundles
    strange: tuple[StoredObject, ...] = ()  # names that none of ours has


@dataclass(frozen=True)
class Ticket:
    """A run that is, or was, under way."""

    name: str  # of the object
    purpose: str  # what the run does
    site: str  # tag of the site; "": of none in particular
    begun: datetime  # by the clock of the store
    until: datetime  # by the clock of the store


@dataclass(frozen=True)
class Mark:
    """Bundles that are to go, or are damaged."""

    name: str  # of the object
    reason: str  # UNNEEDED or DAMAGED
    made: datetime  # by the clock of the store
    bundles: frozenset[bytes]  # their IDs, 32 bytes each


def look(store: Store) -> Control:
    """Return what there is, by one listing."""
    kinds = {POINTS: "points", TRASH: "trash", TICKETS: "tickets", MARKS: "marks"}
    found: dict[str, list[StoredObject]] = {}
    for entry in store.list(CONTROL):
        kind = kinds.get(entry.name[: len(POINTS)], "strange")
        if id_in(entry.name) is None:
            kind = "strange"
        found.setdefault(kind, []).append(entry)
    return Control(**{kind: tuple(entries) for kind, entries in found.items()})


def seal_ticket(keyring: Keyring, purpose: str, site: str, lifetime: timedelta) -> Sealed:
    """Return a new ticket."""
    head = {
        "purpose": purpose,
        "site": site,
        "lifetime": int(lifetime.total_seconds()),
        "nonce": os.urandom(16).hex(),
    }
    return seal_box(keyring, Sort.TICKET, head)


def seal_mark(keyring: Keyring, reason: str, bundles: Iterable[bytes], now: datetime) -> Sealed:
    """Return a new mark."""
    head = {"reason": reason, "made": now.isoformat()}
    return seal_box(keyring, Sort.MARK, head, b"".join(sorted(bundles)))


def seal_trash(keyring: Keyring, point: Sealed, place: str) -> Sealed:
    """Return the trash that keeps the restore point *point*; *place* is that in its name."""
    return seal_box(keyring, Sort.TRASH, {"name": point.name}, point.data, place)


class Controls:
    """Reads these objects, each no more than once as long as the cache is there.

    The cache has their contents in the clear, so that only a new object needs the keys, which
    *unlock* returns.
    """

    def __init__(self, store: Store, unlock: Callable[[], Keyring], cache: Cache) -> None:
        self._store = store
        self._unlock = unlock
        self._cache = cache

    def ticket(self, entry: StoredObject) -> Ticket:
        """Return a ticket.  Raises NoSuchObject if it is gone, and IntegrityError."""
        head = self.opened(Sort.TICKET, entry).head
        try:
            lifetime = timedelta(seconds=head.number("lifetime"))
            end = entry.stored + lifetime
            return Ticket(entry.name, head.text("purpose"), head.text("site"), entry.stored, end)
        except (UnreadableError, OverflowError) as error:
            raise self._damaged(entry, error) from error

    def mark(self, entry: StoredObject) -> Mark:
        """Return a mark.  Raises NoSuchObject if it is gone, and IntegrityError."""
        try:
            opened = self.opened(Sort.MARK, entry)
        except IntegrityError as error:
            hint = "a mark only says what may go: remove this object, and collect says it again"
            raise IntegrityError(error.what, where=error.where, hint=hint) from error
        data = opened.payload
        bundles = frozenset(data[at : at + ID_SIZE] for at in range(0, len(data), ID_SIZE))
        try:
            reason = opened.head.text("reason")
            if len(data) % ID_SIZE or reason not in {UNNEEDED, DAMAGED}:
                raise UnreadableError("no mark looks like this")
        except UnreadableError as error:
            raise self._damaged(entry, error) from error
        return Mark(entry.name, reason, entry.stored, bundles)

    def trashed(self, entry: StoredObject) -> Sealed:
        """Return the restore point in trash.  Raises NoSuchObject and IntegrityError."""
        opened = self.opened(Sort.TRASH, entry)
        try:
            name = opened.head.text("name")
        except UnreadableError as error:
            raise self._damaged(entry, error) from error
        return Sealed(name, opened.payload)

    def opened(self, sort: Sort, entry: StoredObject) -> Opened:
        """Return what an object holds.  Raises NoSuchObject if it is gone, and IntegrityError."""
        known = self._cache.kept_open(entry.name)
        contents = known or authentic(self._store, self._unlock(), sort, self.sealed(entry))
        with told(self._store, entry.name):
            opened = parsed(contents)
        if known is None:
            self._cache.keep_open(entry.name, contents)
        return opened

    def sealed(self, entry: StoredObject) -> Sealed:
        """Return an object as it is stored.  Raises NoSuchObject."""
        kept = self._cache.kept(entry.name)
        if kept is not None and id_of(kept) == id_in(entry.name):
            return Sealed(entry.name, kept)
        data = self._store.get(entry.name)
        self._cache.keep(entry.name, data)
        return Sealed(entry.name, data)

    def tidy(self, control: Control) -> None:
        """Remove from the cache what the listing *control* does not have any more."""
        every = (*control.points, *control.trash, *control.tickets, *control.marks)
        self._cache.keep_only(CONTROL, {entry.name for entry in every})

    def _damaged(self, entry: StoredObject, error: Exception) -> Exception:
        return damaged(str(error), f"{self._store.location}/{entry.name}")

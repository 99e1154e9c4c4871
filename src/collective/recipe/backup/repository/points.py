"""Restore points: the object that makes one exist, and its fields.

A restore point is a box.  Its head::

    site         the name of the site
    stamp        its name, as in the name of the object
    claimed      when it was made, by the clock of the host that made it, ISO 8601
    counter      1 for the first of a site, and one more than its predecessor's
    predecessor  ID of the restore point before it, or null
    ticket       ID of the ticket under which it was written
    until        end of that ticket, by the clock of the store, ISO 8601
    tid          the last transaction in it, 16 hex digits, or ""
    records      how many records it has, or null
    roots        ids of the chunks from which all that it holds is reached

The payload is opaque to this package.  Its bytes refer to the roots by their numbers.

A restore point does not list the bundles that it needs.  Chunks move to other bundles when
half-empty ones are written anew, so a list in an object that never changes would become wrong, and
for large repositories it would be larger than all else that a day adds.  The chunks that it needs
are found from the roots.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Table, UnreadableError
from collective.recipe.backup.repository.boxes import Opened, Sealed, opened_box, seal_box, told
from collective.recipe.backup.repository.chunks import ID_SIZE, ChunkId
from collective.recipe.backup.repository.controls import Control, Controls
from collective.recipe.backup.repository.format import hexadecimal
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import id_in, place_of
from collective.recipe.backup.repository.sealing import BrokenSealError, Sort
from collective.recipe.backup.stores import NoSuchObject, Store, StoredObject

MOST_PAYLOAD = 4 << 20
"""Bytes of its own that a restore point may have."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The fields of a new restore point that its maker knows."""

    stamp: str  # its name
    claimed: datetime  # when it was made, by the clock of this host
    roots: tuple[ChunkId, ...]  # from which all that it holds is reached
    payload: bytes = b""  # opaque here
    tid: str = ""  # its last transaction, 16 hex digits; "": it has none
    records: int | None = None  # how many it has; None: not known


@dataclass(frozen=True, kw_only=True)
class Point:
    """A restore point of the repository."""

    name: str  # of the object
    site: str  # name of the site
    stamp: str  # time at which it was made, as in the name of the object
    claimed: datetime  # by the clock of the host that made it
    stored: datetime  # by the clock of the store
    counter: int  # one more than its predecessor's
    predecessor: str | None  # ID of the one before it; None: it is the first of its site
    ticket: str  # ID of the ticket under which it was written
    until: datetime  # end of that ticket, by the clock of the store
    roots: tuple[ChunkId, ...]  # ids of the chunks from which all others are reached
    payload: bytes  # bytes that mean nothing to this package
    tid: str  # its last transaction, 16 hex digits; "": it has none
    records: int | None  # None: not known

    @property
    def id(self) -> str:
        """The ID in its name, 64 hex digits."""
        return id_in(self.name) or ""

    @property
    def moment(self) -> datetime:
        """Time at which it was made, no later than the store got it; retention goes by it."""
        return min(self.claimed, self.stored)

    @property
    def is_late(self) -> bool:
        """Whether it was put after its ticket was over, so that chunks of it may be gone."""
        return self.stored > self.until


def seal_point(keyring: Keyring, site: str, draft: Draft, chain: dict[str, Any]) -> Sealed:
    """Return the object of a restore point.

    *chain* has the fields that follow from other objects: counter, predecessor, ticket and until.
    """
    if not times.is_stamp(draft.stamp):
        raise ValueError(f"not a stamp: {draft.stamp!r}")
    if len(draft.payload) > MOST_PAYLOAD:
        raise ValueError(f"{len(draft.payload)} bytes are too many for a restore point")
    head = {
        "site": site,
        "stamp": draft.stamp,
        "claimed": draft.claimed.isoformat(),
        "tid": draft.tid,
        "records": draft.records,
        "roots": [root.hex() for root in draft.roots],
        **chain,
    }
    place = f"{draft.stamp}-{keyring.site_tag(site)}-"
    return seal_box(keyring, Sort.POINT, head, draft.payload, place)


def read_point(store: Store, keyring: Keyring, sealed: Sealed, stored: datetime) -> Point:
    """Return the restore point in an object that the store got at the moment *stored*.

    Raises IntegrityError for damage and for an object that was given another name.
    """
    opened = opened_box(store, keyring, Sort.POINT, sealed)
    with told(store, sealed.name):
        return _point(opened, StoredObject(sealed.name, len(sealed.data), stored), keyring.site_tag)


def _point(opened: Opened, entry: StoredObject, tag: Callable[[str], str]) -> Point:
    """Return the restore point that *entry* is; *tag* returns that of a site.

    Raises BrokenSealError.
    """
    try:
        point = _made_of(opened.head, opened.payload, entry)
    except UnreadableError as error:
        raise BrokenSealError(str(error)) from error
    if place_of(entry.name) != (point.stamp, tag(point.site)):
        raise BrokenSealError("it was given another name")
    return point


def _made_of(head: Table, payload: bytes, entry: StoredObject) -> Point:
    return Point(
        name=entry.name,
        site=head.text("site"),
        stamp=head.text("stamp"),
        claimed=head.moment("claimed"),
        stored=entry.stored,
        counter=head.number("counter"),
        predecessor=head.text_or_none("predecessor"),
        ticket=head.text("ticket"),
        until=head.moment("until"),
        roots=tuple(ChunkId(hexadecimal(root, ID_SIZE)) for root in head.texts("roots")),
        payload=payload,
        tid=head.text("tid"),
        records=head.number_or_none("records"),
    )


class Points:
    """Reads restore points, each no more than once as long as the cache is there."""

    def __init__(self, store: Store, controls: Controls, tag: Callable[[str], str]) -> None:
        self._store = store
        self._controls = controls
        self._tag = tag  # returns that of a site

    def point(self, entry: StoredObject) -> Point:
        """Return a restore point.  Raises NoSuchObject if it is gone, and IntegrityError."""
        opened = self._controls.opened(Sort.POINT, entry)
        with told(self._store, entry.name):
            return _point(opened, entry, self._tag)

    def counter(self, entry: StoredObject) -> int:
        """Return the number of a restore point in its site; 0 if it cannot be read."""
        with suppress(IntegrityError, NoSuchObject):
            return self.point(entry).counter
        return 0

    def of_site(self, control: Control, site: str) -> list[StoredObject]:
        """Return the restore points of *site* in the order in which the store got them."""
        tag = self._tag(site)
        mine = [entry for entry in control.points if place_of(entry.name)[1] == tag]
        return sorted(mine, key=lambda entry: (entry.stored, entry.name))

    def newest(self, control: Control, site: str) -> Point | None:
        """Return the last that the store got of *site* and that can be read; None: there is none.

        One that is damaged is passed over: verification is there to name it, and a backup must
        be able to go on.
        """
        for entry in reversed(self.of_site(control, site)):
            with suppress(IntegrityError, NoSuchObject):
                return self.point(entry)
        return None

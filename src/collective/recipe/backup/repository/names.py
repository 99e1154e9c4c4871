"""The names of objects.

::

    format                      what the repository is
    keys/ID                     the master key, sealed with a passphrase
    bundles/XX/ID               chunks; XX are the first two digits of ID
    catalogs/ID                 which chunks bundles have
    m/p-STAMP-SITE-ID           a restore point
    m/d-STAMP-SITE-ID           a restore point that was removed, as long as it can come back
    m/t-ID                      a ticket: a run is under way
    m/x-ID                      a mark: bundles that are to go, or are damaged

ID is the BLAKE3 of all bytes of the object, 64 hex digits, so that the owner of the store can find
damage without any key.  STAMP is a moment in UTC, ``YYYY-MM-DD-HH-MM-SS``, and SITE the tag of a
site, 16 hex digits; see ``keyring``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import blake3

from collective.recipe.backup.repository.sealing import Sort
from collective.recipe.backup.times import STAMP

FORMAT = "format"
KEYS = "keys/"
BUNDLES = "bundles/"
CATALOGS = "catalogs/"
CONTROL = "m/"
POINTS = "m/p-"
TRASH = "m/d-"
TICKETS = "m/t-"
MARKS = "m/x-"

_PREFIXES = {
    Sort.CATALOG: CATALOGS,
    Sort.POINT: POINTS,
    Sort.TRASH: TRASH,
    Sort.TICKET: TICKETS,
    Sort.MARK: MARKS,
}
_ID = "[0-9a-f]{64}"
_OF_POINT = re.compile(rf"m/[pd]-({STAMP})-([0-9a-f]{{16}})-{_ID}", re.ASCII)
_WITH_ID = re.compile(
    rf"(?:keys/|catalogs/|m/[tx]-|m/[pd]-{STAMP}-[0-9a-f]{{16}}-)({_ID})", re.ASCII
)
_OF_BUNDLE = re.compile(rf"bundles/([0-9a-f]{{2}})/((?=\1){_ID})", re.ASCII)


def id_of(data: bytes | bytearray | memoryview) -> str:
    """Return the ID of an object with these bytes."""
    return blake3.blake3(data).hexdigest()


def bundle_name(bundle: bytes) -> str:
    """Return the name of the bundle whose ID is the 32 bytes *bundle*."""
    return f"{BUNDLES}{bundle[:1].hex()}/{bundle.hex()}"


def bundles_in(names: Iterable[str]) -> set[bytes]:
    """Return the IDs of the bundles among the objects with these *names*."""
    matches = map(_OF_BUNDLE.fullmatch, names)
    return {bytes.fromhex(match[2]) for match in matches if match}


def control_name(sort: Sort, object_id: str, place: str = "") -> str:
    """Return the name of an object that is no bundle; *place* is STAMP-SITE- or nothing."""
    return f"{_PREFIXES[sort]}{place}{object_id}"


def place_of(name: str) -> tuple[str, str]:
    """Return stamp and tag of the site in the name of a restore point or of trash.

    Raises ValueError for any other name.
    """
    match = _OF_POINT.fullmatch(name)
    if not match:
        raise ValueError(f"not the name of a restore point: {name!r}")
    return match[1], match[2]


def id_in(name: str) -> str | None:
    """Return the ID that *name* ends in; None for a name that no object but ``format`` has."""
    match = _WITH_ID.fullmatch(name) or _OF_BUNDLE.fullmatch(name)
    return match[match.lastindex or 0] if match else None

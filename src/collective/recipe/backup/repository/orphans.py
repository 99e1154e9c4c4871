"""Bundles that no catalog mentions: of runs that died, or of a catalog that is damaged.

A bundle says itself what it holds, in its directory at its end.  So what a run had stored
before it died is used by the next one, and chunks are found without any catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collective.recipe.backup.errors import IntegrityError, ObjectArchived
from collective.recipe.backup.repository.bundles import (
    TRAILER_SIZE,
    BundleDirectory,
    Ends,
    directory_place,
    read_directory,
)
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import BUNDLES, id_in
from collective.recipe.backup.repository.sealing import (
    HEADER_SIZE,
    BrokenSealError,
    Role,
    Sort,
    salt_of,
)
from collective.recipe.backup.stores import NoSuchObject, Store, StoredObject

_TAIL = 1 << 16
"""Bytes at the end of a bundle that hold the directory of most."""


def listed_bundles(store: Store) -> Iterator[tuple[bytes, StoredObject]]:
    """Yield the bundles in the store: ID, 32 bytes, and entry."""
    for entry in store.list(BUNDLES):
        found = id_in(entry.name)
        if found is not None:
            yield bytes.fromhex(found), entry


def read_orphans(
    store: Store, keyring: Keyring, known: Iterable[bytes], bad: list[str]
) -> Iterator[BundleDirectory]:
    """Yield the directories of the bundles that are not *known*.

    The names of those whose directory cannot be read are added to *bad*.
    """
    known = set(known)
    for bundle, entry in listed_bundles(store):
        if bundle in known:
            continue
        try:
            yield directory_of(store, keyring, bundle, entry)
        except NoSuchObject:  # removed since
            continue
        except (BrokenSealError, IntegrityError, ObjectArchived):
            bad.append(entry.name)


def directory_of(
    store: Store, keyring: Keyring, bundle: bytes, entry: StoredObject
) -> BundleDirectory:
    """Return what a bundle says that it holds; it is read no further.

    Raises BrokenSealError for damage, and NoSuchObject.
    """
    if entry.size < HEADER_SIZE + TRAILER_SIZE:
        raise BrokenSealError("it is too short")
    salt = salt_of(store.get(entry.name, 0, HEADER_SIZE), Sort.BUNDLE)
    tail_size = min(entry.size - HEADER_SIZE, _TAIL)
    tail = store.get(entry.name, entry.size - tail_size, tail_size)
    place = directory_place(tail[-TRAILER_SIZE:], entry.size)
    missing = place.size + TRAILER_SIZE - tail_size
    if missing > 0:
        tail = store.get(entry.name, place.begin, missing) + tail
    end = len(tail) - TRAILER_SIZE
    return open_directory(keyring, bundle, salt, (tail[end - place.size : end], place))


def open_directory(
    keyring: Keyring, bundle: bytes, salt: bytes, sealed: tuple[bytes, Ends]
) -> BundleDirectory:
    """Return the directory that is *sealed*, given with its place.  Raises BrokenSealError."""
    data, place = sealed
    plain = keyring.seal(Sort.BUNDLE, salt).opened(Role.DIRECTORY, place.begin, data)
    try:
        pieces, _end = read_directory(plain)
    except ValueError as error:
        raise BrokenSealError(str(error)) from error
    if HEADER_SIZE + sum(piece.stored for piece in pieces) != place.begin:
        raise BrokenSealError("its directory does not fit the pieces before it")
    return BundleDirectory(bundle, salt, pieces)

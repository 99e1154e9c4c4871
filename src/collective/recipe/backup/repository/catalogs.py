"""Catalogs: which chunks bundles have, and where, so that no bundle has to be asked.

A catalog is a box.  Its head is empty but for its version, and what belongs to it is, for each
bundle, one after the other::

    0    32   ID of the bundle
    32   24   the salt of the bundle
    56   ..   the directory of the bundle (see ``bundles``)

A run writes one at its end, and one each time that it has stored much since the last. A bundle may
be in several catalogs, which agree.
"""

from __future__ import annotations

from collections.abc import Iterable

from collective.recipe.backup.repository.boxes import Opened, Sealed, seal_box
from collective.recipe.backup.repository.bundles import (
    BundleDirectory,
    directory_bytes,
    read_directory,
)
from collective.recipe.backup.repository.chunks import ID_SIZE
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.sealing import SALT_SIZE, BrokenSealError, Sort

MOST_PIECES = 1 << 16
"""Chunks with which a catalog is full: it gets no further bundle."""

MOST_BYTES = 512 << 20
"""Bytes of bundles with which a catalog is full.

A crash costs no more than these: they have to be stored again.
"""

_HEAD_SIZE = ID_SIZE + SALT_SIZE


def seal_catalog(keyring: Keyring, directories: Iterable[BundleDirectory]) -> Sealed:
    """Return the catalog of some bundles."""
    payload = b"".join(
        each.bundle + each.salt + directory_bytes(each.pieces) for each in directories
    )
    return seal_box(keyring, Sort.CATALOG, {}, payload)


def directories_of(opened: Opened) -> list[BundleDirectory]:
    """Return what a catalog says of each bundle in it.  Raises BrokenSealError."""
    found = []
    payload, begin = memoryview(opened.payload), 0
    while begin < len(payload):
        head = bytes(payload[begin : begin + _HEAD_SIZE])
        if len(head) < _HEAD_SIZE:
            raise BrokenSealError("a catalog ends in the middle of a bundle")
        try:
            pieces, begin = read_directory(payload, begin + _HEAD_SIZE)
        except ValueError as error:
            raise BrokenSealError(str(error)) from error
        found.append(BundleDirectory(head[:ID_SIZE], head[ID_SIZE:], pieces))
    return found

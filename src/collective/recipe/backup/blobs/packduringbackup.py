"""A pack during a backup: the place of the blobs that it took away.

A pack moves the blobs that it no longer needs to a directory beside the blobstorage, if the site
keeps them at all.  A record that was read before names them still, so a backup looks for a blob
there as well; a blob in neither place is counted as gone, and is no error.

The log needs no such search: a pack writes another file, and a backup goes on reading the one that
it opened; see ``filestorage.transactionlog``.
"""

from __future__ import annotations

from pathlib import Path

PACKED_AWAY = ".old"
"""Suffix of a blobstorage, in ZODB, for the blobs that a pack took out of it."""


def packed_away(source: Path) -> Path:
    """Return where a pack puts blobs of the blobstorage *source*; it may do so at any time."""
    return source.with_name(source.name + PACKED_AWAY)

"""A pack during a backup: where the blobs are then that it took away.

A pack moves the blobs that it no longer needs to a directory beside the blobstorage, if the site
keeps them at all.  A record that was read before names them still, so a backup looks for a blob
there as well; what is in neither place is counted as gone, and is no error.

For the log nothing needs to be looked for: a pack writes another file, and a backup reads on in the
one that it opened; see ``filestorage.transactionlog``.
"""

from __future__ import annotations

from pathlib import Path

PACKED_AWAY = ".old"
"""What ZODB adds to the name of a blobstorage for the blobs that a pack took out of it."""


def packed_away(source: Path) -> Path:
    """Return where a pack puts blobs of the blobstorage *source*; it may do so at any time."""
    return source.with_name(source.name + PACKED_AWAY)

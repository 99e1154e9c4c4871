"""The refusal of a blobstorage that has no blob of the newest restore point, with only_blobs.

No log says there which blobs belong to the site.  An empty mount point, or the few blobs that a
site has written to one since, would make a restore point like any other, and retention would
remove the ones with all blobs.
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError


def strange_blobs(blobstorage: Path | None) -> ConfigurationError:
    """Return the error for *blobstorage*."""
    return ConfigurationError(
        "no blob of the last restore point is here any more",
        where=blobstorage or "",
        hint="is its disk mounted?  Another site needs a site_name and a location of its own; if "
        "the site really has other blobs now, run the backup with --accept-changed-blobs once",
    )

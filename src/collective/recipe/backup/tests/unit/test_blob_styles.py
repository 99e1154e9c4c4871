"""Each style of keeping blobs keeps the contract of destinations, and its own promises."""

from __future__ import annotations

import pytest

from collective.recipe.backup.tests.contracts.destination import DestinationContract
from collective.recipe.backup.tests.runs import Operated

STYLES = {
    "each": {"blob_snapshots": "each"},
    "numbered": {"blob_timestamps": False},
    "linked-first": {"rsync_hard_links_on_first_copy": True},
    "archives": {"archive_blob": True},
    "compressed": {"archive_blob": True, "compress_blob": True},
    "incremental": {"archive_blob": True, "incremental_blobs": True},
    "incremental-compressed": {
        "archive_blob": True,
        "incremental_blobs": True,
        "compress_blob": True,
    },
    "numbered-archives": {"archive_blob": True, "blob_timestamps": False},
    "rsync": {"use_rsync": True},
    "rsync-numbered": {
        "use_rsync": True,
        "blob_timestamps": False,
        "rsync_hard_links_on_first_copy": True,
    },
}

each_style = pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            options, id=name, marks=[pytest.mark.needs("rsync")] if "rsync" in name[:5] else []
        )
        for name, options in STYLES.items()
    ],
)


@each_style
class TestStyles(DestinationContract):
    """A directory, in every style."""

    @pytest.fixture
    def operated(self, site, options) -> Operated:
        return Operated(site, **options)

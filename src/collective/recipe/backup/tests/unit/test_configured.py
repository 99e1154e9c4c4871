"""What options mean for a destination: how much it keeps, in which style, under whose name."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collective.recipe.backup.config import SNAPSHOT, STANDARD, ZIP
from collective.recipe.backup.destinations.blobstyles import Workshop
from collective.recipe.backup.destinations.blobstyles.archived import (
    FullArchives,
    IncrementalArchives,
    NumberedArchives,
)
from collective.recipe.backup.destinations.blobstyles.trees import EachBackup, EachChain, Numbered
from collective.recipe.backup.destinations.configured import policy_for, style_for
from collective.recipe.backup.files import Files
from collective.recipe.backup.options import Options
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.retention import Policy
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

ARCHIVES = {"archive_blob": True}
DELTAS = {**ARCHIVES, "incremental_blobs": True}


@pytest.mark.parametrize(
    ("options", "kind", "policy"),
    [
        ({"keep": 3}, STANDARD, Policy(keep=3)),
        ({"keep": 3}, SNAPSHOT, Policy(keep=3)),
        ({"keep": 3}, ZIP, Policy(keep=1)),
        ({"keep": 0}, STANDARD, Policy(keep=0)),
        # days count only where there is no filestorage backup beside the blobs ...
        ({"keep_blob_days": 5}, STANDARD, Policy(keep=2)),
        ({"only_blobs": True}, STANDARD, Policy(keep=None, within=timedelta(days=14))),
        (
            {"only_blobs": True, "keep_blob_days": 5},
            STANDARD,
            Policy(keep=None, within=timedelta(days=5)),
        ),
        # ... and neither for full backups, nor archives, nor if they are 0
        ({"only_blobs": True, "full": True}, STANDARD, Policy(keep=2)),
        ({"only_blobs": True}, SNAPSHOT, Policy(keep=2)),
        ({"only_blobs": True, **ARCHIVES}, STANDARD, Policy(keep=2)),
        ({"only_blobs": True, "keep_blob_days": 0}, STANDARD, Policy(keep=2)),
    ],
)
def test_how_much_is_kept(options, kind, policy):
    assert policy_for(Options(**options), kind) == policy


@pytest.mark.parametrize(
    ("options", "kind", "style"),
    [
        ({}, STANDARD, EachChain),
        ({}, SNAPSHOT, EachChain),
        ({}, ZIP, NumberedArchives),
        ({"blob_snapshots": "each"}, STANDARD, EachBackup),
        ({"use_rsync": True}, STANDARD, EachBackup),
        ({"blob_timestamps": False}, STANDARD, Numbered),
        ({"blob_timestamps": False, "use_rsync": True}, STANDARD, Numbered),
        (ARCHIVES, STANDARD, FullArchives),
        ({**ARCHIVES, "blob_timestamps": False}, STANDARD, NumberedArchives),
        (DELTAS, STANDARD, IncrementalArchives),
        (DELTAS, SNAPSHOT, FullArchives),
        (DELTAS, ZIP, NumberedArchives),
    ],
)
def test_the_style_of_blobs(options, kind, style, tmp_path):
    shop = Workshop(
        source=tmp_path / "blobs", directory=tmp_path / "kept", files=Files(), progress=Silent()
    )
    assert type(style_for(Options(**options), kind)(shop)) is style


def test_without_gzip_the_files_are_those_of_repozo_without_gzip(site: Site) -> None:
    operated = Operated(site, gzip=False)
    operated.backup()
    site.commit({"page": 1})
    operated.backup()
    endings = {path.suffix for path in operated.place().filestorage.glob("[0-9]*")}
    assert endings >= {".fs", ".deltafs"}
    assert not endings & {".fsz", ".deltafsz"}

"""What options mean for a destination: how much it keeps, in which style, under whose name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.blobs import holdings
from collective.recipe.backup.config import ALTERNATIVE, SNAPSHOT, STANDARD, ZIP
from collective.recipe.backup.destinations.configured import DIRECTORY, configured, policy_for
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace
from collective.recipe.backup.destinations.directory.blobstyles.archivestyles import (
    FullArchives,
    IncrementalArchives,
    NumberedArchives,
)
from collective.recipe.backup.destinations.directory.blobstyles.treestyles import (
    EachBackup,
    EachChain,
    Numbered,
)
from collective.recipe.backup.destinations.making import style_for
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.options import Options
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.retention import Policy
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

ARCHIVES = {"archive_blob": True}
DELTAS = {**ARCHIVES, "incremental_blobs": True}
NOON_AND_AN_HOUR = NOON + timedelta(hours=1)
"""When the first backup was made."""


@pytest.mark.parametrize(
    ("options", "purpose", "policy"),
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
def test_the_retention_of_each_purpose_follows_from_the_options(options, purpose, policy):
    assert policy_for(Options(**options), purpose) == policy


@pytest.mark.parametrize("purpose", [STANDARD, SNAPSHOT])
def test_each_destination_has_a_name_a_place_and_a_policy_of_its_own(site: Site, purpose: str):
    operated = Operated(site, keep=7)
    [one] = configured(operated.config, purpose)
    assert (one.name, one.kind, one.purpose) == ("directory", DIRECTORY, purpose)
    assert one.policy == Policy(keep=7)
    [home] = one.homes
    assert home.directories == list(operated.config.destinations[purpose][0].directories)
    assert operated.run("backup", destination=purpose).configured == one


@pytest.mark.parametrize(
    ("options", "purpose", "style"),
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
def test_the_style_of_blobs(options, purpose, style, tmp_path):
    shop = BlobPlace(
        source=tmp_path / "blobs", directory=tmp_path / "kept", files=Files(), progress=Silent()
    )
    assert type(style_for(Options(**options), purpose)(shop)) is style


def test_without_gzip_the_files_are_those_of_repozo_without_gzip(site: Site) -> None:
    operated = Operated(site, gzip=False)
    operated.backup()
    site.commit({"page": 1})
    operated.backup()
    endings = {path.suffix for path in operated.place().filestorage.glob("[0-9]*")}
    assert endings >= {".fs", ".deltafs"}
    assert not endings & {".fsz", ".deltafsz"}


# the backups of another site, which calls its blobstorage otherwise

STYLES = {
    "chain": {},
    "numbered": {"blob_timestamps": False},
    "archives": {**ARCHIVES, "compress_blob": True},
    "numbered-archives": {**ARCHIVES, "blob_timestamps": False},
    "deltas": DELTAS,
}


def other_site(directory: Path, name: str, **options) -> Operated:
    """Return a site with two backups, whose blobstorage is called *name*."""
    site = Site(directory)
    site.blobstorage = site.blobstorage.with_name(name)
    site.commit({"page": "first"}, {"file": b"first"})
    operated = Operated(site, **options)
    operated.backup()
    site.commit({"page": "other"}, {"file": b"other"})
    operated.backup()
    return operated


def from_other(site: Site, other: Operated, **options) -> Operated:
    """Return *site*, which restores from the backups of another."""
    operated = Operated(site, **options)
    places = {**operated.config.destinations, ALTERNATIVE: (other.place(),)}
    operated.config = replace(operated.config, destinations=places)
    return operated


@pytest.mark.parametrize("options", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("name", ["blobs.v1", "blobstorage"])
def test_blobs_of_another_site_are_found_by_their_name_there(site, tmp_path, name, options):
    other = other_site(tmp_path / "other", name, **options)
    before = sorted(path for path in (tmp_path / "other" / "var").rglob("*"))
    operated = from_other(site, other)
    assert restore(operated.run("restore", destination=ALTERNATIVE), RestoreOrder())
    assert site.contents() == other.site.contents()
    assert restore(
        operated.run("restore", destination=ALTERNATIVE), RestoreOrder(when=NOON_AND_AN_HOUR)
    )
    assert site.contents()["values"] == {"page": "first"}
    assert sorted(path for path in (tmp_path / "other" / "var").rglob("*")) == before


def test_of_several_storages_that_of_our_name_is_taken(site, tmp_path):
    other = other_site(tmp_path / "other", "blobstorage")
    stranger = other_site(tmp_path / "stranger", "another")
    for path in stranger.place().blobstorage.glob("another.*"):
        path.rename(other.place().blobstorage / path.name)
    operated = from_other(site, other)
    assert restore(operated.run("restore", destination=ALTERNATIVE), RestoreOrder())
    contents = site.contents()
    assert contents == other.site.contents()
    for path in other.place().blobstorage.glob("blobstorage.*"):
        (path / "blobstorage").rename(path / "third")
        path.rename(path.with_name(path.name.replace("blobstorage", "third")))
    with pytest.raises(BackupError, match="several blobstorages here.*: another, third"):
        restore(operated.run("restore", destination=ALTERNATIVE), RestoreOrder())
    assert site.contents() == contents


def test_what_only_looks_like_the_blobs_of_a_storage_counts_for_none(tmp_path):
    directory = tmp_path / "backups"
    assert holdings.storages(directory) == set()
    for name in ("notes.2026-03-01-12-00-00", "logs.7", "README", ".x.0.tar.1a.partial"):
        (directory / name).mkdir(parents=True)
    (directory / "a.b.0").mkdir()
    (directory / "a.b.0" / "a.b").mkdir()
    assert holdings.storages(directory) == {"a.b"}

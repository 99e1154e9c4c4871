"""Single blobs of a tree that is stored: what is not of it, and what is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from collective.recipe.backup.blobs import sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.layout import Kind, Layout, blob_of
from collective.recipe.backup.blobs.storedtree import TreeBlobs
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import blob_id, put, tid
from collective.recipe.backup.times import LAST_TID, Tid

STAMP = "2026-03-01-12-00-00"


@pytest.fixture
def live(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        put(tmp_path / "live", blob_id(number, number))
    return tmp_path / "live"


def stored(live: Path, directory: Path) -> BlobSet:
    """Back *live* up."""
    directory.mkdir()
    blob_set, _copied = sets.begin(
        live, directory, STAMP, until=LAST_TID, previous=None, files=Files(), progress=Silent()
    )
    return blob_set


def tree(blob_set: BlobSet, until: Tid = LAST_TID) -> TreeBlobs:
    return TreeBlobs(blob_set, until=lambda: until)


def read(blobs: TreeBlobs, blob: BlobId) -> bytes:
    with blobs.open(blob) as file:
        return file.read()


def test_a_blob_that_never_was_in_it_or_is_later_is_a_key_error(live: Path, tmp_path: Path) -> None:
    blob_set = stored(live, tmp_path / "backups")
    for blob, until in ((blob_id(9, 1), LAST_TID), (blob_id(3, 3), tid(2))):
        with pytest.raises(KeyError):
            tree(blob_set, until).open(blob)


def test_a_blob_that_is_named_and_gone_is_missing_and_no_stranger(
    live: Path, tmp_path: Path
) -> None:
    blob_set = stored(live, tmp_path / "backups")
    path = blob_set.root / Layout.BUSHY.path(blob_id(2, 2))
    path.unlink()
    with pytest.raises(IntegrityError, match="missing") as caught:
        tree(blob_set).open(blob_id(2, 2))
    assert caught.value.where == str(path)
    with pytest.raises(KeyError):  # it is not of that moment
        tree(blob_set, tid(1)).open(blob_id(2, 2))


@pytest.mark.parametrize("layout", Layout)
def test_a_blob_that_lies_in_the_other_layout_is_opened_as_it_is_listed(
    live: Path, tmp_path: Path, layout: Layout
) -> None:
    stray = put(live, blob_id(7, 1), layout=Layout.LAWN)
    (live / ".layout").write_text(layout.value)
    blobs = tree(stored(live, tmp_path / "backups"))
    found = [blob_of(file.path) for file in blobs.listed() if file.kind is Kind.BLOB]
    assert blob_id(7, 1) in found
    for blob in found:
        assert blob is not None
        assert read(blobs, blob) == str(blob).encode("ascii")
    assert stray.exists()


@pytest.mark.parametrize("thing", ["directory", "link"])
def test_what_stands_in_the_place_of_a_blob_is_told(live: Path, tmp_path: Path, thing: str) -> None:
    blob_set = stored(live, tmp_path / "backups")
    path = blob_set.root / Layout.BUSHY.path(blob_id(2, 2))
    path.unlink()
    path.mkdir() if thing == "directory" else path.symlink_to("elsewhere")
    with pytest.raises(IntegrityError) as caught:
        tree(blob_set).open(blob_id(2, 2))
    assert caught.value.where == str(path)

"""A disk without links, modes, owners, times or syncs of directories: FAT, SMB, FUSE.

What is only a convenience there ends no backup and no restore.
"""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.operations.backup import tidy_now
from collective.recipe.backup.tests.faults.harness import SYNC_OF_A_DIRECTORY, Refusing
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

STYLES = {
    "chain": {},
    "each": {"blob_snapshots": "each"},
    "numbered": {"blob_timestamps": False},
    "archives": {"archive_blob": True},
    "incremental": {"archive_blob": True, "incremental_blobs": True, "gzip": False},
}
CONVENIENCES = ["symlink", "chmod", "chown", "utime", "link", "clone", SYNC_OF_A_DIRECTORY]

each_number = pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])


def lived(operated: Operated, files: Refusing) -> None:
    """Live through three backups, a merge, a full one that removes what was there, restores."""
    site = operated.site
    for number in range(3):
        at = NOON + timedelta(minutes=60 * number + 30)
        site.commit({"a": number}, {"same": b"blob", f"b{number}": b"blob %d" % number}, at=at)
        operated.backup(files=files)
    operated.now += timedelta(hours=1)
    tidy_now(operated.run("backup", files=files))
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    operated.backup(files=files, full=True)
    contents = site.contents()
    assert [point.full for point in operated.points()] == [True]
    site.commit({"a": "other"}, {"same": b"other"})
    operated.restore(files=files)
    assert site.contents() == contents
    site.lose()
    operated.restore(files=files)
    assert site.contents() == contents


@pytest.mark.parametrize("style", STYLES)
@each_number
def test_a_disk_that_has_no_convenience_at_all_is_backed_up_to(
    site: Site, style: str, number: int
) -> None:
    files = Refusing(CONVENIENCES, number)
    lived(Operated(site, keep=1, **STYLES[style]), files)
    assert {operation for operation, _path in files.struck} >= {"utime", SYNC_OF_A_DIRECTORY}


@pytest.mark.parametrize("refused", CONVENIENCES)
@each_number
def test_one_convenience_that_is_refused_ends_nothing(
    site: Site, refused: str, number: int
) -> None:
    lived(Operated(site, keep=1), Refusing([refused], number))


@pytest.mark.parametrize("refused", ["symlink", "utime", "link", SYNC_OF_A_DIRECTORY])
def test_a_disk_that_breaks_is_not_taken_for_one_that_refuses(site: Site, refused: str) -> None:
    with pytest.raises(BackupError, match="Input/output error") as caught:
        lived(Operated(site, keep=1), Refusing([refused], errno.EIO))
    assert Path(caught.value.where).is_absolute()


def test_no_number_of_a_descriptor_is_told_as_a_place(tmp_path: Path) -> None:
    """The kernel's error for utime of a descriptor names that."""
    (tmp_path / "source").write_bytes(b"data")
    files = Refusing(["utime"], errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as caught:
        files.copy(tmp_path / "source", tmp_path / "target")
    assert caught.value.filename == str(tmp_path / "target")
    assert str(caught.value).endswith(f"error: '{tmp_path / 'target'}'")


def test_a_link_that_leads_to_the_newest_backup_is_made_where_it_can_be(tmp_path: Path) -> None:
    assert Files().point(tmp_path / "latest", "text")
    assert os.readlink(tmp_path / "latest") == "text"
    refusing = Refusing(["symlink"], errno.EPERM)
    assert not refusing.point(tmp_path / "other", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]

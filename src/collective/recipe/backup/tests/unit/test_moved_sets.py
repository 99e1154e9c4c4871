"""Sets of blobs that an administrator has moved to another disk: linked, or mounted."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.namespaces import bind, mounted, tmpfs
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

STYLES = {
    "a directory for each chain": {},
    "a directory for each backup": {"blob_snapshots": "each"},
    "numbered ones": {"blob_timestamps": False},
}


@pytest.fixture(params=STYLES.values(), ids=STYLES)
def operated(request, site: Site) -> Operated:
    """A site with two chains."""
    operated = Operated(site, keep=0, **request.param)
    for number in range(2):
        site.commit({"a": number}, {f"b{number}": b"blob"}, at=NOON + timedelta(hours=2 * number))
        operated.backup(full=True)
    return operated


def sets_of(operated: Operated) -> list[Path]:
    """Return the directories of blobs, the oldest first."""
    points = {point.blobs for point in operated.points()}
    found = [path for path in operated.place().blobstorage.glob("blobstorage.*")]
    assert len(points) == len(found) == 2
    oldest_first = sorted(found)
    return oldest_first[::-1] if oldest_first[0].name == "blobstorage.0" else oldest_first


def move(path: Path, disk: Path) -> Path:
    """Move a directory to another disk, and let a link lead there."""
    disk.mkdir(exist_ok=True)
    target = Path(shutil.move(path, disk / path.name))
    path.symlink_to(target)
    return target


@mounted
@pytest.mark.parametrize("inner", ["", "blobstorage"])
@pytest.mark.parametrize("which", [0, 1], ids=["older", "newest"])
def test_a_set_on_another_disk_is_restored_and_goes_on(
    operated: Operated, tmp_path: Path, inner: str, which: int
) -> None:
    (tmp_path / "disk").mkdir()
    tmpfs(tmp_path / "disk")
    contents = operated.site.contents()
    moved = sets_of(operated)[which] / inner
    move(moved, tmp_path / "disk")

    assert [point.problems for point in operated.points()] == [(), ()]
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    operated.site.lose()
    operated.restore(operated.points()[which].moment)
    assert operated.site.contents()["values"] == {"a": which}
    operated.restore()
    assert operated.site.contents() == contents

    operated.site.commit({"a": 3}, {"new": b"new"}, at=operated.now)
    contents = operated.site.contents()
    operated.backup()
    operated.backup(full=True)
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    operated.site.lose()
    operated.restore()
    assert operated.site.contents() == contents
    assert not [name for name in content(tmp_path / "disk") if name.endswith(".partial")]


def test_of_a_set_elsewhere_only_the_link_is_removed(
    operated: Operated, tmp_path: Path, caplog
) -> None:
    oldest, _newest = sets_of(operated)
    target = move(oldest, tmp_path / "disk")
    kept = content(target)
    pruning = Operated(operated.site, keep=1, blob_timestamps=oldest.name != "blobstorage.1")
    pruning.now = operated.now

    prune(pruning.run("prune"))

    assert not oldest.is_symlink()
    assert content(target) == kept
    assert f"remove {target / 'blobstorage'} by hand" in caplog.text


@mounted
@pytest.mark.parametrize("below", ["", "blobstorage/0x00"])
def test_no_disk_is_emptied_that_is_mounted_in_what_is_not_needed(
    operated: Operated, tmp_path: Path, caplog, below: str
) -> None:
    oldest, _newest = sets_of(operated)
    shutil.copytree(oldest / below, tmp_path / "disk", copy_function=shutil.copy2)
    bind(tmp_path / "disk", oldest / below)
    kept = content(tmp_path / "disk")
    pruning = Operated(operated.site, keep=1, blob_timestamps=oldest.name != "blobstorage.1")
    pruning.now = operated.now

    prune(pruning.run("prune"))

    assert content(tmp_path / "disk") == kept
    assert f"a disk is mounted at {oldest / below}: unmount that disk" in caplog.text


@mounted
def test_a_disk_in_a_numbered_set_does_not_change_its_number(site: Site, tmp_path: Path) -> None:
    operated = Operated(site, keep=0, blob_timestamps=False)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    operated.backup()
    newest = operated.place().blobstorage / "blobstorage.0"
    shutil.copytree(newest, tmp_path / "disk", copy_function=shutil.copy2)
    bind(tmp_path / "disk", newest)
    site.commit({"a": 2}, {"c": b"blob"}, at=operated.now)

    with pytest.raises(BackupError, match="mounted in a numbered blob backup") as caught:
        operated.backup(files=Files())

    assert caught.value.where == str(newest)
    assert content(newest) == content(tmp_path / "disk")

"""Only what differs is staged, and what is live becomes what all of it would have been."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from collective.recipe.backup import process
from collective.recipe.backup.blobs import sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.storedtree import TreeBlobs
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.restoring import stagedblobs as restoring
from collective.recipe.backup.restoring import swap, undoing
from collective.recipe.backup.restoring.moves import Move, staged_path
from collective.recipe.backup.restoring.stagedblobs import BlobStaging
from collective.recipe.backup.restoring.transplant import read_changes
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, content, put, tid, tree
from collective.recipe.backup.tests.namespaces import bind, mounted
from collective.recipe.backup.times import LAST_TID, Tid

STAMP = "2026-03-01-12-00-00"
COUNT = 20


class Place:
    """A blobstorage and a set of it, in one directory."""

    listed = False
    """Whether those who restore know how many bytes the checksums have to name."""
    size: int | None = None

    def __init__(self, root: Path, layout: Layout = Layout.BUSHY) -> None:
        self.layout = layout
        self.live = root / "blobstorage"
        self.staged = staged_path(self.live)
        self.backups = root / "backups"
        self.backups.mkdir()
        for number in range(COUNT):
            put(self.live, blob_id(number * 300, number + 1), layout=layout)

    def back_up(self) -> BlobSet:
        blob_set, copied = sets.begin(
            self.live,
            self.backups,
            STAMP,
            until=LAST_TID,
            previous=None,
            files=Files(),
            progress=Silent(),
        )
        self.size = copied.whole
        return blob_set

    def blob(self, number: int = 1) -> Path:
        return self.live / self.layout.path(blob_id(number * 300, number + 1))

    def staging(self, blob_set: BlobSet, until: Tid) -> BlobStaging:
        size = self.size if self.listed and until == LAST_TID else None
        return BlobStaging(
            blobs=TreeBlobs(blob_set, until=lambda: until, size=size),
            target=self.staged,
            live=self.live,
            files=Files(),
            progress=Silent(),
        )

    def stage(self, blob_set: BlobSet, *, until: Tid = LAST_TID) -> Copied | None:
        staged = self.staging(blob_set, until).stage()
        if staged.difference:
            return staged.copied
        shutil.rmtree(self.staged)
        return None

    def restore(self, blob_set: BlobSet, *, until: Tid = LAST_TID) -> Copied:
        copied = self.stage(blob_set, until=until)
        assert copied is not None
        journal = self.live.with_name("Data.fs.restore.json")
        swap.swap(journal, [Move(live=self.live, difference=True)], Files())
        return copied

    def undo(self) -> None:
        undoing.undo(self.live.with_name("Data.fs.restore.json"), Files())


def states(root: Path) -> dict[str, object]:
    """Return all that one can know of what is below *root*, but for empty directories."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() else None,
            path.read_bytes() if path.is_file() else None,
        )
        for path in root.rglob("*")
        if not path.is_dir() or any(each.is_file() for each in path.rglob("*"))
    }


def rewrite(path: Path, data: bytes, *, touch: bool = False) -> None:
    keep = path.stat()
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(keep.st_mode)
    if not touch:
        os.utime(path, ns=(keep.st_atime_ns, keep.st_mtime_ns))


@pytest.fixture(params=["by a walk", "by the list", "by two processes"])
def listed(request, monkeypatch) -> bool:
    """Compare in each of the ways that there are."""
    if request.param == "by two processes":
        monkeypatch.setattr(restoring, "LONG", 0)
        monkeypatch.setattr(process, "can_compute", lambda: True)
    return bool(request.param != "by a walk")


@pytest.fixture(params=list(Layout))
def place(request, tmp_path: Path, listed: bool) -> Place:
    place = Place(tmp_path, request.param)
    place.listed = listed
    return place


@pytest.fixture
def bushy(tmp_path: Path, listed: bool) -> Place:
    place = Place(tmp_path)
    place.listed = listed
    return place


def test_over_an_intact_copy_nothing_is_staged_and_nothing_changes(place: Place) -> None:
    blob_set = place.back_up()
    before = {path: path.stat() for path in place.live.rglob("*")}

    copied = place.restore(blob_set)

    assert (copied.files, copied.linked) == (0, COUNT + 1)
    assert {path: path.stat() for path in place.live.rglob("*")} == before


def test_missing_later_and_different_files(place: Place) -> None:
    blob_set = place.back_up()
    good = states(place.live)
    shutil.rmtree(place.blob(3).parent)
    rewrite(place.blob(4), b"longer than it should be")
    later = put(place.live, blob_id(999_999, 999), layout=place.layout)
    (place.live / "foreign").write_text("of somebody")
    before = states(place.live)

    copied = place.restore(blob_set)

    assert (copied.files, copied.linked) == (2, COUNT - 1)
    assert states(place.live) == good
    assert not later.parent.exists()
    assert place.blob(3).stat().st_nlink == 1

    place.undo()

    assert states(place.live) == before

    place.undo()

    assert states(place.live) == good


def test_only_what_differs_is_staged(bushy: Place) -> None:
    blob_set = bushy.back_up()
    gone = bushy.blob(3)
    gone.unlink()
    later = put(bushy.live, blob_id(7, 99))

    assert bushy.stage(blob_set)

    names = [str(gone.relative_to(bushy.live)), str(later.relative_to(bushy.live))]
    assert list(content(bushy.staged / "files")) == names[:1]
    assert {change.path for change in read_changes(bushy.staged)} == set(names)


def test_blobs_later_than_the_moment_leave(bushy: Place) -> None:
    blob_set = bushy.back_up()
    before = states(bushy.live)

    bushy.restore(blob_set, until=tid(COUNT - 2))

    assert {int(path.stem, 16) for path in bushy.live.rglob("*.blob")} == set(range(1, COUNT - 1))
    bushy.undo()
    assert states(bushy.live) == before


def test_another_time_and_the_same_bytes_is_the_same(bushy: Place) -> None:
    blob_set = bushy.back_up()
    os.utime(bushy.blob())

    copied = bushy.restore(blob_set)

    assert (copied.files, copied.linked) == (0, COUNT + 1)


def test_another_time_and_other_bytes_is_restored(bushy: Place) -> None:
    blob_set = bushy.back_up()
    good = tree(bushy.live)
    rewrite(bushy.blob(), bushy.blob().read_bytes()[:-1] + b"X", touch=True)

    assert bushy.restore(blob_set).files == 1
    assert tree(bushy.live) == good


def test_odd_names_and_foreign_files(bushy: Place) -> None:
    for name in ODD_NAMES:
        (bushy.live / name).write_bytes(os.fsencode(name))
    blob_set = bushy.back_up()
    good = states(bushy.live)
    for name in ODD_NAMES[:3]:
        (bushy.live / name).unlink()
    (bushy.live / "another\nline\\n").touch()
    before = states(bushy.live)

    bushy.restore(blob_set)

    assert states(bushy.live) == good
    bushy.undo()
    assert states(bushy.live) == before


def lose_lines(blob_set: BlobSet, count: int) -> None:
    """Let the last *count* lines be lost, as on a damaged disk."""
    lines = (blob_set.path / "checksums").read_bytes().splitlines(keepends=True)
    (blob_set.path / "checksums").write_bytes(b"".join(lines[:-count]))


@pytest.mark.parametrize("listed", ["by a walk"], indirect=True)
def test_a_file_without_its_line_stays_and_is_counted(bushy: Place) -> None:
    blob_set = bushy.back_up()
    good = tree(bushy.live)
    lose_lines(blob_set, 3)
    bushy.blob(COUNT - 1).unlink()

    copied = bushy.restore(blob_set)

    assert (copied.files, copied.unverified) == (1, 3)
    assert tree(bushy.live) == good


@pytest.mark.parametrize("listed", ["by the list"], indirect=True)
@pytest.mark.parametrize("is_counted", [True, False])
@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("lost", [0, COUNT - 1])
def test_a_list_that_lost_a_line_is_no_reason_to_remove_or_miss_a_blob(
    bushy: Place, lost: int, is_live: bool, is_counted: bool
) -> None:
    blob_set = bushy.back_up()
    good = tree(bushy.live)
    lines = (blob_set.path / "checksums").read_bytes().splitlines(keepends=True)
    del lines[1 + lost]  # the first is that of the marker
    (blob_set.path / "checksums").write_bytes(b"".join(lines))
    if not is_live:
        bushy.blob(lost).unlink()
    if not is_counted:
        bushy.size = 0  # whoever counted did not know of it either

    staged = bushy.staging(blob_set, LAST_TID).stage()
    move = Move(live=bushy.live, difference=staged.difference)
    swap.swap(bushy.live.with_name("Data.fs.restore.json"), [move], Files())

    assert staged.copied.unverified == 1
    assert tree(bushy.live) == good


def test_nothing_depends_on_another_process(bushy: Place, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    blob_set = bushy.back_up()
    good = tree(bushy.live)
    bushy.blob(1).unlink()
    bushy.blob(COUNT - 1).unlink()

    bushy.restore(blob_set)

    assert tree(bushy.live) == good


def test_a_set_of_an_older_release(bushy: Place) -> None:
    blob_set = BlobSet(bushy.backups / f"blobstorage.{STAMP}", "blobstorage")
    shutil.copytree(bushy.live, blob_set.root)
    good = tree(bushy.live)
    bushy.blob().unlink()

    assert bushy.restore(blob_set).files == 1
    assert content(bushy.live) == {path: data for path, data in good.items() if data is not None}


@pytest.mark.parametrize("way", ["flipped", "missing", "shorter"])
def test_a_damaged_backup_is_named_and_nothing_has_changed(bushy: Place, way: str) -> None:
    blob_set = bushy.back_up()
    bushy.blob().unlink()
    before = states(bushy.live)
    stored = blob_set.root / bushy.blob().relative_to(bushy.live)
    if way == "missing":
        stored.unlink()
    else:
        data = stored.read_bytes()
        rewrite(stored, data[:-1] + b"X" if way == "flipped" else data[:-1])

    with pytest.raises(IntegrityError, match="is (damaged|missing)") as caught:
        bushy.stage(blob_set)

    assert caught.value.where == str(stored)
    assert states(bushy.live) == before


def test_a_backup_of_another_size_is_damage_although_the_live_file_agrees(bushy: Place) -> None:
    blob_set = bushy.back_up()
    stored = blob_set.root / bushy.blob().relative_to(bushy.live)
    rewrite(stored, b"cut")
    rewrite(bushy.blob(), b"cut")

    with pytest.raises(IntegrityError, match="damaged"):
        bushy.stage(blob_set)


def nothing(place: Place) -> None:
    shutil.rmtree(place.live)


def a_link(place: Place) -> None:
    (place.live / "link").symlink_to("0x00")


def a_link_for_a_blob(place: Place) -> None:
    place.blob().rename(place.live / "away")
    place.blob().symlink_to(place.live / "away")


def a_pipe(place: Place) -> None:
    os.mkfifo(place.live / "pipe")


def a_directory(place: Place) -> None:
    (place.live / "directory").mkdir()


def a_directory_for_a_blob(place: Place) -> None:
    place.blob().unlink()
    place.blob().mkdir()


def a_file_for_a_directory(place: Place) -> None:
    shutil.rmtree(place.blob(0).parent)
    place.blob(0).parent.touch()


def another_layout(place: Place) -> None:
    (place.live / ".layout").write_text("lawn")


def no_layout_at_all(place: Place) -> None:
    (place.live / ".layout").write_text("zeocache")


def much(place: Place) -> None:
    for number in range(COUNT // 3):
        place.blob(number).unlink()


def many_later(place: Place) -> None:
    for number in range(COUNT):
        put(place.live, blob_id(number, 9999))


UNFIT = [
    nothing,
    a_link,
    a_link_for_a_blob,
    a_pipe,
    a_directory,
    a_directory_for_a_blob,
    a_file_for_a_directory,
    another_layout,
    no_layout_at_all,
    much,
    many_later,
]


@pytest.mark.parametrize("change", UNFIT, ids=lambda each: each.__name__)
def test_what_a_difference_cannot_express_is_left_to_the_whole(bushy: Place, change) -> None:
    blob_set = bushy.back_up()
    change(bushy)

    assert bushy.stage(blob_set) is None
    assert not bushy.staged.exists()


def test_a_link_in_the_backup_is_left_to_the_whole(bushy: Place) -> None:
    (bushy.live / "link").symlink_to("0x00")
    blob_set = bushy.back_up()
    (bushy.live / "link").unlink()

    assert bushy.stage(blob_set) is None


def test_a_difference_larger_than_memory_should_hold_is_left_to_the_whole(
    bushy: Place, monkeypatch
) -> None:
    monkeypatch.setattr(restoring, "MANY", 1)
    blob_set = bushy.back_up()
    bushy.blob(1).unlink()
    bushy.blob(2).unlink()

    assert bushy.stage(blob_set) is None


@mounted
@pytest.mark.parametrize("below", ["", "0x00"])
def test_a_tree_with_a_mount_in_it_is_left_to_the_whole(
    bushy: Place, tmp_path: Path, below: str
) -> None:
    blob_set = bushy.back_up()
    place = bushy.live / below
    shutil.copytree(place, tmp_path / "disk", copy_function=shutil.copy2)
    bind(tmp_path / "disk", place)

    assert bushy.stage(blob_set) is None


def test_what_is_live_is_never_linked_to_the_backup(bushy: Place) -> None:
    blob_set = bushy.back_up()
    for number in range(4):
        bushy.blob(number).unlink()

    bushy.restore(blob_set)

    assert {path.stat().st_nlink for path in bushy.live.rglob("*.blob")} == {1}

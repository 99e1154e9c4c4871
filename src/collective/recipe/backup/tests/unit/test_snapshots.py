"""Trees that share what did not change: taken over, linked to the source, made by rsync."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from collective.recipe.backup.blobs import blobset, sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.rsync import ByRsync
from collective.recipe.backup.blobs.setcheck import verify_contents
from collective.recipe.backup.blobs.snapshots import LinkedFirst, still_lacks
from collective.recipe.backup.blobs.taking_over import carry_over, rescue
from collective.recipe.backup.errors import CommandFailed
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, content, put, tid
from collective.recipe.backup.tests.faults.harness import Hasty, failing_reads
from collective.recipe.backup.times import LAST_TID

FIRST, SECOND = "2026-03-01-12-00-00", "2026-03-02-12-00-00"
A, B, C = blob_id(1, 3), blob_id(2, 4), blob_id(300, 5)


class NoLinks(Hasty):
    """A file system without hard links."""

    def link(self, source: Path, target: Path) -> bool:
        return False


class Shelf:
    """A blobstorage and its trees."""

    def __init__(self, root: Path) -> None:
        self.source = root / "blobs"
        self.directory = root / "backups"
        self.directory.mkdir()
        for blob in (A, B):
            put(self.source, blob)

    def lose(self, *blobs) -> None:
        for blob in blobs:
            (self.source / Layout.BUSHY.path(blob)).unlink()

    def begin(self, stamp: str, previous: BlobSet | None = None, **more) -> tuple[BlobSet, Copied]:
        return sets.begin(
            self.source,
            self.directory,
            stamp,
            until=LAST_TID,
            previous=previous,
            files=more.pop("files", Hasty()),
            progress=Silent(),
            **more,
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def sound(blob_set: BlobSet) -> bool:
    return not list(verify_contents(blob_set, until=LAST_TID, progress=Silent()))


def inode(root: Path, path: str) -> int:
    return (root / path).stat().st_ino


# what a pack took


def test_what_the_source_has_lost_is_taken_over_by_links(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    before = content(first.root)
    shelf.lose(A)
    put(shelf.source, C)
    second, _copied = shelf.begin(SECOND, first)

    carry_over(first, second, until=LAST_TID, files=Hasty())

    assert content(second.root) == {**content(shelf.source), **before}
    path = Layout.BUSHY.path(A)
    assert inode(second.root, path) == inode(first.root, path)
    assert sound(second)
    assert not list(blobset.missing(second, [A, B, C]))


def test_nothing_later_than_the_restore_point_is_taken_over(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    shelf.lose(A, B)
    second, _copied = shelf.begin(SECOND, first)
    carry_over(first, second, until=tid(3), files=Hasty())
    assert list(blobset.missing(second, [A, B])) == [B]


def test_taking_over_twice_is_taking_over_once(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    shelf.lose(A)
    second, _copied = shelf.begin(SECOND, first)
    for _again in range(2):
        carry_over(first, second, until=LAST_TID, files=Hasty())
    assert sound(second)
    assert [each.path for each in second.checksums].count(Layout.BUSHY.path(A)) == 1


def test_without_hard_links_what_is_taken_over_is_copied(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    shelf.lose(A)
    second, _copied = shelf.begin(SECOND, first)
    copied = carry_over(first, second, until=LAST_TID, files=NoLinks())
    assert copied.files == 1
    assert sound(second)


def test_damage_is_not_taken_over_as_if_it_was_sound(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    damaged = first.root / Layout.BUSHY.path(A)
    damaged.chmod(0o600)
    damaged.write_bytes(b"damage")
    shelf.lose(A)
    second, _copied = shelf.begin(SECOND, first)
    copied = carry_over(first, second, until=LAST_TID, files=NoLinks())
    assert (copied.files, copied.lost, copied.missing) == (0, 1, (A,))
    assert copied.reasons == (f"a blob of an earlier backup is damaged: {damaged}",)
    assert sound(second)


def test_what_the_source_has_lost_is_rescued_and_told(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    shelf.lose(A)
    second, _copied = shelf.begin(SECOND, first)
    copied = rescue(first, second, [A, C], Hasty())
    assert (copied.files, copied.lost) == (0, 0)
    assert (copied.differ, copied.differing) == (1, (A,))
    assert str(first.root / Layout.BUSHY.path(A)) in copied.reasons[0]
    assert sound(second)
    assert list(blobset.missing(second, [A, B, C])) == [C]


def test_what_is_damaged_is_not_rescued(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    damaged = first.root / Layout.BUSHY.path(A)
    damaged.chmod(0o600)
    damaged.write_bytes(b"damage")
    shelf.lose(A)
    second, _copied = shelf.begin(SECOND, first)
    copied = rescue(first, second, [A], Hasty())
    assert (copied.differ, copied.lost) == (0, 0)
    assert "damaged" in copied.reasons[0]
    assert list(blobset.missing(second, [A])) == [A]


def test_what_an_older_release_has_kept_is_rescued_too(shelf, tmp_path) -> None:
    theirs = BlobSet(shelf.directory / f"blobstorage.{FIRST}", "blobstorage")
    shutil.copytree(shelf.source, theirs.root)
    shelf.lose(A)
    second, _copied = shelf.begin(SECOND, theirs)
    assert rescue(theirs, second, [A], Hasty()).differing == (A,)
    assert sound(second)


@pytest.mark.parametrize("touched", [True, False])
def test_without_a_digest_it_is_the_time_that_tells_which_of_two_has_changed(
    shelf, touched
) -> None:
    theirs = BlobSet(shelf.directory / f"blobstorage.{FIRST}", "blobstorage")
    shutil.copytree(shelf.source, theirs.root)
    live, stored = (root / Layout.BUSHY.path(A) for root in (shelf.source, theirs.root))
    before, status = live.read_bytes(), live.stat()
    live.chmod(0o600)
    live.write_bytes(b"X" + before[1:])
    if not touched:
        os.utime(live, ns=(status.st_atime_ns, status.st_mtime_ns))
    second, copied = shelf.begin(SECOND, theirs)
    assert (copied.differ, copied.differing) == (1, (A,))
    assert (second.root / Layout.BUSHY.path(A)).read_bytes() == (
        stored if touched else live
    ).read_bytes()
    assert ("stays in the backups" in copied.reasons[0]) is touched


def test_a_storage_that_was_migrated_in_between_is_not_doubled(tmp_path) -> None:
    shelf = Shelf(tmp_path)
    first, _copied = shelf.begin(FIRST)
    os.rename(shelf.source, tmp_path / "bushy")
    put(shelf.source, A, layout=Layout.LAWN)
    second, _copied = shelf.begin(SECOND, first)

    carry_over(first, second, until=LAST_TID, files=Hasty())

    paths = {path for path in content(second.root) if path.endswith(".blob")}
    assert paths == {Layout.LAWN.path(blob) for blob in (A, B)}
    assert sound(second)


# linked to the source


def test_a_first_copy_may_be_linked_to_the_source(shelf) -> None:
    (shelf.source / "foreign").write_text("may change")
    first, copied = shelf.begin(FIRST, by=LinkedFirst)
    path = Layout.BUSHY.path(A)
    assert inode(first.root, path) == inode(shelf.source, path)
    assert inode(first.root, "foreign") != inode(shelf.source, "foreign")
    assert copied.files == 4  # with the marker
    assert sound(first)


def test_a_later_one_is_linked_to_the_one_before(shelf) -> None:
    first, _copied = shelf.begin(FIRST)
    put(shelf.source, C)
    second, copied = shelf.begin(SECOND, first, by=LinkedFirst)
    path = Layout.BUSHY.path(C)
    assert inode(second.root, path) != inode(shelf.source, path)
    assert copied.files == 1


def test_without_hard_links_a_first_copy_is_a_copy(shelf) -> None:
    first, _copied = shelf.begin(FIRST, by=LinkedFirst, files=NoLinks())
    assert content(first.root) == content(shelf.source)
    path = Layout.BUSHY.path(A)
    assert inode(first.root, path) != inode(shelf.source, path)


# whether anything changed


def foreign(shelf: Shelf, text: str) -> None:
    (shelf.source / "foreign").write_text(text)


@pytest.mark.parametrize(
    ("change", "current", "besides_blobs"),
    [
        (lambda shelf: None, True, True),
        (lambda shelf: put(shelf.source, C), False, True),
        (lambda shelf: shelf.lose(A), False, True),
        (lambda shelf: foreign(shelf, "new text"), False, False),
        (lambda shelf: (shelf.source / "foreign").unlink(), False, False),
        (lambda shelf: (shelf.source / "other").write_text(""), False, False),
        (lambda shelf: (shelf.source / "directory").mkdir(), False, False),
        (lambda shelf: (shelf.source / "link").unlink(), False, False),
        (lambda shelf: Hasty().symlink("elsewhere", shelf.source / "link"), False, False),
        (lambda shelf: (shelf.source / "tmp").mkdir(), True, True),
        (lambda shelf: put(shelf.source, A, b"cut").chmod(0o400), False, True),
    ],
)
def test_a_change_of_the_source_makes_a_snapshot_outdated(
    shelf, change, current, besides_blobs
) -> None:
    foreign(shelf, "text")
    (shelf.source / "link").symlink_to("foreign")
    first, _copied = shelf.begin(FIRST)
    change(shelf)
    assert (still_lacks(first, shelf.source, blobs=True) == Copied()) is current
    assert (still_lacks(first, shelf.source, blobs=False) == Copied()) is besides_blobs


def test_what_could_not_be_copied_and_still_cannot_is_no_change(shelf) -> None:
    foreign(shelf, "text")
    os.mkfifo(shelf.source / "fifo")
    sick = shelf.source / Layout.BUSHY.path(A)
    with failing_reads(shelf.source / "foreign"), failing_reads(sick):
        first, copied = shelf.begin(FIRST)
        assert (copied.left_out, copied.left) == (2, "fifo")
        still = still_lacks(first, shelf.source, blobs=True)
        assert still is not None
        assert (still.left_out, still.lost, still.missing) == (2, 1, (A,))
        besides = still_lacks(first, shelf.source, blobs=False)
        assert besides is not None
        assert (besides.left_out, besides.lost) == (2, 0)
    # they are healthy again
    assert still_lacks(first, shelf.source, blobs=False) is None
    (shelf.source / "foreign").unlink()
    assert still_lacks(first, shelf.source, blobs=True) is None
    shelf.lose(A)
    still = still_lacks(first, shelf.source, blobs=True)
    assert still is not None
    assert still.left_out == 1


# rsync


def command(earlier: Path | None = None, **more) -> list[str]:
    transfer = ByRsync(
        source=Path("/a/blobs"), target=Path("/b/blobs"), earlier=earlier, files=Hasty(), **more
    )
    return transfer.arguments()


def test_the_options_come_after_the_first_one() -> None:
    arguments = command(options=("--bwlimit=9", "-x y"))
    assert arguments[:4] == ["rsync", "-a", "--bwlimit=9", "-x y"]
    assert arguments[-2:] == ["/a/blobs/", "/b/blobs/"]


def test_what_it_links_to_is_the_one_before_or_else_the_source_if_wanted() -> None:
    links = [
        [each for each in arguments if each.startswith("--link-dest")]
        for arguments in (
            command(),
            command(link_first=True),
            command(Path("/c"), link_first=True),
        )
    ]
    assert links == [[], ["--link-dest=/a/blobs"], ["--link-dest=/c"]]


@pytest.mark.needs("rsync")
@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_name_is_taken_for_anything_else_by_rsync(tmp_path, name) -> None:
    shelf = Shelf(tmp_path)
    source = tmp_path / name
    os.rename(shelf.source, source)
    (source / name).write_text("foreign")
    shelf.source = source
    first, _copied = shelf.begin(FIRST, by=ByRsync)
    second, copied = shelf.begin(SECOND, first, by=ByRsync)
    assert content(second.root) == content(source)
    assert (copied.files, copied.linked) == (0, 4)
    assert sound(second)


@pytest.mark.needs("rsync")
def test_what_rsync_is_told_to_leave_out_is_left_out_unless_it_is_a_blob(shelf) -> None:
    foreign(shelf, "text")

    def leaving_out(**more):
        return ByRsync(options=("--exclude=foreign", "--exclude=*.blob"), **more)

    first, _copied = shelf.begin(FIRST, by=leaving_out)
    assert not (first.root / "foreign").exists()
    assert not list(blobset.missing(first, [A, B]))
    assert sound(first)


@pytest.mark.needs("rsync")
def test_uncommitted_data_is_left_out(shelf) -> None:
    (shelf.source / "tmp").mkdir()
    (shelf.source / "tmp" / "BUCxxx").write_text("")
    first, _copied = shelf.begin(FIRST, by=ByRsync)
    assert not (first.root / "tmp").exists()


@pytest.mark.needs("rsync")
def test_rsync_links_to_the_source_only_what_never_changes(shelf) -> None:
    foreign(shelf, "text")
    first, _copied = shelf.begin(FIRST, by=lambda **more: ByRsync(link_first=True, **more))
    path = Layout.BUSHY.path(A)
    assert inode(first.root, path) == inode(shelf.source, path)
    assert inode(first.root, "foreign") != inode(shelf.source, "foreign")
    assert sound(first)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that makes a shell text the program rsync."""

    def make(text: str) -> None:
        place = tmp_path / "bin"
        place.mkdir()
        (place / "rsync").write_text(f"#!/bin/sh\n{text}\n")
        (place / "rsync").chmod(0o755)
        monkeypatch.setenv("PATH", str(place))

    return make


def test_files_that_vanish_while_rsync_looks_are_no_failure(shelf, program) -> None:
    program("exit 24")
    first, _copied = shelf.begin(FIRST, by=ByRsync)
    assert not list(blobset.missing(first, [A, B]))


def test_what_rsync_could_not_copy_is_copied_by_us(shelf, program) -> None:
    program("exit 23")
    first, copied = shelf.begin(FIRST, by=ByRsync)
    assert (copied.lost, copied.left_out, copied.reasons) == (0, 0, ())
    assert sound(first)
    assert content(first.root) == content(shelf.source)


def test_after_rsync_has_failed_what_it_copied_is_compared(shelf, program) -> None:
    path = Layout.BUSHY.path(A)
    program(
        f'for target; do :; done; /bin/mkdir -p "$target{os.path.dirname(path)}"; '
        f'echo damage > "$target{path}"; exit 23'
    )
    first, _copied = shelf.begin(FIRST, by=ByRsync)
    assert sound(first)
    assert content(first.root) == content(shelf.source)


@pytest.mark.parametrize("status", [1, 12, 30])
def test_any_other_status_is_a_failure_that_leaves_nothing(shelf, program, status) -> None:
    program(f"exit {status}")
    with pytest.raises(CommandFailed, match=f"exit status {status}"):
        shelf.begin(FIRST, by=ByRsync)
    assert list(shelf.directory.iterdir()) == []


def test_an_rsync_that_is_not_there_is_named(shelf, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandFailed, match="rsync") as caught:
        shelf.begin(FIRST, by=ByRsync)
    assert "installed" in caught.value.hint

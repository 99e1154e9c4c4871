from __future__ import annotations

import os
import shutil
from datetime import timedelta

import pytest

from collective.recipe.backup.blobs import blobset, sets
from collective.recipe.backup.blobs.blobset import BlobSet, find_sets
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.setcheck import verify_contents
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import FEW, Silent
from collective.recipe.backup.tests.blobtrees import (
    ODD_NAMES,
    blob_id,
    content,
    nobody,
    put,
    tid,
    tree,
)
from collective.recipe.backup.tests.faults.harness import failing_reads
from collective.recipe.backup.tests.samples import FOUNDED
from collective.recipe.backup.times import LAST_TID

STAMPS = [f"2026-03-0{day}-12-00-00" for day in range(1, 8)]
FIRST, SECOND, THIRD, *_ = STAMPS


class Shelf:
    """A blobstorage and the directory of its sets."""

    def __init__(self, source, directory):
        self.source, self.directory = source, directory

    def begin(self, stamp=FIRST, *, until=LAST_TID, previous=None, files=None):
        return sets.begin(
            self.source,
            self.directory,
            stamp,
            until=until,
            previous=previous,
            files=files or Files(),
            progress=Silent(),
        )

    def extend(self, blob_set, *ids, files=None):
        return sets.extend(self.source, blob_set, ids, files=files or Files(), progress=Silent())

    def sets(self):
        return find_sets(self.directory, self.source.name)

    def put(self, oid, number, data=None):
        put(self.source, blob_id(oid, number), data)
        return blob_id(oid, number)


def sound(blob_set):
    return list(verify_contents(blob_set, until=LAST_TID, progress=Silent())) == []


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / "backups").mkdir()
    shelf = Shelf(tmp_path / "blobstorage", tmp_path / "backups")
    for number in range(5):
        shelf.put(number * 300, number + 1)
    return shelf


class TestFindSets:
    def test_a_directory_that_is_not_there_holds_none(self, tmp_path):
        assert find_sets(tmp_path / "none", "blobstorage") == []

    def test_sets_come_oldest_first(self, tmp_path):
        for stamp in (SECOND, FIRST, THIRD):
            (tmp_path / f"b.{stamp}" / "b").mkdir(parents=True)
        assert [each.stamp for each in find_sets(tmp_path, "b")] == [FIRST, SECOND, THIRD]
        assert find_sets(tmp_path, "b")[0] == BlobSet(tmp_path / f"b.{FIRST}", "b")

    @pytest.mark.parametrize("name", ["b.c", "b.", ".*", "b\nc", "(", *ODD_NAMES])
    def test_any_name_matches_itself_and_no_other(self, tmp_path, name):
        for each in (name, "b", "bXc", "b.c.d", "x"):
            (tmp_path / f"{each}.{FIRST}" / each).mkdir(parents=True, exist_ok=True)
        found = find_sets(tmp_path, name)
        assert [(each.root, each.stamp) for each in found] == [
            (tmp_path / f"{name}.{FIRST}" / name, FIRST)
        ]

    @pytest.mark.parametrize(
        "path",
        [
            f"b.{FIRST}.0a1b2c3d.partial/b",
            f"b.{FIRST}",
            f"b.{FIRST}/c",
            "b.2026-13-01-12-00-00/b",
            "b.0/b",
            f"b.{FIRST}x/b",
            f"xb.{FIRST}/b",
            f"b{FIRST}/b",
        ],
    )
    def test_directories_that_are_no_blob_sets_are_not_found(self, tmp_path, path):
        (tmp_path / path).mkdir(parents=True)
        assert find_sets(tmp_path, "b") == []

    def test_a_file_is_not_found_and_a_set_without_a_tree_neither(self, tmp_path):
        (tmp_path / f"b.{FIRST}").touch()
        (tmp_path / f"b.{SECOND}").mkdir()
        (tmp_path / f"b.{SECOND}" / "b").touch()
        assert find_sets(tmp_path, "b") == []

    @pytest.mark.parametrize("path", [f"b.{FIRST}", f"b.{FIRST}/b"])
    def test_a_link_to_where_a_set_was_moved_is_found(self, tmp_path, path):
        (tmp_path / "disk" / "b").mkdir(parents=True)
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).symlink_to(tmp_path / "disk")
        assert [each.stamp for each in find_sets(tmp_path, "b")] == [FIRST]

    @pytest.mark.parametrize(
        "target", ["nowhere", "text", f"b.{FIRST}", "empty"], ids=lambda each: f"to {each}"
    )
    def test_a_link_to_what_is_no_set_is_not_found(self, tmp_path, target):
        (tmp_path / "empty").mkdir()
        (tmp_path / "text").touch()
        (tmp_path / f"b.{FIRST}").symlink_to(target)
        assert find_sets(tmp_path, "b") == []

    @pytest.mark.parametrize("target", [".", "..", "../..", "b", "nowhere"])
    def test_a_tree_is_no_link_to_what_holds_it(self, tmp_path, target):
        (tmp_path / f"b.{FIRST}").mkdir()
        (tmp_path / f"b.{FIRST}" / "b").symlink_to(target)
        assert find_sets(tmp_path, "b") == []


class TestBegin:
    def test_a_set_is_the_whole_tree(self, shelf):
        blob_set, copied = shelf.begin()
        assert shelf.sets() == [blob_set]
        assert tree(blob_set.root) == tree(shelf.source)
        assert (copied.files, copied.linked, copied.foreign) == (6, 0, 0)
        assert copied.size == sum(len(data) for data in content(shelf.source).values())
        assert blob_set.ours
        assert blob_set.foreign == 0
        assert sound(blob_set)

    def test_of_an_empty_blobstorage_it_is_a_proper_one(self, tmp_path):
        (tmp_path / "blobstorage").mkdir()
        shelf = Shelf(tmp_path / "blobstorage", tmp_path)
        blob_set, copied = shelf.begin()
        assert copied == Copied(whole=0)
        assert shelf.sets() == [blob_set]
        assert blob_set.root.is_dir()
        assert sound(blob_set)

    def test_later_blobs_belong_to_transactions_that_are_not_in_the_filestorage_part(self, shelf):
        blob_set, _copied = shelf.begin(until=tid(3))
        found = {int(path.stem, 16) for path in blob_set.root.rglob("*.blob")}
        assert found == {1, 2, 3}
        # and no empty directories for the others
        assert [
            path for path in blob_set.root.rglob("*") if path.is_dir() and not any(path.iterdir())
        ] == []

    def test_the_next_one_links_what_is_unchanged(self, shelf):
        first, _copied = shelf.begin()
        new = shelf.put(7, 8)
        second, copied = shelf.begin(SECOND, previous=first)
        assert (copied.files, copied.linked, copied.size) == (1, 6, len(str(new)))
        assert tree(second.root) == tree(shelf.source)
        assert sound(second)
        shutil.rmtree(first.path)
        assert sound(second)

    def test_blobs_that_were_added_are_linked_too(self, shelf):
        first, _copied = shelf.begin()
        shelf.extend(first, shelf.put(7, 8), shelf.put(1, 9))
        second, copied = shelf.begin(SECOND, previous=first)
        assert (copied.files, copied.linked) == (0, 8)
        assert sound(second)

    def test_a_set_that_rsync_made_is_compared_and_linked(self, shelf):
        theirs = BlobSet(shelf.directory / f"blobstorage.{FIRST}", "blobstorage")
        shutil.copytree(shelf.source, theirs.root)
        assert not theirs.ours
        assert theirs.foreign == 0
        second, copied = shelf.begin(SECOND, previous=theirs)
        assert (copied.files, copied.linked) == (0, 6)
        assert sound(second)

    def test_damaged_checksums_of_the_set_before_do_not_matter(self, shelf):
        first, _copied = shelf.begin()
        path = first.path / "checksums"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:3], b"rubbish\n", *lines[3:]]))
        damaged = max(first.root.rglob("*.blob"))
        keep = damaged.stat()
        damaged.chmod(0o600)
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
        os.utime(damaged, ns=(keep.st_atime_ns, keep.st_mtime_ns))
        second, copied = shelf.begin(SECOND, previous=first)
        assert (copied.files, copied.linked) == (1, 5)
        assert tree(second.root) == tree(shelf.source)
        assert sound(second)

    def test_foreign_files_come_along_and_are_told(self, shelf):
        for name in ODD_NAMES:
            (shelf.source / name).write_bytes(os.fsencode(name))
        (shelf.source / "link").symlink_to("0x00")
        blob_set, copied = shelf.begin()
        assert copied.foreign == len(ODD_NAMES) + 1
        assert blob_set.foreign == copied.foreign
        assert tree(blob_set.root) == tree(shelf.source)
        assert sound(blob_set)
        _second, copied = shelf.begin(SECOND, previous=blob_set)
        assert (copied.files, copied.linked) == (1, 6 + len(ODD_NAMES))  # a link is made anew

    def test_a_set_of_a_newer_release_is_not_taken_for_one_of_ours(self, shelf):
        blob_set, _copied = shelf.begin()
        blob_set.about.write_text("blob set 2\n")
        with pytest.raises(IntegrityError, match="newer release") as caught:
            assert blob_set.foreign
        assert caught.value.where == str(blob_set.about)

    def test_a_pack_may_run_meanwhile(self, shelf):
        class Packing(Files):
            def make_directory_like(self, path, original):
                if os.path.basename(path) == "blobstorage":
                    gone = shelf.source / Layout.BUSHY.path(blob_id(600, 3))
                    gone.unlink()
                    gone.parent.rmdir()
                super().make_directory_like(path, original)

        # the walk has not been there yet: it is not even vanished
        blob_set, copied = shelf.begin(files=Packing())
        assert copied.vanished == 0
        assert len(list(blob_set.root.rglob("*.blob"))) == 4
        assert sound(blob_set)

    def test_what_vanishes_after_it_was_seen_is_counted(self, shelf):
        path_of_it = Layout.BUSHY.path(blob_id(1200, 5))

        class Packing(Files):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "mkdir" and str(path).endswith(os.path.dirname(path_of_it)):
                    (shelf.source / path_of_it).unlink()
                return super()._change(operation, path, function, *args, **kwargs)

        blob_set, copied = shelf.begin(files=Packing())
        assert (copied.vanished, copied.files) == (1, 5)
        assert sound(blob_set)

    def test_a_name_may_hold_any_byte(self, tmp_path):
        for name in ODD_NAMES:
            shelf = Shelf(tmp_path / name, tmp_path)
            shelf.put(1, 1)
            blob_set, _copied = shelf.begin()
            assert shelf.sets() == [blob_set]
            assert os.readlink(tmp_path / "latest") == f"{name}.{FIRST}"

    def test_a_source_that_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(BackupError, match="no blobstorage here") as caught:
            Shelf(tmp_path / "none", tmp_path).begin()
        assert caught.value.where == str(tmp_path / "none")
        assert "mounted" in caught.value.hint
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("inside", ["", "backups", "0x00/backups"])
    def test_backups_inside_the_blobstorage_are_an_error(self, shelf, tmp_path, inside):
        (shelf.source / inside).mkdir(parents=True, exist_ok=True)
        (tmp_path / "link").symlink_to(shelf.source)
        for source in (shelf.source, tmp_path / "link"):
            with pytest.raises(BackupError, match="in the blobstorage that they are made of"):
                Shelf(source, shelf.source / inside).begin()

    def test_a_stamp_is_given_once(self, shelf):
        shelf.begin()
        with pytest.raises(BackupError, match="of this stamp already"):
            shelf.begin()

    def test_what_cannot_be_read_is_named_and_the_rest_is_there(self):
        with nobody() as place:
            shelf = Shelf(place / "blobstorage", place)
            put(shelf.source, blob_id(1, 1)).chmod(0)
            shelf.put(2, 2)
            (shelf.source / "secret").mkdir(0)
            blob_set, copied = shelf.begin()
            assert (copied.files, copied.left_out, copied.left) == (2, 1, "secret")
            assert [reason.partition(": /")[0] for reason in copied.reasons] == [
                "cannot be read: Permission denied"
            ] * 2
            assert list(blobset.missing(blob_set, [blob_id(1, 1), blob_id(2, 2)])) == [
                blob_id(1, 1)
            ]
            assert sound(blob_set)

    def test_a_blobstorage_that_cannot_be_read_is_an_error_and_leaves_nothing(self):
        with nobody() as place:
            shelf = Shelf(place / "blobstorage", place)
            put(shelf.source, blob_id(1, 1))
            shelf.source.chmod(0)
            with pytest.raises(BackupError, match="cannot back up the blobs: Permission") as caught:
                shelf.begin()
            shelf.source.chmod(0o700)
            assert caught.value.where == str(shelf.source)
            assert os.listdir(place) == ["blobstorage"]

    def test_the_progress_knows_how_much_there_was_before(self, shelf):
        class Phases(Silent):
            seen: list = []

            def phase(self, title, total, unit="B"):
                self.seen.append((title, total, unit))
                return super().phase(title, total, unit)

        first, _copied = shelf.begin()
        sets.begin(
            shelf.source,
            shelf.directory,
            SECOND,
            until=LAST_TID,
            previous=first,
            files=Files(),
            progress=Phases(),
        )
        assert Phases.seen == [("copying the blobs", 6, "files")]
        Phases.seen.clear()
        for count, total in ((3, 3), (FEW - 1, FEW - 1), (FEW, 0)):
            new = (blob_id(number, 9) for number in range(1000, 1000 + count))
            sets.extend(shelf.source, first, new, files=Files(), progress=Phases())
            assert Phases.seen.pop() == ("copying new blobs", total, "files")


class TestLatest:
    def test_latest_leads_to_the_newest_set(self, shelf):
        first, _copied = shelf.begin()
        assert os.readlink(shelf.directory / "latest") == first.name
        second, _copied = shelf.begin(SECOND, previous=first)
        assert os.readlink(shelf.directory / "latest") == second.name

    def test_latest_is_mended_by_the_next_backup(self, shelf):
        first, _copied = shelf.begin()
        (shelf.directory / "latest").unlink()
        (shelf.directory / "latest").symlink_to("elsewhere")
        shelf.extend(first)
        assert os.readlink(shelf.directory / "latest") == first.name

    def test_a_file_called_latest_is_not_touched_and_ends_no_backup(self, shelf, caplog):
        (shelf.directory / "latest").write_text("mine")
        blob_set, _copied = shelf.begin()
        shelf.extend(blob_set)
        assert (shelf.directory / "latest").read_text() == "mine"
        assert "the link that backups make to the newest blobs: move it away" in caplog.text


class TestExtend:
    def test_only_the_blobs_asked_for_are_added(self, shelf):
        blob_set, _copied = shelf.begin()
        new = [shelf.put(7, 8), shelf.put(900, 9)]
        shelf.put(7, 10)
        copied = shelf.extend(blob_set, *new)
        assert (copied.files, copied.linked, copied.lost) == (2, 0, 0)
        assert copied.size == sum(len(str(blob)) for blob in new)
        assert {int(path.stem, 16) for path in blob_set.root.rglob("*.blob")} == {
            1,
            2,
            3,
            4,
            5,
            8,
            9,
        }
        assert sound(blob_set)
        assert blob_set.checksums.count() == 8

    def test_modes_and_times_are_kept(self, shelf):
        blob_set, _copied = shelf.begin()
        blob = shelf.put(70_000, 8)
        path = Layout.BUSHY.path(blob)
        (shelf.source / path).parent.chmod(0o750)
        shelf.extend(blob_set, blob)
        ours, theirs = (blob_set.root / path).stat(), (shelf.source / path).stat()
        assert (ours.st_mode, ours.st_mtime_ns) == (theirs.st_mode, theirs.st_mtime_ns)

    def test_blobs_that_the_source_lacks_are_named(self, shelf):
        blob_set, _copied = shelf.begin()
        before = tree(blob_set.path)
        lost = [blob_id(5, number) for number in range(1500)]
        copied = shelf.extend(blob_set, *lost)
        assert (copied.files, copied.lost, copied.missing) == (0, 1500, tuple(lost[:1000]))
        assert tree(blob_set.path) == before

    def test_a_second_time_changes_nothing(self, shelf):
        blob_set, _copied = shelf.begin()
        new = shelf.put(7, 8)
        shelf.extend(blob_set, new)
        before = tree(blob_set.root), list(blob_set.checksums)
        copied = shelf.extend(blob_set, new, new)
        assert copied == Copied()
        assert (tree(blob_set.root), list(blob_set.checksums)) == before

    def test_what_a_pack_took_from_the_source_stays(self, shelf):
        blob_set, _copied = shelf.begin()
        new = shelf.put(7, 8)
        shelf.extend(blob_set, new)
        (shelf.source / Layout.BUSHY.path(new)).unlink()
        assert shelf.extend(blob_set, new) == Copied()
        assert sound(blob_set)

    def test_a_blob_that_is_not_as_it_was_is_copied_again_and_alone(self, shelf):
        first, _copied = shelf.begin()
        second, _copied = shelf.begin(SECOND, previous=first)
        path = Layout.BUSHY.path(blob_id(300, 2))
        (second.root / path).chmod(0o600)
        (second.root / path).write_bytes(b"damaged")
        copied = shelf.extend(second, blob_id(300, 2))
        assert copied.files == 1
        assert sound(second)
        assert not sound(first)  # the old one keeps its own damage: verify tells

    def test_a_storage_that_was_migrated_is_still_understood(self, shelf, tmp_path):
        blob_set, _copied = shelf.begin()
        shutil.rmtree(shelf.source)
        blob = blob_id(0x0102, 9)
        put(shelf.source, blob, layout=Layout.LAWN)
        assert shelf.extend(blob_set, blob).files == 1
        assert (blob_set.root / Layout.BUSHY.path(blob)).is_file()
        assert sound(blob_set)

    @pytest.mark.parametrize("depth", [0, 3, 7, None])
    def test_a_link_on_the_way_to_a_blob_is_not_followed(self, shelf, tmp_path, depth):
        blob_set, _copied = shelf.begin()
        blob = shelf.put(0x0102030405060708, 9)
        path = shelf.source / Layout.BUSHY.path(blob)
        if depth is not None:
            path = shelf.source.joinpath(*path.relative_to(shelf.source).parts[: depth + 1])
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        copied = shelf.extend(blob_set, blob)
        assert (copied.files, copied.lost, copied.missing) == (0, 1, (blob,))
        assert (
            f"symbolic link stands where a blob or a directory of blobs is expected: {path}"
            in (copied.reasons[0])
        )
        assert sound(blob_set)

    def test_a_blob_that_cannot_be_read_is_named_and_the_others_are_added(self, shelf):
        blob_set, _copied = shelf.begin()
        blob, other = shelf.put(7, 8), shelf.put(9, 10)
        path = shelf.source / Layout.BUSHY.path(blob)
        with failing_reads(path):
            copied = shelf.extend(blob_set, blob, other)
        assert (copied.files, copied.lost, copied.missing) == (1, 1, (blob,))
        assert copied.reasons[0].startswith(f"cannot be read: Input/output error: {path}")
        assert sound(blob_set)
        # it is healthy again
        assert shelf.extend(blob_set, blob).files == 1
        assert sound(blob_set)

    def test_a_blob_that_is_there_already_is_not_lost_when_it_cannot_be_read_any_more(self, shelf):
        blob_set, _copied = shelf.begin()
        blob = blob_id(0, 1)
        with failing_reads(shelf.source / Layout.BUSHY.path(blob)):
            copied = shelf.extend(blob_set, blob)
        assert (copied.files, copied.lost) == (0, 0)
        assert "Input/output error" in copied.reasons[0]
        assert sound(blob_set)

    def test_a_set_of_an_older_release_is_not_extended(self, shelf):
        theirs = BlobSet(shelf.directory / f"blobstorage.{FIRST}", "blobstorage")
        shutil.copytree(shelf.source, theirs.root)
        with pytest.raises(BackupError, match="an older release"):
            shelf.extend(theirs, shelf.put(7, 8))

    def test_debris_of_a_run_that_died_is_swept(self, shelf):
        blob_set, _copied = shelf.begin()
        (blob_set.path / "0x01.blob.0a1b2c3d.partial").touch()
        shelf.extend(blob_set)
        assert sorted(os.listdir(blob_set.path)) == ["about", "blobstorage", "checksums"]

    def test_each_blob_is_durable_before_its_line(self, shelf):
        class Recording(Files):
            def __init__(self):
                super().__init__()
                self.done = []

            def _change(self, operation, path, function, *args, **kwargs):
                result = super()._change(operation, path, function, *args, **kwargs)
                self.done.append((operation, path))
                return result

        files = Recording()
        blob_set, _copied = shelf.begin()
        blob = shelf.put(7, 8)
        shelf.extend(blob_set, blob, files=files)
        target = blob_set.root / Layout.BUSHY.path(blob)
        line = files.done.index(("create", blob_set.path / "checksums.added"))
        assert files.done.index(("rename", target)) < line
        for directory in target.relative_to(blob_set.path).parents[:-1]:
            last = max(
                at
                for at, done in enumerate(files.done[:line])
                if done[1] == blob_set.path / directory
            )
            assert files.done[last][0] == "fsync"

    def test_many_are_added_in_bounded_pieces(self, shelf, monkeypatch):
        monkeypatch.setattr(sets, "_BATCH", 10)
        blob_set, _copied = shelf.begin()
        new = [shelf.put(number, 50) for number in range(35)]
        copied = shelf.extend(blob_set, *new, blob_id(1, 99))
        assert (copied.files, copied.lost) == (35, 1)
        assert sound(blob_set)


class TestMissing:
    def test_blobs_that_are_not_in_the_set_are_yielded(self, shelf):
        blob_set, _copied = shelf.begin()
        new = shelf.put(7, 8)
        ids = [blob_id(0, 1), new, blob_id(1200, 5), blob_id(1200, 6)]
        assert list(blobset.missing(blob_set, ids)) == [new, blob_id(1200, 6)]

    def test_a_real_site_is_complete(self, site, tmp_path):
        for day in range(5):
            site.commit(
                blobs={"a": b"%d" % day, str(day): b"x"}, at=FOUNDED + timedelta(days=day + 1)
            )
        shelf = Shelf(site.blobstorage, tmp_path)
        blob_set, copied = shelf.begin()
        from collective.recipe.backup.filestorage.blobrecords import blobs
        from collective.recipe.backup.filestorage.log import MAGIC_SIZE
        from collective.recipe.backup.filestorage.transactionlog import TransactionLog

        with TransactionLog(site.filestorage) as log:
            ids = list(blobs(log, MAGIC_SIZE, log.size))
        assert len(ids) == copied.files - 1 == 10
        assert list(blobset.missing(blob_set, ids)) == []
        assert copied.foreign == 0


class TestRemove:
    def test_a_set_goes_and_the_others_stay(self, shelf):
        first, _copied = shelf.begin()
        second, _copied = shelf.begin(SECOND, previous=first)
        blobset.remove(first, Files())
        assert shelf.sets() == [second]
        assert sorted(os.listdir(shelf.directory)) == [second.name, "latest"]
        assert sound(second)


def test_the_results_of_two_copies_add_up():
    some = Copied(
        files=1, linked=2, size=3, lost=600, missing=tuple(blob_id(1, n) for n in range(600))
    )
    both = some + some
    assert (both.files, both.linked, both.size, both.lost) == (2, 4, 6, 1200)
    assert len(both.missing) == 1000

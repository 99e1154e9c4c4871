from __future__ import annotations

import errno
import os
import shutil
from datetime import timedelta

import pytest
from blake3 import blake3

from collective.recipe.backup.blobs import sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.setstaging import stage
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, nobody, put, tid, tree
from collective.recipe.backup.tests.samples import FOUNDED, contents_of
from collective.recipe.backup.times import LAST_TID

STAMP = "2026-03-01-12-00-00"


@pytest.fixture
def live(tmp_path):
    for number in range(5):
        put(tmp_path / "blobstorage", blob_id(number * 300, number + 1))
    return tmp_path / "blobstorage"


@pytest.fixture
def blob_set(live, tmp_path):
    (tmp_path / "backups").mkdir()
    return begin(live, tmp_path / "backups")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "blobstorage.restoring"


def begin(source, directory, until=LAST_TID):
    blob_set, _copied = sets.begin(
        source, directory, STAMP, until=until, previous=None, files=Files(), progress=Silent()
    )
    return blob_set


def restore(
    blob_set, target, live=None, *, until=LAST_TID, files=None, verify_live=False, size=None
):
    return stage(
        blob_set,
        target,
        live=live,
        until=until,
        files=files or Files(),
        progress=Silent(),
        verify_live=verify_live,
        size=size,
    )


def rewrite(path, data):
    """Change a file in place, but not its times."""
    keep = path.stat()
    path.chmod(0o600)
    path.write_bytes(data)
    os.utime(path, ns=(keep.st_atime_ns, keep.st_mtime_ns))


def a_blob(root, number=1):
    return root / Layout.BUSHY.path(blob_id(number * 300, number + 1))


class TestIntoTheEmpty:
    def test_all_comes_back_as_it_was(self, blob_set, live, target):
        copied = restore(blob_set, target)
        assert tree(target) == tree(live)
        assert (copied.files, copied.linked, copied.unverified) == (6, 0, 0)
        for path in live.rglob("*"):
            ours, theirs = (target / path.relative_to(live)).stat(), path.stat()
            assert ours.st_mode == theirs.st_mode
            if path.is_file():
                assert ours.st_mtime_ns == theirs.st_mtime_ns

    def test_later_blobs_are_left_out(self, blob_set, target):
        restore(blob_set, target, until=tid(3))
        assert {int(path.stem, 16) for path in target.rglob("*.blob")} == {1, 2, 3}
        assert (target / ".layout").exists()

    def test_foreign_files_come_back_too(self, live, target, tmp_path):
        for name in ODD_NAMES:
            (live / name).mkdir()
            (live / name / name).write_bytes(os.fsencode(name))
        (live / "link").symlink_to("0x00")
        restore(begin(live, tmp_path), target)
        assert tree(target) == tree(live)

    def test_an_empty_set_gives_an_empty_blobstorage(self, tmp_path, target):
        (tmp_path / "blobstorage").mkdir()
        restore(begin(tmp_path / "blobstorage", tmp_path), target)
        assert os.listdir(target) == []

    def test_a_target_that_is_not_empty_is_not_touched(self, blob_set, target):
        target.mkdir()
        (target / "mine").touch()
        with pytest.raises(BackupError, match="not empty"):
            restore(blob_set, target)
        assert os.listdir(target) == ["mine"]

    def test_the_target_of_a_link_in_the_place_of_a_restore_is_not_touched(
        self, blob_set, target, tmp_path
    ):
        (tmp_path / "elsewhere").mkdir()
        target.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BackupError, match="not empty"):
            restore(blob_set, target)
        assert os.listdir(tmp_path / "elsewhere") == []

    def test_a_staged_tree_is_durable(self, blob_set, target):
        class Recording(Files):
            operations: list = []

            def _change(self, operation, path, function, *args, **kwargs):
                self.operations.append((operation, path))
                return super()._change(operation, path, function, *args, **kwargs)

        restore(blob_set, target, files=Recording())
        assert Recording.operations[-1] == ("syncfs", target)

    def test_a_real_site_comes_back(self, site, target, tmp_path):
        for day in range(4):
            site.commit(blobs={"a": b"%d" % day, str(day): b"x"}, at=FOUNDED + timedelta(days=day))
        restore(begin(site.blobstorage, tmp_path), target)
        expected = site.contents()
        shutil.rmtree(site.blobstorage)
        target.rename(site.blobstorage)
        assert contents_of(site.filestorage, site.blobstorage) == expected


class TestDamage:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: rewrite(path, path.read_bytes()[:-1] + b"X"),
            lambda path: rewrite(path, path.read_bytes() + b"X"),
            lambda path: rewrite(path, b""),
            lambda path: path.unlink(),
            lambda path: shutil.rmtree(path.parent),
        ],
        ids=["flipped", "longer", "empty", "missing", "directory"],
    )
    @pytest.mark.parametrize("number", range(5))
    def test_a_damaged_blob_is_named_and_not_restored(self, blob_set, target, damage, number):
        path = a_blob(blob_set.root, number)
        damage(path)
        with pytest.raises(IntegrityError, match=r"is (damaged|missing)") as caught:
            restore(blob_set, target)
        assert caught.value.where == str(path)
        assert caught.value.hint

    def test_damage_of_blobs_later_than_the_cut_does_no_harm(self, blob_set, target):
        a_blob(blob_set.root, 4).unlink()
        rewrite(a_blob(blob_set.root, 3), b"damaged")
        restore(blob_set, target, until=tid(3))

    def test_a_blob_without_its_line_is_restored_and_counted(self, blob_set, live, target):
        path = blob_set.path / "checksums"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
        assert restore(blob_set, target).unverified == 2
        assert tree(target) == tree(live)

    def test_a_blob_without_its_line_among_a_known_number_of_bytes_is_restored(
        self, blob_set, live, target
    ):
        size = sum(path.stat().st_size for path in blob_set.root.rglob("*") if path.is_file())
        assert restore(blob_set, target, size=size).unverified == 0
        shutil.rmtree(target)
        [*lines, _last] = blob_set.checksums.path.read_bytes().splitlines(keepends=True)
        blob_set.checksums.path.write_bytes(b"".join(lines))
        assert restore(blob_set, target, size=size).unverified == 1
        assert tree(target) == tree(live)

    @pytest.mark.parametrize("path", ["../../evil", "/evil", "0x00/../../../evil", "new"])
    def test_the_list_alone_brings_nothing_but_blobs(self, blob_set, target, path):
        evil = blob_set.root / path
        evil.write_bytes(b"evil") if path == "new" else None
        size = sum(checksum.size for checksum in blob_set.checksums)
        line = Checksum(path, 4, blake3(b"evil").hexdigest()).line()
        with blob_set.checksums.added.open("wb") as file:
            file.write(line)
        restore(blob_set, target, size=size)
        assert all(path.name != "evil" for path in target.parent.rglob("*"))
        assert not (target / "new").exists()

    @pytest.mark.parametrize("shape", ["symlink", "directory", "fifo"])
    @pytest.mark.parametrize("size", [None, 1])
    def test_a_blob_that_is_no_file_is_damage(self, blob_set, target, shape, size):
        blob = a_blob(blob_set.root)
        blob.unlink()
        if shape == "symlink":
            blob.symlink_to("/etc/passwd")
        elif shape == "fifo":
            os.mkfifo(blob)
        else:
            blob.mkdir()
        with pytest.raises(IntegrityError) as caught:
            restore(blob_set, target, size=size)
        assert caught.value.where == str(blob)

    def test_a_list_that_lost_a_line_hides_no_file_whatever_size_is_known(
        self, blob_set, live, target
    ):
        [*lines, _last] = blob_set.checksums.path.read_bytes().splitlines(keepends=True)
        blob_set.checksums.path.write_bytes(b"".join(lines))
        # a run that died added blobs that no manifest counts
        assert restore(blob_set, target, size=1).unverified == 1
        assert tree(target) == tree(live)

    @pytest.mark.parametrize("size", [None, "right"])
    @pytest.mark.parametrize("above", [1, 8])
    def test_a_file_in_the_place_of_a_directory_is_damage(self, blob_set, target, size, above):
        size = size and sum(checksum.size for checksum in blob_set.checksums)
        place = a_blob(blob_set.root).parents[above - 1]
        shutil.rmtree(place)
        place.write_text("no directory")
        with pytest.raises(IntegrityError):
            restore(blob_set, target, size=size)

    def test_damaged_checksums_are_named(self, blob_set, target):
        (blob_set.path / "checksums").write_bytes(b"rubbish\n")
        with pytest.raises(IntegrityError, match="checksums of a blob set are damaged"):
            restore(blob_set, target)

    def test_a_link_that_was_changed_is_damage(self, live, target, tmp_path):
        (live / "link").symlink_to("0x00")
        blob_set = begin(live, tmp_path)
        (blob_set.root / "link").unlink()
        (blob_set.root / "link").symlink_to(".layout")
        with pytest.raises(IntegrityError, match="damaged"):
            restore(blob_set, target)

    @pytest.mark.parametrize("name", ["out", "0x01", "0x00/0x01"])
    @pytest.mark.parametrize("text", ["/etc", "../../../etc"])
    def test_a_link_out_of_the_set_is_refused(self, blob_set, target, name, text):
        (blob_set.root / name).symlink_to(text)
        with pytest.raises(IntegrityError, match="symbolic link") as caught:
            restore(blob_set, target)
        assert caught.value.where == str(blob_set.root / name)


class TestOverWhatIsLive:
    def test_what_is_right_there_is_linked(self, blob_set, live, target):
        a_blob(live, 2).unlink()
        copied = restore(blob_set, target, live)
        assert (copied.files, copied.linked) == (1, 5)
        assert a_blob(target, 1).samefile(a_blob(live, 1))
        assert a_blob(target, 2).stat().st_nlink == 1
        assert len(list(target.rglob("*.blob"))) == 5

    def test_a_linked_live_blob_is_not_read(self, blob_set, live, target):
        rewrite(a_blob(live), a_blob(live).read_bytes()[:-1] + b"X")
        assert restore(blob_set, target, live).linked == 6
        assert a_blob(target).samefile(a_blob(live))

    def test_unless_the_caller_doubts_it(self, blob_set, live, target):
        good = tree(live)
        rewrite(a_blob(live), a_blob(live).read_bytes()[:-1] + b"X")
        copied = restore(blob_set, target, live, verify_live=True)
        assert (copied.files, copied.linked) == (1, 5)
        assert tree(target) == good

    def test_with_another_time_the_digest_decides(self, blob_set, live, target):
        good = tree(live)
        os.utime(a_blob(live, 1))
        rewrite(a_blob(live, 2), a_blob(live, 2).read_bytes()[:-1] + b"X")
        os.utime(a_blob(live, 2))
        copied = restore(blob_set, target, live)
        assert (copied.files, copied.linked) == (1, 5)
        assert a_blob(target, 1).samefile(a_blob(live, 1))
        assert tree(target) == good

    def test_another_size_is_copied(self, blob_set, live, target):
        good = tree(live)
        rewrite(a_blob(live), b"longer than it was before, and by far")
        assert restore(blob_set, target, live).files == 1
        assert tree(target) == good

    def test_later_and_foreign_live_files_stay_out(self, blob_set, live, target):
        good = tree(live)
        put(live, blob_id(7, 99))
        (live / "foreign").touch()
        restore(blob_set, target, live)
        assert tree(target) == good

    @pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
    def test_what_cannot_be_linked_is_copied(self, blob_set, live, target, number):
        class Refusing(Files):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "link":
                    raise OSError(number, os.strerror(number), str(path))
                return super()._change(operation, path, function, *args, **kwargs)

        copied = restore(blob_set, target, live, files=Refusing())
        assert (copied.files, copied.linked) == (6, 0)
        assert tree(target) == tree(live)

    def test_a_live_file_that_cannot_be_read_is_replaced(self, target):
        with nobody() as place:
            path = put(place / "blobstorage", blob_id(1, 1))
            blob_set = begin(place / "blobstorage", place)
            os.utime(path)
            path.chmod(0)
            copied = restore(blob_set, place / "restoring", place / "blobstorage")
            assert (copied.files, copied.linked) == (1, 1)

    @pytest.mark.parametrize("shape", ["link", "directory", "none", "file in the way"])
    def test_live_blobs_that_are_no_files_are_replaced(self, blob_set, live, target, shape):
        good = tree(live)
        path = a_blob(live)
        path.rename(live / "away")
        if shape == "link":
            path.symlink_to(live / "away")
        elif shape == "directory":
            path.mkdir()
        elif shape == "file in the way":
            path.parent.rmdir()
            path.parent.touch()
        restore(blob_set, target, live)
        assert tree(target) == good
        assert not a_blob(target).is_symlink()

    def test_nothing_live_at_all(self, blob_set, live, target, tmp_path):
        assert restore(blob_set, target, tmp_path / "none").files == 6
        assert tree(target) == tree(live)

    def test_what_is_live_is_left_as_it_was(self, blob_set, live, target):
        a_blob(live).unlink()
        before = tree(live)
        restore(blob_set, target, live)
        assert tree(live) == before


class TestSetsOfOlderReleases:
    @pytest.fixture
    def theirs(self, live, tmp_path):
        blob_set = BlobSet(tmp_path / f"blobstorage.{STAMP}", "blobstorage")
        shutil.copytree(live, blob_set.root)
        (blob_set.root / "tmp").mkdir()
        return blob_set

    def test_sets_of_older_releases_are_restored_as_they_are(self, theirs, live, target):
        assert restore(theirs, target).unverified == 6
        assert tree(target) == tree(live)

    def test_up_to_a_transaction(self, theirs, target):
        restore(theirs, target, until=tid(2))
        assert {int(path.stem, 16) for path in target.rglob("*.blob")} == {1, 2}

    def test_equal_live_blobs_are_linked_into_the_staged_tree(self, theirs, live, target):
        rewrite(a_blob(live, 2), a_blob(live, 2).read_bytes()[:-1] + b"X")
        os.utime(a_blob(live, 2))
        copied = restore(theirs, target, live)
        assert (copied.files, copied.linked) == (1, 5)

    def test_with_doubts_the_bytes_decide(self, theirs, live, target):
        good = tree(live)
        rewrite(a_blob(live, 2), a_blob(live, 2).read_bytes()[:-1] + b"X")
        copied = restore(theirs, target, live, verify_live=True)
        assert (copied.files, copied.linked) == (1, 5)
        assert tree(target) == good

from __future__ import annotations

import os
import random
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ZODB.blob import LAYOUTS

from collective.recipe.backup.blobs.layout import Entry, Kind, Layout, blob_of, order, walk
from collective.recipe.backup.blobs.marker import layout_of
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, nobody, put, tid
from collective.recipe.backup.times import Tid

ids = st.builds(
    lambda oid, tid: BlobId(Oid(oid), Tid(tid)),
    *[st.binary(min_size=8, max_size=8) | st.integers(0, 300).map(lambda n: n.to_bytes(8, "big"))]
    * 2,
)
layouts = pytest.mark.parametrize("layout", Layout)


@pytest.fixture
def root(tmp_path):
    put(tmp_path / "blobs", blob_id(1, 0x03F0_0000_0000_0001))
    return tmp_path / "blobs"


def foreign(root):
    return {entry.path: entry.kind for entry in walk(root) if entry.foreign}


def blobs(root):
    return [entry.blob for entry in walk(root) if entry.blob]


class TestPaths:
    @layouts
    @given(ids)
    def test_a_blob_lies_where_zodb_puts_it(self, layout, blob):
        assert layout.path(blob) == LAYOUTS[layout.value].getBlobFilePath(blob.oid, blob.tid)

    @layouts
    @given(ids)
    def test_a_path_tells_its_blob(self, layout, blob):
        assert blob_of(layout.path(blob)) == blob

    @pytest.mark.parametrize(
        "path",
        [
            "0x01/0x0003f0000000000001.blob",  # ZODB leaves out leading zeros
            "0x0001/0x03f0000000000001.blob",
            "0x01/0x3f0000000000001.blob",
            "0x01/0x03f0000000000001.BLOB",
            "0x01/0x03F0000000000001.blob",
            "0x00/0x01/0x03f0000000000001.blob",
            "0x03f0000000000001.blob",
            "0x01/0x03f0000000000001.blob\n",
            "0x01/0x03f000000000000102.blob",
            "x/0x01/0x03f0000000000001.blob",
            "",
        ],
    )
    def test_other_spellings_of_paths_are_no_blobs(self, path):
        assert blob_of(path) is None


class TestLayoutOf:
    @layouts
    def test_the_marker_of_a_blobstorage_decides_its_layout(self, tmp_path, layout):
        (tmp_path / ".layout").write_text(f"{layout.value}\n")
        put(tmp_path, blob_id(1, 1), layout=Layout.LAWN)
        assert layout_of(tmp_path) is layout

    @layouts
    def test_without_a_marker_the_first_blob_does(self, tmp_path, layout):
        put(tmp_path, blob_id(0x0102, 1), layout=layout)
        (tmp_path / ".layout").unlink()
        (tmp_path / "0x00-a-foreign-file").touch()
        assert layout_of(tmp_path) is layout

    def test_an_empty_directory_is_bushy_as_with_zodb(self, tmp_path):
        assert layout_of(tmp_path) is Layout.BUSHY

    def test_the_cache_of_a_client_is_no_blobstorage(self, tmp_path):
        (tmp_path / ".layout").write_text("zeocache")
        with pytest.raises(BackupError, match="blob cache of a ZEO client") as caught:
            layout_of(tmp_path)
        assert "the directory that the ZEO server writes to" in caught.value.hint


class TestWalk:
    def test_all_blobs_of_a_site_are_found(self, site):
        for number in range(20):
            site.commit(blobs={str(number): b"one"})
        site.commit(blobs={"3": b"two"})
        with site.opened() as db:
            helper = db.storage.fshelper
            expected = {
                helper.splitBlobFilename(os.path.join(place, name))
                for _oid, place in helper.listOIDs()
                for name in os.listdir(place)
            }
        assert len(expected) == 21
        assert set(blobs(site.blobstorage)) == expected
        assert foreign(site.blobstorage) == {}

    def test_names_that_are_no_text_come_in_the_order_of_their_bytes(self, tmp_path):
        names = [b"a", b"a\xff", b"\xee\x80\x80", b"\xf0\x9f\x90\x98", b"\x80", b"\xff", b"z"]
        for name in names:
            (tmp_path / os.fsdecode(name)).write_bytes(b"")
        found = [os.fsencode(entry.path) for entry in walk(tmp_path)]
        assert found == sorted(names)

    @layouts
    def test_a_walk_comes_sorted_by_order(self, tmp_path, layout):
        numbers = random.Random(1)
        for _ in range(60):
            blob = blob_id(numbers.randrange(70_000), numbers.randrange(1, 300))
            put(tmp_path, blob, layout=layout)
        for name in ["0x00-", "0x", "0x000", "0x00.", "~", *ODD_NAMES]:
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").touch()
        paths = [entry.path for entry in walk(tmp_path)]
        assert len(paths) > 80
        assert paths == sorted(paths, key=order)

    def test_a_blob_is_later_than_what_was_before_it(self):
        for number in (0, 1, 255, 256, 2**40, 2**64 - 1):
            for layout in Layout:
                entry = Entry(layout.path(blob_id(1, number)), Kind.BLOB)
                assert entry.blob == blob_id(1, number)
                assert not entry.is_later(tid(number))
                if number:
                    assert entry.is_later(tid(number - 1))
        assert not Entry(".layout", Kind.MARKER).is_later(tid(0))

    def test_the_marker_is_not_foreign(self, root):
        assert Entry(".layout", Kind.MARKER) in list(walk(root))
        assert foreign(root) == {}

    @pytest.mark.parametrize(
        "name",
        [
            "tmp/uncommitted",
            ".removed",
            "check_size.lock",
            "lost+found/x",
            ".lock",
            "0x00/.lock",
            "0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01/.lock",
            "0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01/0x03f0abc.tmp",
            "0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01/BlobX.tmp1",
            "0x00/.nfs000000000123abc",
        ],
    )
    def test_what_belongs_to_one_moment_does_not_count(self, root, name):
        before = list(walk(root))
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert list(walk(root)) == before

    @pytest.mark.parametrize("name", ["0x00/tmp", "x.tmp", "tmpx", "a/.removed", "0x00/x/y.tmp"])
    def test_names_of_temporary_files_count_elsewhere(self, root, name):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert foreign(root)[name] is Kind.FILE

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_byte_in_a_name_is_seen(self, root, name):
        (root / name).mkdir()
        (root / name / name).write_bytes(b"x")
        assert foreign(root) == {name: Kind.DIRECTORY, f"{name}/{name}": Kind.FILE}

    def test_links_and_special_files_are_seen_and_not_followed(self, root, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "file").touch()
        (root / "link").symlink_to(tmp_path / "elsewhere")
        os.mkfifo(root / "fifo")
        assert foreign(root) == {"link": Kind.LINK, "fifo": Kind.SPECIAL}

    @pytest.mark.parametrize(
        "name",
        [
            ".layout",
            "0x01",
            "0x00/0x07",
            "0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01/0x03f0000000000002.blob",
        ],
    )
    def test_a_link_in_the_place_of_a_blob_or_directory_is_an_impostor(self, root, name):
        (root / ".layout").unlink()
        (root / name).symlink_to("/etc")
        assert foreign(root) == {name: Kind.IMPOSTOR}

    def test_a_directory_that_vanishes_was_never_there(self, tmp_path):
        for number in range(3):
            put(tmp_path, blob_id(number, 1), layout=Layout.LAWN)
        found = []
        for entry in walk(tmp_path):
            found.append(entry.blob)
            shutil.rmtree(tmp_path / "0x01", ignore_errors=True)
        assert found == [None, blob_id(0, 1), blob_id(2, 1)]

    def test_a_directory_that_cannot_be_read_comes_as_such(self):
        with nobody() as root:
            put(root, blob_id(1, 1))
            for name in ("0x01", "0x00/0x01", "notes"):
                (root / name).mkdir(0)
            found = [entry for entry in walk(root) if entry.kind is Kind.UNREADABLE]
            assert [(entry.path, entry.foreign) for entry in found] == [
                ("0x00/0x01", False),
                ("0x01", False),
                ("notes", True),
            ]
            assert {entry.kind for entry in walk(root)} == {
                Kind.BLOB,
                Kind.MARKER,
                Kind.UNREADABLE,
            }

    def test_a_root_that_cannot_be_read_is_an_error(self):
        with nobody() as directory:
            (directory / "root").mkdir(0)
            with pytest.raises(PermissionError):
                list(walk(directory / "root"))

    def test_a_root_that_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            list(walk(tmp_path / "none"))

    def test_a_root_may_be_a_link(self, root, tmp_path):
        (tmp_path / "link").symlink_to(root)
        assert list(walk(tmp_path / "link")) == list(walk(root))

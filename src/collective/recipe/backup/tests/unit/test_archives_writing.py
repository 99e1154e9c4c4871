"""What any tar gets out of our archives, and what goes into them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import zlib

import pytest

from collective.recipe.backup.blobs.archives import archivewriting
from collective.recipe.backup.blobs.archives.archivecheck import verify_contents
from collective.recipe.backup.blobs.archives.archivewriting import write_delta, write_full
from collective.recipe.backup.blobs.archives.seal import seal, sealed
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.archived import FIRST, SECOND, THIRD, Archived, statuses
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
from collective.recipe.backup.times import LAST_TID

LONG = "/".join(["d" * 110] * 3)
"""Longer than any field of a header."""

each_form = pytest.mark.parametrize("compressed", [False, True], ids=["tar", "tar.gz"])


@pytest.fixture
def archived(tmp_path):
    archived = Archived(tmp_path)
    for number in range(5):
        archived.put(number * 300, number + 1)
    return archived


@pytest.fixture
def rich(archived):
    """A blobstorage with all that may be in one."""
    source = archived.source
    source.chmod(0o750)
    (source / LONG).mkdir(parents=True)
    (source / LONG / ("f" * 200)).write_bytes(b"long")
    for name in ODD_NAMES:
        (source / "odd" / name).mkdir(parents=True)
        (source / "odd" / name / name).write_text(name, errors="surrogateescape")
    (source / "odd" / "link").symlink_to("../0x00")
    (source / "odd" / "long link").symlink_to(f"../{LONG}/{'f' * 200}")
    (source / "odd" / "empty").write_bytes(b"")
    put(source, blob_id(77, 7), os.urandom(3_500_000))
    return archived


def extracted(archived, *archives):
    """Unpack with GNU tar, in order; whatever it says is too much."""
    target = archived.root / "extracted"
    target.mkdir()
    for archive in archives:
        done = subprocess.run(
            ["tar", "xpf", archive.path, "-C", target], check=True, capture_output=True
        )
        assert (done.stdout, done.stderr) == (b"", b"")
    return target


@each_form
@pytest.mark.needs("tar")
def test_plain_tar_gets_the_same_tree(rich, compressed):
    archive, copied = rich.full(compressed=compressed)
    target = extracted(rich, archive)
    assert tree(target) == tree(rich.source)
    assert statuses(target) == statuses(rich.source)
    assert target.stat().st_mode == rich.source.stat().st_mode
    assert copied.files == len(content(rich.source))
    assert copied.size == sum(
        path.stat().st_size
        for path in rich.source.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    assert copied.foreign == len(ODD_NAMES) + 4


@each_form
def test_python_gets_the_same_files(rich, compressed):
    archive, _copied = rich.full(compressed=compressed)
    with tarfile.open(archive.path, errors="surrogateescape", encoding="utf-8") as theirs:
        found = {
            member.name: theirs.extractfile(member).read() for member in theirs if member.isreg()
        }
    assert found == {
        f"./{path}": data for path, data in tree(rich.source).items() if isinstance(data, bytes)
    }


def test_members_are_relative_to_the_storage_and_directories_come_first(archived):
    (archived.source / "notes").mkdir()
    (archived.source / "notes" / "a").write_bytes(b"a")
    archive, _copied = archived.full()
    with tarfile.open(archive.path) as theirs:
        found = theirs.getnames()
    assert found[:4] == [".", "./.layout", "./0x00", "./0x00/0x00"]
    assert found[-2:] == ["./notes", "./notes/a"]
    assert len(found) == len(set(found))


@each_form
def test_equal_storages_give_equal_archives(archived, compressed):
    one, _copied = archived.full(FIRST, compressed=compressed)
    other, _copied = archived.full(SECOND, compressed=compressed)
    assert one.path.read_bytes() == other.path.read_bytes()


@each_form
def test_an_empty_storage_has_an_archive_as_well(tmp_path, compressed):
    archived = Archived(tmp_path)
    archived.full(compressed=compressed)
    target, copied = archived.restored()
    assert tree(target) == {}
    assert (copied.files, copied.size) == (0, 0)


def test_blobs_that_the_filestorage_part_does_not_hold_are_left_out(archived):
    archived.full(until=tid(3))
    target, _copied = archived.restored()
    assert sorted(path.name for path in target.rglob("*.blob")) == [
        "0x01.blob",
        "0x02.blob",
        "0x03.blob",
    ]


def test_what_belongs_to_one_moment_is_left_out(archived):
    (archived.source / "tmp").mkdir()
    (archived.source / "tmp" / "upload").write_bytes(b"half")
    (archived.source / ".lock").write_bytes(b"")
    archived.full()
    target, _copied = archived.restored()
    assert not (target / "tmp").exists()
    assert not (target / ".lock").exists()


@pytest.mark.needs("tar")
def test_deltas_hold_exactly_the_new_blobs(archived):
    full, _copied = archived.full()
    new = [archived.put(4, 11), archived.put(300, 12), archived.put(2**40, 13)]
    archived.put(9, 14)
    one, copied = archived.delta(SECOND, *new[:2])
    assert (copied.files, copied.lost) == (2, 0)
    other, _copied = archived.delta(THIRD, new[2], compressed=True)
    with tarfile.open(one.path) as theirs:
        assert [each.name for each in theirs if each.isreg()] == [
            f"./{Layout.BUSHY.path(blob)}" for blob in new[:2]
        ]
    target = extracted(archived, full, one, other)
    (archived.source / Layout.BUSHY.path(blob_id(9, 14))).unlink()
    assert content(target) == content(archived.source)
    assert content(archived.restored()[0]) == content(archived.source)


def test_a_blob_that_is_asked_for_twice_comes_once(archived):
    archived.full()
    new = archived.put(4, 11)
    _archive, copied = archived.delta(SECOND, new, new)
    assert copied.files == 1
    archived.restored()


def test_blobs_that_are_nowhere_are_counted_and_named(archived):
    archived.full()
    there, gone = archived.put(4, 11), [blob_id(5, number) for number in range(1500)]
    _archive, copied = archived.delta(SECOND, *gone, there)
    assert (copied.files, copied.lost) == (1, 1500)
    assert copied.missing == tuple(gone[:1000])


def test_what_a_pack_took_away_comes_from_where_it_put_it(archived):
    archived.full()
    archive = archived.planned(SECOND, delta=True)
    old = archived.source.with_name("blobstorage.old")
    blob = blob_id(4, 11)
    put(old, blob, b"packed away")
    copied = write_delta(
        [archived.source, old], archive, lambda: [blob], files=Files(), progress=Silent()
    )
    assert (copied.files, copied.lost) == (1, 0)
    target, _copied = archived.restored()
    assert (target / Layout.BUSHY.path(blob)).read_bytes() == b"packed away"


def test_a_delta_builds_on_something(archived):
    with pytest.raises(BackupError, match="could build on") as caught:
        archived.delta(SECOND, blob_id(0, 1))
    assert "full backup" in caught.value.hint
    assert archived.found() == []


def test_a_blob_that_vanishes_meanwhile_is_counted(archived, monkeypatch):
    walk = archivewriting.walk

    def walking(root):
        for entry in walk(root):
            if entry.blob == blob_id(600, 3):
                (root / entry.path).unlink()
                (root / entry.path).parent.rmdir()
            yield entry

    monkeypatch.setattr(archivewriting, "walk", walking)
    _archive, copied = archived.full()
    assert (copied.files, copied.vanished) == (5, 1)
    assert content(archived.restored()[0]) == content(archived.source)


class TestLeftOut:
    """What cannot be packed is left out and named; all else is there."""

    def left_out(self, archived, match, path):
        """Look that an archive of all lacks just *path*, and says why."""
        archive, copied = archived.full()
        assert copied.left_out == 1
        assert copied.left == path
        [reason] = copied.reasons
        assert re.search(match, reason)
        whole = content(archived.source)
        whole.pop(path, None)
        assert content(archived.restored()[0]) == whole
        assert list(verify_contents([archive], progress=Silent())) == []

    def test_a_link_out_of_the_storage(self, archived):
        (archived.source / "link").symlink_to("/etc/passwd")
        self.left_out(archived, "leads out of the blobstorage: .*/link", "link")

    def test_a_link_in_the_place_of_a_blob(self, archived):
        path = archived.source / Layout.BUSHY.path(blob_id(300, 2))
        path.unlink()
        path.symlink_to("elsewhere")
        _archive, copied = archived.full()
        assert (copied.files, copied.lost, copied.missing) == (5, 1, (blob_id(300, 2),))
        assert "symbolic link stands where a blob" in copied.reasons[0]
        _delta, copied = archived.delta(SECOND, blob_id(300, 2))
        assert (copied.lost, copied.missing) == (1, (blob_id(300, 2),))
        assert "symbolic link stands where a blob" in copied.reasons[0]

    def test_a_link_in_the_place_of_a_directory_of_blobs(self, archived):
        archived.full()
        path = archived.source / "0x00"
        path.rename(archived.root / "elsewhere")
        path.symlink_to(archived.root / "elsewhere")
        _archive, copied = archived.full(SECOND)
        assert (copied.files, copied.left_out, copied.left) == (1, 1, "0x00")
        _delta, copied = archived.delta(THIRD, blob_id(0, 1))
        assert (copied.lost, copied.missing) == (1, (blob_id(0, 1),))

    def test_a_named_pipe_is_left_out_of_an_archive(self, archived):
        os.mkfifo(archived.source / "pipe")
        self.left_out(archived, "neither file, directory nor symbolic link: .*/pipe", "pipe")

    def test_what_is_no_file_any_more_when_it_is_opened(self, archived, monkeypatch):
        (archived.source / "file").write_bytes(b"x")
        walk = archivewriting.walk

        def walking(root):
            for entry in walk(root):
                if entry.path == "file" and (root / "file").is_file():
                    (root / "file").unlink()
                    (root / "file").mkdir()
                yield entry

        monkeypatch.setattr(archivewriting, "walk", walking)
        _archive, copied = archived.full()
        assert copied.left == "file"
        assert "not a file any more" in copied.reasons[0]

    @pytest.mark.parametrize("size", [100, 3 << 20])
    def test_a_file_that_cannot_be_read_to_its_end(self, archived, size):
        (archived.source / "log").write_bytes(os.urandom(size))
        with failing_reads(archived.source / "log", after=size // 2):
            self.left_out(archived, "Input/output error: .*/log", "log")

    @pytest.mark.parametrize("size", [100, 3 << 20])
    def test_a_file_that_ends_early(self, archived, size):
        (archived.source / "log").write_bytes(os.urandom(size))
        with failing_reads(archived.source / "log", after=size // 2, number=None):
            self.left_out(archived, r"[0-9,]+ bytes of [0-9,]+ could be read.*/log", "log")

    @pytest.mark.parametrize("size", [100, 3 << 20])
    def test_a_blob_of_which_reading_stumbled_once_is_packed_whole(self, archived, size):
        blob = archived.put(7, 9, os.urandom(size))
        with failing_reads(
            archived.source / Layout.BUSHY.path(blob), after=size // 2, number=None, times=1
        ):
            archive, copied = archived.full()
        assert (copied.lost, copied.reasons) == (0, ())
        assert content(archived.restored()[0]) == content(archived.source)
        assert list(verify_contents([archive], progress=Silent())) == []

    @pytest.mark.parametrize("size", [100, 3 << 20])
    def test_blobs_that_cannot_be_read_are_counted_and_named(self, archived, size):
        blob = archived.put(7, 9, os.urandom(size))
        path = archived.source / Layout.BUSHY.path(blob)
        with failing_reads(path, after=size // 2):
            _archive, copied = archived.full()
            assert (copied.lost, copied.missing) == (1, (blob,))
            other = archived.put(8, 10)
            _delta, copied = archived.delta(SECOND, blob, other)
        assert (copied.files, copied.lost, copied.missing) == (1, 1, (blob,))
        path.unlink()
        assert content(archived.restored()[0]) == content(archived.source)

    def test_a_file_without_permission(self):
        with nobody() as directory:
            archived = Archived(directory)
            archived.put(1, 1)
            (archived.source / "secret").write_bytes(b"x")
            (archived.source / "secret").chmod(0)
            _archive, copied = archived.full()
            assert copied.left == "secret"
            assert "Permission denied" in copied.reasons[0]

    def test_a_directory_without_permission(self):
        with nobody() as directory:
            archived = Archived(directory)
            archived.put(1, 1)
            secret = archived.source / "secret"
            secret.mkdir(0)
            _archive, copied = archived.full()
            secret.chmod(0o700)
            assert (copied.files, copied.left_out, copied.left) == (2, 1, "secret")


class TestRefused:
    def refused(self, archived, match):
        with pytest.raises(BackupError, match=match):
            archived.full()
        assert list(archived.directory.iterdir()) == []

    def test_an_archive_of_a_missing_blobstorage_is_refused(self, archived):
        archived.source.rename(archived.root / "elsewhere")
        self.refused(archived, "no blobstorage here")

    def test_an_archive_in_the_storage_itself(self, archived):
        archive = archived.planned(FIRST)
        archive = type(archive)(path=archived.source / "0x00" / "b.tar", storage="b", stamp=FIRST)
        with pytest.raises(BackupError, match="would lie in the blobstorage"):
            write_full(archived.source, archive, until=LAST_TID, files=Files(), progress=Silent())


class TestSeal:
    @each_form
    def test_a_seal_is_read_as_it_was_written(self, compressed):
        digest = "0123456789abcdef" * 4
        assert sealed(seal(digest, compressed=compressed), compressed=compressed) == digest

    @each_form
    def test_any_other_byte_breaks_it(self, compressed):
        whole = seal("0123456789abcdef" * 4, compressed=compressed)
        for offset in range(len(whole)):
            for mask in (0x01, 0x20, 0x80):
                broken = bytearray(whole)
                broken[offset] ^= mask
                found = sealed(bytes(broken), compressed=compressed)
                assert found is None or found != "0123456789abcdef" * 4

    def test_for_gzip_it_is_an_empty_member(self):
        inflate = zlib.decompressobj(wbits=31)
        assert inflate.decompress(seal("0" * 64, compressed=True)) == b""
        assert inflate.eof

    def test_tar_does_not_read_it(self, archived):
        archive, _copied = archived.full()
        data = archive.path.read_bytes()
        assert data[-512:].startswith(b"collective.recipe.backup BLAKE3 ")
        assert data[-1536:-512] == bytes(1024)
        with (
            tarfile.open(fileobj=io.BytesIO(data[:-512])) as without,
            tarfile.open(archive.path) as whole,
        ):
            assert whole.getnames() == without.getnames()

"""What is restored from archives of ours, and what never is."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from collective.recipe.backup.blobs.archives.archivecheck import is_ours, missing
from collective.recipe.backup.blobs.archives.headers import TarHeader, Type, extended, padding
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.tests.archived import (
    FIRST,
    FOURTH,
    SECOND,
    THIRD,
    Archived,
    statuses,
)
from collective.recipe.backup.tests.blobtrees import blob_id, content, put, tid, tree

each_form = pytest.mark.parametrize("compressed", [False, True], ids=["tar", "tar.gz"])


@pytest.fixture
def archived(tmp_path):
    archived = Archived(tmp_path)
    for number in range(5):
        archived.put(number * 300, number + 1)
    return archived


@each_form
def test_all_comes_back_with_times_and_modes(archived, compressed):
    (archived.source / "notes").mkdir(mode=0o750)
    (archived.source / "notes" / "a").write_bytes(b"a")
    (archived.source / "notes" / "link").symlink_to("a")
    archived.put(77, 7, os.urandom(3_500_000))
    os.utime(archived.source / "notes" / "a", ns=(-1_500_000_000, -1_500_000_000))
    archived.source.chmod(0o751)
    archived.full(compressed=compressed)
    target, copied = archived.restored()
    assert tree(target) == tree(archived.source)
    expected = dict(statuses(archived.source))
    assert statuses(target) == expected
    assert target.stat().st_mode == archived.source.stat().st_mode
    assert (copied.files, copied.linked, copied.foreign) == (9, 0, 3)


class TestChain:
    def test_each_state_comes_back(self, archived):
        states = {}
        archived.full(FIRST)
        states[FIRST] = content(archived.source)
        archived.delta(SECOND, archived.put(5, 11))
        states[f"{SECOND}.delta"] = content(archived.source)
        archived.delta(THIRD, archived.put(5, 12), archived.put(6, 12), compressed=True)
        states[f"{THIRD}.delta"] = content(archived.source)
        archived.put(7, 13)
        archived.full(FOURTH, compressed=True)
        states[FOURTH] = content(archived.source)
        for key, state in states.items():
            assert content(archived.restored(key)[0]) == state
        assert archived.problems() == []

    def test_later_blobs_are_left_out(self, archived):
        archived.full(FIRST)
        archived.delta(SECOND, archived.put(5, 11), archived.put(5, 12))
        target, _copied = archived.restored(until=tid(11))
        assert not (target / Layout.BUSHY.path(blob_id(5, 12))).exists()
        assert (target / Layout.BUSHY.path(blob_id(5, 11))).exists()

    def test_a_blob_that_was_missing_in_the_full_archive_can_come_under_its_stamp(self, archived):
        archived.full(FIRST)
        archived.delta(FIRST, archived.put(5, 1))
        archived.delta(SECOND, archived.put(6, 2))
        assert content(archived.restored()[0]) == content(archived.source)

    def test_a_delta_replaces_what_is_there(self, archived):
        archived.full(FIRST)
        blob = archived.put(0, 1, b"what was damaged is whole now")
        archived.delta(SECOND, blob)
        assert content(archived.restored()[0]) == content(archived.source)

    def test_the_layout_is_that_of_the_full_archive(self, archived):
        """ZODB finds a blob in one layout only: the one that the marker names."""
        archived.full(FIRST)
        bushy = content(archived.source)
        shutil.rmtree(archived.source)
        put(archived.source, blob_id(5, 11), b"new", layout=Layout.LAWN)
        archived.delta(SECOND, blob_id(5, 11))
        target, _copied = archived.restored()
        assert content(target) == {**bushy, Layout.BUSHY.path(blob_id(5, 11)): b"new"}

    def test_an_archive_that_is_missing_is_named(self, archived):
        archived.full(FIRST)
        archived.delta(SECOND, archived.put(5, 11))
        between, _copied = archived.delta(THIRD, archived.put(5, 12))
        archived.delta(FOURTH, archived.put(5, 13))
        between.path.unlink()
        with pytest.raises(IntegrityError, match=f"builds on that of {THIRD}.delta"):
            archived.restored()
        [problem] = archived.problems()
        assert problem.where.endswith(f"{FOURTH}.delta.tar")
        archived.restored(f"{SECOND}.delta")

    def test_a_missing_full_archive_is_named(self, archived):
        full, _copied = archived.full(FIRST)
        archived.delta(SECOND, archived.put(5, 11))
        full.path.unlink()
        with pytest.raises(IntegrityError, match=f"full archive .* missing: .*{SECOND}.delta.tar"):
            archived.restored()
        [problem] = archived.problems()
        assert "full archive" in problem.what

    def test_a_full_archive_under_another_name_is_none(self, archived):
        full, _copied = archived.full(FIRST)
        archived.delta(SECOND, archived.put(5, 11))
        shutil.copy(full.path, archived.directory / f"blobstorage.{SECOND}.delta.tar")
        with pytest.raises(IntegrityError, match="full archive under the name of an incremental"):
            archived.restored()

    def test_ours_are_told_from_others(self, archived):
        assert is_ours(archived.full(FIRST)[0])
        assert is_ours(archived.delta(SECOND, blob_id(0, 1), compressed=True)[0])


class TestLive:
    def restored_over(self, archived):
        """Restore with what the site has; return the names that were linked."""
        target, copied = archived.restored(live=archived.source)
        linked = {
            path.name for path in target.rglob("*") if path.is_file() and path.stat().st_nlink > 1
        }
        assert copied.linked == len(linked)
        return target, linked

    @each_form
    def test_what_is_right_already_is_linked(self, archived, compressed):
        archived.put(77, 7, os.urandom(3_500_000))
        archived.full(compressed=compressed)
        before = content(archived.source)
        target, linked = self.restored_over(archived)
        assert linked == {f"0x0{number}.blob" for number in (1, 2, 3, 4, 5, 7)}
        assert content(target) == before == content(archived.source)

    @pytest.mark.parametrize("size", [10, 3_500_000])
    @pytest.mark.parametrize("at", [0, -1])
    def test_a_live_blob_that_changed_in_place_is_not(self, archived, size, at):
        data = os.urandom(size)
        blob = archived.put(77, 7, data)
        archived.full()
        damaged = bytearray(data)
        damaged[at] ^= 1
        archived.put(77, 7, bytes(damaged))
        target, linked = self.restored_over(archived)
        assert "0x07.blob" not in linked
        assert (target / Layout.BUSHY.path(blob)).read_bytes() == data
        assert (archived.source / Layout.BUSHY.path(blob)).read_bytes() == damaged

    def test_a_live_file_with_another_time_or_size_or_no_blob_is_not_linked(self, archived):
        (archived.source / "note").write_bytes(b"note")
        archived.full()
        os.utime(archived.source / Layout.BUSHY.path(blob_id(0, 1)), (5, 5))
        archived.put(300, 2, b"longer than it was before")
        (archived.source / Layout.BUSHY.path(blob_id(600, 3))).unlink()
        (archived.source / Layout.BUSHY.path(blob_id(600, 3))).symlink_to("elsewhere")
        target, linked = self.restored_over(archived)
        assert linked == {"0x04.blob", "0x05.blob"}
        assert (target / "note").stat().st_nlink == 1

    def test_a_delta_over_what_was_linked_leaves_the_live_file_alone(self, archived):
        archived.full(FIRST)
        before = content(archived.source)
        blob = archived.put(0, 1, b"changed")
        archived.delta(SECOND, blob)
        archived.put(0, 1)
        target, copied = archived.restored(live=archived.source)
        assert copied.linked == 5
        assert content(archived.source) == before
        assert (target / Layout.BUSHY.path(blob)).read_bytes() == b"changed"

    @pytest.mark.parametrize("good", [0, 2_500_000])
    def test_a_live_blob_that_cannot_be_read_is_not_linked(self, archived, monkeypatch, good):
        """Its disk may be the reason for the restore."""
        blob = archived.put(77, 7, os.urandom(3_000_000))
        archived.full()
        pread, damaged = os.pread, str(archived.source / Layout.BUSHY.path(blob))

        def failing(descriptor, size, offset):
            if offset + size > good and os.readlink(f"/proc/self/fd/{descriptor}") == damaged:
                raise OSError(errno.EIO, "Input/output error")
            return pread(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", failing)
        target, linked = self.restored_over(archived)
        assert "0x07.blob" not in linked
        assert content(target) == content(archived.source)

    def test_without_hard_links_it_is_copied(self, archived):
        class Linkless(Files):
            def link(self, source, target):
                return False

        archived.full()
        target, copied = archived.restored(live=archived.source, files=Linkless())
        assert (copied.files, copied.linked) == (6, 0)
        assert content(target) == content(archived.source)

    def test_no_live_storage_is_no_problem(self, archived):
        archived.full()
        _target, copied = archived.restored(live=archived.root / "none")
        assert copied.files == 6


class TestMissing:
    def test_missing_blobs_of_a_chain_are_named(self, archived):
        archived.full(FIRST)
        archived.delta(SECOND, archived.put(5, 11), compressed=True)
        asked = [blob_id(0, 1), blob_id(5, 11), blob_id(5, 12), blob_id(300, 3)]
        assert list(missing(archived.found(), asked)) == asked[2:]
        assert list(missing(archived.found(), [])) == []


def test_the_target_must_be_empty(archived):
    archived.full()
    (archived.root / "restored").symlink_to(archived.directory)
    with pytest.raises((BackupError, OSError)):
        archived.restored()
    assert archived.found()


class TestDamage:
    """A byte of an archive of ours that is not as it was is found, whichever it is."""

    @pytest.fixture
    def small(self, tmp_path):
        archived = Archived(tmp_path)
        put(archived.source, blob_id(1, 1), b"data", layout=Layout.LAWN)
        return archived

    @each_form
    def test_a_flipped_byte_is_found_anywhere(self, small, compressed):
        archive, _copied = small.full(compressed=compressed)
        whole = archive.path.read_bytes()
        for offset in range(len(whole)):
            # of many zeros only a few
            if whole[offset : offset + 40] == bytes(40) and offset % 97:
                continue
            broken = bytearray(whole)
            broken[offset] ^= (0x01, 0x20, 0xFF)[offset % 3]
            archive.path.write_bytes(broken)
            [problem] = small.problems()
            assert problem.where == str(archive.path), offset
            if offset % 7 == 0:
                with pytest.raises(IntegrityError, match="cannot be used") as caught:
                    small.restored()
                assert caught.value.where == str(archive.path), offset

    @each_form
    def test_an_archive_that_is_cut_short_anywhere_is_found(self, small, compressed):
        archive, _copied = small.full(compressed=compressed)
        whole = archive.path.read_bytes()
        for size in range(0, len(whole), 1 if compressed else 61):
            archive.path.write_bytes(whole[:size])
            [problem] = small.problems()
            assert problem.where == str(archive.path)
            with pytest.raises(IntegrityError):
                small.restored()

    @each_form
    def test_bytes_after_the_end_of_an_archive_are_damage(self, small, compressed):
        archive, _copied = small.full(compressed=compressed)
        whole = archive.path.read_bytes()
        for more in (b"\0", b"x", bytes(512), whole):
            archive.path.write_bytes(whole + more)
            assert len(small.problems()) == 1

    @each_form
    def test_in_a_large_one_too(self, small, compressed):
        small.put(2, 2, os.urandom(3_000_000))
        archive, _copied = small.full(compressed=compressed)
        broken = bytearray(archive.path.read_bytes())
        broken[2_000_000] ^= 1
        archive.path.write_bytes(broken)
        assert len(small.problems()) == 1
        with pytest.raises(IntegrityError):
            small.restored(live=small.source)

    def test_one_in_a_chain_is_named_once(self, small):
        small.full()
        archive, _copied = small.delta(SECOND, small.put(2, 2))
        whole = archive.path.read_bytes()
        for size in (0, 100, 600, len(whole) - 1):
            archive.path.write_bytes(whole[:size])
            [problem] = small.problems()
            assert problem.where == str(archive.path)
            with pytest.raises(IntegrityError) as caught:
                small.restored()
            assert caught.value.where == str(archive.path)
            small.restored(FIRST)

    def test_an_archive_that_is_gone_is_damage(self, small):
        archive, _copied = small.full()
        archive.path.unlink()
        from collective.recipe.backup.blobs.archives.archivereading import members

        with pytest.raises(IntegrityError, match="archive is missing"):
            list(members(archive, lambda _size: None))


FILE = Type.FILE


def member(name: bytes, data: bytes = b"", kind: Type = FILE, link: bytes = b"") -> bytes:
    return TarHeader(kind, name, len(data), link=link).encode() + data + padding(len(data))


class TestHostile:
    """Archives that were made to do harm: refused, the member named, nothing outside written."""

    @pytest.fixture
    def hostile(self, tmp_path):
        archived = Archived(tmp_path)
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_bytes(b"mine")
        return archived

    def refused(self, hostile, name, *members, deltas=()):
        hostile.planned(FIRST).path.write_bytes(b"".join(members) + bytes(1024))
        before = tree(hostile.root / "outside")
        with pytest.raises(IntegrityError) as caught:
            hostile.restored()
        assert name in str(caught.value)
        assert str(hostile.planned(FIRST).path) in str(caught.value)
        assert tree(hostile.root / "outside") == before
        assert {path.name for path in hostile.root.iterdir()} <= {
            "site",
            "backups",
            "outside",
            "restored",
        }

    @pytest.mark.parametrize(
        "name",
        [
            b"/etc/passwd",
            b"//etc/passwd",
            b"../outside/file",
            b"./../outside/file",
            b"a/../../outside/file",
            b"..",
            b"./a/..",
            b"",
            b".",
        ],
    )
    def test_names_that_lead_out(self, hostile, name):
        self.refused(hostile, repr(name.decode()), member(name, b"theirs"))
        long = name + b"/" + b"x" * 300
        self.refused(hostile, "blobstorage.", member(long if name.strip(b".") else name, b""))

    def test_hostile_names_in_extended_headers_are_refused(self, hostile):
        self.refused(
            hostile, "../outside/new", extended({b"path": b"../outside/new"}), member(b"good")
        )
        self.refused(hostile, "blobstorage", extended({b"path": b"a\0b"}), member(b"good"))

    @pytest.mark.parametrize(
        "text", [b"/etc", b"..", b"../outside", b"a/../..", b"./../outside", b""]
    )
    def test_symbolic_links_that_lead_out(self, hostile, text):
        self.refused(hostile, "'link'", member(b"link", kind=Type.SYMBOLIC_LINK, link=text))

    def test_nothing_goes_through_a_symbolic_link(self, hostile):
        link = member(b"a/link", kind=Type.SYMBOLIC_LINK, link=b"../b")
        directory = member(b"b/", kind=Type.DIRECTORY)
        self.refused(hostile, "'a/link'", directory, link, member(b"a/link/file", b"x"))
        self.refused(hostile, "'a/link'", directory, link, member(b"a/link/", kind=Type.DIRECTORY))

    def test_a_file_in_the_place_of_a_link(self, hostile):
        link = member(b"a", kind=Type.SYMBOLIC_LINK, link=b"b")
        self.refused(hostile, "'a' twice", member(b"b", b"b"), link, member(b"a", b"x"))

    @pytest.mark.parametrize(
        "link", [b"/etc/passwd", b"../outside/file", b"nothing", b"directory", b"directory/link/x"]
    )
    def test_hard_links_to_what_the_archive_does_not_hold(self, hostile, link):
        self.refused(
            hostile,
            "",
            member(b"directory/", kind=Type.DIRECTORY),
            member(b"directory/x", b"x"),
            member(b"directory/link", kind=Type.SYMBOLIC_LINK, link=b"."),
            member(b"hard", kind=Type.HARD_LINK, link=link),
        )

    @pytest.mark.parametrize(
        "kind", [Type.CHARACTER_DEVICE, Type.BLOCK_DEVICE, Type.PIPE, Type.GNU_SPARSE]
    )
    def test_devices_and_the_like(self, hostile, kind):
        self.refused(hostile, "'thing' is a ", member(b"thing", kind=kind))

    def test_sparse_files_of_newer_formats(self, hostile):
        self.refused(hostile, "'s'", extended({b"GNU.sparse.major": b"1"}), member(b"s", b"x"))

    def test_a_type_that_nobody_knows(self, hostile):
        block = bytearray(member(b"thing"))
        block[156] = ord("Z")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        self.refused(hostile, "unknown type", bytes(block))

    def test_a_name_that_comes_twice(self, hostile):
        self.refused(hostile, "'a' twice", member(b"a", b"1"), member(b"./a", b"2"))
        self.refused(hostile, "'a' twice", member(b"a/", kind=Type.DIRECTORY), member(b"a", b"2"))
        self.refused(hostile, "'a' is no dir", member(b"a", b"1"), member(b"a/b", b"2"))

    def test_a_name_that_comes_twice_in_a_delta(self, hostile):
        hostile.full(FIRST)
        delta = hostile.planned(SECOND, delta=True)
        (hostile.directory / f"blobstorage.{FIRST}.snar").write_bytes(b"GNU tar-1.34-2\n")
        delta.path.write_bytes(member(b"a", b"1") + member(b"a", b"2") + bytes(1024))
        with pytest.raises(IntegrityError, match="'a' twice"):
            hostile.restored()

    def test_content_where_there_is_none(self, hostile):
        self.refused(hostile, "'a/'", member(b"a/", b"data", kind=Type.DIRECTORY))
        self.refused(hostile, "'b'", member(b"a"), member(b"b", b"data", Type.HARD_LINK, link=b"a"))

    def test_sizes_beyond_the_end(self, hostile):
        self.refused(hostile, "'a' is cut short", TarHeader(FILE, b"a", 2**50).encode())
        self.refused(hostile, "a", TarHeader(Type.EXTENDED, b"a", 2**50).encode())
        self.refused(hostile, "a", TarHeader(Type.GNU_LONG_NAME, b"a", 2**50).encode())

    def test_privileges_are_not_restored(self, hostile):
        archive = TarHeader(FILE, b"a", mode=0o6755).encode() + bytes(1024)
        hostile.planned(FIRST).path.write_bytes(archive)
        target, _copied = hostile.restored()
        assert (target / "a").stat().st_mode & 0o7777 == 0o755

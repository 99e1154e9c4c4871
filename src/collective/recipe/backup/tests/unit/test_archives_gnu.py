"""What GNU tar wrote for older releases is restored, and refused where it cannot be whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

import pytest

from collective.recipe.backup.blobs.archives.archivecheck import is_ours, missing
from collective.recipe.backup.blobs.archives.archivestaging import stage
from collective.recipe.backup.blobs.archives.gnu import Dumpdir
from collective.recipe.backup.blobs.archives.headers import TarHeader, Type, padding
from collective.recipe.backup.contents import STAGED
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.archived import (
    FIRST,
    SECOND,
    THIRD,
    Archived,
    statuses,
)
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, content, tid, tree
from collective.recipe.backup.times import LAST_TID

LONG = "/".join(["d" * 110] * 3)

each_form = pytest.mark.parametrize("compressed", [False, True], ids=["tar", "tar.gz"])
each_format = pytest.mark.parametrize("option", ["--format=gnu", "--format=posix"])


@pytest.fixture
def archived(tmp_path):
    archived = Archived(tmp_path)
    for number in range(5):
        archived.put(number * 300, number + 1)
    return archived


def in_seconds(found):
    """Return statuses as far as GNU's format keeps them."""
    return {
        path: (mode, size, time and time // 10**9, owner)
        for path, (mode, size, time, owner) in found.items()
    }


@pytest.mark.needs("tar")
class TestPlain:
    @each_form
    @pytest.mark.parametrize("key", [FIRST, 0])
    @pytest.mark.parametrize("option", ["--format=gnu", "--format=posix", "--format=ustar"])
    def test_a_full_archive_comes_back(self, archived, compressed, key, option):
        source = archived.source
        (source / ("n" * 90)).mkdir()
        (source / ("n" * 90) / ("m" * 90)).write_bytes(b"long")
        (source / "link").symlink_to("0x00")
        for name in ODD_NAMES if option == "--format=gnu" else ():
            (source / name).write_bytes(b"odd")
        archived.put(77, 7, os.urandom(3_000_000))
        archived.tar(key, option, compressed=compressed)
        assert not is_ours(archived.found()[0])
        assert archived.problems() == []
        target, _copied = archived.restored()
        assert tree(target) == tree(source)
        assert in_seconds(statuses(target)) == in_seconds(statuses(source))

    @each_format
    def test_hard_links_and_long_names(self, archived, option):
        source = archived.source
        (source / LONG).mkdir(parents=True)
        (source / LONG / ("f" * 200)).write_bytes(b"long")
        os.link(source / LONG / ("f" * 200), source / ("g" * 120))
        (source / "link").symlink_to(LONG)
        archived.tar(FIRST, option)
        target, _copied = archived.restored()
        assert tree(target) == tree(source)
        assert (target / ("g" * 120)).stat().st_nlink == 2

    def test_blobs_that_the_site_has_are_linked_although_tar_keeps_whole_seconds(self, archived):
        archived.tar(FIRST)
        _target, copied = archived.restored(live=archived.source)
        assert (copied.files, copied.linked) == (1, 5)

    def test_later_blobs_are_left_out(self, archived):
        archived.tar(FIRST)
        target, _copied = archived.restored(until=tid(2))
        assert len(list(target.rglob("*.blob"))) == 2

    def test_a_dumpdir_that_is_cut_short_is_found(self, archived):
        archive = archived.tar(FIRST)
        whole = archive.path.read_bytes()
        end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
        for size in (0, 511, 512, 1000, end - 512, end, end + 512):
            archive.path.write_bytes(whole[:size])
            assert len(archived.problems()) == 1, size
            with pytest.raises(IntegrityError) as caught:
                archived.restored()
            assert caught.value.where == str(archive.path)

    def test_damage_to_a_compressed_one_is_found_or_does_no_harm(self, archived):
        """GNU tar keeps no digests, but gzip does; a few bits in it mean nothing."""
        archive = archived.tar(FIRST, compressed=True)
        whole = archive.path.read_bytes()
        offsets = range(0, len(whole), 11)
        found = 0
        for offset in offsets:
            broken = bytearray(whole)
            broken[offset] ^= 0x10
            archive.path.write_bytes(broken)
            problems = archived.problems()
            found += len(problems)
            if not problems:
                assert tree(archived.restored()[0]) == tree(archived.source), offset
        assert found > 0.9 * len(offsets)


@pytest.mark.needs("tar")
class TestIncremental:
    def changed(self, archived):
        """Change all that can be changed, as nobody does to blobs.

        What is made is made before directories go: an inode that is used again looks like a
        rename to GNU tar, and over a file that was there it cannot unpack it (TestRenames).
        """
        source = archived.source
        (source / "renamed").rename(source / "it was renamed")
        (source / "file").unlink()
        (source / "file").mkdir()
        (source / "file" / "x").write_bytes(b"x")
        (source / "notes").write_bytes(b"changed")
        (source / "link").unlink()
        (source / "link").symlink_to("b")
        (source / LONG / ("n" * 150)).write_bytes(b"new")
        archived.put(5, 11)
        (source / "0x00/0x00/0x00/0x00/0x00/0x00/0x01/0x2c/0x02.blob").unlink()
        shutil.rmtree(source / "0x00/0x00/0x00/0x00/0x00/0x00/0x02")
        shutil.rmtree(source / "directory")
        (source / "directory").write_bytes(b"now a file")

    @pytest.fixture
    def rich(self, archived):
        source = archived.source
        for name in ("renamed", "a", "b", "directory", LONG, "odd"):
            (source / name).mkdir(parents=True)
            (source / name / "in it").write_text(name)
        for name in ODD_NAMES:
            (source / "odd" / name).write_bytes(os.fsencode(name))
        (source / "file").write_bytes(b"file")
        (source / "notes").write_bytes(b"notes")
        (source / "link").symlink_to("a")
        return archived

    def test_swapped_directories_are_swapped(self, rich):
        """Once: GNU tar 1.34 says it again in each later archive, and unpacks it wrong then."""
        rich.tar(FIRST, snar=FIRST)
        (rich.source / "a").rename(rich.source / "aside")
        (rich.source / "b").rename(rich.source / "a")
        (rich.source / "aside").rename(rich.source / "b")
        rich.tar(SECOND, snar=FIRST)
        assert tree(rich.restored()[0]) == tree(rich.source)

    @each_form
    @each_format
    def test_each_state_comes_back_deletions_and_renames_included(self, rich, compressed, option):
        if option == "--format=posix":
            # what is no UTF-8 has no name in that format
            shutil.rmtree(rich.source / "odd")
        states = {}
        rich.tar(FIRST, option, compressed=compressed, snar=FIRST)
        states[FIRST] = tree(rich.source), statuses(rich.source)
        self.changed(rich)
        rich.tar(SECOND, option, compressed=compressed, snar=FIRST)
        states[f"{SECOND}.delta"] = tree(rich.source), statuses(rich.source)
        shutil.rmtree(rich.source / "it was renamed")
        rich.put(6, 12)
        rich.tar(THIRD, option, snar=FIRST)
        states[f"{THIRD}.delta"] = tree(rich.source), statuses(rich.source)
        assert rich.problems() == []
        for key, (state, details) in states.items():
            target, _copied = rich.restored(key)
            assert tree(target) == state, key
            assert in_seconds(statuses(target)) == in_seconds(details), key

    def test_live_blobs_are_linked_in_each_and_never_changed(self, rich):
        rich.tar(FIRST, snar=FIRST)
        self.changed(rich)
        rich.tar(SECOND, snar=FIRST)
        before = tree(rich.source)
        target, copied = rich.restored(live=rich.source)
        assert tree(target) == before == tree(rich.source)
        assert copied.linked == 4

    def test_a_directory_on_another_disk_stays_there(self, archived):
        """The list of each directory says D where a link leads to the room of that disk."""
        room = archived.root / "disk" / STAGED
        room.mkdir(parents=True)
        target = archived.root / "restored"
        target.mkdir()
        (target / "0x00").symlink_to(room)
        archived.tar(FIRST, snar=FIRST)
        archived.put(5, 11)
        archived.tar(SECOND, snar=FIRST)
        stage(
            archived.found(),
            target,
            live=None,
            until=LAST_TID,
            files=Files(),
            progress=Silent(),
        )
        assert (target / "0x00").is_symlink()
        assert content(room) == content(archived.source / "0x00")

    def test_our_deltas_build_on_it(self, archived):
        archived.tar(FIRST, snar=FIRST)
        archived.put(5, 11)
        archived.tar(SECOND, snar=FIRST)
        archived.delta(THIRD, archived.put(6, 12))
        assert archived.problems() == []
        target, _copied = archived.restored()
        assert content(target) == content(archived.source)
        assert list(missing(archived.found(), [blob_id(5, 11), blob_id(7, 1)])) == [blob_id(7, 1)]

    def test_blobs_after_the_moment_are_no_gap(self, archived):
        archived.tar(FIRST, snar=FIRST)
        archived.put(5, 11)
        archived.tar(SECOND, snar=FIRST)
        archived.put(5, 12)
        archived.tar(THIRD, snar=FIRST)
        target, _copied = archived.restored(until=tid(5))
        assert sorted(path.name for path in target.rglob("*.blob")) == [
            f"0x0{number}.blob" for number in range(1, 6)
        ]

    def test_a_missing_one_in_between_is_named(self, archived):
        archived.tar(FIRST, snar=FIRST)
        archived.put(5, 11)
        between = archived.tar(SECOND, snar=FIRST)
        archived.put(5, 12)
        last = archived.tar(THIRD, snar=FIRST)
        between.path.unlink()
        with pytest.raises(
            IntegrityError, match=r"an earlier archive that holds .*0x0b\.blob"
        ) as caught:
            archived.restored()
        assert caught.value.where == str(last.path)

    def test_an_empty_snar_is_refused(self, archived):
        """A full backup that failed left it; what came next is no increment of anything."""
        archived.tar(FIRST, snar=FIRST)
        archived.put(5, 11)
        archived.tar(SECOND, snar=FIRST)
        archived.snar(FIRST).write_bytes(b"")
        with pytest.raises(IntegrityError, match="builds is empty") as caught:
            archived.restored()
        assert caught.value.where == str(archived.snar(FIRST))
        assert [each.where for each in archived.problems()] == [str(archived.snar(FIRST))]
        archived.restored(FIRST)

    def test_a_missing_snar_is_refused(self, archived):
        archived.tar(FIRST, snar=FIRST)
        archived.tar(SECOND, snar=FIRST)
        archived.snar(FIRST).unlink()
        with pytest.raises(IntegrityError, match="builds is missing") as caught:
            archived.restored()
        assert caught.value.where == str(archived.snar(FIRST))

    def test_a_missing_base_is_refused_even_if_an_older_one_is_there(self, archived):
        archived.tar(FIRST, snar=FIRST)
        base = archived.tar(SECOND, snar=SECOND)
        archived.put(5, 11)
        archived.tar(THIRD, snar=SECOND)
        base.path.unlink()
        with pytest.raises(IntegrityError, match="full archive that belongs to") as caught:
            archived.restored()
        assert caught.value.where == str(base.path)
        assert [each.where for each in archived.problems()] == [str(base.path)]
        archived.restored(FIRST)

    def test_a_full_archive_without_snar_begins_no_chain(self, archived):
        archived.tar(FIRST, snar=FIRST)
        archived.tar(SECOND)
        archived.tar(THIRD, snar=FIRST)
        with pytest.raises(IntegrityError, match="full archive that belongs to"):
            archived.restored()
        archived.restored(SECOND)

    def test_plain_tar_gets_the_same_from_it(self, rich):
        """Our reading of the format is compared with its author's."""
        archives = [rich.tar(FIRST, snar=FIRST)]
        self.changed(rich)
        archives.append(rich.tar(SECOND, snar=FIRST))
        theirs = rich.root / "theirs"
        theirs.mkdir()
        for archive in archives:
            command = ["tar", "xpf", archive.path, "--incremental", "-C", theirs]
            subprocess.run(command, check=True, cwd=rich.root)
        ours, _copied = rich.restored()
        assert tree(ours) == tree(theirs)
        assert statuses(ours).keys() == statuses(theirs).keys()


class TestDumpdir:
    def test_a_dumpdir_has_names_and_renames(self):
        found = Dumpdir(b"Ya\0Nb\0Dc\0X./\0R./d\0T\0R./e\0T./d\0R\0T./e\0\0")
        assert found.names() == {b"a": ord("Y"), b"b": ord("N"), b"c": ord("D")}
        assert found.renames == ((b"./d", None), (b"./e", b"./d"), (None, b"./e"))
        assert list(found.unchanged()) == [b"b"]

    def test_of_an_empty_directory_it_is_a_byte(self):
        assert Dumpdir(b"\0").names() == {}

    @pytest.mark.parametrize(
        "data",
        [b"", b"Ya", b"Za\0\0", b"R./a\0\0", b"R./a\0Yb\0\0", b"Y\0\0", b"Y..\0\0", b"Da/b\0\0"],
    )
    def test_a_damaged_dumpdir_is_refused(self, data):
        with pytest.raises(ValueError, match="list of a directory"):
            Dumpdir(data)


class Handmade(Archived):
    """An archive with one file, ``a/x``, and an incremental one made by hand."""

    def __init__(self, root):
        super().__init__(root)
        self.first = [(Type.DIRECTORY, b"./a/", b""), (Type.FILE, b"./a/x", b"old")]

    def add(self, *members):
        self.planned(FIRST).path.write_bytes(archive(*self.first))
        self.snar(FIRST).write_bytes(b"GNU tar-1.34-2\n")
        self.planned(SECOND, delta=True).path.write_bytes(archive(*members))

    def refused(self, dumpdir, name):
        self.add((Type.GNU_DUMPDIR, b"./", dumpdir))
        with pytest.raises(IntegrityError) as caught:
            self.restored()
        assert name in str(caught.value)
        assert caught.value.where == str(self.planned(SECOND, delta=True).path)
        assert tree(self.source) == {}
        assert {path.name for path in self.root.iterdir()} == {"site", "backups", "restored"}


def archive(*members):
    parts = []
    for kind, name, data in members:
        link = data if kind is Type.SYMBOLIC_LINK else b""
        body = b"" if link else data
        parts.append(
            TarHeader(kind, name, len(body), link=link).encode() + body + padding(len(body))
        )
    return b"".join(parts) + bytes(1024)


class TestRenames:
    """Lists of renames as only a file system that uses inodes again makes them, or an enemy."""

    @pytest.fixture
    def handmade(self, tmp_path):
        return Handmade(tmp_path)

    @pytest.mark.parametrize("path", [b"../site", b"/etc", b"a/../../site"])
    def test_from_and_to_elsewhere(self, handmade, path):
        handmade.refused(b"Da\0R" + path + b"\0T./b\0\0", path.decode())
        handmade.refused(b"Da\0R./a\0T" + path + b"\0\0", path.decode())
        handmade.refused(b"Da\0R" + path + b"\0T\0\0", path.decode())

    def test_a_directory_renamed_into_itself_is_refused(self, handmade):
        handmade.refused(b"Da\0R./a\0T./a/b\0\0", "'a/b' was renamed into itself")

    def test_half_a_swap_of_directories_is_refused(self, handmade):
        handmade.refused(b"R./a\0T\0\0", "renamed directories is incomplete")
        handmade.first.append((Type.DIRECTORY, b"./b/", b""))
        handmade.refused(b"R./a\0T\0R./b\0T\0R\0T./c\0\0", "renamed directories is incomplete")

    def test_a_rename_that_makes_a_link_lead_out_is_refused(self, handmade):
        handmade.first = [
            (Type.DIRECTORY, b"./a/b/c/", b""),
            (Type.SYMBOLIC_LINK, b"./a/b/c/link", b"../../.."),
        ]
        handmade.refused(b"Da\0R./a/b/c\0T./c\0Dc\0\0", "'c/link' is a symbolic link out")

    def test_a_directory_that_only_got_the_inode_of_another_is_a_new_one(self, handmade):
        handmade.add(
            (Type.GNU_DUMPDIR, b"./", b"Db\0R./a\0T./b\0\0"),
            (Type.GNU_DUMPDIR, b"./b/", b"Yy\0\0"),
            (Type.FILE, b"./b/y", b"new"),
        )
        assert tree(handmade.restored()[0]) == {"b": None, "b/y": b"new"}

    @pytest.mark.parametrize(
        "renames",
        [
            b"R./gone\0T./a\0",
            b"R./b\0T./a\0",
            b"R\0T./a\0",
            b"R./b\0T\0R\0T./a\0",
            b"R./gone\0T\0R\0T./a\0",
        ],
    )
    def test_an_impossible_rename_does_no_harm_if_all_is_new(self, handmade, renames):
        handmade.first.append((Type.DIRECTORY, b"./b/", b""))
        handmade.add(
            (Type.GNU_DUMPDIR, b"./", b"Da\0" + renames + b"\0"),
            (Type.GNU_DUMPDIR, b"./a/", b"Yx\0Yy\0\0"),
            (Type.FILE, b"./a/x", b"newer"),
            (Type.FILE, b"./a/y", b"new"),
        )
        assert tree(handmade.restored()[0]) == {"a": None, "a/x": b"newer", "a/y": b"new"}

    def test_an_impossible_rename_is_refused_if_not_all_is_new(self, handmade):
        handmade.first += [(Type.DIRECTORY, b"./b/", b""), (Type.FILE, b"./b/x", b"other")]
        handmade.add(
            (Type.GNU_DUMPDIR, b"./", b"Da\0R./b\0T./a\0\0"),
            (Type.GNU_DUMPDIR, b"./a/", b"Nx\0\0"),
        )
        with pytest.raises(IntegrityError, match="does not tell which 'a/x' is meant"):
            handmade.restored()

    def test_a_file_in_the_place_of_a_directory_that_no_list_says_is_gone(self, handmade):
        handmade.add((Type.FILE, b"./a", b"file"))
        with pytest.raises(IntegrityError, match="'a' is a directory in an earlier archive"):
            handmade.restored()

    def test_a_swap_leaves_nothing_behind_if_it_cannot_be(self, handmade):
        handmade.add(
            (Type.GNU_DUMPDIR, b"./", b"Db\0Dc\0R./a\0T\0R\0T./b\0R./x\0T./c\0\0"),
            (Type.GNU_DUMPDIR, b"./b/", b"Nx\0\0"),
            (Type.GNU_DUMPDIR, b"./c/", b"\0"),
        )
        assert tree(handmade.restored()[0]) == {"b": None, "b/x": b"old", "c": None}


def test_what_is_refused_is_read_no_further_although_its_error_is_kept(tmp_path) -> None:
    """A thread left to the garbage collector can stop the next one that is started."""
    handmade = Handmade(tmp_path)
    handmade.add((Type.GNU_DUMPDIR, b"./", b"Da\0R./a\0T./a/b\0\0"), (Type.FILE, b"./b", b"new"))

    with pytest.raises(IntegrityError) as caught:
        handmade.restored()

    assert "'a/b' was renamed into itself" in str(caught.value)
    assert [each.name for each in threading.enumerate() if each.name.startswith("read")] == []


@pytest.mark.parametrize(
    "number", ["mtime=99999999999999", "mtime=-99999999999999", "size=9223372036854775808"]
)
def test_numbers_that_no_file_has_are_refused(tmp_path, number) -> None:
    """Handmade.restored sees to it that a list is refused with the words of a restore."""
    handmade = Handmade(tmp_path)
    record = f"{number}\n"
    size = len(record) + 3
    handmade.first.insert(1, (Type.EXTENDED, b"x", f"{size} {record}".encode("ascii")))
    handmade.planned(FIRST).path.write_bytes(archive(*handmade.first))

    with pytest.raises(IntegrityError, match="impossible values") as caught:
        handmade.restored()

    assert caught.value.where == str(handmade.planned(FIRST).path)


@pytest.mark.parametrize("owner", [{"uid": 1 << 32}, {"gid": (1 << 32) - 1}, {"uid": -1}])
def test_an_owner_that_no_file_has_is_refused(tmp_path, owner) -> None:
    handmade = Handmade(tmp_path)
    header = TarHeader(name=b"./x", type=Type.FILE, **owner)
    handmade.planned(FIRST).path.write_bytes(header.encode() + bytes(10240))

    with pytest.raises(IntegrityError, match="impossible values"):
        handmade.restored()

"""Further files of a site in a repository: what comes back, what is read, and what is told."""

from __future__ import annotations

import errno
import json
import os
import random
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth, room
from collective.recipe.backup.destinations.repository import treefiles, treepages, treewalk
from collective.recipe.backup.destinations.repository.chunkorigins import ChunkOrigins
from collective.recipe.backup.destinations.repository.filecuts import LEAST, MOST, cut_pieces
from collective.recipe.backup.destinations.repository.kinds import FILE
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.destinations.repository.sitecopies import SiteCopies
from collective.recipe.backup.destinations.repository.storedtrees import tree_entries, tree_root
from collective.recipe.backup.destinations.repository.treebackup import LiveFiles
from collective.recipe.backup.destinations.repository.wantedfiles import Exclusions, WantedFiles
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repository.chunks import Node
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.pointcopying import copy as copy_points
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.placedfiles import place_files
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests import treereader
from collective.recipe.backup.tests.repositories import PASSPHRASE
from collective.recipe.backup.tests.repositoryreader import RepositoryReader
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import utcnow
from collective.recipe.backup.unreadable import CannotReadError


class SiteWithFiles(OperatedInRepository):
    """A site of which what lies in *etc* is backed up as well."""

    def __init__(self, directory: Path, **more: object) -> None:
        super().__init__(Site(directory / "site"), keep=0)
        self.site.commit({"a": 1}, {"b": b"blob"})
        self.etc = directory / "etc"
        self.etc.mkdir()
        wanted = WantedFiles(paths=(self.etc,), **more)
        self.repository_place = replace(self.repository_place, files=wanted)
        # later than any change of these files, so that they need not be read again
        self.now = utcnow() + timedelta(days=1)

    def files(self, to: Path, when: object = None) -> dict[str, tuple[object, ...]]:
        """Return what a restore to the directory *to* brings of the files."""
        destination = self.destination()
        with destination.open(choose(destination.restore_points(), when)) as state:
            assert state.files is not None
            place_files(state.files, to, Files(), Silent())
        return looks(to / "files" / str(self.etc).lstrip("/"))


def looks(top: Path) -> dict[str, tuple[object, ...]]:
    """Return all that a tree of files should keep, by the paths of what lies there."""
    found = {}
    for path in (top, *sorted(top.rglob("*"))):
        status = path.lstat()
        what: object = None
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = path.read_bytes()
        kind, mode = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
        owner = status.st_uid, status.st_gid
        times = None if path.is_symlink() else status.st_mtime_ns
        found[str(path.relative_to(top))] = kind, mode, owner, times, what
    return found


@pytest.fixture
def operated(tmp_path):
    return SiteWithFiles(tmp_path)


def test_files_come_back_as_they_were(operated, tmp_path):
    etc = operated.etc
    (etc / "empty").touch()
    (etc / "sub" / "deeper").mkdir(parents=True)
    (etc / "sub" / "zope.conf").write_bytes(b"conf")
    (etc / "sub" / "zope.conf").chmod(0o640)
    os.utime(etc / "sub" / "zope.conf", ns=(1, 1_700_000_000_123_456_789))
    (etc / "link").symlink_to("sub/nowhere")
    (etc / os.fsdecode(b"\xff not utf-8\n")).write_bytes(b"odd")
    os.link(etc / "sub" / "zope.conf", etc / "other name")
    (etc / "sub" / "deeper").chmod(0o755)
    (etc / "sub").chmod(0o2750)
    os.utime(etc / "sub", ns=(5, 5_000_000_001))
    operated.backup()

    assert operated.files(tmp_path / "to") == looks(etc)
    back = tmp_path / "to" / "files" / str(etc).lstrip("/")
    assert (back / "other name").samefile(back / "sub" / "zope.conf")


def test_holes_of_a_further_file_stay_holes(operated, tmp_path):
    path = operated.etc / "sparse"
    with path.open("wb") as file:
        file.write(b"begin")
        file.seek(5 << 20)
        file.write(b"middle")
        file.truncate(9 << 20)
    operated.backup()
    operated.files(tmp_path / "to")

    back = tmp_path / "to" / "files" / str(path).lstrip("/")
    assert back.read_bytes() == path.read_bytes()
    assert back.stat().st_blocks == path.stat().st_blocks < 1000


def test_a_backup_with_no_file_changed_reads_none_and_adds_no_restore_point(operated, monkeypatch):
    (operated.etc / "file").write_bytes(b"one")
    assert operated.backup().changed
    monkeypatch.setattr(treewalk, "store_contents", None)
    assert not operated.backup().changed
    operated.site.commit({"a": 2})
    assert operated.backup().changed


def test_a_changed_file_alone_makes_a_restore_point(operated, tmp_path):
    (operated.etc / "file").write_bytes(b"one")
    first = operated.backup().point
    (operated.etc / "file").write_bytes(b"two")
    (operated.etc / "new").write_bytes(b"new")
    assert operated.backup().changed

    assert operated.files(tmp_path / "new")["file"][-1] == b"two"
    old = operated.files(tmp_path / "old", first.moment)
    assert (old["file"][-1], "new" in old) == (b"one", False)


def test_a_file_changed_just_before_a_backup_is_read_by_the_next_one(operated, tmp_path):
    path = operated.etc / "file"
    path.write_bytes(b"one")
    operated.now = utcnow() - timedelta(hours=1)
    operated.backup()
    before, read = path.stat(), []
    keep = treewalk.store_contents

    def noting(path, store):
        read.append(path)
        return keep(path, store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treewalk, "store_contents", noting)
        assert not operated.backup().changed
    assert (path.stat(), read) == (before, [str(path)])


def test_one_new_file_among_many_writes_one_page_anew(operated):
    for number in range(1000):
        (operated.etc / f"{number:04}").touch()
    operated.backup()
    pages = []
    keep = treewalk.written_tree_page

    def noting(entries):
        pages.append(len(entries))
        return keep(entries)

    (operated.etc / "0500 new").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treewalk, "written_tree_page", noting)
        added = operated.backup().point.stored
    assert len(pages) > 2
    assert max(pages) <= 512
    assert added < 40_000


def test_bytes_that_moved_within_a_file_are_not_stored_again(operated):
    data = random.Random(1).randbytes(20 << 20)
    (operated.etc / "dump").write_bytes(data)
    first = operated.backup().point.stored
    (operated.etc / "dump").write_bytes(b"one line more\n" + data[: 8 << 20] + data[9 << 20 :])
    assert operated.backup().point.stored < first / 4


@pytest.mark.parametrize("data", [b"", b"a", bytes(5 << 20), b"ab\x00e" * (3 << 18)])
def test_pieces_put_together_are_the_file(data):
    at = 0

    def read(size):
        nonlocal at
        at += min(size, 70_000)
        return data[at - min(size, 70_000) : at]

    pieces = list(cut_pieces(read))
    assert b"".join(pieces) == data
    assert all(LEAST <= len(piece) <= MOST for piece in pieces[:-1])


def test_a_file_of_many_pieces_comes_back(operated, tmp_path, monkeypatch):
    monkeypatch.setattr(treefiles, "PIECES_OF_A_LIST", 3)
    monkeypatch.setattr(treefiles, "PIECES_NAMED", 2)
    data = random.Random(2).randbytes(9 << 20)
    (operated.etc / "large").write_bytes(data)
    operated.backup()
    assert operated.files(tmp_path / "to")["large"][-1] == data


def test_what_is_no_file_is_named_and_the_rest_is_backed_up(operated, tmp_path):
    os.mkfifo(operated.etc / "pipe")
    # of bind(), no path may have more than 107 bytes
    os.mknod(operated.etc / "socket", stat.S_IFSOCK | 0o600)
    (operated.etc / "file").write_bytes(b"file")
    [note] = operated.backup().notes
    assert note.startswith("2 sockets, pipes and devices left out: ")
    for name in ("pipe", "socket"):
        assert str(operated.etc / name) in note
    assert set(operated.files(tmp_path / "to")) == {".", "file"}


def test_a_file_that_changes_while_it_is_read_is_read_twice_and_named(
    operated, tmp_path, caplog, monkeypatch
):
    path = operated.etc / "log"
    path.write_bytes(b"0")
    keep = treefiles.cut_pieces
    times = []

    def growing(read):
        yield from keep(read)
        times.append(1)
        with path.open("ab") as file:
            file.write(b"1")

    monkeypatch.setattr(treefiles, "cut_pieces", growing)
    outcome = operated.backup()
    assert len(times) == 2
    assert f"{path}: it changed while it was read" in caplog.text
    assert "1 further file left out or changed meanwhile" in outcome.notes
    assert outcome.point.whole
    assert operated.files(tmp_path / "to")["log"][-1] == b"01"


def test_a_file_that_vanishes_while_the_backup_runs_is_named(
    operated, tmp_path, caplog, monkeypatch
):
    gone = operated.etc / "gone"
    gone.touch()
    (operated.etc / "stays").touch()
    keep = treewalk.store_contents

    def removing(path, store):
        gone.unlink(missing_ok=True)
        return keep(path, store)

    monkeypatch.setattr(treewalk, "store_contents", removing)
    assert operated.backup().point.whole
    assert f"{gone}: it is not there (any more)" in caplog.text
    assert set(operated.files(tmp_path / "to")) == {".", "stays"}


def test_a_restore_point_is_not_whole_until_each_further_file_was_read_or_is_gone(
    operated, tmp_path, monkeypatch
):
    bad = operated.etc / "bad"
    bad.write_bytes(b"bad")
    (operated.etc / "good").touch()
    keep = treewalk.store_contents

    def failing(path, store):
        if path == str(bad):
            raise CannotReadError(errno.EIO, os.strerror(errno.EIO), path)
        return keep(path, store)

    monkeypatch.setattr(treewalk, "store_contents", failing)
    for _time in range(2):
        with pytest.raises(IntegrityError, match=f"1 file or directory, .* the first: {bad}"):
            operated.backup()
        [point] = operated.points()
        assert not point.whole
    assert set(operated.files(tmp_path / "without")) == {".", "good"}
    bad.unlink()
    assert operated.backup().point.whole


def test_a_path_that_is_not_there_is_named_and_the_rest_is_backed_up(operated, tmp_path, caplog):
    wanted = WantedFiles(paths=(tmp_path / "nothing", operated.etc))
    operated.repository_place = replace(operated.repository_place, files=wanted)
    (operated.etc / "file").touch()
    for _time in range(2):
        with pytest.raises(IntegrityError):
            operated.backup()
        [point] = operated.points()
        assert not point.whole
    assert f"{tmp_path / 'nothing'}: it is not there" in caplog.text
    assert set(operated.files(tmp_path / "to")) == {".", "file"}


def test_a_path_that_is_asked_for_later_and_is_not_there_is_lacking(operated, tmp_path):
    (operated.etc / "file").touch()
    assert operated.backup().point.whole
    wanted = WantedFiles(paths=(operated.etc, tmp_path / "nothing"))
    operated.repository_place = replace(operated.repository_place, files=wanted)
    with pytest.raises(IntegrityError):
        operated.backup()
    assert [point.whole for point in operated.points()] == [True, False]


def test_what_lies_behind_a_link_is_kept_out_under_each_of_its_names(tmp_path):
    real = tmp_path / "data"
    (real / "blobstorage").mkdir(parents=True)
    (real / "Data.fs").touch()
    (tmp_path / "var").symlink_to("data")
    var = tmp_path / "var"
    wanted = WantedFiles(paths=(), kept_out=(var / "Data.fs",), blobstorages=(var / "blobstorage",))
    exclusions = Exclusions(wanted)
    for path in ("Data.fs", "blobstorage/0x00"):
        for place in (real, var):
            assert exclusions.leave_out(str(place / path), is_directory=False)
    assert not exclusions.leave_out(str(real / "blobstorage" / "other"), is_directory=False)


def test_a_path_that_is_itself_a_link_is_followed(operated, tmp_path):
    (operated.etc / "file").write_bytes(b"file")
    (tmp_path / "link").symlink_to("etc")
    wanted = WantedFiles(paths=(tmp_path / "link",), patterns=("**/link/left/",))
    (operated.etc / "left").mkdir()
    operated.repository_place = replace(operated.repository_place, files=wanted)
    operated.backup()
    operated.restore(to=tmp_path / "to")
    back = tmp_path / "to" / "files" / str(tmp_path / "link").lstrip("/")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {"file": b"file"}


@pytest.mark.parametrize(
    ("pattern", "path", "leaves_out"),
    [
        ("*.pyc", "/a/b.pyc", True),
        ("*.pyc", "/a/b.py", False),
        ("b", "/a/b/c", False),  # what lies in it is not even asked for
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c", False),
        ("/a/**", "/a/b/c", True),
        ("**/c", "/a/b/c", True),
        ("/a/**/c", "/a/c", True),
        ("/a/b?", "/a/bc", True),
        ("[!x].log", "/a/y.log", True),
        ("[!x].log", "/a/x.log", False),
        ("[", "/a/[", True),
        ("[]", "/a/[]", True),
        ("[!]", "/a/[!]", True),
        ("[z-a]", "/a/[z-a]", True),
        ("[^a]", "/a/^", True),
        ("[a&&b]", "/a/&", True),
        ("[a--]", "/a/[a--]", True),
        ("[--0]", "/a/.", True),
        ("[a-]", "/a/-", True),
        ("[[x]", "/a/[", True),
        ("[\\d]", "/a/d", True),
        ("[^a]", "/a/b", False),
        ("/a[!b]c", "/a/c", False),
        ("/a[+-9]c", "/a/c", False),
        ("a.c", "/abc", False),
        ("cache/", "/a/cache", False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_patterns_leave_out_the_paths_that_they_fit(pattern, path, leaves_out):
    exclusions = Exclusions(WantedFiles(paths=(), patterns=(pattern,)))
    assert exclusions.leave_out(path, is_directory=False) is leaves_out


def test_what_is_left_out_does_not_come_back(tmp_path, caplog):
    kept_out = (tmp_path / "etc" / "var", tmp_path / "backups")
    operated = SiteWithFiles(tmp_path, patterns=("*.tmp", "cache/"), kept_out=kept_out)
    wanted = replace(operated.repository_place.files, paths=(operated.etc, tmp_path / "backups"))
    operated.repository_place = replace(operated.repository_place, files=wanted)
    (tmp_path / "backups").mkdir()
    for name in ("cache", "var", "kept"):
        (operated.etc / name).mkdir()
        (operated.etc / name / "file").touch()
    (operated.etc / "a.tmp").touch()
    operated.backup()
    assert set(operated.files(tmp_path / "to")) == {".", "kept", "kept/file"}
    assert f"{tmp_path / 'backups'}: it belongs to the storages or to backups" in caplog.text


def test_files_come_back_to_another_place_and_never_to_the_live_one(operated, tmp_path):
    (operated.etc / "file").write_bytes(b"old")
    operated.backup()
    (operated.etc / "file").write_bytes(b"live")
    operated.restore()
    assert (operated.etc / "file").read_bytes() == b"live"
    operated.restore(to=tmp_path / "to")
    assert (tmp_path / "to" / "files" / str(operated.etc)[1:] / "file").read_bytes() == b"old"
    with pytest.raises(BackupError, match="which a restore does not replace"):
        operated.restore(to=tmp_path / "to")


def test_files_that_do_not_fit_are_refused_before_anything_is_written(
    operated, tmp_path, monkeypatch
):
    (operated.etc / "file").write_bytes(b"file" * 999)
    operated.backup()
    monkeypatch.setattr(room, "_free", lambda _directory: 2000)
    with pytest.raises(BackupError, match="not enough room: 2000 bytes are free, 3996 are needed"):
        operated.restore(to=tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_damage_of_a_page_is_found_and_the_next_backup_stores_it_again(operated, tmp_path, caplog):
    operated.site.commit({"a": 2})
    for number in range(20):
        (operated.etc / str(number)).write_bytes(b"%d" % number)
    first = operated.backup().point
    with operated.destination()._repository() as repository:
        point = operated.destination()._point(repository, first.stamp)
        files = contents_of(point).files.root
        [place, *_more] = dict(repository.index.of({files}))[files]
    turn_a_bit(operated, place)

    assert [each.points for each in operated.destination().verify(Depth.CHECKSUMS)] == [
        (first.stamp,)
    ] * 2
    with pytest.raises(IntegrityError):
        operated.files(tmp_path / "to")
    (operated.etc / "20").touch()
    operated.backup()
    assert len(operated.files(tmp_path / "anew")) == 22


def test_damage_of_the_page_of_a_directory_costs_that_directory_alone(operated, tmp_path):
    for name in ("a", "sub/deeper", "z"):
        (operated.etc / name).mkdir(parents=True)
        (operated.etc / name / "file").write_bytes(name.encode())
    first = operated.backup().point
    page = page_of(operated, first, "sub")
    turn_a_bit(operated, page)

    found = list(operated.destination().verify(Depth.CHECKSUMS))
    assert {each.points for each in found} == {(first.stamp,)}
    destination = operated.destination()
    with destination.open(choose(destination.restore_points(), None)) as state:
        for name in ("a", "z"):
            whole = state.files.contents(os.fsencode(operated.etc / name))
            assert [b"".join(data) for _file, data in whole] == [b"", name.encode()]
        with pytest.raises(IntegrityError):
            list(state.files.listed(os.fsencode(operated.etc / "sub")))
    with pytest.raises(IntegrityError):
        operated.files(tmp_path / "to")
    assert not (tmp_path / "to" / "files").exists()

    # of two bundles that have a chunk, the one that was stored later counts
    operated.now += timedelta(hours=1)
    assert healed(operated, [page.bundle]) == []
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    assert operated.files(tmp_path / "healed") == looks(operated.etc)


def page_of(operated, point, name):
    """Return where the first page of the directory *name* in ``etc`` lies."""
    with operated.destination()._repository() as repository:
        reader = ChunkReader(repository)
        there = operated.destination()._point(repository, point.stamp)
        [etc] = tree_root(reader, contents_of(there).files.root).entries
        entries = tree_entries(reader, etc.file.pieces)
        page = next(each.file.pieces[0] for each in entries if each.name == name.encode())
        return dict(repository.index.of({page}))[page][0]


def turn_a_bit(operated, place):
    """Damage the chunk that lies at *place*."""
    name, at = bundle_name(place.bundle), place.offset
    data, moment = operated.store.objects[name]
    operated.store.objects[name] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], moment


def healed(operated, bundles):
    """Heal *bundles* from the live site; return what is lost for ever, in words."""
    destination = operated.destination()
    with destination._repository() as repository:
        site = SiteCopies(repository, [destination.source], [])
        live = LiveFiles(repository, operated.repository_place.files)
        lost = heal(repository, bundles, [site, live]).lost
        points = standing(repository, repository.look()).points
        return [each.what for each in ChunkOrigins(repository, points, frozenset(lost)).found()]


def test_what_is_lost_of_the_files_is_healed_from_the_live_ones(operated, tmp_path):
    operated.backup()
    (operated.etc / "file").write_bytes(random.Random(4).randbytes(3 << 20))
    (operated.etc / "small").write_bytes(b"small")
    operated.backup()
    bundles = {name: stored for name, (_data, stored) in operated.store.objects.items()}
    newest = max((name for name in bundles if name.startswith("bundles/")), key=bundles.get)
    del operated.store.objects[newest]
    assert healed(operated, [bytes.fromhex(newest.rpartition("/")[2])]) == []
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    assert operated.files(tmp_path / "to") == looks(operated.etc)


def test_a_piece_of_a_file_that_is_gone_is_named(operated, monkeypatch):
    monkeypatch.setattr(treefiles, "PIECES_NAMED", 1)
    (operated.etc / "file").write_bytes(random.Random(5).randbytes(3 << 20))
    operated.backup()
    with operated.destination()._repository() as repository:
        index = repository.index
        chunks = [chunk for bundle in index.bundles() for chunk in index.chunks_in(bundle)]
        found = [place for _chunk, places in index.of(chunks) for place in places]
    pieces = [place for place in found if place.kind == FILE]
    for place in pieces:
        turn_a_bit(operated, place)
    (operated.etc / "file").rename(operated.etc / "other")
    assert len(pieces) > 1
    assert healed(operated, list({place.bundle for place in pieces})) == [
        f"piece {each} of the file {operated.etc / 'file'}" for each in range(len(pieces))
    ]


def test_a_copy_of_a_repository_has_the_files(operated, tmp_path):
    (operated.etc / "file").write_bytes(b"file" * 999)
    operated.backup()
    expected = looks(operated.etc)
    with operated.destination()._repository() as here:
        operated.store = MemoryStore(lambda: operated.now)
        init(operated.store, PASSPHRASE, operated.now)
        cache = tmp_path / "another cache"
        operated.repository_place = replace(operated.repository_place, state=cache)
        cache.mkdir()
        with operated.destination()._repository() as there:
            points = standing(here, here.look()).points
            assert len(list(copy_points(here, there, points))) == 1
    assert operated.files(tmp_path / "to") == expected


def test_a_collect_keeps_the_files_of_what_stays(operated, tmp_path):
    (operated.etc / "first").write_bytes(b"first" * 999)
    first = operated.backup().point
    (operated.etc / "first").unlink()
    (operated.etc / "second").write_bytes(b"second" * 999)
    operated.backup()
    destination = operated.destination()
    destination.remove([first])
    for _run in range(2):
        operated.now += timedelta(days=9)
        with operated.destination()._repository() as repository:
            collect(repository)
    assert set(operated.files(tmp_path / "to")) == {".", "second"}
    assert list(operated.destination().verify(Depth.RECORDS)) == []


def test_no_page_names_a_way_out_of_its_directory():
    entry = treepages.TreeEntry(b"..", treewalk._NOTHING.file)
    with pytest.raises(IntegrityError, match="no name of a file"):
        treepages.read_tree_page(treepages.written_tree_page([entry]))


def place(files, to):
    """Restore *files*, each with the bytes of its pieces, as a repository may list them."""

    class Found:
        count = len(files)

        def contents(self):
            yield from ((file, iter(pieces)) for file, *pieces in files)

    place_files(Found(), to, Files(), Silent())


def further(path, sort=FileSort.FILE, **more):
    return FurtherFile(path, sort, 0o700, os.geteuid(), os.getegid(), 0, **more)


@pytest.mark.parametrize("names", [(b"/", b"/a"), (b"/a", b"/a-b", b"/a/b/c"), (b"/a/",), (b"",)])
def test_no_root_of_a_tree_lies_below_another_one(names):
    link = further(b"", FileSort.LINK, target=b"x")
    root = treepages.TreeRoot(tuple(treepages.TreeEntry(name, link) for name in names))
    with pytest.raises(IntegrityError, match="lies below|is no path"):
        treepages.read_tree_root(root.linked())


def test_roots_side_by_side_are_read():
    link = further(b"", FileSort.LINK, target=b"x")
    names = (b"/a-b", b"/a/b", b"/a/bc", b"/b")
    root = treepages.TreeRoot(tuple(treepages.TreeEntry(name, link) for name in names))
    assert [each.name for each in treepages.read_tree_root(root.linked()).entries] == list(names)


def test_a_path_that_lies_in_another_one_that_is_wanted_is_stored_once(operated):
    inner = operated.etc / "sub"
    assert list(WantedFiles(paths=(inner, operated.etc)).roots()) == [str(operated.etc)]


@pytest.mark.parametrize("below", [FileSort.FILE, FileSort.DIRECTORY, FileSort.LINK])
@pytest.mark.parametrize("path", [b"/a", b"/a/b", b"/a/b/c"])
def test_nothing_is_restored_through_a_link(tmp_path, path, below):
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    link = further(b"/a", FileSort.LINK, target=os.fsencode(outside))
    with pytest.raises(IntegrityError, match="a second time|is no directory"):
        place([(link,), (further(path, below, target=b"x"),)], tmp_path / "to")
    assert [path.name for path in outside.rglob("*")] == ["b"]
    assert list((tmp_path / "to").iterdir()) == []


def test_a_directory_does_not_have_a_name_on_two_of_its_pages():
    pages = [
        treepages.written_tree_page([treepages.TreeEntry(name, further(b"", FileSort.DIRECTORY))])
        for name in (b"b", b"b")
    ]

    class Reader:
        def node(self, chunk):
            linked = pages[int(chunk)]
            return Node(linked.names, linked.data)

    with pytest.raises(IntegrityError, match="not in order"):
        list(tree_entries(Reader(), [b"0", b"1"]))


@pytest.mark.parametrize("pieces", [(), (b"ab",), (b"abcd",), (b"abc", b"d")])
@pytest.mark.parametrize("holes", [(), ((0, 9),), ((3, 9),)])
def test_pieces_that_are_not_as_long_as_their_file_are_refused(tmp_path, pieces, holes):
    file = further(b"/a", size=3 + sum(size for _offset, size in holes), holes=holes)
    with pytest.raises(IntegrityError, match="and not 3 as its list says"):
        place([(file, *pieces)], tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_names_of_one_file_are_told_by_more_than_its_inode(tmp_path):
    times = treepages.FileTimes(changed=5, inode=7, device=0, has_others=True)
    chunks = [bytes([number]) * 32 for number in range(2)]
    file = further(b"", size=3, pieces=(chunks[0],))
    entries = [
        treepages.TreeEntry(b"a", file, times),
        treepages.TreeEntry(b"b", file, times),
        treepages.TreeEntry(b"c", file._replace(pieces=(chunks[1],)), times),
        treepages.TreeEntry(b"d", file, times._replace(changed=6)),
    ]
    found = treepages.read_tree_page(treepages.written_tree_page(entries))
    contents = dict(zip(chunks, (b"one", b"two"), strict=True))
    place(
        [
            (each.file._replace(path=b"/" + each.name), contents[each.file.pieces[0]])
            for each in found
        ],
        tmp_path,
    )
    a, b, c, d = (tmp_path / "files" / name for name in "abcd")
    assert [path.read_bytes() for path in (a, b, c, d)] == [b"one", b"one", b"two", b"one"]
    assert [a.samefile(path) for path in (b, c, d)] == [True, False, False]


@pytest.mark.parametrize(
    "flaw",
    [
        {"size": 1 << 63},
        {"size": 1 << 63, "holes": ((0, (1 << 63) - 5),)},
        {"size": 9, "holes": ((0, (1 << 63) + 5),)},
        {"owner": (1 << 32) - 1},
        {"group": 1 << 40},
        {"sort": FileSort.LINK, "target": b""},
        {"sort": FileSort.LINK, "target": b"a\0b"},
    ],
)
def test_a_page_that_says_what_no_file_system_has_is_damaged(flaw):
    file = further(b"")._replace(**flaw)
    times = treepages.FileTimes(0, 0, 0, False) if file.sort is FileSort.FILE else None
    page = treepages.written_tree_page([treepages.TreeEntry(b"a", file, times)])
    with pytest.raises(IntegrityError, match="is damaged"):
        treepages.read_tree_page(page)


def test_the_page_of_the_design_is_enough_to_read_them(operated, tmp_path, monkeypatch):
    monkeypatch.setattr(treefiles, "PIECES_NAMED", 1)
    for number in range(600):
        (operated.etc / f"{number:03}").write_bytes(b"%d" % number)
    (operated.etc / "sub").mkdir()
    (operated.etc / "sub" / "large").write_bytes(random.Random(3).randbytes(3 << 20))
    (operated.etc / "link").symlink_to("sub")
    with (operated.etc / "sparse").open("wb") as file:
        file.write(b"begin")
        file.truncate(1 << 20)
        file.seek(2 << 20)
        file.write(b"end")
    operated.backup()
    for name, (data, _moment) in operated.store.objects.items():
        (tmp_path / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / name).write_bytes(data)

    reader = RepositoryReader(tmp_path / "store", PASSPHRASE)
    [point] = reader.points()
    number = json.loads(point.body)["files"]["root"]
    root = reader.get(bytes.fromhex(point.head["roots"][number]))
    top = os.fsencode(operated.etc)
    found = {
        os.fsdecode(os.path.relpath(each.path, top)): (
            (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)[each.sort],
            each.mode or 0o777,
            each.owner,
            None if each.sort == 2 else each.time,
            (None, each.data, os.fsdecode(each.data))[each.sort],
        )
        for each in treereader.files(root, reader.get)
    }
    assert found == looks(operated.etc)

"""Names in directories that are held: whose links root follows, and whose it does not."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from collective.recipe.backup import held, links
from collective.recipe.backup.descent import Descent
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.changes import ExchangedError
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.locking import closed_filestorage, one_writer
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.operations.targets import targets_of
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.tests.blobtrees import nobody
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

USER, OTHER = 1234, 4321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is not installed")


class Land:
    """What belongs to whom: directories ``root``, ``user`` and ``other`` in *top*."""

    def __init__(self, top: Path) -> None:
        self.root, self.user, self.other = (top / name for name in ("root", "user", "other"))
        for directory, owner in ((self.root, 0), (self.user, USER), (self.other, OTHER)):
            directory.mkdir()
            (directory / "file").write_bytes(b"what was there")
            (directory / "sub").mkdir()
            for path in (directory, directory / "file", directory / "sub"):
                os.chown(path, owner, owner)

    def link(self, directory: Path, name: str, text: str | Path, owner: int) -> Path:
        """Make a link of *owner* in *directory*."""
        path = directory / name
        path.symlink_to(text)
        os.lchown(path, owner, owner)
        return path


@pytest.fixture
def land(tmp_path: Path) -> Land:
    return Land(Path(os.path.realpath(tmp_path)))


def reached(path: Path) -> Path:
    """Return where that is which root calls *path*."""
    with held.place(path) as at:
        return where(at)


def without_atime(path: Path) -> tuple[int, ...]:
    """Return what changes of *path* change; to read it, or to link it for a while, is none."""
    it = path.stat()
    numbers = (it.st_ino, it.st_mode, it.st_uid, it.st_gid, it.st_nlink, it.st_size)
    return (*numbers, it.st_mtime_ns)


@as_root
class TestLinksOnTheWay:
    @pytest.mark.parametrize("mode", [0o755, 0o1777])
    def test_a_link_of_root_is_followed_wherever_it_leads(self, land, mode):
        land.root.chmod(mode)
        for number, directory in enumerate((land.root, land.user, land.other)):
            link = land.link(land.root, f"link{number}", directory, 0)
            assert reached(link / "new") == directory / "new"

    def test_a_link_that_a_user_could_have_moved_is_not_followed(self, land):
        """As one that a backup of root has copied."""
        link = land.link(land.user, "link", land.user / "sub", 0)
        assert reached(link / "new") == land.user / "sub" / "new"
        link = land.link(land.user, "other", land.root, 0)
        with pytest.raises(links.StrangeLinkError):
            reached(link / "new")

    @pytest.mark.parametrize(
        ("mode", "leads"),
        [(0o755, False), (0o775, True), (0o777, True), (0o757, True)],
    )
    def test_a_link_that_a_group_could_have_moved_is_not_followed(self, land, mode, leads):
        shared, sub = land.root / "shared", land.root / "sub"
        shared.mkdir()
        shared.chmod(0o2775)
        for path in (shared, sub):
            os.chown(path, 0, USER)
        sub.chmod(mode)
        link = land.link(shared, "link", sub, 0)
        if leads:
            assert reached(link / "new") == sub / "new"
        else:
            with pytest.raises(links.StrangeLinkError, match="that group 1234 may have made"):
                reached(link / "new")
        shared.chmod(0o777)
        if leads and not mode & 0o002:
            with pytest.raises(links.StrangeLinkError):
                reached(link / "new")

    def test_a_link_of_a_user_is_followed_to_files_of_that_user(self, land):
        link = land.link(land.root, "link", land.user, USER)
        assert reached(link / "sub" / "new") == land.user / "sub" / "new"
        relative = land.link(land.user, "relative", "sub/../../user/./sub", USER)
        assert reached(relative / "new") == land.user / "sub" / "new"
        assert reached(land.user / "sub" / ".." / "new") == land.user / "new"

    @pytest.mark.parametrize("whose", ["root", "other"])
    def test_a_link_of_a_user_is_not_followed_to_files_of_others(self, land, whose):
        link = land.link(land.user, "link", getattr(land, whose), USER)
        with pytest.raises(links.StrangeLinkError) as caught:
            reached(link / "new")
        assert caught.value.filename == str(link)
        error = from_os_error(caught.value)
        assert error.where == str(link)
        assert "of user 1234" in error.what
        assert "into the configuration" in error.hint

    def test_a_link_is_not_followed_by_way_of_another_link(self, land):
        land.link(land.user, "far", land.root, USER)
        near = land.link(land.user, "near", "far/sub", USER)
        with pytest.raises(links.StrangeLinkError):
            reached(near / "new")

    def test_a_link_of_root_does_not_vouch_for_one_that_comes_after_it(self, land):
        link = land.link(land.root, "link", land.user, 0)
        land.link(land.user, "out", land.root, USER)
        with pytest.raises(links.StrangeLinkError):
            reached(link / "out" / "new")

    def test_links_that_lead_to_each_other_come_to_an_end(self, land):
        land.link(land.user, "a", "b", USER)
        land.link(land.user, "b", "a", USER)
        with pytest.raises(OSError, match="symbolic links") as caught:
            reached(land.user / "a" / "new")
        assert caught.value.errno == errno.ELOOP

    def test_what_is_missing_or_no_directory_says_so(self, land):
        with pytest.raises(FileNotFoundError) as caught:
            reached(land.user / "nowhere" / "new")
        assert caught.value.filename == str(land.user / "nowhere" / "new")
        with pytest.raises(NotADirectoryError):
            reached(land.user / "file" / "new")
        dangling = land.link(land.user, "dangling", "nowhere", USER)
        with pytest.raises(FileNotFoundError):
            reached(dangling / "new")

    def test_a_path_may_be_relative(self, land, monkeypatch):
        monkeypatch.chdir(land.user)
        land.link(land.user, "link", "sub", USER)
        assert reached(Path("new")) == land.user / "new"
        assert reached(Path("link/new")) == land.user / "sub" / "new"
        assert links.real("link/new") == str(land.user / "sub" / "new")

    def test_no_descriptor_is_left(self, land):
        land.link(land.user, "out", land.root, USER)
        land.link(land.user, "loop", "loop", USER)
        before = len(os.listdir("/proc/self/fd"))
        for name in ("sub/x", "out/x", "loop/x", "nowhere/x", "file/x"):
            for function in (reached, links.real):
                with suppress(OSError):
                    function(land.user / name)
        assert len(os.listdir("/proc/self/fd")) == before


@as_root
class TestTrail:
    @pytest.fixture
    def deep(self, land) -> Path:
        for name in ("a/b/c", "a/b/d", "e"):
            (land.root / name).mkdir(parents=True)
        return land.root

    def test_what_lies_side_by_side_is_in_one_directory_that_is_held(self, deep):
        with held.Trail(str(deep)) as trail:
            one, other = trail.place(f"{deep}/a/b/c/x"), trail.place(f"{deep}/a/b/c/y")
            assert one.directory == other.directory
            assert where(other) == deep / "a/b/c/y"

    def test_places_are_where_their_paths_say_in_any_order(self, deep):
        with held.Trail(str(deep)) as trail:
            for name in ("a/b/c/x", "a/b/x", "e/x", "x", "a/x", "a/b/d/x", "a/b/c/x"):
                at = trail.place(f"{deep}/{name}")
                assert (where(at), os.fspath(at)) == (deep / name, f"{deep}/{name}")
            assert trail.directory_status(str(deep / "e")).st_ino == (deep / "e").stat().st_ino
            assert trail.directory_status(str(deep)).st_ino == deep.stat().st_ino

    def test_no_more_is_held_than_the_way_down_and_nothing_at_the_end(self, deep):
        before = len(os.listdir("/proc/self/fd"))
        with held.Trail(str(deep)) as trail:
            for name in ("a/b/c", "a/b/d", "e", "nowhere/x", "file/x", "a/b/c"):
                with suppress(OSError):
                    trail.place(f"{deep}/{name}/x")
                assert len(os.listdir("/proc/self/fd")) <= before + 1 + 3
        assert len(os.listdir("/proc/self/fd")) == before
        with trail.place(f"{deep}/a/b/c/x") as at:  # it is over: a place of its own
            assert where(at) == deep / "a/b/c/x"
        assert len(os.listdir("/proc/self/fd")) == before

    def test_another_thread_gets_places_of_its_own(self, deep):
        def other() -> None:
            with trail.place(f"{deep}/e/x") as at:
                found.append((at.directory, where(at), trail.directory_status(str(deep)).st_ino))

        found: list[tuple[int | None, Path, int]] = []
        with held.Trail(str(deep)) as trail:
            ours = trail.place(f"{deep}/e/x")
            thread = Thread(target=other)
            thread.start()
            thread.join()
            assert where(ours) == deep / "e/x"
        [(descriptor, path, inode)] = found
        assert descriptor != ours.directory
        assert (path, inode) == (deep / "e/x", deep.stat().st_ino)

    def test_a_link_is_followed_where_it_would_be_on_any_way(self, land):
        land.link(land.user, "in", "sub", USER)
        out = land.link(land.user, "out", land.root, USER)
        with held.Trail(str(land.user)) as trail:
            assert where(trail.place(f"{land.user}/in/x")) == land.user / "sub/x"
            with pytest.raises(links.StrangeLinkError) as caught:
                trail.place(f"{out}/x")
            assert caught.value.filename == str(out)
            assert where(trail.place(f"{land.user}/sub/x")) == land.user / "sub/x"

    def test_a_directory_that_is_exchanged_meanwhile_does_not_lead_out(self, land):
        with held.Trail(str(land.user)) as trail:
            trail.place(f"{land.user}/sub/x")
            (land.user / "sub").rename(land.user / "was sub")
            land.link(land.user, "sub", land.root, USER)
            assert where(trail.place(f"{land.user}/sub/y")) == land.user / "was sub/y"
            trail.place(f"{land.user}/x")
            with pytest.raises(links.StrangeLinkError):
                trail.place(f"{land.user}/sub/y")


def where(at: held.HeldName) -> Path:
    """Return where *at* leads to."""
    return Path(os.readlink(f"/proc/self/fd/{at.directory}")) / at.name


@as_root
class TestReal:
    def test_a_held_path_is_what_realpath_says(self, land):
        land.link(land.user, "file link", "sub/../file", USER)
        land.link(land.user, "link", "sub", USER)
        land.link(land.user, "dangling", "nowhere/at/all", USER)
        for name in ("sub", "file", "file link", "link/new", "dangling", "no/../where", "link/.."):
            path = land.user / name
            assert links.real(path) == os.path.realpath(path), name

    def test_a_link_at_the_end_counts_as_well(self, land):
        for text in (land.root / "file", land.root / "new", "/nowhere"):
            link = land.link(
                land.user, f"to {text.name}" if isinstance(text, Path) else "to", text, USER
            )
            with pytest.raises(links.StrangeLinkError):
                links.real(link)


def test_a_user_other_than_root_follows_every_link():
    with nobody() as directory:
        (directory / "there").mkdir()
        (directory / "link").symlink_to(directory / "there")
        with held.place(directory / "link" / "new") as at:
            assert at.directory is None
            os.close(at.open(os.O_WRONLY | os.O_CREAT))
        assert (directory / "there" / "new").is_file()
        assert links.real(directory / "link") == os.path.realpath(directory / "there")
        Files().make_directory_like(directory / "made", directory.stat())
        Files().remove_tree(directory / "there")
        assert sorted(path.name for path in directory.iterdir()) == ["link", "made"]


@as_root
class TestWhatIsThere:
    """Calls whose path ends in a link of a user to what is root's."""

    @pytest.fixture
    def link(self, land: Land) -> Path:
        return land.link(land.user, "link", land.root / "file", USER)

    @pytest.fixture(autouse=True)
    def unchanged(self, land: Land):
        path = land.root / "file"
        before = without_atime(path), path.read_bytes()
        yield
        assert (without_atime(path), path.read_bytes()) == before
        assert sorted(os.listdir(land.root)) == ["file", "sub"]

    def test_owner_mode_and_times_stay(self, land, link):
        like = (land.user / "file").stat()
        for change in (
            lambda: Files().make_like(link, like),
            lambda: Files().chmod(link, 0o666),
            lambda: Files().make_directory_like(link, like),
        ):
            with pytest.raises(OSError, match=r"symbolic|directory"):
                change()
        Files().touch(link, (0, 0))

    def test_the_rights_of_a_directory_stay_too(self, land):
        before = without_atime(land.root / "sub")
        link = land.link(land.user, "link", land.root / "sub", USER)
        Files().make_directory_like(link, (land.user / "sub").stat())
        Files().make_directory(link)
        assert without_atime(land.root / "sub") == before

    def test_bytes_behind_a_symbolic_link_stay(self, land, link):
        with pytest.raises(OSError, match="symbolic"), Files().overwriting(link, 0) as writer:
            writer.write(b"x")
        with pytest.raises(OSError, match="symbolic"):
            Files().append(link, b"x")
        with pytest.raises(links.StrangeLinkError):
            Files().publish(link, b"x")
        with pytest.raises(OSError, match="symbolic"):
            open_regular(link, follow=False)

    def test_nothing_is_made_where_a_link_leads(self, land):
        for name in ("Data.fs.lock", ".backup.lock"):
            land.link(land.user, name, land.root / "new", USER)
        live = land.user / "Data.fs"
        with pytest.raises(BackupError, match="user 1234"), closed_filestorage(live):
            pass
        with pytest.raises(BackupError, match="symbolic"), one_writer(land.user, "we"):
            pass
        land.link(land.user, "metrics", land.root / "new", USER)
        with pytest.raises(links.StrangeLinkError):
            Files().publish(land.user / "metrics", b"x")

    def test_another_name_of_a_file_is_not_given_away(self, land):
        """Where fs.protected_hardlinks is 0, each user can make one."""
        other = land.user / "staged"
        os.link(land.root / "file", other)
        with pytest.raises(ExchangedError, match="something else"):
            Files().make_like(other, (land.user / "file").stat())
        other.unlink()

    def test_a_directory_of_root_that_was_put_there_stays_roots(self, land):
        there = land.user / "there"
        there.mkdir(mode=0o700)
        (there / "private").touch()
        Files().make_directory_like(there, (land.user / "sub").stat())
        assert (there.stat().st_uid, stat.S_IMODE(there.stat().st_mode)) == (0, 0o700)
        (there / "private").unlink()
        Files().make_directory_like(there, (land.user / "sub").stat())
        assert there.stat().st_uid == USER

    def test_a_restore_goes_nowhere_by_a_link_of_a_user(self, land, tmp_path):
        operated = Operated(Site(tmp_path / "site"))
        live = operated.site.filestorage
        operated.site.commit({"a": 1})
        operated.backup()
        live.unlink()
        land.link(live.parent, live.name, land.root / "file", USER)
        with pytest.raises(BackupError, match="user 1234") as caught:
            operated.restore()
        assert caught.value.where == str(live)
        assert "into the configuration" in caught.value.hint
        found = [it for it in examine(operated.run("doctor")) if "user 1234" in it.what]
        assert {it.severity for it in found} == {DoctorSeverity.PROBLEM}
        land.link(land.root, live.name, live.parent / "other", 0)
        operated.config = replace(
            operated.config,
            sources=(replace(operated.config.sources[0], filestorage=land.root / live.name),),
        )
        [target] = targets_of(operated.run("restore"), None)
        assert target.filestorage == live.parent / "other"
        (land.root / live.name).unlink()


@as_root
def test_the_link_of_a_lock_is_followed_to_what_is_the_users(land):
    lock = land.link(land.user, "Data.fs.lock", "sub/lock", USER)
    with closed_filestorage(land.user / "Data.fs"):
        assert lock.is_symlink()
        assert (land.user / "sub" / "lock").stat().st_uid == USER


class Hurried(Files):
    """Files that do something just before they make the directory *name*, or after."""

    def __init__(self, name, then):
        super().__init__()
        self._name, self._then = name, then

    def _change(self, operation, path, function, *args, **kwargs):
        result = super()._change(operation, path, function, *args, **kwargs)
        if operation == "mkdir" and Path(path).name == self._name:
            self._then(Path(path))
        return result


@as_root
@pytest.mark.parametrize("like", [False, True])
def test_a_directory_that_was_exchanged_while_it_was_made_is_told(land, like):
    private = land.user / "private"
    private.mkdir(mode=0o700)
    (private / "file").touch()

    def exchange(path):
        path.rmdir()
        private.rename(path)

    files = Hurried("new", exchange)
    with pytest.raises(ExchangedError) as caught:
        if like:
            files.make_directory_like(land.user / "new", (land.user / "sub").stat())
        else:
            files.make_directory(land.user / "new")
    assert caught.value.filename == str(land.user / "new")
    assert (land.user / "new").stat().st_uid == 0


class TestDescent:
    def test_a_directory_that_is_moved_meanwhile_does_not_lead_out(self, tmp_path):
        (tmp_path / "tree" / "sub").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        with Descent(tmp_path / "tree") as descent:
            descent.down("sub")
            shutil.move(tmp_path / "tree" / "sub", tmp_path / "elsewhere" / "sub")
            with pytest.raises(OSError, match="moved") as caught:
                descent.up()
        assert caught.value.filename == str(tmp_path / "tree" / "sub")

    def test_a_directory_that_cannot_be_read_is_named(self, tmp_path, monkeypatch):
        def failing(_directory):
            raise OSError(errno.EIO, os.strerror(errno.EIO), 7)

        (tmp_path / "tree" / "sub").mkdir(parents=True)
        with Descent(tmp_path / "tree") as descent:
            descent.down("sub")
            monkeypatch.setattr(os, "scandir", failing)
            with pytest.raises(OSError, match="Input/output error") as caught:
                descent.some_entries()
        assert caught.value.filename == str(tmp_path / "tree" / "sub")

    def test_a_link_is_no_directory_of_the_tree(self, tmp_path):
        (tmp_path / "tree").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "tree" / "sub").symlink_to(tmp_path / "elsewhere")
        with Descent(tmp_path / "tree") as descent:
            assert descent.some_entries() == ([], ["sub"])
            with pytest.raises(NotADirectoryError) as caught:
                descent.down("sub")
        assert caught.value.filename == str(tmp_path / "tree" / "sub")
        with pytest.raises(NotADirectoryError):
            Descent(tmp_path / "tree" / "sub")

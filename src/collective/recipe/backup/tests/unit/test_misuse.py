"""What clumsy hands do to a site and its backups: refused, or at least survived."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from ZODB.FileStorage import FileStorage

from collective.recipe.backup import history, locking
from collective.recipe.backup.errors import (
    BackupError,
    InUse,
    NoRestorePoint,
    UsageError,
)
from collective.recipe.backup.operations.restore import describe
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.undo import let_go, undo
from collective.recipe.backup.tests.faults.harness import Crash, Fault, FaultyFiles
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with blobs that was backed up, and has changed since."""
    site.commit({"a": 1}, {"x": b"one"}, at=NOON)
    operated = Operated(site)
    operated.backup()
    site.commit({"a": 2}, {"x": b"two"}, at=operated.now + timedelta(minutes=30))
    return operated


def test_a_restore_to_var_would_change_the_live_blobs(operated: Operated) -> None:
    site, contents = operated.site, operated.site.contents()

    # beside it lie no Data.fs and no lock of one, so the site could be running
    with pytest.raises(UsageError, match="belongs to the live site"):
        operated.restore(to=site.directory / "var")

    assert site.contents() == contents


@pytest.mark.parametrize("place", ["var/filestorage", "var/blobstorage/inner"])
def test_a_restore_to_a_place_of_the_site_is_refused(operated: Operated, place: str) -> None:
    contents = operated.site.contents()

    with pytest.raises(UsageError):
        operated.restore(to=operated.site.directory / place)

    assert operated.site.contents() == contents


def test_a_restore_into_the_backups_is_refused(operated: Operated) -> None:
    operated.backup()
    first, last = operated.points()
    contents = operated.site.contents()
    place = operated.place().blobstorage
    assert place is not None and last.blobs

    for to in (place / last.blobs, operated.place().filestorage):
        with pytest.raises(UsageError, match="holds backups"):
            operated.restore(first.moment, to=to)

    operated.site.lose()
    operated.restore()
    assert operated.site.contents() == contents


def test_a_link_to_a_place_of_the_site_is_refused_too(operated: Operated, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(operated.site.directory / "var")

    with pytest.raises(UsageError):
        operated.restore(to=link)


def test_a_restore_to_a_place_of_its_own_goes_on(operated: Operated, tmp_path: Path) -> None:
    operated.restore(to=tmp_path / "copy")

    assert (tmp_path / "copy" / "Data.fs").stat().st_size == operated.points()[-1].end


def test_a_server_that_opens_a_linked_filestorage_by_its_own_name_keeps_us_out(
    operated: Operated, tmp_path: Path
) -> None:
    path, real = operated.site.filestorage, tmp_path / "disk" / "Data.fs"
    real.parent.mkdir()
    shutil.move(path, real)
    path.symlink_to(real)

    storage = FileStorage(str(real))
    with pytest.raises(InUse):
        operated.restore()
    storage.close()
    storage = FileStorage(str(path))
    with pytest.raises(InUse):
        operated.restore()
    storage.close()

    operated.restore()
    assert path.is_symlink()
    assert real.stat().st_size == operated.points()[-1].end


def test_a_directory_that_is_a_link_is_locked_once(operated: Operated, tmp_path: Path) -> None:
    directory = operated.site.filestorage.parent
    shutil.move(directory, tmp_path / "disk")
    directory.symlink_to(tmp_path / "disk")

    operated.restore()


@pytest.fixture
def once_without_blobs(site: Site) -> Operated:
    """A site that was backed up before its blobs were backed up as well."""
    site.commit({"a": 1}, {"x": b"one"}, at=NOON)
    without = Operated(site, blobs=False)
    without.backup()
    operated = Operated(site)
    operated.now = without.now
    return operated


@pytest.mark.parametrize("part", [{}, {"filestorage": False}])
def test_a_restore_does_not_leave_the_blobs_out_silently(
    once_without_blobs: Operated, part: dict[str, bool]
) -> None:
    with pytest.raises(NoRestorePoint, match="when blobs were not backed up"):
        once_without_blobs.restore(**part)

    once_without_blobs.restore(blobstorage=False)


def test_the_next_backup_adds_the_blobs(once_without_blobs: Operated) -> None:
    contents = once_without_blobs.site.contents()

    once_without_blobs.backup()

    once_without_blobs.site.lose()
    once_without_blobs.restore()
    assert once_without_blobs.site.contents() == contents


def test_a_restore_that_was_broken_off_is_not_backed_up(operated: Operated, tmp_path: Path) -> None:
    site = operated.site
    # with a second name it is exchanged by renames
    (tmp_path / "copy").hardlink_to(site.filestorage)
    [before] = operated.points()
    last = _Broken(site.filestorage.name)
    with pytest.raises(Crash):
        operated.restore(files=last)
    assert site.blobstorage.with_name("blobstorage.replaced").exists()

    with pytest.raises(BackupError, match="broken off"):
        operated.backup()
    assert operated.points() == [before]

    operated.restore()
    contents = site.contents()
    operated.backup()
    site.lose()
    operated.restore()
    assert site.contents() == contents


class _Broken(FaultyFiles):
    """Files of a process that dies before it makes a file of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(Fault.BEFORE)
        self._name = name

    def _one_change(self, operation, path, function, *args, **kwargs):
        if operation == "rename" and path.name == self._name:
            self.at = self._counted + 1
        return super()._one_change(operation, path, function, *args, **kwargs)


def test_what_is_restored_in_the_place_of_what_a_run_that_died_left_is_said(
    operated: Operated, caplog: pytest.LogCaptureFixture
) -> None:
    operated.backup()
    first, last = operated.points()
    (operated.place().filestorage / f"{last.stamp}.json").unlink()
    words = f"a newer one cannot be restored; {last.stamp}: "

    assert words in describe(operated.run("restore"), RestoreOrder())
    operated.restore()
    assert [
        it.message for it in caplog.records if it.levelname == "WARNING" and words in it.message
    ]

    caplog.clear()
    operated.restore(first.moment)
    assert words not in caplog.text


def test_a_copy_of_a_site_does_not_reach_into_the_original(
    operated: Operated, tmp_path: Path
) -> None:
    operated.restore()
    operated.site.commit({"a": 3}, {"x": b"three"})
    contents = operated.site.contents()
    copies = [copied(operated, tmp_path / name) for name in ("restored", "undone", "let go")]

    copies[0].restore()
    with pytest.raises(NoRestorePoint, match="this site is a copy of the one in"):
        undo(copies[1].run("restore"))
    let_go(copies[2].run("restore"))

    assert operated.site.contents() == contents
    undo(operated.run("restore"))
    undo(operated.run("restore"))
    assert operated.site.contents() == contents


def test_blobs_in_an_archive_are_as_private_as_their_directory(site: Site) -> None:
    site.commit(blobs={"x": b"one"}, at=NOON)
    site.blobstorage.chmod(0o700)
    operated = Operated(site, archive_blob=True)

    stamp = operated.backup().point.stamp

    place = operated.place().blobstorage
    assert place is not None
    [archive] = place.glob(f"*{stamp}*.tar*")
    assert archive.stat().st_mode & 0o077 == 0


def test_a_private_filestorage_has_private_backups_and_restores(
    operated: Operated, tmp_path: Path
) -> None:
    path = operated.site.filestorage
    path.chmod(0o600)
    stamps = [operated.backup().point.stamp, operated.backup(full=True).point.stamp]

    parts = [next(operated.place().filestorage.glob(f"{each}.*fsz")) for each in stamps]
    assert [part.stat().st_mode & 0o077 for part in parts] == [0, 0]

    # grafted in place, then exchanged, which a second name makes necessary
    operated.restore()
    assert path.with_name("Data.fs.replaced").stat().st_mode & 0o077 == 0
    (tmp_path / "copy").hardlink_to(path)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    before = path.stat()
    operated.restore()

    after = path.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


@pytest.mark.parametrize(
    "options", [{}, {"blob_snapshots": "each"}, {"archive_blob": True}, {"use_rsync": True}]
)
def test_what_root_runs_once_is_left_to_the_user_of_the_site(site: Site, options) -> None:
    """Or else no command of that user could go on with it."""
    if os.geteuid():
        pytest.skip("root is not installed")
    operated, user = Operated(site, **options), 1234
    for number in range(2):
        site.commit({"a": number}, {f"x{number}": b"blob"}, at=operated.now)
        site.filestorage.with_name("Data.fs.lock").unlink(missing_ok=True)
        places = [site.filestorage.parent, site.blobstorage] if number else [site.directory]
        for path in [each for place in places for each in (place, *place.rglob("*"))]:
            os.lchown(path, user, user)
        operated.backup()
    operated.restore()

    # a link may be replaced by whoever may write to its directory
    made = [path for path in site.directory.rglob("*") if not path.is_symlink()]
    others = [path for path in made if path.stat().st_uid != user]
    assert others == []


@pytest.mark.parametrize("name", [locking.LOCK_NAME, history.NAME])
def test_a_link_among_the_backups_does_not_lead_to_live_data(operated: Operated, name: str) -> None:
    contents = operated.site.contents()
    before = operated.site.filestorage.read_bytes()
    path = operated.place().filestorage / name
    path.unlink()
    path.symlink_to(operated.site.filestorage)

    with suppress(BackupError):
        operated.backup()

    assert operated.site.filestorage.read_bytes() == before
    assert operated.site.contents() == contents

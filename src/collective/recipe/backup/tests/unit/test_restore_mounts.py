"""Restores of a site whose data lies on mounts, or where names cannot be exchanged."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.layout import walk
from collective.recipe.backup.copyblobs import backup_blobs, restore_blobs
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.operations.undo import let_go, undo
from collective.recipe.backup.restoring import swap
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.tests.blobtrees import content, nobody
from collective.recipe.backup.tests.faults.harness import Dying, FaultyFiles
from collective.recipe.backup.tests.namespaces import bind, mounted, tmpfs, unmount
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

STYLES = {
    "a directory for each chain": {},
    "a directory for each backup": {"blob_snapshots": "each"},
    "archives": {"archive_blob": True},
    "incremental archives": {"archive_blob": True, "incremental_blobs": True},
}


@pytest.fixture(params=STYLES.values(), ids=STYLES)
def options(request) -> dict[str, object]:
    return request.param


def backed_up(site: Site, **options: object) -> Operated:
    """Return a site with 20 blobs that was backed up twice, and has changed since then."""
    operated = Operated(site, **options)
    site.commit({"a": 1}, {f"b{number}": b"blob %d" % number for number in range(19)}, at=NOON)
    operated.backup()
    site.commit({"a": 2}, {"last": b"last"}, at=NOON + timedelta(minutes=90))
    operated.backup()
    return operated


def change(site: Site) -> None:
    site.commit({"a": 3}, {"later": b"later"}, at=NOON + timedelta(hours=5))


def on_a_disk(site: Site, path: Path) -> Path:
    """Move what lies at *path* to a directory that is mounted there; return that."""
    disk = site.directory.parent / f"disk-{path.name}"
    shutil.copytree(path, disk, copy_function=shutil.copy2)
    bind(disk, path)
    return disk


def lose(site: Site) -> None:
    """Lose all data; the disks stay mounted."""
    for path in [*site.filestorage.parent.iterdir(), *site.blobstorage.rglob("*")]:
        if path.is_file():
            path.unlink()


@mounted
@pytest.mark.parametrize("lost", [False, True], ids=["over", "empty"])
def test_the_blobstorage_is_a_disk_of_its_own(site: Site, options, lost: bool) -> None:
    operated = backed_up(site, **options)
    disk = on_a_disk(site, site.blobstorage)
    contents = site.contents()
    change(site)
    before = None if lost else site.contents()
    if lost:
        lose(site)

    operated.restore()

    assert site.contents() == contents
    assert mounts_in(site.blobstorage) == [site.blobstorage]
    assert content(disk) == content(site.blobstorage)
    if before:
        undo(operated.run("restore"))
        assert site.contents() == before
        undo(operated.run("restore"))
    let_go(operated.run("restore"))
    assert site.contents() == contents
    assert not [path for path in site.blobstorage.iterdir() if path.name.startswith(".backup")]


@mounted
@pytest.mark.parametrize("lost", [False, True], ids=["over", "empty"])
def test_blobs_are_spread_over_disks(site: Site, options, lost: bool) -> None:
    operated = backed_up(site, **options)
    place = site.blobstorage / "0x00" / "0x00"
    disk = on_a_disk(site, place)
    contents, stored = site.contents(), content(disk)
    change(site)
    before = None if lost else site.contents()
    if lost:
        lose(site)

    operated.restore()

    assert site.contents() == contents
    assert [name for name in content(disk) if not name.startswith(".backup")] == list(stored)
    unmount(place)
    bind(disk, place)  # as after the next boot
    assert site.contents() == contents
    if before:
        undo(operated.run("restore"))
        assert site.contents() == before
        undo(operated.run("restore"))
    let_go(operated.run("restore"))
    assert site.contents() == contents
    assert content(disk).keys() == stored.keys()


@mounted
def test_of_a_copy_of_yesterday_on_a_disk_of_its_own_only_the_rest_is_written(site: Site) -> None:
    operated = backed_up(site)
    on_a_disk(site, site.blobstorage)
    contents = site.contents()
    gone = sorted(site.blobstorage.rglob("*.blob"))[0]
    gone.unlink()
    files = FaultyFiles()

    operated.restore(files=files)

    made = [path for what, path in files.changes if what == "create" and path.suffix == ".blob"]
    assert len(made) == 1
    assert site.contents() == contents


@mounted
def test_the_filestorage_is_mounted_by_itself(site: Site) -> None:
    operated = backed_up(site)
    outside = site.directory.parent / "Data.fs of the host"
    outside.touch()
    bind(outside, site.filestorage)
    contents = operated.restore() or site.contents()
    number = outside.stat().st_ino

    assert site.contents()["values"] == {"a": 2}
    assert outside.stat().st_ino == number
    assert outside.read_bytes() == site.filestorage.read_bytes()
    operated.restore(NOON)
    assert site.contents()["values"] == {"a": 1}
    undo(operated.run("restore"))
    assert site.contents() == contents
    outside.write_bytes(b"rubbish")
    operated.restore()
    assert site.contents() == contents


@mounted
def test_a_mounted_filestorage_dies_in_the_middle_and_is_finished(site: Site) -> None:
    operated = backed_up(site)
    outside = site.directory.parent / "outside"
    outside.write_bytes(b"no filestorage" * 9000)
    bind(outside, site.filestorage)
    journal = journal_path(site.filestorage)
    changes = 0
    while not swap.is_pending(journal):
        changes += 10
        with pytest.raises(KeyboardInterrupt):
            operated.restore(files=Dying(changes))

    operated.restore()

    assert site.contents()["values"] == {"a": 2}


@mounted
def test_a_mounted_file_with_another_name_is_refused_before_anything_is_written(site: Site) -> None:
    operated = backed_up(site)
    outside = site.directory.parent / "outside"
    outside.write_bytes(site.filestorage.read_bytes())
    os.link(outside, outside.with_name("kept by somebody"))
    bind(outside, site.filestorage)
    files = FaultyFiles()

    with pytest.raises(BackupError, match="mount point, and the file has another name"):
        operated.restore(files=files)

    assert {what for what, _path in files.changes} <= {"create", "write", "fsync", "chown"}


@mounted
def test_a_file_that_is_mounted_in_the_blobstorage_is_named(site: Site) -> None:
    operated = backed_up(site)
    blob = sorted(site.blobstorage.rglob("*.blob"))[0]
    shutil.copy2(blob, site.directory / "blob")
    bind(site.directory / "blob", blob)

    with pytest.raises(BackupError, match="a file is mounted here") as caught:
        operated.restore()

    assert caught.value.where == str(blob)


@mounted
def test_another_place_may_be_a_disk_as_well(site: Site, tmp_path: Path) -> None:
    operated = backed_up(site)
    (tmp_path / "copy" / "blobstorage").mkdir(parents=True)
    tmpfs(tmp_path / "copy" / "blobstorage")

    operated.restore(to=tmp_path / "copy")

    copy = Site(site.directory)
    copy.filestorage, copy.blobstorage = tmp_path / "copy/Data.fs", tmp_path / "copy/blobstorage"
    assert copy.contents() == site.contents()


@mounted
def test_the_functions_of_other_code_restore_to_a_disk_as_well(site: Site, tmp_path: Path) -> None:
    backed_up(site)
    on_a_disk(site, site.blobstorage)
    backup_blobs(site.blobstorage, tmp_path / "backups")
    blobs = content(site.blobstorage)
    lose(site)

    restore_blobs(tmp_path / "backups", site.blobstorage)

    assert content(site.blobstorage) == blobs


@pytest.fixture
def imported(site: Site) -> None:
    """What is imported late is there before the user becomes one who may not read it."""
    operated = backed_up(site)
    operated.restore()
    undo(operated.run("restore"))


@pytest.mark.usefixtures("imported")
def test_a_blobstorage_whose_parent_is_not_writable_gets_other_contents() -> None:
    with nobody() as directory:
        site = Site(directory / "site")
        operated = backed_up(site)
        contents = site.contents()
        elsewhere = directory / "disk"
        elsewhere.mkdir()
        site.blobstorage.rename(elsewhere / "blobs")
        site.blobstorage.symlink_to(elsewhere / "blobs")
        elsewhere.chmod(0o555)
        change(site)
        before = site.contents()

        operated.restore()

        assert site.contents() == contents
        undo(operated.run("restore"))
        assert site.contents() == before
        elsewhere.chmod(0o755)


@pytest.mark.usefixtures("imported")
def test_where_nothing_can_be_made_at_all_it_is_told_before_anything_is_written() -> None:
    with nobody() as directory:
        site = Site(directory / "site")
        operated = backed_up(site)
        elsewhere = directory / "disk"
        elsewhere.mkdir()
        site.blobstorage.rename(elsewhere / "blobs")
        site.blobstorage.symlink_to(elsewhere / "blobs")
        for path in (elsewhere / "blobs", elsewhere):
            path.chmod(0o555)

        with pytest.raises(BackupError, match="nothing can be made in it: Permission") as caught:
            operated.restore()

        assert caught.value.where == str(elsewhere / "blobs")
        assert not list(site.filestorage.parent.glob("*.restoring"))
        for path in (elsewhere, elsewhere / "blobs"):
            path.chmod(0o755)


@pytest.mark.needs("rsync")
@pytest.mark.parametrize("use_rsync", [False, True])
def test_no_backup_takes_what_a_restore_left_in_the_blobstorage(
    site: Site, use_rsync: bool
) -> None:
    operated = backed_up(site, use_rsync=use_rsync)
    for room in (".backup.restoring", ".backup.leaving", ".backup.replaced"):
        (site.blobstorage / room).mkdir()
        (site.blobstorage / room / "x").touch()
    (site.blobstorage / ".backup.1234abcd.partial").mkdir()
    assert not [entry for entry in walk(site.blobstorage) if "backup" in entry.path]

    operated.backup(full=True)

    stored = [path for path in operated.place().blobstorage.rglob("*/.backup.r*")]
    assert not stored


def test_what_was_staged_goes_if_the_names_cannot_be_exchanged(site: Site, monkeypatch) -> None:
    """The disk may be full of it, and nothing live has changed."""
    operated = backed_up(site)
    change(site)
    files = Files()
    change_of = files._change

    def stuck(operation, path, function, *args, **kwargs):
        if operation == "try" and args[0] == site.filestorage and staged.exists():
            raise PermissionError(1, "not permitted", os.fspath(path))
        return change_of(operation, path, function, *args, **kwargs)

    staged = site.filestorage.with_name("Data.fs.restoring")
    os.link(site.filestorage, site.directory / "another name")  # so that it is exchanged
    monkeypatch.setattr(files, "_change", stuck)

    with pytest.raises(BackupError, match="not permitted"):
        operated.restore(files=files)

    assert not staged.exists()
    assert not site.blobstorage.with_name("blobstorage.restoring").exists()
    assert not journal_path(site.filestorage).exists()

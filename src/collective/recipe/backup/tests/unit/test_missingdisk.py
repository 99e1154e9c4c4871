"""A disk of the backups that is not mounted: a real one, at a link that stands for its mount."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD, Config, dump
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.model import MAIN, Place
from collective.recipe.backup.mounts import mount_of
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.smallfiles import rewrite

OTHER_DISK = Path("/dev/shm")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than the site."""
    if mount_of(OTHER_DISK) == mount_of(tmp_path):
        pytest.skip(f"{OTHER_DISK} is not installed as a file system of its own")
    directory = Path(tempfile.mkdtemp(dir=OTHER_DISK))
    yield directory
    shutil.rmtree(directory)


class Shelved(Operated):
    """A site whose backups lie below ``shelf``."""

    def __init__(self, site: Site, **options: object) -> None:
        super().__init__(site, **options)
        self.shelf = site.directory / "shelf"
        place = Place(
            name=MAIN, filestorage=self.shelf / "backups", blobstorage=self.shelf / "blobs"
        )
        self.config: Config = replace(self.config, destinations={STANDARD: (place,)})
        self.config_path.write_bytes(dump(self.config))

    def mount(self, disk: Path) -> None:
        self.shelf.symlink_to(disk)

    def unmount(self, *, empty: bool) -> None:
        """Take the disk away; *empty*: the directories for the backups are there below it."""
        self.shelf.unlink()
        self.shelf.mkdir()
        if empty:
            (self.shelf / "backups").mkdir()
            (self.shelf / "blobs").mkdir()


@pytest.fixture
def shelved(site: Site) -> Shelved:
    site.commit({"page": 1}, {"file": b"data"})
    return Shelved(site)


def below(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if not path.name.startswith("."))


@pytest.mark.parametrize("empty", [True, False])
def test_a_disk_that_is_not_mounted_is_not_replaced_by_the_one_below(shelved, disk, empty):
    shelved.mount(disk)
    first = shelved.backup().point
    shelved.unmount(empty=empty)
    before = below(shelved.shelf)
    shelved.site.commit({"page": 2})

    with pytest.raises(BackupError) as caught:
        shelved.backup()

    assert str(caught.value) == (
        f"the backups that were here are gone: the disk at {mount_of(disk)} is not "
        f"mounted: {shelved.shelf / 'backups'}"
    )
    assert str(shelved.config_path.with_name("whereabouts.json")) in caught.value.hint
    assert below(shelved.shelf) == before

    shutil.rmtree(shelved.shelf)
    shelved.mount(disk)
    assert shelved.backup().point.chain == first.stamp


def test_a_configuration_on_the_disk_itself_takes_no_note_away_with_it(shelved, disk):
    shelved.mount(disk)
    shelved.config_path = shelved.shelf / ".sitebackup-backup" / "config.json"
    shelved.config_path.parent.mkdir()
    first = shelved.backup().point
    note = shelved.site.filestorage.with_name("Data.fs.whereabouts.json")
    assert missingdisk.note_path(shelved.run("backup")) == note
    assert note.exists()
    shelved.unmount(empty=False)
    shelved.config_path.parent.mkdir()
    shelved.site.commit({"page": 2})

    with pytest.raises(BackupError, match="is not mounted"):
        shelved.backup()

    shutil.rmtree(shelved.shelf)
    shelved.mount(disk)
    assert shelved.backup().point.chain == first.stamp


def test_the_script_says_it_and_the_hint_works(shelved, disk, capsys):
    shelved.mount(disk)
    assert main("backup", STANDARD, shelved.config_path, ["-q"]) == 0
    shelved.unmount(empty=False)

    assert main("backup", STANDARD, shelved.config_path, ["-q"]) == 1
    assert "is not mounted" in capsys.readouterr().err

    missingdisk.note_path(shelved.run("backup")).unlink()
    assert main("backup", STANDARD, shelved.config_path, ["-q"]) == 0
    assert capsys.readouterr().err == ""
    assert len(shelved.points()) == 1


@pytest.mark.parametrize(
    ("verb", "code"), [("list", 0), ("prune", 0), ("restore", 4), ("verify", 4), ("rehearse", 4)]
)
def test_a_list_warns_of_a_disk_that_is_not_mounted(shelved, disk, capsys, verb, code):
    shelved.mount(disk)
    shelved.backup()
    shelved.unmount(empty=True)
    assert main(verb, STANDARD, shelved.config_path, ["-n"]) == code
    what = f"the disk at {mount_of(disk)} is not mounted"
    assert capsys.readouterr().err.startswith(
        f"WARNING: the backups that were here are gone: {what}: {shelved.shelf / 'backups'}\n"
    )


@pytest.mark.parametrize("arguments", [[], ["--nagios"]])
def test_the_status_says_why_there_is_no_restore_point(shelved, disk, capsys, arguments):
    shelved.mount(disk)
    shelved.backup()
    shelved.unmount(empty=True)
    assert main("status", STANDARD, shelved.config_path, arguments) == (2 if arguments else 3)
    first = capsys.readouterr().out.splitlines()[0]
    said = f"the disk at {mount_of(disk)} is not mounted: {shelved.shelf / 'backups'}"
    assert said in first
    assert first.startswith("BACKUP CRITICAL - " if arguments else "CRITICAL: ")


def test_a_pre_command_may_mount_it(shelved, disk):
    shelved.mount(disk)
    shelved.backup()
    shelved.unmount(empty=False)
    mounting = f"rm -r '{shelved.shelf}' && ln -s '{disk}' '{shelved.shelf}'"
    shelved.config = replace(
        shelved.config, options=replace(shelved.config.options, pre_command=mounting)
    )
    shelved.site.commit({"page": 2})
    shelved.backup()
    assert len(shelved.points()) == 2


def test_what_was_removed_on_purpose_is_begun_anew_with_a_warning(shelved, caplog):
    shelved.backup()
    shutil.rmtree(shelved.shelf)
    shelved.backup()
    said = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
    assert said == [
        f"the backups that were in {shelved.shelf / name} are gone: beginning anew"
        for name in ("backups", "blobs")
    ]
    caplog.clear()
    shelved.backup()
    assert [it for it in caplog.records if it.levelname == "WARNING"] == []


def test_a_new_disk_in_the_place_of_an_old_one_is_begun_with_a_warning(shelved, disk, caplog):
    shelved.backup()
    shutil.rmtree(shelved.shelf)
    shelved.mount(disk)
    shelved.backup()
    assert len(shelved.points()) == 1
    assert "beginning anew" in caplog.text


def test_a_site_that_was_on_the_disk_as_well_has_moved(shelved, caplog):
    """To a machine where that is no mount point, without its backups."""
    shelved.backup()
    note = missingdisk.note_path(shelved.run("backup"))
    there = str(shelved.site.directory.resolve().parent)
    mounts = json.loads(note.read_bytes())["mounts"]
    rewrite(note, missingdisk.FORM, mounts=dict.fromkeys(mounts, there))
    shutil.rmtree(shelved.shelf)

    assert shelved.backup().changed

    assert "beginning anew" in caplog.text


def test_the_doctor_finds_it(shelved, disk):
    shelved.mount(disk)
    shelved.backup()
    shelved.unmount(empty=True)
    found = [it for it in examine(shelved.run("doctor")) if it.subject == "places"]
    assert [it.severity for it in found] == [DoctorSeverity.PROBLEM] * 2
    assert [it.where for it in found] == [
        str(shelved.shelf / "backups"),
        str(shelved.shelf / "blobs"),
    ]
    assert all("is not mounted" in it.what and "mount it" in it.hint for it in found)


def test_the_doctor_finds_what_was_removed(shelved):
    shelved.backup()
    shutil.rmtree(shelved.shelf)
    found = [it for it in examine(shelved.run("doctor")) if it.subject == "places"]
    assert [(it.severity, it.what) for it in found if it.severity is not DoctorSeverity.OK] == [
        (DoctorSeverity.WARNING, "the backups that were here at the last run are gone")
    ] * 2


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"format": 2, "mounts": {}}', b'{"format": 1, "mounts": 3}']
)
def test_a_damaged_note_is_none(shelved, disk, damage):
    shelved.mount(disk)
    shelved.backup()
    note = missingdisk.note_path(shelved.run("backup"))
    note.write_bytes(damage)
    assert list(missingdisk.gone(shelved.run("backup"))) == []
    shelved.backup()
    assert set(json.loads(note.read_bytes())["mounts"].values()) == {str(mount_of(disk))}


def test_nothing_is_written_if_nothing_moved(shelved):
    shelved.backup()
    note = missingdisk.note_path(shelved.run("backup"))
    before = os.stat(note)
    shelved.site.commit({"page": 2})
    shelved.backup()
    assert os.stat(note).st_ino == before.st_ino


def test_a_note_that_a_killed_run_began_is_gone_after_the_next(shelved):
    note = missingdisk.note_path(shelved.run("backup"))
    begun = note.with_name(f"{note.name}.0123abcd.partial")
    begun.write_bytes(b"{")
    shelved.backup()
    assert note.exists()
    assert not begun.exists()

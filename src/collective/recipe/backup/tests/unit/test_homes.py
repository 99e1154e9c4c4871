"""Where restore points are at home: a directory here, or a store elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from collective.recipe.backup.destinations.directory.directoryhome import home_in
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.errors import InUse
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN, Place, Source
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

SOURCE = Source(name=MAIN, filestorage=Path("/site/Data.fs"), blobstorage=Path("/site/blobs"))
PLACE = Place(name=MAIN, filestorage=Path("/backups"), blobstorage=Path("/blobbackups"))


def test_the_home_of_filestorage_and_blobs_is_where_the_filestorage_backups_lie() -> None:
    home = home_in(SOURCE, PLACE)
    assert (home.label, home.state, home.lock) == ("/backups", PLACE.filestorage, PLACE.filestorage)


def test_the_home_of_blobs_alone_is_where_the_blob_backups_lie() -> None:
    home = home_in(SOURCE, PLACE, only_blobs=True)
    assert (home.label, home.state, home.lock) == (
        "/blobbackups",
        PLACE.blobstorage,
        PLACE.blobstorage,
    )


def test_a_home_says_which_part_of_the_site_fills_each_of_its_directories() -> None:
    home = home_in(SOURCE, PLACE)
    assert home.directories == [PLACE.filestorage, PLACE.blobstorage]
    assert [each.live for each in home.fills] == [SOURCE.filestorage, SOURCE.blobstorage]


def test_a_home_holds_the_files_in_its_directories_and_nothing_else() -> None:
    home = home_in(SOURCE, PLACE)
    assert home.holds(Path("/backups/2026-03-01-12-00-00.fsz"))
    assert home.holds(Path("/blobbackups/blobs.0/blobs/0x01.blob"))
    assert not home.holds(SOURCE.filestorage)
    assert not home_in(SOURCE, Place(name=MAIN, filestorage=Path("/backups"))).holds(
        Path("/blobbackups")
    )


def test_one_writer_at_a_time_holds_a_directory_and_says_who_it_is(site: Site) -> None:
    operated = Operated(site)
    operated.backup()
    [home] = operated.run("backup").homes
    assert home.holder() is None
    with home.locked("the first"):
        assert home.holder() == "the first"
        with pytest.raises(InUse, match="the first"), home.locked("the second"):
            pass
    assert home.holder() is None


def test_before_the_first_backup_there_is_nothing_to_look_at(site: Site) -> None:
    operated = Operated(site)
    [home] = operated.run("list").homes
    assert not home.is_there()
    operated.backup()
    assert home.is_there()


def test_a_store_without_a_lock_lets_several_writers_in_at_once(tmp_path: Path) -> None:
    home = Home(label="s3://bucket", state=tmp_path / "state", lock=None)
    assert home.is_there()
    assert home.may_be_locked()
    with home.locked("the first"), home.locked("the second"):
        assert home.holder() is None
    assert list(tmp_path.iterdir()) == []


def test_directories_are_examined_and_left_as_they_were(site: Site) -> None:
    operated = Operated(site)
    operated.backup()
    place = operated.place()
    (place.filestorage / "notes").touch()
    before = sorted(site.directory.rglob("*"))
    [home] = operated.run("doctor").homes
    found = [(each.what, each.where) for each in home.examine(Files())]
    assert {("can be written to", str(directory)) for directory in place.directories} < set(found)
    assert ("not ours, so it stays here for ever: notes", str(place.filestorage)) in found
    assert sorted(site.directory.rglob("*")) == before


def test_what_lies_below_a_disk_that_is_not_mounted_is_left_alone(site: Site) -> None:
    operated = Operated(site)
    operated.backup()
    place, files = operated.place(), FaultyFiles()
    [home] = operated.run("doctor").homes
    found = list(home.examine(files, unmounted={place.filestorage}))
    assert {each.where for each in found} == {str(place.blobstorage)}
    assert all(path.is_relative_to(place.blobstorage) for _operation, path in files.changes)


def test_a_store_elsewhere_has_no_directory_to_examine(tmp_path: Path) -> None:
    home = Home(label="s3://bucket", state=tmp_path / "state", lock=None)
    assert list(home.examine(Files())) == []
    assert list(tmp_path.iterdir()) == []

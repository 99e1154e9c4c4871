"""Several storages of a site are backed up and restored as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.config import STANDARD, dump
from collective.recipe.backup.errors import BackupError, InUse, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.operations.backup import back_up
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.undo import undo
from collective.recipe.backup.tests.faults.harness import Fault, FaultyFiles
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of


class Mounted(Operated):
    """A site with a mounted catalog storage, which is listed before the main one."""

    def __init__(self, main: Site, catalog: Site) -> None:
        super().__init__(main)
        self.catalog = catalog
        source = Source(
            name="catalog", filestorage=catalog.filestorage, blobstorage=catalog.blobstorage
        )
        var = main.directory / "var"
        place = Place(
            name="catalog",
            filestorage=var / "backups_catalog",
            blobstorage=var / "blobstoragebackups_catalog",
        )
        self.config = replace(
            self.config,
            sources=(source, *self.config.sources),
            destinations={STANDARD: (place, *self.config.destinations[STANDARD])},
        )
        self.config_path.write_bytes(dump(self.config))

    def back_up_both(self, **more) -> list:
        self.now += timedelta(hours=1)
        return back_up(self.run("backup", **more))

    def contents(self) -> list:
        return [self.catalog.contents(), self.site.contents()]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    main, catalog = Site(tmp_path / "main"), Site(tmp_path / "catalog")
    main.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    catalog.commit({"c": 1}, {"d": b"other"}, at=NOON)
    yield Mounted(main, catalog)


def test_a_restore_brings_back_both_storages_of_a_site(mounted: Mounted) -> None:
    mounted.back_up_both()
    mounted.catalog.commit({"c": 2})
    contents = mounted.contents()
    outcomes = mounted.back_up_both()
    assert [outcome.changed for outcome in outcomes] == [True, False]
    mounted.site.lose()
    mounted.catalog.lose()

    mounted.restore()

    assert mounted.contents() == contents


@pytest.mark.parametrize("packed", ["site", "catalog"])
def test_after_a_pack_of_either_blobs_alone_are_not_put_back(mounted: Mounted, packed: str) -> None:
    """Their filestorage stays as it is in such a restore, but it must be the same still."""
    for site in (mounted.site, mounted.catalog):
        site.commit({}, {f"b{number}": b"blob %d" % number for number in range(7)})
    mounted.back_up_both()
    for site in (mounted.site, mounted.catalog):
        site.commit({}, {"new": b"later"})
    mounted.restore(filestorage=False)
    packed_one: Site = getattr(mounted, packed)
    packed_one.pack()
    before = sorted(packed_one.blobstorage.rglob("*"))

    with pytest.raises(NoRestorePoint, match="packed since then"):
        undo(mounted.run("restore"))

    assert sorted(packed_one.blobstorage.rglob("*")) == before


def test_a_moment_is_the_same_for_both(mounted: Mounted) -> None:
    mounted.back_up_both()
    contents = mounted.contents()
    mounted.catalog.commit({"c": 2}, at=NOON + timedelta(minutes=80))
    mounted.site.commit({"a": 2}, at=NOON + timedelta(minutes=81))
    mounted.back_up_both()

    mounted.restore(NOON + timedelta(minutes=79))

    assert mounted.contents() == contents


def test_one_undo_puts_both_back(mounted: Mounted) -> None:
    mounted.back_up_both()
    mounted.catalog.commit({"c": 2})
    mounted.site.commit({"a": 2})
    contents = mounted.contents()
    mounted.restore()
    assert mounted.contents() != contents

    undo(mounted.run("restore"))

    assert mounted.contents() == contents


def test_nothing_is_replaced_before_both_are_whole(mounted: Mounted) -> None:
    mounted.back_up_both()
    for storage in (mounted.catalog, mounted.site):
        storage.commit({"x": 1})
        with storage.filestorage.open("r+b") as file:
            file.seek(60)
            file.write(b"damage")
    before = [mounted.catalog.filestorage.read_bytes(), mounted.site.filestorage.read_bytes()]
    files = FaultyFiles()
    mounted.restore(files=files)
    undo(mounted.run("restore"))
    writes = [at for at, (kind, _path) in enumerate(files.changes, 1) if kind == "write"]

    for at in writes[: len(writes) // 2]:
        with pytest.raises(BackupError):
            mounted.restore(files=FaultyFiles(Fault.NO_SPACE, at))
        after = [mounted.catalog.filestorage.read_bytes(), mounted.site.filestorage.read_bytes()]
        assert after == before


def test_an_open_catalog_is_refused(mounted: Mounted) -> None:
    mounted.back_up_both()
    with mounted.catalog.opened(), pytest.raises(InUse):
        mounted.restore()


def test_each_storage_gets_its_own_place_elsewhere(mounted: Mounted, tmp_path: Path) -> None:
    mounted.back_up_both()
    to = tmp_path / "to"

    restore(mounted.run("restore", files=Files()), RestoreOrder(to=to))

    assert contents_of(to / "Data.fs", to / "blobstorage") == mounted.site.contents()
    catalog = contents_of(to / "catalog/Data.fs", to / "catalog/blobstorage")
    assert catalog == mounted.catalog.contents()

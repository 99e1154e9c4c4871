"""The blob cache of a ZEO client in the place of the blobstorage: refused before all else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ZODB
from ZEO.ClientStorage import ClientStorage

from collective.recipe.backup import copyblobs
from collective.recipe.backup.blobs.marker import is_cache
from collective.recipe.backup.config import dump
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.zeo import Zeo


@pytest.fixture
def cache(site: Site) -> Iterator[Path]:
    """A cache that a real client has left, with one of two blobs."""
    site.commit({"a": 1}, {"x": b"one", "y": b"two"}, at=NOON)
    directory = site.directory / "var" / "blobcache"
    with Zeo(site) as zeo:
        storage = ClientStorage(
            zeo.address, blob_dir=str(directory), shared_blob_dir=False, server_sync=True
        )
        db = ZODB.DB(storage)
        with db.transaction() as connection, connection.root()["blobs"]["x"].open() as file:
            assert file.read() == b"one"
        db.close()
    yield directory


def with_blobs_in(operated: Operated, directory: Path) -> Operated:
    [source] = operated.config.sources
    sources = (replace(source, blobstorage=directory),)
    operated.config = replace(operated.config, sources=sources)
    operated.config_path.write_bytes(dump(operated.config))
    return operated


def not_well(operated: Operated) -> list[tuple[DoctorSeverity, str, str]]:
    findings = examine(operated.run("doctor"))
    return [
        (it.severity, it.what, it.where) for it in findings if it.severity is not DoctorSeverity.OK
    ]


def test_a_real_client_says_that_it_is_a_cache(site: Site, cache: Path) -> None:
    assert is_cache(cache)
    assert not is_cache(site.blobstorage)
    assert not is_cache(site.directory / "nothing")


def test_a_blob_cache_is_refused_by_its_live_path_before_anything_is_written(
    site: Site, cache: Path
) -> None:
    operated = with_blobs_in(Operated(site), cache)
    with pytest.raises(ConfigurationError, match="the blob cache of a ZEO client") as caught:
        operated.backup()
    assert caught.value.where == str(cache)
    assert "the ZEO server writes to" in caught.value.hint
    assert not operated.place().filestorage.exists()
    assert list((site.directory / "var").glob("blobstorage?*")) == []


def test_the_doctor_says_so(site: Site, cache: Path) -> None:
    operated = with_blobs_in(Operated(site), cache)
    [(severity, what, where)] = not_well(operated)
    assert (severity, where) == (DoctorSeverity.PROBLEM, str(cache))
    assert what == "this is the blob cache of a ZEO client, and no blobstorage"


def test_nothing_is_restored_into_it(site: Site, cache: Path) -> None:
    operated = Operated(site)
    operated.backup()
    before = sorted(cache.rglob("*"))
    with pytest.raises(ConfigurationError, match="the blob cache of a ZEO client"):
        with_blobs_in(operated, cache).restore()
    assert sorted(cache.rglob("*")) == before


def test_the_functions_that_other_code_calls_refuse_it_too(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the blob cache of a ZEO client"):
        copyblobs.backup_blobs(cache, tmp_path / "backups")
    assert not (tmp_path / "backups").exists()


def test_what_a_configuration_of_before_has_left_among_the_blobs_is_found(site: Site) -> None:
    site.commit({"a": 1}, {"x": b"one"}, at=NOON)
    other = site.directory / "var" / "blobcache"
    shutil.copytree(site.blobstorage, other)
    operated = with_blobs_in(Operated(site), other)
    operated.backup()

    with_blobs_in(operated, site.blobstorage)
    operated.backup(full=True)

    # beside the restore point of that time, whose blobs are not looked for under that name
    [(severity, what, where), _point] = not_well(operated)
    assert (severity, where) == (DoctorSeverity.WARNING, str(operated.place().blobstorage))
    assert what == (
        "1 backup of blobs is from when blob_storage was a directory called blobcache; "
        "nothing removes them"
    )

"""Blobs that the site has lost or changed, and that a repository has as they were."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import damage
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.repositorysites import small_pages
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.staged import stage_choice

BLOBS = 4


@pytest.fixture(params=[False, True], ids=["with a log", "only_blobs"])
def operated(request: pytest.FixtureRequest, tmp_path: Path) -> OperatedInRepository:
    """A site that was backed up after each of some commits of one blob."""
    found = OperatedInRepository(Site(tmp_path / "site"), only_blobs=request.param, keep=0)
    for number in range(BLOBS):
        found.site.commit({}, {f"b{number}": data_of(number)})
        found.backup()
    return found


def data_of(number: int) -> bytes:
    return b"%d" % number * (1000 + number)


def file_of(operated: OperatedInRepository, number: int) -> Path:
    blobs = operated.site.blobstorage.rglob("*.blob")
    [found] = [path for path in blobs if path.stat().st_size == 1000 + number]
    return found


def rot(file: Path) -> None:
    """Give *file* other bytes, as many as it had."""
    file.chmod(0o600)
    file.write_bytes(b"x" * file.stat().st_size)


def staged(operated: OperatedInRepository, target: Path) -> dict:
    """Return the newest blobs, restored to *target*."""
    destination = operated.destination()
    choice = choose(destination.restore_points(), None)
    log = None if operated.config.options.only_blobs else target / "Data.fs"
    target.mkdir()
    blobs = target / "blobs"
    stage_choice(
        destination, choice, Targets(filestorage=log, index=target / "index", blobstorage=blobs)
    )
    return content(blobs)


def bundles(operated: OperatedInRepository, backup: int) -> list[str]:
    """Return the names of the bundles of one of the backups; 0: the first."""
    times = {name: at for name, (_data, at) in operated.store.objects.items()}
    moment = sorted(at for name, at in times.items() if name.startswith("m/p-"))[backup]
    return [name for name, at in times.items() if name.startswith("bundles/") and at == moment]


def a_bundle_was_found_damaged(operated: OperatedInRepository) -> None:
    """Lose what the first backup stored, and note it, as ``scrub`` does."""
    names = bundles(operated, 0)
    for name in names:
        data, moment = operated.store.objects[name]
        operated.store.objects[name] = data[:60] + bytes([data[60] ^ 1]) + data[61:], moment
    [home] = operated.run("list").homes
    damage.remember_objects(home.state, names, Files())


def the_newest_page_is_gone(operated: OperatedInRepository) -> None:
    """Lose what the last backup stored; nobody has seen it."""
    for name in bundles(operated, -1):
        del operated.store.objects[name]


def an_older_restore_point_came_back(operated: OperatedInRepository) -> None:
    """Give the first restore point the time at which an undelete puts it again."""
    points = sorted(name for name in operated.store.objects if name.startswith("m/p-"))
    data, _moment = operated.store.objects[points[0]]
    operated.store.objects[points[0]] = data, operated.now + timedelta(minutes=30)


@pytest.mark.parametrize(
    "happens",
    [a_bundle_was_found_damaged, the_newest_page_is_gone, an_older_restore_point_came_back],
)
def test_a_blob_that_is_read_again_is_taken_as_it_was_backed_up_once(
    operated: OperatedInRepository,
    tmp_path: Path,
    happens: Callable[[OperatedInRepository], None],
) -> None:
    whole = content(operated.site.blobstorage)
    happens(operated)
    rot(file_of(operated, 1))
    if not operated.config.options.only_blobs:  # else no log says that it should be there
        file_of(operated, 2).unlink()
    operated.site.commit({}, {"new": b"new"})
    new = content(operated.site.blobstorage)
    is_read_by_no_other = happens is an_older_restore_point_came_back

    with pytest.raises(IntegrityError, match="blobs? of the site"):
        operated.backup(full=operated.config.options.only_blobs and is_read_by_no_other)

    assert staged(operated, tmp_path / "to") == new | whole


def test_a_changed_blob_is_named_by_each_backup_until_the_site_has_it_as_it_was(
    operated: OperatedInRepository,
) -> None:
    file = file_of(operated, 1)
    right = file.read_bytes()
    rot(file)
    named = r"1 blob of the site .*backed up once"
    for number, full in enumerate([True, False, True, False]):
        with pytest.raises(IntegrityError, match=named):
            operated.backup(full=full)
        operated.site.commit({}, {f"more{number}": b"more"})
        with pytest.raises(IntegrityError, match=named):
            operated.backup()
    made = len(operated.points())
    with pytest.raises(IntegrityError, match=named):
        operated.backup()
    assert len(operated.points()) == made, "there is nothing new to tell"

    file.write_bytes(right)
    assert operated.backup().point.doubts == ()
    assert not operated.backup().changed


def test_a_changed_blob_is_named_no_more_once_it_is_accepted(
    operated: OperatedInRepository,
) -> None:
    rot(file_of(operated, 1))
    with pytest.raises(IntegrityError, match="1 blob of the site"):
        operated.backup(full=True)
    assert operated.backup(accept=True).point.doubts == ()
    operated.site.commit({}, {"more": b"more"})
    assert operated.backup().point.doubts == ()
    assert operated.backup(full=True).point.doubts == ()


def test_a_changed_blob_in_a_full_page_is_named_as_well(
    operated: OperatedInRepository,
) -> None:
    with small_pages(page=2):
        rot(file_of(operated, 0))
        with pytest.raises(IntegrityError, match="1 blob of the site"):
            operated.backup(full=True)
        operated.site.commit({}, {"more": b"more"})
        with pytest.raises(IntegrityError, match="1 blob of the site"):
            operated.backup()
        file_of(operated, 0).write_bytes(data_of(0))
        assert operated.backup().point.doubts == ()

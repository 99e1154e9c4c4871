"""Logs in a repository: each moment can be had again, and a pack stores a selection."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from collective.recipe.backup.destinations.repository.logchunks import StoredChunks
from collective.recipe.backup.destinations.repository.logmemory import LogMemory, look_at
from collective.recipe.backup.destinations.repository.logs import (
    earlier_log,
    log_state,
    stored_log,
)
from collective.recipe.backup.destinations.repository.pointcontents import (
    LogPart,
    PointContents,
    contents_of,
)
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    NoRestorePoint,
)
from collective.recipe.backup.filestorage.segments.segmentends import LEAST
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.repository import ranges, reading
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.pruning import prune
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.faults.stores import FaultyStore
from collective.recipe.backup.tests.repositories import World
from collective.recipe.backup.tests.repositorysites import (
    SiteBackups,
    all_of,
    bundles_of,
    opened,
    spoil_bundles,
    stored_bytes,
)
from collective.recipe.backup.tests.samples import FOUNDED, Site
from collective.recipe.backup.tests.segmented import small_sizes

DAY = timedelta(days=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def backups(world: World, site: Site) -> SiteBackups:
    return SiteBackups(world, site.filestorage)


def day(number: int) -> datetime:
    return FOUNDED + number * DAY


def grow(site: Site, first: int, last: int, *, size: int = 700) -> None:
    """Commit each day from *first* to *last*: six of forty objects, which do not compress."""
    chance = random.Random(first)
    with site.opened():
        for number in range(first, last + 1):
            names = [str(chance.randrange(40)) for _value in range(6)]
            site.commit({name: chance.randbytes(size) for name in names}, at=day(number))


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_each_moment_is_restored_to_the_byte_through_commits_undo_and_packs(tmp_path, site, kind):
    store = LocalStore(tmp_path / "store", Hasty()) if kind == "directory" else None
    backups = SiteBackups(World(tmp_path, store), site.filestorage)
    points = []

    def back_up() -> None:
        point = backups.back_up()
        assert point is not None
        points.append((point, site.filestorage.read_bytes()))

    grow(site, 1, 20)
    back_up()
    site.undo(site.commit({"0": "wrong"}, at=day(21)), at=day(22))
    back_up()
    site.pack(day(10))
    back_up()
    grow(site, 23, 30)
    back_up()
    site.pack(day(25))
    site.pack(day(28))
    back_up()
    path = tmp_path / "compared.fs"
    moments = 0
    for point, data in points:
        assert backups.restored(point) == data
        path.write_bytes(data)
        with TransactionLog(path) as log:
            for each in log.transactions():
                try:
                    found = backups.restored(point, each.tid)
                except NoRestorePoint:
                    assert each.packed
                    continue
                assert found == data[: log.cut(each.tid).offset]
                moments += 1
    assert moments > 60


def test_a_filestorage_that_looks_as_before_is_not_opened(backups, site):
    grow(site, 1, 3)
    point = backups.back_up()
    assert point is not None
    site.filestorage.rename(away := site.filestorage.with_name("away"))
    away.rename(site.filestorage)
    assert backups.back_up() is None
    grow(site, 4, 4)
    assert backups.back_up() is not None


def test_another_newest_restore_point_than_the_one_remembered_is_no_reason_to_do_nothing(
    world, backups, site
):
    grow(site, 1, 3)
    backups.back_up()
    elsewhere = SiteBackups(world, site.filestorage, cache="elsewhere")
    grow(site, 4, 4)
    assert elsewhere.back_up() is not None
    look = look_at(site.filestorage)
    with world.open("c") as repository:
        newest = repository.points.newest(repository.look(), "site")
        assert LogMemory(repository.cache, "site").recall(newest.name) is None
        LogMemory(repository.cache, "site").remember(newest.name, look)
        assert LogMemory(repository.cache, "site").recall(newest.name) == look
        repository.cache.set("log site", b"[]")
        assert LogMemory(repository.cache, "site").recall(newest.name) is None


def test_a_filestorage_that_is_missing_is_named(tmp_path):
    with pytest.raises(BackupError, match="cannot open the filestorage"):
        look_at(tmp_path / "Data.fs")


class TestWhatIsStored:
    """A site of some megabytes, so that what is stored can be compared with it."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        site = Site(tmp_path / "site")
        grow(site, 1, 250, size=5000)
        assert site.filestorage.stat().st_size > 6_000_000
        return site

    def test_a_day_costs_what_changed(self, backups, site):
        backups.back_up()
        before = site.filestorage.stat().st_size
        grow(site, 251, 253, size=5000)
        backups.back_up()
        grown = site.filestorage.stat().st_size - before
        # a last segment that is small is stored again; the repository's keys draw its size
        assert backups.added < LEAST + 3 * grown + 20_000
        assert backups.new.kept > before / 3

    def test_a_pack_costs_less_than_a_hundredth(self, backups, site):
        backups.back_up()
        size = site.filestorage.stat().st_size
        for number in (100, 200):
            site.pack(day(number))
            point = backups.back_up()
            assert backups.added < size / 100
            assert backups.restored(point) == site.filestorage.read_bytes()
        assert site.filestorage.stat().st_size < size / 2

    def test_what_packs_have_left_little_of_is_stored_anew_once_nothing_older_needs_it(
        self, world, backups, site
    ):
        points = [backups.back_up()]
        size = site.filestorage.stat().st_size
        for number in (150, 245):
            site.pack(day(number))
            points.append(backups.back_up())
            assert backups.added < size / 100
        with world.open("c") as repository:
            assert use_of(repository, points[-1]) < 0.5
            prune(repository, points[:-1], yes=True)
        site.pack(day(248))
        points.append(backups.back_up())
        assert size / 100 < backups.added < size / 10
        assert backups.restored(points[-1]) == site.filestorage.read_bytes()
        with world.open("c") as repository:
            # what is used by half stays; the repository's keys draw where segments end
            assert use_of(repository, points[-1]) > 0.5

    @pytest.mark.parametrize("cache", [None, "new"])
    def test_another_host_stores_nothing_again(self, world, backups, site, cache):
        backups.back_up()
        site.pack(day(100))
        backups.back_up()
        elsewhere = SiteBackups(world, site.filestorage, cache=cache)
        point = elsewhere.back_up()
        assert elsewhere.added == 0
        assert point.roots == (backups.new.root,)

    def test_a_staging_copy_builds_on_the_log_of_its_site(self, world, backups, site, tmp_path):
        backups.back_up()
        site.pack(day(100))
        backups.back_up()
        copy = Site(tmp_path / "copy")
        copy.filestorage.write_bytes(site.filestorage.read_bytes())
        before = stored_bytes(world)
        staging = SiteBackups(world, copy.filestorage, site="staging", cache="staging")
        point = staging.back_up()
        assert stored_bytes(world) - before < site.filestorage.stat().st_size / 50
        assert staging.restored(point) == site.filestorage.read_bytes()

    def test_a_site_of_its_own_does_not_build_on_another(self, world, backups, site, tmp_path):
        backups.back_up()
        other = Site(tmp_path / "other", founded=day(1))
        point = SiteBackups(world, other.filestorage, site="other").back_up()
        assert SiteBackups(world, other.filestorage).restored(point) == (
            other.filestorage.read_bytes()
        )

    def test_what_was_found_damaged_is_stored_anew(self, world, backups, site):
        first = backups.back_up()
        spoil_bundles(world)
        with world.open("c") as repository, pytest.raises(IntegrityError):
            all_of(opened(repository, first))
        site.pack(day(100))
        point = backups.back_up()
        assert backups.restored(point) == site.filestorage.read_bytes()
        assert backups.new.kept == 4

    def test_an_earlier_log_that_cannot_be_read_is_passed_over(self, world, backups, site):
        backups.back_up()
        before = dict(world.store.objects)
        for name, (data, stored) in before.items():
            if name.startswith("bundles/"):
                world.store.objects[name] = bytes(len(data)), stored
        with world.open() as repository, TransactionLog(site.filestorage) as log:
            assert earlier_log(repository, repository.look(), "site", log) is None
            world.store.objects = before
            assert earlier_log(repository, repository.look(), "site", log) is not None


def use_of(repository: Repository, point: Point) -> float:
    state = log_state(repository, point)
    assert state is not None
    return state.use(StoredChunks(ChunkReader(repository)))


def test_what_a_page_names_is_stored_anew_where_only_that_is_damaged(world, backups, site):
    with small_sizes(1 << 16):
        grow(site, 1, 3, size=5000)
        backups.back_up()
        assert not backups.new.state.pages
        first = bundles_of(world)
        # the page that names the first segments is in another bundle
        grow(site, 4, 16, size=5000)
        backups.back_up()
        assert backups.new.state.pages
        spoil_bundles(world, first)
        grow(site, 17, 17, size=5000)
        point = backups.back_up()
        assert backups.restored(point) == site.filestorage.read_bytes()


def test_a_filestorage_without_transactions_is_stored(world, tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(b"FS30")
    backups = SiteBackups(world, path)
    point = backups.back_up()
    assert backups.restored(point) == b"FS30"


def test_a_log_is_read_at_any_place_with_few_reads_of_the_store(world, backups, site):
    grow(site, 1, 40)
    point = backups.back_up()
    with world.open("c") as repository:
        log = opened(repository, point, until=None)
        assert log.read_at(1000, 500) == site.filestorage.read_bytes()[1000:1500]
        assert str(log.path).endswith(point.name)
        assert log.mode == os.stat(site.filestorage).st_mode & 0o777


class TestContents:
    def test_what_a_restore_point_holds_is_read_as_it_was_written(self, backups, site):
        point = backups.back_up()
        contents = contents_of(point)
        assert contents == PointContents(log=LogPart(root=backups.new.root, mode=0o644))
        assert contents.roots == point.roots

    def test_a_restore_point_without_a_filestorage_has_no_log(self, world, backups, site):
        point = replace(backups.back_up(), payload=PointContents().payload(), roots=())
        with world.open() as repository:
            assert stored_log(repository, point, None) is None

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"[]",
            b"{}",
            b"{",
            b'{"format": 1, "log": 1}',
            b'{"format": 1, "log": {"root": 1, "mode": 1}}',
            b'{"format": 1, "log": {"root": -1, "mode": 1}}',
            b'{"format": 1, "log": {"root": 0}}',
            b'{"format": 1, "blobs": {}}',
        ],
    )
    def test_a_restore_point_that_does_not_say_what_it_holds_is_refused(self, backups, payload):
        point = replace(backups.back_up(), payload=payload)
        with pytest.raises(IntegrityError, match="does not say what it holds"):
            contents_of(point)


def test_a_log_is_read_by_ranges_of_bytes_and_not_segment_by_segment(world, site):
    with site.opened():
        for number in range(1, 41):
            site.commit({"day": os.urandom(900).hex()}, at=FOUNDED + number * DAY)
    backups = SiteBackups(world, site.filestorage)
    with ExitStack() as stack:
        stack.enter_context(small_sizes())
        # four segments are a range, which is less than a page of spans
        for module, name, value in (
            (ranges, "LOOKED_UP", 4),
            (ranges, "PLAIN", 13_000),
            (reading, "PLAIN", 13_000),
        ):
            stack.enter_context(patch.object(module, name, value))
        point = backups.back_up()
        assert point is not None
        store = FaultyStore(world.store)
        with world.open(backups.cache, store) as repository:
            state, log = log_state(repository, point), stored_log(repository, point, None)
            assert state is not None
            assert log is not None
            assert state.span_count > 30
            store.asked.clear()
            assert all_of(log) == site.filestorage.read_bytes()
    # each page once
    assert store.counted()["get"] <= len(state.pages) + state.span_count // 2

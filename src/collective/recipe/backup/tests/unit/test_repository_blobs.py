"""Blobs in a repository: stored once, listed in pages that are shared, read and copied."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.Connection import TransactionMetaData

from collective.recipe.backup.blobs.digesting import checksum_of, same_time
from collective.recipe.backup.blobs.layout import MARKER, Layout, blob_of, order, walk
from collective.recipe.backup.destinations.repository import newfiles
from collective.recipe.backup.destinations.repository.blobpages import (
    BlobFile,
    BlobList,
    PagedBlob,
    page_of,
    read_list,
    read_page,
    written_page,
)
from collective.recipe.backup.destinations.repository.coldstorage import cold_objects
from collective.recipe.backup.destinations.repository.logs import stored_log
from collective.recipe.backup.destinations.repository.newfiles import BlobSource
from collective.recipe.backup.destinations.repository.pagedblobs import PagedBlobs
from collective.recipe.backup.destinations.repository.pointblobs import blob_list, stored_blobs
from collective.recipe.backup.errors import BackupError, IntegrityError, ObjectArchived
from collective.recipe.backup.filestorage import blobrecords
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.progress import Silent, ignore
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.faults.stores import FaultyStore
from collective.recipe.backup.tests.repositories import Clock, World
from collective.recipe.backup.tests.repositorysites import (
    SiteBackups,
    bundles_of,
    files_of,
    named_in,
    small_pages,
    spoil_bundles,
)
from collective.recipe.backup.tests.samples import FOUNDED, FileStorage, Site
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid, tid_at

DAY = timedelta(days=1)
SMALL, MANY = 4096, 8
"""Bytes of a piece, and blobs of a page, in these tests."""


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_pages(SMALL, MANY):
        yield


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.kept:
        yield world


@pytest.fixture
def backups(world: World, site: Site) -> SiteBackups:
    return SiteBackups(world, site.filestorage, blobs=site.blobstorage)


def day(number: int) -> datetime:
    return FOUNDED + number * DAY


def grow(site: Site, first: int, last: int, *, names: int = 50) -> None:
    """Commit a few blobs each day from *first* to *last*, of all sizes."""
    chance = random.Random(first)
    with site.opened():
        for number in range(first, last + 1):
            size = (0, 1, 700, SMALL, SMALL + 1, 5 * SMALL)[number % 6]
            found = {
                str(chance.randrange(names)): chance.randbytes(size + each) for each in range(3)
            }
            site.commit({"day": number}, found, at=day(number))


def wanted_of(site: Site) -> dict[str, bytes]:
    """Return the blobs that the log names and the site has."""
    named = named_in(site.filestorage)
    return {path: data for path, data in files_of(site.blobstorage).items() if path in named}


def opened(backups: SiteBackups, point: Point, until: Tid | None = None) -> PagedBlobs:
    repository = backups.world.kept.enter_context(backups.world.open(backups.cache))
    found = stored_blobs(repository, point, until)
    assert found is not None
    return found


def restored(backups: SiteBackups, point: Point, target: Path, until: Tid | None = None):
    return backups.restore_blobs(point, target, until)


def back_up(backups: SiteBackups) -> Point:
    point = backups.back_up()
    assert point is not None
    return point


def test_blobs_are_restored_to_the_byte_through_commits_undo_and_packs(backups, site, tmp_path):
    taken = []
    grow(site, 1, 20)
    taken.append((back_up(backups), wanted_of(site)))
    site.undo(site.commit({}, {"0": b"wrong"}, at=day(21)), at=day(22))
    taken.append((back_up(backups), wanted_of(site)))
    site.pack(day(15))
    taken.append((back_up(backups), wanted_of(site)))
    grow(site, 23, 30)
    site.pack(day(28))
    taken.append((back_up(backups), wanted_of(site)))
    for number, (point, right) in enumerate(taken):
        assert restored(backups, point, tmp_path / f"r{number}") == right
    assert len({len(right) for _point, right in taken}) == 4


def test_up_to_a_moment_later_blobs_are_left_out(backups, site, tmp_path):
    grow(site, 1, 12)
    point = back_up(backups)
    everything = wanted_of(site)
    for number, tid in enumerate(sorted({blob_of(path).tid for path in everything})):
        right = {p: data for p, data in everything.items() if blob_of(p).tid <= tid}
        assert restored(backups, point, tmp_path / f"r{number}", tid) == right
    assert restored(backups, point, tmp_path / "none", ZERO_TID) == {}
    assert restored(backups, point, tmp_path / "all", LAST_TID) == everything


class TestWhatIsStored:
    def test_only_new_blobs_are_read(self, backups, site):
        grow(site, 1, 12)
        back_up(backups)
        assert backups.new_blobs.files == len(wanted_of(site))
        site.commit({}, {"new": b"new"}, at=day(20))
        back_up(backups)
        assert (backups.new_blobs.files, backups.new_blobs.read) == (1, 3)
        assert backups.new_blobs.size == sum(map(len, wanted_of(site).values()))

    def test_a_day_shares_the_pages_of_earlier_ones(self, world, backups, site):
        grow(site, 1, 40)
        lists = [list_of(world, back_up(backups))]
        site.commit({}, {"new": b"new"}, at=day(41))
        lists.append(list_of(world, back_up(backups)))
        assert len(lists[0].pages) > 10
        assert lists[0].pages[:-1] == lists[1].pages[: len(lists[0].pages) - 1]

    def test_a_pack_keeps_pages_of_which_most_is_left(self, world, backups, site):
        with site.opened():
            for number in range(80):
                site.commit({}, {str(number): bytes([number]) * 900}, at=day(number + 1))
            site.commit({}, {"3": b"x", "40": b"y"}, at=day(90))
        before = list_of(world, back_up(backups))
        site.pack(day(95))
        point = back_up(backups)
        after = list_of(world, point)
        assert backups.new_blobs.files == 0
        names = {page.name for page in before.pages}
        kept = [page for page in after.pages if page.name in names]
        assert len(kept) >= len(before.pages) - 3
        assert sum(page.there for page in after.pages) == len(wanted_of(site))

    def test_a_page_with_bits_is_restored_and_packed_again(self, world, backups, site, tmp_path):
        with site.opened():
            for number in range(32):
                data = {str(number): bytes([number]) * (30 if number % 8 == 2 else 900)}
                site.commit({}, data, at=day(number + 1))
            site.commit({}, {"2": b"x", "10": b"y"}, at=day(40))
        back_up(backups)
        site.pack(day(45))
        point = back_up(backups)
        assert any(page.bits for page in list_of(world, point).pages)
        assert restored(backups, point, tmp_path / "1") == wanted_of(site)
        site.commit({}, {"18": b"z"}, at=day(50))
        site.pack(day(55))
        point = back_up(backups)
        assert restored(backups, point, tmp_path / "2") == wanted_of(site)
        assert backups.new_blobs.files <= 1

    def test_blobs_of_one_transaction_in_several_pages_are_not_read_again(self, backups, site):
        for number in (1, 2):
            some = {f"{number} {name}": bytes([name]) for name in range(3 * MANY)}
            site.commit({}, some, at=day(number))
        back_up(backups)
        site.pack(day(10))
        back_up(backups)
        assert backups.new.kept == 4
        assert backups.new_blobs.files == 0

    def test_no_more_than_a_tenth_is_held_of_what_a_pack_took(self, world, backups, site):
        with site.opened():
            for number in range(40):
                site.commit({}, {str(number): bytes([number]) * 900}, at=day(number + 1))
            site.commit({}, {str(number): b"" for number in range(0, 40, 3)}, at=day(50))
        back_up(backups)
        site.pack(day(55))
        found = list_of(world, back_up(backups))
        assert found.there_size == sum(map(len, wanted_of(site).values()))
        assert sum(page.size for page in found.pages) * 9 <= found.there_size * 10

    def test_without_an_earlier_restore_point_nothing_is_stored_again(self, world, backups, site):
        grow(site, 1, 12)
        point = back_up(backups)
        elsewhere = SiteBackups(
            world, site.filestorage, blobs=site.blobstorage, cache=None, site="site"
        )
        again = back_up(elsewhere)
        assert elsewhere.added == 0
        assert again.roots == point.roots
        assert elsewhere.new_blobs.files == 0

    def test_equal_contents_are_stored_once(self, backups, site):
        data = os.urandom(200_000)
        site.commit({}, {"a": data, "b": data}, at=day(1))
        site.commit({}, {"c": data}, at=day(2))
        back_up(backups)
        assert backups.added < 300_000


def list_of(world: World, point: Point) -> BlobList:
    with world.open("c") as repository:
        found = blob_list(repository, point)
    assert found is not None
    return found


class TestWhatCannotBeRead:
    def test_a_blob_that_is_gone_or_unreadable_is_named_and_the_rest_is_stored(
        self, backups, site, tmp_path
    ):
        grow(site, 1, 6)
        paths = sorted(wanted_of(site))
        gone, other = paths[1], paths[4]
        data = (site.blobstorage / gone).read_bytes()
        (site.blobstorage / gone).unlink()
        (site.blobstorage / other).rename(aside := tmp_path / "aside")
        (site.blobstorage / other).symlink_to(aside)
        point = back_up(backups)
        new = backups.new_blobs
        assert new.lost == 2
        assert set(new.missing) == {blob_of(gone), blob_of(other)}
        assert len(new.reasons) == 1
        assert other in new.reasons[0]
        assert sorted(restored(backups, point, tmp_path / "1")) == sorted(
            set(paths) - {gone, other}
        )
        with pytest.raises(KeyError):
            opened(backups, point).open(blob_of(gone))
        # the next backup tries them again
        (site.blobstorage / gone).write_bytes(data)
        site.commit({"again": 1}, at=day(10))
        point = back_up(backups)
        assert backups.new_blobs.lost == 1
        assert backups.new_blobs.files == 1
        assert restored(backups, point, tmp_path / "2")[gone] == data

    def test_a_blob_that_changes_its_size_is_named(self, backups, site):
        site.commit({}, {"a": b"x" * 100}, at=day(1))
        read = newfiles._pieces
        with patch.object(newfiles, "_pieces", lambda file, path, size: read(file, path, size + 1)):
            back_up(backups)
        assert "its size" in backups.new_blobs.reasons[0] or "ended" in backups.new_blobs.reasons[0]

    def test_a_blobstorage_that_is_missing_is_named(self, world, tmp_path):
        with world.open() as repository, pytest.raises(BackupError, match="blobstorage"):
            BlobSource.at(tmp_path / "none", repository)

    def test_what_was_found_damaged_is_stored_anew(self, world, backups, site, tmp_path):
        grow(site, 1, 20)
        back_up(backups)
        spoil_bundles(world)
        site.commit({"again": 1}, at=day(30))
        point = back_up(backups)
        assert restored(backups, point, tmp_path / "1") == wanted_of(site)

    @pytest.mark.parametrize("size", [900, 5 * SMALL])
    def test_damaged_blobs_of_a_sound_page_are_stored_anew(
        self, world, backups, site, tmp_path, size
    ):
        chance = random.Random(1)
        for number in range(1, MANY + 3):
            site.commit({}, {str(number): chance.randbytes(size)}, at=day(number))
            if number in {3, MANY + 2}:
                back_up(backups)
            if number == 3:
                first = bundles_of(world)
        # the page that names the first three blobs is not in the bundle that they are in
        spoil_bundles(world, first)
        site.commit({"again": 1}, at=day(30))
        point = back_up(backups)
        assert restored(backups, point, tmp_path / "1") == wanted_of(site)


def test_blobs_of_a_log_whose_tids_are_not_in_order_are_all_there(backups, site, tmp_path):
    grow(site, 1, 9)
    for moments in ((day(5), day(20)), (day(6),), (day(7), day(4)), (day(21),), (day(26), day(25))):
        commit_blob_again(site, tmp_path, *moments)
        point = back_up(backups)
        tids = [blob.tid for blob in in_order_of_the_log(site)]
        assert tids != sorted(tids)
        assert restored(backups, point, tmp_path / str(moments[0].day)) == wanted_of(site)


def test_blobs_of_another_site_are_not_taken_for_those_of_a_copy_of_it(world, site, tmp_path):
    """Both made a transaction at the same moment, and no log tells what is in a blob."""
    grow(site, 1, 6)
    backups = SiteBackups(world, site.filestorage, blobs=site.blobstorage)
    back_up(backups)
    copy = Site(tmp_path / "copy")
    shutil.rmtree(copy.filestorage.parent)
    shutil.copytree(site.directory / "var", copy.directory / "var", dirs_exist_ok=True)
    site.commit({}, {"1": b"of the site"}, at=day(10))
    back_up(backups)
    copy.commit({}, {"1": b"of the copy"}, at=day(10))
    staging = SiteBackups(world, copy.filestorage, blobs=copy.blobstorage, site="staging")
    point = back_up(staging)
    assert staging.new.kept > 4
    assert wanted_of(copy).keys() == wanted_of(site).keys()
    assert restored(staging, point, tmp_path / "1") == wanted_of(copy)
    # nor if it has restore points of its own that cannot be read
    _data, stored = world.store.objects[point.name]
    world.store.objects[point.name] = b"damaged", stored
    anew = SiteBackups(world, copy.filestorage, blobs=copy.blobstorage, site="staging", cache=None)
    assert restored(anew, back_up(anew), tmp_path / "2") == wanted_of(copy)


def commit_blob_again(site: Site, directory: Path, *moments: datetime) -> None:
    """Commit the last blob once more with the tids of *moments*, which may be earlier."""
    blob = in_order_of_the_log(site)[-1]
    with closing(FileStorage(str(site.filestorage), blob_dir=str(site.blobstorage))) as storage:
        data, _serial = storage.load(blob.oid)
        for moment in moments:
            path = directory / "again"
            path.write_bytes(b"again")
            tid, about = tid_at(moment), TransactionMetaData(description="out of order")
            storage.tpc_begin(about, tid)
            storage.restoreBlob(blob.oid, tid, data, str(path), None, about)
            storage.tpc_vote(about)
            storage.tpc_finish(about)


def in_order_of_the_log(site: Site) -> list[BlobId]:
    with TransactionLog(site.filestorage) as log:
        return list(blobrecords.blobs(log, 4, log.end().offset))


def test_a_restore_asks_for_ranges_of_bytes_and_not_page_by_page(backups, site, tmp_path):
    with site.opened():
        for number in range(1, 31):
            blobs = {f"{number}-{each}": os.urandom(300) for each in range(4)}
            site.commit({"day": number}, blobs, at=day(number))
    point = back_up(backups)
    assert len(list_of(backups.world, point).pages) == 15
    store = FaultyStore(backups.world.store)
    with backups.world.open(backups.cache, store) as repository:
        found = stored_blobs(repository, point, None)
        assert found is not None
        store.asked.clear()
        found.copy_into(tmp_path / "r", files=Hasty(), progress=Silent())
    assert files_of(tmp_path / "r") == wanted_of(site)
    # the pages, and what they name
    assert store.counted()["get"] == 2


def test_a_file_without_bytes_between_those_of_a_large_one_is_written(backups, site, tmp_path):
    """Whoever writes a file asks for the next ones between two of its pieces."""
    with site.opened():
        for number in range(1, 31):
            size = 700 * SMALL if number == 1 else 0
            site.commit({"day": number}, {f"{number}": os.urandom(size)}, at=day(number))
    point = back_up(backups)
    assert restored(backups, point, tmp_path / "r") == wanted_of(site)


class Cold(MemoryStore):
    """Cold storage of what is put as bulk."""

    promises = replace(MemoryStore.promises, cold=True)

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.cold: set[str] = set()
        self.read: set[str] = set()  # of those

    def put(self, name, data, *, bulk=False):
        stored = super().put(name, data)
        if bulk:
            self.cold.add(name)
        return stored

    def get(self, name, start=0, size=None):
        if name in self.cold:
            self.read.add(name)
            if size == 1:
                raise ObjectArchived("it has to be asked for")
        return super().get(name, start, size)


def test_what_is_to_be_asked_for_is_what_a_restore_of_the_moment_reads(tmp_path, site):
    """A whole restore point, and moments before it, through a pack, undo and large blobs."""
    world = World(tmp_path, Cold(Clock()))
    backups, store = SiteBackups(world, site.filestorage, blobs=site.blobstorage), world.store
    for number in range(5):
        grow(site, 8 * number + 1, 8 * number + 6)
        with site.opened():
            # a log is read a quarter of a megabyte at a time
            site.commit({"large": os.urandom(1 << 20)}, at=day(8 * number + 6))
        if number == 2:
            site.undo(site.commit({}, {"0": b"wrong"}, at=day(23)), at=day(24))
        if number == 3:
            site.pack(day(12))
        point = back_up(backups)
    assert len(store.cold) == 5
    counts = []
    for number in (14, 25, 30, 36, None):
        until = None if number is None else tid_at(day(number))
        with world.open(backups.cache) as repository:
            store.read.clear()
            named = cold_objects(repository, point, until)
            assert store.read == {each.name for each in named}
            store.read.clear()
            log = stored_log(repository, point, until)
            blobs = stored_blobs(repository, point, until)
            assert log is not None
            assert blobs is not None
            log.copy_to(tmp_path / f"{number}.fs", Hasty(), ignore)
            log.end()
            blobs.copy_into(tmp_path / f"{number}", files=Hasty(), progress=Silent())
            names = [each.name for each in named]
            assert names == sorted(names)
            assert all(each.size == len(store.objects[each.name][0]) for each in named)
            # how far the log is read to find its end is known within a quarter of a megabyte
            assert store.read <= set(names)
            assert len(set(names) - store.read) <= 1
        counts.append(len(named))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 5


class TestReading:
    @pytest.fixture
    def point(self, backups, site) -> Point:
        grow(site, 1, 20)
        return back_up(backups)

    def test_blobs_are_listed_as_a_walk_finds_them(self, backups, point, site, tmp_path):
        found = opened(backups, point)
        restored(backups, point, tmp_path / "1")
        listed = list(found.listed())
        walked = [each.path for each in walk(tmp_path / "1") if each.path != MARKER]
        assert [file.path for file in listed] == walked
        assert walked == sorted(walked, key=order)
        assert found.count() == len(listed)
        assert found.layout is Layout.BUSHY
        for file in listed:
            path = tmp_path / "1" / file.path
            assert file.size == path.stat().st_size
            assert file.digest == checksum_of(tmp_path / "1", file.path).digest
            live = (site.blobstorage / file.path).stat()
            assert same_time(file.time, path.stat().st_mtime_ns)
            assert same_time(file.time, live.st_mtime_ns)
            assert path.stat().st_mode == live.st_mode

    def test_each_blob_is_opened_and_no_other(self, backups, point, site):
        found = opened(backups, point)
        for path, data in wanted_of(site).items():
            with found.open(blob_of(path)) as file:
                assert file.read(3) + file.read() == data
                assert file.read() == b""
        for tid in (ZERO_TID, LAST_TID, max(blob_of(path).tid for path in wanted_of(site))):
            with pytest.raises(KeyError):
                found.open(BlobId(Oid(b"\x7f" * 8), tid))
        last = max(map(blob_of, wanted_of(site)), key=lambda blob: blob.tid)
        with pytest.raises(KeyError):
            opened(backups, point, Tid(b"\0" * 7 + b"\1")).open(last)

    def test_some_are_copied_alone(self, backups, point, tmp_path, site):
        found = opened(backups, point)
        some = list(found.listed())[1::3]
        (tmp_path / "1").mkdir()
        copied = found.copy_into(tmp_path / "1", wanted=some, files=Hasty(), progress=Silent())
        assert list(files_of(tmp_path / "1")) == [file.path for file in some]
        assert not (tmp_path / "1" / MARKER).exists()
        assert (copied.files, copied.size) == (len(some), sum(file.size for file in some))

    def test_live_files_with_equal_size_and_time_are_linked(self, backups, point, tmp_path, site):
        path = sorted(wanted_of(site))[3]
        os.utime(site.blobstorage / path, ns=(1, 1))
        found = opened(backups, point)
        target = tmp_path / "1"
        copied = found.copy_into(target, live=site.blobstorage, files=Hasty(), progress=Silent())
        assert copied.linked == len(wanted_of(site)) - 1
        assert copied.files == 2  # the marker as well
        assert files_of(target) == wanted_of(site)
        assert (target / MARKER).read_text() == "bushy"

    def test_a_place_that_is_not_empty_is_refused(self, backups, point, tmp_path):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "file").touch()
        with pytest.raises(BackupError, match="not empty"):
            restored(backups, point, tmp_path / "1")

    def test_a_damaged_chunk_is_never_served(self, world, backups, point, tmp_path):
        for name, (data, stored) in list(world.store.objects.items()):
            if name.startswith("bundles/"):
                world.store.objects[name] = bytes(len(data)), stored
        with pytest.raises(IntegrityError):
            restored(backups, point, tmp_path / "1")


# formats


TIDS = st.integers(1, 500).map(lambda number: Tid(number.to_bytes(8, "big")))
FILES = st.none() | st.integers(0, 3 * SMALL).flatmap(
    lambda size: st.builds(
        BlobFile,
        st.integers(0, 0o777),
        st.integers(-(2**63), 2**63 - 1),
        st.just(size),
        st.binary(min_size=32, max_size=32),
        st.just(tuple(bytes([n]) * 32 for n in range(1 if size else 0))),
    )
)
PAGES = st.dictionaries(
    st.tuples(TIDS, st.binary(min_size=8, max_size=8).map(Oid)), FILES, min_size=1, max_size=9
).map(lambda found: [PagedBlob(*key, file) for key, file in sorted(found.items())])


@settings(derandomize=True, max_examples=100, deadline=None)
@given(PAGES, st.data())
def test_a_page_is_read_as_it_was_written_or_refused(page, draw):
    linked = written_page(page)
    right = page_of(b"n" * 32, page, page)
    assert read_page(right, linked) == page
    places = sorted(draw.draw(st.sets(st.integers(0, len(page) - 1), min_size=1)))
    some = right.chosen(page, places)
    assert [place for place in range(len(page)) if some.belongs(place)] == places
    root = BlobList(layout=Layout.LAWN, pages=(some,)).root()
    assert read_list(root).pages == (some,)
    for names, data in (linked, root):
        at = draw.draw(st.integers(0, len(data) - 1))
        broken = Linked(names, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            read_list(broken) if data.startswith(b"CRBBLOBS") else read_page(right, broken)
        except IntegrityError:
            continue


@pytest.mark.parametrize(
    ("at", "new", "flaw"),
    [(0, b"x", "begins as none"), (9, b"\2", "version"), (10, b"\7", "layout")],
)
def test_a_list_of_another_kind_is_refused(at, new, flaw):
    names, data = BlobList(layout=Layout.BUSHY).root()
    with pytest.raises(IntegrityError, match=flaw):
        read_list(Linked(names, data[:at] + new + data[at + 1 :]))


@pytest.mark.parametrize("tids", [(1, 1), (2, 1), ()], ids=str)
def test_a_page_that_could_not_be_read_is_never_written(tids):
    page = [PagedBlob(Tid(tid.to_bytes(8, "big")), Oid(bytes(8)), None) for tid in tids]
    with pytest.raises(ValueError, match="not in order"):
        written_page(page)


def test_a_page_that_is_not_the_one_that_the_list_names_is_refused():
    blob = PagedBlob(Tid(b"\1" * 8), Oid(b"\2" * 8), None)
    right = page_of(b"n" * 32, [blob], [blob])
    for wrong in (replace(right, blobs=2), replace(right, lost=0), replace(right, size=3)):
        with pytest.raises(IntegrityError, match="not the one"):
            read_page(wrong, written_page([blob]))

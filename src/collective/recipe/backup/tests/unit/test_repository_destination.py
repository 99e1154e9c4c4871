"""The destination in a repository keeps the contract of destinations, and its own promises."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.destinations.configured import REPOSITORY
from collective.recipe.backup.destinations.making import made
from collective.recipe.backup.destinations.repository.pointlist import LEFT_BEHIND
from collective.recipe.backup.destinations.repository.repositorydestination import (
    RepositoryDestination,
)
from collective.recipe.backup.destinations.repository.storecare import StoreCare
from collective.recipe.backup.errors import ConfigurationError, IntegrityError, StoreRefused
from collective.recipe.backup.operations.prune import plan, prune
from collective.recipe.backup.progress import Silent, ignore
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.padding import padded
from collective.recipe.backup.repository.pruning import trashed
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.stores import Weakness
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.contracts.destination import DestinationContract, staged
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.faults.stores import FaultyStore
from collective.recipe.backup.tests.repositories import PASSPHRASE, back_up
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.repositorysites import files_of
from collective.recipe.backup.tests.runs import NOON
from collective.recipe.backup.tests.samples import Site


@pytest.fixture
def operated(tmp_path):
    return OperatedInRepository(Site(tmp_path / "site"), keep=0)


@pytest.fixture
def keeping_two(tmp_path):
    return OperatedInRepository(Site(tmp_path / "site"), keep=2)


class TestRepositoryDestination(DestinationContract):
    left_behind = LEFT_BEHIND

    def test_a_moment_before_a_restore_is_not_told_by_what_came_after(self, keeping_two, tmp_path):
        super().test_a_moment_before_a_restore_is_not_told_by_what_came_after(keeping_two, tmp_path)

    def test_chains_that_are_removed_take_what_only_they_need(self, keeping_two, tmp_path):
        for number in range(4):
            keeping_two.site.commit({"a": number}, {f"b{number}": b"%d" % number})
            keeping_two.backup()

        points = keeping_two.points()
        assert len(points) == 2
        assert staged(keeping_two, None, tmp_path / "new") == keeping_two.site.contents()
        staged(keeping_two, points[0].moment, tmp_path / "old")


def test_another_machine_restores_with_nothing_but_the_store(operated, tmp_path):
    operated.site.commit({"a": 1}, {"b": b"blob"})
    operated.backup()
    elsewhere = OperatedInRepository(Site(tmp_path / "new"), store=operated.store)
    assert staged(elsewhere, None, tmp_path / "to") == operated.site.contents()


def test_a_copy_of_a_site_adds_little(operated, tmp_path):
    operated.site.commit({"a": 1}, {"b": random.Random(1).randbytes(3 << 20)})
    operated.backup()
    before = sum(len(data) for data, _moment in operated.store.objects.values())
    shutil.copytree(operated.site.directory, tmp_path / "staging")
    staging = OperatedInRepository(Site(tmp_path / "staging"), name="staging", store=operated.store)
    staging.now = operated.now
    staging.backup()
    added = sum(len(data) for data, _moment in operated.store.objects.values()) - before
    assert added < before * 0.02


def test_a_backup_without_a_cache_stores_nothing_again(operated):
    operated.site.commit({"a": 1}, {"b": b"blob" * 9999})
    before = operated.backup().point
    shutil.rmtree(operated.repository_place.state)
    outcome = operated.backup()
    assert not outcome.changed
    assert outcome.point == before
    assert len(operated.points()) == 1


def test_a_backup_that_finds_nothing_new_asks_the_store_three_times(tmp_path):
    store = FaultyStore(MemoryStore())
    init(store, PASSPHRASE, NOON)
    operated = OperatedInRepository(Site(tmp_path / "site"), store=store)
    operated.site.commit({"a": 1}, {"b": b"blob"})
    operated.backup()
    store.asked.clear()
    assert not operated.backup().changed
    # before the backup, and when it looks for something new
    assert store.asked == [("get", "format"), ("list", "m/"), ("list", "m/")]


def test_what_a_run_has_stored_and_what_others_store_meanwhile_is_seen(operated):
    operated.site.commit({"a": 1})
    operated.backup()
    destination = operated.destination()
    with destination.opened():
        [before] = destination.restore_points()
        operated.site.commit({"a": 2})
        made = destination.backup(operated.now + timedelta(hours=1)).point
        assert [each.stamp for each in destination.restore_points()] == [before.stamp, made.stamp]
        destination.remove([before], certain=True)
        assert [each.stamp for each in destination.restore_points()] == [made.stamp]
    assert [each.stamp for each in destination.restore_points()] == [made.stamp]


def test_another_filestorage_under_the_name_of_a_site_is_refused(operated, tmp_path):
    operated.site.commit({"a": 1})
    operated.backup()
    site = Site(tmp_path / "other", founded=NOON - timedelta(days=9))
    other = OperatedInRepository(site, store=operated.store)
    other.site.commit({"a": 2}, at=NOON + timedelta(hours=5))
    with pytest.raises(ConfigurationError, match="another filestorage") as caught:
        other.backup()
    assert "site_name" in caught.value.hint


def test_a_pack_that_drops_the_last_transaction_of_each_restore_point_does_not_hide_the_site(
    operated, tmp_path
):
    """All of their last transactions wrote something that was removed since."""
    for number in range(2):
        operated.site.commit({"gone": number}, at=NOON + timedelta(hours=number))
        operated.backup()
    operated.site.delete("gone", at=NOON + timedelta(hours=3))
    operated.site.commit({"other": 1}, at=NOON + timedelta(hours=4))
    operated.site.pack(NOON + timedelta(hours=5))
    known = {tid for point in operated.points() for tid in (point.since, point.tid)}
    assert not known & set(operated.site.tids())
    assert operated.backup().changed
    assert staged(operated, None, tmp_path / "to") == operated.site.contents()


def test_two_copies_of_a_site_under_one_name_are_told_of_and_backed_up(operated, tmp_path, caplog):
    operated.site.commit({"a": 1}, at=NOON)
    operated.backup()
    shutil.copytree(operated.site.directory, tmp_path / "copy")
    copy = OperatedInRepository(Site(tmp_path / "copy"), store=operated.store, keep=0)
    for number, each in enumerate((operated, copy, operated), 1):
        each.now = operated.now + timedelta(hours=number)
        each.site.commit({"a": number}, at=each.now - timedelta(minutes=30 + number))
        caplog.clear()
        each.backup()
        told = [record.message for record in caplog.records if "site_name" in record.message]
        assert len(told) == (number > 1)
        assert staged(each, None, tmp_path / f"to-{number}") == each.site.contents()
    assert len(operated.points()) == 4


def test_after_a_restore_that_is_known_nothing_is_said_of_copies(operated, caplog):
    operated.site.commit({"a": 1}, at=NOON)
    first = operated.backup().point
    operated.site.commit({"a": 2}, at=operated.now)
    operated.backup()
    operated.restore(first.moment)
    operated.site.commit({"a": 3}, at=operated.now + timedelta(minutes=5))
    operated.backup()
    assert "site_name" not in caplog.text


class AddOnly(MemoryStore):
    """A disk to which one may only add: it refuses to remove what is there."""

    is_open = False

    def delete(self, name):
        if name in self.objects and not self.is_open:
            raise StoreRefused("cannot remove")
        super().delete(name)


def test_prune_on_a_disk_that_takes_nothing_away_says_what_stays_and_adds_one_object(tmp_path):
    operated = OperatedInRepository(Site(tmp_path / "site"), keep=1)
    operated.store = AddOnly(lambda: operated.now)
    init(operated.store, PASSPHRASE, NOON)
    for number in range(3):
        operated.site.commit({"a": number}, at=operated.now + timedelta(minutes=30))
        operated.backup()
    going = [point.stamp for point in operated.points()[:-1]]
    for _night in range(3):
        with pytest.raises(StoreRefused, match=f"{', '.join(going)} any longer, but that stays"):
            prune(operated.run("prune"))
        assert sum(name.startswith("m/d-") for name in operated.store.objects) == 1
    assert len(operated.points()) == 3
    operated.store.is_open = True
    prune(operated.run("prune"))
    assert len(operated.points()) == 1
    with operated.destination()._repository() as repository:
        assert len(trashed(repository, repository.look())) == 2
    assert sum(name.startswith("m/d-") for name in operated.store.objects) == 2


class Full(MemoryStore):
    """A store that has no room for another object when it is full."""

    is_full = False

    def put(self, name, data, *, bulk=False):
        if self.is_full:
            raise StoreRefused("no room")
        return super().put(name, data, bulk=bulk)


def test_a_restore_point_with_earlier_trash_stays_until_the_new_trash_is_put(tmp_path):
    operated = OperatedInRepository(Site(tmp_path / "site"), keep=1)
    operated.store = Full(lambda: operated.now)
    init(operated.store, PASSPHRASE, NOON)
    operated.backup()
    first = dict(operated.store.objects)
    operated.site.commit({"a": 1}, at=operated.now + timedelta(minutes=30))
    operated.backup()
    assert len(operated.points()) == 1
    assert any(name.startswith("m/d-") for name in operated.store.objects)
    # as if that prune had died before it removed the restore point
    operated.store.objects |= first
    operated.store.is_full = True
    with pytest.raises(StoreRefused, match="no room"):
        prune(operated.run("prune"))
    assert len(operated.points()) == 2


def test_a_full_backup_takes_over_the_blobs_that_the_site_has_lost_or_changed(operated, tmp_path):
    blobs = {"lost": b"lost", "changed": b"changed", "large": bytes(5 << 20), "same": b"same"}
    operated.site.commit({"a": 1}, blobs)
    operated.backup()
    contents = operated.site.contents()
    files = {path.stat().st_size: path for path in operated.site.blobstorage.rglob("*.blob")}
    files[len(b"lost")].unlink()
    files[5 << 20].unlink()
    changed = files[len(b"changed")]
    changed.chmod(0o600)
    changed.write_bytes(b"other")

    with pytest.raises(IntegrityError, match="3 blobs of the site"):
        operated.backup(full=True)

    assert staged(operated, None, tmp_path / "to") == contents
    assert operated.points()[-1].whole

    with pytest.raises(IntegrityError, match="2 blobs were missing"):
        operated.backup(accept=True)
    assert operated.points()[-1].doubts == (), "--accept-changed-blobs takes the site as it is"


def test_a_repository_that_was_not_made_is_told(tmp_path):
    operated = OperatedInRepository(Site(tmp_path / "site"), store=MemoryStore())
    operated.site.commit({"a": 1})
    with pytest.raises(ConfigurationError, match="no repository") as caught:
        operated.backup()
    assert "init" in caught.value.hint


def test_a_damaged_bundle_is_named_with_the_restore_points_that_need_it(operated):
    operated.site.commit({"a": 1}, {"b": b"first" * 9999})
    first = operated.backup().point
    bundles = {name for name in operated.store.objects if name.startswith("bundles/")}
    operated.site.commit({"a": 2}, {"c": b"second" * 9999})
    second = operated.backup().point
    destination = operated.destination()
    assert [list(destination.verify(depth)) for depth in Depth] == [[], [], []]

    new = sorted({name for name in operated.store.objects if name.startswith("bundles/")} - bundles)
    for name in new:
        data, moment = operated.store.objects[name]
        operated.store.objects[name] = data[:60] + bytes([data[60] ^ 1]) + data[61:], moment
    problems = list(destination.verify(Depth.CHECKSUMS))
    assert {problem.points for problem in problems} == {(second.stamp,)}
    assert list(destination.verify(Depth.CHECKSUMS, only=first)) == []

    for name in new:
        del operated.store.objects[name]
    [problem] = [each for each in destination.verify(Depth.NAMES) if "in no bundle" in each.what]
    assert problem.points == (second.stamp,)


def test_a_damaged_restore_point_is_listed_as_damaged(operated):
    operated.site.commit({"a": 1})
    operated.backup()
    [name] = [name for name in operated.store.objects if name.startswith("m/p-")]
    data, moment = operated.store.objects[name]
    operated.store.objects[name] = data[:-1] + bytes([data[-1] ^ 1]), moment
    shutil.rmtree(operated.repository_place.state)
    [point] = operated.points()
    assert point.damaged
    assert not point.restorable


def test_a_restore_point_that_is_damaged_after_the_choice_is_not_said_to_be_gone(
    operated,
):
    operated.site.commit({"a": 1})
    operated.backup()
    choice = choose(operated.points(), None)
    [name] = [name for name in operated.store.objects if name.startswith("m/p-")]
    data, moment = operated.store.objects[name]
    operated.store.objects[name] = data[:-1] + bytes([data[-1] ^ 1]), moment
    shutil.rmtree(operated.repository_place.state)
    with pytest.raises(IntegrityError) as caught:
        operated.destination().open(choice)
    assert caught.value.where == name


def test_four_hundred_restore_points_of_a_hostile_client_displace_none(operated):
    real = []
    for number in range(4):
        operated.site.commit({"a": number})
        real.append(operated.backup().point.stamp)
    buckets = {f"keep_{each}": 1 for each in ("hourly", "daily", "weekly", "monthly", "yearly")}
    policies = [{"keep": 1}, {"keep": 2}, *({each: 1} for each in buckets), buckets]

    def removed(policy):
        strict = OperatedInRepository(operated.site, store=operated.store, **policy)
        strict.now = operated.now
        [pruned] = plan(strict.run("prune"))
        return {point.stamp for point in pruned.plan.removed} & set(real)

    before = [removed(policy) for policy in policies]
    with operated.destination()._repository() as repository:
        for number in range(400):
            claimed = operated.now - timedelta(days=number, hours=1)
            back_up(repository, {}, claimed=claimed, tid="f" * 16)
    assert [removed(policy) for policy in policies] == before


class Overtaken(MemoryStore):
    """A store in which another run ends just before the next object is put."""

    meanwhile = None

    def put(self, name, data, *, bulk=False):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().put(name, data, bulk=bulk)


def both_of_one_second(tmp_path):
    """Return two copies of a site, and what runs of one second made that did not see each other."""
    store = Overtaken(lambda: NOON + timedelta(days=1))
    init(store, PASSPHRASE, NOON)
    one = OperatedInRepository(Site(tmp_path / "one"), store=store, keep=0)
    one.site.commit({"a": 0}, at=NOON)
    one.backup()
    shutil.copytree(one.site.directory, tmp_path / "other")
    other = OperatedInRepository(Site(tmp_path / "other"), store=store, keep=0)
    one.site.commit({"a": 1}, at=NOON + timedelta(hours=1))
    other.site.commit({"a": 2}, at=NOON + timedelta(hours=1, seconds=1))
    one.now = other.now = NOON + timedelta(hours=2)
    stamps, before = [], set()

    def meanwhile():
        stamps.append(other.backup().point.stamp)
        before.update(store.objects)

    store.meanwhile = meanwhile
    stamps.append(one.backup().point.stamp)
    assert stamps == [stamps[0]] * 2
    return one, other, store.objects.keys() - before


def test_two_runs_of_one_second_make_two_restore_points(tmp_path):
    one, other, _last = both_of_one_second(tmp_path)
    points = one.points()
    assert len({point.stamp for point in points}) == 3
    new = sorted(points[1:], key=lambda point: point.tid)
    for site, point in zip((one.site, other.site), new, strict=True):
        assert staged(one, point.moment, tmp_path / point.stamp) == site.contents()
    one.site.commit({"a": 3}, at=one.now + timedelta(hours=1))
    assert one.backup().point.stamp > points[-1].stamp


def test_damage_of_one_of_two_with_one_stamp_is_said_of_that_one_alone(tmp_path):
    one, _other, last = both_of_one_second(tmp_path)
    for name in last:
        if name.startswith("bundles/"):
            del one.store.objects[name]
    found = {problem.points for problem in one.destination().verify(Depth.NAMES)}
    [stamp] = [point.stamp for point in one.points() if point.tid == one.site.tids()[-1]]
    assert found == {(stamp,)}


def test_a_store_that_went_back_in_time_is_told_by_the_next_backup(operated):
    operated.site.commit({"a": 1})
    operated.backup()
    before = dict(operated.store.objects)
    operated.site.commit({"a": 2})
    operated.backup()
    operated.store.objects = before
    with pytest.raises(IntegrityError, match="back in time"):
        operated.backup()


def test_a_restore_over_live_blobs_leaves_the_note_of_their_layout(operated):
    operated.site.commit({"a": 1}, {f"b{number}": b"%d" % number for number in range(20)})
    operated.backup()
    contents = operated.site.contents()
    marker = operated.site.blobstorage / ".layout"
    before = marker.stat().st_ino
    next(operated.site.blobstorage.rglob("*.blob")).unlink()
    operated.restore()
    assert marker.stat().st_ino == before
    assert operated.site.contents() == contents


def test_a_restored_site_goes_on_in_the_repository(operated, tmp_path):
    operated.site.commit({"a": 1}, {"b": b"first"}, at=NOON)
    operated.backup()
    contents = operated.site.contents()
    operated.site.lose()
    operated.restore()
    assert operated.site.contents() == contents
    operated.site.commit({"a": 2})
    operated.backup()
    assert staged(operated, None, tmp_path / "to") == operated.site.contents()


def test_an_unencrypted_repository_works_as_well(tmp_path):
    store = MemoryStore()
    init(store, None, NOON)
    operated = OperatedInRepository(Site(tmp_path / "site"), store=store, passphrase=None)
    operated.site.commit({"a": 1}, {"b": b"blob"})
    operated.backup()
    assert staged(operated, None, tmp_path / "to") == operated.site.contents()


def test_a_blob_that_stays_lost_makes_no_restore_point_each_night(operated):
    operated.site.commit({"a": 1}, {"b": b"blob", "c": b"other"})
    sorted(operated.site.blobstorage.rglob("*.blob"))[0].unlink()
    for _night in range(3):
        with pytest.raises(IntegrityError, match="1 blob"):
            operated.backup()
    [point] = operated.points()
    assert not point.whole


def test_what_a_restore_left_behind_stays_for_two_weeks(keeping_two, tmp_path):
    """Each restore point is a chain of its own: the first backup alone would not hold it."""
    operated, site = keeping_two, keeping_two.site
    for number in range(3):
        site.commit({"a": number}, at=operated.now)
        source = operated.backup().point
    operated.now += timedelta(hours=1)
    site.commit({"a": "cut off"}, at=operated.now)
    cut = operated.backup().point
    operated.restore(source.moment)
    for day in range(4):
        operated.now += timedelta(days=1)
        site.commit({"a": f"since {day}"}, at=operated.now)
        operated.backup()
    assert {cut.stamp, source.stamp} <= {point.stamp for point in operated.points()}
    operated.now += timedelta(days=12)
    site.commit({"a": "later"}, at=operated.now)
    operated.backup()
    [pruned] = plan(operated.run("prune"))
    assert {cut.stamp, source.stamp} <= {point.stamp for point in pruned.plan.removed}


def test_neither_names_nor_words_of_a_site_can_be_read_in_the_store(operated):
    secret = b"a sentence that nobody may read " * 200
    operated.site.commit({"salaries": "of everybody " * 99}, {"letter": secret}, by="alice")
    operated.backup()
    stored = b"".join(data for data, _moment in operated.store.objects.values())
    everything = stored + "\n".join(operated.store.objects).encode()
    live = operated.site.filestorage.read_bytes()
    for word in (b"salaries", b"everybody", b"alice", b"OOBTree", b"persistent"):
        assert word in live
        assert word not in everything
    words = (secret[:12], b"filestorage", b"Data.fs", b"CRBSTATE", b"CRBINDEX", b"BLOBS")
    assert not [word for word in words if word in everything]
    assert operated.repository_place.site.encode() not in everything


def test_objects_are_as_large_as_the_padding_says_whatever_blobs_are_in_them(operated):
    """Blobs of many sizes lie together in objects, of which only a rounded size is told."""
    sizes = [1, 700, 2500, 3700, 40_000, 41_000]
    blobs = {f"b{size}": random.Random(size).randbytes(size) for size in sizes}
    operated.site.commit({}, blobs)
    operated.backup()
    stored = {name: len(data) for name, (data, _at) in operated.store.objects.items()}
    bundles = [size for name, size in stored.items() if name.startswith("bundles/")]
    assert len(bundles) < len(sizes)
    assert all(size == padded(size) for size in bundles)
    assert not set(sizes) & set(stored.values())

    # a blob that is a little larger changes nothing that can be seen
    other = OperatedInRepository(Site(operated.site.directory / "other"), keep=0)
    other.site.commit({}, blobs | {"b700": b"x" * 700 + random.Random(1).randbytes(60)})
    other.backup()
    assert sorted(bundles) == sorted(
        len(data) for name, (data, _at) in other.store.objects.items() if name.startswith("bundles")
    )


class Meddling(Silent):
    """Does something to the site as soon as a phase with this *title* begins, once."""

    def __init__(self, title, deed):
        self.title = title
        self.deed = deed

    def phase(self, title, total, unit="B"):
        if title == self.title and self.deed:
            deed, self.deed = self.deed, None
            deed()
        return super().phase(title, total, unit)


def packed(site):
    site.pack()


def rotated(site):
    """The file goes away, and a new site begins under its name."""
    site.filestorage.rename(site.filestorage.with_suffix(".old"))
    Site(site.directory, founded=NOON + timedelta(days=1)).commit({"new": 1})


def set_back(site):
    """An earlier copy takes the place of the file."""
    os.replace(site.directory / "earlier", site.filestorage)


def swapped(site):
    """The file of another site takes its place."""
    other = Site(site.directory / "another", founded=NOON - timedelta(days=9))
    other.commit({"another": 1})
    os.replace(other.filestorage, site.filestorage)


@pytest.mark.parametrize("title", ["reading the filestorage", "storing the blobs"])
@pytest.mark.parametrize("deed", [packed, rotated, set_back, swapped])
def test_a_filestorage_that_is_exchanged_during_a_backup_is_no_mixture(
    operated, tmp_path, deed, title
):
    """The restore point has what the file was when the backup began, and blobs or their absence."""
    site = operated.site
    shutil.copy(site.filestorage, site.directory / "earlier")
    blobs = {}
    for number in range(3):
        site.commit({"a": number}, {"x": b"%d" % number * 999, f"y{number}": b"y" * 99})
        blobs |= files_of(site.blobstorage)
    before = site.filestorage.read_bytes()
    meddling = Meddling(title, lambda: deed(site))
    destination = RepositoryDestination(
        operated.config.sources[0],
        operated.repository_place,
        store=operated.store,
        files=Hasty(),
        progress=meddling,
    )
    destination.prepare()
    point = destination.backup(operated.now).point
    assert meddling.deed is None
    with destination.open(choose([point], None)) as state:
        assert b"".join(map(bytes, state.log.pieces(0, ignore))) == before
        state.blobs.copy_into(tmp_path / "to", files=Hasty(), progress=Silent())
    found = files_of(tmp_path / "to")
    assert found.items() <= blobs.items()
    assert found == blobs or not point.whole
    assert list(destination.verify(Depth.CHECKSUMS)) == [] or not point.whole


def test_a_store_takes_care_of_its_objects_once_for_all_sources(
    operated: OperatedInRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.backup()
    asked: list[str] = []
    weak = Weakness("bundles/ab/nothing", "of 3 shares 2 are there", False, False)

    def care(store: Any, *, mend: bool = False) -> Iterator[Weakness]:
        assert not mend
        asked.append(store.location)
        yield weak

    monkeypatch.setattr(type(operated.store), "care", care)
    common = StoreCare()
    for _source in range(2):
        destination = RepositoryDestination(
            operated.config.sources[0],
            operated.repository_place,
            store=operated.store,
            files=Hasty(),
            progress=Silent(),
            care=common,
        )
        [problem] = destination.verify(Depth.NAMES)
        assert problem.what == weak.what
    assert len(asked) == 1


def test_the_sources_of_a_site_share_what_their_store_has_told(
    operated: OperatedInRepository, tmp_path: Path
) -> None:
    [source], [place] = (
        operated.config.sources,
        [replace(operated.repository_place, url=str(tmp_path / "store"))],
    )
    configured = SimpleNamespace(
        kind=REPOSITORY,
        options=operated.config.options,
        sources=(source, source),
        repositories=(place, place),
    )
    one, other = made(configured, files=Hasty(), progress=Silent())  # type: ignore[arg-type]
    assert one._care is other._care  # type: ignore[attr-defined]

"""Heal takes what is lost from a live site, and the store fails, or heal dies, at any operation."""

from __future__ import annotations

import copy
import itertools

from collective.recipe.backup.destinations.repository.sitecopies import SiteCopies
from collective.recipe.backup.model import Source
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.opened import open_repository
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.stores import survive_every_store_fault
from collective.recipe.backup.tests.repositories import World
from collective.recipe.backup.tests.repositorysites import SiteBackups, files_of
from collective.recipe.backup.tests.samples import Site


def test_what_the_live_site_has_is_stored_again(tmp_path):
    site = Site(tmp_path / "site")
    site.commit({"a": 1}, {"b": b"first" * 99})
    world = World(tmp_path)
    backups = SiteBackups(world, site.filestorage, blobs=site.blobstorage)
    files = {}
    for number in range(2):
        site.commit({"a": number}, {"b": b"second" * 99})
        point = backups.back_up()
        files[point.stamp] = site.filestorage.read_bytes(), files_of(site.blobstorage)
        world.clock.go_on(days=1)
    with world.open() as repository:
        broken = sorted(repository.index.bundles())
    # one is gone, and no chunk of the other can be read
    del world.store.objects[bundle_name(broken[0])]
    data, stored = world.store.objects[bundle_name(broken[1])]
    wrong = bytes(each ^ (at > 60 and at % 50 == 0) for at, each in enumerate(data))
    world.store.objects[bundle_name(broken[1])] = wrong, stored
    numbers = itertools.count()

    def make():
        twin = copy.copy(world)
        twin.clock = copy.copy(world.clock)
        twin.store = MemoryStore(twin.clock)
        twin.store.objects = dict(world.store.objects)
        return twin, twin.store

    def act(twin, store):
        with open_repository(store, twin.client()) as repository:
            source = Source(name="1", filestorage=site.filestorage, blobstorage=site.blobstorage)
            return heal(repository, broken, [SiteCopies(repository, [source], [])])

    def check(twin, _outcome):
        assert not act(twin, twin.store).lost
        again = SiteBackups(twin, site.filestorage, blobs=site.blobstorage, cache=None)
        with twin.open() as repository:
            points = repository.points.of_site(repository.look(), "site")
            points = [repository.points.point(entry) for entry in points]
        assert [point.stamp for point in points] == list(files)
        for point in points:
            to = tmp_path / f"to{next(numbers)}"
            assert (again.restored(point), again.restore_blobs(point, to)) == files[point.stamp]

    assert survive_every_store_fault(make, act, check) > 60

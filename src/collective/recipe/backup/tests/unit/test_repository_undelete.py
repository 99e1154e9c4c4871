"""Two runs of undelete at a time, or one beside collect: the restore point is lost in no case."""

from __future__ import annotations

from contextlib import suppress

import pytest

from collective.recipe.backup.errors import InUse, NoRestorePoint
from collective.recipe.backup.repository.pruning import LIFETIME, bring_back, prune, trashed
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.harness import Crash
from collective.recipe.backup.tests.faults.stores import FaultyStore, MeddledStore, StoreFault
from collective.recipe.backup.tests.repositories import (
    World,
    back_up,
    points_of,
    some_state,
    states_of,
)


@pytest.fixture
def world(tmp_path):
    """Return a world with three restore points, of which the first was removed."""
    world = World(tmp_path)
    with world.open() as repository:
        for number in range(3):
            back_up(repository, some_state(number))
        prune(repository, points_of(repository)[:1])
    return world


def removed(repository):
    return [entry for entry, _point in trashed(repository, repository.look())]


def bring_first_back(world, store=None, cache=None):
    with world.open(cache, store) as repository:
        for entry in removed(repository)[:1]:
            return bring_back(repository, entry)
    return None


def where_all_are(world):
    """Return how many restore points are there, and how many can be brought back."""
    with world.open() as repository:
        assert len(states_of(repository)) == len(points_of(repository))
        return len(points_of(repository)), len(removed(repository))


def test_two_undeletes_at_a_time_bring_the_restore_point_back(world):
    before = dict(world.store.objects)
    counting = FaultyStore(world.store)
    assert bring_first_back(world, counting)
    for at in range(1, len(counting.asked) + 1):
        world.store.objects = dict(before)

        def other():
            with suppress(InUse, NoRestorePoint):
                bring_first_back(world)

        with suppress(InUse, NoRestorePoint):
            bring_first_back(world, MeddledStore(world.store, {at: other}))
        assert where_all_are(world) == (3, 0), f"the other one before operation {at}"


def test_an_undelete_that_looked_before_another_one_ended_removes_nothing(world):
    with world.open("cache") as repository:
        [entry] = removed(repository)
        bring_first_back(world)
        with pytest.raises(NoRestorePoint, match="is there again"):
            bring_back(repository, entry)
    assert where_all_are(world) == (3, 0)


def test_an_undelete_that_died_keeps_others_away_for_an_hour(world):
    with pytest.raises(Crash):
        bring_first_back(world, FaultyStore(world.store, StoreFault.AFTER, 1))
    with pytest.raises(InUse, match="another run of undelete"):
        bring_first_back(world)
    world.clock.go_on(seconds=LIFETIME.total_seconds())
    assert bring_first_back(world)
    assert where_all_are(world) == (3, 0)


class Taking(MemoryStore):
    """A store from which collect takes trash when a restore point is put."""

    def put(self, name, data, *, bulk=False):
        moment = super().put(name, data, bulk=bulk)
        if name.startswith("m/p-"):
            for each in [each for each in self.objects if each.startswith("m/d-")]:
                del self.objects[each]
        return moment


def test_where_collect_took_the_trash_the_restore_point_is_trash_again(world):
    store = Taking(world.clock)
    store.objects = world.store.objects
    with pytest.raises(NoRestorePoint, match="cannot be brought back"):
        bring_first_back(world, store)
    assert where_all_are(world) == (2, 1)
    assert bring_first_back(world)
    assert where_all_are(world) == (3, 0)


def test_a_restore_point_that_lacks_data_stays_trash(world):
    objects = world.store.objects
    gone = {name: objects.pop(name) for name in list(objects) if name.startswith("bundles/")}
    with pytest.raises(NoRestorePoint):
        bring_first_back(world)
    objects.update(gone)
    assert where_all_are(world) == (2, 1)

"""Copied stores in which something is lost: restore points that came late, and lack data."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.repository.chunks import is_node
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.plans import Rules
from collective.recipe.backup.repository.pointcopying import copy
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.repository.twins import Twins
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.contracts.destination import staged
from collective.recipe.backup.tests.repositories import (
    BLOB,
    World,
    back_up,
    points_of,
    some_state,
    states_of,
)
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.samples import Site


@pytest.fixture
def world(tmp_path):
    """Return a world with four restore points."""
    world = World(tmp_path)
    with world.open() as repository:
        for number in range(0, 24, 6):
            back_up(repository, some_state(number))
            world.clock.go_on(days=1)
    return world


def copied(store, now):
    """Let the store *store* be a copy that was made at the moment *now*."""
    store.objects = {name: (data, now) for name, (data, _stored) in store.objects.items()}


def lose(world, value):
    """Take the bundle that has *value* away; return its name and what it was."""
    with world.open() as repository:
        repository.index.refresh()
        chunk = repository.keyring.chunk_id(BLOB, value)
        [(_chunk, [place])] = repository.index.of([chunk])
    name = bundle_name(place.bundle)
    return name, world.store.objects.pop(name)


def lose_one_of_the_third(world):
    copied(world.store, world.clock.now)
    return lose(world, some_state(12)["n12"])


def test_collect_removes_nothing_of_a_restore_point_that_lacks_something(world):
    with world.open() as repository:
        before = states_of(repository)
    name, lost = lose_one_of_the_third(world)
    for _run in range(3):
        world.clock.go_on(days=3)
        with world.open() as repository:
            done = collect(repository, Rules(max_unused=1), yes=True)
        assert (done.marked, done.removed) == (0, 0)
    world.store.objects[name] = lost
    with world.open() as repository:
        assert states_of(repository) == before


def test_what_a_restore_point_lacks_is_healed_from_a_copy_of_it(world, tmp_path):
    there = World(tmp_path / "there", MemoryStore(world.clock))
    with world.open() as source, there.open() as target:
        before = states_of(source)
        for _each in copy(source, target, points_of(source)):
            pass
    name, _lost = lose_one_of_the_third(world)
    with world.open() as repository, there.open() as other:
        assert len(standing(repository, repository.look()).void) == 1
        done = heal(repository, [bytes.fromhex(name[-64:])], [Twins(repository, other)])
        assert (len(done.lost), done.found > 0) == (0, True)
    with world.open() as repository:
        assert states_of(repository) == before


@pytest.fixture
def operated(tmp_path):
    """Return a site with three restore points, of which the newest is in a copy, and lacks data."""
    operated = OperatedInRepository(Site(tmp_path / "site"), keep=0)
    for number in range(3):
        operated.site.commit({"a": number}, {f"b{number}": b"%d" % number * 99999})
        operated.backup()
    return operated


def lose_the_newest_leaves(operated):
    """Lose the blobs of the newest restore point in a copy of two days later."""
    before = {
        name for name, (_data, stored) in operated.store.objects.items() if stored < operated.now
    }
    new = operated.store.objects.keys() - before
    operated.now += timedelta(days=2)
    copied(operated.store, operated.now)
    shutil.rmtree(operated.repository_place.state)
    with operated.destination()._repository() as repository:
        index = repository.index
        index.refresh()
        for bundle in index.bundles():
            places = [place for _id, found in index.of(index.chunks_in(bundle)) for place in found]
            if bundle_name(bundle) in new and not any(is_node(place.kind) for place in places):
                del operated.store.objects[bundle_name(bundle)]


def test_a_restore_point_that_lacks_data_is_listed_and_another_one_is_made(operated, tmp_path):
    lose_the_newest_leaves(operated)
    *_others, last = operated.points()
    assert last.problems == ("it lacks data",)
    assert last.damaged
    assert last.restorable
    assert operated.backup().changed
    *_others, lacking, new = operated.points()
    assert lacking.stamp == last.stamp
    assert staged(operated, new.moment, tmp_path / "to") == operated.site.contents()
    # both need it, so both are whole again
    assert [point.problems for point in (lacking, new)] == [(), ()]


def test_verify_names_what_a_restore_point_lacks_and_prune_removes_it(operated):
    lose_the_newest_leaves(operated)
    *_others, last = operated.points()
    problems = list(operated.destination().verify(Depth.NAMES))
    assert any("in no bundle" in each.what and last.stamp in each.points for each in problems)
    assert not any(each.told for each in problems)
    operated.site.commit({"a": 9})
    operated.destination().remove([last], certain=True)
    assert last.stamp not in [point.stamp for point in operated.points()]

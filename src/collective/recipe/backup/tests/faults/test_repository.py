"""Every operation of the store goes wrong, in every way, in every verb of the repository."""

from __future__ import annotations

import copy
import itertools

import pytest

from collective.recipe.backup.errors import BackupError, ConfigurationError
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.keys import add_key, change_key, remove_key
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.opened import open_repository
from collective.recipe.backup.repository.plans import Rules
from collective.recipe.backup.repository.pointcopying import copy as copy_points
from collective.recipe.backup.repository.pruning import bring_back, prune, trashed
from collective.recipe.backup.repository.scrubbing import scrub
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.stores import StoreFault, survive_every_store_fault
from collective.recipe.backup.tests.repositories import (
    PASSPHRASE,
    START,
    World,
    back_up,
    points_of,
    some_state,
    state_of,
    states_of,
)

STATES = [some_state(number) for number in range(0, 12, 3)]


class Scene:
    """A world, the states of its restore points by stamp, and what the scenario adds."""

    def __init__(self, directory):
        self.world = World(directory)
        self.states = {}
        for state in STATES:
            with self.world.open() as repository:
                point = back_up(repository, state)
            self.states[point.stamp] = state
            self.world.clock.go_on(days=1)

    def twin(self, directory):
        """Return the same scene with a store of its own."""
        twin = copy.copy(self)
        twin.world = copy.copy(self.world)
        twin.world.directory = directory
        twin.world.told = []
        twin.world.clock = copy.copy(self.world.clock)
        twin.world.store = MemoryStore(twin.world.clock)
        twin.world.store.objects = dict(self.world.store.objects)
        twin.states = dict(self.states)
        return twin

    def restored(self, cache=None):
        with self.world.open(cache) as repository:
            return {point.stamp: state_of(repository, point) for point in points_of(repository)}

    def is_sound(self):
        return not scrub(self.world.store, Silent()).damaged

    def collect_all(self):
        """Collect again and again, days apart, until nothing more goes."""
        for _run in range(4):
            self.world.clock.go_on(days=3)
            with self.world.open() as repository:
                collect(repository, yes=True)


@pytest.fixture
def make(tmp_path):
    """Return a function that makes the same scene again and again, and its store."""
    scenes = {}
    numbers = itertools.count()

    def make(prepare=lambda scene: None):
        if prepare not in scenes:
            scene = Scene(tmp_path)
            prepare(scene)
            scenes[prepare] = scene
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        twin = scenes[prepare].twin(directory)
        return twin, twin.world.store

    return make


def everything_is_as_it_should_be(scene, *, optional=()):
    """All states are there, but for the *optional* stamps, before and after collecting."""
    assert scene.is_sound()
    for cache in (None, "host"):
        found = scene.restored(cache)
        for stamp, state in scene.states.items():
            assert stamp in found or stamp in optional
            assert found.get(stamp, state) == state
        assert found.keys() <= scene.states.keys()
    scene.collect_all()
    for cache in (None, "host"):
        found = scene.restored(cache)
        assert all(found[stamp] == state for stamp, state in scene.states.items() if stamp in found)
        assert scene.states.keys() - found.keys() <= set(optional)


def open_with(scene, store: Store):
    return open_repository(store, scene.world.client("host"))


def test_a_backup_survives_each_fault_of_the_store(make):
    new = some_state(100)

    def act(scene, store):
        with open_with(scene, store) as repository:
            scene.point = back_up(repository, new)

    def check(scene, outcome):
        before = dict(scene.states)
        with scene.world.open("host") as repository:
            found = {point.stamp: state_of(repository, point) for point in points_of(repository)}
        assert {stamp: found[stamp] for stamp in before} == before
        added = found.keys() - before.keys()
        assert all(found[stamp] == new for stamp in added)
        assert outcome is not None or len(added) == 1
        with scene.world.open("host") as repository:
            again = back_up(repository, new)
        scene.states.update({stamp: new for stamp in {*added, again.stamp}})
        everything_is_as_it_should_be(scene)

    assert survive_every_store_fault(make, act, check) > 50


def test_a_prune_survives_each_fault_of_the_store(make):
    gone = []

    def act(scene, store):
        with open_with(scene, store) as repository:
            points = points_of(repository)
            gone[:] = [point.stamp for point in points[:2]]
            prune(repository, points[:2])

    def check(scene, outcome):
        found = scene.restored()
        assert outcome is not None or not found.keys() & set(gone)
        with scene.world.open() as repository:
            prune(repository, [point for point in points_of(repository) if point.stamp in gone])
        everything_is_as_it_should_be(scene, optional=gone)

    assert survive_every_store_fault(make, act, check) > 25


def pruned(scene):
    with scene.world.open() as repository:
        prune(repository, points_of(repository)[:2])
    for stamp in list(scene.states)[:2]:
        del scene.states[stamp]
    scene.world.clock.go_on(days=3)


def marked(scene):
    pruned(scene)
    with scene.world.open() as repository:
        done = collect(repository, Rules(max_unused=0), yes=True)
    assert done.marked
    scene.world.clock.go_on(days=3)


@pytest.mark.parametrize("prepare", [pruned, marked])
def test_a_collect_survives_each_fault_of_the_store(make, prepare):
    def act(scene, store):
        with open_with(scene, store) as repository:
            done = collect(repository, Rules(max_unused=0), yes=True)
        assert done.removed if prepare is marked else done.marked

    def check(scene, outcome):
        # a run that died keeps others away until its ticket is over
        scene.world.clock.go_on(hours=3)
        with scene.world.open("host") as repository:
            back_up(repository, STATES[0], site="other")
            new = points_of(repository)[-1]
        assert new.site == "other"
        scene.states[new.stamp] = STATES[0]
        everything_is_as_it_should_be(scene)

    assert survive_every_store_fault(lambda: make(prepare), act, check) > 50


def test_what_a_pruned_restore_point_alone_needed_is_gone_in_the_end(make):
    scene, _store = make(marked)
    scene.collect_all()
    with scene.world.open() as repository:
        assert states_of(repository).keys()
        kept = {value for state in scene.states.values() for value in state.values()}
        every = {value for state in STATES for value in state.values()}
        repository.index.refresh()
        ids = {value: repository.keyring.chunk_id(2, value) for value in every}
        known = repository.index.known(ids.values())
    assert {value for value, chunk in ids.items() if chunk in known} == kept


def trash_there(scene):
    with scene.world.open() as repository:
        [first] = points_of(repository)[:1]
        prune(repository, [first])
    scene.removed = first.stamp


def test_an_undelete_survives_each_fault_of_the_store(make):
    def act(scene, store):
        with open_with(scene, store) as repository:
            [(entry, _point)] = trashed(repository, repository.look())
            bring_back(repository, entry)

    def check(scene, outcome):
        assert outcome is not None or scene.removed in scene.restored()
        everything_is_as_it_should_be(scene, optional=[scene.removed])

    assert survive_every_store_fault(lambda: make(trash_there), act, check) > 30


def test_a_change_of_keys(make):
    def act(scene, store):
        with open_with(scene, store) as repository:
            name = change_key(repository, PASSPHRASE, "the new passphrase", START).name
            other = add_key(repository, "another passphrase", "other", START).name
            remove_key(repository, other, "the new passphrase")
            assert name != other

    def check(scene, outcome):
        opens = []
        for passphrase in (PASSPHRASE, "the new passphrase"):
            scene.world.passphrase = passphrase
            try:
                with scene.world.open() as repository:
                    assert repository.keyring
                opens.append(passphrase)
            except ConfigurationError:
                continue
        assert opens
        assert outcome is not None or opens == ["the new passphrase"]
        scene.world.passphrase = opens[-1]
        everything_is_as_it_should_be(scene)

    assert survive_every_store_fault(make, act, check) > 25


def damaged(scene):
    """Damage a value that is stored once."""
    with scene.world.open() as repository:
        repository.index.refresh()
        value = repository.keyring.chunk_id(2, STATES[0]["n0"])
        [(_chunk, [place])] = repository.index.of([value])
    objects, name = scene.world.store.objects, bundle_name(place.bundle)
    data, stored = objects[name]
    at = place.offset
    objects[name] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], stored
    scene.broken = place.bundle


class ValueHolder:
    """Has all values that were ever stored, and offers other things as well."""

    def offers(self, lost):
        yield 2, b"something else"
        for state in STATES:
            for value in state.values():
                yield 1, value
                yield 2, value


def test_a_heal_survives_each_fault_of_the_store(make):
    def act(scene, store):
        with open_with(scene, store) as repository:
            done = heal(repository, [scene.broken], [ValueHolder()])
            assert not done.lost

    def check(scene, outcome):
        with scene.world.open("host") as repository:
            heal(repository, [scene.broken], [ValueHolder()])
        found = scene.restored()
        assert found == scene.states
        scene.collect_all()
        assert scene.restored() == scene.states
        # once nothing needs it, the damaged bundle goes
        assert bundle_name(scene.broken) not in scene.world.store.objects
        assert scene.is_sound()

    assert survive_every_store_fault(lambda: make(damaged), act, check) > 30


def test_a_copy_to_another_repository(make, tmp_path):
    def act(scene, store):
        with scene.world.open("source") as source, open_with(scene, store) as target:
            for _point in copy_points(source, target, points_of(source)):
                pass

    def make_target():
        scene, _store = make()
        target = Scene.__new__(Scene)
        target.world = copy.copy(scene.world)
        target.world.store = MemoryStore(scene.world.clock)
        init(target.world.store, PASSPHRASE, START)
        scene.target = target
        target.states = dict(scene.states)
        return scene, target.world.store

    def check(scene, outcome):
        found = scene.target.restored()
        assert found.items() <= scene.states.items()
        assert outcome is not None or found == scene.states
        act(scene, scene.target.world.store)
        everything_is_as_it_should_be(scene.target)

    assert survive_every_store_fault(make_target, act, check) > 60


def test_an_init_survives_each_fault_of_the_store(tmp_path):
    def make():
        store = MemoryStore()
        return store, store

    def act(store, faulty):
        init(faulty, PASSPHRASE, START)

    def check(store, outcome):
        try:
            init(store, PASSPHRASE, START)
        except ConfigurationError as error:
            # what makes the repository exist is put last, so it is whole
            assert "already" in str(error)
        assert [name for name in store.objects if name == "format"]

    assert survive_every_store_fault(make, act, check) > 10


def test_a_store_that_never_answers_ends_a_backup_with_its_error(make):
    scene, store = make()

    class Broken(MemoryStore):
        def put(self, name, data, *, bulk=False):
            raise BackupError("the disk is full")

    broken = Broken(scene.world.clock)
    broken.objects = store.objects
    with open_with(scene, broken) as repository, pytest.raises(BackupError, match="disk is full"):
        back_up(repository, some_state(50))
    assert scene.restored() == scene.states
    assert StoreFault.ERROR

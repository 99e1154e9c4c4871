"""Others do something between any two operations of a run: prune, collect, back up, or sleep.

Two of them, at all pairs of places, is what it takes to break a wrong order: one that marks and
one that sweeps.  Whatever happens, a restore point that exists can be read to the byte.
"""

from __future__ import annotations

import copy
import itertools
import json
from contextlib import suppress

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.errors import BackupError, InUse, NoRestorePoint
from collective.recipe.backup.repository.chunks import LEAF, NODE
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.plans import Rules
from collective.recipe.backup.repository.points import Draft
from collective.recipe.backup.repository.pruning import bring_back, prune, trashed
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.repository.writing import write
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.stores import FaultyStore, MeddledStore
from collective.recipe.backup.tests.repositories import (
    World,
    back_up,
    points_of,
    state_of,
)

LEAF_KIND, PAGE_KIND = LEAF + 1, NODE + 1
RULES = Rules(max_unused=0)


def values(*numbers):
    return {f"n{number}": f"value {number} ".encode() * 40 for number in numbers}


OLD, NEW = values(*range(8)), values(*range(4), *range(20, 28))


@pytest.fixture
def make(tmp_path):
    """Return a function that makes the same world again and again.

    It holds a restore point OLD, and bundles that nothing needs any more: one under a mark that
    is nearly ripe, one without a mark.
    """
    world = World(tmp_path)
    with world.open() as repository:
        back_up(repository, OLD)
        world.clock.go_on(hours=1)
        for numbers in (range(20, 24), range(24, 28)):
            back_up(repository, values(*numbers), site="gone")
            world.clock.go_on(days=1)
        *_rest, one, two = points_of(repository)
        prune(repository, [one], yes=True)
        world.clock.go_on(days=3)
        collect(repository, RULES, yes=True)
        prune(repository, [two], yes=True)
        # not ripe yet: the trash of the second, and the mark on the bundle of the first
        world.clock.go_on(hours=46)

    def make():
        twin = copy.copy(world)
        twin.clock = copy.copy(world.clock)
        twin.store = MemoryStore(twin.clock)
        twin.store.objects = dict(world.store.objects)
        return twin

    return make


class Others:
    """What others do meanwhile, each with a repository of its own."""

    def __init__(self, world):
        self.world = world

    def _collect(self):
        with self.world.open() as repository, suppress(InUse):
            collect(repository, RULES, yes=True)

    def collect_later(self):
        self.world.clock.go_on(hours=3)
        self._collect()

    def sleep_and_collect(self):
        self.world.clock.go_on(hours=49)
        self._collect()

    def prune_all_and_collect(self):
        self.world.clock.go_on(hours=1)
        with self.world.open() as repository:
            prune(repository, points_of(repository), yes=True)
        self.collect_later()

    def bring_all_back(self):
        with self.world.open() as repository:
            for entry, _point in trashed(repository, repository.look()):
                try:
                    bring_back(repository, entry)
                except (NoRestorePoint, InUse):
                    continue

    def back_up(self):
        with self.world.open() as repository:
            back_up(repository, values(*range(22, 26), 50), site="other")


DEEDS = ["collect_later", "sleep_and_collect", "prune_all_and_collect", "bring_all_back", "back_up"]


def write_new(world, store):
    """Back up NEW, taking the first page, which is OLD's as well, without looking below it."""
    with world.open(store=store) as repository:
        point = repository.points.newest(repository.look(), "site")
        reader = ChunkReader(repository)
        pages = {}
        try:
            for page in reader.node(point.roots[0]).refs if point else ():
                pages[reader.node(page).payload] = page
        except BackupError:
            pages = {}  # it was pruned, and what it needs has gone, while it was read

        def build(writer):
            base = pages if point and writer.build_on(point) else {}
            refs = []
            for begin in range(0, len(NEW), 4):
                names = sorted(NEW)[begin : begin + 4]
                payload = json.dumps(names).encode()
                page = base.get(payload) if NEW[names[0]] == OLD.get(names[0]) else None
                if page is None:
                    leaves = [writer.add(LEAF_KIND, NEW[name]) for name in names]
                    page = writer.add_node(payload, leaves, PAGE_KIND)
                refs.append(page)
            root = writer.add_node(b"", refs)
            now = world.clock()
            return Draft(
                stamp=times.stamp(now),
                claimed=now,
                roots=(root,),
                payload=json.dumps(sorted(NEW)).encode(),
            )

        return write(repository, "site", build)


def bring_back_first(world, store):
    with world.open(store=store) as repository:
        found = trashed(repository, repository.look())
        return bring_back(repository, found[0][0]) if found else None


def collect_ripe(world, store):
    world.clock.go_on(hours=3)
    with world.open(store=store) as repository:
        collect(repository, RULES, yes=True)


class AllValues:
    """Has all values of both restore points."""

    def offers(self, lost):
        assert lost
        for value in {**OLD, **NEW}.values():
            yield LEAF_KIND, value


def heal_largest(world, store):
    with world.open(store=store) as repository:
        repository.index.refresh()
        heal(repository, repository.index.bundles(), [AllValues()])


def damage_one(world):
    name, (data, moment) = max(
        ((name, each) for name, each in world.store.objects.items() if name[:3] == "bun"),
        key=lambda each: (len(each[1][0]), each[0]),
    )
    world.store.objects[name] = data[:-1] + bytes([data[-1] ^ 1]), moment


def check(world):
    """All restore points that count can be read, now and after all that nothing needs is gone."""
    for _again in range(4):
        with world.open() as repository:
            found = standing(repository, repository.look())
            assert not found.damaged
            for point in found.points:
                state_of(repository, point)
        world.clock.go_on(days=3)
        with world.open() as repository:
            collect(repository, RULES, yes=True)
    return {point.name for point in found.points}


def operations(make, act):
    """Return how many operations *act* takes when it is alone."""
    world = make()
    store = FaultyStore(world.store)
    act(world, store)
    return len(store.asked)


@pytest.mark.parametrize("act", [write_new, bring_back_first, collect_ripe])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_run_survives_one_change_by_others_at_any_place(make, act, deed):
    for at in range(1, operations(make, act) + 1):
        world = make()
        store = MeddledStore(world.store, {at: getattr(Others(world), deed)})
        made = None
        try:
            made = act(world, store)
        except (InUse, NoRestorePoint, BackupError) as error:
            assert act is not write_new, f"{deed} before operation {at}: {error}"
        try:
            found = check(world)
            assert made is None or made.name in found or deed == "prune_all_and_collect"
        except (BackupError, AssertionError) as error:
            raise AssertionError(f"{deed} before operation {at}: {error}") from error


PAIRS = [
    ("collect_later", "sleep_and_collect"),
    ("bring_all_back", "sleep_and_collect"),
    ("prune_all_and_collect", "sleep_and_collect"),
    ("prune_all_and_collect", "bring_all_back"),
]


@pytest.mark.parametrize("act", [write_new, bring_back_first])
@pytest.mark.parametrize("deeds", PAIRS, ids="-".join)
def test_a_run_survives_two_changes_by_others_at_any_places(make, act, deeds):
    count = operations(make, act)
    for first, second in itertools.combinations(range(1, count + 1, 2), 2):
        world = make()
        others = Others(world)
        meddle = {first: getattr(others, deeds[0]), second: getattr(others, deeds[1])}
        try:
            act(world, MeddledStore(world.store, meddle))
        except (InUse, NoRestorePoint, BackupError) as error:
            assert act is not write_new, f"{deeds} before {first} and {second}: {error}"
        try:
            check(world)
        except (BackupError, AssertionError) as error:
            raise AssertionError(f"{deeds} before {first} and {second}: {error}") from error


@pytest.mark.parametrize("deed", ["back_up", "sleep_and_collect"])
def test_healing_survives_changes_by_others_at_any_place(make, deed):
    def prepared():
        world = make()
        damage_one(world)
        return world

    for at in range(1, operations(prepared, heal_largest) + 1, 2):
        world = prepared()
        store = MeddledStore(world.store, {at: getattr(Others(world), deed)})
        try:
            heal_largest(world, store)
        except BackupError:
            # it may have to begin again; nothing is lost
            heal_largest(world, world.store)
        heal_largest(world, world.store)
        check(world)

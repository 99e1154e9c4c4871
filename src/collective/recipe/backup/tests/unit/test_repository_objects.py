"""Objects of a repository: damage of any byte is named, and nothing can be read without a key."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repository.names import id_of
from collective.recipe.backup.repository.padding import LEAST, padded
from collective.recipe.backup.repository.pruning import prune
from collective.recipe.backup.repository.scrubbing import scrub
from collective.recipe.backup.repository.sealing import HEADER_SIZE
from collective.recipe.backup.tests.repositories import World, back_up, points_of, states_of

SECRET = b"a sentence that nobody may read "
STATE = {f"name-{number}": SECRET * 40 + bytes([number]) * 900 for number in range(9)}
KINDS = ("bundles/", "catalogs/", "m/p-")


@pytest.fixture(params=[True, False], ids=["sealed", "open"])
def world(request, tmp_path):
    world = World(tmp_path, encrypted=request.param)
    with world.open() as repository:
        back_up(repository, STATE)
    return world


@pytest.fixture
def sealed(tmp_path):
    world = World(tmp_path)
    with world.open() as repository:
        back_up(repository, STATE)
    return world


def named(world, kind):
    return sorted(name for name in world.store.objects if name.startswith(kind))


def change(world, name, data, new_name=None):
    """Put *data* in the place of an object, as who holds the store can."""
    moment = world.store.objects.pop(name)[1]
    world.store.objects[new_name or name] = bytes(data), moment


def renamed(name, data):
    """Return the name that an object with these bytes would have."""
    digest = id_of(data)
    if name.startswith("bundles/"):
        return f"bundles/{digest[:2]}/{digest}"
    return name[:-64] + digest


def what_is_read(world):
    """Return all states, as a host reads them that knows nothing yet."""
    with world.open() as repository:
        return list(states_of(repository).values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_bit_is_found_by_scrub_and_never_served(world, kind):
    [name] = named(world, kind)[:1]
    before = world.store.objects[name][0]
    some = random.Random(kind).sample(range(len(before)), 40)
    for at in [*range(HEADER_SIZE + 12), *some, *range(len(before) - 30, len(before))]:
        data = bytearray(before)
        data[at] ^= 1 << at % 8
        change(world, name, data)
        assert scrub(world.store, Silent()).damaged == (name,)
        with suppress(IntegrityError):
            assert what_is_read(world) in ([STATE], [])
        change(world, name, before)
    assert what_is_read(world) == [STATE]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_bit_is_never_served_under_a_name_that_fits(sealed, kind):
    [name] = named(sealed, kind)[:1]
    before = sealed.store.objects[name][0]
    for at in [0, 8, 9, 10, 16, 39, 40, 60, len(before) // 2, len(before) - 9, len(before) - 1]:
        data = bytearray(before)
        data[at] ^= 1
        other = renamed(name, data)
        change(sealed, name, data, other)
        assert scrub(sealed.store, Silent()).damaged == ()
        try:
            assert what_is_read(sealed) in ([STATE], [])
        except BackupError as error:
            assert error.hint
        change(sealed, other, before, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [0, 1, 39, 40, 41, 60, -1], ids=str)
def test_an_object_that_was_cut_short_is_never_served(world, kind, cut):
    [name] = named(world, kind)[:1]
    change(world, name, world.store.objects[name][0][:cut])
    try:
        assert what_is_read(world) in ([STATE], [])
    except IntegrityError as error:
        assert error.hint


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_in_the_place_of_another_is_named(world, kind, tmp_path):
    with world.open() as repository:
        back_up(repository, {"other": b"value"})
    first, second = named(world, kind)[:2]
    change(world, first, world.store.objects[second][0])
    assert scrub(world.store, Silent()).damaged == (first,)
    try:
        assert all(state in (STATE, {"other": b"value"}) for state in what_is_read(world))
    except IntegrityError as error:
        assert error.hint


def test_a_restore_point_of_another_repository_does_not_count(sealed, tmp_path):
    other = World(tmp_path / "other")
    with other.open() as repository:
        back_up(repository, {"foreign": b"state"})
    for kind in KINDS:
        for name in named(other, kind):
            sealed.store.objects[name] = other.store.objects[name]
    assert what_is_read(sealed) == [STATE]


def test_nothing_of_what_is_stored_can_be_read_in_the_store(sealed):
    everything = b"".join(data for data, _moment in sealed.store.objects.values())
    names = "\n".join(sealed.store.objects)
    for word in (SECRET[:12], b"name-1", b'"site"', b"predecessor", b"roots"):
        assert word not in everything
        assert word.decode() not in names


def test_sizes_of_objects_say_little(sealed):
    for name, (data, _moment) in sealed.store.objects.items():
        if name.startswith(KINDS):
            assert len(data) == padded(len(data)) >= LEAST


def test_sizes_grow_by_little_and_there_are_few_of_them():
    sizes = range(16 << 20, 64 << 20, 9973)
    assert all(size <= padded(size) < size * 33 / 32 for size in sizes)
    assert len({padded(size) for size in sizes}) <= 1 + 2 * 32


def test_what_is_damaged_is_told_from_what_was_removed(world):
    with world.open() as repository:
        second = back_up(repository, {"other": b"value"})
        prune(repository, [second])
        assert [point.name for point in points_of(repository)] != [second.name]
        assert len(points_of(repository)) == 1
    assert scrub(world.store, Silent()).damaged == ()

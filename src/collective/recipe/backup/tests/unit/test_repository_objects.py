"""Objects of a repository: damage of any byte is named, and nothing can be read without a key."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta

import pytest

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.controls import (
    UNNEEDED,
    seal_mark,
    seal_ticket,
    seal_trash,
)
from collective.recipe.backup.repository.names import id_of
from collective.recipe.backup.repository.padding import LEAST, padded
from collective.recipe.backup.repository.pruning import prune, trashed
from collective.recipe.backup.repository.scrubbing import scrub
from collective.recipe.backup.repository.sealing import HEADER_SIZE
from collective.recipe.backup.tests.repositories import START, World, back_up, points_of, states_of

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


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_was_made_longer_is_named_and_never_served(world, kind):
    [name] = named(world, kind)[:1]
    before = world.store.objects[name][0]
    for more in (b"\0", before, b"{}" * 99):
        change(world, name, before + more)
        assert scrub(world.store, Silent()).damaged == (name,)
        with suppress(IntegrityError):
            assert what_is_read(world) in ([STATE], [])
    change(world, name, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_under_a_name_of_another_kind_or_site_is_not_taken_for_that(sealed, kind):
    [name] = named(sealed, kind)[:1]
    data, moment = sealed.store.objects[name]
    for beginning in ("catalogs/", "m/p-2026-03-01-12-00-00-0123456789abcdef-", "m/d-2026-"
                      "03-01-12-00-00-0123456789abcdef-", "keys/", "bundles/"):  # fmt: skip
        digest = id_of(data)
        other = f"{beginning}{digest[:2]}/" if beginning == "bundles/" else beginning
        sealed.store.objects.setdefault(f"{other}{digest}", (data, moment))
    assert what_is_read(sealed) == [STATE]
    with sealed.open() as repository:
        assert trashed(repository, repository.look()) == []
        back_up(repository, {"next": b"state"})
    assert len(what_is_read(sealed)) == 2


def test_data_that_look_like_objects_of_a_repository_are_data(sealed):
    objects = [data for data, _moment in sealed.store.objects.values()]
    state = {f"n{number}": bytes(data) for number, data in enumerate(objects)}
    with sealed.open() as repository:
        [entry] = repository.look().points
        state["opened"] = bytes(repository.points.point(entry).payload)
        back_up(repository, state)
        repository.index.refresh()
        assert len(points_of(repository)) == 2
    assert state in what_is_read(sealed)
    assert scrub(sealed.store, Silent()).damaged == ()


def spoilt_controls(world):
    """Put a ticket, a mark and trash, and change a bit of each; return their names."""
    with world.open() as repository:
        store, keyring = world.store, repository.keyring
        put = [
            seal_ticket(keyring, "backup", "", timedelta(hours=1)),
            seal_mark(keyring, UNNEEDED, list(repository.index.bundles()), START),
        ]
        [point] = repository.look().points
        site = f"{point.name[4:-64]}"
        put.append(seal_trash(keyring, repository.controls.sealed(point), site))
        for each in put:
            store.put(each.name, each.data)
    for each in put:
        change(world, each.name, each.data[:-1] + bytes([each.data[-1] ^ 1]))
    return [each.name for each in put]


def test_damaged_tickets_and_trash_end_no_backup_and_no_collect(world):
    ticket, mark, trash = spoilt_controls(world)
    assert set(scrub(world.store, Silent()).damaged) == {ticket, mark, trash}
    with world.open() as repository, pytest.raises(IntegrityError, match="damaged") as caught:
        back_up(repository, {"next": b"state"})
    assert mark in caught.value.where
    assert "remove this object" in caught.value.hint
    # which costs nothing
    del world.store.objects[mark]
    with world.open() as repository:
        back_up(repository, {"next": b"state"})
        assert trashed(repository, repository.look()) == []
        collect(repository)
    assert ticket in world.store.objects
    world.clock.go_on(days=3)
    with world.open() as repository:
        collect(repository)
    assert not {ticket, trash} & world.store.objects.keys()
    assert what_is_read(world) == [STATE, {"next": b"state"}]


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

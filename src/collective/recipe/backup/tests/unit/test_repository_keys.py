"""What opens a repository: passphrases, and the sheet for when they are lost."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.repository import slots
from collective.recipe.backup.repository.keys import (
    add_key,
    change_key,
    import_master,
    list_keys,
    remove_key,
)
from collective.recipe.backup.repository.names import FORMAT
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.opened import open_repository
from collective.recipe.backup.repository.sheets import read_sheet, sheet_lines, sheet_page
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.repositories import PASSPHRASE, START, World, back_up, states_of

STATE = {"page": b"text"}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    with world.open() as repository:
        back_up(repository, STATE)
    return world


def opened(world, passphrase):
    with open_repository(world.store, world.client(passphrase=passphrase)) as repository:
        return list(states_of(repository).values())


def key_names(world):
    return [name for name in world.store.objects if name.startswith("keys/")]


def test_another_passphrase_is_told(world):
    with pytest.raises(ConfigurationError, match="does not fit") as caught:
        opened(world, "wrong horse battery")
    assert "recovery sheet" in caught.value.hint


def test_keys_that_are_made_meanwhile_are_those_of_the_passphrase(world):
    client = world.client(passphrase="wrong horse battery")
    with open_repository(world.store, client) as repository:
        done = []
        with pytest.raises(ConfigurationError, match="does not fit"), repository.unlocking():
            done.append("the body")
        assert done == ["the body"]
    with world.open() as repository:
        with repository.unlocking():
            pass
        assert list(states_of(repository).values()) == [STATE]


def test_each_of_several_passphrases_opens_it(world):
    with world.open() as repository:
        add_key(repository, "a second one", "of the colleague", START + timedelta(days=1))
        found, bad = list_keys(repository)
    assert [slot.label for slot in found] == ["first", "of the colleague"]
    assert bad == []
    assert opened(world, "a second one") == opened(world, PASSPHRASE) == [STATE]


def test_a_changed_passphrase_opens_it_and_the_old_one_does_not(world):
    with world.open() as repository:
        change_key(repository, PASSPHRASE, "a new passphrase", START)
    assert opened(world, "a new passphrase") == [STATE]
    with pytest.raises(ConfigurationError, match="does not fit"):
        opened(world, PASSPHRASE)


def test_a_passphrase_that_is_changed_for_itself_is_refused(world):
    before = key_names(world)
    with world.open() as repository, pytest.raises(ConfigurationError, match="nothing is changed"):
        change_key(repository, PASSPHRASE, PASSPHRASE, START)
    assert key_names(world) == before


def test_the_last_key_is_not_removed(world):
    [name] = key_names(world)
    with world.open() as repository:
        with pytest.raises(ConfigurationError, match="opens no other key"):
            remove_key(repository, name, PASSPHRASE)
        for number in (2, 3):
            add_key(repository, f"passphrase {number}", "second", START + timedelta(days=number))
        with pytest.raises(ConfigurationError, match="this label is that of 2 keys"):
            remove_key(repository, "second", PASSPHRASE)
        remove_key(repository, name, "passphrase 2")
    assert opened(world, "passphrase 2") == [STATE]


def test_a_short_passphrase_is_refused():
    with pytest.raises(ConfigurationError, match="fewer than 8"):
        init(MemoryStore(), "1234567", START)


def test_a_damaged_key_is_told_and_the_sound_one_beside_it_opens(world):
    [name] = key_names(world)
    with world.open() as repository:
        add_key(repository, "a second one", "second", START)
    data, moment = world.store.objects[name]
    world.store.objects[name] = data.replace(b"first", b"fjrst"), moment
    assert opened(world, "a second one") == [STATE]
    with pytest.raises(IntegrityError, match="some cannot"):
        opened(world, PASSPHRASE)


@pytest.mark.parametrize(
    "name, value", [("passes", 10**6), ("memory", 1 << 30), ("lanes", 0), ("kdf", "md5")]
)
def test_a_key_that_asks_for_too_much_is_refused(world, name, value):
    [key] = key_names(world)
    table = json.loads(world.store.objects.pop(key)[0])
    table[name] = value
    data = slots._FORM.encode({each: table[each] for each in table if each != "check"})
    world.store.objects[slots.name_of_slot(data)] = data, START
    with pytest.raises(IntegrityError, match="beyond what is allowed|no function"):
        opened(world, PASSPHRASE)


def test_a_repository_that_is_not_encrypted_in_the_place_of_one_that_was_is_told(world):
    other = MemoryStore()
    init(other, None, START)
    world.store.objects.clear()
    world.store.objects.update(other.objects)
    with pytest.raises(ConfigurationError, match="not encrypted"):
        opened(world, PASSPHRASE)


def test_a_key_fits_only_the_format_beside_which_it_was_made(world):
    data, moment = world.store.objects[FORMAT]
    table = json.loads(data)
    changed = {**table, "repository": "0" * 32}
    del changed["check"]
    world.store.objects[FORMAT] = slots._FORM.encode(changed), moment
    with pytest.raises(IntegrityError, match="of another repository"):
        opened(world, PASSPHRASE)


def test_a_sheet_opens_a_repository_whose_keys_are_lost(world):
    with world.open() as repository:
        lines = sheet_lines(repository.keyring)
    for name in key_names(world):
        del world.store.objects[name]
    typed = "\n".join(lines).lower().replace("0", "o").replace("1", "l")
    identity, master = read_sheet(re.sub(r"^.*:", "", typed, flags=re.M))
    with world.open() as repository:
        assert identity == repository.about.repository
    added = import_master(world.store, master, "a new passphrase", START)
    assert opened(world, "a new passphrase") == [STATE]
    # once more makes no other key, nor does it to add that passphrase
    for again in (START, START + timedelta(days=1)):
        found = import_master(world.store, master, "a new passphrase", again)
        assert found == (added.name, False)
    world.passphrase = "a new passphrase"
    with world.open() as repository:
        assert add_key(repository, "a new passphrase", "other", START) == (added.name, False)
    assert key_names(world) == [added.name]


def test_mistyped_lines_of_a_sheet_are_named(world):
    with world.open() as repository:
        lines = sheet_lines(repository.keyring)
    swapped = [*lines[:1], lines[4], *lines[2:4], lines[1], *lines[5:]]
    with pytest.raises(ConfigurationError):
        read_sheet("\n".join(swapped))
    for number in (1, 2, 4):
        lines[number] = lines[number][:-4] + "!" + lines[number][-3:]
    with pytest.raises(ConfigurationError) as caught:
        read_sheet("\n".join(lines))
    assert [problem[:6] for problem in caught.value.problems] == ["line 2", "line 3", "line 5"]


def test_lines_of_two_sheets_are_no_sheet(world, tmp_path):
    other = World(tmp_path / "other")
    with world.open() as one, other.open() as two:
        lines = [*sheet_lines(one.keyring)[:3], *sheet_lines(two.keyring)[3:]]
    with pytest.raises(ConfigurationError, match="no recovery sheet"):
        read_sheet("\n".join(lines))


def test_the_page_has_the_lines_and_nothing_that_a_browser_fetches(world):
    with world.open() as repository:
        page = sheet_page(repository.keyring, "/mnt/<backups>", START)
        lines = sheet_lines(repository.keyring)
    assert all(line in page for line in lines)
    assert "/mnt/&lt;backups&gt;" in page
    assert "<svg" in page
    assert not re.search(r"(src|href)=", page)

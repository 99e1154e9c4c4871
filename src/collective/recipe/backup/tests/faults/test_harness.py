"""The harness itself: a fault test is worth what its faults are."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from collective.recipe.backup.files.partials import is_partial
from collective.recipe.backup.tests.faults.harness import (
    Crash,
    Fault,
    FaultyFiles,
    every_fault,
    survive_every_fault,
)

OLD, NEW = b"old" * 100, b"new" * 200


@pytest.fixture
def make(tmp_path):
    def make() -> Path:
        directory = tmp_path / os.urandom(8).hex()
        directory.mkdir()
        (directory / "a").write_bytes(OLD)
        return directory

    return make


def replace(directory, files):
    files.write(directory / "a", NEW)


def whole(directory, outcome):
    found = (directory / "a").read_bytes()
    assert found == NEW or (outcome and found == OLD)
    assert all(path.name == "a" or is_partial(path.name) for path in directory.iterdir())


def test_an_atomic_write_survives_every_fault(make):
    assert survive_every_fault(make, replace, whole) > 20


def test_each_change_is_struck_in_each_way(make):
    files = FaultyFiles()
    replace(make(), files)
    operations = [operation for operation, _path in files.changes]
    assert operations == ["create", "write", "fsync", "rename", "fsync"]
    struck = Counter(text.split()[0] for _world, _outcome, text in every_fault(make, replace))
    assert struck == {
        fault.name: 1 if fault is Fault.DURING else len(operations) for fault in Fault
    }


def test_who_writes_in_place_is_caught(make):
    def careless(directory, files):
        (directory / "a").unlink()
        files.append(directory / "a", NEW)

    with pytest.raises(AssertionError, match="after BEFORE at change 1"):
        survive_every_fault(make, careless, whole)


def test_who_forgets_to_sync_the_directory_is_caught_by_a_power_cut(make):
    def forgetful(directory, files):
        files._change("rename", directory / "b", os.rename, directory / "a", directory / "b")
        files.append(directory / "log", b"renamed")  # fsynced, so it tells what is lost

    def check(directory, outcome):
        renamed = (directory / "log").exists() and (directory / "log").stat().st_size
        assert not renamed or (directory / "b").exists()

    survive_every_fault(make, forgetful, check, faults=[Fault.BEFORE, Fault.AFTER])
    directory = make()
    files = FaultyFiles(Fault.POWER_CUT, at=1)
    with pytest.raises(Crash):
        forgetful(directory, files)
    assert (directory / "a").exists()


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(make):
    directory = make()
    files = FaultyFiles(Fault.POWER_CUT, at=8)

    def act():
        files.write(directory / "durable", NEW)  # 5 changes
        files.make_directory(directory / "lost")
        files.remove(directory / "a")
        files.append(directory / "log", b"lost as well")

    with pytest.raises(Crash):
        act()
    assert sorted(path.name for path in directory.iterdir()) == ["a", "durable"]
    assert (directory / "a").read_bytes() == OLD
    assert (directory / "durable").read_bytes() == NEW


def test_a_directory_whose_removal_is_durable_does_not_come_back_with_what_was_in_it(make):
    directory = make()
    (directory / "full").mkdir()
    (directory / "full" / "b").write_bytes(OLD)
    files = FaultyFiles(Fault.POWER_CUT, at=4)

    def act():
        files.remove_tree(directory / "full")  # 2 changes
        files.sync_directory(directory)
        files.remove(directory / "a")

    with pytest.raises(Crash):
        act()
    assert [path.name for path in directory.iterdir()] == ["a"]


def test_bytes_that_were_not_synced_are_lost(make):
    directory = make()
    files = FaultyFiles(Fault.POWER_CUT, at=2)
    with pytest.raises(Crash):
        files.append(directory / "a", NEW)
    assert (directory / "a").read_bytes() == OLD


def test_the_dead_change_nothing_any_more(make):
    directory = make()
    files = FaultyFiles(Fault.BEFORE, at=1)
    for path in (directory / "b", directory / "c"):
        with pytest.raises(Crash):
            files.write(path, NEW)
    assert [path.name for path in directory.iterdir()] == ["a"]


def test_a_full_disk_still_removes(make):
    directory = make()
    files = FaultyFiles(Fault.NO_SPACE, at=2)
    with pytest.raises(OSError, match="No space left"):
        files.write(directory / "a", NEW)
    assert [path.name for path in directory.iterdir()] == ["a"]
    assert (directory / "a").read_bytes() == OLD


def test_a_fault_of_the_check_names_the_change(make):
    def check(directory, outcome):
        raise ValueError("what is wrong")

    with pytest.raises(AssertionError, match="BEFORE at change 1: create a.*what is wrong"):
        survive_every_fault(make, replace, check)
